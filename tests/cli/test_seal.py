"""`zeroizepy keygen`, `encrypt` and `decrypt`, as a user sees them."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from rich.progress import TimeRemainingColumn, TransferSpeedColumn

from zeroizepy import CryptoKey, decrypt_file, encrypt_file
from zeroizepy.cli import console
from zeroizepy.cli.errors import Failure
from zeroizepy.cli.keys import load_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import CompletedProcess
    from typing import Any

    Cli = Callable[..., Any]
    Script = Callable[..., CompletedProcess[str]]
    Terminal = Callable[..., tuple[int, bytes]]

TEXT = b"The quick brown fox. " * 100


@pytest.fixture
def key(cli: Cli, tmp_path: Path) -> Path:
    """A key file that the command made."""
    result = cli("keygen", "key.bin")
    assert (result.status, result.out, result.err) == (0, "key.bin: new AES-256-GCM key, mode 600\n", "")
    return tmp_path / "key.bin"


@pytest.fixture
def sealed(cli: Cli, key: Path, tmp_path: Path) -> Path:
    """`text.zpy`, encrypted with the key; the plaintext is `text`."""
    (tmp_path / "text").write_bytes(TEXT)
    result = cli("encrypt", "text", "--key", key.name)
    assert (result.status, result.err) == (0, "")
    return tmp_path / "text.zpy"


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_keygen_sizes_and_mode(cli: Cli, tmp_path: Path, bits: int) -> None:
    """The file holds exactly the key, and only its owner may read it, whatever the umask."""
    assert cli("keygen", "k", "--bits", bits).status == 0
    path = tmp_path / "k"
    assert path.stat().st_size == bits // 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() != bytes(bits // 8)


def test_keygen_never_replaces_a_key(cli: Cli, key: Path) -> None:
    """An existing file is left as it is."""
    before = key.read_bytes()
    result = cli("keygen", key.name)
    assert result.status == 1
    assert result.errors()[0] == "zeroizepy: error: key.bin: exists already"
    assert key.read_bytes() == before


def test_decrypt_takes_the_suffix_off(cli: Cli, key: Path, sealed: Path) -> None:
    """FILE.zpy becomes FILE, with mode 600 and no note for a small file."""
    plain = sealed.parent / "text"
    plain.unlink()
    result = cli("decrypt", sealed.name, "--key", key.name)
    assert (result.status, result.err) == (0, "")
    assert plain.read_bytes() == TEXT
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600


def test_existing_output_needs_overwrite(cli: Cli, key: Path, sealed: Path) -> None:
    """It is left alone, then replaced as a whole."""
    target = sealed.parent / "out"
    target.write_bytes(b"precious")
    result = cli("decrypt", sealed.name, "--key", key.name, "-o", "out")
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: out: exists already",
        "zeroizepy: hint: give another name with -o, or --overwrite to replace it",
    ]
    assert target.read_bytes() == b"precious"
    assert cli("decrypt", sealed.name, "--key", key.name, "-o", "out", "--overwrite").status == 0
    assert target.read_bytes() == TEXT


@pytest.mark.parametrize("output", ["text", "./text", "link"])
def test_output_that_is_the_input(cli: Cli, key: Path, tmp_path: Path, output: str) -> None:
    """By the same name, another spelling or a link: refused even with --overwrite, and the input is whole."""
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "link").symlink_to("text")
    result = cli("encrypt", "text", "--key", key.name, "-o", output, "--overwrite")
    assert result.status == 1
    assert result.errors()[0] == f"zeroizepy: error: {output}: is the input itself"
    assert (tmp_path / "text").read_bytes() == TEXT


def test_output_name_that_cannot_be_derived(cli: Cli, key: Path, tmp_path: Path) -> None:
    """Without the suffix, decrypt asks for -o: bad usage."""
    (tmp_path / "text").write_bytes(TEXT)
    result = cli("decrypt", "text", "--key", key.name)
    assert result.status == 2
    assert result.errors() == [
        "zeroizepy: error: text does not end in .zpy: name the output with -o OUT",
        "zeroizepy: hint: see 'zeroizepy decrypt --help'",
    ]


def test_missing_folder_of_the_output(cli: Cli, key: Path, sealed: Path) -> None:
    """The error names the path that was given, not a temporary one."""
    result = cli("decrypt", sealed.name, "--key", key.name, "-o", "nowhere/out")
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: nowhere/out: no such file or directory",
        "zeroizepy: hint: check how the path is written; a missing folder is not made",
    ]


def test_input_that_is_no_file(cli: Cli, key: Path, tmp_path: Path) -> None:
    """A FIFO does not hang the command, a folder and a missing file are said."""
    os.mkfifo(tmp_path / "pipe")
    faults = {"pipe": "is a FIFO", ".": "is a directory", "missing": "no such file or directory"}
    for name, fault in faults.items():
        result = cli("encrypt", name, "--key", key.name, "-o", "out")
        assert (result.status, result.errors()[0]) == (1, f"zeroizepy: error: {name}: {fault}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o611])
def test_key_file_that_others_may_access(cli: Cli, key: Path, tmp_path: Path, mode: int) -> None:
    """Refused, with the command that mends it."""
    (tmp_path / "text").write_bytes(TEXT)
    key.chmod(mode)
    result = cli("encrypt", "text", "--key", key.name)
    assert result.status == 1
    assert result.errors() == [
        f"zeroizepy: error: key.bin: other users may access this key file (mode {mode:03o})",
        "zeroizepy: hint: chmod 600 key.bin",
    ]


def test_key_file_that_is_a_link(cli: Cli, key: Path, tmp_path: Path) -> None:
    """Refused like by the library: whoever may write to the link's folder would choose the key."""
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "link").symlink_to(key.name)
    result = cli("encrypt", "text", "--key", "link")
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: link: is a symbolic link",
        "zeroizepy: hint: give the file that it leads to",
    ]


