"""New private files: there as a whole and flushed, or not there at all; and whose files are opened."""

from __future__ import annotations

import errno
import gc
import linecache
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import durable
from zeroizepy.audit import AuditLog
from zeroizepy.crypto import CryptoKey
from zeroizepy.file import shred_tree
from zeroizepy.keys.info import key_file_info
from zeroizepy.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = bytes(range(32))
OTHER = bytes(range(32, 64))


@pytest.fixture
def failing_folders(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that has each flush of a directory fail from then on."""
    real = os.fsync

    def begin(number: int) -> None:
        def fail(fd: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                raise OSError(number, os.strerror(number))
            real(fd)

        monkeypatch.setattr(os, "fsync", fail)

    return begin


# ---- flushing ----


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_folders_that_have_no_flush(failing_folders: Any, tmp_path: Path, number: int) -> None:
    """Where the file system cannot do it, the file is made all the same."""
    failing_folders(number)
    with durable.new_private_file(str(tmp_path / "new")) as fd:
        os.write(fd, b"content")
    assert (tmp_path / "new").read_bytes() == b"content"


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name cannot be flushed, which the docstring says; the file is made."""
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with durable.new_private_file(str(tmp_path / "new")):
        pass
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_name_that_is_not_flushed_is_an_error(failing_folders: Any, tmp_path: Path, number: int) -> None:
    """A key whose name a crash may take away is not said to be saved: the error names it, and no file is left."""
    failing_folders(number)
    for save in (
        lambda path: CryptoKey(OTHER).save(path, wrapping_key=CryptoKey(KEY)),
        SigningKey.generate().save,
    ):
        with pytest.raises(OSError, match="key") as caught:
            save(tmp_path / "key")
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "key"))
    assert os.listdir(tmp_path) == []


