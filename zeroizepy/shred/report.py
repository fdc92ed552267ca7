"""What a run found out and did: frozen values that become dictionaries and one-line texts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import ClassVar, Literal

from zeroizepy.json_form import JsonForm

__all__ = ["FreeSpaceReport", "PassReport", "ShredPlan", "ShredReport", "Verdict", "explain", "now_text"]

Verdict = Literal["overwritten_verified", "overwritten", "not_in_place", "refused"]
"""What became of the old bytes.

`overwritten_verified`: each block that held them was written and read back past the page cache as written.
`overwritten`: each block that held them was written and the device was told to flush.
`not_in_place`: they may remain; the reasons say why.
`refused`: nothing was written.

A verdict speaks of the logical blocks of the block device under the file system. What that device keeps behind them
(remapped sectors, flash cells, snapshots of a layer below) is named in the notes.
"""

_EXPLANATIONS = {
    "append_only": "the file has the append-only attribute",
    "attributes_failed": "extended attributes could not be overwritten",
    "attributes_may_remain": "old values of extended attributes can remain in the journal and in freed blocks",
    "backs_loop": "it is the file of a loop device",
    "bad_sectors": "the device failed to write or read some sectors, which were skipped and may hold old bytes",
    "changed_extents": "another program added blocks to the file while it was overwritten",
    "changed_size": "the file's size changed while it was overwritten",
    "confirm_mismatch": "the confirmation is not the serial number and size of this device",
    "data_journal": "the file system writes data to its journal first, which keeps copies",
    "device": "a device",
    "device_not_read": "the blocks were not read from the device",
    "device_permission": "the system refused access",
    "device_read_only": "the device is read-only",
    "device_unknown": "the system's answers about the device are missing or do not agree",
    "directory_not_synced": "the directory could not be flushed, so the name may come back after a crash",
    "empty": "the file holds no bytes; earlier content of it is not reached",
    "empty_device": "the device has no medium",
    "extents_encoded": "the file's blocks are compressed or encoded, so a rewrite goes elsewhere",
    "extents_inline": "the file's bytes lie in its inode, which the journal copies",
    "extents_moved": "the file's blocks were moved or given back while it was overwritten",
    "extents_shared": "blocks are shared with another file, so a rewrite goes elsewhere",
    "extents_unknown": "the file system would not say where the file's blocks are",
    "failed": "the operation failed",
    "fifo": "a FIFO",
    "file_system": "this file system is not known to overwrite in place",
    "flash_or_unknown_media": "the device is flash or unknown; it may keep old cells that no overwrite reaches",
    "hard_links": "the file has other names",
    "hard_links_remain": "other names of the file remain and now hold the overwritten content",
    "held": "another device is made of it",
    "hidden_sectors": "areas that a drive hides (HPA, DCO) and sectors that it has replaced are not reached",
    "holes_skipped": "bytes of the file were holes, which hold nothing, and were passed over",
    "identity_changed": "another device took its place",
    "immutable": "the file has the immutable attribute",
    "in_use": "the device is in use",
    "journal_mode_unknown": "the system would not say whether data goes to the journal first, which keeps copies",
    "journal_not_wiped": "the file system's journal could not be zeroed, and it may keep copies",
    "missing": "there is no such file",
    "mount_point": "another file system or folder is mounted there",
    "mounted": "the device or a partition of it is mounted",
    "name_may_remain": "the old name can remain in the directory's free space and in the journal",
    "name_not_hidden": "the file could not be renamed before it was unlinked",
    "no_pass": "no overwrite was asked for",
    "no_serial": "the device reports no serial number",
    "not_a_device": "not a block device",
    "not_a_file": "not a regular file",
    "not_empty": "the directory holds something else by now",
    "not_read_back": "the passes were not read back, since sectors of them failed",
    "not_synced": "without sync nothing forces the overwrite to the device before the blocks are freed",
    "only_holes": "the file has holes only, and nothing is stored in it",
    "open_elsewhere": "another program has the file open and can read or write it until it closes it",
    "open_without_places": "another program may have the file open, and no places can be compared before and after",
    "partition": "a partition",
    "partition_only": "the rest of the disk, with its partition table, is not touched",
    "passes_merged": "without sync the passes may have reached the device as one",
    "permission": "the system refused access",
    "read_only": "the file has no owner-write bit",
    "replaced": "another file took the path's place",
    "resumed": "an earlier run had begun with the file",
    "socket": "a socket",
    "sparse": "the file had holes, which now take space on the device",
    "stacked_device": "the block device lies on another layer, which may keep old blocks",
    "stacked_on": "the device is made of others",
    "stream_key_unlocked": "the key of the random passes was in memory that could not be locked and may be swapped",
    "swap_active": "the device is in use as swap",
    "swap_signature": "the device holds a swap area",
    "symlink": "the path is a symbolic link; its target is not touched",
    "symlink_left": "the symbolic link that was followed is still there and points nowhere",
    "unknown_device": "the device is of an unknown kind",
    "verify_cached": "the last pass was read back and matched, but that may have come from the page cache",
    "verify_mismatch": "what was read back is not what was written",
}


def now_text() -> str:
    """The time in UTC, as ISO 8601 writes it, to the second."""
    return _text_of(int(time.time()))


@lru_cache(maxsize=1)
def _text_of(second: int) -> str:
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def explain(code: str) -> str:
    """Turn a reason or note such as `file_system:btrfs` into a sentence fragment for people."""
    name, _, detail = code.partition(":")
    text = _EXPLANATIONS.get(name, name)
    return f"{text} ({detail})" if detail else text


@dataclass(frozen=True, slots=True)
class ShredPlan(JsonForm):
    """What a run is going to do to one file; `secure_delete(..., dry_run=True)` returns it in the report.

    Attributes:
        path: The file, after a symbolic link was followed.
        size_bytes: Its size.
        write_bytes: Bytes that each pass writes: what is stored, holes left out, to the end of the last block.
        scheme: The scheme that the passes are from, or None.
        passes: One pattern name for each pass: `random`, `zeros`, `ones`, `byte:xx` and `hex:xx` of schemes, or
            `bytes:N` for N given bytes.
        buffer_bytes: Bytes for each write call.
        direct: Whether O_DIRECT is tried.
        sync: Whether each pass is flushed to the device before the next.
        verify: Whether the last pass is read back.
        device: Whether it is read from the block device, too.
        attributes: Extended attributes with values of programs, which are overwritten and removed.
        truncate: Whether the size is set to 0 before the unlink.
        rename: Whether the name is replaced by random ones, shorter and shorter, before the unlink.
        unlink: Whether the name is removed.
        wipe_journal: Whether the file system's journal is written back and zeroed in the end.
        verdict: What the verdict will be when nothing fails and the read-back, if asked for, comes past the page cache;
            None when there is nothing to overwrite.
        reasons: Why, machine-readable; `explain` has the words.
        notes: What remains although all goes well.
    """

    schema: ClassVar[str] = "zeroizepy/shred-plan/1"

    path: str
    size_bytes: int
    write_bytes: int
    scheme: str | None
    passes: tuple[str, ...]
    buffer_bytes: int
    direct: bool
    sync: bool
    verify: bool
    device: bool
    attributes: int
    truncate: bool
    rename: bool
    unlink: bool
    wipe_journal: bool
    verdict: Verdict | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes written and read back together, which is what `progress` counts to."""
        return self.write_bytes * (len(self.passes) + (1 + self.device if self.verify and self.passes else 0))

    def steps(self) -> tuple[str, ...]:
        """The plan as lines of text, in the order in which they happen."""
        lines = []
        if self.write_bytes:
            flushed = ", flush" if self.sync else ""
            lines += [
                f"pass {number}: write {self.write_bytes} bytes of {name}{flushed}"
                for number, name in enumerate(self.passes, start=1)
            ]
        if self.write_bytes and self.passes and self.verify:
            lines.append(f"read {self.write_bytes} bytes back and compare")
        if self.write_bytes and self.passes and self.device:
            lines.append("read the same blocks from the device and compare")
        if self.attributes:
            lines.append(f"overwrite and remove {self.attributes} extended attributes")
        wishes = (
            (self.truncate, "truncate to 0 bytes"),
            (self.rename, "rename to random names, shorter and shorter"),
            (self.unlink, "unlink"),
            (self.wipe_journal, "write the file system's journal back and zero it"),
        )
        return (*lines, *(text for wished, text in wishes if wished))


