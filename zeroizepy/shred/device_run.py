"""Overwriting a whole block device through one descriptor that was opened exclusively and has said who it is."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING

from zeroizepy.exceptions import FileAccessError

from .blockdevice import DeviceFacts, Identity, has_swap_signature, identify, read_device_facts
from .device_guards import DeviceOptions, Refusal, refuse_confirmation, refuse_content, refuse_use
from .device_report import DeviceReport
from .pass_run import PassRun
from .passes import SPAN_BYTES, SpanWriter, flush, set_direct
from .report import PassReport, Verdict

if TYPE_CHECKING:
    from .pass_run import Progress

__all__ = ["overwrite"]


class _DeviceRun(PassRun):
    """The state of one run; each step leaves in it what the report must say should the next one fail."""

    def __init__(self, path: str, options: DeviceOptions, progress: Progress | None) -> None:
        self.path = path
        self.options = options
        self.progress = progress
        self.started = time.monotonic()
        self.facts: DeviceFacts | None = None
        self.identity: Identity | None = None
        self.swap_signature: bool | None = None
        self.passes: list[PassReport] = []
        self.reasons: list[str] = []
        self.notes: list[str] = []
        self.writing = self.content_done = self.verified = False

    # ---- before anything is written ----

    def examine(self, handle: int) -> None:
        """Look at the device without opening it.

        Args:
            handle: O_PATH descriptor of the device file.

        Raises:
            FileAccessError: Refused.
        """
        status = os.fstat(handle)
        if not stat.S_ISBLK(status.st_mode):
            raise self.refused(
                Refusal("not_a_device", errno.ENOTBLK, "is no block device; secure_delete overwrites files")
            )
        try:
            self.facts = read_device_facts(status)
        except OSError as error:
            raise self.unknown(error) from error
        self.notes = _notes(self.facts)
        self.insist(refuse_use(self.facts, self.options))

    def open(self, handle: int) -> int:
        """Open the very device that was looked at; exclusively, which the kernel grants to one user at a time.

        Raises:
            FileAccessError: Refused.
        """
        flags = os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if self.options.dry_run else os.O_RDWR)
        try:
            return os.open(f"/proc/self/fd/{handle}", flags)
        except OSError as error:
            number = error.errno or errno.EIO
            text = f"cannot be opened: {os.strerror(number)}; run it as root"
            refusal = Refusal("device_permission", number, text)
            if number == errno.EBUSY:
                refusal = Refusal("in_use", number, "is in use: mounted, swap, or part of another device")
            elif number == errno.EROFS:
                refusal = Refusal("device_read_only", number, "is read-only; blockdev --setrw allows writing")
            raise self.refused(refusal) from error

    def check(self, fd: int) -> None:
        """Hear from the open device who it is, and what it holds.

        Raises:
            FileAccessError: Refused.
        """
        try:
            self.identity = identify(fd)
            self.swap_signature = has_swap_signature(fd)
        except OSError as error:
            raise self.unknown(error) from error
        if self.facts is None or self.identity.number != self.facts.number:
            raise self.refused(Refusal("identity_changed", errno.ESTALE, "another device took its place"))
        self.insist(refuse_content(self.identity, self.options, swap_signature=self.swap_signature))

    def confirm(self, fd: int) -> None:
        """The last look before the first write, on the descriptor that will be written.

        Raises:
            FileAccessError: Refused.
        """
        try:
            now = identify(fd)
        except OSError as error:
            raise self.unknown(error) from error
        if now != self.identity:
            text = "is not the device that it was a moment ago"
            raise self.refused(Refusal("identity_changed", errno.ESTALE, text))
        self.insist(refuse_confirmation(now, self.options))

    def insist(self, refusal: Refusal | None) -> None:
        """Raise when there is a reason against the device."""
        if refusal is not None:
            raise self.refused(refusal)

    def refused(self, refusal: Refusal) -> FileAccessError:
        """The error for a device that is left alone, with its report."""
        self.reasons.append(refusal.code)
        return self._error(refusal.number, refusal.text)

    def unknown(self, error: OSError) -> FileAccessError:
        """The error for a device of which the system does not say enough."""
        number = error.errno or errno.EIO
        text = f"cannot be identified: {error.strerror or os.strerror(number)}"
        return self.refused(Refusal("device_unknown", number, text))

    # ---- the passes ----

    def overwrite(self, fd: int) -> None:
        """Write all passes, with a flush behind each, and read the last one back.

        Raises:
            FileAccessError: A step failed; the device is partly overwritten.
        """
        self.direct = set_direct(fd, wanted=True)
        with closing(SpanWriter(self.options.buffer_bytes, *self.options.passes)) as writer:
            self.confirm(fd)
            self.take_notes(writer)
            self.writing = True
            for number in range(1, len(self.options.passes) + 1):
                self._write_pass(fd, number, writer)
            if self.options.verify:
                self._compare(fd, writer)
        if self._size_now(fd) != self.pass_bytes:
            self.reasons.append("changed_size")
        self.content_done = True

    @property
    def pass_bytes(self) -> int:
        """The size of the device, once that is known."""
        return self.identity.size_bytes if self.identity else 0

    @property
    def total_bytes(self) -> int:
        """What all passes write, and what is read back."""
        return self.pass_bytes * (len(self.options.passes) + self.options.verify)

    def _size_now(self, fd: int) -> int | None:
        try:
            return identify(fd).size_bytes
        except OSError:
            return None

    def _write_pass(self, fd: int, number: int, writer: SpanWriter) -> None:
        name = self.options.passes[number - 1].name
        self.passes.append(PassReport(name, 0, synced=False))
        for start in range(0, self.pass_bytes, SPAN_BYTES):
            stop = min(start + SPAN_BYTES, self.pass_bytes)
            result = writer.write(fd, start, stop, number, direct=self.direct, skip_limit=self._may_skip())
            self._account(result)
            self.passes[-1] = PassReport(name, start + result.done_bytes, synced=False)
            if result.error_number:
                raise self.failure("write", result.error_number)
        try:
            flush(fd)
        except OSError as error:
            raise self.failure("flush", error.errno or errno.EIO) from error
        self.passes[-1] = PassReport(name, self.pass_bytes, synced=True)

    def _compare(self, fd: int, writer: SpanWriter) -> None:
        """Verified is only what came past the page cache in full; after skipped sectors there is nothing to verify."""
        if self.skipped_bytes:
            self.notes.append("not_read_back")
            return
        self.direct = set_direct(fd, wanted=True)
        for start in range(0, self.pass_bytes, SPAN_BYTES):
            stop = min(start + SPAN_BYTES, self.pass_bytes)
            result = writer.compare(fd, start, stop, len(self.passes), direct=self.direct)
            self._account(result)
            self._check_compared(result, start)
        self.verified = self.direct
        if not self.verified:
            self.notes.append("verify_cached")

    # ---- the answer ----

    def failure(self, step: str, number: int, text: str | None = None) -> FileAccessError:
        """The error for a step that failed, with the report of how far it came."""
        self.reasons.append(f"failed:{step}:{errno.errorcode.get(number, number)}")
        return self._error(number, f"{step} failed: {text or os.strerror(number)}")

    def _error(self, number: int, text: str) -> FileAccessError:
        error = FileAccessError(number, text, self.path)
        error.report = self.report(text)
        return error

    def _verdict(self) -> Verdict | None:
        if not self.writing:
            return "refused" if self.reasons else None
        if not self.content_done or self.reasons:
            return "not_in_place"
        return "overwritten_verified" if self.verified else "overwritten"

    def report(self, error: str | None = None) -> DeviceReport:
        """What can be said now."""
        facts, identity = self.facts, self.identity
        return DeviceReport(
            path=self.path,
            device=facts.number if facts else None,
            name=facts.name if facts else None,
            partition=facts.partition if facts else None,
            model=facts.model if facts else None,
            serial=identity.serial if identity else None,
            size_bytes=self.pass_bytes,
            logical_block_bytes=facts.logical_block_bytes if facts else None,
            confirm=identity.confirmation if identity else None,
            swap_signature=self.swap_signature,
            dry_run=self.options.dry_run,
            planned=tuple(each.name for each in self.options.passes),
            verify=self.options.verify,
            verdict=self._verdict(),
            reasons=tuple(self.reasons),
            notes=tuple(self.notes),
            passes=tuple(self.passes),
            skipped_bytes=self.skipped_bytes,
            verified=self.verified,
            direct=self.direct,
            error=error,
            seconds=time.monotonic() - self.started,
        )


def _notes(facts: DeviceFacts) -> list[str]:
    notes = []
    if facts.partition is not None:
        notes.append(f"partition_only:{facts.disk}")
    if facts.media.stacked:
        notes.append(f"stacked_device:{facts.media.name}")
    else:
        notes.append("hidden_sectors")
    if facts.media.rotational is not True:
        notes.append("flash_or_unknown_media")
    return notes


def overwrite(path: str, options: DeviceOptions, progress: Progress | None) -> DeviceReport:
    """Overwrite one block device.

    Raises:
        FileNotFoundError: There is nothing at the path.
        FileAccessError: The device was refused, or a step failed; `.report` says which and how far it came.
        KeyboardInterrupt: Ctrl-C; `report` on it says how far it came.
    """
    run = _DeviceRun(path, options, progress)
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        number = error.errno or errno.EIO
        refusal = Refusal("device_permission", number, f"cannot be looked at: {os.strerror(number)}")
        raise run.refused(refusal) from error
    try:
        run.examine(handle)
        fd = run.open(handle)
    finally:
        os.close(handle)
    try:
        run.check(fd)
        if not options.dry_run:
            run.overwrite(fd)
    except KeyboardInterrupt as error:
        if run.writing:
            run.reasons.append("failed:interrupted")
        # Assigned by name because the builtin type does not declare it; our own errors do.
        vars(error)["report"] = run.report("interrupted")
        raise
    finally:
        os.close(fd)
    return run.report()
