"""What this process saw of each key: where it came from, and every copy of it that was handed out.

A key pays for it when something happens to it, not for each message. What is kept of one key is bounded: of events of
one kind, the first MOST_DETAILS different details (paths, names of other keys) are kept apart.
"""

from __future__ import annotations

import os
import re
import weakref
from _thread import RLock
from typing import TYPE_CHECKING, Any

from zeroizepy._lib import lib
from zeroizepy.exceptions import KeyErasedError

if TYPE_CHECKING:
    from .base import HeldKey

__all__ = [
    "FORKS",
    "MORE",
    "MOST_DETAILS",
    "MOST_ERASED",
    "Census",
    "Event",
    "NotedFile",
    "census_of",
    "erased_key_ids",
    "forks_since",
    "has_erased",
    "is_live",
    "is_strong",
    "note",
    "note_erased",
    "note_file",
    "note_file_key",
    "note_name",
    "others_of",
    "refuse_erased",
    "was_erased",
]

MOST_DETAILS = 256
MORE = "(more)"
"""Stands for all other details."""
MOST_ERASED = 1 << 16
"""How many names of erased keys are remembered, the last ones; they take about 10 MiB then."""
FORKS = [0]
"""How often `os.fork` made another process of this one, or this one of its parent; of a new key, what to count from."""
_forks_begun = [0]
"""Forks of which nobody has told yet: functions of others that run around a fork may erase keys, and threads may."""

_lock = RLock()
_erased: dict[bytes, bool] = {}
"""By the name of the key: whether its receipt says that no copy was left."""


def _begin_fork() -> None:
    _forks_begun[0] += 1


def _end_fork() -> None:
    FORKS[0] += 1
    _forks_begun[0] -= 1


def _begin_child() -> None:
    global _lock  # noqa: PLW0603 - one for the process.
    _lock = RLock()  # A thread that held it at the fork is not here to give it back.
    _forks_begun[0] = 0  # Nor one that was about to fork.
    FORKS[0] += 1


os.register_at_fork(before=_begin_fork, after_in_parent=_end_fork, after_in_child=_begin_child)


def forks_since(forks: int) -> int:
    """How many forks there were since FORKS was that, those included that are under way."""
    return FORKS[0] + _forks_begun[0] - forks


class _Name:
    """One for all objects of this process that hold the same key, as far as their names were asked for."""

    __slots__ = ("__weakref__", "holders")

    def __init__(self) -> None:
        self.holders: weakref.WeakSet[HeldKey] = weakref.WeakSet()


_names: weakref.WeakValueDictionary[str, _Name] = weakref.WeakValueDictionary()


class Event:
    """What happened once or more.

    Attributes:
        count: How often.
        extra: What came with the last one.
    """

    __slots__ = ("count", "extra")

    def __init__(self) -> None:
        self.count = 0
        self.extra: Any = None


class NotedFile:
    """A key file that the key came from or was written to.

    Attributes:
        wrapping: The `key_id` of the key that it is encrypted with; None for a password.
        identity: Which file it is, as `identity_of` tells it; None as long as it is not known.
    """

    __slots__ = ("identity", "wrapping")

    def __init__(self, wrapping: str | None) -> None:
        self.wrapping = wrapping
        self.identity: str | None = None


class Census:
    """What happened to one key.

    Attributes:
        name: The key's `key_id`, once it was asked for.
        erased: When `cryptographic_erase_key` destroyed it, or None.
        file_keys: What was derived from it for files, as long as that exists.
        file_process: The process that `file_keys` began in, which a forked child is not; None before the first.
        files: Key files by their paths, at most MOST_DETAILS in all.
        same: Shared with the other objects of the same name.
    """

    __slots__ = ("_events", "erased", "file_keys", "file_process", "files", "name", "same")

    def __init__(self) -> None:
        self._events: dict[str, dict[str, Event]] = {}
        self.name: str | None = None
        self.erased: str | None = None
        self.file_keys: weakref.WeakSet[Any] = weakref.WeakSet()
        self.file_process: int | None = None
        self.files: dict[str, list[NotedFile]] = {}
        self.same: _Name | None = None

    def add(self, kind: str, detail: str, extra: Any) -> None:
        """Count an event; `note` calls it, with the lock held."""
        events = self._events.setdefault(kind, {})
        if len(events) >= MOST_DETAILS and detail not in events:
            detail, extra = MORE, None
        event = events.setdefault(detail, Event())
        event.count += 1
        event.extra = extra

    def count(self, kind: str) -> int:
        """How many events of a kind there were."""
        with _lock:
            return sum(event.count for event in self._events.get(kind, {}).values())

    def events(self) -> list[tuple[str, str, Event]]:
        """Kind, detail, and the event, in the order in which they came first."""
        with _lock:
            return [(kind, detail, each) for kind, found in self._events.items() for detail, each in found.items()]

    def open_file_keys(self) -> list[Any]:
        """What of `file_keys` exists."""
        with _lock:
            return list(self.file_keys)


