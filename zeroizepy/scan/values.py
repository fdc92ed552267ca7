"""What scans give out: regions, hits and reports. None of them holds a byte of what was looked for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMS", "MIN_NEEDLE_BYTES", "FileHit", "FileReport", "Hit", "Region", "ScanReport"]

MIN_NEEDLE_BYTES = 8
"""A shorter needle would be met by chance."""

FORMS = ("raw", "utf-16", "utf-32", "hex", "base64")
"""Forms of a secret that a scan can look for.

- "raw": its bytes, which are also how CPython stores a str of ASCII or Latin-1 characters, and UTF-8.
- "utf-16", "utf-32": two or four bytes a character, as CPython stores a str that also holds a character beyond U+00FF
  or U+FFFF, in this machine's byte order.
- "hex": two digits a byte, lower or upper case.
- "base64": the standard and the URL-safe alphabet, wherever the secret begins in a longer message. Its last characters,
  which also depend on what follows, are not looked for.
"""


@dataclass(frozen=True, slots=True)
class Region:
    """One mapping of a process, from /proc/PID/smaps.

    Attributes:
        start, end: Addresses, end not included.
        permissions: As the kernel writes them, such as "rw-p".
        mapping: The file or name that stands behind it, "" for anonymous memory.
        kind: "heap", "stack", "anonymous", "secretmem", "file" or "kernel" (pages that the kernel lends, [vdso]).
        protected: The kernel says that it is locked and left out of core dumps (VmFlags lo and dd), as the pages of
            zeroizepy's cells are; False where the kernel does not tell.
    """

    start: int
    end: int
    permissions: str
    mapping: str
    kind: str
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One place in memory where the needle stands.

    Attributes:
        region_start: Address at which the region begins.
        offset: Bytes from there to what was found.
        permissions, mapping, kind, protected: Of the region, see `Region`.
        secret: Which of several secrets, counted from 0.
        form: One of `FORMS`.
        part: "whole", or "tail": the last 16 bytes, without what stood before them.
    """

    region_start: int
    offset: int
    permissions: str
    mapping: str
    kind: str
    protected: bool = False
    secret: int = 0
    form: str = "raw"
    part: str = "whole"

    @property
    def address(self) -> int:
        """Where the first byte found is."""
        return self.region_start + self.offset


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan of a process saw and what it could not see.

    Attributes:
        hits: Copies, by region.
        unreadable: Regions of which at least one page could not be read, such as those of memfd_secret. What stands
            there is unknown.
        scanned_bytes: Bytes that were compared.
        skipped_bytes: Bytes of anonymous private pages that were never written to, or given back since: the kernel
            holds no page and no swap slot for them, so that they have no content. 0 where it does not tell, and
            everything was read.
    """

    hits: tuple[Hit, ...]
    unreadable: tuple[Region, ...]
    scanned_bytes: int
    skipped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FileHit:
    """One place in a file or device where the needle stands.

    Attributes:
        offset: Bytes from the beginning of the file to what was found.
        form, part: As in `Hit`.
        address: In a core dump the virtual address that the byte had; None where no PT_LOAD segment holds it, and for
            other files.
        permissions: Of that segment, such as "rw-"; "" without one.
    """

    offset: int
    form: str = "raw"
    part: str = "whole"
    address: int | None = None
    permissions: str = ""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a scan of a file saw.

    Attributes:
        path: What was read.
        kind: "file", "core" or "swap".
        hits: Copies, by offset.
        scanned_bytes: Bytes that were compared.
        truncated: Of a core dump: its file ends before its last segment does, as RLIMIT_CORE or a full disk leaves it.
        absent_bytes: Of a core dump: memory that the process had and the dump does not hold, such as pages marked
            MADV_DONTDUMP and the mappings that coredump_filter leaves out.
    """

    path: str
    kind: str
    hits: tuple[FileHit, ...]
    scanned_bytes: int
    truncated: bool = False
    absent_bytes: int = 0
