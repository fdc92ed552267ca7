"""`process.wipe_on_fatal_signals`: what is in memory at a process's death, who is called, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.children import Child, backing_names, need_core_files
from support.tracer import watch_death

from zeroizepy import process

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's ptrace and /proc")

FAULTS = ["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"]
REQUESTS = ["SIGTERM", "SIGHUP", "SIGQUIT"]
# The first secret is in a slot, the second on its own pages, the third memory, the fourth a key with its schedule.
PRELUDE = """
import atexit, ctypes, faulthandler, os, resource, signal, sys, threading
from zeroizepy import *
from zeroizepy import process
from zeroizepy._lib import ffi, lib
signal.alarm(100)  # What should have died and did not must not wait for ever.
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:  # As nohup does, or a shell for what it starts in the background.
        signal.signal(number, signal.SIG_DFL)
SECRET = b"0123456789abcdef" * 2
secrets = [CypherCell(SECRET), CypherCell(SECRET, tier="isolated"), SecureMemory.from_bytes(SECRET), CryptoKey(SECRET)]
def address(secret):
    return int(ffi.cast("uintptr_t", lib.zpy_cell_address(secret._handle)))
def ready():
    print(*(f"{address(secret)}:32" for secret in secrets), flush=True)
    sys.stdin.readline()
def strike(name):
    if name == "SIGSEGV":
        ctypes.string_at(0)
    elif name == "SIGABRT":
        os.abort()
    else:
        os.kill(os.getpid(), signal.Signals[name])
"""
SECRET = b"0123456789abcdef" * 2
ZEROS = bytes(32)


@pytest.fixture
def mlocked() -> Child:
    """Starts programs whose secrets a tracer can read."""
    return Child("mlock")


# ---- what the kernel shows at the end ----


@pytest.mark.parametrize("name", FAULTS + REQUESTS)
def test_secrets_are_zero_at_death(mlocked: Child, name: str) -> None:
    """Read through /proc/PID/mem when the process is on its way out, and it ends by the signal that came."""
    death = watch_death(mlocked, PRELUDE + f"process.wipe_on_fatal_signals()\nready()\nstrike({name!r})")
    assert death.found == [ZEROS] * 4
    assert death.returncode == -signal.Signals[name]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGTERM"])
def test_without_it_they_are_not(mlocked: Child, name: str) -> None:
    """The control: the same witness finds every secret, those on closed pages too."""
    death = watch_death(mlocked, PRELUDE + f"ready()\nstrike({name!r})")
    assert death.found == [SECRET] * 4
    assert death.returncode == -signal.Signals[name]


def test_unasked_signals_do_not_wipe(mlocked: Child) -> None:
    """`signals` is what is watched, and no more."""
    body = "process.wipe_on_fatal_signals([signal.SIGTERM])\nready()\nstrike('SIGHUP')"
    assert watch_death(mlocked, PRELUDE + body).found == [SECRET] * 4


def test_secretmem_is_wiped(child: Child) -> None:
    """On either backing, a Python handler that runs behind ours finds views of the secrets full of zeros."""
    body = """
cell = CypherCell(SECRET)
view = cell.borrow().__enter__()
signal.signal(signal.SIGABRT, lambda *_: (print(bytes(view) == bytes(32), flush=True), os._exit(9)))
process.wipe_on_fatal_signals()
os.kill(os.getpid(), signal.SIGABRT)
for _ in range(10**6): pass
"""
    done = child.run(PRELUDE + body)
    assert (done.stdout, done.returncode) == ("True\n", 9)


@pytest.mark.usefixtures("kernel_settings")
@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGQUIT"])
def test_core_file(mlocked: Child, tmp_path: Path, name: str, watched: bool) -> None:
    """A core file is left as it would be, and the status says so."""
    need_core_files()
    body = f"""
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
if {watched}:
    process.wipe_on_fatal_signals()
ready()
strike({name!r})
"""
    death = watch_death(mlocked, PRELUDE + body, cwd=tmp_path)
    assert death.found == [ZEROS if watched else SECRET] * 4
    assert os.WCOREDUMP(death.status)
    (core,) = tmp_path.iterdir()
    assert core.stat().st_size > 0


# ---- beside other handlers ----

ORDERS = {
    "before": "faulthandler.enable(); process.wipe_on_fatal_signals()",
    "after": "process.wipe_on_fatal_signals(); faulthandler.enable()",
    "both": "process.wipe_on_fatal_signals(); faulthandler.enable(); process.wipe_on_fatal_signals()",
    "twice": "process.wipe_on_fatal_signals(); process.wipe_on_fatal_signals(); faulthandler.enable()",
    "renewed": "faulthandler.enable(); process.wipe_on_fatal_signals(); faulthandler.disable(); faulthandler.enable(); "
    "process.wipe_on_fatal_signals(); faulthandler.disable(); process.wipe_on_fatal_signals(); faulthandler.enable()",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGFPE"])
def test_faulthandler(mlocked: Child, order: str, name: str) -> None:
    """It prints its traceback once, whoever came first; secrets are zero and the status is the signal's."""
    death = watch_death(mlocked, PRELUDE + f"{ORDERS[order]}\nready()\nstrike({name!r})")
    assert death.found == [ZEROS] * 4
    assert death.returncode == -signal.Signals[name]
    assert death.complained.count("Fatal Python error") == 1
    assert 'File "<string>"' in death.complained


