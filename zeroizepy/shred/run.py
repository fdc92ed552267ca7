"""Carrying a plan out: one descriptor from open to unlink, and an honest report however it ends."""

from __future__ import annotations

import errno
import os
import stat
import time
import warnings
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from zeroizepy.exceptions import SecureWipeError

from . import names, target
from .calls import zero_journal
from .passes import flush
from .plan import warning_text
from .report import ShredReport
from .steps import FileRun, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .name_steps import NameRun
    from .options import ShredOptions
    from .passes import SpanWriter

__all__ = ["Progress", "shred", "shred_at", "shred_found", "wipe_journal"]


def shred(path: str, options: ShredOptions, progress: Progress | None = None) -> ShredReport:
    """Overwrite and unlink one file.

    Raises:
        IsADirectoryError: The path is a directory.
        FileAccessError: The file was refused, or a step failed; the file is still there and `.report` says how far
            it came.
        SecureWipeError: The file is gone and the directory could not be flushed.
        KeyboardInterrupt: Ctrl-C; once the file is open for the passes, `report` on it says how far they came.
    """
    started = time.monotonic()
    found = target.find(path)
    followed: tuple[str, ...] = ()
    if found is not None and stat.S_ISLNK(found.status.st_mode) and options.follow_symlinks:
        os.close(found.directory)
        followed = (f"symlink_left:{path}",)
        path = os.path.realpath(path)
        found = target.find(path)
    if found is None:
        return ShredReport(path, existed=False, dry_run=options.dry_run, reasons=("missing",), notes=followed)
    try:
        return _shred_found(found, options, started, progress, followed)
    finally:
        with suppress(OSError):  # Only names were looked up through it, and it was flushed where that matters.
            os.close(found.directory)


def shred_at(directory: int, name: str, path: str, options: ShredOptions) -> ShredReport:
    """Overwrite and unlink one file of an open directory; a symbolic link is unlinked itself.

    Args:
        directory: Descriptor; stays open.
        name: The file's name there, without a separator.
        path: What the report calls it.
        options: As for `shred`; `follow_symlinks` must be False.

    Raises:
        IsADirectoryError, FileAccessError, SecureWipeError: As `shred` does.
        OSError: The system would not say what `name` is.
    """
    started = time.monotonic()
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return ShredReport(path, existed=False, dry_run=options.dry_run, reasons=("missing",))
    return _shred_found(target.Target(path, directory, name, status), options, started)


def shred_found(
    found: target.Target, options: ShredOptions, begun: Callable[[NameRun], object] | None = None
) -> ShredReport:
    """Overwrite and unlink the very file that `target.find` saw; one that took its place since is refused.

    Args:
        found: Its `directory` stays open.
        options: As for `shred`; `follow_symlinks` must be False.
        begun: Gets the run of a file before its first pass.
    """
    return _shred_found(found, options, time.monotonic(), begun=begun)


def _shred_found(
    found: target.Target,
    options: ShredOptions,
    started: float,
    progress: Progress | None = None,
    followed: tuple[str, ...] = (),
    begun: Callable[[NameRun], object] | None = None,
) -> ShredReport:
    if stat.S_ISLNK(found.status.st_mode):
        return _unlink_link(found, options, started)
    try:
        target.check_status(found.path, found.status, options)
        fd = target.open_file(found, options)
    except SecureWipeError as error:
        error.report = replace(error.report, dry_run=options.dry_run)
        raise
    try:
        run = FileRun(found, fd, options, started)
        run.notes += followed
        run.progress = progress
        if begun is not None:
            begun(run)
        report = _Alone(run).carry_out()
    except BaseException:
        with suppress(OSError):  # What failed first is what the caller must hear.
            os.close(fd)
        raise
    try:
        os.close(fd)
    except OSError as error:
        raise run.failure("close", error.errno or errno.EIO) from error
    return report


