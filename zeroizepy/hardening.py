"""Changes to this process that keep its memory from others; `zeroizepy.process` is where users find them.

Each part asks the kernel for one change and then reads back what holds: `done` is the kernel's word, not ours.
"""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, dataclass
from typing import Any

from ._lib import ffi, lib

__all__ = [
    "HardenPart",
    "HardenReport",
    "Limit",
    "disable_core_dumps",
    "harden",
    "raise_lock_limit",
    "read_dumpable",
    "read_limit",
    "read_no_new_privileges",
    "read_text",
    "set_no_new_privileges",
    "set_not_dumpable",
]


@dataclass(frozen=True, slots=True)
class Limit:
    """A resource limit in bytes; None means unlimited.

    Attributes:
        soft_bytes: What is enforced.
        hard_bytes: What an unprivileged process may raise it to.
    """

    soft_bytes: int | None
    hard_bytes: int | None


@dataclass(frozen=True, slots=True)
class HardenPart:
    """One part of hardening: what was asked for, and what the kernel says now.

    Attributes:
        name: "core_dumps", "dumpable", "no_new_privileges" or "lock_limit".
        asked: Whether it was to be changed.
        done: Whether it was asked for and holds now, as read back after the call; also when it held before.
        before, after: What was read: a Limit for the limits, PR_GET_DUMPABLE's 0 (no), 1 (yes) or 2 (by root alone) for
            "dumpable", a bool for "no_new_privileges"; None when the system does not tell.
        errno: Of the call that failed, else None.
        detail: One sentence: the failure and its remedy, or what the part does not reach here.
    """

    name: str
    asked: bool
    done: bool
    before: Limit | int | None
    after: Limit | int | None
    errno: int | None
    detail: str

    def __str__(self) -> str:
        state = "done" if self.done else "NOT DONE" if self.asked else "not asked for"
        return f"{self.name}: {state}: {self.detail}"


@dataclass(frozen=True, slots=True)
class HardenReport:
    """What `harden` did, part by part; `str` of it is one line for each.

    Attributes:
        core_dumps, dumpable, no_new_privileges, lock_limit: The parts.
        lock_budget_bytes: How many bytes zeroizepy may lock now.
    """

    core_dumps: HardenPart
    dumpable: HardenPart
    no_new_privileges: HardenPart
    lock_limit: HardenPart
    lock_budget_bytes: int

    @property
    def parts(self) -> tuple[HardenPart, ...]:
        """All four, in the order in which they were carried out."""
        return (self.core_dumps, self.dumpable, self.no_new_privileges, self.lock_limit)

    @property
    def complete(self) -> bool:
        """Whether every part that was asked for is done."""
        return all(part.done for part in self.parts if part.asked)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it: each part by its name, `complete`, and `lock_budget_bytes`."""
        return {**asdict(self), "complete": self.complete}

    def __str__(self) -> str:
        return "\n".join(map(str, self.parts))


def read_text(path: str) -> str | None:
    """The stripped text of one of the system's files; None when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return None


def read_limit(name: str) -> Limit | None:
    """A limit of this process.

    Args:
        name: As in "RLIMIT_CORE".

    Returns:
        None when this platform has no such limit.
    """
    try:
        import resource
    except ImportError:  # Windows.
        return None
    if not hasattr(resource, name):
        return None
    soft, hard = (
        None if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(getattr(resource, name))
    )
    return Limit(soft, hard)


def read_dumpable() -> int | None:
    """PR_GET_DUMPABLE: 0 no, 1 yes, 2 by root alone; None off Linux and when the kernel does not tell.

    Source: prctl(2) and proc_sys_fs(5), suid_dumpable.
    """
    value = int(lib.zpy_process_dumpable())
    return value if value >= 0 else None


def _threads_without() -> tuple[int, int] | None:
    """How many threads may still gain privileges, and how many there are; None when the system does not tell."""
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return None
    texts = [read_text(f"/proc/self/task/{thread}/status") for thread in threads]
    # A thread that ended meanwhile has no text and no matter; an old kernel has the text without the line.
    flags = [line.split()[1] for text in texts for line in (text or "").splitlines() if line.startswith("NoNewPrivs:")]
    return (flags.count("0"), len(flags)) if flags else None


