"""What cells, secure memory and keys have in common: protection, borrowing, and having no text form."""

from __future__ import annotations

from . import _lib
from ._lib import ffi, lib

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, NoReturn, TypeGuard, TypeVar

    from typing_extensions import Self

    from .values import Borrowable, Protection

    _Result = TypeVar("_Result")

__all__ = [
    "Borrow",
    "Holder",
    "Redacted",
    "can_borrow",
    "check_size",
    "differs",
    "lend",
    "open_lease",
    "option_bits",
    "protection_of",
    "read_bytes",
]

_LEASE = ffi.typeof("struct zpy_lease *")
_drop_lease = lib.zpy_cell_lease_drop
_bind = type(_lib.as_buffer.__get__(_lib))  # types.MethodType: binds a first argument, in C.

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


def can_borrow(data: object) -> TypeGuard[Borrowable]:
    """Whether `data` is Borrowable; asking the Protocol itself takes microseconds."""
    return hasattr(type(data), "borrow")


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


class Holder(Redacted):
    """Base of the objects that own a cell of the core: it is wiped when the object goes."""

    __slots__ = ("__weakref__", "_handle", "_size")

    _handle: int
    _size: int

    def __new__(cls, *_args: Any, **_keywords: Any) -> Self:
        """Begin without a cell: handle 0 names none, and everything refuses it."""
        holder = object.__new__(cls)
        holder._handle = 0
        holder._size = 0
        return holder

    def _hold(self, handle: int, size: int) -> None:
        """Own a cell. One held before, by an object that is initialised twice, must not stay behind."""
        if self._handle:
            self._drop()
        self._handle = handle
        self._size = size

    def _drop(self) -> int:
        """Wipe the cell. Returns the core's status; ZPY_OK when there was nothing left to wipe."""
        return int(_lib.core(self._size, "wipe")(self._handle))

    def _lend(self) -> int:
        """The handle to borrow from."""
        return self._handle

    def __del__(self, _wipe: Any = lib.zpy_cell_wipe) -> None:
        _wipe(self._handle)


def differs(handle: int) -> bool:
    """The answer False of a comparison; raises where there was nothing to compare, because the parent holds it."""
    if lib.zpy_cell_state(handle) == lib.ZPY_FORKED:
        _lib.raise_status(lib.ZPY_FORKED)
    return False


def option_bits(tier: str = "packed", policy: str | None = None, inherit: bool = False) -> int:
    """Check the arguments that choose a protection and turn them into the core's option bits.

    Raises:
        ValueError: An unknown tier or policy, or one that this version does not have.
    """
    if tier not in ("packed", "isolated"):
        raise ValueError(f"tier must be 'packed' or 'isolated', not {_lib.shown(tier)}")
    if policy not in (None, "strict"):
        raise ValueError(f"policy must be None or 'strict', not {_lib.shown(policy)}")
    return (lib.ZPY_ISOLATED if tier == "isolated" else 0) | (lib.ZPY_INHERIT if inherit else 0)


def protection_of(handle: int) -> tuple[int, Protection | None]:
    """The core's status for a handle, and its protection when that is ZPY_OK."""
    raw = ffi.new("struct zpy_protection *")
    status = lib.zpy_cell_protection(handle, raw)
    if status != lib.ZPY_OK:
        return status, None
    from .values import Protection

    return status, Protection(
        tier="isolated" if raw.isolated else "packed",
        backing=_BACKINGS[raw.backing],
        locked=bool(raw.locked),
        guarded=bool(raw.guarded),
        dump_excluded=bool(raw.dump_excluded),
        fork=_FORKS[raw.fork],
        page_bytes=raw.page_bytes,
    )


def open_lease(handle: int, counted: bool) -> tuple[int, Any, Any]:
    """Pin a cell, and begin an access when `counted`.

    Whatever interrupts Python here or later, nothing stays pinned or open: the lease is given back by a destructor of
    the exporter that is C code all through, since a signal handler's exception would be lost in a Python one.

    Returns:
        The core's status, the lease, and a cffi pointer to the bytes, which keeps the pin for as long as it lives.
    """
    lease = ffi.new(_LEASE)
    address = lib.zpy_cell_address(handle)
    exporter = ffi.gc(address, _bind(_drop_lease, lease))
    status = lib.zpy_cell_lease(lease, handle, address, counted)
    return status, lease, exporter


def read_bytes(handle: int, offset: int, size: int, read: Any = None) -> tuple[int, bytes]:
    """Copy bytes out of a cell into exactly one new `bytes` object.

    The core fills the object before anybody else has seen it; objects of up to one byte are shared by the whole
    interpreter, so these take a detour that is wiped.

    Returns:
        The core's status, and the bytes when that is ZPY_OK.
    """
    out = bytes(size) if size > 1 else ffi.new("uint8_t[1]")
    status = _lib.core(size, "read")(handle, offset, out, size) if read is None else read(handle, out, size)
    if size > 1:
        return status, out
    result = bytes(ffi.buffer(out, size))
    lib.zpy_cell_memzero(out, 1)
    return status, result


class Borrow:
    """Lends a secret's bytes for the length of a `with` block, without a copy.

    A slice or array made from the view may outlive the block: it reads the secret until that is wiped and zeros from
    then on, never another secret. It also keeps the pages of an isolated secret open.
    """

    __slots__ = ("_counted", "_fail", "_lease", "_owner", "_size", "_view", "_writable", "end_status")

    def __init__(
        self, owner: Any, size: int, fail: Callable[[int], NoReturn], *, writable: bool = False, counted: bool = True
    ) -> None:
        self._owner = owner  # Kept alive: `with CypherCell(...).borrow() as view` lends what nobody else holds.
        self._size = size
        self._fail = fail
        self._writable = writable
        self._counted = counted
        self._view: memoryview | None = None
        self.end_status: int = lib.ZPY_OK
        """The core's status when the block ended: another one means that the view may have read zeros."""

    def __enter__(self) -> memoryview:
        if self._view is not None:
            raise RuntimeError("this borrow is already open; call borrow() again for another")
        status, self._lease, exporter = open_lease(self._owner._lend(), self._counted)
        if status:
            self._fail(status)
        view = memoryview(ffi.buffer(exporter, self._size))
        self._view = view if self._writable else view.toreadonly()
        return self._view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        view, self._view = self._view, None
        if view is None:
            return
        self.end_status = lib.zpy_cell_lease_close(self._lease)
        self._lease = None
        try:
            view.release()
        except BufferError:
            # An array still uses the view; its slot stays pinned until that is gone too.
            return

    def fail(self) -> NoReturn:
        """Raise for an `end_status` other than ZPY_OK."""
        self._fail(self.end_status)


def lend(data: Any, use: Callable[[memoryview], _Result], *, peek: bool = False) -> _Result:
    """Hand the bytes of something Borrowable to a function, and take its result only if the secret outlived the call.

    Another thread may wipe the secret meanwhile; what was made then may be made of zeros.

    Args:
        data: Borrowable.
        use: Gets a read-only view.
        peek: Do not count an access where `data` is one of this library's own.

    Raises:
        CellWipedError: The secret ended meanwhile; a result that holds a secret was wiped.
    """
    borrow = data._peek() if peek and hasattr(data, "_peek") else data.borrow()
    with borrow as view:
        result = use(view)
    if isinstance(borrow, Borrow) and borrow.end_status:
        if isinstance(result, Holder):
            lib.zpy_cell_wipe(result._handle)
        borrow.fail()
    return result


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
