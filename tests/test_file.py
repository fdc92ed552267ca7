"""secure_delete: what is overwritten, what is refused, what is left alone, and what the report says."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import warnings
from contextlib import closing
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroizepy import _lib
from zeroizepy.exceptions import FileAccessError, LockLimitError, SecureMemoryError, SecureWipeError, ZeroizeError
from zeroizepy.file import ShredReport, explain, secure_delete
from zeroizepy.shred import names, passes, steps, target
from zeroizepy.shred.extents import ExtentMap, read_extents
from zeroizepy.shred.facts import FileFacts, Media
from zeroizepy.shred.options import Pattern
from zeroizepy.shred.passes import SpanResult, SpanWriter, set_direct

# On storage that does not overwrite in place each call warns, which is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")

SIZES = [1, 59, 4095, 4096, 4097, (1 << 20) + 1, (4 << 20) + 4097]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: device nodes and other users")
# In this order: a look at the cells may collect what has descriptors.
gives_all_back = pytest.mark.usefixtures("no_leftover_cells", "no_descriptor_stays")


def make(path: Path, size: int = 5000) -> Path:
    """A file of recognizable content."""
    path.write_bytes((b"secret content. " * (size // 16 + 1))[:size])
    return path


def overwritten_content(tmp_path: Path, size: int, **arguments: Any) -> tuple[bytes, ShredReport]:
    """The bytes that a run leaves in the file's blocks, seen through a second name."""
    path, witness = make(tmp_path / "file", size), tmp_path / "witness"
    os.link(path, witness)
    report = secure_delete(path, allow_hard_links=True, **arguments)
    content = witness.read_bytes()
    witness.unlink()
    return content, report


# ---- what is written ----


def test_a_file_is_gone_and_the_report_says_so(tmp_path: Path) -> None:
    """The default call removes the file and reports three full passes."""
    path = make(tmp_path / "secret.txt", 10_000)
    report = secure_delete(path, passes=3, pattern="random")
    assert not path.exists()
    assert os.listdir(tmp_path) == []
    assert (report.existed, report.unlinked, report.renamed, report.error) == (True, True, True, None)
    assert report.plan is not None
    written = report.plan.write_bytes
    assert 10_000 <= written < 10_000 + os.statvfs(tmp_path).f_bsize
    assert [(each.pattern, each.bytes_written, each.synced) for each in report.passes] == [
        ("random", written, True)
    ] * 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("verify", [False, True])
