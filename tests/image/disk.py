"""File systems in image files, mounted over loop devices, and their bytes afterwards, read without the file system."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.loops import taking_a_loop_device

if TYPE_CHECKING:
    from collections.abc import Iterator

SCAN_BYTES = 8 << 20
ROOM_BYTES = 1 << 30

_FIEMAP = 0xC020660B
_FIEMAP_HEAD = struct.Struct("=QQLLLL")
_FIEMAP_EXTENT = struct.Struct("=QQQQQLLLL")
_FIEMAP_SYNC = 1
_MOST_EXTENTS = 4096


class UnavailableError(Exception):
    """This machine cannot do it; the text names the missing capability."""


@dataclass(frozen=True)
class Extent:
    """Where a stretch of a file lies, in bytes: from `logical` in the file, from `physical` on the device."""

    logical: int
    physical: int
    length: int
    flags: int

    def blocks(self) -> range:
        """The 512-byte blocks of the device that it takes."""
        return range(self.physical // 512, (self.physical + self.length) // 512)


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

    def find(self, needle: bytes) -> Iterator[tuple[int, bytes]]:
        """Where the needle stands in the raw image, with the 64 bytes from there on. Holes of the image are skipped."""
        self.unmount()
        fd = os.open(self.image, os.O_RDONLY)
        try:
            for start, stop in _data_ranges(fd):
                yield from _find_between(fd, start, stop, needle)
        finally:
            os.close(fd)

    def hits(self, nonce: bytes) -> int:
        """How often the nonce stands in the raw image."""
        return sum(1 for _ in self.find(nonce))


def _data_ranges(fd: int) -> Iterator[tuple[int, int]]:
    stop = 0
    while True:
        try:
            start = os.lseek(fd, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # Nothing but a hole from there on.
            raise
        stop = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, stop


def _find_between(fd: int, start: int, stop: int, needle: bytes) -> Iterator[tuple[int, bytes]]:
    for base in range(start, stop, SCAN_BYTES):
        # What follows is read along, so that a needle across two pieces is seen, once, with what stands behind it.
        piece = os.pread(fd, SCAN_BYTES + 128, base)
        at = piece.find(needle)
        while 0 <= at < SCAN_BYTES and base + at < stop:
            yield base + at, piece[at : at + 64]
            at = piece.find(needle, at + 1)


def flush(path: Path) -> None:
    """Write out all of the file system that `path` lies on, and no other: sync(2) would wait for the whole machine."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(fd)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for images; in memory where there is room, since each flush of a loop device flushes its image, too.

    There has to be room for each of the processes that share the tests.
    """
    status = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None  # noqa: S108 - a folder of our own in it.
    needed = ROOM_BYTES * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    roomy = status is not None and status.f_bavail * status.f_frsize >= needed
    with tempfile.TemporaryDirectory(dir="/dev/shm" if roomy else None) as folder:  # noqa: S108 - see above.
        yield Path(folder)


def extents_of(path: Path) -> list[Extent]:
    """The file's extents, beyond its end too, after a flush; none where the file system has no FIEMAP."""
    fd = os.open(path, os.O_RDONLY)
    try:
        buffer = bytearray(_FIEMAP_HEAD.size + _MOST_EXTENTS * _FIEMAP_EXTENT.size)
        _FIEMAP_HEAD.pack_into(buffer, 0, 0, (1 << 64) - 1, _FIEMAP_SYNC, 0, _MOST_EXTENTS, 0)
        try:
            fcntl.ioctl(fd, _FIEMAP, buffer)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return []
            raise
    finally:
        os.close(fd)
    mapped = _FIEMAP_HEAD.unpack_from(buffer)[3]
    assert mapped < _MOST_EXTENTS, f"{path} has too many extents for this test"
    fields = [_FIEMAP_EXTENT.unpack_from(buffer, _FIEMAP_HEAD.size + n * _FIEMAP_EXTENT.size) for n in range(mapped)]
    return [Extent(each[0], each[1], each[2], each[5]) for each in fields]


def _check_tools(kind: str) -> None:
    if os.geteuid() != 0:
        raise UnavailableError("needs root: mounts a loop device")
    if shutil.which(f"mkfs.{kind}") is None:
        raise UnavailableError(f"needs mkfs.{kind}")


