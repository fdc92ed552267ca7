"""Signals that ask a program to end: open sessions are cleaned up, and the process dies by that same signal."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from support.children import TIMEOUT_S
from support.sessions import Place

if TYPE_CHECKING:
    from pathlib import Path

SIGNALS = ["SIGTERM", "SIGHUP"]
EMPTY = ["T", "other"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Folders for a program."""
    return Place(tmp_path)


def assert_nothing_left(place: Place) -> None:
    """No file, no folder, no journal."""
    assert [name for name in place.left() if name != "state"] == EMPTY
    assert place.journals == []


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("way", ["kill", "sleep", "wait"])
def test_it_cleans_up_and_dies_by_the_signal(place: Place, name: str, way: str) -> None:
    """From itself, and from outside in a sleep and in a wait for a lock: all is gone, the status is the signal's."""
    number = getattr(signal, name)
    # In loops: Python does not see a signal that comes in the instant before it blocks until that call returns.
    waits = {
        "kill": f"os.kill(os.getpid(), signal.{name})",
        "sleep": "ready('go')\nwhile True: time.sleep(5)",
        "wait": "import threading; ready('go')\nwhile True: threading.Event().wait(5)",
    }
    process = place.start(waits[way])
    assert process.stdout is not None
    process.stdout.readline()
    if way != "kill":
        process.stdout.readline()
        process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (-number, "")
    assert_nothing_left(place)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
        ("sys.exit(3)", 3),
        ("raise SystemExit(4)", 4),
        ("1 / 0", 1),
        ("", 0),
    ],
)
def test_other_ends_clean_up(place: Place, code: str, expected: int) -> None:
    """Ctrl-C, sys.exit, an exception and the end of the program, each with its own status."""
    status, _, _ = place.run(code)
    assert status == expected
    assert_nothing_left(place)


# In processes of their own, since other tests of this one may have handled signals.
HANDLERS = """
from zeroizepy.sessions import signals
def handlers():
    names = {signals._end: "ours", signal.SIG_DFL: "default", signal.SIG_IGN: "ignored"}
    ready(*(names.get(signal.getsignal(number), "own") for number in (signal.SIGTERM, signal.SIGHUP)))
"""


def handlers_in(place: Place, code: str) -> list[str]:
    """What a program printed that calls `handlers` at times."""
    status, lines, err = place.run(HANDLERS + textwrap.dedent(code), prelude="")
    assert (status, err) == (0, "")
    return lines


def test_without_files_nothing_is_changed(place: Place) -> None:
    """The handlers stand while a session has files, through nested ones, and not before and not after."""
    code = """
    with SecureSession() as session:
        session.create_secret(b"x")
        session.open()
        handlers()
        session.create_temp_file()
        with SecureSession() as inner:
            inner.create_temp_file()
        handlers()
    handlers()
    """
    assert handlers_in(place, code) == ["default default", "ours ours", "default default"]


def test_a_session_that_nobody_closed_gives_the_signals_back(place: Place) -> None:
    """A dropped one ends, too."""
    code = """
    session = SecureSession()
    session.create_temp_file()
    handlers()
    del session
    handlers()
    """
    assert handlers_in(place, code) == ["ours ours", "default default"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("handler", "name"), [("lambda *_: None", "own"), ("signal.SIG_IGN", "ignored")])
def test_a_handler_of_the_program_is_left_alone(place: Place, handler: str, name: str, when: str) -> None:
    """Set before the session or in it, ignoring included: it is the one that stands, and stays afterwards."""
    code = f"""
    if {when == "before"}:
        signal.signal(signal.SIGTERM, {handler})
    with SecureSession() as session:
        session.create_temp_file()
        if {when == "after"}:
            signal.signal(signal.SIGTERM, {handler})
        handlers()
    handlers()
    """
    assert handlers_in(place, code) == [f"{name} ours", f"{name} default"]


def test_other_threads_sessions_install_no_handler(place: Place) -> None:
    """Python lets only the main thread; such a session is covered by the journal."""
    code = """
    import threading
    def work():
        with SecureSession() as session:
            session.create_temp_file()
            handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    """
    assert handlers_in(place, code) == ["default default"]


