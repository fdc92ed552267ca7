"""Files that go with a key: nothing is lost on the way, and both reports say what holds."""

from __future__ import annotations

import json
import os
import random
import struct
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from zeroizepy import durable, erasure
from zeroizepy.chunked import decrypt_file
from zeroizepy.crypto import CryptoKey, cryptographic_erase_key, erased_key_ids
from zeroizepy.erasure import (
    DirectoryKeyStore,
    crypto_shred_file,
    erase_key_file,
    key_file_info,
)
from zeroizepy.exceptions import DecryptionError, FileAccessError, KeyErasedError, SecureMemoryClosed, SecureWipeError
from zeroizepy.json_form import JsonForm, from_plain, load_json
from zeroizepy.memory import SecureMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zeroizepy.file import ShredReport

pytestmark = [pytest.mark.usefixtures("no_leftover_cells"), pytest.mark.filterwarnings("ignore:old bytes")]

CONTENT = random.Random(5).randbytes(600_000)
KEY = bytes(range(32))
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file with content."""
    (tmp_path / "file").write_bytes(CONTENT)
    return str(tmp_path / "file")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryKeyStore]:
    """An empty store."""
    with CryptoKey(KEY) as wrapping_key:
        yield DirectoryKeyStore(tmp_path / "keys", wrapping_key=wrapping_key)


def check(form: JsonForm) -> None:
    """A report matches its schema, and comes back as it was."""
    name = f"{form.schema.split('/')[1]}.json"
    schema = json.loads((files("zeroizepy") / "schemas" / name).read_text(encoding="utf-8"))
    found = load_json(form.to_json())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert from_plain(type(form), found, "report") == form


# ---- files ----


def test_with_a_store(path: str, store: DirectoryKeyStore, tmp_path: Path) -> None:
    """The original is gone, the copy opens with the stored key, and with that erased nothing opens it."""
    report = crypto_shred_file(path, store, associated_data=b"context")
    check(report)
    assert (report.encrypted_path, report.size_bytes, report.receipt) == (path + ".cobblestone", len(CONTENT), None)
    assert sorted(os.listdir(tmp_path)) == ["file.cobblestone", "keys"]
    assert report.shred.unlinked
    assert report.shred.verdict is not None
    assert store.key_ids() == {report.key_id}
    with store.get(report.key_id) as key:
        decrypt_file(report.encrypted_path, tmp_path / "back", key, associated_data=b"context")
    assert (tmp_path / "back").read_bytes() == CONTENT
    receipt = store.erase(report.key_id)
    assert (receipt.key_id, receipt.origin, receipt.found) == (report.key_id, "loaded", "live")
    assert store.key_ids() == set()
    with pytest.raises(KeyError, match=f"no key {report.key_id} in"):
        store.get(report.key_id)


def test_without_a_store(path: str, tmp_path: Path) -> None:
    """The key is destroyed with a receipt, by which no copy of it was left; the copy is no plaintext."""
    report = crypto_shred_file(path, dst=tmp_path / "copy")
    check(report)
    assert sorted(os.listdir(tmp_path)) == ["copy"]
    assert CONTENT[:64] not in (tmp_path / "copy").read_bytes()
    assert report.receipt is not None
    assert report.receipt.key_id == report.key_id
    assert report.key_id in erased_key_ids()
    assert report.receipt.condition("copies_sanitized").verdict in ("met", "unknown")
    assert {each.state for each in report.receipt.copies} <= {"gone", "unknown"}


def test_an_empty_file(tmp_path: Path, store: DirectoryKeyStore) -> None:
    """It works like any other."""
    (tmp_path / "file").touch()
    report = crypto_shred_file(tmp_path / "file", store)
    assert (report.size_bytes, report.shred.verdict) == (0, None)


class Broken:
    """A store that fails at one step."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.kept: dict[str, bytes] = {}

    def put(self, key_id: str, key: CryptoKey) -> None:
        """Keep the bytes."""
        if self.step == "put":
            raise OSError(28, "no space left")
        self.kept[key_id] = key.get_bytes()

    def get(self, key_id: str) -> CryptoKey:
        """Another key, when that is the step."""
        if self.step == "get":
            raise OSError(5, "input/output error")
        return CryptoKey.generate() if self.step == "other" else CryptoKey(self.kept[key_id])

    def erase(self, key_id: str) -> None:
        """Forget it."""
        del self.kept[key_id]
        if self.step == "other":
            raise OSError(5, "input/output error")


