"""The check that a block of code left no copy of a secret: what counts, its controls, and other processes."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import CypherCell, SecureMemory
from zeroizepy.scan import memory_map, residue
from zeroizepy.scan import process as scan_of_process
from zeroizepy.testing import Canary, ResidueError, ScanControlError, assert_no_residue, scan_obstacle

if TYPE_CHECKING:
    from support.children import Child

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_copies_in_cells_do_not_count(child: Child, tier: str) -> None:
    """On either backing: where it can be read, the kernel says that the memory is locked and not dumped."""
    body = f"""
    from zeroizepy import CypherCell
    from zeroizepy.testing import Canary, assert_no_residue
    with Canary() as canary:
        with assert_no_residue(canary) as check:
            cell = CypherCell(canary.reveal_bytes(), tier={tier!r})
        print(len(check.report.hits), all(hit.protected for hit in check.report.hits))
    """
    seen = 0 if child.backend == "secretmem" or tier == "sealed" else 1
    assert child.check(body) == f"{seen} True\n"


def test_check_beyond_the_lock_budget(child: Child) -> None:
    """What is looked for may be encrypted at rest itself: the check sees a leak, and nothing where there is none."""
    body = """
    import warnings
    from zeroizepy import CypherCell
    from zeroizepy.testing import Canary, ResidueError, assert_no_residue
    warnings.simplefilter("ignore")
    cells = [CypherCell(b"x" * 4096) for _ in range(200)]
    assert cells[-1].protection.tier == "sealed"
    with Canary() as canary:
        print({probe.memory.protection.tier for probe in canary._needles})
        with assert_no_residue(canary):
            cells.append(CypherCell(canary.reveal_bytes()))
        kept = canary.reveal_bytearray()
        try:
            with assert_no_residue(canary):
                pass
        except ResidueError as error:
            print(len([hit for hit in error.report.hits if not hit.protected]))
    """
    assert child.check(body, env={"ZEROIZEPY_LOCK_BUDGET": "131072"}) == "{'sealed'}\n1\n"


def test_borrowed_sealed_cell_is_no_copy(child: Child) -> None:
    """While it is open its slot is its own, on either backing."""
    body = """
    from zeroizepy import CypherCell
    from zeroizepy.testing import scan_process
    cell = CypherCell(CypherCell.generate(40), tier="sealed")
    with cell.borrow():
        print(scan_process(cell))
    """
    assert child.check(body) == "[]\n"


def test_cell_that_is_wiped_in_the_block() -> None:
    """What to look for is kept apart from the secret, which may end first."""
    cell = CypherCell.generate(40)
    kept = None
    with pytest.raises(ResidueError, match="copy of the secret"), assert_no_residue(cell):  # noqa: PT012 - the block is it.
        kept = cell.reveal_bytes()
        cell.wipe()
    assert kept


def test_secret_that_comes_in_the_block() -> None:
    """`add` takes what did not exist before; each secret has its number."""
    first = CypherCell.generate(32)
    kept = None
    with pytest.raises(ResidueError) as caught, assert_no_residue(first) as check:  # noqa: PT012 - the block is it.
        second = SecureMemory.from_bytes(CypherCell.generate(32))
        check.add(second)
        kept = second.get_bytes()
    assert {hit.secret for hit in caught.value.report.hits} == {1}
    assert "of 2 secrets" in str(caught.value)
    assert "secret 2, whole, raw: " in str(caught.value)
    assert kept


def test_no_access_is_counted() -> None:
    """A volatile cell lives through a check."""
    cell = CypherCell.generate(32, volatile=True)
    with assert_no_residue(cell):
        pass
    assert not cell.wiped


def test_large_secret() -> None:
    """Above 4096 bytes it is looked for as it is, by its tail."""
    memory = SecureMemory.from_bytes(CypherCell.generate(100_000))
    with assert_no_residue(memory):
        pass
    kept = memory.read()
    with pytest.raises(ResidueError, match="whole, raw"), assert_no_residue(memory):
        pass
    assert len(kept) == 100_000
    with pytest.raises(ValueError, match="forms other than 'raw' take secrets up to 4096 bytes, not 100000"):
        assert_no_residue(memory, forms=["hex"])


def test_error_in_the_block_comes_through() -> None:
    """It is not replaced by what its own traceback holds."""
    with Canary() as canary, pytest.raises(ZeroDivisionError), assert_no_residue(canary):  # noqa: PT012
        assert canary.reveal()
        _ = 1 / 0


@pytest.mark.parametrize(
    ("secret", "error", "text"),
    [
        ("text", TypeError, "secret must be a CypherCell, SecureMemory or bytes, not str"),
        (b"1234567", ValueError, "at least 8 bytes, not 7"),
    ],
)
def test_wrong_secrets(secret: Any, error: type[Exception], text: str) -> None:
    """Each is named."""
    with pytest.raises(error, match=text):
        assert_no_residue(secret)


def test_check_of_nothing() -> None:
    """A check that looks for nothing is an error, not a pass."""
    with pytest.raises(ValueError, match="no secret to look for"), assert_no_residue():
        pass


def test_residue_error_is_a_failed_assertion() -> None:
    """Test runners report it as a failure, and it can be sent between processes."""
    with Canary() as canary:
        kept = canary.reveal_bytearray()
        with pytest.raises(AssertionError) as caught, assert_no_residue(canary):
            pass
    assert kept
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own.
    assert type(again) is ResidueError
    assert str(again) == str(caught.value)
    assert again.report == caught.value.report  # type: ignore[attr-defined]


# ---- the controls ----


def test_blind_scanner_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that does not see ordinary memory is an error of its own, though it found no secret."""
    monkeypatch.setattr(memory_map, "regions", lambda _pid: [memory_map.Region(4096, 8192, "rw-p", "", "heap")])
    with Canary() as canary:
        check = assert_no_residue(canary)
        with pytest.raises(ScanControlError, match=r"is blind: it did not find a control value at 0x"), check:
            pass


