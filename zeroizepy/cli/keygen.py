"""`keygen`: new keys. One goes from its slot into the file without a Python object."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from zeroizepy.crypto import CryptoKey
from zeroizepy.durable import new_private_file
from zeroizepy.signing import SigningKey

from .console import Output
from .errors import Failure
from .files import check_path, write_all
from .key_openers import failing, opener

__all__ = ["keygen_command"]


@click.command("keygen")
@click.argument("key_file", metavar="KEYFILE")
@click.option(
    "--bits", type=click.Choice(["128", "192", "256"]), default="256", show_default=True, help="Size of the AES key."
)
@click.option(
    "--signing", is_flag=True, help="Make an Ed25519 signing key instead (for certify and audit); shows its public key."
)
@click.option("--password", "ask", is_flag=True, help="Encrypt it with a password, asked for at the terminal.")
@click.option("--password-fd", type=click.IntRange(min=0), metavar="N", help="The password from descriptor N instead.")
@click.option("--wrapping-key", metavar="KEYFILE", help="Encrypt it with the raw key in this file.")
def keygen_command(
    key_file: str, bits: str, password_fd: int | None, wrapping_key: str | None, *, signing: bool, ask: bool
) -> int:
    """Make a random key and store it in KEYFILE, which must not exist yet.

    The key is drawn from the kernel's generator into locked memory and written from there; the file is readable by
    you alone (mode 600) and flushed to the device. It holds the raw key, and whoever reads it has that, unless it is
    encrypted with a password (Argon2id) or a wrapping key; docs/key-files.md has that format. Keep a copy, or
    everything that it encrypts is lost with it; to erase that for good, see key erase.

    A signing key is the 32-byte seed. Give its public key to those who shall check signatures, by a way they trust.
    Never use one file as both kinds of key. 192 bits cannot encrypt files.
    """
    check_path(key_file)
    context = click.get_current_context()
    if signing and context.get_parameter_source("bits") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--bits is for AES keys; a signing key has one size", context)
    is_wrapped = ask or (password_fd, wrapping_key) != (None, None)
    if signing and is_wrapped:
        raise click.UsageError("signing keys are stored raw; encrypted key files hold AES keys", context)
    try:
        if signing:
            lines = _new_signing_key(key_file)
        elif is_wrapped:
            with opener(wrapping_key, None, password_fd, ask=ask, confirm=True) as given:
                lines = _new_wrapped_key(key_file, int(bits), given)
        else:
            lines = _new_aes_key(key_file, int(bits))
    except FileExistsError:
        remedy = "choose another name; an overwritten key cannot be had back"
        raise Failure(f"{key_file}: exists already", remedy) from None
    output = Output()
    for line in lines:
        output.line(line)
    return 0


def _new_aes_key(key_file: str, bits: int) -> list[str]:
    with new_private_file(key_file) as fd, CryptoKey.generate(bits // 8) as key, key.borrow() as view:
        write_all(fd, view)
    return [f"{key_file}: new {bits}-bit key, mode 600"]


def _new_wrapped_key(key_file: str, bits: int, given: dict[str, Any]) -> list[str]:
    with failing(key_file), CryptoKey.generate(bits // 8) as key:
        key.save(key_file, **given)
    by = "a password" if "password" in given else "a wrapping key"
    return [f"{key_file}: new {bits}-bit key, encrypted with {by}, mode 600"]


def _new_signing_key(key_file: str) -> list[str]:
    with SigningKey.generate() as key:
        key.save(key_file)
        return [f"{key_file}: new Ed25519 signing key, mode 600", f"public key: {key.public_key.hex()}"]
