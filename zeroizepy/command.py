"""Secrets that another program writes to its standard output."""

from __future__ import annotations

import math
import os
import select
import subprocess
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._lib import lib
from .exceptions import SourceError, SourceTimeoutError
from .loaders import MAX_SOURCE_BYTES, load_descriptor
from .slots import check_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .loaders import Limits

__all__ = ["load_command"]

_MAX_TIMEOUT_S = 1 << 31
"""68 years."""
_LONGEST_POLL_S = 3600


def load_command(
    argv: Sequence[str | bytes | os.PathLike[str]],
    limits: Limits,
    *,
    strip: bool = False,
    timeout: float | None = None,
    max_bytes: int = MAX_SOURCE_BYTES,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a program and read its standard output into a new cell.

    Args:
        argv: The program and its arguments.
        limits: For the new cell.
        strip: Drop ASCII white space at both ends.
        timeout: Seconds until it is killed.
        max_bytes: Kill it when it writes more, white space counted.
        env: Its environment; None for this process's.

    Returns:
        The cell's handle.

    Raises:
        SourceError: Another exit status than 0.
        SourceTimeoutError: Killed at `timeout`.
        OSError: It could not be started.
        TypeError, ValueError: A wrong argument, or more than `max_bytes` of output.

    Does not reach: what the program itself keeps, the kernel's pipe buffer, and the program's own children.
    """
    arguments = _checked_arguments(argv)
    name = os.fsdecode(arguments[0])
    check_size(max_bytes, "max_bytes")
    deadline = None if timeout is None else time.monotonic() + _checked_timeout(timeout)
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, env=env)
    try:
        return _read_output(process, name, deadline, limits, strip, max_bytes)
    finally:
        if process.poll() is None:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _read_output(
    process: subprocess.Popen[bytes], name: str, deadline: float | None, limits: Limits, strip: bool, max_bytes: int
) -> int:
    assert process.stdout is not None  # noqa: S101 - it was asked for.
    fd = process.stdout.fileno()
    wait = None if deadline is None else _waiter(fd, name, deadline)
    try:
        handle = load_descriptor(fd, None, limits, strip=strip, max_bytes=max_bytes, wait=wait)
    except ValueError as error:
        raise type(error)(f"{name}: {error}") from None
    try:
        _check_end(process, name, deadline)
    except BaseException:
        lib.zpy_cell_wipe(handle)
        raise
    return handle


def _waiter(fd: int, name: str, deadline: float) -> Callable[[], None]:
    """A function that returns once the descriptor can be read, and raises at the deadline."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)

    def wait() -> None:
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise _timed_out(name)
            if poller.poll(math.ceil(min(left_s, _LONGEST_POLL_S) * 1000)):
                return

    return wait


def _check_end(process: subprocess.Popen[bytes], name: str, deadline: float | None) -> None:
    """Wait for the program, which may live on after it closed its output."""
    try:
        status = process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        status = None
    if status is None:
        raise _timed_out(name)  # Out here, TimeoutExpired and the arguments that it carries are not chained to it.
    if status != 0:
        ending = f"exited with status {status}" if status > 0 else f"was ended by signal {-status}"
        error = SourceError(f"{name} {ending}; its output was wiped")
        error.returncode = status
        raise error


def _timed_out(name: str) -> SourceTimeoutError:
    return SourceTimeoutError(f"{name} was still running at its timeout and was killed; its output was wiped")


def _checked_arguments(argv: Any) -> list[str | bytes]:
    if isinstance(argv, (str, bytes, os.PathLike)) or not isinstance(argv, Sequence):
        raise TypeError(f"argv must be a sequence of arguments, not {type(argv).__name__}; no shell is used")
    if not argv:
        raise ValueError("argv must not be empty; its first item is the program")
    for index, item in enumerate(argv):
        if not isinstance(item, (str, bytes, os.PathLike)):
            raise TypeError(f"argv[{index}] must be str, bytes or path-like, not {type(item).__name__}")
    return [os.fspath(item) for item in argv]


def _checked_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if not 0 <= timeout <= _MAX_TIMEOUT_S:  # NaN fails this, too.
        raise ValueError(f"timeout must be between 0 and {_MAX_TIMEOUT_S} seconds")
    return timeout
