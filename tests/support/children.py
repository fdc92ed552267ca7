"""Python programs in processes of their own, for what would end or change the process of the tests."""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SYS_MEMFD_SECRET = 447
TIMEOUT_S = 600

_PRELUDE = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {tests!r})\n"
_TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@functools.cache
def backing_names() -> tuple[str, ...]:
    """The values of ZEROIZEPY_BACKEND that this kernel can serve, asked of the kernel and not of the package."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_MEMFD_SECRET, os.O_CLOEXEC)
    if fd < 0:
        return ("mlock",)
    os.close(fd)
    return ("secretmem", "mlock")


@dataclass
class Child:
    """Runs programs against the installed package.

    Attributes:
        backend: ZEROIZEPY_BACKEND for them.
        env: More variables.
    """

    backend: str
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, env: dict[str, str] | None = None) -> dict[str, str]:
        """This process's environment without our own variables, and then those of the child."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZEROIZEPY_", "ZPY_"))}
        return {**kept, "ZEROIZEPY_BACKEND": self.backend, **self.env, **(env or {})}

    def command(self, code: str, *arguments: str) -> list[str]:
        """The command line that runs `code`; `support` can be imported in it, the source folder cannot."""
        return [sys.executable, "-I", "-u", "-c", _PRELUDE.format(tests=_TESTS) + textwrap.dedent(code), *arguments]

    def run(
        self, code: str, *arguments: str, env: dict[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, whatever that is."""
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            self.command(code, *arguments),
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            **options,
        )

    def check(self, code: str, *arguments: str, env: dict[str, str] | None = None, **options: object) -> str:
        """Run a program that must end well, and return what it printed."""
        done = self.run(code, *arguments, env=env, **options)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


def need_core_files() -> None:
    """Skip a test that wants the kernel to leave core files in the working folder."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"needs a kernel.core_pattern that names a file in the working folder, not {pattern!r}")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("needs a hard RLIMIT_CORE above 0")


def need_root() -> None:
    """Skip a test that only root can run."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
