"""One entry of an audit log, and its line: JSON with the entry's own hash and that of the entry before it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

from zeroizepy.json_form import load_json

__all__ = ["MAX_LINE_BYTES", "TORN_END", "Entry", "find_last", "make_entry", "parse_line"]

MAX_LINE_BYTES = 4 << 20
TORN_END = b"\x18\n"
"""Ends what a crash left of a line: CAN, which JSON text never holds, so no entry ends so."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        sequence: Counted from 0, the log's beginning.
        time: UTC, by the clock of the machine that wrote it; clocks can be set back.
        event: What happened.
        body: More about it.
        previous: Hash of the entry before it; zeros for the first.
        hash: SHA-256, in hex, of this entry's line without this member.
    """

    sequence: int
    time: str
    event: str
    body: dict[str, Any]
    previous: str
    hash: str = ""

    def line(self) -> bytes:
        """The entry as it stands in the file."""
        return _text({field.name: getattr(self, field.name) for field in fields(self)}) + b"\n"


def _text(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def make_entry(last: Entry | None, event: str, body: dict[str, Any]) -> Entry:
    """The entry that follows another one.

    Raises:
        ValueError: Its line would be longer than 4 MiB, or the body has no JSON form.
    """
    members: dict[str, Any] = {
        "sequence": 0 if last is None else last.sequence + 1,
        "time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "event": event,
        "body": body,
        "previous": "0" * 64 if last is None else last.hash,
    }
    try:
        digest = sha256(_text(members)).hexdigest()
    except TypeError as error:
        raise ValueError(f"body has no JSON form: {error}") from None
    entry = Entry(**members, hash=digest)
    if len(entry.line()) > MAX_LINE_BYTES:
        raise ValueError(f"body takes {len(entry.line())} bytes as JSON; an entry has at most {MAX_LINE_BYTES}")
    return entry


_TYPES = {"sequence": int, "time": str, "event": str, "body": dict, "previous": str, "hash": str}


def parse_line(line: bytes) -> Entry | None:
    """The entry that a line, without its end, is: written as `Entry.line` writes it, with the right hash. Else None."""
    try:
        members = load_json(line.decode())
        if not isinstance(members, dict) or {name: type(value) for name, value in members.items()} != _TYPES:
            return None
        entry = Entry(**members)
        members.pop("hash")
        if entry.line()[:-1] != line or sha256(_text(members)).hexdigest() != entry.hash:
            return None
    except ValueError:  # Not UTF-8, not JSON, or with surrogates.
        return None
    return entry


def find_last(data: bytes, *, is_whole: bool) -> tuple[Entry, int] | None:
    """The last entry in the end of a file, and where it ends.

    Args:
        data: The end of the file.
        is_whole: `data` begins where the file does; otherwise its first line may lack its beginning.
    """
    end = len(data)
    while (stop := data.rfind(b"\n", 0, end)) >= 0:
        begin = data.rfind(b"\n", 0, stop) + 1
        if begin == 0 and not is_whole:
            return None
        entry = parse_line(data[begin:stop])
        if entry is not None:
            return entry, stop + 1
        end = stop
    return None
