"""`shred`: overwrite and unlink files, each with its verdict."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.exceptions import SecureMemoryWarning
from zeroizepy.file import ShredReport, explain, secure_delete

from . import errors
from .console import LastingOutput, Output, progress_bar, size_text
from .files import EMPTY_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """One path: its report if there is one, what failed, and what the summary counts that as."""

    path: str
    report: ShredReport | None
    failure: errors.Failure | None = None
    counted_as: str = "failed"

    def to_dict(self) -> dict[str, Any]:
        base = {} if self.report is None else self.report.to_dict()
        error = None if self.failure is None else self.failure.fault
        return {**base, "path": self.path, "error": error}


def show_report(output: Output, report: ShredReport) -> None:
    """The verdict on one file, why, and what remains."""
    verdict = report.verdict or "nothing to overwrite"
    done = report.full_passes
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
    """Shred one path. Whatever happens becomes an outcome; only that of Ctrl-C ends the run over all."""
    if not path:
        return _Outcome(path, None, errors.Failure(*EMPTY_PATH))
    try:
        with progress_bar(path, quiet=quiet) as show, warnings.catch_warnings():
            # The report says the same, and more; a warning that memory is not locked is no part of it.
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", SecureMemoryWarning)
            report = secure_delete(path, progress=show, **options)
    except KeyboardInterrupt as error:
        found = _report_of(error)
        failure = errors.Failure(f"interrupted: {path} {_state(path, found)}", None, errors.INTERRUPTED)
        return _Outcome(path, found, failure, "interrupted")
    except Exception as error:  # noqa: BLE001 - one failing path does not stop the others.
        return _Outcome(path, _report_of(error), errors.describe(error, path))
    if not report.existed:
        return _Outcome(path, report, errors.Failure(f"{path}: no such file"))
    return _Outcome(path, report)


def _report_of(error: BaseException) -> ShredReport | None:
    found = getattr(error, "report", None)
    return found if isinstance(found, ShredReport) else None


def _state(path: str, report: ShredReport | None) -> str:
    """What an interruption left of a path, as the predicate of a sentence."""
    if report is not None and report.unlinked:
        return "is unlinked"
    if not os.path.lexists(path):
        return "is gone from its name; it may be left in the folder under a random one"
    if report is None or report.plan is None or not report.passes:
        return "is still there"
    number, total = len(report.passes), len(report.plan.passes)
    if number == total == report.full_passes:
        return "is still there, its passes are done"
    if number == 1:
        return f"is still there and partly overwritten (pass 1 of {total})"
    return f"is still there and overwritten as far as pass {number} of {total}"


def _all(
    paths: tuple[str, ...], quiet: bool, options: dict[str, Any], show: Callable[[_Outcome], None]
) -> list[_Outcome]:
    """Shred one path after the other, and show each outcome; Ctrl-C leaves the rest alone."""
    outcomes: list[_Outcome] = []
    try:
        for path in paths:
            outcomes.append(_one(path, quiet, options))
            show(outcomes[-1])
            if outcomes[-1].counted_as == "interrupted":
                break
    except KeyboardInterrupt:  # Between two files, or while one was shown.
        if len(outcomes) == len(paths):
            raise
        errors.say("error: interrupted")
    for path in paths[len(outcomes) :]:
        failure = errors.Failure(f"not begun: {path}", None, errors.INTERRUPTED)
        outcomes.append(_Outcome(path, None, failure, "not_begun"))
        show(outcomes[-1])
    return outcomes


def _summary(outcomes: list[_Outcome], *, dry_run: bool) -> tuple[str, dict[str, int]]:
    def name_of(outcome: _Outcome) -> str:
        if outcome.failure is not None:
            return outcome.counted_as
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
    path was missing, refused or failed, or stdout took no more; the others are still
    done. Ctrl-C ends the run with status 130 and the state of each path; the one at
    hand stays in place, partly overwritten.

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
    output = LastingOutput()

    def show(outcome: _Outcome) -> None:
        if outcome.failure is not None:
            errors.report(outcome.failure)
        elif not quiet and not as_json and outcome.report is not None:
            output.line(outcome.path, "bold")
            (_show_plan if dry_run else show_report)(output, outcome.report)

    outcomes = _all(paths, quiet or as_json, options, show)
    text, counts = _summary(outcomes, dry_run=dry_run)
    if as_json:
        output.document({"files": [each.to_dict() for each in outcomes], "summary": counts})
    elif not quiet and len(outcomes) > 1:
        output.line(text)
    status = max(0 if each.failure is None else each.failure.status for each in outcomes)
    return status if output.failure is None else max(status, errors.report(output.failure))
