"""What does it cost to put a secret into protected memory, use it there, and wipe it?

Baselines: cypher_cell (Rust), upstream zeroizepy, libsodium's sodium_malloc, and a bare CFFI call, below which no
Python method on CFFI can come. Unit: time for one operation on a secret of 32 bytes.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from cffi import FFI
from harness import Aim, Case, Ratio, Repeats, facts, group, options, statement, write_section
from upstream import Upstream

from zeroizepy import CypherCell, SecureMemory
from zeroizepy._lib import lib

DROP = "CypherCell(secret), dropped"
WIPE = "CypherCell(secret).wipe()"
BLOCK = "with CypherCell(secret) as view: bytes(view)"
CLOSE = "SecureMemory.from_bytes(secret).close()"
INTRODUCTION = """\
Question: what does it cost to put a secret of 32 bytes into protected memory, use it there, and wipe it?
Unit: time for one operation, called from Python.

- "the core" is our compiled module called directly: what the work costs without our Python.
- cypher_cell 0.1.6 has no wipe() and no reveal_bytes(): its cells are wiped by being dropped and are read in a block.
- A "bare CFFI call" is measured three ways: the core's own comparison (keeps the GIL), PyNaCl's sodium_memcmp (two
  buffers, releases the GIL), and PyNaCl's randombytes of 0 bytes (one buffer, no work, releases the GIL). The aim is
  held against the first, which gives the same answer.
