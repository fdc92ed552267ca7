"""`zeroizepy.process.harden` and its parts, with the kernel as witness: each runs in a process of its own."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import sys
from pathlib import Path

import pytest
from support.children import Child, backing_names, need_core_files

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl and /proc")

PRELUDE = """
import json, os, resource, signal, sys, threading, time
from zeroizepy import process
from zeroizepy._lib import lib
from zeroizepy.memory import stats
def status(name, thread="self"):
    with open(f"/proc/self/task/{os.getpid() if thread == 'self' else thread}/status") as file:
        return next(line.split()[1] for line in file if line.startswith(name + ":"))
"""


@pytest.fixture
def child() -> Child:
    """Starts programs; hardening is the same on each backing."""
    return Child(backing_names()[0])


def run(child: Child, body: str, *arguments: str, **options: object) -> list[str]:
    """What a program prints, line by line."""
    return child.check(PRELUDE + body, *arguments, **options).splitlines()  # type: ignore[arg-type]


# ---- core dumps ----


@pytest.mark.usefixtures("kernel_settings")
@pytest.mark.parametrize(
    ("action", "leaves_core"),
    [
        ("pass", True),
        ("process.harden(core_dumps=False, dumpable=False)", True),
        ("process.disable_core_dumps()", False),
        ("process.set_not_dumpable()", False),
        ("process.harden()", False),
    ],
)
def test_core_file(child: Child, tmp_path: Path, action: str, leaves_core: bool) -> None:
    """SIGSEGV leaves a core file in a process that nothing was done to, and none after either part."""
    need_core_files()
    body = f"""
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
{action}
os.kill(os.getpid(), signal.SIGSEGV)
"""
    done = child.run(PRELUDE + body, cwd=tmp_path)
    assert done.returncode == -11, done.stderr
    assert bool(os.listdir(tmp_path)) == leaves_core


def test_core_limit_cannot_be_raised_again(child: Child) -> None:
    """Both limits are 0, in programs that are started later, too, and the report has what was before."""
    body = """
resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))
before = resource.getrlimit(resource.RLIMIT_CORE)
part = process.disable_core_dumps()
print(part.done, part.errno, part.before.soft_bytes, part.after == process.Limit(0, 0))
print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)
os.execvp("sh", ["sh", "-c", "ulimit -c; ulimit -Hc"])
"""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] not in (resource.RLIM_INFINITY, 4096):
        pytest.skip("needs a hard RLIMIT_CORE without end")
    assert run(child, body) == ["True None 4096 True", "(0, 0)", "0", "0"]


# ---- the dumpable flag ----

OPEN_MEMORY = """
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
assert lib.zpy_process_set_dumpable(1) == lib.ZPY_OK  # Changing IDs took it away.
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    {action}
    os.write(writer, b".")
    signal.pause()
    os._exit(0)
os.read(reader, 1)
try:
    open(f"/proc/{{pid}}/mem", "rb").close()
    print("opened")
except OSError as error:
    print(type(error).__name__)
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("pass", "opened"),
        ("process.set_not_dumpable()", "PermissionError"),
        ("process.harden()", "PermissionError"),
        ("process.harden(dumpable=False)", "opened"),
    ],
)
def test_memory_is_closed_to_the_same_user(child: Child, action: str, outcome: str) -> None:
    """A parent with the same user ID opens the memory of a process, unless that is not dumpable."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() not in ("0", "1"):
        pytest.skip("needs kernel.yama.ptrace_scope 0 or 1, under which a parent may trace its child")
    assert run(child, OPEN_MEMORY.format(action=action)) == [outcome]


def test_facts_know_the_flag(child: Child) -> None:
    """`facts` reads it from prctl, so that root is told, too; a forked child inherits it and `execve` sets it anew."""
    body = """
