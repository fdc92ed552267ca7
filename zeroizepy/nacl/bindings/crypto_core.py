"""Points of Edwards25519, and scalars modulo its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants

from ._shared import call, check, exact, named, transform

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, overload

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

    class _OfScalar(Protocol):
        @overload
        def __call__(self, s: Secret) -> bytes: ...
        @overload
        def __call__(self, s: Secret, *, into: Into) -> SecureMemory: ...

    class _OfScalars(Protocol):
        @overload
        def __call__(self, p: Secret, q: Secret) -> bytes: ...
        @overload
        def __call__(self, p: Secret, q: Secret, *, into: Into) -> SecureMemory: ...


crypto_core_ed25519_BYTES, crypto_core_ed25519_SCALARBYTES, crypto_core_ed25519_NONREDUCEDSCALARBYTES = constants(
    "crypto_core_ed25519", "BYTES", "SCALARBYTES", "NONREDUCEDSCALARBYTES"
)
has_crypto_core_ed25519 = crypto_core_ed25519_BYTES != 0

_EACH = "Each {} must be a {} long bytes sequence"
_INTEGER = "Integer {} must be a {} long bytes sequence"
# PyNaCl's messages have the names of the sizes in them, and no numbers.
_POINTS = exact(crypto_core_ed25519_BYTES, exc.TypeError, _EACH.format("point", "crypto_core_ed25519_BYTES"))
_SCALARS = exact(
    crypto_core_ed25519_SCALARBYTES, exc.TypeError, _EACH.format("integer", "crypto_core_ed25519_SCALARBYTES")
)
_SCALAR = exact(crypto_core_ed25519_SCALARBYTES, exc.TypeError, _INTEGER.format("s", "crypto_core_ed25519_SCALARBYTES"))
_LONG_SCALAR = exact(
    crypto_core_ed25519_NONREDUCEDSCALARBYTES,
    exc.TypeError,
    _INTEGER.format("s", "crypto_core_ed25519_NONREDUCEDSCALARBYTES"),
)
_UNIFORM = exact(crypto_core_ed25519_BYTES, exc.TypeError, _INTEGER.format("r", "crypto_core_ed25519_BYTES"))
_POINT = exact(
    crypto_core_ed25519_BYTES, exc.TypeError, "Point must be a crypto_core_ed25519_BYTES long bytes sequence"
)


def _need_curve() -> None:
    if not has_crypto_core_ed25519:
        raise exc.UnavailableError("Not available in minimal build")


@careful
def crypto_core_ed25519_is_valid_point(p: Buffer) -> bool:
    """Whether p is a point in canonical form, on the curve, of the main subgroup, and not of small order."""
    _need_curve()

    def run(p: Any) -> bool:
        status = lib.zpy_sodium_transform(lib.ZPY_ED25519_IS_VALID_POINT, p, ffi.NULL, ffi.NULL)
        if status == lib.ZPY_INVALID:
            return False
        check(status)
        return True

    return call(run, (_POINT, p))  # type: ignore[no-any-return]


@careful
def crypto_core_ed25519_from_uniform(r: Buffer) -> bytes:
    """The point that 32 bytes always give."""
    _need_curve()
    which, size = lib.ZPY_ED25519_FROM_UNIFORM, crypto_core_ed25519_BYTES
    return call(lambda r: transform(which, size, None, r), (_UNIFORM, r))  # type: ignore[no-any-return]


def _of_points(name: str, which: int, text: str) -> Callable[[Buffer, Buffer], bytes]:
    def run(p: Buffer, q: Buffer) -> bytes:
        _need_curve()
        size = crypto_core_ed25519_BYTES
        return call(lambda p, q: transform(which, size, None, p, q), (_POINTS, p), (_POINTS, q))  # type: ignore[no-any-return]

    return named(run, __name__, name, text)  # type: ignore[no-any-return]


def _of_scalar(name: str, which: int, text: str, need: Any = _SCALAR) -> _OfScalar:
    def run(s: Secret, *, into: Into | None = None) -> Any:
        _need_curve()
        size = crypto_core_ed25519_SCALARBYTES
        return call(lambda s: transform(which, size, into, s), (need, s))

    return named(run, __name__, name, text)  # type: ignore[no-any-return]


def _of_scalars(name: str, which: int, text: str) -> _OfScalars:
    def run(p: Secret, q: Secret, *, into: Into | None = None) -> Any:
        _need_curve()
        size = crypto_core_ed25519_SCALARBYTES
        return call(lambda p, q: transform(which, size, into, p, q), (_SCALARS, p), (_SCALARS, q))

    return named(run, __name__, name, text)  # type: ignore[no-any-return]


crypto_core_ed25519_add = _of_points("crypto_core_ed25519_add", lib.ZPY_ED25519_ADD, "The point p + q.")
crypto_core_ed25519_sub = _of_points("crypto_core_ed25519_sub", lib.ZPY_ED25519_SUB, "The point p - q.")
crypto_core_ed25519_scalar_invert = _of_scalar(
    "crypto_core_ed25519_scalar_invert", lib.ZPY_ED25519_SCALAR_INVERT, "1 / s; 0 has none."
)
crypto_core_ed25519_scalar_negate = _of_scalar(
    "crypto_core_ed25519_scalar_negate", lib.ZPY_ED25519_SCALAR_NEGATE, "The scalar -s."
)
crypto_core_ed25519_scalar_complement = _of_scalar(
    "crypto_core_ed25519_scalar_complement", lib.ZPY_ED25519_SCALAR_COMPLEMENT, "The scalar 1 - s."
)
crypto_core_ed25519_scalar_add = _of_scalars(
    "crypto_core_ed25519_scalar_add", lib.ZPY_ED25519_SCALAR_ADD, "The scalar p + q."
)
crypto_core_ed25519_scalar_sub = _of_scalars(
    "crypto_core_ed25519_scalar_sub", lib.ZPY_ED25519_SCALAR_SUB, "The scalar p - q."
)
crypto_core_ed25519_scalar_mul = _of_scalars(
    "crypto_core_ed25519_scalar_mul", lib.ZPY_ED25519_SCALAR_MUL, "The scalar p * q."
)
crypto_core_ed25519_scalar_reduce = _of_scalar(
    "crypto_core_ed25519_scalar_reduce", lib.ZPY_ED25519_SCALAR_REDUCE, "The scalar of a number.", _LONG_SCALAR
)
