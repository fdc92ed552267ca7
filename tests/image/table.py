"""The matrix as a table in docs/shredding-matrix.md: rendering it, and reading the committed one back."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from image.matrix import CONTROLS, VARIANTS, Outcome, Row
from image.subjects import LATE

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "shredding-matrix.md"

Group = tuple[str, str, str, str, str]
"""File system, files, verdict, verdict with verify=True, reasons: the columns that may not change unnoticed."""

SOMETIMES = "sometimes"
"""Before a reason that only some of a group's wipes had."""

_HEAD = """\
# What secure_delete leaves on the raw device

Written by `tests/image/write_table.py` (as root), on Linux {kernel}; the tests compare the verdicts and reasons with a
run of their own. Do not edit.

Each file system lies in an image on a loop device. Files are written with content in which each 512 bytes tell file
and offset, and flushed; each is wiped by `secure_delete`, once with its defaults and once each with `verify=True`,
`pattern="zeros"` and `passes=1`; the image is unmounted, and all of it is searched. Numbers are file sizes in bytes.
"Old bytes left" says whether content of any of the files was found, and where, as far as FIEMAP (taken before the
wipe), debugfs and xfs_db tell; on btrfs they do not. "Attribute left" is the same for the value of an extended
attribute, of which the verdict does not speak: the note `attributes_may_remain` does. "Sometimes" stands before reasons
that not all wipes of the row had. What an earlier truncation cut off is not the file's any more, and is not looked for.

"""
_COLUMNS = ("file system", "files", "verdict", "with `verify=True`", "reasons", "old bytes left", "attribute left")


def _verdicts(outcome: Outcome, kind: str) -> tuple[str, str, str]:
    """What is said of a kind, after a check that neither pattern nor passes change the verdict."""
    rows = {variant: outcome.rows[kind, variant] for variant in VARIANTS}
    default, verified = rows["default"].verdict, rows["verify"].verdict
    for variant, row in rows.items():
        assert row.verdict == (verified if variant == "verify" else default), (outcome.layout.name, row)
    named = dict.fromkeys(reason for row in rows.values() for reason in row.reasons)
    reasons = [(reason, all(reason in row.reasons for row in rows.values())) for reason in named]
    texts = [f"`{reason}`" if always else f"{SOMETIMES} `{reason}`" for reason, always in reasons]
    return default or "-", verified or "-", ", ".join(texts) or "-"


def groups(outcome: Outcome) -> dict[Group, list[Row]]:
    """The rows of one file system, those with the same verdicts and reasons together."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for kind in dict.fromkeys(kind for kind, _ in outcome.rows):
        kinds.setdefault(_verdicts(outcome, kind), []).append(kind)
    return {
        (outcome.layout.name, "; ".join(each), *words): [outcome.rows[kind, v] for kind in each for v in VARIANTS]
        for words, each in kinds.items()
    }


def _places(outcome: Outcome, counts: list[Counter[str]]) -> str:
    if not outcome.layout.has_image:
        return "no image to search"
    names = sorted(set().union(*counts))
    return f"yes: {', '.join(names)}" if names else "no"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [_line(columns), _line(("---",) * len(columns)), *map(_line, rows), ""]


def render(outcomes: list[Outcome], missing: dict[str, str]) -> str:
    """The page.

    Args:
        outcomes: Of the file systems that this machine has.
        missing: For the others, why not.
    """
    main, controls, notes = [], [], []
    for outcome in outcomes:
        for group, rows in groups(outcome).items():
            attributes = [row.attribute_places for row in rows if row.kind.startswith("attribute")]
            left = _places(outcome, attributes) if attributes else "-"
            main.append((*group, _places(outcome, [row.places for row in rows]), left))
        if outcome.layout.has_image:
            found = (_places(outcome, [outcome.controls.get(name, Counter())]) for name in CONTROLS)
            controls.append((outcome.layout.name, *found))
        notes += [f"- {outcome.layout.name}, {kind}: {reason}." for kind, reason in outcome.left_out.items()]
    notes += [f"- {name}: {reason}." for name, reason in missing.items()]
    kernel = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    parts = [
        *_table(_COLUMNS, main),
        "## Controls: what the search finds when nothing is overwritten\n",
        *_table(("file system", *CONTROLS), controls),
        "## Not run\n",
        *notes,
    ]
    return _HEAD.format(kernel=kernel) + "\n".join(parts) + "\n"


def said(found: Iterable[Group]) -> dict[str, tuple[str, str, frozenset[str]]]:
    """Verdict, verdict with verify=True and reasons of each kind of file.

    Without the reasons that some of the wipes had: those depend on the moment and on random bytes.
    """
    answers = {}
    for _, kinds, verdict, verified, reasons in found:
        always = frozenset(reason for reason in reasons.split(", ") if not reason.startswith(SOMETIMES))
        answers.update(
            {kind: (verdict, verified, frozenset() if kind in LATE else always) for kind in kinds.split("; ")}
        )
    return answers


def committed(layout: str) -> list[Group]:
    """The committed page's rows of one file system, in order, without what was found on the device."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {layout} |")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [(each[0], each[1], each[2], each[3], each[4]) for each in cells if len(each) == len(_COLUMNS)]
