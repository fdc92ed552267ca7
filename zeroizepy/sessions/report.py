"""What recovery found and did: frozen values that become dictionaries and lines of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zeroizepy.json_form import JsonForm
from zeroizepy.shred.report import ShredReport  # noqa: TC001 - the JSON form reads the type hints.

__all__ = ["Outcome", "RecoveredItem", "RecoveredSession", "RecoveryReport"]

Outcome = Literal["removed", "would_remove", "missing", "replaced", "unreachable", "failed"]
"""What became of a thing that a killed session left.

`removed`: its files were shredded as their reports tell, and it is gone.
`would_remove`: it is there; this was a dry run.
`missing`: nothing stands at its path.
`replaced`: something else stands there, which was left alone; where the session's own file is nobody knows.
`unreachable`: the directory that it was made in is not there, as on a volume that is not mounted.
`failed`: it, or a part of it, is still there.
"""
_DONE = ("removed", "missing")


@dataclass(frozen=True, slots=True)
class RecoveredItem:
    """One file or private directory of a session that was killed.

    Attributes:
        path: Where the session made it.
        kind: "file" or "directory".
        outcome: What became of it; `Outcome` has the words.
        reports: One for each file that was shredded, those in a directory included.
        errors: What failed, in words; where it is something in the directory, after its path from there.
    """

    path: str
    kind: str
    outcome: Outcome
    reports: tuple[ShredReport, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing of it is left at its path."""
        return self.outcome in _DONE

    def __str__(self) -> str:
        files = f", {len(self.reports)} files shredded" if self.reports else ""
        errors = f": {'; '.join(self.errors)}" if self.errors else ""
        return f"{self.path}: {self.outcome.replace('_', ' ')}{files}{errors}"


@dataclass(frozen=True, slots=True)
class RecoveredSession:
    """One journal without a living process.

    Attributes:
        journal: Its path.
        pid: The process that kept it; None when that cannot be read.
        started: When, in seconds since 1970; None when that cannot be read.
        items: What the session had made.
        closed: The journal is gone, because nothing is left to do or because it was to be forgotten.
        error: Why the journal itself could not be read, trusted or removed, or None.
    """

    journal: str
    pid: int | None = None
    started: float | None = None
    items: tuple[RecoveredItem, ...] = ()
    closed: bool = False
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left, as far as its journal tells."""
        return self.error is None and all(item.done for item in self.items)


@dataclass(frozen=True, slots=True)
class RecoveryReport(JsonForm):
    """What `recover` found and did.

    Attributes:
        directory: Where it looked for journals.
        dry_run: Whether nothing was touched.
        live: Sessions whose process lives, this one's included; they were left alone.
        sessions: The others.
        error: Why the directory could not be used, or None; one that does not exist holds nothing and is no error.
    """

    schema: ClassVar[str] = "zeroizepy/recovery-report/1"

    directory: str
    dry_run: bool = False
    live: int = 0
    sessions: tuple[RecoveredSession, ...] = ()
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left of any session that was killed; in a dry run, whether nothing was."""
        return self.error is None and all(session.complete for session in self.sessions)

    @property
    def reports(self) -> tuple[ShredReport, ...]:
        """The reports of all files, in order."""
        return tuple(report for session in self.sessions for item in session.items for report in item.reports)

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.directory}: {self.error}"
        if not self.sessions:
            return f"{self.directory}: no session was killed, {self.live} live"
        lines = [f"{session.journal}: {session.error}" for session in self.sessions if session.error is not None]
        return "\n".join(lines + [str(item) for session in self.sessions for item in session.items])