def read_no_new_privileges() -> bool | None:
    """Whether no thread of this process can gain privileges by executing a program; None when the system is silent.

    Source: proc_pid_status(5), NoNewPrivs, of each thread, since each has its own.
    """
    found = _threads_without()
    return None if found is None else found[0] == 0


def _set_limit(name: str, soft: int | None, hard: int | None) -> int | None:
    """Set a limit; returns None, or the errno of the refusal."""
    import resource

    pair = tuple(resource.RLIM_INFINITY if value is None else value for value in (soft, hard))
    try:
        resource.setrlimit(getattr(resource, name), pair)  # type: ignore[arg-type, unused-ignore]
    except OSError as error:
        return error.errno
    except ValueError:  # What Python makes of EPERM and EINVAL; only the first can come of lowering or of soft = hard.
        return errno.EPERM
    return None


def _status_errno(status: int) -> int | None:
    """The errno behind a status code of a zpy_process_ function, right after the call."""
    if status == lib.ZPY_OK:
        return None
    return int(ffi.errno) if status == lib.ZPY_SYSTEM else errno.ENOSYS


def _refused(number: int | None, what: str) -> str:
    return f"{what} cannot be confirmed" if number is None else f"{what} failed: {os.strerror(number)}"


def _absent(name: str, asked: bool, text: str) -> HardenPart:
    number = errno.ENOSYS if asked else None
    return HardenPart(name, asked, done=False, before=None, after=None, errno=number, detail=text)


def disable_core_dumps(*, asked: bool = True) -> HardenPart:
    """Set RLIMIT_CORE to 0, soft and hard: a crash leaves no core file. Programs started later inherit it.

    Args:
        asked: False only reports what holds.

    Does not reach: a program that kernel.core_pattern pipes dumps to, which the kernel starts whatever the limit is, if
    the process is dumpable (see `set_not_dumpable`); and debuggers that write dumps of their own.

    Source: core(5).
    """
    before = read_limit("RLIMIT_CORE")
    if before is None:
        return _absent("core_dumps", asked, "this platform has no limit for core files")
    number = _set_limit("RLIMIT_CORE", 0, 0) if asked else None
    after = read_limit("RLIMIT_CORE")
    done = asked and after == Limit(0, 0)
    pattern = read_text("/proc/sys/kernel/core_pattern")
    text = "the limit for core files was left alone"
    if asked:
        text = "no core file is written" if done else _refused(number, "setting RLIMIT_CORE to 0")
    if done and pattern is not None and pattern.startswith("|"):
        text = "the limit is 0, but kernel.core_pattern names a program, which dumps what is dumpable all the same"
    return HardenPart("core_dumps", asked, done, before, after, number, text)


def set_not_dumpable(*, asked: bool = True) -> HardenPart:
    """Have the kernel write no core dump of this process, be it to a file or a program, and let only root trace it.

    Other processes of the same user can no longer open its /proc/PID/mem, environ and the like; for an ordinary user
    that goes for the process itself, too. Forked children inherit it.

    Args:
        asked: False only reports what holds.

    Does not reach: root, and whoever has CAP_SYS_PTRACE; tracers that are attached already; the time after `execve` or
    a change of user or group IDs, both of which set it anew: call this after dropping privileges.

    Source: prctl(2), PR_SET_DUMPABLE.
    """
    before = read_dumpable()
    number = _status_errno(lib.zpy_process_set_dumpable(0)) if asked else None
    after = read_dumpable()
    done = asked and after == 0
    text = "whether it can be dumped and traced was left alone"
    if asked:
        text = "not dumped, and traced by root alone" if done else _refused(number, "clearing the dumpable flag")
    return HardenPart("dumpable", asked, done, before, after, number, text)


