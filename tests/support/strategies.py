"""Values for hypothesis that its own strategies do not give."""

from __future__ import annotations

import hashlib

from hypothesis import strategies as st


def long_bytes(least: int, most: int) -> st.SearchStrategy[bytes]:
    """Bytes of each length from `least` to `most`, spread out of a few that are drawn.

    hypothesis gives up on an example over 8 KiB, so that st.binary gives none of these, and on the whole test when the
    first draws were too large too often, which is a matter of chance.
    """
    return st.builds(
        lambda size, seed: hashlib.shake_128(seed).digest(size), st.integers(least, most), st.binary(max_size=8)
    )
