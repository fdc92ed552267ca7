"""Opening what lies beneath a directory and nothing else, on kernels with openat2 and on those without."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from . import calls

__all__ = ["Opener", "mount_number"]

_TRIES = 16
_WAY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_number(fd: int) -> tuple[int, int]:
    """What tells mounts apart: the mount's id, and the device where the system has no such id."""
    with suppress(OSError), open(f"/proc/self/fdinfo/{fd}", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return int(line.split()[1]), 0
    return -1, os.fstat(fd).st_dev


class Opener:
    """Opens names in open directories: no link is followed, nothing leads up, and no mount point is crossed.

    openat2 decides all of that in the kernel. Where there is none (before Linux 5.6, other systems, filters that know
    no such call), each component is opened by itself with O_NOFOLLOW, and its mount is compared.

    Args:
        may_cross: Whether mount points may be crossed.
    """

    def __init__(self, *, may_cross: bool) -> None:
        self._may_cross = may_cross
        self.has_openat2 = True

    def open(self, directory: int, path: str, flags: int) -> int:
        """Open `path` beneath `directory`. The caller closes the descriptor.

        Args:
            directory: Descriptor.
            path: Components without `.` and `..`, divided by `/`.
            flags: As for os.open; O_NOFOLLOW and O_CLOEXEC are added.

        Raises:
            OSError: ELOOP (or ENOTDIR with O_DIRECTORY) for a link, EXDEV for another mount, and any other reason.
        """
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_TRIES if self.has_openat2 else 0):
            try:
                return calls.open_beneath(directory, path, flags, may_cross=self._may_cross)
            except OSError as error:  # noqa: PERF203 - hardly ever tried twice.
                if error.errno == errno.ENOSYS:
                    self.has_openat2 = False
                    break
                if error.errno != errno.EAGAIN:  # A rename somewhere came between; the kernel asks to try again.
                    raise
        return self._step_by_step(directory, path, flags)

    def _step_by_step(self, directory: int, path: str, flags: int) -> int:
        mount = None if self._may_cross else mount_number(directory)
        *way, last = path.split("/")
        reached = directory
        try:
            for name in way:
                inner = _open_component(reached, name, _WAY_FLAGS, mount)
                if reached != directory:
                    os.close(reached)
                reached = inner
            return _open_component(reached, last, flags, mount)
        finally:
            if reached != directory:
                os.close(reached)


def _open_component(directory: int, name: str, flags: int, mount: tuple[int, int] | None) -> int:
    """Open one name, a mount point only when `mount` is None."""
    if name in ("", os.curdir, os.pardir):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    fd = os.open(name, flags, dir_fd=directory)
    if mount is not None and mount_number(fd) != mount:
        os.close(fd)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return fd
