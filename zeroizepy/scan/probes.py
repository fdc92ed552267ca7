"""What a scan compares memory with: secrets and their forms, held in locked memory alone."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroizepy import _lib
from zeroizepy._lib import ffi, lib
from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellWipedError
from zeroizepy.memory import SecureMemory
from zeroizepy.slots import PEEK, Holder, lend, open_lease, protection_of

from .forms import derived
from .values import FORMS, MIN_NEEDLE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["TAIL_BYTES", "Probe", "check_forms", "check_secret", "own_spans", "probe_of", "probes_of"]

TAIL_BYTES = 16
"""Of a copy in freed memory the allocator overwrites the head; the tail stays."""

_MAX_DERIVED_BYTES = 4096
"""Forms are written byte by byte in Python; larger secrets are looked for as they are."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to look for.

    Attributes:
        memory: The cell, or memory, that holds what is compared; alive while the probe is.
        size: Its bytes.
        whole: What ends with `memory`'s bytes and is looked for once those are found; None when they are all.
        secret, form: For the hit.
    """

    memory: Holder
    size: int
    whole: SecureMemory | None = None
    secret: int = 0
    form: str = "raw"

    @property
    def reach_bytes(self) -> int:
        """How many bytes have to be seen at once."""
        return self.size if self.whole is None else self.whole.size

    @property
    def key(self) -> tuple[int, str]:
        """Which secret it is, in which form."""
        return self.secret, self.form

    @property
    def handles(self) -> tuple[int, ...]:
        """The cells that hold it."""
        return (self.memory._handle,) if self.whole is None else (self.memory._handle, self.whole._handle)


def check_secret(secret: object, name: str = "needle") -> None:
    """Raise TypeError unless `secret` is a cell, secure memory or bytes."""
    if not isinstance(secret, (CypherCell, SecureMemory, bytes)):
        raise TypeError(f"{name} must be a CypherCell, SecureMemory or bytes, not {type(secret).__name__}")


def check_forms(forms: Iterable[str]) -> tuple[str, ...]:
    """The forms, each once.

    Raises:
        TypeError: A str, which would be taken letter by letter.
        ValueError: None at all, or one that there is not.
    """
    if isinstance(forms, str):
        raise TypeError(f"forms must be a sequence of str such as ('raw', 'hex'), not the str {_lib.shown(forms)}")
    checked = tuple(dict.fromkeys(forms))
    for form in checked:
        if form not in FORMS:
            raise ValueError(f"forms may hold {', '.join(FORMS)}, not {_lib.shown(form)}")
    if not checked:
        raise ValueError("forms must hold at least one form, else nothing is looked for")
    return checked


def size_of(secret: Holder) -> int:
    """Bytes of a live needle.

    Raises:
        CellWipedError: It is gone.
        ValueError: It is too short.
    """
    size = int(lib.zpy_cell_length(secret._handle))
    if size < 0:
        _lib.raise_status(-size)
    if size < MIN_NEEDLE_BYTES:
        raise ValueError(f"needle must be at least {MIN_NEEDLE_BYTES} bytes, not {size}: less is met by chance")
    return size


def probe_of(secret: CypherCell | SecureMemory | bytes) -> Probe:
    """The secret as it is; a cell or memory is used where it lies."""
    memory = SecureMemory.from_bytes(secret) if isinstance(secret, bytes) else secret
    return Probe(memory, size_of(memory))


def probes_of(secret: CypherCell | SecureMemory | bytes, number: int, forms: Sequence[str], tail: bool) -> list[Probe]:
    """Copies of the secret in each form, so that a scan can outlive the secret itself. No access is counted.

    Args:
        secret: At least 8 bytes; up to 4096 for other forms than "raw".
        number: For `Probe.secret`.
        forms: Of `FORMS`.
        tail: Look for the last 16 bytes, and for what stands before them only where those are found.
    """
    if isinstance(secret, bytes):
        with SecureMemory.from_bytes(secret) as memory:
            return probes_of(memory, number, forms, tail)
    size = size_of(secret)
    if size > _MAX_DERIVED_BYTES and tuple(forms) != ("raw",):
        raise ValueError(f"forms other than 'raw' take secrets up to {_MAX_DERIVED_BYTES} bytes, not {size}")

    def build(view: memoryview) -> list[Probe]:
        probes: list[Probe] = []
        for form in forms:
            wholes = [SecureMemory.from_bytes(view)] if form == "raw" else derived(view, form)
            if tail and size > TAIL_BYTES:
                with view[-TAIL_BYTES:] as end:
                    tails = derived(end, form)
                probes += _paired(tails, wholes, number, form)
            else:
                probes += [Probe(whole, whole.size, None, number, form) for whole in wholes]
        return probes

    return lend(secret, build, peek=True)


def _paired(tails: list[SecureMemory], wholes: list[SecureMemory], number: int, form: str) -> list[Probe]:
    """Each tail with each whole that ends in it.

    Which one that is depends on where in a base64 group the tail begins; and two alphabets may write a tail alike,
    such as hex without letters, and what stands before it not.
    """
    return [
        Probe(tail, tail.size, whole, number, form) for tail in tails for whole in wholes if _ends_with(whole, tail)
    ]


def _ends_with(whole: SecureMemory, tail: SecureMemory) -> bool:
    with whole.borrow() as view, view[-tail.size :] as end, _lib.as_buffer(end, "end") as source:
        return bool(lib.zpy_cell_verify(tail._handle, source, len(source)))


@contextmanager
def own_spans(probes: Iterable[Probe], originals: Iterable[Holder] = ()) -> Iterator[list[tuple[int, int]]]:
    """Where the probes and the secrets themselves lie, which are no copies. They stay there until the block ends.

    Originals that are gone have no place. A probe that is encrypted at rest, since the lock budget is spent, has one
    only while it is compared, which is not while memory is read; keeping all open would take the room to open any.
    """
    handles = [handle for probe in probes for handle in probe.handles if not _is_sealed(handle)]
    with ExitStack() as stack:
        spans = [stack.enter_context(_pinned(handle)) for handle in handles]
        for secret in originals:
            with suppress(CellWipedError):  # Not asked before: its deadline may pass at any time.
                spans.append(stack.enter_context(_pinned(secret._handle)))
        yield spans


def _is_sealed(handle: int) -> bool:
    _status, protection = protection_of(handle)
    return protection is not None and protection.tier == "sealed"


@contextmanager
def _pinned(handle: int) -> Iterator[tuple[int, int]]:
    status, _lease, exporter = open_lease(handle, PEEK)
    if status:
        _lib.raise_status(status)
    start = int(ffi.cast("uintptr_t", exporter))
    yield start, start + int(lib.zpy_cell_length(handle))
    del exporter
