"""Batches of a tree on the raw device: nothing is left, and what a flush promises is there when it returns."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.file import shred_tree
from zeroizepy.shred import batch, trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = 60

KINDS = {
    "ext4": ("ext4", (), 32),
    "ext4 without a journal": ("ext4", ("-O", "^has_journal"), 32),
    "ext4 in 1 KiB blocks": ("ext4", ("-b", "1024"), 32),
    "ext2": ("ext2", (), 32),
    "vfat": ("vfat", (), 32),
    "xfs": ("xfs", (), 320),
}


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, new_disk: Callable[..., Any]) -> Any:
    """An empty file system of each kind."""
    kind, options, mib = KINDS[request.param]
    return new_disk(kind, *options, mib=mib)


def fill(disk: Any, nonce: bytes, marked_file: Callable[..., Path]) -> Path:
    """A tree of marked files of many sizes, all of them on the device."""
    root: Path = disk.mountpoint / "root"
    for number in range(FILES):
        folder = root / f"folder-{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        marked_file(folder / f"file-{number}", nonce, 700 + 611 * number)
    return root


def raw_hits(disk: Any, nonce: bytes) -> int:
    """How often the nonce stands on the device now, while the file system is mounted."""
    content: bytes = disk.image.read_bytes()
    return content.count(nonce)


def test_no_old_byte_of_a_tree_is_left(disk: Any, nonce: bytes, marked_file: Callable[..., Path]) -> None:
    """One verified pass over a batch leaves no marked block in the image, and each verdict says so."""
    root = fill(disk, nonce, marked_file)
    assert raw_hits(disk, nonce) > FILES
    report = shred_tree(root, passes=1, verify=True)
    assert report.verdicts == {"overwritten_verified": FILES}
    assert (report.directories_removed, root.exists()) == (6, False)
    assert disk.hits(nonce) == 0


def test_the_passes_are_on_the_device_before_a_file_is_cut(
    disk: Any, nonce: bytes, marked_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all files still stand, no marked block is on the device any more: one flush has reached every file."""
    root = fill(disk, nonce, marked_file)
    seen = []

    class Watched(batch.Batch):
        def _remove(self) -> None:
            standing = sum(1 for path in root.rglob("file-*") if path.stat().st_size)
            seen.append((standing, raw_hits(disk, nonce)))
            super()._remove()

    monkeypatch.setattr(trees, "Batch", Watched)
    report = shred_tree(root, passes=1)
    assert seen == [(FILES, 0)]
    assert report.verdicts == {"overwritten": FILES}


def test_each_shared_flush_empties_the_devices_cache(
    disk: Any, nonce: bytes, marked_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is told to flush its own cache in every shared flush of content, not only handed the bytes."""
    status = os.stat(disk.mountpoint)
    path = f"/sys/dev/block/{os.major(status.st_dev)}:{os.minor(status.st_dev)}/stat"

    def flushes() -> int:
        with open(path, encoding="ascii") as file:
            fields = file.read().split()
        if len(fields) < 17:
            pytest.skip("needs Linux 5.5: counts of flushes in /sys/block/*/stat")
        return int(fields[15])

    grown = []
    shared = batch.Batch._flush_shared

    def watched(self: batch.Batch, live: list[batch.Ticket]) -> bool:
        before = flushes()
        answer = shared(self, live)
        grown.append((answer, flushes() - before))
        return answer

    root = fill(disk, nonce, marked_file)
    monkeypatch.setattr(batch.Batch, "_flush_shared", watched)
    shred_tree(root, passes=3)
    assert len(grown) >= 3 + 1 + 1  # The passes, the cut, the unlink; and the names between.
    assert all(answer for answer, _ in grown)
    assert all(count > 0 for _, count in grown), grown
