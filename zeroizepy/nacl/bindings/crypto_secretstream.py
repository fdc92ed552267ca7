"""Streams of messages under one key, XChaCha20-Poly1305, none of which can be left out, moved or cut off."""

from __future__ import annotations

from _thread import RLock
from typing import TYPE_CHECKING, Any, overload

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants
from zeroizepy.nacl._held import SecretHolder, lifetime
from zeroizepy.nacl._into import output
from zeroizepy.slots import PEEK, WRITABLE, open_lease

from ._shared import Need, call, check, exact

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.nacl._held import Policy, Secret, Tier
    from zeroizepy.nacl._into import Into

(
    crypto_secretstream_xchacha20poly1305_ABYTES,
    crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    crypto_secretstream_xchacha20poly1305_KEYBYTES,
    crypto_secretstream_xchacha20poly1305_MESSAGEBYTES_MAX,
    crypto_secretstream_xchacha20poly1305_STATEBYTES,
    crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
    crypto_secretstream_xchacha20poly1305_TAG_PUSH,
    crypto_secretstream_xchacha20poly1305_TAG_REKEY,
    crypto_secretstream_xchacha20poly1305_TAG_FINAL,
) = constants(
    "crypto_secretstream_xchacha20poly1305",
    "ABYTES",
    "HEADERBYTES",
    "KEYBYTES",
    "MESSAGEBYTES_MAX",
    "STATEBYTES",
    "TAG_MESSAGE",
    "TAG_PUSH",
    "TAG_REKEY",
    "TAG_FINAL",
)

_UNEXPECTED = exc.RuntimeError, "Unexpected failure"
_KEY = exact(
    crypto_secretstream_xchacha20poly1305_KEYBYTES,
    exc.ValueError,
    "Invalid key length",
    (exc.TypeError, "Key must be a bytes sequence"),
)
_HEADER = exact(
    crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    exc.ValueError,
    "Invalid header length",
    (exc.TypeError, "Header must be a bytes sequence"),
)
_MESSAGE = Need((exc.TypeError, "Message is not bytes"))
_CIPHERTEXT = Need((exc.TypeError, "Ciphertext is not bytes"))
_AD = Need((exc.TypeError, "Additional data must be bytes or None"))


@overload
def crypto_secretstream_xchacha20poly1305_keygen() -> bytes: ...
@overload
def crypto_secretstream_xchacha20poly1305_keygen(*, into: Into) -> SecureMemory: ...
@careful
def crypto_secretstream_xchacha20poly1305_keygen(*, into: Into | None = None) -> Any:
    """A random key."""
    size = crypto_secretstream_xchacha20poly1305_KEYBYTES
    return output(size, into, lambda out: check(lib.zpy_sodium_random(ffi.NULL, out, size)))


class crypto_secretstream_xchacha20poly1305_state(SecretHolder):
    """One end of a stream: its state, from which all messages can be read, lies in a slot until wipe().

    Messages of one stream are made one after the other, also by several threads.

    Args:
        tier, policy, ttl_sec: As for the other keys of this package.
    """

    __slots__ = ("_lock", "_may_pull")

    def __init__(self, *, tier: Tier = "packed", policy: Policy = None, ttl_sec: float | None = None) -> None:
        options, ttl_ns = lifetime(tier, policy, ttl_sec)
        size = crypto_secretstream_xchacha20poly1305_STATEBYTES
        self._hold(_lib.new_handle(ffi.NULL, size, options, ttl_ns), size)
        # Signal handlers run in the thread that they interrupt, and may use the stream, too.
        self._lock = RLock()
        self._may_pull = False

    @property
    def statebuf(self) -> Any:
        """The state itself as a cffi array of bytes, not a copy: what is written to it is written to the slot.

        Once the state is wiped it reads as zeros.

        Raises:
            SecureMemoryClosed: The state is wiped.
        """
        status, lease, exporter = open_lease(self._handle, PEEK | WRITABLE)
        if status != lib.ZPY_OK:
            self._fail(status)
        return ffi.from_buffer("uint8_t[]", ffi.buffer(exporter, lease.length), require_writable=True)

    def _turn(self) -> Any:
        """The lock, unless the state is gone: in a forked child another thread of the parent's may have it for good."""
        status = lib.zpy_cell_state(self._handle)
        if status != lib.ZPY_OK:
            self._fail(status)
        return self._lock

    def _check(self, status: int) -> None:
        if status in (lib.ZPY_WIPED, lib.ZPY_EXPIRED, lib.ZPY_FORKED):
            self._fail(status)
        check(status, *_UNEXPECTED)


