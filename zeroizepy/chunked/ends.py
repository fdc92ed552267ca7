"""The two ends of an encryption: a path or an open binary file to read from, and one to write to."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zeroizepy.durable import name_beside, name_only, sync_directory
from zeroizepy.shred.calls import rename_noreplace

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO, Protocol

    from typing_extensions import Self

    class ReadsInto(Protocol):
        """An open binary file to read from."""

        def readinto(self, buffer: Any, /) -> int | None:
            """Fill a buffer, as far as there is something."""

    class Writes(Protocol):
        """An open binary file to write to."""

        def write(self, data: Any, /) -> int | None:
            """Write bytes, and say how many."""

    Readable = str | bytes | os.PathLike[str] | BinaryIO | ReadsInto
    Writable = str | bytes | os.PathLike[str] | BinaryIO | Writes

__all__ = ["Output", "Source", "open_output"]

_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What file systems without O_TMPFILE answer, and kernels."""
_NO_RENAME = (errno.ENOSYS, errno.EINVAL)
_ZEROS = bytes(1 << 20)
_BEHIND_BYTES = 2 << 20
"""How much is written before the device is given it, so that little is left to do for the flush at the end."""


def _path_of(end: object, name: str, method: str) -> str | None:
    """An absolute path, or None for an open file.

    Raises:
        TypeError: It is neither.
        ValueError: An empty path.
    """
    if isinstance(end, (str, bytes, os.PathLike)):
        path = os.fsdecode(end)
        if not path:
            raise ValueError(f"{name} must not be an empty path")
        # The program may change its folder meanwhile.
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    if not hasattr(end, method):
        raise TypeError(f"{name} must be a path or an open binary file with {method}(), not {type(end).__name__}")
    return None


class Source:
    """Bytes in order, from a path or an open binary file. The latter is not closed, and is read from where it stands.

    Attributes:
        file: What is read from; unbuffered where it was opened here, so that no plaintext stays in a buffer.
    """

    def __init__(self, src: object) -> None:
        path = _path_of(src, "src", "readinto")
        self._is_own = path is not None
        self.file: Any = src if path is None else open(path, "rb", buffering=0)  # noqa: SIM115 - close() is below.

    def fill(self, view: memoryview) -> int:
        """Read until the view is full or the input ends. Returns how many bytes there were."""
        done = 0
        while done < len(view):
            with view[done:] as rest:
                got = self.file.readinto(rest)
            if got is None:
                raise BlockingIOError(errno.EAGAIN, "src must block until it has data")
            if got == 0:
                break
            done += got
        return done

    def size(self) -> int | None:
        """How long it is, if it is a regular file."""
        with suppress(OSError, AttributeError):  # What is no file of the system has no descriptor.
            status = os.fstat(self.file.fileno())
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def is_same(self, dst: Any) -> bool:
        """Whether it is the file that stands at a path or is open: one whose bytes would go before they were read."""
        with suppress(OSError, AttributeError):  # What is no file of the system may be one object for both.
            if self.file is dst:
                return bool(dst.seekable())
            status = os.stat(dst if isinstance(dst, str) else dst.fileno())
            is_stored = stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)  # A terminal may be both ends.
            return is_stored and os.path.samestat(os.fstat(self.file.fileno()), status)
        return False

    def close(self) -> None:
        """Close what was opened here."""
        if self._is_own:
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Output:
    """An open binary file to write to. It is not closed; what was written stays when the rest fails.

    Attributes:
        is_own: It was made here, and may be written to by any thread.
    """

    is_own = False

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: memoryview | bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        done = 0
        while done < len(view):
            wrote = self._file.write(view[done:])
            if wrote is None:
                raise BlockingIOError(errno.EAGAIN, "dst must block until it takes data")
            done += wrote

    def publish(self) -> None:
        """Have it arrive."""
        if hasattr(self._file, "flush"):
            self._file.flush()

    def discard(self) -> None:
        """Nothing: what was written is on its way already."""


