"""zeroizepy.nacl's `into`: secret results straight into secure memory."""

from __future__ import annotations

from typing import Any

import pytest

from zeroizepy import SecureMemory, SecureMemoryClosed
from zeroizepy._lib import core, ffi, lib
from zeroizepy.memory import stats
from zeroizepy.nacl._into import output

SIZES = pytest.mark.parametrize("size", [0, 1, 2, 32, 5000])


class Larger(SecureMemory):
    """A class of the user's own."""


def write(text: bytes) -> Any:
    """What `output` runs: writes these bytes."""
    source = SecureMemory.from_bytes(text)

    def run(pointer: Any) -> None:
        assert core(len(text), "read")(source._handle, 0, pointer, len(text)) == lib.ZPY_OK

    return run


@SIZES
def test_bytes_are_new(size: int) -> None:
    """Without `into` the result is a bytes object that nothing else shares."""
    text = b"\xa5" * size
    assert output(size, None, write(text)) == text
    assert (bytes(1), bytes([0])) == (b"\0", b"\0")


@SIZES
@pytest.mark.parametrize("kind", [SecureMemory, Larger])
def test_the_class_makes_one(size: int, kind: type[SecureMemory]) -> None:
    """The class gives new memory of that class and just that size."""
    made = output(size, kind, write(b"\xa5" * size))
    assert (type(made), made.get_bytes()) == (kind, b"\xa5" * size)


@SIZES
@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_memory_is_filled(size: int, tier: Any) -> None:
    """Memory of the caller's, of any tier, is filled and returned itself."""
    memory = SecureMemory(size, tier=tier)
    assert output(size, memory, write(b"\xa5" * size)) is memory
    assert memory.get_bytes() == b"\xa5" * size


def test_another_size_is_refused_untouched() -> None:
    """Nothing runs when the memory has another size."""
    memory = SecureMemory.from_bytes(b"before")
    with pytest.raises(ValueError, match="into must have exactly 32 bytes, not 6"):
        output(32, memory, lambda _pointer: pytest.fail("it ran"))
    assert memory.get_bytes() == b"before"


@pytest.mark.parametrize("into", [bytearray(32), bytes, "SecureMemory", 32, True])
def test_anything_else_is_refused(into: Any) -> None:
    """A buffer that is no secure memory is not taken for one; the error does not show it."""
    with pytest.raises(TypeError, match=f"not {type(into).__name__}$"):
        output(32, into, lambda _pointer: pytest.fail("it ran"))


def test_closed_memory_is_refused() -> None:
    """Closed before, nothing runs; closed meanwhile, the caller hears of it."""
    memory = SecureMemory(32)
    with pytest.raises(SecureMemoryClosed):
        output(32, memory, lambda _pointer: memory.close())
    with pytest.raises(SecureMemoryClosed):
        output(32, memory, lambda _pointer: pytest.fail("it ran"))


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("into", [None, SecureMemory])
def test_what_fails_leaves_nothing(size: int, into: Any) -> None:
    """When it raises, what was written is wiped, and no cell stays."""
    seen: list[Any] = []
    run = write(b"\xa5" * size)

    def fail(pointer: Any) -> None:
        run(pointer)
        if into is None:
            seen.append(pointer)
        raise ArithmeticError

    before = stats().cells
    with pytest.raises(ArithmeticError):
        output(size, into, fail)
    assert [bytes(memoryview(each) if size > 1 else ffi.buffer(each)) for each in seen] == [bytes(size)] * len(seen)
    assert stats().cells == before
