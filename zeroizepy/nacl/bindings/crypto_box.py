"""X25519 and XSalsa20-Poly1305: boxes for one receiver, with a sender or without."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, overload

from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants

from ._ciphers import opened, sealed, unsealed
from ._shared import UNEXPECTED, Need, call, check, exact, key_pair, named, transform

if TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

    class _Seal(Protocol):
        def __call__(self, message: Secret, nonce: Buffer, pk: Buffer, sk: Secret) -> bytes: ...

    class _Open(Protocol):
        @overload
        def __call__(self, ciphertext: Buffer, nonce: Buffer, pk: Buffer, sk: Secret) -> bytes: ...
        @overload
        def __call__(
            self, ciphertext: Buffer, nonce: Buffer, pk: Buffer, sk: Secret, *, into: Into
        ) -> SecureMemory: ...

    class _SealShared(Protocol):
        def __call__(self, message: Secret, nonce: Buffer, k: Secret) -> bytes: ...

    class _OpenShared(Protocol):
        @overload
        def __call__(self, ciphertext: Buffer, nonce: Buffer, k: Secret) -> bytes: ...
        @overload
        def __call__(self, ciphertext: Buffer, nonce: Buffer, k: Secret, *, into: Into) -> SecureMemory: ...


(
    crypto_box_SECRETKEYBYTES,
    crypto_box_PUBLICKEYBYTES,
    crypto_box_SEEDBYTES,
    crypto_box_NONCEBYTES,
    crypto_box_ZEROBYTES,
    crypto_box_BOXZEROBYTES,
    crypto_box_BEFORENMBYTES,
    crypto_box_SEALBYTES,
    crypto_box_MACBYTES,
) = constants(
    "crypto_box",
    "SECRETKEYBYTES",
    "PUBLICKEYBYTES",
    "SEEDBYTES",
    "NONCEBYTES",
    "ZEROBYTES",
    "BOXZEROBYTES",
    "BEFORENMBYTES",
    "SEALBYTES",
    "MACBYTES",
)

_TYPE = builtins.TypeError
"""PyNaCl's choice for some arguments, where it has an error of its own for others."""
_PUBLIC = exact(crypto_box_PUBLICKEYBYTES, exc.ValueError, "Invalid public key", (_TYPE, "public key must be bytes"))
_SECRET = exact(crypto_box_SECRETKEYBYTES, exc.ValueError, "Invalid secret key", (_TYPE, "secret key must be bytes"))
_SEED = exact(crypto_box_SEEDBYTES, exc.ValueError, "Invalid seed", (_TYPE, "seed must be bytes"))
_NONCE = exact(crypto_box_NONCEBYTES, exc.ValueError, "Invalid nonce size")
_SHARED_NONCE = exact(crypto_box_NONCEBYTES, exc.ValueError, "Invalid nonce")
_SHARED = exact(crypto_box_BEFORENMBYTES, exc.ValueError, "Invalid shared key")
_MESSAGE = Need((_TYPE, "input message must be bytes"))
_CIPHERTEXT = Need((_TYPE, "input ciphertext must be bytes"))
_FORGED = "An error occurred trying to decrypt the message"


def _at_least(size: int) -> Need:
    error = exc.TypeError, f"Input ciphertext must be at least {size} long"
    return Need((_TYPE, "input ciphertext must be bytes"), error, least=size)


_LONG_ENOUGH = _at_least(crypto_box_MACBYTES)


@overload
def crypto_box_keypair() -> tuple[bytes, bytes]: ...
@overload
def crypto_box_keypair(*, into: Into) -> tuple[bytes, SecureMemory]: ...
@careful
def crypto_box_keypair(*, into: Into | None = None) -> tuple[bytes, Any]:
    """A random public key and its secret key."""
    return key_pair(lib.ZPY_PAIR_BOX, crypto_box_PUBLICKEYBYTES, crypto_box_SECRETKEYBYTES, into)


@overload
def crypto_box_seed_keypair(seed: Secret) -> tuple[bytes, bytes]: ...
@overload
def crypto_box_seed_keypair(seed: Secret, *, into: Into) -> tuple[bytes, SecureMemory]: ...
@careful
def crypto_box_seed_keypair(seed: Secret, *, into: Into | None = None) -> tuple[bytes, Any]:
    """The public key and secret key that a seed always gives."""
    sizes = crypto_box_PUBLICKEYBYTES, crypto_box_SECRETKEYBYTES
    pair: tuple[bytes, Any] = call(lambda seed: key_pair(lib.ZPY_PAIR_BOX, *sizes, into, seed), (_SEED, seed))
    return pair


@overload
def crypto_box_beforenm(pk: Buffer, sk: Secret) -> bytes: ...
@overload
def crypto_box_beforenm(pk: Buffer, sk: Secret, *, into: Into) -> SecureMemory: ...
@careful
def crypto_box_beforenm(pk: Buffer, sk: Secret, *, into: Into | None = None) -> Any:
    """The key that the owners of two keys share."""
    which, size = lib.ZPY_BOX_BEFORENM, crypto_box_BEFORENMBYTES
    return call(lambda pk, sk: transform(which, size, into, pk, sk), (_PUBLIC, pk), (_SECRET, sk))


