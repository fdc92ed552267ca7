"""The kernel as witness: what real core dumps, real swap and a process under AddressSanitizer hold of a secret."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.children import TIMEOUT_S, need_root
from support.loops import taking_a_loop_device

from zeroizepy.testing import Canary, scan_core, scan_process, scan_swap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.children import Child

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

# Takes two secrets from a pipe: one into cells, and one, the control, into ordinary memory.
HOLDER = """
import ctypes, mmap, os, resource, sys
from zeroizepy import CypherCell, SecureMemory
cell = CypherCell.from_fd(0, 48)
isolated = CypherCell(cell, tier="isolated")
memory = SecureMemory.from_bytes(cell)
control = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
with memoryview(control)[100:148] as part:
    assert os.readv(0, [part]) == 48
address = ctypes.addressof(ctypes.c_char.from_buffer(control))
"""


@contextlib.contextmanager
def holding(
    child: Child, body: str, secret: Canary, control: Canary, *, folder: Path | None = None, before: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A program that was given both, and the line that it printed; `before` is what it does first of all."""
    process = subprocess.Popen(
        child.command(before + textwrap.dedent(HOLDER) + textwrap.dedent(body)),
        env=child.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd=folder,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        secret.write_to(process.stdin.fileno())
        control.write_to(process.stdin.fileno())
        yield process, process.stdout.readline().decode()
    finally:
        process.kill()
        process.communicate(timeout=60)


# ---- core dumps ----


@pytest.fixture
def core_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a process that dies there leaves its core dump."""
    pattern = CORE_PATTERN.read_text(encoding="ascii", errors="replace").rstrip("\n")
    if "/" not in pattern and not pattern.startswith("|") and pattern:
        yield tmp_path
        return
    if os.geteuid() != 0:
        pytest.skip(f"needs root: kernel.core_pattern is {pattern!r}, and core dumps go elsewhere")
    try:
        CORE_PATTERN.write_text("core", encoding="ascii")
    except OSError as error:
        pytest.skip(f"needs the right to set kernel.core_pattern: {error.strerror}")
    try:
        yield tmp_path
    finally:
        CORE_PATTERN.write_text(pattern, encoding="ascii")


@pytest.mark.usefixtures("kernel_settings")
def test_core_dump_of_a_crash(child: Child, core_folder: Path) -> None:
    """After SIGSEGV the kernel's own dump holds what stood in ordinary memory, and nothing of the cells."""
    body = """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, PermissionError):
        print("limit", resource.getrlimit(resource.RLIMIT_CORE)[1])
        raise SystemExit
    print("ready", address)
    ctypes.string_at(0)
    """
    with Canary() as secret, Canary() as control:
        with holding(child, body, secret, control, folder=core_folder) as (process, line):
            if line.startswith("limit"):
                pytest.skip(f"needs a hard RLIMIT_CORE that is unlimited, not {line.split()[1]}")
            assert process.wait(TIMEOUT_S) == -signal.SIGSEGV
        (path,) = core_folder.glob("core*")
        found = scan_core(path, control)
        assert not found.truncated
        assert [(hit.address, hit.permissions) for hit in found.hits if hit.part == "whole"] == [
            (int(line.split()[1]) + 100, "rw-")
        ]
        assert scan_core(path, secret).hits == ()


# ---- swap ----


@contextlib.contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Path]:
    """A control group with a limit of memory and none of swap; the file in its folder that holds the limit."""
    one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    if (one / "memory.limit_in_bytes").exists():
        parent, name = one, "memory.limit_in_bytes"
    elif "memory" in (two / "cgroup.subtree_control").read_text(encoding="ascii").split():
        parent, name = two, "memory.max"
    else:
        pytest.skip("needs a control group with the memory controller")
    group = parent / f"zeroizepy-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs the right to make a control group: {error.strerror}")
    try:
        (group / name).write_text(str(limit_bytes), encoding="ascii")
        yield group / name
    finally:
        end = time.monotonic() + TIMEOUT_S
        while not is_removed(group):
            assert time.monotonic() < end
            time.sleep(0.05)


