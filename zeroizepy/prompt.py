"""Secrets that the user types at a terminal, or that come as one line through a pipe."""

from __future__ import annotations

import errno
import os

from . import _lib
from ._lib import ffi, lib
from .loaders import moved, policy_of

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from .loaders import Limits

__all__ = ["MAX_LINE_BYTES", "load_prompt"]

MAX_LINE_BYTES = 4094
"""Linux terminals take 4095 bytes of a line and drop the rest, so a line of 4095 may have lost its end."""

_LINE_END_BYTES = 2
_STDIN = 0
_STDERR = 2
_AGAIN = b"Again: "


def load_prompt(prompt: str, limits: Limits, *, confirm: bool = False) -> int:
    """Read one line into a new cell: from /dev/tty with echo off, else the same from descriptor 0, else without prompt.

    Args:
        prompt: Written to the terminal.
        limits: For the new cell.
        confirm: Ask twice.

    Returns:
        The cell's handle.

    Raises:
        TypeError: `prompt` is no str.
        EOFError: The input ended before the first byte.
        ValueError: The two entries differ, or a line is longer than `MAX_LINE_BYTES`.
        OSError: The terminal cannot be used.

    Source: termios(3), "Canonical and noncanonical mode".
    Does not reach: the kernel's terminal or pipe buffer.
    """
    if not isinstance(prompt, str):
        raise TypeError(f"prompt must be str, not {type(prompt).__name__}")
    questions = [prompt.encode("utf-8", "replace"), _AGAIN] if confirm else [prompt.encode("utf-8", "replace")]
    entries: list[int] = []
    try:
        _ask(questions, entries, policy_of(limits))
        if confirm:
            _check_equal(*entries)
        size = int(lib.zpy_cell_length(entries[0]))
        if size < 0:
            _lib.raise_status(-size)
        return moved(entries[0], size, size, limits)
    finally:
        for handle in entries:
            lib.zpy_cell_wipe(handle)


def _check_equal(first: int, second: int) -> None:
    answer = int(lib.zpy_cell_compare(first, second))
    if answer < 0:
        _lib.raise_status(-answer)
    if answer == 0:
        raise ValueError("the two entries differ; ask again")


def _ask(questions: list[bytes], entries: list[int], policy: int) -> None:
    """Append a cell for the answer to each question; they are the caller's also when this raises."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        fd = -1  # No controlling terminal: a service, or a program in a pipeline of its own session.
    if fd >= 0:
        try:
            _ask_terminal(fd, fd, questions, entries, policy)
        finally:
            os.close(fd)
    elif os.isatty(_STDIN):
        _ask_terminal(_STDIN, _STDERR, questions, entries, policy)
    else:
        for _ in questions:
            entries.append(_read_line(_STDIN, policy))  # noqa: PERF401 - the first stays known when the second fails.


def _ask_terminal(fd: int, out: int, questions: list[bytes], entries: list[int], policy: int) -> None:
    import termios  # Here, for Windows has none.

    try:
        before = termios.tcgetattr(fd)
        try:
            # Echo is off before the prompt is there, and what was typed ahead, with echo, is not taken for the answer.
            termios.tcsetattr(fd, termios.TCSAFLUSH, _quiet(termios, termios.tcgetattr(fd)))
            for question in questions:
                entries.append(_read_line(fd, policy, (out, question)))  # noqa: PERF401 - as above.
        finally:
            # What stands unread behind the line may be the rest of a secret: no shell should get it.
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)
    except termios.error as error:
        raise OSError(*error.args) from error


def _quiet(termios: Any, settings: list[Any]) -> list[Any]:
    """The settings with echo off, and with lines and Ctrl-C as usual even if a program had them off."""
    settings[0] = settings[0] & ~(termios.IGNCR | termios.INLCR) | termios.ICRNL
    settings[3] = settings[3] & ~(termios.ECHO | termios.ECHONL) | termios.ICANON | termios.ISIG
    return settings


def _write(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]


def _read_line(fd: int, policy: int, asks: tuple[int, bytes] | None = None) -> int:
    """A cell for one line; `asks` is where to write which question first."""
    # Before the question is there: who sees it may interrupt this at once.
    scratch = _lib.new_handle(ffi.NULL, MAX_LINE_BYTES + _LINE_END_BYTES, policy)
    try:
        if asks is None:
            return _read_into(scratch, fd, policy)
        out, question = asks
        try:
            _write(out, question)
            return _read_into(scratch, fd, policy)
        finally:
            _write(out, b"\n")  # The user's own was not echoed.
    finally:
        lib.zpy_cell_wipe(scratch)


def _read_into(scratch: int, fd: int, policy: int) -> int:
    used = ffi.new("size_t *")
    while (ending := int(lib.zpy_source_read_line(scratch, used, fd))) < 0:
        number = _lib.system_error_number()
        if -1 - ending != lib.ZPY_SYSTEM:
            _lib.raise_status(-1 - ending)
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    if ending == lib.ZPY_LINE_FULL or used[0] > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES} bytes, where terminals cut it; use from_file")
    if ending == lib.ZPY_LINE_EOF and used[0] == 0:
        raise EOFError("the input ended where a secret was asked for")
    return moved(scratch, used[0], used[0], (policy, 0, 0))
