"""Plans, facts and options: pure parts, under properties."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroizepy.shred import calls, names
from zeroizepy.shred import extents as extents_module
from zeroizepy.shred import facts as facts_module
from zeroizepy.shred.extents import ExtentMap
from zeroizepy.shred.facts import FileFacts, Media, Mount, Surroundings, parse_mountinfo, read_facts
from zeroizepy.shred.options import BUFFER_BYTES, RANDOM, Pattern, ShredOptions, buffer_size, parse_pattern, round_up
from zeroizepy.shred.plan import make_plan, warning_text
from zeroizepy.shred.report import Verdict, explain

IN_PLACE = ["ext2", "ext3", "ext4", "xfs", "vfat", "exfat"]
ELSEWHERE = ["btrfs", "zfs", "overlay", "tmpfs", "nfs", "fuse.sshfs", "f2fs", "bcachefs", "unknown", "ext5"]

KINDS = ["shared", "inline", "encoded", "delayed", "preallocated", "unknown"]


def extent_map(kinds: frozenset[str] = frozenset(), *pieces: tuple[int, int, int]) -> ExtentMap:
    """A map of these (offset, place, length)."""
    found = ExtentMap(kinds)
    for offset, place, length in pieces:
        found.add(offset, place, length)
    return found


FACTS = st.builds(
    FileFacts,
    size_bytes=st.integers(0, 1 << 45),
    allocated_bytes=st.integers(0, 1 << 45),
    hard_links=st.integers(1, 9),
    file_system=st.sampled_from(IN_PLACE + ELSEWHERE),
    data_journal=st.sampled_from([True, False, None]),
    extents=st.none() | st.builds(extent_map, st.frozensets(st.sampled_from(KINDS))),
    media=st.builds(Media, st.none() | st.just("sda"), st.sampled_from([True, False, None]), st.booleans()),
    block_bytes=st.sampled_from([512, 1024, 4096, 65536]),
    no_cow=st.booleans(),
    attributes=st.lists(st.just("user.a"), max_size=2).map(tuple),
    open_elsewhere=st.sampled_from([True, False, None]),
)
OPTIONS = st.builds(
    ShredOptions,
    passes=st.integers(0, 40).map(lambda count: (RANDOM,) * count),
    rename=st.booleans(),
    sync=st.booleans(),
    buffer_bytes=st.just(BUFFER_BYTES),
    follow_symlinks=st.booleans(),
    dry_run=st.booleans(),
    verify=st.booleans(),
    unlink=st.booleans(),
    wipe_journal=st.booleans(),
    allow_hard_links=st.booleans(),
    force=st.booleans(),
    warn=st.booleans(),
)
GOOD = FileFacts(5000, 8192, 1, "ext4", data_journal=False, extents=extent_map(), media=Media("sda", rotational=True))


def options(**changes: object) -> ShredOptions:
    """Three synced random passes, with changes."""
    return replace(ShredOptions(), **changes)  # type: ignore[arg-type]


def test_an_empty_file_with_blocks() -> None:
    """What was preallocated is overwritten; a note says that content which the file had before is not reached."""
    facts = replace(GOOD, size_bytes=0, extents=extent_map(frozenset({"preallocated"}), (0, 1 << 20, 4096)))
    plan = make_plan("path", facts, options())
    assert (plan.verdict, plan.write_bytes, "empty" in plan.notes) == ("overwritten", 4096, True)
    assert "empty" not in make_plan("path", replace(facts, size_bytes=1), options()).notes


@given(FACTS, OPTIONS)
def test_old_bytes_that_may_remain_never_get_an_overwritten_verdict(facts: FileFacts, wishes: ShredOptions) -> None:
    """An "overwritten" verdict needs a pass, a flush, a file system and extents that stay in place; else a reason."""
    plan = make_plan("path", facts, wishes)
    kinds = facts.extents.kinds if facts.extents is not None else frozenset()
    in_place = facts.file_system in IN_PLACE or (facts.file_system == "btrfs" and facts.no_cow)
    journal = wishes.wipe_journal and facts.file_system in ("ext3", "ext4")
    stays = (
        in_place
        and (facts.data_journal is False or journal)
        and not kinds & {"shared", "encoded"}
        and ("inline" not in kinds or journal)
        and (facts.file_system in ("vfat", "exfat") or facts.extents is not None)
        and (facts.open_elsewhere is False or (facts.extents is not None and "delayed" not in kinds))
    )
    reached = bool(plan.write_bytes and wishes.passes and (wishes.sync or wishes.verify)) and stays
    if plan.verdict in ("overwritten", "overwritten_verified"):
        assert reached
        assert plan.reasons == ()
        assert (plan.verdict == "overwritten_verified") == wishes.verify
    elif plan.write_bytes:
        assert plan.verdict == "not_in_place"
        assert plan.reasons
        assert not reached or "unknown" in kinds
    else:
        assert (plan.verdict, plan.reasons) == (None, ("empty" if not facts.size_bytes else "only_holes",))


@given(FACTS, OPTIONS)
def test_a_plan_is_pure_and_adds_up(facts: FileFacts, wishes: ShredOptions) -> None:
    """Same input, same plan; totals, buffer and steps agree with the wishes; every code has words."""
    plan = make_plan("path", facts, wishes)
    assert plan == make_plan("path", facts, wishes)
    count = len(wishes.passes)
    assert len(plan.passes) == count
    assert plan.total_bytes == plan.write_bytes * (count + (wishes.verify and count > 0))
    assert plan.buffer_bytes % 4096 == 0
    assert 4096 <= plan.buffer_bytes <= max(4096, min(BUFFER_BYTES, plan.write_bytes + 4095))
    assert not plan.direct or wishes.sync
    assert ("unlink" in plan.steps()) == wishes.unlink
    assert len([line for line in plan.steps() if line.startswith("pass")]) == (count if plan.write_bytes else 0)
    assert all(explain(code).split(" (")[0] != code.partition(":")[0] for code in (*plan.reasons, *plan.notes))
    assert plan.verdict is None or plan.verdict in get_args(Verdict)
    assert not (plan.truncate and facts.hard_links > 1)
    assert plan.unlink or not (plan.truncate or plan.rename)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"file_system": "btrfs"}, "file_system:btrfs"),
        ({"data_journal": True}, "data_journal"),
        ({"data_journal": None}, "journal_mode_unknown"),
        ({"extents": extent_map(frozenset({"shared"}))}, "extents_shared"),
        ({"extents": extent_map(frozenset({"inline"}))}, "extents_inline"),
        ({"extents": extent_map(frozenset({"encoded"}))}, "extents_encoded"),
        ({"extents": None}, "extents_unknown"),
        ({"file_system": "vfat", "extents": None}, "open_without_places"),
        ({"extents": extent_map(frozenset({"delayed"})), "open_elsewhere": True}, "open_without_places"),
    ],
)
def test_each_bad_fact_has_its_reason_and_its_warning(changes: dict[str, object], reason: str) -> None:
    """One bad fact alone turns the verdict, is named, and is warned of."""
    values = {name: getattr(GOOD, name) for name in FileFacts.__dataclass_fields__}
    assert make_plan("path", GOOD, options()).verdict == "overwritten"
    plan = make_plan("path", FileFacts(**(values | changes)), options())
    assert (plan.verdict, plan.reasons) == ("not_in_place", (reason,))
    assert reason in (warning_text(plan) or "")


def test_what_the_caller_asked_for_is_not_warned_of() -> None:
    """No pass and no sync turn the verdict without a warning."""
    plan = make_plan("path", GOOD, options(passes=(), sync=False))
    assert plan.verdict == "not_in_place"
    assert warning_text(plan) is None


def test_bytes_not_yet_on_the_device_are_not_put_there() -> None:
    """A file with delayed allocation is overwritten in the page cache: O_DIRECT would write the old bytes out first."""
    values = {name: getattr(GOOD, name) for name in FileFacts.__dataclass_fields__} | {"size_bytes": 1 << 30}
    assert make_plan("path", FileFacts(**values), options()).direct
    assert not make_plan(
        "path", FileFacts(**(values | {"extents": extent_map(frozenset({"delayed"}))})), options()
    ).direct


MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard,data=journal
23 22 0:44 / /mnt/a\\040b rw - fuse.sshfs host:/x rw,user_id=0
24 22 0:45 / /broken
25 22 0:46 / /short - ext4
"""


