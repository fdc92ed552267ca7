"""From a path to one open descriptor of a regular file, refusing everything else before it is written."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroizepy.exceptions import FileAccessError

from .facts import locks_out
from .report import ShredReport, explain
from .writable import may_change_mode, write_refusal

if TYPE_CHECKING:
    from .beneath import Opener
    from .options import ShredOptions

__all__ = [
    "O_PATH",
    "Target",
    "check_status",
    "find",
    "open_directory",
    "open_file",
    "refusal",
    "same_file",
    "special_kind",
]

_OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_DIRECTORY | os.O_CLOEXEC
O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)


@dataclass(frozen=True, slots=True)
class Target:
    """A name in an open directory: all later steps go through `directory`, so a renamed parent does no harm.

    Attributes:
        path: As the caller knows it.
        directory: Descriptor; whoever got the target closes it.
        name: The last component.
        status: What stood there when it was found; a symbolic link is not followed.
        opener: How it is opened when it must lie on its directory's mount; None for a path of the caller's own.
    """

    path: str
    directory: int
    name: str
    status: os.stat_result
    opener: Opener | None = None

    def open(self, flags: int) -> int:
        """Open the name, never a link that stands there. The caller closes the descriptor.

        Raises:
            OSError: EXDEV for a mount point where that matters; any other reason.
        """
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        if self.opener is not None:
            return self.opener.open(self.directory, self.name, flags)
        return os.open(self.name, flags, dir_fd=self.directory)


def refusal(path: str, code: str, number: int, text: str, size_bytes: int = 0) -> FileAccessError:
    """The error for a file that is not touched, with its report attached."""
    error = FileAccessError(number, text, path)
    error.report = ShredReport(path, size_bytes=size_bytes, verdict="refused", reasons=(code,), error=text)
    return error


def _is_a_directory(path: str) -> IsADirectoryError:
    return IsADirectoryError(errno.EISDIR, "is a directory; shred_tree takes a directory and all in it", path)


def open_directory(path: str) -> int:
    """A descriptor of a directory, for what is done in it. The caller closes it.

    Raises:
        OSError: By the path.
    """
    try:
        return os.open(path, os.O_RDONLY | _DIRECTORY_FLAGS)
    except PermissionError:
        # A directory that may be entered but not listed serves, only that it cannot be flushed.
        return os.open(path, O_PATH | _DIRECTORY_FLAGS)


def find(path: str) -> Target | None:
    """Look at what stands at `path` without opening it.

    Returns:
        The target, whose `directory` the caller closes; None when there is nothing.

    Raises:
        IsADirectoryError: It is a directory.
        FileAccessError: The system would not say, or the path runs through something that is no directory.
    """
    parent, name = os.path.split(path)
    try:
        if name in ("", os.curdir, os.pardir):
            os.lstat(path)  # Nothing but a directory answers to such a path.
            raise _is_a_directory(path)
        directory = open_directory(parent or os.curdir)
        try:
            return Target(path, directory, name, os.stat(name, dir_fd=directory, follow_symlinks=False))
        except BaseException:
            os.close(directory)
            raise
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise
    except OSError as error:
        number = error.errno or errno.EIO
        raise refusal(path, "permission", number, f"cannot look at it: {os.strerror(number)}") from error


def special_kind(mode: int) -> str | None:
    """What an entry is that is neither a file nor a directory: a reason for its report. None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_ISFIFO(mode):
        return "fifo"
    if stat.S_ISSOCK(mode):
        return "socket"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "device"
    return "not_a_file"


def check_status(path: str, status: os.stat_result, options: ShredOptions) -> None:
    """Refuse what is no regular file, what has other names, and what its owner has write-protected.

    Raises:
        IsADirectoryError: A directory.
        FileAccessError: Anything else; its report's verdict is `refused`.
    """
    if stat.S_ISDIR(status.st_mode):
        raise _is_a_directory(path)
    kind = special_kind(status.st_mode)
    if kind is not None:
        raise refusal(path, kind, errno.EINVAL, f"is {explain(kind)}; only regular files are overwritten")
    if status.st_nlink > 1 and not options.allow_hard_links:
        text = f"has {status.st_nlink} names (hard links); unlink the others, or allow_hard_links=True overwrites all"
        raise refusal(path, "hard_links", errno.EMLINK, text, status.st_size)
    if not status.st_mode & stat.S_IWUSR and not options.force:
        text = "has no owner-write permission; chmod u+w it or pass force=True"
        raise refusal(path, "read_only", errno.EACCES, text, status.st_size)


