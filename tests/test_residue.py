"""A parent scans a child's memory for the secret that the child was given: nothing but the slot may hold it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import struct
import subprocess
import sys
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from support import maps
from support.ciphers import sbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.children import Child

# A child tells its parent "ready" and the pages that hold slots, then waits. It must never hold the secret elsewhere.
PROGRAM = """
import gc, os, sys
import zeroizepy
from zeroizepy import *
from zeroizepy import _lib
from support import maps
held, argument = [], sys.argv[1:]
def ready(*slots):
    gc.collect()
    spans = []
    for it in slots:
        with it.borrow() as view:
            spans.append((int(_lib.ffi.cast("uintptr_t", _lib.ffi.from_buffer("uint8_t[]", view))), len(view)))
            del view
    print("ready", *(f"{start:x}+{size}" for start, size in spans), flush=True)
    sys.stdin.read(1)
def from_pipe(size):
    return CypherCell.from_fd(int(argument[0]), size)
"""


@dataclass(frozen=True)
class Scan:
    """Where a waiting child holds what it should not, by name of the needle."""

    hits: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.hits[name]


@contextlib.contextmanager
def waiting(
    child: Child, body: str, *arguments: str, feed: bytes = b"", env: dict[str, str] | None = None
) -> Iterator[tuple[int, list[tuple[int, int]], str]]:
    """A child that has come to ready(): its process id, its slots, and what else it printed before."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        child.command(PROGRAM + dedent(body), str(reader), *arguments),
        env=child.environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[reader],
    )
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(feed)
    assert process.stdout is not None
    printed = ""
    try:
        for line in process.stdout:
            if line.startswith("ready"):
                pairs = (item.split("+") for item in line.split()[1:])
                yield process.pid, [(int(start, 16), int(size)) for start, size in pairs], printed
                break
            printed += line
        else:
            raise AssertionError("the child ended before it was ready")
    finally:
        process.communicate(input="x", timeout=60)
    assert process.returncode == 0


def scan(pid: int, slots: list[tuple[int, int]], **needles: bytes) -> Scan:
    """Count the needles in all readable memory but the slots, and stop at nothing less than a readable process."""
    hits = {}
    for name, needle in needles.items():
        try:
            found = maps.find_in_memory(pid, needle)
        except PermissionError:
            pytest.skip("needs the right to read a child's /proc/PID/mem")
        hits[name] = sum(not any(start <= at < start + size for start, size in slots) for at in found)
    return Scan(hits)


def parts(secret: bytes) -> dict[str, bytes]:
    """The secret as it may lie around: whole, and its last 16 bytes (a freed chunk loses its head)."""
    return {"whole": secret, "tail": secret[-16:]}


@pytest.fixture
def secret() -> bytes:
    """128 bytes of text that no other test has seen, so that it can go through the environment."""
    return secrets.token_urlsafe(96).encode()


CLEAN = {"whole": 0, "tail": 0}


# ---- loaders ----


def test_positive_control(child: Child, secret: bytes) -> None:
    """One bytes object beside the cell is found, and once only."""
    body = """
    held.append(os.read(int(argument[0]), 128))
    cell = CypherCell(held[0])
    ready(cell)
    """
    with waiting(child, body, feed=secret) as (pid, slots, _):
        assert scan(pid, slots, **parts(secret)).hits == {"whole": 1, "tail": 1}


def test_the_slot_itself(child: Child, secret: bytes) -> None:
    """On mlock the scan sees the slot, which shows that it looks there; on secretmem nobody can."""
    with waiting(child, "cell = from_pipe(128); ready(cell)", feed=secret) as (pid, slots, _):
        assert scan(pid, [], **parts(secret))["whole"] == (0 if child.backend == "secretmem" else 1)
        assert scan(pid, slots, **parts(secret)).hits == CLEAN


