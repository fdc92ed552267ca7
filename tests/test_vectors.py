"""AES-GCM against NIST's vectors and against `cryptography`; any flipped bit is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import long_bytes

from zeroizepy.crypto import CipherText, CryptoKey, decrypt_data, decrypt_secret, encrypt_data
from zeroizepy.exceptions import DecryptionError

VECTORS = Path(__file__).parent / "vectors"
LENGTHS = [16, 24, 32]
keys = st.sampled_from(LENGTHS).flatmap(lambda length: st.binary(min_size=length, max_size=length))
messages = st.one_of(st.binary(max_size=200), long_bytes(16_370, 16_400))
extras = st.one_of(st.none(), st.binary(max_size=100))


@dataclass(frozen=True)
class Vector:
    """One entry of a NIST file; no plaintext means that it must be refused."""

    key: bytes
    nonce: bytes
    ciphertext: bytes
    extra: bytes
    tag: bytes
    plaintext: bytes | None


def vectors(bits: int) -> list[Vector]:
    """Parse NIST's response file for one key length."""
    found = []
    text = (VECTORS / f"gcm_decrypt_{bits}.rsp").read_text(encoding="ascii")
    for block in re.findall(r"^Count = .*?(?=^Count|^\[|\Z)", text, re.DOTALL | re.MULTILINE):
        fields = dict(re.findall(r"^(\w+) = ?(\S*)$", block, re.MULTILINE))
        key, nonce, sealed, extra, tag = (bytes.fromhex(fields[name]) for name in ("Key", "IV", "CT", "AAD", "Tag"))
        refused = re.search(r"^FAIL$", block, re.MULTILINE) is not None
        found.append(Vector(key, nonce, sealed, extra, tag, None if refused else bytes.fromhex(fields["PT"])))
    return found


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_nist_vectors(bits: int) -> None:
    """NIST CAVP gcmDecrypt: the plaintext where there is one, a refusal where it says FAIL."""
    given_vectors = vectors(bits)
    assert len(given_vectors) == 375
    assert 100 < sum(vector.plaintext is None for vector in given_vectors) < 300
    for vector in given_vectors:
        assert (len(vector.key), len(vector.nonce), len(vector.tag)) == (bits // 8, 12, 16)
        key, ct = CryptoKey(vector.key), CipherText(vector.nonce, vector.ciphertext + vector.tag)
        if vector.plaintext is None:
            with pytest.raises(DecryptionError):
                decrypt_data(ct, key, vector.extra)
            with pytest.raises(DecryptionError):
                decrypt_secret(ct, key, vector.extra)
        else:
            assert decrypt_data(ct, key, vector.extra) == vector.plaintext
            assert decrypt_secret(ct, key, vector.extra).get_bytes() == vector.plaintext


@settings(deadline=None)
@given(key=keys, message=messages, extra=extras)
def test_cryptography_opens_ours(key: bytes, message: bytes, extra: bytes | None) -> None:
    """What we encrypt, `cryptography` decrypts."""
    ct = encrypt_data(message, CryptoKey(key), extra)
    assert AESGCM(key).decrypt(ct.nonce, ct.ciphertext, extra) == message


@settings(deadline=None)
@given(key=keys, nonce=st.binary(min_size=12, max_size=12), message=messages, extra=extras)
def test_we_open_cryptographys(key: bytes, nonce: bytes, message: bytes, extra: bytes | None) -> None:
    """What `cryptography` encrypts, we decrypt."""
    ct = CipherText(nonce, AESGCM(key).encrypt(nonce, message, extra))
    assert decrypt_data(ct, CryptoKey(key), extra) == message
    assert decrypt_secret(ct, CryptoKey(key), extra).get_bytes() == message


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits flipped in turn."""
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_flipped_bit_is_refused(length: int) -> None:
    """Each bit of nonce, ciphertext, tag, associated data and key counts."""
    raw = bytes(range(length))
    key, extra = CryptoKey(raw), b"associated"
    ct = encrypt_data(b"a message of 24 bytes...", key, extra)
    attempts = [(CipherText(nonce, ct.ciphertext), key, extra) for nonce in flips(ct.nonce)]
    attempts += [(CipherText(ct.nonce, sealed), key, extra) for sealed in flips(ct.ciphertext)]
    attempts += [(ct, key, other) for other in flips(extra)]
    attempts += [(ct, CryptoKey(other), extra) for other in flips(raw)]
    assert len(attempts) == 8 * (12 + 40 + 10 + length)
    for attempt in attempts:
        with pytest.raises(DecryptionError):
            decrypt_data(*attempt)
    assert decrypt_data(ct, key, extra) == b"a message of 24 bytes..."


@settings(deadline=None, max_examples=50)
@given(key=keys, message=messages, extra=extras, cut=st.integers(1, 400))
def test_truncated_ciphertexts(key: bytes, message: bytes, extra: bytes | None, cut: int) -> None:
    """Cut at the end or at the start: refused, as a DecryptionError or, below the tag, as another ValueError."""
    held = CryptoKey(key)
    ct = encrypt_data(message, held, extra)
    for sealed in (ct.ciphertext[:-cut], ct.ciphertext[cut:]):
        with pytest.raises(ValueError, match=r"authentication failed|truncated"):
            decrypt_data(CipherText(ct.nonce, sealed), held, extra)
