"""from_command: output into a cell, and a clear error for each way in which a program can fail."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.lifetimes import lifetimes

from zeroizepy import CypherCell, SourceError, SourceTimeoutError, ZeroizeError
from zeroizepy.memory import stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")


def python(code: str) -> list[str]:
    """A command line that runs Python code."""
    return [sys.executable, "-I", "-S", "-c", code]


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def written_pid(tmp_path: Path) -> Callable[[], int]:
    """The process id that a program wrote to the file "pid"."""

    def read() -> int:
        return int((tmp_path / "pid").read_text(encoding="ascii"))

    return read


def is_running(pid: int) -> bool:
    """Whether there is such a process, be it a zombie that nobody waited for."""
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 200_000])
def test_output(size: int) -> None:
    """All bytes, whatever the size, and no descriptor stays open."""
    before = descriptors()
    cell = CypherCell.from_command(python(f"import os; os.write(1, b'x' * 3); os.write(1, bytes({size}))"))
    assert cell.reveal_bytes() == b"xxx" + bytes(size)
    assert descriptors() == before


def test_strip() -> None:
    """White space goes only when that was asked for."""
    assert CypherCell.from_command(["echo", " a b "]).reveal() == " a b \n"
    assert CypherCell.from_command(["echo", " a b "], strip=True).reveal() == "a b"


def test_kinds_of_arguments(tmp_path: Path) -> None:
    """str, bytes and paths in any sequence; nothing is expanded, for there is no shell."""
    assert CypherCell.from_command(("echo", b"$HOME;id", tmp_path)).reveal() == f"$HOME;id {tmp_path}\n"


def test_env() -> None:
    """`env` is the whole environment of the program."""
    assert CypherCell.from_command(["/usr/bin/env"], env={"ONLY": "this"}).reveal() == "ONLY=this\n"


def test_standard_input_is_empty(child: Child) -> None:
    """The program cannot take what was meant for this process."""
    code = """
    import sys
    from zeroizepy import CypherCell
    print(len(CypherCell.from_command(["cat"])), sys.stdin.read())
    """
    assert child.check(code, input="mine") == "0 mine\n"


def test_standard_error_is_inherited(child: Child) -> None:
    """What the program says there is the user's to see, and no part of the secret."""
    code = "from zeroizepy import CypherCell; print(len(CypherCell.from_command(['sh', '-c', 'echo aside >&2'])))"
    done = child.run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "aside\n")


def test_exit_status() -> None:
    """The program's name and its status are told, its arguments and its output are not."""
    before = stats().cells
    with pytest.raises(SourceError) as caught:
        CypherCell.from_command(["sh", "-c", "echo output; exit 3", "argument"])
    assert str(caught.value) == "sh exited with status 3; its output was wiped"
    assert caught.value.returncode == 3
    assert isinstance(caught.value, (ZeroizeError, OSError))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert stats().cells == before


def test_ended_by_a_signal() -> None:
    """The signal is told, negative as subprocess has it."""
    with pytest.raises(SourceError, match=r"was ended by signal 9;") as caught:
        CypherCell.from_command(python("import os; os.write(1, b'x'); os.kill(os.getpid(), 9)"))
    assert caught.value.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "ending",
    ["time.sleep(60)", "os.close(1); time.sleep(60)", "[(os.write(1, b'x'), time.sleep(.01)) for _ in iter(int, 1)]"],
)
def test_timeout(tmp_path: Path, written_pid: Callable[[], int], ending: str) -> None:
    """A program that is silent, that closed its output, or that never stops writing is killed and waited for."""
    before, cells = descriptors(), stats().cells
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); os.write(1, b'x'); {ending}"
    for timeout in lifetimes(0.5):
        start = time.monotonic()
        with pytest.raises(SourceTimeoutError, match=r"was still running at its timeout and was killed") as caught:
            CypherCell.from_command(python(code), timeout=timeout)
        assert timeout <= time.monotonic() - start < 59, "the program's own end"
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(encoding="ascii"):
            break  # Before, the program had not begun.
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.returncode is None
    assert caught.value.__context__ is None
    assert not is_running(written_pid())
    assert (descriptors(), stats().cells) == (before, cells)


