"""What became of a whole tree: counts, and the reports of what failed, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from zeroizepy.json_form import JsonForm

from .report import ShredReport, now_text

__all__ = ["MAX_FAILURES", "NOTHING", "Tally", "TreeReport", "list_entry"]

MAX_FAILURES = 1000
"""Failures that are kept with their reports; more are counted."""

NOTHING = "nothing_to_overwrite"
"""Stands among the verdicts for what holds no bytes: empty files, links, FIFOs, sockets, device nodes."""

_MAX_CODES = 200


@dataclass(frozen=True, slots=True)
class TreeReport(JsonForm):
    """What became of a directory and all in it.

    Attributes:
        path: The directory.
        existed: False when there was nothing at the path.
        dry_run: True when nothing was changed; the verdicts are then those that a run is expected to give.
        verdicts: Files by verdict, those that failed included; `nothing_to_overwrite` for what holds no bytes.
        earlier: Files that earlier runs with the same journal had done, by verdict; not in the other counts.
        resumed: Files that an earlier run had begun and this one finished.
        unlinked: Names that are gone.
        size_bytes: What the files held when they were opened.
        bytes_written: Over all passes.
        failed: Files and directories with an error; the first 1000 stand in `failures`.
        failures: Their reports.
        reasons: How often each reason occurs in the files' reports.
        notes: How often each note does.
        directories_removed: Directories that are gone; 0 with `keep_directories`.
        directories_left: Directories that stand because something in them does or because they could not be removed;
            None when the run ended early, which leaves the others standing uncounted.
        list_sha256: SHA-256, in hex, over the `list_entry` of everything met that is no directory, in the order in
            which `on_report` got the reports; the list itself would grow with the tree. Of this run alone, without
            `earlier`. None after a dry run, and when there was nothing at the path.
        error: Why the run ended before its end, or None.
        seconds: Wall-clock time.
        finished: When this report was made, in UTC by this machine's clock, as in 2026-01-31T23:59:59Z.
    """

    schema: ClassVar[str] = "zeroizepy/tree-report/1"

    path: str
    existed: bool = True
    dry_run: bool = False
    verdicts: dict[str, int] = field(default_factory=dict)
    earlier: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    unlinked: int = 0
    size_bytes: int = 0
    bytes_written: int = 0
    failed: int = 0
    failures: tuple[ShredReport, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    directories_removed: int = 0
    directories_left: int | None = 0
    list_sha256: str | None = None
    error: str | None = None
    seconds: float = 0.0
    finished: str = field(default_factory=now_text)

    @property
    def files(self) -> int:
        """Everything met that is no directory."""
        return sum(self.verdicts.values())

    @property
    def complete(self) -> bool:
        """Whether nothing failed and nothing was left undone."""
        return self.error is None and not self.failed

    def __str__(self) -> str:
        if not self.existed:
            return f"{self.path}: nothing to do, no such directory"
        parts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(self.verdicts.items()))
        work = "would shred " if self.dry_run else ""
        failed = f"; {self.failed} failed" if self.failed else ""
        ended = f"; ended early: {self.error}" if self.error else ""
        return f"{self.path}: {work}{self.files} files{f' ({parts})' if parts else ''}{failed}{ended}"


def list_entry(report: ShredReport, root: str) -> bytes:
    """What stands for a file in the list whose hash a tree's report has.

    Args:
        report: Of the file, as `on_report` got it.
        root: The directory, as `shred_tree` got it.

    Returns:
        The bytes of the path below the directory, the size in decimal and the verdict (`nothing_to_overwrite` where
        there is none), each ended by a zero byte, which no path has.
    """
    path = os.fsencode(report.path.removeprefix(root).lstrip("/"))
    return b"%b\0%d\0%b\0" % (path, report.size_bytes, (report.verdict or NOTHING).encode())


class Tally:
    """A tree report in the making.

    Args:
        root: The directory, as the files' reports begin.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._list = hashlib.sha256()
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.failures: list[ShredReport] = []
        self.failed = self.resumed = self.unlinked = self.size_bytes = self.bytes_written = 0
        self.directories_removed = self.directories_left = 0

    def add(self, report: ShredReport) -> None:
        """Count one file."""
        self._list.update(list_entry(report, self._root))
        verdict = report.verdict
        if report.dry_run and report.plan is not None and report.error is None:
            verdict = report.plan.verdict
        self.verdicts[verdict or NOTHING] += 1
        self.unlinked += report.unlinked
        self.size_bytes += report.size_bytes
        self.bytes_written += sum(each.bytes_written for each in report.passes)
        for code in report.reasons:
            _count(self.reasons, code)
        for code in report.notes:
            _count(self.notes, code)
        if report.error is not None:
            self.fail(report)

    def fail(self, report: ShredReport) -> None:
        """Count what failed; that of a directory is counted here only."""
        self.failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(report)

    def report(self, *, dry_run: bool, earlier: dict[str, int], error: str | None, seconds: float) -> TreeReport:
        """The frozen value."""
        return TreeReport(
            path=self._root,
            dry_run=dry_run,
            verdicts=dict(self.verdicts),
            earlier=dict(earlier),
            resumed=self.resumed,
            unlinked=self.unlinked,
            size_bytes=self.size_bytes,
            bytes_written=self.bytes_written,
            failed=self.failed,
            failures=tuple(self.failures),
            reasons=dict(self.reasons),
            notes=dict(self.notes),
            directories_removed=self.directories_removed,
            directories_left=self.directories_left if error is None else None,
            list_sha256=None if dry_run else self._list.hexdigest(),
            error=error,
            seconds=seconds,
        )


def _count(counter: Counter[str], code: str) -> None:
    """Count a code; when there are too many different ones, without its detail."""
    counter[code if code in counter or len(counter) < _MAX_CODES else code.partition(":")[0]] += 1
