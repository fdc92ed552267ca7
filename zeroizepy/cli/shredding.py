"""`shred`: overwrite and unlink files, each with its verdict."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import dataclass
from inspect import cleandoc
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zeroizepy.exceptions import SecureMemoryWarning
from zeroizepy.file import SCHEMES, ShredReport, TreeReport, secure_delete

from . import errors
from .console import LastingOutput, Output, progress_bar, size_text
from .files import EMPTY_PATH
from .overall import Overall
from .overwriting import NOT_AS_ASKED, lacks_read_back, pattern_option, quiet_option, show_remarks, verdict_style
from .trees import confirm_trees, keep_list, show_tree, shred_one_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["show_report", "shred_command"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One path: its report if there is one, what failed, and what the summary counts that as."""

    path: str
    report: ShredReport | TreeReport | None
    failure: errors.Failure | None = None
    counted_as: str = "failed"

    @property
    def status(self) -> int:
        """The exit status that this path alone would give."""
        if self.failure is not None:
            return self.failure.status
        if self.report is None or self.report.dry_run:
            return 0
        return NOT_AS_ASKED if "not_in_place" in self.counts or lacks_read_back(self.report) else 0

    @property
    def counts(self) -> dict[str, int]:
        """What the summary counts of it."""
        if isinstance(self.report, TreeReport):
            failed = {} if self.failure is None else {self.counted_as: 1}
            return {**(_planned(self.report) if self.report.dry_run else self.report.verdicts), **failed}
        if self.failure is not None:
            return {self.counted_as: 1}
        if self.report is not None and self.report.dry_run:
            return {"planned": 1}
        return {(self.report and self.report.verdict) or "nothing_to_overwrite": 1}

    def to_dict(self) -> dict[str, Any]:
        base = {} if self.report is None else self.report.to_dict()
        error = None if self.failure is None else self.failure.fault
        return {**base, "path": self.path, "error": error}


def _planned(report: TreeReport) -> dict[str, int]:
    """What a dry run's summary counts: what would be refused is not planned."""
    refused = report.verdicts.get("refused", 0)
    return {"planned": report.files - refused, **({"refused": refused} if refused else {})}


def show_report(output: Output, report: ShredReport) -> None:
    """The verdict on one file, why, and what remains."""
    verdict = report.verdict or "nothing to overwrite"
    done = report.full_passes
    output.fact("verdict", verdict, verdict_style(verdict))
    if report.passes and report.size_bytes:
        passes = "1 pass" if done == 1 else f"{done} passes"
        read_back = ", read back and compared" if report.verified else ""
        read_back += ", on the device itself, too" if report.device_verified else ""
        output.fact("overwritten", f"{passes} over {size_text(report.size_bytes)}{read_back}")
    output.fact("name", ("renamed, " if report.renamed else "") + ("unlinked" if report.unlinked else "still there"))
    show_remarks(output, report)


def _show_plan(output: Output, report: ShredReport) -> None:
    plan = report.plan
    if plan is None:
        output.fact("would", "unlink")
    else:
        for step in plan.steps():
            output.fact("would", step)
        verdict = plan.verdict or "nothing to overwrite"
        output.fact("expected", verdict, verdict_style(verdict))
    show_remarks(output, report)


def _one(path: str, progress: Callable[[int, int], None] | None, options: dict[str, Any]) -> _Outcome:
    """Shred one path. Whatever happens becomes an outcome; only that of Ctrl-C ends the run over all."""
    if not path:
        return _Outcome(path, None, errors.Failure(*EMPTY_PATH))
    try:
        with warnings.catch_warnings():
            # The report says the same, and more; a warning that memory is not locked is no part of it.
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", SecureMemoryWarning)
            report = secure_delete(path, progress=progress, **options)
    except KeyboardInterrupt as error:
        found = _report_of(error)
        failure = errors.Failure(f"interrupted: {path} {_state(path, found)}", None, errors.INTERRUPTED)
        return _Outcome(path, found, failure, "interrupted")
    except IsADirectoryError:
        return _Outcome(path, None, errors.Failure(f"{path}: is a directory", "-r takes it with all that is in it"))
    except Exception as error:  # noqa: BLE001 - one failing path does not stop the others.
        return _Outcome(path, _report_of(error), errors.describe(error, path))
    if not report.existed:
        return _Outcome(path, report, errors.Failure(f"{path}: no such file", "check how the path is written"))
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


def _together(paths: tuple[str, ...], quiet: bool, options: dict[str, Any]) -> Iterator[_Outcome]:
    """Shred one file after the other under one bar, which makes way while an outcome is shown."""
    label = paths[0] if len(paths) == 1 else f"{len(paths)} paths"
    with progress_bar(label, quiet=quiet) as bar:
        overall = Overall(bar, paths, options)
        for path in paths:
            outcome = _one(path, overall.for_one, options)
            with overall.next():
                yield outcome


