"""Names that another process swaps while they are shredded: nothing outside is touched, each call ends cleanly.

ZEROIZEPY_RACE_S is for how many seconds each race is run: 3 by default.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.children import Child

from zeroizepy.exceptions import FileAccessError, SecureWipeError
from zeroizepy.file import secure_delete, shred_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

RACE_S = float(os.environ.get("ZEROIZEPY_RACE_S", "3"))
LONGEST_S = 120.0
SECRET = os.urandom(20_000)
CANARY = os.urandom(9_000)

# Swaps the entry with each decoy and back, as fast as it can. A decoy that was unlinked under the entry's name, so that
# what it was swapped with is left in its place, is made again from its spare. RENAME_EXCHANGE leaves no moment in which
# one of the two names is missing.
SWAPPER = """
import ctypes, itertools, os, signal, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
entry, *decoys = sys.argv[1:]
def is_whole(decoy):
    found, spare = os.lstat(decoy), os.lstat(decoy + ".spare")
    return found.st_mode == spare.st_mode and found.st_nlink == spare.st_nlink
def renew(decoy):
    spare = decoy + ".spare"
    # A folder may still be gone through, so it is only put aside.
    os.rename(decoy, f"{decoy}.{swaps}") if stat.S_ISDIR(os.lstat(decoy).st_mode) else os.unlink(decoy)
    if os.path.islink(spare):
        os.symlink(os.readlink(spare), decoy)
    elif os.path.isdir(spare):
        os.mkdir(decoy)
    else:
        os.link(spare, decoy)
def exchange(decoy):
    return libc.renameat2(-100, os.fsencode(entry), -100, os.fsencode(decoy), 2)
def end(*_):
    print(swaps, flush=True)
    os._exit(0)
swaps = 0
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
for decoy in itertools.cycle(decoys):
    if not is_whole(decoy):
        renew(decoy)
    if exchange(decoy) == 0:
        swaps += 1
        exchange(decoy)
"""


@contextmanager
def swapping(entry: Path, *decoys: Path) -> Iterator[None]:
    """Another process swaps `entry` with the decoys while the block runs, and does so at least once."""
    child = Child("auto")
    command = child.command(SWAPPER, str(entry), *map(str, decoys))
    with subprocess.Popen(command, env=child.environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
            process.terminate()
            assert int(process.stdout.readline()) > 0
        finally:
            process.kill()


def until(seen: set[str], wanted: set[str]) -> Iterator[int]:
    """Numbers, at least three and for RACE_S seconds, and then until all that is wanted was seen."""
    stop = time.monotonic() + RACE_S
    number = 0
    while number < 3 or time.monotonic() < stop or not wanted <= seen:
        assert time.monotonic() < stop + LONGEST_S, f"there was only {seen}"
        yield number
        number += 1


def outcome(call: Callable[[], object]) -> tuple[str, str]:
    """The name and the text of the exception that a call ended with, or of the answer. Other exceptions get out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            answer = call()
        except (FileAccessError, SecureWipeError) as error:
            if error.report is None:
                raise
            return type(error).__name__, str(error)
        # What stands there is a directory by now, or its parent is none.
        except (IsADirectoryError, NotADirectoryError, FileNotFoundError) as error:
            return type(error).__name__, str(error)
    return type(answer).__name__, str(answer)


def put(path: str | Path, *, folder: int | None = None) -> None:
    """Make the file anew, unless something stands there; relative to an open folder where one is given."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    except (FileExistsError, NotADirectoryError, FileNotFoundError):
        return
    os.write(fd, SECRET)
    os.close(fd)


def put_into(folder: Path, name: str) -> None:
    """The same in a folder, unless that is a link now. It is opened first, for a moment later it may be one."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        return
    put(name, folder=fd)
    os.close(fd)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a canary that nobody names."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "canary").write_bytes(CANARY)
    return folder


def check_canary(path: Path, before: os.stat_result) -> None:
    """Same inode, same size, same times of content, same content."""
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert path.read_bytes() == CANARY


def decoys_for(folder: Path, canary: Path) -> list[Path]:
    """A symbolic link, a hard link and an empty directory, and spares of each."""
    folder.mkdir()
    made = []
    for name in ("symlink", "hard link", "directory"):
        made.append(folder / name)
        for path in (made[-1], made[-1].with_name(f"{name}.spare")):
            if name == "symlink":
                path.symlink_to(canary)
            elif name == "hard link":
                os.link(canary, path)
            else:
                path.mkdir()
    return made


def link_to(outside: Path, folder: Path) -> Path:
    """A symbolic link to a folder, and its spare."""
    folder.mkdir()
    for name in ("symlink", "symlink.spare"):
        (folder / name).symlink_to(outside)
    return folder / "symlink"


def test_a_name_that_is_swapped(tmp_path: Path, outside: Path) -> None:
    """A file is swapped with links to a canary and with a directory: the canary stays, and each call ends cleanly."""
    canary, work = outside / "canary", tmp_path / "work"
    work.mkdir()
    victim = work / "victim"
    before = canary.lstat()
    seen: set[str] = set()
    told = ""
    put(victim)
    with swapping(victim, *decoys_for(tmp_path / "decoys", canary)):
        for _ in until(seen, {"ShredReport", "FileAccessError"}):
            put(victim)
            name, text = outcome(lambda: secure_delete(victim, passes=1))
            seen.add(name)
            told += text
            check_canary(canary, before)
    # What a race moved and could not be given its name back was told of.
    assert [name for name in os.listdir(work) if name != "victim" and name not in told] == []


def test_a_parent_that_is_swapped(tmp_path: Path, outside: Path) -> None:
    """The folder's name leads outside now and then, where a file of that name has a second link: both names stay."""
    work = tmp_path / "work"
    work.mkdir()
    canary, second = outside / "victim", outside / "second"
    (outside / "canary").rename(canary)
    os.link(canary, second)
    before = canary.lstat()
    seen: set[str] = set()
    decoy = link_to(outside, tmp_path / "decoys")
    with swapping(work, decoy):
        for _ in until(seen, {"ShredReport"}):
            put(work / "victim")
            seen.add(outcome(lambda: secure_delete(work / "victim", passes=1))[0])
            check_canary(canary, before)
            check_canary(second, before)
    assert sorted(os.listdir(outside)) == ["second", "victim"]


def test_a_folder_in_a_tree_that_is_swapped(tmp_path: Path, outside: Path) -> None:
    """A folder inside the tree is a link to the outside now and then: no file there is touched, whatever its name."""
    canary = outside / "victim"
    (outside / "canary").rename(canary)
    before = canary.lstat()
    decoy = link_to(outside, tmp_path / "decoys")
    tree = tmp_path / "tree"
    seen: set[str] = set()
    with swapping(tree / "inner", decoy):
        for _ in until(seen, {"TreeReport"}):
            for number in range(3):
                (tree / "inner" if number == 2 else tree / f"{number}").mkdir(parents=True, exist_ok=True)
                put(tree / f"{number}" / "victim")
            put_into(tree / "inner", "own")
            seen.add(outcome(lambda: shred_tree(tree, passes=1))[0])
            check_canary(canary, before)
    assert os.listdir(outside) == ["victim"]
