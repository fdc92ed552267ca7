"""Password hashing and keys by Argon2i (RFC 9106)."""

from __future__ import annotations

from zeroizepy.nacl.bindings.crypto_pwhash import (
    crypto_pwhash_argon2i_MEMLIMIT_INTERACTIVE,
    crypto_pwhash_argon2i_MEMLIMIT_MAX,
    crypto_pwhash_argon2i_MEMLIMIT_MIN,
    crypto_pwhash_argon2i_MEMLIMIT_MODERATE,
    crypto_pwhash_argon2i_MEMLIMIT_SENSITIVE,
    crypto_pwhash_argon2i_OPSLIMIT_INTERACTIVE,
    crypto_pwhash_argon2i_OPSLIMIT_MAX,
    crypto_pwhash_argon2i_OPSLIMIT_MIN,
    crypto_pwhash_argon2i_OPSLIMIT_MODERATE,
    crypto_pwhash_argon2i_OPSLIMIT_SENSITIVE,
    crypto_pwhash_argon2i_STRPREFIX,
)

from . import _argon2

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

ALG = _argon2.ALG_ARGON2I13
STRPREFIX = crypto_pwhash_argon2i_STRPREFIX
SALTBYTES = _argon2.SALTBYTES
PASSWD_MIN = _argon2.PASSWD_MIN
PASSWD_MAX = _argon2.PASSWD_MAX
PWHASH_SIZE = _argon2.PWHASH_SIZE
BYTES_MIN = _argon2.BYTES_MIN
BYTES_MAX = _argon2.BYTES_MAX
MEMLIMIT_MIN = crypto_pwhash_argon2i_MEMLIMIT_MIN
MEMLIMIT_MAX = crypto_pwhash_argon2i_MEMLIMIT_MAX
MEMLIMIT_INTERACTIVE = crypto_pwhash_argon2i_MEMLIMIT_INTERACTIVE
MEMLIMIT_MODERATE = crypto_pwhash_argon2i_MEMLIMIT_MODERATE
MEMLIMIT_SENSITIVE = crypto_pwhash_argon2i_MEMLIMIT_SENSITIVE
OPSLIMIT_MIN = crypto_pwhash_argon2i_OPSLIMIT_MIN
OPSLIMIT_MAX = crypto_pwhash_argon2i_OPSLIMIT_MAX
OPSLIMIT_INTERACTIVE = crypto_pwhash_argon2i_OPSLIMIT_INTERACTIVE
OPSLIMIT_MODERATE = crypto_pwhash_argon2i_OPSLIMIT_MODERATE
OPSLIMIT_SENSITIVE = crypto_pwhash_argon2i_OPSLIMIT_SENSITIVE

verify = _argon2.verify
kdf, str = _argon2.functions(  # noqa: A001 - PyNaCl's name.
    "Argon2i", __name__, ALG, (OPSLIMIT_INTERACTIVE, MEMLIMIT_INTERACTIVE), (OPSLIMIT_SENSITIVE, MEMLIMIT_SENSITIVE)
)