print(process.facts().core_dumps.dumpable)
part = process.set_not_dumpable()
print(part.done, part.before, part.after, process.facts().core_dumps.dumpable, flush=True)
pid = os.fork()
if pid == 0:
    print(process.facts().core_dumps.dumpable, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
text = "from zeroizepy import process; print(process.facts().core_dumps.dumpable)"
os.execv(sys.executable, [sys.executable, "-I", "-c", text])
"""
    assert run(child, body) == ["True", "True 1 0 False", "False", "True"]


# ---- no new privileges ----


def test_no_new_privileges(child: Child) -> None:
    """The kernel shows the flag; without the argument it is left alone."""
    body = """
first = process.harden()
print(status("NoNewPrivs"), first.no_new_privileges.asked, first.no_new_privileges.done, first.complete)
second = process.harden(no_new_privileges=True)
part = second.no_new_privileges
print(status("NoNewPrivs"), part.asked, part.done, part.before, part.after, process.facts().no_new_privileges)
"""
    if "NoNewPrivs:\t0" not in Path("/proc/self/status").read_text():
        pytest.skip("needs to start without no_new_privs")
    assert run(child, body) == ["0 False False True", "1 True True False True True"]


def test_threads_that_ran_before(child: Child) -> None:
    """They keep their privileges, and the part says so instead of claiming the process."""
    body = """
ready, end = threading.Event(), threading.Event()
def wait():
    ready.set()
    end.wait()
thread = threading.Thread(target=wait)
thread.start()
ready.wait()
part = process.set_no_new_privileges()
print(status("NoNewPrivs"), status("NoNewPrivs", thread.native_id), part.done, part.after, part.errno)
print(part)
end.set()
thread.join()
while os.path.exists(f"/proc/self/task/{thread.native_id}"):  # The kernel may take a moment longer than Python.
    time.sleep(0.001)
print(process.set_no_new_privileges().done)
"""
    if "NoNewPrivs:\t0" not in Path("/proc/self/status").read_text():
        pytest.skip("needs to start without no_new_privs")
    first, second, third = run(child, body)
    assert (first, third) == ("1 0 False False None", "True")
    assert second.startswith("no_new_privileges: NOT DONE: 1 of 2 threads ran before")


# ---- the lock limit ----


def test_soft_lock_limit_is_raised(child: Child) -> None:
    """A soft limit that was lowered after the import goes back up to the hard one, without privileges."""
    body = """
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
resource.setrlimit(resource.RLIMIT_MEMLOCK, (8192, hard))
print(process.raise_lock_limit(asked=False).done, resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
part = process.harden(dumpable=False, core_dumps=False).lock_limit
print(part.done, part.errno, part.before.soft_bytes, resource.getrlimit(resource.RLIMIT_MEMLOCK) == (hard, hard))
"""
    assert run(child, body) == ["False 8192", "True None 8192 True"]


# At the import the kernel refuses to raise the limit, as if it had been raised by somebody else later.
GROW = """
import ctypes, resource
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 18, hard))
ctypes.CDLL(None).zpy_fault_arm(1)
import zeroizepy.memory
ctypes.CDLL(None).zpy_fault_arm(0)
"""
GROWN = """
before = stats().budget_bytes
report = process.harden(core_dumps=False, dumpable=False)
print(before, report.lock_budget_bytes > before, report.lock_budget_bytes == stats().budget_bytes)
print(report.lock_limit.done, resource.getrlimit(resource.RLIMIT_MEMLOCK) == (hard, hard))
try:
    print(zeroizepy.memory.SecureMemory(1 << 18).protection.locked)
except MemoryError as error:
    print(type(error).__name__)
"""


def grow(child: Child, shim: str, **more: str) -> list[str]:
    """What GROWN prints where the hard limit leaves room for it."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard != resource.RLIM_INFINITY and hard < 1 << 20:
        pytest.skip("needs a hard RLIMIT_MEMLOCK of 1 MiB or more")
    env = {"LD_PRELOAD": shim, "ZPY_FAULT": "setrlimit:1:1", **more}
    return child.check(GROW + PRELUDE + GROWN, env=env).splitlines()


def test_budget_follows_the_limit(child: Child, shim: str) -> None:
    """A limit that is higher than at the import serves secrets as soon as the part has run."""
    assert grow(child, shim) == [f"{(1 << 18) // 4 * 3} True True", "True True", "True"]


def test_budget_that_was_set_stays(child: Child, shim: str) -> None:
    """ZEROIZEPY_LOCK_BUDGET is the user's word and outlasts a higher limit."""
    lines = grow(child, shim, ZEROIZEPY_LOCK_BUDGET="65536")
    assert lines == ["65536 False True", "True True", "LockLimitError"]


