"""`zeroizepy wipe-free`, as a user sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    Cli = Callable[..., Any]

MIB = 1 << 20


def test_what_was_covered_and_what_not(cli: Cli, tmp_path: Path) -> None:
    """The folder, how much, why it ended, what is not covered; nothing is left there."""
    result = cli("wipe-free", ".", "--limit", "1M")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "."
    assert "  overwritten    1.0 MiB, until the limit was reached" in lines
    assert any(line.startswith("  note") and "journal" in line for line in lines)
    assert os.listdir(tmp_path) == []


def test_json(cli: Cli) -> None:
    """The report as the library has it, and nothing else."""
    result = cli("wipe-free", ".", "--limit=8192", "--json")
    assert (result.status, result.err) == (0, "")
    report = json.loads(result.out)
    assert (report["directory"], report["bytes_written"], report["stopped_by"]) == (".", 8192, "limit")


def test_quiet(cli: Cli) -> None:
    """No output at all."""
    result = cli("wipe-free", ".", "--limit=4096", "--quiet")
    assert (result.status, result.out, result.err) == (0, "", "")


def test_dry_run(cli: Cli, tmp_path: Path) -> None:
    """How much is free, as the file system counts it; nothing is written."""
    before = tmp_path.stat().st_mtime_ns
    result = cli("wipe-free", ".", "--dry-run")
    assert result.status == 0
    assert re.search(r"would fill +about \d+\.\d (G|M)iB", result.out)
    assert tmp_path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", "1M"], "about 1.0 MiB, until the limit was reached"),
        (["--limit", "0"], "about 0 bytes, until the limit was reached"),
        (["--reserve", "999999T"], "about 0 bytes, until the reserve was reached"),
        (["--reserve", "4096", "--limit", "20K"], "about 20.0 KiB, until the limit was reached"),
    ],
)
def test_dry_run_heeds_reserve_and_limit(cli: Cli, options: list[str], expected: str) -> None:
    """It shows what a run with these options would fill, and what would stop it."""
    result = cli("wipe-free", ".", "--dry-run", *options)
    assert (result.status, result.err) == (0, "")
    assert f"would fill     {expected}" in result.out


def test_notes_name_options_and_not_arguments(cli: Cli) -> None:
    """The library's remedy names its argument, and the command line's its option."""
    result = cli("wipe-free", ".", "--dry-run")
    assert "not covered; --inodes overwrites them" in result.out
    assert "=True" not in result.out


def test_options_reach_the_library(run_script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Each option is the argument that it stands for; without them nothing is asked for."""
    preparation = """
        import zeroizepy.file
        def show(directory, **options):
            del options["progress"]
            print(directory, options)
            raise SystemExit(0)
        zeroizepy.file.wipe_free_space = show
    """
    options = ("--reserve=1G", "--rate=32K", "--limit=16k", "--inodes", "--trim", "--dry-run")
    asked = {
        "dry_run": True,
        "reserve_bytes": 1 << 30,
        "max_bytes": 16384,
        "max_bytes_per_s": 32768,
        "inodes": True,
        "trim": True,
    }
    usual = {**asked, "dry_run": False, "reserve_bytes": 0, "max_bytes": None, "max_bytes_per_s": None}
    usual |= {"inodes": False, "trim": False}
    assert run_script(preparation, "wipe-free", "d", *options).stdout == f"d {asked}\n"
    assert run_script(preparation, "wipe-free", "d").stdout == f"d {usual}\n"


def test_a_trim_that_is_refused(run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """It was asked for, so it is an error, also with --quiet, and the report of the filling comes all the same."""
    preparation = """
        import errno
        import zeroizepy.shred.freespace
        def refuse(directory):
            raise OSError(errno.EPERM, "refused")
        zeroizepy.shred.freespace.trim = refuse
    """
    done = run_script(preparation, "wipe-free", str(tmp_path), "--limit=64K", "--trim")
    assert (done.returncode, "trimmed" in done.stdout) == (1, True)
    assert "was filled, but not trimmed: Operation not permitted" in done.stderr
    assert run_script(preparation, "wipe-free", str(tmp_path), "--limit=64K", "--trim", "--quiet").returncode == 1
    assert run_script(preparation, "wipe-free", str(tmp_path), "--limit=64K", "--quiet").returncode == 0


def test_reserve_beyond_what_is_free(cli: Cli) -> None:
    """Nothing is written, and the reason is given."""
    assert "until the reserve was reached" in cli("wipe-free", ".", "--reserve=900T").out


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("8k", 8192), ("8KiB", 8192), ("1M", MIB), ("1MB", MIB), (" 1MiB", MIB)]
)
def test_sizes(cli: Cli, text: str, size: int) -> None:
    """Bytes, or units of 1024."""
    assert json.loads(cli("wipe-free", ".", f"--limit={text}", "--json").out)["bytes_written"] == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5G", "1X", "1 M B", "9" * 30])
def test_bad_sizes(cli: Cli, text: str) -> None:
    """Status 2 and the value; nothing is written."""
    result = cli("wipe-free", ".", f"--limit={text}")
    assert (result.status, result.out) == (2, "")
    assert repr(text) in result.errors()[0]


def test_bad_rate_and_paths(cli: Cli, tmp_path: Path) -> None:
    """Each in one line with its remedy."""
    (tmp_path / "file").touch()
    assert "at least 1 byte per second" in cli("wipe-free", ".", "--rate=0").errors()[0]
    assert cli("wipe-free", "missing").errors() == [
        "zeroizepy: error: missing: no such file or directory",
        "zeroizepy: hint: check how the path is written; a missing folder is not made",
    ]
    assert cli("wipe-free", "file").errors()[0] == "zeroizepy: error: file: not a directory"
    assert cli("wipe-free", "").status == 2


def has_filler(pid: int) -> bool:
    """Whether a process has a file open that has no name; False when it closes one while we look."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        return any(os.readlink(f"{folder}/{name}").endswith("(deleted)") for name in os.listdir(folder))
    return False


def test_ctrl_c_gives_the_space_back(program: list[str], tmp_path: Path) -> None:
    """Status 130, one line with how far it came, no file left."""
    command = [*program, "wipe-free", ".", "--rate=256K", "--limit=16M"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not has_filler(process.pid):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(r"zeroizepy: error: interrupted after .*; the space is free again\n", err)
    assert os.listdir(tmp_path) == []


def test_progress_on_a_terminal(terminal: Callable[..., tuple[int, bytes]]) -> None:
    """A bar while it runs, then the report."""
    status, shown = terminal("wipe-free", ".", "--limit=1M", "--rate=1M")
    assert status == 0
    assert b"\x1b[" in shown
    assert "━".encode() in shown
    assert b"until the limit was reached" in shown


def test_help_has_the_limits(cli: Cli) -> None:
    """What is not covered stands where the user acts."""
    text = " ".join(cli("wipe-free", "--help").out.split())
    for word in ("Not covered", "journal", "flash", "--reserve", "130"):
        assert word in text
