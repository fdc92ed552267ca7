"""How fast is a file overwritten with one random pass, flushed, and unlinked?

Baselines: GNU shred, upstream zeroizepy, and dd writing zeros with O_DIRECT, which neither makes random bytes nor
unlinks and so shows the device's speed. Unit: time for the whole job, flush included; CPU time; peak memory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import closing
from typing import TYPE_CHECKING

from harness import Aim, Case, Figure, Ratio, Repeats, facts, figure_table, group, options, write_section
from upstream import Upstream, written_bytes

from zeroizepy import secure_delete, shred_tree
from zeroizepy.shred.options import BUFFER_BYTES, Pattern
from zeroizepy.shred.passes import SPAN_BYTES, SpanWriter, flush, set_direct

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
GIB = 1 << 30
MEMORY_MIB = 64
SMALL_BYTES = 4096
INTRODUCTION = """\
Question: how fast is a file overwritten with one random pass, flushed, and unlinked?
Unit: time for the whole job, and bytes of file a second (MB = 10^6).

- Each job gets fresh files: written with data, flushed, dropped from the page cache, then sync(2), all before the
  clock starts. Flushes by the tool itself are inside the timed region.
- GNU shred and dd are timed with the start of their process (about a millisecond), ours and upstream without.
- dd writes zeros with O_DIRECT, flushes, and leaves the file: the device's speed, not the same work. Beside it stands
  our pass alone, written and flushed as secure_delete does it; truncating and unlinking are in the whole job only.
- CPU time is that of the process that works and of its threads, in user and system mode.
- Checked for each job: every file is gone (dd's and the pass's excepted) and, by the kernel's count, at least its size
  was written to the block device, or read from it."""

Job = tuple[list[str], int]
"""Paths and the bytes they hold together."""


class Folder:
    """Makes the files of each job in a scratch folder, and checks afterwards that the job did its work."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._block = os.urandom(MIB)
        self._made = 0

    def make(self, count: int, size: int) -> Job:
        """So many fresh files of one size, flushed and not cached. Their names are 15 characters long."""
        paths = []
        for _ in range(count):
            self._made += 1
            paths.append(os.path.join(self.path, f"file-{self._made:06d}.dat"))
            self._write(paths[-1], size)
        os.sync()
        return paths, count * size

    def _write(self, path: str, size: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for start in range(0, size, MIB):
                piece = self._block[: min(MIB, size - start)]
                assert os.write(descriptor, piece) == len(piece)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)

    def counts_writes(self) -> bool:
        """Whether the kernel counts writes here: it does on block devices, and not on tmpfs."""
        before = written_bytes()
        (path,), _ = self.make(1, MIB)
        os.unlink(path)
        return written_bytes() - before >= MIB


class Bench:
    """The jobs, each as a function from fresh files to (seconds, bytes written to the device)."""

    def __init__(self, folder: Folder, peer: Upstream) -> None:
        self._folder = folder
        self._peer = peer
        self._counted = folder.counts_writes()
        self.cpu_s: dict[str, list[float]] = {}

    def case(
        self, name: str, run: Callable[[list[str]], tuple[float, int]], count: int, size: int, *, leaves: bool = False
    ) -> Case:
        """A case that runs a job on `count` fresh files of `size` bytes; whether it leaves them, for us to unlink.

        `cpu_s` gets the CPU time of each of its batches.
        """

        def batch(number: int) -> float:
            total = 0.0
            for _ in range(number):
                paths, size_bytes = self._folder.make(count, size)
                before = cpu_seconds()
                seconds, moved = run(paths)
                self.cpu_s.setdefault(name, []).append(cpu_seconds() - before)
                total += seconds
                assert moved >= size_bytes or not self._counted, f"{name} moved {moved} of {size_bytes} bytes"
                for path in paths:
                    if leaves:
                        os.unlink(path)
                    assert not os.path.lexists(path), f"{name} left a file behind"
            return total

        return Case(name, batch, count * size)

    def ours(self, *, rename: bool, verify: bool = False) -> Callable[[list[str]], tuple[float, int]]:
        """`secure_delete` in this process."""

        def run(paths: list[str]) -> tuple[float, int]:
            before = written_bytes()
            start = time.perf_counter()
            for path in paths:
                secure_delete(path, passes=1, rename=rename, verify=verify)
            return time.perf_counter() - start, written_bytes() - before

        return run

    def tree(self, *, rename: bool) -> Callable[[list[str]], tuple[float, int]]:
        """`shred_tree` in this process, over a directory that the files were moved into before."""

        def run(paths: list[str]) -> tuple[float, int]:
            root = tempfile.mkdtemp(dir=self._folder.path)
            for path in paths:
                os.rename(path, os.path.join(root, os.path.basename(path)))
            os.sync()
            before = written_bytes()
            start = time.perf_counter()
            report = shred_tree(root, passes=1, rename=rename)
            seconds = time.perf_counter() - start
            assert (report.unlinked, report.failed, os.path.lexists(root)) == (len(paths), 0, False)
            return seconds, written_bytes() - before

        return run

    def upstream(self, paths: list[str]) -> tuple[float, int]:
        """Upstream's `secure_delete` in its process."""
        self._peer.run(f"paths = {paths!r}")
        return self._peer.time("for path in paths: secure_delete(path, passes=1)", 1)