LOADERS = {
    "from_fd with a size": "cell = from_pipe(128)",
    "from_fd to the end": "cell = from_pipe(None)",
    "from_file": "cell = CypherCell.from_file(argument[1])",
    "from_file stripped": "cell = CypherCell.from_file(argument[1], strip=True)",
    "from_command": "cell = CypherCell.from_command(['cat', argument[1]], timeout=60)",
    "from_command stripped": "cell = CypherCell.from_command(['cat', argument[1]], strip=True)",
    "from_file isolated": "cell = CypherCell.from_file(argument[1], tier='isolated')",
    "from_file sealed": "cell = CypherCell.from_file(argument[1], tier='sealed')",
    "sealed and used": """
        cell = from_pipe(128)
        sealed = CypherCell(cell, tier="sealed")
        memory = SecureMemory(128, tier="sealed")
        memory.write(sealed)
        assert sealed.verify(cell) and sealed.compare(cell) and sealed.verify(memory) and memory.read(4)
        with sealed.borrow() as view, memory.borrow(writable=True) as other:
            other[:] = view
        del view, other
    """,
    "bytearray and secure_clear": """
        buffer = bytearray(128)
        os.readv(int(argument[0]), [buffer])
        cell = CypherCell(buffer)
        secure_clear(buffer)
    """,
    "bytearray and wipe_source": """
        buffer = bytearray(128)
        os.readv(int(argument[0]), [buffer])
        cell = CypherCell(buffer, wipe_source=True)
    """,
    "written into secure memory": """
        cell = SecureMemory(128)
        with cell.borrow(writable=True) as view:
            os.readv(int(argument[0]), [view])
        del view
    """,
    "verify, compare and borrow": """
        cell = from_pipe(128)
        other = CypherCell(cell)
        assert cell.verify(other) and cell.compare(other) and cell == other
        assert not cell.verify(b"guess") and not cell.verify("guess" * 20) and not cell.verify(bytes(128))
        with cell.borrow() as view:
            assert len(view) == 128 and view[:5] != b"guess" and not cell.verify(bytes(128))
        del view
        memory = SecureMemory.from_bytes(cell)
        with cell as inside:
            assert inside.verify(memory)
        cell = memory
        other.wipe()
    """,
    "grown while read": "cell = CypherCell.from_fd(int(argument[0]))",
}


@pytest.mark.parametrize("name", LOADERS)
def test_loaders(child: Child, secret: bytes, tmp_path: Path, name: str) -> None:
    """From descriptor, file and buffer into the slot: no copy anywhere else in the process."""
    path = tmp_path / "secret"
    path.write_bytes(b" \n" + secret + b"\n" if name.endswith("stripped") else secret)
    filler = b"f" * 20_000 if name.startswith("grown") else b""
    with waiting(child, dedent(LOADERS[name]) + "\nready(cell)", str(path), feed=filler + secret) as (pid, slots, _):
        assert scan(pid, slots, **parts(secret)).hits == CLEAN


@pytest.mark.parametrize("scrub", [False, True])
def test_from_env(child: Child, secret: bytes, scrub: bool) -> None:
    """The environment and os.environ hold what they held before; from_env adds nothing, and scrub leaves nothing."""
    env = {"APP_SECRET": secret.decode()}
    with waiting(child, "ready()", env=env) as (pid, slots, _):
        before = scan(pid, slots, **parts(secret))
    assert before["whole"] >= 1
    body = f"cell = CypherCell.from_env('APP_SECRET', scrub={scrub}); ready(cell)"
    with waiting(child, body, env=env) as (pid, slots, _):
        after = scan(pid, slots, **parts(secret))
    assert after.hits == (CLEAN if scrub else before.hits)


def test_wiped_cells_leave_nothing(child: Child, secret: bytes) -> None:
    """After wipe, del, block, last read or purge the slot is clean too, on mlock where it can be seen."""
    body = """
    first = from_pipe(128)
    cells = [CypherCell(first, tier=tier) for tier in ("packed", "isolated", "sealed") for _ in range(6)]
    volatile = CypherCell(first, volatile=True)
    with volatile.borrow():
        pass
    cells[0].wipe()
    del cells[1]
    with cells[1]:
        pass
    gone = SecureMemory.from_bytes(first)
    gone.zero()
    purge()
    ready()
    """
    with waiting(child, body, feed=secret) as (pid, slots, _):
        assert scan(pid, slots, **parts(secret)).hits == CLEAN


# ---- reveal ----

TEXTS = {
    "ascii": lambda: secrets.token_urlsafe(96),
    "latin-1": lambda: "ÿ" + secrets.token_urlsafe(96),
    "two bytes": lambda: "鍵" + secrets.token_urlsafe(96),
    "four bytes": lambda: "🔑" + secrets.token_urlsafe(96),
}
STORED = {"ascii": "ascii", "latin-1": "latin-1", "two bytes": "utf-16-le", "four bytes": "utf-32-le"}


