"""The files that the matrix wipes: their content says, in each 512 bytes, which file and which offset it is."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from image.disk import Extent, UnavailableError, extents_of, flush

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zeroizepy.file import ShredReport

BLOCK_BYTES = 512
STAMP_BYTES = 32
XATTR_OFFSET = 1 << 40
"""Offsets from here on stand for bytes of an extended attribute."""

MIB = 1 << 20
NONCE_BYTES = 16


def _mask(nonce: bytes) -> int:
    return int.from_bytes(hashlib.sha256(nonce).digest()[:16], "big")


def stamp(nonce: bytes, number: int, offset: int) -> bytes:
    """32 bytes: the run's nonce, and under a mask the file's number and the offset.

    The mask leaves no run of zeros in it, which a compressing file system would take out.
    """
    return nonce + ((number << 64 | offset) ^ _mask(nonce)).to_bytes(16, "big")


def parse_stamp(found: bytes) -> tuple[int, int]:
    """The file's number and the offset, from the bytes at a hit."""
    value = int.from_bytes(found[16:32], "big") ^ _mask(found[:16])
    return value >> 64, value & ((1 << 64) - 1)


def content(nonce: bytes, number: int, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of a file: each 512 repeat their stamp, so that a part of them is enough."""
    first = start // BLOCK_BYTES * BLOCK_BYTES
    blocks = (stamp(nonce, number, at) * (BLOCK_BYTES // STAMP_BYTES) for at in range(first, stop, BLOCK_BYTES))
    return b"".join(blocks)[start - first : stop - first]


@dataclass
class Subject:
    """One file of a run.

    Attributes:
        number: Its number in the stamps.
        kind: A key of KINDS, or what else it is for.
        variant: How it is wiped.
        path: Where it stands.
        nonce: The run's.
        extents: Where its bytes lay before the wipe, where the file system told.
        report: Of the wipe.
    """

    number: int
    kind: str
    variant: str
    path: Path
    nonce: bytes
    extents: list[Extent] = field(default_factory=list)
    report: ShredReport | None = None

    def bytes_at(self, start: int, stop: int) -> bytes:
        """Its content between two offsets."""
        return content(self.nonce, self.number, start, stop)

    def write(self, *spans: tuple[int, int], mode: str = "wb") -> None:
        """Write its own content at these spans and flush."""
        with self.path.open(mode) as file:
            for start, stop in spans:
                file.seek(start)
                file.write(self.bytes_at(start, stop))
            file.flush()
            os.fsync(file.fileno())

    def map_extents(self) -> None:
        """Note where its bytes lie now; this flushes them."""
        self.extents = extents_of(self.path)


def _sized(size: int) -> Callable[[Subject], None]:
    return lambda subject: subject.write((0, size))


def _sparse(subject: Subject) -> None:
    subject.write((0, 4096), (MIB // 2, MIB // 2 + 4096))
    os.truncate(subject.path, MIB)


def _fallocate(subject: Subject, *arguments: str) -> None:
    done = subprocess.run(["fallocate", *arguments, subject.path], check=False, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(f"fallocate {' '.join(arguments)}: {done.stderr.strip().rpartition(': ')[2]}")


def _preallocated(subject: Subject) -> None:
    subject.path.touch()
    _fallocate(subject, "-l", str(MIB))
    subject.write((0, 300_000), mode="r+b")


def _beyond_the_end(subject: Subject) -> None:
    subject.write((0, 65_636))
    _fallocate(subject, "-n", "-l", str(MIB))


def _zeroed(subject: Subject) -> None:
    """Bytes that FALLOC_FL_ZERO_RANGE made unreadable and left on the device, in extents that are the file's own."""
    subject.write((0, 262_144))
    subject.map_extents()
    before = {block for extent in subject.extents for block in extent.blocks()}
    _fallocate(subject, "-z", "-o", "65536", "-l", "131072")
    subject.map_extents()
    if before - {block for extent in subject.extents for block in extent.blocks()}:
        raise UnavailableError("fallocate -z gives old blocks back to the file system, and takes others")


PIECE_BYTES = 32_768


def _fragmented(subject: Subject) -> None:
    """Four pieces that lie side by side, moved apart in the file, and then what comes between them, from elsewhere."""
    pieces = [(start, start + PIECE_BYTES) for start in range(0, 7 * PIECE_BYTES, PIECE_BYTES)]
    subject.path.write_bytes(b"".join(subject.bytes_at(*piece) for piece in pieces[::2]))
    flush(subject.path)
    try:
        for start, _ in pieces[1::2]:
            _fallocate(subject, "-i", "-o", str(start), "-l", str(PIECE_BYTES))
    except UnavailableError:
        _grown_in_turns(subject)
    else:
        subject.write(*pieces[1::2], mode="r+b")
    subject.map_extents()
    pairs = zip(subject.extents, subject.extents[1:], strict=False)
    if all(left.physical + left.length == right.physical for left, right in pairs):
        raise UnavailableError("the file system puts all pieces side by side")


def _grown_in_turns(subject: Subject) -> None:
    """Grown in turns with another file; each is closed in between, which gives up what was reserved for its growth."""
    for start in range(0, 8 * PIECE_BYTES, PIECE_BYTES):
        subject.write((start, start + PIECE_BYTES), mode="r+b")
        with subject.path.with_suffix(".between").open("ab") as between:
            between.write(bytes(PIECE_BYTES))
            between.flush()
            os.fsync(between.fileno())


def _shortened(subject: Subject) -> None:
    """Cut inside its only block: what stood behind the new end is the kernel's to clear."""
    subject.write((0, min(os.statvfs(subject.path.parent).f_bsize, 4096)))
    os.truncate(subject.path, 100)


def _with_attribute(size: int) -> Callable[[Subject], None]:
    def write(subject: Subject) -> None:
        subject.write((0, 4097))
        value = stamp(subject.nonce, subject.number, XATTR_OFFSET) * (size // STAMP_BYTES)
        try:
            os.setxattr(subject.path, "user.secret", value)
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.ENOSPC):
                raise UnavailableError(f"user.* attributes of {size} bytes: {error.strerror}") from error
            raise

    return write


def _unsynced(subject: Subject) -> None:
    subject.path.write_bytes(subject.bytes_at(0, 16_384))


def _rewritten(subject: Subject) -> None:
    """Its second page was written again and not yet flushed."""
    with subject.path.open("r+b") as file:
        file.seek(4096)
        file.write(subject.bytes_at(4096, 8192))


KINDS: dict[str, Callable[[Subject], None]] = {
    "0": _sized(0),
    "1": lambda subject: _write_byte(subject.path),
    "59": _sized(59),
    "4095": _sized(4095),
    "4096": _sized(4096),
    "4097": _sized(4097),
    "1 MiB + 1": _sized(MIB + 1),
    "sparse": _sparse,
    "preallocated": _preallocated,
    "preallocated beyond the end": _beyond_the_end,
    "zeroed by fallocate": _zeroed,
    "fragmented": _fragmented,
    "cut inside a block": _shortened,
    "attribute of 64 bytes": _with_attribute(64),
    "attribute of 1984 bytes": _with_attribute(1984),
    "never flushed": lambda _subject: None,
    "rewritten, not flushed": _sized(16_384),
}
"""How each kind of file comes to be, before everything is flushed. Numbers are sizes in bytes."""

LATE: dict[str, Callable[[Subject], None]] = {"never flushed": _unsynced, "rewritten, not flushed": _rewritten}
"""What is done to some of them after that flush."""

LONE_BYTE = 0xA5
"""The content of a file of one byte, which no stamp fits into."""


def _write_byte(path: Path) -> None:
    with path.open("wb") as file:
        file.write(bytes([LONE_BYTE]))
        file.flush()
        os.fsync(file.fileno())
