"""shred_tree: everything in a directory goes, nothing outside is touched, and the report is true."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.children import Child, need_root
from support.loops import LoopDevices

from zeroizepy.file import ShredReport, shred_tree
from zeroizepy.shred import batch, calls, folders, steps, trees
from zeroizepy.shred.walk import Walker

if TYPE_CHECKING:
    from collections.abc import Iterator

# On storage that does not overwrite in place each call warns, which is not what these tests are about.
pytestmark = [
    pytest.mark.filterwarnings("ignore:old bytes of:UserWarning"),
    pytest.mark.usefixtures("no_descriptor_stays"),
]

SIZES = [0, 1, 59, 4095, 4096, 4097, (1 << 20) + 1]
WRITTEN = ("overwritten", "not_in_place")
"""What a pass that was not verified gives, by the file system that the tests run on."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a tree, beside other things."""
    path = tmp_path / "root"
    path.mkdir()
    return path


def fill(root: Path, files: int = 60, size: int = 3000) -> int:
    """A tree of so many files, some levels deep. Returns how many directories it has, the root included."""
    made = {root}
    for number in range(files):
        folder = root / f"a{number % 3}" / f"b{number % 6}"
        folder.mkdir(parents=True, exist_ok=True)
        made |= {folder, folder.parent}
        (folder / f"file-{number:04d}").write_bytes(b"secret content. " * (size // 16))
    return len(made)


def done(report: Any) -> int:
    """Files that were overwritten, whatever the file system allows to be said of it."""
    return sum(report.verdicts.get(verdict, 0) for verdict in WRITTEN)


# ---- what goes ----


def test_all_of_a_tree_goes(root: Path, tmp_path: Path) -> None:
    """Files of all sizes in folders of some depth: gone, counted, each with a report, and the root with them."""
    count = fill(root)
    for size in SIZES:
        (root / f"size-{size}").write_bytes(b"x" * size)
    reports: list[ShredReport] = []
    report = shred_tree(root, passes=2, on_report=reports.append)
    assert os.listdir(tmp_path) == []
    assert (report.files, report.unlinked, done(report)) == (67, 67, 66)
    assert report.verdicts["nothing_to_overwrite"] == 1
    assert (report.directories_removed, report.directories_left) == (count, 0)
    assert (report.failed, report.failures, report.error, report.complete) == (0, (), None, True)
    assert report.size_bytes == sum(SIZES) + 60 * 2992
    assert min(each.path for each in reports) == str(root / "a0" / "b0" / "file-0000")
    assert all(len(each.passes) == 2 and all(one.synced for one in each.passes) for each in reports if each.size_bytes)


def test_small_and_large_files_are_overwritten(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through second names outside, each file shows other bytes than before, and other bytes than any other file."""
    monkeypatch.setattr(trees, "_ALONE_BYTES", 50_000)
    sizes = [4096] * 30 + [60_000, 100, 200_000]
    for number, size in enumerate(sizes):
        (root / f"{number}").write_bytes(b"secret content. " * (size // 16 + 1))
        os.truncate(root / f"{number}", size)
        os.link(root / f"{number}", tmp_path / f"witness-{number}")
    report = shred_tree(root, passes=1, verify=True, allow_hard_links=True)
    contents = [(tmp_path / f"witness-{number}").read_bytes() for number in range(len(sizes))]
    assert [len(content) for content in contents] == sizes
    assert not any(b"secret content." in content for content in contents)
    assert len({content[:100] for content in contents}) == len(sizes)
    assert report.notes["hard_links_remain:1"] == len(sizes)
    assert not root.exists()


def test_two_names_of_one_file_in_the_tree(root: Path) -> None:
    """Both names go, the second as a file with one name; verified, since neither pass runs into the other."""
    (root / "one").write_bytes(b"x" * 5000)
    for name in ("two", "three"):
        os.link(root / "one", root / name)
    for number in range(20):
        (root / f"other-{number}").write_bytes(b"y" * 5000)
    report = shred_tree(root, passes=1, verify=True, allow_hard_links=True)
    assert (report.unlinked, report.failed, root.exists()) == (23, 0, False)


def test_what_is_no_file_is_unlinked_itself(root: Path, tmp_path: Path) -> None:
    """Links, FIFOs and sockets go, nothing behind them is touched, and nothing waits for a reader."""
    canary, folder = tmp_path / "canary", tmp_path / "folder"
    canary.write_text("canary")
    folder.mkdir()
    (folder / "inside").write_text("canary")
    (root / "link").symlink_to(canary)
    (root / "folder-link").symlink_to(folder)
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)  # A path to bind to may not be as long as this one can be.
    report = shred_tree(root)
    assert not root.exists()
    assert canary.read_text() == (folder / "inside").read_text() == "canary"
    assert report.verdicts == {"nothing_to_overwrite": 5}
    assert report.reasons == {"symlink": 3, "fifo": 1, "socket": 1}


def test_a_device_node_goes_and_its_device_stays(root: Path, tmp_path: Path) -> None:
    """The node of a loop device is unlinked; the image behind it keeps its bytes."""
    loops = LoopDevices()
    image = tmp_path / "image"
    image.write_bytes(b"canary" * 100_000)
    try:
        os.mknod(root / "node", 0o600 | stat.S_IFBLK, os.stat(loops.attach(image)).st_rdev)
        report = shred_tree(root)
    finally:
        loops.close()
    assert (report.reasons, root.exists()) == ({"device": 1}, False)
    assert image.read_bytes() == b"canary" * 100_000


def test_without_openat2(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On kernels that lack the call, each name is opened by itself, and the same goes and stays."""

    def missing(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(calls, "open_beneath", missing)
    count = fill(root)
    (tmp_path / "canary").write_text("canary")
    (root / "link").symlink_to(tmp_path / "canary")
    report = shred_tree(root, passes=1)
    assert (report.unlinked, report.directories_removed, report.failed) == (61, count, 0)
    assert os.listdir(tmp_path) == ["canary"]
    assert (tmp_path / "canary").read_text() == "canary"


def test_a_deep_tree(tmp_path: Path) -> None:
    """More levels than a path can name are removed, with the few descriptors that a shell has by default."""
    program = """
    import os, resource, sys, warnings
    from zeroizepy.file import shred_tree
    warnings.simplefilter("ignore")
    os.mkdir(sys.argv[1])
    fd = os.open(sys.argv[1], os.O_RDONLY)
    for number in range(1500):
        with os.fdopen(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as file:
            file.write(b"x" * 100)
        os.mkdir("directory", dir_fd=fd)
        inner = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120))
    report = shred_tree(sys.argv[1], passes=1)
    print(report.unlinked, report.directories_removed, report.failed, os.path.exists(sys.argv[1]))
    """
    path = tmp_path / "deep"
    try:
        assert Child("auto").check(program, str(path)).split() == ["1500", "1501", "0", "False"]
    finally:
        subprocess.run(["rm", "-rf", path], check=True)


def test_memory_does_not_grow_with_the_tree(tmp_path: Path) -> None:
    """Forty times as many files take no more memory, however many reports are made on the way."""
    memory = "/dev/shm"  # noqa: S108 - a fast file system; what is made there has a random name.
    folder = memory if os.access(memory, os.W_OK) else str(tmp_path)
    program = """
    import os, resource, sys, tempfile, warnings
    from zeroizepy.file import shred_tree
    warnings.simplefilter("ignore")
    def run(count):
        path = tempfile.mkdtemp(dir=sys.argv[1])
        for number in range(count):
            with open(f"{path}/{number}", "wb") as file:
                file.write(b"x" * (number % 3))
        report = shred_tree(path, passes=1, rename=False)
        assert (report.unlinked, os.path.exists(path)) == (count, False)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = run(1500)
    print((run(60_000) - before) // 1024)
    """
    assert int(Child("auto").check(program, folder)) <= 6


# ---- what is left alone ----


@pytest.mark.parametrize("name", [".", "..", "/", "root/.", "root/.."])
def test_paths_that_are_no_name(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that does not end in the directory's own name is refused before anything is opened."""
    monkeypatch.chdir(root.parent)
    with pytest.raises(ValueError, match="own name"):
        shred_tree(name)
    assert root.exists()


def test_a_file_is_for_secure_delete(root: Path) -> None:
    """A file or a link instead of a directory: NotADirectoryError that says what takes it."""
    path = root / "file"
    path.write_text("x")
    with pytest.raises(NotADirectoryError, match="secure_delete"):
        shred_tree(path)
    (root / "link").symlink_to(root)
    with pytest.raises(NotADirectoryError, match="symbolic link"):
        shred_tree(root / "link")
    assert sorted(os.listdir(root)) == ["file", "link"]


def test_a_missing_directory_is_a_report(tmp_path: Path) -> None:
    """Nothing to do, and the report says so."""
    for path in (tmp_path / "missing", tmp_path / "missing" / "below"):
        report = shred_tree(path)
        assert (report.existed, report.files, report.failed) == (False, 0, 0)
        assert "no such directory" in str(report)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"passes": -1}, ValueError),
        ({"scheme": "unknown"}, ValueError),
        ({"pattern": b""}, ValueError),
        ({"keep_directories": 1}, TypeError),
        ({"one_file_system": "no"}, TypeError),
        ({"on_report": 5}, TypeError),
        ({"progress": 5}, TypeError),
        ({"journal": ""}, ValueError),
        ({"journal": "j", "dry_run": True}, ValueError),
    ],
)
def test_bad_arguments(root: Path, arguments: dict[str, Any], error: type[Exception]) -> None:
    """Each is refused by name, before anything is touched."""
    fill(root, 3)
    with pytest.raises(error, match=next(iter(arguments))):
        shred_tree(root, **arguments)
    assert len(list(root.rglob("file-*"))) == 3


def test_a_dry_run_changes_nothing(root: Path) -> None:
    """Every name, size and time stays; the report counts what would be."""
    fill(root)
    (root / "link").symlink_to("x")
    before = {path: path.lstat() for path in root.rglob("*")}
    report = shred_tree(root, dry_run=True)
    after = {path: path.lstat() for path in root.rglob("*")}
    assert {path: (s.st_ino, s.st_size, s.st_mtime_ns) for path, s in after.items()} == {
        path: (s.st_ino, s.st_size, s.st_mtime_ns) for path, s in before.items()
    }
    assert (report.dry_run, done(report), report.files, report.unlinked) == (True, 60, 61, 0)
    assert "would shred 61 files" in str(report)


def test_directories_can_be_kept(root: Path) -> None:
    """All files go, all directories stay under their names."""
    fill(root)
    names = sorted(str(path) for path in root.rglob("*") if path.is_dir())
    report = shred_tree(root, passes=1, keep_directories=True)
    assert sorted(str(path) for path in root.rglob("*")) == names
    assert (report.unlinked, report.directories_removed, report.directories_left, report.complete) == (60, 0, 0, True)


def test_one_failing_file_does_not_stop_the_rest(root: Path, tmp_path: Path) -> None:
    """What is refused stays with the directories above it, and is reported; all else goes."""
    count = fill(root)
    linked, locked = root / "a0" / "b0" / "linked", root / "a1" / "locked"
    linked.write_text("x")
    os.link(linked, tmp_path / "outside")
    locked.write_text("x")
    locked.chmod(0o400)
    report = shred_tree(root, passes=1)
    assert sorted(path for path in root.rglob("*") if not path.is_dir()) == [linked, locked]
    assert (report.unlinked, report.failed, report.verdicts["refused"], report.complete) == (60, 2, 2, False)
    assert {each.path: each.reasons for each in report.failures} == {
        str(linked): ("hard_links",),
        str(locked): ("read_only",),
    }
    left = {root, root / "a0", root / "a0" / "b0", root / "a1"}
    assert {path for path in (root, *root.rglob("*")) if path.is_dir()} == left
    assert (report.directories_left, report.directories_removed) == (len(left), count - len(left))
    assert (tmp_path / "outside").read_text() == "x"


def test_an_immutable_file_is_reported(root: Path) -> None:
    """chattr +i on one file: that one stays, by its reason."""
    need_root()
    fill(root)
    path = root / "immutable"
    path.write_text("x")
    if subprocess.run(["chattr", "+i", path], check=False, capture_output=True).returncode:
        pytest.skip("needs a file system with the immutable attribute, and chattr")
    try:
        report = shred_tree(root, passes=1)
        assert [each.reasons for each in report.failures] == [("immutable",)]
        assert os.listdir(root) == ["immutable"]
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


def test_what_another_user_may_not_read_is_left() -> None:
    """A directory that cannot be read is a failure with its path; the rest goes."""
    need_root()
    program = """
    import os, sys, tempfile, warnings
    from pathlib import Path
    from zeroizepy.file import shred_tree
    warnings.simplefilter("ignore")
    # What is imported on the way may be out of the other user's reach.
    first = Path(tempfile.mkdtemp())
    (first / "file").write_text("x")
    shred_tree(first)
    os.setgid(65534); os.setuid(65534)
    report = shred_tree(sys.argv[1], passes=1)
    print(report.unlinked, report.directories_left, [(each.path, each.reasons) for each in report.failures])
    """
    path = Path("/tmp") / f"zpy-{os.urandom(6).hex()}"  # noqa: S108 - must be reached by another user.
    try:
        (path / "closed").mkdir(parents=True)
        (path / "open").mkdir()
        for each in (path / "closed" / "file", path / "open" / "file"):
            each.write_text("x" * 100)
            os.chown(each, 65534, 65534)
        os.chown(path, 65534, 65534)
        os.chown(path / "open", 65534, 65534)
        (path / "closed").chmod(0o700)
        out = Child("auto").check(program, str(path))
        assert out.strip() == f"1 2 [('{path}/closed', ('permission',))]"
        assert (path / "closed" / "file").read_text() == "x" * 100
    finally:
        subprocess.run(["rm", "-rf", path], check=True)


def test_mount_points_are_left_alone(root: Path, tmp_path: Path) -> None:
    """Other file systems and bound files and folders inside keep what they hold; with one_file_system=False they go."""
    need_root()
    fill(root)
    canary, other = tmp_path / "canary", tmp_path / "other"
    canary.write_text("canary")
    other.mkdir()
    (other / "inside").write_text("canary")
    (root / "mounted").mkdir()
    (root / "bound").mkdir()
    (root / "bound-file").write_text("under the mount")
    mounts = (
        ["-t", "tmpfs", "-o", "size=64k", "tmpfs", root / "mounted"],
        ["--bind", other, root / "bound"],
        ["--bind", canary, root / "bound-file"],
    )
    mounted = []
    try:
        for arguments in mounts:
            subprocess.run(["mount", *map(str, arguments)], check=True)
            mounted.append(arguments[-1])
        (root / "mounted" / "file").write_text("canary")
        report = shred_tree(root, passes=1)
        assert {each.path: each.reasons for each in report.failures} == {
            str(root / name): ("mount_point",) for name in ("mounted", "bound", "bound-file")
        }
        assert {path.read_text() for path in (canary, other / "inside", root / "mounted" / "file")} == {"canary"}
        assert (report.unlinked, report.directories_left) == (60, 3)
        subprocess.run(["umount", mounted.pop()], check=True)
        report = shred_tree(root, passes=1, one_file_system=False)
        assert os.listdir(other) == os.listdir(root / "mounted") == []
        assert report.unlinked == 3
    finally:
        for point in reversed(mounted):
            subprocess.run(["umount", point], check=True)


# ---- what happens meanwhile ----


def test_files_that_come_meanwhile_go_too(root: Path) -> None:
    """A directory that is not empty in the end is read again, until it is."""
    fill(root, 10)
    made = []

    def add(report: ShredReport) -> None:
        if len(made) < 25:
            made.append(report.path)
            folder = root / f"new-{len(made) % 3}"
            folder.mkdir(exist_ok=True)
            (folder / f"file-{len(made)}").write_text("x")
            (root / f"more-{len(made)}").write_text("x")

    report = shred_tree(root, passes=1, on_report=add)
    assert (report.unlinked, report.failed, root.exists()) == (60, 0, False)


def test_somebody_who_goes_on_adding_does_not_hold_it_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends after so many rounds, and says what stays."""
    (root / "first").write_text("x")
    events = Walker.events

    def adding(walker: Walker) -> Iterator[Any]:
        for event in events(walker):
            yield event
            (root / f"more-{os.urandom(8).hex()}").write_text("")

    monkeypatch.setattr(Walker, "events", adding)
    monkeypatch.setattr(folders, "_ROUNDS", 5)
    report = shred_tree(root, passes=1)
    assert [each.reasons for each in report.failures] == [("not_empty",)]
    assert (report.directories_left, root.exists()) == (1, True)
    assert report.unlinked >= 5


def test_interruption_is_told(root: Path) -> None:
    """Ctrl-C in the middle: the exception carries the report, and nothing is lost that was not done."""
    fill(root, 60)
    seen = []

    def progress(files: int, _written: int) -> None:
        seen.append(files)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        shred_tree(root, passes=3, progress=progress)
    report = vars(caught.value)["report"]
    assert (report.error, report.unlinked, report.complete) == ("interrupted", 0, False)
    assert report.reasons["failed:interrupted"] == 60
    assert len(list(root.rglob("file-*"))) == 60
    assert {each.verdict for each in report.failures} == {"not_in_place"}
    assert shred_tree(root, passes=1).complete


def test_progress_counts_up(root: Path) -> None:
    """Files and bytes never go back, and end at what was written."""
    fill(root, 30, 4000)
    seen: list[tuple[int, int]] = []
    report = shred_tree(root, passes=2, verify=True, progress=lambda *both: seen.append(both))
    assert seen == sorted(seen)
    assert seen[-1][0] == 30
    assert seen[-1][1] == report.bytes_written * 3 // 2


def test_a_run_with_few_descriptors(root: Path) -> None:
    """The batch fits into what RLIMIT_NOFILE leaves."""
    fill(root, 200)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 60, hard))
    try:
        report = shred_tree(root, passes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (report.unlinked, report.failed) == (200, 0)


def test_without_threads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, the same is done."""

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    fill(root, 60)
    report = shred_tree(root, passes=1, pattern="zeros")
    assert (report.unlinked, report.failed, root.exists()) == (60, 0, False)


def test_what_goes_wrong_in_a_helper_ends_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no failure of a file is raised, whichever thread met it, with the report."""

    def failing(*_: object) -> list[int]:
        assert threading.current_thread() is not threading.main_thread()
        raise MemoryError

    monkeypatch.setattr(calls, "truncate_files", failing)
    monkeypatch.setattr(trees, "_BATCH_FILES", 20)
    fill(root, 60)
    descriptors = len(os.listdir("/dev/fd"))
    with pytest.raises(MemoryError) as caught:
        shred_tree(root, passes=1)
    assert vars(caught.value)["report"].unlinked == 0
    assert len(list(root.rglob("file-*"))) == 60
    assert len(os.listdir("/dev/fd")) == descriptors


def test_one_file_that_cannot_be_cut(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays, by its name, with its error; the others of the batch go."""
    cut = calls.truncate_files

    def failing(fds: list[int], threads: int) -> list[int]:
        return [errno.EIO, *cut(fds[1:], threads)]

    monkeypatch.setattr(calls, "truncate_files", failing)
    fill(root, 30)
    report = shred_tree(root, passes=1)
    (failure,) = report.failures
    assert (failure.unlinked, failure.reasons[-1]) == (False, "failed:remove:EIO")
    assert os.path.getsize(failure.path) > 0
    assert report.unlinked == 29


def test_one_warning_for_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who does not look at the report hears once that old bytes may remain, at his own line."""
    fill(root)
    monkeypatch.setattr(trees, "warning_text", lambda plan: f"old bytes of {plan.path} may remain")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shred_tree(root, passes=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__


# ---- flushes ----


def counted(monkeypatch: pytest.MonkeyPatch, *, fails_at: int = 0) -> dict[str, int]:
    """Count the flushes; the shared one fails from the given number on."""
    count = {"shared": 0, "own": 0}
    sync, flush = calls.sync_file_system, batch.flush

    def shared(fd: int) -> None:
        count["shared"] += 1
        if fails_at and count["shared"] >= fails_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(fd)

    def own(fd: int) -> None:
        count["own"] += 1
        flush(fd)

    monkeypatch.setattr(calls, "sync_file_system", shared)
    monkeypatch.setattr(batch, "flush", own)
    monkeypatch.setattr(steps, "flush", own)
    return count


@pytest.mark.parametrize("passes", [1, 3])
def test_flushes_are_shared(root: Path, monkeypatch: pytest.MonkeyPatch, passes: int) -> None:
    """One flush for each pass, for the cut, for each name and for the unlink, however many files there are."""
    if not batch.can_share(["ext4"]):
        pytest.skip("needs Linux 5.8: syncfs that tells of failed writes")
    monkeypatch.setattr(batch, "_SHARING", batch._SHARING | {"unknown"})
    count = counted(monkeypatch)
    for number in range(100):
        (root / f"name-{number:03d}").write_bytes(b"x" * 100)
    report = shred_tree(root, passes=passes)
    names = 4  # 8, 8, 4 letters, and 2, where a hundred names are free enough.
    assert report.unlinked == 100
    assert count["shared"] == passes + 1 + names + 1
    assert count["own"] == count["shared"]


def test_when_the_shared_flush_fails_each_file_has_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the whole file system need not be one of ours: each file is asked, and those that are well go."""
    monkeypatch.setattr(batch, "_SHARING", batch._SHARING | {"unknown"})
    count = counted(monkeypatch, fails_at=1)
    fill(root, 40)
    report = shred_tree(root, passes=2)
    assert (report.unlinked, report.failed, root.exists()) == (40, 0, False)
    assert count["own"] >= 3 * 40


def test_the_file_whose_flush_fails_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch in which one file cannot be flushed, that one stays, by its name; the others go."""
    counted(monkeypatch, fails_at=1)
    fill(root, 40)
    bad = (root / "a0" / "b0" / "file-0000").stat().st_ino
    flush = batch.flush

    def failing(fd: int) -> None:
        if os.fstat(fd).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(fd)

    monkeypatch.setattr(steps, "flush", failing)
    report = shred_tree(root, passes=2)
    (failure,) = report.failures
    assert failure.path == str(root / "a0" / "b0" / "file-0000")
    assert (failure.verdict, failure.reasons[-1], failure.unlinked) == ("not_in_place", "failed:flush:EIO", False)
    assert [each.synced for each in failure.passes] == [False]
    assert [path.name for path in root.rglob("file-*")] == ["file-0000"]
    assert report.unlinked == 39


@pytest.mark.parametrize(("release", "tells"), [("5.7.19", False), ("5.8.0-rc1", True), ("6.18", True), ("x", False)])
def test_old_kernels_flush_each_file(monkeypatch: pytest.MonkeyPatch, release: str, *, tells: bool) -> None:
    """Before Linux 5.8 syncfs does not tell of failed writes, and is not relied on."""
    monkeypatch.setattr(batch.platform, "release", lambda: release)
    monkeypatch.setattr(batch.platform, "system", lambda: "Linux")
    assert batch.can_share(["ext4", "xfs"]) is tells
    assert not batch.can_share(["ext4", "nfs4"])


@pytest.mark.parametrize("path", [f"/proc/{os.getpid()}", "/sys/kernel"], ids=["proc", "sys"])
def test_a_door_into_the_kernel_is_refused_at_once(path: str) -> None:
    """Below /proc and /sys nothing holds stored bytes, and nothing is even looked at."""
    if not os.path.isdir(path):
        pytest.skip(f"needs {path}")
    with pytest.raises(OSError, match="no stored bytes"):
        shred_tree(path, dry_run=True)
