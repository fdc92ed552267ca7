"""Receipts of erased keys: they list what this process saw, claim nothing else, and the key is gone in any case."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.played import report_of

from zeroizepy import crypto
from zeroizepy._lib import lib
from zeroizepy.cell import CypherCell
from zeroizepy.chunked import EncryptedReader, EncryptedWriter, encrypt_file, filekey
from zeroizepy.crypto import (
    CipherText,
    CryptoKey,
    ErasureReceipt,
    cryptographic_erase_key,
    decrypt_data,
    encrypt_data,
    erased_key_ids,
    refuse_erased,
)
from zeroizepy.durable import identity_of
from zeroizepy.exceptions import DecryptionError, KeyErasedError, SecureMemoryClosed
from zeroizepy.file import ShredReport, secure_delete
from zeroizepy.json_form import from_plain, load_json
from zeroizepy.keys import base, census, erase, kwp
from zeroizepy.keys import key as made
from zeroizepy.memory import SecureMemory, stats

if TYPE_CHECKING:
    from pathlib import Path

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

KEY = bytes(range(32))
TIERS = ["packed", "isolated", "sealed"]
CONDITIONS = ["always_encrypted", "strength", "copies_sanitized", "vetted_implementation", "destruction_verified"]
needs_aes = pytest.mark.skipif(lib.zpy_has_aes() != 1, reason="needs AES instructions: OpenSSL's use is a copy, too")


def verdicts(receipt: ErasureReceipt) -> dict[str, str]:
    """The conditions without their reasons."""
    return {each.name: each.verdict for each in receipt.conditions}


def copies(receipt: ErasureReceipt) -> dict[str, tuple[int, str]]:
    """Number and state of the copies of each kind, for receipts with one detail of each."""
    found = {each.kind: (each.count, each.state) for each in receipt.copies}
    assert len(found) == len(receipt.copies)
    return {str(kind): value for kind, value in found.items()}


def removing(report: ShredReport, path: Path) -> ShredReport:
    """The same report of another file, which stands there."""
    return replace(report, path=str(path), file_id=identity_of(os.stat(path)))


def saved(folder: Path, wrapping_key: CryptoKey | None = None) -> tuple[CryptoKey, Path]:
    """A new key, and where it was saved."""
    folder.mkdir(exist_ok=True)
    key, path = CryptoKey.generate(), folder / "key"
    key.save(path, wrapping_key=wrapping_key or CryptoKey.generate())
    return key, path


def wait_for_another_time(folder: Path) -> None:
    """Until the file system, which counts in ticks, gives a new file another time than the last one."""
    mark = folder / "mark"
    mark.touch()
    first = os.stat(mark).st_ctime_ns
    while os.stat(mark).st_ctime_ns == first:
        mark.chmod(0o600)


def sanitized(receipt: ErasureReceipt) -> str:
    """The verdict on copies."""
    return receipt.condition("copies_sanitized").verdict


# ---- what a receipt lists ----


SCENARIO = """
import json, os, sys
from zeroizepy import CryptoKey, EncryptedReader, EncryptedWriter, cryptographic_erase_key, decrypt_data, encrypt_data
folder = sys.argv[1]
key, outer = CryptoKey.generate(), CryptoKey.generate()
name = key.key_id
for message in range(3):
    sealed = encrypt_data(b"message", key)
for _ in range(2):
    decrypt_data(sealed, key)
kept = key.get_bytes()
key.save(folder + "/key", wrapping_key=outer)
blob = outer.wrap(key)
other = key.derive(b"other")
with key.borrow() as view:
    pass
with EncryptedWriter(folder + "/file", key) as file:
    file.write(b"content")
for _ in range(2):
    EncryptedReader(folder + "/file", key).close()
