"""A whole directory on the command line: one progress bar over all its files, and what became of them."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.durable import new_private_file
from zeroizepy.exceptions import SecureMemoryWarning
from zeroizepy.file import SCHEMES, TreeReport, count_tree, explain, list_entry, shred_tree

from . import errors
from .console import Output, progress_bar, size_text
from .files import check_free, check_path, write_all
from .overwriting import verdict_style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zeroizepy.file import ShredReport

    from .console import Bar

__all__ = ["TreeOutcome", "confirm_trees", "keep_list", "show_tree", "shred_one_tree"]

_SHOWN_FAILURES = 20


@dataclass(frozen=True, slots=True)
class TreeOutcome:
    """One directory: its report if there is one, and what failed as a whole."""

    path: str
    report: TreeReport | None
    failure: errors.Failure | None = None


class _Progress:
    """Feeds the bar: bytes done of the bytes that a look at the tree beforehand promised."""

    def __init__(self, bar: Bar, path: str, options: dict[str, Any]) -> None:
        scheme = SCHEMES[options["scheme"]] if options.get("scheme") else None
        passes = len(scheme.passes) if scheme is not None else options.get("passes", 3)
        verify = options.get("verify", False)
        reads = bool(verify or (scheme is not None and scheme.verify)) + (verify == "device")
        self._bar = bar
        _, size_bytes = count_tree(path, one_file_system=options.get("one_file_system", True))
        self._total_bytes = size_bytes * (passes + reads)

    def __call__(self, _files: int, done_bytes: int) -> None:
        # Files end inside a block, and passes at its end: the guess is a little low.
        self._bar(done_bytes, max(done_bytes, self._total_bytes))


def confirm_trees(paths: tuple[str, ...]) -> None:
    """Say how much lies in the directories among the paths, and ask whether to go on.

    Raises:
        Failure: The answer was no, or there is nobody to ask, or a path is refused, too.
    """
    directories = [path for path in paths if os.path.isdir(path) and not os.path.islink(path)]
    if not directories:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise errors.Failure("nobody can be asked whether to shred whole directories", "give --yes", errors.BAD_USAGE)
    for path in directories:
        _check_name(path)
    counts = [count_tree(path) for path in directories]
    files, size_bytes = sum(number for number, _ in counts), sum(size for _, size in counts)
    names = ", ".join(map(errors.printable, directories))
    text = f"Shred {files} files of {size_text(size_bytes)} in {names}? There is no way back"
    if not click.confirm(text, err=True):
        raise errors.Failure("not confirmed; nothing was touched")


def _check_name(path: str) -> None:
    """Refuse what does not end in the directory's own name, by which it is removed in the end.

    Raises:
        Failure: It ends in `.` or `..`, or is the root.
    """
    if os.path.basename(path.rstrip("/")) in ("", os.curdir, os.pardir):
        hint = "go to the directory above it and name it there, or give what is in it"
        raise errors.Failure(f"{path}: does not end in the directory's own name", hint)


def shred_one_tree(path: str, *, quiet: bool, options: dict[str, Any]) -> TreeOutcome:
    """Shred a directory under a progress bar. Whatever happens becomes an outcome.

    Args:
        path: The directory.
        quiet: No progress bar.
        options: Of `shred_tree`, but for `progress`.
    """
    report: TreeReport | None = None
    try:
        _check_name(path)
        with progress_bar(path, quiet=quiet) as bar, warnings.catch_warnings():
            # The report says the same, and more; a warning that memory is not locked is no part of it.
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", SecureMemoryWarning)
            report = shred_tree(path, progress=None if bar is None else _Progress(bar, path, options), **options)
    except KeyboardInterrupt as error:
        found = _report_of(error) or report
        return TreeOutcome(path, found, errors.Failure(_interrupted(path, found), None, errors.INTERRUPTED))
    except Exception as error:  # noqa: BLE001 - one failing path does not stop the others.
        return TreeOutcome(path, _report_of(error), errors.describe(error, path))
    if not report.existed:
        return TreeOutcome(path, report, errors.Failure(f"{path}: no such directory"))
    if not report.complete:
        return TreeOutcome(path, report, _failed(path, report))
    return TreeOutcome(path, report)


def _report_of(error: BaseException) -> TreeReport | None:
    found = getattr(error, "report", None)
    return found if isinstance(found, TreeReport) else None


def _interrupted(path: str, report: TreeReport | None) -> str:
    if report is None:
        return f"interrupted: {path} is {'still there' if os.path.lexists(path) else 'gone'}"
    begun = report.reasons.get("failed:interrupted", 0)
    left = f"; {begun} files stay, partly overwritten or under a random name" if begun else ""
    return f"interrupted: {report.unlinked} files of {path} are unlinked{left}"


def _failed(path: str, report: TreeReport) -> errors.Failure:
    """One line for all that failed in a tree; `show_tree` has them one by one."""
    first = report.failures[0]
    things = "1 file or directory" if report.failed == 1 else f"{report.failed} files or directories"
    where = "such as" if report.failed > 1 else "namely"
    fault, remedy = errors.told_in_report(str(first.error), first.reasons)
    return errors.Failure(f"{path}: {things} failed, {where} {first.path}: {fault}", remedy)


@contextmanager
def keep_list(target: str | None, paths: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Write the list that the report's SHA-256 is of, entry by entry: a new file of mode 600, flushed at the end.

    Args:
        target: Its name; None for no list.
        paths: Those of the command: one directory then.

    Yields:
        What `shred_one_tree` needs for it among its options.

    Raises:
        Failure: There is another path, or the list would lie in the directory, or something stands at its name.
        OSError: It cannot be made or written.
    """
    if target is None:
        yield {}
        return
    check_path(target)
    (path,) = paths
    if not os.path.isdir(path) or os.path.islink(path):
        raise errors.Failure(f"{path}: is no directory", "--list is for one directory")
    above = os.path.realpath(path)
    if os.path.commonpath((above, os.path.realpath(target))) == above:
        raise errors.Failure(f"{target}: lies in {path}, which is shredded", "give a name outside of it")
    check_free(target, overwrite=None)
    with new_private_file(target) as fd:

        def add(report: ShredReport) -> None:
            try:
                write_all(fd, list_entry(report, path))
            except OSError as error:
                error.strerror = f"the list {target} is not complete: {error.strerror}"  # Not the directory's fault.
                raise

        yield {"on_report": add}


