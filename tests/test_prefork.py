"""examples/prefork_server.py for real: sockets, killed workers, and what the kernel says is in their memory."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import maps
from support.lifetimes import lifetimes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.children import Child

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/prefork_server.py"
NAMES = ("signing", "enrolment", "backup")
TIMEOUT_S = 120.0


def mac_of(secret: bytes, message: str) -> str:
    """The example's MAC, made without the example."""
    return hashlib.blake2b(message.encode(), key=secret, digest_size=16).hexdigest()


@dataclass
class Server:
    """A running example.

    Attributes:
        process: The master.
        lines: What it prints from now on.
        port: Where it listens.
        workers: The first ones' process IDs.
        secrets: What is in its files.
    """

    process: subprocess.Popen[str]
    lines: Iterator[str]
    port: int
    workers: list[int]
    secrets: dict[str, bytes]

    def ask(self, name: str, message: str = "hello", key: bytes | None = None) -> tuple[str, int, str]:
        """One request: the kind of answer, who gave it, and the rest."""
        mac = mac_of(self.secrets["signing"] if key is None else key, f"{name} {message}")
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) as connection:
            connection.sendall(f"{mac} {name} {message}\n".encode())
            with connection.makefile("r") as stream:
                what, pid, *rest = stream.readline().rstrip("\n").split(" ", 2)
        return what, int(pid), "".join(rest)

    def ask_all(self, pids: list[int], name: str) -> dict[int, str]:
        """Ask until each of these workers has answered. What each said, without its PID."""
        answers: dict[int, str] = {}
        end = time.monotonic() + TIMEOUT_S
        while set(answers) != set(pids):
            assert time.monotonic() < end, (pids, answers)
            what, pid, rest = self.ask(name)
            answers[pid] = f"{what} {rest}"
        return answers

    def next_worker(self) -> int:
        """The process ID of the next worker that is started."""
        return int(next(line for line in self.lines if line.endswith(": started\n")).split()[1].rstrip(":"))


@contextmanager
def running(child: Child, folder: Path, *, ttl: float = 600, workers: int = 2) -> Iterator[Server]:
    """The example with random secrets in files, ended with the block whatever happens."""
    secrets = {name: os.urandom(32) for name in NAMES}
    for name, secret in secrets.items():
        (folder / name).write_bytes(secret)
    command = [
        sys.executable,
        "-I",
        str(EXAMPLE),
        "--secrets",
        str(folder),
        "--ttl",
        str(ttl),
        "--workers",
        str(workers),
    ]
    with subprocess.Popen(command, env=child.environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stdout or ())
            started = [int(next(lines).split()[1].rstrip(":")) for _ in range(workers)]
            port = int(next(lines).rpartition(":")[2])
            yield Server(process, lines, port, started, secrets)
        finally:
            process.kill()  # Workers end by themselves once their master is gone.


def copies(pid: int, secret: bytes) -> list[int]:
    """Where a secret stands in another process."""
    try:
        return maps.find_in_memory(pid, secret)
    except PermissionError:
        pytest.skip("needs the right to read the memory of a child: root, or Yama's ptrace_scope at 0 or 1")


