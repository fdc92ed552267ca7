"""The macOS branch of the core: its syntax, against headers that have what macOS has and nothing that only Linux has.

tests/c/macos are such headers, cut down to what the core uses. That the branch works on macOS is not tested.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.core import ROOT, WARNINGS, load_build, sources

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM = ["-U__linux__", "-U__gnu_linux__", "-D__APPLE__", "-D__MACH__", "-ffreestanding", "-nostdinc"]


@pytest.fixture(scope="module")
def check() -> Callable[[str], Any]:
    """A function that lets the compiler look at one file as if on macOS."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc, whose own headers stand in for the compiler's on macOS")
    build = load_build("zeroizepy_build_for_macos")
    try:
        native = build.find_compiler()
        sodium = build.find_sodium(native, build.hardening_flags(native))
    except build.BuildError as error:
        pytest.skip(f"no libsodium, whose headers are needed: {error}")
    question = [compiler, "-print-file-name=include"]
    own = subprocess.run(question, capture_output=True, text=True, check=True).stdout.strip()
    folders = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests/c/macos'}", *sodium.compile_flags, "-isystem", own]

    def run(path: str) -> subprocess.CompletedProcess[str]:
        command = [compiler, "-std=c11", *SYSTEM, *WARNINGS, "-fsyntax-only", *folders, path]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("path", [Path(path).name for path in sources()])
def test_syntax(check: Callable[[str], Any], path: str) -> None:
    """Nothing that macOS lacks stands outside #if."""
    done = check(str(ROOT / "csrc" / path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("header", "name"),
    [("sys/mman.h", "MADV_DONTDUMP"), ("time.h", "CLOCK_BOOTTIME"), ("fcntl.h", "O_DIRECT")],
)
def test_names_of_linux_are_refused(check: Callable[[str], Any], tmp_path: Path, header: str, name: str) -> None:
    """The control: a file that uses such a name does not pass, while it does on Linux."""
    path = tmp_path / "linux.c"
    path.write_text(f"#define _GNU_SOURCE\n#include <{header}>\nint const used = {name};\n", encoding="utf-8")
    here = subprocess.run(["gcc", "-fsyntax-only", str(path)], capture_output=True, check=False)
    assert here.returncode == 0, "this control is for Linux"
    done = check(str(path))
    assert done.returncode != 0
    assert re.search(rf"{name}\W undeclared", done.stderr), done.stderr