def cpu_seconds() -> float:
    """CPU time of this process, its threads, and the programs that it waited for."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in both)


def one_pass(paths: list[str]) -> tuple[float, int]:
    """One random pass over one file and its flush, as `secure_delete` makes them; the file stays."""
    (path,) = paths
    before = written_bytes()
    start = time.perf_counter()
    fd = os.open(path, os.O_RDWR)
    try:
        with closing(SpanWriter(BUFFER_BYTES, Pattern("random", None))) as writer:
            direct, size = set_direct(fd, wanted=True), os.fstat(fd).st_size
            for first in range(0, size, SPAN_BYTES):
                result = writer.write(fd, first, min(first + SPAN_BYTES, size), 1, direct=direct)
                assert result.error_number == 0
            flush(fd)
    finally:
        os.close(fd)
    return time.perf_counter() - start, written_bytes() - before


def program(*command: str) -> Callable[[list[str]], tuple[float, int]]:
    """A program that takes the paths after its options."""

    def run(paths: list[str]) -> tuple[float, int]:
        before = written_bytes(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([*command, *paths], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start, written_bytes(resource.RUSAGE_CHILDREN) - before

    return run


def zeros(size: int) -> Callable[[list[str]], tuple[float, int]]:
    """dd over one path."""
    options_ = ["if=/dev/zero", "bs=4M", f"count={size}", "iflag=count_bytes", "oflag=direct", "conv=fdatasync,notrunc"]
    run = program("dd", "status=none", *options_)
    return lambda paths: run([f"of={paths[0]}"])


def reading(paths: list[str]) -> tuple[float, int]:
    """dd reads one path with O_DIRECT: what a comparison has to wait for."""
    command = ["dd", "status=none", f"if={paths[0]}", "of=/dev/null", "bs=4M", "iflag=direct"]
    before = read_bytes()
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start, read_bytes() - before


def read_bytes() -> int:
    """Bytes that programs which this process waited for have read from block devices."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock * 512


def large_file(bench: Bench, size: int, repeats: Repeats) -> list[str]:
    """One large file: throughput, and the CPU time for it."""
    ours, verified, alone, shred, upstream, dd, dd_reads = (
        "ours: secure_delete(path, passes=1)",
        "ours: secure_delete(path, passes=1, verify=True)",
        "ours: the pass and its flush alone",
        "shred -n1 -u",
        "upstream: secure_delete(path, passes=1)",
        "dd of zeros, O_DIRECT",
        "dd reads, O_DIRECT",
    )
    cases = [
        bench.case(ours, bench.ours(rename=True), 1, size),
        bench.case(verified, bench.ours(rename=True, verify=True), 1, size),
        bench.case(alone, one_pass, 1, size, leaves=True),
        bench.case(shred, program("shred", "-n1", "-u"), 1, size),
        bench.case(upstream, bench.upstream, 1, size),
        bench.case(dd, zeros(size), 1, size, leaves=True),
        bench.case(dd_reads, reading, 1, size, leaves=True),
    ]
    wanted = [
        Ratio(dd, alone, Aim(0.95, at_least=True)),
        Ratio(shred, ours, Aim(3, at_least=True)),
        Ratio(verified, ours, Aim(1.7)),
        Ratio(upstream, ours),
        Ratio(ours, dd),
        Ratio(dd_reads, dd),
    ]
    lines = group(f"One file of {size // MIB} MiB ({repeats})", cases, wanted, repeats)
    return lines + cpu_table(bench, {ours: Aim(0.5), verified: None, alone: None, dd: None}, shred, size, repeats)


def cpu_table(bench: Bench, names: dict[str, Aim | None], peer: str, size: int, repeats: Repeats) -> list[str]:
    """CPU time of the jobs just measured, for each GiB, and its ratio to a peer's in the same round."""
    # The first run of each case warmed up, and does not count.
    rounds = {name: bench.cpu_s[name][-repeats.rounds :] for name in (*names, peer)}
    rows = [Figure(f"{name}: CPU", [each * GIB / size for each in rounds[name]], "s/GiB") for name in rounds]
    for name, aim in names.items():
        ratios = [mine / theirs for mine, theirs in zip(rounds[name], rounds[peer], strict=True)]
        rows.append(Figure(f"CPU: {name} / {peer}", ratios, "x", aim))
    return figure_table("CPU time", rows)


