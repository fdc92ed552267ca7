"""A process seen in the instant of its death: ptrace stops it on its way out, while its memory is still there."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.children import Child

PTRACE_CONT = 7
PTRACE_SEIZE = 0x4206
PTRACE_O_TRACEEXIT = 0x40
PTRACE_EVENT_EXIT = 6
TIMEOUT_S = 600


@dataclass(frozen=True)
class Death:
    """How a traced process ended.

    Attributes:
        found: What stood in its memory at the end, span by span.
        status: As from waitpid.
        printed, complained: Its standard output behind the first line, and its standard error.
    """

    found: list[bytes]
    status: int
    printed: str
    complained: str

    @property
    def returncode(self) -> int:
        """As subprocess has it: minus the signal."""
        return os.waitstatus_to_exitcode(self.status)


def _ptrace(request: int, pid: int, data: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    arguments = (ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(0), ctypes.c_void_p(data))
    if libc.ptrace(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _read(pid: int, spans: list[tuple[int, int]]) -> list[bytes]:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        return [os.pread(memory.fileno(), size, address) for address, size in spans]


def _until_death(pid: int, spans: list[tuple[int, int]]) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return found, status
        event = status >> 16
        if event == PTRACE_EVENT_EXIT:
            found = _read(pid, spans)
        _ptrace(PTRACE_CONT, pid, 0 if event else os.WSTOPSIG(status))


def watch_death(child: Child, code: str, **options: object) -> Death:
    """Run a program that prints "address:size ..." as its first line, waits for a line, and then dies.

    Args:
        child: Starts it.
        code: The program.
        options: For Popen.
    """
    command = child.command(code)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=child.environment(), text=True, **pipes, **options) as process:  # type: ignore[call-overload]
        alarm = signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(TIMEOUT_S)
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            spans = [(int(address), int(size)) for address, size in (part.split(":") for part in line.split())]
            try:
                _ptrace(PTRACE_SEIZE, process.pid, PTRACE_O_TRACEEXIT)
            except PermissionError:
                pytest.skip("needs to be allowed to trace its children (ptrace)")
            process.stdin.write("\n")
            process.stdin.flush()
            found, status = _until_death(process.pid, spans)
            process.returncode = os.waitstatus_to_exitcode(status)
            return Death(found, status, process.stdout.read(), process.stderr.read())
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, alarm)
            process.kill()
