"""What `with cell as view:` gives."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from support.lifetimes import LONGEST_S, lifetimes

from zeroizepy.cell import CypherCell, CypherView
from zeroizepy.exceptions import CellExpiredError, CellWipedError, ViewExpiredError
from zeroizepy.memory import SecureMemory

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

TEXT = "größe 鍵 1234"
SECRET = TEXT.encode()
TIERS = ["packed", "isolated", "sealed"]


def uses(view: CypherView) -> dict[str, Any]:
    """Everything that reads through a view."""
    return {
        "bytes": lambda: bytes(view),
        "str": lambda: str(view),
        "reveal": view.reveal,
        "reveal_bytes": view.reveal_bytes,
        "reveal_masked": view.reveal_masked,
        "verify": lambda: view.verify(SECRET),
        "borrow": lambda: view.borrow().__enter__(),
        "len": lambda: len(view),
    }


@pytest.mark.parametrize("tier", TIERS)
def test_reads(tier: str) -> None:
    """Every method reads the secret, any number of times."""
    with CypherCell(SECRET, tier=tier) as view:
        for _ in range(3):
            assert bytes(view) == view.reveal_bytes() == SECRET
            assert str(view) == view.reveal() == TEXT
            assert view.reveal_masked() == "********1234"
            assert view.reveal_masked(1, "#") == "###########4"
            assert view.verify(SECRET)
            assert view.verify(TEXT)
            assert not view.verify(b"other")
            assert len(view) == len(SECRET)
            with view.borrow() as lent:
                assert lent.readonly
                assert bytes(lent) == SECRET


def test_redacted() -> None:
    """repr and format do not read, str does."""
    with CypherCell(SECRET) as view:
        assert repr(view) == "<CypherView: [REDACTED]>"
        assert f"{view}" == "<CypherView: [REDACTED]>"
        assert f"{view:>30}" == "      <CypherView: [REDACTED]>"
        assert f"{view!r}" == "<CypherView: [REDACTED]>"


@pytest.mark.parametrize("tier", TIERS)
def test_leaving_wipes_and_expires(tier: str) -> None:
    """After the block the cell is wiped and every use of the view says `View expired`."""
    cell = CypherCell(SECRET, tier=tier)
    with cell as view:
        pass
    assert cell.wiped
    for name, use in uses(view).items():
        with pytest.raises(ViewExpiredError, match=r"^View expired$"):
            use()
        assert name
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        cell.reveal()
    assert issubclass(ViewExpiredError, ValueError)


def test_an_exception_wipes_too() -> None:
    """The block's exception passes through, and the secret is gone."""
    cell = CypherCell(SECRET)

    def fail() -> None:
        with cell:
            raise KeyError("inside")

    with pytest.raises(KeyError, match=r"inside"):
        fail()
    assert cell.wiped


def test_invalid_utf8() -> None:
    """str() is strict, bytes() is not concerned."""
    with CypherCell(b"\xff\xfe") as view:
        with pytest.raises(ValueError, match=r"^Invalid UTF-8$"):
            str(view)
        with pytest.raises(ValueError, match=r"^Invalid UTF-8$"):
            view.reveal()
        with pytest.raises(ValueError, match=r"^Invalid UTF-8$"):
            view.reveal_masked()
        assert bytes(view) == b"\xff\xfe"


def test_nested_blocks() -> None:
    """Each block has its view; the inner one expires with its block, the cell ends with the outermost."""
    cell = CypherCell(SECRET)
    with cell as outer:
        with cell as inner:
            assert bytes(inner) == SECRET
        with pytest.raises(ViewExpiredError, match=r"^View expired$"):
            bytes(inner)
        assert bytes(outer) == SECRET
        assert not cell.wiped
    assert cell.wiped
    with pytest.raises(ViewExpiredError, match=r"^View expired$"):
        bytes(outer)


def test_wiped_within_the_block() -> None:
    """A wipe within the block ends the secret for the view; leaving afterwards is quiet."""
    cell = CypherCell(SECRET)
    with cell as view:
        cell.wipe()
        for name in ("bytes", "str", "reveal", "reveal_bytes", "reveal_masked", "borrow"):
            with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
                uses(view)[name]()
        assert view.verify(SECRET) is False


def test_expired_within_the_block() -> None:
    """The deadline counts within the block too."""
    for ttl in lifetimes():
        with suppress(CellExpiredError), CypherCell(SECRET, ttl_sec=ttl) as view:
            assert bytes(view) == SECRET
            time.sleep(ttl)
            with pytest.raises(CellExpiredError, match=r"^TTL expired$"):
                bytes(view)
            assert view.verify(SECRET) is False
            return


def test_a_block_is_one_access() -> None:
    """A volatile cell can be read through the view as often as wanted, and not past it."""
    cell = CypherCell(SECRET, volatile=True)
    with cell as view:
        assert bytes(view) == SECRET
        assert str(view) == TEXT
        with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
            cell.reveal()
        with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
            cell.__enter__()
        assert bytes(view) == SECRET
    assert cell.wiped


def test_entering_a_wiped_cell() -> None:
    """There is nothing to enter."""
    cell = CypherCell(SECRET)
    cell.wipe()
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"), cell:
        pass


def test_enter_without_exit_is_collected() -> None:
    """A block that was begun by hand and never ended keeps nothing alive."""
    view = CypherCell(SECRET).__enter__()
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        bytes(view)


def test_view_of_memory_and_cells() -> None:
    """A view can be the source of other secrets and what they are compared with."""
    with CypherCell(SECRET) as view:
        assert SecureMemory.from_bytes(view).get_bytes() == SECRET
        assert CypherCell(view).reveal_bytes() == SECRET
        assert CypherCell(SECRET).verify(view)


def test_blocks_of_two_threads() -> None:
    """Two threads in blocks of one cell: the one that leaves first takes its own view only."""
    cell = CypherCell(SECRET)
    inside, leave = threading.Event(), threading.Event()
    seen: list[Any] = []

    def other() -> None:
        with cell as view:
            inside.set()
            leave.wait(LONGEST_S)
            seen.append(bytes(view))
        seen.append(view)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(LONGEST_S)
    with cell as mine:
        leave.set()
        thread.join(LONGEST_S)
        assert seen[0] == SECRET
        with pytest.raises(ViewExpiredError, match=r"^View expired$"):
            bytes(seen[1])
        assert bytes(mine) == SECRET
        assert not cell.wiped
    assert cell.wiped


@pytest.mark.parametrize("other", [None, 5], ids=["None", "int"])
def test_verify_wrong_type(other: Any) -> None:
    """As for the cell."""
    with CypherCell(SECRET) as view, pytest.raises(TypeError, match=r"other must be a contiguous bytes-like object"):
        view.verify(other)
