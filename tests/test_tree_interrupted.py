"""shred_tree after Ctrl-C, wherever it comes: what the report counts is what the disk shows, and each name is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.file import shred_tree
from zeroizepy.shred.batch import Batch
from zeroizepy.shred.folders import Folders
from zeroizepy.shred.steps import FileRun
from zeroizepy.shred.walk import Walker

if TYPE_CHECKING:
    from pathlib import Path

    from zeroizepy.file import TreeReport

pytestmark = [
    pytest.mark.filterwarnings("ignore:old bytes of:UserWarning"),
    pytest.mark.usefixtures("no_descriptor_stays"),
]

FILES, FOLDERS = 60, 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of 60 files in three folders."""
    path = tmp_path / "root"
    for number in range(FILES):
        folder = path / f"folder-{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(b"secret content. " * 200)
    return path


def interrupt_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, count: int, *, after: bool) -> None:
    """Have the call with this number be interrupted, before it does anything or when it is done."""
    original, calls = getattr(owner, name), []

    def wrapped(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == count and not after:
            raise KeyboardInterrupt
        answer = original(*arguments, **options)
        if len(calls) == count:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(owner, name, wrapped)


def interrupted(root: Path, **options: Any) -> TreeReport:
    """The report of a run that Ctrl-C ended."""
    with pytest.raises(KeyboardInterrupt) as caught:
        shred_tree(root, passes=1, **options)
    report: TreeReport = vars(caught.value)["report"]
    assert report.error == "interrupted"
    assert not report.complete
    return report


def check_counts(root: Path, report: TreeReport) -> None:
    """Compare what a report counts with what stands there."""
    files = sum(len(names) for _, _, names in os.walk(root))
    folders = sum(1 for _ in os.walk(root))
    assert report.unlinked == FILES - files
    assert report.directories_removed == FOLDERS - folders
    assert report.directories_left is None
    assert report.reasons.get("failed:interrupted", 0) + report.unlinked in (0, FILES)
    assert report.failed == report.reasons.get("failed:interrupted", 0)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        (Walker, "_enter", 2),
        (FileRun, "write_pass", 1),
        (FileRun, "write_pass", 40),
        (FileRun, "settle", 30),
        (Batch, "_hide_rows", 1),
        (Batch, "_hide_rows", 2),
        (Batch, "_remove", 1),
        (Batch, "_flush_names", 2),
        (Folders, "_hide_once", 2),
        (Folders, "_remove_one", 2),
        (Folders, "_flush", 1),
    ],
)
def test_counts_are_true(
    root: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, count: int, after: bool
) -> None:
    """Files and directories that are gone are counted as gone, and no others."""
    with monkeypatch.context() as patched:
        interrupt_at(patched, owner, name, count, after=after)
        report = interrupted(root)
    check_counts(root, report)
    assert shred_tree(root, passes=1).complete
    assert not root.exists()


def test_interrupted_while_descriptors_are_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the batch is counted, and no descriptor is closed twice, which would hide the interruption."""
    with monkeypatch.context() as patched:
        unpin, calls = Walker.unpin, []

        def failing(walker: Walker, folder: Any) -> None:
            unpin(walker, folder)
            if root_is_empty(root):
                calls.append(None)
                if len(calls) == 20:
                    raise KeyboardInterrupt

        patched.setattr(Walker, "unpin", failing)
        report = interrupted(root)
    assert len(calls) > 20
    check_counts(root, report)
    assert report.unlinked == FILES


def root_is_empty(root: Path) -> bool:
    """Whether no file is left."""
    return not any(names for _, _, names in os.walk(root))


@pytest.mark.parametrize("count", [1, 30, FILES])
def test_interrupted_while_reports_are_given(root: Path, count: int) -> None:
    """Files whose reports were not given out yet are counted, too."""
    given: list[str] = []

    def take(report: Any) -> None:
        given.append(report.path)
        if len(given) == count:
            raise KeyboardInterrupt

    check_counts(root, interrupted(root, on_report=take))
    assert len(given) == count


@pytest.mark.parametrize("count", [1, 2, 3])
def test_directories_get_their_names_back(root: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Directories that stay when their names were being hidden are called as before."""
    with monkeypatch.context() as patched:
        interrupt_at(patched, Folders, "_hide_once", count, after=True)
        interrupted(root)
    assert sorted(os.listdir(root)) == ["folder-0", "folder-1", "folder-2"]