key.wrap(other), CryptoKey.unwrap(key.wrap(other), key)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
receipt = cryptographic_erase_key(key)
assert receipt.key_id == name and key.destroyed
print(json.dumps({**receipt.to_dict(), "outer": outer.key_id, "other": other.key_id}))
"""


def test_scripted_scenario(child: Child, tmp_path: Path) -> None:
    """Each copy that a program makes stands in the receipt, once, with what is known of it."""
    found = json.loads(child.check(SCENARIO, str(tmp_path)))
    listed = [(each["kind"], each["count"], each["detail"], each["state"]) for each in found["copies"]]
    native = found["protection"]["schedule_locked"]
    expected = [
        ("get_bytes", 1, "", "may_remain"),
        ("save", 1, str(tmp_path / "key"), "may_remain"),
        ("wrap", 1, found["outer"], "may_remain"),
        ("derive", 1, found["other"], "no_copy"),
        ("borrow", 1, "", "unknown"),
        ("file_key", 1, "", "gone" if native else "unknown"),
        ("opened_file", 2, "", "gone" if native else "unknown"),
        *([] if native else [("openssl", 5, "", "unknown")]),
        ("fork", 1, "", "no_copy"),
    ]
    assert listed == expected
    uses = ("messages_encrypted", "messages_decrypted", "messages_refused", "files_encrypted", "files_opened")
    assert [found[use] for use in (*uses, "keys_wrapped", "keys_unwrapped")] == [3, 2, 0, 1, 2, 2, 1]
    assert [(each["name"], each["verdict"]) for each in found["conditions"]] == [
        ("always_encrypted", "unknown"),
        ("strength", "met"),
        ("copies_sanitized", "not_met"),
        ("vetted_implementation", "not_met" if native else "unknown"),
        ("destruction_verified", "met"),
    ]
    reason = found["conditions"][2]["reason"]
    assert all(kind in reason for kind in ("get_bytes", str(tmp_path / "key"), found["outer"]))
    assert "borrow" not in reason  # Whether that left a copy is not known.


def lend(key: CryptoKey) -> None:
    """Borrow it once."""
    with key.borrow():
        pass


def refuse(key: CryptoKey) -> None:
    """Have it try what is not its own."""
    with pytest.raises(DecryptionError):
        decrypt_data(CipherText(bytes(12), bytes(16)), key)


def fork() -> None:
    """Have a child, which ends at once."""
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


ACTIONS: dict[str, Any] = {
    "get_bytes": lambda key, _outer, _path: key.get_bytes(),
    "borrow": lambda key, _outer, _path: lend(key),
    "wrap": lambda key, outer, _path: outer.wrap(key),
    "derive": lambda key, _outer, path: key.derive(path.encode()),
    "save": lambda key, outer, path: key.save(path, wrapping_key=outer),
    "fork": lambda _key, _outer, _path: fork(),
    "file_key": lambda key, _outer, path: encrypt_file(__file__, path, key),
    "opened_file": lambda key, _outer, path: EncryptedReader(os.path.dirname(path) + "/old", key).close(),
    "message": lambda key, _outer, _path: encrypt_data(b"", key),
    "decrypted": lambda key, _outer, _path: decrypt_data(encrypt_data(b"", key), key),
    "refused": lambda key, _outer, _path: refuse(key),
    "wraps": lambda key, _outer, _path: key.wrap(CryptoKey.generate(16)),
    "kwp": lambda key, _outer, _path: key.wrap(CryptoKey.generate(16), format="aes-kwp"),
    "name": lambda key, _outer, _path: key.key_id,
}


@settings(deadline=None, max_examples=30)
@given(actions=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=12), size=st.sampled_from([16, 32]))
def test_census_equals_a_model(tmp_path_factory: pytest.TempPathFactory, actions: list[str], size: int) -> None:
    """Whatever happens in whatever order, each copy is counted, and nothing else is."""
    folder = tmp_path_factory.mktemp("model")
    key, outer = CryptoKey.generate(size), CryptoKey(KEY)
    native = key.protection.schedule_locked
    encrypt_file(__file__, folder / "old", key)
    for number, action in enumerate(actions):
        ACTIONS[action](key, outer, str(folder / str(number)))
    model = Counter([*actions, "file_key"])
    decrypted, refused = model.pop("decrypted", 0), model.pop("refused", 0)
    messages = model.pop("message", 0) + decrypted
    wrapped = model.pop("wraps", 0) + model["kwp"]
    model.pop("name", 0)
    receipt = cryptographic_erase_key(key)
    found: Counter[str] = Counter()
    for each in receipt.copies:
        found[each.kind] += each.count
    assert found.pop("openssl", 0) == (0 if native else messages + decrypted + refused)
    assert found == +model
    assert (receipt.messages_encrypted, receipt.files_encrypted) == (messages, model["file_key"])
    assert (receipt.messages_decrypted, receipt.messages_refused) == (decrypted, refused)
    assert (receipt.files_opened, receipt.keys_wrapped) == (model["opened_file"], wrapped)
    left = {"get_bytes", "wrap", "save"} & set(found)
    is_open = bool({"borrow", "kwp"} & set(found)) or not native
    assert sanitized(receipt) == ("not_met" if left else "unknown" if is_open else "met")


@needs_aes
@pytest.mark.parametrize("tier", TIERS)
def test_nothing_left(tier: Any) -> None:
    """A key that was drawn here and never left is told as such; what no library can know stays unknown."""
    key = CryptoKey.generate(tier=tier)
    encrypt_data(b"message", key)
    protection = key.protection
    receipt = cryptographic_erase_key(key)
    assert dict(zip(CONDITIONS, verdicts(receipt).values(), strict=True)) == {
        "always_encrypted": "unknown",
        "strength": "met",
        "copies_sanitized": "met",
        "vetted_implementation": "not_met",
        "destruction_verified": "met",
    }
    assert (receipt.found, receipt.origin, receipt.copies) == ("live", "generated", ())
    assert receipt.protection == protection


def from_password() -> CryptoKey:
    """A key from a weak password."""
    return CryptoKey.from_password(b"x", opslimit=5, memlimit=7 << 20)


@needs_aes
def test_memory_that_was_not_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may have been swapped may have left a copy on disk; so may a key of which that is not known any more."""
    key, gone = CryptoKey.generate(), CryptoKey.generate()
    gone.destroy()
    assert sanitized(cryptographic_erase_key(gone)) == "unknown"
    protection = replace(key.protection, locked=False)
    monkeypatch.setattr(CryptoKey, "protection", property(lambda _key: protection))
    receipt = cryptographic_erase_key(key)
    assert sanitized(receipt) == "unknown"
    assert "swapped" in receipt.condition("copies_sanitized").reason


