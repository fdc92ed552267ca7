"""Keys in locked memory, messages under them, and cryptographic erasure: destroy the key and the data is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from . import _lib
from ._lib import ffi, lib
from .buffers import as_target, public_bytes
from .careful import careful
from .exceptions import DecryptionError
from .keys import CryptoKey, fail_key
from .keys.census import erased_key_ids, refuse_erased
from .keys.receipt import Condition, ErasureReceipt, KeyCopy
from .memory import SecureMemory
from .slots import can_borrow, lend, read_bytes
from .values import KeyProtection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from .shred.report import ShredReport
    from .values import Borrowable

__all__ = [
    "CipherText",
    "Condition",
    "CryptoKey",
    "ErasureReceipt",
    "KeyCopy",
    "KeyProtection",
    "cryptographic_erase_key",
    "decrypt",
    "decrypt_data",
    "decrypt_into",
    "decrypt_secret",
    "destroy_key",
    "encrypt",
    "encrypt_data",
    "erased_key_ids",
    "refuse_erased",
]

NONCE_BYTES = 12
TAG_BYTES = 16
"""Of AES-GCM."""
_LONG_BYTES = 16384
"""From here on the GIL is released: the work then outlasts the cost of doing so."""


class CipherText(NamedTuple):
    """What `encrypt_data` gives: the nonce, and the ciphertext with its tag at the end.

    Bytes: nonce 12 and tag 16 with AES-GCM, 24 and 16 with XChaCha20-Poly1305, 32 and 32 with AEGIS-256.
    """

    nonce: bytes
    ciphertext: bytes


# ---- messages ----


# Looked up once, and past the NamedTuple's own constructor: on short messages this is a fifth of the time.
_seal, _open = lib.zpy_key_encrypt_plain, lib.zpy_key_decrypt_plain
_encrypt_short, _decrypt_short = lib.zpy_key_encrypt, lib.zpy_key_decrypt
_encrypt_long, _decrypt_long = lib.zpy_aead_encrypt, lib.zpy_aead_decrypt
_new_tuple = tuple.__new__
_ZERO = b"\0"
"""`_ZERO * n` is a new object for any n > 1, and takes half the time of `bytes(n)` while that is short. The zeros of a
long one come from the kernel."""


def _extra_bytes(associated_data: Any) -> bytes:
    return b"" if associated_data is None else public_bytes(associated_data, "associated_data")


def _refuse_key(key: object) -> NoReturn:
    raise TypeError(f"key must be a CryptoKey, not {type(key).__name__}")


def encrypt_data(plaintext: Buffer | Borrowable, key: CryptoKey, associated_data: Buffer | None = None) -> CipherText:
    """Encrypt with the key's algorithm under a fresh random nonce.

    Args:
        plaintext: bytes-like, or a cell, memory or key, which is then not copied (borrowing a cell is an access).
        key: Not destroyed.
        associated_data: Authenticated but neither encrypted nor stored; the same must be given to decrypt.

    Returns:
        The nonce, and the ciphertext, which is longer than the plaintext by its tag.

    Raises:
        TypeError: A wrong argument.
        SecureMemoryClosed: The key is destroyed, or was while this ran; SecureMemoryExpired when its time is over.
        NonceLimitError: An AES-GCM key object that encrypted 2^32 messages already.
        ValueError: A message too long for the algorithm (64 GiB for AES-GCM, 256 GiB for XChaCha20-Poly1305).

    The nonce is random: 96 bits for AES-GCM, of which SP 800-38D allows 2^32 under one key; 192 and 256 for the others,
    with which no number of messages in reach makes a repetition likely.

    Source: NIST SP 800-38D, section 8.3; draft-irtf-cfrg-xchacha, section 2; draft-irtf-cfrg-aegis-aead.
    Does not reach: messages under another copy of the key, in another process or another `CryptoKey`; a virtual machine
    that is restored twice from one snapshot (LIMITATIONS.md).
    """
    try:
        if type(plaintext) is bytes and type(key) is CryptoKey and associated_data is None:
            # The common case: one call into the core and nothing else.
            algorithm = key._algorithm
            size = len(plaintext)
            if algorithm.core:
                # The core fills both objects before anybody else has seen them.
                nonce = _ZERO * algorithm.nonce_bytes
                if size < _LONG_BYTES:
                    out = _ZERO * (size + algorithm.tag_bytes)
                    status = _seal(key._core, plaintext, size, nonce, out)
                else:
                    out = bytes(size + algorithm.tag_bytes)
                    status = _encrypt_long(key._core, plaintext, size, b"", 0, nonce, out)
                if status:
                    _fail(status, key)
                return _new_tuple(CipherText, (nonce, out))
        return _encrypt_any(plaintext, key, _extra_bytes(associated_data))
    except BaseException as error:
        del plaintext, key  # The second may be raw bytes.
        _lib.clear_locals(error)
        raise


def _encrypt_any(plaintext: Any, key: CryptoKey, extra: bytes) -> CipherText:
    if not isinstance(key, CryptoKey):
        _refuse_key(key)
    if type(plaintext) is bytes:
        return _encrypt(plaintext, key, extra)
    if can_borrow(plaintext):
        return lend(plaintext, lambda view: _encrypt_any(view, key, extra))
    with _lib.as_buffer(plaintext, "plaintext") as source:
        return _encrypt(source, key, extra)


def _encrypt(source: Any, key: CryptoKey, extra: bytes) -> CipherText:
    algorithm = key._algorithm
    if not algorithm.core:
        return _encrypt_openssl(source, key, extra)
    size = len(source)
    nonce, out = bytes(algorithm.nonce_bytes), bytes(size + algorithm.tag_bytes)  # As above.
    run = _encrypt_short if size + len(extra) < _LONG_BYTES else _encrypt_long
    status = run(key._core, source, size, extra, len(extra), nonce, out)
    if status:
        _fail(status, key)
    return _new_tuple(CipherText, (nonce, out))


def _fail(status: int, key: CryptoKey) -> NoReturn:
    if status == lib.ZPY_RANGE:
        raise ValueError(f"the message is too long for {key.algorithm}; use encrypt_file")
    fail_key(status)


def _check_ciphertext(ct: object, key: object) -> tuple[bytes, bytes]:
    if not isinstance(ct, CipherText):
        raise TypeError(f"ct must be a CipherText, not {type(ct).__name__}")
    if not isinstance(key, CryptoKey):
        _refuse_key(key)
    nonce, sealed = ct
    nonce, sealed = public_bytes(nonce, "ct.nonce"), public_bytes(sealed, "ct.ciphertext")
    algorithm = key._algorithm
    if len(nonce) != algorithm.nonce_bytes:
        raise ValueError(f"ct.nonce must be {algorithm.nonce_bytes} bytes, not {len(nonce)}, for {algorithm.name}")
    if len(sealed) < algorithm.tag_bytes:
        raise ValueError(
            f"ct.ciphertext must be at least {algorithm.tag_bytes} bytes, not {len(sealed)}: it is truncated"
        )
    return nonce, sealed


def decrypt_data(ct: CipherText, key: CryptoKey, associated_data: Buffer | None = None) -> bytes:
    """Decrypt and authenticate what `encrypt_data` made.

    Args:
        ct: A CipherText.
        key: The key it was made with; its algorithm is the key's.
        associated_data: The same as then.

    Returns:
        The plaintext as `bytes`, which cannot be wiped; `decrypt_secret` gives secure memory.

    Raises:
        TypeError: `ct` is not a CipherText, or another wrong argument.
        ValueError: A nonce whose length is not the algorithm's, or a ciphertext shorter than its tag.
        DecryptionError: Wrong key, nonce, tag or associated data. No plaintext is released.
        SecureMemoryClosed: The key is destroyed.
    """
    if type(ct) is CipherText and type(key) is CryptoKey and associated_data is None:
        # As in encrypt_data.
        nonce, sealed = ct
        algorithm = key._algorithm
        if algorithm.core and type(nonce) is bytes and type(sealed) is bytes and len(nonce) == algorithm.nonce_bytes:
            size = len(sealed)
            room = size - algorithm.tag_bytes
            if room > 1:  # See read_bytes.
                if size < _LONG_BYTES:
                    plaintext = _ZERO * room
                    status = _open(key._core, sealed, size, nonce, plaintext)
                else:
                    plaintext = bytes(room)
                    status = _decrypt_long(key._core, sealed, size, b"", 0, nonce, plaintext)
                if status:
                    _fail(status, key)
                return plaintext
    try:
        nonce, sealed = _check_ciphertext(ct, key)
        return _decrypt(nonce, sealed, key, _extra_bytes(associated_data))
    except BaseException as error:
        del key  # As above.
        _lib.clear_locals(error)
        raise


def _decrypt(nonce: bytes, sealed: bytes, key: CryptoKey, extra: bytes) -> bytes:
    if not key._algorithm.core:
        return _decrypt_openssl(nonce, sealed, key, extra)
    size = len(sealed)
    run = _decrypt_short if size + len(extra) < _LONG_BYTES else _decrypt_long

    def decrypt(_handle: int, out: Any, _size: int) -> int:
        return int(run(key._core, sealed, size, extra, len(extra), nonce, out))

    status, plaintext = read_bytes(key._handle, 0, size - key._algorithm.tag_bytes, decrypt)
    if status:
        _fail(status, key)
    return plaintext


@careful
def decrypt_secret(ct: CipherText, key: CryptoKey, associated_data: Buffer | None = None) -> SecureMemory:
    """Decrypt straight into secure memory; the plaintext is at no time a Python object.

    Takes and raises what `decrypt_data` does, and `LockLimitError`. With a key whose `protection.schedule_locked` is
    False, OpenSSL returns the plaintext as `bytes` first; that object is wiped.
    """
    nonce, sealed = _check_ciphertext(ct, key)
    memory = SecureMemory(len(sealed) - key._algorithm.tag_bytes)
    try:
        _decrypt_into(memory, nonce, sealed, key, _extra_bytes(associated_data))
    except BaseException:
        memory.close()
        raise
    return memory


@careful
def decrypt_into(
    ct: CipherText, key: CryptoKey, buffer: Buffer | SecureMemory, associated_data: Buffer | None = None
) -> int:
    """Decrypt to the start of a buffer that can be wiped; the plaintext is at no time `bytes`.

    Takes what `decrypt_data` does, and:

    Args:
        buffer: Contiguous and writable, such as a bytearray, an mmap or a borrowed SecureMemory view; or a SecureMemory
            itself. At least as long as the plaintext; what is behind that stays as it is.

    Returns:
        The bytes of plaintext.

    Raises:
        TypeError: As `decrypt_data`, or neither of these: a cell or a key must not become what a ciphertext says.
        ValueError: As `decrypt_data`, or too short; nothing was decrypted then.
        DecryptionError, SecureMemoryClosed: As `decrypt_data`. No plaintext is in the buffer: its start holds what it
            held, or zeros.

    With a key whose `protection.schedule_locked` is False, OpenSSL returns the plaintext as `bytes` first; that object
    is wiped.

    Does not reach: ordinary memory that a buffer lies in, which can be swapped and is the caller's to wipe; other
    threads that look at it before this returns, when what stands there may not be authentic.
    """
    nonce, sealed = _check_ciphertext(ct, key)
    extra = _extra_bytes(associated_data)
    size = len(sealed) - key._algorithm.tag_bytes
    if isinstance(buffer, SecureMemory):
        if len(buffer) < size:
            raise ValueError(f"buffer of {len(buffer)} bytes is too short for {size}")
        _decrypt_into(buffer, nonce, sealed, key, extra)
        return size
    with as_target(buffer, size) as target:
        if not key._algorithm.core:
            plaintext = _decrypt_openssl(nonce, sealed, key, extra)
            try:
                ffi.memmove(target, plaintext, size)
            finally:
                _lib.wipe_bytes(plaintext)
            return size
        run = _decrypt_short if len(sealed) + len(extra) < _LONG_BYTES else lib.zpy_aead_decrypt
        status = run(key._core, sealed, len(sealed), extra, len(extra), nonce, target)
    if status:
        _fail(status, key)
    return size


def _decrypt_into(memory: SecureMemory, nonce: bytes, sealed: bytes, key: CryptoKey, extra: bytes) -> None:
    if not key._algorithm.core:
        plaintext = _decrypt_openssl(nonce, sealed, key, extra)
        try:
            memory.write(plaintext)
        finally:
            _lib.wipe_bytes(plaintext)
        return
    status = lib.zpy_aead_decrypt_into(key._core, sealed, len(sealed), extra, len(extra), nonce, memory._handle)
    if status != lib.ZPY_OK:
        if memory.closed:
            _lib.raise_closed(lib.zpy_cell_state(memory._handle), "secure memory")
        _fail(status, key)


# ---- OpenSSL, for what libsodium's AES-256-GCM does not cover ----


def _encrypt_openssl(source: Any, key: CryptoKey, extra: bytes) -> CipherText:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = bytes(NONCE_BYTES)
    status = lib.zpy_key_draw_nonce(key._core, nonce)
    if status != lib.ZPY_OK:
        fail_key(status)
    with key._peek() as view:
        out = AESGCM(view).encrypt(nonce, source if type(source) is bytes else memoryview(ffi.buffer(source)), extra)
        _check_whole(key)
    return CipherText(nonce, out)


def _decrypt_openssl(nonce: bytes, sealed: bytes, key: CryptoKey, extra: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    with key._peek() as view:
        try:
            plaintext = AESGCM(view).decrypt(nonce, sealed, extra)
        except InvalidTag:
            _count_decrypted(key, is_authentic=False)
            raise DecryptionError("Invalid ciphertext or authentication failed") from None
        try:
            _count_decrypted(key, is_authentic=True)
        except BaseException:
            _lib.wipe_bytes(plaintext)
            raise
    return plaintext


def _count_decrypted(key: CryptoKey, *, is_authentic: bool) -> None:
    """As `_check_whole`; a receipt that is made meanwhile counts what is given out."""
    status = lib.zpy_key_count_decrypted(key._core, is_authentic)
    if status != lib.ZPY_OK:
        fail_key(status)


def _check_whole(key: CryptoKey) -> None:
    """A key destroyed by another thread meanwhile was zeros for OpenSSL: what it made must not be given out."""
    status = lib.zpy_cell_state(key._handle)
    if status != lib.ZPY_OK:
        fail_key(status)


@careful
def cryptographic_erase_key(key: CryptoKey, *, copies_removed: Iterable[ShredReport] = ()) -> ErasureReceipt:
    """Destroy a key, and with it whatever only it can decrypt; tell what is known of its copies.

    The key is destroyed at once and in any case, also when the rest of this call fails. It takes the same time whatever
    the key encrypted. Keys of files that are open with it (`EncryptedWriter`, `EncryptedReader`) are wiped, too.

    Args:
        key: A live key. For one that was gone before, the receipt says what is known of it.
        copies_removed: Reports of `secure_delete(path, verify=True)` for key files of this key.

    Returns:
        Name, uses and protection of the key, every copy of it that this process saw come in or go out, and the
        conditions of SP 800-88 one by one, each met, not met, or unknown. `to_json()` writes it out,
        `zeroizepy.certificate.sign_receipt` signs it, `AuditLog.append` records it.

    Raises:
        TypeError: Not a CryptoKey; or other things than reports, and then the key is destroyed.
        MemoryCorruptionError: Something had written around the key, which is destroyed.

    Source: NIST SP 800-88 Rev. 2, cryptographic erase.
    Does not reach: copies that were made before: by `get_bytes`, in the buffer it was created from, in key files, in
    backups. The receipt lists those that this process saw; it cannot know of others.
    """
    if not isinstance(key, CryptoKey):
        _refuse_key(key)
    from .keys.erase import erase

    return erase(key, copies_removed)


encrypt = encrypt_data
decrypt = decrypt_data
destroy_key = cryptographic_erase_key
