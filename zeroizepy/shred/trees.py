"""Shredding a whole directory: the walk meets entries, batches take them, and what is empty in the end is removed."""

from __future__ import annotations

import errno
import os
import resource
import time
import warnings
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zeroizepy.exceptions import SecureWipeError

from . import target
from .batch import Batch, Ticket, can_share
from .beneath import Opener, mount_number
from .facts import Surroundings, look_around, read_facts
from .folders import Folders
from .name_steps import NameRun
from .passes import SpanWriter
from .plan import warning_text
from .removal import Load, Removal, Taken
from .report import ShredReport
from .resume import Resume
from .roots import Root, TreeOptions, open_journal, open_root
from .steps import FileRun
from .treereport import Tally, TreeReport
from .walk import Member, Obstacle, Walker

if TYPE_CHECKING:
    from .journal import Journal

__all__ = ["shred_directory"]

_BATCH_FILES = 512
_BATCH_BYTES = 128 << 20
_ALONE_BYTES = 8 << 20
"""A larger file makes a batch of its own."""

_SPARE_DESCRIPTORS = 96
_FOLDERS_AT_A_TIME = 256
_OBSTACLES = {
    "mount_point": "is a mount point; what is mounted there is left alone",
    "replaced": "was replaced while the tree was read",
    "permission": "cannot be read",
}


def shred_directory(path: str, options: TreeOptions) -> TreeReport:
    """Shred all files in a directory, and remove it.

    Raises:
        NotADirectoryError: Something else stands at the path.
        ValueError: The path is no name, or the journal belongs to another run or lies in the tree.
        OSError: The directory or the journal cannot be opened.
        KeyboardInterrupt: Ctrl-C; `report` on it says how far the run came. So has any other exception that is no
            failure of a file.
    """
    started = time.monotonic()
    root = open_root(path)
    if root is None:
        return TreeReport(path, existed=False, dry_run=options.files.dry_run)
    try:
        journal = open_journal(root.folder, options)
        try:
            return _TreeRun(root, options, journal, started).carry_out()
        finally:
            if journal is not None:
                journal.close()
    finally:
        root.close()


