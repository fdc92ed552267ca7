"""A process that opens a session and then ends in a way that it cannot clean up after."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .children import TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"what the session keeps, 0123456789abcdef\n"

_HEAD = """
import os, sys, signal, time
for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # Under nohup the tests ignore the one, and their children would, too.
from zeroizepy.session import SecureSession
SECRET = b"what the session keeps, 0123456789abcdef" + bytes([10])
def ready(*things):
    print(*things, flush=True)
"""
_PRELUDES = {
    "": _HEAD,
    "session": _HEAD
    + """
session = SecureSession()
path = session.create_temp_file(".txt", dir=os.environ.get("PLACE"))
path.write_bytes(SECRET)
ready(path)
""",
}


@dataclass
class Place:
    """Folders of one test: temporary files, journals, and one more.

    Attributes:
        root: Where they are.
    """

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.temporary, self.other):
            folder.mkdir()

    @property
    def temporary(self) -> Path:
        """TMPDIR of the programs."""
        return self.root / "T"

    @property
    def other(self) -> Path:
        """A folder for files that are asked for by `dir`."""
        return self.root / "other"

    @property
    def state(self) -> Path:
        """ZEROIZEPY_STATE_DIR; not made in advance."""
        return self.root / "state"

    @property
    def journals(self) -> list[Path]:
        """The journals there are."""
        return sorted(self.state.glob("*.journal"))

    def environment(self, **more: str) -> dict[str, str]:
        """The tests' environment with these folders."""
        return {**os.environ, "TMPDIR": str(self.temporary), "ZEROIZEPY_STATE_DIR": str(self.state), **more}

    def start(self, code: str, prelude: str = "session", **more: str) -> subprocess.Popen[str]:
        """Start a program; with prelude "session" it has opened one, made a file, and printed its path."""
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _PRELUDES[prelude] + textwrap.dedent(code)],
            env=self.environment(**more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, prelude: str = "session", **more: str) -> tuple[int, list[str], str]:
        """Run a program to its end: its status, the lines it printed, and its stderr."""
        process = self.start(code, prelude, **more)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out.splitlines(), err

    def left(self) -> list[str]:
        """What is below the two folders for files."""
        found = (path for path in self.root.rglob("*") if self.state not in path.parents)
        return sorted(str(path.relative_to(self.root)) for path in found)
