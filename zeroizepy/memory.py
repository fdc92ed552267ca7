"""Secure memory: buffers outside Python's heap that are locked, guarded, kept out of core dumps and forks, and wiped.

What a buffer was really granted stands in its `protection`, taken from the answers of the system calls.
"""

from __future__ import annotations

import atexit

from . import _lib
from ._lib import ffi, lib
from .slots import (
    COUNTED,
    WRITABLE,
    Borrow,
    SlottedHolder,
    can_borrow,
    check_size,
    lend,
    option_bits,
    protection_of,
    read_bytes,
)

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal, NoReturn

    from typing_extensions import Buffer, Self

    from .values import Borrowable, MemoryStats, Protection

__all__ = [
    "Borrow",
    "Borrowable",
    "MemoryStats",
    "Protection",
    "SecureMemory",
    "purge",
    "secret_bytes",
    "secure_alloc",
    "set_policy",
    "stats",
]


def _fail_closed(status: int) -> NoReturn:
    _lib.raise_closed(status, "secure memory")


class SecureMemory(SlottedHolder):
    """A buffer of fixed size for a secret, zero at first, wiped by `close()`, a `with` block, or its deletion.

    Up to 4096 bytes it is a slot in shared locked pages; above that, or with `tier="isolated"`, it has pages of its own
    that are inaccessible while nobody uses them; with `tier="sealed"` it is encrypted while nobody does.

    Args:
        size: Bytes, 0 and up.
        tier: "packed", "isolated" or "sealed"; see `zeroizepy.CypherCell`.
        policy: None, "seal" or "strict"; see there.
        inherit: A forked child keeps its own copy, locked again there.

    Raises:
        TypeError, ValueError: A wrong argument.
        LockLimitError: The lock budget or the kernel's limit is spent, and it may not or cannot be sealed.

    Does not reach: `bytes` that were made from it by `read()` or `get_bytes()`, and anything the kernel or a debugger
    with root rights reads while it is open (on the "memfd_secret" backing, /proc/PID/mem excepted).
    """

    __slots__ = ()

    def __init__(
        self,
        size: int,
        *,
        tier: Literal["packed", "isolated", "sealed"] = "packed",
        policy: Literal["seal", "strict"] | None = None,
        inherit: bool = False,
    ) -> None:
        if not isinstance(size, int):
            kind, size = type(size).__name__, 0  # Tracebacks show a frame's variables, and this one may be a secret.
            raise TypeError(f"size must be an int, not {kind}; SecureMemory.from_bytes copies data")
        check_size(size)
        self._hold(_lib.new_handle(ffi.NULL, size, option_bits(tier, policy, inherit)), size)

    @classmethod
    def alloc(cls, size: int) -> Self:
        """The same as `SecureMemory(size)`."""
        return cls(size)

    @classmethod
    def from_bytes(cls, data: Buffer | Borrowable) -> Self:
        """Copy `data` into new secure memory.

        Args:
            data: A contiguous bytes-like object, or a cell, memory or key. It keeps its own copy: clear it with
                `zeroizepy.utils.secure_clear` where it is mutable.
        """
        try:
            if can_borrow(data):
                return lend(data, cls.from_bytes)
            if type(data) is not bytes:
                with _lib.as_buffer(data, "data") as source:
                    return cls._holding(source)
            return cls._holding(data)
        except BaseException as error:
            data = b""
            _lib.clear_locals(error)
            raise

    @classmethod
    def _holding(cls, source: Any) -> Self:
        memory = cls(len(source))
        memory._write(source, 0)
        return memory

    @property
    def size(self) -> int:
        """Its size in bytes, also after it was closed."""
        return self._size

    @property
    def closed(self) -> bool:
        """Whether it was closed, purged, or left behind in the parent process."""
        return bool(lib.zpy_cell_state(self._handle) != lib.ZPY_OK)

    @property
    def protection(self) -> Protection:
        """What the system calls granted.

        Raises:
            SecureMemoryClosed: It is closed.
        """
        status, protection = protection_of(self._handle)
        if protection is None:
            _fail_closed(status)
        return protection

    def write(self, data: Buffer | Borrowable, offset: int = 0) -> None:
        """Copy `data` to `offset`.

        Raises:
            TypeError: `data` is not bytes-like, or `offset` no int.
            ValueError: It does not fit; nothing was written.
            SecureMemoryClosed: It is closed.
        """
        check_size(offset, "offset")
        try:
            if can_borrow(data):
                lend(data, lambda view: self.write(view, offset))
            elif type(data) is bytes:
                self._write(data, offset)
            else:
                with _lib.as_buffer(data, "data") as source:
                    self._write(source, offset)
        except BaseException as error:
            data = b""
            _lib.clear_locals(error)
            raise

    def _write(self, source: Any, offset: int) -> None:
        if offset + len(source) > self._size:
            raise ValueError(f"{len(source)} bytes at offset {offset} do not fit into {self._size} bytes")
        status = _lib.core(len(source), "write")(self._handle, offset, source, len(source))
        if status != lib.ZPY_OK:
            _fail_closed(status)

    def read(self, length: int | None = None, offset: int = 0) -> bytes:
        """Copy `length` bytes from `offset` (all that follow when None) into a `bytes` object, which cannot be wiped.

        Raises:
            TypeError: Not ints.
            ValueError: Out of bounds.
            SecureMemoryClosed: It is closed.
        """
        check_size(offset, "offset")
        wanted = max(self._size - offset, 0) if length is None else check_size(length, "length")
        if offset + wanted > self._size:
            raise ValueError(f"{wanted} bytes at offset {offset} are not within {self._size} bytes")
        status, data = read_bytes(self._handle, offset, wanted)
        if status != lib.ZPY_OK:
            _fail_closed(status)
        return data

    def get_bytes(self) -> bytes:
        """The whole content as `bytes`, which cannot be wiped; `borrow()` makes no copy."""
        return self.read()

    def borrow(self, writable: bool = False) -> Borrow:
        """Lend the bytes as a memoryview, without a copy: `with memory.borrow() as view: ...`.

        Args:
            writable: Whether the view may be written to.

        Raises:
            SecureMemoryClosed: On entering the block, when it is closed.
        """
        return Borrow(self, _fail_closed, COUNTED | WRITABLE if writable else COUNTED)

    def zero(self) -> None:
        """Overwrite the content with zeros; the memory stays usable."""
        status = _lib.core(self._size, "zero")(self._handle)
        if status != lib.ZPY_OK:
            _fail_closed(status)

    def close(self) -> None:
        """Wipe the content and give the memory back. Harmless when already closed.

        Raises:
            MemoryCorruptionError: Something had written outside its bounds; the content is wiped all the same.
        """
        status = self._drop()
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> Self:
        if self.closed:
            _fail_closed(lib.zpy_cell_state(self._handle))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def secret_bytes(data: Buffer | Borrowable) -> SecureMemory:
    """Copy `data` into new secure memory; the same as `SecureMemory.from_bytes(data)`."""
    try:
        return SecureMemory.from_bytes(data)
    except BaseException:
        data = b""  # For reporters that print the variables of a traceback.
        raise


