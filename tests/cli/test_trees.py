"""A directory as the command line shows it: counts by verdict, failures, JSON, and one failure line."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.cli import errors, trees
from zeroizepy.cli.console import Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERDICTS = ("overwritten", "not_in_place")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of twelve files."""
    for number in range(12):
        folder = tmp_path / "root" / f"folder-{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(b"x" * 5000)
    return tmp_path / "root"


def shown(capsys: pytest.CaptureFixture[str], outcome: trees.TreeOutcome) -> str:
    """What stdout gets for a tree."""
    assert outcome.report is not None
    trees.show_tree(Output(), outcome.report)
    return capsys.readouterr().out


def test_a_tree_that_went(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each verdict with its count; no failure; JSON that can be written."""
    outcome = trees.shred_one_tree(str(root), quiet=True, options={"passes": 1})
    out = shown(capsys, outcome)
    assert outcome.failure is None
    assert not root.exists()
    assert out.splitlines()[0].split() in [["verdict", f"{name}:", "12"] for name in VERDICTS]
    assert "12 unlinked; directories: 4 removed, 0 left" in out
    assert outcome.report is not None
    assert json.loads(outcome.report.to_json())["unlinked"] == 12


@pytest.mark.parametrize("end", [".", "..", "./", "folder-0/.."])
def test_a_directory_needs_its_own_name(root: Path, end: str) -> None:
    """A path that ends in no name of its own is refused with a remedy, and nothing in it is touched."""
    outcome = trees.shred_one_tree(f"{root}/{end}", quiet=True, options={"passes": 1})
    assert outcome.failure is not None
    assert outcome.failure.fault == f"{root}/{end}: does not end in the directory's own name"
    assert "directory above" in (outcome.failure.hint or "")
    assert sum(len(files) for _, _, files in os.walk(root)) == 12


def test_verdicts_are_named_as_for_one_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What had no bytes is "nothing to overwrite", with the words that a single path gets."""
    (root / "empty").touch()
    out = shown(capsys, trees.shred_one_tree(str(root), quiet=True, options={"passes": 1}))
    assert "nothing to overwrite: 1" in out


def test_failures_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The failure line names the first one and how many there are; the list has each of them, escaped."""
    for name in ("locked", "also\x1b[31m"):
        (root / name).write_text("x")
        (root / name).chmod(0o400)
    outcome = trees.shred_one_tree(str(root), quiet=True, options={"passes": 1})
    out = shown(capsys, outcome)
    assert outcome.failure is not None
    assert outcome.failure.status == errors.FAILED
    assert "2 files or directories failed, such as" in outcome.failure.fault
    assert out.count("failed ") == 2
    assert "\x1b[31m" not in out


def test_the_remedy_names_this_commands_option(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first failure's remedy is an option of the command and no Python argument."""
    (root / "first").write_text("x")
    os.link(root / "first", root / "second")
    outcome = trees.shred_one_tree(str(root), quiet=True, options={"passes": 1})
    assert "allow_hard_links" not in shown(capsys, outcome)
    assert outcome.failure is not None
    assert outcome.failure.fault.endswith("has 2 names (hard links)")
    assert outcome.failure.hint == "--allow-hard-links overwrites the content of all of them"


def test_a_dry_run_shows_what_is_expected(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of the verdicts to come, and nothing that claims to have happened."""
    out = shown(capsys, trees.shred_one_tree(str(root), quiet=True, options={"dry_run": True}))
    assert out.splitlines()[0].split()[0] == "expected"
    assert "unlinked" not in out
    assert len([path for path in root.rglob("*") if path.is_file()]) == 12


def test_a_list_that_cannot_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends at the first entry that the list does not take, and has a report that says so."""

    def fail(_fd: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trees, "write_all", fail)
    with trees.keep_list(str(root.parent / "list"), (str(root),)) as more:
        outcome = trees.shred_one_tree(str(root), quiet=True, options={"passes": 1, **more})
    assert outcome.failure is not None
    told = f"the list {root.parent}/list is not complete: No space left on device"
    assert outcome.failure.fault == f"{root}: {told}"
    assert outcome.report is not None
    assert str(outcome.report.error).endswith(told)
    assert root.exists()


def test_what_is_no_directory(tmp_path: Path) -> None:
    """A missing path and a file: one failure each, with the path."""
    (tmp_path / "file").write_text("x")
    missing = trees.shred_one_tree(str(tmp_path / "missing"), quiet=True, options={})
    file = trees.shred_one_tree(str(tmp_path / "file"), quiet=True, options={})
    assert missing.failure is not None
    assert missing.failure.fault == f"{tmp_path}/missing: no such directory"
    assert file.failure is not None
    assert (file.failure.fault, file.failure.hint) == (
        f"{tmp_path}/file: is not a directory",
        "secure_delete takes what is none",
    )


def test_the_bar_ends_where_the_bytes_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look beforehand gives the whole, read-backs included, and what is done never passes it."""
    seen: list[tuple[int, int]] = []

    class Bar:
        def __call__(self, done: int, total: int) -> None:
            seen.append((done, total))

    class Shown:
        def __enter__(self) -> Bar:
            return Bar()

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(trees, "progress_bar", lambda *_, **__: Shown())
    outcome = trees.shred_one_tree(str(root), quiet=False, options={"passes": 2, "verify": True})
    assert outcome.failure is None
    assert seen[0][1] >= 12 * 5000 * 3
    assert all(done <= total for done, total in seen)
    assert seen[-1][0] == seen[-1][1] >= 12 * 5000 * 3


def test_interruption_says_what_stands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: status 130, and how many files stay in which state."""

    class Bar:
        def __call__(self, *_: int) -> None:
            raise KeyboardInterrupt

    class Shown:
        def __enter__(self) -> Bar:
            return Bar()

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(trees, "progress_bar", lambda *_, **__: Shown())
    outcome = trees.shred_one_tree(str(root), quiet=False, options={"passes": 2})
    assert outcome.failure is not None
    assert outcome.failure.status == errors.INTERRUPTED
    assert "12 files stay, partly overwritten or under a random name" in outcome.failure.fault
    assert sum(len(files) for _, _, files in os.walk(root)) == 12


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_interruption_on_the_command_line(root: Path, run_script: Callable[..., Any], as_json: bool) -> None:
    """Status 130; lines and JSON say which files are gone, and of the directories that the others stand."""
    (root.parent / "later").mkdir()
    preparation = """
        from zeroizepy.shred.batch import Batch
        remove = Batch._remove
        def interrupt(batch):
            remove(batch)
            raise KeyboardInterrupt
        Batch._remove = interrupt
        """
    arguments = ("shred", "-r", "--yes", "-n", "1", "root", "later")
    done = run_script(preparation, *arguments, *(["--json"] if as_json else []))
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        "zeroizepy: error: interrupted: 12 files of root are unlinked",
        "zeroizepy: error: not begun: later",
    ]
    if not as_json:
        assert "12 unlinked; directories: 0 removed, the others stand" in done.stdout
    else:
        document = json.loads(done.stdout)
        tree, later = document["directories"][0], document["files"][0]
        assert (tree["unlinked"], tree["directories_removed"], tree["directories_left"]) == (12, 0, None)
        assert tree["error"] == "interrupted: 12 files of root are unlinked"
        assert later == {"path": "later", "error": "not begun: later"}
    assert sorted(os.listdir(root)) == ["folder-0", "folder-1", "folder-2"]


def test_interruption_behind_the_last_path(root: Path, run_script: Callable[..., Any]) -> None:
    """When all is done, Ctrl-C still gives 130, and the JSON is printed."""
    preparation = """
        from zeroizepy.cli import shredding
        each = shredding._each
        def then_interrupt(*arguments):
            yield from each(*arguments)
            raise KeyboardInterrupt
        shredding._each = then_interrupt
        """
    done = run_script(preparation, "shred", "-r", "--yes", "-n", "1", "--json", "root")
    assert (done.returncode, done.stderr) == (130, "zeroizepy: error: interrupted\n")
    assert json.loads(done.stdout)["directories"][0]["unlinked"] == 12
    assert not root.exists()
