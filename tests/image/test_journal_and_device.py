"""What the journal keeps and gives up, and reading the old blocks from the device, on raw images."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest
from image.disk import extents_of, flush

from zeroizepy.file import secure_delete
from zeroizepy.shred import steps
from zeroizepy.shred.extents import read_extents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")
NAME = "a-name-of-its-own-0123456789"
VALUE = b"a value beside the content"
NODATACOW = 0x800000


@pytest.mark.parametrize("wiped", [False, True])
@pytest.mark.parametrize(
    ("size", "options", "mount", "reason"),
    [(1 << 20, (), "data=journal", "data_journal"), (64, ("-O", "inline_data", "-I", "256"), "", "extents_inline")],
)
def test_a_journal_keeps_copies_until_it_is_zeroed(
    new_disk: Callable[..., Any],
    nonce: bytes,
    marked_file: Callable[..., Path],
    *,
    size: int,
    options: tuple[str, ...],
    mount: str,
    reason: str,
    wiped: bool,
) -> None:
    """Data that went through the journal is there afterwards, and the verdict says so; with wipe_journal it is not."""
    disk = new_disk("ext4", *options, mount=mount, mib=64)
    path = marked_file(disk.mountpoint / "file", nonce, size)
    flush(disk.mountpoint)
    report = secure_delete(path, wipe_journal=wiped)
    if wiped:
        assert (report.verdict, report.reasons) == ("overwritten", ())
        assert disk.hits(nonce) == 0
    else:
        assert (report.verdict, report.reasons) == ("not_in_place", (reason,))
        assert disk.hits(nonce) > 0


@pytest.mark.parametrize("wiped", [False, True])
def test_old_names_and_attributes_are_in_the_journal(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], *, wiped: bool
) -> None:
    """The notes say that they may remain, and they do; a zeroed journal has neither, nor has the directory."""
    disk = new_disk("ext4", mib=64)
    path = marked_file(disk.mountpoint / NAME, nonce, 9000)
    os.setxattr(path, "user.origin", VALUE)
    flush(disk.mountpoint)
    notes = secure_delete(path, wipe_journal=wiped).notes
    assert {"name_may_remain", "attributes_may_remain:1"} <= set(notes)
    disk.unmount()
    image = disk.image.read_bytes()
    assert [image.count(each) > 0 for each in (NAME.encode(), VALUE)] == [not wiped] * 2


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_the_old_blocks_are_read_from_the_device(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], kind: str
) -> None:
    """verify="device" compares the blocks that the file had at first, whatever the file system says of the file."""
    disk = new_disk(kind, *(("-b", "4096") if kind == "ext4" else ()), mib=320)
    path = marked_file(disk.mountpoint / "file", nonce, (1 << 20) + 4097)
    report = secure_delete(path, passes=2, verify="device")
    assert (report.verdict, report.device_verified, report.unlinked) == ("overwritten_verified", True, True)
    assert disk.hits(nonce) == 0


def write_to_device(path: Path, data: bytes, place: int) -> None:
    """Write to the block device that a file lies on, behind the file system."""
    number = path.stat().st_dev
    with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/uevent") as uevent:
        name = next(line.split("=")[1].strip() for line in uevent if line.startswith("DEVNAME="))
    fd = os.open(f"/dev/{name}", os.O_RDWR | os.O_SYNC)
    try:
        os.pwrite(fd, data, place)
    finally:
        os.close(fd)


def test_a_change_behind_the_file_system_is_found(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path]
) -> None:
    """A byte that changes on the device between the comparison of the file and that of the device is a mismatch."""
    disk = new_disk("ext4", "-b", "4096", mib=64)
    path = marked_file(disk.mountpoint / "file", nonce, 8192)
    flush(disk.mountpoint)
    place = disk.image.read_bytes().index(nonce)

    def corrupt(done: int, total: int) -> None:
        # Read so far: one pass and the comparison of the file; the device comes next.
        if done == total * 2 // 3:
            write_to_device(path, b"\x55", place + 5000)

    with pytest.raises(OSError, match="byte 5000 read back is not what was written") as caught:
        secure_delete(path, passes=1, pattern="zeros", verify="device", progress=corrupt)
    report = getattr(caught.value, "report", None)
    assert report is not None
    assert (report.verdict, report.unlinked, report.device_verified) == ("not_in_place", False, False)


def set_nodatacow(path: Path) -> None:
    """As chattr +C does: only for a file without content."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.ioctl(fd, 0x40086602, struct.pack("l", NODATACOW))
    finally:
        os.close(fd)


