"""Random sequences of operations on cells and memory, against a model that keeps plain bytes."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from zeroizepy.cell import CypherCell
from zeroizepy.exceptions import CellWipedError, SecureMemoryClosed
from zeroizepy.memory import SecureMemory, purge, stats

SIZES = st.one_of(st.integers(0, 80), st.sampled_from([255, 256, 257, 543, 544, 545, 4095, 4096, 4097, 5000]))
TIERS = st.sampled_from(["packed", "isolated", "sealed"])


def content(seed: int, size: int) -> bytes:
    """Bytes that tell which secret they belong to; never zero, so that a wiped secret differs."""
    return bytes((seed * 37 + number * 11) % 251 + 1 for number in range(size))


@dataclass(eq=False)
class Model:
    """What a secret should do."""

    real: Any
    data: bytearray
    left: int | None = None
    live: bool = True
    blocks: list[Any] = field(default_factory=list)

    def spend(self) -> bool:
        """Count an access; False when there was none to be had."""
        if not self.live or self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
            if self.left == 0 and not self.blocks:
                self.live = False
        return True

    @property
    def usable(self) -> bool:
        """Whether verify and compare still see it: while a block lasts, also when the accesses are used up."""
        return self.live and (self.left != 0 or bool(self.blocks))


@dataclass(eq=False)
class Stale:
    """A slice that outlived its block."""

    view: memoryview
    model: Model
    start: int
    stop: int

    def expected(self) -> bytes:
        """The secret's bytes while it lives, zeros after."""
        if self.model.live:
            return bytes(self.model.data[self.start : self.stop])
        return bytes(self.stop - self.start)


def refused(action: Any) -> bool:
    """Whether an action says that the secret is gone."""
    try:
        action()
    except CellWipedError:
        return True
    return False


