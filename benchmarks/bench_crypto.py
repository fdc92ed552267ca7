"""What does a message cost when its key stays in locked memory?

Baselines: upstream zeroizepy, `cryptography`'s AESGCM with a nonce from os.urandom, PyNaCl's SecretBox and its bindings
of XChaCha20-Poly1305 and AEGIS-256, and libsodium itself, called from C. Unit: time for one message, and bytes of
plaintext a second.
"""

from __future__ import annotations

import os
import time
from importlib import import_module
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from harness import Aim, Case, Ratio, Repeats, facts, group, options, statement, write_section
from native import Native
from upstream import Upstream

from zeroizepy import CipherText, CryptoKey, cryptographic_erase_key, decrypt_data, encrypt_data
from zeroizepy.keys.algorithms import AES_256, ALGORITHMS

if TYPE_CHECKING:
    from typing import Any

SIZES = {64: "64 B", 1024: "1 KiB", 65536: "64 KiB", 1 << 20: "1 MiB"}
HUGE_BYTES = 64 << 20
LARGE_BYTES = 65536
OTHER_SIZES = {64: "64 B", 16384: "16 KiB", 65536: "64 KiB", 1 << 20: "1 MiB"}
ENCRYPTING = {size: Aim(1.0 if size < LARGE_BYTES else 2.0) for size in (*SIZES, HUGE_BYTES)}
"""Time over AESGCM's, its nonce included: on large messages libsodium's AES-GCM without VAES is the limit."""
FRESH = Aim(0.7)
OTHER_LARGE_BYTES = 16384
OTHERS = Aim(1.1)
"""Time over that of the same C function called from C, from 16 KiB up."""
IN_C = "libsodium: the same in C"
ERASING = Aim(1.1)
"""Time to erase a key that encrypted over that of one that did not."""
WARM = 32
"""Keys that are erased before the time of others is taken."""
INTRODUCTION = """\
Question: what does a message cost when its key stays in locked memory?
Unit: time for one message, mostly the cost of the call at 64 B; from 64 KiB also bytes of plaintext a second (MB =
10^6), mostly the speed of the cipher at 1 MiB.

- Ours, upstream and `cryptography` do AES-256-GCM under a fresh random nonce; SecretBox does XSalsa20-Poly1305.
- PyNaCl's bindings of XChaCha20-Poly1305 and AEGIS-256 get a nonce that is ready, and the key as bytes.
- "In C": libsodium's function in a loop, into the same buffer each time, under a nonce that is ready. No layer above it
  can be faster: it makes no object, and Python has no way to make one without zeroing it first.
- Here messages follow each other quickly, so that ours draws its nonces several at a time (LIMITATIONS.md). A lone
  message takes one system call more.
- Key location: ours in locked pages; upstream fetches it as bytes for each message; AESGCM and SecretBox keep it on the
  heap, and AESGCM has its key schedule ready there.
- Checked before timing: ours, upstream and AESGCM open each other's messages; SecretBox opens its own."""


def peer_message(peer: Upstream, message: bytes, key: bytes) -> None:
    """Let upstream encrypt the message under the key; the names stay bound there."""
    peer.run(f"key = CryptoKey(bytes.fromhex('{key.hex()}'))\nmessage = bytes.fromhex('{message.hex()}')")
    peer.run("ct = encrypt_data(message, key)\nnonce, sealed = ct\nproof = decrypt_data(ct, key)")
    assert peer.fetch("proof") == message


def check_same_work(peer: Upstream, message: bytes, key: CryptoKey, aes: AESGCM, box: Any) -> None:
    """What one seals, the others open."""
    own = encrypt_data(message, key)
    assert aes.decrypt(own.nonce, own.ciphertext, None) == message
    assert decrypt_data(CipherText(peer.fetch("nonce"), peer.fetch("sealed")), key) == message
    nonce = os.urandom(12)
    assert decrypt_data(CipherText(nonce, aes.encrypt(nonce, message, None)), key) == message
    assert box.decrypt(box.encrypt(message)) == message


