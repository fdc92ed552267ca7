"""X25519 keys and boxes: what PyNaCl's give, from keys in slots."""

from __future__ import annotations

import copy
import os
import pickle
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pynacl import Boastful, cells_now, faults, made_in_time, results_until_wiped
from support.strategies import long_bytes

from zeroizepy import CryptoKey, CypherCell, SecureMemory, SecureMemoryClosed, purge, stats
from zeroizepy.nacl import encoding, exceptions, exports, public
from zeroizepy.nacl.public import Box, PrivateKey, PublicKey, SealedBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

theirs = pytest.importorskip("nacl.public", reason="PyNaCl is not installed")

# RFC 7748, section 6.1.
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
TIERS = pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
secrets32 = st.binary(min_size=32, max_size=32)
messages = st.one_of(st.binary(max_size=100), long_bytes(16_370, 16_390))


def pair() -> tuple[Any, Any]:
    """A box from Alice to Bob, and PyNaCl's from Bob to Alice."""
    ours = Box(PrivateKey(ALICE), PrivateKey(BOB).public_key)
    return ours, theirs.Box(theirs.PrivateKey(BOB), theirs.PrivateKey(ALICE).public_key)


@TIERS
def test_rfc_7748(tier: Any) -> None:
    """The public key of the vector, in every tier, and both sides share one key."""
    alice, bob = PrivateKey(ALICE, tier=tier), PrivateKey(BOB, tier=tier)
    assert bytes(alice.public_key).hex() == ALICE_PUBLIC
    assert alice.protection.tier == tier
    one, other = Box(alice, bob.public_key, tier=tier), Box(bob, alice.public_key, tier=tier)
    assert one.protection.tier == tier
    assert one.shared_key() == other.shared_key() == bytes(pair()[1])
    assert SealedBox(bob).decrypt(SealedBox(bob.public_key).encrypt(b"message")) == b"message"


@settings(deadline=None)
@given(secret=secrets32, seed=secrets32, message=messages, nonce=st.binary(min_size=24, max_size=24))
def test_agrees_with_pynacl(secret: bytes, seed: bytes, message: bytes, nonce: bytes) -> None:
    """Keys, shared keys and messages are PyNaCl's, and each opens what the other sealed."""
    mine, other = PrivateKey(secret), theirs.PrivateKey.from_seed(seed)
    seeded = PrivateKey.from_seed(seed)
    assert (bytes(seeded), bytes(seeded.public_key)) == (bytes(other), bytes(other.public_key))
    assert bytes(mine.public_key) == bytes(theirs.PrivateKey(secret).public_key)
    box = Box(mine, seeded.public_key)
    peer = theirs.Box(other, theirs.PublicKey(bytes(mine.public_key)))
    assert box.shared_key() == peer.shared_key()
    assert box.encrypt(message, nonce) == peer.encrypt(message, nonce)
    assert box.decrypt(peer.encrypt(message)) == message
    assert peer.decrypt(box.encrypt(message)) == message
    assert SealedBox(seeded).decrypt(theirs.SealedBox(other.public_key).encrypt(message)) == message
    assert theirs.SealedBox(other).decrypt(SealedBox(seeded.public_key).encrypt(message)) == message


@pytest.mark.parametrize("size", [0, 1, 2, 64, 16383, 16384, 100_000])
def test_messages_of_each_size(size: int) -> None:
    """Both ways, whole and in parts, with bytes and with secure memory at the end."""
    ours, peer = pair()
    message = os.urandom(size)
    sealed = ours.encrypt(message)
    assert peer.decrypt(sealed.ciphertext, sealed.nonce) == message
    assert ours.decrypt_secret(peer.encrypt(message)).get_bytes() == message
    key = PrivateKey(ALICE)
    assert SealedBox(key).decrypt_secret(SealedBox(key.public_key).encrypt(message)).get_bytes() == message


@pytest.mark.parametrize("form", ["Raw", "Hex", "Base16", "Base32", "Base64", "URLSafeBase64"])
def test_text_forms(form: str) -> None:
    """Keys, messages and shared keys go in and out in each."""
    encoder, other = getattr(encoding, f"{form}Encoder"), getattr(theirs.encoding, f"{form}Encoder")
    key, same = PrivateKey(other.encode(ALICE), encoder), theirs.PrivateKey(ALICE)
    assert (key.encode(encoder), key.public_key.encode(encoder)) == (same.encode(other), same.public_key.encode(other))
    assert PublicKey(same.public_key.encode(other), encoder) == key.public_key
    assert PrivateKey.from_seed(other.encode(BOB), encoder) == PrivateKey.from_seed(BOB)
    peer = pair()[1]
    assert Box.decode(peer.encode(other), encoder).decrypt(peer.encrypt(b"m", encoder=other), encoder=encoder) == b"m"
    sealed = theirs.SealedBox(same.public_key).encrypt(b"message", other)
    assert SealedBox(key).decrypt(sealed, encoder) == b"message"
    assert SealedBox(key).encode(encoder) == same.public_key.encode(other)


