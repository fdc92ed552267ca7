"""What `protection` says is what the kernel says: locks, guards, dumps, forks, budget, canaries."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from support.children import need_root

if TYPE_CHECKING:
    from support.children import Child

PROGRAM = """
import ctypes, gc, os, resource, sys
from zeroizepy import *
from zeroizepy import _lib
from support import maps
SECRET = b"hunter2-hunter2!"
def address_of(view):
    return int(_lib.ffi.cast("uintptr_t", _lib.ffi.from_buffer("uint8_t[]", view)))
def place(it):
    with it.borrow() as view:
        return address_of(view)
def flip(address):
    # Every bit, for a byte that is random may be any other already.
    ctypes.c_uint8.from_address(address).value ^= 0xFF
def refused(action):
    try:
        action()
    except LockLimitError as error:
        assert isinstance(error, MemoryError) and "RLIMIT_MEMLOCK" in str(error), error
        return True
    return False
"""


def check(child: Child, body: str, **options: object) -> list[str]:
    """What a program prints."""
    env = options.pop("env", None)
    return child.check(PROGRAM + dedent(body), env=env, **options).split()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [16, 4096, 5000])
@pytest.mark.parametrize("tier", ["packed", "isolated"])
def test_flags_of_the_kernel(child: Child, tier: str, size: int) -> None:
    """smaps: locked (lo), not dumped (dd), and wiped (wf) or absent (dc) in children, as `protection` has it."""
    body = f"""
    cell = CypherCell(b"x" * {size}, tier={tier!r})
    p = cell.protection
    with cell.borrow() as view:
        region = maps.region_at(address_of(view))
        last = maps.region_at(address_of(view) + {size - 1})
    assert region == last and region.access.startswith("rw"), region
    assert p.locked == ("lo" in region.flags) == True, region
    assert p.dump_excluded == ("dd" in region.flags) == True, region
    assert (p.fork == "wiped") == ("wf" in region.flags), region
    assert (p.fork == "absent") == ("dc" in region.flags), region
    assert p.fork != "inherited" and p.guarded
    assert p.page_bytes == region.stop - region.start, (p, region)
    assert ("secretmem" in region.name) == (p.backing == "memfd_secret"), region
    assert p.tier == ("isolated" if {tier == "isolated" or size > 4096} else "packed")
    before, after = maps.region_at(region.start - 1), maps.region_at(region.stop)
    assert before.access.startswith("---") and after.access.startswith("---"), (before, after)
    closed = maps.region_at(region.start)
    assert closed.access.startswith("---" if p.tier == "isolated" else "rw"), closed
    print(p.backing)
    """
    assert check(child, body) == ["memfd_secret" if child.backend == "secretmem" else "mlock"]


def test_inherited_pages_say_so(child: Child) -> None:
    """inherit=True: locked and not dumped, and neither wiped nor absent in children."""
    body = """
    cell = CypherCell(SECRET, inherit=True)
    region = maps.region_at(place(cell))
    assert cell.protection.fork == "inherited" and cell.protection.locked
    assert {"lo", "dd"} <= region.flags and not {"wf", "dc"} & region.flags, region
    """
    assert check(child, body) == []


@pytest.mark.parametrize("side", ["before", "behind"])
@pytest.mark.parametrize("tier", ["packed", "isolated"])
def test_guard_pages_kill(child: Child, tier: str, side: str) -> None:
    """One byte outside the page run ends the process by SIGSEGV."""
    body = f"""
    cell = CypherCell(SECRET, tier={tier!r})
    with cell.borrow() as view:
        region = maps.region_at(address_of(view))
        print("alive", flush=True)
        ctypes.string_at(region.start - 1 if {side == "before"} else region.stop, 1)
        print("survived", flush=True)
    """
    done = child.run(PROGRAM + dedent(body))
    assert done.stdout == "alive\n"
    assert done.returncode == -signal.SIGSEGV


def test_closed_isolated_pages_kill(child: Child) -> None:
    """Nobody borrows the cell: its own address is out of bounds, for reading too."""
    body = """
    cell = CypherCell(SECRET, tier="isolated")
    address = place(cell)
    print("alive", flush=True)
    ctypes.string_at(address, 1)
    """
    done = child.run(PROGRAM + dedent(body))
    assert done.stdout == "alive\n"
    assert done.returncode == -signal.SIGSEGV


def test_overrun_of_an_isolated_cell_kills(child: Child) -> None:
    """The bytes end where the guard begins, so the first byte past a multiple of 16 faults."""
    body = """
    memory = SecureMemory(48, tier="isolated")
    with memory.borrow(writable=True) as view:
        print("alive", flush=True)
        ctypes.memset(address_of(view), 1, 49)
    """
    done = child.run(PROGRAM + dedent(body))
    assert done.stdout == "alive\n"
    assert done.returncode == -signal.SIGSEGV


def test_the_kernel_counts_the_locks(child: Child) -> None:
    """On mlock, VmLck grows and shrinks by what stats() says."""
    body = """
    start = maps.locked_kb() * 1024 - stats().locked_bytes
    cells = [CypherCell(bytes(size), tier=tier) for size in (16, 500, 9000) for tier in ("packed", "isolated")]
    full = stats().locked_bytes
    assert full > 20000
    counted = maps.locked_kb() * 1024 - start
    cells.clear()
    print(counted == full, maps.locked_kb() * 1024 - start == stats().locked_bytes < full)
    """
    if child.backend == "secretmem":
        # Secretmem is charged to RLIMIT_MEMLOCK and shows in the flags of the mapping, not everywhere in VmLck.
        by_flags = "sum(region.stop - region.start for region in maps.regions() if 'lo' in region.flags)"
        body = body.replace("maps.locked_kb() * 1024", by_flags)
    assert check(child, body) == ["True", "True"]


def test_proc_mem_of_secretmem(child: Child) -> None:
    """/proc/PID/mem, opened by the process itself or by root, cannot read secretmem, and can read mlock's pages."""
    body = """
    cell = CypherCell(SECRET)
    control = ctypes.create_string_buffer(SECRET)
    with cell.borrow() as view, open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(ctypes.addressof(control))
        assert memory.read(16) == SECRET
        memory.seek(address_of(view))
        try:
            print(memory.read(16) == SECRET)
        except OSError as error:
            print(error.errno)
    """
    assert check(child, body) == (["5"] if child.backend == "secretmem" else ["True"])


