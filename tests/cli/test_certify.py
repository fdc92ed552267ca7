"""`certify` and `keygen --signing`, run as a user runs them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.played import report_of

from zeroizepy.certificate import verify_certificate
from zeroizepy.cli.certifying import issue
from zeroizepy.exceptions import CertificateError
from zeroizepy.file import ShredReport, TreeReport

if TYPE_CHECKING:
    from collections.abc import Callable

    Cli = Callable[..., Any]


@pytest.fixture
def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShredReport:
    """A real report that can be certified."""
    (tmp_path / "data").mkdir()
    return report_of("overwritten_verified", tmp_path / "data", monkeypatch)


@pytest.fixture
def report_file(tmp_path: Path, verified: ShredReport) -> str:
    """The same as `zeroizepy shred --json` prints it."""
    (tmp_path / "shred.json").write_text(json.dumps({"files": [verified.to_dict()], "summary": {}}, indent=2))
    return "shred.json"


@pytest.fixture
def public_key(cli: Cli) -> str:
    """The public key of a new signing key in the file `key`."""
    result = cli("keygen", "--signing", "key")
    assert (result.status, result.errors()) == (0, [])
    found = re.fullmatch(r"key: new Ed25519 signing key, mode 600\npublic key: ([0-9a-f]{64})\n", result.out)
    assert found is not None, result.out
    return found[1]


def certified(cli: Cli, *reports: object) -> Any:
    """Run certify with the usual options."""
    return cli("certify", *reports, "--key", "key", "--out", ".", "--operator", "Ada Lovelace")


def test_transcript(cli: Cli, public_key: str, report_file: str, tmp_path: Path) -> None:
    """A report file becomes two files; the JSON one checks, and says where its content comes from."""
    result = certified(cli, report_file)
    assert (result.status, result.errors()) == (0, [])
    found = re.fullmatch(
        r"(\./certificate-[0-9a-f]{32}\.json): signed, 1 file\n(\./certificate-\w+\.html): .*\n", result.out
    )
    assert found is not None, result.out
    checked = cli("certify", "--check", found[1], "--public-key", public_key)
    assert (checked.status, checked.errors()) == (0, [])
    assert checked.out.startswith(f"{found[1]}: valid, 1 file\n")
    for each in ("Ada Lovelace", "Clear, overwrite", "the signer vouches for them", "data/file"):
        assert each in checked.out
    assert verify_certificate((tmp_path / found[1]).read_text(), bytes.fromhex(public_key)).evidence == "report_file"
    assert "This page is not signed" in (tmp_path / found[2]).read_text()


@pytest.mark.usefixtures("public_key")
def test_what_shred_wrote(cli: Cli, tmp_path: Path) -> None:
    """The output of this machine's own shred is certified if it was verified, and refused with its verdict if not."""
    (tmp_path / "secret.txt").write_bytes(b"x" * 8192)
    (tmp_path / "report.json").write_text(cli("shred", "--verify", "-n", "1", "--json", "secret.txt").out)
    verdict = json.loads((tmp_path / "report.json").read_text())["files"][0]["verdict"]
    result = certified(cli, "report.json")
    assert result.status == (0 if verdict == "overwritten_verified" else 1)
    assert (f"secret.txt: {verdict}: " in result.err) is (result.status == 1)


@pytest.mark.usefixtures("public_key")
def test_what_shred_wrote_of_a_tree(cli: Cli, tmp_path: Path) -> None:
    """So is that of a directory, where all of it was verified; a link in it is counted apart, a FIFO refused."""
    for folder in ("linked", "piped"):
        (tmp_path / folder).mkdir()
    (tmp_path / "linked" / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "piped" / "fifo")
    for folder in ("tree", "linked", "piped"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "secret.txt").write_bytes(b"x" * 8192)
        done = cli("shred", "-r", "--yes", "--verify", "-n", "1", "--json", folder)
        (tmp_path / f"{folder}.json").write_text(done.out)
    verdicts = json.loads((tmp_path / "tree.json").read_text())["directories"][0]["verdicts"]
    is_good = verdicts == {"overwritten_verified": 1}
    for name, more in (("tree", ""), ("linked", " and 1 empty file or link")):
        result = certified(cli, f"{name}.json")
        assert result.status == (0 if is_good else 1)
        assert (f"signed, 1 directory with 1 file{more}\n" in result.out) is is_good
        assert (f"cannot certify {name}: not all in it is overwritten_verified" in result.err) is not is_good
    piped = certified(cli, "piped.json")
    assert (piped.status, "1 nothing_to_overwrite" in piped.err) == (1, True)


def test_a_checked_tree(cli: Cli, public_key: str, tmp_path: Path) -> None:
    """--check shows the directory with its counts and the hash over its list."""
    tree = TreeReport(
        "data/tree", verdicts={"overwritten_verified": 2}, unlinked=2, size_bytes=5, bytes_written=8192,
        directories_removed=1, list_sha256="ab" * 32,
    )  # fmt: skip
    (tmp_path / "tree.json").write_text(json.dumps({"files": [], "directories": [tree.to_dict()]}))
    assert certified(cli, "tree.json").status == 0
    checked = cli("certify", "--check", next(tmp_path.glob("certificate-*.json")).name, "--public-key", public_key)
    assert "valid, 1 directory with 2 files\n" in checked.out
    shown = " ".join(checked.out.split())
    assert f"directory data/tree of it files 2, bytes 5, directories removed 1 list SHA-256 {'ab' * 32}" in shown


