"""overwrite_device, on loop devices over files of the test: every guard, what is written, what is left alone."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.children import Child
from support.loops import LoopDevices, taking_a_loop_device

from zeroizepy.exceptions import FileAccessError
from zeroizepy.file import DeviceReport, overwrite_device
from zeroizepy.shred import blockdevice, device_run
from zeroizepy.shred.blockdevice import DeviceFacts, Identity, has_swap_signature
from zeroizepy.shred.device_guards import DeviceOptions, refuse_content, refuse_use
from zeroizepy.shred.facts import Media
from zeroizepy.shred.passes import SpanResult, SpanWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
SIZE = 2 * MIB


@pytest.fixture
def loops() -> Iterator[LoopDevices]:
    """Loop devices for one test."""
    devices = LoopDevices()
    try:
        yield devices
    finally:
        devices.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file of random bytes."""
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(SIZE))
    return path


def confirmation(device: str, **options: Any) -> str:
    """What a dry run says must be confirmed."""
    text = overwrite_device(device, confirm=None, dry_run=True, **options).confirm
    assert text is not None
    return text


def unchanged_blocks(before: bytes, after: bytes) -> int:
    """How many blocks of 16 bytes are the same in both."""
    return sum(before[at : at + 16] == after[at : at + 16] for at in range(0, len(before), 16))


def refused(device: str | Path, image: Path, reason: str, *, still: bool = True, **options: Any) -> FileAccessError:
    """The refusal of a real run with the right confirmation; the image is as it was.

    One that is not still, because the kernel uses it, may change here and there.
    """
    before = image.read_bytes()
    options = {"confirm": f"{image} {len(before)}", **options}
    with pytest.raises(FileAccessError) as caught:
        overwrite_device(device, **options)
    report = caught.value.report
    assert isinstance(report, DeviceReport)
    assert report.verdict == "refused"
    assert [each.partition(":")[0] for each in report.reasons] == [reason]
    assert report.passes == ()
    after = image.read_bytes()
    assert after == before if still else unchanged_blocks(before, after) > len(before) // 16 // 2
    return caught.value


# ---- what is written ----


@pytest.mark.parametrize("size", [SIZE, SIZE + 512, 512, 9 * MIB + 3 * 512])
def test_every_block_changes_and_no_other_device(loops: LoopDevices, tmp_path: Path, size: int) -> None:
    """To the last sector, verified; another loop device keeps every byte."""
    image, other = tmp_path / "disk.img", tmp_path / "other.img"
    for path in (image, other):
        path.write_bytes(os.urandom(size))
    before, bystander = image.read_bytes(), other.read_bytes()
    device = loops.attach(image)
    loops.attach(other)
    report = overwrite_device(device, confirm=f"{image} {size}")
    assert (report.verdict, report.reasons, report.error) == ("overwritten_verified", (), None)
    assert (report.size_bytes, report.verified) == (size, True)
    assert [(each.pattern, each.bytes_written, each.synced) for each in report.passes] == [("random", size, True)]
    loops.detach(device)
    after = image.read_bytes()
    assert len(after) == size
    assert unchanged_blocks(before, after) == 0
    assert other.read_bytes() == bystander


def test_passes_patterns_and_progress(loops: LoopDevices, image: Path) -> None:
    """The last pass is what stands there; progress counts the passes and the read-back."""
    device, seen = loops.attach(image), []
    options: dict[str, Any] = {"passes": 2, "pattern": b"abc", "progress": lambda *at: seen.append(at)}
    report = overwrite_device(device, confirm=confirmation(device), **options)
    assert report.verdict == "overwritten_verified"
    assert [each.pattern for each in report.passes] == ["bytes:3", "bytes:3"]
    assert seen == [(SIZE * number, SIZE * 3) for number in (1, 2, 3)]
    loops.detach(device)
    assert image.read_bytes() == (b"abc" * SIZE)[:SIZE]