@pytest.mark.parametrize("kept", [False, True])
def test_btrfs_without_copy_on_write(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], *, kept: bool
) -> None:
    """A file with the attribute is overwritten where it lies; one without it is not, and the verdict says so."""
    disk = new_disk("btrfs", mib=128)
    path = disk.mountpoint / "file"
    if kept:
        set_nodatacow(path)
    report = secure_delete(marked_file(path, nonce, 1 << 20), verify=True)
    if kept:
        assert report.verdict == "overwritten_verified"
        assert disk.hits(nonce) == 0
    else:
        assert report.verdict == "not_in_place"
        assert "file_system:btrfs" in report.reasons
        assert disk.hits(nonce) > 0


def test_an_encrypted_file_is_not_called_verified(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path]
) -> None:
    """Where ext4 encrypts a file it reads from the page cache, whatever was asked: damage on the device goes unseen."""
    disk = new_disk("ext4", "-b", "4096", "-O", "encrypt", mount="test_dummy_encryption")
    folder = disk.mountpoint / "encrypted"
    folder.mkdir()
    path = marked_file(folder / "file", nonce, 20_000)
    place = extents_of(path)[0].physical
    damaged: list[int] = []

    def damage(done: int, _total: int) -> None:
        if not damaged:
            flush(folder)
            write_to_device(path, bytes(4096), place)
            damaged.append(done)

    report = secure_delete(path, passes=1, verify="device", progress=damage)
    assert damaged
    assert (report.verdict, report.verified, report.device_verified) == ("overwritten", False, False)
    assert "verify_cached" in report.notes
    assert any(note.startswith("device_not_read:") for note in report.notes)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_file_that_was_just_written_is_read_from_the_device(
    new_disk: Callable[..., Any], nonce: bytes, kind: str
) -> None:
    """It gets its places before they are asked for, so its blocks are compared like those of any other file."""
    disk = new_disk(kind, *(("-b", "4096") if kind == "ext4" else ()), mib=320)
    path = disk.mountpoint / "file"
    for _ in range(10):
        path.write_bytes(nonce * 100_000)
        with path.open("rb") as file:
            extents = read_extents(file.fileno())
        assert extents is not None
        if "delayed" in extents.kinds:
            break
        secure_delete(path, passes=1)  # The kernel wrote it out, as it may at any moment.
    else:
        pytest.fail("the control: its bytes never were without places")
    report = secure_delete(path, passes=1, verify="device")
    assert (report.verdict, report.device_verified) == ("overwritten_verified", True)
    assert not any(note.startswith("device_not_read") for note in report.notes)
    assert disk.hits(nonce) == 0


def test_a_flush_that_fails_first_leaves_the_device_unread(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then places may be missing: the device is not read, and a note has the system's reason."""
    disk = new_disk("ext4", "-b", "4096", mib=64)
    path = marked_file(disk.mountpoint / "file", nonce, 20_000)
    original, failed = steps.flush, []

    def flush_later(fd: int) -> None:
        if not failed:
            failed.append(fd)
            raise OSError(errno.ENOSPC, "injected")
        original(fd)

    monkeypatch.setattr(steps, "flush", flush_later)
    report = secure_delete(path, passes=1, verify="device")
    assert (report.device_verified, "device_not_read:injected" in report.notes) == (False, True)
