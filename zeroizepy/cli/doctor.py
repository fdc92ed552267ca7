"""`doctor`: what this machine gives to secrets, tried and read, not promised."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

import zeroizepy
from zeroizepy import process
from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import ZeroizeError
from zeroizepy.memory import stats

from . import errors
from .console import Output, size_text
from .findings import NOTE, OK, SERIOUS, Finding, find

if TYPE_CHECKING:
    from zeroizepy.values import Protection

__all__ = ["doctor_command", "protection_lines"]

_TRIAL_BYTES = 32
_STYLES = {OK: "green", NOTE: "yellow", SERIOUS: "red"}
_PTRACE_SCOPES = {
    0: "0: processes of the same user may trace each other",
    1: "1: a process may trace its own children",
    2: "2: tracing needs CAP_SYS_PTRACE",
    3: "3: nobody may trace",
}


def protection_lines(protection: Protection) -> list[tuple[str, str, str]]:
    """What a secret was granted, as label, value and style."""

    def granted(given: bool, yes: str, no: str) -> tuple[str, str]:
        return (f"yes, {yes}", "green") if given else (f"no: {no}", "yellow")

    fork = {
        "absent": ("the pages are absent in a child", "green"),
        "wiped": ("a child finds zeros", "green"),
        "inherited": ("a child gets a copy", "yellow"),
    }[protection.fork]
    return [
        ("tier", f"{protection.tier}, in a run of {size_text(protection.page_bytes)}", ""),
        ("backing", protection.backing, "yellow" if protection.backing == "none" else "green"),
        ("locked", *granted(protection.locked, "never swapped", "the system may swap it")),
        ("guarded", *granted(protection.guarded, "inaccessible pages on both sides", "no guard pages")),
        ("core dumps", *granted(protection.dump_excluded, "left out", "a core dump has it")),
        ("fork", *fork),
    ]


def _trial() -> tuple[Protection | None, str | None]:
    """Create a secret and look at what it got: the only proof that memory can be locked here."""
    try:
        cell = CypherCell.generate(_TRIAL_BYTES)
        try:
            return cell.protection, None
        finally:
            cell.wipe()
    except (ZeroizeError, MemoryError, OSError) as error:
        return None, errors.describe(error).fault


def _collect(protection: Protection | None, trial_error: str | None) -> dict[str, Any]:
    facts = process.facts()
    return {
        "zeroizepy": zeroizepy.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libsodium": facts.sodium_version,
        "cpu_aes": facts.cpu_aes,
        "secretmem": facts.secretmem,
        "secretmem_refused_by": facts.secretmem_refused_by,
        "lock_limit": None if facts.lock_limit is None else asdict(facts.lock_limit),
        "lock_budget_bytes": stats().budget_bytes,
        "trial": None if protection is None else asdict(protection),
        "trial_error": trial_error,
        "core_dumps": asdict(facts.core_dumps),
        "swap": None if facts.swap is None else [asdict(area) for area in facts.swap],
        "no_new_privileges": facts.no_new_privileges,
        "ptrace_scope": facts.ptrace_scope,
        "can_lock": protection is not None and protection.locked,
    }


def _limit_text(limit: dict[str, int | None] | None) -> str:
    if limit is None:
        return "unknown on this platform"
    soft, hard = ("unlimited" if value is None else size_text(value) for value in limit.values())
    return soft if soft == hard else f"{soft}, may be raised to {hard}"


def _show_memory(output: Output, found: dict[str, Any], protection: Protection | None) -> None:
    output.title("Memory for secrets")
    refused = {"kernel": "this kernel does not give it", "ZEROIZEPY_BACKEND": "turned off by ZEROIZEPY_BACKEND=mlock"}
    given = "in use" if protection else "given by this kernel, not tried"
    secretmem = given if found["secretmem"] else f"not in use: {refused[found['secretmem_refused_by']]}"
    output.fact("memfd_secret", secretmem, "green" if found["secretmem"] else "yellow")
    output.fact("lock limit", _limit_text(found["lock_limit"]))
    output.fact("lock budget", f"{size_text(found['lock_budget_bytes'])} for secrets")
    granted = f"a secret of {_TRIAL_BYTES} bytes was created:"
    output.fact("trial", granted if protection else f"failed: {found['trial_error']}")
    for label, value, style in protection_lines(protection) if protection else ():
        output.fact(f"  {label}", value, style)


def _show_swap(output: Output, areas: list[dict[str, Any]] | None) -> None:
    if areas is None:
        output.fact("swap", "unknown: /proc/swaps cannot be read", "yellow")
    elif not areas:
        output.fact("swap", "none", "green")
    for area in areas or ():
        kind = "compressed memory (zram)" if area["in_memory"] else "encrypted (dm-crypt)" if area["encrypted"] else ""
        text = f"{area['path']}, {size_text(area['size_bytes'])}, {kind or 'not known to be encrypted'}"
        output.fact("swap", text, "" if kind else "yellow")


def _show_surroundings(output: Output, found: dict[str, Any]) -> None:
    output.title("Around this process")
    core = found["core_dumps"]
    limit = core["limit"]
    is_off = limit is not None and limit["soft_bytes"] == 0
    output.fact("core limit", _limit_text(limit), "green" if is_off else "yellow")
    output.fact("core pattern", core["pattern"] if core["pattern"] is not None else "unknown: cannot be read")
    dumpable = {True: "yes", False: "no", None: "unknown: the system does not tell"}
    output.fact("dumpable", dumpable[core["dumpable"]])
    privileges = {
        True: "cannot gain privileges",
        False: "may gain privileges",
        None: "unknown: the system does not tell",
    }
    output.fact("programs run", privileges[found["no_new_privileges"]])
    _show_swap(output, found["swap"])
    scope = found["ptrace_scope"]
    absent = "not there (no Yama): processes of the same user may trace each other"
    output.fact("ptrace scope", absent if scope is None else _PTRACE_SCOPES.get(scope, str(scope)))


def _show_build(output: Output, found: dict[str, Any]) -> None:
    output.title("Build")
    aes = "yes: AES-256-GCM keys and their schedules never leave locked memory"
    no_aes = "no: OpenSSL does AES-GCM, with key schedules on the ordinary heap"
    output.fact("CPU AES", aes if found["cpu_aes"] else no_aes, "green" if found["cpu_aes"] else "yellow")
    output.fact("libsodium", found["libsodium"])
    output.fact("zeroizepy", found["zeroizepy"])
    output.fact("python", found["python"])
    output.fact("kernel", f"{found['system']} {found['kernel']} {found['machine']}")


def _show_findings(output: Output, findings: list[Finding]) -> None:
    output.title("Findings, and what to change")
    for finding in findings:
        output.fact(finding.topic, f"{finding.severity}: {finding.found}", _STYLES[finding.severity])
        for change in finding.change:
            output.fact("", f"- {change}")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def doctor_command(as_json: bool) -> int:
    """Show what this machine gives: lock limit, backing, core dumps, swap, tracing, CPU; and what to change.

    It speaks of the process it runs in: run it as the user, and in the unit or container, that will hold the secrets.

    \b
    Findings are ok, note or serious. Serious is what breaks the promise itself:
      lock        memory cannot be locked, or less than 48 KiB of it
      swap        unencrypted swap, and secrets that are not locked
      core_dumps  core dumps, and secrets that are not left out of them
    Notes are what could be better; they concern copies that a program makes of
    its secrets, and what root or the same user can read. Encryption below a swap
    device cannot be seen from here, so that swap counts as not encrypted.

    Exit status 1 when something is serious, else 0.
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    protection, trial_error = _trial()
    found = _collect(protection, trial_error)
    findings = find(found)
    if as_json:
        Output().document({**found, "findings": [finding.to_dict() for finding in findings]})
    else:
        output = Output()
        _show_memory(output, found, protection)
        _show_surroundings(output, found)
        _show_build(output, found)
        _show_findings(output, findings)
    serious = [finding for finding in findings if finding.severity == SERIOUS]
    if not serious:
        return 0
    raise errors.Failure("; ".join(finding.found for finding in serious), "; ".join(serious[0].change))
