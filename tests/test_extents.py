"""Where a file's pieces are: ranges to write, and whether old bytes lie where they did, against plain models."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroizepy.shred.device_read import DeviceReader
from zeroizepy.shred.extents import NOWHERE, ExtentMap, data_ranges, is_kept, read_extents
from zeroizepy.shred.facts import FileFacts, Media
from zeroizepy.shred.plan import cut_into_blocks, end_of

if TYPE_CHECKING:
    from pathlib import Path

UNIT = 1024
# For each unit of a small file: no data, data without a place yet, or the unit of the device that it lies in.
UNITS = st.lists(st.none() | st.just(NOWHERE) | st.integers(0, 40), max_size=24)


def as_map(units: list[int | None]) -> ExtentMap:
    """The map of a file whose units lie in these units of the device."""
    found = ExtentMap()
    for index, unit in enumerate(units):
        if unit is not None:
            found.add(index * UNIT, NOWHERE if unit == NOWHERE else unit * UNIT, UNIT)
    return found


def as_units(pieces: list[tuple[int, int]]) -> set[int]:
    """The units that ranges cover."""
    return {unit for start, stop in pieces for unit in range(start // UNIT, -(-stop // UNIT))}


@given(UNITS)
def test_a_map_joins_neighbours_and_loses_nothing(units: list[int | None]) -> None:
    """The pieces cover the units that have data, each where it lies; no two of them could be one."""
    pieces = list(as_map(units).pieces())
    seen = {}
    for offset, place, length in pieces:
        for index in range(length // UNIT):
            seen[offset // UNIT + index] = place if place == NOWHERE else place // UNIT + index
    assert seen == {index: unit for index, unit in enumerate(units) if unit is not None}
    for (offset, place, length), (next_offset, next_place, _) in pairwise(pieces):
        follows = place == next_place == NOWHERE or (place != NOWHERE and place + length == next_place)
        assert offset + length < next_offset or not follows


@given(UNITS, UNITS)
def test_kept_means_each_placed_unit_is_where_it_was(before: list[int | None], after: list[int | None]) -> None:
    """Units without a place may go anywhere, others must stay; what is new does not matter."""
    after += [None] * (len(before) - len(after))
    expected = all(old in (None, NOWHERE) or old == new for old, new in zip(before, after, strict=False))
    assert is_kept(as_map(before), as_map(after)) == expected


@given(UNITS, st.data())
def test_kept_after_nothing_moved(before: list[int | None], data: st.DataObject) -> None:
    """Holes that were filled and delayed units that got a place are no move."""
    after = [data.draw(st.integers(50, 90)) if unit in (None, NOWHERE) else unit for unit in before]
    assert is_kept(as_map(before), as_map(after))


@given(st.lists(st.integers(1, 20), max_size=12), st.integers(0, 200))
def test_ranges_cover_the_pieces_in_whole_blocks(steps: list[int], end_unit: int) -> None:
    """Each piece is covered up to the end, in blocks of 4096 that meet nowhere; nothing further is."""
    edges = [sum(steps[: index + 1]) * 512 for index in range(len(steps))]
    pieces = list(zip(edges[::2], edges[1::2], strict=False))
    end = end_unit * 512
    ranges = list(cut_into_blocks(pieces, end))
    blocks = {block for start, stop in pieces for block in range(start // 4096, -(-stop // 4096))}
    covered = {block for start, stop in ranges for block in range(start // 4096, -(-stop // 4096))}
    assert covered == {block for block in blocks if block * 4096 < end}
    for start, stop in ranges:
        assert start % 4096 == 0
        assert stop % 4096 == 0 or stop == end
        assert start < stop <= end
    assert all(left[1] < right[0] for left, right in pairwise(ranges))


@given(st.integers(0, 1 << 40), st.sampled_from([512, 1024, 4096, 65536]), st.integers(0, 1 << 20))
def test_a_pass_ends_with_the_last_block(size: int, block: int, further: int) -> None:
    """The last block to its end, and what is preallocated behind it; the size alone where blocks are not known."""
    found = ExtentMap()
    if size + further:
        found.add(0, 0, size + further)
    facts = FileFacts(size, size, 1, "ext4", data_journal=False, extents=found, media=Media(), block_bytes=block)
    assert end_of(facts) == max(-(-size // block) * block, size + further)
    for changes in ({"extents": None}, {"file_system": "nfs"}, {"extents": ExtentMap(frozenset({"inline"}))}):
        values = {name: getattr(facts, name) for name in FileFacts.__dataclass_fields__}
        assert end_of(FileFacts(**(values | changes))) == size


@pytest.mark.parametrize("holes", [[(0, 65536)], [(65536, 131072)], [(0, 65536), (131072, 196608)], [(131072, 262144)]])
def test_holes_of_a_real_file(tmp_path: Path, holes: list[tuple[int, int]]) -> None:
    """FIEMAP and SEEK_DATA leave out the holes, and what both call data together is what was written."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(262144)
        for start in range(0, 262144, 65536):
            if not any(first <= start < last for first, last in holes):
                file.seek(start)
                file.write(b"x" * 65536)
        file.flush()
        os.fsync(file.fileno())
    fd = os.open(path, os.O_RDONLY)
    try:
        sought, mapped = data_ranges(fd, 262144), read_extents(fd)
        found = list(sought) if sought is not None else None
    finally:
        os.close(fd)
    expected = set(range(262144 // UNIT)) - as_units(holes)
    if found is None and mapped is None:
        pytest.skip("needs a file system that tells of holes")
    if found is not None:
        assert as_units(found) == expected
    if mapped is not None:
        assert as_units([(offset, offset + length) for offset, _, length in mapped.pieces()]) == expected


def test_a_file_in_too_many_pieces_has_no_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is bounded; beyond that the file is one whose extents are unknown."""
    from zeroizepy.shred import extents

    path = tmp_path / "file"
    with path.open("wb") as file:
        for start in range(0, 40 << 16, 2 << 16):
            file.seek(start)
            file.write(b"x" * 65536)
        file.flush()
        os.fsync(file.fileno())
    fd = os.open(path, os.O_RDONLY)
    try:
        if read_extents(fd) is None:
            pytest.skip("needs a file system with FIEMAP")
        monkeypatch.setattr(extents, "MAX_EXTENTS", 10)
        assert read_extents(fd) is None
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("extents", "fault"),
    [
        (None, "does not say where"),
        (ExtentMap(frozenset({"inline"})), "does not say where"),
        (ExtentMap(frozenset({"delayed"})), "had no place on the device yet; sync gives them one"),
    ],
)
def test_why_a_device_is_not_read(extents: ExtentMap | None, fault: str) -> None:
    """A file that was written moments ago is told from one whose place the file system keeps to itself."""
    facts = FileFacts(4096, 4096, 1, "ext4", None, extents, Media())
    with pytest.raises(OSError, match=fault):
        DeviceReader(-1, facts)
