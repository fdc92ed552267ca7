"""What a child process finds of its parent's secrets: nothing, however it was made."""

from __future__ import annotations

from textwrap import dedent as _dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.children import Child

# in_child(check) forks, runs the check in the child, and gives its exit status; 3 stands for an exception.
PROGRAM = """
import ctypes, gc, os, threading, traceback
from zeroizepy import *
SECRET = b"hunter2-hunter2!"
def in_child(check, fork=os.fork):
    pid = fork()
    if pid == 0:
        try:
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 3
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def raises(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")
cells = [CypherCell(SECRET, tier=tier) for tier in ("packed", "isolated", "sealed")] + [CypherCell(SECRET * 400)]
memories = [SecureMemory.from_bytes(SECRET), SecureMemory.from_bytes(SECRET * 400)]
keys = [CryptoKey(bytes(range(1, size + 1))) for size in (16, 24, 32)]
message = [encrypt(b"message", key) for key in keys]
def whole():
    assert all(cell.reveal_bytes()[:16] == SECRET for cell in cells)
    assert all(memory.read(16) == SECRET for memory in memories)
    assert [decrypt(ct, key) for ct, key in zip(message, keys)] == [b"message"] * 3
whole()
"""

EVERY_USE = """
def check():
    for cell in cells:
        assert cell.wiped and not cell and cell.expires_in == 0.0
        for use in (cell.reveal, cell.reveal_bytes, cell.reveal_masked, cell.__enter__, lambda: len(cell),
                    lambda: cell.borrow().__enter__(), lambda: cell.copy_into(bytearray(9000)),
                    lambda: cell.compare(cell), lambda: cell.protection, lambda: CypherCell(cell)):
            error = raises(CellWipedError, use)
            assert str(error).startswith("Cell is wiped") and "parent process" in str(error), error
        for guess in (SECRET, bytes(16), bytes(6400), SECRET.decode("latin-1"), bytearray(SECRET)):
            raises(CellWipedError, lambda: cell.verify(guess))
        raises(CellWipedError, lambda: cell == CypherCell(SECRET))
    for memory in memories:
        assert memory.closed and memory.size in (16, 6400)
        for use in (memory.read, memory.get_bytes, memory.zero, lambda: memory.write(b"x"), lambda: memory.protection,
                    lambda: memory.borrow(writable=True).__enter__(), memory.__enter__,
                    lambda: SecureMemory.from_bytes(memory)):
            assert "parent process" in str(raises(SecureMemoryClosed, use))
    for ct, key in zip(message, keys):
        assert key.destroyed
        for use in (key.get_bytes, lambda: encrypt(b"x", key), lambda: decrypt(ct, key),
                    lambda: decrypt_secret(ct, key), lambda: decrypt_into(ct, key, bytearray(99)),
                    lambda: encrypt(bytes(50000), key), lambda: key.borrow().__enter__(), lambda: key.protection):
            error = raises(CellWipedError, use)
            assert isinstance(error, SecureMemoryClosed) and "parent process" in str(error)
"""


def test_every_use_in_a_child_is_refused(child: Child) -> None:
    """CellWipedError or SecureMemoryClosed from each method, never zeros, never a message under a zero key."""
    assert child.check(PROGRAM + EVERY_USE + "print(in_child(check)); whole()") == "0\n"


def test_a_grandchild_is_refused_too(child: Child) -> None:
    """Two forks down."""
    body = "print(in_child(lambda: (check(), in_child(check) == 0 or os._exit(9)))); whole()"
    assert child.check(PROGRAM + EVERY_USE + body) == "0\n"


def test_held_views_read_zeros_in_the_child(child: Child) -> None:
    """A view that was open at the fork reads zeros, crashes nothing, and can be written and dropped."""
    body = """
    from contextlib import ExitStack
    with ExitStack() as stack:
        views = [stack.enter_context(it.borrow()) for it in cells + memories + keys]
        views += [stack.enter_context(memory.borrow(writable=True)) for memory in memories]
        parts = [view[1:9] for view in views]
        def check():
            assert all(bytes(view) == bytes(len(view)) for view in views)
            assert all(bytes(part) == bytes(8) for part in parts)
            for view in views[-2:]:
                view[:] = b"\\xff" * len(view)
            stack.close()
            parts.clear(), views.clear()
            gc.collect()
            for _ in range(2000):
                assert CypherCell(b"\\xee" * 16).verify(b"\\xee" * 16)
                assert SecureMemory(16).get_bytes() == bytes(16)
        print(in_child(check))
        assert all(bytes(view) != bytes(len(view)) for view in views)
    whole()
    """
    assert child.check(PROGRAM + _dedent(body)) == "0\n"


