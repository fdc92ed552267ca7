"""A key: bytes in locked memory, with what they are expanded to, used by pointer until they are destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.slots import Borrow, Holder, can_borrow, lend, protection_of, read_bytes
from zeroizepy.values import KeyProtection, Protection

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

    from zeroizepy.values import Borrowable

__all__ = ["CryptoKey", "fail_key"]

_KEY_BYTES = (16, 24, 32)


def fail_key(status: int) -> NoReturn:
    """Raise for what the core says of a key that is not live."""
    _lib.raise_closed(status, "key")


class CryptoKey(Holder):
    """An AES-GCM key that stays in locked memory and is used by pointer, until it is destroyed.

    Args:
        key_bytes: 16, 24 or 32 bytes (AES-128, -192, -256): bytes-like, or a cell or secure memory. It is copied;
            what you pass keeps its own copy, except a cell for which this was the last access.

    Raises:
        TypeError: Not bytes-like.
        ValueError: Another length.
        LockLimitError: Nothing more can be locked.

    With 32 bytes and a CPU that has AES instructions, libsodium does the work and the expanded key lies beside the
    key in the same slot. Otherwise OpenSSL does, through `cryptography`; `protection.schedule_locked` is False then.
    """

    __slots__ = ("_native",)

    def __init__(self, key_bytes: Buffer | Borrowable) -> None:
        try:
            if isinstance(key_bytes, Holder) and key_bytes._size not in _KEY_BYTES:
                self._set(ffi.NULL, key_bytes._size, 0)  # Raises, before an access to a cell is counted.
            if can_borrow(key_bytes):
                lend(key_bytes, self._set_from)
            else:
                self._set_from(key_bytes)
        except BaseException as error:
            key_bytes = b""
            self._drop()  # It may be made of zeros.
            _lib.clear_locals(error)
            raise

    def _set_from(self, data: Any) -> None:
        if type(data) is bytes:
            self._set(data, len(data), 0)
            return
        with _lib.as_buffer(data, "key_bytes") as source:
            self._set(source, len(source), 0)

    def _set(self, source: Any, size: int, options: int) -> None:
        if size not in _KEY_BYTES:
            raise ValueError(f"key_bytes must be 16, 24 or 32 bytes (AES-128, -192 or -256), not {size}")
        native = size == 32 and lib.zpy_has_aes() == 1
        if native:
            handle = _lib.make_cell(lambda bits: int(lib.zpy_key_create(source, bits, 0)), options)
            if handle < 0:
                _lib.raise_status(-handle, size)
        else:
            handle = _lib.new_handle(source, size, options)
        self._hold(handle, size)
        self._native = native

    @classmethod
    def generate(cls, length: int = 32) -> Self:
        """A random key, drawn from the kernel's generator straight into its slot.

        Args:
            length: 16, 24 or 32 bytes.
        """
        if isinstance(length, bool) or not isinstance(length, int):
            raise TypeError(f"length must be an int, not {type(length).__name__}")
        key = cls.__new__(cls)
        key._set(ffi.NULL, length, lib.ZPY_RANDOM)
        return key

    @property
    def algorithm(self) -> str:
        """One of "AES-128-GCM", "AES-192-GCM" and "AES-256-GCM"."""
        return f"AES-{8 * self._size}-GCM"

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
        return KeyProtection(**fields, schedule_locked=self._native and base.locked)

    def get_bytes(self) -> bytes:
        """The key as `bytes`, which cannot be wiped: from then on, destroying the key proves nothing.

        Raises:
            SecureMemoryClosed: The key is destroyed.
        """
        status, data = read_bytes(self._handle, 0, self._size)
        if status != lib.ZPY_OK:
            fail_key(status)
        return data

    def borrow(self) -> Borrow:
        """Lend the key as a read-only memoryview, without a copy: `with key.borrow() as view: ...`."""
        return Borrow(self, fail_key)

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
