"""The memory scanner: it finds what is there, says what it could not see, and leaves no copy itself."""

from __future__ import annotations

import doctest
import mmap
import os
import subprocess
import sys
import textwrap

import pytest

from zeroizepy import CellWipedError, CypherCell, SecureMemory, testing
from zeroizepy.testing import Hit, ScanReport, scan_process, scan_process_report

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")

PAGE = mmap.PAGESIZE
CHUNK = 1 << 20


def run(script: str, **environment: str) -> str:
    """Run a script in a fresh interpreter, away from the source folder, and give its output."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def place(cell: CypherCell, area: mmap.mmap, offset: int) -> None:
    """Copy a secret through a pipe: the kernel does it, so that no register and with it no stack gets a copy."""
    reader, writer = os.pipe()
    with cell.borrow() as view:
        os.write(writer, view)
    with memoryview(area) as whole, whole[offset : offset + len(cell)] as part:
        assert os.readv(reader, [part]) == len(cell)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("backend", ["auto", "mlock"])
def test_generated_secret_is_nowhere_and_revealed_one_is_found(backend: str) -> None:
    """A cell's own slot does not count, on either backing; a revealed copy is found in writable memory."""
    out = run(
        """
        from zeroizepy import CypherCell
        from zeroizepy.testing import scan_process
        cell = CypherCell.generate(48)
        print(len(scan_process(cell)))
        kept = cell.reveal_bytes()
        hits = scan_process(cell)
        print(len(hits) >= 1, {hit.permissions for hit in hits} <= {"rw-p", "rw-s"})
        del kept
        """,
        ZEROIZEPY_BACKEND=backend,
    )
    assert out.split() == ["0", "True", "True"]


def test_second_slot_with_the_same_secret_is_found_on_the_readable_backing() -> None:
    """Only the needle's own slot is left out: another cell with the same bytes is a copy."""
    out = run(
        """
        from zeroizepy import CypherCell
        from zeroizepy.testing import scan_process
        cell = CypherCell.generate(32)
        twin = CypherCell(cell)
        print(len(scan_process(cell)))
        twin.wipe()
        print(len(scan_process(cell)))
        """,
        ZEROIZEPY_BACKEND="mlock",
    )
    assert out.split() == ["1", "0"]


def test_scan_is_no_access() -> None:
    """A volatile cell lives through any number of scans."""
    cell = CypherCell.generate(32, volatile=True)
    assert scan_process(cell) == []
    assert scan_process(cell) == []
    assert not cell.wiped


@pytest.mark.parametrize("offset", [0, 1, CHUNK - 33, CHUNK - 32, CHUNK - 31, CHUNK - 1, CHUNK, 2 * CHUNK - 5])
def test_needle_is_found_once_at_any_place(offset: int) -> None:
    """Across the border of two reads too, and at its exact address."""
    cell = CypherCell.generate(32)
    with mmap.mmap(-1, 3 * CHUNK) as area:
        place(cell, area, offset)
        hits = scan_process(cell)
        assert len(hits) == 1
        assert hits[0].permissions == "rw-s"
        assert hits[0].offset % PAGE == offset % PAGE
        area[offset : offset + 32] = bytes(32)
        assert scan_process(cell) == []


def test_every_copy_is_found() -> None:
    """Two copies side by side and one further on make three hits, in order."""
    cell = CypherCell.generate(16)
    with mmap.mmap(-1, 2 * CHUNK) as area:
        for offset in (100, 116, CHUNK + 7):
            place(cell, area, offset)
        addresses = [hit.address for hit in scan_process(cell)]
    assert [address - addresses[0] for address in addresses] == [0, 16, CHUNK + 7 - 100]


def test_bytes_needle_finds_the_callers_own_object() -> None:
    """The caller's bytes are a copy like any other."""
    needle = os.urandom(40)
    assert len(scan_process(needle)) >= 1


def test_secure_memory_needle_on_its_own_pages() -> None:
    """An isolated memory, whose pages are closed while nobody borrows it, is left out as well."""
    memory = SecureMemory.from_bytes(CypherCell.generate(5000))
    assert memory.protection.tier == "isolated"
    assert scan_process(memory) == []
    kept = memory.read()
    assert len(scan_process(memory)) >= 1
    assert len(kept) == 5000