class NewFile(Output):
    """A file that has no name until it is complete and on the device; mode 600.

    Where the file system has O_TMPFILE, a kill leaves nothing of it. Elsewhere it has a name beside the one to come,
    which begins with a dot and ends in ".tmp", and which a kill leaves behind.

    Args:
        path: Absolute.
        overwrite: Replace a regular file that stands there.
        is_secret: Zero what was written before it is given up.

    Raises:
        FileExistsError: Something stands there that may not be replaced.
        OSError: The file cannot be made.
    """

    is_own = True

    def __init__(self, path: str, *, overwrite: bool, is_secret: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._is_secret = is_secret
        self._process = os.getpid()
        self._temporary: str | None = None
        self._written = self._given = 0
        self._check_free()
        try:
            fd = self._open_unnamed()
            if fd is None:
                fd, self._temporary = self._open_named()
        except OSError as error:
            name_only(error, path)
            raise
        super().__init__(open(fd, "r+b", buffering=0))  # noqa: SIM115 - publish() and discard() close it.
        try:
            os.fchmod(fd, 0o600)
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError):
                name_only(error, path)
            raise

    def _check_free(self) -> None:
        with suppress(FileNotFoundError):
            mode = os.lstat(self._path).st_mode
            if not stat.S_ISREG(mode):
                text = "is no regular file; only such are replaced; pass an open binary file to write into another"
                raise FileExistsError(errno.EEXIST, text, self._path)
            if not self._overwrite:
                raise FileExistsError(errno.EEXIST, "exists; pass overwrite=True to replace it", self._path)

    def _open_unnamed(self) -> int | None:
        if not hasattr(os, "O_TMPFILE"):
            return None
        try:
            fd = os.open(os.path.dirname(self._path), os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in _NO_UNNAMED:
                return None
            raise
        if not os.path.exists(f"/proc/self/fd/{fd}"):  # By which it gets its name.
            os.close(fd)
            return None
        return fd

    def _open_named(self) -> tuple[int, str]:
        folder, name = os.path.split(self._path)
        return tempfile.mkstemp(prefix=f".{name[:50]}.", suffix=".tmp", dir=folder)

    def write(self, data: memoryview | bytes) -> None:
        """Write all of it."""
        try:
            super().write(data)
        except OSError as error:
            error.filename = self._path
            raise
        self._written += len(data)
        if self._written - self._given >= _BEHIND_BYTES:
            self._give()

    def _give(self) -> None:
        """Have the system begin to write to the device. Linux does so for pages that it is told to drop."""
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # A wish; the flush at the end is what counts.
                length = self._written - self._given
                os.posix_fadvise(self._file.fileno(), self._given, length, os.POSIX_FADV_DONTNEED)
        self._given = self._written

    def publish(self) -> None:
        """Flush it and give it its name.

        Raises:
            FileExistsError: Meanwhile something else took the name.
            OSError: It could not be flushed or named. When only its folder could not be flushed, a new name is taken
                away again; a file that replaced another one stays, complete, and the error says so.
        """
        try:
            os.fsync(self._file.fileno())
            self._take_name()
        except OSError as error:
            name_only(error, self._path)
            raise
        try:
            sync_directory(self._path)
        except OSError as error:
            if not self._take_back():
                error.strerror = f"is complete and in its place, but its folder was not flushed: {error.strerror}"
            raise
        self._file.close()

    def _take_back(self) -> bool:
        """Take the name away where nothing stood before. Returns whether it is."""
        if not self._overwrite and self._has_name():
            with suppress(OSError):
                os.unlink(self._path)
        return not self._has_name()

    def _take_name(self) -> None:
        if self._temporary is None and not self._overwrite:
            self._link(self._path)
            return
        if self._temporary is None:  # A link replaces nothing; a rename does.
            self._temporary = name_beside(self._path)
            self._link(self._temporary)
        if self._overwrite:
            self._check_free()
            os.replace(self._temporary, self._path)
        else:
            self._rename(self._temporary)
        self._temporary = None

    def _link(self, path: str) -> None:
        """Name the unnamed file. A directory's descriptor has Python use linkat(2), which alone can follow the link."""
        here = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(f"/proc/self/fd/{self._file.fileno()}", path, src_dir_fd=here, follow_symlinks=True)
        finally:
            os.close(here)

    def _rename(self, temporary: str) -> None:
        folder, name = os.path.split(self._path)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rename_noreplace(directory, os.path.basename(temporary), name)
        except OSError as error:
            if error.errno not in _NO_RENAME:
                raise
            # Take the name with an empty file, then replace that.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            os.replace(temporary, self._path)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Give it up: zero what is secret, once, in place, and take its temporary name away. Goes on past errors.

        In a forked child only its descriptor is given up: the parent still writes the file.
        """
        if self._file.closed:
            return
        if self._process != os.getpid():
            with suppress(OSError):
                self._file.close()
            return
        if self._is_secret and not self._has_name():
            with suppress(OSError):
                self._zero()
        if self._temporary is not None:
            with suppress(OSError):
                os.unlink(self._temporary)
        with suppress(OSError):
            self._file.close()

    def _zero(self) -> None:
        fd = self._file.fileno()
        size, done = os.fstat(fd).st_size, 0
        while done < size:
            done += os.pwrite(fd, _ZEROS[: size - done], done)
        os.fsync(fd)

    def _has_name(self) -> bool:
        """Whether it stands where it should: an interrupt may come right after that was done."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._file.fileno()), os.lstat(self._path))
        return False


def open_output(dst: object, source: Source | None, *, overwrite: bool, is_secret: bool) -> Output:
    """What to write a result to.

    Args:
        dst: A path, for a new file, or an open binary file.
        source: What is read, which must be another file.
        overwrite, is_secret: See NewFile.

    Raises:
        TypeError: Neither of the two.
        ValueError: It is the source.
        FileExistsError, OSError: See NewFile.
    """
    path = _path_of(dst, "dst", "write")
    if source is not None and source.is_same(dst if path is None else path):
        both = "" if path is None else f", as both are {path!r}"
        raise ValueError(f"src and dst must not be the same file{both}")
    if path is None:
        return Output(dst)
    return NewFile(path, overwrite=overwrite, is_secret=is_secret)
