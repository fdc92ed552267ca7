"""wipe_free_space, with small limits on the machine's own disk; tests/image fills whole file systems."""

from __future__ import annotations

import errno
import json
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.exceptions import FileAccessError
from zeroizepy.file import wipe_free_space
from zeroizepy.memory import stats
from zeroizepy.shred import freespace
from zeroizepy.shred.passes import SpanResult, SpanWriter, set_direct

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def open_descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    """A dry run tells how much is free and makes no file."""
    before = tmp_path.stat().st_mtime_ns
    report = wipe_free_space(tmp_path, dry_run=True)
    assert (report.dry_run, report.bytes_written, report.fillers, report.stopped_by) == (True, 0, 0, None)
    assert report.available_bytes > 0
    assert tmp_path.stat().st_mtime_ns == before
    assert "would fill" in str(report)


@pytest.mark.parametrize("limit", [0, 1, 4096, 5000, 3 * MIB + 17])
def test_max_bytes_is_exact_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """The limit is met to the byte; no file, descriptor or key is left."""
    before = (open_descriptors(), stats().cells)
    report = wipe_free_space(str(tmp_path), max_bytes=limit)
    assert (report.bytes_written, report.stopped_by, report.error) == (limit, "limit", None)
    assert os.listdir(tmp_path) == []
    assert (open_descriptors(), stats().cells) == before


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


def test_a_failing_write_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is a FileAccessError that tells how far the filling came; the space is given back."""
    monkeypatch.setattr(
        SpanWriter,
        "write",
        lambda *_arguments, **_more: SpanResult(4096, errno.EIO, direct=False, different=False),
    )
    before = open_descriptors()
    with pytest.raises(FileAccessError) as caught:
        wipe_free_space(tmp_path, max_bytes=MIB)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert caught.value.report.bytes_written == 4096
    assert "failed after 4096 bytes" in str(caught.value.report)
    assert open_descriptors() == before


def test_an_interruption_gives_the_space_back(tmp_path: Path) -> None:
    """Ctrl-C leaves no file, descriptor or key."""

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    before = (open_descriptors(), stats().cells)
    with pytest.raises(KeyboardInterrupt):
        wipe_free_space(tmp_path, max_bytes=MIB, progress=stop)
    assert os.listdir(tmp_path) == []
    assert (open_descriptors(), stats().cells) == before


def test_progress_ends_at_the_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress grows to the limit."""
    monkeypatch.setattr(freespace, "SPAN_BYTES", 65_536)
    seen: list[tuple[int, int]] = []
    wipe_free_space(tmp_path, max_bytes=200_000, progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == [65_536, 131_072, 196_608, 200_000]
    assert {total for _, total in seen} == {200_000}


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
        ({"dry_run": 1}, TypeError),
        ({"progress": "x"}, TypeError),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], error: type[Exception]) -> None:
    """A wrong argument is named and nothing is written; a limit stands in case the check is missing."""
    name = next(iter(arguments))
    with pytest.raises(error, match=name):
        wipe_free_space(tmp_path, **({"max_bytes": 4096} | arguments))