def test_parse_mountinfo() -> None:
    """Optional fields are skipped, both option lists are kept, a broken line is no mount."""
    first = parse_mountinfo(MOUNTINFO, 22)
    assert first == Mount("ext4", ("rw", "relatime", "rw", "discard", "data=journal"), "254:0")
    second = parse_mountinfo(MOUNTINFO, 23)
    assert second is not None
    assert second.file_system == "fuse.sshfs"
    assert [parse_mountinfo(MOUNTINFO, number) for number in (24, 25, 2, 99)] == [None] * 4


@given(st.text(), st.integers(0, 99))
def test_parse_mountinfo_never_raises(text: str, mount_id: int) -> None:
    """Whatever the kernel prints, the answer is a mount or None."""
    assert isinstance(parse_mountinfo(f"{mount_id} {text}", mount_id), (Mount, type(None)))


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        (0x0, set()),
        (0x1, set()),
        (0x1000, set()),
        (0x800 | 0x1000, {"preallocated"}),
        (0x2000, {"shared"}),
        (0x200 | 0x100, {"inline"}),
        (0x8, {"encoded"}),
        (0x80 | 0x8, {"encoded"}),
        (0x4 | 0x2, {"delayed"}),
        (0x2, {"unknown"}),
    ],
)
def test_extent_flags(flags: int, kinds: set[str]) -> None:
    """Flags of linux/fiemap.h: last, unwritten and merged are harmless, the others have their names."""
    assert extents_module.extent_kinds(flags) == kinds


