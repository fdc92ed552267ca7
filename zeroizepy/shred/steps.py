"""One open file on its way out: each step, without the barriers between them, and what the report says at any moment.

Whoever carries the steps out puts a flush after each; `run` does so for one file, `batch` shares it between many.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from zeroizepy.durable import identity_of

from . import attributes, target
from .device_read import DeviceReader
from .extents import NOWHERE, data_ranges, is_kept, read_extents
from .facts import FileFacts, read_facts
from .name_steps import NameRun, errno_name
from .pass_run import PassRun, Progress
from .passes import SPAN_BYTES, SpanWriter, flush, set_direct
from .plan import PSEUDO_FILE_SYSTEMS, cut_into_blocks, direct_reads_hold, end_of, make_plan
from .report import PassReport, ShredPlan, ShredReport, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .extents import ExtentMap
    from .options import ShredOptions

__all__ = ["FileRun", "Progress"]

_FEW = 8

_DEVICE_FAILURES = (errno.EIO, errno.ENODATA)
"""What a device's failure is called; ENODATA by Linux for a medium's error."""


class FileRun(NameRun, PassRun):
    """The state of one run; each step leaves in it what the report must say should the next one fail.

    Args:
        found: The file's name; its directory stays open as long as the run is used.
        fd: The file, from `target.open_file`; it belongs to the caller.
        options: The caller's wishes.
        started: time.monotonic() when it began.
        ask: Asks the system about the file; None for `read_facts`.
    """

    def __init__(
        self,
        found: target.Target,
        fd: int,
        options: ShredOptions,
        started: float,
        ask: Callable[[int], FileFacts] | None = None,
    ) -> None:
        super().__init__(found, fd, options, started, "")
        self._unplaced = self._give_places()
        self.facts: FileFacts = self._read_facts(ask or read_facts)
        self.end = end_of(self.facts)
        self.plan: ShredPlan = self._make_plan()
        self.notes = list(self.plan.notes)
        self.reasons = list(self.plan.reasons)
        self.passes: list[PassReport] = []
        self.content_done = False
        self.verified = self.device_verified = self.journal_wiped = False
        self._reached = 0  # Where the furthest write can have ended.

    def _give_places(self) -> OSError | None:
        """Have bytes that were written moments ago put on the device when it is to be read: places have to be known.

        Returns:
            Why some may have none.
        """
        if self.options.device and not self.options.dry_run:
            try:
                flush(self.fd)
            except OSError as error:
                return error
        return None

    def _read_facts(self, ask: Callable[[int], FileFacts]) -> FileFacts:
        try:
            self._file_id = identity_of(os.fstat(self.fd))
            facts = ask(self.fd)
        except OSError as error:
            number = error.errno or errno.EIO
            raise target.refusal(self.found.path, "permission", number, "cannot be examined") from error
        if facts.file_system in PSEUDO_FILE_SYSTEMS:
            text = f"lies on {facts.file_system}, whose files hold no stored bytes"
            raise target.refusal(self.found.path, f"file_system:{facts.file_system}", errno.EINVAL, text)
        return facts

    # ---- what is written ----

    _few_ranges: tuple[tuple[int, int], ...] | None = None  # Kept when there are few.

    @property
    def pass_bytes(self) -> int:
        """What each pass writes."""
        return self.plan.write_bytes

    @property
    def total_bytes(self) -> int:
        """What all passes write, and what is read back."""
        return self.plan.total_bytes

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Where a pass writes: [start, stop) each, in whole blocks; holes, which hold nothing, are left out."""
        if self._few_ranges is not None:
            return iter(self._few_ranges)
        if self.facts.extents is not None:
            pieces = ((offset, offset + length) for offset, _, length in self.facts.extents.pieces())
            return cut_into_blocks(pieces, self.end)
        found = data_ranges(self.fd, self.end)
        return cut_into_blocks(((0, self.end),) if found is None else found, self.end)

    def _make_plan(self) -> ShredPlan:
        if self.facts.extents is not None and len(self.facts.extents.offsets) <= _FEW:
            self._few_ranges = tuple(self.ranges())
        write_bytes = sum(stop - start for start, stop in self.ranges())
        known = self.facts.extents is not None or data_ranges(self.fd, self.end) is not None
        hole_bytes = max(0, self.facts.size_bytes - write_bytes) if known else None
        return make_plan(self.found.path, self.facts, self.options, write_bytes, hole_bytes)

    def new_writer(self) -> SpanWriter:
        """Buffers and a key for the passes of this file."""
        return SpanWriter(self.plan.buffer_bytes, *self.options.passes, warn=self.options.warn)

    def write_pass(self, number: int, writer: SpanWriter) -> None:
        """Write pass `number`, counted from 1. Nothing forces it to the device yet.

        Raises:
            FileAccessError: A write failed.
        """
        if self.plan.direct and number == 1:
            self.direct = set_direct(self.fd, wanted=True)
        self.take_notes(writer)
        pattern = self.plan.passes[number - 1]
        written = 0
        self.passes.append(PassReport(pattern, 0, synced=False))
        for start, stop in self._spans():
            self._reached = max(self._reached, stop)
            result = writer.write(self.fd, start, stop, number, direct=self.direct, skip_limit=self._may_skip())
            written += self._account(result)
            self.passes[-1] = PassReport(pattern, written, synced=False)
            if result.error_number:
                raise self.failure("write", result.error_number)

    def flush_pass(self, number: int, writer: SpanWriter) -> None:
        """Force a pass to the device; where sectors fail, write it again past the page cache, which skips them.

        Args:
            number: Of the pass, from 1.
            writer: That wrote it.

        Raises:
            OSError: The pass is not on the device.
        """
        try:
            flush(self.fd)
        except OSError as error:
            if error.errno not in _DEVICE_FAILURES or not self.write_again_direct(number, writer):
                raise
            flush(self.fd)

    def write_again_direct(self, number: int, writer: SpanWriter) -> bool:
        """Write a pass again whose flush failed, past the page cache, which tells and skips the sectors that fail.

        Returns:
            False where that would tell no more than before.
        """
        if self.direct or not set_direct(self.fd, wanted=True):
            return False
        self.direct = True
        self.passes.pop()
        self.write_pass(number, writer)
        return self.direct

    def _spans(self) -> Iterator[tuple[int, int]]:
        for start, stop in self.ranges():
            for first in range(start, stop, SPAN_BYTES):
                yield first, min(first + SPAN_BYTES, stop)

    def note_synced(self) -> None:
        """The last pass was forced to the device."""
        last = self.passes[-1]
        self.passes[-1] = PassReport(last.pattern, last.bytes_written, synced=True)

    def compare(self, writer: SpanWriter) -> None:
        """Read the last pass back and compare; it must have been flushed.

        Verified is only what came past the page cache in full, or from the device itself. Where sectors were skipped
        there is nothing to verify.

        Raises:
            FileAccessError: It differs, or could not be read.
        """
        if self.skipped_bytes:
            self.notes.append("not_read_back")
            return
        self.direct = set_direct(self.fd, wanted=True)
        if not self.direct and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        number = len(self.plan.passes)
        for start, stop in self._spans():
            limit = self._may_skip()
            result = writer.compare(self.fd, start, stop, number, direct=self.direct, skip_limit=limit)
            self._account(result)
            self._check_compared(result, start)
        # O_DIRECT is only ever given up during the reads, so what holds at their end held for all of them.
        self.verified = self.direct and direct_reads_hold(self.facts) and not self.skipped_bytes
        if self.plan.device:
            self._compare_device(writer)
        if not self.verified:
            self.notes.append("verify_cached")

    def _compare_device(self, writer: SpanWriter) -> None:
        """Read the places on the device that the file had at first, and compare these, too."""
        try:
            if self._unplaced is not None:
                raise self._unplaced
            reader = DeviceReader(self.fd, self.facts)
        except OSError as error:
            self.notes.append(f"device_not_read:{error.strerror}")
            return
        try:
            for result, place in reader.compare(writer, self.end, len(self.plan.passes)):
                self._account(result)
                self._check_compared(result, place)
        finally:
            reader.close()
        self.verified = self.device_verified = not self.skipped_bytes

    # ---- what is looked at afterwards ----

    def settle(self) -> None:
        """See whether the passes went over the old bytes: same size, same blocks; overwrite the attributes."""
        if self.plan.write_bytes and self.plan.passes:
            try:
                self._check_size()
            except OSError as failed:
                raise self.failure("examine", failed.errno or errno.EIO) from failed
            self._check_extents()
        for error in attributes.overwrite(self.fd, self.facts.attributes):
            self.notes.append(f"attributes_failed:{errno_name(error)}")
        self.content_done = True

    def _check_size(self) -> None:
        """A file that somebody else grew or cut meanwhile had blocks that no pass saw."""
        last_written = max((stop for _, stop in self.ranges()), default=0)
        if os.fstat(self.fd).st_size != max(self.plan.size_bytes, last_written):
            self.reasons.append("changed_size")

    def _check_extents(self) -> None:
        before = self.facts.extents
        if before is None:
            return
        # After a flush nothing is preallocated any more where a pass wrote, unless somebody zeroed a range meanwhile
        # (fallocate), which drops the pass from the page cache and leaves the old bytes where they are.
        is_flushed = (self.plan.sync or self.plan.verify) and before.end <= self.end
        after = read_extents(self.fd, written_only=is_flushed)
        if after == before and not before.kinds:
            return  # Most files: each piece has the place that it had, and none is of a kind to be looked at.
        if after is None:
            self.reasons.append("extents_unknown")
        elif not is_kept(before, after) or (is_flushed and _has_unplaced(after, self.end)):
            self.reasons.append("extents_moved")
        elif _is_outside(after.pieces(), self.ranges(), max(self.plan.size_bytes, self.end)):
            self.reasons.append("changed_extents")

    # ---- what becomes of the file ----

    def restore_size(self) -> None:
        """Give a file that stays its old size: the passes went on to the end of its last block.

        What lies further is not from here: another program has added to the file, and keeps that.
        """
        if self.plan.size_bytes < os.fstat(self.fd).st_size <= self._reached:
            set_direct(self.fd, wanted=False)
            os.ftruncate(self.fd, self.plan.size_bytes)

    def truncate(self) -> None:
        """Remove the attributes, and give the blocks back; a file with other names keeps both its size and them."""
        attributes.remove(self.fd, self.facts.attributes)
        if self.plan.truncate:
            os.ftruncate(self.fd, 0)
        else:
            self.restore_size()

    @property
    def hides_name(self) -> bool:
        """Whether the name is to be replaced before it is removed."""
        return self.plan.rename

    # ---- the answer ----

    def _verdict(self) -> Verdict | None:
        if self.options.dry_run or self.plan.verdict is None:
            return None
        if not self.content_done or self.reasons:
            return "not_in_place"
        return "overwritten_verified" if self.verified else "overwritten"

    def report(self, error: str | None = None) -> ShredReport:
        """What can be said now."""
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
            device_verified=self.device_verified,
            skipped_bytes=self.skipped_bytes,
            direct=self.direct,
            renamed=self.renamed,
            unlinked=self.unlinked,
            file_id=self._file_id,
            error=error,
            seconds=time.monotonic() - self.started,
        )


def _has_unplaced(extents: ExtentMap, end: int) -> bool:
    """Whether a piece before `end` has no place: bytes that had none at first may have got one, and lost it, since."""
    return any(place == NOWHERE and offset < end for offset, place, _ in extents.pieces())


def _is_outside(pieces: Iterator[tuple[int, int, int]], ranges: Iterator[tuple[int, int]], end: int) -> bool:
    """Whether a file has pieces before `end` now where no pass wrote."""
    start, stop = next(ranges, (0, 0))
    for offset, _, length in pieces:
        done = offset
        while done < min(offset + length, end):
            while stop <= done:
                following = next(ranges, None)
                if following is None:
                    return True
                start, stop = following
            if start > done:
                return True
            done = stop
    return False
