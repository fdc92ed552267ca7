"""What Argon2i and Argon2id have in common."""

from __future__ import annotations

from zeroizepy.careful import careful
from zeroizepy.nacl.bindings._shared import named
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
    crypto_pwhash_str_alg,
    crypto_pwhash_str_verify,
    crypto_pwhash_STRBYTES,
)
from zeroizepy.nacl.encoding import RawEncoder

from ._encoded import encoded

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Protocol, overload

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into
    from zeroizepy.nacl.encoding import Encoder

    class Kdf(Protocol):
        """Gives bytes, or with `into` secure memory."""

        @overload
        def __call__(
            self,
            size: int,
            password: Secret,
            salt: Buffer,
            opslimit: int = ...,
            memlimit: int = ...,
            encoder: Encoder = ...,
        ) -> bytes: ...
        @overload
        def __call__(
            self,
            size: int,
            password: Secret,
            salt: Buffer,
            opslimit: int = ...,
            memlimit: int = ...,
            encoder: Encoder = ...,
            *,
            into: Into,
        ) -> SecureMemory: ...

    class Str(Protocol):
        """Gives a hash."""

        def __call__(self, password: Secret, opslimit: int = ..., memlimit: int = ...) -> bytes: ...


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


_KDF = """A key by {name}.

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
_STR = """A password's hash by {name}, as text with a random salt and the limits in it; see `verify`.

    Raises:
        TypeError, ValueError: A wrong argument.
        RuntimeError: There is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile.
    """


def functions(
    name: str, module: str, alg: int, hash_limits: tuple[int, int], key_limits: tuple[int, int]
) -> tuple[Kdf, Str]:
    """`kdf` and `str` of one kind of Argon2, with the limits that it has by default: opslimit and memlimit."""

    def kdf(
        size: int,
        password: Secret,
        salt: Buffer,
        opslimit: int = key_limits[0],
        memlimit: int = key_limits[1],
        encoder: Encoder = RawEncoder,
        *,
        into: Into | None = None,
    ) -> Any:
        return encoded(
            encoder, into, lambda: crypto_pwhash_alg(size, password, salt, opslimit, memlimit, alg, into=into)
        )

    def hashed(password: Secret, opslimit: int = hash_limits[0], memlimit: int = hash_limits[1]) -> bytes:
        return crypto_pwhash_str_alg(password, opslimit, memlimit, alg)

    return (
        named(kdf, module, "kdf", _KDF.format(name=name)),
        named(hashed, module, "str", _STR.format(name=name)),
    )


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
