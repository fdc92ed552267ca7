"""What opens a wrapped key on the command line: a key file, or a password from the terminal or a descriptor."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.erasure import KeyFileInfo, key_file_info

from .errors import Failure
from .files import naming
from .keys import load_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["failing", "opener", "opener_options", "read_key"]

_MOST_PASSWORD_BYTES = 4096


def opener_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --key, --key-fd, --password and --password-fd to a command."""
    text = "Read the password from descriptor N, to its end, without white space around it."
    for option in (
        click.option("--password-fd", type=click.IntRange(min=0), metavar="N", help=text),
        click.option("--password", "ask", is_flag=True, help="Ask for a password at the terminal."),
        click.option("--key-fd", type=click.IntRange(min=0), metavar="N", help="Read the raw wrapping key from N."),
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
        raise Failure(f"{path}: the input ended before the first byte") from None
    except ValueError as error:
        fault, _, hint = str(error).partition("; ")
        raise Failure(fault if fault.startswith(f"{path}: ") else f"{path}: {fault}", hint or None) from None


@contextmanager
def opener(
    key_file: str | None, key_fd: int | None, password_fd: int | None, *, ask: bool, confirm: bool = False
) -> Iterator[dict[str, Any]]:
    """What the options name, wiped when the block ends.

    Args:
        key_file, key_fd, password_fd, ask: The options.
        confirm: Ask for a password twice, where it is a new one.

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
        with load_key(key_file, key_fd) as (key, _):
            yield {"wrapping_key": key}
        return
    with failing("password"):
        if password_fd is None:
            cell = CypherCell.from_prompt("Password: ", confirm=confirm)
        else:
            with naming(f"--password-fd {password_fd}"):
                cell = CypherCell.from_fd(password_fd, strip=True, max_bytes=_MOST_PASSWORD_BYTES)
    try:
        yield {"password": cell}
    finally:
        cell.wipe()


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
        key = CryptoKey.load(path, **given)
    with key:
        yield key, info
