"""Keys from passwords in a text form."""

from __future__ import annotations

from zeroizepy import _lib
from zeroizepy.nacl import exceptions as exc
from zeroizepy.nacl.encoding import RawEncoder

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from zeroizepy.nacl._into import Into
    from zeroizepy.nacl.encoding import Encoder

__all__ = ["encoded"]


def encoded(encoder: Encoder, into: Into | None, make: Callable[[], Any]) -> Any:
    """What `make` gives, encoded.

    Raises:
        ValueError: A text form cannot go into secure memory.
    """
    if encoder is RawEncoder:
        return make()
    if into is not None:
        raise exc.ValueError("into takes the key as it is, without an encoder")
    key = make()
    text = encoder.encode(key)
    if text is not key and encoder.__module__ == RawEncoder.__module__:
        _lib.wipe_bytes(key)  # This package's own encoder gave it to nobody.
    return text
