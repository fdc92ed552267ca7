"""The journal of a session: what a killed one left behind is written down before it exists.

One file for each session that makes files, in a directory of the user's own. It is only ever appended to, one record a
line, each with a checksum, so that the line that a power cut broke off is recognised. While the session lives, its
process holds a lock on the file; the kernel drops that lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from zeroizepy import _lib

from .removal import FOLDER_FLAGS, Identity

__all__ = ["Entry", "Journal", "Record", "StateError", "boot_id", "is_journal", "is_own", "open_state", "parse"]

_VARIABLE = "ZEROIZEPY_STATE_DIR"
_SUFFIX = ".journal"
_VERSION = 1
_CHECKSUM_DIGITS = 8
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class StateError(OSError):
    """The directory of the journals cannot be had, or others could write to it."""


def _home() -> str:
    """The home directory of the user that this process runs as.

    HOME is somebody else's under `sudo`, and what root makes there its owner could no longer use.
    """
    home = os.path.expanduser("~")
    try:
        if os.stat(home).st_uid == os.geteuid():
            return home
    except OSError:
        pass
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return home


def state_directory() -> str:
    """Where the journals are, whether it exists or not: ZEROIZEPY_STATE_DIR, else below XDG_STATE_HOME or the home.

    Raises:
        ValueError: ZEROIZEPY_STATE_DIR is a relative path, which would be another directory for each working folder.
    """
    own = os.environ.get(_VARIABLE, "")
    if own and not os.path.isabs(own):
        raise ValueError(f"{_VARIABLE} must be an absolute path, not {own!r}; give the whole path, or unset it")
    if own:
        return os.path.normpath(own)
    base = os.environ.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    return os.path.join(base if os.path.isabs(base) else os.path.join(_home(), ".local", "state"), "zeroizepy")


def open_state(path: str) -> int:
    """Open the directory of the journals, if it is there and nobody else can write to it.

    Raises:
        FileNotFoundError: It does not exist.
        StateError: It belongs to another user, or is open to others, or is no directory.
    """
    try:
        fd = os.open(path, FOLDER_FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(error.errno, f"cannot be opened: {error.strerror}", path) from error
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(fd)
        raise StateError(None, f"{path} must belong to the user and have mode 0700; set {_VARIABLE} to one that does")
    return fd


def is_journal(name: str) -> bool:
    """Whether a name in the directory is a journal's."""
    return name.endswith(_SUFFIX)


