"""Private files: new ones are complete and on the device when a block has ended, or are not there at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "flush_directory",
    "identity_of",
    "make_private_folder",
    "name_beside",
    "name_only",
    "new_private_file",
    "open_private_file",
    "sync_directory",
]

_NO_FLUSH = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS)
"""What file systems answer that cannot flush directories. EBADF is also for a directory that was opened by O_PATH."""


def name_beside(path: str) -> str:
    """A random name in the same folder, for what will replace `path`; short enough however long that is."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:50]}.{os.urandom(8).hex()}.tmp")


def name_only(error: OSError, path: str) -> None:
    """Have an error name the file that was asked for alone: a temporary name means nothing to the user."""
    error.filename = path
    del error.filename2  # None would be shown, too.


def identity_of(status: os.stat_result) -> str:
    """Which file it is, and as of when: its device, inode, and time of last change in nanoseconds since 1970.

    Inodes are used again at once; the time tells a file from one that took its number later.
    """
    return f"{status.st_dev}:{status.st_ino}:{status.st_ctime_ns}"


def flush_directory(directory: int) -> bool:
    """Flush an open directory. False when the file system has no such flush or we may not read the directory.

    Raises:
        OSError: The flush itself failed.
    """
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno in _NO_FLUSH:
            return False
        raise
    return True


def sync_directory(path: str) -> None:
    """Make the name of a new file durable.

    Does not reach: folders that this process may write to and not read, which cannot be opened, and file systems that
    have no flush for directories. There the name is as durable as the file system makes it.

    Raises:
        OSError: The flush failed, or the folder could not be opened for another reason. The file has its name, which
            a crash may take away.
    """
    made: list[int] = []
    try:
        try:
            _open_into(made, os.path.dirname(path) or os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return
        flush_directory(made[0])
    except OSError as error:
        name_only(error, path)
        raise
    finally:
        _close_all(made)


def make_private_folder(path: str) -> None:
    """Make a folder of mode 700 where none is, and those above it; all new names are flushed, as by `sync_directory`.

    Raises:
        OSError: It could not be made, or a flush failed.
    """
    missing: list[str] = []
    above = path
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above) or os.curdir
    os.makedirs(path, mode=0o700, exist_ok=True)
    for each in reversed(missing):
        sync_directory(each)


def _open_into(made: list[int], path: str, flags: int, mode: int = 0o777) -> None:
    """Open a file, and have its descriptor in a list before a signal's handler can run and raise: it is all C."""
    made.extend(map(os.open, (path,), (flags,), (mode,)))


def _close_all(made: list[int]) -> None:
    while made:
        os.close(made.pop())


@contextmanager
def new_private_file(path: str) -> Iterator[int]:
    """Make a file where nothing stands, readable by its owner alone; it is flushed when the block ends well.

    Args:
        path: Its name, which is flushed, too, as far as `sync_directory` reaches.

    Yields:
        A descriptor to write to.

    Raises:
        FileExistsError: Something stands there.
        OSError: It could not be made, written or flushed. What was begun is unlinked, also when the block raises;
            another file that took the name meanwhile is left alone.
    """
    made: list[int] = []
    try:
        _open_into(made, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(made[0], 0o600)
        yield made[0]
        os.fsync(made[0])
        sync_directory(path)
    except BaseException as error:
        if made:
            _unlink_same(path, made[0])
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise
    finally:
        _close_all(made)


def _unlink_same(path: str, fd: int) -> None:
    """Take a name away if it still is that of an open file; nothing can replace it but in the instant between."""
    try:
        if os.path.samestat(os.lstat(path), os.fstat(fd)):
            os.unlink(path)
    except FileNotFoundError:
        pass


@contextmanager
def open_private_file(path: str, what: str) -> Iterator[int]:
    """Open a file for reading that only its owner may access: this process's user, unless that is root.

    Root reads files of other users, too, as under sudo: who owns a file, or is root, could read and change it before.

    Args:
        path: Its name; a symbolic link is not followed, and a FIFO not waited for.
        what: What it should be, for the error that says that it is no file.

    Yields:
        Its descriptor.

    Raises:
        ValueError: It is no regular file, another user owns it, or others may access it.
        OSError: It cannot be opened; one that the block raises without a name gets this one.
    """
    made: list[int] = []
    try:
        _open_into(made, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW)
        _check_private(path, os.fstat(made[0]), what)
        yield made[0]
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise
    finally:
        _close_all(made)


def _check_private(path: str, status: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: is not a regular file; {what}")
    user = os.geteuid()
    if user not in (0, status.st_uid):
        raise ValueError(f"{path}: belongs to user {status.st_uid}, not to user {user}; use a copy of your own")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ValueError(f"{path}: other users may access this key file (mode {mode:03o}); chmod 600 {path}")
