"""Secrets computed from secrets, each straight into secure memory: HKDF-SHA256 and Argon2id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeroizepy import _lib
from zeroizepy._lib import lib
from zeroizepy.buffers import public_bytes
from zeroizepy.slots import can_borrow, lend

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from zeroizepy.memory import SecureMemory
    from zeroizepy.values import Borrowable

__all__ = ["MEMLIMIT", "OPSLIMIT", "SALT_BYTES", "check_limits", "salt_or_new", "stretch_into"]

SALT_BYTES = 16
OPSLIMIT = 3
MEMLIMIT = 256 * 1024 * 1024
"""libsodium's "moderate" limits: about half a second, and memory that guessers need as well."""

_LEAST_BYTES = 7 * 1024 * 1024
_LEAST_WORK_BYTES = 35 * 1024 * 1024
_MOST_PASSES = (1 << 32) - 1
_MOST_PASSWORD_BYTES = (1 << 32) - 1
_MOST_BYTES = ((1 << 32) - 1) * 1024


def salt_or_new(salt: Buffer | None) -> bytes:
    """A salt that was given, checked, or a random one.

    Raises:
        TypeError: Not bytes-like.
        ValueError: Not 16 bytes.
    """
    if salt is None:
        fresh = bytes(SALT_BYTES)  # Filled before anybody else has seen it.
        lib.zpy_random_bytes(fresh, SALT_BYTES)
        return fresh
    given = public_bytes(salt, "salt")
    if len(given) != SALT_BYTES:
        raise ValueError(f"salt must be {SALT_BYTES} bytes, not {len(given)}")
    return given


def check_limits(opslimit: object, memlimit: object) -> tuple[int, int]:
    """Refuse limits that libsodium does not take or that make guessing cheap.

    Raises:
        TypeError: Not ints.
        ValueError: Too large, or less than any setting that OWASP's Password Storage Cheat Sheet calls equivalent: from
            46 MiB in one pass to 7 MiB in five.
    """
    for name, value in (("opslimit", opslimit), ("memlimit", memlimit)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    passes, size = int(opslimit), int(memlimit)  # type: ignore[call-overload]
    if not 1 <= passes <= _MOST_PASSES:
        raise ValueError(f"opslimit must be between 1 and {_MOST_PASSES} passes, not {passes}")
    if size > _MOST_BYTES:
        raise ValueError(f"memlimit must be at most {_MOST_BYTES} bytes, not {size}")
    if size < _LEAST_BYTES or passes * size < _LEAST_WORK_BYTES:
        raise ValueError(
            f"{passes} passes over {size} bytes are too few against guessing: memlimit must be {_LEAST_BYTES} or more, "
            f"and opslimit * memlimit {_LEAST_WORK_BYTES} or more"
        )
    return passes, size


def stretch_into(target: SecureMemory, password: Buffer | Borrowable, salt: bytes, passes: int, size: int) -> None:
    """Fill secure memory with Argon2id of a password. The GIL is released meanwhile.

    Raises:
        TypeError: The password is not bytes-like.
        ValueError: It is empty, or too long for Argon2id.
        CellWipedError: It ended meanwhile.
        MemoryError: `size` bytes cannot be had.
    """

    def stretch(data: Any) -> None:
        with _lib.as_buffer(data, "password") as source:
            if len(source) == 0:
                raise ValueError("password is empty")
            if len(source) > _MOST_PASSWORD_BYTES:
                raise ValueError(
                    f"password has {len(source)} bytes; Argon2id takes at most {_MOST_PASSWORD_BYTES}: pass its hash"
                )
            status = lib.zpy_derive_password(source, len(source), salt, passes, size, target._handle)
        if status == lib.ZPY_NO_MEMORY:
            raise MemoryError(f"no memory for Argon2id with a memlimit of {size} bytes")
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    if isinstance(password, str):
        raise TypeError("password must be a cell, secure memory or bytes-like, not str; pass CypherCell(text)")
    if can_borrow(password):
        lend(password, stretch)
    else:
        stretch(password)
