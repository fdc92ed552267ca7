"""A key: bytes in locked memory, with what they are expanded to, used by pointer until they are destroyed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast
from weakref import ref

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.slots import (
    PEEK,
    Borrow,
    Holder,
    can_borrow,
    check_flag,
    lend,
    option_bits,
    protection_of,
    read_bytes,
    seconds_left,
)
from zeroizepy.values import KeyProtection, Protection

from .algorithms import AES_256, Algorithm, algorithm_for, chosen_algorithm
from .census import FORKS, note, note_name

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

    from zeroizepy.values import Borrowable

    from .algorithms import Name
    from .census import Census
    from .receipt import Origin

__all__ = ["HeldKey", "Policy", "Tier", "fail_key"]

_KEY_ID_BYTES = 32
_KEY_ID_LABEL = b"zeroizepy key id v1\0"
_KEY = ffi.typeof("struct zpy_key *")
# Looked up once: a fresh key for each message is common.
_new, _NULL, _create_key = ffi.new, ffi.NULL, lib.zpy_key_create
_RANDOM, _POLICY_BITS = lib.ZPY_RANDOM, _lib.POLICY_BITS
_AES_256_CORE, _AES_256_BYTES = AES_256.core, AES_256.key_bytes
_UNSUPPORTED, _LOCK_LIMIT = -lib.ZPY_UNSUPPORTED, -lib.ZPY_LOCK_LIMIT
Tier = Literal["packed", "isolated", "sealed"]
Policy = Literal["seal", "strict"] | None


def fail_key(status: int) -> NoReturn:
    """Raise for what the core says of a key that is not live."""
    _lib.raise_closed(status, "key")


def _create_again(core: Any, number: int, source: Any, ttl_ns: int, options: int) -> int:
    """For `_lib.seal_instead`, which chooses the options."""
    return int(_create_key(core, number, source, options, ttl_ns))


class _Nothing:
    """What an object that never got a key has of one: it is like a destroyed key."""

    __slots__ = ()

    def __getattr__(self, _name: str) -> NoReturn:
        fail_key(lib.ZPY_WIPED)


class HeldKey(Holder):
    """A key in its slot, and what it is; see `CryptoKey`.

    Its attributes stand in a dictionary, and in the class what they begin with: slots would want a `__new__`, and that
    takes a sixth of the time of a key that encrypts one message.
    """

    _handle = 0
    _size = 0
    _kept = None
    _algorithm: Algorithm = cast("Algorithm", _Nothing())
    """With `core` 0 where OpenSSL does the work."""
    _core: Any = _algorithm
    _options = 0
    _forks = 0
    _census: Census | None = None
    _origin: Origin | Literal["buffer_wiped"] = "bytes"

    def __init__(
        self,
        key_bytes: Buffer | Borrowable,
        *,
        algorithm: Name | None = None,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
        inherit: bool = False,
        wipe_source: bool = False,
    ) -> None:
        try:
            if (
                type(key_bytes) is bytes
                and len(key_bytes) == _AES_256_BYTES
                and tier == "packed"
                and algorithm is None
                and policy is None
                and ttl_sec is None
                and inherit is False
                and wipe_source is False
                and not self._handle
            ):
                self._begin(key_bytes, 0)  # The common case, in which there is nothing to check.
                return
            options, ttl_ns = option_bits(tier, policy, inherit), _lib.ttl_nanoseconds(ttl_sec)
            check_flag(wipe_source, "wipe_source")
            if algorithm is None and isinstance(key_bytes, HeldKey):
                algorithm = key_bytes.algorithm
            if isinstance(key_bytes, Holder):
                algorithm_for(key_bytes._size, algorithm)  # Before an access to a cell is counted.
            self._set_from(key_bytes, algorithm, options, ttl_ns)
            if can_borrow(key_bytes):
                self._origin = "holder"
                note(self, "source", "", ref(key_bytes) if isinstance(key_bytes, Holder) else None)
            if wipe_source:
                self._wipe_source(key_bytes)
        except BaseException as error:
            key_bytes = b""
            self._drop()  # It may be made of zeros.
            _lib.clear_locals(error)
            raise

    def _begin(self, source: Any, options: int) -> None:
        """`_set` for AES-256 in an object without a key, where nothing goes wrong; else `_set` sees to it."""
        core = _new(_KEY)
        handle = _create_key(core, _AES_256_CORE, source, options, 0)
        if handle < 0:
            self._set(source, AES_256, options, 0, refused=handle)
            self._origin = "bytes"
            return
        self._handle = handle
        self._size = _AES_256_BYTES
        self._core = core
        self._algorithm = AES_256
        self._forks = FORKS[0]

    def _set_from(self, data: Any, algorithm: str | None, options: int, ttl_ns: int) -> None:
        if can_borrow(data):
            lend(data, lambda view: self._set_from(view, algorithm, options, ttl_ns))
            return
        if type(data) is bytes:
            self._set(data, algorithm_for(len(data), algorithm), options, ttl_ns)
            self._origin = "bytes"
            return
        with _lib.as_buffer(data, "key_bytes") as source:
            self._set(source, algorithm_for(len(source), algorithm), options, ttl_ns)

    def _set(self, source: Any, algorithm: Algorithm, options: int, ttl_ns: int, *, refused: int = 0) -> None:
        """Make the key; `refused` is what the core answered already, for a caller that tried."""
        if self._handle and self._algorithm.name != algorithm.name:
            # A call in another thread may have made room for the nonce and tag of the old one.
            raise TypeError(f"this key is for {self.algorithm}; make another CryptoKey for {algorithm.name}")
        core = _new(_KEY)
        forks = FORKS[0]  # As above.
        handle = _UNSUPPORTED
        if algorithm.core:
            handle = refused or _create_key(core, algorithm.core, source, options & ~_POLICY_BITS, ttl_ns)
            if handle == _LOCK_LIMIT:
                handle = _lib.seal_instead(partial(_create_again, core, algorithm.core, source, ttl_ns), options)
        if handle == _UNSUPPORTED and algorithm.is_aes:
            handle = core.cell = _lib.new_handle(source, algorithm.key_bytes, options, ttl_ns)
            algorithm = replace(algorithm, core=lib.ZPY_ELSEWHERE)
        if handle < 0:
            _lib.raise_status(-handle, algorithm.key_bytes)
        if self._handle:
            self._drop()
        self._handle = handle
        self._size = algorithm.key_bytes
        self._algorithm = algorithm
        self._core = core
        self._options = options
        self._census = None
        self._forks = forks
        self._origin = "buffer"

    def _wipe_source(self, data: Any) -> None:
        """Zero what the key was made from; the key goes, too, where that cannot be done."""
        if can_borrow(data):
            end = getattr(data, "close", None)
            if end is None:
                raise TypeError(f"wipe_source cannot wipe {type(data).__name__}")
            end()
            return
        if memoryview(data).readonly:
            raise TypeError(f"wipe_source needs a mutable source; {type(data).__name__} cannot be wiped")
        with _lib.as_buffer(data, "key_bytes") as source:
            _lib.core(len(source), "memzero")(source, len(source))
        self._origin = "buffer_wiped"

    @classmethod
    def generate(
        cls,
        length: int | None = None,
        *,
        algorithm: Name | None = None,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
        inherit: bool = False,
    ) -> Self:
        """A random key, drawn from the kernel's generator straight into its slot.

        Args:
            length: 16, 24 or 32 bytes; None for what the algorithm has, and 32 without one.
            algorithm: None for AES-GCM.
            tier, policy, ttl_sec, inherit: As for `CryptoKey`.
        """
        key = cls.__new__(cls)
        is_plain = length is None and algorithm is None and tier == "packed" and policy is None and ttl_sec is None
        if is_plain and inherit is False:
            key._begin(_NULL, _RANDOM)
        else:
            chosen = chosen_algorithm(length, algorithm)
            key._set(_NULL, chosen, option_bits(tier, policy, inherit) | _RANDOM, _lib.ttl_nanoseconds(ttl_sec))
        key._origin = "generated"
        return key

    @property
    def algorithm(self) -> Name:
        """One of "AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "XChaCha20-Poly1305", "AEGIS-256"; it never changes."""
        return self._algorithm.name

    @property
    def key_id(self) -> str:
        """A commitment to the key and its algorithm, as 64 hexadecimal digits; the same for the same key everywhere.

        It is HMAC-SHA256 under the key, of "zeroizepy key id v1", a zero byte and `algorithm`. Nobody can find two keys
        with the same one (a collision of SHA-256), nor the key from it. Whoever guesses a key can check the guess: the
        name of a key that is not random is no more secret than its guesses are many.

        Raises:
            SecureMemoryClosed: The key is destroyed.
        """
        census = self._census
        if census is not None and census.name is not None and not self.destroyed:
            return census.name
        label = _KEY_ID_LABEL + self.algorithm.encode()
        out = bytes(_KEY_ID_BYTES)  # Filled before anybody else has seen it.
        status = lib.zpy_derive_key_id(self._handle, self._size, label, len(label), out)
        if status != lib.ZPY_OK:
            fail_key(status)
        name = out.hex()
        note_name(self, name)
        return name

    @property
    def messages(self) -> int:
        """How many messages this object has encrypted; with AES-GCM, beyond 2^32 there is `NonceLimitError`.

        Copies of the key elsewhere count for themselves, and so does the same key in another `CryptoKey`. With
        `inherit`, parent and child go on from what was counted at the fork, each for itself.
        """
        return int(self._core.messages)

    @property
    def messages_decrypted(self) -> int:
        """How many messages this object has decrypted, in whichever way; those that it refused are not among them."""
        return int(self._core.decrypted)

    @property
    def messages_refused(self) -> int:
        """How many ciphertexts it was tried on that did not open: forged, damaged, or of another key."""
        return int(self._core.refused)

    @property
    def expires_in(self) -> float | None:
        """Seconds until the deadline; None without one; 0.0 once the key is gone."""
        return seconds_left(self._handle)

    @property
    def destroyed(self) -> bool:
        """Whether the key is gone."""
        return bool(lib.zpy_cell_state(self._handle) != lib.ZPY_OK)

    @property
    def protection(self) -> KeyProtection:
        """What the system calls granted.

        Raises:
            SecureMemoryClosed: The key is destroyed.
        """
        status, base = protection_of(self._handle)
        if base is None:
            fail_key(status)
        fields = {name: getattr(base, name) for name in Protection.__slots__}
        return KeyProtection(**fields, schedule_locked=self._algorithm.core != 0 and base.locked)

    def get_bytes(self) -> bytes:
        """The key as `bytes`, which cannot be wiped: from then on, destroying the key proves nothing.

        Raises:
            SecureMemoryClosed: The key is destroyed.
        """
        status, data = read_bytes(self._handle, 0, self._size)
        if status != lib.ZPY_OK:
            fail_key(status)
        note(self, "get_bytes")
        self._check_noted(data)
        return data

    def _check_noted(self, data: bytes) -> None:
        """After a copy was noted: one that a receipt made meanwhile does not list must not be given out.

        Raises:
            SecureMemoryClosed: The key is destroyed; `data` is wiped.
        """
        state = lib.zpy_cell_state(self._handle)
        if state != lib.ZPY_OK:
            _lib.wipe_bytes(data)
            fail_key(state)

    def borrow(self) -> Borrow:
        """Lend the key as a read-only memoryview, without a copy: `with key.borrow() as view: ...`."""
        note(self, "borrow")
        return Borrow(self, fail_key)

    def _peek(self) -> Borrow:
        """The same for this library's own use, which leaves no copy behind."""
        return Borrow(self, fail_key, PEEK)

    def destroy(self) -> None:
        """Zero the key and its schedule now. Harmless when already destroyed; safe from any thread.

        A call that is using the key in another thread raises instead of giving a result.
        """
        status = self._drop()
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    close = destroy

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> Self:
        if self.destroyed:
            fail_key(lib.zpy_cell_state(self._handle))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()
