"""wipe_free_space, with small limits on the machine's own disk; tests/image fills whole file systems."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.children import Child

from zeroizepy.exceptions import FileAccessError
from zeroizepy.file import wipe_free_space
from zeroizepy.shred import freespace, slack
from zeroizepy.shred.facts import Mount
from zeroizepy.shred.passes import SpanResult, SpanWriter, set_direct

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
# In this order: a look at the cells may collect what has descriptors.
gives_all_back = pytest.mark.usefixtures("no_leftover_cells", "no_descriptor_stays")


def mount_type(folder: Path) -> str:
    """The file system's type, as reports have it."""
    return wipe_free_space(folder, dry_run=True).file_system


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    """A dry run tells how much is free and makes no file."""
    before = tmp_path.stat().st_mtime_ns
    report = wipe_free_space(tmp_path, dry_run=True)
    assert (report.dry_run, report.bytes_written, report.fillers, report.stopped_by) == (True, 0, 0, None)
    assert report.available_bytes > 0
    assert tmp_path.stat().st_mtime_ns == before
    assert "would fill" in str(report)


@gives_all_back
@pytest.mark.parametrize("limit", [0, 1, 4096, 5000, 3 * MIB + 17])
def test_max_bytes_is_exact_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """The limit is met to the byte; no file, descriptor or key is left."""
    report = wipe_free_space(str(tmp_path), max_bytes=limit)
    assert (report.bytes_written, report.stopped_by, report.error) == (limit, "limit", None)
    assert os.listdir(tmp_path) == []


def test_report_goes_through_json_and_names_the_limits(tmp_path: Path) -> None:
    """The report is JSON, prints as one line, and says what filling does not cover."""
    report = wipe_free_space(tmp_path, max_bytes=4096)
    assert json.loads(json.dumps(report.to_dict()))["bytes_written"] == 4096
    assert "4096 bytes of free space overwritten" in str(report)
    assert any("directories" in note for note in report.notes)
    assert any("last block" in note for note in report.notes)


def test_what_is_written_is_random_and_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filler holds random bytes when it is flushed, in as many writes as the chunk size asks for."""
    seen: list[bytes] = []
    sync = freespace._sync_full

    def look(fd: int) -> None:
        sync(fd)
        set_direct(fd, wanted=False)
        seen.append(os.pread(fd, MIB, 0))

    monkeypatch.setattr(freespace, "_sync_full", look)
    wipe_free_space(tmp_path, max_bytes=MIB, chunk_size=8192)
    (content,) = seen
    assert len({content[at : at + 64] for at in range(0, MIB, 64)}) == MIB // 64


def test_several_fillers_past_the_file_size_limit(tmp_path: Path) -> None:
    """EFBIG opens the next filler, which goes on with another stream."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        report = wipe_free_space(tmp_path, max_bytes=5 * MIB // 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (report.bytes_written, report.fillers, report.stopped_by) == (5 * MIB // 2, 3, "limit")


