"""zeroizepy: secrets in guarded, locked memory; keys that can be destroyed; shredding that says what it reached."""

from __future__ import annotations

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from .audit import AuditLog as AuditLog
    from .cell import CypherCell as CypherCell
    from .cell import CypherView as CypherView
    from .certificate import Certificate as Certificate
    from .certificate import SignedReceipt as SignedReceipt
    from .certificate import certify as certify
    from .certificate import sign_receipt as sign_receipt
    from .certificate import verify_certificate as verify_certificate
    from .certificate import verify_receipt as verify_receipt
    from .chunked import EncryptedReader as EncryptedReader
    from .chunked import EncryptedWriter as EncryptedWriter
    from .chunked import decrypt_file as decrypt_file
    from .chunked import encrypt_file as encrypt_file
    from .crypto import CipherText as CipherText
    from .crypto import CryptoKey as CryptoKey
    from .crypto import ErasureReceipt as ErasureReceipt
    from .crypto import cryptographic_erase_key as cryptographic_erase_key
    from .crypto import decrypt as decrypt
    from .crypto import decrypt_data as decrypt_data
    from .crypto import decrypt_into as decrypt_into
    from .crypto import decrypt_secret as decrypt_secret
    from .crypto import destroy_key as destroy_key
    from .crypto import encrypt as encrypt
    from .crypto import encrypt_data as encrypt_data
    from .crypto import erased_key_ids as erased_key_ids
    from .crypto import refuse_erased as refuse_erased
    from .erasure import CryptoShredReport as CryptoShredReport
    from .erasure import DirectoryKeyStore as DirectoryKeyStore
    from .erasure import KeyStore as KeyStore
    from .erasure import crypto_shred_file as crypto_shred_file
    from .erasure import erase_key_file as erase_key_file
    from .exceptions import AuditError as AuditError
    from .exceptions import CellError as CellError
    from .exceptions import CellExpiredError as CellExpiredError
    from .exceptions import CellWipedError as CellWipedError
    from .exceptions import CertificateError as CertificateError
    from .exceptions import DecryptionError as DecryptionError
    from .exceptions import FileAccessError as FileAccessError
    from .exceptions import KeyErasedError as KeyErasedError
    from .exceptions import LockLimitError as LockLimitError
    from .exceptions import MemoryCorruptionError as MemoryCorruptionError
    from .exceptions import NonceLimitError as NonceLimitError
    from .exceptions import OSEraseError as OSEraseError
    from .exceptions import OSEraseNotImplemented as OSEraseNotImplemented
    from .exceptions import OSEraseToolMissing as OSEraseToolMissing
    from .exceptions import OSEraseUnsupported as OSEraseUnsupported
    from .exceptions import OSEraseValidationError as OSEraseValidationError
    from .exceptions import ProtectionError as ProtectionError
    from .exceptions import SecureMemoryClosed as SecureMemoryClosed
    from .exceptions import SecureMemoryError as SecureMemoryError
    from .exceptions import SecureMemoryExpired as SecureMemoryExpired
    from .exceptions import SecureMemoryWarning as SecureMemoryWarning
    from .exceptions import SecureWipeError as SecureWipeError
    from .exceptions import SignatureError as SignatureError
    from .exceptions import SourceError as SourceError
    from .exceptions import SourceTimeoutError as SourceTimeoutError
    from .exceptions import ViewExpiredError as ViewExpiredError
    from .exceptions import ZeroizeError as ZeroizeError
    from .file import DeviceReport as DeviceReport
    from .file import FreeSpaceReport as FreeSpaceReport
    from .file import ShredReport as ShredReport
    from .file import TreeReport as TreeReport
    from .file import overwrite_device as overwrite_device
    from .file import secure_delete as secure_delete
    from .file import shred_tree as shred_tree
    from .file import wipe_free_space as wipe_free_space
    from .memory import MemoryStats as MemoryStats
    from .memory import Protection as Protection
    from .memory import SecureMemory as SecureMemory
    from .memory import purge as purge
    from .memory import secret_bytes as secret_bytes
    from .memory import secure_alloc as secure_alloc
    from .memory import stats as stats
    from .os_erase import EraseRequest as EraseRequest
    from .os_erase import linux_hdparm_secure_erase as linux_hdparm_secure_erase
    from .os_erase import linux_nvme_secure_erase as linux_nvme_secure_erase
    from .os_erase import macos_diskutil_secure_erase as macos_diskutil_secure_erase
    from .os_erase import windows_bitlocker_destroy_volume_keys as windows_bitlocker_destroy_volume_keys
    from .session import EncryptedFile as EncryptedFile
    from .session import RecoveryReport as RecoveryReport
    from .session import SecureSession as SecureSession
    from .session import recover as recover
    from .session import secure_session as secure_session
    from .signing import SigningKey as SigningKey
    from .signing import verify_signature as verify_signature
    from .utils import secure_clear as secure_clear
    from .utils import secure_compare as secure_compare

    __version__: str

# Where each public name lives: its module is imported when a name of it is first used, so that a program pays for what
# it touches. A test compares this table with the imports above.
_HOMES = {
    "audit": ("AuditLog",),
    "cell": (
        "CypherCell",
        "CypherView",
    ),
    "certificate": (
        "Certificate",
        "SignedReceipt",
        "certify",
        "sign_receipt",
        "verify_certificate",
        "verify_receipt",
    ),
    "chunked": (
        "EncryptedReader",
        "EncryptedWriter",
        "decrypt_file",
        "encrypt_file",
    ),
    "crypto": (
        "CipherText",
        "CryptoKey",
        "ErasureReceipt",
        "cryptographic_erase_key",
        "decrypt",
        "decrypt_data",
        "decrypt_into",
        "decrypt_secret",
        "destroy_key",
        "encrypt",
        "encrypt_data",
        "erased_key_ids",
        "refuse_erased",
    ),
    "erasure": (
        "CryptoShredReport",
        "DirectoryKeyStore",
        "KeyStore",
        "crypto_shred_file",
        "erase_key_file",
    ),
    "exceptions": (
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
    ),
    "file": (
        "DeviceReport",
        "FreeSpaceReport",
        "ShredReport",
        "TreeReport",
        "overwrite_device",
        "secure_delete",
        "shred_tree",
        "wipe_free_space",
    ),
    "memory": (
        "MemoryStats",
        "Protection",
        "SecureMemory",
        "purge",
        "secret_bytes",
        "secure_alloc",
        "stats",
    ),
    "os_erase": (
        "EraseRequest",
        "linux_hdparm_secure_erase",
        "linux_nvme_secure_erase",
        "macos_diskutil_secure_erase",
        "windows_bitlocker_destroy_volume_keys",
    ),
    "session": (
        "EncryptedFile",
        "RecoveryReport",
        "SecureSession",
        "recover",
        "secure_session",
    ),
    "signing": (
        "SigningKey",
        "verify_signature",
    ),
    "utils": (
        "secure_clear",
        "secure_compare",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = (*_HOMES, "loaders", "nacl", "process", "testing")

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 - the names are strings.


if not TYPE_CHECKING:  # Otherwise a type checker would take any misspelt name for a public one.

    def __getattr__(name: str) -> object:
        """Import a public name, or a module of the package, when it is first used."""
        if name == "__version__":
            from importlib.metadata import version

            value = version(__name__)
        elif name in _HOME_OF:
            value = getattr(__import__(f"{__name__}.{_HOME_OF[name]}", fromlist=[name]), name)
        elif name in _MODULES:
            value = __import__(f"{__name__}.{name}", fromlist=[name])
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})