@pytest.mark.parametrize(("start", "size"), [(b"", 0), (b"", 5), (b"", 100), (b"no key", 100), (b"no key", 5000)])
def test_a_damaged_key_file_is_erased(store: DirectoryKeyStore, tmp_path: Path, start: bytes, size: int) -> None:
    """It may hold the key all the same; the receipt does not pretend to know what it was for."""
    with CryptoKey.generate() as key:
        store.put(key.key_id, key)
        file = tmp_path / "keys" / f"{key.key_id}.zpykey"
        os.truncate(file, size)
        with file.open("r+b") as damaged:
            damaged.write(start)
        receipt = store.erase(key.key_id)
        assert (receipt.found, receipt.key_id, receipt.algorithm) == ("not_loaded", None, "unknown")
    assert not file.exists()


class Objects:
    """A store that keeps objects.

    Args:
        copies_on_put, copies_on_get: Where it makes new ones.
    """

    def __init__(self, *, copies_on_put: bool, copies_on_get: bool) -> None:
        self.copies_on_put, self.copies_on_get = copies_on_put, copies_on_get
        self.kept: dict[str, CryptoKey] = {}

    def put(self, key_id: str, key: CryptoKey) -> None:
        """Keep it."""
        self.kept[key_id] = CryptoKey(key) if self.copies_on_put else key

    def get(self, key_id: str) -> CryptoKey:
        """Give it out."""
        return CryptoKey(self.kept[key_id]) if self.copies_on_get else self.kept[key_id]

    def erase(self, key_id: str) -> None:
        """Destroy it."""
        self.kept.pop(key_id).destroy()


@pytest.mark.parametrize("copies_on_get", [True, False])
def test_a_store_that_keeps_what_is_destroyed(path: str, tmp_path: Path, *, copies_on_get: bool) -> None:
    """It is found out before the original is touched."""
    with pytest.raises(SecureMemoryClosed):
        crypto_shred_file(path, Objects(copies_on_put=False, copies_on_get=copies_on_get))
    assert os.listdir(tmp_path) == ["file"]
    assert Path(path).read_bytes() == CONTENT


@pytest.mark.parametrize("copies_on_get", [True, False])
def test_a_store_that_keeps_objects(path: str, tmp_path: Path, *, copies_on_get: bool) -> None:
    """The key that it has, which may be the object that it gave out, opens the copy afterwards."""
    store = Objects(copies_on_put=True, copies_on_get=copies_on_get)
    report = crypto_shred_file(path, store)
    decrypt_file(report.encrypted_path, tmp_path / "again", store.kept[report.key_id])
    assert (tmp_path / "again").read_bytes() == CONTENT
    store.erase(report.key_id)


