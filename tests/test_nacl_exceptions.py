"""zeroizepy.nacl.exceptions: PyNaCl's tree, its classes among the bases, and ensure()."""

from __future__ import annotations

from importlib import import_module

import pytest

from zeroizepy import ZeroizeError
from zeroizepy.nacl import exceptions

pytest.importorskip("nacl", reason="needs PyNaCl, which is not installed (the extra: test)")
theirs = import_module("nacl.exceptions")
SHARED = [name for name, kind in vars(theirs).items() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("name", SHARED)
def test_each_class_is_caught_as_pynacls(name: str) -> None:
    """Ours is theirs, is in our __all__, and has the same among its bases: ours for theirs, builtins as they are."""
    ours, peer = getattr(exceptions, name), getattr(theirs, name)
    assert issubclass(ours, peer)
    assert name in exceptions.__all__
    for base in peer.__mro__:
        expected = getattr(exceptions, base.__name__) if base.__module__ == theirs.__name__ else base
        assert issubclass(ours, expected)


def test_the_table_has_what_pynacl_raises() -> None:
    """The control of the test above: its table is not empty."""
    assert {"CryptoError", "BadSignatureError", "ValueError", "UnavailableError"} <= set(SHARED)


def test_errors_of_our_own() -> None:
    """What PyNaCl does not have is in zeroizepy's tree; an export is refused with a CryptoError."""
    assert issubclass(exceptions.ExportForbiddenError, ZeroizeError)
    assert issubclass(exceptions.ExportForbiddenError, exceptions.CryptoError)
    assert issubclass(exceptions.InstallError, ZeroizeError)
    assert issubclass(exceptions.InstallError, ImportError)


@pytest.mark.parametrize("condition", [False, None, 1, "yes"])
def test_ensure_wants_true_itself(condition: object) -> None:
    """Anything else raises, with the arguments given."""
    exceptions.ensure(True, "unused")  # noqa: FBT003 - so it is called.
    with pytest.raises(exceptions.AssertionError, match="told"):
        exceptions.ensure(condition, "told")  # type: ignore[arg-type]
    with pytest.raises(OSError, match="told"):
        exceptions.ensure(condition, "told", raising=OSError)  # type: ignore[arg-type]


def test_ensure_refuses_other_keywords() -> None:
    """The error is the package's TypeError, whatever the condition, and names the keyword."""
    with pytest.raises(exceptions.TypeError, match="raises"):
        exceptions.ensure(True, raises=OSError)  # noqa: FBT003
