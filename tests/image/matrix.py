"""One run of the matrix on one file system: write, flush, wipe, unmount, scan the raw image, say what is left where."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from image.disk import UnavailableError, flush, scratch
from image.layouts import Layout, Place, place
from image.regions import Regions, regions_of
from image.subjects import KINDS, LATE, LONE_BYTE, MIB, NONCE_BYTES, XATTR_OFFSET, Subject, parse_stamp

from zeroizepy.exceptions import FileAccessError, SecureWipeError
from zeroizepy.file import ShredReport, secure_delete

if TYPE_CHECKING:
    from pathlib import Path

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "verify": {"verify": True},
    "zeros": {"pattern": "zeros"},
    "one pass": {"passes": 1},
}
CONTROLS = ("truncate and rewrite", "rm")
BYSTANDERS = 2


@dataclass
class Row:
    """What became of one file.

    Attributes:
        kind, variant: Which file, and how it was wiped.
        verdict, reasons, notes: From the report; the verdict of an error's report where the wipe raised one.
        error: The exception, or None.
        places: Where its content still stands, with counts; empty when nowhere.
        attribute_places: The same for the content of its extended attribute.
    """

    kind: str
    variant: str
    verdict: str | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    error: str | None
    places: Counter[str] = field(default_factory=Counter)
    attribute_places: Counter[str] = field(default_factory=Counter)

    @property
    def says_overwritten(self) -> bool:
        """Whether the verdict promises that nothing is left."""
        return self.verdict is not None and self.verdict.startswith("overwritten")

    @property
    def notes_attributes(self) -> bool:
        """Whether the report says that extended attributes may remain."""
        return any(note.startswith("attributes_may_remain") for note in self.notes)


@dataclass
class Outcome:
    """What one layout's run found.

    Attributes:
        rows: By kind and variant.
        left_out: Kinds that the file system cannot have, with the reason.
        controls: For each control where its content still stands.
        bystanders: What changed about files that nobody named; empty when nothing did.
        damaged: How many stamps were found that do not say any more which file's they are.
    """

    layout: Layout
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    controls: dict[str, Counter[str]] = field(default_factory=dict)
    bystanders: list[str] = field(default_factory=list)
    damaged: int = 0


class _Run:
    def __init__(self, spot: Place) -> None:
        self.spot = spot
        self.nonce = os.urandom(NONCE_BYTES)
        self.outcome = Outcome(spot.layout)
        self.numbers = itertools.count(1)
        self.abandoned: set[int] = set()
        self.wiped: list[Subject] = []
        self.controls: list[Subject] = []
        self.others: list[Subject] = []

    def _subject(self, kind: str, variant: str) -> Subject:
        number = next(self.numbers)
        return Subject(number, kind, variant, self.spot.folder / f"{number:03}", self.nonce)

    def write(self) -> None:
        """Make all files, flush them, and let a snapshot or copy take hold of their blocks."""
        for kind in KINDS:
            self._write_kind(kind)
        for group, names in ((self.controls, CONTROLS), (self.others, ("bystander",) * BYSTANDERS)):
            for name in names:
                group.append(self._subject(name, ""))
                group[-1].write((0, MIB + 1))
        flush(self.spot.folder)
        for subject in (*self.wiped, *self.controls):
            if subject.kind != "never flushed":
                subject.map_extents()
        self.spot.keep()
        for subject in self.wiped:
            subject.path = self.spot.seen_at / subject.path.name
            if subject.kind in LATE:
                LATE[subject.kind](subject)

    def _write_kind(self, kind: str) -> None:
        subjects = [self._subject(kind, variant) for variant in VARIANTS]
        try:
            for subject in subjects:
                KINDS[kind](subject)
        except UnavailableError as error:
            self.outcome.left_out[kind] = str(error)
            for subject in subjects:
                subject.path.unlink(missing_ok=True)
                self.abandoned.add(subject.number)
        else:
            self.wiped += subjects

    def wipe(self) -> list[int]:
        """Wipe what is to be wiped, and nothing else. Returns the inode numbers."""
        folder = self.spot.seen_at
        named = {subject.path.name for subject in self.wiped} | {subject.path.name for subject in self.controls}
        before = {path.name: _look(path) for path in folder.iterdir() if path.name not in named}
        inodes = []
        for subject in self.wiped:
            inodes.append(subject.path.stat().st_ino)
            self._wipe_one(subject)
        for subject in self.controls:
            path = folder / subject.path.name
            if subject.kind == "truncate and rewrite":
                path.write_bytes(bytes(MIB + 1))
                flush(folder)
            path.unlink()
        after = {path.name: _look(path) for path in folder.iterdir()}
        assert len(before) >= BYSTANDERS
        self.outcome.bystanders = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        return inodes

    def _wipe_one(self, subject: Subject) -> None:
        error = None
        arguments = {**VARIANTS[subject.variant], **self.spot.layout.arguments}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                report: ShredReport | None = secure_delete(subject.path, **arguments)
            except (FileAccessError, SecureWipeError) as caught:
                report, error = caught.report, str(caught)
        assert report is not None, f"{subject.path}: an error without a report: {error}"
        row = Row(subject.kind, subject.variant, report.verdict, report.reasons, report.notes, error)
        self.outcome.rows[subject.kind, subject.variant] = row

    def scan(self, inodes: list[int]) -> None:
        """Look for all content on the unmounted image."""
        self.spot.unmount()
        disk = self.spot.disk
        if disk is None:
            return
        spans = [
            ("old extent", extent.physical, extent.physical + extent.length)
            for subject in (*self.wiped, *self.controls)
            for extent in subject.extents
            if not self.spot.layout.kind.startswith("btrfs")  # Its FIEMAP tells addresses that are not the device's.
        ]
        regions = Regions(spans + regions_of(self.spot.layout, disk.image, inodes))
        subjects = {subject.number: subject for subject in (*self.wiped, *self.controls, *self.others)}
        for position, found in disk.find(self.nonce):
            number, offset = parse_stamp(found)
            subject = subjects.get(number)
            # What was written over a part of a stamp can make it name another file or offset.
            if subject is not None and (offset < 2 * MIB or offset == XATTR_OFFSET):
                self._count(subject, offset, regions.name_of(position))
            elif number not in self.abandoned:
                self.outcome.damaged += 1
        self._look_for_lone_bytes(disk.image)

    def _count(self, subject: Subject, offset: int, where: str) -> None:
        if subject in self.controls:
            self.outcome.controls.setdefault(subject.kind, Counter())[where] += 1
        elif subject not in self.others:
            row = self.outcome.rows[subject.kind, subject.variant]
            (row.attribute_places if offset >= XATTR_OFFSET else row.places)[where] += 1

    def _look_for_lone_bytes(self, image: Path) -> None:
        """A file of one byte: after zeros, its block must not begin with that byte any more."""
        for subject in self.wiped:
            if (subject.kind, subject.variant) == ("1", "zeros") and self.spot.layout.kind != "btrfs":
                with image.open("rb") as file:
                    for extent in subject.extents:
                        file.seek(extent.physical)
                        if file.read(1) == bytes([LONE_BYTE]):
                            self.outcome.rows["1", "zeros"].places["old extent"] += 1


def _look(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return status.st_ino, status.st_mode, status.st_nlink, status.st_size, *times, hash(path.read_bytes())


def run(layout: Layout) -> Outcome:
    """Run one layout.

    Raises:
        UnavailableError: This machine cannot.
    """
    with scratch() as folder, place(layout, folder) as spot:
        task = _Run(spot)
        task.write()
        inodes = task.wipe()
        flush(spot.seen_at)
        task.scan(inodes)
        return task.outcome
