"""from_env, from_file, from_fd, from_credential: what they read, what they refuse, what they leave behind."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy._lib import lib
from zeroizepy.cell import CypherCell
from zeroizepy.memory import stats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.children import Child

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SECRET = b"s3cr3t value with spaces \xc3\x9f"
SIZES = [0, 1, 28, 4095, 4096, 4097, 8191, 8192, 8193, 100_000]


feeders: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def no_feeder_stays() -> Iterator[None]:
    """Its descriptor would be closed while a later test counts them."""
    yield
    while feeders:
        feeders.pop().join()


def feed(data: bytes, pieces: int = 1) -> int:
    """A pipe that holds, or is being fed, `data`; its reading end."""
    reader, writer = os.pipe()

    def write() -> None:
        # The reader may have what it wants and leave.
        with suppress(BrokenPipeError), os.fdopen(writer, "wb", buffering=0) as pipe:
            step = max(1, -(-len(data) // pieces))
            for start in range(0, len(data), step):
                pipe.write(data[start : start + step])

    feeders.append(threading.Thread(target=write, daemon=True))
    feeders[-1].start()
    return reader


# ---- environment ----


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value, as bytes; the variable stays."""
    monkeypatch.setenv("ZPY_TEST_SECRET", os.fsdecode(SECRET))
    assert CypherCell.from_env("ZPY_TEST_SECRET").reveal_bytes() == SECRET
    assert os.environ["ZPY_TEST_SECRET"] == os.fsdecode(SECRET)