def test_bytes_pattern_covers_every_byte_in_phase(tmp_path: Path, size: int, *, verify: bool) -> None:
    """A bytes pattern stands in the whole file, counted from offset 0, at sizes around blocks and buffers."""
    content, report = overwritten_content(tmp_path, size, passes=1, pattern=b"abc", verify=verify)
    assert content == (b"abc" * (size // 3 + 1))[:size]
    assert report.verified is (verify and "verify_cached" not in report.notes)


@pytest.mark.parametrize(("pattern", "byte"), [("zeros", 0), ("ones", 255), ("ZEROS", 0)])
def test_named_patterns(tmp_path: Path, pattern: str, byte: int) -> None:
    """Zeros and ones are what they are called, in any case."""
    content, _ = overwritten_content(tmp_path, 70_001, passes=2, pattern=pattern)
    assert content == bytes([byte]) * 70_001


@pytest.mark.parametrize("size", SIZES[2:])
def test_random_passes_leave_no_old_block(tmp_path: Path, size: int) -> None:
    """After a random pass no 16-byte piece of the old content is left, and the bytes look random."""
    content, _ = overwritten_content(tmp_path, size, passes=1)
    assert len(content) == size
    assert b"secret content. " not in content
    assert abs(sum(content) / size - 127.5) < 10


def test_random_passes_differ_between_runs_and_offsets(tmp_path: Path) -> None:
    """No two runs share a stream, and a stream does not repeat inside a file."""
    first, _ = overwritten_content(tmp_path, 1 << 16, passes=1)
    second, _ = overwritten_content(tmp_path, 1 << 16, passes=1)
    blocks = {bytes(data[at : at + 64]) for data in (first, second) for at in range(0, 1 << 16, 64)}
    assert len(blocks) == 2 * (1 << 16) // 64


@settings(deadline=None, max_examples=60)
@given(
    pattern=st.binary(min_size=1, max_size=600),
    size=st.integers(1, 20_000),
    chunk=st.integers(1, 10_000),
    sync=st.booleans(),
)
def test_any_pattern_size_and_chunk(
    tmp_path_factory: pytest.TempPathFactory, *, pattern: bytes, size: int, chunk: int, sync: bool
) -> None:
    """Whatever the pattern, file size and chunk size, the content is the pattern repeated."""
    directory = tmp_path_factory.mktemp("any")
    content, _ = overwritten_content(directory, size, passes=1, pattern=pattern, chunk_size=chunk, sync=sync)
    assert content == (pattern * (size // len(pattern) + 1))[:size]


def test_small_chunks_over_several_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans join without a gap, for the passes and for the comparison."""
    monkeypatch.setattr(steps, "SPAN_BYTES", 8192)
    content, report = overwritten_content(tmp_path, 50_001, passes=2, pattern=b"12345", chunk_size=4096, verify=True)
    assert content == (b"12345" * 10_001)[:50_001]
    assert report.verified != ("verify_cached" in report.notes)


# ---- verdicts and reports ----


def test_without_sync_the_verdict_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing forces an unflushed overwrite to the device before the unlink, so it is never called overwritten."""
    report = secure_delete(make(tmp_path / "file"), sync=False)
    assert (report.verdict, "not_synced" in report.reasons) == ("not_in_place", True)
    assert "passes_merged" in report.notes
    assert not any(each.synced for each in report.passes)


def test_no_pass_is_not_an_overwrite(tmp_path: Path) -> None:
    """passes=0 unlinks and says that nothing was overwritten."""
    path = make(tmp_path / "file")
    report = secure_delete(path, passes=0, verify=True)
    assert (path.exists(), report.verdict, report.passes, report.verified) == (False, "not_in_place", (), False)
    assert "no_pass" in report.reasons


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is unlinked; there was nothing to overwrite and the report claims nothing."""
    report = secure_delete(make(tmp_path / "file", 0), verify=True)
    assert (report.unlinked, report.verdict, report.reasons) == (True, None, ("empty",))


def test_report_is_frozen_json_and_one_line(tmp_path: Path) -> None:
    """A report cannot be changed, goes through JSON, and prints as one line with path and verdict."""
    report = secure_delete(make(tmp_path / "file"))
    with pytest.raises(FrozenInstanceError):
        report.verdict = "overwritten"  # type: ignore[misc]
    assert json.loads(json.dumps(report.to_dict()))["size_bytes"] == 5000
    assert str(report).startswith(f"{tmp_path / 'file'}: {report.verdict}")
    assert "\n" not in str(report)
    assert all(explain(note) != note.partition(":")[0] for note in report.notes)


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    """A dry run leaves content, times and directory as they were and claims no verdict."""
    path = make(tmp_path / "file")
    content = path.read_bytes()
    before = (path.stat(), tmp_path.stat().st_mtime_ns)  # Between the two reads, each of which may set a time itself.
    report = secure_delete(path, dry_run=True, verify=True)
    assert (path.stat(), tmp_path.stat().st_mtime_ns) == before
    assert path.read_bytes() == content
    assert (report.dry_run, report.verdict, report.unlinked, report.passes) == (True, None, False, ())
    assert report.plan is not None
    assert report.plan.total_bytes == 4 * report.plan.write_bytes >= 4 * 5000
    assert "would write 3 passes over 5000 bytes" in str(report)


def test_progress_counts_to_the_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress grows with each span and ends at the plan's total, reads included."""
    monkeypatch.setattr(steps, "SPAN_BYTES", 4096)
    seen: list[tuple[int, int]] = []
    report = secure_delete(make(tmp_path / "file", 10_000), passes=2, verify=True, progress=lambda *at: seen.append(at))
    assert report.plan is not None
    assert seen[-1] == (3 * report.plan.write_bytes, report.plan.total_bytes)
    assert {total for _, total in seen} == {report.plan.total_bytes}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def sparse(path: Path) -> Path:
    """A file of a block of content, a hole of 4 MiB, and another block."""
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.seek(4 << 20)
        file.write(b"y" * 4096)
    return path


def test_holes_are_passed_over(tmp_path: Path) -> None:
    """A pass writes what is stored and takes no more space; the report tells how much was a hole."""
    path, witness = sparse(tmp_path / "sparse"), tmp_path / "witness"
    os.link(path, witness)
    before = path.stat().st_blocks
    report = secure_delete(path, passes=1, pattern="ones", allow_hard_links=True)
    assert report.passes[0].bytes_written == 8192
    assert f"holes_skipped:{(4 << 20) - 4096}" in report.notes
    assert (witness.stat().st_blocks, witness.stat().st_size) == (before, (4 << 20) + 4096)
    assert witness.read_bytes() == b"\xff" * 4096 + bytes((4 << 20) - 4096) + b"\xff" * 4096


def test_a_file_of_holes_holds_nothing(tmp_path: Path) -> None:
    """There is nothing to overwrite, and the report claims nothing."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    report = secure_delete(path, verify=True)
    assert (report.unlinked, report.verdict, report.reasons) == (True, None, ("only_holes",))


def test_where_holes_cannot_be_found_they_are_filled_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that does not tell of holes: all is written, and the caller hears that it takes more space."""
    monkeypatch.setattr(steps, "data_ranges", lambda *_arguments: None)
    read = steps.read_facts
    monkeypatch.setattr(steps, "read_facts", lambda fd, *_more: replace(read(fd), extents=None))
    with pytest.warns(UserWarning, match="sparse") as caught:
        report = secure_delete(sparse(tmp_path / "sparse"), passes=1)
    assert caught[0].filename == __file__
    assert report.passes[0].bytes_written == (4 << 20) + 4096
    assert "sparse" in report.notes


def test_preallocated_blocks_are_written(tmp_path: Path) -> None:
    """Blocks behind the end of the file are its own and are overwritten; a file that is kept keeps its size."""
    if shutil.which("fallocate") is None:
        pytest.skip("needs fallocate(1)")
    path = make(tmp_path / "file", 100)
    if subprocess.run(["fallocate", "--keep-size", "-l", "1MiB", path], check=False).returncode:
        pytest.skip("needs a file system that preallocates")
    with path.open("rb") as file:
        if read_extents(file.fileno()) is None:
            pytest.skip("needs a file system that tells of extents")
    report = secure_delete(path, passes=1, pattern="ones", keep=True)
    assert report.passes[0].bytes_written == 1 << 20
    assert path.read_bytes() == b"\xff" * 100


def test_a_kept_file_is_overwritten_and_as_large_as_before(tmp_path: Path) -> None:
    """keep=True: same name, same size, other content; nothing says that it is unlinked."""
    path = make(tmp_path / "file")
    report = secure_delete(path, passes=2, pattern="zeros", verify=True, keep=True)
    assert path.read_bytes() == bytes(5000)
    assert (report.unlinked, report.renamed, "name_may_remain" in report.notes) == (False, False, False)
    assert "still there" in str(report)


def test_extended_attributes_are_overwritten(tmp_path: Path) -> None:
    """Values that programs keep beside the content are other bytes of the same length afterwards, or gone."""
    path, witness = make(tmp_path / "file"), tmp_path / "witness"
    try:
        os.setxattr(path, "user.origin", b"https://example.org/secret")
    except OSError:
        pytest.skip("needs a file system with user attributes")
    os.link(path, witness)
    report = secure_delete(path, passes=1, allow_hard_links=True, keep=True)
    value = os.getxattr(witness, "user.origin")
    assert (len(value), value != b"https://example.org/secret") == (26, True)
    assert "attributes_may_remain:1" in report.notes
    secure_delete(path, passes=1, allow_hard_links=True)
    assert os.listxattr(witness) == []


def test_a_file_open_elsewhere_is_noted(tmp_path: Path) -> None:
    """Another descriptor can read the overwritten bytes and write new ones: the report says that there is one."""
    path = make(tmp_path / "file")
    with path.open("rb"):
        noted = secure_delete(path, passes=1, keep=True).notes
    if "open_elsewhere" not in noted:
        pytest.skip("needs a file system that grants leases")
    assert "open_elsewhere" not in secure_delete(path, passes=1).notes


def test_blocks_that_moved_are_no_overwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that puts the passes elsewhere is found out by where the file lies before and after."""
    places = iter([1 << 20, 2 << 20])

    def read(_fd: int, **_keywords: bool) -> ExtentMap:
        found = ExtentMap()
        found.add(0, next(places), 8192)
        return found

    good = FileFacts(5000, 8192, 1, "ext4", data_journal=False, extents=read(0), media=Media())
    monkeypatch.setattr(steps, "read_facts", lambda *_arguments: good)
    monkeypatch.setattr(steps, "read_extents", read)
    report = secure_delete(make(tmp_path / "file"), passes=1)
    assert (report.verdict, "extents_moved" in report.reasons) == ("not_in_place", True)


def test_a_warning_turned_into_an_error_comes_before_any_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes warnings errors keeps the file."""
    read = steps.read_facts
    monkeypatch.setattr(steps, "read_facts", lambda fd, *_more: replace(read(fd), file_system="unknown"))
    path = make(tmp_path / "file")
    before = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="may remain"):
            secure_delete(path, passes=1)
    assert path.read_bytes() == before


# ---- what is refused ----


def refused(path: Path, code: str, **arguments: Any) -> FileAccessError:
    """The error of a refusal, after a look at all that every refusal has."""
    with pytest.raises(FileAccessError) as caught:
        secure_delete(path, **arguments)
    error = caught.value
    assert isinstance(error, OSError)
    assert isinstance(error, SecureWipeError)
    assert isinstance(error, ZeroizeError)
    assert error.filename == os.fspath(path)
    assert (error.report.verdict, error.report.reasons) == ("refused", (code,))
    return error


def test_missing_path_is_a_no_op(tmp_path: Path) -> None:
    """Nothing there, nothing done, and the report says so; a missing parent is the same."""
    for path in (tmp_path / "no", tmp_path / "no" / "no"):
        report = secure_delete(path)
        assert (report.existed, report.unlinked, report.verdict, report.reasons) == (False, False, None, ("missing",))
        assert "no such file" in str(report)


@pytest.mark.parametrize("ending", ["", "/", "/.", "/inner/.."])
def test_directory(tmp_path: Path, ending: str) -> None:
    """A directory is an IsADirectoryError, however it is spelled."""
    (tmp_path / "inner").mkdir()
    with pytest.raises(IsADirectoryError):
        secure_delete(f"{tmp_path}{ending}")


def test_path_through_a_file(tmp_path: Path) -> None:
    """A trailing slash on a file, or a file as parent, is an error and not a missing path."""
    path = make(tmp_path / "file")
    for text in (f"{path}/", f"{path}/x"):
        with pytest.raises(FileAccessError) as caught:
            secure_delete(text)
        assert caught.value.errno == errno.ENOTDIR
    assert path.stat().st_size == 5000


def test_fifo_and_socket_are_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO and a socket are refused without being opened."""
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    opened: list[object] = []
    real_open = os.open
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        monkeypatch.setattr(
            os, "open", lambda path, *rest, **more: opened.append(path) or real_open(path, *rest, **more)
        )
        refused(Path("fifo"), "fifo")
        refused(Path("socket"), "socket")
    monkeypatch.undo()
    assert opened
    assert not {"fifo", "socket"} & set(opened)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "socket"]


@needs_root
def test_device_is_refused(tmp_path: Path) -> None:
    """A device node is refused and stays."""
    node = tmp_path / "null"
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    refused(node, "device")
    assert node.exists()


def test_proc_is_refused() -> None:
    """Files of the kernel's own file systems are refused before a write, which would be a command."""
    before = Path("/proc/self/comm").read_bytes()
    refused(Path("/proc/self/comm"), "file_system:proc")
    assert Path("/proc/self/comm").read_bytes() == before


def test_hard_links(tmp_path: Path) -> None:
    """A file with two names is refused untouched; allowed, only the given name goes."""
    path, other = make(tmp_path / "file"), tmp_path / "other"
    os.link(path, other)
    content = path.read_bytes()
    assert refused(path, "hard_links").errno == errno.EMLINK
    assert other.read_bytes() == content
    report = secure_delete(path, passes=1, pattern="zeros", allow_hard_links=True)
    assert not path.exists()
    assert other.read_bytes() == bytes(5000)
    assert "hard_links_remain:1" in report.notes


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o466])
def test_no_owner_write_bit(tmp_path: Path, mode: int) -> None:
    """A write-protected file is refused, also for root; force takes it."""
    path = make(tmp_path / "file")
    path.chmod(mode)
    assert refused(path, "read_only").errno == errno.EACCES
    assert path.stat().st_size == 5000
    secure_delete(path, force=True)
    assert not path.exists()


@needs_root
def test_force_for_an_ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary owner needs force for a mode of 0, and cannot touch another user's file at all."""
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "own").chmod(0)
    os.chown(tmp_path / "own", 65534, 65534)
    make(tmp_path / "roots").chmod(0o600)
    os.seteuid(65534)
    try:
        refused(Path("own"), "read_only")
        secure_delete("own", force=True)
        assert refused(Path("roots"), "permission", force=True).errno in (errno.EACCES, errno.EPERM)
    finally:
        os.seteuid(0)
    assert os.listdir(tmp_path) == ["roots"]
    assert b"secret content." in (tmp_path / "roots").read_bytes()


