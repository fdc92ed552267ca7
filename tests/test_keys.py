"""What a key is: its tier, its deadline, its name, and how many messages it may encrypt."""

from __future__ import annotations

import hashlib
import hmac
import io
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroizepy._lib import lib
from zeroizepy.cell import CypherCell
from zeroizepy.chunked import encrypt_file
from zeroizepy.crypto import (
    CipherText,
    CryptoKey,
    cryptographic_erase_key,
    decrypt_data,
    decrypt_into,
    decrypt_secret,
    encrypt_data,
)
from zeroizepy.exceptions import CellExpiredError, DecryptionError, NonceLimitError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory, stats

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

LENGTHS = [16, 24, 32]
TIERS = ["packed", "isolated", "sealed"]
KEY = bytes(range(32))
LIMIT = 1 << 32


def name_of(key: bytes) -> str:
    """`key_id` as its docstring defines it, by Python's own HMAC."""
    label = b"zeroizepy key id v1\0" + f"AES-{8 * len(key)}-GCM".encode()
    return hmac.new(key, label, hashlib.sha256).hexdigest()


def test_the_algorithm_never_changes() -> None:
    """A key that is initialised again is refused another algorithm, whose nonce another thread has no room for."""
    with CryptoKey(KEY) as key:
        with pytest.raises(TypeError, match="is for AES-256-GCM"):
            key.__init__(KEY, algorithm="XChaCha20-Poly1305")  # type: ignore[misc]
        assert (key.algorithm, key.destroyed) == ("AES-256-GCM", True)


# ---- tier and deadline ----


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("tier", TIERS)
def test_tiers(tier: Any, length: int) -> None:
    """A key of each tier says so, works like any other, and opens what the same key of another tier made."""
    key = CryptoKey(KEY[:length], tier=tier)
    assert key.protection.tier == tier
    assert key.get_bytes() == KEY[:length]
    message = encrypt_data(b"message", key, b"extra")
    assert decrypt_data(message, CryptoKey(KEY[:length]), b"extra") == b"message"
    assert decrypt_secret(encrypt_data(bytes(20_000), key), key).get_bytes() == bytes(20_000)
    made = CryptoKey.generate(length, tier=tier)
    assert made.protection.tier == tier
    key.destroy()
    with pytest.raises(SecureMemoryClosed):
        encrypt_data(b"", key)


@pytest.mark.parametrize("make", [lambda **given: CryptoKey(KEY, **given), CryptoKey.generate], ids=["bytes", "random"])
@pytest.mark.parametrize(
    "wrong", [{"tier": "locked"}, {"policy": "lenient"}, {"ttl_sec": -1}, {"ttl_sec": float("nan")}, {"tier": None}]
)
def test_wrong_protection(make: Any, wrong: dict[str, Any]) -> None:
    """ValueError, named; no cell is left."""
    before = stats().cells
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
    assert stats().cells == before


def test_a_refused_key_costs_a_cell_no_access() -> None:
    """What is wrong with the other arguments is told before the cell is read."""
    cell = CypherCell(KEY, volatile=True)
    with pytest.raises(ValueError, match="tier"):
        CryptoKey(cell, tier="locked")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be 16 bytes for AES-128-GCM"):
        CryptoKey(cell, algorithm="AES-128-GCM")
    assert CryptoKey(cell).get_bytes() == KEY


@pytest.mark.parametrize("tier", TIERS)
def test_a_life_too_short_to_begin(tier: Any) -> None:
    """A key whose time is over before it is made is an expired one; making it raises nothing."""
    for length in LENGTHS:
        for key in (
            CryptoKey.generate(length, tier=tier, ttl_sec=1e-9),
            CryptoKey(KEY[:length], tier=tier, ttl_sec=1e-9),
        ):
            assert key.destroyed
            with pytest.raises(CellExpiredError, match=r"^key expired$"):
                key.get_bytes()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("tier", TIERS)
