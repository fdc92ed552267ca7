"""Encrypted files: C2SP's vectors, `cryptography.cobblestone` both ways, and everything that must be refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroizepy import chunked
from zeroizepy._lib import lib
from zeroizepy.chunked import EncryptedReader, EncryptedWriter, decrypt_file, encrypt_file, filekey
from zeroizepy.chunked.ends import Output
from zeroizepy.chunked.sealing import Sealer
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import DecryptionError, SecureMemoryClosed
from zeroizepy.slots import protection_of, read_bytes

if TYPE_CHECKING:
    from support.children import Child

VECTORS = json.loads((Path(__file__).parent / "vectors" / "chunked_encryption.json").read_text(encoding="ascii"))
CHUNK = 16384
SEALED = CHUNK + 16
BATCH = 16 * CHUNK
RAW = {16: bytes(range(16)), 32: bytes(range(32))}
HEAD = 56

around = st.builds(
    lambda chunks, more: max(chunks * CHUNK + more, 0),
    st.sampled_from([0, 1, 2, 15, 16, 17, 32, 33]),
    st.sampled_from([-1, 0, 1, 15, 16, 17]) | st.integers(-CHUNK, CHUNK),
)
lengths = st.sampled_from([16, 32])
contexts = st.binary(max_size=100)


def payload(size: int) -> bytes:
    """Bytes of which no two chunks are alike."""
    return hashlib.shake_128(b"payload").digest(size)


def seal(data: bytes, key: CryptoKey, associated_data: bytes = b"") -> bytes:
    """Encrypt in memory."""
    out = io.BytesIO()
    encrypt_file(io.BytesIO(data), out, key, associated_data=associated_data)
    return out.getvalue()


def unseal(sealed: bytes, key: CryptoKey, associated_data: bytes = b"") -> bytes:
    """Decrypt in memory."""
    out = io.BytesIO()
    decrypt_file(io.BytesIO(sealed), out, key, associated_data=associated_data)
    return out.getvalue()


def read_all(sealed: bytes, key: CryptoKey, associated_data: bytes = b"") -> bytes:
    """The same through the reader."""
    with EncryptedReader(io.BytesIO(sealed), key, associated_data=associated_data) as file:
        return file.read()


WAYS = {"decrypt_file": unseal, "EncryptedReader": read_all}


class CoreWithoutAes:
    """The core as it answers where detection finds no AES."""

    def zpy_has_aes(self) -> int:
        """None here."""
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)


@pytest.fixture(params=["libsodium", "OpenSSL"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two that do AES-256, in turn."""
    name: str = request.param
    if name == "OpenSSL":
        monkeypatch.setattr(filekey, "lib", CoreWithoutAes())
    elif lib.zpy_has_aes() != 1:
        pytest.skip("needs a CPU with AES instructions")
    return name


# ---- vectors ----


def ciphertext_of(vector: dict[str, Any]) -> bytes:
    """A vector's ciphertext."""
    data = base64.b64decode(vector["ciphertext"] or "")
    return zlib.decompress(data) if vector.get("compressed") else data


