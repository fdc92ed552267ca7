"""`audit`: append to a hash-chained log, and verify it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from zeroizepy.audit import AuditLog, Entry, verify
from zeroizepy.exceptions import AuditError

from .certifying import load_signing_key, parse_public_key
from .console import Output
from .errors import Failure, printable
from .files import check_path
from .reports import read_any_report_file

if TYPE_CHECKING:
    from zeroizepy.signing import SigningKey

    from .reports import ReportFile

__all__ = ["audit_command"]

_NOT_SHOWN = (
    "by itself a chain does not show that the whole file was written anew, or that entries were cut off its end: keep "
    "its head elsewhere and give it with --head, or sign checkpoints and give --public-key"
)


def _failure(error: AuditError) -> Failure:
    fault, _, hint = str(error).partition("; ")
    return Failure(printable(fault), hint or None)


@click.group("audit", invoke_without_command=True)
@click.pass_context
def audit_command(ctx: click.Context) -> None:
    """Keep an append-only log of reports in which every entry holds the hash of the one before it.

    A changed, removed, added, repeated or moved entry is found. Whoever may write to the file can still write it anew
    as a whole, or cut off its end: to notice that, keep its head (audit head) or a signing key elsewhere.
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError("a command is missing: append, head or verify", ctx)


@audit_command.command("append")
@click.argument("log", metavar="LOG")
@click.argument("reports", nargs=-1, metavar="[REPORT.json]...")
@click.option("--note", metavar="TEXT", help="Record this text as well.")
@click.option("--key", "key_file", metavar="KEYFILE", help="Sign a checkpoint at the end (see keygen --signing).")
def append_command(log: str, reports: tuple[str, ...], note: str | None, key_file: str | None) -> int:
    """Append report files to LOG, which is made when it is missing.

    Taken is what shred, shred -r, shred-device, wipe-free and recover print with --json, receipts of erased keys, and
    certificates, whose signatures are not checked here. Each file is one entry with its SHA-256 and the reports in it,
    whatever their verdict. Write no secrets to the log: it is plain text.
    """
    check_path(log)
    if not reports and note is None and key_file is None:
        raise click.UsageError("give report files, --note or --key", click.get_current_context())
    # All of them, and the key, before anything is written.
    stored = [read_any_report_file(path) for path in reports]
    try:
        with nullcontext() if key_file is None else load_signing_key(key_file) as key:
            entries = _append_all(AuditLog(log), stored, note, key)
    except AuditError as error:
        raise _failure(error) from None
    except ValueError as error:
        raise Failure(f"{log}: {error}") from None
    output = Output()
    for entry in entries:
        output.line(f"{log}: entry {entry.sequence} ({entry.event}) {entry.hash}")
    return 0


def _append_all(log: AuditLog, stored: list[ReportFile], note: str | None, key: SigningKey | None) -> list[Entry]:
    entries = [log.record("report_file", {"sha256": each.digest, "reports": list(each.reports)}) for each in stored]
    if note is not None:
        entries.append(log.record("note", {"text": note}))
    if key is not None:
        entries.append(log.checkpoint(key))
    return entries


@audit_command.command("verify")
@click.argument("log", metavar="LOG")
@click.option("--head", metavar="HASH", help="A head that you kept: the log must still hold that entry.")
@click.option(
    "--public-key", callback=parse_public_key, metavar="HEX", help="There must be a checkpoint that this key signed."
)
def verify_command(log: str, head: str | None, public_key: bytes | None) -> int:
    """Check every entry of LOG. Status 1 and the number of the line when something was changed.

    Without --head and --public-key a log that was written anew as a whole, or cut at its end, can look unbroken.
    """
    check_path(log)
    try:
        found = verify(log, expected_head=head, public_key=public_key)
    except AuditError as error:
        raise _failure(error) from None
    except ValueError as error:
        raise click.UsageError(str(error).replace("expected_head", "--head"), click.get_current_context()) from None
    output = Output()
    output.line(f"{log}: unbroken, {'1 entry' if found.entries == 1 else f'{found.entries} entries'}", "bold")
    output.fact("head", found.head)
    if found.expected_at is not None:
        output.fact(
            "kept head", f"is that of entry {found.expected_at}; {found.entries - 1 - found.expected_at} follow"
        )
    if found.signed is not None:
        output.fact("signed", f"through entry {found.signed}; {found.entries - 1 - found.signed} follow")
    if found.interrupted:
        output.fact(
            "note", f"{found.interrupted} interrupted writes left remains, which are sealed and hold no entries"
        )
    if head is None and public_key is None:
        output.fact("note", _NOT_SHOWN)
    return 0


@audit_command.command("head")
@click.argument("log", metavar="LOG")
def head_command(log: str) -> int:
    """Verify LOG and print the hash of its last entry, to be kept elsewhere."""
    check_path(log)
    try:
        Output().line(AuditLog(log).head())
    except AuditError as error:
        raise _failure(error) from None
    return 0
