"""What a terminal shows and a pipe gets: colour and progress for people, plain lines for programs."""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from zeroizepy.json_form import to_plain

from .errors import drop_stdout, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bar", "LastingOutput", "Output", "progress_bar", "size_text"]

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_LABEL_WIDTH = 14


def size_text(size_bytes: int) -> str:
    """A size for people: exact bytes below 10 KiB, binary units above."""
    for unit, name in _UNITS:
        if size_bytes >= unit and size_bytes >= 10 << 10:
            return f"{size_bytes / unit:.1f} {name}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich ends the program here; whether it ends is for the command to say."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Output:
    """Lines on stdout, styled where a terminal reads them.

    Everything is printed as literal text: file names are escaped, never taken for markup or control sequences, and
    never wrapped. A write that fails is an OSError with the file name "stdout"; a closed stdout (`>&-`) takes
    everything and shows nothing.
    """

    def __init__(self) -> None:
        self._console = _Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """One line."""
        self._print(Text(self._encodable(text), style=style))

    def title(self, text: str) -> None:
        """A heading with an empty line before it."""
        self.line()
        self.line(text, "bold")

    def fact(self, label: str, value: str, style: str = "") -> None:
        """One label and its value, in two columns."""
        text = Text(f"  {label:<{_LABEL_WIDTH}} ", style="dim")
        text.append(self._encodable(value), style=f"not dim {style}")
        self._print(text)

    def document(self, value: object) -> None:
        """A value as JSON, its lines as they are; `json_form` says how a name that is no Unicode stands there."""
        self._print(Text(json.dumps(to_plain(value), indent=2)))

    def _print(self, text: Text) -> None:
        try:
            self._console.print(text, soft_wrap=True)
        except OSError as error:
            drop_stdout()
            error.filename = "stdout"
            raise

    def _encodable(self, text: str) -> str:
        encoding = self._console.encoding or "ascii"
        return printable(text).encode(encoding, "backslashreplace").decode(encoding)


class LastingOutput(Output):
    """An output that may fail while the job goes on: it keeps the first failure and is silent from then on.

    Attributes:
        failure: What the system said, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure: OSError | None = None

    def _print(self, text: Text) -> None:
        if self.failure is not None:
            return
        try:
            super()._print(text)
        except OSError as error:
            self.failure = error


def _is_live(quiet: bool) -> bool:
    return (
        not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    )


class Bar:
    """A progress bar on stderr: call it with bytes done and bytes in all, None when nobody knows."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(printable(label), total=None)

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far it is."""
        self._progress.update(self._task, completed=done, total=total)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away for the length of a `with` block, in which lines are printed."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


@contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Bar | None]:
    """A progress bar on stderr for the length of a `with` block, when stderr is a terminal that can draw one.

    Yields:
        The bar, or None when there is none.
    """
    if not _is_live(quiet):
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as progress:
        yield Bar(progress, label)
