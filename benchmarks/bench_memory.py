"""Does the memory engine keep its limits: each tier's cost, a million cells, their deadlines, and many threads?

Baselines: cypher_cell (Rust), libsodium's sodium_malloc and two mprotect calls from C, a bare CFFI call, and for crowds
and threads the same work with few. Unit: time for one operation on a secret of 32 bytes, unless a table says otherwise.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
import time
from importlib import import_module
from itertools import repeat
from typing import TYPE_CHECKING, Any

from cffi import FFI
from crowd import CapabilityError, ChildError, lock_limit, under_limit, with_deadlines
from harness import (
    Aim,
    Case,
    Comparison,
    Difference,
    Figure,
    Ratio,
    Repeats,
    Time,
    facts,
    figure_table,
    group,
    options,
    statement,
    write_section,
)
from native import Native

from zeroizepy import CypherCell
from zeroizepy._lib import lib

if TYPE_CHECKING:
    from collections.abc import Callable

WIPE = "CypherCell(secret).wipe()"
DROP = "CypherCell(secret), dropped"
BORROW = "with cell.borrow() as view: pass"
SODIUM = "in C: sodium_free(sodium_malloc(32))"
MPROTECT = "in C: two mprotect calls on its page"
PACKED = f"packed: {BORROW}"
THREADS = 8
CORES = len(os.sched_getaffinity(0))
SPEEDUP = 3.0 if CORES >= 4 else 0.9
FEW = 10_000
"""The crowd that the deadlines of a large one are compared with."""

INTRODUCTION = f"""\
Question: does the memory engine keep the limits that it was given: the cost of each tier, a million cells under a
small lock limit, a million deadlines, many threads?
Unit: time for one operation on a secret of 32 bytes, unless the table says otherwise; called from Python, unless it
says "in C".

- "In C" are loops in loops.c, compiled against the libsodium that the package is built with and timed there: no call
  from Python is in them. The mprotect calls are made on the page of the isolated cell itself.
- The "bare CFFI call" is the core's own comparison, called directly: it gives the same answer.
- cypher_cell 0.1.6 has no wipe(): its cells are wiped by being dropped.
- Threads: each creates, verifies and wipes cells of its own; the time is that of all, divided by the cells of all. "In
  C" they call the core's own functions. At least 3x is asked for with 4 CPUs and more, 0.9x with fewer; here are
  {CORES}.
- Crowds live in processes of their own, one for each round, with garbage collection off. "Flat" is taken as at most
  1.2x, and "O(log n)" as at most 3x: the logarithm grows by half, and caches are allowed as much again.
