"""Files in and out of commands: regular files only; results appear whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zeroizepy.chunked.ends import NewFile
from zeroizepy.utils import secure_clear

from .errors import BAD_USAGE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "EMPTY_PATH",
    "check_free",
    "check_path",
    "naming",
    "naming_result",
    "new_file",
    "open_regular",
    "read_secret",
    "refuse_same",
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
def open_regular(path: str, most_bytes: int | None = None, remedy: str = "") -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading.

    Args:
        path: As the user named it.
        most_bytes: Refuse a larger one; None takes any.
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
        if most_bytes is not None and status.st_size > most_bytes:
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


def exists(path: str, remedy: str = "give another name with -o, or --overwrite to replace it") -> Failure:
    """The refusal to replace a file."""
    return Failure(f"{path}: exists already", remedy)


def check_free(path: str, *, overwrite: bool | None) -> None:
    """Check that a result may take a name.

    Only regular files are ever replaced: a rename would put one in the place of a link, a FIFO or a device.

    Args:
        path: The name.
        overwrite: Whether a regular file is replaced; None for commands that never do that and have no such option.

    Raises:
        Failure: Something else stands there, or a file and `overwrite` is False.
        OSError: The system would not say what stands there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        remedies = {True: "--overwrite replaces regular files only", False: "give another name with -o"}
        raise Failure(f"{path}: is {_kind(mode)}", "choose another name" if overwrite is None else remedies[overwrite])
    if overwrite is None:
        raise exists(path, "choose another name; it is not replaced")
    if not overwrite:
        raise exists(path)


def refuse_same(path: str, known: os.stat_result, fault: str) -> None:
    """Refuse a result that would stand for a file in use, by whatever name.

    Args:
        path: Where the result goes.
        known: Status of the file in use.
        fault: What to say of `path` then.

    Raises:
        Failure: It would.
    """
    with suppress(OSError):  # Nothing is there, or a link that leads nowhere: the check of the name itself decides.
        if os.path.samestat(known, os.stat(path)):
            raise Failure(f"{path}: {fault}", "give another name with -o")


@contextmanager
def naming_result(path: str, *, overwrite: bool | None) -> Iterator[str]:
    """Check that a result may take a name, and have errors about it say that as the user wrote it.

    Yields:
        The absolute path.

    Raises:
        Failure: Something stands at `path` that `overwrite` does not allow to replace, before or after.
    """
    check_free(path, overwrite=overwrite)
    absolute = os.path.join(os.getcwd(), path)
    try:
        yield absolute
    except OSError as error:
        if error.filename == absolute:
            if isinstance(error, FileExistsError):
                check_free(path, overwrite=overwrite)  # The same in this command's words.
            error.filename = path
        raise


@contextmanager
def new_file(path: str) -> Iterator[NewFile]:
    """Write a new file (mode 600); it gets its name when the block ends well, and is gone otherwise.

    Raises:
        Failure: Something stands at `path`.
    """
    with naming_result(path, overwrite=None) as absolute:
        file = NewFile(absolute, overwrite=False, is_secret=False)
        try:
            yield file
            file.publish()
        except BaseException:
            file.discard()
            raise
