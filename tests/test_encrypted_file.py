"""SecureSession.open: a file like any other, of which only ciphertext leaves secure memory."""

from __future__ import annotations

import errno
import gc
import io
import os
import pickle
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import DecryptionError, LockLimitError
from zeroizepy.memory import SecureMemory, stats
from zeroizepy.session import EncryptedFile, SecureSession
from zeroizepy.sessions import encrypted, storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SECRET = b"the secret that must not be found 0123456789"
SMALL = 4096


@pytest.fixture
def session() -> Iterator[SecureSession]:
    """An open session."""
    with SecureSession() as session:
        yield session


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Files of the smallest blocks, so that little data has many. Returns their size."""
    monkeypatch.setattr(encrypted, "_BLOCK_BYTES", (SMALL,))
    return SMALL


def raw_content(file: EncryptedFile) -> bytes:
    """What the file system has of it."""
    return os.pread(file._fd, os.fstat(file._fd).st_size, 0)


# ---- as a file ----


class LikeAnyFile(RuleBasedStateMachine):
    """Whatever is done to it, it answers as an unencrypted file in memory does."""

    @initialize(blocks=st.sampled_from([(SMALL,), (1 << 14,)]))
    def start(self, blocks: tuple[int, ...]) -> None:
        """An empty file, and its model."""
        usual, encrypted._BLOCK_BYTES = encrypted._BLOCK_BYTES, blocks
        try:
            self.session = SecureSession()
            self.file = self.session.open()
        finally:
            encrypted._BLOCK_BYTES = usual
        self.model = io.BytesIO()

    sizes = st.one_of(st.integers(0, 3 * SMALL), st.sampled_from([0, 1, SMALL - 1, SMALL, SMALL + 1, 5 * SMALL]))

    @rule(size=sizes, fill=st.integers(1, 255))
    def write(self, size: int, fill: int) -> None:
        """Both take the same bytes; a gap before them is of zeros."""
        data = bytes((fill + index) % 251 for index in range(size))
        assert self.file.write(data) == self.model.write(data)

    @rule(size=st.one_of(st.none(), st.just(-1), sizes))
    def read(self, size: int | None) -> None:
        """Both give the same bytes."""
        assert self.file.read(size) == self.model.read(size)

    @rule(size=sizes)
    def readinto(self, size: int) -> None:
        """Both fill the same part of a buffer."""
        ours, theirs = bytearray(b"\xaa") * size, bytearray(b"\xaa") * size
        assert self.file.readinto(ours) == self.model.readinto(theirs)
        assert ours == theirs

    @rule(offset=sizes)
    def seek(self, offset: int) -> None:
        """To a place from the start, behind the end as well."""
        assert self.file.seek(offset) == self.model.seek(offset)

    @rule(back=sizes)
    def seek_from_the_end(self, back: int) -> None:
        """To a place before the end."""
        back = min(back, len(self.model.getbuffer()))
        assert self.file.seek(-back, io.SEEK_END) == self.model.seek(-back, io.SEEK_END)

    @rule(forth=sizes)
    def seek_from_here(self, forth: int) -> None:
        """To a place from the position."""
        assert self.file.seek(forth, io.SEEK_CUR) == self.model.seek(forth, io.SEEK_CUR)

    @rule(size=st.one_of(st.none(), sizes))
    def truncate(self, size: int | None) -> None:
        """To a size, shorter or longer; BytesIO does not lengthen, files do."""
        wanted = self.model.tell() if size is None else size
        assert self.file.truncate(size) == wanted
        self.model.truncate(wanted)
        missing = wanted - len(self.model.getbuffer())
        if missing > 0:
            position = self.model.seek(0, io.SEEK_CUR)
            self.model.seek(0, io.SEEK_END)
            self.model.write(bytes(missing))
            self.model.seek(position)

    @rule()
    def flush(self) -> None:
        """Nothing changes."""
        self.file.flush()

    @invariant()
    def same_place(self) -> None:
        """The positions agree."""
        if hasattr(self, "file"):
            assert self.file.tell() == self.model.tell()

    def teardown(self) -> None:
        """The whole contents agree at the end."""
        if hasattr(self, "file"):
            self.file.seek(0)
            assert self.file.read() == self.model.getvalue()
            self.session.close()


TestLikeAnyFile = LikeAnyFile.TestCase
TestLikeAnyFile.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_wrappers_of_io_work(session: SecureSession) -> None:
    """Buffers, text, and iteration over lines, as over any raw file."""
    with io.TextIOWrapper(io.BufferedRandom(session.open()), encoding="utf-8") as text:
        text.write("one\ntwo\n" * 20_000)
        text.seek(0)
        assert sum(1 for _ in text) == 40_000
    file = session.open()
    file.write(b"one\ntwo\nthree")
    file.seek(0)
    assert list(file) == [b"one\n", b"two\n", b"three"]


def test_it_says_what_it_can(session: SecureSession) -> None:
    """Readable, writable, seekable; a descriptor it does not give, nor a copy."""
    file = session.open()
    assert (file.readable(), file.writable(), file.seekable(), file.isatty()) == (True, True, True, False)
    with pytest.raises(io.UnsupportedOperation):
        file.fileno()
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(file)
    assert repr(file) == "<EncryptedFile: 0 bytes>"


@pytest.mark.parametrize("mode", ["w", "r", "rb", "w+", "ab", "wt+", 3])
def test_other_modes_are_refused(session: SecureSession, mode: str) -> None:
    """Text, one-way and append modes name the one that there is."""
    with pytest.raises(ValueError, match=r"mode must be 'w\+b'.*TextIOWrapper"):
        session.open(mode)


def test_wrong_arguments(session: SecureSession) -> None:
    """Text, read-only buffers, negative places, and types."""
    file = session.open()
    for wrong in ("text", None, 3):
        with pytest.raises(TypeError):
            file.write(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="writable"):
        file.readinto(b"immutable")
    for call in (lambda: file.seek(-1), lambda: file.truncate(-1), lambda: file.seek(0, 5)):
        with pytest.raises(ValueError, match=r"negative|whence"):
            call()


# ---- secure memory ----


def test_secrets_go_in_and_out_without_bytes(session: SecureSession, small: int) -> None:
    """A cell, memory and key are written as they are, and read back into memory through its own view."""
    file = session.open()
    memory = SecureMemory.from_bytes(SECRET)
    assert file.write(CypherCell(SECRET)) == len(SECRET)
    assert file.write(memory) == len(SECRET)
    assert file.write(CryptoKey(bytes(range(32)))) == 32
    with memory.borrow() as view:
        assert file.write(view) == len(SECRET)
    file.write(bytes(2 * small))
    file.seek(0)
    target = SecureMemory(3 * len(SECRET) + 32)
    with target.borrow(writable=True) as view:
        assert file.readinto(view) == len(target)
    assert target.read() == SECRET * 2 + bytes(range(32)) + SECRET


def test_one_byte_reads_wipe_no_shared_object(session: SecureSession) -> None:
    """Python shares bytes objects of one byte; the file does not fill those."""
    file = session.open()
    file.write(b"ab")
    file.seek(0)
    assert [file.read(1), file.read(1), file.read(1)] == [b"a", b"b", b""]
    assert bytes([0]) == b"\x00"


# ---- what lies on the disk ----


def test_only_ciphertext_is_stored(session: SecureSession, small: int) -> None:
    """The file below has all blocks and no eight bytes of the plaintext in a row."""
    file = session.open()
    file.write(SECRET * 1000)
    file.flush()
    stored = raw_content(file)
    assert len(stored) >= 1000 * len(SECRET)
    assert len(stored) % (small + 16) == 0
    pieces = [SECRET[start : start + 8] for start in range(len(SECRET) - 8)]
    assert all(piece in SECRET * 1000 for piece in pieces)  # The control.
    assert not any(piece in stored for piece in pieces)


def test_equal_blocks_and_rewrites_look_different(session: SecureSession, small: int) -> None:
    """Each writing of a block has a nonce of its own."""
    file = session.open()
    seen = set()
    for _ in range(3):
        file.seek(0)
        file.write(bytes(2 * small))
        file.flush()
        stored = raw_content(file)
        seen |= {stored[: small + 16], stored[small + 16 :]}
    assert len(seen) == 6


def test_it_has_no_name(session: SecureSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found in the folder of temporary files, by O_TMPFILE and by unlinking alike."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = session.open()
    assert os.fstat(file._fd).st_nlink == 0
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(storage, "open_unnamed", lambda _folder: None)
    file = session.open()
    assert os.fstat(file._fd).st_nlink == 0
    assert [os.listdir(tmp_path / name) for name in os.listdir(tmp_path)] == [[]]


@pytest.mark.parametrize("how", ["flip", "swap", "swap with nonces", "older", "cut"])
def test_changes_below_are_refused(session: SecureSession, small: int, how: str) -> None:
    """A changed, exchanged, put-back or missing block raises; no byte of it is given out."""
    file = session.open()
    stored = small + 16
    for fill in (b"1", b"2"):
        file.seek(0)
        file.write(fill * (2 * small))
        file.flush()
        if fill == b"1":
            older = raw_content(file)
    newer = raw_content(file)
    if how == "swap with nonces":  # Which nobody outside can do: what is left to refuse it is the block's place.
        file._nonces = {0: file._nonces[1], 1: file._nonces[0]}
    changed = {
        "flip": bytes([newer[0] ^ 1]) + newer[1:],
        "swap": newer[stored:] + newer[:stored],
        "older": older,
        "cut": newer[: stored // 2],
    }[how.partition(" ")[0]]
    os.ftruncate(file._fd, 0)
    os.pwrite(file._fd, changed, 0)
    file.seek(0)
    target = bytearray(b"\xaa" * small)
    with pytest.raises(DecryptionError):
        file.readinto(target)
    assert target in (bytes(small), bytearray(b"\xaa" * small))
    with pytest.raises(DecryptionError):
        file.read()
    assert file.tell() == 0


def test_a_read_that_fails_halfway_leaves_nothing(session: SecureSession, small: int) -> None:
    """When the second block is refused, what the first one gave is taken back."""
    file = session.open()
    file.write(SECRET * 200)
    file.flush()
    os.pwrite(file._fd, bytes(16), small + 16)
    file.seek(0)
    target = bytearray(b"\xaa" * (2 * small))
    with pytest.raises(DecryptionError):
        file.readinto(target)
    assert target == bytes(2 * small)
    file.seek(0)
    assert file.read(small) == (SECRET * 200)[:small]


# ---- the end ----


def test_closing_wipes_the_key_and_the_block() -> None:
    """After close, and after the session, the cells are gone, and so is the file's space."""
    before = stats().cells
    session = SecureSession()
    kept, closed = session.open(), session.open()
    assert stats().cells == before + 4
    kept.write(SECRET)
    key, cache, descriptor = kept._key, kept._cache, os.dup(kept._fd)
    kept.flush()
    assert os.fstat(descriptor).st_size
    closed.close()
    closed.close()
    assert (closed.closed, stats().cells) == (True, before + 2)
    session.close()
    assert (kept.closed, key.destroyed, cache.closed, stats().cells) == (True, True, True, before)
    assert os.fstat(descriptor).st_size == 0
    os.close(descriptor)