_State = crypto_secretstream_xchacha20poly1305_state


def _check_state(state: object) -> None:
    if not isinstance(state, _State):
        raise exc.TypeError("State must be a crypto_secretstream_xchacha20poly1305_state object")


@careful
def crypto_secretstream_xchacha20poly1305_init_push(state: _State, key: Secret) -> bytes:
    """Begin to send. Returns the header, which the receiver needs first."""
    _check_state(state)

    def run(key: Any) -> tuple[bytes, _State]:
        header = bytes(crypto_secretstream_xchacha20poly1305_HEADERBYTES)  # Filled by the core.
        with state._turn():
            state._check(lib.zpy_sodium_stream_begin(state._handle, 0, key, header))
        return header, state

    # With the state, so that it is wiped, too, when the key ended meanwhile: perhaps it was begun with zeros.
    return call(run, (_KEY, key))[0]  # type: ignore[no-any-return]


@careful
def crypto_secretstream_xchacha20poly1305_push(
    state: _State, m: Secret, ad: Buffer | None = None, tag: int = crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
) -> bytes:
    """The next message, encrypted.

    Args:
        state: After init_push.
        m: The message.
        ad: What is authenticated with it.
        tag: One of the TAG_ numbers: what the message means for the stream.
    """
    _check_state(state)

    def run(m: Any, ad: Any) -> bytes:
        if len(m) > crypto_secretstream_xchacha20poly1305_MESSAGEBYTES_MAX:
            raise exc.ValueError("Message is too long")
        out = bytes(len(m) + crypto_secretstream_xchacha20poly1305_ABYTES)  # Filled by the core.
        with state._turn():
            state._check(lib.zpy_sodium_stream_push(state._handle, m, len(m), ad, len(ad), tag, out))
        return out

    return call(run, (_MESSAGE, m), (_AD, b"" if ad is None else ad))  # type: ignore[no-any-return]


@careful
def crypto_secretstream_xchacha20poly1305_init_pull(state: _State, header: Buffer, key: Secret) -> None:
    """Begin to receive, with the header that init_push gave."""
    _check_state(state)

    def run(header: Any, key: Any) -> _State:
        with state._turn():
            state._check(lib.zpy_sodium_stream_begin(state._handle, 1, key, bytes(header)))
            state._may_pull = True
        return state  # As in init_push.

    call(run, (_HEADER, header), (_KEY, key))


@overload
def crypto_secretstream_xchacha20poly1305_pull(
    state: _State, c: Buffer, ad: Buffer | None = None
) -> tuple[bytes, int]: ...
@overload
def crypto_secretstream_xchacha20poly1305_pull(
    state: _State, c: Buffer, ad: Buffer | None = None, *, into: Into
) -> tuple[SecureMemory, int]: ...
@careful
def crypto_secretstream_xchacha20poly1305_pull(
    state: _State, c: Buffer, ad: Buffer | None = None, *, into: Into | None = None
) -> tuple[Any, int]:
    """The next message and its tag.

    Raises:
        RuntimeError: It is not the stream's next message; the state is as before.
    """
    _check_state(state)
    if not state._may_pull:
        raise exc.ValueError("State must be initialized using crypto_secretstream_xchacha20poly1305_init_pull")

    def run(c: Any, ad: Any) -> tuple[Any, int]:
        size = len(c) - crypto_secretstream_xchacha20poly1305_ABYTES
        if size < 0:
            raise exc.ValueError("Ciphertext is too short")
        if size > crypto_secretstream_xchacha20poly1305_MESSAGEBYTES_MAX:
            raise exc.ValueError("Ciphertext is too long")
        tag = ffi.new("uint8_t *")

        def pull(out: Any) -> None:
            with state._turn():
                state._check(lib.zpy_sodium_stream_pull(state._handle, c, len(c), ad, len(ad), tag, out))

        return output(size, into, pull), int(tag[0])

    pulled: tuple[Any, int] = call(run, (_CIPHERTEXT, c), (_AD, b"" if ad is None else ad))
    return pulled


@careful
def crypto_secretstream_xchacha20poly1305_rekey(state: _State) -> None:
    """Go on with another key, made of this one, which is then gone; the other end has to do so at the same place."""
    _check_state(state)
    with state._turn():
        state._check(lib.zpy_sodium_stream_rekey(state._handle))
