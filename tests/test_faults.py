"""System calls that fail: each becomes the documented error, nothing leaks, and the library goes on working."""

from __future__ import annotations

import errno
import os
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from support.children import Child

if TYPE_CHECKING:
    from pathlib import Path

# The functions of each program: arm() begins the faults that ZPY_FAULT names, disarm() ends them.
PROGRAM = """
import ctypes, errno, gc, os, sys, warnings
import zeroizepy
from zeroizepy import *
shim = ctypes.CDLL(None)
arm, disarm = (lambda: shim.zpy_fault_arm(1)), (lambda: shim.zpy_fault_arm(0))
def refused(action):
    try:
        action()
    except Exception as error:
        name, number = type(error).__name__, getattr(error, "errno", None)
        text = str(error)
        del error
        disarm()
        assert "hunter2" not in text
        return f"{name} {errno.errorcode.get(number, '-')}"
    return "nothing"
def works():
    cell, own = CypherCell(b"hunter2"), CypherCell(b"hunter2" * 1000, tier="isolated")
    key = CryptoKey.generate()
    whole = cell.reveal() == "hunter2" and own.verify(b"hunter2" * 1000)
    return whole and decrypt(encrypt(cell, key), key) == b"hunter2"
def descriptors():
    return len(os.listdir("/proc/self/fd"))
first = SecureMemory(4096)  # With the first secret come pages that a later one does not need.
"""


def run(child: Child, shim: str, faults: str, body: str, *arguments: str, policy: str = "strict") -> list[str]:
    """What a program prints, line by line, under these faults."""
    # Python's own allocator maps memory, too, whenever its last piece is full; malloc does so past the shim.
    env = {"LD_PRELOAD": shim, "ZPY_FAULT": faults, "ZEROIZEPY_POLICY": policy, "PYTHONMALLOC": "malloc"}
    return child.check(PROGRAM + dedent(body), *arguments, env=env).splitlines()


