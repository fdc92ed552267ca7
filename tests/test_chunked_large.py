"""Encrypted files of gigabytes: made sparse, and read without what is not asked for."""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zeroizepy.chunked import EncryptedReader, decrypt_file, ends, filekey
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import DecryptionError
from zeroizepy.slots import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from support.children import Child

CHUNK = 16384
SEALED = CHUNK + 16
HEAD = 56
GIB = 1 << 30
PEAK_BYTES = 64 << 20


class Zeros(io.RawIOBase):
    """A place for zeros, which it counts."""

    taken = 0

    def write(self, data: Any) -> int:
        """Take nothing else."""
        assert bytes(data).count(0) == len(data)
        self.taken += len(data)
        return len(data)


SEND = """
import sys
from zeroizepy import CryptoKey, encrypt_file
with CryptoKey(bytes(32)) as key:
    encrypt_file(sys.argv[1], open(1, "wb", buffering=0), key)
"""


def test_a_stream_of_4_gib(child: Child, tmp_path: Path) -> None:
    """Beyond 2^32 bytes, from a sparse file through a pipe and back: every zero, and a fixed amount of memory."""
    size = 4 * GIB + 5
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = Zeros()
    sender = subprocess.Popen(
        child.command(SEND, str(sparse)), env=child.environment(), stdout=subprocess.PIPE, bufsize=0
    )
    with sender, CryptoKey(bytes(32)) as key:
        assert sender.stdout is not None
        decrypt_file(sender.stdout, out, key)
    assert sender.returncode == 0
    assert out.taken == size
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < PEAK_BYTES


def make_sparse(path: Path, key: CryptoKey, size: int, places: list[int]) -> None:
    """An encrypted file of `size` bytes that has the chunks at some places and the last one; the rest is a hole."""
    file_key = filekey.FileKey(key, b"")
    status, derived = read_bytes(file_key._handle, 0, 44)
    assert status == 0
    cipher, base = AESGCM(derived[:32]), int.from_bytes(derived[32:], "big")
    with open(path, "wb") as file:
        file.write(file_key.header)
        for number in sorted({*(place // CHUNK for place in places), size // CHUNK}):
            count = min(CHUNK, size - number * CHUNK)
            file.seek(HEAD + number * SEALED)
            file.write(cipher.encrypt((base ^ number).to_bytes(12, "big"), content(number)[:count], None))
    file_key.drop()


def content(number: int) -> bytes:
    """A chunk that knows its number."""
    return number.to_bytes(8, "big") * (CHUNK // 8)


def test_random_reads_of_10_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 KiB anywhere cost one chunk, or two where they lie across: those bytes are read, those decrypted, no others."""
    size = 10 * GIB + 77
    chance = random.Random(10)
    places = [chance.randrange(size // 4096) * 4096 for _ in range(300)]
    across = [place - 100 for place in places[:50] if place > 100]
    key = CryptoKey.generate()
    path = tmp_path / "sealed"
    make_sparse(path, key, size, [*places, *across, *(place + 4095 for place in across)])
    counts = {"chunks": 0, "bytes": 0}
    original_open, original_fill = filekey.FileKey.open, ends.Source.fill

    def counting_open(self: filekey.FileKey, first: int, source: Any, length: int, out: Any, *, is_last: bool) -> int:
        counts["chunks"] += -(-length // SEALED)
        return original_open(self, first, source, length, out, is_last=is_last)

    def counting_fill(self: Any, view: memoryview) -> int:
        got: int = original_fill(self, view)
        counts["bytes"] += got
        return got

    monkeypatch.setattr(filekey.FileKey, "open", counting_open)
    monkeypatch.setattr(ends.Source, "fill", counting_fill)
    with EncryptedReader(path, key) as file:
        assert file.size == size
        assert counts == {"chunks": 1, "bytes": HEAD + 77 + 16}  # The header and the last chunk.
        for place in [*places, *across]:
            counts.update(chunks=0, bytes=0)
            file.seek(place)
            first, last = place // CHUNK, (place + 4095) // CHUNK
            data = b"".join(content(number) for number in range(first, last + 1))
            start = place - first * CHUNK
            assert file.read(4096) == data[start : start + 4096]
            assert counts["chunks"] <= last - first + 1
            assert counts["bytes"] == counts["chunks"] * SEALED
        file.seek(next(place for place in range(0, size, CHUNK) if not {place // CHUNK} & {p // CHUNK for p in places}))
        with pytest.raises(DecryptionError, match="is not authentic"):
            file.read(1)