def _all(
    paths: tuple[str, ...], shredding: Iterator[_Outcome], show: Callable[[_Outcome], None]
) -> tuple[list[_Outcome], bool]:
    """Show each outcome as it comes; Ctrl-C leaves the rest alone.

    Returns:
        One for each path, and whether Ctrl-C came between two of them or behind the last.
    """
    outcomes: list[_Outcome] = []
    interrupted = False
    try:
        for outcome in shredding:
            outcomes.append(outcome)
            show(outcome)
            if outcome.counted_as == "interrupted":
                break
    except KeyboardInterrupt:  # Between two files, or while one was shown.
        interrupted = True
        errors.say("error: interrupted")
    for path in paths[len(outcomes) :]:
        failure = errors.Failure(f"not begun: {path}", None, errors.INTERRUPTED)
        outcomes.append(_Outcome(path, None, failure, "not_begun"))
        show(outcomes[-1])
    return outcomes, interrupted


def _each(paths: tuple[str, ...], quiet: bool, options: dict[str, Any]) -> Iterator[_Outcome]:
    """Shred files and, as a whole, directories; each under a bar of its own."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            tree = shred_one_tree(path, quiet=quiet, options=options)
            was_interrupted = tree.failure is not None and tree.failure.status == errors.INTERRUPTED
            yield _Outcome(path, tree.report, tree.failure, "interrupted" if was_interrupted else "failed")
        else:
            with progress_bar(path, quiet=quiet) as bar:
                outcome = _one(path, bar, options)
            yield outcome


def _summary(outcomes: list[_Outcome]) -> tuple[str, dict[str, int]]:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
    parts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(counts.items()))
    return f"{len(outcomes)} paths: {parts}", dict(counts)


def _tell(output: Output, outcome: _Outcome, *, dry_run: bool) -> None:
    """One outcome on stdout; a failure's own lines stand on stderr."""
    report = outcome.report
    if isinstance(report, TreeReport):
        if report.existed:
            output.line(outcome.path, "bold")
            show_tree(output, report)
    elif report is not None and outcome.failure is None:
        output.line(outcome.path, "bold")
        (_show_plan if dry_run else show_report)(output, report)
    elif report is not None and report.verdict == "refused":
        output.line(outcome.path, "bold")
        if report.dry_run:
            fault, _ = errors.told_in_report(str(report.error), report.reasons)
            output.fact("would", f"be refused: {fault}", verdict_style("refused"))
        else:
            output.fact("verdict", "refused", verdict_style("refused"))
    elif report is not None and report.passes and outcome.counted_as == "failed":
        # It failed on the way, and what became of the bytes until then is as good to know as ever.
        output.line(outcome.path, "bold")
        show_report(output, report)


