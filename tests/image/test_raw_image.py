"""What is left on the raw device: scans of whole images, with controls that must leave hits."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from image.disk import flush

from zeroizepy.file import secure_delete, wipe_free_space
from zeroizepy.shred.steps import FileRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zeroizepy.shred.passes import SpanWriter

MIB = 1 << 20
SIZES = [1000, 4096, 4097, MIB + 1, 5 * MIB + 100]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block", ["1024", "4096"])
def test_no_old_byte_is_left_on_ext4(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], size: int, block: str
) -> None:
    """One verified pass leaves no marked block anywhere in the image, and the verdict says so."""
    disk = new_disk("ext4", "-b", block)
    path = marked_file(disk.mountpoint / "file", nonce, size)
    report = secure_delete(path, passes=1, verify=True)
    assert (report.verdict, report.reasons) == ("overwritten_verified", ())
    assert any(note.startswith("stacked_device:loop") for note in report.notes)
    assert disk.hits(nonce) == 0


@pytest.mark.parametrize("way", ["unlink", "truncate", "no pass", "no sync"])
def test_controls_leave_hits(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], way: str
) -> None:
    """The scan finds what was not overwritten; where secure_delete left it, the verdict said so."""
    disk = new_disk("ext4")
    path = marked_file(disk.mountpoint / "file", nonce, MIB)
    if way == "unlink":
        path.unlink()
    elif way == "truncate":
        path.write_bytes(b"")
        path.unlink()
    else:
        report = secure_delete(path, **({"passes": 0} if way == "no pass" else {"passes": 1, "sync": False}))
        assert report.verdict == "not_in_place"
    assert disk.hits(nonce) > 1000


def test_a_file_that_never_reached_the_device_is_kept_from_it(new_disk: Callable[..., Any], nonce: bytes) -> None:
    """Dirty pages are overwritten in the page cache: not one marked block is ever written to the image."""
    disk = new_disk("ext4", "-O", "^has_journal")
    path = disk.mountpoint / "file"
    for _ in range(10):
        path.write_bytes(nonce * (2 * MIB // 16))
        report = secure_delete(path, passes=1)
        assert report.verdict == "overwritten"
        if not report.direct:
            break  # Else the kernel wrote it out before, as it may at any moment, and it was overwritten there.
    assert not report.direct
    assert disk.hits(nonce) == 0


@pytest.mark.parametrize("command", [("--zero-range",), ("--punch-hole",)], ids=["zeroed", "punched"])
def test_a_range_given_up_meanwhile_is_not_called_overwritten(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], command: tuple[str, ...]
) -> None:
    """A program that drops the pass before it reaches the device leaves old bytes there, and the verdict says so."""
    if shutil.which("fallocate") is None:
        pytest.skip("needs fallocate(1)")
    disk = new_disk("ext4", "-b", "4096")
    path = marked_file(disk.mountpoint / "file", nonce, 65536)
    flush(disk.mountpoint)

    def drop(_done: int, _total: int) -> None:
        subprocess.run(["fallocate", *command, "--offset", "0", "--length", "65536", path], check=True)

    report = secure_delete(path, passes=1, progress=drop)
    assert (report.verdict, report.reasons) == ("not_in_place", ("extents_moved",))
    assert disk.hits(nonce) > 0


def test_bytes_that_reached_the_device_during_the_run_are_not_called_overwritten(
    new_disk: Callable[..., Any], nonce: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a file that the kernel writes out between the look at it and the pass."""
    if shutil.which("fallocate") is None:
        pytest.skip("needs fallocate(1)")
    path = new_disk("ext4", "-b", "4096").mountpoint / "file"
    path.write_bytes(nonce * 4096)
    new_writer = FileRun.new_writer

    def write_out(run: FileRun) -> SpanWriter:
        flush(path)
        return new_writer(run)

    def drop(_done: int, _total: int) -> None:
        subprocess.run(["fallocate", "--zero-range", "--offset", "0", "--length", "65536", path], check=True)

    monkeypatch.setattr(FileRun, "new_writer", write_out)
    assert secure_delete(path, passes=1, progress=drop).verdict == "not_in_place"


