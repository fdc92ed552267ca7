"""Sessions in memory, in tasks, and in many threads."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.sessions import SECRET, Place

from zeroizepy.exceptions import SecureWipeError
from zeroizepy.session import SecureSession, recover, secure_session
from zeroizepy.sessions import storage
from zeroizepy.shred.facts import mount_of

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - what is tested.


def file_system_of(path: Path) -> str:
    """What the kernel says that a path lies on."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return mount_of(fd).file_system
    finally:
        os.close(fd)


@pytest.fixture
def tmpfs(monkeypatch: pytest.MonkeyPatch) -> str:
    """Sessions in memory use /dev/shm."""
    if not SHARED_MEMORY.is_dir() or file_system_of(SHARED_MEMORY) != "tmpfs":
        pytest.skip("needs a tmpfs on /dev/shm")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return "tmpfs"


@pytest.fixture
def memfd(monkeypatch: pytest.MonkeyPatch) -> str:
    """Sessions in memory find no directory for it."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(storage, "_SHARED_MEMORY", "/nonexistent")
    return "memfd"


@pytest.fixture(params=["tmpfs", "memfd"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each storage in memory."""
    name: str = request.getfixturevalue(request.param)
    return name


# ---- in memory ----


def test_files_lie_in_memory(kind: str) -> None:
    """By the kernel's answer for the file itself; owner-only; gone afterwards; the report claims no overwrite."""
    with secure_session(memory=True) as session:
        assert session.storage == kind
        path = session.create_temp_file(".txt")
        assert file_system_of(path) in ("tmpfs", "unknown" if kind == "memfd" else "tmpfs")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_bytes(SECRET)
        assert path.read_bytes() == SECRET
    assert not path.exists()
    assert [(report.verdict, report.size_bytes, report.unlinked) for report in session.reports] == [
        ("not_in_place", len(SECRET), True)
    ]


def test_a_program_can_open_the_path(kind: str) -> None:
    """Another process of the same user reads and writes it."""
    with SecureSession(memory=True) as session:
        path = session.create_temp_file()
        assert session.storage == kind
        path.write_bytes(SECRET)
        script = "import sys; p = sys.argv[1]; d = open(p, 'rb').read(); open(p, 'wb').write(d[::-1])"
        subprocess.run([sys.executable, "-I", "-c", script, path], check=True)
        assert path.read_bytes() == SECRET[::-1]


def test_who_has_a_memfd_open_loses_its_content(memfd: str) -> None:
    """After the end a descriptor that somebody kept finds nothing."""
    with SecureSession(memory=True) as session:
        assert session.storage == memfd
        path = session.create_temp_file()
        path.write_bytes(SECRET)
        kept = os.open(path, os.O_RDONLY)
    try:
        assert os.fstat(kept).st_size == 0
    finally:
        os.close(kept)


def test_a_directory_that_only_looks_like_memory_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_RUNTIME_DIR on a disk is passed over, for the kernel says what it is."""
    if file_system_of(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("needs temporary files on something else than memory")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(storage, "_SHARED_MEMORY", str(tmp_path))
    with SecureSession(memory=True) as session:
        assert session.storage == "memfd"
        session.create_temp_file()
    assert os.listdir(tmp_path) == []


def test_the_runtime_directory_goes_first(tmpfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is a tmpfs, it is taken before /dev/shm."""
    # Of a name that nobody has: /dev/shm may be shared by containers, in which numbers of processes are the same.
    own = Path(tempfile.mkdtemp(prefix="zeroizepy-test-", dir=SHARED_MEMORY))
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
        with SecureSession(memory=True) as session:
            assert session.storage == tmpfs
            assert session.create_temp_file().parent.parent == own
        assert os.listdir(own) == []
    finally:
        own.rmdir()


def test_a_killed_one_is_recovered(tmp_path: Path, tmpfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tmpfs outlives the process, so its directory stands in the journal."""
    place = Place(tmp_path)
    monkeypatch.setenv("ZEROIZEPY_STATE_DIR", str(place.state))
    status, lines, _ = place.run(
        """
        session = SecureSession(memory=True)
        path = session.create_temp_file()
        path.write_bytes(SECRET)
        ready(path)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        prelude="",
    )
    path = Path(lines[0])
    assert (status, path.read_bytes(), file_system_of(path)) == (-signal.SIGKILL, SECRET, tmpfs)
    assert recover().complete
    assert not path.parent.exists()


def test_memory_and_a_chosen_directory_exclude_each_other(tmp_path: Path) -> None:
    """`dir` would lead out of memory."""
    with SecureSession(memory=True) as session, pytest.raises(ValueError, match="memory=True"):
        session.create_temp_file(dir=tmp_path)


