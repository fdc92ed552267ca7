"""The scan of a process's memory, on Linux."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import memory_map
from .canary import Canary, probes_for
from .probes import own_spans
from .values import Hit, Region, ScanReport
from .window import Found, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zeroizepy.cell import CypherCell
    from zeroizepy.memory import SecureMemory
    from zeroizepy.slots import Holder

    from .probes import Probe

__all__ = ["check_pid", "obstacle", "opened", "require_linux", "scan", "scan_process", "scan_process_report"]


def scan_process(needle: CypherCell | SecureMemory | Canary | bytes, pid: int | None = None) -> list[Hit]:
    """Find copies of `needle` in the memory of a process.

    Args:
        needle: At least 8 bytes, looked for as they are; of a `Canary` all its forms. A cell's or secure memory's own
            slot does not count as a copy; looking is no access, so read limits are not touched. For `bytes`, the object
            that you pass is found too.
        pid: None for this process.

    Returns:
        The copies. An empty list means none in what could be read: `scan_process_report` also names the rest, and
        `assert_no_residue` proves that the scan can see.

    Raises:
        TypeError: A wrong argument.
        ValueError: The needle is shorter than 8 bytes, or `pid` is not positive.
        CellWipedError: The needle is gone.
        PermissionError: This process may not read that memory; the message says which right is missing.
        ProcessLookupError: There is no such process, or it ended meanwhile.
        NotImplementedError: Not on Linux.

    Pages in swap are read, which brings them back into memory and counts against the limit of a control group.

    Does not reach: pages of memfd_secret, registers, the kernel's own memory, swapped copies that were given up, and a
    copy in another form (encoded, reversed, in pieces). Threads that run meanwhile can move a copy past the scan.
    """
    return list(scan_process_report(needle, pid).hits)


def scan_process_report(needle: CypherCell | SecureMemory | Canary | bytes, pid: int | None = None) -> ScanReport:
    """The same as `scan_process`, with what could not be read, and how much was compared and passed over."""
    check_pid(pid)
    probes = probes_for(needle)
    require_linux()
    if isinstance(needle, Canary):
        return scan(probes, pid, [needle._cell])
    return scan(probes, pid, [] if isinstance(needle, bytes) else [needle])


def scan(probes: Sequence[Probe], pid: int | None, originals: Iterable[Holder] = ()) -> ScanReport:
    """Look for many things in one pass.

    Args:
        probes: At least one.
        pid: None for this process.
        originals: Cells whose own slots are no copies, beside those of the probes.
    """
    number = os.getpid() if pid is None else pid
    with (
        opened(number) as fd,
        memory_map.Pagemap(number) as pagemap,
        own_spans(probes, originals) as own,
        Window(fd, probes, is_memory=True) as window,
    ):
        # Neither a needle's own slot nor the buffer that is being read into is a copy that the program left.
        holes = [*own, window.span] if number == os.getpid() else []
        margin = max(probe.reach_bytes for probe in probes)
        hits: list[Hit] = []
        unreadable: list[Region] = []
        skipped = 0
        for region in memory_map.regions(number):
            populated = pagemap.populated(region, margin)
            skipped += region.end - region.start - sum(high - low for low, high in populated)
            is_whole = True
            for start, stop in (part for span in populated for part in _without(*span, holes)):
                found, got_all = window.search(start, stop)
                hits += (_hit(region, place) for place in found)
                is_whole = is_whole and got_all
            if not is_whole:
                unreadable.append(region)
        return ScanReport(tuple(hits), tuple(unreadable), window.scanned_bytes, skipped)


def obstacle() -> str | None:
    """Why this process cannot be scanned here, in words that name what is missing; None when it can."""
    try:
        require_linux()
        with opened(os.getpid()):
            return None
    except (NotImplementedError, OSError) as error:
        return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def check_pid(pid: object) -> None:
    """Raise TypeError or ValueError unless `pid` is None or a positive int."""
    if pid is None:
        return
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise TypeError(f"pid must be an int or None, not {type(pid).__name__}")
    if pid <= 0:
        raise ValueError(f"pid must be positive, not {pid}")


def require_linux(what: str = "scanning needs Linux's /proc/PID/mem") -> None:
    """Raise NotImplementedError elsewhere."""
    if not sys.platform.startswith("linux"):
        raise NotImplementedError(f"{what}; this is {sys.platform}")


def _hit(region: Region, found: Found) -> Hit:
    return Hit(
        region.start,
        found.offset - region.start,
        region.permissions,
        region.mapping,
        region.kind,
        region.protected,
        found.probe.secret,
        found.probe.form,
        "whole" if found.is_whole else "tail",
    )


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """A descriptor of the process's memory, with errors that name the missing right."""
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not os.path.exists("/proc/self"):
            raise FileNotFoundError(errno.ENOENT, "/proc is not mounted; scanning needs it", "/proc") from None
        raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}") from None
    except PermissionError:
        raise PermissionError(errno.EACCES, _missing_right(pid), f"/proc/{pid}/mem") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _missing_right(pid: int) -> str:
    if pid == os.getpid():
        return "this process may not read its own memory: it is not dumpable, or a sandbox forbids it"
    return (
        f"the memory of process {pid} may not be read: run with CAP_SYS_PTRACE, or as its user while it is dumpable "
        "and Yama's ptrace_scope is 0"
    )


def _without(start: int, stop: int, holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of [start, stop) outside `holes`."""
    parts = []
    for low, high in sorted(holes):
        if high <= start or low >= stop:
            continue
        if low > start:
            parts.append((start, low))
        start = max(start, high)
    if start < stop:
        parts.append((start, stop))
    return parts
