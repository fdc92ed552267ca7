"""Certificates: what is refused, what verifies, that nothing signed can be changed; pages cannot be injected."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from support import schemas
from support.played import report_of, shredded

from zeroizepy.certificate import DOMAIN, Certificate, Media, StoredReports, certify, read_reports, verify_certificate
from zeroizepy.exceptions import CertificateError, SecureMemoryClosed
from zeroizepy.file import PassReport, ShredPlan, ShredReport, Verdict, secure_delete
from zeroizepy.json_form import to_plain
from zeroizepy.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = bytes(range(32))
PLAN = ShredPlan(
    **{field.name: False for field in fields(ShredPlan)}  # type: ignore[arg-type]
    | {"path": "/srv/secret.txt", "size_bytes": 8192, "write_bytes": 8192, "scheme": None, "passes": ("random",)}
    | {
        "buffer_bytes": 4096,
        "verify": True,
        "attributes": 0,
        "verdict": "overwritten_verified",
        "reasons": (),
        "notes": (),
    }
)
GOOD = ShredReport(
    path="/srv/secret.txt",
    size_bytes=8192,
    verdict="overwritten_verified",
    notes=("name_may_remain", "flash_or_unknown_media"),
    plan=PLAN,
    passes=(PassReport("random", 8192, synced=True),),
    verified=True,
    unlinked=True,
    seconds=0.25,
)


@pytest.fixture
def key() -> SigningKey:
    """A key that every test can have again."""
    return SigningKey.from_seed(KEY)


def signed(*reports: ShredReport, **details: Any) -> Certificate:
    """A certificate of reports that can be certified."""
    return certify(reports or (GOOD,), SigningKey.from_seed(KEY), **{"operator": "Ada Lovelace", **details})


# ---- what is refused ----


@pytest.mark.filterwarnings("ignore:old bytes")
@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_real_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
    """Of real runs, the verified ones are certified; the refusal of the others names path and verdict."""
    report = report_of(verdict, tmp_path, monkeypatch)
    if verdict == "overwritten_verified":
        certificate = signed(report)
        assert verify_certificate(certificate.to_json(), bytes.fromhex(certificate.public_key)).reports == (report,)
        return
    with pytest.raises(CertificateError, match=rf"{tmp_path}/file: {verdict}: "):
        signed(report)


@pytest.mark.filterwarnings("ignore:old bytes")
def test_what_wrote_nothing(tmp_path: Path) -> None:
    """A dry run, a missing and an empty file: each is refused with its own words."""
    with pytest.raises(CertificateError, match="no verdict: it was a dry run"):
        signed(shredded(tmp_path / "file", dry_run=True, verify=True))
    with pytest.raises(CertificateError, match="no verdict: there was no such file"):
        signed(secure_delete(tmp_path / "missing"))
    (tmp_path / "empty").touch()
    with pytest.raises(CertificateError, match="says nothing about content that it had before"):
        signed(secure_delete(tmp_path / "empty", verify=True))


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "not verified": {"verified": False},
    "reasons": {"reasons": ("file_system:btrfs",)},
    "from the cache": {"notes": ("verify_cached",)},
    "no plan": {"plan": None},
    "no pass": {"passes": ()},
    "short pass": {"passes": (PassReport("random", 4096, synced=True),)},
    "other pass": {"passes": (PassReport("zeros", 8192, synced=True),)},
    "other size": {"size_bytes": 4096},
    "plan without verification": {"plan": replace(PLAN, verify=False)},
    "plan with reasons": {"plan": replace(PLAN, reasons=("data_journal",))},
    "another verdict planned": {"plan": replace(PLAN, verdict="not_in_place")},
    "nothing written": {
        "plan": replace(PLAN, write_bytes=0),
        "passes": (PassReport("random", 0, synced=True),),
    },
    "not flushed": {"passes": (PassReport("random", 8192, synced=False),)},
    "sectors skipped": {"skipped_bytes": 512},
    "failed": {"error": "No space left on device"},
    "dry run": {"dry_run": True},
    "missing": {"existed": False},
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions(name: str) -> None:
    """A report whose verdict the rest of it denies is not certified, and not accepted in a signed certificate."""
    bad = replace(GOOD, **CONTRADICTIONS[name])
    with pytest.raises(CertificateError, match=r"/srv/secret\.txt: overwritten_verified: "):
        signed(bad)
    with pytest.raises(CertificateError, match=r"/srv/secret\.txt: overwritten_verified: "):
        check(resigned(reports=[to_plain(bad)]))


def test_one_bad_report_stops_all() -> None:
    """Nothing is signed, and five faults are named at most."""
    bad = [replace(GOOD, path=f"/srv/{number}", verdict="not_in_place") for number in range(7)]
    with pytest.raises(CertificateError, match=r"/srv/0: not_in_place.*/srv/4: not_in_place.*\(and 2 more\)$"):
        signed(GOOD, *bad)


def test_arguments(key: SigningKey) -> None:
    """No report, no person, no key, another thing, a key that is gone, text that has no Unicode."""
    with pytest.raises(CertificateError, match="no report was given"):
        certify([], key, operator="Ada")
    with pytest.raises(CertificateError, match="operator must be the name"):
        certify([GOOD], key, operator=" ")
    with pytest.raises(TypeError, match="key must be a SigningKey, not bytes"):
        certify([GOOD], KEY, operator="Ada")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="reports must be ShredReports or TreeReports, not dict"):
        certify([GOOD.to_dict()], key, operator="Ada")  # type: ignore[list-item]
    key.wipe()
    with pytest.raises(SecureMemoryClosed):
        certify([GOOD], key, operator="Ada")


def test_sizes_beyond_json(key: SigningKey) -> None:
    """RFC 8785 has no integers over 2^53: an error, not another number."""
    size = 1 << 60
    plan = replace(PLAN, size_bytes=size, write_bytes=size)
    huge = replace(GOOD, size_bytes=size, plan=plan, passes=(PassReport("random", size, synced=True),))
    with pytest.raises(CertificateError, match="no canonical JSON form"):
        certify([huge], key, operator="Ada")


def test_without_the_extra(key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package and how to install it."""
    monkeypatch.setitem(sys.modules, "rfc8785", None)
    with pytest.raises(CertificateError, match=r"need the package rfc8785 .*; pip install 'zeroizepy\[certify\]'"):
        certify([GOOD], key, operator="Ada")