def test_the_child_makes_its_own(child: Child) -> None:
    """New cells, memories and keys work in the child; the figures start again; the parent's are unharmed."""
    body = """
    before = stats()
    def check():
        now = stats()
        assert (now.cells, now.isolated, now.pinned, now.locked_bytes) == (0, 0, 0, 0), now
        assert now.budget_bytes == before.budget_bytes
        mine = [CypherCell(SECRET, tier=tier) for tier in ("packed", "isolated", "sealed") for _ in range(50)]
        assert all(cell.reveal_bytes() == SECRET and cell.protection.locked for cell in mine)
        key = CryptoKey.generate()
        assert decrypt(encrypt(b"x", key), key) == b"x"
        assert stats().cells == 151
        assert purge() == 151
        assert stats().cells == 0
    print(in_child(check))
    assert stats() == before
    whole()
    """
    assert child.check(PROGRAM + _dedent(body)) == "0\n"


def test_wiping_in_the_child(child: Child) -> None:
    """wipe, close, destroy, del, purge and exit in the child do not reach the parent."""
    body = """
    def check():
        for it in cells + memories + keys:
            it.close(), it.close()
        with_handler = CypherCell(b"x")
        purge()
        cells.clear(), memories.clear(), keys.clear()
        gc.collect()
        assert all(CypherCell(SECRET).verify(SECRET) for _ in range(1000))
    print(in_child(check))
    whole()
    pid = os.fork()
    if pid == 0:
        raise SystemExit(5)  # The ordinary way out, with atexit and finalisers.
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    whole()
    """
    assert child.check(PROGRAM + _dedent(body)) == "0\n5\n"


def test_blocks_open_at_the_fork(child: Child) -> None:
    """A child that inherited an open `with` block gets errors inside it and leaves it quietly."""
    body = """
    with cells[0] as view, memories[0] as memory, keys[2] as key:
        pid = os.fork()
        if pid == 0:
            raises(CellWipedError, lambda: bytes(view))
            raises(CellWipedError, lambda: str(view))
            raises(CellWipedError, lambda: view.verify(SECRET))
        else:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
            assert bytes(view) == SECRET
    if pid == 0:
        raise SystemExit(6)
    print(cells[0].wiped, memory.closed, key.destroyed)
    """
    assert child.check(PROGRAM + _dedent(body)) == "True True True\n"


def test_inherit(child: Child) -> None:
    """inherit=True: the child has its own locked copy; neither side's wipe or write reaches the other."""
    body = """
    kept = [CypherCell(SECRET, inherit=True), CypherCell(SECRET, inherit=True, tier="isolated"),
            SecureMemory(16, inherit=True), SecureMemory(9000, inherit=True),
            CypherCell(SECRET, inherit=True, max_reads=2), CypherCell(SECRET, inherit=True, tier="sealed"),
            SecureMemory(16, inherit=True, tier="sealed")]
    kept[6].write(SECRET)
    kept[2].write(SECRET), kept[3].write(SECRET)
    assert all(it.protection.fork == "inherited" and it.protection.backing == "mlock" for it in kept)
    def check():
        raises(CellWipedError, cells[0].reveal)
        assert stats().cells == len(kept) and stats().isolated == 2, stats()
        assert all(it.protection.locked for it in kept)
        assert kept[0].reveal_bytes() == kept[1].reveal_bytes() == kept[4].reveal_bytes() == SECRET
        assert kept[2].read() == kept[3].read(16) == kept[6].read() == SECRET and kept[5].verify(SECRET)
        kept[2].write(b"child's own copy"), kept[6].write(b"child's own copy")
        kept[3].zero()
        kept[0].wipe(), kept[1].wipe()
        assert kept[0].wiped
        raises(CellWipedError, lambda: cells[0].verify(SECRET))
        more = [CypherCell(b"x" * 16, inherit=True) for _ in range(500)]
        assert all(cell.verify(b"x" * 16) for cell in more)
        assert in_child(lambda: kept[2].read() == kept[6].read() == b"child's own copy" or os._exit(9)) == 0
    print(in_child(check))
    assert all(not it.closed if isinstance(it, SecureMemory) else not it.wiped for it in kept)
    assert kept[0].verify(SECRET) and kept[1].verify(SECRET) and kept[2].read() == kept[3].read(16) == SECRET
    assert kept[4].reveal_bytes() == kept[4].reveal_bytes() == SECRET and kept[4].wiped
    assert kept[6].read() == SECRET and kept[5].reveal_bytes() == SECRET
    kept[2].write(b"parent's changed"), kept[6].write(b"parent's changed")
    assert kept[6].read() == b"parent's changed"
    whole()
    """
    assert child.check(PROGRAM + _dedent(body)) == "0\n"


