"""Random bytes, and bytes that only look so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constant
from zeroizepy.nacl._into import output
from zeroizepy.slots import check_size

from ._shared import call, check, exact

if TYPE_CHECKING:
    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

randombytes_SEEDBYTES = constant("randombytes_SEEDBYTES")
_SEED = exact(randombytes_SEEDBYTES, exc.TypeError, "Deterministic random bytes must be generated from 32 bytes")


def _drawn(size: int, into: Any, seed: Any) -> Any:
    return output(check_size(size), into, lambda out: check(lib.zpy_sodium_random(seed, out, size)))


@overload
def randombytes(size: int) -> bytes: ...
@overload
def randombytes(size: int, *, into: Into) -> SecureMemory: ...
@careful
def randombytes(size: int, *, into: Into | None = None) -> Any:
    """So many random bytes, from libsodium's generator."""
    return _drawn(size, into, ffi.NULL)


@overload
def randombytes_buf_deterministic(size: int, seed: Secret) -> bytes: ...
@overload
def randombytes_buf_deterministic(size: int, seed: Secret, *, into: Into) -> SecureMemory: ...
@careful
def randombytes_buf_deterministic(size: int, seed: Secret, *, into: Into | None = None) -> Any:
    """So many bytes that look random to who does not know the seed, which always gives the same.

    Raises:
        ValueError: More than 2^38 bytes.
    """
    return call(lambda seed: _drawn(size, into, seed), (_SEED, seed))
