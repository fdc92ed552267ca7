"""Taking a file's name away without ever touching a bystander.

A file is renamed to random names: twice of the old length, since the second time most file systems write over the entry
that the first freed, and then of half the length again and again, so that not even the length stays. No rename replaces
an existing file, and what is unlinked in the end stands under a name that only this process knows. Every step compares
inodes.

Does not reach: what the file system keeps of old names in other directory blocks and in journals.
"""

from __future__ import annotations

import errno
import os

from zeroizepy.durable import flush_directory as sync_directory

from .calls import rename_noreplace
from .target import same_file

__all__ = [
    "ALPHABET_SIZE",
    "NameReplacedError",
    "give_back",
    "is_ours",
    "lengths",
    "random_name",
    "rename",
    "sync_directory",
    "unlink",
]

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz012345"
"""32 letters: a random byte picks one without favour."""

ALPHABET_SIZE = len(_ALPHABET)
_LETTERS = bytes(_ALPHABET[byte % ALPHABET_SIZE] for byte in range(256))

_ATTEMPTS = 64
_NO_SUCH_CALL = (errno.ENOSYS, errno.EINVAL, errno.EPERM)


class NameReplacedError(OSError):
    """Another file stands under the name by now; its content was left alone.

    Args:
        name: What was to be renamed or unlinked.
        moved_to: Where the other file is now when its name could not be given back to it.
    """

    def __init__(self, name: str, moved_to: str | None = None) -> None:
        fate = "that file was left alone" if moved_to is None else f"that file is now called {moved_to!r}"
        super().__init__(errno.ESTALE, f"the name belongs to another file by now; {fate}", name)


def random_name(length: int) -> str:
    """A name of `length` letters and digits."""
    return os.urandom(length).translate(_LETTERS).decode("ascii")


def is_ours(directory: int, name: str, fd: int) -> bool:
    """Whether `name` still refers to the open file."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return same_file(status, os.fstat(fd))


def _make_placeholder(directory: int, length: int) -> str:
    """Create an empty file under a free random name; a crowded length makes way for the next."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    for attempt in range(_ATTEMPTS):
        name = random_name(length + attempt // 16)
        try:
            os.close(os.open(name, flags, 0o600, dir_fd=directory))
        except FileExistsError:
            continue
        return name
    raise OSError(errno.EEXIST, "no free random name was found")


def give_back(directory: int, hidden: str, name: str) -> NameReplacedError:
    """Put a bystander that was moved by a race back under its name, never over another file. Returns what to raise."""
    try:
        # A link is not enough: directories have no second name, and some file systems have none at all.
        rename_noreplace(directory, hidden, name)
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL or not _move_by_link(directory, hidden, name):
            return NameReplacedError(name, moved_to=hidden)
    return NameReplacedError(name)


def _move_by_link(directory: int, hidden: str, name: str) -> bool:
    """Rename without replacing where no call does that. False when it could not be done, and nothing has changed."""
    try:
        os.link(hidden, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    os.unlink(hidden, dir_fd=directory)
    return True


def lengths(name: str) -> tuple[int, ...]:
    """How long the names are, in bytes, that a file has on its way out."""
    length = len(os.fsencode(name))
    found = [length]
    while length:
        found.append(length)
        length //= 2
    return tuple(found)


def _rename_to_free(directory: int, name: str, length: int) -> str:
    """Rename to a random name that nothing has; a crowded length makes way for the next."""
    for attempt in range(_ATTEMPTS):
        hidden = random_name(length + attempt // 16)
        try:
            rename_noreplace(directory, name, hidden)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in _NO_SUCH_CALL:
                raise
            return _rename_to_placeholder(directory, name, length)
        return hidden
    raise OSError(errno.EEXIST, "no free random name was found")


def _rename_to_placeholder(directory: int, name: str, length: int) -> str:
    """The same where no call renames without replacing: what is replaced is an empty file of our own."""
    hidden = _make_placeholder(directory, length)
    try:
        os.rename(name, hidden, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(hidden, dir_fd=directory)
        raise
    return hidden


def rename(directory: int, name: str, length: int, fd: int) -> str:
    """Rename the open file to a random name. Returns that name.

    Args:
        directory: Descriptor of the directory.
        name: The file's name there.
        length: Bytes of the new name; some more where all names of that length are taken.
        fd: The open file that the name must refer to.

    Raises:
        NameReplacedError: It refers to another file.
        OSError: The directory takes no further name, or the rename was refused; the old name stands.
    """
    if not is_ours(directory, name, fd):
        raise NameReplacedError(name)
    hidden = _rename_to_free(directory, name, length)
    if not is_ours(directory, hidden, fd):
        raise give_back(directory, hidden, name)
    return hidden


def unlink(directory: int, name: str, fd: int) -> None:
    """Unlink `name` when it still refers to the open file.

    Raises:
        NameReplacedError: It refers to another file.
        OSError: The system refused.
    """
    if not is_ours(directory, name, fd):
        raise NameReplacedError(name)
    os.unlink(name, dir_fd=directory)
