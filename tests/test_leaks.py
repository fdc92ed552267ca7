"""No way of turning an object into text, bytes or another object shows the secret that it holds."""

from __future__ import annotations

import copy
import dataclasses
import gc
import io
import json
import logging
import pickle
import pprint
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.crypto import CipherText, CryptoKey, decrypt_data, decrypt_into, decrypt_secret, encrypt_data
from zeroizepy.memory import SecureMemory
from zeroizepy.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = b"hunter2-hunter2-hunter2-hunter2!"
KINDS = ["cell", "isolated cell", "view", "memory", "key", "borrow"]


@pytest.fixture(params=KINDS)
def holder(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One object of each kind that holds a secret."""
    if request.param == "view":
        with CypherCell(SECRET) as view:
            yield view
    elif request.param == "borrow":
        cell = CypherCell(SECRET)
        yield cell.borrow()
    else:
        makers: dict[str, Callable[[], Any]] = {
            "cell": lambda: CypherCell(SECRET),
            "isolated cell": lambda: CypherCell(SECRET, tier="isolated"),
            "sealed cell": lambda: CypherCell(SECRET, tier="sealed"),
            "memory": lambda: SecureMemory.from_bytes(SECRET),
            "key": lambda: CryptoKey(SECRET),
        }
        yield makers[request.param]()


@pytest.fixture(params=["cell", "memory", "key", "signing key"])
def secret(request: pytest.FixtureRequest) -> Any:
    """One object of each kind that promises to be redacted by name."""
    makers: dict[str, Callable[[], Any]] = {
        "cell": lambda: CypherCell(SECRET),
        "memory": lambda: SecureMemory.from_bytes(SECRET),
        "key": lambda: CryptoKey(SECRET),
        "signing key": lambda: SigningKey.from_seed(SECRET.ljust(32)),
    }
    return makers[request.param]()


def assert_clean(text: str) -> None:
    """The text shows no part of the secret, as text, as an escape, in hex or as numbers."""
    lowered = text.lower()
    for trace in ("hunter2", SECRET[:8].hex(), ", ".join(str(byte) for byte in SECRET[:4])):
        assert trace not in lowered


def test_positive_control() -> None:
    """What assert_clean() looks for is found where it is."""
    for text in (repr(SECRET), SECRET.decode(), SECRET.hex(), str(list(SECRET))):
        with pytest.raises(AssertionError):
            assert_clean(text)


def test_repr_is_fixed(secret: Any) -> None:
    """The seed's text, to the letter, and the same for str and format."""
    expected = f"<{type(secret).__name__}: [REDACTED]>"
    assert repr(secret) == str(secret) == f"{secret}" == f"{secret!r}" == f"{secret!s}" == format(secret) == expected
    assert f"{secret:*^40}" == expected.center(40, "*")
    assert ascii(secret) == expected
    assert "%s %r" % (secret, secret) == f"{expected} {expected}"  # noqa: UP031 - the operator is what is tested.
    assert "{:>5} {!r}".format(secret, secret) == f"{expected} {expected}"  # noqa: UP032 - the method, too.


def test_repr_after_the_end(secret: Any) -> None:
    """A wiped object has the same text."""
    before = repr(secret)
    secret.close()
    assert repr(secret) == str(secret) == before


def test_text_forms(holder: Any) -> None:
    """repr, format, pprint, containers of it, vars, dir and slots."""
    texts = [repr(holder), f"{holder}", f"{holder!r:>60}", pprint.pformat({"key": [holder]}), repr([holder])]
    texts += [str({"a": holder}), str(dir(holder)), repr((holder,))]
    for name in (name for kind in type(holder).__mro__ for name in getattr(kind, "__slots__", ())):
        texts.append(repr(getattr(holder, name, None)))
    texts.append(repr(getattr(holder, "__dict__", None)))  # Keys have one.
    for text in texts:
        assert_clean(text)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(secret: Any, protocol: int) -> None:
    """Every protocol is refused with the text that Python uses for such objects."""
    with pytest.raises(TypeError, match=f"^cannot pickle '{type(secret).__name__}' object$"):
        pickle.dumps(secret, protocol)
    stream = io.BytesIO()
    with pytest.raises(TypeError):
        pickle.Pickler(stream, protocol).dump({"wrapped": [secret]})
    assert SECRET not in stream.getvalue()


def test_copying(secret: Any) -> None:
    """copy and deepcopy are refused alike, wrapped or not; there is no state to take."""
    message = f"^cannot pickle '{type(secret).__name__}' object$"
    for attempt in (copy.copy, copy.deepcopy, lambda it: copy.deepcopy([it]), lambda it: it.__getstate__()):
        with pytest.raises(TypeError, match=message):
            attempt(secret)


def test_pickle_and_copy_of_a_view() -> None:
    """A view is refused as well."""
    with CypherCell(SECRET) as view:
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"^cannot pickle 'CypherView' object$"):
                attempt(view)


def test_pickle_of_other_holders(holder: Any) -> None:
    """Whatever pickling and copying make of an object, the secret is not in it."""
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        try:
            made = attempt(holder)
        except TypeError:
            continue
        assert_clean(repr(made))


def test_json(holder: Any) -> None:
    """Not serializable, and a default that falls back on str gives the redacted text, except for a view's own str."""
    with pytest.raises(TypeError):
        json.dumps({"secret": holder})
    assert_clean(json.dumps({"secret": holder}, default=repr))


