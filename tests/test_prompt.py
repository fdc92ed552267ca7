"""from_prompt at a real pseudo-terminal: no echo, settings restored whatever happens, nothing on Python's heap."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import termios
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import maps

from zeroizepy import CypherCell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.children import Child

TIMEOUT_S = 60

# The terminal comes as descriptor 0 and becomes the session's. "told" goes to the test, past the terminal.
PRELUDE = """
import fcntl, os, signal, sys, termios
import zeroizepy
from zeroizepy import CypherCell, stats
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
def told(*things):
    print(*things, flush=True)
"""


@dataclass
class Terminal:
    """A program at a pseudo-terminal, and the user's side of it."""

    master: int
    slave: int
    process: subprocess.Popen[str]
    shown: bytes = b""

    def type(self, text: bytes) -> None:
        """Press keys, and see to it that the terminal has taken in what they are."""
        os.write(self.master, text)
        select.select([self.slave], [], [], 0)  # As long as no line is complete, this waits for what is on its way.

    def await_shown(self, text: bytes) -> None:
        """Wait until the terminal shows a text, in what it has not been asked for yet."""
        stop = time.monotonic() + TIMEOUT_S
        start = len(self.shown)
        while text not in self.shown[start:]:
            assert select.select([self.master], [], [], max(0.0, stop - time.monotonic()))[0], self.shown
            self.shown += os.read(self.master, 4096)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def told(self) -> str:
        """The next line that the program told the test."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> str:
        """Wait for the end, which must be a good one. Returns the rest of what was told."""
        rest, errors = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, rest + errors
        end = b"<the end>"  # What a program shows is on its way for a while; this comes behind all of it.
        os.write(self.slave, end)
        self.await_shown(end)
        self.shown = self.shown.removesuffix(end)
        return rest.strip()


@contextmanager
def terminal(child: Child, body: str) -> Iterator[Terminal]:
    """Run a program at a new pseudo-terminal, whose other end stays open so that all that it shows can be read.

    It echoes until the program turns that off, which may be before the caller gets to look.
    """
    master, slave = os.openpty()
    assert termios.tcgetattr(master)[3] & termios.ECHO
    program = subprocess.Popen(
        child.command(PRELUDE + body),
        env=child.environment(),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Terminal(master, slave, program)
    finally:
        program.kill()
        program.communicate()
        os.close(slave)
        os.close(master)


ASK = "cell = CypherCell.from_prompt('Password: ')\ntold(cell.reveal_bytes(), stats().cells)\n"


def test_no_echo(child: Child) -> None:
    """The prompt and a new line are shown, the secret is not, and afterwards the terminal echoes again."""
    with terminal(child, ASK) as user:
        user.await_shown(b"Password: ")
        assert not user.echoes()
        user.type(b"s3cr3t w0rd\n")
        assert user.end() == "b's3cr3t w0rd' 1"
        assert user.shown == b"Password: \r\n"
        assert user.echoes()


def test_the_check_sees_an_echo(child: Child) -> None:
    """The control: what another program reads is shown."""
    with terminal(child, "os.write(0, b'Name: '); told(os.read(0, 100))") as user:
        user.await_shown(b"Name: ")
        user.type(b"s3cr3t\n")
        assert user.end() == r"b's3cr3t\n'"
        assert b"s3cr3t" in user.shown


def test_terminal_before_standard_input(child: Child) -> None:
    """/dev/tty is asked even when standard input comes from elsewhere."""
    with terminal(child, "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n" + ASK) as user:
        user.await_shown(b"Password: ")
        user.type(b"typed\n")
        assert user.end() == "b'typed' 1"


def test_standard_input_without_controlling_terminal(child: Child) -> None:
    """Descriptor 0 is a terminal and /dev/tty is none: echo is off there, and standard error has the prompt."""
    body = "fcntl.ioctl(0, termios.TIOCNOTTY, 0)\n" + ASK
    with terminal(child, "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + body) as user:
        assert user.process.stderr is not None
        assert user.process.stderr.read(10) == "Password: "
        assert not user.echoes()
        user.type(b"typed\n")
        assert user.end() == "b'typed' 1"
        assert b"typed" not in user.shown
        assert user.echoes()


def test_line_editing(child: Child) -> None:
    """The terminal's own keys work: erase, kill, and return."""
    with terminal(child, ASK) as user:
        user.await_shown(b"Password: ")
        user.type(b"wrong\x15rightt\x7f\r")
        assert user.end() == "b'right' 1"


def test_raw_terminal(child: Child) -> None:
    """A program that had switched lines and echo off gets a line all the same, and its own settings back."""
    body = f"""
import tty
tty.setraw(0)
before = termios.tcgetattr(0)
{ASK}
told(termios.tcgetattr(0) == before)
"""
    with terminal(child, body) as user:
        user.await_shown(b"Password: ")
        user.type(b"typedd\x7f\r")
        assert user.end().splitlines() == ["b'typed' 1", "True"]


