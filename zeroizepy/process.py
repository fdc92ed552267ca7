"""What the system gives this process: limits, core dumps, swap, who may trace it; and `harden`, which changes some.

`wipe_on_fatal_signals` has a crash wipe all secrets first. `facts` changes nothing.
A fact that the system would not tell is None, never a guess.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ._lib import ffi, lib
from .fatal import FatalSignal, FatalSignalReport, wipe_on_fatal_signals, wiping_signals
from .hardening import (
    HardenPart,
    HardenReport,
    Limit,
    disable_core_dumps,
    harden,
    raise_lock_limit,
    read_dumpable,
    read_limit,
    read_no_new_privileges,
    read_text,
    set_no_new_privileges,
    set_not_dumpable,
)

__all__ = [
    "CoreDumps",
    "FatalSignal",
    "FatalSignalReport",
    "HardenPart",
    "HardenReport",
    "Limit",
    "ProcessFacts",
    "SwapArea",
    "disable_core_dumps",
    "facts",
    "harden",
    "raise_lock_limit",
    "set_no_new_privileges",
    "set_not_dumpable",
    "wipe_on_fatal_signals",
    "wiping_signals",
]


@dataclass(frozen=True, slots=True)
class CoreDumps:
    """Where the memory of this process would go if it crashed.

    Attributes:
        limit: RLIMIT_CORE. A soft limit of 0 stops core files, but not always a program that `pattern` pipes to.
        pattern: /proc/sys/kernel/core_pattern: a file name, or a program after "|"; None when it cannot be read.
        dumpable: Whether the kernel dumps this process at all: False only for PR_GET_DUMPABLE 0, when only root may
            trace it, too. None off Linux.
    """

    limit: Limit | None
    pattern: str | None
    dumpable: bool | None


@dataclass(frozen=True, slots=True)
class SwapArea:
    """One line of /proc/swaps.

    Attributes:
        path: Device or file.
        size_bytes, used_bytes: As the kernel counts them.
        in_memory: A zram device, compressed memory; it can still have a backing device.
        encrypted: True for a device-mapper target that says it is dm-crypt; otherwise None, because a layer below can
            encrypt without saying so here.
    """

    path: str
    size_bytes: int
    used_bytes: int
    in_memory: bool
    encrypted: bool | None


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What `facts` found.

    Attributes:
        lock_limit: RLIMIT_MEMLOCK, after zeroizepy raised the soft limit to the hard one; None where there is none.
        core_dumps: See CoreDumps.
        swap: Areas in use, for the whole system; None when /proc/swaps cannot be read. In a container they are the
            host's, if it shows them.
        no_new_privileges: Whether no thread can gain privileges by executing a program; None when the system is silent.
        ptrace_scope: 0 to 3, from the Yama security module; None when the kernel does not have it, and then processes
            of the same user may trace each other.
        cpu_aes: Whether libsodium does AES-256-GCM on this CPU.
        secretmem: Whether new secrets are put on memfd_secret pages.
        secretmem_refused_by: "kernel", "ZEROIZEPY_BACKEND", or None when it is in use.
    """

    lock_limit: Limit | None
    core_dumps: CoreDumps
    swap: tuple[SwapArea, ...] | None
    no_new_privileges: bool | None
    ptrace_scope: int | None
    cpu_aes: bool
    secretmem: bool
    secretmem_refused_by: str | None

    @property
    def sodium_version(self) -> str:
        """The version of the libsodium that is linked in."""
        return str(ffi.string(lib.zpy_sodium_version()).decode())


def _is_encrypted(path: str) -> bool | None:
    device = os.path.basename(os.path.realpath(path))
    uuid = read_text(f"/sys/class/block/{device}/dm/uuid")
    return True if uuid is not None and uuid.startswith("CRYPT-") else None


def parse_swaps(text: str) -> tuple[SwapArea, ...]:
    """Turn the text of /proc/swaps into areas; sizes there are in KiB, and blanks in paths are octal escapes."""
    areas = []
    for line in text.splitlines()[1:]:
        path, _kind, size, used = line.split()[:4]
        path = path.replace("\\040", " ").replace("\\011", "\t")
        is_zram = os.path.basename(path).startswith("zram") and path.startswith("/dev/")
        areas.append(SwapArea(path, int(size) * 1024, int(used) * 1024, is_zram, _is_encrypted(path)))
    return tuple(areas)


def facts() -> ProcessFacts:
    """Look at the limits and settings that decide where secrets of this process can end up.

    Does not reach: the hypervisor, the firmware, and settings of a container's host that /proc does not show.
    """
    swaps = read_text("/proc/swaps")
    scope = read_text("/proc/sys/kernel/yama/ptrace_scope")
    dumpable = read_dumpable()
    core_dumps = CoreDumps(
        read_limit("RLIMIT_CORE"),
        read_text("/proc/sys/kernel/core_pattern"),
        None if dumpable is None else dumpable != 0,
    )
    secretmem = bool(lib.zpy_backing_kind() == lib.ZPY_BACKING_SECRETMEM)
    opted_out = os.environ.get("ZEROIZEPY_BACKEND") == "mlock"
    return ProcessFacts(
        lock_limit=read_limit("RLIMIT_MEMLOCK"),
        core_dumps=core_dumps,
        swap=None if swaps is None else parse_swaps(swaps),
        no_new_privileges=read_no_new_privileges(),
        ptrace_scope=int(scope) if scope is not None and scope.isdigit() else None,
        cpu_aes=lib.zpy_has_aes() == 1,
        secretmem=secretmem,
        secretmem_refused_by=None if secretmem else "ZEROIZEPY_BACKEND" if opted_out else "kernel",
    )