def test_the_keys_folder_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are those that were made above it: keys whose folder a crash takes away would be lost."""
    flushed: list[int] = []
    monkeypatch.setattr(durable, "flush_directory", lambda fd: flushed.append(os.fstat(fd).st_ino))
    with CryptoKey(KEY) as wrapping_key:
        DirectoryKeyStore(tmp_path / "above" / "keys", wrapping_key=wrapping_key)
    assert flushed == [tmp_path.stat().st_ino, (tmp_path / "above").stat().st_ino]


@pytest.mark.parametrize(("step", "error"), [("put", OSError), ("get", OSError), ("other", DecryptionError)])
def test_a_store_that_fails(path: str, tmp_path: Path, step: str, error: type[Exception]) -> None:
    """The original is as it was, the copy is gone, and so is the key."""
    broken = Broken(step)
    with pytest.raises(error):
        crypto_shred_file(path, broken)
    assert os.listdir(tmp_path) == ["file"]
    assert Path(path).read_bytes() == CONTENT
    assert broken.kept == {}


@pytest.mark.parametrize("where", [0, 300_000, len(CONTENT)])
def test_a_file_that_changes(
    path: str, tmp_path: Path, store: DirectoryKeyStore, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    """What another program writes meanwhile is noticed, and kept."""
    encrypt = erasure.encrypt_file

    def meddle(*arguments: Any, **keywords: Any) -> None:
        encrypt(*arguments, **keywords)
        with open(path, "r+b") as file:
            file.seek(where)
            file.write(b"new")

    monkeypatch.setattr(erasure, "encrypt_file", meddle)
    with pytest.raises(SecureWipeError, match="changed while it was encrypted; nothing was overwritten"):
        crypto_shred_file(path, store)
    assert sorted(os.listdir(tmp_path)) == ["file", "keys"]
    assert Path(path).read_bytes()[where : where + 3] == b"new"
    assert store.key_ids() == set()


def test_a_shred_that_fails(
    path: str, tmp_path: Path, store: DirectoryKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copy and key stay, for the original may be overwritten in part."""
    real = erasure.secure_delete

    def fail(name: str, **options: Any) -> Any:
        if name == path and not options.get("dry_run"):
            raise FileAccessError(5, "input/output error", name)
        return real(name, **options)

    monkeypatch.setattr(erasure, "secure_delete", fail)
    with pytest.raises(FileAccessError):
        crypto_shred_file(path, store)
    (name,) = store.key_ids()
    with store.get(name) as key:
        decrypt_file(path + ".cobblestone", tmp_path / "back", key)
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_what_was_compared_is_zeroed(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffers with the original and with the decrypted copy."""
    fill, seen = erasure._fill, []

    def watched(file: Any, buffer: bytearray) -> int:
        got = fill(file, buffer)
        seen.append((buffer, bytes(buffer)))
        return got

    monkeypatch.setattr(erasure, "_fill", watched)
    crypto_shred_file(path, dst=tmp_path / "copy")
    assert any(any(content) for _, content in seen)
    assert not any(any(buffer) for buffer, _ in seen)


def test_a_shred_that_fails_leaves_no_key(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store: the failure is told as it was, and the key is erased all the same; nothing opens the copy."""
    erased = erased_key_ids()

    def fail(*_arguments: object, dry_run: bool = False, **_more: object) -> None:
        if not dry_run:
            raise OSError(5, "cannot write")

    monkeypatch.setattr(erasure, "secure_delete", fail)
    with pytest.raises(OSError, match="cannot write"):
        crypto_shred_file(path, dst=tmp_path / "copy")
    assert (tmp_path / "copy").exists()
    assert len(erased_key_ids() - erased) == 1


def test_refusals(path: str, tmp_path: Path, store: DirectoryKeyStore) -> None:
    """Nothing is made for what is missing, no file, a link, has other names, or whose copy has no place."""
    os.symlink(path, tmp_path / "link")
    (tmp_path / "taken").write_bytes(b"taken")
    os.link(tmp_path / "taken", tmp_path / "other")
    before = sorted(os.listdir(tmp_path))
    for name, options, error in (
        ("missing", {}, FileNotFoundError),
        ("keys", {}, IsADirectoryError),
        ("link", {}, ValueError),
        ("taken", {}, FileAccessError),
        ("file", {"dst": tmp_path / "taken"}, FileExistsError),
        ("file", {"dst": path}, ValueError),
    ):
        with pytest.raises(error):
            crypto_shred_file(tmp_path / name, store, **options)  # type: ignore[arg-type]
    assert sorted(os.listdir(tmp_path)) == before
    assert Path(path).read_bytes() == CONTENT
    assert store.key_ids() == set()


# ---- the store ----


def test_with_a_password(tmp_path: Path) -> None:
    """A store under a password opens again with that, and with no other."""
    with SecureMemory.from_bytes(b"password") as password, SecureMemory.from_bytes(b"Password") as wrong:
        key = CryptoKey.generate()
        DirectoryKeyStore(tmp_path / "keys", password=password).put(key.key_id, key)
        assert DirectoryKeyStore(tmp_path / "keys", password=password).get(key.key_id).get_bytes() == key.get_bytes()
        with pytest.raises(DecryptionError, match="wrong password"):
            DirectoryKeyStore(tmp_path / "keys", password=wrong).get(key.key_id)


def test_store_files(tmp_path: Path, store: DirectoryKeyStore) -> None:
    """The directory has mode 700 and files mode 600; other files in it are no keys; what stands there is kept."""
    key, other = CryptoKey.generate(), CryptoKey.generate()
    store.put(key.key_id, key)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    (file,) = (tmp_path / "keys").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "keys" / "README").touch()
    assert store.key_ids() == {key.key_id}
    with pytest.raises(FileExistsError):
        store.put(key.key_id, key)
    with pytest.raises(ValueError, match=f"this is key {other.key_id}, not {key.key_id}"):
        store.put(key.key_id, other)
    for wrong in ("", "../" + "a" * 61, "A" * 64, "a" * 65):
        with pytest.raises(ValueError, match="key_id must be 64 hexadecimal digits"):
            store.get(wrong)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    with pytest.raises(ValueError, match=r"other users may access this directory \(mode 750\); chmod 700 it"):
        DirectoryKeyStore(tmp_path / "open", wrapping_key=CryptoKey(KEY))
    with pytest.raises(TypeError, match="pass either password= or wrapping_key="):
        DirectoryKeyStore(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_key_under_a_wrong_name(tmp_path: Path, store: DirectoryKeyStore) -> None:
    """It is not given out as the other one, and erasing by that name does not destroy it as if it were that."""
    key, other = CryptoKey.generate(), CryptoKey.generate()
    store.put(key.key_id, key)
    (file,) = (tmp_path / "keys").iterdir()
    file.rename(file.with_name(f"{other.key_id}.zpykey"))
    with pytest.raises(DecryptionError, match=f"holds key {key.key_id}"):
        store.get(other.key_id)


def test_a_copy_of_an_erased_key(tmp_path: Path, store: DirectoryKeyStore) -> None:
    """A key file that is put back is refused by the process that erased the key, and can be erased again."""
    key = CryptoKey.generate()
    store.put(key.key_id, key)
    (file,) = (tmp_path / "keys").iterdir()
    backup = file.read_bytes()
    store.erase(key.key_id)
    file.write_bytes(backup)
    file.chmod(0o600)
    with pytest.raises(KeyErasedError):
        store.get(key.key_id)
    assert store.erase(key.key_id).key_id == key.key_id
    assert store.key_ids() == set()


def test_a_damaged_key_file(tmp_path: Path, store: DirectoryKeyStore) -> None:
    """It is shredded all the same, with the receipt of a key that was not loaded."""
    key = CryptoKey.generate()
    store.put(key.key_id, key)
    (file,) = (tmp_path / "keys").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    receipt = store.erase(key.key_id)
    assert (receipt.found, receipt.key_id, receipt.origin) == ("not_loaded", None, "unknown")
    assert store.key_ids() == set()


def test_erasing_the_wrapping_key(tmp_path: Path) -> None:
    """All keys of a store are gone with it, in words of their receipts, too."""
    outer = CryptoKey.generate()
    store = DirectoryKeyStore(tmp_path / "keys", wrapping_key=outer)
    key = CryptoKey.generate()
    store.put(key.key_id, key)
    clean = cryptographic_erase_key(outer).condition("copies_sanitized").verdict == "met"
    (copy,) = (each for each in cryptographic_erase_key(key).copies if each.kind == "save")
    assert copy.state == ("gone" if clean else "may_remain")


# ---- key files ----


@pytest.mark.parametrize("kind", ["raw", "wrapping_key", "password"])
def test_erase_key_file(tmp_path: Path, kind: str) -> None:
    """The file is shredded without being opened; the receipt says no more than its verdict allows."""
    file = tmp_path / "key"
    write(file, kind)
    done = erase_key_file(file)
    check(done)
    assert not file.exists()
    assert (done.receipt.found, done.receipt.key_id, done.receipt.algorithm) == ("not_loaded", None, "AES-256-GCM")
    gone = done.shred.verdict == "overwritten_verified"
    (copy,) = done.receipt.copies
    assert (copy.kind, copy.state) == ("key_file", "gone" if gone else "may_remain")
    assert done.receipt.condition("destruction_verified").verdict == ("met" if gone else "not_met")
    assert done.receipt.condition("copies_sanitized").verdict == ("unknown" if gone else "not_met")


@pytest.fixture
def overwritten(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], None]:
    """Has each shredding end well, whatever this file system is, and something be done to the path just before."""
    real = erasure.secure_delete

    def begin(before: Callable[[str], None]) -> None:
        def delete(path: str, **options: Any) -> ShredReport:
            before(path)
            report = real(path, **options)
            return replace(report, verdict="overwritten_verified", verified=True, reasons=())

        monkeypatch.setattr(erasure, "secure_delete", delete)

    return begin