@pytest.mark.parametrize(
    ("make", "origin", "kind", "state"),
    [
        (lambda: CryptoKey(KEY), "bytes", "source", "may_remain"),
        (lambda: CryptoKey(bytearray(KEY)), "buffer", "source", "may_remain"),
        (lambda: CryptoKey(bytearray(KEY), wipe_source=True), "buffer", "source", "unknown"),
        (lambda: CryptoKey(CypherCell(KEY)), "holder", "source", "unknown"),
        (lambda: CryptoKey(CypherCell(KEY), wipe_source=True), "holder", "source", "unknown"),
        (from_password, "password", "password", "may_remain"),
        (lambda: CryptoKey.generate().derive(b"x"), "derived", "parent_key", "unknown"),
    ],
)  # fmt: skip
def test_where_a_key_came_from(make: Any, origin: str, kind: str, state: str) -> None:
    """What a key was made from is a copy that the process saw; whether that is there still, as far as it is known."""
    receipt = cryptographic_erase_key(make())
    assert receipt.origin == origin
    assert copies(receipt)[kind] == (1, state)
    assert sanitized(receipt) == ("not_met" if state == "may_remain" else "unknown")
    assert receipt.condition("strength").verdict == ("met" if origin == "derived" else "unknown")


def test_a_source_that_lives() -> None:
    """A cell or parent key that could make the key again is told as long as it is there."""
    cell, parent = CypherCell(KEY), CryptoKey.generate()
    key, child = CryptoKey(cell), parent.derive(b"child")
    assert copies(cryptographic_erase_key(key))["source"] == (1, "may_remain")
    receipt = cryptographic_erase_key(child)
    assert copies(receipt)["parent_key"] == (1, "may_remain")
    assert receipt.copies[0].detail == cryptographic_erase_key(parent).key_id


@needs_aes
def test_a_parent_that_was_erased() -> None:
    """A derived key has no copy left once the receipt of its parent says that of it."""
    parent = CryptoKey.generate()
    child = parent.derive(b"child")
    cryptographic_erase_key(parent)
    receipt = cryptographic_erase_key(child)
    assert copies(receipt)["parent_key"] == (1, "gone")
    assert sanitized(receipt) == "met"


@needs_aes
@pytest.mark.parametrize("leak", [False, True])
def test_keys_that_wrap_it(tmp_path: Path, leak: bool) -> None:
    """A wrapped key and a key file are gone with the wrapping key, if no copy of that was left, and not before."""
    key, outer = CryptoKey.generate(), CryptoKey.generate()
    blob = outer.wrap(key)
    key.save(tmp_path / "key", wrapping_key=outer)
    first = cryptographic_erase_key(CryptoKey.unwrap(blob, outer))
    assert first.copies[0].kind == "wrapped_source"
    assert first.copies[0].state == "may_remain"
    if leak:
        outer.get_bytes()
    cryptographic_erase_key(outer)
    receipt = cryptographic_erase_key(key)
    assert {each.state for each in receipt.copies} == {"may_remain" if leak else "gone"}
    assert sanitized(receipt) == ("not_met" if leak else "met")


