"""Going through a tree: all of it, nothing else, in bounded memory and with few descriptors."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.children import Child, need_root

from zeroizepy.shred import calls
from zeroizepy.shred.beneath import Opener
from zeroizepy.shred.walk import DIRECTORY_FLAGS, Finished, Folder, Member, Walker, count_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["openat2", "step by step"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """The kernel's own resolution, and what stands in for it where there is none."""

    def missing(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if request.param == "step by step":
        monkeypatch.setattr(calls, "open_beneath", missing)
    return Opener(may_cross=False)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Folder]:
    """An empty folder as the root of a walk."""
    path = tmp_path / "root"
    path.mkdir()
    fd = os.open(path, DIRECTORY_FLAGS)
    status = os.fstat(fd)
    yield Folder(None, "root", (status.st_dev, status.st_ino), shown=str(path), fd=fd)
    os.close(fd)


def walked(root: Folder, opener: Opener) -> list[str]:
    """What a walk meets, as lines: `file a/b`, `done a`, `mount_point c`."""
    lines = []
    with closing(Walker(root, opener)) as walker:
        for event in walker.events():
            if isinstance(event, Member):
                lines.append(f"file {os.path.relpath(os.path.join(event.folder.path, event.name), root.path)}")
            elif isinstance(event, Finished):
                lines.append(f"done {os.path.relpath(event.folder.path, root.path)}")
                walker.forget(event.folder)
            else:
                lines.append(f"{event.code} {os.path.relpath(os.path.join(event.folder.path, event.name), root.path)}")
    return lines


def status_of(walker: Walker, folder: Folder) -> os.stat_result:
    """What stands under a folder's name in its parent."""
    assert folder.parent is not None
    try:
        return os.stat(folder.name, dir_fd=walker.pin(folder.parent), follow_symlinks=False)
    finally:
        walker.unpin(folder.parent)


def test_everything_is_met_once_and_folders_come_last(root: Folder, tmp_path: Path, opener: Opener) -> None:
    """Each entry is met once, each folder after all that lies in it."""
    expected = set()
    for number in range(40):
        folder = tmp_path / "root" / f"a{number % 4}" / f"b{number % 8}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}").write_text("x")
        expected |= {f"file a{number % 4}/b{number % 8}/file{number}", f"done a{number % 4}/b{number % 8}"}
        expected |= {f"done a{number % 4}", "done ."}
    (tmp_path / "root" / "link").symlink_to("a0")
    lines = walked(root, opener)
    assert len(lines) == len(set(lines))
    assert set(lines) == expected | {"file link"}
    for index, line in enumerate(lines):
        if line.startswith("done ") and line != "done .":
            name = line.removeprefix("done ")
            assert not [late for late in lines[index + 1 :] if late.split(" ")[1].startswith(name + "/")]
    assert lines[-1] == "done ."
    assert count_files(root, opener) == (41, 40)


def test_a_deep_tree_needs_few_descriptors(root: Folder, opener: Opener) -> None:
    """Three thousand levels, far beyond what one path can name, with a handful of open folders; each level is met."""
    depth, name = 3000, "d" * 20
    fd = os.dup(root.fd)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    before, most, files, done = len(os.listdir("/proc/self/fd")), 0, 0, 0
    try:
        with closing(Walker(root, opener)) as walker:
            for event in walker.events():
                if isinstance(event, Member):
                    files += 1
                else:
                    assert isinstance(event, Finished)
                    done += 1
                    if event.folder.parent is not None:  # A folder that was closed on the way down is found again.
                        assert os.path.samestat(os.fstat(walker.pin(event.folder)), status_of(walker, event.folder))
                        walker.unpin(event.folder)
                    walker.forget(event.folder)
                if (files + done) % 100 == 0:
                    most = max(most, len(os.listdir("/proc/self/fd")) - before)
    finally:
        subprocess.run(["rm", "-rf", root.path], check=True)
    assert (files, done) == (depth, depth + 1)
    assert most <= 40


