"""The pytest plugin: a user's test fails when the code under test left its secret behind, and else passes."""

from __future__ import annotations

import re
import sys
import textwrap

import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")

PROGRAM = """
    import logging, pytest, sys
    from zeroizepy import CypherCell

    store = []

    class Client:
        def __init__(self, password):
            self.password = password
"""


def outcome(pytester: pytest.Pytester, test: str, *arguments: str, **counts: int) -> str:
    """Run a user's test file in a process of its own, and give its output."""
    pytester.makepyfile(textwrap.dedent(PROGRAM) + textwrap.dedent(test))
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", "-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(**counts)
    return str(result.stdout)


CLEAN = """
    pytestmark = pytest.mark.no_residue

    def test_cell_that_is_wiped(secret_canary):
        CypherCell(secret_canary.reveal_bytes()).wipe()

    def test_cell_that_lives(secret_canary):
        store.append(CypherCell(secret_canary.reveal()))

    def test_bytearray_that_is_cleared(secret_canary):
        store.append(CypherCell(secret_canary.reveal_bytearray(), wipe_source=True))

    def test_client_that_is_dropped(secret_canary):
        assert Client(secret_canary.reveal()).password

    def test_local_variables(secret_canary):
        one = secret_canary.reveal()
        two = [one, secret_canary.reveal_bytes()]
        assert two

    def test_error_that_was_caught(secret_canary):
        def refuse(password):
            raise ValueError("no")
        with pytest.raises(ValueError) as caught:
            refuse(secret_canary.reveal())
        assert str(caught.value) == "no"

    def test_harmless_messages(secret_canary):
        assert secret_canary.reveal()
        print("hello")
        logging.warning("hello")
"""


# With pytest-xdist a test runs in a worker process, and what was found travels to the one that prints it.
WORKERS = pytest.mark.parametrize("workers", ["0", "2"])


@WORKERS
def test_clean_code_passes(pytester: pytest.Pytester, workers: str) -> None:
    """Nothing of what a test function itself holds is taken for a leak, nor what a worker process holds of it."""
    outcome(pytester, CLEAN, "-n", workers, passed=7)


LEAKS = {
    "global_client": ("store.append(Client(secret_canary.reveal()))", "is still referred to once, from "),
    "encoded_copy": ("store.append(secret_canary.reveal().encode())", "whole, raw: "),
    "hex_copy": ("store.append(secret_canary.reveal_bytes().hex())", "whole, hex: "),
    "bytearray": ("store.append(secret_canary.reveal_bytearray())", "whole, raw: "),
    "printed_copy": ("print('password', secret_canary.reveal())", "wrote to standard output"),
    "copy_on_stderr": ("sys.stderr.write(secret_canary.reveal())", "wrote to standard error"),
    "logged_copy": ("logging.warning('password %s', secret_canary.reveal())", "wrote to the log"),
    "fixture": ("assert client", "is still referred to once, from "),
}


@WORKERS
@pytest.mark.parametrize("marker", ["", "@pytest.mark.no_residue"], ids=["fixture", "marker"])
def test_leaking_code_fails(pytester: pytest.Pytester, marker: str, workers: str) -> None:
    """Each test fails, not its teardown, and its report says where the copy is."""
    client = "@pytest.fixture\ndef client(secret_canary):\n    return Client(secret_canary.reveal())\n"
    tests = [
        f"{marker}\ndef test_{name}(secret_canary{', client' if name == 'fixture' else ''}):\n    {statement}\n"
        for name, (statement, _) in LEAKS.items()
    ]
    printed = outcome(pytester, client + "".join(tests), "-n", workers, failed=len(LEAKS))
    # A secret may begin a line, with "_" too, but has no space and no "=".
    _, *named = re.split(r"^_+ test_(\w+) _+$", printed, flags=re.MULTILINE)
    reports = dict(zip(named[::2], named[1::2], strict=True))
    for name, (_, text) in LEAKS.items():
        assert text in reports[name].partition("\n=")[0]
    assert "Traceback" not in printed


def test_report_is_short(pytester: pytest.Pytester) -> None:
    """One headline, then a line for each copy; nothing of the plugin's own code."""
    test = "def test(secret_canary):\n    store.append(secret_canary.reveal_bytearray())\n"
    lines = outcome(pytester, test, failed=1).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("the code under test left"))
    assert "left its secret behind: 1 copy of the secret in the memory of this process; " in lines[at]
    assert lines[at + 1].startswith("  whole, raw: ")
    assert lines[at + 2].startswith("=")