# ---- failures ----


FAIL = """
import ctypes
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
resource.setrlimit(resource.RLIMIT_MEMLOCK, (8192, hard))
ctypes.CDLL(None).zpy_fault_arm(1)
report = process.harden(no_new_privileges=True)
ctypes.CDLL(None).zpy_fault_arm(0)
print(json.dumps({"report": report.to_dict(), "text": str(report), "NoNewPrivs": status("NoNewPrivs"),
                  "core": resource.getrlimit(resource.RLIMIT_CORE), "dumpable": lib.zpy_process_dumpable()}))
"""
EPERM, EINVAL = errno.EPERM, errno.EINVAL


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        # prctl's calls in order: get, set, get dumpable; set no_new_privs.
        ("prctl:2:22:once", {"dumpable": EINVAL}),
        ("prctl:4:22:once", {"no_new_privileges": EINVAL}),
        ("prctl:1:1", {"dumpable": EPERM, "no_new_privileges": EPERM}),
        ("prctl:3:1:once", {"dumpable": None}),
        ("setrlimit:1:1:once", {"core_dumps": EPERM}),
        ("setrlimit:2:1", {"lock_limit": EPERM}),
        ("setrlimit:1:1", {"core_dumps": EPERM, "lock_limit": EPERM}),
        ("setrlimit:9:1", {}),
    ],
)
def test_refused_calls(child: Child, shim: str, fault: str, failed: dict[str, int | None]) -> None:
    """A refused call is one part not done, with its errno; the other parts are, and nothing unread is claimed."""
    lines = run(child, FAIL, env={"LD_PRELOAD": shim, "ZPY_FAULT": fault})
    found = json.loads(lines[0])
    report = found["report"]
    names = ["core_dumps", "dumpable", "no_new_privileges", "lock_limit"]
    assert list(report) == [*names, "lock_budget_bytes", "complete"]
    assert {name: report[name]["errno"] for name in names if not report[name]["done"]} == failed
    assert report["complete"] == (not failed)
    assert re.findall(r"^(\w+): NOT DONE: .* (?:failed|confirmed)", found["text"], re.MULTILINE) == list(failed)
    # What the kernel has, beside what was claimed.
    assert (found["core"] == [0, 0]) == ("core_dumps" not in failed)
    assert (found["NoNewPrivs"] == "1") == ("no_new_privileges" not in failed)
    assert (found["dumpable"] == 0) == ("dumpable" not in failed or failed["dumpable"] is None)


def test_nothing_asked_changes_nothing(child: Child) -> None:
    """All parts off: a reading of what holds."""
    body = """
def state():
    limits = [resource.getrlimit(which) for which in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK)]
    return limits, lib.zpy_process_dumpable(), status("NoNewPrivs"), stats()
before = state()
report = process.harden(core_dumps=False, dumpable=False, lock_limit=False)
print(state() == before, report.complete, [part.asked or part.done for part in report.parts])
print(all(part.before == part.after and part.before is not None for part in report.parts))
"""
    assert run(child, body) == ["True True [False, False, False, False]", "True"]


def test_a_part_reads_where_there_is_no_such_limit(child: Child) -> None:
    """A platform without the limits, as Windows is: reported as ENOSYS, not raised and not silent."""
    body = """
sys.modules["resource"] = None
report = process.harden(dumpable=False)
print([(part.name, part.done, part.errno, part.detail) for part in report.parts if part.asked])
"""
    parts = [
        ("core_dumps", False, errno.ENOSYS, "this platform has no limit for core files"),
        ("lock_limit", False, errno.ENOSYS, "this platform has no limit for locked memory"),
    ]
    assert run(child, body) == [str(parts)]


def test_a_pipe_is_named(child: Child) -> None:
    """Where core_pattern names a program, the report says that the limit alone does not keep it out."""
    body = """
from zeroizepy import hardening
real = hardening.read_text
hardening.read_text = lambda path: "|/bin/collect %p" if path.endswith("core_pattern") else real(path)
print(process.disable_core_dumps())
"""
    (line,) = run(child, body)
    assert line.startswith("core_dumps: done: the limit is 0, but kernel.core_pattern names a program")
