"""Arguments that are buffers: what is no secret as bytes, and where a secret is written to."""

from __future__ import annotations

from . import _lib
from ._lib import ffi

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

__all__ = ["as_target", "is_bytes", "public_bytes"]


def is_bytes(data: Any) -> bool:
    """Whether these are bytes that the core can be given as they are: len() and slices tell what is there.

    A subclass may tell anything, and the core would read beyond it.
    """
    kind = type(data)
    if kind is bytes:
        return True
    return issubclass(kind, bytes) and kind.__len__ is bytes.__len__ and kind.__getitem__ is bytes.__getitem__


def public_bytes(data: Any, name: str) -> bytes:
    """What is no secret (nonce, ciphertext, associated data, salt) as bytes; copied where it is something else.

    Raises:
        TypeError: Not bytes-like.
    """
    if is_bytes(data):
        return data  # type: ignore[no-any-return]
    with _lib.as_buffer(data, name) as source:
        return bytes(ffi.buffer(source))


def as_target(buffer: Any, size: int) -> Any:
    """A cffi view, as `_lib.as_buffer` gives, of a writable buffer that so many bytes fit into.

    Raises:
        TypeError: Not a writable contiguous buffer.
        ValueError: Too short.
    """
    target = _lib.as_buffer(buffer, "buffer")
    is_readonly = memoryview(buffer).readonly
    if not is_readonly and len(target) >= size:
        return target
    room = len(target)
    ffi.release(target)
    if is_readonly:
        raise TypeError(f"buffer must be writable; {type(buffer).__name__} is not")
    raise ValueError(f"buffer of {room} bytes is too short for {size}")
