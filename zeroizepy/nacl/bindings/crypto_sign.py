"""Ed25519: signatures, and their keys for other uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constant, constants
from zeroizepy.nacl._into import output

from ._shared import Need, call, check, exact, key_pair, transform

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

crypto_sign_BYTES, crypto_sign_SEEDBYTES, crypto_sign_PUBLICKEYBYTES, crypto_sign_SECRETKEYBYTES = constants(
    "crypto_sign", "BYTES", "SEEDBYTES", "PUBLICKEYBYTES", "SECRETKEYBYTES"
)
crypto_sign_curve25519_BYTES = constant("crypto_box_SECRETKEYBYTES")
crypto_sign_ed25519ph_STATEBYTES = constant("crypto_sign_ed25519ph_STATEBYTES")

_SEED = exact(crypto_sign_SEEDBYTES, exc.ValueError, "Invalid seed")
_MESSAGE = Need((exc.TypeError, "message must be bytes-like"))
_SECRET = exact(crypto_sign_SECRETKEYBYTES, exc.ValueError, "Invalid secret key")
_PUBLIC = exact(crypto_sign_PUBLICKEYBYTES, exc.ValueError, "Invalid public key")
_CURVE_SECRET = exact(crypto_sign_SECRETKEYBYTES, exc.ValueError, "Invalid curve secret key")
_CURVE_PUBLIC = exact(crypto_sign_PUBLICKEYBYTES, exc.ValueError, "Invalid curve public key")
_FORGED = "Signature was forged or corrupt"


@overload
def crypto_sign_keypair() -> tuple[bytes, bytes]: ...
@overload
def crypto_sign_keypair(*, into: Into) -> tuple[bytes, SecureMemory]: ...
@careful
def crypto_sign_keypair(*, into: Into | None = None) -> tuple[bytes, Any]:
    """A random public key and its secret key, which is the seed and the public key."""
    return key_pair(lib.ZPY_PAIR_SIGN, crypto_sign_PUBLICKEYBYTES, crypto_sign_SECRETKEYBYTES, into)


@overload
def crypto_sign_seed_keypair(seed: Secret) -> tuple[bytes, bytes]: ...
@overload
def crypto_sign_seed_keypair(seed: Secret, *, into: Into) -> tuple[bytes, SecureMemory]: ...
@careful
def crypto_sign_seed_keypair(seed: Secret, *, into: Into | None = None) -> tuple[bytes, Any]:
    """The public key and secret key of a seed."""
    sizes = crypto_sign_PUBLICKEYBYTES, crypto_sign_SECRETKEYBYTES
    pair: tuple[bytes, Any] = call(lambda seed: key_pair(lib.ZPY_PAIR_SIGN, *sizes, into, seed), (_SEED, seed))
    return pair


@careful
def crypto_sign(message: Secret, sk: Secret) -> bytes:
    """The signature of a message, and the message."""

    def run(message: Any, sk: Any) -> bytes:
        out = bytes(len(message) + crypto_sign_BYTES)  # Filled by the core before anybody else has seen it.
        check(lib.zpy_sodium_sign(message, len(message), sk, out))
        return out

    # PyNaCl does not check the key, and reads what stands behind one that is too short.
    return call(run, (_MESSAGE, message), (_SECRET, sk))  # type: ignore[no-any-return]


@careful
def crypto_sign_open(signed: Buffer, pk: Buffer) -> bytes:
    """The message of what crypto_sign made.

    Raises:
        BadSignatureError: The signature is not pk's for it.
    """

    def run(signed: Any, pk: Any) -> bytes:
        check(lib.zpy_sign_verify_message(pk, signed, len(signed)), exc.BadSignatureError, _FORGED)
        whole = signed if isinstance(signed, bytes) else bytes(ffi.buffer(signed))
        return whole[crypto_sign_BYTES:]

    return call(run, (_MESSAGE, signed), (_PUBLIC, pk))  # type: ignore[no-any-return]


@careful
def crypto_sign_ed25519_pk_to_curve25519(public_key_bytes: Buffer) -> bytes:
    """The X25519 public key that belongs to an Ed25519 one."""

    def run(pk: Any) -> Any:
        size = crypto_sign_curve25519_BYTES
        return output(size, None, lambda out: check(lib.zpy_box_public_from_signing(pk, out)))

    return call(run, (_CURVE_PUBLIC, public_key_bytes))  # type: ignore[no-any-return]


@overload
def crypto_sign_ed25519_sk_to_curve25519(secret_key_bytes: Secret) -> bytes: ...
@overload
def crypto_sign_ed25519_sk_to_curve25519(secret_key_bytes: Secret, *, into: Into) -> SecureMemory: ...
@careful
def crypto_sign_ed25519_sk_to_curve25519(secret_key_bytes: Secret, *, into: Into | None = None) -> Any:
    """The X25519 secret key that belongs to an Ed25519 one."""
    which, size = lib.ZPY_SIGN_SK_TO_CURVE25519, crypto_sign_curve25519_BYTES
    return call(lambda sk: transform(which, size, into, sk), (_CURVE_SECRET, secret_key_bytes))


@careful
def crypto_sign_ed25519_sk_to_pk(secret_key_bytes: Secret) -> bytes:
    """The public key that is in a secret one."""
    which, size = lib.ZPY_SIGN_SK_TO_PK, crypto_sign_PUBLICKEYBYTES
    return call(lambda sk: transform(which, size, None, sk), (_SECRET, secret_key_bytes))  # type: ignore[no-any-return]


@overload
def crypto_sign_ed25519_sk_to_seed(secret_key_bytes: Secret) -> bytes: ...
@overload
def crypto_sign_ed25519_sk_to_seed(secret_key_bytes: Secret, *, into: Into) -> SecureMemory: ...
@careful
def crypto_sign_ed25519_sk_to_seed(secret_key_bytes: Secret, *, into: Into | None = None) -> Any:
    """The seed that is in a secret key."""
    which, size = lib.ZPY_SIGN_SK_TO_SEED, crypto_sign_SEEDBYTES
    return call(lambda sk: transform(which, size, into, sk), (_SECRET, secret_key_bytes))


class crypto_sign_ed25519ph_state:
    """Ed25519ph (RFC 8032, section 5.1): a message that is hashed in parts, and then signed or verified.

    Attributes:
        state: libsodium's state, in memory that is not protected: the message is no secret here.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = ffi.new("uint8_t[]", crypto_sign_ed25519ph_STATEBYTES)
        check(lib.zpy_sodium_prehash(self.state, ffi.NULL, 0))


