"""SecureSession: what it creates is gone afterwards, whatever happens in between."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.children import TIMEOUT_S

from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import FileAccessError, SecureMemoryClosed, SecureWipeError
from zeroizepy.memory import SecureMemory, stats
from zeroizepy.session import SecureSession, secure_session
from zeroizepy.sessions import removal
from zeroizepy.shred import steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private directories appear where the test can see that they are gone."""
    import tempfile

    place = tmp_path / "T"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))


def run_script(script: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, its temporary files in `place`."""
    return subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(script)],
        env=os.environ | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_the_seed_example(tmp_path: Path) -> None:
    """A file and a secret live inside the block; afterwards the memory is closed and the file is gone."""
    with SecureSession() as session:
        temp_file = session.create_temp_file(".txt")
        secret = session.create_secret(b"password123")
        with open(temp_file, "wb") as file:
            file.write(secret.get_bytes())
        assert temp_file.read_bytes() == b"password123"
    assert not temp_file.exists()
    assert secret.closed
    with pytest.raises(SecureMemoryClosed):
        secret.get_bytes()
    assert os.listdir(tmp_path / "T") == []


def test_each_file_is_overwritten_three_times() -> None:
    """The reports tell three full passes for each file, in memory that can be asked afterwards."""
    with secure_session() as session:
        for size in (10, 20):
            session.create_temp_file().write_bytes(b"x" * size)
        assert session.reports == ()
    assert sorted(report.size_bytes for report in session.reports) == [10, 20]
    for report in session.reports:
        assert report.unlinked
        assert report.full_passes == len(report.passes) == 3


def test_files_and_directory_are_the_owners_alone() -> None:
    """Mode 0600 in a directory of mode 0700, whatever the umask; name as asked; absolute and empty."""
    before = os.umask(0)
    try:
        with SecureSession() as session:
            path = session.create_temp_file(suffix=".pem", prefix="key-")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert (path.name[:4], path.suffix, path.is_absolute(), path.stat().st_size) == ("key-", ".pem", True, 0)
            assert session.create_temp_file().parent == path.parent
    finally:
        os.umask(before)


def test_a_chosen_directory_stays(tmp_path: Path) -> None:
    """In a directory of the caller's only the session's file goes."""
    place = tmp_path / "own"
    place.mkdir()
    (place / "bystander").write_bytes(b"bystander")
    with SecureSession() as session:
        path = session.create_temp_file(dir=place)
        assert path.parent == place
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(place) == ["bystander"]
    assert (place / "bystander").read_bytes() == b"bystander"


def test_what_programs_left_beside_is_shredded_too(tmp_path: Path) -> None:
    """An editor's backup and a dangling link in the private directory go, a link's target stays."""
    target = tmp_path / "target"
    target.write_bytes(b"target")
    with SecureSession() as session:
        path = session.create_temp_file()
        path.with_name("backup~").write_bytes(b"secret")
        path.with_name("link").symlink_to(target)
    assert not path.parent.exists()
    assert target.read_bytes() == b"target"
    assert len(session.reports) == 3


def test_files_that_are_gone_or_replaced_already() -> None:
    """A deleted or moved file is a no-op report; what took its name is shredded."""
    with SecureSession() as session:
        gone, replaced = session.create_temp_file(), session.create_temp_file()
        gone.unlink()
        other = replaced.with_name("other")
        other.write_bytes(b"newer")
        other.replace(replaced)
    assert [report.existed for report in session.reports] == [True, False]
    assert session.reports[0].size_bytes == 5
    assert not replaced.exists()


def test_a_private_directory_that_is_gone_already() -> None:
    """Nothing is raised when the user removed everything."""
    with SecureSession() as session:
        path = session.create_temp_file()
        path.unlink()
        path.parent.rmdir()
    assert session.closed


def test_write_protected_files_go_too() -> None:
    """The session's own file goes although its mode was changed."""
    with SecureSession() as session:
        path = session.create_temp_file()
        path.write_bytes(b"x")
        path.chmod(0o400)
    assert not path.exists()


# ---- secrets ----


@pytest.mark.parametrize("wrap", [bytearray, lambda data: memoryview(bytearray(data))])
def test_wipe_input(wrap: type[bytearray]) -> None:
    """A writable input is zeroed once it is copied; without the option it stays."""
    data = wrap(b"password123")
    with SecureSession() as session:
        kept = session.create_secret(data)
        assert bytes(data) == b"password123"
        secret = session.create_secret(data, wipe_input=True)
        assert bytes(data) == bytes(11)
        assert kept.read() == secret.read() == b"password123"


@pytest.mark.parametrize("data", [b"immutable", memoryview(b"immutable"), "text", None])
def test_wipe_input_needs_something_writable(data: bytes) -> None:
    """What cannot be zeroed is refused before a secret is made, without quoting it."""
    with SecureSession() as session:
        cells = stats().cells
        with pytest.raises(TypeError, match="writable") as caught:
            session.create_secret(data, wipe_input=True)
        assert "immutable" not in str(caught.value)
        assert stats().cells == cells


def test_wipe_input_keeps_the_input_when_the_copy_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no secure memory is to be had the caller still has the only copy."""

    def refuse(_data: object) -> SecureMemory:
        raise MemoryError("injected")

    monkeypatch.setattr(SecureMemory, "from_bytes", refuse)
    data = bytearray(b"password123")
    with SecureSession() as session, pytest.raises(MemoryError, match="injected"):
        session.create_secret(data, wipe_input=True)
    assert data == b"password123"


def test_no_secret_is_left_live() -> None:
    """All cells of a session are gone when it ends, closed ones included."""
    before = stats().cells
    with SecureSession() as session:
        session.create_secret(b"one").close()
        session.create_secret(b"two")
        assert stats().cells == before + 1
    assert stats().cells == before


@pytest.mark.parametrize("make", [SecureMemory.from_bytes, CypherCell])
def test_secrets_of_this_library_are_taken_too(make: Callable[[bytes], SecureMemory]) -> None:
    """A cell or memory is copied without passing through bytes, and stays; zeroing it is its own business."""
    source = make(b"password123")
    with SecureSession() as session:
        assert session.create_secret(source).read() == b"password123"
        with pytest.raises(TypeError, match="writable"):
            session.create_secret(source, wipe_input=True)
    with source.borrow() as view:
        assert view == b"password123"


@pytest.mark.parametrize("wipe_input", [False, True])
def test_an_empty_secret(*, wipe_input: bool) -> None:
    """No bytes are a secret like any other."""
    with SecureSession() as session:
        assert session.create_secret(bytearray(), wipe_input=wipe_input).read() == b""


@pytest.mark.parametrize("wipe_input", [False, True])
def test_no_buffer_is_held_when_the_copy_fails(*, wipe_input: bool) -> None:
    """While the exception is alive the input can be resized and released: nobody holds its buffer."""
    data = bytearray(b"password123")
    view = memoryview(data)
    session = SecureSession()
    session.close()
    with pytest.raises(ValueError, match="closed") as caught:
        session.create_secret(view, wipe_input=wipe_input)
    view.release()
    data.append(0)
    assert caught.value.__traceback__ is not None


# ---- the end ----


def test_the_bodys_exception_comes_through() -> None:
    """After an exception everything is gone and the exception is the body's."""
    session = SecureSession()
    path = session.create_temp_file()
    secret = session.create_secret(b"x")
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError
    assert (path.exists(), secret.closed, session.closed) == (False, True, True)


def test_close_is_idempotent_and_final() -> None:
    """A second close does nothing; anything else raises ValueError."""
    session = SecureSession()
    path = session.create_temp_file()
    session.close()
    path.parent.mkdir()
    path.write_bytes(b"somebody else's")
    session.close()
    assert path.read_bytes() == b"somebody else's"
    for use in (session.create_temp_file, lambda: session.create_secret(b"x"), session.__enter__):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_every_step_runs_before_the_first_error_is_raised(tmp_path: Path) -> None:
    """A file that cannot be shredded does not keep the others; it is raised, the rest is attached."""
    session = SecureSession()
    good = session.create_temp_file()
    secret = session.create_secret(b"x")
    bad = session.create_temp_file()
    os.link(bad, tmp_path / "other")
    also_good = session.create_temp_file()
    with pytest.raises(FileAccessError, match="hard links") as caught:
        session.close()
    assert (good.exists(), also_good.exists(), secret.closed, bad.exists()) == (False, False, True, True)
    # The second look at the same file is that at the private directory.
    assert [report.verdict for report in session.reports].count("refused") == 2
    assert len(caught.value.__notes__) == 1
    (tmp_path / "other").unlink()
    session.close()


def test_close_raises_until_all_is_gone(tmp_path: Path) -> None:
    """A hard-linked file keeps its content and its place; each close says so, and once the link is gone it goes."""
    session = SecureSession()
    own, path = session.create_temp_file(dir=tmp_path), session.create_temp_file()
    for each in (own, path):
        each.write_bytes(b"secret")
        os.link(each, tmp_path / f"other-{each.name}")
    for _ in range(3):
        with pytest.raises(FileAccessError, match="hard links"):
            session.close()
        assert (own.read_bytes(), path.read_bytes(), session.closed) == (b"secret", b"secret", True)
    with pytest.raises(ValueError, match="closed"):
        session.create_secret(b"x")
    for each in (own, path):
        (tmp_path / f"other-{each.name}").unlink()
    session.close()
    assert not own.exists()
    assert not path.parent.exists()
    reports = len(session.reports)
    session.close()
    assert len(session.reports) == reports


def test_other_errors_become_secure_wipe_errors(tmp_path: Path) -> None:
    """A directory in the place of a file outside is left alone and reported under the library's own error."""
    session = SecureSession()
    path = session.create_temp_file(dir=tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SecureWipeError, match="left something behind") as caught:
        session.close()
    assert isinstance(caught.value.__cause__, IsADirectoryError)
    path.rmdir()
    session.close()


def folders_below(folder: Path) -> None:
    """Copies in folders, one write-protected, one empty, with links to a folder and a file outside."""
    for name in ("sub", "sub/deep", "locked", "empty"):
        (folder / name).mkdir()
    outside = folder.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "bystander").write_bytes(b"bystander")
    (folder / "sub/deep/copy").write_bytes(b"secret")
    (folder / "locked/copy").write_bytes(b"secret")
    (folder / "locked").chmod(0o500)
    (folder / "sub/to-folder").symlink_to(outside)
    (folder / "sub/deep/to-file").symlink_to(outside / "bystander")
    os.mkfifo(folder / "sub/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "sub/socket"))


def test_folders_in_the_private_directory_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are overwritten at any depth, sockets and FIFOs are unlinked, and no link leads out."""
    monkeypatch.chdir(tmp_path)
    with SecureSession() as session:
        folder = session.create_temp_file().parent
        folders_below(folder)
    assert not folder.exists()
    assert (tmp_path / "T/outside/bystander").read_bytes() == b"bystander"
    copies = {report.path: report for report in session.reports if report.size_bytes}
    assert set(copies) == {f"{folder}/sub/deep/copy", f"{folder}/locked/copy"}
    assert all(len(report.passes) == 3 and report.unlinked for report in copies.values())


def test_a_folder_in_a_files_place_goes_with_the_private_directory() -> None:
    """A program that unpacks where the file was is no error."""
    with SecureSession() as session:
        path = session.create_temp_file()
        path.unlink()
        path.mkdir()
        (path / "unpacked").write_bytes(b"secret")
    assert not path.parent.exists()
    assert [report.size_bytes for report in session.reports] == [6]


def test_what_cannot_go_keeps_only_its_own_folders(tmp_path: Path) -> None:
    """A hard link deep inside: its folders stay, all others go, and a later close removes them."""
    session = SecureSession()
    folder = session.create_temp_file().parent
    for name in ("kept", "kept/deep", "gone"):
        (folder / name).mkdir()
        (folder / name / "copy").write_bytes(b"secret")
    os.link(folder / "kept/deep/copy", tmp_path / "other")
    with pytest.raises(FileAccessError, match=r"kept/deep/copy.*hard links|hard links.*kept/deep/copy"):
        session.close()
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "kept",
        "kept/deep",
        "kept/deep/copy",
    ]
    (tmp_path / "other").unlink()
    session.close()
    assert not folder.exists()


@pytest.mark.usefixtures("no_descriptor_stays")
def test_no_descriptor_is_left_open() -> None:
    """Neither by a release that succeeded nor by one that failed."""
    session = SecureSession()
    path = session.create_temp_file()
    (path.parent / "sub").mkdir()
    (path.parent / "sub/copy").write_bytes(b"x")
    os.link(path.parent / "sub/copy", path.parent.parent / "other")
    with pytest.raises(FileAccessError):
        session.close()
    (path.parent.parent / "other").unlink()
    session.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts tmpfs")
def test_a_mount_point_inside_is_left_alone() -> None:
    """What is mounted there belongs to somebody else; it is named, and goes on existing."""
    session = SecureSession()
    point = session.create_temp_file().parent / "mounted"
    point.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "t", point], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount tmpfs here")
    try:
        (point / "bystander").write_bytes(b"bystander")
        with pytest.raises(SecureWipeError, match=r"mounted is another file system .* unmount it"):
            session.close()
        assert (point / "bystander").read_bytes() == b"bystander"
    finally:
        subprocess.run(["umount", point], check=True)
    session.close()
    assert not point.parent.exists()


def test_clean_up_failures_go_along_with_the_bodys_exception(tmp_path: Path) -> None:
    """The body's exception is raised, and its notes tell what the clean-up could not do."""
    session = SecureSession()
    os.link(session.create_temp_file(), tmp_path / "other")
    with pytest.raises(ZeroDivisionError) as caught, session:
        raise ZeroDivisionError
    assert any("clean-up failed" in note and "hard links" in note for note in caught.value.__notes__)
    (tmp_path / "other").unlink()
    session.close()


def test_ctrl_c_during_the_release_can_be_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted close leaves the session open, and the next close finishes the work."""
    session = SecureSession()
    paths = [session.create_temp_file() for _ in range(2)]
    shred, calls = removal.shred_found, []

    def interrupt(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return shred(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(removal, "shred_found", interrupt)
    with pytest.raises(KeyboardInterrupt):
        session.close()
    assert [path.exists() for path in paths] == [True, False]
    session.close()
    assert not paths[0].parent.exists()


def test_warnings_as_errors_leave_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session shreds what secure_delete would warn of when warnings are errors."""
    read = steps.read_facts
    monkeypatch.setattr(steps, "read_facts", lambda *arguments: replace(read(*arguments), file_system="unknown"))
    with SecureSession() as session:
        path = session.create_temp_file()
        path.write_bytes(b"x")
    assert not path.exists()
    assert "file_system:unknown" in session.reports[0].reasons


# ---- without a with statement ----


def test_a_dropped_session_cleans_up() -> None:
    """Losing the last reference shreds the files."""
    session = SecureSession()
    path = session.create_temp_file()
    before = stats().cells
    session.create_secret(b"x")
    assert stats().cells == before + 1
    del session
    gc.collect()
    assert not path.parent.exists()
    assert stats().cells == before


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise ValueError"])
def test_a_session_that_is_alive_at_exit_cleans_up(tmp_path: Path, ending: str) -> None:
    """At the interpreter's end an open session's files are shredded."""
    result = run_script(
        f"""
        import sys
        from zeroizepy.session import SecureSession
        session = SecureSession()
        path = session.create_temp_file()
        path.write_bytes(b"secret")
        print(path)
        {ending}
        """,
        tmp_path / "T",
    )
    assert result.stdout.strip().startswith(str(tmp_path / "T"))
    assert os.listdir(tmp_path / "T") == []


def test_a_forked_child_leaves_the_parents_files_alone(tmp_path: Path) -> None:
    """A child that ends normally, closes, or leaves the block does not shred; it cannot create either."""
    result = run_script(
        """
        import os, sys
        from zeroizepy.session import SecureSession
        with SecureSession() as session:
            path = session.create_temp_file()
            path.write_bytes(b"secret")
            secret = session.create_secret(b"x")
            if os.fork() == 0:
                try:
                    session.create_temp_file()
                except ValueError as error:
                    print("child:", error, flush=True)
                session.close()
                sys.exit(0)
            os.wait()
            print("parent:", path.read_bytes(), secret.read(), flush=True)
        print("after:", path.exists())
        """,
        tmp_path / "T",
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "child: SecureSession belongs to the parent process; create one after the fork",
        "parent: b'secret' b'x'",
        "after: False",
    ]
    assert os.listdir(tmp_path / "T") == []


def test_a_session_that_cannot_clean_up_at_its_end_warns(tmp_path: Path) -> None:
    """Nobody is there to raise to, so the failure is a ResourceWarning that names the file."""
    session = SecureSession()
    path = session.create_temp_file()
    os.link(path, tmp_path / "other")
    with pytest.warns(ResourceWarning, match="left something behind") as caught:
        del session
    assert any(str(path) in str(each.message) for each in caught)


# ---- the rest ----


def test_threads_may_create() -> None:
    """Files and secrets made by several threads are all gone afterwards."""
    before = stats().cells
    with SecureSession() as session:

        def create() -> None:
            for _ in range(10):
                session.create_temp_file().write_bytes(b"x")
                session.create_secret(b"x")

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(session.reports) == 40
    assert stats().cells == before


@pytest.mark.parametrize("arguments", [{"suffix": "/x"}, {"prefix": "../x"}, {"suffix": "a\0b"}])
def test_names_with_separators_are_refused(arguments: dict[str, str]) -> None:
    """A name cannot lead out of the directory."""
    with SecureSession() as session, pytest.raises(ValueError, match=next(iter(arguments))):
        session.create_temp_file(**arguments)


def test_wrong_types_are_refused() -> None:
    """Names are str, secrets are bytes."""
    with SecureSession() as session:
        with pytest.raises(TypeError, match="suffix must be str, not bytes"):
            session.create_temp_file(suffix=b"x")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            session.create_secret("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            session.create_temp_file(dir=5)  # type: ignore[arg-type]


def test_a_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    """A place that is not there is the builtin error."""
    with SecureSession() as session, pytest.raises(FileNotFoundError):
        session.create_temp_file(dir=tmp_path / "missing")


def test_repr_and_copies() -> None:
    """The text form counts and shows nothing; a session is neither pickled nor copied."""
    with SecureSession() as session:
        session.create_secret(b"password123")
        assert repr(session) == "<SecureSession: 0 files, 1 secrets, open>"
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot pickle 'SecureSession' object"):
                use(session)
    assert repr(session) == "<SecureSession: 0 files, 0 secrets, closed>"
