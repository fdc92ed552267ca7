"""The ways to make a cell other than from data that the program already has."""

from __future__ import annotations

from . import _lib, loaders
from ._lib import ffi, lib
from .loaders import limits_from
from .slots import SlottedHolder, check_size

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self, Unpack

    from .values import CellLimits

__all__ = ["FromSources"]


class FromSources(SlottedHolder):
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

    @classmethod
    def from_command(
        cls,
        argv: Sequence[str | bytes | os.PathLike[str]],
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        strip: bool = False,
        timeout: float | None = None,
        max_bytes: int = loaders.MAX_SOURCE_BYTES,
        env: Mapping[str, str] | None = None,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """Run a program and read what it writes to its standard output into a cell.

        Args:
            argv: The program and its arguments, as a list; no shell is used. Its standard input is empty, and its
                standard error is this process's.
            strip: Drop ASCII white space at both ends, such as the newline that most programs write last.
            timeout: Seconds after which the program is killed; None waits as long as it runs.
            max_bytes: Kill it when it writes more; 16 MiB unless given.
            env: Its environment instead of this process's.
            volatile, ttl_sec, **limits: As for the class.

        Raises:
            SourceError: It ended with another status than 0, which `returncode` holds. No output is in the message.
            SourceTimeoutError: It was killed at `timeout`.
            OSError: It could not be started.
            ValueError: It wrote more than `max_bytes`, or a wrong argument.
            TypeError: A wrong argument, such as a str for `argv`.

        Does not reach: the program's own memory, and programs that it started itself, which are not killed with it.
        """
        from . import command

        checked = limits_from(volatile, ttl_sec, limits)
        return cls._adopt(
            command.load_command(argv, checked, strip=strip, timeout=timeout, max_bytes=max_bytes, env=env)
        )

    @classmethod
    def from_prompt(
        cls,
        prompt: str,
        volatile: bool = False,
        ttl_sec: float | None = None,
        *,
        confirm: bool = False,
        **limits: Unpack[CellLimits],
    ) -> Self:
        """Ask the user for a secret at the terminal, with echo off, and read the line into a cell.

        The terminal is /dev/tty, else standard input. When neither is a terminal, one line is read from descriptor 0,
        without a prompt and no further than its end. The newline, and a carriage return before it, are not part of the
        secret.

        Args:
            prompt: Written to the terminal as it is, as in "Password: ".
            confirm: Ask twice and compare.
            volatile, ttl_sec, **limits: As for the class.

        Raises:
            EOFError: The input ended before the first byte.
            ValueError: The two entries differ, the line is longer than 4094 bytes (terminals cut longer ones without a
                word), or a wrong argument.
            OSError: The terminal cannot be used.
            KeyboardInterrupt: Ctrl-C. As after any exception, the terminal's settings were restored.

        Does not reach: the kernel's terminal or pipe buffer, the terminal's own program, and what `sys.stdin` has read
        ahead. A signal that ends the process without a Python handler (SIGTERM, unless you set one) leaves the
        terminal without echo.
        """
        from . import prompt as terminal

        return cls._adopt(terminal.load_prompt(prompt, limits_from(volatile, ttl_sec, limits), confirm=confirm))
