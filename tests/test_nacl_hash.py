"""BLAKE2b, SHA-2 and SipHash by PyNaCl's names: what PyNaCl gives, with keys and states in slots."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_frames import found_in
from test_nacl_pwhash import SOURCES, Late

from zeroizepy import CryptoKey, CypherCell, SecureMemory, SecureMemoryClosed
from zeroizepy.exceptions import CellWipedError
from zeroizepy.nacl import encoding, exceptions
from zeroizepy.nacl import hash as ours
from zeroizepy.nacl import hashlib as ours_hashlib
from zeroizepy.nacl.bindings import crypto_generichash as bindings
from zeroizepy.nacl.bindings import crypto_shorthash as short_bindings
from zeroizepy.nacl.bindings.crypto_hash import crypto_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

theirs = pytest.importorskip("nacl.hash", reason="PyNaCl is not installed")
their_hashlib = pytest.importorskip("nacl.hashlib", reason="PyNaCl is not installed")
their_bindings = pytest.importorskip("nacl.bindings.crypto_generichash", reason="PyNaCl is not installed")
their_encoding = pytest.importorskip("nacl.encoding", reason="PyNaCl is not installed")

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

KEY = bytes(range(16))
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sha256": lambda module, data, _key: module.sha256(data),
    "sha512": lambda module, data, _key: module.sha512(data),
    "blake2b": lambda module, data, key: module.blake2b(data, key=key),
    "generichash": lambda module, data, key: module.generichash(data, 64, key, b"salt", b"person"),
    "siphash24": lambda module, data, key: module.siphash24(data, key),
    "shorthash": lambda module, data, key: module.shorthash(data, key),
    "siphashx24": lambda module, data, key: module.siphashx24(data, key),
}
EACH = pytest.mark.parametrize("name", FUNCTIONS)


@EACH
@given(data=st.binary(max_size=600), key=st.binary(min_size=16, max_size=16))
def test_digests_are_pynacls(name: str, data: bytes, key: bytes) -> None:
    """The same for any message and key."""
    assert FUNCTIONS[name](ours, data, key) == FUNCTIONS[name](theirs, data, key)


@EACH
@pytest.mark.parametrize("source", [*SOURCES, "key"])
def test_from_where_secrets_are(name: str, source: str) -> None:
    """A message and a key in a cell, secure memory, a key object or any buffer are the same."""
    wanted = FUNCTIONS[name](theirs, KEY, KEY)
    make: Any = SOURCES.get(source, CryptoKey)
    assert FUNCTIONS[name](ours, make(KEY), make(KEY)) == wanted


@given(
    parts=st.lists(st.binary(max_size=300), max_size=6),
    size=st.integers(1, 64),
    key=st.binary(max_size=64),
    salt=st.binary(max_size=16),
    person=st.binary(max_size=16),
)
def test_blake2b_is_rfc_7693s(parts: list[bytes], size: int, key: bytes, salt: bytes, person: bytes) -> None:
    """The standard library's digest, in one step and in several, in both of its forms, and of a copy."""
    whole = b"".join(parts)
    wanted = hashlib.blake2b(whole, digest_size=size, key=key, salt=salt, person=person)
    assert ours.blake2b(whole, size, key, salt, person, encoding.RawEncoder) == wanted.digest()
    state = ours_hashlib.blake2b(digest_size=size, key=key, salt=salt, person=person)
    for part in parts:
        state.update(part)
    twin = state.copy()
    twin.update(b"more")
    assert state.digest() == state.digest() == wanted.digest()
    assert state.hexdigest() == wanted.hexdigest()
    wanted.update(b"more")
    assert twin.digest() == wanted.digest()


def test_sha2_is_fips_180s() -> None:
    """The standard library's, up to lengths that take long."""
    for size in (0, 1, 63, 64, 127, 128, 1 << 20):
        data = os.urandom(size)
        assert ours.sha256(data, encoding.RawEncoder) == hashlib.sha256(data).digest()
        assert crypto_hash(data) == hashlib.sha512(data).digest()