@pytest.mark.parametrize(("flags", "answer"), [(0x80000, False), (0x4000, True), (0x84000, True)])
def test_journal_attribute_of_a_file(flags: int, answer: object) -> None:
    """FS_JOURNAL_DATA_FL of linux/fs.h, as chattr +j sets it; only ext file systems are asked."""
    for kind, expected in (("ext4", answer), ("xfs", False)):
        around = Surroundings(Mount(kind, ("rw",), "0:0"), Media(), data_journal=False)
        assert facts_module._data_journal(flags, around) is expected


@pytest.mark.parametrize("own", [True, False, None])
@pytest.mark.parametrize("mode", [True, False, None])
def test_one_journal_is_enough(own: object, mode: bool | None) -> None:
    """The file's attribute or the mount's mode; unknown unless both say no."""
    flags = None if own is None else 0x4000 if own else 0
    expected = True if True in (own, mode) else None if None in (own, mode) else False
    around = Surroundings(Mount("ext2", ("rw",), "0:0"), Media(), data_journal=mode)
    assert facts_module._data_journal(flags, around) is expected


@pytest.mark.parametrize(
    ("file_system", "options", "written", "answer"),
    [
        ("ext4", ("rw", "data=journal"), None, True),
        ("ext4", ("rw",), "ext4/loop7: rw delalloc data=ordered", False),
        ("ext4", ("rw",), "ext4/loop7: rw data=journal commit=5", True),
        ("ext3", ("rw",), "ext4/loop7: rw data=journal", True),
        ("ext3", ("rw",), "ext3/loop7: rw data=journal", True),
        ("ext2", ("rw",), "ext4/loop7: rw data=journal", True),
        ("ext4", ("rw",), "ext4/loop7: rw bsddf", False),
        ("ext4", ("rw",), "ext4/loop7:", None),
        ("ext4", ("rw",), "ext4/loop8: rw data=ordered", None),
        ("ext4", ("rw",), None, None),
        ("ext2", ("rw",), "ext4/loop8: rw data=journal", False),
        ("ext2", ("rw",), None, None),
    ],
)
def test_the_driver_is_asked_for_the_journal_mode(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    file_system: str,
    options: tuple[str, ...],
    written: str | None,
    answer: object,
) -> None:
    """Of the very device, by its kernel name; a driver that says nothing is unknown, but for plain ext2."""
    (tmp_path / "loop7").mkdir()
    (tmp_path / "7:7").symlink_to(tmp_path / "loop7")
    if written is not None:
        name, _, text = written.partition(":")
        (tmp_path / "fs" / name).mkdir(parents=True)
        (tmp_path / "fs" / name / "options").write_text("\n".join(text.split()), encoding="ascii")
    monkeypatch.setattr(facts_module, "_SYS_BLOCK", str(tmp_path))
    monkeypatch.setattr(facts_module, "_PROC_FS", str(tmp_path / "fs"))
    assert facts_module._mounted_with_data_journal(Mount(file_system, options, "7:7")) is answer


