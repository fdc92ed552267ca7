"""The scan of swap areas."""

from __future__ import annotations

import errno
import mmap
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import files
from .canary import Canary, probes_for
from .process import require_linux
from .values import FileReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zeroizepy.cell import CypherCell
    from zeroizepy.memory import SecureMemory

__all__ = ["scan_swap", "swap_areas"]

_SIGNATURES = (b"SWAPSPACE2", b"SWAP-SPACE")
_DELETED = " (deleted)"


def scan_swap(
    needle: CypherCell | SecureMemory | Canary | bytes, path: str | os.PathLike[str] | None = None
) -> tuple[FileReport, ...]:
    """Find copies of `needle` in swap, whichever process they came from, and whether or not it still runs.

    Areas are read past the page cache, which the kernel bypasses when it swaps and which may hold older content.

    Args:
        needle: At least 8 bytes, looked for as they are; of a `Canary` all its forms.
        path: One swap file or device; None for those that /proc/swaps lists now.

    Returns:
        A report for each area; none when nothing is in use for swap.

    Raises:
        PermissionError: An area may not be read: that takes root, or CAP_DAC_READ_SEARCH.
        ValueError: `path` has no swap signature; or as `scan_file`.
        TypeError, CellWipedError, OSError, NotImplementedError: As `scan_file`.

    Does not reach: pages that zswap holds compressed in memory, which is where they stay until that is full; a copy
    that lies across two pages, since neighbours in memory need not be neighbours in swap; areas that were in use
    earlier; the underlying device of an encrypted area, of which the open mapping is read.
    """
    require_linux("scanning swap is tested on Linux alone")
    probes = probes_for(needle)
    reports = []
    for area in swap_areas() if path is None else [os.fspath(path)]:
        with _opened(area) as (fd, size):
            hits, scanned = files.search(fd, size, probes)
            reports.append(FileReport(area, "swap", tuple(hits), scanned))
    return tuple(reports)


def swap_areas(table: str = "/proc/swaps") -> list[str]:
    """The files and devices that the kernel swaps to now; none where it has no swap at all.

    Raises:
        FileNotFoundError: An area's file has been deleted, and has no path by which it could be read.
    """
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()[1:]
    except FileNotFoundError:
        return []
    areas = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[0]) for line in lines]
    for area in areas:
        if area.endswith(_DELETED):
            raise FileNotFoundError(errno.ENOENT, "swap is on a deleted file, which cannot be read", area)
    return areas


@contextmanager
def _opened(area: str) -> Iterator[tuple[int, int]]:
    try:
        with files.opened(area, os.O_DIRECT) as opened:
            _check_signature(area, opened[0])
            yield opened
            return
    except PermissionError:
        raise PermissionError(
            errno.EACCES, "the swap area may not be read: run as root, or with CAP_DAC_READ_SEARCH", area
        ) from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # The file system has no O_DIRECT: what its cache holds is dropped instead.
    with files.opened(area) as opened:
        os.posix_fadvise(opened[0], 0, 0, os.POSIX_FADV_DONTNEED)
        _check_signature(area, opened[0])
        yield opened


def _check_signature(area: str, fd: int) -> None:
    """Refuse what is no swap area: the signature ends the first page."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        got = os.preadv(fd, [page], 0)
        if got < mmap.PAGESIZE or page[-10:] not in _SIGNATURES:
            raise ValueError(f"{area} has no swap signature; scan_file takes any file or device")
