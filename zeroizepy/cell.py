"""Cells: self-destructing secrets in locked memory, with read limits and a time to live."""

from __future__ import annotations

import codecs
import os
from _thread import get_ident
from typing import TYPE_CHECKING, Any

from . import _lib, loaders
from ._lib import ffi, lib
from .exceptions import ViewExpiredError
from .loaders import Limits
from .memory import Borrow, Borrowable, Protection, Redacted, check_size, export_view, option_bits, protection_of, read_bytes

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

__all__ = ["CypherCell", "CypherView"]

_MAX_READS = (1 << 32) - 2


def _limits(
    volatile: bool,
    ttl_sec: float | None,
    max_reads: int | None,
    tier: str,
    policy: str | None,
    inherit: bool,
) -> Limits:
    if max_reads is not None:
        if isinstance(max_reads, bool) or not isinstance(max_reads, int):
            raise TypeError(f"max_reads must be an int or None, not {type(max_reads).__name__}")
        if not 1 <= max_reads <= _MAX_READS:
            raise ValueError(f"max_reads must be between 1 and {_MAX_READS}, not {max_reads}")
        if volatile and max_reads != 1:
            raise ValueError(f"volatile=True means max_reads=1, not {max_reads}")
    return Limits(
        option_bits(tier, policy, inherit), _lib.ttl_nanoseconds(ttl_sec), 1 if volatile else (max_reads or 0)
    )


# ---- reading a cell, shared by cells and views ----


def _address(handle: int, address: Any) -> Any:
    """Pass an address on, or raise for the null that the core gave instead."""
    if address != ffi.NULL:
        return address
    number = _lib.system_error_number()
    status = lib.zpy_cell_state(handle)
    if status == lib.ZPY_OK:
        status = lib.ZPY_SYSTEM if number else lib.ZPY_WIPED
    _lib.raise_status(status)


def _count_points(handle: int) -> int:
    points = int(lib.zpy_cell_decode(handle, 0))
    if points < 0:
        _lib.raise_status(-points)
    return points


def _text_of_points(handle: int, points: int) -> str:
    """Build a non-ASCII str in one piece: CPython's own decoder would leave parts of it behind as it widens the text."""
    scratch = _lib.new_handle(ffi.NULL, 4 * points)
    try:
        status = int(lib.zpy_cell_decode(handle, scratch))
        if status < 0:
            _lib.raise_status(-status)
        address = _address(scratch, lib.zpy_cell_pin(scratch))
        try:
            text: str = ffi.unpack(ffi.cast("char32_t *", address), points)
        finally:
            lib.zpy_cell_unpin(scratch)
        return text
    finally:
        lib.zpy_cell_wipe(scratch)


def _decode(handle: int, size: int, encoding: str) -> str:
    """Decode a cell that cannot go away by itself meanwhile; makes exactly one str for UTF-8, ASCII and Latin-1."""
    if codecs.lookup(encoding).name == "utf-8":
        points = _count_points(handle)
        if points != size:
            return _text_of_points(handle, points)
        encoding = "ascii"
    address = _address(handle, lib.zpy_cell_pin(handle))
    try:
        text = str(ffi.buffer(address, size), encoding)
    finally:
        status = lib.zpy_cell_unpin(handle)
    if status != lib.ZPY_OK:
        _lib.raise_status(status)
    return text


def _mask(handle: int, size: int, suffix_len: int, mask: str) -> str:
    check_size(suffix_len, "suffix_len")
    if not isinstance(mask, str):
        raise TypeError(f"mask must be str, not {type(mask).__name__}")
    if len(mask) != 1:
        raise ValueError(f"mask must be one character, not {len(mask)}")
    points = _count_points(handle)
    if suffix_len >= points or suffix_len == 0:
        return mask * points
    view = export_view(_address(handle, lib.zpy_cell_pin(handle)), size, handle)
    start, left = size, suffix_len
    while left:
        start -= 1
        left -= view[start] & 0xC0 != 0x80  # Every byte but the continuation bytes begins a character.
    suffix = str(view[start:], "utf-8")
    view.release()
    if lib.zpy_cell_state(handle) != lib.ZPY_OK:
        _lib.raise_status(lib.zpy_cell_state(handle))
    return mask * (points - suffix_len) + suffix