@pytest.mark.parametrize("value", ["", "x", "y" * 4096, "z" * 50_000])
def test_env_sizes(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Empty and long values."""
    monkeypatch.setenv("ZPY_TEST_SECRET", value)
    assert CypherCell.from_env("ZPY_TEST_SECRET").reveal() == value


def test_env_missing() -> None:
    """The seed's message, with the name."""
    with pytest.raises(KeyError) as caught:
        CypherCell.from_env("ZPY_NO_SUCH_VARIABLE")
    assert caught.value.args == ("Env var not found: ZPY_NO_SUCH_VARIABLE",)


def test_env_not_bytes_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is not UTF-8 comes byte by byte."""
    monkeypatch.setenv("ZPY_TEST_SECRET", os.fsdecode(b"\xff\xfe"))
    assert CypherCell.from_env("ZPY_TEST_SECRET").reveal_bytes() == b"\xff\xfe"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", ValueError, "var_name must not be empty"),
        ("A=B", ValueError, "var_name must not be empty nor hold '=' or NUL$"),
        ("A\0B", ValueError, "var_name must not"),
        ("\ud800", ValueError, "surrogates not allowed"),
        (b"BYTES", TypeError, "var_name must be str, not bytes"),
        (None, TypeError, "var_name must be str, not NoneType"),
    ],
)
def test_env_bad_name(name: Any, error: type[Exception], message: str) -> None:
    """The argument is named with what was given."""
    with pytest.raises(error, match=message):
        CypherCell.from_env(name)


def test_env_scrub(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrub=True takes the variable out of os.environ and out of the C environment."""
    monkeypatch.setenv("ZPY_TEST_SECRET", "scrub me")
    cell = CypherCell.from_env("ZPY_TEST_SECRET", scrub=True)
    assert cell.reveal() == "scrub me"
    assert "ZPY_TEST_SECRET" not in os.environ
    assert os.getenv("ZPY_TEST_SECRET") is None
    with pytest.raises(KeyError):
        CypherCell.from_env("ZPY_TEST_SECRET")
    monkeypatch.setenv("ZPY_TEST_SECRET", "second")
    assert CypherCell.from_env("ZPY_TEST_SECRET").reveal() == "second"


def test_env_scrub_clears_proc(child: Child) -> None:
    """After a scrub /proc/PID/environ no longer shows the value, and before it did."""
    out = child.check(
        """
        from zeroizepy.cell import CypherCell
        def shown():
            with open("/proc/self/environ", "rb") as file:
                return b"k4lmqp" in file.read()
        before = shown()
        cell = CypherCell.from_env("APP_SECRET", scrub=True)
        print(before, shown(), len(cell))
        """,
        env={"APP_SECRET": "k4lmqp-k4lmqp"},
    )
    assert out.split() == ["True", "False", "13"]


# ---- files ----


@pytest.mark.parametrize("size", SIZES)
def test_file(tmp_path: Path, size: int) -> None:
    """All bytes of the file, at every size around a buffer's end."""
    data = os.urandom(size)
    path = tmp_path / "secret"
    path.write_bytes(data)
    assert CypherCell.from_file(path).reveal_bytes() == data
    assert CypherCell.from_file(str(path)).verify(data)
    assert CypherCell.from_file(os.fsencode(path)).verify(data)  # type: ignore[arg-type]
    assert path.read_bytes() == data


def test_file_keeps_its_line_end(tmp_path: Path) -> None:
    """Nothing is stripped: what is in the file is the secret."""
    path = tmp_path / "secret"
    path.write_bytes(b" secret\r\n")
    assert CypherCell.from_file(path).reveal_bytes() == b" secret\r\n"


def test_file_leaves_no_descriptor(tmp_path: Path) -> None:
    """Descriptors are closed after success and after failure."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        CypherCell.from_file(path)
        with pytest.raises(ValueError, match=r"max_bytes=3"):
            CypherCell.from_file(path, max_bytes=3)
    assert len(os.listdir("/proc/self/fd")) == before


def test_file_missing(tmp_path: Path) -> None:
    """OSError that names the path."""
    with pytest.raises(FileNotFoundError) as caught:
        CypherCell.from_file(tmp_path / "none")
    assert caught.value.filename == str(tmp_path / "none")


def test_file_is_a_directory(tmp_path: Path) -> None:
    """IsADirectoryError that names the path."""
    with pytest.raises(IsADirectoryError) as caught:
        CypherCell.from_file(tmp_path)
    assert caught.value.filename == str(tmp_path)


def test_file_unreadable_device() -> None:
    """A read that fails names the path: /proc/self/mem cannot be read at offset 0."""
    with pytest.raises(OSError, match=r"/proc/self/mem") as caught:
        CypherCell.from_file("/proc/self/mem")
    assert caught.value.filename == "/proc/self/mem"


def test_file_too_long(tmp_path: Path) -> None:
    """ValueError with path and limit; exactly the limit is taken. No cell is left."""
    path = tmp_path / "secret"
    path.write_bytes(bytes(100))
    before = stats().cells
    with pytest.raises(ValueError, match=r"secret: .*more than max_bytes=99 bytes"):
        CypherCell.from_file(path, max_bytes=99)
    assert stats().cells == before
    assert len(CypherCell.from_file(path, max_bytes=100)) == 100


def test_endless_file() -> None:
    """A device without an end is refused at the limit."""
    with pytest.raises(ValueError, match=r"max_bytes=10000"):
        CypherCell.from_file("/dev/zero", max_bytes=10_000)


def test_file_of_unknown_size() -> None:
    """Files in /proc say that they are empty and are not."""
    with open("/proc/self/cmdline", "rb") as file:
        assert CypherCell.from_file("/proc/self/cmdline").reveal_bytes() == file.read()


def test_file_fifo(tmp_path: Path) -> None:
    """A FIFO is read to its end."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(SECRET,))
    thread.start()
    assert CypherCell.from_file(path).reveal_bytes() == SECRET
    thread.join()


@pytest.mark.parametrize("path", [None, 5, ["a"]], ids=["None", "int", "list"])
def test_file_wrong_type(path: Any) -> None:
    """A descriptor number is not a path; from_fd takes it."""
    with pytest.raises(TypeError, match=r"path|PathLike"):
        CypherCell.from_file(path)


def test_file_embedded_nul() -> None:
    """ValueError, as the os module has it."""
    with pytest.raises(ValueError, match=r"null"):
        CypherCell.from_file("a\0b")


WHITE = b" \t\n\r\x0b\x0c"
STRIPPED = {
    "empty": b"",
    "white only": WHITE * 3,
    "newline": b"secret\n",
    "both ends": WHITE + b"sec" + WHITE + b"ret" + WHITE,
    "nothing to do": b"secret",
    "NUL and other controls stay": b"\0 \x1c\x85\xa0\x08 \0",
    "own pages": b"\n" + b"s" * 5000 + b"\r\n",
    "much white": WHITE * 2000 + b"s" + WHITE * 2000,
}


@pytest.mark.parametrize("data", STRIPPED.values(), ids=STRIPPED)
def test_strip(tmp_path: Path, data: bytes) -> None:
    """strip=True gives what bytes.strip() gives; without it nothing is dropped."""
    path = tmp_path / "secret"
    path.write_bytes(data)
    assert CypherCell.from_file(path, strip=True).reveal_bytes() == data.strip()
    assert CypherCell.from_file(path).reveal_bytes() == data
    reader = feed(data + b" next")
    try:
        assert CypherCell.from_fd(reader, len(data), strip=True).reveal_bytes() == data.strip()
        assert os.read(reader, 2) == b" n"
    finally:
        os.close(reader)


def test_strip_counts_white_space(tmp_path: Path) -> None:
    """max_bytes is about what is read, not about what is kept."""
    path = tmp_path / "secret"
    path.write_bytes(b"abc\n")
    with pytest.raises(ValueError, match=r"max_bytes=3"):
        CypherCell.from_file(path, strip=True, max_bytes=3)


def test_strip_zeroes_what_it_leaves() -> None:
    """Behind the moved bytes there are zeros; a length beyond the cell and a wiped cell are refused."""
    cell = CypherCell(b"  secret  rest")
    assert lib.zpy_source_strip(cell._handle, 10) == 6
    assert cell.reveal_bytes() == b"secret\0\0\0\0rest"
    assert lib.zpy_source_strip(cell._handle, 15) == -lib.ZPY_RANGE
    cell.wipe()
    assert lib.zpy_source_strip(cell._handle, 1) == -lib.ZPY_WIPED


# ---- credentials ----


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as systemd makes it for a service."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_credential(credentials: Path) -> None:
    """The file of that name, whole or stripped."""
    (credentials / "db.password").write_bytes(SECRET + b"\n")
    assert CypherCell.from_credential("db.password").reveal_bytes() == SECRET + b"\n"
    assert CypherCell.from_credential("db.password", strip=True).reveal_bytes() == SECRET
    with pytest.raises(ValueError, match=r"db\.password: .*max_bytes=5"):
        CypherCell.from_credential("db.password", max_bytes=5)


@pytest.mark.parametrize("value", [None, ""])
def test_credential_outside_a_service(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """KeyError that names the variable and what sets it."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if value is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
    with pytest.raises(KeyError, match=r"CREDENTIALS_DIRECTORY is not set.*LoadCredential=token:PATH"):
        CypherCell.from_credential("token")


def test_credential_missing(credentials: Path) -> None:
    """FileNotFoundError with the whole path, also when the folder itself is missing."""
    with pytest.raises(FileNotFoundError) as caught:
        CypherCell.from_credential("token")
    assert caught.value.filename == str(credentials / "token")
    credentials.rmdir()
    with pytest.raises(FileNotFoundError):
        CypherCell.from_credential("token")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../token", "/etc/passwd", "a\0b"])
def test_credential_bad_name(credentials: Path, name: str) -> None:
    """Nothing that leads out of the folder, even to a file that is there."""
    (credentials.parent / "token").write_bytes(SECRET)
    with pytest.raises(ValueError, match=r"name must be a plain file name"):
        CypherCell.from_credential(name)


def test_credential_not_a_plain_file(credentials: Path) -> None:
    """A link is not followed, a FIFO is not waited for, a folder is not read."""
    (credentials.parent / "token").write_bytes(SECRET)
    (credentials / "link").symlink_to("../token")
    os.mkfifo(credentials / "fifo")
    (credentials / "folder").mkdir()
    for name, error, message in [
        ("link", OSError, r"symbolic links"),
        ("fifo", OSError, r"not a regular file"),
        ("folder", IsADirectoryError, r"Is a directory"),
    ]:
        with pytest.raises(error, match=message) as caught:
            CypherCell.from_credential(name)
        assert caught.value.filename == str(credentials / name)


@pytest.mark.parametrize("name", [None, b"token", 5])
def test_credential_wrong_type(credentials: Path, name: Any) -> None:
    """TypeError that names the type."""
    assert credentials.exists()
    with pytest.raises(TypeError, match=rf"name must be str, not {type(name).__name__}"):
        CypherCell.from_credential(name)


# ---- descriptors ----


@pytest.mark.parametrize("size", SIZES)
def test_fd_to_the_end(size: int) -> None:
    """All bytes of a pipe, in several pieces."""
    data = os.urandom(size)
    reader = feed(data, pieces=7)
    try:
        assert CypherCell.from_fd(reader).reveal_bytes() == data
    finally:
        os.close(reader)


@pytest.mark.parametrize("size", [0, 1, 16, 5000])
def test_fd_exact_size(size: int) -> None:
    """Exactly `size` bytes are read and the next one is still there; the descriptor stays open."""
    data = os.urandom(size)
    reader = feed(data + b"next", pieces=3)
    try:
        assert CypherCell.from_fd(reader, size).reveal_bytes() == data
        assert os.read(reader, 1) == b"n"
    finally:
        os.close(reader)


def test_fd_ends_early() -> None:
    """ValueError with both numbers and no cell."""
    reader = feed(b"abc")
    before = stats().cells
    try:
        with pytest.raises(ValueError, match=rf"descriptor {reader} ended after 3 of 10 bytes"):
            CypherCell.from_fd(reader, 10)
        assert stats().cells == before
    finally:
        os.close(reader)


def test_fd_too_long() -> None:
    """ValueError with the limit."""
    reader = feed(bytes(5000))
    try:
        with pytest.raises(ValueError, match=r"max_bytes=4999"):
            CypherCell.from_fd(reader, max_bytes=4999)
    finally:
        os.close(reader)


def test_fd_socket() -> None:
    """A socket is read like a pipe."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(SECRET)
        theirs.shutdown(socket.SHUT_WR)
        assert CypherCell.from_fd(ours.fileno()).reveal_bytes() == SECRET


def test_fd_from_its_offset(tmp_path: Path) -> None:
    """A file is read from where its descriptor stands."""
    path = tmp_path / "secret"
    path.write_bytes(b"0123456789")
    with open(path, "rb", buffering=0) as file:
        file.seek(4)
        assert CypherCell.from_fd(file.fileno()).reveal() == "456789"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "fd must not be negative, not -1"),
        (("0",), TypeError, "fd must be an int, not str"),
        ((None,), TypeError, "fd must be an int, not NoneType"),
        ((True,), TypeError, "fd must be an int, not bool"),
        ((0, -1), ValueError, "size must not be negative, not -1"),
        ((0, "3"), TypeError, "size must be an int, not str"),
        ((0, 1.0), TypeError, "size must be an int, not float"),
    ],
)
def test_fd_bad_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    """Each argument is named with what was given; nothing is read."""
    with pytest.raises(error, match=message):
        CypherCell.from_fd(*arguments)


