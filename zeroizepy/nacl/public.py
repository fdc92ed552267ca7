"""X25519 keys, and boxes for messages between their owners, by PyNaCl's names, with what is secret in slots."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.buffers import public_bytes
from zeroizepy.memory import SecureMemory

from . import encoding
from . import exceptions as exc
from ._cipher import NONCE_BYTES, SalsaBox
from ._constants import constant
from ._held import lifetime, new_core, with_message, with_secret
from ._into import output
from ._keys import KEY_BYTES, KeyPair, PublicPart, core_public, decoded_public
from .encoding import RawEncoder
from .utils import EncryptedMessage, StringFixer, random

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Generic, NoReturn, TypeVar

    from typing_extensions import Buffer, Self

    from ._held import Policy, Secret, Tier
    from .encoding import Encoder

    _Key = TypeVar("_Key", "PublicKey", "PrivateKey")
else:
    _Key = object

    class Generic:
        """typing's, as far as SealedBox[PrivateKey] needs it."""

        __class_getitem__ = classmethod(type(list[int]))


__all__ = ["Box", "EncryptedMessage", "PrivateKey", "PublicKey", "SealedBox", "StringFixer", "encoding", "random"]

SEAL_BYTES = constant("crypto_box_SEALBYTES")
"""What a sealed message is longer than its plaintext: a public key and a tag."""
_NOTHING = ffi.NULL
_share, _LOCK_LIMIT, _POLICY_BITS = lib.zpy_box_share, -lib.ZPY_LOCK_LIMIT, _lib.POLICY_BITS


class PublicKey(PublicPart):
    """An X25519 public key, 32 bytes.

    Args:
        public_key: bytes-like.
        encoder: What it is encoded with.

    Raises:
        TypeError, ValueError: Not bytes-like, another length.
    """

    SIZE: ClassVar[int] = KEY_BYTES

    def __init__(self, public_key: Buffer, encoder: Encoder = RawEncoder) -> None:
        self._public_key = decoded_public(public_key, encoder, "PublicKey", "public key")

    def __bytes__(self) -> bytes:
        return self._public_key


def _bytes_of(key: PublicKey) -> bytes:
    """A public key's bytes for the core; a subclass may have others than it was made of."""
    return core_public(key._public_key if type(key) is PublicKey else bytes(key))


class PrivateKey(KeyPair):
    """An X25519 secret key of 32 bytes, which is copied into a slot, with its public key.

    Args:
        private_key: bytes-like, or a cell, secure memory or key of `zeroizepy`, which counts as an access.
        encoder: What it is encoded with.
        tier, policy: As for `zeroizepy.CypherCell`.
        ttl_sec: Seconds to live; the core zeroes the key at the deadline.

    Attributes:
        public_key: The PublicKey. It stays when the secret is gone, and keys are compared by it.

    Raises:
        TypeError: Not bytes-like, another length, another key of this package; a wrong ttl_sec.
        ValueError: A wrong tier, policy or ttl_sec.
        LockLimitError: Nothing more can be locked.

    Source: RFC 7748.
    """

    SIZE: ClassVar[int] = KEY_BYTES
    SEED_SIZE: ClassVar[int] = KEY_BYTES

    public_key: PublicKey

    def __init__(
        self,
        private_key: Secret,
        encoder: Encoder = RawEncoder,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
    ) -> None:
        try:
            self._take(private_key, encoder, tier, policy, ttl_sec)
        except BaseException as error:
            private_key = b""
            _lib.clear_locals(error)
            raise

    @classmethod
    def from_seed(
        cls,
        seed: Secret,
        encoder: Encoder = RawEncoder,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
    ) -> Self:
        """The key that a seed of 32 bytes stands for: the first half of its SHA-512, made in the slot.

        Raises:
            TypeError, ValueError, LockLimitError: As for the class.
        """

        def expand(key: PrivateKey, options: int, ttl_ns: int) -> None:
            with_secret(
                seed, encoder, KEY_BYTES, lambda given: key._expand(lib.ZPY_BOX_SEED, given, options, ttl_ns), _no_seed
            )

        try:
            return cls._made(PrivateKey, expand, tier, policy, ttl_sec)
        except BaseException as error:
            seed = b""
            _lib.clear_locals(error)
            raise

    @classmethod
    def generate(cls, *, tier: Tier = "packed", policy: Policy = None, ttl_sec: float | None = None) -> Self:
        """A random key, drawn from the kernel's generator straight into its slot.

        Raises:
            TypeError, ValueError, LockLimitError: As for the class.
        """

        def draw(key: PrivateKey, options: int, ttl_ns: int) -> None:
            key._make(_NOTHING, options | lib.ZPY_RANDOM, ttl_ns)

        return cls._made(PrivateKey, draw, tier, policy, ttl_sec)

    @classmethod
    def _from_signing(cls, key: KeyPair, tier: Tier, policy: Policy, ttl_sec: float | None) -> PrivateKey:
        """The key that belongs to a SigningKey."""
        options, ttl_ns = lifetime(tier, policy, ttl_sec)
        made = cls.__new__(cls)
        made._create(
            lambda bits, public: lib.zpy_box_from_signing(key._handle, bits, ttl_ns, public), options, key._fail
        )
        return made

    def _make(self, source: Any, options: int, ttl_ns: int) -> Self:
        return self._expand(lib.ZPY_BOX_SECRET, source, options, ttl_ns)

    def _expand(self, kind: int, source: Any, options: int, ttl_ns: int) -> Self:
        self._create(lambda bits, public: lib.zpy_box_create(kind, source, bits, ttl_ns, public), options)
        return self

    def _create(
        self, make: Callable[[int, bytes], int], options: int, fail: Callable[[int], NoReturn] = _lib.raise_status
    ) -> None:
        public = bytes(KEY_BYTES)  # Filled before anybody else has seen it.
        self._keep(lambda bits: int(make(bits, public)), options, fail)
        self.public_key = PublicKey(public)

    def _refuse(self, _size: int | None) -> NoReturn:
        raise exc.TypeError(f"PrivateKey must be created from a {KEY_BYTES} bytes long raw secret key")

    def _public_part(self) -> PublicKey:
        return self.public_key

    @property
    def _private_key(self) -> bytes:
        """PyNaCl's attribute, which programs use though its name asks them not to; an export."""
        return self._export()