def _verify(handle: int, other: Any) -> bool:
    if type(other) is bytes:
        return bool(lib.zpy_cell_verify(handle, other, len(other)))
    if isinstance(other, str):
        encoded = other.encode()
        try:
            return bool(lib.zpy_cell_verify(handle, encoded, len(encoded)))
        finally:
            _lib.wipe_bytes(encoded)
    if isinstance(other, (CypherCell, CypherView)):
        return bool(lib.zpy_cell_compare(handle, other._handle) == 1)
    if isinstance(other, Borrowable):
        with other.borrow() as view:
            return _verify(handle, view)
    source = _lib.as_buffer(other, "other")
    return bool(lib.zpy_cell_verify(handle, source, len(source)))


class CypherView(Redacted):
    """What `with cell as view:` gives: the secret, readable until the block ends.

    Reading it any number of times within the block counts as the block's one access.
    """

    __slots__ = ("_handle", "_open", "_size", "_thread")

    def __init__(self, handle: int, size: int) -> None:
        self._handle = handle
        self._size = size
        self._open = True
        self._thread = get_ident()

    def _check(self) -> int:
        if not self._open:
            raise ViewExpiredError("View expired")
        return self._handle

    def reveal(self, encoding: str = "utf-8") -> str:
        """The secret as `str`, which cannot be wiped.

        Raises:
            ViewExpiredError: "View expired": the block has ended.
            CellWipedError, CellExpiredError: The cell ended within the block.
            ValueError: "Invalid UTF-8".
        """
        return _decode(self._check(), self._size, encoding)

    def reveal_bytes(self) -> bytes:
        """The secret as `bytes`, which cannot be wiped. Raises as `reveal`."""
        status, data = read_bytes(self._check(), 0, self._size)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return data

    def reveal_masked(self, suffix_len: int = 4, mask: str = "*") -> str:
        """The last characters only; see `CypherCell.reveal_masked`."""
        return _mask(self._check(), self._size, suffix_len, mask)

    def verify(self, other: Buffer | str | Borrowable) -> bool:
        """Whether the secret equals `other`, in constant time; see `CypherCell.verify`."""
        return _verify(self._check(), other)

    def borrow(self) -> Borrow:
        """Lend the bytes as a read-only memoryview, without a copy and without counting an access."""
        return Borrow(self._check(), self._size, _lib.raise_status, counted=False)

    def __bytes__(self) -> bytes:
        return self.reveal_bytes()

    def __str__(self) -> str:
        return self.reveal()

    def __len__(self) -> int:
        self._check()
        return self._size


