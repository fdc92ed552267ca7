"""Messages under one key, for the constructions that differ in names and numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import lib
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._into import output

from ._shared import check

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["opened", "sealed", "unsealed"]


def sealed(cipher: int, more_size: int, message: Any, aad: Any, nonce: Any, key: Any, text: str) -> bytes:
    """Encrypt. Arguments are what cffi takes for pointers.

    Args:
        cipher: An enum zpy_sodium_cipher.
        more_size: Bytes that the ciphertext is longer by.
        text: Of the error when it fails.
    """
    out = bytes(len(message) + more_size)  # Filled by the core before anybody else has seen it.
    check(lib.zpy_sodium_seal(cipher, key, nonce, aad, len(aad), message, len(message), out), exc.CryptoError, text)
    return out


def opened(cipher: int, less_size: int, into: Any, ciphertext: Any, aad: Any, nonce: Any, key: Any, text: str) -> Any:
    """Decrypt, to where `into` wants it."""

    def run(out: Any) -> int:
        size = len(ciphertext)
        return int(lib.zpy_sodium_open(cipher, key, nonce, aad, len(aad), ciphertext, size, out))

    return unsealed(len(ciphertext) - less_size, into, run, text)


def unsealed(size: int, into: Any, run: Callable[[Any], int], text: str) -> Any:
    """A plaintext of so many bytes from `run`, which returns the core's status; a negative size is a forgery, too."""
    if size < 0:
        raise exc.CryptoError(text)
    return output(size, into, lambda out: check(run(out), exc.CryptoError, text))
