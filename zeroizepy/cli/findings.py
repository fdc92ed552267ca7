"""What `doctor` makes of the facts: how much each matters, and what to change where it is weak.

Severity is sober: "serious" is only what defeats the library's own promise (a secret that cannot be locked, or that
swap or a core dump would get); "note" is what can be better, such as what happens to copies made of a secret.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from .console import size_text

__all__ = ["LEAST_BUDGET_BYTES", "NOTE", "OK", "SERIOUS", "Finding", "find"]

OK, NOTE, SERIOUS = "ok", "note", "serious"
LEAST_BUDGET_BYTES = 48 << 10  # What a lock limit of 64 KiB leaves.
_ROOMY_BUDGET_BYTES = 1 << 20

_RAISE_LIMIT = (
    "login: a memlock line in /etc/security/limits.conf, or ulimit -l as root before; the hard limit is what counts",
    "systemd: LimitMEMLOCK=64M in the unit's [Service] section",
    "docker: --ulimit memlock=67108864:67108864 (bytes)",
)
_NO_DUMPS = (
    "in the program: zeroizepy.process.harden()",
    "shell: ulimit -c 0; systemd: LimitCORE=0; docker: --ulimit core=0",
)
_ENCRYPT_SWAP = (
    "host: swapoff -a, and take it out of /etc/fstab",
    "host: or encrypt it: a line 'swap DEVICE /dev/urandom swap' in /etc/crypttab, and /dev/mapper/swap in /etc/fstab",
    "systemd: MemorySwapMax=0 keeps one service out of swap; docker: --memory-swap equal to --memory",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One topic and how it stands.

    Attributes:
        topic: A stable name: "lock", "swap", "core_dumps", "tracing", "secretmem", "fork" or "cpu_aes".
        severity: "ok", "note" or "serious".
        found: What was found, with values.
        change: What to change and how, each on its own; empty when nothing need be.
    """

    topic: str
    severity: str
    found: str
    change: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**asdict(self), "change": list(self.change)}


def _lock(facts: dict[str, Any]) -> Finding:
    budget_bytes = facts["lock_budget_bytes"]
    raise_it: tuple[str, ...] = _RAISE_LIMIT
    if os.environ.get("ZEROIZEPY_LOCK_BUDGET"):
        raise_it = ("unset ZEROIZEPY_LOCK_BUDGET, or set it higher", *_RAISE_LIMIT)
    if not facts["can_lock"]:
        reason = facts["trial_error"] or "the system granted no lock"
        return Finding("lock", SERIOUS, f"memory cannot be locked: {reason}", raise_it)
    text = f"{size_text(budget_bytes)} may be locked"
    if budget_bytes < LEAST_BUDGET_BYTES:
        return Finding("lock", SERIOUS, f"only {text}, less than {size_text(LEAST_BUDGET_BYTES)}", raise_it)
    if budget_bytes < _ROOMY_BUDGET_BYTES:
        return Finding("lock", NOTE, f"{text}: large and isolated secrets soon use it up", raise_it)
    return Finding("lock", OK, text)


def _swap(facts: dict[str, Any]) -> Finding:
    if facts["swap"] is None:
        return Finding("swap", NOTE, "not known: /proc/swaps cannot be read", ("look at 'swapon --show' on the host",))
    if not facts["swap"]:
        return Finding("swap", OK, "no swap is in use")
    plain = [area["path"] for area in facts["swap"] if not (area["in_memory"] or area["encrypted"])]
    if not plain:
        return Finding("swap", OK, "swap is encrypted (dm-crypt) or compressed memory (zram)")
    where = f"swap that is not known to be encrypted: {', '.join(plain)}"
    trial = facts["trial"]
    if trial is not None and not trial["locked"]:
        return Finding("swap", SERIOUS, f"{where}, and secrets are not locked", (*_ENCRYPT_SWAP, *_RAISE_LIMIT))
    return Finding("swap", NOTE, f"{where}; locked secrets never go there, copies made of them may", _ENCRYPT_SWAP)


