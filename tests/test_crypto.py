"""Keys, messages, and the end of a key."""

from __future__ import annotations

import array
import gc
from contextlib import nullcontext
from mmap import mmap
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import zeroizepy
from zeroizepy import crypto
from zeroizepy._lib import ffi
from zeroizepy.cell import CypherCell
from zeroizepy.crypto import (
    CipherText,
    CryptoKey,
    cryptographic_erase_key,
    decrypt,
    decrypt_data,
    decrypt_into,
    decrypt_secret,
    destroy_key,
    encrypt,
    encrypt_data,
)
from zeroizepy.exceptions import CellWipedError, DecryptionError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory, purge, stats

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

LENGTHS = [16, 24, 32]
MESSAGE_SIZES = [0, 1, 15, 16, 17, 64, 4096, 16383, 16384, 16385, 300_000]
KEY = bytes(range(32))


# ---- keys ----


@pytest.mark.parametrize("length", LENGTHS)
def test_key_holds_its_bytes(length: int) -> None:
    """get_bytes and borrow give the key and nothing more, whatever lies behind it in the slot."""
    key = CryptoKey(KEY[:length])
    assert key.get_bytes() == KEY[:length]
    assert len(key) == length
    assert key.algorithm == f"AES-{8 * length}-GCM"
    with key.borrow() as view:
        assert view.readonly
        assert bytes(view) == KEY[:length]


@pytest.mark.parametrize("length", LENGTHS)
def test_generate(length: int) -> None:
    """Random keys of the length asked for, never twice the same, never zeros."""
    keys = {CryptoKey.generate(length).get_bytes() for _ in range(20)}
    assert len(keys) == 20
    assert all(len(key) == length and any(key) for key in keys)


def test_generate_default() -> None:
    """32 bytes unless said otherwise."""
    assert len(CryptoKey.generate()) == 32


@pytest.mark.parametrize(
    "make",
    [bytes, bytearray, memoryview, CypherCell, SecureMemory.from_bytes, CryptoKey, lambda data: array.array("B", data)],
    ids=["bytes", "bytearray", "memoryview", "cell", "memory", "key", "array"],
)
def test_key_sources(make: Any) -> None:
    """Anything bytes-like, and anything that lends its bytes."""
    source = make(KEY)
    assert CryptoKey(source).get_bytes() == KEY


@pytest.mark.parametrize("size", [0, 1, 15, 17, 23, 25, 31, 33, 64, 5000])
def test_wrong_key_size(size: int) -> None:
    """ValueError with the size that was given, for bytes and for secrets; nothing is left behind."""
    gc.collect()
    before = stats().cells
    with pytest.raises(ValueError, match=rf"must be 16, 24 or 32 bytes .*not {size}$"):
        CryptoKey(bytes(size))
    with pytest.raises(ValueError, match=rf"must be 16, 24 or 32 bytes .*not {size}$"):
        CryptoKey(SecureMemory(size))
    gc.collect()
    assert stats().cells == before


@pytest.mark.parametrize("key", ["a" * 32, None, 32, [0] * 32], ids=lambda key: type(key).__name__)
def test_wrong_key_type(key: Any) -> None:
    """TypeError names the argument and the type; a str is not guessed at."""
    with pytest.raises(TypeError, match=rf"key_bytes must be a contiguous bytes-like object, not {type(key).__name__}"):
        CryptoKey(key)


@pytest.mark.parametrize(
    ("length", "error"),
    [(0, ValueError), (-16, ValueError), (33, ValueError), (128, ValueError), (1 << 70, ValueError)]
    + [(length, TypeError) for length in ("32", [32], 32.0, True)],
)
def test_generate_wrong_length(length: Any, error: type[Exception]) -> None:
    """Only 16, 24 and 32."""
    with pytest.raises(error, match=r"must be"):
        CryptoKey.generate(length)


@pytest.mark.parametrize("length", LENGTHS)
def test_key_protection(length: int) -> None:
    """It says where the schedule lies: in the slot only for the cipher that libsodium runs."""
    key = CryptoKey.generate(length)
    protection = key.protection
    assert protection.locked
    assert protection.guarded
    assert protection.schedule_locked == (length == 32 and zeroizepy._lib.lib.zpy_has_aes() == 1)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("destroy", [CryptoKey.destroy, cryptographic_erase_key, destroy_key])
