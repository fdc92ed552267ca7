"""Certificates of sanitization: verified reports with the fields of NIST SP 800-88 Rev. 1, section 4.8, signed.

A certificate is JSON in the canonical form of RFC 8785 with an Ed25519 signature over it. It says that whoever holds
the key had these reports; it proves nothing about what the key's holder chose to put in. It covers the files that it
lists, or that it counts beneath a directory, and never the medium: an overwrite from user space is at most "Clear" in
SP 800-88's words.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zeroizepy.exceptions import CertificateError
from zeroizepy.file import ShredReport, TreeReport, explain
from zeroizepy.json_form import from_plain, load_json
from zeroizepy.shred.report import now_text

from .receipts import SignedReceipt, sign_receipt, verify_receipt
from .rules import BARE, refusal, tree_refusal
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
    "The listed files, and beneath each listed directory the files that its run counted, through the logical blocks "
    "they had when they were overwritten. The medium as a whole was not sanitized, and earlier copies of the files "
    "were not looked for. Of the files beneath a directory the certificate has the SHA-256 of their list, not the "
    "list. Empty files and symbolic links among them were unlinked: there was nothing in them to overwrite."
)
_VERIFICATION = "Full: the last pass over each file that held bytes was read back past the page cache and compared."
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
        trees: Those of whole directories.
    """

    reports: tuple[ShredReport, ...]
    digests: tuple[str, ...]
    trees: tuple[TreeReport, ...] = ()

    def __add__(self, other: StoredReports) -> StoredReports:
        return StoredReports(self.reports + other.reports, self.digests + other.digests, self.trees + other.trees)


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
        trees: One for each directory, whole: its path, counts and the hash over the list of its files.
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
    trees: tuple[TreeReport, ...]
    public_key: str
    signature: str

    def count_text(self) -> str:
        """How much it covers, in words: `2 files`, `1 directory with 3 files and 1 empty file or link`."""
        bare = sum(each.reasons.get(code, 0) for each in self.trees for code in BARE)
        below = sum(each.files for each in self.trees) - bare
        trees = f"{_number(len(self.trees), 'directory', 'directories')} with {_number(below, 'file', 'files')}"
        if bare:
            trees += f" and {_number(bare, 'empty file or link', 'empty files or links')}"
        files = _number(len(self.reports), "file", "files")
        return " and ".join((files,) * bool(self.reports) + (trees,) * bool(self.trees))

    def to_html(self) -> str:
        """A page for people, in one piece; the JSON is what is signed, and this page names its SHA-256."""
        from .page import page

        return page(self)


def _check(reports: tuple[ShredReport, ...], trees: tuple[TreeReport, ...]) -> None:
    if not reports and not trees:
        raise CertificateError("no report was given; there is nothing to certify")
    faults = [fault for fault in (*map(refusal, reports), *map(tree_refusal, trees)) if fault is not None]
    if faults:
        more = f" (and {len(faults) - _MOST_SHOWN} more)" if len(faults) > _MOST_SHOWN else ""
        raise CertificateError("cannot certify " + ", ".join(faults[:_MOST_SHOWN]) + more)


def certify(
    reports: Iterable[ShredReport | TreeReport] | StoredReports,
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
        reports: Of `secure_delete(..., verify=True)` and `shred_tree(..., verify=True)`, or `read_reports`.
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
            verdict. Nothing is signed then. A tree is refused when anything in it but directories, empty files and
            symbolic links is not `overwritten_verified`, when anything failed or was left, when it had nothing to
            overwrite at all, and when a run was gone on with.
            Also: no report, no operator, text that is no Unicode, rfc8785 is missing.
        TypeError: Something else than reports, or no SigningKey.
        SecureMemoryClosed: The key is closed.

    Source: NIST SP 800-88 Rev. 1, section 4.8; RFC 8785; RFC 8032.
    Does not reach: what the reports do not reach, which stands in `limits`; the truth of what the operator says.
    """
    check_signing_key(key)
    stored = reports if isinstance(reports, StoredReports) else None
    given: tuple[ShredReport | TreeReport, ...]
    given = (*reports.reports, *reports.trees) if isinstance(reports, StoredReports) else tuple(reports)
    for each in given:
        if not isinstance(each, (ShredReport, TreeReport)):
            raise TypeError(f"reports must be ShredReports or TreeReports, not {type(each).__name__}")
    held, trees = _apart(given)
    if not operator.strip():
        raise CertificateError("operator must be the name of a person, not empty")
    _check(held, trees)
    evidence: Literal["this_process", "report_file"] = "this_process" if stored is None else "report_file"
    values: dict[str, Any] = {
        "identifier": secrets.token_hex(16),
        "issued": now_text(),
        "sanitized": sanitized or _dates(given),
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
        "limits": _limits(given),
        "reports": held,
        "trees": trees,
    }
    return signed(Certificate, values, key)


def _apart(
    given: tuple[ShredReport | TreeReport, ...],
) -> tuple[tuple[ShredReport, ...], tuple[TreeReport, ...]]:
    """The reports of files and those of directories."""
    trees = tuple(each for each in given if isinstance(each, TreeReport))
    return tuple(each for each in given if isinstance(each, ShredReport)), trees


def _dates(reports: tuple[ShredReport | TreeReport, ...]) -> str:
    first, last = min(report.finished for report in reports), max(report.finished for report in reports)
    return first if first == last else f"{first} to {last}"


def _limits(reports: tuple[ShredReport | TreeReport, ...]) -> tuple[str, ...]:
    codes = (code for report in reports for code in (*report.notes, *report.reasons))
    return tuple(dict.fromkeys(map(explain, codes)))


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


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
    _check(certificate.reports, certificate.trees)
    return certificate


def read_reports(text: str) -> StoredReports:
    """Read what `zeroizepy shred --json` printed, or one report's `to_json()`.

    Args:
        text: JSON. Nothing in it is signed; a certificate of it says that.

    Raises:
        CertificateError: It is neither, a path has no report (it was refused before it was opened), or it is of a
            directory and of an older version, which kept no hash over the list of files.
    """
    try:
        found = load_json(text)
        names = [name for name in ("files", "directories") if isinstance(found, dict) and name in found]
        lists = {name: found[name] for name in names} or {"files": [found]}
        if wrong := [name for name, entries in lists.items() if not isinstance(entries, list)]:
            raise CertificateError(f"not a report: {wrong[0]} must be a list")
        given = tuple(
            _read_entry(entry, f"{name}[{at}]") for name, entries in lists.items() for at, entry in enumerate(entries)
        )
    except ValueError as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"not a report: {error}") from None
    reports, trees = _apart(given)
    return StoredReports(reports, (sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),), trees)


def _read_entry(entry: object, where: str) -> ShredReport | TreeReport:
    if isinstance(entry, dict) and "schema" not in entry and "path" in entry:
        raise CertificateError(f"cannot certify {entry['path']}: no report: {entry.get('error') or 'not begun'}")
    if not isinstance(entry, dict) or entry.get("schema") != TreeReport.schema:
        return from_plain(ShredReport, entry, where)
    if "list_sha256" not in entry:
        raise CertificateError(
            f"cannot certify {entry.get('path')}: its report counts files and has no hash over their list, which older "
            "versions did not keep; only a run of this version can be certified"
        )
    return from_plain(TreeReport, entry, where)
