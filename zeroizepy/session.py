"""Temporary files and secrets that are gone when the session ends.

    >>> with SecureSession() as session:  # doctest: +SKIP
    ...     path = session.create_temp_file(".txt")
    ...     secret = session.create_secret(b"password123")
    ...     notes = session.open()

Leaving the block closes the secrets, wipes the keys of encrypted files, shreds the other files, and removes the
session's private directory with all that is in it, after an exception too. A file that has another name (a hard link)
is not touched: closing raises, and raises again until that is dealt with. A session that is dropped or alive when the
interpreter exits is cleaned up then.

A process that is killed cannot clean up. What its sessions made stands in a journal, which is written before the files
are, and the next session of the same user, or `recover`, or the command `zeroizepy recover`, shreds it. SIGTERM and
SIGHUP clean up first where nothing else handles them; see `SecureSession`.
"""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import _lib
from .careful import careful
from .exceptions import SecureWipeError
from .sessions import recovery, signals
from .sessions.encrypted import EncryptedFile
from .sessions.holdings import Holdings
from .sessions.report import Outcome, RecoveredItem, RecoveredSession, RecoveryReport

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from .file import ShredReport
    from .memory import SecureMemory
    from .values import Borrowable

__all__ = [
    "EncryptedFile",
    "Outcome",
    "RecoveredItem",
    "RecoveredSession",
    "RecoveryReport",
    "SecureSession",
    "recover",
    "secure_session",
]

_OPEN_MODES = ("w+b", "wb+", "r+b", "rb+", "x+b", "xb+")


def _finalize(holdings: Holdings) -> None:
    """Clean up after a session that nobody closed; there is nobody to raise to, so failures are warned of."""
    import warnings

    for error in holdings.release():
        warnings.warn(f"a session that has ended left something behind: {error}", ResourceWarning, stacklevel=2)


