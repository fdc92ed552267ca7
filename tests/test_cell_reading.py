"""Cells: reading and comparing them, and what bad input gets."""

from __future__ import annotations

import array
import gc
from typing import Any

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import CellWipedError
from zeroizepy.memory import SecureMemory, stats

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SECRET = b"correct horse battery staple"
SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 544, 4095, 4096, 4097, 8192, 100_000]
TIERS = ["packed", "isolated", "sealed"]


# ---- reading ----


@pytest.mark.parametrize("text", ["", "a", "ascii", "größe", "鍵と錠", "🔑" * 2000, "ß" * 3000, "x" * 9000, "a\0b"])
def test_reveal_round_trip(text: str) -> None:
    """UTF-8 text of every width comes back as the same str."""
    assert CypherCell(text).reveal() == text


def test_reveal_other_encoding() -> None:
    """Another codec can be named."""
    assert CypherCell("größe".encode("latin-1")).reveal("latin-1") == "größe"
    assert CypherCell("größe".encode("utf-16")).reveal("utf-16") == "größe"
    assert CypherCell("größe").reveal("UTF8") == "größe"


def test_reveal_unknown_encoding() -> None:
    """An unknown codec is a LookupError and costs no access."""
    cell = CypherCell(SECRET, volatile=True)
    with pytest.raises(LookupError, match=r"no-such-codec"):
        cell.reveal("no-such-codec")
    assert cell.reveal() == SECRET.decode()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"ok\x80",
        b"\xc3",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xe2\x82",
    ],
)
def test_reveal_invalid_utf8(data: bytes) -> None:
    """Overlong forms, surrogates, stray and missing continuation bytes: refused, and the access is not counted."""
    cell = CypherCell(data, volatile=True)
    with pytest.raises(ValueError, match=r"^Invalid UTF-8$"):
        cell.reveal()
    assert cell.reveal_bytes() == data


@pytest.mark.parametrize(
    ("text", "suffix_len", "mask", "expected"),
    [
        ("SK-7721-9904-1234", 4, "*", "*************1234"),
        ("abcdef", 0, "*", "******"),
        ("abcdef", 5, "*", "*bcdef"),
        ("abcdef", 6, "*", "******"),
        ("abcdef", 7, "*", "******"),
        ("abcd", 4, "*", "****"),
        ("", 4, "*", ""),
        ("abcdef", 2, "•", "••••ef"),
        ("größe鍵", 2, "*", "****e鍵"),
        ("🔑🔒🔓", 1, "#", "##🔓"),
    ],
)
def test_reveal_masked(text: str, suffix_len: int, mask: str, expected: str) -> None:
    """As many characters as the secret has, and everything masked when the suffix would be the whole."""
    cell = CypherCell(text)
    assert cell.reveal_masked(suffix_len, mask) == expected
    assert len(expected) == len(text)
    assert not cell.wiped


def test_reveal_masked_default() -> None:
    """Four characters and asterisks unless said otherwise."""
    assert CypherCell("SK-7721-9904-1234").reveal_masked() == "*************1234"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "suffix_len must not be negative, not -1"),
        ((1.0,), TypeError, "suffix_len must be an int, not float"),
        ((True,), TypeError, "suffix_len must be an int, not bool"),
        ((4, ""), ValueError, "mask must be one character, not 0"),
        ((4, "**"), ValueError, "mask must be one character, not 2"),
        ((4, b"*"), TypeError, "mask must be str, not bytes"),
    ],
)
def test_reveal_masked_bad_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    """Each argument is named with what was given."""
    with pytest.raises(error, match=message):
        CypherCell("abcdefgh").reveal_masked(*arguments)


def test_reveal_masked_invalid_utf8() -> None:
    """Bytes that are no text have no characters to show."""
    with pytest.raises(ValueError, match=r"^Invalid UTF-8$"):
        CypherCell(b"\xff\xfe\xfd\xfc\xfb").reveal_masked()


