"""System calls on names and file systems that `os` does not have, as functions that raise OSError."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
from typing import TYPE_CHECKING, Any

from zeroizepy._lib import ffi, lib, system_error_number

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = [
    "attribute_bytes",
    "extents_from",
    "look",
    "open_beneath",
    "rename_noreplace",
    "sync_file_system",
    "truncate_files",
    "zero_journal",
]

_CHECKPOINT = 1 << 30 | struct.calcsize("=I") << 16 | ord("f") << 8 | 43
_CHECKPOINT_ZEROOUT = 2


def _fail(status: int, name: str | None = None) -> NoReturn:
    number = system_error_number() if status == lib.ZPY_SYSTEM else errno.ENOSYS
    raise OSError(number, os.strerror(number), name)


def rename_noreplace(directory: int, name: str, new_name: str) -> None:
    """Rename within a directory, never onto a name that exists.

    Args:
        directory: Descriptor.
        name, new_name: Single components.

    Raises:
        FileExistsError: `new_name` exists.
        OSError: ENOSYS or EINVAL where the kernel or the file system has no such rename; any other reason.

    Source: renameat2(2), RENAME_NOREPLACE, Linux 3.15.
    """
    status = lib.zpy_file_rename(directory, os.fsencode(name), os.fsencode(new_name))
    if status != lib.ZPY_OK:
        _fail(status, name)


def open_beneath(directory: int, path: str, flags: int, *, may_cross: bool = False) -> int:
    """Open what lies beneath a directory: no symbolic link is followed anywhere on the way, and no `..` leads out.

    Args:
        directory: Descriptor.
        path: Relative to it.
        flags: As for os.open; O_CLOEXEC is added.
        may_cross: Whether the way may lead through a mount point.

    Returns:
        A descriptor that the caller closes.

    Raises:
        OSError: ENOSYS before Linux 5.6; ELOOP for a link, EXDEV for what leads out or to another mount, EAGAIN where
            a rename raced with a `..`.

    Source: openat2(2), RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV.
    """
    fd_out = ffi.new("int *")
    status = lib.zpy_file_open_beneath(directory, os.fsencode(path), flags | os.O_CLOEXEC, may_cross, fd_out)
    if status != lib.ZPY_OK:
        _fail(status, path)
    return int(fd_out[0])


def sync_file_system(fd: int) -> None:
    """Flush the whole file system that `fd` is on: one barrier for any number of files.

    Raises:
        OSError: ENOSYS off Linux; from Linux 5.8 on, any write-back error on that file system since `fd` was opened.

    Source: syncfs(2).
    """
    status = lib.zpy_file_sync_all(fd)
    if status != lib.ZPY_OK:
        _fail(status)


def look(fd: int) -> Any:
    """What the system says of an open file, as a `struct zpy_file_view`; of nothing where it has no such calls.

    A write lease, which is not granted on a file that another descriptor or a mapping has open, is given back at once.
    Whoever opens the file in that instant waits for that; the signal that tells of it is one that nobody is ended by.

    Source: ioctl_iflags(2), flistxattr(2), fcntl(2) with F_SETLEASE, filesystems/fiemap.rst of the kernel.
    """
    view = ffi.new("struct zpy_file_view *")
    if lib.zpy_file_look(fd, getattr(signal, "SIGURG", 0), view) != lib.ZPY_OK:
        view.flags = view.attribute_bytes = view.open_elsewhere = view.extents.count = -1
    return view


def extents_from(fd: int, start: int) -> Any:
    """The first extents of a file from an offset on, as a `struct zpy_extents`."""
    found = ffi.new("struct zpy_extents *")
    if lib.zpy_file_extents(fd, start, found) != lib.ZPY_OK:
        found.count = -1
    return found


def truncate_files(fds: list[int], threads: int) -> list[int]:
    """Cut open files to nothing, some at a time. Returns for each 0, or the number of its error.

    Raises:
        OSError: ENOSYS: there is no such call here.
    """
    errors = ffi.new("int[]", len(fds))
    status = lib.zpy_files_truncate(fds, errors, len(fds), threads)
    if status != lib.ZPY_OK:
        _fail(status)
    return ffi.unpack(errors, len(fds)) if fds else []


def attribute_bytes(fd: int, name: str) -> int:
    """How long the value of an extended attribute is. The value, which may be a secret, is not read.

    Raises:
        OSError: ENODATA where there is no such attribute; any other reason.

    Source: fgetxattr(2) with a size of 0.
    """
    length = int(lib.zpy_file_attribute_bytes(fd, os.fsencode(name)))
    if length < 0:
        _fail(lib.ZPY_SYSTEM, name)
    return length


def zero_journal(fd: int) -> None:
    """Have ext4 write its journal back to where the bytes belong, and fill the journal with zeros.

    Args:
        fd: Any descriptor on that file system.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN, ENOTTY on other file systems and before Linux 5.14, EOPNOTSUPP without a
            journal, EINVAL where the kernel cannot write zeros to the device.

    Source: EXT4_IOC_CHECKPOINT with EXT4_IOC_CHECKPOINT_FLAG_ZEROOUT, Documentation/filesystems/ext4 of the kernel.
    """
    fcntl.ioctl(fd, _CHECKPOINT, struct.pack("=I", _CHECKPOINT_ZEROOUT))