# ---- links and races ----


def test_symlink_itself_goes(tmp_path: Path) -> None:
    """A link is unlinked; its target is not touched and the report claims no overwrite."""
    path, link = make(tmp_path / "file"), tmp_path / "link"
    link.symlink_to(path)
    before = path.read_bytes()
    assert "would unlink" in str(secure_delete(link, dry_run=True))
    report = secure_delete(link)
    assert (report.verdict, report.reasons, report.unlinked) == (None, ("symlink",), True)
    assert "nothing to overwrite: unlinked" in str(report)
    assert (path.read_bytes(), link.is_symlink()) == (before, False)


def test_symlink_followed(tmp_path: Path) -> None:
    """A followed link has its target shredded and stays, pointing nowhere."""
    path, link = make(tmp_path / "file"), tmp_path / "link"
    link.symlink_to("file")
    report = secure_delete(link, follow_symlinks=True)
    assert (path.exists(), link.is_symlink(), report.path) == (False, True, str(path))
    assert f"symlink_left:{link}" in report.notes
    assert secure_delete(link, follow_symlinks=True).existed is False


def test_symlink_loop_is_refused(tmp_path: Path) -> None:
    """A link that leads to itself is refused when it is to be followed."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileAccessError) as caught:
        secure_delete(tmp_path / "loop", follow_symlinks=True)
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("swap", ["link", "file", "nothing"])
def test_swap_between_look_and_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str) -> None:
    """What is swapped in after the look and before the open is not written."""
    path, canary = make(tmp_path / "file"), make(tmp_path / "canary")
    check = target.check_status
    calls: list[int] = []

    def swap_once(*arguments: Any) -> None:
        check(*arguments)
        if not calls:
            path.rename(tmp_path / "moved")
            if swap == "link":
                path.symlink_to(canary)
            elif swap == "file":
                make(path)
        calls.append(1)

    monkeypatch.setattr(target, "check_status", swap_once)
    numbers = {"link": errno.ELOOP, "file": errno.ESTALE, "nothing": errno.ENOENT}
    assert refused(path, "replaced").errno == numbers[swap]
    assert canary.read_bytes() == (tmp_path / "moved").read_bytes()
    assert b"secret content." in canary.read_bytes()


def test_swap_during_the_passes_spares_the_newcomer(tmp_path: Path) -> None:
    """A file that takes the name meanwhile is neither renamed nor unlinked."""
    path = make(tmp_path / "file")

    def swap(_done: int, _total: int) -> None:
        path.rename(tmp_path / "moved")
        path.write_bytes(b"newcomer")

    with pytest.raises(FileAccessError, match="another file") as caught:
        secure_delete(path, passes=1, progress=swap)
    assert path.read_bytes() == b"newcomer"
    assert caught.value.report.unlinked is False
    assert sorted(os.listdir(tmp_path)) == ["file", "moved"]


def test_swap_right_before_the_rename_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer that the rename itself catches gets its name back."""
    path = make(tmp_path / "file")
    rename = names.rename_noreplace

    def swap(directory: int, name: str, new_name: str) -> None:
        monkeypatch.setattr(names, "rename_noreplace", rename)
        path.rename(tmp_path / "moved")
        path.write_bytes(b"newcomer")
        rename(directory, name, new_name)

    monkeypatch.setattr(names, "rename_noreplace", swap)
    with pytest.raises(FileAccessError, match="another file"):
        secure_delete(path, passes=1)
    assert path.read_bytes() == b"newcomer"
    assert sorted(os.listdir(tmp_path)) == ["file", "moved"]


