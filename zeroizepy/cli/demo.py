"""`demo`: the main job on a copy of a real file, each step with what was really granted, and a proof at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

import zeroizepy.cell
from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CipherText, CryptoKey, cryptographic_erase_key, decrypt_data, decrypt_secret, encrypt_data
from zeroizepy.exceptions import LockLimitError, SecureMemoryClosed
from zeroizepy.session import SecureSession
from zeroizepy.testing import ScanReport, scan_process_report
from zeroizepy.utils import secure_clear, secure_compare

from .console import Output, size_text
from .doctor import protection_lines
from .errors import Failure, describe, say
from .files import open_regular, read_secret, write_all
from .shredding import show_report

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["demo_command"]

_MOST_BYTES = 64 << 20
_SECRET_BYTES = 32
_TTLS_S = (1.0, 4.0, 16.0)
"""Times to live for one secret after the other, until the control comes before the deadline: a machine may be busy."""
_PATIENCE_S = 2.0
"""How long after its deadline a secret is waited for to go, before the demo says that it did not."""
_LEAST_LOOKS = 1000
"""And how often it is looked for: on a machine that stood still the time has passed, and nobody had any of it."""

_HOLDER = """
import sys
sys.path[:] = {path!r}
import time
from zeroizepy.cell import CypherCell
cell = CypherCell.from_fd(0, {size}, ttl_sec={ttl})
print(time.clock_gettime(time.CLOCK_BOOTTIME) + cell.expires_in, cell.protection.backing, flush=True)
sys.stdin.read()
"""
"""Reads a secret from stdin into a cell, says when it will end, and does nothing more until stdin is closed."""


class _Steps:
    """Numbers the steps, prints them, and remembers which did not come out as claimed."""

    def __init__(self) -> None:
        self.output = Output()
        self.failed: list[int] = []
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; an exception in it is its failure, and the next steps still run where they can."""
        self._number += 1
        self.output.title(f"{self._number}. {title}")
        try:
            yield
        except BrokenPipeError:
            raise  # Nobody reads on: no step has failed by that.
        except Exception as error:  # noqa: BLE001 - whatever happens in a step is an outcome to show.
            found = describe(error)
            self.claim(found.fault + (f"; {found.hint}" if found.hint else ""), held=False)

    def claim(self, text: str, *, held: bool) -> None:
        """Print an outcome; when it did not come out so, the demo fails."""
        self.output.fact("ok" if held else "FAILED", text, "bold green" if held else "bold red")
        if not held and self._number not in self.failed:
            self.failed.append(self._number)


def _show_secret(steps: _Steps, cell: CypherCell) -> None:
    protection = cell.protection
    steps.output.fact("secret", f"{len(cell)} random bytes from the kernel's generator, never a Python object")
    for label, value, style in protection_lines(protection):
        steps.output.fact(label, value, style)
    steps.output.fact("shown as", repr(cell))
    steps.claim("the secret is in locked memory", held=protection.locked)


def _encrypt(steps: _Steps, copy: str, key: CryptoKey, secret: CypherCell) -> tuple[CipherText, CipherText]:
    with open_regular(copy, _MOST_BYTES, "") as (fd, status), read_secret(fd, copy, status.st_size) as plaintext:
        sealed = encrypt_data(plaintext, key)
        is_hidden = len(plaintext) < _SECRET_BYTES or bytes(plaintext[:_SECRET_BYTES]) not in sealed.ciphertext
    sealed_secret = encrypt_data(secret, key)
    protection = key.protection
    steps.output.fact("copy", f"{copy} (mode 600, in the session's own folder)")
    schedule = "locked" if protection.schedule_locked else "not locked: OpenSSL keeps it on the heap for each message"
    steps.output.fact("key", f"{key.algorithm}, backing {protection.backing}, schedule {schedule}")
    steps.output.fact("ciphertext", f"{size_text(len(sealed.ciphertext))}, tag included, nonce {sealed.nonce.hex()}")
    steps.output.fact("secret", f"encrypted too, straight from its cell: {size_text(len(sealed_secret.ciphertext))}")
    steps.claim("the copy and the secret are encrypted", held=is_hidden)
    return sealed, sealed_secret


