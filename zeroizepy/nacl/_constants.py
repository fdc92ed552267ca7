"""libsodium's numbers, by the names that PyNaCl has them by."""

from __future__ import annotations

from zeroizepy._lib import ffi, lib

__all__ = ["constant", "constants"]


def constant(name: str) -> int:
    """One of libsodium's numbers; 0 where it belongs to what this libsodium does not have."""
    value = ffi.new("uint64_t *")
    return int(value[0]) if lib.zpy_constant_find(name.encode(), value) == lib.ZPY_OK else 0


def constants(prefix: str, *names: str) -> tuple[int, ...]:
    """Several, whose names begin alike."""
    return tuple(constant(f"{prefix}_{name}") for name in names)
