"""The Windows branch of the core: compiled with mingw-w64, and its unit tests run under wine where that is installed.

What wine shows is that the core makes the right calls and keeps its promises on top of them. What Windows itself does
with locks, working sets and error reports is not tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.core import ROOT, WARNINGS, compile_core, load_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

TARGET = "x86_64-w64-mingw32"
COMPILER = f"{TARGET}-gcc"
# Debian keeps the 64-bit loader off PATH, and its "wine" asks for the 32-bit one.
LOADERS = ["wine64", "/usr/lib/wine/wine64", "wine"]
SERVERS = ["wineserver", "/usr/lib/wine/wineserver"]
TIMEOUT_S = 600
SET_UPS = 20  # That all of them fail, each once in eight times, has a chance of 2^-60.


def fetch_sdist(build: Any, folder: Path) -> Path:
    """PyNaCl's sdist, fetched by pip together with what its metadata needs, which only a build has at hand."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"pynacl=={build.PYNACL} --hash=sha256:{build.SDIST_SHA256}\n", encoding="utf-8")
    options = ["--no-deps", "--no-binary", "pynacl", "--require-hashes", "-d", str(folder), "-r", str(requirement)]
    command = [sys.executable, "-m", "pip", "download", "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs PyNaCl's sdist, which carries libsodium, and pip could not fetch it: {done.stderr[-300:]}")
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def sodium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libsodium for Windows, in the cache where the package's own is, too; built now (a minute) if it is not there."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"needs mingw-w64: {COMPILER} is not on PATH (Debian: apt-get install gcc-mingw-w64-x86-64)")
    build = load_build("zeroizepy_build_for_windows")
    build.CONFIGURE = [*build.CONFIGURE, f"--host={TARGET}"]
    # Without xsave libsodium cannot ask which registers the system saves, and finds neither AVX nor AES.
    flags = ["-O2", "-mxsave", build.SODIUM_DEFINE]
    with pytest.MonkeyPatch.context() as patch:
        entry = build.cache_folder() / f"libsodium-{build.cache_key([COMPILER], flags)}"
        if not build.is_whole(entry) and not os.environ.get("ZEROIZEPY_SODIUM_SDIST"):
            patch.setenv("ZEROIZEPY_SODIUM_SDIST", str(fetch_sdist(build, tmp_path_factory.mktemp("sdist"))))
        built: Path = build.bundled_sodium([COMPILER], flags)
    return built


@pytest.fixture(scope="module")
def compiled(sodium: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that compiles one program of tests/c with the core; a warning fails it."""
    folder = tmp_path_factory.mktemp("windows")
    flags = ["-std=c11", "-O1", "-g", *WARNINGS, "-DSODIUM_STATIC=1", f"-I{ROOT / 'csrc'}"]
    compiler = [COMPILER, *flags, "-isystem", str(sodium / "include"), "-pthread"]
    core = compile_core(compiler, folder / "core")

    def run(name: str) -> Path:
        program = folder / f"{name}.exe"
        if not program.exists():
            inputs = [str(ROOT / "tests/c" / f"{name}.c"), *core, str(sodium / "lib/libsodium.a")]
            command = [*compiler, "-static", *inputs, "-o", str(program)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return program

    return run


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """A function that runs a program under wine, in a Windows of its own that is taken down at the end."""
    loader = next(filter(None, map(shutil.which, LOADERS)), None)
    server = next(filter(None, map(shutil.which, SERVERS)), None)
    if loader is None or server is None:
        pytest.skip("needs wine for 64-bit programs (Debian: apt-get install wine64)")
    folder = tmp_path_factory.mktemp("wine")
    kept = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    own = {
        "HOME": str(folder),
        "WINEDEBUG": "-all",
        # Neither asked for nor wanted: .NET, a browser, and entries in the desktop's menus.
        "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
    }
    environment = {**kept, **own}

    def run(program: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [loader, str(program), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    # wine 8.0 sometimes finds no kernel32.dll while it sets up a folder (once in eight times, on a busy machine).
    for attempt in range(SET_UPS):
        environment["WINEPREFIX"] = str(folder / f"prefix{attempt}")
        done = run("wineboot", "--init")
        if done.returncode == 0:
            break
    else:
        pytest.fail(f"wine could not set up a folder of its own in {SET_UPS} attempts: {done.stderr}")
    yield run
    # Only the server of this folder; it would end by itself some seconds later.
    subprocess.run([server, "-k"], env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.parametrize("name", ["test_core", "test_seal", "stress", "test_windows"])
def test_compiles(compiled: Callable[[str], Path], name: str) -> None:
    """The core and its tests compile and link for Windows without a warning."""
    assert compiled(name).read_bytes()[:2] == b"MZ"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("test_core", []), ("test_seal", []), ("test_seal", ["mlock", "no-aes"]), ("test_windows", [])],
)
def test_core(compiled: Callable[[str], Path], wine: Callable[..., Any], name: str, arguments: list[str]) -> None:
    """Each promise of the core that needs no fork holds; and the calls into kernel32 are the right ones."""
    done = wine(compiled(name), *arguments)
    assert (done.returncode, done.stdout.split()) == (0, ["ok"]), done.stderr


def test_threads_at_random(compiled: Callable[[str], Path], wine: Callable[..., Any]) -> None:
    """Eight threads share and wipe cells: no wrong byte comes out and nothing is left."""
    seed = str(os.getpid())
    done = wine(compiled("stress"), "300000", "8", seed)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    assert done.stdout.startswith("ok: 300000 operations")


def test_a_broken_promise_is_seen(compiled: Callable[[str], Path], wine: Callable[..., Any]) -> None:
    """The control: a program that finds something wrong does not end well under wine either."""
    done = wine(compiled("stress"), "1", "65", "1")  # More threads than it has room for, which it checks.
    assert done.returncode != 0
    assert "thread_count" in done.stderr
