"""What the commands that overwrite have in common: their options, and how a verdict is told."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from zeroizepy.file import explain

if TYPE_CHECKING:
    from zeroizepy.file import DeviceReport, ShredReport, TreeReport

    from .console import Output

__all__ = [
    "NOT_AS_ASKED",
    "json_option",
    "lacks_read_back",
    "pattern_option",
    "quiet_option",
    "show_remarks",
    "verdict_style",
]

_STYLES = {"overwritten_verified": "green", "overwritten": "green", "not_in_place": "yellow", "refused": "red"}
NOT_AS_ASKED = 3
"""Exit status: all was done, and old bytes may remain, or it was not read back as asked."""

_HEX_PREFIX = "hex:"


def verdict_style(verdict: str) -> str:
    """The colour of a verdict."""
    return _STYLES.get(verdict, "")


def lacks_read_back(report: ShredReport | TreeReport | DeviceReport) -> bool:
    """Whether somebody asked for a verification that did not come about."""
    notes = [note.partition(":")[0] for note in report.notes]
    return "verify_cached" in notes or "device_not_read" in notes or "not_read_back" in notes


def show_remarks(output: Output, report: ShredReport | DeviceReport) -> None:
    """Why the verdict is what it is, and what remains."""
    for reason in report.reasons:
        output.fact("because", explain(reason))
    for note in report.notes:
        output.fact("note", explain(note))


def _parse_pattern(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str | bytes:
    """An option's value as `secure_delete` takes it.

    Raises:
        BadParameter: It is none of them.
    """
    if value in ("random", "zeros", "ones"):
        return value
    data = b""
    if value.startswith(_HEX_PREFIX):
        with suppress(ValueError):
            data = bytes.fromhex(value.removeprefix(_HEX_PREFIX))
    if not data:
        raise click.BadParameter(f"{value!r} is not random, zeros, ones, or hex: and pairs of digits, as in hex:00ff")
    return data


pattern_option = click.option(
    "--pattern",
    callback=_parse_pattern,
    default="random",
    show_default=True,
    metavar="PATTERN",
    help="random, zeros, ones, or hex:00ff...",
)
json_option = click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
quiet_option = click.option(
    "--quiet", is_flag=True, help="Nothing on stdout, no progress bar; errors still go to stderr."
)
