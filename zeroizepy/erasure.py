"""Files that are gone when a key is: encrypted, their originals shredded; and key files that are shredded.

>>> from zeroizepy.erasure import DirectoryKeyStore, crypto_shred_file
>>> store = DirectoryKeyStore("keys", wrapping_key=key)  # doctest: +SKIP
>>> report = crypto_shred_file("report.pdf", store)  # doctest: +SKIP
>>> store.erase(report.key_id)  # Now report.pdf.cobblestone is noise.  # doctest: +SKIP
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .chunked import EncryptedReader, encrypt_file
from .crypto import CryptoKey, ErasureReceipt, cryptographic_erase_key
from .durable import make_private_folder
from .exceptions import DecryptionError, SecureWipeError
from .file import ShredReport, secure_delete
from .json_form import JsonForm
from .keys.erase import receipt_of_file
from .keys.file import read_key_file
from .keys.info import KeyFileInfo, key_file_info, look_at_key_file
from .utils import secure_clear

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .values import Borrowable

    _Path = str | os.PathLike[str]

__all__ = [
    "CryptoShredReport",
    "DirectoryKeyStore",
    "KeyFileErasure",
    "KeyFileInfo",
    "KeyStore",
    "crypto_shred_file",
    "erase_key_file",
    "key_file_info",
]

SUFFIX = ".cobblestone"
_KEY_SUFFIX = ".zpykey"
_NAME = re.compile(r"[0-9a-f]{64}")
_COMPARED_BYTES = 1 << 18


class KeyStore(Protocol):
    """Where `crypto_shred_file` keeps keys: one of your own (an HSM, a database), or `DirectoryKeyStore`."""

    def put(self, key_id: str, key: CryptoKey) -> object:
        """Keep a key, durably, before this returns. The object is destroyed afterwards: keep bytes or a new object."""

    def get(self, key_id: str) -> CryptoKey:
        """The key again; a new object, or the store's own, which is not destroyed."""

    def erase(self, key_id: str) -> object:
        """Destroy every copy of it that the store has."""


@dataclass(frozen=True, slots=True)
class CryptoShredReport(JsonForm):
    """What became of a file that was encrypted and shredded.

    Attributes:
        path: The original.
        encrypted_path: The encrypted copy, Cobblestone-256.
        key_id: The name of its key.
        size_bytes: Of the original.
        shred: What became of the original's old bytes; its verdict says whether they may remain.
        receipt: Of the key, when there was no key store; else None.
    """

    schema: ClassVar[str] = "zeroizepy/crypto-shred-report/1"

    path: str
    encrypted_path: str
    key_id: str
    size_bytes: int
    shred: ShredReport
    receipt: ErasureReceipt | None


@dataclass(frozen=True, slots=True)
class KeyFileErasure(JsonForm):
    """A key file that was shredded.

    Attributes:
        shred: What became of the file's bytes.
        receipt: What is known of the key, which was not loaded.
    """

    schema: ClassVar[str] = "zeroizepy/key-file-erasure/1"

    shred: ShredReport
    receipt: ErasureReceipt


# ---- files ----


