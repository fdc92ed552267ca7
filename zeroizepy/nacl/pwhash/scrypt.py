"""Password hashing and keys by scrypt (RFC 7914)."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl.bindings._shared import Need, call, exact
from zeroizepy.nacl.bindings.crypto_pwhash import (
    crypto_pwhash_scryptsalsa208sha256_BYTES_MAX,
    crypto_pwhash_scryptsalsa208sha256_BYTES_MIN,
    crypto_pwhash_scryptsalsa208sha256_ll,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_INTERACTIVE,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MAX,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_INTERACTIVE,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MAX,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE,
    crypto_pwhash_scryptsalsa208sha256_PASSWD_MAX,
    crypto_pwhash_scryptsalsa208sha256_PASSWD_MIN,
    crypto_pwhash_scryptsalsa208sha256_SALTBYTES,
    crypto_pwhash_scryptsalsa208sha256_str,
    crypto_pwhash_scryptsalsa208sha256_str_verify,
    crypto_pwhash_scryptsalsa208sha256_STRBYTES,
    crypto_pwhash_scryptsalsa208sha256_STRPREFIX,
    has_crypto_pwhash_scryptsalsa208sha256,
    nacl_bindings_pick_scrypt_params,
)
from zeroizepy.nacl.encoding import RawEncoder

from ._encoded import encoded

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into
    from zeroizepy.nacl.encoding import Encoder

__all__ = [
    "AVAILABLE",
    "BYTES_MAX",
    "BYTES_MIN",
    "MEMLIMIT_INTERACTIVE",
    "MEMLIMIT_MAX",
    "MEMLIMIT_MIN",
    "MEMLIMIT_MODERATE",
    "MEMLIMIT_SENSITIVE",
    "OPSLIMIT_INTERACTIVE",
    "OPSLIMIT_MAX",
    "OPSLIMIT_MIN",
    "OPSLIMIT_MODERATE",
    "OPSLIMIT_SENSITIVE",
    "PASSWD_MAX",
    "PASSWD_MIN",
    "PWHASH_SIZE",
    "SALTBYTES",
    "STRPREFIX",
    "kdf",
    "str",
    "verify",
]

AVAILABLE = has_crypto_pwhash_scryptsalsa208sha256
"""Whether this libsodium has scrypt; a reduced one lacks it, and then all below is 0."""
BYTES_MAX = crypto_pwhash_scryptsalsa208sha256_BYTES_MAX
BYTES_MIN = crypto_pwhash_scryptsalsa208sha256_BYTES_MIN
PASSWD_MAX = crypto_pwhash_scryptsalsa208sha256_PASSWD_MAX
PASSWD_MIN = crypto_pwhash_scryptsalsa208sha256_PASSWD_MIN
SALTBYTES = crypto_pwhash_scryptsalsa208sha256_SALTBYTES
STRPREFIX = crypto_pwhash_scryptsalsa208sha256_STRPREFIX
MEMLIMIT_MIN = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN
MEMLIMIT_MAX = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MAX
MEMLIMIT_INTERACTIVE = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_INTERACTIVE
MEMLIMIT_SENSITIVE = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE
OPSLIMIT_MIN = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN
OPSLIMIT_MAX = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MAX
OPSLIMIT_INTERACTIVE = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_INTERACTIVE
OPSLIMIT_SENSITIVE = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE
PWHASH_SIZE = crypto_pwhash_scryptsalsa208sha256_STRBYTES - 1
"""Bytes of a hash, as text."""
OPSLIMIT_MODERATE = 8 * OPSLIMIT_INTERACTIVE
MEMLIMIT_MODERATE = 8 * MEMLIMIT_INTERACTIVE

_SPARE_BYTES = 1 << 16
_SALT = Need((exc.TypeError, "the salt must be bytes-like"))
_HASH = exact(PWHASH_SIZE, exc.ValueError, f"The password hash must be exactly {PWHASH_SIZE} bytes long")


def _check_available() -> None:
    exc.ensure(AVAILABLE, "Not available in minimal build", raising=exc.UnavailableError)


def _check_salt(salt: Any) -> None:
    told = f"The salt must be exactly {SALTBYTES}, not {len(salt)} bytes long"
    exc.ensure(len(salt) == SALTBYTES, told, raising=exc.ValueError)


@overload
def kdf(
    size: int,
    password: Secret,
    salt: Buffer,
    opslimit: int = ...,
    memlimit: int = ...,
    encoder: Encoder = ...,
) -> bytes: ...
@overload
def kdf(
    size: int,
    password: Secret,
    salt: Buffer,
    opslimit: int = ...,
    memlimit: int = ...,
    encoder: Encoder = ...,
    *,
    into: Into,
) -> SecureMemory: ...
@careful
def kdf(
    size: int,
    password: Secret,
    salt: Buffer,
    opslimit: int = OPSLIMIT_SENSITIVE,
    memlimit: int = MEMLIMIT_SENSITIVE,
    encoder: Encoder = RawEncoder,
    *,
    into: Into | None = None,
) -> Any:
    """A key by scrypt.

    Args:
        size: Bytes of the key, BYTES_MIN to BYTES_MAX.
        password: bytes-like, or a cell or secure memory, which is then not copied.
        salt: SALTBYTES random bytes.
        opslimit: Salsa20/8 computations, about; less than 32768 count as that.
        memlimit: Bytes of memory, about.
        encoder: What to encode the key with.
        into: None for `bytes`, or a SecureMemory of `size` bytes that the key is made in, or the class for a new one.

    Returns:
        The `bytes`, or the memory.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: libsodium refused the limits, or there is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile; there is no key then.
        UnavailableError: A reduced libsodium.

    Source: RFC 7914; N, r and p are chosen as libsodium does.
    """
    _check_available()
    call(_check_salt, (_SALT, salt))
    n_log2, r, p = nacl_bindings_pick_scrypt_params(opslimit, memlimit)
    spare = memlimit + _SPARE_BYTES
    return encoded(
        encoder,
        into,
        lambda: crypto_pwhash_scryptsalsa208sha256_ll(password, salt, 1 << n_log2, r, p, size, spare, into=into),
    )


@careful
def str(  # noqa: A001 - PyNaCl's name.
    password: Secret, opslimit: int = OPSLIMIT_INTERACTIVE, memlimit: int = MEMLIMIT_INTERACTIVE
) -> bytes:
    """A password's hash by scrypt, as text with a random salt and the limits in it; see `verify`.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: libsodium refused the limits, or there is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
        UnavailableError: A reduced libsodium.
    """
    _check_available()
    return crypto_pwhash_scryptsalsa208sha256_str(password, opslimit, memlimit)


@careful
def verify(password_hash: Buffer, password: Secret) -> bool:
    """True if this is the password that `str` made the text of.

    Args:
        password_hash: PWHASH_SIZE bytes.
        password: bytes-like, or a cell or secure memory, which is then not copied.

    Raises:
        InvalidkeyError: It is another password, or the text is malformed, or asks for memory that cannot be had.
        TypeError, ValueError: A wrong argument.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
        UnavailableError: A reduced libsodium.
    """
    _check_available()
    call(lambda _text: None, (_HASH, password_hash))
    return crypto_pwhash_scryptsalsa208sha256_str_verify(password_hash, password)