def _decrypt(
    steps: _Steps, copy: str, secret: CypherCell, sealed: tuple[CipherText, CipherText], key: CryptoKey
) -> None:
    sealed_copy, sealed_secret = sealed
    plaintext = decrypt_data(sealed_copy, key)
    with open_regular(copy, _MOST_BYTES, "") as (fd, status), read_secret(fd, copy, status.st_size) as original:
        is_same = secure_compare(plaintext, original)
    steps.claim(f"the file decrypts to the same {size_text(len(plaintext))}", held=is_same)
    with decrypt_secret(sealed_secret, key) as memory:
        is_same = secure_compare(memory, secret)
    steps.claim("the secret decrypts into locked memory, and is the same", held=is_same)


def _refused(steps: _Steps, sealed: CipherText, key: CryptoKey) -> None:
    cryptographic_erase_key(key)
    steps.output.fact("key", f"erased: its slot is zeroed; destroyed = {key.destroyed}")
    try:
        decrypt_data(sealed, key)
    except SecureMemoryClosed as error:
        steps.output.fact("decrypt", f"{type(error).__name__}: {error}")
        text = "decryption is refused; without another copy of the key the ciphertext is noise"
        steps.claim(text, held=key.destroyed)
    else:
        steps.claim("decryption is refused (it still works)", held=False)


def _scan(steps: _Steps, secret: CypherCell) -> None:
    control = CypherCell.generate(_SECRET_BYTES)
    revealed = control.reveal_bytes()
    for_secret, for_control = scan_process_report(secret), scan_process_report(control)
    steps.output.fact("searched", f"{size_text(for_secret.scanned_bytes)} of this process, through /proc/self/mem")
    if for_secret.unreadable:
        kinds = ", ".join(sorted({region.kind for region in for_secret.unreadable}))
        count = len(for_secret.unreadable)
        steps.output.fact("not readable", f"{count} regions, even for this process itself ({kinds})")
    found = _found(for_control)
    steps.claim(f"control, revealed into a {len(revealed)}-byte object: {found}", held=bool(for_control.hits))
    steps.claim(f"secret, used but never revealed: {_found(for_secret)}", held=not for_secret.hits)
    secret.wipe()
    steps.claim("the secret is wiped now", held=secret.wiped)


def _found(report: ScanReport) -> str:
    number = len(report.hits)
    where = ", ".join(sorted({hit.kind for hit in report.hits}))
    return "no copy found" if not number else f"{number} {'copy' if number == 1 else 'copies'} found ({where})"


@contextmanager
def _holder(secret: CypherCell, ttl_s: float) -> Iterator[tuple[int, float, str]]:
    """Another process that holds a copy of `secret` with a time to live, for the length of a `with` block.

    Yields:
        Its process ID, the deadline on CLOCK_BOOTTIME, and the backing that it got.
    """
    program = _HOLDER.format(path=sys.path, size=_SECRET_BYTES, ttl=ttl_s)
    environment = {**os.environ, "ZEROIZEPY_BACKEND": "mlock"}
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    command = [sys.executable, "-I", "-c", program]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, bufsize=0, env=environment) as process:
        assert process.stdin is not None  # noqa: S101 - it was asked for.
        assert process.stdout is not None  # noqa: S101
        with secret.borrow() as view:
            process.stdin.write(view)
        answer = process.stdout.readline().decode().split()
        if not answer:
            raise Failure("the other process ended before it held the secret", "see 'zeroizepy doctor'")
        yield process.pid, float(answer[0]), answer[1]


def _wait_for_zeros(pid: int, address: int, deadline: float) -> float | None:
    """Seconds from the deadline until the first look that finds zeros; None when the secret does not go."""
    looks = 0
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    found = bytearray(_SECRET_BYTES)
    try:
        time.sleep(max(0.0, deadline - time.clock_gettime(time.CLOCK_BOOTTIME)))
        while True:
            os.preadv(memory, [found], address)
            late_s = time.clock_gettime(time.CLOCK_BOOTTIME) - deadline
            if not any(found):
                return late_s
            looks += 1
            if late_s > _PATIENCE_S and looks >= _LEAST_LOOKS:
                return None
            time.sleep(0.0005)
    finally:
        os.close(memory)
        secure_clear(found)


def _watch_deadline(steps: _Steps) -> None:
    for ttl_s in _TTLS_S:
        if _watch_one(steps, ttl_s, is_last=ttl_s == _TTLS_S[-1]):
            break


