"""Cleaning up after sessions that were killed: only what their journals name, and only where it is still the same.

A session is dead when nobody holds the lock on its journal. Two recoveries do not meet on one journal, since the first
holds that lock while it works.
"""

from __future__ import annotations

import fcntl
import os
import stat
import warnings
from typing import TYPE_CHECKING, Literal

from zeroizepy import _lib

from . import journal
from .removal import Identity, Removal, ReplacedError
from .report import RecoveredItem, RecoveredSession, RecoveryReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from .report import Outcome

__all__ = ["recover", "recover_quietly"]

_MAX_JOURNAL_BYTES = 256 << 20
"""A million files. What is longer is no journal."""
_LEFT_ALONE = "something else stands there, which was left alone; look at it and remove it yourself"


def recover(
    *, dry_run: bool = False, forget: bool = False, skip: Callable[[str], bool] | None = None
) -> RecoveryReport:
    """See `zeroizepy.session.recover`.

    Args:
        dry_run, forget: As there.
        skip: Says by a journal's path whether to pass over it without a look.
    """
    place = journal.state_directory()
    try:
        state = journal.open_state(place)
    except FileNotFoundError:
        return RecoveryReport(place, dry_run)
    except OSError as error:
        return RecoveryReport(place, dry_run, error=error.strerror or str(error))
    live = 0
    sessions = []
    try:
        with os.scandir(state) as entries:
            names = sorted(entry.name for entry in entries if journal.is_journal(entry.name))
        for name in names:
            path = os.path.join(place, name)
            if journal.is_own(path):
                live += 1
            elif skip is None or not skip(path):
                found = _recover_one(state, name, path, dry_run=dry_run, forget=forget)
                live += found == "live"
                sessions += [found] if isinstance(found, RecoveredSession) else []
    finally:
        os.close(state)
    return RecoveryReport(place, dry_run, live, tuple(sessions))


