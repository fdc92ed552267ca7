"""`zeroizepy shred`, as a user sees it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import warnings
from typing import TYPE_CHECKING

import pytest
from support.children import TIMEOUT_S

from zeroizepy.file import SCHEMES, secure_delete

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    Cli = Callable[..., Any]
    Script = Callable[..., subprocess.CompletedProcess[str]]
    Environment = Callable[..., dict[str, str]]
    Terminal = Callable[..., tuple[int, bytes]]

VERDICTS = ("overwritten", "overwritten_verified", "not_in_place")


@pytest.fixture(scope="module")
def done_status(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The exit status when all was done, which is another one where the tests' own file system keeps old bytes."""
    path = make(tmp_path_factory.mktemp("status"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        plan = secure_delete(path, dry_run=True).plan
    assert plan is not None
    return 3 if plan.verdict == "not_in_place" else 0


def make(folder: Path, name: str = "report.pdf", size: int = 10_000) -> Path:
    """A file full of one byte."""
    path = folder / name
    path.write_bytes(b"S" * size)
    return path


def test_file_is_gone_and_gets_a_verdict(cli: Cli, tmp_path: Path, done_status: int) -> None:
    """One file: its name, a verdict that is one of the four, how often it was overwritten, status 0."""
    path = make(tmp_path)
    result = cli("shred", path.name)
    assert (result.status, result.err) == (done_status, "")
    assert not path.exists()
    lines = result.out.splitlines()
    assert lines[0] == "report.pdf"
    assert lines[1].split() in [["verdict", verdict] for verdict in VERDICTS]
    assert "3 passes over 10000 bytes" in result.out


def test_output_in_a_pipe_is_plain(cli: Cli, tmp_path: Path) -> None:
    """No control sequence and no progress bar reaches a pipe."""
    make(tmp_path)
    result = cli("shred", "report.pdf")
    assert "\x1b" not in result.out + result.err
    assert "\r" not in result.out + result.err


def test_one_failing_path_does_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    """Status 1, two lines for each failure, and the good files are gone."""
    first, last = make(tmp_path, "a"), make(tmp_path, "z")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    result = cli("shred", "a", "pipe", "folder", "missing", "z")
    assert result.status == 1
    assert not first.exists()
    assert not last.exists()
    assert result.errors() == [
        "zeroizepy: error: pipe: is a FIFO",
        "zeroizepy: hint: only regular files are overwritten",
        "zeroizepy: error: folder: is a directory",
        "zeroizepy: hint: -r takes it with all that is in it",
        "zeroizepy: error: missing: no such file",
        "zeroizepy: hint: check how the path is written",
    ]
    assert result.out.splitlines()[-1].startswith("5 paths: 3 failed, 2 ")


def test_socket_and_device_are_refused(cli: Cli, tmp_path: Path) -> None:
    """Nothing that is no regular file is opened for writing."""
    os.mknod(tmp_path / "s", stat.S_IFSOCK | 0o600)  # A path to bind to may not be as long as this one can be.
    result = cli("shred", "s", "/dev/null")
    assert result.status == 1
    assert [line for line in result.errors() if "error" in line] == [
        "zeroizepy: error: s: is a socket",
        "zeroizepy: error: /dev/null: is a device",
    ]


def test_hard_links_need_their_option(cli: Cli, tmp_path: Path, done_status: int) -> None:
    """Refused with the option's name as hint; with it, the other name holds the new content."""
    path = make(tmp_path)
    other = tmp_path / "other"
    os.link(path, other)
    result = cli("shred", path.name)
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: report.pdf: has 2 names (hard links)",
        "zeroizepy: hint: --allow-hard-links overwrites the content of all of them",
    ]
    assert other.read_bytes() == b"S" * 10_000
    result = cli("shred", path.name, "--allow-hard-links", "--pattern", "hex:0a0b", "-n1")
    assert result.status == done_status
    assert other.read_bytes() == b"\x0a\x0b" * 5000


def test_write_protected_file_needs_force(cli: Cli, tmp_path: Path, done_status: int) -> None:
    """Refused with --force as hint, for root too; taken with it."""
    path = make(tmp_path)
    path.chmod(0o400)
    result = cli("shred", path.name)
    assert result.status == 1
    assert result.errors()[1] == "zeroizepy: hint: chmod u+w it, or give --force"
    assert path.exists()
    assert cli("shred", path.name, "--force").status == done_status
    assert not path.exists()


def test_symlink_is_unlinked_and_its_target_left(cli: Cli, tmp_path: Path, done_status: int) -> None:
    """Unless --follow-symlinks is given."""
    path = make(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert cli("shred", "link").status == 0
    assert not os.path.lexists(link)
    assert path.read_bytes() == b"S" * 10_000
    link.symlink_to(path)
    assert cli("shred", "link", "--follow-symlinks").status == done_status
    assert not path.exists()


def test_dry_run_changes_nothing_and_shows_the_plan(cli: Cli, tmp_path: Path) -> None:
    """The steps in their order, the expected verdict, and an untouched file."""
    path = make(tmp_path)
    before = path.stat()
    result = cli("shred", "--dry-run", "--verify", "-n2", "--pattern", "zeros", "report.pdf")
    assert result.status == 0
    assert path.read_bytes() == b"S" * 10_000
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    would = [line.split(maxsplit=1)[1] for line in result.out.splitlines() if line.split()[0] == "would"]
    assert re.fullmatch(r"pass 1: write 1\d{4} bytes of zeros, flush", would[0])
    assert re.fullmatch(r"read 1\d{4} bytes back and compare", would[2])
    assert would[-1] == "unlink"


def test_no_rename_is_passed_on(cli: Cli, tmp_path: Path) -> None:
    """The plan renames by default and does not with --no-rename."""
    make(tmp_path)
    assert "rename to random names" in cli("shred", "--dry-run", "report.pdf").out
    assert "rename to random names" not in cli("shred", "--dry-run", "--no-rename", "report.pdf").out


def test_json_holds_reports_and_summary(cli: Cli, tmp_path: Path) -> None:
    """stdout is one JSON document; the failure's line still goes to stderr."""
    make(tmp_path, size=5000)
    result = cli("shred", "--json", "-n1", "report.pdf", "missing")
    assert result.status == 1
    document = json.loads(result.out)
    good, bad = document["files"]
    assert good["verdict"] in VERDICTS
    assert (good["size_bytes"], good["unlinked"], good["error"]) == (5000, True, None)
    assert (bad["path"], bad["error"]) == ("missing", "missing: no such file")
    assert document["summary"] == {good["verdict"]: 1, "failed": 1}
    assert result.errors() == [
        "zeroizepy: error: missing: no such file",
        "zeroizepy: hint: check how the path is written",
    ]


def test_a_tree_that_would_be_refused_in_part(cli: Cli, tmp_path: Path) -> None:
    """The summary of a dry run counts as planned what would be done, and no refused file."""
    (tmp_path / "tree").mkdir()
    for name in ("one", "two", "protected"):
        make(tmp_path / "tree", name)
    (tmp_path / "tree" / "protected").chmod(0o400)
    result = cli("shred", "-r", "--dry-run", "--json", "tree")
    assert result.status == 1
    assert json.loads(result.out)["summary"] == {"planned": 2, "refused": 1, "failed": 1}


def test_quiet_says_nothing_but_errors(cli: Cli, tmp_path: Path) -> None:
    """Success is silent, a failure is not."""
    make(tmp_path)
    assert cli("shred", "--quiet", "report.pdf").out == ""
    result = cli("shred", "--quiet", "report.pdf")
    assert (result.status, result.out) == (1, "")
    assert result.errors() == [
        "zeroizepy: error: report.pdf: no such file",
        "zeroizepy: hint: check how the path is written",
    ]


def test_name_cannot_command_the_terminal(cli: Cli, tmp_path: Path) -> None:
    """Escape sequences, markup and bytes that are no UTF-8 are shown escaped."""
    name = os.fsdecode(b"\x1b[31m[bold]x[bold]\xff\n")
    (tmp_path / name).write_bytes(b"S")
    result = cli("shred", name, name + "2")
    assert result.status == 1
    assert not (tmp_path / name).exists()
    assert result.out.splitlines()[0] == "\\x1b[31m[bold]x[bold]\\udcff\\n"
    assert result.errors() == [
        "zeroizepy: error: \\x1b[31m[bold]x[bold]\\udcff\\n2: no such file",
        "zeroizepy: hint: check how the path is written",
    ]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "missing argument"),
        (["-n", "x", "f"], "'x' is not a whole number"),
        (["-n", "-1", "f"], "-1 is not in the range 0<=x<=1000"),
        (["--pattern", "sevens", "f"], "'sevens' is not random, zeros, ones"),
        (["--pattern", "hex:", "f"], "'hex:' is not random"),
        (["--pattern", "hex:0", "f"], "'hex:0' is not random"),
        (["--pattern", "hex:zz", "f"], "'hex:zz' is not random"),
        (["--frob", "f"], "no such option"),
    ],
)
def test_bad_usage(cli: Cli, arguments: list[str], fault: str) -> None:
    """Status 2, one line with the fault, one with where to look; nothing on stdout."""
    result = cli("shred", *arguments)
    assert (result.status, result.out) == (2, "")
    first, second = result.errors()
    assert first.startswith("zeroizepy: error: ")
    assert fault in first
    assert second == "zeroizepy: hint: see 'zeroizepy shred --help'"


