"""PyNaCl's own test suite, out of its sdist, with zeroizepy.nacl as nacl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.core import load_build

import zeroizepy.nacl

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(zeroizepy.nacl.__file__).resolve().parent
TIMEOUT_S = 900

BY_DESIGN = {
    "tests/test_utils.py::test_string_fixer": (
        "It wants str(box) to be the text of the box's key. Printing a box, or logging one, shall not show its key: "
        "str() is redacted, as repr() is, and bytes(box) still gives the key."
    ),
}
"""Tests that fail here and shall, each with the reason."""

SKIPS = {
    "Requires minimal build of libsodium": 6,
    "Message too short for splitting": 4,
}
"""What PyNaCl's suite skips with its own libsodium as well, and how many tests."""

PUBLIC = {
    "nacl",
    *(f"nacl.{name}" for name in ("bindings", "encoding", "exceptions", "hash", "hashlib", "public", "pwhash")),
    *(f"nacl.{name}" for name in ("secret", "signing", "utils", "bindings.crypto_box", "pwhash.argon2id")),
}

TESTS = 4671
"""So many has PyNaCl 1.6.2."""


@dataclass
class Run:
    """What came of a run.

    Attributes:
        status: pytest's exit status.
        output: What it printed.
        outcomes: "passed", "failed" or "skipped" by test, or by file that could not be imported.
        reasons: Why tests were skipped.
        modules: The file of each module named nacl, or below it, as the processes of the run had them.
    """

    status: int
    output: str
    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    modules: set[tuple[str, str | None]] = field(default_factory=set)

    def those(self, outcome: str) -> set[str]:
        """The tests that ended so."""
        return {name for name, found in self.outcomes.items() if found == outcome}


def run_suite(folder: Path, workers: int) -> Run:
    """Run the tests in `folder`/tests with our package as nacl, and with none of this process's settings for pytest."""
    results = folder / "results"
    results.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    arguments = ["-q", "-p", "support.nacl_suite", "-p", "no:cacheprovider", "-n", str(workers), "--dist=worksteal"]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments, "--tb=short", "--continue-on-collection-errors", "tests"],
        cwd=folder,
        env={**kept, "NACL_SUITE_FOLDER": str(results)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    run = Run(done.returncode, done.stdout[-20000:])
    for path in results.iterdir():
        seen = json.loads(path.read_text(encoding="utf-8"))
        run.outcomes |= seen["outcomes"]
        run.reasons |= seen["reasons"]
        run.modules |= set(seen["modules"].items())
    return run


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run of PyNaCl's suite, whose sdist is the one that libsodium comes from."""
    build = load_build("zeroizepy_build_for_suite")
    work = tmp_path_factory.mktemp("pynacl")
    try:
        sdist = build.given_sdist() or build.fetch_sdist(work)
    except build.BuildError as error:
        pytest.skip(f"needs PyNaCl's sdist, from pip or ZEROIZEPY_SODIUM_SDIST: {error}")
    tests = build.extract(sdist, work, f"pynacl-{build.PYNACL}/tests")
    yield run_suite(tests.parent, len(os.sched_getaffinity(0)))
    del sys.modules[build.__name__]


def test_what_fails_is_what_is_listed(suite: Run) -> None:
    """All of PyNaCl's tests pass, but for those that fail by design; of these none passes."""
    assert suite.status in (0, 1), suite.output
    assert suite.those("failed") == set(BY_DESIGN), suite.output
    assert len(suite.outcomes) == TESTS


def test_the_docs_have_the_outcome() -> None:
    """The page says of how many tests how many fail."""
    page = (ROOT / "docs/nacl.md").read_text(encoding="utf-8")
    assert len(BY_DESIGN) == 1
    assert f"of {TESTS} tests one fails" in page


def test_what_is_skipped(suite: Run) -> None:
    """No more than with PyNaCl itself: nothing is passed over because ours says that it does not have it."""
    found = [suite.reasons[name] for name in suite.those("skipped")]
    assert {reason: found.count(reason) for reason in found} == SKIPS


def test_modules_under_test_are_ours(suite: Run) -> None:
    """In every process of the run each module that the tests had as nacl is a file of our package."""
    assert {name for name, _ in suite.modules} >= PUBLIC
    for name, file in suite.modules - {("nacl._sodium", None)}:
        assert file is not None, name
        assert Path(file).resolve().is_relative_to(PACKAGE), (name, file)


def test_the_run_sees_each_outcome(tmp_path: Path) -> None:
    """The control: tests that pass, fail, are skipped or fail in their clean-up, and a file that cannot be imported."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_one.py").write_text(
        "import nacl.secret, pytest\n"
        "@pytest.fixture\n"
        "def broken():\n"
        "    yield\n"
        "    assert False\n"
        "def test_pass(): assert 'zeroizepy' in nacl.secret.__name__\n"
        "def test_fail(): assert False\n"
        "def test_skip(): pytest.skip('tired')\n"
        "def test_clean_up(broken): pass\n",
        encoding="utf-8",
    )
    (tmp_path / "tests/test_two.py").write_text("import nacl.nothing\n", encoding="utf-8")
    run = run_suite(tmp_path, 0)
    assert run.those("passed") == {"tests/test_one.py::test_pass"}
    failed = {"tests/test_one.py::test_fail", "tests/test_one.py::test_clean_up", "tests/test_two.py"}
    assert run.those("failed") == failed
    assert run.reasons == {"tests/test_one.py::test_skip": "tired"}
    assert run.status != 0
