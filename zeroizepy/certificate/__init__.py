"""Certificates of sanitization: verified reports with the fields of NIST SP 800-88 Rev. 1, section 4.8, signed.

A certificate is JSON in the canonical form of RFC 8785 with an Ed25519 signature over it. It says that whoever holds
the key had these reports; it proves nothing about what the key's holder chose to put in. It covers the files that it
lists and never the medium: an overwrite from user space is at most "Clear" in SP 800-88's words.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zeroizepy.exceptions import CertificateError
from zeroizepy.file import ShredReport, explain
from zeroizepy.json_form import from_plain, load_json
from zeroizepy.shred.report import now_text

from .receipts import SignedReceipt, sign_receipt, verify_receipt
from .signed import SignedForm, check_signing_key, read_signed, signed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from zeroizepy.signing import SigningKey

__all__ = [
    "Certificate",
    "Media",
    "Person",
    "SignedReceipt",
    "StoredReports",
    "certify",
    "read_reports",
    "sign_receipt",
    "verify_certificate",
    "verify_receipt",
]

DOMAIN = b"zeroizepy certificate of sanitization 1\n"
"""Stands before what is signed, so that no other signature of the same key can be taken for a certificate's."""

_STANDARD = "NIST SP 800-88 Rev. 1, section 4.8"
_SCOPE = (
    "The listed files, through the logical blocks they had when they were overwritten. The medium as a whole was not "
    "sanitized, and earlier copies of the files were not looked for."
)
_VERIFICATION = "Full: the last pass over each file was read back past the page cache and compared."
_STATEMENTS = {
    "this_process": (
        "The program that signed had the reports in its memory, as the overwriting left them there. A program that "
        "makes reports up could sign those, too: trust in the certificate is trust in the key's holder."
    ),
    "report_file": (
        "The reports were read from files, which are not signed: the signer vouches for them, this software does not."
    ),
}
_FIXED = {
    "standard": _STANDARD,
    "scope": _SCOPE,
    "verification": _VERIFICATION,
}
"""What every certificate of this version says, word by word: nobody can sign more than that in its form."""

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Media:
    """The medium, as the operator describes it; none of this is looked up. Empty where it is not said.

    Attributes:
        manufacturer: Who made it.
        model: Its model.
        serial: Its serial number.
        property_number: The organisation's own number for it.
        type: Magnetic, flash, hybrid, ...
        source: The user or computer that it came from.
    """

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    property_number: str = ""
    type: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Who answers for sanitization and verification, as given. Empty where it is not said.

    Attributes:
        name: Of the person.
        title: Position or title.
        organisation: For whom.
        location: Where it was done.
        contact: Telephone or another way to reach them.
    """

    name: str
    title: str = ""
    organisation: str = ""
    location: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class StoredReports:
    """Reports that were read back from JSON, which anybody can write: a certificate of them says so.

    Attributes:
        reports: As `read_reports` found them.
        digests: SHA-256, in hex, of each text that they are from.
    """

    reports: tuple[ShredReport, ...]
    digests: tuple[str, ...]

    def __add__(self, other: StoredReports) -> StoredReports:
        return StoredReports(self.reports + other.reports, self.digests + other.digests)


@dataclass(frozen=True, slots=True)
class Certificate(SignedForm):
    """A signed statement about overwritten files.

    Attributes:
        identifier: 128 random bits in hex, to tell certificates apart.
        issued: When it was signed, UTC, by the signer's clock.
        sanitized: When the files were overwritten, as the operator says, or else as the reports do: from the first to
            the last, UTC, by the clock of the machine that made them.
        standard: Whose fields these are.
        scope: What was sanitized, and what was not.
        sanitization: SP 800-88's category; overwriting is never more than Clear.
        method: How it was done.
        tool: Name and version.
        verification: How it was verified.
        media: The medium, as the operator describes it.
        person: Who answers for it.
        categorization_before: Confidentiality before, as given.
        categorization_after: Confidentiality afterwards, as given.
        destination: What happens to the medium next, as given.
        evidence: Whether the reports come from the signing process or from files.
        statement: What that means.
        report_digests: SHA-256 of the files that the reports were read from.
        limits: What the reports say remains, in words.
        reports: One for each file, whole.
        public_key: The signer's, in hex; a reader compares it with one that is known from elsewhere.
        signature: Over everything else, in hex.
    """

    schema: ClassVar[str] = "zeroizepy/certificate/1"
    domain: ClassVar[bytes] = DOMAIN
    name: ClassVar[str] = "a certificate"

    identifier: str
    issued: str
    sanitized: str
    standard: str
    scope: str
    sanitization: Literal["Clear"]
    method: Literal["overwrite"]
    tool: str
    verification: str
    media: Media
    person: Person
    categorization_before: str
    categorization_after: str
    destination: str
    evidence: Literal["this_process", "report_file"]
    statement: str
    report_digests: tuple[str, ...]
    limits: tuple[str, ...]
    reports: tuple[ShredReport, ...]
    public_key: str
    signature: str

    def to_html(self) -> str:
        """A page for people, in one piece; the JSON is what is signed, and this page names its SHA-256."""
        from .page import page

        return page(self)


def refusal(report: ShredReport) -> str | None:
    """Why a report cannot be certified, with its path and verdict; None when it can.

    What it says must also agree with itself: a report from a file may have been edited.
    """
    verdict = report.verdict or "no verdict"
    reasons = "; ".join(map(explain, report.reasons))
    if not report.existed:
        fault = "there was no such file"
    elif report.dry_run:
        fault = "it was a dry run, nothing was overwritten"
    elif report.error is not None:
        fault = f"it failed: {report.error}"
    elif report.verdict is None:
        fault = "there was nothing to overwrite; an empty file says nothing about content that it had before"
    elif report.verdict != "overwritten_verified":
        fault = reasons or "it was not read back and compared (verify=True)"
    elif not _is_consistent(report):
        fault = "the report contradicts this verdict"
    else:
        return None
    return f"{report.path}: {verdict}: {fault}"


def _is_consistent(report: ShredReport) -> bool:
    plan, passes = report.plan, report.passes
    return (
        report.verified
        and not report.reasons
        and not report.skipped_bytes
        and plan is not None
        and plan.verify
        and plan.verdict == report.verdict
        and not plan.reasons
        and plan.size_bytes == report.size_bytes
        and min(plan.size_bytes, plan.write_bytes) > 0
        and bool(passes)
        and tuple(each.pattern for each in passes) == plan.passes
        and all(each.bytes_written == plan.write_bytes for each in passes)
        and passes[-1].synced
        and not {"verify_cached", "not_read_back"} & set(report.notes)
    )


def _check(reports: tuple[ShredReport, ...]) -> None:
    if not reports:
        raise CertificateError("no report was given; there is nothing to certify")
    faults = [fault for fault in map(refusal, reports) if fault is not None]
    if faults:
        more = f" (and {len(faults) - _MOST_SHOWN} more)" if len(faults) > _MOST_SHOWN else ""
        raise CertificateError("cannot certify " + ", ".join(faults[:_MOST_SHOWN]) + more)


def certify(
    reports: Iterable[ShredReport] | StoredReports,
    key: SigningKey,
    *,
    operator: str,
    title: str = "",
    organisation: str = "",
    location: str = "",
    contact: str = "",
    media: Media | None = None,
    sanitized: str = "",
    categorization_before: str = "",
    categorization_after: str = "",
    destination: str = "",
) -> Certificate:
    """Sign a certificate of sanitization for files that were overwritten and verified.

    Args:
        reports: Of `secure_delete(..., verify=True)`, or `read_reports`.
        key: Signs. Anyone who has it can sign anything.
        operator: Name of the person who answers for sanitization and verification.
        title, organisation, location, contact: More about that person.
        media: The medium, described.
        sanitized: Date, or dates, of the overwriting, as the operator states it; empty takes those of the reports.
        categorization_before, categorization_after: Confidentiality of the medium.
        destination: What happens to the medium next.

    Returns:
        The certificate; `to_json()` and `to_html()` write it out.

    Raises:
        CertificateError: A report is not `overwritten_verified`, or contradicts itself; the message names path and
            verdict. Nothing is signed then. Also: no report, no operator, text that is no Unicode, rfc8785 is missing.
        TypeError: Something else than reports, or no SigningKey.
        SecureMemoryClosed: The key is closed.

    Source: NIST SP 800-88 Rev. 1, section 4.8; RFC 8785; RFC 8032.
    Does not reach: what the reports do not reach, which stands in `limits`; the truth of what the operator says.
    """
    check_signing_key(key)
    stored = reports if isinstance(reports, StoredReports) else None
    held = tuple(reports.reports if isinstance(reports, StoredReports) else reports)
    for each in held:
        if not isinstance(each, ShredReport):
            raise TypeError(f"reports must be ShredReports, not {type(each).__name__}")
    if not operator.strip():
        raise CertificateError("operator must be the name of a person, not empty")
    _check(held)
    evidence: Literal["this_process", "report_file"] = "this_process" if stored is None else "report_file"
    values: dict[str, Any] = {
        "identifier": secrets.token_hex(16),
        "issued": now_text(),
        "sanitized": sanitized or _dates(held),
        **_FIXED,
        "sanitization": "Clear",
        "method": "overwrite",
        "tool": f"zeroizepy {_version()}",
        "media": Media() if media is None else media,
        "person": Person(operator, title, organisation, location, contact),
        "categorization_before": categorization_before,
        "categorization_after": categorization_after,
        "destination": destination,
        "evidence": evidence,
        "statement": _STATEMENTS[evidence],
        "report_digests": () if stored is None else stored.digests,
        "limits": _limits(held),
        "reports": held,
    }
    return signed(Certificate, values, key)


def _dates(reports: tuple[ShredReport, ...]) -> str:
    first, last = min(report.finished for report in reports), max(report.finished for report in reports)
    return first if first == last else f"{first} to {last}"


def _limits(reports: tuple[ShredReport, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(explain(note) for report in reports for note in report.notes))


def _version() -> str:
    from importlib.metadata import version

    return version("zeroizepy")


def verify_certificate(text: str, public_key: Buffer) -> Certificate:
    """Read a certificate and check everything about it that can be checked.

    Args:
        text: What `to_json()` gave; one line end may follow.
        public_key: 32 bytes, from a source that you trust. The one in the certificate proves nothing.

    Returns:
        The certificate, whose reports are all `overwritten_verified`.

    Raises:
        CertificateError: Not a certificate of this version, not in canonical form, another key's, not signed by it,
            or with a report that could not have been certified. The message says which.
        TypeError, ValueError: `public_key` is not 32 bytes.
    """
    certificate = read_signed(Certificate, text, public_key)
    wanted = {**_FIXED, "statement": _STATEMENTS[certificate.evidence]}
    if wrong := [name for name, text in wanted.items() if getattr(certificate, name) != text]:
        raise CertificateError(f"says something else under {', '.join(wrong)} than certificates of this version do")
    _check(certificate.reports)
    return certificate


def read_reports(text: str) -> StoredReports:
    """Read what `zeroizepy shred --json` printed, or one report's `to_json()`.

    Args:
        text: JSON. Nothing in it is signed; a certificate of it says that.

    Raises:
        CertificateError: It is neither, a path has no report (it was refused before it was opened), or it is of whole
            directories, whose reports count files and do not list them.
    """
    try:
        found = load_json(text)
        if isinstance(found, dict) and found.get("directories"):
            raise CertificateError("it counts the files of whole directories (shred -r) and does not list them")
        entries = found["files"] if isinstance(found, dict) and isinstance(found.get("files"), list) else [found]
        reports = tuple(_read_entry(entry, f"files[{at}]") for at, entry in enumerate(entries))
    except ValueError as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"not a report: {error}") from None
    return StoredReports(reports, (sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),))


def _read_entry(entry: object, where: str) -> ShredReport:
    if isinstance(entry, dict) and "schema" not in entry and "path" in entry:
        raise CertificateError(f"cannot certify {entry['path']}: no report: {entry.get('error') or 'not begun'}")
    return from_plain(ShredReport, entry, where)
