"""Leak checks: look for copies of a secret in the memory of a process, on Linux.

    >>> from zeroizepy import CypherCell
    >>> from zeroizepy.testing import scan_process
    >>> cell = CypherCell.generate(32)
    >>> scan_process(cell)
    []
    >>> leaked = cell.reveal_bytes()
    >>> len(scan_process(cell)) >= 1
    True

The scanner holds the needle in locked memory alone, compares in C, and reads into one buffer that it leaves out of the
scan and wipes. An empty answer is worth something only beside a control: a copy that was left on purpose and is found.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _lib
from ._lib import ffi, lib
from .cell import CypherCell
from .memory import SecureMemory
from .slots import PEEK, open_lease

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MIN_NEEDLE_BYTES", "Hit", "Region", "ScanReport", "scan_process", "scan_process_report"]

MIN_NEEDLE_BYTES = 8
"""A shorter needle would be met by chance."""

_CHUNK_BYTES = 1 << 20
_MAX_OFFSET = (1 << 63) - 1
_MAPS_FIELDS = 6
"""Of a line of /proc/PID/maps that names what is mapped."""

_NOT_GIVEN = (errno.EIO, errno.EFAULT, errno.ENXIO)
"""What a read of /proc/PID/mem answers for pages that it cannot give out."""


@dataclass(frozen=True, slots=True)
class Region:
    """One line of /proc/PID/maps.

    Attributes:
        start, end: Addresses, end not included.
        permissions: As the kernel writes them, such as "rw-p".
        mapping: The file or name that stands behind it, "" for anonymous memory.
        kind: "heap", "stack", "anonymous", "secretmem", "file" or "kernel" (pages that the kernel lends, [vdso]).
    """

    start: int
    end: int
    permissions: str
    mapping: str
    kind: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where the needle stands.

    Attributes:
        region_start: Address at which the region begins.
        offset: Bytes from there to the needle.
        permissions, mapping, kind: Of the region, see `Region`.
    """

    region_start: int
    offset: int
    permissions: str
    mapping: str
    kind: str

    @property
    def address(self) -> int:
        """Where the needle's first byte is."""
        return self.region_start + self.offset


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan saw and what it could not see.

    Attributes:
        hits: Copies, by address.
        unreadable: Regions of which at least one page could not be read, such as those of memfd_secret. What stands
            there is unknown.
        scanned_bytes: Bytes that were compared.
    """

    hits: tuple[Hit, ...]
    unreadable: tuple[Region, ...]
    scanned_bytes: int


def scan_process(needle: CypherCell | SecureMemory | bytes, pid: int | None = None) -> list[Hit]:
    """Find copies of `needle` in the memory of a process.

    Args:
        needle: At least 8 bytes. A cell's or secure memory's own slot does not count as a copy; looking is no access,
            so read limits are not touched. For `bytes`, the object that you pass is found too.
        pid: None for this process.

    Returns:
        The copies. An empty list means none in what could be read: `scan_process_report` also names the rest.

    Raises:
        TypeError: A wrong argument.
        ValueError: The needle is shorter than 8 bytes, or `pid` is not positive.
        CellWipedError: The needle is gone.
        PermissionError: This process may not read that memory; the message says which right is missing.
        ProcessLookupError: There is no such process, or it ended meanwhile.
        NotImplementedError: Not on Linux.

    Does not reach: pages of memfd_secret, registers, the kernel's own memory, swapped copies that were given up, and a
    copy in another form (encoded, reversed, in pieces). Threads that run meanwhile can move a copy past the scan.
    """
    return list(scan_process_report(needle, pid).hits)


def scan_process_report(needle: CypherCell | SecureMemory | bytes, pid: int | None = None) -> ScanReport:
    """The same as `scan_process`, with the regions that could not be read and the amount that was."""
    if not isinstance(needle, (CypherCell, SecureMemory, bytes)):
        raise TypeError(f"needle must be a CypherCell, SecureMemory or bytes, not {type(needle).__name__}")
    _check_pid(pid)
    if isinstance(needle, bytes):
        with SecureMemory.from_bytes(needle) as memory:
            return scan_process_report(memory, pid)
    size = int(lib.zpy_cell_length(needle._handle))
    if size < 0:
        _lib.raise_status(-size)
    if size < MIN_NEEDLE_BYTES:
        raise ValueError(f"needle must be at least {MIN_NEEDLE_BYTES} bytes, not {size}: less is met by chance")
    if not sys.platform.startswith("linux"):
        raise NotImplementedError(f"scanning needs Linux's /proc/PID/mem; this is {sys.platform}")
    return _scan(needle._handle, size, os.getpid() if pid is None else pid)


def _check_pid(pid: object) -> None:
    if pid is None:
        return
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise TypeError(f"pid must be an int or None, not {type(pid).__name__}")
    if pid <= 0:
        raise ValueError(f"pid must be positive, not {pid}")


def _scan(handle: int, size: int, pid: int) -> ScanReport:
    with _opened(pid) as fd, _pinned(handle) as needle_start, _Window(fd, handle, size) as window:
        # Neither the needle's own slot nor the buffer that is being read into is a copy that the program left.
        own = [(needle_start, needle_start + size), window.span] if pid == os.getpid() else []
        hits: list[Hit] = []
        unreadable: list[Region] = []
        for region in _regions(pid):
            failed = False
            for start, stop in _without(region.start, region.end, own):
                found, whole = window.search(start, stop)
                hits += (_hit(region, address) for address in found)
                failed = failed or not whole
            if failed:
                unreadable.append(region)
        return ScanReport(tuple(hits), tuple(unreadable), window.scanned_bytes)


def _hit(region: Region, address: int) -> Hit:
    return Hit(region.start, address - region.start, region.permissions, region.mapping, region.kind)


@contextmanager
def _opened(pid: int) -> Iterator[int]:
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


@contextmanager
def _pinned(handle: int) -> Iterator[int]:
    """The address of a cell's slot, which stays where it is meanwhile. Counts no access."""
    status, _lease, exporter = open_lease(handle, PEEK)
    if status:
        _lib.raise_status(status)
    yield int(ffi.cast("uintptr_t", exporter))
    del exporter


