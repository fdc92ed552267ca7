"""What the file system says about an open file. Asks, decides nothing, writes nothing.

Linux answers from /proc/self/mountinfo, /proc/fs/ext4, FS_IOC_FIEMAP, FS_IOC_GETFLAGS and /sys/dev/block. Where a
question gets no answer the fact is `unknown` or None, and the plan takes that for the worse case.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import calls
from .extents import read_extents

if TYPE_CHECKING:
    from .extents import ExtentMap

__all__ = [
    "FileFacts",
    "Media",
    "Mount",
    "Surroundings",
    "is_open_elsewhere",
    "locks_out",
    "look_around",
    "mount_of",
    "parse_mountinfo",
    "read_facts",
]

_IMMUTABLE_FLAG, _APPEND_FLAG, _ENCRYPTED_FLAG, _JOURNAL_DATA_FLAG, _NOCOW_FLAG = 0x10, 0x20, 0x800, 0x4000, 0x800000

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
class Surroundings:
    """What holds for all files of one mount. Asking takes longer than overwriting a small file.

    Attributes:
        mount: The mount.
        media: The block device below.
        data_journal: All data goes through the journal of an ext file system; None when unknown, and on others.
        block_bytes: The file system's unit of space.
    """

    mount: Mount
    media: Media
    data_journal: bool | None
    block_bytes: int = 4096


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One open regular file.

    Attributes:
        size_bytes: Its size; `allocated_bytes` what it takes on the device.
        hard_links: How many names it has.
        file_system: Type by /proc/self/mountinfo, or `unknown`.
        data_journal: Its data goes through the journal; None when unknown.
        extents: Where it lies; None when the file system would not say.
        media: The block device below.
        block_bytes: The file system's unit of space: a file's last one is its own to the end.
        no_cow: The file has the attribute that keeps btrfs from writing elsewhere.
        encrypted: The file system encrypts it (fscrypt): its blocks hold something else than what is read and written.
        attributes: Names of the extended attributes that programs stored values in.
        open_elsewhere: Another descriptor of it is open; None when the system would not say.
    """

    size_bytes: int
    allocated_bytes: int
    hard_links: int
    file_system: str
    data_journal: bool | None
    extents: ExtentMap | None
    media: Media
    block_bytes: int = 4096
    no_cow: bool = False
    encrypted: bool = False
    attributes: tuple[str, ...] = ()
    open_elsewhere: bool | None = None


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


def locks_out(fd: int) -> str | None:
    """The attribute that keeps a file from being written, `immutable` or `append_only`, or None."""
    flags = max(0, calls.look(fd).flags)
    return "immutable" if flags & _IMMUTABLE_FLAG else "append_only" if flags & _APPEND_FLAG else None


def _data_journal(flags: int | None, around: Surroundings) -> bool | None:
    """Whether data goes through the journal, by the file system's mode or by the file's own +j attribute."""
    if around.mount.file_system not in ("ext2", "ext3", "ext4"):
        return False
    own = None if flags is None else bool(flags & _JOURNAL_DATA_FLAG)
    answers = (own, around.data_journal)
    return True if True in answers else None if None in answers else False


def _attributes(fd: int) -> tuple[str, ...]:
    """Names of the extended attributes with values of programs; not those in which the system keeps its own."""
    try:
        names = os.listxattr(fd) if hasattr(os, "listxattr") else []
    except OSError:
        return ()
    return tuple(name for name in names if name.startswith(("user.", "trusted.")))


def is_open_elsewhere(fd: int) -> bool | None:
    """Whether there is another open descriptor or a mapping of the file; None when the system would not say."""
    return _told(calls.look(fd).open_elsewhere)


def _told(answer: int) -> bool | None:
    return None if answer < 0 else bool(answer)


def look_around(fd: int) -> Surroundings:
    """Ask what holds for all files of the mount that `fd` is on."""
    mount = mount_of(fd)
    is_ext = mount.file_system in ("ext2", "ext3", "ext4")
    journal = _mounted_with_data_journal(mount) if is_ext else None
    return Surroundings(mount, media_of(mount.device), journal, os.fstatvfs(fd).f_bsize)


def read_facts(fd: int, around: Surroundings | None = None) -> FileFacts:
    """Ask the system about an open regular file.

    Args:
        fd: Open for reading; its offset and content are not touched.
        around: What `look_around` said for a file on the same mount; None to ask again.

    Raises:
        OSError: fstat failed. Any other question without an answer becomes an unknown fact.
    """
    status = os.fstat(fd)
    around = around or look_around(fd)
    view = calls.look(fd)
    flags = None if view.flags < 0 else int(view.flags)
    return FileFacts(
        size_bytes=status.st_size,
        allocated_bytes=status.st_blocks * 512,
        hard_links=status.st_nlink,
        file_system=around.mount.file_system,
        data_journal=_data_journal(flags, around),
        extents=read_extents(fd, first=view.extents),
        media=around.media,
        block_bytes=around.block_bytes,
        no_cow=bool((flags or 0) & _NOCOW_FLAG),
        encrypted=bool((flags or 0) & _ENCRYPTED_FLAG),
        attributes=_attributes(fd) if view.attribute_bytes else (),
        open_elsewhere=_told(view.open_elsewhere),
    )
