"""Private files: new ones are complete and on the device when a block has ended, or are not there at all."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["name_beside", "name_only", "new_private_file", "open_private_file", "sync_directory"]


def name_beside(path: str) -> str:
    """A random name in the same folder, for what will replace `path`; short enough however long that is."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:50]}.{os.urandom(8).hex()}.tmp")


def name_only(error: OSError, path: str) -> None:
    """Have an error name the file that was asked for alone: a temporary name means nothing to the user."""
    error.filename = path
    del error.filename2  # None would be shown, too.


def sync_directory(path: str) -> None:
    """Make the name of a new file durable, where the file system can flush directories."""
    with suppress(OSError):  # Some cannot, or may not be listed; the file itself is flushed.
        fd = os.open(os.path.dirname(path) or os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def new_private_file(path: str) -> Iterator[int]:
    """Make a file where nothing stands, readable by its owner alone; it is flushed when the block ends well.

    Args:
        path: Its name.

    Yields:
        A descriptor to write to.

    Raises:
        FileExistsError: Something stands there.
        OSError: It could not be made, written or flushed. What was begun is unlinked, also when the block raises.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        yield fd
        os.fsync(fd)
    except BaseException as error:
        os.unlink(path)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise
    finally:
        os.close(fd)
    sync_directory(path)


@contextmanager
def open_private_file(path: str, what: str) -> Iterator[int]:
    """Open a file for reading that only its owner may access.

    Args:
        path: Its name; a symbolic link is not followed, and a FIFO not waited for.
        what: What it should be, for the error that says that it is no file.

    Yields:
        Its descriptor.

    Raises:
        ValueError: It is no regular file, or others may access it.
        OSError: It cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: is not a regular file; {what}")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise ValueError(f"{path}: other users may access this key file (mode {mode:03o}); chmod 600 it")
        yield fd
    finally:
        os.close(fd)
