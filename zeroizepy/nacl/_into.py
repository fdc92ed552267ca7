"""Where a secret result goes: into `bytes`, as PyNaCl has it, or straight into secure memory."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.memory import SecureMemory

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Into = SecureMemory | type[SecureMemory]
    """Secure memory of the result's size, which is filled and returned, or the class, of which one is made."""

__all__ = ["output"]


def output(size: int, into: Any, run: Callable[[Any], None]) -> Any:
    """Have a result of `size` bytes written where the caller wants it.

    Args:
        size: Bytes.
        into: None for a new `bytes` object, or an Into.
        run: Gets what cffi takes for a pointer to that many bytes, writes them, and raises when it cannot. It must not
            keep the pointer.

    Returns:
        The `bytes` (Any, because a type checker cannot follow `into` here), or the memory.

    Raises:
        TypeError: `into` is something else.
        ValueError: It has another size; `run` was not called.
        SecureMemoryClosed: It is closed, or was closed while `run` wrote.
        LockLimitError: Nothing more can be locked for a new one.

    What is made here is wiped when `run` raises. Memory of the caller's may then hold anything that `run` left there.
    """
    if into is None:
        return _new_bytes(size, run)
    if isinstance(into, SecureMemory):
        if into.size != size:
            raise ValueError(f"into must have exactly {size} bytes, not {into.size}")
        _fill(into, run)
        return into
    if not isinstance(into, type) or not issubclass(into, SecureMemory):
        raise TypeError(f"into must be SecureMemory, the class or an object of it, or None, not {type(into).__name__}")
    memory = into(size)
    try:
        _fill(memory, run)
    except BaseException:
        memory.close()
        raise
    return memory


def _new_bytes(size: int, run: Callable[[Any], None]) -> bytes:
    # Objects of up to one byte are shared by the whole interpreter.
    out: Any = bytes(size) if size > 1 else ffi.new("uint8_t[]", 1)
    try:
        run(out)
    except BaseException:
        _wipe(out, size)
        raise
    if size > 1:
        return out  # type: ignore[no-any-return]
    result = bytes(ffi.buffer(out, size))
    _wipe(out, size)
    return result


def _wipe(out: Any, size: int) -> None:
    _lib.core(size, "memzero")(out, size)


def _fill(memory: SecureMemory, run: Callable[[Any], None]) -> None:
    borrow = memory.borrow(writable=True)
    with borrow as view, _lib.as_buffer(view, "into") as pointer:
        run(pointer)
        del pointer, view
    if borrow.end_status != lib.ZPY_OK:
        borrow.fail()
