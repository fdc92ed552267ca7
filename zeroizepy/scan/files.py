"""The scan of files: any, and ELF core dumps."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .canary import Canary, probes_for
from .elf import read_core
from .process import require_linux
from .values import FileHit, FileReport
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zeroizepy.cell import CypherCell
    from zeroizepy.memory import SecureMemory

    from .probes import Probe

__all__ = ["opened", "scan_core", "scan_file", "search"]


def scan_file(path: str | os.PathLike[str], needle: CypherCell | SecureMemory | Canary | bytes) -> FileReport:
    """Find copies of `needle` in a file or block device.

    It is read to its end through one buffer of about a megabyte, which is wiped. The page cache may keep what was read.

    Args:
        path: A regular file or a block device.
        needle: At least 8 bytes, looked for as they are; of a `Canary` all its forms.

    Raises:
        TypeError: A wrong argument.
        ValueError: The needle is shorter than 8 bytes, or `path` is neither file nor block device.
        CellWipedError: The needle is gone.
        OSError: It cannot be opened or read.
        NotImplementedError: Not on Linux.

    Does not reach: a copy in another form, such as in a compressed or encrypted file; blocks of the file system that
    the file no longer has; extended attributes.
    """
    require_linux("scanning files is tested on Linux alone")
    probes = probes_for(needle)
    with opened(path) as (fd, size):
        found, scanned = search(fd, size, probes)
        return FileReport(os.fspath(path), "file", tuple(found), scanned)


def scan_core(path: str | os.PathLike[str], needle: CypherCell | SecureMemory | Canary | bytes) -> FileReport:
    """Find copies of `needle` in an ELF core dump, with the addresses that they had in the process.

    The whole file is searched, register notes included. For a process that is still alive use `scan_process`: it needs
    no dump on disk.

    Args:
        path: An uncompressed core dump.
        needle: As in `scan_file`.

    Returns:
        A report whose `truncated` and `absent_bytes` say what the dump lacks: a secret that is not found may have been
        there.

    Raises:
        ValueError: As `scan_file`; or it is not an ELF core dump, or its headers are cut off.
        TypeError, CellWipedError, OSError, NotImplementedError: As `scan_file`.

    Does not reach: what lies across the border of two segments that are neighbours in the file and were not in memory
    may be reported although it was never in one piece.
    """
    require_linux("scanning files is tested on Linux alone")
    probes = probes_for(needle)
    name = os.fspath(path)
    with opened(path) as (fd, size):
        core = read_core(fd, name)
        found, scanned = search(fd, size, probes)
        hits = []
        for hit in found:
            part = core.at(hit.offset)
            address = None if part is None else part.address + hit.offset - part.offset
            permissions = "" if part is None else part.permissions
            hits.append(FileHit(hit.offset, hit.form, hit.part, address, permissions))
        absent = sum(max(part.memory_bytes - part.file_bytes, 0) for part in core.segments)
        return FileReport(name, "core", tuple(hits), scanned, size < core.file_bytes, absent)


def search(fd: int, size: int, probes: Sequence[Probe]) -> tuple[list[FileHit], int]:
    """The hits in the first `size` bytes, and how many bytes were compared."""
    with Window(fd, probes, is_memory=False) as window:
        found, _whole = window.search(0, size)
        hits = [FileHit(place.offset, place.probe.form, "whole" if place.is_whole else "tail") for place in found]
        return hits, window.scanned_bytes


@contextmanager
def opened(path: str | os.PathLike[str], flags: int = 0) -> Iterator[tuple[int, int]]:
    """A descriptor of a regular file or block device, and its size in bytes."""
    # Without O_NONBLOCK, opening a FIFO that nobody writes to would wait for ever.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | flags)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            raise ValueError(f"{os.fspath(path)} is neither a regular file nor a block device; nothing was read")
        yield fd, os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