def _no_seed(_size: int | None) -> NoReturn:
    raise exc.TypeError(f"PrivateKey seed must be a {KEY_BYTES} bytes long binary sequence")


class Box(SalsaBox):
    """XSalsa20-Poly1305 under the key that the owners of two X25519 keys share, which is made in a slot.

    Args:
        private_key: Of the one.
        public_key: Of the other.
        tier, policy, ttl_sec: As for `PrivateKey`; the box lives on when that ends.

    Raises:
        TypeError: Other classes.
        ValueError: A subclass of PublicKey whose `bytes()` are not 32.
        RuntimeError: A public key with which everybody shares the same.
        SecureMemoryClosed: The private key is gone, or was while this ran.
        LockLimitError: Nothing more can be locked.

    Source: Bernstein, "Cryptography in NaCl". Nonces have 24 bytes, tags 16.
    """

    NONCE_SIZE: ClassVar[int] = NONCE_BYTES
    _FORGED = "An error occurred trying to decrypt the message"

    def __init__(
        self,
        private_key: PrivateKey,
        public_key: PublicKey,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
    ) -> None:
        if not isinstance(private_key, PrivateKey) or not isinstance(public_key, PublicKey):  # type: ignore[redundant-expr]
            raise exc.TypeError("Box must be created from a PrivateKey and a PublicKey")
        options, ttl_ns = lifetime(tier, policy, ttl_sec)
        core, peer = new_core(), _bytes_of(public_key)
        handle = _share(core, private_key._handle, peer, options & ~_POLICY_BITS, ttl_ns)
        if handle == _LOCK_LIMIT:
            handle = _lib.seal_instead(lambda bits: int(_share(core, private_key._handle, peer, bits, ttl_ns)), options)
        if handle == -lib.ZPY_INVALID:
            raise exc.RuntimeError("Unexpected library error")
        if handle < 0:
            private_key._fail(-handle)
        self._own(core)

    @classmethod
    def decode(
        cls,
        encoded: Secret,
        encoder: Encoder = RawEncoder,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
    ) -> Self:
        """The box with a shared key that is known already.

        Args:
            encoded: 32 bytes: bytes-like, or a cell, secure memory or key.
            encoder: What they are encoded with.
            tier, policy, ttl_sec: As for the class.

        Raises:
            TypeError, ValueError: As `SecretBox`, and here, not only when the box is used.
            LockLimitError: Nothing more can be locked.
        """
        box = cls.__new__(cls)
        try:
            box._take(encoded, encoder, tier, policy, ttl_sec)
        except BaseException as error:
            encoded = b""
            _lib.clear_locals(error)
            raise
        return box

    def _refuse_key(self, size: int | None) -> NoReturn:
        if size is not None:
            raise exc.ValueError("Invalid shared key")
        raise exc.TypeError(f"Box must be decoded from {KEY_BYTES} bytes")

    def shared_key(self) -> bytes:
        """The shared key, 32 bytes; an export, see `zeroizepy.nacl.forbid_export`."""
        return self._export()

    @property
    def _shared_key(self) -> bytes:
        """As `PrivateKey._private_key`."""
        return self._export()


