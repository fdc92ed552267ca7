"""A name on its way out, whatever stands under it: what a file shares with a link, a FIFO or a device node."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from zeroizepy.exceptions import FileAccessError, SecureWipeError

from . import names
from .report import ShredReport

if TYPE_CHECKING:
    from .options import ShredOptions
    from .target import Target

__all__ = ["NameRun", "errno_name"]


def errno_name(error: OSError) -> str:
    """The name of an error's number, for notes and reasons."""
    return errno.errorcode.get(error.errno or 0, "unknown")


class NameRun:
    """An entry that holds no bytes: its name is hidden and removed.

    Args:
        found: The name; its directory stays open as long as the run is used.
        fd: What stands under it, open at least with O_PATH; it belongs to the caller.
        options: The caller's wishes.
        started: time.monotonic() when it began.
        kind: What it is, as a reason for the report.
    """

    def __init__(self, found: Target, fd: int, options: ShredOptions, started: float, kind: str) -> None:
        self.found = found
        self.fd = fd
        self.options = options
        self.started = started
        self.name = found.name
        self.notes = ["name_may_remain"]
        self.reasons = [kind]
        self.renamed = self.unlinked = False

    @property
    def hides_name(self) -> bool:
        """Whether the name is to be replaced before it is removed."""
        return self.options.rename

    def name_lengths(self) -> tuple[int, ...]:
        """How long the names are that it gets, one for each `hide`."""
        return names.lengths(self.found.name) if self.hides_name else ()

    def hide(self, length: int) -> bool:
        """Rename to a random name. False when that was refused; it then keeps the name that it has.

        Raises:
            NameReplacedError: Something else stands under the name.
        """
        try:
            self.name = names.rename(self.found.directory, self.name, length, self.fd)
        except names.NameReplacedError:
            raise
        except OSError as error:
            # A full disk or a directory that takes no new names must not keep the file from being unlinked.
            self.notes.append(f"name_not_hidden:{errno_name(error)}")
            return False
        self.renamed = True
        return True

    def unlink(self) -> None:
        """Remove the name.

        Raises:
            NameReplacedError: Something else stands under it.
            OSError: The system refused.
        """
        names.unlink(self.found.directory, self.name, self.fd)
        self.unlinked = True

    def leave_no_name(self) -> None:
        """Remove the random name that a run which is broken off would leave, and that nobody would look for.

        A file has such a name only when its passes are done. What cannot be removed stays.
        """
        if self.renamed and not self.unlinked:
            with suppress(OSError):
                self.unlink()

    # ---- the answer ----

    def removal_failure(self, error: OSError) -> SecureWipeError:
        """The error for a step on the name."""
        where = f"; it is now called {self.name!r}" if self.renamed and not self.unlinked else ""
        return self.failure("remove", error.errno or errno.EIO, f"{error.strerror}{where}")

    def failure(self, step: str, number: int, text: str | None = None) -> SecureWipeError:
        """The error for a step that failed, with the report of how far it came."""
        text = f"{step} failed: {text or os.strerror(number)}"
        self.reasons.append(f"failed:{step}:{errno.errorcode.get(number, number)}")
        error: SecureWipeError
        if self.unlinked:
            error = SecureWipeError(f"{self.found.path}: unlinked, but the directory could not be flushed: {text}")
        else:
            error = FileAccessError(number, text, self.found.path)
        error.report = self.report(text)
        return error

    def report(self, error: str | None = None) -> ShredReport:
        """What can be said now."""
        return ShredReport(
            path=self.found.path,
            dry_run=self.options.dry_run,
            verdict=None if error is None else "refused",
            reasons=tuple(self.reasons),
            notes=tuple(self.notes),
            renamed=self.renamed,
            unlinked=self.unlinked,
            error=error,
            seconds=time.monotonic() - self.started,
        )