def census_of(key: HeldKey) -> Census:
    """The census of a key, which begins with its first event."""
    with _lock:
        census = key._census
        if census is None:
            census = key._census = Census()
        return census


def note(key: HeldKey, kind: str, detail: str = "", extra: Any = None) -> None:
    """Count an event.

    Args:
        key: What it happened to.
        kind: What happened: one of those of `erase.py`.
        detail: What tells events of one kind apart: a path, the name of another key.
        extra: What else the receipt needs; that of the last event counts.
    """
    with _lock:
        census_of(key).add(kind, detail, extra)


def note_file(key: HeldKey, kind: str, path: str, wrapping: str | None) -> NotedFile:
    """Count a key file; whoever wrote or read it fills in which one it is."""
    noted = NotedFile(wrapping)
    with _lock:
        census = census_of(key)
        census.add(kind, path, None)
        if sum(map(len, census.files.values())) < MOST_DETAILS:
            census.files.setdefault(path, []).append(noted)
    return noted


def note_file_key(key: HeldKey, kind: str, file_key: Any) -> None:
    """Count an encrypted file, and know what was derived for it."""
    with _lock:
        census = census_of(key)
        census.add(kind, "", None)
        census.file_keys.add(file_key)
        if census.file_process is None:
            census.file_process = os.getpid()


def note_name(key: HeldKey, name: str) -> None:
    """Keep the name of a key, and know it by that."""
    with _lock:
        census = census_of(key)
        census.name = name
        census.same = same = _names.setdefault(name, _Name())
        same.holders.add(key)


def others_of(key: HeldKey) -> int:
    """How many other objects are known to hold the same key."""
    with _lock:
        same = census_of(key).same
        return sum(each is not key and is_live(each) for each in same.holders) if same is not None else 0


def is_live(key: Any) -> bool:
    """Whether there is a key, and it is not wiped."""
    return key is not None and bool(lib.zpy_cell_state(key._handle) == lib.ZPY_OK)


def is_strong(key: HeldKey) -> bool:
    """Whether a key was drawn from the kernel's generator here, or derived from one that was."""
    if key._origin == "generated":
        return True
    return any(kind == "parent_key" and event.extra[1] for kind, _, event in census_of(key).events())


def note_erased(name: str, *, is_last: bool) -> None:
    """Remember the name of an erased key.

    Args:
        name: Its `key_id`.
        is_last: Its receipt says that no copy was left. When it is erased more than once, each must.
    """
    with _lock:
        known = bytes.fromhex(name)
        is_last = _erased.pop(known, True) and is_last
        while len(_erased) >= MOST_ERASED:
            del _erased[next(iter(_erased))]
        _erased[known] = is_last


def has_erased() -> bool:
    """Whether this process erased any key."""
    return bool(_erased)


def was_erased(name: str) -> bool | None:
    """None for a key that this process did not erase; else whether its receipt says that no copy was left."""
    with _lock:
        return _erased.get(bytes.fromhex(name))


def erased_key_ids() -> frozenset[str]:
    """The `key_id` of each key that `cryptographic_erase_key` destroyed in this process, of the last 65536 of them.

    Keep a key's name beside what it encrypted: a program can then say "erased" where it could only say "wrong key".
    `refuse_erased(key_id)` does, and so do `CryptoKey.unwrap` and `CryptoKey.load`.

    Does not reach: keys that were gone before they were erased and whose name nobody had asked for; other processes,
    and earlier runs of this program (see `AuditLog`).
    """
    with _lock:
        return frozenset(name.hex() for name in _erased)


def refuse_erased(key_id: str, remedy: str = "") -> None:
    """Raise for the name of a key that this process erased.

    Args:
        key_id: 64 hexadecimal digits, such as a program keeps beside what the key encrypted.
        remedy: What to end the message with.

    Raises:
        KeyErasedError: It is one of `erased_key_ids()`.
        TypeError, ValueError: It is no name of a key.
    """
    if not isinstance(key_id, str):
        kind, key_id = type(key_id).__name__, ""  # Perhaps the key itself, which should be in no frame.
        raise TypeError(f"key_id must be a str, as key.key_id is, not {kind}")
    if not re.fullmatch("[0-9a-fA-F]{64}", key_id):
        raise ValueError(f"key_id must be 64 hexadecimal digits, not {len(key_id)} characters of another kind")
    if was_erased(key_id) is not None:
        raise KeyErasedError(f"key {key_id} was erased by this process{remedy}")
