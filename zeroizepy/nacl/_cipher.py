"""Boxes: messages under a key in a slot, by the core's zpy_key_seal and zpy_key_open."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.buffers import public_bytes
from zeroizepy.memory import SecureMemory

from . import exceptions as exc
from ._constants import constants
from ._held import SecretHolder, lifetime, new_core, with_message, with_secret
from .encoding import Encodable, RawEncoder
from .utils import EncryptedMessage, StringFixer

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn

    from typing_extensions import Buffer, Self

    from ._held import Policy, Secret, Tier
    from .encoding import Encoder

__all__ = ["KEY_BYTES", "MAC_BYTES", "NONCE_BYTES", "OVERHEAD_BYTES", "PLAIN", "SHORT_BYTES", "CipherBox", "SalsaBox"]

KEY_BYTES, NONCE_BYTES, MAC_BYTES = constants("crypto_secretbox", "KEYBYTES", "NONCEBYTES", "MACBYTES")
"""Of XSalsa20-Poly1305 and XChaCha20-Poly1305 alike."""
OVERHEAD_BYTES = NONCE_BYTES + MAC_BYTES
SHORT_BYTES = 16384
"""From here on the GIL is released: the work then outlasts the cost of doing so."""

# Looked up once: on short messages that is a good part of the time.
_seal_short, _open_short, _NULL = lib.zpy_key_seal, lib.zpy_key_open, ffi.NULL
_new_bytes = bytes.__new__
_NO_CORE = new_core()
PLAIN = (bytes, EncryptedMessage)
"""What is decrypted in line; see `is_bytes` for why no other subclass of bytes is."""


class CipherBox(SecretHolder, Encodable, StringFixer):
    """A box whose messages are nonce, and ciphertext with tag."""

    _ALGORITHM: ClassVar[int]
    _KEY_KIND: ClassVar[str]
    _FORGED: ClassVar[str] = "Decryption failed. Ciphertext failed verification"
    _core: Any = _NO_CORE
    """A struct zpy_key; without a key one that every call refuses."""

    def __init__(
        self,
        key: Secret,
        encoder: Encoder = RawEncoder,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
    ) -> None:
        try:
            self._take(key, encoder, tier, policy, ttl_sec)
        except BaseException as error:
            key = b""
            _lib.clear_locals(error)
            raise

    def _take(self, key: Secret, encoder: Encoder, tier: Tier, policy: Policy, ttl_sec: float | None) -> None:
        """Copy the key into a slot of its own."""
        options, ttl_ns = lifetime(tier, policy, ttl_sec)
        if isinstance(key, SecretHolder):
            self._refuse_key(None)  # As PyNaCl does, for a key of this package is of another kind.
        with_secret(key, encoder, KEY_BYTES, lambda source: self._make(source, options, ttl_ns), self._refuse_key)

    def _make(self, source: Any, options: int, ttl_ns: int) -> Self:
        """Returns itself, which is wiped when what was lent ended meanwhile: perhaps the key is made of zeros."""
        core = new_core()
        handle = _lib.make_cell(
            lambda bits: int(lib.zpy_key_create(core, self._ALGORITHM, source, bits, ttl_ns)), options
        )
        if handle < 0:
            _lib.raise_status(-handle, KEY_BYTES)
        self._own(core)
        return self

    def _own(self, core: Any) -> None:
        self._hold(core.cell, KEY_BYTES)
        self._core = core

    @property
    def _key(self) -> bytes:
        """PyNaCl's attribute, which programs use though its name asks them not to; an export."""
        return self._export()

    def _refuse_key(self, size: int | None) -> NoReturn:
        if size is not None:
            raise exc.ValueError(f"The key must be exactly {KEY_BYTES} bytes long")
        raise exc.TypeError(f"{self._KEY_KIND} must be created from {KEY_BYTES} bytes")

    def _encrypt(self, plaintext: Any, aad: Any, nonce: Any, encoder: Encoder) -> EncryptedMessage:
        """Any message, any way; subclasses have the common one in line."""
        if nonce is not None:
            nonce = public_bytes(nonce, "nonce")
            _check_nonce(nonce)
        extra = _extra_bytes(aad)
        message = with_message(plaintext, "plaintext", lambda source: _seal(self, source, extra, nonce))
        return message._encoded(encoder)

    def _decrypt(self, ciphertext: Any, aad: Any, nonce: Any, encoder: Encoder) -> bytes:
        sealed, nonce, size = _split(ciphertext, nonce, encoder)
        extra = _extra_bytes(aad)
        # The core fills the object before anybody else has seen it; those of up to one byte all code shares.
        out: Any = bytes(size) if size > 1 else ffi.new("uint8_t[]", 1)
        run = _open_short if len(sealed) < SHORT_BYTES else lib.zpy_aead_open
        status = run(self._core, sealed, len(sealed), extra, len(extra), _NULL if nonce is None else nonce, out)
        if status != lib.ZPY_OK:
            self._fail_open(status)
        if size > 1:
            return out  # type: ignore[no-any-return]
        plaintext = bytes(ffi.buffer(out, size))
        lib.zpy_cell_memzero(out, 1)
        return plaintext

    def _decrypt_secret(self, ciphertext: Any, aad: Any, nonce: Any, encoder: Encoder) -> SecureMemory:
        sealed, nonce, size = _split(ciphertext, nonce, encoder)
        if nonce is None:
            sealed, nonce = sealed[NONCE_BYTES:], sealed[:NONCE_BYTES]
        extra = _extra_bytes(aad)
        memory = SecureMemory(size)
        status = lib.zpy_aead_decrypt_into(self._core, sealed, len(sealed), extra, len(extra), nonce, memory._handle)
        if status != lib.ZPY_OK:
            memory.close()
            self._fail_open(status)
        return memory

    def _fail_open(self, status: int) -> NoReturn:
        if status == lib.ZPY_FORGED:
            raise exc.CryptoError(self._FORGED)
        self._fail(status)