def test_a_newcomer_that_cannot_go_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the caught newcomer's name is taken again, nothing is replaced and the error tells where it is."""
    path = make(tmp_path / "file")
    rename = names.rename_noreplace

    def swap(directory: int, name: str, _new_name: str) -> None:
        monkeypatch.setattr(names, "rename_noreplace", take_name_again)
        path.rename(tmp_path / "moved")
        path.write_bytes(b"newcomer")
        rename(directory, name, "zzzz")

    def take_name_again(directory: int, name: str, new_name: str) -> None:
        path.write_bytes(b"third")
        rename(directory, name, new_name)

    monkeypatch.setattr(names, "random_name", lambda length: "z" * length)
    monkeypatch.setattr(names, "rename_noreplace", swap)
    with pytest.raises(FileAccessError, match="now called 'zzzz'"):
        secure_delete(path, passes=1)
    assert path.read_bytes() == b"third"
    assert (tmp_path / "zzzz").read_bytes() == b"newcomer"


def test_a_random_name_never_replaces_a_bystander(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random name that is taken is not used."""
    path, bystander = make(tmp_path / "file"), tmp_path / "aaaa"
    bystander.write_bytes(b"bystander")
    offers = iter(["aaaa", "aaaa", "bbbb", "aaaa", "cccc", "dd", "e"])
    monkeypatch.setattr(names, "random_name", lambda _length: next(offers))
    report = secure_delete(path)
    assert report.renamed
    assert next(offers, None) is None
    assert bystander.read_bytes() == b"bystander"
    assert os.listdir(tmp_path) == ["aaaa"]


@pytest.mark.parametrize("number", [0, errno.ENOSYS, errno.EINVAL])
def test_bystanders_are_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """All one-letter names are taken, and every file but the named one stays as it was, whatever the rename is."""
    if number:
        monkeypatch.setattr(names, "rename_noreplace", fail_with(number))
    for letter in names._ALPHABET.decode():
        make(tmp_path / letter)
    before = {each.name: (each.stat().st_mtime_ns, each.read_bytes()) for each in tmp_path.iterdir()}
    before.pop("a")
    assert secure_delete(tmp_path / "a").renamed
    assert {each.name: (each.stat().st_mtime_ns, each.read_bytes()) for each in tmp_path.iterdir()} == before


def test_rename_false_keeps_the_name_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rename no other name is ever made."""
    monkeypatch.setattr(names, "rename", lambda *_arguments: pytest.fail("renamed"))
    report = secure_delete(make(tmp_path / "file"), rename=False)
    assert (report.renamed, report.unlinked) == (False, True)


def test_a_directory_that_takes_no_new_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the rename is impossible the file is unlinked under its own name, and the report says so."""
    monkeypatch.setattr(names, "rename_noreplace", fail_with(errno.ENOSPC))
    path = make(tmp_path / "file")
    report = secure_delete(path)
    assert (path.exists(), report.renamed) == (False, False)
    assert "name_not_hidden:ENOSPC" in report.notes


def fail_with(number: int) -> Any:
    """A stand-in for a system call that always fails with this errno."""

    def fail(*_arguments: object, **_more: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_refused_rename_leaves_no_placeholder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the rename itself is refused the placeholder goes, and the file is unlinked under its own name."""
    monkeypatch.setattr(names, "rename_noreplace", fail_with(errno.ENOSYS))
    monkeypatch.setattr(os, "rename", fail_with(errno.EPERM))
    report = secure_delete(make(tmp_path / "file"))
    assert (report.renamed, report.unlinked) == (False, True)
    assert "name_not_hidden:EPERM" in report.notes
    assert os.listdir(tmp_path) == []


def test_no_free_name_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random names that are all taken end the search, not the run."""
    (tmp_path / "taken").touch()
    monkeypatch.setattr(names, "random_name", lambda _length: "taken")
    report = secure_delete(make(tmp_path / "file"))
    assert "name_not_hidden:EEXIST" in report.notes
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.parametrize("rename", [False, True])
def test_a_file_that_vanished_is_not_reported_as_unlinked(tmp_path: Path, *, rename: bool) -> None:
    """Somebody else's unlink during the passes is an error: the name was not ours to remove any more."""
    path = make(tmp_path / "file")
    with pytest.raises(FileAccessError) as caught:
        secure_delete(path, passes=1, rename=rename, progress=lambda *_at: path.unlink())
    assert caught.value.errno == errno.ESTALE
    assert caught.value.report.unlinked is False


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF])
def test_a_directory_that_cannot_be_flushed_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where a directory has no flush the report says that the name may come back after a crash."""
    monkeypatch.setattr(os, "fsync", fail_with(number))
    report = secure_delete(make(tmp_path / "file"))
    assert report.unlinked
    assert report.notes.count("directory_not_synced") == 1


@needs_root
def test_a_directory_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write and search permission on the directory are enough; that it cannot be flushed is noted."""
    make(tmp_path / "file")
    os.chown(tmp_path / "file", 65534, 65534)
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o300)
    os.seteuid(65534)
    try:
        report = secure_delete("file")
    finally:
        os.seteuid(0)
        tmp_path.chmod(0o700)
    assert report.unlinked
    assert "directory_not_synced" in report.notes


