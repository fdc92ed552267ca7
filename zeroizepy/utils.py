"""Constant-time comparison and clearing of ordinary buffers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import _lib
from .slots import can_borrow, lend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from .values import Borrowable

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
    try:
        if can_borrow(a):
            return lend(a, lambda view: secure_compare(view, b))
        if can_borrow(b):
            return lend(b, lambda view: secure_compare(a, view))
        with _readable(a, "a") as left, _readable(b, "b") as right:
            size = len(left)
            return size == len(right) and _lib.core(size, "memequal")(left, right, size) == 1
    except BaseException as error:
        a = b = left = right = b""
        _lib.clear_locals(error)
        raise


@contextmanager
def _readable(data: Any, name: str) -> Iterator[Any]:
    if isinstance(data, str):
        encoded = _lib.encode_text(data, name)
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
    kind = type(buffer).__name__
    try:
        readonly = memoryview(buffer).readonly
    except TypeError:
        readonly = False  # No buffer at all: as_buffer says so.
    if readonly:
        buffer = b""  # For reporters that print the variables of a traceback.
        raise TypeError(f"buffer must be writable; {kind} cannot be wiped")
    try:
        with _lib.as_buffer(buffer, "buffer") as target:
            _lib.core(len(target), "memzero")(target, len(target))
    except BaseException as error:
        buffer = b""
        _lib.clear_locals(error)
        raise