PEAK = """\
import sys, warnings
warnings.simplefilter("ignore")
from zeroizepy import secure_delete
for path in sys.argv[1:]:
    secure_delete(path, passes=1, verify=True)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_memory(folder: Folder, sizes: tuple[int, int], rounds: int) -> list[str]:
    """The most memory that a process has at once that shreds and verifies one file, Python and all."""
    sys.stderr.write("measuring: peak memory\n")
    rows = []
    for size in sizes:
        peaks = []
        for _ in range(rounds):
            paths, _ = folder.make(1, size)
            command = [sys.executable, "-I", "-c", PEAK, *paths]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            peaks.append(int(answer) / 1024)
        rows.append(Figure(f"a process that shreds and verifies {size // MIB} MiB", peaks, "MiB", Aim(MEMORY_MIB)))
    return [f"### Peak memory ({rounds} runs each)", "", *figure_table("what", rows)]


def small_files(bench: Bench, count: int, repeats: Repeats) -> list[str]:
    """Many small files: the cost of opening, flushing and unlinking."""
    ours, plain = "ours: secure_delete", "ours: secure_delete(rename=False)"
    shred, unlink = "shred -n1 -u, one process", "shred -n1 --remove=unlink, one process"
    upstream = "upstream: secure_delete"
    cases = [
        bench.case(ours, bench.ours(rename=True), count, SMALL_BYTES),
        bench.case(shred, program("shred", "-n1", "-u"), count, SMALL_BYTES),
        bench.case(upstream, bench.upstream, count, SMALL_BYTES),
        bench.case(plain, bench.ours(rename=False), count, SMALL_BYTES),
        bench.case(unlink, program("shred", "-n1", "--remove=unlink"), count, SMALL_BYTES),
    ]
    wanted = [Ratio(shred, ours), Ratio(upstream, ours), Ratio(unlink, plain)]
    remark = [
        "shred -u renames each file once for each character of its name (15 here) and flushes the directory each time.",
        "Ours renames five times (to 15, 15, 7, 3 and 1 letters) and flushes the directory each time, too.",
        "shred --remove=unlink leaves the name as it is and never flushes the directory: after a crash such a file can",
        "be there again, its content overwritten.",
        "",
    ]
    return group(f"{count} files of 4 KiB ({repeats})", cases, wanted, repeats) + remark


def tree_of_files(bench: Bench, count: int, repeats: Repeats) -> list[str]:
    """Very many small files: what shared flushes save."""
    ours, plain = "ours: shred_tree", "ours: shred_tree(rename=False)"
    shred, unlink = "shred -n1 -u, one process", "shred -n1 --remove=unlink, one process"
    upstream = "upstream: secure_delete"
    cases = [
        bench.case(ours, bench.tree(rename=True), count, SMALL_BYTES),
        bench.case(shred, program("shred", "-n1", "-u"), count, SMALL_BYTES),
        bench.case(upstream, bench.upstream, count, SMALL_BYTES),
        bench.case(plain, bench.tree(rename=False), count, SMALL_BYTES),
        bench.case(unlink, program("shred", "-n1", "--remove=unlink"), count, SMALL_BYTES),
    ]
    five, ten = Aim(5, at_least=True), Aim(10, at_least=True)
    wanted = [Ratio(shred, ours, five), Ratio(upstream, ours, ten), Ratio(unlink, plain)]
    remark = [
        "Batches of 512 files share their flushes: one after the pass, one after the files are cut to nothing, one",
        "after each new name, one after the unlink, and as many for their directory, which goes, too. Each file's pass",
        "is on the device before it is cut, and that before it is unlinked, as with shred.",
        "",
    ]
    return group(f"{count} files of 4 KiB in one directory ({repeats})", cases, wanted, repeats) + remark


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    # The verdict "not in place" warns; on a flash disk or an exotic file system that is not this script's question.
    warnings.simplefilter("ignore", UserWarning)
    with tempfile.TemporaryDirectory(prefix="zeroizepy-bench-") as path, Upstream() as peer:
        peer.run("from zeroizepy.file import secure_delete")
        folder = Folder(path)
        sample = secure_delete(folder.make(1, MIB)[0][0], passes=1)
        told = str(sample).removeprefix(path + os.sep)
        lines = [INTRODUCTION, *facts((), ("shred", "dd"), path)]
        lines += [f"- our report for 1 MiB here: {told}; O_DIRECT {'on' if sample.direct else 'refused'}", ""]
        bench = Bench(folder, peer)
        size, count = (16 * MIB, 50) if chosen.quick else (GIB, 1000)
        lines += large_file(bench, size, Repeats(3 if chosen.quick else 5))
        lines += peak_memory(folder, (4 * size, 16 * size) if chosen.quick else (size // 16, size), 2)
        lines += small_files(bench, count, Repeats(2 if chosen.quick else 3))
        lines += tree_of_files(bench, 200 if chosen.quick else 10_000, Repeats(2))
    write_section(chosen.results, "Shredding", lines)


if __name__ == "__main__":
    main()
