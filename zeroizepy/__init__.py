"""zeroizepy: secrets in guarded, locked memory; keys that can be destroyed; shredding that says what it reached."""

from __future__ import annotations

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from .cell import CypherCell, CypherView
    from .crypto import (
        CipherText,
        CryptoKey,
        cryptographic_erase_key,
        decrypt,
        decrypt_data,
        decrypt_secret,
        destroy_key,
        encrypt,
        encrypt_data,
    )
    from .exceptions import (
        CellError,
        CellExpiredError,
        CellWipedError,
        DecryptionError,
        FileAccessError,
        LockLimitError,
        MemoryCorruptionError,
        OSEraseError,
        OSEraseNotImplemented,
        OSEraseToolMissing,
        OSEraseUnsupported,
        OSEraseValidationError,
        ProtectionError,
        SecureMemoryClosed,
        SecureMemoryError,
        SecureMemoryWarning,
        SecureWipeError,
        ViewExpiredError,
        ZeroizeError,
    )
    from .file import FreeSpaceReport, ShredReport, secure_delete, wipe_free_space
    from .memory import MemoryStats, Protection, SecureMemory, purge, secret_bytes, secure_alloc, stats
    from .os_erase import (
        EraseRequest,
        linux_hdparm_secure_erase,
        linux_nvme_secure_erase,
        macos_diskutil_secure_erase,
        windows_bitlocker_destroy_volume_keys,
    )
    from .session import SecureSession, secure_session
    from .utils import secure_clear, secure_compare

    __version__: str

# Where each public name lives: the module is imported when a name of it is first used, so that a program pays for what it
# touches. A test compares this table with the imports above.
_HOMES = {
    "cell": (
        "CypherCell",
        "CypherView",
    ),
    "crypto": (
        "CipherText",
        "CryptoKey",
        "cryptographic_erase_key",
        "decrypt",
        "decrypt_data",
        "decrypt_secret",
        "destroy_key",
        "encrypt",
        "encrypt_data",
    ),
    "exceptions": (
        "CellError",
        "CellExpiredError",
        "CellWipedError",
        "DecryptionError",
        "FileAccessError",
        "LockLimitError",
        "MemoryCorruptionError",
        "OSEraseError",
        "OSEraseNotImplemented",
        "OSEraseToolMissing",
        "OSEraseUnsupported",
        "OSEraseValidationError",
        "ProtectionError",
        "SecureMemoryClosed",
        "SecureMemoryError",
        "SecureMemoryWarning",
        "SecureWipeError",
        "ViewExpiredError",
        "ZeroizeError",
    ),
    "file": (
        "FreeSpaceReport",
        "ShredReport",
        "secure_delete",
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
        "SecureSession",
        "secure_session",
    ),
    "utils": (
        "secure_clear",
        "secure_compare",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = (*_HOMES, "loaders", "process", "testing")

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