def answer_of(pieces: list[tuple[int, int, int, int]], *, is_last: bool) -> SimpleNamespace:
    """What the core says of some extents: offset, place, length and flags of each."""
    fields = ("offset", "place", "length", "flags")
    extents = [SimpleNamespace(**dict(zip(fields, each, strict=True))) for each in pieces]
    return SimpleNamespace(count=len(extents), is_last=is_last, extent=extents)


def test_extents_are_read_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared extent behind the first batch is found: each call goes on where the last one ended."""
    starts: list[int] = []

    def ask(_fd: int, start: int) -> SimpleNamespace:
        starts.append(start)
        pieces = [(start + index, 7, 1, 0x2001 if start + index == 191 else 0) for index in range(64)]
        return answer_of(pieces, is_last=start == 128)

    monkeypatch.setattr(calls, "extents_from", ask)
    found = extents_module.read_extents(0)
    assert found is not None
    assert (found.kinds, len(found.offsets), found.end) == ({"shared"}, 192, 192)
    assert starts == [0, 64, 128]


def test_a_file_in_many_pieces(tmp_path: Path) -> None:
    """The real calls go on, too: a file with more pieces than one answer holds is known to its end."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        for number in range(200):
            file.seek(number * 16384)
            file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
        found = extents_module.read_extents(file.fileno())
    if found is None:
        pytest.skip("needs a file system with FIEMAP")
    assert (found.offsets[-1], found.end) == (199 * 16384, 199 * 16384 + 4096)
    assert len(found.offsets) == 200


def test_extents_that_do_not_get_on_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that answers with the same empty extent for ever gets no loop out of us."""
    starts: list[int] = []

    def ask(_fd: int, start: int) -> SimpleNamespace:
        starts.append(start)
        assert len(starts) < 9
        return answer_of([(0, 0, 0, 0)], is_last=False)

    monkeypatch.setattr(calls, "extents_from", ask)
    assert extents_module.read_extents(0) is None


@pytest.mark.parametrize("has_calls", [True, False])
def test_a_question_without_answer_is_an_unknown_fact(monkeypatch: pytest.MonkeyPatch, *, has_calls: bool) -> None:
    """Where the kernel refuses to answer, or has no such calls, the facts say unknown and not good."""
    monkeypatch.setattr(facts_module, "mount_of", lambda _fd: Mount("ext4", ("rw",), "0:0"))
    if not has_calls:
        core = SimpleNamespace(zpy_file_look=lambda *_: 1, ZPY_OK=0)
        monkeypatch.setattr(calls, "lib", core)
    fd = os.open("/proc/self/status", os.O_RDONLY)
    try:
        facts = read_facts(fd)
    finally:
        os.close(fd)
    assert (facts.extents, facts.data_journal) == (None, None)
    assert has_calls or facts.open_elsewhere is None
    expected = ("journal_mode_unknown", "extents_unknown")
    assert make_plan("path", replace(facts, size_bytes=9000), options()).reasons == expected


def test_facts_of_a_real_file(tmp_path: Path) -> None:
    """Size, links and file system of a file that was just written."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 9000)
    os.link(path, tmp_path / "other")
    fd = os.open(path, os.O_RDONLY)
    try:
        facts = read_facts(fd)
    finally:
        os.close(fd)
    assert (facts.size_bytes, facts.hard_links) == (9000, 2)
    assert facts.file_system in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


@given(st.integers(1, 1 << 70))
def test_buffer_size(chunk_size: int) -> None:
    """Buffers are whole blocks, hold what was asked, and stay within 64 MiB."""
    size = buffer_size(chunk_size)
    assert size % 4096 == 0
    assert 4096 <= size <= 64 << 20
    assert size >= min(chunk_size, 64 << 20)
    assert size - chunk_size < 4096


@given(st.integers(0, 1 << 60))
def test_round_up(size: int) -> None:
    """The next multiple of 4096, and never 0."""
    assert round_up(size) % 4096 == 0
    assert max(1, size) <= round_up(size) < size + 4097


@given(st.binary(min_size=1, max_size=512), st.sampled_from([bytes, bytearray, memoryview]))
def test_bytes_patterns_are_copied_and_not_named(data: bytes, kind: type) -> None:
    """A pattern keeps its own copy of the bytes; its name tells only their number."""
    assert parse_pattern(kind(data)) == Pattern(f"bytes:{len(data)}", data)


@given(st.integers(1, 255))
def test_random_names(length: int) -> None:
    """Random names have the length asked for and only harmless characters."""
    name = names.random_name(length)
    assert len(name) == length
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789")
