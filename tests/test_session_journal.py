"""What a killed session left is found by its journal and shredded, and nothing else is touched."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import stat
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from support.sessions import SECRET, Place

from zeroizepy.session import SecureSession, recover
from zeroizepy.sessions import journal, recovery

if TYPE_CHECKING:
    from pathlib import Path

KILLS = {
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "os._exit": ("os._exit(3)", 3),
    "SIGSEGV": ("import faulthandler; faulthandler._sigsegv()", -signal.SIGSEGV),
    "abort": ("os.abort()", -signal.SIGABRT),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Folders that both this process and its programs use, and no memory of earlier tests' failures."""
    import tempfile

    place = Place(tmp_path)
    monkeypatch.setenv("ZEROIZEPY_STATE_DIR", str(place.state))
    monkeypatch.setattr(tempfile, "tempdir", str(place.temporary))
    monkeypatch.setattr(recovery, "_given_up", set())
    monkeypatch.setattr(journal, "_told", [])
    return place


def kill_one(place: Place, how: str = "SIGKILL", **more: str) -> Path:
    """Have a session killed that holds one file. Returns the file's path."""
    code, status = KILLS[how]
    ended, lines, _ = place.run(code, **more)
    assert ended == status
    return place.root / lines[0]


# ---- what a kill leaves, and who gets rid of it ----


@pytest.mark.parametrize("how", KILLS)
@pytest.mark.parametrize("where", ["private", "chosen"])
def test_recover_shreds_what_a_kill_left(place: Place, how: str, where: str) -> None:
    """The file is there after the kill (the control), and gone after recover, overwritten three times."""
    path = kill_one(place, how, **({"PLACE": str(place.other)} if where == "chosen" else {}))
    assert path.read_bytes() == SECRET
    report = recover()
    assert report.complete
    assert [(item.outcome, item.kind) for session in report.sessions for item in session.items] == [
        ("removed", "directory" if where == "private" else "file")
    ]
    assert [(len(done.passes), done.full_passes) for done in report.reports] == [(3, 3)]
    assert place.left() == ["T", "other", "state"]
    assert place.journals == []


def test_the_next_session_recovers(place: Place) -> None:
    """Opening a session is enough, also in another process, and it says nothing."""
    kill_one(place)
    status, _, err = place.run("SecureSession().close()", prelude="")
    assert (status, err) == (0, "")
    assert place.left() == ["T", "other", "state"]
    assert place.journals == []


def test_a_session_that_ends_leaves_no_journal(place: Place) -> None:
    """There is one while files exist, none before and none after."""
    with SecureSession() as session:
        session.create_secret(b"x")
        assert place.journals == []
        session.create_temp_file()
        session.create_temp_file(dir=place.other)
        assert len(place.journals) == 1
    assert place.journals == []


def test_a_living_session_is_left_alone(place: Place) -> None:
    """Neither its own process nor another one takes it for dead."""
    with SecureSession() as session:
        path = session.create_temp_file()
        path.write_bytes(SECRET)
        assert (recover().live, recover().sessions) == (1, ())
        status, lines, _ = place.run(
            "from zeroizepy.session import recover; r = recover(); ready(r.live, len(r.sessions))", prelude=""
        )
        assert (status, lines) == (0, ["1 0"])
        assert path.read_bytes() == SECRET


def test_a_forked_child_does_not_keep_it_alive(place: Place) -> None:
    """While a child lives that was forked in the session, the killed parent counts as dead."""
    process = place.start(
        """
        if os.fork() == 0:
            ready("child", os.getpid())
            sys.stdin.read()
            os._exit(0)
        time.sleep(60)
        """
    )
    assert process.stdin is not None
    assert process.stdout is not None
    path = process.stdout.readline().strip()
    assert process.stdout.readline().startswith("child")
    process.kill()
    process.wait(60)
    try:
        assert os.path.exists(path)
        assert recover().complete
        assert not os.path.exists(path)
    finally:
        process.stdin.close()
        assert process.stdout.read() == ""  # The child has ended.
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()