def test_signals_are_given_back_after_async_with(place: Place) -> None:
    """The thread that closed could not; the loop's thread does."""
    code = """
    import asyncio
    async def main():
        async with SecureSession() as session:
            session.create_temp_file()
            handlers()
    asyncio.run(main())
    handlers()
    """
    assert handlers_in(place, code) == ["ours ours", "default default"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_wiping_handler_stands(place: Place, when: str) -> None:
    """`process.wipe_on_fatal_signals` is not taken away: before the session it stands alone, in it it goes first."""
    watch = "process.wipe_on_fatal_signals(handled=True)"
    status, lines, err = place.run(
        f"""
        from zeroizepy import process
        {watch if when == "before" else ""}
        session = SecureSession()
        path = session.create_temp_file()
        path.write_bytes(SECRET)
        {watch if when == "after" else ""}
        ready(signal.SIGTERM in process.wiping_signals())
        with SecureSession() as inner:
            inner.create_temp_file()
        ready(signal.SIGTERM in process.wiping_signals())
        if {when == "before"}:
            session.close()
        ready(signal.SIGTERM in process.wiping_signals())
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        prelude="",
    )
    assert (status, lines, err) == (-signal.SIGTERM, ["True"] * 3, "")
    assert_nothing_left(place)


def test_the_wiping_handler_outlives_the_session(place: Place) -> None:
    """Put before ours while a session has files, it stands when that has ended."""
    status, lines, err = place.run(
        """
        from zeroizepy import process
        with session:
            process.wipe_on_fatal_signals(handled=True)
        ready(signal.SIGTERM in process.wiping_signals())
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert (status, lines[1:], err) == (-signal.SIGTERM, ["True"], "")


def test_process_one(place: Place) -> None:
    """In process 1 of a container SIGTERM without a handler ends nothing, so it cleans nothing up either."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--pid", "--fork"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs unshare(1) and the right to make a process namespace")
    code = """
import os, signal
from zeroizepy.session import SecureSession
with SecureSession() as session:
    path = session.create_temp_file()
    os.kill(1, signal.SIGTERM)
    print(os.getpid(), path.exists())
"""
    done = subprocess.run(
        [*command, sys.executable, "-I", "-c", code],
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 True\n", "")
    assert_nothing_left(place)


def test_nohup_is_respected(place: Place) -> None:
    """A SIGHUP that was ignored from the start ends nothing."""
    status, lines, _ = place.run(
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with SecureSession() as session:
            path = session.create_temp_file()
            os.kill(os.getpid(), signal.SIGHUP)
            ready("alive", path.exists())
        """,
        prelude="",
    )
    assert (status, lines) == (0, ["alive True"])


def test_a_second_signal_and_ctrl_c_meanwhile(place: Place) -> None:
    """During the clean-up a second SIGTERM changes nothing, and Ctrl-C ends it with a word, leaving a journal."""
    code = """
    from zeroizepy.sessions import removal
    shred = removal.shred_found
    def interrupted(*arguments):
        {}
        return shred(*arguments)
    removal.shred_found = interrupted
    second = session.create_temp_file()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    """
    status, _, err = place.run(code.format("os.kill(os.getpid(), signal.SIGTERM)"))
    assert (status, err) == (-signal.SIGTERM, "")
    assert_nothing_left(place)
    status, lines, err = place.run(code.format("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"))
    assert (status, "the clean-up was interrupted" in err) == (-signal.SIGTERM, True)
    assert len(place.journals) == 1
    assert place.run("SecureSession().close()", prelude="")[0] == 0
    assert_nothing_left(place)
    assert lines


def test_a_signal_in_the_middle_of_the_sessions_own_work(place: Place) -> None:
    """It interrupts the creation of a file, and the end of a session, while their lock is held."""
    for function in ("journal.Journal.intend", "journal.Journal.made", "removal.Removal.shred_file", "os.rmdir"):
        status, _, err = place.run(
            f"""
            from zeroizepy.sessions import journal, removal
            real = {function}
            def interrupted(*arguments, **more):
                os.kill(os.getpid(), signal.SIGTERM)
                return real(*arguments, **more)
            {function} = interrupted
            with session:
                session.create_temp_file(dir=os.environ["PLACE2"])
            ready("too far")
            """,
            PLACE2=str(place.other),
        )
        assert (status, err) == (-signal.SIGTERM, "")
        assert_nothing_left(place)


def test_what_stays_is_told(place: Place) -> None:
    """A hard link is named on stderr, and its journal stays."""
    status, lines, err = place.run(
        f"os.link(path, {str(place.other / 'link')!r}); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    )
    assert status == -signal.SIGTERM
    assert "hard links" in err
    assert lines[0] in err
    assert len(place.journals) == 1


def test_all_sessions_of_the_process(place: Place) -> None:
    """Nested ones, and those of other threads."""
    status, _, err = place.run(
        """
        import threading
        made = threading.Event()
        def work():
            with SecureSession() as own:
                own.create_temp_file().write_bytes(SECRET)
                made.set()
                time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        with SecureSession() as inner:
            inner.create_temp_file().write_bytes(SECRET)
            made.wait(60)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        """
    )
    assert (status, err) == (-signal.SIGTERM, "")
    assert_nothing_left(place)


def test_a_signal_while_a_file_has_a_random_name(place: Place) -> None:
    """It interrupts the removal of a file whose old name is gone already: nothing is left in the program's folder."""
    status, _, err = place.run(
        """
        from zeroizepy.shred.steps import FileRun
        hide = FileRun.hide
        def interrupted(*arguments):
            hidden = hide(*arguments)
            os.kill(os.getpid(), signal.SIGTERM)
            return hidden
        FileRun.hide = interrupted
        with session:
            for _ in range(2):
                session.create_temp_file(dir=os.environ["PLACE2"])
        ready("too far")
        """,
        PLACE2=str(place.other),
    )
    assert (status, err) == (-signal.SIGTERM, "")
    assert_nothing_left(place)


def test_a_session_that_another_thread_cleans_up_is_waited_for(place: Place) -> None:
    """The signal comes while a thread is in the middle of closing: all is gone before the process is."""
    status, _, err = place.run(
        """
        import threading
        from zeroizepy.sessions import removal
        shred, begun = removal.shred_found, threading.Event()
        def slow(*arguments):
            begun.set()
            time.sleep(0.3)
            return shred(*arguments)
        removal.shred_found = slow
        for _ in range(3):
            session.create_temp_file().write_bytes(SECRET)
        threading.Thread(target=session.close).start()
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        """
    )
    assert (status, err) == (-signal.SIGTERM, "")
    assert_nothing_left(place)


def test_a_forked_child_dies_and_leaves_the_parents_files(place: Place) -> None:
    """However early the signal comes, it ends the child as it would have without a session, and nothing else."""
    status, lines, _ = place.run(
        """
        ends = set()
        for _ in range(100):
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            ends.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        ready(ends, path.exists(), signal.pthread_sigmask(signal.SIG_BLOCK, []))
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert (status, lines[1:]) == (-signal.SIGTERM, [f"{{{-signal.SIGTERM}}} True set()"])
    assert_nothing_left(place)


def test_asyncio_takes_the_signal_over_and_gives_it_back(place: Place) -> None:
    """A handler of the loop stands in place of ours; the session ends as its program says."""
    status, lines, err = place.run(
        """
        import asyncio
        async def main():
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            async with SecureSession() as own:
                own.create_temp_file().write_bytes(SECRET)
                loop.add_signal_handler(signal.SIGTERM, stop.set)
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.wait_for(stop.wait(), 60)
            ready("stopped")
            loop.remove_signal_handler(signal.SIGTERM)
        asyncio.run(main())
        session.close()
        ready(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
        """
    )
    assert (status, lines[1:], err) == (0, ["stopped", "True"], "")
    assert_nothing_left(place)