# ---- failures ----


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_symlink_that_cannot_be_unlinked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, dry_run: bool) -> None:
    """A refused unlink of a link is a FileAccessError; a dry run does not even try."""
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    monkeypatch.setattr(os, "unlink", fail_with(errno.EPERM))
    if dry_run:
        assert secure_delete(link, dry_run=True).unlinked is False
    else:
        assert refused(link, "permission").errno == errno.EPERM
    assert link.is_symlink()


@pytest.mark.parametrize(("call", "step"), [("fstat", "cannot be examined"), ("stat", "cannot look at it")])
def test_a_file_that_cannot_be_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, step: str) -> None:
    """Questions that get no answer end in a refusal, not in a guess."""
    path = make(tmp_path / "file")
    if call == "fstat":
        monkeypatch.setattr(steps, "read_facts", fail_with(errno.EIO))
    else:
        monkeypatch.setattr(os, "stat", fail_with(errno.EIO))
    error = refused(path, "permission")
    monkeypatch.undo()
    assert (error.errno, step in str(error)) == (errno.EIO, True)
    assert path.stat().st_size == 5000


def test_verify_without_direct_reads_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where O_DIRECT is refused the cache is dropped and the comparison runs, but nothing is called verified."""
    monkeypatch.setattr(steps, "set_direct", lambda _fd, *, wanted: wanted and False)
    dropped: list[object] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: dropped.append(arguments[1:]))
    path = make(tmp_path / "file", 2 << 20)
    expected = secure_delete(path, dry_run=True, passes=1, verify=True).plan
    assert expected is not None
    report = secure_delete(path, passes=1, verify=True)
    assert (report.verified, report.direct) == (False, False)
    assert report.verdict == ("overwritten" if expected.verdict == "overwritten_verified" else "not_in_place")
    assert "verify_cached" in report.notes
    assert dropped == [(0, 0, os.POSIX_FADV_DONTNEED)]


@pytest.mark.parametrize(
    ("changes", "verdict", "verified"),
    [
        ({}, "overwritten_verified", True),
        ({"extents": ExtentMap(frozenset({"shared"}))}, "not_in_place", True),
        ({"data_journal": True}, "not_in_place", False),
        ({"data_journal": None}, "not_in_place", False),
        ({"extents": ExtentMap(frozenset({"encoded"}))}, "not_in_place", False),
        ({"file_system": "tmpfs"}, "not_in_place", False),
    ],
)
def test_direct_reads_verify_only_where_they_are_known_to_reach_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], verdict: str, *, verified: bool
) -> None:
    """O_DIRECT that is granted and may be ignored is no verification; shared extents do not hinder it."""
    path = make(tmp_path / "file", 8192)
    pieces = ExtentMap()
    pieces.add(0, 1 << 20, 8192)
    good = FileFacts(8192, 8192, 1, "ext4", data_journal=False, extents=pieces, media=Media())
    facts = replace(good, **changes)
    if facts.extents is not None and facts.extents is not pieces:
        facts.extents.add(0, 1 << 20, 8192)
    monkeypatch.setattr(steps, "read_facts", lambda *_arguments: facts)
    monkeypatch.setattr(steps, "read_extents", lambda _fd, **_keywords: pieces)
    monkeypatch.setattr(steps, "set_direct", lambda _fd, *, wanted: wanted)
    result = SpanResult(8192, 0, direct=True, different=False)
    monkeypatch.setattr(SpanWriter, "compare", lambda *_arguments, **_more: result)
    report = secure_delete(path, passes=1, verify=True)
    assert (report.verdict, report.verified) == (verdict, verified)
    assert ("verify_cached" in report.notes) is not verified


def test_a_failing_read_back_is_not_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO while reading back: an error, the file in place, nothing verified."""
    result = SpanResult(4096, errno.EIO, direct=True, different=False)
    monkeypatch.setattr(SpanWriter, "compare", lambda *_arguments, **_more: result)
    path = make(tmp_path / "file")
    with pytest.raises(FileAccessError, match="read failed") as caught:
        secure_delete(path, passes=1, verify=True)
    assert (caught.value.report.verified, caught.value.report.verdict) == (False, "not_in_place")
    assert path.exists()


