"""Key files: private, complete and on the device, or not there at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from zeroizepy.durable import name_beside, name_only, new_private_file, open_private_file, sync_directory

from .wrap import MAX_WRAPPED_BYTES

__all__ = ["check_free", "read_key_file", "write_key_file"]


def read_key_file(path: str) -> bytes:
    """The content of a key file, and at most one byte more than the longest has.

    Raises:
        ValueError: It is no regular file, or another user owns it or others may access it.
        OSError: It cannot be opened or read.
    """
    what = "a key file is what CryptoKey.save wrote"
    with open_private_file(path, what) as fd, open(fd, "rb", closefd=False) as file:
        return file.read(MAX_WRAPPED_BYTES + 1)


def check_free(path: str) -> None:
    """Refuse a name that is taken, before work is done for a file that could not be made.

    Raises:
        FileExistsError: It is. Whether it is free later is decided when the file is made.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def write_key_file(path: str, content: bytes, *, overwrite: bool) -> None:
    """Write a key file. `CryptoKey.save` tells what is raised."""
    if not overwrite:
        _write_new(path, content)
        return
    temporary = name_beside(path)
    try:
        _write_new(temporary, content)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            name_only(error, path)
        raise
    sync_directory(path)


def _write_new(path: str, content: bytes) -> None:
    with new_private_file(path) as fd, open(fd, "wb", closefd=False) as file:
        file.write(content)
