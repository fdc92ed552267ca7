"""Each system call of a shredding fails, one at a time: an answer or an error of ours, and never a false verdict."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.children import TIMEOUT_S, Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = os.urandom(64) * 320
BYSTANDER = os.urandom(5000)

# Forks a child for each line; the child waits until it is traced, and says how its call ended.
PROGRAM = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from zeroizepy.exceptions import FileAccessError, SecureWipeError
from zeroizepy.file import secure_delete
from zeroizepy.memory import SecureMemory
first = SecureMemory(64)
path = sys.argv[1]
def shred():
    try:
        report, name = secure_delete(path, passes=2, verify=True, allow_hard_links=True), "nothing"
    except (FileAccessError, SecureWipeError) as error:
        report, name = error.report, type(error).__name__
    except BaseException as error:
        return f"{type(error).__name__} - - -"
    return f"{name} {report.verdict} {report.unlinked} {report.renamed}"
# What Python imports on the first use is no system call of the shredding.
with open(path, "wb") as file:
    file.write(bytes(20000))
shred()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("ready", flush=True)
for line in sys.stdin:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        print(os.getpid(), flush=True)
        signal.sigwait([signal.SIGUSR1])
        os.write(writer, shred().encode())
        os._exit(0)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(reader) as answer:
        print(status, answer.read(), flush=True)
"""


# Those that the C library and Python use for it here; a call that does not come is skipped. Not getrandom: libsodium
# ends the process when that fails.
CALLS = [
    "openat", "newfstatat", "lseek", "ioctl", "close", "read", "fsync", "fcntl", "renameat2", "ftruncate",
    "fdatasync", "unlinkat", "pwrite64", "pread64", "fstatfs", "flistxattr", "readlink", "mmap", "munmap", "madvise",
    "mlock", "memfd_secret",
]  # fmt: skip
MOST_CALLS = 100
MEMORY = ("MemoryError", "LockLimitError", "ProtectionError")


@dataclass
class Answer:
    """How one run ended: the error's name or `nothing`, the report's verdict, what is left of the file."""

    occurrence: int
    error: str
    verdict: str
    unlinked: bool
    names: int
    has_old_bytes: bool


class Tracer:
    """Runs one shredding after the other, in each of which one system call fails."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self.witness = folder, folder.parent / "witness"
        self.log = folder.parent / "strace.log"
        self.process = process
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, call: str, occurrence: int) -> Answer | None:
        """Fail this occurrence of the call with EIO. None when it did not come any more."""
        for path in (self.witness, *self.folder.iterdir()):
            path.unlink(missing_ok=True)
        (self.folder / "victim").write_bytes(SECRET)
        (self.folder / "bystander").write_bytes(BYSTANDER)
        os.link(self.folder / "victim", self.witness)
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        pid, inject = self._line(), f"inject={call}:error=EIO:when={occurrence}"
        command = ["strace", "-f", "-p", pid, "-o", self.log, "-e", f"trace={call}", "-e", inject]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            attached = strace.stderr.readline()
            os.kill(int(pid), signal.SIGUSR1)  # It waits for this, and cannot have ended.
            status, *said = self._line().split()
        if "attached" not in attached:
            pytest.skip(f"needs to be allowed to trace its children: {attached.strip()}")
        assert status == "0", said
        assert (self.folder / "bystander").read_bytes() == BYSTANDER
        if "INJECTED" not in self.log.read_text(encoding="utf-8", errors="replace"):
            return None
        left = len(os.listdir(self.folder)) - 1
        return Answer(occurrence, said[0], said[1], said[2] == "True", left, SECRET[:64] in self.witness.read_bytes())

    def answers(self, call: str) -> list[Answer]:
        """Of all occurrences, one after the other."""
        found = list(iter_until_none(lambda number: self.run(call, number)))
        if not found:
            pytest.skip(f"no {call} is called here")
        assert len(found) < MOST_CALLS
        return found


def iter_until_none(run: Callable[[int], Answer | None]) -> Iterator[Answer]:
    """The answers for 1, 2, ... up to the first None."""
    for number in range(1, MOST_CALLS + 1):
        answer = run(number)
        if answer is None:
            return
        yield answer


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    """One process for all runs."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    folder = tmp_path_factory.mktemp("syscalls") / "folder"
    folder.mkdir()
    child = Child("auto")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": child.environment()}
    command = child.command(PROGRAM, str(folder / "victim"))
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        yield Tracer(folder, process)
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


def is_sound(answer: Answer) -> bool:
    """Whether what the call said fits what it left."""
    overwritten = answer.verdict.startswith("overwritten")
    if overwritten and answer.has_old_bytes:
        return False
    if answer.error == "nothing":
        return answer.unlinked and answer.names == 0
    if answer.error == "SecureWipeError":
        return answer.unlinked and answer.names == 0 and not answer.has_old_bytes
    if answer.error == "FileAccessError":
        return not overwritten and not answer.unlinked and answer.names == 1
    return answer.error in (*MEMORY, "OSError") and answer.verdict == "-"


@pytest.mark.parametrize("call", CALLS)
def test_a_failing_call_is_no_lie(tracer: Tracer, call: str) -> None:
    """Whichever occurrence fails: the verdict fits the bytes, the error fits the names, no bystander is touched."""
    answers = tracer.answers(call)
    assert [answer for answer in answers if not is_sound(answer)] == []


@pytest.mark.parametrize("call", CALLS)
def test_a_failing_call_has_a_report(tracer: Tracer, call: str) -> None:
    """Each failure that ends the call is an error of ours: one that carries a report, or one about memory."""
    answers = tracer.answers(call)
    assert {answer.error for answer in answers} <= {"nothing", "FileAccessError", "SecureWipeError", *MEMORY}
