"""Password hashing and keys from passwords by PyNaCl's names; here it is Argon2id, unless a name says scrypt.

Passwords are bytes-like, or cells or secure memory, which are then used where they are. Keys can be made in secure
memory (`into=`). What libsodium leaves on the stack is cleared; its working memory goes back to the system.
"""

from __future__ import annotations

from zeroizepy.careful import careful
from zeroizepy.nacl.exceptions import CryptPrefixError

from . import argon2i, argon2id, scrypt

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zeroizepy.nacl._held import Secret

__all__ = [
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
    "SCRYPT_MEMLIMIT_INTERACTIVE",
    "SCRYPT_MEMLIMIT_SENSITIVE",
    "SCRYPT_OPSLIMIT_INTERACTIVE",
    "SCRYPT_OPSLIMIT_SENSITIVE",
    "SCRYPT_PWHASH_SIZE",
    "SCRYPT_SALTBYTES",
    "STRPREFIX",
    "argon2i",
    "argon2id",
    "kdf_scryptsalsa208sha256",
    "scrypt",
    "scryptsalsa208sha256_str",
    "str",
    "verify",
    "verify_scryptsalsa208sha256",
]

PASSWD_MIN = argon2id.PASSWD_MIN
PASSWD_MAX = argon2id.PASSWD_MAX
PWHASH_SIZE = argon2id.PWHASH_SIZE
STRPREFIX = argon2id.STRPREFIX
MEMLIMIT_MIN = argon2id.MEMLIMIT_MIN
MEMLIMIT_MAX = argon2id.MEMLIMIT_MAX
MEMLIMIT_INTERACTIVE = argon2id.MEMLIMIT_INTERACTIVE
MEMLIMIT_MODERATE = argon2id.MEMLIMIT_MODERATE
MEMLIMIT_SENSITIVE = argon2id.MEMLIMIT_SENSITIVE
OPSLIMIT_MIN = argon2id.OPSLIMIT_MIN
OPSLIMIT_MAX = argon2id.OPSLIMIT_MAX
OPSLIMIT_INTERACTIVE = argon2id.OPSLIMIT_INTERACTIVE
OPSLIMIT_MODERATE = argon2id.OPSLIMIT_MODERATE
OPSLIMIT_SENSITIVE = argon2id.OPSLIMIT_SENSITIVE

SCRYPT_SALTBYTES = scrypt.SALTBYTES
SCRYPT_PWHASH_SIZE = scrypt.PWHASH_SIZE
SCRYPT_MEMLIMIT_INTERACTIVE = scrypt.MEMLIMIT_INTERACTIVE
SCRYPT_MEMLIMIT_SENSITIVE = scrypt.MEMLIMIT_SENSITIVE
SCRYPT_OPSLIMIT_INTERACTIVE = scrypt.OPSLIMIT_INTERACTIVE
SCRYPT_OPSLIMIT_SENSITIVE = scrypt.OPSLIMIT_SENSITIVE

str = argon2id.str  # noqa: A001 - PyNaCl's name.
kdf_scryptsalsa208sha256 = scrypt.kdf
scryptsalsa208sha256_str = scrypt.str
verify_scryptsalsa208sha256 = scrypt.verify


@careful
def verify(password_hash: Buffer, password: Secret) -> bool:
    """True if this is the password that a text of any of the three was made of.

    Args:
        password_hash: What a `str` gave.
        password: bytes-like, or a cell or secure memory, which is then not copied.

    Raises:
        CryptPrefixError: The text begins like none of them.
        InvalidkeyError: It is another password, or the text is malformed, or asks for memory that cannot be had.
        TypeError, ValueError: A wrong argument.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
    """
    text = bytes(memoryview(password_hash))
    if text.startswith((argon2id.STRPREFIX, argon2i.STRPREFIX)):
        return argon2id.verify(text, password)
    if scrypt.AVAILABLE and text.startswith(scrypt.STRPREFIX):
        return scrypt.verify(text, password)
    raise CryptPrefixError("given password_hash is not in a supported format")
