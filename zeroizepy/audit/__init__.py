"""An append-only log of what was done, each entry chained to the one before by its SHA-256.

    >>> from zeroizepy.audit import AuditLog
    >>> AuditLog("audit.log").append(report)  # doctest: +SKIP

What the chain shows: an entry that was changed, taken out, put in, repeated or moved. What it does not show by itself:
a file that somebody who may write to it wrote anew as a whole, and entries cut off at the end. Both show against a head
(`AuditLog.head`) that was kept elsewhere; a checkpoint, signed with a key that the writer of the file does not have,
also shows the first, and the second as far as a reader knows of the checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from zeroizepy.durable import sync_directory
from zeroizepy.exceptions import AuditError, SignatureError
from zeroizepy.json_form import JsonForm, to_plain
from zeroizepy.signing import SigningKey, verify_signature_text

from .entries import MAX_LINE_BYTES, TORN_END, Entry, find_last, make_entry, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer

__all__ = ["AuditLog", "AuditSummary", "Entry", "verify"]

SCHEMA = "zeroizepy/audit/1"
DOMAIN = b"zeroizepy audit checkpoint 1\n"
_OWN_EVENTS = ("begin", "checkpoint", "torn")
_FIRST_WINDOW = 1 << 16
_LAST_WINDOW = 4 * MAX_LINE_BYTES
_ATTEMPTS = 100

_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """What `verify` found in an unbroken log.

    Attributes:
        entries: How many there are.
        head: Hash of the last one, in hex: keep it elsewhere to notice later that entries were cut off.
        interrupted: Writes that a crash cut short; their remains are in the file, sealed by an entry, and hold nothing
            that was ever reported as written.
        signed: Sequence number of the last checkpoint by the key that was asked for, which covers all entries before
            it; None without a key.
        expected_at: Sequence number of the entry whose hash was expected; None when none was.
    """

    entries: int
    head: str
    interrupted: int
    signed: int | None
    expected_at: int | None


class AuditLog:
    """A log file, made by the first append with mode 600.

    Any number of threads and processes may append; each append takes the file's lock, is one write, and is flushed to
    the device before it returns. It works on a file with the append-only attribute (`chattr +a`), too.

    Args:
        path: A regular file, on a file system with working locks. A symbolic link is not followed.
    """

    def __init__(self, path: _Path) -> None:
        self._path = os.fsdecode(path)

    def append(self, report: JsonForm) -> Entry:
        """Record a report, whole, as an entry with the event "report"; what it raises, `record` does."""
        if not isinstance(report, JsonForm):
            raise TypeError(f"report must be a report of this library, not {type(report).__name__}")
        return self.record("report", report.to_dict())

    def record(self, event: str, body: Mapping[str, Any]) -> Entry:
        """Record anything that has a JSON form. It must hold no secret: the log is plain text.

        Args:
            event: What happened: 1 to 40 lower-case letters, digits, `_` and `-`, not "begin", "checkpoint" or "torn".
            body: Dictionaries, lists, text, whole and finite numbers, bools, None; together under 4 MiB.

        Returns:
            The entry as it was written.

        Raises:
            ValueError: Another event name, or a body too large or without a JSON form.
            AuditError: The file is no log, is damaged at its end, or may be written by others.
            OSError: It cannot be opened, written or flushed, or a new log's name cannot. After a failed flush the entry
                may be there all the same.
        """
        if not re.fullmatch(r"[a-z0-9_-]{1,40}", event) or event in _OWN_EVENTS:
            raise ValueError(
                f"event must be 1 to 40 of a-z, 0-9, _ and -, and none of {_OWN_EVENTS}, not {event[:60]!r}"
            )
        return self._append(lambda _last: (event, to_plain(dict(body))))

    def checkpoint(self, key: SigningKey) -> Entry:
        """Sign the log as it is: its length, and through the chain all that is in it.

        Raises:
            SecureMemoryClosed: The key is closed.
            AuditError, OSError: As for `record`.
        """
        public_key = key.public_key.hex()

        def sign(last: Entry) -> tuple[str, dict[str, Any]]:
            signature = key.sign(_signed_message(last.sequence + 1, last.hash)).hex()
            return "checkpoint", {"public_key": public_key, "signature": signature}

        return self._append(sign)

    def check_open(self) -> None:
        """Raise what `record` would for the file as it is, before work is done that is to be recorded; writes nothing.

        Raises:
            AuditError, OSError: As for `record`. A missing log is made, empty.
        """
        with self._opened() as fd:
            size = os.fstat(fd).st_size
            if size:
                last, end = self._last_entry(fd, size)
                torn = os.pread(fd, size - end, end)
                if torn:
                    self._seal(last, torn)

    def head(self) -> str:
        """The hash of the last entry, after the whole log was verified; raises what `verify` does."""
        return self.verify().head

    def verify(self, *, expected_head: str | None = None, public_key: Buffer | None = None) -> AuditSummary:
        """The same as `zeroizepy.audit.verify` of this file."""
        return verify(self._path, expected_head=expected_head, public_key=public_key)

    def _append(self, make: Any) -> Entry:
        with self._opened() as fd:
            size = os.fstat(fd).st_size
            written = b""
            if size == 0:
                sync_directory(self._path)  # First: while the log is empty, a next append comes here again.
                last = make_entry(None, "begin", {"schema": SCHEMA, "log": secrets.token_hex(16)})
                written = last.line()
            else:
                last, end = self._last_entry(fd, size)
                torn = os.pread(fd, size - end, end)
                if torn:
                    last = self._seal(last, torn)
                    written = (b"" if torn.endswith(TORN_END) else TORN_END) + last.line()
            entry: Entry = make_entry(last, *make(last))
            self._write(fd, size, written + entry.line())
        return entry

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, locked, under the name that it was opened by."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        for _ in range(_ATTEMPTS):
            fd = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                status = os.fstat(fd)
                _check_file(self._path, status)
                if status.st_mode & 0o022:
                    mode = stat.S_IMODE(status.st_mode)
                    raise AuditError(f"{self._path}: other users may write to it (mode {mode:03o}); chmod 600 it")
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(self._path, follow_symlinks=False), status):
                        yield fd
                        return
            finally:
                os.close(fd)
        raise AuditError(f"{self._path}: the name leads to another file each time it is opened")

    def _last_entry(self, fd: int, size: int) -> tuple[Entry, int]:
        """The last entry, and the offset behind it. What follows it is what a crash left of a write."""
        window = _FIRST_WINDOW
        while True:
            start = max(0, size - window)
            found = find_last(os.pread(fd, size - start, start), is_whole=start == 0)
            if found is not None or start == 0 or window >= _LAST_WINDOW:
                break
            window *= 8
        if found is None:
            raise _no_log(self._path)
        return found[0], start + found[1]

    def _seal(self, last: Entry, torn: bytes) -> Entry:
        """The entry that tells of a torn write. A line that was ended as entries are is no torn write, but damage."""
        if torn.endswith(b"\n") and not torn.endswith(TORN_END):
            raise AuditError(f"{self._path}: damaged after entry {last.sequence}; keep it, and begin another log")
        return make_entry(
            last, "torn", _description(sha256(torn.removesuffix(TORN_END)), len(torn.removesuffix(TORN_END)))
        )

    def _write(self, fd: int, size: int, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(fd, data[done:])
            os.fsync(fd)
        except BaseException as error:
            if done < len(data):
                # Nobody was told of it yet. Where it cannot be taken back, the next append seals it.
                with suppress(OSError):
                    os.ftruncate(fd, size)
            if isinstance(error, OSError):
                error.filename = self._path
            raise


def _description(digest: Any, count: int) -> dict[str, Any]:
    return {"bytes": count, "sha256": digest.hexdigest()}


def _signed_message(sequence: int, previous: str) -> bytes:
    return DOMAIN + f"{sequence} {previous}".encode()


def _no_log(path: str) -> AuditError:
    remedy = "if its very first write was interrupted, nothing was recorded: move it away"
    return AuditError(f"{path}: holds no entry of an audit log; {remedy}")


def _check_file(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AuditError(f"{path}: is not a regular file; give an audit log")


def verify(path: _Path, *, expected_head: str | None = None, public_key: Buffer | None = None) -> AuditSummary:
    """Read a whole log and check every entry; memory does not grow with its length.

    Args:
        path: The log. While it is read, appends wait.
        expected_head: The head at some earlier time, kept elsewhere: 64 hex digits. The log must still hold that entry.
        public_key: 32 bytes, from a source that you trust. There must be a checkpoint that this key signed.

    Raises:
        AuditError: A line was changed, taken out, put in, repeated, moved or cut; an incomplete line at the end; no
            entry with the expected hash; no valid checkpoint. The message names the line.
        ValueError: `expected_head` is no hash, or `public_key` is not 32 bytes.
        OSError: It cannot be read.

    Does not show, without `expected_head` and `public_key`: a file that was written anew as a whole, and entries that
    were cut off at its end. With them: whatever happened after that head and the last checkpoint.
    """
    name = os.fsdecode(path)
    if expected_head is not None and not re.fullmatch(r"[0-9a-f]{64}", expected_head):
        raise ValueError(f"expected_head must be 64 hex digits in lower case, not {expected_head[:80]!r}")
    reader = _Reader(name, expected_head, None if public_key is None else bytes(memoryview(public_key)))
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        _check_file(name, os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_SH)
        with open(fd, "rb", closefd=False) as file:
            while line := file.readline(_LAST_WINDOW):
                reader.take(line)
        return reader.summary()
    finally:
        os.close(fd)


class _Reader:
    """Takes one line after the other."""

    def __init__(self, path: str, expected_head: str | None, public_key: bytes | None) -> None:
        self._path = path
        self._expected_head = expected_head
        self._public_key = public_key
        self._line = 0
        self._last: Entry | None = None
        self._torn = b""
        self._torn_line = 0
        self._interrupted = 0
        self._signed: int | None = None
        self._expected_at: int | None = None

    def _fail(self, fault: str, line: int | None = None) -> AuditError:
        return AuditError(f"{self._path}: line {self._line if line is None else line}: {fault}")

    def take(self, line: bytes) -> None:
        """Check one line, or set it aside until the entry that should explain it."""
        self._line += 1
        if not line.endswith(b"\n"):
            fault = f"incomplete ({len(line)} bytes): a write was interrupted, or the log was cut"
            if self._last is None:
                raise _no_log(self._path)
            raise self._fail(f"{fault}; the next append seals what is there")
        entry = parse_line(line[:-1])
        if entry is None:
            self._torn_line = self._torn_line or self._line
            self._torn += line
            if self._last is None or len(self._torn) > _LAST_WINDOW:
                raise self._damaged()
            return
        self._check_torn(entry)
        self._check_link(entry)
        if entry.event == "checkpoint" and self._public_key is not None:
            self._check_signature(entry, self._public_key)
        if entry.hash == self._expected_head:
            self._expected_at = entry.sequence
        self._last = entry

    def _damaged(self) -> AuditError:
        return self._fail("is no entry, or was changed: its hash does not match", self._torn_line)

    def _check_torn(self, entry: Entry) -> None:
        """Lines that are no entries are remains of torn writes, and told of by the entry behind them; else damage."""
        torn, self._torn = self._torn, b""
        if entry.event == "torn":
            rest = torn.removesuffix(TORN_END)
            if not torn.endswith(TORN_END) or entry.body != _description(sha256(rest), len(rest)):
                raise self._damaged() if torn else self._fail("tells of an interrupted write that is not there")
            self._interrupted += 1
        elif torn:
            raise self._damaged()
        self._torn_line = 0

    def _check_link(self, entry: Entry) -> None:
        last = self._last
        if last is None:
            if entry.sequence != 0 or entry.event != "begin" or entry.body.get("schema") != SCHEMA:
                raise self._fail("is not the beginning of an audit log of this version")
        elif entry.sequence != last.sequence + 1:
            raise self._fail(f"entry {last.sequence + 1} should stand here, not {entry.sequence}")
        elif entry.event == "begin":
            raise self._fail("another log begins here")
        if entry.previous != ("0" * 64 if last is None else last.hash):
            raise self._fail("does not follow from the entry before it")

    def _check_signature(self, entry: Entry, public_key: bytes) -> None:
        if entry.body.get("public_key") != public_key.hex():
            return  # Another key's says nothing to this reader.
        try:
            text = str(entry.body.get("signature"))
            verify_signature_text(public_key, _signed_message(entry.sequence, entry.previous), text)
        except SignatureError:
            raise self._fail("the checkpoint's signature is not valid") from None
        self._signed = entry.sequence

    def summary(self) -> AuditSummary:
        """What was found, when the last line was taken."""
        if self._torn:
            raise self._damaged()
        if self._last is None:
            raise AuditError(f"{self._path}: is empty, and no audit log; the first append makes it one")
        if self._expected_head is not None and self._expected_at is None:
            raise AuditError(
                f"{self._path}: has no entry with the expected hash {self._expected_head}; it was cut or written anew"
            )
        if self._public_key is not None and self._signed is None:
            raise AuditError(
                f"{self._path}: has no checkpoint signed by {self._public_key.hex()}; was it cut, or is it another log?"
            )
        return AuditSummary(
            self._last.sequence + 1, self._last.hash, self._interrupted, self._signed, self._expected_at
        )
