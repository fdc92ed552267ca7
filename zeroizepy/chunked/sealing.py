"""Plaintext in, an encrypted file out, a batch of chunks at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .filekey import BATCH_CHUNKS, CHUNK_BYTES, SEALED_BYTES, Scratch

if TYPE_CHECKING:
    from .ends import Output
    from .filekey import FileKey

__all__ = ["Sealer"]

_BATCH_BYTES = BATCH_CHUNKS * CHUNK_BYTES


class Sealer:
    """Collects plaintext in one buffer, and writes it out encrypted whenever that is full.

    Args:
        file_key: For a new file; wiped by `close`.
        out: Gets the header at once.
    """

    def __init__(self, file_key: FileKey, out: Output) -> None:
        self._file_key = file_key
        self._out = out
        self._plain = Scratch(_BATCH_BYTES)
        self._sealed = Scratch(BATCH_CHUNKS * SEALED_BYTES)
        self._held = 0
        self._number = 0
        out.write(file_key.header)

    def room(self) -> memoryview:
        """Where the next plaintext goes: never empty."""
        return self._plain.view[self._held :]

    def advance(self, count: int) -> None:
        """So many bytes were put there."""
        self._held += count
        if self._held == _BATCH_BYTES:
            self._flush(is_last=False)

    def finish(self) -> None:
        """Write the last chunk."""
        self._flush(is_last=True)

    def _flush(self, *, is_last: bool) -> None:
        size = self._file_key.seal(self._number, self._plain, self._held, self._sealed, is_last=is_last)
        self._out.write(self._sealed.view[:size])
        self._number += BATCH_CHUNKS
        self._held = 0

    def close(self) -> None:
        """Zero the plaintext and the file's key."""
        self._plain.wipe()
        self._file_key.drop()