def replace_file(path: str) -> None:
    """Put another file in its place, with the same content."""
    content = Path(path).read_bytes()
    Path(f"{path}.new").write_bytes(content)
    Path(f"{path}.new").replace(path)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_key_file_that_is_replaced_while_it_is_erased(
    tmp_path: Path, store: DirectoryKeyStore, overwritten: Any, is_replaced: bool
) -> None:
    """What was overwritten is another file then, and each receipt says that the first one's bytes may remain."""
    overwritten(replace_file if is_replaced else len)
    keys = [CryptoKey.generate() for _ in range(2)]
    names = [key.key_id for key in keys]
    for key in keys:
        store.put(key.key_id, key)
        key.destroy()  # Else the receipt would have it as another copy.
    damaged = tmp_path / "keys" / f"{names[1]}.zpykey"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    write(tmp_path / "key", "raw")
    receipts = [store.erase(name) for name in names] + [erase_key_file(tmp_path / "key").receipt]
    assert [each.found for each in receipts] == ["live", "not_loaded", "not_loaded"]
    for receipt in receipts:
        (state,) = (each.state for each in receipt.copies if each.kind == "key_file")
        assert state == ("may_remain" if is_replaced else "gone")
        assert receipt.condition("copies_sanitized").verdict == ("not_met" if is_replaced else "unknown")
    for receipt in receipts[1:]:
        assert receipt.condition("destruction_verified").verdict == ("not_met" if is_replaced else "met")


