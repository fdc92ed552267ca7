"""What the file system says about an open file. Asks, decides nothing, writes nothing.

Linux answers from /proc/self/mountinfo, /proc/fs/ext4, FS_IOC_FIEMAP, FS_IOC_GETFLAGS and /sys/dev/block. Where a
question gets no answer the fact is `unknown` or None, and the plan takes that for the worse case.
"""

from __future__ import annotations

import fcntl
import os
import platform
import struct
from dataclasses import dataclass

__all__ = ["FileFacts", "Media", "Mount", "mount_of", "parse_mountinfo", "read_facts"]

_READ_BIT = 1 << 30 if platform.machine().startswith(("ppc", "mips", "sparc", "alpha")) else 2 << 30
_GETFLAGS = _READ_BIT | struct.calcsize("l") << 16 | ord("f") << 8 | 1
_JOURNAL_DATA_FLAG = 0x4000

_FIEMAP = 0xC020660B
_FIEMAP_HEAD = struct.Struct("=QQLLLL")
_FIEMAP_EXTENT = struct.Struct("=QQQQQLLLL")
_EXTENTS_EACH_CALL = 256
_LAST, _UNKNOWN, _DELALLOC, _ENCODED, _ENCRYPTED, _NOT_ALIGNED, _INLINE, _TAIL, _SHARED = (
    0x1, 0x2, 0x4, 0x8, 0x80, 0x100, 0x200, 0x400, 0x2000,
)  # fmt: skip

_SYS_BLOCK = "/sys/dev/block"
_PROC_FS = "/proc/fs"

_STACKED = ("dm-", "loop", "md", "nbd", "rbd", "zd", "drbd", "bcache", "zram")
_VIRTUAL = ("vd", "xvd")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo: file system type, its options, and the device number of its disk."""

    file_system: str
    options: tuple[str, ...]
    device: str


@dataclass(frozen=True, slots=True)
class Media:
    """The block device below.

    Attributes:
        name: As in /sys/block, or None when there is none.
        rotational: True for a disk that says it turns; None when unknown or virtual.
        stacked: It lies on another layer: device mapper, loop, RAID, network.
    """

    name: str | None = None
    rotational: bool | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One open regular file.

    Attributes:
        size_bytes: Its size; `allocated_bytes` what it takes on the device.
        hard_links: How many names it has.
        file_system: Type by /proc/self/mountinfo, or `unknown`.
        data_journal: Its data goes through the journal; None when unknown.
        extents: Which of `shared`, `inline`, `encoded`, `delayed` occur; None when the file system would not say.
        media: The block device below.
    """

    size_bytes: int
    allocated_bytes: int
    hard_links: int
    file_system: str
    data_journal: bool | None
    extents: frozenset[str] | None
    media: Media


def parse_mountinfo(text: str, mount_id: int) -> Mount | None:
    """Find the mount with this id.

    Args:
        text: /proc/self/mountinfo, as proc_pid_mountinfo(5) describes it.
        mount_id: From /proc/self/fdinfo; unlike st_dev it also tells overlay and btrfs subvolumes apart.
    """
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, details = left.split(" "), right.split(" ")
        if separator and fields[0] == str(mount_id):
            try:
                return Mount(details[0], (*fields[5].split(","), *details[2].split(",")), fields[2])
            except IndexError:
                return None
    return None


