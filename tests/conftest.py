"""Fixtures for tests of the memory engine."""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from support.children import Child, backing_names

import zeroizepy
from zeroizepy.keys import census

if TYPE_CHECKING:
    from collections.abc import Iterator


FAULTS = Path(__file__).parent / "support" / "faults.c"

# Sessions of the tests keep their journals apart from the user's own, and recover none of those.
STATE = tempfile.TemporaryDirectory(prefix="zeroizepy-tests-")
atexit.register(STATE.cleanup)
os.environ["ZEROIZEPY_STATE_DIR"] = os.path.join(STATE.name, "state")

# A shell that starts the tests in the background has them ignore the first two, and what starts that shell perhaps the
# last, without which no pool of multiprocessing ends. The children of the tests would ignore them, too.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


# How long an example takes says how busy the machine is, and nothing of what is tested.
hypothesis.settings.register_profile("any load", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("any load")

MOST_WORKERS = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process of tests more than there are cores, for many tests wait: for a device, a child, or a deadline."""
    return min(len(os.sched_getaffinity(0)) + 1, MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, so that in the end no process is left alone with one of them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """What importing all the tests made is for good: no collection of garbage goes through it again, which is slow."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_garbage_of_others() -> None:
    """What a test before left in cycles ends before this one counts secrets, and not in the middle of it."""
    now = zeroizepy.stats()
    if now.cells or now.pinned:
        gc.collect()


@pytest.fixture(params=["secretmem", "mlock"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backing in turn, as ZEROIZEPY_BACKEND names it."""
    name: str = request.param
    if name not in backing_names():
        pytest.skip("needs memfd_secret, which this kernel does not have or does not allow")
    return name


@pytest.fixture
def child(backend: str) -> Child:
    """Starts Python programs on one backing after the other."""
    return Child(backend)


@pytest.fixture
def kernel_settings() -> Iterator[None]:
    """For what changes, or depends on, what the whole machine shares: kernel.core_pattern and the table of swap areas.

    Of the tests that use this only one runs at a time, in whichever process.
    """
    try:
        fd = os.open("/proc/sys/kernel/core_pattern", os.O_RDONLY)
    except OSError as error:
        pytest.skip(f"needs to read kernel.core_pattern: {error.strerror}")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@pytest.fixture
def no_leftover_cells() -> Iterator[None]:
    """The test gives every secret and every view back."""
    before = zeroizepy.stats()
    yield
    after = zeroizepy.stats()
    if after.cells > before.cells or after.pinned > before.pinned:
        gc.collect()
        after = zeroizepy.stats()
    # Fewer is well: a test that failed before keeps its objects in its traceback for a while.
    assert after.cells <= before.cells
    assert after.isolated <= before.isolated
    assert after.pinned <= before.pinned
    assert after.corruptions == before.corruptions


@pytest.fixture
def no_descriptor_stays() -> Iterator[None]:
    """What the test opened is closed, and nothing else."""
    gc.collect()  # A descriptor that a test before left in a cycle would be closed in the middle of this one.
    collects = gc.isenabled()
    gc.disable()
    try:
        before = sorted(os.listdir("/proc/self/fd"))
        yield
        assert sorted(os.listdir("/proc/self/fd")) == before
    finally:
        if collects:
            gc.enable()


@pytest.fixture(autouse=True)
def forget_erased_keys() -> None:
    """Tests use the same keys again, which a test before may have erased."""
    # Not by monkeypatch: what a test sets by that would then stay until its other fixtures have ended.
    census._erased.clear()


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled library for LD_PRELOAD that makes system calls fail."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (gcc or cc)")
    target = tmp_path_factory.mktemp("faults") / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wno-attributes", "-o", str(target), str(FAULTS), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return str(target)
