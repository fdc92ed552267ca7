"""The typed edge to the C core: a writer with its buffers, the key of the random stream, one span at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy.exceptions import LockLimitError, ProtectionError, SecureMemoryWarning

if TYPE_CHECKING:
    from .options import Pattern

__all__ = ["SPAN_BYTES", "SpanResult", "SpanWriter", "flush", "set_direct"]

SPAN_BYTES = 64 << 20
"""Bytes for each call into the core: between two calls Ctrl-C and progress get their turn."""

_O_DIRECT: int = getattr(os, "O_DIRECT", 0)


def flush(fd: int) -> None:
    """Force the bytes of `fd` to the device, with what is needed to find them again.

    Raises:
        OSError: The system could not; the bytes may be lost.
    """
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def set_direct(fd: int, *, wanted: bool) -> bool:
    """Turn O_DIRECT on or off. Returns whether it is on now; a refusal is an answer, not an error."""
    if not _O_DIRECT:
        return False
    flags = 0
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | _O_DIRECT if wanted else flags & ~_O_DIRECT)
    except OSError:
        return bool(flags & _O_DIRECT)
    return wanted


def _reaches(fd: int, stop: int) -> bool:
    """Whether a descriptor is known to be of a device, or of a file that has this many bytes."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stat.S_ISBLK(status.st_mode) or status.st_size >= stop


@dataclass(frozen=True, slots=True)
class SpanResult:
    """What one call reached.

    Attributes:
        done_bytes: Written, or found equal, from the start of the span on; those that were skipped count. After an
            error, bytes behind them may have been written, too.
        error_number: errno of the call that failed, or 0.
        direct: O_DIRECT was still in force at the end.
        different: A comparison found a difference after `done_bytes`.
        skipped_bytes: How many of `done_bytes` were neither written nor compared, because the device failed there;
            after an error, of the whole span.
        first_skipped: Offset in the file of the first of them, or None.
    """

    done_bytes: int
    error_number: int
    direct: bool
    different: bool
    skipped_bytes: int = 0
    first_skipped: int | None = None


