"""The error tree: one base class, a second builtin parent where callers expect one.

No message ever holds the content of a secret.
"""

from __future__ import annotations

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "AuditError",
    "CellError",
    "CellExpiredError",
    "CellWipedError",
    "CertificateError",
    "DecryptionError",
    "FileAccessError",
    "KeyErasedError",
    "LockLimitError",
    "MemoryCorruptionError",
    "NonceLimitError",
    "OSEraseError",
    "OSEraseNotImplemented",
    "OSEraseToolMissing",
    "OSEraseUnsupported",
    "OSEraseValidationError",
    "ProtectionError",
    "ResidueError",
    "ScanControlError",
    "SecureMemoryClosed",
    "SecureMemoryError",
    "SecureMemoryExpired",
    "SecureMemoryWarning",
    "SecureWipeError",
    "SignatureError",
    "SourceError",
    "SourceTimeoutError",
    "ViewExpiredError",
    "ZeroizeError",
]


class ZeroizeError(Exception):
    """Base of every error that zeroizepy raises on its own account."""


class SecureMemoryWarning(UserWarning):
    """Protection is weaker than asked for; the message says what is missing."""


class CellError(ZeroizeError, ValueError):
    """A cell or view can no longer be used."""


class CellWipedError(CellError):
    """The secret is gone: wiped, used up, purged, or left behind in the parent process."""


class CellExpiredError(CellWipedError):
    """The secret is gone because its time to live is over."""


class ViewExpiredError(CellError):
    """The `with` block that gave this view has ended."""


class SecureMemoryError(ZeroizeError):
    """Secure memory could not be provided or used."""


class SecureMemoryClosed(SecureMemoryError, CellWipedError):
    """The memory or key was closed, destroyed, purged, or left behind in the parent process."""


class SecureMemoryExpired(SecureMemoryClosed, CellExpiredError):
    """The key is gone because its time to live is over."""


class LockLimitError(SecureMemoryError, MemoryError):
    """No more memory may be locked; raise RLIMIT_MEMLOCK or hold fewer secrets."""


class ProtectionError(SecureMemoryError, OSError):
    """A system call that protects memory failed; `errno` says why."""


class MemoryCorruptionError(SecureMemoryError):
    """Something wrote outside its slot; the slot was retired and will not be used again."""


class DecryptionError(ZeroizeError, ValueError):
    """Wrong key, nonce, tag or associated data, or a damaged ciphertext. No plaintext was released."""


class KeyErasedError(ZeroizeError, ValueError):
    """A key was erased by this process before. The message names it."""


class NonceLimitError(ZeroizeError, RuntimeError):
    """A key encrypted as many messages with random nonces as it may; take a new key."""


class SignatureError(ZeroizeError, ValueError):
    """A signature is not that of this key for this message."""


class CertificateError(ZeroizeError, ValueError):
    """A report cannot be certified, or a certificate is not valid. The message names path and verdict, or the fault."""


class AuditError(ZeroizeError, ValueError):
    """An audit log was changed, cut, or is not one. The message names the line."""


class SecureWipeError(ZeroizeError):
    """A file or free space was not wiped as asked.

    Attributes:
        report: How far it came (`ShredReport` or `FreeSpaceReport`), or None when nothing was begun.
    """

    report: Any = None


class FileAccessError(SecureWipeError, OSError):
    """A file was refused, or the system refused an operation on it. The file is still there."""


class SourceError(ZeroizeError, OSError):
    """A program that should have given a secret failed. The message names the program, not its arguments or output.

    Attributes:
        returncode: Its exit status; minus the signal that ended it; None when it was killed before it had one.
    """

    returncode: int | None = None


class SourceTimeoutError(SourceError, TimeoutError):
    """The program was still running at its timeout, and was killed."""


class ResidueError(ZeroizeError, AssertionError):
    """A leak check found copies of a secret. The message says where, never what.

    Attributes:
        report: What the scan saw (`zeroizepy.testing.ScanReport`).
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class ScanControlError(ZeroizeError, RuntimeError):
    """A leak check did not see what it must see, or saw what is not there: its answer means nothing."""


class OSEraseError(ZeroizeError, RuntimeError):
    """A drive-level erase was not carried out."""


class OSEraseUnsupported(OSEraseError):
    """This platform has no such command."""


class OSEraseToolMissing(OSEraseError):
    """The program that would do it is not installed."""


class OSEraseValidationError(OSEraseError, ValueError):
    """The device or volume is not one that this command takes."""


class OSEraseNotImplemented(OSEraseError, NotImplementedError):
    """The request is valid and execution is not enabled.

    Attributes:
        request: The `EraseRequest` that would have been carried out.
    """

    request: Any = None
