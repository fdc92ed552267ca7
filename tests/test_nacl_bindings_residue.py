"""zeroizepy.nacl.bindings leave neither secrets nor what is made of them outside the slots."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import pytest
from support.ciphers import hchacha20
from test_residue import key_parts, parts, scan, waiting

from zeroizepy._lib import lib

if TYPE_CHECKING:
    from support.children import Child

theirs = pytest.importorskip("nacl.bindings", reason="PyNaCl is not installed")

OTHER = theirs.crypto_scalarmult_base(b"\x02" * 32)
CIPHERS = ["chacha20poly1305_ietf", "chacha20poly1305", "xchacha20poly1305_ietf", "aegis256", "aegis128l", "aes256gcm"]

# Each gets a secret of 32 bytes, and another of 128. INTO is SecureMemory, or None in the control, which holds what it
# gets.
PROGRAM = f"""
from zeroizepy.nacl import bindings as nacl
secret, message = from_pipe(32), from_pipe(128)
INTO, OTHER, opened = SecureMemory, bytes.fromhex("{OTHER.hex()}"), []
"""
WORK = {
    "kx": """
        public, key = nacl.crypto_kx_seed_keypair(secret, into=INTO)
        client = nacl.crypto_kx_client_session_keys(public, key, OTHER, into=INTO)
        server = nacl.crypto_kx_server_session_keys(public, key, OTHER, into=INTO)
        opened += [key, *client, *server]
    """,
    "scalarmult": """
        opened += [nacl.crypto_scalarmult(secret, OTHER, into=INTO), nacl.crypto_box_beforenm(OTHER, secret, into=INTO)]
        sealed = nacl.crypto_box_easy(message, bytes(24), OTHER, secret)
        opened += [nacl.crypto_box_open_easy(sealed, bytes(24), OTHER, secret, into=INTO)]
        anonymous = nacl.crypto_box_seal(message, nacl.crypto_scalarmult_base(secret))
        opened += [nacl.crypto_box_seal_open(anonymous, nacl.crypto_scalarmult_base(secret), secret, into=INTO)]
    """,
    "pairs": """
        opened += [nacl.crypto_box_seed_keypair(secret, into=INTO)[1]]
        opened += [nacl.crypto_sign_seed_keypair(secret, into=INTO)[1]]
        opened += [nacl.crypto_sign_ed25519_sk_to_curve25519(opened[1], into=INTO)]
        opened += [nacl.crypto_sign_ed25519_sk_to_seed(opened[1], into=INTO)]
        nacl.crypto_sign(b"text", opened[1])
    """,
    "stream": """
        sender, receiver = (nacl.crypto_secretstream_xchacha20poly1305_state() for _ in range(2))
        header = nacl.crypto_secretstream_xchacha20poly1305_init_push(sender, secret)
        nacl.crypto_secretstream_xchacha20poly1305_init_pull(receiver, header, secret)
        for _ in range(3):
            sealed = nacl.crypto_secretstream_xchacha20poly1305_push(sender, message)
            opened += [nacl.crypto_secretstream_xchacha20poly1305_pull(receiver, sealed, into=INTO)[0]]
        print(header.hex())
        states = [sender, receiver]
    """,
    **{
        name: f"""
        key = secret if "{name}" != "aegis128l" else SecureMemory(16)
        if key is not secret:
            with secret.borrow() as view:
                key.write(view[:16])
                del view
        nonce = bytes(nacl.crypto_aead_{name}_NPUBBYTES)
        sealed = nacl.crypto_aead_{name}_encrypt(message, None, nonce, key)
        opened += [nacl.crypto_aead_{name}_decrypt(sealed, None, nonce, key, into=INTO), key]
        try:
            nacl.crypto_aead_{name}_decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), None, nonce, key, into=INTO)
        except nacl.crypto_aead.exc.CryptoError:
            pass
    """
        for name in CIPHERS
    },
}
END = """
slots = [it for it in opened if not isinstance(it, bytes)]
held += [it for it in opened if isinstance(it, bytes)]
ready(secret, message, *slots, *globals().get("states", []))
"""


def made_of(name: str, secret: bytes, message: bytes, printed: str) -> dict[str, bytes]:
    """What the work makes of its secrets, in parts of 16 bytes; computed by others."""
    whole: dict[str, bytes] = {"secret": secret}
    if name == "kx":
        public, whole["key"] = theirs.crypto_kx_seed_keypair(secret)
        whole["shared"] = theirs.crypto_scalarmult(whole["key"], OTHER)
        whole["receive"], whole["send"] = theirs.crypto_kx_client_session_keys(public, whole["key"], OTHER)
    elif name == "scalarmult":
        whole["shared"] = theirs.crypto_scalarmult(secret, OTHER)
        whole["beforenm"] = theirs.crypto_box_beforenm(OTHER, secret)
    elif name == "pairs":
        whole["hash"] = hashlib.sha512(secret).digest()
        whole["scalar"] = theirs.crypto_sign_ed25519_sk_to_curve25519(theirs.crypto_sign_seed_keypair(secret)[1])
    elif name == "stream":
        whole["subkey"] = hchacha20(secret, bytes.fromhex(printed.strip())[:16])
    elif name == "xchacha20poly1305_ietf":
        whole["subkey"] = hchacha20(secret, bytes(16))
    found = {
        f"{what}_{at}": data[at : at + 16] for what, data in whole.items() for at in range(0, len(data) // 16 * 16, 16)
    }
    if name == "aegis128l":
        del found["secret_16"]
    if name == "aes256gcm":
        found |= key_parts(secret)
    return {**found, **({} if name in ("kx", "pairs") else parts(message))}


NAMES = pytest.mark.parametrize("name", WORK)


def without(name: str) -> None:
    """Skip what this CPU cannot do, or this libsodium."""
    if name == "aes256gcm" and not lib.zpy_sodium_has_cipher(lib.ZPY_SODIUM_AES256GCM):
        pytest.skip("this CPU has no AES instructions")
    if name.startswith("aegis") and not lib.zpy_sodium_has_cipher(lib.ZPY_SODIUM_AEGIS256):
        pytest.skip("this libsodium has no AEGIS")


@NAMES
def test_nothing_is_left(child: Child, name: str) -> None:
    """Secrets stay where they were lent from, and results where they were wanted; states in between are gone."""
    without(name)
    secret, message = secrets.token_bytes(32), secrets.token_urlsafe(96).encode()
    with waiting(child, PROGRAM + WORK[name].replace("\n        ", "\n") + END, feed=secret + message) as it:
        pid, slots, printed = it
        needles = made_of(name, secret, message, printed)
        assert scan(pid, slots, **needles).hits == dict.fromkeys(needles, 0)


CONTROLS = {
    "kx": "held += [nacl.crypto_scalarmult(key, OTHER)]",
    "pairs": "import hashlib; held += [hashlib.sha512(secret.reveal_bytes()).digest()]",
    "stream": "from support.ciphers import hchacha20; held += [hchacha20(secret.reveal_bytes(), header[:16])]",
    "xchacha20poly1305_ietf": """
from support.ciphers import hchacha20
held += [hchacha20(secret.reveal_bytes(), bytes(16))]""",
}


@NAMES
def test_control(child: Child, name: str) -> None:
    """The same search finds the secret and all that is made of it in a program that holds these as bytes."""
    without(name)
    secret, message = secrets.token_bytes(32), secrets.token_urlsafe(96).encode()
    work = WORK[name].replace("\n        ", "\n") + f"\nheld += [secret.reveal_bytes()]\n{CONTROLS.get(name, '')}\n"
    with waiting(child, PROGRAM + "INTO = None\n" + work + END, feed=secret + message) as (pid, slots, printed):
        needles = made_of(name, secret, message, printed)
        found = scan(pid, slots, **needles)
    rounds = {each for each in needles if each.startswith(("round", "last_round", "ghash", "h_", "hash_key"))}
    missed = {each for each in needles if each not in rounds and found[each] == 0}
    assert missed == set()