def test_borrow_is_read_only() -> None:
    """The lent view cannot be written to."""
    cell = CypherCell(SECRET)
    with cell.borrow() as view:
        assert view.readonly
        assert view.format == "B"
        with pytest.raises(TypeError):
            view[0] = 0
    assert cell.verify(SECRET)


@pytest.mark.parametrize("tier", TIERS)
def test_borrow_ends(tier: str) -> None:
    """After the block the view itself is released."""
    cell = CypherCell(SECRET, tier=tier)
    with cell.borrow() as view:
        pass
    with pytest.raises(ValueError, match=r"released"):
        bytes(view)
    assert stats().pinned == 0


@pytest.mark.parametrize("tier", TIERS)
def test_borrow_nests(tier: str) -> None:
    """Several views at once, ended in any order."""
    cell = CypherCell(SECRET, tier=tier)
    first, second = cell.borrow(), cell.borrow()
    with first as one:
        two = second.__enter__()
        assert bytes(one) == bytes(two) == SECRET
    assert bytes(two) == SECRET
    second.__exit__(None, None, None)
    assert cell.verify(SECRET)


def test_one_borrow_is_one_block() -> None:
    """A borrow that is open cannot be entered again; afterwards it can."""
    cell = CypherCell(SECRET)
    borrow = cell.borrow()
    with borrow, pytest.raises(RuntimeError, match=r"already open"):
        borrow.__enter__()
    for _ in range(2):
        with borrow as view:
            assert bytes(view) == SECRET


@pytest.mark.parametrize("tier", TIERS)
def test_slice_outlives_the_block(tier: str) -> None:
    """A slice stays valid after the block, reads zeros from the wipe on, and pins its slot until it is gone."""
    cell = CypherCell(SECRET, tier=tier)
    with cell.borrow() as view:
        part = view[2:9]
    assert bytes(part) == SECRET[2:9]
    cell.wipe()
    assert bytes(part) == bytes(7)
    assert stats().pinned == 1
    others = [CypherCell(b"\xaa" * len(SECRET), tier=tier) for _ in range(300)]
    assert bytes(part) == bytes(7)
    del part, others
    gc.collect()
    assert stats().pinned == 0


def test_slice_outlives_the_object() -> None:
    """Deleting the cell wipes it under a view that is still there."""
    cell = CypherCell(SECRET)
    with cell.borrow() as view:
        part = view[:]
    del cell, view
    gc.collect()
    assert bytes(part) == bytes(len(SECRET))
    del part


def test_copy_into() -> None:
    """The secret stands at the start of the buffer, the rest is left alone, and its length is returned."""
    buffer = bytearray(b"\xee" * 40)
    assert CypherCell(SECRET).copy_into(buffer) == len(SECRET)
    assert buffer == SECRET + b"\xee" * (40 - len(SECRET))


def test_copy_into_secure_memory() -> None:
    """A writable view of secure memory is a buffer too."""
    memory = SecureMemory(64)
    with memory.borrow(writable=True) as view:
        assert CypherCell(SECRET).copy_into(view) == len(SECRET)
    assert memory.read(len(SECRET)) == SECRET


@pytest.mark.parametrize(
    ("buffer", "error", "message"),
    [
        (bytearray(27), ValueError, "buffer of 27 bytes is too short for 28"),
        (bytes(40), TypeError, "buffer must be writable; bytes is not"),
        (memoryview(bytes(40)), TypeError, "buffer must be writable; memoryview is not"),
        (memoryview(bytearray(80))[::2], TypeError, "buffer must be a contiguous bytes-like object"),
        ("text", TypeError, "buffer must be a contiguous bytes-like object, not str"),
        (None, TypeError, "buffer must be a contiguous bytes-like object, not NoneType"),
    ],
)
def test_copy_into_bad_buffer(buffer: Any, error: type[Exception], message: str) -> None:
    """Refused before anything is copied, and no access is counted."""
    before = bytes(buffer) if isinstance(buffer, bytearray) else None
    cell = CypherCell(SECRET, volatile=True)
    with pytest.raises(error, match=message):
        cell.copy_into(buffer)
    assert before is None or bytes(buffer) == before
    assert cell.reveal_bytes() == SECRET


