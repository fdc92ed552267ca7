"""Raw key files: checked and loaded. A key goes from the file into its slot without a Python object."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.durable import open_private_file
from zeroizepy.keys.wrap import MAGIC

from .errors import Failure, failure_of
from .files import check_path, naming

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["load_key", "parse_descriptor"]

_KEY_BYTES = (16, 24, 32)
_MOST_BYTES = 4096
_LOOKS_LIKE_A_KEY = re.compile(r"[0-9A-Za-z+/=_-]{22,}")


def parse_descriptor(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Turn the number of a descriptor into one, for click; an error does not repeat what may be the secret itself."""
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise click.BadParameter("a descriptor is a number, such as 3 with 3<FILE; the secret is read from it")
    return int(value)


@contextmanager
def load_key(
    key_file: str | None, key_fd: int | None, *, option: str = "--key"
) -> Iterator[tuple[CryptoKey, os.stat_result]]:
    """Read the key that the options name, and close it when the block ends.

    Args:
        key_file, key_fd: What was given.
        option: What names the file; only beside --key does --key-fd stand for the same key.

    Yields:
        The key, and the status of what it was read from.

    Raises:
        UsageError: Not exactly one of the two was given.
        Failure: The file is another user's (root may use it), may be accessed by others, or does not hold a key.
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
        key, status = _read_key_file(key_file, option)
    with key:
        yield key, status


def _read_key_file(key_file: str, option: str) -> tuple[CryptoKey, os.stat_result]:
    check_path(key_file)
    what = "for a pipe use --key-fd N" if option == "--key" else "a raw key file holds 16, 24 or 32 bytes"
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(open_private_file(key_file, what))
        except FileNotFoundError:
            # Who passes the key itself has already shown it to the process list; it must not reach a log as well.
            if _LOOKS_LIKE_A_KEY.fullmatch(key_file):
                raise Failure(
                    f"{option} takes the path of a key file, and there is no such file",
                    "never give a key on the command line, where all can read it; 'zeroizepy keygen KEYFILE' makes one",
                ) from None
            raise Failure(f"{key_file}: no such key file", "make one with 'zeroizepy keygen KEYFILE'") from None
        except ValueError as error:
            raise failure_of(error) from None
        return _read_key(fd, key_file), os.fstat(fd)


def _read_key(fd: int, name: str) -> CryptoKey:
    try:
        with naming(name):
            cell = CypherCell.from_fd(fd, max_bytes=_MOST_BYTES)
    except ValueError:
        raise Failure(f"{name}: holds more than {_MOST_BYTES} bytes", "a key is 16, 24 or 32 raw bytes") from None
    try:
        if len(cell) not in _KEY_BYTES:
            with cell.borrow() as view:
                is_wrapped = view[: len(MAGIC)] == MAGIC
            if is_wrapped:
                raise Failure(
                    f"{name}: is itself encrypted, and a raw key is needed here",
                    "'zeroizepy key unwrap' makes a raw one of it; shred that after use",
                )
            raise Failure(f"{name}: holds {len(cell)} bytes", "a key is 16, 24 or 32 raw bytes, without a line end")
        return CryptoKey(cell)
    finally:
        cell.wipe()