def test_no_memory_for_buffers_or_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without buffers, or a locked key where that must be, nothing is written, and the buffers do not leak."""
    path = make(tmp_path / "file")
    before = path.read_bytes()
    monkeypatch.setattr(_lib, "new_handle", lambda *_arguments: (_ for _ in ()).throw(LockLimitError("injected")))
    monkeypatch.setattr(_lib, "_policy", "strict")
    with pytest.raises(LockLimitError, match="injected"):
        secure_delete(path)
    with pytest.raises(MemoryError, match="smaller chunk_size"):
        SpanWriter(4095, Pattern("zeros", b"\0"))
    assert path.read_bytes() == before


def test_a_wrong_span_is_an_error_of_ours(tmp_path: Path) -> None:
    """The core refuses a span that does not begin at a block, and that is not taken for a disk error."""
    path = make(tmp_path / "file")
    with path.open("r+b") as file, closing(SpanWriter(4096, Pattern("zeros", b"\0"))) as writer:
        with pytest.raises(SecureMemoryError, match="internal error"):
            writer.write(file.fileno(), 1, 2, 1, direct=False)
        writer.close()


def test_set_direct_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal of O_DIRECT leaves the state and is told; on a system without it the answer is no."""
    calls: list[int] = []

    def refuse(_fd: int, command: int, flags: int = 0) -> int:
        calls.append(flags)
        if command == passes.fcntl.F_SETFL:
            raise OSError(errno.EINVAL, "injected")
        return os.O_RDWR

    monkeypatch.setattr(passes.fcntl, "fcntl", refuse)
    assert set_direct(0, wanted=True) is False
    assert calls == [0, os.O_RDWR | os.O_DIRECT]
    monkeypatch.setattr(passes, "_O_DIRECT", 0)
    assert set_direct(0, wanted=True) is False
    monkeypatch.undo()
    assert secure_delete(make(tmp_path / "file", 2 << 20), passes=1).unlinked


