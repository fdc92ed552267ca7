"""Streams whose state lies in a slot: what PyNaCl's give, and what becomes of the state."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroizepy import CypherCell, SecureMemory, SecureMemoryClosed
from zeroizepy._lib import ffi
from zeroizepy.nacl import exceptions
from zeroizepy.nacl.bindings import crypto_secretstream as ours

if TYPE_CHECKING:
    from support.children import Child

theirs = pytest.importorskip("nacl.bindings.crypto_secretstream", reason="PyNaCl is not installed")

PREFIX = "crypto_secretstream_xchacha20poly1305_"
TIERS = pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
CHUNKS = st.lists(
    st.tuples(st.binary(max_size=100), st.none() | st.binary(max_size=20), st.sampled_from([0, 1, 2, 3])), max_size=5
)


def of(module: Any, name: str) -> Any:
    """One of the long names."""
    return getattr(module, PREFIX + name)


def opened(key: Any, **keywords: Any) -> tuple[Any, Any]:
    """The two ends of a stream of ours."""
    sender, receiver = (ours.crypto_secretstream_xchacha20poly1305_state(**keywords) for _ in range(2))
    header = of(ours, "init_push")(sender, key)
    of(ours, "init_pull")(receiver, header, key)
    return sender, receiver


@pytest.mark.parametrize(("sender", "receiver"), [(ours, theirs), (theirs, ours)])
@settings(max_examples=50, deadline=None)
@given(chunks=CHUNKS, rekey_at=st.integers(0, 5))
def test_each_reads_what_the_other_wrote(sender: Any, receiver: Any, chunks: Any, rekey_at: int) -> None:
    """Both ways, with associated data, every tag, and a new key in between."""
    key = of(sender, "keygen")()
    writing, reading = of(sender, "state")(), of(receiver, "state")()
    of(receiver, "init_pull")(reading, of(sender, "init_push")(writing, key), key)
    for at, (message, ad, tag) in enumerate(chunks):
        sealed = of(sender, "push")(writing, message, ad, tag)
        assert of(receiver, "pull")(reading, sealed, ad) == (message, tag)
        if at == rekey_at:
            of(sender, "rekey")(writing)
            of(receiver, "rekey")(reading)


@given(chunks=CHUNKS)
@settings(max_examples=25, deadline=None)
def test_one_state_gives_one_ciphertext(chunks: Any) -> None:
    """From the same state both make the same, and go on to the same state."""
    key, mine, peer = os.urandom(32), of(ours, "state")(), of(theirs, "state")()
    of(theirs, "init_push")(peer, key)
    buffer = mine.statebuf
    assert len(buffer) == ours.crypto_secretstream_xchacha20poly1305_STATEBYTES
    for at in range(len(buffer)):
        buffer[at] = peer.statebuf[at]
    for message, ad, tag in chunks:
        assert of(ours, "push")(mine, message, ad, tag) == of(theirs, "push")(peer, message, ad, tag)
        assert bytes(ffi.buffer(mine.statebuf)) == bytes(mine) == bytes(memoryview(ffi.buffer(buffer)))


@TIERS
def test_secrets_where_they_are(tier: Any) -> None:
    """Key and message are taken from slots; the plaintext goes into one."""
    key = ours.crypto_secretstream_xchacha20poly1305_keygen(into=SecureMemory)
    sender, receiver = opened(key, tier=tier)
    sealed = ours.crypto_secretstream_xchacha20poly1305_push(sender, CypherCell(b"message"), bytearray(b"extra"), 3)
    memory = SecureMemory(7)
    got, tag = ours.crypto_secretstream_xchacha20poly1305_pull(receiver, memoryview(sealed), b"extra", into=memory)
    assert got is memory
    assert (memory.get_bytes(), tag) == (b"message", 3)
    assert sender.protection.tier == tier


@TIERS
def test_a_wiped_state_does_nothing(tier: Any) -> None:
    """After wipe() every use is refused, and an array that was kept reads zeros."""
    sender, receiver = opened(os.urandom(32), tier=tier)
    sealed = ours.crypto_secretstream_xchacha20poly1305_push(sender, b"message")
    buffer = sender.statebuf
    assert any(buffer)
    sender.wipe()
    receiver.close()
    assert not any(buffer)
    uses = [
        lambda: ours.crypto_secretstream_xchacha20poly1305_push(sender, b"message"),
        lambda: ours.crypto_secretstream_xchacha20poly1305_rekey(sender),
        lambda: ours.crypto_secretstream_xchacha20poly1305_init_push(sender, bytes(32)),
        lambda: ours.crypto_secretstream_xchacha20poly1305_pull(receiver, sealed),
        lambda: sender.statebuf,
        lambda: bytes(sender),
    ]
    for use in uses:
        with pytest.raises(SecureMemoryClosed, match="crypto_secretstream_xchacha20poly1305_state is closed"):
            use()


def test_a_state_has_no_text_and_no_copy() -> None:
    """str() and repr() are redacted; pickle and copy are refused, as PyNaCl's states are not pickled either."""
    state = opened(os.urandom(32))[0]
    assert repr(state) == str(state) == "<crypto_secretstream_xchacha20poly1305_state: [REDACTED]>"
    for through in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            through(state)
    with pytest.raises(TypeError):
        pickle.dumps(of(theirs, "state")())


