"""The ways to make a cell other than from data that the program already has."""

from __future__ import annotations

from . import _lib, loaders
from ._lib import ffi, lib
from .loaders import limits_from
from .slots import Holder, check_size

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    import os

    from typing_extensions import Self, Unpack

    from .values import CellLimits

__all__ = ["FromSources"]


class FromSources(Holder):
    """Base of `CypherCell`: its `from_*` class methods.

    Wherever they read from, the bytes go straight into locked memory and no Python object holds them on the way. What
    the kernel holds of them (page cache, pipe and terminal buffers) is not reached.
    """

    __slots__ = ()

    @classmethod
    def _adopt(cls, handle: int) -> Self:
        cell = cls.__new__(cls)
        cell._hold(handle, max(int(lib.zpy_cell_length(handle)), 0))
        return cell

    @classmethod
    def from_env(
        cls,
        var_name: str,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        scrub: bool = False,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """Copy an environment variable from the C environment into a cell, without a Python object on the way.

        Args:
            var_name: Its name.
            scrub: Also zero the value in the environment block and in the bytes behind `os.environ`, and remove it.
            volatile, ttl_sec, **limits: As for the class.

        Raises:
            KeyError: "Env var not found: ...".
            TypeError, ValueError: A wrong argument.

        Does not reach: without `scrub`, the environment itself: `os.environ` and /proc/PID/environ keep the value.
        """
        return cls._adopt(loaders.load_env(var_name, limits_from(volatile, ttl_sec, limits), scrub=scrub))

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        strip: bool = False,
        max_bytes: int = loaders.MAX_SOURCE_BYTES,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """Read a file into a cell, without a Python object on the way.

        Args:
            path: The file.
            strip: Drop ASCII white space at both ends, such as the newline that an editor added. A binary key may
                begin or end with such a byte: leave it as it is.
            max_bytes: Refuse a longer one; 16 MiB unless given.
            volatile, ttl_sec, **limits: As for the class.

        Raises:
            OSError: It cannot be opened or read; the path is named.
            ValueError: It is longer than `max_bytes`, or a wrong argument.

        Does not reach: the file, and the kernel's page cache of it.
        """
        checked = limits_from(volatile, ttl_sec, limits)
        return cls._adopt(loaders.load_file(path, checked, strip=strip, max_bytes=max_bytes))

    @classmethod
    def from_fd(
        cls,
        fd: int,
        size: int | None = None,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        strip: bool = False,
        max_bytes: int = loaders.MAX_SOURCE_BYTES,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """Read a descriptor (pipe, socket, file) into a cell, without a Python object on the way.

        Args:
            fd: Stays open.
            size: Read exactly so many bytes; None reads to the end.
            strip: Drop ASCII white space at both ends of what was read.
            max_bytes: Refuse more when `size` is None; 16 MiB unless given.
            volatile, ttl_sec, **limits: As for the class.

        Raises:
            OSError: Reading failed.
            ValueError: Fewer than `size` bytes, more than `max_bytes`, or a wrong argument.
        """
        checked = limits_from(volatile, ttl_sec, limits)
        return cls._adopt(loaders.load_descriptor(fd, size, checked, strip=strip, max_bytes=max_bytes))

    @classmethod
    def from_credential(
        cls,
        name: str,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        strip: bool = False,
        max_bytes: int = loaders.MAX_SOURCE_BYTES,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """Read a credential of this systemd service into a cell: the file `name` in $CREDENTIALS_DIRECTORY.

        Args:
            name: As in the unit's `LoadCredential=`, `LoadCredentialEncrypted=` or `SetCredential=`.
            strip, max_bytes: As for `from_file`.
            volatile, ttl_sec, **limits: As for the class.

        Raises:
            KeyError: $CREDENTIALS_DIRECTORY is not set.
            FileNotFoundError: The service has no such credential; the path is named.
            OSError: It is a symbolic link, no regular file, or cannot be read.
            TypeError, ValueError: `name` is no plain file name, the credential is longer than `max_bytes`, or a wrong
                argument.

        Does not reach: the credential's file, which systemd removes when the service stops.
        """
        checked = limits_from(volatile, ttl_sec, limits)
        return cls._adopt(loaders.load_credential(name, checked, strip=strip, max_bytes=max_bytes))

    @classmethod
    def generate(
        cls,
        size: int,
        volatile: bool = False,
        ttl_sec: float | None = None,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """A cell of `size` random bytes, drawn from the kernel's generator straight into its slot.

        Takes and raises what the class does; `size` is 0 and up.
        """
        options, ttl_ns, max_reads = limits_from(volatile, ttl_sec, limits)
        return cls._adopt(_lib.new_handle(ffi.NULL, check_size(size), options | lib.ZPY_RANDOM, ttl_ns, max_reads))
