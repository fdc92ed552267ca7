"""A time to live ends when it ends: the bytes are zero then, whatever the program does. The kernel is the witness."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellExpiredError
from zeroizepy.memory import stats

if TYPE_CHECKING:
    from support.children import Child

IDLE = "time.sleep(5)"
BUSY = "sum(range(10**10))"  # One call into C that holds the GIL for minutes.
PROGRAM = """
import time, zeroizepy
from zeroizepy._lib import ffi, lib
cell = zeroizepy.CypherCell(b"0123456789abcdef" * 2, ttl_sec=0.15)
deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + cell.expires_in
print(int(ffi.cast("uintptr_t", lib.zpy_cell_address(cell._handle))), deadline, flush=True)
"""
LATE_S = 0.010
ALARM = signal.SIGRTMAX - 7  # What wakes the thread.


@pytest.mark.parametrize("work", [IDLE, BUSY], ids=["idle", "busy"])
def test_bytes_are_zero_at_the_deadline(work: str) -> None:
    """Seen through /proc/PID/mem, the secret stands until its deadline and is zero within 10 ms of it."""
    late = []
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM + work],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ZEROIZEPY_BACKEND": "mlock"},
        ) as child:
            try:
                assert child.stdout is not None
                address, deadline = child.stdout.readline().split()
                late.append(lateness(child.pid, int(address), float(deadline)))
            finally:
                child.kill()
    assert statistics.median(late) < LATE_S, late


def lateness(pid: int, address: int, deadline: float) -> float:
    """Seconds from the deadline until the first look that found zeros."""
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError:
        pytest.skip("the memory of a child may not be read here (ptrace_scope)")
    try:
        assert os.pread(memory, 32, address) == b"0123456789abcdef" * 2
        while True:
            content = os.pread(memory, 32, address)
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            if content == bytes(32):
                assert now > deadline - 0.002, "wiped before its time"
                return now - deadline
            assert now < deadline + 2, "never wiped"
            time.sleep(0.0005)
    finally:
        os.close(memory)


def test_a_view_reads_zeros_after_the_deadline() -> None:
    """Nothing needs to touch the cell; the last error says why it ended."""
    expired = stats().expiries
    cell = CypherCell(b"secret", ttl_sec=0.05)
    with cell.borrow() as view:
        assert bytes(view) == b"secret"
        time.sleep(0.15)
        assert bytes(view) == bytes(6)
    assert stats().expiries == expired + 1
    with pytest.raises(CellExpiredError, match=r"^TTL expired$"):
        cell.reveal()


def test_cells_wiped_early_do_not_pile_up() -> None:
    """A million short lives under long deadlines leave no heap behind them."""
    status = Path("/proc/self/status")

    def resident() -> int:
        return int(status.read_text(encoding="ascii").split("VmRSS:")[1].split()[0])

    for _ in range(1000):
        CypherCell(b"x", ttl_sec=1000).wipe()
    before = resident()
    for _ in range(100_000):
        CypherCell(b"x", ttl_sec=1000).wipe()
    assert resident() - before < 1024


def test_one_thread_that_no_signal_reaches() -> None:
    """The thread has all signals blocked, so Python's handlers run where Python expects them; it awaits one."""
    cell = CypherCell(b"x", ttl_sec=100)
    threads = [path for path in Path("/proc/self/task").iterdir() if (path / "comm").read_text() == "zpy-reaper\n"]
    assert len(threads) == 1
    blocked = (threads[0] / "status").read_text().split("SigBlk:")[1].split()[0]
    # All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
    assert int(blocked, 16) | 1 << 8 | 1 << 18 | 3 << 31 | 1 << (ALARM - 1) == (1 << 64) - 1
    cell.wipe()


def test_a_forked_child_keeps_the_deadline_of_an_inherited_cell() -> None:
    """os.fork takes no threads along; the child's own keeps the deadline."""
    cell = CypherCell(b"secret", ttl_sec=0.2, inherit=True)
    with cell.borrow() as view:
        pid = os.fork()
        if pid == 0:
            alive = bytes(view) == b"secret"
            time.sleep(0.4)
            os._exit(0 if alive and bytes(view) == bytes(6) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# asleep() waits until the thread sleeps towards a far deadline; kept() is whether a near one is kept, nobody asking.
ASLEEP = """
import os, signal, time
from zeroizepy import CypherCell
ALARM = signal.SIGRTMAX - 7
far = []
def asleep():
    far.append(CypherCell(b"x", ttl_sec=3600))
    time.sleep(0.1)
def kept():
    with CypherCell(b"secret", ttl_sec=0.2).borrow() as view:
        assert bytes(view) == b"secret"
        end = time.monotonic() + 5
        while bytes(view) != bytes(6) and time.monotonic() < end:
            time.sleep(0.01)
        return bytes(view) == bytes(6)
def descriptors():
    return {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{name}")}
"""


def test_closing_all_descriptors_loses_no_deadline(child: Child) -> None:
    """What a daemon does when it starts hides no later, sooner deadline from the thread."""
    assert child.check(ASLEEP + "asleep(); os.closerange(3, 1024); print(kept())") == "True\n"


def test_no_descriptor_is_used(child: Child) -> None:
    """So none can be closed, nor its number be the program's own when a forked child tidies up."""
    body = """
before = descriptors()
asleep()
print(descriptors() == before, kept(), descriptors() == before)
"""
    assert child.check(ASLEEP + body) == "True True True\n"


WAITS = """
signal.pthread_sigmask(signal.SIG_BLOCK, [ALARM])
asleep()
for _ in range(100):
    os.kill(os.getpid(), ALARM)
    {meanwhile}
    info = signal.sigtimedwait([ALARM], 10)
    assert info is not None and (info.si_code, info.si_pid) == (0, os.getpid()), info
print(signal.sigtimedwait([ALARM], 0.05), kept())
"""


@pytest.mark.parametrize("meanwhile", ["pass", "time.sleep(0.005)"], ids=["at once", "later"])
def test_signals_that_the_program_waits_for_are_its_own(child: Child, meanwhile: str) -> None:
    """A program that uses the thread's signal for itself gets each one, as it was sent and once; deadlines hold."""
    assert child.check(ASLEEP + WAITS.format(meanwhile=meanwhile)) == "None True\n"


def test_signals_that_the_program_handles_are_its_own(child: Child) -> None:
    """Each reaches the program's handler, once, and the thread's own never do."""
    body = """
calls = []
signal.signal(ALARM, lambda number, frame: calls.append(number))
asleep()
for count in range(1, 101):
    os.kill(os.getpid(), ALARM)
    end = time.monotonic() + 10
    while len(calls) < count and time.monotonic() < end:
        time.sleep(0.001)
print(kept(), len(calls))
"""
    assert child.check(ASLEEP + body) == "True 100\n"


def test_a_signal_left_pending_holds_up_no_deadline(child: Child) -> None:
    """While the program leaves one of its own unread, and when it ignores the number."""
    body = """
signal.pthread_sigmask(signal.SIG_BLOCK, [ALARM])
asleep()
os.kill(os.getpid(), ALARM)
time.sleep(0.05)
print(kept(), signal.sigtimedwait([ALARM], 10).si_signo == ALARM)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [ALARM])
signal.signal(ALARM, signal.SIG_IGN)
print(kept())
"""
    assert child.check(ASLEEP + body) == "True True\nTrue\n"
