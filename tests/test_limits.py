"""The lock limit, lowered while secrets are held; locks of neighbours. The kernel is the witness: smaps and VmLck."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.children import Child

# The kernel does not bind root to the limit, so the child becomes nobody, once all is loaded: nobody may not look
# into the folders of root. Without the dumpable flag, files in /proc/self would still be root's.
UNPRIVILEGED = """
import ctypes, encodings.idna, os, resource, sys, warnings
import zeroizepy.cell, zeroizepy.values
from zeroizepy import *
from zeroizepy._lib import ffi, lib
from support import maps
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0
def regions_of(cells):
    addresses = sorted(int(ffi.cast("uintptr_t", lib.zpy_cell_address(cell._handle))) for cell in cells)
    found = [region for region in maps.regions() if any(region.start <= at < region.stop for at in addresses)]
    assert all(any(region.start <= at < region.stop for region in found) for at in addresses)
    return found
def all_locked(cells):
    return all("lo" in region.flags for region in regions_of(cells))
def locked_bytes():
    return sum(region.stop - region.start for region in maps.regions() if "lo" in region.flags)
def secrets(count, **options):
    made = [os.urandom(32) for _ in range(count)]
    return made, [CypherCell(data, **options) for data in made]
def whole(made, cells):
    return all(cell.verify(data) for data, cell in zip(made, cells, strict=True))
def sealed_now(data):
    # The key, and a slot to open it in, were locked with the first secret.
    cell = CypherCell(data, tier="sealed")
    assert cell.reveal_bytes() == data
    return cell
def lower(limit):
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
"""

# What becomes of a new packed cell when nothing more can be locked. The one place that knows.
BEYOND = """
def fill(data):
    '''Packed cells until no more can be had, and what was made in place of the last.'''
    packed = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        while not packed or packed[-1].protection.tier == "packed":
            packed.append(CypherCell(data))
        beyond = [packed.pop(), *(CypherCell(data) for _ in range(20))]
    assert [cell.protection.tier for cell in beyond] == ["sealed"] * 21
    assert [warning.category for warning in caught] == [SecureMemoryWarning], "one warning for the process"
    return packed, beyond
def is_refused(make):
    try:
        make()
    except LockLimitError as error:
        assert isinstance(error, MemoryError) and "RLIMIT_MEMLOCK" in str(error), error
        return True
    return False
