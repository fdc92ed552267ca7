"""How fast are files encrypted and decrypted, and read at random places, and in how much memory?

Baselines: age (a program of its own, X25519 and ChaCha20-Poly1305 in chunks of 64 KiB), `cryptography.cobblestone` (our
format, in memory). Unit: time for one file, bytes of plaintext a second; time for one read; peak memory of a process.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from harness import (
    BUILD,
    Aim,
    Case,
    Figure,
    Ratio,
    Repeats,
    Time,
    facts,
    figure_table,
    file_system,
    group,
    options,
    statement,
    write_section,
)
from native import Native

from zeroizepy import CryptoKey, EncryptedReader, decrypt_file, encrypt_file
from zeroizepy.chunked import filekey
from zeroizepy.keys.algorithms import AES_256

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = filekey.CHUNK_BYTES
MEMORY = "/dev/shm"  # noqa: S108 - a folder of our own in it.
PLACES = 2000
READ_BYTES = 4096
INTRODUCTION = """\
Question: how fast are files encrypted, decrypted and read at random places, and in how much memory?
Unit: time for one file and bytes of plaintext a second (MB = 10^6); time for one read of 4 KiB.

- Ours makes Cobblestone-256 and takes as many threads as there are CPUs, and one that writes. age is a process of its
  own, whose start counts, with an X25519 recipient.
- In memory: source and destination lie on a tmpfs, so that no disk counts. On disk: the destination is flushed, by ours
  before it has its name, and by fsync after age has ended; that is the disk's own speed where it is the slower.
- Into /dev/null: what is left without the copy that the kernel makes of each written byte.
- `cryptography.cobblestone` encrypts as many bytes in memory, 1 MiB a call, from no file into none. What stands between
  ours and that is shown apart: the copies that the kernel makes, as one thread that reads and writes the file and
  does not encrypt it; and libsodium's AES-256-GCM, in C, on chunks of 16 KiB in the cache of one core, without the wide
  vectors (VAES) that OpenSSL uses. Their times together, over the number of CPUs, are the least that ours can take.
- Checked before timing: ours opens what cobblestone made, and what it made itself; age opens its own."""


class Files:
    """A plaintext, its ciphertexts, and where results go.

    Args:
        folder: For the plaintext and the ciphertexts.
        size: Bytes of plaintext.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.key = CryptoKey.generate()
        self.plain, self.sealed, self.age = (folder / name for name in ("plain", "sealed", "plain.age"))
        self.identity = folder / "identity"
        block = random.Random(1).randbytes(1 << 20)  # noqa: S311 - no secret.
        with open(self.plain, "wb") as file:
            file.writelines(block for _ in range(size >> 20))
        encrypt_file(self.plain, self.sealed, self.key)
        self.recipient = ""
        if shutil.which("age") is not None:
            run("age-keygen", "-o", str(self.identity))
            self.recipient = run("age-keygen", "-y", str(self.identity)).strip()
            run("age", "-r", self.recipient, "-o", str(self.age), str(self.plain))

    def check(self, folder: Path) -> None:
        """What one seals, the other opens."""
        module = import_module("cryptography.cobblestone")
        with CryptoKey(bytes(32)) as key:
            sealer = module.Cobblestone256Encryptor(bytes(32), b"")
            (folder / "theirs").write_bytes(sealer.update(b"proof" * 5000) + sealer.finalize())
            decrypt_file(folder / "theirs", folder / "proof", key)
        assert (folder / "proof").read_bytes() == b"proof" * 5000
        decrypt_file(self.sealed, folder / "back", self.key)
        assert (folder / "back").stat().st_size == self.size
        for name in ("theirs", "proof", "back"):
            (folder / name).unlink()