- sodium_malloc and sodium_free are called in the libsodium that PyNaCl's module exports, through CFFI's ABI mode;
  sodium_free(NULL) shows what such a call costs by itself. They copy no secret."""


def check_same_work(rust: Any, secret: bytes, other: bytes) -> None:
    """Both cells hold the secret, tell it from another one, and lend it for a block; ours is wiped when that ends."""
    for kind in (CypherCell, rust):
        cell = kind(secret)
        assert cell.verify(secret)
        assert not cell.verify(other)
        with cell as view:
            assert bytes(view) == secret
    cell = CypherCell(secret)
    cell.wipe()
    assert cell.wiped


def sodium_cases(module: Any) -> list[Case]:
    """libsodium's own allocator, where PyNaCl's module exports it."""
    ffi = FFI()
    ffi.cdef("void *sodium_malloc(size_t size); void sodium_free(void *address);")
    found = ffi.dlopen(module.__file__)
    if not (hasattr(found, "sodium_malloc") and hasattr(found, "sodium_free")):
        return []
    address = found.sodium_malloc(32)
    assert address != ffi.NULL
    found.sodium_free(address)
    names = {"malloc": found.sodium_malloc, "free": found.sodium_free, "null": ffi.NULL}
    return [
        statement("sodium_free(sodium_malloc(32))", "free(malloc(32))", **names),
        statement("sodium_free(NULL)", "free(null)", **names),
    ]


def creation(peer: Upstream, rust: Any, pynacl: Any, secret: bytes, repeats: Repeats) -> list[str]:
    """Create and wipe."""
    names: dict[str, Any] = {"CypherCell": CypherCell, "SecureMemory": SecureMemory, "secret": secret}
    core: dict[str, Any] = {"create": lib.zpy_cell_create, "wipe": lib.zpy_cell_wipe, "secret": secret}
    allocator = sodium_cases(pynacl)
    cases = [
        statement(f"ours: {WIPE}", WIPE, **names),
        statement(f"ours: {DROP}", "CypherCell(secret)", **names),
        statement("ours: the core's two calls", "wipe(create(secret, 32, 0, 0, 0))", **core),
        statement(f"cypher_cell: {DROP}", "CypherCell(secret)", CypherCell=rust, secret=secret),
        statement(f"ours: {CLOSE}", CLOSE, **names),
        peer.statement(f"upstream: {CLOSE}", CLOSE),
        *allocator,
    ]
    comparisons = [
        Ratio(f"cypher_cell: {DROP}", f"ours: {WIPE}", Aim(3, at_least=True)),
        Ratio(f"cypher_cell: {DROP}", f"ours: {DROP}"),
        Ratio(f"upstream: {CLOSE}", f"ours: {CLOSE}"),
    ]
    comparisons += [Ratio(case.name, f"ours: {WIPE}") for case in allocator[:1]]
    remark = [] if allocator else ["PyNaCl's module does not export sodium_malloc here, so it was not measured.", ""]
    return group("Create and wipe", cases, comparisons, repeats) + remark


def verification(rust: Any, pynacl: Any, secret: bytes, repeats: Repeats) -> list[str]:
    """Compare with a candidate."""
    cell, other = CypherCell(secret), bytes(bytearray(secret))
    same: dict[str, Any] = {"secret": secret, "other": other, "cell": cell, "handle": cell._handle}
    call, compare, nothing = lib.zpy_cell_verify, pynacl.lib.sodium_memcmp, pynacl.lib.randombytes
    assert call(cell._handle, other, 32) == 1
    assert compare(secret, other, 32) == 0
    cases = [
        statement("ours: cell.verify(other)", "cell.verify(other)", **same),
        statement("ours: lib.zpy_cell_verify(handle, other, 32)", "call(handle, other, 32)", call=call, **same),
        statement("PyNaCl: lib.sodium_memcmp(secret, other, 32)", "call(secret, other, 32)", call=compare, **same),
        statement("PyNaCl: lib.randombytes(other, 0)", "call(other, 0)", call=nothing, **same),
        statement("cypher_cell: cell.verify(other)", "cell.verify(other)", cell=rust(secret), other=other),
    ]
    aim = Aim(1.3)
    first, *others = [case.name for case in cases]
    comparisons = [Ratio(first, name, aim if "zpy_" in name else None) for name in others]
    return group("Verify", cases, comparisons, repeats)


def reading(peer: Upstream, rust: Any, secret: bytes, repeats: Repeats) -> list[str]:
    """Get at the bytes."""
    cell, memory = CypherCell(secret), SecureMemory.from_bytes(secret)
    names: dict[str, Any] = {"cell": cell, "memory": memory, "CypherCell": CypherCell, "secret": secret}
    cases = [
        statement("ours: cell.reveal_bytes()", "cell.reveal_bytes()", **names),
        statement("ours: with cell.borrow() as view: view[0]", "with cell.borrow() as view: view[0]", **names),
        statement(f"ours: {BLOCK}", BLOCK, **names),
        statement(f"cypher_cell: {BLOCK}", BLOCK, CypherCell=rust, secret=secret),
        statement("ours: memory.get_bytes()", "memory.get_bytes()", **names),
        peer.statement("upstream: memory.get_bytes()", "memory.get_bytes()"),
    ]
    comparisons = [
        Ratio(f"cypher_cell: {BLOCK}", f"ours: {BLOCK}"),
        Ratio("upstream: memory.get_bytes()", "ours: memory.get_bytes()"),
    ]
    return group("Read", cases, comparisons, repeats)


def main() -> None:
    """Measure, and write the section."""
    chosen = options(__doc__)
    repeats = Repeats(3, 0.002) if chosen.quick else Repeats(41, 0.02)
    rust, pynacl = import_module("cypher_cell").CypherCell, import_module("nacl._sodium")
    secret = os.urandom(32)
    check_same_work(rust, secret, os.urandom(32))
    lines = [INTRODUCTION, f"- repeats: {repeats}", *facts(("cypher_cell", "PyNaCl", "cffi")), ""]
    with Upstream() as peer:
        peer.run("from zeroizepy.memory import SecureMemory")
        peer.run(f"secret = bytes.fromhex('{secret.hex()}')\nmemory = SecureMemory.from_bytes(secret)")
        peer.run("proof = memory.get_bytes()")
        assert peer.fetch("proof") == SecureMemory.from_bytes(secret).get_bytes() == secret
        lines += creation(peer, rust, pynacl, secret, repeats)
        lines += verification(rust, pynacl, secret, repeats)
        lines += reading(peer, rust, secret, repeats)
    write_section(chosen.results, "Cells", lines)


if __name__ == "__main__":
    main()
