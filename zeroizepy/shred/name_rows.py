"""The names of a batch in rows that the C core takes away together; what is not ordinary goes back to its own run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zeroizepy._lib import ffi, lib

from . import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .name_steps import NameRun

__all__ = ["NameRows"]

_ROOM: int = lib.ZPY_NAME_ROOM
_TURNS: int = lib.ZPY_NAME_TURNS


class NameRows:
    """Names on their way out, one row each, and where each stands.

    A run whose name is in the rows learns of it at `put_back` only. One whose row met anything that is not ordinary is
    put back at once: it takes the step by itself, and says then what is wrong.

    Args:
        runs: Each with the lengths of the names that it gets, one for each turn. Names that no row can hold are left
            out.
    """

    def __init__(self, runs: Iterable[tuple[NameRun, Sequence[int]]]) -> None:
        held = [(run, lengths) for run, lengths in runs if len(lengths) <= _TURNS and _fits(run.name, lengths)]
        self._runs: list[NameRun] = [run for run, _ in held]
        self._held = set(self._runs)
        self._rows: Any = ffi.new("struct zpy_name[]", len(held))
        for row, (run, lengths) in zip(self._rows, held, strict=True):
            row.directory, row.fd = run.found.directory, run.fd
            row.name = os.fsencode(run.name)
            row.lengths = bytes(lengths)

    def __contains__(self, run: object) -> bool:
        """Whether the name is taken care of here."""
        return run in self._held

    def __len__(self) -> int:
        return len(self._held)

    def hide(self, turn: int) -> list[tuple[NameRun, names.NameReplacedError]]:
        """Rename all that have a length for this turn. Returns those under whose name another file stood."""
        return self._after(lib.zpy_names_hide(self._rows, len(self._runs), turn))

    def unlink(self) -> list[tuple[NameRun, names.NameReplacedError]]:
        """Unlink all. Returns none: a name that is not the file's is put back, and its run finds that, too."""
        return self._after(lib.zpy_names_unlink(self._rows, len(self._runs)))

    def put_back(self) -> None:
        """Tell all runs where they stand, and hold none any more. Idempotent."""
        for run, row in zip(self._runs, self._rows, strict=True):
            if run in self._held:
                _tell(run, row)
        self._held.clear()
        self._runs = []
        self._rows = ffi.new("struct zpy_name[]", 0)

    def _after(self, troubled: int) -> list[tuple[NameRun, names.NameReplacedError]]:
        replaced = []
        for run, row in zip(self._runs, self._rows, strict=True) if troubled else ():
            if not row.error or run not in self._held:
                continue
            self._held.discard(run)
            _tell(run, row)
            if row.astray:
                hidden = os.fsdecode(ffi.string(row.hidden))
                replaced.append((run, names.give_back(run.found.directory, hidden, run.name)))
        return replaced


def _fits(name: str, lengths: Sequence[int]) -> bool:
    return max(len(os.fsencode(name)), *lengths, 0) < _ROOM


def _tell(run: NameRun, row: Any) -> None:
    run.unlinked = bool(row.gone)
    run.renamed = bool(row.renamed)
    if not run.unlinked:
        run.name = os.fsdecode(ffi.string(row.name))
