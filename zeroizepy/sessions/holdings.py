"""What a session must get rid of. Apart from the session, so that a finalizer and a signal handler can hold it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

from zeroizepy.exceptions import SecureWipeError
from zeroizepy.memory import SecureMemory

from . import journal, signals, storage
from .encrypted import EncryptedFile
from .removal import Identity, Removal

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from zeroizepy.file import ShredReport
    from zeroizepy.values import Borrowable

__all__ = ["Holdings"]

_Item = TypeVar("_Item")
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_PREFIX = "zeroizepy-"
_ATTEMPTS = 100


class Holdings:
    """The secrets, files and directory of one session.

    Whatever is made is first written into the lists here and into the journal, so that a signal handler, which may
    run between any two steps, and a later process find it. The lock is one that the same thread may take again, since
    that handler may have interrupted its holder.
    """

    def __init__(self, *, memory: bool = False) -> None:
        self.owner = os.getpid()
        self.lock = threading.RLock()
        self.closed = False
        self.storage = storage.choose(memory=memory)
        self.directory: str | None = None
        self.files: list[str] = []
        self.memory_files: list[tuple[int, str]] = []
        self.encrypted: weakref.WeakSet[EncryptedFile] = weakref.WeakSet()
        self.secrets: list[SecureMemory] = []
        self.removal = Removal()
        self._journal: journal.Journal | None = None
        self._journal_failed = False
        _all.add(self)

    def check_open(self) -> None:
        """Refuse to make anything in a session that has ended, or in a child of its process."""
        if self.closed:
            raise ValueError("SecureSession is closed; create a new one")
        if self.owner != os.getpid():
            raise ValueError("SecureSession belongs to the parent process; create one after the fork")

    # ---- making ----

    def keep_secret(self, data: Buffer | Borrowable) -> SecureMemory:
        """Copy a secret into memory that is closed at the end."""
        with self.lock:
            self.check_open()
            secret = SecureMemory.from_bytes(data)
            self.secrets.append(secret)
        return secret

    def make_file(self, prefix: str, suffix: str, place: str | None) -> str:
        """Make an empty file (0600) to be shredded at the end; `place` None takes the session's own storage."""
        with self.lock:
            self.check_open()
            if place is not None:
                return self._make_named(place, prefix, suffix, is_recorded=True)
            if self.storage.kind == "memfd":
                return self._make_memfd()
            # What is in the private directory need not be recorded: recovery empties it whole.
            return self._make_named(self._private_directory(), prefix, suffix, is_recorded=False)

    def make_encrypted(self) -> EncryptedFile:
        """Make an encrypted file whose key is wiped at the end."""
        with self.lock:
            self.check_open()
            file = EncryptedFile(self._open_backing())
            self.encrypted.add(file)
        return file

    def _open_backing(self) -> int:
        if self.storage.kind == "memfd":
            return storage.open_memfd()
        fd = storage.open_unnamed(self.storage.place())
        return storage.open_unlinked(self._private_directory()) if fd is None else fd

    def _make_named(self, place: str, prefix: str, suffix: str, *, is_recorded: bool) -> str:
        for _ in range(_ATTEMPTS):
            path = os.path.join(place, prefix + storage.random_part() + suffix)
            entry = self._intend("file", path) if is_recorded else None
            self.files.append(path)
            try:
                fd = os.open(path, _FILE_FLAGS, 0o600)
            except FileExistsError:
                self.files.remove(path)
                continue
            except BaseException as error:
                if isinstance(error, OSError):
                    self.files.remove(path)
                raise
            try:
                self._made(entry, os.fstat(fd))
            finally:
                os.close(fd)
            return path
        raise FileExistsError(f"no free name was found in {place}")

    def _private_directory(self) -> str:
        """The session's own directory (0700), made when it is first needed."""
        if self.directory is None:
            path = os.path.join(self.storage.place(), _DIRECTORY_PREFIX + storage.random_part())
            entry = self._intend("directory", path)
            self.directory = path
            try:
                os.mkdir(path, 0o700)
            except BaseException:
                if not os.path.isdir(path):
                    self.directory = None
                raise
            self._made(entry, os.lstat(path))
        return self.directory

    def _make_memfd(self) -> str:
        fd = storage.open_memfd()
        # By this process's number: "self" would be another process in the program that the path is given to.
        path = f"/proc/{self.owner}/fd/{fd}"
        self.memory_files.append((fd, path))
        return path

    def _intend(self, kind: str, path: str) -> int | None:
        """Write down what is about to be made. None when there is no journal; the user was told then.

        From here on a signal has something to clean up. Secrets, encrypted files and memfds need no handler for that:
        they go with the process.

        Raises:
            OSError: The directory that it is to be in cannot be looked at.
        """
        folder = Identity.of(os.stat(os.path.dirname(path)))
        signals.enter(self)
        if self._journal_failed:
            return None
        try:
            if self._journal is None:
                self._journal = journal.Journal.create()
            return self._journal.intend(kind, path, folder)
        except OSError as error:
            self._journal_failed = True
            journal.tell(error)
            return None

    def _made(self, entry: int | None, status: os.stat_result) -> None:
        if entry is None or self._journal is None:
            return
        try:
            self._journal.made(entry, status)
        except OSError as error:
            self._journal_failed = True
            journal.tell(error)

    # ---- the end ----

    @property
    def reports(self) -> list[ShredReport]:
        """What became of each file so far."""
        return self.removal.reports

    def release(self, timeout_s: float = -1) -> list[Exception]:
        """Close secrets and encrypted files, shred files, remove the directory, each whatever the others do.

        An item leaves its list only when it is gone, so that a release which failed or which Ctrl-C broke off can be
        repeated. A forked child only lets go: its parent's files are not its own, and the secrets never came along.

        Args:
            timeout_s: How long to wait for another thread that is using the session; -1 for ever.

        Returns:
            What failed, in order; empty when all is gone.
        """
        if self.owner != os.getpid():
            # The lock may have been held by a thread that the fork left behind, so it is not asked for.
            self.closed = True
            return []
        if not self.lock.acquire(timeout=timeout_s):
            return [SecureWipeError("another thread is using it; 'zeroizepy recover' or the next session goes on")]
        try:
            return self._release()
        finally:
            self.lock.release()

    def release_and_end(self, timeout_s: float) -> list[Exception]:
        """Release in a signal handler after which nothing goes on: what it interrupted is finished here."""
        errors = self.release(timeout_s)
        self.removal.break_off()
        return errors

    def _release(self) -> list[Exception]:
        removal = self.removal
        removal.errors.clear()
        _get_rid_of(removal, self.secrets, SecureMemory.close)
        _get_rid_of(removal, list(self.encrypted), EncryptedFile.close)
        _get_rid_of(removal, self.memory_files, lambda item: storage.drop_memfd(*item))
        _get_rid_of(removal, self.files, self._shred_file)
        if self.directory is not None and removal.attempt(removal.remove_directory, self.directory):
            self.directory = None
        self.closed = True
        if not removal.errors:
            if self._journal is not None:
                removal.attempt(self._journal.remove)
            signals.leave(self)
        return list(removal.errors)

    def _shred_file(self, path: str) -> ShredReport | None:
        if os.path.dirname(path) == self.directory and os.path.isdir(path) and not os.path.islink(path):
            return None  # A program put a directory in the file's place: it goes with the private directory.
        return self.removal.shred_file(path)


def _get_rid_of(removal: Removal, items: list[_Item], step: Callable[[_Item], object]) -> None:
    """Take a step for each item, the last first; those that it succeeded for leave the list."""
    for index in reversed(range(len(items))):
        if removal.attempt(step, items[index]):
            del items[index]


_all: weakref.WeakSet[Holdings] = weakref.WeakSet()


def _let_go() -> None:
    """In a forked child: files in memory live for as long as somebody has them open."""
    for holdings in list(_all):
        while holdings.memory_files:
            os.close(holdings.memory_files.pop()[0])


os.register_at_fork(after_in_child=_let_go)