def one_size(native: Native, peer: Upstream, size: int, repeats: Repeats) -> list[str]:
    """Encrypt and decrypt messages of one size."""
    message, raw_key = os.urandom(size), os.urandom(32)
    key, aes, box = CryptoKey(raw_key), AESGCM(raw_key), import_module("nacl.secret").SecretBox(raw_key)
    peer_message(peer, message, raw_key)
    check_same_work(peer, message, key, aes, box)
    shown = size if size >= LARGE_BYTES else 0
    ct = encrypt_data(message, key)
    ours = {"encrypt_data": encrypt_data, "decrypt_data": decrypt_data, "key": key, "message": message, "ct": ct}
    theirs = {"aes": aes, "urandom": os.urandom, "message": message, "nonce": ct.nonce, "sealed": ct.ciphertext}
    salsa = {"box": box, "message": message, "sealed": box.encrypt(message)}
    encrypting = [
        statement("ours: encrypt_data", "encrypt_data(message, key)", shown, **ours),
        peer.statement("upstream: encrypt_data", "encrypt_data(message, key)", shown),
        statement("cryptography: AESGCM.encrypt", "aes.encrypt(urandom(12), message, None)", shown, **theirs),
        statement("PyNaCl: SecretBox.encrypt", "box.encrypt(message)", shown, **salsa),
    ]
    decrypting = [
        statement("ours: decrypt_data", "decrypt_data(ct, key)", shown, **ours),
        peer.statement("upstream: decrypt_data", "decrypt_data(ct, key)", shown),
        statement("cryptography: AESGCM.decrypt", "aes.decrypt(nonce, sealed, None)", shown, **theirs),
        statement("PyNaCl: SecretBox.decrypt", "box.decrypt(sealed)", shown, **salsa),
    ]
    aims = {"cryptography: AESGCM.encrypt": ENCRYPTING[size]}
    if size == min(SIZES):
        aims["upstream: encrypt_data"] = Aim(0.4)
    if size >= LARGE_BYTES:
        aims["cryptography: AESGCM.decrypt"] = ENCRYPTING[size]
    lines = []
    for verb, cases in (("Encrypt", encrypting), ("Decrypt", decrypting)):
        first, *others = [case.name for case in cases]
        wanted = [Ratio(first, name, aims.get(name)) for name in others]
        if verb == "Encrypt" and size >= LARGE_BYTES:
            cases.append(native.seal(IN_C, AES_256.core, message, size))
            wanted += [Ratio(first, IN_C), Ratio(IN_C, "cryptography: AESGCM.encrypt")]
        lines += group(f"{verb} {SIZES[size]}", cases, wanted, repeats)
    return lines


def huge(repeats: Repeats) -> list[str]:
    """One message of 64 MiB, as one call."""
    message, raw = os.urandom(HUGE_BYTES), os.urandom(32)
    names = {"message": message, "key": CryptoKey(raw), "aes": AESGCM(raw), "urandom": os.urandom}
    cases = [
        statement("ours: encrypt_data", "encrypt_data(message, key)", HUGE_BYTES, encrypt_data=encrypt_data, **names),
        statement("cryptography: AESGCM.encrypt", "aes.encrypt(urandom(12), message, None)", HUGE_BYTES, **names),
    ]
    return group("Encrypt 64 MiB", cases, [Ratio(cases[0].name, cases[1].name, ENCRYPTING[HUGE_BYTES])], repeats)


def fresh_keys(repeats: Repeats) -> list[str]:
    """A key that encrypts one message and goes."""
    names = {"message": os.urandom(64), "raw": os.urandom(32), "encrypt_data": encrypt_data, "CryptoKey": CryptoKey}
    names |= {"AESGCM": AESGCM, "urandom": os.urandom}
    pairs = {
        "of given bytes": ("encrypt_data(message, CryptoKey(raw))", "AESGCM(raw).encrypt(urandom(12), message, None)"),
        "drawn": (
            "encrypt_data(message, CryptoKey.generate())",
            "AESGCM(AESGCM.generate_key(256)).encrypt(urandom(12), message, None)",
        ),
    }
    lines = []
    for title, (own, other) in pairs.items():
        cases = [statement("ours: CryptoKey", own, **names), statement("cryptography: AESGCM", other, **names)]
        wanted = [Ratio("ours: CryptoKey", "cryptography: AESGCM", FRESH)]
        lines += group(f"Fresh key {title}, and one message of 64 B", cases, wanted, repeats)
    return lines


