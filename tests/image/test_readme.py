"""README.md's shredding transcript, run anew: each command on the file system that it speaks of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image.disk import flush

if TYPE_CHECKING:
    from collections.abc import Callable

README = Path(__file__).resolve().parents[2] / "README.md"
TRANSCRIPT = re.compile(r"^```console\n(\$ zeroizepy shred .*?)^```", re.MULTILINE | re.DOTALL)


def normal(text: str) -> str:
    """Without what differs between machines: which loop device it was."""
    return re.sub(r"loop\d+", "loop0", text)


def test_each_verdict_is_as_the_readme_shows_it(new_disk: Callable[..., Any], tmp_path: Path) -> None:
    """Commands, output and exit status, line by line; all four verdicts occur."""
    (transcript,) = TRANSCRIPT.findall(README.read_text(encoding="utf-8"))
    for name, kind in (("disk", "ext4"), ("snapshots", "btrfs")):
        point = new_disk(kind, mib=320).mountpoint
        (tmp_path / name).symlink_to(point)
        for file in ("report.pdf", "notes.txt", "linked.txt"):
            (point / file).write_bytes(os.urandom(100_000))
        os.link(point / "linked.txt", point / "other.txt")
        flush(point)
    seen = ""
    for command in re.findall(r"^\$ zeroizepy (.*?)(?:; echo \$\?)$", transcript, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-I", "-m", "zeroizepy", *command.split()],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        seen += f"$ zeroizepy {command}; echo $?\n{done.stdout}{done.returncode}\n"
    assert normal(seen) == normal(transcript)
    for verdict in ("overwritten_verified\n", "overwritten\n", "not_in_place\n", "refused\n"):
        assert verdict in transcript