def set_no_new_privileges(*, asked: bool = True) -> HardenPart:
    """Keep what this process executes from gaining privileges through set-user-ID, set-group-ID or file capabilities.

    It cannot be taken back, is inherited, and breaks sudo, su and ping where they rely on such bits.

    Args:
        asked: False only reports what holds.

    Does not reach: threads that run already, since each has a flag of its own: call this before any is started. `done`
    is False as long as one lacks it.

    Source: prctl(2), PR_SET_NO_NEW_PRIVS; proc_pid_status(5).
    """
    before = read_no_new_privileges()
    number = _status_errno(lib.zpy_process_set_no_new_privileges()) if asked else None
    left = _threads_without()
    after = None if left is None else left[0] == 0
    done = asked and after is True
    text = "what executed programs may gain was left alone"
    if done:
        text = "executed programs gain no privileges"
    elif asked and number is None and left is not None:
        text = f"{left[0]} of {left[1]} threads ran before and lack it; call this before threads are started"
    elif asked:
        text = _refused(number, "setting no_new_privs")
    return HardenPart("no_new_privileges", asked, done, before, after, number, text)


def raise_lock_limit(*, asked: bool = True) -> HardenPart:
    """Raise the soft RLIMIT_MEMLOCK to the hard one, and have zeroizepy's lock budget follow the limit as it is now.

    Importing zeroizepy does the same; this is for a limit changed since then (`prlimit --memlock`, `setrlimit`).
    A budget from ZEROIZEPY_LOCK_BUDGET stays. Memory that is locked already stays locked, under a lower limit, too.

    Args:
        asked: False only reports what holds.

    Does not reach: the hard limit, which takes CAP_SYS_RESOURCE or whoever starts the process: systemd's LimitMEMLOCK=,
    docker's --ulimit memlock=, limits.conf.

    Source: getrlimit(2).
    """
    before = read_limit("RLIMIT_MEMLOCK")
    if before is None:
        return _absent("lock_limit", asked, "this platform has no limit for locked memory")
    if not asked:
        text = "the lock limit was left alone"
        return HardenPart("lock_limit", asked, done=False, before=before, after=before, errno=None, detail=text)
    number = None
    if before.soft_bytes != before.hard_bytes:
        number = _set_limit("RLIMIT_MEMLOCK", before.hard_bytes, before.hard_bytes)
    budget_bytes = int(lib.zpy_process_refresh_budget())
    after = read_limit("RLIMIT_MEMLOCK")
    done = after is not None and after.soft_bytes == after.hard_bytes
    text = f"the soft limit is the hard one; the budget is {budget_bytes} bytes"
    if not done:
        text = _refused(number, "raising RLIMIT_MEMLOCK") + f"; the budget is {budget_bytes} bytes"
    return HardenPart("lock_limit", asked, done, before, after, number, text)


def harden(
    *, core_dumps: bool = True, dumpable: bool = True, no_new_privileges: bool = False, lock_limit: bool = True
) -> HardenReport:
    """Close this process to core dumps and tracers, and make room for locked secrets. Call it once, early.

    After dropping privileges (changing IDs makes a process what fs.suid_dumpable says) and before starting threads. A
    part that fails does not keep the others from being tried, and nothing is raised: look at the report's `complete`.

    Args:
        core_dumps: Leave no core files: `disable_core_dumps`.
        dumpable: Take the dumpable flag away: `set_not_dumpable`.
        no_new_privileges: Set no_new_privs, for good: `set_no_new_privileges`. Off, for it breaks sudo and its like.
        lock_limit: Raise the soft lock limit to the hard one: `raise_lock_limit`.

    Returns:
        What was asked, and what the kernel says now, for all four.

    Does not reach: root, other code in this process, swap and hibernation of what is not locked.
    """
    return HardenReport(
        core_dumps=disable_core_dumps(asked=core_dumps),
        dumpable=set_not_dumpable(asked=dumpable),
        no_new_privileges=set_no_new_privileges(asked=no_new_privileges),
        lock_limit=raise_lock_limit(asked=lock_limit),
        lock_budget_bytes=_budget_bytes(),
    )


def _budget_bytes() -> int:
    raw = ffi.new("struct zpy_stats *")
    lib.zpy_stats_read(raw)
    return int(raw.budget_bytes)