HANDLE = """
def handle(number, frame):
    states = [secret.closed if hasattr(secret, "closed") else not secret for secret in secrets[:3]]
    print(number, states, secrets[3].destroyed, flush=True)
    print(CypherCell(b"new").reveal(), flush=True)
    os._exit(5)
"""


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", REQUESTS)
def test_handled_request_keeps_secrets(child: Child, order: str, name: str) -> None:
    """A Python handler, set before or after, is called, and the secrets are there for it."""
    install = [f"signal.signal(signal.{name}, handle)", "process.wipe_on_fatal_signals()"]
    lines = install if order == "before" else install[::-1]
    body = "\n".join([HANDLE, *lines, f"print(process.wiping_signals().count(signal.{name}))", f"strike({name!r})"])
    done = child.run(PRELUDE + body + "\nfor _ in range(10**6): pass")
    expected = f"0\n{int(signal.Signals[name])} [False, False, False] False\nnew\n"
    assert (done.stdout, done.returncode) == (expected, 5), done.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGABRT"])
def test_handler_behind_the_wipe(child: Child, name: str) -> None:
    """With `handled`, and for faults always, the Python handler is called on wiped secrets, and can make new ones."""
    body = f"""{HANDLE}
signal.signal(signal.{name}, handle)
report = process.wipe_on_fatal_signals(handled=True)
assert report.complete
os.kill(os.getpid(), signal.{name})
for _ in range(10**6): pass
"""
    done = child.run(PRELUDE + body)
    expected = f"{int(signal.Signals[name])} [True, True, True] True\nnew\n"
    assert (done.stdout, done.returncode) == (expected, 5), done.stderr


def test_a_wiped_secret_is_refused(child: Child) -> None:
    """What lives on meets errors, not zeros: no message is sealed with a key of zeros, no guess of zeros is right."""
    body = """
cell, key, message = secrets[0], secrets[3], encrypt(b"message", secrets[3])
sealed = CypherCell(SECRET, tier="sealed")
signal.signal(signal.SIGTERM, lambda *_: None)
process.wipe_on_fatal_signals(handled=True)
os.kill(os.getpid(), signal.SIGTERM)
copy, seal, unseal = lambda: cell.copy_into(bytearray(32)), lambda: encrypt(b"x", key), lambda: decrypt(message, key)
for use in (cell.reveal, sealed.reveal, copy, seal, unseal):
    try:
        use()
    except CellWipedError as error:
        print(type(error).__name__)
print(cell.verify(bytes(32)), stats().cells, stats().corruptions)
print(CypherCell(SECRET, tier="sealed").reveal_bytes() == SECRET)
"""
    lines = child.check(PRELUDE + body).splitlines()
    assert lines == ["CellWipedError"] * 3 + ["SecureMemoryClosed"] * 2 + ["False 0 0", "True"]


def test_ignored_stays_ignored(child: Child) -> None:
    """As under nohup: the signal changes nothing, and the report says why."""
    body = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
report = process.wipe_on_fatal_signals(handled=True)
os.kill(os.getpid(), signal.SIGHUP)
(part,) = [part for part in report.signals if part.name == "SIGHUP"]
print(part.done, part.before, part.after, report.complete, secrets[0].reveal_bytes() == SECRET)
"""
    assert child.check(PRELUDE + body) == "False ignored ignored True True\n"


def test_handler_that_came_later(child: Child) -> None:
    """`wiping_signals` sees that ours was replaced, and another call sets it right."""
    body = """
process.wipe_on_fatal_signals()
print(len(process.wiping_signals()))
signal.signal(signal.SIGTERM, signal.default_int_handler)
signal.signal(signal.SIGABRT, signal.SIG_DFL)
print([name for name in ("SIGSEGV", "SIGABRT", "SIGTERM") if signal.Signals[name] not in process.wiping_signals()])
report = process.wipe_on_fatal_signals()
print([(part.name, part.before, part.after) for part in report.signals if part.before != "wipes"])
"""
    assert child.check(PRELUDE + body).splitlines() == [
        "8",
        "['SIGABRT', 'SIGTERM']",
        "[('SIGABRT', 'default', 'wipes'), ('SIGTERM', 'handled', 'handled')]",
    ]


# ---- where it strikes ----

OVERFLOW = """
sys.setrecursionlimit(1 << 30)
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
def deeper(depth):
    return call(depth + 1)
call = kind(deeper)
def overflow():
    secrets[0].wiped
    deeper(0)
