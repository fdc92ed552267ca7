"""Signing keys: RFC 8032's vectors, agreement with `cryptography`, key files, and how a key ends."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import long_bytes

import zeroizepy
from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellWipedError, SecureMemoryClosed, SignatureError
from zeroizepy.memory import SecureMemory
from zeroizepy.signing import SigningKey, verify_signature, verify_signature_text

if TYPE_CHECKING:
    from pathlib import Path

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

# RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc): seed, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
            "24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a"
            "eeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed2"
            "8dc027beceea1ec40a"
        ),
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac1"
            "7ad9bef1177331a704"
        ),
    ),
]
SEED = bytes(range(1, 33))
seeds = st.binary(min_size=32, max_size=32)
messages = st.one_of(st.binary(max_size=200), long_bytes(70_000, 70_010))


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
@pytest.mark.parametrize("vector", VECTORS, ids=["1", "2", "3", "SHA(abc)"])
def test_rfc_8032(vector: tuple[str, str, bytes, str], tier: Any) -> None:
    """Public key and signature of each vector, in every tier."""
    seed, public, message, signature = vector
    with SigningKey.from_seed(bytes.fromhex(seed), tier=tier) as key:
        assert (key.public_key.hex(), key.sign(message).hex(), key.protection.tier) == (public, signature, tier)
    verify_signature(bytes.fromhex(public), message, bytes.fromhex(signature))


@settings(deadline=None)
@given(seed=seeds, message=messages)
def test_agrees_with_cryptography(seed: bytes, message: bytes) -> None:
    """Ed25519 is deterministic: OpenSSL makes the same signature, and we take it."""
    other, key = Ed25519PrivateKey.from_private_bytes(seed), SigningKey.from_seed(seed)
    signature = other.sign(message)
    assert key.sign(message) == signature
    assert key.public_key == other.public_key().public_bytes_raw()
    verify_signature(key.public_key, message, signature)


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits flipped in turn."""
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


def test_every_flipped_bit_is_refused() -> None:
    """Each bit of signature, message and public key counts."""
    key, message = SigningKey.from_seed(SEED), b"message"
    good = (key.public_key, message, key.sign(message))
    verify_signature(*good)
    for place, data in enumerate(good):
        for flipped in flips(data):
            changed = [*good[:place], flipped, *good[place + 1 :]]
            with pytest.raises(SignatureError):
                verify_signature(*changed)
            with pytest.raises((InvalidSignature, ValueError)):
                Ed25519PublicKey.from_public_bytes(changed[0]).verify(changed[2], changed[1])


@pytest.mark.parametrize("length", [0, 63, 65])
def test_signatures_of_other_lengths(length: int) -> None:
    """They are invalid, not read beyond their end."""
    key = SigningKey.generate()
    with pytest.raises(SignatureError):
        verify_signature(key.public_key, b"", (key.sign(b"") + b"\0")[:length])


def test_signatures_as_text() -> None:
    """One way to write the bytes is valid: no capitals, no spaces, nothing behind, and nothing that is no hex."""
    key = SigningKey.from_seed(SEED)
    good = key.sign(b"message").hex()
    verify_signature_text(key.public_key, b"message", good)
    assert good != good.upper()
    for text in (good.upper(), f"{good[:2]} {good[2:]}", good + "\n", good + "00", good[:-1], good[:-2], "", "x" * 128):
        with pytest.raises(SignatureError):
            verify_signature_text(key.public_key, b"message", text)
    with pytest.raises(SignatureError):
        verify_signature_text(key.public_key, b"other", good)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_wrong_lengths(length: int) -> None:
    """Seeds and public keys have 32 bytes; a cell of another length is not even accessed."""
    with pytest.raises(ValueError, match=f"seed must be 32 bytes, not {length}"):
        SigningKey.from_seed(bytes(length))
    with pytest.raises(ValueError, match=f"public_key must be 32 bytes, not {length}"):
        verify_signature(bytes(length), b"", bytes(64))
    cell = CypherCell(bytes(length), volatile=True)
    with pytest.raises(ValueError, match="seed must be 32 bytes"):
        SigningKey.from_seed(cell)
    assert not cell.wiped


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview, CypherCell, SecureMemory.from_bytes], ids=lambda make: make.__qualname__
)
def test_seeds(make: Any) -> None:
    """Buffers, cells and memory give the same key."""
    assert SigningKey.from_seed(make(SEED)).public_key == SigningKey.from_seed(SEED).public_key


