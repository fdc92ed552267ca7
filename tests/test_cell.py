"""Cells: how they are made, limited and wiped, and what bad input gets."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

import pytest
from support.lifetimes import in_time, outlive

from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellError, CellExpiredError, CellWipedError
from zeroizepy.memory import SecureMemory, purge, stats

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SECRET = b"correct horse battery staple"
SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 544, 4095, 4096, 4097, 8192, 100_000]
TIERS = ["packed", "isolated", "sealed"]


def uses(cell: CypherCell) -> dict[str, Any]:
    """Every way to reach the secret, which must fail once it is gone."""
    return {
        "reveal": cell.reveal,
        "reveal_bytes": cell.reveal_bytes,
        "reveal_masked": cell.reveal_masked,
        "borrow": lambda: cell.borrow().__enter__(),
        "with": cell.__enter__,
        "copy_into": lambda: cell.copy_into(bytearray(100_000)),
        "compare": lambda: cell.compare(cell),
        "protection": lambda: cell.protection,
        "len": lambda: len(cell),
    }


# ---- making ----


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back(size: int, tier: str) -> None:
    """What went in comes out, below, at and above each size class and the page."""
    data = bytes(number * 7 & 0xFF for number in range(size))
    cell = CypherCell(data, tier=tier)
    assert cell.reveal_bytes() == data
    assert len(cell) == size
    assert cell.verify(data)
    with cell.borrow() as view:
        assert bytes(view) == data
        assert len(view) == size


@pytest.mark.parametrize(
    "data",
    ["größe 鍵 🔑", b"bytes", bytearray(b"bytearray"), memoryview(b"view"), memoryview(bytearray(b"writable view"))],
    ids=lambda data: type(data).__name__,
)
def test_accepted_sources(data: Any) -> None:
    """str goes in as UTF-8, anything bytes-like as it is."""
    expected = data.encode() if isinstance(data, str) else bytes(data)
    assert CypherCell(data).reveal_bytes() == expected


def test_bytes_subclass() -> None:
    """A subclass of bytes is taken for its bytes."""

    class Token(bytes):
        pass

    assert CypherCell(Token(SECRET)).reveal_bytes() == SECRET


@pytest.mark.parametrize("make", [SecureMemory.from_bytes, CypherCell], ids=["memory", "cell"])
def test_from_another_secret(make: Any) -> None:
    """A cell can be made from secure memory or another cell, which keep theirs."""
    source = make(SECRET)
    assert CypherCell(source).reveal_bytes() == SECRET
    with source.borrow() as view:
        assert bytes(view) == SECRET


def test_source_is_not_shared() -> None:
    """The cell has its own copy: changing the source later changes nothing."""
    source = bytearray(SECRET)
    cell = CypherCell(source)
    source[:] = bytes(len(source))
    assert cell.reveal_bytes() == SECRET


@pytest.mark.parametrize("size", [1, 28, 5000])
def test_wipe_source_zeroes_a_mutable_source(size: int) -> None:
    """wipe_source=True zeroes the bytearray, once its content is in the cell."""
    data = bytes(range(1, 256)) * (size // 255 + 1)
    source = bytearray(data[:size])
    assert CypherCell(source, wipe_source=True).reveal_bytes() == data[:size]
    assert source == bytes(size)


def test_wipe_source_ends_secure_memory() -> None:
    """wipe_source=True closes the memory that the secret was moved out of."""
    memory = SecureMemory.from_bytes(SECRET)
    assert CypherCell(memory, wipe_source=True).reveal_bytes() == SECRET
    assert memory.closed


@pytest.mark.parametrize("data", ["text", b"bytes", memoryview(b"view")], ids=lambda data: type(data).__name__)
def test_wipe_source_refuses_what_cannot_be_wiped(data: Any) -> None:
    """A promise that cannot be kept is refused, with the type and not the content."""
    with pytest.raises(TypeError, match=rf"wipe_source needs a mutable source; {type(data).__name__} cannot be wiped"):
        CypherCell(data, wipe_source=True)


@pytest.mark.parametrize("data", [None, 5, 1.5, ["a"], {"a": 1}, object()], ids=lambda data: type(data).__name__)
def test_wrong_type_of_data(data: Any) -> None:
    """The seed's message, to the letter at its start, and what was given."""
    with pytest.raises(TypeError, match=rf"^data must be str, bytes, or bytearray .*not {type(data).__name__}$"):
        CypherCell(data)


