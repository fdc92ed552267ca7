"""File systems in image files, on loop devices: mounted by root, unmounted whatever happens, scanned raw."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from image.disk import BadDisk, Disk, UnavailableError, bad_disk, mounted, scratch
from image.disk import new_disk as make_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BLOCK = 512


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
def breakable_disk() -> Iterator[BadDisk]:
    """An ext4 disk with 4 KiB blocks and without a journal, of which nothing fails yet."""
    with scratch() as folder:
        try:
            with bad_disk(folder, "ext4", "-b", "4096", "-O", "^has_journal") as disk:
                yield disk
        except UnavailableError as error:
            pytest.skip(str(error))


@pytest.fixture
def new_disk() -> Iterator[Callable[..., Disk]]:
    """Make and mount file systems: `new_disk("ext4", "-O", "inline_data", mount="data=journal", mib=32)`.

    `tune` goes to tune2fs before the mount, and `mount_as` mounts under another type than was made.
    """

    def make(kind: str, *options: str, **arguments: object) -> Disk:
        try:
            folder = stack.enter_context(scratch())
            return stack.enter_context(make_disk(folder, kind, *options, **arguments))  # type: ignore[arg-type]
        except UnavailableError as error:
            pytest.skip(str(error))

    with ExitStack() as stack:
        yield make


@pytest.fixture
def new_mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount what needs no image: `new_mount("tmpfs", "size=1m")`."""
    count = 0

    def mount(kind: str, options: str) -> Path:
        nonlocal count
        count += 1
        try:
            return stack.enter_context(mounted(tmp_path / f"{kind}{count}", kind, options))
        except UnavailableError as error:
            pytest.skip(str(error))

    with ExitStack() as stack:
        yield mount


@pytest.fixture
def nonce() -> bytes:
    """16 bytes that stand nowhere else."""
    return os.urandom(16)


@pytest.fixture
def marked_file() -> Callable[[Path, bytes, int], Path]:
    """Write a file of marked blocks that is on the device when the call returns."""
    return lambda path, nonce, size: write_synced(path, marked(nonce, size))
