"""Reading from an encrypted file, anywhere in it."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zeroizepy import _lib
from zeroizepy.careful import careful
from zeroizepy.exceptions import DecryptionError
from zeroizepy.slots import check_size

from .ends import Source
from .filekey import BATCH_CHUNKS, CHUNK_BYTES, HEADER_BYTES, SEALED_BYTES, FileKey, Scratch, ends_early

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from zeroizepy.crypto import CryptoKey

    from .ends import Readable

__all__ = ["EncryptedReader"]


class EncryptedReader(io.RawIOBase):
    """The plaintext of an encrypted file as a read-only binary file with random access.

    Opening it checks the header's commitment and decrypts the last chunk, so that its length is authentic from the
    beginning. A read decrypts the chunks it touches, of 16 KiB each, and no others; what it returns is authentic.

    Args:
        src: A path, or an open binary file that can seek and begins at its offset 0, which is not closed.
        key, associated_data: Those it was encrypted with.

    Raises:
        TypeError, ValueError, DecryptionError, SecureMemoryClosed, OSError: As `decrypt_file` does; reading raises
            the last three, too.

    Thread-safe: each call is carried out alone; one that a signal handler makes in the middle of another raises
    RuntimeError. A key derived for this file stays in a locked slot until it is closed;
    destroying `key` makes the next call raise, and wipes that one only then.

    Does not reach: up to 256 KiB of plaintext stay in ordinary memory until it is closed, and are zeroed then. What
    `read` returns is `bytes`, which cannot be wiped. Wrappers such as `io.BufferedReader` keep plaintext in buffers
    that nobody zeroes.
    """

    _source: Source | None = None
    _file_key: FileKey | None = None
    _plain: Scratch | None = None
    _lock = threading.RLock()
    """For an object that was never opened; each other has its own."""
    _is_busy = False

    @careful
    def __init__(self, src: Readable, key: CryptoKey, *, associated_data: Buffer = b"") -> None:
        self._lock = threading.RLock()
        self._position = self._size = 0
        self._start = self._stop = 0
        """The plaintext that is in the buffer: offsets in the file."""
        try:
            self._source = source = Source(src)
            header = Scratch(HEADER_BYTES)
            end = source.file.seek(0, os.SEEK_END)
            source.file.seek(0)
            got = source.fill(header.view)
            self._file_key = FileKey.of_header(key, associated_data, bytes(header.view[:got]))
            self._plain = Scratch(BATCH_CHUNKS * CHUNK_BYTES)
            self._sealed = Scratch(BATCH_CHUNKS * SEALED_BYTES)
            self._whole = (end - HEADER_BYTES) // SEALED_BYTES
            self._size = self._whole * CHUNK_BYTES + self._load(self._whole, 1)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the object: nobody else loads or zeroes the plaintext that is being copied out of its buffer.

        Raises:
            RuntimeError: This thread holds it already.
        """
        with self._lock:
            if self._is_busy:
                raise RuntimeError("reentrant call inside an EncryptedReader: another call of this thread goes on")
            try:
                self._is_busy = True
                yield
            finally:
                self._is_busy = False

    def _open_parts(self) -> tuple[Source, FileKey, Scratch]:
        source, file_key, plain = self._source, self._file_key, self._plain
        if source is None or file_key is None or plain is None:
            raise ValueError("I/O operation on closed file")
        return source, file_key, plain

    def _load(self, number: int, count: int) -> int:
        """Have so many chunks in the buffer. Returns the bytes of plaintext."""
        source, file_key, plain = self._open_parts()
        count = min(count, BATCH_CHUNKS, self._whole + 1 - number)
        is_last = number + count > self._whole
        source.file.seek(HEADER_BYTES + number * SEALED_BYTES)
        self._start = self._stop = 0
        got = source.fill(self._sealed.view[: count * SEALED_BYTES])
        if is_last and got % SEALED_BYTES == 0:
            raise ends_early(number + got // SEALED_BYTES)
        if not is_last and got < count * SEALED_BYTES:
            raise DecryptionError("the file was truncated while it was open")
        size = file_key.open(number, self._sealed, got, plain, is_last=is_last)
        self._start = number * CHUNK_BYTES
        self._stop = self._start + size
        return size

    def _at(self, position: int, wanted: int) -> memoryview:
        """Authentic plaintext from a position before the end on: at least a byte, at most as much as wanted."""
        _, file_key, plain = self._open_parts()
        if self._start <= position < self._stop:
            file_key.check()
        else:
            first, last = position // CHUNK_BYTES, (position + wanted - 1) // CHUNK_BYTES
            self._load(first, last - first + 1)
        return plain.view[position - self._start : min(position + wanted, self._stop) - self._start]

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position, in bytes of plaintext."""
        self._open_parts()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, perhaps behind the end. Returns it."""
        with self._alone():
            self._open_parts()
            bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
            if whence not in bases:
                raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
            self._position = position = check_size(bases[whence] + offset, "position")
            return position

    @property
    def size(self) -> int:
        """Bytes of plaintext."""
        return self._size

    def readinto(self, buffer: Buffer) -> int:
        """Fill a writable buffer, as far as the file goes. Returns how many bytes there were.

        When this raises, what is in the buffer is plaintext of chunks that were authentic, or what it held.
        """
        with memoryview(buffer).cast("B") as target, self._alone():
            wanted = self._left(len(target))
            done: int = 0
            while done < wanted:
                part = self._at(self._position + done, wanted - done)
                target[done : done + len(part)] = part
                done += len(part)
            self._position += done
            return done

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, or fewer at the end; all that follow when negative or None."""
        with self._alone():
            wanted = self._left(self._size if size is None or size < 0 else size)
            parts = []
            done = 0
            try:
                while done < wanted:
                    parts.append(bytes(self._at(self._position + done, wanted - done)))
                    done += len(parts[-1])
                result = parts.pop() if len(parts) == 1 else b"".join(parts)
            finally:
                for part in parts:
                    _lib.wipe_bytes(part)
            self._position += done
            return result

    def readall(self) -> bytes:
        """All that follows."""
        return self.read()

    def _left(self, wanted: int) -> int:
        _, file_key, _ = self._open_parts()
        file_key.check()
        return max(min(wanted, self._size - self._position), 0)

    def close(self) -> None:
        """Zero the plaintext and the file's key. Harmless when already closed."""
        with self._alone():
            plain, self._plain = self._plain, None
            file_key, self._file_key = self._file_key, None
            source, self._source = self._source, None
            try:
                if plain is not None:
                    plain.wipe()
                if file_key is not None:
                    file_key.drop()
            finally:
                if source is not None:
                    source.close()
                super().close()
