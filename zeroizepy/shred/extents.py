"""Where a file's bytes lie on its device, as the file system tells it: FIEMAP, or at least where its holes are.

Source: linux/fiemap.h and Documentation/filesystems/fiemap.rst of the kernel; lseek(2) for SEEK_DATA and SEEK_HOLE.
"""

from __future__ import annotations

import errno
import os
from array import array
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import calls

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NOWHERE", "ExtentMap", "data_ranges", "is_kept", "read_extents"]

_UNKNOWN, _DELALLOC, _ENCODED, _ENCRYPTED, _NOT_ALIGNED, _INLINE, _TAIL, _UNWRITTEN, _SHARED = (
    0x2, 0x4, 0x8, 0x80, 0x100, 0x200, 0x400, 0x800, 0x2000,
)  # fmt: skip

MAX_EXTENTS = 1 << 20
"""Extents are kept for the comparison afterwards, 24 bytes each; a file in more pieces has no map."""

NOWHERE = (1 << 64) - 1
"""The place on the device of bytes that have none yet."""


@dataclass(slots=True)
class ExtentMap:
    """The pieces of one file in the order of their offsets; neighbours on the device are joined.

    Attributes:
        kinds: Which of `shared`, `inline`, `encoded`, `delayed`, `preallocated`, `unknown` occur.
        offsets: Byte offset of each piece in the file.
        places: Its byte offset on the device; NOWHERE for delayed allocation.
        lengths: Its bytes.
    """

    kinds: frozenset[str] = frozenset()
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    places: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, offset: int, place: int, length: int) -> None:
        """Append a piece that lies behind all others; one that continues the last is joined with it."""
        if self.offsets:
            last = self.lengths[-1]
            follows = place == self.places[-1] == NOWHERE or (place == self.places[-1] + last and place != NOWHERE)
            if follows and offset == self.offsets[-1] + last:
                self.lengths[-1] = last + length
                return
        self.offsets.append(offset)
        self.places.append(place)
        self.lengths.append(length)

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """(offset, place, length) of each piece."""
        return zip(self.offsets, self.places, self.lengths, strict=True)

    @property
    def end(self) -> int:
        """Where the last piece ends in the file; past the file's size where blocks are preallocated there."""
        return self.offsets[-1] + self.lengths[-1] if self.offsets else 0


@lru_cache
def extent_kinds(flags: int) -> frozenset[str]:
    """Names for the flags of one extent that matter here."""
    kinds = set()
    if flags & _SHARED:
        kinds.add("shared")
    if flags & (_INLINE | _TAIL | _NOT_ALIGNED):
        kinds.add("inline")
    if flags & (_ENCODED | _ENCRYPTED):
        kinds.add("encoded")
    if flags & _UNWRITTEN:
        kinds.add("preallocated")
    if flags & _DELALLOC:
        kinds.add("delayed")
    elif flags & _UNKNOWN:
        kinds.add("unknown")
    return frozenset(kinds)


def read_extents(fd: int, *, written_only: bool = False, first: Any = None) -> ExtentMap | None:
    """Ask for all extents of a file. None when the file system has no FIEMAP or the file is in too many pieces.

    Dirty pages are left where they are: a flush here would put bytes on the device that are not there yet.

    Args:
        fd: The file.
        written_only: Blocks that are preallocated, which keep what they held, count as having no place.
        first: What `calls.extents_from` said from offset 0 on; None to ask.
    """
    unplaced = _DELALLOC | _UNKNOWN | (_UNWRITTEN if written_only else 0)
    found, start = ExtentMap(), 0
    answer = calls.extents_from(fd, 0) if first is None else first
    while answer.count >= 0:
        for index in range(answer.count):
            each = answer.extent[index]
            offset, length, flags = each.offset, each.length, each.flags
            if offset + length <= start:
                return None  # A file system that does not get on would keep us here for ever.
            found.kinds |= extent_kinds(flags)
            found.add(offset, NOWHERE if flags & unplaced else each.place, length)
            start = offset + length
        if len(found.offsets) > MAX_EXTENTS:
            return None
        if answer.is_last:
            return found
        answer = calls.extents_from(fd, start)
    return None


def is_kept(before: ExtentMap, after: ExtentMap) -> bool:
    """Whether each piece that lay on the device before lies at the same place now.

    Then what was written meanwhile went over the old bytes, not beside them. Pieces without a place before had no
    bytes on the device. A piece without a place now was not written, or what was written is gone.
    """
    pieces = after.pieces()
    offset, place, length = next(pieces, (NOWHERE, 0, 0))
    for old_offset, old_place, old_length in before.pieces():
        done = old_offset
        while old_place != NOWHERE and done < old_offset + old_length:
            while offset + length <= done and offset != NOWHERE:
                offset, place, length = next(pieces, (NOWHERE, 0, 0))
            if offset > done or place == NOWHERE or place - offset != old_place - old_offset:
                return False
            done = min(old_offset + old_length, offset + length)
    return True


def data_ranges(fd: int, size_bytes: int) -> Iterator[tuple[int, int]] | None:
    """Where a file has data by SEEK_DATA: [start, stop) each; None when the file system would not say.

    The descriptor's offset is unspecified afterwards.
    """
    try:
        first = os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        return iter(()) if error.errno == errno.ENXIO else None
    return _seek_ranges(fd, first, size_bytes)


def _seek_ranges(fd: int, start: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    while start < size_bytes:
        stop = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, min(stop, size_bytes)
        try:
            start = os.lseek(fd, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
