"""`zeroizepy` itself: demo, doctor, version, help, and what it does when things go wrong around it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zeroizepy.cli import errors
from zeroizepy.cli.demo import _Steps, _wait_for_zeros

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Cli = Callable[..., Any]
    Environment = Callable[..., dict[str, str]]
    Script = Callable[..., subprocess.CompletedProcess[str]]
    Terminal = Callable[..., tuple[int, bytes]]

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc/PID/mem")


def lock_limit(size_bytes: int) -> str:
    """Preparation that lowers RLIMIT_MEMLOCK, soft and hard."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, ({size_bytes}, {size_bytes}))"


@needs_linux
@pytest.mark.parametrize("backend", ["auto", "mlock"])
def test_demo_finds_the_control_and_not_the_secret(cli: Cli, backend: str) -> None:
    """Each step comes out as claimed, on either backing, in a pipe and without colour."""
    result = cli("demo", ZEROIZEPY_BACKEND=backend, TERM="dumb")
    assert (result.status, result.err) == (0, ""), result.out
    assert "FAILED" not in result.out
    assert "\x1b" not in result.out
    titles = [line for line in result.out.splitlines() if line[:1].isdigit()]
    assert [line.split(".")[0] for line in titles] == ["1", "2", "3", "4", "5", "6", "7"]
    assert re.search(r"32-byte object: [1-9]\d* cop(y|ies) found", result.out)
    assert "secret, used but never revealed: no copy found" in result.out
    assert "SecureMemoryClosed: key is closed" in result.out
    assert ("backing        mlock\n" in result.out) == (backend == "mlock" or "not in use" in cli("doctor").out)


@needs_linux
def test_demo_leaves_the_given_file_alone(cli: Cli, tmp_path: Path) -> None:
    """The file is only read; the copy of it is gone."""
    path = tmp_path / "report [draft].pdf"
    path.write_bytes(os.urandom(300_000))
    digest, facts = hashlib.sha256(path.read_bytes()).digest(), path.stat()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    result = cli("demo", path, TMPDIR=str(temporary))
    assert result.status == 0, result.out + result.err
    assert str(path) in result.out
    assert hashlib.sha256(path.read_bytes()).digest() == digest
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (facts.st_mtime_ns, facts.st_ino)
    assert os.listdir(temporary) == []


@needs_linux
@pytest.mark.parametrize("size", [0, 1])
def test_demo_on_tiny_files(cli: Cli, tmp_path: Path, size: int) -> None:
    """An empty file has nothing to overwrite, and the demo says so and goes on."""
    (tmp_path / "f").write_bytes(b"x" * size)
    result = cli("demo", "f")
    assert result.status == 0, result.out + result.err
    assert ("nothing to overwrite" in result.out) == (size == 0)


@needs_linux
def test_demo_on_a_terminal_is_coloured(terminal: Terminal) -> None:
    """A terminal sees colours, and the same outcome."""
    status, shown = terminal("demo")
    assert status == 0
    assert b"\x1b[" in shown
    assert b"no copy found" in shown