def _watch_one(steps: _Steps, ttl_s: float, *, is_last: bool) -> bool:
    """Show how one secret ends. False: the control came after its deadline, so nothing was claimed of it."""
    secret = CypherCell.generate(_SECRET_BYTES)
    with _holder(secret, ttl_s) as (pid, deadline, backing):
        steps.output.fact("holder", f"process {pid}, idle; this process reads its memory through /proc/{pid}/mem")
        steps.output.fact("backing", f"{backing}, for this step: memfd_secret cannot be read through /proc/PID/mem")
        try:
            before = scan_process_report(secret, pid)
        except PermissionError as error:
            steps.output.fact("not shown", describe(error).fault, "yellow")
            return True
        left_s = deadline - time.clock_gettime(time.CLOCK_BOOTTIME)
        if left_s <= 0 and not is_last:
            steps.output.fact("too late", "the control came after the deadline; once more, with more time", "yellow")
            return False
        text = f"control, {left_s:.2f} s before its deadline: {_found(before)}"
        steps.claim(text, held=bool(before.hits) and left_s > 0)
        if not before.hits:
            return True
        late_s = _wait_for_zeros(pid, before.hits[0].address, deadline)
        after = scan_process_report(secret, pid)
        where = f"the {_SECRET_BYTES} bytes at {before.hits[0].address:#x}"
        if late_s is None:
            steps.claim(f"{where} are still there {_PATIENCE_S:.0f} s after the deadline", held=False)
        else:
            steps.claim(f"{late_s * 1000:.1f} ms after the deadline {where} are zero", held=True)
        steps.claim(f"in all of the holder's memory that can be read: {_found(after)}", held=not after.hits)
        return True


def _copy(path: str, session: SecureSession) -> str:
    remedy = "choose a smaller file; the demo holds it in memory"
    with open_regular(path, _MOST_BYTES, remedy) as (fd, status), read_secret(fd, path, status.st_size) as content:
        copy = str(session.create_temp_file(suffix=os.path.splitext(path)[1][:16]))
        target = os.open(copy, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(target, content)
            os.fsync(target)
        finally:
            os.close(target)
    return copy


@click.command("demo")
@click.argument("file", metavar="[FILE]", required=False)
def demo_command(file: str | None) -> int:
    """Show what zeroizepy does, on a copy of FILE (default: a file of this package). FILE itself is only read.

    A secret goes into a cell; the copy is encrypted, decrypted, its key erased, the copy shredded; then the demo
    searches its own memory for the secret, and for a control that it left there on purpose, and watches a secret with a
    time to live end in another process. Each line says what the system really granted. Exit status 1 when any step did
    not come out as claimed.
    """
    path = file if file is not None else os.path.abspath(zeroizepy.cell.__file__)
    steps = _Steps()
    try:
        # Before there is a copy: where nothing can be locked, the copy could not be shredded either.
        secret, key = CypherCell.generate(_SECRET_BYTES), CryptoKey.generate()
    except LockLimitError as error:
        raise Failure(
            "no memory can be locked", "raise the hard limit (ulimit -H -l shows it); see 'zeroizepy doctor'"
        ) from error
    with SecureSession() as session:
        copy = _copy(path, session)
        steps.output.line(f"zeroizepy {zeroizepy.__version__}: a demonstration on a copy of {path}", "bold")
        with steps.step("A secret goes into a cell"):
            _show_secret(steps, secret)
        sealed = None
        with steps.step("The copy is encrypted with a key that stays in locked memory"):
            sealed = _encrypt(steps, copy, key, secret)
        if sealed is not None:
            with steps.step("With the key, decryption works"):
                _decrypt(steps, copy, secret, sealed, key)
            with steps.step("The key is erased"):
                _refused(steps, sealed[0], key)
        with steps.step("The session ends: the plaintext copy is shredded"):
            session.close()
            for report in session.reports:
                show_report(steps.output, report)
            text = "the copy is gone; the verdict says what became of its bytes"
            steps.claim(text, held=not os.path.lexists(copy))
    with steps.step("Is the secret anywhere else in this process?"):
        _scan(steps, secret)
    with steps.step("A time to live ends: seen from another process"):
        _watch_deadline(steps)
    steps.output.line()
    if steps.failed:
        say(f"error: not as claimed: step {', '.join(map(str, steps.failed))}")
        say("hint: 'zeroizepy doctor' shows what this machine gives")
        return 1
    steps.output.line("All steps came out as claimed. 'zeroizepy doctor' says more about this machine.", "green")
    return 0
