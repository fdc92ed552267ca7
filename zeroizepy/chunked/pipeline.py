"""A file on its way through: read, encrypted or decrypted on all cores, and written in order, all at the same time."""

from __future__ import annotations

import os
import threading
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .filekey import BATCH_CHUNKS, CHUNK_BYTES, SEALED_BYTES, Scratch, ends_early

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ends import Output, Source
    from .filekey import FileKey

    Progress = Callable[[int, "int | None"], object]

__all__ = ["MOST_LANES", "Pipeline"]

_MOST_WORKERS = 8
_SPARE_LANES = 2
"""One that is read into, and one that is written out."""
MOST_LANES = _MOST_WORKERS + _SPARE_LANES
"""Of this many batches the plaintext is in memory at most."""


def _cpu_count() -> int:
    """How many of them this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Lane:
    """The buffers of one batch of chunks, used again and again."""

    def __init__(self) -> None:
        self.plain = Scratch(BATCH_CHUNKS * CHUNK_BYTES)
        self.sealed = Scratch(BATCH_CHUNKS * SEALED_BYTES)
        self.number = self.got = self.size = 0
        self.is_last = self.is_busy = False
        self.worked: SimpleQueue[BaseException | None] = SimpleQueue()
        self.written: SimpleQueue[BaseException | None] = SimpleQueue()


class Pipeline:
    """Encrypts or decrypts one file, batch by batch.

    A file of one batch is worked on by the calling thread alone. For more there is a thread for each CPU, and one that
    writes when `out` is a file that was made here; open files of the caller's are read and written by the calling
    thread only. Where no thread can be started, that one does all of it.

    Args:
        file_key: For this file.
        source, out: What is read and what is written, after the header.
        is_sealing: Encrypt; else decrypt.
    """

    def __init__(self, file_key: FileKey, source: Source, out: Output, *, is_sealing: bool) -> None:
        self._file_key = file_key
        self._source = source
        self._out = out
        self._is_sealing = is_sealing
        self._lanes = [_Lane()]
        self._progress: Progress | None = None
        self._total: int | None = None
        self._done = 0
        self._threads: list[threading.Thread] = []
        self._to_work: SimpleQueue[_Lane | None] = SimpleQueue()
        self._to_write: SimpleQueue[_Lane | None] = SimpleQueue()
        self._is_stopped = False
        self._has_writer = False

    def run(self, progress: Progress | None, done: int, total: int | None) -> None:
        """Take the source through to its end.

        Args:
            progress: Called by this thread with (bytes of the source done, total) after each batch was written.
            done: Bytes of the source that were read before.
            total: All of it.

        Raises:
            DecryptionError: A chunk is not authentic, or the last one is missing.
            SecureMemoryClosed, ValueError: As `FileKey.seal` and `FileKey.open` do.
            OSError: Reading or writing failed.
        """
        self._progress, self._done, self._total = progress, done, total
        for turn in count():
            lane = self._lanes[turn % len(self._lanes)]
            self._finish(lane)
            self._fill(lane, turn * BATCH_CHUNKS)
            self._send(lane)
            if lane.is_last:
                break
            if turn == 0:  # More follows, so threads are worth it.
                self._finish(lane)
                self._start()
        for later in range(turn + 1, turn + 1 + len(self._lanes)):
            self._finish(self._lanes[later % len(self._lanes)])
        self._file_key.check()
        if not self._is_sealing and lane.got % SEALED_BYTES == 0:
            raise ends_early(lane.number + lane.got // SEALED_BYTES)

    def _fill(self, lane: _Lane, number: int) -> None:
        """Read the next batch, whose first chunk has this number."""
        target = (lane.plain if self._is_sealing else lane.sealed).view
        lane.number = number
        lane.got = self._source.fill(target)
        lane.is_last = lane.got < len(target)

    def _start(self) -> None:
        """Start the threads, or none of them."""
        workers = min(_cpu_count(), _MOST_WORKERS)
        kinds = [self._work] * workers + ([self._write] if self._out.is_own else [])
        lanes = [_Lane() for _ in range(workers + _SPARE_LANES - 1)]
        try:
            for kind in kinds:
                thread = threading.Thread(target=kind, name="zeroizepy-file", daemon=True)
                self._threads.append(thread)  # First, so that an interrupt finds it.
                thread.start()
        except RuntimeError:  # A limit on threads, or the interpreter is about to end.
            self._end_threads()
            return
        self._has_writer = self._out.is_own
        self._lanes += lanes

    def _send(self, lane: _Lane) -> None:
        lane.is_busy = True
        if not self._threads:
            self._transform(lane)
            return
        self._to_work.put(lane)
        if self._has_writer:
            self._to_write.put(lane)

    def _finish(self, lane: _Lane) -> None:
        """Have the lane's batch written, if it has one."""
        if not lane.is_busy:
            return
        lane.is_busy = False
        if self._has_writer:
            error = lane.written.get()
        else:
            error = lane.worked.get()
            if error is None:
                self._put_out(lane)
        if error is not None:
            raise error
        self._done += lane.got
        if self._progress is not None and lane.got:
            self._progress(self._done, self._total)

    def _transform(self, lane: _Lane) -> None:
        try:
            if self._is_sealing:
                size = self._file_key.seal(lane.number, lane.plain, lane.got, lane.sealed, is_last=lane.is_last)
            else:
                size = self._file_key.open(lane.number, lane.sealed, lane.got, lane.plain, is_last=lane.is_last)
            lane.size = size
        except BaseException as error:  # noqa: BLE001 - the calling thread raises it.
            lane.worked.put(error)
        else:
            lane.worked.put(None)

    def _put_out(self, lane: _Lane) -> None:
        self._out.write((lane.sealed if self._is_sealing else lane.plain).view[: lane.size])

    def _work(self) -> None:
        while (lane := self._to_work.get()) is not None:
            self._transform(lane)

    def _write(self) -> None:
        failure: BaseException | None = None
        while (lane := self._to_write.get()) is not None:
            if failure is None:
                failure = lane.worked.get()
            if failure is None and not self._is_stopped:
                try:
                    self._put_out(lane)
                except BaseException as error:  # noqa: BLE001 - the calling thread raises it.
                    failure = error
            lane.written.put(failure)

    def _end_threads(self) -> None:
        """Have the threads end, and wait for that: no longer than a batch takes. To be called again when it raised."""
        self._is_stopped = True
        for _ in self._threads:
            self._to_work.put(None)
        self._to_write.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._threads.clear()

    def close(self) -> None:
        """End the threads, whatever comes meanwhile, such as Ctrl-C; then zero the plaintext. Idempotent."""
        interrupt: BaseException | None = None
        while self._threads:
            try:
                self._end_threads()
            except BaseException as error:  # noqa: BLE001, PERF203 - raised again below.
                interrupt = error
        while self._lanes:
            self._lanes[-1].plain.wipe()
            self._lanes.pop()
        if interrupt is not None:
            raise interrupt
