"""Going through a directory tree without being led out of it, in memory and descriptors that do not grow with it.

Every directory is opened beneath the one before, with no link followed, and known by device and inode from then on.
Entries are read as they come; only the names of subdirectories are kept, a bounded number of them, and of the
directories on the way down only a few stay open: the others are opened again from above and compared.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .beneath import Opener

__all__ = ["Finished", "Folder", "Member", "Obstacle", "Walker", "count_files"]

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_OPEN_FOLDERS = 32
"""Directories on the way down that stay open besides those that a batch holds."""

_KEPT_NAMES = 20_000
"""Names of subdirectories still to be entered, over the whole way down; more wait in their directory."""

_SETTLED = 20_000
"""Entries of one directory that stay and are known to; with more of them the directory is not read again."""

_CACHED_DEPTH = 64
_LEVELS_EACH_CALL = 12  # Of names of 255 bytes, not more fit into a path.


@dataclass(eq=False, slots=True)
class Folder:
    """A directory of the tree.

    Attributes:
        parent: None for the root, whose descriptor the caller keeps open.
        name: In its parent; changes when the name is hidden.
        identity: Device and inode.
        shown: The path in reports when it is short enough to keep.
        fd: Open descriptor, or -1.
        pins: Who needs the descriptor to stay.
        settled: Inodes of entries that stay where they are; None once there are too many.
        inode: As its parent says, which need not be that of `identity` where something is mounted.
        staying: How many of its entries stay for good.
        coming: How many directories in it wait to be removed.
        rounds: How often it was read again.
        waits: Whether it counts as coming in its parent.
    """

    parent: Folder | None
    name: str
    identity: tuple[int, int]
    depth: int = 0
    shown: str | None = None
    fd: int = -1
    pins: int = 0
    settled: set[int] | None = field(default_factory=set)
    inode: int = 0
    staying: int = 0
    coming: int = 0
    rounds: int = 0
    waits: bool = False

    @property
    def path(self) -> str:
        """How reports call it. Put together when asked for in deep trees, where keeping it would add up."""
        names = []
        node = self
        while node.shown is None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        return os.path.join(node.shown or "", *reversed(names))

    def settle(self, inode: int) -> None:
        """Remember that an entry stays, so that another scan passes it over."""
        if self.settled is not None:
            self.settled.add(inode)
            if len(self.settled) > _SETTLED:
                self.settled = None


@dataclass(frozen=True, slots=True)
class Member:
    """An entry that is no directory, as the scan met it; `inode` is what the directory says."""

    folder: Folder
    name: str
    inode: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A directory whose entries were all met; those beneath it come before it."""

    folder: Folder


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A directory that cannot be entered, or not be read.

    Attributes:
        folder: Its parent; the directory itself when it was entered and then could not be read.
        name: In its parent; empty for `folder` itself.
        inode: As its parent says.
        code: `mount_point`, `permission` or `replaced`.
        number: errno.
    """

    folder: Folder
    name: str
    inode: int
    code: str
    number: int


Event = Member | Finished | Obstacle


@dataclass(slots=True)
class _Frame:
    folder: Folder
    entries: Iterator[os.DirEntry[str]] | None = None
    begun: bool = False
    pending: list[tuple[str, int]] = field(default_factory=list)


class Walker:
    """Meets everything beneath a root, files of a directory first, then what lies in its subdirectories.

    What is met may be removed meanwhile. `again` has a directory read once more.

    Args:
        root: With its descriptor open.
        opener: How directories are opened.
    """

    def __init__(self, root: Folder, opener: Opener) -> None:
        self.opener = opener
        self._stack = [_Frame(root)]
        # Open directories that nobody has pinned, the longest unused first.
        self._idle: OrderedDict[Folder, None] = OrderedDict()
        self._kept = 0

    def close(self) -> None:
        """Close what was opened on the way and is not pinned. Idempotent."""
        while self._stack:
            self._drop(self._stack.pop())
        while self._idle:
            self.forget(next(iter(self._idle)))

    def events(self) -> Iterator[Event]:
        """Everything, in an order in which a directory comes after what lies in it."""
        while self._stack:
            frame = self._stack[-1]
            yield from self._read(frame)
            if self._stack[-1] is not frame:
                continue  # Another directory is to be read once more, and first.
            if frame.pending:
                name, inode = frame.pending.pop()
                self._kept -= 1
                yield from self._enter(frame.folder, name, inode)
            elif frame.entries is None:
                self._stack.pop()
                yield Finished(frame.folder)

    def again(self, folder: Folder) -> None:
        """Read a finished directory once more, next. Its entries that are settled are passed over."""
        self._stack.append(_Frame(folder))

    # ---- descriptors ----

    def pin(self, folder: Folder) -> int:
        """The descriptor of a directory, open until `unpin`.

        Raises:
            OSError: It is not there any more; ESTALE when another one is.
        """
        fd = self._descriptor(folder)
        folder.pins += 1
        self._idle.pop(folder, None)
        return fd

    def unpin(self, folder: Folder) -> None:
        """Give the descriptor back."""
        folder.pins -= 1
        if not folder.pins and folder.parent is not None:
            self._adopt(folder, folder.fd)

    def forget(self, folder: Folder) -> None:
        """Close a directory that is done with, unless it is pinned."""
        if folder in self._idle:
            del self._idle[folder]
            os.close(folder.fd)
            folder.fd = -1

    def _descriptor(self, folder: Folder) -> int:
        """Open a directory that was closed meanwhile, from the nearest one above that is open, some levels at a time.

        The levels in between stay open while there is room: they are what the way back up needs next.
        """
        if folder in self._idle:
            self._idle.move_to_end(folder)
        chain: list[Folder] = []
        node = folder
        while node.fd < 0 and node.parent is not None:
            chain.append(node)
            node = node.parent
        reached = node.fd
        while chain:
            levels = chain[-_LEVELS_EACH_CALL:]
            del chain[-_LEVELS_EACH_CALL:]
            lowest = levels[0]
            reached = self.opener.open(reached, "/".join(each.name for each in reversed(levels)), DIRECTORY_FLAGS)
            self._adopt(lowest, reached)
            status = os.fstat(reached)
            if (status.st_dev, status.st_ino) != lowest.identity:
                self.forget(lowest)
                raise OSError(errno.ESTALE, "was replaced by another directory", lowest.path)
        return reached

    def _adopt(self, folder: Folder, fd: int) -> None:
        folder.fd = fd
        self._idle[folder] = None
        if len(self._idle) > _OPEN_FOLDERS:
            self.forget(next(iter(self._idle)))

    # ---- reading ----

    def _read(self, frame: _Frame) -> Iterator[Event]:
        """Meet entries until the directory ends, or until enough subdirectories wait."""
        folder = frame.folder
        try:
            if not frame.begun:
                fd = self._descriptor(folder)
                os.lseek(fd, 0, os.SEEK_SET)  # The iterator shares the descriptor's position.
                frame.begun, frame.entries = True, os.scandir(fd)
            while frame.entries is not None and (not frame.pending or self._kept < _KEPT_NAMES):
                entry = next(frame.entries, None)
                if entry is None:
                    self._drop(frame)
                    break
                inode = entry.inode()
                if folder.settled is not None and inode in folder.settled:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    frame.pending.append((entry.name, inode))
                    self._kept += 1
                else:
                    yield Member(folder, entry.name, inode)
        except OSError as error:
            self._drop(frame)
            frame.begun = True
            yield Obstacle(folder, "", 0, _code_of(error), error.errno or errno.EIO)

    def _enter(self, folder: Folder, name: str, inode: int) -> Iterator[Event]:
        try:
            fd = self.opener.open(self._descriptor(folder), name, DIRECTORY_FLAGS)
        except FileNotFoundError:
            return
        except OSError as error:
            yield Obstacle(folder, name, inode, _code_of(error), error.errno or errno.EIO)
            return
        status = os.fstat(fd)
        shown = os.path.join(folder.path, name) if folder.depth < _CACHED_DEPTH else None
        child = Folder(folder, name, (status.st_dev, status.st_ino), folder.depth + 1, shown, inode=inode)
        self._adopt(child, fd)
        self._stack.append(_Frame(child))

    @staticmethod
    def _drop(frame: _Frame) -> None:
        entries, frame.entries = frame.entries, None
        if entries is not None:
            entries.close()  # type: ignore[attr-defined]


def _code_of(error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return "mount_point"
    return "replaced" if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ESTALE) else "permission"


def count_files(root: Folder, opener: Opener) -> tuple[int, int]:
    """How many entries that are no directories lie beneath a root, and how many bytes the regular files hold.

    A look beforehand, for progress bars: nothing is opened but directories, and what cannot be read is passed over.
    """
    files = size_bytes = 0
    walker = Walker(root, opener)
    try:
        for event in walker.events():
            if isinstance(event, Member):
                files += 1
                size_bytes += _size_of(walker, event)
            elif isinstance(event, Finished):
                walker.forget(event.folder)
    finally:
        walker.close()
    return files, size_bytes


def _size_of(walker: Walker, member: Member) -> int:
    fd = walker.pin(member.folder)
    try:
        status = os.stat(member.name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return 0
    finally:
        walker.unpin(member.folder)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