def boot_id() -> str | None:
    """What tells one run of the kernel from the next; None off Linux."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


# ---- writing ----


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode("ascii")
    return b"%0*x %s\n" % (_CHECKSUM_DIGITS, zlib.crc32(text), text)


class Journal:
    """An open journal, locked for as long as this process lives.

    Attributes:
        path: Of the file.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._entries = 0
        _open[path] = self

    @classmethod
    def create(cls) -> Journal:
        """Make a journal, with the directory where that is missing.

        Raises:
            OSError: Something refused; StateError when the directory is not the user's alone.
        """
        place = state_directory()
        if not os.path.isabs(place):
            raise StateError(None, "no home directory is known")
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
        state = open_state(place)
        try:
            while True:
                journal = cls._try_create(place, state)
                if journal is not None:
                    break
            try:
                head = {"session": _VERSION, "pid": os.getpid(), "boot": boot_id(), "started": time.time()}
                journal._append(head, flush=False)  # The first entry brings it along.
                os.fsync(state)
            except BaseException:
                journal.remove()
                raise
        finally:
            os.close(state)
        return journal

    @classmethod
    def _try_create(cls, place: str, state: int) -> Journal | None:
        """Create and lock one; None when somebody who looks for dead sessions took the new file for one."""
        name = f"{os.urandom(12).hex()}{_SUFFIX}"
        fd = os.open(name, _FLAGS, 0o600, dir_fd=state)
        journal = cls(os.path.join(place, name), fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink == 1:
                return journal
        except BaseException:
            journal.remove()
            raise
        journal.remove()
        return None

    def intend(self, kind: str, path: str, folder: Identity) -> int:
        """Write down what is about to be made, and force that to the device. Returns the entry's number.

        Args:
            kind: "directory" or "file".
            path: Absolute.
            folder: The directory that it is to stand in.

        Raises:
            OSError: The journal cannot be written; it takes no more.
        """
        self._entries += 1
        self._append({"intent": self._entries, "kind": kind, "path": path, "folder": folder})
        return self._entries

    def made(self, entry: int, status: os.stat_result) -> None:
        """Write down which file it became."""
        self._append({"made": entry, "identity": Identity.of(status)})

    def _append(self, record: dict[str, Any], *, flush: bool = True) -> None:
        line = _line(record)
        if os.write(self._fd, line) != len(line):
            raise OSError(None, "the record was cut off", self.path)
        if flush:
            os.fsync(self._fd)

    def remove(self) -> None:
        """Give the file up: nothing is left of what it tells."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self.leave()

    def leave(self) -> None:
        """Close it and let the file stand, for others to find and to carry on."""
        _open.pop(self.path, None)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


_open: dict[str, Journal] = {}
"""The journals of this process by path."""


def is_own(path: str) -> bool:
    """Whether a journal is of a session of this process."""
    return path in _open


def _leave_all() -> None:
    """In a forked child: a descriptor that it kept would hold the lock after the parent's death."""
    for journal in list(_open.values()):
        journal.leave()


os.register_at_fork(after_in_child=_leave_all)

_told: list[bool] = []


def tell(error: OSError) -> None:
    """Warn once that what is made is not written down."""
    if _told:
        return
    _told.append(True)
    warnings.warn(
        f"no journal can be kept in {state_directory()} ({error.strerror or error}): the files of a session that is "
        f"killed stay where they are; set {_VARIABLE} to a directory that this user can make or alone can enter",
        UserWarning,
        stacklevel=_lib.stack_level(),
    )


# ---- reading ----


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a session made, or was about to make.

    Attributes:
        kind: "directory" or "file".
        path: Where.
        folder: The directory that it stands in.
        identity: Which file it is; None when the session did not come to know, and so gave it to nobody either.
    """

    kind: str
    path: str
    folder: Identity
    identity: Identity | None


@dataclass(frozen=True, slots=True)
class Record:
    """What a journal tells.

    Attributes:
        pid, boot, started: The process, the run of the kernel, and seconds since 1970; None when not told.
        entries: In the order of making.
        damaged: How many lines are not what was written, the last one aside, which may be broken off.
    """

    pid: int | None
    boot: str | None
    started: float | None
    entries: tuple[Entry, ...]
    damaged: int


def _parse_line(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if len(checksum) != _CHECKSUM_DIGITS or checksum != b"%0*x" % (_CHECKSUM_DIGITS, zlib.crc32(text)):
        return None
    try:
        record = json.loads(text)
    except RecursionError:
        raise ValueError("it has a record that is nested too deeply") from None
    return record if isinstance(record, dict) else None


def _checked_identity(value: Any) -> Identity:
    if not isinstance(value, list) or [type(each) for each in value] != [int, int]:
        raise TypeError("a file is told by two numbers")
    return Identity(*value)


def _checked_entry(intent: dict[str, Any], identity: Identity | None) -> Entry:
    kind, path = intent["kind"], intent["path"]
    if kind not in ("directory", "file"):
        raise TypeError("kind must be directory or file")
    # A relative path would lead elsewhere from each directory that a recovery is run in.
    if not isinstance(path, str) or not os.path.isabs(path) or b"\0" in os.fsencode(path):
        raise TypeError("path must be absolute")
    return Entry(kind, path, _checked_identity(intent["folder"]), identity)


def parse(data: bytes) -> Record:
    """Read a journal. A line counts when its checksum is right.

    The last line may be broken off; what it was to announce was then not made yet.

    Raises:
        ValueError: Lines that are whole and are not what this version writes.
    """
    lines = data.split(b"\n")
    records = [_parse_line(line) for line in lines[:-1]]
    head: dict[str, Any] = {}
    intents: dict[int, dict[str, Any]] = {}
    identities: dict[int, Identity] = {}
    try:
        for record in filter(None, records):
            if "session" in record:
                head = record
            elif "intent" in record:
                intents[record["intent"]] = record
            elif "made" in record:
                identities[record["made"]] = _checked_identity(record["identity"])
        entries = tuple(_checked_entry(each, identities.get(number)) for number, each in intents.items())
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has a record that is not complete: {error}") from error
    if head and head["session"] != _VERSION:
        raise ValueError(f"its version is {head['session']}, and only {_VERSION} is known here")
    return Record(head.get("pid"), head.get("boot"), head.get("started"), entries, records.count(None))


def trusted(status: os.stat_result) -> bool:
    """Whether a journal is a file of this user alone, under one name."""
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o077
        and status.st_nlink == 1
    )
