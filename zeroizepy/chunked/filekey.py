"""What is derived for one encrypted file, and chunks sealed and opened with it.

Source: c2sp.org/chunked-encryption, read at revision 1225032.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.crypto import NONCE_BYTES, TAG_BYTES, CryptoKey
from zeroizepy.exceptions import DecryptionError
from zeroizepy.keys.census import note_file_key
from zeroizepy.slots import PEEK, Borrow, SlottedHolder, read_bytes

if TYPE_CHECKING:
    from typing import NoReturn

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from typing_extensions import Buffer

__all__ = ["BATCH_CHUNKS", "CHUNK_BYTES", "HEADER_BYTES", "SEALED_BYTES", "FileKey", "Scratch", "ends_early", "forged"]

CHUNK_BYTES = 1 << 14
SEALED_BYTES = CHUNK_BYTES + TAG_BYTES
SALT_BYTES = 24
COMMITMENT_BYTES = 32
HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES
MOST_CHUNKS = 1 << 38
BATCH_CHUNKS = 16
"""How many chunks one call of the core works on: 256 KiB, which its caches hold."""


class Scratch:
    """A buffer in ordinary memory that is used again and again, and zeroed by `wipe`.

    Attributes:
        at: For the core.
        view: For Python.
    """

    __slots__ = ("at", "view")

    def __init__(self, size: int) -> None:
        self.at = ffi.new("uint8_t[]", size)
        self.view = memoryview(ffi.buffer(self.at))

    def wipe(self) -> None:
        """Zero all of it."""
        lib.zpy_large_memzero(self.at, len(self.view))


def forged(number: int, *, is_last: bool) -> DecryptionError:
    """The error for a chunk that is not authentic."""
    if is_last:
        return DecryptionError(f"chunk {number}, the last one, is not authentic: the file was truncated or changed")
    return DecryptionError(f"chunk {number} is not authentic: the file was changed, or its chunks reordered")


def ends_early(count: int) -> DecryptionError:
    """The error for a file of so many whole chunks: the last one is always shorter."""
    return DecryptionError(f"the file is truncated: the last chunk is missing behind {count} whole ones")


def _fail_key(status: int) -> NoReturn:
    _lib.raise_closed(status, "key")


class FileKey(SlottedHolder):
    """The key, base nonce and commitment of one file, derived into a slot of their own, of the key's tier and policy.

    Args:
        key: 16 or 32 bytes, not destroyed.
        associated_data: The context that they are derived for.
        salt: 24 bytes that an encrypted file begins with; None draws new ones for a new file.

    Raises:
        TypeError: A wrong argument.
        ValueError: A key of 24 bytes, or for another algorithm than AES-GCM.
        SecureMemoryClosed: The key is destroyed.
        LockLimitError: Nothing more can be locked, and the key's policy, or the process's, is "strict".

    With 32 bytes and a CPU that has AES instructions, the schedule lies in the same slot. Otherwise OpenSSL does the
    work: the file's key is on its heap during each batch, the nonces on Python's.
    """

    __slots__ = ("_is_native", "_key", "header")

    header: bytes
    """Salt and commitment, with which a file begins."""

    def __init__(self, key: CryptoKey, associated_data: Buffer, salt: bytes | None = None) -> None:
        if not isinstance(key, CryptoKey):
            raise TypeError(f"key must be a CryptoKey, not {type(key).__name__}")
        if key.destroyed:
            _fail_key(lib.zpy_cell_state(key._handle))
        if len(key) == 24:
            raise ValueError("key must be 16 or 32 bytes for a file (Cobblestone-128 or -256), not 24")
        if not key._algorithm.is_aes:
            raise ValueError(
                f"key must be for AES-GCM, which files are encrypted with (Cobblestone), not {key.algorithm}; "
                "key.derive(context, algorithm='AES-256-GCM') makes one"
            )
        with _lib.as_buffer(associated_data, "associated_data") as source:
            context = bytes(ffi.buffer(source))
        kind = "file_key" if salt is None else "opened_file"
        if salt is None:
            salt = bytes(SALT_BYTES)
            lib.zpy_random_bytes(salt, SALT_BYTES)
        commitment = bytes(COMMITMENT_BYTES)  # The core fills it before anybody else has seen it.
        size = len(key)
        arguments = (key._handle, size, salt, context, len(context))
        # Of a key that children inherit, too: two processes that go on with one file would use its nonces twice.
        options = key._options & ~(lib.ZPY_RANDOM | lib.ZPY_INHERIT)
        handle = _lib.make_cell(lambda bits: int(lib.zpy_chunked_create(*arguments, bits, commitment)), options)
        if handle < 0:
            _fail_key(-handle)
        self._hold(handle, size)
        self._key = key
        self._is_native = size == 32 and lib.zpy_has_aes() == 1
        self.header = salt + commitment
        note_file_key(key, kind, self)
        self.check()  # A key that was erased meanwhile did not know of this one.

    @classmethod
    def of_header(cls, key: CryptoKey, associated_data: Buffer, header: bytes) -> FileKey:
        """The one for an encrypted file.

        Args:
            key, associated_data: Those it was encrypted with.
            header: What the file begins with, at most 56 bytes.

        Raises:
            DecryptionError: The header is too short, or another key or context made its commitment.
        """
        if len(header) < HEADER_BYTES:
            text = f"the file has {len(header)} bytes, too few for an encrypted one: it is truncated, or was never one"
            raise DecryptionError(text)
        derived = cls(key, associated_data, header[:SALT_BYTES])
        if not lib.zpy_cell_memequal(derived.header, header, HEADER_BYTES):
            derived.drop()
            raise DecryptionError(
                "the commitment does not match: wrong key, other associated data, or not an encrypted file"
            )
        return derived

    def drop(self) -> None:
        """Zero it now. Harmless when it was already."""
        status = self._drop()
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    def check(self) -> None:
        """Make sure that the key it was derived from still lives, since who destroyed that wants this gone, too.

        Raises:
            SecureMemoryClosed: It does not, or this one was wiped; both are gone then.
        """
        status = lib.zpy_cell_state(self._key._handle) or lib.zpy_cell_state(self._handle)
        if status:
            self._drop()
            _fail_key(status)

    def seal(self, first: int, source: Scratch, length: int, out: Scratch, *, is_last: bool) -> int:
        """Encrypt the first bytes of a buffer.

        Args:
            first: The number of the first chunk.
            source: Plaintext.
            length: Its bytes: whole chunks, unless `is_last`.
            out: Has room for them and their tags.
            is_last: The rest behind the whole chunks, perhaps none, is the file's last chunk.

        Returns:
            The bytes in `out`.

        Raises:
            SecureMemoryClosed: The key is destroyed, or was while this ran.
            ValueError: More than 2^38 chunks, 4 PiB.
        """
        count = length // CHUNK_BYTES + is_last
        self._check_count(first, count)
        if self._is_native:
            status = lib.zpy_chunked_encrypt(self._handle, first, source.at, length, is_last, out.at)
            if status != lib.ZPY_OK:
                _fail_key(status)
        else:
            cipher, base = self._openssl()
            for index in range(count):
                part = source.view[index * CHUNK_BYTES : min((index + 1) * CHUNK_BYTES, length)]
                begin = index * SEALED_BYTES
                room = out.view[begin : begin + len(part) + TAG_BYTES]
                _encrypt_into(cipher, _nonce(base, first + index), part, room)
        self.check()
        return length + count * TAG_BYTES

    def open(self, first: int, source: Scratch, length: int, out: Scratch, *, is_last: bool) -> int:
        """Decrypt and authenticate the first bytes of a buffer.

        Args:
            first: The number of the first chunk.
            source: Chunks with their tags.
            length: Their bytes. Only the last chunk may be shorter than others.
            out: Has room for the plaintext. Nothing but zeros is in it unless all chunks are authentic.
            is_last: The file ends with them, for the error.

        Returns:
            The bytes in `out`.

        Raises:
            DecryptionError: A chunk is not authentic, or shorter than its tag.
            SecureMemoryClosed: The key is destroyed, or was while this ran.
        """
        count = -(-length // SEALED_BYTES)
        if 0 < length % SEALED_BYTES < TAG_BYTES:
            raise forged(first + count - 1, is_last=is_last)
        self._check_count(first, count)
        if self._is_native:
            good_out = ffi.new("uint64_t *")
            status = lib.zpy_chunked_decrypt(self._handle, first, source.at, length, out.at, good_out)
            good = int(good_out[0])
            if status not in (lib.ZPY_OK, lib.ZPY_FORGED):
                _fail_key(status)
        else:
            good = self._open_with_openssl(first, source, length, out, count)
        try:
            self.check()
        except BaseException:
            out.wipe()
            raise
        if good < count:
            out.wipe()
            raise forged(first + good, is_last=is_last and good == count - 1)
        return length - count * TAG_BYTES

    def _check_count(self, first: int, count: int) -> None:
        if first + count > MOST_CHUNKS:
            raise ValueError("an encrypted file has at most 2^38 chunks, 4 PiB; split it")

    def _openssl(self) -> tuple[AESGCM, int]:
        """The file's key in OpenSSL's hands, and the base nonce."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        status, base = read_bytes(self._handle, self._size, NONCE_BYTES)
        if status != lib.ZPY_OK:
            _fail_key(status)
        try:
            with Borrow(self, _fail_key, PEEK) as view:
                return AESGCM(view), int.from_bytes(base, "big")
        finally:
            _lib.wipe_bytes(base)

    def _open_with_openssl(self, first: int, source: Scratch, length: int, out: Scratch, count: int) -> int:
        from cryptography.exceptions import InvalidTag

        cipher, base = self._openssl()
        for index in range(count):
            part = source.view[index * SEALED_BYTES : min((index + 1) * SEALED_BYTES, length)]
            begin = index * CHUNK_BYTES
            room = out.view[begin : begin + len(part) - TAG_BYTES]
            try:
                _decrypt_into(cipher, _nonce(base, first + index), part, room)
            except InvalidTag:
                return index
        return count


def _encrypt_into(cipher: AESGCM, nonce: bytes, plaintext: memoryview, room: memoryview) -> None:
    """Encrypt into a buffer of just the right size, without a copy where `cryptography` is new enough for that."""
    if hasattr(cipher, "encrypt_into"):
        cipher.encrypt_into(nonce, plaintext, None, room)
    else:
        room[:] = cipher.encrypt(nonce, plaintext, None)


def _decrypt_into(cipher: AESGCM, nonce: bytes, sealed: memoryview, room: memoryview) -> None:
    """The same the other way. What is in the buffer after `InvalidTag` is not authentic."""
    if hasattr(cipher, "decrypt_into"):
        cipher.decrypt_into(nonce, sealed, None, room)
    else:
        plaintext = cipher.decrypt(nonce, sealed, None)
        room[:] = plaintext
        _lib.wipe_bytes(plaintext)


def _nonce(base: int, number: int) -> bytes:
    return (base ^ number).to_bytes(NONCE_BYTES, "big")
