"""What the kernel says about a process's memory: its mappings, and which of their pages exist."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import struct
from typing import TYPE_CHECKING

from zeroizepy._lib import ffi

from .values import Region

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Pagemap", "regions"]

_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ \d+ *(.*)")

_PAGEMAP_SCAN = 0xC0606610
"""_IOWR('f', 16, struct pm_scan_arg) where the direction bits are as on x86 and ARM; others answer ENOTTY."""
_SCAN_ARGUMENT = struct.Struct("=12Q")
_SCAN_ENTRIES = 1024
_IS_PRESENT_OR_SWAPPED = 1 << 3 | 1 << 4

_ENTRY_BYTES = 8
_HOLDS_PAGE = 1 << 63 | 1 << 62
"""Of a pagemap entry: in memory, or in swap (or on its way between)."""
_PIECE_ENTRIES = 1 << 16
_EMPTY_PIECES = (bytes(_ENTRY_BYTES * _PIECE_ENTRIES), (1 << 55).to_bytes(8, "little") * _PIECE_ENTRIES)
"""65,536 pages that do not exist, as kernels without and with soft-dirty tracking report them."""


def regions(pid: int) -> list[Region]:
    """The memory map, in order, read from smaps; from maps on kernels that lack it.

    Raises:
        ProcessLookupError: The process ended, or is the kernel's.
    """
    found: list[Region] = []
    for line in _map_lines(pid):
        match = _HEAD.match(line)
        if match is not None:
            start, end = int(match[1], 16), int(match[2], 16)
            found.append(Region(start, end, match[3], match[4], _kind(match[4])))
        elif line.startswith("VmFlags:") and {"lo", "dd"} <= set(line.split()):
            last = found.pop()
            found.append(Region(last.start, last.end, last.permissions, last.mapping, last.kind, protected=True))
    if not found:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has no memory: it ended, or belongs to the kernel")
    return found


def _map_lines(pid: int) -> list[str]:
    path = f"/proc/{pid}/smaps"
    if not os.path.exists(path):
        path = f"/proc/{pid}/maps"
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().split("\n")


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


class Pagemap:
    """Tells which pages of a region can hold data, so that terabytes of reserved address space need not be read.

    A page is passed over only when it is private and anonymous and the kernel holds neither a page nor a swap slot for
    it: its content is zeros by definition. File mappings, shared memory and all else are always read.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1  # Not in this kernel, or not allowed: everything is read.
        self._has_scan = True

    def __enter__(self) -> Pagemap:  # noqa: PYI034 - typing.Self needs Python 3.11.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def populated(self, region: Region, margin_bytes: int) -> list[tuple[int, int]]:
        """The parts of a region that can hold data, in order, apart from each other.

        Args:
            region: A mapping of the process.
            margin_bytes: How much of what lies beside a part belongs to it, rounded up to pages: what begins in a page
                that exists may end in zeros of one that does not.
        """
        everything = [(region.start, region.end)]
        if self._fd < 0 or region.kind not in ("anonymous", "heap", "stack") or region.permissions[3] != "p":
            return everything
        try:
            spans = self._scanned(region) if self._has_scan else self._read(region)
        except OSError:
            return everything
        margin = -(-margin_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        merged: list[tuple[int, int]] = []
        for low, high in spans:
            start, stop = max(low - margin, region.start), min(high + margin, region.end)
            if merged and start <= merged[-1][1]:
                start = merged.pop()[0]
            merged.append((start, stop))
        return merged

    def _scanned(self, region: Region) -> list[tuple[int, int]]:
        """Through the PAGEMAP_SCAN call of Linux 6.7, whose cost follows the pages that exist.

        Source: Linux, Documentation/admin-guide/mm/pagemap.rst, and struct pm_scan_arg in include/uapi/linux/fs.h.
        """
        found = ffi.new("uint64_t[]", 3 * _SCAN_ENTRIES)  # Start, end and categories of each run of pages.
        address = int(ffi.cast("uintptr_t", found))
        spans: list[tuple[int, int]] = []
        start = region.start
        while start < region.end:
            # In order: size, flags, start, end, where the walk ended, the buffer and its entries, a limit of pages,
            # then four masks of categories: inverted, all of, any of, returned.
            pages = (start, region.end, 0, address, _SCAN_ENTRIES, 0)
            masks = (0, 0, _IS_PRESENT_OR_SWAPPED, _IS_PRESENT_OR_SWAPPED)
            argument = bytearray(_SCAN_ARGUMENT.pack(_SCAN_ARGUMENT.size, 0, *pages, *masks))
            try:
                count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument)
            except OSError as error:
                if error.errno not in (errno.ENOTTY, errno.EINVAL):
                    raise
                self._has_scan = False
                return self._read(region)
            spans += ((found[3 * at], found[3 * at + 1]) for at in range(count))
            walked = _SCAN_ARGUMENT.unpack(argument)[4]
            if walked <= start:
                raise OSError(errno.EPROTO, "PAGEMAP_SCAN came no further")
            start = walked
        return spans

    def _read(self, region: Region) -> list[tuple[int, int]]:
        """Through one 8-byte entry for each page, for older kernels."""
        spans: list[tuple[int, int]] = []
        page, last = region.start // mmap.PAGESIZE, region.end // mmap.PAGESIZE
        while page < last:
            piece = os.pread(self._fd, _ENTRY_BYTES * min(_PIECE_ENTRIES, last - page), page * _ENTRY_BYTES)
            if not piece or len(piece) % _ENTRY_BYTES:
                raise OSError(errno.EIO, "pagemap ended early")
            if piece not in _EMPTY_PIECES:
                for at, (entry,) in enumerate(struct.iter_unpack("=Q", piece)):
                    if entry & _HOLDS_PAGE:
                        spans.append(((page + at) * mmap.PAGESIZE, (page + at + 1) * mmap.PAGESIZE))
            page += len(piece) // _ENTRY_BYTES
        return spans