def test_no_byte_may_be_written(tmp_path: Path) -> None:
    """A file-size limit of 0 ends the run instead of making fillers for ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        report = wipe_free_space(tmp_path, max_bytes=MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (report.bytes_written, report.stopped_by) == (0, "file_size")


@pytest.mark.parametrize("action", ["SIG_DFL", "SIG_IGN"])
def test_the_file_size_signal_ends_no_process(tmp_path: Path, action: str) -> None:
    """SIGXFSZ comes with EFBIG; a process that does not ignore it lives on, and gets the signal later as before."""
    code = """
    import os, resource, signal
    from zeroizepy.file import wipe_free_space
    signal.signal(signal.SIGXFSZ, signal.ACTION)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    report = wipe_free_space(sys.argv[1], max_bytes=5 << 19)
    assert signal.SIGXFSZ not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    print(report.bytes_written, report.fillers, flush=True)
    os.pwrite(os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY), b"x", 1 << 20)
    """.replace("ACTION", action)
    done = Child("auto").run(code, str(tmp_path), str(tmp_path / "file"))
    assert done.stdout.split() == [str(5 * MIB // 2), "3"]
    # The control: without our guard the same write ends the process, or raises where the signal is ignored.
    assert done.returncode == (-signal.SIGXFSZ if action == "SIG_DFL" else 1)


def test_no_further_file_may_be_opened(tmp_path: Path) -> None:
    """With small fillers and few descriptors the run ends, tells why, and gives everything back."""
    code = """
    import os, resource
    from zeroizepy.file import wipe_free_space
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    report = wipe_free_space(sys.argv[1], max_bytes=1 << 30)
    print(report.stopped_by, report.bytes_written // report.fillers, 20 < report.fillers < 40)
    print(len(os.listdir("/proc/self/fd")) < 10)
    """
    assert Child("auto").check(code, str(tmp_path)).split() == ["open_files", str(1 << 16), "True", "True"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EOPNOTSUPP])
def test_blocks_that_cannot_be_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A refusal costs nothing: the writes go to the limit all the same."""
    asked: list[tuple[int, int]] = []

    def refuse(_fd: int, start: int, length: int) -> None:
        asked.append((start, length))
        raise OSError(number, "injected")

    monkeypatch.setattr(freespace, "_SETS_ASIDE", frozenset({mount_type(tmp_path)}))
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert wipe_free_space(tmp_path, max_bytes=MIB).bytes_written == MIB
    assert asked == [(0, MIB)]


def test_nothing_is_set_aside_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system cannot, the C library would write a byte into each block first."""
    monkeypatch.setattr(freespace, "_SETS_ASIDE", frozenset({"other"}))
    monkeypatch.setattr(os, "posix_fallocate", lambda *_arguments: pytest.fail("set aside"))
    assert wipe_free_space(tmp_path, max_bytes=MIB).bytes_written == MIB


def test_reserve_stops_before_anything_is_written(tmp_path: Path) -> None:
    """A reserve beyond what is free leaves nothing to do."""
    report = wipe_free_space(tmp_path, reserve_bytes=1 << 60)
    assert (report.bytes_written, report.stopped_by) == (0, "reserve")


@pytest.mark.parametrize("missing", ["attribute", "support"])
def test_without_unnamed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Where O_TMPFILE is missing a named filler is unlinked at once."""
    if missing == "attribute":
        monkeypatch.delattr(os, "O_TMPFILE")
    else:
        real_open, flag = os.open, os.O_TMPFILE

        def refuse(path: str, flags: int, *rest: Any, **more: Any) -> int:
            if flags & flag == flag:
                raise OSError(errno.EOPNOTSUPP, "injected")
            return real_open(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refuse)
    names: list[list[str]] = []
    report = wipe_free_space(tmp_path, max_bytes=MIB, progress=lambda *_at: names.append(os.listdir(tmp_path)))
    assert report.bytes_written == MIB
    assert names == [[]]


@gives_all_back
def test_a_failing_write_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is a FileAccessError that tells how far the filling came; the space is given back."""
    monkeypatch.setattr(
        SpanWriter,
        "write",
        lambda *_arguments, **_more: SpanResult(4096, errno.EIO, direct=False, different=False),
    )
    with pytest.raises(FileAccessError) as caught:
        wipe_free_space(tmp_path, max_bytes=MIB)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert caught.value.report.bytes_written == 4096
    assert "failed after 4096 bytes" in str(caught.value.report)


@gives_all_back
def test_an_interruption_gives_the_space_back(tmp_path: Path) -> None:
    """Ctrl-C leaves no file, descriptor or key."""

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        wipe_free_space(tmp_path, max_bytes=MIB, progress=stop)
    report = vars(caught.value)["report"]
    assert (report.bytes_written, report.error) == (MIB, "interrupted")
    assert os.listdir(tmp_path) == []


def test_progress_ends_at_the_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress grows to the limit."""
    monkeypatch.setattr(freespace, "SPAN_BYTES", 65_536)
    seen: list[tuple[int, int]] = []
    wipe_free_space(tmp_path, max_bytes=200_000, progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == [65_536, 131_072, 196_608, 200_000]
    assert {total for _, total in seen} == {200_000}


@pytest.mark.parametrize("direct", [True, False])
def test_rate_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, direct: bool) -> None:
    """No piece is longer than a quarter of a second's worth, and the whole takes as long as the rate says."""
    if not direct:
        monkeypatch.setattr(freespace, "set_direct", lambda *_arguments, **_more: False)
    seen: list[int] = []
    started = time.monotonic()
    report = wipe_free_space(
        tmp_path, max_bytes=MIB, max_bytes_per_s=MIB, progress=lambda done, _total: seen.append(done)
    )
    assert time.monotonic() - started >= 0.95
    assert seen == [MIB // 4, MIB // 2, MIB * 3 // 4, MIB]
    assert report.bytes_written == MIB


def test_a_rate_under_one_block(tmp_path: Path) -> None:
    """Single blocks are written, and waited for."""
    report = wipe_free_space(tmp_path, max_bytes=8192, max_bytes_per_s=16_384)
    assert (report.bytes_written, report.seconds >= 0.5) == (8192, True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_flush_that_finds_the_disk_full_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Some file systems find out at the flush; full is where this was going."""

    def fail(_fd: int) -> None:
        raise OSError(number, "injected")

    monkeypatch.setattr(os, "fsync", fail)
    assert wipe_free_space(tmp_path, max_bytes=4096).error is None


def test_a_failing_flush_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO at the flush: nothing is claimed as done without an error."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileAccessError) as caught:
        wipe_free_space(tmp_path, max_bytes=4096)
    assert caught.value.errno == errno.EIO
    assert caught.value.report.error is not None


def test_memory_is_said_to_be_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that a tmpfs had go back to the system, where a filling does not follow; the first note says so."""
    monkeypatch.setattr(freespace, "mount_of", lambda _fd: Mount("tmpfs", (), "0:1"))
    notes = wipe_free_space(tmp_path, max_bytes=4096).notes
    assert "is memory" in notes[0]
    monkeypatch.setattr(freespace, "mount_of", lambda _fd: Mount("ext4", (), "0:1"))
    assert all("is memory" not in note for note in wipe_free_space(tmp_path, max_bytes=4096).notes)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_no_permission_is_a_file_access_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not make files there gets the path and errno."""
    monkeypatch.chdir(tmp_path)
    for mode in (0o700, 0o755):
        tmp_path.chmod(mode)
        os.seteuid(65534)
        try:
            with pytest.raises(FileAccessError) as caught:
                wipe_free_space(".", max_bytes=4096)
        finally:
            os.seteuid(0)
        assert (caught.value.errno, caught.value.filename) == (errno.EACCES, ".")


def test_bad_directories(tmp_path: Path) -> None:
    """A missing path and a file are the builtin errors; an empty path is a ValueError."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        wipe_free_space(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        wipe_free_space(tmp_path / "file")
    with pytest.raises(ValueError, match="directory must not be empty"):
        wipe_free_space("")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"chunk_size": 0}, ValueError),
        ({"chunk_size": "1"}, TypeError),
        ({"reserve_bytes": -1}, ValueError),
        ({"reserve_bytes": None}, TypeError),
        ({"max_bytes": -1}, ValueError),
        ({"max_bytes": 1.5}, TypeError),
        ({"max_bytes_per_s": 0}, ValueError),
        ({"max_bytes_per_s": 0.5}, TypeError),
        ({"max_inodes": 0}, ValueError),
        ({"inodes": 5}, TypeError),
        ({"trim": "yes"}, TypeError),
        ({"dry_run": 1}, TypeError),
        ({"progress": "x"}, TypeError),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], error: type[Exception]) -> None:
    """A wrong argument is named and nothing is written; a limit stands in case the check is missing."""
    name = next(iter(arguments))
    with pytest.raises(error, match=name):
        wipe_free_space(tmp_path, **({"max_bytes": 4096} | arguments))


