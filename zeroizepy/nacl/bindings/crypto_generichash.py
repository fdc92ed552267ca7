"""BLAKE2b by PyNaCl's names; its states, which a key may have gone into, rest in slots."""

from __future__ import annotations

from _thread import RLock
from os import register_at_fork
from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.careful import careful
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl._constants import constants
from zeroizepy.slots import SlottedHolder

from ._shared import Need, call

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from zeroizepy.nacl._held import Secret

(
    crypto_generichash_BYTES,
    crypto_generichash_BYTES_MIN,
    crypto_generichash_BYTES_MAX,
    crypto_generichash_KEYBYTES,
    crypto_generichash_KEYBYTES_MIN,
    crypto_generichash_KEYBYTES_MAX,
    crypto_generichash_SALTBYTES,
    crypto_generichash_PERSONALBYTES,
) = constants(
    "crypto_generichash_blake2b",
    "BYTES",
    "BYTES_MIN",
    "BYTES_MAX",
    "KEYBYTES",
    "KEYBYTES_MIN",
    "KEYBYTES_MAX",
    "SALTBYTES",
    "PERSONALBYTES",
)
(crypto_generichash_STATEBYTES,) = constants("crypto_generichash", "STATEBYTES")


def _at_most(name: str, kinds: str, most: int) -> Need:
    wrong_type, too_long = f"{name} must be a bytes sequence{kinds}", f"{name} length greater than {most} bytes"
    return Need((exc.TypeError, wrong_type), (exc.ValueError, too_long), most=most)


_DATA = Need((exc.TypeError, "Input data must be a bytes sequence, a cell or secure memory"))
_KEY = _at_most("Key", ", a cell, secure memory or a key", crypto_generichash_KEYBYTES_MAX)
_SALT = _at_most("Salt", "", crypto_generichash_SALTBYTES)
_PERSON = _at_most("Person", "", crypto_generichash_PERSONALBYTES)
_FAILURE = "Unexpected failure"


def _check_digest_size(digest_size: int) -> None:
    exc.ensure(isinstance(digest_size, int), "Digest size must be an integer number", raising=exc.TypeError)
    most = crypto_generichash_BYTES_MAX
    exc.ensure(digest_size <= most, f"Digest_size greater than {most}", raising=exc.ValueError)
    exc.ensure(digest_size > 0, _FAILURE, raising=exc.RuntimeError)


def _filled(given: Any, size: int) -> Any:
    """What was given, and zeros behind it."""
    whole = ffi.new("uint8_t[]", size)
    ffi.memmove(whole, given, len(given))
    return whole


def _check_status(status: int) -> None:
    if status == lib.ZPY_INVALID:
        raise exc.RuntimeError(_FAILURE)
    if status != lib.ZPY_OK:
        _lib.raise_closed(status, "Blake2State")


@careful
def generichash_blake2b_salt_personal(
    data: Secret,
    digest_size: int = crypto_generichash_BYTES,
    key: Secret = b"",
    salt: Buffer = b"",
    person: Buffer = b"",
) -> bytes:
    """BLAKE2b of a message.

    Args:
        data: bytes-like, or a cell or secure memory.
        digest_size: 1 to 64 bytes.
        key: Up to 64 bytes; bytes-like, or a cell, secure memory or key, which is then not copied.
        salt, person: Up to 16 bytes each; zeros follow.

    Raises:
        TypeError, ValueError, RuntimeError: A wrong argument.
        CellWipedError, SecureMemoryClosed: The key or the message ended meanwhile.

    Source: RFC 7693.
    """
    _check_digest_size(digest_size)
    digest = ffi.new("uint8_t[]", digest_size)

    def run(salt: Any, person: Any, secret: Any, source: Any) -> int:
        wide = _filled(salt, crypto_generichash_SALTBYTES), _filled(person, crypto_generichash_PERSONALBYTES)
        return int(lib.zpy_hash_blake2b(source, len(source), secret, len(secret), *wide, digest, digest_size))

    _check_status(call(run, (_SALT, salt), (_PERSON, person), (_KEY, key), (_DATA, data)))
    return bytes(ffi.buffer(digest))


class _Process:
    """This process as the one that locks belong to."""

    __slots__ = ("forks", "lock")

    def __init__(self) -> None:
        self.forks = 0
        self.lock = RLock()

    def begin_child(self) -> None:
        """A thread that held a lock at the fork is not here to give it back."""
        self.forks += 1
        self.lock = RLock()


