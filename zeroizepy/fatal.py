"""Signals that end the process wipe all secrets first; `zeroizepy.process` is where users find this.

The work is done by a C handler (csrc/zpy_fatal.c): what Python code a signal runs comes too late in a crash, if at all.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._lib import ffi, lib, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FatalSignal", "FatalSignalReport", "wipe_on_fatal_signals", "wiping_signals"]

_FAULTS = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT")
_REQUESTS = ("SIGTERM", "SIGHUP", "SIGQUIT")
_NAMES = _FAULTS + _REQUESTS
_DISPOSITIONS = {
    lib.ZPY_SIGNAL_DEFAULT: "default",
    lib.ZPY_SIGNAL_IGNORED: "ignored",
    lib.ZPY_SIGNAL_HANDLED: "handled",
    lib.ZPY_SIGNAL_WIPES: "wipes",
}


@dataclass(frozen=True, slots=True)
class FatalSignal:
    """One signal: who handled it, and who does now.

    Attributes:
        name: As in "SIGTERM".
        done: Whether it wipes now, as read back from the system.
        before, after: "default", "ignored", "handled" (by somebody else), "wipes" (by us), or None when the system does
            not tell.
        errno: Of the call that failed, else None.
        detail: One sentence: what happens when the signal comes, or why it was left alone.
    """

    name: str
    done: bool
    before: str | None
    after: str | None
    errno: int | None
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {'wipes' if self.done else 'DOES NOT WIPE'}: {self.detail}"


@dataclass(frozen=True, slots=True)
class FatalSignalReport:
    """What `wipe_on_fatal_signals` did; `str` of it is one line for each signal.

    Attributes:
        signals: One for each signal that was asked for, in the order of the docstring there.
        signal_stack: Whether the calling thread has an alternate stack for handlers, on which a stack overflow wipes.
    """

    signals: tuple[FatalSignal, ...]
    signal_stack: bool

    @property
    def complete(self) -> bool:
        """Whether all of them wipe, those aside that are ignored and so end nothing."""
        return all(part.done or part.after == "ignored" for part in self.signals)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it: `signals` by name, `signal_stack`, and `complete`."""
        names = ("done", "before", "after", "errno", "detail")
        signals = {part.name: {name: getattr(part, name) for name in names} for part in self.signals}
        return {"signals": signals, "signal_stack": self.signal_stack, "complete": self.complete}

    def __str__(self) -> str:
        return "\n".join(map(str, self.signals))


def _chosen(signals: Iterable[int] | None) -> list[str]:
    """The names of the signals asked for, in our order; those that this platform lacks are left out of the default."""
    known = {int(getattr(signal, name)): name for name in _NAMES if hasattr(signal, name)}
    if signals is None:
        return list(known.values())
    asked = set()
    for number in signals:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"signals must be signal numbers, such as signal.SIGTERM, not {type(number).__name__}")
        if number not in known:
            raise ValueError(f"signal {shown(int(number))} cannot be made to wipe; these can: {', '.join(_NAMES)}")
        asked.add(known[number])
    return [name for name in known.values() if name in asked]


def _disposition(name: str) -> str | None:
    return _DISPOSITIONS.get(lib.zpy_fatal_disposition(int(getattr(signal, name))))


def _detail(before: str | None, after: str | None, number: int | None) -> str:
    """What a signal does after the call that left it so."""
    if number is not None:
        return f"installing a handler failed: {os.strerror(number)}"
    if after == "wipes":
        then = {"handled": "and then calls the handler that stood before", "wipes": "as before this call"}
        return f"wipes all secrets, {then.get(before or '', 'and then ends the process as it would have')}"
    return {
        "ignored": "it is ignored, and stays so",
        "handled": "the program has a handler of its own, which decides; handled=True wipes before it is called",
        "default": "the kernel does not end process 1 by it",
    }.get(after or "", "who handles it cannot be read")


def _watch(name: str, *, handled: bool) -> FatalSignal:
    before = _disposition(name)
    status = lib.zpy_fatal_watch(int(getattr(signal, name)), int(handled))
    number = None if status == lib.ZPY_OK else int(ffi.errno) if status == lib.ZPY_SYSTEM else errno.ENOSYS
    after = _disposition(name)
    return FatalSignal(name, after == "wipes", before, after, number, _detail(before, after, number))


def wipe_on_fatal_signals(signals: Iterable[int] | None = None, *, handled: bool = False) -> FatalSignalReport:
    """Have the signals that end a process wipe every secret first: cells, secure memory, keys, of every tier.

    What stood before then happens as if nothing had been done. Without a handler the process ends by the same signal,
    with the same core file. A handler (`faulthandler`'s, a Python function's, another library's) is called as it was
    installed, on a process whose secrets are gone: each use of them raises `CellWipedError`, and new ones can be made.
    An ignored signal stays ignored.

    - SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT say that the program is broken, whoever handles them: they wipe, also
      when a handler stood before. Leave out, by `signals`, what a runtime in this process raises and handles in good
      health, as the JVM and some WebAssembly engines do with SIGSEGV.
    - SIGTERM, SIGHUP and SIGQUIT ask a program to end. One with a handler of its own may need its secrets to end in
      good order, or may go on: the signal is left alone, unless `handled`. So it is in process 1 of a container, which
      the kernel does not end by a request that has no handler.

    Call it once, before or after `faulthandler.enable()`: each calls the other. A handler that `signal.signal` sets
    later replaces this one, and so does `faulthandler.disable()` when it was enabled before. `wiping_signals` tells
    what holds; another call sets right what was replaced, and changes nothing else. Forked children inherit it,
    executed programs do not.

    The handler runs on an alternate stack, so that a stack overflow wipes, too: in the calling thread, in a child that
    this forks, and in each other thread from its first use of a secret on.

    Args:
        signals: Some of those named above; None for all.
        handled: Wipe also at a SIGTERM, SIGHUP or SIGQUIT that the program handles, before its handler is called.

    Returns:
        What each signal does now, as read back from the system, in the order above. Nothing is raised for a part that
        fails: look at `complete`.

    Raises:
        TypeError: `signals` has something that is no signal number.
        ValueError: It has a signal that is none of the eight.

    Does not reach: SIGKILL, `os._exit` and other signals; what other threads put into memory, or are copying, while the
    handler runs; what was revealed; registers and stacks of code in the middle of work on a secret, which a core file
    has; stack overflows in threads that never used a secret; Windows.

    Source: sigaction(2), signal-safety(7), sigaltstack(2), rt_sigqueueinfo(2).
    """
    names = _chosen(signals)
    parts = tuple(_watch(name, handled=handled) for name in names)
    return FatalSignalReport(parts, bool(lib.zpy_fatal_has_stack()))


def wiping_signals() -> tuple[signal.Signals, ...]:
    """The signals that wipe all secrets now, as read from the system: another handler may have replaced ours."""
    return tuple(signal.Signals[name] for name in _chosen(None) if _disposition(name) == "wipes")