@pytest.mark.parametrize("make", [PrivateKey, PrivateKey.from_seed, Box.decode], ids=["key", "seed", "box"])
def test_secrets_from_where_they_are(make: Callable[..., Any]) -> None:
    """A secret in a cell, secure memory, a key of the library or any buffer is the same secret."""
    wanted = bytes(make(ALICE))
    for given_secret in (CypherCell(ALICE), SecureMemory.from_bytes(ALICE), CryptoKey(ALICE), bytearray(ALICE)):
        assert bytes(make(given_secret)) == wanted
    with PrivateKey(ALICE).borrow() as view:
        assert bytes(make(view)) == wanted


def test_messages_from_where_they_are() -> None:
    """A plaintext in a cell, memory or any buffer; a ciphertext in any buffer; a str is refused with the remedy."""
    ours, peer = pair()
    key = PrivateKey(ALICE)
    for message in (CypherCell(b"text"), SecureMemory.from_bytes(b"text"), bytearray(b"text"), memoryview(b"text")):
        assert peer.decrypt(ours.encrypt(message)) == b"text"
        assert SealedBox(key).decrypt(bytearray(SealedBox(key.public_key).encrypt(message))) == b"text"
    for box in (ours, SealedBox(key.public_key)):
        with pytest.raises(TypeError, match=r"plaintext must be a contiguous bytes-like object, not str; use \.encode"):
            box.encrypt("text")


def test_a_changed_message_is_refused() -> None:
    """Any byte of a message; PyNaCl's own exception catches it, and its message is PyNaCl's."""
    ours, _ = pair()
    sealed_box = SealedBox(PrivateKey(ALICE))
    for box in (ours, sealed_box):
        sealed = box.encrypt(b"message")
        for place in range(len(sealed)):
            changed = bytearray(sealed)
            changed[place] ^= 1 << place % 8
            with pytest.raises(theirs.exc.CryptoError, match="An error occurred trying to decrypt the message"):
                box.decrypt(bytes(changed))
            with pytest.raises(exceptions.CryptoError):
                box.decrypt_secret(bytes(changed))


def wrong_uses(module: Any) -> list[Callable[[], Any]]:
    """Arguments of every wrong kind, for one module or the other."""
    alice, bob = module.PrivateKey(ALICE), module.PrivateKey(BOB)
    box = module.Box(alice, bob.public_key)
    weak = module.PublicKey(bytes(32))
    return [
        lambda: module.PublicKey(13),
        lambda: module.PublicKey("text"),
        lambda: module.PublicKey(alice),
        lambda: module.PublicKey(bytes(31)),
        lambda: module.PrivateKey(12),
        lambda: module.PrivateKey(bytes(33)),
        lambda: module.PrivateKey(alice),
        lambda: module.PrivateKey(alice.public_key),
        lambda: module.PrivateKey.from_seed(b"1"),
        lambda: module.PrivateKey.from_seed(None),
        lambda: module.Box(alice, "text"),
        lambda: module.Box(bytes(alice), bob.public_key),
        lambda: module.Box(alice, weak),
        lambda: module.Box.decode(bytes(31)).encrypt(b"message"),
        lambda: box.encrypt(b"message", bytes(23)),
        lambda: box.decrypt(bytes(20)),
        lambda: box.decrypt(bytes(39)),
        lambda: box.decrypt(bytes(15), bytes(24)),
        lambda: box.decrypt(bytes(16), bytes(24)),
        lambda: module.SealedBox(ALICE),
        lambda: module.SealedBox(weak).encrypt(b"message"),
        lambda: module.SealedBox(bob.public_key).decrypt(bytes(60)),
        lambda: module.SealedBox(bob).decrypt(bytes(47)),
        lambda: module.SealedBox(bob).decrypt(bytes(48)),
    ]


def test_errors_are_those_of_pynacl() -> None:
    """Its exceptions and its messages, for each wrong use."""
    assert faults(wrong_uses(public)) == faults(wrong_uses(theirs))


def test_private_keys_are_compared_by_their_public_keys() -> None:
    """Also two that differ in bits which X25519 ignores; a wiped key keeps its place in a dict."""
    twin = PrivateKey(bytes([ALICE[0] ^ 7]) + ALICE[1:])
    key = PrivateKey(ALICE)
    known = {key: "alice"}
    assert bytes(twin) != bytes(key)
    twin.wipe()
    assert known[twin] == "alice"
    assert key != PrivateKey(BOB)
    assert key != ALICE
    assert hash(key) != hash(key.public_key)
    assert key.public_key == PublicKey(bytes(key.public_key))
    assert key.public_key != PrivateKey(BOB).public_key


