"""Report files: what the commands print with --json, of any kind that has a schema."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from zeroizepy.certificate import Certificate, SignedReceipt
from zeroizepy.crypto import ErasureReceipt
from zeroizepy.erasure import CryptoShredReport, KeyFileErasure
from zeroizepy.file import DeviceReport, FreeSpaceReport, ShredReport, TreeReport
from zeroizepy.json_form import from_plain, load_json
from zeroizepy.session import RecoveryReport

from .certifying import read_text
from .errors import Failure

if TYPE_CHECKING:
    from zeroizepy.json_form import JsonForm

__all__ = ["ReportFile", "read_any_report_file"]

_KINDS: dict[str, type[JsonForm]] = {
    kind.schema: kind
    for kind in (
        Certificate,
        CryptoShredReport,
        DeviceReport,
        ErasureReceipt,
        FreeSpaceReport,
        KeyFileErasure,
        RecoveryReport,
        ShredReport,
        SignedReceipt,
        TreeReport,
    )
}
_LISTS = ("files", "directories")
_NO_REPORT = {"path", "error"}


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What a report file holds.

    Attributes:
        digest: SHA-256 of the file, in hex.
        reports: Plain JSON values, each checked against the dataclass that its schema names; `{"path", "error"}` for a
            path of `shred` that there is no report of.
    """

    digest: str
    reports: tuple[dict[str, Any], ...]


def read_any_report_file(path: str) -> ReportFile:
    """Read what a command printed with --json, or what a report's `to_json()` gave. Signatures are not checked.

    Raises:
        Failure: It is neither, or may not be read; the fault names it.
    """
    text = read_text(path)
    try:
        reports = tuple(_read_entry(entry, where) for entry, where in _entries(load_json(text)))
    except ValueError as error:
        hint = "give what shred, shred-device, wipe-free or recover printed with --json, a receipt, or a certificate"
        raise Failure(f"{path}: not a report: {error}", hint) from None
    return ReportFile(sha256(text.encode()).hexdigest(), reports)


def _entries(found: Any) -> list[tuple[Any, str]]:
    """The reports in a file, each with what an error calls it: one, or the lists that `shred --json` prints."""
    if not isinstance(found, dict) or "schema" in found or not isinstance(found.get("files"), list):
        return [(found, "report")]
    entries = [
        (entry, f"{name}[{at}]")
        for name in _LISTS
        if isinstance(found.get(name), list)
        for at, entry in enumerate(found[name])
    ]
    if not entries:
        raise ValueError("it lists nothing")
    return entries


def _read_entry(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object")  # noqa: TRY004 - input, not an argument.
    if set(entry) == _NO_REPORT:
        return {name: entry[name] for name in sorted(_NO_REPORT)}
    kind = _KINDS.get(str(entry.get("schema")))
    if kind is None:
        raise ValueError(f"{where}.schema is none of {', '.join(sorted(_KINDS))}")
    return from_plain(kind, entry, where).to_dict()