def test_proc_mem_from_outside(child: Child) -> None:
    """Another process, root where the tests are: EIO for the pages of secretmem, the bytes for those of mlock."""
    body = """
    cells = [CypherCell(SECRET, tier=tier) for tier in ("packed", "isolated")]
    control = ctypes.create_string_buffer(SECRET)
    with cells[0].borrow() as first, cells[1].borrow() as second:
        print(ctypes.addressof(control), address_of(first), address_of(second), flush=True)
        sys.stdin.read()
    """
    command = child.command(PROGRAM + dedent(body))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=child.environment(), stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        control, *addresses = map(int, holder.stdout.readline().split())
        try:
            memory = os.open(f"/proc/{holder.pid}/mem", os.O_RDONLY)
        except PermissionError:
            holder.kill()
            pytest.skip("needs the right to read the memory of a child: root, or Yama's ptrace_scope at 0 or 1")
        try:
            assert os.pread(memory, 16, control) == b"hunter2-hunter2!"
            for address in addresses:
                if child.backend == "mlock":
                    assert os.pread(memory, 16, address) == b"hunter2-hunter2!"
                    continue
                with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                    os.pread(memory, 16, address)
        finally:
            os.close(memory)
            holder.kill()


# ---- limits ----

STRICT = {"ZEROIZEPY_POLICY": "strict"}  # What is sealed needs no room.
LOW = """
def fill(size, tier="packed"):
    held = []
    while len(held) < 100000:
        try:
            held.append(CypherCell(b"x" * size, tier=tier))
        except LockLimitError:
            return held
    raise AssertionError("no limit")
"""


def test_budget_from_the_environment(child: Child) -> None:
    """ZEROIZEPY_LOCK_BUDGET bounds what is locked; freeing makes room, for another size too."""
    body = """
    assert stats().budget_bytes == 73728
    for size, tier in ((16, "packed"), (4096, "packed"), (5000, "packed"), (32, "isolated"), (300, "packed")):
        held = fill(size, tier)
        assert len(held) >= 6 and stats().locked_bytes <= 73728, (size, len(held), stats())
        assert refused(lambda: CypherCell(b"x" * 5000)) and refused(lambda: CypherCell(b"x", tier="isolated"))
        assert all(cell.verify(b"x" * size) for cell in held)
        held.pop().wipe()
        assert CypherCell(b"x" * size, tier=tier).verify(b"x" * size)
        del held
    print(stats().peak_locked_bytes <= 73728, stats().cells)
    """
    assert check(child, LOW + dedent(body), env={"ZEROIZEPY_LOCK_BUDGET": "73728", **STRICT}) == ["True", "0"]


@pytest.mark.parametrize("value", ["0", "-1", "64k", "1.5", " 1", "9" * 40, "\u0663"])
def test_wrong_budget(child: Child, value: str) -> None:
    """A budget that is no positive number is refused at import, by name and value."""
    done = child.run("import zeroizepy.memory", env={"ZEROIZEPY_LOCK_BUDGET": value})
    assert done.returncode == 1
    assert "ValueError: ZEROIZEPY_LOCK_BUDGET must be a positive number of bytes, not" in done.stderr


def test_wrong_backend(child: Child) -> None:
    """So is an unknown backend."""
    done = child.run("import zeroizepy.memory", env={"ZEROIZEPY_BACKEND": "tpm"})
    assert done.returncode == 1
    assert "ValueError: ZEROIZEPY_BACKEND must be 'auto', 'secretmem' or 'mlock', not 'tpm'" in done.stderr


