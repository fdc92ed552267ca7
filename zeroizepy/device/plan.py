"""Pure checks of device names, and the request that an erase would carry out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zeroizepy.exceptions import OSEraseValidationError

__all__ = ["EraseRequest", "bitlocker_request", "diskutil_request", "hdparm_request", "nvme_request"]

_ATA_DISK = re.compile(r"/dev/sd[a-z]{1,3}", re.ASCII)
_NVME_NAMESPACE = re.compile(r"/dev/nvme[0-9]{1,4}n[0-9]{1,5}", re.ASCII)
_MACOS_DISK = re.compile(r"(?:/dev/)?r?disk[0-9]{1,4}", re.ASCII)
_WINDOWS_VOLUME = re.compile(r"[A-Za-z]:", re.ASCII)
_DISKUTIL_LEVELS = 4


@dataclass(frozen=True, slots=True)
class EraseRequest:
    """One drive-level erase, checked by its shape and not begun.

    Attributes:
        tool: Path of the program that would do it.
        method: What it would be told to do.
        target: The device or volume.
        argv: The command that would erase. A password stands as `PASSWORD`; a secret is never part of a request.
        caution: What this method does not do.
    """

    tool: str
    method: str
    target: str
    argv: tuple[str, ...]
    caution: str


def _match(pattern: re.Pattern[str], value: str, wanted: str) -> None:
    if not pattern.fullmatch(value):
        raise OSEraseValidationError(f"{value!r} is not {wanted}")


def hdparm_request(tool: str, device_path: str) -> EraseRequest:
    """ATA Security Erase of a whole disk.

    Raises:
        OSEraseValidationError: Not `/dev/sdX`: a partition, a by-id link, or another kind of device.

    Source: hdparm(8), --security-erase; it follows --security-set-pass with the same password.
    """
    _match(_ATA_DISK, device_path, "a whole ATA disk such as /dev/sda (no partition, no link)")
    argv = (tool, "--user-master", "u", "--security-erase", "PASSWORD", device_path)
    caution = "needs a password set first; a drive that is frozen or behind a USB bridge refuses or hangs"
    return EraseRequest(tool, "ata-security-erase", device_path, argv, caution)


def nvme_request(tool: str, device_path: str) -> EraseRequest:
    """NVMe Format with user-data erase of one namespace.

    Raises:
        OSEraseValidationError: Not `/dev/nvmeXnY`: a controller, a partition, or another kind of device.

    Source: nvme-format(1), --ses=1.
    """
    _match(_NVME_NAMESPACE, device_path, "an NVMe namespace such as /dev/nvme0n1 (no controller, no partition)")
    caution = "some controllers erase every namespace, not only this one"
    return EraseRequest(tool, "nvme-format-user-data", device_path, (tool, "format", "--ses=1", device_path), caution)


def diskutil_request(tool: str, disk: str, level: int) -> EraseRequest:
    """Diskutil secureErase of a whole disk.

    Args:
        tool: Path of diskutil.
        disk: `diskN` or `/dev/diskN`.
        level: 0 one pass of zeros, 1 one random pass, 2 seven passes, 3 Gutmann's 35, 4 three passes.

    Raises:
        OSEraseValidationError: Not a whole disk, or no such level.

    Source: diskutil(8), secureErase; Apple calls it no longer safe there.
    """
    _match(_MACOS_DISK, disk, "a whole disk such as disk2 or /dev/disk2 (no slice)")
    if not 0 <= level <= _DISKUTIL_LEVELS:
        raise OSEraseValidationError(f"level must be 0 to {_DISKUTIL_LEVELS}, not {level}")
    caution = "overwriting does not reach spare flash cells; prefer destroying the key of an encrypted volume"
    return EraseRequest(tool, "diskutil-secure-erase", disk, (tool, "secureErase", str(level), disk), caution)


def bitlocker_request(tool: str, volume: str) -> EraseRequest:
    """Deletion of all BitLocker key protectors of a volume.

    Raises:
        OSEraseValidationError: Not a drive letter with a colon.
    """
    _match(_WINDOWS_VOLUME, volume, "a volume such as D: (a drive letter and a colon)")
    caution = (
        "deleting the protectors alone is not cryptographic erasure: the volume key is then stored in the clear until "
        "the volume is reformatted, and escrowed recovery keys still open older copies"
    )
    argv = (tool, "-protectors", "-delete", volume)
    return EraseRequest(tool, "bitlocker-delete-protectors", volume, argv, caution)
