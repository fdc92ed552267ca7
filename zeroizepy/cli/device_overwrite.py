"""`shred-device`: overwrite a whole block device."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.file import DeviceReport, overwrite_device

from . import errors
from .console import LastingOutput, Output, progress_bar, size_text
from .files import EMPTY_PATH
from .overwriting import (
    NOT_AS_ASKED,
    json_option,
    lacks_read_back,
    pattern_option,
    quiet_option,
    show_remarks,
    verdict_style,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["shred_device_command"]


def _show_identity(output: Output, report: DeviceReport) -> None:
    output.line(report.path, "bold")
    kind = "disk" if report.partition is None else f"partition {report.partition}"
    output.fact("device", f"{report.name} ({report.device}), {kind}{f', {report.model}' if report.model else ''}")
    output.fact("serial", report.serial or "unknown")
    output.fact("size", f"{report.size_bytes} bytes ({size_text(report.size_bytes)})")


def _show_plan(output: Output, report: DeviceReport) -> None:
    _show_identity(output, report)
    if report.swap_signature:
        output.fact("holds", "an inactive swap area", "yellow")
    for step in report.steps():
        output.fact("would", step)
    output.fact("confirm", report.confirm or "")
    show_remarks(output, report)


def _show_report(output: Output, report: DeviceReport) -> None:
    _show_identity(output, report)
    verdict = report.verdict or ""
    output.fact("verdict", verdict, verdict_style(verdict))
    read_back = ", read back and compared" if report.verified else ""
    passes = "1 pass" if len(report.passes) == 1 else f"{len(report.passes)} passes"
    output.fact("overwritten", f"{passes}{read_back}")
    show_remarks(output, report)


def _ask(output: Output, plan: DeviceReport, *, may_ask: bool) -> str:
    """Have the user type what the device is.

    Raises:
        Failure: There is no terminal to ask at.
    """
    if not may_ask or sys.stdin is None or not sys.stdin.isatty():
        hint = "--dry-run shows the serial number and size to give there"
        raise errors.Failure(f"{plan.path}: --confirm is missing", hint, errors.BAD_USAGE)
    _show_plan(output, plan)
    answer: str = click.prompt("Everything on it will be gone. Type its serial number and size in bytes", err=True)
    return answer.strip()


def _describe(error: Exception | KeyboardInterrupt, path: str, report: DeviceReport | None) -> errors.Failure:
    if not isinstance(error, KeyboardInterrupt):
        return errors.describe(error, path)
    written = report is not None and bool(report.passes)
    state = "is partly overwritten" if written else "was not written"
    return errors.Failure(f"interrupted: {path} {state}", None, errors.INTERRUPTED)


def _attempt(path: str, options: dict[str, Any], *, quiet: bool) -> tuple[DeviceReport | None, errors.Failure | None]:
    try:
        with progress_bar(path, quiet=quiet) as show:
            return overwrite_device(path, progress=show, **options), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the report of what was done comes with any of them.
        found = getattr(error, "report", None)
        report = found if isinstance(found, DeviceReport) else None
        return report, _describe(error, path, report)


def _finish(
    output: LastingOutput,
    outcome: tuple[DeviceReport | None, errors.Failure | None],
    as_json: bool,
    show: Callable[[Output, DeviceReport], None] | None,
) -> int:
    report, failure = outcome
    if report is not None and as_json:
        output.document(report.to_dict())
    elif report is not None and failure is None and show is not None:
        show(output, report)
    status = 0
    if failure is not None:
        status = errors.report(failure)
    elif report is not None and (report.verdict == "not_in_place" or lacks_read_back(report)):
        status = NOT_AS_ASKED
    if output.failure is None or status == errors.INTERRUPTED:
        return status
    return errors.report(output.failure)


@click.command("shred-device")
@click.argument("path", metavar="DEVICE")
@click.option("--confirm", metavar="'SERIAL SIZE'", help="Serial number and size in bytes, as --dry-run shows them.")
@click.option("-n", "--passes", type=click.IntRange(1, 1000), default=1, show_default=True, help="Overwrites.")
@pattern_option
@click.option("--no-verify", is_flag=True, help="Do not read the last pass back.")
@click.option("--partition", is_flag=True, help="Take a partition; the rest of its disk is not touched.")
@click.option("--swap", is_flag=True, help="Take an inactive swap area; an active one is refused.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what the device is and what would be done.")
@json_option
@quiet_option
def shred_device_command(
    path: str,
    confirm: str | None,
    passes: int,
    pattern: str | bytes,
    no_verify: bool,
    partition: bool,
    swap: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Overwrite all of DEVICE, a disk or partition. There is no way back.

    \b
    Without --confirm it shows the device and asks, on a terminal, for its serial number
    and size. Refused is what is mounted, swap in use, part of another device, read-only,
    or of an unknown kind; then nothing is written.
    Exit status: 0 done, 1 refused or failed, 2 no confirmation, 3 done, and sectors were
    skipped or not read back as asked, 130 interrupted.

    Not reached: areas that a drive hides (HPA, DCO), sectors that it has replaced, cells that a flash device (SSD, USB
    stick, card) has set aside, and layers below a virtual or loop device. For flash, encrypt from the start and destroy
    the key, or use the drive's own sanitize command.
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    if not path:
        raise errors.Failure(*EMPTY_PATH, errors.BAD_USAGE)
    options = {
        "passes": passes,
        "pattern": pattern,
        "verify": not no_verify,
        "allow_partition": partition,
        "allow_swap": swap,
    }
    output = LastingOutput()
    silent = quiet or as_json
    if dry_run or confirm is None:
        plan, failure = _attempt(path, {**options, "confirm": None, "dry_run": True}, quiet=True)
        if dry_run or plan is None or failure is not None:
            return _finish(output, (plan, failure), as_json, None if quiet else _show_plan)
        confirm = _ask(output, plan, may_ask=not silent)
    outcome = _attempt(path, {**options, "confirm": confirm}, quiet=silent)
    return _finish(output, outcome, as_json, None if quiet else _show_report)
