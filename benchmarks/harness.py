"""What the benchmarks share: interleaved timing, comparisons, facts about the machine, and the results file.

A script measures *cases*, each a way to do the same work. One round runs one batch of every case, in an order shuffled
anew, so that neither a change in the machine's speed nor a neighbour favours any. Comparisons are made within each
round, and their median and quartiles are reported, not the ratio of two medians.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import random
import statistics
import subprocess
import sys
import timeit
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
UPSTREAM = BUILD / "upstream"
RESULTS = HERE / "RESULTS.md"

Samples = dict[str, list[float]]
"""Seconds for one operation of each case, one value for each round."""

_HEAD = """\
# Benchmark results

Written by `benchmarks/run`, never by hand. Times, ratios and differences are medians over the rounds, with their
quartiles (25 % and 75 %). Ratios and differences are taken within each round; their median decides whether an aim is
met.
"""
_SCALES = {"ms": 1e-3, "us": 1e-6}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


# ---- measuring ----


@dataclass(frozen=True, slots=True)
class Case:
    """One way to do the work.

    Attributes:
        name: As it stands in the results; for a statement, the statement.
        batch: Does the work so many times and returns the seconds that took. What it prepares first is not counted.
        bytes_each: Bytes that one operation processes, for a throughput; 0 when that says nothing.
    """

    name: str
    batch: Callable[[int], float]
    bytes_each: int = 0


def statement(name: str, code: str, bytes_each: int = 0, **names: Any) -> Case:
    """A case that runs a Python statement in this process, through timeit (garbage collection off).

    Args:
        name: For the results.
        code: The statement.
        bytes_each: As in Case.
        names: What the statement uses.
    """
    return Case(name, timeit.Timer(code, globals=names).timeit, bytes_each)


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often to measure.

    Attributes:
        rounds: Rounds that count, at least 2. Before them each case runs at least once, which does not.
        batch_s: About how long one batch takes, in seconds; 0 makes every batch one operation.
    """

    rounds: int
    batch_s: float = 0.0

    def __str__(self) -> str:
        batches = f"batches of about {format_seconds(self.batch_s)}" if self.batch_s else "one operation each"
        return f"{self.rounds} interleaved rounds, {batches}"


def measure(cases: Sequence[Case], repeats: Repeats) -> Samples:
    """Time the cases, which have different names, in interleaved rounds."""
    assert len({case.name for case in cases}) == len(cases), "two cases have the same name"
    numbers = [_batch_size(case, repeats.batch_s) for case in cases]
    samples: Samples = {case.name: [] for case in cases}
    pairs = list(zip(cases, numbers, strict=True))
    order = random.Random(0)  # noqa: S311 - no secret; the same order in each run.
    for _ in range(repeats.rounds):
        order.shuffle(pairs)
        for case, number in pairs:
            samples[case.name].append(case.batch(number) / number)
    return samples


def _batch_size(case: Case, batch_s: float) -> int:
    number = 1
    while True:
        seconds = case.batch(number)
        if batch_s == 0:
            return 1
        if seconds >= batch_s / 5:
            return max(1, round(number * batch_s / seconds))
        number *= 4


# ---- results ----


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least two values."""
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound that the project has set itself, and on which side of it the measurement should lie."""

    bound: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Whether the value lies on the right side."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a table of results.

    Attributes:
        name: What was measured.
        values: One for each round, at least two.
        unit: Of the values and of the aim's bound.
        aim: Held against their median.
    """

    name: str
    values: Sequence[float]
    unit: str
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Time of the case `upper` over time of the case `lower`, within each round."""

    upper: str
    lower: str
    aim: Aim | None = None

    def figure(self, samples: Samples) -> Figure:
        """The row for these samples."""
        values = [upper / lower for upper, lower in zip(samples[self.upper], samples[self.lower], strict=True)]
        return Figure(f"{self.upper} / {self.lower}", values, "x", self.aim)


@dataclass(frozen=True, slots=True)
class Difference:
    """Time of the case `upper` minus time of the case `lower` within each round, in `unit`: "ms" or "us"."""

    upper: str
    lower: str
    aim: Aim | None = None
    unit: str = "ms"

    def figure(self, samples: Samples) -> Figure:
        """The row for these samples."""
        pairs = zip(samples[self.upper], samples[self.lower], strict=True)
        values = [(upper - lower) / _SCALES[self.unit] for upper, lower in pairs]
        return Figure(f"{self.upper} - {self.lower}", values, self.unit, self.aim)


@dataclass(frozen=True, slots=True)
class Time:
    """Time of a case in microseconds, for an aim that is a time and not a ratio."""

    case: str
    aim: Aim | None = None

    def figure(self, samples: Samples) -> Figure:
        """The row for these samples."""
        return Figure(self.case, [seconds / _SCALES["us"] for seconds in samples[self.case]], "us", self.aim)


Comparison = Ratio | Difference | Time


