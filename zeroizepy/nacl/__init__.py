"""A drop-in for PyNaCl whose keys lie in guarded, locked memory: `import zeroizepy.nacl`, or `install()` once."""

from __future__ import annotations

from ._held import exports, forbid_export

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from . import bindings as bindings
    from . import encoding as encoding
    from . import exceptions as exceptions
    from . import hash as hash  # noqa: A004 - PyNaCl's name.
    from . import hashlib as hashlib
    from . import public as public
    from . import pwhash as pwhash
    from . import secret as secret
    from . import signing as signing
    from . import utils as utils

__all__ = ["__uri__", "__version__", "exports", "forbid_export", "install", "uninstall"]

__uri__ = "https://github.com/pyca/pynacl/"
__version__ = "1.6.2"
"""PyNaCl's, whose names these are."""

_MODULES = (
    "bindings",
    "encoding",
    "exceptions",
    "hash",
    "hashlib",
    "public",
    "pwhash",
    "secret",
    "signing",
    "utils",
)


def install() -> None:
    """Put this package in the place of PyNaCl: from now on `import nacl`, in any module, gives `zeroizepy.nacl`.

    For the whole process, so it is for programs to call and not for libraries; forked children inherit it, and
    processes that start anew (multiprocessing's "spawn" and "forkserver") call it again. It may be called twice, and
    works whether or not PyNaCl is installed.

    Raises:
        InstallError: PyNaCl has been imported by somebody else, who would go on with its classes.
    """
    from ._alias import install

    install(_MODULES)


def uninstall() -> None:
    """Undo `install()`: `import nacl` gives PyNaCl again, if it is there. Harmless when nothing is installed.

    What was imported under the name nacl in between stays with who imported it.
    """
    from ._alias import uninstall

    uninstall()


if not TYPE_CHECKING:  # Otherwise a type checker would take any misspelt name for a module.

    def __getattr__(name: str) -> object:
        """Import a module of this package when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return __import__(f"{__name__}.{name}", fromlist=[name])

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})
