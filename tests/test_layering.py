"""Imports point down only, and one module alone imports the compiled core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "zeroizepy"

# Lowest first; modules on one level do not import each other. A package counts as one module.
LEVELS = [
    {"durable", "exceptions", "json_form", "values"},
    {"_native"},
    {"_lib"},
    {"buffers", "careful", "slots", "hardening", "fatal"},
    {"lifecycle", "loaders", "shred", "device", "memory", "process"},
    {"view", "command", "prompt"},
    {"sources", "keys"},
    {"crypto", "cell", "file", "nacl", "os_erase", "utils"},
    {"sessions", "chunked"},
    {"session", "scan", "signing", "erasure"},
    {"testing", "audit", "certificate"},
    {"pytest_plugin"},
    {"cli", "__init__"},
    {"__main__"},
]
EXCEPTIONS: dict[tuple[str, str], str] = {}
LEVEL_OF = {module: level for level, modules in enumerate(LEVELS) for module in modules}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The module of the table that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """The modules of this package that a file imports, wherever in it."""
    return imported_in(path.read_text(encoding="utf-8"), len(path.relative_to(PACKAGE).parts))


def imported_in(source: str, depth: int) -> set[str]:
    """The same for source that stands so many folders deep, 1 being the package's own."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.split(".")[0] for name in names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zeroizepy" and not node.level:
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.split(".")[1] for alias in node.names if (name := alias.name).startswith("zeroizepy.")}
    return {name if name in LEVEL_OF else "__init__" for name in found}


def test_every_module_has_a_level() -> None:
    """A new module takes its place in the table."""
    assert {module_of(path) for path in FILES} - set(LEVEL_OF) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """A module imports from lower levels only."""
    importer = module_of(path)
    wrong = {
        name
        for name in imported_modules(path)
        if LEVEL_OF[name] >= LEVEL_OF[importer] and name != importer and (importer, name) not in EXCEPTIONS
    }
    assert wrong == set()


def test_one_importer_of_the_core() -> None:
    """Only _lib imports _native."""
    importers = {module_of(path) for path in FILES if "_native" in imported_modules(path)}
    assert importers == {"_lib"}


@pytest.mark.parametrize(
    "line",
    ["from .cell import CypherCell", "from . import cell", "import zeroizepy.cell", "from zeroizepy import cell"],
)
def test_the_check_sees_an_upward_import(line: str) -> None:
    """The control: an import of each form is found."""
    assert imported_in(f"def late():\n    {line}\n", depth=1) == {"cell"}