def is_removed(group: Path) -> bool:
    """Remove a control group. False while the kernel is still taking out its last process, which was waited for."""
    try:
        group.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


@contextlib.contextmanager
def swap_area(folder: Path, size_bytes: int) -> Iterator[str]:
    """A loop device over a file, in use for swap."""
    for program in ("losetup", "mkswap", "swapon", "swapoff"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    image = folder / "swap.img"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    image.chmod(0o600)
    with taking_a_loop_device():
        attached = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"needs a loop device: {attached.stderr.strip()}")
    device = attached.stdout.strip()
    try:
        subprocess.run(["mkswap", device], capture_output=True, check=True)
        on = subprocess.run(["swapon", "-p", "32767", device], capture_output=True, text=True, check=False)
        if on.returncode:
            pytest.skip(f"needs the right to add swap: {on.stderr.strip()}")
        try:
            yield device
        finally:
            subprocess.run(["swapoff", device], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
        image.unlink()


def swapped_kb(pid: int) -> int:
    """VmSwap: how much of a process is in swap."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("VmSwap:")).split()[1])


def is_swapped(pid: int, address: int) -> bool:
    """What the kernel's pagemap says about a page: bit 62 of its entry."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(address // mmap.PAGESIZE * 8)
        return bool(int.from_bytes(file.read(8), sys.byteorder) >> 62 & 1)


@pytest.mark.usefixtures("kernel_settings")
def test_swap_under_memory_pressure(child: Child, tmp_path: Path) -> None:
    """A process that is pressed into swap leaves there what stood in ordinary memory, and nothing of its cells."""
    need_root()
    # More than the group may keep in memory: what was not used for longest goes to swap first.
    press = """
    filler = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(filler), mmap.PAGESIZE):
        filler[at : at + 8] = (at + 1).to_bytes(8, "little")
    print("ready", address, flush=True)
    sys.stdin.buffer.raw.read(1)
    """
    with (
        Canary() as secret,
        Canary() as control,
        swap_area(tmp_path, 160 << 20) as device,
        memory_cgroup(32 << 20) as limit,
    ):
        # What a process had before it joined a group is not counted there, so it joins first of all.
        group = str(limit.parent / "cgroup.procs")
        join = f"import os\nwith open({group!r}, 'w') as file:\n    file.write(str(os.getpid()))\n"
        with holding(child, press, secret, control, before=join) as (process, line):
            assert line.startswith("ready ")
            assert swapped_kb(process.pid) > 16 << 10
            assert [hit.part for hit in scan_swap(control, device)[0].hits] == ["whole"]
            assert scan_swap(secret, device)[0].hits == ()
            assert device in [report.path for report in scan_swap(secret)]
            assert is_swapped(process.pid, int(line.split()[1]))
            # The scan of the process finds it all the same. It brings all pages back, for which there has to be room.
            limit.write_text(str(256 << 20), encoding="ascii")
            assert [hit.kind for hit in scan_process(control, process.pid)] == ["anonymous"]


# ---- AddressSanitizer ----


def test_under_address_sanitizer(child: Child) -> None:
    """A process that reserves terabytes is checked in a moment, controls included, and a leak in it is found."""
    found = ""
    if shutil.which("gcc"):
        found = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
    if not os.path.isabs(found):
        pytest.skip("needs gcc's AddressSanitizer runtime, libasan.so")
    body = """
    from zeroizepy.testing import Canary, ResidueError, assert_no_residue
    with Canary() as canary:
        with assert_no_residue(canary) as check:
            canary.reveal()
        print(check.report.skipped_bytes >> 40, check.report.scanned_bytes >> 30)
        kept = canary.reveal_bytearray()
        try:
            with assert_no_residue(canary):
                pass
        except ResidueError as error:
            print(len([hit for hit in error.report.hits if not hit.protected]))
    """
    env = {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    skipped, hits = child.check(body, env=env).splitlines()
    skipped_tib, scanned_gib = (int(number) for number in skipped.split())
    assert skipped_tib > 1
    assert scanned_gib == 0
    assert int(hits) == 1
