"""What `doctor` makes of its facts: severities, remedies, exit status, JSON."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from zeroizepy.cli.findings import find

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    Cli = Callable[..., Any]

TOPICS = ["lock", "swap", "core_dumps", "tracing", "secretmem", "fork", "cpu_aes"]
DISK = {"path": "/dev/sda2", "size_bytes": 1 << 30, "used_bytes": 0, "in_memory": False, "encrypted": None}
# A machine on which nothing can be better.
FACTS: dict[str, Any] = {
    "cpu_aes": True,
    "secretmem": True,
    "secretmem_refused_by": None,
    "lock_limit": {"soft_bytes": 8 << 20, "hard_bytes": 8 << 20},
    "lock_budget_bytes": 6 << 20,
    "trial": {"locked": True, "dump_excluded": True, "backing": "memfd_secret", "fork": "absent"},
    "trial_error": None,
    "core_dumps": {"limit": {"soft_bytes": 0, "hard_bytes": 0}, "pattern": "core", "dumpable": True},
    "swap": [],
    "ptrace_scope": 1,
    "can_lock": True,
}
UNLIMITED = {"soft_bytes": None, "hard_bytes": None}
NOT_LOCKED = {"locked": False, "dump_excluded": True, "backing": "none", "fork": "wiped"}
IN_DUMPS = {"locked": True, "dump_excluded": False, "backing": "mlock", "fork": "wiped"}
INHERITED = {"locked": True, "dump_excluded": True, "backing": "mlock", "fork": "inherited"}


def judged(changes: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Topic to severity and, in one text, what to change; for the good machine with changes, given as "a.b" paths."""
    facts = copy.deepcopy(FACTS)
    for path, value in changes.items():
        *outer, name = path.split(".")
        place = facts
        for step in outer:
            place = place[step]
        place[name] = value
    findings = find(facts)
    assert [finding.topic for finding in findings] == TOPICS
    assert all(bool(finding.change) == (finding.severity != "ok") for finding in findings)
    return {finding.topic: (finding.severity, "\n".join(finding.change)) for finding in findings}


@pytest.fixture(autouse=True)
def no_budget_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable changes the remedies."""
    monkeypatch.delenv("ZEROIZEPY_LOCK_BUDGET", raising=False)


def test_good_machine() -> None:
    """Everything is ok, and nothing need be changed."""
    assert set(judged({}).values()) == {("ok", "")}


@pytest.mark.parametrize(
    ("changes", "topic", "severity", "remedy"),
    [
        ({"can_lock": False, "trial": None, "trial_error": "no"}, "lock", "serious", "LimitMEMLOCK="),
        ({"can_lock": False, "trial": NOT_LOCKED}, "lock", "serious", "--ulimit memlock="),
        ({"lock_budget_bytes": (48 << 10) - 1}, "lock", "serious", "ulimit -l"),
        ({"lock_budget_bytes": 64 << 10}, "lock", "note", "LimitMEMLOCK="),
        ({"lock_budget_bytes": 1 << 20}, "lock", "ok", ""),
        ({"swap": None}, "swap", "note", "swapon"),
        ({"swap": [DISK]}, "swap", "note", "/etc/crypttab"),
        ({"swap": [DISK | {"encrypted": True}]}, "swap", "ok", ""),
        ({"swap": [DISK | {"in_memory": True}]}, "swap", "ok", ""),
        ({"swap": [DISK | {"encrypted": True}, DISK]}, "swap", "note", "MemorySwapMax=0"),
        ({"swap": [DISK], "trial": NOT_LOCKED, "can_lock": False}, "swap", "serious", "swapoff"),
        ({"swap": [DISK | {"encrypted": True}], "trial": NOT_LOCKED}, "swap", "ok", ""),
        ({"core_dumps.limit": UNLIMITED}, "core_dumps", "note", "LimitCORE=0"),
        ({"core_dumps.pattern": "|/bin/collect %p"}, "core_dumps", "note", "kernel.core_pattern"),
        ({"core_dumps.pattern": "|/bin/collect", "core_dumps.dumpable": False}, "core_dumps", "ok", ""),
        ({"core_dumps.limit": UNLIMITED, "trial": IN_DUMPS}, "core_dumps", "serious", "harden()"),
        ({"core_dumps.limit": None}, "core_dumps", "note", "harden()"),
        ({"trial": IN_DUMPS}, "core_dumps", "ok", ""),
        ({"ptrace_scope": 0}, "tracing", "note", "kernel.yama.ptrace_scope=1"),
        ({"ptrace_scope": None}, "tracing", "note", "Yama"),
        ({"ptrace_scope": None, "core_dumps.dumpable": False}, "tracing", "ok", ""),
        ({"secretmem": False, "secretmem_refused_by": "kernel"}, "secretmem", "note", "secretmem.enable=1"),
        ({"secretmem": False, "secretmem_refused_by": "ZEROIZEPY_BACKEND"}, "secretmem", "note", "ZEROIZEPY_BACKEND"),
        ({"trial": INHERITED}, "fork", "note", "MADV_WIPEONFORK"),
        ({"cpu_aes": False}, "cpu_aes", "note", "AES-NI"),
    ],
)
def test_each_finding(changes: dict[str, Any], topic: str, severity: str, remedy: str) -> None:
    """One thing off is one finding, of this severity, with the setting to change."""
    found = judged(changes)
    assert found[topic][0] == severity
    assert remedy in found[topic][1]
    related = {"swap": {"lock"}, "lock": {"swap"}}.get(topic, set()) if "trial" in changes else set()
    if changes.get("trial", FACTS) is None:  # Nothing is known of where secrets are.
        related |= {"secretmem", "fork"}
    assert {name for name in TOPICS if found[name][0] != "ok"} <= {topic, *related}


def test_nothing_is_claimed_of_secrets_where_none_can_be_made() -> None:
    """Without a trial secret nothing says where secrets are, or what a child gets of them."""
    found = judged({"can_lock": False, "trial": None, "trial_error": "Failed to lock memory"})
    assert {topic: severity for topic, (severity, _) in found.items() if severity != "ok"} == {
        "lock": "serious",
        "secretmem": "note",
        "fork": "note",
    }


def test_own_budget_is_named_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget from the environment is not mended by a higher limit."""
    monkeypatch.setenv("ZEROIZEPY_LOCK_BUDGET", "4096")
    assert judged({"lock_budget_bytes": 4096})["lock"][1].startswith("unset ZEROIZEPY_LOCK_BUDGET")


