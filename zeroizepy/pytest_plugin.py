"""The pytest plugin: a test fails when the code under test left its secret in memory, its output or its log.

    @pytest.mark.no_residue
    def test_login(secret_canary):
        log_in("user", secret_canary.reveal())

pytest loads this module wherever zeroizepy is installed; until a test asks for the fixture it imports nothing more.

The scan runs when the test function has returned, before pytest collects output and logs and before fixtures are taken
down, so that pytest's own copies are not met: the function's variables are gone, garbage is collected, and what the
canary handed out is taken back. What a fixture still holds counts. What the code under test printed or logged is
searched on its own, and counts, unless pytest does not capture it. A test that fails, or is skipped, is not scanned:
its traceback holds its variables.
"""

from __future__ import annotations

import pytest

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from .testing import Canary

_HELP = (
    "no_residue(size=48, forms=..., tail=True): fail the test when the secret of its fixture secret_canary is left in "
    "memory, output or log; the options are those of zeroizepy.testing.Canary"
)
_OPTIONS = ("size", "forms", "tail")

_CANARY = pytest.StashKey["Canary"]()
_OPTION_VALUES = pytest.StashKey["dict[str, Any]"]()
_RETURNED = pytest.StashKey[bool]()
"""The test function returned without an error."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for --strict-markers and --markers."""
    config.addinivalue_line("markers", _HELP)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse wrong options before anything is done with them."""
    marker = item.get_closest_marker("no_residue")
    options = dict(marker.kwargs) if marker is not None else {}
    wrong = [name for name in options if name not in _OPTIONS]
    if wrong or (marker is not None and marker.args):
        pytest.fail(f"no_residue takes the keywords {', '.join(_OPTIONS)} and nothing else", pytrace=False)
    item.stash[_OPTION_VALUES] = options


@pytest.fixture
def secret_canary(request: pytest.FixtureRequest) -> Iterator[Canary]:
    """A `zeroizepy.testing.Canary`: give it to the code under test, and the test fails when that leaves it somewhere.

    Skips the test where memory cannot be scanned, and says what is missing.
    """
    from .testing import Canary, scan_obstacle

    missing = scan_obstacle()
    if missing is not None:
        pytest.skip(f"secret_canary cannot look for leaks here: {missing}")
    with Canary(**request.node.stash.get(_OPTION_VALUES, {})) as canary:
        request.node.stash[_CANARY] = canary
        yield canary


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Check what a test left; called after pytest's own hook has run it, unless that raised."""
    item.stash[_RETURNED] = True
    canary = item.stash.get(_CANARY, None)
    if canary is None:
        if item.get_closest_marker("no_residue") is not None:
            pytest.fail(
                "no_residue checks nothing here: the test does not use the fixture secret_canary", pytrace=False
            )
        return
    if not canary.was_handed_out:
        pytest.fail(
            "the test checks nothing: secret_canary was never given away; use its reveal(), reveal_bytes(), "
            "reveal_bytearray() or write_to()",
            pytrace=False,
        )
    _check(canary)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Look into what pytest captured while the test ran."""
    outcome = yield
    canary = item.stash.get(_CANARY, None)
    if canary is None or call.when != "call" or not item.stash.get(_RETURNED, False):
        return
    report = outcome.get_result()
    captured = {"standard output": report.capstdout, "standard error": report.capstderr, "the log": report.caplog}
    places = [name for name, text in captured.items() if canary.is_in(text)]
    if not places:
        return
    text = f"the secret of secret_canary stands in what the test wrote to {' and to '.join(places)}"
    if report.passed:
        report.outcome, report.longrepr = "failed", text
    else:
        report.sections.append(("secret_canary", text))


def _check(canary: Canary) -> None:
    from .testing import ResidueError, assert_no_residue

    try:
        with assert_no_residue(canary):
            pass
    except ResidueError as error:
        found = str(error)
    else:
        return
    pytest.fail(f"the code under test left its secret behind: {found}", pytrace=False)