@pytest.mark.parametrize("through", ["cell.reveal()", "str(view)", "view.reveal()"])
@pytest.mark.parametrize("kind", TEXTS)
def test_reveal_makes_one_object(child: Child, kind: str, through: str) -> None:
    """The str itself, as CPython stores it, and nothing else: no UTF-8 copy, no narrower or wider draft."""
    text = TEXTS[kind]()
    tail = text[-32:]
    body = f"""
    cell = from_pipe({len(text.encode())})
    with CypherCell(cell) as view:
        held.append({through})
    del view
    ready(cell)
    """
    with waiting(child, body, feed=text.encode()) as (pid, slots, _):
        stored = scan(pid, slots, text=tail.encode(STORED[kind])).hits
        assert stored == {"text": 1}
        others = {code.replace("-", "_"): tail.encode(code) for code in ("ascii", "utf-16-le", "utf-32-le")}
        others.pop("ascii" if kind in ("ascii", "latin-1") else STORED[kind].replace("-", "_"))
        assert set(scan(pid, slots, **others).hits.values()) == {0}


@pytest.mark.parametrize(
    "through", ["cell.reveal_bytes()", "bytes(view)", "view.reveal_bytes()", "memory.read()", "memory.get_bytes()"]
)
def test_reveal_bytes_makes_one_object(child: Child, secret: bytes, through: str) -> None:
    """One bytes object."""
    body = f"""
    cell = from_pipe(128)
    memory = SecureMemory.from_bytes(cell)
    with CypherCell(cell) as view:
        held.append({through})
    del view
    ready(cell, memory)
    """
    with waiting(child, body, feed=secret) as (pid, slots, _):
        assert scan(pid, slots, **parts(secret)).hits == {"whole": 1, "tail": 1}


def test_reveal_masked_leaves_the_suffix_only(child: Child, secret: bytes) -> None:
    """Nothing longer than what was shown."""
    body = "cell = from_pipe(128); held.append(cell.reveal_masked(4)); ready(cell)"
    with waiting(child, body, feed=secret) as (pid, slots, _):
        assert scan(pid, slots, **parts(secret), more=secret[-12:]).hits == {**CLEAN, "more": 0}


# ---- keys ----


def aes_schedule(key: bytes) -> bytes:
    """All round keys of AES (FIPS 197, section 5.2), computed here so that the search knows what it looks for."""
    box = sbox()
    words = [key[at : at + 4] for at in range(0, len(key), 4)]
    count, power = len(words), 1
    for index in range(count, 4 * (count + 7)):
        word = words[-1]
        if index % count == 0:
            word = bytes(box[byte] for byte in word[1:] + word[:1])
            word = bytes([word[0] ^ power]) + word[1:]
            power = (power << 1) ^ (0x11B if power & 0x80 else 0)
        elif count > 6 and index % count == 4:
            word = bytes(box[byte] for byte in word)
        words.append(bytes(left ^ right for left, right in zip(words[index - count], word, strict=True)))
    return b"".join(words)


def key_parts(key: bytes) -> dict[str, bytes]:
    """The key, round keys that only its expansion makes, and GHASH's key in both byte orders."""
    rounds = aes_schedule(key)
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - GHASH's key is one block.
    hash_key = encryptor.update(bytes(16)) + encryptor.finalize()
    return {
        "key": key,
        "key_tail": key[-16:],
        "round_3": rounds[48:64],
        "last_round": rounds[-16:],
        "hash_key": hash_key,
        "hash_key_reversed": hash_key[::-1],
    }


def test_the_reference_schedule() -> None:
    """FIPS 197, appendix A: the last words of its three key expansions."""
    assert aes_schedule(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))[-4:].hex() == "b6630ca6"
    assert aes_schedule(bytes.fromhex("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"))[-4:].hex() == "01002202"
    long_key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
    assert aes_schedule(bytes.fromhex(long_key))[-4:].hex() == "706c631e"


CIPHER = """
key_cell = from_pipe({length})
key = CryptoKey(key_cell)
plain = from_pipe(128)
for _ in range(3):
    ct = encrypt_data(plain, key, b"extra")
{more}
print(ct.nonce.hex(), ct.ciphertext.hex())
ready(key_cell, plain{slots})
"""


