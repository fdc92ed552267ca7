"""The only importer of the compiled core: loads it, sets it up once, and turns its status codes into exceptions."""

from __future__ import annotations

import os

from .exceptions import (
    CellExpiredError,
    CellWipedError,
    DecryptionError,
    LockLimitError,
    MemoryCorruptionError,
    NonceLimitError,
    ProtectionError,
    SecureMemoryClosed,
    SecureMemoryError,
    SecureMemoryExpired,
    SecureMemoryWarning,
)

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

__all__ = [
    "LENIENT",
    "POLICIES",
    "POLICY_BITS",
    "STRICT",
    "as_buffer",
    "clear_locals",
    "core",
    "encode_text",
    "ffi",
    "lib",
    "make_cell",
    "new_handle",
    "raise_closed",
    "raise_status",
    "seal_instead",
    "set_policy",
    "shown",
    "stack_level",
    "system_error_number",
    "ttl_nanoseconds",
    "wipe_bytes",
]

try:
    from . import _native
except ImportError as error:
    # A core that is there and cannot be loaded, and cffi that is missing, have a name of their own here.
    if error.name == __package__:
        raise ImportError(
            f"zeroizepy's compiled core is missing beside {os.path.dirname(os.path.abspath(__file__))}: "
            "this is the source folder, not an installation; run 'pip install .' and start Python elsewhere"
        ) from error
    raise

ffi: Any = _native.ffi  # type: ignore[attr-defined, unused-ignore]
lib: Any = _native.lib  # type: ignore[attr-defined, unused-ignore]

LARGE_BYTES = 4096
"""Cells above this size get their own pages, which take long enough to prepare that the GIL is released."""

_CORE: dict[str, tuple[Any, Any]] = {
    name: (getattr(lib, f"zpy_cell_{name}"), getattr(lib, f"zpy_large_{name}"))
    for name in ["compare", "copy", "create", "memequal", "memzero", "read", "take", "verify", "wipe", "write", "zero"]
}
POLICIES = ("seal", "strict")
"""What happens to a new secret when nothing more can be locked: it is sealed, or refused."""
STRICT = 1 << 30
LENIENT = 1 << 29
POLICY_BITS = STRICT | LENIENT
"""Option bits that are not for the core: a policy given for one secret, whatever the process's is."""
MAX_CELL_BYTES = 1 << 40
SHOWN_CHARACTERS = 12
MAX_TTL_S = (1 << 63) // 10**9
"""292 years."""
_ERRORS: dict[int, tuple[type[Exception], str]] = {
    lib.ZPY_WIPED: (CellWipedError, "Cell is wiped"),
    lib.ZPY_EXPIRED: (CellExpiredError, "TTL expired"),
    lib.ZPY_FORKED: (
        CellWipedError,
        "Cell is wiped: it belongs to the parent process; create it after the fork or with inherit=True",
    ),
    lib.ZPY_NO_MEMORY: (MemoryError, "no memory for a secret"),
    lib.ZPY_RANGE: (ValueError, "offset or length is outside the memory"),
    lib.ZPY_FORGED: (DecryptionError, "Invalid ciphertext or authentication failed"),
    lib.ZPY_CORRUPT: (MemoryCorruptionError, "memory around a secret was overwritten; its slot is retired"),
    lib.ZPY_UNSUPPORTED: (SecureMemoryError, "not supported by this CPU or platform"),
    lib.ZPY_BAD_TEXT: (ValueError, "Invalid UTF-8"),
    lib.ZPY_NONCE_LIMIT: (
        NonceLimitError,
        "this key has encrypted 2^32 messages, the most that random 96-bit nonces allow; take a new key",
    ),
}


