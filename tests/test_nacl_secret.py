"""SecretBox and Aead: what PyNaCl's give, from keys in slots."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.pynacl import Boastful, cells_now

from zeroizepy import CryptoKey, CypherCell, SecureMemory, SecureMemoryClosed
from zeroizepy.nacl import encoding, exceptions, exports
from zeroizepy.nacl.secret import Aead, SecretBox

if TYPE_CHECKING:
    from collections.abc import Callable

theirs = pytest.importorskip("nacl.secret", reason="needs PyNaCl, which is not installed (the extra: test)")

SIZES = [0, 1, 2, 64, 16383, 16384, 100_000]
BOXES = pytest.mark.parametrize("name", ["SecretBox", "Aead"])
OURS: dict[str, Callable[..., SecretBox | Aead]] = {"SecretBox": SecretBox, "Aead": Aead}


@BOXES
@pytest.mark.parametrize("size", SIZES)
def test_each_opens_what_the_other_sealed(name: str, size: int) -> None:
    """Both ways, whole and in parts."""
    key, message = os.urandom(32), os.urandom(size)
    ours, peer = OURS[name](key), getattr(theirs, name)(key)
    sealed = ours.encrypt(message)
    assert peer.decrypt(bytes(sealed)) == message
    assert ours.decrypt(peer.encrypt(message)) == message
    assert ours.decrypt(sealed.ciphertext, nonce=sealed.nonce) == message
    assert ours.decrypt_secret(sealed).get_bytes() == message


@BOXES
def test_one_nonce_gives_one_ciphertext(name: str) -> None:
    """With the same nonce both make the same, in each text form."""
    key, nonce = os.urandom(32), os.urandom(24)
    for form in ("Raw", "Hex", "Base16", "Base32", "Base64", "URLSafeBase64"):
        encoder, peer = getattr(encoding, f"{form}Encoder"), getattr(theirs.encoding, f"{form}Encoder")
        ours = OURS[name](key).encrypt(b"message", nonce=nonce, encoder=encoder)
        other = getattr(theirs, name)(key).encrypt(b"message", nonce=nonce, encoder=peer)
        assert (ours, ours.nonce, ours.ciphertext) == (other, other.nonce, other.ciphertext)
        assert OURS[name](peer.encode(key), encoder).decrypt(ours, encoder=encoder) == b"message"


@BOXES
def test_a_changed_message_is_refused(name: str) -> None:
    """Any bit of nonce, tag and ciphertext; PyNaCl's own exception catches it."""
    box = OURS[name](os.urandom(32))
    sealed = box.encrypt(b"message")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1 << place % 8
        with pytest.raises(theirs.exc.CryptoError, match="failed verification") as told:
            box.decrypt(bytes(changed))
        assert isinstance(told.value, exceptions.CryptoError)


@BOXES
def test_keys_from_where_secrets_are(name: str) -> None:
    """A key in a cell, secure memory or any buffer is the same key."""
    key = os.urandom(32)
    sealed = getattr(theirs, name)(key).encrypt(b"message")
    for given in (CypherCell(key), SecureMemory.from_bytes(key), bytearray(key), memoryview(key), CryptoKey(key)):
        assert OURS[name](given).decrypt(sealed) == b"message"
    with pytest.raises(exceptions.TypeError, match="must be created from 32 bytes"):
        OURS[name](OURS[name](key))  # As PyNaCl.


@BOXES
def test_the_key_is_counted_when_it_leaves(name: str) -> None:
    """bytes() and encode() give the key and are counted; its texts do not show it."""
    key = os.urandom(32)
    box, before = OURS[name](key), exports()
    assert (bytes(box), box.encode(encoding.HexEncoder)) == (key, key.hex().encode())
    assert (box.exports, exports() - before) == (2, 2)
    assert str(box) == repr(box) == f"<{name}: [REDACTED]>"


@BOXES
def test_a_wiped_box_does_nothing(name: str) -> None:
    """After the block, encrypting, decrypting and exporting raise."""
    with OURS[name](os.urandom(32)) as box:
        sealed = box.encrypt(b"message")
    for use in (lambda: box.encrypt(b"message"), lambda: box.decrypt(sealed), lambda: bytes(box)):
        with pytest.raises(SecureMemoryClosed, match=f"{name} is closed"):
            use()


@BOXES
def test_sizes_are_those_of_pynacl(name: str) -> None:
    """The numbers that programs cut messages by."""
    for number in ("KEY_SIZE", "NONCE_SIZE", "MACBYTES", "MESSAGEBYTES_MAX"):
        assert getattr(OURS[name], number) == getattr(getattr(theirs, name), number)


@BOXES
def test_subclasses_of_bytes_are_taken_for_what_they_hold(name: str) -> None:
    """Not for what their len() and slices say: the core would read what lies behind them, and encrypt that, too."""
    box = OURS[name](os.urandom(32))
    nonce = os.urandom(24)
    assert box.encrypt(Boastful(b"message"), nonce=Boastful(nonce)) == box.encrypt(b"message", nonce=nonce)
    sealed = Boastful(box.encrypt(b"message"))
    assert box.decrypt(sealed) == b"message"
    assert box.decrypt_secret(sealed).get_bytes() == b"message"
    with pytest.raises(exceptions.ValueError, match="exactly 24"):
        box.decrypt(Boastful(b"short"))


def test_none_for_associated_data_is_none() -> None:
    """As with PyNaCl, which opens what was sealed so."""
    key = os.urandom(32)
    ours, peer = Aead(key), theirs.Aead(key)
    for sealed in (ours.encrypt(b"message", None), peer.encrypt(b"message", None)):
        assert ours.decrypt(sealed, None) == peer.decrypt(bytes(sealed), None) == b"message"
        assert ours.decrypt_secret(sealed, None).get_bytes() == b"message"


@BOXES
def test_refused_messages_leave_no_memory(name: str) -> None:
    """decrypt_secret closes what it made when the message is forged, also while the error is kept."""
    box = OURS[name](os.urandom(32))
    sealed = box.encrypt(b"message")
    before = cells_now()
    with pytest.raises(exceptions.CryptoError) as kept:
        box.decrypt_secret(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert kept.value.__traceback__ is not None
    assert cells_now() == before


@pytest.mark.parametrize("form", ["Hex", "Base16", "Base32", "Base64", "URLSafeBase64"])
def test_decoded_keys_are_wiped(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this package's encoders made of a key's text is zeros once the key is in its slot."""
    encoder, key, made = getattr(encoding, f"{form}Encoder"), os.urandom(32), []
    decode = encoder.decode

    def keep(text: bytes) -> bytes:
        made.append(decode(text))
        assert made[-1] == key
        return made[-1]

    monkeypatch.setattr(encoder, "decode", staticmethod(keep))
    SecretBox(encoder.encode(key), encoder)
    assert made == [bytes(32)]