class SealedBox(Generic[_Key], encoding.Encodable, StringFixer):
    """Messages to the owner of an X25519 key from somebody who stays unknown.

    Args:
        recipient_key: A PublicKey to encrypt for, or a PrivateKey to decrypt with, too. That one is used where it is:
            the box decrypts for as long as it lives.

    Raises:
        TypeError: Another class.
        ValueError: A subclass of PublicKey whose `bytes()` are not 32.

    Source: libsodium, crypto_box_seal: an X25519 key for one message, then XSalsa20-Poly1305.
    """

    def __init__(self, recipient_key: _Key) -> None:
        self._recipient: PrivateKey | None = None
        if isinstance(recipient_key, PublicKey):
            self._public_key = _bytes_of(recipient_key)
        elif isinstance(recipient_key, PrivateKey):
            self._public_key = _bytes_of(recipient_key.public_key)
            self._recipient = recipient_key
        else:
            raise exc.TypeError("SealedBox must be created from a PublicKey or a PrivateKey")

    def __bytes__(self) -> bytes:
        return self._public_key

    @property
    def _private_key(self) -> bytes | None:
        """As `PrivateKey._private_key`; None for a box that only encrypts."""
        return None if self._recipient is None else self._recipient._export()

    def encrypt(self, plaintext: Secret, encoder: Encoder = RawEncoder) -> bytes:
        """Encrypt a message; nobody but the recipient can open it, not even the sender.

        Args:
            plaintext: bytes-like, or a cell, memory or key, which is then not copied.
            encoder: What to encode the result with.

        Returns:
            48 bytes more than the plaintext, before encoding.

        Raises:
            TypeError: Not bytes-like.
            RuntimeError: A public key with which everybody shares the same key.
        """
        try:
            return encoder.encode(with_message(plaintext, "plaintext", self._seal))
        except BaseException as error:
            plaintext = b""
            _lib.clear_locals(error)
            raise

    def _seal(self, source: Any) -> bytes:
        size = len(source)
        out = bytes(size + SEAL_BYTES)  # Filled before anybody else has seen it.
        if lib.zpy_box_seal(core_public(self._public_key), source, size, out) != lib.ZPY_OK:
            raise exc.RuntimeError("Unexpected library error")
        return out

    def decrypt(self: SealedBox[PrivateKey], ciphertext: Buffer, encoder: Encoder = RawEncoder) -> bytes:
        """Authenticate and decrypt what `encrypt` made.

        Args:
            ciphertext: 48 bytes or more, once it is decoded.
            encoder: What it is encoded with.

        Returns:
            The plaintext as `bytes`, which cannot be wiped; see `decrypt_secret`.

        Raises:
            CryptoError: For another key, or changed. No plaintext is released.
            TypeError: Not bytes-like, too short, or the box has a public key only.
            SecureMemoryClosed: The private key is gone, or was while this ran.
        """
        return self._open(ciphertext, encoder, None)  # type: ignore[no-any-return]

    def decrypt_secret(self: SealedBox[PrivateKey], ciphertext: Buffer, encoder: Encoder = RawEncoder) -> SecureMemory:
        """The same into secure memory: the plaintext is at no time a Python object."""
        return self._open(ciphertext, encoder, SecureMemory)  # type: ignore[no-any-return]

    def _open(self, ciphertext: Any, encoder: Encoder, into: type[SecureMemory] | None) -> Any:
        sealed = ciphertext if encoder is RawEncoder else encoder.decode(ciphertext)
        recipient = self._recipient
        if recipient is None:
            raise TypeError("SealedBoxes created with a public key cannot decrypt")
        sealed = public_bytes(sealed, "ciphertext")
        if len(sealed) < SEAL_BYTES:
            raise exc.TypeError(f"Input ciphertext must be at least {SEAL_BYTES} long")

        def run(out: Any) -> None:
            status = lib.zpy_box_open(recipient._handle, sealed, len(sealed), out)
            if status == lib.ZPY_FORGED:
                raise exc.CryptoError("An error occurred trying to decrypt the message")
            if status != lib.ZPY_OK:
                recipient._fail(status)

        return output(len(sealed) - SEAL_BYTES, into, run)
