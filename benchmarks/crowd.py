"""Very many cells in a process of its own, whose lock limit can be chosen and whose memory is theirs alone.

As a module: `under_limit` and `with_deadlines` run such a process. As a script: that process, which sets its limits
before it loads the package.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_BYTES_EACH = 8.388608
"""8 MiB for a million cells; smaller crowds get a limit in proportion."""

_SECRET_BYTES = 32
_BATCHES = 100
_HOUR_NS = 3600 * 10**9
_PAGE_BYTES = resource.getpagesize()
_CAPABILITY_VERSION = 0x20080522
_CAP_IPC_LOCK = 14
_NO_CAPABILITY = 3  # Exit status.


class ChildError(Exception):
    """The process could not do its work; the text says why."""


class CapabilityError(ChildError):
    """The machine does not let it; the text names what is missing."""


# ---- the parent's side ----


def under_limit(count: int) -> dict[str, float]:
    """Create cells under a lock limit that most of them do not fit into, and check each one.

    Returns:
        "kept": Cells whose protection says that they are locked or sealed, and that hold their own secret.
        "sealed": How many of these are.
        "locked_kib": What the kernel counts as locked at the end.
        "bytes_each": What resident memory grew by for one cell, less the size of its Python objects.
        "first_us", "last_us": Creation of one cell: the median of the first and of the last tenth of the batches, from
            the first in which all cells were sealed.

    Raises:
        ChildError: As it says.
    """
    return _child("limit", count)


def with_deadlines(count: int, *, sealed: bool) -> dict[str, float]:
    """Create cells with a time to live: first each with a sooner deadline than the one before, then all with the same.

    Args:
        count: How many.
        sealed: Under the lock limit of `under_limit`, or in the packed tier with a limit to match.

    Returns:
        "create_us", "end_us": Creation of one of the first kind, and its wipe before the deadline.
        "shared_us": Creation of one of the second kind.
        "late_ms": From the deadline until the last one is wiped.
        "wait_ms": The longest that a call of the core from another thread took meanwhile.

    Raises:
        CapabilityError: This process may not lock as much as the packed cells need.
        ChildError: As it says.
    """
    return _child("sealed deadlines" if sealed else "packed deadlines", count)


def lock_limit(count: int) -> int:
    """The lock limit of `under_limit` in bytes: whole pages."""
    return max(16, round(count * LIMIT_BYTES_EACH) // _PAGE_BYTES) * _PAGE_BYTES


def _child(work: str, count: int) -> dict[str, float]:
    sys.stderr.write(f"measuring: {count:,} cells: {work}\n")
    command = [sys.executable, __file__, work, str(count)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        kind = CapabilityError if done.returncode == _NO_CAPABILITY else ChildError
        raise kind(done.stderr.strip().rpartition("\n")[2])
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


# ---- the process ----


def _lower_limit(limit_bytes: int) -> None:
    """Make the lock limit hold, for root too, whose capability would lift it."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = Header(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())
    for index in range(3):  # Effective, permitted and inheritable, the first 32 capabilities.
        sets[index] &= ~(1 << _CAP_IPC_LOCK)
    assert libc.capset(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit_bytes, limit_bytes))


def _allow(limit_bytes: int) -> None:
    """Let the package lock so much, where the kernel will."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    may_exceed = int(_status("CapEff"), 16) >> _CAP_IPC_LOCK & 1
    if hard != resource.RLIM_INFINITY and hard < limit_bytes and not may_exceed:
        sys.stderr.write(f"needs a hard RLIMIT_MEMLOCK of {limit_bytes} bytes, here {hard}, or CAP_IPC_LOCK\n")
        sys.exit(_NO_CAPABILITY)
    os.environ["ZEROIZEPY_LOCK_BUDGET"] = str(limit_bytes)


def _status(name: str) -> str:
    """The first word of a line of this process's status, as the kernel tells it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return line.split()[1]
    raise ChildError(f"/proc/self/status has no {name}")


