"""What people give by mistake: fault and value, the remedy on a second line, and never what may be a secret."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from zeroizepy.crypto import CryptoKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Result

    Cli = Callable[..., Result]

CANARY = "S3cr3tCanaryOfThisTest"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A raw key `raw`, the key `wrapped` that it wraps, and a text."""
    with CryptoKey.generate() as raw, CryptoKey.generate() as other, raw.borrow() as view:
        (tmp_path / "raw").write_bytes(view)
        other.save(tmp_path / "wrapped", wrapping_key=raw)
    (tmp_path / "raw").chmod(0o600)
    (tmp_path / "text").write_text("some text\n")
    return tmp_path


def told(result: Result, fault: str, remedy: str, status: int = 1) -> None:
    """Nothing on stdout, one line with the fault and one with the remedy on stderr."""
    assert (result.status, result.out) == (status, "")
    assert result.errors() == [f"zeroizepy: error: {fault}", f"zeroizepy: hint: {remedy}"]


@pytest.mark.parametrize(
    "command",
    [
        ("key", "info", "wrapped", "--key", "wrapped"),
        ("key", "wrap", "raw", "-o", "new", "--key", "wrapped"),
        ("keygen", "new", "--wrapping-key", "wrapped"),
        ("encrypt", "text", "--key", "wrapped", "--wrapping-key", "wrapped"),
    ],
)
def test_a_wrapped_key_is_no_wrapping_key(cli: Cli, place: Path, command: tuple[str, ...]) -> None:
    """It is told for what it is, not for its length."""
    remedy = "'zeroizepy key unwrap' makes a raw one of it; shred that after use"
    told(cli(*command), "wrapped: is itself encrypted, and a raw key is needed here", remedy)
    assert not (place / "new").exists()