def test_destroyed_key(length: int, destroy: Any) -> None:
    """Nothing works with it any more, with SecureMemoryClosed (a CellWipedError); destroying again is harmless."""
    key = CryptoKey(KEY[:length])
    ct = encrypt_data(b"message", key)
    for _ in range(3):
        destroy(key)
    assert key.destroyed
    uses: list[Any] = [
        key.get_bytes,
        lambda: key.protection,
        lambda: key.borrow().__enter__(),
        lambda: encrypt_data(b"", key),
        lambda: encrypt_data(b"message", key),
        lambda: encrypt_data(bytes(20_000), key),
        lambda: decrypt_data(ct, key),
        lambda: decrypt_secret(ct, key),
        lambda: decrypt_data(CipherText(bytes(12), bytes(20_016)), key),
        key.__enter__,
        lambda: CryptoKey(key),
    ]
    for use in uses:
        with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
            use()
    assert issubclass(SecureMemoryClosed, CellWipedError)


def test_with_destroys() -> None:
    """A block's end is the key's."""
    with CryptoKey.generate() as key:
        assert not key.destroyed
    assert key.destroyed


def test_purge_destroys_keys() -> None:
    """purge() reaches keys."""
    keys = [CryptoKey.generate(length) for length in LENGTHS]
    purge()
    assert all(key.destroyed for key in keys)


def test_destroy_zeroes_under_a_view() -> None:
    """A view of the key reads zeros from then on."""
    key = CryptoKey(KEY)
    with key.borrow() as view:
        key.destroy()
        assert bytes(view) == bytes(32)


@pytest.mark.parametrize("key", [None, KEY, "key"], ids=lambda key: type(key).__name__)
@pytest.mark.parametrize("call", [cryptographic_erase_key, destroy_key])
def test_erase_wrong_type(call: Any, key: Any) -> None:
    """Only a CryptoKey can be erased."""
    with pytest.raises(TypeError, match=rf"key must be a CryptoKey, not {type(key).__name__}"):
        call(key)


# ---- messages ----


def test_aliases() -> None:
    """The short names are the same functions."""
    assert encrypt is encrypt_data
    assert decrypt is decrypt_data
    assert destroy_key is cryptographic_erase_key


@pytest.mark.parametrize("extra", [None, b"", b"context-info", bytes(1000)], ids=["none", "empty", "short", "long"])
@pytest.mark.parametrize("size", MESSAGE_SIZES)
@pytest.mark.parametrize("length", LENGTHS)
def test_round_trip(length: int, size: int, extra: bytes | None) -> None:
    """Every size around the places where another path is taken, with and without associated data."""
    message = bytes(number * 31 & 0xFF for number in range(size))
    key = CryptoKey(KEY[:length])
    ct = encrypt_data(message, key, extra)
    assert len(ct.nonce) == 12
    assert len(ct.ciphertext) == size + 16
    assert decrypt_data(ct, key, associated_data=extra) == message
    assert decrypt_secret(ct, key, extra).get_bytes() == message
    assert AESGCM(KEY[:length]).decrypt(ct.nonce, ct.ciphertext, extra) == message


def test_ciphertext_is_a_named_tuple() -> None:
    """(nonce, ciphertext), by name and by place, of bytes."""
    ct = encrypt_data(b"message", CryptoKey.generate())
    nonce, ciphertext = ct
    assert (ct.nonce, ct.ciphertext) == (nonce, ciphertext)
    assert type(nonce) is type(ciphertext) is bytes
    assert CipherText._fields == ("nonce", "ciphertext")