@pytest.mark.parametrize("fd", [999_999, 1 << 40, 1 << 80])
@pytest.mark.parametrize("size", [None, 8])
def test_fd_not_open(fd: int, size: int | None) -> None:
    """OSError, or OverflowError for a number that cannot be one; no cell is left."""
    before = stats().cells
    with pytest.raises((OSError, OverflowError)):
        CypherCell.from_fd(fd, size)
    assert stats().cells == before


def test_fd_write_only(tmp_path: Path) -> None:
    """OSError from the read itself."""
    with open(tmp_path / "out", "wb") as file, pytest.raises(OSError, match=r"Bad file descriptor"):
        CypherCell.from_fd(file.fileno(), 4)


def test_fd_directory(tmp_path: Path) -> None:
    """IsADirectoryError from the read itself."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            CypherCell.from_fd(fd)
    finally:
        os.close(fd)


def test_fd_non_blocking() -> None:
    """A pipe that has nothing yet and does not block is a BlockingIOError, not an empty secret."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    try:
        with pytest.raises(BlockingIOError):
            CypherCell.from_fd(reader)
    finally:
        os.close(reader)
        os.close(writer)


# ---- what all have in common ----


@pytest.mark.parametrize("source", ["env", "file", "fd", "credential", "generate"])
def test_limits_are_passed_on(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """volatile, ttl_sec, max_reads, tier and inherit mean the same for each source."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    monkeypatch.setenv("ZPY_TEST_SECRET", os.fsdecode(SECRET))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    def make(**options: Any) -> CypherCell:
        if source == "env":
            return CypherCell.from_env("ZPY_TEST_SECRET", **options)
        if source == "file":
            return CypherCell.from_file(path, **options)
        if source == "credential":
            return CypherCell.from_credential("secret", **options)
        if source == "generate":
            return CypherCell.generate(len(SECRET), **options)
        with open(path, "rb", buffering=0) as file:
            return CypherCell.from_fd(file.fileno(), **options)

    volatile = make(volatile=True)
    volatile.reveal_bytes()
    assert volatile.wiped
    twice = make(max_reads=2)
    twice.reveal_bytes()
    assert not twice.wiped
    twice.reveal_bytes()
    assert twice.wiped
    timed = make(ttl_sec=1000)
    assert timed.expires_in is not None
    assert 900 < timed.expires_in <= 1000
    assert make(tier="isolated").protection.tier == "isolated"
    assert make(inherit=True).protection.fork == "inherited"
    with pytest.raises(ValueError, match=r"tier must be"):
        make(tier="x")
    with pytest.raises(ValueError, match=r"max_reads must be"):
        make(max_reads=0)
    with pytest.raises(TypeError, match=r"ttl_sec must be"):
        make(ttl_sec="1")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'colour'"):
        make(colour="red")


def test_subclass() -> None:
    """A subclass's loaders make objects of the subclass."""

    class Token(CypherCell):
        __slots__ = ()

    assert type(Token.generate(8)) is Token
    assert repr(Token.generate(8)) == "<Token: [REDACTED]>"