def test_a_replacement_that_is_not_flushed(failing_folders: Any, tmp_path: Path) -> None:
    """The old key file stays when the new one's name cannot be flushed."""
    path = tmp_path / "key"
    CryptoKey(OTHER).save(path, wrapping_key=CryptoKey(KEY))
    before = path.read_bytes()
    failing_folders(errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        CryptoKey(OTHER).save(path, wrapping_key=CryptoKey(KEY), overwrite=True)
    assert (os.listdir(tmp_path), path.read_bytes()) == (["key"], before)


def test_a_log_whose_name_is_not_flushed(failing_folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is recorded then, and the next append flushes the name before it writes."""
    path = tmp_path / "log"
    failing_folders(errno.EIO)
    for _ in range(2):
        with pytest.raises(OSError, match="log"):
            AuditLog(path).record("event", {})
        assert path.read_bytes() == b""
    monkeypatch.undo()
    assert AuditLog(path).record("event", {}).sequence == 1


def test_a_journal_whose_name_is_not_flushed(
    failing_folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree is not touched, and the next run begins the journal anew."""
    tree, journal = tmp_path / "tree", tmp_path / "journal"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    failing_folders(errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        shred_tree(tree, journal=journal)
    assert (tree / "file").read_bytes() == b"content"
    monkeypatch.undo()
    assert shred_tree(tree, journal=journal).unlinked == 1


def test_a_journal_on_a_file_system_without_that_flush(failing_folders: Any, tmp_path: Path) -> None:
    """It is kept all the same, like key files and logs."""
    (tmp_path / "tree").mkdir()
    failing_folders(errno.EINVAL)
    assert not shred_tree(tmp_path / "tree", journal=tmp_path / "journal").failed


# ---- clean-up ----


def test_a_replacement_is_flushed_after_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last flush of the folder comes when the new key file stands under its name."""
    path = tmp_path / "key"
    path.write_bytes(b"old")
    original, seen = durable.flush_directory, list[bytes]()

    def flush(fd: int) -> None:
        seen.append(path.read_bytes())
        original(fd)

    monkeypatch.setattr(durable, "flush_directory", flush)
    CryptoKey(OTHER).save(path, wrapping_key=CryptoKey(KEY), overwrite=True)
    assert seen[-1] == path.read_bytes() != b"old"


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_mode_is_not_the_umasks(tmp_path: Path, mask: int) -> None:
    """A private file has mode 600 whatever is masked."""
    before = os.umask(mask)
    try:
        CryptoKey(OTHER).save(tmp_path / "key", wrapping_key=CryptoKey(KEY))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_what_stands_there_is_left_alone(tmp_path: Path) -> None:
    """A file that came between the look and the making is neither opened nor cut; nor is one behind a link made."""
    theirs, link, dangling = tmp_path / "theirs", tmp_path / "link", tmp_path / "dangling"
    theirs.write_bytes(b"precious")
    link.symlink_to(theirs)
    dangling.symlink_to(tmp_path / "nowhere")
    for taken in (theirs, link, dangling):
        with pytest.raises(FileExistsError), durable.new_private_file(str(taken)):
            pass
    assert theirs.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "link", "theirs"]


def test_another_file_of_that_name_stays(tmp_path: Path) -> None:
    """A block that fails takes away what it made, and nothing that took the name meanwhile."""
    path = tmp_path / "new"

    def replace_and_fail() -> None:
        with durable.new_private_file(str(path)):
            path.unlink()
            path.write_bytes(b"another's")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        replace_and_fail()
    assert path.read_bytes() == b"another's"


def test_a_file_that_is_gone_when_its_block_fails(tmp_path: Path) -> None:
    """The first fault is what is told."""
    path = tmp_path / "new"

    def unlink_and_fail() -> None:
        with durable.new_private_file(str(path)):
            path.unlink()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        unlink_and_fail()


class Interrupter:
    """Raises KeyboardInterrupt before one bytecode of durable.py, until its descriptors are being closed.

    Attributes:
        is_done: It was raised.
        is_flushed: The file and its name were flushed before that.
    """

    def __init__(self, after: int) -> None:
        self._left = after
        self._is_closing = False
        self.is_done = self.is_flushed = False

    def __call__(self, frame: Any, _event: str, _argument: object) -> Any:
        """For `sys.settrace`."""
        if frame.f_code.co_filename != durable.__file__:
            return None
        frame.f_trace_opcodes = True
        return self._opcode

    def _opcode(self, frame: Any, event: str, _argument: object) -> Any:
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if frame.f_code.co_name == "new_private_file" and line == "_close_all(made)":
            self._is_closing = True
        if frame.f_code.co_name == "sync_directory" and event == "return" and not self.is_done:
            self.is_flushed = True
        is_other = frame.f_code.co_name in ("sync_directory", "_close_all")  # The latter is that of the folder here.
        if event != "opcode" or self.is_done or self._is_closing or is_other:
            return self._opcode
        self._left -= 1
        if self._left < 0:
            self.is_done = True
            raise KeyboardInterrupt
        return self._opcode


def test_an_interrupt_anywhere_leaves_nothing(tmp_path: Path) -> None:
    """Before each bytecode on the way to the flushed file: neither a file nor a descriptor is left."""
    if sys.gettrace() is not None:
        pytest.skip("another tool traces this process")
    path, interrupted = str(tmp_path / "new"), 0
    gc.collect()  # What tests before left in cycles would be closed in the middle of this one.
    while True:
        open_before, interrupter = os.listdir("/proc/self/fd"), Interrupter(interrupted)
        sys.settrace(interrupter)
        try:
            with durable.new_private_file(path) as fd:
                os.write(fd, b"content")
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert interrupter.is_done
        if interrupter.is_flushed:  # The file may stay then: it is whole.
            break
        assert os.listdir(tmp_path) == [], interrupted
        assert os.listdir("/proc/self/fd") == open_before, interrupted
        interrupted += 1
    assert interrupted > 30


# ---- owners ----


def make_key_files(folder: Path) -> list[Callable[[], object]]:
    """A file of each kind, and what opens it."""
    CryptoKey(OTHER).save(folder / "key", wrapping_key=CryptoKey(KEY))
    SigningKey.generate().save(folder / "signer")
    return [
        lambda: CryptoKey.load(folder / "key", wrapping_key=CryptoKey(KEY)),
        lambda: key_file_info(str(folder / "key")),
        lambda: SigningKey.load(folder / "signer"),
    ]


def test_files_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of any kind is taken from a file whose owner could change it."""
    openers = make_key_files(tmp_path)
    owner = os.stat(tmp_path / "key").st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    for opener in openers:
        with pytest.raises(ValueError, match=f"belongs to user {owner}, not to user {owner + 1}; use a copy"):
            opener()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_root_may_use_a_users_keys(tmp_path: Path) -> None:
    """As under sudo."""
    openers = make_key_files(tmp_path)
    for name in ("key", "signer"):
        os.chown(tmp_path / name, 12345, -1)
    for opener in openers:
        opener()
