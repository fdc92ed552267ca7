"""Removing the directories of a tree, many at a time and from the bottom up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from . import calls, names
from .batch import SHARED_FROM
from .name_steps import errno_name
from .report import ShredReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .treereport import Tally
    from .walk import Folder, Walker

__all__ = ["Folders"]

_ROUNDS = 100
"""How often a directory is read again because something new is in it; more is somebody who goes on adding to it."""


@dataclass(eq=False, slots=True)
class _Leaving:
    """A directory on its way out, with descriptors of its parent and of itself, and the name that it had."""

    folder: Folder
    parent: int
    fd: int
    name: str


class Folders:
    """Directories whose entries are done with, until they are removed.

    Args:
        walker: Reads them again when something else is in them.
        above: Descriptor of the root's parent.
        tally: Counts them.
        rename: Whether their names are hidden first.
        keep: Whether they stay.
        room: How many are removed at a time; each takes up to two descriptors.
        shares: Whether one flush of the file system can stand for those of the directories.
    """

    def __init__(
        self, walker: Walker, above: int, tally: Tally, *, rename: bool, keep: bool, room: int, shares: bool
    ) -> None:
        self._walker = walker
        self._above = above
        self._tally = tally
        self._rename = rename
        self._keep = keep
        self._room = max(1, room)
        self._shares = shares
        self._queue: list[Folder] = []

    @property
    def is_empty(self) -> bool:
        """Whether none wait."""
        return not self._queue

    @property
    def is_full(self) -> bool:
        """Whether it is time for `remove`."""
        return len(self._queue) >= self._room

    def add(self, folder: Folder) -> None:
        """Take a directory; those in it were taken before. Its parent does not meet it again."""
        self._queue.append(folder)
        if folder.parent is not None and not folder.waits:
            folder.waits = True
            folder.parent.coming += 1
            folder.parent.settle(folder.inode)

    def remove(self) -> None:
        """Remove those that hold nothing but each other; have those read again that hold something new."""
        queue, self._queue = self._queue, []
        again: list[Folder] = []
        for start in range(0, len(queue), self._room):
            again += self._remove_some(queue[start : start + self._room])
        for folder in reversed(again):  # The last is read first: those within before those around them.
            self._walker.again(folder)

    def fail(self, folder: Folder, code: str, text: str) -> None:
        """Count a directory that has a fault of its own, and stays."""
        self._tally.fail(ShredReport(folder.path, verdict="refused", reasons=(code,), error=text))
        folder.staying += 1

    def _remove_some(self, folders: list[Folder]) -> list[Folder]:
        """Remove what can be removed. Returns those to be read again."""
        leaving: list[_Leaving] = []
        again: list[Folder] = []
        try:
            for folder in folders:
                fate = self._fate(folder)
                if fate == "again":
                    again.append(folder)
                elif fate == "stay" or not self._pin(folder, leaving):
                    self._settle(folder)
                elif folder.parent is not None:
                    folder.parent.coming -= 1
            self._hide(leaving)
            for each in leaving:
                self._remove_one(each)
            self._flush(leaving)
        except BaseException:
            for each in leaving:
                self._give_name_back(each)
            raise
        finally:
            for each in leaving:
                self._unpin(each.folder)
        return again

    # ---- what is in it ----

    def _fate(self, folder: Folder) -> Literal["go", "stay", "again"]:
        try:
            known = self._holds_only_known(folder)
        except OSError as error:
            if not folder.staying:
                self.fail(folder, "replaced", f"cannot be read again: {error.strerror}")
            return "stay"
        if folder.coming:
            return "again"  # A directory in it is.
        if not known:
            folder.rounds += 1
            if folder.settled is not None and folder.rounds <= _ROUNDS:
                return "again"
            self.fail(folder, "not_empty", "holds more entries, which were added meanwhile or not met again")
        if folder.parent is not None and folder.inode != folder.identity[1] and not self._keep and not folder.staying:
            self.fail(folder, "mount_point", "is a mount point, which stays; what was mounted there is gone through")
        return "stay" if folder.staying or self._keep else "go"

    def _holds_only_known(self, folder: Folder) -> bool:
        """Whether all that is in it stays for good or goes with it."""
        fd = self._walker.pin(folder)
        try:
            os.lseek(fd, 0, os.SEEK_SET)  # The iterator shares the descriptor's position.
            with os.scandir(fd) as entries:
                return all(folder.settled is not None and entry.inode() in folder.settled for entry in entries)
        finally:
            self._walker.unpin(folder)

    def _settle(self, folder: Folder) -> None:
        """Count a directory that stays, and tell its parent."""
        self._walker.forget(folder)
        self._tally.directories_left += bool(folder.staying)
        if folder.parent is not None:
            folder.parent.coming -= 1
            folder.parent.staying += bool(folder.staying)

    # ---- on the way out ----

    def _pin(self, folder: Folder, leaving: list[_Leaving]) -> bool:
        try:
            fd = self._walker.pin(folder)
        except OSError as error:
            self.fail(folder, "replaced", f"cannot be opened again: {error.strerror}")
            return False
        try:
            parent = self._above if folder.parent is None else self._walker.pin(folder.parent)
        except OSError as error:
            self._walker.unpin(folder)
            self.fail(folder, "replaced", f"its parent cannot be opened again: {error.strerror}")
            return False
        leaving.append(_Leaving(folder, parent, fd, folder.name))
        return True

    def _unpin(self, folder: Folder) -> None:
        self._walker.unpin(folder)
        self._walker.forget(folder)
        if folder.parent is not None:
            self._walker.unpin(folder.parent)

    def _hide(self, leaving: list[_Leaving]) -> None:
        lengths = {each: iter(names.lengths(each.folder.name)) for each in leaving if self._rename}
        while lengths:
            for each, rest in list(lengths.items()):
                length = next(rest, None)
                if length is None or not self._hide_once(each, length):
                    del lengths[each]
            self._flush(lengths)

    def _hide_once(self, each: _Leaving, length: int) -> bool:
        try:
            each.folder.name = names.rename(each.parent, each.folder.name, length, each.fd)
        except names.NameReplacedError as error:
            # Only this error knows where a bystander is that could not be given its name back.
            self.fail(each.folder, "replaced", f"cannot be renamed: {error.strerror}")
            return False
        except OSError:
            return False  # The removal says what is wrong; a name that cannot be hidden does not stop it.
        return True

    @staticmethod
    def _give_name_back(each: _Leaving) -> str:
        """Give a directory that stays its name back. Returns what to say when another has it by now."""
        folder = each.folder
        if folder.name == each.name:
            return ""
        try:
            calls.rename_noreplace(each.parent, folder.name, each.name)
        except OSError:
            return f"; it is now called {folder.name!r}"
        folder.name = each.name
        return ""

    def _remove_one(self, each: _Leaving) -> None:
        folder, parent = each.folder, each.folder.parent
        try:
            if not names.is_ours(each.parent, folder.name, each.fd):
                raise names.NameReplacedError(folder.name)
            os.rmdir(folder.name, dir_fd=each.parent)
        except OSError as error:
            where = self._give_name_back(each)
            # Where a directory in it could not be removed, that one's fault is told, and this one has none.
            if where or not folder.staying:
                self.fail(folder, f"failed:remove:{errno_name(error)}", f"remove failed: {error.strerror}{where}")
            self._tally.directories_left += 1
            if parent is not None:
                parent.staying += 1
            return
        self._tally.directories_removed += 1
        if parent is not None and parent.settled is not None:
            parent.settled.discard(folder.inode)

    def _flush(self, leaving: Iterable[_Leaving]) -> None:
        """Make the names lasting, with one flush of the file system where that will do."""
        parents = {each.parent: each.folder for each in leaving}
        if self._shares and len(parents) >= SHARED_FROM:
            try:
                calls.sync_file_system(self._above)
                os.fsync(next(iter(parents)))
            except OSError:
                pass  # Which of them it is shows below.
            else:
                return
        for parent, folder in parents.items():
            try:
                names.sync_directory(parent)
            except OSError as error:  # noqa: PERF203 - each directory has its own answer.
                self.fail(folder, "directory_not_synced", f"its parent could not be flushed: {error.strerror}")