def test_soft_limit_is_raised(child: Child) -> None:
    """The budget is three quarters of the hard limit."""
    body = "print(stats().budget_bytes, resource.getrlimit(resource.RLIMIT_MEMLOCK) == (1 << 20, 1 << 20))"
    prelude = "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 1 << 20))\n"
    assert child.check(prelude + PROGRAM + body).split() == [str((1 << 20) // 4 * 3), "True"]


AS_NOBODY = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_MEMLOCK, ({limit}, {limit}))
# The interpreter and the package may lie where nobody may not look: everything is loaded before.
import ctypes, encodings.idna, zeroizepy.cell, zeroizepy.crypto
from zeroizepy import *
os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""


@pytest.mark.parametrize("limit", [65536, 0])
def test_the_kernels_limit(child: Child, limit: int) -> None:
    """Without privileges, RLIMIT_MEMLOCK is what counts: LockLimitError at the limit, and work below it."""
    need_root()
    budget = {"ZEROIZEPY_LOCK_BUDGET": str(1 << 30), **STRICT}  # Ours is out of the way, so that the kernel says no.
    body = """
    held = fill(4000)
    print(len(held) > 4, all(cell.verify(b"x" * 4000) for cell in held))
    assert refused(lambda: SecureMemory(9000)) or len(held) == 0
    if held:
        locked = stats().locked_bytes
        assert locked <= 65536 and refused(lambda: CypherCell(b"x" * 4096)) and stats().locked_bytes == locked
        held.pop().wipe()
        held.append(CypherCell(b"y" * 4000))
        assert held[-1].verify(b"y" * 4000)
    """
    helpers = PROGRAM.split("def refused")[1]
    code = AS_NOBODY.format(limit=limit) + LOW + "def refused" + helpers + dedent(body)
    expected = ["True", "True"] if limit else ["False", "True"]
    assert child.check(code, env=budget).split() == expected


def test_nothing_is_left_over_from_refusals(child: Child) -> None:
    """Thousands of refused cells leave no memory mapped."""
    body = """
    held = fill(32)
    maps_before, stats_before = len(maps.regions()), stats()
    for _ in range(3000):
        assert refused(lambda: CypherCell(b"x" * 40)) and refused(lambda: SecureMemory(9000))
    assert stats() == stats_before
    print(len(maps.regions()) - maps_before < 5)
    """
    assert check(child, LOW + dedent(body), env={"ZEROIZEPY_LOCK_BUDGET": "32768", **STRICT}) == ["True"]


# ---- writes outside a slot ----


@pytest.mark.parametrize("distance", [0, 15, -1])
def test_overrun_is_detected(child: Child, distance: int) -> None:
    """A write into canary or slack of the slot raises MemoryCorruptionError at the wipe; work goes on."""
    body = f"""
    memory = SecureMemory(30)  # In a slot of 32 bytes: 2 of slack, then 16 of canary.
    memory.write(b"x" * 30)
    address = place(memory)
    flip(address + 32 + {distance})
    try:
        memory.close()
    except MemoryCorruptionError as error:
        print(type(error).__name__, stats().corruptions)
    assert memory.closed and stats().cells == 0
    memory.close()
    assert ctypes.string_at(address, 32) == bytes(32)
    others = [SecureMemory(30) for _ in range(2000)]
    assert address not in {{place(other) for other in others}}, "a damaged slot was used again"
    assert all(other.get_bytes() == bytes(30) for other in others)
    """
    assert check(child, body) == ["MemoryCorruptionError", "1"]


def test_overrun_of_a_cell(child: Child) -> None:
    """The same for wipe(), for leaving a block, and for del, which stays quiet."""
    body = """
    def block(cell):
        with cell:
            pass
    def damaged():
        cell = CypherCell(b"x" * 16)
        flip(place(cell) + 16)
        return cell
    for end in (lambda: damaged().wipe(), lambda: damaged().__enter__() and None, lambda: block(damaged())):
        try:
            end()
        except MemoryCorruptionError:
            print("corrupt")
    print(stats().corruptions)
    """
    assert check(child, body) == ["corrupt", "corrupt", "3"]


def test_write_after_free_is_detected(child: Child) -> None:
    """A stray write to a freed slot retires it instead of reaching the next secret."""
    body = """
    first = SecureMemory(32)
    address = place(first)
    first.close()
    ctypes.memset(address, ord("!"), 3)
    others = [SecureMemory(32) for _ in range(2000)]
    assert all(other.get_bytes() == bytes(32) for other in others)
    assert address not in {place(other) for other in others}
    print(stats().corruptions)
    """
    assert check(child, body) == ["1"]


def test_secrets_and_bookkeeping_lie_apart(child: Child) -> None:
    """In the pages of a cell there are secrets, canaries and zeros, and no address of anything."""
    body = """
    cells = [CypherCell(b"x" * 32) for _ in range(20)]
    region = maps.region_at(place(cells[0]))
    content = ctypes.string_at(region.start, region.stop - region.start)
    canary = content[32:48]
    slots = [content[at:at + 48] for at in range(0, len(content) - 47, 48)]
    assert all(slot[32:] == canary and slot[:32] in (b"x" * 32, bytes(32)) for slot in slots)
    print(any(canary), sum(slot[:32] == b"x" * 32 for slot in slots))
    """
    assert check(child, body) == ["True", "20"]
