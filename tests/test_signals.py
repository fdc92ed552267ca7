"""Ctrl-C at any moment of a use: the exception arrives, and nothing stays pinned or open."""

from __future__ import annotations

import gc
import signal
import time
from typing import TYPE_CHECKING

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.memory import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """A SIGALRM that raises KeyboardInterrupt, as Ctrl-C would; counts its arrivals."""
    arrived: list[int] = []

    def handle(number: int, _frame: object) -> None:
        arrived.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handle)
    yield arrived
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def borrow_volatile(cell: CypherCell) -> None:
    """Borrow and give back."""
    with cell.borrow() as view:
        assert len(view) == 6


def borrow_slice(cell: CypherCell) -> None:
    """Borrow, and let a slice outlive the block."""
    with cell.borrow() as view:
        part = view[1:]
    assert len(part) == 5


@pytest.mark.parametrize("use", [borrow_volatile, borrow_slice, CypherCell.reveal, CypherCell.reveal_bytes])
def test_interrupted_use(alarms: list[int], use: Callable[[CypherCell], object]) -> None:
    """No exception is lost, and no slot stays behind."""
    gc.collect()
    before = stats()
    caught = 0
    stop = time.monotonic() + 1.5
    turn = 0
    while time.monotonic() < stop or len(alarms) <= 100:
        assert time.monotonic() < stop + 60, "too few alarms came to prove anything"
        turn += 1
        cell = CypherCell(b"secret", volatile=True)
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + turn % 150 * 2e-7)
            try:
                use(cell)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            caught += 1
        cell.wipe()
    assert caught == len(alarms)
    del cell
    gc.collect()
    after = stats()
    assert (after.pinned, after.corruptions) == (before.pinned, before.corruptions)
