"""What cells, secure memory and keys have in common: protection, borrowing, and having no text form."""

from __future__ import annotations

import sys

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
    _Lent = tuple[Any, Any, int]
    """A lease, the cffi pointer that keeps it, and the bytes it is for."""

__all__ = [
    "COUNTED",
    "PEEK",
    "WRITABLE",
    "Borrow",
    "Holder",
    "Redacted",
    "SlottedHolder",
    "can_borrow",
    "check_flag",
    "check_size",
    "differs",
    "lend",
    "open_lease",
    "option_bits",
    "protection_of",
    "read_bytes",
    "seconds_left",
]

PEEK = 0
COUNTED = lib.ZPY_LEASE_COUNTED
WRITABLE = lib.ZPY_LEASE_WRITABLE
"""How `open_lease` lends: without an access, as an access, and to a borrower who may write."""

_MOVED = lib.ZPY_MOVED
_LEASE = ffi.typeof("struct zpy_lease *")
# Looked up once: a borrow is short, and each look-up on `ffi` or `lib` is one in a dictionary.
_new, _gc, _buffer = ffi.new, ffi.gc, ffi.buffer
_new_object = object.__new__
_state = lib.zpy_cell_state
_address_of = lib.zpy_cell_address
_take_lease, _close_lease, _drop_lease = lib.zpy_cell_lease, lib.zpy_cell_lease_close, lib.zpy_cell_lease_drop
_take_again, _end_lease = lib.zpy_cell_lease_again, lib.zpy_cell_lease_end
_bind = type(_lib.as_buffer.__get__(_lib))  # types.MethodType: binds a first argument, in C.


def _references() -> tuple[Callable[[object], int], int]:
    """What counts the references to an object, and its answer for what one tuple alone holds.

    The answer is taken from a tuple like those that `Borrow` asks about, so that it is right whatever the interpreter
    adds. It is one that no object ever gets where counts say nothing, or where another thread changes them meanwhile.
    """
    is_counting = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
    if not is_counting:
        return (lambda _thing: 0), -1
    pair = (None, _new(_LEASE))
    return sys.getrefcount, sys.getrefcount(pair[1])


_references_to, _ALONE = _references()

_TIERS = ("packed", "isolated", "sealed")  # By enum zpy_tier.
_TIER_BITS: dict[str, int] = {"packed": 0, "isolated": lib.ZPY_ISOLATED, "sealed": lib.ZPY_SEALED}
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
    """Base of the objects that own a cell of the core: it is wiped when the object goes.

    They begin without one: handle 0 names none, and everything refuses it.
    """

    if not TYPE_CHECKING:  # A type checker would think that there are no other slots below.
        __slots__ = ()

    _handle: int
    _size: int
    _kept: memoryview | dict[int, _Lent] | None
    """Once it was lent: a writable view that holds a packed secret's slot, or where its lease waits; see `Borrow`."""

    def _hold(self, handle: int, size: int) -> None:
        """Own a cell. One held before, by an object that is initialised twice, must not stay behind."""
        if self._handle:
            self._drop()
        self._handle = handle
        self._size = size

    def _drop(self) -> int:
        """Wipe the cell. Returns the core's status; ZPY_OK when there was nothing left to wipe."""
        self._kept = None  # First, so that the slot is given back now, and damage around it told.
        return int(_lib.core(self._size, "wipe")(self._handle))

    def _lend(self) -> int:
        """The handle to borrow from."""
        return self._handle

    def __del__(self, _wipe: Any = lib.zpy_cell_wipe) -> None:
        _wipe(self._handle)


class SlottedHolder(Holder):
    """Base of those that there may be a million of: they have no dictionary."""

    __slots__ = ("__weakref__", "_handle", "_kept", "_size")

    def __new__(cls, *_args: Any, **_keywords: Any) -> Self:
        """Slots have no defaults."""
        holder = _new_object(cls)
        holder._handle = 0
        holder._size = 0
        holder._kept = None
        return holder


def differs(answer: int) -> bool:
    """The answer of a comparison that did not say 1: False, also for a secret that is gone.

    Raises:
        CellWipedError: There was nothing to compare with, because the parent holds it.
        LockLimitError, MemoryCorruptionError, ProtectionError: A sealed or isolated secret could not be opened.
    """
    if answer < 0 and -answer not in (lib.ZPY_WIPED, lib.ZPY_EXPIRED):
        _lib.raise_status(-answer)
    return False


def check_flag(flag: object, name: str) -> None:
    """Refuse what is true without being True: most often another argument in the wrong place.

    Raises:
        TypeError: With the type, since the value may be a secret.
    """
    if flag and flag is not True:
        raise TypeError(f"{name} must be a bool, not {type(flag).__name__}")


def option_bits(tier: object = "packed", policy: object = None, inherit: object = False) -> int:
    """Check the arguments that choose a protection and turn them into the core's option bits.

    Raises:
        ValueError: An unknown tier or policy.
        TypeError: `inherit` is no bool.
    """
    if not isinstance(tier, str) or tier not in _TIER_BITS:
        raise ValueError(f"tier must be 'packed', 'isolated' or 'sealed', not {_lib.shown(tier)}")
    if policy not in (None, *_lib.POLICIES):
        raise ValueError(f"policy must be None, 'seal' or 'strict', not {_lib.shown(policy)}")
    check_flag(inherit, "inherit")
    bits = _TIER_BITS[tier] | (lib.ZPY_INHERIT if inherit else 0)
    return bits | (0 if policy is None else _lib.STRICT if policy == "strict" else _lib.LENIENT)