@pytest.mark.parametrize("length", LENGTHS)
def test_nonces_are_fresh(length: int) -> None:
    """No nonce comes twice, for the same message under the same key."""
    key = CryptoKey.generate(length)
    made = [encrypt_data(b"message", key) for _ in range(2000)]
    assert len({ct.nonce for ct in made}) == 2000
    assert len({ct.ciphertext for ct in made}) == 2000


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "make",
    [bytearray, memoryview, CypherCell, SecureMemory.from_bytes, lambda data: array.array("B", data)],
    ids=["bytearray", "memoryview", "cell", "memory", "array"],
)
def test_plaintext_sources(make: Any, length: int) -> None:
    """Anything bytes-like, cells and memory; they keep their content."""
    key, source = CryptoKey.generate(length), make(b"message")
    ct = encrypt_data(source, key, bytearray(b"extra"))
    assert decrypt_data(ct, key, memoryview(b"extra")) == b"message"
    assert decrypt_data(encrypt_data(source, key), key) == b"message"


def test_a_volatile_cell_can_be_encrypted_once() -> None:
    """Encrypting a cell is an access to it."""
    key, cell = CryptoKey.generate(), CypherCell(b"message", volatile=True)
    assert decrypt_data(encrypt_data(cell, key), key) == b"message"
    with pytest.raises(CellWipedError, match=r"^Cell is wiped$"):
        encrypt_data(cell, key)


