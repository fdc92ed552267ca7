"""What a killed run leaves for the next: a small file of constant size, without names and without content.

The file holds a header and two slots that are written in turn. Each slot is a whole state with a number and a
checksum, so a write that was torn leaves the state before it. A state has the counts so far and the files that the
batches at hand (one on its way out, one being overwritten) have begun, as device and inode; what they were called is
what a run is there to remove, and is not kept.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zeroizepy.durable import sync_directory

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Begun", "Journal", "State"]

_MAGIC = "zeroizepy-tree-journal 1"
_HEADER_BYTES = 4096
_SLOT_BYTES = 512 << 10
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0)


@dataclass(slots=True)
class Begun:
    """A file of a batch at hand.

    Attributes:
        device, inode: Which file it is.
        size_bytes: Of its content when it was begun.
        outcome: What became of the content, once that is known: the verdict, or the empty text when there was nothing
            to overwrite.
    """

    device: int
    inode: int
    size_bytes: int
    outcome: str | None = None


@dataclass(slots=True)
class State:
    """Where a run stands.

    Attributes:
        counts: Files done so far by outcome, earlier runs included.
        begun: Files of the batches at hand.
    """

    counts: dict[str, int] = field(default_factory=dict)
    begun: list[Begun] = field(default_factory=list)


def _packed(value: object, room_bytes: int) -> bytes:
    """A line with its checksum in front; what stands behind it in the file does not count."""
    data = json.dumps(value, separators=(",", ":")).encode("ascii")
    line = b"%08x %s\n" % (zlib.crc32(data), data)
    if len(line) > room_bytes:
        raise ValueError(f"a journal record of {len(line)} bytes does not fit into {room_bytes}")
    return line


def _unpacked(data: bytes) -> Any:
    """The value of a line, or None when it is torn, altered or was never written."""
    line, newline, _ = data.partition(b"\n")
    checksum, _, text = line.partition(b" ")
    if not newline or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _state(value: Any) -> tuple[int, State]:
    """A record's number and state.

    Raises:
        TypeError, ValueError: It is not what `Journal.save` writes.
    """
    number, counts, begun = value
    state = State(counts, [Begun(*each) for each in begun])
    numbers = [number, *counts.values()] if isinstance(counts, dict) else [None]
    for each in state.begun:
        numbers += [each.device, each.inode, each.size_bytes]
        if not isinstance(each.outcome, str | None):
            raise TypeError("an outcome is text")
    if any(type(each) is not int for each in numbers):
        raise TypeError("what is counted is a whole number")
    return number, state


def _read(fd: int, length: int, offset: int) -> bytes:
    pieces = []
    while length > 0:
        piece = os.pread(fd, length, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        offset += done
        view = view[done:]


class Journal:
    """An open journal, locked against a second run.

    Args:
        path: Of the file; it is made when there is none, readable by its owner alone.
        run: What the run is about (root, options), as JSON values; another run's journal is refused.

    Attributes:
        state: What the last run left, empty for a new journal.
        resumed: Whether an earlier run had begun a batch.

    Raises:
        FileExistsError: Something that is no such journal stands at the path; it is left alone.
        ValueError: The journal belongs to another root or other options, which the message names.
        BlockingIOError: Another run holds it.
        OSError: It cannot be opened, read or written.
    """

    def __init__(self, path: str, run: dict[str, Any]) -> None:
        self.path = path
        self.state = State()
        self.resumed = False
        self._number = 0
        self._fd = os.open(path, _FLAGS, 0o600)
        try:
            self._open(run)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let it stand. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def remove(self) -> None:
        """Unlink the journal: the run came to its end. Another file that took its name is left alone."""
        status = os.fstat(self._fd)
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            found = None
        if found is not None and (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
            os.unlink(self.path)
        self.close()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file itself."""
        status = os.fstat(self._fd)
        return status.st_dev, status.st_ino

    def save(self, state: State, *, lasting: bool) -> None:
        """Write a state over the older of the two.

        Args:
            state: Where the run stands now.
            lasting: Whether the call returns only once the device has it. Without, a kill of the process does it no
                harm, and a loss of power may take it.

        Raises:
            OSError: It could not be written.
        """
        begun = [[each.device, each.inode, each.size_bytes, each.outcome] for each in state.begun]
        record = [self._number + 1, state.counts, begun]
        _write(self._fd, _packed(record, _SLOT_BYTES), self._place(self._number + 1))
        if lasting:
            os.fsync(self._fd)
        self._number += 1
        self.state = state

    # ---- opening ----

    def _open(self, run: dict[str, Any]) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileExistsError(errno.EEXIST, "is no journal, and is left alone", self.path)
        # What it says of earlier runs goes into the report.
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            text = "is another user's journal, or others may write to it, and is left alone; give another path"
            raise FileExistsError(errno.EEXIST, text, self.path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(errno.EWOULDBLOCK, "is held by another run", self.path) from None
        found = self._found_header(status.st_size)
        if found is None:
            self._begin(run)
        else:
            self._compare(found, run)
            self._number, self.state = self._latest()
            self.resumed = self._number > 0

    def _found_header(self, size_bytes: int) -> dict[str, Any] | None:
        """The header; None for a file that is new, or whose maker was killed before it had written that."""
        if size_bytes == 0:
            return None
        data = _read(self._fd, _HEADER_BYTES, 0)
        header = _unpacked(data)
        if isinstance(header, dict) and header.get("journal") == _MAGIC:
            return header
        raise FileExistsError(errno.EEXIST, "is no journal of a tree, and is left alone", self.path)

    def _begin(self, run: dict[str, Any]) -> None:
        sync_directory(self.path)  # First: while the file is empty, a next run comes here again.
        _write(self._fd, _packed({"journal": _MAGIC, "run": run}, _HEADER_BYTES), 0)
        os.fsync(self._fd)

    def _compare(self, header: dict[str, Any], run: dict[str, Any]) -> None:
        before = header.get("run")
        now = json.loads(json.dumps(run))
        if before != now:
            keys = sorted(key for key in now if not isinstance(before, dict) or before.get(key) != now[key])
            raise ValueError(
                f"the journal {self.path} belongs to another run ({', '.join(keys) or 'its options'} differ); "
                "give that run's arguments, or another journal"
            )

    def _latest(self) -> tuple[int, State]:
        best: tuple[int, State] = (0, State())
        for number in (1, 2):
            value = _unpacked(_read(self._fd, _SLOT_BYTES, self._place(number)))
            if value is not None:
                try:
                    best = max(best, _state(value), key=lambda found: found[0])
                except (TypeError, ValueError):
                    text = "is a journal with a record of another kind, and is left alone; give another path"
                    raise FileExistsError(errno.EEXIST, text, self.path) from None
        return best

    @staticmethod
    def _place(number: int) -> int:
        return _HEADER_BYTES + (number % 2) * _SLOT_BYTES
