"""Key files: private, complete and on the device, or not there at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from zeroizepy.durable import (
    identity_of,
    name_beside,
    name_only,
    new_private_file,
    open_private_file,
    sync_directory,
)

from .wrap import MAX_WRAPPED_BYTES

__all__ = ["check_free", "read_key_file", "write_key_file"]


_WHAT = "a key file is what CryptoKey.save wrote"


def read_key_file(path: str) -> tuple[bytes, str]:
    """The content of a key file, at most one byte more than the longest has; and which file it is: its `identity_of`.

    Raises:
        ValueError: It is no regular file, or another user owns it or others may access it.
        OSError: It cannot be opened or read.
    """
    with open_private_file(path, _WHAT) as fd, open(fd, "rb", closefd=False) as file:
        return file.read(MAX_WRAPPED_BYTES + 1), identity_of(os.fstat(fd))


def check_free(path: str) -> None:
    """Refuse a name that is taken, before work is done for a file that could not be made.

    Raises:
        FileExistsError: It is. Whether it is free later is decided when the file is made.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def write_key_file(path: str, content: bytes, *, overwrite: bool) -> str:
    """Write a key file. `CryptoKey.save` tells what is raised.

    Returns:
        Which file it is: its `identity_of`.
    """
    if not overwrite:
        with new_private_file(path) as fd:
            _write(fd, content)
            return identity_of(os.fstat(fd))
    temporary = name_beside(path)
    try:
        with new_private_file(temporary) as fd:
            _write(fd, content)
        with open_private_file(temporary, _WHAT) as fd:  # While it is open, no other file can have its inode.
            os.replace(temporary, path)
            identity = identity_of(os.fstat(fd))
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            name_only(error, path)
        raise
    sync_directory(path)
    return identity


def _write(fd: int, content: bytes) -> None:
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
