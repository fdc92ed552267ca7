"""`key`: what is done with keys that exist; `keygen` makes them."""

from __future__ import annotations

import click

from .certifying import load_signing_key
from .console import Output
from .files import check_path
from .key_files import check_command, erase_command, info_command, unwrap_command, wrap_command

__all__ = ["key_command"]


@click.group("key", invoke_without_command=True)
@click.pass_context
def key_command(ctx: click.Context) -> None:
    """Work with keys that exist ('zeroizepy keygen' makes them)."""
    if ctx.invoked_subcommand is None:
        *others, last = sorted(key_command.commands)
        names = f"{', '.join(others)} or {last}" if others else last
        raise click.UsageError(f"a command is missing: {names}", ctx)


@key_command.command("public")
@click.argument("key_file", metavar="KEYFILE")
def public_command(key_file: str) -> int:
    """Print the public key of a signing key, as 64 hex digits alone on a line.

    It is what 'certify --check' and 'audit verify' take with --public-key; give it to those who shall check signatures,
    by a way they trust. Nothing else of the key is shown.

    A signing key file (keygen --signing) holds 32 bytes and nothing that tells it from an AES key of that size: for one
    of those a public key is shown, too, which no signature belongs to.
    """
    check_path(key_file)
    with load_signing_key(key_file) as key:
        Output().line(key.public_key.hex())
    return 0


for command in (info_command, wrap_command, unwrap_command, erase_command, check_command):
    key_command.add_command(command)
