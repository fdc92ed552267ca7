"""Key files: made, checked and loaded. A key goes from the file into its slot and back without a Python object."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.durable import new_private_file
from zeroizepy.signing import SigningKey

from .console import Output
from .errors import Failure
from .files import naming, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["key_options", "keygen_command", "load_key"]

_KEY_BYTES = (16, 24, 32)
_MOST_BYTES = 4096
_LOOKS_LIKE_A_KEY = re.compile(r"[0-9A-Za-z+/=_-]{22,}")


def key_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --key and --key-fd to a command."""
    command = click.option(
        "--key-fd",
        type=click.IntRange(min=0),
        metavar="N",
        help="Read the raw key from descriptor N instead, as in: --key-fd 3 3<key.bin",
    )(command)
    return click.option(
        "--key", "key_file", metavar="KEYFILE", help="File with the raw key: 16, 24 or 32 bytes, mode 600 (see keygen)."
    )(command)


@contextmanager
def load_key(key_file: str | None, key_fd: int | None) -> Iterator[tuple[CryptoKey, os.stat_result]]:
    """Read the key that the options name, and close it when the block ends.

    Yields:
        The key, and the status of what it was read from.

    Raises:
        UsageError: Not exactly one of the two was given.
        Failure: The file may be read by others, or does not hold a key.
        OSError: It cannot be opened or read.
    """
    if (key_file is None) == (key_fd is None):
        raise click.UsageError("give one of --key KEYFILE and --key-fd N", click.get_current_context())
    if key_file is None:
        assert key_fd is not None  # noqa: S101 - one of them is given.
        name = f"--key-fd {key_fd}"
        with naming(name):
            status = os.fstat(key_fd)
        key = _read_key(key_fd, name)
    else:
        key, status = _read_key_file(key_file)
    with key:
        yield key, status


def _read_key_file(key_file: str) -> tuple[CryptoKey, os.stat_result]:
    try:
        fd = os.open(key_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        # Who passes the key itself has already shown it to the process list; it must not reach a log as well.
        if isinstance(error, FileNotFoundError) and _LOOKS_LIKE_A_KEY.fullmatch(key_file):
            raise Failure(
                "--key takes the path of a key file, and there is no such file",
                "never give a key on the command line, where all can read it; 'zeroizepy keygen KEYFILE' makes one",
            ) from None
        if isinstance(error, FileNotFoundError):
            raise Failure(f"{key_file}: no such key file", "make one with 'zeroizepy keygen KEYFILE'") from None
        raise
    try:
        status = os.fstat(fd)
        _check_key_file(key_file, status)
        return _read_key(fd, key_file), status
    finally:
        os.close(fd)


def _check_key_file(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Failure(f"{name}: is not a regular file", "for a pipe use --key-fd N")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise Failure(f"{name}: other users may access this key file (mode {mode:03o})", f"chmod 600 {name}")


def _read_key(fd: int, name: str) -> CryptoKey:
    try:
        with naming(name):
            cell = CypherCell.from_fd(fd, max_bytes=_MOST_BYTES)
    except ValueError:
        raise Failure(f"{name}: holds more than {_MOST_BYTES} bytes", "a key is 16, 24 or 32 raw bytes") from None
    try:
        if len(cell) not in _KEY_BYTES:
            raise Failure(f"{name}: holds {len(cell)} bytes", "a key is 16, 24 or 32 raw bytes, without a line end")
        return CryptoKey(cell)
    finally:
        cell.wipe()


@click.command("keygen")
@click.argument("key_file", metavar="KEYFILE")
@click.option(
    "--bits", type=click.Choice(["128", "192", "256"]), default="256", show_default=True, help="Size of the AES key."
)
@click.option(
    "--signing", is_flag=True, help="Make an Ed25519 signing key instead (for certify and audit); shows its public key."
)
def keygen_command(key_file: str, bits: str, signing: bool) -> int:
    """Make a random key and store it raw in KEYFILE, which must not exist yet.

    The key is drawn from the kernel's generator into locked memory and written from there; the file is readable by
    you alone (mode 600) and flushed to the device. It is not protected by a password: whoever reads the file has the
    key. Keep a copy, or everything that it encrypts is lost with it; to erase that for good, shred all copies.

    A signing key is the 32-byte seed. Give its public key to those who shall check signatures, by a way they trust.
    Never use one file as both kinds of key.
    """
    if signing and click.get_current_context().get_parameter_source("bits") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--bits is for AES keys; a signing key has one size", click.get_current_context())
    try:
        lines = _new_signing_key(key_file) if signing else _new_aes_key(key_file, int(bits))
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


def _new_signing_key(key_file: str) -> list[str]:
    with SigningKey.generate() as key:
        key.save(key_file)
        return [f"{key_file}: new Ed25519 signing key, mode 600", f"public key: {key.public_key.hex()}"]