class Injected(filekey.FileKey):
    """A file's key as a vector names it, in place of a derived one; see vectors/README.md."""

    vector: dict[str, Any]

    @classmethod
    def of_header(cls, key: CryptoKey, associated_data: Any, header: bytes) -> Injected:
        """Past the derivation, which the oracle below checks, and the commitment."""
        injected = cls(key, associated_data, header[:24])
        raw = bytes.fromhex(cls.vector["aead_key"])
        derived = raw + bytes.fromhex(cls.vector["base_nonce"])
        assert lib.zpy_cell_write(injected._handle, 0, derived, len(derived)) == lib.ZPY_OK
        if len(raw) == 32 and lib.zpy_has_aes() == 1:
            schedule, other = bytes(512), CryptoKey(raw)
            assert lib.zpy_cell_read(other._handle, 32, schedule, 512) == lib.ZPY_OK
            assert lib.zpy_cell_write(injected._handle, 128, schedule, 512) == lib.ZPY_OK
        return injected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any], way: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """C2SP's vectors for chunks: the payload where there is one, a refusal where there is none."""
    monkeypatch.setattr(Injected, "vector", vector, raising=False)
    for module in (chunked.files, chunked.reader):
        monkeypatch.setattr(module, "FileKey", Injected)
    data = base64.b64decode(vector["ciphertext"])
    sealed = zlib.decompress(data) if vector.get("compressed") else data
    key = CryptoKey(bytes(len(vector["aead_key"]) // 2))
    if vector["expect"] == "success":
        opened = WAYS[way](sealed, key)
        assert len(opened) == vector["payload_length"]
        assert hashlib.sha256(opened).hexdigest() == vector["payload_sha256"]
        assert resealed(opened, sealed, key) == sealed
    else:
        with pytest.raises(DecryptionError, match=r"chunk \d|last chunk is missing"):
            WAYS[way](sealed, key)


def resealed(data: bytes, sealed: bytes, key: CryptoKey) -> bytes:
    """The payload encrypted again with the vector's key."""
    file_key = Injected.of_header(key, b"", sealed[:HEAD])
    file_key.header = sealed[:HEAD]
    out = io.BytesIO()
    sealer = Sealer(file_key, Output(out))
    source = io.BytesIO(data)
    while count := source.readinto(sealer.room()):
        sealer.advance(count)
    sealer.finish()
    sealer.close()
    return out.getvalue()


def test_there_are_vectors() -> None:
    """As many as their README says."""
    kinds = [(vector["aead"], vector["expect"]) for vector in VECTORS]
    for aead in ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM"):
        assert (kinds.count((aead, "success")), kinds.count((aead, "failure"))) == (9, 15)


@settings(deadline=None, max_examples=60)
@given(length=lengths, salt=st.binary(min_size=24, max_size=24), context=contexts)
def test_derivation(length: int, salt: bytes, context: bytes) -> None:
    """Key, base nonce and commitment are what cryptography's HKDF-Expand makes with the specification's info."""
    file_key = filekey.FileKey(CryptoKey(RAW[length]), context, salt)
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_%d_GCM\0" % (8 * length) + salt + context
    expected = HKDFExpand(SHA512(), length + 12 + 32, info).derive(RAW[length])
    status, derived = read_bytes(file_key._handle, 0, length + 12 + 32)
    assert status == lib.ZPY_OK
    assert derived == expected
    assert file_key.header == salt + expected[-32:]


# ---- the independent oracle ----


def oracle(kind: str, length: int) -> Any:
    """cryptography's class, from version 50."""
    module = pytest.importorskip("cryptography.cobblestone", reason="needs cryptography 50 or newer")
    return getattr(module, f"Cobblestone{8 * length}{kind}")


@settings(deadline=None, max_examples=60)
@given(length=lengths, size=around, context=contexts)
def test_cryptography_opens_ours(length: int, size: int, context: bytes) -> None:
    """What we encrypt, cryptography.cobblestone decrypts."""
    opener = oracle("Decryptor", length)(RAW[length], context)
    data = payload(size)
    sealed = seal(data, CryptoKey(RAW[length]), context)
    assert len(sealed) == HEAD + size + 16 * (size // CHUNK + 1)
    assert opener.update(sealed) + opener.finalize() == data


@settings(deadline=None, max_examples=60)
@given(length=lengths, size=around, context=contexts, cut=st.integers(0, 10**6))
def test_we_open_cryptographys(length: int, size: int, context: bytes, cut: int) -> None:
    """What cryptography.cobblestone encrypts, we decrypt, in one go and from any place on."""
    sealer = oracle("Encryptor", length)(RAW[length], context)
    key, data = CryptoKey(RAW[length]), payload(size)
    sealed = sealer.update(data) + sealer.finalize()
    assert unseal(sealed, key, context) == data
    with EncryptedReader(io.BytesIO(sealed), key, associated_data=context) as file:
        start = file.seek(min(cut, size))
        assert file.read(20_000) == data[start : start + 20_000]


@settings(deadline=None, max_examples=40)
@given(size=around, steps=st.lists(st.integers(1, 300_000), min_size=1, max_size=8))
def test_the_writer_takes_pieces(size: int, steps: list[int]) -> None:
    """However the plaintext is cut into pieces, the same file comes out as far as others can tell."""
    out, data = io.BytesIO(), payload(size)
    with EncryptedWriter(out, CryptoKey(RAW[32]), associated_data=b"a") as file:
        at = 0
        while at < size:
            step = steps[at % len(steps)]
            assert file.write(data[at : at + step]) == len(data[at : at + step])
            at += step
    opener = oracle("Decryptor", 32)(RAW[32], b"a")
    assert opener.update(out.getvalue()) + opener.finalize() == data


def test_without_aes_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL makes and opens the same files as libsodium."""
    key, data = CryptoKey(RAW[32]), payload(2 * BATCH + 5)
    sealed = seal(data, key)
    monkeypatch.setattr(filekey, "lib", CoreWithoutAes())
    assert unseal(sealed, key) == data
    other = seal(data, key)
    monkeypatch.undo()
    assert unseal(other, key) == data


def test_each_file_has_its_own_salt() -> None:
    """The same plaintext twice: two files that have nothing in common."""
    key = CryptoKey(RAW[32])
    first, second = seal(payload(100), key), seal(payload(100), key)
    assert first[:24] != second[:24]
    assert first[24:HEAD] != second[24:HEAD]
    assert first[HEAD:] != second[HEAD:]


class OlderAESGCM:
    """What `cryptography` had before it wrote into buffers."""

    returned: list[bytes] = []  # noqa: RUF012 - each test sets its own.

    def __init__(self, key: memoryview) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, nonce: bytes, data: memoryview, associated_data: None) -> bytes:
        """As there."""
        return self._cipher.encrypt(nonce, data, associated_data)

    def decrypt(self, nonce: bytes, data: memoryview, associated_data: None) -> bytes:
        """As there."""
        self.returned.append(self._cipher.decrypt(nonce, data, associated_data))
        return self.returned[-1]


def test_cryptography_that_only_returns_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files under 16-byte keys are the same with it, the `bytes` are zeroed, and what is not authentic is refused."""
    key, data = CryptoKey(RAW[16]), payload(2 * CHUNK + 5)
    before = seal(data, key)
    monkeypatch.setattr("cryptography.hazmat.primitives.ciphers.aead.AESGCM", OlderAESGCM)
    returned: list[bytes] = []
    monkeypatch.setattr(OlderAESGCM, "returned", returned)
    assert unseal(before, key) == data
    assert returned == [bytes(CHUNK), bytes(CHUNK), bytes(5)]
    after = seal(data, key)
    with pytest.raises(DecryptionError, match="chunk 1 is not authentic"):
        unseal(after[: HEAD + SEALED] + bytes(SEALED) + after[HEAD + 2 * SEALED :], key)
    monkeypatch.undo()
    assert unseal(after, key) == data


def test_what_openssl_needs_beside_the_key_is_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base nonce leaves its slot as `bytes`, for each batch; these hold zeros when the batch is done."""
    key, data, kept = CryptoKey(RAW[16]), payload(3 * CHUNK), []
    read = filekey.read_bytes

    def watched(*arguments: Any) -> tuple[int, bytes]:
        status, out = read(*arguments)
        kept.append((out, bytes(bytearray(out))))
        return status, out

    monkeypatch.setattr(filekey, "read_bytes", watched)
    assert unseal(seal(data, key), key) == data
    assert {out for out, _ in kept} == {bytes(12)}
    assert bytes(12) not in {copy for _, copy in kept}


# ---- what must be refused ----


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [16, 32])
def test_every_flipped_bit(length: int, way: str) -> None:
    """Each bit of salt, commitment, chunk and tag counts."""
    key = CryptoKey(RAW[length])
    sealed = bytearray(seal(b"a message", key))
    for bit in range(8 * len(sealed)):
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError):
            WAYS[way](bytes(sealed), key)
        sealed[bit // 8] ^= 1 << bit % 8
    assert WAYS[way](bytes(sealed), key) == b"a message"


@pytest.mark.parametrize("way", WAYS)
def test_every_truncation_of_a_short_file(way: str) -> None:
    """Cut anywhere, it is refused."""
    key = CryptoKey(RAW[32])
    sealed = seal(payload(100), key)
    for size in range(len(sealed)):
        with pytest.raises(DecryptionError):
            WAYS[way](sealed[:size], key)


BORDERS = sorted({HEAD + chunks * SEALED + more for chunks in (0, 1, 2, 15, 16, 17) for more in (-1, 0, 1, 15, 16, 17)})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", BORDERS)
def test_truncations_at_borders(size: int, way: str, engine: str) -> None:  # noqa: ARG001 - the fixture acts.
    """Cut at and around chunks and batches of chunks, it is refused, and says that it is cut where that is known."""
    key = CryptoKey(RAW[32])
    sealed = seal(payload(20 * CHUNK), key)
    said = r"truncated" if size >= HEAD else r"too few"
    with pytest.raises(DecryptionError, match=said):
        WAYS[way](sealed[:size], key)


def chunks_of(sealed: bytes) -> tuple[bytes, list[bytes]]:
    """Header and chunks."""
    return sealed[:HEAD], [sealed[at : at + SEALED] for at in range(HEAD, len(sealed), SEALED)]


@pytest.mark.parametrize("way", WAYS)
def test_chunks_in_another_order(way: str, engine: str) -> None:  # noqa: ARG001 - the fixture acts.
    """Swapped, repeated, left out, doubled at the end, extended, or from another file of the same key: refused."""
    key = CryptoKey(RAW[32])
    sealed = seal(payload(18 * CHUNK + 7), key)
    head, parts = chunks_of(sealed)
    _, others = chunks_of(seal(payload(18 * CHUNK + 7), key))
    assert WAYS[way](head + b"".join(parts), key) == payload(18 * CHUNK + 7)
    for wrong in (
        [parts[1], parts[0], *parts[2:]],
        [parts[0], parts[0], *parts[2:]],
        parts[1:],
        [*parts[:3], *parts[4:]],
        [*parts[:-1], parts[0], parts[-1]],
        [*parts, parts[-1]],
        [*parts, b"\0"],
        [*parts, bytes(SEALED)],
        [parts[0], others[1], *parts[2:]],
        [*parts[:-1], others[-1]],
    ):
        with pytest.raises(DecryptionError):
            WAYS[way](head + b"".join(wrong), key)


@pytest.mark.parametrize("way", WAYS)
def test_wrong_key_or_context(way: str) -> None:
    """They fail at the commitment, before anything is decrypted."""
    sealed = seal(payload(100), CryptoKey(RAW[32]), b"right")
    for key, context in (
        (CryptoKey.generate(), b"right"),
        (CryptoKey(RAW[32]), b"wrong"),
        (CryptoKey(RAW[16]), b"right"),
    ):
        with pytest.raises(DecryptionError, match="commitment does not match"):
            WAYS[way](sealed, key, context)


def test_192_bits() -> None:
    """Cobblestone has no such key."""
    with pytest.raises(ValueError, match="must be 16 or 32 bytes"):
        seal(b"", CryptoKey.generate(24))


def test_most_chunks(engine: str) -> None:
    """The 2^38th chunk is the last that can be; the nonce counts as far."""
    file_key = filekey.FileKey(CryptoKey(RAW[32]), b"")
    plain, sealed = filekey.Scratch(CHUNK), filekey.Scratch(2 * SEALED)
    last = (1 << 38) - 1
    assert file_key.seal(last, plain, 5, sealed, is_last=True) == 21
    assert file_key.open(last, sealed, 21, plain, is_last=True) == 5
    with pytest.raises(DecryptionError):
        file_key.open(last - 1, sealed, 21, plain, is_last=True)
    with pytest.raises(ValueError, match="4 PiB"):
        file_key.seal(last, plain, CHUNK, sealed, is_last=True)
    if engine == "libsodium":
        out = filekey.Scratch(2 * SEALED)
        run = lib.zpy_chunked_encrypt
        assert run(file_key._handle, last, plain.at, CHUNK, 1, out.at) == lib.ZPY_RANGE
        assert run(file_key._handle, last, plain.at, 5, 0, out.at) == lib.ZPY_RANGE
        assert run(file_key._handle, last, plain.at, 5, 1, out.at) == lib.ZPY_OK


def test_a_failed_batch_leaves_zeros(engine: str) -> None:  # noqa: ARG001 - the fixture acts.
    """Authentic chunks before the forged one are not left in the buffer."""
    key, data = CryptoKey(RAW[32]), b"x" * (2 * CHUNK + 9)
    sealed = bytearray(seal(data, key))
    sealed[-1] ^= 1
    file_key = filekey.FileKey.of_header(key, b"", bytes(sealed[:HEAD]))
    source, out = filekey.Scratch(3 * SEALED), filekey.Scratch(3 * CHUNK)
    source.view[: len(sealed) - HEAD] = sealed[HEAD:]
    with pytest.raises(DecryptionError, match="chunk 2, the last one"):
        file_key.open(0, source, len(sealed) - HEAD, out, is_last=True)
    assert bytes(out.view) == bytes(3 * CHUNK)
    assert file_key.open(0, source, 2 * SEALED, out, is_last=False) == 2 * CHUNK
    assert bytes(out.view[: 2 * CHUNK]) == data[: 2 * CHUNK]


def test_a_destroyed_key() -> None:
    """No writer, reader, or function works with it, and those that were open wipe their own."""
    key = CryptoKey(RAW[32])
    sealed = seal(payload(100), key)
    writer, reader = EncryptedWriter(io.BytesIO(), key), EncryptedReader(io.BytesIO(sealed), key)
    assert reader.read(10) == payload(10)
    key.destroy()
    file_key = reader._file_key
    assert file_key is not None
    with pytest.raises(SecureMemoryClosed):
        reader.read(10)
    assert lib.zpy_cell_state(file_key._handle) == lib.ZPY_WIPED
    with pytest.raises(SecureMemoryClosed):
        writer.write(bytes(BATCH))
    assert writer.closed
    for call in (lambda: seal(b"", key), lambda: unseal(sealed, key), lambda: EncryptedReader(io.BytesIO(sealed), key)):
        with pytest.raises(SecureMemoryClosed):
            call()
    reader.close()


def test_a_key_destroyed_by_another_thread(engine: str) -> None:  # noqa: ARG001 - the fixture acts.
    """Each encryption that is under way either gives a whole file or raises, and afterwards all raise."""
    key, data = CryptoKey(RAW[32]), payload(4 * BATCH + 9)
    whole: list[bytes] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            while not raised:
                whole.append(seal(data, key))
        except SecureMemoryClosed as error:
            raised.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    while len(whole) < 20:
        time.sleep(0.001)
    key.destroy()
    for thread in threads:
        thread.join()
    assert raised
    again = CryptoKey(RAW[32])
    for sealed in whole:
        assert unseal(sealed, again) == data


def test_no_cells_stay(no_leftover_cells: None) -> None:  # noqa: ARG001 - the fixture checks.
    """Whatever way a file ends, what was derived for it is wiped."""
    key = CryptoKey(RAW[32])
    sealed = seal(payload(100), key)
    assert unseal(sealed, key) == payload(100) == read_all(sealed, key)
    for wrong in (sealed[:70], sealed[:-1], sealed[:24] + bytes(32) + sealed[56:]):
        for way in WAYS.values():
            with pytest.raises(DecryptionError):
                way(wrong, key)
    EncryptedWriter(io.BytesIO(), key).discard()
    reader = EncryptedReader(io.BytesIO(sealed), key)
    del reader
    key.destroy()


# ---- the reader as a file ----


def test_random_access_reads_what_it_needs(tmp_path: Path) -> None:
    """Four bytes from the middle cost one chunk, and damage elsewhere does not matter to them."""
    key, data = CryptoKey(RAW[32]), payload(40 * CHUNK)
    sealed = bytearray(seal(data, key))
    sealed[HEAD + 3 * SEALED] ^= 1
    path = tmp_path / "sealed"
    path.write_bytes(sealed)
    with EncryptedReader(path, key) as file:
        assert file.size == len(data)
        file.seek(20 * CHUNK - 2)
        assert file.read(4) == data[20 * CHUNK - 2 : 20 * CHUNK + 2]
        file.seek(-5, os.SEEK_END)
        assert file.read() == data[-5:]
        assert file.read(1) == b""
        file.seek(3 * CHUNK - 1)
        assert file.read(1) == data[3 * CHUNK - 1 : 3 * CHUNK]
        with pytest.raises(DecryptionError, match="chunk 3 is not authentic"):
            file.read(1)


@settings(deadline=None, max_examples=40)
@given(size=around, jumps=st.lists(st.tuples(st.integers(0, 600_000), st.integers(0, 300_000)), max_size=6))
def test_the_reader_is_like_a_file(size: int, jumps: list[tuple[int, int]]) -> None:
    """Seeks and reads give what they give in the plaintext."""
    data = payload(size)
    plain, key = io.BytesIO(data), CryptoKey(RAW[32])
    with EncryptedReader(io.BytesIO(seal(data, key)), key) as file:
        for where, count in jumps:
            assert file.seek(where) == plain.seek(where)
            assert file.read(count) == plain.read(count)
            assert file.tell() == plain.tell()
            buffer, other = bytearray(count), bytearray(count)
            assert file.readinto(buffer) == plain.readinto(other)
            assert buffer == other


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    """What is gone is told, and no shorter file is taken for the whole one."""
    path = tmp_path / "sealed"
    path.write_bytes(seal(payload(6 * CHUNK + 5), CryptoKey(RAW[32])))
    with EncryptedReader(path, CryptoKey(RAW[32])) as file:
        os.truncate(path, HEAD + 2 * (CHUNK + 16))
        with pytest.raises(DecryptionError, match="truncated while it was open"):
            file.read(4 * CHUNK)


def test_a_closed_reader() -> None:
    """It says so, and its plaintext is zeros."""
    key = CryptoKey(RAW[32])
    file = EncryptedReader(io.BytesIO(seal(payload(100), key)), key)
    plain = file._plain
    assert plain is not None
    assert file.read() == bytes(plain.view[:100]) == payload(100)
    file.close()
    file.close()
    assert bytes(plain.view) == bytes(len(plain.view))
    for call in (file.read, file.tell, lambda: file.seek(0), lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_reader_closed_by_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that goes on gives out no zeros: the other thread waits for it."""
    key = CryptoKey(RAW[32])
    file = EncryptedReader(io.BytesIO(seal(payload(100), key)), key)
    closer = threading.Thread(target=file.close)
    find = EncryptedReader._at

    def find_slowly(self: EncryptedReader, position: int, wanted: int) -> memoryview:
        part = find(self, position, wanted)
        if not closer.ident:
            closer.start()
            closer.join(0.2)
        return part

    monkeypatch.setattr(EncryptedReader, "_at", find_slowly)
    assert file.read() == payload(100)
    closer.join()
    assert file.closed


def test_a_reader_used_in_the_middle_of_a_call() -> None:
    """As by a signal handler: refused, and the call that goes on is not disturbed."""
    calls: list[Any] = []

    class Disturbed(io.BytesIO):
        """Makes these calls while it is read."""

        def readinto(self, buffer: Any) -> int:
            for call in calls:
                with pytest.raises(RuntimeError, match="reentrant"):
                    call()
            return super().readinto(buffer)

    key = CryptoKey(RAW[32])
    file = EncryptedReader(Disturbed(seal(payload(100_000), key)), key)
    calls.extend([file.read, lambda: file.readinto(bytearray(1)), lambda: file.seek(0), file.close])
    assert file.read() == payload(100_000)
    calls.clear()
    file.close()


# ---- protection of a file's key ----


@pytest.mark.parametrize("length", [16, 32])
@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
def test_a_files_key_has_the_tier_of_its_key(tier: Any, length: int) -> None:
    """What is derived for one file is kept like the key, and the file is the same as ever."""
    key = CryptoKey(RAW[length], tier=tier)
    derived = filekey.FileKey(key, b"")
    _, protection = protection_of(derived._handle)
    derived.drop()
    assert protection is not None
    assert protection.tier == tier
    sealed, opened = io.BytesIO(), io.BytesIO()
    encrypt_file(io.BytesIO(payload(BATCH)), sealed, key)
    sealed.seek(0)
    decrypt_file(sealed, opened, CryptoKey(RAW[length]))
    assert opened.getvalue() == payload(BATCH)


@pytest.mark.parametrize("policy", ["seal", "strict"])
def test_a_files_key_has_the_policy_of_its_key(child: Child, policy: str) -> None:
    """When nothing more can be locked, the key's own policy decides, whatever the process has chosen."""
    body = """
    import sys, warnings
    from zeroizepy import CryptoKey, LockLimitError, SecureMemory
    from zeroizepy.chunked.filekey import FileKey
    from zeroizepy.memory import set_policy
    from zeroizepy.slots import protection_of

    policy = sys.argv[1]
    warnings.simplefilter("ignore")
    key, held = CryptoKey.generate(policy=policy), []
    for size in (4000, 2000, 1000, 500, 250, 100, 50, 16):
        try:
            while True:
                held.append(SecureMemory(size, policy="strict"))
        except LockLimitError:
            pass
    set_policy("seal" if policy == "strict" else "strict")
    try:
        derived = FileKey(key, b"")
        print(protection_of(derived._handle)[1].tier)
    except LockLimitError:
        print("refused")
    """
    done = child.run(body, policy, env={"ZEROIZEPY_LOCK_BUDGET": "32768"})
    assert done.stdout == {"seal": "sealed\n", "strict": "refused\n"}[policy], done.stderr
