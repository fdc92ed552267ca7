"""The errors of this package: each is PyNaCl's, too, where PyNaCl is installed.

A program that catches `nacl.exceptions.CryptoError` then catches what is raised here.
"""

from __future__ import annotations

import builtins
import sys

from zeroizepy.exceptions import SecureMemoryError, ZeroizeError

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

__all__ = [
    "AssertionError",
    "BadSignatureError",
    "CryptPrefixError",
    "CryptoError",
    "ExportForbiddenError",
    "InstallError",
    "InvalidkeyError",
    "RuntimeError",
    "TypeError",
    "UnavailableError",
    "ValueError",
    "ensure",
]

WAS_IMPORTED = sys.modules.get("nacl") is not None
"""Whether somebody else had imported PyNaCl before this module did."""

if TYPE_CHECKING:
    from builtins import AssertionError as _AssertionError
    from builtins import Exception as _BadSignatureError
    from builtins import Exception as _CryptPrefixError
    from builtins import Exception as _CryptoError
    from builtins import Exception as _InvalidkeyError
    from builtins import Exception as _UnavailableError
    from builtins import RuntimeError as _RuntimeError
    from builtins import TypeError as _TypeError
    from builtins import ValueError as _ValueError
else:

    def _pynacl() -> object:
        """PyNaCl's module of the same name, or an object without any class."""
        try:
            from nacl import exceptions
        except ImportError:
            return object()
        return exceptions

    _theirs = _pynacl()
    _CryptoError = getattr(_theirs, "CryptoError", Exception)
    _BadSignatureError = getattr(_theirs, "BadSignatureError", Exception)
    _InvalidkeyError = getattr(_theirs, "InvalidkeyError", Exception)
    _CryptPrefixError = getattr(_theirs, "CryptPrefixError", Exception)
    _UnavailableError = getattr(_theirs, "UnavailableError", Exception)
    _RuntimeError = getattr(_theirs, "RuntimeError", builtins.RuntimeError)
    _AssertionError = getattr(_theirs, "AssertionError", builtins.AssertionError)
    _TypeError = getattr(_theirs, "TypeError", builtins.TypeError)
    _ValueError = getattr(_theirs, "ValueError", builtins.ValueError)


class CryptoError(_CryptoError):
    """Base of the errors of this package."""


class BadSignatureError(CryptoError, _BadSignatureError):
    """A signature is not that of this key for this message."""


class RuntimeError(CryptoError, _RuntimeError):  # noqa: A001 - PyNaCl's names, here and below.
    """A builtin RuntimeError, too."""


class AssertionError(CryptoError, _AssertionError):  # noqa: A001
    """A builtin AssertionError, too."""


class TypeError(CryptoError, _TypeError):  # noqa: A001
    """A builtin TypeError, too."""


class ValueError(CryptoError, _ValueError):  # noqa: A001
    """A builtin ValueError, too."""


class InvalidkeyError(CryptoError, _InvalidkeyError):
    """A password does not belong to this hash."""


class CryptPrefixError(InvalidkeyError, _CryptPrefixError):
    """A password hash begins with no scheme that is known."""


class UnavailableError(RuntimeError, _UnavailableError):
    """This libsodium, or this CPU, does not have the function."""


class ExportForbiddenError(CryptoError, SecureMemoryError):
    """A key was asked for its bytes after `zeroizepy.nacl.forbid_export()`."""


class InstallError(ZeroizeError, ImportError):
    """`zeroizepy.nacl.install()` came after PyNaCl had been imported."""


def ensure(cond: bool, *args: object, **kwds: type[Exception]) -> None:
    """Raise unless a condition holds.

    Args:
        cond: The condition.
        args: For the exception.
        kwds: `raising` is the exception's class.

    Raises:
        AssertionError: Or `raising`: the condition does not hold.
        TypeError: Another keyword.
    """
    raising = kwds.pop("raising", AssertionError)
    if kwds:
        raise TypeError(f"Unknown keyword arguments: {', '.join(kwds)}; there is only 'raising'")
    if cond is not True:
        raise raising(*args)
