"""The matrix: all kinds of files on all file systems that this machine has, wiped, and searched for on the raw image.

`python tests/image/write_table.py` writes docs/shredding-matrix.md from the same runs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from image.layouts import LAYOUTS, Layout
from image.matrix import CONTROLS, VARIANTS, Outcome
from image.subjects import KINDS
from image.table import committed, groups, said
from image.write_table import try_run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.long

KEEPING = [
    layout
    for layout in LAYOUTS
    if not layout.arguments and (layout.keeps in ("snapshot", "reflink", "lower") or "journal" in layout.mount)
]
WITH_IMAGE = [layout for layout in LAYOUTS if layout.has_image]


@pytest.fixture(scope="session")
def outcome_of() -> Callable[[Layout], Outcome]:
    """Runs each file system once, for all tests."""
    done: dict[str, Outcome | str] = {}

    def outcome(layout: Layout) -> Outcome:
        found = done.get(layout.name) or try_run(layout)
        done[layout.name] = found
        if isinstance(found, str):
            pytest.skip(found)
        return found

    return outcome


def over(layouts: list[Layout]) -> pytest.MarkDecorator:
    """The test runs for each of these."""
    return pytest.mark.parametrize("layout", layouts, ids=lambda layout: layout.name)


@over(WITH_IMAGE)
def test_overwritten_leaves_no_content(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """Where the verdict says overwritten, not one stamp of the file's content is left anywhere on the image."""
    rows = outcome_of(layout).rows
    assert {key: row.places for key, row in rows.items() if row.says_overwritten and row.places} == {}


@over(WITH_IMAGE)
def test_a_left_attribute_is_noted(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """Where the value of an extended attribute is left on the image, the report says so, whatever the verdict."""
    rows = outcome_of(layout).rows
    left = {key: row for key, row in rows.items() if row.attribute_places}
    assert {key: row.notes for key, row in left.items() if not row.notes_attributes} == {}


@over(WITH_IMAGE)
def test_controls_leave_hits(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """The same search finds the content of files that were unlinked, and of those that were truncated and rewritten."""
    controls = outcome_of(layout).controls
    assert {name: sum(controls.get(name, Counter()).values()) > 0 for name in CONTROLS} == dict.fromkeys(CONTROLS, True)


@over(KEEPING)
def test_what_cannot_be_reached_is_found(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """Where a snapshot, a copy, a lower layer or the journal keeps the bytes, the search finds them."""
    row = outcome_of(layout).rows["4097", "default"]
    assert row.places.total() > 0
    assert row.verdict == "not_in_place"


@over(LAYOUTS)
def test_no_bystander_changes(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """Other files in the folder keep inode, mode, times and content, no name is added, and none is missing."""
    assert outcome_of(layout).bystanders == []


@over(LAYOUTS)
def test_every_file_is_run_and_none_fails(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """Each kind of file was wiped in each way or is named as impossible here, and no wipe raised an error."""
    outcome = outcome_of(layout)
    assert outcome.rows.keys() == {(kind, way) for kind in KINDS if kind not in outcome.left_out for way in VARIANTS}
    assert {key: row.error for key, row in outcome.rows.items() if row.error} == {}


@over(LAYOUTS)
def test_the_committed_table_is_what_happens(outcome_of: Callable[[Layout], Outcome], layout: Layout) -> None:
    """docs/shredding-matrix.md has the verdicts and reasons that come out today."""
    found = committed(layout.name)
    outcome = outcome_of(layout)
    if not found:
        pytest.skip(f"docs/shredding-matrix.md was written on a machine without {layout.name}")
    assert said(found) == said(groups(outcome))