_process = _Process()
register_at_fork(after_in_child=_process.begin_child)


class Blake2State(SlottedHolder):
    """A BLAKE2b under way, whose state rests in a slot; it has no text form, and pickling it fails.

    Args:
        digest_size: Bytes of the digest that it will give.
    """

    __slots__ = ("_forks", "_lock", "_options", "digest_size")

    def __init__(self, digest_size: int) -> None:
        self._begin(digest_size, lib.ZPY_INHERIT)

    def _begin(self, digest_size: int, options: int) -> None:
        """Take a slot; ZPY_INHERIT, as for states without a key, lets a forked child go on with a copy."""
        self.digest_size = digest_size
        self._options = options
        # Signal handlers run in the thread that they interrupt, and may hash, too.
        self._lock, self._forks = RLock(), _process.forks
        self._hold(_lib.new_handle(ffi.NULL, crypto_generichash_STATEBYTES, options), crypto_generichash_STATEBYTES)

    def _turn(self) -> RLock:
        """The lock that callers take turns by; in a forked child, one of its own."""
        if self._forks != _process.forks:
            with _process.lock:
                if self._forks != _process.forks:
                    self._lock = RLock()
                    self._forks = _process.forks
        return self._lock

    def copy(self) -> Self:
        """One more, in the same state."""
        twin = type(self).__new__(type(self))
        twin._begin(self.digest_size, self._options)
        with self._turn():
            _check_status(lib.zpy_cell_copy(twin._handle, self._handle, crypto_generichash_STATEBYTES))
        return twin

    def digest(self) -> bytes:
        """What `generichash_blake2b_final` would give, and the state stays as it is."""
        return self._finish(keep=True)

    def wipe(self) -> None:
        """Zero the state now; harmless when it already was."""
        status = self._drop()
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    def _finish(self, *, keep: bool) -> bytes:
        digest = ffi.new("uint8_t[]", crypto_generichash_BYTES_MAX)
        with self._turn():
            _check_status(lib.zpy_hash_blake2b_finish(self._handle, digest, self.digest_size, keep))
        return bytes(ffi.buffer(digest, self.digest_size))


def _check_state(state: object) -> None:
    exc.ensure(isinstance(state, Blake2State), "State must be a Blake2State object", raising=exc.TypeError)


@careful
def generichash_blake2b_init(
    key: Secret = b"",
    salt: Buffer = b"",
    person: Buffer = b"",
    digest_size: int = crypto_generichash_BYTES,
) -> Blake2State:
    """Begin a BLAKE2b; arguments and errors as for `generichash_blake2b_salt_personal`.

    Under a key, its state is a secret of this process: a forked child does not have it.
    """
    _check_digest_size(digest_size)
    state = Blake2State.__new__(Blake2State)

    def run(salt: Any, person: Any, secret: Any) -> int:
        state._begin(digest_size, 0 if len(secret) else lib.ZPY_INHERIT)
        wide = _filled(salt, crypto_generichash_SALTBYTES), _filled(person, crypto_generichash_PERSONALBYTES)
        return int(lib.zpy_hash_blake2b_begin(state._handle, secret, len(secret), *wide, digest_size))

    _check_status(call(run, (_SALT, salt), (_PERSON, person), (_KEY, key)))
    return state


@careful
def generichash_blake2b_update(state: Blake2State, data: Secret) -> None:
    """Go on with more data. Calls from several threads take turns.

    Raises:
        TypeError: No state, or not bytes-like.
        SecureMemoryClosed: The state was wiped, or belongs to the parent process.
        CellWipedError, SecureMemoryClosed: The data ended meanwhile, and then the state is wiped, too.
    """
    _check_state(state)
    began = False

    def run(source: Any) -> int:
        nonlocal began
        began = True
        with state._turn():
            return int(lib.zpy_hash_blake2b_update(state._handle, source, len(source)))

    try:
        status = call(run, (_DATA, data))
    except BaseException:
        if began:
            state.wipe()  # Perhaps zeros went into it.
        raise
    _check_status(status)


@careful
def generichash_blake2b_final(state: Blake2State) -> bytes:
    """End it and give the digest.

    Raises:
        TypeError: No state.
        RuntimeError: It was ended already.
        SecureMemoryClosed: It was wiped, or belongs to the parent process.
    """
    _check_state(state)
    return state._finish(keep=False)
