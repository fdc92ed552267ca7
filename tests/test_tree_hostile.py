"""shred_tree among enemies: names that are swapped meanwhile, kills at any moment, and going on afterwards."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.children import TIMEOUT_S, Child

from zeroizepy.file import shred_tree
from zeroizepy.shred import batch, names, trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")]

RACE_S = float(os.environ.get("ZEROIZEPY_RACE_S", "5"))
"""How long the races run."""

WRITTEN = ("overwritten", "not_in_place")

# Exchanges names in the tree with links to what lies outside, and back, as fast as it can.
ATTACKER = """
import ctypes, os, random, sys
root, traps = sys.argv[1], dict(each.split("=") for each in sys.argv[2:])
def reset(trap):
    if not os.path.islink(trap):
        os.rename(trap, f"{os.path.dirname(root)}/aside-{random.getrandbits(64):x}") if os.path.lexists(trap) else None
        os.symlink(traps[trap], trap)
libc = ctypes.CDLL(None)
swaps = 0
print("ready", flush=True)
try:
    while True:
        folders = [root]
        for path in folders[:40]:
            try:
                entries = list(os.scandir(path))
            except OSError:
                continue
            random.shuffle(entries)
            for entry in entries[:8]:
                trap = random.choice(list(traps))
                reset(trap)
                name, link = os.fsencode(entry.path), trap.encode()
                if libc.renameat2(-100, name, -100, link, 2) == 0:
                    for _ in range(random.randrange(300)):
                        pass
                    libc.renameat2(-100, name, -100, link, 2)
                    swaps += 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
except BaseException:
    print(swaps, flush=True)