def test_messages() -> None:
    """Buffers, cells and memory give the same signature; a str is refused with the remedy."""
    key = SigningKey.from_seed(SEED)
    texts: list[Any] = [b"text", bytearray(b"text"), memoryview(b"text"), CypherCell(b"text")]
    texts.append(SecureMemory.from_bytes(b"text"))
    assert len({key.sign(text) for text in texts}) == 1
    with pytest.raises(TypeError, match=r"message must be a contiguous bytes-like object, not str; use \.encode\(\)"):
        key.sign("text")  # type: ignore[arg-type]


def test_generated_keys_differ() -> None:
    """Each is another, works, and leaves one cell."""
    before = zeroizepy.stats().cells
    keys = [SigningKey.generate() for _ in range(4)]
    assert zeroizepy.stats().cells == before + 4
    assert len({key.public_key for key in keys}) == 4
    verify_signature(keys[0].public_key, b"m", keys[0].sign(b"m"))


def test_no_constructor() -> None:
    """A key has a source; an object without one refuses everything."""
    with pytest.raises(TypeError, match=r"SigningKey\.generate\(\)"):
        SigningKey()
    empty = SigningKey.__new__(SigningKey)
    for use in (lambda: empty.public_key, lambda: empty.sign(b""), lambda: empty.protection):
        with pytest.raises(SecureMemoryClosed):
            use()


@pytest.mark.parametrize("end", ["wipe", "close", "with", "purge"])
def test_a_key_that_ended(tmp_path: Path, end: str) -> None:
    """Every use raises; ending it again is harmless; a file is not even begun."""
    key = SigningKey.generate()
    if end == "with":
        with key as same:
            assert same is key
            assert not key.wiped
    elif end == "purge":
        zeroizepy.purge()
    else:
        getattr(key, end)()
    key.wipe()
    assert key.wiped
    path = tmp_path / "key"
    uses: list[Any] = [lambda: key.public_key, lambda: key.sign(b""), lambda: key.protection, lambda: key.save(path)]
    for use in [*uses, key.__enter__]:
        with pytest.raises(SecureMemoryClosed, match="signing key is closed"):
            use()
    assert not path.exists()


def test_redacted() -> None:
    """No text form and no pickle."""
    key = SigningKey.from_seed(SEED)
    assert repr(key) == str(key) == f"{key}" == "<SigningKey: [REDACTED]>"
    with pytest.raises(TypeError, match="cannot pickle 'SigningKey' object"):
        pickle.dumps(key)


def test_fork(child: Child) -> None:
    """A child cannot sign with its parent's key, and can with its own."""
    child.check("""
        import os
        from zeroizepy import CellWipedError, SigningKey
        key = SigningKey.generate()
        pid = os.fork()
        if pid == 0:
            try:
                key.sign(b"message")
            except CellWipedError as error:
                own = len(SigningKey.generate().sign(b"message"))
                os._exit(0 if "parent process" in str(error) and own == 64 else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(key.sign(b"message")) == 64
    """)


# ---- key files ----


def test_save_and_load(tmp_path: Path) -> None:
    """32 raw bytes, mode 600, whatever the umask; the same key comes back."""
    path = tmp_path / "key"
    key = SigningKey.from_seed(SEED)
    before = os.umask(0)
    try:
        key.save(path)
    finally:
        os.umask(before)
    assert path.read_bytes() == SEED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).sign(b"m") == key.sign(b"m")
    with pytest.raises(FileExistsError):
        key.save(path)


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file, which is gone."""

    def no_space(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left") as caught:
        SigningKey.generate().save(tmp_path / "key")
    assert caught.value.filename == str(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.write_bytes(SEED[:31]), "holds 31 bytes"),
        (lambda path: path.write_bytes(SEED + b"\n"), "holds 33 bytes"),
        (lambda path: (path.write_bytes(SEED), path.chmod(0o640)), r"mode 640\); chmod 600"),
        (os.mkfifo, "not a regular file"),
    ],
    ids=["short", "long", "mode", "fifo"],
)
def test_files_that_are_no_keys(tmp_path: Path, make: Any, fault: str) -> None:
    """Refused with a message that names the file."""
    path = tmp_path / "key"
    before = os.umask(0o077)
    try:
        make(path)
    finally:
        os.umask(before)
    with pytest.raises(ValueError, match=rf"{path}: .*{fault}"):
        SigningKey.load(path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither when reading nor when writing."""
    SigningKey.generate().save(tmp_path / "key")
    (tmp_path / "link").symlink_to("key")
    with pytest.raises(OSError, match="symbolic links"):
        SigningKey.load(tmp_path / "link")
    (tmp_path / "dangling").symlink_to("new")
    with pytest.raises(FileExistsError):
        SigningKey.generate().save(tmp_path / "dangling")


def test_wiped_is_a_cell_error() -> None:
    """What ends a cell and what ends a key are caught alike."""
    key = SigningKey.generate()
    key.wipe()
    with pytest.raises(CellWipedError):
        key.sign(b"")