def mount_of(fd: int) -> Mount:
    """The mount that `fd` lives on; type `unknown` when the system does not say."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii", errors="replace") as file:
            ids = [line.split()[1] for line in file if line.startswith("mnt_id:")]
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mount = parse_mountinfo(file.read(), int(ids[0])) if ids else None
    except OSError:
        mount = None
    return mount or Mount("unknown", (), "0:0")


def media_of(device: str) -> Media:
    """The block device with this `major:minor` number; for a partition, its disk."""
    path = os.path.realpath(f"{_SYS_BLOCK}/{device}")
    if device.startswith("0:") or not os.path.isdir(path):
        return Media()
    if os.path.exists(os.path.join(path, "partition")):
        path = os.path.dirname(path)
    name = os.path.basename(path)
    stacked = name.startswith(_STACKED)
    try:
        with open(os.path.join(path, "queue", "rotational"), encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        text = ""
    # A virtual disk or an upper layer reports a default here, which says nothing about the media below.
    known = text in ("0", "1") and not stacked and not name.startswith(_VIRTUAL)
    return Media(name, text == "1" if known else None, stacked)


def _mounted_with_data_journal(mount: Mount) -> bool | None:
    """Whether all data on an ext file system goes through its journal; None when the kernel does not say.

    mountinfo leaves out what the superblock has by default (`tune2fs -o journal_data`), so the driver is asked, under
    its own name for the device. One that has no journal prints no `data=` at all.
    """
    if "data=journal" in mount.options:
        return True
    name = os.path.basename(os.path.realpath(f"{_SYS_BLOCK}/{mount.device}"))
    for driver in ("ext4", "ext3"):
        try:
            with open(f"{_PROC_FS}/{driver}/{name}/options", encoding="ascii", errors="replace") as file:
                options = file.read().split()
        except OSError:
            continue
        return "data=journal" in options if options else None
    # The ext4 driver mounts ext2, too, and then uses a journal if there is one; the driver that knows only ext2 cannot,
    # and prints no options here.
    return False if mount.file_system == "ext2" and os.path.isdir(_PROC_FS) else None


def _data_journal(fd: int, mount: Mount) -> bool | None:
    """Whether data goes through the journal, by the file system's mode or by the file's own +j attribute."""
    if mount.file_system not in ("ext2", "ext3", "ext4"):
        return False
    answer = bytearray(struct.calcsize("l"))
    try:
        fcntl.ioctl(fd, _GETFLAGS, answer)
        # The kernel writes an int here, whatever the request number says.
        own = bool(struct.unpack_from("=i", answer)[0] & _JOURNAL_DATA_FLAG)
    except OSError:
        own = None
    answers = (own, _mounted_with_data_journal(mount))
    return True if True in answers else None if None in answers else False


def _extent_kinds(flags: int) -> set[str]:
    kinds = set()
    if flags & _SHARED:
        kinds.add("shared")
    if flags & (_INLINE | _TAIL | _NOT_ALIGNED):
        kinds.add("inline")
    if flags & (_ENCODED | _ENCRYPTED):
        kinds.add("encoded")
    if flags & _DELALLOC:
        kinds.add("delayed")
    elif flags & _UNKNOWN:
        kinds.add("unknown")
    return kinds


def _extents(fd: int) -> frozenset[str] | None:
    """Kinds of extents in the file, None when the file system has no FIEMAP.

    Dirty pages are left where they are: a flush here would put bytes on the device that are not there yet.
    """
    kinds: set[str] = set()
    start = 0
    while True:
        buffer = bytearray(_FIEMAP_HEAD.size + _EXTENTS_EACH_CALL * _FIEMAP_EXTENT.size)
        _FIEMAP_HEAD.pack_into(buffer, 0, start, (1 << 64) - 1 - start, 0, 0, _EXTENTS_EACH_CALL, 0)
        try:
            fcntl.ioctl(fd, _FIEMAP, buffer)
        except OSError:
            return None
        mapped = _FIEMAP_HEAD.unpack_from(buffer)[3]
        for index in range(mapped):
            extent = _FIEMAP_EXTENT.unpack_from(buffer, _FIEMAP_HEAD.size + index * _FIEMAP_EXTENT.size)
            kinds |= _extent_kinds(extent[5])
            if extent[5] & _LAST:
                return frozenset(kinds)
            if extent[0] + extent[2] <= start:
                return None  # A file system that does not get on would keep us here for ever.
            start = extent[0] + extent[2]
        if not mapped:
            return frozenset(kinds)


def read_facts(fd: int) -> FileFacts:
    """Ask the system about an open regular file.

    Args:
        fd: Open for reading; its offset and content are not touched.

    Raises:
        OSError: fstat failed. Any other question without an answer becomes an unknown fact.
    """
    status = os.fstat(fd)
    mount = mount_of(fd)
    return FileFacts(
        size_bytes=status.st_size,
        allocated_bytes=status.st_blocks * 512,
        hard_links=status.st_nlink,
        file_system=mount.file_system,
        data_journal=_data_journal(fd, mount),
        extents=_extents(fd) if status.st_size else frozenset(),
        media=media_of(mount.device),
    )
