"""Whether a file could be opened for writing, found out without doing so, for plans.

An open for writing is no question: overlay copies a file of a lower layer up, leases of others are broken, and programs
that watch the file are told.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from .facts import is_open_elsewhere, locks_out

if TYPE_CHECKING:
    from .target import Target

__all__ = ["write_refusal"]

_PROC = "/proc"


def write_refusal(target: Target, fd: int, *, force: bool) -> int | None:
    """The error number that an open for writing would give; None when nothing speaks against it.

    Asked are the mount, the attributes that chattr(1) sets, the permissions of the effective user, and whether a
    process that /proc shows executes the file. Security modules are asked only as far as the kernel does so for
    permissions.

    Args:
        target: The file.
        fd: The same, open for reading.
        force: The owner would be given permission first.
    """
    if os.fstatvfs(fd).f_flag & getattr(os, "ST_RDONLY", 1):
        return errno.EROFS
    if locks_out(fd) is not None:
        return errno.EPERM
    if not (_may_write(target) or (force and may_change_mode(target.status))):
        return errno.EACCES
    if is_open_elsewhere(fd) is not False and _is_executed(target.status):
        return errno.ETXTBSY
    return None


def may_change_mode(status: os.stat_result) -> bool:
    """Whether this user may give the owner of a file permissions."""
    return os.geteuid() in (0, status.st_uid)


def _may_write(target: Target) -> bool:
    effective = os.access in os.supports_effective_ids
    no_follow = os.access in os.supports_follow_symlinks
    try:
        return os.access(
            target.name, os.W_OK, dir_fd=target.directory, effective_ids=effective, follow_symlinks=not no_follow
        )
    except (NotImplementedError, OSError):
        return True  # Nothing is known, and a plan claims no refusal then.


def _is_executed(status: os.stat_result) -> bool:
    """Whether a process runs the file as its program, which the kernel keeps from being written meanwhile."""
    with suppress(OSError):
        for name in os.listdir(_PROC):
            if name.isdigit():
                with suppress(OSError):  # It ended, or is another user's.
                    if os.path.samestat(os.stat(f"{_PROC}/{name}/exe"), status):
                        return True
    return False