def test_a_failing_write_leaves_the_file_and_says_how_far_it_came(tmp_path: Path) -> None:
    """EFBIG in the middle of a pass: FileAccessError with the bytes written; the file stays with its size."""
    path, limit = make(tmp_path / "file", 262_144), 65_536
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(FileAccessError) as caught:
            secure_delete(path, passes=2, pattern="zeros")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    report = caught.value.report
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert [each.bytes_written for each in report.passes] == [limit]
    assert (report.verdict, report.unlinked) == ("not_in_place", False)
    assert "failed:write:EFBIG" in report.reasons
    assert "write failed" in str(report)
    assert path.stat().st_size == 262_144
    assert path.read_bytes()[:limit] == bytes(limit)


def test_a_failing_flush_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO from the flush: FileAccessError, the pass is reported as not synced, the file stays."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    path = make(tmp_path / "file")
    monkeypatch.setattr(steps, "flush", fail)
    with pytest.raises(FileAccessError) as caught:
        secure_delete(path)
    report = caught.value.report
    assert caught.value.errno == errno.EIO
    assert [(each.bytes_written >= 5000, each.synced) for each in report.passes] == [(True, False)]
    assert report.verdict == "not_in_place"
    assert path.stat().st_size == 5000


def test_a_failing_directory_flush_after_the_unlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is gone, so this is no FileAccessError, and the report says that it is unlinked."""

    def fail(_directory: int) -> bool:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(names, "sync_directory", fail)
    with pytest.raises(SecureWipeError, match="directory could not be flushed") as caught:
        secure_delete(make(tmp_path / "file"), rename=False)
    assert not isinstance(caught.value, FileAccessError)
    assert caught.value.report.unlinked
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [5000, 3 << 20])
def test_verify_finds_a_changed_byte(tmp_path: Path, size: int) -> None:
    """A byte that changed after the pass is found; the file stays and is not called overwritten."""
    path = make(tmp_path / "file", size)

    def corrupt(done: int, total: int) -> None:
        if done == total // 2:
            with path.open("r+b") as file:
                file.seek(size - 7)
                file.write(b"\x01")

    with pytest.raises(FileAccessError, match="not what was written") as caught:
        secure_delete(path, passes=1, pattern="zeros", verify=True, progress=corrupt)
    assert caught.value.report.verdict == "not_in_place"
    assert "verify_mismatch" in caught.value.report.reasons
    assert path.exists()


def test_a_file_that_grows_is_not_called_overwritten(tmp_path: Path) -> None:
    """Bytes that were appended during the passes were seen by none."""
    path = make(tmp_path / "file")

    def append(_done: int, _total: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    report = secure_delete(path, passes=1, progress=append)
    assert (report.verdict, "changed_size" in report.reasons) == ("not_in_place", True)


@gives_all_back
@pytest.mark.parametrize("exception", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_the_file_and_nothing_else(tmp_path: Path, exception: type[BaseException]) -> None:
    """Ctrl-C between spans: the file stays, no descriptor and no stream key is left over."""

    def stop(_done: int, _total: int) -> None:
        raise exception

    path = make(tmp_path / "file")
    with pytest.raises(exception):
        secure_delete(path, progress=stop)
    assert path.stat().st_size == 5000


def test_an_interruption_leaves_no_random_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C once the old name is gone: nobody would look for the new one, and it goes, too."""
    hide = steps.FileRun.hide

    def interrupted(run: steps.FileRun, length: int) -> bool:
        hide(run, length)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps.FileRun, "hide", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        secure_delete(make(tmp_path / "file"))
    report = getattr(caught.value, "report", None)
    assert isinstance(report, ShredReport)
    assert (report.verdict, report.renamed, report.unlinked) == ("not_in_place", True, True)
    assert os.listdir(tmp_path) == []