# ---- what is signed ----


def check(text: str) -> Certificate:
    """Verify with the right key."""
    return verify_certificate(text, SigningKey.from_seed(KEY).public_key)


def resigned(**changes: Any) -> str:
    """A certificate with other members and a good signature over them; `...` takes one out."""
    members = {**signed().to_dict(), **changes}
    members = {name: value for name, value in members.items() if value is not ... and name != "signature"}
    signature = SigningKey.from_seed(KEY).sign(DOMAIN + rfc8785.dumps(members)).hex()
    return rfc8785.dumps({**members, "signature": signature}).decode()


def test_round_trip() -> None:
    """What was signed comes back whole, from the bytes of the file; the schema in the repository fits."""
    certificate = signed(
        media=Media(serial="S1", type="flash"), title="Analyst", destination="reuse", sanitized="today"
    )
    text = certificate.to_json()
    assert check(text) == check(text + "\n") == certificate
    assert certificate.sanitization == "Clear"
    assert certificate.evidence == "this_process"
    schema = json.loads((schemas.FOLDER / "certificate.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    assert rfc8785.dumps(json.loads(text)).decode() == text


def test_openssl_verifies() -> None:
    """Anybody can check the signature with RFC 8785 and Ed25519 alone."""
    found = json.loads(signed().to_json())
    signature = bytes.fromhex(found.pop("signature"))
    message = b"zeroizepy certificate of sanitization 1\n" + rfc8785.dumps(found)
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(found["public_key"])).verify(signature, message)


def test_limits_are_told() -> None:
    """What the reports' notes say stands in the certificate in words."""
    assert any("flash" in limit for limit in signed().limits)


def test_a_resigned_certificate_verifies() -> None:
    """The control: the tests below fail for what they change, not for how they sign."""
    assert check(resigned()).reports == (GOOD,)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sanitization": "Purge"}, "sanitization must be one of Clear"),
        ({"method": "degauss"}, "method must be one of overwrite"),
        ({"scope": "The whole medium."}, "something else under scope"),
        ({"statement": "All is well."}, "something else under statement"),
        ({"evidence": "report_file"}, "something else under statement"),
        ({"verification": "none"}, "something else under verification"),
        ({"schema": "zeroizepy/certificate/2"}, "schema must be"),
        ({"schema": ...}, "canonical form"),
        ({"more": 1}, "more is not known here"),
        ({"media": ...}, "media is missing"),
        ({"reports": []}, "no report was given"),
        ({"public_key": "00" * 32}, "signed with another key"),
    ],
)
def test_what_cannot_be_said_in_this_form(changes: dict[str, Any], fault: str) -> None:
    """Even with a good signature: more than Clear, another scope, members of another version."""
    with pytest.raises(CertificateError, match=fault):
        check(resigned(**changes))


