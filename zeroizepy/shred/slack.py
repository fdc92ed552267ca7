"""Filling free inodes and directory blocks with empty files of long random names, and taking them away again.

All files stand in one private directory, `.zeroizepy-inodes-` and 16 letters, which is locked while its run lives: the
next run removes what a killed one left, and leaves alone what another run is filling.

A new file on ext4 resets its whole inode on the device, with what an earlier file kept there: attributes, inline data,
the text of a link. Other file systems may reset less.

Does not reach: free room inside directories that still exist, inodes beyond the limit, copies in the journal.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import names
from .calls import sync_file_system
from .target import same_file

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_INODES", "InodeFill", "remove_leftovers"]

MAX_INODES = 1_000_000
"""How many files a run makes unless told otherwise: about a quarter of a gigabyte of directory blocks."""

_PREFIX = ".zeroizepy-inodes-"
_OUR_DIRECTORY = re.compile(re.escape(_PREFIX) + "[a-z0-5]{16}")
_OUR_FILE = re.compile("[a-z0-5]{16,255}")
_ROOM_EVERY = 256
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMLINK)


@dataclass(slots=True)
class _Private:
    """A private directory: its name in its parent, and a descriptor that holds its lock."""

    parent: int
    name: str
    fd: int

    def remove(self) -> int:
        """Unlink the files that runs like ours make, and the directory. Returns how many names went.

        Raises:
            OSError: The system refused, or somebody else's file stands in it (ENOTEMPTY).
        """
        gone = 0
        while removed := self._unlink_files():
            gone += removed
        os.rmdir(self.name, dir_fd=self.parent)
        return gone + 1

    def _unlink_files(self) -> int:
        removed = 0
        with os.scandir(self.fd) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if _OUR_FILE.fullmatch(entry.name) and stat.S_ISREG(status.st_mode) and not status.st_size:
                    os.unlink(entry.name, dir_fd=self.fd)
                    removed += 1
        return removed


def _lock(parent: int, name: str) -> int | None:
    """Open and lock a private directory; None when it is not ours, another run holds it, or it is gone."""
    try:
        fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if status.st_uid == os.geteuid():
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held the lock before may have removed it meanwhile.
            if same_file(status, os.stat(name, dir_fd=parent, follow_symlinks=False)):
                return fd
    except OSError:
        pass  # Held by another run, or gone: either way nothing to remove.
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def remove_leftovers(parent: int) -> tuple[int, tuple[str, ...]]:
    """Remove what killed runs of this user left in a directory.

    Args:
        parent: Descriptor of the directory; subdirectories other than our private ones are not looked at.

    Returns:
        How many names were removed, and the names of private directories that could not be.
    """
    removed = 0
    left = []
    for name in filter(_OUR_DIRECTORY.fullmatch, os.listdir(parent)):
        fd = _lock(parent, name)
        if fd is None:
            continue
        try:
            removed += _Private(parent, name, fd).remove()
        except OSError:
            left.append(name)
        finally:
            os.close(fd)
    return removed, tuple(left)


def _make(parent: int) -> _Private:
    """A new private directory, locked.

    Raises:
        OSError: It could not be made or opened.
    """
    for _ in range(16):
        name = _PREFIX + names.random_name(16)
        os.mkdir(name, 0o700, dir_fd=parent)
        fd = _lock(parent, name)
        if fd is not None:
            return _Private(parent, name, fd)
        # Another run took it for a leftover between these two calls, and removes it.
    raise OSError(errno.EAGAIN, "other runs keep removing the private directory")


class InodeFill:
    """One filling of a file system's free inodes.

    Args:
        parent: Descriptor of a directory on it.
        limit: Files to make at most.
        has_room: Asked before each 256 files; False ends the filling.

    Attributes:
        name: The private directory's, None before there is one.
        made: Files made so far.
    """

    def __init__(self, parent: int, limit: int, has_room: Callable[[], bool]) -> None:
        self._parent = parent
        self._limit = limit
        self._has_room = has_room
        self.name: str | None = None
        self.made = 0

    def carry_out(self) -> None:
        """Make the files, force them to the device, and remove them, after a failure or Ctrl-C as well.

        Raises:
            OSError: A file could not be made for another reason than a full disk, or not removed.
        """
        try:
            private = _make(self._parent)
        except OSError as error:
            if error.errno in _FULL:
                return
            raise
        self.name = private.name
        try:
            try:
                self._make_files(private.fd)
                # Nothing flushes the inodes of a million files but a flush of the whole file system.
                sync_file_system(private.fd)
            finally:
                private.remove()
        finally:
            os.close(private.fd)

    def _make_files(self, fd: int) -> None:
        length = min(255, os.fpathconf(fd, "PC_NAME_MAX"))
        while self.made < self._limit and (self.made % _ROOM_EVERY or self._has_room()):
            try:
                os.close(os.open(names.random_name(length), _NEW_FILE, 0o600, dir_fd=fd))
            except OSError as error:
                if error.errno in _FULL:
                    return
                raise
            self.made += 1
