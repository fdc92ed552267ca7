"""Pages that do not exist are passed over by the scan of a process, and no others."""

from __future__ import annotations

import mmap
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import CypherCell, SecureMemory
from zeroizepy.scan import memory_map
from zeroizepy.testing import Canary, ScanReport, scan_process, scan_process_report

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")


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
