"""Cells: self-destructing secrets in locked memory, with read limits and a time to live."""

from __future__ import annotations

from contextvars import ContextVar

from . import _lib
from ._lib import lib
from .buffers import as_target
from .loaders import reads_from
from .slots import (
    PEEK,
    Borrow,
    can_borrow,
    check_flag,
    differs,
    lend,
    option_bits,
    protection_of,
    read_bytes,
    seconds_left,
)
from .sources import FromSources
from .view import CypherView, Decoding, equals, mask_text, verify_secret

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal

    from typing_extensions import Buffer

    from .loaders import Limits
    from .values import Borrowable, Protection

__all__ = ["CypherCell", "CypherView"]

_entered: ContextVar[tuple[CypherView, ...]] = ContextVar("zeroizepy_entered", default=())
"""The views of the `with` blocks that this thread or asyncio task is in."""

# Looked up once: on the shortest paths the look-up costs as much as the work.
_SMALL_BYTES = _lib.LARGE_BYTES
_create = lib.zpy_cell_create
_wipe = lib.zpy_cell_wipe
_raise_status = _lib.raise_status
_equal = lib.zpy_cell_equals


class CypherCell(FromSources):
    """A secret that lives in locked memory, is used without becoming a Python object, and destroys itself.

    Args:
        data: str (as UTF-8), bytes, bytearray, memoryview, or secure memory. It is copied. The bytes that a str is
            encoded to on the way are wiped; the str or bytes that you pass cannot be.
        volatile: Wipe after the first access; the same as `max_reads=1`.
        ttl_sec: Seconds to live, counted through suspend. A thread of the core zeroes the bytes at the deadline,
            whether the program is idle or busy; every use checks it as well.
        max_reads: Wipe after so many accesses: `reveal`, `reveal_bytes`, `borrow`, `copy_into` or a `with` block.
        tier: "packed" (a slot in shared locked pages), "isolated" (own pages, which are inaccessible while nobody
            borrows) or "sealed" (encrypted on the ordinary heap under a locked key, and in a locked slot while somebody
            borrows). Above 4096 bytes always "isolated".
        policy: What happens when nothing more can be locked: "seal" makes a sealed cell of up to 4096 bytes, with one
            `SecureMemoryWarning` in a process; "strict" raises. None takes `zeroizepy.memory.set_policy`'s.
        inherit: A forked child keeps its own copy; the cell is then never on the "memfd_secret" backing, which parent
            and child would share. Without it every use in a child raises `CellWipedError`.
        wipe_source: Zero `data` after it was copied; it must be mutable.

    Raises:
        TypeError, ValueError: A wrong argument.
        LockLimitError: The lock budget or the kernel's limit is spent, and the cell may not or cannot be sealed.

    Does not reach: copies of the secret that the program made before or that `reveal` gives it; a debugger or another
    process with the right to read this one's memory, except that on the "memfd_secret" backing /proc/PID/mem and ptrace
    do not reach it.
    """

    __slots__ = ("_views",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        data: str | bytes | bytearray | memoryview | Borrowable,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        max_reads: int | None = None,
        tier: Literal["packed", "isolated", "sealed"] = "packed",
        policy: Literal["seal", "strict"] | None = None,
        inherit: bool = False,
        wipe_source: bool = False,
    ) -> None:
        try:
            if (
                type(data) is bytes
                and len(data) <= _SMALL_BYTES
                and tier == "packed"
                and not (volatile or inherit or wipe_source)
                and ttl_sec is None
                and max_reads is None
                and policy is None
            ):
                # The common case: one call into the core and nothing else.
                handle = _create(data, len(data), 0, 0, 0)
                if handle < 0:
                    handle = _lib.new_handle(data, len(data), refused=handle)  # Seals it, or raises.
                if self._handle:
                    self._drop()
                self._handle = handle
                self._size = len(data)
                return
            check_flag(wipe_source, "wipe_source")
            bits = option_bits(tier, policy, inherit)
            limits = bits, _lib.ttl_nanoseconds(ttl_sec), reads_from(volatile, max_reads)
            if type(data) is bytes and not wipe_source:
                self._store(data, limits)
            else:
                self._fill(data, limits, wipe_source=wipe_source)
        except BaseException as error:
            data = b""
            _lib.clear_locals(error)
            raise

    def _fill(self, data: Any, limits: Limits, *, wipe_source: bool) -> None:
        if can_borrow(data):
            end = getattr(data, "close", None)
            if wipe_source and end is None:
                raise TypeError(f"wipe_source cannot wipe {type(data).__name__}")
            try:
                lend(data, lambda view: self._fill(view, limits, wipe_source=False))
            except BaseException:
                self._drop()  # It may be made of zeros.
                raise
            if wipe_source and end is not None:
                end()
            return
        encoded = _lib.encode_text(data, "data") if isinstance(data, str) else None
        if encoded is None and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data must be str, bytes, or bytearray (or a memoryview or SecureMemory), not {type(data).__name__}"
            )
        if wipe_source and (encoded is not None or memoryview(data).readonly):
            raise TypeError(f"wipe_source needs a mutable source; {type(data).__name__} cannot be wiped")
        if encoded is not None:
            try:
                self._store(encoded, limits)
            finally:
                _lib.wipe_bytes(encoded)
        elif type(data) is bytes:
            self._store(data, limits)
        else:
            with _lib.as_buffer(data, "data") as source:
                self._store(source, limits)
                if wipe_source:
                    _lib.core(len(source), "memzero")(source, len(source))

    def _store(self, source: Any, limits: Limits) -> None:
        self._hold(_lib.new_handle(source, len(source), *limits), len(source))

    # ---- use ----

    def reveal(self, encoding: str = "utf-8") -> str:
        """The secret as one new `str`. An access.

        The str cannot be wiped: keep it in the narrowest scope. For UTF-8, ASCII and Latin-1 nothing else keeps a copy;
        other codecs may.

        Raises:
            CellWipedError: "Cell is wiped".
            CellExpiredError: "TTL expired".
            ValueError: "Invalid UTF-8" (the access is not counted), or the name of another codec, which counts it.
            LookupError: An unknown codec.
        """
        return Decoding(self._handle, self._size, encoding).text(counted=True)

    def reveal_bytes(self) -> bytes:
        """The secret as one new `bytes` object, which cannot be wiped. An access.

        Raises:
            CellWipedError, CellExpiredError: As `reveal`.
        """
        status, data = read_bytes(self._handle, 0, self._size, _lib.core(self._size, "take"))
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return data

    def reveal_masked(self, suffix_len: int = 4, mask: str = "*") -> str:
        """The secret with all but its last `suffix_len` characters masked; same length as the secret. Not an access.

        Args:
            suffix_len: Characters to show. When the secret has no more than that, everything is masked.
            mask: One character.

        Raises:
            CellWipedError, CellExpiredError: As `reveal`.
            ValueError: "Invalid UTF-8", or a wrong argument.
        """
        return mask_text(self._handle, suffix_len, mask)

    def borrow(self) -> Borrow:
        """Lend the bytes as a read-only memoryview, without a copy: `with cell.borrow() as view: ...`. An access.

        The view reads zeros from the moment at which the secret ends, within the block, too. Hand the cell itself to
        what takes one (`CryptoKey(cell)`, `memory.write(cell)`): that raises where the secret ended meanwhile.

        Raises:
            CellWipedError, CellExpiredError: On entering the block.
        """
        return Borrow(self, _raise_status)

    def _peek(self) -> Borrow:
        return Borrow(self, _raise_status, PEEK)

    def copy_into(self, buffer: Buffer) -> int:
        """Copy the secret to the start of a writable buffer. An access.

        Args:
            buffer: Contiguous and writable, at least as long as the secret; a borrowed SecureMemory view is one.

        Returns:
            The bytes copied.

        Raises:
            TypeError: Not a writable contiguous buffer.
            ValueError: Too short; nothing was copied and no access counted.
            CellWipedError, CellExpiredError: As `reveal`.
        """
        with as_target(buffer, self._size) as target:
            status = _lib.core(self._size, "take")(self._handle, target, self._size)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return self._size

    def verify(self, other: Buffer | str | Borrowable) -> bool:
        """Whether the secret equals `other`, in time that depends on the lengths alone. Not an access.

        Args:
            other: bytes-like, str (as UTF-8), or another cell, memory or key.

        Returns:
            False also when the cell is wiped or expired, and for another length.

        Raises:
            TypeError: `other` has no bytes.
            CellWipedError: In a forked child, which cannot know the answer.
            LockLimitError: No slot is free to open a sealed secret into.
        """
        if other.__class__ is bytes:  # Some nanoseconds faster than type(), and a liar gets cffi's TypeError.
            # One call where they are equal; the rest sorts out the reasons for a no.
            return _equal(self._handle, other, len(other)) or equals(self._handle, other)
        try:
            return verify_secret(self._handle, other)
        except BaseException as error:
            other = b""
            _lib.clear_locals(error)
            raise

    def compare(self, other_cell: CypherCell) -> bool:
        """Whether two cells hold the same secret, in constant time. Not an access.

        Raises:
            TypeError: `other_cell` is no cell.
            CellWipedError, CellExpiredError: One of the two has ended.
        """
        if not isinstance(other_cell, CypherCell):
            raise TypeError(f"other_cell must be a CypherCell, not {type(other_cell).__name__}")
        answer = int(_lib.core(self._size, "compare")(self._handle, other_cell._handle))
        if answer < 0:
            _lib.raise_status(-answer)
        return answer == 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CypherCell):
            return NotImplemented
        if self is other:
            return True
        answer = int(_lib.core(self._size, "compare")(self._handle, other._handle))
        return answer == 1 or differs(answer)

    # ---- end ----

    def wipe(self) -> None:
        """Zero the secret now. Harmless when already wiped; safe from any thread.

        Raises:
            MemoryCorruptionError: Something had written outside its bounds; the secret is wiped all the same.
        """
        if self._size <= _SMALL_BYTES:  # _drop(), without the cost of calling it.
            self._kept = None
            status = _wipe(self._handle)
        else:
            status = self._drop()
        if status:
            _lib.raise_status(status)

    close = wipe

    @property
    def wiped(self) -> bool:
        """Whether the secret is gone: wiped, used up, expired, purged, or left behind in the parent process."""
        return bool(lib.zpy_cell_state(self._handle) != lib.ZPY_OK)

    @property
    def expires_in(self) -> float | None:
        """Seconds until the deadline; None without one; 0.0 once the secret is gone."""
        return seconds_left(self._handle)

    @property
    def protection(self) -> Protection:
        """What the system calls granted.

        Raises:
            CellWipedError, CellExpiredError: The secret is gone.
        """
        status, protection = protection_of(self._handle)
        if protection is None:
            _lib.raise_status(status)
        return protection

    def __len__(self) -> int:
        """Bytes of the secret. Raises once it is gone."""
        length = int(lib.zpy_cell_length(self._handle))
        if length < 0:
            _lib.raise_status(-length)
        return length

    def __bool__(self) -> bool:
        """Whether there is still a secret, be it empty."""
        return not self.wiped

    def __enter__(self) -> CypherView:
        """Begin a block that may read the secret; an access. Leaving the outermost block wipes the cell."""
        status = lib.zpy_cell_enter(self._handle)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        view = CypherView(self._handle, self._size)
        try:
            self._views.append(view)
        except AttributeError:
            self._views: list[CypherView] = [view]
        _entered.set((*_entered.get(), view))
        return view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The innermost view that this thread or task has open on this cell. A block that is left elsewhere than it was
        # entered cannot tell which view is its own, and ends all of them.
        entered = _entered.get()
        mine = next((view for view in reversed(entered) if any(view is ours for ours in self._views)), None)
        for view in self._views if mine is None else [mine]:
            view._open = False
        self._views = [view for view in self._views if view._open]
        _entered.set(tuple(view for view in entered if view._open))
        self._kept = None  # As in _drop.
        status = lib.zpy_cell_exit(self._handle)
        if status == lib.ZPY_CORRUPT and error is None:
            _lib.raise_status(status)
