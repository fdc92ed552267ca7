"""docs/command-line.md holds: each command gives each exit status that stands there, and has those options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from zeroizepy.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).resolve().parents[2] / "docs/command-line.md"
OPTIONS = ("--json", "--yes", "--dry-run", "--quiet")
ROW = re.compile(r"^\| `([a-z -]+)` \| ([0-9, ]+) \| (.*)\|$", re.MULTILINE)
TABLE = {
    name: ([int(each) for each in statuses.split(",")], options)
    for name, statuses, options in ROW.findall(PAGE.read_text())
}

INTERRUPT = "def interrupt(*_, **__): raise KeyboardInterrupt\n"
# What a command says of old bytes depends on the file system, so the library's answer is made up where that matters.
ANSWER = """
from zeroizepy.cli import shredding, trees, device_overwrite
from zeroizepy.file import DeviceReport, ShredReport, TreeReport
def answer(*_, dry_run=False, **__): return {}
"""
FILE = ANSWER.format('ShredReport("file", verdict={!r}, unlinked=True)') + "shredding.secure_delete = answer\n"
TREE = ANSWER.format('TreeReport("tree", verdicts={{{!r}: 1}}, unlinked=1)') + "trees.shred_tree = answer\n"
DEVICE = ANSWER.format('DeviceReport("device", verdict={!r})') + "device_overwrite.overwrite_device = answer\n"

KEY = "import os\nos.write(os.open('raw', os.O_CREAT | os.O_WRONLY, 0o600), bytes(32))\n"
ERASURE = """
from zeroizepy.file import ShredReport
from zeroizepy import erasure
erasure.secure_delete = lambda *_, **__: ShredReport("raw", verdict={!r}, unlinked=True)
"""

SCENARIOS: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {
    ("shred", 0): (FILE.format("overwritten"), ("shred", "file")),
    ("shred", 1): ("", ("shred", "file", "missing")),
    ("shred", 2): ("", ("shred", "--scheme", "gost", "-n", "1", "file")),
    ("shred", 3): (FILE.format("not_in_place"), ("shred", "file")),
    ("shred", 130): (
        INTERRUPT + "from zeroizepy.shred import run\nrun._Alone._remove = interrupt", ("shred", "-n1", "file")
    ),
    ("shred -r", 0): (TREE.format("overwritten"), ("shred", "-r", "--yes", "tree")),
    ("shred -r", 1): ("", ("shred", "-r", "--yes", "missing")),
    ("shred -r", 2): ("", ("shred", "-r", "tree")),
    ("shred -r", 3): (TREE.format("not_in_place"), ("shred", "-r", "--yes", "tree")),
    ("shred -r", 130): (
        INTERRUPT + "from zeroizepy.shred import batch\nbatch.Batch._remove = interrupt",
        ("shred", "-r", "--yes", "-n1", "tree"),
    ),
    ("wipe-free", 0): ("", ("wipe-free", "--limit", "4096", ".")),
    ("wipe-free", 1): ("", ("wipe-free", "missing")),
    ("wipe-free", 2): ("", ("wipe-free", "--rate", "x", ".")),
    ("wipe-free", 130): (
        INTERRUPT + "from zeroizepy.shred import freespace\nfreespace._Fill._fill_blocks = interrupt",
        ("wipe-free", "."),
    ),
    ("shred-device", 0): (DEVICE.format("overwritten_verified"), ("shred-device", "--confirm", "x 1", "device")),
    ("shred-device", 1): ("", ("shred-device", "--confirm", "x 1", "file")),
    ("shred-device", 2): (DEVICE.format("overwritten"), ("shred-device", "device")),
    ("shred-device", 3): (DEVICE.format("not_in_place"), ("shred-device", "--confirm", "x 1", "device")),
    ("shred-device", 130): (
        INTERRUPT + "from zeroizepy.cli import device_overwrite\ndevice_overwrite.overwrite_device = interrupt",
        ("shred-device", "--confirm", "x 1", "device"),
    ),
    ("recover", 0): ("", ("recover",)),
    ("recover", 1): ("import os\nos.mkdir('state')\nos.chmod('state', 0o755)", ("recover",)),
    ("recover", 2): ("", ("recover", "more")),
    ("recover", 130): (
        INTERRUPT + "from zeroizepy.cli import recovering\nrecovering.recover = interrupt", ("recover",)
    ),
    ("certify", 0): (
        "from zeroizepy.cli import certifying\ncertifying._show_checked = lambda *_: 0",
        ("certify", "--check", "file", "--public-key", "00" * 32),
    ),
    ("certify", 1): ("", ("certify", "--check", "file", "--public-key", "00" * 32)),
    ("certify", 2): ("", ("certify",)),
    ("certify", 130): (
        INTERRUPT + "from zeroizepy.cli import certifying\ncertifying._show_checked = interrupt",
        ("certify", "--check", "file", "--public-key", "00" * 32),
    ),
    ("audit", 0): ("", ("audit", "append", "log", "--note", "x")),
    ("audit", 1): ("", ("audit", "verify", "file")),
    ("audit", 2): ("", ("audit",)),
    ("audit", 130): (
        INTERRUPT + "from zeroizepy.cli import auditing\nauditing.verify = interrupt", ("audit", "verify", "file")
    ),
    ("keygen", 0): ("", ("keygen", "key")),
    ("keygen", 1): ("", ("keygen", "file")),
    ("keygen", 2): ("", ("keygen", "key", "--bits", "100")),
    ("keygen", 130): (
        INTERRUPT + "from zeroizepy.cli import keygen\nkeygen._new_aes_key = interrupt", ("keygen", "key")
    ),
    ("encrypt", 0): (KEY, ("encrypt", "file", "--key", "raw")),
    ("encrypt", 1): ("", ("encrypt", "file", "--key", "missing")),
    ("encrypt", 2): ("", ("encrypt", "file")),
    ("encrypt", 130): (
        KEY + INTERRUPT + "from zeroizepy.cli import sealing\nsealing.encrypt_file = interrupt",
        ("encrypt", "file", "--key", "raw"),
    ),
    ("decrypt", 0): (
        KEY + "from zeroizepy import CryptoKey, encrypt_file\n"
        "encrypt_file('file', 'sealed', CryptoKey(bytes(32)))",
        ("decrypt", "sealed", "--key", "raw", "-o", "out"),
    ),
    ("decrypt", 1): (KEY, ("decrypt", "file", "--key", "raw", "-o", "out")),
    ("decrypt", 2): (KEY, ("decrypt", "file", "--key", "raw")),
    ("decrypt", 130): (
        KEY + INTERRUPT + "from zeroizepy.cli import sealing\nsealing.decrypt_file = interrupt",
        ("decrypt", "file", "--key", "raw", "-o", "out"),
    ),
    ("key erase", 0): (KEY + ERASURE.format("overwritten"), ("key", "erase", "--yes", "raw")),
    ("key erase", 1): ("", ("key", "erase", "--yes", "missing")),
    ("key erase", 2): (KEY, ("key", "erase", "raw")),
    ("key erase", 3): (KEY + ERASURE.format("not_in_place"), ("key", "erase", "--yes", "raw")),
    ("key erase", 130): (
        KEY + INTERRUPT + "from zeroizepy.cli import key_files\nkey_files.erase_key_file = interrupt",
        ("key", "erase", "--yes", "raw"),
    ),
}  # fmt: skip


def test_the_table_has_what_is_tested() -> None:
    """Each status in the table has its scenario below, and the other way round."""
    assert {(name, status) for name, (statuses, _) in TABLE.items() for status in statuses} == set(SCENARIOS)


@pytest.mark.parametrize(("name", "status"), SCENARIOS, ids=str)
def test_status(run_script: Callable[..., Any], tmp_path: Path, name: str, status: int) -> None:
    """The command ends with it; and says why on stderr unless all went well or the verdict on stdout says it."""
    preparation, arguments = SCENARIOS[name, status]
    (tmp_path / "file").write_text("x" * 100)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x" * 100)
    done = run_script(preparation, *arguments, ZEROIZEPY_STATE_DIR=str(tmp_path / "state"))
    assert done.returncode == status, done.stderr
    assert ("zeroizepy: error: " in done.stderr) is (status in (1, 2, 130))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", TABLE)
def test_options(name: str) -> None:
    """Those that commands share have one name, and stand in the table for the commands that have them."""
    first, _, second = name.partition(" ")
    command = app._group.get_command(click.Context(app._group), first)
    assert command is not None
    if isinstance(command, click.Group) and second:
        command = command.commands[second]
    found = {option for parameter in command.params for option in parameter.opts} & set(OPTIONS)
    assert re.findall(r"`(--[a-z-]+)`", TABLE[name][1]) == [option for option in OPTIONS if option in found]
