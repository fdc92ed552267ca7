"""Keys from keys and from passwords: HKDF-SHA256 and Argon2id, against their vectors and other implementations."""

from __future__ import annotations

import json
import mmap
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroizepy._lib import lib
from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey, decrypt_data, encrypt_data
from zeroizepy.exceptions import CellWipedError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory, stats

if TYPE_CHECKING:
    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

VECTORS = Path(__file__).parent / "vectors"
LENGTHS = [16, 24, 32]
KEY = bytes(range(32))
SALT = bytes(range(16))
MIB = 1024 * 1024
WEAKEST = {"opslimit": 5, "memlimit": 7 * MIB}
"""The cheapest limits that are taken."""
keys = st.sampled_from(LENGTHS).flatmap(lambda length: st.binary(min_size=length, max_size=length))


# ---- HKDF ----


def hkdf_vectors() -> list[dict[str, bytes | int]]:
    """RFC 5869's test cases with SHA-256."""
    text = (VECTORS / "rfc_5869_hkdf_sha256.txt").read_text(encoding="ascii")
    found = []
    for block in text.split("COUNT")[1:]:
        fields = dict(re.findall(r"^(\w+) *= ?(\S*)$", block, re.MULTILINE))
        found.append({name: bytes.fromhex(fields[name]) for name in ("IKM", "salt", "info", "OKM")})
    return found


@pytest.mark.parametrize("number", range(3))
def test_hkdf_vectors(number: int) -> None:
    """RFC 5869, appendix A: with salt and info, with long ones, with neither."""
    vector: Any = hkdf_vectors()[number]
    ikm, salt, info, wanted = (vector[name] for name in ("IKM", "salt", "info", "OKM"))
    source, target = SecureMemory.from_bytes(ikm), SecureMemory(len(wanted))
    status = lib.zpy_derive_hkdf(
        source._handle, len(ikm), salt, len(salt), info, len(info), target._handle, len(wanted)
    )
    assert status == lib.ZPY_OK
    assert target.get_bytes() == wanted


@given(key=keys, context=st.binary(max_size=200), length=st.sampled_from(LENGTHS))
def test_derive_is_hkdf(key: bytes, context: bytes, length: int) -> None:
    """`cryptography` derives the same."""
    wanted = HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=context).derive(key)
    assert CryptoKey(key).derive(context, length).get_bytes() == wanted


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 255 * 32])
def test_hkdf_lengths(length: int) -> None:
    """Every number of blocks up to the last, whole and in part."""
    key, target = CryptoKey(KEY), SecureMemory(length)
    assert lib.zpy_derive_hkdf(key._handle, 32, b"", 0, b"", 0, target._handle, length) == lib.ZPY_OK
    hkdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=b"") if length else None
    assert target.get_bytes() == (hkdf.derive(KEY) if hkdf else b"")


def test_core_refuses_what_does_not_fit() -> None:
    """More than 255 blocks, more than the target holds, more of the key than there is; the target stays zero."""
    key, short, long = CryptoKey(KEY), SecureMemory(16), SecureMemory(255 * 32 + 1)
    for key_length, target, length in ((32, short, 17), (32, long, 255 * 32 + 1), (5000, short, 16)):
        status = lib.zpy_derive_hkdf(key._handle, key_length, b"", 0, b"", 0, target._handle, length)
        assert status == lib.ZPY_RANGE
        assert not any(target.get_bytes())


def test_derived_keys() -> None:
    """They work, in each tier; other contexts give other keys, that outlive the first; the name is not one of them."""
    key = CryptoKey(KEY)
    made = [key.derive(context, tier=tier) for context in (b"a", b"b") for tier in ("packed", "isolated", "sealed")]
    assert [it.protection.tier for it in made] == ["packed", "isolated", "sealed"] * 2
    assert len({it.key_id for it in made}) == 2
    assert key.key_id not in {it.get_bytes().hex() for it in made}
    assert key.derive(b"zeroizepy key id v1\0AES-256-GCM").get_bytes().hex() != key.key_id
    assert key.derive(b"a", ttl_sec=60).expires_in is not None
    key.destroy()
    assert decrypt_data(encrypt_data(b"message", made[0]), made[1]) == b"message"