def other_algorithms(native: Native, repeats: Repeats) -> list[str]:
    """XChaCha20-Poly1305 and AEGIS-256 beside the same C functions, called from C and through PyNaCl's bindings."""
    nacl = import_module("nacl.bindings")
    lines = []
    for name, function in (("XChaCha20-Poly1305", "xchacha20poly1305_ietf"), ("AEGIS-256", "aegis256")):
        raw = os.urandom(32)
        key = CryptoKey(raw, algorithm=name)
        seal = getattr(nacl, f"crypto_aead_{function}_encrypt")
        for size, text in OTHER_SIZES.items():
            message = os.urandom(size)
            ct = encrypt_data(message, key)
            assert ct.ciphertext == seal(message, None, ct.nonce, raw)
            shown = size if size >= OTHER_LARGE_BYTES else 0
            names = {"message": message, "key": key, "raw": raw, "nonce": ct.nonce, "seal": seal}
            cases = [
                statement(
                    "ours: encrypt_data", "encrypt_data(message, key)", shown, encrypt_data=encrypt_data, **names
                ),
                native.seal(IN_C, ALGORITHMS[name].core, message, shown),
                statement("PyNaCl: binding", "seal(message, None, nonce, raw)", shown, **names),
            ]
            aim = OTHERS if size >= OTHER_LARGE_BYTES else None
            wanted = [Ratio(cases[0].name, IN_C, aim), Ratio(cases[0].name, cases[2].name)]
            lines += group(f"{name}: encrypt {text}", cases, wanted, repeats)
    return lines


def erasing_after(name: str, messages: int, size: int, *, by_others: bool) -> Case:
    """Erase keys; each, or another key in its place, encrypted so many messages before. Only the erasing is timed."""
    message = os.urandom(size)

    def batch(count: int) -> float:
        keys = [CryptoKey.generate() for _ in range(count)]
        users = [CryptoKey.generate() for _ in keys] if by_others else keys
        for key in users:
            for _ in range(messages):
                encrypt_data(message, key)
        for _ in range(WARM):  # The messages put the code of erasing out of the processor's caches.
            cryptographic_erase_key(CryptoKey.generate())
        start = time.perf_counter()
        for key in keys:
            cryptographic_erase_key(key)
        return time.perf_counter() - start

    return Case(name, batch)


def erasing(repeats: Repeats) -> list[str]:
    """Whether erasing a key takes longer the more it encrypted. The control does the same work with another key."""
    lines = []
    for text, messages, size in (("1,000 messages of 64 B", 1000, 64), ("a message of 4 MiB", 1, 4 << 20)):
        used, control = f"it encrypted {text}", "another key did"
        cases = [
            erasing_after(used, messages, size, by_others=False),
            erasing_after(control, messages, size, by_others=True),
        ]
        lines += group(f"Erase a key, with its receipt, after {text}", cases, [Ratio(used, control, ERASING)], repeats)
    return lines


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    repeats = Repeats(3, 0.002) if chosen.quick else Repeats(31, 0.02)
    lines = [INTRODUCTION, f"- repeats: {repeats}", *facts(("cryptography", "PyNaCl")), ""]
    with CryptoKey.generate() as key:
        assert key.protection.schedule_locked, "this CPU has no AES instructions: nothing to measure"
    native = Native()
    with Upstream() as peer:
        peer.run("from zeroizepy.crypto import CryptoKey, decrypt_data, encrypt_data")
        for size in SIZES:
            lines += one_size(native, peer, size, repeats)
    lines += huge(repeats)
    lines += fresh_keys(repeats)
    lines += other_algorithms(native, repeats)
    lines += erasing(repeats)
    write_section(chosen.results, "Messages", lines)


if __name__ == "__main__":
    main()