def test_deadline(tier: Any, length: int) -> None:
    """The key ends by itself; every use says that it expired, with the error of keys and that of expired cells."""
    key = CryptoKey.generate(length, tier=tier, ttl_sec=3600)
    assert 3500 < (key.expires_in or 0) <= 3600
    assert CryptoKey.generate(length).expires_in is None
    key = CryptoKey(KEY[:length], tier=tier, ttl_sec=0.02)
    while not key.destroyed:
        time.sleep(0.01)
    assert key.expires_in == 0
    for use in (key.get_bytes, lambda: encrypt_data(b"message", key), lambda: key.key_id):
        with pytest.raises(CellExpiredError, match=r"^key expired$") as caught:
            use()
        assert isinstance(caught.value, SecureMemoryClosed)


# ---- names ----


@given(key=st.sampled_from(LENGTHS).flatmap(lambda length: st.binary(min_size=length, max_size=length)))
def test_key_id_is_the_documented_one(key: bytes) -> None:
    """HMAC-SHA256 under the key, as Python computes it."""
    assert CryptoKey(key).key_id == name_of(key)


def test_key_id_known() -> None:
    """Names stay the same from one release to the next."""
    assert CryptoKey(KEY).key_id == "be67c38c49af9db79d3a89ee82a36087f375b483dd27e1f338079362ca8d0353"


def test_key_id_tells_keys_apart() -> None:
    """HMAC fills short keys up with zeros; a key and itself with zeros behind it have two names all the same."""
    keys = [KEY[:16], KEY[:16] + bytes(8), KEY[:16] + bytes(16)]
    assert len({CryptoKey(key).key_id for key in keys}) == 3


@pytest.mark.parametrize("tier", TIERS)
def test_key_id_is_the_same_in_each_tier(tier: Any) -> None:
    """It is of the key, not of where it lies, and asking for it leaves no cell."""
    key = CryptoKey(SecureMemory.from_bytes(KEY), tier=tier)
    before = stats().cells
    assert key.key_id == key.key_id == name_of(KEY)
    assert stats().cells == before


def test_key_id_of_a_destroyed_key() -> None:
    """Refused, and never that of a key of zeros."""
    key = CryptoKey(KEY)
    key.destroy()
    with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
        _ = key.key_id
    key = CryptoKey(KEY)
    assert key.key_id == name_of(KEY)  # From then on it is known.
    key.destroy()
    with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
        _ = key.key_id


def test_core_refuses_more_bytes_than_there_are() -> None:
    """The length that the core is told of a key is held against its cell's."""
    memory, out = SecureMemory(16), bytes(32)
    assert lib.zpy_derive_key_id(memory._handle, 17, b"", 0, out) == lib.ZPY_RANGE
    assert out == bytes(32)


# ---- nonces ----


@pytest.mark.parametrize("size", [0, 64, 20_000])
@pytest.mark.parametrize("length", LENGTHS)
def test_nonce_limit(length: int, size: int) -> None:
    """The 2^32nd message is encrypted, the next one is not, and decryption goes on."""
    key = CryptoKey.generate(length)
    key._core.messages = LIMIT - 1
    last = encrypt_data(bytes(size), key)
    for _ in range(3):
        with pytest.raises(NonceLimitError, match=r"2\^32 messages"):
            encrypt_data(bytes(size), key)
    assert key.messages == LIMIT
    assert decrypt_data(last, key) == bytes(size)


@pytest.mark.parametrize("length", LENGTHS)
def test_threads_count_exactly(length: int) -> None:
    """Threads that encrypt at once get as many nonces as were left, together."""
    key, left, made = CryptoKey.generate(length), 501, []
    key._core.messages = LIMIT - left

    def work() -> None:
        with suppress(NonceLimitError):
            made.extend(encrypt_data(bytes(20_000 * (number % 2)), key).nonce for number in range(100))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == left
    assert key.messages == LIMIT


def counts(key: CryptoKey) -> tuple[int, int, int]:
    """What the key encrypted, decrypted and refused."""
    return key.messages, key.messages_decrypted, key.messages_refused


def test_messages_are_counted_for_each_key() -> None:
    """One count for each object and for each of the two directions."""
    first, second = CryptoKey(KEY), CryptoKey(KEY)
    for _ in range(3):
        decrypt_data(encrypt_data(b"", first), first)
    decrypt_data(encrypt_data(b"", first), second)
    assert (counts(first), counts(second)) == ((4, 3, 0), (0, 1, 0))


