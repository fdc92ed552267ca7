"""The audit log: every change of a line is found, appends are whole or sealed, and heads and checkpoints show cuts."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroizepy.audit import AuditLog, Entry, verify
from zeroizepy.audit.entries import MAX_LINE_BYTES
from zeroizepy.exceptions import AuditError, SecureMemoryClosed
from zeroizepy.file import FreeSpaceReport, ShredReport
from zeroizepy.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = bytes(range(32))
PUBLIC_KEY = SigningKey.from_seed(SEED).public_key


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    """A log with a beginning, four notes and a checkpoint."""
    made = AuditLog(tmp_path / "audit.log")
    for number in range(4):
        made.record("note", {"number": number, "text": "ä\n"})
    made.checkpoint(SigningKey.from_seed(SEED))
    return made


@pytest.fixture
def path(log: AuditLog) -> Path:
    """Where that log is."""
    from pathlib import Path

    return Path(log._path)


def lines(path: Path) -> list[bytes]:
    """The lines of a log, with their ends."""
    return path.read_bytes().splitlines(keepends=True)


# ---- what is written ----


def test_entries(tmp_path: Path) -> None:
    """Reports become entries, counted and chained, in a file that its owner alone can read."""
    made = AuditLog(tmp_path / "audit.log")
    before = os.umask(0)
    try:
        first = made.append(ShredReport(path="caf\udce9", verdict="not_in_place"))
    finally:
        os.umask(before)
    second = made.append(FreeSpaceReport("/srv", "ext4"))
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600
    assert (first.sequence, first.event, first.body["path"]) == (1, "report", {"percent_encoded": "caf%E9"})
    assert (second.sequence, second.previous) == (2, first.hash)
    assert [json.loads(line)["event"] for line in lines(tmp_path / "audit.log")] == ["begin", "report", "report"]
    found = made.verify()
    assert (found.entries, found.head, found.interrupted, found.signed) == (3, second.hash, 0, None)
    assert made.head() == second.hash


@pytest.mark.parametrize("event", ["", "begin", "torn", "checkpoint", "A b", "x" * 41])
def test_event_names(log: AuditLog, path: Path, event: str) -> None:
    """The log's own events and odd names are refused."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match="event must be 1 to 40"):
        log.record(event, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "body", [{"x": "a" * MAX_LINE_BYTES}, {"x": float("nan")}, {"x": b"bytes"}, {"x": {1, 2}}], ids=lambda _: ""
)
def test_bodies_without_a_line(log: AuditLog, path: Path, body: dict[str, Any]) -> None:
    """Too large, or nothing that JSON has: nothing is written."""
    before = path.read_bytes()
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words, or ours.
        log.record("note", body)
    assert path.read_bytes() == before


def test_append_wants_reports(log: AuditLog) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="not dict"):
        log.append({})  # type: ignore[arg-type]


def test_a_closed_key_signs_nothing(log: AuditLog, path: Path) -> None:
    """And leaves the log as it was."""
    before = path.read_bytes()
    key = SigningKey.generate()
    key.wipe()
    with pytest.raises(SecureMemoryClosed):
        log.checkpoint(key)
    assert path.read_bytes() == before


def test_large_entries(log: AuditLog) -> None:
    """The end of the log is found behind an entry much larger than one read."""
    log.record("note", {"x": "a" * 3_000_000})
    assert log.record("note", {}).sequence == 7
    assert log.verify().entries == 8


# ---- what is found ----


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Changed, left out or put in, in any line, the last one and line ends included."""
    text = made_once(tmp_path_factory)
    at, value = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 255))
    kind = data.draw(st.sampled_from(["change", "drop", "insert"]))
    changed = text[:at] + (b"" if kind == "drop" else bytes([value])) + text[at + (kind != "insert") :]
    if changed != text:
        refused(tmp_path_factory, changed)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_moved_line_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Removed (but for the end of the log), swapped, repeated, put elsewhere."""
    whole = made_once(tmp_path_factory).splitlines(keepends=True)
    kind = data.draw(st.sampled_from(["remove", "swap", "repeat"]))
    at, to = data.draw(st.integers(0, len(whole) - 2)), data.draw(st.integers(0, len(whole) - 1))
    changed = list(whole)
    if kind == "remove":
        del changed[at]
    elif kind == "repeat":
        changed.insert(to, changed[at])
    else:
        changed[at], changed[to] = changed[to], changed[at]
    if changed != whole:
        refused(tmp_path_factory, b"".join(changed))


