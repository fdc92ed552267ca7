"""Many threads at once: right answers or errors, nothing in between."""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CipherText, CryptoKey, decrypt_data, encrypt_data
from zeroizepy.exceptions import CellWipedError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory, stats

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

THREADS = 8
SIZES = [1, 16, 40, 544, 4096, 6000]


def run_all(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run `work(0)`, `work(1)`, ... at the same time; the first exception is raised here."""
    failed: list[BaseException] = []
    gate = threading.Barrier(count)

    def body(number: int) -> None:
        try:
            gate.wait(300)
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below.
            failed.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
        assert not thread.is_alive(), "a thread hangs"
    if failed:
        raise failed[0]


def test_own_secrets() -> None:
    """Each thread makes, uses and wipes its own cells of all sizes: none ever sees another's bytes."""

    def work(number: int) -> None:
        choose = random.Random(number)
        held: list[tuple[Any, bytes]] = []
        for _ in range(1500):
            size = choose.choice(SIZES)
            data = bytes([number + 1]) * size
            if choose.random() < 0.5 or not held:
                tier = choose.choices(["packed", "sealed", "isolated"], [6, 3, 1])[0]
                real = CypherCell(data, tier=tier) if choose.random() < 0.7 else SecureMemory.from_bytes(data)
                held.append((real, data))
                continue
            real, data = held.pop(choose.randrange(len(held))) if choose.random() < 0.6 else choose.choice(held)
            with real.borrow() as view:
                assert bytes(view) == data
                part = view[: choose.randrange(1, 9)]
            assert bytes(part) == data[: len(part)]
            if isinstance(real, CypherCell):
                assert real.verify(data)
                assert real.reveal_bytes() == data
            else:
                assert real.read() == data
                real.zero()
                real.write(data)

    run_all(work)


TEXT = "0123456789abcdef" * 40


def copied(cell: CypherCell) -> bool:
    """copy_into a buffer of the right size."""
    buffer = bytearray(len(TEXT))
    cell.copy_into(buffer)
    return buffer == TEXT.encode()


def in_block(cell: CypherCell) -> bool:
    """Through a `with` block."""
    with cell as view:
        return bytes(view) == TEXT.encode()


def encrypted(cell: CypherCell) -> bool:
    """As a plaintext."""
    key = CryptoKey.generate()
    return decrypt_data(encrypt_data(cell, key), key) == TEXT.encode()


USES: dict[str, Callable[[CypherCell], bool]] = {
    "reveal": lambda cell: cell.reveal() == TEXT,
    "reveal_bytes": lambda cell: cell.reveal_bytes() == TEXT.encode(),
    "masked": lambda cell: cell.reveal_masked(16) == "*" * 624 + TEXT[:16],
    "copy_into": copied,
    "block": in_block,
    "encrypt": encrypted,
}


@pytest.mark.parametrize("tier", ["packed", "isolated", "sealed"])
@pytest.mark.parametrize("use", [*USES, "verify"])
def test_wipe_against_use(use: str, tier: str) -> None:
    """While one thread wipes, the others get the whole secret or an error; never zeros, never a mixture."""
    data = TEXT.encode()
    outcomes = {"whole": 0, "refused": 0}
    lock = threading.Lock()

    for turn in range(20):
        cell = CypherCell(data, tier=tier)

        def work(number: int, cell: CypherCell = cell, turn: int = turn) -> None:
            if number == 0:
                time.sleep(turn % 6 * 1e-5)
                cell.wipe()
                assert cell.verify(data) is False
                return
            while True:  # Until the wipe is seen.
                if use == "verify":
                    if not cell.verify(data):
                        assert cell.wiped
                        return
                    continue
                try:
                    whole = USES[use](cell)
                except CellWipedError:
                    with lock:
                        outcomes["refused"] += 1
                    return
                else:
                    assert whole
                    with lock:
                        outcomes["whole"] += 1

        run_all(work, 4)
    if use not in ("verify", "block"):
        assert outcomes["refused"] > 0


@pytest.mark.parametrize("length", [16, 32])
def test_wipe_against_encryption_of_a_cell(length: int) -> None:
    """A plaintext that is wiped while it is encrypted gives an error, not the ciphertext of zeros."""
    data = b"p" * 1_000_000
    key = CryptoKey.generate(length)
    for turn in range(20):
        cell = CypherCell(data)
        made: list[CipherText] = []

        def work(number: int, cell: CypherCell = cell, made: list[CipherText] = made, turn: int = turn) -> None:
            if number == 0:
                time.sleep(turn * 5e-5)
                cell.wipe()
                return
            with pytest.raises(CellWipedError):  # noqa: PT012 - as often as it works, until it does not.
                while True:
                    made.append(encrypt_data(cell, key))

        run_all(work, 2)
        assert all(decrypt_data(ct, key) == data for ct in made)


@pytest.mark.parametrize("copy", [CypherCell, SecureMemory.from_bytes], ids=["cell", "memory"])
def test_wipe_against_copying_a_cell(copy: Callable[[CypherCell], Any]) -> None:
    """A cell that is wiped while it is copied gives an error, not a copy of zeros."""
    data = b"p" * 1_000_000
    for turn in range(20):
        cell = CypherCell(data)
        made: list[Any] = []

        def work(number: int, cell: CypherCell = cell, made: list[Any] = made, turn: int = turn) -> None:
            if number == 0:
                time.sleep(turn * 5e-5)
                cell.wipe()
                return
            with pytest.raises(CellWipedError):  # noqa: PT012 - as often as it works, until it does not.
                while True:
                    made[:] = [*made[-1:], copy(cell)]  # The budget has room for few of this size.

        run_all(work, 2)
        for copied in made:
            with copied.borrow() as view:
                assert bytes(view) == data


@pytest.mark.parametrize("length", [16, 32])
@pytest.mark.parametrize("size", [10, 40_000])
def test_destroy_against_encrypt(size: int, length: int) -> None:
    """Every message that came back while the key was destroyed decrypts under the real key, none under zeros."""
    message = b"m" * size
    made: list[CipherText] = []
    refused: list[int] = []
    for turn in range(40):
        raw = bytes([turn + 1]) * length
        key = CryptoKey(raw)
        mine: list[CipherText] = []

        def work(number: int, key: CryptoKey = key, mine: list[CipherText] = mine, turn: int = turn) -> None:
            if number == 0:
                time.sleep(turn % 8 * 5e-5)
                key.destroy()
                return
            try:
                while True:
                    mine.append(encrypt_data(message, key))
            except SecureMemoryClosed:
                refused.append(1)

        run_all(work, 3)
        for ct in mine:
            assert AESGCM(raw).decrypt(ct.nonce, ct.ciphertext, None) == message
        made += mine
    assert len(refused) == 80
    assert made


def test_destroy_against_decrypt() -> None:
    """Decryption gives the message or says that the key is closed; a DecryptionError would blame the message."""
    for turn in range(40):
        key = CryptoKey.generate()
        ct = encrypt_data(b"m" * 40_000, key)

        def work(number: int, key: CryptoKey = key, ct: CipherText = ct, turn: int = turn) -> None:
            if number == 0:
                time.sleep(turn % 8 * 5e-5)
                key.destroy()
                return
            try:
                while True:
                    assert decrypt_data(ct, key) == b"m" * 40_000
            except SecureMemoryClosed:
                return

        run_all(work, 3)


ONLY = b"the only access there is"
LARGE = ONLY * 300  # Its calls leave the GIL to others.


def lent(cell: CypherCell) -> bytes:
    """What a borrowed view shows."""
    with cell.borrow() as view:
        return bytes(view)


def copied_out(cell: CypherCell) -> bytes:
    """What copy_into leaves in a buffer."""
    buffer = bytearray(len(LARGE))
    return bytes(buffer[: cell.copy_into(buffer)])


def shown_in_block(cell: CypherCell) -> bytes:
    """What the view of a `with` block shows."""
    with cell as view:
        return bytes(view)


ACCESSES: dict[str, Callable[[CypherCell], bytes]] = {
    "reveal": lambda cell: cell.reveal().encode(),
    "reveal_bytes": lambda cell: cell.reveal_bytes(),
    "borrow": lent,
    "copy_into": copied_out,
    "block": shown_in_block,
}


def race(cells: list[CypherCell], attempt: Callable[[CypherCell], bytes]) -> list[list[bytes]]:
    """What sixteen threads get that ask for one cell after the other, each at the same time; nothing when refused."""
    results: list[list[bytes]] = [[] for _ in cells]
    start = threading.Barrier(16)

    def work(_number: int) -> None:
        for cell, got in zip(cells, results, strict=True):
            start.wait(300)
            try:
                got.append(attempt(cell))
            except CellWipedError:
                continue

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # Or most accesses end before another thread gets to begin its own.
    try:
        run_all(work, 16)
    finally:
        sys.setswitchinterval(interval)
    return results


SIZES_RACED = pytest.mark.parametrize(
    ("secret", "tier"), [(ONLY, "packed"), (ONLY, "isolated"), (LARGE, "packed")], ids=["packed", "isolated", "large"]
)


@SIZES_RACED
@pytest.mark.parametrize("use", ACCESSES)
def test_volatile_has_one_winner(use: str, secret: bytes, tier: str) -> None:
    """Sixteen threads want the one access, two hundred times: exactly one gets the secret, fifteen get an error."""
    cells = [CypherCell(secret, volatile=True, tier=tier) for _ in range(200)]
    assert race(cells, ACCESSES[use]) == [[secret]] * 200
    assert all(cell.wiped for cell in cells)


@SIZES_RACED
@pytest.mark.parametrize("use", [use for use in ACCESSES if use != "block"])  # The end of a block ends the cell.
@pytest.mark.parametrize("limit", [2, 15])
def test_max_reads_is_exact(limit: int, secret: bytes, tier: str, use: str) -> None:
    """However many threads read, exactly `max_reads` of them get the secret."""
    cells = [CypherCell(secret, max_reads=limit, tier=tier) for _ in range(100)]
    assert race(cells, ACCESSES[use]) == [[secret] * limit] * 100
    assert all(cell.wiped for cell in cells)


def test_max_reads_of_all_kinds() -> None:
    """Accesses of different kinds share one limit."""
    kinds = [attempt for use, attempt in ACCESSES.items() if use != "block"]
    cells = [CypherCell(ONLY, max_reads=7) for _ in range(200)]

    def any_of_them(cell: CypherCell) -> bytes:
        return random.choice(kinds)(cell)

    assert race(cells, any_of_them) == [[ONLY] * 7] * 200
    assert all(cell.wiped for cell in cells)


def test_wipe_from_many_threads() -> None:
    """One cell, wiped by all at once, is wiped once."""
    for _ in range(100):
        cell = CypherCell(b"secret")
        before = stats()
        run_all(lambda _number, cell=cell: cell.wipe(), 4)  # type: ignore[misc]
        after = stats()
        assert after.cells == before.cells - 1
        assert after.wipes == before.wipes + 1


def test_views_outlive_a_wipe_from_another_thread() -> None:
    """A reader in one thread sees the secret, then zeros, and no other byte, while slots are taken and given back."""
    stop = threading.Event()

    def churn(number: int) -> None:
        while not stop.is_set():
            cells = [CypherCell(bytes([200 + number]) * 64) for _ in range(50)]
            assert all(cell.verify(bytes([200 + number]) * 64) for cell in cells)

    def read(_number: int) -> None:
        try:
            for _ in range(100):
                cell = CypherCell(b"\x11" * 64)
                with cell.borrow() as view:
                    part = view[:]
                wiper = threading.Thread(target=cell.wipe)
                wiper.start()
                seen = {byte for _ in range(20) for byte in bytes(part)}
                wiper.join()
                assert seen <= {0, 0x11}
                assert bytes(part) == bytes(64)
        finally:
            stop.set()

    run_all(lambda number: read(number) if number == 0 else churn(number), 4)