def test_a_closed_one_refuses(session: SecureSession) -> None:
    """Each use is a ValueError, as with other files."""
    file = session.open()
    file.close()
    uses = [
        file.read,
        file.tell,
        file.flush,
        file.readable,
        file.truncate,
        lambda: file.write(b"x"),
        lambda: file.seek(0),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="closed file"):
            use()
    assert repr(file) == "<EncryptedFile: closed>"


def test_a_dropped_one_is_closed(session: SecureSession) -> None:
    """The session does not keep alive what nobody uses."""
    gc.collect()  # What tests before left in cycles would go in the middle of this one, its descriptors, too.
    before = stats().cells
    descriptors = len(os.listdir("/proc/self/fd"))
    file = session.open()
    file.write(SECRET)
    del file
    assert stats().cells == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_purge_takes_it(child: Child) -> None:
    """After purge() the file says that its key is closed, and its end is no error."""
    assert (
        child.check(
            f"""
        from zeroizepy import purge
        from zeroizepy.exceptions import SecureMemoryClosed
        from zeroizepy.session import SecureSession
        with SecureSession() as session:
            file = session.open()
            file.write({SECRET!r})
            purge()
            try:
                file.seek(0)
            except SecureMemoryClosed as error:
                print(error)
        """
        )
        == "key of the encrypted file is closed\n"
    )