_MADE: list[bytes] = []


def made_once(factory: pytest.TempPathFactory) -> bytes:
    """A log with notes, a torn write that was sealed, and a checkpoint."""
    if not _MADE:
        path = factory.mktemp("audit") / "log"
        log = AuditLog(path)
        for number in range(3):
            log.record("note", {"number": number, "text": "ä"})
        with path.open("ab") as file:
            file.write(b'{"body":{"cut sh')
        log.record("note", {})
        log.checkpoint(SigningKey.from_seed(SEED))
        assert log.verify(public_key=PUBLIC_KEY).interrupted == 1
        _MADE.append(path.read_bytes())
    return _MADE[0]


def refused(factory: pytest.TempPathFactory, content: bytes) -> None:
    """Such a log does not verify, and an append does not mend it."""
    path = factory.getbasetemp() / "changed.log"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AuditError):
        verify(path)


def test_errors_name_the_line(path: Path) -> None:
    """Its number, and what is wrong with it."""
    good = lines(path)

    def fault(changed: list[bytes]) -> str:
        path.write_bytes(b"".join(changed))
        with pytest.raises(AuditError) as caught:
            verify(path)
        return str(caught.value).removeprefix(f"{path}: ")

    assert fault([*good[:2], good[2].replace(b"1", b"7", 1), *good[3:]]).startswith(
        "line 3: is no entry, or was changed"
    )
    other_writing = good[-1].replace(b'":"', b'": "', 1)
    assert fault([*good[:-1], other_writing]).startswith("line 6: is no entry")
    assert fault([*good[:2], *good[3:]]) == "line 3: entry 2 should stand here, not 3"
    assert fault(good[1:]) == "line 1: is not the beginning of an audit log of this version"
    assert fault([*good, good[0]]) == "line 7: entry 6 should stand here, not 0"
    assert fault([*good[:-1], good[-1][:-1]]).startswith(f"line 6: incomplete ({len(good[-1]) - 1} bytes)")
    assert fault([*good, b"\n"]).startswith("line 7: is no entry")
    assert fault([]) == "is empty, and no audit log; the first append makes it one"
    assert fault([b"{}"]).startswith("holds no entry of an audit log; ")  # As an append says, which would seal nothing.
    assert fault([b"some text\n"]).startswith("line 1: is no entry")


