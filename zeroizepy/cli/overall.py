"""One progress bar over many files."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from zeroizepy.file import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .console import Bar

__all__ = ["Overall"]


class Overall:
    """One progress bar over all files: what is done of them, and what is still to come by their sizes.

    Args:
        bar: Gets bytes done and bytes in all; None where nobody looks.
        paths: All of them.
        options: Of `secure_delete`.
    """

    def __init__(self, bar: Bar | None, paths: tuple[str, ...], options: dict[str, Any]) -> None:
        passes = SCHEMES[options["scheme"]].passes if options["scheme"] else range(options["passes"])
        self._bar = bar
        self._times: int = len(passes) + bool(options["verify"]) + (options["verify"] == "device")
        self._expected = [self._guess(path) for path in paths] if bar is not None else []
        self._done = 0
        self._index = 0

    def _guess(self, path: str) -> int:
        try:
            return os.lstat(path).st_size * self._times
        except OSError:
            return 0

    @property
    def for_one(self) -> Callable[[int, int], None] | None:
        """The progress function for the file at hand."""
        return None if self._bar is None else self._advance

    def _advance(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._expected[self._index] = total
            self._bar(self._done + done, sum(self._expected))

    def next(self) -> AbstractContextManager[None]:
        """The file at hand is done with, whatever came of it. In the `with` block that is told."""
        if self._bar is None:
            return nullcontext()
        self._done += self._expected[self._index]
        self._index += 1
        return self._bar.hidden()
