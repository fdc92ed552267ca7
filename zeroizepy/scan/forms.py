"""The forms in which a secret may lie around, derived from slot to slot.

Each byte passes through Python as an int below 257, of which CPython keeps one object each: nothing of the secret is
left on the heap.
"""

from __future__ import annotations

import sys

from zeroizepy.memory import SecureMemory

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["derived"]

_HEX_DIGITS = (b"0123456789abcdef", b"0123456789ABCDEF")
_BASE64_COMMON = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BASE64_ALPHABETS = (_BASE64_COMMON + b"+/", _BASE64_COMMON + b"-_")


def derived(secret: memoryview, form: str) -> list[SecureMemory]:
    """The texts that `form` stands for, each in locked memory of its own.

    Args:
        secret: Bytes in a slot.
        form: One of `FORMS`.

    Raises:
        ValueError: Another form.
        LockLimitError: As `SecureMemory`.
    """
    if form not in _WRITERS:
        raise ValueError(f"form must be one of {', '.join(_WRITERS)}, not {form!r}")
    return [_stored(size, writer(secret)) for size, writer in _WRITERS[form](len(secret))]


def _stored(size: int, values: Iterable[int]) -> SecureMemory:
    memory = SecureMemory(size)
    with memory.borrow(writable=True) as view:
        for at, value in enumerate(values):
            view[at] = value
    return memory


if TYPE_CHECKING:
    _Writer = Callable[[memoryview], Iterable[int]]
    _Plan = list[tuple[int, _Writer]]


def _raw(size: int) -> _Plan:
    return [(size, iter)]


def _wide(width: int) -> Callable[[int], _Plan]:
    """Latin-1 characters of `width` bytes each."""

    def write(secret: memoryview) -> Iterator[int]:
        for byte in secret:
            for place in range(width):
                yield byte if place == (0 if sys.byteorder == "little" else width - 1) else 0

    return lambda size: [(size * width, write)]


def _hex(size: int) -> _Plan:
    return [(2 * size, _hex_writer(digits)) for digits in _HEX_DIGITS]


def _hex_writer(digits: bytes) -> _Writer:
    def write(secret: memoryview) -> Iterator[int]:
        for byte in secret:
            yield digits[byte >> 4]
            yield digits[byte & 15]

    return write


def _base64(size: int) -> _Plan:
    """Three texts for each alphabet: the secret begins `phase` bytes into a group of three bytes."""
    plan: _Plan = []
    for alphabet in _BASE64_ALPHABETS:
        for phase in range(3):
            skipped = -(-8 * phase // 6) * 6 - 8 * phase  # Bits of a character that another byte begins.
            plan.append(((8 * size - skipped) // 6, _base64_writer(alphabet, skipped)))
    return plan


def _base64_writer(alphabet: bytes, skipped_bits: int) -> _Writer:
    def write(secret: memoryview) -> Iterator[int]:
        for bit in range(skipped_bits, 8 * len(secret) - 5, 6):
            first, shift = divmod(bit, 8)
            sextet = secret[first] << shift & 0xFF
            if shift > 2:
                sextet |= secret[first + 1] >> (8 - shift)
            yield alphabet[sextet >> 2]

    return write


_WRITERS = {"raw": _raw, "utf-16": _wide(2), "utf-32": _wide(4), "hex": _hex, "base64": _base64}
