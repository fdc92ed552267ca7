"""Runs the installed command in subprocesses, in a pipe and on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = [sys.executable, "-I", "-m", "zeroizepy"]
_DROPPED = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS", "ZEROIZEPY_TRACEBACK", "PYTHONPATH")


@dataclass
class Result:
    """What a command answered."""

    status: int
    out: str
    err: str

    def errors(self) -> list[str]:
        """The lines of stderr that are no notes."""
        assert "Traceback" not in self.err + self.out
        return [line for line in self.err.splitlines() if not line.startswith("zeroizepy: note:")]


def environment(**more: str) -> dict[str, str]:
    """The tests' environment without what changes the looks of the output."""
    base = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return {**base, **more}


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Result]:
    """Run `zeroizepy ARGS...` in the test's folder, with pipes for output."""

    def run(*arguments: object, pass_fds: tuple[int, ...] = (), **more: str) -> Result:
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env=environment(**more),
            pass_fds=pass_fds,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def terminal(tmp_path: Path) -> Callable[..., tuple[int, bytes]]:
    """Run `zeroizepy ARGS...` with a pseudo-terminal as stdin, stdout and stderr; give status and what it showed.

    `typed` is typed before it asks; other keywords are variables of its environment.
    """

    def run(*arguments: object, typed: bytes = b"", **more: str) -> tuple[int, bytes]:
        leader, follower = pty.openpty()
        os.write(leader, typed)
        try:
            child = subprocess.Popen(
                [*PROGRAM, *map(str, arguments)],
                stdin=follower,
                stdout=follower,
                stderr=follower,
                cwd=tmp_path,
                env=environment(**{"TERM": "xterm-256color", **more}),
            )
        finally:
            os.close(follower)
        shown = b""
        try:
            while select.select([leader], [], [], 60)[0]:
                part = os.read(leader, 65536)
                if not part:
                    break
                shown += part
        except OSError:
            pass  # Linux answers EIO once the child's side is closed.
        finally:
            os.close(leader)
        return child.wait(timeout=60), shown

    return run


@pytest.fixture
def program() -> list[str]:
    """The argument list that starts the installed command."""
    return PROGRAM


@pytest.fixture
def clean_environment() -> Callable[..., dict[str, str]]:
    """Makes an environment without what changes the looks of the output, with the variables given."""
    return environment


@pytest.fixture
def run_script(
    tmp_path: Path, clean_environment: Callable[..., dict[str, str]]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `zeroizepy ARGUMENTS` in an interpreter after some preparation, both Python."""

    def run(preparation: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        lines = [
            textwrap.dedent(preparation),
            "import sys",
            f"sys.argv = ['zeroizepy', *{arguments!r}]",
            "from zeroizepy.__main__ import main",
            "sys.exit(main())",
        ]
        return subprocess.run(
            [sys.executable, "-I", "-c", "\n".join(lines)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=clean_environment(**more),
            timeout=120,
            check=False,
        )

    return run