class SalsaBox(CipherBox):
    """A box with XSalsa20-Poly1305."""

    _ALGORITHM = lib.ZPY_XSALSA20_POLY1305

    def encrypt(
        self, plaintext: Secret, nonce: Buffer | None = None, encoder: Encoder = RawEncoder
    ) -> EncryptedMessage:
        """Encrypt a message.

        Args:
            plaintext: bytes-like, or a cell, memory or key, which is then not copied.
            nonce: 24 bytes that no other message under this key has; None draws them.
            encoder: What to encode the result with.

        Raises:
            TypeError, ValueError: A wrong argument.
            SecureMemoryClosed: The key is gone, or was while this ran.
        """
        if nonce is None and encoder is RawEncoder and type(plaintext) is bytes:
            # The common case: one call into the core, which fills the object before anybody else has seen it.
            size = len(plaintext)
            if size < SHORT_BYTES:
                out = _new_bytes(EncryptedMessage, size + OVERHEAD_BYTES)
                if not _seal_short(self._core, plaintext, size, b"", 0, _NULL, out):
                    return out
        try:
            return self._encrypt(plaintext, b"", nonce, encoder)
        except BaseException as error:
            plaintext = b""
            _lib.clear_locals(error)
            raise

    def decrypt(self, ciphertext: Buffer, nonce: Buffer | None = None, encoder: Encoder = RawEncoder) -> bytes:
        """Authenticate and decrypt what `encrypt` made.

        Args:
            ciphertext: With its nonce before it, unless that is given.
            nonce: 24 bytes, or None.
            encoder: What the ciphertext is encoded with.

        Returns:
            The plaintext as `bytes`, which cannot be wiped; see `decrypt_secret`.

        Raises:
            CryptoError: Another key or nonce, or a changed message. No plaintext is released.
            TypeError, ValueError: A wrong argument, or a ciphertext shorter than its tag.
            SecureMemoryClosed: The key is gone, or was while this ran.
        """
        if nonce is None and encoder is RawEncoder and type(ciphertext) in PLAIN:
            size = len(ciphertext) - OVERHEAD_BYTES  # type: ignore[arg-type]
            if 1 < size < SHORT_BYTES:
                out = bytes(size)
                status = _open_short(self._core, ciphertext, size + OVERHEAD_BYTES, b"", 0, _NULL, out)
                if not status:
                    return out
                self._fail_open(status)
        return self._decrypt(ciphertext, b"", nonce, encoder)

    def decrypt_secret(
        self, ciphertext: Buffer, nonce: Buffer | None = None, encoder: Encoder = RawEncoder
    ) -> SecureMemory:
        """The same into secure memory: the plaintext is at no time a Python object."""
        return self._decrypt_secret(ciphertext, b"", nonce, encoder)


def _extra_bytes(aad: Any) -> bytes:
    """Associated data; None is none, as with PyNaCl."""
    return b"" if aad is None else public_bytes(aad, "aad")


def _check_nonce(nonce: bytes) -> None:
    if len(nonce) != NONCE_BYTES:
        raise exc.ValueError(f"The nonce must be exactly {NONCE_BYTES} bytes long")


def _seal(box: CipherBox, source: Any, extra: bytes, nonce: bytes | None) -> EncryptedMessage:
    size = len(source)
    out = _new_bytes(EncryptedMessage, size + OVERHEAD_BYTES)  # As in _decrypt.
    run = _seal_short if size < SHORT_BYTES else lib.zpy_aead_seal
    status = run(box._core, source, size, extra, len(extra), _NULL if nonce is None else nonce, out)
    if status == lib.ZPY_RANGE:
        raise exc.ValueError("the message is too long for this cipher")
    if status != lib.ZPY_OK:
        box._fail(status)
    return out


def _split(ciphertext: Any, nonce: Any, encoder: Encoder) -> tuple[bytes, bytes | None, int]:
    """The decoded ciphertext, with its nonce before it unless one is given, and the plaintext's length."""
    decoded = ciphertext if encoder is RawEncoder else encoder.decode(ciphertext)
    sealed = public_bytes(decoded, "ciphertext")
    if nonce is not None:
        nonce = public_bytes(nonce, "nonce")
        _check_nonce(nonce)
        size = len(sealed) - MAC_BYTES
    else:
        _check_nonce(sealed[:NONCE_BYTES])
        size = len(sealed) - OVERHEAD_BYTES
    if size < 0:
        raise exc.TypeError(f"Input ciphertext must be at least {MAC_BYTES} long")
    return sealed, nonce, size
