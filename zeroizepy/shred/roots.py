"""Where a tree begins: its root, opened so that nothing else can be meant, and the journal of a run over it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import target
from .beneath import Opener
from .facts import mount_of
from .journal import Journal
from .plan import PSEUDO_FILE_SYSTEMS
from .walk import DIRECTORY_FLAGS, Folder, count_files

if TYPE_CHECKING:
    from .options import ShredOptions
    from .report import ShredReport

__all__ = ["Root", "TreeOptions", "TreeProgress", "count_tree", "open_journal", "open_root"]

TreeProgress = Callable[[int, int], object]
"""Called with the files done and the bytes written and read back so far."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """The checked arguments of `shred_tree`.

    Attributes:
        files: What is done to each file.
        keep_directories: Leaves the directories, empty.
        one_file_system: Leaves mount points alone.
        journal: Path of the journal, or None.
        on_report: Gets the report of each file.
        progress: Gets the counts so far.
    """

    files: ShredOptions
    keep_directories: bool = False
    one_file_system: bool = True
    journal: str | None = None
    on_report: Callable[[ShredReport], object] | None = None
    progress: TreeProgress | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """An open root: its parent's descriptor and itself."""

    above: int
    folder: Folder

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.above)
        os.close(self.folder.fd)


def open_root(path: str) -> Root | None:
    """Open a directory and its parent, following no link at its end. None when there is nothing.

    Raises:
        ValueError: The path ends in `.` or `..`, or is the root of all.
        NotADirectoryError: Something else stands there.
        OSError: The system refused, or the directory lies on a file system whose files hold no stored bytes.
    """
    parent, name = os.path.split(path.rstrip("/") or "/")
    if name in ("", os.curdir, os.pardir):
        raise ValueError(f"path must end in the directory's own name, and not be {path!r}")
    try:
        above = target.open_directory(parent or os.curdir)
    except FileNotFoundError:
        return None
    try:
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=above)
    except OSError as error:
        wrong = _what_else(path, above, name)
        os.close(above)
        if isinstance(error, FileNotFoundError):
            return None
        raise (wrong or error) from None
    kind = mount_of(fd).file_system
    if kind in PSEUDO_FILE_SYSTEMS:
        os.close(fd)
        os.close(above)
        raise OSError(errno.EINVAL, f"lies on {kind}, whose files hold no stored bytes", path)
    status = os.fstat(fd)
    return Root(above, Folder(None, name, (status.st_dev, status.st_ino), shown=path, fd=fd))


def _what_else(path: str, above: int, name: str) -> NotADirectoryError | None:
    """The error for a path at which something else than a directory stands."""
    try:
        mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return None
    text = "is a symbolic link; give the directory itself" if stat.S_ISLNK(mode) else "is not a directory"
    return NotADirectoryError(errno.ENOTDIR, f"{text}; secure_delete takes what is none", path)


def count_tree(path: str, *, one_file_system: bool = True) -> tuple[int, int]:
    """Look at a directory for a progress bar: nothing is opened but directories, and no link is followed.

    Args:
        path: The directory.
        one_file_system: Leave what is mounted in it out.

    Returns:
        How many entries are no directories, and how many bytes the files among them hold; (0, 0) when there is none.

    Raises:
        ValueError, NotADirectoryError, OSError: As `shred_tree` does.
    """
    root = open_root(path)
    if root is None:
        return 0, 0
    try:
        return count_files(root.folder, Opener(may_cross=not one_file_system))
    finally:
        root.close()


def open_journal(root: Folder, options: TreeOptions) -> Journal | None:
    """The journal that the options name, or None.

    Raises:
        ValueError: It lies in the tree, or belongs to another root or other options.
        OSError: It cannot be opened, or something else stands at its path.
    """
    if options.journal is None:
        return None
    if _lies_beneath(os.path.dirname(options.journal) or os.curdir, root.identity):
        raise ValueError(f"journal must not lie in the directory that is shredded: {options.journal}")
    files = options.files
    patterns = [each.data if each.data is not None else b"random" for each in files.passes]
    written = [each.name for each in files.passes] if files.scheme is None else []
    digest = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in patterns)).hexdigest()
    run = {
        "root": list(root.identity),
        "passes": len(files.passes),
        "pattern": [*sorted(set(written)), digest if files.scheme is None else ""],
        "scheme": files.scheme,
        "rename": files.rename,
        "verify": "device" if files.device else files.verify,
        "allow_hard_links": files.allow_hard_links,
        "force": files.force,
        "keep_directories": options.keep_directories,
        "one_file_system": options.one_file_system,
    }
    return Journal(options.journal, run)


def _lies_beneath(path: str, identity: tuple[int, int]) -> bool:
    """Whether a directory is the one of this identity, or lies in it."""
    fd = os.open(path, target.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    last = (-1, -1)
    try:
        while True:
            status = os.fstat(fd)
            here = (status.st_dev, status.st_ino)
            if here in (identity, last):
                return here == identity
            last = here
            up = os.open(os.pardir, target.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = up
    finally:
        os.close(fd)
