"""Sources of secrets: environment, files, descriptors, read straight into a cell with no Python object between."""

from __future__ import annotations

import errno
import os
import stat
import sys

from . import _lib
from ._lib import ffi, lib
from .slots import check_flag, check_size, option_bits

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .values import CellLimits

    Limits = tuple[int, int, int]
    """Option bits, nanoseconds to live (0: no deadline), accesses (0: no limit), as the core takes them."""

__all__ = [
    "MAX_SOURCE_BYTES",
    "limits_from",
    "load_credential",
    "load_descriptor",
    "load_env",
    "load_file",
    "moved",
    "policy_of",
    "reads_from",
]

MAX_SOURCE_BYTES = 16 * 1024 * 1024
"""The most that a file or descriptor is read to unless the caller says otherwise."""

_LIMIT_NAMES = {"inherit", "max_reads", "policy", "tier"}
_FIRST_GUESS_BYTES = 256
_OWN_REFERENCES = 3
_MAX_READS = (1 << 32) - 2


def limits_from(volatile: bool, ttl_sec: float | None, limits: CellLimits) -> Limits:
    """Check the arguments that say how a cell is protected and when it ends.

    Raises:
        TypeError, ValueError: A wrong argument, named with what was given.
    """
    unknown = limits.keys() - _LIMIT_NAMES
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    bits = option_bits(limits.get("tier", "packed"), limits.get("policy"), limits.get("inherit", False))
    return bits, _lib.ttl_nanoseconds(ttl_sec), reads_from(volatile, limits.get("max_reads"))


def policy_of(limits: Limits) -> int:
    """The option bits for the cells that a source needs on the way: the policy that was given for the one it makes."""
    return limits[0] & _lib.POLICY_BITS


def reads_from(volatile: object, max_reads: object) -> int:
    """Check how often a cell may be read and turn it into the core's number, 0 for any.

    Raises:
        TypeError, ValueError: As `limits_from`.
    """
    check_flag(volatile, "volatile")
    if max_reads is not None:
        if isinstance(max_reads, bool) or not isinstance(max_reads, int):
            raise TypeError(f"max_reads must be an int or None, not {type(max_reads).__name__}")
        if not 1 <= max_reads <= _MAX_READS:
            raise ValueError(f"max_reads must be between 1 and {_MAX_READS}, not {max_reads}")
        if volatile and max_reads != 1:
            raise ValueError(f"volatile=True means max_reads=1, not {max_reads}")
        return max_reads
    return 1 if volatile else 0


def load_env(name: str, limits: Limits, *, scrub: bool = False) -> int:
    """Copy the value of an environment variable from the C environment into a new cell.

    Args:
        name: The variable's name.
        limits: For the new cell.
        scrub: Also zero the value in the C environment block (which /proc/PID/environ shows) and in the `bytes` objects
            behind `os.environ` unless something else holds them too, and remove the variable.

    Returns:
        The cell's handle.

    Raises:
        TypeError: `name` is no str.
        ValueError: `name` is empty or holds "=" or a NUL.
        KeyError: There is no such variable.

    Does not reach: `str` objects that the program made of the value, copies in a parent process, and an older value of
    a variable that was set again.
    """
    if not isinstance(name, str):
        raise TypeError(f"var_name must be str, not {type(name).__name__}")
    if not name or "=" in name or "\0" in name:
        raise ValueError("var_name must not be empty nor hold '=' or NUL")  # Perhaps NAME=VALUE: not to be repeated.
    raw_name = os.fsencode(name)
    options, ttl_ns, max_reads = limits
    handle = _lib.make_cell(lambda bits: int(lib.zpy_cell_from_env(raw_name, bits, ttl_ns, max_reads)), options)
    if handle == -lib.ZPY_RANGE:
        # What is no name may be a value, passed in its place.
        raise KeyError(f"Env var not found: {name if name.isidentifier() else f'a name of {len(name)} characters'}")
    if handle < 0:
        _lib.raise_status(-handle)
    if scrub:
        _scrub_env(raw_name)
    return handle


def _scrub_env(raw_name: bytes) -> None:
    lib.zpy_cell_scrub_env(raw_name)
    stores = [getattr(os.environ, "_data", None)]
    try:
        import posix
    except ImportError:
        pass
    else:
        stores.append(posix.environ)
    for store in stores:
        if isinstance(store, dict) and isinstance(store.get(raw_name), bytes):
            _wipe_if_ours(store.pop(raw_name), stores)


def _wipe_if_ours(value: bytes, stores: list[Any]) -> None:
    """Zero the bytes object of a variable, unless the program holds it elsewhere, as a constant for example."""
    held = sum(other is value for store in stores if isinstance(store, dict) for other in store.values())
    # The other two references are this function's argument and getrefcount's.
    if held == 0 and sys.getrefcount(value) <= _OWN_REFERENCES:
        _lib.wipe_bytes(value)


def load_file(
    path: str | os.PathLike[str], limits: Limits, *, strip: bool = False, max_bytes: int = MAX_SOURCE_BYTES
) -> int:
    """Read a file into a new cell.

    Args:
        path: A regular file, or a FIFO that somebody writes to.
        limits: For the new cell.
        strip: Drop ASCII white space at both ends.
        max_bytes: Refuse a longer file, white space counted.

    Returns:
        The cell's handle.

    Raises:
        OSError: It cannot be opened or read; `filename` is the path.
        ValueError: Longer than `max_bytes`.

    Does not reach: the file itself and the kernel's page cache of it.
    """
    name = os.fspath(path)
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
    try:
        return _load_opened(fd, name, limits, strip, max_bytes)
    finally:
        os.close(fd)