CREATE = """
    action = lambda: {action}
    before, open_before = stats(), descriptors()
    arm()
    print(refused(action))
    gc.collect()
    after = stats()
    assert after.locked_bytes == before.locked_bytes, (before, after)
    assert (after.cells, after.isolated, after.arenas) == (before.cells, before.isolated, before.arenas), after
    assert descriptors() == open_before
    action()
    assert works()
"""
ACTIONS = {
    "packed": "CypherCell(b'hunter2')",
    "isolated": "CypherCell(b'hunter2', tier='isolated')",
    "large": "CypherCell(b'hunter2' * 1000)",
    "memory": "SecureMemory(64)",
    "key": "CryptoKey.generate()",
    "signing key": "SigningKey.generate()",
    "short key": "CryptoKey(b'hunter2-hunter2-')",
    "inherited": "CypherCell(b'hunter2', inherit=True)",
}
MLOCK = {
    "mlock:1:12": "LockLimitError -",
    "mlock:1:11": "LockLimitError -",
    "mlock:1:1": "LockLimitError -",
    "mlock:1:22": "ProtectionError EINVAL",
    "mprotect:1:13": "ProtectionError EACCES",
    "mmap:1:12": "MemoryError -",
    "mmap:1:19": "ProtectionError ENODEV",
}
SECRETMEM = {
    "mmap:1:12": "MemoryError -",
    "mmap:1:1": "ProtectionError EPERM",
    "mmap:2:12": "LockLimitError -",
    "mmap:2:1": "LockLimitError -",
    "mmap:2:11": "LockLimitError -",
    "mmap:2:22": "ProtectionError EINVAL",
    "mprotect:1:13": "ProtectionError EACCES",
}
CLOSING = list(SECRETMEM)[-1]
# What secretmem alone needs: without it, mlock serves.
FALLBACK = ["memfd_secret:1:24", "ftruncate:1:5", "madvise:1:22:once"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("number", range(7))
def test_creation(child: Child, shim: str, number: int, action: str) -> None:
    """Each refused call on the way to a cell is the documented error; no page, cell or descriptor stays behind."""
    # Inherited cells are never secretmem.
    faults = MLOCK if child.backend == "mlock" or action == "inherited" else SECRETMEM
    fault, expected = list(faults.items())[number]
    if faults is SECRETMEM and action not in ("isolated", "large") and fault == CLOSING:
        fault = "mmap:2:1"  # Only pages of their own are closed; here another number.
        expected = "LockLimitError -"
    assert run(child, shim, fault, CREATE.format(action=ACTIONS[action])) == [expected]


@pytest.mark.parametrize("fault", FALLBACK)
@pytest.mark.parametrize("action", ["CypherCell(b'hunter2')", "CypherCell(b'hunter2' * 1000)", "CryptoKey.generate()"])
def test_fallback_to_mlock(child: Child, shim: str, fault: str, action: str) -> None:
    """When secretmem cannot be had for another reason than its limit, mlock serves, and `protection` says so."""
    if child.backend == "mlock":
        fault = "memfd_secret:1:24"  # Not even asked for.
    body = f"""
    arm()
    holder = {action}
    p = holder.protection
    print(p.backing, p.locked, p.guarded, p.dump_excluded, p.fork)
    """
    assert run(child, shim, fault, body) == ["mlock True True True wiped"]


@pytest.mark.parametrize(
    "source", ["CypherCell.from_file(sys.argv[1])", "CypherCell.generate(5000)", "secret_bytes(b'x')"]
)
def test_lock_limit_in_loaders(child: Child, shim: str, tmp_path: Path, source: str) -> None:
    """The loaders pass the error on, close their descriptors and wipe what they had read."""
    path = tmp_path / "secret"
    path.write_bytes(b"hunter2" * 2000)
    fault = "mlock:1:12" if child.backend == "mlock" else "mmap:2:11"
    body = CREATE.format(action=source)
    assert run(child, shim, fault, body, str(path)) == ["LockLimitError -"]


def test_weaker_protection_is_reported(child: Child, shim: str) -> None:
    """Advice that the kernel refuses shows in `protection`, and only there."""
    if child.backend == "secretmem":
        body = "arm(); cell = CypherCell(b'x'); p = cell.protection; print(p.dump_excluded, p.fork, p.locked)"
        assert run(child, shim, "madvise:2:22", body) == ["False absent True"]
        return
    body = "arm(); cell = CypherCell(b'x'); p = cell.protection; print(p.dump_excluded, p.fork, p.locked)"
    assert run(child, shim, "madvise:1:22:once", body) == ["True absent True"]
    assert run(child, shim, "madvise:2:22:once", body) == ["False wiped True"]
    assert run(child, shim, "madvise:1:22", body) == ["False inherited True"]


def test_a_child_gets_zeros_even_without_advice(shim: str) -> None:
    """Where the kernel refuses to keep pages out of children, the fork handler zeroes the child's copy."""
    child = Child("mlock")  # Secretmem without the advice is refused outright, see test_creation.
    body = """
    arm()
    cells = [CypherCell(b"hunter2-hunter2!"), CypherCell(b"hunter2-hunter2!", tier="isolated")]
    with cells[0].borrow() as first, cells[1].borrow() as second:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if bytes(first) == bytes(second) == bytes(16) and all(cell.wiped for cell in cells) else 7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(bytes(first) == bytes(second) == b"hunter2-hunter2!")
    """
    assert run(child, shim, "madvise:1:22", body) == ["0", "True"]


def test_no_memfd_secret_falls_back(child: Child, shim: str) -> None:
    """A kernel that knows the call and refuses it: mlock instead, from the start."""
    body = "print(CypherCell(b'x').protection.backing, works())"
    program = "import ctypes; ctypes.CDLL(None).zpy_fault_arm(1)\n" + PROGRAM
    for number in (errno.ENOSYS, errno.EPERM):
        env = {"LD_PRELOAD": shim, "ZPY_FAULT": f"memfd_secret:1:{number}"}
        assert child.check(program + body, env=env).split() == ["mlock", "True"]


def test_no_locks_at_all_warns(child: Child, shim: str) -> None:
    """The one case in which a secret may lie unlocked: it works, its protection says so, and a warning comes."""
    program = "import ctypes; ctypes.CDLL(None).zpy_fault_arm(1)\n" + PROGRAM
    body = "p = CypherCell(b'x').protection; print(p.backing, p.locked)"
    done = child.run(program + body, env={"LD_PRELOAD": shim, "ZPY_FAULT": "mlock:1:38,memfd_secret:1:38"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["none", "False"]
    assert "SecureMemoryWarning" in done.stderr


@pytest.mark.parametrize(
    "use",
    [
        "cell.reveal()",
        "cell.reveal_bytes()",
        "cell.reveal_masked()",
        "cell.borrow().__enter__()",
        "cell.copy_into(bytearray(7))",
        "cell.compare(other)",
        "memory.read()",
        "memory.write(b'x')",
        "memory.zero()",
        "memory.borrow().__enter__()",
    ],
)
def test_isolated_pages_that_do_not_open(child: Child, shim: str, use: str) -> None:
    """A refused mprotect is a ProtectionError with its errno, and costs no access; afterwards the secret is there."""
    body = f"""
    cell, other = CypherCell(b"hunter2", volatile=True, tier="isolated"), CypherCell(b"hunter2", tier="isolated")
    memory = SecureMemory(7, tier="isolated")
    memory.write(b"hunter2")
    arm()
    print(refused(lambda: {use}))
    disarm()
    assert other.verify(b"hunter2") and memory.read() == b"hunter2"
    assert cell.reveal() == "hunter2" and cell.wiped and works()
    """
    assert run(child, shim, "mprotect:1:12", body) == ["ProtectionError ENOMEM"]


def test_wipe_that_cannot_open_its_pages(child: Child, shim: str) -> None:
    """The wipe says so, and the secret is out of reach all the same: its pages are gone."""
    body = """
    cell = CypherCell(b"hunter2", tier="isolated")
    locked = stats().locked_bytes
    arm()
    print(refused(cell.wipe))
    assert cell.wiped and not cell.verify(b"hunter2")
    assert stats().locked_bytes == locked - 4096
    assert refused(cell.wipe) == "nothing" and works()
    """
    assert run(child, shim, "mprotect:1:12", body) == ["ProtectionError ENOMEM"]


# ---- deadlines ----


def test_no_thread_for_deadlines(child: Child, shim: str) -> None:
    """A deadline that nobody would keep is not promised: ProtectionError, and nothing of the cell stays."""
    create = CREATE.format(action="CypherCell(b'hunter2', ttl_sec=100)")
    # Its page may stay for the next cell.
    create = create.replace("arm()", "CypherCell(b'hunter2').wipe()\n    before = stats()\n    arm()")
    assert run(child, shim, "pthread_create:1:11", create) == ["ProtectionError EAGAIN"]


def test_no_clock_ends_deadlines(child: Child, shim: str) -> None:
    """While the clock cannot be read every deadline counts as past; what has none lives on."""
    body = """
    old, kept = CypherCell(b"hunter2", ttl_sec=1000), CypherCell(b"hunter2")
    arm()
    new = CypherCell(b"hunter2", ttl_sec=1000)
    print(new.wiped, old.wiped, new.verify(b"hunter2"), kept.wiped)
    print(refused(old.reveal))
    assert kept.reveal() == "hunter2" and works()
    """
    assert run(child, shim, "clock_gettime:1:22", body) == ["True True False False", "CellExpiredError -"]


@pytest.mark.parametrize("ttl", [0, 0.5, 10**9])
def test_no_clock_at_creation(child: Child, shim: str, ttl: float) -> None:
    """A cell that is made while the clock cannot be read has a deadline all the same, and no later one."""
    body = f"""
    arm()
    cell = CypherCell(b"hunter2", ttl_sec={ttl})
    left = cell.expires_in
    disarm()
    print(left is not None and left <= {ttl})
    assert works()
    """
    assert run(child, shim, "clock_gettime:1:22:once", body) == ["True"]


# What the thread that keeps deadlines has to do without: each lets it look every few milliseconds instead, or at once.
WITHOUT = {
    "no timer": "timer_create:1:11",
    "timer that cannot be set": "timer_settime:1:22",
    "timer that once cannot be set": "timer_settime:1:22:once",
    "interrupted sleep": "sigtimedwait:1:4:once",
    "no sleep on the timer": "sigtimedwait:1:38",
    "neither timer nor sleep": "timer_create:1:11,poll:1:12",
}


@pytest.mark.parametrize("without", WITHOUT)
def test_deadlines_hold_without(child: Child, shim: str, without: str) -> None:
    """The bytes are zero soon after the deadline all the same, nobody asking, and no descriptor is lost on the way."""
    body = """
    from support.lifetimes import goes_to_zero, lent_alive, lifetimes
    before = descriptors()
    arm()
    for ttl in lifetimes(0.2):
        with lent_alive(b"hunter2", 2 * ttl) as (late, first), lent_alive(b"hunter2", ttl) as (soon, second):
            assert goes_to_zero(second)
            alone = bytes(first) == b"hunter2"  # The sooner deadline.
            assert goes_to_zero(first)
        if alone:
            break
    print(stats().expiries >= 2, descriptors() - before, disarm() > 0)
    assert works()
    """
    assert run(child, shim, WITHOUT[without], body) == ["True 0 True"]  # The fault was met.


# ---- reading ----


def test_reads_are_continued(child: Child, shim: str, tmp_path: Path) -> None:
    """Interrupted and short reads lose nothing."""
    path = tmp_path / "secret"
    path.write_bytes(os.urandom(9001))
    body = """
    fd = os.open(sys.argv[1], os.O_RDONLY)
    expected = open(sys.argv[1], "rb").read()
    arm()
    cell = CypherCell.from_fd(fd)
    disarm()
    print(cell.verify(expected))
    """
    assert run(child, shim, "read:1:4:once,read:3:4:once,read:4:-1000", body, str(path)) == ["True"]


def test_failing_read(child: Child, shim: str, tmp_path: Path) -> None:
    """A read error names the path, and no cell stays."""
    path = tmp_path / "secret"
    path.write_bytes(os.urandom(9001))
    body = """
    before = stats().cells
    arm()
    try:
        CypherCell.from_file(sys.argv[1])
    except OSError as error:
        disarm()
        print(errno.errorcode[error.errno], error.filename == sys.argv[1])
    assert stats().cells == before
    assert len(CypherCell.from_file(sys.argv[1])) == 9001
    """
    assert run(child, shim, "read:1:5", body, str(path)) == ["EIO True"]
    assert run(child, shim, "read:1:-1000:once,read:2:5", body, str(path)) == ["EIO True"]


# ---- shredding ----


@pytest.fixture
def auto() -> Child:
    """Files do not depend on the backing of memory."""
    return Child("auto")


SHRED = """
    import warnings
    warnings.simplefilter("ignore")
    path, size = sys.argv[1], os.path.getsize(sys.argv[1])
    options = dict(passes=2, chunk_size=4096, pattern="zeros")
    arm()
    try:
        report = secure_delete(path, **options)
    except FileAccessError as error:
        disarm()
        print(type(error).__name__, errno.errorcode.get(error.errno, "-"), error.report is not None, path in str(error))
        print(len(os.listdir(os.path.dirname(path))))
    else:
        disarm()
        print(report.verdict.value if hasattr(report.verdict, "value") else report.verdict)
        print(len(os.listdir(os.path.dirname(path))))
    assert works()
"""


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("pwrite:1:5", "EIO"),
        ("pwrite:3:28", "ENOSPC"),
        ("pwrite:2:30", "EROFS"),
        ("fsync:1:5,fdatasync:1:5", "EIO"),
        ("fsync:2:28,fdatasync:2:28", "ENOSPC"),
    ],
)
def test_failing_shred(auto: Child, shim: str, tmp_path: Path, fault: str, name: str) -> None:
    """FileAccessError with the errno and a report; the file is left in place, under its name."""
    path = tmp_path / "victim"
    path.write_bytes(b"x" * 20_000)
    assert run(auto, shim, fault, SHRED, str(path)) == [f"FileAccessError {name} True True", "1"]
    assert path.stat().st_size == 20_000


@pytest.mark.parametrize("fault", ["pwrite:1:4:once,pwrite:3:4:once", "pwrite:1:-1000", "pwrite:2:-4096"])
def test_shred_continues_writes(auto: Child, shim: str, tmp_path: Path, fault: str) -> None:
    """Short and interrupted writes are continued to the end."""
    path = tmp_path / "victim"
    path.write_bytes(b"x" * 20_000)
    lines = run(auto, shim, fault, SHRED, str(path))
    assert lines[1:] == ["0"]
    assert not lines[0].startswith("FileAccessError")


SPAN = """
    from contextlib import closing
    from zeroizepy._lib import lib
    from zeroizepy.shred.options import Pattern
    from zeroizepy.shred.passes import SpanWriter, set_direct
    path, limit = sys.argv[1], int(sys.argv[2])
    size = os.path.getsize(path)
    fd = os.open(path, os.O_RDWR)
    direct = set_direct(fd, wanted=True)
    with closing(SpanWriter(1 << 20, Pattern("random", None))) as writer:
        arm()
        wrote = writer.write(fd, 0, size, 1, direct=direct, skip_limit=limit)
        print(wrote.done_bytes, wrote.skipped_bytes, wrote.first_skipped, errno.errorcode.get(wrote.error_number))
        read = writer.compare(fd, 0, size, 1, direct=direct, skip_limit=limit)
        print(read.done_bytes, read.skipped_bytes, read.first_skipped, errno.errorcode.get(read.error_number))
        disarm()
        assert wrote.direct == read.direct == direct
        whole = writer.compare(fd, 0, size, 1, direct=direct)
    print(whole.different, whole.done_bytes // 512)
    os.close(fd)
    assert works()
"""


FILL = """
    path = sys.argv[1]
    before = descriptors()
    arm()
    try:
        report = wipe_free_space(path, max_bytes=1 << 20, chunk_size=65536)
    except FileAccessError as error:
        disarm()
        report = error.report
        print(errno.errorcode[error.errno], report.bytes_written, report.fillers, path in str(error))
    else:
        disarm()
        print(report.stopped_by, report.bytes_written, report.fillers, report.error)
    assert (os.listdir(path), descriptors()) == ([], before)
    assert works()
"""


def test_bad_sectors_are_skipped(auto: Child, shim: str, tmp_path: Path) -> None:
    """Two sectors that the device refuses are left out and counted; all around them is written and compared."""
    path, size = tmp_path / "victim", (3 << 20) + 5
    path.write_bytes(b"x" * size)
    first, skipped = (2 << 20) + 3 * 512, 2 * 512
    env = {"LD_PRELOAD": shim, "ZPY_BAD_BYTES": f"{first}:{first + skipped}"}
    lines = auto.check(PROGRAM + dedent(SPAN), str(path), str(skipped), env=env).splitlines()
    assert lines == [f"{size} {skipped} {first} None"] * 2 + [f"True {first // 512}"]
    content = path.read_bytes()
    assert content[first : first + skipped] == b"x" * skipped
    assert b"x" * 8 not in content[:first] + content[first + skipped :]


def test_bad_sectors_beyond_the_limit(auto: Child, shim: str, tmp_path: Path) -> None:
    """Without leave to skip, or beyond it, the device's error ends the span."""
    path, size = tmp_path / "victim", 3 << 20
    for limit in (0, 512):
        path.write_bytes(b"x" * size)
        env = {"LD_PRELOAD": shim, "ZPY_BAD_BYTES": f"{1 << 20}:{(1 << 20) + 1024}"}
        lines = auto.check(PROGRAM + dedent(SPAN), str(path), str(limit), env=env).splitlines()
        told = f"{(1 << 20) + limit} {limit} {1 << 20 if limit else None} EIO"
        assert lines == [told] * 2 + [f"True {1 << 11}"]


@pytest.mark.parametrize(
    ("bad", "answer"),
    [
        ("0:1:5", "EIO 0 1 True"),
        ("131072:1048576:5", "EIO 131072 1 True"),
        ("131072:1048576:28", "full 131072 1 None"),
        ("150000:1048576:28", "full 149504 1 None"),  # The last sector that ends before it.
        ("131072:1048576:122", "quota 131072 1 None"),
        ("131072:1048576:27", "limit 1048576 8 None"),  # Of eight files that may not be longer.
        ("0:1048576:27", "file_size 0 1 None"),
    ],
)
def test_filling_to_a_place(auto: Child, shim: str, tmp_path: Path, bad: str, answer: str) -> None:
    """Whatever ends the filling, what is reported is all that was written before that place, and not more.

    Two threads write, and may do so in any order: what fails is told by its place and not by the number of the call.
    """
    env = {"LD_PRELOAD": shim, "ZPY_BAD_BYTES": bad}
    assert auto.check(PROGRAM + dedent(FILL), str(tmp_path), env=env).splitlines() == [answer]


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("pwrite:2:4:once", "limit 1048576 1 None"),
        ("pwrite:1:-5000", "limit 1048576 1 None"),
        ("fsync:1:5", "EIO 1048576 1 True"),
        ("fsync:1:28", "limit 1048576 1 None"),
    ],
)
def test_filling_to_the_limit(auto: Child, shim: str, tmp_path: Path, fault: str, answer: str) -> None:
    """Short and interrupted writes are continued; a flush that finds the disk full is no failure, and any other is."""
    assert run(auto, shim, fault, FILL, str(tmp_path)) == [answer]


