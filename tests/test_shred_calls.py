"""The system calls that `os` does not have, against real directories."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from zeroizepy.shred import calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """A descriptor of an empty directory."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_rename_never_replaces(folder: int, tmp_path: Path) -> None:
    """A name that exists stays as it is; a free one is taken."""
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    with pytest.raises(FileExistsError):
        calls.rename_noreplace(folder, "one", "two")
    assert ((tmp_path / "one").read_text(), (tmp_path / "two").read_text()) == ("1", "2")
    calls.rename_noreplace(folder, "one", "three")
    assert sorted(os.listdir(tmp_path)) == ["three", "two"]


def test_open_beneath_follows_no_link(folder: int, tmp_path: Path) -> None:
    """Neither a link at the end, nor one on the way, nor `..`, nor an absolute path leads anywhere."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("x")
    (tmp_path / "link").symlink_to("inner")
    (tmp_path / "inner" / "alias").symlink_to("file")
    fd = calls.open_beneath(folder, "inner/file", os.O_RDONLY)
    assert stat.S_ISREG(os.fstat(fd).st_mode)
    assert not os.get_inheritable(fd)
    os.close(fd)
    for path, number in (
        ("link/file", errno.ELOOP),
        ("inner/alias", errno.ELOOP),
        ("../" + tmp_path.name, errno.EXDEV),
        (str(tmp_path / "inner"), errno.EXDEV),
        ("missing", errno.ENOENT),
    ):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            calls.open_beneath(folder, path, os.O_RDONLY)
        assert caught.value.errno == number


def test_open_beneath_stays_on_the_mount(folder: int, tmp_path: Path) -> None:
    """A mount point is not entered unless that is asked for."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a tmpfs")
    point = tmp_path / "mount"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", point], check=True)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            calls.open_beneath(folder, "mount", os.O_RDONLY)
        os.close(calls.open_beneath(folder, "mount", os.O_RDONLY, may_cross=True))
    finally:
        subprocess.run(["umount", point], check=True)


def test_sync_reports_a_bad_descriptor(folder: int) -> None:
    """A flush of the file system says when it did not happen."""
    calls.sync_file_system(folder)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        calls.sync_file_system(-1)
