"""The check that a block of code left no copy of a secret, with a control that the scan can see."""

from __future__ import annotations

import errno
import gc
import os
import struct
from typing import TYPE_CHECKING

from zeroizepy._lib import ffi, lib
from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import ResidueError, ScanControlError
from zeroizepy.memory import SecureMemory

from . import process
from .canary import Canary
from .probes import Probe, check_forms, check_secret, probes_of
from .values import FORMS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from .values import Hit, ScanReport

__all__ = ["ResidueCheck", "assert_no_residue"]

_CONTROL_BYTES = 32
_AT_RANDOM = 25
"""Entry of the auxiliary vector: the address of 16 random bytes that the kernel put on the stack at execve."""
_AT_RANDOM_BYTES = 16
_PLANTED, _ABSENT = -1, -2
_SHOWN_HITS = 20


class ResidueCheck:
    """What `assert_no_residue` gives.

    Attributes:
        report: After the block, what the scan saw: hits that do not count included, those of the control not.
    """

    def __init__(self, pid: int | None, forms: Iterable[str] | None, *, tail: bool) -> None:
        process.check_pid(pid)
        process.require_linux()
        self.report: ScanReport | None = None
        self._pid = None if pid == os.getpid() else pid
        self._forms = None if forms is None else check_forms(forms)
        self._tail = tail
        self._canaries: list[Canary] = []
        self._originals: list[CypherCell | SecureMemory] = []
        self._probes: list[Probe] = []
        self._count = 0

    def add(self, *secrets: CypherCell | SecureMemory | Canary | bytes) -> None:
        """Look for more secrets: those that come to be within the block.

        Raises:
            TypeError, ValueError, CellWipedError: As `scan_process`.
        """
        for secret in secrets:
            if isinstance(secret, Canary):
                probes = [Probe(it.memory, it.size, it.whole, self._count, it.form) for it in secret._probes()]
                self._canaries.append(secret)
                self._originals.append(secret._cell)
            else:
                check_secret(secret, "secret")
                forms = self._forms or (FORMS if len(secret) <= 4096 else ("raw",))
                probes = probes_of(secret, self._count, forms, self._tail)
                if not isinstance(secret, bytes):
                    self._originals.append(secret)
            self._probes += probes
            self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return  # The frames of the error hold what the block held; its own failure is the one to see.
        if not self._probes:
            raise ValueError("no secret to look for: give one to assert_no_residue() or to add()")
        kept = [text for canary in self._canaries for text in canary._take_back()] if self._pid is None else []
        gc.collect()
        with _Control(self._pid) as control:
            self.report = control.judged(process.scan([*self._probes, *control.probes], self._pid, self._originals))
        counted = [hit for hit in self.report.hits if not hit.protected]
        if counted or kept:
            raise ResidueError(_message(counted, kept, self.report, self._pid, self._count), self.report)


def assert_no_residue(
    *secrets: CypherCell | SecureMemory | Canary | bytes,
    pid: int | None = None,
    forms: Iterable[str] | None = None,
    tail: bool = True,
) -> ResidueCheck:
    """Fail when a block of code leaves a copy of a secret in memory.

    >>> with assert_no_residue(cell):  # doctest: +SKIP
    ...     log_in("user", cell)


    When the block ends without an error, garbage is collected and the process is scanned once for everything. Two
    controls are part of that scan: a random value that was put into ordinary memory, which must be found where it is,
    and one that was never put anywhere, which must not be found. For another process the first is the 16 random bytes
    that the kernel puts on each program's stack. An empty answer is trusted only beside both.

    Args:
        secrets: What to look for, copied into locked memory when the block begins, so that it may be wiped in it.
            More can be added with the `add` method of what `as` gives. A `bytes` object is itself a copy that is
            found for as long as this process holds it, and mostly in freed memory too: for another process, or to
            show just that.
        pid: Another process; None for this one.
        forms: Of `FORMS`; None for all, and for "raw" alone where a secret is over 4096 bytes. A `Canary` has its own.
        tail: Look for the last 16 bytes of secrets that are longer: a copy in freed memory loses its head. A `Canary`
            has its own.

    Raises:
        ResidueError: An AssertionError that says where each copy is and, for a canary, what still refers to it. Its
            `report` has the hits. It never holds the secret.
        ScanControlError: The scan did not see its control, or saw what is not there: its answer means nothing.
        TypeError, ValueError: A wrong argument, or no secret by the end of the block.
        CellWipedError: A secret was gone already when it was given.
        PermissionError, ProcessLookupError, NotImplementedError: As `scan_process`.

    Not counted: copies in memory that the kernel says is locked and left out of core dumps, where other cells, keys and
    buffers of the kind live; they are in the report, with `protected` set.

    Does not reach: what `scan_process` does not reach; a block that raises is not checked, since its traceback holds
    its variables. Other threads that hold the secret at that moment are found, and those that move it may escape.
    """
    check = ResidueCheck(pid, forms, tail=tail)
    check.add(*secrets)
    return check


