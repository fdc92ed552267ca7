"""Where encrypted and decrypted files appear, when, and what is left when something fails."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.chunked import EncryptedReader, EncryptedWriter, decrypt_file, encrypt_file, ends
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import CellExpiredError, CellWipedError, DecryptionError, SecureMemoryClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

RAW = bytes(range(32))
BATCH = 16 * 16384
DATA = bytes(range(251)) * 6000
"""Six batches, nearly."""


@pytest.fixture
def key() -> CryptoKey:
    """The key of all files here."""
    return CryptoKey(RAW)


@pytest.fixture(params=["unnamed", "named"])
def naming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """With O_TMPFILE, and as on file systems without it."""
    name: str = request.param
    if name == "named":
        monkeypatch.setattr(ends.NewFile, "_open_unnamed", lambda _self: None)
    else:
        try:
            os.close(os.open(tmp_path, os.O_RDWR | os.O_TMPFILE))
        except OSError:
            pytest.skip("needs a file system with O_TMPFILE")
    return name


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plaintext in a file."""
    path = tmp_path / "plain"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def sealed(tmp_path: Path, plain: Path, key: CryptoKey) -> Path:
    """The same encrypted."""
    path = tmp_path / "sealed"
    encrypt_file(plain, path, key)
    return path


def names(folder: Path) -> set[str]:
    """What a directory holds."""
    return set(os.listdir(folder))


def test_round_trip(tmp_path: Path, plain: Path, key: CryptoKey, naming: str) -> None:  # noqa: ARG001
    """Paths of each type; the results have mode 600 whatever the umask is, and nothing else appears."""
    before = os.umask(0o777)
    try:
        encrypt_file(str(plain), os.fsencode(tmp_path / "sealed"), key, associated_data=bytearray(b"a"))
        decrypt_file(tmp_path / "sealed", str(tmp_path / "back"), key, associated_data=b"a")
    finally:
        os.umask(before)
    assert (tmp_path / "back").read_bytes() == DATA
    assert names(tmp_path) == {"plain", "sealed", "back"}
    assert {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("sealed", "back")} == {0o600}


def test_an_existing_destination(tmp_path: Path, plain: Path, sealed: Path, key: CryptoKey, naming: str) -> None:  # noqa: ARG001
    """It is refused and unchanged, and replaced with overwrite=True once all is authentic."""
    back = tmp_path / "back"
    back.write_bytes(b"old")
    calls: list[Callable[[], Any]] = [
        lambda: encrypt_file(plain, back, key),
        lambda: decrypt_file(sealed, back, key),
        lambda: EncryptedWriter(back, key),
    ]
    for call in calls:
        with pytest.raises(FileExistsError, match="overwrite=True"):
            call()
    whole = sealed.read_bytes()
    sealed.write_bytes(whole[:-1])
    with pytest.raises(DecryptionError):
        decrypt_file(sealed, back, key, overwrite=True)
    assert back.read_bytes() == b"old"
    sealed.write_bytes(whole)
    decrypt_file(sealed, back, key, overwrite=True)
    assert back.read_bytes() == DATA
    assert names(tmp_path) == {"plain", "sealed", "back"}


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_what_is_never_replaced(tmp_path: Path, plain: Path, key: CryptoKey, kind: str) -> None:
    """A link, a directory or a FIFO stays, also with overwrite=True."""
    target = tmp_path / "target"
    {"link": lambda: target.symlink_to(plain), "folder": target.mkdir, "fifo": lambda: os.mkfifo(target)}[kind]()
    with pytest.raises((FileExistsError, ValueError), match=r"no regular file|the same file"):
        encrypt_file(plain, target, key, overwrite=True)
    assert plain.read_bytes() == DATA
    assert names(tmp_path) == {"plain", "target"}


