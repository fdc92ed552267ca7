"""Boxes and signing keys of zeroizepy.nacl leave no keys, nothing that is made of them, and no plaintext behind."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from support.ciphers import hsalsa20
from test_residue import parts, scalar_parts, scan, signing_parts, waiting

from zeroizepy.nacl.public import Box, PrivateKey, PublicKey, SealedBox

if TYPE_CHECKING:
    from support.children import Child

IMPORTS = """
from zeroizepy.nacl.encoding import HexEncoder
from zeroizepy.nacl.public import Box, PrivateKey, PublicKey, SealedBox
from zeroizepy.nacl.signing import SigningKey
def deep(program, levels=100):
    if levels:
        next(map(lambda _: deep(program, levels - 1), [None]))
    else:
        exec(program, globals())
"""
# How the child comes by its private key, from 32 bytes in a cell.
SOURCES = {
    "secret": "key = PrivateKey(given)",
    "isolated": "key = PrivateKey(given, tier='isolated')",
    "sealed": "key = PrivateKey(given, tier='sealed')",
    "seed": "key = PrivateKey.from_seed(given)",
    "signing key": "signer = SigningKey(given); key = signer.to_curve25519_private_key(); slots.append(signer)",
}
PROGRAM = """
given, plain, slots = from_pipe(32), from_pipe(128), []
{source}
box = Box(key, PublicKey(argument[1].encode(), HexEncoder))
for _ in range(3):
    message = box.encrypt(plain)
opened = box.decrypt_secret(message)
received = SealedBox(key).decrypt_secret(bytes.fromhex(argument[2]))
assert plain.verify(opened) and plain.verify(received)
message = box.encrypt(plain)
again = Box(key, PublicKey(argument[1].encode(), HexEncoder))  # Last, since each message clears the stack, too.
slots += [given, plain, opened, received]
{end}
print(message.hex())
ready(*slots)
"""
ENDS = {"live": "slots += [key, box, again]", "wiped": "key.wipe(); box.wipe(); again.wipe()"}


def private_key(source: str, given: bytes) -> bytes:
    """The X25519 secret that each source gives."""
    if source not in ("seed", "signing key"):
        return given
    digest = hashlib.sha512(given).digest()[:32]
    return digest if source == "seed" else bytes([digest[0] & 248, *digest[1:31], digest[31] & 127 | 64])


def halves(found: dict[str, bytes]) -> dict[str, bytes]:
    """Each in two, since a copy may have lost its head."""
    return {f"{name}_{at}": data[at : at + 16] for name, data in found.items() for at in (0, 16)}


def key_parts(secret: bytes) -> dict[str, bytes]:
    """A secret as it was given, and as X25519 computes with it."""
    return {**halves({"secret": secret}), **scalar_parts(secret)}


def shared_parts(secret: bytes, public: bytes, nonce: bytes) -> dict[str, bytes]:
    """What is made of two keys: a point, NaCl's key, and that for one nonce."""
    point = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    shared = hsalsa20(point, bytes(16))
    return halves({"point": point, "shared": shared, "subkey": hsalsa20(shared, nonce[:16])})


def sealed_parts(secret: bytes, sealed: bytes) -> dict[str, bytes]:
    """The same for a sealed box, which begins with the public key of its sender; from the recipient's secret."""
    both = sealed[:32] + public_of(secret)
    found = shared_parts(secret, sealed[:32], hashlib.blake2b(both, digest_size=24).digest())
    return {f"sealed_{name}": part for name, part in found.items()}


