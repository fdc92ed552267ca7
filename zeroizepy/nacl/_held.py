"""What this package's keys have in common: a slot, the ways out of it, and its end."""

from __future__ import annotations

from _thread import RLock
from os import register_at_fork

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.buffers import is_bytes
from zeroizepy.lifecycle import WipeableKey
from zeroizepy.slots import PEEK, Borrow, Holder, can_borrow, lend, option_bits, read_bytes, seconds_left

from . import exceptions as exc
from .encoding import RawEncoder

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, NoReturn, TypeVar

    from typing_extensions import Buffer

    from zeroizepy.values import Borrowable

    from .encoding import Encoder

    Secret = Buffer | Borrowable
    """A secret that is passed in: bytes-like, or a cell, secure memory or key, which is then used where it is."""
    Tier = Literal["packed", "isolated", "sealed"]
    Policy = Literal["seal", "strict"] | None
    _Result = TypeVar("_Result")

__all__ = [
    "SecretHolder",
    "exports",
    "forbid_export",
    "lifetime",
    "with_message",
    "with_secret",
]


class _Exports:
    """What left its slot in this process, and whether more may."""

    __slots__ = ("are_forbidden", "count", "lock")

    def __init__(self) -> None:
        self.count = 0
        self.are_forbidden = False
        # Signal handlers run in the thread that they interrupt, and may export, too.
        self.lock = RLock()


_process = _Exports()
register_at_fork(after_in_child=lambda: setattr(_process, "lock", RLock()))


def exports() -> int:
    """How many times keys of this package left their slots as `bytes` in this process, its parents' count included.

    Each `bytes(key)`, `key.encode()` and `box.shared_key()` is one. What functions of `bindings` and `pwhash` return is
    not counted: these give bytes unless they get an `into`.
    """
    return _process.count


def forbid_export() -> None:
    """From now on, for good, in this process and its later children, keys refuse to be made `bytes`.

    `bytes(key)`, `key.encode()` and `box.shared_key()` raise ExportForbiddenError. Keys are still used by pointer, and
    lent by `borrow()`, and what functions of `bindings` and `pwhash` make of them is bytes without an `into`. This
    keeps honest code from making copies; code that means harm in the same process can read all memory of it.
    """
    _process.are_forbidden = True


def lifetime(tier: Tier, policy: Policy, ttl_sec: float | None) -> tuple[int, int]:
    """The core's option bits, and nanoseconds to live.

    Raises:
        TypeError, ValueError: A wrong argument.
    """
    if tier == "packed" and policy is None and ttl_sec is None:
        return 0, 0
    return option_bits(tier, policy), _lib.ttl_nanoseconds(ttl_sec)


def with_secret(
    data: Any,
    encoder: Encoder,
    size: int | None,
    use: Callable[[Any], _Result],
    refuse: Callable[[int | None], NoReturn],
) -> _Result:
    """Hand a secret argument to a function as something that cffi takes for a pointer.

    Args:
        data: bytes-like, or Borrowable, whose bytes are then not copied.
        encoder: What it is encoded with.
        size: Bytes that it must have; None for any number.
        use: Gets it.
        refuse: Raises for what has another size, which it gets, or is not bytes-like (None).
    """
    if can_borrow(data):
        if size is not None and encoder is RawEncoder and isinstance(data, Holder) and data._size != size:
            refuse(data._size)  # Before an access to a cell is counted.
        return lend(data, lambda view: with_secret(view, encoder, size, use, refuse))
    if encoder is not RawEncoder:
        decoded = encoder.decode(data)
        try:
            return with_secret(decoded, RawEncoder, size, use, refuse)
        finally:
            if decoded is not data and encoder.__module__ == RawEncoder.__module__:
                _lib.wipe_bytes(decoded)  # Made by this package's own encoder: nobody else has it.
    if type(data) is bytes:
        if size is not None and len(data) != size:
            refuse(len(data))
        return use(data)
    try:
        source = _lib.as_buffer(data, "secret")
    except TypeError:
        source = None
    if source is None:
        refuse(None)
    with source:
        if size is not None and len(source) != size:
            refuse(len(source))
        return use(source)


def with_message(message: Any, name: str, use: Callable[[Any], _Result]) -> _Result:
    """Hand a message to a function as something that cffi takes for a pointer, without a copy.

    Args:
        message: bytes-like, or Borrowable, which is lent.
        name: For the error.
        use: Gets it.

    Raises:
        TypeError: Neither.
    """
    if can_borrow(message):
        return lend(message, lambda view: with_message(view, name, use))
    if is_bytes(message):
        return use(message)
    with _lib.as_buffer(message, name) as source:
        return use(source)


class SecretHolder(WipeableKey):
    """A key in a slot; base of this package's secret keys and boxes."""

    # What each begins with; in an object of this package or a user's class, they stand in its dictionary.
    _handle = 0
    _size = 0
    _kept = None
    _exports = 0

    def __bytes__(self) -> bytes:
        return self._export()

    def _export(self, size: int | None = None) -> bytes:
        if _process.are_forbidden:
            raise exc.ExportForbiddenError(
                f"zeroizepy.nacl.forbid_export() was called, and this would make bytes of a {type(self).__name__}; "
                "pass the key itself, or lend it with borrow()"
            )
        status, data = read_bytes(self._handle, 0, self._size if size is None else size)
        if status != lib.ZPY_OK:
            self._fail(status)
        with _process.lock:
            _process.count += 1
            self._exports += 1
        return data

    @property
    def exports(self) -> int:
        """How many times this object gave out its key as `bytes`."""
        return self._exports

    def borrow(self) -> Borrow:
        """Lend the key as a read-only memoryview, without a copy: `with key.borrow() as view: ...`."""
        return Borrow(self, self._fail)

    def _peek(self) -> Borrow:
        return Borrow(self, self._fail, PEEK)

    @property
    def expires_in(self) -> float | None:
        """Seconds until the deadline; None without one; 0.0 once the key is gone."""
        return seconds_left(self._handle)


def new_core() -> Any:
    """A struct zpy_key that names no cell; every call refuses it."""
    return ffi.new("struct zpy_key *")
