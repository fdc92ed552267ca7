"""Upstream zeroizepy 1.2.0 in a process of its own, because its import name is ours.

As a module: `Upstream` starts the process and sends it work. As a script: that process. It lives as long as the
benchmark, times each batch itself, and waits in read(2) between batches, so that rounds interleave and the pipe is not
in the figures.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import timeit
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from harness import UPSTREAM, Case

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

VERSION = "1.2.0"
_BLOCK_BYTES = 512


class Upstream(AbstractContextManager["Upstream"]):
    """The process, from the parent's side. Use it in a `with` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(UPSTREAM)},
            text=True,
        )
        found = self._ask({"fetch": "version"})
        assert found == VERSION, f"the peer is zeroizepy {found}, not {VERSION}: run benchmarks/run"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the upstream process ended; its traceback stands above")
        return json.loads(answer)

    def run(self, code: str) -> None:
        """Run statements in the process; the names they bind stay."""
        self._ask({"run": code})

    def fetch(self, name: str) -> bytes:
        """The value of a name bound to bytes."""
        return bytes.fromhex(self._ask({"fetch": name}))

    def time(self, code: str, number: int) -> tuple[float, int]:
        """Time a statement.

        Returns:
            Seconds for `number` runs, and the bytes that the process wrote to block devices meanwhile.
        """
        seconds, written_bytes = self._ask({"time": code, "number": number})
        return seconds, written_bytes

    def statement(self, name: str, code: str, bytes_each: int = 0) -> Case:
        """A case that runs a statement in the process."""
        return Case(name, lambda number: self.time(code, number)[0], bytes_each)


def written_bytes(who: int = resource.RUSAGE_SELF) -> int:
    """Bytes that a process has written towards block devices so far, as the kernel counts them."""
    return resource.getrusage(who).ru_oublock * _BLOCK_BYTES


def _serve() -> None:
    names: dict[str, Any] = {"version": importlib.metadata.version("zeroizepy")}
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if "run" in request:
            exec(request["run"], names)  # noqa: S102 - the benchmark's own statements.
        elif "time" in request:
            before = written_bytes()
            seconds = timeit.Timer(request["time"], globals=names).timeit(request["number"])
            answer = (seconds, written_bytes() - before)
        else:
            value = names[request["fetch"]]
            answer = value.hex() if isinstance(value, bytes) else value
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
