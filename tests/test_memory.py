"""Secure memory: bounds, zeroing, borrowing, closing, figures."""

from __future__ import annotations

import array
import gc
from typing import Any

import pytest

import zeroizepy
from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellWipedError, SecureMemoryClosed, SecureMemoryError
from zeroizepy.memory import MemoryStats, SecureMemory, purge, secret_bytes, secure_alloc, stats

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SIZES = [0, 1, 16, 17, 4096, 4097, 65536]
TIERS = ["packed", "isolated", "sealed"]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("size", SIZES)
def test_new_memory_is_zero(size: int, tier: str) -> None:
    """Zeros of the size asked for."""
    memory = SecureMemory(size, tier=tier)
    assert memory.get_bytes() == bytes(size)
    assert memory.size == len(memory) == size
    assert not memory.closed


def test_ways_to_make_one() -> None:
    """alloc, from_bytes and secret_bytes."""
    assert SecureMemory.alloc(32).get_bytes() == bytes(32)
    assert SecureMemory.from_bytes(b"topsecret").get_bytes() == b"topsecret"
    assert secret_bytes(b"topsecret").read(9) == b"topsecret"


@pytest.mark.parametrize(
    "data",
    [b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), array.array("B", b"bytes"), CypherCell, secret_bytes],
    ids=["bytes", "bytearray", "memoryview", "array", "cell", "memory"],
)
def test_sources(data: Any) -> None:
    """Anything bytes-like, cells and memory."""
    source = data(b"bytes") if callable(data) else data
    assert SecureMemory.from_bytes(source).get_bytes() == b"bytes"
    target = SecureMemory(7)
    target.write(source, 1)
    assert target.get_bytes() == b"\0bytes\0"


def test_wider_items_are_taken_as_bytes() -> None:
    """An array of 32-bit items gives all its bytes."""
    source = array.array("I", [1, 2, 3])
    assert SecureMemory.from_bytes(source).get_bytes() == source.tobytes()


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2]], ids=lambda data: type(data).__name__)
def test_wrong_type(data: Any) -> None:
    """TypeError names the argument and the type that was given."""
    message = rf"data must be a contiguous bytes-like object, not {type(data).__name__}"
    with pytest.raises(TypeError, match=message):
        SecureMemory.from_bytes(data)
    with pytest.raises(TypeError, match=message):
        SecureMemory(8).write(data)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (-1, ValueError, "size must not be negative, not -1"),
        (1.0, TypeError, "size must be an int, not float"),
        ("8", TypeError, "size must be an int, not str"),
        (None, TypeError, "size must be an int, not NoneType"),
        (True, TypeError, "size must be an int, not bool"),
    ],
)
@pytest.mark.parametrize("make", [SecureMemory, SecureMemory.alloc, secure_alloc])
def test_wrong_size(make: Any, size: Any, error: type[Exception], message: str) -> None:
    """Named, with what was given; the half-made object dies quietly."""
    with pytest.raises(error, match=message):
        make(size).__enter__()
    gc.collect()


@pytest.mark.parametrize("size", [1 << 41, 1 << 62, 1 << 63, 1 << 64, 1 << 200])
def test_impossible_size(size: int) -> None:
    """More than any machine has is a MemoryError, not a crash or an OverflowError."""
    with pytest.raises(MemoryError):
        SecureMemory(size)


