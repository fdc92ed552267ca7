"""What the system says about a block device: who it is, and who uses it. Asks, decides nothing, writes nothing.

Linux answers from sysfs, found by the device's number and never by a name, from /proc, and from the descriptor itself.
Where a question gets no answer the fact is None, and the guards take that for a reason to refuse.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import platform
import re
import stat
import struct
from dataclasses import dataclass

from .facts import Media, media_of

__all__ = ["DeviceFacts", "Identity", "has_swap_signature", "identify", "read_device_facts"]

_SYS = "/sys"
_PROC = "/proc"
_READ_BIT = 1 << 30 if platform.machine().startswith(("ppc", "mips", "sparc", "alpha")) else 2 << 30
_BLKGETSIZE64 = _READ_BIT | struct.calcsize("N") << 16 | 0x12 << 8 | 114
_BLKGETDISKSEQ = _READ_BIT | 8 << 16 | 0x12 << 8 | 128
_SECTOR_BYTES = 512
_SERIAL_FILES = ("device/serial", "serial", "device/vpd_pg80", "device/wwid", "wwid")
_VPD_HEAD_BYTES = 4
_NO_SERIAL = "no-serial"
_SWAP_MARKS = (b"SWAP-SPACE", b"SWAPSPACE2", b"S1SUSPEND\x00", b"S2SUSPEND\x00", b"ULSUSPEND\x00", b"LINHIB0001")
_PAGE_BYTES = (4096, 8192, 16384, 32768, 65536)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is. Two of them are equal only when it is the same device, with the same size, all along.

    Attributes:
        number: `major:minor`.
        name: The kernel's name for it, as in /sys/block.
        serial: One word: the drive's serial number, and `-part1` behind it for partition 1. A loop device has the path
            of its file. None when the device does not say.
        size_bytes: As the descriptor says.
        sequence: The kernel's number for this very disk, never given twice until the next start; None before Linux
            5.15.
    """

    number: str
    name: str
    serial: str | None
    size_bytes: int
    sequence: int | None

    @property
    def confirmation(self) -> str | None:
        """What a caller must type to have it overwritten; None when there is no serial number."""
        return None if self.serial is None else f"{self.serial} {self.size_bytes}"


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One block device as sysfs and /proc have it.

    Attributes:
        number: `major:minor`.
        name: The kernel's name; `disk` that of the whole disk, the same unless this is a partition.
        partition: The partition's number, None for a whole disk.
        model: What the drive calls itself, or None.
        read_only: None when unknown.
        logical_block_bytes: None when unknown.
        media: The kind of the disk.
        lower: Devices below it: device mapper and RAID have some.
        holders: Devices made of it, or of its partitions.
        mounts: Where it, or a partition of it, is mounted, in this or another mount namespace that can be read.
        swaps: Active swap areas on it.
        loops: Loop devices whose file it is.
    """

    number: str
    name: str
    disk: str
    partition: int | None
    model: str | None
    read_only: bool | None
    logical_block_bytes: int | None
    media: Media
    lower: tuple[str, ...]
    holders: tuple[str, ...]
    mounts: tuple[str, ...]
    swaps: tuple[str, ...]
    loops: tuple[str, ...]


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _read(*parts: str) -> bytes | None:
    try:
        with open(os.path.join(*parts), "rb") as file:
            return file.read(65536)
    except OSError:
        return None


def _text(*parts: str) -> str | None:
    raw = _read(*parts)
    return None if raw is None else os.fsdecode(raw).strip()


def _whole(*parts: str) -> int | None:
    text = _text(*parts)
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _listed(*parts: str) -> tuple[str, ...]:
    """Raises OSError where the folder cannot be read: no answer is not the answer that there is nothing."""
    return tuple(sorted(os.listdir(os.path.join(*parts))))


def _folder(number: str) -> str:
    """The device's folder in sysfs.

    Raises:
        OSError: sysfs has none, or what it has is another device.
    """
    folder = os.path.realpath(f"{_SYS}/dev/block/{number}")
    if _text(folder, "dev") != number:
        raise OSError(errno.ENODEV, f"sysfs has no block device {number}")
    return folder


def _disk_folder(folder: str) -> str:
    return os.path.dirname(folder) if os.path.exists(os.path.join(folder, "partition")) else folder


def _related(folder: str) -> tuple[str, ...]:
    """The folders whose use is a use of this device: its own, and its partitions' or its disk's."""
    disk = _disk_folder(folder)
    if disk != folder:
        return (folder, disk)
    names = (name for name in _listed(disk) if os.path.exists(os.path.join(disk, name, "partition")))
    return (folder, *(os.path.join(disk, name) for name in names))


# ---- who it is ----


def _word(text: str) -> str | None:
    """A text as one word that can be typed; None for nothing."""
    return re.sub(r"\s+", "_", "".join(c if c.isprintable() else "?" for c in text.strip("\0 \t\n"))) or None


def _serial(disk: str) -> str | None:
    backing = _text(disk, "loop", "backing_file")
    if backing is not None:
        return _word(backing) or _NO_SERIAL
    if os.path.isdir(os.path.join(disk, "loop")):
        return _NO_SERIAL
    for name in _SERIAL_FILES:
        raw = _read(disk, name)
        if raw is not None:
            word = _word(os.fsdecode(raw[_VPD_HEAD_BYTES:] if name.endswith("vpd_pg80") else raw))
            if word is not None:
                return word
    return None


def _ask(fd: int, request: int) -> int:
    answer = bytearray(8)
    fcntl.ioctl(fd, request, answer)
    # The kernel writes 8 bytes, whatever size_t in the request's number says.
    return int(struct.unpack("=Q", answer)[0])


def _sequence(fd: int, disk: str) -> int | None:
    """The disk's number by the descriptor, which must be the one in sysfs: it ties the one to the other."""
    told = _whole(disk, "diskseq")
    try:
        own = _ask(fd, _BLKGETDISKSEQ)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL) and told is None:
            return None
        raise
    if own != told:
        raise OSError(errno.ESTALE, "the device behind this number was exchanged")
    return own


