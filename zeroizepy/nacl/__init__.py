"""A drop-in for PyNaCl whose keys lie in guarded, locked memory: `import zeroizepy.nacl`, or `install()` once."""

from __future__ import annotations

from ._held import exports, forbid_export

__all__ = ["__email__", "__uri__", "__version__", "exports", "forbid_export"]

__uri__ = "https://github.com/pyca/pynacl/"
__version__ = "1.6.2"
"""PyNaCl's, whose names these are."""
