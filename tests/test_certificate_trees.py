"""Certificates of whole directories: only where all in them was overwritten and verified, with a hash over the list."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support import schemas
from support.played import SIZE, play

from zeroizepy.certificate import Certificate, certify, read_reports, verify_certificate
from zeroizepy.certificate.signed import signed
from zeroizepy.exceptions import CertificateError
from zeroizepy.file import ShredReport, TreeReport, list_entry, secure_delete, shred_tree
from zeroizepy.shred import steps, trees
from zeroizepy.shred.extents import ExtentMap
from zeroizepy.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zeroizepy.shred.facts import FileFacts

KEY = bytes(range(32))
GOOD = TreeReport(
    path="/srv/project",
    verdicts={"overwritten_verified": 3},
    unlinked=3,
    size_bytes=9000,
    bytes_written=12288,
    notes={"name_may_remain": 3, "flash_or_unknown_media": 3},
    directories_removed=2,
    list_sha256=hashlib.sha256(b"list").hexdigest(),
    seconds=0.25,
)

pytestmark = pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of twelve files in three directories, on what looks like a plain ext4."""
    play(monkeypatch, "ext4")
    path = tmp_path / "root"
    for number in range(12):
        folder = path / ("a", "b")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}").write_bytes(b"x" * SIZE)
    return path


def certified(*reports: ShredReport | TreeReport) -> Certificate:
    """A certificate of these."""
    return certify(reports or (GOOD,), SigningKey.from_seed(KEY), operator="Ada Lovelace")


def check(certificate: Certificate) -> Certificate:
    """Read it back with the right key."""
    return verify_certificate(certificate.to_json(), SigningKey.from_seed(KEY).public_key)


def forged(tree: TreeReport) -> Certificate:
    """A certificate of a tree with a good signature, whatever the tree says."""
    good = certified()
    values = {field.name: getattr(good, field.name) for field in fields(good)}
    del values["public_key"], values["signature"]
    return signed(Certificate, {**values, "trees": (tree,)}, SigningKey.from_seed(KEY))


# ---- what is certified ----


