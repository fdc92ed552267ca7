"""`key`, run as a user runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., Any]


def test_the_public_key_is_shown_again(cli: Cli, tmp_path: Path) -> None:
    """`key public` prints what `keygen --signing` did, alone on a line; the file stays as it was."""
    shown = cli("keygen", "--signing", "signer").out.split()[-1]
    before = (tmp_path / "signer").read_bytes()
    result = cli("key", "public", "signer")
    assert (result.status, result.out, result.err) == (0, f"{shown}\n", "")
    assert (tmp_path / "signer").read_bytes() == before
    assert before.hex() not in result.out


def test_it_checks_what_the_key_signed(cli: Cli) -> None:
    """The key that is shown is the one that `audit verify` takes."""
    cli("keygen", "--signing", "signer")
    cli("audit", "append", "log", "--note", "begun", "--key", "signer")
    public_key = cli("key", "public", "signer").out.strip()
    result = cli("audit", "verify", "log", "--public-key", public_key)
    assert result.status == 0
    assert "through entry 2" in result.out


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        (None, 0o600, "signer: no such key file"),
        (b"x" * 31, 0o600, "signer: holds 31 bytes"),
        (b"x" * 32, 0o644, "signer: other users may access"),
    ],
    ids=["missing", "short", "open"],
)
def test_what_is_no_signing_key(cli: Cli, tmp_path: Path, content: bytes | None, mode: int, fault: str) -> None:
    """Status 1, fault and remedy, and nothing on stdout."""
    if content is not None:
        (tmp_path / "signer").write_bytes(content)
        (tmp_path / "signer").chmod(mode)
    result = cli("key", "public", "signer")
    assert (result.status, result.out) == (1, "")
    error, hint = result.errors()
    assert error.startswith(f"zeroizepy: error: {fault}")
    assert hint.startswith("zeroizepy: hint: ")


def test_a_command_is_needed(cli: Cli) -> None:
    """`key` alone names what there is."""
    result = cli("key")
    assert (result.status, result.out) == (2, "")
    assert "a command is missing: " in result.err
    assert "public" in result.err
