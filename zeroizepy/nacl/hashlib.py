"""BLAKE2b and scrypt as in the standard library's hashlib, by PyNaCl's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from zeroizepy.careful import careful
from zeroizepy.slots import Redacted

from .bindings.crypto_generichash import (
    crypto_generichash_BYTES,
    crypto_generichash_BYTES_MAX,
    crypto_generichash_BYTES_MIN,
    crypto_generichash_KEYBYTES,
    crypto_generichash_KEYBYTES_MAX,
    crypto_generichash_KEYBYTES_MIN,
    crypto_generichash_PERSONALBYTES,
    crypto_generichash_SALTBYTES,
    generichash_blake2b_init,
    generichash_blake2b_update,
)
from .bindings.crypto_pwhash import crypto_pwhash_scryptsalsa208sha256_ll, has_crypto_pwhash_scryptsalsa208sha256

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from typing_extensions import Buffer, Self

    from zeroizepy.memory import SecureMemory

    from ._held import Secret
    from ._into import Into

__all__ = [
    "BYTES",
    "BYTES_MAX",
    "BYTES_MIN",
    "KEYBYTES",
    "KEYBYTES_MAX",
    "KEYBYTES_MIN",
    "PERSONALBYTES",
    "SALTBYTES",
    "SCRYPT_AVAILABLE",
    "blake2b",
    "scrypt",
]

BYTES = crypto_generichash_BYTES
BYTES_MIN = crypto_generichash_BYTES_MIN
BYTES_MAX = crypto_generichash_BYTES_MAX
KEYBYTES = crypto_generichash_KEYBYTES
KEYBYTES_MIN = crypto_generichash_KEYBYTES_MIN
KEYBYTES_MAX = crypto_generichash_KEYBYTES_MAX
SALTBYTES = crypto_generichash_SALTBYTES
PERSONALBYTES = crypto_generichash_PERSONALBYTES
SCRYPT_AVAILABLE = has_crypto_pwhash_scryptsalsa208sha256


class blake2b(Redacted):  # noqa: N801 - PyNaCl's and hashlib's name.
    """BLAKE2b under way; its state rests in a slot, and is zeroed when the object goes.

    Without a key, a forked child goes on with a copy, as with hashlib. Under a key it does not have the state.

    Args:
        data: What to begin with; bytes-like, or a cell or secure memory, which is then not copied.
        digest_size: 1 to 64 bytes.
        key: Up to 64 bytes; as `data`, or a key.
        salt, person: Up to 16 bytes each; zeros follow.

    Raises:
        TypeError, ValueError, RuntimeError: A wrong argument.
        CellWipedError, SecureMemoryClosed: The key or the data ended meanwhile.
        LockLimitError: Nothing more can be locked, and the policy is strict.
    """

    __slots__ = ("_digest_size", "_state")

    MAX_DIGEST_SIZE = BYTES
    """PyNaCl's figure, and its default; up to BYTES_MAX are taken."""
    MAX_KEY_SIZE = KEYBYTES_MAX
    PERSON_SIZE = PERSONALBYTES
    SALT_SIZE = SALTBYTES

    @careful
    def __init__(
        self,
        data: Secret = b"",
        digest_size: int = BYTES,
        key: Secret = b"",
        salt: Buffer = b"",
        person: Buffer = b"",
    ) -> None:
        self._state = generichash_blake2b_init(key, salt, person, digest_size)
        self._digest_size = digest_size
        if not isinstance(data, bytes) or data:
            self.update(data)

    @property
    def digest_size(self) -> int:
        """Bytes of the digest."""
        return self._digest_size

    @property
    def block_size(self) -> int:
        """Bytes that are hashed at a time."""
        return 128

    @property
    def name(self) -> str:
        """Of the algorithm."""
        return "blake2b"

    @careful
    def update(self, data: Secret) -> None:
        """Go on with more data. Calls from several threads take turns.

        Raises:
            TypeError: Not bytes-like.
            SecureMemoryClosed: The state was wiped, or belongs to the parent process.
            CellWipedError, SecureMemoryClosed: The data ended meanwhile, and then the state is wiped, too.
        """
        generichash_blake2b_update(self._state, data)

    def digest(self) -> bytes:
        """The digest of all data so far."""
        return self._state.digest()

    def hexdigest(self) -> str:
        """The same in hexadecimal digits."""
        return self.digest().hex()

    def copy(self) -> Self:
        """One more, in the same state."""
        twin = type(self).__new__(type(self))
        twin._state = self._state.copy()
        twin._digest_size = self._digest_size
        return twin

    def wipe(self) -> None:
        """Zero the state now; harmless when it already was."""
        self._state.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


@overload
def scrypt(
    password: Secret, salt: Buffer = ..., n: int = ..., r: int = ..., p: int = ..., maxmem: int = ..., dklen: int = ...
) -> bytes: ...
@overload
def scrypt(
    password: Secret,
    salt: Buffer = ...,
    n: int = ...,
    r: int = ...,
    p: int = ...,
    maxmem: int = ...,
    dklen: int = ...,
    *,
    into: Into,
) -> SecureMemory: ...
@careful
def scrypt(
    password: Secret,
    salt: Buffer = b"",
    n: int = 2**20,
    r: int = 8,
    p: int = 1,
    maxmem: int = 2**25,
    dklen: int = 64,
    *,
    into: Into | None = None,
) -> Any:
    """A key by scrypt.

    Args:
        password: bytes-like, or a cell or secure memory, which is then not copied.
        salt: Of any length.
        n, r, p: RFC 7914's; about 128 * r * (n + p) bytes of memory are needed, which for those that stand here is more
            than `maxmem` allows, as with PyNaCl.
        maxmem: The most memory that may be needed, in bytes.
        dklen: Bytes of the key.
        into: None for `bytes`, or a SecureMemory of `dklen` bytes that the key is made in, or the class for a new one.

    Raises:
        TypeError, ValueError: A wrong argument; more memory than `maxmem`.
        RuntimeError: libsodium refused, or there is not enough memory.
        CellWipedError, SecureMemoryClosed: The password ended meanwhile; there is no key then.
        UnavailableError: A reduced libsodium.
    """
    return crypto_pwhash_scryptsalsa208sha256_ll(password, salt, n, r, p, dklen, maxmem, into=into)
