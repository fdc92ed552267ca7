"""Files that are read, encrypted and written by several threads: order, failures, and what is left of the threads."""

from __future__ import annotations

import gc
import io
import os
import random
import threading
import time
import weakref
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.chunked import decrypt_file, encrypt_file, ends, filekey, pipeline
from zeroizepy.crypto import CryptoKey
from zeroizepy.exceptions import DecryptionError, SecureMemoryClosed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 16 * 16384
DATA = random.Random(5).randbytes(40 * BATCH + 1234)
CALLS = {"encrypt": encrypt_file, "decrypt": decrypt_file}


@pytest.fixture
def key() -> CryptoKey:
    """The key of all files here."""
    return CryptoKey(bytes(range(32)))


@pytest.fixture
def folder(tmp_path: Path, key: CryptoKey) -> Path:
    """A folder with a plaintext and the same encrypted."""
    (tmp_path / "encrypt").write_bytes(DATA)
    encrypt_file(tmp_path / "encrypt", tmp_path / "decrypt", key)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_threads_stay() -> Iterator[None]:
    """Whatever happens, no thread outlives the call."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(params=[1, 2, 5])
def cpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """As many CPUs to use."""
    count: int = request.param
    monkeypatch.setattr(pipeline, "_cpu_count", lambda: count)
    return count


def test_order(tmp_path: Path, key: CryptoKey, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Workers that take their time at random change nothing in what is written, nor in the order of progress."""
    for name in ("seal", "open"):
        original = getattr(filekey.FileKey, name)

        def slow(*arguments: Any, _original: Any = original, **more: Any) -> int:
            time.sleep(random.random() / 200)
            result: int = _original(*arguments, **more)
            return result

        monkeypatch.setattr(filekey.FileKey, name, slow)
    (tmp_path / "plain").write_bytes(DATA)
    steps: list[int] = []
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", key, progress=lambda done, _total: steps.append(done))
    decrypt_file(tmp_path / "sealed", tmp_path / "back", key)
    assert (tmp_path / "back").read_bytes() == DATA
    assert steps == [min(turn * BATCH, len(DATA)) for turn in range(1, 42)]


@pytest.mark.parametrize("size", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 9 * BATCH, 9 * BATCH + 1])
def test_sizes(tmp_path: Path, key: CryptoKey, cpus: int, size: int) -> None:  # noqa: ARG001 - the fixture acts.
    """From one batch to more than there are lanes, ending in a batch and after it."""
    (tmp_path / "plain").write_bytes(DATA[:size])
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", key)
    decrypt_file(tmp_path / "sealed", tmp_path / "back", key)
    assert (tmp_path / "back").read_bytes() == DATA[:size]


