"""Shredding where little or no memory can be locked: the random passes need a key, and go without a lock for it."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.children import Child

# The kernel does not bind root to the limit, so the child gives up the capability for that, CAP_IPC_LOCK.
UNPRIVILEGED = """
import ctypes, resource, warnings
from pathlib import Path
from zeroizepy.exceptions import LockLimitError, SecureMemoryWarning
from zeroizepy.file import secure_delete, shred_tree, wipe_free_space
from zeroizepy.memory import set_policy, stats
libc, header, sets = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
assert libc.capget(header, sets) == 0
sets[0], sets[1] = sets[0] & ~(1 << 14), sets[1] & ~(1 << 14)
assert libc.capset(header, sets) == 0
folder = Path.cwd()
warnings.simplefilter("always")
NOTE = "stream_key_unlocked"
OLD = b"old content " * 20_000
def new(name):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(OLD)
    return path
"""
LIMITS = pytest.mark.parametrize("limit", [0, 64 << 10], ids=["0", "64 KiB"])


def check(child: Child, folder: Path, limit: int, body: str) -> list[str]:
    """What a program prints that runs in `folder`, where so many bytes can be locked."""
    lower = f"resource.setrlimit(resource.RLIMIT_MEMLOCK, ({limit}, {limit}))\n"
    return child.check(UNPRIVILEGED + lower + dedent(body), cwd=folder).split()


@LIMITS
def test_files(child: Child, tmp_path: Path, limit: int) -> None:
    """A file gets its random passes, read back; report and one warning tell whether their key was locked."""
    body = """
    path = new("file")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = secure_delete(path, verify=True, keep=True)
    content = path.read_bytes()
    print(len(content) == len(OLD) and len(set(content)) == 256 and b"content" not in content)
    print([each.pattern for each in report.passes] == ["random"] * 3 and report.full_passes == 3)
    print(NOTE in report.notes, [each.category for each in caught].count(SecureMemoryWarning))
    print(stats().cells)
    """
    unlocked = limit == 0
    assert check(child, tmp_path, limit, body) == ["True", "True", str(unlocked), str(int(unlocked)), "0"]


@LIMITS
def test_trees(child: Child, tmp_path: Path, limit: int) -> None:
    """A tree goes as a whole, and the note is counted for each of its files."""
    body = """
    for index in range(20):
        new(f"tree/{index}")
    report = shred_tree(folder / "tree", verify=True)
    print(report.complete, report.unlinked, report.notes.get(NOTE, 0), (folder / "tree").exists())
    """
    noted = "20" if limit == 0 else "0"
    assert check(child, tmp_path, limit, body) == ["True", "20", noted, "False"]


@LIMITS
def test_free_space(child: Child, tmp_path: Path, limit: int) -> None:
    """Free space is filled, and the notes say it when the key was not locked."""
    body = """
    report = wipe_free_space(folder, max_bytes=1 << 20)
    print(report.bytes_written, any("could not be locked" in note for note in report.notes))
    """
    assert check(child, tmp_path, limit, body) == [str(1 << 20), str(limit == 0)]


def test_two_files_differ(child: Child, tmp_path: Path) -> None:
    """Without a lock, too, each run draws a key of its own."""
    body = """
    paths = [new("one"), new("other")]
    for path in paths:
        secure_delete(path, passes=1, keep=True)
    print(paths[0].read_bytes()[:64] != paths[1].read_bytes()[:64])
    """
    assert check(child, tmp_path, 0, body) == ["True"]


@pytest.mark.parametrize("wish", ["set_policy('strict')", "warnings.simplefilter('error')"], ids=["strict", "error"])
def test_refused(child: Child, tmp_path: Path, wish: str) -> None:
    """Under policy "strict", and where warnings are errors, nothing is written; a pattern still is."""
    body = f"""
    path = new("file")
    {wish}
    warnings.filterwarnings("ignore", "old bytes of")
    try:
        secure_delete(path)
    except (LockLimitError, SecureMemoryWarning) as error:
        print(type(error).__name__)
    print(path.read_bytes() == OLD)
    warnings.simplefilter("ignore")
    print(secure_delete(path, pattern="zeros").unlinked)
    """
    kind = "LockLimitError" if "strict" in wish else "SecureMemoryWarning"
    assert check(child, tmp_path, 0, body) == [kind, "True", "True"]


def test_sessions_clean_up(child: Child, tmp_path: Path) -> None:
    """Where warnings are errors a session's files go all the same: its removal gives none."""
    body = """
    from zeroizepy.session import SecureSession
    warnings.simplefilter("error")
    with SecureSession() as session:
        path = session.create_temp_file(dir=folder)
        path.write_bytes(OLD)
    print(path.exists())
    """
    assert check(child, tmp_path, 0, body) == ["False"]
