"""AES key wrap with padding (RFC 5649, NIST SP 800-38F KWP), for interchange with HSMs and other programs.

The AES is OpenSSL's, through `cryptography`; what is done with its blocks stands here, in buffers that are zeroed.
`cryptography` has the whole of it, too, and leaves the last 16 bytes of the wrapped key in heap that it has freed
(seen with release 50.0.2; before 47 it takes keys apart into Python objects).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import ffi, lib
from zeroizepy.exceptions import DecryptionError
from zeroizepy.slots import lend

from .base import HeldKey
from .census import note
from .wrap import check_may_wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory

__all__ = ["key_length", "kwp_open_into", "kwp_seal", "unwrap_into", "wrap_bytes"]

_MAGIC = bytes.fromhex("a65959a6")
_HALF, _BLOCK = 8, 16
_ROUNDS = 6
_MOST_HALVES = 42
"""The step counter then fits one byte: 336 bytes, more than any key here has."""
_LENGTHS = {24: 16, 32: 24, 40: 32}
"""Bytes of the key, by those of the wrapped one."""


class _Blocks:
    """AES on one block after the other, in one buffer of ordinary memory that `wipe` zeroes."""

    def __init__(self, key: Buffer, size: int, *, encrypt: bool) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        cipher = Cipher(algorithms.AES(memoryview(key)), modes.ECB())  # noqa: S305 - RFC 3394 is made of single blocks.
        self._run: Any = cipher.encryptor() if encrypt else cipher.decryptor()
        self._held = [ffi.new("uint8_t[]", count) for count in (size, _BLOCK, 2 * _BLOCK)]
        self.data, self._block, self._out = (memoryview(ffi.buffer(each)) for each in self._held)

    def step(self, at: int, before: int, after: int) -> None:
        """Replace the first half-block and the one at an offset by AES of both, with counters around it."""
        block, out = self._block, self._out
        block[:_HALF] = self.data[:_HALF]
        block[_HALF:] = self.data[at : at + _HALF]
        block[_HALF - 1] ^= before
        self._run.update_into(block, out)
        self.data[:_HALF] = out[:_HALF]
        self.data[at : at + _HALF] = out[_HALF:_BLOCK]
        self.data[_HALF - 1] ^= after

    def wipe(self) -> None:
        """Zero all of it."""
        for each in self._held:
            lib.zpy_cell_memzero(each, len(each))


def wrap_bytes(wrapping_key: Buffer, data: Buffer) -> bytes:
    """KWP-AE, of 1 to 336 bytes."""
    view = memoryview(data)
    count = -(-len(view) // _HALF)
    blocks = _Blocks(wrapping_key, _HALF * (1 + count), encrypt=True)
    try:
        blocks.data[:_HALF] = _MAGIC + len(view).to_bytes(4, "big")
        blocks.data[_HALF : _HALF + len(view)] = view
        for step in range(_ROUNDS * count if count > 1 else 1):
            blocks.step(_HALF * (step % count + 1), 0, step + 1 if count > 1 else 0)
        return bytes(blocks.data)
    finally:
        blocks.wipe()


def unwrap_into(wrapping_key: Buffer, wrapped: bytes, take: Callable[[memoryview], None]) -> bool:
    """KWP-AD.

    Args:
        wrapping_key: 16, 24 or 32 bytes.
        wrapped: What `wrap_bytes` gave.
        take: Called with the data, which is zeroed afterwards.

    Returns:
        False for FAIL.
    """
    count = len(wrapped) // _HALF - 1
    if len(wrapped) % _HALF or not 1 <= count <= _MOST_HALVES:
        return False
    blocks = _Blocks(wrapping_key, len(wrapped), encrypt=False)
    try:
        blocks.data[:] = wrapped
        for step in reversed(range(_ROUNDS * count if count > 1 else 1)):
            blocks.step(_HALF * (step % count + 1), step + 1 if count > 1 else 0, 0)
        size = int.from_bytes(blocks.data[4:_HALF], "big")
        end = _HALF + size
        is_good = _HALF * (count - 1) < size <= _HALF * count and not any(blocks.data[end:])
        if blocks.data[:4] != _MAGIC or not is_good:
            return False
        take(blocks.data[_HALF:end])
        return True
    finally:
        blocks.wipe()


def kwp_seal(wrapping_key: HeldKey, key: HeldKey) -> bytes:
    """The wrapped key. `CryptoKey.wrap` tells what is raised."""
    check_may_wrap(wrapping_key, key)
    _check_is_aes(wrapping_key)
    for each in (wrapping_key, key):
        note(each, "kwp")  # Before: a receipt that is made meanwhile must have it.
    blob = lend(wrapping_key, lambda outer: lend(key, lambda inner: wrap_bytes(outer, inner), peek=True), peek=True)
    note(wrapping_key, "keys_wrapped")
    return blob


def _check_is_aes(wrapping_key: HeldKey) -> None:
    if not wrapping_key._algorithm.is_aes:
        raise ValueError(
            f"AES-KWP wraps with AES keys, not with one for {wrapping_key.algorithm}; use the default format"
        )


def kwp_open_into(target: SecureMemory, wrapping_key: object, blob: bytes) -> None:
    """Decrypt a wrapped key into secure memory of `key_length` bytes.

    Raises:
        TypeError: The wrapping key is none.
        ValueError: It is not for AES.
        DecryptionError: Another wrapping key, or what it wrapped was changed, or is no key.
        SecureMemoryClosed: It is destroyed.
    """
    if not isinstance(wrapping_key, HeldKey):
        raise TypeError(f"wrapping_key must be a CryptoKey, not {type(wrapping_key).__name__}")
    _check_is_aes(wrapping_key)
    wrong: list[int] = []

    def take(data: memoryview) -> None:
        if len(data) == len(target):
            target.write(data)
        else:
            wrong.append(len(data))

    note(wrapping_key, "kwp")  # As above.
    is_good = lend(wrapping_key, lambda outer: unwrap_into(outer, blob, take), peek=True)
    if not is_good:
        raise DecryptionError(
            "wrong wrapping key, or the wrapped key was changed, AES-KWP does not tell which; "
            "give the right one, or another copy"
        )
    if wrong:
        raise DecryptionError(f"blob: holds {wrong[0]} bytes, which is no length of a key")
    note(wrapping_key, "keys_unwrapped")


def key_length(blob: bytes) -> int:
    """Bytes of the key in a wrapped one.

    Raises:
        DecryptionError: It holds none.
    """
    if len(blob) not in _LENGTHS:
        raise DecryptionError(
            f"blob: a key wrapped with AES-KWP has 24, 32 or 40 bytes, not {len(blob)}; is it of the other format?"
        )
    return _LENGTHS[len(blob)]