class _Control:
    """A value that the scan must find, and one that it must not."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._buffer: Any = None
        absent = CypherCell.generate(_CONTROL_BYTES)
        if pid is None:
            planted: CypherCell | SecureMemory = CypherCell.generate(_CONTROL_BYTES)
            self._buffer = ffi.new("uint8_t[]", _CONTROL_BYTES)
            lib.zpy_cell_read(planted._handle, 0, self._buffer, _CONTROL_BYTES)
            self._address = int(ffi.cast("uintptr_t", self._buffer))
        else:
            self._address, planted = _random_bytes(pid)
        self.probes = [Probe(planted, len(planted), None, _PLANTED), Probe(absent, len(absent), None, _ABSENT)]

    def __enter__(self) -> _Control:  # noqa: PYI034 - typing.Self needs Python 3.11.
        return self

    def __exit__(self, *_error: object) -> None:
        if self._buffer is not None:
            lib.zpy_cell_memzero(self._buffer, _CONTROL_BYTES)
        for probe in self.probes:
            lib.zpy_cell_wipe(probe.memory._handle)

    def judged(self, report: ScanReport) -> ScanReport:
        """The report without the controls' own hits.

        Raises:
            ScanControlError: It cannot be trusted.
        """
        where = "this process" if self._pid is None else f"process {self._pid}"
        if not any(hit.secret == _PLANTED and hit.address == self._address for hit in report.hits):
            raise ScanControlError(
                f"the scan of {where} is blind: it did not find a control value at {self._address:#x}, after comparing "
                f"{report.scanned_bytes} bytes; {len(report.unreadable)} regions could not be read, so that finding no "
                "secret means nothing"
            )
        ghosts = [hit for hit in report.hits if hit.secret == _ABSENT and not hit.protected]
        if ghosts:
            raise ScanControlError(
                f"the scan of {where} sees what is not there: a control value that was never placed was found in "
                f"{_place(ghosts[0])}; its hits mean nothing"
            )
        hits = tuple(hit for hit in report.hits if hit.secret >= 0)
        return type(report)(hits, report.unreadable, report.scanned_bytes, report.skipped_bytes)


def _random_bytes(pid: int) -> tuple[int, SecureMemory]:
    """The random bytes of another program, and where they are in it. They seed its stack protector: a secret, too."""
    memory = SecureMemory(_AT_RANDOM_BYTES)
    with process.opened(pid) as fd:
        with open(f"/proc/{pid}/auxv", "rb") as file:
            entries = file.read()
        pairs = dict(struct.iter_unpack("=QQ", entries[: len(entries) // 16 * 16]))
        address = int(pairs.get(_AT_RANDOM, 0))
        if not any(pairs.values()):
            # A parent goes on while the kernel still replaces the child that it forked; a zombie has nothing here, too.
            raise ScanControlError(
                f"process {pid} has no program yet, or no more: its stack has none of the random bytes that are the "
                "control; check it while it runs, such as once it has answered"
            )
        if not 0 < address < 1 << 63:
            raise ScanControlError(f"process {pid} has no AT_RANDOM bytes of 64-bit programs, which are the control")
        os.lseek(fd, address, os.SEEK_SET)
        if int(lib.zpy_source_read(memory._handle, 0, fd)) != _AT_RANDOM_BYTES:
            raise OSError(errno.EIO, f"the control of process {pid} could not be read")
    return address, memory


def _message(hits: list[Hit], kept: list[str], report: ScanReport, pid: int | None, count: int) -> str:
    where = "this process" if pid is None else f"process {pid}"
    what = "the secret" if count == 1 else f"{count} secrets"
    copies = "1 copy" if len(hits) == 1 else f"{len(hits)} copies"
    lines = [f"{copies} of {what} in the memory of {where}; {report.scanned_bytes} bytes were compared"]
    for hit in hits[:_SHOWN_HITS]:
        name = "" if count == 1 else f"secret {hit.secret + 1}, "
        part = "whole" if hit.part == "whole" else "its last 16 bytes"
        lines.append(f"  {name}{part}, {hit.form}: {_place(hit)}")
    if len(hits) > _SHOWN_HITS:
        lines.append(f"  and {len(hits) - _SHOWN_HITS} more")
    lines += (f"  {text}" for text in kept)
    return "\n".join(lines)


def _place(hit: Hit) -> str:
    mapping = f" {hit.mapping}" if hit.mapping else ""
    return f"{hit.kind} {hit.permissions}{mapping}, {hit.region_start:#x} + {hit.offset:#x}"
