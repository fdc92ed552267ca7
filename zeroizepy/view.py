"""Reading a cell: what cells and the views that their `with` blocks give have in common."""

from __future__ import annotations

import codecs
from _thread import get_ident
from typing import TYPE_CHECKING, Any

from . import _lib
from ._lib import ffi, lib
from .exceptions import ViewExpiredError
from .slots import Borrow, Borrowable, Redacted, can_borrow, check_size, export_view, null_status, read_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CypherView", "decode", "mask_text", "pinned", "text_points", "verify_secret"]


def pinned(handle: int, address: Any) -> Any:
    """Pass a pinned address on, or raise for the null that the core gave instead."""
    if address == ffi.NULL:
        _lib.raise_status(null_status(handle))
    return address


def count_points(handle: int) -> int:
    """Characters of a cell that holds UTF-8. Raises as `raise_status` does."""
    points = int(lib.zpy_cell_decode(handle, 0))
    if points < 0:
        _lib.raise_status(-points)
    return points


def text_points(handle: int, encoding: str) -> int | None:
    """Check that a cell can be decoded before an access is counted: characters for UTF-8, None for another codec."""
    if encoding != "utf-8" and codecs.lookup(encoding).name != "utf-8":
        return None
    return count_points(handle)


def decode(handle: int, address: Any, size: int, encoding: str, points: int | None) -> str:
    """Make the str of a pinned cell; exactly one object for UTF-8, ASCII and Latin-1."""
    if points is None:
        return _foreign_text(address, size, encoding)
    if points == size:
        return str(ffi.buffer(address, size), "ascii")
    return _wide_text(handle, points)


def _foreign_text(address: Any, size: int, encoding: str) -> str:
    """Decode with another codec than UTF-8.

    Python's own UnicodeDecodeError carries the whole secret in its `object`, so neither it nor an exception that
    has it as context may get out.
    """
    try:
        return str(ffi.buffer(address, size), encoding)
    except UnicodeDecodeError as error:
        codec = error.encoding
    raise ValueError(f"Invalid {codec}")


def _wide_text(handle: int, points: int) -> str:
    """Build a non-ASCII str in one piece: CPython's own decoder leaves parts behind as it widens the text."""
    scratch = _lib.new_handle(ffi.NULL, 4 * points)
    try:
        status = int(lib.zpy_cell_decode(handle, scratch))
        if status < 0:
            _lib.raise_status(-status)
        address = pinned(scratch, lib.zpy_cell_pin(scratch))
        try:
            text: str = ffi.unpack(ffi.cast("char32_t *", address), points)
        finally:
            lib.zpy_cell_unpin(scratch)
        return text
    finally:
        lib.zpy_cell_wipe(scratch)


def mask_text(handle: int, size: int, suffix_len: int, mask: str) -> str:
    """The text of a cell with all but its last characters masked."""
    check_size(suffix_len, "suffix_len")
    if not isinstance(mask, str):
        raise TypeError(f"mask must be str, not {type(mask).__name__}")
    if len(mask) != 1:
        raise ValueError(f"mask must be one character, not {len(mask)}")
    points = count_points(handle)
    if suffix_len >= points or suffix_len == 0:
        return mask * points
    view = export_view(pinned(handle, lib.zpy_cell_pin(handle)), size, handle)
    start, left = size, suffix_len
    while left:
        start -= 1
        left -= view[start] & 0xC0 != 0x80  # Every byte but the continuation bytes begins a character.
    suffix = str(view[start:], "utf-8")
    view.release()
    status = lib.zpy_cell_state(handle)
    if status != lib.ZPY_OK:
        _lib.raise_status(status)
    return mask * (points - suffix_len) + suffix


def verify_secret(handle: int, other: Any) -> bool:
    """Whether a cell equals anything with bytes, in constant time."""
    if isinstance(other, str):
        encoded = other.encode()
        try:
            return bool(lib.zpy_cell_verify(handle, encoded, len(encoded)))
        finally:
            _lib.wipe_bytes(encoded)
    if can_borrow(other):
        # Looking at another cell in order to compare is not an access to it.
        with getattr(other, "_peek", other.borrow)() as view:
            return verify_secret(handle, view)
    if type(other) is bytes:
        return bool(lib.zpy_cell_verify(handle, other, len(other)))
    with _lib.as_buffer(other, "other") as source:
        return bool(lib.zpy_cell_verify(handle, source, len(source)))


class CypherView(Redacted):
    """What `with cell as view:` gives: the secret, readable until the block ends.

    Reading it any number of times within the block counts as the block's one access.
    """

    __slots__ = ("_handle", "_open", "_size", "_thread")

    def __init__(self, handle: int, size: int) -> None:
        self._handle = handle
        self._size = size
        self._open = True
        self._thread = get_ident()

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
        handle = self._check()
        points = text_points(handle, encoding)
        address = pinned(handle, lib.zpy_cell_pin(handle))
        try:
            text = decode(handle, address, self._size, encoding, points)
        finally:
            status = lib.zpy_cell_unpin(handle)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)  # Wiped meanwhile: the text may be zeros.
        return text

    def reveal_bytes(self) -> bytes:
        """The secret as `bytes`, which cannot be wiped. Raises as `reveal`."""
        status, data = read_bytes(self._check(), 0, self._size)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return data

    def reveal_masked(self, suffix_len: int = 4, mask: str = "*") -> str:
        """The last characters only; see `CypherCell.reveal_masked`."""
        return mask_text(self._check(), self._size, suffix_len, mask)

    def verify(self, other: Buffer | str | Borrowable) -> bool:
        """Whether the secret equals `other`, in constant time; see `CypherCell.verify`."""
        return verify_secret(self._check(), other)

    def borrow(self) -> Borrow:
        """Lend the bytes as a read-only memoryview, without a copy and without counting an access."""
        self._check()
        return Borrow(self, self._size, _lib.raise_status, counted=False)

    _peek = borrow

    def __bytes__(self) -> bytes:
        return self.reveal_bytes()

    def __str__(self) -> str:
        return self.reveal()

    def __len__(self) -> int:
        self._check()
        return self._size