"""


def state_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that would show that somebody touched a folder: names, inodes, times, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_ino, status.st_mode, status.st_nlink, status.st_mtime_ns, content)
    return found


def fill(root: Path, files: int) -> None:
    """A tree of some levels with so many files."""
    for number in range(files):
        folder = root / f"a{number % 3}" / f"b{number % 6}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number:04d}").write_bytes(b"secret content. " * 100)


@pytest.mark.parametrize("call", ["openat2", "step by step"])
def test_swapped_names_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """While names of files and folders turn into links to the outside and back, nothing outside changes."""
    if not hasattr(ctypes.CDLL(None), "renameat2"):
        pytest.skip("needs renameat2 in the C library, to swap names in one step")
    if call == "step by step":
        opener = trees.Opener

        def without(**arguments: Any) -> Any:
            made = opener(**arguments)
            made.has_openat2 = False
            return made

        monkeypatch.setattr(trees, "Opener", without)
    outside, root = tmp_path / "outside", tmp_path / "root"
    fill(outside, 20)
    before = state_of(outside)
    traps = []
    for name, target in (("folder", outside / "a0"), ("file", outside / "a0" / "b0" / "file-0000"), ("up", tmp_path)):
        traps.append(f"{tmp_path}/trap-{name}={target}")
    attacker = subprocess.Popen(Child("auto").command(ATTACKER, str(root), *traps), stdout=subprocess.PIPE, text=True)
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "ready\n"
        stop, runs = time.monotonic() + RACE_S, 0
        while time.monotonic() < stop or not runs:
            fill(tmp_path / "fresh", 60)
            (tmp_path / "fresh").rename(root)
            shred_tree(root, passes=1)
            runs += 1
            if root.exists():  # What was elsewhere at the time came back.
                root.rename(tmp_path / f"left-{runs}")
            assert state_of(outside) == before
    finally:
        attacker.send_signal(signal.SIGINT)
        swaps = attacker.communicate()[0]
    assert int(swaps) > 20
    assert state_of(outside) == before


# ---- kills ----

RUN = """
import os, sys, warnings
from zeroizepy.file import shred_tree
from zeroizepy.shred import trees
warnings.simplefilter("ignore")
trees._BATCH_FILES = 24
print("ready", flush=True)
report = shred_tree(sys.argv[1], passes=2, journal=sys.argv[2])
print(report.existed, report.unlinked, sum(report.earlier.values()), report.failed, report.resumed, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_moment_and_gone_on_with(tmp_path: Path, number: signal.Signals) -> None:
    """However often a run is killed: in the end all is gone, nothing else is, and every file was counted once."""
    outside, root, journal = tmp_path / "outside", tmp_path / "root", tmp_path / "journal"
    fill(outside, 10)
    before = state_of(outside)
    kills, turn, whole_s = 0, 0, float(TIMEOUT_S)
    while turn < 7 or kills < 3:
        turn += 1
        assert turn < 60
        fill(root, 240)
        left, tries, began = 240, 0, time.monotonic()
        while root.exists() or journal.exists():
            process = subprocess.Popen(
                Child("auto").command(RUN, str(root), str(journal)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            started = time.monotonic()
            try:
                # The first turn shows how long a run takes. In the others the first run is killed early or late, and
                # the next ones later and later, so that one comes to its end.
                process.wait(timeout=random.uniform(whole_s if turn == 1 else 0, whole_s) + tries * whole_s / 4)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                kills += 1
            else:
                if tries == 0:  # The machine may be faster now than it was.
                    whole_s = time.monotonic() - started
            tries += 1
            out, error = process.communicate()
            if out:
                existed, unlinked, earlier, failed, resumed = out.split()
                if existed == "False":  # Killed between the removal of the root and that of the journal.
                    journal.unlink()
                    break
                assert (failed, int(unlinked) + int(earlier)) == ("0", left), (turn, out)
                assert int(resumed) <= 2 * 24  # Of one batch the names go while the next is overwritten.
            elif process.returncode == 1:
                assert "KeyboardInterrupt" in error, error
            assert time.monotonic() < began + 900, "it does not come to its end"
        assert not root.exists()
    assert state_of(outside) == before


def stopped(monkeypatch: pytest.MonkeyPatch, where: str) -> Callable[[], None]:
    """Let a batch stop at one of its steps. Returns what ends that."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    context = pytest.MonkeyPatch()
    context.setattr(batch.Batch, where, stop)
    monkeypatch.setattr(trees, "_BATCH_FILES", 50)
    return context.undo


@pytest.mark.parametrize("where", ["_overwrite", "_cut", "_hide", "_flush_names"])
def test_what_was_overwritten_before_the_kill_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Files that were cut to nothing when the run ended keep the verdict that they had by then."""
    root, journal = tmp_path / "root", str(tmp_path / "journal")
    fill(root, 30)
    undo = stopped(monkeypatch, where)
    with pytest.raises(KeyboardInterrupt):
        shred_tree(root, passes=1, journal=journal)
    undo()
    assert len([path for path in root.rglob("*") if path.is_file()]) == 30
    report = shred_tree(root, passes=1, journal=journal)
    assert (report.unlinked, report.resumed, report.notes["resumed"]) == (30, 30, 30)
    assert sum(report.verdicts.get(verdict, 0) for verdict in WRITTEN) == 30
    assert report.size_bytes == 30 * 1600
    assert "nothing_to_overwrite" not in report.verdicts
    assert sorted(os.listdir(tmp_path)) == []


def test_done_batches_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run had finished is in its counts, and not met again."""
    root, journal = tmp_path / "root", str(tmp_path / "journal")
    fill(root, 60)
    monkeypatch.setattr(trees, "_BATCH_FILES", 20)
    calls = []

    def progress(files: int, _written: int) -> None:
        calls.append(files)
        if files >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shred_tree(root, passes=1, journal=journal, progress=progress)
    report = shred_tree(root, passes=1, journal=journal)
    assert (report.unlinked, sum(report.earlier.values())) == (20, 40)


def test_a_journal_is_for_one_run(tmp_path: Path) -> None:
    """Another root and other options are refused, by name, before anything is touched."""
    first, second, journal = tmp_path / "first", tmp_path / "second", tmp_path / "journal"
    for root in (first, second):
        fill(root, 5)

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shred_tree(first, passes=1, journal=journal, progress=stop)
    before = state_of(second)
    for path, changes, name in (
        (second, {}, "root"),
        (first, {"passes": 2}, "passes"),
        (first, {"pattern": b"abc"}, "pattern"),
        (first, {"scheme": "nist-clear", "passes": 3}, "scheme"),
        (first, {"keep_directories": True}, "keep_directories"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*differ"):
            shred_tree(path, **{"passes": 1, "journal": journal, **changes})  # type: ignore[arg-type]
    assert state_of(second) == before
    assert shred_tree(first, passes=1, journal=journal).complete
    assert not journal.exists()


def test_a_journal_tells_no_names_and_no_content(tmp_path: Path) -> None:
    """What a run is there to remove does not come back in its journal."""
    root, journal = tmp_path / "very-secret-root", tmp_path / "journal"
    fill(root, 5)
    contents = []
    shred_tree(root, passes=1, journal=journal, progress=lambda *_: contents.append(journal.read_bytes()))
    assert contents
    for content in contents:
        assert b"very-secret" not in content
        assert b"file-0" not in content
        assert b"secret content" not in content


def test_a_journal_in_the_tree_is_refused(tmp_path: Path) -> None:
    """It would be shredded with the rest; through a link, too."""
    root = tmp_path / "root"
    fill(root, 5)
    (tmp_path / "alias").symlink_to(root / "a0")
    for path in (root / "journal", root / "a0" / "b0" / "journal", tmp_path / "alias" / "journal"):
        with pytest.raises(ValueError, match="journal must not lie in the directory"):
            shred_tree(root, journal=path)
    assert len([path for path in root.rglob("file-*") if path.is_file()]) == 5


def test_somebody_elses_file_as_journal(tmp_path: Path) -> None:
    """A file that is no journal is not overwritten, and nothing is shredded."""
    root, letter = tmp_path / "root", tmp_path / "letter"
    fill(root, 5)
    letter.write_text("Dear Sir or Madam,")
    with pytest.raises(FileExistsError, match="left alone"):
        shred_tree(root, journal=letter)
    assert letter.read_text() == "Dear Sir or Madam,"
    assert len([path for path in root.rglob("file-*") if path.is_file()]) == 5


@pytest.mark.parametrize("taken", [False, True], ids=["name-free", "name-taken-again"])
def test_a_directory_that_is_swapped_in_keeps_its_name_or_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, taken: bool
) -> None:
    """A directory moved into place just before the rename gets its name back, or the report says what it is called."""
    root, bystander = tmp_path / "root", tmp_path / "bystander"
    (root / "inner").mkdir(parents=True)
    bystander.mkdir()
    (bystander / "precious").write_bytes(b"precious")
    rename = names.rename_noreplace
    swapped: list[str] = []

    def swapping(directory: int, name: str, new_name: str) -> None:
        first = name == "inner" and not swapped
        if first:
            swapped.append(new_name)
            (root / "inner").rename(tmp_path / "aside")
            bystander.rename(root / "inner")
        rename(directory, name, new_name)
        if first and taken:
            (root / "inner").mkdir()

    monkeypatch.setattr(names, "rename_noreplace", swapping)
    report = shred_tree(root)
    kept = swapped[0] if taken else "inner"
    assert (root / kept / "precious").read_bytes() == b"precious"
    errors = [failure.error or "" for failure in report.failures]
    assert any((repr(kept) if taken else "that file was left alone") in error for error in errors), errors
