"""Filling free space with random bytes through unlinked files, so that even a kill gives the space back at once."""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroizepy.exceptions import FileAccessError

from . import names, slack
from .facts import mount_of
from .options import BLOCK_BYTES, Pattern
from .passes import SPAN_BYTES, SpanWriter, set_direct
from .report import FreeSpaceReport
from .trim import trim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .run import Progress

__all__ = ["FillOptions", "fill"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_STOPS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "quota",
    errno.EFBIG: "file_size",
    errno.EMFILE: "open_files",
    errno.ENFILE: "open_files",
}
_TOP_UP_ROUNDS = 3
_SETS_ASIDE = frozenset({"ext4", "xfs"})
"""Where fallocate takes blocks without writing them. Elsewhere the C library would write into each block instead."""

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})

_PIECES_PER_S = 4
_ROOM_BYTES = 1 << 20
"""What the directory of the inode filling leaves free: file systems behave oddly with their last blocks."""

_NOTES = (
    "space after the end of files inside their last block is not covered",
    "names in directories that still exist and copies in the journal are not covered",
    "blocks that the file system holds back for its own needs are not covered (ext4 keeps up to 2 % of itself)",
    "spare sectors and cells that the device keeps to itself are not covered",
    "snapshots and other file systems on the same device are not covered",
)
_NOTE_MEMORY = "this file system is memory: it was given free pages of the system, and not those that its files had"
_NOTE_RESERVED = "blocks that the file system reserves for root are not covered"
_NOTE_INODES = "free inodes, and attributes of removed files in them, are not covered; inodes=True overwrites them"
_NOTE_NO_INODES = "this file system does not count its inodes, so none were filled"
_NOTE_SOME_INODES = "free inodes beyond the {made} that were filled are not covered"
_NOTE_KEY = "the key of the random bytes was in memory that could not be locked and may be swapped"
_NOTE_LEFT = "the private directory {name!r} could not be removed; it holds empty files"


@dataclass(frozen=True, slots=True)
class FillOptions:
    """The checked arguments of `wipe_free_space`."""

    buffer_bytes: int
    dry_run: bool
    reserve_bytes: int
    max_bytes: int | None
    max_bytes_per_s: int | None = None
    max_inodes: int = 0
    trim: bool = False


def _open_filler(directory: int) -> int:
    """A new file without a name on the directory's file system."""
    flags = os.O_RDWR | os.O_CLOEXEC
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
    name = names.random_name(16)
    fd = os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        os.unlink(name, dir_fd=directory)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def _file_size_signal_held() -> Iterator[None]:
    """Keep SIGXFSZ from ending a process that does not ignore it: the write that met the limit fails with EFBIG.

    The kernel sends it to the thread that writes. Python ignores it unless somebody changed that.
    """
    number = getattr(signal, "SIGXFSZ", None)
    if number is None:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        if number not in before:
            if number in signal.sigpending():
                signal.sigwait({number})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