"""

LIMITS = pytest.mark.parametrize("limit", [0, 64 << 10, 1 << 20], ids=["0", "64 KiB", "1 MiB"])


def check(child: Child, body: str, limit: int, **env: str) -> list[str]:
    """What a program prints."""
    return child.check(UNPRIVILEGED + BEYOND + f"limit = {limit}\n" + dedent(body), env=env).split()


@LIMITS
def test_what_is_locked_stays_locked(child: Child, limit: int) -> None:
    """Lowering RLIMIT_MEMLOCK unlocks nothing: the kernel still counts every page of the cells that were there."""
    body = """
    made, cells = secrets(3000)
    more, isolated = secrets(20, tier="isolated")
    before, counted = locked_bytes(), maps.locked_kb()
    assert before >= stats().locked_bytes > 150_000
    lower(limit)
    assert (locked_bytes(), maps.locked_kb()) == (before, counted)
    assert whole(made, cells) and whole(more, isolated)
    print(all_locked(cells + isolated))
    print(all(cell.protection.locked for cell in cells + isolated))
    """
    assert check(child, body, limit) == ["True", "True"]


@LIMITS
def test_new_cells_under_a_lowered_limit(child: Child, limit: int) -> None:
    """New cells take what may still be locked; the next are sealed, after one warning, and all can be opened."""
    body = """
    made, cells = secrets(3000)
    data = os.urandom(4000)
    held = locked_bytes()
    lower(limit)
    before = sealed_now(data)
    packed, beyond = fill(data)
    assert before.reveal_bytes() == data
    # A slot of this size needs two pages; what is left of the limit is less.
    assert max(held, limit - 2 * 4096) <= locked_bytes() <= max(held, limit), (held, locked_bytes())
    assert all_locked(packed) and all(cell.verify(data) for cell in packed)
    assert all(cell.verify(data) and cell.reveal_bytes() == data for cell in beyond)
    assert whole(made, cells)
    print(len(packed) > 10, is_refused(lambda: SecureMemory(40_000)))
    """
    assert check(child, body, limit) == [str(limit > 100_000), "True"]


@LIMITS
def test_strict_cells_under_a_lowered_limit(child: Child, limit: int) -> None:
    """policy="strict" raises LockLimitError where others would be sealed, and leaves everything as it was."""
    body = """
    made, cells = secrets(3000)
    data = os.urandom(4000)
    lower(limit)
    sealed = sealed_now(data)
    packed, beyond = fill(data)
    before, held = stats(), locked_bytes()
    print(all(is_refused(lambda: CypherCell(data, policy="strict")) for _ in range(100)))
    print(is_refused(lambda: SecureMemory(4000, policy="strict")))
    assert (stats(), locked_bytes()) == (before, held)
    assert whole(made, cells)
    """
    assert check(child, body, limit) == ["True", "True"]


@LIMITS
def test_room_that_comes_back(child: Child, limit: int) -> None:
    """A slot that is given back is still locked, and the next secret of its size rests there."""
    body = """
    made, cells = secrets(3000)
    data = os.urandom(4000)
    lower(limit)
    sealed = sealed_now(data)
    fill(data)
    del cells[::2], made[::2]
    data, again = secrets(1000, policy="strict")
    print({cell.protection.tier for cell in again}, all_locked(again))
    assert whole(made, cells) and whole(data, again)
    """
    assert check(child, body, limit) == ["{'packed'}", "True"]


def test_limit_of_zero_before_the_first_secret(child: Child) -> None:
    """Where nothing was ever locked, there is no place for a secret nor for a key to seal it with: LockLimitError."""
    body = """
    lower(limit)
    print(is_refused(lambda: CypherCell(b"hunter2")), is_refused(lambda: SecureMemory(5000)), stats().cells)
    """
    assert check(child, body, 0) == ["True", "True", "0"]


# ---- neighbours ----


def test_neighbours_stay_locked(child: Child) -> None:
    """Of 2,000 cells every other one ends: the pages of all others are locked as before, every one of them."""
    body = """
    made, cells = secrets(2000)
    held, counted = locked_bytes(), maps.locked_kb()
    ended = [cells[index] for index in range(0, 2000, 2)]
    del cells[::2], made[::2]
    for cell in ended:
        cell.wipe()
    print(len(cells), whole(made, cells), all_locked(cells))
    print((locked_bytes(), maps.locked_kb()) == (held, counted))
    # In all pages of the mappings, not only in the first.
    by_page = [region for region in regions_of(cells) if "secretmem" not in region.name]
    print(all(region.locked_kb * 1024 == region.stop - region.start for region in by_page))
    """
    assert check(child, body, 0) == ["1000", "True", "True", "True", "True"]


def test_pages_given_back_unlock_themselves_alone(child: Child) -> None:
    """Where a run of pages is unmapped to make room for another size, its neighbours stay locked."""
    body = """
    kept = [secrets(60, tier=tier) for tier in ("packed", "isolated")]
    sizes = [48, 100, 500, 1500, 4000]
    for round in range(40):
        data = os.urandom(sizes[round % len(sizes)])
        many = [CypherCell(data) for _ in range(120_000 // (len(data) + 16))]
        assert all(cell.verify(data) for cell in many)
        for made, cells in kept:
            assert whole(made, cells) and all_locked(cells)
        del many
    print(stats().locked_bytes <= stats().peak_locked_bytes <= 524_288)
    """
    assert check(child, body, 0, ZEROIZEPY_LOCK_BUDGET="524288") == ["True"]