@pytest.mark.usefixtures("no_descriptor_stays")
def test_no_descriptor_is_left(kind: str) -> None:
    """Each file in memory is given back."""
    with SecureSession(memory=True) as session:
        assert session.storage == kind
        for _ in range(3):
            session.create_temp_file()
            session.open().write(SECRET)


def test_memory_is_a_flag() -> None:
    """A path passed by mistake is refused, and the default says nothing about what lies below."""
    with pytest.raises(TypeError, match="memory must be a bool, not str"):
        SecureSession(memory="/run")  # type: ignore[arg-type]
    with SecureSession() as session:
        assert session.storage == "directory"


# ---- nested ----


def test_nested_sessions_end_what_they_made() -> None:
    """The inner one's file goes with it, the outer one's stays; a private directory each."""
    with SecureSession() as outer:
        first = outer.create_temp_file()
        with SecureSession() as inner:
            second = inner.create_temp_file()
            assert first.parent != second.parent
        assert (first.exists(), second.parent.exists()) == (True, False)
    assert not first.parent.exists()


# ---- threads ----


# With a lock limit of 64 KiB it is up to the scheduler whether so many files are open at once that some are sealed.
@pytest.mark.filterwarnings("ignore:no more memory can be locked:zeroizepy.SecureMemoryWarning")
def test_creating_while_another_thread_closes() -> None:
    """Each creation is refused or cleaned up: no file, no encrypted file and no directory is left, in many rounds."""
    for _ in range(15):
        session = SecureSession()
        paths: list[Path] = []
        files = []
        go = threading.Barrier(5)

        def create(session: SecureSession = session, go: threading.Barrier = go, paths: list[Path] = paths) -> None:
            go.wait(60)
            with suppress(ValueError):
                for _ in range(12):  # Each encrypted file takes locked memory, which has a limit.
                    paths.append(session.create_temp_file())
                    files.append(session.open())  # noqa: B023 - the list of this round.
                    session.create_secret(b"x")

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        go.wait(60)
        while not paths and any(thread.is_alive() for thread in threads):
            time.sleep(0.001)
        session.close()
        for thread in threads:
            thread.join(60)
        assert paths
        assert [path for path in paths if path.exists() or path.parent.exists()] == []
        assert all(file.closed for file in files)


# ---- asyncio ----


def test_async_with_cleans_up_and_lets_the_loop_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is gone behind the block, and other tasks ran while it was shredded."""
    release = SecureSession._release
    ticks = ran = 0

    def slow(session: SecureSession) -> list[Exception]:
        nonlocal ran
        seen, end = ticks, time.monotonic() + 60
        while ran < 5 and time.monotonic() < end:
            time.sleep(0.001)
            ran = ticks - seen
        return release(session)

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def main() -> Path:
        ticker = asyncio.create_task(tick())
        async with SecureSession() as session:
            path = session.create_temp_file()
        assert ran >= 5
        assert session.closed
        ticker.cancel()
        return path

    monkeypatch.setattr(SecureSession, "_release", slow)
    assert not asyncio.run(main()).parent.exists()


def test_a_session_is_shared_by_tasks() -> None:
    """Tasks create in one session, and all is gone."""

    async def main() -> list[Path]:
        async with SecureSession() as session:

            async def work() -> Path:
                await asyncio.sleep(0)
                return session.create_temp_file()

            return await asyncio.gather(*(work() for _ in range(10)))

    assert [path for path in asyncio.run(main()) if path.exists()] == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancellation_waits_for_the_clean_up(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while it closes, once or again and again, the task ends cancelled and with everything gone."""
    release, begun, cancelled = SecureSession._release, threading.Event(), threading.Event()

    def slow(session: SecureSession) -> list[Exception]:
        begun.set()
        assert cancelled.wait(60)
        return release(session)

    paths = []

    async def work() -> None:
        async with SecureSession() as session:
            paths.append(session.create_temp_file())

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.to_thread(begun.wait, 60)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not paths[0].parent.exists()

    monkeypatch.setattr(SecureSession, "_release", slow)
    asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_errors_in_an_async_block(tmp_path: Path, *, fails: bool) -> None:
    """The body's exception comes through with what failed attached; without one the clean-up's is raised."""
    session = SecureSession()

    async def main() -> None:
        async with session:
            os.link(session.create_temp_file(), tmp_path / "link")
            if fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError if fails else SecureWipeError) as caught:
        asyncio.run(main())
    assert "hard links" in (str(caught.value.__notes__) if fails else str(caught.value))
    (tmp_path / "link").unlink()
    session.close()