@needs_linux
def test_demo_under_a_small_lock_limit(run_script: Script) -> None:
    """64 KiB is what many systems give; the demo fits."""
    done = run_script(lock_limit(64 << 10), "demo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_demo_makes_no_copy_where_nothing_can_be_locked(run_script: Script, tmp_path: Path) -> None:
    """A lock limit of 0: refused before there is a plaintext copy, which could not be shredded there."""
    done = run_script(lock_limit(0), "demo", TMPDIR=str(tmp_path), ZEROIZEPY_STATE_DIR=str(tmp_path / "state"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "zeroizepy: error: no memory can be locked"
    assert os.listdir(tmp_path) == []


def test_a_reader_that_goes_away_fails_no_step_of_the_demo() -> None:
    """`zeroizepy demo | head -3` says nothing of steps that came out otherwise than claimed."""
    steps = _Steps()
    with pytest.raises(BrokenPipeError), steps.step("A step"):
        raise BrokenPipeError
    assert steps.failed == []


def test_failing_clean_up_is_told_beside_the_first_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """What a session leaves behind when a command fails for another reason stands on stderr, too."""
    failure = errors.Failure("no memory can be locked", "raise the limit")
    failure.__dict__["__notes__"] = ["the session's clean-up failed: [Errno 1] may not be removed: '/tmp/copy'"]
    assert errors.report(failure) == 1
    assert capsys.readouterr().err.splitlines() == [
        "zeroizepy: error: no memory can be locked",
        "zeroizepy: hint: raise the limit",
        "zeroizepy: error: the session's clean-up failed: [Errno 1] may not be removed: '/tmp/copy'",
    ]


@needs_linux
def test_demo_sees_a_deadline_from_outside(cli: Cli) -> None:
    """The secret stands in another process before its deadline; afterwards there are zeros, and no copy of it."""
    shown = cli("demo").out.partition("7. A time to live ends")[2]
    if "not shown" in shown:
        pytest.skip("the memory of a child may not be read here (ptrace_scope)")
    assert "backing        mlock, for this step" in shown
    assert re.search(r"ok +control, \d+\.\d+ s before its deadline: 1 copy found", shown), shown
    assert re.search(r"ok +\d[\d.]* ms after the deadline the 32 bytes at 0x[0-9a-f]+ are zero", shown), shown
    assert "all of the holder's memory that can be read: no copy found" in shown


@needs_linux
def test_demo_fails_when_a_secret_outlives_its_deadline(run_script: Script) -> None:
    """The control: a holder that gives its secret no time to live."""
    preparation = """
        import zeroizepy.cli.demo as demo
        demo._HOLDER = demo._HOLDER.replace(", ttl_sec={ttl}", "").replace("cell.expires_in", "0.5")
        """
    done = run_script(preparation, "demo")
    if "not shown" in done.stdout:
        pytest.skip("the memory of a child may not be read here (ptrace_scope)")
    assert done.returncode == 1, done.stdout
    assert "are still there 2 s after the deadline" in done.stdout
    assert "memory that can be read: 1 copy found" in done.stdout
    assert done.stderr.splitlines()[0] == "zeroizepy: error: not as claimed: step 7"


@needs_linux
@pytest.mark.parametrize("goes", [True, False])
def test_demo_gives_a_machine_that_stood_still_its_time(monkeypatch: pytest.MonkeyPatch, *, goes: bool) -> None:
    """However late the first look comes, a secret that goes then is no failure; one that stays still is."""
    secret = ctypes.create_string_buffer(b"x" * 32)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if goes and len(naps) == 3:
            ctypes.memset(secret, 0, len(secret))

    monkeypatch.setattr(time, "sleep", nap)
    long_ago = time.clock_gettime(time.CLOCK_BOOTTIME) - 60
    late_s = _wait_for_zeros(os.getpid(), ctypes.addressof(secret), long_ago)
    assert (late_s is not None) is goes
    assert (len(naps) == 3) is goes


@needs_linux
def test_demo_claims_nothing_of_memory_that_it_may_not_read(run_script: Script) -> None:
    """Without the right to read another process the demo says which right is missing, and claims nothing."""
    preparation = """
        import zeroizepy.testing
        scan = zeroizepy.testing.scan_process_report
        def refuse(needle, pid=None):
            if pid is None:
                return scan(needle)
            raise PermissionError(13, zeroizepy.scan.process._missing_right(pid), f"/proc/{pid}/mem")
        zeroizepy.testing.scan_process_report = refuse
        """
    done = run_script(preparation, "demo")
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.partition("7. A time to live ends")[2]
    assert re.search(r"not shown +.*CAP_SYS_PTRACE", shown), shown
    assert "deadline" not in shown
    assert "  ok  " not in shown


@needs_linux
def test_demo_fails_when_the_scan_cannot_be_done(run_script: Script) -> None:
    """A step that cannot show its claim makes the demo fail: here the process may not read its own memory."""
    preparation = """
        import zeroizepy.testing
        def refuse(*_): raise PermissionError(13, "not allowed here")
        zeroizepy.testing.scan_process_report = refuse
        """
    done = run_script(preparation, "demo")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert done.stderr.splitlines() == [
        "zeroizepy: error: not as claimed: step 6",
        "zeroizepy: hint: 'zeroizepy doctor' shows what this machine gives",
    ]


@pytest.mark.parametrize(
    ("name", "fault"), [("missing", "no such file or directory"), (".", "is a directory"), ("pipe", "is a FIFO")]
)
def test_demo_wants_a_regular_file(cli: Cli, tmp_path: Path, name: str, fault: str) -> None:
    """Anything else is one line and status 1."""
    os.mkfifo(tmp_path / "pipe")
    result = cli("demo", name)
    assert result.status == 1
    assert result.errors()[0] == f"zeroizepy: error: {name}: {fault}"


def test_doctor_shows_each_fact(cli: Cli) -> None:
    """All that the issue names has a line, and the trial's protection stands there."""
    result = cli("doctor")
    assert (result.status, result.err) == (0, "")
    labels = {line.strip().split("  ")[0] for line in result.out.splitlines() if line.startswith("  ")}
    assert labels >= {
        "memfd_secret", "lock limit", "lock budget", "backing", "core limit", "core pattern", "dumpable",
        "programs run", "swap", "ptrace scope", "CPU AES", "libsodium", "kernel", "python",
    }  # fmt: skip


@pytest.mark.usefixtures("kernel_settings")
def test_doctor_json_has_stable_keys(cli: Cli) -> None:
    """The keys that programs rely on, with values that agree with the system's own."""
    result = cli("doctor", "--json")
    assert result.status == 0
    found = json.loads(result.out)
    assert list(found) == [
        "zeroizepy", "python", "system", "kernel", "machine", "libsodium", "cpu_aes", "secretmem",
        "secretmem_refused_by", "lock_limit", "lock_budget_bytes", "trial", "trial_error", "core_dumps", "swap",
        "no_new_privileges", "ptrace_scope", "can_lock", "findings",
    ]  # fmt: skip
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    assert found["lock_limit"]["hard_bytes"] == (None if hard == resource.RLIM_INFINITY else hard)
    assert found["core_dumps"]["pattern"] == Path("/proc/sys/kernel/core_pattern").read_text().strip()
    assert found["trial"]["locked"] is True
    assert found["zeroizepy"] == version("zeroizepy")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    assert found["ptrace_scope"] == (int(scope.read_text()) if scope.exists() else None)


def test_doctor_follows_the_backend_variable(cli: Cli) -> None:
    """ZEROIZEPY_BACKEND=mlock is shown as the reason why memfd_secret is not in use."""
    found = json.loads(cli("doctor", "--json", ZEROIZEPY_BACKEND="mlock").out)
    assert (found["secretmem"], found["secretmem_refused_by"]) == (False, "ZEROIZEPY_BACKEND")
    assert found["trial"]["backing"] == "mlock"


def test_doctor_fails_when_nothing_can_be_locked(run_script: Script) -> None:
    """A lock limit of 0: status 1, what to do about it, and the facts all the same."""
    done = run_script(lock_limit(0), "doctor")
    assert done.returncode == 1
    assert "Around this process" in done.stdout
    assert "in use" not in done.stdout.partition("Around this process")[0].replace("not in use", "")
    first, second = done.stderr.splitlines()
    assert first.startswith("zeroizepy: error: memory cannot be locked: ")
    assert "ulimit -l" in second


def test_version(cli: Cli) -> None:
    """The one version number."""
    assert cli("--version").out == f"zeroizepy {version('zeroizepy')}\n"


def test_console_script_is_installed() -> None:
    """`zeroizepy` stands beside the interpreter and is the same program."""
    script = Path(sysconfig.get_path("scripts")) / "zeroizepy"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, cwd="/", timeout=60, check=True)
    assert done.stdout == f"zeroizepy {version('zeroizepy')}\n"


@pytest.mark.parametrize(
    "command", ["demo", "doctor", "shred", "wipe-free", "shred-device", "encrypt", "decrypt", "keygen"]
)
def test_each_command_has_help(cli: Cli, command: str) -> None:
    """--help works and stays within a usual terminal."""
    result = cli(command, "--help")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"Usage: zeroizepy {command} ")
    assert command in cli("--help").out


def test_limits_stand_in_the_help(cli: Cli) -> None:
    """shred says what it does not reach, encrypt where the plaintext was."""
    assert "does not reach earlier copies" in " ".join(cli("shred", "--help").out.split())
    assert "it is not locked" in " ".join(cli("encrypt", "--help").out.split())


@pytest.mark.parametrize(
    ("arguments", "fault", "where"),
    [
        ([], "a command is missing: demo, ", ""),
        (["frob"], "no such command 'frob'", ""),
        (["audit"], "a command is missing: append, ", " audit"),
        (["audit", "frob"], "no such command 'frob'", " audit"),
    ],
)
def test_bad_usage(cli: Cli, arguments: list[str], fault: str, where: str) -> None:
    """Status 2 and two lines."""
    result = cli(*arguments)
    assert (result.status, result.out) == (2, "")
    first, second = result.errors()
    assert first.startswith(f"zeroizepy: error: {fault}")
    assert second == f"zeroizepy: hint: see 'zeroizepy{where} --help'"


@pytest.mark.parametrize("variable", ["ZEROIZEPY_BACKEND", "ZEROIZEPY_LOCK_BUDGET"])
def test_bad_environment_is_one_line(cli: Cli, variable: str) -> None:
    """A setting that the core refuses is named."""
    result = cli("doctor", **{variable: "nonsense"})
    assert result.status == 1
    assert variable in result.errors()[0]
    assert "'nonsense'" in result.errors()[0]


def test_an_empty_path_is_shown_as_such(cli: Cli) -> None:
    """The fault names the value, also where it is nothing."""
    assert cli("keygen", "").errors()[0] == "zeroizepy: error: '': path must not be empty"


def test_reader_that_goes_away(program: list[str], clean_environment: Environment) -> None:
    """`zeroizepy doctor | head -0`: nothing on stderr, no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*program, "doctor"], stdout=writer, stderr=subprocess.PIPE, cwd="/", env=clean_environment(), timeout=60,
        check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"]])
def test_full_device_as_stdout(program: list[str], clean_environment: Environment, arguments: list[str]) -> None:
    """One line that names stdout, one with the remedy, and nothing from the interpreter's end."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*program, *arguments], stdout=full, stderr=subprocess.PIPE, cwd="/", env=clean_environment(), timeout=60,
            check=False,
        )  # fmt: skip
    fault = b"zeroizepy: error: stdout: no space left on device\n"
    assert (done.returncode, done.stderr) == (1, fault + b"zeroizepy: hint: make room there, or choose another place\n")


