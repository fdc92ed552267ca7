"""The canary: what it is, the forms that it is looked for in, and how what it handed out is taken back."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import CellWipedError, CypherCell, SecureMemory
from zeroizepy.testing import (
    FORMS,
    Canary,
    ResidueError,
    assert_no_residue,
    scan_process,
)

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")


def failure_of(leak: Callable[[Canary], object], **options: Any) -> ResidueError:
    """The error of a check during which a function ran, whose result was kept."""
    with Canary(**options) as canary:
        kept = None
        with pytest.raises(ResidueError) as caught, assert_no_residue(canary):
            kept = leak(canary)
        assert kept is not None
        assert not canary.is_in(str(caught.value))
        return caught.value


# ---- the canary ----


def test_canary_is_in_no_ordinary_memory() -> None:
    """A canary that was not handed out is nowhere, in none of its forms."""
    with Canary() as canary:
        assert [hit for hit in scan_process(canary) if not hit.protected] == []


def test_canary_is_found_where_it_was_handed_out() -> None:
    """The control of the test above: the same scan finds one str."""
    with Canary() as canary:
        text = canary.reveal()
        hits = [hit for hit in scan_process(canary) if not hit.protected]
        assert [(hit.form, hit.part) for hit in hits] == [("raw", "whole")]
        del text


def test_canaries_differ_and_are_plain_text() -> None:
    """Letters, digits, "-" and "_": the same bytes as str, bytes and bytearray."""
    with Canary(64) as first, Canary(64) as second:
        assert len(first) == 64
        assert first.reveal().encode() == first.reveal_bytes() == bytes(first.reveal_bytearray())
        assert first.reveal() != second.reveal()
        assert set(first.reveal()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_canary_tells_nothing() -> None:
    """No text form, no copy, no pickle."""
    with Canary() as canary:
        assert repr(canary) == f"{canary}" == "<Canary: [REDACTED]>"
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle 'Canary' object"):
                attempt(canary)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"size": 23}, ValueError, "size must be 24 to 4096, not 23"),
        ({"size": 4097}, ValueError, "size must be 24 to 4096, not 4097"),
        ({"size": "48"}, TypeError, "size must be an int, not str"),
        ({"forms": "raw"}, TypeError, "not the str 'raw'"),
        ({"forms": ["raw", "rot13"]}, ValueError, "forms may hold raw, utf-16, utf-32, hex, base64"),
        ({"forms": []}, ValueError, "at least one form"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each is named."""
    with pytest.raises(error, match=text):
        Canary(**options)


def test_closed_canary() -> None:
    """A check on a canary that is gone is an error, not an empty answer."""
    canary = Canary()
    canary.close()
    canary.close()
    for use in (canary.reveal, canary.reveal_bytes, canary.reveal_bytearray, lambda: scan_process(canary)):
        with pytest.raises(CellWipedError):
            use()
    with pytest.raises(CellWipedError):
        assert_no_residue(canary)


def test_is_in() -> None:
    """A text that holds the secret, in a form, is recognised; another is not."""
    with Canary() as canary:
        text = canary.reveal()
        assert canary.is_in(f"password={text};")
        assert canary.is_in(f"{text}".encode().hex())
        assert canary.is_in(bytearray(base64.b64encode(b"user:" + text.encode())))
        assert canary.is_in(b"..." + text[-16:].encode())
        assert not canary.is_in(text[:-1])
        assert not canary.is_in("")
        with pytest.raises(TypeError, match="contiguous bytes-like"):
            canary.is_in(5)  # type: ignore[arg-type]


def test_write_to() -> None:
    """The secret goes through a descriptor and leaves nothing behind here."""
    reader, writer = os.pipe()
    with Canary() as canary:
        with assert_no_residue(canary):
            assert canary.write_to(writer) == 48
        os.close(writer)
        received = CypherCell.from_fd(reader, 48)
        os.close(reader)
        assert received.verify(canary.reveal())
        with pytest.raises(OSError, match="canary could not be written: Bad file descriptor"):
            canary.write_to(writer)


# ---- forms ----

LEAKS: dict[str, tuple[Callable[[Canary], object], str]] = {
    "str": (lambda canary: "password " + canary.reveal(), "raw"),
    "bytes": (lambda canary: b"password " + canary.reveal_bytes(), "raw"),
    "bytearray": (lambda canary: canary.reveal_bytearray(), "raw"),
    "str of two bytes": (lambda canary: "Ω" + canary.reveal(), "utf-16"),
    "str of four bytes": (lambda canary: "🔑" + canary.reveal(), "utf-32"),
    "hex": (lambda canary: canary.reveal_bytes().hex(), "hex"),
    "HEX": (lambda canary: canary.reveal_bytes().hex().upper(), "hex"),
    "base64": (lambda canary: base64.b64encode(canary.reveal_bytes()), "base64"),
    "base64 one on": (lambda canary: base64.b64encode(b"u" + canary.reveal_bytes() + b"!"), "base64"),
    "base64 two on": (lambda canary: base64.b64encode(b"u:" + canary.reveal_bytes()), "base64"),
    "base64 for URLs": (lambda canary: base64.urlsafe_b64encode(b"user" + canary.reveal_bytes()), "base64"),
}


