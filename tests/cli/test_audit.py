"""`audit`, run as a user runs it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.played import play, shredded
from support.schemas import FORMS

from zeroizepy.certificate import Certificate, certify
from zeroizepy.cli import reports
from zeroizepy.erasure import KeyFileInfo
from zeroizepy.file import DeviceReport, FreeSpaceReport, PassReport, ShredPlan, ShredReport, TreeReport
from zeroizepy.session import RecoveryReport
from zeroizepy.signing import SigningKey

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


def recorded(folder: Path) -> list[dict[str, Any]]:
    """The reports of the log's last entry."""
    last = json.loads((folder / "audit.log").read_text().splitlines()[-1])
    assert last["event"] == "report_file"
    reports: list[dict[str, Any]] = last["body"]["reports"]
    return reports


def test_whole_directories(cli: Cli, tmp_path: Path) -> None:
    """`shred -r --json`: the entry has the tree's report, those of files beside it, and what was not there."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x" * 100)
    (tmp_path / "file").write_text("x" * 100)
    (tmp_path / "tree.json").write_text(cli("shred", "-r", "--yes", "--json", "tree", "file", "missing", "").out)
    result = cli("audit", "append", "audit.log", "tree.json")
    assert (result.status, result.errors()) == (0, [])
    file, missing, empty, tree = recorded(tmp_path)
    assert (file["path"], file["unlinked"], missing["existed"], tree["unlinked"]) == ("file", True, False, 1)
    assert (tree["schema"], sorted(empty)) == (TreeReport.schema, ["error", "path"])
    assert cli("audit", "verify", "audit.log").status == 0


def test_what_other_commands_print(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free space and recovery as they come from the commands; a device's report and a certificate from the library."""
    (tmp_path / "free.json").write_text(cli("wipe-free", "--dry-run", "--json", ".").out)
    (tmp_path / "recovered.json").write_text(cli("recover", "--json", ZEROIZEPY_STATE_DIR=str(tmp_path / "state")).out)
    (tmp_path / "device.json").write_text(DeviceReport("/dev/none", verdict="refused", reasons=("in_use",)).to_json())
    play(monkeypatch, "ext4")
    with SigningKey.generate() as key:
        certificate = certify([shredded(tmp_path / "file", verify=True)], key, operator="A. Person")
    (tmp_path / "certificate.json").write_text(certificate.to_json())
    kinds = {"free": FreeSpaceReport, "recovered": RecoveryReport, "device": DeviceReport, "certificate": Certificate}
    for name, kind in kinds.items():
        result = cli("audit", "append", "audit.log", f"{name}.json")
        assert (result.status, result.errors()) == (0, [])
        (report,) = recorded(tmp_path)
        assert report == json.loads((tmp_path / f"{name}.json").read_text())
        assert report["schema"] == kind.schema
    assert cli("audit", "verify", "audit.log").out.startswith("audit.log: unbroken, 5 entries\n")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{}", "report.schema is none of zeroizepy/certificate/1, "),
        ("[]", "report must be an object"),
        ("{", "not a report: no whole JSON: Expecting"),
        ('{"files": [], "summary": {}}', "it lists nothing"),
        ('{"files": [{"schema": "zeroizepy/tree-report/1"}]}', "files[0]."),
        ('{"schema": "zeroizepy/audit/1"}', "report.schema is none of"),
        ('{"schema": "zeroizepy/free-space-report/1", "directory": "x", "more": 1}', "report."),
    ],
)
def test_what_is_no_report(cli: Cli, tmp_path: Path, text: str, fault: str) -> None:
    """Refused with the place in it, and no log appears."""
    (tmp_path / "bad.json").write_text(text)
    result = cli("audit", "append", "audit.log", "bad.json")
    assert (result.status, result.out) == (1, "")
    assert result.errors()[0].startswith("zeroizepy: error: bad.json: not a report: ")
    assert fault in result.errors()[0]
    assert not (tmp_path / "audit.log").exists()


def test_each_kind_with_a_schema_is_taken() -> None:
    """All forms of something done; plans and passes are parts of them, and a look at a key does nothing."""
    assert set(reports._KINDS.values()) == set(FORMS) - {KeyFileInfo, PassReport, ShredPlan}


def test_no_report_file_is_half_recorded(cli: Cli, tmp_path: Path) -> None:
    """All files and the key are read before anything is written."""
    (tmp_path / "good.json").write_text(ShredReport(path="x").to_json())
    (tmp_path / "bad.json").write_text("{}")
    assert cli("audit", "append", "audit.log", "good.json", "bad.json").status == 1
    assert cli("audit", "append", "audit.log", "good.json", "--key", "missing").status == 1
    assert not (tmp_path / "audit.log").exists()
