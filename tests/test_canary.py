"""Leak checks on code of one's own: the canary, the forms it is looked for in, and the check with its controls."""

from __future__ import annotations

import base64
import copy
import mmap
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import CellWipedError, CypherCell, SecureMemory
from zeroizepy.scan import memory_map, residue
from zeroizepy.scan import process as scan_of_process
from zeroizepy.testing import (
    FORMS,
    Canary,
    ResidueError,
    ScanControlError,
    assert_no_residue,
    scan_obstacle,
    scan_process,
    scan_process_report,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

    from zeroizepy.testing import ScanReport

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")


def failure_of(leak: Callable[[Canary], object], **options: Any) -> ResidueError:
    """The error of a check during which a function ran, whose result was kept."""
    with Canary(**options) as canary:
        kept = None
        with pytest.raises(ResidueError) as caught, assert_no_residue(canary):
            kept = leak(canary)
        assert kept is not None
        assert not canary.is_in(str(caught.value))
        return caught.value


# ---- the canary ----


def test_canary_is_in_no_ordinary_memory() -> None:
    """A canary that was not handed out is nowhere, in none of its forms."""
    with Canary() as canary:
        assert [hit for hit in scan_process(canary) if not hit.protected] == []


def test_canary_is_found_where_it_was_handed_out() -> None:
    """The control of the test above: the same scan finds one str."""
    with Canary() as canary:
        text = canary.reveal()
        hits = [hit for hit in scan_process(canary) if not hit.protected]
        assert [(hit.form, hit.part) for hit in hits] == [("raw", "whole")]
        del text


def test_canaries_differ_and_are_plain_text() -> None:
    """Letters, digits, "-" and "_": the same bytes as str, bytes and bytearray."""
    with Canary(64) as first, Canary(64) as second:
        assert len(first) == 64
        assert first.reveal().encode() == first.reveal_bytes() == bytes(first.reveal_bytearray())
        assert first.reveal() != second.reveal()
        assert set(first.reveal()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_canary_tells_nothing() -> None:
    """No text form, no copy, no pickle."""
    with Canary() as canary:
        assert repr(canary) == f"{canary}" == "<Canary: [REDACTED]>"
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle 'Canary' object"):
                attempt(canary)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"size": 23}, ValueError, "size must be 24 to 4096, not 23"),
        ({"size": 4097}, ValueError, "size must be 24 to 4096, not 4097"),
        ({"size": "48"}, TypeError, "size must be an int, not str"),
        ({"forms": "raw"}, TypeError, "not the str 'raw'"),
        ({"forms": ["raw", "rot13"]}, ValueError, "forms may hold raw, utf-16, utf-32, hex, base64"),
        ({"forms": []}, ValueError, "at least one form"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each is named."""
    with pytest.raises(error, match=text):
        Canary(**options)


def test_closed_canary() -> None:
    """A check on a canary that is gone is an error, not an empty answer."""
    canary = Canary()
    canary.close()
    canary.close()
    for use in (canary.reveal, canary.reveal_bytes, canary.reveal_bytearray, lambda: scan_process(canary)):
        with pytest.raises(CellWipedError):
            use()
    with pytest.raises(CellWipedError):
        assert_no_residue(canary)


def test_is_in() -> None:
    """A text that holds the secret, in a form, is recognised; another is not."""
    with Canary() as canary:
        text = canary.reveal()
        assert canary.is_in(f"password={text};")
        assert canary.is_in(f"{text}".encode().hex())
        assert canary.is_in(bytearray(base64.b64encode(b"user:" + text.encode())))
        assert canary.is_in(b"..." + text[-16:].encode())
        assert not canary.is_in(text[:-1])
        assert not canary.is_in("")
        with pytest.raises(TypeError, match="contiguous bytes-like"):
            canary.is_in(5)  # type: ignore[arg-type]


def test_write_to() -> None:
    """The secret goes through a descriptor and leaves nothing behind here."""
    reader, writer = os.pipe()
    with Canary() as canary:
        with assert_no_residue(canary):
            assert canary.write_to(writer) == 48
        os.close(writer)
        received = CypherCell.from_fd(reader, 48)
        os.close(reader)
        assert received.verify(canary.reveal())
        with pytest.raises(OSError, match="canary could not be written: Bad file descriptor"):
            canary.write_to(writer)


# ---- forms ----

LEAKS: dict[str, tuple[Callable[[Canary], object], str]] = {
    "str": (lambda canary: "password " + canary.reveal(), "raw"),
    "bytes": (lambda canary: b"password " + canary.reveal_bytes(), "raw"),
    "bytearray": (lambda canary: canary.reveal_bytearray(), "raw"),
    "str of two bytes": (lambda canary: "Ω" + canary.reveal(), "utf-16"),
    "str of four bytes": (lambda canary: "🔑" + canary.reveal(), "utf-32"),
    "hex": (lambda canary: canary.reveal_bytes().hex(), "hex"),
    "HEX": (lambda canary: canary.reveal_bytes().hex().upper(), "hex"),
    "base64": (lambda canary: base64.b64encode(canary.reveal_bytes()), "base64"),
    "base64 one on": (lambda canary: base64.b64encode(b"u" + canary.reveal_bytes() + b"!"), "base64"),
    "base64 two on": (lambda canary: base64.b64encode(b"u:" + canary.reveal_bytes()), "base64"),
    "base64 for URLs": (lambda canary: base64.urlsafe_b64encode(b"user" + canary.reveal_bytes()), "base64"),
}


@pytest.mark.parametrize("name", LEAKS)
@pytest.mark.parametrize("size", [24, 49])
def test_form_is_found(name: str, size: int) -> None:
    """A kept copy fails the check, in the form that it has."""
    leak, form = LEAKS[name]
    error = failure_of(leak, size=size)
    assert form in {hit.form for hit in error.report.hits if hit.part == "whole"}
    assert f"whole, {form}: " in str(error)


def test_form_is_looked_for_on_request_alone() -> None:
    """The control of `forms`: hex is not found where it was not asked for."""
    with Canary(forms=["raw"]) as canary:
        kept = canary.reveal_bytes().hex()
        with assert_no_residue(canary):
            pass
        assert kept


@pytest.mark.parametrize("alphabet", [b"+/", b"-_"])
def test_every_byte_value_in_base64(alphabet: bytes) -> None:
    """All 256 byte values, in each of the three places of a group, against Python's own encoder."""
    secret = SecureMemory.from_bytes(bytes(range(256)))
    for phase in range(3):
        kept = base64.b64encode(b"x" * phase + bytes(range(256)) + b"yz", altchars=alphabet)
        with pytest.raises(ResidueError) as caught, assert_no_residue(secret, forms=["base64"], tail=False):
            pass
        assert kept[4:-4].isascii()
        assert {hit.part for hit in caught.value.report.hits} == {"whole"}


def test_tail_is_found() -> None:
    """The last 16 bytes alone are a copy: freed memory loses its head."""
    error = failure_of(lambda canary: canary.reveal()[-17:])
    assert [hit.part for hit in error.report.hits] == ["tail"]
    assert "its last 16 bytes, raw: " in str(error)


def test_tail_is_looked_for_on_request_alone() -> None:
    """The control of `tail`."""
    with Canary(tail=False) as canary:
        kept = canary.reveal()[-17:]
        with assert_no_residue(canary):
            pass
        assert kept


# ---- what was handed out ----


def test_what_nobody_holds_is_taken_back() -> None:
    """str and bytes that were used and dropped do not count: no Python code could have wiped them."""
    with Canary() as canary, assert_no_residue(canary) as check:
        assert len(canary.reveal()) == len(canary.reveal_bytes())
    assert check.report is not None
    assert check.report.hits == () or all(hit.protected for hit in check.report.hits)


@pytest.mark.parametrize("kind", ["reveal", "reveal_bytes"])
def test_what_is_still_referred_to_is_named(kind: str) -> None:
    """The error says that the object lives, and in what."""
    error = failure_of(lambda canary: [getattr(canary, kind)()])
    name = "str" if kind == "reveal" else "bytes"
    assert f"a {name} that was handed out is still referred to once, from list" in str(error)
    assert len(error.report.hits) == 1


def test_reference_in_a_cycle_is_collected() -> None:
    """An object that only garbage refers to is not a leak."""
    with Canary() as canary, assert_no_residue(canary):
        cycle: list[Any] = [canary.reveal()]
        cycle.append(cycle)
        del cycle


def test_bytearray_is_the_codes_to_clear() -> None:
    """A bytearray that was cleared passes."""
    with Canary() as canary, assert_no_residue(canary):
        cell = CypherCell(canary.reveal_bytearray(), wipe_source=True)
        cell.wipe()


# ---- the check ----


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
    error = failure_of(lambda canary: canary.reveal_bytearray())
    assert isinstance(error, AssertionError)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own.
    assert str(again) == str(error)
    assert again.report == error.report


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
    import subprocess

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
    import subprocess

    everything = memory_map.regions
    monkeypatch.setattr(
        memory_map, "regions", lambda pid: [region for region in everything(pid) if region.kind != "stack"]
    )
    with Canary() as canary, subprocess.Popen(["sleep", "60"]) as process:
        try:
            check = assert_no_residue(canary, pid=process.pid)
            with pytest.raises(ScanControlError, match=f"scan of process {process.pid} is blind"), check:
                pass
        finally:
            process.kill()


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


# ---- pages that do not exist ----


def pagemaps() -> list[Callable[[int], memory_map.Pagemap]]:
    """The three ways to know which pages exist: the call, the entries, and none."""
    original = memory_map.Pagemap

    def by_entries(pid: int) -> memory_map.Pagemap:
        pagemap = original(pid)
        pagemap._has_scan = False
        return pagemap

    def without(pid: int) -> memory_map.Pagemap:
        pagemap = original(pid)
        os.close(pagemap._fd)
        pagemap._fd = -1
        return pagemap

    return [original, by_entries, without]


@pytest.mark.parametrize("way", [0, 1, 2], ids=["PAGEMAP_SCAN", "entries", "reading"])
def test_sparse_memory(monkeypatch: pytest.MonkeyPatch, way: int) -> None:
    """Copies in three pages of 256 MiB are found, one of them across the border of a page; the rest is passed over."""
    monkeypatch.setattr(memory_map, "Pagemap", pagemaps()[way])
    cell = CypherCell.generate(40)
    places = [5, 1000 * mmap.PAGESIZE - 17, 60_000 * mmap.PAGESIZE - 40]
    with mmap.mmap(-1, 1 << 28, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_NOHUGEPAGE)
        for place in places:
            with memoryview(area)[place : place + 40] as part:
                cell.copy_into(part)
        report: ScanReport = scan_process_report(cell)
        big = [hit for hit in report.hits if hit.permissions == "rw-p" and not hit.mapping]
        offsets = [hit.address - big[0].address for hit in big]
        assert set(place - places[0] for place in places) <= set(offsets)  # noqa: C401 - reads like the line above.
        for place in places:
            area[place : place + 40] = bytes(40)
    assert (report.skipped_bytes > 250 << 20) == (way != 2)


def test_copy_that_ends_in_a_page_that_does_not_exist() -> None:
    """Bytes that end in zeros are found although the page with the zeros was never written."""
    needle = SecureMemory.from_bytes(os.urandom(24) + bytes(8))
    with mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_NOHUGEPAGE)
        end = 100 * mmap.PAGESIZE
        with needle.borrow() as view:
            area[end - 24 : end] = view[:24]
        assert any(hit.address % mmap.PAGESIZE == mmap.PAGESIZE - 24 for hit in scan_process(needle))


@pytest.mark.parametrize("flags", [mmap.MAP_PRIVATE, mmap.MAP_SHARED], ids=["private", "shared"])
def test_file_pages_that_are_not_mapped_yet_are_read(tmp_path: Any, flags: int) -> None:
    """A file's content counts although this process has not touched the page."""
    with Canary() as canary:
        path = tmp_path / "file"
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, bytes(10 * mmap.PAGESIZE), 0)
        os.lseek(fd, 5 * mmap.PAGESIZE, os.SEEK_SET)
        canary.write_to(fd)
        with mmap.mmap(fd, 10 * mmap.PAGESIZE, flags=flags, prot=mmap.PROT_READ):
            hits = [hit for hit in scan_process(canary) if hit.kind == "file"]
        os.close(fd)
    assert [(hit.offset, hit.mapping) for hit in hits] == [(5 * mmap.PAGESIZE, str(path))]


def test_forms_are_documented() -> None:
    """Each form of the table can be asked for by itself."""
    for form in FORMS:
        with Canary(forms=[form]) as canary:
            assert canary.forms == (form,)
