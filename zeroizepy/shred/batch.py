"""Group commit: many files take each step together, and one flush of their file system stands for the flush of each.

What is promised is what a file gets by itself: each pass is on the device before the next begins, the passes before the
file is cut to nothing, that before its name changes, and each name before the next. Only the waiting is shared. A file
that fails leaves the batch and does not stop the others.
"""

from __future__ import annotations

import errno
import os
import platform
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroizepy.exceptions import SecureWipeError

from . import attributes, calls, names
from .name_rows import NameRows
from .passes import flush
from .steps import FileRun
from .walk import DIRECTORY_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .name_steps import NameRun
    from .passes import SpanWriter
    from .report import ShredReport

__all__ = ["SHARED_FROM", "Batch", "Ticket", "can_share"]

SHARED_FROM = 8
"""Fewer files are flushed one by one: syncfs also waits for what other programs have written."""

_CUTTERS = 8
"""Files that give their blocks back at a time."""

_SHARING = frozenset({"btrfs", "exfat", "ext2", "ext3", "ext4", "overlay", "tmpfs", "vfat", "xfs"})
"""File systems on which syncfs waits until all data has been handed to the device.

NFS and most FUSE file systems have nothing behind that call which would reach the server's disk.
"""


def can_share(file_systems: Iterable[str]) -> bool:
    """Whether one syncfs can stand for a flush of each file on these file systems."""
    return _sync_tells_errors() and all(each in _SHARING for each in file_systems)


def _sync_tells_errors() -> bool:
    """Whether syncfs reports failed writes: Linux does from 5.8 on."""
    if platform.system() != "Linux":
        return False
    numbers = platform.release().split(".")[:2]
    return len(numbers) == 2 and all(map(str.isdigit, numbers)) and tuple(map(int, numbers)) >= (5, 8)


