"""`recover`: shred what sessions left when their process was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zeroizepy.file import explain
from zeroizepy.session import recover

from . import errors
from .console import LastingOutput
from .overwriting import json_option

if TYPE_CHECKING:
    from zeroizepy.session import RecoveredItem, RecoveredSession, RecoveryReport

__all__ = ["recover_command"]

_STYLES = {"removed": "green", "missing": "green", "would_remove": "yellow"}
_HINTS = {
    "replaced": "look at what stands there, and remove it yourself; --forget then drops the record",
    "unreachable": "mount the volume it is on and try again; --forget drops the record",
    "failed": "mend that and try again, or remove it yourself; --forget then drops the record",
}
"""By the outcome; a path that is done needs none."""

_NO_DIRECTORY = "make it a directory that this user alone can enter, or name another in ZEROIZEPY_STATE_DIR"


def _show_item(output: LastingOutput, item: RecoveredItem) -> None:
    output.line(item.path, "bold")
    output.fact(item.kind, item.outcome.replace("_", " "), _STYLES.get(item.outcome, "red"))
    for report in item.reports:
        reasons = "; ".join(map(explain, report.reasons))
        verdict = report.verdict or "nothing to overwrite"
        where = "" if report.path == item.path else f"{report.path}: "
        output.fact("shredded" if report.unlinked else "left", where + verdict + (f" ({reasons})" if reasons else ""))


def _show(output: LastingOutput, report: RecoveryReport) -> None:
    for session in report.sessions:
        for item in session.items:
            _show_item(output, item)
    if report.error is not None and not report.sessions:
        return  # Nothing is known of sessions where their directory cannot be read; stderr says that.
    number = sum(each.unlinked for each in report.reports)
    shredded = "nothing touched" if report.dry_run else f"{number} {'file' if number == 1 else 'files'} shredded"
    done = f"{len(report.sessions)} killed, {shredded}" if report.sessions else "no session was killed"
    output.line(f"{report.directory}: {done}, {report.live} live")


def _tell_failures(session: RecoveredSession) -> int:
    """Say on stderr what is left of a session. Returns the exit status that goes with it."""
    status = 0
    if session.error is not None:
        status = errors.report(errors.Failure(f"{session.journal}: {session.error}", "--forget removes it"))
    for item in session.items:
        if item.outcome in _HINTS:
            # What stands behind a semicolon is a remedy for programs.
            fault = "; ".join(each.partition("; ")[0] for each in item.errors) or item.outcome
            status = errors.report(errors.Failure(f"{item.path}: {fault}", _HINTS[item.outcome]))
    return status


@click.command("recover")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be shredded.")
@click.option("--forget", is_flag=True, help="Drop the records of what is left after this try.")
@json_option
@click.option("--quiet", is_flag=True, help="Nothing on stdout; errors still go to stderr.")
def recover_command(dry_run: bool, forget: bool, as_json: bool, quiet: bool) -> int:
    """Shred what sessions left when their process was killed.

    Each session that makes files keeps a journal in $ZEROIZEPY_STATE_DIR, else in zeroizepy below $XDG_STATE_HOME or
    ~/.local/state. When the process is gone and the journal is not, what it names is shredded: private directories with
    all that is in them, and files elsewhere that are still the same file. Anything else is left alone and named.

    The exit status is 0 when there was nothing, or nothing is left; 1 when something is left; 130 after Ctrl-C. The
    next session of the same user does the same by itself.

    What a session's programs left elsewhere, and files that were moved or replaced, are not found. The verdicts say
    what the overwrites reached.
    """
    try:
        report = recover(dry_run=dry_run, forget=forget)
    except ValueError as error:  # Of the variable that names the directory.
        fault, _, hint = str(error).partition("; ")
        raise errors.Failure(fault, hint) from None
    output = LastingOutput()
    if as_json:
        output.document(report.to_dict())
    elif not quiet:
        _show(output, report)
    statuses = [_tell_failures(session) for session in report.sessions]
    if report.error is not None:
        statuses.append(errors.report(errors.Failure(f"{report.directory}: {report.error}", _NO_DIRECTORY)))
    if output.failure is not None:
        statuses.append(errors.report(output.failure))
    return max(statuses, default=0)
