"""Whole files, encrypted and decrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zeroizepy.careful import careful

from .ends import Source, open_output
from .filekey import HEADER_BYTES, FileKey, Scratch
from .pipeline import Pipeline

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zeroizepy.crypto import CryptoKey

    from .ends import Readable, Writable
    from .pipeline import Progress

__all__ = ["decrypt_file", "encrypt_file"]


@careful
def encrypt_file(
    src: Readable,
    dst: Writable,
    key: CryptoKey,
    *,
    associated_data: Buffer = b"",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Encrypt a file of any size as C2SP Cobblestone-256, or -128 with a key of 16 bytes.

    Args:
        src: A path, or an open binary file such as a pipe. It stays as it is; see `secure_delete`.
        dst: A path, where the result appears complete, with mode 600 and flushed, or not at all; or an open binary
            file that is written to as the work goes on, and is not closed. What that got is refused by every
            decryption unless this returns.
        key: 16 or 32 bytes.
        associated_data: Not stored; the same must be given to decrypt. Any bytes-like object.
        progress: Called with (bytes of src done, bytes in all, or None for what is no regular file) every 256 KiB.
            What it raises ends the work.
        overwrite: Replace a regular file that stands at `dst`, which is not shredded.

    Raises:
        TypeError: A wrong argument.
        ValueError: A key of 24 bytes; `dst` is `src`; more than 4 PiB.
        FileExistsError: Something stands at `dst`, and nothing was changed.
        SecureMemoryClosed: The key is destroyed, or was while this ran; SecureMemoryExpired when its time is over.
        LockLimitError: Nothing more can be locked.
        OSError: Reading or writing failed. With `overwrite`, a complete result that replaced the old file stays when
            only the last flush of its folder fails; the message says so.

    The result is 56 bytes longer than the plaintext, and 16 for each begun chunk of 16 KiB and one more where the last
    is full. Each file has a key of its own, derived with HKDF-SHA-512 from `key` and a random salt into a locked slot,
    and its header commits to that key. Any implementation of c2sp.org/chunked-encryption opens it, such as
    `cryptography.cobblestone`.

    Reading, encrypting on all CPUs and writing overlap; open files are used by the calling thread alone.

    Does not reach: batches of plaintext of 256 KiB, at most ten at a time, are in ordinary memory, which can be
    swapped, and are zeroed at the end; so are an open `src`'s own buffers, which are not zeroed. With 16 bytes, or
    without AES instructions, OpenSSL does the work and has the file's key on its heap. Neither length nor name of the
    file is hidden.
    """
    file_key = FileKey(key, associated_data)
    try:
        with Source(src) as source:
            total = source.size()
            out = open_output(dst, source, overwrite=overwrite, is_secret=False)
            try:
                out.write(file_key.header)
                _carry(Pipeline(file_key, source, out, is_sealing=True), progress, 0, total)
                out.publish()
            except BaseException:
                out.discard()
                raise
    finally:
        file_key.drop()


def _carry(pipeline: Pipeline, progress: Progress | None, done: int, total: int | None) -> None:
    try:
        try:
            pipeline.run(progress, done, total)
        finally:
            pipeline.close()
    finally:
        pipeline.close()  # Again, since a second interrupt may have ended the first call before it began.


@careful
def decrypt_file(
    src: Readable,
    dst: Writable,
    key: CryptoKey,
    *,
    associated_data: Buffer = b"",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Decrypt what `encrypt_file`, or another implementation of C2SP chunked encryption, made.

    Args:
        src: A path, or an open binary file such as a pipe.
        dst: A path, where the plaintext appears complete, with mode 600 and flushed, or not at all; or an open binary
            file. That one gets plaintext as the work goes on, each byte after its chunk is authenticated: what it got
            is genuine, but may be only the beginning unless this returns.
        key, associated_data: Those it was encrypted with.
        progress: Called with (bytes of src done, bytes in all, or None for what is no regular file) every 256 KiB.
            What it raises ends the work.
        overwrite: Replace a regular file that stands at `dst`, which is not shredded, once all of `src` is authentic.

    Raises:
        TypeError: A wrong argument.
        ValueError: A key of 24 bytes; `dst` is `src`.
        DecryptionError: Another key or other associated data, or `src` is truncated, extended, reordered, changed, or
            no encrypted file; the message says which, as far as it can be known.
        FileExistsError: Something stands at `dst`, and nothing was changed.
        SecureMemoryClosed: The key is destroyed, or was while this ran; SecureMemoryExpired when its time is over.
        LockLimitError: Nothing more can be locked.
        OSError: Reading or writing failed; as for `encrypt_file`.

    When this raises, and the message does not say that the result is complete and in its place, plaintext that was
    written for a path is zeroed in place, once, and given back. Where the file system has O_TMPFILE it had no name
    before, so that a kill leaves none, either; with `overwrite`, a kill in the instant before the old file is replaced
    leaves the complete plaintext under a name that begins with a dot and ends in ".tmp".

    Does not reach: as with `encrypt_file`; and blocks of a plaintext that failed, on file systems that do not write in
    place or when the process is killed (see `secure_delete` and `wipe_free_space`).
    """
    with Source(src) as source:
        total = source.size()
        header = Scratch(HEADER_BYTES)
        got = source.fill(header.view)
        file_key = FileKey.of_header(key, associated_data, bytes(header.view[:got]))
        try:
            out = open_output(dst, source, overwrite=overwrite, is_secret=True)
            try:
                _carry(Pipeline(file_key, source, out, is_sealing=False), progress, HEADER_BYTES, total)
                out.publish()
            except BaseException:
                out.discard()
                raise
        finally:
            file_key.drop()
