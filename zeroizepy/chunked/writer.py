"""An encrypted file that is written piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy.careful import careful
from zeroizepy.slots import can_borrow, lend

from .ends import open_output
from .filekey import FileKey
from .sealing import Sealer

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

    from zeroizepy.crypto import CryptoKey
    from zeroizepy.values import Borrowable

    from .ends import Writable

__all__ = ["EncryptedWriter"]


class EncryptedWriter:
    """Writes a file that `decrypt_file`, `EncryptedReader` and other implementations of Cobblestone open.

    Use it in a `with` block: the file is complete when that ends well. After an exception, `discard()`, or when the
    object is dropped without `close()`, a path is as it was before, and what an open file got is refused by every
    decryption.

    Args:
        dst: A path, where the file appears only when it is complete, or an open binary file, which is not closed.
        key, associated_data, overwrite: As for `encrypt_file`.

    Raises:
        TypeError, ValueError, FileExistsError, SecureMemoryClosed, OSError: As `encrypt_file` does.

    For one thread at a time. A key derived for this file stays in a locked slot until it is closed; destroying `key`
    makes the next call raise, and wipes that one only then.

    Does not reach: up to 256 KiB of plaintext wait in ordinary memory until they are encrypted, zeroed at the end.
    """

    _sealer: Sealer | None = None

    @careful
    def __init__(
        self, dst: Writable, key: CryptoKey, *, associated_data: Buffer = b"", overwrite: bool = False
    ) -> None:
        file_key = FileKey(key, associated_data)
        try:
            self._out = open_output(dst, None, overwrite=overwrite, is_secret=False)
            try:
                self._sealer = Sealer(file_key, self._out)
            except BaseException:
                self._out.discard()
                raise
        except BaseException:
            file_key.drop()
            raise

    @property
    def closed(self) -> bool:
        """Whether it was closed or discarded."""
        return self._sealer is None

    def write(self, data: Buffer | Borrowable) -> int:
        """Encrypt more plaintext.

        Args:
            data: A contiguous bytes-like object, or a cell, memory or key (borrowing a cell is an access).

        Returns:
            Its bytes.

        Raises:
            TypeError: It is neither.
            ValueError: The file is closed.
            CellWipedError: A cell or memory is wiped, or was while it was read; the file is discarded.
            SecureMemoryClosed, OSError: As for `encrypt_file`; the file is discarded.
        """
        try:
            sealer = self._open_sealer()
            if can_borrow(data):
                return self._take_lent(data)
            return self._take(sealer, data)
        except BaseException as error:
            data = b""
            _lib.clear_locals(error)
            raise

    def _open_sealer(self) -> Sealer:
        if self._sealer is None:
            raise ValueError("this EncryptedWriter is closed")
        return self._sealer

    def _take_lent(self, data: Borrowable) -> int:
        try:
            return lend(data, self.write)
        except BaseException:
            self.discard()  # A secret that ended meanwhile may have been read as zeros.
            raise

    def _take(self, sealer: Sealer, data: Any) -> int:
        try:
            view = memoryview(data).cast("B")
        except TypeError:
            kind = type(data).__name__
            raise TypeError(f"data must be a contiguous bytes-like object, not {kind}") from None
        done = 0
        try:
            while done < len(view):
                room = sealer.room()
                count = min(len(room), len(view) - done)
                room[:count] = view[done : done + count]
                sealer.advance(count)
                done += count
        except BaseException:
            self.discard()
            raise
        finally:
            view.release()
        return done

    def close(self) -> None:
        """Write the last chunk, and give the file its name. Harmless when already closed or discarded.

        Raises:
            FileExistsError: Meanwhile something else took the name.
            SecureMemoryClosed, OSError: As for `encrypt_file`. The file is discarded then, unless the message says that
                it is complete and in its place.
        """
        sealer = self._sealer
        if sealer is None:
            return
        try:
            sealer.finish()
            self._out.publish()
        except BaseException:
            self.discard()
            raise
        self._sealer = None
        sealer.close()

    def discard(self) -> None:
        """Give the file up. Harmless when already closed or discarded."""
        sealer, self._sealer = self._sealer, None
        if sealer is not None:
            try:
                sealer.close()
            finally:
                self._out.discard()

    def __enter__(self) -> Self:
        self._open_sealer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        self.discard()
