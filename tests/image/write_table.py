"""Run the whole matrix and write docs/shredding-matrix.md: `python tests/image/write_table.py`, as root."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from image.disk import UnavailableError
from image.layouts import LAYOUTS, Layout
from image.matrix import Outcome, run
from image.table import PAGE, render


def try_run(layout: Layout) -> Outcome | str:
    """What came out, or why this machine cannot run it."""
    try:
        return run(layout)
    except UnavailableError as error:
        return str(error)


def main() -> None:
    """Write the page."""
    outcomes: list[Outcome] = []
    missing: dict[str, str] = {}
    for layout in LAYOUTS:
        found = try_run(layout)
        if isinstance(found, Outcome):
            outcomes.append(found)
        else:
            missing[layout.name] = found
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(outcomes, missing), encoding="utf-8")


if __name__ == "__main__":
    main()