def test_unreadable_regions_are_named() -> None:
    """What could not be read is not passed off as clean: secretmem where it is in use."""
    cell = CypherCell.generate(32)
    report = scan_process_report(cell)
    assert isinstance(report, ScanReport)
    assert report.scanned_bytes > 1 << 20
    is_secretmem = cell.protection.backing == "memfd_secret"
    assert ("secretmem" in {region.kind for region in report.unreadable}) == is_secretmem


def test_documented_examples() -> None:
    """The module's own examples do what they say."""
    failed, tried = doctest.testmod(testing, optionflags=doctest.ELLIPSIS)
    assert (failed, tried) == (0, 4)


def test_other_process() -> None:
    """A child's copy is found through its pid, and no longer once the child has cleared it."""
    # The child reads straight into its buffer, so that no copy passes through its registers onto its stack.
    script = """
        import os, sys
        from zeroizepy.utils import secure_clear
        kept = bytearray(32)
        assert os.readv(0, [kept]) == 32
        print("ready", flush=True)
        os.read(0, 1)
        secure_clear(kept)
        print("cleared", flush=True)
        os.read(0, 1)
        """
    needle = CypherCell.generate(32)
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd="/",
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        with needle.borrow() as view:
            os.write(child.stdin.fileno(), view)
        assert child.stdout.readline() == b"ready\n"
        before = scan_process(needle, child.pid)
        child.stdin.write(b"\n")
        assert child.stdout.readline() == b"cleared\n"
        after = scan_process(needle, child.pid)
        child.stdin.write(b"\n")
    assert len(before) == 1
    assert after == []


def test_missing_permission_names_the_right() -> None:
    """Reading another user's memory needs CAP_SYS_PTRACE, and the error says so."""
    if os.geteuid() != 0:
        with pytest.raises(PermissionError, match="CAP_SYS_PTRACE"):
            scan_process(b"needle of some length", 1)
        return
    out = run(
        """
        import os
        from zeroizepy.testing import scan_process
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        for pid in (1, None):
            try:
                scan_process(b"needle of some length", pid)
            except PermissionError as error:
                print(error)
        """
    )
    first, second = out.splitlines()
    assert "run with CAP_SYS_PTRACE" in first
    # setuid made this process undumpable, so that not even its own memory may be read.
    assert "not dumpable" in second


def test_process_that_is_gone() -> None:
    """A pid that is free again, and one that is a zombie: both are said, none is called clean."""
    child = subprocess.Popen([sys.executable, "-I", "-c", ""], cwd="/")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError):
        scan_process(b"needle of some length", child.pid)
    child.wait()
    with pytest.raises(ProcessLookupError, match="no process"):
        scan_process(b"needle of some length", child.pid)


@pytest.mark.parametrize(
    ("needle", "pid", "error", "text"),
    [
        ("text", None, TypeError, "needle must be a CypherCell, SecureMemory or bytes, not str"),
        (b"1234567", None, ValueError, "at least 8 bytes, not 7"),
        (b"", None, ValueError, "at least 8 bytes, not 0"),
        (b"12345678", 0, ValueError, "pid must be positive, not 0"),
        (b"12345678", -1, ValueError, "pid must be positive"),
        (b"12345678", True, TypeError, "pid must be an int or None, not bool"),
        (b"12345678", "1", TypeError, "pid must be an int or None, not str"),
    ],
)
def test_wrong_arguments(needle: object, pid: object, error: type[Exception], text: str) -> None:
    """Each is named, and a short needle's content is not quoted."""
    with pytest.raises(error, match=text) as caught:
        scan_process(needle, pid)  # type: ignore[arg-type]
    assert "1234567'" not in str(caught.value)


def test_wiped_needle() -> None:
    """A needle that is gone is an error, not a clean scan."""
    cell = CypherCell.generate(32)
    cell.wipe()
    with pytest.raises(CellWipedError, match="Cell is wiped"):
        scan_process(cell)


def test_hit_is_a_value() -> None:
    """Hits compare, hash and know their address."""
    hit = Hit(4096, 12, "rw-p", "[heap]", "heap")
    assert hit.address == 4108
    assert len({hit, Hit(4096, 12, "rw-p", "[heap]", "heap")}) == 1
    with pytest.raises(AttributeError):
        hit.offset = 3  # type: ignore[misc]


def test_scanner_leaves_nothing_behind() -> None:
    """Repeated scans find the one copy each time, and none once it is unmapped: the buffer is wiped and given back."""
    cell = CypherCell.generate(32)
    with mmap.mmap(-1, PAGE) as area:
        place(cell, area, 0)
        for _ in range(5):
            assert len(scan_process(cell)) == 1
    assert scan_process(cell) == []
