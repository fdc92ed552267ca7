"""Keys, wrapped, saved and loaded; their bytes stay in locked memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from zeroizepy import _lib
from zeroizepy._lib import lib
from zeroizepy.buffers import public_bytes
from zeroizepy.careful import careful
from zeroizepy.exceptions import DecryptionError
from zeroizepy.memory import SecureMemory
from zeroizepy.slots import check_flag, option_bits

from .algorithms import algorithm_for
from .base import fail_key
from .census import NotedFile, has_erased, note, note_file, refuse_erased
from .derive import MEMLIMIT, OPSLIMIT, check_limits, salt_or_new
from .file import check_free, read_key_file, write_key_file
from .kwp import key_length, kwp_open_into, kwp_seal
from .made import MadeKey
from .wrap import MAGIC, Wrapped, check_file_limits, header_for_key, header_for_password, parse, seal, unseal_into

if TYPE_CHECKING:
    from typing import Literal, TypeVar

    from typing_extensions import Buffer, Self

    from zeroizepy.values import Borrowable

    from .algorithms import Name
    from .base import Policy, Tier
    from .receipt import Origin

    _Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    _Key = TypeVar("_Key", bound="CryptoKey")
    Format = Literal["committing", "aes-kwp"]

__all__ = ["CryptoKey"]


class CryptoKey(MadeKey):
    """A key that stays in locked memory and is used by pointer, until it is destroyed.

    Args:
        key_bytes: 16, 24 or 32 bytes: bytes-like, or a cell or secure memory. It is copied; what you pass keeps its own
            copy, except a cell for which this was the last access.
        algorithm: What it is for, for as long as it lives. None for AES-GCM, or the algorithm of another CryptoKey.
        tier, policy: As for `CypherCell`.
        ttl_sec: Seconds to live, counted through suspend. The core zeroes the key at the deadline.
        inherit: A forked child keeps its own copy, for servers that fork their workers; the key is then never on the
            "memfd_secret" backing. Nonces of parent and child are drawn apart; the 2^32 of them that AES-GCM allows are
            counted from the fork on by each process for itself, so that together they may exceed it. Destroying one
            copy leaves the others. Files that are open with the key stay with the process that opened them.
        wipe_source: Zero a mutable buffer, or wipe a cell or secure memory, once the key is made of it.

    Raises:
        TypeError: Not bytes-like, or `wipe_source` with what cannot be wiped, such as `bytes`.
        ValueError: Another length than the algorithm's, or a wrong algorithm, tier, policy or ttl_sec.
        SecureMemoryError: AEGIS-256 with a libsodium before 1.0.19.
        LockLimitError: Nothing more can be locked.

    | algorithm | key, nonce, tag (bytes) | messages under one key | choose it |
    |---|---|---|---|
    | AES-256-GCM | 32, 12, 16 | 2^32 | by default: everyone opens it, NIST approves it; and for files |
    | AES-128-GCM, AES-192-GCM | 16 or 24, 12, 16 | 2^32 | where a peer asks for it; OpenSSL does the work |
    | XChaCha20-Poly1305 | 32, 24, 16 | no limit in reach | for more messages, and CPUs without AES instructions |
    | AEGIS-256 | 32, 32, 32 | no limit in reach | for speed, where both ends have it; no standard yet |

    With AES-256-GCM and a CPU that has AES instructions, libsodium does the work and the expanded key lies beside the
    key in the same slot. Otherwise OpenSSL does, through `cryptography`; `protection.schedule_locked` is False then.
    libsodium's AES-GCM does not use wide vectors (VAES): where the CPU has them, OpenSSL is two to three times as fast
    on messages of 64 KiB and more, and AEGIS-256 about as fast as that. Without AES instructions AEGIS-256 is slow.
    That a message opens does not prove which key made it: AES-GCM and XChaCha20-Poly1305 do not commit to theirs, as
    encrypted files and wrapped keys do.

    Source: NIST SP 800-38D, section 8.3; RFC 8439 and draft-irtf-cfrg-xchacha; draft-irtf-cfrg-aegis-aead.
    """

    @careful
    def wrap(self, key: CryptoKey, *, format: Format = "committing") -> bytes:  # noqa: A002 - the word for it.
        """Encrypt another key under this one; `unwrap` opens it.

        Args:
            key: Another one, no longer than this, which would make it weaker.
            format: "committing", from slot to ciphertext, which no other key opens; or "aes-kwp", for interchange with
                HSMs and other programs.

        Returns:
            136, 144 or 152 bytes, for keys of 16, 24 and 32; 24, 32 or 40 with "aes-kwp".

        Raises:
            TypeError: Not a CryptoKey.
            ValueError: This key is shorter, or the same; or another format.
            SecureMemoryClosed: One of the two is destroyed, or was while this ran.
            LockLimitError: Nothing more can be locked.

        AES-KWP is the same each time, carries neither algorithm nor anything else, and does not commit: that no other
        wrapping key opens it is likely, not certain. The AES in it is OpenSSL's; both keys are in ordinary memory while
        it runs, which is zeroed.

        Source: HKDF-SHA256 (RFC 5869) and ChaCha20-Poly1305 (RFC 8439), in the format of docs/key-files.md; RFC 5649
        and NIST SP 800-38F for AES-KWP.
        Does not reach, with "aes-kwp": swap and core dumps while it runs.
        """
        _check_format(format)
        blob = kwp_seal(self, key) if format == "aes-kwp" else seal(self, key, header_for_key(key))
        note(key, "wrap", self.key_id)
        key._check_noted(blob)
        return blob

    @classmethod
    @careful
    def unwrap(
        cls,
        blob: Buffer,
        wrapping_key: CryptoKey,
        *,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
        inherit: bool = False,
        allow_erased: bool = False,
        format: Format = "committing",  # noqa: A002 - the word for it.
        algorithm: Name | None = None,
    ) -> Self:
        """The key that `wrapping_key.wrap` encrypted, straight into its slot.

        Args:
            blob: What `wrap` returned; with "aes-kwp", what any implementation of that did.
            wrapping_key: The key that it was wrapped with.
            tier, policy, ttl_sec, inherit: As for `CryptoKey`.
            allow_erased: Take a key that `cryptographic_erase_key` destroyed in this process before.
            format: As for `wrap`. With "aes-kwp" the key is in ordinary memory for a moment, and zeroed there.
            algorithm: With "aes-kwp", which does not say what its key is for; None for AES-GCM.

        Raises:
            TypeError, ValueError: A wrong argument, or a key that is encrypted with a password.
            KeyErasedError: It was erased.
            DecryptionError: Another wrapping key; truncated, changed, or no wrapped key. The message says which.
            SecureMemoryClosed: The wrapping key is destroyed.
            LockLimitError: Nothing more can be locked.
        """
        options, ttl_ns = option_bits(tier, policy, inherit), _lib.ttl_nanoseconds(ttl_sec)
        _check_format(format)
        given = public_bytes(blob, "blob")
        if format == "aes-kwp":
            key = cls._open_kwp(given, wrapping_key, algorithm, policy, options, ttl_ns)
        else:
            wrapped = parse(given, "blob: ")
            if algorithm not in (None, wrapped.algorithm):
                raise ValueError(f"blob: is a key for {wrapped.algorithm}, not for {_lib.shown(algorithm)}")
            if wrapped.by_password:
                raise ValueError("blob: is encrypted with a password; write it to a file and use CryptoKey.load")
            key = cls._open(wrapped, wrapping_key, policy, options, ttl_ns, "unwrapped")
        note(key, "wrapped_source", wrapping_key.key_id)
        return _admit(key, allow_erased=allow_erased)

    @classmethod
    def _open(
        cls, wrapped: Wrapped, wrapping_key: CryptoKey, policy: Policy, options: int, ttl_ns: int, origin: Origin
    ) -> Self:
        algorithm = algorithm_for(wrapped.length, wrapped.algorithm)
        with SecureMemory(wrapped.length, policy=policy) as memory:
            unseal_into(memory, wrapped, wrapping_key)
            return cls._from_memory(memory, algorithm, options, ttl_ns, origin)

    @classmethod
    def _open_kwp(
        cls, blob: bytes, wrapping_key: CryptoKey, algorithm: Name | None, policy: Policy, options: int, ttl_ns: int
    ) -> Self:
        size = key_length(blob)
        chosen = algorithm_for(size, algorithm, "the wrapped key")
        with SecureMemory(size, policy=policy) as memory:
            kwp_open_into(memory, wrapping_key, blob)
            key = cls._from_memory(memory, chosen, options, ttl_ns, "unwrapped")
        note(key, "kwp")
        return key

    @careful
    def save(
        self,
        path: _Path,
        *,
        password: Buffer | Borrowable | None = None,
        wrapping_key: CryptoKey | None = None,
        opslimit: int = OPSLIMIT,
        memlimit: int = MEMLIMIT,
        overwrite: bool = False,
    ) -> None:
        """Write the key to a file of mode 600, encrypted, flushed to the device together with its name.

        Args:
            path: Where nothing stands yet, unless `overwrite`.
            password: What to encrypt it with, as for `from_password`.
            wrapping_key: Instead of a password, another key to `wrap` it with.
            opslimit, memlimit: As for `from_password`; at most 4 GiB, and 64 GiB for all passes.
            overwrite: Replace what stands there, in one step; a symbolic link itself, not what it points to.

        Raises:
            TypeError, ValueError: A wrong argument.
            FileExistsError: Something stands there; nothing was done, and no access to the password counted.
            OSError: It could not be written; what was begun is unlinked. A new file that replaced the old one stays,
                complete, when only the last flush of its folder fails.
            SecureMemoryClosed: A key is destroyed. No file is made then.
            LockLimitError: Nothing more can be locked, and no file is made.

        Does not reach: the blocks of a file that was replaced; `secure_delete` it first, or destroy its wrapping key.
        Names in folders that may not be read, or whose file system cannot flush them, are not flushed.
        """
        _check_one(password, wrapping_key)
        if not overwrite:
            check_free(os.fsdecode(path))
        if wrapping_key is None:
            blob = self._wrap_for(password, opslimit, memlimit)
        else:
            blob = seal(wrapping_key, self, header_for_key(self))
        noted = _note_file(self, "save", path, wrapping_key)  # Before: what fails may have been written in part.
        self._check_noted(blob)
        noted.identity = write_key_file(os.fsdecode(path), blob, overwrite=overwrite)

    def _wrap_for(self, password: Any, opslimit: int, memlimit: int) -> bytes:
        passes, size = check_file_limits(*check_limits(opslimit, memlimit))
        if self.destroyed:
            fail_key(lib.zpy_cell_state(self._handle))
        salt = salt_or_new(None)
        with CryptoKey.from_password(password, salt=salt, opslimit=passes, memlimit=size) as made:
            return seal(made, self, header_for_password(self, passes, size, salt))

    @classmethod
    @careful
    def load(
        cls,
        path: _Path,
        *,
        password: Buffer | Borrowable | None = None,
        wrapping_key: CryptoKey | None = None,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
        inherit: bool = False,
        allow_erased: bool = False,
    ) -> Self:
        """Read a key file that `save` wrote, straight into a slot.

        Args:
            path: A regular file of this user, of any user for root, that nobody else may access; a symbolic link is not
                followed.
            password: What it was saved with.
            wrapping_key: Instead of a password, the key that it was saved with.
            tier, policy, ttl_sec, inherit: As for `CryptoKey`.
            allow_erased: As for `unwrap`.

        Raises:
            TypeError, ValueError: A wrong argument, such as a password where the file wants a wrapping key, or none, or
                a file that others own or may access, or that asks for too much or too little of Argon2id; the message
                says which.
            KeyErasedError: It was erased.
            DecryptionError: Another password or wrapping key; truncated, changed, or no key file. The message says
                which.
            OSError: It cannot be opened or read.
            MemoryError: The memory that its password needs cannot be had.
            LockLimitError: Nothing more can be locked.
        """
        if password is not None or wrapping_key is not None:
            _check_one(password, wrapping_key)
        options, ttl_ns = option_bits(tier, policy, inherit), _lib.ttl_nanoseconds(ttl_sec)
        name = os.fsdecode(path)
        content, identity = read_key_file(name)
        _check_wrapped(content, name)
        wrapped = parse(content, f"{name}: ")
        _check_kind(wrapped, password, wrapping_key, name)
        if wrapping_key is not None:
            key = cls._open(wrapped, wrapping_key, policy, options, ttl_ns, "loaded")
        else:
            passes, size = _limits_of(wrapped, name)
            salt = wrapped.password_salt
            with CryptoKey.from_password(
                cast("Any", password), salt=salt, opslimit=passes, memlimit=size, policy=policy
            ) as made:
                key = cls._open(wrapped, made, policy, options, ttl_ns, "loaded")
        _note_file(key, "key_file", name, wrapping_key).identity = identity
        return _admit(key, allow_erased=allow_erased)


def _check_format(format: object) -> None:  # noqa: A002 - as above.
    if format not in ("committing", "aes-kwp"):
        raise ValueError(f"format must be 'committing' or 'aes-kwp', not {_lib.shown(format)}")


def _note_file(key: CryptoKey, kind: str, path: _Path, wrapping_key: CryptoKey | None) -> NotedFile:
    name = os.path.abspath(os.fsdecode(path))
    return note_file(key, kind, name, None if wrapping_key is None else wrapping_key.key_id)


def _admit(key: _Key, *, allow_erased: bool) -> _Key:
    """Give out a key that was loaded, unless it was erased."""
    check_flag(allow_erased, "allow_erased")
    if has_erased() and not allow_erased:
        try:
            refuse_erased(key.key_id, "; this copy of it was left: allow_erased=True takes it")
        except BaseException:
            key.destroy()
            raise
    return key


def _check_one(password: object, wrapping_key: object) -> None:
    if (password is None) == (wrapping_key is None):
        raise TypeError("pass either password= or wrapping_key=")
    if wrapping_key is not None and not isinstance(wrapping_key, CryptoKey):
        raise TypeError(f"wrapping_key must be a CryptoKey, not {type(wrapping_key).__name__}")


def _check_wrapped(content: bytes, name: str) -> None:
    if len(content) in (16, 24, 32) and not content.startswith(MAGIC):
        raise DecryptionError(
            f"{name}: is no wrapped key; if its {len(content)} bytes are a raw one, "
            "CryptoKey(CypherCell.from_file(path)) takes that"
        )


def _check_kind(wrapped: Wrapped, password: object, wrapping_key: object, name: str) -> None:
    words = ("password", "password") if wrapped.by_password else ("wrapping key", "wrapping_key")
    text = f"{name}: is encrypted with a {words[0]}; pass {words[1]}="
    if password is None and wrapping_key is None:
        raise TypeError(text)
    if wrapped.by_password != (password is not None):
        raise ValueError(f"{text} instead")


def _limits_of(wrapped: Wrapped, name: str) -> tuple[int, int]:
    try:
        return check_file_limits(*check_limits(wrapped.opslimit, wrapped.memlimit))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