def _budget_from_environment() -> int:
    text = os.environ.get("ZEROIZEPY_LOCK_BUDGET", "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 63:
        raise ValueError(f"ZEROIZEPY_LOCK_BUDGET must be a positive number of bytes, not {text!r}")
    return int(text)


def _backend_from_environment() -> bool:
    text = os.environ.get("ZEROIZEPY_BACKEND", "")
    if text not in ("", "auto", "mlock", "secretmem", "memfd_secret"):
        raise ValueError(f"ZEROIZEPY_BACKEND must be 'auto', 'secretmem' or 'mlock', not {text!r}")
    return text != "mlock"


def _policy_from_environment() -> str:
    text = os.environ.get("ZEROIZEPY_POLICY", "")
    if text not in ("", *POLICIES):
        raise ValueError(f"ZEROIZEPY_POLICY must be 'seal' or 'strict', not {text!r}")
    return text or "seal"


def raise_status(status: int, asked_bytes: int | None = None) -> NoReturn:
    """Raise the exception for a status code other than ZPY_OK, as a cell's user should see it.

    Args:
        status: From the core.
        asked_bytes: How large a secret was to be created, for the error that says that it found no room.
    """
    if status == lib.ZPY_SYSTEM:
        number = int(ffi.errno)
        raise ProtectionError(number, f"protecting memory failed: {os.strerror(number)}")
    if status == lib.ZPY_LOCK_LIMIT:
        raise LockLimitError(_lock_limit_text(asked_bytes))
    kind, text = _ERRORS.get(status, (SecureMemoryError, f"internal error: status {status}"))
    raise kind(text)


def raise_closed(status: int, what: str) -> NoReturn:
    """The same for secure memory and keys, whose end of life has an error of its own.

    Args:
        status: A status code other than ZPY_OK.
        what: What was closed, to begin the message with.
    """
    if status == lib.ZPY_FORKED:
        raise SecureMemoryClosed(f"{what} belongs to the parent process; create it after the fork")
    if status == lib.ZPY_EXPIRED:
        raise SecureMemoryExpired(f"{what} expired")
    if status == lib.ZPY_WIPED:
        raise SecureMemoryClosed(f"{what} is closed")
    raise_status(status)


def _lock_limit_text(asked_bytes: int | None) -> str:
    stats = ffi.new("struct zpy_stats *")
    lib.zpy_stats_read(stats)
    asked = "" if asked_bytes is None else f" for a secret of {asked_bytes} bytes"
    fewer = ", or hold fewer secrets" if stats.locked_bytes else ""
    return f"Failed to lock memory{asked}: {_locked_text(stats)}; {_remedy()}{fewer}"


def _locked_text(stats: Any) -> str:
    return f"{stats.locked_bytes} bytes of a budget of {stats.budget_bytes} are locked"


def _remedy() -> str:
    """What raises the budget: three quarters of the limit, or what the variable says, as far as the kernel lets it."""
    limit = "the hard RLIMIT_MEMLOCK (limits.conf, systemd LimitMEMLOCK=, docker --ulimit memlock=)"
    if os.environ.get("ZEROIZEPY_LOCK_BUDGET"):
        return f"raise ZEROIZEPY_LOCK_BUDGET, or where the kernel's own limit is reached {limit}"
    return f"raise {limit}"


_policy = "seal"
_warned: list[bool] = []
"""Not empty once the process was told that its secrets seal themselves."""


def set_policy(policy: str) -> str:
    """Choose what happens to new secrets when nothing more can be locked. Returns what was chosen before.

    Raises:
        ValueError: Neither "seal" nor "strict".
    """
    global _policy
    if policy not in POLICIES:
        raise ValueError(f"policy must be 'seal' or 'strict', not {shown(policy)}")
    before, _policy = _policy, policy
    return before


def is_strict() -> bool:
    """Whether what cannot be locked is to be refused."""
    return _policy == "strict"


def make_cell(make: Callable[[int], int], options: int) -> int:
    """Create a cell; where nothing more can be locked for it, a sealed one instead, unless the policy is strict.

    Args:
        make: Calls the core with these options. Returns a handle, or minus a status.
        options: ZPY_* bits, and STRICT or LENIENT.

    Returns:
        The handle, or minus a status other than ZPY_OK.
    """
    handle = make(options & ~POLICY_BITS)
    return seal_instead(make, options) if handle == -lib.ZPY_LOCK_LIMIT else handle


def seal_instead(make: Callable[[int], int], options: int) -> int:
    """What becomes of a cell that found no room; see `make_cell`. The core refuses again what is too long for that."""
    refuses = options & STRICT or (is_strict() and not options & LENIENT)
    if refuses or options & lib.ZPY_SEALED:
        return int(-lib.ZPY_LOCK_LIMIT)
    sealed = make(options & ~(POLICY_BITS | lib.ZPY_ISOLATED) | lib.ZPY_SEALED)
    if sealed > 0 and not _warned:
        try:
            _warn_sealed()
        except BaseException:  # Warnings may be errors.
            lib.zpy_cell_wipe(sealed)
            raise
    return sealed


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame is this library's. A program that is run as a script has None for its package."""
    return (frame.f_globals.get("__package__") or "").partition(".")[0] == __package__


def stack_level() -> int:
    """The `stacklevel` by which a warning that the calling function gives names the line of the library's user."""
    import sys

    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
        level, frame = level + 1, frame.f_back
    return level


def _warn_sealed() -> None:
    import warnings

    stats = ffi.new("struct zpy_stats *")
    lib.zpy_stats_read(stats)
    warnings.warn(
        f"no more memory can be locked ({_locked_text(stats)}): new secrets are sealed, that is encrypted on the "
        f"ordinary heap, and in locked memory only while they are used; {_remedy()}, or refuse them "
        "with policy='strict'",
        SecureMemoryWarning,
        stacklevel=stack_level(),
    )
    _warned.append(True)


def shown(value: object) -> str:
    """How an error quotes an argument that should have been one of a few words: in full only if it looks like one.

    What stands there instead may be a secret that was passed in the wrong place.
    """
    if isinstance(value, str) and not (len(value) <= SHOWN_CHARACTERS and value.isascii() and value.islower()):
        return f"a str of {len(value)} characters"
    return repr(value) if isinstance(value, (str, bool, int, float)) or value is None else type(value).__name__


def system_error_number() -> int:
    """errno of the last call into the core."""
    return int(ffi.errno)


def new_handle(data: Any, size: int, options: int = 0, ttl_ns: int = 0, max_reads: int = 0, *, refused: int = 0) -> int:
    """Create a cell and return its handle.

    Args:
        data: `bytes`, a cffi buffer of at least `size` bytes, or `ffi.NULL` for zeros.
        size: Bytes, 0 and up.
        options: ZPY_ISOLATED, ZPY_INHERIT, ZPY_RANDOM, ZPY_SEALED, STRICT, LENIENT.
        ttl_ns: Nanoseconds to live, 0 for no deadline.
        max_reads: Accesses, 0 for no limit.
        refused: What the core answered already, for a caller that tried.

    Raises:
        LockLimitError: The lock budget or the kernel's limit is spent, and it may not or cannot be sealed.
        ProtectionError: The kernel refused to protect the pages.
        MemoryError: `size` cannot be had.
    """
    if size > MAX_CELL_BYTES:
        raise MemoryError(f"no memory for a secret of {size} bytes")
    create = core(size, "create")
    handle = refused or int(create(data, size, options & ~POLICY_BITS, ttl_ns, max_reads))
    if handle == -lib.ZPY_LOCK_LIMIT and size <= LARGE_BYTES:
        handle = seal_instead(lambda bits: int(create(data, size, bits, ttl_ns, max_reads)), options)
    if handle < 0:
        raise_status(-handle, size)
    return handle


def ttl_nanoseconds(ttl_sec: float | None) -> int:
    """Turn `ttl_sec` into the core's unit; 0 means no deadline.

    Raises:
        TypeError: Not a number.
        ValueError: Negative, NaN, infinite, or over 292 years.
    """
    if ttl_sec is None:
        return 0
    if isinstance(ttl_sec, bool) or not isinstance(ttl_sec, (int, float)):
        raise TypeError(f"ttl_sec must be a number of seconds or None, not {type(ttl_sec).__name__}")
    if not 0 <= ttl_sec <= MAX_TTL_S:  # NaN fails this, too.
        try:
            given = repr(float(ttl_sec))
        except OverflowError:
            given = "an int beyond any float"
        raise ValueError(f"ttl_sec must be between 0 and {MAX_TTL_S} seconds, not {given}")
    return max(1, int(ttl_sec * 1e9))


def core(size: int, name: str) -> Any:
    """The core's function for a cell of this size: the short one keeps the GIL, its twin for large ones releases it.

    Args:
        size: Bytes to be moved or compared.
        name: Without its prefix, as in "read".
    """
    return _CORE[name][size > LARGE_BYTES]


def encode_text(text: str, name: str) -> bytes:
    """A str as UTF-8, in a bytes object that the caller wipes.

    Raises:
        ValueError: A lone surrogate. Python's own UnicodeEncodeError carries the whole text, so it does not get out.
    """
    try:
        return str.encode(text, "utf-8")
    except UnicodeEncodeError:
        pass
    raise ValueError(f"{name} holds a lone surrogate, which has no UTF-8 form")


def clear_locals(error: BaseException) -> None:
    """Empty the local variables of this library's frames in a traceback, for reporters that print them.

    The calling frame is still running and cannot be emptied: it lets go of secrets itself.
    """
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if _is_ours(frame):
            try:
                frame.clear()
            except RuntimeError:
                pass  # Still running.
        trace = trace.tb_next


def as_buffer(data: Any, name: str) -> Any:
    """A cffi view of any C-contiguous buffer, without a copy, for the length of a `with` block.

    The block matters: CPython (seen in 3.11) crashes when its garbage collector meets a memoryview that somebody still
    holds a buffer of, as the frame of an exception in a reference cycle would.

    Raises:
        TypeError: Not a buffer, or not contiguous.
    """
    try:
        return ffi.from_buffer("uint8_t[]", data)
    except (TypeError, BufferError, ValueError):
        remedy = "; use .encode()" if isinstance(data, str) else ""
        kind = type(data).__name__
        raise TypeError(f"{name} must be a contiguous bytes-like object, not {kind}{remedy}") from None


def wipe_bytes(data: bytes) -> None:
    """Zero a bytes object that this library itself made and nobody else has seen.

    Objects of up to one byte are shared by the whole interpreter and are left alone.
    """
    if len(data) > 1:
        core(len(data), "memzero")(data, len(data))


def _start() -> None:
    status = lib.zpy_init(_backend_from_environment(), _budget_from_environment())
    if status != lib.ZPY_OK:
        raise ImportError(f"zeroizepy's core could not start: status {status}, {os.strerror(int(ffi.errno))}")
    # Threads do not pass through fork, and a child may have inherited cells with deadlines.
    os.register_at_fork(after_in_child=lib.zpy_reaper_ensure)
    set_policy(_policy_from_environment())
    if lib.zpy_backing_kind() == lib.ZPY_BACKING_NONE:
        import warnings

        warnings.warn(
            "this platform cannot lock memory: secrets may be swapped to disk", SecureMemoryWarning, stacklevel=2
        )


_start()
