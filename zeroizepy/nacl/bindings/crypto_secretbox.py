"""XSalsa20-Poly1305 under one key."""

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

    class _Seal(Protocol):
        def __call__(self, message: Secret, nonce: Buffer, key: Secret) -> bytes: ...

    class _Open(Protocol):
        @overload
        def __call__(self, ciphertext: Buffer, nonce: Buffer, key: Secret) -> bytes: ...
        @overload
        def __call__(self, ciphertext: Buffer, nonce: Buffer, key: Secret, *, into: Into) -> SecureMemory: ...


(
    crypto_secretbox_KEYBYTES,
    crypto_secretbox_NONCEBYTES,
    crypto_secretbox_ZEROBYTES,
    crypto_secretbox_BOXZEROBYTES,
    crypto_secretbox_MACBYTES,
    crypto_secretbox_MESSAGEBYTES_MAX,
) = constants("crypto_secretbox", "KEYBYTES", "NONCEBYTES", "ZEROBYTES", "BOXZEROBYTES", "MACBYTES", "MESSAGEBYTES_MAX")

_KEY = exact(crypto_secretbox_KEYBYTES, exc.ValueError, "Invalid key")
_NONCE = exact(crypto_secretbox_NONCEBYTES, exc.ValueError, "Invalid nonce")
_MESSAGE = Need((exc.TypeError, "message must be bytes-like"))
_CIPHERTEXT = Need((exc.TypeError, "ciphertext must be bytes-like"))
_LONG_ENOUGH = Need(
    (exc.TypeError, "ciphertext must be bytes-like"),
    (exc.TypeError, f"Input ciphertext must be at least {crypto_secretbox_MACBYTES} long"),
    least=crypto_secretbox_MACBYTES,
)
_FORGED = "Decryption failed. Ciphertext failed verification"


def _seal(name: str) -> _Seal:
    def seal(message: Secret, nonce: Buffer, key: Secret) -> bytes:
        def run(key: Any, nonce: Any, message: Any) -> bytes:
            cipher = lib.ZPY_SODIUM_SECRETBOX
            return sealed(cipher, crypto_secretbox_MACBYTES, message, b"", nonce, key, "Encryption failed")

        return call(run, (_KEY, key), (_NONCE, nonce), (_MESSAGE, message))  # type: ignore[no-any-return]

    return named(seal, __name__, name, "Tag and ciphertext of a message.")  # type: ignore[no-any-return]


def _open(name: str, need: Need) -> _Open:
    def open_(ciphertext: Buffer, nonce: Buffer, key: Secret, *, into: Into | None = None) -> Any:
        def run(key: Any, nonce: Any, ciphertext: Any) -> Any:
            cipher = lib.ZPY_SODIUM_SECRETBOX
            return opened(cipher, crypto_secretbox_MACBYTES, into, ciphertext, b"", nonce, key, _FORGED)

        return call(run, (_KEY, key), (_NONCE, nonce), (need, ciphertext))

    return named(open_, __name__, name, "The message of a tag and ciphertext.")  # type: ignore[no-any-return]


# libsodium's older calls want zeros before their input, which PyNaCl adds and cuts off: the same bytes remain.
crypto_secretbox = _seal("crypto_secretbox")
crypto_secretbox_easy = _seal("crypto_secretbox_easy")
crypto_secretbox_open = _open("crypto_secretbox_open", _CIPHERTEXT)
crypto_secretbox_open_easy = _open("crypto_secretbox_open_easy", _LONG_ENOUGH)
