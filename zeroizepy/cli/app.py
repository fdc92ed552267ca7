"""The `zeroizepy` command: its group, and the one place where errors become lines and exit statuses."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import click

from . import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_COMMANDS = {
    "demo": "demo",
    "doctor": "doctor",
    "shred": "shredding",
    "wipe-free": "free_space",
    "recover": "recovering",
    "shred-device": "device_overwrite",
    "encrypt": "sealing",
    "decrypt": "sealing",
    "keygen": "keygen",
    "key": "key_group",
    "certify": "certifying",
    "audit": "auditing",
}
"""Where each command lives: `--help` of one does not import the others."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature.
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's.
        if cmd_name not in _COMMANDS:
            return None
        module = __import__(f"{__package__}.{_COMMANDS[cmd_name]}", fromlist=[cmd_name])
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        import zeroizepy

        click.echo(f"zeroizepy {zeroizepy.__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings=_CONTEXT, invoke_without_command=True)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def _group(ctx: click.Context) -> None:
    """Secrets in locked memory, keys that can be destroyed, shredding that says what it reached.

    \b
    Exit status: 0 done, 1 the job failed, 2 bad usage, 130 interrupted;
    of shred, shred-device and key erase also 3: done, and old bytes may remain.
    Secrets are never taken from the command line; keys come from files or descriptors.
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    if ctx.invoked_subcommand is None:
        *others, last = _COMMANDS
        raise click.UsageError(f"a command is missing: {', '.join(others)} or {last}", ctx)


def _warn(message: Warning | str, *_where: object, **_more: object) -> None:
    errors.say(f"warning: {message}")


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit status.
    """
    warnings.showwarning = _warn
    try:
        _check_core()
        # A command returns its exit status; so does ctx.exit(), which click turns into a return value.
        status = _group.main(list(arguments), prog_name="zeroizepy", standalone_mode=False)
        _flush_stdout()
    except BrokenPipeError:
        # `zeroizepy doctor | head -1`: nothing to say.
        errors.drop_stdout()
        return errors.FAILED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no traceback is ever shown unasked.
        return errors.report(error)
    return int(status or 0)


def _check_core() -> None:
    """The core starts at its import; say in one line why it does not."""
    try:
        from zeroizepy import _lib  # noqa: F401 - the import is the check.
    except (ImportError, ValueError) as error:
        fault, _, hint = str(error).partition("; ")
        raise errors.Failure(fault, hint or "check the ZEROIZEPY_ variables of the environment") from error


def _flush_stdout() -> None:
    if sys.stdout is None:  # Started with >&-: nobody wants the output.
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        errors.drop_stdout()
        error.filename = "stdout"
        raise