# ---- the command ----


def test_json_findings_and_status(cli: Cli) -> None:
    """Status 0 exactly when nothing is serious; each finding has these keys."""
    result = cli("doctor", "--json")
    findings = json.loads(result.out)["findings"]
    assert [finding["topic"] for finding in findings] == TOPICS
    assert all(list(finding) == ["topic", "severity", "found", "change"] for finding in findings)
    assert (result.status == 1) == any(finding["severity"] == "serious" for finding in findings)


@pytest.mark.usefixtures("kernel_settings")  # It asks twice.
def test_text_shows_every_finding(cli: Cli) -> None:
    """Each finding and each change of the JSON form has its line."""
    result = cli("doctor")
    for finding in json.loads(cli("doctor", "--json").out)["findings"]:
        assert f"{finding['severity']}: {finding['found']}" in result.out
        assert all(f"- {change}" in result.out for change in finding["change"])


def test_small_budget_is_serious(cli: Cli) -> None:
    """Less than 48 KiB: status 1, in both forms, with the facts on stdout and the reason on stderr."""
    for form in ([], ["--json"]):
        result = cli("doctor", *form, ZEROIZEPY_LOCK_BUDGET="40960")
        assert result.status == 1
        first, second = result.errors()
        assert first == "zeroizepy: error: only 40.0 KiB may be locked, less than 48.0 KiB"
        assert second.startswith("zeroizepy: hint: unset ZEROIZEPY_LOCK_BUDGET")
        assert "lock" in result.out
    assert cli("doctor", ZEROIZEPY_LOCK_BUDGET="49152").status == 0


def test_help_says_what_is_serious(cli: Cli) -> None:
    """Severities and the exit status stand where the user looks."""
    text = " ".join(cli("doctor", "--help").out.split())
    for words in ("less than 48 KiB", "unencrypted swap, and secrets that are not locked", "Exit status 1 when"):
        assert words in text


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl")
def test_hardened_process_is_found_so(tmp_path: Path) -> None:
    """In a process that hardened itself the kernel's answers change the findings."""
    code = (
        "import sys; from zeroizepy import process; process.harden(no_new_privileges=True)\n"
        "sys.argv = ['zeroizepy', 'doctor', '--json']\n"
        "from zeroizepy.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ZEROIZEPY_")},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["core_dumps"]["dumpable"], found["no_new_privileges"]) == (False, True)
    severities = {finding["topic"]: finding["severity"] for finding in found["findings"]}
    assert (severities["core_dumps"], severities["tracing"]) == ("ok", "ok")
