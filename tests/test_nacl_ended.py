"""Secrets that ended meanwhile take along what was made of them, perhaps of zeros; and results that would be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.pynacl import Ending

from zeroizepy import SecureMemory, SecureMemoryClosed
from zeroizepy.nacl import bindings
from zeroizepy.nacl.public import PrivateKey
from zeroizepy.nacl.secret import Aead, SecretBox
from zeroizepy.nacl.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = bytes(range(32))
PUBLIC = bindings.crypto_scalarmult_base(SECRET)


def ending() -> Ending:
    """A secret that ends while it is used."""
    return Ending.from_bytes(SECRET)


INTO: dict[str, tuple[int, Callable[[Any], object]]] = {
    "box pair": (32, lambda into: bindings.crypto_box_seed_keypair(ending(), into=into)),
    "kx pair": (32, lambda into: bindings.crypto_kx_seed_keypair(ending(), into=into)),
    "sign pair": (64, lambda into: bindings.crypto_sign_seed_keypair(ending(), into=into)),
    "shared": (32, lambda into: bindings.crypto_box_beforenm(PUBLIC, ending(), into=into)),
    "session keys": (
        32,
        lambda into: bindings.crypto_kx_client_session_keys(PUBLIC, ending(), PUBLIC, into=(into, SecureMemory)),
    ),
    "random": (32, lambda into: bindings.randombytes_buf_deterministic(32, ending(), into=into)),
}


@pytest.mark.parametrize("name", INTO)
def test_results_in_memory(name: str) -> None:
    """Memory of the caller's is closed with what was made in it, also where it is one of two results."""
    size, make = INTO[name]
    into = SecureMemory(size)
    with pytest.raises(SecureMemoryClosed):
        make(into)
    assert into.closed


@pytest.mark.parametrize("kind", [SecretBox, Aead, PrivateKey, SigningKey])
def test_keys_that_are_made_again(kind: Callable[[Any], Any]) -> None:
    """An object that is initialised again, with a secret that ends, has no key."""
    key = kind(SECRET)
    with pytest.raises(SecureMemoryClosed):
        key.__init__(ending())
    assert key.wiped


def test_streams() -> None:
    """A stream that was begun under such a key goes on neither way."""
    sender, receiver = (bindings.crypto_secretstream_xchacha20poly1305_state() for _ in range(2))
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(sender, SECRET)
    with pytest.raises(SecureMemoryClosed):
        bindings.crypto_secretstream_xchacha20poly1305_init_push(sender, ending())
    with pytest.raises(SecureMemoryClosed):
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(receiver, header, ending())
    assert sender.wiped
    assert receiver.wiped


def test_two_keys_need_two_places() -> None:
    """One memory for both of a session's keys is refused: both would be the same, and one lost."""
    into = SecureMemory(32)
    with pytest.raises(ValueError, match="into must be two objects"):
        bindings.crypto_kx_client_session_keys(PUBLIC, SECRET, PUBLIC, into=(into, into))
    assert into.get_bytes() == bytes(32)