def test_progress_bar_on_a_terminal(terminal: Terminal, tmp_path: Path, done_status: int) -> None:
    """A terminal sees a bar that names the file while it is overwritten, and colours."""
    path = make(tmp_path, size=32 << 20)
    status, shown = terminal("shred", path.name)
    assert status == done_status
    assert not path.exists()
    assert "━".encode() in shown
    assert b"MiB" in shown
    assert b"\x1b[" in shown


@pytest.mark.parametrize("term", ["dumb", ""])
def test_no_bar_on_a_terminal_that_cannot_draw(terminal: Terminal, tmp_path: Path, done_status: int, term: str) -> None:
    """A dumb terminal gets plain lines."""
    make(tmp_path, size=8 << 20)
    status, shown = terminal("shred", "report.pdf", TERM=term)
    assert status == done_status
    assert "━".encode() not in shown
    assert b"verdict" in shown


def test_interrupt_leaves_the_file_and_gives_130(
    tmp_path: Path, program: list[str], clean_environment: Environment
) -> None:
    """Ctrl-C during the passes: status 130 and the state of each path, as lines and as JSON; both files remain."""
    path, later = make(tmp_path, size=64 << 20), make(tmp_path, "later")
    make(tmp_path, "first")
    child = subprocess.Popen(
        [*program, "shred", "--json", "-n", "1000", "--no-rename", "first", path.name, "later"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while path.read_bytes()[:64] == b"S" * 64:
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=TIMEOUT_S)
    assert child.returncode == 130
    interrupted, not_begun = err.splitlines()
    state = r"(partly overwritten \(pass 1|overwritten as far as pass \d+) of 1000\)?"
    assert re.fullmatch(rf"zeroizepy: error: interrupted: report\.pdf is still there and {state}", interrupted)
    assert not_begun == "zeroizepy: error: not begun: later"
    assert path.stat().st_size == 64 << 20
    assert later.read_bytes() == b"S" * 10_000
    document = json.loads(out)
    first, second, third = document["files"]
    assert (first["path"], first["unlinked"], first["error"]) == ("first", True, None)
    assert (second["verdict"], second["unlinked"]) == ("not_in_place", False)
    assert f"zeroizepy: error: {second['error']}" == interrupted
    assert third == {"path": "later", "error": "not begun: later"}
    assert document["summary"] == {first["verdict"]: 1, "interrupted": 1, "not_begun": 1}


@pytest.mark.parametrize(
    ("step", "state"),
    [
        ("FileRun._account", "is still there and partly overwritten (pass 1 of 3)"),
        ("_Alone._remove", "is still there, its passes are done"),
        ("FileRun._make_plan", "is still there"),
    ],
)
def test_interrupt_says_what_became_of_each_file(run_script: Script, tmp_path: Path, step: str, state: str) -> None:
    """Without --json: lines for the interrupted file and those not begun, and a summary."""
    for name in ("hg", "q3"):
        make(tmp_path, name)
    preparation = f"""
        from zeroizepy.shred.run import FileRun, _Alone
        def interrupt(*_): raise KeyboardInterrupt
        {step} = interrupt
        """
    done = run_script(preparation, "shred", "hg", "q3")
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        f"zeroizepy: error: interrupted: hg {state}",
        "zeroizepy: error: not begun: q3",
    ]
    assert done.stdout == "2 paths: 1 interrupted, 1 not begun\n"
    assert sorted(os.listdir(tmp_path)) == ["hg", "q3"]


