"""The last steps of one batch, in a thread, while the next batch is read and written; what each of both holds."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .steps import FileRun

if TYPE_CHECKING:
    from .batch import Batch, Ticket
    from .walk import Folder, Member

__all__ = ["Load", "Removal", "Taken"]


class Removal:
    """`Batch.remove` in a thread of its own; without a thread to be had, `start` does it.

    Args:
        batch: Overwritten. Nobody else touches it, its files and their directories until `join` has returned.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._fault: BaseException | None = None
        self._is_started = self._is_ended = False
        self._claim = threading.Lock()
        # Plain locks, since an interrupt can leave an Event's own lock behind, taken for ever.
        self._running = threading.Lock()
        self._running.acquire()  # Until the work has ended, whichever thread does it.

    def start(self) -> None:
        """Begin. Called once."""
        try:
            threading.Thread(target=self._work, name="zeroizepy-removal").start()
        except RuntimeError:
            self._work()
        self._is_started = True

    def _work(self) -> None:
        if not self._claim.acquire(blocking=False):
            return  # `start` was interrupted, and `join` came first.
        try:
            self._batch.remove()
        except BaseException as error:  # noqa: BLE001 - raised again by `join`.
            self._fault = error
        finally:
            self._is_ended = True
            self._running.release()

    def join(self) -> None:
        """Wait until it has ended, whatever happens meanwhile: descriptors in use must not be closed. Idempotent.

        Raises:
            KeyboardInterrupt: Ctrl-C; the removal ended before its next step.
            BaseException: What ended it, when that is no failure of a file.
        """
        interrupted: BaseException | None = None
        if not self._is_started and self._claim.acquire(blocking=False):
            self._is_ended = True  # It never began, and never will.
            self._batch.abandon()
        while not self._is_ended:
            try:
                self._running.acquire()
            except BaseException as error:  # noqa: BLE001, PERF203 - raised again below.
                interrupted = error
                self._batch.stop()
        if interrupted is not None:
            raise interrupted
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """End it before its next step, and wait. What ended it is not raised: the caller has something to raise."""
        self._batch.stop()
        try:
            self.join()
        except BaseException:  # noqa: BLE001 - see above.
            return


@dataclass(eq=False, slots=True)
class Taken:
    """A place in the batch, and where the walk met what has it."""

    ticket: Ticket
    member: Member


@dataclass(eq=False, slots=True)
class Load:
    """A batch in the making, or on its way out.

    Attributes:
        taken: Its places.
        inodes: Device and inode of each.
        folders: Their directories, which stay open.
        size_bytes: What a pass over all writes.
        removal: Its last steps, when they are under way.
    """

    taken: deque[Taken] = field(default_factory=deque)
    inodes: set[tuple[int, int]] = field(default_factory=set)
    folders: set[Folder] = field(default_factory=set)
    size_bytes: int = 0
    removal: Removal | None = None

    @property
    def done_bytes(self) -> int:
        """Written and read back."""
        return sum(each.ticket.run.done_bytes for each in self.taken if isinstance(each.ticket.run, FileRun))