_PART = Need((exc.TypeError, "pmsg parameter must be a bytes object"))
_SIGNING_KEY = exact(
    crypto_sign_SECRETKEYBYTES,
    exc.TypeError,
    f"secret key must be {crypto_sign_SECRETKEYBYTES} bytes long",
    (exc.TypeError, "secret key parameter must be a bytes object"),
)
_SIGNATURE = exact(
    crypto_sign_BYTES,
    exc.TypeError,
    f"signature must be {crypto_sign_BYTES} bytes long",
    (exc.TypeError, "signature parameter must be a bytes object"),
)
_VERIFY_KEY = exact(
    crypto_sign_PUBLICKEYBYTES,
    exc.TypeError,
    f"public key must be {crypto_sign_PUBLICKEYBYTES} bytes long",
    (exc.TypeError, "public key parameter must be a bytes object"),
)


_STATE = ffi.typeof("uint8_t[]")


def _state_of(edph: object) -> Any:
    if not isinstance(edph, crypto_sign_ed25519ph_state):
        raise exc.TypeError("edph parameter must be a ed25519ph_state object")
    state = edph.state
    # The core writes to it: what somebody set in its place may be shorter.
    if not isinstance(state, ffi.CData) or ffi.typeof(state) != _STATE:
        raise exc.TypeError("edph.state must be the array that it was made with")
    if len(state) != crypto_sign_ed25519ph_STATEBYTES:
        raise exc.TypeError(f"edph.state must have {crypto_sign_ed25519ph_STATEBYTES} bytes, not {len(state)}")
    return state


@careful
def crypto_sign_ed25519ph_update(edph: crypto_sign_ed25519ph_state, pmsg: Secret) -> None:
    """Go on with the next part of the message."""
    state = _state_of(edph)
    call(lambda part: check(lib.zpy_sodium_prehash(state, part, len(part))), (_PART, pmsg))


@careful
def crypto_sign_ed25519ph_final_create(edph: crypto_sign_ed25519ph_state, sk: Secret) -> bytes:
    """The signature of the whole message; the state is used up."""
    state = _state_of(edph)

    def run(sk: Any) -> Any:
        return output(crypto_sign_BYTES, None, lambda out: check(lib.zpy_sodium_prehash_sign(state, sk, out)))

    return call(run, (_SIGNING_KEY, sk))  # type: ignore[no-any-return]


@careful
def crypto_sign_ed25519ph_final_verify(edph: crypto_sign_ed25519ph_state, signature: Buffer, pk: Buffer) -> bool:
    """True when the signature is pk's for the whole message; the state is used up.

    Raises:
        BadSignatureError: It is not.
    """
    state = _state_of(edph)

    def run(signature: Any, pk: Any) -> bool:
        check(lib.zpy_sodium_prehash_verify(state, signature, pk), exc.BadSignatureError, _FORGED)
        return True

    return call(run, (_SIGNATURE, signature), (_VERIFY_KEY, pk))  # type: ignore[no-any-return]