def _recover_one(
    state: int, name: str, path: str, *, dry_run: bool, forget: bool
) -> RecoveredSession | Literal["live"] | None:
    """Recover what one journal tells of; None when it is gone, because its session ended or another was faster."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=state)
    except FileNotFoundError:
        return None
    except OSError as error:
        return RecoveredSession(path, error=f"cannot be opened: {error.strerror}")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:
            return None
        return _carry_out(state, name, path, fd, dry_run=dry_run, forget=forget)
    except BlockingIOError:
        return "live"
    except OSError as error:
        return RecoveredSession(path, error=f"cannot be read or removed: {error.strerror}")
    finally:
        os.close(fd)


def _read(fd: int) -> journal.Record:
    """What a journal tells.

    Raises:
        ValueError: It is not one that we wrote.
    """
    status = os.fstat(fd)
    if not journal.trusted(status) or status.st_size > _MAX_JOURNAL_BYTES:
        raise ValueError("it is not a file of this user alone (owner, mode 0600, one name), and was not read")
    with open(fd, "rb", closefd=False) as file:
        return journal.parse(file.read())


def _carry_out(state: int, name: str, path: str, fd: int, *, dry_run: bool, forget: bool) -> RecoveredSession:
    """Work through a journal whose lock we hold, and remove it when nothing is left."""
    problem: str | None = None
    try:
        record = _read(fd)
    except ValueError as error:
        record, problem = journal.Record(None, None, None, (), 0), str(error)
    if record.damaged:
        problem = f"{record.damaged} of its lines are damaged; what they told is not known"
    same_boot = record.boot == journal.boot_id()
    # The last made goes first, as when a session ends.
    items = tuple(_item(entry, same_boot=same_boot, dry_run=dry_run) for entry in reversed(record.entries))
    found = RecoveredSession(path, record.pid, record.started, items, error=problem)
    if dry_run or not (found.complete or forget):
        return found
    os.unlink(name, dir_fd=state)
    return RecoveredSession(path, record.pid, record.started, items, closed=True, error=problem)


def _item(entry: journal.Entry, *, same_boot: bool, dry_run: bool) -> RecoveredItem:
    def answer(outcome: Outcome, *errors: str) -> RecoveredItem:
        return RecoveredItem(entry.path, entry.kind, outcome, errors=errors)

    try:
        status = os.lstat(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        if _folder_stands(entry, same_boot=same_boot):
            return answer("missing")
        return answer("unreachable", "the directory that it was made in is not there; mount it, or forget this")
    except OSError as error:
        return answer("failed", f"cannot look at it: {error.strerror}")
    problem = _mismatch(entry, status, same_boot=same_boot)
    if problem is not None:
        return answer("replaced", problem)
    if dry_run:
        return answer("would_remove")
    return _remove(entry, same_boot=same_boot)


def _folder_stands(entry: journal.Entry, *, same_boot: bool) -> bool:
    """Whether the directory that it was made in is there, so that its absence means something."""
    try:
        return _same(entry.folder, os.stat(os.path.dirname(entry.path)), same_boot=same_boot)
    except OSError:
        return False


def _same(identity: Identity, status: os.stat_result, *, same_boot: bool) -> bool:
    """Whether it is that file. Device numbers are given out anew at each boot; the rest must do then."""
    return identity.inode == status.st_ino and (identity.device == status.st_dev or not same_boot)


def _mismatch(entry: journal.Entry, status: os.stat_result, *, same_boot: bool) -> str | None:
    """Why what stands there is not what the session made; None when it is."""
    is_kind = stat.S_ISDIR(status.st_mode) if entry.kind == "directory" else stat.S_ISREG(status.st_mode)
    if not is_kind or status.st_uid != os.geteuid():
        return _LEFT_ALONE
    if entry.identity is not None:
        return None if _same(entry.identity, status, same_boot=same_boot) else _LEFT_ALONE
    # The session was killed before it knew which file it had made, and so before anybody could write to it.
    if entry.kind == "file" and status.st_size:
        return _LEFT_ALONE
    if entry.kind == "directory":
        try:
            if os.listdir(entry.path):
                return _LEFT_ALONE
        except OSError as error:
            return f"cannot look into it: {error.strerror}"
    return None


def _remove(entry: journal.Entry, *, same_boot: bool) -> RecoveredItem:
    removal = Removal()

    def check(status: os.stat_result) -> None:
        problem = _mismatch(entry, status, same_boot=same_boot)
        if problem is not None:
            raise ReplacedError(problem)

    if entry.identity is None:
        removal.attempt(os.rmdir if entry.kind == "directory" else os.unlink, entry.path)
    elif entry.kind == "directory":
        removal.attempt(removal.remove_directory, entry.path, check)
    else:
        removal.attempt(removal.shred_file, entry.path, check)
    outcome: Outcome = "removed"
    if removal.errors:
        outcome = "replaced" if isinstance(removal.errors[0], ReplacedError) else "failed"
    texts = tuple(_text(error, entry.path) for error in removal.errors)
    return RecoveredItem(entry.path, entry.kind, outcome, tuple(removal.reports), texts)


def _text(error: Exception, path: str) -> str:
    """What failed, in words: without the path of the item itself, and with those in it as seen from there."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else path
    inner = name.removeprefix(f"{path}/")
    return error.strerror if name == path else f"{inner}: {error.strerror}"


# ---- at the start of a session ----

_given_up: set[str] = set()
"""Journals that this process could not bring to an end; `recover` tries them again, the next session does not."""


def recover_quietly() -> None:
    """Recover what can be, and warn once of what cannot. Nothing that others left can make a new session fail."""
    report = recover(skip=_given_up.__contains__)
    for session in report.sessions:
        if session.closed:
            continue
        _given_up.add(session.journal)
        # A volume that is not mounted, or a directory that somebody removed with all in it, is no news each time.
        left = [str(item) for item in session.items if item.outcome in ("failed", "replaced")]
        if session.error is not None:
            left.append(f"{session.journal}: {session.error}")
        if left:
            warnings.warn(
                f"a session that was killed left something behind: {'; '.join(left)}; 'zeroizepy recover' tries again",
                UserWarning,
                stacklevel=_lib.stack_level(),
            )
