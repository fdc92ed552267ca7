"""The scan of files, core dumps and swap areas: what it finds, where, and what it refuses."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import CellWipedError, CypherCell
from zeroizepy.scan.swap import swap_areas
from zeroizepy.testing import Canary, FileHit, scan_core, scan_file, scan_process, scan_swap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.children import Child

CHUNK = 1 << 20


@pytest.fixture
def canary() -> Iterator[Canary]:
    """48 characters that stand nowhere else."""
    with Canary() as made:
        yield made


def put(canary: Canary, path: Path, *offsets: int, size: int = 0) -> Path:
    """A file of zeros with the secret at some offsets."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, size)
    for offset in offsets:
        os.lseek(fd, offset, os.SEEK_SET)
        canary.write_to(fd)
    os.close(fd)
    return path


# ---- any file ----


@pytest.mark.parametrize(
    "offset", [0, 1, CHUNK - 49, CHUNK - 48, CHUNK - 47, CHUNK - 16, CHUNK - 1, CHUNK, 3 * CHUNK - 48]
)
def test_needle_is_found_once_at_any_place(canary: Canary, tmp_path: Path, offset: int) -> None:
    """At the beginning, across the border of two reads, and as the last bytes."""
    path = put(canary, tmp_path / "file", offset, size=3 * CHUNK)
    report = scan_file(path, canary)
    assert report.hits == (FileHit(offset),)
    assert report.scanned_bytes == 3 * CHUNK
    assert (report.path, report.kind) == (str(path), "file")


def test_every_copy_is_found(canary: Canary, tmp_path: Path) -> None:
    """Neighbours and distant ones, in order."""
    offsets = (7, 55, CHUNK + 3, 2 * CHUNK - 20)
    assert [hit.offset for hit in scan_file(put(canary, tmp_path / "file", *offsets), canary).hits] == list(offsets)


@pytest.mark.parametrize("size", [0, 1, 4095, 4097, CHUNK + 1])
def test_clean_file(canary: Canary, tmp_path: Path, size: int) -> None:
    """Files of odd sizes are read to their end."""
    report = scan_file(put(canary, tmp_path / "file", size=size), canary)
    assert (report.hits, report.scanned_bytes) == ((), size)


def test_cut_copies(canary: Canary, tmp_path: Path) -> None:
    """At the beginning of a file only the tail may be left; a copy without its tail is none."""
    path = tmp_path / "file"
    with canary._cell.borrow() as view:
        path.write_bytes(view[-20:])
        assert scan_file(path, canary).hits == (FileHit(4, "raw", "tail"),)
        path.write_bytes(view[:-1])
        assert scan_file(path, canary).hits == ()


def test_forms(canary: Canary, tmp_path: Path) -> None:
    """A canary's other forms are told apart."""
    path = tmp_path / "file"
    path.write_text(canary.reveal_bytes().hex() + " " + canary.reveal(), encoding="ascii")
    assert scan_file(path, canary).hits == (FileHit(0, "hex"), FileHit(97, "raw"))
    path.write_text("é" + canary.reveal(), encoding="utf-16-le")
    assert scan_file(path, canary).hits == (FileHit(2, "utf-16"),)


def test_scan_leaves_no_copy_in_this_process(canary: Canary, tmp_path: Path) -> None:
    """The buffer is wiped: the file's copy is not found in memory afterwards."""
    path = put(canary, tmp_path / "file", 100, CHUNK + 5)
    assert len(scan_file(path, canary).hits) == 2
    assert [hit for hit in scan_process(canary) if not hit.protected] == []


def test_needle_kinds(tmp_path: Path) -> None:
    """A cell, without counting an access, and bytes."""
    cell = CypherCell(b"a needle of some length", volatile=True)
    path = tmp_path / "file"
    path.write_bytes(b"...a needle of some length")
    assert scan_file(str(path), cell).hits == scan_file(path, b"a needle of some length").hits == (FileHit(3),)
    cell.wipe()
    with pytest.raises(CellWipedError):
        scan_file(path, cell)


@pytest.mark.parametrize(("needle", "error"), [("text", TypeError), (b"1234567", ValueError)])
def test_wrong_needles(tmp_path: Path, needle: Any, error: type[Exception]) -> None:
    """Refused before a file is opened."""
    for scan in (scan_file, scan_core, scan_swap):
        with pytest.raises(error, match="needle must be"):
            scan(path=tmp_path / "missing", needle=needle)


