"""Keys encrypted under keys and passwords, and the files that hold them."""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import assume, given
from hypothesis import strategies as st

from zeroizepy import durable
from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey, decrypt_data, encrypt_data
from zeroizepy.exceptions import CellWipedError, DecryptionError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory, stats

if TYPE_CHECKING:
    from pathlib import Path

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

LENGTHS = [16, 24, 32]
KEY = bytes(range(32))
OTHER = bytes(range(32, 64))
MIB = 1024 * 1024
WEAKEST = {"opslimit": 5, "memlimit": 7 * MIB}
keys = st.sampled_from(LENGTHS).flatmap(lambda length: st.binary(min_size=length, max_size=length))


def open_elsewhere(blob: bytes, wrapping_key: bytes) -> bytes:
    """docs/key-files.md, carried out by `cryptography`."""
    magic, version, kind, number, zero, passes, size, password_salt = struct.unpack(">8s4BIQ16s", blob[:40])
    assert (magic, version, zero) == (b"zpy-key\0", 1, 0)
    assert len(blob) == 104 + {1: 16, 2: 24, 3: 32}[number] + 16
    if kind == 2:
        argon2 = Argon2id(salt=password_salt, length=32, iterations=passes, lanes=1, memory_cost=size // 1024)
        wrapping_key = argon2.derive(wrapping_key)
    else:
        assert (kind, passes, size, password_salt) == (1, 0, 0, bytes(16))
    info = b"zeroizepy key wrap v1\0" + blob[:40]
    made = HKDF(algorithm=hashes.SHA256(), length=64, salt=blob[40:72], info=info).derive(wrapping_key)
    assert blob[72:104] == made[32:]
    return ChaCha20Poly1305(made[:32]).decrypt(bytes(12), blob[104:], None)


# ---- wrap ----


@pytest.mark.parametrize("length", LENGTHS)
def test_no_key_wraps_itself(tmp_path: Path, length: int) -> None:
    """Only the key itself would open that: refused for the object and for another one with the same key."""
    key = CryptoKey(KEY[:length])
    says = r"key [0-9a-f]{64} must not wrap itself, .*; pass another wrapping key"
    others = [CryptoKey(KEY, algorithm="XChaCha20-Poly1305")] if length == 32 else []
    for same in (key, CryptoKey(KEY[:length]), *others):
        with pytest.raises(ValueError, match=says):
            key.wrap(same)
        with pytest.raises(ValueError, match=says):
            key.wrap(same, format="aes-kwp")
        with pytest.raises(ValueError, match=says):
            key.save(tmp_path / "key", wrapping_key=same)
    assert os.listdir(tmp_path) == []


@given(key=keys, wrapping_key=st.binary(min_size=32, max_size=32))
def test_wrapped_as_documented(key: bytes, wrapping_key: bytes) -> None:
    """Whoever follows the document opens it, and so does unwrap."""
    assume(key != wrapping_key)
    outer = CryptoKey(wrapping_key)
    blob = outer.wrap(CryptoKey(key))
    assert open_elsewhere(blob, wrapping_key) == key
    opened = CryptoKey.unwrap(blob, outer)
    assert opened.get_bytes() == key


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_tiers(tier: Any) -> None:
    """Keys of each tier wrap and are wrapped; the new one has the tier and deadline that were asked for."""
    outer, inner = CryptoKey(KEY, tier=tier), CryptoKey(OTHER, tier=tier)
    before = stats().cells
    opened = CryptoKey.unwrap(bytearray(outer.wrap(inner)), outer, tier=tier, ttl_sec=60)
    assert stats().cells == before + 1
    assert opened.protection.tier == tier
    assert opened.expires_in is not None
    assert decrypt_data(encrypt_data(b"message", inner), opened) == b"message"


def test_never_the_same_twice() -> None:
    """Salt, commitment and ciphertext are new each time."""
    outer, inner = CryptoKey(KEY), CryptoKey(OTHER)
    blobs = [outer.wrap(inner) for _ in range(50)]
    for start, stop in ((40, 72), (72, 104), (104, 152)):
        assert len({blob[start:stop] for blob in blobs}) == 50


@pytest.mark.parametrize("outer", LENGTHS)
@pytest.mark.parametrize("inner", LENGTHS)
def test_no_weaker_wrapping_key(outer: int, inner: int) -> None:
    """A shorter key does not wrap a longer one."""
    wrapping_key, key = CryptoKey(KEY[:outer]), CryptoKey(OTHER[:inner])
    if outer < inner:
        with pytest.raises(ValueError, match=rf"a key of {outer} bytes must not wrap one of {inner}"):
            wrapping_key.wrap(key)
    else:
        assert CryptoKey.unwrap(wrapping_key.wrap(key), wrapping_key).get_bytes() == OTHER[:inner]


def test_wrong_key() -> None:
    """A key of the same length fails at the commitment, even if the rest is made to fit."""
    blob = CryptoKey(KEY).wrap(CryptoKey(OTHER))
    for wrong in (CryptoKey(OTHER), CryptoKey(KEY[:16]), CryptoKey.generate()):
        with pytest.raises(DecryptionError, match="wrong wrapping key, or the first 104 bytes"):
            CryptoKey.unwrap(blob, wrong)


def test_every_flipped_bit() -> None:
    """Refused, whichever of the 1216 it is, and no cell is left."""
    outer = CryptoKey(KEY)
    blob = outer.wrap(CryptoKey(OTHER))
    before = stats().cells
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        says = "was changed" if bit >= 8 * 104 else r"wrong wrapping key|wrapped key|damaged|truncated|behind"
        with pytest.raises(DecryptionError, match=says):
            CryptoKey.unwrap(changed, outer)
    assert stats().cells == before


@pytest.mark.parametrize("length", LENGTHS)
def test_every_truncation(length: int) -> None:
    """Told apart from what is no wrapped key at all; one byte more is refused too."""
    outer = CryptoKey(KEY)
    blob = outer.wrap(CryptoKey(OTHER[:length]))
    for size in range(1, len(blob)):
        with pytest.raises(DecryptionError, match=r"^blob: is truncated"):
            CryptoKey.unwrap(blob[:size], outer)
    for foreign in (b"", b"PEM", os.urandom(152)):
        with pytest.raises(DecryptionError, match=r"^blob: is no wrapped key"):
            CryptoKey.unwrap(foreign, outer)
    with pytest.raises(DecryptionError, match=r"^blob: has something behind its end"):
        CryptoKey.unwrap(blob + b"\0", outer)
    with pytest.raises(DecryptionError, match="of version 2; this zeroizepy reads version 1"):
        CryptoKey.unwrap(blob[:8] + b"\2" + blob[9:], outer)


@pytest.mark.parametrize("wrong", [KEY, None, "key", CypherCell], ids=["bytes", "None", "str", "cell"])
def test_wrong_types(wrong: Any) -> None:
    """Keys are CryptoKeys; a blob is bytes-like."""
    key = CryptoKey(KEY)
    blob = key.wrap(CryptoKey(OTHER))
    with pytest.raises(TypeError, match="key must be a CryptoKey"):
        key.wrap(wrong)
    with pytest.raises(TypeError, match="wrapping_key must be a CryptoKey"):
        CryptoKey.unwrap(blob, wrong)
    with pytest.raises(TypeError, match="blob must be"):
        CryptoKey.unwrap(wrong if wrong != KEY else 5, key)


def test_destroyed_keys() -> None:
    """Neither wraps, is wrapped, nor unwraps."""
    live, dead = CryptoKey(KEY), CryptoKey(OTHER)
    blob = dead.wrap(live)
    dead.destroy()
    for use in (lambda: dead.wrap(live), lambda: live.wrap(dead)):
        with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
            use()
    with pytest.raises(SecureMemoryClosed, match=r"^wrapping key is closed$"):
        CryptoKey.unwrap(blob, dead)


# ---- files ----


@pytest.mark.parametrize("length", LENGTHS)
def test_save_with_a_wrapping_key(tmp_path: Path, length: int) -> None:
    """The file is what wrap makes, of mode 600 whatever the umask is, and load opens it."""
    path, outer = tmp_path / "key", CryptoKey(KEY)
    mask = os.umask(0)
    try:
        CryptoKey(OTHER[:length]).save(path, wrapping_key=outer)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == ["key"]
    assert open_elsewhere(path.read_bytes(), KEY) == OTHER[:length]
    loaded = CryptoKey.load(os.fsencode(path), wrapping_key=outer, tier="sealed", ttl_sec=60)
    assert loaded.get_bytes() == OTHER[:length]
    assert loaded.protection.tier == "sealed"
    assert loaded.expires_in is not None
    assert CryptoKey.unwrap(path.read_bytes(), outer).key_id == loaded.key_id


@pytest.mark.parametrize("make", [bytes, CypherCell, SecureMemory.from_bytes], ids=["bytes", "cell", "memory"])
def test_save_with_a_password(tmp_path: Path, make: Any) -> None:
    """Whoever follows the document opens it, load does, and another password does not; no cell is left on the way."""
    path, key = tmp_path / "key", CryptoKey(OTHER)
    password, wrong = make(b"password"), make(b"Password")
    before = stats().cells
    key.save(str(path), password=password, **WEAKEST)
    assert open_elsewhere(path.read_bytes(), b"password") == OTHER
    with pytest.raises(DecryptionError, match=r"^wrong password, or the first 104 bytes"):
        CryptoKey.load(path, password=wrong)
    assert stats().cells == before
    assert CryptoKey.load(path, password=password).get_bytes() == OTHER
    with pytest.raises(ValueError, match="blob: is encrypted with a password"):
        CryptoKey.unwrap(path.read_bytes(), key)


def test_each_save_has_its_own_salts(tmp_path: Path) -> None:
    """The same password gives another wrapping key each time."""
    for name in ("first", "second"):
        CryptoKey(OTHER).save(tmp_path / name, password=b"password", **WEAKEST)
    first, second = ((tmp_path / name).read_bytes() for name in ("first", "second"))
    assert first[:24] == second[:24]
    assert first[24:40] != second[24:40]
    assert first[40:72] != second[40:72]


def test_existing_files(tmp_path: Path) -> None:
    """Left alone unless overwrite is asked for, which replaces a link and not what it points to."""
    path, outer, key = tmp_path / "key", CryptoKey(KEY), CryptoKey(OTHER)
    path.write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(path)
    for taken in (path, link):
        with pytest.raises(FileExistsError):
            key.save(taken, wrapping_key=outer)
    assert path.read_bytes() == b"precious"
    key.save(link, wrapping_key=outer, overwrite=True)
    assert path.read_bytes() == b"precious"
    assert not link.is_symlink()
    key.save(path, wrapping_key=outer, overwrite=True)
    assert CryptoKey.load(path, wrapping_key=outer).get_bytes() == OTHER
    assert sorted(os.listdir(tmp_path)) == ["key", "link"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Neither a folder in the way nor a missing one leaves a temporary file; a refused key makes no file."""
    outer, key = CryptoKey(KEY), CryptoKey(OTHER)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        key.save(tmp_path / "folder", wrapping_key=outer, overwrite=True)
    with pytest.raises(FileNotFoundError):
        key.save(tmp_path / "missing" / "key", wrapping_key=outer)
    key.destroy()
    for given_with in ({"wrapping_key": outer}, {"password": b"password", **WEAKEST}):
        with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
            key.save(tmp_path / "key", **given_with)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_taken_name_is_told_first(tmp_path: Path) -> None:
    """Neither the password's one read nor Argon2id's time is spent for a file that cannot be made."""
    (tmp_path / "link").symlink_to("nowhere")
    password = CypherCell("password", volatile=True)
    with pytest.raises(FileExistsError) as caught:
        CryptoKey(KEY).save(tmp_path / "link", password=password)
    assert caught.value.filename == str(tmp_path / "link")
    assert not password.wiped
    CryptoKey(KEY).save(tmp_path / "key", password=password, **WEAKEST)
    assert password.wiped


def test_replacing_a_long_name(tmp_path: Path) -> None:
    """Whatever name a file can have, it can be replaced."""
    path, outer = tmp_path / ("k" * 255), CryptoKey(KEY)
    CryptoKey(KEY[::-1]).save(path, wrapping_key=outer)
    CryptoKey(OTHER).save(path, wrapping_key=outer, overwrite=True)
    assert CryptoKey.load(path, wrapping_key=outer).get_bytes() == OTHER


def test_replacing_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the new file is made durable leaves the old one, and no other."""
    path, outer = tmp_path / "key", CryptoKey(KEY)
    CryptoKey(KEY[::-1]).save(path, wrapping_key=outer)
    before = path.read_bytes()

    def interrupt(_path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "sync_directory", interrupt)
    with pytest.raises(KeyboardInterrupt):
        CryptoKey(OTHER).save(path, wrapping_key=outer, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["key"]


def test_an_error_names_the_key_file(tmp_path: Path) -> None:
    """Not a temporary one that the user never heard of."""
    (tmp_path / "key").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        CryptoKey(OTHER).save(tmp_path / "key", wrapping_key=CryptoKey(KEY), overwrite=True)
    assert str(caught.value).endswith(f"Is a directory: {str(tmp_path / 'key')!r}")


def test_files_of_others(tmp_path: Path) -> None:
    """A mode that lets others in, a link, a folder and a FIFO are refused by name."""
    path, outer = tmp_path / "key", CryptoKey(KEY)
    CryptoKey(OTHER).save(path, wrapping_key=outer)
    for mode in (0o640, 0o604, 0o610, 0o602):
        path.chmod(mode)
        with pytest.raises(ValueError, match=rf"key: other users may access this key file \(mode {mode:03o}\)"):
            CryptoKey.load(path, wrapping_key=outer)
    path.chmod(0o400)
    assert CryptoKey.load(path, wrapping_key=outer).get_bytes() == OTHER
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="link"):
        CryptoKey.load(tmp_path / "link", wrapping_key=outer)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("fifo", "."):
        with pytest.raises(ValueError, match="is not a regular file; a key file is what"):
            CryptoKey.load(tmp_path / name, wrapping_key=outer)


def test_damaged_files(tmp_path: Path) -> None:
    """The message begins with the file's name and says what is wrong."""
    path, outer = tmp_path / "key", CryptoKey(KEY)
    blob = outer.wrap(CryptoKey(OTHER))
    cases = [(b"", "is no wrapped key"), (blob[:100], "is truncated"), (blob * 1000, "something behind its end")]
    for content, says in cases:
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(DecryptionError, match=rf"key: .*{says}"):
            CryptoKey.load(path, wrapping_key=outer)


@pytest.mark.parametrize(
    ("passes", "size", "says"),
    [
        (1 << 31, 64 * MIB, "too many for a key file"),
        (1, 5 << 30, "too many for a key file"),
        (1, 8192, "too few against guessing"),
        (0, 64 * MIB, "opslimit must be"),
        (1, 1 << 63, "memlimit must be"),
    ],
)
def test_hostile_limits(tmp_path: Path, passes: int, size: int, says: str) -> None:
    """A file cannot ask for more memory and time than there is, nor for so little that guessing is cheap."""
    path = tmp_path / "key"
    CryptoKey(OTHER).save(path, password=b"password", **WEAKEST)
    blob = bytearray(path.read_bytes())
    blob[12:24] = struct.pack(">IQ", passes, size)
    path.write_bytes(blob)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: .*{says}"):
        CryptoKey.load(path, password=b"password")


@pytest.mark.parametrize("policy", ["seal", "strict"])
def test_policy(child: Child, tmp_path: Path, policy: str) -> None:
    """It holds for the key and all that is made on the way, whatever the process has chosen."""
    body = """
    import sys, warnings
    from zeroizepy import CryptoKey, LockLimitError, SecureMemory
    from zeroizepy.memory import set_policy

    path, policy = sys.argv[1:]
    warnings.simplefilter("ignore")
    outer, inner, held = CryptoKey.generate(), CryptoKey.generate(), []
    inner.save(path + "1", wrapping_key=outer)
    outer.save(path + "2", password=b"password", opslimit=5, memlimit=7 << 20)
    blob = outer.wrap(inner)
    for size in (2000, 16):
        try:
            while True:
                held.append(SecureMemory(size, policy="strict"))
        except LockLimitError:
            pass
    set_policy("seal" if policy == "strict" else "strict")
    for make in (
        lambda: CryptoKey.unwrap(blob, outer, policy=policy),
        lambda: CryptoKey.load(path + "1", wrapping_key=outer, policy=policy),
        lambda: CryptoKey.load(path + "2", password=b"password", policy=policy),
    ):
        try:
            print(make().protection.tier)
        except LockLimitError:
            print("refused")
    """
    done = child.run(body, str(tmp_path / "key"), policy, env={"ZEROIZEPY_LOCK_BUDGET": "32768"})
    assert done.stdout.split() == 3 * ["sealed" if policy == "seal" else "refused"], done.stderr


def test_one_of_two(tmp_path: Path) -> None:
    """Exactly one of password and wrapping key, and the one that it was saved with; a wiped password is told."""
    path, key = tmp_path / "key", CryptoKey(KEY)
    given_with: list[dict[str, Any]] = [{}, {"password": b"password", "wrapping_key": key}]
    for wrong in given_with:
        with pytest.raises(TypeError, match="pass either password= or wrapping_key="):
            key.save(path, **wrong)
    with pytest.raises(TypeError, match="pass either password= or wrapping_key="):
        CryptoKey.load(path, password=b"password", wrapping_key=key)
    with pytest.raises(TypeError, match="wrapping_key must be a CryptoKey, not bytes"):
        key.save(path, wrapping_key=KEY)  # type: ignore[arg-type]
    key.save(path, wrapping_key=CryptoKey(OTHER))
    with pytest.raises(TypeError, match="wrapping_key must be a CryptoKey, not bytes"):
        CryptoKey.load(path, wrapping_key=KEY)  # type: ignore[arg-type]
    key.save(path, password=b"password", overwrite=True, **WEAKEST)
    cell = CypherCell(b"password")
    cell.wipe()
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        CryptoKey.load(path, password=cell)
    with pytest.raises(TypeError, match=r"pass CypherCell\(text\)"):
        CryptoKey.load(path, password="password")  # type: ignore[arg-type]


def test_the_wrong_kind_of_opener(tmp_path: Path) -> None:
    """The error says what the file is encrypted with and what to pass, before an access to a password is counted."""
    path, key, outer = tmp_path / "key", CryptoKey(KEY), CryptoKey(OTHER)
    password = CypherCell(b"password", max_reads=1)
    key.save(path, wrapping_key=outer)
    with pytest.raises(ValueError, match=r"/key: is encrypted with a wrapping key; pass wrapping_key= instead$"):
        CryptoKey.load(path, password=password)
    with pytest.raises(TypeError, match=r"/key: is encrypted with a wrapping key; pass wrapping_key=$"):
        CryptoKey.load(path)
    key.save(path, password=b"password", overwrite=True, **WEAKEST)
    with pytest.raises(ValueError, match=r"/key: is encrypted with a password; pass password= instead$"):
        CryptoKey.load(path, wrapping_key=outer)
    with pytest.raises(TypeError, match=r"/key: is encrypted with a password; pass password=$"):
        CryptoKey.load(path)
    assert CryptoKey.load(path, password=password).key_id == key.key_id


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_raw_key_file(tmp_path: Path, size: int) -> None:
    """Whatever is given to open it, the error says what takes a raw key, and that does."""
    path = tmp_path / "raw"
    path.write_bytes(KEY[:size])
    path.chmod(0o600)
    given_with: list[dict[str, Any]] = [{}, {"password": b"password"}, {"wrapping_key": CryptoKey(OTHER)}]
    for opener in given_with:
        with pytest.raises(DecryptionError, match=rf"its {size} bytes are a raw one, CryptoKey\(CypherCell.from_file"):
            CryptoKey.load(path, **opener)
    assert CryptoKey(CypherCell.from_file(path)).get_bytes() == KEY[:size]