@contextmanager
def new_disk(
    folder: Path, kind: str, *options: str, mount: str = "", mib: int = 32, tune: str = "", mount_as: str = ""
) -> Iterator[Disk]:
    """Make a file system in an image in the empty `folder`, mount it, and unmount it in the end.

    Args:
        folder: Where the image and the mount point are made.
        kind: As in mkfs.KIND.
        options: For mkfs.
        mount: Mount options, separated by commas.
        mib: Size of the image, which is sparse.
        tune: For tune2fs, before the mount.
        mount_as: Mount under this type, not under `kind`.

    Raises:
        UnavailableError: Not root, no mkfs, or the kernel does not mount this.
    """
    _check_tools(kind)
    disk = Disk(folder / "image", folder / "mounted")
    disk.mountpoint.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run([f"mkfs.{kind}", *options, disk.image], check=True, capture_output=True)
    if tune:
        subprocess.run(["tune2fs", *tune.split(), disk.image], check=True, capture_output=True)
    mount_image(disk, mount_as or kind, mount)
    try:
        yield disk
    finally:
        disk.unmount()


def _complaint(text: str) -> str:
    """What mount has to say, without the paths of this run."""
    return text.strip().splitlines()[0].rpartition(": ")[2].rstrip(".")


def mount_image(disk: Disk, kind: str, options: str = "") -> None:
    """Mount the image of a disk.

    Raises:
        UnavailableError: The kernel does not have the file system, the options, or a free loop device.
    """
    texts = ",".join(filter(None, ["loop", options]))
    command = ["mount", "-t", kind, "-o", texts, disk.image, disk.mountpoint]
    with taking_a_loop_device():
        result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise UnavailableError(f"cannot mount {kind} on a loop device here: {_complaint(result.stderr)}")
    disk.mounted = True


@contextmanager
def mounted(point: Path, kind: str, options: str) -> Iterator[Path]:
    """Mount what needs no image, such as tmpfs and overlay, on a directory that is made for it.

    Raises:
        UnavailableError: Not root, or the kernel does not mount this.
    """
    if os.geteuid() != 0:
        raise UnavailableError(f"needs root: mounts {kind}")
    point.mkdir()
    command = ["mount", "-t", kind, "-o", options, kind, point]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise UnavailableError(f"cannot mount {kind} here: {_complaint(result.stderr)}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


@dataclass
class BadDisk(Disk):
    """A disk on which sectors can be made to fail, by a server between its loop device and its image."""

    server: subprocess.Popen[str] | None = None

    def fail(self, kind: str, start: int, stop: int) -> None:
        """From now on each `read` or `write` that touches bytes [start, stop) of the device fails with EIO."""
        assert self.server is not None
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{kind} {start} {stop}\n")
        self.server.stdin.flush()
        assert self.server.stdout.readline() == "taken\n"


def _limit_requests(point: Path) -> None:
    """Keep each request of the loop device within one of FUSE's.

    Of a larger one a part can succeed, and the loop driver (seen in Linux 6.18) takes a short write for a whole one.
    """
    device = os.stat(point).st_dev
    limit = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/max_sectors_kb")
    limit.write_text("256", encoding="ascii")


@contextmanager
def bad_disk(folder: Path, kind: str, *options: str, mib: int = 32) -> Iterator[BadDisk]:
    """As `new_disk`, for a disk whose sectors can be made to fail.

    Raises:
        UnavailableError: As `new_disk`, or there is no FUSE.
    """
    _check_tools(kind)
    if not os.path.exists("/dev/fuse"):
        raise UnavailableError("needs /dev/fuse")
    disk = BadDisk(folder / "image", folder / "mounted")
    disk.mountpoint.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run([f"mkfs.{kind}", *options, disk.image], check=True, capture_output=True)
    served = folder / "served"
    served.touch()
    program = Path(__file__).resolve().parents[1] / "support" / "bad_disk.py"
    command = [sys.executable, "-I", program, disk.image, served]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as disk.server:  # type: ignore[call-overload]
        try:
            answer = disk.server.stdout.readline().strip()
            if answer.startswith("refused"):
                raise UnavailableError(f"needs to mount FUSE: {answer}")
            assert answer == "mounted", disk.server.stderr.read()
            mount_image(Disk(served, disk.mountpoint), kind)
            disk.mounted = True
            _limit_requests(disk.mountpoint)
            yield disk
        finally:
            disk.unmount()
            disk.server.stdin.close()