def _regions(pid: int) -> list[Region]:
    """The memory map, read before the first page is, so that what the scan itself maps later is not in it."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    regions = []
    for line in lines:
        fields = line.split(maxsplit=_MAPS_FIELDS - 1)
        start, end = (int(text, 16) for text in fields[0].split("-"))
        mapping = fields[-1] if len(fields) == _MAPS_FIELDS else ""
        regions.append(Region(start, end, fields[1], mapping, _kind(mapping)))
    if not regions:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has no memory: it ended, or belongs to the kernel")
    return regions


def _kind(mapping: str) -> str:
    if mapping.startswith("/secretmem"):
        return "secretmem"
    if not mapping or mapping.startswith("[anon"):
        return "anonymous"
    if mapping == "[heap]":
        return "heap"
    if mapping.startswith("[stack"):
        return "stack"
    return "kernel" if mapping.startswith("[") else "file"


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


class _Window:
    """One buffer through which all memory passes; kept out of core dumps and children, and wiped at the end.

    It is not locked: while a scan runs, the kernel may swap it like the memory that it reads.
    """

    def __init__(self, fd: int, handle: int, needle_bytes: int) -> None:
        self.scanned_bytes = 0
        self._fd = fd
        self._handle = handle
        self._needle_bytes = needle_bytes
        page = mmap.PAGESIZE
        span_bytes = max(_CHUNK_BYTES, -(-2 * needle_bytes // page) * page)
        self._map = mmap.mmap(-1, span_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for name in ("MADV_DONTDUMP", "MADV_DONTFORK"):
            self._map.madvise(getattr(mmap, name))
        self._view = memoryview(self._map)
        self._hay = ffi.from_buffer("uint8_t[]", self._view)
        address = int(ffi.cast("uintptr_t", self._hay))
        self.span = (address, address + len(self._map))

    def __enter__(self) -> _Window:  # noqa: PYI034 - typing.Self needs Python 3.11.
        return self

    def __exit__(self, *_error: object) -> None:
        lib.zpy_cell_memzero(self._hay, len(self._map))
        ffi.release(self._hay)
        self._view.release()
        self._map.close()

    def search(self, start: int, stop: int) -> tuple[list[int], bool]:
        """Look for the needle in [start, stop).

        Returns:
            The addresses, and whether all of the span could be read.
        """
        if stop > _MAX_OFFSET:
            return [], False  # [vsyscall] lies where no offset reaches.
        found: list[int] = []
        whole = True
        while start < stop:
            got = self._fill(start, stop)
            if got == 0:
                whole = False
                start = (start // mmap.PAGESIZE + 1) * mmap.PAGESIZE
                continue
            found += (start + offset for offset in self._find(got))
            self.scanned_bytes += got
            if start + got >= stop or got < self._needle_bytes:
                start += got
            else:
                # The next part begins so far back that a needle across the border is whole in it, and only there.
                start += got - (self._needle_bytes - 1)
                self.scanned_bytes -= self._needle_bytes - 1
        return found, whole

    def _fill(self, start: int, stop: int) -> int:
        """Read from `start` on. Returns the bytes that came, 0 when the first page cannot be read."""
        try:
            got = os.preadv(self._fd, [self._view[: min(stop - start, len(self._map))]], start)
        except OSError as error:
            if error.errno not in _NOT_GIVEN:
                raise
            return 0
        if got == 0:
            raise ProcessLookupError(errno.ESRCH, "the process ended, or runs another program now")
        return got

    def _find(self, length: int) -> list[int]:
        offsets: list[int] = []
        start = 0
        while True:
            offset = int(lib.zpy_scan_find(self._handle, self._hay, length, start))
            if offset < -1:
                _lib.raise_status(-2 - offset)
            if offset == -1:
                return offsets
            offsets.append(offset)
            start = offset + self._needle_bytes