@dataclass(frozen=True, slots=True)
class PassReport(JsonForm):
    """One pass over the file.

    Attributes:
        pattern: Its name, as in `ShredPlan.passes`.
        bytes_written: How far it came.
        synced: Whether the flush to the device behind it succeeded.
    """

    schema: ClassVar[str] = "zeroizepy/pass-report/1"

    pattern: str
    bytes_written: int
    synced: bool


@dataclass(frozen=True, slots=True)
class ShredReport(JsonForm):
    """What became of one path.

    Attributes:
        path: The file, after a symbolic link was followed.
        existed: False when there was nothing at the path.
        size_bytes: The file's size when it was opened.
        dry_run: True when only the plan was asked for; then nothing was touched, and `verdict` is None, or "refused"
            when a run would be refused.
        verdict: What became of the old bytes; None when there was nothing to overwrite.
        reasons: Why the verdict is what it is, machine-readable (`file_system:btrfs`).
        notes: What remains, machine-readable (`hard_links_remain:1`).
        plan: What was to be done; None when the path was refused or missing.
        passes: What each pass reached, the failed one included.
        verified: The last pass was read back past the page cache and matched. False with the note `verify_cached` when
            it matched and may have come from the cache.
        device_verified: The old blocks were read from the block device, too, and matched.
        skipped_bytes: Bytes that were not written or not read because the device failed there, over all passes; old
            bytes may remain in them.
        direct: O_DIRECT was in force at the end of the last pass, or of the read-back when there was one.
        renamed: The name was replaced by a random one before the unlink.
        unlinked: The name is gone.
        file_id: Device, inode and time of last change (nanoseconds since 1970) of the file as it was opened, as in
            `2049:131075:1767225600123456789`; None when none was. What stood under the name before has another one.
        error: The failure in words, or None.
        seconds: Wall-clock time.
        finished: When this report was made, in UTC by this machine's clock, as in 2026-01-31T23:59:59Z.
    """

    schema: ClassVar[str] = "zeroizepy/shred-report/1"

    path: str
    existed: bool = True
    size_bytes: int = 0
    dry_run: bool = False
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    plan: ShredPlan | None = None
    passes: tuple[PassReport, ...] = ()
    verified: bool = False
    device_verified: bool = False
    skipped_bytes: int = 0
    direct: bool = False
    renamed: bool = False
    unlinked: bool = False
    file_id: str | None = None
    error: str | None = None
    seconds: float = 0.0
    finished: str = field(default_factory=now_text)

    def __str__(self) -> str:
        if not self.existed:
            return f"{self.path}: nothing to do, no such file"
        reasons = f" ({'; '.join(map(explain, self.reasons))})" if self.reasons else ""
        if self.error is not None:
            verdict = f"would be {self.verdict}" if self.dry_run else self.verdict
            return f"{self.path}: {verdict}: {self.error}{reasons}"
        if self.dry_run:
            count = len(self.plan.passes) if self.plan else 0
            work = f"write {count} passes over {self.size_bytes} bytes" if count and self.size_bytes else ""
            end = "unlink" if self.plan is None or self.plan.unlink else ""
            return f"{self.path}: would {' and '.join(filter(None, (work, end))) or 'do nothing'}{reasons}"
        work = f"{self.full_passes} passes over {self.size_bytes} bytes, " if self.size_bytes else ""
        end = "unlinked" if self.unlinked else "still there"
        return f"{self.path}: {self.verdict or 'nothing to overwrite'}: {work}{end}{reasons}"

    @property
    def full_passes(self) -> int:
        """How many passes reached their end."""
        return sum(1 for each in self.passes if self.plan and each.bytes_written == self.plan.write_bytes)