@pytest.mark.parametrize("size", [0, 1, 64, 20_000])
@pytest.mark.parametrize("length", LENGTHS)
def test_decryptions_are_counted(length: int, size: int) -> None:
    """Each once, in whichever way: those that opened and those that did not, apart; no others."""
    key, memory = CryptoKey.generate(length), SecureMemory(size or 1)
    plain = bytes(memory.size) if size else b""
    good, extra = encrypt_data(plain, key), encrypt_data(plain, key, b"extra")
    forged = CipherText(good.nonce, good.ciphertext[:-1] + bytes([good.ciphertext[-1] ^ 1]))
    decrypt_data(good, key), decrypt_data(extra, key, b"extra")
    decrypt_data(CipherText(good.nonce, bytearray(good.ciphertext)), key)  # type: ignore[arg-type]
    for bad in (forged, extra):
        with pytest.raises(DecryptionError):
            decrypt_data(bad, key)
    assert counts(key) == (2, 3, 2)
    if size:
        decrypt_secret(good, key).close(), decrypt_into(good, key, memory)
        with pytest.raises(DecryptionError):
            decrypt_secret(forged, key)
        assert counts(key) == (2, 5, 3)
    done = counts(key)
    for wrong in (CipherText(b"", good.ciphertext), CipherText(good.nonce, b"short")):
        with pytest.raises(ValueError, match=r"ct\."):
            decrypt_data(wrong, key)
    key.destroy()
    with pytest.raises(SecureMemoryClosed):
        decrypt_data(good, key)
    assert counts(key) == done


@pytest.mark.parametrize("length", LENGTHS)
def test_threads_count_decryptions_exactly(length: int) -> None:
    """None is lost, however many threads decrypt at once, with the GIL and without."""
    key = CryptoKey.generate(length)
    sealed = [encrypt_data(bytes(size), key) for size in (10, 20_000)]
    forged = [CipherText(nonce, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])) for nonce, ciphertext in sealed]

    def work() -> None:
        for number in range(100):
            decrypt_data(sealed[number % 2], key)
            with pytest.raises(DecryptionError):
                decrypt_data(forged[number % 2], key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(key) == (2, 800, 800)


# ---- objects without a key ----


@pytest.mark.parametrize(
    "use",
    [
        lambda key, _live: key.algorithm,
        lambda key, _live: key.messages,
        lambda key, _live: key.key_id,
        lambda key, _live: key.protection,
        lambda key, _live: key.get_bytes(),
        lambda key, _live: key.borrow().__enter__(),
        lambda key, _live: key.__enter__(),
        lambda key, _live: key.derive(b"context"),
        lambda key, live: key.wrap(live),
        lambda key, live: live.wrap(key),
        lambda key, live: key.wrap(live, format="aes-kwp"),
        lambda key, live: live.save("never-made", wrapping_key=key),
        lambda key, _live: key.save("never-made", password=b"password"),
        lambda key, _live: encrypt_data(b"", key),
        lambda key, live: decrypt_data(encrypt_data(b"", live), key),
        lambda key, _live: encrypt_file(io.BytesIO(), io.BytesIO(), key),
        lambda key, _live: cryptographic_erase_key(key),
    ],
)
def test_an_object_that_never_got_a_key(use: Any) -> None:
    """Each use of it raises what a destroyed key does, as cells and secure memory without a secret do."""
    with CryptoKey.generate() as live, pytest.raises(SecureMemoryClosed, match=r"^(wrapping )?key is closed$"):
        use(CryptoKey.__new__(CryptoKey), live)


def test_the_state_of_an_object_that_never_got_a_key() -> None:
    """It is that of a destroyed key; destroying it is harmless."""
    key = CryptoKey.__new__(CryptoKey)
    key.destroy()
    assert (key.destroyed, key.expires_in, key.salt, len(key)) == (True, 0.0, None, 0)


def test_a_key_that_is_initialised_twice_is_a_new_one() -> None:
    """What happened to the first key is not told of the second."""
    key = CryptoKey(KEY)
    key.get_bytes()
    encrypt_data(b"", key)
    key.__init__(KEY[::-1])  # type: ignore[misc]
    assert (key.messages, key.key_id) == (0, name_of(KEY[::-1]))
    assert {copy.kind for copy in cryptographic_erase_key(key).copies} == {"source"}