def test_a_forked_child_can_neither_use_nor_harm_it(child: Child) -> None:
    """The child's uses raise and its close leaves the parent's content alone, also when a thread held the lock."""
    assert child.check(
        """
        import os, threading
        from zeroizepy.session import SecureSession
        session = SecureSession()
        file = session.open()
        file.write(b"parent")
        file.flush()
        held, done = threading.Event(), threading.Event()
        def hold():
            with file._lock:
                held.set()
                done.wait(60)
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(60)
        child = os.fork()
        if child == 0:
            uses = [file.read, lambda: file.write(b"x"), lambda: file.truncate(0), lambda: file.seek(0), file.flush]
            for use in uses:
                try:
                    use()
                except ValueError as error:
                    print(error, flush=True)
            file.close()
            session.close()
            os._exit(0)
        os.waitpid(child, 0)
        done.set()
        thread.join()
        file.seek(0)
        print(file.read())
        session.close()
        """
    ).splitlines() == ["key of the encrypted file belongs to the parent process; create it after the fork"] * 5 + [
        "b'parent'"
    ]


# ---- room and limits ----


def test_a_lock_limit_of_64_kib_is_enough(child: Child) -> None:
    """A dozen files at once have the right content: the first in 16 KiB blocks, the last in sealed ones of 4 KiB."""
    out = child.check(
        """
        import os, resource, tempfile, warnings
        import zeroizepy.values
        from zeroizepy.session import SecureSession
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        # The kernel does not bind root to the limit.
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        warnings.simplefilter("ignore")
        with SecureSession() as session:
            files = [session.open() for _ in range(12)]
            for number, file in enumerate(files):
                file.write(bytes([number]) * 100_000)
            for number, file in enumerate(files):
                file.seek(0)
                assert file.read() == bytes([number]) * 100_000
            for file in (files[0], files[-1]):
                print(file.block_bytes, file._cache.protection.tier)
        """,
        env={"ZEROIZEPY_LOCK_BUDGET": str(48 << 10)},
    )
    assert out.splitlines() == ["16384 isolated", "4096 sealed"]