def same_file(left: os.stat_result, right: os.stat_result) -> bool:
    """Whether both are the same inode."""
    return (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)


def _make_writable(target: Target) -> None:
    """Give the owner read and write permission, through a descriptor so that no swapped name can receive it."""
    fd = target.open(O_PATH)
    try:
        status = os.fstat(fd)
        if same_file(status, target.status):
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode) | stat.S_IRUSR | stat.S_IWUSR)
    finally:
        os.close(fd)


def _check_opened(target: Target, status: os.stat_result, options: ShredOptions) -> None:
    if not same_file(status, target.status):
        raise refusal(target.path, "replaced", errno.ESTALE, "was replaced by another file while it was opened")
    check_status(target.path, status, options)


def _why_not_opened(target: Target, number: int) -> FileAccessError:
    """The refusal for a file that the system would not open for writing."""
    attribute = _locking_attribute(target) if number == errno.EPERM else None
    if attribute is not None:
        flag = "i" if attribute == "immutable" else "a"
        text = f"has the {attribute.replace('_', '-')} attribute; chattr -{flag} it first"
        return refusal(target.path, attribute, number, text, target.status.st_size)
    if number == errno.EXDEV:
        return refusal(target.path, "mount_point", number, "is a mount point, and what is mounted there lies elsewhere")
    code = "replaced" if number in (errno.ELOOP, errno.ENOENT, errno.ENXIO) else "permission"
    return refusal(target.path, code, number, f"cannot be opened: {os.strerror(number)}")


def _check_writable(target: Target, fd: int, options: ShredOptions) -> None:
    """Refuse what an open for writing would be refused."""
    number = write_refusal(target, fd, force=options.force)
    if number is not None:
        raise _why_not_opened(target, number)


def _locking_attribute(target: Target) -> str | None:
    """`immutable` or `append_only` when that is what keeps the file from being opened."""
    try:
        fd = target.open(_OPEN_FLAGS | os.O_RDONLY)
    except OSError:
        return None
    try:
        return locks_out(fd)
    finally:
        os.close(fd)


def _status_of(target: Target, fd: int) -> os.stat_result:
    try:
        return os.fstat(fd)
    except OSError as error:
        raise refusal(target.path, "permission", error.errno or errno.EIO, "cannot be examined") from error


def open_file(target: Target, options: ShredOptions) -> int:
    """Open the target itself: no link is followed, nothing is truncated, no FIFO or terminal can hold us up.

    A dry run opens for reading only: an open for writing already makes some file systems copy the file. What would be
    refused then is found out as far as it can be.

    Returns:
        A descriptor of the very file that `find` saw; the caller closes it.

    Raises:
        FileAccessError: The system refused, or something else stands at the path by now.
    """
    flags = _OPEN_FLAGS | (os.O_RDONLY if options.dry_run else os.O_RDWR)
    try:
        try:
            fd = target.open(flags)
        except PermissionError:
            if not options.force or options.dry_run:
                raise
            _make_writable(target)
            fd = target.open(flags)
    except OSError as error:
        number = error.errno or errno.EIO
        if number == errno.EACCES and options.dry_run and options.force and may_change_mode(target.status):
            text = "cannot be read for a plan; a real run gives its owner permission first (force)"
            raise refusal(target.path, "permission", number, text, target.status.st_size) from error
        raise _why_not_opened(target, number) from error
    try:
        _check_opened(target, _status_of(target, fd), options)
        if options.dry_run:
            _check_writable(target, fd, options)
    except BaseException:
        with suppress(OSError):  # What failed first is what the caller must hear.
            os.close(fd)
        raise
    return fd
