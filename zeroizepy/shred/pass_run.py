"""What a pass over a file and one over a device have in common: counting what each span came to."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zeroizepy.exceptions import SecureWipeError

    from .passes import SpanResult, SpanWriter

__all__ = ["MAX_SKIPPED_BYTES", "PassRun", "Progress"]

MAX_SKIPPED_BYTES = 1 << 20
"""Bytes of one run, over all passes, that are skipped where the device fails; never more than half of a pass."""

Progress = Callable[[int, int], object]
"""Called with the bytes done and the bytes in all, after each span."""


class PassRun:
    """Base of runs that write spans and read them back.

    Attributes:
        progress: Hears of each span.
        reasons: Why the verdict is what it is.
        notes: What remains.
        direct: O_DIRECT was in force after the last span.
        done_bytes: Written and read back.
        skipped_bytes: Of these, what the device failed on.
    """

    progress: Progress | None = None
    reasons: list[str]
    notes: list[str]
    direct = False
    done_bytes = 0
    skipped_bytes = 0

    @property
    def pass_bytes(self) -> int:
        """What each pass writes."""
        raise NotImplementedError

    @property
    def total_bytes(self) -> int:
        """What all passes write, and what is read back."""
        raise NotImplementedError

    def failure(self, step: str, number: int, text: str | None = None) -> SecureWipeError:
        """The error for a step that failed, with the report of how far it came."""
        raise NotImplementedError

    def take_notes(self, writer: SpanWriter) -> None:
        """Note what is to be said of the writer whose bytes this run gets."""
        if writer.notes:
            self.notes += [note for note in writer.notes if note not in self.notes]

    def _may_skip(self) -> int:
        """How many bytes the device may still fail on: beyond that the rest would take it hours.

        What cannot be written for the most part stays as it is.
        """
        return max(0, min(MAX_SKIPPED_BYTES, self.pass_bytes // 2) - self.skipped_bytes)

    def _account(self, result: SpanResult) -> int:
        """Count a span that was written or read back. Returns its bytes."""
        self.direct = result.direct
        self.done_bytes += result.done_bytes
        if result.skipped_bytes:
            self.skipped_bytes += result.skipped_bytes
            if "bad_sectors" not in self.reasons:
                self.reasons.append("bad_sectors")
        if self.progress is not None and not result.error_number:
            self.progress(self.done_bytes, self.total_bytes)
        return result.done_bytes

    def _check_compared(self, result: SpanResult, start: int) -> None:
        """Raise when a span that was read back, from `start` on, is not what was written, or could not be read."""
        if result.different:
            self.reasons.append("verify_mismatch")
            text = f"byte {start + result.done_bytes} read back is not what was written"
            raise self.failure("verify", errno.EIO, text)
        if result.error_number:
            raise self.failure("read", result.error_number)
