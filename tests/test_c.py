"""The C core alone: unit tests, threads at random and the arena at random, under the compiler's sanitizers.

Each sanitizer has a control: a program with the fault that it looks for, which it has to report.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.core import ROOT, WARNINGS, compile_core, load_build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.long

SANITIZERS = {
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}
RUNTIMES = {"address": "AddressSanitizer", "thread": "ThreadSanitizer"}
DEBUG = ["-fno-omit-frame-pointer", "-g", "-O1"]
# What single programs need beyond that: test_aead chooses nonces; in test_box a key ends in the middle of a call; the
# fuzzer sees each run of pages come and go, test_reaper each thread; test_overwrite has a device in memory; in
# test_fork a thread stops at one place while another forks; in test_names somebody comes between a check and a rename.
EXTRA = {
    "test_aead": ["-Wl,--wrap=zpy_nonce_draw"],
    "test_box": ["-Wl,--wrap=crypto_box_beforenm,--wrap=crypto_sign_ed25519_sk_to_curve25519"],
    "fuzz_arena": ["-Wl,--wrap=zpy_pages_map,--wrap=zpy_pages_unmap"],
    "test_fork": ["-Wl,--wrap=zpy_pages_map,--wrap=zpy_pages_protect,--wrap=sodium_memzero"],
    "test_names": ["-Wl,--wrap=zpy_file_rename"],
    "test_overwrite": [
        "-Wl,--wrap=zpy_os_write_at,--wrap=zpy_os_read_at,--wrap=zpy_os_direct,--wrap=zpy_os_thread_start",
        "-Wl,--wrap=zpy_os_release",
    ],
    "test_truncate": ["-Wl,--wrap=zpy_os_thread_start"],
    "test_reaper": ["-Wl,--wrap=pthread_create,--wrap=pthread_join,--wrap=free"],
}
# A leak or a race ends a program with a status of its own, whatever the environment of the tests says.
REPORTS = {"ASAN_OPTIONS": "detect_leaks=1", "LSAN_OPTIONS": "exitcode=23", "TSAN_OPTIONS": "exitcode=66"}
LEAK_STATUS, RACE_STATUS = 23, 66

OPERATIONS = os.environ.get("ZEROIZEPY_STRESS_OPERATIONS", "100000")
RACE_OPERATIONS = os.environ.get("ZEROIZEPY_RACE_OPERATIONS", "50000")
FUZZ_OPERATIONS = os.environ.get("ZEROIZEPY_FUZZ_OPERATIONS", "300000")
BACKINGS = pytest.mark.parametrize("backing", ["secretmem", "mlock"])


@pytest.fixture(scope="module")
def build() -> Any:
    """build_ffi.py, for the compiler and the libsodium that the package was built with."""
    return load_build("zeroizepy_build_for_c")


@pytest.fixture(scope="module")
def compiled(build: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A function that compiles one program of tests/c with the core and a sanitizer."""
    try:
        compiler = build.find_compiler()
        sodium = build.find_sodium(compiler, build.hardening_flags(compiler))
    except build.BuildError as error:
        pytest.skip(f"no compiler or libsodium to build C tests with: {error}")
    folder = tmp_path_factory.mktemp("c")
    cores: dict[str, list[str]] = {}

    def make(name: str, sanitizer: str) -> Path:
        program = folder / f"{name}-{sanitizer}"
        if not program.exists():
            if not build.compiles(compiler, SANITIZERS[sanitizer], "int main(void) { return 0; }\n", link=True):
                pytest.skip(f"{compiler[0]} has no {RUNTIMES[sanitizer]} runtime")
            flags = ["-std=c11", *SANITIZERS[sanitizer], *DEBUG, *WARNINGS, "-pthread"]
            command = [*compiler, *flags, *sodium.compile_flags, f"-I{ROOT / 'csrc'}"]
            if sanitizer not in cores:
                cores[sanitizer] = compile_core(command, folder / sanitizer)
            inputs = [*EXTRA.get(name, []), str(ROOT / "tests/c" / f"{name}.c"), *cores[sanitizer]]
            libraries = [*sodium.archives, *sodium.link_flags, "-lrt"]
            subprocess.run([*command, *inputs, *libraries, "-o", str(program)], check=True)
        return program

    return make


