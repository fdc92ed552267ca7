"""Files in and out of commands: regular files only, read to memory; results appear whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zeroizepy.durable import name_only, sync_directory
from zeroizepy.file import secure_delete
from zeroizepy.utils import secure_clear

from .errors import BAD_USAGE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "EMPTY_PATH",
    "NewFile",
    "check_free",
    "check_path",
    "naming",
    "new_file",
    "open_regular",
    "read_secret",
    "write_all",
]

_STEP_BYTES = 4 << 20
EMPTY_PATH = ("'': path must not be empty", "is a shell variable unset?")
"""Fault and hint."""


def check_path(path: str) -> None:
    """Refuse what is no name of a file, before anything is opened.

    Raises:
        Failure: The path is empty, or `-`, which elsewhere means a standard stream.
    """
    if not path:
        raise Failure(*EMPTY_PATH, BAD_USAGE)
    if path == "-":
        fault = "-: standard streams are not supported in this version"
        raise Failure(fault, "give a file name; ./- is the file of this name", BAD_USAGE)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Give an OSError of a descriptor the path that it was about."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise


@contextmanager
def open_regular(path: str, most_bytes: int, remedy: str) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading.

    Args:
        path: As the user named it.
        most_bytes: Refuse a larger one.
        remedy: What to do then.

    Yields:
        Descriptor and status.

    Raises:
        Failure: It is something else, or too large.
        OSError: The system refused.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Failure(f"{path}: is {_kind(status.st_mode)}", "give a regular file")
        if status.st_size > most_bytes:
            raise Failure(f"{path}: has {status.st_size} bytes, the most is {most_bytes}", remedy)
        with naming(path):
            yield fd, status
    finally:
        os.close(fd)


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISLNK, "a symbolic link"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")


@contextmanager
def read_secret(
    fd: int, path: str, size_bytes: int, advance: Callable[[int], None] | None = None
) -> Iterator[memoryview]:
    """Read a whole file into one buffer, and zero that when the block ends.

    The buffer is ordinary memory: it is not locked and can be swapped while it is in use.

    Raises:
        Failure: The file changed its size meanwhile.
    """
    buffer = bytearray(size_bytes)
    view = memoryview(buffer)
    done = 0
    try:
        while done < size_bytes:
            got = os.readv(fd, [view[done : done + _STEP_BYTES]])
            if got == 0:
                break
            done += got
            if advance is not None:
                advance(got)
        if done < size_bytes or os.read(fd, 1):
            raise Failure(f"{path}: changed while it was read", "try again when nothing writes to it")
        yield view
    finally:
        view.release()
        secure_clear(buffer)


def write_all(fd: int, data: memoryview | bytes, advance: Callable[[int], None] | None = None) -> None:
    """Write a buffer to its end; the kernel copies straight out of it.

    Args:
        fd: Writable descriptor.
        data: Bytes, in secure memory or not.
        advance: Called with the number of bytes after each part.
    """
    view = memoryview(data)
    done = 0
    while done < len(view):
        wrote = os.write(fd, view[done : done + _STEP_BYTES])
        done += wrote
        if advance is not None:
            advance(wrote)


class NewFile:
    """A result that takes its name only when it is complete.

    Attributes:
        fd: Where to write.
    """

    def __init__(self, path: str, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        folder, name = os.path.split(path)
        try:
            self.fd, self._temporary = tempfile.mkstemp(prefix=f".{name[:50]}.", suffix=".tmp", dir=folder or os.curdir)
        except OSError as error:
            name_only(error, path)
            raise

    def publish(self) -> None:
        """Flush, and give the file its name: replacing a regular file when that was allowed, else nothing."""
        os.fsync(self.fd)
        try:
            self._take_name()
        except OSError as error:
            name_only(error, self._path)
            raise
        sync_directory(self._path)

    def _take_name(self) -> None:
        if self._overwrite:
            check_free(self._path, overwrite=True)  # Writing took its time; something else may stand there by now.
            os.replace(self._temporary, self._path)
        else:
            try:
                os.link(self._temporary, self._path)
                os.unlink(self._temporary)
            except FileExistsError:
                raise exists(self._path) from None
            except OSError:
                self._publish_without_links()

    def _publish_without_links(self) -> None:
        """FAT and some network file systems have no hard links: take the name with an empty file, then replace that."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise exists(self._path) from None
        os.replace(self._temporary, self._path)

    def discard(self) -> None:
        """Overwrite and unlink what was written so far: it can be part of a plaintext."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                secure_delete(self._temporary, passes=1)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(self._temporary)


def exists(path: str) -> Failure:
    """The refusal to replace a file."""
    return Failure(f"{path}: exists already", "give another name with -o, or --overwrite to replace it")


def check_free(path: str, *, overwrite: bool) -> None:
    """Check that a result may take a name.

    Only regular files are ever replaced: a rename would put one in the place of a link, a FIFO or a device.

    Raises:
        Failure: Something else stands there, or a file and `overwrite` is False.
        OSError: The system would not say what stands there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        remedy = "--overwrite replaces regular files only" if overwrite else "give another name with -o"
        raise Failure(f"{path}: is {_kind(mode)}", remedy)
    if not overwrite:
        raise exists(path)


@contextmanager
def new_file(path: str, overwrite: bool) -> Iterator[NewFile]:
    """Write a new file (mode 600) beside `path`; it gets that name when the block ends well, and is gone otherwise.

    Raises:
        Failure: Something stands at `path` that `overwrite` does not allow to replace.
    """
    check_free(path, overwrite=overwrite)
    with naming(path):
        file = NewFile(path, overwrite)
        try:
            yield file
            file.publish()
        except BaseException:
            file.discard()
            raise
        finally:
            os.close(file.fd)
