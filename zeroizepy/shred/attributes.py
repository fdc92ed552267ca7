"""Extended attributes of a file: values that programs keep beside its content, such as where it was downloaded from."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from .calls import attribute_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["overwrite", "remove"]


def overwrite(fd: int, names: Sequence[str]) -> list[OSError]:
    """Set each value to as many random bytes, which most file systems write over the old ones.

    Args:
        fd: The open file.
        names: Of its attributes.

    Returns:
        What failed. An attribute that is gone by now did not.

    Does not reach: the journal, through which these values go, and blocks that the attributes have left before.
    """
    return _for_each(names, lambda name: os.setxattr(fd, name, os.urandom(attribute_bytes(fd, name)), os.XATTR_REPLACE))


def remove(fd: int, names: Sequence[str]) -> list[OSError]:
    """Remove them. Returns what failed."""
    return _for_each(names, lambda name: os.removexattr(fd, name))


def _for_each(names: Sequence[str], step: Callable[[str], None]) -> list[OSError]:
    return [error for name in names if (error := _attempt(step, name)) is not None]


def _attempt(step: Callable[[str], None], name: str) -> OSError | None:
    try:
        step(name)
    except OSError as error:
        return None if error.errno == errno.ENODATA else error
    return None