def format_seconds(seconds: float) -> str:
    """A duration in the unit that suits it: "483 ns"."""
    scale, unit = next((pair for pair in _UNITS if abs(seconds) >= pair[0]), _UNITS[-1])
    value = seconds / scale
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _case_table(cases: Sequence[Case], samples: Samples) -> list[str]:
    with_bytes = any(case.bytes_each for case in cases)
    head = ["what", "time", "spread"] + (["throughput"] if with_bytes else [])
    rows = []
    for case in cases:
        spread = Spread.of(samples[case.name])
        row = [case.name, format_seconds(spread.median)]
        row.append(f"{format_seconds(spread.low)} .. {format_seconds(spread.high)}")
        if with_bytes:
            row.append(f"{case.bytes_each / spread.median / 1e6:,.0f} MB/s" if case.bytes_each else "")
        rows.append(row)
    return _table(head, rows)


def figure_table(kind: str, figures: Sequence[Figure]) -> list[str]:
    """Render figures, each with its spread and whether it meets its aim, under a head that begins with their kind."""
    rows = []
    for each in figures:
        spread = Spread.of(each.values)
        measured = f"{_number(spread.median)} {each.unit} ({_number(spread.low)} .. {_number(spread.high)})"
        aim, verdict = "", ""
        if each.aim is not None:
            bound = f"{each.aim.bound:,.0f}" if each.aim.bound >= 1000 else f"{each.aim.bound:g}"
            aim = f"{'at least' if each.aim.at_least else 'at most'} {bound} {each.unit}"
            verdict = "met" if each.aim.is_met(spread.median) else "**not met**"
        rows.append([each.name, measured, aim, verdict])
    return _table([kind, "measured", "aim", "verdict"], rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines] + [""]


def group(title: str, cases: Sequence[Case], comparisons: Sequence[Comparison], repeats: Repeats) -> list[str]:
    """Measure cases that do the same work, and render their times and how they compare."""
    sys.stderr.write(f"measuring: {title}\n")
    samples = measure(cases, repeats)
    figures = [each.figure(samples) for each in comparisons]
    return [f"### {title}", "", *_case_table(cases, samples), *figure_table("comparison", figures)]


# ---- facts ----


def facts(peers: Sequence[str], tools: Sequence[str] = (), folder: str | None = None) -> list[str]:
    """What the figures depend on, as list items: machine, kernel, versions, and the file system of `folder`.

    Args:
        peers: Distributions in this environment.
        tools: Programs that answer --version.
        folder: A folder that was worked in.
    """
    import zeroizepy
    from zeroizepy import CypherCell
    from zeroizepy._lib import ffi, lib

    protection = CypherCell(bytes(32)).protection
    sodium = ffi.string(lib.zpy_sodium_version()).decode()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in peers]
    versions += [_first_line([tool, "--version"]) for tool in tools]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"- machine: {_cpu_model()}, {os.cpu_count()} CPUs, {memory_gib:.0f} GiB of memory, {platform.machine()}",
        f"- load average before measuring: {os.getloadavg()[0]:.2f}",
        f"- kernel: {platform.system()} {platform.release()}",
        f"- zeroizepy {zeroizepy.__version__} ({_revision()}), libsodium {sodium}, Python {platform.python_version()}",
        f"- a cell's pages: {protection.backing}, {'locked' if protection.locked else 'not locked'}",
        f"- peers: {', '.join(versions)}",
    ]
    if folder is not None:
        lines.append(f"- file system: {file_system(folder)}")
    return lines


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown CPU"


def _revision() -> str:
    try:
        return "commit " + _first_line(["git", "-C", str(HERE), "describe", "--always", "--dirty=, changed since"])
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"


def _first_line(command: Sequence[str]) -> str:
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return answer.stdout.splitlines()[0].strip()


def file_system(folder: str) -> str:
    """Type and mount options of the file system that holds a folder, and whether its disk says that it rotates."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == number:
            media = _media(number)
            return f"{rest.split()[0]} ({mount.split()[5]}){media}"
    return "unknown"


def _media(number: str) -> str:
    for rotational in (f"/sys/dev/block/{number}/queue/rotational", f"/sys/dev/block/{number}/../queue/rotational"):
        try:
            answer = Path(rotational).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return ", the block device calls itself " + ("rotational" if answer == "1" else "non-rotational")
    return ""


# ---- the scripts' frame ----


def options(description: str | None) -> argparse.Namespace:
    """Read a script's command line: `quick` and `results`."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds and small files; keep no figures")
    parser.add_argument("--results", type=Path, help="file that takes the section; RESULTS.md unless --quick")
    chosen = parser.parse_args()
    if chosen.results is None:
        chosen.results = BUILD / "quick.md" if chosen.quick else RESULTS
    return chosen


def write_section(path: Path, title: str, lines: Sequence[str]) -> None:
    """Print a section and put it into the results file, in the place of the one with the same title."""
    section = "\n".join([f"## {title}", "", *lines]).rstrip() + "\n"
    sys.stdout.write(section + "\n")
    text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    head, *sections = text.split("\n## ")
    kept = [f"## {each}".rstrip() + "\n" for each in sections]
    own = [index for index, each in enumerate(kept) if each.startswith(f"## {title}\n")]
    if own:
        kept[own[0]] = section
    else:
        kept.append(section)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([head.rstrip() + "\n", *kept]), encoding="utf-8")