def test_key_file_of_another_user(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, with both users."""
    owner = key.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with (
        pytest.raises(Failure, match=f"belongs to user {owner}, not to user {owner + 1}") as caught,
        load_key(str(key), None),
    ):
        pass
    assert caught.value.hint == "use a copy of your own"


@pytest.mark.parametrize("size", [0, 15, 33, 5000])
def test_key_file_of_a_wrong_size(cli: Cli, tmp_path: Path, size: int) -> None:
    """Said in bytes, never by content."""
    (tmp_path / "text").write_bytes(TEXT)
    bad = tmp_path / "bad"
    bad.write_bytes(b"K" * size)
    bad.chmod(0o600)
    result = cli("encrypt", "text", "--key", "bad")
    assert result.status == 1
    assert result.errors()[1].startswith("zeroizepy: hint: a key is 16, 24 or 32 raw bytes")
    assert "KKKK" not in result.err


def test_key_from_a_descriptor(cli: Cli, key: Path, sealed: Path) -> None:
    """--key-fd reads the key from a pipe."""
    reader, writer = os.pipe()
    os.write(writer, key.read_bytes())
    os.close(writer)
    result = cli("decrypt", sealed.name, "--key-fd", reader, "-o", "out", pass_fds=(reader,))
    os.close(reader)
    assert result.status == 0
    assert (sealed.parent / "out").read_bytes() == TEXT


def test_key_on_the_command_line_is_not_repeated(cli: Cli, tmp_path: Path) -> None:
    """Who types the key itself learns better, and the error does not show it again."""
    (tmp_path / "text").write_bytes(TEXT)
    for typed in ("00112233445566778899aabbccddeeff", "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k="):
        result = cli("encrypt", "text", "--key", typed)
        assert result.status == 1
        assert typed not in result.err
        assert "never give a key on the command line" in result.err


@pytest.mark.parametrize("options", [(), ("--key", "k", "--key-fd", "3")])
def test_exactly_one_key(cli: Cli, tmp_path: Path, options: tuple[str, ...]) -> None:
    """None or two is bad usage."""
    (tmp_path / "text").write_bytes(TEXT)
    result = cli("encrypt", "text", *options)
    assert result.status == 2
    assert result.errors()[0] == "zeroizepy: error: give one of --key KEYFILE and --key-fd N"


def test_descriptor_that_is_not_open(cli: Cli, tmp_path: Path) -> None:
    """A bad descriptor is one line."""
    (tmp_path / "text").write_bytes(TEXT)
    result = cli("encrypt", "text", "--key-fd", 77)
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: --key-fd 77: bad file descriptor",
        "zeroizepy: hint: the shell opens it for reading with, for example, 3<FILE",
    ]


def test_progress_bar_on_a_terminal(terminal: Terminal, key: Path, tmp_path: Path) -> None:
    """Encrypting shows a bar on a terminal."""
    (tmp_path / "big").write_bytes(bytes(32 << 20))
    status, shown = terminal("encrypt", "big", "--key", key.name)
    assert status == 0
    assert "━".encode() in shown


def test_the_bar_has_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside how much is done."""
    monkeypatch.setattr(console, "_is_live", lambda _quiet: True)
    with console.progress_bar("file", quiet=False) as bar:
        assert bar is not None
        columns = [type(each) for each in bar._progress.columns]
    assert {TransferSpeedColumn, TimeRemainingColumn} <= {*columns}


@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
@pytest.mark.parametrize("by_descriptor", [False, True])
@pytest.mark.parametrize("output", ["key.bin", "./key.bin", "link"])
def test_key_file_is_never_replaced(
    cli: Cli, key: Path, sealed: Path, command: str, output: str, *, by_descriptor: bool
) -> None:
    """The key in use as OUT, by any name and way to give it: refused even with --overwrite, and the key is whole."""
    before = key.read_bytes()
    (key.parent / "link").symlink_to(key.name)
    file = "text" if command == "encrypt" else sealed.name
    with open(key, "rb") as stream:
        fd = stream.fileno()
        given = ["--key-fd", fd] if by_descriptor else ["--key", key.name]
        result = cli(command, file, *given, "-o", output, "--overwrite", pass_fds=(fd,))
    assert result.status == 1
    assert result.errors() == [
        f"zeroizepy: error: {output}: is the key file",
        "zeroizepy: hint: give another name with -o",
    ]
    assert key.read_bytes() == before


KINDS = {"pipe": "a FIFO", "link": "a symbolic link", "dangling": "a symbolic link", "folder": "a directory"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
@pytest.mark.parametrize("name", KINDS)
def test_only_regular_files_are_replaced(
    cli: Cli, key: Path, sealed: Path, command: str, name: str, *, overwrite: bool
) -> None:
    """Anything else stays what it is, is named as the user named it, and no hint leads to --overwrite in vain."""
    folder = key.parent
    os.mkfifo(folder / "pipe")
    (folder / "target").write_bytes(b"T")
    (folder / "link").symlink_to("target")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "folder").mkdir()
    before = {entry: os.lstat(folder / entry).st_ino for entry in os.listdir(folder)}
    file = "text" if command == "encrypt" else sealed.name
    result = cli(command, file, "--key", key.name, "-o", name, *(["--overwrite"] if overwrite else []))
    assert result.status == 1
    assert result.errors() == [
        f"zeroizepy: error: {name}: is {KINDS[name]}",
        "zeroizepy: hint: " + ("--overwrite replaces regular files only" if overwrite else "give another name with -o"),
    ]
    assert {entry: os.lstat(folder / entry).st_ino for entry in os.listdir(folder)} == before
    assert (folder / "target").read_bytes() == b"T"


# ---- the format ----


@pytest.mark.parametrize("bits", [128, 256])
def test_it_is_cobblestone(cli: Cli, tmp_path: Path, bits: int) -> None:
    """Another implementation opens the result, with the associated data as its context; mode 600; the input stays."""
    module = pytest.importorskip("cryptography.cobblestone", reason="needs cryptography 50 or newer")
    (tmp_path / "text").write_bytes(TEXT)
    assert cli("keygen", "k", "--bits", bits).status == 0
    result = cli("encrypt", "text", "--key", "k", "--associated-data", "für dich")
    assert result.out == f"text.zpy: {len(TEXT)} bytes of text encrypted with AES-{bits}-GCM\n"
    opener = getattr(module, f"Cobblestone{bits}Decryptor")((tmp_path / "k").read_bytes(), "für dich".encode())
    assert opener.update((tmp_path / "text.zpy").read_bytes()) + opener.finalize() == TEXT
    assert stat.S_IMODE((tmp_path / "text.zpy").stat().st_mode) == 0o600
    assert (tmp_path / "text").read_bytes() == TEXT


@pytest.mark.parametrize("size", [0, 1, 16384, 5 << 20])
def test_library_and_command_agree(cli: Cli, key: Path, tmp_path: Path, size: int) -> None:
    """What one encrypts, the other decrypts."""
    content = os.urandom(size)
    (tmp_path / "in").write_bytes(content)
    with CryptoKey(key.read_bytes()) as loaded:
        encrypt_file(tmp_path / "in", tmp_path / "a.zpy", loaded)
        assert cli("decrypt", "a.zpy", "--key", key.name).status == 0
        assert cli("encrypt", "in", "--key", key.name, "--quiet").out == ""
        decrypt_file(tmp_path / "in.zpy", tmp_path / "b", loaded)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == content


def test_192_bits(cli: Cli, tmp_path: Path) -> None:
    """A key that Cobblestone has no use for is said, and nothing appears."""
    (tmp_path / "text").write_bytes(TEXT)
    assert cli("keygen", "k", "--bits", 192).status == 0
    result = cli("encrypt", "text", "--key", "k")
    assert result.status == 1
    assert result.errors()[0].startswith("zeroizepy: error: the key has 24 bytes; files are encrypted with 16 or 32")
    assert sorted(os.listdir(tmp_path)) == ["k", "text"]


def test_keygen_algorithm(cli: Cli, tmp_path: Path) -> None:
    """The key file says which algorithm the key is for; encrypt and decrypt refuse all but AES-GCM."""
    (tmp_path / "text").write_bytes(TEXT)
    assert cli("keygen", "outer").status == 0
    result = cli("keygen", "k", "--algorithm", "XChaCha20-Poly1305", "--wrapping-key", "outer")
    assert (result.status, result.out) == (
        0,
        "k: new XChaCha20-Poly1305 key, encrypted with a wrapping key, mode 600\n",
    )
    with load_key(str(tmp_path / "outer"), None) as (outer, _):
        assert CryptoKey.load(tmp_path / "k", wrapping_key=outer).algorithm == "XChaCha20-Poly1305"
    for command in ("encrypt", "decrypt"):
        result = cli(command, "text", "--key", "k", "--wrapping-key", "outer", "-o", "out")
        assert result.status == 1
        assert result.errors() == [
            "zeroizepy: error: the key is for XChaCha20-Poly1305; files are encrypted with AES-GCM (Cobblestone)",
            "zeroizepy: hint: 'zeroizepy keygen KEYFILE' makes one of 32 bytes",
        ]
    assert sorted(os.listdir(tmp_path)) == ["k", "outer", "text"]


def test_keygen_algorithm_of_raw_keys(cli: Cli, tmp_path: Path) -> None:
    """A raw file can be for AES of the size that the algorithm has, and for nothing else."""
    assert cli("keygen", "k", "--algorithm", "AES-128-GCM").status == 0
    assert (tmp_path / "k").stat().st_size == 16
    result = cli("keygen", "other", "--algorithm", "AEGIS-256")
    assert result.status == 2
    assert result.errors()[0].endswith(
        "a raw file cannot say that its key is for AEGIS-256; give --password or --wrapping-key KEYFILE"
    )
    assert os.listdir(tmp_path) == ["k"]


# ---- what must be refused ----


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another key": (lambda data: data, "the commitment does not match"),
    "truncated": (lambda data: data[:-1], "the last one, is not authentic: the file was truncated or changed"),
    "a header alone": (lambda data: data[:56], "the file is truncated"),
    "too short": (lambda data: data[:55], "the file has 55 bytes, too few"),
    "a flipped bit": (lambda data: data[:90] + bytes([data[90] ^ 1]) + data[91:], "is not authentic"),
}