def shred_into(stdout: int, program: list[str], folder: Path, environment: dict[str, str], *options: str) -> Any:
    """Shred three files of which the second is missing, with a stdout of one's own."""
    first, last = make(folder, "a"), make(folder, "c")
    done = subprocess.run(
        [*program, "shred", *options, "a", "b", "c"],
        stdout=stdout, stderr=subprocess.PIPE, cwd=folder, env=environment, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert not first.exists()
    assert not last.exists()
    return done


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_reader_that_goes_away_does_not_stop_the_rest(
    tmp_path: Path, program: list[str], clean_environment: Environment, options: list[str]
) -> None:
    """`shred a b c | true`: all are done, the failures are told, and then that of stdout."""
    reader, writer = os.pipe()
    os.close(reader)
    done = shred_into(writer, program, tmp_path, clean_environment(), *options)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "zeroizepy: error: b: no such file",
        "zeroizepy: hint: check how the path is written",
        "zeroizepy: error: stdout: broken pipe",
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_device_as_stdout_does_not_stop_the_rest(
    tmp_path: Path, program: list[str], clean_environment: Environment
) -> None:
    """`shred a b c > /dev/full`: as with a reader that goes away."""
    with open("/dev/full", "wb") as full:
        done = shred_into(full.fileno(), program, tmp_path, clean_environment())
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "zeroizepy: error: b: no such file",
        "zeroizepy: hint: check how the path is written",
        "zeroizepy: error: stdout: no space left on device",
        "zeroizepy: hint: make room there, or choose another place",
    ]


