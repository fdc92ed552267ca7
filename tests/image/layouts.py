"""The file systems of the matrix: how each is made, mounted, and what else holds its files' blocks."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from image.disk import Disk, mounted, new_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["LAYOUTS", "Layout", "Place", "place"]


@dataclass(frozen=True)
class Layout:
    """One row group of the matrix.

    Attributes:
        name: As the table has it.
        kind: For mkfs.KIND and mount -t; `tmpfs` has no image.
        options: For mkfs.
        mount: Mount options. Discards are off: they would punch the freed blocks out of the image before the scan.
        mib: Size of the image.
        arguments: For each call of secure_delete.
        keeps: What else holds the files' blocks: `snapshot`, `reflink`, or the overlay layer (`upper`, `lower`) that
            the files stand in.
    """

    name: str
    kind: str
    options: tuple[str, ...] = ()
    mount: str = ""
    mib: int = 96
    keeps: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def has_image(self) -> bool:
        """Whether there are bytes to scan."""
        return self.kind != "tmpfs"


_BLOCKS = ("-b", "4096")
# Large enough that it does not come round during a run: what once stood in it stands in it at the end.
_JOURNAL = ("-J", "size=32")
_INLINE = ("-I", "256", "-O", "inline_data")
_ZEROED = {"wipe_journal": True}

LAYOUTS = [
    Layout("ext4, 1 KiB blocks", "ext4", ("-b", "1024", *_JOURNAL)),
    Layout("ext4, 4 KiB blocks", "ext4", (*_BLOCKS, *_JOURNAL)),
    Layout("ext4, inline_data", "ext4", (*_BLOCKS, *_JOURNAL, *_INLINE)),
    Layout("ext4, data=journal", "ext4", (*_BLOCKS, "-J", "size=160"), mount="data=journal", mib=384),
    Layout("ext4, inline_data, wipe_journal=True", "ext4", (*_BLOCKS, *_INLINE), arguments=_ZEROED),
    Layout("ext4, data=journal, wipe_journal=True", "ext4", _BLOCKS, mount="data=journal", arguments=_ZEROED),
    Layout("ext4, bigalloc", "ext4", (*_BLOCKS, *_JOURNAL, "-O", "bigalloc", "-C", "16384")),
    Layout("ext4, no journal", "ext4", (*_BLOCKS, "-O", "^has_journal")),
    Layout("ext3", "ext3", _JOURNAL),
    Layout("xfs, reflink=1", "xfs", ("-m", "reflink=1"), mib=300),
    Layout("xfs, reflink=0", "xfs", ("-m", "reflink=0"), mib=300),
    Layout("xfs, reflinked copies", "xfs", ("-m", "reflink=1"), mib=300, keeps="reflink"),
    Layout("btrfs", "btrfs", mount="nodiscard", mib=128),
    Layout("btrfs, nodatacow", "btrfs", mount="nodiscard,nodatacow", mib=128),
    Layout("btrfs, snapshot", "btrfs", mount="nodiscard", mib=128, keeps="snapshot"),
    # Under lzo the first stamp of each compressed piece stands as it is, so that the scan can find it.
    Layout("btrfs, compressed", "btrfs", mount="nodiscard,compress-force=lzo", mib=128),
    Layout("overlay on ext4, upper layer", "ext4", (*_BLOCKS, *_JOURNAL), keeps="upper"),
    Layout("overlay on ext4, lower layer", "ext4", (*_BLOCKS, *_JOURNAL), keeps="lower"),
    Layout("tmpfs", "tmpfs"),
    Layout("vfat", "vfat"),
    Layout("exfat", "exfat"),
    Layout("f2fs", "f2fs", mount="nodiscard", mib=128),
]


@dataclass
class Place:
    """A mounted layout.

    Attributes:
        layout: Which.
        folder: Where the files are written.
        seen_at: Where they are wiped, once `keep` was called.
        disk: None where there is no image.
        stack: What is mounted.
    """

    layout: Layout
    folder: Path
    seen_at: Path
    disk: Disk | None
    stack: ExitStack

    def keep(self) -> None:
        """Let something else hold the files' blocks, if the layout has that. Called when the files stand."""
        if self.layout.keeps == "snapshot":
            self._run("btrfs", "subvolume", "snapshot", self.folder, self.folder.parent / "snapshot")
        elif self.layout.keeps == "reflink":
            self._run("cp", "-a", "--reflink=always", self.folder, self.folder.parent / "copies")
        elif self.layout.keeps == "lower":
            # Only now: a lower layer must not change while it is mounted.
            self.stack.enter_context(_overlay(self.folder.parent, self.seen_at))

    def unmount(self) -> None:
        """Unmount all of it, the upper layers first; again is harmless."""
        self.stack.close()

    @staticmethod
    def _run(*command: str | Path) -> None:
        subprocess.run(command, check=True, capture_output=True)


def _overlay(base: Path, point: Path) -> AbstractContextManager[Path]:
    return mounted(point, "overlay", f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work")


@contextmanager
def place(layout: Layout, folder: Path) -> Iterator[Place]:
    """Make and mount a layout in the empty `folder`; unmount it in the end.

    Raises:
        UnavailableError: This machine cannot.
    """
    with ExitStack() as stack:
        if not layout.has_image:
            point = stack.enter_context(mounted(folder / "memory", layout.kind, "size=64m"))
            yield Place(layout, point, point, None, stack)
            return
        made = new_disk(folder, layout.kind, *layout.options, mount=layout.mount, mib=layout.mib)
        disk = stack.enter_context(made)
        files = disk.mountpoint / "files"
        if layout.keeps in ("upper", "lower"):
            for name in ("lower", "upper", "work"):
                (disk.mountpoint / name).mkdir()
            merged = folder / "merged"
            if layout.keeps == "upper":
                stack.enter_context(_overlay(disk.mountpoint, merged))
            files = merged if layout.keeps == "upper" else disk.mountpoint / "lower"
            yield Place(layout, files, merged, disk, stack)
            return
        if layout.keeps == "snapshot":
            subprocess.run(["btrfs", "subvolume", "create", files], check=True, capture_output=True)
        else:
            files.mkdir()
        yield Place(layout, files, files, disk, stack)