def protection_of(handle: int) -> tuple[int, Protection | None]:
    """The core's status for a handle, and its protection when that is ZPY_OK."""
    raw = ffi.new("struct zpy_protection *")
    status = lib.zpy_cell_protection(handle, raw)
    if status != lib.ZPY_OK:
        return status, None
    from .values import Protection

    return status, Protection(
        tier=_TIERS[raw.tier],
        backing=_BACKINGS[raw.backing],
        locked=bool(raw.locked),
        guarded=bool(raw.guarded),
        dump_excluded=bool(raw.dump_excluded),
        fork=_FORKS[raw.fork],
        page_bytes=raw.page_bytes,
    )


def seconds_left(handle: int) -> float | None:
    """Seconds until a cell's deadline; None without one; 0.0 once the secret is gone."""
    left = int(lib.zpy_cell_ttl(handle))
    if left == -1:
        return None
    return left / 1e9 if left >= 0 else 0.0


def open_lease(handle: int, kind: int) -> tuple[int, Any, Any]:
    """Pin a cell.

    Whatever interrupts Python here or later, nothing stays pinned or open: the lease is given back by a destructor of
    the exporter that is C code all through, since a signal handler's exception would be lost in a Python one.

    Args:
        handle: Of the cell.
        kind: PEEK, or COUNTED to begin an access, or WRITABLE, or both.

    Returns:
        The core's status, the lease, and a cffi pointer to the bytes, which keeps the pin for as long as it lives.
    """
    status = _MOVED
    while status == _MOVED:  # Another thread closed a sealed cell between the two calls.
        lease = _new(_LEASE)
        address = _address_of(handle)
        exporter = _gc(address, _bind(_drop_lease, lease))
        status = _take_lease(lease, handle, address, kind)
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


_spare: dict[int, _Lent] = {}
"""Ended leases for sealed secrets, by size: these find their bytes in the same slot, one after the other."""


class Borrow:
    """Lends a secret's bytes for the length of a `with` block, without a copy.

    A slice or array made from the view may outlive the block: it reads the secret until that is wiped and zeros from
    then on, never another secret. It also keeps an isolated secret's pages open, and a sealed secret decrypted.
    """

    __slots__ = ("_fail", "_handle", "_kind", "_lent", "_owner", "_turn", "_view", "end_status")

    end_status: int
    """The core's status when the block ended: another one than ZPY_OK means that the view may have read zeros."""

    def __init__(self, owner: Any, fail: Callable[[int], NoReturn], kind: int = COUNTED) -> None:
        self._owner = owner  # Kept alive: `with CypherCell(...).borrow() as view` lends what nobody else holds.
        self._fail = fail
        self._kind = kind
        self._turn = 0
        self._view: memoryview | None = None

    def __enter__(self) -> memoryview:
        if self._view is not None:
            raise RuntimeError("this borrow is already open; call borrow() again for another")
        owner = self._owner
        kept = owner._kept
        lent: _Lent | None = None
        if kept is None:
            view, lent = self._open(owner._lend())
        elif kept.__class__ is memoryview:
            self._handle = owner._handle
            status = _state(self._handle)
            if status:
                self._fail(status)
            view = kept
        else:
            # Taken out, so that nobody else has it, and what interrupts this call leaves it to its destructor.
            lent = kept.pop(owner._size, None)
            self._handle = handle = owner._handle
            self._turn = turn = _take_again(lent[0], handle, self._kind) if lent else 0
            if turn > 0:
                view = memoryview(_buffer(lent[1], lent[2]))
            else:
                view, lent = self._open(handle)
        self._lent = lent
        # Not `kept` itself, which lives longer than the block.
        self._view = view = memoryview(view) if self._kind & WRITABLE else view.toreadonly()
        return view

    def _open(self, handle: int) -> tuple[memoryview, _Lent | None]:
        owner = self._owner
        self._handle = handle
        status, lease, exporter = open_lease(handle, self._kind)
        if status:
            self._fail(status)
        # A key's slot goes on behind it, with the expanded key.
        size = min(lease.length, owner._size)
        view = memoryview(_buffer(exporter, size))
        if isinstance(owner, Holder):
            if lease.may_last:
                # The next borrow finds the slot pinned. Limits rest on accesses, of which this secret has any number.
                _close_lease(lease)
                owner._kept = view
                return view, None
            if owner._kept is None:
                owner._kept = _spare if lease.tier == lib.ZPY_TIER_SEALED else {}
        self._turn = lease.turn
        return view, (lease, exporter, size)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        view = self._view
        if view is None:
            return
        # Both before anything that another thread can run in: should that leave this block and enter it again, the
        # lease is in another turn by then, and that thread's.
        lent, turn = self._lent, self._turn
        self._view = self._lent = None
        try:
            view.release()
        except BufferError:
            # An array still uses the view; its slot stays pinned until that is gone too.
            self.end_status = _close_lease(lent[0]) if lent else _state(self._handle)
            return
        if lent is None:
            self.end_status = _state(self._handle)
        elif _references_to(lent[1]) != _ALONE:
            self.end_status = _close_lease(lent[0])  # A slice is left, to the same effect.
        else:
            status = _end_lease(lent[0], turn)
            if status < 0:
                return  # Another thread that left this block was faster.
            self.end_status = status
            kept = self._owner._kept
            if kept.__class__ is dict:
                kept[lent[2]] = lent

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
        CellWipedError: The secret ended meanwhile; results that hold secrets, also in a tuple, were wiped.
    """
    borrow = data._peek() if peek and hasattr(data, "_peek") else data.borrow()
    with borrow as view:
        result = use(view)
    if isinstance(borrow, Borrow) and borrow.end_status:
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, Holder):
                lib.zpy_cell_wipe(part._handle)
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
