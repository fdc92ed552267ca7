"""Exceptions kept in reference cycles, as error reporters keep them, do the interpreter no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.children import Child

# Until CPython 3.12.4 (its issue 77894) the collector crashes on a cycle that holds a memoryview with a buffer on it:
# no frame of ours may be left with one.
FAILURES = {
    "key from memory of the wrong size": "CryptoKey(memory)",
    "cell from memory, bad limit": "CypherCell(memory, ttl_sec=-1)",
    "cell from memory over the budget": "CypherCell(huge_memory)",
    "memory from memory over the budget": "SecureMemory.from_bytes(huge_memory)",
    "write of memory that does not fit": "memory.write(large)",
    "write to closed memory": "closed.write(memory)",
    "encrypt a cell with a destroyed key": "encrypt_data(cell, destroyed)",
    "encrypt a cell with a destroyed short key": "encrypt_data(cell, destroyed_short)",
    "encrypt a cell with bad data": "encrypt_data(cell, key, 5)",
    "encrypt a cell with bad data and a short key": "encrypt_data(cell, short, 5)",
    "compare a cell with a number": "secure_compare(cell, 5)",
    "compare a cell with a wiped one": "secure_compare(cell, gone)",
    "copy into a borrowed view that is too short": "copy_into_short()",
    "forged message for a short key": "decrypt_data(CipherText(bytes(12), bytes(32)), short)",
    "failure inside a borrow": "fail_inside()",
}


@pytest.mark.parametrize("name", FAILURES)
def test_error_in_a_cycle(name: str, child: Child) -> None:
    """frame -> exception -> traceback -> frame is collected without a crash, and everything is given back."""
    out = child.check(
        f"""
        import gc
        from zeroizepy import *
        from zeroizepy.utils import secure_compare
        memory, large, closed = SecureMemory(5), SecureMemory(500), SecureMemory(5)
        closed.close()
        huge_memory = SecureMemory(stats().budget_bytes // 8 * 5 // 4096 * 4096)
        cell, gone = CypherCell(b"message"), CypherCell(b"message")
        gone.wipe()
        key, destroyed, destroyed_short = CryptoKey.generate(), CryptoKey.generate(), CryptoKey.generate(16)
        short = CryptoKey.generate(16)
        destroyed.destroy()
        destroyed_short.destroy()
        def copy_into_short():
            with memory.borrow(writable=True) as view:
                cell.copy_into(view)
        def fail_inside():
            with cell.borrow() as view:
                kept = view[1:3]
                raise ValueError(kept)
        def fail():
            try:
                {FAILURES[name]}
            except Exception as error:
                kept = error
                return 1
            return 0
        live = stats().cells
        print(sum(fail() for _ in range(30)))
        gc.collect()
        junk = [bytearray(200) for _ in range(1000)]
        gc.collect()
        assert stats().cells == live, stats()
        assert stats().pinned == 0, stats()
        """
    )
    assert out.split() == ["30"]