"""


@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_stack_overflow(mlocked: Child, where: str) -> None:
    """The handler needs nothing of the stack that is used up."""
    threaded = "thread = threading.Thread(target=overflow)\nthread.start()\nthread.join()"
    watch = "process.wipe_on_fatal_signals()\nfaulthandler.enable()\nready()\n"
    body = OVERFLOW + watch + ("overflow()" if where == "the main thread" else threaded)
    death = watch_death(mlocked, PRELUDE + body)
    assert death.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in death.complained
    assert death.found == [ZEROS] * 4


def test_in_a_forked_child(child: Child) -> None:
    """The child's death wipes nothing of its parent's."""
    body = """
process.wipe_on_fatal_signals()
pid = os.fork()
if pid == 0:
    mine = CypherCell(SECRET)
    strike("SIGSEGV")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), secrets[0].reveal_bytes() == SECRET)
"""
    assert child.check(PRELUDE + body) == "-11 True\n"


def test_programs_that_are_started(child: Child) -> None:
    """A started program dies of a signal as ever and wipes nothing of its parent's (vfork shares the memory)."""
    body = """
import subprocess
process.wipe_on_fatal_signals()
for _ in range(20):
    program = subprocess.Popen(["sleep", "60"])
    program.terminate()
    assert program.wait() == -15
print(secrets[0].reveal_bytes() == SECRET)
"""
    assert child.check(PRELUDE + body) == "True\n"


@pytest.mark.parametrize("when", ["atexit.register(strike, 'SIGSEGV')", "keep = type('Late', (), {'__del__': late})()"])
def test_at_shutdown(child: Child, when: str) -> None:
    """A crash while the interpreter ends is a crash as ever."""
    body = f"""
def late(self, strike=strike):
    strike("SIGSEGV")
process.wipe_on_fatal_signals()
{when}
"""
    assert child.run(PRELUDE + body).returncode == -signal.SIGSEGV


def test_process_one(child: Child) -> None:
    """In process 1 of a container SIGTERM without a handler does nothing, and so it stays."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--pid", "--fork"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs unshare(1) and the right to make a process namespace")
    body = """
assert os.getpid() == 1
report = process.wipe_on_fatal_signals()
os.kill(1, signal.SIGTERM)
print([part.name for part in report.signals if not part.done], secrets[0].reveal_bytes() == SECRET)
"""
    done = subprocess.run(
        [*command, *child.command(PRELUDE + body)],
        env=child.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{REQUESTS} True\n", done.stderr


# ---- the report ----


def test_report(child: Child) -> None:
    """All eight in order, the same again on a second call, as text and as JSON takes it."""
    body = """
import json
first, second = process.wipe_on_fatal_signals(), process.wipe_on_fatal_signals()
print([part.name for part in first.signals], first.complete, first.signal_stack)
print({part.before for part in first.signals}, {part.before for part in second.signals}, second.complete)
print(json.loads(json.dumps(first.to_dict()))["signals"]["SIGTERM"]["after"])
print(str(first).splitlines()[0])
"""
    assert child.check(PRELUDE + body).splitlines() == [
        f"{FAULTS + REQUESTS} True True",
        "{'default'} {'wipes'} True",
        "wipes",
        "SIGSEGV: wipes: wipes all secrets, and then ends the process as it would have",
    ]


@pytest.mark.parametrize("bad", [signal.SIGINT, signal.SIGKILL, 0, -1, 1 << 40])
def test_other_signals_are_refused(child: Child, bad: int) -> None:
    """Nothing is installed when one of them cannot be."""
    body = f"""
try:
    process.wipe_on_fatal_signals([signal.SIGTERM, {int(bad)}])
except ValueError as error:
    print(error)
print(process.wiping_signals())
"""
    names = ", ".join(FAULTS + REQUESTS)
    expected = f"signal {int(bad)} cannot be made to wipe; these can: {names}\n()\n"
    assert child.check(PRELUDE + body) == expected


@pytest.mark.parametrize("bad", ["SIGTERM", None, 15.0, True])
def test_what_is_no_signal_is_refused(bad: object) -> None:
    """A name, a float and a bool are no signal numbers."""
    with pytest.raises(TypeError, match=f"signals must be signal numbers, .* not {type(bad).__name__}"):
        process.wipe_on_fatal_signals([bad])  # type: ignore[list-item]


def test_nothing_asked_changes_nothing(child: Child) -> None:
    """No signals: an empty report."""
    body = (
        "report = process.wipe_on_fatal_signals([])\nprint(report.signals, report.complete, process.wiping_signals())"
    )
    assert child.check(PRELUDE + body) == "() True ()\n"


@pytest.mark.parametrize("backing", backing_names())
def test_threads_at_work(backing: str) -> None:
    """A crash while threads use secrets ends by its signal, on time."""
    body = """
process.wipe_on_fatal_signals()
def work():
    while True:
        for tier in ("packed", "isolated"):
            with CypherCell(SECRET, tier=tier) as view:
                assert bytes(view) == SECRET
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
for _ in range(20000): pass
strike("SIGSEGV")
"""
    for _ in range(10):
        done = Child(backing).run(PRELUDE + body)
        assert (done.returncode, done.stderr) == (-signal.SIGSEGV, "")