def _seal(name: str) -> _Seal:
    def seal(message: Secret, nonce: Buffer, pk: Buffer, sk: Secret) -> bytes:
        def run(nonce: Any, pk: Any, sk: Any, message: Any) -> bytes:
            out = bytes(len(message) + crypto_box_MACBYTES)  # Filled by the core before anybody else has seen it.
            check(lib.zpy_sodium_box(pk, sk, nonce, message, len(message), out))
            return out

        given = (_NONCE, nonce), (_PUBLIC, pk), (_SECRET, sk), (_MESSAGE, message)
        return call(run, *given)  # type: ignore[no-any-return]

    return named(seal, __name__, name, "Tag and ciphertext of a message, for pk's owner from sk's.")  # type: ignore[no-any-return]


def _opened(into: Into | None, less_size: int, pk: Any, sk: Any, nonce: Any, ciphertext: Any) -> Any:
    def run(out: Any) -> int:
        return int(lib.zpy_sodium_box_open(pk, sk, nonce, ciphertext, len(ciphertext), out))

    return unsealed(len(ciphertext) - less_size, into, run, _FORGED)


def _open(name: str, need: Need) -> _Open:
    def open_(ciphertext: Buffer, nonce: Buffer, pk: Buffer, sk: Secret, *, into: Into | None = None) -> Any:
        def run(nonce: Any, pk: Any, sk: Any, ciphertext: Any) -> Any:
            return _opened(into, crypto_box_MACBYTES, pk, sk, nonce, ciphertext)

        return call(run, (_NONCE, nonce), (_PUBLIC, pk), (_SECRET, sk), (need, ciphertext))

    return named(open_, __name__, name, "The message of a tag and ciphertext, for sk's owner from pk's.")  # type: ignore[no-any-return]


def _seal_shared(name: str) -> _SealShared:
    def seal(message: Secret, nonce: Buffer, k: Secret) -> bytes:
        def run(nonce: Any, k: Any, message: Any) -> bytes:
            cipher, error = lib.ZPY_SODIUM_SECRETBOX, UNEXPECTED
            return sealed(cipher, crypto_box_MACBYTES, message, b"", nonce, k, error)

        return call(run, (_SHARED_NONCE, nonce), (_SHARED, k), (_MESSAGE, message))  # type: ignore[no-any-return]

    return named(seal, __name__, name, "Tag and ciphertext of a message under a shared key.")  # type: ignore[no-any-return]


def _open_shared(name: str, need: Need) -> _OpenShared:
    def open_(ciphertext: Buffer, nonce: Buffer, k: Secret, *, into: Into | None = None) -> Any:
        def run(nonce: Any, k: Any, ciphertext: Any) -> Any:
            cipher = lib.ZPY_SODIUM_SECRETBOX
            return opened(cipher, crypto_box_MACBYTES, into, ciphertext, b"", nonce, k, _FORGED)

        return call(run, (_SHARED_NONCE, nonce), (_SHARED, k), (need, ciphertext))

    return named(open_, __name__, name, "The message of a tag and ciphertext under a shared key.")  # type: ignore[no-any-return]


# libsodium's older calls want zeros before their input, which PyNaCl adds and cuts off: the same bytes remain.
crypto_box = _seal("crypto_box")
crypto_box_easy = _seal("crypto_box_easy")
crypto_box_open = _open("crypto_box_open", _CIPHERTEXT)
crypto_box_open_easy = _open("crypto_box_open_easy", _LONG_ENOUGH)
crypto_box_afternm = _seal_shared("crypto_box_afternm")
crypto_box_easy_afternm = _seal_shared("crypto_box_easy_afternm")
crypto_box_open_afternm = _open_shared("crypto_box_open_afternm", _CIPHERTEXT)
crypto_box_open_easy_afternm = _open_shared("crypto_box_open_easy_afternm", _LONG_ENOUGH)


@careful
def crypto_box_seal(message: Secret, pk: Buffer) -> bytes:
    """A message for pk's owner, from nobody: the key that it is encrypted with is forgotten."""

    def run(message: Any, pk: Any) -> bytes:
        out = bytes(len(message) + crypto_box_SEALBYTES)  # Filled by the core before anybody else has seen it.
        check(lib.zpy_box_seal(pk, message, len(message), out))
        return out

    return call(run, (_MESSAGE, message), (_PUBLIC, pk))  # type: ignore[no-any-return]


@overload
def crypto_box_seal_open(ciphertext: Buffer, pk: Buffer, sk: Secret) -> bytes: ...
@overload
def crypto_box_seal_open(ciphertext: Buffer, pk: Buffer, sk: Secret, *, into: Into) -> SecureMemory: ...
@careful
def crypto_box_seal_open(ciphertext: Buffer, pk: Buffer, sk: Secret, *, into: Into | None = None) -> Any:
    """The message of what crypto_box_seal made."""

    def run(pk: Any, sk: Any, ciphertext: Any) -> Any:
        return _opened(into, crypto_box_SEALBYTES, pk, sk, ffi.NULL, ciphertext)

    return call(run, (_PUBLIC, pk), (_SECRET, sk), (_at_least(crypto_box_SEALBYTES), ciphertext))
