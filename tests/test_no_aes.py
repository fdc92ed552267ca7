"""A CPU without AES instructions: OpenSSL does the work, the format is the same, and `protection` says so."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import aead

from zeroizepy._lib import lib
from zeroizepy.crypto import CryptoKey, decrypt_data, decrypt_secret, encrypt_data
from zeroizepy.exceptions import DecryptionError, SecureMemoryClosed
from zeroizepy.keys import base

SECRET = bytes(range(32))


@pytest.fixture
def without_aes(monkeypatch: pytest.MonkeyPatch) -> CryptoKey:
    """A 256-bit key made where there are no AES instructions: what the core answers there."""
    monkeypatch.setattr(base, "_create_key", lambda *_arguments: -lib.ZPY_UNSUPPORTED)
    key = CryptoKey(SECRET)
    monkeypatch.undo()
    return key


def test_protection(without_aes: CryptoKey) -> None:
    """The key is locked, its schedule is not, and both are said."""
    assert without_aes.algorithm == "AES-256-GCM"
    assert without_aes.protection.locked
    assert without_aes.protection.schedule_locked is False


@pytest.mark.skipif(lib.zpy_has_aes() != 1, reason="this CPU has no AES instructions to compare with")
def test_same_messages(without_aes: CryptoKey) -> None:
    """What one side encrypts, the other opens."""
    with_aes = CryptoKey(SECRET)
    assert with_aes.protection.schedule_locked is True
    for sender, receiver in ((without_aes, with_aes), (with_aes, without_aes)):
        sealed = encrypt_data(bytearray(b"message"), sender, b"about")
        assert decrypt_data(sealed, receiver, b"about") == b"message"
        assert decrypt_secret(sealed, receiver, b"about").read() == b"message"
        with pytest.raises(DecryptionError):
            decrypt_data(sealed, receiver, b"else")


def test_destroyed(without_aes: CryptoKey) -> None:
    """A destroyed key is refused on this path too."""
    sealed = encrypt_data(b"message", without_aes)
    without_aes.destroy()
    with pytest.raises(SecureMemoryClosed):
        encrypt_data(b"message", without_aes)
    with pytest.raises(SecureMemoryClosed):
        decrypt_data(sealed, without_aes)


def test_a_key_destroyed_while_it_decrypts(without_aes: CryptoKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plaintext is not given out, nor does the error's traceback have it."""
    sealed = encrypt_data(b"a plaintext", without_aes)
    made: list[bytes] = []
    original = aead.AESGCM

    class Slow:
        """Another thread is faster."""

        def __init__(self, key: Any) -> None:
            self._cipher = original(key)

        def decrypt(self, *arguments: Any) -> bytes:
            """What the key's end comes after."""
            made.append(self._cipher.decrypt(*arguments))
            without_aes.destroy()
            return made[-1]

    monkeypatch.setattr(aead, "AESGCM", Slow)
    with pytest.raises(SecureMemoryClosed):
        decrypt_data(sealed, without_aes)
    assert made == [bytes(11)]
