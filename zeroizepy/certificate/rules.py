"""What can be certified: reports that say overwritten_verified, and whose every other word agrees with it.

In a tree there may be empty files and symbolic links beside such files: nothing in them could be overwritten. They must
be unlinked, and the certificate says how many they are and that nothing of what they held before is reached.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from zeroizepy.file import explain
from zeroizepy.shred.treereport import NOTHING

if TYPE_CHECKING:
    from zeroizepy.file import ShredReport, TreeReport

__all__ = ["BARE", "refusal", "tree_refusal"]

_NOT_READ_BACK = {"verify_cached", "not_read_back"}
_UNLIKE_VERIFIED = _NOT_READ_BACK | {"empty", "resumed"}
"""Notes of single files that no tree can have which is certified: it does not tell which of its files have them."""

BARE = ("empty", "symlink")
"""Reasons of what holds nothing to overwrite and may lie in a tree that is certified."""

_HASH_OF_NO_LIST = sha256().hexdigest()


def refusal(report: ShredReport) -> str | None:
    """Why a report cannot be certified, with its path and verdict; None when it can.

    What it says must also agree with itself: a report from a file may have been edited.
    """
    verdict = report.verdict or "no verdict"
    reasons = "; ".join(map(explain, report.reasons))
    if not report.existed:
        fault = "there was no such file"
    elif report.dry_run:
        fault = "it was a dry run, nothing was overwritten"
    elif report.error is not None:
        fault = f"it failed: {report.error}"
    elif report.verdict is None:
        fault = "there was nothing to overwrite; an empty file says nothing about content that it had before"
    elif report.verdict != "overwritten_verified":
        fault = reasons or "it was not read back and compared (verify=True)"
    elif not _is_consistent(report):
        fault = "the report contradicts this verdict"
    else:
        return None
    return f"{report.path}: {verdict}: {fault}"


def _is_consistent(report: ShredReport) -> bool:
    plan, passes = report.plan, report.passes
    return (
        report.verified
        and not report.reasons
        and not report.skipped_bytes
        and plan is not None
        and plan.verify
        and plan.verdict == report.verdict
        and not plan.reasons
        and plan.size_bytes == report.size_bytes
        and min(plan.size_bytes, plan.write_bytes) > 0
        and bool(passes)
        and tuple(each.pattern for each in passes) == plan.passes
        and all(each.bytes_written == plan.write_bytes for each in passes)
        and passes[-1].synced
        and not _NOT_READ_BACK & set(report.notes)
    )


def tree_refusal(report: TreeReport) -> str | None:
    """Why the report of a directory cannot be certified, with its path; None when it can.

    It has counts where those of files have plans and passes: whatever it counts must be overwritten and verified, and
    its counts must agree with each other.
    """
    if not report.existed:
        fault = "there was no such directory"
    elif report.dry_run:
        fault = "it was a dry run, nothing was overwritten"
    elif report.error is not None:
        fault = f"the run ended early: {report.error}"
    elif report.failed or report.failures:
        first = f", such as {report.failures[0].path}: {report.failures[0].error}" if report.failures else ""
        fault = f"{report.failed} of its files and directories failed{first}"
    elif report.directories_left:
        fault = f"{report.directories_left} directories were left"
    elif report.earlier or report.resumed:
        fault = (
            "an earlier run had begun with it, and the list of this one lacks what that one did; a tree can be "
            "certified when one run goes through all of it"
        )
    else:
        fault = _fault_in_it(report)
    return f"{report.path}: {fault}" if fault else None


def _fault_in_it(report: TreeReport) -> str:
    """Why what was in a directory that a run went through cannot be certified; the empty text when it can."""
    if not report.files:
        return "there was no file in it"
    if set(report.verdicts) - {"overwritten_verified", NOTHING} or (_bare(report) and set(report.reasons) - {*BARE}):
        return _other_verdicts(report)
    if not _verified(report):
        return "there was nothing in it to overwrite"
    return "" if _is_consistent_tree(report) else "the report contradicts the verdict overwritten_verified of its files"


def _verified(report: TreeReport) -> int:
    return report.verdicts.get("overwritten_verified", 0)


def _bare(report: TreeReport) -> int:
    return report.verdicts.get(NOTHING, 0)


def _other_verdicts(report: TreeReport) -> str:
    others = ", ".join(f"{number} {name}" for name, number in report.verdicts.items() if name != "overwritten_verified")
    reasons = "; ".join(map(explain, report.reasons)) or "they were not read back and compared (verify=True)"
    return f"not all in it is overwritten_verified, but {others}: {reasons}"


def _is_consistent_tree(report: TreeReport) -> bool:
    hashed = report.list_sha256 or ""
    return (
        min(report.verdicts.values()) > 0
        and report.unlinked == report.files
        and min(report.size_bytes, report.bytes_written) >= _verified(report)
        and set(report.reasons) <= {*BARE}
        and sum(report.reasons.values()) == _bare(report)
        and min(report.reasons.values(), default=1) > 0
        and not _UNLIKE_VERIFIED & {name.partition(":")[0] for name in report.notes}
        and report.directories_left == 0
        and report.directories_removed >= 0
        and len(hashed) == 64
        and set(hashed) <= set("0123456789abcdef")
        and hashed != _HASH_OF_NO_LIST
    )
