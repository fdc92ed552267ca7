"""Getting rid of files and folders: each step runs whatever the others did, and what failed is kept."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from zeroizepy.exceptions import SecureWipeError
from zeroizepy.shred.options import ShredOptions
from zeroizepy.shred.report import ShredReport
from zeroizepy.shred.run import shred_at, shred_found
from zeroizepy.shred.target import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from zeroizepy.shred.name_steps import NameRun

__all__ = ["FOLDER_FLAGS", "Identity", "Removal", "ReplacedError"]

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_OPTIONS = ShredOptions(force=True, warn=False)
"""Without warnings: turned into errors they would leave a file behind, and the reports say the same."""


class Identity(NamedTuple):
    """Which file it is, whatever its name: st_dev, which may change with a reboot, and st_ino."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity in an answer of stat."""
        return cls(status.st_dev, status.st_ino)


class ReplacedError(SecureWipeError):
    """Something else stands at the path by now; it was left alone."""


class Removal:
    """Shreds files and folders one after the other.

    Attributes:
        reports: What became of each file, in order.
        errors: What failed, in order.
    """

    def __init__(self) -> None:
        self.reports: list[ShredReport] = []
        self.errors: list[Exception] = []
        self._under_way: list[NameRun] = []  # Several when a signal handler goes on with what the signal interrupted.

    def attempt(self, step: Callable[..., object], *arguments: object) -> bool:
        """Whether the step succeeded; its error is kept, with the report that came with it."""
        before = len(self.errors)
        try:
            report = step(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever one step raises must not keep the next from running.
            report = getattr(error, "report", None)
            self.errors.append(error)
        if isinstance(report, ShredReport):
            self.reports.append(report)
        # A step may have taken further steps, which kept their own errors.
        return len(self.errors) == before

    def shred_file(self, path: str, check: Callable[[os.stat_result], object] | None = None) -> ShredReport:
        """Shred what stands at a path; nothing there is a report, too.

        Args:
            path: A symbolic link there is unlinked itself.
            check: Gets what stands there, and raises when that is not the file meant; no other is touched then.
        """
        found = find(path)
        if found is None:
            return ShredReport(path, existed=False, reasons=("missing",))
        under_way = len(self._under_way)
        try:
            if check is not None:
                check(found.status)
            return shred_found(found, _OPTIONS, self._under_way.append)
        finally:
            del self._under_way[under_way:]
            os.close(found.directory)

    def break_off(self) -> None:
        """Leave no random name behind of files that are being removed, as after this nobody goes on with them."""
        for run in self._under_way:
            run.leave_no_name()

    def remove_directory(self, path: str, check: Callable[[os.stat_result], object] | None = None) -> None:
        """Shred all that is in a directory, then remove it. One that is gone already is fine.

        Args:
            path: Of the directory; a symbolic link is refused.
            check: Gets what stands there once it is open, and raises when that is not the directory meant.
        """
        with suppress(FileNotFoundError):
            self._remove_folder(None, path, path, None, check)

    def _remove_folder(
        self,
        above: int | None,
        name: str,
        path: str,
        device: int | None,
        check: Callable[[os.stat_result], object] | None = None,
    ) -> None:
        """Shred all files in a folder and below, then remove it if that left it empty. No link is followed.

        Args:
            above: Descriptor of the directory that it is in; None when `name` is a path.
            name: Its name there.
            path: What reports and errors call it.
            device: st_dev that it must be on; None for any.
            check: As for `remove_directory`.
        """
        folder = os.open(name, FOLDER_FLAGS, dir_fd=above)
        try:
            status = os.fstat(folder)
            if check is not None:
                check(status)
            if device not in (None, status.st_dev):
                raise SecureWipeError(f"{path} is another file system and was left alone; unmount it")
            # Some programs write-protect the folders they make, and nothing can be removed from those.
            os.fchmod(folder, 0o700)
            with os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            kept = len(self.errors)
            for each, is_folder in found:
                inner = os.path.join(path, each)
                if is_folder:
                    self.attempt(self._remove_folder, folder, each, inner, status.st_dev)
                else:
                    self.attempt(self._remove_entry, folder, each, inner)
        finally:
            os.close(folder)
        if len(self.errors) == kept:
            os.rmdir(name, dir_fd=above)

    def _remove_entry(self, folder: int, name: str, path: str) -> ShredReport | None:
        """Shred a file; sockets, FIFOs and device nodes hold no bytes and are only unlinked."""
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            return shred_at(folder, name, path, _OPTIONS)
        os.unlink(name, dir_fd=folder)
        return None
