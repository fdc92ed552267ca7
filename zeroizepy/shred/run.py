"""Carrying a plan out: one descriptor from open to unlink, and an honest report however it ends."""

from __future__ import annotations

import errno
import os
import stat
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from zeroizepy.exceptions import FileAccessError, SecureWipeError

from . import names, target
from .facts import read_facts
from .passes import SPAN_BYTES, SpanResult, SpanWriter, flush, set_direct
from .plan import PSEUDO_FILE_SYSTEMS, direct_reads_hold, make_plan, warning_text
from .report import PassReport, ShredPlan, ShredReport, Verdict

if TYPE_CHECKING:
    from .options import ShredOptions

__all__ = ["Progress", "shred", "shred_at"]

Progress = Callable[[int, int], object]
"""Called with the bytes done and the bytes in all, after each span."""


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


def _shred_found(
    found: target.Target,
    options: ShredOptions,
    started: float,
    progress: Progress | None = None,
    followed: tuple[str, ...] = (),
) -> ShredReport:
    if stat.S_ISLNK(found.status.st_mode):
        return _unlink_link(found, options, started)
    target.check_status(found.path, found.status, options)
    fd = target.open_file(found, options)
    try:
        run = _Run(found, fd, options, started)
        run.notes += followed
        run.progress = progress
        return run.carry_out()
    finally:
        os.close(fd)


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


