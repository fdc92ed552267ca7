"""zeroizepy.nacl.install(): one module under two names, refusals, and the way back."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from support.children import Child

import zeroizepy

pytest.importorskip("nacl", reason="needs PyNaCl, which is not installed (the extra: test)")

PROGRAM = Child("mlock")
NOT_OURS = (
    "[m.__name__ for n, m in sys.modules.items() if n.partition('.')[0] == 'nacl' and 'zeroizepy' not in m.__name__]"
)


def test_every_way_to_import_gives_ours() -> None:
    """Statements, attributes and importlib; private modules too, which nothing imported by that name before."""
    PROGRAM.check(f"""
        import importlib, sys, zeroizepy.nacl
        zeroizepy.nacl.install()
        import nacl.secret
        from nacl import secret
        from nacl.secret import SecretBox
        import nacl._held
        assert nacl is zeroizepy.nacl
        assert secret is nacl.secret is zeroizepy.nacl.secret is importlib.import_module("nacl.secret")
        assert SecretBox is zeroizepy.nacl.secret.SecretBox
        assert nacl._held is sys.modules["zeroizepy.nacl._held"]
        assert {NOT_OURS} == []
    """)


def test_no_module_is_loaded_twice() -> None:
    """Whoever walks the package by its new name meets the same modules, and their names and specs are as before."""
    PROGRAM.check("""
        import importlib, pkgutil, sys, zeroizepy.nacl
        zeroizepy.nacl.install()
        import nacl
        walked = [each.name for each in pkgutil.walk_packages(nacl.__path__, "nacl.")]
        assert "nacl._cipher" in walked and "nacl.secret" in walked
        for name in walked:
            module = importlib.import_module(name)
            assert module is sys.modules["zeroizepy." + name], name
            assert module.__name__ == module.__spec__.name == "zeroizepy." + name, name
            assert importlib.reload(module) is module if name == "nacl.utils" else True
    """)


def test_functions_with_the_name_of_their_module() -> None:
    """bindings.crypto_sign is a function in a module of that name, and stays the function, also after a second time."""
    PROGRAM.check("""
        import sys, types, zeroizepy.nacl.bindings
        def state():
            return [getattr(zeroizepy.nacl.bindings, name) for name in ("crypto_sign", "randombytes", "crypto_hash")]
        before = state()
        assert [type(each) for each in before] == [types.FunctionType] * 3
        zeroizepy.nacl.install()
        import nacl.bindings.crypto_sign, nacl.bindings.randombytes
        assert state() == before
        for name in [name for name in sys.modules if name.startswith("nacl")]:
            del sys.modules[name]
        import nacl.bindings.crypto_sign
        assert state() == before
    """)


def test_every_module_of_pynacls_is_ours() -> None:
    """All that PyNaCl's package has, but for its compiled module, is there once install() has run."""
    path = importlib.import_module("nacl").__path__
    names = {each.name for each in pkgutil.walk_packages(path, "nacl.")} - {"nacl._sodium"}
    assert {"nacl.secret", "nacl.bindings.crypto_kx", "nacl.pwhash.scrypt"} <= names
    listed = PROGRAM.check("""
        import sys, zeroizepy.nacl
        zeroizepy.nacl.install()
        for name, module in list(sys.modules.items()):
            if module is sys.modules.get("zeroizepy." + name):
                print(name)
    """)
    assert names <= set(listed.split())


def test_a_name_that_was_thrown_out_comes_back() -> None:
    """Programs that empty sys.modules of nacl get ours again, and the same."""
    PROGRAM.check("""
        import sys, zeroizepy.nacl
        zeroizepy.nacl.install()
        for name in [name for name in sys.modules if name.startswith("nacl")]:
            del sys.modules[name]
        import nacl.secret
        assert nacl.secret.SecretBox is zeroizepy.nacl.secret.SecretBox
    """)


