"""SpanWriter: what it wrote can be made again from any block on, with either generator, and in files that grow."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from zeroizepy._lib import lib
from zeroizepy.file import secure_delete
from zeroizepy.shred.options import Pattern
from zeroizepy.shred.passes import SpanWriter, set_direct
from zeroizepy.shred.steps import FileRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")

RANDOM = Pattern("random", None)
BLOCK = 4096
SIZE = 300 * BLOCK + 5


@pytest.fixture(params=["ZPY_CHACHA20", "ZPY_AEGIS128L"])
def generator(request: pytest.FixtureRequest) -> int:
    """Each generator in turn: the one for CPUs without AES instructions, and the fast one."""
    number = int(getattr(lib, request.param))
    if number == lib.ZPY_AEGIS128L and lib.zpy_generator_best() != number:
        pytest.skip("needs a libsodium with AEGIS (1.0.19) and a CPU with AES instructions")
    return number


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A descriptor of a file of SIZE bytes."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * SIZE)
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_any_span(fd: int, generator: int) -> None:
    """A comparison that begins at any block and ends anywhere finds what one write wrote."""
    with closing(SpanWriter(64 * BLOCK, RANDOM, generator=generator)) as writer:
        direct = set_direct(fd, wanted=True)
        assert writer.write(fd, 0, SIZE, 7, direct=direct).done_bytes == SIZE
        for start in range(0, SIZE, 7 * BLOCK):
            for stop in (start, start + 1, min(start + 100 * BLOCK + 700, SIZE), SIZE):
                result = writer.compare(fd, start, stop, 7, direct=direct)
                assert (result.different, result.done_bytes) == (False, stop - start)
                assert (result.skipped_bytes, result.first_skipped) == (0, None)


def test_spans_of_a_growing_file(fd: int, generator: int) -> None:
    """A file that is written from its beginning on, span by span, holds the same stream as one written at once."""
    with closing(SpanWriter(2 * BLOCK, RANDOM, generator=generator)) as writer:
        os.ftruncate(fd, 0)
        direct = set_direct(fd, wanted=True)
        for start in range(0, SIZE, 11 * BLOCK):
            stop = min(start + 11 * BLOCK, SIZE)
            result = writer.write(fd, start, stop, 7, direct=direct)
            assert result.done_bytes == stop - start
            assert os.fstat(fd).st_size == stop
        assert writer.compare(fd, 0, SIZE, 7, direct=direct).done_bytes == SIZE


def test_each_stream_and_each_writer_is_another(fd: int, generator: int) -> None:
    """Neither another pass nor another run writes the same bytes."""
    with (
        closing(SpanWriter(BLOCK, RANDOM, generator=generator)) as writer,
        closing(SpanWriter(BLOCK, RANDOM, generator=generator)) as other,
    ):
        writer.write(fd, 0, SIZE, 1, direct=False)
        assert not writer.compare(fd, 0, SIZE, 1, direct=False).different
        for result in (writer.compare(fd, 0, SIZE, 2, direct=False), other.compare(fd, 0, SIZE, 1, direct=False)):
            assert result.different
            assert result.done_bytes < 16


@pytest.mark.parametrize("begun", [False, True], ids=["before-the-first-write", "after-a-pass"])
def test_what_another_program_appended_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, begun: bool) -> None:
    """A run that fails and leaves its file does not cut off what was added to it meanwhile."""
    path = tmp_path / "log"
    path.write_bytes(bytes(5000))

    def append(*_: object) -> None:
        with path.open("ab") as file:
            file.write(b"added" * 4000)
        raise MemoryError("stop here")

    if not begun:
        monkeypatch.setattr(FileRun, "new_writer", append)
    with pytest.raises(MemoryError, match="stop here"):
        secure_delete(path, passes=1, progress=append if begun else None)
    assert path.read_bytes().endswith(b"added" * 4000)


@pytest.mark.parametrize("step", ["truncate", "unlink"])
def test_a_file_that_stays_has_its_old_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Ctrl-C before the file is cut leaves its size, though passes go to the end of its last block; later it is 0."""

    def interrupt(_run: FileRun) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    monkeypatch.setattr(FileRun, step, interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        secure_delete(path, passes=1, rename=False)
    assert path.stat().st_size == (5000 if step == "truncate" else 0)
    assert vars(caught.value)["report"].unlinked is False
