"""os_erase: each check in its order, on every platform's command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any, NamedTuple

import pytest

from zeroizepy import os_erase
from zeroizepy.exceptions import (
    OSEraseError,
    OSEraseNotImplemented,
    OSEraseToolMissing,
    OSEraseUnsupported,
    OSEraseValidationError,
    ZeroizeError,
)


class Case(NamedTuple):
    """One function with the platform and program it needs, a good target, and the arguments that would erase."""

    function: Any
    platform: str
    tool: str
    good: str
    arguments: tuple[str, ...]


CASES = [
    Case(
        os_erase.linux_hdparm_secure_erase,
        "linux",
        "hdparm",
        "/dev/sda",
        ("--user-master", "u", "--security-erase", "PASSWORD", "/dev/sda"),
    ),
    Case(os_erase.linux_nvme_secure_erase, "linux", "nvme", "/dev/nvme0n1", ("format", "--ses=1", "/dev/nvme0n1")),
    Case(os_erase.macos_diskutil_secure_erase, "darwin", "diskutil", "disk2", ("secureErase", "0", "disk2")),
    Case(
        os_erase.windows_bitlocker_destroy_volume_keys,
        "win32",
        "manage-bde",
        "D:",
        ("-protectors", "-delete", "D:"),
    ),
]
each_case = pytest.mark.parametrize("case", CASES, ids=[case.function.__name__ for case in CASES])


@pytest.fixture(autouse=True)
def _no_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a function does, it starts nothing here."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_arguments, **_more: pytest.fail("a program was started"))
    monkeypatch.setattr(shutil, "which", lambda program: f"/sbin/{program}")


@each_case
def test_a_valid_request_is_not_carried_out(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """All checks pass, and the error holds the request with the command it would run."""
    monkeypatch.setattr(sys, "platform", case.platform)
    with pytest.raises(OSEraseNotImplemented, match="nothing was erased") as caught:
        case.function(case.good)
    request = caught.value.request
    assert isinstance(request, os_erase.EraseRequest)
    assert (request.tool, request.target) == (f"/sbin/{case.tool}", case.good)
    assert request.argv == (f"/sbin/{case.tool}", *case.arguments)
    assert request.method
    assert request.caution
    assert isinstance(caught.value, NotImplementedError)
    assert isinstance(caught.value, OSEraseError)
    with pytest.raises(FrozenInstanceError):
        request.target = "/dev/sdb"


@each_case
def test_wrong_platform_comes_before_tool_and_path(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """On another platform nothing else is looked at, whatever the path."""
    monkeypatch.setattr(sys, "platform", "linux" if case.platform != "linux" else "darwin")
    monkeypatch.setattr(shutil, "which", lambda _program: pytest.fail("looked for a program"))
    for path in (case.good, "nonsense"):
        with pytest.raises(OSEraseUnsupported, match="runs on") as caught:
            case.function(path)
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, ZeroizeError)


@each_case
def test_missing_tool_comes_before_path(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Without the program the error names it, also for a bad path."""
    monkeypatch.setattr(sys, "platform", case.platform)
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    for path in (case.good, "nonsense"):
        with pytest.raises(OSEraseToolMissing, match=case.tool) as caught:
            case.function(path)
        assert isinstance(caught.value, RuntimeError)


@each_case
@pytest.mark.parametrize("value", [None, 3, b"/dev/sda", ["/dev/sda"]])
def test_wrong_type_comes_first(monkeypatch: pytest.MonkeyPatch, case: Case, value: object) -> None:
    """What is no str is a TypeError on every platform."""
    for current in (case.platform, "other"):
        monkeypatch.setattr(sys, "platform", current)
        with pytest.raises(TypeError, match=f"must be str, not {type(value).__name__}"):
            case.function(value)


BAD = {
    "linux_hdparm_secure_erase": [
        "",
        "sda",
        "/dev/sda1",
        "/dev/sdA",
        "/dev/sd",
        "/dev/sdaaaa",
        "/dev/nvme0n1",
        "/dev/../dev/sda",
        "/dev/disk/by-id/ata-X",
        "/dev/sda\n",
        "/dev/sda;reboot",
        "/dev/sdª",
    ],
    "linux_nvme_secure_erase": [
        "",
        "/dev/nvme0",
        "/dev/nvme0n1p1",
        "/dev/sda",
        "nvme0n1",
        "/dev/nvme0n1\n",
        "/dev/nvme٣n1",
    ],
    "macos_diskutil_secure_erase": ["", "disk", "disk2s1", "/dev/disk2s1", "/dev/sda", "disk2\n", "/Volumes/disk2"],
    "windows_bitlocker_destroy_volume_keys": ["", "C", "C:\\", "CC:", "1:", "c:\n", "Ä:", "\\\\.\\C:"],
}


@pytest.mark.parametrize(
    ("case", "path"),
    [(case, path) for case in CASES for path in BAD[case.function.__name__]],
    ids=lambda value: repr(value)[:40],
)
def test_bad_shapes(monkeypatch: pytest.MonkeyPatch, case: Case, path: str) -> None:
    """Partitions, links, controllers and nonsense are refused, quoting what was given."""
    monkeypatch.setattr(sys, "platform", case.platform)
    with pytest.raises(OSEraseValidationError) as caught:
        case.function(path)
    assert repr(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("disk", ["disk0", "/dev/disk12", "rdisk3", "/dev/rdisk3"])
@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_diskutil_levels(monkeypatch: pytest.MonkeyPatch, disk: str, level: int) -> None:
    """diskutil's five levels stand in the command."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSEraseNotImplemented) as caught:
        os_erase.macos_diskutil_secure_erase(disk, level)
    assert caught.value.request.argv[1:] == ("secureErase", str(level), disk)


@pytest.mark.parametrize(
    ("level", "error"), [(-1, ValueError), (5, ValueError), (True, TypeError), (1.0, TypeError), ("1", TypeError)]
)
def test_diskutil_bad_level(monkeypatch: pytest.MonkeyPatch, level: Any, error: type[Exception]) -> None:
    """A level that diskutil does not have is refused."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(error, match="level must be"):
        os_erase.macos_diskutil_secure_erase("disk2", level)
