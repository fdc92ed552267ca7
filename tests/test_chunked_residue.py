"""Encrypted files leave neither the key, nor what is derived from it, nor plaintext in the process."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from test_residue import SLOT_OF, key_parts, parts, scan, slots_of_key, waiting

from zeroizepy._lib import lib

if TYPE_CHECKING:
    from pathlib import Path

    from support.children import Child

STREAM_BYTES = 1088
"""At least what the core keeps for one file: what is derived, the schedule, room for the hash."""

PROGRAM = """
import io
from zeroizepy import decrypt_file, encrypt_file, EncryptedReader, EncryptedWriter
key_cell = from_pipe({length})
key = CryptoKey(key_cell)
plain = from_pipe(128)
path, sealed, copy = argument[1:]
encrypt_file(path, sealed, key, associated_data=b"context")
{more}
with open(sealed, "rb") as ciphertext:
    print(ciphertext.read(24).hex())
ready(key_cell, plain, key)
"""
USES = {
    "encrypt_file": "",
    "decrypt_file": "decrypt_file(sealed, copy, key, associated_data=b'context')",
    "failed": """
with open(sealed, "r+b") as file:
    file.seek(-1, 2)
    last = file.read(1)[0]
    file.seek(-1, 2)
    file.write(bytes([last ^ 1]))
for context in (b"context", b"another"):
    try:
        decrypt_file(sealed, copy, key, associated_data=context)
    except ValueError:
        pass
""",
    "writer": """
with EncryptedWriter(sealed, key, associated_data=b"context", overwrite=True) as file:
    file.write(plain)
""",
    "writer discarded": """
file = EncryptedWriter(copy, key, associated_data=b"context")
file.write(plain)
file.discard()
""",
    "reader": """
with EncryptedReader(sealed, key, associated_data=b"context") as file:
    file.seek(600_000)
    memory = SecureMemory(128)
    with memory.borrow(writable=True) as view:
        assert file.readinto(view) == 128
    del view
    assert plain.verify(memory)
    memory.close()
""",
    "open reader": """
file = EncryptedReader(sealed, key, associated_data=b"context")
file.seek(600_000)
slot_of(file._file_key)
""",
}


def derived_parts(raw: bytes, salt: bytes) -> dict[str, bytes]:
    """What stands for a file: the forms of its key, its base nonce, and the input key as HMAC pads it."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_%d_GCM\0" % (8 * len(raw)) + salt + b"context"
    derived = HKDFExpand(SHA512(), len(raw) + 44, info).derive(raw)
    padded = {
        f"pad_{byte:x}_{order}": bytes(value ^ byte for value in word)
        for byte in (0x36, 0x5C)
        for order, word in (("big", raw[:16]), ("little", raw[7::-1] + raw[15:7:-1]))
    }
    named = {f"file_{name}": value for name, value in key_parts(derived[: len(raw)]).items()}
    return {**named, **padded, "base_nonce": derived[len(raw) : len(raw) + 12]}


@pytest.fixture
def secret() -> bytes:
    """128 bytes that no other test has seen."""
    return secrets.token_urlsafe(96).encode()


def arguments(folder: Path, secret: bytes) -> list[str]:
    """The paths for a child; the plaintext has the secret in its third batch, which is a thread's."""
    (folder / "plain").write_bytes(bytes(600_000) + secret)
    return [str(folder / name) for name in ("plain", "sealed", "copy")]


@pytest.mark.skipif(lib.zpy_has_aes() != 1, reason="needs a CPU with AES instructions")
@pytest.mark.parametrize("use", USES)
def test_files(child: Child, tmp_path: Path, secret: bytes, use: str) -> None:
    """AES-256: no key, derived key, schedule, padded key, base nonce or plaintext outside the slots."""
    raw = secrets.token_bytes(32)
    body = SLOT_OF + PROGRAM.format(length=32, more=USES[use])
    with waiting(child, body, *arguments(tmp_path, secret), feed=raw + secret) as (pid, slots, printed):
        *own, salt = printed.split()
        needles = {**parts(secret), **key_parts(raw), **derived_parts(raw, bytes.fromhex(salt))}
        if use == "open reader":  # Its buffer has the last chunk, and says so.
            assert scan(pid, slots, **parts(secret)).hits == {"whole": 1, "tail": 1}
            needles = {name: needle for name, needle in needles.items() if name not in parts(secret)}
        known = slots_of_key(slots) + [(int(at, 16), STREAM_BYTES) for at in own]
        assert scan(pid, known, **needles).hits == dict.fromkeys(needles, 0)


def test_short_keys(child: Child, tmp_path: Path, secret: bytes) -> None:
    """AES-128 goes through OpenSSL's heap: when a file is done, its key and the plaintext are gone from there."""
    raw = secrets.token_bytes(16)
    body = PROGRAM.format(length=16, more=USES["decrypt_file"])
    with waiting(child, body, *arguments(tmp_path, secret), feed=raw + secret) as (pid, slots, printed):
        derived = derived_parts(raw, bytes.fromhex(printed.strip()))
        needles = {
            **parts(secret),
            "key": raw,
            **{name: derived[name] for name in ("file_key", "pad_36_big", "pad_5c_big")},
        }
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


def test_control(child: Child, tmp_path: Path, secret: bytes) -> None:
    """The same search finds each of these forms where a program keeps it: a salt that the parent knows before."""
    raw, salt = secrets.token_bytes(32), secrets.token_bytes(24)
    needles = {**parts(secret), **key_parts(raw), **derived_parts(raw, salt)}
    more = "held.append(os.read(int(argument[0]), 4096))"
    body = PROGRAM.format(length=32, more=more)
    feed = raw + secret + b"".join(needles.values())
    with waiting(child, body, *arguments(tmp_path, secret), feed=feed) as (pid, slots, _):
        hits = scan(pid, slots_of_key(slots), **needles).hits
    assert [name for name, count in hits.items() if count == 0] == []


@pytest.mark.skipif(lib.zpy_has_aes() != 1, reason="needs a CPU with AES instructions")
def test_control_for_the_slot(child: Child, tmp_path: Path, secret: bytes) -> None:
    """The parent derives what the child did: it is in the slot of an open reader, where that can be read at all."""
    raw = secrets.token_bytes(32)
    body = SLOT_OF + PROGRAM.format(length=32, more=USES["open reader"])
    with waiting(child, body, *arguments(tmp_path, secret), feed=raw + secret) as (pid, slots, printed):
        derived = derived_parts(raw, bytes.fromhex(printed.split()[-1]))
        needles = {name: derived[name] for name in ("file_key", "file_round_3", "file_last_round", "base_nonce")}
        hits = scan(pid, slots_of_key(slots), **needles).hits
    assert [name for name, count in hits.items() if (count == 0) != (child.backend == "secretmem")] == []