def test_self_check() -> None:
    """The example's own check of itself comes out well."""
    command = [sys.executable, "-I", str(EXAMPLE), "--self-check", "--workers", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 8


def test_each_worker_signs_with_the_inherited_key(child: Child, tmp_path: Path) -> None:
    """Two processes, one key: both MACs are the right one, and a request under another key is refused."""
    with running(child, tmp_path) as server:
        answers = server.ask_all(server.workers, "signing")
        assert set(answers.values()) == {f"signed {mac_of(server.secrets['signing'], 'hello')}"}
        assert server.ask("signing", key=os.urandom(32))[0] == "refused"
        assert server.ask("no-such-name")[0] == "refused"


def test_inherited_copies_are_locked(child: Child, tmp_path: Path) -> None:
    """A worker has one copy of the inherited key, on pages of its own that are locked and left out of core dumps."""
    with running(child, tmp_path) as server:
        server.ask_all(server.workers, "backup")  # Before it has run at all, a worker has locked nothing.
        for pid in [server.process.pid, *server.workers]:
            (address,) = copies(pid, server.secrets["signing"])
            region = maps.region_at(address, pid)
            assert region is not None
            assert {"lo", "dd"} <= region.flags
            assert region.access == "rw-p"


def test_what_is_not_inherited_is_refused(child: Child, tmp_path: Path) -> None:
    """CellWipedError in each worker, with the reason."""
    with running(child, tmp_path) as server:
        answers = server.ask_all(server.workers, "backup")
    assert all(answer.startswith("gone CellWipedError: Cell is wiped: it belongs to") for answer in answers.values())


def test_what_is_not_inherited_is_not_there(child: Child, tmp_path: Path) -> None:
    """No worker's memory has the secret anywhere: where the master holds it stand zeros, or no page of its at all."""
    with running(child, tmp_path) as server:
        master, secret = server.process.pid, server.secrets["backup"]
        server.ask_all(server.workers, "backup")  # Having tried to use it makes no difference.
        assert [copies(pid, secret) for pid in server.workers] == [[], []]
        if child.backend == "secretmem":
            assert any("secretmem" in region.name for region in maps.regions(master))  # It cannot be searched.
            assert not any("secretmem" in region.name for pid in server.workers for region in maps.regions(pid))
            return
        (address,) = copies(master, secret)
        for pid in server.workers:
            region = maps.region_at(address, pid)
            assert region is not None
            assert "wf" in region.flags
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(address)
                assert memory.read(32) == bytes(32)


def test_a_killed_worker_is_replaced(child: Child, tmp_path: Path) -> None:
    """After kill -9 another worker serves, which has what it may inherit and nothing else."""
    with running(child, tmp_path) as server:
        os.kill(server.workers[0], signal.SIGKILL)
        assert "killed by SIGKILL" in next(server.lines)
        replacement = server.next_worker()
        assert replacement not in server.workers
        pids = [replacement, server.workers[1]]
        signed = f"signed {mac_of(server.secrets['signing'], 'hello')}"
        assert server.ask_all(pids, "signing") == dict.fromkeys(pids, signed)
        assert server.ask_all(pids, "backup")[replacement].startswith("gone CellWipedError")
        assert copies(replacement, server.secrets["backup"]) == []
        assert copies(replacement, server.secrets["signing"])  # The control.


def test_a_deadline_holds_in_the_workers(child: Child, tmp_path: Path) -> None:
    """The bytes of an inherited cell go to zero in master and workers, nobody asking, and in later workers, too."""
    for ttl in lifetimes(3):
        begun = time.monotonic()
        with running(child, tmp_path, ttl=ttl) as server:
            pids = [server.process.pid, *server.workers]
            secret = server.secrets["enrolment"]
            control = [len(copies(pid, secret)) for pid in pids]
            if time.monotonic() > begun + ttl:
                continue  # The control came too late.
            assert control == [1, 1, 1]
            while any(copies(pid, secret) for pid in pids):
                assert time.monotonic() < begun + ttl + TIMEOUT_S
                time.sleep(0.05)
            os.kill(server.workers[0], signal.SIGKILL)
            pids = [server.next_worker(), server.workers[1]]
            assert server.ask_all(pids, "enrolment") == dict.fromkeys(pids, "gone CellExpiredError: TTL expired")
            assert copies(pids[0], secret) == []
            return


def test_sigterm_wipes(child: Child, tmp_path: Path) -> None:
    """All processes end, and each says how many secrets it wiped: a worker the inherited two, the master all three."""
    with running(child, tmp_path) as server:
        server.process.send_signal(signal.SIGTERM)
        said = {line.rstrip("\n") for line in server.lines}
        assert server.process.wait(TIMEOUT_S) == 0
        wiped = {f"worker {pid}: 2 secrets wiped" for pid in server.workers}
        assert said == {*wiped, f"master {server.process.pid}: 3 secrets wiped"}
        for pid in server.workers:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_workers_end_with_their_master(child: Child, tmp_path: Path) -> None:
    """A master that is killed leaves no worker behind with its secrets: they notice, wipe and end."""
    with running(child, tmp_path) as server:
        server.process.kill()
        said = {line.rstrip("\n") for line in server.lines}  # Ends when the last of them has closed it.
        assert said == {f"worker {pid}: 2 secrets wiped" for pid in server.workers}
