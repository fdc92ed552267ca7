"""Going on where a killed run stopped: what the journal said then, and what it is told now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, cast, get_args

from .journal import Begun, Journal, State
from .report import ShredReport, Verdict
from .treereport import NOTHING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from .batch import Ticket

__all__ = ["Resume"]

_MOST_BEGUN = 4096
"""Files that the journal has as begun: at most 1024 of this run, and those of earlier ones that it has not met."""


class Resume:
    """The journal's side of a run; without a journal it does nothing.

    Args:
        journal: Open, or None.

    Attributes:
        resumed: Files that an earlier run had begun and this one has finished.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        state = State() if journal is None else journal.state
        self._earlier = Counter(state.counts)
        self._counts = Counter(state.counts)
        self._unmet = {(each.device, each.inode): each for each in state.begun}
        self._begun: dict[tuple[int, int], Begun] = {}
        self._before: dict[tuple[int, int], Begun] = {}
        self.resumed = 0

    def begin(self, files: Iterable[tuple[os.stat_result, int]]) -> None:
        """Have it on the device that these files are begun.

        Args:
            files: What fstat says, and how many bytes each holds.
        """
        if self._journal is None:
            return
        for status, size_bytes in files:
            key = (status.st_dev, status.st_ino)
            begun = Begun(*key, size_bytes)
            before = self._unmet.pop(key, None)
            if before is not None:
                self._before[key] = before
                if not size_bytes:  # Its content went in the earlier run, and what became of it was said then.
                    begun = before
            self._begun[key] = begun
        self._save(lasting=True)

    def settle(self, tickets: Iterable[Ticket]) -> None:
        """Note what became of the content of the batch, before the files are cut."""
        if self._journal is None:
            return
        for ticket in tickets:
            status = ticket.run.found.status
            begun = self._begun.get((status.st_dev, status.st_ino))
            if begun is not None and begun.outcome is None and ticket.report is None:
                begun.outcome = ticket.run.report().verdict or ""
        self._save(lasting=False)

    def complete(self, report: ShredReport, status: os.stat_result) -> ShredReport:
        """Count a file of the batch, and add to its report what only an earlier run knew."""
        key = (status.st_dev, status.st_ino)
        self._begun.pop(key, None)
        before = self._before.pop(key, None)
        if before is not None:
            report = replace(report, notes=(*report.notes, "resumed"))
            self.resumed += report.unlinked
            if report.verdict is None and before.outcome in get_args(Verdict):
                verdict = cast("Verdict", before.outcome)
                report = replace(report, verdict=verdict, size_bytes=before.size_bytes, reasons=())
        if report.unlinked:
            self._counts[report.verdict or NOTHING] += 1
        return report

    def finish(self) -> dict[str, int]:
        """Remove the journal. Returns the files that earlier runs had done, by verdict.

        What an earlier run had begun and is not there any more had been removed by it.
        """
        gone = map(_outcome_of, self._unmet.values())
        if self._journal is not None:
            self._journal.remove()
        return {**self.earlier(), **(self._earlier + Counter(gone))}

    def earlier(self) -> dict[str, int]:
        """The files that earlier runs had counted."""
        return dict(self._earlier)

    def _save(self, *, lasting: bool) -> None:
        if self._journal is None:
            return
        while len(self._begun) + len(self._unmet) > _MOST_BEGUN and self._unmet:
            # Most likely it is gone. Counted twice if it is met after all, rather than with what it was lost.
            outcome = _outcome_of(self._unmet.pop(next(iter(self._unmet))))
            self._earlier[outcome] += 1
            self._counts[outcome] += 1
        begun = [*self._begun.values(), *self._unmet.values()]
        self._journal.save(State(dict(self._counts), begun), lasting=lasting)


def _outcome_of(begun: Begun) -> str:
    """What to count a file as that an earlier run had begun and that is not there any more."""
    return "unknown" if begun.outcome is None else begun.outcome or NOTHING