def public_of(secret: bytes) -> bytes:
    """The X25519 public key."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def body_of(program: str) -> str:
    """A program that does its work deep down the stack, where nothing that comes later overwrites what is left."""
    work, told = program.split("print(", 1)
    return f"{IMPORTS}\ndeep({work!r})\nprint({told}"


@pytest.mark.parametrize(("source", "end"), [*((source, "live") for source in SOURCES), ("secret", "wiped")])
def test_boxes(child: Child, source: str, end: str) -> None:
    """The owner of a private key: nothing outside the slots, while key and box live and afterwards."""
    given, message, peer = secrets.token_bytes(32), secrets.token_urlsafe(96).encode(), secrets.token_bytes(32)
    secret = private_key(source, given)
    sealed = SealedBox(PublicKey(public_of(secret))).encrypt(message)
    body = body_of(PROGRAM.format(source=SOURCES[source], end=ENDS[end]))
    with waiting(child, body, public_of(peer).hex(), sealed.hex(), feed=given + message) as (pid, slots, printed):
        sent = bytes.fromhex(printed)
        needles = {**parts(message), **key_parts(secret), **shared_parts(secret, public_of(peer), sent[:24])}
        needles |= sealed_parts(secret, sealed) | halves({"given": given})
        needles |= signing_parts(given) if source == "signing key" else {}
        assert Box(PrivateKey(peer), PublicKey(public_of(secret))).decrypt(sent) == message
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


SENDER = """
plain = from_pipe(128)
box = SealedBox(PublicKey(argument[1].encode(), HexEncoder))
for _ in range(3):
    sealed = box.encrypt(plain)
print(sealed.hex())
ready(plain)
"""


def test_sender(child: Child) -> None:
    """Who seals a message keeps nothing by which it could be opened: neither what the keys share nor the message."""
    secret, message = secrets.token_bytes(32), secrets.token_urlsafe(96).encode()
    body = body_of(SENDER)
    with waiting(child, body, public_of(secret).hex(), feed=message) as (pid, slots, printed):
        sealed = bytes.fromhex(printed)
        needles = {**parts(message), **sealed_parts(secret, sealed)}
        assert SealedBox(PrivateKey(secret)).decrypt(sealed) == message
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


SIGNER = """
seed, plain = from_pipe(32), from_pipe(128)
key = SigningKey(seed{tier})
for _ in range(3):
    signed = key.sign(b"message")
key.verify_key.verify(signed)
slots = [seed, plain]
{end}
print(signed.hex())
ready(*slots)
"""


@pytest.mark.parametrize(
    ("tier", "end"),
    [("", "slots.append(key)"), ("", "key.wipe()"), (", tier='sealed'", "slots.append(key)")],
    ids=["live", "wiped", "sealed"],
)
def test_signing(child: Child, tier: str, end: str) -> None:
    """Neither the seed nor the scalar, in any form that is computed with, outside the slots."""
    seed = secrets.token_bytes(32)
    body = body_of(SIGNER.format(tier=tier, end=end))
    with waiting(child, body, feed=seed + bytes(128)) as (pid, slots, printed):
        assert bytes.fromhex(printed) == Ed25519PrivateKey.from_private_bytes(seed).sign(b"message") + b"message"
        needles = signing_parts(seed)
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


def test_control(child: Child) -> None:
    """The same search finds each of these forms where a program keeps it."""
    seed, secret, peer = (secrets.token_bytes(32) for _ in range(3))
    sealed = SealedBox(PublicKey(public_of(secret))).encrypt(b"message")
    needles = {**signing_parts(seed), **key_parts(secret), **shared_parts(secret, public_of(peer), bytes(24))}
    needles |= sealed_parts(secret, sealed)
    keep = "slots += [key]; held.append(os.read(int(argument[0]), 4096))"
    body = body_of(SIGNER.format(tier="", end=keep))
    with waiting(child, body, feed=seed + bytes(128) + b"".join(needles.values())) as (pid, slots, _):
        found = scan(pid, slots, **needles).hits
    assert min(found.values()) >= 1


def test_control_with_pynacl(child: Child) -> None:
    """PyNaCl's own classes leave the secret, and what both keys share, in the same program."""
    pytest.importorskip("nacl", reason="PyNaCl is not installed")
    secret, peer = secrets.token_bytes(32), secrets.token_bytes(32)
    body = """
    from nacl.public import Box, PrivateKey, PublicKey
    key = PrivateKey(os.read(int(argument[0]), 32))
    box = Box(key, PublicKey(bytes.fromhex(argument[1])))
    ready()
    """
    with waiting(child, body, public_of(peer).hex(), feed=secret) as (pid, slots, _):
        found = scan(pid, slots, **halves({"secret": secret}), **shared_parts(secret, public_of(peer), bytes(24))).hits
    assert min(found[name] for name in ("secret_0", "secret_16", "shared_0", "shared_16")) >= 1