def test_what_is_not_there_is_not_found() -> None:
    """Names that neither package has, and PyNaCl's own compiled module."""
    PROGRAM.check("""
        import zeroizepy.nacl
        zeroizepy.nacl.install()
        for name in ("nacl.nothing", "nacl._sodium", "nacl.secret.deeper"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert error.name == name, error.name
            else:
                raise AssertionError(name)
    """)


@pytest.mark.parametrize("first", ["nacl", "nacl.exceptions", "nacl.secret"])
def test_late_is_refused(first: str) -> None:
    """PyNaCl imported by somebody else before: the error has fault, modules and remedy, and nothing is changed."""
    said = PROGRAM.check(
        """
        import sys
        __import__(sys.argv[1])
        import zeroizepy.nacl.secret
        before, finders = dict(sys.modules), list(sys.meta_path)
        try:
            zeroizepy.nacl.install()
        except ImportError as error:
            assert isinstance(error, zeroizepy.nacl.exceptions.InstallError)
            print(error)
        kept = {name: module for name, module in sys.modules.items() if name in before}
        assert (kept, sys.meta_path) == (before, finders)
        import nacl
        assert nacl is not zeroizepy.nacl
        """,
        first,
    )
    assert "PyNaCl was imported before install()" in said
    assert "goes on with its classes: nacl, nacl." in said
    assert "call zeroizepy.nacl.install() first" in said


def test_after_our_own_modules_but_pynacls_is_refused() -> None:
    """Our exceptions' import of PyNaCl's is no reason to refuse; one of its other modules is."""
    PROGRAM.check("""
        import zeroizepy.nacl.secret
        import nacl.encoding
        assert "zeroizepy" not in nacl.encoding.__name__
        try:
            zeroizepy.nacl.install()
        except zeroizepy.nacl.exceptions.InstallError as error:
            assert "nacl.encoding" in str(error)
        else:
            raise AssertionError("installed")
    """)


def test_uninstall_puts_back_what_was_there() -> None:
    """The same entries, no more and no fewer; both calls do nothing the second time, and it can be installed again."""
    PROGRAM.check("""
        import sys, zeroizepy.nacl
        def state():
            return {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "nacl"}, list(sys.meta_path)
        before = state()
        assert before[0].keys() == {"nacl", "nacl.exceptions"}
        zeroizepy.nacl.uninstall()
        for _ in range(2):
            zeroizepy.nacl.install()
            installed = state()
            zeroizepy.nacl.install()
            assert state() == installed != before
            zeroizepy.nacl.uninstall()
            zeroizepy.nacl.uninstall()
            assert state() == before
        import nacl.secret
        assert nacl.secret.SecretBox is not zeroizepy.nacl.secret.SecretBox
    """)


def test_without_pynacl() -> None:
    """Where it is not installed, its name is ours while it lasts."""
    PROGRAM.check("""
        import sys
        class Nothing:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "nacl":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Nothing())
        import zeroizepy.nacl
        zeroizepy.nacl.install()
        import nacl.secret
        box = nacl.secret.SecretBox(bytes(32))
        assert box.decrypt(box.encrypt(b"message")) == b"message"
        zeroizepy.nacl.uninstall()
        try:
            import nacl.secret
        except ModuleNotFoundError:
            print("gone")
    """)


def test_pynacls_exception_catches_ours() -> None:
    """Also one that was kept from before, and the one that the alias has."""
    PROGRAM.check("""
        import zeroizepy.nacl
        from nacl.exceptions import CryptoError as theirs
        zeroizepy.nacl.install()
        from nacl.exceptions import CryptoError as ours
        import nacl.secret
        assert theirs is not ours
        for kind in (theirs, ours):
            try:
                nacl.secret.SecretBox(bytes(32)).decrypt(bytes(64))
            except kind:
                continue
            raise AssertionError(kind)
    """)


