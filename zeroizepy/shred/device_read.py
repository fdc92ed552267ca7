"""Reading a file's blocks from the block device under its file system: the file system's word is then not needed."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from .options import BLOCK_BYTES
from .passes import SPAN_BYTES, set_direct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import FileFacts
    from .passes import SpanResult, SpanWriter

__all__ = ["DeviceReader"]

_UNPLACED = frozenset({"delayed", "encoded", "inline", "unknown"})


class DeviceReader:
    """The device of one file's file system, open for reading past the page cache.

    Args:
        fd: The file.
        facts: Of the file before it was overwritten: where its bytes were then is what is read.

    Raises:
        OSError: The file system keeps the file where no block of this device is, or the device cannot be read: by
            root alone, most often.
    """

    __slots__ = ("_facts", "_fd")

    def __init__(self, fd: int, facts: FileFacts) -> None:
        if facts.extents is not None and "delayed" in facts.extents.kinds:
            # Written moments ago. What was under these bytes before is not theirs.
            raise OSError(errno.ENOTSUP, "some of the file's bytes had no place on the device yet; sync gives them one")
        if facts.extents is None or facts.extents.kinds & _UNPLACED or facts.file_system == "btrfs":
            raise OSError(errno.ENOTSUP, "the file system does not say where on the device the bytes are")
        if facts.encrypted:
            raise OSError(errno.ENOTSUP, "the file system encrypts the file, and the device holds other bytes")
        if any((offset | place) % BLOCK_BYTES for offset, place, _ in facts.extents.pieces()):
            raise OSError(errno.ENOTSUP, f"the file's pieces do not begin at multiples of {BLOCK_BYTES} bytes")
        self._facts = facts
        self._fd = _open_device(os.fstat(fd).st_dev)

    def close(self) -> None:
        """Close the device. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def compare(self, writer: SpanWriter, end: int, number: int) -> Iterator[tuple[SpanResult, int]]:
        """Compare what is on the device with what a pass wrote, span by span.

        Args:
            writer: That wrote it.
            end: Where the pass ended in the file.
            number: Of the pass, from 1.

        Yields:
            The result, and the span's offset in the file.
        """
        extents = self._facts.extents
        for offset, place, length in extents.pieces() if extents is not None else ():
            for start in range(offset, min(offset + length, end), SPAN_BYTES):
                stop = min(start + SPAN_BYTES, offset + length, end)
                yield writer.compare(self._fd, start, stop, number, direct=True, shift=place - offset), start


def _open_device(number: int) -> int:
    """Open a block device by its number, whatever it is called.

    Raises:
        OSError: There is no such device, or it cannot be read past the page cache.
    """
    major, minor = os.major(number), os.minor(number)
    name = os.path.basename(os.path.realpath(f"/sys/dev/block/{major}:{minor}"))
    last = OSError(errno.ENODEV, "the file system is on no block device")
    for path in (f"/dev/block/{major}:{minor}", f"/dev/{name}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            last = error
            continue
        status = os.fstat(fd)
        if stat.S_ISBLK(status.st_mode) and status.st_rdev == number and set_direct(fd, wanted=True):
            return fd
        os.close(fd)
    raise last