def _free_lengths(lengths: tuple[int, ...], crowd: int) -> list[int]:
    """Lengths of random names, without those that are too short for so many files to find a free one at once."""
    least = 1
    while crowd > 1 and names.ALPHABET_SIZE**least < 4 * crowd:
        least += 1
    return [length for length in lengths if length >= least] or [least] * min(2, len(lengths))


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in a batch.

    Attributes:
        run: The steps of one file, or of one name without bytes.
        file_system: What it lies on.
        number: Tells the file's random streams from those of others.
        report: What became of it, once it is done or has failed.
    """

    run: NameRun
    file_system: str
    number: int
    report: ShredReport | None = None


class Batch:
    """Carries the steps of many files out in lockstep.

    Their descriptors and those of their directories are open: a flush reports the failed writes since then.

    Args:
        tickets: All of them; no file twice.
        new_writer: Gives the buffers for the passes; called when there is something to write.
        settled: Called when the passes of all are done and on the device, before any file is cut or renamed.
        step_done: Called after each step that all have taken.
    """

    def __init__(
        self,
        tickets: list[Ticket],
        new_writer: Callable[[], SpanWriter],
        settled: Callable[[], None],
        step_done: Callable[[], None],
    ) -> None:
        self._tickets = tickets
        self._new_writer = new_writer
        self._settled = settled
        self._step_done = step_done
        # One directory on each file system, opened before the first write, and for this batch alone: a flush tells each
        # descriptor of a failed write once.
        self._directories: dict[int, int] = {}
        self._shares = (
            len(tickets) >= SHARED_FROM and can_share({each.file_system for each in tickets}) and self._open()
        )
        self._rows = NameRows(())
        self._is_stopped = False

    def carry_out(self) -> None:
        """Take all steps; afterwards each ticket has its report.

        Raises:
            KeyboardInterrupt: And whatever is no failure of a file. Files whose passes were not done are left in place;
                each ticket has its report then, too.
        """
        self.overwrite()
        self.remove()

    def overwrite(self) -> None:
        """Take the steps up to those that change size or name; the tickets whose files failed have their report.

        Raises:
            KeyboardInterrupt: As `carry_out` does.
        """
        with self._telling():
            self._overwrite()
            self._settled()

    def remove(self) -> None:
        """Take the rest of the steps, after `overwrite`. Another thread may do that.

        Raises:
            KeyboardInterrupt: As `carry_out` does; also after `stop`.
        """
        with self._telling():
            self._remove()
            for ticket in self._live():
                ticket.report = ticket.run.report()
        self._close()

    def stop(self) -> None:
        """Have `remove` end before its next step. Any thread may call this."""
        self._is_stopped = True

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leave the files as they are now: each ticket without a report gets one that says so."""
        self._rows.put_back()
        for ticket in self._live():
            self._abandon(ticket)
        self._close()

    def _open(self) -> bool:
        for ticket in self._tickets:
            device = ticket.run.found.status.st_dev
            if device not in self._directories:
                try:
                    self._directories[device] = os.open(os.curdir, DIRECTORY_FLAGS, dir_fd=ticket.run.found.directory)
                except OSError:
                    return False
        return True

    def _close(self) -> None:
        while self._directories:
            with suppress(OSError):  # Nothing was written through it.
                os.close(self._directories.popitem()[1])

    # ---- content ----

    def _overwrite(self) -> None:
        files = self._files(self._tickets)
        written = [(ticket, run) for ticket, run in files if run.plan.write_bytes and run.plan.passes]
        if written:
            writer = self._new_writer()
            for number in range(1, len(written[0][1].plan.passes) + 1):
                self._write_pass(written, number, writer)
            for ticket, run in written:
                if run.plan.verify:
                    writer.file_number = ticket.number
                    self._take(ticket, "verify", lambda run=run: run.compare(writer))  # type: ignore[misc]
            self._step_done()
        for ticket, run in files:
            self._take(ticket, "examine", run.settle)

    def _write_pass(self, written: list[tuple[Ticket, FileRun]], number: int, writer: SpanWriter) -> None:
        for ticket, run in written:
            writer.file_number = ticket.number
            self._take(ticket, "write", lambda run=run: run.write_pass(number, writer))  # type: ignore[misc]
        if not self._flush_shared([ticket for ticket, _ in written if ticket.report is None]):
            for ticket, run in written:
                writer.file_number = ticket.number  # Where sectors fail, the pass is written again.
                self._take(ticket, "flush", lambda run=run: run.flush_pass(number, writer))  # type: ignore[misc]
        for ticket, run in written:
            if ticket.report is None:
                run.note_synced()
        self._step_done()

    def _flush_sizes(self) -> None:
        """Make it lasting that the files are cut."""
        live = self._files(self._live())
        if not self._flush_shared([ticket for ticket, _ in live]):
            for ticket, run in live:
                self._take(ticket, "flush", lambda run=run: flush(run.fd))  # type: ignore[misc]

    # ---- names ----

    def _remove(self) -> None:
        """Cut, hide the names, unlink, and make each lasting before the next."""
        self._cut(self._files(self._live()))
        self._flush_sizes()
        self._hide()
        self._rows.unlink()
        for ticket in self._alone():
            self._take(ticket, "remove", ticket.run.unlink)
        self._flush_names()
        self._rows.put_back()

    def _cut(self, files: list[tuple[Ticket, FileRun]]) -> None:
        """Give the blocks back, some files at a time: a file system may tell the device of each, and wait for that."""
        cut = []
        for ticket, run in files:
            if not run.plan.truncate:
                self._take(ticket, "remove", run.truncate)
                continue
            attributes.remove(run.fd, run.facts.attributes)
            cut.append((ticket, run))
        errors = calls.truncate_files([run.fd for _, run in cut], _CUTTERS)
        for (ticket, run), number in zip(cut, errors, strict=True):
            if number:
                self._leave(ticket, run.removal_failure(OSError(number, os.strerror(number))).report)

    def _hide(self) -> None:
        live = self._live()
        crowd = Counter(ticket.run.found.directory for ticket in live)
        lengths = {each: _free_lengths(each.run.name_lengths(), crowd[each.run.found.directory]) for each in live}
        self._rows = NameRows((each.run, lengths[each]) for each in live if self._shares)
        ended: set[Ticket] = set()
        for turn in range(max(map(len, lengths.values()), default=0)):
            self._hide_rows(turn)
            for ticket in self._alone():
                if ticket not in ended and (
                    turn >= len(lengths[ticket]) or not self._hide_once(ticket, lengths[ticket][turn])
                ):
                    ended.add(ticket)
            self._flush_names()

    def _hide_rows(self, turn: int) -> None:
        for run, error in self._rows.hide(turn):
            ticket = next(each for each in self._tickets if each.run is run)
            self._leave(ticket, run.removal_failure(error).report)

    def _alone(self) -> list[Ticket]:
        """Those who take the steps on their names by themselves."""
        live = self._live()
        return live if len(self._rows) == 0 else [each for each in live if each.run not in self._rows]

    def _hide_once(self, ticket: Ticket, length: int) -> bool:
        try:
            return ticket.run.hide(length)
        except OSError as error:
            self._leave(ticket, ticket.run.removal_failure(error).report)
            return False

    def _flush_names(self) -> None:
        if self._is_stopped:
            raise KeyboardInterrupt
        live = self._live()
        if self._flush_shared(live):
            return
        self._rows.put_back()
        by_directory: dict[int, list[Ticket]] = {}
        for ticket in live:
            by_directory.setdefault(ticket.run.found.directory, []).append(ticket)
        for directory, there in by_directory.items():
            self._flush_directory(directory, there)

    def _flush_directory(self, directory: int, tickets: list[Ticket]) -> None:
        try:
            synced = names.sync_directory(directory)
        except OSError as error:
            for ticket in tickets:
                self._leave(ticket, ticket.run.removal_failure(error).report)
            return
        for ticket in tickets:
            if not synced and "directory_not_synced" not in ticket.run.notes:
                ticket.run.notes.append("directory_not_synced")

    # ---- what all steps have in common ----

    def _live(self) -> list[Ticket]:
        return [ticket for ticket in self._tickets if ticket.report is None]

    @staticmethod
    def _files(tickets: Iterable[Ticket]) -> list[tuple[Ticket, FileRun]]:
        return [(ticket, ticket.run) for ticket in tickets if isinstance(ticket.run, FileRun)]

    def _take(self, ticket: Ticket, step: str, action: Callable[[], object]) -> None:
        """One step of one file; when it fails, the file leaves the batch."""
        if ticket.report is not None:
            return
        run = ticket.run
        try:
            action()
        except SecureWipeError as error:
            self._leave(ticket, error.report)
        except OSError as error:
            failed = run.removal_failure(error) if step == "remove" else run.failure(step, error.errno or errno.EIO)
            self._leave(ticket, failed.report)

    def _abandon(self, ticket: Ticket) -> None:
        """Report a file at which the batch was interrupted. One that is gone lacks no more than a flush of that."""
        run = ticket.run
        if run.unlinked:
            run.notes += ["directory_not_synced"] if "directory_not_synced" not in run.notes else []
            ticket.report = run.report()
        else:
            run.reasons.append("failed:interrupted")
            self._leave(ticket, run.report("interrupted"))

    @staticmethod
    def _leave(ticket: Ticket, report: ShredReport) -> None:
        ticket.report = report
        if isinstance(ticket.run, FileRun) and not ticket.run.unlinked:
            # The file stays, and its size must not tell of the run.
            with suppress(OSError):
                ticket.run.restore_size()

    def _flush_shared(self, live: list[Ticket]) -> bool:
        """Flush the file systems of these tickets. False when each must be flushed for itself.

        syncfs hands all data to the device, and some file systems may leave it in the device's cache: xfs forces its
        log, and nothing when that is clean. A flush of one file empties the cache, and is cheap after the other.

        Source: xfs_fs_sync_fs() and xfs_file_fsync() of the kernel, fs/xfs/xfs_super.c and xfs_file.c.
        """
        if not self._shares:
            return not live
        one_of_each = {ticket.run.found.status.st_dev: ticket for ticket in live}
        try:
            for device, ticket in one_of_each.items():
                calls.sync_file_system(self._directories[device])
                if isinstance(ticket.run, FileRun):
                    flush(ticket.run.fd)
                else:
                    os.fsync(ticket.run.found.directory)
        except OSError:
            return False
        return True
