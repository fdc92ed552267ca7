"""Failures as people read them: one line with fault and value, one with the remedy, and an exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from click import Abort, ClickException, UsageError

from zeroizepy.exceptions import SecureWipeError, ZeroizeError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Failure", "describe", "drop_stdout", "failure_of", "printable", "report", "say", "told_in_report"]

INTERRUPTED = 130
FAILED = 1
BAD_USAGE = 2

_TRACEBACK_VARIABLE = "ZEROIZEPY_TRACEBACK"

_HINTS = {
    "hard_links": "--allow-hard-links overwrites the content of all of them",
    "read_only": "chmod u+w it, or give --force",
    "not_a_device": "'zeroizepy shred' overwrites files",
    "partition": "--partition overwrites it alone",
    "swap_signature": "--swap overwrites it",
    "permission": "run it as the owner of the file, or check the permissions of its folder",
    "failed:remove:EACCES": "its folder must be writable; --keep leaves the file, overwritten, under its name",
}
"""By the reason in a report, where the library's own remedy speaks of Python arguments."""

_HINTS_BY_NUMBER = {
    errno.ENOENT: "check how the path is written; a missing folder is not made",
    errno.EACCES: "check the permissions of the path and its folders, or run it as a user who has them",
    errno.EROFS: "mount it writable, or choose another place",
    errno.ETXTBSY: "a program runs it, or it is swap in use; end that first",
    errno.ENOTDIR: "a part of the path is no directory; check how it is written",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its links lead in a circle, or are not followed here; give the file itself",
    errno.EISDIR: "give a regular file",
    errno.ENXIO: "it is a socket, or a device that is not there; give a regular file",
    errno.EBADF: "the shell opens it for reading with, for example, 3<FILE",
    errno.EIO: "its device, or the file system, failed there; the system's log may tell more",
    errno.ENOSPC: "make room there, or choose another place",
    errno.EDQUOT: "make room there, or choose another place",
}
"""By the system's answer, where nobody knew more."""

_SAYS_MORE = (errno.EROFS, errno.ETXTBSY, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Answers whose remedy goes before that of a reason."""


class Failure(Exception):
    """A job that failed for a reason that the command line itself found.

    Attributes:
        fault: What is wrong, with the value.
        hint: What to do about it.
        status: The exit status.
    """

    def __init__(self, fault: str, hint: str | None = None, status: int = FAILED) -> None:
        super().__init__(fault)
        self.fault = fault
        self.hint = hint
        self.status = status


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal would obey or could not show; file names may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def say(text: str) -> None:
    """Write one line to stderr; when that is closed or takes nothing more, there is nobody to tell."""
    if sys.stderr is None:
        return
    with suppress(OSError):
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        line = f"zeroizepy: {printable(text)}\n"
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()


def drop_stdout() -> None:
    """After a failed write: keep the interpreter from trying the rest again at its end."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.dup2(null, sys.stdout.fileno())
    finally:
        os.close(null)


def _split(text: str) -> tuple[str, str | None]:
    """The library's messages put the remedy after a semicolon."""
    fault, _, remedy = text.partition("; ")
    return fault, remedy or None


def failure_of(error: ValueError, path: str | None = None) -> Failure:
    """What the library refuses, as a failure with the library's own remedy, that names the path if it does not."""
    fault, remedy = _split(str(error))
    return Failure(fault if path is None or fault.startswith(f"{path}: ") else f"{path}: {fault}", remedy)


def _uncapitalized(text: str) -> str:
    """System and click begin sentences; here they stand in the middle of a line."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _describe_os_error(error: OSError, path: str | None) -> tuple[str, str | None]:
    where = error.filename if path is None else path
    fault, hint = _split(error.strerror or str(error))
    fault = _uncapitalized(fault)
    if where is not None:
        if error.errno == errno.ELOOP and os.path.islink(where):
            return f"{os.fsdecode(where)}: is a symbolic link", "give the file that it leads to"
        fault = f"{os.fsdecode(where) or repr('')}: {fault}"
    reasons = getattr(getattr(error, "report", None), "reasons", ())
    remedy = hint or _HINTS_BY_NUMBER.get(error.errno or 0)
    if error.errno in _SAYS_MORE:
        return fault, remedy
    return fault, _remedy_for(reasons, remedy)


def _remedy_for(reasons: Iterable[str], otherwise: str | None) -> str | None:
    return next((_HINTS[reason] for reason in reasons if reason in _HINTS), otherwise)


def told_in_report(text: str, reasons: Iterable[str]) -> tuple[str, str | None]:
    """Fault and remedy of an error that stands in a report, the remedy in this command's words."""
    fault, remedy = _split(text)
    return fault, _remedy_for(reasons, remedy)


def _describe_click(error: ClickException) -> Failure:
    if not isinstance(error, UsageError):
        return Failure(_uncapitalized(error.format_message()))
    command = error.ctx.command_path if error.ctx is not None else "zeroizepy"
    fault = _uncapitalized(error.format_message().rstrip("."))
    fault = fault.replace(" is not a valid integer range", " is not a whole number")
    if fault.startswith("got unexpected extra argument") and error.ctx is not None and error.ctx.params.get("ask"):
        fault = "--password takes no value, it asks at the terminal"  # What stands there too much may be the password.
    return Failure(fault, f"see '{command} --help'", BAD_USAGE)


def _describe_library(error: Exception, path: str | None) -> Failure:
    fault, hint = _split(str(error))
    names_path = path is None or isinstance(error, SecureWipeError)
    return Failure(fault if names_path else f"{path}: {fault}", hint)


def describe(error: BaseException, path: str | None = None) -> Failure:  # noqa: PLR0911 - one for each kind.
    """Turn any exception into fault, hint and status.

    Args:
        error: What was raised.
        path: The file at hand, as the user named it; put before a fault that does not name one.

    Returns:
        A failure. For an exception that nobody foresaw it holds the type alone, because the text could hold anything.
    """
    if isinstance(error, Failure):
        return error
    if isinstance(error, (Abort, KeyboardInterrupt)):
        return Failure("interrupted", None, INTERRUPTED)
    if isinstance(error, ClickException):
        return _describe_click(error)
    if isinstance(error, OSError):
        return Failure(*_describe_os_error(error, path))
    if isinstance(error, ZeroizeError):
        return _describe_library(error, path)
    if isinstance(error, MemoryError):
        return Failure("out of memory", "free memory, or use smaller files")
    return Failure(
        f"internal error: {type(error).__name__}",
        f"please report it; {_TRACEBACK_VARIABLE}=1 shows where, with a text that may quote your data",
    )


def report(error: BaseException, path: str | None = None) -> int:
    """Say what went wrong and how to mend it.

    Returns:
        The exit status that goes with it.
    """
    failure = describe(error, path)
    say(f"error: {failure.fault}")
    if failure.hint:
        say(f"hint: {failure.hint}")
    if isinstance(error, (Failure, KeyboardInterrupt, OSError, ZeroizeError)):
        # What went wrong besides, such as a session's clean-up: something may be left that the first fault hides.
        for note in getattr(error, "__notes__", ()):
            say(f"error: {note}")
    if os.environ.get(_TRACEBACK_VARIABLE) == "1" and not isinstance(error, (Failure, ClickException)):
        with suppress(OSError):
            traceback.print_exception(type(error), error, error.__traceback__)
    return failure.status