@pytest.mark.parametrize("style", ["%s", "%r", "%(secret)s"])
def test_logging(secret: Any, style: str) -> None:
    """A log line holds the redacted text."""
    stream = io.StringIO()
    logger = logging.Logger("zeroizepy.test")  # noqa: LOG001 - one that no other test has touched.
    logger.addHandler(logging.StreamHandler(stream))
    logger.error(style, {"secret": secret} if "(" in style else secret)
    assert stream.getvalue().strip() == f"<{type(secret).__name__}: [REDACTED]>"


@dataclasses.dataclass
class Account:
    """A user's dataclass with a secret in it."""

    name: str
    secret: Any


def test_dataclasses(secret: Any) -> None:
    """The dataclass's repr is redacted; asdict, which deep-copies, is refused."""
    account = Account("alice", secret)
    assert repr(account) == f"Account(name='alice', secret=<{type(secret).__name__}: [REDACTED]>)"
    with pytest.raises(TypeError, match=r"cannot pickle"):
        dataclasses.asdict(account)
    with pytest.raises(TypeError, match=r"cannot pickle"):
        dataclasses.astuple(account)


def local_texts(error: BaseException) -> str:
    """A traceback as error reporters make it, with every local variable of every frame."""
    chain = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(chain.format(chain=True))


def caught(action: Callable[[], object]) -> BaseException:
    """The exception that an action raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - any.
        return error
    pytest.fail("nothing was raised")


def test_traceback_of_a_block() -> None:
    """An exception inside a `with` block shows neither cell nor view."""

    def fail() -> None:
        with CypherCell(b"".join([b"hunter2-", b"hunter2-"])) as view:
            assert view
            raise RuntimeError("inside")

    text = local_texts(caught(fail))
    assert "view = <CypherView: [REDACTED]>" in text
    assert_clean(text.replace('b"hunter2-"', ""))


def failing_actions(holder: Any) -> list[Callable[[], object]]:
    """Calls that raise, made on an object that holds a secret."""
    key = CryptoKey.generate()
    forged = CipherText(bytes(12), bytes(64))
    cases: dict[str, list[Callable[[], object]]] = {
        "CypherCell": [
            lambda: holder.reveal_masked(-1),
            lambda: holder.reveal("no-such-codec"),
            lambda: holder.reveal("utf-32"),
            lambda: holder.copy_into(bytearray(1)),
            lambda: holder.verify(5),
            lambda: holder.compare(5),
            lambda: CypherCell(holder, ttl_sec=-1),
            lambda: CypherCell(holder, tier="x"),
        ],
        "CypherView": [
            lambda: holder.reveal_masked(-1),
            lambda: holder.reveal("no-such-codec"),
            lambda: holder.verify(5),
        ],
        "SecureMemory": [
            lambda: holder.read(99),
            lambda: holder.write(5),
            lambda: holder.write(b"x", 99),
            lambda: CypherCell(holder, max_reads=0),
            lambda: CryptoKey(SecureMemory(5)),
        ],
        "CryptoKey": [
            lambda: encrypt_data(None, holder),  # type: ignore[arg-type]
            lambda: decrypt_data(forged, holder),
            lambda: decrypt_secret(forged, holder),
            lambda: decrypt_into(forged, holder, bytearray(99)),
            lambda: encrypt_data(holder, key, 5),  # type: ignore[arg-type]
        ],
        "Borrow": [lambda: holder.__enter__() and holder.__enter__()],
    }
    return cases[type(holder).__name__]


def test_tracebacks_with_locals(holder: Any) -> None:
    """An error in a call on an object shows no secret: not in its message, not in any frame's variables."""
    for action in failing_actions(holder):
        error = caught(action)
        assert_clean(str(error))
        assert_clean(local_texts(error))


@pytest.mark.parametrize("wrap", [False, True], ids=["cell", "view"])
def test_decode_errors_carry_no_secret(wrap: bool) -> None:
    """Bytes that are not text raise a plain ValueError; UnicodeDecodeError would carry them in `.object`."""
    cell = CypherCell(SECRET + b"\xff")
    with cell as view:
        reads: tuple[Any, ...] = (view.reveal, view.reveal_masked, lambda: str(view))
        for attempt in reads if wrap else (cell.reveal, cell.reveal_masked):
            error = caught(attempt)
            assert type(error) is ValueError
            assert error.__cause__ is None
            assert error.__context__ is None
            assert_clean(local_texts(error))


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-32", "cp1252"])
def test_decode_errors_of_other_codecs(encoding: str) -> None:
    """Another codec's error does not carry the secret either, not in `.object` and not in `__context__`."""
    cell = CypherCell(SECRET + b"\x81")
    error: BaseException | None = caught(lambda: cell.reveal(encoding))
    while error is not None:
        assert SECRET not in bytes(getattr(error, "object", b""))
        assert_clean(local_texts(error))
        error = error.__cause__ or error.__context__


def test_no_object_of_the_collector_refers_to_it() -> None:
    """Between accesses no bytes object that the garbage collector can reach from a cell holds the secret."""
    holder = CypherCell(bytearray(SECRET))
    seen: set[int] = set()
    todo: list[Any] = [holder]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        assert not (isinstance(thing, (bytes, bytearray)) and SECRET in thing)
        todo += gc.get_referents(thing)