@pytest.mark.parametrize("length", [0, 15, 33, 64, -1])
def test_derive_wrong_length(length: int) -> None:
    """Only lengths that are keys."""
    with pytest.raises(ValueError, match=rf"length must be 16, 24 or 32 bytes, not {length}$"):
        CryptoKey(KEY).derive(b"", length)


@pytest.mark.parametrize("context", ["text", None, 5])
def test_derive_wrong_context(context: Any) -> None:
    """TypeError names it."""
    with pytest.raises(TypeError, match="context must be"):
        CryptoKey(KEY).derive(context)


def test_derive_from_a_destroyed_key() -> None:
    """Refused, and nothing is left behind."""
    key = CryptoKey(KEY)
    key.destroy()
    before = stats().cells
    with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
        key.derive(b"")
    assert stats().cells == before


def test_derive_while_another_thread_destroys() -> None:
    """The right key or an error, never one that is made of zeros."""
    for _ in range(100):
        key, made, go = CryptoKey(KEY), [], threading.Barrier(2)
        wanted = CryptoKey(KEY).derive(b"context").get_bytes()

        def work(key: CryptoKey = key, made: list[bytes] = made, go: threading.Barrier = go) -> None:
            go.wait()
            with suppress(SecureMemoryClosed):
                while True:
                    made.append(key.derive(b"context").get_bytes())

        thread = threading.Thread(target=work)
        thread.start()
        go.wait()
        key.destroy()
        thread.join()
        assert set(made) <= {wanted}


# ---- Argon2id ----


@pytest.mark.parametrize("vector", json.loads((VECTORS / "argon2id_raw.json").read_text(encoding="ascii")))
def test_argon2id_vectors(vector: dict[str, Any]) -> None:
    """The reference implementation's, with 1 to 5 passes over 16 to 256 MiB."""
    assert (vector["construct"], vector["mode"]) == ("argon2id", "raw")
    password, salt, wanted = vector["passwd"].encode(), vector["salt"].encode(), bytes.fromhex(vector["pwhash"])
    target = SecureMemory(vector["dgst_len"])
    size = vector["maxmem"] * 1024
    assert lib.zpy_derive_password(password, len(password), salt, vector["iters"], size, target._handle) == lib.ZPY_OK
    assert target.get_bytes() == wanted


@settings(deadline=None, max_examples=10)
@given(password=st.binary(min_size=1, max_size=300), salt=st.binary(min_size=16, max_size=16))
def test_from_password_is_argon2id(password: bytes, salt: bytes) -> None:
    """`cryptography` makes the same key, at the weakest limits that are taken."""
    argon2 = pytest.importorskip("cryptography.hazmat.primitives.kdf.argon2", reason="needs cryptography 44")
    wanted = argon2.Argon2id(salt=salt, length=32, iterations=5, lanes=1, memory_cost=7 * 1024).derive(password)
    key = CryptoKey.from_password(password, salt=salt, **WEAKEST)
    assert key.get_bytes() == wanted
    assert key.salt == salt


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview, CypherCell, SecureMemory.from_bytes], ids=lambda make: make.__name__
)
def test_password_sources(make: Any) -> None:
    """Anything bytes-like and anything that lends its bytes."""
    wanted = CryptoKey.from_password(b"password", salt=SALT, **WEAKEST).get_bytes()
    assert CryptoKey.from_password(make(b"password"), salt=bytearray(SALT), **WEAKEST).get_bytes() == wanted


