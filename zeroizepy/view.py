"""Reading a cell: what cells and the views that their `with` blocks give have in common."""

from __future__ import annotations

import codecs

from . import _lib
from ._lib import ffi, lib
from .exceptions import ViewExpiredError
from .memory import SecureMemory
from .slots import COUNTED, PEEK, Borrow, Redacted, can_borrow, check_size, differs, lend, open_lease, read_bytes

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from .values import Borrowable

__all__ = ["CypherView", "Decoding", "equals", "mask_text", "verify_secret"]


def count_points(handle: int) -> int:
    """Characters of a cell that holds UTF-8. Raises as `raise_status` does."""
    points = int(lib.zpy_cell_decode(handle, 0))
    if points < 0:
        _lib.raise_status(-points)
    return points


class Decoding:
    """Makes the str of a cell; exactly one object for UTF-8, ASCII and Latin-1.

    Whatever can be refused is refused by the constructor, before an access is counted: bytes that are no UTF-8, an
    unknown codec, and a lack of the locked memory that non-ASCII text needs on its way.
    """

    __slots__ = ("_encoding", "_handle", "_points", "_scratch")

    def __init__(self, handle: int, size: int, encoding: str) -> None:
        self._handle = handle
        self._scratch: SecureMemory | None = None
        if encoding != "utf-8" and codecs.lookup(encoding).name != "utf-8":
            self._encoding = encoding
            return
        self._encoding = "ascii"
        self._points = count_points(handle)
        if self._points != size:
            # Built in one piece from code points: CPython's own decoder leaves parts behind as it widens the text.
            self._scratch = SecureMemory(4 * self._points)

    def text(self, *, counted: bool) -> str:
        """Decode, as an access when `counted`."""
        status, lease, exporter = open_lease(self._handle, COUNTED if counted else PEEK)
        if status:
            _lib.raise_status(status)
        try:
            text = self._decode(exporter, lease.length) if self._scratch is None else self._decode_wide(self._scratch)
        finally:
            status = lib.zpy_cell_lease_close(lease)
        if status:
            _lib.raise_status(status)  # Wiped meanwhile: the text may be zeros.
        if text is None:
            raise ValueError(f"Invalid {codecs.lookup(self._encoding).name}")
        return text

    def _decode(self, exporter: Any, size: int) -> str | None:
        """None when the codec refuses: Python's own error carries the whole secret, so it must not get out."""
        try:
            return str(ffi.buffer(exporter, size), self._encoding)
        except UnicodeError:
            return None

    def _decode_wide(self, scratch: SecureMemory) -> str:
        try:
            points = int(lib.zpy_cell_decode(self._handle, scratch._handle))
            status, _lease, exporter = open_lease(scratch._handle, PEEK)
            if points < 0 or status:
                _lib.raise_status(-points if points < 0 else status)
            text: str = ffi.unpack(ffi.cast("char32_t *", exporter), points)
            return text
        finally:
            scratch.close()


def mask_text(handle: int, suffix_len: int, mask: str) -> str:
    """The text of a cell with all but its last characters masked."""
    check_size(suffix_len, "suffix_len")
    if not isinstance(mask, str):
        raise TypeError(f"mask must be str, not {type(mask).__name__}")
    if len(mask) != 1:
        raise ValueError(f"mask must be one character, not {len(mask)}")
    points = count_points(handle)
    if suffix_len >= points or suffix_len == 0:
        return mask * points
    status, lease, exporter = open_lease(handle, PEEK)
    if status:
        _lib.raise_status(status)
    view = memoryview(ffi.buffer(exporter, lease.length))
    start, left = len(view), suffix_len
    while left and start:
        start -= 1
        left -= view[start] & 0xC0 != 0x80  # Every byte but the continuation bytes begins a character.
    suffix = str(view[start:], "utf-8", "replace")
    status = lib.zpy_cell_lease_close(lease)
    if status:
        _lib.raise_status(status)  # Wiped meanwhile: the suffix may be zeros.
    return mask * (points - suffix_len) + suffix


def verify_secret(handle: int, other: Any) -> bool:
    """Whether a cell equals anything with bytes, in constant time."""
    if isinstance(other, str):
        encoded = _lib.encode_text(other, "other")
        try:
            return equals(handle, encoded)
        finally:
            _lib.wipe_bytes(encoded)
    if can_borrow(other):
        # Looking at another cell in order to compare is not an access to it.
        return lend(other, lambda view: verify_secret(handle, view), peek=True)
    if type(other) is bytes:
        return equals(handle, other)
    with _lib.as_buffer(other, "other") as source:
        return equals(handle, source)


def equals(handle: int, source: Any) -> bool:
    """Whether a cell equals bytes or a cffi buffer. Raises as `differs`."""
    answer = int(_lib.core(len(source), "verify")(handle, source, len(source)))
    return answer == 1 or differs(answer)


class CypherView(Redacted):
    """What `with cell as view:` gives: the secret, readable until the block ends.

    Reading it any number of times within the block counts as the block's one access.
    """

    __slots__ = ("_handle", "_open", "_size")

    _kept = None

    def __init__(self, handle: int, size: int) -> None:
        self._handle = handle
        self._size = size
        self._open = True

    def _check(self) -> int:
        if not self._open:
            raise ViewExpiredError("View expired")
        return self._handle

    def reveal(self, encoding: str = "utf-8") -> str:
        """The secret as `str`, which cannot be wiped.

        Raises:
            ViewExpiredError: "View expired": the block has ended.
            CellWipedError, CellExpiredError: The cell ended within the block.
            ValueError: "Invalid UTF-8".
        """
        return Decoding(self._check(), self._size, encoding).text(counted=False)

    def reveal_bytes(self) -> bytes:
        """The secret as `bytes`, which cannot be wiped. Raises as `reveal`."""
        status, data = read_bytes(self._check(), 0, self._size)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return data

    def reveal_masked(self, suffix_len: int = 4, mask: str = "*") -> str:
        """The last characters only; see `CypherCell.reveal_masked`."""
        return mask_text(self._check(), suffix_len, mask)

    def verify(self, other: Buffer | str | Borrowable) -> bool:
        """Whether the secret equals `other`, in constant time; see `CypherCell.verify`."""
        handle = self._check()
        try:
            return verify_secret(handle, other)
        except BaseException as error:
            other = b""
            _lib.clear_locals(error)
            raise

    def borrow(self) -> Borrow:
        """Lend the bytes as a read-only memoryview, without a copy and without counting an access."""
        self._check()
        return Borrow(self, _lib.raise_status, PEEK)

    _peek = borrow
    _lend = _check

    def __bytes__(self) -> bytes:
        return self.reveal_bytes()

    def __str__(self) -> str:
        return self.reveal()

    def __len__(self) -> int:
        self._check()
        return self._size
