"""Boxes for messages under one secret key, by PyNaCl's names, with the key in a slot."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib

from ._cipher import KEY_BYTES, MAC_BYTES, NONCE_BYTES, OVERHEAD_BYTES, PLAIN, SHORT_BYTES, CipherBox, SalsaBox
from ._constants import constant
from .encoding import RawEncoder
from .utils import EncryptedMessage

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import ClassVar

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory

    from ._held import Secret
    from .encoding import Encoder

__all__ = ["Aead", "SecretBox"]

_seal, _open, _NULL = lib.zpy_key_seal, lib.zpy_key_open, ffi.NULL
_new_bytes = bytes.__new__


class SecretBox(SalsaBox):
    """XSalsa20-Poly1305 under a key of 32 bytes, which is copied into a slot.

    Args:
        key: bytes-like, or a cell, secure memory or key, which counts as an access.
        encoder: What the key is encoded with.
        tier, policy: As for `zeroizepy.CypherCell`.
        ttl_sec: Seconds to live; the core zeroes the key at the deadline.

    Raises:
        TypeError, ValueError: Not bytes-like, another length, a wrong tier, policy or ttl_sec.
        LockLimitError: Nothing more can be locked.

    Source: Bernstein, "Cryptography in NaCl", section 10. Nonces have 24 bytes, tags 16.
    """

    KEY_SIZE: ClassVar[int] = KEY_BYTES
    NONCE_SIZE: ClassVar[int] = NONCE_BYTES
    MACBYTES: ClassVar[int] = MAC_BYTES
    MESSAGEBYTES_MAX: ClassVar[int] = constant("crypto_secretbox_MESSAGEBYTES_MAX")
    _KEY_KIND = "SecretBox"


class Aead(CipherBox):
    """XChaCha20-Poly1305 under a key of 32 bytes, which is copied into a slot; with associated data.

    Args:
        key: bytes-like, or a cell, secure memory or key, which counts as an access.
        encoder: What the key is encoded with.
        tier, policy, ttl_sec: As for `SecretBox`.

    Raises:
        TypeError, ValueError, LockLimitError: As for `SecretBox`.

    Source: draft-irtf-cfrg-xchacha. Nonces have 24 bytes, tags 16.
    """

    KEY_SIZE: ClassVar[int] = KEY_BYTES
    NONCE_SIZE: ClassVar[int] = NONCE_BYTES
    MACBYTES: ClassVar[int] = MAC_BYTES
    MESSAGEBYTES_MAX: ClassVar[int] = constant("crypto_aead_xchacha20poly1305_ietf_MESSAGEBYTES_MAX")
    _ALGORITHM = lib.ZPY_XCHACHA20_POLY1305
    _KEY_KIND = "AEAD"

    def encrypt(
        self, plaintext: Secret, aad: Buffer | None = b"", nonce: Buffer | None = None, encoder: Encoder = RawEncoder
    ) -> EncryptedMessage:
        """Encrypt a message; `aad` is authenticated with it, neither encrypted nor stored. Else as `SecretBox`."""
        if nonce is None and encoder is RawEncoder and type(plaintext) is bytes and type(aad) is bytes:
            size = len(plaintext)
            if size < SHORT_BYTES:
                out = _new_bytes(EncryptedMessage, size + OVERHEAD_BYTES)
                if not _seal(self._core, plaintext, size, aad, len(aad), _NULL, out):
                    return out
        try:
            return self._encrypt(plaintext, aad, nonce, encoder)
        except BaseException as error:
            plaintext = b""
            _lib.clear_locals(error)
            raise

    def decrypt(
        self, ciphertext: Buffer, aad: Buffer | None = b"", nonce: Buffer | None = None, encoder: Encoder = RawEncoder
    ) -> bytes:
        """Authenticate and decrypt what `encrypt` made with the same `aad`. Else as `SecretBox`."""
        if nonce is None and encoder is RawEncoder and type(ciphertext) in PLAIN and type(aad) is bytes:
            size = len(ciphertext) - OVERHEAD_BYTES  # type: ignore[arg-type]
            if 1 < size < SHORT_BYTES:
                out = bytes(size)
                status = _open(self._core, ciphertext, size + OVERHEAD_BYTES, aad, len(aad), _NULL, out)
                if not status:
                    return out
                self._fail_open(status)
        return self._decrypt(ciphertext, aad, nonce, encoder)

    def decrypt_secret(
        self, ciphertext: Buffer, aad: Buffer | None = b"", nonce: Buffer | None = None, encoder: Encoder = RawEncoder
    ) -> SecureMemory:
        """The same into secure memory: the plaintext is at no time a Python object."""
        return self._decrypt_secret(ciphertext, aad, nonce, encoder)
