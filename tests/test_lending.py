"""What a borrow leaves behind for the next one: nothing that is open, pinned or another borrower's."""

from __future__ import annotations

import gc
import sys
import threading
import time
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import slots
from zeroizepy._lib import ffi, lib
from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellWipedError
from zeroizepy.memory import SecureMemory, stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SECRET = bytes(range(1, 33))
OTHER = bytes(range(33, 65))
# Whose leases are taken again: each tier, save packed secrets without limits, which keep their slot pinned.
KINDS: dict[str, dict[str, Any]] = {
    "isolated": {"tier": "isolated"},
    "sealed": {"tier": "sealed"},
    "with a limit": {"max_reads": 1_000_000},
    "with a deadline": {"ttl_sec": 1000},
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module", autouse=True)
def no_older_loans() -> None:
    """Tests here count loans: those that other files left in cycles go first."""
    gc.collect()


PROGRAM = """
from zeroizepy import *
from zeroizepy._lib import ffi
from support import maps
SECRET = bytes(range(1, 33))
def address_of(view):
    with ffi.from_buffer("uint8_t[]", view) as source:
        return int(ffi.cast("uintptr_t", source))
def access(address):
    return maps.region_at(address).access[:3]
cell = CypherCell(SECRET, tier="isolated")
"""


def made(kind: str, secret: bytes = SECRET) -> CypherCell:
    """A cell of a kind that was lent before."""
    cell = CypherCell(secret, **KINDS[kind])
    with cell.borrow() as view:
        assert view == secret
    return cell


def waiting(cell: CypherCell) -> object:
    """The lease that waits for the next borrow of a cell, if any."""
    return cell._kept.get(len(cell)) if isinstance(cell._kept, dict) else None


def place(view: memoryview) -> int:
    """The address of a view's first byte."""
    with ffi.from_buffer("uint8_t[]", view) as source:
        return int(ffi.cast("uintptr_t", source))


@each_kind
def test_a_lease_is_taken_again(kind: str) -> None:
    """The control of the tests below: one lease serves all borrows, and nobody else can have it meanwhile."""
    cell = made(kind)
    lease = waiting(cell)
    assert lease is not None
    for _ in range(3):
        with cell.borrow() as view:
            assert view == SECRET
            assert view.readonly
            assert waiting(cell) is None
        assert waiting(cell) is lease


def test_closed_between_borrows(child: Child) -> None:
    """smaps: the pages of an isolated secret have no access whenever nobody borrows it."""
    body = """
    for _ in range(4):
        with cell.borrow() as view:
            address = address_of(view)
            assert view == SECRET and access(address) == "rw-"
        assert access(address) == "---"
    """
    child.check(PROGRAM + dedent(body))


def test_slots_are_zero_between_borrows() -> None:
    """The slot that a sealed secret was opened into holds zeros when nobody borrows it."""
    cell = made("sealed")
    for _ in range(3):
        with cell.borrow() as view:
            address = place(view)
        assert ffi.buffer(ffi.cast("uint8_t *", address), len(SECRET))[:] == bytes(len(SECRET))


KEPT: dict[str, Callable[[memoryview], Any]] = {
    "a slice": lambda view: view[:],
    "a cast": lambda view: view.cast("B", (4, 8)).cast("B"),
    "another view": memoryview,
    "what exports it": lambda view: view.obj,
    "a buffer of C": lambda view: ffi.from_buffer("uint8_t[]", view),
}


@pytest.mark.parametrize("kept", KEPT)
@each_kind
def test_what_outlives_its_block(kind: str, kept: str) -> None:
    """It reads the secret, whatever is borrowed after it, until the secret is wiped; then zeros."""
    cell = made(kind)
    with cell.borrow() as view:
        part = KEPT[kept](view)
        address = place(view)
    assert waiting(cell) is None
    for _ in range(3):
        with cell.borrow() as view:
            assert view == SECRET
            assert place(view) == address
        assert bytes(part) == SECRET
    cell.wipe()
    assert bytes(part) == bytes(len(SECRET))
    assert stats().pinned == 1
    if kept == "a buffer of C":
        ffi.release(part)
    del part, view
    assert stats().pinned == 0


def test_what_outlives_its_block_keeps_pages_open(child: Child) -> None:
    """smaps: a slice holds the pages of an isolated secret open, over other borrows, and no longer than it lives."""
    body = """
    with cell.borrow() as view:
        address = address_of(view)
    with cell.borrow() as view:
        part = view[3:]
    for _ in range(3):
        with cell.borrow() as view:
            pass
        assert part == SECRET[3:] and access(address) == "rw-"
    del part
    assert access(address) == "---"
    with cell.borrow() as view:
        assert view == SECRET
    assert access(address) == "---"
    """
    child.check(PROGRAM + dedent(body))


@each_kind
def test_borrows_within_borrows(kind: str) -> None:
    """Each has a lease of its own, in whatever order they end."""
    cell = made(kind)
    first, second, third = cell.borrow(), cell.borrow(), cell.borrow()
    views = [first.__enter__(), second.__enter__()]
    first.__exit__(None, None, None)
    assert views[1] == SECRET
    views.append(third.__enter__())
    second.__exit__(None, None, None)
    assert views[2] == SECRET
    third.__exit__(None, None, None)
    for view in views:
        with pytest.raises(ValueError, match=r"released"):
            bytes(view)
    with cell.borrow() as view:
        assert view == SECRET


def test_sealed_secrets_in_turn() -> None:
    """Secrets that are opened into one slot, in turn and within each other, never show each other's bytes."""
    cells = {secret: made("sealed", secret) for secret in (SECRET, OTHER, b"short", bytes(100))}
    for _ in range(3):
        for secret, cell in cells.items():
            with cell.borrow() as view:
                assert view == secret
                for inner, other in cells.items():
                    with other.borrow() as within:
                        assert within == inner
                    assert other.verify(inner)
                assert view == secret


def test_a_view_of_a_sealed_secret_after_others() -> None:
    """What outlives its block holds the slot: others are opened elsewhere."""
    one, other = made("sealed"), made("sealed", OTHER)
    with one.borrow() as view:
        part = view[1:]
    for _ in range(3):
        with other.borrow() as view:
            assert view == OTHER
        with one.borrow() as view:
            assert view == SECRET
        assert part == SECRET[1:]
    del part


@each_kind
@pytest.mark.parametrize("end", ["wipe", "purge"])
def test_ended_while_lent(kind: str, end: str) -> None:
    """The view of a lease that was taken again reads zeros at once, and no slot stays behind."""
    cell = made(kind)
    borrow = cell.borrow()
    with borrow as view:
        if end == "wipe":
            cell.wipe()
        else:
            lib.zpy_purge()
        assert view == bytes(len(SECRET))
    assert borrow.end_status == lib.ZPY_WIPED
    assert stats().pinned == 0
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        cell.borrow().__enter__()


def test_counts_are_exact() -> None:
    """The last access by a lease that was taken again wipes as it ends."""
    cell = CypherCell(SECRET, max_reads=3)
    for left in (2, 1, 0):
        with cell.borrow() as view:
            assert view == SECRET
        assert cell.wiped is (left == 0)
    assert stats().pinned == 0


@pytest.mark.parametrize("size", [16, 32, 200, 5000])
@pytest.mark.parametrize("tier", ["isolated", "sealed"])
def test_another_secret_in_the_same_object(tier: Any, size: int) -> None:
    """Memory that is initialised anew lends what it holds now, with the length that this has."""
    memory = SecureMemory(32, tier=tier)
    for _ in range(2):
        with memory.borrow(writable=True) as view:
            view[:] = SECRET
    memory.__init__(size, tier=tier)  # type: ignore[misc]
    for _ in range(2):
        with memory.borrow() as view:
            assert view == bytes(size)


def test_a_block_that_is_left_twice() -> None:
    """Leaving again does nothing, be the lease waiting or another borrower's."""
    cell = made("isolated")
    borrow = cell.borrow()
    borrow.__enter__()
    borrow.__exit__(None, None, None)
    borrow.__exit__(None, None, None)
    with cell.borrow() as view:
        borrow.__exit__(None, None, None)
        assert view == SECRET


@each_kind
def test_without_reference_counts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell whether something outlives its block, no lease is taken again, and all is as it was."""
    monkeypatch.setattr(slots, "_ALONE", -1)
    monkeypatch.setattr(slots, "_spare", {})
    cell = made(kind)
    with cell.borrow() as view:
        part = view[1:]
        assert waiting(cell) is None
    assert waiting(cell) is None
    assert part == SECRET[1:]
    del part


@each_kind
def test_threads_that_borrow_one_secret(kind: str) -> None:
    """Eight at once, some of which keep a slice for a while: each reads the secret, and nothing stays behind."""
    cell, other = made(kind), made(kind, OTHER)
    wrong: list[object] = []
    stop = time.monotonic() + 1.0

    def work(keeps: bool) -> None:
        try:
            while time.monotonic() < stop:
                with cell.borrow() as view:
                    part = view[5:] if keeps else None
                    if view != SECRET:
                        wrong.append(bytes(view))
                with other.borrow() as view:
                    if view != OTHER or (part is not None and part != SECRET[5:]):
                        wrong.append(bytes(view))
                del part
        except BaseException as error:
            wrong.append(error)
            raise

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number % 4 == 0,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    cell.wipe()
    other.wipe()
    assert stats().pinned == 0


def test_one_block_that_many_threads_leave(child: Child) -> None:
    """A `Borrow` that threads enter and leave at once, against the rules, neither crashes nor ends another's loan."""
    body = """
    import sys, threading, time
    sys.setswitchinterval(1e-6)
    stop = time.monotonic() + 2
    with cell.borrow() as view:
        address = address_of(view)
    shared = [cell.borrow()]
    def misuse():
        while time.monotonic() < stop:
            try:
                borrow = shared[0]
                view = borrow.__enter__()
                assert bytes(view[:4]) == SECRET[:4]
            except (RuntimeError, ValueError, AttributeError):
                pass
            borrow.__exit__(None, None, None)
            shared[0] = cell.borrow()
    def use():
        while time.monotonic() < stop:
            with cell.borrow() as view:
                assert view == SECRET
    threads = [threading.Thread(target=target) for target in [misuse] * 4 + [use] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del shared[0], threads, thread, view
    assert access(address) == "---"
    """
    assert child.check(PROGRAM + dedent(body)) == ""


def test_interrupted_at_any_moment(child: Child) -> None:
    """Ctrl-C in hundreds of borrows of one isolated secret: then its pages are closed, and its accesses over."""
    body = """
    import gc, signal, time
    def interrupt(number, frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    cell = CypherCell(SECRET, tier="isolated", max_reads=300_000)
    with cell.borrow() as view:
        address = address_of(view)
    caught, stop = 0, time.monotonic() + 3
    for turn in range(100_000):  # A fast machine would come to the end of the accesses: each turn has two.
        if caught >= 500 and time.monotonic() > stop:
            break
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + turn % 150 * 2e-7)
            try:
                with cell.borrow() as view:
                    assert view[0] == 1
                with cell.borrow() as view:
                    part = view[1:]
                assert part[0] == 2
                del part
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            caught += 1
        part = None
    assert caught >= 500, caught
    del view
    gc.collect()
    assert access(address) == "---"
    try:
        while True:
            cell.reveal_bytes()
    except CellWipedError:
        pass
    assert cell.wiped and stats().pinned == stats().cells == 0, stats()
    """
    child.check(PROGRAM + dedent(body))


@each_kind
def test_in_a_child(child: Child, kind: str) -> None:
    """What waits in the parent lends nothing in a forked child, save inherited secrets; the parent goes on."""
    body = f"""
    import os
    cell = CypherCell(SECRET, **{KINDS[kind]})
    own = CypherCell(SECRET, inherit=True, **{KINDS[kind]})
    def borrow(it):
        for _ in range(2):
            with it.borrow() as view:
                assert view == SECRET
    borrow(cell)
    borrow(own)
    pid = os.fork()
    if pid == 0:
        borrow(own)
        try:
            borrow(cell)
        except CellWipedError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    borrow(cell)
    borrow(own)
    """
    child.check(PROGRAM + dedent(body))


@pytest.mark.skipif(slots._ALONE < 0, reason="needs reference counts: without them no lease is used again")
def test_a_block_that_is_left_by_one_thread_and_entered_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is late in leaving a block does not end the loan of one that has left it and entered it again."""
    cell = CypherCell(SECRET, tier="sealed")
    borrow = cell.borrow()
    with borrow:
        pass
    borrow.__enter__()
    view, lent = borrow._view, borrow._lent
    loans: list[memoryview] = []

    def switch(_thing: object) -> int:
        monkeypatch.setattr(slots, "_references_to", lambda _thing: slots._ALONE)
        borrow._view, borrow._lent = view, lent  # As both threads saw them.
        borrow.__exit__(None, None, None)
        loans.append(borrow.__enter__())
        return slots._ALONE

    monkeypatch.setattr(slots, "_references_to", switch)
    borrow.__exit__(None, None, None)
    with CypherCell(bytes(len(SECRET)), tier="sealed").borrow():
        assert loans[0] == SECRET
