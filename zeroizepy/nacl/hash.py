"""Hashes in one call, by PyNaCl's names: SHA-2, BLAKE2b and SipHash, under keys that are used where they are."""

from __future__ import annotations

from zeroizepy.careful import careful

from .bindings.crypto_generichash import (
    crypto_generichash_BYTES,
    crypto_generichash_BYTES_MAX,
    crypto_generichash_BYTES_MIN,
    crypto_generichash_KEYBYTES,
    crypto_generichash_KEYBYTES_MAX,
    crypto_generichash_KEYBYTES_MIN,
    crypto_generichash_PERSONALBYTES,
    crypto_generichash_SALTBYTES,
    generichash_blake2b_salt_personal,
)
from .bindings.crypto_hash import crypto_hash_sha256, crypto_hash_sha512
from .bindings.crypto_shorthash import BYTES as SIPHASH_BYTES
from .bindings.crypto_shorthash import KEYBYTES as SIPHASH_KEYBYTES
from .bindings.crypto_shorthash import XBYTES as SIPHASHX_BYTES
from .bindings.crypto_shorthash import XKEYBYTES as SIPHASHX_KEYBYTES
from .bindings.crypto_shorthash import (
    crypto_shorthash_siphash24,
    crypto_shorthash_siphashx24,
    has_crypto_shorthash_siphashx24,
)
from .encoding import HexEncoder

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._held import Secret
    from .encoding import Encoder

__all__ = [
    "BLAKE2B_BYTES",
    "BLAKE2B_BYTES_MAX",
    "BLAKE2B_BYTES_MIN",
    "BLAKE2B_KEYBYTES",
    "BLAKE2B_KEYBYTES_MAX",
    "BLAKE2B_KEYBYTES_MIN",
    "BLAKE2B_PERSONALBYTES",
    "BLAKE2B_SALTBYTES",
    "SIPHASHX_AVAILABLE",
    "SIPHASHX_BYTES",
    "SIPHASHX_KEYBYTES",
    "SIPHASH_BYTES",
    "SIPHASH_KEYBYTES",
    "blake2b",
    "generichash",
    "sha256",
    "sha512",
    "shorthash",
    "siphash24",
    "siphashx24",
]

BLAKE2B_BYTES = crypto_generichash_BYTES
"""What `blake2b` gives unless asked for another size."""
BLAKE2B_BYTES_MIN = crypto_generichash_BYTES_MIN
"""The least that libsodium advises; less is taken, down to 1."""
BLAKE2B_BYTES_MAX = crypto_generichash_BYTES_MAX
BLAKE2B_KEYBYTES = crypto_generichash_KEYBYTES
BLAKE2B_KEYBYTES_MIN = crypto_generichash_KEYBYTES_MIN
"""The least that libsodium advises; less is taken."""
BLAKE2B_KEYBYTES_MAX = crypto_generichash_KEYBYTES_MAX
BLAKE2B_SALTBYTES = crypto_generichash_SALTBYTES
"""The longest salt."""
BLAKE2B_PERSONALBYTES = crypto_generichash_PERSONALBYTES
"""The longest personalization."""
SIPHASHX_AVAILABLE = has_crypto_shorthash_siphashx24
"""Whether there is `siphashx24`, which a reduced libsodium lacks."""


@careful
def sha256(message: Secret, encoder: Encoder = HexEncoder) -> bytes:
    """SHA-256 of a message, encoded; the message is bytes-like, or a cell or secure memory, which is not copied."""
    return encoder.encode(crypto_hash_sha256(message))


@careful
def sha512(message: Secret, encoder: Encoder = HexEncoder) -> bytes:
    """SHA-512 of a message, encoded; else as `sha256`."""
    return encoder.encode(crypto_hash_sha512(message))


@careful
def blake2b(
    data: Secret,
    digest_size: int = BLAKE2B_BYTES,
    key: Secret = b"",
    salt: Buffer = b"",
    person: Buffer = b"",
    encoder: Encoder = HexEncoder,
) -> bytes:
    """BLAKE2b of a message, encoded.

    Args:
        data: bytes-like, or a cell or secure memory, which is then not copied.
        digest_size: 1 to 64 bytes.
        key: Up to 64 bytes; as `data`, or a key.
        salt, person: Up to 16 bytes each; zeros follow.
        encoder: What to encode the result with.

    Raises:
        TypeError, ValueError, RuntimeError: A wrong argument.
        CellWipedError, SecureMemoryClosed: The key or the message ended meanwhile.
    """
    return encoder.encode(generichash_blake2b_salt_personal(data, digest_size, key, salt, person))


generichash = blake2b


@careful
def siphash24(message: Secret, key: Secret = b"", encoder: Encoder = HexEncoder) -> bytes:
    """SipHash-2-4 of a message under a key of 16 bytes: 8 bytes, encoded.

    Raises:
        TypeError, ValueError: Not bytes-like; a key of another length.
        CellWipedError, SecureMemoryClosed: The key or the message ended meanwhile.
    """
    return encoder.encode(crypto_shorthash_siphash24(message, key))


shorthash = siphash24


@careful
def siphashx24(message: Secret, key: Secret = b"", encoder: Encoder = HexEncoder) -> bytes:
    """The same with 16 bytes.

    Raises:
        UnavailableError: A reduced libsodium. Else as `siphash24`.
    """
    return encoder.encode(crypto_shorthash_siphashx24(message, key))
