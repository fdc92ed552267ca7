"""Keys of every algorithm: what each is, messages against the specifications, and that none takes another's place."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ciphers import aegis256, xchacha20

from zeroizepy._lib import lib
from zeroizepy.cell import CypherCell
from zeroizepy.chunked.files import encrypt_file
from zeroizepy.crypto import CipherText, CryptoKey, decrypt_data, decrypt_secret, encrypt_data
from zeroizepy.exceptions import DecryptionError, SecureMemoryClosed, SecureMemoryError, SecureMemoryExpired
from zeroizepy.keys import algorithms
from zeroizepy.memory import SecureMemory, stats

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SIZES = {
    "AES-128-GCM": (16, 12, 16),
    "AES-192-GCM": (24, 12, 16),
    "AES-256-GCM": (32, 12, 16),
    "XChaCha20-Poly1305": (32, 24, 16),
    "AEGIS-256": (32, 32, 32),
}
"""Bytes of key, nonce and tag."""

without_aegis = pytest.mark.skipif(
    not lib.zpy_key_is_supported(lib.ZPY_AEGIS_256), reason="this libsodium has no AEGIS-256"
)
NAMES = [pytest.param(name, marks=[without_aegis] * (name == "AEGIS-256")) for name in SIZES]
EACH = pytest.mark.parametrize("name", NAMES)
NOT_AES = pytest.mark.parametrize("name", NAMES[3:])
KEY = bytes(range(100, 132))
EXPIRES_S = 0.02


def key_of(name: Any, **given: Any) -> CryptoKey:
    """The same key bytes for each algorithm."""
    return CryptoKey(KEY[: SIZES[name][0]], algorithm=name, **given)


def sealed_by(name: str, key: bytes, nonce: bytes, message: bytes, extra: bytes) -> bytes:
    """What the specification says of it."""
    if name == "AEGIS-256":
        return aegis256(key, nonce, message, extra)[0]
    if name == "XChaCha20-Poly1305":
        cipher, short_nonce = xchacha20(key, nonce)
        return cipher.encrypt(short_nonce, message, extra)
    return AESGCM(key).encrypt(nonce, message, extra)


# ---- published vectors ----

# draft-irtf-cfrg-xchacha-03, appendix A.3.1, and draft-irtf-cfrg-aegis-aead-18, appendix A.3: key, nonce, associated
# data, message, ciphertext with tag (of 256 bits).
SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be "
    b"it."
)
XCHACHA20_SEALED = (
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216"
    "cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13"
    "b52ec0875924c1c7987947deafd8780acf49"
)
AEGIS_KEY = bytes.fromhex("1001").ljust(32, b"\0")
AEGIS_NONCE = bytes.fromhex("100002").ljust(32, b"\0")
VECTORS = {
    "xchacha20": (
        "XChaCha20-Poly1305",
        (bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), bytes.fromhex("50515253c0c1c2c3c4c5c6c7"), SUNSCREEN),
        XCHACHA20_SEALED,
    ),
    "aegis-1": (
        "AEGIS-256",
        (AEGIS_KEY, AEGIS_NONCE, b"", bytes(16)),
        "754fc3d8c973246dcc6d741412a4b2361181a1d18091082bf0266f66297d167d2e68b845f61a3b0527d31fc7b7b89f13",
    ),
    "aegis-2": (
        "AEGIS-256",
        (AEGIS_KEY, AEGIS_NONCE, b"", b""),
        "6a348c930adbd654896e1666aad67de989ea75ebaa2b82fb588977b1ffec864a",
    ),
    "aegis-3": (
        "AEGIS-256",
        (AEGIS_KEY, AEGIS_NONCE, bytes(range(8)), bytes(range(32))),
        (
            "f373079ed84b2709faee373584585d60accd191db310ef5d8b11833df9dec711"
            "b7d28d0c3c0ebd409fd22b44160503073a547412da0854bfb9723020dab8da1a"
        ),
    ),
}


@pytest.mark.parametrize("which", [pytest.param(name, marks=[without_aegis] * ("aegis" in name)) for name in VECTORS])
def test_published_vectors(which: str) -> None:
    """The library opens what the standard gives, and so does the other implementation that these tests rest on."""
    name, (key, nonce, extra, message), sealed = VECTORS[which]
    ct = CipherText(nonce, bytes.fromhex(sealed))
    assert sealed_by(name, key, nonce, message, extra) == ct.ciphertext
    held = CryptoKey(key, algorithm=name)  # type: ignore[arg-type]
    assert decrypt_data(ct, held, extra) == message
    assert decrypt_secret(ct, held, extra).get_bytes() == message


@EACH
@settings(deadline=None, max_examples=30)
@given(
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=100),
    extra=st.binary(max_size=40),
)
def test_both_ways(name: Any, key: bytes, nonce: bytes, message: bytes, extra: bytes) -> None:
    """What the library encrypts is what the specification says, and it opens what that says."""
    key_bytes, nonce_bytes, tag_bytes = SIZES[name]
    held = CryptoKey(key[:key_bytes], algorithm=name)
    ct = encrypt_data(message, held, extra)
    assert (len(ct.nonce), len(ct.ciphertext)) == (nonce_bytes, len(message) + tag_bytes)
    assert ct.ciphertext == sealed_by(name, key[:key_bytes], ct.nonce, message, extra)
    made = CipherText(nonce[:nonce_bytes], sealed_by(name, key[:key_bytes], nonce[:nonce_bytes], message, extra))
    assert decrypt_data(made, held, extra) == message


@EACH
@pytest.mark.parametrize("size", [0, 1, 16, 4096, 16_383, 16_384, 300_001])
@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_sizes_tiers_and_sources(name: Any, size: int, tier: Any) -> None:
    """Round trips on both sides of where the GIL is released, from and to secure memory, in every tier."""
    key, message = key_of(name, tier=tier), bytes(range(256)) * 1200
    message = message[:size]
    for source in (message, bytearray(message), SecureMemory.from_bytes(message), memoryview(message)):
        ct = encrypt_data(source, key)
        assert decrypt_data(ct, key) == message
        assert decrypt_secret(CipherText(*map(bytearray, ct)), key).get_bytes() == message  # type: ignore[arg-type]


# ---- refusals ----


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits flipped in turn."""
    return [(int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


@NOT_AES
def test_every_flipped_bit_is_refused(name: Any) -> None:
    """Each bit of nonce, ciphertext, tag, associated data and key counts."""
    key, extra = key_of(name), b"about"
    ct = encrypt_data(b"a message of 24 bytes...", key, extra)
    attempts = [(CipherText(nonce, ct.ciphertext), key, extra) for nonce in flips(ct.nonce)]
    attempts += [(CipherText(ct.nonce, sealed), key, extra) for sealed in flips(ct.ciphertext)]
    attempts += [(ct, key, other) for other in flips(extra)]
    attempts += [(ct, CryptoKey(other, algorithm=name), extra) for other in flips(KEY)]
    assert len(attempts) == 8 * (SIZES[name][1] + 24 + SIZES[name][2] + 5 + 32)
    for attempt in attempts:
        for call in (decrypt_data, decrypt_secret):
            with pytest.raises(DecryptionError, match=r"^Invalid ciphertext or authentication failed$"):
                call(*attempt)
    assert decrypt_data(ct, key, extra) == b"a message of 24 bytes..."


@EACH
def test_truncated(name: Any) -> None:
    """Every shorter ciphertext is refused: below the tag as truncated, above it as forged."""
    key, tag_bytes = key_of(name), SIZES[name][2]
    ct = encrypt_data(b"a message", key)
    for size in range(len(ct.ciphertext)):
        kind, text = (ValueError, "truncated") if size < tag_bytes else (DecryptionError, "authentication failed")
        with pytest.raises(kind, match=text):
            decrypt_data(CipherText(ct.nonce, ct.ciphertext[:size]), key)


def test_another_algorithm() -> None:
    """The same bytes as a key for another algorithm open nothing, whatever is cut off or put behind the nonce."""
    made = {name: encrypt_data(bytes(40), key_of(name)) for name in SIZES if name != "AEGIS-256" or has_aegis()}
    for name, ct in made.items():
        for other in made:
            if other == name:
                continue
            with pytest.raises(ValueError, match=r"nonce must be|authentication failed"):
                decrypt_data(ct, key_of(other))
            nonce = ct.nonce.ljust(32, b"\0")[: SIZES[other][1]]
            with pytest.raises(DecryptionError):
                decrypt_data(CipherText(nonce, ct.ciphertext), key_of(other))


def has_aegis() -> bool:
    """Whether libsodium has it."""
    return bool(lib.zpy_key_is_supported(lib.ZPY_AEGIS_256))


@EACH
def test_ended_keys(name: Any) -> None:
    """A destroyed key is closed, an expired one says so, for every call; a deadline missed is the core's to keep."""
    key, short = key_of(name), key_of(name, ttl_sec=EXPIRES_S)
    ct = encrypt_data(b"message", key)
    key.destroy()
    while not short.destroyed:
        time.sleep(EXPIRES_S / 2)
    calls: list[Any] = [lambda key: encrypt_data(b"message", key), lambda key: encrypt_data(bytes(20_000), key)]
    calls += [lambda key: decrypt_data(ct, key), lambda key: decrypt_secret(ct, key), lambda key: key.key_id]
    for call in calls:
        with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
            call(key)
        with pytest.raises(SecureMemoryExpired, match=r"^key expired$"):
            call(short)


# ---- what a key is ----


@EACH
def test_named(name: Any) -> None:
    """Each way to a key takes the algorithm, and the key keeps it and has its length."""
    size = SIZES[name][0]
    made = [
        key_of(name),
        CryptoKey(CypherCell(KEY[:size]), algorithm=name),
        CryptoKey(key_of(name)),
        CryptoKey.generate(algorithm=name),
        CryptoKey.generate(size, algorithm=name),
        key_of("AES-256-GCM").derive(b"context", algorithm=name),
        CryptoKey.from_password(b"password", algorithm=name, opslimit=5, memlimit=7 << 20),
    ]
    for key in made:
        assert (key.algorithm, len(key)) == (name, size)
        assert decrypt_data(encrypt_data(b"message", key), key) == b"message"
    locked = lib.zpy_key_is_supported(algorithms.ALGORITHMS[name].core) == 1
    assert made[0].protection.schedule_locked == locked


def test_the_default_is_aes() -> None:
    """Without a name it is AES-GCM of the key's length."""
    for size in (16, 24, 32):
        assert CryptoKey(KEY[:size]).algorithm == CryptoKey.generate(size).algorithm == f"AES-{8 * size}-GCM"
    assert CryptoKey.generate().algorithm == "AES-256-GCM"


@NOT_AES
def test_derived_keys_keep_the_algorithm(name: Any) -> None:
    """A key that is not for AES gives keys for its own algorithm, unless another is named."""
    key = key_of(name)
    assert key.derive(b"context").algorithm == name
    assert key.derive(b"context", 32).algorithm == name
    assert key.derive(b"context", algorithm="AES-128-GCM").algorithm == "AES-128-GCM"
    with pytest.raises(ValueError, match=rf"length must be 32 bytes for {name}, not 16"):
        key.derive(b"context", 16)


def test_key_id_tells_algorithms_apart() -> None:
    """The same bytes for two algorithms are two keys."""
    names = [name for name in SIZES if SIZES[name][0] == 32 and (name != "AEGIS-256" or has_aegis())]
    assert len({key_of(name).key_id for name in names}) == len(names)


@EACH
def test_wrapped_and_saved(name: Any, tmp_path: Path) -> None:
    """The algorithm is in wrapped keys and key files, and authenticated there."""
    key, outer = key_of(name), CryptoKey.generate(algorithm="XChaCha20-Poly1305")
    blob = outer.wrap(key)
    assert blob[10] == algorithms.ALGORITHMS[name].number
    key.save(tmp_path / "key", password=b"password", opslimit=5, memlimit=7 << 20)
    opened = [CryptoKey.unwrap(blob, outer), CryptoKey.load(tmp_path / "key", password=b"password")]
    assert {(each.algorithm, each.key_id) for each in opened} == {(name, key.key_id)}
    for number in {each.number for each in algorithms.ALGORITHMS.values() if each.key_bytes == len(key)} - {blob[10]}:
        if number == algorithms.ALGORITHMS["AEGIS-256"].number and not has_aegis():
            continue
        with pytest.raises(DecryptionError):
            CryptoKey.unwrap(blob[:10] + bytes([number]) + blob[11:], outer)


@EACH
def test_aes_key_wrap(name: Any) -> None:
    """RFC 5649's format does not carry the algorithm: who unwraps says it. Only AES keys wrap with it."""
    key, outer = key_of(name), CryptoKey.generate()
    blob = outer.wrap(key, format="aes-kwp")
    assert CryptoKey.unwrap(blob, outer, format="aes-kwp", algorithm=name).key_id == key.key_id
    assert CryptoKey.unwrap(blob, outer, format="aes-kwp").algorithm == f"AES-{8 * len(key)}-GCM"
    with pytest.raises(ValueError, match=rf"is a key for {name}, not for "):
        CryptoKey.unwrap(outer.wrap(key), outer, algorithm="AES-128-GCM" if name != "AES-128-GCM" else "AEGIS-256")
    if name not in ("AES-128-GCM", "AES-192-GCM", "AES-256-GCM"):
        for call in (lambda: key.wrap(outer, format="aes-kwp"), lambda: CryptoKey.unwrap(blob, key, format="aes-kwp")):
            with pytest.raises(ValueError, match=rf"AES-KWP wraps with AES keys, not .* {name}"):
                call()


WRONG: list[tuple[Any, Any, str]] = [
    (
        16,
        "XChaCha20-Poly1305",
        r"key_bytes must be 32 bytes for XChaCha20-Poly1305, not 16; AES-128-GCM takes as many$",
    ),
    (32, "AES-128-GCM", r"key_bytes must be 16 bytes for AES-128-GCM, not 32; AES-256-GCM takes as many$"),
    (31, "AES-256-GCM", r"key_bytes must be 32 bytes for AES-256-GCM, not 31$"),
    (32, "AES-GCM", r"algorithm must be one of AES-128-GCM, .*AEGIS-256, not a str of 7 characters$"),
    (32, "aes", r"algorithm must be one of .*, not 'aes'$"),
]


@pytest.mark.parametrize(("size", "name", "text"), WRONG)
def test_wrong_pairs(size: int, name: Any, text: str) -> None:
    """ValueError with fault, value and remedy; a cell is not read for it, and none is left."""
    cell = CypherCell(KEY[:size], volatile=True)
    before = stats().cells
    for source in (KEY[:size], bytearray(KEY[:size]), cell):
        with pytest.raises(ValueError, match=text):
            CryptoKey(source, algorithm=name)
    assert stats().cells == before
    assert cell.reveal_bytes() == KEY[:size]


@pytest.mark.parametrize("name", [5, b"AEGIS-256", ["AES-256-GCM"]], ids=lambda name: type(name).__name__)
def test_wrong_type_of_name(name: Any) -> None:
    """TypeError names the argument."""
    for make in (lambda: CryptoKey(KEY, algorithm=name), lambda: CryptoKey.generate(algorithm=name)):
        with pytest.raises(TypeError, match=rf"algorithm must be a str, not {type(name).__name__}"):
            make()


class OldSodium:
    """The core as it answers where libsodium is 1.0.18."""

    def zpy_key_is_supported(self, number: int) -> int:
        """All but AEGIS-256."""
        return int(number != lib.ZPY_AEGIS_256)

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)


def test_without_aegis(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old libsodium is named, and what to do about it."""
    monkeypatch.setattr(algorithms, "lib", OldSodium())
    for make in (lambda: CryptoKey(KEY, algorithm="AEGIS-256"), lambda: CryptoKey.generate(algorithm="AEGIS-256")):
        with pytest.raises(SecureMemoryError, match=r"needs libsodium 1\.0\.19 .*built with .*use XChaCha20-Poly1305"):
            make()
    assert CryptoKey.generate(algorithm="XChaCha20-Poly1305").algorithm == "XChaCha20-Poly1305"


@NOT_AES
def test_files_are_for_aes(name: Any, tmp_path: Path) -> None:
    """Cobblestone has no other ciphers: ValueError with the remedy, before the target is touched."""
    source, target = tmp_path / "plain", tmp_path / "sealed"
    source.write_bytes(b"content")
    with pytest.raises(ValueError, match=rf"not {name}.*derive"):
        encrypt_file(source, target, key_of(name))
    assert list(tmp_path.iterdir()) == [source]


# ---- many at once ----


@EACH
@pytest.mark.parametrize("size", [40, 40_000])
def test_sixteen_threads_while_one_destroys(name: Any, size: int) -> None:
    """Every message that came back opens under the real key, and every thread hears that the key is closed."""
    message = b"m" * size
    for turn in range(4):
        key, again = key_of(name), key_of(name)
        made: list[CipherText] = []
        closed: list[bool] = []

        def work(key: CryptoKey = key, made: list[CipherText] = made, closed: list[bool] = closed) -> None:
            try:
                while True:
                    ct = encrypt_data(message, key)
                    made.append(ct)
                    assert decrypt_data(ct, key) == message
            except SecureMemoryClosed:
                closed.append(True)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(turn * 1e-3)
        key.destroy()
        for thread in threads:
            thread.join(60)
        assert len(closed) == 16
        assert len({ct.nonce for ct in made}) == len(made)
        for ct in made[:: max(1, len(made) // 1000)]:
            assert decrypt_data(ct, again) == message


FORKED = """
import os, sys
from zeroizepy import CryptoKey, encrypt_data
raw, reader, writer = bytes(int(sys.argv[2])), *os.pipe()
key = CryptoKey(raw, algorithm=sys.argv[1])
def nonces():
    return [encrypt_data(b"", CryptoKey(raw, algorithm=sys.argv[1])).nonce.hex() for _ in range(100)]
made = [encrypt_data(b"", key).nonce.hex() for _ in range(100)]
for _ in range(3):
    if os.fork() == 0:
        for nonce in nonces():
            os.write(writer, nonce.encode() + b" ")  # Short enough that no other child's comes in between.
        os._exit(0)
made += nonces()
os.close(writer)
with open(reader, encoding="ascii") as told:  # To its end first: children that wait for room would not end.
    made += told.read().split()
for _ in range(3):
    assert os.wait()[1] == 0
assert len(made) == len(set(made)) == 500, (len(made), len(set(made)))
"""


@EACH
def test_no_nonce_twice_after_fork(name: str) -> None:
    """Children that use the same key anew draw nonces of their own."""
    command = [sys.executable, "-I", "-c", FORKED, name, str(SIZES[name][0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
