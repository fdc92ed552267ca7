"""How the compiled core is built: what cffi is told, the compiler's flags, and where libsodium comes from.

Environment variables:
    SODIUM_INSTALL: "bundled" (default) builds libsodium from PyNaCl's sdist and links it in statically; "system" links
        the system's, found through pkg-config.
    ZEROIZEPY_SODIUM_SDIST: That sdist as a file, so that nothing is fetched.
    ZEROIZEPY_CACHE_DIR: Folder for the built libsodium; default "zeroizepy" in $XDG_CACHE_HOME or ~/.cache. Refused
        when another user could change it.
    ZEROIZEPY_CFLAGS: More flags for compiling the core; not for libsodium.
    CC, MAKE, PKG_CONFIG: Programs to use.
CFLAGS, CPPFLAGS, LDFLAGS and LIBS reach the core, as with any extension module, but not libsodium, whose cache
does not tell them apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cffi import FFI

ROOT = Path(__file__).resolve().parent
PYNACL = "1.6.2"
SDIST_SHA256 = "018494d6d696ae03c7e656e5e74cdfd8ea1326962cc401bcf018f1ed8436811c"
SODIUM_FOLDER = f"pynacl-{PYNACL}/src/libsodium"
SYSTEM_SODIUM_FLOOR = (1, 0, 18)
# What the core calls and a reduced libsodium may lack; the rest has been in every release since the floor.
SODIUM_FUNCTIONS = (
    "crypto_aead_aes256gcm_encrypt_detached_afternm",
    "crypto_stream_chacha20_xor_ic",
    "sodium_stackzero",
)

HARDENING = ["-O2", "-fPIC", "-fvisibility=hidden", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
OPTIONAL_HARDENING = ["-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection"]
# --exclude-libs keeps libsodium's functions out of the module's dynamic symbols even when it was built to show them.
# Before glibc 2.34 timer_create is in librt, which is empty since, and with other C libraries.
LINUX_LINK = ["-pthread", "-lrt", "-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--exclude-libs,ALL"]
# Built static and hidden: SODIUM_STATIC takes the "visible" mark off libsodium's functions.
SODIUM_DEFINE = "-DSODIUM_STATIC=1"
# Its AES-256-GCM is loops over arrays that live in registers only once they are unrolled: -O2 has 0.4 of the speed.
SODIUM_FLAGS = ["-O3", SODIUM_DEFINE]
CONFIGURE = ["--disable-shared", "--enable-static", "--with-pic", "--disable-debug", "--disable-dependency-tracking"]
LOG_TAIL_LINES = 15

# cffi brackets every call with Py_BEGIN_ALLOW_THREADS and Py_END_ALLOW_THREADS and names the functions they stand in
# _cffi_f_<name>. The comparison has constant operands, so an optimizing compiler leaves one branch of it.
PREAMBLE = r"""
#include "zpy_internal.h"

/* Functions named zpy_cell_* and zpy_key_* keep the GIL. They are short and never block, and giving it up and taking
 * it back costs more than most of them do; getenv is then safe from os.putenv in another thread. They may wait for a
 * mutex of the core: its holder never waits for the GIL, since nothing in the core calls Python. */
