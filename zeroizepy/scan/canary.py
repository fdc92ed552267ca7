"""A secret that is worth nothing, to be given to code under test and then looked for."""

from __future__ import annotations

import gc
import os
import sys

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.cell import CypherCell
from zeroizepy.memory import SecureMemory
from zeroizepy.slots import Redacted, check_size

from .probes import check_forms, check_secret, probe_of, probes_of
from .values import FORMS

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from .probes import Probe

__all__ = ["MAX_CANARY_BYTES", "MIN_CANARY_BYTES", "Canary", "probes_for"]

MIN_CANARY_BYTES = 24
"""The last 16 bytes are looked for alone, and an allocator may overwrite 8 before them."""
MAX_CANARY_BYTES = 4096

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SHOWN_REFERRERS = 5


class Canary(Redacted):
    """A random secret of ASCII letters, digits, "-" and "_", whose bytes are kept in locked memory alone.

    Code under test gets it as `str`, `bytes`, `bytearray` or through a descriptor, and `assert_no_residue` then looks
    for what that code left. Python cannot wipe a `str` or `bytes`, so the canary takes back those that it handed out:
    once nobody else refers to one, it is wiped in place and does not count. One that is still referred to is reported.
    A `bytearray` is not taken back: clearing it is the business of the code that got it.

    Args:
        size: Characters, which are bytes as well: 24 to 4096. The default has 288 random bits.
        forms: Which of `FORMS` to look for.
        tail: Look for the last 16 bytes too, which stay in freed memory whose head the allocator has overwritten.

    Raises:
        TypeError, ValueError: A wrong argument.
        LockLimitError: The lock budget or the kernel's limit is spent.

    Does not reach: parts other than the tail, and forms that are not in `FORMS`, such as compressed or escaped text.
    """

    __slots__ = ("_cell", "_handed", "_needles", "forms", "was_handed_out")

    def __init__(self, size: int = 48, *, forms: Iterable[str] = FORMS, tail: bool = True) -> None:
        if not MIN_CANARY_BYTES <= check_size(size) <= MAX_CANARY_BYTES:
            raise ValueError(f"size must be {MIN_CANARY_BYTES} to {MAX_CANARY_BYTES}, not {size}")
        self.forms = check_forms(forms)
        """What is looked for."""
        self.was_handed_out = False
        """Whether any code got the secret: a check means nothing before."""
        self._handed: list[str | bytes] = []
        with SecureMemory(size) as text, CypherCell.generate(size) as random:
            with random.borrow() as source, text.borrow(writable=True) as target:
                for at, byte in enumerate(source):
                    target[at] = _ALPHABET[byte & 63]
            self._cell = CypherCell(text)
        self._needles = probes_of(self._cell, 0, self.forms, tail)

    def reveal(self) -> str:
        """The secret as one new `str`, which is taken back at the check."""
        self.was_handed_out = True
        text = self._cell.reveal()
        self._handed.append(text)
        return text

    def reveal_bytes(self) -> bytes:
        """The secret as one new `bytes` object, which is taken back at the check."""
        self.was_handed_out = True
        data = self._cell.reveal_bytes()
        self._handed.append(data)
        return data

    def reveal_bytearray(self) -> bytearray:
        """The secret as one new `bytearray`, which the code that gets it has to clear."""
        self.was_handed_out = True
        data = bytearray(len(self))
        self._cell.copy_into(data)
        return data

    def write_to(self, fd: int) -> int:
        """Write the secret to a descriptor, such as a pipe to another process; nothing of it is left in this one.

        Returns:
            The bytes written: all.

        Raises:
            OSError: The write failed; some bytes may have been written.
        """
        self.was_handed_out = True
        status = lib.zpy_sink_write(self._cell._handle, len(self), fd)
        if status == lib.ZPY_SYSTEM:
            number = _lib.system_error_number()
            raise OSError(number, f"the canary could not be written: {os.strerror(number)}")
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return len(self)

    def is_in(self, text: str | bytes | bytearray) -> bool:
        """Whether the secret, in any of its forms, stands in a text: captured output, a log, a response.

        For a str, what is searched is its UTF-8 form.
        """
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        try:
            with _lib.as_buffer(data, "text") as hay:
                return any(lib.zpy_scan_find(probe.memory._handle, hay, len(hay), 0) >= 0 for probe in self._probes())
        finally:
            if isinstance(text, str) and isinstance(data, bytes):
                _lib.wipe_bytes(data)

    def close(self) -> None:
        """Take back what was handed out, as far as nobody refers to it, and wipe the secret."""
        self._take_back()
        self._handed.clear()
        self._cell.wipe()
        for probe in self._needles:
            for handle in probe.handles:
                lib.zpy_cell_wipe(handle)

    def __len__(self) -> int:
        """Its size in bytes. Raises once it is closed."""
        return len(self._cell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _probes(self) -> list[Probe]:
        """What to look for.

        Raises:
            CellWipedError: It is closed.
        """
        len(self._cell)
        return self._needles

    def _take_back(self) -> list[str]:
        """Wipe the objects that were handed out and that nobody else holds.

        No name here ever refers to such an object: it would count as a reference.

        Returns:
            One sentence for each object that is still in use.
        """
        gc.collect()
        kept = []
        for at in reversed(range(len(self._handed))):
            count = _references(self._handed, at)
            if count > 0:
                kept.append(_referrers_text(self._handed, at, count))
            else:
                _wipe_in_place(self._handed, at)
                del self._handed[at]
        return kept[::-1]


def probes_for(needle: CypherCell | SecureMemory | Canary | bytes) -> list[Probe]:
    """What to look for: all forms of a canary, anything else as it is.

    Raises:
        TypeError, ValueError, CellWipedError: As `scan_process`.
    """
    if isinstance(needle, Canary):
        return needle._probes()
    check_secret(needle)
    return [probe_of(needle)]


def _references(handed: list[str | bytes], at: int) -> int:
    """How many references there are to an element beside its list's, measured against an object that has no others."""
    control = [bytearray()]
    return sys.getrefcount(handed[at]) - sys.getrefcount(control[0])


def _referrers_text(handed: list[str | bytes], at: int, count: int) -> str:
    kinds = sorted({type(holder).__name__ for holder in gc.get_referrers(handed[at]) if holder is not handed})
    known = (
        f"from {', '.join(kinds[:_SHOWN_REFERRERS])}"
        if kinds
        else "from a local variable, or what the collector does not track"
    )
    times = "once" if count == 1 else f"{count} times"
    return f"a {type(handed[at]).__name__} that was handed out is still referred to {times}, {known}"


def _wipe_in_place(handed: list[str | bytes], at: int) -> None:
    size = len(handed[at])
    # CPython puts the characters of a str of ASCII behind its header, and a NUL behind them, as with bytes.
    address = id(handed[at]) + sys.getsizeof(handed[at]) - size - 1
    lib.zpy_cell_memzero(ffi.cast("uint8_t *", address), size)