def show_tree(output: Output, report: TreeReport) -> None:
    """What became of a directory: counts by verdict, why, what remains, and the first failures."""
    for verdict, number in sorted(report.verdicts.items()):
        text = f"{verdict.replace('nothing_to_overwrite', 'nothing to overwrite')}: {number}"
        output.fact("expected" if report.dry_run else "verdict", text, verdict_style(verdict))
    for verdict, number in sorted(report.earlier.items()):
        output.fact("earlier", f"{verdict}: {number}")
    if report.resumed:
        output.fact("resumed", f"{report.resumed} files that an earlier run had begun")
    if not report.dry_run:
        output.fact("overwritten", f"{size_text(report.bytes_written)} over {size_text(report.size_bytes)} of files")
        left = "the others stand" if report.directories_left is None else f"{report.directories_left} left"
        directories = f"{report.directories_removed} removed, {left}"
        output.fact("names", f"{report.unlinked} unlinked; directories: {directories}")
    for code, number in sorted(report.reasons.items()):
        output.fact("because", f"{explain(code)}: {number}")
    for code, number in sorted(report.notes.items()):
        output.fact("note", f"{explain(code)}: {number}")
    for failure in report.failures[:_SHOWN_FAILURES]:
        fault, _ = errors.told_in_report(str(failure.error), failure.reasons)
        output.fact("failed", f"{failure.path}: {fault}", "red")
    if report.failed > _SHOWN_FAILURES:
        output.fact("failed", f"{report.failed - _SHOWN_FAILURES} more; --json has the first 1000", "red")