@pytest.mark.usefixtures("public_key")
def test_refusals_write_nothing(cli: Cli, tmp_path: Path) -> None:
    """A dry run and a missing file are named; no certificate appears."""
    (tmp_path / "file").write_bytes(b"x")
    for arguments, fault in ((("--dry-run", "file"), "no verdict: it was a dry run"), (("gone",), "no such file")):
        (tmp_path / "report.json").write_text(cli("shred", "--json", *arguments).out)
        result = certified(cli, "report.json")
        assert (result.status, result.out) == (1, "")
        assert "zeroizepy: error: cannot certify " in result.err
        assert fault in result.err
    assert list(tmp_path.glob("certificate*")) == []


@pytest.mark.usefixtures("public_key")
def test_a_report_counts_once(cli: Cli, report_file: str, tmp_path: Path) -> None:
    """One report file given twice, or its copy, would certify two files where there was one; nothing is signed."""
    (tmp_path / "copy.json").write_bytes((tmp_path / report_file).read_bytes())
    result = certified(cli, report_file, "copy.json")
    assert (result.status, result.out) == (1, "")
    assert result.errors()[0].startswith("zeroizepy: error: copy.json: is given twice, or is a copy")
    assert list(tmp_path.glob("certificate*")) == []


def test_a_changed_certificate(cli: Cli, public_key: str, report_file: str, tmp_path: Path) -> None:
    """It is refused with status 1, and so is another key's."""
    certified(cli, report_file)
    path = next(tmp_path.glob("certificate-*.json"))
    other = cli("certify", "--check", path.name, "--public-key", "00" * 32)
    assert (other.status, "signed with another key" in other.err) == (1, True)
    path.write_text(path.read_text().replace("Ada Lovelace", "Eve Lovelace"))
    result = cli("certify", "--check", path.name, "--public-key", public_key)
    assert (result.status, result.out) == (1, "")
    assert result.errors()[0] == (
        f"zeroizepy: error: {path.name}: the signature is not valid: the certificate was changed, or not signed"
    )


@pytest.mark.usefixtures("public_key")
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "give report files"),
        (("report.json",), "give report files"),
        (("report.json", "--key", "key", "--out", "."), "--operator is missing"),
        (("--check", "x"), "--check takes a certificate and --public-key"),
        (("--check", "x", "--public-key", "abc"), "64 hex digits"),
        (("report.json", "--check", "x", "--public-key", "00" * 32), "and nothing else"),
    ],
)
def test_bad_usage(cli: Cli, arguments: tuple[str, ...], fault: str) -> None:
    """Status 2 and the remedy."""
    result = cli("certify", *arguments)
    assert (result.status, fault in result.err) == (2, True)


@pytest.mark.usefixtures("public_key")
@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"\xff", "is not UTF-8 text"), (b"{", "not a report"), (b"{}", "is missing")],
)
def test_files_that_are_no_reports(cli: Cli, tmp_path: Path, content: bytes, fault: str) -> None:
    """Status 1 and the name of the file."""
    (tmp_path / "report.json").write_bytes(content)
    result = certified(cli, "report.json")
    assert result.status == 1
    assert result.errors()[0].startswith("zeroizepy: error: report.json: ")
    assert fault in result.errors()[0]


def test_keys_that_are_none(cli: Cli, report_file: str, tmp_path: Path) -> None:
    """A missing key file, and one of another size."""
    assert "no such key file" in certified(cli, report_file).err
    cli("keygen", "--bits", "128", "key")
    assert "holds 16 bytes" in certified(cli, report_file).err
    (tmp_path / "key").chmod(0o644)
    assert "mode 644" in certified(cli, report_file).err


def test_keygen_signing_has_no_bits(cli: Cli) -> None:
    """The two kinds of key are not mixed."""
    result = cli("keygen", "--signing", "--bits", "128", "key")
    assert (result.status, "--bits is for keys that encrypt" in result.err) == (2, True)


@pytest.mark.usefixtures("public_key")
def test_issue_from_this_process(tmp_path: Path, verified: ShredReport) -> None:
    """What another command holds is certified without a file between, and a refusal leaves no file."""
    bad = ShredReport(path="x", verdict="not_in_place", reasons=("file_system:btrfs",))
    key, details = str(tmp_path / "key"), {"operator": "Ada"}
    with pytest.raises(CertificateError, match=r"x: not_in_place: .*btrfs"):
        issue([verified, bad], key, str(tmp_path), details)
    assert list(tmp_path.glob("certificate*")) == []
    certificate, document, _ = issue([verified], key, str(tmp_path), details)
    assert certificate.evidence == "this_process"
    assert Path(document).read_text() == certificate.to_json() + "\n"