def test_ghosts_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that sees what was never placed is an error of its own."""
    kept = []

    class Leaky:
        """Generates cells and keeps a copy of each."""

        @staticmethod
        def generate(size: int) -> CypherCell:
            cell = CypherCell.generate(size)
            kept.append(cell.reveal_bytes())
            return cell

    monkeypatch.setattr(residue, "CypherCell", Leaky)
    with Canary() as canary:
        check = assert_no_residue(canary)
        with pytest.raises(ScanControlError, match="sees what is not there"), check:
            pass
    assert len(kept) == 2


def test_control_is_not_in_the_report() -> None:
    """Its hits are the check's own business."""
    with Canary() as canary:
        with assert_no_residue(canary) as check:
            pass
        assert check.report is not None
        assert {hit.secret for hit in check.report.hits} <= {0}
        assert check.report.scanned_bytes > 1 << 20


# ---- other processes ----

HOLDER = """
import os, sys
from zeroizepy import CypherCell
held = {hold}
print("ready", flush=True)
os.read(0, 1)
"""


@pytest.mark.parametrize(
    ("hold", "leaks"),
    [("CypherCell.from_fd(0, 48)", False), ("os.read(0, 48)", True)],
    ids=["cell", "bytes"],
)
def test_other_process(child: Child, hold: str, leaks: bool) -> None:
    """A program's memory is checked from outside: its cell passes on either backing, its bytes do not."""
    with Canary() as canary:
        process = subprocess.Popen(
            child.command(HOLDER.format(hold=hold)),
            env=child.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            canary.write_to(process.stdin.fileno())
            assert process.stdout.readline() == b"ready\n"
            check = assert_no_residue(canary, pid=process.pid)
            if leaks:
                with pytest.raises(ResidueError, match=f"in the memory of process {process.pid}"), check:
                    pass
            else:
                with check:
                    pass
            assert check.report is not None
            seen = [hit for hit in check.report.hits if hit.protected]
            assert len(seen) == (0 if leaks or child.backend == "secretmem" else 1)
            process.stdin.write(b"\n")
    assert process.returncode == 0


def test_blind_scan_of_another_process_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the control is what the kernel put on the stack."""
    everything = memory_map.regions
    monkeypatch.setattr(
        memory_map, "regions", lambda pid: [region for region in everything(pid) if region.kind != "stack"]
    )
    with Canary() as canary, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # A program that has only just replaced this one may have no stack of its own yet; one that answers has.
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"\n"
            check = assert_no_residue(canary, pid=process.pid)
            with pytest.raises(ScanControlError, match=f"scan of process {process.pid} is blind"), check:
                pass
        finally:
            process.kill()


@pytest.mark.parametrize("vector", [b"", bytes(16)], ids=["none", "empty"])
def test_process_whose_program_is_not_there_yet(monkeypatch: pytest.MonkeyPatch, vector: bytes) -> None:
    """Right after fork and exec the kernel has not put the control on the stack yet, and the error says so."""
    with Canary() as canary, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(residue, "open", lambda *_: io.BytesIO(vector), raising=False)
        check = assert_no_residue(canary, pid=process.pid)
        with pytest.raises(ScanControlError, match=f"process {process.pid} has no program yet, or no more"), check:
            pass


def test_missing_permission_names_the_right(child: Child) -> None:
    """Checking root's process as another user says what that takes."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give up its rights")
    body = """
    import os
    from zeroizepy.testing import Canary, assert_no_residue, scan_obstacle
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    with Canary() as canary:
        for pid in (1, None):
            try:
                with assert_no_residue(canary, pid=pid):
                    pass
            except PermissionError as error:
                print(error)
        print(scan_obstacle())
    """
    first, second, third = child.check(body).splitlines()
    assert "run with CAP_SYS_PTRACE" in first
    assert "not dumpable" in second
    assert "not dumpable" in third


def test_other_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux the obstacle is named, and the check refuses to run."""
    assert scan_obstacle() is None
    with Canary() as canary:
        monkeypatch.setattr(scan_of_process.sys, "platform", "darwin")
        obstacle = scan_obstacle()
        with pytest.raises(NotImplementedError, match="/proc/PID/mem"):
            assert_no_residue(canary)
        monkeypatch.undo()
    assert obstacle == "scanning needs Linux's /proc/PID/mem; this is darwin"