def test_each_test_has_its_own_canary(pytester: pytest.Pytester) -> None:
    """One test's leak does not fail the next."""
    test = """
    def test_leaks(secret_canary):
        store.append(secret_canary.reveal_bytearray())

    def test_is_clean(secret_canary):
        assert secret_canary.reveal()
    """
    outcome(pytester, test, failed=1, passed=1)


def test_other_results_stay(pytester: pytest.Pytester) -> None:
    """A test that fails, skips or is expected to fail is not scanned: its own result is the one to see."""
    test = """
    def test_fails(secret_canary):
        store.append(secret_canary.reveal())
        assert len(store) == 0

    def test_skips(secret_canary):
        store.append(secret_canary.reveal())
        pytest.skip("not today")

    @pytest.mark.xfail(strict=True)
    def test_leaks_as_expected(secret_canary):
        store.append(secret_canary.reveal())
    """
    printed = outcome(pytester, test, failed=1, skipped=1, xfailed=1)
    assert "left its secret behind" not in printed


CHECKS_NOTHING = {
    "no fixture": ("@pytest.mark.no_residue\ndef test(): pass", "does not use the fixture secret_canary"),
    "not handed out": ("def test(secret_canary): pass", "secret_canary was never given away"),
}


@pytest.mark.parametrize("name", CHECKS_NOTHING)
def test_check_of_nothing_fails(pytester: pytest.Pytester, name: str) -> None:
    """A test that cannot fail does not pass."""
    test, text = CHECKS_NOTHING[name]
    assert text in outcome(pytester, test, failed=1)


@pytest.mark.parametrize("options", ["sizes=5", "48"])
def test_wrong_options(pytester: pytest.Pytester, options: str) -> None:
    """A misspelt option is an error, before the test runs."""
    test = f"@pytest.mark.no_residue({options})\ndef test(secret_canary): secret_canary.reveal()"
    printed = outcome(pytester, test, errors=1)
    assert "no_residue takes the keywords size, forms, tail and nothing else" in printed


def test_options_reach_the_canary(pytester: pytest.Pytester) -> None:
    """Size and forms are the marker's."""
    test = """
    pytestmark = pytest.mark.no_residue(size=100, forms=["raw"])

    def test(secret_canary):
        assert len(secret_canary) == 100
        store.append(secret_canary.reveal_bytes().hex())
    """
    outcome(pytester, test, passed=1)


def test_missing_right_skips(pytester: pytest.Pytester) -> None:
    """Where the process may not read its own memory, the test is skipped, and says why."""
    pytester.makeconftest(
        """
        import os, pytest
        from zeroizepy import process, testing

        @pytest.fixture(autouse=True)
        def without_rights():
            # Root drops its rights for a while, which makes it undumpable; anybody else makes himself so.
            if os.geteuid() == 0:
                os.seteuid(65534)
                yield
                os.seteuid(0)
            else:
                process.harden(core_dumps=False)
                yield
        """
    )
    test = "def test(secret_canary): store.append(secret_canary.reveal())"
    printed = outcome(pytester, test, "-rs", skipped=1)
    assert "secret_canary cannot look for leaks here: this process may not read its own memory" in printed


def test_other_platforms_skip(pytester: pytest.Pytester) -> None:
    """Elsewhere than on Linux it is skipped, and says what is missing."""
    pytester.makeconftest(
        """
        import pytest, sys
        @pytest.fixture(autouse=True)
        def elsewhere(monkeypatch):
            monkeypatch.setattr(sys, "platform", "plan9")
        """
    )
    printed = outcome(pytester, "def test(secret_canary): secret_canary.reveal()", "-rs", skipped=1)
    assert "secret_canary cannot look for leaks here: scanning needs Linux's /proc/PID/mem; this is plan9" in printed


def test_plugin_costs_nothing_until_used(pytester: pytest.Pytester) -> None:
    """A run without the fixture does not load the compiled core, and warns of nothing."""
    pytester.makepyfile(
        """
        import sys
        def test():
            assert sorted(name for name in sys.modules if name.startswith("zeroizepy")) == [
                "zeroizepy", "zeroizepy.pytest_plugin"
            ]
        """
    )
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_marker_is_registered(pytester: pytest.Pytester) -> None:
    """pytest --markers tells about it."""
    printed = str(pytester.runpytest_subprocess("--markers").stdout)
    assert "@pytest.mark.no_residue(size=48, forms=..., tail=True): fail the test when" in printed
