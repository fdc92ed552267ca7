"""Which block devices are not overwritten, and why. Decides from facts alone; what is unknown is refused."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .options import BUFFER_BYTES, RANDOM, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .blockdevice import DeviceFacts, Identity

__all__ = ["DeviceOptions", "Refusal", "refuse_confirmation", "refuse_content", "refuse_use"]

_KNOWN_DISKS = re.compile(r"(?:sd|hd|vd|xvd)[a-z]+|nvme\d+n\d+|mmcblk\d+|loop\d+")


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """The checked arguments of `overwrite_device`."""

    confirm: str | None
    passes: tuple[Pattern, ...] = (RANDOM,)
    verify: bool = True
    allow_partition: bool = False
    allow_swap: bool = False
    dry_run: bool = False
    buffer_bytes: int = BUFFER_BYTES


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a device is left alone: the reason for the report, an errno, and the fault with its remedy."""

    code: str
    number: int
    text: str


def _kind(facts: DeviceFacts) -> Iterator[Refusal]:
    if facts.lower or facts.name.startswith(("dm-", "md")):
        below = ", ".join(facts.lower) or "other devices"
        yield Refusal("stacked_on", errno.EINVAL, f"{facts.name} lies on {below}; overwrite those")
    if not _KNOWN_DISKS.fullmatch(facts.disk):
        yield Refusal("unknown_device", errno.EINVAL, f"{facts.name} is of a kind that is not known here")
    if facts.name != facts.disk and facts.partition is None:
        yield Refusal("unknown_device", errno.EINVAL, f"the number of partition {facts.name} is unknown")
    block = facts.logical_block_bytes
    if block is None or block < 512 or block & (block - 1):
        yield Refusal("unknown_device", errno.EINVAL, f"has an unknown block size ({block})")


def _uses(facts: DeviceFacts) -> Iterator[Refusal]:
    for code, users, text in (
        ("mounted", facts.mounts, "is mounted at {}; unmount it"),
        ("swap_active", facts.swaps, "is in use as swap ({}); swapoff it"),
        ("held", facts.holders, "is part of {}; take that down first"),
        ("backs_loop", facts.loops, "is the file of {}; detach that (losetup -d)"),
    ):
        if users:
            yield Refusal(f"{code}:{','.join(users)}", errno.EBUSY, text.format(", ".join(users)))


def _refusals(facts: DeviceFacts, options: DeviceOptions) -> Iterator[Refusal]:
    yield from _kind(facts)
    if facts.partition is not None and not options.allow_partition:
        text = f"is partition {facts.partition} of {facts.disk}; pass allow_partition=True to overwrite it alone"
        yield Refusal("partition", errno.EINVAL, text)
    yield from _uses(facts)
    if facts.read_only is not False:
        state = "is read-only" if facts.read_only else "does not say whether it is read-only"
        yield Refusal("device_read_only", errno.EROFS, f"{state}; blockdev --setrw allows writing")


def refuse_use(facts: DeviceFacts, options: DeviceOptions) -> Refusal | None:
    """The first reason against a device by what it is and who uses it; None when there is none."""
    return next(_refusals(facts, options), None)


def refuse_content(identity: Identity, options: DeviceOptions, *, swap_signature: bool) -> Refusal | None:
    """The first reason against an open device by what it says of itself and holds; None when there is none."""
    if not identity.size_bytes:
        return Refusal("empty_device", errno.ENOMEDIUM, "has no medium, or a size of 0")
    if identity.serial is None:
        text = "reports no serial number, so it cannot be told from another device"
        return Refusal("no_serial", errno.EINVAL, text)
    if swap_signature and not options.allow_swap:
        text = "holds an inactive swap area, or a hibernated system; pass allow_swap=True to overwrite it"
        return Refusal("swap_signature", errno.EBUSY, text)
    return None


def refuse_confirmation(identity: Identity, options: DeviceOptions) -> Refusal | None:
    """Whether the caller named another device than this one, to the letter."""
    if options.confirm is not None and options.confirm == identity.confirmation:
        return None
    text = "confirm is not the serial number and size of this device; a dry run shows them"
    return Refusal("confirm_mismatch", errno.EPERM, text)