def test_fork_from_a_thread_while_others_work(child: Child) -> None:
    """Forks from one thread while four make and wipe cells: no child hangs, crashes or sees a secret."""
    body = """
    import signal
    stop = threading.Event()
    def work():
        while not stop.is_set():
            made = [CypherCell(SECRET, tier=tier) for tier in ("packed", "isolated", "sealed")] + [SecureMemory(9000)]
            key = CryptoKey.generate()
            assert decrypt(encrypt(made[0], key), key) == SECRET
    def check():
        signal.alarm(200)
        raises(CellWipedError, cells[0].reveal)
        assert CypherCell(SECRET).verify(SECRET)
        assert SecureMemory(9000).get_bytes() == bytes(9000)
    workers = [threading.Thread(target=work) for _ in range(4)]
    statuses = []
    forker = threading.Thread(target=lambda: statuses.extend(in_child(check) for _ in range(25)))
    for thread in workers + [forker]:
        thread.start()
    forker.join()
    stop.set()
    for thread in workers:
        thread.join()
    print(statuses == [0] * 25, statuses)
    whole()
    """
    assert child.check(PROGRAM + _dedent(body)).startswith("True")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(child: Child, method: str) -> None:
    """A forked worker is refused; to a spawned one a cell cannot even be sent."""
    body = """
    import multiprocessing, sys
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[1] == "fork":
        def work(queue):
            try:
                cells[0].reveal()
            except CellWipedError:
                queue.put(CypherCell(b"worker").reveal())
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
        assert process.exitcode == 0
    else:
        print(str(raises(TypeError, lambda: context.Process(target=len, args=(cells[0],)).start())))
    whole()
    """
    expected = "worker\n" if method == "fork" else "cannot pickle 'CypherCell' object\n"
    assert child.check(PROGRAM + _dedent(body), method) == expected


def test_subprocess(child: Child) -> None:
    """A program that is started (vfork and exec) has none of it, and the parent keeps all: descriptors, too."""
    body = """
    import subprocess, sys
    for close_fds in (True, False):
        out = subprocess.run([sys.executable, "-I", "-c", "import os; print(len(os.listdir('/proc/self/fd')))"],
                             capture_output=True, text=True, check=True, close_fds=close_fds).stdout
        print(out.strip())
        whole()
    """
    counts = child.check(PROGRAM + _dedent(body)).split()
    assert counts[0] == counts[1] == "4"


RAW = """
SYS_FORK, SYS_CLONE = 57, 56
libc = ctypes.CDLL(None, use_errno=True)
def raw_clone():
    return libc.syscall(SYS_CLONE, 17, 0, 0, 0, 0)  # 17: SIGCHLD, no shared memory, no handlers.
def leave(status):
    libc.syscall(231, status)  # exit_group, past all handlers.
"""


def need_x86_64() -> None:
    """Skip where the numbers of the system calls above are others."""
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("needs x86-64 system call numbers")


def test_raw_clone(child: Child) -> None:
    """A child made behind the C library's back gets errors, not zeros, and makes no cells."""
    need_x86_64()
    body = """
    def check():
        raises(CellWipedError, lambda: CypherCell(SECRET))
        raises(CellWipedError, CryptoKey.generate)
        raises(CellWipedError, lambda: cells[0].verify(bytes(16)))
    print(in_child(check, raw_clone))
    def uses():
        for cell in cells:
            assert cell.wiped
            raises(CellWipedError, cell.reveal), raises(CellWipedError, cell.reveal_bytes)
            raises(CellWipedError, lambda: cell.borrow().__enter__())
            cell.wipe()
        for key in keys:
            raises(SecureMemoryClosed, lambda: encrypt(b"x", key))
        for memory in memories:
            raises(SecureMemoryClosed, memory.read)
            memory.close()
        purge()
    print(in_child(uses, raw_clone))
    whole()
    pid = raw_clone()
    if pid == 0:
        raise SystemExit(8)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    whole()
    """
    assert child.check(PROGRAM + RAW + _dedent(body)) == "0\n0\n8\n"


def test_raw_clone_beside_a_deadline(child: Child) -> None:
    """Such a child has no thread to stop when it exits, and ends."""
    need_x86_64()
    body = """
    import signal, time
    cell = CypherCell(SECRET, ttl_sec=1000)
    time.sleep(0.1)  # The thread is there, and asleep.
    pid = raw_clone()
    if pid == 0:
        signal.alarm(200)
        raise SystemExit(8)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    whole()
    """
    assert child.check(PROGRAM + RAW + _dedent(body)) == "8\n"


WITNESS = """
def addresses():
    found = []
    for it in cells + memories + keys:
        with it.borrow() as view:
            found.append((address_of(view), len(view)))
    return found
def address_of(view):
    from zeroizepy import _lib
    return int(_lib.ffi.cast("uintptr_t", _lib.ffi.from_buffer("uint8_t[]", view)))
def peek(address, length):
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        try:
            memory.seek(address)
            return memory.read(length)
        except OSError:
            return None
"""


@pytest.mark.parametrize("fork", ["os.fork", "raw_clone"])
def test_the_kernel_as_witness(child: Child, fork: str) -> None:
    """At the secrets' addresses the child's own /proc/self/mem holds zeros or nothing."""
    need_x86_64()
    body = f"""
    places = addresses()
    control = ctypes.create_string_buffer(SECRET)
    def check():
        for address, length in places:
            assert peek(address, length) in (None, bytes(length)), address
        assert peek(ctypes.addressof(control), 16) == SECRET
    print(in_child(check, {fork}))
    whole()
    """
    assert child.check(PROGRAM + RAW + WITNESS + _dedent(body)) == "0\n"
