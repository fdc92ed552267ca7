"""Builds the compiled core; metadata stands in pyproject.toml, and how the core is built in build_ffi.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# An isolated build does not put the source folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import build_ffi

if TYPE_CHECKING:
    from cffi import FFI


class BuildCore(build_ext):
    """Finds the compiler and libsodium only when C is compiled, so that metadata and an sdist need neither."""

    def pre_run(self, extension: Extension, _ffi: FFI) -> None:
        """Add what only this machine knows; cffi calls this just before it writes the C source of the module."""
        for option, values in build_ffi.extension_options().items():
            setattr(extension, option, [*getattr(extension, option), *values])
        # Flags and libsodium come from outside, so the age of the source files does not tell what is up to date.
        self.force = True


setup(
    cffi_modules=["build_ffi.py:make_ffi"],
    cmdclass={"build_ext": BuildCore},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
