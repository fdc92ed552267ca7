"""What does importing the package add to the start of an interpreter?

Baseline: the same interpreter that imports nothing. Unit: milliseconds of wall-clock time for a whole process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial

from harness import UPSTREAM, Aim, Case, Difference, Repeats, facts, group, options, write_section
from upstream import VERSION

AIM = Aim(15)
BARE = "the bare interpreter"
INTRODUCTION = """\
Question: what does importing the package add to the start of an interpreter?
Unit: time for `python -c CODE` from start to exit, compiled bytecode and disk cache warm.

- `import zeroizepy` loads nothing until a name is used, so the import of a name is held against the aim as well."""


def run_process(code: str, folder: str | None, number: int) -> float:
    """Seconds for so many interpreters, one after the other; `folder` goes first on their path."""
    environment = dict(os.environ) if folder is None else {**os.environ, "PYTHONPATH": folder}
    command = [sys.executable, "-c", code]
    start = time.perf_counter()
    for _ in range(number):
        subprocess.run(command, check=True, env=environment)
    return time.perf_counter() - start


def process(name: str, code: str, folder: str | None = None) -> Case:
    """A case that runs one interpreter."""
    return Case(name, partial(run_process, code, folder))


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    repeats = Repeats(3 if chosen.quick else 41)
    upstream = str(UPSTREAM)
    version = "from importlib.metadata import version"
    run_process(f"{version}; assert version('zeroizepy') == {VERSION!r}", upstream, 1)
    run_process(f"{version}; assert version('zeroizepy') != {VERSION!r}", None, 1)
    cases = [
        process(BARE, "pass"),
        process("import zeroizepy", "import zeroizepy"),
        process("from zeroizepy import CypherCell", "from zeroizepy import CypherCell"),
        process("from zeroizepy import encrypt_data", "from zeroizepy import encrypt_data"),
        process("from zeroizepy import secure_delete", "from zeroizepy import secure_delete"),
        process("import cypher_cell", "import cypher_cell"),
        process("import nacl.secret", "import nacl.secret"),
        process("upstream: import zeroizepy", "import zeroizepy", upstream),
    ]
    aims = {"import zeroizepy": AIM, "from zeroizepy import CypherCell": AIM}
    wanted = [Difference(case.name, BARE, aims.get(case.name)) for case in cases[1:]]
    lines = [INTRODUCTION, f"- repeats: {repeats}", *facts(("cypher_cell", "PyNaCl", "cryptography")), ""]
    write_section(chosen.results, "Import", lines + group("Whole processes", cases, wanted, repeats))


if __name__ == "__main__":
    main()