def run(*command: str) -> str:
    """A program that must end well. Returns what it printed."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout


def timed(work: Callable[[], object], result: Path) -> Callable[[int], float]:
    """A batch that makes a file, which is taken away again outside the time."""

    def batch(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            with suppress(FileNotFoundError):
                result.unlink()
            start = perf_counter()
            work()
            seconds += perf_counter() - start
        return seconds

    return batch


def flushed(path: Path) -> None:
    """Wait until a file is on its device."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def file_cases(files: Files, folder: Path, *, flush: bool) -> dict[str, list[Case]]:
    """Encrypt and decrypt, by ours and by age where that is installed."""
    out, key, size = folder / "out", files.key, files.size

    def age(*arguments: str) -> None:
        run("age", *arguments)
        if flush:
            flushed(out)

    cases = {
        "Encrypt": [Case("ours: encrypt_file", timed(lambda: encrypt_file(files.plain, out, key), out), size)],
        "Decrypt": [Case("ours: decrypt_file", timed(lambda: decrypt_file(files.sealed, out, key), out), size)],
    }
    if files.recipient:
        sealing = ("-r", files.recipient, "-o", str(out), str(files.plain))
        opening = ("-d", "-i", str(files.identity), "-o", str(out), str(files.age))
        cases["Encrypt"].append(Case("age", timed(lambda: age(*sealing), out), size))
        cases["Decrypt"].append(Case("age -d", timed(lambda: age(*opening), out), size))
    return cases


def cobblestone_case(size: int) -> Case:
    """The oracle, in memory."""
    kind, block, key = import_module("cryptography.cobblestone").Cobblestone256Encryptor, bytes(1 << 20), os.urandom(32)

    def batch(number: int) -> float:
        start = perf_counter()
        for _ in range(number):
            sealer = kind(key, b"")
            for _ in range(size >> 20):
                sealer.update(block)
            sealer.finalize()
        return perf_counter() - start

    return Case("cryptography.cobblestone, in memory", batch, size)


def kernel_case(size: int) -> Case:
    """What libsodium's cipher itself takes for as many bytes."""
    chunks = size // CHUNK
    loop = Native().seal("", AES_256.core, os.urandom(CHUNK))
    return Case("libsodium: AES-256-GCM in C, one core", lambda number: loop.batch(number * chunks), size)


def copy_case(files: Files, target: Path) -> Case:
    """Read and written in pieces of the size that encrypt_file takes, and not encrypted."""

    def work() -> None:
        block = memoryview(bytearray(filekey.BATCH_CHUNKS * CHUNK))
        with open(files.plain, "rb", buffering=0) as file, open(target, "wb", buffering=0) as out:
            while got := file.readinto(block):
                out.write(block[:got])

    return Case("copied, one thread", timed(work, target), files.size)


def null_case(files: Files) -> Case:
    """Into /dev/null, which takes anything and does nothing."""

    def work(number: int) -> float:
        start = perf_counter()
        for _ in range(number):
            with open(os.devnull, "wb", buffering=0) as out:
                encrypt_file(files.plain, out, files.key)
        return perf_counter() - start

    return Case("ours: encrypt_file, into /dev/null", work, files.size)


def whole_files(files: Files, memory: Path, disk: Path, repeats: Repeats) -> list[str]:
    """Tables for files as a whole."""
    lines = []
    for where, folder, on_disk in (("in memory", memory, False), ("onto disk, flushed", disk, True)):
        for verb, cases in file_cases(files, folder, flush=on_disk).items():
            aim = Aim(1.5, at_least=True) if (verb, on_disk) == ("Encrypt", False) else None
            wanted = [Ratio(case.name, cases[0].name, aim) for case in cases[1:]]
            every = list(cases)
            if (verb, on_disk) == ("Encrypt", False):
                peer, null = cobblestone_case(files.size), null_case(files)
                parts = [kernel_case(files.size), copy_case(files, folder / "out")]
                every += [null, peer, *parts]
                wanted += [Ratio(peer.name, ours, Aim(4, at_least=True)) for ours in (cases[0].name, null.name)]
                wanted += [Ratio(peer.name, part.name) for part in parts]
            lines += group(f"{verb} {files.size >> 20} MiB {where}", every, wanted, repeats)
    return lines


