"""Signing keys by PyNaCl's names: what PyNaCl's give, from keys in slots."""

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
from test_signing import SEED, VECTORS, flips, seeds

from zeroizepy import CryptoKey, CypherCell, SecureMemory, SecureMemoryClosed, purge, stats
from zeroizepy.nacl import encoding, exceptions, exports, signing
from zeroizepy.nacl.public import Box, PrivateKey, SealedBox
from zeroizepy.nacl.signing import SignedMessage, SigningKey, VerifyKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

theirs = pytest.importorskip("nacl.signing", reason="PyNaCl is not installed")
messages = st.one_of(st.binary(max_size=200), long_bytes(10_000, 100_000))


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
@pytest.mark.parametrize("vector", VECTORS, ids=["1", "2", "3", "SHA(abc)"])
def test_rfc_8032(vector: tuple[str, str, bytes, str], tier: Any) -> None:
    """Public key and signature of each vector, in every tier."""
    seed, public, message, signature = vector
    key = SigningKey(bytes.fromhex(seed), tier=tier)
    signed = key.sign(message)
    assert (bytes(key.verify_key).hex(), signed.signature.hex()) == (public, signature)
    assert (signed.message, signed, key.protection.tier) == (message, signed.signature + message, tier)
    assert key.verify_key.verify(signed) == key.verify_key.verify(message, signed.signature) == message


@settings(deadline=None)
@given(seed=seeds, message=messages)
def test_agrees_with_pynacl(seed: bytes, message: bytes) -> None:
    """Signed messages are the same, and each takes the other's."""
    key, other = SigningKey(seed), theirs.SigningKey(seed)
    signed, wanted = key.sign(message), other.sign(message)
    assert (signed, signed.signature, signed.message) == (wanted, wanted.signature, wanted.message)
    assert bytes(key.verify_key) == bytes(other.verify_key)
    assert key.verify_key.verify(wanted) == other.verify_key.verify(signed) == message
    assert type(key.verify_key.verify(signed)) is bytes
    mine, its = key.to_curve25519_private_key(), other.to_curve25519_private_key()
    assert (bytes(mine), bytes(mine.public_key)) == (bytes(its), bytes(its.public_key))
    assert key.verify_key.to_curve25519_public_key() == mine.public_key


@settings(deadline=None)
@given(seed=seeds, message=st.binary(max_size=40), form=st.sampled_from(["Hex", "Base16", "Base32", "Base64"]))
def test_text_forms(seed: bytes, message: bytes, form: str) -> None:
    """Keys and signed messages, the empty one too, go in and out in each."""
    encoder, other = getattr(encoding, f"{form}Encoder"), getattr(theirs.encoding, f"{form}Encoder")
    key, same = SigningKey(other.encode(seed), encoder), theirs.SigningKey(seed)
    signed, wanted = key.sign(message, encoder), same.sign(message, other)
    assert (signed, signed.signature, signed.message) == (wanted, wanted.signature, wanted.message)
    assert VerifyKey(same.verify_key.encode(other), encoder).verify(signed, encoder=encoder) == message
    assert key.verify_key.verify(signed.message, encoder.decode(signed.signature), encoder) == message
    assert (key.encode(encoder), key.verify_key.encode(encoder)) == (same.encode(other), same.verify_key.encode(other))


def test_every_flipped_bit_is_refused() -> None:
    """Each bit of signature and message counts, in both forms; PyNaCl's own exception catches it."""
    key = SigningKey(SEED)
    signed = key.sign(b"message")
    for changed in flips(signed):
        with pytest.raises(theirs.exc.BadSignatureError, match="Signature was forged or corrupt"):
            key.verify_key.verify(changed)
        with pytest.raises(exceptions.BadSignatureError):
            key.verify_key.verify(changed[64:], changed[:64])
    for short in (b"", bytes(63)):
        with pytest.raises(exceptions.BadSignatureError):
            key.verify_key.verify(short)


def test_secrets_and_messages_from_where_they_are() -> None:
    """Cells, memory, keys of the library and any buffers give the same key, signature and verdict."""
    key = SigningKey(SEED)
    for seed in (CypherCell(SEED), SecureMemory.from_bytes(SEED), CryptoKey(SEED), bytearray(SEED), memoryview(SEED)):
        assert SigningKey(seed) == key
    signed = key.sign(b"text")
    for message in (CypherCell(b"text"), SecureMemory.from_bytes(b"text"), bytearray(b"text"), memoryview(b"text")):
        assert key.sign(message) == signed
    for kind in (bytearray, memoryview):
        assert key.verify_key.verify(kind(signed)) == b"text"
        answer = key.verify_key.verify(kind(b"text"), kind(signed.signature))
        assert (type(answer), answer) == (bytes, b"text")
    with pytest.raises(TypeError, match=r"message must be a contiguous bytes-like object, not str; use \.encode\(\)"):
        key.sign("text")  # type: ignore[arg-type]