def test_wide_folders_are_not_kept_in_memory(tmp_path: Path) -> None:
    """A walk over very many entries takes no more memory than one over few."""
    memory = "/dev/shm"  # noqa: S108 - a fast file system; what is made there has a random name.
    folder = memory if os.access(memory, os.W_OK) else str(tmp_path)
    program = """
    import os, resource, sys, tempfile
    from zeroizepy.shred.beneath import Opener
    from zeroizepy.shred.walk import DIRECTORY_FLAGS, Folder, count_files
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as path:
        def count():
            fd = os.open(path, DIRECTORY_FLAGS)
            status = os.fstat(fd)
            root = Folder(None, "", (status.st_dev, status.st_ino), shown=path, fd=fd)
            found = count_files(root, Opener(may_cross=False))
            os.close(fd)
            return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        def make(start, stop):
            for number in range(start, stop):
                os.mkdir(f"{path}/{number}") if number % 4 == 0 else os.mknod(f"{path}/{number}")
        make(0, 20_000)
        _, before = count()
        make(20_000, 120_000)
        found, after = count()
        print(found[0], (after - before) // 1024)
            """
    files, grown_mib = map(int, Child("auto").check(program, folder).split())
    assert files == 90_000
    assert grown_mib <= 4


def test_no_mount_is_entered(root: Folder, tmp_path: Path, opener: Opener) -> None:
    """A mount point inside the tree is met as what it is, be it another file system or another view of the same."""
    need_root()
    other, inside, bound = tmp_path / "other", tmp_path / "root" / "inside", tmp_path / "root" / "bound"
    for path in (other, inside, bound):
        path.mkdir()
    (other / "canary").write_text("x")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", inside], check=True)
    try:
        subprocess.run(["mount", "--bind", other, bound], check=True)
        try:
            (inside / "canary").write_text("x")
            assert sorted(walked(root, opener)) == ["done .", "mount_point bound", "mount_point inside"]
            crossing = Opener(may_cross=True)
            assert sorted(walked(root, crossing)) == [
                "done .", "done bound", "done inside", "file bound/canary", "file inside/canary",
            ]  # fmt: skip
        finally:
            subprocess.run(["umount", bound], check=True)
    finally:
        subprocess.run(["umount", inside], check=True)


def test_a_folder_that_was_swapped_is_not_gone_on_with(root: Folder, tmp_path: Path, opener: Opener) -> None:
    """When a folder has to be opened again and another stands there, that is an error and not another tree."""
    (tmp_path / "root" / "a").mkdir()
    with closing(Walker(root, opener)) as walker:
        (event, *_) = [each for each in walker.events() if isinstance(each, Finished)]
        walker.forget(event.folder)
        assert event.folder.name == "a"
        (tmp_path / "root" / "a").rename(tmp_path / "aside")
        (tmp_path / "root" / "a").mkdir()
        with pytest.raises(OSError, match="replaced by another directory"):
            walker.pin(event.folder)
        (tmp_path / "root" / "a").rmdir()
        (tmp_path / "root" / "a").symlink_to(tmp_path / "aside")
        with pytest.raises(OSError, match=f"{os.strerror(errno.ELOOP)}|{os.strerror(errno.ENOTDIR)}"):
            walker.pin(event.folder)


def test_an_unreadable_folder_is_an_obstacle() -> None:
    """A folder that may not be read is met as an obstacle, and what lies beside it is met all the same."""
    need_root()  # It becomes somebody else, who then lacks the right.
    program = """
    import os, sys
    sys.path.insert(0, sys.argv[2])
    from test_tree_walk import *
    fd = os.open(sys.argv[1], DIRECTORY_FLAGS)  # What it lies in may be closed to others.
    os.setgid(65534); os.setuid(65534)
    status = os.fstat(fd)
    root = Folder(None, "", (status.st_dev, status.st_ino), shown=sys.argv[1], fd=fd)
    print(sorted(walked(root, Opener(may_cross=False))))
    """
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)  # noqa: S103 - for the other user.
        os.mkdir(f"{path}/closed", 0o700)
        os.mkdir(f"{path}/open", 0o755)
        out = Child("auto").check(program, path, os.path.dirname(__file__))
    assert out.strip() == "['done .', 'done open', 'permission closed']"
