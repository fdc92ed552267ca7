"""File systems in image files, on loop devices: mounted by root, unmounted whatever happens, scanned raw."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BLOCK = 512


@dataclass
class Disk:
    """A mounted file system; `image` holds its bytes once it is unmounted."""

    image: Path
    mountpoint: Path
    mounted: bool = False

    def unmount(self) -> None:
        """Unmount; again is harmless."""
        if self.mounted:
            subprocess.run(["umount", self.mountpoint], check=True)
            self.mounted = False

    def hits(self, nonce: bytes) -> int:
        """How often the nonce stands in the raw image."""
        self.unmount()
        return self.image.read_bytes().count(nonce)


def marked(nonce: bytes, size: int) -> bytes:
    """Content in which each 512 bytes carry the nonce and their offset."""
    blocks = (nonce + offset.to_bytes(8, "big") + bytes(BLOCK - 24) for offset in range(0, size + BLOCK, BLOCK))
    return b"".join(blocks)[:size]


def write_synced(path: Path, content: bytes) -> Path:
    """Write a file and force it to the image, so that its blocks exist."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path


@pytest.fixture
def new_disk(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """Make and mount file systems: `new_disk("ext4", "-O", "inline_data", mount="data=journal", mib=32)`.

    `tune` goes to tune2fs before the mount, and `mount_as` mounts under another type than was made.
    """
    disks: list[Disk] = []

    def make(kind: str, *options: str, mount: str = "", mib: int = 32, tune: str = "", mount_as: str = "") -> Disk:
        if os.geteuid() != 0:
            pytest.skip("needs root: mounts a loop device")
        if shutil.which(f"mkfs.{kind}") is None:
            pytest.skip(f"needs mkfs.{kind}")
        image, point = tmp_path / f"{len(disks)}.img", tmp_path / f"mnt{len(disks)}"
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(mib << 20)
        subprocess.run([f"mkfs.{kind}", *options, image], check=True, capture_output=True)
        if tune:
            subprocess.run(["tune2fs", *tune.split(), image], check=True, capture_output=True)
        arguments = ["mount", "-t", mount_as or kind, "-o", ",".join(filter(None, ["loop", mount])), image, point]
        result = subprocess.run(arguments, check=False, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"cannot mount {kind} on a loop device here: {result.stderr.strip()}")
        disks.append(Disk(image, point, mounted=True))
        return disks[-1]

    try:
        yield make
    finally:
        for disk in disks:
            disk.unmount()


@pytest.fixture
def new_mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount what needs no image: `new_mount("tmpfs", "size=1m")`."""
    points: list[Path] = []

    def mount(kind: str, options: str) -> Path:
        if os.geteuid() != 0:
            pytest.skip(f"needs root: mounts {kind}")
        point = tmp_path / f"{kind}{len(points)}"
        point.mkdir()
        result = subprocess.run(
            ["mount", "-t", kind, "-o", options, kind, point], check=False, capture_output=True, text=True
        )
        if result.returncode:
            pytest.skip(f"cannot mount {kind} here: {result.stderr.strip()}")
        points.append(point)
        return point

    try:
        yield mount
    finally:
        for point in points:
            subprocess.run(["umount", point], check=True)


@pytest.fixture
def nonce() -> bytes:
    """16 bytes that stand nowhere else."""
    return os.urandom(16)


@pytest.fixture
def marked_file() -> Callable[[Path, bytes, int], Path]:
    """Write a file of marked blocks that is on the device when the call returns."""
    return lambda path, nonce, size: write_synced(path, marked(nonce, size))