@pytest.fixture
def no_flush(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - that is made before.
    """No folder can be flushed: the disk answers with an error."""

    def fail(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(ends, "sync_directory", fail)


def written(path: Path, key: CryptoKey, *, overwrite: bool = False) -> None:
    """Write an encrypted file piece by piece."""
    with EncryptedWriter(path, key, overwrite=overwrite) as file:
        file.write(DATA)


@pytest.mark.usefixtures("no_flush", "naming")
@pytest.mark.parametrize("use", ["encrypt", "decrypt", "write"])
def test_a_folder_that_cannot_be_flushed(tmp_path: Path, sealed: Path, key: CryptoKey, use: str) -> None:
    """A new result is taken away again, and the error is the disk's."""
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "target"
    uses: dict[str, Callable[[], Any]] = {
        "encrypt": lambda: encrypt_file(tmp_path / "plain", target, key),
        "decrypt": lambda: decrypt_file(sealed, target, key),
        "write": lambda: written(target, key),
    }
    with pytest.raises(OSError, match=r"^.Errno 5. Input/output error: '.*target'$"):
        uses[use]()
    assert names(tmp_path / "out") == set()


@pytest.mark.usefixtures("no_flush", "naming")
def test_plaintext_that_is_taken_away_is_zeroed(
    tmp_path: Path, sealed: Path, key: CryptoKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a plaintext that could not be kept hold zeros when they are given back."""
    found: list[tuple[bool, int]] = []
    real = ends.NewFile._zero

    def zero(file: ends.NewFile) -> None:
        real(file)
        content = os.pread(file._file.fileno(), 2 * len(DATA), 0)
        found.append((not any(content), len(content)))

    monkeypatch.setattr(ends.NewFile, "_zero", zero)
    with pytest.raises(OSError, match="Input/output error"):
        decrypt_file(sealed, tmp_path / "back", key)
    assert found == [(True, len(DATA))]
    assert not (tmp_path / "back").exists()


@pytest.mark.usefixtures("no_flush", "naming")
@pytest.mark.parametrize("use", ["encrypt", "decrypt", "write"])
def test_a_replacement_that_is_not_flushed(tmp_path: Path, sealed: Path, key: CryptoKey, use: str) -> None:
    """The old file is gone by then: the new one stays, whole, and the error says that it does."""
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "target"
    target.write_bytes(b"old")
    uses: dict[str, Callable[[], Any]] = {
        "encrypt": lambda: encrypt_file(tmp_path / "plain", target, key, overwrite=True),
        "decrypt": lambda: decrypt_file(sealed, target, key, overwrite=True),
        "write": lambda: written(target, key, overwrite=True),
    }
    with pytest.raises(OSError, match="is complete and in its place, but its folder was not flushed: Input/output"):
        uses[use]()
    assert names(tmp_path / "out") == {"target"}
    with open(target, "rb") if use == "decrypt" else EncryptedReader(target, key) as file:
        assert file.read() == DATA


@pytest.mark.usefixtures("no_flush")
def test_a_name_that_cannot_be_taken_back(
    tmp_path: Path, plain: Path, key: CryptoKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses that, too, the result is there, whole, and the error says so."""
    target = tmp_path / "target"

    def fail(_path: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(ends.os, "unlink", fail)
        with pytest.raises(OSError, match="is complete and in its place"):
            encrypt_file(plain, target, key)
    with EncryptedReader(target, key) as file:
        assert file.read() == DATA


def test_a_name_taken_meanwhile(tmp_path: Path, plain: Path, key: CryptoKey, naming: str) -> None:  # noqa: ARG001
    """Somebody else's file of that name stays, and nothing of ours does."""
    target = tmp_path / "target"

    def progress(_done: int, _total: int | None) -> None:
        target.write_bytes(b"theirs")

    with pytest.raises(FileExistsError) as caught:
        encrypt_file(plain, target, key, progress=progress)
    assert str(caught.value).endswith(f": {str(target)!r}")
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == {"plain", "target"}


def test_what_is_not_replaced_came_meanwhile(tmp_path: Path, plain: Path, key: CryptoKey, naming: str) -> None:  # noqa: ARG001
    """With `overwrite`, too: a link that took the name meanwhile stays, and nothing of ours does."""
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def progress(_done: int, _total: int | None) -> None:
        target.unlink()
        target.symlink_to("elsewhere")

    with pytest.raises(FileExistsError, match="is no regular file"):
        encrypt_file(plain, target, key, overwrite=True, progress=progress)
    assert os.readlink(target) == "elsewhere"
    assert names(tmp_path) == {"plain", "target"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_content_is_flushed_before_it_has_its_name(
    tmp_path: Path,
    plain: Path,
    key: CryptoKey,
    naming: str,  # noqa: ARG001
    overwrite: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it, and the folder afterwards: after a crash the name stands for the whole file or for what was before."""
    target, flushed = tmp_path / "target", []
    flush = os.fsync

    def watch(fd: int) -> None:
        status = os.fstat(fd)
        has_name = target.exists() and (stat.S_ISDIR(status.st_mode) or target.samefile(f"/proc/self/fd/{fd}"))
        flushed.append((stat.S_ISDIR(status.st_mode), has_name, status.st_size))
        flush(fd)

    monkeypatch.setattr(os, "fsync", watch)
    encrypt_file(plain, target, key, overwrite=overwrite)
    assert flushed[0] == (False, False, target.stat().st_size)
    assert [each[:2] for each in flushed[1:]] == [(True, True)]


def test_no_rename_without_replacing(
    tmp_path: Path, plain: Path, key: CryptoKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system has no such rename, the name is taken with an empty file first."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EINVAL, "no such rename")

    monkeypatch.setattr(ends.NewFile, "_open_unnamed", lambda _self: None)
    monkeypatch.setattr(ends, "rename_noreplace", refuse)
    encrypt_file(plain, tmp_path / "sealed", key)
    decrypt_file(tmp_path / "sealed", tmp_path / "back", key)
    assert (tmp_path / "back").read_bytes() == DATA
    assert names(tmp_path) == {"plain", "sealed", "back"}


def test_the_same_file(tmp_path: Path, plain: Path, key: CryptoKey) -> None:
    """Under whatever name, a file is not its own destination."""
    (tmp_path / "other").hardlink_to(plain)
    for dst in (plain, tmp_path / "other"):
        with pytest.raises(ValueError, match="must not be the same file"):
            encrypt_file(plain, dst, key, overwrite=True)
    with open(plain, "rb") as file, pytest.raises(ValueError, match="must not be the same file"):
        encrypt_file(file, plain, key, overwrite=True)
    assert plain.read_bytes() == DATA


def test_the_same_open_file(plain: Path, key: CryptoKey) -> None:
    """A file that is open for writing is not the destination of what is read from it; not a byte of it changes."""
    with open(plain, "r+b") as file:
        for src in (plain, file):
            with pytest.raises(ValueError, match="must not be the same file"):
                encrypt_file(src, file, key)
    assert plain.read_bytes() == DATA
    memory = io.BytesIO(DATA)
    with pytest.raises(ValueError, match="must not be the same file"):
        encrypt_file(memory, memory, key)
    assert memory.getvalue() == DATA


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in the last chunk": lambda data: data[:-1],
    "cut at a chunk": lambda data: data[: 56 + 40 * 16400],
    "extended": lambda data: data + b"\0",
    "late flip": lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    "early flip": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "commitment": lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:],
    "empty": lambda _data: b"",
}

WRITTEN = {
    "cut in the last chunk": [5 * BATCH],
    "cut at a chunk": [40 * 16384],
    "extended": [5 * BATCH],
    "late flip": [5 * BATCH],
    "early flip": [0],
    "commitment": [],
    "empty": [],
}
"""How much plaintext each file gets before that is found; nothing: it is not even made."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_failed_decryption_leaves_nothing(
    tmp_path: Path,
    sealed: Path,
    key: CryptoKey,
    damage: str,
    naming: str,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No file, not even a temporary one, and what was written was zeroed before it was given back."""
    sealed.write_bytes(DAMAGES[damage](sealed.read_bytes()))
    seen = []
    original = ends.NewFile._zero

    def zero(self: ends.NewFile) -> None:
        original(self)
        seen.append(os.pread(self._file.fileno(), 1 << 30, 0))

    monkeypatch.setattr(ends.NewFile, "_zero", zero)
    before = names(tmp_path)
    with pytest.raises(DecryptionError):
        decrypt_file(sealed, tmp_path / "back", key)
    assert names(tmp_path) == before
    assert seen == [bytes(size) for size in WRITTEN[damage]]


def test_a_failed_progress(tmp_path: Path, sealed: Path, plain: Path, key: CryptoKey, naming: str) -> None:  # noqa: ARG001
    """What the callback raises ends the work, and leaves nothing."""

    def stop(done: int, total: int | None) -> None:
        assert total in (len(DATA), sealed.stat().st_size)
        if done > 2 * BATCH:
            raise KeyboardInterrupt

    before = names(tmp_path)
    for call in (encrypt_file, decrypt_file):
        with pytest.raises(KeyboardInterrupt):
            call(plain if call is encrypt_file else sealed, tmp_path / "out", key, progress=stop)
    assert names(tmp_path) == before


def test_a_forked_child_leaves_the_files_of_its_parent(
    tmp_path: Path,
    sealed: Path,
    key: CryptoKey,
    naming: str,  # noqa: ARG001
) -> None:
    """Where it gives up what it inherited, the parent's results come out whole all the same."""
    parent = os.getpid()

    def fork(done: int, _total: int | None) -> None:
        if BATCH < done <= 3 * BATCH:
            child = os.fork()
            if child == 0:
                raise SystemExit
            os.waitpid(child, 0)

    writer = EncryptedWriter(tmp_path / "written", key)
    writer.write(DATA)
    try:
        decrypt_file(sealed, tmp_path / "back", key, progress=fork)
        if os.getpid() == parent:
            writer.close()
    finally:
        if os.getpid() != parent:
            writer.discard()
            os._exit(0)
    assert (tmp_path / "back").read_bytes() == DATA
    decrypt_file(tmp_path / "written", tmp_path / "read", key)
    assert (tmp_path / "read").read_bytes() == DATA
    assert names(tmp_path) == {"plain", "sealed", "back", "written", "read"}


def test_a_mode_that_cannot_be_set(
    tmp_path: Path,
    plain: Path,
    key: CryptoKey,
    naming: str,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the destination, and no file and no descriptor stay."""

    def refuse(_fd: int, _mode: int) -> None:
        raise PermissionError(errno.EPERM, "no modes here")

    monkeypatch.setattr(ends.os, "fchmod", refuse)
    gc.collect()  # What tests before left in cycles would be closed in the middle of this one.
    descriptors = names(Path("/proc/self/fd"))
    with pytest.raises(PermissionError) as caught:
        encrypt_file(plain, tmp_path / "sealed", key)
    assert caught.value.filename == str(tmp_path / "sealed")
    assert names(tmp_path) == {"plain"}
    assert names(Path("/proc/self/fd")) == descriptors


def test_progress(tmp_path: Path, plain: Path, key: CryptoKey) -> None:
    """It goes up to the whole, at least every 256 KiB."""
    steps: list[tuple[int, int | None]] = []
    encrypt_file(plain, tmp_path / "sealed", key, progress=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == [min(BATCH * turn, len(DATA)) for turn in range(1, 7)]
    assert {total for _, total in steps} == {len(DATA)}
    steps.clear()
    decrypt_file(tmp_path / "sealed", io.BytesIO(), key, progress=lambda *step: steps.append(step))
    assert steps[-1] == ((tmp_path / "sealed").stat().st_size,) * 2


def test_a_destroyed_key_touches_nothing(tmp_path: Path, plain: Path, sealed: Path, key: CryptoKey) -> None:
    """It is refused before a destination is opened, and while the work goes on the destination stays away."""
    before = names(tmp_path)
    with pytest.raises(SecureMemoryClosed):
        decrypt_file(sealed, tmp_path / "out", key, progress=lambda *_: key.destroy())
    assert names(tmp_path) == before
    expired = CryptoKey.generate(ttl_sec=0.01)
    while not expired.destroyed:
        time.sleep(0.01)
    (tmp_path / "old").write_bytes(b"old")
    before = {*before, "old"}
    calls: list[Callable[[CryptoKey, Path], object]] = [
        lambda key, out: encrypt_file(plain, out, key, overwrite=True),
        lambda key, out: decrypt_file(sealed, out, key, overwrite=True),
        lambda key, out: EncryptedWriter(out, key, overwrite=True),
        lambda key, out: key.save(out, wrapping_key=CryptoKey(bytes(32)), overwrite=True),
        lambda key, out: CryptoKey(bytes(32)).save(out, wrapping_key=key, overwrite=True),
    ]
    for call in calls:
        for out in ("out", "old"):
            with pytest.raises(SecureMemoryClosed, match=r"^key is closed$"):
                call(key, tmp_path / out)
            with pytest.raises(CellExpiredError, match=r"^key expired$"):
                call(expired, tmp_path / out)
    assert names(tmp_path) == before
    assert (tmp_path / "old").read_bytes() == b"old"


# ---- pipes ----


def test_pipes(key: CryptoKey) -> None:
    """Through two pipes, without a file; the descriptors stay open."""
    first, second = os.pipe(), os.pipe()

    def feed() -> None:
        with open(first[1], "wb", buffering=0) as out:
            encrypt_file(io.BytesIO(DATA), out, key)

    def work() -> None:
        with open(first[0], "rb", buffering=0) as src, open(second[1], "wb", buffering=0) as out:
            decrypt_file(src, out, key)
            assert not out.closed

    threads = [threading.Thread(target=feed), threading.Thread(target=work)]
    for thread in threads:
        thread.start()
    with open(second[0], "rb") as result:
        assert result.read() == DATA
    for thread in threads:
        thread.join()


def test_only_authentic_bytes_reach_a_pipe(sealed: Path, key: CryptoKey) -> None:
    """What comes out before the error is a beginning of the plaintext that ends before the forged chunk."""
    data = bytearray(sealed.read_bytes())
    data[56 + 40 * 16400] ^= 1
    out = io.BytesIO()
    with pytest.raises(DecryptionError, match="chunk 40 is not authentic"):
        decrypt_file(io.BytesIO(data), out, key)
    assert out.getvalue() == DATA[: 2 * BATCH]


class Slow(io.RawIOBase):
    """A raw file that gives and takes little at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.inner = io.BytesIO(data)

    def readinto(self, buffer: Any) -> int:
        """At most 1000 bytes."""
        return self.inner.readinto(memoryview(buffer)[:1000])

    def write(self, data: Any) -> int:
        """The same."""
        return self.inner.write(memoryview(data)[:1000])


def test_short_reads_and_writes(key: CryptoKey) -> None:
    """They are gone on with."""
    out, back = Slow(), Slow()
    encrypt_file(Slow(DATA), out, key)
    decrypt_file(Slow(out.inner.getvalue()), back, key)
    assert back.inner.getvalue() == DATA


def test_wrong_ends(tmp_path: Path, plain: Path, key: CryptoKey) -> None:
    """What is no path and no binary file is a TypeError; an empty path a ValueError; a missing one says its name."""
    wrong: Any = 5
    for call in (lambda: encrypt_file(wrong, tmp_path / "a", key), lambda: encrypt_file(plain, wrong, key)):
        with pytest.raises(TypeError, match="must be a path or an open binary file"):
            call()
    with pytest.raises(TypeError, match="key must be a CryptoKey"):
        encrypt_file(plain, tmp_path / "a", ANY)
    with pytest.raises(ValueError, match="empty path"):
        encrypt_file("", tmp_path / "a", key)
    for src, dst in ((tmp_path / "none", tmp_path / "a"), (plain, tmp_path / "none" / "a")):
        with pytest.raises(FileNotFoundError, match="none"):
            encrypt_file(src, dst, key)
    assert names(tmp_path) == {"plain"}


ANY: Any = RAW


# ---- the writer ----


def test_the_writer_publishes_at_the_end(tmp_path: Path, key: CryptoKey, naming: str) -> None:  # noqa: ARG001
    """Only a block that ends well gives the file its name; an exception, discard and deletion leave nothing."""
    path = tmp_path / "sealed"
    with EncryptedWriter(path, key) as file:
        file.write(DATA)
        assert not path.exists()
    assert EncryptedReader(path, key).read() == DATA
    path.unlink()
    with pytest.raises(ZeroDivisionError), EncryptedWriter(path, key) as file:
        file.write(DATA[: 1 // (file.write(DATA) - len(DATA))])
    file = EncryptedWriter(path, key)
    file.write(DATA)
    file.discard()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"")
    file.close()
    dropped = EncryptedWriter(path, key)
    dropped.write(DATA)
    del dropped
    assert names(tmp_path) == set()


def test_the_writer_takes_secrets(tmp_path: Path, key: CryptoKey) -> None:
    """A cell is written without a copy; one that is wiped ends the file."""
    with EncryptedWriter(tmp_path / "sealed", key) as file:
        assert file.write(CypherCell(b"secret")) == 6
    assert EncryptedReader(tmp_path / "sealed", key).read() == b"secret"
    cell = CypherCell(b"secret")
    cell.wipe()
    file = EncryptedWriter(tmp_path / "other", key)
    with pytest.raises(CellWipedError):
        file.write(cell)
    assert file.closed
    assert names(tmp_path) == {"sealed"}
    with EncryptedWriter(io.BytesIO(), key) as file, pytest.raises(TypeError, match="bytes-like object, not str"):
        file.write(CHARACTERS)


CHARACTERS: Any = "text"


# ---- faults and kills ----

FAULTY = """
import ctypes, os, sys
from zeroizepy import *
arm = ctypes.CDLL(None).zpy_fault_arm
folder, call = sys.argv[1:]
key = CryptoKey(bytes(range(32)))
before = sorted(os.listdir(folder))
run = {"encrypt": encrypt_file, "decrypt": decrypt_file}[call]
os.chdir(folder)
arm(1)
try:
    run("plain" if call == "encrypt" else "sealed", "out", key)
except OSError as error:
    arm(0)
    print(error.errno, error.filename)
print(sorted(os.listdir(".")) == before)
"""


@pytest.mark.parametrize("call", ["encrypt", "decrypt"])
@pytest.mark.parametrize("fault", ["write:3:28", "write:1:5", "fsync:1:5"])
def test_faults(child: Child, shim: str, tmp_path: Path, sealed: Path, call: str, fault: str) -> None:
    """ENOSPC and EIO while writing, EIO while flushing: an OSError that names the file, and nothing is left."""
    assert sealed.exists()
    env = {"LD_PRELOAD": shim, "ZPY_FAULT": fault}
    printed = child.check(FAULTY, str(tmp_path), call, env=env).splitlines()
    assert printed == [f"{fault.split(':')[2]} {tmp_path / 'out'}", "True"]


KILLED = """
import sys, time
from zeroizepy import *
from zeroizepy.chunked import ends
call, way, src, dst = sys.argv[1:]
if way == "named":
    ends.NewFile._open_unnamed = lambda self: None
def progress(done, total):
    if done > 600_000:
        print("half", flush=True)
        time.sleep(60)
{"encrypt": encrypt_file, "decrypt": decrypt_file}[call](src, dst, CryptoKey(bytes(range(32))), progress=progress)
"""


@pytest.mark.parametrize("call", ["encrypt", "decrypt"])
def test_a_kill_leaves_no_result(
    child: Child, tmp_path: Path, plain: Path, sealed: Path, call: str, naming: str
) -> None:
    """kill -9 in the middle: where there is O_TMPFILE, no part has a name; elsewhere only one that says what it is."""
    before = names(tmp_path)
    arguments = (call, naming, str(plain if call == "encrypt" else sealed), str(tmp_path / "out"))
    process = subprocess.Popen(child.command(KILLED, *arguments), env=child.environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = names(tmp_path) - before
    assert len(left) == (naming == "named")
    assert all(name.startswith(".out.") and name.endswith(".tmp") for name in left)
