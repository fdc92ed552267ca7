"""`shred`: overwrite and unlink files, each with its verdict."""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from zeroizepy.exceptions import SecureMemoryWarning
from zeroizepy.file import ShredReport, explain, secure_delete

from . import errors
from .console import Output, progress_bar, size_text

__all__ = ["show_report", "shred_command"]

_STYLES = {"overwritten_verified": "green", "overwritten": "green", "not_in_place": "yellow", "refused": "red"}
_HEX_PREFIX = "hex:"


def _parse_pattern(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str | bytes:
    if value in ("random", "zeros", "ones"):
        return value
    data = b""
    if value.startswith(_HEX_PREFIX):
        with suppress(ValueError):
            data = bytes.fromhex(value.removeprefix(_HEX_PREFIX))
    if not data:
        raise click.BadParameter(f"{value!r} is not random, zeros, ones, or hex: and pairs of digits, as in hex:00ff")
    return data


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One path: its report if there is one, and what failed."""

    path: str
    report: ShredReport | None
    failure: errors.Failure | None

    def to_dict(self) -> dict[str, Any]:
        base = {} if self.report is None else self.report.to_dict()
        error = None if self.failure is None else self.failure.fault
        return {**base, "path": self.path, "error": error}


def show_report(output: Output, report: ShredReport) -> None:
    """The verdict on one file, why, and what remains."""
    verdict = report.verdict or "nothing to overwrite"
    done = sum(1 for each in report.passes if each.bytes_written == report.size_bytes)
    output.fact("verdict", verdict, _STYLES.get(verdict, ""))
    if report.passes and report.size_bytes:
        passes = "1 pass" if done == 1 else f"{done} passes"
        read_back = ", read back and compared" if report.verified else ""
        output.fact("overwritten", f"{passes} over {size_text(report.size_bytes)}{read_back}")
    output.fact("name", ("renamed, " if report.renamed else "") + ("unlinked" if report.unlinked else "still there"))
    for reason in report.reasons:
        output.fact("because", explain(reason))
    for note in report.notes:
        output.fact("note", explain(note))


def _show_plan(output: Output, report: ShredReport) -> None:
    plan = report.plan
    if plan is None:
        output.fact("would", "unlink")
    else:
        for step in plan.steps():
            output.fact("would", step)
        verdict = plan.verdict or "nothing to overwrite"
        output.fact("expected", verdict, _STYLES.get(verdict, ""))
    for reason in report.reasons:
        output.fact("because", explain(reason))
    for note in report.notes:
        output.fact("note", explain(note))


def _one(path: str, quiet: bool, options: dict[str, Any]) -> _Outcome:
    """Shred one path. Only Ctrl-C ends the run over all; everything else becomes an outcome."""
    try:
        with progress_bar(path, quiet=quiet) as show, warnings.catch_warnings():
            # The report says the same, and more; a warning that memory is not locked is no part of it.
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", SecureMemoryWarning)
            report = secure_delete(path, progress=show, **options)
    except Exception as error:  # noqa: BLE001 - one failing path does not stop the others.
        found = getattr(error, "report", None)
        return _Outcome(path, found if isinstance(found, ShredReport) else None, errors.describe(error, path))
    if not report.existed:
        return _Outcome(path, report, errors.Failure(f"{path}: no such file"))
    return _Outcome(path, report, None)


def _summary(outcomes: list[_Outcome], *, dry_run: bool) -> tuple[str, dict[str, int]]:
    def name_of(outcome: _Outcome) -> str:
        if outcome.failure is not None:
            return "failed"
        verdict = None if outcome.report is None else outcome.report.verdict
        return "planned" if dry_run else verdict or "nothing_to_overwrite"

    counts = Counter(map(name_of, outcomes))
    parts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(counts.items()))
    return f"{len(outcomes)} paths: {parts}", dict(counts)


@click.command("shred")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-n", "--passes", type=click.IntRange(0, 1000), default=3, show_default=True, help="Overwrites.")
@click.option(
    "--pattern",
    callback=_parse_pattern,
    default="random",
    show_default=True,
    metavar="PATTERN",
    help="random, zeros, ones, or hex:00ff...",
)
@click.option("--verify", is_flag=True, help="Read the last pass back and compare.")
@click.option("--no-rename", is_flag=True, help="Unlink under the old name.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show the plan and the verdict it would give.")
@click.option("--force", is_flag=True, help="Take files without owner-write permission.")
@click.option("--allow-hard-links", is_flag=True, help="Take files with other names; these then hold the new content.")
@click.option("--follow-symlinks", is_flag=True, help="Shred what a link leads to; otherwise the link is unlinked.")
@click.option("--json", "as_json", is_flag=True, help="Reports as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="Nothing on stdout, no progress bar; errors still go to stderr.")
def shred_command(
    paths: tuple[str, ...],
    passes: int,
    pattern: str | bytes,
    verify: bool,
    no_rename: bool,
    dry_run: bool,
    force: bool,
    allow_hard_links: bool,
    follow_symlinks: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Overwrite each PATH in place and unlink it. There is no way back and no question.

    \b
    Each file gets a verdict:
      overwritten_verified  each block was written, and read back as written
      overwritten           each block was written and flushed
      not_in_place          old bytes may remain, for the reasons that follow it
    The file is unlinked in all three cases, and the exit status is 0. It is 1 when a
    path was missing, refused or failed; the others are still done.

    An overwrite does not reach earlier copies (backups, snapshots, editors, swap), remapped sectors, and cells that a
    flash device keeps; copy-on-write file systems write elsewhere. For data there, encrypt from the start and shred
    the key file.
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    options = {
        "passes": passes,
        "pattern": pattern,
        "verify": verify,
        "rename": not no_rename,
        "dry_run": dry_run,
        "force": force,
        "allow_hard_links": allow_hard_links,
        "follow_symlinks": follow_symlinks,
    }
    output = Output()
    outcomes = []
    for path in paths:
        outcome = _one(path, quiet or as_json, options)
        outcomes.append(outcome)
        if outcome.failure is not None:
            sys.stdout.flush()
            errors.report(outcome.failure)
        elif not quiet and not as_json and outcome.report is not None:
            output.line(path, "bold")
            (_show_plan if dry_run else show_report)(output, outcome.report)
    text, counts = _summary(outcomes, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"files": [each.to_dict() for each in outcomes], "summary": counts}, indent=2))
    elif not quiet and len(outcomes) > 1:
        output.line(text)
    return errors.FAILED if any(each.failure for each in outcomes) else 0
