"""The end of a key, and what can be asked of it until then."""

from __future__ import annotations

from . import _lib
from ._lib import lib
from .slots import Holder, protection_of

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

    from .values import Protection

__all__ = ["WipeableKey"]


class WipeableKey(Holder):
    """A key in a slot that `wipe`, `close` or a `with` block ends."""

    if not TYPE_CHECKING:  # As in Holder.
        __slots__ = ()

    def _fail(self, status: int) -> NoReturn:
        """Raise for what the core says of a key that is not live."""
        _lib.raise_closed(status, type(self).__name__)

    @property
    def wiped(self) -> bool:
        """Whether the key is gone."""
        return bool(lib.zpy_cell_state(self._handle) != lib.ZPY_OK)

    @property
    def protection(self) -> Protection:
        """What the system calls granted.

        Raises:
            SecureMemoryClosed: The key is gone.
        """
        status, protection = protection_of(self._handle)
        if protection is None:
            self._fail(status)
        return protection

    def wipe(self) -> None:
        """Zero the key now. Harmless when it already was; safe from any thread.

        A call that is using the key in another thread raises instead of giving a result.
        """
        status = self._drop()
        if status != lib.ZPY_OK:
            _lib.raise_status(status)

    close = wipe

    def __enter__(self) -> Self:
        status = lib.zpy_cell_state(self._handle)
        if status != lib.ZPY_OK:
            self._fail(status)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()
