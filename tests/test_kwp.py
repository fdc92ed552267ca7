"""AES key wrap with padding: NIST's vectors, `cryptography` both ways, and everything that is not a wrapped key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zeroizepy.crypto import CryptoKey, cryptographic_erase_key
from zeroizepy.exceptions import DecryptionError, KeyErasedError, SecureMemoryClosed
from zeroizepy.keys.kwp import unwrap_into, wrap_bytes
from zeroizepy.memory import stats

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

VECTORS = Path(__file__).parent / "vectors"
LENGTHS = [16, 24, 32]
KEY = bytes(range(32))
OTHER = bytes(range(32, 64))
keys = st.sampled_from(LENGTHS).flatmap(lambda length: st.binary(min_size=length, max_size=length))


def vectors(name: str) -> list[dict[str, str]]:
    """The fields of each entry of one of NIST's files."""
    text = (VECTORS / f"kwp_{name}.txt").read_text(encoding="ascii")
    blocks = re.findall(r"^COUNT = .*?(?=^COUNT|^\[|\Z)", text, re.DOTALL | re.MULTILINE)
    return [dict(re.findall(r"^(K|C|P|FAIL)(?: = ([0-9a-f]*))?$", block, re.MULTILINE)) for block in blocks]


def unwrapped(key: bytes, wrapped: bytes) -> bytes | None:
    """The data, or None where it is refused."""
    found: list[bytes] = []
    is_good = unwrap_into(key, wrapped, lambda view: found.append(bytes(view)))
    assert len(found) == is_good
    return found[0] if is_good else None


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=336), key=keys)
def test_any_length(data: bytes, key: bytes) -> None:
    """Of any length, the same as `cryptography` makes, both ways."""
    wrapped = aes_key_wrap_with_padding(key, data)
    assert wrap_bytes(key, data) == wrapped
    assert unwrapped(key, wrapped) == data
    assert unwrapped(key, wrapped[:-1]) is None
    assert unwrapped(key, wrapped[:-8]) is None


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_nist_wraps(bits: int) -> None:
    """NIST CAVP KWP-AE, with data of 1, 8, 9 and 31 bytes."""
    found = vectors(f"ae_{bits}")
    assert len(found) == 400
    for each in found:
        key, data, wrapped = (bytes.fromhex(each[name]) for name in "KPC")
        assert len(key) == bits // 8
        assert wrap_bytes(key, data) == wrapped


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_nist_unwraps(bits: int) -> None:
    """NIST CAVP KWP-AD: the data where there is one, a refusal where it says FAIL."""
    found = vectors(f"ad_{bits}")
    assert len(found) == 400
    assert sum("FAIL" in each for each in found) == 80
    for each in found:
        assert unwrapped(bytes.fromhex(each["K"]), bytes.fromhex(each["C"])) == (
            None if "FAIL" in each else bytes.fromhex(each["P"])
        )


@given(key=keys, wrapping_key=st.binary(min_size=32, max_size=32))
def test_cryptography_opens_ours(key: bytes, wrapping_key: bytes) -> None:
    """What we wrap, `cryptography` unwraps, and so do we."""
    assume(key != wrapping_key)
    outer = CryptoKey(wrapping_key)
    blob = outer.wrap(CryptoKey(key), format="aes-kwp")
    assert aes_key_unwrap_with_padding(wrapping_key, blob) == key
    assert CryptoKey.unwrap(blob, outer, format="aes-kwp").get_bytes() == key


@given(key=keys, wrapping_key=keys)
def test_we_open_cryptographys(key: bytes, wrapping_key: bytes) -> None:
    """What `cryptography` wraps, we unwrap: also under a shorter key, which we would not wrap with."""
    blob = aes_key_wrap_with_padding(wrapping_key, key)
    opened = CryptoKey.unwrap(bytearray(blob), CryptoKey(wrapping_key), format="aes-kwp", tier="sealed", ttl_sec=60)
    assert opened.get_bytes() == key
    assert opened.protection.tier == "sealed"
    assert opened.expires_in is not None


@pytest.mark.parametrize("length", LENGTHS)
def test_every_flipped_bit(length: int) -> None:
    """Refused, whichever it is, and no cell is left."""
    outer = CryptoKey(KEY)
    blob = outer.wrap(CryptoKey(OTHER[:length]), format="aes-kwp")
    before = stats().cells
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError, match="wrong wrapping key, or the wrapped key was changed"):
            CryptoKey.unwrap(changed, outer, format="aes-kwp")
    assert stats().cells == before