@pytest.mark.parametrize("started", [0, 1, 2])
def test_no_more_threads(folder: Path, key: CryptoKey, started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives none, or too few, the calling thread does the work."""
    original, left = threading.Thread.start, [started]

    def start(self: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        original(self)

    monkeypatch.setattr(pipeline, "_cpu_count", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", start)
    decrypt_file(folder / "decrypt", folder / "back", key)
    assert (folder / "back").read_bytes() == DATA


class Watched(io.BytesIO):
    """An open file that knows who uses it."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.users: set[int] = set()

    def readinto(self, buffer: Any) -> int:
        """As ever."""
        self.users.add(threading.get_ident())
        return super().readinto(buffer)

    def write(self, data: Any) -> int:
        """As ever."""
        self.users.add(threading.get_ident())
        return super().write(data)


def workers() -> int:
    """How many threads for files there are."""
    return sum(each.name == "zeroizepy-file" for each in threading.enumerate())


def test_open_files_belong_to_the_caller(key: CryptoKey, cpus: int) -> None:
    """Only the calling thread reads and writes them, and no thread waits to."""
    sealed, back = Watched(), Watched()
    seen: set[int] = set()

    def progress(done: int, _total: int | None) -> None:
        if done > BATCH + 1000:  # The first batch is worked on before there are threads.
            seen.add(workers())

    encrypt_file(Watched(DATA), sealed, key, progress=progress)
    source = Watched(sealed.getvalue())
    decrypt_file(source, back, key, progress=progress)
    assert seen == {cpus}
    assert back.getvalue() == DATA
    assert sealed.users == source.users == back.users == {threading.get_ident()}


def test_nothing_behind_a_forged_chunk_is_written(folder: Path, key: CryptoKey, cpus: int) -> None:  # noqa: ARG001
    """Batches behind it that were decrypted already stay inside; those before it came out."""
    sealed = bytearray((folder / "decrypt").read_bytes())
    sealed[56 + 10 * 16 * 16400 + 7] ^= 1
    out = io.BytesIO()
    with pytest.raises(DecryptionError, match="chunk 160 is not authentic"):
        decrypt_file(io.BytesIO(sealed), out, key)
    assert out.getvalue() == DATA[: 10 * BATCH]


def test_the_writer_stops_at_the_first_failure(key: CryptoKey) -> None:
    """Batches behind one that failed are not written to a new file, whatever became of them; all of them fail."""
    written: list[int] = []

    class Failing:
        is_own = True

        def write(self, data: memoryview) -> None:
            written.append(len(data))
            raise OSError(28, "cannot write")

    line = pipeline.Pipeline(filekey.FileKey(key, b""), None, Failing(), is_sealing=True)  # type: ignore[arg-type]
    lanes = [pipeline._Lane() for _ in range(3)]
    for size, lane in enumerate(lanes, 1):
        lane.size = size
        lane.worked.put(None)
        line._to_write.put(lane)
    line._to_write.put(None)
    line._write()
    assert written == [1]
    assert [str(lane.written.get_nowait()) for lane in lanes] == ["[Errno 28] cannot write"] * 3


@pytest.mark.parametrize("call", CALLS)
def test_what_ends_it_early(folder: Path, key: CryptoKey, call: str, cpus: int) -> None:  # noqa: ARG001
    """A failing reader, a failing writer, an interrupt and a destroyed key: their own exception, and no file."""

    class Failing(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell() > 12 * BATCH:
                raise OSError(5, "cannot read")
            return super().readinto(buffer)

        def write(self, data: Any) -> int:
            if self.tell() > 12 * BATCH:
                raise OSError(28, "cannot write")
            return super().write(data)

    def interrupt(done: int, _total: int | None) -> None:
        if done > 12 * BATCH:
            raise KeyboardInterrupt

    def destroy(done: int, _total: int | None) -> None:
        if done == os.stat(folder / call).st_size:
            key.destroy()

    run, before = CALLS[call], set(os.listdir(folder))
    with pytest.raises(OSError, match="cannot read"):
        run(Failing((folder / call).read_bytes()), folder / "out", key)
    with pytest.raises(OSError, match="cannot write"):
        run(folder / call, Failing(), key)
    with pytest.raises(KeyboardInterrupt):
        run(folder / call, folder / "out", key, progress=interrupt)
    with pytest.raises(SecureMemoryClosed):  # With the very last batch.
        run(folder / call, folder / "out", key, progress=destroy)
    assert set(os.listdir(folder)) == before


@pytest.mark.parametrize("fault", ["forged", "forged, to a path", "full disk"])
def test_a_failure_keeps_no_key(folder: Path, fault: str, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """The key goes with its last name, also when the work failed in a thread; it does not wait for the collector."""
    caller, write = threading.current_thread(), ends.NewFile.write

    def refuse(file: ends.NewFile, data: memoryview) -> None:
        if threading.current_thread() is not caller:
            raise OSError(28, "cannot write")
        write(file, data)

    def failed() -> weakref.ref[CryptoKey]:
        key = CryptoKey(bytes(range(32)))
        with pytest.raises((DecryptionError, OSError)):
            decrypt_file(folder / "decrypt", io.BytesIO() if fault == "forged" else folder / "out", key)
        return weakref.ref(key)

    if fault == "full disk":
        monkeypatch.setattr(ends.NewFile, "write", refuse)
    else:
        sealed = bytearray((folder / "decrypt").read_bytes())
        sealed[56 + 10 * 16 * 16400 + 7] ^= 1
        (folder / "decrypt").write_bytes(sealed)
    gc.disable()
    try:
        assert failed()() is None
    finally:
        gc.enable()


def test_an_interrupt_while_threads_are_told_to_end(
    folder: Path, key: CryptoKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C leaves no thread behind that decrypts into buffers which were zeroed."""
    caller, told = threading.current_thread(), count(1)

    class Interrupted(SimpleQueue[Any]):
        def put(self, item: Any, *_more: Any) -> None:
            if item is None and threading.current_thread() is caller and next(told) == 4:
                raise KeyboardInterrupt  # The first of them is the result of the first batch.
            super().put(item)

    def interrupt(done: int, _total: int | None) -> None:
        if done > 12 * BATCH:
            raise KeyboardInterrupt

    wipe, left = filekey.Scratch.wipe, []

    def watched(scratch: filekey.Scratch) -> None:
        left.append(workers())
        wipe(scratch)

    monkeypatch.setattr(pipeline, "_cpu_count", lambda: 4)
    monkeypatch.setattr(pipeline, "SimpleQueue", Interrupted)
    monkeypatch.setattr(filekey.Scratch, "wipe", watched)
    with pytest.raises(KeyboardInterrupt):
        decrypt_file(folder / "decrypt", folder / "out", key, progress=interrupt)
    assert set(left) == {0}


@pytest.mark.parametrize("ending", ["well", "early"])
def test_buffers_are_zeroed(folder: Path, key: CryptoKey, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that held plaintext, however it ends, and there were no more of them than the docs say."""
    made: list[pipeline._Lane] = []

    class Lane(pipeline._Lane):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    def progress(done: int, _total: int | None) -> None:
        if ending == "early" and done > 12 * BATCH:
            assert any(bytes(lane.plain.view) != bytes(BATCH) for lane in made)
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_Lane", Lane)
    monkeypatch.setattr(pipeline, "_cpu_count", lambda: 100)
    try:
        decrypt_file(folder / "decrypt", folder / "out", key, progress=progress)
    except KeyboardInterrupt:
        assert ending == "early"
    assert len(made) == pipeline.MOST_LANES == 10
    assert [bytes(lane.plain.view) for lane in made] == [bytes(BATCH)] * 10
