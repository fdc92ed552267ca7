"""`wipe-free`: overwrite the free space of a file system."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.file import FreeSpaceReport, wipe_free_space

from . import errors
from .console import LastingOutput, Output, progress_bar, size_text
from .files import EMPTY_PATH
from .overwriting import json_option, quiet_option

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["wipe_free_command"]

_SIZE = re.compile(r"(\d{1,18})(?:([KMGT])(?:i?B)?)?", re.IGNORECASE)
_POWERS = " KMGT"
_STOPS = {
    "full": "the file system was full",
    "quota": "the user's quota was full",
    "reserve": "the reserve was reached",
    "limit": "the limit was reached",
    "file_size": "no file may grow to a single byte (ulimit -f)",
    "open_files": "no further file may be opened (ulimit -n)",
}


def _parse_size(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 4096, 512M or 2GiB (units of 1024)")
    return int(match[1]) << (10 * _POWERS.index((match[2] or " ").upper()))


def _size_option(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, metavar="SIZE", callback=_parse_size, help=text)


def _show_slack(output: Output, report: FreeSpaceReport) -> None:
    if report.leftovers_removed:
        output.fact("removed", f"{report.leftovers_removed} names that an earlier, killed run had left")
    if report.inode_directory is not None:
        output.fact("inodes", f"{report.inodes_filled} overwritten")
    if report.trimmed_bytes is not None:
        output.fact("trimmed", size_text(report.trimmed_bytes))
    elif report.trim_error is not None:
        output.fact("trimmed", f"no: {report.trim_error}", "yellow")


def _expected(report: FreeSpaceReport, reserve: int, limit: int | None) -> str:
    """What a run would fill, and what would stop it."""
    size_bytes, stop = max(0, report.available_bytes - reserve), "reserve" if reserve else ""
    if limit is not None and limit < size_bytes:
        size_bytes, stop = limit, "limit"
    return f"about {size_text(size_bytes)}{f', until {_STOPS[stop]}' if stop else ''}"


def _show(output: Output, report: FreeSpaceReport, reserve: int, limit: int | None) -> None:
    output.line(report.directory, "bold")
    output.fact("file system", report.file_system)
    if report.dry_run:
        output.fact("free", size_text(report.available_bytes))
        output.fact("would fill", _expected(report, reserve, limit))
    else:
        stop = _STOPS.get(report.stopped_by or "", "")
        output.fact("overwritten", f"{size_text(report.bytes_written)}{f', until {stop}' if stop else ''}")
        output.fact("not filled", size_text(report.unfilled_bytes))
    _show_slack(output, report)
    for note in report.notes:
        output.fact("note", note.replace("inodes=True", "--inodes"))


def _describe(error: Exception | KeyboardInterrupt, directory: str, report: FreeSpaceReport | None) -> errors.Failure:
    if not isinstance(error, KeyboardInterrupt):
        return errors.describe(error, directory)
    done = "" if report is None else f" after {size_text(report.bytes_written)}"
    return errors.Failure(f"interrupted{done}; the space is free again", None, errors.INTERRUPTED)


@click.command("wipe-free")
@click.argument("directory", metavar="DIR")
@_size_option("--reserve", "Leave this much free for other programs; it stays uncovered.")
@_size_option("--rate", "Bytes per second at most.")
@_size_option("--limit", "Stop after this much.")
@click.option("--inodes", is_flag=True, help="Overwrite free inodes first, with up to a million empty files.")
@click.option("--trim", is_flag=True, help="Afterwards tell the device which blocks are free (needs root).")
@click.option("--dry-run", is_flag=True, help="Write nothing; show how much is free and would be filled.")
@json_option
@quiet_option
def wipe_free_command(
    directory: str,
    reserve: int | None,
    rate: int | None,
    limit: int | None,
    inodes: bool,
    trim: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Fill the free space of the file system that holds DIR with random bytes, flush, and give it back.

    \b
    While it is full, other programs cannot write there: --reserve leaves them room.
    Ctrl-C and even a kill give the space back; a kill during --inodes leaves a folder
    .zeroizepy-inodes-* in DIR, which the next run removes. SIZE is in bytes, or with
    K, M, G or T in units of 1024. Exit status: 0 done, 1 failed (also when
    only --trim did), 130 interrupted.

    Not covered: the rest of the last block of each file, names in folders that still exist, the journal, blocks that
    the file system keeps for itself (and, unless run by root, for root), snapshots, and what the device keeps to
    itself: remapped sectors, and cells of a flash device that no overwrite reaches.
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    if not directory:
        raise errors.Failure(*EMPTY_PATH, errors.BAD_USAGE)
    if rate == 0:
        raise click.BadParameter("must be at least 1 byte per second", param_hint="--rate")
    failure = None
    report: FreeSpaceReport | None
    try:
        with progress_bar(directory, quiet=quiet or as_json) as show:
            report = wipe_free_space(
                directory,
                dry_run=dry_run,
                reserve_bytes=reserve or 0,
                max_bytes=limit,
                max_bytes_per_s=rate,
                inodes=inodes,
                trim=trim,
                progress=show,
            )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the report of what was done comes with any of them.
        found = getattr(error, "report", None)
        report = found if isinstance(found, FreeSpaceReport) else None
        failure = _describe(error, directory, report)
    output = LastingOutput()
    if report is not None and as_json:
        output.document(report.to_dict())
    elif report is not None and not quiet and failure is None:
        _show(output, report, reserve or 0, limit)
    if failure is None and report is not None and report.trim_error is not None:
        failure = errors.Failure(
            f"{directory}: the free space was filled, but not trimmed: {report.trim_error}",
            "run it as root, on a device that takes discards, or leave --trim away",
        )
    status = 0 if failure is None else errors.report(failure)
    return status if output.failure is None else max(status, errors.report(output.failure))