# ---- inodes ----


def private_directories(folder: Path) -> list[Path]:
    """What a run with inodes=True makes."""
    return sorted(folder.glob(".zeroizepy-inodes-*"))


def test_inodes_are_filled_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many files as asked for stand in one private directory; afterwards there is nothing left."""
    seen: list[tuple[int, int, int]] = []

    def look(_fd: int) -> None:
        (folder,) = private_directories(tmp_path)
        names = os.listdir(folder)
        seen.append((len(names), max(map(len, names)), folder.stat().st_mode & 0o777))

    monkeypatch.setattr(slack, "sync_file_system", look)
    report = wipe_free_space(tmp_path, inodes=True, max_inodes=300, max_bytes=0)
    assert seen == [(300, min(255, os.pathconf(tmp_path, "PC_NAME_MAX")), 0o700)]
    assert report.inodes_filled == 300
    assert (report.inode_directory or "").startswith(".zeroizepy-inodes-")
    assert os.listdir(tmp_path) == []
    assert any("beyond the 300" in note for note in report.notes)


def test_a_dry_run_fills_no_inode(tmp_path: Path) -> None:
    """Nothing is made, and leftovers stay."""
    leftover = tmp_path / f".zeroizepy-inodes-{'a' * 16}"
    leftover.mkdir()
    report = wipe_free_space(tmp_path, inodes=True, dry_run=True)
    assert (report.inodes_filled, report.inode_directory, report.leftovers_removed) == (0, None, 0)
    assert leftover.is_dir()


def test_a_failure_meanwhile_removes_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO at the flush is reported, and the private directory is gone."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(slack, "sync_file_system", fail)
    with pytest.raises(FileAccessError) as caught:
        wipe_free_space(tmp_path, inodes=True, max_inodes=5, max_bytes=0)
    assert (caught.value.errno, caught.value.report.inodes_filled) == (errno.EIO, 5)
    assert os.listdir(tmp_path) == []


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """A kill while inodes are filled leaves one private directory; any next run takes it away and counts it."""
    code = """
    from zeroizepy.file import wipe_free_space
    wipe_free_space(sys.argv[1], inodes=True, max_bytes=0)
    """
    child = Child("auto")
    with subprocess.Popen(child.command(code, str(tmp_path)), env=child.environment()) as process:
        deadline = time.monotonic() + 60
        while not any(any(folder.iterdir()) for folder in private_directories(tmp_path)):
            assert time.monotonic() < deadline
        assert wipe_free_space(tmp_path, max_bytes=0).leftovers_removed == 0  # Another run's are left alone.
        process.kill()
    (folder,) = private_directories(tmp_path)
    count = len(os.listdir(folder))
    assert count > 0
    assert wipe_free_space(tmp_path, max_bytes=0).leftovers_removed == count + 1
    assert os.listdir(tmp_path) == []


def put_file(folder: Path) -> None:
    """A file that no run of ours made."""
    (folder / "notes.txt").write_text("keep")


def put_long_file(folder: Path) -> None:
    """A file with such a name, and content."""
    (folder / ("a" * 255)).write_text("keep")


def put_folder(folder: Path) -> None:
    """A folder with such a name."""
    (folder / ("b" * 255)).mkdir()


def put_link(folder: Path) -> None:
    """A link with such a name."""
    (folder / ("c" * 255)).symlink_to("nowhere")


@pytest.mark.parametrize("put", [put_file, put_long_file, put_folder, put_link])
def test_bystanders_in_a_private_directory_stay(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """Only empty files with names like ours are removed; what else stands there stays, and the report says so."""
    folder = tmp_path / f".zeroizepy-inodes-{'a' * 16}"
    folder.mkdir()
    (folder / ("d" * 255)).touch()
    put(folder)
    report = wipe_free_space(tmp_path, max_bytes=0)
    assert len(os.listdir(folder)) == 1
    assert any(folder.name in note for note in report.notes)


@pytest.mark.parametrize("kind", ["link", "file", "other name"])
def test_what_only_looks_private_is_not_entered(tmp_path: Path, kind: str) -> None:
    """A link is not followed, and no other name is looked into."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / ("e" * 255)).touch()
    name = inside / f".zeroizepy-inodes-{'a' * 16}"
    if kind == "link":
        name.symlink_to(outside)
    elif kind == "file":
        name.touch()
    else:
        outside.rename(inside / f".zeroizepy-inodes-{'A' * 16}")
        outside = inside / f".zeroizepy-inodes-{'A' * 16}"
    assert wipe_free_space(inside, max_bytes=0).leftovers_removed == 0
    assert len(os.listdir(outside)) == 1
    assert len(os.listdir(inside)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a directory to another user")
def test_another_users_directory_stays(tmp_path: Path) -> None:
    """Root removes what root's runs left, and no more."""
    folder = tmp_path / f".zeroizepy-inodes-{'a' * 16}"
    folder.mkdir()
    (folder / ("d" * 255)).touch()
    os.chown(folder, 65534, 65534)
    assert wipe_free_space(tmp_path, max_bytes=0).leftovers_removed == 0
    assert len(os.listdir(folder)) == 1


def test_a_reserve_ends_the_filling_of_inodes(tmp_path: Path) -> None:
    """The directory of the files takes space, too."""
    report = wipe_free_space(tmp_path, inodes=True, max_inodes=1000, reserve_bytes=1 << 60)
    assert (report.inodes_filled, report.stopped_by) == (0, "reserve")


def test_a_file_system_without_inodes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no number of inodes none are filled, and a note says so."""
    real = os.fstatvfs

    class Status:
        f_files = 0

        def __init__(self, fd: int) -> None:
            status = real(fd)
            self.f_bfree, self.f_bavail, self.f_frsize = status.f_bfree, status.f_bavail, status.f_frsize

    monkeypatch.setattr(os, "fstatvfs", Status)
    report = wipe_free_space(tmp_path, inodes=True, max_bytes=0)
    assert (report.inodes_filled, report.inode_directory) == (0, None)
    assert any("does not count its inodes" in note for note in report.notes)


def test_a_removed_private_directory_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes ours for a leftover, between its making and its lock, does no harm."""
    real, made = os.mkdir, []

    def make(name: str, *rest: Any, **more: Any) -> None:
        real(name, *rest, **more)
        made.append(name)
        if len(made) == 1:
            os.rmdir(tmp_path / name)

    monkeypatch.setattr(os, "mkdir", make)
    report = wipe_free_space(tmp_path, inodes=True, max_inodes=3, max_bytes=0)
    assert (report.inodes_filled, report.inode_directory) == (3, made[1])
    assert os.listdir(tmp_path) == []


# ---- trim ----


def test_a_refused_trim_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filling is done, so a refusal is a line of the report and no error."""

    def refuse(_fd: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "injected")

    monkeypatch.setattr(freespace, "trim", refuse)
    report = wipe_free_space(tmp_path, max_bytes=4096, trim=True)
    assert (report.trimmed_bytes, report.error) == (None, None)
    assert report.trim_error == os.strerror(errno.EOPNOTSUPP)


def test_no_trim_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in a dry run."""
    monkeypatch.setattr(freespace, "trim", lambda _fd: pytest.fail("trimmed"))
    assert wipe_free_space(tmp_path, max_bytes=4096).trim_error is None
    assert wipe_free_space(tmp_path, dry_run=True, trim=True).trimmed_bytes is None
