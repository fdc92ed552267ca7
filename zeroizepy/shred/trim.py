"""Telling the device which blocks are free: FITRIM, what fstrim(8) uses.

A device that is told so may drop the blocks or not, at once or later; this alone is no sanitization.
"""

from __future__ import annotations

import fcntl
import struct

from .calls import sync_file_system

__all__ = ["trim"]

_FITRIM = 0xC0185879
_RANGE = struct.Struct("=QQQ")


def trim(fd: int) -> int:
    """Discard all free blocks of the file system that `fd` lives on.

    Args:
        fd: A directory or file on it, open for reading.

    Returns:
        Bytes that the file system says it has discarded.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN, EOPNOTSUPP or ENOTTY where the file system or the device has no discard.

    Source: Linux, include/uapi/linux/fs.h, struct fstrim_range.
    """
    # Blocks that were freed in a transaction which is not yet committed do not count as free.
    sync_file_system(fd)
    answer = bytearray(_RANGE.pack(0, (1 << 64) - 1, 0))
    fcntl.ioctl(fd, _FITRIM, answer)
    return int(_RANGE.unpack(answer)[1])
