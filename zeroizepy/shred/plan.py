"""From facts and wishes to a plan. Pure: the same input gives the same plan, and nothing is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import BLOCK_BYTES, ShredOptions, round_up
from .report import ShredPlan, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .facts import FileFacts

__all__ = ["PSEUDO_FILE_SYSTEMS", "cut_into_blocks", "direct_reads_hold", "end_of", "make_plan", "warning_text"]

_IN_PLACE = frozenset({"ext2", "ext3", "ext4", "xfs", "vfat", "exfat"})
"""File systems that write a file's allocated blocks where they are, unless a fact about the file says otherwise.

xfs does so for extents that are not shared, and btrfs for files that have the no-copy-on-write attribute, too. All
others, known and unknown, count as not in place: zfs, bcachefs and f2fs write elsewhere, overlay copies up, tmpfs may
have swapped, and a network or FUSE server can do anything.
"""

_HAS_FIEMAP = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})
_HAS_CHECKPOINT = frozenset({"ext3", "ext4"})

PSEUDO_FILE_SYSTEMS = frozenset(
    {
        "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl", "mqueue", "proc", "pstore",
        "securityfs", "selinuxfs", "sysfs", "tracefs",
    }
)  # fmt: skip
"""Their files are doors into the kernel; a write is a command and there is nothing to overwrite."""

_DIRECT_FROM_BYTES = 1 << 20
"""Smaller files gain nothing from O_DIRECT."""

_IN_JOURNAL = frozenset({"data_journal", "journal_mode_unknown", "extents_inline"})
"""Reasons that no longer hold once the journal was written back and zeroed."""


def _is_in_place(facts: FileFacts) -> bool:
    return facts.file_system in _IN_PLACE or (facts.file_system == "btrfs" and facts.no_cow)


def _kinds(facts: FileFacts) -> frozenset[str]:
    return facts.extents.kinds if facts.extents is not None else frozenset()


def _reasons(facts: FileFacts, options: ShredOptions) -> tuple[str, ...]:
    """Why old bytes may remain although all goes well; empty when none should."""
    reasons = []
    if not options.passes:
        reasons.append("no_pass")
    if not _is_in_place(facts):
        reasons.append(f"file_system:{facts.file_system}")
    if facts.data_journal is not False:
        reasons.append("data_journal" if facts.data_journal else "journal_mode_unknown")
    if facts.file_system in _HAS_FIEMAP if facts.extents is None else "unknown" in facts.extents.kinds:
        reasons.append("extents_unknown")
    reasons += [f"extents_{kind}" for kind in ("shared", "inline", "encoded") if kind in _kinds(facts)]
    has_places = facts.extents is not None and "delayed" not in facts.extents.kinds
    if (
        facts.open_elsewhere is not False
        and not has_places
        and _is_in_place(facts)
        and "extents_unknown" not in reasons
    ):
        reasons.append("open_without_places")
    # A verified pass was flushed for the comparison, so it is on the device even without sync.
    if options.passes and not options.sync and not options.verify:
        reasons.append("not_synced")
    if options.wipe_journal and facts.file_system in _HAS_CHECKPOINT:
        reasons = [reason for reason in reasons if reason not in _IN_JOURNAL]
    return tuple(reasons)


def _notes(facts: FileFacts, options: ShredOptions, hole_bytes: int | None) -> tuple[str, ...]:
    notes = ["name_may_remain"] if options.unlink else []
    if not facts.size_bytes and end_of(facts):
        notes.append("empty")
    if facts.hard_links > 1:
        notes.append(f"hard_links_remain:{facts.hard_links - 1}")
    if facts.open_elsewhere:
        notes.append("open_elsewhere")
    if hole_bytes:
        notes.append(f"holes_skipped:{hole_bytes}")
    elif hole_bytes is None and facts.allocated_bytes < facts.size_bytes:
        notes.append("sparse")
    if facts.attributes:
        notes.append(f"attributes_may_remain:{len(facts.attributes)}")
    if len(options.passes) > 1 and not options.sync:
        notes.append("passes_merged")
    if facts.media.stacked:
        notes.append(f"stacked_device:{facts.media.name}")
    if facts.media.rotational is not True:
        notes.append("flash_or_unknown_media")
    return tuple(notes)


def end_of(facts: FileFacts) -> int:
    """Where each pass ends: at the end of the last block, or of what is preallocated behind it, if that is known.

    A file in its inode has no last block, and writing more than its size would move it out of there.
    """
    if facts.extents is None or not _is_in_place(facts) or "inline" in facts.extents.kinds:
        return facts.size_bytes
    slack = -facts.size_bytes % facts.block_bytes if facts.size_bytes else 0
    return max(facts.size_bytes + slack, facts.extents.end)


def cut_into_blocks(pieces: Iterable[tuple[int, int]], end: int) -> Iterator[tuple[int, int]]:
    """Grow pieces [start, stop) to whole blocks of 4096 bytes, which the passes write in, and join those that meet.

    Args:
        pieces: In order and without overlap.
        end: No piece reaches further.
    """
    start = stop = 0
    for first, last in pieces:
        first_block, last_block = first // BLOCK_BYTES * BLOCK_BYTES, min(-(-last // BLOCK_BYTES) * BLOCK_BYTES, end)
        if first_block > stop:
            if stop > start:
                yield start, stop
            start = first_block
        elif stop == start:
            start = first_block
        stop = max(stop, last_block)
    if stop > start:
        yield start, stop


def make_plan(
    path: str, facts: FileFacts, options: ShredOptions, write_bytes: int | None = None, hole_bytes: int | None = None
) -> ShredPlan:
    """Decide what to do to a file, and what can be said about it afterwards.

    Args:
        path: For the plan.
        facts: Of the file.
        options: The caller's wishes.
        write_bytes: What each pass writes; None for all up to `end_of`.
        hole_bytes: What it passes over, because nothing is stored there; None when that is not known.
    """
    if write_bytes is None:
        write_bytes = end_of(facts)
    reasons = _reasons(facts, options)
    verdict: Verdict | None
    if not write_bytes:
        # Holes have no bytes on the device, however large the file says it is.
        verdict, reasons = None, ("empty" if not facts.size_bytes else "only_holes",)
    elif reasons:
        verdict = "not_in_place"
    else:
        verdict = "overwritten_verified" if options.verify else "overwritten"
    return ShredPlan(
        path=path,
        size_bytes=facts.size_bytes,
        write_bytes=write_bytes,
        scheme=options.scheme,
        passes=tuple(each.name for each in options.passes),
        buffer_bytes=min(options.buffer_bytes, round_up(write_bytes)),
        # O_DIRECT makes the kernel write dirty pages out first, which for bytes that never reached the device
        # would put them there; overwriting those in the page cache keeps them away from it.
        direct=options.sync and write_bytes >= _DIRECT_FROM_BYTES and "delayed" not in _kinds(facts),
        sync=options.sync,
        verify=options.verify,
        device=options.device and options.verify,
        attributes=len(facts.attributes),
        truncate=options.unlink and bool(facts.size_bytes or write_bytes) and facts.hard_links == 1,
        rename=options.rename and options.unlink,
        unlink=options.unlink,
        wipe_journal=options.wipe_journal,
        verdict=verdict,
        reasons=reasons,
        notes=_notes(facts, options, hole_bytes),
    )


def direct_reads_hold(facts: FileFacts) -> bool:
    """Whether reads under O_DIRECT are known to come from the device.

    Where data is journalled, encrypted, encoded or inline, and on file systems that are not known here, the kernel
    takes the flag and may read from the page cache all the same.
    """
    kinds = _kinds(facts)
    known = facts.extents is not None or facts.file_system not in _HAS_FIEMAP
    is_plain = facts.data_journal is False and not facts.encrypted
    return _is_in_place(facts) and is_plain and known and not kinds & {"inline", "encoded", "unknown"}


def warning_text(plan: ShredPlan) -> str | None:
    """What a caller who never looks at the report must hear before the file is gone, or None.

    What the caller asked for (no pass, no sync) is not repeated here.
    """
    if "sparse" in plan.notes:
        return f"{plan.path} appears to be a sparse file: overwriting it fills its holes, which takes more space"
    told = [reason for reason in plan.reasons if reason not in ("empty", "only_holes", "no_pass", "not_synced")]
    if told:
        return (
            f"old bytes of {plan.path} may remain after overwriting ({', '.join(told)}); "
            "only encryption from the start or erasing the drive covers them"
        )
    return None