def test_the_object_is_like_hashlibs() -> None:
    """Its attributes, and data given at the beginning."""
    state = ours_hashlib.blake2b(b"data", digest_size=20)
    assert (state.name, state.block_size, state.digest_size) == ("blake2b", 128, 20)
    assert state.hexdigest() == hashlib.blake2b(b"data", digest_size=20).hexdigest()
    assert ours_hashlib.blake2b(CypherCell(b"data")).digest() == their_hashlib.blake2b(b"data").digest()
    for name in ("MAX_DIGEST_SIZE", "MAX_KEY_SIZE", "PERSON_SIZE", "SALT_SIZE"):
        assert getattr(state, name) == getattr(their_hashlib.blake2b, name)


def test_no_text_and_no_copies_by_accident() -> None:
    """Pickling and copying raise, and its texts show nothing."""
    for it in (ours_hashlib.blake2b(key=KEY), bindings.generichash_blake2b_init(KEY)):
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                use(it)
        assert repr(it) == str(it) == f"<{type(it).__name__}: [REDACTED]>"


def test_a_state_ends_once() -> None:
    """As with PyNaCl: final once, and then no more; a state that was never begun gives something, too."""
    for module in (bindings, their_bindings):
        state = module.generichash_blake2b_init(KEY)
        module.generichash_blake2b_update(state, b"data")
        assert module.generichash_blake2b_final(state) == hashlib.blake2b(b"data", key=KEY, digest_size=32).digest()
        with pytest.raises(RuntimeError, match=r"^Unexpected failure$"):
            module.generichash_blake2b_final(state)
    mine, other = bindings.Blake2State(32), their_bindings.Blake2State(32)
    assert bindings.generichash_blake2b_final(mine) == their_bindings.generichash_blake2b_final(other)


WRONG: dict[str, Callable[[SimpleNamespace], object]] = {
    "key": lambda it: it.hash.blake2b(b"", key=bytes(65)),
    "salt": lambda it: it.hash.blake2b(b"", salt=bytes(17)),
    "person": lambda it: it.hash.blake2b(b"", person=bytes(17)),
    "digest_size": lambda it: it.hash.blake2b(b"", 65),
    "digest_size, zero": lambda it: it.hash.blake2b(b"", 0),
    "digest_size, type": lambda it: it.hash.blake2b(b"", 32.0),
    "key, type": lambda it: it.hash.blake2b(b"", key="key"),
    "salt, type": lambda it: it.hash.blake2b(b"", salt="salt"),
    "person, type": lambda it: it.hash.blake2b(b"", person="person"),
    "data, type": lambda it: it.hash.blake2b("data"),
    "object, key": lambda it: it.hashlib.blake2b(key=bytes(65)),
    "object, size": lambda it: it.hashlib.blake2b(digest_size=65),
    "object, zero size": lambda it: it.hashlib.blake2b(digest_size=0),
    "object, data": lambda it: it.hashlib.blake2b("data"),
    "update, data": lambda it: it.hashlib.blake2b().update("data"),
    "update, state": lambda it: it.bindings.generichash_blake2b_update(b"", b""),
    "final, state": lambda it: it.bindings.generichash_blake2b_final(None),
    "siphash24, key": lambda it: it.hash.siphash24(b"", bytes(15)),
    "siphash24, no key": lambda it: it.hash.siphash24(b""),
    "siphashx24, key": lambda it: it.hash.siphashx24(b"", bytes(17)),
    "siphash24, data": lambda it: it.hash.siphash24("", bytes(16)),
    "sha256, data": lambda it: it.hash.sha256("data"),
    "sha512, data": lambda it: it.hash.sha512(None),
}
THEIRS = SimpleNamespace(hash=theirs, hashlib=their_hashlib, bindings=their_bindings)
OURS = SimpleNamespace(hash=ours, hashlib=ours_hashlib, bindings=bindings)


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_pynacls(name: str) -> None:
    """The same kind of error; what says more here begins as PyNaCl's does."""
    with pytest.raises(Exception) as wanted:  # noqa: PT011 - whichever PyNaCl raises.
        WRONG[name](THEIRS)
    with pytest.raises(type(wanted.value)) as caught:
        WRONG[name](OURS)
    if isinstance(wanted.value, theirs.nacl.exceptions.CryptoError):
        assert str(caught.value).startswith(str(wanted.value))


