"""loops.c, compiled against the libsodium that the package is built with, and loaded through CFFI's ABI mode."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

from cffi import FFI
from harness import BUILD, HERE, Case

from zeroizepy import _lib

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
_CDEF = """
struct core { void *create; void *verify; void *wipe; };
int64_t loop_sodium_malloc(uint64_t number);
int64_t loop_mprotect(void *pages, size_t bytes, uint64_t number);
int64_t loop_cells(struct core const *core, uint64_t number, unsigned thread_count);
int64_t loop_seal(int algorithm, uint8_t *out, uint8_t const *message, size_t length, uint64_t number);
"""
_TAG_BYTES = 32
"""The longest."""


class Native:
    """The loops as cases."""

    def __init__(self) -> None:
        self._ffi = FFI()
        self._ffi.cdef(_CDEF)
        self._loops: Any = self._ffi.dlopen(_compiled())
        core = _lib.ffi.addressof
        addresses = [core(_lib.lib, f"zpy_cell_{name}") for name in ("create", "verify", "wipe")]
        self._core = self._ffi.new(
            "struct core *", [self._ffi.cast("void *", int(_lib.ffi.cast("uintptr_t", each))) for each in addresses]
        )

    def sodium_malloc(self, name: str) -> Case:
        """32 bytes from sodium_malloc, given back with sodium_free."""
        return self._case(name, self._loops.loop_sodium_malloc)

    def mprotect(self, name: str, address: int, size: int) -> Case:
        """Two mprotect calls, which leave the pages at this address without access.

        Args:
            name: For the results.
            address: Of the first page.
            size: Bytes, a multiple of the page size.
        """
        pages = self._ffi.cast("void *", address)
        return self._case(name, lambda number: self._loops.loop_mprotect(pages, size, number))

    def cells(self, name: str, threads: int) -> Case:
        """Create, verify and wipe cells with the core's own functions, by so many threads."""
        return self._case(name, lambda number: self._loops.loop_cells(self._core, number, threads))

    def seal(self, name: str, algorithm: int, message: bytes, bytes_each: int = 0) -> Case:
        """libsodium's own encryption, into one buffer again and again.

        Args:
            name, bytes_each: For the results.
            algorithm: The core's enum zpy_algorithm.
            message: What to encrypt.
        """
        out = self._ffi.new("uint8_t[]", len(message) + _TAG_BYTES)
        return self._case(
            name, lambda number: self._loops.loop_seal(algorithm, out, message, len(message), number), bytes_each
        )

    @staticmethod
    def _case(name: str, loop: Any, bytes_each: int = 0) -> Case:
        def batch(number: int) -> float:
            taken_ns = int(loop(number))
            if taken_ns < 0:
                raise OSError(-taken_ns, os.strerror(-taken_ns))
            return taken_ns / 1e9

        return Case(name, batch, bytes_each)


def _compiled() -> str:
    spec = importlib.util.spec_from_file_location("zeroizepy_build_for_loops", HERE.parent / "build_ffi.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = build
    spec.loader.exec_module(build)
    compiler = build.find_compiler()
    flags = build.hardening_flags(compiler)
    sodium = build.find_sodium(compiler, flags)
    target = str(BUILD / "loops.so")
    # The loops are looked up by name, unlike everything of the core.
    own = ["-std=c11", *flags, "-fvisibility=default", *WARNINGS, *sodium.compile_flags]
    link = [*sodium.archives, *sodium.link_flags, "-shared", "-pthread", "-o", target]
    subprocess.run([*compiler, *own, str(HERE / "loops.c"), *link], check=True)
    return target
