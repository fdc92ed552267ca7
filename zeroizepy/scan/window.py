"""One buffer through which everything passes that is scanned: memory, files, devices."""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING, NamedTuple

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .probes import Probe

__all__ = ["Found", "Window"]

_CHUNK_BYTES = 1 << 20
_MAX_OFFSET = (1 << 63) - 1

_NOT_GIVEN = (errno.EIO, errno.EFAULT, errno.ENXIO)
"""What a read of /proc/PID/mem answers for pages that it cannot give out."""


class Found(NamedTuple):
    """A place at which a probe stands.

    Attributes:
        offset: Of the whole text where that is there, else of its tail.
        probe: What was found.
        is_whole: Whether all of it stands there.
    """

    offset: int
    probe: Probe
    is_whole: bool

    @property
    def end(self) -> tuple[int, int, str]:
        """What two findings of one copy have in common."""
        return self.offset + (self.probe.reach_bytes if self.is_whole else self.probe.size), *self.probe.key


class Window:
    """A buffer of a few megabytes at most; kept out of core dumps and children, and wiped at the end.

    It is not locked: while a scan runs, the kernel may swap it like the memory that it reads.

    Args:
        fd: What is read.
        probes: What is looked for, at least one.
        is_memory: `fd` is /proc/PID/mem: pages that it does not give out are passed over, and an end is the process's.
            Otherwise the end is the file's, and an error is raised.

    Attributes:
        span: Where the buffer is, so that a scan of this process can leave it out.
        scanned_bytes: Bytes that were compared, each once.
    """

    def __init__(self, fd: int, probes: Sequence[Probe], *, is_memory: bool) -> None:
        self.scanned_bytes = 0
        self._fd = fd
        self._probes = probes
        self._is_memory = is_memory
        self._reach_bytes = max(probe.reach_bytes for probe in probes)
        page = mmap.PAGESIZE
        span_bytes = max(_CHUNK_BYTES, (2 * self._reach_bytes // page + 2) * page)
        self._map = mmap.mmap(-1, span_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for name in ("MADV_DONTDUMP", "MADV_DONTFORK"):
            self._map.madvise(getattr(mmap, name))
        self._view = memoryview(self._map)
        self._hay = ffi.from_buffer("uint8_t[]", self._map)
        address = int(ffi.cast("uintptr_t", self._hay))
        self.span = (address, address + len(self._map))

    def __enter__(self) -> Window:  # noqa: PYI034 - typing.Self needs Python 3.11.
        return self

    def __exit__(self, *_error: object) -> None:
        _lib.core(len(self._map), "memzero")(self._hay, len(self._map))
        ffi.release(self._hay)
        self._view.release()
        self._map.close()

    def search(self, start: int, stop: int) -> tuple[list[Found], bool]:
        """Look for the probes in [start, stop).

        Returns:
            What was found, by offset, and whether all of the span could be read.

        Raises:
            ProcessLookupError: The process ended.
            OSError: A file could not be read.
        """
        if stop > _MAX_OFFSET:
            return [], False  # [vsyscall] lies where no offset reaches.
        found: list[Found] = []
        whole = True
        carried = 0  # Bytes at the front of the buffer that the step before has compared already.
        while start < stop:
            got = self._fill(start, stop)
            if got is None:
                whole = False
                start, carried = (start // mmap.PAGESIZE + 1) * mmap.PAGESIZE, 0
                continue
            if got <= carried:
                if got == 0:
                    break
                start, carried = start + got, 0
                continue
            found += (Found(start + at, probe, is_whole) for at, probe, is_whole in self._find(got, carried))
            self.scanned_bytes += got - carried
            # The next part begins so far back that what lies across the border is whole in it, and on a page, which
            # O_DIRECT asks for.
            following = max((start + got - (self._reach_bytes - 1)) // mmap.PAGESIZE * mmap.PAGESIZE, start)
            if start + got >= stop or following == start:
                following = start + got
            start, carried = following, start + got - following
        # Texts that differ in alphabet alone may have a tail in common; what is found as a whole is not also a tail.
        copies = {place.end: place for place in sorted(found, key=lambda place: place.is_whole)}
        return sorted(copies.values(), key=lambda place: place.offset), whole

    def _fill(self, start: int, stop: int) -> int | None:
        """Read from `start` on. Returns the bytes that came, 0 at the end of a file, None for a page not given out."""
        try:
            with self._view[: min(stop - start, len(self._map))] as part:
                got = os.preadv(self._fd, [part], start)
        except OSError as error:
            if not self._is_memory or error.errno not in _NOT_GIVEN:
                raise
            return None
        if got == 0 and self._is_memory:
            raise ProcessLookupError(errno.ESRCH, "the process ended, or runs another program now")
        return got

    def _find(self, length: int, carried: int) -> Iterator[tuple[int, Probe, bool]]:
        for probe in self._probes:
            # What lies wholly in the carried bytes was found by the step before.
            start = max(carried - probe.size + 1, 0)
            while (at := _first(probe.memory._handle, self._hay, length, start)) >= 0:
                before = probe.reach_bytes - probe.size
                if probe.whole is None:
                    yield at, probe, True
                elif at >= before and _first(probe.whole._handle, self._hay, at + probe.size, at - before) >= 0:
                    yield at - before, probe, True
                else:
                    yield at, probe, False
                start = at + probe.size


def _first(handle: int, hay: object, length: int, start: int) -> int:
    """Where the cell's bytes first stand in `hay` from `start` on; -1 for nowhere."""
    offset = int(lib.zpy_scan_find(handle, hay, length, start))
    if offset < -1:
        _lib.raise_status(-2 - offset)
    return offset
