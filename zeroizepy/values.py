"""Values that other modules give out and take.

They stand apart because importing dataclasses and typing takes longer than all the rest; who needs none does not pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Borrowable", "CellLimits", "KeyProtection", "MemoryStats", "Protection"]


@dataclass(frozen=True, slots=True)
class Protection:
    """What the system calls granted for one secret.

    Attributes:
        tier: "packed" (a slot among others), "isolated" (own pages, no access while nobody borrows them) or "sealed"
            (encrypted on the ordinary heap, in a slot only while somebody borrows it).
        backing: "memfd_secret" (not even root reads it through /proc/PID/mem), "mlock", or "none".
        locked: The pages cannot be swapped: mlock returned 0, or they are secretmem, which is never swapped.
        guarded: Inaccessible pages lie directly before and behind.
        dump_excluded: madvise(MADV_DONTDUMP) returned 0.
        fork: What a forked child finds: "absent", "wiped" (zeros) or "inherited" (its own copy).
        page_bytes: Bytes of the page run that holds the secret, guards not counted.

    Of a sealed secret, all but `tier` tells of the pages that hold its key; the slots that it is opened into are in
    pages of the same kind. Its ciphertext may be swapped, dumped and forked.
    """

    tier: str
    backing: str
    locked: bool
    guarded: bool
    dump_excluded: bool
    fork: str
    page_bytes: int


@dataclass(frozen=True, slots=True)
class KeyProtection(Protection):
    """What the system calls granted for a key.

    Attributes:
        schedule_locked: Whether the expanded key lies in locked memory too. False for AES with 128 and 192 bits and on
            a CPU without AES instructions: then OpenSSL expands the key on the ordinary heap for each message.
            XChaCha20-Poly1305 and AEGIS-256 have none; what they make for one message is zeroed on the stack.
    """

    schedule_locked: bool


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """The memory engine's figures for this process.

    Attributes:
        cells: Live secrets: cells, secure memories, keys.
        packed, isolated, sealed: How many of them are in each tier.
        pinned: Wiped secrets whose slot, of zeros, is held by a view that still exists, or by an object that lent it
            before `purge` wiped it.
        locked_bytes: Bytes of pages held now.
        peak_locked_bytes: Their maximum so far.
        budget_bytes: The most that will be locked.
        arenas: Page runs with slots: those of packed secrets, and those that sealed ones are opened into. Two of the
            latter are locked with the first secret (12 KiB), for the time when nothing more can be.
        wipes: Secrets wiped so far, whatever the reason.
        expiries: How many of them because their time to live was over.
        corruptions: Slots retired because something wrote outside its bounds.
    """

    cells: int
    packed: int
    isolated: int
    sealed: int
    pinned: int
    locked_bytes: int
    peak_locked_bytes: int
    budget_bytes: int
    arenas: int
    wipes: int
    expiries: int
    corruptions: int


@runtime_checkable
class Borrowable(Protocol):
    """Anything that lends its bytes as a memoryview: cells, views of cells, secure memory, keys."""

    def borrow(self) -> AbstractContextManager[memoryview]:
        """Lend the bytes, without a copy."""


class CellLimits(TypedDict, total=False):
    """The keyword arguments that every way to make a cell takes; `CypherCell` tells what they mean."""

    max_reads: int | None
    tier: Literal["packed", "isolated", "sealed"]
    policy: Literal["seal", "strict"] | None
    inherit: bool