def _room_for_files() -> int:
    """How many descriptors two batches may take: files and their directories."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        used = len(os.listdir("/dev/fd"))
    except OSError:
        used = _SPARE_DESCRIPTORS
    most = 4 * (_BATCH_FILES + 1)
    return most if limit == resource.RLIM_INFINITY else max(4, min(most, limit - used - _SPARE_DESCRIPTORS))


class _TreeRun:
    """One run over one tree."""

    def __init__(self, root: Root, options: TreeOptions, journal: Journal | None, started: float) -> None:
        self._options = options
        self._files = options.files
        self._started = started
        self._tally = Tally(root.folder.path)
        self._opener = Opener(may_cross=not options.one_file_system)
        self._walker = Walker(root.folder, self._opener)
        self._around: dict[tuple[int, int], Surroundings] = {}
        self._room = _room_for_files()
        self._folders = Folders(
            self._walker,
            root.above,
            self._tally,
            rename=self._files.rename,
            keep=options.keep_directories,
            room=min(_FOLDERS_AT_A_TIME, self._room // 2),
            shares=options.one_file_system and can_share([self._look_around(root.folder.fd).mount.file_system]),
        )
        self._load = Load()
        self._leaving: Load | None = None
        self._finished: deque[Taken] = deque()  # Done with, and not in the tally yet.
        self._writer: SpanWriter | None = None
        self._number = 0
        self._done_bytes = 0
        self._warned = False
        self._resume = Resume(journal)

    def carry_out(self) -> TreeReport:
        """Go through the tree until nothing in it is left that can go."""
        try:
            self._go_through()
        except BaseException as error:
            self._give_up()
            text = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
            # Assigned by name because most builtin types do not declare it.
            vars(error)["report"] = self._report(self._resume.earlier(), text)
            raise
        finally:
            self._give_up()
            self._walker.close()
            if self._writer is not None:
                self._writer.close()
        return self._report(self._resume.finish(), None)

    def _go_through(self) -> None:
        while True:
            for event in self._walker.events():
                if isinstance(event, Member):
                    self._meet(event)
                elif isinstance(event, Obstacle):
                    self._pass_by(event)
                elif self._files.dry_run:
                    self._walker.forget(event.folder)
                else:
                    self._folders.add(event.folder)
                    if self._folders.is_full:
                        self._commit()
            if self._folders.is_empty and not self._load.taken and self._leaving is None:
                return
            self._commit()

    def _commit(self) -> None:
        self._carry_out_batch()
        self._folders.remove()

    # ---- one entry ----

    def _meet(self, member: Member) -> None:
        """Take an entry into the batch, or say why not."""
        folder = member.folder
        path = os.path.join(folder.path, member.name)
        try:
            directory = self._walker.pin(folder)
        except OSError as error:
            text = f"its directory cannot be opened again: {error.strerror}"
            self._count(ShredReport(path, verdict="refused", reasons=("replaced",), error=text), member)
            return
        taken = False
        try:
            status = os.stat(member.name, dir_fd=directory, follow_symlinks=False)
            found = target.Target(path, directory, member.name, status, self._opener)
            taken = self._take(found, member)
        except (FileNotFoundError, IsADirectoryError):
            pass  # Gone, or another scan of the directory meets what it is now.
        except SecureWipeError as error:
            self._count(replace(error.report, dry_run=self._files.dry_run), member)
        except OSError as error:
            code = "mount_point" if error.errno == errno.EXDEV else "permission"
            text = f"cannot be opened: {error.strerror}"
            self._count(ShredReport(path, verdict="refused", reasons=(code,), error=text), member)
        finally:
            if not taken:
                self._walker.unpin(folder)
        if taken and self._is_full():
            self._carry_out_batch(wait=False)

    def _take(self, found: target.Target, member: Member) -> bool:
        """Open an entry and put it into the batch. False when it was only to be looked at."""
        key = (found.status.st_dev, found.status.st_ino)
        if self._leaving is not None and key in self._leaving.inodes:
            # Its name is being hidden now; or this is another one of the file, and the directory is read again.
            if member.folder.settled is not None:
                return False
            self._finish()
            found = replace(found, status=os.stat(found.name, dir_fd=found.directory, follow_symlinks=False))
        if key in self._load.inodes:
            self._carry_out_batch()  # The other name of this file goes first, and then it has one less.
            found = replace(found, status=os.stat(found.name, dir_fd=found.directory, follow_symlinks=False))
        try:
            fd = self._open(found)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not (self._load.taken or self._leaving):
                raise
            self._carry_out_batch()  # Somebody else has taken descriptors; the batch gives its own back.
            fd = self._open(found)
        try:
            run, around = self._new_run(found, fd)
        except BaseException:
            os.close(fd)
            raise
        if self._files.dry_run:
            os.close(fd)
            self._count(run.report(), member)
            return False
        self._put(run, around, member)
        return True

    def _open(self, found: target.Target) -> int:
        if target.special_kind(found.status.st_mode) is not None:
            return found.open(target.O_PATH)
        target.check_status(found.path, found.status, self._files)
        return target.open_file(found, self._files)

    def _new_run(self, found: target.Target, fd: int) -> tuple[NameRun, Surroundings]:
        started = time.monotonic()
        around = self._look_around(fd)
        kind = target.special_kind(found.status.st_mode)
        if kind is not None:
            return NameRun(found, fd, self._files, started, kind), around
        run = FileRun(found, fd, self._files, started, partial(read_facts, around=around))
        text = warning_text(run.plan) if self._files.warn and not self._warned else None
        if text is not None:
            self._warned = True
            warnings.warn(f"{text} (this file and perhaps others)", UserWarning, stacklevel=8)
        return run, around

    def _look_around(self, fd: int) -> Surroundings:
        """What is known of a file's mount; asked once for each, and once in all when no other mount is entered."""
        key = (0, 0) if self._options.one_file_system else mount_number(fd)
        if key not in self._around:
            self._around[key] = look_around(fd)
        return self._around[key]

    def _put(self, run: NameRun, around: Surroundings, member: Member) -> None:
        size_bytes = run.plan.write_bytes if isinstance(run, FileRun) else 0
        if isinstance(run, FileRun) and size_bytes > _ALONE_BYTES:
            self._carry_out_batch()
            run.progress = lambda _done, _total: self._tell()
        self._number += 1
        status = run.found.status
        self._load.taken.append(Taken(Ticket(run, around.mount.file_system, self._number), member))
        self._load.inodes.add((status.st_dev, status.st_ino))
        self._load.folders.add(member.folder)
        self._load.size_bytes += size_bytes

    def _is_full(self) -> bool:
        load = self._load
        # Two batches are open at a time, with a descriptor for each file and directory.
        if len(load.taken) >= _BATCH_FILES or len(load.taken) + len(load.folders) >= self._room // 2 - 1:
            return True
        return load.size_bytes > (_ALONE_BYTES if len(load.taken) == 1 else _BATCH_BYTES)

    def _pass_by(self, obstacle: Obstacle) -> None:
        """Count a directory that is not entered, or that could not be read to its end."""
        folder = obstacle.folder
        text = _OBSTACLES[obstacle.code]
        if obstacle.code == "permission":
            text = f"{text}: {os.strerror(obstacle.number)}"
        if not obstacle.name:
            self._folders.fail(folder, obstacle.code, text)
            return
        path = os.path.join(folder.path, obstacle.name)
        self._tally.fail(ShredReport(path, verdict="refused", reasons=(obstacle.code,), error=text))
        self._tally.directories_left += 1
        folder.settle(obstacle.inode)
        folder.staying += 1

    # ---- the batch ----

    def _carry_out_batch(self, *, wait: bool = True) -> None:
        """Overwrite the batch, and remove it.

        Args:
            wait: Whether for the removal, too; without, another batch can be taken meanwhile.
        """
        if self._load.taken:
            self._overwrite(self._load)
        if wait:
            self._finish()

    def _overwrite(self, load: Load) -> None:
        tickets = [each.ticket for each in load.taken]
        runs = [each.run for each in tickets if isinstance(each.run, FileRun)]
        self._resume.begin((run.found.status, run.plan.size_bytes) for run in runs)
        batch = Batch(tickets, self._get_writer, lambda: self._resume.settle(tickets), self._tell)
        try:
            batch.overwrite()
            self._finish()  # One removal at a time.
            load.removal = Removal(batch)
            self._leaving, self._load = load, Load()
        except BaseException:
            batch.abandon()
            raise
        load.removal.start()

    def _finish(self) -> None:
        """Wait for the removal that is under way, and count what became of its files."""
        load = self._leaving
        if load is None or load.removal is None:
            return
        load.removal.join()
        self._put_by(load)
        self._leaving = None
        while self._finished:
            each = self._finished.popleft()
            if each.ticket.report is not None:
                self._count(self._resume.complete(each.ticket.report, each.ticket.run.found.status), each.member)
        self._tell()

    def _give_up(self) -> None:
        """End what is under way, count what came of it, and give all descriptors back. Idempotent."""
        if self._leaving is not None and self._leaving.removal is not None:
            self._leaving.removal.stop()
        for load in filter(None, (self._leaving, self._load)):
            self._put_by(load)
        self._leaving = None
        while self._finished:
            report = self._finished.popleft().ticket.report
            if report is not None:
                self._tally.add(report)

    def _put_by(self, load: Load) -> None:
        """Give the descriptors of a batch back; each once, also when this is interrupted and called again."""
        while load.taken:
            each = load.taken.popleft()
            self._finished.append(each)
            run = each.ticket.run
            os.close(run.fd)
            self._walker.unpin(each.member.folder)
            self._done_bytes += run.done_bytes if isinstance(run, FileRun) else 0

    def _get_writer(self) -> SpanWriter:
        if self._writer is None:
            self._writer = SpanWriter(self._files.buffer_bytes, *self._files.passes)
        return self._writer

    def _count(self, report: ShredReport, member: Member) -> None:
        """Count what became of an entry, and remember it when it stays."""
        self._tally.add(report)
        if not report.unlinked:
            member.folder.settle(member.inode)
            member.folder.staying += 1
        if self._options.on_report is not None:
            self._options.on_report(report)

    def _tell(self) -> None:
        if self._options.progress is not None:
            running = self._load.done_bytes + (self._leaving.done_bytes if self._leaving else 0)
            self._options.progress(sum(self._tally.verdicts.values()), self._done_bytes + running)

    def _report(self, earlier: dict[str, int], error: str | None) -> TreeReport:
        self._tally.resumed = self._resume.resumed
        return self._tally.report(
            dry_run=self._files.dry_run,
            earlier=earlier,
            error=error,
            seconds=time.monotonic() - self._started,
        )