class SecureSession:
    """Tracks temporary files and secrets; all are gone when it ends.

    Use it in a `with` statement, or call `close`; afterwards `reports` says for each file whether its bytes were
    overwritten where they lay. Sessions may be nested and live side by side; each ends what it made.

    Args:
        memory: Keep files in memory: on a tmpfs or ramfs that the kernel says is one (XDG_RUNTIME_DIR, /dev/shm), else
            as memfd; `storage` tells which. Such memory can be swapped out, tmpfs and memfd more readily than locked
            memory, which never is.

    Raises:
        OSError: `memory`, and there is no such storage.
        ValueError: ZEROIZEPY_STATE_DIR is a relative path.

    Warns:
        UserWarning: A session that was killed left something that could not be removed.

    The first thing that a session does is to recover what killed ones of the same user left; shredding that takes its
    time. Without any it is one look into a directory.

    **Signals.** From the first file that the main thread creates in a session to the session's end, SIGTERM and SIGHUP
    clean up all sessions of the process, and then end it by that same signal. That holds where the signal would have
    ended the process without any handler; a handler of the program, of asyncio's `loop.add_signal_handler`, or of
    `process.wipe_on_fatal_signals` is left alone, whether it was there before or comes later, and an ignored signal
    stays ignored. A session that another thread is busy with is waited for at most 30 s. Ctrl-C in a `with` block is
    an exception like others; during the clean-up it breaks that off, and the next `close`, the interpreter's exit or a
    recovery goes on with it.

    **Threads and tasks.** Any thread may create, one closes; what is created while another thread closes is either
    refused or cleaned up. `async with` closes in a thread of its own, so that the event loop goes on; a cancellation
    meanwhile is raised once that is done. A forked child must make a session of its own.
    """

    __slots__ = ("__weakref__", "_finalizer", "_holdings")

    def __init__(self, *, memory: bool = False) -> None:
        if not isinstance(memory, bool):
            raise TypeError(f"memory must be a bool, not {type(memory).__name__}")
        recovery.recover_quietly()
        self._holdings = Holdings(memory=memory)
        self._finalizer = weakref.finalize(self, _finalize, self._holdings)

    def __enter__(self) -> SecureSession:  # noqa: PYI034 - typing.Self needs Python 3.11.
        self._holdings.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(value, self._release())

    async def __aenter__(self) -> SecureSession:  # noqa: PYI034 - see __enter__.
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        work = asyncio.ensure_future(asyncio.to_thread(self._release))
        cancelled: BaseException | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:  # noqa: PERF203 - each may come again.
                cancelled = error
        signals.restore()  # Which the thread could not.
        self._end(cancelled or value, work.result())
        if cancelled is not None:
            raise cancelled

    def __repr__(self) -> str:
        holdings = self._holdings
        files = len(holdings.files) + len(holdings.memory_files)
        state = "closed" if holdings.closed else "open"
        return f"<SecureSession: {files} files, {len(holdings.secrets)} secrets, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle 'SecureSession' object")

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._holdings.closed

    @property
    def storage(self) -> str:
        """Where its files are: "tmpfs", "ramfs" or "memfd", which are memory, or "directory", on whatever that lies."""
        return self._holdings.storage.kind

    @property
    def reports(self) -> tuple[ShredReport, ...]:
        """What became of each file, in the order of shredding, one for each attempt; empty until the session ends.

        Encrypted files have none: nothing of them is overwritten, their keys are wiped.
        """
        return tuple(self._holdings.reports)

    def create_temp_file(
        self,
        suffix: str = "",
        prefix: str = "tmp",
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the seed's.
    ) -> Path:
        """Create an empty file that only its owner can read and write (mode 0600), to be shredded at the end.

        Args:
            suffix: End of its name.
            prefix: Begin of its name.
            dir: Where; None takes a directory that belongs to this session alone (mode 0700). Whatever else is left
                in that directory at the end, folders included, is shredded and removed too. Not with `memory=True`.

        Returns:
            Its absolute path. The file is closed. Where `storage` is "memfd", that is a path below /proc that has
            neither prefix nor suffix; programs of the same user can open it while this process lives.

        Raises:
            TypeError: `suffix` or `prefix` is no str.
            ValueError: The session is closed, a name has a path separator, or `dir` is given where files are in memory.
            OSError: The file cannot be made.

        Warns:
            UserWarning: Once, when no journal can be kept: should the process be killed, the file stays.

        What stands at the path at the end is shredded, whoever put it there and write-protected or not; only a file
        with further names (hard links) is refused, and stays until those are gone. After a kill, recovery shreds the
        private directory with all that is in it, and a file elsewhere only if it is still the same file.

        Does not reach: copies that programs make elsewhere, and blocks that the file gave up before the end (by
        truncation, or by being replaced with another file). On flash and copy-on-write storage see `secure_delete`.
        """
        for text, name in ((suffix, "suffix"), (prefix, "prefix")):
            if not isinstance(text, str):
                raise TypeError(f"{name} must be str, not {type(text).__name__}")
            if os.sep in text or "\0" in text:
                raise ValueError(f"{name} must be part of a file name, not {text!r}")
        holdings = self._holdings
        if dir is not None and holdings.storage.kind != "directory":
            raise ValueError("dir cannot be chosen in a session with memory=True; leave it out")
        return Path(holdings.make_file(prefix, suffix, None if dir is None else os.path.abspath(os.fspath(dir))))

    def open(self, mode: str = "w+b") -> EncryptedFile:
        """Open an empty temporary file that is encrypted under a key of its own, which is wiped at the end.

        Use it for what a program of yours reads and writes itself: once the key is gone, so is the data, also where
        no overwrite reaches. It is no substitute for `create_temp_file` where another program needs a path.

        Args:
            mode: "w+b" or another way to write binary reading and writing; the file begins empty in each.

        Returns:
            An unbuffered binary file; see there for what wrapping it in text or buffers leaves in memory.

        Raises:
            ValueError: The session is closed, or another mode.
            LockLimitError: The lock budget is spent, and the policy does not let secrets seal themselves.
            OSError: The file cannot be made.
        """
        if mode not in _OPEN_MODES:
            raise ValueError(
                f"mode must be 'w+b', not {_lib.shown(mode)}; for text wrap the file in io.TextIOWrapper, "
                "whose buffers are not wiped"
            )
        return self._holdings.make_encrypted()

    @careful
    def create_secret(self, data: Buffer | Borrowable, *, wipe_input: bool = False) -> SecureMemory:
        """Copy `data` into secure memory that is wiped and released at the end.

        Args:
            data: A contiguous bytes-like object, or a cell, memory or key; it may be empty.
            wipe_input: Zero `data` once it is copied; it must be a writable buffer. A cell, memory or key is closed by
                its own means instead.

        Raises:
            TypeError: Not bytes-like, or `wipe_input` with data that cannot be written, such as bytes.
            ValueError: The session is closed.
            CellWipedError, SecureMemoryClosed: `data` is a cell, memory or key at the end of its life.
            LockLimitError: The lock budget is spent; `data` is then unchanged.

        Does not reach: without `wipe_input`, the caller's own copy.
        """
        if not wipe_input:
            return self._holdings.keep_secret(data)
        with _writable(data) as target:
            secret = self._holdings.keep_secret(data)
            _lib.core(len(target), "memzero")(target, len(target))
            return secret

    def close(self) -> None:
        """End the session: close secrets and encrypted files, shred files with 3 random passes, remove the directory.

        Files that are gone already are fine. Once all is gone, another call does nothing; until then each call tries
        what is left again. Folders in the private directory that are mount points are left alone.

        Raises:
            SecureWipeError: Something was not got rid of and stays. All other steps ran to their end first; further
                failures stand in the error's `__notes__`.
        """
        self._end(None, self._release())

    def _end(self, value: BaseException | None, errors: list[Exception]) -> None:
        """Raise what the clean-up failed with, or attach it to the exception that the caller must see instead."""
        if value is not None:
            for error in errors:
                _attach(value, f"the session's clean-up failed: {error}")
            return
        if not errors:
            return
        first, *others = errors
        if not isinstance(first, SecureWipeError):
            wrapped = SecureWipeError(f"the session left something behind: {first}")
            wrapped.__cause__ = first
            first = wrapped
        for error in others:
            _attach(first, f"also failed: {error}")
        raise first

    def _release(self) -> list[Exception]:
        if not self._finalizer.alive:
            return []
        errors = self._holdings.release()
        if not errors:
            self._finalizer.detach()
        return errors


