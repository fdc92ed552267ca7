"""Dry runs of files that could not be written: refused as in a real run, with nothing opened for writing."""

from __future__ import annotations

import encodings.ascii  # noqa: F401 - another user may not look where it is.
import errno
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.children import TIMEOUT_S, need_root

from zeroizepy.exceptions import FileAccessError
from zeroizepy.file import ShredReport, secure_delete, shred_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the working folder, which its owner alone may write."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.chdir(folder)
    made = folder / "file"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", made)
    made.chmod(0o755)
    return made


def refused(**options: Any) -> FileAccessError:
    """What a run that has to be refused raises."""
    with pytest.raises(FileAccessError) as caught:
        secure_delete("file", passes=1, **options)
    return caught.value


def check_same(code: str, number: int, **options: Any) -> None:
    """A dry run is refused as a real run is, changes nothing, and says that this is what would be."""
    path = Path("file")  # Its folder's own path may be root's alone.
    content = path.read_bytes()
    before = path.stat()  # Between the two reads, each of which may set a time itself.
    planned = refused(dry_run=True, **options)
    assert path.stat() == before
    assert path.read_bytes() == content
    real = refused(**options)
    assert (planned.errno, planned.strerror) == (real.errno, real.strerror) == (number, real.strerror)
    report: ShredReport = planned.report
    assert (report.verdict, report.reasons, report.dry_run) == ("refused", (code,), True)
    assert (real.report.reasons, real.report.dry_run) == ((code,), False)
    assert str(report).startswith(f"file: would be refused: {planned.strerror}")


@contextmanager
def attribute(path: Path, letter: str) -> Iterator[None]:
    """Set one that chattr(1) sets."""
    if subprocess.run(["chattr", f"+{letter}", path], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root and a file system with chattr attributes")
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{letter}", path], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mount the folder over itself, read-only."""
    need_root()
    folder = path.parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        os.chdir(folder)  # The mount that is there now.
        yield
    finally:
        os.chdir("/")
        subprocess.run(["umount", folder], check=True)


@contextmanager
def running(path: Path) -> Iterator[None]:
    """Have a process execute it."""
    child = subprocess.Popen([path, str(TIMEOUT_S)])
    try:
        while os.readlink(f"/proc/{child.pid}/exe") != str(path):
            time.sleep(0.01)
        yield
    finally:
        child.terminate()
        child.wait()


@contextmanager
def another_user(_path: Path) -> Iterator[None]:
    """Be nobody, by the effective user alone."""
    need_root()
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("obstacle", "code", "number"),
    [
        (lambda path: attribute(path, "i"), "immutable", errno.EPERM),
        (lambda path: attribute(path, "a"), "append_only", errno.EPERM),
        (read_only, "permission", errno.EROFS),
        (running, "permission", errno.ETXTBSY),
        (another_user, "permission", errno.EACCES),
    ],
    ids=["immutable", "append-only", "read-only mount", "running", "another user's"],
)
def test_refusals(path: Path, obstacle: Callable[[Path], Any], code: str, number: int) -> None:
    """By attribute, mount, use and permission: the same error as in a real run."""
    with obstacle(path):
        check_same(code, number)


def test_trees_count_them(path: Path) -> None:
    """A dry run over a tree expects the refusals, and the other files to be done."""
    (path.parent / "other").write_text("x" * 100)
    reports: list[ShredReport] = []
    with running(path):
        found = shred_tree(path.parent, dry_run=True, on_report=reports.append)
    assert (found.verdicts["refused"], found.files, found.failed) == (1, 2, 1)
    assert [str(each).partition(": ")[2][:16] for each in reports if each.error] == ["would be refused"]


def test_force_gives_the_owner_permission(path: Path) -> None:
    """With force the owner's missing permission is no refusal to come, as it is none in the run itself."""
    need_root()
    os.chown(path, 65534, 65534)
    path.chmod(0o444)
    with another_user(path):
        assert refused(dry_run=True).errno == errno.EACCES
        assert secure_delete("file", dry_run=True, force=True).error is None
        assert (Path("file").stat().st_mode & 0o777) == 0o444
        assert secure_delete("file", passes=1, force=True).unlinked


def test_a_file_that_cannot_be_read_for_a_plan(path: Path) -> None:
    """Where force would first have to give permission to read, a dry run says that and changes nothing."""
    need_root()
    os.chown(path, 65534, 65534)
    path.chmod(0o000)
    with another_user(path):
        error = refused(dry_run=True, force=True)
        assert "cannot be read for a plan" in str(error)
    assert (path.stat().st_mode & 0o777) == 0


def test_overlay_copies_nothing_up(tmp_path: Path) -> None:
    """A file of a lower layer stays there: a dry run opens nothing for writing."""
    need_root()
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for each in (lower, upper, work, merged):
        each.mkdir()
    (lower / "file").write_text("x" * 5000)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", merged], check=False).returncode != 0:
        pytest.skip("needs overlay")
    try:
        assert secure_delete(merged / "file", dry_run=True).error is None
        assert os.listdir(upper) == []
        os.close(os.open(merged / "file", os.O_RDWR))
        assert os.listdir(upper) == ["file"], "the control: an open for writing copies it up"
    finally:
        subprocess.run(["umount", merged], check=True)
