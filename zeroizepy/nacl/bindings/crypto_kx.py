"""Key exchange: two keys for a session, one for each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from zeroizepy._lib import lib
from zeroizepy.careful import careful
from zeroizepy.memory import SecureMemory
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants
from zeroizepy.nacl._into import output

from ._shared import call, check, exact, key_pair, named

if TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Buffer

    from zeroizepy.nacl._held import Secret
    from zeroizepy.nacl._into import Into

    _Pair = type[SecureMemory] | tuple[SecureMemory, SecureMemory]
    """Where the keys to receive and to send with go."""

    class _ForClient(Protocol):
        @overload
        def __call__(
            self, client_public_key: Buffer, client_secret_key: Secret, server_public_key: Buffer
        ) -> tuple[bytes, bytes]: ...
        @overload
        def __call__(
            self, client_public_key: Buffer, client_secret_key: Secret, server_public_key: Buffer, *, into: _Pair
        ) -> tuple[SecureMemory, SecureMemory]: ...

    class _ForServer(Protocol):
        @overload
        def __call__(
            self, server_public_key: Buffer, server_secret_key: Secret, client_public_key: Buffer
        ) -> tuple[bytes, bytes]: ...
        @overload
        def __call__(
            self, server_public_key: Buffer, server_secret_key: Secret, client_public_key: Buffer, *, into: _Pair
        ) -> tuple[SecureMemory, SecureMemory]: ...


__all__ = [
    "crypto_kx_PUBLIC_KEY_BYTES",
    "crypto_kx_SECRET_KEY_BYTES",
    "crypto_kx_SEED_BYTES",
    "crypto_kx_SESSION_KEY_BYTES",
    "crypto_kx_client_session_keys",
    "crypto_kx_keypair",
    "crypto_kx_seed_keypair",
    "crypto_kx_server_session_keys",
]

crypto_kx_PUBLIC_KEY_BYTES, crypto_kx_SECRET_KEY_BYTES, crypto_kx_SEED_BYTES, crypto_kx_SESSION_KEY_BYTES = constants(
    "crypto_kx", "PUBLICKEYBYTES", "SECRETKEYBYTES", "SEEDBYTES", "SESSIONKEYBYTES"
)

_SEED = exact(crypto_kx_SEED_BYTES, exc.TypeError, f"Seed must be a {crypto_kx_SEED_BYTES} byte long bytes sequence")
_FAILED = exc.CryptoError, "Key generation failed."


@overload
def crypto_kx_keypair() -> tuple[bytes, bytes]: ...
@overload
def crypto_kx_keypair(*, into: Into) -> tuple[bytes, SecureMemory]: ...
@careful
def crypto_kx_keypair(*, into: Into | None = None) -> tuple[bytes, Any]:
    """A random public key and its secret key."""
    sizes = crypto_kx_PUBLIC_KEY_BYTES, crypto_kx_SECRET_KEY_BYTES
    return key_pair(lib.ZPY_PAIR_KX, *sizes, into, error=_FAILED)


@overload
def crypto_kx_seed_keypair(seed: Secret) -> tuple[bytes, bytes]: ...
@overload
def crypto_kx_seed_keypair(seed: Secret, *, into: Into) -> tuple[bytes, SecureMemory]: ...
@careful
def crypto_kx_seed_keypair(seed: Secret, *, into: Into | None = None) -> tuple[bytes, Any]:
    """The public key and secret key that a seed always gives."""
    sizes = crypto_kx_PUBLIC_KEY_BYTES, crypto_kx_SECRET_KEY_BYTES
    pair: tuple[bytes, Any] = call(lambda seed: key_pair(lib.ZPY_PAIR_KX, *sizes, into, seed, _FAILED), (_SEED, seed))
    return pair


def _session_keys(side: str, into: Any, *given: tuple[str, str, Any]) -> tuple[Any, Any]:
    """Derive both keys. given: whose it is, of which kind, and the key; of our own both, of the other the public."""
    if isinstance(into, SecureMemory):
        raise TypeError("into must be SecureMemory itself or two objects of it, since there are two keys")
    first, second = into if isinstance(into, tuple) else (into, into)
    if first is second and isinstance(first, SecureMemory):
        raise ValueError("into must be two objects: the second key would take the place of the first")

    def run(own_public: Any, own_secret: Any, other_public: Any) -> tuple[Any, Any]:
        keys, size = (own_public, own_secret, other_public), crypto_kx_SESSION_KEY_BYTES
        error = exc.CryptoError, f"{side.capitalize()} session key generation failed."
        sent: list[Any] = []

        def receive(receive_out: Any) -> None:
            def send(send_out: Any) -> None:
                check(lib.zpy_sodium_session_keys(side == "server", *keys, receive_out, send_out), *error)

            sent.append(output(size, second, send))

        return output(size, first, receive), sent.pop()

    # PyNaCl's messages give the public key's size for both kinds, which is the same.
    text = f"{{}} {{}} key must be a {crypto_kx_PUBLIC_KEY_BYTES} bytes long bytes sequence"
    needs = [
        (exact(crypto_kx_PUBLIC_KEY_BYTES, exc.TypeError, text.format(owner, kind)), key) for owner, kind, key in given
    ]
    keys: tuple[Any, Any] = call(run, *needs)
    return keys


def _for_client() -> _ForClient:
    def keys(
        client_public_key: Buffer, client_secret_key: Secret, server_public_key: Buffer, *, into: Any = None
    ) -> tuple[Any, Any]:
        given = ("Client", "public", client_public_key), ("Client", "secret", client_secret_key)
        return _session_keys("client", into, *given, ("Server", "public", server_public_key))

    text = "The keys that the client receives and sends with."
    return named(keys, __name__, "crypto_kx_client_session_keys", text)  # type: ignore[no-any-return]


def _for_server() -> _ForServer:
    def keys(
        server_public_key: Buffer, server_secret_key: Secret, client_public_key: Buffer, *, into: Any = None
    ) -> tuple[Any, Any]:
        given = ("Server", "public", server_public_key), ("Server", "secret", server_secret_key)
        return _session_keys("server", into, *given, ("Client", "public", client_public_key))

    text = "The keys that the server receives and sends with."
    return named(keys, __name__, "crypto_kx_server_session_keys", text)  # type: ignore[no-any-return]


crypto_kx_client_session_keys = _for_client()
crypto_kx_server_session_keys = _for_server()