def write(file: Path, kind: str) -> None:
    """A key file of this kind."""
    if kind == "raw":
        file.write_bytes(KEY)
        file.chmod(0o600)
    elif kind == "password":
        CryptoKey(KEY).save(file, password=b"password", opslimit=5, memlimit=7 * MIB)
    else:
        CryptoKey(KEY[::-1]).save(file, wrapping_key=CryptoKey(KEY))


def test_info(tmp_path: Path) -> None:
    """What opens a key file and what it holds; nothing secret."""
    limits = {"raw": (0, 0), "wrapping_key": (0, 0), "password": (5, 7 * MIB)}
    for kind, (passes, size) in limits.items():
        write(tmp_path / kind, kind)
        os.utime(tmp_path / kind, (0, 1709208000))
        found = key_file_info(str(tmp_path / kind))
        check(found)
        opened_by = "nothing" if kind == "raw" else kind
        assert (found.algorithm, found.opened_by, found.key_id) == ("AES-256-GCM", opened_by, None)
        assert (found.opslimit, found.memlimit) == (passes, size)
        assert found.modified.startswith("2024-02-29T")


def test_what_is_no_key_file(tmp_path: Path) -> None:
    """It is refused by name, and left as it is."""
    write(tmp_path / "good", "wrapping_key")
    content = (tmp_path / "good").read_bytes()
    cases = {
        "text": b"a letter to a friend",
        "empty": b"",
        "large": bytes(1 << 20),
        "short": content[:100],
        "version": content[:8] + struct.pack("B", 9) + content[9:],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        for use in (erase_key_file, key_file_info):
            with pytest.raises(ValueError, match=rf"{name}: "):
                use(str(tmp_path / name))  # type: ignore[operator]
        assert (tmp_path / name).read_bytes() == data
    (tmp_path / "good").chmod(0o644)
    with pytest.raises(ValueError, match="other users may access this key file"):
        erase_key_file(tmp_path / "good")
    assert (tmp_path / "good").read_bytes() == content