def crypto_shred_file(
    path: _Path,
    key_store: KeyStore | None = None,
    *,
    dst: _Path | None = None,
    associated_data: Buffer = b"",
    passes: int = 1,
) -> CryptoShredReport:
    """Encrypt a file under a key of its own, then shred the original: from then on, the key decides over the data.

    The order is such that nothing is lost: the encrypted copy is complete and on the device, the key is in the store,
    and the copy, opened with the key that the store gives back, was compared with the original, all before the first
    byte of that is overwritten.

    Args:
        path: A regular file; not a symbolic link.
        key_store: Keeps the key. None: nobody does; the key is destroyed at the end, and the copy is noise that can be
            unlinked. The data is gone then, as far as the original was shredded.
        dst: Where the encrypted copy goes, mode 600; by default beside the original, with ".cobblestone" added.
        associated_data: As for `encrypt_file`.
        passes: How often the original is overwritten; the last pass is read back.

    Returns:
        The reports: of the original, and without a key store of the key.

    Raises:
        TypeError, ValueError: A wrong argument, or a symbolic link.
        FileNotFoundError, IsADirectoryError, FileExistsError: There is no such file; it is a directory; something
            stands at `dst`.
        FileAccessError: The file would be, or was, refused by `secure_delete`.
        SecureWipeError: The file changed while it was encrypted. Nothing was overwritten.
        OSError: Reading or writing failed.

    What fails before the original is touched takes the copy away again and has the store erase the key. What fails
    later, and an interrupt, leaves both, since the original may be overwritten in part.

    Does not reach: the original's old blocks where `report.shred.verdict` says that they may remain, as on
    copy-on-write file systems and flash: erasing the key does not help against these. Changes to the file between the
    comparison and the shredding are lost. In folders that may not be read, or whose file system cannot flush them, the
    copy's name is as durable as the file system makes it. Name, size and dates of the file are not hidden.
    """
    name = os.fspath(path)
    target = name + SUFFIX if dst is None else os.fspath(dst)
    if os.path.islink(name):
        raise ValueError(f"{name}: is a symbolic link; give the file that it leads to")
    size = os.stat(name).st_size
    secure_delete(name, dry_run=True)  # What would be refused is refused before anything is made.
    with CryptoKey.generate() as key:
        encrypt_file(name, target, key, associated_data=associated_data)
        key_id = key.key_id
        try:
            _keep(name, target, key, key_store, associated_data)
        except BaseException:
            os.unlink(target)
            raise
        receipt = None
        try:
            shred = secure_delete(name, passes=passes, verify=True)
        finally:
            if key_store is None:
                receipt = cryptographic_erase_key(key)
    return CryptoShredReport(name, target, key_id, size, shred, receipt)


def _keep(path: str, copy: str, key: CryptoKey, key_store: KeyStore | None, associated_data: Buffer) -> None:
    """Have the store keep the key, and make sure that what it gives back, once that is gone here, opens the copy.

    All or nothing.
    """
    if key_store is None:
        _check_copy(path, copy, key, associated_data)
        return
    key_id = key.key_id
    key_store.put(key_id, key)
    try:
        key.destroy()  # Now, while a store that kept this very object can still be found out.
        # Not destroyed here: a store may give out the only object that it has. One of ours goes when this returns.
        _check_copy(path, copy, key_store.get(key_id), associated_data)
    except BaseException:
        with suppress(Exception):  # The first fault is the one to tell; a key that opens nothing does no harm.
            key_store.erase(key_id)
        raise


def _check_copy(path: str, copy: str, key: CryptoKey, associated_data: Buffer) -> None:
    """Make sure that the copy, decrypted, is the file as it is now."""
    mine, theirs = bytearray(_COMPARED_BYTES), bytearray(_COMPARED_BYTES)
    try:
        with (
            open(path, "rb", buffering=0) as file,
            EncryptedReader(copy, key, associated_data=associated_data) as reader,
        ):
            while True:
                got = _fill(file, mine)
                if _fill(reader, theirs) != got or mine != theirs:
                    raise SecureWipeError(f"{path}: changed while it was encrypted; nothing was overwritten")
                if got < _COMPARED_BYTES:
                    return
    finally:
        for buffer in (mine, theirs):
            secure_clear(buffer)


def _fill(file: Any, buffer: bytearray) -> int:
    done = 0
    with memoryview(buffer) as view:
        while done < len(view):
            got = file.readinto(view[done:])
            if not got:
                break
            done += got
    return done


# ---- keys ----