def rewritten(entry: dict[str, Any], **changes: Any) -> bytes:
    """A line with other members and a right hash, as an attacker writes it."""
    made = Entry(**{**entry, **changes, "hash": ""})
    from hashlib import sha256

    members = json.loads(made.line())
    members.pop("hash")
    text = json.dumps(members, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return Entry(**members, hash=sha256(text).hexdigest()).line()


def test_a_line_with_a_right_hash_of_its_own(path: Path) -> None:
    """Changing a line together with its hash breaks the chain at the next."""
    good = lines(path)
    good[2] = rewritten(json.loads(good[2]), body={"number": 9})
    path.write_bytes(b"".join(good))
    with pytest.raises(AuditError, match="line 4: does not follow from the entry before it"):
        verify(path)


def test_a_cut_shows_against_a_head(log: AuditLog, path: Path) -> None:
    """Without one it does not: that is what the documentation says."""
    head = log.head()
    log.record("note", {})
    assert log.verify(expected_head=head).expected_at == 5
    path.write_bytes(b"".join(lines(path)[:-3]))
    assert verify(path).entries == 4
    with pytest.raises(AuditError, match=f"no entry with the expected hash {head}"):
        verify(path, expected_head=head)


def test_a_new_log_shows_against_head_and_key(log: AuditLog, path: Path) -> None:
    """A log written anew as a whole has neither the old head nor a checkpoint by the key."""
    head = log.head()
    path.unlink()
    log.record("note", {})
    assert log.verify().entries == 2
    with pytest.raises(AuditError, match="cut or written anew"):
        log.verify(expected_head=head)
    with pytest.raises(AuditError, match="no checkpoint signed by"):
        log.verify(public_key=PUBLIC_KEY)


def test_checkpoints(log: AuditLog, path: Path) -> None:
    """They are found by their key, cover what is before them, and cannot be made up or moved to another log."""
    assert log.verify(public_key=PUBLIC_KEY).signed == 5
    log.record("note", {})
    log.checkpoint(SigningKey.generate())
    assert log.verify(public_key=PUBLIC_KEY).signed == 5
    checkpoint = json.loads(lines(path)[5])
    other = AuditLog(path.with_name("other.log"))
    for _ in range(4):
        last = other.record("note", {})
    with open(other._path, "ab") as file:
        file.write(rewritten(checkpoint, previous=last.hash))
    assert other.verify().entries == 6
    with pytest.raises(AuditError, match="line 6: the checkpoint's signature is not valid"):
        other.verify(public_key=PUBLIC_KEY)


@pytest.mark.parametrize("write", [str.upper, lambda text: f"{text[:2]} {text[2:]}"], ids=["capitals", "space"])
def test_a_signature_in_another_writing(path: Path, write: Callable[[str], str]) -> None:
    """The same bytes otherwise written are not what the key's holder put there."""
    good = lines(path)
    entry = json.loads(good[-1])
    entry["body"]["signature"] = write(entry["body"]["signature"])
    path.write_bytes(b"".join([*good[:-1], rewritten(entry)]))
    with pytest.raises(AuditError, match="line 6: the checkpoint's signature is not valid"):
        verify(path, public_key=PUBLIC_KEY)


@pytest.mark.parametrize("head", ["", "00", "G" * 64, "A" * 64])
def test_heads_that_are_none(log: AuditLog, head: str) -> None:
    """A ValueError, not a log that was cut."""
    with pytest.raises(ValueError, match="expected_head must be 64 hex digits"):
        log.verify(expected_head=head)


# ---- crashes, several writers, full disks ----


@pytest.mark.parametrize("cuts", [[1], [30], [-1], [30, 1], [5, 2], [40, 60, -1]])
def test_interrupted_writes_are_sealed(log: AuditLog, path: Path, cuts: list[int]) -> None:
    """What a crash left is refused by itself, sealed by the next append, and told of; a crash while sealing, too."""
    for cut in cuts:
        size = path.stat().st_size
        log.record("note", {"text": "never reported as written"})
        with path.open("r+b") as file:
            file.truncate(size + cut if cut > 0 else path.stat().st_size + cut)
        with pytest.raises(AuditError):
            log.verify()
    entry = log.record("note", {"text": "after"})
    found = log.verify(public_key=PUBLIC_KEY)
    assert (found.head, found.interrupted >= 1) == (entry.hash, True)


def test_every_crash_point_while_sealing(log: AuditLog, path: Path) -> None:
    """Wherever the sealing write is cut, the next append brings an unbroken log."""
    with path.open("ab") as file:
        file.write(b'{"body":{"half a li')
    before = path.read_bytes()
    log.record("note", {})
    after = path.read_bytes()
    for cut in range(len(before), len(after)):
        path.write_bytes(after[:cut])
        head = log.record("note", {"cut": cut}).hash
        assert log.verify().head == head, cut


def test_damage_is_not_taken_for_a_crash(log: AuditLog, path: Path) -> None:
    """A last line that is whole and wrong stops further appends."""
    text = path.read_bytes()
    path.write_bytes(text[:-3] + b"X" + text[-2:])
    with pytest.raises(AuditError, match="damaged after entry 4"):
        log.record("note", {})
    assert path.stat().st_size == len(text)


WRITER = """
import sys
from zeroizepy.audit import AuditLog
log = AuditLog(sys.argv[1])
for number in range(int(sys.argv[2])):
    entry = log.record("note", {"writer": sys.argv[3], "number": number, "text": "x" * 5000})
    print(entry.hash, flush=True)
"""


def start(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    """A process that appends."""
    command = [sys.executable, "-I", "-c", WRITER, str(path), str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes(tmp_path: Path) -> None:
    """They make the log together and append at once: one chain with every entry of each, in its order."""
    path = tmp_path / "audit.log"
    writers = [start(path, 20, str(number)) for number in range(4)]
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0] * 4
    assert verify(path).entries == 81
    bodies = [json.loads(line)["body"] for line in lines(path)[1:]]
    for name in map(str, range(4)):
        assert [body["number"] for body in bodies if body["writer"] == name] == list(range(20))


def test_killed_while_appending(tmp_path: Path) -> None:
    """kill -9 at any moment: what was reported is there, and the log goes on."""
    path = tmp_path / "audit.log"
    for turn in range(6):
        writer = start(path, 100_000, str(turn))
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip()]
        time.sleep(0.01 * turn)
        writer.send_signal(signal.SIGKILL)
        told += writer.communicate(timeout=60)[0].split()
        head = AuditLog(path).record("note", {}).hash
        assert verify(path).head == head
        hashes = {json.loads(line)["hash"] for line in lines(path) if not line.endswith(b"\x18\n")}
        assert {each for each in told if len(each) == 64} <= hashes


def test_file_size_limit(tmp_path: Path, log: AuditLog, path: Path) -> None:
    """The kernel takes a part of the line and no more: the part is taken back, the error names the file."""
    size = path.stat().st_size
    code = f"""
import resource
from zeroizepy.audit import AuditLog
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 100}, {resource.RLIM_INFINITY}))
try:
    AuditLog({str(path)!r}).record("note", {{"text": "x" * 1000}})
except OSError as error:
    print(error.errno, error.filename)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"{errno.EFBIG} {path}\n"
    assert path.stat().st_size == size
    assert log.verify().entries == 6


@pytest.mark.parametrize("can_take_back", [True, False])
def test_full_disk(log: AuditLog, path: Path, monkeypatch: pytest.MonkeyPatch, can_take_back: bool) -> None:
    """ENOSPC in the middle of a line: taken back, or where the file is append-only, sealed by the next append."""
    before = path.read_bytes()
    real_write, room = os.write, [40]

    def write(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(fd, data[: room.pop()])

    def refuse(_fd: int, _size: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        if not can_take_back:
            patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="No space left") as caught:
            log.record("note", {})
    assert caught.value.filename == str(path)
    assert (path.read_bytes() == before) is can_take_back
    log.record("note", {})
    assert log.verify().interrupted == (0 if can_take_back else 1)


def test_a_failed_flush_is_an_error(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is reported as written that may not last; the chain stays whole."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            log.record("note", {})
    log.record("note", {})
    assert log.verify().entries == 8


# ---- files that are no logs ----

ODD: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "link": (lambda path: path.symlink_to("target"), OSError, "symbolic links"),
    "fifo": (os.mkfifo, AuditError, "not a regular file"),
    "text": (lambda path: path.write_text("text\n") and path.chmod(0o600), AuditError, "no entry of an audit log"),
    "mode": (lambda path: path.touch(0o600) or path.chmod(0o620), AuditError, r"mode 620\); chmod 600"),
    "directory": (lambda path: path.mkdir(), IsADirectoryError, "directory"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files(tmp_path: Path, name: str) -> None:
    """Refused, and left as they are."""
    make, kind, fault = ODD[name]
    path = tmp_path / "audit.log"
    make(path)
    with pytest.raises(kind, match=fault):
        AuditLog(path).record("note", {})
    assert not (tmp_path / "target").exists()
    assert not path.is_file() or path.read_bytes() in (b"", b"text\n")


def test_append_only_attribute(log: AuditLog, path: Path) -> None:
    """With chattr +a, which keeps everybody from changing what is there, appends and sealing go on."""
    if subprocess.run(["chattr", "+a", str(path)], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root and a file system with the append-only attribute")
    try:
        with path.open("ab") as file:
            file.write(b"{half")
        log.record("note", {})
        assert log.verify().interrupted == 1
    finally:
        subprocess.run(["chattr", "-a", str(path)], check=True)


def test_a_log_that_is_moved_away(log: AuditLog, path: Path) -> None:
    """An append goes to the file that has the name."""
    path.rename(path.with_suffix(".old"))
    assert log.record("note", {}).sequence == 1
    assert verify(path.with_suffix(".old")).entries == 6