def test_parts_of_a_signed_message() -> None:
    """One that a program puts together has them, too, and a pickled one keeps those of its text form."""
    key = SigningKey(SEED)
    signed = key.sign(b"message")
    again = SignedMessage(signed.signature + b"message")
    assert (again.signature, again.message) == (signed.signature, b"message")
    for each in (signed, key.sign(b"", encoding.HexEncoder)):
        same = pickle.loads(pickle.dumps(each))  # noqa: S301 - our own, as below.
        assert (same, same.signature, same.message) == (each, each.signature, each.message)


def wrong_uses(module: Any) -> list[Callable[[], Any]]:
    """Arguments of every wrong kind, for one module or the other."""
    key = module.SigningKey(SEED)
    small = module.VerifyKey(bytes(32))
    return [
        lambda: module.SigningKey(12),
        lambda: module.SigningKey("text"),
        lambda: module.SigningKey(key),
        lambda: module.SigningKey(key.verify_key),
        lambda: module.SigningKey(bytes(31)),
        lambda: module.VerifyKey(13),
        lambda: module.VerifyKey(key),
        lambda: module.VerifyKey(bytes(33)),
        lambda: key.verify_key.verify(b"", 13),
        lambda: key.verify_key.verify(b"", key),
        lambda: key.verify_key.verify(b"", key.verify_key),
        lambda: key.verify_key.verify(b"", b""),
        lambda: key.verify_key.verify(b"", bytes(65)),
        lambda: key.verify_key.verify(b"", bytes(64)),
        lambda: key.verify_key.verify(bytes(64)),
        small.to_curve25519_public_key,
    ]


def test_errors_are_those_of_pynacl() -> None:
    """Its exceptions and its messages, for each wrong use."""
    assert faults(wrong_uses(signing)) == faults(wrong_uses(theirs))


def test_generated_keys_differ() -> None:
    """Each is another, works, and leaves one cell."""
    before = cells_now()
    keys = [SigningKey.generate() for _ in range(4)]
    assert stats().cells == before + 4
    assert len({bytes(key.verify_key) for key in keys}) == 4
    assert all(theirs.SigningKey(bytes(key)).verify_key.verify(key.sign(b"m")) == b"m" for key in keys)


def test_keys_are_compared_by_their_public_keys() -> None:
    """Equal seeds are equal keys; a wiped key keeps its place in a dict."""
    key, twin = SigningKey(SEED), SigningKey(SEED)
    known = {key: "mine"}
    twin.wipe()
    assert known[twin] == "mine"
    assert key != SigningKey(os.urandom(32))
    assert key != SEED
    assert key.verify_key == VerifyKey(bytes(key.verify_key)) != SigningKey.generate().verify_key
    again = pickle.loads(pickle.dumps(key.verify_key))  # noqa: S301
    assert again == copy.deepcopy(key.verify_key) == key.verify_key


def test_exports_are_counted() -> None:
    """Each way by which the seed leaves its slot, the attributes of PyNaCl among them; no text form shows it."""
    key, before = SigningKey(SEED), exports()
    assert bytes(key) == key.encode() == key._seed == SEED
    assert key._signing_key == SEED + bytes(key.verify_key)
    assert (key.exports, exports() - before) == (4, 4)
    assert str(key) == repr(key) == f"{key}" == "<SigningKey: [REDACTED]>"
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle 'SigningKey' object"):
            use(key)


def test_forbidden_exports(child: Child) -> None:
    """After forbid_export() no way out gives bytes; signing and the X25519 key go on."""
    child.check("""
        import zeroizepy.nacl
        from zeroizepy.nacl.public import SealedBox
        from zeroizepy.nacl.signing import SigningKey
        zeroizepy.nacl.forbid_export()
        key = SigningKey.generate()
        for way in (lambda: bytes(key), key.encode, lambda: key._seed, lambda: key._signing_key):
            try:
                way()
            except zeroizepy.nacl.exceptions.ExportForbiddenError:
                continue
            raise SystemExit("a seed left its slot")
        assert key.verify_key.verify(key.sign(b"message")) == b"message"
        box = SealedBox(key.to_curve25519_private_key())
        assert box.decrypt(SealedBox(key.verify_key.to_curve25519_public_key()).encrypt(b"message")) == b"message"
    """)


