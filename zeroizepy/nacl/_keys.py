"""Pairs of keys: the secret one in a slot, and the public one, which is no secret."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy._lib import lib
from zeroizepy.buffers import public_bytes
from zeroizepy.slots import lend

from . import exceptions as exc
from ._constants import constant
from ._held import SecretHolder, lifetime, with_secret
from .encoding import Encodable, RawEncoder
from .utils import StringFixer

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from typing_extensions import Self

    from ._held import Policy, Secret, Tier
    from .encoding import Encoder

__all__ = ["KEY_BYTES", "KeyPair", "PublicPart", "core_public", "decoded_public"]

KEY_BYTES = constant("crypto_sign_SEEDBYTES")
"""Of seeds, secret and public keys alike, with X25519 and Ed25519."""


def decoded_public(key: Any, encoder: Encoder, kind: str, name: str) -> bytes:
    """A public key out of its text form.

    Args:
        key: bytes-like once it is decoded.
        encoder: What it is encoded with.
        kind, name: Of the class, and of the key, for errors.

    Raises:
        TypeError, ValueError: Not bytes-like, another length.
    """
    try:
        raw = public_bytes(key if encoder is RawEncoder else encoder.decode(key), name)
    except TypeError:
        raw = None
    if raw is None:
        raise exc.TypeError(f"{kind} must be created from {KEY_BYTES} bytes")
    if len(raw) != KEY_BYTES:
        raise exc.ValueError(f"The {name} must be exactly {KEY_BYTES} bytes long")
    return raw


def core_public(raw: Any) -> bytes:
    """A public key as the core takes it, which reads 32 bytes whatever an attribute that was set, or a subclass, holds.

    Raises:
        TypeError, ValueError: Not bytes-like, another length.
    """
    if type(raw) is not bytes:
        raw = public_bytes(raw, "public key")
    if len(raw) != KEY_BYTES:
        raise exc.ValueError(f"Invalid public key: it has {len(raw)} bytes, not {KEY_BYTES}")
    return raw  # type: ignore[no-any-return]


class PublicPart(Encodable, StringFixer):
    """A public key, equal to others of its class with the same bytes."""

    def __bytes__(self) -> bytes:
        raise NotImplementedError

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, self.__class__):
            return False
        mine, theirs = bytes(self), bytes(other)
        return len(mine) == len(theirs) and bool(lib.zpy_cell_memequal(mine, theirs, len(mine)))


class KeyPair(SecretHolder, Encodable, StringFixer):
    """A secret key with its public key, by which pairs are compared: also those whose secret is gone."""

    def _public_part(self) -> PublicPart:
        raise NotImplementedError

    def __hash__(self) -> int:
        return hash((type(self), bytes(self._public_part())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, self.__class__):
            return False
        return self._public_part() == other._public_part()

    def _make(self, source: Any, options: int, ttl_ns: int) -> Self:
        """Make the key from 32 bytes, or from none with ZPY_RANDOM.

        Returns itself, which is wiped when what was lent ended meanwhile: perhaps the key is made of zeros.
        """
        raise NotImplementedError

    def _refuse(self, _size: int | None) -> NoReturn:
        raise NotImplementedError

    def _take(self, secret: Secret, encoder: Encoder, tier: Tier, policy: Policy, ttl_sec: float | None) -> None:
        """Make the key from a secret that a program has. Another key of this package is none, as in PyNaCl."""
        options, ttl_ns = lifetime(tier, policy, ttl_sec)
        if isinstance(secret, SecretHolder):
            self._refuse(None)
        with_secret(secret, encoder, KEY_BYTES, lambda source: self._make(source, options, ttl_ns), self._refuse)

    def _keep(
        self, make: Callable[[int], int], options: int, fail: Callable[[int], NoReturn] = _lib.raise_status
    ) -> None:
        """Have the core make the pair, and own it; `fail` raises for its status when it could not."""
        handle = _lib.make_cell(make, options)
        if handle < 0:
            fail(-handle)
        self._hold(handle, KEY_BYTES)

    @classmethod
    def _made(
        cls,
        base: type[KeyPair],
        fill: Callable[[Any, int, int], None],
        tier: Tier,
        policy: Policy,
        ttl_sec: float | None,
    ) -> Self:
        """A new key.

        Args:
            base: This package's class. A subclass with an `__init__` of its own has that called, as PyNaCl does, with a
                view of the secret, which reads zeros afterwards.
            fill: Makes the key of an object without one; gets option bits and nanoseconds to live.
            tier, policy, ttl_sec: As for `SecretBox`.
        """
        options, ttl_ns = lifetime(tier, policy, ttl_sec)
        if cls.__init__ is base.__init__:
            own = cls.__new__(cls)
            fill(own, options, ttl_ns)
            return own
        key = base.__new__(base)
        fill(key, options, ttl_ns)
        given = {"tier": tier, "policy": policy, "ttl_sec": ttl_sec}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value not in ("packed", None)}
        make: Callable[..., Self] = cls
        with key:
            return lend(key, lambda view: make(view, **changed))
