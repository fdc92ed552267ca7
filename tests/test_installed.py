"""The installed package: its files, its wheel, and what the compiled module shows to the linker and the debugger."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import zeroizepy
from zeroizepy import _lib

if TYPE_CHECKING:
    from support.children import Child

ROOT = Path(__file__).resolve().parents[1]
MODULE = Path(zeroizepy.__file__).with_name("_native.abi3.so")


def tool(name: str) -> str:
    """The path of a program, or a skip that names it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def output_of(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_installed_module_has_every_function_of_the_header() -> None:
    """The module that the tests use was built from this header."""
    header = (ROOT / "csrc/zpy_api.h").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    declared = set(re.findall(r"\b(zpy_\w+)\(", code))
    assert len(declared) > 30
    assert declared == {name for name in dir(_lib.lib) if name.startswith("zpy_")}


def test_why_the_core_cannot_be_loaded(child: Child, tmp_path: Path) -> None:
    """A core that is missing is called so, with what to do; one that is broken is not, and neither is cffi's lack."""
    package = tmp_path / "zeroizepy"
    shutil.copytree(Path(zeroizepy.__file__).parent, package, ignore=shutil.ignore_patterns("_native*"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import zeroizepy; zeroizepy.CypherCell"
    assert f"core is missing beside {package}: this is the source folder" in child.run(code).stderr
    (package / "_native.abi3.so").write_bytes(b"no shared object")
    broken = child.run(code).stderr
    assert f"ImportError: {package}/_native.abi3.so" in broken
    assert "is missing" not in broken
    (package / "_native.py").write_text("import _cffi_backend_that_is_not_there", encoding="utf-8")
    (package / "_native.abi3.so").unlink()
    without = child.run(code).stderr
    assert "No module named '_cffi_backend_that_is_not_there'" in without
    assert "is missing" not in without


def test_installed_package_is_tested() -> None:
    """Not the source folder beside the tests."""
    assert Path(zeroizepy.__file__).resolve().parent != ROOT / "zeroizepy"


def test_installed_files() -> None:
    """The module, the typing marker, the schemas, and no C source."""
    files = importlib.metadata.files("zeroizepy") or []
    names = {str(path) for path in files}
    assert "zeroizepy/py.typed" in names
    assert "zeroizepy/schemas/shred-report.json" in names
    assert "zeroizepy/_native.abi3.so" in names
    assert [name for name in names if name.endswith((".c", ".h"))] == []


def test_wheel_fits_every_python_from_3_10() -> None:
    """One wheel, limited API."""
    text = importlib.metadata.distribution("zeroizepy").read_text("WHEEL") or ""
    assert "Tag: cp310-abi3-" in text


def test_version_has_one_home() -> None:
    """pyproject.toml."""
    found = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found == [importlib.metadata.version("zeroizepy")]


def test_module_exports_only_its_entry() -> None:
    """libsodium's functions cannot meet another copy of libsodium in the same process."""
    lines = output_of(tool("nm"), "-D", "--defined-only", str(MODULE)).splitlines()
    assert [line.split()[-1] for line in lines] == ["PyInit__native"]


def test_module_is_hardened() -> None:
    """Full RELRO, a stack that is not executable, and stack protectors."""
    readelf = tool("readelf")
    assert re.search(r"FLAGS.*BIND_NOW", output_of(readelf, "-dW", str(MODULE)))
    segments = output_of(readelf, "-lW", str(MODULE))
    assert "GNU_RELRO" in segments
    stack = re.search(r"GNU_STACK\s+(?:0x\w+\s+)+(\w+)", segments)
    assert stack is not None
    assert stack[1] == "RW"
    assert "__stack_chk_fail" in output_of(tool("nm"), "-D", str(MODULE))


@pytest.mark.parametrize(
    ("function", "releases"),
    [
        ("zpy_cell_verify", False),
        ("zpy_key_encrypt", False),
        ("zpy_key_encrypt_plain", False),
        ("zpy_large_create", True),
        ("zpy_aead_encrypt", True),
        ("zpy_overwrite_span", True),
    ],
)
def test_gil(function: str, releases: bool) -> None:  # A parameter of the table above.
    """Short functions keep the GIL and do not even have the call that would release it."""
    code = output_of(tool("objdump"), "-d", f"--disassemble=_cffi_f_{function}", str(MODULE))
    if f"<_cffi_f_{function}>:" not in code:
        pytest.skip("needs a module that is not stripped")
    assert ("PyEval_SaveThread" in code) is releases
    assert ("PyEval_RestoreThread" in code) is releases
