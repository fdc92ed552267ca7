"""What tests of zeroizepy.nacl have in common: the same use of ours and of PyNaCl, and use while a key ends."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy import SecureMemory, stats
from zeroizepy.exceptions import CellExpiredError
from zeroizepy.slots import Borrow

from .lifetimes import lifetimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")


def cells_now() -> int:
    """How many secrets live, once the garbage that tests before left in cycles is gone."""
    gc.collect()
    return stats().cells


def faults(uses: Iterable[Callable[[], Any]]) -> list[tuple[type, str]]:
    """What each wrong use raises: the class as far as a program for PyNaCl knows it, and the message."""
    from nacl.exceptions import CryptoError

    told = []
    for use in uses:
        with pytest.raises((TypeError, ValueError, CryptoError)) as caught:
            use()
        known = [kind for kind in type(caught.value).__mro__ if kind.__module__ in ("builtins", "nacl.exceptions")]
        told.append((known[0], str(caught.value)))
    return told


def results_until_wiped(use: Callable[[], Any], wipe: Callable[[], None]) -> list[Any]:
    """What three threads get, over and over, until what they use was wiped; their last results are the exceptions."""
    results: list[Any] = []

    def work() -> None:
        try:
            while True:
                results.append(use())
        except BaseException as error:  # noqa: BLE001 - the caller looks at it.
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(results) < 5 and any(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    wipe()
    for thread in threads:
        thread.join()
    return results


def made_in_time(make: Callable[[float | None], T], *, expires: bool) -> T:
    """What is made with a key before its deadline, if it is to have one; `make` gets the key's time to live."""
    for ttl in lifetimes() if expires else [None]:
        with suppress(CellExpiredError):
            return make(ttl)
    raise AssertionError


class Boastful(bytes):
    """Bytes that tell of more than there are."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, place: object) -> bytes:  # type: ignore[override]
        return b"short"


class _LastBorrow(Borrow):
    def __exit__(self, *error: object) -> None:
        self._owner.close()
        super().__exit__(*error)


class Ending(SecureMemory):
    """Memory that ends while it is lent, as when another thread closes it."""

    def borrow(self, writable: bool = False) -> Borrow:
        """As always, but closed when the block ends."""
        assert not writable
        whole = super().borrow()
        return _LastBorrow(self, whole._fail)
