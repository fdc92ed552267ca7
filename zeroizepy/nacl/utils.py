"""Messages, random bytes, and secret random bytes."""

from __future__ import annotations

from os import urandom

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.memory import SecureMemory
from zeroizepy.slots import check_size, option_bits

from ._constants import constant
from .encoding import RawEncoder

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import ClassVar, SupportsBytes

    from typing_extensions import Self

    from ._held import Policy, Secret, Tier
    from .encoding import Encoder

__all__ = [
    "EncryptedMessage",
    "StringFixer",
    "bytes_as_string",
    "random",
    "random_secret",
    "randombytes_deterministic",
]


class TwoParts(bytes):
    """Two parts, one behind the other; what is not encoded is cut only when one of them is asked for."""

    _FIRST_BYTES: ClassVar[int]
    _parts: tuple[bytes, bytes] | None = None
    """Of what is encoded, for each part was by itself."""

    @classmethod
    def _from_parts(cls, first: bytes, second: bytes, combined: bytes) -> Self:
        whole = cls(combined)
        whole._parts = (first, second)
        return whole

    def _encoded(self, encoder: Encoder) -> Self:
        """The whole in a text form, and each part of it."""
        if encoder is RawEncoder:
            return self
        return self._from_parts(
            encoder.encode(self._first()), encoder.encode(self._second()), encoder.encode(bytes(self))
        )

    def _first(self) -> bytes:
        return self[: self._FIRST_BYTES] if self._parts is None else self._parts[0]

    def _second(self) -> bytes:
        return self[self._FIRST_BYTES :] if self._parts is None else self._parts[1]


class EncryptedMessage(TwoParts):
    """Nonce and ciphertext, one behind the other; `nonce` and `ciphertext` give each."""

    _FIRST_BYTES = constant("crypto_secretbox_NONCEBYTES")
    """Of all boxes here: XSalsa20 and XChaCha20 have the same."""

    @property
    def nonce(self) -> bytes:
        """The nonce; encoded, if the message is."""
        return self._first()

    @property
    def ciphertext(self) -> bytes:
        """The ciphertext with its tag; encoded, if the message is."""
        return self._second()


class StringFixer:
    """Gives what has bytes that are no secret their text as `str()`, not their address."""

    __slots__ = ()

    def __str__(self: SupportsBytes) -> str:
        return str(self.__bytes__())


def bytes_as_string(bytes_in: bytes) -> str:
    """ASCII as text."""
    return bytes_in.decode("ascii")


def random(size: int = 32) -> bytes:
    """So many random bytes, from the kernel's generator, for what is not secret; see `random_secret`."""
    return urandom(size)


def random_secret(size: int = 32, *, tier: Tier = "packed", policy: Policy = None) -> SecureMemory:
    """So many random bytes, drawn from the kernel's generator straight into secure memory.

    Args:
        size: Bytes, 0 and up.
        tier, policy: As for `zeroizepy.SecureMemory`.

    Raises:
        TypeError, ValueError: A wrong argument.
        LockLimitError: Nothing more can be locked.
    """
    memory = SecureMemory.__new__(SecureMemory)
    options = option_bits(tier, policy) | lib.ZPY_RANDOM
    memory._hold(_lib.new_handle(ffi.NULL, check_size(size), options), size)
    return memory


def randombytes_deterministic(size: int, seed: Secret, encoder: Encoder = RawEncoder) -> bytes:
    """So many bytes that look random to who does not know the seed, which always gives the same.

    Args:
        size: Bytes, before they are encoded.
        seed: 32 bytes, or a cell, secure memory or key that holds them.
        encoder: For the result.

    Raises:
        TypeError: A seed of another size.

    Secure memory gets them from `bindings.randombytes_buf_deterministic(size, seed, into=memory)`.
    """
    from .bindings import randombytes_buf_deterministic

    try:
        drawn = randombytes_buf_deterministic(size, seed)
        encoded = encoder.encode(drawn)
    except BaseException as error:
        seed = drawn = b""
        _lib.clear_locals(error)
        raise
    if encoded is not drawn and encoder.__module__ == RawEncoder.__module__:
        _lib.wipe_bytes(drawn)  # This package's own encoder has not kept it.
    return encoded
