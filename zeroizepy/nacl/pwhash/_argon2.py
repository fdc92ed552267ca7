"""What Argon2i and Argon2id have in common."""

from __future__ import annotations

from zeroizepy.nacl.bindings._shared import careful
from zeroizepy.nacl.bindings.crypto_pwhash import (
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2I13,
    crypto_pwhash_ALG_ARGON2ID13,
    crypto_pwhash_ALG_DEFAULT,
    crypto_pwhash_BYTES_MAX,
    crypto_pwhash_BYTES_MIN,
    crypto_pwhash_PASSWD_MAX,
    crypto_pwhash_PASSWD_MIN,
    crypto_pwhash_SALTBYTES,
    crypto_pwhash_str_verify,
    crypto_pwhash_STRBYTES,
)

from ._encoded import encoded

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into
    from zeroizepy.nacl.encoding import Encoder

PWHASH_SIZE = crypto_pwhash_STRBYTES - 1
"""The longest hash, as text."""
SALTBYTES = crypto_pwhash_SALTBYTES
PASSWD_MIN = crypto_pwhash_PASSWD_MIN
PASSWD_MAX = crypto_pwhash_PASSWD_MAX
BYTES_MIN = crypto_pwhash_BYTES_MIN
BYTES_MAX = crypto_pwhash_BYTES_MAX
ALG_ARGON2I13 = crypto_pwhash_ALG_ARGON2I13
ALG_ARGON2ID13 = crypto_pwhash_ALG_ARGON2ID13
ALG_ARGON2_DEFAULT = crypto_pwhash_ALG_DEFAULT


def derived(
    alg: int,
    size: int,
    password: Secret,
    salt: Buffer,
    limits: tuple[int, int],
    encoder: Encoder,
    into: Into | None,
) -> Any:
    """A key, encoded; the limits are opslimit and memlimit."""
    return encoded(encoder, into, lambda: crypto_pwhash_alg(size, password, salt, *limits, alg, into=into))


@careful
def verify(password_hash: Buffer, password: Secret) -> bool:
    """True if this is the password that a text of Argon2i or Argon2id was made of.

    Args:
        password_hash: What `str` gave, up to 127 bytes.
        password: bytes-like, or a cell or secure memory, which is then not copied.

    Raises:
        InvalidkeyError: It is another password, or the text is malformed, or asks for memory that cannot be had.
        TypeError, ValueError: A wrong argument.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
    """
    return crypto_pwhash_str_verify(password_hash, password)
