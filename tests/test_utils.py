"""secure_compare and secure_clear."""

from __future__ import annotations

import array
import ctypes
import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import CellWipedError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory
from zeroizepy.utils import secure_clear, secure_compare

MAKERS: dict[str, Any] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "array": lambda data: array.array("B", data),
    "str": bytes.decode,
    "cell": CypherCell,
    "memory": SecureMemory.from_bytes,
}


@pytest.mark.parametrize("left", MAKERS)
@pytest.mark.parametrize("right", MAKERS)
def test_compare_every_pair_of_types(left: str, right: str) -> None:
    """The bytes count, not the type."""
    one, same, other = MAKERS[left](b"secret"), MAKERS[right](b"secret"), MAKERS[right](b"secreT")
    assert secure_compare(one, same) is True
    assert secure_compare(one, other) is False
    assert secure_compare(one, MAKERS[right](b"secret2")) is False


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_compare_agrees_with_equality(left: bytes, right: bytes) -> None:
    """For all bytes: the answer of ==."""
    assert secure_compare(left, right) is (left == right)
    assert secure_compare(left, bytes(bytearray(left)))


@given(st.text(max_size=20), st.text(max_size=20))
def test_compare_text(left: str, right: str) -> None:
    """Text is compared as UTF-8, and the caller's objects are unharmed."""
    copy = "".join(list(left))
    assert secure_compare(left, right) is (left == right)
    assert left == copy
    assert secure_compare(left, left.encode())


def test_compare_the_same_object() -> None:
    """An object with itself, a cell included."""
    cell = CypherCell(b"secret")
    assert secure_compare(cell, cell)
    assert not cell.wiped
    assert secure_compare(b"", "")


def test_compare_key() -> None:
    """A key lends its own bytes only."""
    key = CryptoKey(bytes(range(32)))
    assert secure_compare(key, bytes(range(32)))
    assert secure_compare(CryptoKey(bytes(range(16))), bytearray(range(16)))


def test_compare_a_wiped_secret() -> None:
    """There is nothing to compare with."""
    cell, memory = CypherCell(b"secret"), SecureMemory(6)
    cell.wipe()
    memory.close()
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        secure_compare(b"secret", cell)
    with pytest.raises(SecureMemoryClosed):
        secure_compare(memory, b"secret")


@pytest.mark.parametrize("wrong", [None, 5, [1], memoryview(b"abcdef")[::2]], ids=["None", "int", "list", "strided"])
def test_compare_wrong_type(wrong: Any) -> None:
    """TypeError names the argument, not its content."""
    with pytest.raises(TypeError, match=r"^a must be a contiguous bytes-like object"):
        secure_compare(wrong, b"")
    with pytest.raises(TypeError, match=r"^b must be a contiguous bytes-like object"):
        secure_compare(b"", wrong)


@pytest.mark.parametrize("size", [0, 1, 32, 100_000])
def test_clear_bytearray(size: int) -> None:
    """Zeros of the same length, and the same object goes on being usable."""
    buffer = bytearray(b"\xff" * size)
    secure_clear(buffer)
    assert buffer == bytes(size)
    buffer.extend(b"more")


def test_clear_part() -> None:
    """A slice of a view clears that part and not its neighbours."""
    buffer = bytearray(b"abcdefgh")
    secure_clear(memoryview(buffer)[2:5])
    assert buffer == b"ab\0\0\0fgh"


def test_clear_other_buffers() -> None:
    """Arrays of wide items, mmap, ctypes and secure memory's writable views."""
    wide = array.array("Q", [2**64 - 1] * 5)
    secure_clear(wide)
    assert wide.tolist() == [0] * 5
    with mmap.mmap(-1, 4096) as pages:
        pages[:] = b"\xff" * 4096
        secure_clear(pages)
        assert pages[:] == bytes(4096)
    struct = (ctypes.c_uint32 * 4)(1, 2, 3, 4)
    secure_clear(struct)
    assert list(struct) == [0] * 4
    memory = SecureMemory.from_bytes(b"secret")
    with memory.borrow(writable=True) as view:
        secure_clear(view)
    assert memory.get_bytes() == bytes(6)


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        (b"bytes", "buffer must be writable; bytes cannot be wiped"),
        (memoryview(b"bytes"), "buffer must be writable; memoryview cannot be wiped"),
        ("text", "buffer must be a contiguous bytes-like object, not str"),
        (None, "buffer must be a contiguous bytes-like object, not NoneType"),
        (memoryview(bytearray(8))[::2], "buffer must be a contiguous bytes-like object"),
    ],
    ids=["bytes", "memoryview", "str", "None", "strided"],
)
def test_clear_refuses(buffer: Any, message: str) -> None:
    """What cannot be cleared is a TypeError, and is left as it was."""
    before = bytes(buffer) if isinstance(buffer, bytes) else None
    with pytest.raises(TypeError, match=message):
        secure_clear(buffer)
    assert before is None or buffer == before


def test_clear_does_not_touch_a_borrowed_cell() -> None:
    """A cell lends read-only views: they are not cleared from outside."""
    cell = CypherCell(b"secret")
    with cell.borrow() as view, pytest.raises(TypeError, match=r"buffer must be writable"):
        secure_clear(view)
    assert cell.verify(b"secret")
