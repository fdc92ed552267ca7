"""From facts and wishes to a plan. Pure: the same input gives the same plan, and nothing is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import ShredOptions, round_up
from .report import ShredPlan, Verdict

if TYPE_CHECKING:
    from .facts import FileFacts

__all__ = ["PSEUDO_FILE_SYSTEMS", "direct_reads_hold", "make_plan", "warning_text"]

_IN_PLACE = frozenset({"ext2", "ext3", "ext4", "xfs", "vfat", "exfat"})
"""File systems that write a file's allocated blocks where they are, unless a fact about the file says otherwise.

xfs does so for extents that are not shared. All others, known and unknown, count as not in place: btrfs, zfs,
bcachefs and f2fs write elsewhere, overlay copies up, tmpfs may have swapped, and a network or FUSE server can do
anything.
"""

_HAS_FIEMAP = frozenset({"ext2", "ext3", "ext4", "xfs"})

PSEUDO_FILE_SYSTEMS = frozenset(
    {
        "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl", "mqueue", "proc", "pstore",
        "securityfs", "selinuxfs", "sysfs", "tracefs",
    }
)  # fmt: skip
"""Their files are doors into the kernel; a write is a command and there is nothing to overwrite."""

_DIRECT_FROM_BYTES = 1 << 20
"""Smaller files gain nothing from O_DIRECT."""


def _reasons(facts: FileFacts, options: ShredOptions) -> tuple[str, ...]:
    """Why old bytes may remain although all goes well; empty when none should."""
    reasons = []
    if not options.passes:
        reasons.append("no_pass")
    if facts.file_system not in _IN_PLACE:
        reasons.append(f"file_system:{facts.file_system}")
    if facts.data_journal is not False:
        reasons.append("data_journal" if facts.data_journal else "journal_mode_unknown")
    if facts.file_system in _HAS_FIEMAP if facts.extents is None else "unknown" in facts.extents:
        reasons.append("extents_unknown")
    reasons += [f"extents_{kind}" for kind in ("shared", "inline", "encoded") if kind in (facts.extents or ())]
    # A verified pass was flushed for the comparison, so it is on the device even without sync.
    if options.passes and not options.sync and not options.verify:
        reasons.append("not_synced")
    return tuple(reasons)


def _notes(facts: FileFacts, options: ShredOptions) -> tuple[str, ...]:
    notes = ["name_may_remain"]
    if facts.hard_links > 1:
        notes.append(f"hard_links_remain:{facts.hard_links - 1}")
    if facts.allocated_bytes < facts.size_bytes:
        notes.append("sparse")
    if options.passes > 1 and not options.sync:
        notes.append("passes_merged")
    if facts.media.stacked:
        notes.append(f"stacked_device:{facts.media.name}")
    if facts.media.rotational is not True:
        notes.append("flash_or_unknown_media")
    return tuple(notes)


def make_plan(path: str, facts: FileFacts, options: ShredOptions) -> ShredPlan:
    """Decide what to do to a file, and what can be said about it afterwards."""
    reasons = _reasons(facts, options)
    verdict: Verdict | None
    if not facts.size_bytes:
        verdict, reasons = None, ("empty",)
    elif reasons:
        verdict = "not_in_place"
    else:
        verdict = "overwritten_verified" if options.verify else "overwritten"
    return ShredPlan(
        path=path,
        size_bytes=facts.size_bytes,
        passes=(options.pattern.name,) * options.passes,
        buffer_bytes=min(options.buffer_bytes, round_up(facts.size_bytes)),
        # O_DIRECT makes the kernel write dirty pages out first, which for bytes that never reached the device
        # would put them there; overwriting those in the page cache keeps them away from it.
        direct=options.sync and facts.size_bytes >= _DIRECT_FROM_BYTES and "delayed" not in (facts.extents or ()),
        sync=options.sync,
        verify=options.verify,
        rename=options.rename,
        truncate=bool(facts.size_bytes) and facts.hard_links == 1,
        verdict=verdict,
        reasons=reasons,
        notes=_notes(facts, options),
    )


def direct_reads_hold(plan: ShredPlan) -> bool:
    """Whether reads under O_DIRECT are known to come from the device.

    Where data is journalled, encoded or inline, and on file systems that are not known here, the kernel takes the flag
    and may read from the page cache all the same.
    """
    return all(reason == "extents_shared" for reason in plan.reasons)


def warning_text(plan: ShredPlan) -> str | None:
    """What a caller who never looks at the report must hear before the file is gone, or None.

    What the caller asked for (no pass, no sync) is not repeated here.
    """
    if "sparse" in plan.notes:
        return f"{plan.path} appears to be a sparse file: overwriting it fills its holes, which takes more space"
    told = [reason for reason in plan.reasons if reason not in ("empty", "no_pass", "not_synced")]
    if told:
        return (
            f"old bytes of {plan.path} may remain after overwriting ({', '.join(told)}); "
            "only encryption from the start or erasing the drive covers them"
        )
    return None
