"""Values for hypothesis that its own strategies do not give."""

from __future__ import annotations

from hypothesis import strategies as st

_TEXT = bytes(range(251))


def long_bytes(least: int, most: int) -> st.SearchStrategy[bytes]:
    """Bytes of each length from `least` to `most`.

    hypothesis draws at most 8 KiB for an example: st.binary never gives more, and where it must, its health check
    fails by chance, by how many of the first draws were too large.
    """
    return st.integers(least, most).map(lambda size: (_TEXT * (size // len(_TEXT) + 1))[:size])
