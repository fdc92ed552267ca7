"""Loop devices on files that a test made, detached whatever happens."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LoopDevices", "taking_a_loop_device"]

_PROGRAMS = ("losetup", "mount", "umount", "mkswap", "swapon", "swapoff", "addpart", "mkfs.ext4", "unshare", "dmsetup")


@contextmanager
def taking_a_loop_device(*, alone: bool = False) -> Iterator[None]:
    """Where a free loop device is taken: processes that share the tests take the first that is free.

    Args:
        alone: Nobody else takes one meanwhile, so that one which this process has freed stays free.
    """
    try:
        fd = os.open("/dev/loop-control", os.O_RDONLY)
    except OSError:
        yield  # There are none, as whoever takes one will find.
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


class LoopDevices:
    """Attaches files, and undoes it with all else that it did in the end."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root: attaches loop devices")
        self.need("losetup")
        self._undo: list[list[str]] = []

    @staticmethod
    def need(*programs: str) -> None:
        """Skip where a program is missing."""
        for name in programs:
            assert name in _PROGRAMS
            if shutil.which(name) is None:
                pytest.skip(f"needs {name}")

    def attach(self, image: Path, *options: str) -> str:
        """Attach a file. Returns the device's path."""
        command = ["losetup", "--find", "--show", *options, str(image)]
        with taking_a_loop_device():
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot attach a loop device here: {done.stderr.strip()}")
        device = done.stdout.strip()
        self._undo.append(["losetup", "--detach", device])
        return device

    def detach(self, device: str) -> None:
        """Detach now."""
        command = ["losetup", "--detach", device]
        subprocess.run(command, check=True)
        self._undo.remove(command)

    def run(self, *command: str, undo: tuple[str, ...] = ()) -> None:
        """Run a program that must end well, and remember what undoes it."""
        self.need(command[0])
        subprocess.run(command, check=True, capture_output=True)
        if undo:
            self._undo.append(list(undo))

    def swap(self, device: str) -> None:
        """Make a swap area of it and use it."""
        self.run("mkswap", device)
        done = subprocess.run(["swapon", device], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot swap on a loop device here: {done.stderr.strip()}")
        self._undo.append(["swapoff", device])

    def mount(self, device: str, point: Path) -> None:
        """Make an ext4 file system on it and mount it."""
        point.mkdir()
        self.run("mkfs.ext4", "-q", device)
        self.run("mount", device, str(point), undo=("umount", str(point)))

    def partition(self, device: str, number: int, start: int, sectors: int) -> str:
        """Tell the kernel of a partition; the device was attached with --partscan. Returns its path."""
        self.need("addpart")
        command = ["addpart", device, str(number), str(start), str(sectors)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        path = f"{device}p{number}"
        if done.returncode or not os.path.exists(path):
            pytest.skip(f"needs a kernel and a /dev with partitions on loop devices: {done.stderr.strip()}")
        return path

    def close(self) -> None:
        """Undo everything, the last first."""
        while self._undo:
            subprocess.run(self._undo.pop(), check=True)
