"""os_erase: each check in its order, on every platform's command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

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

CASES: list[tuple[Any, str, str, str, tuple[str, ...]]] = [
    (
        os_erase.linux_hdparm_secure_erase,
        "linux",
        "hdparm",
        "/dev/sda",
        ("--user-master", "u", "--security-erase", "PASSWORD", "/dev/sda"),
    ),
    (os_erase.linux_nvme_secure_erase, "linux", "nvme", "/dev/nvme0n1", ("format", "--ses=1", "/dev/nvme0n1")),
    (os_erase.macos_diskutil_secure_erase, "darwin", "diskutil", "disk2", ("secureErase", "0", "disk2")),
    (
        os_erase.windows_bitlocker_destroy_volume_keys,
        "win32",
        "manage-bde",
        "D:",
        ("-protectors", "-delete", "D:"),
    ),
]
IDS = [case[0].__name__ for case in CASES]
each_function = pytest.mark.parametrize(("function", "platform", "tool", "good", "arguments"), CASES, ids=IDS)


@pytest.fixture(autouse=True)
def _no_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a function does, it starts nothing here."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_arguments, **_more: pytest.fail("a program was started"))
    monkeypatch.setattr(shutil, "which", lambda program: f"/sbin/{program}")


@each_function
def test_a_valid_request_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch, function: Any, platform: str, tool: str, good: str, arguments: tuple[str, ...]
) -> None:
    """All checks pass, and the error holds the request with the command it would run."""
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(OSEraseNotImplemented, match="nothing was erased") as caught:
        function(good)
    request = caught.value.request
    assert isinstance(request, os_erase.EraseRequest)
    assert (request.tool, request.target) == (f"/sbin/{tool}", good)
    assert request.argv == (f"/sbin/{tool}", *arguments)
    assert request.method
    assert request.caution
    assert isinstance(caught.value, NotImplementedError)
    assert isinstance(caught.value, OSEraseError)
    with pytest.raises(FrozenInstanceError):
        request.target = "/dev/sdb"


@each_function
def test_wrong_platform_comes_before_tool_and_path(
    monkeypatch: pytest.MonkeyPatch, function: Any, platform: str, tool: str, good: str, arguments: tuple[str, ...]
) -> None:
    """On another platform nothing else is looked at, whatever the path."""
    monkeypatch.setattr(sys, "platform", "linux" if platform != "linux" else "darwin")
    monkeypatch.setattr(shutil, "which", lambda _program: pytest.fail("looked for a program"))
    for path in (good, "nonsense"):
        with pytest.raises(OSEraseUnsupported, match="runs on") as caught:
            function(path)
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, ZeroizeError)


@each_function
def test_missing_tool_comes_before_path(
    monkeypatch: pytest.MonkeyPatch, function: Any, platform: str, tool: str, good: str, arguments: tuple[str, ...]
) -> None:
    """Without the program the error names it, also for a bad path."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    for path in (good, "nonsense"):
        with pytest.raises(OSEraseToolMissing, match=tool) as caught:
            function(path)
        assert isinstance(caught.value, RuntimeError)


@each_function
@pytest.mark.parametrize("value", [None, 3, b"/dev/sda", ["/dev/sda"]])
def test_wrong_type_comes_first(
    monkeypatch: pytest.MonkeyPatch,
    function: Any,
    platform: str,
    tool: str,
    good: str,
    arguments: tuple[str, ...],
    value: object,
) -> None:
    """What is no str is a TypeError on every platform."""
    for current in (platform, "other"):
        monkeypatch.setattr(sys, "platform", current)
        with pytest.raises(TypeError, match=f"must be str, not {type(value).__name__}"):
            function(value)


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
    [(case, path) for case in CASES for path in BAD[case[0].__name__]],
    ids=lambda value: repr(value)[:40],
)
def test_bad_shapes(monkeypatch: pytest.MonkeyPatch, case: tuple[Any, str, str, str, Any], path: str) -> None:
    """Partitions, links, controllers and nonsense are refused, quoting what was given."""
    monkeypatch.setattr(sys, "platform", case[1])
    with pytest.raises(OSEraseValidationError) as caught:
        case[0](path)
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