def slots_of_key(slots: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """On mlock the key's own slot can be seen, with the schedule behind the key."""
    return [(start, 32 + 512) if size == 32 else (start, size) for start, size in slots]


INTO = """
opened, buffer = SecureMemory(130), bytearray(128)
for target in (opened, buffer):
    assert decrypt_into(ct, key, target, b"extra") == 128
assert plain.verify(buffer)
secure_clear(buffer)
"""


@pytest.mark.parametrize("end", ["live", "destroyed", "decrypt_secret", "decrypt_into", "long"])
def test_encrypt_and_decrypt(child: Child, secret: bytes, end: str) -> None:
    """AES-256: neither key nor schedule nor plaintext outside their slots, while the key lives and afterwards."""
    more, slots_text = "", ", key"
    if end == "destroyed":
        more, slots_text = "key.destroy()", ""
    elif end == "decrypt_secret":
        more, slots_text = "opened = decrypt_secret(ct, key, b'extra'); assert plain.verify(opened)", ", key, opened"
    elif end == "decrypt_into":
        more, slots_text = INTO, ", key, opened"
    elif end == "long":
        more = "decrypt_data(encrypt_data(bytes(100000), key), key)"
    key = secrets.token_bytes(32)
    body = CIPHER.format(length=32, more=more, slots=slots_text)
    with waiting(child, body, feed=key + secret) as (pid, slots, printed):
        nonce, sealed = (bytes.fromhex(part) for part in printed.split())
        assert AESGCM(key).decrypt(nonce, sealed, b"extra") == secret
        needles = {**parts(secret), **key_parts(key)}
        assert scan(pid, slots_of_key(slots), **needles).hits == dict.fromkeys(needles, 0)


@pytest.mark.parametrize("length", [16, 24])
def test_short_keys_after_their_end(child: Child, secret: bytes, length: int) -> None:
    """AES-128 and -192 go through OpenSSL's heap; once the key is destroyed, the key is gone from it.

    Not looked for: the last round keys, which OpenSSL at times leaves behind in a spilled register.
    """
    key = secrets.token_bytes(length)
    body = CIPHER.format(
        length=length, more=INTO + "key.destroy(); key_cell.wipe(); key_cell = CypherCell(b'')", slots=", opened"
    )
    with waiting(child, body, feed=key + secret) as (pid, slots, printed):
        nonce, sealed = (bytes.fromhex(part) for part in printed.split())
        assert AESGCM(key).decrypt(nonce, sealed, b"extra") == secret
        needles = {**parts(secret), "key": key, "key_tail": key[-16:]}
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


def test_decrypt_data_makes_one_object(child: Child, secret: bytes) -> None:
    """The plaintext that decrypt_data returns is the only copy."""
    key = secrets.token_bytes(32)
    body = CIPHER.format(length=32, more="held.append(decrypt_data(ct, key, b'extra'))", slots=", key")
    with waiting(child, body, feed=key + secret) as (pid, slots, _):
        assert scan(pid, slots_of_key(slots), **parts(secret)).hits == {"whole": 1, "tail": 1}


def test_control_for_keys(child: Child, secret: bytes) -> None:
    """The same search finds the key where a program took it out, and its schedule where a program keeps one."""
    key = secrets.token_bytes(32)
    schedule = aes_schedule(key)
    more = "held.extend([key.get_bytes(), os.read(int(argument[0]), 240)])"
    body = CIPHER.format(length=32, more=more, slots=", key")
    with waiting(child, body, feed=key + secret + schedule) as (pid, slots, _):
        found = scan(pid, slots_of_key(slots), **key_parts(key))
    assert found["key"] == 2
    assert found["round_3"] == found["last_round"] == 1


def sha256_state(block: bytes) -> bytes:
    """What SHA-256 (FIPS 180-4) holds after one block: eight 32-bit words, as they stand in this machine's memory."""
    primes = [number for number in range(2, 312) if all(number % other for other in range(2, number))]

    def fraction(number: int, root: int) -> int:
        low, high = 0, number << 32
        while low < high:  # The root of the number, in units of 2^-32.
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**root <= number << 32 * root else (low, middle - 1)
        return low & 0xFFFFFFFF

    def turned(word: int, count: int) -> int:
        return (word >> count | word << 32 - count) & 0xFFFFFFFF

    words = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
    for at in range(16, 64):
        left, right = words[at - 15], words[at - 2]
        mixed = turned(left, 7) ^ turned(left, 18) ^ left >> 3, turned(right, 17) ^ turned(right, 19) ^ right >> 10
        words.append((words[at - 16] + words[at - 7] + sum(mixed)) & 0xFFFFFFFF)
    start = [fraction(prime, 2) for prime in primes[:8]]
    a, b, c, d, e, f, g, h = start
    for word, prime in zip(words, primes, strict=True):
        mixed_e = (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + (e & f ^ ~e & g)
        mixed_a = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + (a & b ^ a & c ^ b & c)
        first = h + mixed_e + fraction(prime, 3) + word
        a, b, c, d, e, f, g, h = (first + mixed_a) & 0xFFFFFFFF, a, b, c, (d + first) & 0xFFFFFFFF, e, f, g
    ended = [(old + new) & 0xFFFFFFFF for old, new in zip(start, (a, b, c, d, e, f, g, h), strict=True)]
    return b"".join(word.to_bytes(4, sys.byteorder) for word in ended)


def hmac_parts(key: bytes) -> dict[str, bytes]:
    """What HMAC-SHA256 (RFC 2104) makes of a key: padded for its two hashes, and the states of both after that."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    return {
        "inner_pad": inner[: len(key)],
        "outer_pad": outer[: len(key)],
        "inner_state": sha256_state(inner)[:16],
        "inner_state_tail": sha256_state(inner)[16:],
        "outer_state": sha256_state(outer)[:16],
        "outer_state_tail": sha256_state(outer)[16:],
    }


def test_the_reference_state() -> None:
    """FIPS 180-4's one-block example: the state after "abc" and its padding is the digest."""
    block = b"abc" + b"\x80" + bytes(59) + b"\x18"
    state = sha256_state(block)
    words = [int.from_bytes(state[at : at + 4], sys.byteorder).to_bytes(4, "big") for at in range(0, 32, 4)]
    assert b"".join(words) == hashlib.sha256(b"abc").digest()


NAMED = """
key_cell = from_pipe(32)
key = CryptoKey(key_cell, tier=argument[1])
for _ in range(3):
    assert len(key.key_id) == 64
    encrypt_data(b"message", key)
{more}
ready(key_cell, key)
"""


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_key_id_leaves_nothing(child: Child, tier: str) -> None:
    """Neither the key nor its schedule nor HMAC's states are outside the slots, in each tier."""
    key = secrets.token_bytes(32)
    needles = {**key_parts(key), **hmac_parts(key)}
    with waiting(child, NAMED.format(more=""), tier, feed=key) as (pid, slots, _):
        assert scan(pid, slots_of_key(slots), **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_hmac(child: Child) -> None:
    """The same search finds HMAC's states where a program keeps them."""
    key = secrets.token_bytes(32)
    needles = hmac_parts(key)
    more = "held.append(os.read(int(argument[0]), 4096))"
    with waiting(child, NAMED.format(more=more), "packed", feed=key + b"".join(needles.values())) as (pid, slots, _):
        found = scan(pid, slots_of_key(slots), **needles).hits
    assert found == dict.fromkeys(needles, 1)


def derived_parts(key: bytes, context: bytes) -> dict[str, bytes]:
    """What HKDF-SHA256 (RFC 5869) makes of a key on the way to a derived one, and that one with its schedule."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    made = hmac.digest(extracted, context + b"\x01", "sha256")
    named = {"extracted": extracted, "extracted_tail": extracted[16:], **hmac_parts(extracted)}
    return {**named, **{f"derived_{name}": part for name, part in key_parts(made).items()}}


DERIVED = """
key_cell = from_pipe(32)
key = CryptoKey(key_cell, tier=argument[1])
made = key.derive(b"context", tier=argument[1])
encrypt_data(b"message", made)
{more}
ready(key_cell, key, made)
"""


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_derive_leaves_nothing(child: Child, tier: str) -> None:
    """Neither key nor anything between them is outside the slots, in each tier."""
    key = secrets.token_bytes(32)
    needles = {**key_parts(key), **derived_parts(key, b"context")}
    with waiting(child, DERIVED.format(more=""), tier, feed=key) as (pid, slots, _):
        assert scan(pid, slots_of_key(slots), **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_derived_keys(child: Child) -> None:
    """The same search finds each part where a program keeps it, and the derived key where a program took it out."""
    key = secrets.token_bytes(32)
    needles = derived_parts(key, b"context")
    more = "held.extend([os.read(int(argument[0]), 4096), made.get_bytes()])"
    with waiting(child, DERIVED.format(more=more), "packed", feed=key + b"".join(needles.values())) as (pid, slots, _):
        found = scan(pid, slots_of_key(slots), **needles).hits
    assert min(found.values()) >= 1
    assert found["derived_key"] == 2


def password_parts(password: bytes, salt: bytes) -> dict[str, bytes]:
    """The password, Argon2id's hash of all its inputs (H0 in RFC 9106, section 3.2), and the key; 5 passes, 7 MiB."""
    size = 7 * 1024
    lanes_to_type = struct.pack("<6I", 1, 32, size, 5, 0x13, 2)
    inputs = lanes_to_type + struct.pack("<I", len(password)) + password + struct.pack("<I", 16) + salt + bytes(8)
    first = hashlib.blake2b(inputs).digest()
    key = Argon2id(salt=salt, length=32, iterations=5, lanes=1, memory_cost=size).derive(password)
    return {**parts(password), "first_hash": first[:32], "first_hash_tail": first[48:], **key_parts(key)}


STRETCHED = """
password = from_pipe(128)
key = CryptoKey.from_password(password, salt=bytes(range(16)), opslimit=5, memlimit=7 << 20, tier=argument[1])
encrypt_data(b"message", key)
{more}
ready(password, key)
"""


@pytest.mark.parametrize("tier", ["packed", "sealed"])
def test_from_password_leaves_nothing(child: Child, secret: bytes, tier: str) -> None:
    """Neither the password nor its hash nor the key is outside the slots."""
    needles = password_parts(secret, bytes(range(16)))
    with waiting(child, STRETCHED.format(more=""), tier, feed=secret) as (pid, slots, _):
        assert scan(pid, slots_of_key(slots), **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_passwords(child: Child, secret: bytes) -> None:
    """The same search finds each part where a program keeps it, and the key where a program took it out."""
    needles = password_parts(secret, bytes(range(16)))
    more = "held.extend([os.read(int(argument[0]), 4096), key.get_bytes()])"
    feed = secret + b"".join(needles.values())
    with waiting(child, STRETCHED.format(more=more), "packed", feed=feed) as (pid, slots, _):
        found = scan(pid, slots_of_key(slots), **needles).hits
    assert min(found.values()) >= 1
    assert found["key"] == 2


def wrapping_parts(blob: bytes, wrapping_key: bytes) -> dict[str, bytes]:
    """What docs/key-files.md makes of a wrapping key: extracted key, its HMAC states, the key for one use."""
    extracted = hmac.digest(blob[40:72], wrapping_key, "sha256")
    for_one_use = hmac.digest(extracted, b"zeroizepy key wrap v1\0" + blob[:40] + b"\x01", "sha256")
    assert ChaCha20Poly1305(for_one_use).decrypt(bytes(12), blob[104:], None)
    named = {"extracted": extracted[:16], "extracted_tail": extracted[16:], **hmac_parts(extracted)}
    return {**named, "for_one_use": for_one_use[:16], "for_one_use_tail": for_one_use[16:]}


WRAPPED = """
key_cell, outer_cell = from_pipe(32), from_pipe(32)
key, outer = CryptoKey(key_cell, tier=argument[1]), CryptoKey(outer_cell, tier=argument[1])
blob = outer.wrap(key)
opened = CryptoKey.unwrap(blob, outer, tier=argument[1])
key.save(argument[2], wrapping_key=outer)
loaded = CryptoKey.load(argument[2], wrapping_key=outer, tier=argument[1])
print(blob.hex())
{more}
ready(key_cell, outer_cell, key, outer, opened, loaded)
"""


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_wrapping_leaves_nothing(child: Child, tmp_path: Path, tier: str) -> None:
    """Neither of the two keys nor what is made of them is outside the slots, in each tier."""
    key, outer = secrets.token_bytes(32), secrets.token_bytes(32)
    arguments = tier, str(tmp_path / "key")
    with waiting(child, WRAPPED.format(more=""), *arguments, feed=key + outer) as (pid, slots, printed):
        needles = {**key_parts(key), **{f"outer_{name}": part for name, part in key_parts(outer).items()}}
        for blob in (bytes.fromhex(printed), (tmp_path / "key").read_bytes()):
            needles |= wrapping_parts(blob, outer)
            assert scan(pid, slots_of_key(slots), **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_wrapping(child: Child, tmp_path: Path) -> None:
    """The same search finds each part in a program that made it in Python."""
    key, outer = secrets.token_bytes(32), secrets.token_bytes(32)
    more = """
    import hmac
    extracted = hmac.digest(blob[40:72], outer.get_bytes(), "sha256")
    pads = [bytes(byte ^ pad for byte in extracted) for pad in (0x36, 0x5C)]
    made = hmac.digest(extracted, b"zeroizepy key wrap v1\\0" + blob[:40] + b"\\x01", "sha256")
    held.extend([key.get_bytes(), extracted, pads, made])
    """
    body = WRAPPED.format(more=dedent(more))
    with waiting(child, body, "packed", str(tmp_path / "key"), feed=key + outer) as (pid, slots, printed):
        needles = {**key_parts(key), **wrapping_parts(bytes.fromhex(printed), outer)}
        found = scan(pid, slots_of_key(slots), **needles).hits
    for name in ("key", "extracted", "inner_pad", "outer_pad", "for_one_use", "for_one_use_tail"):
        assert found[name] >= 1, name


ERASED = """
key = CryptoKey(from_pipe(32), tier=argument[1], wipe_source=True)
outer, path = CryptoKey.generate(), argument[2]
encrypt_data(b"message", key)
held.extend([key.key_id, outer.wrap(key), key.derive(b"other")])
key.save(path, wrapping_key=outer)
with EncryptedWriter(path + ".file", key) as file:
    file.write(b"content")
{more}
held.append(cryptographic_erase_key(key))
assert held[-1].condition("destruction_verified").verdict == "met"
ready()
"""


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_erasing_leaves_nothing(child: Child, tmp_path: Path, tier: str) -> None:
    """Once a key is erased, neither it nor its schedule is anywhere, slots included, while its receipt is kept."""
    key = secrets.token_bytes(32)
    arguments = tier, str(tmp_path / "key")
    with waiting(child, ERASED.format(more=""), *arguments, feed=key) as (pid, slots, _):
        assert scan(pid, slots, **key_parts(key)).hits == dict.fromkeys(key_parts(key), 0)


def test_control_for_erasing(child: Child, tmp_path: Path) -> None:
    """The same search finds a copy that was taken before, which the receipt lists."""
    key = secrets.token_bytes(32)
    body = ERASED.format(more="held.append(key.get_bytes())")
    with waiting(child, body, "packed", str(tmp_path / "key"), feed=key) as (pid, slots, _):
        assert scan(pid, slots, key=key).hits == {"key": 1}


KWP = """
key_cell, outer_cell = from_pipe(32), from_pipe(32)
key, outer = CryptoKey(key_cell), CryptoKey(outer_cell)
opened = CryptoKey.unwrap(outer.wrap(key, format="aes-kwp"), outer, format="aes-kwp")
{more}
for each in (key_cell, outer_cell, key, outer, opened):
    each.close()
ready()
"""


def test_kwp_leaves_nothing(child: Child) -> None:
    """AES-KWP goes through ordinary memory, OpenSSL's too; once the keys are destroyed, they are gone from there."""
    key, outer = secrets.token_bytes(32), secrets.token_bytes(32)
    with waiting(child, KWP.format(more=""), feed=key + outer) as (pid, slots, _):
        needles = {"key": key, "key_tail": key[-16:], "outer": outer, "outer_tail": outer[-16:]}
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)
    with waiting(child, KWP.format(more="held.append(opened.get_bytes())"), feed=key + outer) as (pid, slots, _):
        assert scan(pid, slots, key=key).hits == {"key": 1}


def test_key_files_leave_no_password(child: Child, secret: bytes, tmp_path: Path) -> None:
    """Saved and loaded with a password: neither that nor the keys are outside the slots."""
    key = secrets.token_bytes(32)
    body = """
    key_cell, password = from_pipe(32), from_pipe(128)
    key = CryptoKey(key_cell)
    key.save(argument[1], password=password, opslimit=5, memlimit=7 << 20)
    loaded = CryptoKey.load(argument[1], password=password)
    ready(key_cell, password, key, loaded)
    """
    with waiting(child, body, str(tmp_path / "key"), feed=key + secret) as (pid, slots, _):
        blob = (tmp_path / "key").read_bytes()
        stretched = password_parts(secret, blob[24:40])
        needles = {**stretched, **wrapping_parts(blob, stretched["key"])}
        needles |= {f"saved_{name}": part for name, part in key_parts(key).items()}
        assert scan(pid, slots_of_key(slots), **needles).hits == dict.fromkeys(needles, 0)


# ---- signing keys ----


def scalar_parts(secret: bytes) -> dict[str, bytes]:
    """A secret of 32 bytes as Curve25519 takes it, and the forms in which libsodium computes with it.

    Those are signed digits of 4 bits for the multiple of the base point, and limbs of 21 bits for the sum modulo L.
    """
    scalar = bytearray(secret)
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    digits, carry = [], 0
    for byte in scalar:
        for nibble in (byte & 15, byte >> 4):
            carry, digit = (nibble + carry + 8) >> 4, nibble + carry - (nibble + carry + 8 >> 4 << 4)
            digits.append(digit & 0xFF)
    number = int.from_bytes(scalar, "little")
    limbs = [(number >> 21 * at) & 0x1FFFFF for at in range(12)]
    return {
        "scalar": bytes(scalar[:16]),
        "scalar_tail": bytes(scalar[16:]),
        "digits": bytes(digits[8:24]),
        "limbs": b"".join(limb.to_bytes(8, "little") for limb in limbs[3:5]),
    }


def signing_parts(seed: bytes) -> dict[str, bytes]:
    """The seed, and what RFC 8032 makes of it: scalar and prefix."""
    digest = hashlib.sha512(seed).digest()
    return {
        "seed": seed,
        "seed_tail": seed[-16:],
        "hash_head": digest[:16],
        "prefix": digest[32:48],
        "prefix_tail": digest[48:],
        **scalar_parts(digest[:32]),
    }


# Where a key's slot is, unless no slot is open.
SLOT_OF = """
def slot_of(key):
    address = _lib.lib.zpy_cell_address(key._handle)
    if address != _lib.ffi.NULL:
        print(f"{int(_lib.ffi.cast('uintptr_t', address)):x}")
"""


def test_the_reference_scalar() -> None:
    """The digits that are searched for are those of the scalar, and the scalar that of the public key's formula."""
    parts_of = signing_parts(bytes(range(32)))
    assert parts_of["scalar"][0] % 8 == 0
    assert parts_of["scalar_tail"][-1] & 0xC0 == 0x40
    digits = [byte - 256 if byte > 127 else byte for byte in parts_of["digits"]]
    assert max(map(abs, digits)) <= 8
    low = int.from_bytes(parts_of["scalar"], "little")
    # Each digit differs from its nibble by the carry that came in and the 16 that went out.
    assert all((digit - (low >> 4 * at & 15)) % 16 in (0, 1) for at, digit in enumerate(digits, start=8))


SIGNER = """
from zeroizepy.signing import SigningKey, verify_signature
seed = from_pipe(32)
key = SigningKey.from_seed(seed)
message = b"message"
for _ in range(3):
    signature = key.sign(message)
verify_signature(key.public_key, message, signature)
{more}
print(key_public.hex(), signature.hex())
"""
SIGNING = {
    "live": "key_public = key.public_key; key.save(argument[1])",
    "loaded": "key.save(argument[1]); key = SigningKey.load(argument[1]); key_public = key.public_key; key.sign(b'')",
    "closed": "key_public = key.public_key; key.close()",
    "sealed": "key = SigningKey.from_seed(seed, tier='sealed'); key_public = key.public_key; key.sign(bytes(100000))",
}


@pytest.mark.parametrize("end", SIGNING)
def test_signing(child: Child, tmp_path: Path, end: str) -> None:
    """Neither the seed nor the scalar, in any form that is computed with, outside the slots."""
    seed = secrets.token_bytes(32)
    wanted = Ed25519PrivateKey.from_private_bytes(seed)
    body = SIGNER.format(more=SIGNING[end]) + "slot_of(key); ready(seed)\n"
    with waiting(child, SLOT_OF + body, str(tmp_path / "key"), feed=seed) as (pid, slots, printed):
        public, signature, *own = printed.split()
        assert public == wanted.public_key().public_bytes_raw().hex()
        assert signature == wanted.sign(b"message").hex()
        needles = signing_parts(seed)
        # The key's slot cannot be borrowed: whoever knows where it is does not count what stands there.
        slots += [(int(at, 16), 64) for at in own]
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_signing_keys(child: Child, tmp_path: Path) -> None:
    """The same search finds each form where a program keeps it."""
    seed = secrets.token_bytes(32)
    needles = signing_parts(seed)
    body = SIGNER.format(more="held.append(os.read(int(argument[0]), 4096)); " + SIGNING["live"]) + "ready(seed)\n"
    with waiting(child, body, str(tmp_path / "key"), feed=seed + b"".join(needles.values())) as (pid, slots, _):
        found = scan(pid, slots, **needles).hits
    assert min(found.values()) >= 1


GENERATED = [
    *("CypherCell.generate(32)", "CryptoKey.generate(32)", "CryptoKey.generate(16)"),
    *("PrivateKey.generate()", "SigningKey.generate()"),
]


@pytest.mark.parametrize("make", GENERATED)
def test_generate(child: Child, make: str) -> None:
    """Random secrets are drawn straight into their slot; the child tells their last 8 bytes, masked."""
    body = f"""
    from zeroizepy.nacl.public import PrivateKey
    from zeroizepy.nacl.signing import SigningKey
    made = {make}
    with made.borrow() as view:
        # Enough of the secret to search for, and not enough to be one: its last 8 bytes, turned over.
        for at in range(len(view) - 1, len(view) - 9, -1):
            os.write(1, b"%02x" % (view[at] ^ 0x5A))
        os.write(1, b"\\n")
    del view
    ready(made)
    """
    with waiting(child, body) as (pid, slots, printed):
        tail = bytes(int(printed[at : at + 2], 16) ^ 0x5A for at in range(0, 16, 2))[::-1]
        start, size = slots[0]
        found = maps.find_in_memory(pid, tail)
        inside = [at for at in found if start <= at < start + 544]
        assert len(found) == len(inside)
        if child.backend == "mlock":
            assert start + size - 8 in inside
