"""Secure memory: buffers outside Python's heap that are locked, guarded, kept out of core dumps and forks, and wiped.

What a buffer was really granted stands in its `protection`, taken from the answers of the system calls.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from . import _lib
from ._lib import ffi, lib

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

__all__ = [
    "Borrow",
    "Borrowable",
    "MemoryStats",
    "Protection",
    "Redacted",
    "SecureMemory",
    "purge",
    "secret_bytes",
    "secure_alloc",
    "stats",
]

_BACKINGS = {
    lib.ZPY_BACKING_NONE: "none",
    lib.ZPY_BACKING_MLOCK: "mlock",
    lib.ZPY_BACKING_SECRETMEM: "memfd_secret",
}
_FORKS = {
    lib.ZPY_FORK_INHERITED: "inherited",
    lib.ZPY_FORK_WIPED: "wiped",
    lib.ZPY_FORK_ABSENT: "absent",
}


@dataclass(frozen=True, slots=True)
class Protection:
    """What the system calls granted for one secret.

    Attributes:
        tier: "packed" (a slot among others) or "isolated" (own pages, no access while nobody borrows them).
        backing: "memfd_secret" (not even root reads it through /proc/PID/mem), "mlock", or "none".
        locked: The pages cannot be swapped: mlock returned 0, or they are secretmem, which is never swapped.
        guarded: Inaccessible pages lie directly before and behind.
        dump_excluded: madvise(MADV_DONTDUMP) returned 0.
        fork: What a forked child finds: "absent", "wiped" (zeros) or "inherited" (its own copy).
        page_bytes: Bytes of the page run that holds the secret, guards not counted.
    """

    tier: str
    backing: str
    locked: bool
    guarded: bool
    dump_excluded: bool
    fork: str
    page_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """The memory engine's figures for this process.

    Attributes:
        cells: Live secrets: cells, secure memories, keys.
        isolated: How many of them have their own pages.
        pinned: Wiped secrets whose slot is held by a view that still exists; the slot holds zeros.
        locked_bytes: Bytes of pages held now.
        peak_locked_bytes: Their maximum so far.
        budget_bytes: The most that will be locked.
        runs: Page runs of the packed tier.
        wipes: Secrets wiped so far, whatever the reason.
        expiries: How many of them because their time to live was over.
        corruptions: Slots retired because something wrote outside its bounds.
    """

    cells: int
    isolated: int
    pinned: int
    locked_bytes: int
    peak_locked_bytes: int
    budget_bytes: int
    runs: int
    wipes: int
    expiries: int
    corruptions: int


@runtime_checkable
class Borrowable(Protocol):
    """Anything that lends its bytes as a memoryview: cells, views of cells, secure memory, keys."""

    def borrow(self) -> AbstractContextManager[memoryview]:
        """Lend the bytes, without a copy."""


class Redacted:
    """Base of objects that hold a secret: no text form, no pickle, no copy."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [REDACTED]>"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    def _refuse_copy(self, *_args: object) -> NoReturn:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")

    __reduce__ = __reduce_ex__ = __getstate__ = __copy__ = __deepcopy__ = _refuse_copy


def option_bits(tier: str = "packed", policy: str | None = None, inherit: bool = False) -> int:
    """Check the arguments that choose a protection and turn them into the core's option bits.

    Raises:
        ValueError: An unknown tier or policy, or one that this version does not have.
    """
    if tier not in ("packed", "isolated"):
        raise ValueError(f"tier must be 'packed' or 'isolated', not {tier!r}")
    if policy not in (None, "strict"):
        raise ValueError(f"policy must be None or 'strict', not {policy!r}")
    return (lib.ZPY_ISOLATED if tier == "isolated" else 0) | (lib.ZPY_INHERIT if inherit else 0)


def protection_of(handle: int) -> tuple[int, Protection | None]:
    """The core's status for a handle, and its protection when that is ZPY_OK."""
    raw = ffi.new("struct zpy_protection *")
    status = lib.zpy_cell_protection(handle, raw)
    if status != lib.ZPY_OK:
        return status, None
    return status, Protection(
        tier="isolated" if raw.isolated else "packed",
        backing=_BACKINGS[raw.backing],
        locked=bool(raw.locked),
        guarded=bool(raw.guarded),
        dump_excluded=bool(raw.dump_excluded),
        fork=_FORKS[raw.fork],
        page_bytes=raw.page_bytes,
    )


def export_view(address: Any, size: int, handle: int) -> memoryview:
    """Wrap a pinned address; the pin is dropped when the last view of any kind onto it is gone."""

    def drop_pin(_address: object, handle: int = handle, unpin: Any = lib.zpy_cell_unpin) -> None:
        unpin(handle)

    return memoryview(ffi.buffer(ffi.gc(address, drop_pin), size))


def read_bytes(handle: int, offset: int, size: int, read: Any = None) -> tuple[int, bytes]:
    """Copy bytes out of a cell into exactly one new `bytes` object.

    The core fills the object before anybody else has seen it; objects of up to one byte are shared by the whole
    interpreter, so these take a detour that is wiped.

    Returns:
        The core's status, and the bytes when that is ZPY_OK.
    """
    out = bytes(size) if size > 1 else ffi.new("uint8_t[1]")
    status = lib.zpy_cell_read(handle, offset, out, size) if read is None else read(handle, out, size)
    if size > 1:
        return status, out
    result = bytes(ffi.buffer(out, size))
    lib.zpy_cell_memzero(out, 1)
    return status, result


