"""The removal of a batch in its thread: waited for to its end, however it is interrupted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from zeroizepy.shred.removal import Removal

if TYPE_CHECKING:
    from zeroizepy.shred.batch import Batch


class Played:
    """Stands for a batch, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self.fault: BaseException | None = None

    def remove(self) -> None:
        """Take a while when the test wants that, and end with a fault when it has one."""
        assert self.may_end.wait(60)
        self.told.append("removed")
        if self.fault is not None:
            raise self.fault

    def stop(self) -> None:
        """Let the removal end."""
        self.told.append("stopped")
        self.may_end.set()

    def abandon(self) -> None:
        """It never began."""
        self.told.append("abandoned")


def removal_of(batch: Played) -> Removal:
    """A removal that is not started."""
    return Removal(cast("Batch", batch))


def test_it_is_waited_for() -> None:
    """After `join` the batch is removed; a second one returns at once."""
    batch = Played()
    removal = removal_of(batch)
    removal.start()
    removal.join()
    removal.join()
    removal.stop()
    assert batch.told == ["removed", "stopped"]


def test_its_fault_is_raised_by_whoever_waits() -> None:
    """Not in the thread, where nobody would hear of it; `stop` swallows it."""
    batch = Played()
    batch.fault = MemoryError()
    removal = removal_of(batch)
    removal.start()
    with pytest.raises(MemoryError):
        removal.join()
    removal.stop()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_thread(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """Without a thread the caller does the work; when the start is interrupted, the batch is given up, once."""

    def refused(_thread: threading.Thread) -> None:
        raise error

    batch = Played()
    removal = removal_of(batch)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        if error is RuntimeError:
            removal.start()
        else:
            with pytest.raises(KeyboardInterrupt):
                removal.start()
    removal.join()
    removal.stop()
    assert batch.told == ["removed" if error is RuntimeError else "abandoned", "stopped"]


def test_a_thread_that_comes_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the batch was given up its descriptors are closed: a thread that still begins must not use them."""
    late: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        late.append(thread)
        raise KeyboardInterrupt

    batch = Played()
    removal = removal_of(batch)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            removal.start()
    removal.stop()
    late[0].start()
    late[0].join()
    assert batch.told == ["stopped", "abandoned"]


def test_an_interrupted_wait_goes_on_to_the_end() -> None:
    """Ctrl-C tells the batch to stop, and is raised when the thread has ended."""
    batch = Played()
    batch.may_end.clear()
    removal = removal_of(batch)
    removal.start()
    running: Any = removal._running

    class Interrupting:
        """A lock at which Ctrl-C arrives first."""

        def __init__(self) -> None:
            self.is_first = True

        def acquire(self) -> bool:
            """Be interrupted once, and wait then."""
            if self.is_first:
                self.is_first = False
                raise KeyboardInterrupt
            return bool(running.acquire())

        def release(self) -> None:
            """As the lock itself."""
            running.release()

    removal._running = cast("Any", Interrupting())
    with pytest.raises(KeyboardInterrupt):
        removal.join()
    assert batch.told == ["stopped", "removed"]
