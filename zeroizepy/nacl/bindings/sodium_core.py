"""libsodium's start."""

from __future__ import annotations

__all__ = ["sodium_init"]


def sodium_init() -> None:
    """Nothing is left to do: the core set libsodium up when it was imported, or that import failed."""
