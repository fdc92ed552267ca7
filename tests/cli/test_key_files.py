"""`key info`, `key wrap`, `key unwrap` and `key erase`, run as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding

from zeroizepy.audit import verify
from zeroizepy.certificate import verify_receipt
from zeroizepy.cli import key_openers
from zeroizepy.crypto import CryptoKey
from zeroizepy.erasure import KeyFileErasure
from zeroizepy.json_form import from_plain, load_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., Any]

RAW = bytes(range(32))
OUTER = bytes(range(32, 64))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with a raw key and a raw wrapping key."""
    for name, content in (("raw", RAW), ("outer", OUTER)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_a_password_is_wiped_after_its_use() -> None:
    """What a descriptor gave stands in a cell for as long as it is needed."""
    ours, theirs = os.pipe()
    os.write(theirs, b"a password\n")
    os.close(theirs)
    with key_openers.opener(None, None, ours, ask=False) as given:
        cell = given["password"]
        assert cell.verify(b"a password")
    os.close(ours)
    assert cell.wiped


def good(result: Any) -> str:
    """What a command printed that must end well."""
    assert (result.status, result.errors()) == (0, [])
    return str(result.out)


def refused(result: Any, fault: str, status: int = 1) -> None:
    """A command must fail so, with one error."""
    assert (result.status, result.out) == (status, "")
    assert fault in result.errors()[0], result.err
    assert RAW.hex() not in result.err


def with_password(cli: Cli, *arguments: object, password: bytes = b"password\n") -> Any:
    """Run a command with a password on a descriptor."""
    reader, writer = os.pipe()
    os.write(writer, password)
    os.close(writer)
    try:
        return cli(*arguments, "--password-fd", reader, pass_fds=(reader,))
    finally:
        os.close(reader)


def test_wrap_and_unwrap(cli: Cli, keys: Path) -> None:
    """A raw key becomes a key file and comes back; info names it the same all the way."""
    name = CryptoKey(RAW).key_id
    assert good(cli("key", "wrap", "raw", "-o", "wrapped", "--key", "outer")) == (
        f"wrapped: key {name}, wrapped, mode 600\n"
    )
    assert (keys / "wrapped").stat().st_mode & 0o777 == 0o600
    assert (keys / "raw").read_bytes() == RAW
    with CryptoKey(OUTER) as outer, CryptoKey.load(keys / "wrapped", wrapping_key=outer) as key:
        assert key.key_id == name
    assert good(cli("key", "unwrap", "wrapped", "-o", "back", "--key", "outer")) == f"back: key {name}, raw, mode 600\n"
    assert (keys / "back").read_bytes() == RAW
    assert (keys / "back").stat().st_mode & 0o777 == 0o600
    for arguments in (("raw",), ("back",), ("wrapped", "--key", "outer")):
        assert name in good(cli("key", "info", *arguments))


def test_a_raw_file_does_not_say_what_it_is_for(cli: Cli, keys: Path) -> None:
    """`key info` says so of a raw key, and `key unwrap` of one that is not for AES."""
    with CryptoKey(RAW, algorithm="XChaCha20-Poly1305") as key, CryptoKey(OUTER) as outer:
        key.save(keys / "wrapped", wrapping_key=outer)
    assert "wrapped: XChaCha20-Poly1305 key\n" in good(cli("key", "info", "wrapped"))
    shown = good(cli("key", "unwrap", "wrapped", "-o", "back", "--key", "outer"))
    assert "does not say that it is for XChaCha20-Poly1305" in shown
    shown = good(cli("key", "info", "back"))
    assert shown.startswith("back: raw key\n")
    assert "taken as       AES-256-GCM, by its length" in shown
    good(cli("key", "wrap", "outer", "-o", "aes", "--key", "raw"))
    assert "does not say" not in good(cli("key", "unwrap", "aes", "-o", "outer2", "--key", "raw"))


def test_passwords(cli: Cli, keys: Path) -> None:
    """The same with a password, which another one does not open."""
    good(with_password(cli, "key", "wrap", "raw", "-o", "wrapped"))
    shown = good(cli("key", "info", "wrapped"))
    for text in ("AES-256-GCM key", "a password", "3 passes over 256 MiB", "not known: the file was not opened"):
        assert text in shown
    refused(with_password(cli, "key", "unwrap", "wrapped", "-o", "back", password=b"Password"), "wrong password")
    assert not (keys / "back").exists()
    good(with_password(cli, "key", "unwrap", "wrapped", "-o", "back", password=b"password"))
    assert (keys / "back").read_bytes() == RAW


def test_password_in_a_pipe(
    program: list[str], clean_environment: Callable[..., dict[str, str]], cli: Cli, keys: Path
) -> None:
    """Where there is no terminal, --password takes lines of standard input: a new password twice."""

    def run(given: bytes, *arguments: str) -> tuple[int, bytes]:
        done = subprocess.run(
            [*program, "key", *arguments, "--password"],
            input=given,
            capture_output=True,
            cwd=keys,
            env=clean_environment(),
            start_new_session=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stderr

    assert run(b"s3cret\ns3cret\n", "wrap", "raw", "-o", "wrapped") == (0, b"")
    good(with_password(cli, "key", "unwrap", "wrapped", "-o", "back", password=b"s3cret"))
    assert (keys / "back").read_bytes() == RAW
    assert run(b"s3cret\n", "unwrap", "wrapped", "-o", "again") == (0, b"")
    status, told = run(b"", "unwrap", "wrapped", "-o", "other")
    assert (status, b"password: the input ended" in told) == (1, True), told


def test_aes_kwp(cli: Cli, keys: Path) -> None:
    """What others wrapped is unwrapped, and what is wrapped here others unwrap."""
    good(cli("key", "wrap", "raw", "-o", "wrapped", "--key", "outer", "--format", "aes-kwp"))
    assert aes_key_unwrap_with_padding(OUTER, (keys / "wrapped").read_bytes()) == RAW
    (keys / "theirs").write_bytes(aes_key_wrap_with_padding(OUTER, RAW[:16]))
    good(cli("key", "unwrap", "theirs", "-o", "back", "--key", "outer", "--format", "aes-kwp"))
    assert (keys / "back").read_bytes() == RAW[:16]
    arguments = ("key", "unwrap", "theirs", "-o", "other", "--key", "raw", "--format", "aes-kwp")
    refused(cli(*arguments), "theirs: wrong wrapping key, or the wrapped key was changed")
    result = with_password(cli, "key", "wrap", "raw", "-o", "other", "--format", "aes-kwp")
    refused(result, "aes-kwp takes a wrapping key", 2)
    assert not (keys / "other").exists()


def test_info_as_json(cli: Cli, keys: Path) -> None:
    """One object with a schema; the name is there only if the file was opened."""
    good(cli("key", "wrap", "raw", "-o", "wrapped", "--key", "outer"))
    closed = json.loads(good(cli("key", "info", "wrapped", "--json")))
    opened = json.loads(good(cli("key", "info", "wrapped", "--key", "outer", "--json")))
    assert closed == {**opened, "key_id": None}
    assert (opened["schema"], opened["key_id"]) == ("zeroizepy/key-file/1", CryptoKey(RAW).key_id)
    assert opened["opened_by"] == "wrapping_key"
    assert str(keys) not in json.dumps(opened)


def test_refusals(cli: Cli, keys: Path) -> None:
    """Nothing is written for a wrong key, a wrong file, a name that is taken, or no or two ways to open it."""
    good(cli("key", "wrap", "raw", "-o", "wrapped", "--key", "outer"))
    (keys / "text").write_text("a letter")
    (keys / "text").chmod(0o600)
    before = sorted(os.listdir(keys))
    wrap = ("key", "wrap", "raw", "-o")
    refused(cli(*wrap, "wrapped", "--key", "outer"), "wrapped: exists already")
    refused(cli(*wrap, "new"), "give one of --key KEYFILE", 2)
    refused(cli(*wrap, "new", "--key", "outer", "--password"), "give one of --key KEYFILE", 2)
    refused(cli("key", "wrap", "wrapped", "-o", "new", "--key", "outer"), "wrapped: is wrapped already")
    taken = cli(*wrap, "wrapped", "--key", "outer")
    assert taken.errors()[1] == "zeroizepy: hint: choose another name; it is not replaced"
    refused(cli("key", "unwrap", "raw", "-o", "new", "--key", "outer"), "raw: is a raw key already")
    result = with_password(cli, "key", "unwrap", "wrapped", "-o", "new")
    refused(result, "wrapped: is encrypted with a wrapping key")
    assert result.errors()[1] == "zeroizepy: hint: give --key KEYFILE or --key-fd N"
    result = cli("key", "unwrap", "wrapped", "-o", "new", "--password")  # Standard input is empty.
    refused(result, "password: the input ended before the first byte")
    assert result.errors()[1].endswith("give --password-fd N with the password in it")
    refused(cli("key", "unwrap", "wrapped", "-o", "new", "--key", "raw"), "wrapped: wrong wrapping key")
    for command in (("info",), ("unwrap", "-o", "new", "--key", "outer"), ("erase", "--yes")):
        refused(cli("key", *command, "text"), "text: is no key file: it has ")
        refused(cli("key", *command, "missing"), "missing: ")
    (keys / "raw").chmod(0o644)
    refused(cli("key", "erase", "--yes", "raw"), "raw: other users may access this key file (mode 644)")
    assert sorted(os.listdir(keys)) == before


def test_erase(cli: Cli, keys: Path) -> None:
    """The file is gone; the receipt stands in its file, signed, and in the log; status and text follow the verdict."""
    public_key = good(cli("keygen", "--signing", "signer")).split()[-1]
    good(cli("key", "wrap", "raw", "-o", "wrapped", "--key", "outer"))
    extra = ("--receipt", "receipt.json", "--sign", "signer", "--audit", "log", "--yes")
    result = cli("key", "erase", "wrapped", *extra)
    assert result.errors() == []
    assert not (keys / "wrapped").exists()
    found = verify_receipt((keys / "receipt.json").read_text(), bytes.fromhex(public_key))
    (report,) = found.reports
    assert result.status == (0 if (report.verdict or "").startswith("overwritten") else 3)
    assert f"wrapped: {report.verdict}" in result.out
    assert "always encrypted: " in result.out
    assert (found.receipt.found, found.receipt.copies[0].detail) == ("not_loaded", "wrapped")
    assert verify(keys / "log").entries == 2
    assert "zeroizepy/signed-receipt/1" in (keys / "log").read_text()
    checked = good(cli("key", "check", "receipt.json", "--public-key", public_key))
    assert checked.startswith("receipt.json: valid\n")
    assert found.receipt.copies[0].explanation in checked
    refused(cli("key", "check", "receipt.json", "--public-key", "00" * 32), "receipt.json: signed with another key")
    text = (keys / "receipt.json").read_text()
    (keys / "receipt.json").write_text(text.replace('"verdict":"unknown"', '"verdict":"met"', 1))
    refused(cli("key", "check", "receipt.json", "--public-key", public_key), "receipt.json: the signature is not valid")


def test_erase_as_json(cli: Cli, keys: Path) -> None:
    """Stdout is the report and nothing else; unsigned, the receipt's file holds the same."""
    result = cli("key", "erase", "raw", "--yes", "--json", "--receipt", "receipt.json")
    assert result.status in (0, 3)
    done = from_plain(KeyFileErasure, load_json(result.out), "report")
    assert load_json((keys / "receipt.json").read_text()) == load_json(result.out)
    assert (done.receipt.algorithm, done.shred.unlinked) == ("AES-256-GCM", True)
    assert (keys / "receipt.json").stat().st_mode & 0o777 == 0o600


def test_erase_asks(cli: Cli, terminal: Callable[..., tuple[int, bytes]], keys: Path) -> None:
    """Without --yes it asks, and nothing happens after a no or where nobody can be asked."""
    refused(cli("key", "erase", "raw"), "nobody can be asked", 2)
    status, shown = terminal("key", "erase", "raw", typed=b"n\n")
    assert (status, (keys / "raw").read_bytes()) == (1, RAW), shown
    status, shown = terminal("key", "erase", "raw", typed=b"y\n")
    assert status in (0, 3), shown
    assert not (keys / "raw").exists()


def test_erase_checks_first(cli: Cli, keys: Path) -> None:
    """A receipt that could not be written or signed leaves the key as it is."""
    for extra, fault in (
        (("--receipt", "outer"), "outer: exists already"),
        (("--sign", "missing", "--receipt", "new"), "missing: no such key file"),
        (("--audit", ""), "path must not be empty"),
    ):
        result = cli("key", "erase", "raw", "--yes", *extra)
        assert result.status in (1, 2)
        assert fault in result.err
        assert (keys / "raw").read_bytes() == RAW
