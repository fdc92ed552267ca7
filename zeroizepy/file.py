"""Overwriting and unlinking files, filling free space, overwriting block devices.

    >>> from zeroizepy.file import secure_delete
    >>> report = secure_delete("secret.txt")  # doctest: +SKIP
    >>> report.verdict  # doctest: +SKIP
    'overwritten'

An overwrite reaches the blocks that the file has now. It does not reach copies made earlier (by editors, backups,
snapshots, the swap area), nor what a flash device keeps in cells that it has remapped. The report's verdict and notes
say what holds for the file at hand. For data on flash, on copy-on-write file systems and in clouds, encrypt from the
start and destroy the key (`zeroizepy.crypto`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from .exceptions import FileAccessError, SecureWipeError
from .shred import device_run
from .shred.device_guards import DeviceOptions
from .shred.device_report import DeviceReport
from .shred.freespace import FillOptions, fill
from .shred.options import (
    DEFAULT_PASSES,
    MAX_PASSES,
    ShredOptions,
    buffer_size,
    check_callable,
    check_flag,
    count,
    parse_pattern,
    parse_verify,
    path_text,
)
from .shred.report import FreeSpaceReport, PassReport, ShredPlan, ShredReport, Verdict, explain
from .shred.roots import TreeOptions, TreeProgress, count_tree
from .shred.run import Progress, shred
from .shred.schemes import SCHEMES, Scheme, parse_passes
from .shred.slack import MAX_INODES
from .shred.treereport import TreeReport, list_entry
from .shred.trees import shred_directory

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "SCHEMES",
    "DeviceReport",
    "FileAccessError",
    "FreeSpaceReport",
    "PassReport",
    "Scheme",
    "SecureWipeError",
    "ShredPlan",
    "ShredReport",
    "TreeReport",
    "Verdict",
    "count_tree",
    "explain",
    "list_entry",
    "overwrite_device",
    "secure_delete",
    "shred_tree",
    "wipe_free_space",
]

_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def secure_delete(
    path: _Path,
    *,
    passes: int = DEFAULT_PASSES,
    pattern: str | bytes | bytearray | memoryview = "random",
    scheme: str | None = None,
    rename: bool = True,
    sync: bool = True,
    chunk_size: int | None = None,
    follow_symlinks: bool = False,
    dry_run: bool = False,
    verify: bool | Literal["device"] = False,
    keep: bool = False,
    wipe_journal: bool = False,
    allow_hard_links: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> ShredReport:
    """Overwrite a regular file in place, then unlink it.

    Everything happens through one descriptor. Each pass covers what is stored: to the end of the last block, with
    blocks that are preallocated, and without holes. Extended attributes in which programs keep values are overwritten,
    too. A missing path is a report with `existed` False; a symbolic link is itself unlinked and what it points to is
    left alone. Directories, FIFOs, sockets, devices, hard-linked and write-protected files are refused before anything
    is written.

    One pass that is verified is enough on a magnetic disk, and none is on flash, where the device may write beside the
    old cells (NIST SP 800-88 Rev. 1, section 2.4); three are what people expect. Whether the passes went over the old
    bytes is in the verdict, from the file system's own answers before and after.

    Args:
        path: The file.
        passes: How often its bytes are overwritten, 0 to 1000. One is enough on a magnetic disk, and no number is on
            flash. With 0 the file is only renamed and unlinked, and the verdict says so.
        pattern: "random" (the stream of AEGIS-128L, or of ChaCha20 where the CPU has no AES instructions, under a key
            that is wiped afterwards), "zeros", "ones", or 1 byte to 1 MiB that are repeated from the start of the file.
        scheme: A scheme of `SCHEMES` by its name, such as "nist-clear", in place of `passes` and `pattern`. Those
            that ask for it verify.
        rename: Rename the file to random names, shorter and shorter, before the unlink; no other file can be replaced.
        sync: Flush to the device after each pass and each step on the name. Without it the kernel may drop the
            overwrite when the file is unlinked, and the verdict says so.
        chunk_size: Bytes for each write call, rounded up to a multiple of 4096 and at most 64 MiB; None takes 4 MiB.
        follow_symlinks: Shred the file that a symbolic link leads to. The link itself stays, pointing nowhere.
        dry_run: Change nothing; the report holds the plan and its expected verdict. A file that could not be opened for
            writing is refused as in a real run, as far as that can be told without trying: by permissions, attributes,
            a read-only mount, a process that runs it. Whether its folder lets the name go shows only in a real run.
        verify: Read the last pass back past the page cache and compare. Where the system refuses or may ignore
            O_DIRECT the comparison still runs, and the report says `verify_cached` and not `verified`. With "device"
            the blocks that the file had at first are read from the block device, too, which takes root; where that
            cannot be done a note says `device_not_read`. It is flushed first, so that all its bytes have blocks.
        keep: Leave the file, overwritten, under its name and with its size.
        wipe_journal: Have ext4 write its journal back and zero it afterwards (root, Linux 5.14), where old names,
            attributes, small files and the data of data=journal remain otherwise. It takes as long as writing the
            whole journal, up to 1 GiB.
        allow_hard_links: Take a file with other names. They stay and then hold the overwritten content.
        force: Take a file without owner-write permission, and set that permission when the open needs it.
        progress: Called with (bytes done, bytes in all), reads for `verify` included, at least every 64 MiB. What it
            raises ends the run and leaves the file in place.

    Returns:
        What was done, what became of the old bytes (`verdict`, `reasons`), and what remains (`notes`).

    Raises:
        TypeError, ValueError: An argument, named in the message.
        IsADirectoryError: The path is a directory.
        FileAccessError: The file was refused, or writing, flushing, verifying or unlinking failed. The file is still
            there; `report` on the error says how far it came.
        SecureWipeError: The file is gone, but flushing the directory failed.
        LockLimitError: No locked memory for the random stream's key, under policy "strict" (`memory.set_policy`).
        KeyboardInterrupt: Ctrl-C, noticed between spans of up to 64 MiB. An interrupted call leaves the file in place,
            partly overwritten, until the passes are done; `report` on the exception says how far it came, to within
            one span. An interruption while the name is removed can leave it under a random name.

    Warns:
        UserWarning: The file is sparse, or its old bytes may remain for a reason outside the caller's arguments.
        SecureMemoryWarning: No locked memory for the random stream's key, which then is in ordinary memory until it is
            wiped; the note `stream_key_unlocked` says so, too.

    Does not reach: earlier copies of the data, names in directory blocks and journals, remapped sectors and flash
    cells, layers below the block device.
    """
    text = path_text(path, "path")
    read_back, device = parse_verify(verify)
    written, scheme_verifies = parse_passes(passes, pattern, scheme)
    options = ShredOptions(
        passes=written,
        scheme=scheme,
        rename=check_flag(rename, "rename"),
        sync=check_flag(sync, "sync"),
        buffer_bytes=buffer_size(chunk_size),
        follow_symlinks=check_flag(follow_symlinks, "follow_symlinks"),
        dry_run=check_flag(dry_run, "dry_run"),
        verify=read_back or scheme_verifies,
        device=device,
        unlink=not check_flag(keep, "keep"),
        wipe_journal=check_flag(wipe_journal, "wipe_journal"),
        allow_hard_links=check_flag(allow_hard_links, "allow_hard_links"),
        force=check_flag(force, "force"),
    )
    check_callable(progress, "progress")
    return shred(text, options, progress)


def shred_tree(
    path: _Path,
    *,
    passes: int = DEFAULT_PASSES,
    pattern: str | bytes | bytearray | memoryview = "random",
    scheme: str | None = None,
    rename: bool = True,
    verify: bool | Literal["device"] = False,
    allow_hard_links: bool = False,
    force: bool = False,
    dry_run: bool = False,
    keep_directories: bool = False,
    one_file_system: bool = True,
    journal: _Path | None = None,
    on_report: Callable[[ShredReport], object] | None = None,
    progress: TreeProgress | None = None,
) -> TreeReport:
    """Overwrite and unlink all files in a directory, and remove the directory.

    Each file gets what `secure_delete` gives it, flushed as often and in the same order. Files are taken in batches of
    up to 512 that share their flushes, so that many small ones take a fraction of the time. What fails is reported
    and stays, with the directories above it; the rest is done.

    Everything beneath the directory is opened without following a link or leaving it (openat2 with RESOLVE_BENEATH
    where the kernel has it), and known by device and inode from then on: a name that somebody swaps meanwhile is
    refused or read again, and nothing outside is touched. Symbolic links, FIFOs, sockets and device nodes are unlinked
    themselves. Neither memory nor open descriptors grow with the tree.

    Args:
        path: The directory; not a symbolic link to it.
        passes, pattern, scheme, rename, verify, force: As in `secure_delete`. With `rename` the names of directories
            are hidden, too.
        allow_hard_links: Take files with several names. Those outside the tree then hold the overwritten content.
        dry_run: Change nothing; the report counts the verdicts that a run is expected to give.
        keep_directories: Leave all directories in place, empty.
        one_file_system: Leave what is mounted inside the directory alone, and report it; False goes into it.
        journal: Path of a small file outside the tree that lets a killed run be gone on with: the same call with the
            same journal finishes what was begun and reports the rest. It holds options, numbers and counts, no names,
            and is removed at the end of a run. Without it the same call does the same work, but knows less of what the
            killed one did.
        on_report: Called with the report of each file, link, FIFO, socket and device node.
        progress: Called with (files done, bytes written and read back so far), at least every 64 MiB.

    Returns:
        Counts by verdict, what failed, what is left, and a hash over the list of files (`list_entry`), not the list. A
        missing directory is a report with `existed` False.

    Raises:
        TypeError, ValueError: An argument, named in the message; a path that ends in `.` or `..`; a journal of another
            directory or with other options.
        NotADirectoryError: The path is a file, which is for `secure_delete`, or a symbolic link.
        FileExistsError: Something that is no journal of this user alone stands at the journal's path.
        BlockingIOError: Another run holds the journal.
        OSError: The directory or the journal cannot be opened, or the journal not be written.
        LockLimitError: No locked memory for the random stream's key, under policy "strict" (`memory.set_policy`).
        KeyboardInterrupt: Ctrl-C. Files of the two batches at hand are left in place, partly overwritten, or under a
            random name. `report` on this and on any other exception says how far the run came.

    Warns:
        UserWarning: Once, for the first file whose old bytes may remain for a reason outside the caller's arguments.
        SecureMemoryWarning: No locked memory for the random stream's key, which then is in ordinary memory until it is
            wiped; the note `stream_key_unlocked` says so, too.

    Does not reach: what `secure_delete` does not reach. A flush that files share is one of their whole file system, and
    so waits for what other programs have written there. Files that are added while the run goes on are shredded, too,
    for as long as it meets them.
    """
    read_back, device = parse_verify(verify)
    written, scheme_verifies = parse_passes(passes, pattern, scheme)
    files = ShredOptions(
        passes=written,
        scheme=scheme,
        rename=check_flag(rename, "rename"),
        dry_run=check_flag(dry_run, "dry_run"),
        verify=read_back or scheme_verifies,
        device=device,
        allow_hard_links=check_flag(allow_hard_links, "allow_hard_links"),
        force=check_flag(force, "force"),
    )
    check_callable(on_report, "on_report")
    check_callable(progress, "progress")
    if journal is not None and dry_run:
        raise ValueError("journal is for a run that changes something; leave it out of a dry_run")
    options = TreeOptions(
        files=files,
        keep_directories=check_flag(keep_directories, "keep_directories"),
        one_file_system=check_flag(one_file_system, "one_file_system"),
        journal=None if journal is None else path_text(journal, "journal"),
        on_report=on_report,
        progress=progress,
    )
    return shred_directory(path_text(path, "path"), options)


def wipe_free_space(
    directory: _Path,
    *,
    chunk_size: int | None = None,
    dry_run: bool = False,
    reserve_bytes: int = 0,
    max_bytes: int | None = None,
    max_bytes_per_s: int | None = None,
    inodes: bool = False,
    max_inodes: int = MAX_INODES,
    trim: bool = False,
    progress: Progress | None = None,
) -> FreeSpaceReport:
    """Fill the free space of a file system with random bytes, flush, and give it back.

    The fillers have no names, so that a kill at any moment frees the space. While the file system is full, other
    programs cannot write to it; `reserve_bytes` leaves them room that then stays uncovered.

    Args:
        directory: A directory on the file system; it must be writable.
        chunk_size: Bytes for each write call, rounded up to a multiple of 4096 and at most 64 MiB; None takes 4 MiB.
        dry_run: Write nothing; the report tells how much is free.
        reserve_bytes: Stop while this much is still free, to the accuracy of the file system's own bookkeeping.
        max_bytes: Stop after this much; None for no limit.
        max_bytes_per_s: Write no faster than this on average, in pieces of a quarter of a second; None for no limit.
        inodes: First overwrite free inodes and fill directory blocks: as many empty files with long random names as
            there are free inodes, in a private directory that is removed before the filling. A run that is killed
            meanwhile leaves it; the next run on the same directory removes it.
        max_inodes: Files for `inodes` at most.
        trim: Tell the device afterwards which blocks are free (FITRIM, needs root); a refusal is in the report.
        progress: Called with (bytes done, bytes in all as far as known), at least every 64 MiB.

    Returns:
        How much was written, why it stopped, and what such filling does not cover.

    Raises:
        TypeError, ValueError: An argument, named in the message.
        FileNotFoundError, NotADirectoryError: By the path.
        FileAccessError: No filler could be made, or a write or flush failed for a reason other than a full disk. The
            space was given back; `report` on the error says how far it came.
        LockLimitError: No locked memory for the random stream's key, under policy "strict" (`memory.set_policy`).
        KeyboardInterrupt: Ctrl-C, noticed between spans of up to 64 MiB. The space was given back; `report` on the
            exception says how far it came.

    Warns:
        SecureMemoryWarning: As for `secure_delete`.

    Does not reach: slack inside the last blocks of files, room in directories that still exist, inodes (unless
    `inodes`), the journal, reserved blocks (unless run by root), snapshots, and what the device keeps to itself.
    """
    text = path_text(directory, "directory")
    buffer_bytes = buffer_size(chunk_size)
    reserve = count(reserve_bytes, "reserve_bytes", 0)
    limit = None if max_bytes is None else count(max_bytes, "max_bytes", 0)
    check_callable(progress, "progress")
    rate = None if max_bytes_per_s is None else count(max_bytes_per_s, "max_bytes_per_s", 1)
    most = count(max_inodes, "max_inodes", 1)
    options = FillOptions(
        buffer_bytes=buffer_bytes,
        dry_run=check_flag(dry_run, "dry_run"),
        reserve_bytes=reserve,
        max_bytes=limit,
        max_bytes_per_s=rate,
        max_inodes=most if check_flag(inodes, "inodes") else 0,
        trim=check_flag(trim, "trim"),
    )
    return fill(text, options, progress)


def overwrite_device(
    path: _Path,
    *,
    confirm: str | None,
    passes: int = 1,
    pattern: str | bytes | bytearray | memoryview = "random",
    verify: bool = True,
    allow_partition: bool = False,
    allow_swap: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> DeviceReport:
    """Overwrite a whole block device: a disk, or a partition. Everything on it is gone; nothing is asked.

    Refused is what is mounted, in use as swap, part of another device (device mapper, RAID, loop) or opened
    exclusively by another program, with any of its partitions; what is read-only; what reports no serial number; and
    whatever the system does not answer about. Linux only.

    Args:
        path: The device file, or a link to it. Its device number counts, not its name.
        confirm: The serial number and the size in bytes, as `confirm` in the report of a dry run has them:
            "S3Z9NB0K 500107862016". They are compared with what the opened device says right before the first write.
            A dry run does without.
        passes: How often it is overwritten, 1 to 1000.
        pattern: As for `secure_delete`.
        verify: Read the last pass back past the page cache and compare.
        allow_partition: Take a partition; the rest of its disk is not touched.
        allow_swap: Take a device with an inactive swap area, or with a hibernated system. An active one is refused.
        dry_run: Write nothing; the report says who the device is and what would be done.
        progress: Called with (bytes done, bytes in all), the read-back included, at least every 64 MiB. What it raises
            ends the run.

    Returns:
        What was done, what became of the old bytes (`verdict`, `reasons`), and what is not reached (`notes`).

    Raises:
        TypeError, ValueError: An argument, named in the message.
        FileNotFoundError: There is nothing at the path.
        FileAccessError: The device was refused (`report.verdict` is "refused", and nothing was written), or a step
            failed and it is partly overwritten; `report` says how far it came. Sectors that fail are skipped, up to
            1 MiB: then there is no error, and the verdict is "not_in_place".
        LockLimitError: No locked memory for the random stream's key, under policy "strict" (`memory.set_policy`).
        KeyboardInterrupt: Ctrl-C, noticed between spans of up to 64 MiB; `report` on it says how far it came.

    Warns:
        SecureMemoryWarning: As for `secure_delete`.

    Does not reach: areas that a drive hides (HPA, DCO), sectors that it has replaced, cells that a flash device has set
    aside, layers below a virtual or loop device.
    """
    if confirm is not None and not isinstance(confirm, str):
        raise TypeError(f"confirm must be str or None, not {type(confirm).__name__}")
    number = count(passes, "passes", 1, MAX_PASSES)
    options = DeviceOptions(
        confirm=confirm,
        passes=(parse_pattern(pattern),) * number,
        verify=check_flag(verify, "verify"),
        allow_partition=check_flag(allow_partition, "allow_partition"),
        allow_swap=check_flag(allow_swap, "allow_swap"),
        dry_run=check_flag(dry_run, "dry_run"),
    )
    check_callable(progress, "progress")
    return device_run.overwrite(path_text(path, "path"), options, progress)