def test_a_child_that_ends_leaves_the_parents_journal(place: Place) -> None:
    """A forked child closes, ends, and opens sessions of its own; the parent's is recorded as before."""
    status, lines, _ = place.run(
        """
        from zeroizepy.session import recover
        if os.fork() == 0:
            report = recover()
            ready(report.live, len(report.sessions))
            session.close()
            with SecureSession() as own:
                own.create_temp_file()
            sys.exit(0)
        os.wait()
        ready(path.exists())
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert (status, lines[1:]) == (-signal.SIGKILL, ["1 0", "True"])
    assert len(place.journals) == 1
    assert recover().complete
    assert place.left() == ["T", "other", "state"]


def test_all_that_programs_left_in_the_private_directory_goes(place: Place) -> None:
    """Copies in folders are shredded; links are not followed."""
    bystander = place.other / "bystander"
    bystander.write_bytes(b"bystander")
    path = kill_one(place)
    (path.parent / "sub").mkdir()
    (path.parent / "sub/copy").write_bytes(SECRET)
    (path.parent / "link").symlink_to(place.other)
    assert recover().complete
    assert place.left() == ["T", "other", "other/bystander", "state"]
    assert bystander.read_bytes() == b"bystander"


def test_a_dry_run_touches_nothing(place: Place) -> None:
    """It tells the path, and the next run finds all as it was."""
    path = kill_one(place)
    report = recover(dry_run=True)
    assert [item.outcome for session in report.sessions for item in session.items] == ["would_remove"]
    assert not report.complete
    assert path.read_bytes() == SECRET
    assert recover().complete
    assert not path.exists()


def test_files_that_are_gone_already_are_done(place: Place) -> None:
    """What the user removed is missing, which is fine, and the journal goes."""
    path = kill_one(place, PLACE=str(place.other))
    path.unlink()
    report = recover()
    assert [item.outcome for session in report.sessions for item in session.items] == ["missing"]
    assert report.complete
    assert place.journals == []


# ---- bystanders ----


def test_a_file_that_took_the_path_is_left_alone(place: Place) -> None:
    """Another inode under the recorded name keeps its content; the journal stays until it is to be forgotten."""
    path = kill_one(place, PLACE=str(place.other))
    newer = path.with_name("newer")
    newer.write_bytes(b"bystander")
    newer.replace(path)
    for _ in range(2):
        report = recover()
        assert [item.outcome for session in report.sessions for item in session.items] == ["replaced"]
        assert not report.complete
        assert (path.read_bytes(), len(place.journals)) == (b"bystander", 1)
    recover(forget=True)
    assert (path.read_bytes(), place.journals) == (b"bystander", [])


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_link_that_took_the_path_is_left_alone(place: Place, target: str) -> None:
    """A symbolic link in the place of the file or of the private directory leads nowhere, and stays."""
    victim = place.other / "victim"
    victim.mkdir()
    (victim / "bystander").write_bytes(b"bystander")
    path = kill_one(place, **({"PLACE": str(place.other)} if target == "file" else {}))
    if target == "file":
        path.unlink()
        path.symlink_to(victim / "bystander")
    else:
        path.unlink()
        path.parent.rmdir()
        path.parent.symlink_to(victim)
    report = recover()
    assert [item.outcome for session in report.sessions for item in session.items] == ["replaced"]
    assert (victim / "bystander").read_bytes() == b"bystander"


def test_a_directory_that_took_the_path_is_left_alone(place: Place) -> None:
    """Another directory under the private one's name keeps its files."""
    path = kill_one(place)
    path.parent.rename(place.other / "moved")
    path.parent.mkdir(mode=0o700)
    (path.parent / "bystander").write_bytes(b"bystander")
    report = recover()
    assert [item.outcome for session in report.sessions for item in session.items] == ["replaced"]
    assert (path.parent / "bystander").read_bytes() == b"bystander"


def test_a_swap_between_the_look_and_the_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is exchanged right after it was looked at is found out once it is open."""
    path = kill_one(place)
    lstat, swapped = os.lstat, []

    def look_and_swap(name: str) -> os.stat_result:
        status = lstat(name)
        if name == str(path.parent) and not swapped:
            swapped.append(name)
            path.parent.rename(place.other / "moved")
            path.parent.mkdir(mode=0o700)
            (path.parent / "bystander").write_bytes(b"bystander")
        return status

    monkeypatch.setattr(recovery.os, "lstat", look_and_swap)
    report = recover()
    assert swapped
    assert [item.outcome for session in report.sessions for item in session.items] == ["replaced"]
    assert (path.parent / "bystander").read_bytes() == b"bystander"


def test_a_missing_folder_is_not_taken_for_done(place: Place) -> None:
    """While the directory that a file was made in is away, as on another volume, the journal waits for it."""
    path = kill_one(place, PLACE=str(place.other))
    place.other.rename(place.root / "unmounted")
    report = recover()
    assert [item.outcome for session in report.sessions for item in session.items] == ["unreachable"]
    SecureSession().close()  # Which is quiet about it: a warning would be an error here.
    (place.root / "unmounted").rename(place.other)
    assert recover().complete
    assert not path.exists()


def test_what_cannot_go_is_told_once_and_kept(place: Place) -> None:
    """A hard link: the next session warns and works, the one after is silent, and recover tries again."""
    path = kill_one(place)
    os.link(path, place.other / "link")
    with pytest.warns(UserWarning, match="left something behind.*hard links") as told:
        SecureSession().close()
    assert told[0].filename == __file__
    SecureSession().close()
    assert (path.read_bytes(), len(place.journals)) == (SECRET, 1)
    assert not recover().complete
    (place.other / "link").unlink()
    assert recover().complete
    assert place.journals == []


# ---- the journal itself ----


def lines_of(place: Place) -> list[dict[str, object]]:
    """The records of the only journal."""
    return [json.loads(line.partition(b" ")[2]) for line in place.journals[0].read_bytes().splitlines()]


def test_it_is_written_before_the_file_exists(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each moment in which something is made at a path, that path stands in the journal, flushed."""
    seen = []
    flushed: list[int] = []
    make, opened, flush = os.mkdir, os.open, os.fsync

    def recorded(path: object) -> bool:
        assert flushed[-1] == place.journals[0].stat().st_size
        return any(record.get("path") == str(path) for record in lines_of(place))

    def look_and_make(path: str, mode: int = 0o777) -> None:
        if str(path).startswith(str(place.temporary)):
            seen.append(recorded(path))
        make(path, mode)

    def look_and_open(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        if str(path).startswith(str(place.other)) and flags & os.O_CREAT:
            seen.append(recorded(path))
        return opened(path, flags, mode, **more)

    def note_and_flush(fd: int) -> None:
        flush(fd)
        flushed.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "mkdir", look_and_make)
    monkeypatch.setattr(os, "open", look_and_open)
    monkeypatch.setattr(os, "fsync", note_and_flush)
    with SecureSession() as session:
        session.create_temp_file()
        session.create_temp_file(dir=place.other)
        assert seen == [True, True]


def test_a_kill_at_each_step(place: Place) -> None:
    """Killed before any step on a file, from the first to the last: after recover no byte and no folder is left.

    Between the renaming and the unlinking of a file in a chosen folder, it is empty and nobody knows its name.
    """
    code = """
    import tempfile
    tempfile.gettempdir()  # Which tries the folder, by a file that is not ours.
    steps = int(os.environ["STEPS"])
    def hook(event, arguments):
        global steps
        if event in ("open", "os.mkdir", "os.listdir", "os.remove", "os.rename", "os.rmdir", "fcntl.flock"):
            steps -= 1
            if steps < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    session = SecureSession()
    sys.addaudithook(hook)
    with session:
        session.create_temp_file().write_bytes(SECRET)
        session.create_temp_file(dir=os.environ["PLACE"]).write_bytes(SECRET)
    os.kill(os.getpid(), signal.SIGTERM)
    """
    place.state.mkdir(mode=0o700)
    for steps in range(60):
        status, _, err = place.run(code, prelude="", STEPS=str(steps), PLACE=str(place.other))
        assert (status in (-signal.SIGKILL, -signal.SIGTERM), err) == (True, "")
        report = recover()
        assert report.complete, str(report)
        stray = [name for name in place.left() if name.startswith("other/")]
        assert [os.path.getsize(place.root / name) for name in stray] == [0] * len(stray), steps
        for name in stray:
            (place.root / name).unlink()
        assert place.left() == ["T", "other", "state"], steps
        if status == -signal.SIGTERM:
            break
    else:
        pytest.fail("the program never came to its end")
    assert steps > 10


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_tail_is_recognised(place: Place, cut: int) -> None:
    """Whatever part of the last record a power cut took, the records before it hold and the file goes."""
    path = kill_one(place)
    whole = place.journals[0].read_bytes()
    torn = whole + whole.splitlines()[1][:cut]
    place.journals[0].write_bytes(torn)
    assert recover().complete
    assert not path.exists()


def test_an_unidentified_file_goes_only_when_empty(place: Place) -> None:
    """Without its identity record, the file was never given out: an empty one goes, one with content stays."""
    path = kill_one(place, PLACE=str(place.other))
    whole = place.journals[0].read_bytes().splitlines(keepends=True)
    assert b"made" in whole[-1]
    place.journals[0].write_bytes(b"".join(whole[:-1]))
    assert not recover().complete
    assert path.read_bytes() == SECRET
    os.truncate(path, 0)
    assert recover().complete
    assert not path.exists()


def test_a_damaged_record_is_told(place: Place) -> None:
    """A line with a wrong checksum counts for nothing, the others do their work, and the journal stays."""
    path = kill_one(place)
    place.journals[0].write_bytes(place.journals[0].read_bytes() + b"00000000 {}\n")
    report = recover()
    assert [session.error for session in report.sessions] == ["1 of its lines are damaged; what they told is not known"]
    assert not path.exists()
    assert len(place.journals) == 1
    recover(forget=True)
    assert place.journals == []


@pytest.mark.parametrize("record", [{"session": 2}, {"intent": 1}, {"made": 1, "identity": 3}, [1]])
def test_foreign_records_are_no_crash(place: Place, record: object) -> None:
    """Lines with a right checksum and another content are told, or passed over, and never acted on."""
    path = kill_one(place)
    text = json.dumps(record).encode()
    place.journals[0].write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    report = recover()
    assert all(session.items == () for session in report.sessions)
    assert path.read_bytes() == SECRET


@pytest.mark.parametrize(
    "intent",
    [
        {"path": 5},
        {"path": "/a\0b"},
        {"path": "/\ud800"},
        {"path": "bystander"},
        {"kind": "socket"},
        {"folder": [1]},
        {"folder": ["1", "2"]},
        {"nested": "[" * 100_000},
    ],
    ids=lambda intent: f"{next(iter(intent))} {str(*intent.values())[:9]!a}",
)
def test_records_of_another_kind_stop_neither_recovery_nor_session(
    place: Place, intent: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What no session wrote is told, a new session begins all the same, and no bystander is touched."""
    kill_one(place)
    monkeypatch.chdir(tmp_path)
    bystander = tmp_path / "bystander"
    bystander.write_bytes(b"bystander")
    folder, status = tmp_path.stat(), bystander.stat()
    record = {"intent": 1, "kind": "file", "path": str(bystander), "folder": [folder.st_dev, folder.st_ino], **intent}
    records = [{"session": 1}, record, {"made": 1, "identity": [status.st_dev, status.st_ino]}]
    texts = [intent["nested"].encode() if "nested" in each else json.dumps(each).encode() for each in records]
    place.journals[0].write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts))
    assert [session.error is None for session in recover().sessions] == [False]
    with pytest.warns(UserWarning, match="left something behind"), SecureSession() as session:
        session.create_temp_file()
    assert bystander.read_bytes() == b"bystander"


def test_after_a_reboot_the_inode_decides(place: Place) -> None:
    """Device numbers are given out anew at each boot: with another boot's record a right inode is enough."""
    for boot, expected in (("another", True), (journal.boot_id(), False)):
        path = kill_one(place, PLACE=str(place.other))
        lines = place.journals[0].read_bytes().splitlines()
        records = [json.loads(line.partition(b" ")[2]) for line in lines]
        records[0]["boot"] = boot
        records[2]["identity"][0] += 1
        place.journals[0].write_bytes(b"".join(map(journal._line, records)))
        assert recover(forget=True).complete is expected
        assert path.exists() is not expected


# ---- trust ----


def test_journals_and_directory_are_the_owners_alone(place: Place) -> None:
    """Mode 0600 in 0700, whatever the umask."""
    before = os.umask(0)
    try:
        with SecureSession() as session:
            session.create_temp_file()
            assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
            assert stat.S_IMODE(place.journals[0].stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("how", ["mode", "link", "symlink", "fifo"])
def test_journals_that_others_could_have_written_are_not_read(place: Place, how: str) -> None:
    """One that others may write to, that has two names, or that is no file, has nothing done for it."""
    path = kill_one(place)
    record = place.journals[0]
    if how == "mode":
        record.chmod(0o620)
    elif how == "link":
        os.link(record, place.other / "second")
    else:
        record.rename(place.other / "moved")
        if how == "symlink":
            record.symlink_to(place.other / "moved")
        else:
            os.mkfifo(record)
    report = recover()
    assert [session.items for session in report.sessions] == [()]
    assert not report.complete
    assert path.read_bytes() == SECRET


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file to another user")
@pytest.mark.parametrize("what", ["journal", "directory", "file"])
def test_other_users_are_not_trusted(place: Place, what: str) -> None:
    """Neither a journal nor a directory of theirs is believed, and no file of theirs is touched."""
    path = kill_one(place, PLACE=str(place.other))
    os.chown({"journal": place.journals[0], "directory": place.state, "file": path}[what], 65534, 65534)
    assert not recover().complete
    assert path.read_bytes() == SECRET


def test_a_directory_that_others_can_enter_is_not_used(place: Place) -> None:
    """Sessions work without a journal and say so once for the process."""
    place.state.mkdir(mode=0o755)
    place.state.chmod(0o755)
    with SecureSession() as session:
        with pytest.warns(UserWarning, match=r"no journal can be kept in .*mode 0700.*ZEROIZEPY_STATE_DIR") as told:
            path = session.create_temp_file()
        assert told[0].filename == __file__
        session.create_temp_file(dir=place.other)
    with SecureSession() as session:
        session.create_temp_file()
    assert not path.exists()
    assert place.left() == ["T", "other", "state"]


@pytest.mark.parametrize("failing", ["create", "intend", "made"])
def test_a_journal_that_fails_later_does_not_fail_the_session(
    place: Place, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A full disk at any record: one warning, and the files are gone at the end all the same."""

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.Journal, failing, refuse)
    with SecureSession() as session:
        with pytest.warns(UserWarning, match="No space left on device"):
            session.create_temp_file(dir=place.other)
        session.create_temp_file()
    assert set(place.left()) <= {"T", "other", "state"}
    assert place.journals == []


def test_a_recovery_that_is_faster_does_not_take_a_new_journal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is taken for a dead one between its making and its locking is made again."""
    lock, stolen = fcntl.flock, []

    def steal(fd: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not stolen:
            stolen.append(place.journals[0])
            place.journals[0].unlink()
        lock(fd, operation)

    monkeypatch.setattr(journal.fcntl, "flock", steal)
    with SecureSession() as session:
        session.create_temp_file()
        assert stolen
        assert len(place.journals) == 1
        assert len(lines_of(place)) == 3


def test_where_journals_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable, then XDG_STATE_HOME if it is absolute, then the home of the user that runs this."""
    monkeypatch.setenv("ZEROIZEPY_STATE_DIR", str(tmp_path / "own"))
    assert journal.state_directory() == str(tmp_path / "own")
    monkeypatch.setenv("ZEROIZEPY_STATE_DIR", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert journal.state_directory() == str(tmp_path / "xdg/zeroizepy")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert journal.state_directory() == str(tmp_path / ".local/state/zeroizepy")


@pytest.mark.parametrize("value", ["state", "./state", "../state", "~/state"])
def test_a_relative_directory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    """It would be another one in each working folder: fault, value and remedy, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEROIZEPY_STATE_DIR", value)
    text = f"ZEROIZEPY_STATE_DIR must be an absolute path, not '{value}'; give the whole path"
    with pytest.raises(ValueError, match=re.escape(text)):
        recover()
    with pytest.raises(ValueError, match=re.escape(text)), SecureSession() as session:
        session.create_temp_file(dir=tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kept", ["file", "tree"])
def test_failures_name_what_is_in_the_way_once(place: Place, tmp_path: Path, kept: str) -> None:
    """A file by itself has no path in its error, and one in a directory has its path from there."""
    path = kill_one(place, **({"PLACE": str(place.other)} if kept == "file" else {}))
    os.link(path, tmp_path / "link")
    (item,) = recover().sessions[0].items
    assert item.outcome == "failed"
    prefix = "" if kept == "file" else f"{path.name}: "
    assert [each.partition(";")[0] for each in item.errors] == [f"{prefix}has 2 names (hard links)"]
    assert str(item).count(item.path) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a home of another user")
def test_a_home_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under sudo, root makes nothing in the home that HOME still names."""
    os.chown(tmp_path, 65534, 65534)
    for name, value in (("ZEROIZEPY_STATE_DIR", ""), ("XDG_STATE_HOME", ""), ("HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
    assert not journal.state_directory().startswith(str(tmp_path))


@pytest.mark.usefixtures("no_descriptor_stays")
def test_no_descriptor_is_left_open(place: Place) -> None:
    """Neither by recovering nor by what it could not do."""
    path = kill_one(place)
    os.link(path, place.other / "link")
    recover()
    (place.other / "link").unlink()
    recover()


def test_the_report_as_text_and_dictionary(place: Place) -> None:
    """Both name the path and the outcome; the dictionary is JSON."""
    assert "no session was killed" in str(recover())
    path = kill_one(place, PLACE=str(place.other))
    report = recover()
    assert str(report) == f"{path}: removed, 1 files shredded"
    loaded = json.loads(report.to_json())
    assert (loaded["schema"], loaded["sessions"][0]["items"][0]["outcome"]) == (report.schema, "removed")
