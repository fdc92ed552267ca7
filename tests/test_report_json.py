"""Reports as JSON: the committed schemas, what real runs give, and back to the same values."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import schemas
from support.played import report_of, shredded

from zeroizepy.file import (
    FreeSpaceReport,
    PassReport,
    ShredPlan,
    ShredReport,
    TreeReport,
    Verdict,
    secure_delete,
    shred_tree,
    wipe_free_space,
)
from zeroizepy.json_form import JsonForm, from_plain, load_json, to_plain

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [form.__name__ for form in schemas.FORMS]


def committed(form: type[JsonForm]) -> dict[str, Any]:
    """The schema as the installed package ships it."""
    text = (files("zeroizepy") / "schemas" / schemas.file_name(form)).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check(report: JsonForm) -> dict[str, Any]:
    """Validate the JSON of a report against its schema; returns it parsed."""
    found: dict[str, Any] = load_json(report.to_json())
    jsonschema.Draft202012Validator(committed(type(report))).validate(found)
    return found


@pytest.mark.parametrize("form", schemas.FORMS, ids=NAMES)
def test_schemas_are_what_the_dataclasses_say(form: type[JsonForm]) -> None:
    """The checkout's file is the one that tests/support/schemas.py writes; if not, run that."""
    path = schemas.FOLDER / schemas.file_name(form)
    assert path.read_text(encoding="utf-8") == schemas.text_of(form)


@pytest.mark.parametrize("form", schemas.FORMS, ids=NAMES)
def test_fields_and_properties_agree(form: type[JsonForm]) -> None:
    """Each field is a required property with a description, and nothing else is one but `schema`."""
    schema = committed(form)
    jsonschema.Draft202012Validator.check_schema(schema)
    names = {field.name for field in fields(form)} | {"schema"}  # type: ignore[arg-type]
    assert set(schema["properties"]) == set(schema["required"]) == names
    assert [name for name in names - {"schema"} if not schema["properties"][name].get("description")] == []


@pytest.mark.filterwarnings("ignore:old bytes")
def test_real_reports_validate(tmp_path: Path) -> None:
    """A run, a dry run, a missing and an empty file, on whatever file system this is."""
    path = tmp_path / "file"
    check(shredded(path, verify=True))
    assert check(shredded(path, dry_run=True))["plan"]["passes"] == ["random"]
    assert check(secure_delete(tmp_path / "missing"))["existed"] is False
    (tmp_path / "empty").touch()
    assert check(secure_delete(tmp_path / "empty"))["verdict"] is None


@pytest.mark.filterwarnings("ignore:old bytes")
@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_each_verdict_validates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
    """Real runs, where the file system is made to look like one that has this verdict."""
    assert check(report_of(verdict, tmp_path, monkeypatch))["verdict"] == verdict


def test_free_space_reports_validate(tmp_path: Path) -> None:
    """A run and a dry run."""
    assert check(wipe_free_space(tmp_path, max_bytes=4096))["bytes_written"] == 4096
    assert check(wipe_free_space(tmp_path, dry_run=True))["dry_run"] is True


