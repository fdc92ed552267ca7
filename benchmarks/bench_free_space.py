"""How fast is the free space of a file system overwritten with random bytes, flushed, and given back?

Baseline: dd writing as many zeros into one file with O_DIRECT, and flushing; it makes no random bytes and gives nothing
back. Unit: time for the whole job. Needs root: it mounts an ext4 file system in an image file on a loop device.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from harness import Aim, Case, Ratio, Repeats, facts, file_system, group, options, write_section

from zeroizepy.file import wipe_free_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
TITLE = "Free space"
INTRODUCTION = """\
Question: how fast is the free space of a file system overwritten with random bytes, flushed, and given back?
Unit: time for the whole job, and bytes written a second (MB = 10^6).

- One fresh ext4 file system in an image file whose blocks exist, on a loop device; the image lies in the temporary
  folder.
- dd writes zeros with O_DIRECT, as many as ours wrote in a first run less a mebibyte, and flushes. It makes no random
  bytes, and its file is removed outside the timed region; the start of its process is inside.
- Ours ends with the disk full, and has given the space back when the clock stops."""


def missing() -> str | None:
    """Why this cannot be measured here, or None."""
    if os.geteuid() != 0:
        return "needs root: mounts a loop device"
    tools = [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]
    return f"needs {' and '.join(tools)}" if tools else None


def run(*command: str) -> None:
    """Run a program that must end well."""
    subprocess.run(command, check=True)


@contextmanager
def mounted(folder: str, size: int) -> Iterator[str]:
    """A new ext4 file system of this size."""
    image, point = os.path.join(folder, "image"), os.path.join(folder, "mnt")
    os.mkdir(point)
    with open(image, "wb") as file:
        file.writelines(bytes(MIB) for _ in range(size // MIB))
        os.fsync(file.fileno())
    run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", image)
    run("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        run("umount", point)


def ours(point: str, size: int) -> float:
    """Fill it, and check that it was filled."""
    start = time.perf_counter()
    report = wipe_free_space(point)
    seconds = time.perf_counter() - start
    assert (report.stopped_by, report.error) == ("full", None)
    assert report.bytes_written >= size, f"ours wrote {report.bytes_written} of {size} bytes"
    assert os.listdir(point) == ["lost+found"]
    return seconds


def dd(point: str, size: int) -> float:
    """Write one file of this size."""
    path = os.path.join(point, "file")
    options_ = ["bs=4M", f"count={size}", "iflag=count_bytes", "oflag=direct", "conv=fdatasync"]
    start = time.perf_counter()
    run("dd", "status=none", "if=/dev/zero", f"of={path}", *options_)
    seconds = time.perf_counter() - start
    assert os.path.getsize(path) == size
    os.unlink(path)
    return seconds


def free_space(point: str, image_bytes: int, repeats: Repeats) -> list[str]:
    """The free space of one file system: throughput."""
    # A mebibyte less than ours: dd's file needs blocks for its extents, too.
    size = wipe_free_space(point).bytes_written // MIB * MIB - MIB

    def case(name: str, job: Callable[[str, int], float]) -> Case:
        def batch(number: int) -> float:
            total = 0.0
            for _ in range(number):
                os.sync()
                total += job(point, size)
            return total

        return Case(name, batch, size)

    mine, zeros = "ours: wipe_free_space", "dd of zeros, O_DIRECT"
    wanted = [Ratio(zeros, mine, Aim(0.9, at_least=True))]
    title = f"Free space of a file system of {image_bytes // MIB} MiB ({repeats})"
    return group(title, [case(mine, ours), case(zeros, dd)], wanted, repeats)


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    reason = missing()
    if reason is not None:
        write_section(chosen.results, TITLE, [INTRODUCTION, "", f"Not measured: {reason}."])
        return
    size, rounds = (64 * MIB, 3) if chosen.quick else (2048 * MIB, 11)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zeroizepy-bench-"))
        point = stack.enter_context(mounted(folder, size))
        lines = [INTRODUCTION, *facts((), ("dd",), point), f"- the image's file system: {file_system(folder)}", ""]
        lines += free_space(point, size, Repeats(rounds))
    write_section(chosen.results, TITLE, lines)


if __name__ == "__main__":
    main()