class Secrets(RuleBasedStateMachine):
    """Cells and memory in any order of use; all answers must be the model's."""

    cells = Bundle("cells")
    memories = Bundle("memories")
    slices = Bundle("slices")

    def __init__(self) -> None:
        super().__init__()
        self.models: list[Model] = []
        self.stale: list[Stale] = []
        self.seed = 0

    @initialize()
    def begin(self) -> None:
        """What earlier runs left is collected."""
        gc.collect()
        self.before = stats()

    def keep(self, real: Any, data: bytes, left: int | None = None) -> Model:
        """Remember a new secret."""
        model = Model(real, bytearray(data), left)
        self.models.append(model)
        return model

    # ---- cells ----

    @rule(target=cells, size=SIZES, tier=TIERS, left=st.sampled_from([None, None, 1, 2, 3]), kind=st.integers(0, 3))
    def new_cell(self, size: int, tier: str, left: int | None, kind: int) -> Model:
        """From every kind of source."""
        self.seed += 1
        data = content(self.seed, size)
        if kind == 0:
            text = data.decode("latin-1")
            data = text.encode()
            source: Any = text
        else:
            source = (data, bytearray(data), memoryview(data))[kind - 1]
        if left == 1:
            return self.keep(CypherCell(source, True, tier=tier), data, 1)  # noqa: FBT003 - as the seed has it.
        return self.keep(CypherCell(source, max_reads=left, tier=tier, wipe_source=kind == 2), data, left)

    @rule(model=cells)
    def reveal_bytes(self, model: Model) -> None:
        """An access."""
        if model.spend():
            assert model.real.reveal_bytes() == model.data
        else:
            assert refused(model.real.reveal_bytes)

    @rule(model=cells)
    def reveal(self, model: Model) -> None:
        """An access if it is text, else refused without one."""
        try:
            text = bytes(model.data).decode()
        except UnicodeDecodeError:
            try:
                model.real.reveal()
            except CellWipedError:
                assert not model.usable or model.left == 0
            except ValueError as error:
                assert str(error) == "Invalid UTF-8"  # noqa: PT017 - both endings are asserted.
                assert model.usable
            else:
                raise AssertionError("invalid text was revealed")
            return
        if model.spend():
            assert model.real.reveal() == text
        else:
            assert refused(model.real.reveal)

    @rule(model=cells, suffix=st.integers(0, 6))
    def masked(self, model: Model, suffix: int) -> None:
        """Not an access."""
        if not model.usable:
            assert refused(model.real.reveal_masked)
            return
        try:
            text = bytes(model.data).decode()
        except UnicodeDecodeError:
            return
        shown = text[len(text) - suffix :] if 0 < suffix < len(text) else ""
        assert model.real.reveal_masked(suffix) == "*" * (len(text) - len(shown)) + shown

    @rule(model=cells, extra=st.integers(-1, 3))
    def copy_into(self, model: Model, extra: int) -> None:
        """An access when the buffer is large enough."""
        size = len(model.data) + extra
        if size < 0:
            return
        buffer = bytearray(size)
        if extra < 0:
            try:
                model.real.copy_into(buffer)
            except ValueError:
                assert buffer == bytes(size)
            else:
                raise AssertionError("a short buffer was taken")
        elif model.spend():
            assert model.real.copy_into(buffer) == len(model.data)
            assert buffer == model.data + bytes(extra)
        else:
            assert refused(lambda: model.real.copy_into(buffer))
            assert buffer == bytes(size)

    @rule(model=cells, right=st.booleans())
    def verify(self, model: Model, right: bool) -> None:
        """Not an access; False once gone."""
        guess = bytes(model.data) if right else bytes(model.data) + b"\x01"
        assert model.real.verify(guess) is (right and model.usable)

    @rule(model=cells, other=cells)
    def compare(self, model: Model, other: Model) -> None:
        """Not an access; raises once one is gone."""
        if model.usable and other.usable:
            assert model.real.compare(other.real) is (model.data == other.data)
        else:
            assert refused(lambda: model.real.compare(other.real))

    @rule(model=cells)
    def enter(self, model: Model) -> None:
        """Begin a `with` block; blocks nest."""
        if not model.live or model.left == 0:
            assert refused(model.real.__enter__)
            return
        model.blocks.append(None)  # The access outlasts its own spending.
        assert model.spend()
        model.blocks[-1] = model.real.__enter__()

    @rule(model=cells)
    def read_in_block(self, model: Model) -> None:
        """Through the innermost view, as often as wanted."""
        if not model.blocks:
            return
        view = model.blocks[-1]
        if model.live:
            assert bytes(view) == model.data
            assert view.verify(model.data)
        else:
            assert refused(lambda: bytes(view))
            assert not view.verify(model.data)

    @rule(model=cells)
    def leave(self, model: Model) -> None:
        """End the innermost block; the outermost one wipes."""
        if not model.blocks:
            return
        view = model.blocks.pop()
        model.real.__exit__(None, None, None)
        if not model.blocks:
            model.live = False
        try:
            bytes(view)
        except ValueError as error:
            assert str(error) == "View expired"  # noqa: PT017 - the other ending is an error too.
        else:
            raise AssertionError("an expired view was read")

    # ---- memory ----

    @rule(target=memories, size=SIZES, tier=TIERS)
    def new_memory(self, size: int, tier: str) -> Model:
        """Zeros."""
        return self.keep(SecureMemory(size, tier=tier), bytes(size))

    @rule(model=memories, start=st.integers(0, 5000), size=st.integers(0, 300))
    def write(self, model: Model, start: int, size: int) -> None:
        """At any offset; out of bounds writes nothing."""
        self.seed += 1
        data = content(self.seed, size)
        if start + size > len(model.data):
            try:
                model.real.write(data, start)
            except ValueError:
                return
            raise AssertionError("a write out of bounds was taken")
        if not model.live:
            assert refused(lambda: model.real.write(data, start))
            return
        model.real.write(data, start)
        model.data[start : start + size] = data

    @rule(model=memories, start=st.integers(0, 5000), size=st.one_of(st.none(), st.integers(0, 300)))
    def read(self, model: Model, start: int, size: int | None) -> None:
        """At any offset."""
        if start + (size or 0) > len(model.data):
            try:
                model.real.read(size, start)
            except ValueError:
                return
            raise AssertionError("a read out of bounds was taken")
        if not model.live:
            assert refused(lambda: model.real.read(size, start))
            return
        stop = len(model.data) if size is None else start + size
        assert model.real.read(size, start) == model.data[start:stop]

    @rule(model=memories)
    def zero(self, model: Model) -> None:
        """Zeros, and still live."""
        if model.live:
            model.real.zero()
            model.data[:] = bytes(len(model.data))
        else:
            assert refused(model.real.zero)

    @rule(model=memories, value=st.integers(1, 255))
    def write_through_a_view(self, model: Model, value: int) -> None:
        """A writable view writes the memory itself."""
        if not model.live:
            assert refused(lambda: model.real.borrow(writable=True).__enter__())
            return
        with model.real.borrow(writable=True) as view:
            view[:] = bytes([value]) * len(view)
        model.data[:] = bytes([value]) * len(model.data)

    # ---- both ----

    @rule(target=slices, model=st.one_of(cells, memories), start=st.integers(0, 50), size=st.integers(0, 5000))
    def borrow(self, model: Model, start: int, size: int) -> Any:
        """Lend, look, and keep a slice past the end of the block."""
        if not model.live or model.left == 0:
            assert refused(lambda: model.real.borrow().__enter__())
            return multiple()
        with model.real.borrow() as view:
            assert view == model.data
            part = view[start : start + size]
        assert model.spend()
        stale = Stale(part, model, min(start, len(model.data)), min(start + size, len(model.data)))
        self.stale.append(stale)
        return stale

    @rule(stale=consumes(slices))
    def drop_slice(self, stale: Stale) -> None:
        """The last reference to a slice goes."""
        self.stale.remove(stale)
        stale.view.release()

    @rule(model=st.one_of(cells, memories))
    def close(self, model: Model) -> None:
        """Any number of times."""
        model.real.close()
        model.live = False

    @rule(model=st.one_of(consumes(cells), consumes(memories)))
    def delete(self, model: Model) -> None:
        """The last reference goes."""
        self.models.remove(model)
        model.blocks.clear()
        model.real = None
        model.live = False

    @rule()
    def purge(self) -> None:
        """Everything at once; rare, since it ends the story of all that came before."""
        if len(self.models) % 5 == 4:
            live = sum(model.live for model in self.models)
            assert purge() == live + self.before.cells
            self.before = stats()
            for model in self.models:
                model.live = False

    @invariant()
    def figures_agree(self) -> None:
        """Live secrets, and slots that wait for a slice."""
        if hasattr(self, "before"):
            now = stats()
            assert now.cells - self.before.cells == sum(model.live for model in self.models)
            assert now.corruptions == self.before.corruptions
            assert now.locked_bytes <= now.budget_bytes

    @invariant()
    def stale_slices_agree(self) -> None:
        """Each slice reads its own secret, or zeros."""
        for stale in self.stale:
            assert stale.view == stale.expected()

    @invariant()
    def states_agree(self) -> None:
        """wiped and closed say what the model says."""
        for model in self.models:
            gone = model.real.wiped if isinstance(model.real, CypherCell) else model.real.closed
            assert gone is not model.usable

    def teardown(self) -> None:
        """Everything is given back."""
        for stale in self.stale:
            stale.view.release()
        self.models.clear()
        self.stale.clear()


Secrets.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSecrets = Secrets.TestCase


def test_closed_memory_error_is_the_wiped_cells() -> None:
    """The model above catches both by one name."""
    assert issubclass(SecureMemoryClosed, CellWipedError)
