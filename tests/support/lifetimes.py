"""Secrets with a time to live, for tests that look at them before their deadline on a machine that may be slow."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from zeroizepy import CypherCell
from zeroizepy.exceptions import CellExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

LONGEST_S = 60.0


def lifetimes(first_s: float = 0.1) -> Iterator[float]:
    """Times to live to try one after the other, each four times the last: in one of them the test gets to its look.

    Raises:
        AssertionError: None was enough. That is no slow machine.
    """
    ttl = first_s
    while ttl < LONGEST_S:
        yield ttl
        ttl *= 4
    raise AssertionError(f"no secret was seen before its deadline, be it {ttl / 4} s away")


def in_time(look: Callable[[CypherCell], T], secret: bytes, first_s: float = 0.1) -> tuple[CypherCell, T]:
    """A cell with a time to live, and what a look at it showed that was not too late."""
    for ttl in lifetimes(first_s):
        cell = CypherCell(secret, ttl_sec=ttl)
        try:
            return cell, look(cell)
        except CellExpiredError:
            continue
    raise AssertionError


def outlive(cell: CypherCell) -> None:
    """Sleep until its deadline is past, without a look at it afterwards."""
    time.sleep((cell.expires_in or 0.0) + 0.005)


@contextmanager
def lent_alive(secret: bytes, first_s: float = 0.1, **options: Any) -> Iterator[tuple[CypherCell, memoryview]]:
    """A cell with a time to live, and a view in which its secret was seen."""
    for ttl in lifetimes(first_s):
        cell = CypherCell(secret, ttl_sec=ttl, **options)
        with ExitStack() as stack:
            try:
                view = stack.enter_context(cell.borrow())
            except CellExpiredError:
                continue
            seen = bytes(view)
            if seen == secret:
                yield cell, view
                return
            assert seen == bytes(len(secret))


def goes_to_zero(view: memoryview) -> bool:
    """Whether all bytes become zero, nobody asking for the cell, long before a test would be given up."""
    end = time.monotonic() + LONGEST_S
    while any(view) and time.monotonic() < end:
        time.sleep(0.001)
    return not any(view)