@pytest.mark.parametrize("plaintext", ["text", None, 5, [1]], ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("length", LENGTHS)
def test_wrong_plaintext_type(plaintext: Any, length: int) -> None:
    """TypeError names the argument."""
    with pytest.raises(TypeError, match=rf"plaintext must be a .*not {type(plaintext).__name__}"):
        encrypt_data(plaintext, CryptoKey.generate(length))


@pytest.mark.parametrize("extra", ["text", 5, [1]], ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("length", LENGTHS)
def test_wrong_associated_data_type(extra: Any, length: int) -> None:
    """TypeError names the argument, both ways."""
    key = CryptoKey.generate(length)
    ct = encrypt_data(b"message", key)
    calls: list[Any] = [lambda: encrypt_data(b"", key, extra), lambda: decrypt_data(ct, key, extra)]
    for call in [*calls, lambda: decrypt_secret(ct, key, extra)]:
        with pytest.raises(TypeError, match=rf"associated_data must be a .*not {type(extra).__name__}"):
            call()


@pytest.mark.parametrize("key", [KEY, None, "key"], ids=lambda key: type(key).__name__)
def test_key_must_be_a_key(key: Any) -> None:
    """Raw bytes are not taken for a key."""
    ct = CipherText(bytes(12), bytes(16))
    calls: list[Any] = [lambda: encrypt_data(b"", key), lambda: decrypt_data(ct, key), lambda: decrypt_secret(ct, key)]
    for call in calls:
        with pytest.raises(TypeError, match=rf"key must be a CryptoKey, not {type(key).__name__}"):
            call()


@pytest.mark.parametrize("ct", [b"bytes", None, (bytes(12), bytes(16)), [bytes(12), bytes(16)], "text"])
@pytest.mark.parametrize("call", [decrypt_data, decrypt_secret])
def test_only_a_ciphertext_is_decrypted(call: Any, ct: Any) -> None:
    """A bare tuple might hold its parts in another order."""
    with pytest.raises(TypeError, match=rf"ct must be a CipherText, not {type(ct).__name__}"):
        call(ct, CryptoKey.generate())


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("call", [decrypt_data, decrypt_secret])
@pytest.mark.parametrize("size", [0, 1, 11, 13, 16, 24])
def test_wrong_nonce_length(size: int, call: Any, length: int) -> None:
    """ValueError with both numbers."""
    with pytest.raises(ValueError, match=rf"nonce must be 12 bytes, not {size}"):
        call(CipherText(bytes(size), bytes(32)), CryptoKey.generate(length))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("call", [decrypt_data, decrypt_secret])
@pytest.mark.parametrize("size", [0, 1, 15])
def test_short_ciphertext(size: int, call: Any, length: int) -> None:
    """ValueError, before any cipher runs."""
    with pytest.raises(ValueError, match=rf"ciphertext must be at least 16 bytes, not {size}"):
        call(CipherText(bytes(12), bytes(size)), CryptoKey.generate(length))


@pytest.mark.parametrize("call", [decrypt_data, decrypt_secret])
@pytest.mark.parametrize("part", [None, 5, "twelve bytes"], ids=lambda part: type(part).__name__)
def test_wrong_types_inside_a_ciphertext(part: Any, call: Any) -> None:
    """A CipherText of other things is a TypeError or, for None, a ValueError; it never reaches the cipher."""
    key = CryptoKey.generate()
    for ct in (CipherText(part, bytes(16)), CipherText(bytes(12), part)):
        with pytest.raises((TypeError, ValueError), match=r"nonce|ciphertext"):
            call(ct, key)


@pytest.mark.parametrize("call", [decrypt_data, decrypt_secret])
@pytest.mark.parametrize("size", [0, 1, 40, 20_000])
@pytest.mark.parametrize("length", LENGTHS)
def test_wrong_key_nonce_or_data(length: int, size: int, call: Any) -> None:
    """DecryptionError (a ValueError) for each, and a cell less than before for decrypt_secret."""
    key = CryptoKey.generate(length)
    ct = encrypt_data(bytes(size), key, b"extra")
    other = encrypt_data(bytes(size), key, b"extra")
    live = stats().cells
    attempts = [
        (ct, CryptoKey.generate(length), b"extra"),
        (CipherText(other.nonce, ct.ciphertext), key, b"extra"),
        (CipherText(ct.nonce, other.ciphertext), key, b"extra"),
        (CipherText(ct.nonce, ct.ciphertext + b"\0"), key, b"extra"),
        (ct, key, b"Extra"),
        (ct, key, b"extra\0"),
        (ct, key, b""),
        (ct, key, None),
    ]
    for attempt in attempts:
        with pytest.raises(DecryptionError, match=r"^Invalid ciphertext or authentication failed$"):
            call(*attempt)
    del attempts, attempt
    gc.collect()
    assert stats().cells == live
    assert issubclass(DecryptionError, ValueError)


def test_decrypt_secret_gives_secure_memory() -> None:
    """The plaintext stays in locked memory, small and large."""
    key = CryptoKey.generate()
    for size in (0, 5, 9000):
        memory = decrypt_secret(encrypt_data(b"\x5a" * size, key), key)
        assert isinstance(memory, SecureMemory)
        assert memory.protection.locked
        assert memory.get_bytes() == b"\x5a" * size


def test_keys_do_not_share() -> None:
    """Many keys at once, each decrypts its own and no other's."""
    keys = [CryptoKey.generate(LENGTHS[number % 3]) for number in range(60)]
    made = [encrypt_data(bytes([number]), key) for number, key in enumerate(keys)]
    for number, key in enumerate(keys):
        assert decrypt_data(made[number], key) == bytes([number])
        with pytest.raises(DecryptionError):
            decrypt_data(made[number - 3], key)


@pytest.mark.parametrize("length", [16, 24, 32])
def test_borrow_lends_the_key_alone(length: int) -> None:
    """Each time: not the schedule that lies behind a 256-bit key in the same slot."""
    raw = bytes(range(length))
    key = CryptoKey(raw)
    for _ in range(3):
        with key.borrow() as view:
            assert bytes(view) == raw


ALGORITHMS = ("AES-128-GCM", "AES-192-GCM", "AES-256-GCM", "XChaCha20-Poly1305")
BUFFERS: dict[str, Callable[[int], Any]] = {
    "bytearray": lambda size: bytearray(b"\xee" * size),
    "memoryview": lambda size: memoryview(bytearray(b"\xee" * (size + 2)))[1:-1],
    "array": lambda size: array.array("B", b"\xee" * size),
    "mmap": lambda size: _filled(mmap(-1, size)),
    "SecureMemory": lambda size: SecureMemory.from_bytes(b"\xee" * size),
}


def _filled(mapped: mmap) -> mmap:
    mapped[:] = b"\xee" * len(mapped)
    return mapped


def _content(buffer: Any) -> bytes:
    return buffer.read() if isinstance(buffer, SecureMemory) else bytes(memoryview(buffer))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", BUFFERS)
@pytest.mark.parametrize("size", [0, 1, 5, 20_000])
def test_decrypt_into(name: Any, kind: str, size: int) -> None:
    """The plaintext stands at the start of the buffer, the rest is left alone, and its length is returned."""
    key = CryptoKey.generate(algorithm=name)
    plaintext = bytes(number % 251 for number in range(size))
    ct = encrypt_data(plaintext, key, b"about")
    for room in (max(size, 1), size + 9):
        buffer = BUFFERS[kind](room)
        assert decrypt_into(ct, key, buffer, b"about") == size
        assert _content(buffer) == plaintext + b"\xee" * (room - size)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", BUFFERS)
def test_a_failed_decrypt_into(name: Any, kind: str) -> None:
    """No byte of the plaintext is in the buffer: not of a forged message, nor one under a destroyed key."""
    for size in (40, 20_000):
        key = CryptoKey.generate(algorithm=name)
        ct = encrypt_data(b"s" * size, key)
        buffer = BUFFERS[kind](size)
        with pytest.raises(DecryptionError):
            decrypt_into(ct._replace(ciphertext=ct.ciphertext[:-1] + bytes([ct.ciphertext[-1] ^ 1])), key, buffer)
        assert _content(buffer) in (bytes(size), b"\xee" * size)
        before = _content(buffer)
        with pytest.raises(ValueError, match=f"buffer of {size} bytes is too short for {size + 1}"):
            decrypt_into(encrypt_data(b"s" * (size + 1), key), key, buffer)
        key.destroy()
        with pytest.raises(SecureMemoryClosed, match="key is closed"):
            decrypt_into(ct, key, buffer)
        assert _content(buffer) == before


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("use", ["secret", "memory", "buffer"])
def test_what_openssl_returned_is_zeroed(use: str, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL gives plaintext as `bytes`: that object holds zeros afterwards, and when an interrupt comes."""
    key, given, memory, buffer = CryptoKey.generate(16), [], SecureMemory(40), bytearray(40)
    run = crypto._decrypt_openssl

    class Interrupted:
        """ffi, with which nothing can be moved."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ffi, name)

        def memmove(self, *_arguments: Any) -> None:
            raise KeyboardInterrupt

    def interrupted(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    def watched(*arguments: Any) -> bytes:
        given.append(run(*arguments))
        assert given[0] == b"q" * 40
        return given[0]

    monkeypatch.setattr(crypto, "_decrypt_openssl", watched)
    if fails:
        monkeypatch.setattr(crypto, "ffi", Interrupted())
        monkeypatch.setattr(SecureMemory, "write", interrupted)
    sealed = encrypt_data(b"q" * 40, key)
    with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
        if use == "secret":
            decrypt_secret(sealed, key).close()
        else:
            decrypt_into(sealed, key, memory if use == "memory" else buffer)
    assert given == [bytes(40)]
    memory.close()
    key.destroy()


def test_decrypt_into_closed_memory() -> None:
    """What is closed is named: the memory, and not the key."""
    for length in LENGTHS:
        key, memory = CryptoKey.generate(length), SecureMemory(8)
        memory.close()
        with pytest.raises(SecureMemoryClosed, match="secure memory is closed"):
            decrypt_into(encrypt_data(b"x" * 8, key), key, memory)


def test_decrypt_into_takes_buffers_only() -> None:
    """A ciphertext of the right size does not replace a key, its schedule or a cell; nor what may not be written."""
    key, other, cell = CryptoKey(bytes(32)), CryptoKey(bytes(range(32))), CypherCell(b"b" * 32)
    short = CryptoKey(bytes(16))
    with other.borrow() as view:
        targets: list[tuple[Any, int]] = [(other, 544), (other, 32), (short, 16), (cell, 32), (view, 32)]
        for target, size in (*targets, (bytes(32), 32), (None, 32), ("text", 4), (memoryview(bytearray(9))[::2], 4)):
            with pytest.raises(TypeError, match=r"^buffer must be (writable|a contiguous bytes-like object)"):
                decrypt_into(encrypt_data(b"x" * size, key), key, target)
    assert other.get_bytes() == bytes(range(32))
    assert cell.reveal_bytes() == b"b" * 32
