"""What a run found out and did: frozen values that become dictionaries and one-line texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["FreeSpaceReport", "PassReport", "ShredPlan", "ShredReport", "Verdict", "explain"]

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
    "changed_size": "the file's size changed while it was overwritten",
    "data_journal": "the file system writes data to its journal first, which keeps copies",
    "device": "a device",
    "directory_not_synced": "the directory could not be flushed, so the name may come back after a crash",
    "empty": "the file holds no bytes; earlier content of it is not reached",
    "extents_encoded": "the file's blocks are compressed or encoded, so a rewrite goes elsewhere",
    "extents_inline": "the file's bytes lie in its inode, which the journal copies",
    "extents_shared": "blocks are shared with another file, so a rewrite goes elsewhere",
    "extents_unknown": "the file system would not say where the file's blocks are",
    "failed": "the operation failed",
    "fifo": "a FIFO",
    "file_system": "this file system is not known to overwrite in place",
    "flash_or_unknown_media": "the device is flash or unknown; it may keep old cells that no overwrite reaches",
    "hard_links": "the file has other names",
    "hard_links_remain": "other names of the file remain and now hold the overwritten content",
    "journal_mode_unknown": "the system would not say whether data goes to the journal first, which keeps copies",
    "missing": "there is no such file",
    "name_may_remain": "the old name can remain in the directory's free space and in the journal",
    "name_not_hidden": "the file could not be renamed before it was unlinked",
    "no_pass": "no overwrite was asked for",
    "not_a_file": "not a regular file",
    "not_synced": "without sync nothing forces the overwrite to the device before the blocks are freed",
    "passes_merged": "without sync the passes may have reached the device as one",
    "permission": "the system refused access",
    "read_only": "the file has no owner-write bit",
    "replaced": "another file took the path's place",
    "socket": "a socket",
    "sparse": "the file had holes, which now take space on the device",
    "stacked_device": "the block device lies on another layer, which may keep old blocks",
    "symlink": "the path is a symbolic link; its target is not touched",
    "symlink_left": "the symbolic link that was followed is still there and points nowhere",
    "verify_cached": "the last pass was read back and matched, but that may have come from the page cache",
    "verify_mismatch": "what was read back is not what was written",
}


def explain(code: str) -> str:
    """Turn a reason or note such as `file_system:btrfs` into a sentence fragment for people."""
    name, _, detail = code.partition(":")
    text = _EXPLANATIONS.get(name, name)
    return f"{text} ({detail})" if detail else text


@dataclass(frozen=True, slots=True)
class ShredPlan:
    """What a run is going to do to one file; `secure_delete(..., dry_run=True)` returns it in the report.

    Attributes:
        path: The file, after a symbolic link was followed.
        size_bytes: Bytes that each pass writes.
        passes: One pattern name for each pass: `random`, `zeros`, `ones`, or `bytes:N` for N given bytes.
        buffer_bytes: Bytes for each write call.
        direct: Whether O_DIRECT is tried.
        sync: Whether each pass is flushed to the device before the next.
        verify: Whether the last pass is read back.
        rename: Whether the name is replaced by a random one before the unlink.
        truncate: Whether the size is set to 0 before the unlink.
        verdict: What the verdict will be when nothing fails and the read-back, if asked for, comes past the page cache;
            None when there is nothing to overwrite.
        reasons: Why, machine-readable; `explain` has the words.
        notes: What remains although all goes well.
    """

    path: str
    size_bytes: int
    passes: tuple[str, ...]
    buffer_bytes: int
    direct: bool
    sync: bool
    verify: bool
    rename: bool
    truncate: bool
    verdict: Verdict | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes written and read back together, which is what `progress` counts to."""
        return self.size_bytes * (len(self.passes) + (1 if self.verify and self.passes else 0))

    def steps(self) -> tuple[str, ...]:
        """The plan as lines of text, in the order in which they happen."""
        lines = [
            f"pass {number}: write {self.size_bytes} bytes of {name}" + (", flush" if self.sync else "")
            for number, name in enumerate(self.passes, start=1)
            if self.size_bytes
        ]
        if self.verify and self.passes and self.size_bytes:
            lines.append(f"read {self.size_bytes} bytes back and compare")
        if self.truncate:
            lines.append("truncate to 0 bytes")
        if self.rename:
            lines.append("rename to a random name")
        return (*lines, "unlink")


