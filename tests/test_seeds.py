"""What the two seed documents promise, example by example, in words of our own; needs nothing beside the checkout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey, cryptographic_erase_key, decrypt_data, encrypt_data
from zeroizepy.exceptions import SecureMemoryClosed
from zeroizepy.file import secure_delete, wipe_free_space
from zeroizepy.memory import SecureMemory, secret_bytes
from zeroizepy.session import SecureSession
from zeroizepy.utils import secure_clear

if TYPE_CHECKING:
    from pathlib import Path


def test_vault() -> None:
    """A with-block lends the secret and wipes it."""
    cell = CypherCell(b"super-secret-key")
    with cell as view:
        assert view.reveal() == "super-secret-key"
    assert cell.wiped


def test_volatile_with_ttl() -> None:
    """One read works, the second raises ValueError."""
    vault = CypherCell(b"transient-key", volatile=True, ttl_sec=30)
    assert vault.reveal() == "transient-key"
    with pytest.raises(ValueError, match=r"^Cell is wiped$"):
        vault.reveal()


def test_masked() -> None:
    """The mask keeps the length and shows the end."""
    assert CypherCell(b"SK-7721-9904-1234").reveal_masked(suffix_len=4) == "*************1234"


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set through os.environ is found in the C environment."""
    monkeypatch.setitem(os.environ, "ZEROIZEPY_SEED_SECRET", "env-value")
    assert CypherCell.from_env("ZEROIZEPY_SEED_SECRET").reveal() == "env-value"


def test_verify() -> None:
    """The right secret is granted, another denied."""
    cell = CypherCell(b"top-secret")
    assert cell.verify(b"top-secret")
    assert not cell.verify(b"top-secreT")


def test_binary() -> None:
    """Bytes that are no text come back as they were."""
    key = b"\x01\x02\x03\x04\x05\xff"
    assert CypherCell(key).reveal_bytes() == key


def test_encrypt_and_erase(tmp_path: Path) -> None:
    """A file is encrypted, read back, and lost with its key."""
    key = CryptoKey.generate(32)
    plaintext = bytearray(b"file content")
    sealed = encrypt_data(plaintext, key)
    (tmp_path / "secret.enc").write_bytes(sealed.nonce + sealed.ciphertext)
    secure_clear(plaintext)
    assert plaintext == bytes(12)
    assert decrypt_data(sealed, key) == b"file content"
    cryptographic_erase_key(key)
    with pytest.raises(SecureMemoryClosed):
        decrypt_data(sealed, key)


def test_associated_data() -> None:
    """Associated data must be the same on both sides."""
    key = CryptoKey.generate()
    sealed = encrypt_data(b"SENSITIVE-DATA", key, associated_data=b"context-info")
    assert decrypt_data(sealed, key, associated_data=b"context-info") == b"SENSITIVE-DATA"
    with pytest.raises(ValueError, match="authentication failed"):
        decrypt_data(sealed, key, associated_data=b"other")


def test_secure_memory() -> None:
    """Write, read, zero, close."""
    memory = SecureMemory.alloc(32)
    memory.write(b"supersecret")
    assert memory.read(11) == b"supersecret"
    memory.zero()
    assert memory.read() == bytes(32)
    memory.close()
    with pytest.raises(SecureMemoryClosed):
        memory.read()
    secret = secret_bytes(b"topsecret")
    assert secret.read(9) == b"topsecret"
    secret.close()


def test_file_wiping(tmp_path: Path) -> None:
    """A file is overwritten and gone; a dry run of free space writes nothing."""
    path = tmp_path / "secret.txt"
    path.write_bytes(b"secret" * 1000)
    secure_delete(path, passes=3, pattern="random")
    assert not path.exists()
    wipe_free_space(tmp_path, dry_run=True)
    assert list(tmp_path.iterdir()) == []


def test_session() -> None:
    """On exit the memory is zeroed and the temporary file is gone."""
    with SecureSession() as session:
        path = session.create_temp_file(".txt")
        secret = session.create_secret(b"password123")
        path.write_bytes(secret.get_bytes())
        assert path.suffix == ".txt"
    assert secret.closed
    assert not path.exists()
