"""Password hashing and keys by Argon2id (RFC 9106)."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from zeroizepy.nacl.bindings._shared import careful
from zeroizepy.nacl.bindings.crypto_pwhash import (
    crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE,
    crypto_pwhash_argon2id_MEMLIMIT_MAX,
    crypto_pwhash_argon2id_MEMLIMIT_MIN,
    crypto_pwhash_argon2id_MEMLIMIT_MODERATE,
    crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE,
    crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE,
    crypto_pwhash_argon2id_OPSLIMIT_MAX,
    crypto_pwhash_argon2id_OPSLIMIT_MIN,
    crypto_pwhash_argon2id_OPSLIMIT_MODERATE,
    crypto_pwhash_argon2id_OPSLIMIT_SENSITIVE,
    crypto_pwhash_argon2id_STRPREFIX,
    crypto_pwhash_str_alg,
)
from zeroizepy.nacl.encoding import RawEncoder

from . import _argon2

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into
    from zeroizepy.nacl.encoding import Encoder

__all__ = [
    "ALG",
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

ALG = _argon2.ALG_ARGON2ID13
STRPREFIX = crypto_pwhash_argon2id_STRPREFIX
SALTBYTES = _argon2.SALTBYTES
PASSWD_MIN = _argon2.PASSWD_MIN
PASSWD_MAX = _argon2.PASSWD_MAX
PWHASH_SIZE = _argon2.PWHASH_SIZE
BYTES_MIN = _argon2.BYTES_MIN
BYTES_MAX = _argon2.BYTES_MAX
MEMLIMIT_MIN = crypto_pwhash_argon2id_MEMLIMIT_MIN
MEMLIMIT_MAX = crypto_pwhash_argon2id_MEMLIMIT_MAX
MEMLIMIT_INTERACTIVE = crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE
MEMLIMIT_MODERATE = crypto_pwhash_argon2id_MEMLIMIT_MODERATE
MEMLIMIT_SENSITIVE = crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE
OPSLIMIT_MIN = crypto_pwhash_argon2id_OPSLIMIT_MIN
OPSLIMIT_MAX = crypto_pwhash_argon2id_OPSLIMIT_MAX
OPSLIMIT_INTERACTIVE = crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE
OPSLIMIT_MODERATE = crypto_pwhash_argon2id_OPSLIMIT_MODERATE
OPSLIMIT_SENSITIVE = crypto_pwhash_argon2id_OPSLIMIT_SENSITIVE

verify = _argon2.verify


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
    """A key by Argon2id.

    Args:
        size: Bytes of the key, BYTES_MIN to BYTES_MAX.
        password: bytes-like, or a cell or secure memory, which is then not copied.
        salt: SALTBYTES random bytes.
        opslimit: Passes over the memory, OPSLIMIT_MIN to OPSLIMIT_MAX.
        memlimit: Bytes of memory, MEMLIMIT_MIN to MEMLIMIT_MAX.
        encoder: What to encode the key with.
        into: None for `bytes`, or a SecureMemory of `size` bytes that the key is made in, or the class for a new one.

    Returns:
        The `bytes`, or the memory.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: There is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile; there is no key then.

    Source: RFC 9106, version 1.3 with one lane.
    """
    return _argon2.derived(ALG, size, password, salt, (opslimit, memlimit), encoder, into)


@careful
def str(  # noqa: A001 - PyNaCl's name.
    password: Secret, opslimit: int = OPSLIMIT_INTERACTIVE, memlimit: int = MEMLIMIT_INTERACTIVE
) -> bytes:
    """A password's hash by Argon2id, as text with a random salt and the limits in it; see `verify`.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: There is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
    """
    return crypto_pwhash_str_alg(password, opslimit, memlimit, ALG)