@dataclass(frozen=True, slots=True)
class PassReport:
    """One pass over the file: its pattern name, how many bytes were written, whether the flush succeeded."""

    pattern: str
    bytes_written: int
    synced: bool


@dataclass(frozen=True, slots=True)
class ShredReport:
    """What became of one path.

    Attributes:
        path: The file, after a symbolic link was followed.
        existed: False when there was nothing at the path.
        size_bytes: The file's size when it was opened.
        dry_run: True when only the plan was asked for; then nothing was touched and `verdict` is None.
        verdict: What became of the old bytes; None when there was nothing to overwrite.
        reasons: Why the verdict is what it is, machine-readable (`file_system:btrfs`).
        notes: What remains, machine-readable (`hard_links_remain:1`).
        plan: What was to be done; None when the path was refused or missing.
        passes: What each pass reached, the failed one included.
        verified: The last pass was read back past the page cache and matched. False with the note `verify_cached` when
            it matched and may have come from the cache.
        direct: O_DIRECT was in force at the end of the last pass, or of the read-back when there was one.
        renamed: The name was replaced by a random one before the unlink.
        unlinked: The name is gone.
        error: The failure in words, or None.
        seconds: Wall-clock time.
    """

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
    direct: bool = False
    renamed: bool = False
    unlinked: bool = False
    error: str | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as a dictionary that `json.dumps` takes."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.existed:
            return f"{self.path}: nothing to do, no such file"
        reasons = f" ({'; '.join(map(explain, self.reasons))})" if self.reasons else ""
        if self.error is not None:
            return f"{self.path}: {self.verdict}: {self.error}{reasons}"
        if self.dry_run:
            count = len(self.plan.passes) if self.plan else 0
            work = f"write {count} passes over {self.size_bytes} bytes and " if count and self.size_bytes else ""
            return f"{self.path}: would {work}unlink{reasons}"
        done = sum(1 for each in self.passes if each.bytes_written == self.size_bytes)
        work = f"{done} passes over {self.size_bytes} bytes, " if self.size_bytes else ""
        return f"{self.path}: {self.verdict or 'nothing to overwrite'}: {work}unlinked{reasons}"


@dataclass(frozen=True, slots=True)
class FreeSpaceReport:
    """How much free space was overwritten, and what such filling cannot cover.

    Attributes:
        directory: Where the fillers were made; what was filled is its whole file system.
        file_system: Its type, `unknown` when the system would not say.
        dry_run: True when nothing was written.
        available_bytes: Free before, as this user sees it.
        bytes_written: Random bytes written and flushed.
        fillers: Unlinked files that held them.
        stopped_by: `full`, `quota`, `reserve`, `limit`, or `file_size` when no filler may grow; None when not begun.
        notes: What is not covered, in words.
        error: The failure in words, or None.
        seconds: Wall-clock time.
    """

    directory: str
    file_system: str
    dry_run: bool = False
    available_bytes: int = 0
    bytes_written: int = 0
    fillers: int = 0
    stopped_by: str | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as a dictionary that `json.dumps` takes."""
        return asdict(self)

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.directory}: failed after {self.bytes_written} bytes: {self.error}"
        if self.dry_run:
            return f"{self.directory}: would fill about {self.available_bytes} bytes of free space"
        return f"{self.directory}: {self.bytes_written} bytes of free space overwritten (stopped by: {self.stopped_by})"