def test_the_key_that_is_trusted_decides() -> None:
    """A certificate that somebody else signed is refused, whatever key it names."""
    with pytest.raises(CertificateError, match="signed with another key"):
        verify_certificate(signed().to_json(), SigningKey.generate().public_key)
    with pytest.raises(ValueError, match="public_key must be 32 bytes"):
        verify_certificate(signed().to_json(), b"")


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_change_is_found(data: st.DataObject) -> None:
    """One byte changed, left out or put in, anywhere: refused."""
    text = TEXT
    at = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "insert"]))
    character = data.draw(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
    if kind == "change" and text[at] == character:
        return
    changed = text[:at] + ("" if kind == "drop" else character) + text[at + (kind != "insert") :]
    if changed == text:
        return
    with pytest.raises(CertificateError):
        check(changed)


TEXT = certify([GOOD], SigningKey.from_seed(KEY), operator="Ada Lovelace").to_json()
SIGNATURE: str = json.loads(TEXT)["signature"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: json.dumps(json.loads(text)),
        lambda text: " " + text,
        lambda text: text + "\n\n",
        lambda text: text.replace('"method":', '"method":"overwrite","method":', 1),
        lambda text: text.replace("0.25", "2.5e-1"),
        lambda text: text[:0],
        lambda text: f"[{text}]",
        lambda text: text.encode().decode("utf-16-le", "replace"),
        lambda text: text.replace(SIGNATURE, SIGNATURE.upper()),
        lambda text: text.replace(SIGNATURE, f"{SIGNATURE[:2]} {SIGNATURE[2:]}"),
        lambda text: text.replace(SIGNATURE, f"{SIGNATURE}\\n"),
    ],
)
def test_other_writings(change: Callable[[str], str]) -> None:
    """The same content written otherwise is not what was signed, and rubbish is no crash."""
    with pytest.raises(CertificateError):
        check(change(TEXT))


# ---- stored reports ----


def test_stored_reports_say_so() -> None:
    """A certificate of a report file says that nobody but the signer vouches for it, and which file it was."""
    stored = read_reports(GOOD.to_json())
    certificate = certify(stored, SigningKey.from_seed(KEY), operator="Ada")
    assert stored.reports == (GOOD,)
    assert (certificate.evidence, len(certificate.report_digests)) == ("report_file", 1)
    assert "not signed" in certificate.statement
    assert check(certificate.to_json()) == certificate
    both = stored + StoredReports((GOOD,), ("00",))
    assert (len(both.reports), both.digests) == (2, (*stored.digests, "00"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not a report"),
        ('{"files": {}}', "files must be a list"),
        ("{}", r"files\[0\]\.\w+ is missing"),
        ('{"files": [], "directories": [{"path": "tree"}]}', "cannot certify tree: no report: not begun"),
        ('{"files": [], "directories": 1}', "directories must be a list"),
        ('{"files": [1]}', r"files\[0\] must be an object"),
        ('{"files": [{"path": "x", "error": "x: no such file"}]}', "cannot certify x: no report: x: no such file"),
    ],
)
def test_files_that_are_no_reports(text: str, fault: str) -> None:
    """The message says what is wrong where."""
    with pytest.raises(CertificateError, match=fault):
        read_reports(text)


# ---- the page ----


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> _Tags:
    """The page as a browser's parser sees it."""
    parser = _Tags()
    parser.feed(page)
    return parser


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "&lt;script&gt;",
    "]]></style><h1>",
    "\u202egnp.exe",
    "line\nbreak\x00\x1b[31m",
    "caf\udce9",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_cannot_be_injected(name: str) -> None:
    """Names and texts of any kind add no element and no attribute, and stand there to be read."""
    plain = parsed(signed().to_html())
    page = signed(replace(GOOD, path=name), media=Media(*[name.replace("\udce9", "")] * 6)).to_html()
    page.encode()
    found = parsed(page)
    assert found.tags == plain.tags
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    assert shown in found.text
    assert all(c.isprintable() or c == "\n" for c in page)


def test_pages_fetch_nothing() -> None:
    """No script, link, image or frame; a policy that forbids them."""
    found = parsed(signed().to_html())
    assert {"script", "link", "img", "iframe", "a", "form", "object"} & {tag for tag, _ in found.tags} == set()
    policies = [dict(attributes).get("content") for tag, attributes in found.tags if tag == "meta"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies


def test_pages_say_what_is_attested() -> None:
    """Person, method, scope, limits, files, key and signature can be read there."""
    certificate = signed(media=Media(serial="S-123"))
    text = parsed(certificate.to_html()).text
    wanted = ["Ada Lovelace", "S-123", "Clear", certificate.scope, certificate.statement, *certificate.limits]
    for each in [*wanted, GOOD.path, certificate.public_key, certificate.signature, "This page is not signed"]:
        assert each in text