def test_not_contiguous() -> None:
    """A view with gaps is refused, by argument name."""
    with pytest.raises(TypeError, match=r"data must be a contiguous bytes-like object"):
        CypherCell(memoryview(bytearray(SECRET))[::2])


def test_lone_surrogate() -> None:
    """A str without a UTF-8 form is a plain ValueError: Python's UnicodeEncodeError would carry the whole text."""
    for attempt in (CypherCell, CypherCell(b"x").verify):
        with pytest.raises(ValueError, match=r"holds a lone surrogate") as caught:
            attempt("hunter2\udc80")
        assert type(caught.value) is ValueError
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ttl_sec": -1}, ValueError, "ttl_sec must be between 0 and .* seconds, not -1"),
        ({"ttl_sec": float("nan")}, ValueError, "ttl_sec must be between"),
        ({"ttl_sec": float("inf")}, ValueError, "ttl_sec must be between"),
        ({"ttl_sec": 1e300}, ValueError, "ttl_sec must be between"),
        ({"ttl_sec": 10**400}, ValueError, "ttl_sec must be between"),
        ({"ttl_sec": "5"}, TypeError, "ttl_sec must be a number of seconds or None, not str"),
        ({"ttl_sec": True}, TypeError, "ttl_sec must be a number of seconds or None, not bool"),
        ({"max_reads": 0}, ValueError, "max_reads must be between 1 and .*, not 0"),
        ({"max_reads": -3}, ValueError, "max_reads must be between 1 and .*, not -3"),
        ({"max_reads": 1 << 32}, ValueError, "max_reads must be between 1 and"),
        ({"max_reads": 1.0}, TypeError, "max_reads must be an int or None, not float"),
        ({"max_reads": True}, TypeError, "max_reads must be an int or None, not bool"),
        ({"volatile": True, "max_reads": 2}, ValueError, "volatile=True means max_reads=1, not 2"),
        ({"tier": "vault"}, ValueError, "tier must be 'packed', 'isolated' or 'sealed', not 'vault'"),
        ({"tier": None}, ValueError, "tier must be 'packed', 'isolated' or 'sealed', not None"),
        ({"policy": "lax"}, ValueError, "policy must be None, 'seal' or 'strict', not 'lax'"),
    ],
)
def test_bad_limits(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each argument is named, with what was given; the secret is not."""
    with pytest.raises(error, match=message) as caught:
        CypherCell(SECRET, **options)
    assert SECRET.decode() not in str(caught.value)


def test_bad_limits_leave_no_cell() -> None:
    """A refused constructor leaves nothing behind, and its half-made object dies quietly."""
    before = stats().cells
    for options in ({"ttl_sec": -1}, {"max_reads": 0}, {"tier": "x"}):
        with pytest.raises(ValueError, match=r"must be"):
            CypherCell(SECRET, **options)
    gc.collect()
    assert stats().cells == before


@pytest.mark.parametrize("size", [0, 1, 32, 4096, 5000])
def test_generate(size: int) -> None:
    """Random bytes of the size asked for; two cells differ from 16 bytes on."""
    first, second = CypherCell.generate(size), CypherCell.generate(size)
    assert len(first) == len(second) == size
    if size >= 16:
        assert not first.compare(second)
        assert not first.verify(bytes(size))


@pytest.mark.parametrize(("size", "error"), [("32", TypeError), (None, TypeError), (True, TypeError), (-1, ValueError)])
def test_generate_wrong_size(size: Any, error: type[Exception]) -> None:
    """The argument is named."""
    with pytest.raises(error, match=r"size must"):
        CypherCell.generate(size)


# ---- limits ----

ACCESSES = {
    "reveal": lambda cell: cell.reveal(),
    "reveal_bytes": lambda cell: cell.reveal_bytes(),
    "borrow": lambda cell: cell.borrow().__enter__().release(),
    "copy_into": lambda cell: cell.copy_into(bytearray(64)),
}


def borrow_once(cell: CypherCell) -> None:
    """A borrow, as a block."""
    with cell.borrow() as view:
        assert bytes(view) == SECRET


ACCESSES["borrow"] = borrow_once


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ACCESSES)
def test_volatile_ends_with_the_first_access(name: str, tier: str) -> None:
    """Each kind of access works once, and everything afterwards says that the cell is wiped."""
    cell = CypherCell(SECRET, volatile=True, tier=tier)
    ACCESSES[name](cell)
    assert cell.wiped
    for use in uses(cell).values():
        with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
            use()
    assert not cell.verify(SECRET)


@pytest.mark.parametrize("name", ACCESSES)
def test_max_reads(name: str) -> None:
    """Three accesses, and not one more."""
    cell = CypherCell(SECRET, max_reads=3)
    for _ in range(3):
        assert not cell.wiped
        ACCESSES[name](cell)
    assert cell.wiped
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        ACCESSES[name](cell)


def test_looking_is_not_an_access() -> None:
    """verify, compare, ==, reveal_masked, len, protection, expires_in, wiped and bool can be asked for ever."""
    cell, other = CypherCell(SECRET, volatile=True), CypherCell(SECRET)
    for _ in range(3):
        assert cell.verify(SECRET)
        assert cell.compare(other)
        assert other.compare(cell)
        assert cell == other
        assert cell.reveal_masked()[-4:] == "aple"
        assert len(cell) == len(SECRET)
        assert cell.protection.locked
        assert cell.expires_in is None
        assert not cell.wiped
        assert cell
    assert cell.reveal() == SECRET.decode()


def test_the_last_access_lasts_as_long_as_its_block() -> None:
    """A borrow that uses up the accesses sees the secret to its end, while nobody else can begin another."""
    cell = CypherCell(SECRET, volatile=True)
    with cell.borrow() as view:
        with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
            cell.reveal()
        assert bytes(view) == SECRET
    assert cell.wiped


def test_ttl_message_and_type() -> None:
    """After the deadline every use says so; verify is False."""
    cell, seen = in_time(CypherCell.reveal_bytes, SECRET)
    assert seen == SECRET
    outlive(cell)
    for use in uses(cell).values():
        with pytest.raises(CellExpiredError, match=r"^TTL expired$"):
            use()
    assert cell.verify(SECRET) is False
    assert cell.wiped
    assert cell.expires_in == 0.0


@pytest.mark.parametrize("look", ["verify", "compare", "wiped", "reveal_masked"])
def test_ttl_is_checked_first_by_every_path(look: str) -> None:
    """Whatever is the first to touch the cell after the deadline finds it gone."""

    def slice_of(cell: CypherCell) -> memoryview:
        with cell.borrow() as view:
            return view[:]

    (cell, part), other = in_time(slice_of, SECRET), CypherCell(SECRET)
    outlive(cell)
    if look == "verify":
        assert cell.verify(SECRET) is False
    elif look == "wiped":
        assert cell.wiped
    else:
        with pytest.raises(CellExpiredError, match=r"^TTL expired$"):
            other.compare(cell) if look == "compare" else cell.reveal_masked()
    assert bytes(part) == bytes(len(SECRET))
    del part


def test_ttl_zero_is_over_at_once() -> None:
    """0 seconds is a deadline, not the absence of one."""
    cell = CypherCell(SECRET, ttl_sec=0)
    time.sleep(0.001)
    with pytest.raises(CellExpiredError, match=r"^TTL expired$"):
        cell.reveal()


def test_expires_in() -> None:
    """Counts down in seconds; None without a deadline; 0.0 once wiped."""
    cell = CypherCell(SECRET, ttl_sec=1000)
    assert cell.expires_in is not None
    assert 900 < cell.expires_in <= 1000
    assert CypherCell(SECRET).expires_in is None
    cell.wipe()
    assert cell.expires_in == 0.0


def test_ttl_and_volatile_together() -> None:
    """Whichever comes first: here the read."""
    cell = CypherCell(SECRET, volatile=True, ttl_sec=1000)
    assert cell.reveal() == SECRET.decode()
    with pytest.raises(ValueError, match=r"^Cell is wiped$"):
        cell.reveal()


# ---- the end ----


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("end", ["wipe", "close"])
def test_wipe(end: str, tier: str) -> None:
    """Afterwards nothing gives the secret, and wiping again is harmless."""
    cell = CypherCell(SECRET, tier=tier)
    for _ in range(3):
        getattr(cell, end)()
    assert cell.wiped
    assert not cell
    for use in uses(cell).values():
        with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
            use()


def test_errors_are_value_errors() -> None:
    """Callers of the seeds catch ValueError."""
    assert issubclass(CellWipedError, ValueError)
    assert issubclass(CellExpiredError, CellWipedError)
    assert issubclass(CellError, ValueError)


def test_wipe_under_a_reader() -> None:
    """A view that is being read goes to zeros at once and raises nothing."""
    cell = CypherCell(SECRET)
    with cell.borrow() as view:
        cell.wipe()
        assert bytes(view) == bytes(len(SECRET))


@pytest.mark.parametrize("tier", TIERS)
def test_deletion_wipes(tier: str) -> None:
    """The last reference going is a wipe."""
    cell = CypherCell(SECRET, tier=tier)
    before = stats()
    dead = weakref.ref(cell)
    del cell
    gc.collect()
    assert dead() is None
    assert stats().cells == before.cells - 1
    assert stats().wipes == before.wipes + 1


def test_purge_wipes_all_cells() -> None:
    """purge() reaches every cell and says how many there were."""
    cells = [CypherCell(SECRET, tier=tier) for tier in TIERS for _ in range(5)]
    live = stats().cells
    assert purge() == live
    assert all(cell.wiped for cell in cells)
    assert stats().cells == 0
    assert purge() == 0
    assert CypherCell(SECRET).verify(SECRET)


def test_a_stale_cell_never_sees_a_new_one() -> None:
    """However many cells come and go, a wiped one stays wiped."""
    stale = CypherCell(SECRET)
    stale.wipe()
    for _ in range(2000):
        cell = CypherCell(b"another secret!!")
        assert stale.wiped
        assert not stale.verify(b"another secret!!")
        del cell


def test_slot_of_a_small_secret_holds_no_trace() -> None:
    """A slot that held a secret is zeros when it is given out again."""
    for _ in range(2000):
        CypherCell(b"\xff" * 32).wipe()
        memory = SecureMemory(32)
        assert memory.get_bytes() == bytes(32)


def test_initialised_twice() -> None:
    """A second __init__ leaves no unreachable secret behind."""
    cell = CypherCell(SECRET)
    before = stats().cells
    cell.__init__(b"second")  # type: ignore[misc]
    assert cell.reveal_bytes() == b"second"
    assert stats().cells == before


@pytest.mark.parametrize("name", ["volatile", "inherit", "wipe_source"])
def test_flags_are_bools(name: str) -> None:
    """What is true without being True was meant for another argument: refused by type, since it may be a secret."""
    with pytest.raises(TypeError, match=rf"^{name} must be a bool, not str$"):
        CypherCell(bytearray(b"user"), **{name: "hunter2"})
    with pytest.raises(TypeError, match=r"^volatile must be a bool, not str$"):
        CypherCell("user", "hunter2")  # type: ignore[arg-type]
