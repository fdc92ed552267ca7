"""wipe_free_space on whole file systems: what is left on the image, what a kill leaves, what a trim gives back."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from image.disk import flush
from support.children import Child

from zeroizepy.file import wipe_free_space

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20


def free_bytes(folder: Path) -> int:
    """As root sees it."""
    status = os.statvfs(folder)
    return status.f_bfree * status.f_frsize


def test_a_kill_gives_the_space_back(new_disk: Callable[..., Any]) -> None:
    """SIGKILL in the middle of the filling leaves no file and all the space."""
    point = new_disk("ext4", mib=48).mountpoint
    before = free_bytes(point)
    code = """
    from zeroizepy.file import wipe_free_space
    wipe_free_space(sys.argv[1], max_bytes_per_s=4 << 20)
    """
    child = Child("auto")
    with subprocess.Popen(child.command(code, str(point)), env=child.environment()) as process:
        deadline = time.monotonic() + 60
        while free_bytes(point) > before - 4 * MIB:
            assert time.monotonic() < deadline
        process.kill()
    flush(point)
    assert free_bytes(point) == before
    assert os.listdir(point) == ["lost+found"]


def make_and_remove(point: Path, name: bytes, value: bytes) -> None:
    """300 files with long names and an attribute, forced to the device, then removed with their folder."""
    folder = point / "folder"
    folder.mkdir()
    for number in range(300):
        path = os.fsencode(folder) + b"/" + name + b"%d" % number
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.setxattr(path, "user.note", value)
    flush(point)
    for entry in os.listdir(folder):
        os.unlink(folder / entry)
    folder.rmdir()
    flush(point)


@pytest.mark.parametrize("journal", [True, False])
def test_names_and_attributes_of_removed_files(new_disk: Callable[..., Any], *, journal: bool) -> None:
    """They are left in the image by a plain removal, attributes by a filling of blocks, and nothing by both fillings.

    With a journal as small as this one, so many new files also write over its copies; that is not promised.
    """
    options = ("-I", "256") if journal else ("-I", "256", "-O", "^has_journal")
    name, value = os.urandom(12).hex().encode(), os.urandom(24)
    left = {}
    for way in ("none", "blocks", "both"):
        disk = new_disk("ext4", *options)
        make_and_remove(disk.mountpoint, name, value)
        if way != "none":
            report = wipe_free_space(disk.mountpoint, inodes=way == "both")
            assert report.stopped_by == "full"
            assert (report.inodes_filled > 5000) is (way == "both")
            assert os.listdir(disk.mountpoint) == ["lost+found"]
        disk.unmount()
        image = disk.image.read_bytes()
        left[way] = (image.count(name), image.count(value))
    assert min(left["none"]) > 0
    assert left["blocks"][1] > 0
    assert left["both"] == (0, 0)


def test_few_inodes(new_mount: Callable[..., Path]) -> None:
    """The filling ends where the file system has no more inodes; the fillers get theirs all the same."""
    point = new_mount("tmpfs", "size=4m,nr_inodes=20")
    report = wipe_free_space(point, inodes=True)
    assert 10 < report.inodes_filled < 20
    assert (report.stopped_by, report.bytes_written >= 3 * MIB) == ("full", True)
    assert os.listdir(point) == []


def test_no_inode_for_a_filler(new_mount: Callable[..., Path]) -> None:
    """A file system without a free inode takes no filler: a report that it is full, with nothing written."""
    point = new_mount("tmpfs", "size=4m,nr_inodes=10")
    with suppress(OSError):
        for number in range(20):
            (point / str(number)).touch()
    assert os.statvfs(point).f_ffree == 0
    report = wipe_free_space(point, inodes=True)
    assert (report.stopped_by, report.bytes_written, report.inodes_filled) == ("full", 0, 0)
    assert report.unfilled_bytes >= 3 * MIB


def test_trim_gives_the_blocks_of_the_image_back(new_disk: Callable[..., Any]) -> None:
    """The loop device punches what is trimmed out of its image; without a trim the filling stays there."""
    taken = {}
    for trim in (False, True):
        disk = new_disk("ext4", mib=48)
        report = wipe_free_space(disk.mountpoint, trim=trim)
        if report.trim_error is not None:
            pytest.skip(f"needs a loop device that takes discards: {report.trim_error}")
        assert (report.trimmed_bytes or 0) >= (report.bytes_written if trim else 0)
        disk.unmount()
        taken[trim] = os.stat(disk.image).st_blocks * 512
    assert taken[False] >= 32 * MIB
    assert taken[True] <= 12 * MIB


def test_trim_on_tmpfs_says_why_not(new_mount: Callable[..., Path]) -> None:
    """A file system without a device has nothing to trim."""
    report = wipe_free_space(new_mount("tmpfs", "size=1m"), trim=True)
    assert report.trimmed_bytes is None
    assert report.trim_error in {os.strerror(errno.ENOTTY), os.strerror(errno.EOPNOTSUPP)}