def test_the_deadline_is_kept() -> None:
    """A state with ttl_sec=0 is over at once."""
    state = ours.crypto_secretstream_xchacha20poly1305_state(ttl_sec=0)
    with pytest.raises(SecureMemoryClosed):
        ours.crypto_secretstream_xchacha20poly1305_init_push(state, bytes(32))


def test_a_child_has_no_state(child: Child) -> None:
    """A forked child refuses the parent's state; it neither goes on with zeros nor waits for a thread that is gone."""
    program = """
    import os
    from zeroizepy import SecureMemoryClosed
    from zeroizepy.nacl.bindings import *
    state = crypto_secretstream_xchacha20poly1305_state()
    crypto_secretstream_xchacha20poly1305_init_push(state, bytes(32))
    state._lock.acquire()
    if os.fork() == 0:
        try:
            crypto_secretstream_xchacha20poly1305_push(state, b"message")
        except SecureMemoryClosed as error:
            os._exit(7 if "parent process" in str(error) else 8)
        os._exit(9)
    state._lock.release()
    print(os.waitstatus_to_exitcode(os.wait()[1]), len(crypto_secretstream_xchacha20poly1305_push(state, b"message")))
    """
    assert child.check(program).split() == ["7", "24"]


def test_threads_take_turns() -> None:
    """What several threads push at once is one stream: some order of it is read without a gap."""
    sender, receiver = opened(os.urandom(32))
    made: list[bytes] = []

    def push() -> None:
        made.extend(ours.crypto_secretstream_xchacha20poly1305_push(sender, bytes(3000)) for _ in range(50))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = set(made)
    assert len(left) == 200
    while left:
        for sealed in left:
            try:
                ours.crypto_secretstream_xchacha20poly1305_pull(receiver, sealed)
            except exceptions.RuntimeError:
                continue
            break
        else:
            pytest.fail(f"{len(left)} messages belong nowhere in the stream")
        left.remove(sealed)


def test_a_forgery_changes_nothing() -> None:
    """After a refused message the stream goes on; memory that it would have gone into holds zeros."""
    sender, receiver = opened(os.urandom(32))
    sealed = ours.crypto_secretstream_xchacha20poly1305_push(sender, b"message")
    memory = SecureMemory.from_bytes(b"another")
    with pytest.raises(exceptions.RuntimeError, match="Unexpected failure"):
        ours.crypto_secretstream_xchacha20poly1305_pull(receiver, sealed, b"other data", into=memory)
    assert memory.get_bytes() == bytes(7)
    assert ours.crypto_secretstream_xchacha20poly1305_pull(receiver, sealed) == (b"message", 0)


WRONG: list[tuple[str, tuple[Any, ...]]] = [
    ("init_push", (5, bytes(32))),
    ("init_push", ("state", "key")),
    ("init_push", ("state", bytes(31))),
    ("push", (None, b"")),
    ("push", ("state", "text")),
    ("push", ("state", b"", "text")),
    ("push", ("state", b"", None, 256)),
    ("push", ("state", b"", None, "x")),
    ("init_pull", (None, bytes(24), bytes(32))),
    ("init_pull", ("state", bytes(23), bytes(32))),
    ("init_pull", ("state", "header", bytes(32))),
    ("init_pull", ("state", bytes(24), bytes(33))),
    ("init_pull", ("state", bytes(24), None)),
    ("pull", (None, bytes(17))),
    ("pull", ("state", bytes(17))),
    ("pull", ("ready", bytes(16))),
    ("pull", ("ready", "text")),
    ("pull", ("ready", bytes(17), 5)),
    ("rekey", (5,)),
]


@pytest.mark.parametrize(("name", "given_to"), WRONG)
def test_refusals(name: str, given_to: tuple[Any, ...]) -> None:
    """Wrong arguments raise what PyNaCl raises, and say the same."""
    told = []
    for module in (theirs, ours):
        values: list[Any] = list(given_to)
        if values[0] in ("state", "ready"):
            state = of(module, "state")()
            if values[0] == "ready":
                of(module, "init_pull")(state, bytes(24), bytes(32))
            values[0] = state
        with pytest.raises(Exception) as caught:  # noqa: PT011 - Its class and text are compared below.
            of(module, name)(*values)
        told.append(caught.value)
    assert isinstance(told[1], type(told[0]))
    assert str(told[1]) == str(told[0])


def test_signal_handlers_take_their_turn(child: Child) -> None:
    """A handler that runs in a thread whose turn it is does not wait for it; nor does one that exports a key."""
    child.check("""
        import os, signal
        from zeroizepy.nacl import _held, bindings, public
        state = bindings.crypto_secretstream_xchacha20poly1305_state()
        bindings.crypto_secretstream_xchacha20poly1305_init_push(state, bytes(32))
        key = public.PrivateKey.generate()
        sent = []
        def handle(*_):
            sent.append(bindings.crypto_secretstream_xchacha20poly1305_push(state, b"message"))
            sent.append(bytes(key))
        signal.signal(signal.SIGUSR1, handle)
        signal.alarm(60)
        with state._turn(), _held._process.lock:
            os.kill(os.getpid(), signal.SIGUSR1)
            for _ in range(1000):
                pass
        assert len(sent) == 2
    """)


def test_the_state_is_as_long_as_the_core_says() -> None:
    """The array does not go beyond the slot, whatever somebody sets the private attribute to."""
    state = ours.crypto_secretstream_xchacha20poly1305_state()
    state._size = 1 << 40
    assert len(state.statebuf) == ours.crypto_secretstream_xchacha20poly1305_STATEBYTES
