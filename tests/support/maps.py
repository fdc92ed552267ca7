"""What the kernel says about a process's memory: /proc/PID/smaps and /proc/PID/mem."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ([-rwxsp]{4}) \S+ \S+ \S+ *(.*)")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Region:
    """One mapping.

    Attributes:
        start, stop: Its addresses.
        access: "rw-p" and so on.
        name: File or pseudo-name, or "".
        flags: The two-letter VmFlags.
        locked_kb: How much of it is locked.
    """

    start: int
    stop: int
    access: str
    name: str
    flags: frozenset[str] = frozenset()
    locked_kb: int = 0


def regions(pid: int | str = "self") -> list[Region]:
    """All mappings of a process, with flags."""
    found: list[Region] = []
    head: re.Match[str] | None = None
    locked_kb = 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            match = _HEAD.match(line)
            if match is not None:
                head = match
            elif line.startswith("Locked:"):
                locked_kb = int(line.split()[1])
            elif line.startswith("VmFlags:") and head is not None:
                start, stop = int(head[1], 16), int(head[2], 16)
                found.append(Region(start, stop, head[3], head[4], frozenset(line.split()[1:]), locked_kb))
    return found


def region_at(address: int, pid: int | str = "self") -> Region | None:
    """The mapping that holds an address."""
    return next((region for region in regions(pid) if region.start <= address < region.stop), None)


def locked_kb(pid: int | str = "self") -> int:
    """VmLck: what the kernel counts as locked."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(next(line for line in file if line.startswith("VmLck:")).split()[1])


def _hits(memory: object, region: Region, needle: bytes) -> Iterator[int]:
    position = region.start
    tail = b""
    while position < region.stop:
        try:
            memory.seek(position)  # type: ignore[attr-defined]
            piece = memory.read(min(_PIECE_BYTES, region.stop - position))  # type: ignore[attr-defined]
        except (OSError, ValueError, OverflowError):
            return  # Guard pages, secretmem and [vvar] cannot be read.
        if not piece:
            return
        window = tail + piece
        at = window.find(needle)
        while at >= 0:
            yield position - len(tail) + at
            at = window.find(needle, at + 1)
        tail = window[-(len(needle) - 1) :] if len(needle) > 1 else b""
        position += len(piece)


def find_in_memory(pid: int, needle: bytes) -> list[int]:
    """Every address at which the bytes stand in the readable memory of another process."""
    places: list[int] = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for region in regions(pid):
            if region.access.startswith("r"):
                places += _hits(memory, region, needle)
    return places
