"""`encrypt` and `decrypt`: one file, one AES-GCM message, held in memory as a whole."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from zeroizepy._lib import wipe_bytes
from zeroizepy.crypto import CipherText, CryptoKey, decrypt_data, decrypt_secret, encrypt_data
from zeroizepy.exceptions import DecryptionError, LockLimitError

from .console import Output, progress_bar, size_text
from .errors import Failure, say
from .files import check_free, check_path, new_file, open_regular, read_secret, write_all
from .keys import key_options, load_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["decrypt_command", "encrypt_command"]

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16
SUFFIX = ".zpy"
MOST_BYTES = 2 << 30
NOTE_FROM_BYTES = 64 << 20
SECRET_UP_TO_BYTES = 1 << 20
"""Plaintexts up to here are decrypted into locked memory, if the lock budget has room."""

_TOO_LARGE = "this version encrypts a file as one message in memory; split it"


def _output_options(command: Callable[..., int]) -> Callable[..., int]:
    command = click.option("--overwrite", is_flag=True, help="Replace OUT if it is a regular file.")(command)
    text = f"Default: FILE with {SUFFIX} added or taken off."
    return click.option("-o", "--output", metavar="OUT", help=text)(command)


def _check_output(path: str, source: os.stat_result, key: os.stat_result, *, overwrite: bool) -> None:
    """Refuse an OUT that stands for the input or the key, by whatever name, or that may not be replaced."""
    target = None
    with suppress(OSError):  # Nothing is there, or a link that leads nowhere: the check of the name itself decides.
        target = os.stat(path)
    for known, text in ((source, "is the input itself"), (key, "is the key file")):
        if target is not None and os.path.samestat(known, target):
            raise Failure(f"{path}: {text}", "give another name with -o")
    check_free(path, overwrite=overwrite)


def _tell_size(path: str, size_bytes: int) -> None:
    if size_bytes > NOTE_FROM_BYTES:
        text = f"its {size_text(size_bytes)} are held in memory as a whole; streaming comes with a later version"
        say(f"note: {path}: {text}")


@contextmanager
def _steps(label: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """A progress bar that is fed with increments."""
    with progress_bar(label) as show:
        if show is None:
            yield None
            return
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            show(done, total)

        show(0, total)
        yield advance


@click.command("encrypt")
@click.argument("file", metavar="FILE")
@key_options
@_output_options
def encrypt_command(file: str, key_file: str | None, key_fd: int | None, output: str | None, overwrite: bool) -> int:
    """Encrypt FILE with AES-GCM; FILE itself stays (see shred).

    The whole file is read into ordinary memory, encrypted as one message, and that memory is zeroed; it is not locked,
    so it can be swapped meanwhile. 2 GiB at most. OUT holds the 12-byte nonce, the ciphertext and the 16-byte tag, has
    mode 600, and appears only when it is complete. Neither name nor size of FILE is hidden.
    """
    check_path(file)
    target = output if output is not None else file + SUFFIX
    check_path(target)
    source = open_regular(file, MOST_BYTES, _TOO_LARGE)
    with load_key(key_file, key_fd) as (key, key_status), source as (fd, status):
        _check_output(target, status, key_status, overwrite=overwrite)
        size = status.st_size
        _tell_size(file, size)
        with _steps(file, 2 * size + OVERHEAD_BYTES) as advance:
            with read_secret(fd, file, size, advance) as plaintext:
                sealed = encrypt_data(plaintext, key)
            with new_file(target, overwrite) as out:
                write_all(out.fd, sealed.nonce, advance)
                write_all(out.fd, sealed.ciphertext, advance)
    Output().line(f"{target}: {size_text(size)} of {file} encrypted with {key.algorithm}")
    return 0


@click.command("decrypt")
@click.argument("file", metavar="FILE")
@key_options
@_output_options
def decrypt_command(file: str, key_file: str | None, key_fd: int | None, output: str | None, overwrite: bool) -> int:
    """Decrypt FILE, which 'zeroizepy encrypt' made.

    Nothing is written unless the whole file is authentic. Up to 1 MiB is decrypted in locked memory if the lock limit
    has room for it; more passes through ordinary memory, which is said and zeroed afterwards. OUT has mode 600 and
    appears only when it is complete.
    """
    check_path(file)
    if output is None and (not file.endswith(SUFFIX) or os.path.basename(file) == SUFFIX):
        text = f"{file} does not end in {SUFFIX}: name the output with -o OUT"
        raise click.UsageError(text, click.get_current_context())
    target = output if output is not None else file.removesuffix(SUFFIX)
    check_path(target)
    source = open_regular(file, MOST_BYTES + OVERHEAD_BYTES, _TOO_LARGE)
    with load_key(key_file, key_fd) as (key, key_status), source as (fd, status):
        _check_output(target, status, key_status, overwrite=overwrite)
        size = status.st_size
        if size < OVERHEAD_BYTES:
            raise Failure(
                f"{file}: has {size} bytes; an encrypted file has at least {OVERHEAD_BYTES}",
                "it was cut off, or is not encrypted",
            )
        _tell_size(file, size)
        with _steps(file, 2 * size) as advance:
            sealed = _read_sealed(fd, file, size, advance)
            with _decrypted(file, sealed, key) as plaintext, new_file(target, overwrite) as out:
                write_all(out.fd, plaintext, advance)
    Output().line(f"{target}: {size_text(size - OVERHEAD_BYTES)} decrypted with {key.algorithm}")
    return 0


def _read_sealed(fd: int, path: str, size: int, advance: Callable[[int], None] | None) -> CipherText:
    with open(fd, "rb", closefd=False) as file:
        nonce = file.read(NONCE_BYTES)
        ciphertext = file.read(size - NONCE_BYTES)
        if len(nonce) + len(ciphertext) < size or file.read(1):
            raise Failure(f"{path}: changed while it was read", "try again when nothing writes to it")
    if advance is not None:
        advance(size)
    return CipherText(nonce, ciphertext)


@contextmanager
def _decrypted(path: str, sealed: CipherText, key: CryptoKey) -> Iterator[memoryview]:
    """The plaintext for the length of a `with` block: in locked memory when it fits there, wiped at the end."""
    try:
        if len(sealed.ciphertext) <= SECRET_UP_TO_BYTES:
            try:
                memory = decrypt_secret(sealed, key)
            except LockLimitError:
                pass  # What does not fit under the lock limit takes the other way, and is said.
            else:
                with memory, memory.borrow() as view:
                    yield view
                return
        plaintext = decrypt_data(sealed, key)
    except DecryptionError:
        raise Failure(
            f"{path}: wrong key, or not an encrypted file, or damaged; nothing was written",
            "use the key file that it was encrypted with",
        ) from None
    text = "bytes are decrypted in ordinary memory, which can be swapped; it is zeroed next"
    say(f"note: {path}: {len(plaintext)} {text}")
    try:
        yield memoryview(plaintext)
    finally:
        wipe_bytes(plaintext)