class _Run:
    """The state of one run; each step leaves in it what the report must say should the next one fail."""

    def __init__(self, found: target.Target, fd: int, options: ShredOptions, started: float) -> None:
        self.found = found
        self.fd = fd
        self.options = options
        self.progress: Progress | None = None
        self.started = started
        self.plan: ShredPlan = self._make_plan()
        self.notes = list(self.plan.notes)
        self.reasons = list(self.plan.reasons)
        self.passes: list[PassReport] = []
        self.content_done = False
        self.direct = False
        self.verified = self.renamed = self.unlinked = False
        self.done_bytes = 0

    def _make_plan(self) -> ShredPlan:
        try:
            facts = read_facts(self.fd)
        except OSError as error:
            number = error.errno or errno.EIO
            raise target.refusal(self.found.path, "permission", number, "cannot be examined") from error
        if facts.file_system in PSEUDO_FILE_SYSTEMS:
            text = f"lies on {facts.file_system}, whose files hold no stored bytes"
            raise target.refusal(self.found.path, f"file_system:{facts.file_system}", errno.EINVAL, text)
        return make_plan(self.found.path, facts, self.options)

    # ---- the steps ----

    def carry_out(self) -> ShredReport:
        text = warning_text(self.plan) if self.options.warn else None
        if text is not None:
            warnings.warn(text, UserWarning, stacklevel=5)
        if self.options.dry_run:
            return self.report()
        try:
            self._overwrite_and_remove()
        except KeyboardInterrupt as error:
            self.reasons.append("failed:interrupted")
            # Assigned by name because the builtin type does not declare it; our own errors do.
            vars(error)["report"] = self.report("interrupted")
            raise
        return self.report()

    def _overwrite_and_remove(self) -> None:
        if self.plan.size_bytes and self.plan.passes:
            with closing(SpanWriter(self.plan.buffer_bytes, self.options.pattern)) as writer:
                self._overwrite(writer)
                if self.plan.verify:
                    self._verify(writer)
            self._check_size()
        self.content_done = True
        self._remove()

    def _overwrite(self, writer: SpanWriter) -> None:
        self.direct = self.plan.direct and set_direct(self.fd, wanted=True)
        for number, pattern in enumerate(self.plan.passes, start=1):
            position, size = 0, self.plan.size_bytes
            self.passes.append(PassReport(pattern, 0, synced=False))
            while position < size:
                result = writer.write(self.fd, position, min(position + SPAN_BYTES, size), number, direct=self.direct)
                position += self._account(result)
                self.passes[-1] = PassReport(pattern, position, synced=False)
                if result.error_number:
                    raise self._failure("write", result.error_number)
            last = number == len(self.plan.passes)
            if self.plan.sync or (last and self.plan.verify):
                self._flush("flush")
                self.passes[-1] = PassReport(pattern, position, synced=True)

    def _verify(self, writer: SpanWriter) -> None:
        """Read the last pass back and compare. It is verified only where all of that came past the page cache."""
        position, size = 0, self.plan.size_bytes
        self.direct = set_direct(self.fd, wanted=True)
        if not self.direct and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while position < size:
            stop = min(position + SPAN_BYTES, size)
            result = writer.compare(self.fd, position, stop, len(self.plan.passes), direct=self.direct)
            position += self._account(result)
            if result.different:
                self.reasons.append("verify_mismatch")
                raise self._failure("verify", errno.EIO, f"byte {position} read back is not what was written")
            if result.error_number:
                raise self._failure("read", result.error_number)
        # O_DIRECT is only ever given up during the reads, so what holds at their end held for all of them.
        self.verified = self.direct and direct_reads_hold(self.plan)
        if not self.verified:
            self.notes.append("verify_cached")

    def _account(self, result: SpanResult) -> int:
        self.direct = result.direct
        self.done_bytes += result.done_bytes
        if self.progress is not None and not result.error_number:
            self.progress(self.done_bytes, self.plan.total_bytes)
        return result.done_bytes

    def _check_size(self) -> None:
        """A file that somebody else grew or cut meanwhile had blocks that no pass saw."""
        if os.fstat(self.fd).st_size != self.plan.size_bytes:
            self.reasons.append("changed_size")

    def _remove(self) -> None:
        """Truncate, hide the name, unlink, and make each lasting before the next."""
        directory, name = self.found.directory, self.found.name
        try:
            if self.plan.truncate:
                os.ftruncate(self.fd, 0)
                if self.plan.sync:
                    flush(self.fd)
            if self.plan.rename:
                name = self._hide(directory, name)
            names.unlink(directory, name, self.fd)
            self.unlinked = True
            if self.plan.sync:
                self._sync_directory()
        except OSError as error:
            where = f"; it is now called {name!r}" if self.renamed and not self.unlinked else ""
            raise self._failure("remove", error.errno or errno.EIO, f"{error.strerror}{where}") from error

    def _hide(self, directory: int, name: str) -> str:
        try:
            name = names.hide(directory, name, self.fd)
        except names.NameReplacedError:
            raise
        except OSError as error:
            # A full disk or a directory that takes no new names must not keep the file from being unlinked.
            self.notes.append(f"name_not_hidden:{errno.errorcode.get(error.errno or 0, 'unknown')}")
            return name
        self.renamed = True
        if self.plan.sync:
            self._sync_directory()
        return name

    def _sync_directory(self) -> None:
        if not names.sync_directory(self.found.directory) and "directory_not_synced" not in self.notes:
            self.notes.append("directory_not_synced")

    def _flush(self, step: str) -> None:
        try:
            flush(self.fd)
        except OSError as error:
            raise self._failure(step, error.errno or errno.EIO) from error

    # ---- the answer ----

    def _failure(self, step: str, number: int, text: str | None = None) -> SecureWipeError:
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

    def _verdict(self) -> Verdict | None:
        if self.options.dry_run or self.plan.verdict is None:
            return None
        if not self.content_done or "changed_size" in self.reasons:
            return "not_in_place"
        if self.plan.verdict == "overwritten_verified" and not self.verified:
            return "overwritten"
        return self.plan.verdict

    def report(self, error: str | None = None) -> ShredReport:
        return ShredReport(
            path=self.found.path,
            size_bytes=self.plan.size_bytes,
            dry_run=self.options.dry_run,
            verdict=self._verdict(),
            reasons=tuple(self.reasons),
            notes=tuple(self.notes),
            plan=self.plan,
            passes=tuple(self.passes),
            verified=self.verified,
            direct=self.direct,
            renamed=self.renamed,
            unlinked=self.unlinked,
            error=error,
            seconds=time.monotonic() - self.started,
        )
