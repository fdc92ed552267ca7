"""Drive-level erase commands. Execution is not enabled: each function checks its request and then refuses.

The checks come in this order: argument type, platform, program, shape of the device name. Whether the device exists,
is mounted, or supports the command is not looked at. The error that ends a valid call carries the `EraseRequest`.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from .device.plan import EraseRequest, bitlocker_request, diskutil_request, hdparm_request, nvme_request
from .exceptions import (
    OSEraseError,
    OSEraseNotImplemented,
    OSEraseToolMissing,
    OSEraseUnsupported,
    OSEraseValidationError,
)

__all__ = [
    "EraseRequest",
    "OSEraseError",
    "OSEraseNotImplemented",
    "OSEraseToolMissing",
    "OSEraseUnsupported",
    "OSEraseValidationError",
    "linux_hdparm_secure_erase",
    "linux_nvme_secure_erase",
    "macos_diskutil_secure_erase",
    "windows_bitlocker_destroy_volume_keys",
]

_PLATFORM_NAMES = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


def _check_text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}")


def _find_tool(platform: str, program: str, caller: str) -> str:
    """The program's path, on the platform that has it."""
    # shutil brings half a dozen archive modules along, which `import zeroizepy` must not pay for.
    import shutil

    if sys.platform != platform:
        raise OSEraseUnsupported(f"{caller} runs on {_PLATFORM_NAMES[platform]} only, not on {sys.platform}")
    path = shutil.which(program)
    if path is None:
        raise OSEraseToolMissing(f"{program} was not found on PATH; install it to use {caller}")
    return path


def _refuse(request: EraseRequest) -> NoReturn:
    error = OSEraseNotImplemented(
        f"{request.method} of {request.target} is valid but execution is not enabled; nothing was erased"
    )
    error.request = request
    raise error


def linux_hdparm_secure_erase(device_path: str) -> NoReturn:
    """Check a request for ATA Security Erase of a whole disk, then refuse it.

    Args:
        device_path: A whole disk such as `/dev/sda`.

    Raises:
        TypeError: Not a str.
        OSEraseUnsupported: Not Linux.
        OSEraseToolMissing: No hdparm.
        OSEraseValidationError: Not a whole disk by its name.
        OSEraseNotImplemented: The request is valid; execution is not enabled. `request` holds it.
    """
    _check_text(device_path, "device_path")
    _refuse(hdparm_request(_find_tool("linux", "hdparm", "linux_hdparm_secure_erase"), device_path))


def linux_nvme_secure_erase(device_path: str) -> NoReturn:
    """Check a request for NVMe Format with user-data erase, then refuse it.

    Args:
        device_path: A namespace such as `/dev/nvme0n1`.

    Raises:
        TypeError: Not a str.
        OSEraseUnsupported: Not Linux.
        OSEraseToolMissing: No nvme-cli.
        OSEraseValidationError: Not a namespace by its name.
        OSEraseNotImplemented: The request is valid; execution is not enabled. `request` holds it.
    """
    _check_text(device_path, "device_path")
    _refuse(nvme_request(_find_tool("linux", "nvme", "linux_nvme_secure_erase"), device_path))


def macos_diskutil_secure_erase(disk: str, level: int = 0) -> NoReturn:
    """Check a request for `diskutil secureErase`, then refuse it.

    Args:
        disk: A whole disk such as `disk2` or `/dev/disk2`.
        level: 0 one pass of zeros, 1 one random pass, 2 seven passes, 3 Gutmann's 35, 4 three passes.

    Raises:
        TypeError: `disk` is no str or `level` no int.
        OSEraseUnsupported: Not macOS.
        OSEraseToolMissing: No diskutil.
        OSEraseValidationError: Not a whole disk by its name, or no such level.
        OSEraseNotImplemented: The request is valid; execution is not enabled. `request` holds it.
    """
    _check_text(disk, "disk")
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level must be int, not {type(level).__name__}")
    _refuse(diskutil_request(_find_tool("darwin", "diskutil", "macos_diskutil_secure_erase"), disk, level))


def windows_bitlocker_destroy_volume_keys(volume: str) -> NoReturn:
    """Check a request to delete all BitLocker key protectors of a volume, then refuse it.

    Deleting the protectors alone does not erase: Windows then keeps the volume key in the clear until the volume is
    reformatted.

    Args:
        volume: A drive letter with a colon, such as `D:`.

    Raises:
        TypeError: Not a str.
        OSEraseUnsupported: Not Windows.
        OSEraseToolMissing: No manage-bde.
        OSEraseValidationError: Not a drive letter with a colon.
        OSEraseNotImplemented: The request is valid; execution is not enabled. `request` holds it.
    """
    _check_text(volume, "volume")
    _refuse(bitlocker_request(_find_tool("win32", "manage-bde", "windows_bitlocker_destroy_volume_keys"), volume))
