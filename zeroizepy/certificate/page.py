"""A certificate as a web page: one file, no script, nothing fetched, every value escaped."""

from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, Any

from zeroizepy.file import explain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zeroizepy.file import ShredReport, TreeReport

    from . import Certificate

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #111; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin-top: 1.6em; border-bottom: 1px solid #999; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .2em .6em; }
tr { border-bottom: 1px solid #ddd; } th { width: 14em; font-weight: 600; }
td { overflow-wrap: anywhere; } thead th { width: auto; }
code { font-size: .9em; } .statement { border: 2px solid #111; padding: .6em 1em; }
@media print { body { margin: 0; max-width: none; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HOW_TO_CHECK = (
    "This page is not signed. The JSON file of the same name is; check it with <code>zeroizepy certify --check FILE "
    "--public-key HEX</code> and a public key that you know from elsewhere."
)
_LABELS = {
    "identifier": "Certificate number",
    "issued": "Issued",
    "sanitized": "Sanitized on",
    "standard": "Fields of",
    "sanitization": "Sanitization",
    "method": "Method",
    "tool": "Tool",
    "verification": "Verification",
    "categorization_before": "Confidentiality before",
    "categorization_after": "Confidentiality afterwards",
    "destination": "Destination",
    "property_number": "Property number",
    "serial": "Serial number",
}


def page(certificate: Certificate) -> str:
    """The whole page."""
    text = certificate.to_json()
    simple = [(_label(name), getattr(certificate, name)) for name in _LABELS if hasattr(certificate, name)]
    summary = (
        f"<strong>{_shown(certificate.sanitization)}</strong> of {certificate.count_text()} by overwriting, each file "
        f"that held bytes read back and compared. {_shown(certificate.scope)} {_shown(certificate.statement)}"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>Certificate of sanitization {_shown(certificate.identifier)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Certificate of sanitization</h1>",
        f'<p class="statement">{summary}</p>',
        "<h2>Sanitization and verification</h2>",
        _table(simple),
        "<h2>Person</h2>",
        _table(_members(certificate.person)),
        "<h2>Medium, as described by that person</h2>",
        _table(_members(certificate.media)),
        "<h2>What remains</h2>",
        f"<ul>{''.join(f'<li>{_shown(limit)}</li>' for limit in certificate.limits)}</ul>",
        *(("<h2>Files</h2>", _files(certificate.reports)) if certificate.reports else ()),
        *(("<h2>Directories</h2>", _trees(certificate.trees)) if certificate.trees else ()),
        "<h2>Signature</h2>",
        f"<p>{_HOW_TO_CHECK}</p>",
        _table(
            [
                ("Algorithm", "Ed25519 (RFC 8032) over canonical JSON (RFC 8785)"),
                ("Public key", certificate.public_key),
                ("Signature", certificate.signature),
                ("SHA-256 of the JSON", sha256(text.encode()).hexdigest()),
                *(("SHA-256 of a report file", digest) for digest in certificate.report_digests),
            ]
        ),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _shown(text: str) -> str:
    """Text for the page: markup is escaped, and what turns or hides other text is spelt out."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text))


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " ").capitalize())


def _members(value: Any) -> list[tuple[str, str]]:
    return [(_label(field.name), getattr(value, field.name)) for field in fields(value)]


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{_shown(label)}</th><td>{_shown(value) or '&mdash;'}</td></tr>" for label, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _files(reports: Iterable[ShredReport]) -> str:
    return _listed(("Path", "Bytes", "Passes", "Verdict", "Name", "Notes"), map(_file, reports))


def _trees(reports: Iterable[TreeReport]) -> str:
    head = ("Path", "Files unlinked", "Bytes", "Directories removed", "Verdicts", "Notes")
    return _listed((*head, "SHA-256 of the list of files"), map(_tree, reports))


def _listed(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    names = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{_shown(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _file(report: ShredReport) -> tuple[str, ...]:
    return (
        report.path,
        str(report.size_bytes),
        ", ".join(each.pattern for each in report.passes),
        str(report.verdict),
        "unlinked" if report.unlinked else "still there",
        "; ".join(map(explain, report.notes)),
    )


def _tree(report: TreeReport) -> tuple[str, ...]:
    return (
        report.path,
        str(report.files),
        str(report.size_bytes),
        str(report.directories_removed),
        ", ".join(f"{number} {verdict}" for verdict, number in sorted(report.verdicts.items(), reverse=True)),
        "; ".join(map(explain, report.notes)),
        str(report.list_sha256),
    )