class SpanWriter:
    """Buffers, and a key for random passes. `close` frees the one and wipes the other.

    A random pass is the keystream of libsodium's AEGIS-128L where that runs on AES instructions, else of its ChaCha20:
    of one key, which lies in a locked cell, and with the number of the stream and the offset in the file as nonce and
    counter. So each span can be made again, and nothing of it is kept.

    Where no memory can be locked the key lies in ordinary memory, `notes` has that, and a warning tells of it. It is no
    secret of the caller's: who finds it can compute what was written, and nothing about what was overwritten.

    Args:
        buffer_bytes: Bytes for each write call, a multiple of 4096. Writing takes twice as much memory; comparing takes
            four times as much, but no more than 16 MiB or that double, and up to 1 MiB for what it compares with.
        patterns: What each pass writes. More passes than these begin with the first again.
        generator: For random passes, ZPY_AEGIS128L or ZPY_CHACHA20; None takes the faster one.
        warn: Warn of a key that is not locked.

    Attributes:
        file_number: Tells the random streams of several files apart, below 2**48; set before the file's first pass.
        notes: What reports must say of the key; empty where it is locked, or there is none.

    Raises:
        MemoryError: No memory for the buffers.
        LockLimitError: No locked memory for the key, and the policy is "strict".

    Warns:
        SecureMemoryWarning: No locked memory for the key.
    """

    __slots__ = ("_buffer_bytes", "_generator", "_key", "_patterns", "_writer", "file_number", "notes")

    def __init__(self, buffer_bytes: int, *patterns: Pattern, generator: int | None = None, warn: bool = True) -> None:
        # The core reads this memory during calls, so it lives as long as the writer does.
        self._patterns: list[Any] = [_lib.ffi.from_buffer("uint8_t[]", each.data or b"") for each in patterns]
        self.file_number = 0
        self._buffer_bytes = buffer_bytes
        self._generator = _lib.lib.zpy_generator_best() if generator is None else generator
        self.notes: tuple[str, ...] = ()
        self._key = 0
        self._writer: Any = _lib.lib.zpy_writer_new(buffer_bytes)
        if self._writer == _lib.ffi.NULL:
            raise MemoryError(f"no memory for buffers of {buffer_bytes} bytes; pass a smaller chunk_size")
        if any(each.data is None for each in patterns):
            try:
                self._draw_key(warn=warn)
            except BaseException:
                self.close()
                raise

    def _draw_key(self, *, warn: bool) -> None:
        try:
            self._key = _lib.new_handle(_lib.ffi.NULL, 32, _lib.lib.ZPY_RANDOM)
        except (LockLimitError, ProtectionError) as error:
            if _lib.is_strict():
                raise
            if warn:
                text = f"the key of the random passes is in memory that can be swapped and dumped ({error})"
                warnings.warn(text, SecureMemoryWarning, stacklevel=_lib.stack_level())
            _lib.lib.zpy_writer_draw_key(self._writer)
            self.notes = ("stream_key_unlocked",)

    def close(self) -> None:
        """Free the buffers and wipe the key. Idempotent."""
        writer, self._writer = self._writer, _lib.ffi.NULL
        key, self._key = self._key, 0
        _lib.lib.zpy_writer_free(writer)
        if key:
            _lib.lib.zpy_cell_wipe(key)

    def write(self, fd: int, start: int, stop: int, stream: int, *, direct: bool, skip_limit: int = 0) -> SpanResult:
        """Write bytes [start, stop) of `fd`; short writes and interrupted calls are continued.

        Where the device fails (EIO, ENODATA) and `skip_limit` allows, the call is repeated in parts of 64 KiB, 4 KiB
        and 512 bytes, and the smallest that fail are skipped and counted: old bytes may remain there, so a result with
        `skipped_bytes` is no overwrite of the whole span. An error that shows only at a flush skips nothing, and
        through the page cache that is most of them.

        Args:
            fd: Writable descriptor of a regular file or a block device.
            start: A multiple of 4096.
            stop: `start` and up.
            stream: Number of the pass, from 1: it tells which pattern is written, and which random stream.
            direct: Whether `fd` has O_DIRECT now.
            skip_limit: Bytes of this span that may be skipped; what fails beyond ends it with that error. With 0 the
                first error does. Each failing sector can take a disk seconds, so a limit also bounds the time.
        """
        request = self._request(fd, start, stop, stream)
        request.direct, request.skip_limit = direct, skip_limit
        # Of a file that grows, the blocks should be allocated and its size moved on in order; one buffer has but one.
        request.any_order = stop - start > self._buffer_bytes and _reaches(fd, stop)
        return self._call(_lib.lib.zpy_overwrite_span, request)

    def compare(
        self, fd: int, start: int, stop: int, stream: int, *, direct: bool, shift: int = 0, skip_limit: int = 0
    ) -> SpanResult:
        """Read bytes [start, stop) back and compare them with what `write` wrote there.

        What cannot be read is skipped as in `write`, and was not compared. What `write` skipped and can be read is a
        difference.

        Args:
            fd: Readable descriptor.
            start, stop, stream: As `write` had them.
            direct: Whether `fd` has O_DIRECT now.
            shift: The bytes are read so many bytes further on, as on the device that the file lies on.
            skip_limit: Bytes of this span that may be skipped.
        """
        request = self._request(fd, start, stop, stream)
        request.shift = shift
        request.direct, request.skip_limit = direct, skip_limit
        return self._call(_lib.lib.zpy_verify_span, request)

    def _request(self, fd: int, start: int, stop: int, stream: int) -> Any:
        request = _lib.ffi.new("struct zpy_span_request *")
        request.fd, request.start, request.stop = fd, start, stop
        pattern = self._patterns[(stream - 1) % len(self._patterns)]
        # The core takes the pattern where there is no key, and the writer's own key where there is neither.
        request.stream_key = 0 if len(pattern) else self._key
        request.stream_number = self.file_number << 16 | stream
        request.generator = self._generator
        request.pattern, request.pattern_bytes = pattern, len(pattern)
        return request

    def _call(self, function: Any, request: Any) -> SpanResult:
        lib, answer = _lib.lib, _lib.ffi.new("struct zpy_span_result *")
        status = function(self._writer, request, answer)
        if status not in (lib.ZPY_OK, lib.ZPY_SYSTEM, lib.ZPY_FORGED):
            _lib.raise_status(status)
        number = (answer.system_error or errno.EIO) if status == lib.ZPY_SYSTEM else 0
        skipped = int(answer.skipped_bytes)
        return SpanResult(
            done_bytes=int(answer.done_bytes),
            error_number=int(number),
            direct=bool(answer.direct),
            different=bool(status == lib.ZPY_FORGED),
            skipped_bytes=skipped,
            first_skipped=int(answer.first_skipped) if skipped else None,
        )