def test_typed_ahead(child: Child) -> None:
    """What came before the prompt, and was echoed, is not taken for the secret."""
    with terminal(child, "told('up'); os.read(0, 3)\n" + ASK) as user:
        assert user.told() == "up"
        user.type(b"go\nechoed\n")
        user.await_shown(b"Password: ")
        user.type(b"typed\n")
        assert user.end() == "b'typed' 1"


@pytest.mark.parametrize(
    ("typed", "told"),
    [(b"one\n", "one"), (b"\n", ""), (b"k\xc3\xa4\n", "k\\xc3\\xa4"), (b"half\x04\x04", "half")],
)
def test_answers(child: Child, typed: bytes, told: str) -> None:
    """An empty line is an empty secret; bytes come as they are; Ctrl-D ends a line that has begun."""
    with terminal(child, ASK) as user:
        user.await_shown(b"Password: ")
        user.type(typed)
        assert user.end() == f"b'{told}' 1"


def test_end_of_file(child: Child) -> None:
    """Ctrl-D on an empty line is EOFError."""
    body = "try: CypherCell.from_prompt('? ')\nexcept EOFError as error: told(error, stats().cells)\n"
    with terminal(child, body) as user:
        user.await_shown(b"? ")
        user.type(b"\x04")
        assert user.end() == "the input ended where a secret was asked for 0"
        assert user.echoes()


@pytest.mark.parametrize("how", ["ctrl-c", "term"])
def test_interrupted(child: Child, how: str) -> None:
    """Ctrl-C, and a SIGTERM whose handler raises: settings restored, rest of the line dropped, no cell left."""
    body = """
import select
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
before = termios.tcgetattr(0)
try:
    CypherCell.from_prompt('? ')
except (KeyboardInterrupt, SystemExit) as error:
    after = termios.tcgetattr(0)
    restored = after == before
    after[3] &= ~termios.ICANON  # Otherwise a line without its end could not be read even if it were there.
    termios.tcsetattr(0, termios.TCSANOW, after)
    told(type(error).__name__, restored, select.select([0], [], [], 0)[0], stats().cells)
"""
    with terminal(child, body) as user:
        user.await_shown(b"? ")
        user.type(b"half of it")
        assert not user.echoes()
        if how == "ctrl-c":
            user.type(b"\x03")
        else:
            user.process.send_signal(signal.SIGTERM)
        assert user.end() == ("KeyboardInterrupt" if how == "ctrl-c" else "SystemExit") + " True [] 0"
        assert user.echoes()
        assert user.shown == b"? \r\n"


def test_interrupted_as_soon_as_it_is_there(child: Child) -> None:
    """A handler's exception right behind the prompt: a new line is shown, and what was made for the answer is wiped."""
    body = """
write, live = os.write, []
def interrupted(fd, text):
    written = write(fd, text)
    if text == b'? ':
        live.append(stats().cells)
        raise KeyboardInterrupt
    return written
os.write = interrupted
try:
    CypherCell.from_prompt('? ')
except KeyboardInterrupt:
    told(*live, stats().cells)
"""
    with terminal(child, body) as user:
        assert user.end() == "1 0"
        assert user.echoes()
        assert user.shown == b"? \r\n"


def test_signal_that_is_handled(child: Child) -> None:
    """A handler that returns does not end the prompt, nor lose what was typed."""
    body = "signal.signal(signal.SIGUSR1, lambda *_: told('handled'))\n" + ASK
    with terminal(child, body) as user:
        user.await_shown(b"Password: ")
        user.process.send_signal(signal.SIGUSR1)
        assert user.told() == "handled"
        user.type(b"typed\n")
        assert user.end() == "b'typed' 1"


@pytest.mark.parametrize(("second", "told"), [(b"same\n", "True 1"), (b"other\n", "False 0"), (b"same\0\n", "False 0")])
def test_confirm(child: Child, second: bytes, told: str) -> None:
    """Two equal entries make a cell; two others a ValueError without a cell, and neither is shown."""
    body = """
try:
    cell = CypherCell.from_prompt('New: ', confirm=True)
    told(cell.verify(b'same'), stats().cells)
except ValueError as error:
    assert str(error) == 'the two entries differ; ask again'
    told(False, stats().cells)
"""
    with terminal(child, body) as user:
        user.await_shown(b"New: ")
        user.type(b"same\n")
        user.await_shown(b"Again: ")
        user.type(second)
        assert user.end() == told
        assert user.shown == b"New: \r\nAgain: \r\n"
        assert user.echoes()


@pytest.mark.parametrize("size", [4094, 4095, 6000])
def test_line_that_the_terminal_cuts(child: Child, size: int) -> None:
    """The terminal drops what is over 4095 bytes without a word, so a line that may have been cut is refused."""
    body = """
try:
    told(len(CypherCell.from_prompt('? ')))
except ValueError as error:
    told(error)
"""
    with terminal(child, body) as user:
        user.await_shown(b"? ")
        for start in range(0, size, 500):  # A pseudo-terminal takes no more than it has room for.
            user.type(b"x" * min(500, size - start))
        user.type(b"\n")
        told = user.end()
        assert told == "4094" if size == 4094 else told.startswith("the line is longer than 4094 bytes")
        assert user.echoes()