def test_bystanders_stay_on_the_image(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path]
) -> None:
    """A neighbour's blocks are all there after the next file was shredded."""
    disk = new_disk("ext4")
    neighbour = os.urandom(16)
    marked_file(disk.mountpoint / "neighbour", neighbour, MIB)
    secure_delete(marked_file(disk.mountpoint / "file", nonce, MIB))
    assert disk.hits(neighbour) == MIB // 512
    assert disk.hits(nonce) == 0


@pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")
@pytest.mark.parametrize("case", ["inline", "mount option"])
def test_journalled_bytes_are_not_called_overwritten(new_disk: Callable[..., Any], nonce: bytes, case: str) -> None:
    """Bytes that pass through the journal stay there; the scan finds them and the verdict says so."""
    options = ("-I", "256", "-O", "inline_data") if case == "inline" else ()
    disk = new_disk("ext4", *options, mount="data=journal" if case == "mount option" else "")
    content = nonce * (4 if case == "inline" else 65_536)
    reason = "extents_inline" if case == "inline" else "data_journal"
    path = disk.mountpoint / "file"
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    report = secure_delete(path, passes=1)
    assert (report.verdict, report.reasons) == ("not_in_place", (reason,))
    assert disk.hits(nonce) > 0


@pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")
@pytest.mark.parametrize(("kind", "mount_as"), [("ext4", "ext4"), ("ext3", "ext3"), ("ext3", "ext2")])
def test_a_journal_mode_from_the_superblock_is_seen(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], kind: str, mount_as: str
) -> None:
    """`tune2fs -o journal_data` stands in no mountinfo; the journal keeps the old bytes, and the verdict says so."""
    disk = new_disk(kind, tune="-o journal_data", mount_as=mount_as)
    report = secure_delete(marked_file(disk.mountpoint / "file", nonce, MIB), passes=1, verify=True)
    # A driver that knows only ext2 uses no journal, and then nothing may be left.
    expected = {"overwritten_verified": False, "not_in_place": True}
    assert (disk.hits(nonce) > 0) is expected[report.verdict]
    assert report.verified is (report.verdict == "overwritten_verified")
    if mount_as != "ext2":
        assert (report.verdict, report.reasons) == ("not_in_place", ("data_journal",))


@pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")
@pytest.mark.parametrize(
    ("kind", "options", "tune"),
    [
        ("ext3", (), ""),
        ("ext4", ("-O", "^has_journal"), ""),
        ("ext4", (), "-o journal_data_writeback"),
        ("ext2", (), ""),
    ],
)
def test_other_journal_modes_are_in_place(
    new_disk: Callable[..., Any],
    nonce: bytes,
    marked_file: Callable[..., Path],
    *,
    kind: str,
    options: tuple[str, ...],
    tune: str,
) -> None:
    """Ordered, writeback and no journal keep no copy of the data, and are not mistaken for unknown."""
    disk = new_disk(kind, *options, tune=tune)
    report = secure_delete(marked_file(disk.mountpoint / "file", nonce, MIB), passes=1, verify=True)
    assert (report.verdict, report.reasons) == ("overwritten_verified", ())
    assert disk.hits(nonce) == 0


@pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")
def test_overlay_is_not_in_place(
    new_disk: Callable[..., Any], new_mount: Callable[..., Path], nonce: bytes, marked_file: Callable[..., Path]
) -> None:
    """A file of an overlay's lower layer is copied up by the open; the lower one stays and the verdict says so."""
    disk = new_disk("ext4")
    for name in ("lower", "upper", "work"):
        (disk.mountpoint / name).mkdir()
    lower = marked_file(disk.mountpoint / "lower" / "file", nonce, 8192)
    base = disk.mountpoint
    merged = new_mount("overlay", f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work")
    plan = secure_delete(merged / "file", dry_run=True).plan
    assert plan is not None
    assert plan.verdict == "not_in_place"
    assert os.listdir(base / "upper") == []
    report = secure_delete(merged / "file")
    assert (report.verdict, report.reasons) == ("not_in_place", ("file_system:overlay",))
    assert lower.stat().st_size == 8192


def test_tmpfs_warns_and_is_not_in_place(new_mount: Callable[..., Path]) -> None:
    """Memory may have been swapped out, so tmpfs never gets an "overwritten" verdict."""
    path = new_mount("tmpfs", "size=1m") / "file"
    path.write_bytes(b"x" * 5000)
    with pytest.warns(UserWarning, match="file_system:tmpfs"):
        report = secure_delete(path, verify=True)
    assert (report.verdict, report.unlinked) == ("not_in_place", True)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_hole_needs_no_space(new_disk: Callable[..., Any], new_mount: Callable[..., Path], kind: str) -> None:
    """A file of 64 MiB of holes and one block goes from a disk that could not hold it."""
    point = new_mount("tmpfs", "size=1m") if kind == "tmpfs" else new_disk("ext4", mib=16).mountpoint
    path = point / "sparse"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        file.write(b"x" * 4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = secure_delete(path, passes=1, pattern="zeros")
    assert report.passes[0].bytes_written == 4096
    assert (report.verdict, report.unlinked) == ("overwritten" if kind == "ext4" else "not_in_place", True)


def test_the_last_file_of_a_full_disk_can_be_shredded(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path]
) -> None:
    """A disk without a free block still lets its file be overwritten and unlinked."""
    disk = new_disk("ext4", mib=16)
    path = marked_file(disk.mountpoint / "file", nonce, MIB)
    filler = os.open(disk.mountpoint / "filler", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while os.write(filler, bytes(1024)):
            pass
    os.close(filler)
    assert os.statvfs(disk.mountpoint).f_bavail == 0
    assert secure_delete(path, passes=1).unlinked
    assert disk.hits(nonce) == 0


@pytest.mark.parametrize("block", ["1024", "4096"])
def test_free_space_is_filled(
    new_disk: Callable[..., Any], nonce: bytes, marked_file: Callable[..., Path], block: str
) -> None:
    """Blocks of a deleted file are overwritten; a control that is not wiped keeps them; the space comes back."""
    disk, control = new_disk("ext4", "-b", block, mib=48), new_disk("ext4", "-b", block, mib=48)
    for each in (disk, control):
        marked_file(each.mountpoint / "file", nonce, 3 * MIB).unlink()
        flush(each.mountpoint)
    free = os.statvfs(disk.mountpoint).f_bfree * int(block)
    report = wipe_free_space(disk.mountpoint)
    assert report.stopped_by == "full"
    assert report.file_system == "ext4"
    # ext4 holds back 2 % of its blocks for its own needs, and a few went into the filler's own extent blocks.
    assert free - 48 * MIB // 50 - 64 * 1024 <= report.bytes_written <= free
    assert any("holds back" in note for note in report.notes)
    assert os.statvfs(disk.mountpoint).f_bfree * int(block) == free
    assert os.listdir(disk.mountpoint) == ["lost+found"]
    assert control.hits(nonce) > 3000
    assert disk.hits(nonce) == 0


def test_reserve_is_left_free(new_disk: Callable[..., Any]) -> None:
    """While the fillers stand, at least the reserve is free for others."""
    point = new_disk("ext4", mib=48).mountpoint
    least: list[int] = []

    def look(_done: int, _total: int) -> None:
        status = os.statvfs(point)
        least.append(status.f_bfree * status.f_frsize)

    report = wipe_free_space(point, reserve_bytes=8 * MIB, chunk_size=65536, progress=look)
    assert report.stopped_by == "reserve"
    assert report.bytes_written > 8 * MIB
    assert min(least) >= 8 * MIB - 65536
