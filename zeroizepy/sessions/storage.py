"""Where a session's files are: in a directory on whatever holds temporary files, or in memory."""

from __future__ import annotations

import errno
import os
from typing import Literal

from zeroizepy.shred.facts import mount_of
from zeroizepy.shred.report import PassReport, ShredReport

from .removal import FOLDER_FLAGS

__all__ = ["Storage", "choose", "drop_memfd", "open_memfd", "open_unlinked", "open_unnamed", "random_part"]

Kind = Literal["directory", "tmpfs", "ramfs", "memfd"]
_IN_MEMORY: tuple[Kind, ...] = ("tmpfs", "ramfs")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - looked at before it is used, and used for a directory of our own.
_CHUNK_BYTES = 1 << 20
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


class Storage:
    """What was chosen for a session.

    Attributes:
        kind: "tmpfs" or "ramfs" by what the kernel says of `base`, "memfd", or "directory", which says nothing about
            what it lies on.
        base: Where the private directory is made; None for the directory that `tempfile` names when it is needed, and
            for memfd.
    """

    __slots__ = ("base", "kind")

    def __init__(self, kind: Kind, base: str | None = None) -> None:
        self.kind = kind
        self.base = base

    def place(self) -> str:
        """Where the private directory goes."""
        if self.base is not None:
            return self.base
        # tempfile brings half a dozen modules along, which `import zeroizepy` must not pay for.
        import tempfile

        return os.path.abspath(tempfile.gettempdir())


def _memory_kind(path: str) -> Kind | None:
    """Which file system in memory a directory is on, when we may write there."""
    try:
        fd = os.open(path, FOLDER_FLAGS)
    except OSError:
        return None
    try:
        kind = mount_of(fd).file_system
        return next((each for each in _IN_MEMORY if kind == each and os.access(path, os.W_OK | os.X_OK)), None)
    finally:
        os.close(fd)


def choose(*, memory: bool) -> Storage:
    """Find storage in memory, if asked for: XDG_RUNTIME_DIR, /dev/shm, or else files without a directory.

    Raises:
        OSError: There is none.
    """
    if not memory:
        return Storage("directory")
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), _SHARED_MEMORY):
        kind = _memory_kind(base) if os.path.isabs(base) else None
        if kind is not None:
            return Storage(kind, base)
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.EOPNOTSUPP, "neither XDG_RUNTIME_DIR nor /dev/shm is a tmpfs to write to")
    return Storage("memfd")


def random_part() -> str:
    """16 letters and digits that nobody can guess, for a name."""
    return os.urandom(8).hex()


def open_memfd() -> int:
    """A new file in memory that has no name; its mode is set, since it can be opened through /proc."""
    fd = os.memfd_create("zeroizepy", os.MFD_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)
    except BaseException:
        os.close(fd)
        raise
    return fd


def drop_memfd(fd: int, path: str) -> ShredReport:
    """Zero and empty a memfd, which takes it away from everybody who has it open, and close it.

    Its pages may have been swapped out, which nothing here can tell or reach, so they count as not overwritten.
    """
    size = os.fstat(fd).st_size
    position = 0
    while position < size:
        position += os.pwrite(fd, bytes(min(_CHUNK_BYTES, size - position)), position)
    os.ftruncate(fd, 0)
    os.close(fd)
    return ShredReport(
        path,
        size_bytes=size,
        verdict="not_in_place" if size else None,
        reasons=("file_system:memfd",) if size else ("empty",),
        passes=(PassReport("zeros", size, synced=False),) if size else (),
        unlinked=True,
    )


def open_unnamed(folder: str) -> int | None:
    """A new file without a name on the file system of a directory, of which a kill leaves nothing; None if it has none.

    Raises:
        OSError: Another refusal.
    """
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        # O_EXCL: it can never be given a name.
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _NO_UNNAMED:
            return None
        raise


def open_unlinked(folder: str) -> int:
    """A new file that is unlinked at once, in a directory that is emptied after a kill in between."""
    path = os.path.join(folder, random_part())
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.unlink(path)
    except BaseException:
        os.close(fd)
        raise
    return fd
