"""What lies where on an image, by the tools of its file system: journal, inode tables, directories."""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from image.layouts import Layout

Region = tuple[str, int, int]
"""A name, the first byte, and the byte behind the last."""


class Regions:
    """Tells in which region a byte lies. Where two hold it, the earlier of the list names it."""

    def __init__(self, regions: list[Region]) -> None:
        self._edges = sorted({edge for _, start, stop in regions for edge in (start, stop)})
        self._names = ["elsewhere"] * len(self._edges)
        for name, start, stop in reversed(regions):
            first, last = bisect_left(self._edges, start), bisect_left(self._edges, stop)
            self._names[first:last] = [name] * (last - first)

    def name_of(self, position: int) -> str:
        """The region's name, `elsewhere` for none."""
        at = bisect_right(self._edges, position) - 1
        return self._names[at] if at >= 0 else "elsewhere"


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _ext_regions(image: Path) -> list[Region]:
    text = _output("dumpe2fs", image)
    block = int(re.findall(r"^Block size: +(\d+)", text, re.MULTILINE)[0])
    regions = [
        ("inode table", int(first) * block, (int(last) + 1) * block)
        for first, last in re.findall(r"Inode table at (\d+)-(\d+)", text)
    ]
    asked = [("journal", "<8>")] if "has_journal" in text else []
    asked += [("directory", path) for path in ("<2>", "files", "lower", "upper")]
    for name, what in asked:
        numbers = _output("debugfs", "-R", f"blocks {what}", image).split()
        regions += [(name, int(each) * block, (int(each) + 1) * block) for each in numbers if each.isdigit()]
    return regions


def _xfs_regions(image: Path, inodes: list[int]) -> list[Region]:
    names = ("logstart", "logblocks", "blocksize", "agblklog", "agblocks", "inopblog")
    text = _output("xfs_db", "-r", "-c", "sb 0", "-c", f"p {' '.join(names)}", image)
    sb = {name: int(re.findall(rf"^{name} = (\d+)", text, re.MULTILINE)[0]) for name in names}

    def byte_of(block: int) -> int:
        group, inside = divmod(block, 1 << sb["agblklog"])
        return (group * sb["agblocks"] + inside) * sb["blocksize"]

    journal = byte_of(sb["logstart"])
    regions = [("journal", journal, journal + sb["logblocks"] * sb["blocksize"])]
    blocks = {byte_of(inode >> sb["inopblog"]) for inode in inodes}
    return regions + [("inode table", at, at + sb["blocksize"]) for at in blocks]


def regions_of(layout: Layout, image: Path, inodes: list[int]) -> list[Region]:
    """The regions that the tools tell of; none for the other file systems.

    Args:
        layout: What is on the image.
        image: Unmounted.
        inodes: Numbers of the files that were wiped: on xfs they lead to the inodes' blocks.
    """
    if layout.kind.startswith("ext"):
        return _ext_regions(image)
    if layout.kind == "xfs":
        return _xfs_regions(image, inodes)
    return []