def test_a_key_from_outside_whose_copies_are_gone() -> None:
    """All that this process saw of it is gone; who else has it stays unknown."""
    outer, inner = CryptoKey.generate(), CryptoKey.generate()
    key = CryptoKey.unwrap(outer.wrap(inner), outer)
    assert cryptographic_erase_key(outer).condition("copies_sanitized").verdict == "met"
    inner.destroy()
    receipt = cryptographic_erase_key(key)
    assert {copy.state for copy in receipt.copies} == {"gone"}
    assert (receipt.condition("copies_sanitized").verdict, receipt.origin) == ("unknown", "unwrapped")


def test_a_key_that_was_erased_more_than_once() -> None:
    """It counts as gone only if each of its receipts says that no copy was left, the first one, too."""
    parent, key = CryptoKey.generate(), CryptoKey.generate()
    leaked, clean = parent.derive(b"wrapping"), parent.derive(b"wrapping")
    leaked.wrap(key)
    leaked.get_bytes()
    verdicts = [cryptographic_erase_key(each).condition("copies_sanitized").verdict for each in (leaked, parent, clean)]
    assert verdicts == ["not_met", "met", "met"]
    (copy,) = cryptographic_erase_key(key).copies
    assert (copy.kind, copy.state) == ("wrap", "may_remain")


def test_the_same_key_in_two_objects() -> None:
    """Another object is told if the names of both were asked for, until it goes."""
    key, twin, third = CryptoKey(KEY), CryptoKey(KEY), CryptoKey(KEY)
    assert key.key_id == twin.key_id
    assert copies(cryptographic_erase_key(key))["same_key"] == (1, "may_remain")
    receipt = cryptographic_erase_key(third)
    assert copies(receipt)["same_key"] == (1, "may_remain")
    assert "same_key" not in copies(cryptographic_erase_key(twin))


@pytest.mark.filterwarnings("ignore:old bytes")
def test_a_file_that_was_shredded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its report, a key file is told as overwritten; who copied it before is not seen. Without, it remains."""
    (tmp_path / "played").mkdir()
    good = report_of("overwritten_verified", tmp_path / "played", monkeypatch)
    bad = report_of("not_in_place", tmp_path / "played", monkeypatch)
    for reports, state, verdict in (
        ([good], "gone", "unknown"),
        ([bad], "may_remain", "not_met"),
        ([], "may_remain", "not_met"),
    ):
        key, path = saved(tmp_path)
        given = [removing(each, path) for each in reports]
        path.unlink()
        receipt = cryptographic_erase_key(key, copies_removed=given)
        assert copies(receipt)["save"] == (1, state)
        assert sanitized(receipt) == verdict


def test_the_verdict_rests_on_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An overwritten key file may have been copied before, however the receipt puts that."""
    good = report_of("overwritten_verified", tmp_path, monkeypatch)
    monkeypatch.setattr(erase, "_OVERWRITTEN", "in other words")
    key, path = saved(tmp_path)
    report = removing(good, path)
    path.unlink()
    receipt = cryptographic_erase_key(key, copies_removed=[report])
    assert (copies(receipt)["save"], sanitized(receipt)) == ((1, "gone"), "unknown")


