"""Sectors that fail: skipped and told of, never called overwritten, and nothing else is left of the file."""

from __future__ import annotations

import errno
import os

import pytest
from image.disk import BadDisk, flush
from image.subjects import Subject, parse_stamp

from zeroizepy.exceptions import FileAccessError
from zeroizepy.file import secure_delete

KIB = 1 << 10


def bad_file(disk: BadDisk, size: int, kind: str, bad: range) -> Subject:
    """A file in one extent, flushed, of whose bytes those in `bad` fail from now on."""
    subject = Subject(1, "bad", "", disk.mountpoint / "file", os.urandom(16))
    subject.write((0, size))
    flush(disk.mountpoint)
    subject.map_extents()
    (extent,) = subject.extents
    disk.fail(kind, extent.physical + bad.start, extent.physical + bad.stop)
    return subject


def left_of(disk: BadDisk, subject: Subject) -> set[int]:
    """Offsets in the file of the 512-byte blocks that are still on the image."""
    return {parse_stamp(found)[1] for _, found in disk.find(subject.nonce)}


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("size", [256 * KIB, 4096 * KIB])
def test_what_cannot_be_written_is_skipped(breakable_disk: BadDisk, size: int, *, verify: bool) -> None:
    """Two sectors fail: exactly they are left, they are counted, and the verdict is not overwritten.

    The small file goes through the page cache, where the error shows only at the flush; the large one past it.
    """
    disk, bad = breakable_disk, range(128 * KIB + 1024, 128 * KIB + 2048)
    subject = bad_file(disk, size, "write", bad)
    report = secure_delete(subject.path, verify=verify)
    assert (report.verdict, report.verified, report.unlinked) == ("not_in_place", False, True)
    assert "bad_sectors" in report.reasons
    assert report.skipped_bytes >= len(bad)
    assert left_of(disk, subject) == set(bad[::512])


def test_what_cannot_be_read_back_is_not_verified(breakable_disk: BadDisk) -> None:
    """A sector that takes the overwrite and then cannot be read: nothing is left, and nothing is called verified."""
    disk = breakable_disk
    subject = bad_file(disk, 4096 * KIB, "read", range(KIB, 2 * KIB))
    report = secure_delete(subject.path, passes=1, verify=True)
    assert (report.verdict, report.verified) == ("not_in_place", False)
    assert report.skipped_bytes == KIB
    assert left_of(disk, subject) == set()


@pytest.mark.parametrize("size", [256 * KIB, 4096 * KIB])
def test_a_file_that_fails_for_the_most_part_is_left(breakable_disk: BadDisk, size: int) -> None:
    """Three quarters of the file fail: an error with its errno and a report, and the file stays."""
    subject = bad_file(breakable_disk, size, "write", range(size // 4, size))
    with pytest.raises(FileAccessError) as caught:
        secure_delete(subject.path, passes=1)
    report = caught.value.report
    assert caught.value.errno == errno.EIO
    assert (report.verdict, report.unlinked) == ("not_in_place", False)
    assert any(reason.startswith("failed:") for reason in report.reasons)
    assert subject.path.stat().st_size == size


def test_the_control_is_overwritten(breakable_disk: BadDisk) -> None:
    """While no sector of the file fails, nothing is left on the same disk."""
    disk = breakable_disk
    subject = bad_file(disk, 4096 * KIB, "write", range(8192 * KIB, 8193 * KIB))
    assert secure_delete(subject.path, passes=1, verify=True).verdict == "overwritten_verified"
    assert left_of(disk, subject) == set()