def _unlink_link(found: target.Target, options: ShredOptions, started: float) -> ShredReport:
    """Remove a symbolic link itself. The text of the link is not overwritten."""
    if options.follow_symlinks:
        raise target.refusal(found.path, "replaced", errno.ELOOP, "is a symbolic link that leads to no end")
    if not options.dry_run:
        try:
            os.unlink(found.name, dir_fd=found.directory)
        except OSError as error:
            number = error.errno or errno.EIO
            text = f"cannot be unlinked: {os.strerror(number)}"
            raise target.refusal(found.path, "permission", number, text) from error
    return ShredReport(
        found.path,
        dry_run=options.dry_run,
        reasons=("symlink",),
        notes=("name_may_remain",),
        unlinked=not options.dry_run,
        seconds=time.monotonic() - started,
    )


class _Alone:
    """Carries the steps of one file out, each made lasting before the next."""

    def __init__(self, run: FileRun) -> None:
        self.run = run
        self.plan = run.plan

    def carry_out(self) -> ShredReport:
        run = self.run
        text = warning_text(self.plan) if run.options.warn else None
        if text is not None:
            warnings.warn(text, UserWarning, stacklevel=5)
        if run.options.dry_run:
            return run.report()
        try:
            self._overwrite_and_remove()
            return run.report()
        except KeyboardInterrupt as error:
            run.leave_no_name()
            run.reasons.append("failed:interrupted")
            # Assigned by name because the builtin type does not declare it; our own errors do.
            vars(error)["report"] = run.report("interrupted")
            raise

    def _overwrite_and_remove(self) -> None:
        run = self.run
        try:
            if self.plan.write_bytes and self.plan.passes:
                with closing(run.new_writer()) as writer:
                    self._overwrite(writer)
                    if self.plan.verify:
                        run.compare(writer)
            run.settle()
            try:
                self._remove()
            except OSError as error:
                raise run.removal_failure(error) from error
        except BaseException:
            # Where the file stays, its size must not tell of the run.
            with suppress(OSError):
                run.restore_size()
            raise

    def _overwrite(self, writer: SpanWriter) -> None:
        count = len(self.plan.passes)
        for number in range(1, count + 1):
            self.run.write_pass(number, writer)
            if self.plan.sync or (number == count and self.plan.verify):
                self._flush(number, writer)
                self.run.note_synced()

    def _flush(self, number: int, writer: SpanWriter) -> None:
        run = self.run
        try:
            run.flush_pass(number, writer)
        except OSError as error:
            raise run.failure("flush", error.errno or errno.EIO) from error

    def _remove(self) -> None:
        """Truncate, hide the name, unlink, and make each lasting before the next."""
        run = self.run
        if self.plan.unlink:
            if self.plan.wipe_journal and run.facts.attributes:
                self._write_attributes_home()
            run.truncate()
        else:
            run.restore_size()
        if self.plan.sync:
            flush(run.fd)
        for length in run.name_lengths():
            if not run.hide(length):
                break
            self._sync_directory()
        if self.plan.unlink:
            run.unlink()
            self._sync_directory()
        if self.plan.wipe_journal:
            wipe_journal(run)

    def _write_attributes_home(self) -> None:
        """Have the journal write overwritten attributes to their block, which removing them first would spare it."""
        flush(self.run.fd)
        with suppress(OSError):  # The same call at the end tells why.
            zero_journal(self.run.fd)

    def _sync_directory(self) -> None:
        run = self.run
        if self.plan.sync and not names.sync_directory(run.found.directory) and "directory_not_synced" not in run.notes:
            run.notes.append("directory_not_synced")


def wipe_journal(run: FileRun) -> None:
    """Have the journal written back and zeroed; what rested on that is a reason when it fails."""
    try:
        zero_journal(run.found.directory)
    except OSError as error:
        run.reasons.append(f"journal_not_wiped:{errno.errorcode.get(error.errno or 0, 'unknown')}")
    else:
        run.journal_wiped = True
