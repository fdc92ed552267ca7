"""A temporary file that is encrypted block by block under a key that lives and dies with it."""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.crypto import TAG_BYTES, CipherText, CryptoKey, decrypt_into, encrypt_data
from zeroizepy.exceptions import DecryptionError, LockLimitError
from zeroizepy.memory import SecureMemory
from zeroizepy.slots import can_borrow, check_size, lend, read_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zeroizepy.values import Borrowable

__all__ = ["EncryptedFile"]

_BLOCK_BYTES = (1 << 16, 1 << 14, 1 << 12)
"""The largest for which memory can be locked is taken. The smallest seals itself where nothing more can be."""


def _open_cache() -> SecureMemory:
    for size in _BLOCK_BYTES[:-1]:
        with suppress(LockLimitError):
            return SecureMemory(size)
    return SecureMemory(_BLOCK_BYTES[-1])


class EncryptedFile(io.RawIOBase):
    """A binary temporary file of which only ciphertext ever leaves secure memory; `SecureSession.open` makes it.

    It reads, writes, seeks and truncates like an unbuffered file of mode "w+b". Its content is kept in blocks, each
    encrypted with AES-256-GCM under a fresh nonce, with its place as associated data. The key is drawn for this file
    and lies in a cell, one block of plaintext in secure memory, the nonces in ordinary memory: so a block that
    somebody moved, changed, or put back to an older state is refused. The file has no name. `close()` wipes the key,
    and with it the content, wherever the file system keeps it.

    Thread-safe: each call is carried out alone. A forked child cannot use it.

    Does not reach: what `read` returns is `bytes`, which cannot be wiped; `readinto` a view of secure memory makes no
    copy. Wrapped in `io.BufferedRandom` or `io.TextIOWrapper`, plaintext lies in their buffers on the ordinary heap,
    which nobody wipes. The file system sees how long it is, in whole blocks, and which blocks are written when.
    """

    _fd = -1

    def __init__(self, fd: int) -> None:
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._fd = fd  # From here on __del__ closes it, should what follows raise.
        self._size = self._position = 0
        self._index: int | None = None  # Of the block in the cache, if that holds one.
        self._dirty = False
        self._nonces: dict[int, bytes] = {}  # Of the blocks in the file. Others read as zeros.
        self._key = CryptoKey.generate()
        self._cache = _open_cache()
        self._block_bytes = self._cache.size

    def __repr__(self) -> str:
        return f"<EncryptedFile: {'closed' if self.closed else f'{self._size} bytes'}>"

    @property
    def block_bytes(self) -> int:
        """Bytes that are encrypted together: 64 KiB, or 16 or 4 where less memory can be locked."""
        return self._block_bytes

    # ---- what io asks ----

    def readable(self) -> bool:
        """True. ValueError once it is closed."""
        return self._check()

    def writable(self) -> bool:
        """True. ValueError once it is closed."""
        return self._check()

    def seekable(self) -> bool:
        """True. ValueError once it is closed."""
        return self._check()

    def _check(self) -> bool:
        """True while it can be used.

        Raises:
            ValueError: It is closed; SecureMemoryClosed when its key was purged or is the parent process's.
        """
        if self._fd < 0:
            raise ValueError("I/O operation on closed file")
        status = lib.zpy_cell_state(self._key._handle)
        if status != lib.ZPY_OK:
            _lib.raise_closed(status, "key of the encrypted file")
        return True

    def _alone(self) -> threading.RLock:
        """The lock, after a first check: in a forked child another thread of the parent may hold it for ever."""
        self._check()
        return self._lock

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to `offset` bytes from the start, the position (whence 1) or the end (whence 2). Returns the position.

        Raises:
            ValueError: Before the start, or another whence.
        """
        with self._alone():
            self._check()
            if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
                raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
            start = (0, self._position, self._size)[whence]
            self._position = check_size(start + offset, "position")
            return self._position

    def tell(self) -> int:
        """The position."""
        with self._alone():
            self._check()
            return self._position

    # ---- reading ----

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes from the position, all that follow when negative or None, as `bytes`.

        Raises:
            DecryptionError: Somebody changed the file below.
            OSError: It cannot be read.
        """
        with self._alone():
            self._check()
            wanted = self._remaining() if size is None or size < 0 else min(size, self._remaining())
            return read_bytes(0, 0, wanted, self._read_into_object)[1]

    readall = read

    def _read_into_object(self, _handle: int, out: Any, size: int) -> int:
        if isinstance(out, bytes):
            with ffi.from_buffer("uint8_t[]", out) as target:
                self._copy_out(target, size)
        else:
            self._copy_out(out, size)
        return int(lib.ZPY_OK)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a writable buffer, such as `memory.borrow(writable=True)` lends, without a copy elsewhere.

        Returns:
            How many bytes; 0 at the end.

        Raises:
            TypeError: Not a writable contiguous buffer.
            DecryptionError, OSError: As for `read`; the buffer is then zeroed as far as it was to be filled.
        """
        with self._alone():
            self._check()
            try:
                view = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
            except (TypeError, BufferError, ValueError):
                kind = type(buffer).__name__
                raise TypeError(f"buffer must be a writable contiguous bytes-like object, not {kind}") from None
            with view as target:
                wanted = min(len(target), self._remaining())
                self._copy_out(target, wanted)
            return wanted

    def _remaining(self) -> int:
        return max(0, self._size - self._position)

    def _copy_out(self, target: Any, size: int) -> None:
        """Copy from the position on to a C address, and move the position."""
        start, done = self._position, 0
        try:
            while done < size:
                index, offset = divmod(start + done, self._block_bytes)
                length = min(size - done, self._block_bytes - offset)
                self._load(index)
                self._use_cache("read", offset, target + done, length)
                done += length
        except BaseException:
            _lib.core(size, "memzero")(target, size)
            raise
        self._position = start + size

    def _use_cache(self, name: str, offset: int, pointer: Any, length: int) -> None:
        status = _lib.core(length, name)(self._cache._handle, offset, pointer, length)
        if status != lib.ZPY_OK:
            _lib.raise_closed(status, "block of the encrypted file")

    # ---- writing ----

    def write(self, data: Buffer | Borrowable, /) -> int:
        """Write at the position: bytes-like, or a cell, memory or key, which is then not copied elsewhere.

        A gap that a seek behind the end left reads as zeros.

        Returns:
            How many bytes: fewer than given when the file system took no more.

        Raises:
            TypeError: Not bytes-like.
            OSError: It took none.
        """
        try:
            if can_borrow(data):
                return lend(data, self.write)
            with self._alone(), _lib.as_buffer(data, "data") as source:
                self._check()
                return self._copy_in(source, len(source))
        except BaseException as error:
            data = b""
            _lib.clear_locals(error)
            raise

    def _copy_in(self, source: Any, size: int) -> int:
        done = 0
        while done < size:
            index, offset = divmod(self._position, self._block_bytes)
            length = min(size - done, self._block_bytes - offset)
            try:
                self._load(index, whole=length == self._block_bytes)
            except OSError:
                if done:
                    break
                raise
            self._dirty = True
            self._use_cache("write", offset, source + done, length)
            self._index = index
            done += length
            self._position += length
            self._size = max(self._size, self._position)
        return done

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file to `size` bytes, to the position when None, or lengthen it with zeros. Returns the new size.

        The position stays. The bytes that are cut off are encrypted in what the file system keeps of the file.
        """
        with self._alone():
            self._check()
            new = self._position if size is None else check_size(size)
            if new < self._size:
                self._cut(new)
            self._size = new
            return new

    def _cut(self, size: int) -> None:
        blocks, tail = divmod(size, self._block_bytes)
        if tail:
            self._load(blocks)
            zeros = self._block_bytes - tail
            self._dirty = True
            self._use_cache("write", tail, bytes(zeros), zeros)
            blocks += 1
        if self._index is not None and self._index >= blocks:
            self._index = None
        for index in [index for index in self._nonces if index >= blocks]:
            del self._nonces[index]
        stored = blocks * (self._block_bytes + TAG_BYTES)
        if os.fstat(self._fd).st_size > stored:
            os.ftruncate(self._fd, stored)

    def flush(self) -> None:
        """Encrypt the block in memory into the file, which shows early that there is no room. Nothing is synced."""
        if self._fd < 0 and not self.closed:
            return  # close() of the base class flushes once more.
        with self._alone():
            self._check()
            self._store()

    # ---- blocks ----

    def _load(self, index: int, *, whole: bool = False) -> None:
        """Bring a block into the cache; one that is about to be written as a whole is only given its place."""
        if self._index == index:
            return
        self._store()
        self._index, self._dirty = None, False
        if whole:
            return
        nonce = self._nonces.get(index)
        if nonce is None:
            self._cache.zero()
        else:
            sealed = self._read_block(index)
            decrypt_into(CipherText(nonce, sealed), self._key, self._cache, self._associated_data(index))
        self._index = index

    def _store(self) -> None:
        """Encrypt the cached block into the file if it is newer than that."""
        if self._index is None or not self._dirty:
            return
        nonce, sealed = encrypt_data(self._cache, self._key, self._associated_data(self._index))
        position, done = self._index * len(sealed), 0
        while done < len(sealed):
            done += os.pwrite(self._fd, memoryview(sealed)[done:], position + done)
        self._nonces[self._index] = nonce
        self._dirty = False

    def _read_block(self, index: int) -> bytes:
        length = self._block_bytes + TAG_BYTES
        parts = b""
        while len(parts) < length:
            part = os.pread(self._fd, length - len(parts), index * length + len(parts))
            if not part:
                raise DecryptionError("the encrypted file was cut off by somebody else")
            parts += part
        return parts

    @staticmethod
    def _associated_data(index: int) -> bytes:
        """Its place. The file need not be told: no two share a key."""
        return index.to_bytes(8, "little")

    # ---- the end ----

    def close(self) -> None:
        """Wipe the key and the block in memory, and give the file's space back. Harmless when already closed."""
        if self._fd < 0:
            super().close()
            return
        if self._owner != os.getpid():
            self._destroy(is_owner=False)  # Without the lock: see _alone.
            super().close()
            return
        with self._lock:
            try:
                self._destroy(is_owner=True)
            finally:
                super().close()

    def _destroy(self, *, is_owner: bool) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            # An exception of the constructor leaves a file without these.
            for secret in (getattr(self, "_key", None), getattr(self, "_cache", None)):
                if secret is not None and is_owner:
                    secret.close()
            if is_owner:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
