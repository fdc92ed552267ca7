"""The caller's wishes, checked: nothing behind this module sees a wrong type or size."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass

from zeroizepy._lib import shown

__all__ = [
    "BUFFER_BYTES",
    "DEFAULT_PASSES",
    "Pattern",
    "ShredOptions",
    "buffer_size",
    "check_callable",
    "check_flag",
    "count",
    "parse_pattern",
    "parse_verify",
    "path_text",
]

BLOCK_BYTES = 4096
"""Buffers are multiples of this: what O_DIRECT needs on every device in use."""

BUFFER_BYTES = 4 << 20
MAX_BUFFER_BYTES = 64 << 20
MAX_PATTERN_BYTES = 1 << 20
MAX_PASSES = 1000
DEFAULT_PASSES = 3

_NAMED = {"zeros": b"\x00", "ones": b"\xff"}


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a pass writes.

    Attributes:
        name: For reports; never the bytes themselves.
        data: Repeated from offset 0 of the file on; None for random bytes.
    """

    name: str
    data: bytes | None


RANDOM = Pattern("random", None)


@dataclass(frozen=True, slots=True)
class ShredOptions:
    """The checked arguments of `secure_delete`; by default what it does unasked.

    Attributes:
        passes: What each pass writes.
        scheme: The name of the scheme that the passes are from.
        device: Reads the last pass back from the block device, too; then `verify` is on.
        unlink: The file's name goes in the end.
        wipe_journal: Has the file system's journal written back and zeroed in the end.
        warn: Warns of what the report says only to those who look at it.
    """

    passes: tuple[Pattern, ...] = (RANDOM,) * DEFAULT_PASSES
    scheme: str | None = None
    rename: bool = True
    sync: bool = True
    buffer_bytes: int = BUFFER_BYTES
    follow_symlinks: bool = False
    dry_run: bool = False
    verify: bool = False
    device: bool = False
    unlink: bool = True
    wipe_journal: bool = False
    allow_hard_links: bool = False
    force: bool = False
    warn: bool = True


def parse_pattern(pattern: str | bytes | bytearray | memoryview) -> Pattern:
    """Check `pattern`: "random", "zeros", "ones", or 1 byte to 1 MiB.

    Raises:
        TypeError: Neither text nor bytes.
        ValueError: An unknown name, no bytes, or too many.
    """
    if isinstance(pattern, str):
        name = pattern.lower()
        if name != "random" and name not in _NAMED:
            raise ValueError(f"pattern must be 'random', 'zeros', 'ones' or bytes, not {shown(pattern)}")
        return Pattern(name, _NAMED.get(name))
    if not isinstance(pattern, (bytes, bytearray, memoryview)):
        raise TypeError(f"pattern must be str or bytes, not {type(pattern).__name__}")
    data = bytes(pattern)
    if not 1 <= len(data) <= MAX_PATTERN_BYTES:
        raise ValueError(f"pattern must be 1 to {MAX_PATTERN_BYTES} bytes, not {len(data)}")
    return Pattern(f"bytes:{len(data)}", data)


def count(value: object, name: str, least: int, most: int | None = None) -> int:
    """Check a whole number.

    Raises:
        TypeError: Not a whole number; a bool is none.
        ValueError: Under `least` or over `most`.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}") from None
    if number < least or (most is not None and number > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name} must be {limits}, not {number}")
    return number


def check_flag(value: object, name: str) -> bool:
    """Check an on-or-off argument.

    Raises:
        TypeError: Not a bool. A string such as "no" would otherwise count as true.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def buffer_size(chunk_size: object) -> int:
    """Bytes for each write call: `chunk_size` rounded up to a multiple of 4096, 64 MiB at most; 4 MiB for None.

    Raises:
        TypeError: Not a whole number.
        ValueError: Under 1.
    """
    if chunk_size is None:
        return BUFFER_BYTES
    return min(round_up(count(chunk_size, "chunk_size", 1)), MAX_BUFFER_BYTES)


def round_up(size_bytes: int) -> int:
    """The next multiple of 4096 that holds `size_bytes`; 4096 for 0."""
    return max(BLOCK_BYTES, -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES)


def parse_verify(value: object) -> tuple[bool, bool]:
    """Check `verify`: False, True, or "device". Returns whether to read back, and whether from the device, too.

    Raises:
        TypeError: Neither a bool nor text.
        ValueError: Another text.
    """
    if isinstance(value, bool):
        return value, False
    if not isinstance(value, str):
        raise TypeError(f"verify must be True, False or 'device', not {type(value).__name__}")
    if value != "device":
        raise ValueError(f"verify must be True, False or 'device', not {shown(value)}")
    return True, True


def path_text(path: str | bytes | os.PathLike[str] | os.PathLike[bytes], name: str) -> str:
    """A path as str.

    Raises:
        ValueError: It is empty.
    """
    text = os.fsdecode(path)
    if not text:
        raise ValueError(f"{name} must not be empty")
    return text


def check_callable(function: object, name: str) -> None:
    """Refuse what cannot be called, except None.

    Raises:
        TypeError: It cannot.
    """
    if function is not None and not callable(function):
        raise TypeError(f"{name} must be callable or None, not {type(function).__name__}")