def test_over_the_budget() -> None:
    """More than may be locked is a LockLimitError, which is a MemoryError, with a remedy; nothing stays charged."""
    before = stats()
    with pytest.raises(
        zeroizepy.LockLimitError, match=r"Failed to lock memory for .* \d+ bytes: .*RLIMIT_MEMLOCK"
    ) as caught:
        SecureMemory(before.budget_bytes + 4096)
    assert isinstance(caught.value, MemoryError)
    assert stats().locked_bytes <= before.locked_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tier": "sealed!"}, "tier must be"),
        ({"policy": "none"}, "policy must be None, 'seal' or 'strict', not 'none'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    """As for cells."""
    with pytest.raises(ValueError, match=message):
        SecureMemory(8, **options)


# ---- write and read ----


@pytest.mark.parametrize("size", [16, 100, 5000])
def test_write_then_read(size: int) -> None:
    """Pieces land where they were written, at both ends too."""
    memory = SecureMemory(size)
    memory.write(b"abc")
    memory.write(b"xyz", size - 3)
    memory.write(b"", size)
    assert memory.get_bytes() == b"abc" + bytes(size - 6) + b"xyz"
    assert memory.read(3) == b"abc"
    assert memory.read(3, size - 3) == memory.read(None, size - 3) == b"xyz"
    assert memory.read(0, size) == memory.read(None, size) == b""
    assert memory.read(length=1, offset=1) == b"b"


@pytest.mark.parametrize(
    ("data", "offset"), [(bytes(33), 0), (b"x", 32), (bytes(32), 1), (b"", 33), (b"x", 1 << 63), (b"x", 1 << 70)]
)
def test_write_out_of_bounds(data: bytes, offset: int) -> None:
    """ValueError with the numbers, and nothing is written."""
    memory = SecureMemory.from_bytes(b"\xaa" * 32)
    with pytest.raises(ValueError, match=rf"{len(data)} bytes at offset {offset} do not fit into 32 bytes"):
        memory.write(data, offset)
    assert memory.get_bytes() == b"\xaa" * 32


@pytest.mark.parametrize(
    ("length", "offset"), [(33, 0), (1, 32), (None, 33), (0, 33), (1 << 62, 0), (1 << 70, 0), (1, 1 << 70)]
)
def test_read_out_of_bounds(length: int | None, offset: int) -> None:
    """ValueError with the numbers."""
    with pytest.raises(ValueError, match=rf"bytes at offset {offset} are not within 32 bytes"):
        SecureMemory(32).read(length, offset)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "length must not be negative, not -1"),
        ((1, -1), ValueError, "offset must not be negative, not -1"),
        ((1.5,), TypeError, "length must be an int, not float"),
        (("1",), TypeError, "length must be an int, not str"),
        ((1, None), TypeError, "offset must be an int, not NoneType"),
        ((True,), TypeError, "length must be an int, not bool"),
    ],
)
def test_read_bad_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    """Each argument is named."""
    with pytest.raises(error, match=message):
        SecureMemory(32).read(*arguments)


@pytest.mark.parametrize(("offset", "error"), [(-1, ValueError), ("0", TypeError), (None, TypeError), (0.0, TypeError)])
def test_write_bad_offset(offset: Any, error: type[Exception]) -> None:
    """The offset is named, and nothing is written."""
    memory = SecureMemory(32)
    with pytest.raises(error, match=r"offset must"):
        memory.write(b"x", offset)
    assert memory.get_bytes() == bytes(32)


@pytest.mark.parametrize("tier", TIERS)
def test_zero(tier: str) -> None:
    """All zeros, and still usable."""
    memory = SecureMemory(100, tier=tier)
    memory.write(b"\xff" * 100)
    memory.zero()
    assert memory.get_bytes() == bytes(100)
    memory.write(b"again")
    assert memory.read(5) == b"again"


def test_write_over_itself() -> None:
    """A borrowed view of the memory can be written to another place of the same memory."""
    memory = SecureMemory.from_bytes(b"abcdefgh")
    with memory.borrow() as view:
        memory.write(view[:6], 2)
    assert memory.get_bytes() == b"ababcdef"


# ---- borrow ----


@pytest.mark.parametrize("tier", TIERS)
def test_borrow_reads_and_writes_in_place(tier: str) -> None:
    """A writable view writes the memory itself; any other is read-only."""
    memory = SecureMemory(8, tier=tier)
    with memory.borrow(writable=True) as view:
        view[:4] = b"abcd"
        assert memory.read(4) == b"abcd"
    with memory.borrow() as view:
        assert view.readonly
        assert bytes(view) == b"abcd\0\0\0\0"
        with pytest.raises(TypeError):
            view[0] = 1


def test_writable_view_after_close() -> None:
    """What is written through a stale view reaches no other secret, and is noticed or thrown away."""
    memory = SecureMemory(32)
    with memory.borrow(writable=True) as view:
        stale = view[:]
    memory.close()
    stale[:] = b"\xee" * 32
    others = [SecureMemory(32) for _ in range(500)]
    assert all(other.get_bytes() == bytes(32) for other in others)
    del stale, view
    gc.collect()
    more = [SecureMemory(32) for _ in range(500)]
    assert all(other.get_bytes() == bytes(32) for other in more)


# ---- the end ----


@pytest.mark.parametrize("tier", TIERS)
def test_close(tier: str) -> None:
    """Afterwards every use raises SecureMemoryClosed, size stays known, and closing again is harmless."""
    memory = SecureMemory(32, tier=tier)
    for _ in range(3):
        memory.close()
    assert memory.closed
    assert memory.size == 32
    uses: list[Any] = [
        memory.read,
        memory.get_bytes,
        memory.zero,
        lambda: memory.write(b"x"),
        lambda: memory.write(b""),
        lambda: memory.read(0),
        lambda: memory.borrow().__enter__(),
        lambda: memory.borrow(writable=True).__enter__(),
        lambda: memory.protection,
        memory.__enter__,
    ]
    for use in uses:
        with pytest.raises(SecureMemoryClosed, match=r"^secure memory is closed$"):
            use()


def test_closed_error_types() -> None:
    """It is caught as secure memory's error and as a wiped cell."""
    assert issubclass(SecureMemoryClosed, SecureMemoryError)
    assert issubclass(SecureMemoryClosed, CellWipedError)


def test_with_closes() -> None:
    """A block gives the memory itself and closes it, also when the block raises."""
    with SecureMemory(8) as memory:
        memory.write(b"x")
    assert memory.closed
    held: list[SecureMemory] = []

    def fail() -> None:
        with secure_alloc(16) as inner:
            held.append(inner)
            raise KeyError("inside")

    with pytest.raises(KeyError, match=r"inside"):
        fail()
    assert held[0].closed


def test_secure_alloc() -> None:
    """Zeros within the block, closed after."""
    with secure_alloc(32) as memory:
        assert memory.get_bytes() == bytes(32)
        memory.close()
    assert memory.closed


def test_purge() -> None:
    """purge() closes memory too, isolated and large ones included."""
    memories = [SecureMemory(32), SecureMemory(32, tier="isolated"), SecureMemory(9000)]
    live = stats().cells
    assert live >= 3
    assert purge() == live
    assert all(memory.closed for memory in memories)


def test_purge_zeroes_under_a_view() -> None:
    """A view that outlives purge() reads zeros."""
    memory = SecureMemory.from_bytes(b"secret")
    with memory.borrow() as view:
        purge()
        assert bytes(view) == bytes(6)


def test_stats() -> None:
    """The figures follow what happens."""
    before = stats()
    packed, isolated = SecureMemory(32), SecureMemory(32, tier="isolated")
    now = stats()
    assert isinstance(now, MemoryStats)
    assert (now.cells, now.isolated) == (before.cells + 2, before.isolated + 1)
    assert now.locked_bytes >= before.locked_bytes + 4096
    assert now.peak_locked_bytes >= now.locked_bytes
    assert now.budget_bytes >= now.locked_bytes
    packed.close()
    isolated.close()
    after = stats()
    assert (after.cells, after.isolated) == (before.cells, before.isolated)
    assert after.locked_bytes == now.locked_bytes - 4096
    assert after.wipes == before.wipes + 2


def test_stats_are_frozen() -> None:
    """A value, not a window."""
    with pytest.raises(AttributeError):
        stats().cells = 5  # type: ignore[misc]


@pytest.mark.parametrize("data", ["canary", b"canary", bytearray(b"canary"), 1.5])
def test_secure_memory_is_given_a_size(data: object) -> None:
    """Bytes in its place are told where they go, and no frame of the error holds them."""
    with pytest.raises(
        TypeError, match=r"size must be an int, not \w+; SecureMemory\.from_bytes copies data"
    ) as caught:
        SecureMemory(data)  # type: ignore[arg-type]
    assert all(data is not each for entry in caught.traceback[1:] for each in entry.frame.f_locals.values())
