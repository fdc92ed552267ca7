"""Constant-time comparison and clearing of ordinary buffers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import _lib
from ._lib import lib
from .slots import Borrowable, can_borrow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

__all__ = ["secure_clear", "secure_compare"]


def secure_compare(a: Buffer | str | Borrowable, b: Buffer | str | Borrowable) -> bool:
    """Whether `a` and `b` hold the same bytes, in time that depends on their lengths alone.

    Args:
        a, b: bytes-like, str (as UTF-8), or a cell, memory or key.

    Raises:
        TypeError: Something else.

    Source: libsodium's sodium_memcmp.
    Does not hide: whether the lengths differ.
    """
    if can_borrow(a):
        with a.borrow() as view:
            return secure_compare(view, b)
    if can_borrow(b):
        with b.borrow() as view:
            return secure_compare(a, view)
    with _readable(a, "a") as left, _readable(b, "b") as right:
        return len(left) == len(right) and lib.zpy_cell_memequal(left, right, len(left)) == 1


@contextmanager
def _readable(data: Any, name: str) -> Iterator[Any]:
    if isinstance(data, str):
        encoded = data.encode()
        try:
            yield encoded
        finally:
            _lib.wipe_bytes(encoded)
    elif type(data) is bytes:
        yield data
    else:
        with _lib.as_buffer(data, name) as source:
            yield source


def secure_clear(buffer: Buffer) -> None:
    """Overwrite a mutable buffer with zeros, in place; the compiler cannot drop it.

    Args:
        buffer: Writable and contiguous: bytearray, memoryview, array, mmap, ctypes or numpy array.

    Raises:
        TypeError: Read-only, not contiguous, or no buffer.

    Source: libsodium's sodium_memzero.
    Does not reach: copies that Python made of the content before, as when a bytearray grew.
    """
    with _lib.as_buffer(buffer, "buffer") as target:
        if memoryview(buffer).readonly:
            raise TypeError(f"buffer must be writable; {type(buffer).__name__} cannot be wiped")
        lib.zpy_cell_memzero(target, len(target))