def _core_dumps(facts: dict[str, Any]) -> Finding:
    core, trial = facts["core_dumps"], facts["trial"]
    pattern, limit = core["pattern"] or "", core["limit"]
    is_piped = pattern.startswith("|")
    is_limited = limit is not None and limit["soft_bytes"] == 0
    if core["dumpable"] is False:
        return Finding("core_dumps", OK, "this process is not dumpable")
    if is_limited and not is_piped:
        return Finding("core_dumps", OK, "the limit is 0")
    change = _NO_DUMPS
    if is_piped:
        change = (
            "in the program: zeroizepy.process.harden(); a limit of 0 does not stop a program that dumps are piped to",
            "host: sysctl kernel.core_pattern=core; where systemd-coredump takes them: Storage=none in coredump.conf",
        )
    where = f"go to {pattern[1:].split(' ')[0]}" if is_piped else "are written"
    left_out = trial is None or trial["dump_excluded"] or trial["backing"] == "memfd_secret"
    if not left_out:
        return Finding("core_dumps", SERIOUS, f"core dumps {where}, with secrets in them", change)
    return Finding("core_dumps", NOTE, f"core dumps {where}; secrets are left out, copies made of them are not", change)


def _tracing(facts: dict[str, Any]) -> Finding:
    if facts["core_dumps"]["dumpable"] is False:
        return Finding("tracing", OK, "this process is not dumpable: root alone may trace it")
    if (facts["ptrace_scope"] or 0) > 0:
        return Finding("tracing", OK, f"kernel.yama.ptrace_scope is {facts['ptrace_scope']}")
    change: tuple[str, ...] = ("in the program: zeroizepy.process.harden()",)
    if facts["ptrace_scope"] is not None:
        change = (*change, "host: sysctl kernel.yama.ptrace_scope=1, kept in /etc/sysctl.d")
    else:
        change = (*change, "host: a kernel with Yama (lsm= boot parameter), then sysctl kernel.yama.ptrace_scope=1")
    return Finding("tracing", NOTE, "processes of the same user may read this one's memory", change)


def _not_tried(topic: str) -> Finding:
    """Nothing can be said of secrets where none can be made."""
    return Finding(topic, NOTE, "not known: no secret could be created", ("mend what 'lock' says first",))


def _secretmem(facts: dict[str, Any]) -> Finding:
    if facts["secretmem"] and facts["trial"] is None:
        return _not_tried("secretmem")
    if facts["secretmem"]:
        return Finding("secretmem", OK, "secrets are on memfd_secret pages, which root cannot read through /proc")
    if facts["secretmem_refused_by"] == "ZEROIZEPY_BACKEND":
        change: tuple[str, ...] = ("unset ZEROIZEPY_BACKEND, unless this machine hibernates",)
    else:
        change = (
            "host: Linux 5.14 or later with CONFIG_SECRETMEM, and the boot parameter secretmem.enable=1",
            "container: a seccomp profile that allows memfd_secret",
        )
    return Finding("secretmem", NOTE, "no memfd_secret: root and debuggers can read locked secrets", change)


def _fork(facts: dict[str, Any]) -> Finding:
    trial = facts["trial"]
    if trial is None:
        return _not_tried("fork")
    if trial["fork"] != "inherited":
        return Finding("fork", OK, "forked children do not get secrets")
    change = ("Linux 4.14 or later, with MADV_WIPEONFORK",)
    return Finding("fork", NOTE, "a forked child gets a copy until its fork handler has run", change)


def _cpu_aes(facts: dict[str, Any]) -> Finding:
    if facts["cpu_aes"]:
        return Finding("cpu_aes", OK, "AES-256 keys and their schedules never leave locked memory")
    text = "no AES instructions: OpenSSL keeps key schedules on the ordinary heap"
    return Finding("cpu_aes", NOTE, text, ("a CPU, or a virtual machine's CPU type, that has AES-NI and PCLMUL",))


def find(facts: dict[str, Any]) -> list[Finding]:
    """Judge what `doctor` collected, always the same topics in the same order.

    Does not reach: what the process that will hold the secrets does and is given: run `doctor` as that user, in that
    unit or container.
    """
    judges = (_lock, _swap, _core_dumps, _tracing, _secretmem, _fork, _cpu_aes)
    return [judge(facts) for judge in judges]
