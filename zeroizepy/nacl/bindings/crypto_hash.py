"""SHA-256 and SHA-512 by PyNaCl's names; what is hashed may be secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants

from ._shared import Need, call, check

if TYPE_CHECKING:
    from zeroizepy.nacl._held import Secret

crypto_hash_sha256_BYTES, crypto_hash_sha512_BYTES = constants("crypto_hash", "sha256_BYTES", "sha512_BYTES")
crypto_hash_BYTES = crypto_hash_sha512_BYTES

_MESSAGE = Need((exc.TypeError, "the message must be bytes-like, a cell or secure memory"))


def _sha2(message: Secret, size: int) -> bytes:
    digest = bytes(size)  # Filled before anybody else has seen it.

    def run(source: Any) -> int:
        return int(lib.zpy_hash_sha2(source, len(source), digest, size))

    check(call(run, (_MESSAGE, message)))
    return digest


@careful
def crypto_hash_sha256(message: Secret) -> bytes:
    """SHA-256 of a message: 32 bytes."""
    return _sha2(message, crypto_hash_sha256_BYTES)


@careful
def crypto_hash_sha512(message: Secret) -> bytes:
    """SHA-512 of a message: 64 bytes."""
    return _sha2(message, crypto_hash_sha512_BYTES)


crypto_hash = crypto_hash_sha512