@pytest.mark.parametrize("output", ["out", "-"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_authentic(cli: Cli, sealed: Path, fault: str, output: str) -> None:
    """Two lines that say which, status 1, no file and no byte on stdout."""
    change, said = FAULTS[fault]
    sealed.write_bytes(change(sealed.read_bytes()))
    assert cli("keygen", "other").status == 0
    before = sorted(os.listdir(sealed.parent))
    result = cli("decrypt", sealed.name, "--key", "other" if fault == "another key" else "key.bin", "-o", output)
    first, second = result.errors()
    assert (result.status, result.out) == (1, "")
    assert first.startswith("zeroizepy: error: text.zpy: ")
    assert said in first
    assert second == "zeroizepy: hint: nothing was written"
    assert sorted(os.listdir(sealed.parent)) == before


def test_other_associated_data(cli: Cli, key: Path, sealed: Path) -> None:
    """They count as the key does."""
    result = cli("decrypt", sealed.name, "--key", key.name, "-o", "out", "--associated-data", "x")
    assert result.status == 1
    assert "other associated data" in result.err


def test_what_appears_meanwhile_is_not_replaced(run_script: Script, key: Path, sealed: Path) -> None:
    """The name is looked at again at the end, is named as the user named it, and what was written is gone."""
    out = key.parent / "out"
    out.write_bytes(b"old")
    before = sorted(os.listdir(key.parent))
    preparation = """
        import os
        import zeroizepy.cli.sealing as sealing
        run = sealing.decrypt_file
        def swap(*arguments, progress, **more):
            def step(*where):
                os.unlink("out")
                os.symlink("text", "out")
            run(*arguments, progress=step, **more)
        sealing.decrypt_file = swap
        """
    done = run_script(preparation, "decrypt", sealed.name, "--key", key.name, "-o", "out", "--overwrite")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "zeroizepy: error: out: is a symbolic link"
    assert out.is_symlink()
    assert sorted(os.listdir(key.parent)) == before


@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_an_empty_path(cli: Cli, key: Path, sealed: Path, command: str) -> None:
    """Bad usage, as FILE and as OUT."""
    file = "text" if command == "encrypt" else sealed.name
    for arguments in ([""], ["", "-o", "out"], [file, "-o", ""]):
        result = cli(command, *arguments, "--key", key.name)
        assert result.status == 2
        assert result.errors()[0] == "zeroizepy: error: '': path must not be empty"


# ---- streams ----


def run(program: list[str], folder: Path, *arguments: str, **options: Any) -> CompletedProcess[bytes]:
    """The command with bytes in and out."""
    return subprocess.run([*program, *arguments], cwd=folder, capture_output=True, check=False, timeout=120, **options)


def test_streams(program: list[str], key: Path) -> None:
    """From stdin to stdout and back, with nothing else on stdout."""
    content = os.urandom(3 << 20)
    sealed = run(program, key.parent, "encrypt", "-", "--key", key.name, input=content)
    assert (sealed.returncode, sealed.stderr) == (0, b"")
    opened = run(program, key.parent, "decrypt", "-", "--key", key.name, input=sealed.stdout)
    assert (opened.returncode, opened.stdout, opened.stderr) == (0, content, b"")
    assert os.listdir(key.parent) == [key.name]
    named = run(program, key.parent, "decrypt", "-", "-o", "out", "--key", key.name, input=sealed.stdout)
    assert named.stdout == b"out: 3.0 MiB decrypted with AES-256-GCM\n"
    assert (key.parent / "out").read_bytes() == content


def test_a_stream_ends_before_what_is_not_authentic(program: list[str], key: Path) -> None:
    """What came out is a beginning of the plaintext, and the status and the hint say so."""
    content = os.urandom(3 << 20)
    sealed = bytearray(run(program, key.parent, "encrypt", "-", "--key", key.name, input=content).stdout)
    sealed[56 + 100 * 16400] ^= 1
    opened = run(program, key.parent, "decrypt", "-", "--key", key.name, input=bytes(sealed))
    assert opened.returncode == 1
    assert opened.stdout == content[: 96 * 16384]
    assert opened.stderr.splitlines()[0] == (
        b"zeroizepy: error: stdin: chunk 100 is not authentic: the file was changed, or its chunks reordered"
    )
    assert b"only the beginning" in opened.stderr


def test_a_full_stdout(program: list[str], key: Path, tmp_path: Path) -> None:
    """ENOSPC there is one line and status 1."""
    (tmp_path / "text").write_bytes(TEXT)
    with open("/dev/full", "wb") as full:
        command = [*program, "encrypt", "text", "-o", "-", "--key", key.name]
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, b"zeroizepy: error: stdout: no space left on device")


def test_ciphertext_on_a_terminal(terminal: Terminal, key: Path, tmp_path: Path) -> None:
    """Refused; plaintext is shown."""
    (tmp_path / "text").write_bytes(b"a line\n")
    status, shown = terminal("encrypt", "text", "-o", "-", "--key", key.name)
    assert status == 2
    assert b"stdout is a terminal" in shown
    assert terminal("encrypt", "text", "--key", key.name)[0] == 0
    status, shown = terminal("decrypt", "text.zpy", "-o", "-", "--key", key.name)
    assert (status, shown) == (0, b"a line\r\n")


def test_stdin_for_two_things(cli: Cli, key: Path) -> None:  # noqa: ARG001 - the folder's only file.
    """Bad usage."""
    assert cli("encrypt", "-", "--key-fd", 0).status == 2


# ---- encrypted key files ----


@pytest.fixture
def password(tmp_path: Path) -> Iterator[int]:
    """A descriptor from which a password can be read, again and again from its beginning."""
    (tmp_path / "pw").write_bytes(b"correct horse\n")
    with open(tmp_path / "pw", "rb", buffering=0) as file:
        yield file.fileno()


def test_a_key_file_with_a_password(cli: Cli, tmp_path: Path, password: int) -> None:
    """keygen encrypts the key, encrypt and decrypt ask for what opens it; without it the key cannot be had."""
    (tmp_path / "text").write_bytes(TEXT)
    result = cli("keygen", "k", "--password-fd", password, pass_fds=(password,))
    assert (result.status, result.out) == (0, "k: new AES-256-GCM key, encrypted with a password, mode 600\n")
    os.lseek(password, 0, os.SEEK_SET)
    assert cli("encrypt", "text", "--key", "k", "--password-fd", password, pass_fds=(password,)).status == 0
    with CryptoKey.load(tmp_path / "k", password=b"correct horse") as key:
        decrypt_file(tmp_path / "text.zpy", tmp_path / "out", key)
    assert (tmp_path / "out").read_bytes() == TEXT
    (tmp_path / "pw").write_bytes(b"another one\n")
    os.lseek(password, 0, os.SEEK_SET)
    result = cli("decrypt", "text.zpy", "--key", "k", "--password-fd", password, "--overwrite", pass_fds=(password,))
    assert result.status == 1
    assert result.errors()[0].startswith("zeroizepy: error: k: wrong password")


def test_a_password_that_is_asked_for(program: list[str], tmp_path: Path) -> None:
    """Twice for a new key, once to use it; where there is no terminal, it is a line of stdin, and never shown."""
    (tmp_path / "text").write_bytes(TEXT)
    for arguments, typed in (
        (("keygen", "k", "--password"), b"correct horse\n" * 2),
        (("encrypt", "text", "--key", "k"), b"correct horse\n"),
    ):
        done = run(program, tmp_path, *arguments, input=typed, start_new_session=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"horse" not in done.stdout
    assert (tmp_path / "text.zpy").exists()


def test_no_terminal_for_a_password(program: list[str], cli: Cli, tmp_path: Path, password: int) -> None:
    """With the data on stdin, a password is not taken from there."""
    assert cli("keygen", "k", "--password-fd", password, pass_fds=(password,)).status == 0
    done = run(program, tmp_path, "encrypt", "-", "--key", "k", input=TEXT, start_new_session=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is no terminal to ask for it" in done.stderr


def test_a_key_file_with_a_wrapping_key(cli: Cli, key: Path, tmp_path: Path) -> None:
    """It is named with --wrapping-key, and neither of the two files is ever OUT."""
    (tmp_path / "text").write_bytes(TEXT)
    assert cli("keygen", "k", "--wrapping-key", key.name).status == 0
    result = cli("encrypt", "text", "--key", "k")
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: k: is encrypted with a wrapping key",
        "zeroizepy: hint: name that with --wrapping-key",
    ]
    given = ("--key", "k", "--wrapping-key", key.name)
    assert cli("encrypt", "text", *given).status == 0
    for output in ("k", key.name):
        result = cli("decrypt", "text.zpy", *given, "-o", output, "--overwrite")
        assert result.errors()[0] == f"zeroizepy: error: {output}: is the key file"
    assert cli("decrypt", "text.zpy", *given, "-o", "out").status == 0
    assert (tmp_path / "out").read_bytes() == TEXT


def test_options_that_do_not_go_together(cli: Cli, key: Path, tmp_path: Path) -> None:
    """Bad usage, and nothing is made."""
    (tmp_path / "text").write_bytes(TEXT)
    for arguments in (
        ("encrypt", "text", "--key", key.name, "--wrapping-key", key.name),
        ("keygen", "k", "--signing", "--password-fd", "3"),
        ("keygen", "k", "--signing", "--algorithm", "AEGIS-256"),
        ("keygen", "k", "--algorithm", "AES-128-GCM", "--bits", "128"),
    ):
        assert cli(*arguments).status == 2
    result = cli("encrypt", "text", "--key", "missing", "--wrapping-key", key.name)
    assert (result.status, result.errors()[0]) == (1, "zeroizepy: error: missing: no such key file")
    result = cli("keygen", "k", "--wrapping-key", key.name, "--password")
    assert (result.status, result.errors()[0]) == (
        2,
        "zeroizepy: error: give one of --password, --password-fd N and --wrapping-key KEYFILE",
    )
    assert sorted(os.listdir(tmp_path)) == ["key.bin", "text"]