@pytest.mark.parametrize(("closing", "is_told"), [(">&-", True), (">&- 2>&-", False)])
def test_closed_streams(
    tmp_path: Path,
    program: list[str],
    clean_environment: Environment,
    done_status: int,
    closing: str,
    *,
    is_told: bool,
) -> None:
    """Without stdout, or without stderr too, the files are done and the status speaks of them alone."""
    for more, status in ([], done_status), (["missing"], 1):
        make(tmp_path, "a")
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *program, "shred", "a", *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path, env=clean_environment(), timeout=60,
            check=False, text=True,
        )  # fmt: skip
        told = ["zeroizepy: error: missing: no such file", "zeroizepy: hint: check how the path is written"]
        assert (done.returncode, done.stderr.splitlines()) == (status, told if more and is_told else [])
        assert not (tmp_path / "a").exists()


def test_empty_path_is_named(cli: Cli, tmp_path: Path) -> None:
    """An unset shell variable is the likely cause, and the other paths are still done."""
    path = make(tmp_path)
    result = cli("shred", "", path.name)
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: '': path must not be empty",
        "zeroizepy: hint: is a shell variable unset?",
    ]
    assert not path.exists()


def test_a_scheme_is_shown_in_the_plan(cli: Cli, tmp_path: Path) -> None:
    """--scheme replaces the passes; with -n it is bad usage, and nothing is touched."""
    path = make(tmp_path)
    result = cli("shred", "--dry-run", "--scheme", "gost", "report.pdf")
    would = [line.split(maxsplit=1)[1] for line in result.out.splitlines() if line.split()[0] == "would"]
    assert [re.sub(r"\d+ bytes of ", "", each) for each in would[:2]] == [
        "pass 1: write zeros, flush",
        "pass 2: write random, flush",
    ]
    refused = cli("shred", "--scheme", "gost", "-n1", "report.pdf")
    assert (refused.status, path.exists()) == (2, True)
    assert "leave -n and --pattern out" in refused.err


def test_keep_leaves_the_file_overwritten(cli: Cli, tmp_path: Path) -> None:
    """--keep overwrites under the same name, and the output says that the name is still there."""
    path = make(tmp_path)
    result = cli("shred", "--keep", "-n1", "--pattern", "zeros", "report.pdf")
    assert path.read_bytes() == bytes(10_000)
    assert "still there" in result.out


def test_not_in_place_has_an_exit_status_of_its_own(cli: Cli, tmp_path: Path) -> None:
    """Without a pass old bytes remain: status 3 when all was done, 1 when a path failed besides."""
    make(tmp_path)
    assert cli("shred", "-n0", "report.pdf").status == 3
    make(tmp_path)
    assert cli("shred", "-n0", "report.pdf", "missing").status == 1


