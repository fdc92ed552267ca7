"""The public names: where they live, that they are documented, and that importing them is lazy."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import zeroizepy

SOURCE = Path(zeroizepy.__file__)
PUBLIC = [name for name in zeroizepy.__all__ if name != "__version__"]


def test_table_and_imports_agree() -> None:
    """What type checkers see is what a program gets."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    seen = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert seen == {(home, name) for home, names in zeroizepy._HOMES.items() for name in names}


@pytest.mark.parametrize("name", PUBLIC)
def test_documented(name: str) -> None:
    """Each public name can be had, says what it is, and its methods do too."""
    thing = getattr(zeroizepy, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for method, member in vars(thing).items():
            if not method.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, (property, classmethod))
            ):
                assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"


def test_submodules_are_attributes() -> None:
    """`import zeroizepy` is enough for zeroizepy.memory."""
    assert zeroizepy.memory.SecureMemory is zeroizepy.SecureMemory
    assert set(zeroizepy.__all__) <= set(dir(zeroizepy))


def test_unknown_name() -> None:
    """A misspelt name is an AttributeError that names it."""
    with pytest.raises(AttributeError, match="has no attribute 'CypherSell'"):
        _ = zeroizepy.CypherSell  # type: ignore[attr-defined]


def test_star_import() -> None:
    """`from zeroizepy import *` gives the public names and nothing else."""
    code = "from zeroizepy import *; print(sorted(n for n in dir() if not n.startswith('__')))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == sorted(PUBLIC)


def test_cryptography_is_imported_only_when_used() -> None:
    """Cells and AES-256 keys do without it; so does everything that is merely imported."""
    code = (
        "import sys; from zeroizepy import *; key = CryptoKey.generate(); "
        "print([m for m in sys.modules if m.startswith(('cryptography', 'click', 'rich'))], "
        "key.protection.schedule_locked and encrypt_data(b'x', key) is None, "
        "[m for m in sys.modules if m.startswith('cryptography')])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False []\n"


def test_version_is_the_one_number() -> None:
    """The version that the package reports stands in pyproject.toml."""
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{zeroizepy.__version__}"\n' in text


def test_source_folder_says_what_to_do() -> None:
    """Importing the uncompiled source folder ends in one clear sentence."""
    root = Path(__file__).resolve().parents[1]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import zeroizepy.memory"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this is the source folder, not an installation; run 'pip install .'" in done.stderr.splitlines()[-1]
