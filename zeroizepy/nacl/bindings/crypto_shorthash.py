"""SipHash-2-4 by PyNaCl's names, under keys that are used where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants

from ._shared import Need, call, check, exact

if TYPE_CHECKING:
    from zeroizepy.nacl._held import Secret

BYTES, KEYBYTES, XBYTES, XKEYBYTES = constants(
    "crypto_shorthash", "siphash24_BYTES", "siphash24_KEYBYTES", "siphashx24_BYTES", "siphashx24_KEYBYTES"
)
has_crypto_shorthash_siphashx24 = bool(XBYTES)

_DATA = Need((exc.TypeError, "the message must be bytes-like, a cell or secure memory"))
_KEY, _XKEY = (
    exact(size, exc.ValueError, f"Key length must be exactly {size} bytes") for size in (KEYBYTES, XKEYBYTES)
)


def _siphash(data: Secret, key: Secret, key_need: Need, size: int) -> bytes:
    digest = bytes(size)  # Filled before anybody else has seen it.

    def run(secret: Any, source: Any) -> int:
        return int(lib.zpy_hash_siphash(secret, source, len(source), digest, size))

    check(call(run, (key_need, key), (_DATA, data)))
    return digest


@careful
def crypto_shorthash_siphash24(data: Secret, key: Secret) -> bytes:
    """SipHash-2-4 of a message under a key of 16 bytes: 8 bytes.

    Raises:
        TypeError, ValueError: Not bytes-like; a key of another length.
        CellWipedError, SecureMemoryClosed: The key or the message ended meanwhile.
    """
    return _siphash(data, key, _KEY, BYTES)


@careful
def crypto_shorthash_siphashx24(data: Secret, key: Secret) -> bytes:
    """The same with 16 bytes.

    Raises:
        UnavailableError: A reduced libsodium. Else as `crypto_shorthash_siphash24`.
    """
    exc.ensure(has_crypto_shorthash_siphashx24, "Not available in minimal build", raising=exc.UnavailableError)
    return _siphash(data, key, _XKEY, XBYTES)
