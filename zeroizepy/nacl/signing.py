"""Ed25519 signing keys by PyNaCl's names, with the secret in a slot."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.buffers import public_bytes

from . import encoding
from . import exceptions as exc
from ._constants import constant
from ._held import with_message
from ._keys import KEY_BYTES, KeyPair, PublicPart, core_public, decoded_public
from .encoding import RawEncoder
from .public import PrivateKey, PublicKey
from .utils import StringFixer, TwoParts, random

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from typing_extensions import Buffer, Self

    from ._held import Policy, Secret, Tier
    from .encoding import Encoder

__all__ = ["SignedMessage", "SigningKey", "StringFixer", "VerifyKey", "encoding", "random"]

SIGNATURE_BYTES = constant("crypto_sign_BYTES")
_new_bytes = bytes.__new__
_sign, _verify = lib.zpy_sign_message, lib.zpy_sign_verify_message


class SignedMessage(TwoParts):
    """Signature and message, one behind the other; `signature` and `message` give each."""

    _FIRST_BYTES = SIGNATURE_BYTES

    @property
    def signature(self) -> bytes:
        """The signature; encoded, if the whole is."""
        return self._first()

    @property
    def message(self) -> bytes:
        """The message; encoded, if the whole is."""
        return self._second()


class VerifyKey(PublicPart):
    """An Ed25519 public key, 32 bytes.

    Args:
        key: bytes-like.
        encoder: What it is encoded with.

    Raises:
        TypeError, ValueError: Not bytes-like, another length.
    """

    def __init__(self, key: Buffer, encoder: Encoder = RawEncoder) -> None:
        self._key = decoded_public(key, encoder, "VerifyKey", "key")

    def __bytes__(self) -> bytes:
        return self._key

    def verify(self, smessage: Buffer, signature: Buffer | None = None, encoder: Encoder = RawEncoder) -> bytes:
        """Check a signature.

        Args:
            smessage: A signed message or, with `signature`, the message alone.
            signature: 64 bytes, not encoded.
            encoder: What `smessage` is encoded with.

        Returns:
            The message, as `bytes`.

        Raises:
            BadSignatureError: Not this key's signature of this message.
            TypeError, ValueError: Not bytes-like; a `signature` of another length.

        Source: RFC 8032, as libsodium checks it: keys of small order and values out of range are refused.
        """
        if signature is not None:
            signature = _checked_signature(signature)
        decoded = public_bytes(smessage if encoder is RawEncoder else encoder.decode(smessage), "message")  # type: ignore[arg-type]
        key = core_public(self._key)
        if signature is None:
            status = _verify(key, decoded, len(decoded))
        else:
            status = lib.zpy_sign_verify(key, decoded, len(decoded), signature)
        if status != lib.ZPY_OK:
            raise exc.BadSignatureError("Signature was forged or corrupt")
        return decoded[SIGNATURE_BYTES:] if signature is None else bytes(decoded)

    def to_curve25519_public_key(self) -> PublicKey:
        """The X25519 key that belongs to this one.

        Raises:
            RuntimeError: This is no point of the curve's main subgroup.
        """
        public = bytes(KEY_BYTES)  # Filled before anybody else has seen it.
        if lib.zpy_box_public_from_signing(core_public(self._key), public) != lib.ZPY_OK:
            raise exc.RuntimeError("Unexpected library error")
        return PublicKey(public)


def _checked_signature(signature: Any) -> bytes:
    try:
        proof = public_bytes(signature, "signature")
    except TypeError:
        proof = None
    if proof is None:
        raise exc.TypeError(f"Verification signature must be created from {SIGNATURE_BYTES} bytes")
    if len(proof) != SIGNATURE_BYTES:
        raise exc.ValueError(f"The signature must be exactly {SIGNATURE_BYTES} bytes long")
    return proof


class SigningKey(KeyPair):
    """An Ed25519 key whose seed of 32 bytes is copied into a slot.

    Args:
        seed: bytes-like, or a cell, secure memory or key of `zeroizepy`, which counts as an access.
        encoder: What it is encoded with.
        tier, policy: As for `zeroizepy.CypherCell`.
        ttl_sec: Seconds to live; the core zeroes the key at the deadline.

    Attributes:
        verify_key: The VerifyKey. It stays when the secret is gone, and keys are compared by it.

    Raises:
        TypeError: Not bytes-like, another key of this package; a wrong ttl_sec.
        ValueError: Another length; a wrong tier, policy or ttl_sec.
        LockLimitError: Nothing more can be locked.

    Source: RFC 8032.
    """

    verify_key: VerifyKey

    def __init__(
        self,
        seed: Secret,
        encoder: Encoder = RawEncoder,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
    ) -> None:
        try:
            self._take(seed, encoder, tier, policy, ttl_sec)
        except BaseException as error:
            seed = b""
            _lib.clear_locals(error)
            raise

    @classmethod
    def generate(cls, *, tier: Tier = "packed", policy: Policy = None, ttl_sec: float | None = None) -> Self:
        """A random key, drawn from the kernel's generator straight into a slot.

        Raises:
            TypeError, ValueError, LockLimitError: As for the class.
        """

        def draw(key: SigningKey, options: int, ttl_ns: int) -> None:
            key._make(ffi.NULL, options | lib.ZPY_RANDOM, ttl_ns)

        return cls._made(SigningKey, draw, tier, policy, ttl_sec)

    def _make(self, source: Any, options: int, ttl_ns: int) -> Self:
        self._keep(lambda bits: int(lib.zpy_sign_create(source, bits, ttl_ns)), options)
        public = bytes(KEY_BYTES)  # Filled before anybody else has seen it.
        status = lib.zpy_sign_public(self._handle, public)
        if status != lib.ZPY_OK:
            self._fail(status)
        self.verify_key = VerifyKey(public)
        return self

    def _refuse(self, size: int | None) -> NoReturn:
        if size is None:
            raise exc.TypeError(f"SigningKey must be created from a {KEY_BYTES} byte seed")
        raise exc.ValueError(f"The seed must be exactly {KEY_BYTES} bytes long")

    def _public_part(self) -> VerifyKey:
        return self.verify_key

    @property
    def _seed(self) -> bytes:
        """As `PrivateKey._private_key`."""
        return self._export()

    @property
    def _signing_key(self) -> bytes:
        """The same, for seed and public key, which libsodium calls the secret key."""
        return self._export(2 * KEY_BYTES)

    def sign(self, message: Secret, encoder: Encoder = RawEncoder) -> SignedMessage:
        """Sign a message; the same message gives the same signature.

        Args:
            message: bytes-like, or a cell, memory or key. The result holds a copy of it, as `bytes`, as PyNaCl's does;
                `zeroizepy.SigningKey` gives the signature of a secret alone.
            encoder: What to encode the result with.

        Raises:
            TypeError: Not bytes-like.
            SecureMemoryClosed: The key is gone, or was while this ran.
        """
        try:
            return with_message(message, "message", self._signed)._encoded(encoder)
        except BaseException as error:
            message = b""
            _lib.clear_locals(error)
            raise

    def _signed(self, source: Any) -> SignedMessage:
        size = len(source)
        out = _new_bytes(SignedMessage, size + SIGNATURE_BYTES)  # Filled before anybody else has seen it.
        status = _sign(self._handle, source, size, out)
        if status != lib.ZPY_OK:
            self._fail(status)
        return out

    def to_curve25519_private_key(
        self, *, tier: Tier = "packed", policy: Policy = None, ttl_sec: float | None = None
    ) -> PrivateKey:
        """The X25519 key that belongs to this one, made from slot to slot.

        Raises:
            SecureMemoryClosed: This key is gone, or was while this ran.
            TypeError, ValueError, LockLimitError: As for the class.
        """
        return PrivateKey._from_signing(self, tier, policy, ttl_sec)
