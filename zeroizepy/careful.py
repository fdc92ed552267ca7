"""What goes up with an error: the traceback, whose frames hold what was passed."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from . import _lib

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _Function = TypeVar("_Function", bound=Callable[..., Any])

__all__ = ["careful"]


def careful(function: _Function) -> _Function:
    """Have a function's errors carry no secret: reporters print the variables of a traceback's frames.

    Where one of these is the error itself, as when a thread's is raised again, error, traceback and frame would also
    keep each other, and the caller's frame with its secrets, until the collector comes by.
    """

    @wraps(function)
    def run(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except BaseException as error:
            arguments = ()
            keywords = {}
            _lib.clear_locals(error)
            raise

    return run  # type: ignore[return-value]
