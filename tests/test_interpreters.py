"""Sub-interpreters share the core of their process: one that ends wipes every secret, and breaks nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.children import Child


def test_the_end_of_a_sub_interpreter(child: Child) -> None:
    """Its own secrets work while it lives; when it ends, all are wiped, and new ones work, deadlines included."""
    body = """
    import time
    try:
        import _interpreters as interpreters  # From Python 3.13 on.
        number, run = interpreters.create("legacy"), interpreters.exec
    except ImportError:
        import _xxsubinterpreters as interpreters
        number, run = interpreters.create(isolated=False), interpreters.run_string
    import zeroizepy

    cell = zeroizepy.CypherCell("main")
    failed = run(number, '''
    import zeroizepy
    inner = zeroizepy.CypherCell("inner", ttl_sec=600)
    key = zeroizepy.CryptoKey.generate()
    message = zeroizepy.decrypt_data(zeroizepy.encrypt_data(b"message", key), key)
    print(inner.reveal(), message.decode(), flush=True)
    '''.replace("    ", ""))
    assert failed is None, failed
    print(cell.reveal(), zeroizepy.stats().cells)
    interpreters.destroy(number)
    print(cell.wiped, zeroizepy.stats().cells)

    later = zeroizepy.CypherCell("later", ttl_sec=0.01)
    while zeroizepy.stats().expiries == 0:
        time.sleep(0.01)
    print(later.wiped)
    """
    assert child.check(body) == "inner message\nmain 3\nTrue 0\nTrue\n"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="needs Python 3.13, whose isolated sub-interpreters can be made")
def test_an_isolated_sub_interpreter_is_told_why(child: Child) -> None:
    """It cannot load the core; the error is Python's, and does not say that the core is missing."""
    body = """
    import _interpreters as interpreters
    failed = interpreters.exec(interpreters.create(), "import zeroizepy; zeroizepy.CypherCell")
    print(failed.type.__name__, failed.msg)
    """
    kind, text = child.check(body).split(" ", 1)
    assert kind == "ImportError"
    assert "_native does not support loading in subinterpreters" in text