@pytest.mark.parametrize(
    ("block", "is_good"),
    [
        ("a65959a6 00000004 31323334 00000000", True),
        ("a65959a6 00000004 31323334 00000001", False),
        ("a65959a6 00000004 31323334 80000000", False),
        ("a65959a6 00000000 00000000 00000000", False),
        ("a65959a6 00000009 31323334 35363738", False),
        ("a65959a7 00000004 31323334 00000000", False),
        ("a6a6a6a6 a6a6a6a6 31323334 00000000", False),
    ],
)
def test_what_the_wrapping_key_itself_made(block: str, is_good: bool) -> None:
    """Of what decrypts, only this constant, a length that fits and a padding of zeros make a wrapped key (RFC 5649)."""
    encryptor = Cipher(AES(KEY), ECB()).encryptor()  # noqa: S305 - one block is wrapped by one AES.
    wrapped = encryptor.update(bytes.fromhex(block))
    assert unwrapped(KEY, wrapped) == (b"1234" if is_good else None)


def test_wrong_lengths() -> None:
    """Only 24, 32 and 40 bytes can hold a key; what holds something else is told with its length."""
    outer = CryptoKey(KEY)
    for size in (*range(24), 25, 31, 33, 39, 41, 48, 1 << 20):
        with pytest.raises(DecryptionError, match=rf"has 24, 32 or 40 bytes, not {size}; is it of the other format\?$"):
            CryptoKey.unwrap(bytes(size), outer, format="aes-kwp")
    for size in (9, 15, 17, 20, 31):
        blob = aes_key_wrap_with_padding(KEY, OTHER[:size])
        if len(blob) in (24, 32, 40):
            with pytest.raises(DecryptionError, match=f"holds {size} bytes, which is no length of a key"):
                CryptoKey.unwrap(blob, outer, format="aes-kwp")


def test_formats_are_told_apart() -> None:
    """Each format refuses the other's, and there is no third."""
    outer, inner = CryptoKey(KEY), CryptoKey(OTHER)
    with pytest.raises(DecryptionError, match="has 24, 32 or 40 bytes, not 152"):
        CryptoKey.unwrap(outer.wrap(inner), outer, format="aes-kwp")
    with pytest.raises(DecryptionError, match="is no wrapped key"):
        CryptoKey.unwrap(outer.wrap(inner, format="aes-kwp"), outer)
    for use in (
        lambda: outer.wrap(inner, format="kwp"),  # type: ignore[arg-type]
        lambda: CryptoKey.unwrap(b"", outer, format=None),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="format must be 'committing' or 'aes-kwp', not"):
            use()


def test_refusals() -> None:
    """A shorter wrapping key, what is no key, and destroyed keys."""
    outer, inner, dead = CryptoKey(KEY[:16]), CryptoKey(OTHER), CryptoKey(KEY)
    blob = dead.wrap(inner, format="aes-kwp")
    dead.destroy()
    wrong: Any = KEY
    with pytest.raises(ValueError, match="a key of 16 bytes must not wrap one of 32"):
        outer.wrap(inner, format="aes-kwp")
    with pytest.raises(TypeError, match="key must be a CryptoKey, not bytes"):
        outer.wrap(wrong, format="aes-kwp")
    with pytest.raises(TypeError, match="wrapping_key must be a CryptoKey, not bytes"):
        CryptoKey.unwrap(blob, wrong, format="aes-kwp")
    for use in (
        lambda: dead.wrap(inner, format="aes-kwp"),
        lambda: inner.wrap(dead, format="aes-kwp"),
        lambda: CryptoKey.unwrap(blob, dead, format="aes-kwp"),
    ):
        with pytest.raises(SecureMemoryClosed):
            use()


def test_receipts_tell_of_it() -> None:
    """Both keys passed through OpenSSL's heap, and an erased one is refused in this format, too."""
    outer, inner = CryptoKey.generate(), CryptoKey.generate()
    blob = outer.wrap(inner, format="aes-kwp")
    opened = CryptoKey.unwrap(blob, outer, format="aes-kwp")
    for key, kinds in ((inner, {"kwp", "wrap"}), (opened, {"kwp", "wrapped_source"}), (outer, {"kwp"})):
        receipt = cryptographic_erase_key(key)
        assert kinds <= {each.kind for each in receipt.copies}
        assert receipt.condition("copies_sanitized").verdict == ("unknown" if key is outer else "not_met")
    again = CryptoKey(KEY)
    blob = again.wrap(CryptoKey(OTHER), format="aes-kwp")
    cryptographic_erase_key(CryptoKey(OTHER))
    with pytest.raises(KeyErasedError):
        CryptoKey.unwrap(blob, again, format="aes-kwp")