- Memory of a cell is what resident memory grew by, less sys.getsizeof of the cell and of its handle."""


def creation(native: Native, rust: Any, secret: bytes, repeats: Repeats) -> list[str]:
    """Create and wipe."""
    names: dict[str, Any] = {"CypherCell": CypherCell, "secret": secret}
    isolated = 'CypherCell(secret, tier="isolated").wipe()'
    cases = [
        statement(f"ours: {WIPE}", WIPE, **names),
        statement(f"ours: {isolated}", isolated, **names),
        statement(f"cypher_cell: {DROP}", "CypherCell(secret)", CypherCell=rust, secret=secret),
        native.sodium_malloc(SODIUM),
    ]
    comparisons = [
        Ratio(f"ours: {WIPE}", f"cypher_cell: {DROP}", Aim(0.33)),
        Ratio(f"ours: {WIPE}", SODIUM, Aim(0.05)),
        Ratio(f"ours: {isolated}", SODIUM),
    ]
    return group("Create and wipe", cases, comparisons, repeats)


def borrowing(native: Native, secret: bytes, repeats: Repeats) -> list[str]:
    """Borrow and release, from slots and from own pages."""
    isolated = CypherCell(secret, tier="isolated")
    page = isolated.protection.page_bytes
    with isolated.borrow() as view:
        ffi = FFI()
        with ffi.from_buffer(view) as source:
            address = int(ffi.cast("uintptr_t", source)) // page * page
    of_pages = f"isolated: {BORROW}"
    cases = [
        statement(PACKED, BORROW, cell=CypherCell(secret)),
        statement(of_pages, BORROW, cell=isolated),
        native.mprotect(MPROTECT, address, page),
    ]
    comparisons: list[Comparison] = [Time(PACKED, Aim(1)), Ratio(of_pages, MPROTECT, Aim(1.5))]
    return group("Borrow and release", cases, comparisons, repeats)


def sealed_work(secret: bytes, repeats: Repeats) -> list[str]:
    """What the sealed tier adds."""
    sealed = CypherCell(secret, tier="sealed")
    assert sealed.protection.tier == "sealed"
    names: dict[str, Any] = {"CypherCell": CypherCell, "secret": secret}
    of_sealed, create = f"sealed: {BORROW}", 'CypherCell(secret, tier="sealed").wipe()'
    cases = [
        statement(PACKED, BORROW, cell=CypherCell(secret)),
        statement(of_sealed, BORROW, cell=sealed),
        statement(f"packed: {WIPE}", WIPE, **names),
        statement(f"sealed: {create}", create, **names),
        statement("packed: cell.verify(secret)", "cell.verify(secret)", cell=CypherCell(secret), secret=secret),
        statement("sealed: cell.verify(secret)", "cell.verify(secret)", cell=sealed, secret=secret),
    ]
    comparisons = [
        Difference(of_sealed, PACKED, Aim(1), unit="us"),
        Difference(f"sealed: {create}", f"packed: {WIPE}", unit="us"),
        Difference("sealed: cell.verify(secret)", "packed: cell.verify(secret)", unit="us"),
    ]
    return group("Sealed cells", cases, comparisons, repeats)


def verification(secret: bytes, repeats: Repeats) -> list[str]:
    """Compare with a candidate."""
    cell, other = CypherCell(secret), bytes(bytearray(secret))
    names: dict[str, Any] = {"cell": cell, "other": other, "handle": cell._handle, "call": lib.zpy_cell_verify}
    assert cell.verify(other)
    ours, bare = "ours: cell.verify(other)", "ours: lib.zpy_cell_verify(handle, other, 32)"
    cases = [statement(ours, "cell.verify(other)", **names), statement(bare, "call(handle, other, 32)", **names)]
    return group("Verify", cases, [Ratio(ours, bare, Aim(1.3))], repeats)


def python_threads(name: str, count: int, secret: bytes) -> Case:
    """Create, verify and wipe cells from so many Python threads."""

    def batch(number: int) -> float:
        share = math.ceil(number / count)
        gate = threading.Barrier(count + 1)

        def work() -> None:
            gate.wait()
            for _ in repeat(None, share):
                cell = CypherCell(secret)
                assert cell.verify(secret)
                cell.wipe()

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        gate.wait()
        begin = time.perf_counter()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begin

    return Case(name, batch)


def threads_cost(native: Native, secret: bytes, repeats: Repeats) -> list[str]:
    """One thread against many."""
    in_c, many_in_c = "in C: 1 thread", f"in C: {THREADS} threads"
    python, many_python = "Python: 1 thread", f"Python: {THREADS} threads"
    cases = [
        native.cells(in_c, 1),
        native.cells(many_in_c, THREADS),
        python_threads(python, 1, secret),
        python_threads(many_python, THREADS, secret),
    ]
    comparisons = [Ratio(in_c, many_in_c, Aim(SPEEDUP, at_least=True)), Ratio(python, many_python)]
    return group(f"Create, verify and wipe on {CORES} CPUs", cases, comparisons, repeats)


def limited_crowd(count: int, rounds: int) -> list[str]:
    """Cells under a lock limit that few of them fit into."""
    answers = [under_limit(count) for _ in range(rounds)]
    limit_kib = lock_limit(count) // 1024

    def column(name: str) -> list[float]:
        return [answer[name] for answer in answers]

    last_over_first = [answer["last_us"] / answer["first_us"] for answer in answers]
    figures = [
        Figure("cells that are protected and hold their secret", column("kept"), "cells", Aim(count, at_least=True)),
        Figure("of these, sealed", column("sealed"), "cells"),
        Figure("locked, by the kernel's count (VmLck)", column("locked_kib"), "KiB", Aim(limit_kib)),
        Figure("memory of a cell outside Python's objects", column("bytes_each"), "B", Aim(250)),
        Figure("creation of a cell, first tenth of the sealed ones", column("first_us"), "us"),
        Figure("creation of a cell, last tenth", column("last_us"), "us"),
        Figure("last tenth / first tenth", last_over_first, "x", Aim(1.2)),
    ]
    title = f"{count:,} live cells under a lock limit of {limit_kib:,} KiB ({rounds} processes)"
    return [f"### {title}", "", *figure_table("what", figures)]


def deadlines(count: int, rounds: int, *, sealed: bool) -> list[str]:
    """Cells with a time to live, few and many in turn."""
    few_and_many = [
        (with_deadlines(min(FEW, count // 10), sealed=sealed), with_deadlines(count, sealed=sealed))
        for _ in range(rounds)
    ]

    def column(name: str) -> list[float]:
        return [many[name] for _, many in few_and_many]

    def growth(name: str) -> list[float]:
        return [many[name] / few[name] for few, many in few_and_many]

    few_count = min(FEW, count // 10)
    one = [(few["late_ms"] / few_count, many["late_ms"] / count) for few, many in few_and_many]
    over = f"with {count:,} / with {few_count:,}"
    log = Aim(3)
    figures = [
        Figure("from a shared deadline until all are wiped", column("late_ms"), "ms", Aim(50)),
        Figure("the longest that another call took meanwhile", column("wait_ms"), "ms"),
        Figure(f"expiry of one cell: {over}", [many / few for few, many in one], "x", log),
        Figure("creation, deadline shared by all", column("shared_us"), "us"),
        Figure(f"the same: {over}", growth("shared_us"), "x", log),
        Figure("creation, deadline sooner than all before", column("create_us"), "us"),
        Figure(f"the same: {over}", growth("create_us"), "x", log),
        Figure("wiped before its deadline", column("end_us"), "us"),
        Figure(f"the same: {over}", growth("end_us"), "x", log),
    ]
    title = f"{count:,} {'sealed' if sealed else 'packed'} cells with deadlines ({rounds} processes)"
    return [f"### {title}", "", *figure_table("what", figures)]


def attempt(title: str, measure: Callable[[], list[str]], errors: list[str]) -> list[str]:
    """Measure what this package or this machine may not offer, and go on with the rest.

    Args:
        title: For the results, where there is nothing to measure.
        measure: Does it.
        errors: Gets what the package refused to do. What the machine lacks is told in the results only.
    """
    try:
        return measure()
    except CapabilityError as error:
        reason = f"Not measured: {error}."
    except (ChildError, ValueError) as error:
        errors.append(f"{title}: {error}")
        reason = f"**error**: {error}"
    return [f"### {title}", "", reason, ""]


def main() -> int:
    """Measure, write the section, and say what could not be measured."""
    chosen = options(__doc__)
    repeats = Repeats(3, 0.002) if chosen.quick else Repeats(41, 0.02)
    in_threads = Repeats(3, 0.05) if chosen.quick else Repeats(21, 0.2)
    count, processes = (20_000, 2) if chosen.quick else (1_000_000, 3)
    secret, errors = os.urandom(32), list[str]()
    native = Native()
    lines = [INTRODUCTION, f"- repeats: {repeats}; of threads: {in_threads}", *facts(("cypher_cell", "cffi")), ""]
    lines += creation(native, import_module("cypher_cell").CypherCell, secret, repeats)
    lines += borrowing(native, secret, repeats)
    lines += attempt("Sealed cells", lambda: sealed_work(secret, repeats), errors)
    lines += verification(secret, repeats)
    lines += threads_cost(native, secret, in_threads)
    lines += attempt("Live cells under a small lock limit", lambda: limited_crowd(count, processes), errors)
    for sealed in (False, True):
        measure = functools.partial(deadlines, count, processes, sealed=sealed)
        lines += attempt(f"Deadlines of {'sealed' if sealed else 'packed'} cells", measure, errors)
    write_section(chosen.results, "Memory engine", lines)
    for error in errors:
        sys.stderr.write(f"bench_memory.py: error: {error}\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