def test_generated_keys_differ() -> None:
    """Each is another, works, and leaves one cell."""
    before = cells_now()
    keys = [PrivateKey.generate() for _ in range(4)]
    assert stats().cells == before + 4
    assert len({bytes(key.public_key) for key in keys}) == 4
    assert all(theirs.PrivateKey(bytes(key)).public_key.encode() == bytes(key.public_key) for key in keys)


def test_exports_are_counted() -> None:
    """Each way by which a secret leaves its slot, the attributes of PyNaCl among them; no text form shows it."""
    ours, _ = pair()
    key, before = PrivateKey(ALICE), exports()
    sealed_box = SealedBox(key)
    assert bytes(key) == key.encode() == key._private_key == sealed_box._private_key == ALICE
    assert bytes(ours) == ours.shared_key() == ours._shared_key == ours.encode()
    assert (key.exports, ours.exports, exports() - before) == (4, 4, 8)
    assert SealedBox(key.public_key)._private_key is None
    assert str(key) == repr(key) == f"{key}" == "<PrivateKey: [REDACTED]>"
    assert str(ours) == repr(ours) == "<Box: [REDACTED]>"
    assert str(sealed_box) == str(bytes(key.public_key))


def test_forbidden_exports(child: Child) -> None:
    """After forbid_export() no way out gives bytes, and boxes work on."""
    child.check("""
        import zeroizepy.nacl
        from zeroizepy.nacl.public import Box, PrivateKey, SealedBox
        key, other = PrivateKey.generate(), PrivateKey.generate()
        box, sealed = Box(key, other.public_key), SealedBox(key)
        zeroizepy.nacl.forbid_export()
        ways = [lambda: bytes(key), key.encode, lambda: key._private_key, lambda: sealed._private_key,
                lambda: bytes(box), box.encode, box.shared_key, lambda: box._shared_key]
        for way in ways:
            try:
                way()
            except zeroizepy.nacl.exceptions.ExportForbiddenError:
                continue
            raise SystemExit("a secret left its slot")
        assert Box(other, key.public_key).decrypt(box.encrypt(b"message")) == b"message"
        assert sealed.decrypt(sealed.encrypt(b"message")) == b"message"
    """)


@pytest.mark.parametrize("end", ["wipe", "close", "with", "purge", "ttl"])
def test_what_ended(end: str) -> None:
    """Every use of a key or box that is gone raises and names it; a box outlives the key it was made of."""
    key = made_in_time(lambda ttl: PrivateKey(ALICE, ttl_sec=ttl), expires=end == "ttl")
    public = key.public_key
    sealed_box, sealed = SealedBox(key), SealedBox(public).encrypt(b"message")
    box = Box(PrivateKey(ALICE), PrivateKey(BOB).public_key)
    message = box.encrypt(b"message")
    if end in ("wipe", "close"):
        getattr(key, end)()
    elif end == "with":
        with key as same:
            assert same is key
    elif end == "purge":
        purge()
    else:
        while key.expires_in:
            time.sleep(0.01)
    assert key.wiped
    uses: list[Callable[[], Any]] = [lambda: bytes(key), lambda: Box(key, public), lambda: sealed_box.decrypt(sealed)]
    uses += [lambda: sealed_box.decrypt_secret(sealed), lambda: key.protection, key.__enter__]
    for use in uses:
        with pytest.raises(SecureMemoryClosed, match=r"PrivateKey (is closed|expired)"):
            use()
    if end != "purge":
        assert box.decrypt(message) == b"message"
        box.wipe()
    for use in (lambda: box.encrypt(b"message"), lambda: box.decrypt(message), box.shared_key):
        with pytest.raises(SecureMemoryClosed, match="Box is closed"):
            use()
    assert bytes(sealed_box) == bytes(public)


def test_a_key_that_failed_leaves_no_cell() -> None:
    """Neither a weak public key, nor a wrong argument, nor a box of a closed key."""
    closed = PrivateKey(ALICE)
    closed.close()
    key, before = PrivateKey(ALICE), cells_now()
    uses: list[Callable[[], Any]] = [lambda: Box(key, PublicKey(bytes(32))), lambda: Box(closed, key.public_key)]
    uses += [lambda: PrivateKey(bytes(31)), lambda: PrivateKey.from_seed(bytes(31)), lambda: Box.decode(b"")]
    for use in uses:
        with pytest.raises((exceptions.CryptoError, SecureMemoryClosed)):
            use()
    assert stats().cells == before


@pytest.mark.parametrize("make", [PrivateKey.generate, lambda: pair()[0], lambda: SealedBox(PrivateKey(ALICE))])
def test_no_pickle_and_no_deep_copy(make: Callable[[], Any]) -> None:
    """What holds a secret is neither pickled nor copied."""
    for use in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            use(make())