def test_what_stands_in_place_of_a_file(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault of the system has a remedy, and the name that the user gave."""
    (place / "link").symlink_to("raw")
    (place / "circle").symlink_to("circle")
    monkeypatch.chdir(place)  # A socket's path has room for about a hundred bytes.
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    give = "it is a socket, or a device that is not there; give a regular file"
    told(cli("key", "info", "socket"), "socket: no such device or address", give)
    told(cli("key", "info", "link"), "link: is a symbolic link", "give the file that it leads to")
    told(cli("encrypt", "circle", "--key", "raw"), "circle: is a symbolic link", "give the file that it leads to")
    remedy = "a part of the path is no directory; check how it is written"
    told(cli("key", "info", "raw/x"), "raw/x: not a directory", remedy)
    told(cli("wipe-free", "raw"), "raw: not a directory", remedy)
    name = "n" * 300
    told(cli("key", "info", name), f"{name}: file name too long", "give a shorter name")
    result = cli("shred", name)
    assert result.errors()[1] == "zeroizepy: hint: give a shorter name"
    told(cli("shred", "missing"), "missing: no such file", "check how the path is written")


def test_a_key_file_that_cannot_be_read_is_named(cli: Cli, tmp_path: Path) -> None:
    """Reading this file of /proc fails although it can be opened."""
    if not os.access("/proc/self/mem", os.R_OK):
        pytest.skip("no /proc/self/mem to read")
    assert cli("key", "info", "/proc/self/mem").errors()[0] == "zeroizepy: error: /proc/self/mem: input/output error"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--key", "--wrapping-key"])
@pytest.mark.parametrize("path", ["", "-"])
def test_no_name_of_a_key_file(cli: Cli, place: Path, option: str, path: str) -> None:
    """As for other paths, with the status of bad usage."""
    more = ("--key", "wrapped") if option == "--wrapping-key" else ()
    result = cli("encrypt", "text", *more, option, path)
    assert (result.status, len(result.errors())) == (2, 2)
    assert result.errors()[0].startswith(f"zeroizepy: error: {path or repr('')}: ")
    assert sorted(os.listdir(place)) == ["raw", "text", "wrapped"]


def test_only_options_that_are_there_are_named(cli: Cli, place: Path) -> None:
    """A FIFO as key is told --key-fd where that stands for the same key, and nowhere else."""
    os.mkfifo(place / "fifo")
    fault = "fifo: is not a regular file"
    told(cli("encrypt", "text", "--key", "fifo"), fault, "for a pipe use --key-fd N")
    told(cli("keygen", "new", "--wrapping-key", "fifo"), fault, "a raw key file holds 16, 24 or 32 bytes")


@pytest.mark.parametrize(
    "command",
    [
        ("keygen", "new", "--password-fd", CANARY),
        ("keygen", "new", "--password", CANARY),
        ("key", "info", "wrapped", "--password", CANARY),
        ("key", "info", "wrapped", "--key-fd", CANARY),
        ("encrypt", "text", "--key", "wrapped", "--password-fd", CANARY),
        ("keygen", "new", f"--password={CANARY}"),
    ],
)
def test_a_secret_on_the_command_line_is_not_repeated(cli: Cli, place: Path, command: tuple[str, ...]) -> None:
    """Logs keep what commands print: bad usage is told without what was given."""
    result = cli(*command)
    assert (result.status, result.out, len(result.errors())) == (2, "", 2)
    assert CANARY not in result.err
    assert "--help" in result.errors()[1]
    assert not (place / "new").exists()


@pytest.mark.parametrize("number", [str(1 << 40), "-1", "1.0", ""])
def test_numbers_that_no_descriptor_has(cli: Cli, place: Path, number: str) -> None:
    """Bad usage, however large."""
    result = cli("encrypt", "text", "--key-fd", number)
    assert result.status == 2
    assert "a descriptor is a number" in result.errors()[0]
    assert sorted(os.listdir(place)) == ["raw", "text", "wrapped"]


def test_numbers_in_words(cli: Cli) -> None:
    """What is no number is told so in plain words."""
    result = cli("shred", "-n", "x", "y")
    assert result.errors()[0] == "zeroizepy: error: invalid value for '-n' / '--passes': 'x' is not a whole number"


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b" \n", "password: is empty"), (b"x" * 5000, "--password-fd {}: holds more than 4096 bytes")],
)
def test_passwords_that_are_none(cli: Cli, place: Path, content: bytes, fault: str) -> None:
    """Told in this command's words, with a remedy."""
    (place / "password").write_bytes(content)
    fd = os.open(place / "password", os.O_RDONLY)
    try:
        result = cli("keygen", "new", "--password-fd", fd, pass_fds=(fd,))
    finally:
        os.close(fd)
    assert (result.status, len(result.errors())) == (1, 2)
    assert result.errors()[0] == f"zeroizepy: error: {fault.format(fd)}"
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--receipt", "nowhere/receipt"), 1),
        (("--audit", "nowhere/log"), 1),
        (("--audit", "text"), 1),
        (("--audit", "."), 1),
        (("--sign", "raw"), 2),
    ],
)
def test_a_receipt_that_could_not_be_kept(cli: Cli, place: Path, options: tuple[str, ...], status: int) -> None:
    """Is found out before the key file is erased, and the error has a remedy."""
    before = {each.name: each.read_bytes() for each in place.iterdir()}
    result = cli("key", "erase", "--yes", "wrapped", *options)
    assert (result.status, result.out, len(result.errors())) == (status, "", 2)
    assert {each.name: each.read_bytes() for each in place.iterdir()} == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "9" * 5000, "[" * 100_000], ids=len)
@pytest.mark.parametrize("command", [("key", "check"), ("certify", "--check"), ("audit", "verify")])
def test_foreign_documents(cli: Cli, tmp_path: Path, command: tuple[str, ...], text: str) -> None:
    """What is no receipt, certificate or log is told so once, with a remedy of this command."""
    (tmp_path / "foreign").write_text(text)
    result = cli(*command, "foreign", "--public-key", "00" * 32)
    assert (result.status, result.out, len(result.errors())) == (1, "", 2)
    assert result.err.count("not a") < 2
    assert not any(word in result.err for word in ("sys.", "char ", "next append seals"))


def test_remedies_of_a_dry_run_are_options(cli: Cli, tmp_path: Path) -> None:
    """Not arguments of Python's."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "file").chmod(0o400)
    result = cli("shred", "--dry-run", "file")
    assert "would          be refused: has no owner-write permission\n" in result.out
    assert result.errors()[1] == "zeroizepy: hint: chmod u+w it, or give --force"
    assert "force=True" not in result.out + result.err
