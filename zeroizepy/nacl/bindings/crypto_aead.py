"""Authenticated encryption with associated data, one message a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import lib
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants

from ._ciphers import opened, sealed
from ._shared import Need, call, exact, named

if TYPE_CHECKING:
    from typing import Protocol, overload

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

    class _Encrypt(Protocol):
        def __call__(self, message: Secret, aad: Buffer | None, nonce: Buffer, key: Secret) -> bytes: ...

    class _Decrypt(Protocol):
        @overload
        def __call__(self, ciphertext: Buffer, aad: Buffer | None, nonce: Buffer, key: Secret) -> bytes: ...
        @overload
        def __call__(
            self, ciphertext: Buffer, aad: Buffer | None, nonce: Buffer, key: Secret, *, into: Into
        ) -> SecureMemory: ...


_NUMBERS = ("KEYBYTES", "NSECBYTES", "NPUBBYTES", "ABYTES", "MESSAGEBYTES_MAX")
_AAD = Need((exc.TypeError, "Additional data must be bytes or None"))


def _need_cipher(cipher: int) -> None:
    if lib.zpy_sodium_has_cipher(cipher) != 1:
        needs = "hardware acceleration" if cipher == lib.ZPY_SODIUM_AES256GCM else "libsodium 1.0.19 or newer"
        raise exc.UnavailableError(f"Construction requires {needs}")


def _construction(name: str, cipher: int) -> tuple[_Encrypt, _Decrypt]:
    """The two functions of one construction."""
    key_size, _, nonce_size, tag_size, most = constants(name, *_NUMBERS)
    # PyNaCl asks aegis128l_decrypt and others for the limit of another construction; each has its own here.
    limit = most + tag_size
    message_need = Need(
        (exc.TypeError, "Input message type must be bytes"),
        (exc.ValueError, f"Message must be at most {most} bytes long"),
        most=most,
    )
    ciphertext_need = Need(
        (exc.TypeError, "Input ciphertext type must be bytes"),
        (exc.ValueError, f"Ciphertext must be at most {limit} bytes long"),
        most=limit,
    )
    nonce_need = exact(nonce_size, exc.TypeError, f"Nonce must be a {nonce_size} bytes long bytes sequence")
    key_need = exact(key_size, exc.TypeError, f"Key must be a {key_size} bytes long bytes sequence")

    def encrypt(message: Secret, aad: Buffer | None, nonce: Buffer, key: Secret) -> bytes:
        _need_cipher(cipher)

        def run(message: Any, aad: Any, nonce: Any, key: Any) -> bytes:
            return sealed(cipher, tag_size, message, aad, nonce, key, "Encryption failed.")

        given = (message_need, message), (_AAD, b"" if aad is None else aad), (nonce_need, nonce), (key_need, key)
        return call(run, *given)  # type: ignore[no-any-return]

    def decrypt(ciphertext: Buffer, aad: Buffer | None, nonce: Buffer, key: Secret, *, into: Into | None = None) -> Any:
        _need_cipher(cipher)

        def run(ciphertext: Any, aad: Any, nonce: Any, key: Any) -> Any:
            if len(ciphertext) < tag_size:  # A ValueError in PyNaCl, too.
                raise exc.ValueError(f"Ciphertext must be at least {tag_size} bytes long")
            return opened(cipher, tag_size, into, ciphertext, aad, nonce, key, "Decryption failed.")

        given = (ciphertext_need, ciphertext), (_AAD, b"" if aad is None else aad), (nonce_need, nonce), (key_need, key)
        return call(run, *given)

    what = name.removeprefix("crypto_aead_")
    return (
        named(encrypt, __name__, f"{name}_encrypt", f"Ciphertext and tag of a message with {what}."),
        named(decrypt, __name__, f"{name}_decrypt", f"The message of a ciphertext and tag of {what}."),
    )


(
    crypto_aead_chacha20poly1305_ietf_KEYBYTES,
    crypto_aead_chacha20poly1305_ietf_NSECBYTES,
    crypto_aead_chacha20poly1305_ietf_NPUBBYTES,
    crypto_aead_chacha20poly1305_ietf_ABYTES,
    crypto_aead_chacha20poly1305_ietf_MESSAGEBYTES_MAX,
) = constants("crypto_aead_chacha20poly1305_ietf", *_NUMBERS)
crypto_aead_chacha20poly1305_ietf_encrypt, crypto_aead_chacha20poly1305_ietf_decrypt = _construction(
    "crypto_aead_chacha20poly1305_ietf", lib.ZPY_SODIUM_CHACHA20_IETF
)

(
    crypto_aead_chacha20poly1305_KEYBYTES,
    crypto_aead_chacha20poly1305_NSECBYTES,
    crypto_aead_chacha20poly1305_NPUBBYTES,
    crypto_aead_chacha20poly1305_ABYTES,
    crypto_aead_chacha20poly1305_MESSAGEBYTES_MAX,
) = constants("crypto_aead_chacha20poly1305", *_NUMBERS)
crypto_aead_chacha20poly1305_encrypt, crypto_aead_chacha20poly1305_decrypt = _construction(
    "crypto_aead_chacha20poly1305", lib.ZPY_SODIUM_CHACHA20
)

(
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NSECBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_MESSAGEBYTES_MAX,
) = constants("crypto_aead_xchacha20poly1305_ietf", *_NUMBERS)
crypto_aead_xchacha20poly1305_ietf_encrypt, crypto_aead_xchacha20poly1305_ietf_decrypt = _construction(
    "crypto_aead_xchacha20poly1305_ietf", lib.ZPY_SODIUM_XCHACHA20_IETF
)

(
    crypto_aead_aegis256_KEYBYTES,
    crypto_aead_aegis256_NSECBYTES,
    crypto_aead_aegis256_NPUBBYTES,
    crypto_aead_aegis256_ABYTES,
    crypto_aead_aegis256_MESSAGEBYTES_MAX,
) = constants("crypto_aead_aegis256", *_NUMBERS)
crypto_aead_aegis256_encrypt, crypto_aead_aegis256_decrypt = _construction(
    "crypto_aead_aegis256", lib.ZPY_SODIUM_AEGIS256
)

(
    crypto_aead_aegis128l_KEYBYTES,
    crypto_aead_aegis128l_NSECBYTES,
    crypto_aead_aegis128l_NPUBBYTES,
    crypto_aead_aegis128l_ABYTES,
    crypto_aead_aegis128l_MESSAGEBYTES_MAX,
) = constants("crypto_aead_aegis128l", *_NUMBERS)
crypto_aead_aegis128l_encrypt, crypto_aead_aegis128l_decrypt = _construction(
    "crypto_aead_aegis128l", lib.ZPY_SODIUM_AEGIS128L
)

(
    crypto_aead_aes256gcm_KEYBYTES,
    crypto_aead_aes256gcm_NSECBYTES,
    crypto_aead_aes256gcm_NPUBBYTES,
    crypto_aead_aes256gcm_ABYTES,
    crypto_aead_aes256gcm_MESSAGEBYTES_MAX,
) = constants("crypto_aead_aes256gcm", *_NUMBERS)
crypto_aead_aes256gcm_encrypt, crypto_aead_aes256gcm_decrypt = _construction(
    "crypto_aead_aes256gcm", lib.ZPY_SODIUM_AES256GCM
)
