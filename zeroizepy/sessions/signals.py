"""SIGTERM and SIGHUP while a session has files: clean up, then die by that signal.

Only where the signal would end the process without a word: a handler of the program, of asyncio or of
`process.wipe_on_fatal_signals` is left alone, and so is a signal that is ignored, as SIGHUP is under nohup.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from zeroizepy._lib import lib

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["enter", "leave", "restore"]

_NAMES = ("SIGTERM", "SIGHUP")
_WAIT_S = 30.0
"""How long a dying process waits for a session that another thread is using or cleaning up; its journal stays then."""


class Ending(Protocol):
    """What a session is to this module."""

    def release_and_end(self, timeout_s: float) -> list[Exception]:
        """Get rid of everything, as nothing goes on afterwards. Returns what failed."""


_open: dict[int, Ending] = {}
"""The sessions with files, by id. Only changed by single operations, which no other thread can see half done."""


def _watched() -> list[int]:
    return [int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]


def enter(session: Ending) -> None:
    """Take note of a session that has files, and handle the signals when this is the main thread. May be repeated."""
    _open[id(session)] = session
    # The kernel ends process 1 of a container by no signal that has no handler, so neither do we.
    if threading.current_thread() is not threading.main_thread() or os.getpid() == 1:
        return
    for number in _watched():
        if lib.zpy_fatal_disposition(number) == lib.ZPY_SIGNAL_DEFAULT:
            with suppress(ValueError):  # Only the main interpreter may.
                signal.signal(number, _end)


def leave(session: Ending) -> None:
    """Forget a session that has ended, if it was ever noted."""
    _open.pop(id(session), None)
    restore()


def restore() -> None:
    """Give the signals back when no session has files. Only the main thread can; until then our handler ends us."""
    if _open or threading.current_thread() is not threading.main_thread():
        return
    _give_back()


def _give_back() -> None:
    for number in _watched():
        # Where wipe_on_fatal_signals put its own handler before ours, setting another would take that away.
        if signal.getsignal(number) is _end and lib.zpy_fatal_disposition(number) == lib.ZPY_SIGNAL_HANDLED:
            with suppress(ValueError):
                signal.signal(number, signal.SIG_DFL)


# ---- forks ----

# Python drops the signals that reach a child before it has set itself up, if they have a Python handler. Without ours
# they would end the child, and so they must wait until the child has none.
_forking = threading.local()


def _before_fork() -> None:
    ours = [number for number in _watched() if signal.getsignal(number) is _end]
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ours) if ours else None


def _after_fork() -> None:
    mask, _forking.mask = _forking.mask, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    _open.clear()
    _give_back()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


# ---- the signal ----

_dying: list[int] = []


def _end(number: int, _frame: FrameType | None) -> None:
    """Clean up every open session, then die. A second signal meanwhile changes nothing."""
    if _dying:
        return
    _dying.append(number)
    try:
        for session in list(_open.values()):
            for error in session.release_and_end(_WAIT_S):
                _say(f"a session left something behind: {error}")
    except KeyboardInterrupt:
        _say("the clean-up was interrupted; 'zeroizepy recover' or the next session goes on with it")
    finally:
        _die(number)


def _say(text: str) -> None:
    """To stderr past Python's own object, which the interrupted code may be in the middle of using."""
    with suppress(OSError):
        os.write(2, f"zeroizepy: warning: {text}\n".encode("utf-8", "backslashreplace"))


def _die(number: int) -> None:
    """End by this signal, so that the parent sees what it would have seen without us."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # Not reached, unless the kernel spares this process.