@pytest.mark.parametrize("name", LEAKS)
@pytest.mark.parametrize("size", [24, 49])
def test_form_is_found(name: str, size: int) -> None:
    """A kept copy fails the check, in the form that it has."""
    leak, form = LEAKS[name]
    error = failure_of(leak, size=size)
    assert form in {hit.form for hit in error.report.hits if hit.part == "whole"}
    assert f"whole, {form}: " in str(error)


ALIKE: dict[str, tuple[bytes, Callable[[bytes], bytes], str]] = {
    "hex": (b"jklmnojk", lambda data: data.hex().encode(), "hex"),
    "HEX": (b"jklmnojk", lambda data: data.hex().upper().encode(), "hex"),
    "base64": (b"~~~???>>>", base64.b64encode, "base64"),
    "base64 for URLs": (b"~~~???>>>", base64.urlsafe_b64encode, "base64"),
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("phase", range(3))
def test_tails_that_two_alphabets_write_alike(name: str, phase: int) -> None:
    """A copy whose last 16 bytes look the same in the other alphabet is a whole one all the same."""
    head, encode, form = ALIKE[name]
    secret = b"x" * phase + head + b"0123456789012345"
    kept = encode(b"u:" + secret)
    with pytest.raises(ResidueError) as caught, assert_no_residue(secret, forms=[form]):
        pass
    assert caught.value.report is not None
    assert "whole" in {hit.part for hit in caught.value.report.hits}
    assert kept


def test_form_is_looked_for_on_request_alone() -> None:
    """The control of `forms`: hex is not found where it was not asked for."""
    with Canary(forms=["raw"]) as canary:
        kept = canary.reveal_bytes().hex()
        with assert_no_residue(canary):
            pass
        assert kept


@pytest.mark.parametrize("alphabet", [b"+/", b"-_"])
def test_every_byte_value_in_base64(alphabet: bytes) -> None:
    """All 256 byte values, in each of the three places of a group, against Python's own encoder."""
    secret = SecureMemory.from_bytes(bytes(range(256)))
    for phase in range(3):
        kept = base64.b64encode(b"x" * phase + bytes(range(256)) + b"yz", altchars=alphabet)
        with pytest.raises(ResidueError) as caught, assert_no_residue(secret, forms=["base64"], tail=False):
            pass
        assert kept[4:-4].isascii()
        assert {hit.part for hit in caught.value.report.hits} == {"whole"}


def test_tail_is_found() -> None:
    """The last 16 bytes alone are a copy: freed memory loses its head."""
    error = failure_of(lambda canary: canary.reveal()[-17:])
    assert [hit.part for hit in error.report.hits] == ["tail"]
    assert "its last 16 bytes, raw: " in str(error)


def test_tail_is_looked_for_on_request_alone() -> None:
    """The control of `tail`."""
    with Canary(tail=False) as canary:
        kept = canary.reveal()[-17:]
        with assert_no_residue(canary):
            pass
        assert kept


# ---- what was handed out ----


def test_what_nobody_holds_is_taken_back() -> None:
    """str and bytes that were used and dropped do not count: no Python code could have wiped them."""
    with Canary() as canary, assert_no_residue(canary) as check:
        assert len(canary.reveal()) == len(canary.reveal_bytes())
    assert check.report is not None
    assert check.report.hits == () or all(hit.protected for hit in check.report.hits)


@pytest.mark.parametrize("kind", ["reveal", "reveal_bytes"])
def test_what_is_still_referred_to_is_named(kind: str) -> None:
    """The error says that the object lives, and in what."""
    error = failure_of(lambda canary: [getattr(canary, kind)()])
    name = "str" if kind == "reveal" else "bytes"
    assert f"a {name} that was handed out is still referred to once, from list" in str(error)
    assert len(error.report.hits) == 1


def test_reference_in_a_cycle_is_collected() -> None:
    """An object that only garbage refers to is not a leak."""
    with Canary() as canary, assert_no_residue(canary):
        cycle: list[Any] = [canary.reveal()]
        cycle.append(cycle)
        del cycle


def test_bytearray_is_the_codes_to_clear() -> None:
    """A bytearray that was cleared passes."""
    with Canary() as canary, assert_no_residue(canary):
        cell = CypherCell(canary.reveal_bytearray(), wipe_source=True)
        cell.wipe()


def test_forms_are_documented() -> None:
    """Each form of the table can be asked for by itself."""
    for form in FORMS:
        with Canary(forms=[form]) as canary:
            assert canary.forms == (form,)
