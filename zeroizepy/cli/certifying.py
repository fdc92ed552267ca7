"""`certify`: sign what verified reports say, and check such certificates."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.certificate import (
    Certificate,
    Media,
    StoredReports,
    certify,
    read_reports,
    verify_certificate,
)
from zeroizepy.signing import SigningKey

from .console import Output
from .errors import BAD_USAGE, Failure, failure_of, printable
from .files import EMPTY_PATH, check_path, new_file, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zeroizepy.file import ShredReport, TreeReport

__all__ = ["certify_command", "issue", "load_signing_key", "parse_public_key", "read_report_file"]

_MOST_BYTES = 256 << 20
_MEDIA = ("manufacturer", "model", "serial", "property_number", "type", "source")
_MEDIA_HELP = {
    "manufacturer": "Of the medium; nothing about the medium is looked up.",
    "model": "Of the medium.",
    "serial": "Serial number of the medium.",
    "property_number": "The organisation's number for the medium.",
    "type": "Magnetic, flash, hybrid, ...",
    "source": "User or computer that the medium came from.",
}
_TEXTS = {
    "operator": "Name of the person who answers for sanitization and verification.",
    "title": "Position of that person.",
    "organisation": "For whom.",
    "location": "Where it was done.",
    "contact": "Telephone, or another way to reach that person.",
    "sanitized": "Date of the overwriting, as you state it; otherwise the reports' own.",
    "categorization_before": "Confidentiality before.",
    "categorization_after": "Confidentiality afterwards.",
    "destination": "What happens to the medium next.",
}


def load_signing_key(path: str) -> SigningKey:
    """Load a key file.

    Raises:
        Failure: It is none.
    """
    check_path(path)
    try:
        return SigningKey.load(path)
    except FileNotFoundError:
        raise Failure(f"{path}: no such key file", "make one with 'zeroizepy keygen --signing KEYFILE'") from None
    except ValueError as error:
        raise failure_of(error) from None


def parse_public_key(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    """Turn 64 hex digits into a public key, for click."""
    if value is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise click.BadParameter("a public key is 64 hex digits, as 'zeroizepy keygen --signing' shows them")
    return bytes.fromhex(value)


def read_text(path: str) -> str:
    """Read a regular file of UTF-8.

    Raises:
        Failure: It is none, or larger than 256 MiB.
    """
    check_path(path)
    with (
        open_regular(path, _MOST_BYTES, "give fewer reports in one file") as (fd, _),
        open(fd, "rb", closefd=False) as file,
    ):
        data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Failure(f"{path}: is not UTF-8 text", "give the file as a command of zeroizepy wrote it") from None


def read_report_file(path: str) -> StoredReports:
    """Read a report file.

    Raises:
        Failure: It is not one, or may not be read; the fault names it.
    """
    try:
        return read_reports(read_text(path))
    except ValueError as error:
        raise Failure(f"{path}: {error}", "give what 'zeroizepy shred --verify --json FILE...' printed") from None


def issue(
    reports: Iterable[ShredReport | TreeReport] | StoredReports, key_file: str, folder: str, details: dict[str, Any]
) -> tuple[Certificate, str, str]:
    """Certify reports and write both forms; another command can call this with the reports that it holds.

    Args:
        reports: As for `zeroizepy.certificate.certify`.
        key_file: The signing key.
        folder: Where the two files go; it must exist.
        details: Keyword arguments of `certify`.

    Returns:
        The certificate, and the names of its JSON and its HTML file, which nothing stood at before.

    Raises:
        CertificateError: A report cannot be certified; nothing is written then.
        Failure, OSError: The key or the files.
    """
    if not folder:
        raise Failure(*EMPTY_PATH, BAD_USAGE)
    if not os.path.isdir(folder):
        raise Failure(f"{folder}: is not a folder", "make it first")
    with load_signing_key(key_file) as key:
        certificate = certify(reports, key, **details)
    base = os.path.join(folder, f"certificate-{certificate.identifier}")
    names = []
    for suffix, text in ((".json", certificate.to_json() + "\n"), (".html", certificate.to_html())):
        with new_file(base + suffix) as file:
            file.write(text.encode())
        names.append(base + suffix)
    return certificate, names[0], names[1]


def _text_options(command: Callable[..., Any]) -> Callable[..., Any]:
    named = [*((f"media_{name}", _MEDIA_HELP[name]) for name in reversed(_MEDIA)), *reversed(_TEXTS.items())]
    for name, text in named:
        option = "--" + name.replace("_", "-")
        command = click.option(option, name, default="", metavar="TEXT", help=text)(command)
    return command


@click.command("certify")
@click.argument("reports", nargs=-1, metavar="[REPORT.json]...")
@click.option("--key", "key_file", metavar="KEYFILE", help="Signing key (see keygen --signing).")
@click.option("--out", "folder", metavar="DIR", help="Folder for certificate-ID.json and certificate-ID.html.")
@_text_options
@click.option("--check", metavar="CERTIFICATE", help="Check a certificate instead; needs --public-key.")
@click.option(
    "--public-key", callback=parse_public_key, metavar="HEX", help="The signer's public key, from where you trust it."
)
def certify_command(
    reports: tuple[str, ...],
    key_file: str | None,
    folder: str | None,
    check: str | None,
    public_key: bytes | None,
    **texts: str,
) -> int:
    """Sign a certificate of sanitization for the files in REPORT.json, which 'zeroizepy shred --verify --json' printed.

    Every file must have the verdict overwritten_verified, or nothing is signed. The certificate has the fields of
    NIST SP 800-88 Rev. 1, section 4.8; its method is Clear, by overwriting, of the listed files and never of the whole
    medium. Of whole directories (shred -r) it has counts, empty files and links apart, and the SHA-256 of the list of
    files; one whose run was cut short and gone on with cannot be certified. Reports are unsigned files that anybody can
    write: the certificate says that its signer vouches for them.

    --check takes a certificate's JSON and says whether this public key signed it, and for what.
    """
    ctx = click.get_current_context()
    if check is not None:
        if reports or key_file or folder or public_key is None:
            raise click.UsageError("--check takes a certificate and --public-key, and nothing else", ctx)
        return _show_checked(check, public_key)
    if not reports or key_file is None or folder is None or public_key is not None:
        raise click.UsageError("give report files, --key KEYFILE and --out DIR; or --check with --public-key", ctx)
    if not texts["operator"].strip():
        raise click.UsageError("--operator is missing: a certificate names a person who answers for it", ctx)
    media = Media(**{name: texts.pop(f"media_{name}") for name in _MEDIA})
    stored = _read_each_once(reports)
    certificate, document, page = issue(stored, key_file, folder, {**texts, "media": media})
    output = Output()
    output.line(f"{document}: signed, {certificate.count_text()}")
    output.line(f"{page}: the same for people")
    return 0


def _read_each_once(paths: tuple[str, ...]) -> StoredReports:
    """All reports; a file that is given twice would make two of each that it lists."""
    stored = StoredReports((), ())
    for path in paths:
        found = read_report_file(path)
        if set(found.digests) & set(stored.digests):
            raise Failure(f"{path}: is given twice, or is a copy of another report file", "give each report once")
        stored += found
    return stored


def _show_checked(path: str, public_key: bytes) -> int:
    try:
        certificate = verify_certificate(read_text(path), public_key)
    except ValueError as error:
        fault, _, hint = str(error).partition("; ")
        raise Failure(f"{path}: {printable(fault)}", hint or None) from None
    output = Output()
    output.line(f"{path}: valid, {certificate.count_text()}", "bold")
    facts = {
        "number": certificate.identifier,
        "issued": certificate.issued,
        "person": certificate.person.name,
        "method": f"{certificate.sanitization}, {certificate.method}",
        "scope": certificate.scope,
        "evidence": certificate.statement,
    }
    for label, value in facts.items():
        output.fact(label, value)
    for report in certificate.reports:
        output.fact("file", report.path)
    for tree in certificate.trees:
        output.fact("directory", tree.path)
        output.fact(
            "of it", f"files {tree.files}, bytes {tree.size_bytes}, directories removed {tree.directories_removed}"
        )
        output.fact("list", f"SHA-256 {tree.list_sha256}")
    for limit in certificate.limits:
        output.fact("note", limit)
    return 0
