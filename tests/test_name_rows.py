"""Names of a batch that the core takes away together, and what is not ordinary among them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from zeroizepy.file import shred_tree
from zeroizepy.shred import name_rows, target
from zeroizepy.shred.name_rows import NameRows
from zeroizepy.shred.name_steps import NameRun
from zeroizepy.shred.names import NameReplacedError
from zeroizepy.shred.options import ShredOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="needs Linux: renameat2")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A descriptor of the test's directory."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def run_of(directory: int, path: Path) -> NameRun:
    """A fresh file under this path, open, on its way out."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    found = target.Target(str(path), directory, path.name, os.fstat(fd))
    return NameRun(found, fd, ShredOptions(), time.monotonic(), "test")


def test_runs_learn_where_they_stand(directory: int, tmp_path: Path) -> None:
    """After some steps each run has its file's present name, and says whether it is hidden and gone."""
    hidden, gone = run_of(directory, tmp_path / "hidden"), run_of(directory, tmp_path / "gone")
    rows = NameRows([(hidden, (6, 3)), (gone, ())])
    assert len(rows) == 2
    assert rows.hide(0) == rows.hide(1) == []
    assert (hidden.name, hidden.renamed) == ("hidden", False)
    rows.put_back()
    assert (hidden.renamed, hidden.unlinked, len(hidden.name)) == (True, False, 3)
    assert (gone.renamed, gone.unlinked, gone.name) == (False, False, "gone")
    assert (len(rows), hidden in rows) == (0, False)
    rows = NameRows([(gone, ())])
    rows.unlink()
    rows.put_back()
    assert gone.unlinked
    assert os.listdir(tmp_path) == [hidden.name]


def test_names_without_a_row(directory: int, tmp_path: Path) -> None:
    """A name that no row can hold stays with its run; one of bytes that are no text has a row like any other."""
    fits, odd = run_of(directory, tmp_path / "fits"), run_of(directory, tmp_path / os.fsdecode(b"\xff\xfe"))
    fits.name = "x" * 256
    rows = NameRows([(fits, ()), (odd, (2,)), (odd, (1,) * 11)])
    assert fits not in rows
    assert rows.hide(0) == []
    rows.unlink()
    rows.put_back()
    assert (odd.renamed, odd.unlinked, fits.unlinked) == (True, True, False)


def test_a_replaced_name_goes_back_to_its_run(directory: int, tmp_path: Path) -> None:
    """The run takes the step by itself, and finds what is wrong; the other file is left alone."""
    run, other = run_of(directory, tmp_path / "name"), run_of(directory, tmp_path / "other")
    (tmp_path / "name").rename(tmp_path / "aside")
    (tmp_path / "name").write_text("a bystander's")
    rows = NameRows([(run, (4,)), (other, (5,))])
    assert rows.hide(0) == []
    assert (run in rows, other in rows) == (False, True)
    with pytest.raises(NameReplacedError):
        run.hide(4)
    rows.put_back()
    assert other.renamed
    assert (tmp_path / "name").read_text() == "a bystander's"


@pytest.mark.parametrize("taken", [False, True], ids=["name-free", "name-taken-again"])
def test_a_bystander_that_was_renamed_gets_its_name_back(directory: int, tmp_path: Path, *, taken: bool) -> None:
    """Where it cannot have it back, because another has it by now, the error says what it is called."""
    run = run_of(directory, tmp_path / "name")
    (tmp_path / "hidden").write_text("a bystander's")
    (tmp_path / "name").rename(tmp_path / "aside")
    if taken:
        (tmp_path / "name").write_text("another's")
    rows = NameRows([(run, (4,))])
    row = rows._rows[0]  # As the core leaves it when somebody came between its check and its rename.
    row.error, row.astray, row.hidden = 116, 1, b"hidden"
    ((same, error),) = rows._after(1)
    assert same is run
    assert isinstance(error, NameReplacedError)
    assert ("hidden" in str(error)) is taken
    assert (tmp_path / ("hidden" if taken else "name")).read_text() == "a bystander's"
    assert run not in rows


@pytest.mark.parametrize("step", ["hide", "unlink"])
def test_a_core_without_such_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Where the core can take no step on names, each file takes all of them by itself."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(40):
        (root / f"file-{number:03d}").write_bytes(b"x" * 100)

    def refuse(rows: object, count: int, *_: int) -> int:
        for row in rows:  # type: ignore[attr-defined]
            row.error = 38
        return count

    real = name_rows.lib

    class Core:
        def __getattr__(self, name: str) -> object:
            return refuse if name == f"zpy_names_{step}" else getattr(real, name)

    monkeypatch.setattr(name_rows, "lib", Core())
    report = shred_tree(root, passes=1)
    assert (report.unlinked, report.failed, root.exists()) == (40, 0, False)
