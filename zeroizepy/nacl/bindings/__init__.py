"""libsodium by PyNaCl's names: its functions, with keys wherever secrets are, and its numbers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .crypto_generichash import generichash_blake2b_final as crypto_generichash_blake2b_final
from .crypto_generichash import generichash_blake2b_init as crypto_generichash_blake2b_init
from .crypto_generichash import generichash_blake2b_salt_personal as crypto_generichash_blake2b_salt_personal
from .crypto_generichash import generichash_blake2b_update as crypto_generichash_blake2b_update
from .crypto_shorthash import BYTES as crypto_shorthash_siphash24_BYTES
from .crypto_shorthash import KEYBYTES as crypto_shorthash_siphash24_KEYBYTES
from .crypto_shorthash import XBYTES as crypto_shorthash_siphashx24_BYTES
from .crypto_shorthash import XKEYBYTES as crypto_shorthash_siphashx24_KEYBYTES

if TYPE_CHECKING:
    from .crypto_aead import *
    from .crypto_box import *
    from .crypto_core import *
    from .crypto_generichash import *
    from .crypto_hash import *
    from .crypto_kx import *
    from .crypto_pwhash import *
    from .crypto_scalarmult import *
    from .crypto_secretbox import *
    from .crypto_secretstream import *
    from .crypto_shorthash import *
    from .crypto_sign import *
    from .randombytes import *
    from .sodium_core import *
    from .utils import *

_MODULES = (
    "crypto_aead",
    "crypto_box",
    "crypto_core",
    "crypto_generichash",
    "crypto_hash",
    "crypto_kx",
    "crypto_pwhash",
    "crypto_scalarmult",
    "crypto_secretbox",
    "crypto_secretstream",
    "crypto_shorthash",
    "crypto_sign",
    "randombytes",
    "sodium_core",
    "utils",
)
_PREFIXES = ("crypto_", "has_crypto_", "nacl_bindings_", "randombytes", "sodium_")

__all__ = [
    "crypto_generichash_blake2b_final",
    "crypto_generichash_blake2b_init",
    "crypto_generichash_blake2b_salt_personal",
    "crypto_generichash_blake2b_update",
    "crypto_shorthash_siphash24_BYTES",
    "crypto_shorthash_siphash24_KEYBYTES",
    "crypto_shorthash_siphashx24_BYTES",
    "crypto_shorthash_siphashx24_KEYBYTES",
]

# All that these modules have by libsodium's names. Where a function is called like its module, the function stands
# here, as in PyNaCl.
for _module in _MODULES:
    _found = vars(import_module(f"{__name__}.{_module}"))
    _names = [name for name in _found if name.startswith(_PREFIXES)]
    globals().update({name: _found[name] for name in _names})
    __all__ += _names  # noqa: PLE0605 - A list, as above.