def test_without_verify(loops: LoopDevices, image: Path) -> None:
    """Then the verdict does not say verified."""
    device = loops.attach(image)
    report = overwrite_device(device, confirm=confirmation(device), verify=False)
    assert (report.verdict, report.verified) == ("overwritten", False)


def test_a_read_back_through_the_page_cache(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where O_DIRECT is refused the comparison proves nothing of the device, and the verdict does not say verified."""
    device = loops.attach(image)
    confirm = confirmation(device)
    monkeypatch.setattr(device_run, "set_direct", lambda *_arguments, **_more: False)
    report = overwrite_device(device, confirm=confirm)
    assert (report.verdict, report.verified, report.direct) == ("overwritten", False, False)
    assert "verify_cached" in report.notes


def test_large_logical_blocks(loops: LoopDevices, image: Path) -> None:
    """Blocks of 4096 bytes are written as such."""
    device = loops.attach(image, "--sector-size", "4096")
    report = overwrite_device(device, confirm=confirmation(device), pattern="ones")
    assert (report.logical_block_bytes, report.verdict) == (4096, "overwritten_verified")
    loops.detach(device)
    assert image.read_bytes() == b"\xff" * SIZE


def test_a_link_leads_to_the_device(loops: LoopDevices, image: Path, tmp_path: Path) -> None:
    """As those in /dev/disk do."""
    link = tmp_path / "by-id"
    link.symlink_to(loops.attach(image))
    assert overwrite_device(link, confirm=confirmation(str(link))).verdict == "overwritten_verified"


def test_dry_run_writes_nothing(loops: LoopDevices, image: Path) -> None:
    """It tells who the device is, what would be done, and what is not reached."""
    before = image.read_bytes()
    device = loops.attach(image)
    report = overwrite_device(device, confirm=None, dry_run=True, passes=2)
    assert (report.verdict, report.passes, report.dry_run) == (None, (), True)
    assert (report.serial, report.size_bytes, report.confirm) == (str(image), SIZE, f"{image} {SIZE}")
    assert report.steps() == (
        f"pass 1: write {SIZE} bytes of random, flush",
        f"pass 2: write {SIZE} bytes of random, flush",
        f"read {SIZE} bytes back and compare",
    )
    assert f"stacked_device:{os.path.basename(device)}" in report.notes
    loops.detach(device)
    assert image.read_bytes() == before


# ---- guards ----


@pytest.mark.parametrize("confirm", [None, "", "{image}", "{size}", "{image} {size} ", "{image}  {size}", "{image} 1"])
def test_confirmation_to_the_letter(loops: LoopDevices, image: Path, confirm: str | None) -> None:
    """Anything but the exact text is refused, and the error does not give it away."""
    text = None if confirm is None else confirm.format(image=image, size=SIZE)
    error = refused(loops.attach(image), image, "confirm_mismatch", confirm=text)
    assert str(SIZE) not in str(error.strerror)


def test_another_devices_confirmation(loops: LoopDevices, image: Path, tmp_path: Path) -> None:
    """The same size under another name is another device."""
    other = tmp_path / "other.img"
    other.write_bytes(bytes(SIZE))
    device = loops.attach(image)
    refused(device, image, "confirm_mismatch", confirm=confirmation(loops.attach(other)))


def test_mounted(loops: LoopDevices, image: Path, tmp_path: Path) -> None:
    """With the place where it is mounted."""
    device = loops.attach(image)
    loops.mount(device, tmp_path / "mnt")
    assert str(tmp_path / "mnt") in str(refused(device, image, "mounted", still=False))


def test_mounted_in_another_namespace(loops: LoopDevices, image: Path, tmp_path: Path) -> None:
    """Where our own mountinfo does not show it."""
    device, point = loops.attach(image), tmp_path / "mnt"
    point.mkdir()
    loops.run("mkfs.ext4", "-q", device)
    loops.need("unshare")
    script = f"mount {device} {point} && echo mounted && read line"
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "mounted\n":
            pytest.skip("needs mount namespaces (unshare --mount)")
        assert str(point) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        refused(device, image, "mounted", still=False)
        process.communicate("\n")


def test_what_only_the_exclusive_open_sees(
    loops: LoopDevices, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that no table shows still keeps the device from being opened."""
    device = loops.attach(image)
    loops.mount(device, tmp_path / "mnt")
    monkeypatch.setattr(blockdevice, "_mount_tables", list)
    refused(device, image, "in_use", still=False)


def test_a_file_system_with_its_own_number(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """btrfs is mounted under a number of its own: the source counts."""
    device = loops.attach(image)
    line = f"99 27 0:50 / /mnt/b\\040c rw - btrfs {device} rw"
    monkeypatch.setattr(blockdevice, "_mount_tables", lambda: [line])
    assert "/mnt/b c" in str(refused(device, image, "mounted", still=False))


@pytest.mark.usefixtures("kernel_settings")
def test_active_swap(loops: LoopDevices, image: Path) -> None:
    """Refused with allow_swap, too."""
    device = loops.attach(image)
    loops.swap(device)
    refused(device, image, "swap_active", still=False, allow_swap=True)


def test_inactive_swap_needs_its_flag(loops: LoopDevices, image: Path) -> None:
    """A swap area can hold secrets, and a hibernated system can hold work."""
    device = loops.attach(image)
    loops.run("mkswap", device)
    before = image.read_bytes()
    refused(device, image, "swap_signature")
    report = overwrite_device(device, confirm=confirmation(device, allow_swap=True), allow_swap=True)
    assert (report.verdict, report.swap_signature) == ("overwritten_verified", True)
    loops.detach(device)
    assert unchanged_blocks(before, image.read_bytes()) == 0


def test_a_partition_needs_its_flag(loops: LoopDevices, image: Path) -> None:
    """With it, its bytes change and none beside them."""
    device = loops.attach(image, "--partscan")
    partition = loops.partition(device, 1, 1024, 2048)
    before = image.read_bytes()
    refused(partition, image, "partition")
    confirm = confirmation(partition, allow_partition=True)
    assert confirm == f"{image}-part1 {MIB}"
    report = overwrite_device(partition, confirm=confirm, allow_partition=True)
    assert (report.verdict, report.partition, report.size_bytes) == ("overwritten_verified", 1, MIB)
    assert any(note.startswith("partition_only:") for note in report.notes)
    loops.detach(device)
    after = image.read_bytes()
    edges = (512 << 10, (512 << 10) + MIB)
    assert after[: edges[0]] == before[: edges[0]]
    assert after[edges[1] :] == before[edges[1] :]
    assert unchanged_blocks(before[slice(*edges)], after[slice(*edges)]) == 0


def test_a_disk_with_a_partition_in_use(loops: LoopDevices, image: Path, tmp_path: Path) -> None:
    """The whole disk is refused while one of its partitions is mounted; with none in use it is taken."""
    device = loops.attach(image, "--partscan")
    loops.mount(loops.partition(device, 1, 0, 2048), tmp_path / "mnt")
    loops.partition(device, 2, 2048, 1024)
    refused(device, image, "mounted", still=False)
    loops.run("umount", str(tmp_path / "mnt"))
    loops._undo.remove(["umount", str(tmp_path / "mnt")])
    assert overwrite_device(device, confirm=confirmation(device)).verdict == "overwritten_verified"


def test_a_partition_of_a_disk_in_use(loops: LoopDevices, image: Path, tmp_path: Path) -> None:
    """A file system on the whole disk lies under its partitions, too."""
    device = loops.attach(image, "--partscan")
    loops.mount(device, tmp_path / "mnt")
    partition = loops.partition(device, 1, 1024, 2048)
    confirm = f"{image}-part1 {MIB}"
    refused(partition, image, "mounted", still=False, allow_partition=True, confirm=confirm)


@pytest.mark.usefixtures("kernel_settings")
def test_a_disk_with_swap_on_a_partition(loops: LoopDevices, image: Path) -> None:
    """As for a mount."""
    device = loops.attach(image, "--partscan")
    loops.swap(loops.partition(device, 1, 0, 2048))
    refused(device, image, "swap_active", still=False)


def test_the_file_of_a_loop_device(loops: LoopDevices, image: Path) -> None:
    """Neither a holder nor an exclusive open shows it."""
    device = loops.attach(image)
    upper = os.path.basename(loops.attach(device))  # type: ignore[arg-type]
    assert upper in str(refused(device, image, "backs_loop"))


def test_held_by_the_device_mapper(loops: LoopDevices, image: Path) -> None:
    """A device below another is refused, and the upper one, too."""
    loops.need("dmsetup")
    device, name = loops.attach(image), f"zeroizepy-test-{os.getpid()}"
    table = f"0 {SIZE // 512} linear {device} 0"
    done = subprocess.run(["dmsetup", "create", name, "--table", table], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the device mapper: {done.stderr.splitlines()[0]}")
    loops._undo.append(["dmsetup", "remove", name])
    refused(device, image, "held")
    refused(f"/dev/mapper/{name}", image, "stacked_on")


@pytest.mark.parametrize("way", ["losetup", "blockdev"])
def test_read_only(loops: LoopDevices, image: Path, way: str) -> None:
    """By the loop device's own flag, or set on it."""
    device = loops.attach(image, *(["--read-only"] if way == "losetup" else []))
    if way == "blockdev":
        subprocess.run(["blockdev", "--setro", device], check=True)
    try:
        refused(device, image, "device_read_only")
    finally:
        if way == "blockdev":
            subprocess.run(["blockdev", "--setrw", device], check=True)


def test_another_program_has_it(loops: LoopDevices, image: Path) -> None:
    """Opened exclusively; opened in the usual way it is taken."""
    device = loops.attach(image)
    fd = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        refused(device, image, "in_use")
    finally:
        os.close(fd)
    fd = os.open(device, os.O_RDONLY)
    try:
        assert overwrite_device(device, confirm=confirmation(device)).verdict == "overwritten_verified"
    finally:
        os.close(fd)


def test_no_permission(loops: LoopDevices, image: Path) -> None:
    """Whoever may not open the device is told so."""
    device = loops.attach(image)
    code = """
    import codecs, os
    from zeroizepy.file import overwrite_device
    codecs.lookup("ascii")  # The library's own folder may be closed to others.
    os.seteuid(65534)
    try:
        overwrite_device(sys.argv[1], confirm=None, dry_run=True)
    except OSError as error:
        print(error.errno, *error.report.reasons)
    """
    assert Child("auto").check(code, device).split() == [str(errno.EACCES), "device_permission"]


def test_no_medium(loops: LoopDevices, image: Path) -> None:
    """A loop device that was detached has a size of 0."""
    device = loops.attach(image)
    with taking_a_loop_device(alone=True):
        loops.detach(device)
        refused(device, image, "empty_device")


def test_no_block_device(image: Path, tmp_path: Path) -> None:
    """Files, folders, FIFOs and character devices are refused and not opened; a missing path is the builtin error."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (image, tmp_path, fifo, "/dev/null"):
        assert refused(path, image, "not_a_device").errno == errno.ENOTBLK
    with pytest.raises(FileNotFoundError):
        overwrite_device(tmp_path / "missing", confirm=None)


# ---- the identity changes ----


def test_a_changed_size_right_before_the_first_write(
    loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused on the descriptor itself; nothing is written."""
    device = loops.attach(image)
    confirm = confirmation(device)
    real = device_run.set_direct

    def grow(fd: int, *, wanted: bool) -> bool:
        os.truncate(image, SIZE + MIB)
        loops.run("losetup", "--set-capacity", device)
        return real(fd, wanted=wanted)

    monkeypatch.setattr(device_run, "set_direct", grow)
    before = image.read_bytes()
    with pytest.raises(FileAccessError) as caught:
        overwrite_device(device, confirm=confirm)
    assert caught.value.report.reasons == ("identity_changed",)
    assert caught.value.report.verdict == "refused"
    assert image.read_bytes() == before + bytes(MIB)


def test_a_device_exchanged_before_it_was_opened(
    loops: LoopDevices, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another medium under the same number and name is not what was confirmed."""
    other = tmp_path / "other.img"
    other.write_bytes(os.urandom(SIZE))
    device = loops.attach(image)
    confirm = confirmation(device)
    real = device_run.read_device_facts

    def exchange(status: os.stat_result) -> DeviceFacts:
        facts = real(status)
        with taking_a_loop_device(alone=True):
            loops.run("losetup", "--detach", device)
            loops.run("losetup", device, str(other))
        return facts

    monkeypatch.setattr(device_run, "read_device_facts", exchange)
    refused(device, other, "confirm_mismatch", confirm=confirm)


def test_a_sequence_number_that_differs(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When sysfs speaks of another disk than the descriptor, nothing it says counts."""
    device = loops.attach(image)
    real = blockdevice._whole

    def whole(*parts: str) -> int | None:
        number = real(*parts)
        return None if number is None else number + (parts[-1] == "diskseq")

    monkeypatch.setattr(blockdevice, "_whole", whole)
    refused(device, image, "device_unknown")


@pytest.mark.parametrize("name", ["size", "ro", "queue/logical_block_size", "holders", "slaves", "dev"])
def test_an_answer_that_is_missing(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Unknown is refused, whichever answer sysfs keeps back."""
    device = loops.attach(image)
    read, listed = blockdevice._read, blockdevice._listed

    def no_file(*parts: str) -> bytes | None:
        return None if os.path.join(*parts).endswith(f"/{name}") else read(*parts)

    def no_folder(*parts: str) -> tuple[str, ...]:
        if parts[-1] == name:
            raise FileNotFoundError(errno.ENOENT, "injected")
        return listed(*parts)

    monkeypatch.setattr(blockdevice, "_read", no_file)
    monkeypatch.setattr(blockdevice, "_listed", no_folder)
    before = image.read_bytes()
    with pytest.raises(FileAccessError) as caught:
        overwrite_device(device, confirm=f"{image} {SIZE}")
    (reason,) = caught.value.report.reasons
    assert reason in {"device_unknown", "unknown_device", "device_read_only"}
    assert image.read_bytes() == before


# ---- failures ----


def test_a_failing_write(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far it came, and a verdict that old bytes may remain."""
    device = loops.attach(image)
    confirm = confirmation(device)
    answer = SpanResult(4096, errno.EIO, direct=True, different=False)
    monkeypatch.setattr(SpanWriter, "write", lambda *_arguments, **_more: answer)
    with pytest.raises(FileAccessError) as caught:
        overwrite_device(device, confirm=confirm)
    report = caught.value.report
    assert (caught.value.errno, report.verdict, report.reasons) == (errno.EIO, "not_in_place", ("failed:write:EIO",))
    assert report.passes[0].bytes_written == 4096


def test_sectors_that_fail(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are skipped and counted; what they hold is no overwrite, and nothing is read back."""
    device = loops.attach(image)
    confirm, limits = confirmation(device), []

    def write(_self: SpanWriter, *_arguments: Any, direct: bool, skip_limit: int) -> SpanResult:
        limits.append(skip_limit)
        return SpanResult(SIZE, 0, direct, different=False, skipped_bytes=1024, first_skipped=4096)

    monkeypatch.setattr(SpanWriter, "write", write)
    report = overwrite_device(device, confirm=confirm, passes=2)
    assert (report.verdict, report.reasons, report.skipped_bytes) == ("not_in_place", ("bad_sectors",), 2048)
    assert (report.verified, report.error) == (False, None)
    assert "not_read_back" in report.notes
    assert limits == [MIB, MIB - 1024]


def test_a_failing_flush(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that was not flushed does not count."""
    device = loops.attach(image)
    confirm = confirmation(device)

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(device_run, "flush", fail)
    with pytest.raises(FileAccessError) as caught:
        overwrite_device(device, confirm=confirm)
    report = caught.value.report
    assert (report.verdict, report.passes[0].synced) == ("not_in_place", False)


def test_bytes_that_are_not_what_was_written(loops: LoopDevices, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read-back finds one changed byte, and tells where."""
    device = loops.attach(image)
    confirm = confirmation(device)
    real = device_run.flush

    def damage(fd: int) -> None:
        real(fd)
        with image.open("r+b") as file:
            file.seek(MIB + 5)
            byte = file.read(1)
            file.seek(MIB + 5)
            file.write(bytes([byte[0] ^ 1]))

    monkeypatch.setattr(device_run, "flush", damage)
    with pytest.raises(FileAccessError, match=f"byte {MIB + 5} read back") as caught:
        overwrite_device(device, confirm=confirm)
    report = caught.value.report
    assert (report.verdict, report.verified) == ("not_in_place", False)
    assert "verify_mismatch" in report.reasons


def test_an_interruption(loops: LoopDevices, image: Path) -> None:
    """Ctrl-C brings the report along, and the device is free again."""
    device = loops.attach(image)

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        overwrite_device(device, confirm=confirmation(device), progress=stop)
    report = vars(caught.value)["report"]
    assert (report.verdict, report.error) == ("not_in_place", "interrupted")
    os.close(os.open(device, os.O_RDONLY | os.O_EXCL))


def test_a_kill_frees_the_device(loops: LoopDevices, tmp_path: Path) -> None:
    """SIGKILL in the middle leaves part of it overwritten and nobody holding it."""
    image = tmp_path / "big.img"
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    device = loops.attach(image)
    code = """
    from zeroizepy.file import overwrite_device
    progress = lambda *_at: print("going", flush=True)
    overwrite_device(sys.argv[1], confirm=sys.argv[2], passes=1000, progress=progress)
    """
    child = Child("auto")
    command = child.command(code, device, confirmation(device))
    with subprocess.Popen(command, env=child.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        process.kill()
    os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    with image.open("rb") as file:
        assert file.read(64 << 10).count(0) < 1000


# ---- the guards alone ----

FACTS = DeviceFacts(
    number="8:0",
    name="sda",
    disk="sda",
    partition=None,
    model="DISK",
    read_only=False,
    logical_block_bytes=512,
    media=Media("sda", rotational=True),
    lower=(),
    holders=(),
    mounts=(),
    swaps=(),
    loops=(),
)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"name": "nvme0n1", "disk": "nvme0n1"}, None),
        ({"holders": ("dm-0", "md1")}, "held:dm-0,md1"),
        ({"lower": ("sdb", "sdc")}, "stacked_on"),
        ({"name": "dm-0", "disk": "dm-0"}, "stacked_on"),
        ({"name": "md127", "disk": "md127"}, "stacked_on"),
        ({"name": "zram0", "disk": "zram0"}, "unknown_device"),
        ({"name": "mmcblk0boot0", "disk": "mmcblk0boot0"}, "unknown_device"),
        ({"name": "sda1"}, "unknown_device"),
        ({"name": "sda1", "partition": 1}, "partition"),
        ({"logical_block_bytes": None}, "unknown_device"),
        ({"logical_block_bytes": 520}, "unknown_device"),
        ({"read_only": None}, "device_read_only"),
        ({"read_only": True}, "device_read_only"),
        ({"mounts": ("/",)}, "mounted:/"),
        ({"swaps": ("/dev/sda2",)}, "swap_active:/dev/sda2"),
        ({"loops": ("loop0",)}, "backs_loop:loop0"),
    ],
)
def test_refusals(change: dict[str, Any], code: str | None) -> None:
    """Each fact alone is a reason, and nothing is refused without one."""
    refusal = refuse_use(replace(FACTS, **change), DeviceOptions(confirm=None))
    assert (refusal and refusal.code) == code


def test_no_serial_number() -> None:
    """A device that cannot be told from another is refused."""
    identity = Identity("8:0", "sda", None, 4096, 1)
    refusal = refuse_content(identity, DeviceOptions(confirm="None 4096"), swap_signature=False)
    assert refusal is not None
    assert refusal.code == "no_serial"
    assert identity.confirmation is None


@pytest.mark.parametrize(
    ("name", "content", "serial"),
    [
        ("device/serial", b"S3Z9NB0K\n", "S3Z9NB0K"),
        ("serial", b"virtio one \n", "virtio_one"),
        ("device/vpd_pg80", b"\0\x80\0\x0c  WD-WX12A   ", "WD-WX12A"),
        ("wwid", b"eui.0025\n", "eui.0025"),
        ("device/serial", b" \n", None),
        ("device/serial", b"a\x1b[2Jb", "a?[2Jb"),
        ("other", b"x", None),
    ],
)
def test_serial_numbers(tmp_path: Path, name: str, content: bytes, serial: str | None) -> None:
    """From wherever a driver has it, as one word that can be typed."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert blockdevice._serial(str(tmp_path)) == serial


@pytest.mark.parametrize("mark", [b"SWAPSPACE2", b"SWAP-SPACE", b"S1SUSPEND\0"])
@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_swap_signatures(tmp_path: Path, mark: bytes, page: int) -> None:
    """At the end of the first page, whatever a page is where the area was made; and nowhere else."""
    path = tmp_path / "swap"
    found = {}
    for at in (page - 10, page - 11):
        path.write_bytes(bytes(at) + mark + bytes(70000))
        fd = os.open(path, os.O_RDONLY)
        found[at] = has_swap_signature(fd)
        os.close(fd)
    assert found == {page - 10: True, page - 11: False}


def test_a_swap_whose_device_is_gone_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be this one; a swap file is not, its file system is mounted."""
    folder = tmp_path / "proc"
    folder.mkdir()
    text = "Filename Type Size Used Priority\n/dev/gone\\040x partition 1 0 -2\n/swapfile file 1 0 -3\n"
    (folder / "swaps").write_text(text)
    monkeypatch.setattr(blockdevice, "_PROC", str(folder))
    assert blockdevice._swaps(frozenset({"8:0"})) == ("/dev/gone x",)


BAD: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"confirm": 5}, TypeError),
    ({"passes": 0}, ValueError),
    ({"passes": "1"}, TypeError),
    ({"pattern": ""}, ValueError),
    ({"verify": "device"}, TypeError),
    ({"allow_partition": 1}, TypeError),
    ({"allow_swap": None}, TypeError),
    ({"dry_run": 0}, TypeError),
    ({"progress": 3}, TypeError),
]


@pytest.mark.parametrize(("arguments", "error"), BAD)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], error: type[Exception]) -> None:
    """Each is named, before anything is looked at."""
    name = next(iter(arguments))
    with pytest.raises(error, match=name):
        overwrite_device(tmp_path / "missing", **({"confirm": None} | arguments))


def test_confirm_has_no_default(tmp_path: Path) -> None:
    """Nobody overwrites a device by leaving something out."""
    call: Callable[..., DeviceReport] = overwrite_device
    with pytest.raises(TypeError, match="confirm"):
        call(tmp_path / "missing")
