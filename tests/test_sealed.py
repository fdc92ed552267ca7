"""The sealed tier: ciphertext at rest, a slot while it is open, and what happens when nothing more can be locked."""

from __future__ import annotations

import os
import subprocess
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from support.maps import find_in_memory

import zeroizepy
from zeroizepy import CypherCell, SecureMemory

if TYPE_CHECKING:
    from support.children import Child

TINY = {"ZEROIZEPY_LOCK_BUDGET": "49152"}  # What a lock limit of 64 KiB leaves.
PRELUDE = """
import os, sys, warnings
import zeroizepy
from zeroizepy import *
SECRET = b"hunter2-hunter2-hunter2-hunter2!"
def spend():
    held = []
    try:
        while True:
            held.append(CypherCell(SECRET, policy="strict"))
    except LockLimitError:
        return held
"""


def test_protection_and_figures() -> None:
    """`protection` tells the tier and of the pages of the key; `stats` counts by tier."""
    before = zeroizepy.stats()
    cell, memory = CypherCell(b"secret", tier="sealed"), SecureMemory(20, tier="sealed")
    for holder in (cell, memory):
        protection = holder.protection
        assert protection.tier == "sealed"
        assert (protection.locked, protection.guarded, protection.dump_excluded) == (True, True, True)
    assert CypherCell(bytes(4097), tier="sealed").protection.tier == "isolated"
    assert zeroizepy.stats().sealed == before.sealed + 2
    cell.wipe()
    memory.close()
    assert zeroizepy.stats().sealed == before.sealed
    assert zeroizepy.stats().wipes >= before.wipes + 3


