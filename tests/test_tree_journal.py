"""The journal of a tree: what was saved is found again, what is torn is not taken, what is not ours is left alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from zeroizepy.shred import resume
from zeroizepy.shred.journal import Begun, Journal, State, _packed

if TYPE_CHECKING:
    from pathlib import Path

RUN = {"root": [1, 2], "passes": 3}


def saved(path: Path, number: int) -> State:
    """Save so many states; the last one."""
    with Journal(str(path), RUN) as journal:
        for turn in range(number):
            state = State({"overwritten": turn}, [Begun(1, turn, 100, "overwritten"), Begun(1, 7, 5)])
            journal.save(state, lasting=False)
        return journal.state


def test_the_last_state_is_found_again(tmp_path: Path) -> None:
    """After any number of saves, the next run has the last state, and the file does not grow."""
    path = tmp_path / "journal"
    for number in range(5):
        path.unlink(missing_ok=True)
        state = saved(path, number)
        with Journal(str(path), RUN) as journal:
            assert journal.state == state
            assert journal.resumed is (number > 0)
    size = path.stat().st_size
    saved(path, 50)
    assert path.stat().st_size <= size + 100
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("keep", [0, 1, 20, 60])
def test_a_torn_state_leaves_the_one_before(tmp_path: Path, keep: int) -> None:
    """Whatever is missing at the end of the slot that was written last, the state before it stands."""
    path = tmp_path / "journal"
    before = saved(path, 4)
    data = path.read_bytes()
    with Journal(str(path), RUN) as journal:
        journal.save(State({"overwritten": 1000}), lasting=True)
    after = path.read_bytes()
    start = next(index for index in range(len(after)) if data[index : index + 1] != after[index : index + 1])
    path.write_bytes(after[: start + keep % 30] + bytes(len(after) - start - keep % 30))
    with Journal(str(path), RUN) as journal:
        assert journal.state == before


@pytest.mark.parametrize(("key", "value"), [("root", [1, 3]), ("passes", 1)])
def test_another_run_is_refused_by_name(tmp_path: Path, key: str, value: object) -> None:
    """A journal of another root or with other options is refused, the message says which, and it stays as it was."""
    path = tmp_path / "journal"
    saved(path, 2)
    data = path.read_bytes()
    with pytest.raises(ValueError, match=rf"\({key} differ"):
        Journal(str(path), {**RUN, key: value})
    assert path.read_bytes() == data


@pytest.mark.parametrize("content", [b"a letter", b"\n", b'00000000 {"journal": 1}\n', bytes(5000)])
def test_somebody_elses_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file that is no journal is never written to."""
    path = tmp_path / "letter"
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="left alone"):
        Journal(str(path), RUN)
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link at the path is refused, and what it leads to is not made."""
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError, match="symbolic links"):
        Journal(str(tmp_path / "link"), RUN)
    assert os.listdir(tmp_path) == ["link"]


def test_two_runs_do_not_share_a_journal(tmp_path: Path) -> None:
    """The second one is refused while the first has it open."""
    path = str(tmp_path / "journal")
    with Journal(path, RUN), pytest.raises(BlockingIOError, match="held by another run"):
        Journal(path, RUN)
    Journal(path, RUN).close()


def test_removal_spares_another_file(tmp_path: Path) -> None:
    """At the end the journal is unlinked, unless something else has taken its name."""
    path = tmp_path / "journal"
    Journal(str(path), RUN).remove()
    assert not path.exists()
    with Journal(str(path), RUN) as journal:
        path.unlink()
        path.write_text("letter")
        journal.remove()
    assert path.read_text() == "letter"


def test_a_full_batch_fits(tmp_path: Path) -> None:
    """The largest numbers there are, for as many files as a run keeps."""
    begun = [Begun(2**64 - 1, 2**64 - 1, 2**63 - 1, "overwritten_verified")] * resume._MOST_BEGUN
    with Journal(str(tmp_path / "journal"), RUN) as journal:
        journal.save(State({"overwritten": 2**63}, begun), lasting=True)
    with Journal(str(tmp_path / "journal"), RUN) as journal:
        assert journal.state.begun == begun


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_journal_that_others_may_write_is_left_alone(tmp_path: Path, mode: int) -> None:
    """Its counts would go into the report, so it is refused."""
    path = tmp_path / "journal"
    Journal(str(path), RUN).close()
    path.chmod(mode)
    with pytest.raises(FileExistsError, match="others may write to it"):
        Journal(str(path), RUN)


@pytest.mark.parametrize(
    "record", [5, [98], [98, 5, []], ["x", {}, []], [98, {"a": "b"}, []], [98, {}, [[1]]], [98, {}, [[1, 2, 3, 4]]]]
)
def test_a_record_of_another_kind_is_refused(tmp_path: Path, record: object) -> None:
    """What no run wrote is no crash, and is left alone."""
    path = tmp_path / "journal"
    Journal(str(path), RUN).close()
    with path.open("r+b") as file:
        file.seek(Journal._place(98))
        file.write(_packed(record, 4096))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="record of another kind"):
        Journal(str(path), RUN)
    assert path.read_bytes() == before


def test_no_outcome_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs were killed, what they had begun stands in the journal, or among what is counted."""
    monkeypatch.setattr(resume, "_MOST_BEGUN", 6)
    outcomes = ["not_in_place", "overwritten", None, ""]
    for killed in range(5):
        with Journal(str(tmp_path / "journal"), RUN) as journal:
            run = resume.Resume(journal)
            files = [os.stat_result((0o100600, 4 * killed + each, 1, 1, 0, 0, 9, 0, 0, 0)) for each in range(4)]
            run.begin((status, 9) for status in files)
            for status, outcome in zip(files, outcomes, strict=True):
                run._begun[status.st_dev, status.st_ino].outcome = outcome
            run._save(lasting=False)
    with Journal(str(tmp_path / "journal"), RUN) as journal:
        assert len(journal.state.begun) == 6
        run = resume.Resume(journal)
        assert run.finish() == {"not_in_place": 5, "overwritten": 5, "unknown": 5, "nothing_to_overwrite": 5}
