"""A pre-fork server: a master loads secrets once, and the workers that it forks use those that they are meant to have.

    python examples/prefork_server.py --workers 4 --port 8000 --secrets /etc/example --ttl 600
    python examples/prefork_server.py --self-check

Three secrets show three rules. The signing key is made with `inherit=True`: each worker has its own locked copy. So is
the enrolment code, which has a time to live, too: at its deadline it is zeroed in the master and in every worker. The
backup key is the master's alone: a worker finds zeros where it was, and each use raises `CellWipedError`.

One request is one line, `MAC NAME MESSAGE`: the MAC, under the signing key, of `NAME MESSAGE`. The answer is
`signed PID MAC` with the MAC of the message under the secret of that name, `gone PID ERROR` when the worker has that
secret no more, or `refused PID`. MACs are keyed BLAKE2b, which takes a key from a borrowed view: no `bytes`
object is made of it.

The same rules hold under gunicorn's `--preload`, whose master imports the application, secrets included, and then forks
(tried by hand with gunicorn 27.0.1, sync and gthread workers).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from typing import TYPE_CHECKING

from zeroizepy import CellWipedError, CypherCell, purge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

SECRET_BYTES = 32
REQUEST_BYTES_MAX = 1024
CLIENT_TIMEOUT_S = 5.0
CHECK_TTLS_S = (5.0, 20.0, 80.0)
"""Of the enrolment code in the self-check: the next where a machine is so slow that nobody saw it in time."""
CHECK_TIMEOUT_S = 60.0
LOOK_AROUND_S = 1.0
"""How often an idle worker looks whether its master is still there."""
RESTART_PAUSE_S = 0.1
"""Before a worker is replaced, so that one that cannot start does not keep the master forking."""

NAMES = ("signing", "enrolment", "backup")


def load_secrets(folder: str | None, ttl_sec: float) -> dict[str, CypherCell]:
    """The server's secrets, from files of their names (32 bytes each) or, without a folder, random ones.

    Files are read straight into locked memory.
    """

    def load(name: str, *, inherit: bool, ttl_sec: float | None = None) -> CypherCell:
        if folder is None:
            return CypherCell.generate(SECRET_BYTES, ttl_sec=ttl_sec, inherit=inherit)
        return CypherCell.from_file(os.path.join(folder, name), ttl_sec=ttl_sec, inherit=inherit)

    return {
        "signing": load("signing", inherit=True),
        "enrolment": load("enrolment", inherit=True, ttl_sec=ttl_sec),
        "backup": load("backup", inherit=False),
    }


def mac_of(secret: CypherCell, message: bytes) -> bytes:
    """The keyed BLAKE2b of a message, in hexadecimal digits.

    Raises:
        CellWipedError: This process does not have the secret (any more).
    """
    with secret.borrow() as key:
        return hashlib.blake2b(message, key=key, digest_size=16).hexdigest().encode()


def say(text: str) -> None:
    """One line on stdout in one write, for print can take two, and all processes share it."""
    with contextlib.suppress(OSError):  # Nobody may be left to read it.
        os.write(1, f"{text}\n".encode())


# ---- a worker ----


def answer(request: bytes, secrets: dict[str, CypherCell]) -> bytes:
    """What a worker replies to one request, without the newline."""
    pid = str(os.getpid()).encode()
    mac, _, signed = request.partition(b" ")
    if not hmac.compare_digest(mac, mac_of(secrets["signing"], signed)):
        return b"refused " + pid
    name, _, message = signed.partition(b" ")
    secret = secrets.get(name.decode("ascii", "replace"))
    if secret is None:
        return b"refused " + pid
    try:
        return b"signed " + pid + b" " + mac_of(secret, message)
    except CellWipedError as error:  # CellExpiredError is one.
        return f"gone {os.getpid()} {type(error).__name__}: {error}".encode()


def work(listener: socket.socket, secrets: dict[str, CypherCell], master: int) -> None:
    """Answer one client after the other, until SIGTERM or the master's end."""
    listener.settimeout(LOOK_AROUND_S)
    while os.getppid() == master:
        try:
            connection, _address = listener.accept()
        except TimeoutError:
            continue
        with connection, contextlib.suppress(OSError):  # A client that goes away is its own affair.
            connection.settimeout(CLIENT_TIMEOUT_S)
            with connection.makefile("rwb") as stream:
                line = stream.readline(REQUEST_BYTES_MAX)
                stream.write(answer(line.rstrip(b"\r\n"), secrets) + b"\n")


def stop(*_signal: object) -> NoReturn:
    """SIGTERM in a worker: unwind, so that the clean-up below runs."""
    raise SystemExit(0)


def run_worker(listener: socket.socket, secrets: dict[str, CypherCell], master: int) -> NoReturn:
    """A forked child, from its first line to its end; it never returns into the master's code."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the master ends the workers.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        work(listener, secrets, master)
        status = 0
    except SystemExit:
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the master's code must not run here.
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(f"worker {os.getpid()}: {purge()} secrets wiped")
        os._exit(status)  # Leaves out exit handlers, which are the master's; the secrets are wiped.


# ---- the master ----


def run_master(listener: socket.socket, secrets: dict[str, CypherCell], count: int) -> None:
    """Keep `count` workers running until SIGTERM or SIGINT, then end them and wipe."""
    master = os.getpid()
    waited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)  # They wait for sigwait, and a worker is born with none in flight.
    workers: set[int] = set()

    def start() -> None:
        pid = os.fork()
        if pid == 0:
            run_worker(listener, secrets, master)
        workers.add(pid)
        say(f"worker {pid}: started")

    for _ in range(count):
        start()
    say(f"master {master}: listening on 127.0.0.1:{listener.getsockname()[1]}")
    while signal.sigwait(waited) == signal.SIGCHLD:
        for pid, status in ended():
            workers.discard(pid)
            say(f"worker {pid}: ended, {describe(status)}")
            time.sleep(RESTART_PAUSE_S)
            start()
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        os.waitpid(pid, 0)
    say(f"master {master}: {purge()} secrets wiped")


def ended() -> Iterator[tuple[int, int]]:
    """The children that have ended, each with its wait status; one SIGCHLD can stand for several."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


