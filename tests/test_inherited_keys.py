"""Keys with `inherit=True`: a forked child uses its own copy, no nonce is drawn twice, receipts tell of the fork."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from zeroizepy.crypto import CryptoKey
from zeroizepy.memory import stats

if TYPE_CHECKING:
    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

# in_child(work) forks, runs work in the child, and gives what it returned; what it raised ends this program, too.
PROGRAM = """
import json, os, sys, time, traceback
from zeroizepy import *
from zeroizepy.crypto import CipherText, decrypt_data, encrypt_data
def begin(work):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with open(theirs, "w") as pipe:
                json.dump(work(), pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(3)
    os.close(theirs)
    return pid, ours
def end(pid, ours):
    with open(ours) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(text)
def in_child(work):
    return end(*begin(work))
def raises(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")
def send(message):
    return [part.hex() for part in message]
def receive(parts):
    return CipherText(*map(bytes.fromhex, parts))
def copies(receipt):
    return [[each.kind, each.count, each.state] for each in receipt.copies if each.kind not in ("openssl", "source")]
"""


def run(child: Child, body: str, *arguments: str) -> str:
    """Run a program that begins as above."""
    return child.check(PROGRAM + dedent(body), *arguments)


def test_each_way_to_make_one(child: Child, tmp_path: object) -> None:
    """However a key is made, each side opens what the other encrypted, and has its own locked copy."""
    body = """
    outer = CryptoKey.generate()
    given = bytes(range(32))
    keys = [CryptoKey(given[:size], inherit=True, tier=tier)
            for size in (16, 24, 32) for tier in ("packed", "isolated", "sealed")]
    keys += [CryptoKey.generate(inherit=True), CryptoKey.generate(algorithm="XChaCha20-Poly1305", inherit=True)]
    keys += [CryptoKey(CypherCell(given), inherit=True), outer.derive(b"x", inherit=True)]
    keys += [CryptoKey.from_password(b"x", opslimit=5, memlimit=7 << 20, inherit=True)]
    keys += [CryptoKey.unwrap(outer.wrap(keys[0]), outer, inherit=True)]
    keys += [CryptoKey.unwrap(outer.wrap(keys[0], format="aes-kwp"), outer, inherit=True, format="aes-kwp")]
    path = sys.argv[1] + "/key"
    keys[0].save(path, wrapping_key=outer)
    keys += [CryptoKey.load(path, wrapping_key=outer, inherit=True)]
    assert all((key.protection.fork, key.protection.backing) == ("inherited", "mlock") for key in keys)
    sent = [encrypt_data(b"from the parent", key) for key in keys]
    def work():
        raises(CellWipedError, lambda: encrypt_data(b"", outer))
        assert [decrypt_data(message, key) for message, key in zip(sent, keys)] == [b"from the parent"] * len(keys)
        assert all(key.protection.locked for key in keys)
        return [send(encrypt_data(b"from the child", key)) for key in keys]
    for parts, key in zip(in_child(work), keys):
        assert decrypt_data(receive(parts), key) == b"from the child"
    print(len(keys))
    """
    assert run(child, body, str(tmp_path)) == "17\n"


def test_only_those_that_were_asked_for() -> None:
    """What is made of an inherited key is not inherited by itself, and `inherit` is no place for other arguments."""
    before = stats().cells
    with CryptoKey.generate(inherit=True) as key, key.derive(b"x") as other, CryptoKey(key) as third:
        assert [each.protection.fork == "inherited" for each in (key, other, third)] == [True, False, False]
    for wrong in (
        lambda: CryptoKey(bytes(32), inherit=1),  # type: ignore[arg-type]
        lambda: CryptoKey.generate(inherit="packed"),  # type: ignore[arg-type]
        lambda: CryptoKey.from_password(b"x", inherit=1),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="inherit must be a bool"):
            wrong()
    assert stats().cells == before


@pytest.mark.parametrize("length", [16, 32])
def test_no_nonce_is_drawn_twice(child: Child, length: int) -> None:
    """Parent, children and grandchildren that encrypt at once, as nonces were drawn ahead: all of them differ."""
    body = """
    key = CryptoKey.generate(int(sys.argv[1]), inherit=True)
    def draw(count):
        return [encrypt_data(b"", key).nonce.hex() for _ in range(count)]
    def descend(depth):
        made = draw(30)  # Some of those that were drawn with them are left at the fork.
        under = [begin(lambda: descend(depth - 1)) for _ in range(3 if depth else 0)]
        made += draw(30)
        return made + [nonce for each in under for nonce in end(*each)]
    found = [nonce for _ in range(5) for nonce in descend(2)]
    print(len(found), len(set(found)))
    """
    assert run(child, body, str(length)) == f"{5 * 13 * 60} {5 * 13 * 60}\n"


def test_each_process_counts_for_itself(child: Child) -> None:
    """From what was counted at the fork on; the limit of nonces is held by each, and not by all together."""
    body = """
    from zeroizepy.exceptions import NonceLimitError
    key = CryptoKey.generate(inherit=True)
    message = encrypt_data(b"", key)
    def work():
        for _ in range(2):
            decrypt_data(encrypt_data(b"", key), key)
        return [key.messages, key.messages_decrypted]
    print(in_child(work), key.messages, key.messages_decrypted)
    key._core.messages = (1 << 32) - 1
    def last():
        encrypt_data(b"", key)
        return str(raises(NonceLimitError, lambda: encrypt_data(b"", key)))[:8]
    print(in_child(last), last())
    """
    assert run(child, body) == "[3, 2] 1 0\nthis key this key\n"


def test_receipts_tell_of_forks(child: Child) -> None:
    """On both sides the other one's copy stands in the receipt; erasing here leaves that, and it is said."""
    body = """
    key, gone, later = (CryptoKey.generate(inherit=True) for _ in range(3))
    kept = encrypt_data(b"kept", key)
    def work():
        assert decrypt_data(kept, key) == b"kept"
        receipt = cryptographic_erase_key(key)
        own = cryptographic_erase_key(CryptoKey.generate(inherit=True))
        assert copies(own) == [], own
        condition = receipt.condition("copies_sanitized")
        return [receipt.found, copies(receipt), condition.verdict, receipt.condition("destruction_verified").verdict]
    for _ in range(2):
        print(in_child(work))
    assert decrypt_data(kept, key) == b"kept"
    gone.destroy()
    for each in (key, gone, CryptoKey.generate(inherit=True)):
        receipt = cryptographic_erase_key(each)
        print(receipt.found, copies(receipt), receipt.condition("copies_sanitized").verdict != "not_met")
    def after():
        return decrypt_data(encrypt_data(b"", later), later) == b"" and copies(cryptographic_erase_key(later))
    begun = begin(after)
    cryptographic_erase_key(later)
    print(end(*begun))
    """
    lines = run(child, body).splitlines()
    assert lines[:2] == [
        "['live', [['fork', 1, 'may_remain']], 'not_met', 'met']",
        "['live', [['fork', 2, 'may_remain']], 'not_met', 'met']",
    ]
    assert lines[2] == "live [['fork', 2, 'may_remain']] False"
    assert lines[3] == "destroyed [['fork', 2, 'may_remain']] False"
    assert lines[4].startswith("live [] ")
    assert lines[5] == "[['fork', 3, 'may_remain']]"


def test_a_key_that_was_not_inherited_has_no_fork_of_its_own(child: Child) -> None:
    """A child's receipt of its parent's key lists no copies that went to children."""
    body = """
    key = CryptoKey.generate()
    in_child(lambda: None)
    def work():
        receipt = cryptographic_erase_key(key)
        return [receipt.found, copies(receipt)]
    print(in_child(work))
    """
    assert run(child, body) == "['in_parent', []]\n"


@pytest.mark.parametrize("length", [16, 32])
def test_a_fork_right_after_a_key_is_made(child: Child, length: int) -> None:
    """Another thread may fork as soon as there is a key, before its object is complete: the child has it, too."""
    body = """
    from zeroizepy.keys import base
    create, generic = base._create_key, base._lib.new_handle
    def forking(work):
        def made(*arguments):
            handle = work(*arguments)
            in_child(lambda: None)
            return handle
        return made
    base._create_key, base._lib.new_handle = forking(create), forking(generic)
    key = CryptoKey.generate(int(sys.argv[1]), inherit=True)
    base._create_key, base._lib.new_handle = create, generic
    print(copies(cryptographic_erase_key(key)))
    """
    assert run(child, body, str(length)) == "[['fork', 1, 'may_remain']]\n"


def test_a_key_that_is_erased_by_what_runs_around_a_fork(child: Child) -> None:
    """Functions of `os.register_at_fork` may run before this library's own; the receipt has the fork all the same."""
    code = """
    import os
    keys = []
    def erase():
        from zeroizepy import cryptographic_erase_key
        receipt = cryptographic_erase_key(keys.pop())
        shown = [each.count for each in receipt.copies if each.kind == "fork"]
        os.write(1, f"{receipt.found} {shown} {receipt.condition('copies_sanitized').verdict}\\n".encode())
    os.register_at_fork(after_in_parent=erase, after_in_child=erase)
    from zeroizepy import CryptoKey
    keys.append(CryptoKey.generate(inherit=True))
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    """
    assert child.check(code) == "live [1] not_met\n" * 2


@pytest.mark.parametrize("inherit", [False, True])
def test_files_that_the_parent_has_open(child: Child, tmp_path: object, inherit: bool) -> None:
    """A child cannot wipe its parent's keys of single files, and its receipt does not say that they are wiped."""
    body = """
    key = CryptoKey.generate(inherit=sys.argv[2] == "True")
    writer = EncryptedWriter(sys.argv[1] + "/file", key)
    def work():
        return copies(cryptographic_erase_key(key))[0]
    print(in_child(work))
    writer.write(b"still open")
    writer.close()
    """
    assert run(child, body, str(tmp_path), str(inherit)) == "['file_key', 1, 'unknown']\n"


@pytest.mark.parametrize("length", [16, 32])
def test_open_files_stay_with_their_process(child: Child, tmp_path: object, length: int) -> None:
    """A child can use files of its own, and not go on with its parent's, whose nonces would be used twice."""
    body = """
    folder = sys.argv[1]
    key = CryptoKey.generate(int(sys.argv[2]), inherit=True)
    content = os.urandom(100_000)
    writer = EncryptedWriter(folder + "/parent", key)
    writer.write(content[:50_000])
    def work():
        raises(SecureMemoryClosed, lambda: writer.write(bytes(300_000)))
        with EncryptedWriter(folder + "/child", key) as own:
            own.write(content)
        return True
    assert in_child(work)
    writer.write(content[50_000:])
    writer.close()
    for name in ("/parent", "/child"):
        with EncryptedReader(folder + name, key) as reader:
            print(reader.read() == content)
    """
    assert run(child, body, str(tmp_path), str(length)) == "True\nTrue\n"


def test_the_deadline_holds_in_the_child(child: Child) -> None:
    """A child's copy of a key with a time to live ends, too."""
    body = """
    key = CryptoKey.generate(inherit=True, ttl_sec=0.3)
    def work():
        while not key.destroyed:
            time.sleep(0.01)
        raises(SecureMemoryClosed, lambda: encrypt_data(b"", key))
        return key.expires_in
    print(in_child(work))
    """
    assert run(child, body) == "0.0\n"
