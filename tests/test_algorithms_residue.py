"""Messages of every algorithm leave neither key nor plaintext nor what a cipher makes of the key in the process."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from support.ciphers import aegis256, hchacha20, xchacha20
from test_residue import parts, scan, waiting

from zeroizepy._lib import lib

if TYPE_CHECKING:
    from support.children import Child

PROGRAM = """
key_cell = from_pipe(32)
key = CryptoKey(key_cell, algorithm="{name}")
plain = from_pipe(128)
for _ in range(3):
    ct = encrypt_data(plain, key, b"extra")
opened = decrypt_secret(ct, key, b"extra")
assert plain.verify(opened)
buffer = bytearray(128)
assert decrypt_into(ct, key, buffer, b"extra") == 128 and plain.verify(buffer)
secure_clear(buffer)
decrypt_data(encrypt_data(bytes(100000), key), key)
try:
    decrypt_secret(CipherText(ct.nonce, ct.ciphertext[:-1] + b"x"), key)
except DecryptionError:
    pass
ct = encrypt_data(plain, key, b"extra")
{more}
print(ct.nonce.hex(), ct.ciphertext.hex())
ready(key_cell, plain, opened{slots})
"""
without_aegis = pytest.mark.skipif(
    not lib.zpy_key_is_supported(lib.ZPY_AEGIS_256), reason="this libsodium has no AEGIS-256"
)
NAMES = pytest.mark.parametrize("name", ["XChaCha20-Poly1305", pytest.param("AEGIS-256", marks=without_aegis)])


def made_of(name: str, key: bytes, nonce: bytes, sealed: bytes, message: bytes) -> dict[str, bytes]:
    """What the cipher makes of the key for the last message, once the message proves that this is right."""
    if name == "AEGIS-256":
        expected, state = aegis256(key, nonce, message, b"extra")
        mixed = bytes(left ^ right for left, right in zip(key, nonce, strict=True))
        found = {f"state_{index}": block for index, block in enumerate(state)}
        found |= {"mixed": mixed[:16], "mixed_tail": mixed[16:]}
    else:
        cipher, short_nonce = xchacha20(key, nonce)
        expected = cipher.encrypt(short_nonce, message, b"extra")
        subkey = hchacha20(key, nonce[:16])
        found = {"subkey": subkey[:16], "subkey_tail": subkey[16:]}
    assert sealed == expected
    return {**found, "key": key[:16], "key_tail": key[16:]}


@NAMES
@pytest.mark.parametrize("end", ["live", "destroyed"])
def test_messages(child: Child, name: str, end: str) -> None:
    """Nothing outside the slots, while the key lives and afterwards."""
    key, message = secrets.token_bytes(32), secrets.token_urlsafe(96).encode()
    more, slots_text = ("key.destroy()", "") if end == "destroyed" else ("", ", key")
    body = PROGRAM.format(name=name, more=more, slots=slots_text)
    with waiting(child, body, feed=key + message) as (pid, slots, printed):
        nonce, sealed = (bytes.fromhex(part) for part in printed.split())
        needles = {**parts(message), **made_of(name, key, nonce, sealed, message)}
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


@NAMES
def test_control(child: Child, name: str) -> None:
    """The same search finds the key, and what is made of it, in a program that keeps them."""
    key, message = secrets.token_bytes(32), secrets.token_urlsafe(96).encode()
    more = """
held.append(key.get_bytes())
from support.ciphers import aegis256, hchacha20
held.append(aegis256(key.get_bytes(), ct.nonce, plain.reveal_bytes(), b"extra")[1] if len(ct.nonce) == 32
            else hchacha20(key.get_bytes(), ct.nonce[:16]))
"""
    body = PROGRAM.format(name=name, more=more, slots=", key")
    with waiting(child, body, feed=key + message) as (pid, slots, printed):
        nonce, sealed = (bytes.fromhex(part) for part in printed.split())
        made = made_of(name, key, nonce, sealed, message)
        found = scan(pid, slots, **made)
    assert found["key"] >= 1
    assert all(found[each] >= 1 for each in made if each.startswith(("state", "subkey")))
