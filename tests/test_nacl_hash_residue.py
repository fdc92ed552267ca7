"""Passwords, hash keys, and what is made of them on the way, are nowhere in the process but in their slots."""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from test_residue import hmac_parts, scan, waiting

if TYPE_CHECKING:
    from support.children import Child

SALT = bytes(range(32))


def halves(name: str, secret: bytes) -> dict[str, bytes]:
    """A secret's beginning, and its end, which a freed block of the heap keeps."""
    return {name: secret[: len(secret) // 2], f"{name}_tail": secret[-(len(secret) // 2) :]}


def long_hash(size: int, data: bytes) -> bytes:
    """H' of RFC 9106, section 3.3, for more than 64 bytes."""
    block = hashlib.blake2b(struct.pack("<I", size) + data).digest()
    made = block[:32]
    while size - len(made) > 64:
        block = hashlib.blake2b(block).digest()
        made += block[:32]
    return made + hashlib.blake2b(block, digest_size=size - len(made)).digest()


def argon2id_parts(name: str, password: bytes) -> dict[str, bytes]:
    """H0 and the first block of memory (RFC 9106, sections 3.2 and 3.4) for 32 bytes, 1 pass, 1 MiB, and the key."""
    inputs = struct.pack("<7I", 1, 32, 1024, 1, 0x13, 2, len(password)) + password
    first = hashlib.blake2b(inputs + struct.pack("<I", 16) + SALT[:16] + bytes(8)).digest()
    block = long_hash(1024, first + bytes(8))
    key = Argon2id(salt=SALT[:16], length=32, iterations=1, lanes=1, memory_cost=1024).derive(password)
    parts = {**halves("h0", first), "block": block[:32], "block_tail": block[-32:], **halves("key", key)}
    return {f"{name}_{part}": value for part, value in parts.items()}


def scrypt_parts(name: str, password: bytes) -> dict[str, bytes]:
    """HMAC's states under the password, PBKDF2's output (RFC 7914, section 6) for N 1024, r 8, p 1, and the key."""
    blocks = hashlib.pbkdf2_hmac("sha256", password, SALT, 1, 128 * 8)
    key = Scrypt(salt=SALT, length=32, n=1024, r=8, p=1).derive(password)
    parts = {**hmac_parts(hashlib.sha256(password).digest()), **halves("key", key)}
    parts |= {"blocks": blocks[:32], "blocks_tail": blocks[-32:]}
    return {f"{name}_{part}": value for part, value in parts.items()}


def refused(guess: bytes, argon2id: bytes, scrypt: bytes) -> dict[str, bytes]:
    """What a wrong password was made into, to be compared with two texts."""
    salt = base64.b64decode(argon2id.split(b"$")[4] + b"==")
    found = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=1024).derive(guess)
    # The text is "$7$", N, r, p, and a salt that is taken as it stands.
    other = Scrypt(salt=scrypt.split(b"$")[2][11:], length=32, n=1024, r=8, p=1).derive(guess)
    return {**halves("refused_argon2id", found), **halves("refused_scrypt", other)}


PASSWORDS = """
from zeroizepy.nacl import exceptions, hashlib, pwhash
password, guess = from_pipe(128), from_pipe(128)
salt, held_keys = bytes(range(32)), []
for _ in range(2):
    text = pwhash.str(password, 1, 1 << 20), pwhash.scrypt.str(password, 32768, 1 << 20)
    made = [
        pwhash.argon2id.kdf(32, password, salt[:16], 1, 1 << 20, into=SecureMemory),
        hashlib.scrypt(password, salt, 1024, 8, 1, dklen=32, into=SecureMemory),
    ]
    pwhash.argon2i.kdf(32, password, salt[:16], 3, 1 << 20, into=SecureMemory).close()
    for each in text:
        assert pwhash.verify(each, password)
        try:
            pwhash.verify(each, guess)
        except exceptions.InvalidkeyError:
            pass
print(*(each.decode() for each in text))
{more}
ready(password, guess, *made)
"""


def password_needles(password: bytes, guess: bytes, printed: str) -> dict[str, bytes]:
    """All of it."""
    argon2id, scrypt = (text.encode() for text in printed.split())
    return {
        **halves("password", password),
        **halves("guess", guess),
        **argon2id_parts("argon2id", password),
        **scrypt_parts("scrypt", password),
        **refused(guess, argon2id, scrypt),
    }


@pytest.mark.parametrize("end", ["live", "wiped"])
def test_passwords(child: Child, end: str) -> None:
    """Neither passwords nor keys nor what lies between them, nor what wrong passwords were made into."""
    password, guess = secrets.token_bytes(128), secrets.token_bytes(128)
    more = "for it in (password, guess, *made): it.close()\nmade, password, guess = [], *map(CypherCell, (b'a', b'b'))"
    body = PASSWORDS.format(more=more if end == "wiped" else "")
    with waiting(child, body, feed=password + guess) as (pid, slots, printed):
        needles = password_needles(password, guess, printed)
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_passwords(child: Child) -> None:
    """The same search finds each of them in a program that keeps it."""
    password, guess = secrets.token_bytes(128), secrets.token_bytes(128)
    more = """
from test_nacl_hash_residue import password_needles
texts = " ".join(each.decode() for each in text)
held.extend(password_needles(password.reveal_bytes(), guess.reveal_bytes(), texts).values())
"""
    with waiting(child, PASSWORDS.format(more=more), feed=password + guess) as (pid, slots, printed):
        found = scan(pid, slots, **password_needles(password, guess, printed)).hits
    assert min(found.values()) >= 1, found


KEYED = """
import threading
from zeroizepy.nacl import hash, hashlib
from zeroizepy.nacl.bindings.crypto_generichash import Blake2State
from zeroizepy.slots import Borrow
Blake2State.borrow = lambda self: Borrow(self, print)  # For ready(), so that the search passes over their slots.
key, short, data = from_pipe(64), from_pipe(16), from_pipe(96)
states = [hashlib.blake2b(data, key=key)]
states += [states[0].copy() for _ in range(3)]
states[1].update(data)
# Each in a thread of its own, which does nothing else on its stack from then on.
def alone(use):
    def work():
        use()
        done.release()
        threading.Event().wait()
    done = threading.Semaphore(0)
    threading.Thread(target=work, daemon=True).start()
    done.acquire()
for use in (
    lambda: states[0].copy(), lambda: states[1].digest(), lambda: states[2].update(b""), lambda: states[3].update(data),
    lambda: states.append(hashlib.blake2b(key=key)), lambda: hash.blake2b(data, key=key),
    lambda: hash.siphash24(data, short), lambda: hash.siphashx24(data, short),
    lambda: hash.sha256(key), lambda: hash.sha512(data),
):
    alone(use)
{more}
ready(key, short, data, *(state._state for state in states))
"""


@pytest.mark.parametrize("end", ["live", "wiped"])
def test_keyed_hashes(child: Child, end: str) -> None:
    """Neither keys nor messages, while the states live and afterwards."""
    key, short, data = secrets.token_bytes(64), secrets.token_bytes(16), secrets.token_bytes(96)
    more = "del states[:]; key, short, data = (CypherCell(b'x') for _ in range(3))" if end == "wiped" else ""
    needles = {**halves("key", key), **halves("short", short), **halves("data", data)}
    with waiting(child, KEYED.format(more=more), feed=key + short + data) as (pid, slots, _):
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


def test_control_for_keyed_hashes(child: Child) -> None:
    """The same search finds what a program keeps; and the slots of the states, where mlock lets it look."""
    key, short, data = secrets.token_bytes(64), secrets.token_bytes(16), secrets.token_bytes(96)
    more = "held.extend([key.reveal_bytes(), short.reveal_bytes(), data.reveal_bytes()])"
    needles = {**halves("key", key), **halves("short", short), **halves("data", data)}
    with waiting(child, KEYED.format(more=more), feed=key + short + data) as (pid, slots, _):
        found = scan(pid, slots, **needles)
        everywhere = scan(pid, [], **needles)
    assert found.hits == dict.fromkeys(needles, 1)
    # The key's own slot, and those of three states, whose buffers still have it.
    assert everywhere["key"] == (1 if child.backend == "secretmem" else 5)