@pytest.mark.parametrize("end", ["wipe", "close", "with", "purge", "ttl"])
def test_what_ended(end: str) -> None:
    """Every use of a key that is gone raises and names it; its public key, and the X25519 key made of it, stay."""

    def make(ttl: float | None) -> tuple[SigningKey, SignedMessage, PrivateKey]:
        key = SigningKey(SEED, ttl_sec=ttl)
        return key, key.sign(b"message"), key.to_curve25519_private_key()

    key, signed, curve = made_in_time(make, expires=end == "ttl")
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
    assert curve.wiped == (end == "purge")
    uses: list[Callable[[], Any]] = [lambda: key.sign(b""), lambda: bytes(key), key.to_curve25519_private_key]
    for use in [*uses, lambda: key.protection, key.__enter__]:
        with pytest.raises(SecureMemoryClosed, match=r"SigningKey (is closed|expired)"):
            use()
    assert key.verify_key.verify(signed) == b"message"


def test_the_x25519_key_has_its_own_protection() -> None:
    """It is made in the tier that is asked for, and a failure leaves no cell."""
    key = SigningKey(SEED)
    curve = key.to_curve25519_private_key(tier="isolated", ttl_sec=60)
    assert isinstance(curve, PrivateKey)
    assert curve.protection.tier == "isolated"
    assert 0 < (curve.expires_in or 0) <= 60
    assert Box(curve, PrivateKey.generate().public_key).encrypt(b"message")
    key.wipe()
    before = cells_now()
    with pytest.raises(SecureMemoryClosed):
        key.to_curve25519_private_key()
    assert stats().cells == before


class Named(SigningKey):
    """A key with a name, as a program would have one."""

    def __init__(self, seed: Any, encoder: Any = encoding.RawEncoder, name: str = "nobody") -> None:
        super().__init__(seed, encoder)
        self.name = name


@pytest.mark.parametrize("make", [lambda: Named(SEED), Named.generate])
def test_subclasses(make: Callable[[], Named]) -> None:
    """Their own __init__ runs, however they are made; they sign, and leave one cell."""
    before = cells_now()
    key = make()
    assert stats().cells == before + 1
    assert (type(key), key.name) == (Named, "nobody")
    assert theirs.SigningKey(bytes(key)).verify_key.verify(key.sign(b"message")) == b"message"
    assert SealedBox(key.to_curve25519_private_key())


def test_fork(child: Child) -> None:
    """A child can use none of its parent's keys, and makes its own."""
    child.check("""
        import os
        from zeroizepy import SecureMemoryClosed
        from zeroizepy.nacl.signing import SigningKey
        key = SigningKey.generate()
        pid = os.fork()
        if pid == 0:
            for use in (lambda: key.sign(b"message"), lambda: bytes(key), key.to_curve25519_private_key):
                try:
                    use()
                except SecureMemoryClosed as error:
                    if "parent process" in str(error):
                        continue
                os._exit(1)
            own = SigningKey.generate()
            os._exit(0 if own.verify_key.verify(own.sign(b"message")) == b"message" else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert key.verify_key.verify(key.sign(b"message")) == b"message"
    """)


def test_wiped_while_threads_sign() -> None:
    """Whatever the moment, a call gives the right signature or says that the key is closed."""
    key, message = SigningKey(SEED), os.urandom(100_000)
    wanted = theirs.SigningKey(SEED).sign(message)
    results = results_until_wiped(lambda: key.sign(message) == wanted, key.wipe)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in errors] == [SecureMemoryClosed] * 3
    assert set(results) - set(errors) == {True}


def test_subclasses_of_bytes_are_taken_for_what_they_hold() -> None:
    """Not for what their len() and slices say: the core would sign what lies behind them, and give it out."""
    key = SigningKey(SEED)
    assert key.sign(Boastful(b"message")) == key.sign(b"message")
    signed = key.sign(b"message")
    assert key.verify_key.verify(Boastful(signed)) == b"message"
    assert key.verify_key.verify(Boastful(b"message"), Boastful(signed.signature)) == b"message"


@pytest.mark.parametrize(
    "raw", [b"", b"short", bytes(31), bytes(33), Boastful(b"short"), bytearray(31), None, 5, "x" * 32]
)
def test_verify_keys_that_were_set_are_measured(raw: Any) -> None:
    """The core reads 32 bytes: what somebody put into the private attribute is refused before it does."""
    signed = SigningKey(SEED).sign(b"message")
    key = VerifyKey(bytes(SigningKey(SEED).verify_key))
    key._key = raw
    for use in (
        lambda: key.verify(signed),
        lambda: key.verify(signed.message, signed.signature),
        key.to_curve25519_public_key,
    ):
        with pytest.raises(
            (exceptions.ValueError, TypeError), match=r"Invalid public key: it has \d+|public key must be"
        ):
            use()
