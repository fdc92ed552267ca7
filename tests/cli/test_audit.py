"""`audit`, run as a user runs it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.file import ShredReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., Any]


def test_transcript(cli: Cli, tmp_path: Path) -> None:
    """Append, sign, keep the head, verify against both."""
    report = ShredReport(path="secret.txt", verdict="not_in_place", reasons=("file_system:btrfs",))
    (tmp_path / "report.json").write_text(json.dumps({"files": [report.to_dict()], "summary": {}}))
    public_key = cli("keygen", "--signing", "key").out.split()[-1]
    result = cli("audit", "append", "audit.log", "report.json", "--note", "disk 7", "--key", "key")
    assert (result.status, result.errors()) == (0, [])
    events = re.findall(r"^audit\.log: entry (\d) \((\w+)\) [0-9a-f]{64}$", result.out, re.MULTILINE)
    assert events == [("1", "report_file"), ("2", "note"), ("3", "checkpoint")]
    head = cli("audit", "head", "audit.log").out.strip()
    cli("audit", "append", "audit.log", "--note", "more")
    result = cli("audit", "verify", "audit.log", "--head", head, "--public-key", public_key)
    assert (result.status, result.errors()) == (0, [])
    assert result.out.startswith("audit.log: unbroken, 5 entries\n")
    assert "is that of entry 3; 1 follow" in result.out
    assert "through entry 3; 1 follow" in result.out


def test_what_a_chain_does_not_show_is_said(cli: Cli) -> None:
    """Unless a head or a key was given."""
    cli("audit", "append", "audit.log", "--note", "x")
    assert "by itself a chain does not show" in cli("audit", "verify", "audit.log").out
    head = cli("audit", "head", "audit.log").out.strip()
    assert "by itself" not in cli("audit", "verify", "audit.log", "--head", head).out


def test_a_changed_log(cli: Cli, tmp_path: Path) -> None:
    """Status 1, the line, and nothing on stdout."""
    for number in range(3):
        cli("audit", "append", "audit.log", "--note", f"note {number}")
    path = tmp_path / "audit.log"
    path.write_text(path.read_text().replace("note 1", "note 7"))
    for command in ("verify", "head"):
        result = cli("audit", command, "audit.log")
        assert (result.status, result.out) == (1, "")
        assert result.errors()[0] == (
            "zeroizepy: error: audit.log: line 3: is no entry, or was changed: its hash does not match"
        )


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        (("append", "audit.log"), 2, "give report files, --note or --key"),
        (("verify", "audit.log", "--head", "abc"), 2, "--head must be 64 hex digits"),
        (("verify", "audit.log", "--public-key", "abc"), 2, "64 hex digits"),
        (("verify", "missing.log"), 1, "missing.log: no such file"),
        (("append", "audit.log", "missing.json"), 1, "missing.json: no such file"),
        (("append", "audit.log", "--note", "x", "--key", "missing"), 1, "no such key file"),
    ],
)
def test_bad_input(cli: Cli, arguments: tuple[str, ...], status: int, fault: str) -> None:
    """Usage is status 2, the rest 1."""
    cli("audit", "append", "audit.log", "--note", "x")
    result = cli("audit", *arguments)
    assert (result.status, fault in result.err) == (status, True), result.err


def test_whole_directories_are_not_recorded_as_nothing(cli: Cli, tmp_path: Path) -> None:
    """`shred -r --json` lists no file: an entry of it would hold no report. It is refused, and no log appears."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    (tmp_path / "tree.json").write_text(cli("shred", "-r", "--yes", "--json", "tree").out)
    result = cli("audit", "append", "audit.log", "tree.json")
    assert (result.status, result.out) == (1, "")
    assert "tree.json: it counts the files of whole directories (shred -r)" in result.errors()[0]
    assert not (tmp_path / "audit.log").exists()


def test_no_report_file_is_half_recorded(cli: Cli, tmp_path: Path) -> None:
    """All files and the key are read before anything is written."""
    (tmp_path / "good.json").write_text(ShredReport(path="x").to_json())
    (tmp_path / "bad.json").write_text("{}")
    assert cli("audit", "append", "audit.log", "good.json", "bad.json").status == 1
    assert cli("audit", "append", "audit.log", "good.json", "--key", "missing").status == 1
    assert not (tmp_path / "audit.log").exists()