@pytest.fixture
def run(compiled: Callable[[str, str], Path], tmp_path: Path) -> Run:
    """Run a program of tests/c, leaks and races being errors."""

    def to_its_end(name: str, *arguments: str, sanitizer: str = "address") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [compiled(name, sanitizer), *arguments],
            cwd=tmp_path,
            env={**os.environ, **REPORTS},
            capture_output=True,
            text=True,
            check=False,
        )

    return to_its_end


@pytest.fixture
def leaks_are_seen(run: Run) -> None:
    """The control for leaks. LeakSanitizer stops the threads of a process with ptrace, which some systems forbid."""
    done = run("control_leak")
    if "LeakSanitizer has encountered a fatal error" in done.stderr:
        pytest.skip("LeakSanitizer cannot work here: it needs the right to ptrace its own process")
    assert done.returncode == LEAK_STATUS, done.stderr
    found = re.search(r"leaked in (\d+) allocation", done.stderr)
    assert found is not None, done.stderr
    assert int(found[1]) > 90  # Of a hundred; an address may linger in a register.


@pytest.fixture
def races_are_seen(run: Run) -> None:
    """The control for races: two threads that write to one cell's bytes are reported."""
    done = run("control_race", sanitizer="thread")
    if "FATAL: ThreadSanitizer: unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer cannot work here: it needs less address space randomisation (vm.mmap_rnd_bits)")
    assert done.returncode == RACE_STATUS, done.stderr
    assert "WARNING: ThreadSanitizer: data race" in done.stderr


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_core(run: Run, backing: str) -> None:
    """Each promise of the core holds on both backings, and nothing is leaked."""
    done = run("test_core", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.parametrize("cipher", ["aes", "no-aes"])
@pytest.mark.usefixtures("leaks_are_seen")
def test_sealed_cells(run: Run, backing: str, cipher: str) -> None:
    """Each promise of the sealed tier holds, with AES instructions and without; nothing is leaked."""
    done = run("test_seal", backing, cipher)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: renameat2")
@pytest.mark.usefixtures("leaks_are_seen")
def test_names_of_many_files(run: Run) -> None:
    """Names are hidden and removed, and those of others are left alone, whatever comes between."""
    done = run("test_names")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX: ftruncate")
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.usefixtures("leaks_are_seen", "races_are_seen")
def test_files_cut_by_several_threads(run: Run, sanitizer: str) -> None:
    """Each file is cut once and has its answer, with as many threads as can be had."""
    done = run("test_truncate", sanitizer=sanitizer)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_signing_keys(run: Run, backing: str) -> None:
    """Each promise of signing keys holds in every tier, the stack is cleared, and nothing is leaked."""
    done = run("test_sign", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_boxes(run: Run, backing: str) -> None:
    """Each promise of X25519 keys and boxes holds in every tier, the stack is cleared, and nothing is leaked."""
    done = run("test_box", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_shapes_of_libsodium(run: Run, backing: str) -> None:
    """Each promise of what is handed on to libsodium holds: the stack is cleared, what fails leaves zeros."""
    done = run("test_sodium", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_messages(run: Run, backing: str) -> None:
    """Each promise of keys for messages holds for every algorithm in every tier; nonces never repeat in a child."""
    done = run("test_aead", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_chunked_encryption(run: Run, backing: str) -> None:
    """Each promise of a file's key holds in every tier, within bounds, the stack is cleared, and nothing is leaked."""
    done = run("test_chunked", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_derived_and_wrapped_keys(run: Run, backing: str) -> None:
    """Each promise of keys made from others or wrapped under them holds in every tier; nothing is leaked."""
    done = run("test_derive", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_passwords_and_hashes(run: Run, backing: str) -> None:
    """Vectors and refusals of Argon2, scrypt and hashes, and states that are zeroed while they are worked on."""
    done = run("test_pwhash", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("races_are_seen")
def test_core_without_races(run: Run, backing: str) -> None:
    """The core's thread works on the same cells without a data race, as far as the tests do not fork."""
    done = run("test_core", backing, "nofork", sanitizer="thread")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("races_are_seen")
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_reaper(run: Run, backing: str, sanitizer: str) -> None:
    """The core's thread is started and stopped by several threads at once, and deadlines are kept."""
    done = run("test_reaper", backing, sanitizer=sanitizer)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@pytest.mark.usefixtures("leaks_are_seen", "races_are_seen")
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_overwriting(run: Run, sanitizer: str) -> None:
    """Several workers write and compare spans, on a device that fails: each byte is right, skipped or told."""
    done = run("test_overwrite", sanitizer=sanitizer)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_fork(run: Run, backing: str) -> None:
    """A child of a process with threads has no secret without an owner, and no claim on memory of others."""
    done = run("test_fork", backing)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


# The tests of fatal signals handle them themselves, on stacks that the sanitizer does not know.
OWN_HANDLERS = {"ASAN_OPTIONS": "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:use_sigaltstack=0"}
CRASHES = "500"  # On each of two backings.


@pytest.mark.parametrize("backing", ["secretmem", "mlock"])
@pytest.mark.parametrize(
    "program",
    [["test_fatal"], ["test_fatal_threads", CRASHES], ["test_fatal_uses", CRASHES]],
    ids=lambda program: program[0],
)
def test_fatal_signals(compiled: Any, backing: str, program: list[str]) -> None:
    """Signals that end the process wipe all secrets first, beside held locks and at any moment, and never hang."""
    command = [compiled(program[0], "address"), backing, *program[1:]]
    environment = {**os.environ, **OWN_HANDLERS}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-4000:]


def check_stress(run: Run, operations: str, backing: str, sanitizer: str) -> None:
    """Eight threads at random, with a seed that a failure shows."""
    done = run("stress", operations, "8", str(os.getpid()), backing, sanitizer=sanitizer)
    assert (done.returncode, done.stderr) == (0, ""), f"seed {os.getpid()}: {done.stderr}"
    assert done.stdout.startswith(f"ok: {operations} operations")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_threads_at_random(run: Run, backing: str) -> None:
    """Eight threads share and wipe cells: no wrong byte comes out, and nothing is left or leaked."""
    check_stress(run, OPERATIONS, backing, "address")


@BACKINGS
@pytest.mark.usefixtures("races_are_seen")
def test_threads_without_races(run: Run, backing: str) -> None:
    """The same eight threads, and the core's own: ThreadSanitizer finds no data race and no lock out of order."""
    check_stress(run, RACE_OPERATIONS, backing, "thread")


@BACKINGS
@pytest.mark.usefixtures("leaks_are_seen")
def test_arena_at_random(run: Run, backing: str) -> None:
    """The arena does what a plain model of it says, in each of many operations; damage is found, nothing is leaked."""
    done = run("fuzz_arena", FUZZ_OPERATIONS, str(os.getpid()), backing)
    assert (done.returncode, done.stderr) == (0, ""), f"seed {os.getpid()}: {done.stderr}"
    assert done.stdout.startswith(f"ok: {FUZZ_OPERATIONS} operations")
    # Each kind of operation has happened, or the model was asked nothing.
    happened = {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", done.stdout)}
    assert set(happened) == {"operations", "taken", "larger", "mapped", "unmapped", "refused", "failed", "found"}
    assert all(happened.values()), done.stdout
    assert happened["taken"] > happened["operations"] / 20