class DirectoryKeyStore:
    """Keys as key files in a directory, each under the key's name.

    Args:
        path: The directory, made with mode 700 if it is missing; its name is flushed then.
        wrapping_key: What the key files are encrypted with. Kept here; not destroyed.
        password: Instead of a wrapping key. Each `put` and `get` takes Argon2id's half second.

    Raises:
        TypeError: Not exactly one of the two.
        ValueError: Other users may access the directory.
        OSError: It cannot be made.

    Erase the wrapping key, and all keys of the store are gone with it.
    """

    def __init__(
        self,
        path: _Path,
        *,
        wrapping_key: CryptoKey | None = None,
        password: Borrowable | None = None,
    ) -> None:
        if (wrapping_key is None) == (password is None):
            raise TypeError("pass either password= or wrapping_key=")
        self._path = os.path.abspath(os.fspath(path))
        self._opener: dict[str, Any] = {"wrapping_key": wrapping_key} if password is None else {"password": password}
        make_private_folder(self._path)
        mode = stat.S_IMODE(os.stat(self._path).st_mode)
        if mode & 0o077:
            raise ValueError(f"{self._path}: other users may access this directory (mode {mode:03o}); chmod 700 it")

    def __repr__(self) -> str:
        return f"<DirectoryKeyStore: {self._path}>"

    def _file(self, key_id: str) -> str:
        if not _NAME.fullmatch(key_id):
            raise ValueError(f"key_id must be 64 hexadecimal digits, not {len(key_id)} characters of another kind")
        return os.path.join(self._path, key_id + _KEY_SUFFIX)

    def put(self, key_id: str, key: CryptoKey) -> None:
        """Save a key, flushed to the device.

        Raises:
            ValueError: It has another name.
            FileExistsError: The store has it already.
            OSError: As `CryptoKey.save`.
        """
        path = self._file(key_id)
        if key.key_id != key_id:
            raise ValueError(f"this is key {key.key_id}, not {key_id}")
        key.save(path, **self._opener)

    def get(self, key_id: str) -> CryptoKey:
        """Load a key.

        Raises:
            KeyError: The store does not have it.
            KeyErasedError: This process erased it, and a copy of its file came back.
            DecryptionError: Another password or wrapping key, or the file holds another key, or was changed.
        """
        return self._load(key_id, allow_erased=False)

    def _load(self, key_id: str, *, allow_erased: bool) -> CryptoKey:
        path = self._file(key_id)
        try:
            key = CryptoKey.load(path, allow_erased=allow_erased, **self._opener)
        except FileNotFoundError:
            raise KeyError(f"no key {key_id} in {self._path}") from None
        if key.key_id != key_id:
            other = key.key_id
            key.destroy()
            raise DecryptionError(f"{path}: holds key {other}")
        return key

    def key_ids(self) -> frozenset[str]:
        """The names of all keys in the store."""
        names = (os.path.splitext(name) for name in os.listdir(self._path))
        return frozenset(name for name, suffix in names if suffix == _KEY_SUFFIX and _NAME.fullmatch(name))

    def erase(self, key_id: str) -> ErasureReceipt:
        """Shred a key's file, which is read back, and destroy the key.

        Returns:
            The receipt. A file that was overwritten and verified stands in it as gone, unless another one took its
            place, or it was changed, after the key was read from it: what became of the first is not known then. Where
            the file no longer opens, or holds another key, it is shredded all the same, and the receipt is one of a key
            that was not loaded and whose name is not known.

        Raises:
            KeyError: The store does not have it.
            FileAccessError: The file could not be shredded.
        """
        path = self._file(key_id)
        try:
            key = self._load(key_id, allow_erased=True)
        except DecryptionError:
            algorithm, identity = "unknown", read_key_file(path)[1]
            with suppress(DecryptionError, ValueError):  # Damaged so that it does not even tell that.
                info, identity = look_at_key_file(path)
                algorithm = info.algorithm
            return receipt_of_file(secure_delete(path, passes=1, verify=True), algorithm, None, identity)
        with key:
            return cryptographic_erase_key(key, copies_removed=[secure_delete(path, passes=1, verify=True)])


def erase_key_file(path: _Path, *, passes: int = 1) -> KeyFileErasure:
    """Shred a key file, without opening it, and tell what that means for the key.

    Args:
        path: What `CryptoKey.save` or `zeroizepy keygen` wrote. Anything else is refused, and left as it is.
        passes: How often it is overwritten; the last pass is read back.

    Raises:
        ValueError, DecryptionError, OSError: It is no key file, or not yours alone, as `key_file_info` says.
        FileAccessError: It was refused or could not be shredded; it is still there.

    Does not reach: other copies of the file, and keys that processes hold.
    """
    name = os.fspath(path)
    info, identity = look_at_key_file(name)
    report = secure_delete(name, passes=passes, verify=True)
    return KeyFileErasure(report, receipt_of_file(report, info.algorithm, info.key_id, identity))
