"""AES key wrap with padding (RFC 5649, NIST SP 800-38F KWP), for interchange with HSMs and other programs.

OpenSSL does it, through `cryptography`. It takes and gives Python objects, which are wiped here; what it makes on the
way, on its own heap and in releases before 47 on Python's, is out of reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zeroizepy import _lib
from zeroizepy.exceptions import DecryptionError
from zeroizepy.slots import lend

from .base import HeldKey
from .census import note
from .wrap import check_no_weaker

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["kwp_open", "kwp_seal", "unwrap_bytes", "wrap_bytes"]

_LENGTHS = {24: 16, 32: 24, 40: 32}
"""Bytes of the key, by those of the wrapped one."""


def wrap_bytes(wrapping_key: Buffer, data: Buffer) -> bytes:
    """KWP-AE of any data, whose one copy on the way is wiped."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

    copy = bytes(memoryview(data))
    try:
        return aes_key_wrap_with_padding(memoryview(wrapping_key), copy)
    finally:
        _lib.wipe_bytes(copy)


def unwrap_bytes(wrapping_key: Buffer, wrapped: bytes) -> bytes | None:
    """KWP-AD: bytes that the caller wipes, or None for FAIL."""
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

    try:
        return aes_key_unwrap_with_padding(memoryview(wrapping_key), wrapped)
    except InvalidUnwrap:
        return None


def kwp_seal(wrapping_key: HeldKey, key: HeldKey) -> bytes:
    """The wrapped key. `CryptoKey.wrap` tells what is raised."""
    check_no_weaker(wrapping_key, key)
    blob = lend(wrapping_key, lambda outer: lend(key, lambda inner: wrap_bytes(outer, inner), peek=True), peek=True)
    for each in (wrapping_key, key):
        note(each, "kwp")
    return blob


def kwp_open(wrapping_key: object, blob: bytes) -> bytes:
    """The bytes of a wrapped key, which the caller wipes.

    Raises:
        TypeError: The wrapping key is none.
        DecryptionError: Another wrapping key, or what it wrapped was changed, truncated, or is none.
        SecureMemoryClosed: It is destroyed.
    """
    if not isinstance(wrapping_key, HeldKey):
        raise TypeError(f"wrapping_key must be a CryptoKey, not {type(wrapping_key).__name__}")
    if len(blob) not in _LENGTHS:
        raise DecryptionError(f"blob: a key wrapped with AES-KWP has 24, 32 or 40 bytes, not {len(blob)}")
    data = lend(wrapping_key, lambda outer: unwrap_bytes(outer, blob), peek=True)
    note(wrapping_key, "kwp")
    if data is None:
        raise DecryptionError("wrong wrapping key, or the wrapped key was changed; AES-KWP does not tell which")
    if len(data) != _LENGTHS[len(blob)]:
        size = len(data)
        _lib.wipe_bytes(data)
        raise DecryptionError(f"blob: holds {size} bytes, which is no length of a key")
    return data