@pytest.mark.filterwarnings("ignore:old bytes")
def test_tree_reports_validate(tmp_path: Path) -> None:
    """A run with a failure in it, a dry run, and a missing directory."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "good").write_text("x")
    (tmp_path / "root" / "bad").write_text("x")
    (tmp_path / "root" / "bad").chmod(0o400)
    assert check(shred_tree(tmp_path / "root", dry_run=True))["dry_run"] is True
    assert check(shred_tree(tmp_path / "root"))["failures"][0]["reasons"] == ["read_only"]
    assert check(shred_tree(tmp_path / "missing"))["existed"] is False


# ---- round trips ----

names = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape")),
)
counts = st.integers(0, 1 << 60)
lists = st.lists(names, max_size=3).map(tuple)
plans = st.builds(
    ShredPlan,
    path=names,
    size_bytes=counts,
    scheme=st.none() | names,
    passes=lists,
    verdict=st.sampled_from([None, *get_args(Verdict)]),
    reasons=lists,
    notes=lists,
)
reports = st.one_of(
    plans,
    st.builds(
        ShredReport,
        path=names,
        size_bytes=counts,
        verdict=st.sampled_from([None, *get_args(Verdict)]),
        reasons=lists,
        plan=st.none() | plans,
        passes=st.lists(st.builds(PassReport, pattern=names, bytes_written=counts), max_size=3).map(tuple),
        error=st.none() | names,
        seconds=st.floats(0, 1e9),
    ),
    st.builds(FreeSpaceReport, directory=names, file_system=names, seconds=st.floats(0, 1e9)),
    st.builds(
        TreeReport,
        path=names,
        verdicts=st.dictionaries(st.sampled_from(get_args(Verdict)), counts),
        reasons=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), counts),
        failures=st.lists(st.builds(ShredReport, path=names), max_size=2).map(tuple),
    ),
)


@settings(deadline=None)
@given(report=reports)
def test_round_trip(report: Any) -> None:
    """What is read back is equal, whatever bytes a name holds; the text is UTF-8 and the same each time."""
    text = report.to_json()
    assert text == report.to_json()
    parsed = load_json(text.encode().decode())
    assert from_plain(type(report), parsed, "report") == report
    jsonschema.Draft202012Validator(committed(type(report))).validate(parsed)
    assert list(parsed) == sorted(parsed)


def test_names_that_are_no_unicode() -> None:
    """They are objects with percent-encoded bytes, and text that looks like such bytes is not one."""
    report = ShredReport(path=os.fsdecode(b"/srv/caf\xe9 %E9"))
    assert report.to_dict()["path"] == {"percent_encoded": "/srv/caf%E9%20%25E9"}
    assert ShredReport(path="/srv/caf%E9").to_dict()["path"] == "/srv/caf%E9"


def test_float_infinity_is_refused() -> None:
    """JSON has no such number."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        ShredReport(path="x", seconds=float("inf")).to_json()


def wrong(**changes: Any) -> dict[str, Any]:
    """A report's dictionary with other members; `...` takes one out."""
    changed = {**ShredReport(path="x", passes=(PassReport("random", 1, synced=True),)).to_dict(), **changes}
    return {name: value for name, value in changed.items() if value is not ...}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "report must be an object, not list"),
        (wrong(path=...), r"report\.path is missing"),
        (wrong(more=1), r"report\.more is not known here"),
        (wrong(schema="zeroizepy/shred-report/99"), r"report\.schema must be 'zeroizepy/shred-report/1'"),
        (wrong(existed=1), r"report\.existed must be bool, not int"),
        (wrong(size_bytes=True), r"report\.size_bytes must be int, not bool"),
        (wrong(size_bytes=1.5), r"report\.size_bytes must be int, not float"),
        (wrong(verdict="destroyed"), r"report\.verdict must be one of overwritten_verified"),
        (wrong(reasons="none"), r"report\.reasons must be a list, not str"),
        (wrong(passes=[{"pattern": "random"}]), r"report\.passes\[0\]\.bytes_written is missing"),
        (wrong(path={"percent_encoded": "abc"}), r"report\.path must be text"),
        (wrong(path={"percent_encoded": "%e9"}), r"report\.path must be text"),
        (wrong(path={"other": "%E9"}), r"report\.path must be text"),
    ],
)
def test_from_plain_refuses(value: object, fault: str) -> None:
    """The message says which member, and what it should be."""
    with pytest.raises(ValueError, match=fault):
        from_plain(ShredReport, value, "report")


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":NaN}', '{"a":-Infinity}', "{", "[" * 100_000])
def test_load_json_refuses(text: str) -> None:
    """JSON with one meaning only."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words, or ours.
        load_json(text)


def test_to_plain_of_mappings() -> None:
    """Dictionaries, as the command line prints them, are reached inside."""
    assert to_plain({"files": [{"path": "\udcff"}]}) == {"files": [{"path": {"percent_encoded": "%FF"}}]}