def make_tree(folder: Path) -> Path:
    """A directory with files at two levels and a link that leads out."""
    tree = folder / "tree"
    (tree / "inner").mkdir(parents=True)
    for name in ("one", "inner/two", "inner/three"):
        (tree / name).write_bytes(b"S" * 5000)
    (folder / "outside").write_bytes(b"outside")
    (tree / "link").symlink_to(folder / "outside")
    return tree


def test_a_directory_needs_recursive(cli: Cli, tmp_path: Path) -> None:
    """Without -r a directory is refused, and nothing in it is touched."""
    tree = make_tree(tmp_path)
    result = cli("shred", "tree")
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: tree: is a directory",
        "zeroizepy: hint: -r takes it with all that is in it",
    ]
    assert (tree / "one").read_bytes() == b"S" * 5000


def test_a_path_through_a_file_has_its_own_remedy(cli: Cli, tmp_path: Path) -> None:
    """It is no matter of permissions, whatever class of refusal it is."""
    path = make(tmp_path)
    result = cli("shred", "report.pdf/")
    assert result.status == 1
    assert "is no directory" in result.errors()[1]
    assert path.exists()


def test_what_failed_on_the_way_shows_how_far_it_came(run_script: Script, tmp_path: Path) -> None:
    """The name could not be removed: the passes that were done are told all the same, and that the name is there."""
    path = make(tmp_path)
    preparation = """
        import errno, os
        def refuse(*_, **_more):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        os.unlink = os.remove = refuse
        """
    done = run_script(preparation, "shred", "--no-rename", "report.pdf")
    assert (done.returncode, path.exists()) == (1, True)
    assert "remove failed" in done.stderr
    assert "its folder must be writable" in done.stderr
    assert "overwritten    3 passes over 10000 bytes" in done.stdout
    assert "name           still there" in done.stdout
    assert "because        the operation failed (remove:EACCES)" in done.stdout


def test_recursive_needs_somebody_to_ask(cli: Cli, tmp_path: Path) -> None:
    """Where stdin is no terminal, --yes has to be given; nothing is touched without it."""
    tree = make_tree(tmp_path)
    result = cli("shred", "-r", "tree")
    assert (result.status, sorted(os.listdir(tree))) == (2, ["inner", "link", "one"])
    assert "--yes" in result.err


def test_recursive_takes_directories_and_files(cli: Cli, tmp_path: Path) -> None:
    """Both kinds of path in one run: counts by verdict, the link's target untouched, all in one JSON document."""
    make_tree(tmp_path)
    make(tmp_path)
    result = cli("shred", "-r", "--yes", "-n1", "--json", "tree", "report.pdf")
    document = json.loads(result.out)
    (tree,), (file,) = document["directories"], document["files"]
    assert (tree["unlinked"], tree["directories_removed"], tree["failed"]) == (4, 2, 0)
    assert (file["path"], file["unlinked"]) == ("report.pdf", True)
    assert sum(document["summary"].values()) == 5
    assert result.status in (0, 3)
    assert os.listdir(tmp_path) == ["outside"]


