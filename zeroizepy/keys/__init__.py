"""Keys in locked memory. `zeroizepy.crypto` has the public names."""

from __future__ import annotations

from .base import fail_key
from .key import CryptoKey

__all__ = ["CryptoKey", "fail_key"]