TREE = """
    import warnings
    from zeroizepy.file import shred_tree
    warnings.simplefilter("ignore")
    path = sys.argv[1]
    arm()
    report = shred_tree(path, passes=1, rename=False)
    failed = disarm()
    print(report.unlinked, report.failed, sorted({reason for each in report.failures for reason in each.reasons}))
    print(len(os.listdir(path)) if os.path.exists(path) else "gone", failed > 0)
    assert all(not each.unlinked and each.verdict == "not_in_place" for each in report.failures)
    assert works()
"""


@pytest.mark.parametrize(
    ("fault", "told", "left"),
    [
        # The shared flush tells of somebody's failed write, and each file's own says that it was none of these.
        ("syncfs:1:5", "40 0 []", "gone True"),
        ("syncfs:1:5:once", "40 0 []", "gone True"),
        ("syncfs:2:5:once", "40 0 []", "gone True"),
        ("syncfs:1:38", "40 0 []", "gone True"),
        # What one file is told stays with it.
        ("syncfs:1:5,fdatasync:3:28:once", "39 1 ['failed:flush:ENOSPC']", "1 True"),
        ("pwrite:7:28:once", "39 1 ['failed:write:ENOSPC']", "1 True"),
    ],
)
def test_faults_in_a_tree(auto: Child, shim: str, tmp_path: Path, fault: str, told: str, left: str) -> None:
    """The file that fails stays and says why; an error of the shared flush costs no file anything but the sharing."""
    path = tmp_path / "tree"
    path.mkdir()
    for number in range(40):
        (path / f"file-{number}").write_bytes(b"x" * 5000)
    lines = run(auto, shim, fault, TREE, str(path))
    assert lines == [told, left]


def test_a_failing_unlink_in_a_tree(auto: Child, shim: str, tmp_path: Path) -> None:
    """When the last flush fails for good, the files are gone, and each report says that this may not last."""
    path = tmp_path / "tree"
    path.mkdir()
    for number in range(20):
        (path / f"file-{number}").write_bytes(b"x" * 5000)
    body = """
    import warnings
    from zeroizepy.file import shred_tree
    warnings.simplefilter("ignore")
    arm()
    report = shred_tree(sys.argv[1], passes=1, rename=False, keep_directories=True)
    disarm()
    print(report.unlinked, report.failed, {each.error for each in report.failures})
    """
    # The fsyncs here are those of directories, after the unlinks.
    lines = run(auto, shim, "syncfs:3:5,fsync:1:5", body, str(path))
    assert lines[0].startswith("20 20 {'remove failed: ")
