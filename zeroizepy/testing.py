"""Leak checks for a program's own tests: does its code leave copies of a secret in memory, core dumps or swap?

    >>> from zeroizepy import CypherCell
    >>> from zeroizepy.testing import Canary, ResidueError, assert_no_residue, scan_process
    >>> with Canary() as canary, assert_no_residue(canary):
    ...     cell = CypherCell(canary.reveal_bytes())  # Code under test that leaves nothing behind.
    ...     cell.wipe()
    >>> with Canary() as canary:
    ...     with assert_no_residue(canary):
    ...         kept = [canary.reveal()]
    Traceback (most recent call last):
    ...
    zeroizepy.exceptions.ResidueError: 1 copy of the secret ...

- `assert_no_residue` fails a test when a block of code left a copy of a secret, and proves that its scan can see.
- `Canary` is a secret made for tests: random, kept in locked memory, known in several forms.
- The pytest plugin, loaded where zeroizepy is installed, has the fixture `secret_canary` and the marker `no_residue`.
- `scan_process`, `scan_core`, `scan_file` and `scan_swap` say where copies stand.

The scanner holds what it looks for in locked memory alone, compares in C, and reads into one buffer that it leaves out
of the scan and wipes. An empty answer is worth something only beside a control: a copy that was left on purpose and is
found. `assert_no_residue` has one built in; give one to the others.
"""

from __future__ import annotations

from .exceptions import ResidueError, ScanControlError
from .scan.canary import Canary
from .scan.files import scan_core, scan_file
from .scan.process import obstacle as scan_obstacle
from .scan.process import scan_process, scan_process_report
from .scan.residue import ResidueCheck, assert_no_residue
from .scan.swap import scan_swap
from .scan.values import FORMS, MIN_NEEDLE_BYTES, FileHit, FileReport, Hit, Region, ScanReport

__all__ = [
    "FORMS",
    "MIN_NEEDLE_BYTES",
    "Canary",
    "FileHit",
    "FileReport",
    "Hit",
    "Region",
    "ResidueCheck",
    "ResidueError",
    "ScanControlError",
    "ScanReport",
    "assert_no_residue",
    "scan_core",
    "scan_file",
    "scan_obstacle",
    "scan_process",
    "scan_process_report",
    "scan_swap",
]