@dataclass(frozen=True, slots=True)
class FreeSpaceReport(JsonForm):
    """How much free space was overwritten, and what such filling cannot cover.

    Attributes:
        directory: Where the fillers were made; what was filled is its whole file system.
        file_system: Its type, `unknown` when the system would not say.
        dry_run: True when nothing was written.
        available_bytes: Free before, as this user sees it.
        bytes_written: Random bytes written and flushed.
        fillers: Unlinked files that held them.
        stopped_by: `full`, `quota`, `reserve`, `limit`, `file_size` when no filler may grow, `open_files` when no
            further one may be opened; None when not begun.
        notes: What is not covered, in words.
        unfilled_bytes: Still counted as free when the filling ended, and not covered.
        inodes_filled: Free inodes that were overwritten by making and removing empty files.
        inode_directory: The private directory of those files. It is gone, unless the run was killed.
        leftovers_removed: Names of earlier, killed runs that were removed.
        trimmed_bytes: What the device was told to be free afterwards; None when not asked for or refused.
        trim_error: Why it was refused.
        error: The failure in words, or None.
        seconds: Wall-clock time.
        finished: When this report was made, in UTC by this machine's clock, as in 2026-01-31T23:59:59Z.
    """

    schema: ClassVar[str] = "zeroizepy/free-space-report/1"

    directory: str
    file_system: str
    dry_run: bool = False
    available_bytes: int = 0
    bytes_written: int = 0
    fillers: int = 0
    stopped_by: str | None = None
    notes: tuple[str, ...] = ()
    unfilled_bytes: int = 0
    inodes_filled: int = 0
    inode_directory: str | None = None
    leftovers_removed: int = 0
    trimmed_bytes: int | None = None
    trim_error: str | None = None
    error: str | None = None
    seconds: float = 0.0
    finished: str = field(default_factory=now_text)

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.directory}: failed after {self.bytes_written} bytes: {self.error}"
        if self.dry_run:
            return f"{self.directory}: would fill about {self.available_bytes} bytes of free space"
        return f"{self.directory}: {self.bytes_written} bytes of free space overwritten (stopped by: {self.stopped_by})"
