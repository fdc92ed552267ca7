"""System calls on names and file systems that `os` does not have, as functions that raise OSError."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from zeroizepy._lib import ffi, lib, system_error_number

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["open_beneath", "rename_noreplace", "sync_file_system"]


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