def test_timeout_not_reached() -> None:
    """A program that ends in time is not told of a timeout."""
    assert CypherCell.from_command(["echo", "x"], timeout=60).reveal() == "x\n"


def test_too_much(tmp_path: Path, written_pid: Callable[[], int]) -> None:
    """A program without end is killed at the limit; one that keeps to it is not."""
    before, cells = descriptors(), stats().cells
    code = (
        f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nwhile True: os.write(1, b'xxxxxxxx')"
    )
    with pytest.raises(ValueError, match=r"max_bytes=1000 bytes"):
        CypherCell.from_command(python(code), max_bytes=1000)
    assert not is_running(written_pid())
    assert (descriptors(), stats().cells) == (before, cells)
    assert len(CypherCell.from_command(["head", "-c", "1000", "/dev/zero"], max_bytes=1000)) == 1000


def test_interrupted(child: Child) -> None:
    """An exception from a signal handler ends the wait, and the program with it."""
    code = """
    import os, signal
    from zeroizepy import CypherCell, command, stats
    class Enough(Exception): pass
    def handler(number, frame):
        while frame is not None and frame.f_code is not command._read_output.__code__:
            frame = frame.f_back
        if frame is not None:  # Before, subprocess has not given the program to us yet.
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Enough
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        CypherCell.from_command(["sleep", "60"])
    except Enough:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("no child left", stats().cells)
    """
    assert child.check(code) == "no child left 0\n"


def test_not_found() -> None:
    """The system's own error, with the program's name."""
    with pytest.raises(FileNotFoundError) as caught:
        CypherCell.from_command(["/nonexistent/program", "argument"])
    assert caught.value.filename == "/nonexistent/program"
    assert "argument" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "error", "message"),
    [
        ("echo x", TypeError, "argv must be a sequence of arguments, not str; no shell"),
        (b"echo", TypeError, "not bytes"),
        (Path("/bin/echo"), TypeError, "not .*Path"),
        (None, TypeError, "not NoneType"),
        ({"echo"}, TypeError, "not set"),
        ([], ValueError, "argv must not be empty"),
        (["echo", 5], TypeError, r"argv\[1\] must be str, bytes or path-like, not int"),
        (["echo", "a\0b"], ValueError, "null byte"),
    ],
)
def test_bad_argv(argv: Any, error: type[Exception], message: str) -> None:
    """Refused before anything runs."""
    with pytest.raises(error, match=message):
        CypherCell.from_command(argv)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeout": -1}, ValueError, "timeout must be between 0"),
        ({"timeout": float("nan")}, ValueError, "timeout must be between 0"),
        ({"timeout": float("inf")}, ValueError, "timeout must be between 0"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds or None, not str"),
        ({"max_bytes": -1}, ValueError, "max_bytes must not be negative, not -1"),
        ({"max_bytes": 1.0}, TypeError, "max_bytes must be an int, not float"),
        ({"ttl_sec": -1}, ValueError, "ttl_sec must be"),
        ({"colour": "red"}, TypeError, "unexpected keyword argument 'colour'"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Refused before anything runs."""
    with pytest.raises(error, match=message):
        CypherCell.from_command(["touch", str(tmp_path / "ran")], **options)
    assert not (tmp_path / "ran").exists()


def test_limits_are_passed_on() -> None:
    """The cell's own arguments mean what they mean elsewhere."""
    cell = CypherCell.from_command(["echo", "x"], volatile=True, ttl_sec=50, tier="isolated")
    assert cell.protection.tier == "isolated"
    assert cell.expires_in is not None
    assert cell.reveal() == "x\n"
    assert cell.wiped