def describe(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


# ---- the self-check: a client that knows the secrets ----


def ask(port: int, signing: CypherCell, name: str, message: str) -> list[str]:
    """Send one request. Returns the answer's words: what, the worker's PID, and the rest."""
    signed = f"{name} {message}".encode()
    with socket.create_connection(("127.0.0.1", port), CHECK_TIMEOUT_S) as connection:
        connection.sendall(mac_of(signing, signed) + b" " + signed + b"\n")
        with connection.makefile("rb") as stream:
            return stream.readline().decode().rstrip("\n").split(" ", 2)


def self_check(workers: int) -> int:
    """Start a server of our own, ask it, kill a worker, end it, and say what came out. Returns the exit status."""
    failed = 0

    def claim(text: str, *, held: bool) -> None:
        nonlocal failed
        failed += not held
        print(f"{'ok' if held else 'FAILED':<7}{text}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        secrets = {name: CypherCell.generate(SECRET_BYTES) for name in NAMES}
        for name, secret in secrets.items():
            with open(os.path.join(folder, name), "xb") as file, secret.borrow() as view:
                file.write(view)
        command = [sys.executable, __file__, "--secrets", folder, "--workers", str(workers), "--ttl"]
        for ttl in CHECK_TTLS_S:
            begun = time.monotonic()
            with subprocess.Popen([*command, str(ttl)], stdout=subprocess.PIPE, text=True) as server:
                try:
                    if check_server(server, secrets, workers, begun, ttl, claim):
                        break
                finally:
                    server.kill()
        else:
            claim("the server answers before its secret's deadline", held=False)
    return 1 if failed else 0


def check_server(
    server: subprocess.Popen[str],
    secrets: dict[str, CypherCell],
    workers: int,
    begun: float,
    ttl: float,
    claim: Callable[..., None],
) -> bool:
    """The claims, one after the other. Returns False, with none of them made, where the first could come too late."""
    lines: Iterator[str] = iter(server.stdout or ())
    port = int(next(line for line in lines if "listening" in line).rpartition(":")[2])
    deadline = time.monotonic() + ttl
    signing = secrets["signing"]

    what, _pid, rest = ask(port, signing, "enrolment", "hello")
    if what != "signed" and time.monotonic() > begun + ttl:
        return False
    claim("the inherited code is there before its deadline", held=what == "signed")
    what, pid, rest = ask(port, signing, "signing", "hello")
    claim("a worker signs with the inherited key", held=(what, rest.encode()) == ("signed", mac_of(signing, b"hello")))
    claim("the worker is not the master", held=int(pid) != server.pid)
    what, _pid, rest = ask(port, signing, "backup", "hello")
    claim(f"the master's own key is not: {rest}", held=(what, rest.split(":")[0]) == ("gone", "CellWipedError"))
    what = ask(port, CypherCell.generate(SECRET_BYTES), "signing", "hello")[0]
    claim("a request under another key is refused", held=what == "refused")

    os.kill(int(pid), signal.SIGKILL)
    replacement = next(line for line in lines if "started" in line).split()[1].rstrip(":")
    answers = [ask(port, signing, "signing", str(number)) for number in range(50)]
    served = all(answer[0] == "signed" and answer[1] != pid for answer in answers)
    claim(f"worker {pid} was killed; {replacement} stands in for it", held=served)

    time.sleep(max(0.0, deadline + 0.1 - time.monotonic()))
    gone = [ask(port, signing, "enrolment", "hello") for _ in range(20)]
    held = all(answer[0] == "gone" and answer[2].startswith("CellExpiredError") for answer in gone)
    claim(f"after its deadline the code is gone in all workers: {gone[0][2]}", held=held)

    server.send_signal(signal.SIGTERM)
    wiped = [line for line in lines if "secrets wiped" in line]
    status = server.wait(CHECK_TIMEOUT_S)
    text = f"SIGTERM: exit status {status}; {len(wiped)} processes wiped their secrets"
    claim(text, held=status == 0 and len(wiped) == workers + 1)
    return True


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description="A pre-fork server whose workers inherit some of its secrets.")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="how many processes serve (2)")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one (0)")
    parser.add_argument("--secrets", metavar="DIR", help=f"files {', '.join(NAMES)}; without it, random secrets")
    parser.add_argument("--ttl", type=float, default=600.0, metavar="SECONDS", help="of the enrolment code (600)")
    parser.add_argument("--self-check", action="store_true", help="start a server, try all of it, and end it")
    options = parser.parse_args()
    if options.self_check:
        return self_check(options.workers)
    # From Python 3.12 on, os.fork warns of threads. There is one: the core's own, which keeps deadlines. It runs no
    # Python, and its lock is held across the fork.
    warnings.filterwarnings("ignore", r".*multi-threaded, use of fork", DeprecationWarning)
    secrets = load_secrets(options.secrets, options.ttl)
    with socket.create_server(("127.0.0.1", options.port), backlog=128) as listener:
        run_master(listener, secrets, options.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