@pytest.mark.parametrize("through", ["from_prompt", "control"])
def test_residue(child: Child, through: str) -> None:
    """A parent's scan finds the secret in the slot alone; read by Python instead, it is found."""
    secret = secrets.token_urlsafe(48).encode()
    ask = "cell = CypherCell.from_prompt('? ', confirm=True)"
    control = "os.write(0, b'? '); held = os.read(0, 200); os.write(0, b'Again: '); cell = CypherCell(os.read(0, 200))"
    body = f"""
from zeroizepy import _lib
{ask if through == "from_prompt" else control}
with cell.borrow() as view:
    start = int(_lib.ffi.cast("uintptr_t", _lib.ffi.from_buffer("uint8_t[]", view)))
    del view
told(start, len(cell))
os.read(0, 1)
"""
    with terminal(child, body) as user:
        for question in (b"? ", b"Again: "):
            user.await_shown(question)
            user.type(secret + b"\n")
        start, size = (int(word) for word in user.told().split())
        found: dict[str, list[int]] = {}
        for name, needle in (("whole", secret), ("tail", secret[-16:])):
            try:
                addresses = maps.find_in_memory(user.process.pid, needle)
            except PermissionError:
                pytest.skip("needs the right to read a child's /proc/PID/mem")
            found[name] = [at for at in addresses if not start <= at < start + size]
        user.type(b"\n")
        user.end()
    if through == "control":
        assert found["whole"]
    else:
        assert found == {"whole": [], "tail": []}


# ---- without a terminal ----


def run_piped(child: Child, code: str, fed: bytes) -> str:
    """Run a program in a session without a terminal; standard input is a pipe."""
    done = subprocess.run(
        child.command(PRELUDE + code),
        env=child.environment(),
        input=fed,
        capture_output=True,
        timeout=TIMEOUT_S,
        start_new_session=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("fed", "told"),
    [
        (b"one\ntwo\n", r"b'one' b'two\n'"),
        (b"one\r\ntwo", "b'one' b'two'"),
        (b"\nrest", "b'' b'rest'"),
        (b"\r\n", "b'' b''"),
        (b" one \r\t\n", r"b' one \r\t' b''"),
        (b"no newline", "b'no newline' b''"),
        (b"x" * 4094 + b"\r\nrest", f"b'{'x' * 4094}' b'rest'"),
    ],
)
def test_pipe(child: Child, fed: bytes, told: str) -> None:
    """One line, no prompt anywhere, and nothing behind its newline is taken."""
    assert run_piped(child, "told(CypherCell.from_prompt('? ').reveal_bytes(), os.read(0, 100))", fed) == told


def test_pipe_confirm(child: Child) -> None:
    """Two lines."""
    code = "told(len(CypherCell.from_prompt('? ', confirm=True)), os.read(0, 100))"
    assert run_piped(child, code, b"same\nsame\nrest") == "4 b'rest'"


@pytest.mark.parametrize(
    ("fed", "error"),
    [
        (b"", "EOFError"),
        (b"x" * 4095 + b"\n", "ValueError"),
        (b"x" * 9000, "ValueError"),
        (b"one\n", "EOFError"),
        (b"one\ntwo\n", "ValueError"),
    ],
)
def test_pipe_fails(child: Child, fed: bytes, error: str) -> None:
    """An end before the first byte, a line too long, a second line that is missing or differs; no cell stays."""
    confirm = fed.startswith(b"one")
    code = f"""
try:
    CypherCell.from_prompt('? ', confirm={confirm})
except Exception as error:
    told(type(error).__name__, stats().cells)
"""
    assert run_piped(child, code, fed) == f"{error} 0"


def test_standard_input_closed(child: Child) -> None:
    """The system's own error."""
    code = "os.close(0)\ntry: CypherCell.from_prompt('? ')\nexcept OSError as error: told(error)\n"
    assert run_piped(child, code, b"") == "[Errno 9] Bad file descriptor"


def test_limits_are_passed_on(child: Child) -> None:
    """The cell's own arguments mean what they mean elsewhere."""
    code = """
cell = CypherCell.from_prompt('? ', volatile=True, ttl_sec=1000, tier='isolated')
told(cell.protection.tier, 900 < cell.expires_in <= 1000, cell.reveal(), cell.wiped)
"""
    assert run_piped(child, code, b"x\n") == "isolated True x True"


@pytest.mark.parametrize("prompt", [None, b"bytes", 5])
def test_wrong_type(prompt: Any) -> None:
    """TypeError before anything is read."""
    with pytest.raises(TypeError, match=rf"prompt must be str, not {type(prompt).__name__}"):
        CypherCell.from_prompt(prompt)