class _Pace:
    """Keeps an average rate from its first moment on.

    Args:
        bytes_per_s: None for no limit.
    """

    def __init__(self, bytes_per_s: int | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._started = time.monotonic()

    @property
    def piece_bytes(self) -> int:
        """Bytes for one call: a quarter of a second's worth, so that no burst is longer."""
        if self._bytes_per_s is None:
            return SPAN_BYTES
        return min(max(self._bytes_per_s // _PIECES_PER_S, BLOCK_BYTES), SPAN_BYTES)

    def wait(self, done_bytes: int) -> None:
        """Sleep until this much was due."""
        if self._bytes_per_s is not None:
            time.sleep(max(0.0, self._started + done_bytes / self._bytes_per_s - time.monotonic()))


class _Fill:
    """One run over one file system. All fillers stay open to the end: closing one would free its blocks."""

    def __init__(self, path: str, directory: int, options: FillOptions) -> None:
        self.path = path
        self.directory = directory
        self.file_system = mount_of(directory).file_system
        self.options = options
        self.started = time.monotonic()
        self.fillers: list[int] = []
        self.sizes: list[int] = []
        self.available_bytes = self._available()
        self.unfilled_bytes = self.available_bytes
        self.stopped_by: str | None = None
        self.pace = _Pace(None)
        self.notes: list[str] = []
        self.inodes: slack.InodeFill | None = None
        self.leftovers_removed = 0
        self.trimmed_bytes: int | None = None
        self.trim_error: str | None = None

    @property
    def written(self) -> int:
        return sum(self.sizes)

    def _available(self) -> int:
        status = os.fstatvfs(self.directory)
        # Root writes into the reserved blocks too, so for root they are free space.
        return (status.f_bfree if os.geteuid() == 0 else status.f_bavail) * status.f_frsize

    @property
    def goal_bytes(self) -> int:
        goal = max(0, self.available_bytes - self.options.reserve_bytes)
        return goal if self.options.max_bytes is None else min(goal, self.options.max_bytes)

    def _allowance(self) -> int:
        """Bytes that may be written next; 0 sets `stopped_by`."""
        allowed = self.pace.piece_bytes
        if self.options.max_bytes is not None:
            allowed = min(allowed, self.options.max_bytes - self.written)
            if allowed <= 0:
                self.stopped_by = "limit"
        if self.options.reserve_bytes:
            left = self._available() - self.options.reserve_bytes
            if left < BLOCK_BYTES:
                self.stopped_by = "reserve"
            allowed = min(allowed, left)
        # Each span but the last of a filler ends at a block, where the next can begin.
        return 0 if self.stopped_by else allowed if allowed < BLOCK_BYTES else allowed // BLOCK_BYTES * BLOCK_BYTES

    def fill_one(self, writer: SpanWriter, progress: Progress | None) -> None:
        """Add a filler and write until the space, the file size, or the allowance ends."""
        try:
            fd = _open_filler(self.directory)
        except OSError as error:
            self._stop(error.errno or errno.EIO)
            return
        self.fillers.append(fd)
        self.sizes.append(0)
        direct = set_direct(fd, wanted=True)
        while allowed := self._allowance():
            start = self.sizes[-1]
            self._set_aside(fd, start, allowed)
            result = writer.write(fd, start, start + allowed, len(self.fillers), direct=direct)
            direct = result.direct
            self.sizes[-1] = start + result.done_bytes
            if result.error_number == errno.EFBIG and self.sizes[-1]:
                return
            if result.error_number:
                self._stop(result.error_number)
                return
            if progress is not None:
                progress(self.written, max(self.goal_bytes, self.written))
            self._keep_pace(fd, direct=direct)

    def _set_aside(self, fd: int, start: int, length: int) -> None:
        """Take the blocks for one span at once: long extents, which may then be written in any order.

        A refusal is no loss: the writes find the same end of the space, and take what was set aside before it.
        """
        if self.file_system in _SETS_ASIDE and hasattr(os, "posix_fallocate"):
            with suppress(OSError):
                os.posix_fallocate(fd, start, length)

    def _keep_pace(self, fd: int, *, direct: bool) -> None:
        if self.options.max_bytes_per_s is not None:
            if not direct:
                _sync_full(fd)  # The page cache would take the bytes at any rate, and pass them on in one burst.
            self.pace.wait(self.written)

    def _stop(self, number: int) -> None:
        if number not in _STOPS:
            raise OSError(number, os.strerror(number))
        self.stopped_by = _STOPS[number]

    def top_up(self, writer: SpanWriter) -> int:
        """Fill what a large write left over, in smaller and smaller writes. Returns the bytes gained."""
        fd, before = self.fillers[-1], self.sizes[-1]
        set_direct(fd, wanted=False)
        # A write begins at a block, so each step shorter than one tries the same block with a nearer end.
        for step in (1 << 20, 1 << 16, BLOCK_BYTES, *range(BLOCK_BYTES - 512, 0, -512)):
            failed = False
            while not failed:
                start = self.sizes[-1] // BLOCK_BYTES * BLOCK_BYTES
                result = writer.write(fd, start, start + step, len(self.fillers), direct=False)
                failed = bool(result.error_number) or step < BLOCK_BYTES
                self.sizes[-1] = max(self.sizes[-1], start + result.done_bytes)
                if result.error_number not in (0, errno.EFBIG, *_FULL):
                    self._stop(result.error_number)
            if self.sizes[-1] % BLOCK_BYTES:
                break
        return self.sizes[-1] - before

    def flush(self) -> None:
        """Force all fillers to the device; a file system that finds out only now that it is full is full."""
        for fd in self.fillers:
            _sync_full(fd)

    def close(self) -> None:
        """Give the space back. The report can still be made afterwards."""
        while self.fillers:
            os.close(self.fillers.pop())

    def carry_out(self, progress: Progress | None) -> None:
        self.leftovers_removed, left = slack.remove_leftovers(self.directory)
        self.notes += [_NOTE_LEFT.format(name=name) for name in left]
        if self.options.max_inodes:
            self._fill_inodes()
        with (
            _file_size_signal_held(),
            closing(SpanWriter(self.options.buffer_bytes, Pattern("random", None))) as writer,
        ):
            if writer.notes:
                self.notes.append(_NOTE_KEY)
            try:
                self._fill_blocks(writer, progress)
            finally:
                self.unfilled_bytes = self._available()
        self.close()
        if self.options.trim:
            self._trim()

    def _fill_inodes(self) -> None:
        """Before the blocks: the directory needs some, and gives them back for the fillers to overwrite."""
        status = os.fstatvfs(self.directory)
        if not status.f_files:
            self.notes.append(_NOTE_NO_INODES)
            return
        free = status.f_ffree if os.geteuid() == 0 else status.f_favail
        self.inodes = slack.InodeFill(self.directory, min(free, self.options.max_inodes), self._has_room)
        self.inodes.carry_out()
        self.notes.append(_NOTE_SOME_INODES.format(made=self.inodes.made))

    def _has_room(self) -> bool:
        return self._available() > self.options.reserve_bytes + _ROOM_BYTES

    def _fill_blocks(self, writer: SpanWriter, progress: Progress | None) -> None:
        self.pace = _Pace(self.options.max_bytes_per_s)
        while self.stopped_by is None:
            self.fill_one(writer, progress)
        rounds = _TOP_UP_ROUNDS if self.fillers and self.stopped_by in ("full", "quota") else 0
        # A flush settles what the file system had set aside for delayed allocation, and some of it comes free.
        while rounds and self.top_up(writer):
            self.flush()
            rounds -= 1
        self.flush()

    def _trim(self) -> None:
        """A refusal is no failure of the filling, which is done; the report has it."""
        try:
            self.trimmed_bytes = trim(self.directory)
        except OSError as error:
            self.trim_error = os.strerror(error.errno or errno.EIO)

    def _all_notes(self) -> tuple[str, ...]:
        notes = list(_NOTES)
        if self.file_system in _IN_MEMORY:
            notes.insert(0, _NOTE_MEMORY)
        if not self.options.max_inodes:
            notes.append(_NOTE_INODES)
        if os.geteuid() != 0:
            notes.append(_NOTE_RESERVED)
        return (*notes, *self.notes)

    def report(self, error: str | None = None) -> FreeSpaceReport:
        return FreeSpaceReport(
            directory=self.path,
            file_system=self.file_system,
            dry_run=self.options.dry_run,
            available_bytes=self.available_bytes,
            bytes_written=self.written,
            fillers=len(self.sizes),
            stopped_by=self.stopped_by,
            notes=self._all_notes(),
            unfilled_bytes=self.unfilled_bytes,
            inodes_filled=self.inodes.made if self.inodes else 0,
            inode_directory=self.inodes.name if self.inodes else None,
            leftovers_removed=self.leftovers_removed,
            trimmed_bytes=self.trimmed_bytes,
            trim_error=self.trim_error,
            error=error,
            seconds=time.monotonic() - self.started,
        )


def _sync_full(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _FULL:
            raise


def fill(path: str, options: FillOptions, progress: Progress | None) -> FreeSpaceReport:
    """Overwrite the free space of the file system that holds `path`.

    Raises:
        FileNotFoundError, NotADirectoryError: By the path.
        FileAccessError: The system refused or a write failed; the space was given back, `.report` says how far it
            came.
        KeyboardInterrupt: Ctrl-C; the space was given back, `.report` on it says how far it came.
    """
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise FileAccessError(error.errno, error.strerror, path) from error
    try:
        run = _Fill(path, directory, options)
        try:
            if not options.dry_run:
                run.carry_out(progress)
        except OSError as error:
            number = error.errno or errno.EIO
            failure = FileAccessError(number, f"filling free space failed: {os.strerror(number)}", path)
            failure.report = run.report(failure.strerror)
            raise failure from error
        except KeyboardInterrupt as error:
            # Assigned by name because the builtin type does not declare it; our own errors do.
            vars(error)["report"] = run.report("interrupted")
            raise
        finally:
            run.close()
        return run.report()
    finally:
        os.close(directory)