class Borrow(AbstractContextManager[memoryview]):
    """Lends a secret's bytes for the length of a `with` block, without a copy.

    A slice or array made from the view may outlive the block: it never reaches another secret, and reads zeros once the
    secret is wiped.
    """

    __slots__ = ("_counted", "_fail", "_handle", "_size", "_view", "_writable")

    def __init__(self, handle: int, size: int, fail: Any, *, writable: bool = False, counted: bool = True) -> None:
        self._handle = handle
        self._size = size
        self._fail = fail
        self._writable = writable
        self._counted = counted
        self._view: memoryview | None = None

    def __enter__(self) -> memoryview:
        if self._view is not None:
            raise RuntimeError("this borrow is already open; call borrow() again for another")
        handle = self._handle
        address = lib.zpy_cell_open(handle) if self._counted else lib.zpy_cell_pin(handle)
        if address == ffi.NULL:
            number = _lib.system_error_number()
            status = lib.zpy_cell_state(handle)
            if status == lib.ZPY_OK:
                status = lib.ZPY_SYSTEM if number else lib.ZPY_WIPED
            self._fail(status)
        view = export_view(address, self._size, handle)
        self._view = view if self._writable else view.toreadonly()
        return self._view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        view, self._view = self._view, None
        if view is None:
            return
        if self._counted:
            lib.zpy_cell_close(self._handle)
        try:
            view.release()
        except BufferError:
            # An array still uses the view; its slot stays pinned until that is gone too.
            return


def _fail_closed(status: int) -> NoReturn:
    _lib.raise_closed(status, "secure memory")


def check_size(size: object, name: str = "size") -> int:
    """Return `size` if it is an int >= 0.

    Raises:
        TypeError: Not an int.
        ValueError: Negative.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} must be an int, not {type(size).__name__}")
    if size < 0:
        raise ValueError(f"{name} must not be negative, not {size}")
    return size


class SecureMemory(Redacted):
    """A buffer of fixed size for a secret, zero at first, wiped by `close()`, a `with` block, or its deletion.

    Up to 4096 bytes it is a slot in shared locked pages; above that, or with `tier="isolated"`, it has pages of its own
    that are inaccessible while nobody uses them.

    Args:
        size: Bytes, 0 and up.
        tier: "packed" or "isolated".
        policy: None or "strict"; both raise `LockLimitError` in this version when nothing more can be locked.
        inherit: A forked child keeps its own copy, locked again there.

    Raises:
        TypeError, ValueError: A wrong argument.
        LockLimitError: The lock budget or the kernel's limit is spent.

    Does not reach: `bytes` that were made from it by `read()` or `get_bytes()`, and anything the kernel or a debugger
    with root rights reads while it is open (on the "memfd_secret" backing, /proc/PID/mem excepted).
    """

    __slots__ = ("__weakref__", "_handle", "_size")

    def __init__(
        self, size: int, *, tier: str = "packed", policy: str | None = None, inherit: bool = False
    ) -> None:
        self._size = check_size(size)
        self._handle = _lib.new_handle(ffi.NULL, size, option_bits(tier, policy, inherit))

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
        if isinstance(data, Borrowable):
            with data.borrow() as view:
                return cls.from_bytes(view)
        source = data if type(data) is bytes else _lib.as_buffer(data, "data")
        memory = cls(len(source))
        memory.write(data)
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
        if isinstance(data, Borrowable):
            with data.borrow() as view:
                self.write(view, offset)
            return
        source = data if type(data) is bytes else _lib.as_buffer(data, "data")
        check_size(offset, "offset")
        if offset + len(source) > self._size:
            raise ValueError(f"{len(source)} bytes at offset {offset} do not fit into {self._size} bytes")
        status = lib.zpy_cell_write(self._handle, offset, source, len(source))
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
        return Borrow(self._handle, self._size, _fail_closed, writable=writable)

    def zero(self) -> None:
        """Overwrite the content with zeros; the memory stays usable."""
        status = lib.zpy_cell_zero(self._handle)
        if status != lib.ZPY_OK:
            _fail_closed(status)

    def close(self) -> None:
        """Wipe the content and give the memory back. Harmless when already closed.

        Raises:
            MemoryCorruptionError: Something had written outside its bounds; the content is wiped all the same.
        """
        status = lib.zpy_cell_wipe(self._handle)
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

    def __del__(self, _wipe: Any = lib.zpy_cell_wipe) -> None:
        try:
            _wipe(self._handle)
        except AttributeError:
            return  # __init__ failed before there was anything to wipe.


def secret_bytes(data: Buffer | Borrowable) -> SecureMemory:
    """Copy `data` into new secure memory; the same as `SecureMemory.from_bytes(data)`."""
    return SecureMemory.from_bytes(data)


@contextmanager
def secure_alloc(size: int) -> Iterator[SecureMemory]:
    """Secure memory of `size` bytes for one `with` block: `with secure_alloc(32) as memory: ...`."""
    memory = SecureMemory(size)
    try:
        yield memory
    finally:
        memory.close()


def purge() -> int:
    """Wipe every cell, secure memory and key of this process, now.

    Objects that held them stay usable only to learn that they are wiped.

    Returns:
        How many secrets were live.
    """
    return int(lib.zpy_purge())


def stats() -> MemoryStats:
    """The memory engine's figures for this process."""
    raw = ffi.new("struct zpy_stats *")
    lib.zpy_stats_read(raw)
    return MemoryStats(**{name: int(getattr(raw, name)) for name in MemoryStats.__slots__})


# Interpreter exit wipes what is left; each object's own __del__ may come too late or never.
atexit.register(purge)
