"""The name nacl for this package, through the import system's own door: a finder that comes before all others."""

from __future__ import annotations

import sys
from _thread import allocate_lock
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from os import register_at_fork

from . import exceptions

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType
    from typing import NoReturn

__all__ = ["install", "uninstall"]

_NAME = "nacl"
_OURS = __name__.rpartition(".")[0]
_NAMED = 4


class _Alias(MetaPathFinder, Loader):
    """Finds nacl and its modules in this package; both finder and loader.

    Each module is one object under its two names. Without the finder, a name that is not in sys.modules yet would be
    looked up in the path of what is there as "nacl", which is this package's folder, and its code would run a second
    time, with classes of its own.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for what this package has; None leaves the name to the finders after this one."""
        del path, target
        # Whoever has imported PyNaCl itself, at the same moment, gets all of its modules from there.
        is_ours = fullname == _NAME or (_is_nacl(fullname) and sys.modules.get(_NAME) is sys.modules[_OURS])
        if not is_ours or find_spec(_our_name(fullname)) is None:
            return None
        return ModuleSpec(fullname, self, origin=_our_name(fullname))

    def exec_module(self, module: ModuleType) -> None:
        """Put our module, whose own spec stays as it is, where the import system takes the result from.

        With nacl itself come all the others that are there. One by one, the import system would make each an attribute
        of its package, over what that has by the same name: bindings.crypto_sign is a function.
        """
        name = module.__name__
        sys.modules[name] = import_module(_our_name(name))
        if name == _NAME:
            for alias, other in _aliases().items():
                sys.modules.setdefault(alias, other)


class _State:
    """What is installed; one for the process."""

    __slots__ = ("lock", "replaced")

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.replaced: dict[str, ModuleType] = {}


_alias = _Alias()
_state = _State()
register_at_fork(after_in_child=lambda: setattr(_state, "lock", allocate_lock()))


def install(modules: Iterable[str]) -> None:
    """See `zeroizepy.nacl.install`; `modules` are those that are imported now."""
    for name in modules:
        import_module(f"{_OURS}.{name}")
    with _state.lock:
        if _alias not in sys.meta_path:
            _install()


def _install() -> None:
    found = _imported()
    # Our exceptions have imported PyNaCl's, to be caught as such; that is no reason to refuse.
    if exceptions.WAS_IMPORTED or not found.keys() <= {_NAME, f"{_NAME}.exceptions"}:
        _refuse(found)
    _state.replaced = found
    sys.meta_path.insert(0, _alias)
    for name in found:
        del sys.modules[name]
    # Importing and looking, rather than just writing to sys.modules, waits for a thread that is importing PyNaCl now.
    import_module(_NAME)
    # One of ours that another thread has imported since has no alias yet, and gets it when it is asked for.
    if any(sys.modules.get(alias, module) is not module for alias, module in _aliases().items()):
        theirs = _imported().keys() - _remove()
        _refuse(theirs)


def uninstall() -> None:
    """See `zeroizepy.nacl.uninstall`."""
    with _state.lock:
        if _alias in sys.meta_path:
            _remove()


def _aliases() -> dict[str, ModuleType]:
    """Our modules by their new names, the package before what is in it."""
    ours = sorted(name for name in list(sys.modules) if name == _OURS or name.startswith(f"{_OURS}."))
    return {_NAME + name[len(_OURS) :]: sys.modules[name] for name in ours}


def _imported() -> dict[str, ModuleType]:
    """nacl and its modules, whoever's they are."""
    return {name: module for name, module in list(sys.modules.items()) if _is_nacl(name)}


def _remove() -> set[str]:
    """Take the alias away and put back what stood there; returns the names that were ours."""
    sys.meta_path.remove(_alias)
    ours = {name for name, module in _imported().items() if sys.modules.get(_our_name(name)) is module}
    for name in ours:
        del sys.modules[name]
    sys.modules.update(_state.replaced)
    _state.replaced = {}
    return ours


def _refuse(imported: Iterable[str]) -> NoReturn:
    names = sorted(imported)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise exceptions.InstallError(
        f"PyNaCl was imported before install(), and who did so goes on with its classes: {', '.join(names[:_NAMED])}"
        f"{more}; call zeroizepy.nacl.install() first in the program, before anything imports nacl"
    )


def _is_nacl(name: str) -> bool:
    return name == _NAME or name.startswith(f"{_NAME}.")


def _our_name(name: str) -> str:
    return _OURS + name[len(_NAME) :]