# ---- comparing ----


@pytest.mark.parametrize(
    "other",
    [SECRET, bytearray(SECRET), memoryview(SECRET), array.array("B", SECRET), SECRET.decode()],
    ids=lambda other: type(other).__name__,
)
def test_verify_accepts(other: Any) -> None:
    """Anything with bytes, and str as UTF-8."""
    assert CypherCell(SECRET).verify(other) is True


@pytest.mark.parametrize(
    "other", [b"", SECRET[:-1], SECRET + b"\0", bytes(len(SECRET)), SECRET[:-1] + b"E", "", "größe"]
)
def test_verify_refuses(other: Any) -> None:
    """Another length or one other byte."""
    assert CypherCell(SECRET).verify(other) is False


def test_verify_other_secrets() -> None:
    """A cell, memory or key can be compared with; looking at a volatile cell is not an access to it."""
    cell = CypherCell(SECRET)
    other = CypherCell(SECRET, volatile=True)
    assert cell.verify(other)
    assert other.reveal_bytes() == SECRET
    assert cell.verify(SecureMemory.from_bytes(SECRET))
    assert not cell.verify(CryptoKey(bytes(32)))


@pytest.mark.parametrize("other", [None, 5, ["a"]], ids=lambda other: type(other).__name__)
def test_verify_wrong_type(other: Any) -> None:
    """TypeError names the argument."""
    with pytest.raises(TypeError, match=r"other must be a contiguous bytes-like object"):
        CypherCell(SECRET).verify(other)


def test_verify_is_false_once_wiped() -> None:
    """Even against what a wiped cell holds: zeros or nothing."""
    cell = CypherCell(bytes(8))
    assert cell.verify(bytes(8))
    cell.wipe()
    assert cell.verify(bytes(8)) is False
    assert cell.verify(b"") is False
    empty = CypherCell(b"")
    assert empty.verify(b"")
    empty.wipe()
    assert empty.verify(b"") is False


def test_compare() -> None:
    """Equal content, other content, other length; and with itself."""
    cell = CypherCell(SECRET)
    assert cell.compare(CypherCell(SECRET, tier="isolated")) is True
    assert cell.compare(CypherCell(SECRET[:-1] + b"E")) is False
    assert cell.compare(CypherCell(SECRET[:-1])) is False
    assert cell.compare(cell) is True


def test_compare_raises_once_either_is_wiped() -> None:
    """The message of a wiped cell, whichever of the two it is."""
    cell, gone = CypherCell(SECRET), CypherCell(SECRET)
    gone.wipe()
    for left, right in ((cell, gone), (gone, cell), (gone, gone)):
        with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
            left.compare(right)


@pytest.mark.parametrize("other", [SECRET, None, SecureMemory], ids=["bytes", "None", "type"])
def test_compare_wrong_type(other: Any) -> None:
    """Only cells."""
    with pytest.raises(TypeError, match=r"other_cell must be a CypherCell, not"):
        CypherCell(SECRET).compare(other)


def test_equality() -> None:
    """== compares content of live cells, is False with a wiped one, and knows no other type."""
    cell, same, other = CypherCell(SECRET), CypherCell(SECRET), CypherCell(b"x")
    assert cell == same
    assert cell != other
    assert cell != SECRET
    assert cell.__eq__(SECRET) is NotImplemented
    same.wipe()
    assert cell != same


def test_not_hashable() -> None:
    """A hash would be a fingerprint of the content, or lie about equality."""
    with pytest.raises(TypeError, match=r"unhashable type: 'CypherCell'"):
        hash(CypherCell(SECRET))


@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 40])
def test_the_core_says_how_long_a_secret_is(size: int) -> None:
    """What somebody sets the private attribute to lets no text reach into the slots behind, nor lose a part."""
    cell, _neighbour = CypherCell(b"first"), CypherCell(b"second")
    cell._size = size
    assert cell.reveal_masked(2) == "***st"
    assert cell.reveal("latin-1") == cell.reveal() == "first"
