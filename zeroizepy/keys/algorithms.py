"""What keys are for: the authenticated ciphers, and the lengths that each has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.exceptions import SecureMemoryError

if TYPE_CHECKING:
    from typing import Literal

    Name = Literal["AES-128-GCM", "AES-192-GCM", "AES-256-GCM", "XChaCha20-Poly1305", "AEGIS-256"]

__all__ = ["AES_256", "ALGORITHMS", "Algorithm", "algorithm_for", "check_length", "chosen_algorithm"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One cipher.

    Attributes:
        name: For people and `key_id`.
        number: In wrapped keys and key files.
        key_bytes, nonce_bytes, tag_bytes: Its lengths.
        core: The core's enum zpy_algorithm, 0 for what only OpenSSL does.
    """

    name: Name
    number: int
    key_bytes: int
    nonce_bytes: int
    tag_bytes: int
    core: int

    @property
    def is_aes(self) -> bool:
        """Whether it is AES-GCM, which OpenSSL can do where the core cannot."""
        return self.name.startswith("AES-")


AES_256 = Algorithm("AES-256-GCM", 3, 32, 12, 16, lib.ZPY_AES_256_GCM)
_AES_BY_BYTES = {
    16: Algorithm("AES-128-GCM", 1, 16, 12, 16, lib.ZPY_ELSEWHERE),
    24: Algorithm("AES-192-GCM", 2, 24, 12, 16, lib.ZPY_ELSEWHERE),
    32: AES_256,
}
_OTHERS = (
    Algorithm("XChaCha20-Poly1305", 4, 32, 24, 16, lib.ZPY_XCHACHA20_POLY1305),
    Algorithm("AEGIS-256", 5, 32, 32, 32, lib.ZPY_AEGIS_256),
)
ALGORITHMS: dict[str, Algorithm] = {each.name: each for each in (*_AES_BY_BYTES.values(), *_OTHERS)}


def algorithm_for(size: int, name: str | None = None, what: str = "key_bytes") -> Algorithm:
    """The algorithm of a key.

    Args:
        size: Bytes of the key.
        name: None for AES-GCM, the one for this size.
        what: What has this size, to begin messages with.

    Raises:
        TypeError: The name is no str.
        ValueError: There is no such algorithm, or its keys have another size.
        SecureMemoryError: libsodium has no AEGIS-256.
    """
    if name is None:
        aes = _AES_BY_BYTES.get(size)
        if aes is None:
            raise ValueError(f"{what} must be 16, 24 or 32 bytes (AES-128, -192 or -256), not {size}")
        return aes
    found = _named(name)
    if found.key_bytes != size:
        raise ValueError(f"{what} must be {found.key_bytes} bytes for {found.name}, not {size}{_remedy(size)}")
    return found


def _remedy(size: int) -> str:
    aes = _AES_BY_BYTES.get(size)
    return f"; {aes.name} takes as many" if aes else ""


def _named(name: str) -> Algorithm:
    if not isinstance(name, str):
        raise TypeError(f"algorithm must be a str, not {type(name).__name__}")
    found = ALGORITHMS.get(name)
    if found is None:
        # What stands there instead may be a key in the wrong place.
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, not {_lib.shown(name)}")
    if not found.is_aes and not lib.zpy_key_is_supported(found.core):
        _refuse_aegis()
    return found


def _refuse_aegis() -> NoReturn:
    version = ffi.string(lib.zpy_sodium_version()).decode()
    raise SecureMemoryError(
        f"AEGIS-256 needs libsodium 1.0.19 or later, and zeroizepy was built with {version}; "
        "install zeroizepy without SODIUM_INSTALL=system, or use XChaCha20-Poly1305"
    )


def check_length(length: object) -> int:
    """Refuse what is not the length of a key.

    Raises:
        TypeError, ValueError: It is not.
    """
    if isinstance(length, bool) or not isinstance(length, int):
        raise TypeError(f"length must be an int, not {type(length).__name__}")
    if length not in _AES_BY_BYTES:
        raise ValueError(f"length must be 16, 24 or 32 bytes, not {length}")
    return int(length)


def chosen_algorithm(length: object, name: str | None) -> Algorithm:
    """The algorithm for a key that is yet to be made.

    Args:
        length: Its bytes; None for as many as the algorithm has, 32 without one.
        name: As for `algorithm_for`.

    Raises:
        TypeError, ValueError, SecureMemoryError: As there, and for what is not the length of a key.
    """
    if length is None:
        return AES_256 if name is None else _named(name)
    return algorithm_for(check_length(length), name, "length")
