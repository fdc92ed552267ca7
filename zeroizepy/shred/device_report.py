"""What a run over a block device found out and did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from zeroizepy.json_form import JsonForm

from .report import PassReport, Verdict, explain, now_text

__all__ = ["DeviceReport"]


@dataclass(frozen=True, slots=True)
class DeviceReport(JsonForm):
    """What became of one block device.

    Attributes:
        path: As the caller named it.
        device: `major:minor`; None when it is no block device.
        name: The kernel's name for it.
        partition: Its number when it is a partition.
        model: What the drive calls itself.
        serial: Its serial number as one word; for a loop device the path of its file.
        size_bytes: Its size.
        logical_block_bytes: The smallest write that it takes.
        confirm: What `confirm` must be to have it overwritten; None before the device was identified.
        swap_signature: Whether an inactive swap area was found on it; None when it was not looked at.
        dry_run: True when nothing was written.
        planned: One pattern name for each pass.
        verify: Whether the last pass is to be read back.
        verdict: What became of the old bytes; None for a dry run.
        reasons: Why, machine-readable.
        notes: What is not reached, machine-readable.
        passes: What was written.
        skipped_bytes: Bytes that were not written because the device failed there, over all passes; old bytes may
            remain in them.
        verified: The last pass was read back past the page cache, and was equal.
        direct: O_DIRECT was in force to the end.
        error: The failure in words, or None.
        seconds: Wall-clock time.
        finished: When this report was made, in UTC by this machine's clock, as in 2026-01-31T23:59:59Z.
    """

    schema: ClassVar[str] = "zeroizepy/device-report/1"

    path: str
    device: str | None = None
    name: str | None = None
    partition: int | None = None
    model: str | None = None
    serial: str | None = None
    size_bytes: int = 0
    logical_block_bytes: int | None = None
    confirm: str | None = None
    swap_signature: bool | None = None
    dry_run: bool = False
    planned: tuple[str, ...] = ()
    verify: bool = False
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    passes: tuple[PassReport, ...] = ()
    skipped_bytes: int = 0
    verified: bool = False
    direct: bool = False
    error: str | None = None
    seconds: float = 0.0
    finished: str = field(default_factory=now_text)

    def steps(self) -> tuple[str, ...]:
        """The plan as lines of text, in the order in which they happen."""
        passes = (f"pass {number}: write {self.size_bytes} bytes of {name}, flush"
                  for number, name in enumerate(self.planned, start=1))  # fmt: skip
        return (*passes, *((f"read {self.size_bytes} bytes back and compare",) if self.verify else ()))

    def __str__(self) -> str:
        reasons = f" ({'; '.join(map(explain, self.reasons))})" if self.reasons else ""
        if self.error is not None:
            return f"{self.path}: {self.verdict}: {self.error}{reasons}"
        if self.dry_run:
            return (
                f"{self.path}: would write {len(self.planned)} passes over {self.size_bytes} bytes of {self.confirm!r}"
            )
        return f"{self.path}: {self.verdict}: {len(self.passes)} passes over {self.size_bytes} bytes{reasons}"