def identify(fd: int) -> Identity:
    """Ask an open block device who it is.

    Args:
        fd: Open for reading or writing.

    Raises:
        OSError: It is no block device, or the system's answers are missing or do not agree.
    """
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
    number = _number(status.st_rdev)
    folder = _folder(number)
    disk = _disk_folder(folder)
    serial, partition = _serial(disk), _whole(folder, "partition")
    if serial is not None and disk != folder:
        serial = f"{serial}-part{partition}"
    size_bytes, sectors = _ask(fd, _BLKGETSIZE64), _whole(folder, "size")
    if sectors is None or sectors * _SECTOR_BYTES != size_bytes:
        raise OSError(errno.ESTALE, "the device and sysfs do not agree on its size")
    return Identity(number, os.path.basename(folder), serial, size_bytes, _sequence(fd, disk))


def has_swap_signature(fd: int) -> bool:
    """Whether the device holds a swap area, or a hibernated system in one.

    Raises:
        OSError: Its first bytes cannot be read.

    Source: Linux, include/linux/swap.h, union swap_header, for each size that a page has somewhere.
    """
    head = os.pread(fd, max(_PAGE_BYTES), 0)
    return any(head[size - 10 : size] in _SWAP_MARKS for size in _PAGE_BYTES if len(head) >= size)


# ---- who uses it ----


def _unescaped(field: str) -> str:
    """A field of mountinfo or swaps, where blanks stand as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _device_of(path: str) -> str | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return _number(status.st_rdev) if stat.S_ISBLK(status.st_mode) else None


def _mount_tables() -> list[str]:
    """/proc/self/mountinfo, and one for each mount namespace that can be seen.

    Raises:
        OSError: Our own cannot be read.
    """
    with open(f"{_PROC}/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        tables = [file.read()]
    seen: set[str] = set()
    for process in filter(str.isdigit, os.listdir(_PROC)):
        try:
            namespace = os.readlink(f"{_PROC}/{process}/ns/mnt")
        except OSError:
            continue  # It ended meanwhile, or belongs to another user. An exclusive open sees its mounts all the same.
        table = None if namespace in seen else _text(_PROC, process, "mountinfo")
        if table:
            seen.add(namespace)
            tables.append(table)
    return tables


def _mounts(numbers: frozenset[str]) -> tuple[str, ...]:
    places = set()
    for table in _mount_tables():
        for line in table.splitlines():
            left, _, right = line.partition(" - ")
            fields, details = left.split(" "), right.split(" ")
            # btrfs and overlay have a number of their own, so the source is looked at, too.
            source = _unescaped(details[1]) if len(details) > 1 else ""
            if fields[2] in numbers or (source.startswith("/") and _device_of(source) in numbers):
                places.add(_unescaped(fields[4]))
    return tuple(sorted(places))


def _swaps(numbers: frozenset[str]) -> tuple[str, ...]:
    """Active swap areas on these devices, and those whose device cannot be told."""
    with open(f"{_PROC}/swaps", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.split() for line in file.read().splitlines()[1:]]
    paths = (_unescaped(fields[0]) for fields in lines if len(fields) > 1 and fields[1] == "partition")
    return tuple(path for path in paths if _device_of(path) in (None, *numbers))


def _loops(numbers: frozenset[str]) -> tuple[str, ...]:
    """Loop devices whose file is one of these: no holder shows them, and an exclusive open does not see them."""
    found = []
    for path in sorted(glob.glob(f"{_SYS}/block/loop*/loop/backing_file")):
        backing = _text(path)
        if backing is not None and _device_of(backing) in numbers:
            found.append(path.split("/")[-3])
    return tuple(found)


def read_device_facts(status: os.stat_result) -> DeviceFacts:
    """Ask the system about a block device.

    Args:
        status: Of the device file; its st_rdev counts.

    Raises:
        OSError: sysfs or /proc did not answer.
    """
    number = _number(status.st_rdev)
    folder = _folder(number)
    disk, related = _disk_folder(folder), _related(folder)
    numbers = frozenset(filter(None, (_text(each, "dev") for each in related)))
    read_only = _whole(folder, "ro")
    return DeviceFacts(
        number=number,
        name=os.path.basename(folder),
        disk=os.path.basename(disk),
        partition=_whole(folder, "partition"),
        model=_word(_text(disk, "device", "model") or ""),
        read_only=None if read_only is None else bool(read_only),
        logical_block_bytes=_whole(disk, "queue", "logical_block_size"),
        media=media_of(number),
        lower=_listed(disk, "slaves"),
        holders=tuple(name for each in related for name in _listed(each, "holders")),
        mounts=_mounts(numbers),
        swaps=_swaps(numbers),
        loops=_loops(numbers),
    )
