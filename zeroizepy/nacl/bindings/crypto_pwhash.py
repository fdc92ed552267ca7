"""Argon2 and scrypt by PyNaCl's names: passwords are used where they are, keys can go straight into secure memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants
from zeroizepy.nacl._into import output

from ._shared import Need, call, exact

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into


def _prefix(scheme: int) -> bytes:
    text = lib.zpy_pwhash_prefix(scheme)
    return bytes(ffi.string(text)) if text else b""


(
    crypto_pwhash_ALG_ARGON2I13,
    crypto_pwhash_ALG_ARGON2ID13,
    crypto_pwhash_ALG_DEFAULT,
    crypto_pwhash_SALTBYTES,
    crypto_pwhash_STRBYTES,
    crypto_pwhash_PASSWD_MIN,
    crypto_pwhash_PASSWD_MAX,
    crypto_pwhash_BYTES_MIN,
    crypto_pwhash_BYTES_MAX,
) = constants(
    "crypto_pwhash",
    "ALG_ARGON2I13",
    "ALG_ARGON2ID13",
    "ALG_DEFAULT",
    "SALTBYTES",
    "STRBYTES",
    "PASSWD_MIN",
    "PASSWD_MAX",
    "BYTES_MIN",
    "BYTES_MAX",
)

_LIMIT_NAMES = (
    "MEMLIMIT_MIN",
    "MEMLIMIT_MAX",
    "MEMLIMIT_INTERACTIVE",
    "MEMLIMIT_MODERATE",
    "MEMLIMIT_SENSITIVE",
    "OPSLIMIT_MIN",
    "OPSLIMIT_MAX",
    "OPSLIMIT_INTERACTIVE",
    "OPSLIMIT_MODERATE",
    "OPSLIMIT_SENSITIVE",
)
crypto_pwhash_argon2i_STRPREFIX = _prefix(lib.ZPY_ARGON2I)
(
    crypto_pwhash_argon2i_MEMLIMIT_MIN,
    crypto_pwhash_argon2i_MEMLIMIT_MAX,
    crypto_pwhash_argon2i_MEMLIMIT_INTERACTIVE,
    crypto_pwhash_argon2i_MEMLIMIT_MODERATE,
    crypto_pwhash_argon2i_MEMLIMIT_SENSITIVE,
    crypto_pwhash_argon2i_OPSLIMIT_MIN,
    crypto_pwhash_argon2i_OPSLIMIT_MAX,
    crypto_pwhash_argon2i_OPSLIMIT_INTERACTIVE,
    crypto_pwhash_argon2i_OPSLIMIT_MODERATE,
    crypto_pwhash_argon2i_OPSLIMIT_SENSITIVE,
) = constants("crypto_pwhash_argon2i", *_LIMIT_NAMES)

crypto_pwhash_argon2id_STRPREFIX = _prefix(lib.ZPY_ARGON2ID)
(
    crypto_pwhash_argon2id_MEMLIMIT_MIN,
    crypto_pwhash_argon2id_MEMLIMIT_MAX,
    crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE,
    crypto_pwhash_argon2id_MEMLIMIT_MODERATE,
    crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE,
    crypto_pwhash_argon2id_OPSLIMIT_MIN,
    crypto_pwhash_argon2id_OPSLIMIT_MAX,
    crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE,
    crypto_pwhash_argon2id_OPSLIMIT_MODERATE,
    crypto_pwhash_argon2id_OPSLIMIT_SENSITIVE,
) = constants("crypto_pwhash_argon2id", *_LIMIT_NAMES)

crypto_pwhash_scryptsalsa208sha256_STRPREFIX = _prefix(lib.ZPY_SCRYPT)
(
    crypto_pwhash_scryptsalsa208sha256_SALTBYTES,
    crypto_pwhash_scryptsalsa208sha256_STRBYTES,
    crypto_pwhash_scryptsalsa208sha256_PASSWD_MIN,
    crypto_pwhash_scryptsalsa208sha256_PASSWD_MAX,
    crypto_pwhash_scryptsalsa208sha256_BYTES_MIN,
    crypto_pwhash_scryptsalsa208sha256_BYTES_MAX,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MAX,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_INTERACTIVE,
    crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MAX,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_INTERACTIVE,
    crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE,
) = constants(
    "crypto_pwhash_scryptsalsa208sha256",
    "SALTBYTES",
    "STRBYTES",
    "PASSWD_MIN",
    "PASSWD_MAX",
    "BYTES_MIN",
    "BYTES_MAX",
    "MEMLIMIT_MIN",
    "MEMLIMIT_MAX",
    "MEMLIMIT_INTERACTIVE",
    "MEMLIMIT_SENSITIVE",
    "OPSLIMIT_MIN",
    "OPSLIMIT_MAX",
    "OPSLIMIT_INTERACTIVE",
    "OPSLIMIT_SENSITIVE",
)
has_crypto_pwhash_scryptsalsa208sha256 = bool(crypto_pwhash_scryptsalsa208sha256_STRPREFIX)

SCRYPT_OPSLIMIT_INTERACTIVE = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_INTERACTIVE
SCRYPT_MEMLIMIT_INTERACTIVE = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_INTERACTIVE
SCRYPT_OPSLIMIT_SENSITIVE = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE
SCRYPT_MEMLIMIT_SENSITIVE = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE
SCRYPT_SALTBYTES = crypto_pwhash_scryptsalsa208sha256_SALTBYTES
SCRYPT_STRBYTES = crypto_pwhash_scryptsalsa208sha256_STRBYTES
SCRYPT_PR_MAX = (1 << 30) - 1
LOG2_UINT64_MAX = 63
UINT64_MAX = (1 << 64) - 1
SCRYPT_MAX_MEM = 32 * 1024 * 1024

_UNAVAILABLE = "Not available in minimal build"
_PASSWORD = Need((exc.TypeError, "the password must be bytes-like, a cell or secure memory"))
_ANY_SALT = Need((exc.TypeError, "the salt must be bytes-like"))
_SALT = exact(crypto_pwhash_SALTBYTES, exc.ValueError, f"salt must be exactly {crypto_pwhash_SALTBYTES} bytes long")
_HASH = Need(
    (exc.TypeError, "the password hash must be bytes-like"),
    (exc.ValueError, f"Hash must be at most {lib.ZPY_PWHASH_ROOM - 1} bytes long"),
    most=lib.ZPY_PWHASH_ROOM - 1,
)
_SCRYPT_HASH = exact(SCRYPT_STRBYTES - 1, exc.ValueError, "Invalid password hash")
_LIMITS: dict[int, tuple[int, int, int, int]] = {
    crypto_pwhash_ALG_ARGON2I13: (
        crypto_pwhash_argon2i_MEMLIMIT_MIN,
        crypto_pwhash_argon2i_MEMLIMIT_MAX,
        crypto_pwhash_argon2i_OPSLIMIT_MIN,
        crypto_pwhash_argon2i_OPSLIMIT_MAX,
    ),
    crypto_pwhash_ALG_ARGON2ID13: (
        crypto_pwhash_argon2id_MEMLIMIT_MIN,
        crypto_pwhash_argon2id_MEMLIMIT_MAX,
        crypto_pwhash_argon2id_OPSLIMIT_MIN,
        crypto_pwhash_argon2id_OPSLIMIT_MAX,
    ),
}


def nacl_bindings_pick_scrypt_params(opslimit: int, memlimit: int) -> tuple[int, int, int]:
    """What libsodium takes for these limits: log2 of scrypt's N, r, and p."""
    operations, r = max(opslimit, 32768), 8
    spends_memory = operations < memlimit // 32
    most = operations // (4 * r) if spends_memory else memlimit // (128 * r)
    n_log2 = min(max(max(most // 2, 0).bit_length(), 1), 62)
    p = 1 if spends_memory else min(operations // 4 >> n_log2, SCRYPT_PR_MAX) // r
    return n_log2, r, p


def _check_memory_occupation(n: int, r: int, p: int, maxmem: int = SCRYPT_MAX_MEM) -> None:
    """Refuse what is no scrypt, or needs more than `maxmem` bytes."""
    _require(r != 0, "Invalid block size")
    _require(p != 0, "Invalid parallelization factor")
    _require(n & (n - 1) == 0, "Cost factor must be a power of 2")
    _require(n > 1, "Cost factor must be at least 2")
    _require(p * r <= SCRYPT_PR_MAX, f"p*r is greater than {SCRYPT_PR_MAX}")
    _require(n.bit_length() <= 16 * r, "Cost factor must be less than 2^(16 * r)")
    needed = 128 * r * (n + 2 + p)
    _require(needed <= min(maxmem, sys.maxsize), "Memory limit would be exceeded with the chosen n, r, p")


def _require(is_right: bool, text: str) -> None:
    exc.ensure(is_right, text, raising=exc.ValueError)


def _check_ints(**values: object) -> None:
    for name, value in values.items():
        exc.ensure(isinstance(value, int), f"{name} must be an int", raising=exc.TypeError)


def _check_scrypt() -> None:
    exc.ensure(has_crypto_pwhash_scryptsalsa208sha256, _UNAVAILABLE, raising=exc.UnavailableError)


def _derived(size: int, passwd: Any, salt: tuple[Need, Any], into: Any, run: Callable[[Any, Any, Any], int]) -> Any:
    """A key of `size` bytes, which `run` has the core make of the password and the salt."""

    def fill(salt: Any, out: Any) -> None:
        try:
            status = call(lambda password: run(password, salt, out), (_PASSWORD, passwd))
        except BaseException:
            # The password ended meanwhile: perhaps this is made of zeros.
            _lib.core(size, "memzero")(out, size)
            raise
        exc.ensure(status == lib.ZPY_OK, "Unexpected failure in key derivation", raising=exc.RuntimeError)

    return call(lambda salt: output(size, into, lambda out: fill(salt, out)), salt)


def _hashed(scheme: int, passwd: Any, opslimit: int, memlimit: int, failure: str) -> bytes:
    """The text for a password and a random salt."""
    out = ffi.new("char[]", lib.ZPY_PWHASH_ROOM)

    def run(password: Any) -> int:
        return int(lib.zpy_pwhash_str(scheme, password, len(password), opslimit, memlimit, out))

    exc.ensure(call(run, (_PASSWORD, passwd)) == lib.ZPY_OK, failure, raising=exc.RuntimeError)
    return bytes(ffi.string(out))


def _verified(scheme: int, passwd_hash: tuple[Need, Any], passwd: Any) -> bool:
    """Whether it is the password; raises otherwise."""

    def run(text: Any, password: Any) -> int:
        # Of bytes, the core finds a zero behind it, which other buffers need not have.
        whole = text if isinstance(text, bytes) else bytes(ffi.buffer(text))
        return int(lib.zpy_pwhash_verify(scheme, whole, password, len(password)))

    status = call(run, passwd_hash, (_PASSWORD, passwd))
    if status == lib.ZPY_NO_MEMORY:
        raise exc.InvalidkeyError("The password could not be checked: no memory for what its hash asks for")
    exc.ensure(status == lib.ZPY_OK, "Wrong password", raising=exc.InvalidkeyError)
    return True


@careful
def crypto_pwhash_scryptsalsa208sha256_ll(
    passwd: Secret,
    salt: Buffer,
    n: int,
    r: int,
    p: int,
    dklen: int = 64,
    maxmem: int = SCRYPT_MAX_MEM,
    *,
    into: Into | None = None,
) -> Any:
    """A key by scrypt.

    Args:
        passwd: bytes-like, or a cell or secure memory, which is then not copied.
        salt: Of any length.
        n, r, p: RFC 7914's; about 128 * r * (n + p) bytes of memory are needed.
        dklen: Bytes of the key.
        maxmem: The most memory that may be needed, in bytes.
        into: Where the key goes; see `zeroizepy.nacl.pwhash`.

    Raises:
        TypeError, ValueError: A wrong argument; more memory than `maxmem`.
        RuntimeError: libsodium refused, or there is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile; there is no key then.
        UnavailableError: A reduced libsodium.

    Source: RFC 7914.
    """
    _check_scrypt()
    _check_ints(n=n, r=r, p=p, dklen=dklen)
    _check_memory_occupation(n, r, p, maxmem)
    _require(dklen >= 0, "dklen must not be negative")

    def run(password: Any, salt: Any, out: Any) -> int:
        return int(lib.zpy_pwhash_scrypt(password, len(password), salt, len(salt), n, r, p, out, dklen))

    return _derived(dklen, passwd, (_ANY_SALT, salt), into, run)


@careful
def crypto_pwhash_scryptsalsa208sha256_str(
    passwd: Secret, opslimit: int = SCRYPT_OPSLIMIT_INTERACTIVE, memlimit: int = SCRYPT_MEMLIMIT_INTERACTIVE
) -> bytes:
    """A password's hash by scrypt, as text with a random salt and the costs in it.

    Raises:
        TypeError: Not bytes-like.
        RuntimeError: libsodium refused the limits, or there is not enough memory.
        UnavailableError: A reduced libsodium.
    """
    _check_scrypt()
    return _hashed(lib.ZPY_SCRYPT, passwd, opslimit, memlimit, "Unexpected failure in password hashing")


@careful
def crypto_pwhash_scryptsalsa208sha256_str_verify(passwd_hash: Buffer, passwd: Secret) -> bool:
    """True if this is the password that the text of scrypt was made of.

    Raises:
        InvalidkeyError: It is not, or the text is malformed.
        TypeError, ValueError: A wrong argument; a text of another length.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
        UnavailableError: A reduced libsodium.
    """
    _check_scrypt()
    return _verified(lib.ZPY_SCRYPT, (_SCRYPT_HASH, passwd_hash), passwd)


def _check_argon2_limits_alg(opslimit: int, memlimit: int, alg: int) -> None:
    if alg not in _LIMITS:
        raise exc.TypeError("Unsupported algorithm")
    memory_min, memory_max, passes_min, passes_max = _LIMITS[alg]
    _require(memlimit >= memory_min, f"memlimit must be at least {memory_min} bytes")
    _require(memlimit <= memory_max, f"memlimit must be at most {memory_max} bytes")
    _require(opslimit >= passes_min, f"opslimit must be at least {passes_min}")
    _require(opslimit <= passes_max, f"opslimit must be at most {passes_max}")


@careful
def crypto_pwhash_alg(
    outlen: int,
    passwd: Secret,
    salt: Buffer,
    opslimit: int,
    memlimit: int,
    alg: int,
    *,
    into: Into | None = None,
) -> Any:
    """A key by Argon2.

    Args:
        outlen: Bytes of the key, 16 or more.
        passwd: bytes-like, or a cell or secure memory, which is then not copied.
        salt: 16 bytes.
        opslimit: Passes over the memory.
        memlimit: Bytes of memory.
        alg: crypto_pwhash_ALG_ARGON2I13 or crypto_pwhash_ALG_ARGON2ID13.
        into: Where the key goes; see `zeroizepy.nacl.pwhash`.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: There is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile; there is no key then.

    Source: RFC 9106, version 1.3, with one lane.
    """
    _check_ints(outlen=outlen, opslimit=opslimit, memlimit=memlimit, alg=alg)
    _require(outlen >= crypto_pwhash_BYTES_MIN, f"derived key must be at least {crypto_pwhash_BYTES_MIN} bytes long")
    _require(outlen <= crypto_pwhash_BYTES_MAX, f"derived key must be at most {crypto_pwhash_BYTES_MAX} bytes long")
    _check_argon2_limits_alg(opslimit, memlimit, alg)

    def run(password: Any, salt: Any, out: Any) -> int:
        return int(lib.zpy_pwhash_raw(alg, password, len(password), salt, opslimit, memlimit, out, outlen))

    return _derived(outlen, passwd, (_SALT, salt), into, run)


@careful
def crypto_pwhash_str_alg(passwd: Secret, opslimit: int, memlimit: int, alg: int) -> bytes:
    """A password's hash by Argon2, as text with a random salt, the costs and the algorithm in it.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: There is not enough memory.
    """
    _check_ints(opslimit=opslimit, memlimit=memlimit)
    _check_argon2_limits_alg(opslimit, memlimit, alg)
    return _hashed(alg, passwd, opslimit, memlimit, "Unexpected failure in key derivation")


@careful
def crypto_pwhash_str_verify(passwd_hash: Buffer, passwd: Secret) -> bool:
    """True if this is the password that the text of Argon2i or Argon2id was made of.

    Raises:
        InvalidkeyError: It is not, or the text is malformed.
        TypeError, ValueError: A wrong argument; a text of more than 127 bytes.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
    """
    return _verified(crypto_pwhash_ALG_DEFAULT, (_HASH, passwd_hash), passwd)


crypto_pwhash_argon2i_str_verify = crypto_pwhash_str_verify
