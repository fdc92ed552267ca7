"""A pytest plugin for PyNaCl's own tests: they get zeroizepy.nacl as nacl, and what came of it is written down.

They take two things from PyNaCl's private compiled module, nacl._sodium, which we do not have: cffi's `ffi`, to look at
a buffer, and whether libsodium has AES-256-GCM on this CPU. Both come from our core here.

Each process of the run, workers of pytest-xdist too, leaves one JSON file in the folder NACL_SUITE_FOLDER.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis

import zeroizepy.nacl
from zeroizepy import _lib

if TYPE_CHECKING:
    import pytest

# Before anything imports nacl; refused, which ends the run, if something did.
zeroizepy.nacl.install()
stand_in = ModuleType("nacl._sodium")
stand_in.ffi = _lib.ffi  # type: ignore[attr-defined]
stand_in.lib = SimpleNamespace(crypto_aead_aes256gcm_is_available=_lib.lib.zpy_has_aes)  # type: ignore[attr-defined]
sys.modules["nacl._sodium"] = stand_in

# A busy machine is no fault of the code under test.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], database=None
)
hypothesis.settings.load_profile("busy")

outcomes: dict[str, str] = {}
reasons: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a test ended: a set-up or clean-up that fails counts, too."""
    if report.when == "call" or not report.passed:
        outcomes[report.nodeid] = "failed" if outcomes.get(report.nodeid) == "failed" else report.outcome
    if report.skipped and isinstance(report.longrepr, tuple):
        reasons[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported has failed, as itself."""
    if report.failed:
        outcomes[report.nodeid] = "failed"


def pytest_sessionfinish() -> None:
    """Write what this process saw, with the file of every module that is there under a name of PyNaCl's."""
    modules = {
        name: getattr(module, "__file__", None)
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "nacl"
    }
    target = Path(os.environ["NACL_SUITE_FOLDER"], f"{os.getpid()}.json")
    target.write_text(json.dumps({"outcomes": outcomes, "reasons": reasons, "modules": modules}), encoding="utf-8")
