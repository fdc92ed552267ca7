"""Encrypted files on disks that are full or fail: an OSError that names the file, and no plaintext left."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from image.disk import BadDisk, extents_of, flush

from zeroizepy.chunked import decrypt_file, encrypt_file
from zeroizepy.crypto import CryptoKey

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
NEEDLE = b"this stands for a secret, and is found wherever it is "


@pytest.fixture
def key() -> CryptoKey:
    """The key of all files here."""
    return CryptoKey(bytes(range(32)))


@pytest.fixture
def large(tmp_path: Path, key: CryptoKey) -> Path:
    """A folder with 40 MiB as `encrypt`, and the same encrypted as `decrypt`."""
    (tmp_path / "encrypt").write_bytes(NEEDLE * (40 * MIB // len(NEEDLE)))
    encrypt_file(tmp_path / "encrypt", tmp_path / "decrypt", key)
    return tmp_path


CALLS = {"encrypt": encrypt_file, "decrypt": decrypt_file}


@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk(breakable_disk: BadDisk, large: Path, key: CryptoKey, call: str) -> None:
    """ENOSPC: no file, all blocks free again, and none of them has a byte of the plaintext."""
    before, free = os.listdir(breakable_disk.mountpoint), os.statvfs(breakable_disk.mountpoint).f_bfree
    with pytest.raises(OSError, match="out") as caught:
        CALLS[call](large / call, breakable_disk.mountpoint / "out", key)
    assert caught.value.errno == errno.ENOSPC
    flush(breakable_disk.mountpoint)
    assert os.listdir(breakable_disk.mountpoint) == before
    assert os.statvfs(breakable_disk.mountpoint).f_bfree == free
    assert list(breakable_disk.find(NEEDLE)) == []


def test_the_control(breakable_disk: BadDisk, large: Path, key: CryptoKey) -> None:
    """The search finds a plaintext that a decryption left there because it is whole."""
    os.truncate(large / "encrypt", MIB)
    encrypt_file(large / "encrypt", large / "small", key)
    decrypt_file(large / "small", breakable_disk.mountpoint / "out", key)
    assert list(breakable_disk.find(NEEDLE))


@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_cannot_write(breakable_disk: BadDisk, large: Path, key: CryptoKey, call: str) -> None:
    """EIO, at the latest from the flush before the file gets its name: it never does."""
    before = os.listdir(breakable_disk.mountpoint)
    source = large / "source"
    os.truncate(large / "encrypt", 6 * MIB)
    (encrypt_file if call == "decrypt" else _copy)(large / "encrypt", source, key)
    breakable_disk.fail("write", 8 * MIB, 32 * MIB)
    breakable_disk.fail("write", 2 * MIB, 8 * MIB)
    with pytest.raises(OSError, match="out") as caught:
        CALLS[call](source, breakable_disk.mountpoint / "out", key)
    assert caught.value.errno == errno.EIO
    assert os.listdir(breakable_disk.mountpoint) == before
    assert list(breakable_disk.find(NEEDLE)) == []


def _copy(src: Path, dst: Path, _key: CryptoKey) -> None:
    dst.write_bytes(src.read_bytes())


@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_cannot_read(breakable_disk: BadDisk, large: Path, key: CryptoKey, call: str) -> None:
    """EIO while reading: no file."""
    os.truncate(large / "encrypt", 6 * MIB)
    source = breakable_disk.mountpoint / "source"
    (encrypt_file if call == "decrypt" else _copy)(large / "encrypt", source, key)
    flush(breakable_disk.mountpoint)
    extents = extents_of(source)
    fd = os.open(source, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    last = extents[-1]
    breakable_disk.fail("read", last.physical + last.length // 2, last.physical + last.length)
    with pytest.raises(OSError, match="Input/output error") as caught:
        CALLS[call](source, large / "out", key)
    assert caught.value.errno == errno.EIO
    assert sorted(os.listdir(large)) == ["decrypt", "encrypt"]
