"""`zeroizepy keygen`, `encrypt` and `decrypt`, as a user sees them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zeroizepy import CryptoKey, encrypt_data

if TYPE_CHECKING:
    from collections.abc import Callable
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
    assert (result.status, result.out, result.err) == (0, "key.bin: new 256-bit key, mode 600\n", "")
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


def test_encrypted_file_is_nonce_ciphertext_and_tag(key: Path, sealed: Path) -> None:
    """The format that --help names, opened by another implementation; mode 600; the input stays."""
    data = sealed.read_bytes()
    assert len(data) == 12 + len(TEXT) + 16
    assert AESGCM(key.read_bytes()).decrypt(data[:12], data[12:], None) == TEXT
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert (sealed.parent / "text").read_bytes() == TEXT


def test_decrypt_takes_the_suffix_off(cli: Cli, key: Path, sealed: Path) -> None:
    """FILE.zpy becomes FILE, with mode 600 and no note for a small file."""
    plain = sealed.parent / "text"
    plain.unlink()
    result = cli("decrypt", sealed.name, "--key", key.name)
    assert (result.status, result.err) == (0, "")
    assert plain.read_bytes() == TEXT
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [0, 1, 4096, 5000, 1 << 20, (1 << 20) + 1, 9 << 20])
def test_round_trip_of_sizes(cli: Cli, key: Path, tmp_path: Path, size: int) -> None:
    """Each size comes back; what does not fit locked memory is decrypted in ordinary memory, and that is said."""
    content = os.urandom(size)
    (tmp_path / "in").write_bytes(content)
    assert cli("encrypt", "in", "--key", key.name).status == 0
    result = cli("decrypt", "in.zpy", "--key", key.name, "-o", "out")
    assert result.status == 0
    assert (tmp_path / "out").read_bytes() == content
    assert ("ordinary memory" in result.err) or size <= 1 << 20


@pytest.mark.parametrize("bits", [128, 192])
def test_smaller_keys(cli: Cli, tmp_path: Path, bits: int) -> None:
    """128 and 192 bits encrypt and decrypt as well."""
    (tmp_path / "text").write_bytes(TEXT)
    assert cli("keygen", "k", "--bits", bits).status == 0
    assert f"AES-{bits}-GCM" in cli("encrypt", "text", "--key", "k").out
    assert cli("decrypt", "text.zpy", "--key", "k", "-o", "out").status == 0
    assert (tmp_path / "out").read_bytes() == TEXT


def test_wrong_key_writes_nothing(cli: Cli, sealed: Path) -> None:
    """Two lines, status 1, and no output file, not even a temporary one."""
    assert cli("keygen", "other").status == 0
    before = sorted(os.listdir(sealed.parent))
    result = cli("decrypt", sealed.name, "--key", "other", "-o", "out")
    assert result.status == 1
    assert result.errors() == [
        "zeroizepy: error: text.zpy: wrong key, or not an encrypted file, or damaged; nothing was written",
        "zeroizepy: hint: use the key file that it was encrypted with",
    ]
    assert sorted(os.listdir(sealed.parent)) == before


@pytest.mark.parametrize("size", [0, 27])
def test_truncated_file(cli: Cli, key: Path, sealed: Path, size: int) -> None:
    """Shorter than nonce and tag: said with both sizes."""
    os.truncate(sealed, size)
    result = cli("decrypt", sealed.name, "--key", key.name, "-o", "out")
    assert result.status == 1
    assert result.errors()[0] == f"zeroizepy: error: text.zpy: has {size} bytes; an encrypted file has at least 28"


def test_flipped_bit(cli: Cli, key: Path, sealed: Path) -> None:
    """A damaged byte anywhere is refused."""
    data = bytearray(sealed.read_bytes())
    for position in (0, 12, len(data) - 1):
        data[position] ^= 1
        sealed.write_bytes(data)
        assert cli("decrypt", sealed.name, "--key", key.name, "-o", "out").status == 1
        data[position] ^= 1
    sealed.write_bytes(data)
    assert cli("decrypt", sealed.name, "--key", key.name, "-o", "out").status == 0


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


def test_input_over_two_gibibytes(cli: Cli, key: Path, tmp_path: Path) -> None:
    """Refused before anything is read; the file has holes only."""
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", (2 << 30) + 1)
    result = cli("encrypt", "big", "--key", key.name)
    assert result.status == 1
    assert result.errors()[0] == "zeroizepy: error: big: has 2147483649 bytes, the most is 2147483648"


def test_large_input_gets_a_note(cli: Cli, key: Path, tmp_path: Path) -> None:
    """Over 64 MiB the command says that all of it is in memory."""
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", (64 << 20) + 1)
    result = cli("encrypt", "big", "--key", key.name)
    assert result.status == 0
    assert "zeroizepy: note: big: its 64.0 MiB are held in memory as a whole" in result.err


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
    assert result.errors() == ["zeroizepy: error: --key-fd 77: bad file descriptor"]


def test_library_and_command_agree(cli: Cli, key: Path, tmp_path: Path) -> None:
    """What encrypt_data made, written as nonce and ciphertext, is what decrypt opens."""
    with CryptoKey(key.read_bytes()) as loaded:
        nonce, ciphertext = encrypt_data(TEXT, loaded)
    (tmp_path / "made.zpy").write_bytes(nonce + ciphertext)
    assert cli("decrypt", "made.zpy", "--key", key.name).status == 0
    assert (tmp_path / "made").read_bytes() == TEXT


def test_progress_bar_on_a_terminal(terminal: Terminal, key: Path, tmp_path: Path) -> None:
    """Encrypting shows a bar on a terminal."""
    (tmp_path / "big").write_bytes(bytes(32 << 20))
    status, shown = terminal("encrypt", "big", "--key", key.name)
    assert status == 0
    assert "━".encode() in shown


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


def test_link_that_appears_while_writing_is_not_replaced(run_script: Script, key: Path, sealed: Path) -> None:
    """The name is looked at again right before the rename, and what was written is gone."""
    out = key.parent / "out"
    out.write_bytes(b"old")
    before = sorted(os.listdir(key.parent))
    preparation = """
        import os
        import zeroizepy.cli.sealing as sealing
        write = sealing.write_all
        def swap(*arguments):
            os.unlink("out")
            os.symlink("text", "out")
            write(*arguments)
        sealing.write_all = swap
        """
    done = run_script(preparation, "decrypt", sealed.name, "--key", key.name, "-o", "out", "--overwrite")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "zeroizepy: error: out: is a symbolic link"
    assert out.is_symlink()
    assert sorted(os.listdir(key.parent)) == before


@pytest.mark.parametrize(
    ("path", "fault", "hint"),
    [
        (
            "-",
            "-: standard streams are not supported in this version",
            "give a file name; ./- is the file of this name",
        ),
        ("", "'': path must not be empty", "is a shell variable unset?"),
    ],
)
@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_paths_that_name_no_file(
    cli: Cli, key: Path, sealed: Path, command: str, path: str, fault: str, hint: str
) -> None:
    """`-` does not become a file of that name, as FILE or as OUT; nor does nothing."""
    file = "text" if command == "encrypt" else sealed.name
    before = sorted(os.listdir(key.parent))
    for arguments in ([path], [path, "-o", "out"], [file, "-o", path], [file, "-o", path, "--overwrite"]):
        result = cli(command, *arguments, "--key", key.name)
        assert result.status == 2
        assert result.errors() == [f"zeroizepy: error: {fault}", f"zeroizepy: hint: {hint}"]
    assert sorted(os.listdir(key.parent)) == before
