"""Kills and Ctrl-C at random moments: the file is gone or still there, and nothing else is changed or left.

A third of ZEROIZEPY_RACE_S is for how many seconds each signal is tried: 3 by default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.children import TIMEOUT_S, Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

RACE_S = float(os.environ.get("ZEROIZEPY_RACE_S", "9")) / 3
SIZE = 3 << 20
CONTENT = os.urandom(4096) * (SIZE // 4096)
LETTERS = "abcdefghijklmnopqrstuvwxyz012345"
BYSTANDERS = {"victim.bak": b"a neighbor", "victi": os.urandom(9000), "a": b"", "v": b"one letter"}

# One warm process serves all tries; each is a fork of it, so that a signal meets the shredding and not the imports. A
# child that has ended waits for its parent, so that the signal cannot meet another process.
PROGRAM = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
from zeroizepy.file import secure_delete
path = sys.argv[1]
for line in sys.stdin:
    number, delay_s = line.split()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            secure_delete(path, passes=3, chunk_size=65536)
        except KeyboardInterrupt as error:
            # Before the file is open for the passes there is nothing to report.
            report = getattr(error, "report", None)
            os._exit(3 if report is None else 4 if report.unlinked else 5)
        os._exit(0)
    if number != "0":
        time.sleep(float(delay_s))
        os.kill(pid, int(number))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, time.monotonic() - started, flush=True)
"""


def names_beside(folder: Path) -> list[str]:
    """What stands in the folder beside the bystanders, which have to be as they were."""
    assert {name: (folder / name).read_bytes() for name in BYSTANDERS} == BYSTANDERS
    return [name for name in os.listdir(folder) if name not in BYSTANDERS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bystanders whose names are close to those that the file has on its way out."""
    path = tmp_path / "folder"
    path.mkdir()
    for name, content in BYSTANDERS.items():
        (path / name).write_bytes(content)
    return path


@pytest.fixture
def shred(folder: Path) -> Iterator[Callable[[int, float], tuple[int, float]]]:
    """Shreds the file `victim`, with a signal after a delay in seconds; returns exit status and seconds."""
    child = Child("auto")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": child.environment(), "text": True}
    command = child.command(PROGRAM, str(folder / "victim"))
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]

        def one(number: int, delay_s: float) -> tuple[int, float]:
            (folder / "victim").write_bytes(CONTENT)
            process.stdin.write(f"{number} {delay_s}\n")
            process.stdin.flush()
            status, seconds = process.stdout.readline().split()
            return int(status), float(seconds)

        yield one
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize(
    ("number", "statuses"),
    [
        pytest.param(signal.SIGKILL, {0, -signal.SIGKILL}, id="SIGKILL"),
        # 3: no report yet; 4: it says unlinked; 5: it does not; the minus: outside of the call.
        pytest.param(signal.SIGINT, {0, 3, 4, 5, -signal.SIGINT}, id="SIGINT"),
    ],
)
def test_a_signal_at_any_moment(
    folder: Path, shred: Callable[[int, float], tuple[int, float]], number: int, statuses: set[int]
) -> None:
    """At most one name is left beside the bystanders: the file's or a random one no longer than it; never two."""
    status, whole_s = shred(0, 0)
    assert (status, names_beside(folder)) == (0, [])
    stop = time.monotonic() + RACE_S
    seen: list[tuple[int, int]] = []
    while len(seen) < 10 or time.monotonic() < stop or not any(left for _, left in seen):
        assert time.monotonic() < stop + TIMEOUT_S, seen
        status, seconds = shred(number, random.uniform(0, whole_s * 1.1))
        assert status in statuses
        if status == 0:  # The machine may be faster now than it was.
            whole_s = seconds
        left = names_beside(folder)
        assert len(left) <= (0 if status in (0, 4) else 1)
        for name in left:
            assert name == "victim" or (len(name) <= len("victim") and not set(name) - set(LETTERS))
            assert (folder / name).stat().st_size in (0, SIZE)
            (folder / name).unlink()
        seen.append((status, len(left)))