def test_threads() -> None:
    """Many that install, import and look at once all get the one module."""
    PROGRAM.check("""
        import threading, zeroizepy.nacl
        start, seen = threading.Barrier(16), []
        def work():
            start.wait()
            zeroizepy.nacl.install()
            import nacl.secret, nacl._cipher
            seen.append((nacl, nacl.secret, nacl._cipher))
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(seen) == 16 and len(set(seen)) == 1
    """)


def test_a_module_that_another_thread_imports_meanwhile() -> None:
    """It came after the aliases were made: that is none of PyNaCl's, and it is found by its new name."""
    PROGRAM.check("""
        import sys, types, zeroizepy.nacl
        from zeroizepy.nacl import _alias
        aliases = _alias._aliases
        def later():
            found = aliases()
            sys.modules.setdefault("zeroizepy.nacl.late", types.ModuleType("zeroizepy.nacl.late"))
            return found
        _alias._aliases = later
        zeroizepy.nacl.install()
        import nacl
        assert nacl is zeroizepy.nacl and "nacl.late" in aliases()
    """)


def test_a_thread_that_is_importing_pynacl_is_seen() -> None:
    """It has found PyNaCl, which is not in sys.modules yet: install() waits for it, and refuses."""
    PROGRAM.check("""
        import sys, threading, zeroizepy.nacl
        from importlib.machinery import PathFinder, SourceFileLoader
        for name in ("nacl", "nacl.exceptions"):
            del sys.modules[name]
        begun, go = threading.Event(), threading.Event()
        class SlowLoader(SourceFileLoader):
            def create_module(self, spec):
                begun.set()
                assert go.wait(60)
        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name == "nacl":
                    spec = PathFinder.find_spec(name)
                    spec.loader = SlowLoader(name, spec.origin)
                    return spec
        sys.meta_path.insert(0, Slow())
        finders = list(sys.meta_path)
        importing = threading.Thread(target=__import__, args=("nacl.encoding",))
        importing.start()
        assert begun.wait(60)
        def let_go():
            while sys.meta_path == finders:
                pass
            go.set()
        threading.Thread(target=let_go).start()
        try:
            zeroizepy.nacl.install()
        except zeroizepy.nacl.exceptions.InstallError as error:
            print(error)
        else:
            raise AssertionError("installed")
        importing.join()
        assert sys.meta_path == finders
        import nacl.encoding
        assert nacl.encoding is not zeroizepy.nacl.encoding
    """)


def test_forked_children_have_it_and_new_processes_do_not() -> None:
    """As the docstring says of multiprocessing: each spawned process installs for itself."""
    PROGRAM.check("""
        import multiprocessing, os, sys, zeroizepy.nacl
        if __name__ == "__main__":
            zeroizepy.nacl.install()
            child = os.fork()
            if child == 0:
                import nacl.secret
                os._exit(nacl is zeroizepy.nacl)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                assert pool.apply(eval, ("__import__('nacl.secret').__name__",)) == "nacl"
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pool.apply(eval, ("__import__('zeroizepy.nacl').nacl.install()",))
                assert pool.apply(eval, ("__import__('nacl.secret').__name__",)) == "zeroizepy.nacl"
    """)


def test_modules_are_attributes() -> None:
    """`import zeroizepy` is enough for zeroizepy.nacl.secret; a misspelt name is an AttributeError that names it."""
    PROGRAM.check("""
        import zeroizepy
        assert zeroizepy.nacl.secret.SecretBox.KEY_SIZE == 32
        assert {"secret", "install"} <= set(dir(zeroizepy.nacl))
        try:
            zeroizepy.nacl.secrets
        except AttributeError as error:
            assert "'secrets'" in str(error)
        else:
            raise AssertionError("there")
    """)


def test_star_import() -> None:
    """`from zeroizepy.nacl import *` finds all that it names."""
    names: dict[str, object] = {}
    exec("from zeroizepy.nacl import *", names)  # noqa: S102 - that is what the test is for.
    assert {"install", "uninstall", "exports", "forbid_export", "__version__"} <= names.keys()
    assert names["install"] is zeroizepy.nacl.install