def _load_opened(fd: int, name: str, limits: Limits, strip: bool, max_bytes: int) -> int:
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        return load_descriptor(fd, None, limits, strip=strip, max_bytes=max_bytes)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = name
        raise
    except ValueError as error:
        raise type(error)(f"{name}: {error}") from None


def load_credential(name: str, limits: Limits, *, strip: bool = False, max_bytes: int = MAX_SOURCE_BYTES) -> int:
    """Read a credential that systemd gave to this service into a new cell.

    Args:
        name: As in the unit's LoadCredential=, a plain file name.
        limits: For the new cell.
        strip: Drop ASCII white space at both ends.
        max_bytes: Refuse a longer credential, white space counted.

    Returns:
        The cell's handle.

    Raises:
        TypeError: `name` is no str.
        ValueError: `name` is no plain file name, or the credential is longer than `max_bytes`.
        KeyError: $CREDENTIALS_DIRECTORY is not set.
        OSError: It is missing, is a link, is no regular file, or cannot be read; `filename` is its path.

    Source: systemd.exec(5), section "Credentials".
    Does not reach: the file in the credentials directory, and what systemd made it from.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be str, not {type(name).__name__}")
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"name must be a plain file name, not {name!r}")
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise KeyError(
            f"CREDENTIALS_DIRECTORY is not set; give the service its credential with LoadCredential={name}:PATH"
        )
    path = os.path.join(folder, name)
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Without O_NONBLOCK a FIFO in its place would make the open wait.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=folder_fd)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(folder_fd)
    try:
        if not stat.S_ISREG(mode := os.fstat(fd).st_mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "the credential is not a regular file", path)
        return _load_opened(fd, path, limits, strip, max_bytes)
    finally:
        os.close(fd)


def load_descriptor(
    fd: int,
    size: int | None,
    limits: Limits,
    *,
    strip: bool = False,
    max_bytes: int = MAX_SOURCE_BYTES,
    wait: Callable[[], None] | None = None,
) -> int:
    """Read a descriptor into a new cell; the descriptor stays open.

    Args:
        fd: Readable descriptor.
        size: Read exactly this many bytes; None reads to the end.
        limits: For the new cell.
        strip: Drop ASCII white space at both ends, after `size` or `max_bytes` was met.
        max_bytes: Refuse more than this when `size` is None.
        wait: Called before each read; it raises when there is no point in waiting longer.

    Returns:
        The cell's handle.

    Raises:
        TypeError: Not ints.
        ValueError: A negative number, fewer than `size` bytes, or more than `max_bytes`.
        OSError: Reading failed.
    """
    check_size(fd, "fd")
    check_size(0 if size is None else size)
    check_size(max_bytes, "max_bytes")
    most = max_bytes if size is None else size
    capacity = min(_expected_bytes(fd), most + 1) if size is None else size
    policy = policy_of(limits)
    scratch = _lib.new_handle(ffi.NULL, capacity, policy)
    total = 0
    try:
        while total < capacity:
            got = _read_once(scratch, total, fd, wait)
            if got == 0:
                break
            total += got
            if total == capacity and size is None and total <= most:
                capacity = min(capacity * 2, most + 1)
                scratch = _grown(scratch, total, capacity, policy)
        if size is not None and total < size:
            raise ValueError(f"descriptor {fd} ended after {total} of {size} bytes")
        if total > most:
            raise ValueError(f"the source holds more than max_bytes={max_bytes} bytes")
        if strip:
            total = _stripped(scratch, total)
        return moved(scratch, total, total, limits)
    finally:
        lib.zpy_cell_wipe(scratch)


def _expected_bytes(fd: int) -> int:
    """One more than a regular file holds, so that one read sees its end."""
    facts = os.fstat(fd)
    return facts.st_size + 1 if stat.S_ISREG(facts.st_mode) and facts.st_size else _FIRST_GUESS_BYTES


def _read_once(handle: int, offset: int, fd: int, wait: Callable[[], None] | None) -> int:
    while True:
        if wait is not None:
            wait()
        got = int(lib.zpy_source_read(handle, offset, fd))
        if got >= 0:
            return got
        number = _lib.system_error_number()
        if -1 - got != lib.ZPY_SYSTEM:
            _lib.raise_status(-1 - got)
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _stripped(handle: int, length: int) -> int:
    left = int(lib.zpy_source_strip(handle, length))
    if left < 0:
        _lib.raise_status(-left)
    return left


def moved(source: int, used: int, size: int, limits: Limits) -> int:
    """Create a cell of `size` bytes that begins with the first `used` bytes of another, which stays."""
    target = _lib.new_handle(ffi.NULL, size, *limits)
    status = _lib.core(used, "copy")(target, source, used)
    if status != lib.ZPY_OK:
        lib.zpy_cell_wipe(target)
        _lib.raise_status(status)
    return target


def _grown(scratch: int, used: int, capacity: int, policy: int) -> int:
    grown = moved(scratch, used, capacity, (policy, 0, 0))
    lib.zpy_cell_wipe(scratch)
    return grown