MEASURED = """
import sys
from zeroizepy import CryptoKey, encrypt_file
with CryptoKey.generate() as key:
    encrypt_file(sys.argv[1], sys.argv[2], key, overwrite=True)
"""


def memory(files: Files, folder: Path, rounds: int) -> list[str]:
    """Peak memory of processes that encrypt the file; Python and this library are in ours."""
    out = folder / "out"
    command = (sys.executable, "-I", "-c", MEASURED, str(files.plain), str(out))
    figures = [Figure("ours: Python process that encrypts", [peak(*command) for _ in range(rounds)], "MiB", Aim(64))]
    out.unlink()
    if files.recipient:
        arguments = ("age", "-r", files.recipient, "-o", str(out), str(files.plain))
        figures.append(Figure("age", [peak(*arguments) for _ in range(rounds)], "MiB"))
        out.unlink()
    return ["### Peak memory", "", *figure_table("process", figures)]


def peak(*command: str) -> float:
    """The most resident memory of a program, in MiB, looked at every 2 ms: getrusage has what its parent had, too."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most_kib = 0
    while child.poll() is None:
        for line in Path(f"/proc/{child.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                most_kib = max(most_kib, int(line.split()[1]))
        sleep(0.002)
    assert child.returncode == 0
    return most_kib / 1024


def random_reads(folder: Path, size: int, repeats: Repeats) -> list[str]:
    """4 KiB from anywhere in a file that has only the chunks to be read; the rest of it is a hole."""
    path, key = folder / "sparse", CryptoKey.generate()
    chance = random.Random(2)  # noqa: S311 - no secret.
    places = [chance.randrange(size // READ_BYTES) * READ_BYTES for _ in range(PLACES)]
    file_key = filekey.FileKey(key, b"")
    plain, sealed = filekey.Scratch(CHUNK), filekey.Scratch(filekey.SEALED_BYTES)
    with open(path, "wb") as file:
        file.write(file_key.header)
        for number in {place // CHUNK for place in places} | {size // CHUNK}:
            is_last = number == size // CHUNK
            length = file_key.seal(number, plain, 0 if is_last else CHUNK, sealed, is_last=is_last)
            file.seek(filekey.HEADER_BYTES + number * filekey.SEALED_BYTES)
            file.write(sealed.view[:length])
    file_key.drop()
    with EncryptedReader(path, key) as reader:
        assert reader.size == size
        names = {"reader": reader, "places": iter(places * 1000), "size": READ_BYTES}
        case = statement("seek and read 4 KiB", "reader.seek(next(places)); reader.read(size)", READ_BYTES, **names)
        return group(f"Random reads of {size >> 30} GiB", [case], [Time(case.name, Aim(50))], repeats)


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    size, rounds = (16 << 20, 2) if chosen.quick else (1 << 30, 7)
    repeats = Repeats(rounds)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MEMORY) as in_memory, tempfile.TemporaryDirectory(dir=BUILD) as on_disk:
        tools = ("age",) if shutil.which("age") else ()
        lines = [INTRODUCTION, f"- repeats of whole files: {repeats}", *facts(("cryptography",), tools, on_disk)]
        lines += [
            f"- in memory: {file_system(in_memory)}",
            *([] if tools else ["- age: not installed, not measured"]),
            "",
        ]
        files = Files(Path(in_memory), size)
        files.check(Path(in_memory))
        assert files.key.protection.schedule_locked, "this CPU has no AES instructions: nothing to measure"
        lines += whole_files(files, Path(in_memory), Path(on_disk), repeats)
        lines += memory(files, Path(in_memory), rounds)
        lines += random_reads(Path(in_memory), 10 << 30, Repeats(3, 0.02) if chosen.quick else Repeats(31, 0.05))
    write_section(chosen.results, "Files", lines)


if __name__ == "__main__":
    main()