def _secrets(start: int, stop: int) -> list[bytes]:
    return [hashlib.sha256(index.to_bytes(8, "little")).digest() for index in range(start, stop)]


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _measure_limit(count: int) -> dict[str, float]:
    _lower_limit(lock_limit(count))
    from zeroizepy import CypherCell

    warnings.simplefilter("ignore")  # The one that says that new cells are sealed from here on.
    batch = count // _BATCHES
    cells: list[Any] = [None] * count
    times: list[float] = []
    sealed_from = None
    secrets = _secrets(0, batch)  # Its memory is there before, and is used again for each batch.
    gc.disable()
    before_kib = int(_status("VmRSS"))
    for number in range(_BATCHES):
        start = number * batch
        secrets[:] = _secrets(start, start + batch)
        begin = time.perf_counter()
        for index, secret in enumerate(secrets, start):
            cells[index] = CypherCell(secret)
        times.append((time.perf_counter() - begin) / batch)
        if sealed_from is None and cells[start].protection.tier == "sealed":
            sealed_from = number
    grown = (int(_status("VmRSS")) - before_kib) * 1024
    objects = sum(sys.getsizeof(cell) + sys.getsizeof(cell._handle) for cell in cells)
    assert sealed_from is not None, "all cells found room under the limit"
    tail = times[sealed_from:]
    tenth = max(1, len(tail) // 10)
    kept, sealed = _check(cells, batch)
    return {
        "kept": kept,
        "sealed": sealed,
        "locked_kib": int(_status("VmLck")),
        "bytes_each": (grown - objects) / count,
        "first_us": 1e6 * _median(tail[:tenth]),
        "last_us": 1e6 * _median(tail[-tenth:]),
    }


def _check(cells: list[Any], batch: int) -> tuple[int, int]:
    """How many cells are protected and hold their own secret and no other, and how many of these are sealed."""
    kept = sealed = 0
    for start in range(0, len(cells), batch):
        own = _secrets(start, start + batch)
        for cell, secret, other in zip(cells[start : start + batch], own, [*own[1:], own[0]], strict=True):
            protection = cell.protection
            is_sealed = protection.tier == "sealed"
            if (is_sealed or protection.locked) and cell.verify(secret) and not cell.verify(other):
                kept += 1
                sealed += is_sealed
    return kept, sealed


def _measure_deadlines(count: int, *, sealed: bool) -> dict[str, float]:
    if sealed:
        _lower_limit(lock_limit(count))
    else:
        _allow(64 * count + (1 << 20))
    from zeroizepy._lib import lib, new_handle
    from zeroizepy.slots import protection_of

    warnings.simplefilter("ignore")
    gc.disable()
    secret = os.urandom(_SECRET_BYTES)
    handles = array("q", bytes(8 * count))

    def fill(ttl_of: Callable[[int], int]) -> float:
        begin = time.perf_counter()
        for index in range(count):
            handles[index] = new_handle(secret, _SECRET_BYTES, 0, ttl_of(index))
        return time.perf_counter() - begin

    step_ns = _HOUR_NS // count
    created = fill(lambda index: _HOUR_NS + (count - index) * step_ns)
    begin = time.perf_counter()
    for handle in handles:
        lib.zpy_cell_wipe(handle)
    ended = time.perf_counter() - begin
    boot = time.CLOCK_BOOTTIME
    deadline = time.clock_gettime_ns(boot) + int((3 * created + 0.25) * 1e9)
    shared = fill(lambda _index: deadline - time.clock_gettime_ns(boot))
    tier = getattr(protection_of(handles[-1])[1], "tier", "lost")
    assert tier == ("sealed" if sealed else "packed"), f"the last cell is {tier}"
    late_ns, wait_ns = _watch(count, deadline)
    return {
        "create_us": 1e6 * created / count,
        "end_us": 1e6 * ended / count,
        "shared_us": 1e6 * shared / count,
        "late_ms": late_ns / 1e6,
        "wait_ms": wait_ns / 1e6,
    }


def _watch(count: int, deadline: int) -> tuple[int, int]:
    """Nanoseconds from the deadline until all cells are wiped, and the longest call meanwhile."""
    from zeroizepy._lib import ffi, lib

    boot, figures, longest = time.CLOCK_BOOTTIME, ffi.new("struct zpy_stats *"), 0
    assert time.clock_gettime_ns(boot) < deadline, "creating the cells took until their deadline"
    time.sleep(max(0.0, (deadline - time.clock_gettime_ns(boot)) / 1e9 - 0.05))
    lib.zpy_stats_read(figures)
    left_ns = deadline - time.clock_gettime_ns(boot)
    if left_ns > 0:  # On a busy machine this thread may have woken up late.
        assert (figures.expiries, figures.cells) == (0, count), "cells expired before their deadline"
        time.sleep(left_ns / 1e9)
    while True:
        asked = time.clock_gettime_ns(boot)
        lib.zpy_stats_read(figures)
        answered = time.clock_gettime_ns(boot)
        longest = max(longest, answered - asked)
        if figures.expiries == count:
            return answered - deadline, longest
        time.sleep(0.0002)


if __name__ == "__main__":
    _work, _count = sys.argv[1], int(sys.argv[2])
    _answer = (
        _measure_limit(_count) if _work == "limit" else _measure_deadlines(_count, sealed=_work == "sealed deadlines")
    )
    print(json.dumps(_answer))