def test_other_kinds_of_files(canary: Canary, tmp_path: Path) -> None:
    """A folder, a FIFO that nobody writes to, and a character device are refused at once."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/null"):
        with pytest.raises(ValueError, match="is neither a regular file nor a block device"):
            scan_file(path, canary)
    with pytest.raises(FileNotFoundError):
        scan_file(tmp_path / "missing", canary)


# ---- core dumps, made by hand ----


def core_of(segments: list[tuple[int, int, int, bytes]], *, bits: int = 64, order: str = "<", kind: int = 4) -> bytes:
    """An ELF file with these segments: type, flags, address, content; each claims 4096 bytes more of memory."""
    head, entry = (64, 56) if bits == 64 else (52, 32)
    at = head + entry * len(segments)
    table = content = b""
    for segment, flags, address, data in segments:
        sizes = (len(data), len(data) + 4096)
        if bits == 64:
            table += struct.pack(order + "IIQQQQQQ", segment, flags, at + len(content), address, 0, *sizes, 1)
        else:
            table += struct.pack(order + "IIIIIIII", segment, at + len(content), address, 0, *sizes, flags, 1)
        content += data
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    layout = order + ("HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH")
    header = struct.pack(layout, kind, 62, 1, 0, head, 0, 0, head, entry, len(segments), 0, 0, 0)
    return ident + header + table + content


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [32, 64])
def test_core_addresses(canary: Canary, tmp_path: Path, bits: int, order: str) -> None:
    """A hit has the address and the permissions of its segment; one in the notes has none."""
    secret = canary.reveal_bytes()
    parts = [(4, 4, 0, b"note" + secret), (1, 5, 0x400000, bytes(100)), (1, 6, 0x7F0000, bytes(10) + secret)]
    path = tmp_path / "core"
    path.write_bytes(core_of(parts, bits=bits, order=order))
    report = scan_core(path, canary)
    assert [(hit.address, hit.permissions, hit.part) for hit in report.hits] == [
        (None, "", "whole"),
        (0x7F0000 + 10, "rw-", "whole"),
    ]
    assert (report.kind, report.truncated, report.absent_bytes) == ("core", False, 2 * 4096)
    del secret, parts


def test_truncated_core(canary: Canary, tmp_path: Path) -> None:
    """A dump that was cut off is searched, and says so."""
    path = tmp_path / "core"
    path.write_bytes(core_of([(1, 6, 0x1000, bytes(5000))])[:-1])
    report = scan_core(path, canary)
    assert report.truncated
    assert report.hits == ()


def test_core_with_many_segments(canary: Canary, tmp_path: Path) -> None:
    """From 65,535 segments on their number stands in the first section header."""
    data = bytearray(core_of([(1, 6, 0x5000, bytes(8) + canary.reveal_bytes())]))
    struct.pack_into("<H", data, 16 + 40, 0xFFFF)  # e_phnum
    struct.pack_into("<Q", data, 16 + 24, len(data))  # e_shoff
    data += bytes(44) + struct.pack("<I", 1) + bytes(16)
    path = tmp_path / "core"
    path.write_bytes(data)
    assert [hit.address for hit in scan_core(path, canary).hits] == [0x5008]


def damaged() -> dict[str, tuple[bytes, str]]:
    """What is no core dump, and what is said about it."""
    good = core_of([(1, 6, 0x1000, b"")])
    return {
        "empty": (b"", "is not an ELF core dump; decompress it first"),
        "compressed": (b"\x28\xb5\x2f\xfd" + bytes(100), "is not an ELF core dump; decompress it first"),
        "program": (core_of([(1, 6, 0, b"")], kind=2), "is an ELF file but not a core dump"),
        "header": (good[:40], "is cut off within its headers, at 16"),
        "table": (good[:-1], "is cut off within its headers, at 64"),
        "entry": (good[:54] + b"\x05\x00" + good[56:], "is damaged: its program headers have 5 bytes"),
        "far": (good[:32] + b"\xff" * 8 + good[40:], "is cut off within its headers"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_cores(canary: Canary, tmp_path: Path, name: str) -> None:
    """Each is refused with what is wrong."""
    content, text = damaged()[name]
    path = tmp_path / "core"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        scan_core(path, canary)


# ---- swap areas, made by hand ----


def area_of(canary: Canary, path: Path, *offsets: int) -> Path:
    """A file with a swap signature."""
    put(canary, path, *offsets, size=64 * mmap.PAGESIZE)
    with path.open("r+b") as file:
        file.seek(mmap.PAGESIZE - 10)
        file.write(b"SWAPSPACE2")
    return path


def test_swap_file(canary: Canary, tmp_path: Path) -> None:
    """A swap file that is not in use is read like one that is."""
    path = area_of(canary, tmp_path / "swap", 8192 + 5)
    (report,) = scan_swap(canary, path)
    assert (report.kind, report.hits, report.scanned_bytes) == ("swap", (FileHit(8197),), 64 * mmap.PAGESIZE)


def test_not_a_swap_area(canary: Canary, tmp_path: Path) -> None:
    """Without the signature it is refused; scan_file is named."""
    for size in (0, 100, 3 * mmap.PAGESIZE):
        path = put(canary, tmp_path / "file", size=size)
        with pytest.raises(ValueError, match="has no swap signature; scan_file"):
            scan_swap(canary, path)


def test_swap_table(tmp_path: Path) -> None:
    """Names are unescaped; no table means no swap; a deleted area is an error, not a clean answer."""
    table = tmp_path / "swaps"
    head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    table.write_text(head + "/dev/dm-0   partition\t1\t0\t-2\n/my\\040swap   file\t1\t0\t-3\n", encoding="utf-8")
    assert swap_areas(str(table)) == ["/dev/dm-0", "/my swap"]
    assert swap_areas(str(tmp_path / "missing")) == []
    table.write_text(head + "/gone\\040(deleted)   file\t1\t0\t-3\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="deleted file"):
        swap_areas(str(table))


def test_swap_needs_a_right(canary: Canary, tmp_path: Path, child: Child) -> None:
    """As another user, an area of root's is refused, and the message names the right."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give up its rights")
    path = area_of(canary, tmp_path / "swap")
    os.chmod(path, 0o600)
    body = """
    import os, sys
    from zeroizepy.testing import Canary, scan_swap
    os.chdir(os.path.dirname(sys.argv[1]))
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    with Canary() as canary:
        try:
            scan_swap(canary, os.path.basename(sys.argv[1]))
        except PermissionError as error:
            print(error)
    """
    assert "run as root, or with CAP_DAC_READ_SEARCH: 'swap'" in child.check(body, str(path))
