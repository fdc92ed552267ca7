"""libsodium's helpers for bytes and long numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._into import output

from ._shared import Need, call, check

if TYPE_CHECKING:
    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

__all__ = ["sodium_add", "sodium_increment", "sodium_memcmp", "sodium_pad", "sodium_unpad"]

_BYTES = Need((exc.TypeError, ""))  # PyNaCl says no more.


@careful
def sodium_memcmp(inp1: Secret, inp2: Secret) -> bool:
    """Whether both are the same bytes, in time that depends on their lengths alone."""

    def run(left: Any, right: Any) -> bool:
        size = len(left)
        return size == len(right) and _lib.core(size, "memequal")(left, right, size) == 1

    return call(run, (_BYTES, inp1), (_BYTES, inp2))  # type: ignore[no-any-return]


def _check_block(blocksize: object) -> None:
    if not isinstance(blocksize, int):
        raise exc.TypeError


@overload
def sodium_pad(s: Secret, blocksize: int) -> bytes: ...
@overload
def sodium_pad(s: Secret, blocksize: int, *, into: Into) -> SecureMemory: ...
@careful
def sodium_pad(s: Secret, blocksize: int, *, into: Into | None = None) -> Any:
    """The bytes with padding (ISO/IEC 7816-4) up to the next multiple of blocksize, which is 1 or more."""

    def run(data: Any) -> Any:
        _check_block(blocksize)
        if blocksize <= 0:
            raise exc.ValueError
        size = len(data)
        room = size + blocksize - size % blocksize
        error = exc.CryptoError, "Padding failure"
        return output(room, into, lambda out: check(lib.zpy_sodium_pad(data, size, blocksize, room, out), *error))

    return call(run, (_BYTES, s))


@overload
def sodium_unpad(s: Secret, blocksize: int) -> bytes: ...
@overload
def sodium_unpad(s: Secret, blocksize: int, *, into: Into) -> SecureMemory: ...
@careful
def sodium_unpad(s: Secret, blocksize: int, *, into: Into | None = None) -> Any:
    """The bytes that sodium_pad padded."""

    def run(data: Any) -> Any:
        _check_block(blocksize)
        size = lib.zpy_sodium_unpadded(data, len(data), blocksize)
        if size < 0:
            raise exc.CryptoError("Unpadding failure")
        return output(size, into, lambda out: lib.zpy_sodium_copy(data, size, out))

    return call(run, (_BYTES, s))


@careful
def sodium_increment(inp: Secret) -> bytes:
    """The number and 1, lowest byte first; the highest gives way to zeros."""
    return call(_sum, (_BYTES, inp))  # type: ignore[no-any-return]


@careful
def sodium_add(a: Secret, b: Secret) -> bytes:
    """The sum of two numbers of the same length, lowest byte first, without what does not fit."""
    return call(_sum, (_BYTES, a), (_BYTES, b))  # type: ignore[no-any-return]


def _sum(first: Any, second: Any = None) -> Any:
    size = len(first)
    if second is not None and len(second) != size:
        raise exc.TypeError
    other = ffi.NULL if second is None else second
    return output(size, None, lambda out: lib.zpy_sodium_add(first, other, size, out))