def test_a_reduced_libsodium(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SipHash of 16 bytes it says so."""
    monkeypatch.setattr(short_bindings, "has_crypto_shorthash_siphashx24", False)
    with pytest.raises(exceptions.UnavailableError, match="minimal build"):
        ours.siphashx24(b"", KEY)


def test_constants_are_pynacls() -> None:
    """Each number is the same."""
    pairs = [(ours, theirs), (ours_hashlib, their_hashlib), (bindings, their_bindings)]
    for mine, peer in pairs:
        for name, value in vars(peer).items():
            if not name.startswith("_") and isinstance(value, (int, bytes)):
                assert getattr(mine, name) == value, name


# ---- secrets that end ----


@pytest.mark.parametrize("which", ["key", "data"])
@pytest.mark.parametrize(
    ("module", "function", "name"),
    [
        (bindings, "zpy_hash_blake2b", "blake2b"),
        (short_bindings, "zpy_hash_siphash", "siphash24"),
    ],
)
def test_what_ends_meanwhile(
    which: str, module: Any, function: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key or a message that is wiped before it is hashed gives no digest of zeros."""
    secret = CypherCell(KEY)
    data, key = (secret, KEY) if which == "data" else (b"data", secret)
    monkeypatch.setattr(module, "lib", Late(module.lib, function, secret.wipe))
    with pytest.raises(CellWipedError):
        FUNCTIONS[name](ours, data, key)
    with pytest.raises(CellWipedError):
        FUNCTIONS[name](ours, data, key)


def test_data_that_ends_meanwhile_ends_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros may have been hashed in its place: the state gives nothing any more."""
    state, data = ours_hashlib.blake2b(b"begin"), CypherCell(b"data")
    monkeypatch.setattr(bindings, "lib", Late(bindings.lib, "zpy_hash_blake2b_update", data.wipe))
    with pytest.raises(CellWipedError):
        state.update(data)
    with pytest.raises(SecureMemoryClosed):
        state.digest()


def test_wrong_data_leaves_the_state() -> None:
    """What was never hashed has not ended anything."""
    state = ours_hashlib.blake2b(b"data")
    for wrong in ("text", None, 5):
        with pytest.raises(exceptions.TypeError):
            state.update(wrong)  # type: ignore[arg-type]
    assert state.digest() == their_hashlib.blake2b(b"data").digest()


def test_a_wiped_state_does_nothing() -> None:
    """After the block every use raises; wiping again is harmless."""
    with ours_hashlib.blake2b(key=KEY) as state:
        twin = state.copy()
    state.wipe()
    for use in (state.digest, state.copy, lambda: state.update(b"")):
        with pytest.raises(SecureMemoryClosed, match="Blake2State is closed"):
            use()
    assert twin.digest() == their_hashlib.blake2b(key=KEY).digest()


def test_threads_take_turns() -> None:
    """Updates of one state from several threads are all in it, whole, in some order."""
    state, part = ours_hashlib.blake2b(key=KEY), b"p" * 1000

    def work() -> None:
        for _ in range(200):
            state.update(part)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.digest() == hashlib.blake2b(part * 800, key=KEY, digest_size=32).digest()


def test_wiped_in_the_middle_of_updates() -> None:
    """Whenever it happens, the process lives on and says that the state is closed."""
    for _ in range(50):
        state, go = ours_hashlib.blake2b(key=KEY), threading.Barrier(2)
        ends: list[bool] = []

        def work(state: ours_hashlib.blake2b = state, go: threading.Barrier = go, ends: list[bool] = ends) -> None:
            go.wait()
            try:
                while True:
                    state.update(b"x" * 10_000)
            except SecureMemoryClosed:
                ends.append(True)

        thread = threading.Thread(target=work)
        thread.start()
        go.wait()
        state.wipe()
        thread.join()
        assert ends == [True]


def test_forked_children(child: Child) -> None:
    """A state without a key goes on in a child, apart from the parent's; one under a key is not there."""
    program = """
import os
from zeroizepy.exceptions import SecureMemoryClosed
from zeroizepy.nacl import hashlib
plain, keyed = hashlib.blake2b(b"begin"), hashlib.blake2b(b"begin", key=b"key")
copied = plain.copy()
pid = os.fork()
if not pid:
    plain.update(b"child")
    assert plain.digest() == hashlib.blake2b(b"beginchild").digest()
    assert copied.digest() == hashlib.blake2b(b"begin").digest()
    for use in (keyed.digest, keyed.copy, lambda: keyed.update(b"")):
        try:
            use()
        except SecureMemoryClosed as error:
            print(error, flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
plain.update(b"parent")
assert plain.digest() == hashlib.blake2b(b"beginparent").digest()
assert keyed.digest() == hashlib.blake2b(b"begin", key=b"key").digest()
"""
    told = "Blake2State belongs to the parent process; create it after the fork"
    assert child.check(program).splitlines() == [told] * 3


def test_a_child_of_a_thread_s_turn(child: Child) -> None:
    """A child goes on although a thread, which is not there, held the state at the fork; handlers go on, too."""
    program = """
import os, signal, threading
from zeroizepy.nacl import hashlib
state = hashlib.blake2b(b"begin")
held, over = threading.Event(), threading.Event()
def hold():
    with state._state._lock:
        held.set()
        over.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if not pid:
    signal.alarm(60)
    for _ in range(2):
        state.update(b"child")
    assert state.copy().digest() == hashlib.blake2b(b"beginchildchild").digest()
    os._exit(0)
status = os.waitpid(pid, 0)[1]
over.set()
thread.join()
assert status == 0, status
with state._state._lock:
    assert state.digest() == hashlib.blake2b(b"begin").digest()
"""
    child.check(program)


def test_more_states_than_can_be_locked(child: Child) -> None:
    """Where no more can be locked they are sealed, and the digests are right."""
    program = """
import hashlib, warnings
from zeroizepy.nacl.hashlib import blake2b
warnings.simplefilter("ignore")
states = [blake2b(b"%d" % number, key=b"key") for number in range(500)]
for state in states:
    state.update(b"!")
for number, state in enumerate(states):
    assert state.digest() == hashlib.blake2b(b"%d!" % number, key=b"key", digest_size=32).digest()
print("right")
"""
    assert child.check(program, env={"ZEROIZEPY_LOCK_BUDGET": "65536"}) == "right\n"


@pytest.mark.parametrize(
    "call",
    [
        lambda secret: ours.blake2b(b"", key=secret() * 3),
        lambda secret: ours.siphash24(b"", secret()),
        lambda secret: ours.sha256(secret().decode()),
        lambda secret: ours_hashlib.blake2b(secret(), digest_size=65),
        lambda secret: ours_hashlib.blake2b().update(secret().decode()),
    ],
)
def test_frames_of_errors(call: Callable[[Callable[[], bytes]], object]) -> None:
    """No frame of the library keeps what was passed to it, and no message says it."""
    text = "hunter2SECRET-XYZ-0001"
    with pytest.raises(exceptions.CryptoError) as caught:
        call(text.encode)
    assert text not in str(caught.value)
    assert found_in(caught.value.__traceback__, "zeroizepy") == []


@settings(max_examples=5)
@given(size=st.sampled_from([31, 33]))
def test_a_cell_is_not_read_for_a_wrong_salt(size: int) -> None:
    """What is no secret is looked at first: a cell that may be read once still can be."""
    cell = CypherCell(KEY, volatile=True)
    with pytest.raises(exceptions.ValueError, match="Salt length"):
        ours.blake2b(b"", key=cell, salt=bytes(size))
    assert cell.reveal_bytes() == KEY
    memory = SecureMemory.from_bytes(KEY)
    assert ours.blake2b(b"", key=memory) == theirs.blake2b(b"", key=KEY)