@click.command("shred")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-n", "--passes", type=click.IntRange(0, 1000), default=3, show_default=True, help="Overwrites.")
@pattern_option
@click.option("--scheme", type=click.Choice(sorted(SCHEMES)), metavar="NAME", help="In place of -n and --pattern.")
@click.option("--verify", is_flag=True, help="Read the last pass back and compare.")
@click.option(
    "--verify-device",
    is_flag=True,
    help="Read it from the block device, too (root); a note tells where that could not be done.",
)
@click.option("--keep", is_flag=True, help="Overwrite and do not unlink; not with -r.")
@click.option("--wipe-journal", is_flag=True, help="Zero the journal of ext4 afterwards (root); not with -r.")
@click.option("--no-rename", is_flag=True, help="Unlink under the old name.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing; show the plan and the verdict to expect, or why it would be refused.",
)
@click.option("--force", is_flag=True, help="Take files without owner-write permission.")
@click.option("--allow-hard-links", is_flag=True, help="Take files with other names; these then hold the new content.")
@click.option(
    "--follow-symlinks",
    is_flag=True,
    help="Shred what a link leads to, not with -r; otherwise the link is unlinked.",
)
@click.option("-r", "--recursive", is_flag=True, help="Take directories with all that is in them; asks once.")
@click.option("--yes", is_flag=True, help="With -r: do not ask.")
@click.option(
    "--list", "list_file", metavar="OUT", help="With -r of one directory: write the list of all in it to OUT."
)
@click.option("--json", "as_json", is_flag=True, help="Reports as JSON on stdout.")
@quiet_option
@click.pass_context
def shred_command(
    ctx: click.Context,
    paths: tuple[str, ...],
    passes: int,
    pattern: str | bytes,
    scheme: str | None,
    verify: bool,
    verify_device: bool,
    keep: bool,
    wipe_journal: bool,
    no_rename: bool,
    dry_run: bool,
    force: bool,
    allow_hard_links: bool,
    follow_symlinks: bool,
    recursive: bool,
    yes: bool,
    list_file: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Overwrite each PATH in place and unlink it. There is no way back, and no question but for directories.

    \b
    Each file gets a verdict:
      overwritten_verified  each block was written, and read back as written
      overwritten           each block was written and flushed
      not_in_place          old bytes may remain, for the reasons that follow it
      nothing to overwrite  a symbolic link, or a file in which nothing is stored
      refused               nothing was touched
    Unless it was refused, failed or --keep is given, the file is unlinked. A directory (-r)
    gets the number of files for each verdict. The list that --list writes has path, size and
    verdict of each file, link, FIFO and so on, each ended by a zero byte; its SHA-256 is the
    list_sha256 of the report and of a certificate, so that sha256sum checks it.

    \b
    Exit status:
      0    all as asked
      1    a path was missing, refused or failed, -r not confirmed, or stdout took no more
      2    bad usage, or -r with nobody to ask and without --yes
      3    all done, and old bytes of a file may remain (not_in_place), or it was not
           read back past the page cache, or from the device, as asked
      130  Ctrl-C: the path at hand stays, partly overwritten; the state of each is told
    What one path meets does not keep the others from being done.

    \b
    Schemes, with their passes:
    SCHEMES

    One verified pass is enough on a magnetic disk, and no number of passes is on flash.

    An overwrite does not reach earlier copies (backups, snapshots, editors, swap), remapped sectors, and cells that a
    flash device keeps; copy-on-write file systems write elsewhere. For data there, encrypt from the start and shred
    the key file.
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    _check_usage(ctx, scheme, recursive=recursive, only_files=keep or wipe_journal or follow_symlinks)
    if list_file is not None and (not recursive or dry_run or len(paths) != 1):
        raise click.UsageError("--list is for -r of one directory, and not for --dry-run", ctx)
    options: dict[str, Any] = {
        "passes": passes,
        "pattern": pattern,
        "scheme": scheme,
        "verify": "device" if verify_device else verify,
        "rename": not no_rename,
        "dry_run": dry_run,
        "force": force,
        "allow_hard_links": allow_hard_links,
    }
    if recursive and not dry_run and not yes:
        confirm_trees(paths)
    if not recursive:
        options |= {"keep": keep, "wipe_journal": wipe_journal, "follow_symlinks": follow_symlinks}
    output = LastingOutput()

    def show(outcome: _Outcome) -> None:
        if outcome.failure is not None:
            errors.report(outcome.failure)
        if not quiet and not as_json:
            _tell(output, outcome, dry_run=dry_run)

    with keep_list(list_file, paths) as more:
        shredding = (_each if recursive else _together)(paths, quiet or as_json, options | more)
        outcomes, interrupted = _all(paths, shredding, show)
        text, counts = _summary(outcomes)
        if as_json:
            trees = [each.to_dict() for each in outcomes if isinstance(each.report, TreeReport)]
            files = [each.to_dict() for each in outcomes if not isinstance(each.report, TreeReport)]
            output.document({"files": files, **({"directories": trees} if recursive else {}), "summary": counts})
        elif not quiet and len(outcomes) > 1:
            output.line(text)
        statuses = {each.status for each in outcomes} | ({errors.INTERRUPTED} if interrupted else set())
        if output.failure is not None:
            statuses.add(errors.report(output.failure))
        return next(status for status in (errors.INTERRUPTED, errors.FAILED, NOT_AS_ASKED, 0) if status in statuses)


def _check_usage(ctx: click.Context, scheme: str | None, *, recursive: bool, only_files: bool) -> None:
    own = [name for name in ("passes", "pattern") if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if scheme is not None and own:
        raise click.UsageError("--scheme says what each pass writes; leave -n and --pattern out", ctx)
    if recursive and only_files:
        raise click.UsageError("--keep, --wipe-journal and --follow-symlinks are for single files; leave -r out", ctx)


def _scheme_lines() -> str:
    """The schemes as they stand in the help; click would break a name at its hyphens."""
    names = ", ".join(f"{name} ({len(SCHEMES[name].passes)})" for name in sorted(SCHEMES)).replace(" (", "\0(")
    return "\n  ".join(["", *wrap(names, 74, break_on_hyphens=False)])[1:].replace("\0", " ")


shred_command.help = cleandoc(shred_command.help or "").replace("SCHEMES", _scheme_lines())
