"""Ed25519 signing keys that stay in locked memory and are used by pointer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from . import _lib
from ._lib import ffi, lib
from .careful import careful
from .cell import CypherCell
from .durable import new_private_file, open_private_file
from .exceptions import SignatureError
from .lifecycle import WipeableKey
from .slots import Holder, SlottedHolder, can_borrow, lend, option_bits

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer, Self

    from .values import Borrowable

__all__ = ["PUBLIC_BYTES", "SEED_BYTES", "SIGNATURE_BYTES", "SigningKey", "verify_signature", "verify_signature_text"]

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class SigningKey(WipeableKey, SlottedHolder):
    """An Ed25519 key in one locked slot: made by `generate`, `from_seed` or `load`, wiped by `close` or a `with` block.

    The seed and the public key (64 bytes) lie in the slot. libsodium signs from there; what it leaves on the stack and
    in vector registers is cleared after each call. The secret is at no time a Python object.

    Source: RFC 8032.
    """

    __slots__ = ()

    def _fail(self, status: int) -> NoReturn:
        _lib.raise_closed(status, "signing key")

    def __init__(self) -> None:
        raise TypeError("a SigningKey is made by SigningKey.generate(), from_seed(seed) or load(path)")

    @classmethod
    def _make(cls, source: Any, options: int) -> Self:
        handle = _lib.make_cell(lambda bits: int(lib.zpy_sign_create(source, bits, 0)), options)
        if handle < 0:
            _lib.raise_status(-handle, SEED_BYTES + PUBLIC_BYTES)
        key = cls.__new__(cls)
        key._hold(handle, SEED_BYTES + PUBLIC_BYTES)
        return key

    @classmethod
    def generate(
        cls,
        *,
        tier: Literal["packed", "isolated", "sealed"] = "packed",
        policy: Literal["seal", "strict"] | None = None,
    ) -> Self:
        """A random key, drawn from the kernel's generator straight into locked memory.

        Args:
            tier, policy: As for `CypherCell`.

        Raises:
            LockLimitError: Nothing more can be locked.
        """
        return cls._make(ffi.NULL, option_bits(tier, policy) | lib.ZPY_RANDOM)

    @classmethod
    @careful
    def from_seed(
        cls,
        seed: Buffer | Borrowable,
        *,
        tier: Literal["packed", "isolated", "sealed"] = "packed",
        policy: Literal["seal", "strict"] | None = None,
    ) -> Self:
        """The key of a seed.

        Args:
            seed: 32 bytes: bytes-like, or a cell or secure memory, which counts as an access. It is copied; what you
                pass keeps its own copy, except a cell for which this was the last access.
            tier, policy: As for `CypherCell`.

        Raises:
            TypeError: Not bytes-like.
            ValueError: Not 32 bytes.
            LockLimitError: Nothing more can be locked.
        """
        options = option_bits(tier, policy)

        def make(data: Any) -> Any:
            with _lib.as_buffer(data, "seed") as source:
                _check_length(len(source), SEED_BYTES, "seed")
                return cls._make(source, options)

        if isinstance(seed, Holder):
            _check_length(seed._size, SEED_BYTES, "seed")  # Before an access to a cell is counted.
        key: Self = lend(seed, make) if can_borrow(seed) else make(seed)
        return key

    @classmethod
    def load(cls, path: _Path) -> Self:
        """Read a key file that `save`, or `zeroizepy keygen --signing`, wrote.

        Args:
            path: A regular file of 32 bytes, of this user (any user's for root), that nobody else may access; a
                symbolic link is not followed.

        Raises:
            ValueError: Another file, or one that others own or may access; the message says which.
            OSError: It cannot be opened or read.
            LockLimitError: Nothing more can be locked.
        """
        name = os.fsdecode(path)
        what = f"a signing key is a file of {SEED_BYTES} bytes"
        with open_private_file(name, what) as fd:
            size = os.fstat(fd).st_size
            if size != SEED_BYTES:
                raise ValueError(f"{name}: holds {size} bytes; {what}")
            with CypherCell.from_fd(fd, SEED_BYTES) as seed:
                return cls.from_seed(seed)

    def save(self, path: _Path) -> None:
        """Write the seed, 32 raw bytes, to a new file (mode 600), flushed to the device together with its name.

        The kernel copies the bytes out of the slot. The file has no password: whoever reads it can sign. To get rid of
        it there is `zeroizepy.file.secure_delete`, which says what it reached.

        Args:
            path: Where nothing stands yet.

        Raises:
            FileExistsError: Something does.
            OSError: It could not be written; what was begun is unlinked.
            SecureMemoryClosed: The key is closed.

        Does not reach: the name, in a folder that may not be read and where the file system cannot flush folders.
        """
        if self.wiped:
            self._fail(lib.zpy_cell_state(self._handle))
        with new_private_file(os.fsdecode(path)) as fd:
            status = lib.zpy_sink_write(self._handle, SEED_BYTES, fd)
            if status == lib.ZPY_SYSTEM:
                number = _lib.system_error_number()
                raise OSError(number, os.strerror(number))
            if status != lib.ZPY_OK:
                self._fail(status)

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes.

        Raises:
            SecureMemoryClosed: The key is closed.
        """
        out = bytes(PUBLIC_BYTES)  # Filled before anybody else has seen it.
        status = lib.zpy_sign_public(self._handle, out)
        if status != lib.ZPY_OK:
            self._fail(status)
        return out

    def sign(self, message: Buffer | Borrowable) -> bytes:
        """The signature of a message, 64 bytes; the same each time.

        Args:
            message: bytes-like, or a cell or memory, which is then not copied (borrowing a cell is an access).

        Raises:
            TypeError: Not bytes-like.
            SecureMemoryClosed: The key is closed, or was while this ran.
        """
        try:
            return lend(message, self._sign) if can_borrow(message) else self._sign(message)
        except BaseException as error:
            message = b""
            _lib.clear_locals(error)
            raise

    def _sign(self, message: Any) -> bytes:
        with _lib.as_buffer(message, "message") as source:
            out = bytes(SIGNATURE_BYTES)  # Filled before anybody else has seen it.
            status = lib.zpy_sign_detached(self._handle, source, len(source), out)
        if status != lib.ZPY_OK:
            self._fail(status)
        return out


def _check_length(found: int, wanted: int, name: str) -> None:
    if found != wanted:
        raise ValueError(f"{name} must be {wanted} bytes, not {found}")


def verify_signature(public_key: Buffer, message: Buffer, signature: Buffer) -> None:
    """Check an Ed25519 signature; a return without an error means that it is valid.

    Args:
        public_key: 32 bytes, from a source that you trust.
        message: What was signed.
        signature: 64 bytes.

    Raises:
        TypeError: Not bytes-like.
        ValueError: A public key of another length.
        SignatureError: Not this key's signature of this message.

    Source: RFC 8032, as libsodium checks it: keys of small order and values out of range are refused.
    """
    with (
        _lib.as_buffer(public_key, "public_key") as key,
        _lib.as_buffer(message, "message") as data,
        _lib.as_buffer(signature, "signature") as proof,
    ):
        _check_length(len(key), PUBLIC_BYTES, "public_key")
        is_valid = len(proof) == SIGNATURE_BYTES and lib.zpy_sign_verify(key, data, len(data), proof) == lib.ZPY_OK
    if not is_valid:
        raise SignatureError("the signature is not that of this public key for this message")


def verify_signature_text(public_key: Buffer, message: Buffer, text: str) -> None:
    """Check an Ed25519 signature that stands in a document, whose own text no signature covers.

    Args:
        public_key, message: As for `verify_signature`.
        text: 128 hex digits in lower case. Capitals and spaces mean the same bytes, but are refused: who finds a
            changed document valid takes it for the one that was signed.

    Raises:
        SignatureError: Written otherwise, or not this key's signature of this message.
        TypeError, ValueError: As for `verify_signature`.
    """
    try:
        signature = bytes.fromhex(text)
    except ValueError:
        signature = b""
    if signature.hex() != text:
        raise SignatureError(f"the signature must be {2 * SIGNATURE_BYTES} hex digits in lower case and nothing else")
    verify_signature(public_key, message, signature)
