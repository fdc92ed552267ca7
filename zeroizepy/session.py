"""Temporary files and secrets that are gone when the session ends.

    >>> with SecureSession() as session:  # doctest: +SKIP
    ...     path = session.create_temp_file(".txt")
    ...     secret = session.create_secret(b"password123")

Leaving the block closes the secrets, shreds the files, and removes the session's private directory with all that is in
it, after an exception too. A file that has another name (a hard link) is not touched: closing raises, and raises again
until that is dealt with. A session that is dropped or alive when the interpreter exits is cleaned up then. A process
that is killed leaves its files behind; use storage in memory (`dir="/dev/shm"`) for what must not survive that.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from . import _lib
from .exceptions import SecureWipeError
from .file import ShredReport
from .memory import SecureMemory
from .shred.options import ShredOptions
from .shred.run import shred, shred_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Buffer

    from .memory import Borrowable

__all__ = ["SecureSession", "secure_session"]

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_Item = TypeVar("_Item")

_OPTIONS = ShredOptions(force=True, warn=False)
"""Without warnings: turned into errors they would leave a file behind, and the reports say the same."""


class _Holdings:
    """What a session must get rid of. Apart from the session, so that a finalizer can hold it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.closed = False
        self.directory: str | None = None
        self.files: list[str] = []
        self.secrets: list[SecureMemory] = []
        self.reports: list[ShredReport] = []
        self.errors: list[Exception] = []

    def release(self) -> list[Exception]:
        """Close the secrets, shred the files, empty and remove the directory. Each step runs whatever the others did.

        An item leaves its list only when it is gone, so that a release which failed or which Ctrl-C broke off can be
        repeated. A forked child only lets go: its parent's files are not its own, and the secrets never came along.

        Returns:
            What failed, in order; empty when all is gone.
        """
        if self.owner != os.getpid():
            # The lock may have been held by a thread that the fork left behind, so it is not asked for.
            self.closed = True
            return []
        with self.lock:
            self.errors.clear()
            self._get_rid_of(self.secrets, SecureMemory.close)
            self._get_rid_of(self.files, self._shred_file)
            if self.directory is not None and self._attempt(self._remove_directory, self.directory):
                self.directory = None
            self.closed = True
            return list(self.errors)

    def _get_rid_of(self, items: list[_Item], step: Callable[[_Item], object]) -> None:
        """Take a step for each item, the last first; those that it succeeded for leave the list."""
        for index in reversed(range(len(items))):
            if self._attempt(step, items[index]):
                del items[index]

    def _attempt(self, step: Callable[..., object], *arguments: object) -> bool:
        """Whether the step succeeded; its error is kept, with the report that came with it."""
        before = len(self.errors)
        try:
            report = step(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever one step raises must not keep the next from running.
            report = getattr(error, "report", None)
            self.errors.append(error)
        if isinstance(report, ShredReport):
            self.reports.append(report)
        # A step may have taken further steps, which kept their own errors.
        return len(self.errors) == before

    def _shred_file(self, path: str) -> ShredReport | None:
        if os.path.dirname(path) == self.directory and os.path.isdir(path) and not os.path.islink(path):
            return None  # A program put a directory in the file's place: it goes with the private directory.
        return shred(path, _OPTIONS)

    def _remove_directory(self, path: str) -> None:
        """Shred what programs left beside the session's files (backups, swap files), then remove the directory."""
        with suppress(FileNotFoundError):
            self._remove_folder(None, path, path, None)

    def _remove_folder(self, above: int | None, name: str, path: str, device: int | None) -> None:
        """Shred all files in a folder and below, then remove it if that left it empty. No link is followed.

        Args:
            above: Descriptor of the directory that it is in; None when `name` is a path.
            name: Its name there.
            path: What reports and errors call it.
            device: st_dev that it must be on; None for any.
        """
        folder = os.open(name, _FOLDER_FLAGS, dir_fd=above)
        try:
            own = os.fstat(folder).st_dev
            if device not in (None, own):
                raise SecureWipeError(f"{path} is another file system and was left alone; unmount it")
            # Some programs write-protect the folders they make, and nothing can be removed from those.
            os.fchmod(folder, 0o700)
            with os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            kept = len(self.errors)
            for each, is_folder in found:
                inner = os.path.join(path, each)
                if is_folder:
                    self._attempt(self._remove_folder, folder, each, inner, own)
                else:
                    self._attempt(self._remove_entry, folder, each, inner)
        finally:
            os.close(folder)
        if len(self.errors) == kept:
            os.rmdir(name, dir_fd=above)

    def _remove_entry(self, folder: int, name: str, path: str) -> ShredReport | None:
        """Shred a file; sockets, FIFOs and device nodes hold no bytes and are only unlinked."""
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            return shred_at(folder, name, path, _OPTIONS)
        os.unlink(name, dir_fd=folder)
        return None


def _finalize(holdings: _Holdings) -> None:
    """Clean up after a session that nobody closed; there is nobody to raise to, so failures are warned of."""
    for error in holdings.release():
        warnings.warn(f"a session that has ended left something behind: {error}", ResourceWarning, stacklevel=2)


class SecureSession:
    """Tracks temporary files and secrets; all are gone when it ends.

    Use it in a `with` statement, or call `close`; afterwards `reports` says for each file whether its bytes were
    overwritten where they lay. Thread-safe: any thread may create, one closes. A forked child must
    make a session of its own.
    """

    __slots__ = ("__weakref__", "_finalizer", "_holdings")

    def __init__(self) -> None:
        self._holdings = _Holdings()
        self._finalizer = weakref.finalize(self, _finalize, self._holdings)

    def __enter__(self) -> SecureSession:  # noqa: PYI034 - typing.Self needs Python 3.11.
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if value is None:
            self.close()
            return
        # The body's exception is the one that the caller must see; what failed here goes along with it.
        for error in self._release():
            _attach(value, f"the session's clean-up failed: {error}")

    def __repr__(self) -> str:
        holdings = self._holdings
        state = "closed" if holdings.closed else "open"
        return f"<SecureSession: {len(holdings.files)} files, {len(holdings.secrets)} secrets, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle 'SecureSession' object")

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._holdings.closed

    @property
    def reports(self) -> tuple[ShredReport, ...]:
        """What became of each file, in the order of shredding, one for each attempt; empty until the session ends."""
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
                in that directory at the end, folders included, is shredded and removed too.

        Returns:
            Its absolute path. The file is closed.

        Raises:
            TypeError: `suffix` or `prefix` is no str.
            ValueError: The session is closed, or a name has a path separator.
            OSError: The file cannot be made.

        What stands at the path at the end is shredded, whoever put it there and write-protected or not; only a file
        with further names (hard links) is refused, and stays until those are gone.

        Does not reach: copies that programs make elsewhere, and blocks that the file gave up before the end (by
        truncation, or by being replaced with another file). On flash and copy-on-write storage see `secure_delete`.
        """
        # tempfile brings half a dozen modules along, which `import zeroizepy` must not pay for.
        import tempfile

        for text, name in ((suffix, "suffix"), (prefix, "prefix")):
            if not isinstance(text, str):
                raise TypeError(f"{name} must be str, not {type(text).__name__}")
            if os.sep in text or "\0" in text:
                raise ValueError(f"{name} must be part of a file name, not {text!r}")
        holdings = self._holdings
        with holdings.lock:
            self._check_open()
            if dir is None and holdings.directory is None:
                holdings.directory = os.path.abspath(tempfile.mkdtemp(prefix="zeroizepy-"))
            place = holdings.directory if dir is None else os.path.abspath(os.fspath(dir))
            fd, path = tempfile.mkstemp(suffix=suffix, prefix=prefix, dir=place)
            holdings.files.append(path)
        os.close(fd)
        return Path(path)

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
        try:
            if not wipe_input:
                return self._keep(data)
            with _writable(data) as target:
                secret = self._keep(data)
                _lib.core(len(target), "memzero")(target, len(target))
                return secret
        except BaseException as error:
            data = b""
            _lib.clear_locals(error)
            raise

    def _keep(self, data: Buffer | Borrowable) -> SecureMemory:
        holdings = self._holdings
        with holdings.lock:
            self._check_open()
            secret = SecureMemory.from_bytes(data)
            holdings.secrets.append(secret)
        return secret

    def close(self) -> None:
        """End the session: close the secrets, shred the files with 3 random passes, remove the private directory.

        Files that are gone already are fine. Once all is gone, another call does nothing; until then each call tries
        what is left again. Folders in the private directory that are mount points are left alone.

        Raises:
            SecureWipeError: Something was not got rid of and stays. All other steps ran to their end first; further
                failures stand in the error's `__notes__`.
        """
        errors = self._release()
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

    def _check_open(self) -> None:
        if self._holdings.closed:
            raise ValueError("SecureSession is closed; create a new one")
        if self._holdings.owner != os.getpid():
            raise ValueError("SecureSession belongs to the parent process; create one after the fork")


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


def secure_session() -> SecureSession:
    """A new session, for use in a `with` statement."""
    return SecureSession()
