"""What opens a wrapped key on the command line: a key file, or a password from the terminal or a descriptor."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.erasure import KeyFileInfo, key_file_info
from zeroizepy.keys.wrap import MAGIC

from .errors import Failure, failure_of
from .files import naming
from .keys import load_key, parse_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["failing", "open_key", "open_key_options", "opener", "opener_options", "read_key"]

_MOST_PASSWORD_BYTES = 4096
_LONGEST_RAW_BYTES = 32


def opener_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --key, --key-fd, --password and --password-fd to a command."""
    text = "Read the password from descriptor N, to its end, without white space around it."
    for option in (
        click.option("--password-fd", callback=parse_descriptor, metavar="N", help=text),
        click.option("--password", "ask", is_flag=True, help="Ask for a password at the terminal."),
        click.option("--key-fd", callback=parse_descriptor, metavar="N", help="Read the raw wrapping key from N."),
        click.option("--key", "key_file", metavar="KEYFILE", help="Raw key file of the wrapping key (see keygen)."),
    ):
        command = option(command)
    return command


@contextmanager
def failing(path: str) -> Iterator[None]:
    """Turn what the library refuses about a file into a failure that names it.

    Raises:
        Failure: With the library's own remedy.
    """
    try:
        yield
    except EOFError:
        remedy = "type it at the terminal, or give --password-fd N with the password in it"
        raise Failure(f"{path}: the input ended before the first byte", remedy) from None
    except ValueError as error:
        raise failure_of(error, path) from None


@contextmanager
def opener(
    key_file: str | None,
    key_fd: int | None,
    password_fd: int | None,
    *,
    ask: bool,
    confirm: bool = False,
    option: str = "--key",
) -> Iterator[dict[str, Any]]:
    """What the options name, wiped when the block ends.

    Args:
        key_file, key_fd, password_fd, ask: The options.
        confirm: Ask for a password twice, where it is a new one.
        option: What names the key file.

    Yields:
        `wrapping_key` or `password`, as `CryptoKey.save` and `load` take them.

    Raises:
        UsageError: Not exactly one option was given.
        Failure, OSError: It cannot be read.
    """
    if sum((key_file is not None, key_fd is not None, password_fd is not None, ask)) != 1:
        text = "give one of --key KEYFILE, --key-fd N, --password and --password-fd N"
        raise click.UsageError(text, click.get_current_context())
    if key_file is not None or key_fd is not None:
        with load_key(key_file, key_fd, option=option) as (key, _):
            yield {"wrapping_key": key}
        return
    with failing("password"):
        if password_fd is None:
            cell = CypherCell.from_prompt("Password: ", confirm=confirm)
        else:
            with naming(f"--password-fd {password_fd}"):
                cell = _password_from(password_fd)
    try:
        if len(cell) == 0:
            raise Failure("password: is empty", "give the password itself; is a shell variable unset?")
        yield {"password": cell}
    finally:
        cell.wipe()


def _password_from(fd: int) -> CypherCell:
    try:
        return CypherCell.from_fd(fd, strip=True, max_bytes=_MOST_PASSWORD_BYTES)
    except ValueError:
        fault = f"--password-fd {fd}: holds more than {_MOST_PASSWORD_BYTES} bytes"
        raise Failure(fault, "is it a password? a key file goes to --key or --wrapping-key") from None


@contextmanager
def read_key(path: str, given: dict[str, Any]) -> Iterator[tuple[CryptoKey, KeyFileInfo]]:
    """The key in a key file, raw or wrapped, destroyed when the block ends.

    Args:
        path: The file.
        given: What `opener` yields; empty for a raw one.
    """
    with failing(path):
        info = key_file_info(path)
        if info.opened_by == "nothing":
            with load_key(path, None) as (key, _):
                yield key, info
            return
        if given and (info.opened_by == "password") != ("password" in given):
            remedy = "--password or --password-fd N" if info.opened_by == "password" else "--key KEYFILE or --key-fd N"
            raise Failure(f"{path}: is encrypted with a {info.opened_by.replace('_', ' ')}", f"give {remedy}")
        key = CryptoKey.load(path, **given)
    with key:
        yield key, info


def open_key_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `open_key` takes to a command."""
    text = "The password of KEYFILE from descriptor N, to its end; else it is asked for at the terminal."
    for option in (
        click.option("--password-fd", callback=parse_descriptor, metavar="N", help=text),
        click.option("--wrapping-key", metavar="FILE", help="Raw key file that KEYFILE is encrypted with."),
        click.option(
            "--key-fd",
            callback=parse_descriptor,
            metavar="N",
            help="Read the raw key from descriptor N instead, as in: --key-fd 3 3<key.bin",
        ),
        click.option(
            "--key", "key_file", metavar="KEYFILE", help="The key file, raw or encrypted, yours, mode 600 (see keygen)."
        ),
    ):
        command = option(command)
    return command


@contextmanager
def open_key(
    key_file: str | None,
    key_fd: int | None,
    wrapping_key: str | None,
    password_fd: int | None,
    *,
    stdin_is_taken: bool = False,
) -> Iterator[tuple[CryptoKey, list[os.stat_result]]]:
    """The key that a command works with, raw or from an encrypted key file, destroyed when the block ends.

    Args:
        key_file, key_fd, wrapping_key, password_fd: The options.
        stdin_is_taken: A password must not be read from there.

    Yields:
        The key, and the status of each file that was read for it.

    Raises:
        UsageError: Options that do not go together.
        Failure, OSError: It cannot be read or opened.
    """
    context = click.get_current_context()
    if key_file is None or key_fd is not None or not _is_wrapped(key_file):
        is_missing = key_file is not None and not os.path.lexists(key_file)  # `load_key` says that.
        if (wrapping_key, password_fd) != (None, None) and not is_missing:
            raise click.UsageError("--wrapping-key and --password-fd are for an encrypted KEYFILE", context)
        with load_key(key_file, key_fd) as (key, status):
            yield key, [status]
        return
    with failing(key_file):
        opened_by = key_file_info(key_file).opened_by
    if (opened_by == "wrapping_key") != (wrapping_key is not None) or (password_fd is not None and wrapping_key):
        remedy = "name that with --wrapping-key" if opened_by == "wrapping_key" else "leave --wrapping-key away"
        raise Failure(f"{key_file}: is encrypted with a {opened_by.replace('_', ' ')}", remedy)
    ask = opened_by == "password" and password_fd is None
    if ask and stdin_is_taken and not _has_terminal():
        raise Failure(f"{key_file}: needs a password, and there is no terminal to ask for it", "give --password-fd N")
    with ExitStack() as stack:
        given = stack.enter_context(opener(wrapping_key, None, password_fd, ask=ask, option="--wrapping-key"))
        key, _ = stack.enter_context(read_key(key_file, given))
        yield key, [os.stat(path) for path in (key_file, wrapping_key) if path is not None]


def _is_wrapped(path: str) -> bool:
    """Whether it is worth a look as an encrypted key file: no file that is may hold a raw key."""
    try:
        status = os.stat(path)
    except OSError:
        return False  # Whoever opens it says why.
    if not stat.S_ISREG(status.st_mode) or status.st_size <= _LONGEST_RAW_BYTES:
        return False
    with open(path, "rb", buffering=0) as file:
        return file.read(len(MAGIC)) == MAGIC


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
