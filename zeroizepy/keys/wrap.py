"""The format of wrapped keys, which is that of key files; docs/key-files.md describes it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.exceptions import DecryptionError
from zeroizepy.slots import lend

from .algorithms import ALGORITHMS
from .base import HeldKey, fail_key
from .census import note

if TYPE_CHECKING:
    from zeroizepy.memory import SecureMemory

    from .algorithms import Name

__all__ = [
    "MAGIC",
    "MAX_WRAPPED_BYTES",
    "Wrapped",
    "check_file_limits",
    "check_may_wrap",
    "header_for_key",
    "header_for_password",
    "parse",
    "seal",
    "unseal_into",
]

MAGIC = b"zpy-key\0"
_VERSION = 1
_BY_KEY, _BY_PASSWORD = 1, 2
_BY_NUMBER = {each.number: each for each in ALGORITHMS.values()}
_HEADER = struct.Struct(">8s4BIQ16s")
"""Magic, version, what it is encrypted with, algorithm, zero; then Argon2id's passes, bytes and salt."""
_SALT_BYTES = _COMMITMENT_BYTES = 32
_TAG_BYTES = 16
_LABEL = b"zeroizepy key wrap v1\0"
_KEY_AT = _HEADER.size + _SALT_BYTES + _COMMITMENT_BYTES
MAX_WRAPPED_BYTES = _KEY_AT + 32 + _TAG_BYTES
_MOST_BYTES = 4 << 30
_MOST_WORK_BYTES = 64 << 30
"""A file must not be able to ask for memory and time without end."""


class Wrapped(NamedTuple):
    """A wrapped key, taken apart. Nothing in it is secret, nor was any of it authenticated."""

    header: bytes
    by_password: bool
    length: int
    opslimit: int
    memlimit: int
    password_salt: bytes
    salt: bytes
    commitment: bytes
    sealed: bytes

    @property
    def algorithm(self) -> Name:
        """What the key is for, as the header says."""
        return _BY_NUMBER[self.header[10]].name


def check_file_limits(passes: int, size: int) -> tuple[int, int]:
    """Refuse Argon2id limits that are too high for a file.

    Raises:
        ValueError: More than 4 GiB, or than 64 GiB for all passes.
    """
    if size > _MOST_BYTES or passes * size > _MOST_WORK_BYTES:
        raise ValueError(
            f"{passes} passes over {size} bytes are too many for a key file: memlimit must be {_MOST_BYTES} or less, "
            f"and opslimit * memlimit {_MOST_WORK_BYTES} or less"
        )
    return passes, size


def _number_of(key: object) -> int:
    if not isinstance(key, HeldKey):
        raise TypeError(f"key must be a CryptoKey, not {type(key).__name__}")
    return ALGORITHMS[key.algorithm].number


def header_for_key(key: HeldKey) -> bytes:
    """The first bytes of a key that another key wraps."""
    return _HEADER.pack(MAGIC, _VERSION, _BY_KEY, _number_of(key), 0, 0, 0, bytes(16))


def header_for_password(key: HeldKey, passes: int, size: int, salt: bytes) -> bytes:
    """The first bytes of a key that is encrypted with a password."""
    return _HEADER.pack(MAGIC, _VERSION, _BY_PASSWORD, _number_of(key), 0, passes, size, salt)


def _are_same(one: HeldKey, other: HeldKey) -> bool:
    """Whether two keys have the same bytes, whatever their algorithms; in constant time."""
    from hmac import compare_digest  # Imported only here: most programs wrap no keys.

    return lend(one, lambda left: lend(other, lambda right: compare_digest(left, right), peek=True), peek=True)


def check_may_wrap(wrapping_key: HeldKey, key: object) -> None:
    """Refuse to wrap a key with a shorter one, or with itself.

    Raises:
        TypeError: Not a key.
        ValueError: It is shorter, or the same, in this object or in another.
        SecureMemoryClosed: One of them is destroyed.
    """
    if not isinstance(key, HeldKey):
        raise TypeError(f"key must be a CryptoKey, not {type(key).__name__}")
    for each in (wrapping_key, key):
        if each.destroyed:
            fail_key(lib.zpy_cell_state(each._handle))
    if wrapping_key._size < key._size:
        raise ValueError(
            f"a key of {wrapping_key._size} bytes must not wrap one of {key._size}, as the weaker; "
            f"take one of {key._size} bytes"
        )
    if _are_same(wrapping_key, key):
        raise ValueError(
            f"key {key.key_id} must not wrap itself, since nothing else would open that; pass another wrapping key"
        )


