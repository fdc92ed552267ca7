"""Real runs of `secure_delete` where the file system is made to look like another one: each verdict can be had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zeroizepy.exceptions import FileAccessError
from zeroizepy.file import ShredReport, secure_delete
from zeroizepy.shred import steps, trees
from zeroizepy.shred.extents import ExtentMap
from zeroizepy.shred.facts import FileFacts, Media

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SIZE = 8192


def play(monkeypatch: pytest.MonkeyPatch, file_system: str) -> None:
    """Let files of 8192 bytes lie on this file system, in one piece, and reads of them come from the device."""
    pieces = ExtentMap()
    pieces.add(0, 1 << 20, SIZE)
    facts = FileFacts(SIZE, SIZE, 1, file_system, data_journal=False, extents=pieces, media=Media())
    monkeypatch.setattr(steps, "read_facts", lambda *_arguments: facts)
    monkeypatch.setattr(trees, "read_facts", lambda *_arguments, **_keywords: facts)
    monkeypatch.setattr(steps, "read_extents", lambda *_arguments, **_keywords: pieces)
    monkeypatch.setattr(steps, "set_direct", lambda _fd, *, wanted: wanted)


def shredded(path: Path, **options: Any) -> ShredReport:
    """The report of a run on a file that is made for it; of a refusal, too."""
    path.write_bytes(b"x" * SIZE)
    try:
        return secure_delete(path, passes=1, **options)
    except FileAccessError as error:
        report: ShredReport = error.report
        return report


def report_of(verdict: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ShredReport:
    """A real report with this verdict."""
    with monkeypatch.context() as patch:
        if verdict == "refused":
            (folder / "other").write_bytes(b"x" * SIZE)
            os.link(folder / "other", folder / "file")
        else:
            play(patch, "btrfs" if verdict == "not_in_place" else "ext4")
        return shredded(folder / "file", verify=verdict == "overwritten_verified")
