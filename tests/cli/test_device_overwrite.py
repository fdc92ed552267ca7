"""`zeroizepy shred-device`, as a user sees it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.loops import LoopDevices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    Cli = Callable[..., Any]
    Environment = Callable[..., dict[str, str]]

SIZE = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file of one byte, over and over."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"S" * SIZE)
    return path


@pytest.fixture
def device(image: Path) -> Iterator[str]:
    """The file as a loop device."""
    loops = LoopDevices()
    try:
        yield loops.attach(image)
    finally:
        loops.close()


def test_dry_run_shows_what_to_confirm(cli: Cli, device: str, image: Path) -> None:
    """Identity, plan, confirmation, limits; nothing is written."""
    result = cli("shred-device", device, "--dry-run")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == device
    assert f"  confirm        {image} {SIZE}" in lines
    assert f"  would          pass 1: write {SIZE} bytes of random, flush" in lines
    assert any(line.startswith("  note") and "another layer" in line for line in lines)
    assert image.read_bytes() == b"S" * SIZE


def test_confirmed(cli: Cli, device: str, image: Path) -> None:
    """With the exact text it is overwritten, and the verdict says so."""
    result = cli("shred-device", device, "--confirm", f"{image} {SIZE}", "--pattern", "hex:0a0b")
    assert (result.status, result.err) == (0, "")
    assert "  verdict        overwritten_verified" in result.out.splitlines()
    assert image.read_bytes() == b"\x0a\x0b" * (SIZE // 2)


def test_json(cli: Cli, device: str, image: Path) -> None:
    """Of a run, of a dry run, and of a refusal."""
    confirm = f"{image} {SIZE}"
    plan = json.loads(cli("shred-device", device, "--dry-run", "--json").out)
    assert (plan["confirm"], plan["verdict"], plan["dry_run"]) == (confirm, None, True)
    refusal = cli("shred-device", device, "--confirm=x 1", "--json")
    assert (refusal.status, json.loads(refusal.out)["reasons"]) == (1, ["confirm_mismatch"])
    report = json.loads(cli("shred-device", device, "--confirm", confirm, "--json", "-n2").out)
    assert (report["verdict"], len(report["passes"])) == ("overwritten_verified", 2)


def test_wrong_confirmation(cli: Cli, device: str, image: Path) -> None:
    """Status 1, two lines, nothing written."""
    result = cli("shred-device", device, "--confirm", f"{image} 1")
    assert (result.status, result.out) == (1, "")
    assert result.errors() == [
        f"zeroizepy: error: {device}: confirm is not the serial number and size of this device",
        "zeroizepy: hint: a dry run shows them",
    ]
    assert image.read_bytes() == b"S" * SIZE


@pytest.mark.parametrize("more", [(), ("--json",), ("--quiet",)])
def test_no_confirmation_and_no_terminal(cli: Cli, device: str, image: Path, more: tuple[str, ...]) -> None:
    """Status 2, and nothing to copy the answer from."""
    result = cli("shred-device", device, *more)
    assert (result.status, result.out) == (2, "")
    assert result.errors() == [
        f"zeroizepy: error: {device}: --confirm is missing",
        "zeroizepy: hint: --dry-run shows the serial number and size to give there",
    ]
    assert image.read_bytes() == b"S" * SIZE


def answer(program: list[str], device: str, environment: dict[str, str], text: str) -> tuple[int, str]:
    """Run it on a terminal and type this once it asks."""
    leader, follower = pty.openpty()
    command = [*program, "shred-device", device, "--no-verify", "--pattern=zeros"]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        try:
            while select.select([leader], [], [], 60)[0] and (part := os.read(leader, 65536)):
                shown += part
                if text and b"in bytes:" in shown:
                    os.write(leader, text.encode() + b"\n")
                    text = ""
        except OSError:
            pass  # Linux answers EIO once the child's side is closed.
        finally:
            os.close(leader)
    return process.returncode, shown.decode()


def test_typed_confirmation(program: list[str], device: str, image: Path, clean_environment: Environment) -> None:
    """The device is shown, and only the exact text overwrites it."""
    environment = clean_environment(TERM="dumb")
    status, shown = answer(program, device, environment, "yes")
    assert (status, image.read_bytes() == b"S" * SIZE) == (1, True)
    assert f"{SIZE} bytes" in shown
    status, shown = answer(program, device, environment, f"{image} {SIZE}")
    assert status == 0
    assert "overwritten" in shown
    assert image.read_bytes() == bytes(SIZE)


def test_options_reach_the_library(run_script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Each option is the argument that it stands for."""
    preparation = """
        import zeroizepy.file
        def show(path, **options):
            del options["progress"]
            print(path, options)
            raise SystemExit(0)
        zeroizepy.file.overwrite_device = show
    """
    options = ("--confirm=a 1", "-n3", "--pattern=ones", "--no-verify", "--partition", "--swap")
    expected = {
        "passes": 3,
        "pattern": "ones",
        "verify": False,
        "allow_partition": True,
        "allow_swap": True,
        "confirm": "a 1",
    }
    assert run_script(preparation, "shred-device", "d", *options).stdout == f"d {expected}\n"
    expected = dict.fromkeys(("allow_partition", "allow_swap"), False) | {"confirm": None, "dry_run": True}
    expected = {"passes": 1, "pattern": "random", "verify": True} | expected
    assert run_script(preparation, "shred-device", "d").stdout == f"d {expected}\n"


def test_what_is_no_device(cli: Cli, tmp_path: Path) -> None:
    """One line with the fault, one with the remedy."""
    (tmp_path / "file").write_bytes(b"keep")
    assert cli("shred-device", "file", "--confirm=x").errors() == [
        "zeroizepy: error: file: is no block device",
        "zeroizepy: hint: 'zeroizepy shred' overwrites files",
    ]
    assert cli("shred-device", "missing").errors() == [
        "zeroizepy: error: missing: no such file or directory",
        "zeroizepy: hint: check how the path is written; a missing folder is not made",
    ]
    assert cli("shred-device", "").status == 2
    assert (tmp_path / "file").read_bytes() == b"keep"


def test_help_has_the_limits(cli: Cli) -> None:
    """What is refused and what is not reached stand where the user acts."""
    text = " ".join(cli("shred-device", "--help").out.split())
    for word in ("no way back", "mounted", "HPA", "flash", "--confirm"):
        assert word in text