def test_a_real_tree(root: Path) -> None:
    """A run that verified all is certified; the certificate has its directory, counts and hash, and fits the schema."""
    report = shred_tree(root, passes=1, verify=True)
    certificate = certified(report)
    assert check(certificate).trees == (report,)
    assert (certificate.reports, certificate.count_text()) == ((), "1 directory with 12 files")
    assert (report.path, report.files, report.directories_removed) == (str(root), 12, 3)
    assert (report.size_bytes, report.failed, report.list_sha256 is None) == (12 * SIZE, 0, False)
    schema = json.loads((schemas.FOLDER / "certificate.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(certificate.to_json()))


@pytest.mark.parametrize("ending", ["", "/", "//"])
def test_the_list_can_be_checked(root: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Whoever kept paths, sizes and verdicts in the order of `on_report` finds the hash with SHA-256 alone."""
    monkeypatch.setattr(trees, "_BATCH_FILES", 5)
    os.rename(root / "a" / "file 0", os.fsencode(root / "a") + b"/line\nand \xe9")
    (root / "b" / "link").symlink_to("nowhere")
    kept: list[bytes] = []
    entries: list[bytes] = []

    def keep(each: ShredReport) -> None:
        path = os.path.relpath(os.fsencode(each.path), os.fsencode(root))
        verdict = each.verdict or "nothing_to_overwrite"
        kept.append(path + f"\0{each.size_bytes}\0{verdict}\0".encode())
        entries.append(list_entry(each, str(root) + ending))

    report = shred_tree(str(root) + ending, passes=1, verify=True, on_report=keep)
    assert kept == entries
    assert (len(kept), len(set(kept))) == (13, 13)
    assert b"a/line\nand \xe9\x008192\0overwritten_verified\0" in kept
    assert b"b/link\x000\0nothing_to_overwrite\0" in kept
    assert report.list_sha256 == hashlib.sha256(b"".join(kept)).hexdigest()


def test_files_and_trees_together(root: Path, tmp_path: Path) -> None:
    """One certificate takes both, from this process and as `shred -r --json` prints them."""
    (tmp_path / "file").write_bytes(b"x" * SIZE)
    file = secure_delete(tmp_path / "file", passes=1, verify=True)
    tree = shred_tree(root, passes=1, verify=True)
    certificate = certified(tree, file)
    assert (certificate.reports, certificate.trees) == ((file,), (tree,))
    assert certificate.count_text() == "1 file and 1 directory with 12 files"
    stored = read_reports(json.dumps({"files": [file.to_dict()], "directories": [tree.to_dict()], "summary": {}}))
    assert (stored.reports, stored.trees) == ((file,), (tree,))
    assert read_reports(tree.to_json()).trees == (stored + stored).trees[1:] == (tree,)
    from_file = certify(stored, SigningKey.from_seed(KEY), operator="Ada")
    assert (check(from_file), from_file.evidence) == (from_file, "report_file")


def test_the_page_tells_of_trees() -> None:
    """It has the directory, the counts and the hash; a hostile name stands there as text."""
    page = certified(replace(GOOD, path="<script>x")).to_html()
    for each in ("&lt;script&gt;x", "9000", str(GOOD.list_sha256), "1 directory with 3 files", "flash"):
        assert each in page
    assert ("<script" in page, "<h2>Files</h2>" in page, page.count("<h2>Directories</h2>")) == (False, False, 1)


# ---- what is refused ----


def _empty_file(root: Path) -> None:
    (root / "a" / "file 0").write_bytes(b"")


def _fifo(root: Path) -> None:
    os.mkfifo(root / "a" / "fifo")


def _sparse(root: Path) -> None:
    os.truncate(root / "a" / "file 0", 0)
    os.truncate(root / "a" / "file 0", 1 << 20)


def _second_name(root: Path) -> None:
    os.link(root / "a" / "file 0", root.parent / "outside")


def _nothing(_root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "options", "fault"),
    [
        (_nothing, {"dry_run": True, "verify": True}, "it was a dry run"),
        (_nothing, {}, "not all in it is overwritten_verified, but 12 overwritten: they were not read back"),
        (_fifo, {"verify": True}, "not all .* but 1 nothing_to_overwrite: a FIFO"),
        (_second_name, {"verify": True}, r"1 of its files and directories failed, such as .*/a/file 0: "),
    ],
)
def test_real_refusals(root: Path, prepare: Callable[[Path], None], options: dict[str, Any], fault: str) -> None:
    """Of real runs: dry, not read back, a FIFO in it, a file that was refused; the message begins with the path."""
    prepare(root)
    with pytest.raises(CertificateError, match=rf"^cannot certify {root}: {fault}"):
        certified(shred_tree(root, passes=1, **options))


def test_empty_files_and_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted apart: nothing in them could be overwritten, and the certificate and its page say so."""
    (root / "a" / "link").symlink_to("nowhere")
    read = steps.read_facts

    def facts(fd: int, *_arguments: object, **_keywords: object) -> FileFacts:
        played = read(fd)
        return played if os.fstat(fd).st_size else replace(played, size_bytes=0, allocated_bytes=0, extents=ExtentMap())

    monkeypatch.setattr(steps, "read_facts", facts)
    monkeypatch.setattr(trees, "read_facts", facts)
    _empty_file(root)
    report = shred_tree(root, passes=1, verify=True)
    assert report.verdicts == {"overwritten_verified": 11, "nothing_to_overwrite": 2}
    certificate = check(certified(report))
    assert certificate.count_text() == "1 directory with 11 files and 2 empty files or links"
    limits = "; ".join(certificate.limits)
    assert "the file holds no bytes; earlier content of it is not reached" in limits
    assert "the path is a symbolic link" in limits
    assert "there was nothing in them to overwrite" in certificate.scope
    assert "11 overwritten_verified, 2 nothing_to_overwrite" in certificate.to_html()


def test_holes_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of holes says that it has a size, and nothing of it was written: it is no empty file."""
    monkeypatch.undo()
    _sparse(root)
    with pytest.raises(CertificateError, match=rf"^cannot certify {root}: .*1 nothing_to_overwrite.*has holes only"):
        certified(shred_tree(root, passes=1, verify=True))


def test_nothing_there(tmp_path: Path) -> None:
    """A missing directory, and one without files."""
    with pytest.raises(CertificateError, match=r"missing: there was no such directory"):
        certified(shred_tree(tmp_path / "missing", verify=True))
    (tmp_path / "bare").mkdir()
    with pytest.raises(CertificateError, match=r"bare: there was no file in it"):
        certified(shred_tree(tmp_path / "bare", verify=True))


def test_interrupted_and_resumed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the run that was cut short is certified, nor the one that went on with it and knows a part only."""
    monkeypatch.setattr(trees, "_BATCH_FILES", 4)
    seen: list[ShredReport] = []

    def interrupt(report: ShredReport) -> None:
        seen.append(report)
        if len(seen) == 6:
            raise KeyboardInterrupt

    again: dict[str, Any] = {"passes": 1, "verify": True, "journal": tmp_path / "journal"}
    with pytest.raises(KeyboardInterrupt) as caught:
        shred_tree(root, on_report=interrupt, **again)
    with pytest.raises(CertificateError, match=r"root: the run ended early: interrupted"):
        certified(vars(caught.value)["report"])
    rest = shred_tree(root, **again)
    assert rest.complete
    assert not root.exists()
    with pytest.raises(CertificateError, match=r"root: an earlier run had begun .* one run goes through all of it"):
        certified(rest)


MIXED = {"overwritten_verified": 2, "nothing_to_overwrite": 1}
BAD: dict[str, dict[str, Any]] = {
    "bare without a reason": {"verdicts": MIXED},
    "bare for another reason": {"verdicts": MIXED, "reasons": {"fifo": 1}},
    "bare, and another reason": {"verdicts": MIXED, "reasons": {"empty": 1, "file_system:btrfs": 1}},
    "more reasons than bare ones": {"verdicts": MIXED, "reasons": {"empty": 1, "symlink": 1}},
    "balanced reasons": {"verdicts": MIXED, "reasons": {"empty": 2, "symlink": -1}},
    "a reason without bare ones": {"reasons": {"empty": 1}},
    "bare ones alone": {"verdicts": {"nothing_to_overwrite": 3}, "reasons": {"empty": 3}},
    "none bare": {"verdicts": {"overwritten_verified": 3, "nothing_to_overwrite": 0}},
    "bare ones left": {"verdicts": MIXED, "reasons": {"symlink": 1}, "unlinked": 2},
    "missing": {"existed": False},
    "dry run": {"dry_run": True},
    "ended early": {"error": "interrupted"},
    "failed": {"failed": 1},
    "failures": {"failures": (ShredReport(path="x", verdict="refused", error="no"),)},
    "left": {"directories_left": 1},
    "left unknown": {"directories_left": None},
    "left negative": {"directories_left": -1},
    "removed negative": {"directories_removed": -1},
    "earlier": {"earlier": {"overwritten_verified": 1}},
    "resumed": {"resumed": 1},
    "resumed note": {"notes": {"resumed": 1}},
    "no files": {"verdicts": {}, "unlinked": 0},
    "zero files": {"verdicts": {"overwritten_verified": 0}, "unlinked": 0},
    "negative files": {"verdicts": {"overwritten_verified": -3}, "unlinked": -3},
    "another verdict": {"verdicts": {"overwritten_verified": 2, "overwritten": 1}},
    "none of another verdict": {"verdicts": {"overwritten_verified": 3, "not_in_place": 0}},
    "balanced": {"verdicts": {"overwritten_verified": 4, "refused": -1}},
    "still there": {"unlinked": 2},
    "too many gone": {"unlinked": 4},
    "reasons": {"reasons": {"file_system:btrfs": 1}},
    "from the cache": {"notes": {"verify_cached": 1}},
    "not read back": {"notes": {"not_read_back": 1}},
    "preallocated only": {"notes": {"empty": 1}},
    "no bytes": {"size_bytes": 0},
    "fewer bytes than files": {"size_bytes": 2},
    "nothing written": {"bytes_written": 0},
    "no hash": {"list_sha256": None},
    "short hash": {"list_sha256": "ab"},
    "no hexadecimal": {"list_sha256": "g" * 64},
    "hash of no list": {"list_sha256": hashlib.sha256().hexdigest()},
}


def test_the_control() -> None:
    """The tests below fail for what they change, not for how they sign."""
    for good in (GOOD, replace(GOOD, verdicts=MIXED, reasons={"symlink": 1})):
        assert check(forged(good)).trees == (good,)


@pytest.mark.parametrize("name", BAD)
def test_contradictions(name: str) -> None:
    """A tree that is not verified throughout, or denies it, is not certified, and refused when signed all the same."""
    bad = replace(GOOD, **BAD[name])
    with pytest.raises(CertificateError, match=r"^cannot certify /srv/project: "):
        certified(bad)
    with pytest.raises(CertificateError, match=r"^cannot certify /srv/project: "):
        check(forged(bad))


def test_reports_of_older_versions() -> None:
    """Without the hash they say what is missing and what can be certified."""
    old = GOOD.to_dict()
    del old["list_sha256"]
    for text in (json.dumps(old), json.dumps({"files": [], "directories": [old]})):
        with pytest.raises(CertificateError, match=r"certify /srv/project: .*no hash .*; only a run of this version"):
            read_reports(text)