def test_an_interruption_carries_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second of three passes: the report on the exception knows both, and calls nothing overwritten."""
    monkeypatch.setattr(steps, "SPAN_BYTES", 4096)

    def stop(done: int, _total: int) -> None:
        if done >= 8192 + 4096:
            raise KeyboardInterrupt

    path = make(tmp_path / "file", 8192)
    with pytest.raises(KeyboardInterrupt) as caught:
        secure_delete(path, progress=stop)
    report = getattr(caught.value, "report", None)
    assert isinstance(report, ShredReport)
    assert (report.verdict, report.unlinked, report.error) == ("not_in_place", False, "interrupted")
    assert "failed:interrupted" in report.reasons
    assert (len(report.passes), report.full_passes) == (2, 1)
    assert path.exists()


@gives_all_back
def test_nothing_is_left_open(tmp_path: Path) -> None:
    """Success, refusal and failure all close what they opened and wipe their keys."""
    secure_delete(make(tmp_path / "file"), verify=True)
    secure_delete(tmp_path / "missing")
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "fifo")
    with pytest.raises(IsADirectoryError):
        secure_delete(tmp_path)


# ---- arguments ----


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"passes": -1}, ValueError, "passes must be 0 to 1000, not -1"),
        ({"passes": 1001}, ValueError, "passes"),
        ({"passes": True}, TypeError, "passes"),
        ({"passes": 1.0}, TypeError, "passes must be a whole number, not float"),
        ({"passes": "3"}, TypeError, "passes"),
        ({"pattern": "gutman"}, ValueError, "'gutman'"),
        ({"pattern": b""}, ValueError, "pattern must be 1 to"),
        ({"pattern": bytes((1 << 20) + 1)}, ValueError, "pattern must be 1 to"),
        ({"pattern": 0}, TypeError, "pattern must be str or bytes, not int"),
        ({"pattern": None}, TypeError, "pattern"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, not 0"),
        ({"chunk_size": 4096.0}, TypeError, "chunk_size"),
        ({"verify": "no"}, ValueError, "verify must be True, False or 'device', not 'no'"),
        ({"verify": 1}, TypeError, "verify must be True, False or 'device', not int"),
        ({"keep": 1}, TypeError, "keep must be True or False, not int"),
        ({"scheme": "dod"}, ValueError, "scheme must be one of .*gutmann.*; not 'dod'"),
        ({"scheme": 7}, TypeError, "scheme must be str or None, not int"),
        ({"scheme": "gost", "passes": 1}, ValueError, "leave passes and pattern out"),
        ({"sync": 1}, TypeError, "sync"),
        ({"progress": 5}, TypeError, "progress must be callable or None, not int"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """A wrong argument is named and nothing is touched, also when the path is missing."""
    path = make(tmp_path / "file")
    before = path.read_bytes()
    for each in (path, tmp_path / "missing"):
        with pytest.raises(error, match=words):
            secure_delete(each, **arguments)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("path", "error"), [(None, TypeError), (3, TypeError), ("", ValueError), ("a\0b", ValueError)])
def test_bad_paths(path: Any, error: type[Exception]) -> None:
    """What is no path is refused by its type or value."""
    with pytest.raises(error):
        secure_delete(path)


def test_kinds_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """str, bytes, Path, relative, and names that are not UTF-8 all work."""
    monkeypatch.chdir(tmp_path)
    raw = os.fsencode(tmp_path) + b"/\xff\xfe"
    for path in ("relative", b"relative", tmp_path / "absolute", raw):
        with open(path, "wb") as file:
            file.write(b"x" * 100)
        report = secure_delete(path)
        assert report.unlinked
        json.dumps(report.to_dict())
    assert os.listdir(tmp_path) == []
