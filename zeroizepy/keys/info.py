"""What can be known of a key file without what opens it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import ClassVar, Literal

from zeroizepy.durable import identity_of, open_private_file
from zeroizepy.json_form import JsonForm

from .file import read_key_file
from .wrap import MAGIC, MAX_WRAPPED_BYTES, parse

__all__ = ["KeyFileInfo", "key_file_info", "look_at_key_file"]

_RAW = {16: "AES-128-GCM", 24: "AES-192-GCM", 32: "AES-256-GCM"}


@dataclass(frozen=True, slots=True)
class KeyFileInfo(JsonForm):
    """A key file; nothing in this is secret, and of a file that is not opened nothing is authenticated.

    Attributes:
        path: The file.
        algorithm: What the key is for; of raw keys, by their length.
        opened_by: `password`, `wrapping_key`, or `nothing`: a raw key, which whoever reads the file has.
        opslimit: Argon2id passes, 0 without a password.
        memlimit: Argon2id memory in bytes, 0 without a password.
        modified: When the file was last written, in UTC; key files hold no date themselves.
        key_id: The key's name, where the key was opened; else None.
    """

    schema: ClassVar[str] = "zeroizepy/key-file/1"

    path: str
    algorithm: str
    opened_by: Literal["password", "wrapping_key", "nothing"]
    opslimit: int
    memlimit: int
    modified: str
    key_id: str | None = None


def key_file_info(path: str) -> KeyFileInfo:
    """Tell what a key file is: what `CryptoKey.save` or `zeroizepy keygen` wrote.

    Args:
        path: A regular file of this user, of any user for root, that nobody else may access.

    Raises:
        ValueError: Another file, or one that others own or may access; the message says which.
        DecryptionError: It begins like a key file, and is truncated, damaged, or of another version.
        OSError: It cannot be opened or read.
    """
    return look_at_key_file(path)[0]


def look_at_key_file(path: str) -> tuple[KeyFileInfo, str]:
    """The same, and which file it was: its `identity_of`."""
    with open_private_file(path, "a key file is what CryptoKey.save or 'zeroizepy keygen' wrote") as fd:
        status = os.fstat(fd)
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if status.st_size in _RAW:
        return KeyFileInfo(path, _RAW[status.st_size], "nothing", 0, 0, modified), identity_of(status)
    content, identity = (b"", "") if status.st_size > MAX_WRAPPED_BYTES else read_key_file(path)
    if not content or content[: len(MAGIC)] != MAGIC[: len(content)]:
        remedy = "a raw one has 16, 24 or 32, and others begin as CryptoKey.save writes them"
        raise ValueError(f"{path}: is no key file: it has {status.st_size} bytes; {remedy}")
    wrapped = parse(content, f"{path}: ")
    kind: Literal["password", "wrapping_key"] = "password" if wrapped.by_password else "wrapping_key"
    info = KeyFileInfo(path, wrapped.algorithm, kind, wrapped.opslimit, wrapped.memlimit, modified)
    return info, identity