def secure_alloc(size: int) -> SecureMemory:
    """Secure memory of `size` bytes, for use in a `with` statement; the same as `SecureMemory(size)`."""
    return SecureMemory(size)


def set_policy(policy: Literal["seal", "strict"]) -> str:
    """Choose what happens to new secrets of this process when nothing more can be locked.

    Args:
        policy: "seal", the default: they are encrypted on the ordinary heap under a locked key, and one
            `SecureMemoryWarning` says so. "strict": `LockLimitError`. `ZEROIZEPY_POLICY` sets the one to begin with.

    Returns:
        The policy until now.

    Raises:
        ValueError: Another word.
    """
    return _lib.set_policy(policy)


def purge() -> int:
    """Wipe every cell, secure memory and key of this process, now.

    Objects that held them stay usable only to learn that they are wiped.

    Returns:
        How many secrets were live.
    """
    return int(lib.zpy_purge())


def stats() -> MemoryStats:
    """The memory engine's figures for this process."""
    from .values import MemoryStats

    raw = ffi.new("struct zpy_stats *")
    lib.zpy_stats_read(raw)
    return MemoryStats(**{name: int(getattr(raw, name)) for name in MemoryStats.__slots__})


# Interpreter exit wipes what is left, then ends the thread that keeps deadlines; each object's own __del__ may come too
# late or never.
atexit.register(lib.zpy_reaper_stop)
atexit.register(purge)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the values that this module also offers when they are first asked for."""
        if name in ("Borrowable", "MemoryStats", "Protection"):
            from . import values

            return getattr(values, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