@pytest.mark.filterwarnings("ignore:old bytes")
@pytest.mark.parametrize(
    "change",
    [
        {"verified": False},
        {"dry_run": True},
        {"error": "cannot be read"},
        {"skipped_bytes": 512},
        {"reasons": ("interrupted",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_report_that_contradicts_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """A key file is gone by the verdict and by everything else in the report, or it may remain."""
    good = report_of("overwritten_verified", tmp_path, monkeypatch)
    key, path = saved(tmp_path)
    report = replace(removing(good, path), **change)
    path.unlink()
    assert copies(cryptographic_erase_key(key, copies_removed=[report]))["save"] == (1, "may_remain")


@pytest.mark.parametrize("reported", [(), (0,), (1,), (0, 1)])
def test_a_file_that_was_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: tuple[int, ...]) -> None:
    """Each of two files that had the same name wants a report of its own, in whatever order they come."""
    good = report_of("overwritten_verified", tmp_path, monkeypatch)
    key, path = saved(tmp_path)
    first = removing(good, path)
    key.save(path, wrapping_key=CryptoKey.generate(), overwrite=True)
    reports = first, removing(good, path)
    path.unlink()
    receipt = cryptographic_erase_key(key, copies_removed=[reports[each] for each in reversed(reported)])
    assert copies(receipt)["save"] == (2, "gone" if len(reported) == 2 else "may_remain")


def test_a_loaded_file_that_was_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One report does not cover the file that a key came from and the one that it was saved to under the same name."""
    good = report_of("overwritten_verified", tmp_path, monkeypatch)
    outer = CryptoKey.generate()
    with CryptoKey.generate() as first:
        first.save(tmp_path / "key", wrapping_key=outer)
    key = CryptoKey.load(tmp_path / "key", wrapping_key=outer)
    key.save(tmp_path / "key", wrapping_key=outer, overwrite=True)
    report = removing(good, tmp_path / "key")
    os.unlink(tmp_path / "key")
    receipt = cryptographic_erase_key(key, copies_removed=[report])
    assert copies(receipt) == {"key_file": (1, "may_remain"), "save": (1, "may_remain")}
    assert "not all of these" in receipt.copies[0].explanation


@pytest.mark.parametrize("how", ["replace", "reuse", "change"])
def test_a_file_that_another_program_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What was overwritten must be the very file that the key came from, as it was then; also if it has its inode."""
    good = report_of("overwritten_verified", tmp_path, monkeypatch)
    outer = CryptoKey.generate()
    key, path = saved(tmp_path, outer)
    loaded = CryptoKey.load(path, wrapping_key=outer)
    first, before = removing(good, path), os.stat(path)
    wait_for_another_time(tmp_path)
    if how == "replace":
        (tmp_path / "other").write_bytes(path.read_bytes())
        os.replace(tmp_path / "other", path)
        assert os.stat(path).st_ino != before.st_ino
    elif how == "reuse":
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)  # It may get the same inode.
    else:
        path.write_bytes(path.read_bytes())
    report = removing(good, path)
    path.unlink()
    for each, kind in ((key, "save"), (loaded, "key_file")):
        receipt = cryptographic_erase_key(each, copies_removed=[report])
        assert copies(receipt)[kind] == (1, "may_remain")
        assert sanitized(receipt) == "not_met"
    assert report.file_id != first.file_id


def test_two_wrapping_keys_of_one_name(tmp_path: Path) -> None:
    """A file that stood there before under another wrapping key does not go with the last one's."""
    outer, other = CryptoKey.generate(), CryptoKey.generate()
    key, path = saved(tmp_path, other)
    key.save(path, wrapping_key=outer, overwrite=True)
    native = outer.protection.schedule_locked
    cryptographic_erase_key(outer)
    assert copies(cryptographic_erase_key(key))["save"] == (2, "may_remain")
    both, _ = saved(tmp_path / "more", other)
    cryptographic_erase_key(other)
    assert copies(cryptographic_erase_key(both))["save"] == (1, "gone" if native else "may_remain")


@pytest.mark.parametrize("call", ["get_bytes", "wrap"])
def test_a_copy_that_comes_too_late(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that another thread makes while the receipt is made is in it, or is not given out."""
    key, outer = CryptoKey.generate(), CryptoKey.generate()
    receipts: list[ErasureReceipt] = []

    def erase_first(noted: CryptoKey, kind: str, *more: Any) -> None:
        if kind == call:
            receipts.append(cryptographic_erase_key(noted))
        census.note(noted, kind, *more)

    for module in (base, made):
        monkeypatch.setattr(module, "note", erase_first)
    with pytest.raises(SecureMemoryClosed):
        _ = key.get_bytes() if call == "get_bytes" else outer.wrap(key)
    assert call not in copies(receipts[0])
    outer.destroy()


def test_a_key_file_that_comes_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is erased while it is saved is in no file that its receipt does not list."""
    key, outer = CryptoKey.generate(), CryptoKey.generate()
    receipts: list[ErasureReceipt] = []

    def erase_first(noted: CryptoKey, *more: Any) -> Any:
        receipts.append(cryptographic_erase_key(noted))
        return census.note_file(noted, *more)

    monkeypatch.setattr(made, "note_file", erase_first)
    with pytest.raises(SecureMemoryClosed):
        key.save(tmp_path / "key", wrapping_key=outer)
    assert (copies(receipts[0]), [*tmp_path.iterdir()]) == ({}, [])
    outer.destroy()


@pytest.mark.parametrize("call", ["file_key", "opened_file"])
def test_a_file_that_comes_too_late(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is derived for a file while the key is erased goes with it, though the receipt does not know of it."""
    key, path, left = CryptoKey.generate(), tmp_path / "file", []
    other = CryptoKey(key)
    EncryptedWriter(path, other).close()

    def erase_first(noted: CryptoKey, kind: str, file_key: Any) -> None:
        cryptographic_erase_key(noted)
        left.append(file_key)
        census.note_file_key(noted, kind, file_key)

    monkeypatch.setattr(filekey, "note_file_key", erase_first)
    with pytest.raises(SecureMemoryClosed):
        EncryptedWriter(tmp_path / "new", key) if call == "file_key" else EncryptedReader(path, key)
    assert [lib.zpy_cell_state(each._handle) for each in left] == [lib.ZPY_WIPED]
    other.destroy()


@pytest.mark.parametrize("call", ["wrap", "unwrap"])
def test_kwp_while_the_key_is_erased(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That OpenSSL has a wrapping key is in the receipt that is made at that moment."""
    key, outer = CryptoKey.generate(), CryptoKey.generate()
    blob = CryptoKey(outer).wrap(key, format="aes-kwp")
    receipts: list[ErasureReceipt] = []
    name = f"{call}_{'bytes' if call == 'wrap' else 'into'}"
    work = getattr(kwp, name)

    def erase_then(*arguments: Any) -> Any:
        receipts.append(cryptographic_erase_key(outer))
        return work(*arguments)

    monkeypatch.setattr(kwp, name, erase_then)
    with pytest.raises(SecureMemoryClosed):
        _ = outer.wrap(key, format="aes-kwp") if call == "wrap" else CryptoKey.unwrap(blob, outer, format="aes-kwp")
    assert copies(receipts[0])["kwp"] == (1, "unknown")
    key.destroy()


@pytest.mark.parametrize("is_forged", [False, True])
def test_a_decryption_that_is_counted_too_late(is_forged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenSSL: what a receipt that is made meanwhile does not count is not given out."""
    key, receipts = CryptoKey.generate(16), []
    sealed = encrypt_data(b"message", key)
    if is_forged:
        sealed = CipherText(sealed.nonce, bytes(len(sealed.ciphertext)))

    class Core:
        """The core, in which the key is erased before a decryption is counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def zpy_key_count_decrypted(self, *arguments: Any) -> Any:
            receipts.append(cryptographic_erase_key(key))
            return lib.zpy_key_count_decrypted(*arguments)

    monkeypatch.setattr(crypto, "lib", Core())
    with pytest.raises(SecureMemoryClosed):
        decrypt_data(sealed, key)
    counts = [(each.messages_decrypted, each.messages_refused) for each in receipts]
    assert (counts, key.messages_decrypted, key.messages_refused) == ([(0, 0)], 0, 0)


def test_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No report has a key file be gone that stands there: it may be a copy of it."""
    key, path = saved(tmp_path)
    report = removing(report_of("overwritten_verified", tmp_path, monkeypatch), path)
    assert copies(cryptographic_erase_key(key, copies_removed=[report]))["save"] == (1, "may_remain")


@pytest.mark.filterwarnings("ignore:old bytes")
def test_a_real_shred(tmp_path: Path) -> None:
    """On whatever file system this is, the receipt says "gone" only where the shredding engine says it verified."""
    key, outer = CryptoKey.generate(), CryptoKey.generate()
    key.save(tmp_path / "key", wrapping_key=outer)
    report = secure_delete(tmp_path / "key", passes=1, verify=True)
    state = "gone" if report.verdict == "overwritten_verified" else "may_remain"
    assert copies(cryptographic_erase_key(key, copies_removed=[report]))["save"] == (1, state)


def test_a_loaded_key(tmp_path: Path) -> None:
    """The file that a key came from is a copy."""
    outer = CryptoKey.generate()
    CryptoKey(KEY).save(tmp_path / "key", wrapping_key=outer)
    receipt = cryptographic_erase_key(CryptoKey.load(tmp_path / "key", wrapping_key=outer))
    assert (receipt.origin, copies(receipt)["key_file"]) == ("loaded", (1, "may_remain"))
    assert receipt.copies[0].detail == str(tmp_path / "key")


def test_details_are_bounded() -> None:
    """A key that is saved and wrapped without end keeps a bounded census that still counts each time."""
    key = CryptoKey.generate()
    for number in range(2 * census.MOST_DETAILS):
        census.note(key, "wrap", f"{number:064x}")
    receipt = cryptographic_erase_key(key)
    assert (
        len(receipt.copies) - len([each for each in receipt.copies if each.kind == "openssl"])
        == census.MOST_DETAILS + 1
    )
    assert sum(each.count for each in receipt.copies if each.kind == "wrap") == 2 * census.MOST_DETAILS
    assert receipt.condition("copies_sanitized").verdict == "not_met"


def test_threads_count_exactly() -> None:
    """No copy is lost, however many threads take some."""
    key = CryptoKey.generate()
    threads = [threading.Thread(target=lambda: [key.get_bytes() for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert copies(cryptographic_erase_key(key))["get_bytes"] == (4000, "may_remain")


# ---- that the key is gone ----


@pytest.mark.parametrize("broken", ["census_of", "_Witness", "now_text", "_by_path", "_copies"])
def test_destroyed_whatever_fails(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """The key is gone also when no receipt can be made."""
    key = CryptoKey.generate()

    def fail(*_arguments: object) -> None:
        raise MemoryError(broken)

    monkeypatch.setattr(erase, broken, fail)
    with pytest.raises(MemoryError, match=broken):
        cryptographic_erase_key(key)
    assert key.destroyed


def test_wrong_reports() -> None:
    """They are refused, and the key is destroyed all the same."""
    key = CryptoKey.generate()
    with pytest.raises(TypeError, match="copies_removed must be ShredReports, not str"):
        cryptographic_erase_key(key, copies_removed=["path"])  # type: ignore[list-item]
    assert key.destroyed


@pytest.mark.parametrize("tier", TIERS)
def test_the_witness_can_see(tier: Any) -> None:
    """The control: of a key that lives, what is read back is not zeros."""
    key = CryptoKey.generate(tier=tier)
    witness = erase._Witness(key)
    assert not witness.sees_zeros()
    assert witness.size >= 32
    key.destroy()
    assert witness.sees_zeros()


def test_open_files_are_wiped(tmp_path: Path) -> None:
    """Keys of files that are open go with the key, at once."""
    key = CryptoKey.generate()
    encrypt_file(__file__, tmp_path / "old", key)
    writer, reader = EncryptedWriter(tmp_path / "new", key), EncryptedReader(tmp_path / "old", key)
    before = stats().cells
    receipt = cryptographic_erase_key(key)
    assert stats().cells == before - 3
    assert (receipt.files_encrypted, receipt.files_opened) == (2, 1)
    with pytest.raises(SecureMemoryClosed):
        reader.read()
    reader.close()
    with pytest.raises(SecureMemoryClosed):
        writer.close()
    assert not (tmp_path / "new").exists()


def test_gone_before() -> None:
    """A receipt of a key that was destroyed says so, and has its name only if somebody had asked for it."""
    known, unknown = CryptoKey.generate(), CryptoKey.generate()
    name = known.key_id
    for key, expected in ((known, name), (unknown, None)):
        key.destroy()
        receipt = cryptographic_erase_key(key)
        assert (receipt.found, receipt.key_id, receipt.protection) == ("destroyed", expected, None)
        assert receipt.condition("destruction_verified").verdict == "unknown"
    assert name in erased_key_ids()
    expired = CryptoKey.generate(ttl_sec=0.3)
    while not expired.destroyed:
        time.sleep(0.01)
    assert cryptographic_erase_key(expired).found in ("expired", "destroyed")


def test_erased_twice() -> None:
    """The second receipt names the first one's time, and verifies nothing."""
    key = CryptoKey.generate()
    first, second = cryptographic_erase_key(key), cryptographic_erase_key(key)
    assert (first.found, first.erased_before) == ("live", None)
    assert (second.found, second.erased_before, second.key_id) == ("erased", first.time, first.key_id)
    assert second.condition("destruction_verified").verdict == "unknown"


def test_in_a_forked_child(child: Child) -> None:
    """A child has nothing to erase: its receipt says whose the key is, and that it is not gone."""
    code = """
    import os
    from zeroizepy import CryptoKey, cryptographic_erase_key, encrypt_data, erased_key_ids
    key = CryptoKey.generate()
    name = key.key_id
    if os.fork() == 0:
        receipt = cryptographic_erase_key(key)
        shown = [receipt.condition(name).verdict for name in ("copies_sanitized", "destruction_verified")]
        print(receipt.found, shown, erased_key_ids(), flush=True)
        os._exit(0)
    os.wait()
    encrypt_data(b"still there", key)
    """
    assert child.check(code) == "in_parent ['not_met', 'not_met'] frozenset()\n"


def test_a_fork_in_the_middle(child: Child) -> None:
    """A child of a program whose threads take copies at that moment can make keys and erase them."""
    code = """
    import os, threading
    from zeroizepy import CryptoKey, cryptographic_erase_key
    key, stop = CryptoKey.generate(), threading.Event()
    def work():
        while not stop.is_set():
            key.get_bytes()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for _ in range(100):
        pid = os.fork()
        if pid == 0:
            own = CryptoKey.generate()
            own.get_bytes()
            os._exit(cryptographic_erase_key(own).copies[0].count)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    stop.set()
    for thread in threads: thread.join()
    print(max(each.count for each in cryptographic_erase_key(key).copies if each.kind == "fork"))
    """
    assert child.check(code) == "100\n"


# ---- refusing erased keys ----


def test_erased_keys_are_refused(tmp_path: Path) -> None:
    """Neither unwrap nor load gives an erased key out again, unless asked to; other keys are not touched."""
    key, outer = CryptoKey.generate(), CryptoKey.generate()
    blob, name = outer.wrap(key), key.key_id
    key.save(tmp_path / "key", wrapping_key=outer)
    CryptoKey.unwrap(blob, outer)
    refuse_erased(name)
    cryptographic_erase_key(key)
    assert name in erased_key_ids()
    before = stats().cells
    for use in (
        lambda: CryptoKey.unwrap(blob, outer),
        lambda: CryptoKey.load(tmp_path / "key", wrapping_key=outer),
        lambda: refuse_erased(name),
    ):
        with pytest.raises(KeyErasedError, match=f"^key {name} was erased by this process"):
            use()
    assert stats().cells == before
    assert CryptoKey.unwrap(blob, outer, allow_erased=True).key_id == name
    assert CryptoKey.load(tmp_path / "key", wrapping_key=outer, allow_erased=True).key_id == name
    other = CryptoKey.generate()
    assert CryptoKey.unwrap(outer.wrap(other), outer).key_id == other.key_id
    with pytest.raises(TypeError, match="allow_erased must be a bool"):
        CryptoKey.unwrap(blob, outer, allow_erased="yes")  # type: ignore[arg-type]
    for wrong in ("", "ab", "x" * 64, "ab " * 21 + "a"):
        with pytest.raises(ValueError, match="hexadecimal"):
            refuse_erased(wrong)


def test_destroying_is_not_erasing() -> None:
    """A key that is merely closed may be loaded again."""
    outer = CryptoKey.generate()
    with CryptoKey.generate() as key:
        blob, name = outer.wrap(key), key.key_id
    assert name not in erased_key_ids()
    assert CryptoKey.unwrap(blob, outer).key_id == name


def test_a_bounded_memory_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones are remembered."""
    monkeypatch.setattr(census, "MOST_ERASED", 10)
    names = [str(cryptographic_erase_key(CryptoKey.generate()).key_id) for _ in range(25)]
    assert erased_key_ids() == frozenset(names[-10:])


# ---- what came with it ----


def test_wipe_source() -> None:
    """A mutable buffer is zeroed, a cell or memory wiped; what cannot be is refused, and no key is left."""
    buffer, cell, memory = bytearray(KEY), CypherCell(KEY), SecureMemory.from_bytes(KEY)
    made = [CryptoKey(each, wipe_source=True) for each in (buffer, memoryview(bytearray(KEY)), cell, memory)]
    assert {key.get_bytes() for key in made} == {KEY}
    assert (buffer, cell.wiped, memory.closed) == (bytearray(32), True, True)
    before = stats().cells
    for wrong in (KEY, memoryview(KEY)):
        with pytest.raises(TypeError, match="wipe_source needs a mutable source"):
            CryptoKey(wrong, wipe_source=True)
    with pytest.raises(TypeError, match="wipe_source must be a bool"):
        CryptoKey(buffer, wipe_source=1)  # type: ignore[arg-type]
    assert stats().cells == before


def test_json() -> None:
    """A receipt matches its schema, and comes back from JSON as it was."""
    key, outer = CryptoKey.generate(16), CryptoKey.generate()
    outer.wrap(key)
    receipt = cryptographic_erase_key(key)
    schema = json.loads((files("zeroizepy") / "schemas" / "erasure-receipt.json").read_text(encoding="utf-8"))
    found = load_json(receipt.to_json())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert from_plain(ErasureReceipt, found, "receipt") == receipt
    assert str(receipt.key_id) in str(receipt)
    assert "copies_sanitized not_met" in str(receipt)
    with pytest.raises(KeyError):
        receipt.condition("other")