def seal(wrapping_key: HeldKey, key: HeldKey, header: bytes) -> bytes:
    """The wrapped key. `CryptoKey.wrap` tells what is raised."""
    check_may_wrap(wrapping_key, key)
    salt = bytes(_SALT_BYTES)  # This one and the next two are filled before anybody else has seen them.
    lib.zpy_random_bytes(salt, _SALT_BYTES)
    commitment, sealed = bytes(_COMMITMENT_BYTES), bytes(key._size + _TAG_BYTES)
    request, _kept = _request(wrapping_key, salt, header)
    status = lib.zpy_wrap_seal(request, key._handle, key._size, commitment, sealed)
    if status != lib.ZPY_OK:
        fail_key(status)
    note(wrapping_key, "keys_wrapped")
    return header + salt + commitment + sealed


def _request(wrapping_key: HeldKey, salt: bytes, header: bytes) -> tuple[object, object]:
    """A `struct zpy_wrap *`, and what keeps the memory that it points to."""
    info = _LABEL + header
    kept = ffi.new("uint8_t[]", salt), ffi.new("uint8_t[]", info)
    fields = {"key": wrapping_key._handle, "key_bytes": wrapping_key._size, "salt": kept[0], "info": kept[1]}
    return ffi.new("struct zpy_wrap *", {**fields, "info_bytes": len(info)}), kept


def parse(blob: bytes, where: str) -> Wrapped:
    """Take a wrapped key apart.

    Args:
        blob: All of it.
        where: What to begin messages with.

    Raises:
        DecryptionError: It is none, of another version, truncated, or too long.
    """
    if not blob or blob[: len(MAGIC)] != MAGIC[: len(blob)]:
        raise DecryptionError(
            f"{where}is no wrapped key: it does not begin like one; raw keys and AES-KWP are read otherwise"
        )
    if len(blob) < _HEADER.size:
        raise DecryptionError(
            f"{where}is truncated: {len(blob)} bytes do not hold a wrapped key's header; take a whole copy"
        )
    header = blob[: _HEADER.size]
    _, version, kind, number, zero, passes, size, password_salt = _HEADER.unpack(header)
    if version != _VERSION:
        raise DecryptionError(f"{where}is a wrapped key of version {version}; this zeroizepy reads version {_VERSION}")
    if kind not in (_BY_KEY, _BY_PASSWORD) or number not in _BY_NUMBER or zero != 0:
        raise DecryptionError(
            f"{where}is damaged: its header has values that no version {_VERSION} has; take another copy"
        )
    length = _BY_NUMBER[number].key_bytes
    whole_bytes = _KEY_AT + length + _TAG_BYTES
    if len(blob) != whole_bytes:
        fault = "is truncated" if len(blob) < whole_bytes else "has something behind its end"
        raise DecryptionError(
            f"{where}{fault}: a wrapped key of this kind has {whole_bytes} bytes, not {len(blob)}; take a whole copy"
        )
    commitment_at = _HEADER.size + _SALT_BYTES
    return Wrapped(
        header=header,
        by_password=kind == _BY_PASSWORD,
        length=length,
        opslimit=passes,
        memlimit=size,
        password_salt=password_salt,
        salt=blob[_HEADER.size : commitment_at],
        commitment=blob[commitment_at:_KEY_AT],
        sealed=blob[_KEY_AT:],
    )


def unseal_into(target: SecureMemory, wrapped: Wrapped, wrapping_key: object) -> None:
    """Decrypt a wrapped key into secure memory of its length.

    Raises:
        TypeError: The wrapping key is none.
        DecryptionError: It is another one, or what it wrapped was changed.
        SecureMemoryClosed: It is destroyed.
    """
    if not isinstance(wrapping_key, HeldKey):
        raise TypeError(f"wrapping_key must be a CryptoKey, not {type(wrapping_key).__name__}")
    request, _kept = _request(wrapping_key, wrapped.salt, wrapped.header)
    sealed = wrapped.sealed
    status = lib.zpy_wrap_open(request, wrapped.commitment, sealed, len(sealed), target._handle)
    if status == lib.ZPY_OTHER_KEY:
        what = "password" if wrapped.by_password else "wrapping key"
        raise DecryptionError(
            f"wrong {what}, or the first {_KEY_AT} bytes of the wrapped key were changed; "
            "give the right one, or another copy"
        )
    if status == lib.ZPY_FORGED:
        raise DecryptionError("the wrapped key was changed, and what it should open with is right; take another copy")
    if status != lib.ZPY_OK:
        _lib.raise_closed(status, "wrapping key")
    note(wrapping_key, "keys_unwrapped")