def test_public_keys_are_values() -> None:
    """They are pickled and copied, as PyNaCl's."""
    key = PrivateKey(ALICE).public_key
    assert pickle.loads(pickle.dumps(key)) == copy.copy(key) == copy.deepcopy(key) == key  # noqa: S301 - our own.
    assert str(key) == str(bytes(key))


class Named(PrivateKey):
    """A key with a name, as a program would have one."""

    def __init__(self, private_key: Any, encoder: Any = encoding.RawEncoder, name: str = "nobody") -> None:
        super().__init__(private_key, encoder)
        self.name = name


@pytest.mark.parametrize("make", [lambda: Named(ALICE), Named.generate, lambda: Named.from_seed(ALICE)])
def test_subclasses(make: Callable[[], Named]) -> None:
    """Their own __init__ runs, however they are made; they work in boxes, and leave one cell."""
    before = cells_now()
    key = make()
    assert stats().cells == before + 1
    assert (type(key), key.name) == (Named, "nobody")
    assert SealedBox(key).decrypt(SealedBox(key.public_key).encrypt(b"message")) == b"message"
    assert bytes(theirs.PrivateKey(bytes(key)).public_key) == bytes(key.public_key)


def test_sealed_boxes_name_their_key() -> None:
    """SealedBox[PrivateKey] stands in annotations that are evaluated."""
    assert SealedBox[PrivateKey].__origin__ is SealedBox  # type: ignore[attr-defined]


def test_fork(child: Child) -> None:
    """A child can use none of its parent's keys, and makes its own."""
    child.check("""
        import os
        from zeroizepy import SecureMemoryClosed
        from zeroizepy.nacl.public import Box, PrivateKey, SealedBox
        key = PrivateKey.generate()
        box, sealed = Box(key, key.public_key), SealedBox(key.public_key).encrypt(b"message")
        uses = [lambda: bytes(key), lambda: Box(key, key.public_key), lambda: SealedBox(key).decrypt(sealed),
                lambda: box.encrypt(b"message"), box.shared_key]
        pid = os.fork()
        if pid == 0:
            for use in uses:
                try:
                    use()
                except SecureMemoryClosed as error:
                    if "parent process" in str(error):
                        continue
                os._exit(1)
            own = PrivateKey.generate()
            os._exit(0 if SealedBox(own).decrypt(SealedBox(own.public_key).encrypt(b"m")) == b"m" else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert SealedBox(key).decrypt(sealed) == b"message"
    """)


def test_wiped_while_threads_use_it() -> None:
    """Whatever the moment, a call gives the right result or says that the key is closed."""
    key = PrivateKey(ALICE)
    public, wanted = PrivateKey(BOB).public_key, pair()[0].shared_key()
    sealed = SealedBox(key.public_key).encrypt(bytes(100_000))

    def use() -> tuple[bool, bool]:
        return Box(key, public).shared_key() == wanted, SealedBox(key).decrypt(sealed) == bytes(100_000)

    results = results_until_wiped(use, key.wipe)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in errors] == [SecureMemoryClosed] * 3
    assert set(results) - set(errors) == {(True, True)}


def test_interpreter_exit(child: Child) -> None:
    """Keys and boxes that are still there when the interpreter ends do no harm."""
    child.check("""
        import sys
        from zeroizepy.nacl.public import Box, PrivateKey, SealedBox
        key = PrivateKey.generate()
        sys.kept = [key, Box(key, key.public_key), SealedBox(key)]
        kept = sys.kept
        kept.append(kept)
    """)


class _Short(PublicKey):
    """A public key that says something else than what it was made of."""

    def __bytes__(self) -> bytes:
        return b"short"


def test_public_keys_of_another_length_are_refused() -> None:
    """The core would read beyond what a subclass gives for its bytes."""
    key, short = PrivateKey.generate(), _Short(bytes(32))
    for make in (lambda: Box(key, short), lambda: SealedBox(short)):
        with pytest.raises(exceptions.ValueError, match="Invalid public key"):
            make()


@pytest.mark.parametrize(
    "raw", [b"", b"short", bytes(31), bytes(33), Boastful(b"short"), bytearray(31), None, 5, "x" * 32]
)
def test_public_keys_that_were_set_are_measured(raw: Any) -> None:
    """The core reads 32 bytes: what somebody put into a private attribute is refused before it does."""
    key, box = PrivateKey.generate(), SealedBox(PrivateKey.generate())
    box._public_key = raw
    key.public_key._public_key = raw
    for use in (
        lambda: box.encrypt(b"message"),
        lambda: SealedBox(key),
        lambda: SealedBox(key.public_key),
        lambda: Box(PrivateKey.generate(), key.public_key),
    ):
        with pytest.raises(
            (exceptions.ValueError, TypeError), match=r"Invalid public key: it has \d+|public key must be"
        ):
            use()
