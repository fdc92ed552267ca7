"""What does PyNaCl's interface cost with its keys in locked memory?

Baseline: PyNaCl 1.6.2, in the same process under its own name. Unit: time for one call from Python.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from bench_import import process
from harness import Aim, Difference, Ratio, Repeats, facts, group, options, statement, write_section

from zeroizepy.nacl import public, secret, signing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from harness import Case

SIZES = {64: "64 B", 1024: "1 KiB", 1 << 20: "1 MiB"}
LARGE_BYTES = 1 << 20
SHORT = Aim(0.6)
"""SecretBox and Aead on short messages, time over PyNaCl's."""
NO_SLOWER = Aim(1.0)
GENERATING = Aim(1.2)
IMPORTING = Aim(0.0)
"""Milliseconds beyond PyNaCl's."""
INTRODUCTION = """\
Question: what does PyNaCl's interface cost with its keys in locked memory?
Unit: time for one call from Python; throughput in MB/s (10^6) of plaintext.

- Ours is `zeroizepy.nacl`, and PyNaCl is itself: both in one process, on the same keys and messages.
- Nonces are drawn by the call. Messages follow each other quickly, so that ours draws its nonces several at a time
  (LIMITATIONS.md), where PyNaCl makes a system call for each.
- Key location: ours in locked pages, made, used and wiped there; PyNaCl's in `bytes` on the heap.
- Where keys or boxes are made, the time has their end as well: ours is wiped when it is dropped.
- Checked before timing: each opens and verifies what the other made.
- Imports are whole processes; where PyNaCl is installed, as here, ours imports PyNaCl's exceptions to subclass them."""


def theirs(module: str) -> Any:
    """A module of PyNaCl's."""
    return import_module(f"nacl.{module}")


def pair(code: str, ours: dict[str, Any], peer: dict[str, Any], bytes_each: int = 0) -> list[Case]:
    """The same statement with our names and with PyNaCl's."""
    return [
        statement(f"ours: {code}", code, bytes_each, **ours),
        statement(f"PyNaCl: {code}", code, bytes_each, **peer),
    ]


def compare(title: str, cases: Sequence[Case], aim: Aim, repeats: Repeats) -> list[str]:
    """Measure a pair and hold the ratio against an aim."""
    return group(title, cases, [Ratio(cases[0].name, cases[1].name, aim)], repeats)


def boxes() -> dict[str, tuple[Any, Any]]:
    """Ours and PyNaCl's of each kind, under the same keys."""
    raw, other = os.urandom(32), os.urandom(32)
    ours, peer = public, theirs("public")
    peers_key = bytes(peer.PrivateKey(other).public_key)
    return {
        "SecretBox": (secret.SecretBox(raw), theirs("secret").SecretBox(raw)),
        "Aead": (secret.Aead(raw), theirs("secret").Aead(raw)),
        "Box": (
            ours.Box(ours.PrivateKey(raw), ours.PublicKey(peers_key)),
            peer.Box(peer.PrivateKey(raw), peer.PublicKey(peers_key)),
        ),
    }


def messages(repeats: Repeats) -> list[str]:
    """Encrypt and decrypt with each kind of box."""
    lines = []
    for kind, (own, peer) in boxes().items():
        for size, text in SIZES.items():
            message = os.urandom(size)
            assert peer.decrypt(bytes(own.encrypt(message))) == own.decrypt(peer.encrypt(message)) == message
            sealed = bytes(peer.encrypt(message))
            shown = size if size >= LARGE_BYTES else 0
            aim = NO_SLOWER if kind == "Box" or size >= LARGE_BYTES else SHORT
            names = {"message": message, "sealed": sealed}
            for verb, code in (("encrypt", "box.encrypt(message)"), ("decrypt", "box.decrypt(sealed)")):
                cases = pair(code, {"box": own, **names}, {"box": peer, **names}, shown)
                lines += compare(f"{kind}: {verb} {text}", cases, aim, repeats)
    return lines


def public_keys(repeats: Repeats) -> list[str]:
    """Make a box of two keys; seal and unseal."""
    raw, message = os.urandom(32), os.urandom(64)
    ours, peer = names_of(public, raw), names_of(theirs("public"), raw)
    sealed = peer["to"].encrypt(message)
    assert ours["box"].decrypt(sealed) == message == peer["box"].decrypt(ours["to"].encrypt(message))
    lines = []
    for title, code in (
        ("Make a Box of two keys", "Box(private, public)"),
        ("Seal 64 B", "to.encrypt(message)"),
        ("Unseal 64 B", "box.decrypt(sealed)"),
    ):
        more = {"message": message, "sealed": sealed}
        lines += compare(title, pair(code, {**ours, **more}, {**peer, **more}), NO_SLOWER, repeats)
    return lines


def names_of(module: Any, raw: bytes) -> dict[str, Any]:
    """What the statements on public keys use, out of one of the two."""
    private = module.PrivateKey(raw)
    return {
        "Box": module.Box,
        "private": private,
        "public": private.public_key,
        "to": module.SealedBox(private.public_key),
        "box": module.SealedBox(private),
    }


def signatures(repeats: Repeats) -> list[str]:
    """Sign, verify, and make keys."""
    raw, message = os.urandom(32), os.urandom(64)
    ours, peer = signing.SigningKey(raw), theirs("signing").SigningKey(raw)
    signed = bytes(peer.sign(message))
    assert bytes(ours.sign(message)) == signed
    assert ours.verify_key.verify(signed) == peer.verify_key.verify(signed) == message
    more = {"message": message, "signed": signed}
    own = {"key": ours, "verify_key": ours.verify_key, "SigningKey": signing.SigningKey, **more}
    other = {"key": peer, "verify_key": peer.verify_key, "SigningKey": theirs("signing").SigningKey, **more}
    lines = []
    for title, code, aim in (
        ("Sign 64 B", "key.sign(message)", NO_SLOWER),
        ("Verify 64 B", "verify_key.verify(signed)", NO_SLOWER),
        ("Make a signing key", "SigningKey.generate()", GENERATING),
    ):
        lines += compare(title, pair(code, own, other), aim, repeats)
    return lines


def imports(repeats: Repeats) -> list[str]:
    """Whole processes that import one module."""
    names = ("import zeroizepy.nacl.secret", "import nacl.secret")
    cases = [process(name, name) for name in names]
    return group("Import, whole processes", cases, [Difference(*names, IMPORTING)], repeats)


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    repeats = Repeats(3, 0.002) if chosen.quick else Repeats(31, 0.02)
    processes = Repeats(3 if chosen.quick else 61)
    lines = [INTRODUCTION, f"- repeats: {repeats}; of processes: {processes}", *facts(("PyNaCl",)), ""]
    lines += messages(repeats) + public_keys(repeats) + signatures(repeats) + imports(processes)
    write_section(chosen.results, "PyNaCl's interface", lines)


if __name__ == "__main__":
    main()
