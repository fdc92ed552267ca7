"""A secret that another thread wipes is never used as zeros, whatever it is used for."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CryptoKey, decrypt_data, encrypt_data
from zeroizepy.exceptions import CellWipedError
from zeroizepy.memory import SecureMemory
from zeroizepy.signing import SigningKey
from zeroizepy.slots import lend
from zeroizepy.utils import secure_compare

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = bytes(range(1, 33))
PUBLIC_KEY = Ed25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()


def key_bytes(cell: CypherCell) -> bytes:
    """The bytes of a key made from a cell."""
    return CryptoKey(cell).get_bytes()


def encrypted(cell: CypherCell) -> bytes:
    """What a cell is decrypted to after it was encrypted."""
    key = CryptoKey.generate()
    return decrypt_data(encrypt_data(cell, key), key)


def written(cell: CypherCell) -> bytes:
    """What arrives when a cell is written to memory."""
    memory = SecureMemory(32)
    memory.write(cell)
    return memory.read()


def signing_seed(cell: CypherCell) -> bytes:
    """The seed, if the key made from a cell is the one of that seed."""
    return SECRET if SigningKey.from_seed(cell).public_key == PUBLIC_KEY else bytes(32)


USES: dict[str, Callable[[CypherCell], Any]] = {
    "CryptoKey": key_bytes,
    "SigningKey": signing_seed,
    "CypherCell": lambda cell: CypherCell(cell).reveal_bytes(),
    "SecureMemory.from_bytes": lambda cell: SecureMemory.from_bytes(cell).read(),
    "SecureMemory.write": written,
    "encrypt_data": encrypted,
    "secure_compare": lambda cell: SECRET if not secure_compare(cell, bytes(32)) else bytes(32),
    "verify": lambda cell: SECRET if not CypherCell(bytes(32)).verify(cell) else bytes(32),
    "reveal_bytes": lambda cell: cell.reveal_bytes(),
    "reveal": lambda cell: cell.reveal("latin-1").encode("latin-1"),
}


def wipe_after(cell: CypherCell, delay_s: float) -> None:
    """End a cell a moment later, at another point of its use each time."""
    time.sleep(delay_s)
    cell.wipe()


@pytest.mark.parametrize("use", USES)
def test_wiped_while_it_is_used(use: str) -> None:
    """The right secret comes out, or the call raises; both happen."""
    outcomes = {"right": 0, "refused": 0}
    turn = 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        stop = time.monotonic() + 1.0
        while time.monotonic() < stop or not all(outcomes.values()):
            cell = CypherCell(SECRET)
            turn += 1
            wiper = threading.Thread(target=wipe_after, args=(cell, turn % 50 * 2e-5))
            wiper.start()
            try:
                for _ in range(1000):
                    assert USES[use](cell) == SECRET
                    outcomes["right"] += 1
            except CellWipedError:
                outcomes["refused"] += 1
            wiper.join()
            assert time.monotonic() < stop + 30, outcomes
    finally:
        sys.setswitchinterval(interval)


def test_a_secret_that_is_replaced_meanwhile() -> None:
    """Memory that is initialised anew while it lends: what was made then is not taken, be it lent first or again."""
    for times_lent in range(2):
        memory = SecureMemory.from_bytes(SECRET)
        for _ in range(times_lent):
            with memory.borrow():
                pass

        def use(view: memoryview, memory: SecureMemory = memory) -> CryptoKey:
            memory.__init__(32)  # type: ignore[misc]
            return CryptoKey(bytes(view))

        with pytest.raises(CellWipedError):
            lend(memory, use)
