"""`keygen`: new keys. One goes from its slot into the file without a Python object."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from zeroizepy.crypto import CryptoKey
from zeroizepy.durable import new_private_file
from zeroizepy.keys.algorithms import ALGORITHMS
from zeroizepy.signing import SigningKey

from .console import Output
from .errors import Failure
from .files import check_path, write_all
from .key_openers import failing, opener
from .keys import parse_descriptor

__all__ = ["keygen_command"]


@click.command("keygen")
@click.argument("key_file", metavar="KEYFILE")
@click.option(
    "--bits", type=click.Choice(["128", "192", "256"]), default="256", show_default=True, help="Size of the AES key."
)
@click.option(
    "--algorithm", type=click.Choice(list(ALGORITHMS)), help="What the key is for, instead of --bits.  [default: AES]"
)
@click.option(
    "--signing", is_flag=True, help="Make an Ed25519 signing key instead (for certify and audit); shows its public key."
)
@click.option("--password", "ask", is_flag=True, help="Encrypt it with a password, asked for at the terminal.")
@click.option("--password-fd", callback=parse_descriptor, metavar="N", help="The password from descriptor N instead.")
@click.option("--wrapping-key", metavar="KEYFILE", help="Encrypt it with the raw key in this file.")
def keygen_command(
    key_file: str,
    bits: str,
    algorithm: str | None,
    password_fd: int | None,
    wrapping_key: str | None,
    *,
    signing: bool,
    ask: bool,
) -> int:
    """Make a random key and store it in KEYFILE, which must not exist yet.

    The key is drawn from the kernel's generator into locked memory and written from there; the file is readable by
    you alone (mode 600) and flushed to the device. It holds the raw key, and whoever reads it has that, unless it is
    encrypted with a password (Argon2id) or a wrapping key; docs/key-files.md has that format. Keep a copy, or
    everything that it encrypts is lost with it; to erase that for good, see key erase.

    A signing key is the 32-byte seed. Give its public key to those who shall check signatures, by a way they trust.
    Never use one file as both kinds of key.

    Files are encrypted with AES of 128 or 256 bits. The other algorithms are for messages of programs (encrypt_data);
    only AES keys can be raw, since a raw file does not say what it is for.
    """
    check_path(key_file)
    context = click.get_current_context()
    sized = context.get_parameter_source("bits") is ParameterSource.COMMANDLINE
    openers = sum((ask, password_fd is not None, wrapping_key is not None))
    fault = _fault_of(algorithm, openers, sized=sized, signing=signing)
    if fault is not None:
        raise click.UsageError(fault, context)
    name = algorithm or f"AES-{bits}-GCM"
    try:
        if signing:
            lines = _new_signing_key(key_file)
        elif openers:
            with opener(wrapping_key, None, password_fd, ask=ask, confirm=True, option="--wrapping-key") as given:
                lines = _new_wrapped_key(key_file, name, given)
        else:
            lines = _new_aes_key(key_file, name)
    except FileExistsError:
        remedy = "choose another name; an overwritten key cannot be had back"
        raise Failure(f"{key_file}: exists already", remedy) from None
    output = Output()
    for line in lines:
        output.line(line)
    return 0


def _fault_of(algorithm: str | None, openers: int, *, sized: bool, signing: bool) -> str | None:
    """What is wrong with options that do not go together."""
    if signing and (sized or algorithm):
        option = "--bits" if sized else "--algorithm"
        return f"{option} is for keys that encrypt; a signing key is Ed25519, of one size"
    if signing and openers:
        return "signing keys are stored raw; encrypted key files hold keys that encrypt"
    if algorithm and sized:
        return f"--algorithm {algorithm} says the size; leave --bits out"
    if openers > 1:
        return "give one of --password, --password-fd N and --wrapping-key KEYFILE"
    if algorithm and not openers and not ALGORITHMS[algorithm].is_aes:
        return f"a raw file cannot say that its key is for {algorithm}; give --password or --wrapping-key KEYFILE"
    return None


def _new_aes_key(key_file: str, name: str) -> list[str]:
    with new_private_file(key_file) as fd, _generate(name) as key, key.borrow() as view:
        write_all(fd, view)
    return [f"{key_file}: new {name} key, mode 600"]


def _new_wrapped_key(key_file: str, name: str, given: dict[str, Any]) -> list[str]:
    with failing(key_file), _generate(name) as key:
        key.save(key_file, **given)
    by = "a password" if "password" in given else "a wrapping key"
    return [f"{key_file}: new {name} key, encrypted with {by}, mode 600"]


def _generate(name: str) -> CryptoKey:
    return CryptoKey.generate(algorithm=ALGORITHMS[name].name)


def _new_signing_key(key_file: str) -> list[str]:
    with SigningKey.generate() as key:
        key.save(key_file)
        return [f"{key_file}: new Ed25519 signing key, mode 600", f"public key: {key.public_key.hex()}"]