class CypherCell(Redacted):
    """A secret that lives in locked memory, is used without becoming a Python object, and destroys itself.

    Args:
        data: str (as UTF-8), bytes, bytearray, memoryview, or secure memory. It is copied. The bytes that a str is
            encoded to on the way are wiped; the str or bytes that you pass cannot be.
        volatile: Wipe after the first access; the same as `max_reads=1`.
        ttl_sec: Seconds to live, counted through suspend. In this version the cell is wiped when it is next touched
            after the deadline, not at the deadline itself.
        max_reads: Wipe after so many accesses: `reveal`, `reveal_bytes`, `borrow`, `copy_into` or a `with` block.
        tier: "packed" (a slot in shared locked pages; above 4096 bytes own pages) or "isolated" (always own pages, which
            are inaccessible while nobody borrows).
        policy: None or "strict"; both raise `LockLimitError` in this version when nothing more can be locked.
        inherit: A forked child keeps its own copy. Without it every use in a child raises `CellWipedError`.
        wipe_source: Zero `data` after it was copied; it must be mutable.

    Raises:
        TypeError, ValueError: A wrong argument.
        LockLimitError: The lock budget or the kernel's limit is spent.

    Does not reach: copies of the secret that the program made before or that `reveal` gives it; a debugger or another
    process with the right to read this one's memory, except that on the "memfd_secret" backing /proc/PID/mem and ptrace
    do not reach it.
    """

    __slots__ = ("__weakref__", "_handle", "_size", "_views")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        data: str | bytes | bytearray | memoryview | Borrowable,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        max_reads: int | None = None,
        tier: str = "packed",
        policy: str | None = None,
        inherit: bool = False,
        wipe_source: bool = False,
    ) -> None:
        if type(data) is bytes and len(data) <= _lib.LARGE_BYTES and tier == "packed" and not (
            volatile or inherit or wipe_source or ttl_sec is not None or max_reads is not None or policy is not None
        ):
            # The common case: one call into the core and nothing else.
            handle = lib.zpy_cell_create(data, len(data), 0, 0, 0)
            if handle < 0:
                _lib.raise_status(-handle)
            self._handle: int = handle
            self._size = len(data)
            return
        limits = _limits(volatile, ttl_sec, max_reads, tier, policy, inherit)
        self._fill(data, limits, wipe_source)

    def _fill(self, data: Any, limits: Limits, wipe_source: bool) -> None:
        if isinstance(data, Borrowable):
            with data.borrow() as view:
                self._fill(view, limits, False)
            if wipe_source:
                _wipe_borrowable(data)
            return
        encoded = data.encode() if isinstance(data, str) else None
        if encoded is None and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data must be str, bytes, or bytearray (or a memoryview or SecureMemory), not {type(data).__name__}"
            )
        if wipe_source and (encoded is not None or memoryview(data).readonly):
            raise TypeError(f"wipe_source needs a mutable source; {type(data).__name__} cannot be wiped")
        try:
            source = encoded if encoded is not None else data if type(data) is bytes else _lib.as_buffer(data, "data")
            self._handle = _lib.new_handle(source, len(source), *limits)
            self._size = len(source)
            if wipe_source:
                lib.zpy_cell_memzero(source, len(source))
        finally:
            if encoded is not None:
                _lib.wipe_bytes(encoded)

    @classmethod
    def _adopt(cls, handle: int) -> Self:
        cell = cls.__new__(cls)
        cell._handle = handle
        cell._size = max(int(lib.zpy_cell_length(handle)), 0)
        return cell

    # ---- sources ----

    @classmethod
    def from_env(
        cls,
        var_name: str,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        scrub: bool = False,
        max_reads: int | None = None,
        tier: str = "packed",
        policy: str | None = None,
        inherit: bool = False,
    ) -> Self:
        """Copy an environment variable from the C environment into a cell, without a Python object on the way.

        Args:
            var_name: Its name.
            scrub: Also zero the value in the environment block and in the bytes behind `os.environ`, and remove it.
            volatile, ttl_sec, max_reads, tier, policy, inherit: As for the class.

        Raises:
            KeyError: "Env var not found: ...".
            TypeError, ValueError: A wrong argument.

        Does not reach: without `scrub`, the environment itself: `os.environ` and /proc/PID/environ keep the value.
        """
        limits = _limits(volatile, ttl_sec, max_reads, tier, policy, inherit)
        return cls._adopt(loaders.load_env(var_name, limits, scrub=scrub))

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        max_bytes: int = loaders.MAX_SOURCE_BYTES,
        max_reads: int | None = None,
        tier: str = "packed",
        policy: str | None = None,
        inherit: bool = False,
    ) -> Self:
        """Read a file into a cell, all its bytes, without a Python object on the way.

        Args:
            path: The file.
            max_bytes: Refuse a longer one; 16 MiB unless given.
            volatile, ttl_sec, max_reads, tier, policy, inherit: As for the class.

        Raises:
            OSError: It cannot be opened or read; the path is named.
            ValueError: It is longer than `max_bytes`, or a wrong argument.

        Does not reach: the file, and the kernel's page cache of it.
        """
        limits = _limits(volatile, ttl_sec, max_reads, tier, policy, inherit)
        return cls._adopt(loaders.load_file(path, limits, max_bytes=max_bytes))

    @classmethod
    def from_fd(
        cls,
        fd: int,
        size: int | None = None,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        max_bytes: int = loaders.MAX_SOURCE_BYTES,
        max_reads: int | None = None,
        tier: str = "packed",
        policy: str | None = None,
        inherit: bool = False,
    ) -> Self:
        """Read a descriptor (pipe, socket, file) into a cell, without a Python object on the way.

        Args:
            fd: Stays open.
            size: Read exactly so many bytes; None reads to the end.
            max_bytes: Refuse more when `size` is None; 16 MiB unless given.
            volatile, ttl_sec, max_reads, tier, policy, inherit: As for the class.

        Raises:
            OSError: Reading failed.
            ValueError: Fewer than `size` bytes, more than `max_bytes`, or a wrong argument.
        """
        limits = _limits(volatile, ttl_sec, max_reads, tier, policy, inherit)
        return cls._adopt(loaders.load_descriptor(fd, size, limits, max_bytes=max_bytes))

    @classmethod
    def generate(
        cls,
        size: int,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        max_reads: int | None = None,
        tier: str = "packed",
        policy: str | None = None,
        inherit: bool = False,
    ) -> Self:
        """A cell of `size` random bytes, drawn from the kernel's generator straight into its slot."""
        limits = _limits(volatile, ttl_sec, max_reads, tier, policy, inherit)
        check_size(size)
        return cls._adopt(
            _lib.new_handle(ffi.NULL, size, limits.options | lib.ZPY_RANDOM, limits.ttl_ns, limits.max_reads)
        )

    # ---- use ----

    def reveal(self, encoding: str = "utf-8") -> str:
        """The secret as one new `str`. An access.

        The str cannot be wiped: keep it in the narrowest scope. For UTF-8, ASCII and Latin-1 nothing else keeps a copy;
        other codecs may.

        Raises:
            CellWipedError: "Cell is wiped".
            CellExpiredError: "TTL expired".
            ValueError: "Invalid UTF-8" (the access is not counted), or another codec's UnicodeDecodeError.
        """
        handle = self._handle
        if codecs.lookup(encoding).name == "utf-8":
            _count_points(handle)  # Refuse before the access is counted: the last one must not be lost.
        _address(handle, lib.zpy_cell_open(handle))
        try:
            return _decode(handle, self._size, encoding)
        finally:
            lib.zpy_cell_unpin(handle)
            lib.zpy_cell_close(handle)

    def reveal_bytes(self) -> bytes:
        """The secret as one new `bytes` object, which cannot be wiped. An access.

        Raises:
            CellWipedError, CellExpiredError: As `reveal`.
        """
        status, data = read_bytes(self._handle, 0, self._size, lib.zpy_cell_take)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return data

    def reveal_masked(self, suffix_len: int = 4, mask: str = "*") -> str:
        """The secret with all but its last `suffix_len` characters masked; same length as the secret. Not an access.

        Args:
            suffix_len: Characters to show. When the secret has no more than that, everything is masked.
            mask: One character.

        Raises:
            CellWipedError, CellExpiredError: As `reveal`.
            ValueError: "Invalid UTF-8", or a wrong argument.
        """
        return _mask(self._handle, self._size, suffix_len, mask)

    def borrow(self) -> Borrow:
        """Lend the bytes as a read-only memoryview, without a copy: `with cell.borrow() as view: ...`. An access.

        Raises:
            CellWipedError, CellExpiredError: On entering the block.
        """
        return Borrow(self._handle, self._size, _lib.raise_status)

    def copy_into(self, buffer: Buffer) -> int:
        """Copy the secret to the start of a writable buffer. An access.

        Args:
            buffer: Contiguous and writable, at least as long as the secret; a borrowed SecureMemory view is one.

        Returns:
            The bytes copied.

        Raises:
            TypeError: Not a writable contiguous buffer.
            ValueError: Too short; nothing was copied and no access counted.
            CellWipedError, CellExpiredError: As `reveal`.
        """
        target = _lib.as_buffer(buffer, "buffer")
        if memoryview(buffer).readonly:
            raise TypeError(f"buffer must be writable; {type(buffer).__name__} is not")
        if len(target) < self._size:
            raise ValueError(f"buffer of {len(target)} bytes is too short for {self._size}")
        status = lib.zpy_cell_take(self._handle, target, self._size)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        return self._size

    def verify(self, other: Buffer | str | Borrowable) -> bool:
        """Whether the secret equals `other`, in time that depends on the lengths alone. Not an access.

        Args:
            other: bytes-like, str (as UTF-8), or another cell, memory or key.

        Returns:
            False also when the cell is wiped or expired, and for another length.
        """
        if type(other) is bytes:
            return lib.zpy_cell_verify(self._handle, other, len(other))  # type: ignore[no-any-return]
        return _verify(self._handle, other)

    def compare(self, other_cell: CypherCell) -> bool:
        """Whether two cells hold the same secret, in constant time. Not an access.

        Raises:
            TypeError: `other_cell` is no cell.
            CellWipedError, CellExpiredError: One of the two has ended.
        """
        if not isinstance(other_cell, CypherCell):
            raise TypeError(f"other_cell must be a CypherCell, not {type(other_cell).__name__}")
        answer = int(lib.zpy_cell_compare(self._handle, other_cell._handle))
        if answer < 0:
            _lib.raise_status(-answer)
        return answer == 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CypherCell):
            return NotImplemented
        return self is other or bool(lib.zpy_cell_compare(self._handle, other._handle) == 1)

    # ---- end ----

    def wipe(self) -> None:
        """Zero the secret now. Harmless when already wiped; safe from any thread.

        Raises:
            MemoryCorruptionError: Something had written outside its bounds; the secret is wiped all the same.
        """
        status = lib.zpy_cell_wipe(self._handle)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    close = wipe

    @property
    def wiped(self) -> bool:
        """Whether the secret is gone: wiped, used up, expired, purged, or left behind in the parent process."""
        return bool(lib.zpy_cell_state(self._handle) != lib.ZPY_OK)

    @property
    def expires_in(self) -> float | None:
        """Seconds until the deadline; None without one; 0.0 once the secret is gone."""
        left = int(lib.zpy_cell_ttl(self._handle))
        if left == -1:
            return None
        return left / 1e9 if left >= 0 else 0.0

    @property
    def protection(self) -> Protection:
        """What the system calls granted.

        Raises:
            CellWipedError, CellExpiredError: The secret is gone.
        """
        status, protection = protection_of(self._handle)
        if protection is None:
            _lib.raise_status(status)
        return protection

    def __len__(self) -> int:
        """Bytes of the secret. Raises once it is gone."""
        length = int(lib.zpy_cell_length(self._handle))
        if length < 0:
            _lib.raise_status(-length)
        return length

    def __bool__(self) -> bool:
        """Whether there is still a secret, be it empty."""
        return not self.wiped

    def __enter__(self) -> CypherView:
        """Begin a block that may read the secret; an access. Leaving the outermost block wipes the cell."""
        status = lib.zpy_cell_enter(self._handle)
        if status != lib.ZPY_OK:
            _lib.raise_status(status)
        view = CypherView(self._handle, self._size)
        try:
            self._views.append(view)
        except AttributeError:
            self._views: list[CypherView] = [view]
        return view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread = get_ident()
        views = self._views
        for index in range(len(views) - 1, -1, -1):
            if views[index]._thread == thread:
                views.pop(index)._open = False
                break
        status = lib.zpy_cell_exit(self._handle)
        if status == lib.ZPY_CORRUPT and error is None:
            _lib.raise_status(status)

    def __del__(self, _wipe: Any = lib.zpy_cell_wipe) -> None:
        try:
            _wipe(self._handle)
        except AttributeError:
            return  # __init__ failed before there was anything to wipe.


def _wipe_borrowable(data: Any) -> None:
    """End the life of a secret that was moved into a cell."""
    end = getattr(data, "close", None) or getattr(data, "destroy", None)
    if end is None:
        raise TypeError(f"wipe_source cannot wipe {type(data).__name__}")
    end()