def test_salts_are_fresh() -> None:
    """Without one, each key has its own, and says which; given again it makes the key again, of any length and tier."""
    first, second = (CryptoKey.from_password(b"password", **WEAKEST) for _ in range(2))
    assert first.salt != second.salt
    assert first.get_bytes() != second.get_bytes()
    again = CryptoKey.from_password(b"password", salt=first.salt, tier="sealed", ttl_sec=60, **WEAKEST)
    assert again.get_bytes() == first.get_bytes()
    assert again.protection.tier == "sealed"
    assert again.expires_in is not None
    assert len(CryptoKey.from_password(b"password", length=16, **WEAKEST)) == 16
    assert CryptoKey(KEY).salt is None


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"opslimit": 0}, ValueError, "opslimit must be between"),
        ({"opslimit": 1 << 32}, ValueError, "opslimit must be between"),
        ({"opslimit": 2.0}, TypeError, "opslimit must be an int, not float"),
        ({"opslimit": True}, TypeError, "opslimit must be an int, not bool"),
        ({"memlimit": "64M"}, TypeError, "memlimit must be an int, not str"),
        ({"memlimit": -1}, ValueError, "too few against guessing"),
        ({"memlimit": 7 * MIB - 1, "opslimit": 100}, ValueError, "too few against guessing"),
        ({"memlimit": 19 * MIB, "opslimit": 1}, ValueError, "too few against guessing"),
        ({"memlimit": 1 << 60}, ValueError, "memlimit must be at most"),
        ({"salt": b""}, ValueError, "salt must be 16 bytes, not 0"),
        ({"salt": bytes(32)}, ValueError, "salt must be 16 bytes, not 32"),
        ({"salt": "salt" * 4}, TypeError, "salt must be"),
        ({"length": 20}, ValueError, "length must be 16, 24 or 32 bytes, not 20"),
        ({"tier": "heap"}, ValueError, "tier must be"),
        ({"ttl_sec": -1}, ValueError, "ttl_sec must be"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], error: type[Exception], says: str) -> None:
    """Named before the password is read: a cell that may be read once still can be."""
    cell = CypherCell(b"password", volatile=True)
    with pytest.raises(error, match=says):
        CryptoKey.from_password(cell, **wrong)
    assert cell.reveal() == "password"


@pytest.mark.parametrize("password", ["hunter2", None, 5], ids=lambda password: type(password).__name__)
def test_wrong_password_type(password: Any) -> None:
    """TypeError; a str hears what to do, and its text is not repeated."""
    remedy = r"pass CypherCell\(text\)" if isinstance(password, str) else ""
    with pytest.raises(TypeError, match=rf"password must be .*{type(password).__name__}.*{remedy}") as caught:
        CryptoKey.from_password(password, **WEAKEST)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("empty", [b"", CypherCell], ids=["bytes", "cell"])
def test_empty_password(empty: Any) -> None:
    """Refused."""
    with pytest.raises(ValueError, match=r"^password is empty$"):
        CryptoKey.from_password(empty if empty == b"" else empty(b""), **WEAKEST)


def test_a_wiped_password() -> None:
    """It raises what the cell raises, and no key is made."""
    cell = CypherCell(b"password")
    cell.wipe()
    before = stats().cells
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        CryptoKey.from_password(cell, **WEAKEST)
    assert stats().cells == before


def test_memory_that_cannot_be_had(child: Child) -> None:
    """MemoryError with the figure, no cell is left, and less memory still does."""
    program = """
import resource
from zeroizepy.crypto import CryptoKey
from zeroizepy.memory import stats
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
before = stats().cells
try:
    CryptoKey.from_password(b"password", memlimit=2 << 30)
except MemoryError as error:
    print(error)
assert stats().cells == before
print(len(CryptoKey.from_password(b"password", opslimit=5, memlimit=7 << 20)))
"""
    assert child.check(program) == "no memory for Argon2id with a memlimit of 2147483648 bytes\n32\n"


def test_a_password_longer_than_argon2id_takes() -> None:
    """Told by its length, before anything reads it: the 4 GiB here are pages that were never touched."""
    with (
        mmap.mmap(-1, 1 << 32) as long,
        pytest.raises(ValueError, match=r"4294967296 bytes; .* at most 4294967295"),
    ):
        CryptoKey.from_password(long, salt=SALT, **WEAKEST)