def _writable(data: Buffer | Borrowable) -> Any:
    """A cffi view for the length of a `with` block; `_lib.as_buffer` tells why a block."""
    try:
        return _lib.ffi.from_buffer("uint8_t[]", data, require_writable=True)
    except (TypeError, BufferError, ValueError):
        raise TypeError(
            f"wipe_input needs a writable contiguous buffer such as bytearray, not {type(data).__name__}"
        ) from None


def _attach(error: BaseException, text: str) -> None:
    """Add a note to an exception; before Python 3.11 it stands in the same attribute, which few tools print there."""
    if sys.version_info >= (3, 11):
        error.add_note(text)
    else:
        error.__dict__.setdefault("__notes__", []).append(text)


def secure_session(*, memory: bool = False) -> SecureSession:
    """A new session, for use in a `with` statement; the same as `SecureSession(memory=memory)`."""
    return SecureSession(memory=memory)


def recover(*, dry_run: bool = False, forget: bool = False) -> RecoveryReport:
    """Shred what sessions of this user left when their process was killed.

    Only what their journals name is touched: private directories with all that is in them, and files elsewhere that
    are still the very same file (device and inode; after a reboot, when devices are numbered anew, the inode). Journals
    that are not this user's alone are not read, symbolic links are not followed, and sessions whose process lives are
    left alone. A new `SecureSession` does the same when it starts, and is quiet about it unless something is left.

    Args:
        dry_run: Change nothing, and say what would be done.
        forget: Give up the journals of what cannot be removed (hard links, another file in its place, a volume that is
            not mounted) after one more try; the things themselves stay.

    Returns:
        What was found and what became of it, with the report of each file. Nothing is raised for what fails: look at
        `complete`.

    Does not reach: sessions that could keep no journal; what such a session's programs left elsewhere; a file that
    another program replaced, or moved out of its place.
    """
    return recovery.recover(dry_run=dry_run, forget=forget)