def test_without_click_and_rich(run_script: Script) -> None:
    """The base package alone: what is missing and how to get it."""
    for name in ("click", "rich"):
        done = run_script(f"import sys; sys.modules[{name!r}] = None", "doctor")
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "zeroizepy: error: the command line needs click and rich",
            "zeroizepy: hint: pip install 'zeroizepy[cli]'",
        ]


def test_unforeseen_error_shows_its_type_alone(run_script: Script) -> None:
    """Its text could hold anything, so it is shown only when ZEROIZEPY_TRACEBACK=1 asks for it."""
    preparation = """
        import zeroizepy.process
        def fail(): raise KeyError("hunter2")
        zeroizepy.process.facts = fail
        """
    done = run_script(preparation, "doctor")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "zeroizepy: error: internal error: KeyError"
    assert "ZEROIZEPY_TRACEBACK=1" in done.stderr.splitlines()[1]
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" in run_script(preparation, "doctor", ZEROIZEPY_TRACEBACK="1").stderr


def test_base_package_does_not_import_the_extra() -> None:
    """Importing everything public touches neither click nor rich."""
    script = (
        "import sys, zeroizepy; [getattr(zeroizepy, n) for n in zeroizepy.__all__]; "
        "import zeroizepy.testing, zeroizepy.process; sys.exit(bool({'click', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-I", "-c", script], cwd="/", timeout=60, check=False).returncode == 0
