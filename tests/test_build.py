"""build_ffi.py: what it asks for, what it refuses and says, and its cache. Nothing here uses a network."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
HEADER = (ROOT / "csrc/zpy_api.h").read_text(encoding="utf-8")
VARIABLES = ("CC", "MAKE", "PKG_CONFIG", "SODIUM_INSTALL", "ZEROIZEPY_SODIUM_SDIST", "ZEROIZEPY_CFLAGS")


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """build_ffi.py of the checkout, with an empty cache and none of the user's settings."""
    spec = importlib.util.spec_from_file_location("zeroizepy_build_ffi", ROOT / "build_ffi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZEROIZEPY_CACHE_DIR", str(tmp_path / "cache"))
    return module


def program(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def sentence(build: Any, call: Callable[[], object]) -> str:
    """What the call ends the build with: one line, marked as ours."""
    with pytest.raises(build.BuildError) as caught:
        call()
    text = str(caught.value)
    assert text.startswith("zeroizepy: error: ")
    assert "\n" not in text
    return text


# ---- what cffi is told ----


def test_header_has_no_preprocessor_lines() -> None:
    """The compiler and cdef() read the same text."""
    assert [line for line in HEADER.splitlines() if line.lstrip().startswith("#")] == []


def test_make_ffi_needs_no_compiler(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata and an sdist are made without one; all C files are sources."""
    monkeypatch.setenv("PATH", "")
    name, preamble, _, options = build.make_ffi()._assigned_source
    assert name == "zeroizepy._native"
    assert '#include "zpy_internal.h"' in preamble
    assert options["sources"] == sorted(f"csrc/{path.name}" for path in (ROOT / "csrc").glob("*.c"))
    assert options["py_limited_api"] is True


# ---- the compiler ----


def test_no_compiler(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any compiler on PATH the sentence names the one that Python wants, and CC."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(build.sysconfig, "get_config_var", lambda _name: "some-cc -pthread")
    assert "no C compiler: 'some-cc' is not on PATH" in sentence(build, build.find_compiler)


def test_named_compiler_is_missing(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler named in CC is never replaced by another."""
    monkeypatch.setenv("CC", "/nonexistent/cc -O1")
    assert "no C compiler: '/nonexistent/cc'" in sentence(build, build.find_compiler)


def test_other_compiler_is_found(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python was built with a compiler that is not here: gcc is used, and setuptools is told through CC."""
    program(tmp_path / "gcc", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "")
    monkeypatch.setattr(build.sysconfig, "get_config_var", lambda _name: "absent-cc")
    assert build.find_compiler() == ["gcc"]
    assert build.os.environ["CC"] == "gcc"


@pytest.mark.parametrize(("header", "package"), [("stdint.h", "libc6-dev"), ("Python.h", "python3-dev")])
def test_missing_headers(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, header: str, package: str
) -> None:
    """A compiler without the C library's or Python's headers is told apart from no compiler."""
    compiler = program(tmp_path / "cc", f'! grep -q "{header}" "$1"')
    monkeypatch.setenv("CC", str(compiler))
    text = sentence(build, build.find_compiler)
    assert f"<{header}>" in text
    assert package in text


def test_flags_are_probed(build: Any, tmp_path: Path) -> None:
    """A hardening flag that the compiler refuses is left out, the others stay."""
    compiler = program(tmp_path / "cc", 'case "$*" in *cf-protection*) exit 1;; esac')
    flags = build.hardening_flags([str(compiler)])
    assert "-fcf-protection" not in flags
    assert {"-fstack-protector-strong", "-D_FORTIFY_SOURCE=3", "-fvisibility=hidden"} <= set(flags)


def test_extra_flags_come_last(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZEROIZEPY_CFLAGS can override ours."""
    monkeypatch.setattr(build, "find_compiler", lambda: ["cc"])
    monkeypatch.setattr(build, "hardening_flags", lambda _compiler: ["-O2"])
    monkeypatch.setattr(build, "find_sodium", lambda *_: build.Sodium(["-DA"], ["-lb"], ["c.a"]))
    monkeypatch.setenv("ZEROIZEPY_CFLAGS", "-Werror '-DTEXT=a b'")
    options = build.extension_options()
    assert options["extra_compile_args"][:2] == ["-std=c11", "-O2"]
    assert options["extra_compile_args"][-3:] == ["-DA", "-Werror", "-DTEXT=a b"]
    assert options["extra_objects"] == ["c.a"]


def test_libsodium_is_optimized_as_its_authors_do(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last optimization flag that libsodium gets is its own default: its AES-GCM is far slower without."""
    given: list[str] = []

    def entry(_compiler: list[str], flags: list[str]) -> Path:
        given.extend(flags)
        return tmp_path

    monkeypatch.setattr(build, "bundled_sodium", entry)
    build.find_sodium(["cc"], ["-O2", "-fPIC"])
    assert [flag for flag in given if flag.startswith("-O")][-1] == "-O3"
    assert "-fPIC" in given


# ---- the system's libsodium ----


def test_unknown_choice(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt SODIUM_INSTALL is not taken for the default."""
    monkeypatch.setenv("SODIUM_INSTALL", "sytem")
    assert "'bundled' or 'system', not 'sytem'" in sentence(build, lambda: build.find_sodium(["cc"], []))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "needs pkg-config"),
        ("exit 1", "does not know libsodium"),
        ("echo 1.0.17", "is 1.0.17, and 1.0.18 is needed"),
        ('case "$1" in --modversion) echo 1.0.18;; esac', "1.0.18 lacks crypto_aead_aes256gcm"),
    ],
)
def test_system_sodium_is_refused(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, expected: str
) -> None:
    """No pkg-config, no libsodium, an old one, and one without a function that the core calls."""
    path = tmp_path / "pkg-config"
    monkeypatch.setenv("PKG_CONFIG", str(program(path, script) if script else path))
    monkeypatch.setenv("SODIUM_INSTALL", "system")
    failing = program(tmp_path / "cc", "exit 1")
    assert expected in sentence(build, lambda: build.find_sodium([str(failing)], []))


def test_system_sodium_is_used(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its flags are pkg-config's; nothing is linked in statically."""
    script = 'case "$1" in --modversion) echo 1.0.20;; --cflags) echo -I/x;; --libs) echo -lsodium;; esac'
    monkeypatch.setenv("PKG_CONFIG", str(program(tmp_path / "pkg-config", script)))
    monkeypatch.setenv("SODIUM_INSTALL", "system")
    compiler = program(tmp_path / "cc", "exit 0")
    assert build.find_sodium([str(compiler)], []) == (["-I/x"], ["-lsodium"], [])


# ---- PyNaCl's sdist ----


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A tar member of two bytes when it is a file."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = 2 if kind == tarfile.REGTYPE else 0
    return info


def sdist_of(*members: tarfile.TarInfo) -> bytes:
    """An archive of these members."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"ok"[: info.size]))
    return data.getvalue()


def test_extract_takes_only_libsodium(build: Any, tmp_path: Path) -> None:
    """The rest of PyNaCl stays in the archive."""
    names = (f"{build.SODIUM_FOLDER}/configure", f"{build.SODIUM_FOLDER}/src/a.c", f"pynacl-{build.PYNACL}/setup.py")
    source = build.extract(sdist_of(*(member(name) for name in names)), tmp_path / "out")
    files = {path.relative_to(source).as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"configure", "src/a.c"}
    assert (source / "configure").read_bytes() == b"ok"


@pytest.mark.parametrize(
    "bad",
    [
        member("pynacl-1.6.2/src/libsodium/../../../../escaped"),
        member("/absolute"),
        member("..\\escaped"),
        member("pynacl-1.6.2/src/libsodium/link", tarfile.SYMTYPE, "/etc"),
        member("pynacl-1.6.2/src/libsodium/hard", tarfile.LNKTYPE, "../escaped"),
        member("pynacl-1.6.2/src/libsodium/fifo", tarfile.FIFOTYPE),
    ],
    ids=lambda info: info.name.rpartition("/")[2],
)
def test_extract_refuses_unsafe_members(build: Any, tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """One unsafe member refuses the archive before anything is written, the good member before it too."""
    folder = tmp_path / "deep/down/here/out"
    sdist = sdist_of(member(f"{build.SODIUM_FOLDER}/configure"), bad)
    assert repr(bad.name) in sentence(build, lambda: build.extract(sdist, folder))
    assert list(tmp_path.iterdir()) == []


def test_what_is_unpacked_is_what_was_hashed(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sdist that is swapped after its hash was checked is not the one that gets built."""
    path, sdist = tmp_path / "sdist.tar.gz", sdist_of(member("checked"))
    path.write_bytes(sdist)
    monkeypatch.setattr(build, "SDIST_SHA256", build.file_sha256(path))
    monkeypatch.setenv("ZEROIZEPY_SODIUM_SDIST", str(path))
    fake_build(build, monkeypatch, tmp_path)
    unpacked: list[bytes] = []

    def extract(data: bytes, target: Path) -> Path:
        unpacked.append(data)
        return target

    monkeypatch.setattr(build, "extract", extract)
    monkeypatch.setattr(build, "make_private", lambda folder: (folder.mkdir(0o700), path.write_bytes(b"swapped")))
    build.bundled_sodium([str(program(tmp_path / "cc", "echo 1"))], [])
    assert unpacked == [sdist]


def test_wrong_hash_is_refused(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sentence has the path, what was found and what was expected."""
    path = tmp_path / "pynacl-1.6.2.tar.gz"
    path.write_bytes(b"not it")
    monkeypatch.setenv("ZEROIZEPY_SODIUM_SDIST", str(path))
    text = sentence(build, lambda: build.bundled_sodium(["cc"], []))
    assert str(path) in text
    assert build.file_sha256(path) in text
    assert build.SDIST_SHA256 in text


def test_missing_sdist_is_refused(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that does not exist is not replaced by a download."""
    monkeypatch.setenv("ZEROIZEPY_SODIUM_SDIST", "/nonexistent/pynacl.tar.gz")
    text = sentence(build, lambda: build.bundled_sodium(["cc"], []))
    assert "/nonexistent/pynacl.tar.gz is not a file" in text


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("ERROR: Could not find a version\nERROR: No matching distribution found", "(ERROR: No matching distribution"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "does not have SHA-256"),
        ("", "(no output)"),
    ],
)
def test_failed_fetch(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: str, expected: str) -> None:
    """No network and a wrong hash are told apart by what pip prints."""
    monkeypatch.setattr(
        build.sys, "executable", str(program(tmp_path / "python", f"printf %s '{printed}' >&2; exit 1"))
    )
    assert expected in sentence(build, lambda: build.fetch_sdist(tmp_path))


def test_fetch_lets_pip_check_the_hash_first(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pip runs code of an sdist to learn its metadata, so it must know the hash before."""
    log = tmp_path / "log"
    fake = program(tmp_path / "python", f'echo "$@" > {log}; for last; do :; done; cat "$last" >> {log}; exit 1')
    monkeypatch.setattr(build.sys, "executable", str(fake))
    sentence(build, lambda: build.fetch_sdist(tmp_path))
    asked = log.read_text(encoding="utf-8")
    assert "--require-hashes" in asked
    assert f"pynacl==1.6.2 --hash=sha256:{build.SDIST_SHA256}" in asked


# ---- the cache ----


def fake_build(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Let a cache entry be filled in a moment; returns the list of prefixes built for."""
    built: list[Path] = []

    def compile_sodium(_source: Path, prefix: Path, _log: Path, _tools: object) -> Path:
        built.append(prefix)
        time.sleep(0.1)
        for name, text in (("include/sodium.h", "header"), ("lib/libsodium.a", "archive"), ("lib/libsodium.la", "")):
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).write_text(text, encoding="utf-8")
        return prefix

    monkeypatch.setattr(build, "compile_sodium", compile_sodium)
    monkeypatch.setattr(build, "fetch_sdist", lambda folder: folder)
    monkeypatch.setattr(build, "extract", lambda _sdist, target: target)
    monkeypatch.setenv("MAKE", str(program(tmp_path / "make", "exit 0")))
    return built


def test_second_build_uses_the_cache(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It needs neither make nor a network; what a killed build left behind is gone, and nothing more is kept."""
    compiler = [str(program(tmp_path / "cc", "echo 1"))]
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache/build-killed").mkdir()
    built = fake_build(build, monkeypatch, tmp_path)
    entry = build.bundled_sodium(compiler, ["-O2"])
    monkeypatch.setenv("MAKE", "/nonexistent/make")
    assert build.bundled_sodium(compiler, ["-O2"]) == entry
    assert len(built) == 1
    files = {path.relative_to(entry).as_posix() for path in entry.rglob("*") if path.is_file()}
    assert files == {"complete", "include/sodium.h", "lib/libsodium.a"}
    assert sorted(path.name for path in entry.parent.iterdir()) == sorted([entry.name, "lock"])


@pytest.mark.parametrize("name", ["complete", "include/sodium.h", "lib/libsodium.a"])
@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_damaged_entry_is_rebuilt(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, damage: str
) -> None:
    """Any file missing or changed: the entry is built again and is whole after."""
    compiler = [str(program(tmp_path / "cc", "echo 1"))]
    built = fake_build(build, monkeypatch, tmp_path)
    entry = build.bundled_sodium(compiler, [])
    if damage == "removed":
        (entry / name).unlink()
    else:
        (entry / name).write_bytes(b"\xff")
    assert not build.is_whole(entry)
    assert build.bundled_sodium(compiler, []) == entry
    assert build.is_whole(entry)
    assert len(built) == 2


def test_two_builds_at_once(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second waits for the first and uses its work."""
    compiler = [str(program(tmp_path / "cc", "echo 1"))]
    built = fake_build(build, monkeypatch, tmp_path)
    entries: list[Path] = []
    threads = [threading.Thread(target=lambda: entries.append(build.bundled_sodium(compiler, []))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries) == 4
    assert len(set(entries)) == 1
    assert len(built) == 1


def test_cache_key_names_all_that_matters(build: Any, tmp_path: Path) -> None:
    """Another compiler, another answer of the same compiler, and other flags: another key."""
    first, second = program(tmp_path / "cc1", "echo 1"), program(tmp_path / "cc2", "echo 1")
    keys = [build.cache_key([str(first)], ["-O2"]) for _ in range(2)]
    assert keys[0] == keys[1]
    keys.append(build.cache_key([str(second)], ["-O2"]))
    keys.append(build.cache_key([str(first)], ["-O3"]))
    program(first, "echo 2")
    keys.append(build.cache_key([str(first)], ["-O2"]))
    assert len(set(keys)) == 4


def test_cache_folder(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZEROIZEPY_CACHE_DIR, then an absolute XDG_CACHE_HOME, then ~/.cache."""
    monkeypatch.setenv("HOME", "/home/h")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("ZEROIZEPY_CACHE_DIR", "/given")
    assert build.cache_folder() == Path("/given")
    monkeypatch.delenv("ZEROIZEPY_CACHE_DIR")
    assert build.cache_folder() == Path("/xdg/zeroizepy")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert build.cache_folder() == Path("/home/h/.cache/zeroizepy")


def test_cache_folder_that_configure_refuses(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank in the path is named before anything is fetched."""
    monkeypatch.setenv("ZEROIZEPY_CACHE_DIR", "/a b")
    assert "'/a b'" in sentence(build, build.cache_folder)


def test_cache_that_cannot_be_written(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system's reason and the variable that helps."""
    fake_build(build, monkeypatch, tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZEROIZEPY_CACHE_DIR", str(tmp_path / "file/cache"))
    compiler = program(tmp_path / "cc", "echo 1")
    text = sentence(build, lambda: build.bundled_sodium([str(compiler)], []))
    assert "File exists" in text
    assert "ZEROIZEPY_CACHE_DIR" in text


OTHER_USER = 12_345


def foreign(path: Path) -> None:
    """Give a file to another user; needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: gives a file to another user")
    os.chown(path, OTHER_USER, OTHER_USER)


def open_to_others(path: Path) -> None:
    """Let all users write."""
    path.chmod(0o777)


def turn_into_link(path: Path) -> None:
    """Put a symbolic link to it in its place."""
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


@pytest.mark.parametrize("name", [".", "include", "lib/libsodium.a", "complete", ".."])
@pytest.mark.parametrize(
    ("change", "fault"),
    [(open_to_others, "open to others' writes"), (turn_into_link, "symbolic link"), (foreign, "user 12345 and not")],
)
def test_a_cache_that_others_can_change_is_refused(
    build: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    name: str,
    change: Callable[[Path], None],
    fault: str,
) -> None:
    """Whole by its own list of checksums, and still not linked: whoever changed a file can change the list."""
    compiler = [str(program(tmp_path / "cc", "echo 1"))]
    built = fake_build(build, monkeypatch, tmp_path)
    entry = build.bundled_sodium(compiler, [])
    path = entry.parent if name == ".." else entry / name
    change(path)
    text = sentence(build, lambda: build.bundled_sodium(compiler, []))
    assert str(path) in text
    assert fault in text
    assert "ZEROIZEPY_CACHE_DIR" in text
    assert len(built) == 1


@pytest.mark.parametrize(("change", "fault"), [(open_to_others, "open to others"), (foreign, "user 12345 and not")])
def test_a_folder_above_the_cache_counts(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Callable[[Path], None], fault: str
) -> None:
    """A home that belongs to another user, as under sudo: the sentence, and nothing is made there."""
    home = tmp_path / "home"
    home.mkdir()
    change(home)
    monkeypatch.delenv("ZEROIZEPY_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    text = sentence(build, lambda: build.bundled_sodium([str(program(tmp_path / "cc", "echo 1"))], []))
    assert f"{home} " in text
    assert fault in text
    assert "ZEROIZEPY_CACHE_DIR" in text
    assert list(home.iterdir()) == []


def test_a_sticky_folder_above_the_cache_is_fine(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In /tmp all may write, and nobody can replace another's folder."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    monkeypatch.setenv("ZEROIZEPY_CACHE_DIR", str(tmp_path / "tmp/new/cache"))
    fake_build(build, monkeypatch, tmp_path)
    entry = build.bundled_sodium([str(program(tmp_path / "cc", "echo 1"))], [])
    assert entry.is_dir()
    assert {path.stat().st_mode & 0o777 for path in (entry, *entry.parents[:2])} == {0o700}


def test_a_link_above_the_cache_is_resolved_once(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the checks saw is what is used, wherever the link points later."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("ZEROIZEPY_CACHE_DIR", str(tmp_path / "link/cache"))
    assert build.cache_folder() == tmp_path.resolve() / "real/cache"


def test_a_loose_umask_does_not_open_the_cache(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under umask 0 an entry is still its owner's alone, so that the next build does not refuse it."""
    compiler = [str(program(tmp_path / "cc", "echo 1"))]
    fake_build(build, monkeypatch, tmp_path)
    before = os.umask(0)
    try:
        entry = build.bundled_sodium(compiler, [])
    finally:
        os.umask(before)
    assert build.bundled_sodium(compiler, []) == entry
    assert all(path.stat().st_mode & 0o077 == 0 for path in entry.parent.rglob("*"))


@pytest.mark.parametrize("existing", ["link", "text"])
def test_the_lock_cuts_no_file(build: Any, tmp_path: Path, existing: str) -> None:
    """A link in the lock's place is refused, and a file there keeps its content."""
    victim, lock = tmp_path / "victim", tmp_path / "lock"
    victim.write_bytes(b"victim")
    if existing == "link":
        lock.symlink_to(victim)
        with pytest.raises(OSError, match="symbolic links"), build.locked(tmp_path):
            pass
    else:
        victim.rename(lock)
        with build.locked(tmp_path):
            pass
    assert (victim if existing == "link" else lock).read_bytes() == b"victim"


def test_the_log_cuts_no_file(build: Any, tmp_path: Path) -> None:
    """A link in the log's place is replaced, not followed."""
    victim, log = tmp_path / "victim", tmp_path / "sodium.log"
    victim.write_bytes(b"victim")
    log.symlink_to(victim)
    program(tmp_path / "configure", "echo configured; exit 1")
    sentence(build, lambda: build.compile_sodium(tmp_path, tmp_path / "c/w/p", log, build.Tools(["cc"], ["make"], [])))
    assert victim.read_bytes() == b"victim"
    assert log.read_bytes() == b"configured\n"


def test_no_make(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """make is asked for only when there is something to build."""
    monkeypatch.setenv("MAKE", "/nonexistent/make")
    compiler = program(tmp_path / "cc", "echo 1")
    text = sentence(build, lambda: build.bundled_sodium([str(compiler)], []))
    assert "no make: '/nonexistent/make' is not on PATH" in text


def test_failed_build_keeps_its_log(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log is named and its end is shown; the environment's CFLAGS do not reach libsodium."""
    monkeypatch.setenv("CFLAGS", "-from-environment")
    program(tmp_path / "configure", 'echo "configured $* CFLAGS=${CFLAGS-none}"')
    make = program(tmp_path / "make", "echo the fault; exit 2")
    log = tmp_path / "sodium.log"
    tools = build.Tools(["cc"], [str(make)], ["-O2"])
    text = sentence(build, lambda: build.compile_sodium(tmp_path, tmp_path / "cache/w/p", log, tools))
    assert str(log) in text
    assert "the fault" in log.read_text(encoding="utf-8")
    assert "CFLAGS=-O2 CFLAGS=none" in log.read_text(encoding="utf-8")
    assert "the fault" in capsys.readouterr().err