def test_the_list_of_a_directory(cli: Cli, tmp_path: Path) -> None:
    """--list writes what the SHA-256 of the report is of: path, size and verdict of all that was in it."""
    tree = make_tree(tmp_path)
    (tree / "line\nand more").write_bytes(b"x" * 5000)
    result = cli("shred", "-r", "--yes", "-n1", "--json", "--list", "list", "tree")
    (report,) = json.loads(result.out)["directories"]
    content = (tmp_path / "list").read_bytes()
    assert hashlib.sha256(content).hexdigest() == report["list_sha256"]
    assert (tmp_path / "list").stat().st_mode & 0o777 == 0o600
    assert content.endswith(b"\0")
    parts = content.split(b"\0")[:-1]
    rows = {parts[at]: (int(parts[at + 1]), parts[at + 2].decode()) for at in range(0, len(parts), 3)}
    assert len(rows) == sum(report["verdicts"].values()) == 5
    assert rows[b"link"] == (0, "nothing_to_overwrite")
    assert (rows[b"line\nand more"][0], rows[b"line\nand more"][1] in VERDICTS) == (5000, True)


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        (("--list", "list", "tree"), 2, "is for -r of one directory"),
        (("-r", "--yes", "--list", "list", "tree", "report.pdf"), 2, "is for -r of one directory"),
        (("-r", "--dry-run", "--list", "list", "tree"), 2, "not for --dry-run"),
        (("-r", "--yes", "--list", "list", "report.pdf"), 1, "report.pdf: is no directory"),
        (("-r", "--yes", "--list", "list", "tree/link"), 1, "tree/link: is no directory"),
        (("-r", "--yes", "--list", "tree/inner/list", "tree"), 1, "tree/inner/list: lies in tree, which is shredded"),
        (("-r", "--yes", "--list", "taken", "tree"), 1, "taken: "),
        (("-r", "--yes", "--list", "missing/list", "tree"), 1, "missing/list: "),
    ],
)
def test_a_list_that_cannot_be(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], status: int, fault: str) -> None:
    """It is refused before anything is touched."""
    tree = make_tree(tmp_path)
    make(tmp_path)
    (tmp_path / "taken").write_bytes(b"kept")
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(tree))
    result = cli("shred", *arguments)
    assert (result.status, fault in result.err) == (status, True), result.err
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(tree))) == before
    assert (tmp_path / "taken").read_bytes() == b"kept"


def test_a_dry_run_of_a_directory_asks_and_touches_nothing(cli: Cli, tmp_path: Path) -> None:
    """--dry-run counts what would be done."""
    tree = make_tree(tmp_path)
    result = cli("shred", "-r", "--dry-run", "tree")
    assert result.status == 0
    assert "expected" in result.out
    assert sorted(os.listdir(tree)) == ["inner", "link", "one"]


@pytest.mark.parametrize("option", ["--keep", "--wipe-journal", "--follow-symlinks"])
def test_what_is_for_single_files_does_not_go_with_recursive(cli: Cli, tmp_path: Path, option: str) -> None:
    """Bad usage, before anything is touched."""
    tree = make_tree(tmp_path)
    assert cli("shred", "-r", "--yes", option, "tree").status == 2
    assert (tree / "one").exists()


@pytest.mark.parametrize(("answer", "gone"), [(b"y\n", True), (b"n\n", False)])
def test_a_terminal_is_asked_once(terminal: Terminal, tmp_path: Path, answer: bytes, *, gone: bool) -> None:
    """The question names the directory and how much it holds; only yes goes on."""
    tree = make_tree(tmp_path)
    status, shown = terminal("shred", "-r", "-n1", "tree", typed=answer)
    assert b"Shred 4 files of" in shown
    assert tree.exists() is not gone
    assert (status == 1) is not gone


def test_help_has_each_scheme(cli: Cli) -> None:
    """Each name in one piece, as it is typed, with the number of its passes."""
    shown = cli("shred", "--help").out
    assert all(f"{name} ({len(scheme.passes)})" in shown for name, scheme in SCHEMES.items())


def test_a_device_that_could_not_be_read_is_not_as_asked(cli: Cli, tmp_path: Path) -> None:
    """--verify-device where the device cannot be read: all is done, and the status says that this was not."""
    path = tmp_path / "report.pdf"
    path.write_bytes(b"S" * 5000)  # Not flushed: it has no place on the device yet, or the file system tells none.
    result = cli("shred", "-n1", "--verify-device", "report.pdf")
    read = "on the device itself" in result.out
    assert (result.status == 0) == (read and "not_in_place" not in result.out)
    assert result.status in (0, 3)


def test_a_dry_run_tells_what_would_be_refused(cli: Cli, tmp_path: Path) -> None:
    """A program that runs: the plan says that it would be refused and why, and the status is a failure's."""
    path = tmp_path / "program"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", path)
    child = subprocess.Popen([path, str(TIMEOUT_S)])
    try:
        result = cli("shred", "--dry-run", "program")
    finally:
        child.terminate()
        child.wait()
    assert result.status == 1
    assert [" ".join(line.split()) for line in result.out.splitlines()] == [
        "program",
        "would be refused: cannot be opened: Text file busy",
    ]
    assert result.errors() == [
        "zeroizepy: error: program: cannot be opened: Text file busy",
        "zeroizepy: hint: a program runs it, or it is swap in use; end that first",
    ]
