"""Keys in locked memory. `zeroizepy.crypto` has the public names."""

from __future__ import annotations

from .key import CryptoKey, fail_key

__all__ = ["CryptoKey", "fail_key"]
