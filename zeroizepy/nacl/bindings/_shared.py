"""What these modules share: libsodium's numbers, checks of arguments, and what is done with an answer of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._held import with_secret
from zeroizepy.nacl._into import output
from zeroizepy.nacl.encoding import RawEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

__all__ = ["Need", "call", "check", "exact", "key_pair", "named", "transform"]

UNEXPECTED = "Unexpected library error"


class Need:
    """What an argument has to be like, and the errors for one that is not.

    Attributes:
        size: Bytes that it must have; None for any number.
        least, most: Bytes that it must have at least, and at most; None for no limit.
    """

    __slots__ = ("least", "most", "size", "size_error", "type_error")

    def __init__(
        self,
        type_error: tuple[type[Exception], str],
        size_error: tuple[type[Exception], str] | None = None,
        *,
        size: int | None = None,
        least: int = 0,
        most: int | None = None,
    ) -> None:
        self.type_error = type_error
        self.size_error = size_error or type_error
        self.size = size
        self.least = least
        self.most = most

    def check(self, size: int) -> None:
        """Refuse another size."""
        if self.size is not None:
            wrong = size != self.size
        else:
            wrong = size < self.least or (self.most is not None and size > self.most)
        if wrong:
            self.refuse(size)

    def refuse(self, size: int | None) -> NoReturn:
        """Raise for this size; None: for what is not bytes-like."""
        kind, text = self.type_error if size is None else self.size_error
        raise kind(text) if text else kind


def exact(size: int, kind: type[Exception], text: str, type_error: tuple[type[Exception], str] | None = None) -> Need:
    """An argument of just this size. What is not bytes-like gets the same error where that is a TypeError."""
    same = (kind, text)
    if type_error is None:
        type_error = same if issubclass(kind, TypeError) else (exc.TypeError, f"{text}: it must be bytes-like")
    return Need(type_error, same, size=size)


def call(use: Callable[..., Any], *arguments: tuple[Need, Any]) -> Any:
    """Check all arguments in their order, and hand them on as what cffi takes for pointers, which have a len().

    Secrets that are not bytes are lent for the length of the call and not copied.

    Raises:
        What each Need says.
        CellWipedError, SecureMemoryClosed: A secret that was lent ended meanwhile; a result in secure memory was wiped.
    """
    pointers: list[bytes] = []
    for need, data in arguments:
        if type(data) is not bytes:
            return _call(use, arguments, tuple(pointers))
        if len(data) != need.size:
            need.check(len(data))
        pointers.append(data)
    return use(*pointers)


def _call(use: Callable[..., Any], arguments: tuple[tuple[Need, Any], ...], pointers: tuple[Any, ...]) -> Any:
    if len(pointers) == len(arguments):
        return use(*pointers)
    need, data = arguments[len(pointers)]

    def go_on(pointer: Any) -> Any:
        need.check(len(pointer))
        return _call(use, arguments, (*pointers, pointer))

    return with_secret(data, RawEncoder, need.size, go_on, need.refuse)


def named(function: Any, module: str, name: str, text: str) -> Any:
    """Give a function that was made its name and docstring, and make it careful."""
    function.__module__, function.__name__, function.__qualname__, function.__doc__ = module, name, name, text
    return careful(function)


def check(status: int, kind: type[Exception] = exc.RuntimeError, text: str = UNEXPECTED) -> None:
    """Raise for an answer of the core other than ZPY_OK: `kind` where libsodium itself refused.

    Raises:
        UnavailableError: This libsodium, or this CPU, does not have it.
        LockLimitError, MemoryError, ProtectionError: There was no room for what the call needs besides.
    """
    if status in (lib.ZPY_INVALID, lib.ZPY_FORGED):
        raise kind(text)
    if status == lib.ZPY_UNSUPPORTED:
        raise exc.UnavailableError("not available with this libsodium and CPU")
    if status != lib.ZPY_OK:
        _lib.raise_status(status)


def transform(which: int, size: int, into: Any, first: Any, second: Any = ffi.NULL) -> Any:
    """One of libsodium's functions with inputs and an output of fixed size."""
    return output(size, into, lambda out: check(lib.zpy_sodium_transform(which, first, second, out)))


def key_pair(
    which: int,
    public_size: int,
    secret_size: int,
    into: Any,
    seed: Any = ffi.NULL,
    error: tuple[type[Exception], str] = (exc.RuntimeError, UNEXPECTED),
) -> tuple[bytes, Any]:
    """A public key, and its secret key where `into` wants it."""
    public = bytes(public_size)  # Filled by the core before anybody else has seen it.
    secret = output(secret_size, into, lambda out: check(lib.zpy_sodium_key_pair(which, seed, public, out), *error))
    return public, secret
