"""The C core alone: unit tests and threads at random, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
OPERATIONS = os.environ.get("ZEROIZEPY_STRESS_OPERATIONS", "100000")


@pytest.fixture(scope="module")
def build() -> Any:
    """build_ffi.py, for the compiler and the libsodium that the package was built with."""
    spec = importlib.util.spec_from_file_location("zeroizepy_build_for_c", ROOT / "build_ffi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def compiled(build: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that compiles one program of tests/c with the core."""
    try:
        compiler = build.find_compiler()
        sodium = build.find_sodium(compiler, build.hardening_flags(compiler))
    except build.BuildError as error:
        pytest.skip(f"no compiler or libsodium to build C tests with: {error}")
    folder = tmp_path_factory.mktemp("c")
    if not build.compiles(compiler, SANITIZERS, "int main(void) { return 0; }\n", link=True):
        pytest.skip(f"{compiler[0]} has no AddressSanitizer runtime")

    def run(name: str) -> Path:
        program = folder / name
        if not program.exists():
            core = sorted(str(path) for path in ROOT.glob("csrc/*.c"))
            source = str(ROOT / "tests/c" / f"{name}.c")
            flags = ["-std=c11", *SANITIZERS, *WARNINGS, f"-I{ROOT / 'csrc'}", *sodium.compile_flags]
            command = [*compiler, *flags, source, *core, *sodium.archives, *sodium.link_flags, "-pthread", "-o"]
            subprocess.run([*command, str(program)], check=True)
        return program

    return run


@pytest.mark.parametrize("backing", ["secretmem", "mlock"])
def test_core(compiled: Any, backing: str, tmp_path: Path) -> None:
    """Each promise of the core holds on both backings."""
    done = subprocess.run([compiled("test_core"), backing], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


# The tests of fatal signals handle them themselves, on stacks that the sanitizer does not know.
OWN_HANDLERS = {"ASAN_OPTIONS": "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:use_sigaltstack=0"}
CRASHES = "500"  # On each of two backings.


@pytest.mark.parametrize("backing", ["secretmem", "mlock"])
@pytest.mark.parametrize("program", [["test_fatal"], ["test_fatal_threads", CRASHES]], ids=lambda program: program[0])
def test_fatal_signals(compiled: Any, backing: str, program: list[str]) -> None:
    """Signals that end the process wipe all secrets first, beside held locks and at any moment, and never hang."""
    command = [compiled(program[0]), backing, *program[1:]]
    environment = {**os.environ, **OWN_HANDLERS}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-4000:]


@pytest.mark.parametrize("backing", ["secretmem", "mlock"])
def test_threads_at_random(compiled: Any, backing: str, tmp_path: Path) -> None:
    """Eight threads share and wipe cells: no wrong byte comes out, nothing is left, and the sanitizers are silent."""
    done = subprocess.run(
        [compiled("stress"), OPERATIONS, "8", str(os.getpid()), backing],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"seed {os.getpid()}: {done.stderr}"
    assert done.stdout.startswith(f"ok: {OPERATIONS} operations")
