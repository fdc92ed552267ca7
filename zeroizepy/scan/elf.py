"""The segments of an ELF core dump."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

__all__ = ["Core", "Segment", "read_core"]

_CLASSES = {1: 32, 2: 64}
_ORDERS = {1: "<", 2: ">"}
_ET_CORE = 4
_PT_LOAD = 1
_MANY_SEGMENTS = 0xFFFF
"""e_phnum when the count stands in section 0 instead."""

# e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum, e_shentsize, ...
_FILE_HEADERS = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
_SEGMENT_HEADERS = {32: "IIIIIIII", 64: "IIQQQQQQ"}
_INFO_OFFSETS = {32: 28, 64: 44}
"""Of sh_info within a section header."""
_IDENT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """One PT_LOAD segment.

    Attributes:
        offset, file_bytes: Where the file holds its beginning.
        address, memory_bytes: Where it was in the process.
        permissions: Such as "rw-".
    """

    offset: int
    file_bytes: int
    address: int
    memory_bytes: int
    permissions: str


@dataclass(frozen=True, slots=True)
class Core:
    """A core dump's segments, by their place in the file, and the size that its file should have."""

    segments: tuple[Segment, ...]
    file_bytes: int

    def at(self, offset: int) -> Segment | None:
        """The segment that a byte of the file belongs to."""
        return next((part for part in self.segments if part.offset <= offset < part.offset + part.file_bytes), None)


def read_core(fd: int, path: str) -> Core:
    """Read the headers of a core dump.

    Args:
        fd: Readable and seekable.
        path: For the messages.

    Raises:
        ValueError: Not an ELF core dump, or one whose headers are cut off.

    Source: the System V ABI's chapters on object files, and elf(5) for e_phnum 0xffff.
    """
    ident = os.pread(fd, _IDENT_BYTES, 0)
    if len(ident) < _IDENT_BYTES or ident[:4] != b"\x7fELF" or ident[4] not in _CLASSES or ident[5] not in _ORDERS:
        raise ValueError(
            f"{path} is not an ELF core dump; decompress it first if it is compressed (coredumpctl dump -o FILE)"
        )
    bits, order = _CLASSES[ident[4]], _ORDERS[ident[5]]
    header = _unpack(fd, order + _FILE_HEADERS[bits], _IDENT_BYTES, path)
    kind, table, sections, entry_bytes, count = header[0], header[4], header[5], header[8], header[9]
    if kind != _ET_CORE:
        raise ValueError(f"{path} is an ELF file but not a core dump; scan_file takes any file")
    if count == _MANY_SEGMENTS:
        (count,) = _unpack(fd, order + "I", sections + _INFO_OFFSETS[bits], path)
    layout = order + _SEGMENT_HEADERS[bits]
    if entry_bytes < struct.calcsize(layout):
        raise ValueError(f"{path} is damaged: its program headers have {entry_bytes} bytes")
    segments = []
    for number in range(count):
        fields = _unpack(fd, layout, table + number * entry_bytes, path)
        if fields[0] == _PT_LOAD:
            segments.append(_segment(fields, bits))
    segments.sort(key=lambda part: part.offset)
    return Core(tuple(segments), max((part.offset + part.file_bytes for part in segments), default=0))


def _segment(fields: tuple[int, ...], bits: int) -> Segment:
    if bits == 64:
        _kind, flags, offset, address, _physical, file_bytes, memory_bytes, _align = fields
    else:
        _kind, offset, address, _physical, file_bytes, memory_bytes, flags, _align = fields
    permissions = "".join(letter if flags & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
    return Segment(offset, file_bytes, address, memory_bytes, permissions)


def _unpack(fd: int, layout: str, offset: int, path: str) -> tuple[int, ...]:
    size = struct.calcsize(layout)
    data = os.pread(fd, size, offset) if offset < 1 << 63 else b""
    if len(data) < size:
        raise ValueError(f"{path} is cut off within its headers, at {offset}")
    return struct.unpack(layout, data)
