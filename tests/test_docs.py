"""The examples: README.md's as they stand, and the two seeds'."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from zeroizepy import cell

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT.parent / "shared/seeds"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[str]:
    """The Python examples of a page, in order; none when it is not there."""
    return BLOCK.findall(path.read_text(encoding="utf-8")) if path.exists() else []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that examples speak of."""
    (tmp_path / "secret.txt").write_text("a secret in a file\n", encoding="utf-8")
    (tmp_path / "report.pdf").write_bytes(os.urandom(10000))
    (tmp_path / "api.key").write_bytes(b"key-from-a-file")
    monkeypatch.setenv("DATABASE_PASSWORD", "correct horse battery staple")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(source: str, names: dict[str, object]) -> None:
    """Run an example like a script."""
    exec(compile(source, "<example>", "exec"), names)  # noqa: S102 - that is what the test is for.


def test_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """README.md's examples run, one after the other, and print what their comments say."""
    examples = blocks(ROOT / "README.md")
    assert len(examples) >= 5
    names: dict[str, object] = {"__name__": "example"}
    for example in examples:
        run(example, names)
        printed = capsys.readouterr().out.splitlines()
        promised = re.findall(r"^\s*print\(.*\)\s*# (.*)$", example, re.MULTILINE)
        assert printed == promised, example
    assert not (folder / "report.pdf").exists()


def test_readme_pytest_example(pytester: pytest.Pytester) -> None:
    """The example of the pytest plugin passes as it stands, and fails once its client keeps the password itself."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux's /proc/PID/mem")
    (example,) = [text for text in blocks(ROOT / "README.md") if "secret_canary" in text]
    broken = example.replace("CypherCell(password)\n", "password\n").replace(
        "def test_client", "def test_broken_client"
    )
    pytester.makepyfile(example, test_broken=broken.replace("client = Client", "Client.last = client = Client"))
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)


# ---- the seeds, from the documents themselves where they lie beside the checkout ----


@pytest.mark.skipif(not SEEDS.exists(), reason="the seed documents are not beside this checkout")
@pytest.mark.usefixtures("folder")
def test_cypher_cell_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every Python example of cypher_cell.md runs as written, with our module under its name."""
    monkeypatch.setitem(sys.modules, "cypher_cell", cell)
    connected: list[str] = []
    names: dict[str, object] = {"db_connect": connected.append, "authenticate": connected.append}
    examples = blocks(SEEDS / "cypher_cell.md")
    assert len(examples) == 7
    for example in examples:
        expected = ValueError if "Raises ValueError" in example else None
        if expected:
            with pytest.raises(expected, match="Cell is wiped"):
                run(example, names)
        else:
            if "# GOOD" in example:
                names["cell"] = cell.CypherCell(b"narrow")
            run(example, names)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["transient-key", "*************1234", "env-value", "Access granted!"]
    assert connected == ["super-secret-key", "narrow", "narrow"]
    assert os.environ.pop("MY_SECRET") == "env-value"


@pytest.mark.skipif(not SEEDS.exists(), reason="the seed documents are not beside this checkout")
def test_zeroizepy_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every Python example of zeroizepy.md runs as written."""
    examples = blocks(SEEDS / "zeroizepy.md")
    assert len(examples) == 6
    names: dict[str, object] = {}
    for example in examples:
        (folder / "secret.txt").write_text("a secret in a file\n", encoding="utf-8")
        run(example, names)
        assert (folder / "secret.txt").exists() == ("secure_delete(" not in example)
    printed = capsys.readouterr().out
    for line in ("Recovered: a secret in a file", "b'SENSITIVE-DATA'", "b'supersecret'", "b'topsecret'"):
        assert line in printed
    assert re.search(r"^Encrypted: [0-9a-f]{54}$", printed, re.MULTILINE)
    assert not Path(str(names["temp_file"])).exists()
    assert names["secret"].closed  # type: ignore[attr-defined]
    assert names["key"].destroyed is False  # type: ignore[attr-defined]
