"""`encrypt` and `decrypt`: files and streams of any size, as C2SP Cobblestone."""

from __future__ import annotations

import io
import os
import sys
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.chunked import decrypt_file, encrypt_file
from zeroizepy.exceptions import DecryptionError

from .console import Output, progress_bar, size_text
from .errors import BAD_USAGE, Failure
from .files import check_path, naming, naming_result, open_regular, refuse_same
from .key_openers import open_key, open_key_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zeroizepy.crypto import CryptoKey

__all__ = ["decrypt_command", "encrypt_command"]

SUFFIX = ".zpy"
_STREAM = "-"


def _file_options(command: Callable[..., int]) -> Callable[..., int]:
    text = f"- is stdout. Default: FILE with {SUFFIX} added or taken off; stdout when FILE is -."
    for option in (
        click.option("--quiet", is_flag=True, help="Nothing but errors, no progress bar."),
        click.option("--overwrite", "--force", is_flag=True, help="Replace OUT if it is a regular file."),
        click.option("-o", "--output", metavar="OUT", help=text),
        click.option(
            "--associated-data",
            default="",
            metavar="TEXT",
            help="Authenticated, not stored and not secret; decrypt needs the same.",
        ),
    ):
        command = option(command)
    return open_key_options(command)


class _Stdout(io.FileIO):
    """Standard output without a buffer; what fails says where."""

    def write(self, data: Any) -> int:
        """Write, and say how much."""
        with naming("stdout"):
            return super().write(data)


def _check_stream(stream: object, name: str) -> None:
    if stream is None:  # Its number may be another file's by now.
        raise Failure(f"-: {name} is closed", "give a file name, or do not close it", BAD_USAGE)


@contextmanager
def _source(file: str) -> Iterator[tuple[Any, os.stat_result]]:
    """The open input, and its status."""
    if file == _STREAM:
        _check_stream(sys.stdin, "stdin")
        with naming("stdin"), open(0, "rb", buffering=0, closefd=False) as stream:
            yield stream, os.fstat(0)
        return
    with open_regular(file) as (fd, status), open(fd, "rb", buffering=0, closefd=False) as stream:
        yield stream, status


@contextmanager
def _target(path: str, *, overwrite: bool) -> Iterator[Any]:
    """What the library takes as destination."""
    if path == _STREAM:
        with _Stdout(1, "wb", closefd=False) as stream:
            yield stream
        return
    with naming_result(path, overwrite=overwrite):
        yield path


class _Counter:
    """Counts for the last line what a progress bar shows."""

    def __init__(self, show: Callable[[int, int | None], object] | None) -> None:
        self.done = 0
        self._show = show

    def __call__(self, done: int, total: int | None) -> None:
        """So much of the input is done."""
        self.done = done
        if self._show is not None:
            self._show(done, total)


def _check_input(file: str) -> None:
    if file != _STREAM:
        check_path(file)


def _check_key(key: CryptoKey) -> None:
    remedy = "'zeroizepy keygen KEYFILE' makes one of 32 bytes"
    if not key.algorithm.startswith("AES-"):
        raise Failure(f"the key is for {key.algorithm}; files are encrypted with AES-GCM (Cobblestone)", remedy)
    if len(key) == 24:
        raise Failure("the key has 24 bytes; files are encrypted with 16 or 32 (Cobblestone-128 or -256)", remedy)


def _carry_out(run: Callable[..., None], file: str, target: str, options: dict[str, Any]) -> tuple[int, str]:
    """Encrypt or decrypt. Returns how many bytes of the input there were, and the algorithm."""
    quiet, overwrite = options.pop("quiet"), options.pop("overwrite")
    context = os.fsencode(options.pop("associated_data"))
    if target == _STREAM:
        _check_stream(sys.stdout, "stdout")
    else:
        check_path(target)
    if file == _STREAM and options["key_fd"] == 0:
        raise Failure("stdin cannot be both FILE and --key-fd 0", "give the key by another descriptor", BAD_USAGE)
    with ExitStack() as stack:
        key, key_statuses = stack.enter_context(open_key(**options, stdin_is_taken=file == _STREAM))
        source, status = stack.enter_context(_source(file))
        if target != _STREAM:
            refuse_same(target, status, "is the input itself")
            for key_status in key_statuses:
                refuse_same(target, key_status, "is the key file")
        _check_key(key)
        destination = stack.enter_context(_target(target, overwrite=overwrite))
        bar = stack.enter_context(progress_bar(file, quiet=quiet or (target == _STREAM and os.isatty(1))))
        counter = _Counter(bar)
        with _explaining(file, target, counter) if run is decrypt_file else nullcontext():
            run(source, destination, key, associated_data=context, progress=counter, overwrite=overwrite)
        return counter.done, key.algorithm


@contextmanager
def _explaining(file: str, target: str, counter: _Counter) -> Iterator[None]:
    """Say what a failed decryption left."""
    try:
        yield
    except DecryptionError as error:
        hint = "nothing was written"
        if target == _STREAM and counter.done:  # It counts a batch once that is written.
            hint = "what went to stdout is genuine, and only the beginning: do not use it as if it were all"
        raise Failure(f"{'stdin' if file == _STREAM else file}: {error}", hint) from None


@click.command("encrypt")
@click.argument("file", metavar="FILE")
@_file_options
def encrypt_command(file: str, output: str | None, **options: Any) -> int:
    """Encrypt FILE (- is stdin) as C2SP Cobblestone; FILE itself stays (see shred).

    Any size and any pipe: 16 KiB chunks, each authenticated, on all CPUs. Other implementations of Cobblestone open the
    result, with a raw key of 32 bytes Cobblestone-256, with 16 Cobblestone-128. Little of the plaintext is in memory at
    a time; it is not locked there, and is zeroed afterwards. OUT has mode 600 and appears only when it is complete and
    flushed. Neither name nor size of FILE is hidden.
    """
    _check_input(file)
    target = output if output is not None else file if file == _STREAM else file + SUFFIX
    if target == _STREAM and sys.stdout is not None and os.isatty(1):
        raise Failure("stdout is a terminal, and ciphertext is no text", "give -o OUT, or a pipe", BAD_USAGE)
    quiet = options["quiet"]
    size, algorithm = _carry_out(encrypt_file, file, target, options)
    if target != _STREAM and not quiet:
        what = "stdin" if file == _STREAM else file
        Output().line(f"{target}: {size_text(size)} of {what} encrypted with {algorithm}")
    return 0


@click.command("decrypt")
@click.argument("file", metavar="FILE")
@_file_options
def decrypt_command(file: str, output: str | None, **options: Any) -> int:
    """Decrypt FILE (- is stdin), which 'zeroizepy encrypt' or another implementation of C2SP Cobblestone made.

    OUT has mode 600 and appears only when all of FILE is authentic; nothing of it is left otherwise. On stdout no byte
    appears before its chunk is authenticated, but only exit status 0 says that none is missing at the end.
    """
    _check_input(file)
    if output is None and file != _STREAM and (not file.endswith(SUFFIX) or os.path.basename(file) == SUFFIX):
        text = f"{file} does not end in {SUFFIX}: name the output with -o OUT"
        raise click.UsageError(text, click.get_current_context())
    target = output if output is not None else file.removesuffix(SUFFIX)
    quiet = options["quiet"]
    _, algorithm = _carry_out(decrypt_file, file, target, options)
    if target != _STREAM and not quiet:
        with suppress(OSError):  # Somebody may have moved it by now.
            Output().line(f"{target}: {size_text(os.stat(target).st_size)} decrypted with {algorithm}")
    return 0
