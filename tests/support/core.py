"""The C core as other systems see it: its sources, its warnings, and the build's own knowledge of libsodium."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]


def sources() -> list[str]:
    """Every C file of the core."""
    return sorted(str(path) for path in ROOT.glob("csrc/*.c"))


def compile_core(command: list[str], folder: Path) -> list[str]:
    """Compile every C file of the core into `folder`, once for all programs that are linked with it.

    Args:
        command: The compiler and its flags, without -c and -o. A warning should fail it, and no flag is for linking.
        folder: Made here; it is not there yet.

    Returns:
        The object files.
    """
    folder.mkdir()
    done = subprocess.run([*command, "-c", *sources()], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(str(path) for path in folder.glob("*.o"))


def load_build(name: str) -> Any:
    """A copy of build_ffi.py of its own, as module `name`, so that its settings can be changed."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "build_ffi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