#define ZPY_STARTS_WITH(text, prefix) (__builtin_strncmp(text, prefix, sizeof(prefix) - 1) == 0)
#define ZPY_KEEPS_GIL \
    (ZPY_STARTS_WITH(__func__, "_cffi_f_zpy_cell_") || ZPY_STARTS_WITH(__func__, "_cffi_f_zpy_key_"))
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS { PyThreadState *zpy_thread = ZPY_KEEPS_GIL ? NULL : PyEval_SaveThread();
#define Py_END_ALLOW_THREADS if (!ZPY_KEEPS_GIL) { PyEval_RestoreThread(zpy_thread); } }
"""


class BuildError(SystemExit):
    """Ends the build with one sentence, which pip shows as the last line of the output."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"zeroizepy: error: {sentence}")


class Tools(NamedTuple):
    """What libsodium is built with."""

    compiler: list[str]
    make: list[str]
    flags: list[str]


class Sodium(NamedTuple):
    """What the core needs to compile and link against libsodium."""

    compile_flags: list[str]
    link_flags: list[str]
    archives: list[str]


def make_ffi() -> FFI:
    """Tell cffi about the module. Needs no compiler; setup.py adds `extension_options()` when there is one."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef((ROOT / "csrc/zpy_api.h").read_text(encoding="utf-8"))
    ffi.set_source(
        "zeroizepy._native",
        PREAMBLE,
        sources=sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/*.c")),
        include_dirs=["csrc"],
        py_limited_api=True,
    )
    return ffi


def extension_options() -> dict[str, list[str]]:
    """What to add to each option of the setuptools Extension.

    Raises:
        BuildError: Something that the build needs is missing; the sentence says what and what to do.
    """
    if os.name != "posix":
        raise BuildError(
            f"the extension builds on POSIX systems only, and this is {sys.platform}; for Windows there is the C core "
            "alone, tested under wine (LIMITATIONS.md); use Linux"
        )
    compiler = find_compiler()
    flags = hardening_flags(compiler)
    sodium = find_sodium(compiler, flags)
    extra = shlex.split(os.environ.get("ZEROIZEPY_CFLAGS", ""))
    # Headers of others come in as system headers: warnings asked for in ZEROIZEPY_CFLAGS are about the core.
    system = ["-isystem", sysconfig.get_path("include")]
    return {
        "extra_compile_args": ["-std=c11", *flags, *system, *sodium.compile_flags, *extra],
        "extra_link_args": [*sodium.link_flags, *(LINUX_LINK if sys.platform.startswith("linux") else [])],
        "extra_objects": sodium.archives,
    }


def find_compiler() -> list[str]:
    """The command that setuptools compiles C with: $CC, or the compiler that Python itself was built with.

    Where the latter is not installed, the first of cc, gcc and clang that is becomes $CC.
    """
    given = os.environ.get("CC", "")
    command = shlex.split(given or sysconfig.get_config_var("CC") or "cc")
    if not shutil.which(command[0]):
        others = [] if given else [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
        if not others:
            raise BuildError(
                f"no C compiler: {command[0]!r} is not on PATH; install one, such as gcc, or name it in CC"
            )
        command = [others[0]]
        os.environ["CC"] = others[0]
    for header, package in (("stdint.h", "libc6-dev"), ("Python.h", "python3-dev")):
        if not compiles(command, ["-I", sysconfig.get_path("include")], f"#include <{header}>\n", link=False):
            raise BuildError(
                f"the C compiler {shlex.join(command)!r} cannot compile a file that includes <{header}>; "
                f"install the headers (Debian: apt-get install {package})"
            )
    return command


def compiles(compiler: list[str], flags: list[str], source: str, *, link: bool) -> bool:
    """Say whether the compiler takes this source with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(source, encoding="utf-8")
        command = [*compiler, str(probe), *([] if link else ["-c"]), "-o", str(Path(folder, "probe")), *flags]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def hardening_flags(compiler: list[str]) -> list[str]:
    """The hardening flags that this compiler and its target take."""
    source = "int main(void) { return 0; }\n"
    return HARDENING + [flag for flag in OPTIONAL_HARDENING if compiles(compiler, ["-Werror", flag], source, link=True)]


def find_sodium(compiler: list[str], flags: list[str]) -> Sodium:
    """Get libsodium the way SODIUM_INSTALL asks for."""
    choice = os.environ.get("SODIUM_INSTALL", "") or "bundled"
    if choice == "system":
        return system_sodium(compiler)
    if choice != "bundled":
        raise BuildError(f"SODIUM_INSTALL must be 'bundled' or 'system', not {choice!r}")
    entry = bundled_sodium(compiler, [*flags, *SODIUM_FLAGS])
    return Sodium([SODIUM_DEFINE, "-isystem", str(entry / "include")], [], [str(entry / "lib/libsodium.a")])


def system_sodium(compiler: list[str]) -> Sodium:
    """The system's libsodium, by pkg-config."""
    tool = shlex.split(os.environ.get("PKG_CONFIG", "") or "pkg-config")
    if not shutil.which(tool[0]):
        raise BuildError(f"SODIUM_INSTALL=system needs pkg-config, and {tool[0]!r} is not on PATH; install it")

    def ask(question: str) -> str | None:
        done = subprocess.run([*tool, question, "libsodium"], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    version, compile_flags, link_flags = ask("--modversion"), ask("--cflags"), ask("--libs")
    if version is None or compile_flags is None or link_flags is None:
        raise BuildError("SODIUM_INSTALL=system: pkg-config does not know libsodium; install its development files")
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < SYSTEM_SODIUM_FLOOR:
        floor = ".".join(str(number) for number in SYSTEM_SODIUM_FLOOR)
        raise BuildError(f"the system's libsodium is {version}, and {floor} is needed; unset SODIUM_INSTALL")
    sodium = Sodium(shlex.split(compile_flags), shlex.split(link_flags), [])
    for function in SODIUM_FUNCTIONS:
        source = f"#include <sodium.h>\nint main(void) {{ void *volatile used = (void *) {function}; return !used; }}\n"
        if not compiles(compiler, [*sodium.compile_flags, *sodium.link_flags], source, link=True):
            raise BuildError(f"the system's libsodium {version} lacks {function}; unset SODIUM_INSTALL")
    return sodium


def bundled_sodium(compiler: list[str], flags: list[str]) -> Path:
    """The cache entry with libsodium built from PyNaCl's sdist; built now if it is not there whole."""
    sdist = given_sdist()
    cache = cache_folder()
    entry = cache / f"libsodium-{cache_key(compiler, flags)}"
    try:
        make_private(cache)
        if is_whole(entry):
            return entry
        make = shlex.split(os.environ.get("MAKE", "") or "make")
        if not shutil.which(make[0]):
            raise BuildError(f"no make: {make[0]!r} is not on PATH; install it, or use SODIUM_INSTALL=system")
        with locked(cache):
            if not is_whole(entry):
                fill_entry(entry, Tools(compiler, make, flags), sdist)
    except OSError as error:
        raise BuildError(f"no libsodium in {cache}: {error}; name another folder in ZEROIZEPY_CACHE_DIR") from error
    return entry


def cache_folder() -> Path:
    """Where built libsodiums are kept. Links on the way there are resolved, so that they cannot be turned later."""
    given = os.environ.get("ZEROIZEPY_CACHE_DIR", "")
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.cache")
    folder = Path(given or f"{base}/zeroizepy").absolute()
    folder = Path(os.path.realpath(folder.parent), folder.name)
    if re.search(r"[^\w./+@%:,-]", str(folder)):
        raise BuildError(f"configure refuses the folder name {str(folder)!r}; name a plain one in ZEROIZEPY_CACHE_DIR")
    return folder


def make_private(folder: Path) -> None:
    """Make the folder where it is missing, and refuse it when somebody else could put a library there.

    Whoever owns a folder on the way there or may write to it can put another in its place; where the sticky bit is set
    (/tmp) only the owner can. Root is trusted, and the owner of "/", whom a container may show under another number.
    """
    for path in (*reversed(folder.parents), folder):
        path.mkdir(mode=0o700, exist_ok=True)
        check_private(path, above=path != folder)


def check_private(path: Path, *, above: bool = False) -> None:
    """Refuse a link, what somebody else owns, and what others may write to; `above` the cache, as told there."""
    status, user = path.lstat(), os.geteuid()
    owners = {user, 0, Path("/").stat().st_uid} if above else {user}
    faults = {
        "is a symbolic link": stat.S_ISLNK(status.st_mode),
        f"belongs to user {status.st_uid} and not to user {user}, who builds": status.st_uid not in owners,
        "is open to others' writes": status.st_mode & 0o022 and not (above and status.st_mode & stat.S_ISVTX),
    }
    for fault in filter(faults.get, faults):
        raise BuildError(f"{path} {fault}; correct that, or name a folder of your own in ZEROIZEPY_CACHE_DIR")


def cache_key(compiler: list[str], flags: list[str]) -> str:
    """Names what a built libsodium depends on: its source, the compiler and its target, and the flags."""
    answers = [
        subprocess.run([*compiler, question], capture_output=True, text=True, check=False).stdout
        for question in ("--version", "-dumpmachine")
    ]
    parts = [SDIST_SHA256, *compiler, *flags, *CONFIGURE, *answers]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def checksums(entry: Path) -> str:
    """One line for each file of an entry, the list itself left out."""
    files = sorted(path for path in entry.rglob("*") if path.is_file() and path != entry / "complete")
    return "".join(f"{file_sha256(path)}  {path.relative_to(entry).as_posix()}\n" for path in files)


def is_whole(entry: Path) -> bool:
    """Say whether all files of the entry are there, unchanged since they were built; refuse what is not private."""
    with contextlib.suppress(OSError, ValueError):
        for path in (entry, *entry.rglob("*")):
            check_private(path)
        return (entry / "complete").read_text(encoding="utf-8") == checksums(entry)
    return False


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Let one build at a time change the cache."""
    import fcntl

    lock = os.open(cache / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def fill_entry(entry: Path, tools: Tools, sdist: bytes | None) -> None:
    """Build libsodium beside its cache entry and move it there in one step; the lock is held."""
    for leftover in entry.parent.glob("build-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix="build-") as name:
        work = Path(name)
        source = extract(sdist or fetch_sdist(work), work / "source")
        installed = compile_sodium(source, work / "installed", entry.with_suffix(".log"), tools)
        fresh = work / "entry"
        shutil.copytree(installed / "include", fresh / "include")
        (fresh / "lib").mkdir()
        shutil.copy2(installed / "lib/libsodium.a", fresh / "lib")
        (fresh / "complete").write_text(checksums(fresh), encoding="utf-8")
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        if entry.exists():
            entry.rename(work / "damaged")
        fresh.rename(entry)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def given_sdist() -> bytes | None:
    """The sdist that ZEROIZEPY_SODIUM_SDIST names, if it names one."""
    given = os.environ.get("ZEROIZEPY_SODIUM_SDIST", "")
    return checked_sdist(Path(given), "ZEROIZEPY_SODIUM_SDIST") if given else None


def checked_sdist(path: Path, origin: str) -> bytes:
    """The file's bytes, if it is the sdist that this build was written for; what is unpacked is what was hashed."""
    if not path.is_file() or not os.access(path, os.R_OK):
        raise BuildError(f"{origin}: {path} is not a file that can be read; it must be the sdist of PyNaCl {PYNACL}")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SDIST_SHA256:
        raise BuildError(f"{origin}: {path} has SHA-256 {found}, but PyNaCl {PYNACL}'s sdist has {SDIST_SHA256}")
    return data


def fetch_sdist(folder: Path) -> bytes:
    """Fetch the sdist with pip, which checks the hash before it runs anything from it."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"pynacl=={PYNACL} --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
    options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return checked_sdist(next(folder.glob("*.tar.gz"), folder), "pip download")
    if "DO NOT MATCH THE HASHES" in done.stdout + done.stderr:
        raise BuildError(f"the sdist of PyNaCl {PYNACL} that pip fetched does not have SHA-256 {SDIST_SHA256}")
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no output"]
    raise BuildError(
        f"pip could not fetch PyNaCl {PYNACL}, whose sdist carries libsodium ({errors[-1]}); check the network, or "
        "name the sdist in ZEROIZEPY_SODIUM_SDIST, or use SODIUM_INSTALL=system"
    )


def extract(sdist: bytes, target: Path, folder: str = SODIUM_FOLDER) -> Path:
    """Unpack one folder out of the sdist: libsodium's, unless another one is named.

    Raises:
        BuildError: A member is neither a plain file nor a folder, or its name leads out of the target.
    """
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        members = archive.getmembers()
        for member in members:
            parts = member.name.split("/")
            if not (member.isfile() or member.isdir()) or ".." in parts or not parts[0] or "\\" in member.name:
                raise BuildError(f"PyNaCl's sdist: member {member.name!r} is not safe to unpack")
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(target, [member for member in members if member.name.startswith(f"{folder}/")])
    return target / folder


def compile_sodium(source: Path, prefix: Path, log: Path, tools: Tools) -> Path:
    """configure, make, make install; the log stays when one of them fails."""
    sys.stderr.write(f"zeroizepy: building libsodium (20 seconds on two cores) for {prefix.parent.parent}\n")
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    setting = [f"CC={shlex.join(tools.compiler)}", f"CFLAGS={shlex.join(tools.flags)}"]
    not_passed_on = {"CFLAGS", "CPPFLAGS", "LDFLAGS", "LIBS", "MAKEFLAGS", "DESTDIR", "CONFIG_SITE"}
    environment = {name: value for name, value in os.environ.items() if name not in not_passed_on}
    configure = ["sh", "./configure", f"--prefix={prefix}", *CONFIGURE, *setting]
    log.unlink(missing_ok=True)
    with log.open("xb") as out:
        for command in (configure, [*tools.make, f"-j{jobs}"], [*tools.make, "install"]):
            done = subprocess.run(
                command, cwd=source, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
            )
            if done.returncode != 0:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
                sys.stderr.writelines(lines[-LOG_TAIL_LINES:])
                raise BuildError(f"building libsodium failed in {shlex.join(command[:2])!r}; the whole log is {log}")
    log.unlink()
    return prefix