def test_without_room_nothing_is_left_open(session: SecureSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constructor that finds no memory closes the file below and wipes the key."""

    def refuse() -> SecureMemory:
        raise LockLimitError("injected")

    monkeypatch.setattr(encrypted, "_open_cache", refuse)
    gc.collect()
    cells, descriptors = stats().cells, len(os.listdir("/proc/self/fd"))
    with pytest.raises(LockLimitError, match="injected"):
        session.open()
    assert (stats().cells, len(os.listdir("/proc/self/fd"))) == (cells, descriptors)


def test_a_full_disk_loses_nothing(session: SecureSession, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that finds no room says how far it came, then raises; what was taken stays, and it goes on later."""
    file = session.open()
    file.write(b"1" * small)
    write, room = os.pwrite, [2]

    def limited(fd: int, data: bytes, offset: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 1
        return write(fd, data, offset)

    monkeypatch.setattr(encrypted.os, "pwrite", limited)
    assert file.write(b"2" * (5 * small)) == 2 * small
    with pytest.raises(OSError, match="No space left"):
        file.write(b"3")
    monkeypatch.setattr(encrypted.os, "pwrite", write)
    file.write(b"3")
    file.seek(0)
    assert file.read() == b"1" * small + b"2" * (2 * small) + b"3"


def test_short_writes_and_reads_are_continued(
    session: SecureSession, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may move less than asked."""
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(encrypted.os, "pwrite", lambda fd, data, offset: write(fd, bytes(data)[:1000], offset))
    monkeypatch.setattr(encrypted.os, "pread", lambda fd, size, offset: read(fd, min(size, 900), offset))
    file = session.open()
    file.write(SECRET * 300)
    file.seek(0)
    assert file.read() == SECRET * 300
    assert small < 300 * len(SECRET)


def test_keys_without_aes_instructions(session: SecureSession, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL does the same work where libsodium cannot."""
    monkeypatch.setattr(encrypted.CryptoKey, "generate", lambda: CryptoKey(os.urandom(16)))
    file = session.open()
    assert not file._key.protection.schedule_locked
    file.write(SECRET * 300)
    file.seek(0)
    assert file.read() == SECRET * 300
    os.pwrite(file._fd, bytes(small), 0)
    file.seek(0)
    with pytest.raises(DecryptionError):
        file.read()


def test_threads_share_it(session: SecureSession, small: int) -> None:
    """Each call is carried out alone: blocks written by many threads hold what one of them wrote."""
    file = session.open()

    def work(number: int) -> None:
        for _ in range(50):
            with file._lock:
                file.seek(number * small)
                file.write(bytes([number + 1]) * small)
            file.read(10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.seek(0)
    assert file.read() == b"".join(bytes([number + 1]) * small for number in range(4))


def test_closing_while_another_thread_uses_it(session: SecureSession) -> None:
    """The user gets right bytes or a ValueError."""
    for _ in range(10):
        file = session.open()
        file.write(SECRET * 5000)
        wrong = []

        def work(file: EncryptedFile = file, wrong: list[object] = wrong) -> None:
            try:
                while True:
                    file.seek(0)
                    data = file.read(5 * len(SECRET))
                    if data not in (SECRET * 5, b""):
                        wrong.append(data)
            except ValueError:
                pass
            except BaseException as error:  # noqa: BLE001 - checked below.
                wrong.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        threading.Event().wait(0.01)
        file.close()
        thread.join(60)
        assert (thread.is_alive(), wrong) == (False, [])


def test_no_plaintext_is_left_in_ordinary_memory(child: Child) -> None:
    """After reading into secure memory and closing, a scan that sees a control finds no copy of what was written."""
    script = """
    from zeroizepy.memory import SecureMemory
    from zeroizepy.session import SecureSession
    from zeroizepy.testing import Canary, assert_no_residue
    canary = Canary()
    with assert_no_residue(canary), SecureSession() as session, SecureMemory(len(canary) * 3000) as target:
        file = session.open()
        with SecureMemory.from_bytes(canary.reveal_bytes()) as memory:
            for _ in range(3000):
                file.write(memory)
        file.seek(0)
        with target.borrow(writable=True) as out:
            file.readinto(out)
    print("clean")
    """
    assert child.check(script) == "clean\n"
