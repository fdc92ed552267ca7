"""`zeroizepy recover`, as a user sees it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from support.sessions import SECRET, Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    Cli = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Folders for programs that are killed."""
    return Place(tmp_path)


def kill_one(place: Place) -> Path:
    """Have a session killed that holds one file. Returns the file's path."""
    _, lines, _ = place.run("os.kill(os.getpid(), signal.SIGKILL)")
    path = place.root / lines[0]
    assert path.read_bytes() == SECRET
    return path


def run(cli: Cli, place: Place, *arguments: str) -> Any:
    """The command in the test's folders."""
    return cli("recover", *arguments, **place.environment())


def test_nothing_to_do(cli: Cli, place: Place) -> None:
    """No journal, not even their directory: one line that says so, status 0, and nothing is made."""
    result = run(cli, place)
    assert (result.status, result.err) == (0, "")
    assert result.out == f"{place.state}: no session was killed, 0 live\n"
    assert not place.state.exists()


def test_it_shreds_and_says_what(cli: Cli, place: Place) -> None:
    """The directory, the file in it with its verdict, and a count; status 0; a second run finds nothing."""
    path = kill_one(place)
    result = run(cli, place)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == str(path.parent)
    assert lines[1].split() == ["directory", "removed"]
    assert lines[2].split()[:2] == ["shredded", f"{path}:"]
    assert lines[-1] == f"{place.state}: 1 killed, 1 file shredded, 0 live"
    assert not path.parent.exists()
    assert "no session was killed" in run(cli, place).out


def test_a_dry_run(cli: Cli, place: Place) -> None:
    """It names what would be shredded, touches nothing, and succeeds."""
    path = kill_one(place)
    result = run(cli, place, "--dry-run")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[1].split() == ["directory", "would", "remove"]
    assert result.out.splitlines()[-1] == f"{place.state}: 1 killed, nothing touched, 0 live"
    assert path.read_bytes() == SECRET


def test_as_json(cli: Cli, place: Place) -> None:
    """The whole report as one document."""
    path = kill_one(place)
    result = run(cli, place, "--json")
    document = json.loads(result.out)
    assert (result.status, document["error"], document["live"]) == (0, None, 0)
    (item,) = document["sessions"][0]["items"]
    assert (item["path"], item["outcome"], item["reports"][0]["path"]) == (str(path.parent), "removed", str(path))


def test_what_is_left_fails_until_it_is_forgotten(cli: Cli, place: Place) -> None:
    """A hard link: status 1 with fault and hint, also with --quiet, until --forget drops the record."""
    path = kill_one(place)
    os.link(path, place.other / "link")
    for flags in (["--quiet"], [], ["--forget", "--quiet"]):
        result = run(cli, place, *flags)
        assert result.status == 1
        fault, hint = result.errors()
        assert fault == f"zeroizepy: error: {path.parent}: {path.name}: has 2 names (hard links)"
        assert "--forget" in hint
        assert (result.out == "") is ("--quiet" in flags)
        if result.out:
            assert f"  left           {path}: refused (" in result.out
            assert result.out.splitlines()[-1].endswith(": 1 killed, 0 files shredded, 0 live")
    result = run(cli, place)
    assert (result.status, path.read_bytes()) == (0, SECRET)


def test_a_directory_that_others_can_enter(cli: Cli, place: Place) -> None:
    """Journals that others could have written are refused: fault and remedy, and no word on sessions."""
    place.state.mkdir()
    place.state.chmod(0o755)
    result = run(cli, place)
    assert result.status == 1
    fault, hint = result.errors()
    assert "must belong to the user and have mode 0700" in fault
    assert "ZEROIZEPY_STATE_DIR" in hint
    assert result.out == ""


def test_a_relative_directory(cli: Cli, tmp_path: Path) -> None:
    """Refused: fault with the value, remedy, status 1, and nothing is made."""
    result = cli("recover", "--json", ZEROIZEPY_STATE_DIR="state")
    assert (result.status, result.out) == (1, "")
    assert result.errors() == [
        "zeroizepy: error: ZEROIZEPY_STATE_DIR must be an absolute path, not 'state'",
        "zeroizepy: hint: give the whole path, or unset it",
    ]
    assert not (tmp_path / "state").exists()


def test_a_living_session_is_counted(cli: Cli, place: Place) -> None:
    """Its file stays, and the line says that one lives."""
    process = place.start("sys.stdin.read()")
    assert process.stdout is not None
    path = process.stdout.readline().strip()
    try:
        result = run(cli, place)
        assert (result.status, result.out) == (0, f"{place.state}: no session was killed, 1 live\n")
        assert os.path.exists(path)
    finally:
        process.communicate("")
    assert not os.path.exists(path)
