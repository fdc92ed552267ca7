"""A scalar times a point, on Curve25519 and Edwards25519."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy._lib import lib
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants

from ._shared import call, exact, named, transform

if TYPE_CHECKING:
    from typing import Protocol, overload

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

    from ._shared import Need

    class _TimesBase(Protocol):
        @overload
        def __call__(self, n: Secret) -> bytes: ...
        @overload
        def __call__(self, n: Secret, *, into: Into) -> SecureMemory: ...

    class _TimesPoint(Protocol):
        @overload
        def __call__(self, n: Secret, p: Buffer) -> bytes: ...
        @overload
        def __call__(self, n: Secret, p: Buffer, *, into: Into) -> SecureMemory: ...


crypto_scalarmult_BYTES, crypto_scalarmult_SCALARBYTES = constants("crypto_scalarmult", "BYTES", "SCALARBYTES")
crypto_scalarmult_ed25519_BYTES, crypto_scalarmult_ed25519_SCALARBYTES = constants(
    "crypto_scalarmult_ed25519", "BYTES", "SCALARBYTES"
)
has_crypto_scalarmult_ed25519 = crypto_scalarmult_ed25519_BYTES != 0


def _input(name: str, size: int) -> Need:
    return exact(size, exc.TypeError, f"Input must be a {name} long bytes sequence")


# PyNaCl does not check those of Curve25519, and reads what stands behind inputs that are too short.
_SCALAR = _input("crypto_scalarmult_SCALARBYTES", crypto_scalarmult_SCALARBYTES)
_POINT = _input("crypto_scalarmult_BYTES", crypto_scalarmult_BYTES)
_ED_SCALAR = _input("crypto_scalarmult_ed25519_SCALARBYTES", crypto_scalarmult_ed25519_SCALARBYTES)
_ED_POINT = _input("crypto_scalarmult_ed25519_BYTES", crypto_scalarmult_ed25519_BYTES)


def _need_curve(size: int) -> None:
    if size == 0:
        raise exc.UnavailableError("Not available in minimal build")


def _times_base(name: str, which: int, text: str, scalar: Need, size: int) -> _TimesBase:
    def run(n: Secret, *, into: Into | None = None) -> Any:
        _need_curve(size)
        return call(lambda n: transform(which, size, into, n), (scalar, n))

    return named(run, __name__, name, text)  # type: ignore[no-any-return]


def _times_point(name: str, which: int, text: str, scalar: Need, point: Need, size: int) -> _TimesPoint:
    def run(n: Secret, p: Buffer, *, into: Into | None = None) -> Any:
        _need_curve(size)
        return call(lambda n, p: transform(which, size, into, n, p), (scalar, n), (point, p))

    return named(run, __name__, name, text)  # type: ignore[no-any-return]


crypto_scalarmult_base = _times_base(
    "crypto_scalarmult_base",
    lib.ZPY_SCALARMULT_BASE,
    "The X25519 public key of a secret key.",
    _SCALAR,
    crypto_scalarmult_BYTES,
)
crypto_scalarmult = _times_point(
    "crypto_scalarmult",
    lib.ZPY_SCALARMULT,
    "X25519 (RFC 7748): the point that the owners of two keys share; hash it before it is used as a key.",
    _SCALAR,
    _POINT,
    crypto_scalarmult_BYTES,
)
crypto_scalarmult_ed25519_base = _times_base(
    "crypto_scalarmult_ed25519_base",
    lib.ZPY_ED25519_SCALARMULT_BASE,
    "A scalar, clamped first, times the base point.",
    _ED_SCALAR,
    crypto_scalarmult_ed25519_BYTES,
)
crypto_scalarmult_ed25519_base_noclamp = _times_base(
    "crypto_scalarmult_ed25519_base_noclamp",
    lib.ZPY_ED25519_SCALARMULT_BASE_NOCLAMP,
    "A scalar times the base point.",
    _ED_SCALAR,
    crypto_scalarmult_ed25519_BYTES,
)
crypto_scalarmult_ed25519 = _times_point(
    "crypto_scalarmult_ed25519",
    lib.ZPY_ED25519_SCALARMULT,
    "A scalar, clamped first, times a point.",
    _ED_SCALAR,
    _ED_POINT,
    crypto_scalarmult_ed25519_BYTES,
)
crypto_scalarmult_ed25519_noclamp = _times_point(
    "crypto_scalarmult_ed25519_noclamp",
    lib.ZPY_ED25519_SCALARMULT_NOCLAMP,
    "A scalar times a point.",
    _ED_SCALAR,
    _ED_POINT,
    crypto_scalarmult_ed25519_BYTES,
)