def test_at_rest_nothing_stands_in_memory(child: Child) -> None:
    """Another process finds the secret while it is borrowed, where pages can be read at all, and never at rest."""
    body = """
    cell = CypherCell.from_fd(0, 64, tier="sealed")
    assert cell.verify(cell)
    print("closed", flush=True)
    os.read(int(sys.argv[1]), 1)
    with cell.borrow() as view:
        print("open", flush=True)
        os.read(int(sys.argv[1]), 1)
    del view
    print("closed", flush=True)
    os.read(int(sys.argv[1]), 1)
    """
    secret = os.urandom(64)
    step_end, step = os.pipe()
    process = subprocess.Popen(
        child.command(PRELUDE + dedent(body), str(step_end)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[step_end],
        env=child.environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(secret)
    process.stdin.flush()
    found = []
    for _ in range(3):
        process.stdout.readline()
        found.append(len(find_in_memory(process.pid, secret[-16:])))
        os.write(step, b".")
    process.communicate(timeout=60)
    os.close(step)
    os.close(step_end)
    assert process.returncode == 0
    assert found == [0, 0 if child.backend == "secretmem" else 1, 0]


def test_cells_seal_themselves_with_one_warning(child: Child) -> None:
    """Beyond the budget each way to make a secret gives a sealed one that works; the first warns, at its line."""
    body = """
    held = spend()
    os.environ["APP_SECRET"] = SECRET.decode()
    reader, writer = os.pipe()
    os.write(writer, SECRET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = sys._getframe().f_lineno + 1
        made = [CypherCell(SECRET), CypherCell(bytearray(SECRET)), CypherCell(SECRET.decode(), max_reads=3),
                CypherCell(SECRET, tier="isolated"), CypherCell.from_env("APP_SECRET"), CypherCell.from_fd(reader, 32),
                SecureMemory.from_bytes(SECRET), CypherCell(SECRET, ttl_sec=1000), CypherCell(SECRET, inherit=True)]
        key = CryptoKey.generate()
        other = CypherCell.generate(32)
        made += [decrypt_secret(encrypt(SECRET, key), key)]
        many = [CypherCell(b"%032d" % number) for number in range(5000)]
    print([it.protection.tier for it in made + [key, other]] == ["sealed"] * 12)
    print([str(it.category.__name__) for it in caught], caught[0].lineno - line, caught[0].filename == "<string>")
    with made[0].borrow() as view, made[6].borrow() as again:
        print(bytes(view) == bytes(again) == SECRET, made[2].reveal() == SECRET.decode(), made[5].verify(SECRET))
    print(all(cell.verify(b"%032d" % number) for number, cell in enumerate(many)), stats().sealed)
    print(stats().locked_bytes <= 49152)
    try:
        CypherCell(bytes(5000))
    except LockLimitError as error:
        print("LockLimitError", "RLIMIT_MEMLOCK" in str(error))
    del held[:100]
    print(CypherCell(SECRET).protection.tier)
    """
    lines = child.check(PRELUDE + dedent(body), env=TINY).splitlines()
    assert lines == [
        "True",
        "['SecureMemoryWarning'] 0 True",
        "True True True",
        "True 5012",
        "True",
        "LockLimitError True",
        "packed",
    ]


STRICT = """
    held = spend()
    for make in (lambda: CypherCell(SECRET{argument}), lambda: SecureMemory(32{argument}),
                 lambda: CypherCell("text"{argument})):
        try:
            make()
        except LockLimitError as error:
            assert "Failed to lock memory" in str(error) and "hunter2" not in str(error)
        else:
            print("not refused")
    asked = CypherCell(SECRET, tier="sealed")
    print(stats().sealed, asked.verify(SECRET), CypherCell(SECRET, policy="seal").protection.tier)
"""


@pytest.mark.parametrize("where", ["argument", "environment", "set_policy"])
def test_strict_refuses(child: Child, where: str) -> None:
    """policy="strict", however it is set, raises LockLimitError; a secret that asks to be sealed still is."""
    argument = ', policy="strict"' if where == "argument" else ""
    code = STRICT.format(argument=argument)
    if where == "set_policy":
        code = '    assert zeroizepy.memory.set_policy("strict") == "seal"\n' + code
    env = {**TINY, **({"ZEROIZEPY_POLICY": "strict"} if where == "environment" else {})}
    done = child.run(PRELUDE + dedent(code), env=env)
    assert (done.returncode, done.stdout) == (0, "1 True sealed\n"), done.stderr


def test_wrong_policies(child: Child) -> None:
    """Refused by name, and nothing is changed; at import, too."""
    with pytest.raises(ValueError, match="policy must be 'seal' or 'strict', not 'lax'"):
        zeroizepy.memory.set_policy("lax")  # type: ignore[arg-type]
    assert zeroizepy.memory.set_policy("seal") == "seal"
    done = child.run("import zeroizepy.memory", env={"ZEROIZEPY_POLICY": "lax"})
    assert "ValueError: ZEROIZEPY_POLICY must be 'seal' or 'strict', not 'lax'" in done.stderr
    assert done.returncode == 1


def test_a_warning_that_is_an_error_leaves_no_cell(child: Child) -> None:
    """Where warnings are errors each cell beyond the budget is refused by one, and none stays behind."""
    body = """
    held = spend()
    warnings.simplefilter("error")
    for _ in range(3):
        try:
            CypherCell(SECRET)
        except SecureMemoryWarning as error:
            print("hunter2" in str(error), stats().sealed)
    """
    assert child.check(PRELUDE + dedent(body), env=TINY).split() == ["False", "0"] * 3


def test_no_room_to_open(child: Child) -> None:
    """Too many open at once: LockLimitError and no access spent, never a False from verify; later it works."""
    body = """
    cells = [CypherCell(bytes([number]) * 4000, tier="sealed", max_reads=2) for number in range(100)]
    borrows = []
    try:
        for cell in cells:
            borrow = cell.borrow()
            borrow.__enter__()
            borrows.append(borrow)
    except LockLimitError:
        pass
    print(0 < len(borrows) < 100)
    last = cells[-1]
    for use in (last.reveal_bytes, lambda: last.verify(b"x"), lambda: last.copy_into(bytearray(4000)),
                lambda: last.compare(last), lambda: last.verify(bytes([99]) * 4000), lambda: last == cells[-2]):
        try:
            print(use())
        except LockLimitError:
            pass
    for borrow in borrows:
        borrow.__exit__(None, None, None)
    print(last.reveal_bytes() == last.reveal_bytes() == bytes([99]) * 4000, last.wiped, stats().pinned)
    """
    assert child.check(PRELUDE + dedent(body), env=TINY).splitlines() == ["True", "True True 0"]


def test_threads_open_the_same_cells(child: Child) -> None:
    """Eight threads borrow, verify and write a few sealed secrets: every answer is right."""
    body = """
    import threading
    cells = [CypherCell(bytes([65 + number]) * 100, tier="sealed") for number in range(4)]
    memory = SecureMemory.from_bytes(bytes(8))
    shared = SecureMemory(8, tier="sealed")
    wrong = []
    def work(me):
        for turn in range(3000):
            number = (me + turn) % 4
            with cells[number].borrow() as view:
                if bytes(view) != bytes([65 + number]) * 100:
                    wrong.append(turn)
            if not cells[number].verify(bytes([65 + number]) * 100) or cells[number].compare(cells[number - 1]):
                wrong.append(turn)
            shared.write(bytes([me]), me)
            if shared.read(1, me) != bytes([me]):
                wrong.append(turn)
    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    sys.setswitchinterval(1e-5)
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(wrong, list(shared.read()))
    """
    assert child.check(PRELUDE + dedent(body)) == "[] [0, 1, 2, 3, 4, 5, 6, 7]\n"


def test_strict_sources_seal_nothing_on_the_way(child: Child) -> None:
    """What a source needs on its way follows the policy of the cell that it is to become: no warning, no sealing."""
    body = """
    held = spend()
    warnings.simplefilter("error")
    reader, writer = os.pipe()
    os.write(writer, SECRET)
    os.close(writer)
    for make in (lambda: CypherCell.from_fd(reader, policy="strict"),
                 lambda: CypherCell.from_fd(reader, 8, policy="strict"),
                 lambda: CypherCell.from_command(["echo", "x"], policy="strict")):
        try:
            make()
        except LockLimitError:
            print(stats().sealed)
    """
    assert child.check(PRELUDE + dedent(body), env=TINY).split() == ["0", "0", "0"]
