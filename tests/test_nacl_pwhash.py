"""Argon2 and scrypt by PyNaCl's names: what PyNaCl gives, with passwords and keys where they are."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given, settings
from hypothesis import strategies as st
from test_frames import found_in

from zeroizepy import CypherCell, SecureMemory, SecureMemoryClosed
from zeroizepy.exceptions import CellWipedError
from zeroizepy.nacl import encoding, exceptions, pwhash
from zeroizepy.nacl import hashlib as nacl_hashlib
from zeroizepy.nacl.bindings import crypto_pwhash as bindings

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.children import Child

theirs = pytest.importorskip("nacl.pwhash", reason="PyNaCl is not installed")
their_bindings = pytest.importorskip("nacl.bindings.crypto_pwhash", reason="PyNaCl is not installed")
their_hashlib = pytest.importorskip("nacl.hashlib", reason="PyNaCl is not installed")

pytestmark = pytest.mark.usefixtures("no_leftover_cells")

SCHEMES = ["argon2i", "argon2id", "scrypt"]
EACH = pytest.mark.parametrize("scheme", SCHEMES)
PASSWORD = b"correct horse battery staple"
SOURCES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "cell": CypherCell,
    "sealed cell": lambda data: CypherCell(data, tier="sealed"),
    "isolated cell": lambda data: CypherCell(data, tier="isolated"),
    "memory": SecureMemory.from_bytes,
}


def ours(scheme: str) -> Any:
    """The module for it."""
    return getattr(pwhash, scheme)


def cheap(scheme: str) -> tuple[int, int]:
    """The least limits: opslimit and memlimit."""
    module = ours(scheme)
    return (module.OPSLIMIT_MIN, module.MEMLIMIT_MIN) if scheme != "scrypt" else (32768, 1 << 20)


def salt_for(scheme: str) -> bytes:
    """A salt of the right length."""
    return bytes(range(ours(scheme).SALTBYTES))


@EACH
@settings(deadline=None, max_examples=15)
@given(data=st.data(), password=st.binary(max_size=200), size=st.integers(16, 200))
def test_keys_are_pynacls(scheme: str, data: st.DataObject, password: bytes, size: int) -> None:
    """The same key for the same password, salt, size and limits, in each text form."""
    length = ours(scheme).SALTBYTES
    salt, limits = data.draw(st.binary(min_size=length, max_size=length)), cheap(scheme)
    form = data.draw(st.sampled_from(["Raw", "Hex", "Base64"]))
    wanted = getattr(theirs, scheme).kdf(
        size, password, salt, *limits, encoder=getattr(theirs.argon2id.nacl.encoding, f"{form}Encoder")
    )
    assert ours(scheme).kdf(size, password, salt, *limits, getattr(encoding, f"{form}Encoder")) == wanted


@settings(deadline=None, max_examples=15)
@given(password=st.binary(max_size=200), salt=st.binary(min_size=16, max_size=16), passes=st.integers(1, 3))
def test_argon2id_is_rfc_9106s(password: bytes, salt: bytes, passes: int) -> None:
    """`cryptography` makes the same key."""
    argon2 = pytest.importorskip("cryptography.hazmat.primitives.kdf.argon2", reason="needs cryptography 44")
    wanted = argon2.Argon2id(salt=salt, length=32, iterations=passes, lanes=1, memory_cost=8).derive(password)
    assert pwhash.argon2id.kdf(32, password, salt, passes, 8192) == wanted


@settings(deadline=None, max_examples=30)
@given(
    password=st.binary(max_size=200),
    salt=st.binary(max_size=80),
    n=st.sampled_from([2, 16, 64]),
    r=st.integers(1, 8),
    p=st.integers(1, 3),
    size=st.integers(1, 100),
)
def test_scrypt_is_rfc_7914s(password: bytes, salt: bytes, n: int, r: int, p: int, size: int) -> None:
    """`cryptography` makes the same key, or both refuse."""
    wanted: bytes | None = None
    with suppress(ValueError):
        wanted = Scrypt(salt=salt, length=size, n=n, r=r, p=p).derive(password)
    if wanted is None:
        with pytest.raises(exceptions.ValueError):
            nacl_hashlib.scrypt(password, salt, n, r, p, dklen=size)
    else:
        assert nacl_hashlib.scrypt(password, salt, n, r, p, dklen=size) == wanted


RFC_7914 = [
    (b"", b"", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"),
    (b"password", b"NaCl", 1024, 8, 16, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"),
    (
        b"pleaseletmein",
        b"SodiumChloride",
        16384,
        8,
        1,
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
    ),
]


@pytest.mark.parametrize(("password", "salt", "n", "r", "p", "wanted"), RFC_7914)
def test_scrypt_vectors(password: bytes, salt: bytes, n: int, r: int, p: int, wanted: str) -> None:
    """RFC 7914, section 12."""
    assert nacl_hashlib.scrypt(password, salt, n, r, p, dklen=32).hex() == wanted


@settings(max_examples=300)
@given(opslimit=st.integers(0, 1 << 40), memlimit=st.integers(0, 1 << 45))
def test_scrypt_parameters_are_pynacls(opslimit: int, memlimit: int) -> None:
    """N, r and p for any limits."""
    wanted = their_bindings.nacl_bindings_pick_scrypt_params(opslimit, memlimit)
    assert bindings.nacl_bindings_pick_scrypt_params(opslimit, memlimit) == wanted


@EACH
def test_hashes_verify_both_ways(scheme: str) -> None:
    """Each takes the other's text, for the right password alone; PyNaCl's own exception catches the refusal."""
    module, peer = ours(scheme), getattr(theirs, scheme)
    made, other = module.str(PASSWORD, *cheap(scheme)), peer.str(PASSWORD, *cheap(scheme))
    assert made.startswith(module.STRPREFIX)
    assert len(made) == len(other)
    assert made != module.str(PASSWORD, *cheap(scheme))
    for verify, text in ((module.verify, other), (peer.verify, made), (pwhash.verify, other), (pwhash.verify, made)):
        assert verify(text, PASSWORD) is True
    for verify in (module.verify, pwhash.verify):
        with pytest.raises(theirs.argon2id.nacl.exceptions.InvalidkeyError, match=r"^Wrong password$"):
            verify(other, PASSWORD + b"!")


@EACH
@pytest.mark.parametrize("source", SOURCES)
def test_passwords_from_where_they_are(scheme: str, source: str) -> None:
    """Anything bytes-like and anything that lends its bytes is the same password."""
    module, limits = ours(scheme), cheap(scheme)
    password = SOURCES[source](PASSWORD)
    wanted = module.kdf(32, PASSWORD, salt_for(scheme), *limits)
    assert module.kdf(32, password, bytearray(salt_for(scheme)), *limits) == wanted
    assert module.verify(bytearray(module.str(password, *limits)), password)


@EACH
def test_keys_into_secure_memory(scheme: str) -> None:
    """A memory of the size is filled and returned; the class makes one; they hold the key that `bytes` would."""
    module, limits, salt = ours(scheme), cheap(scheme), salt_for(scheme)
    wanted = module.kdf(40, PASSWORD, salt, *limits)
    memory = SecureMemory(40, tier="isolated")
    assert module.kdf(40, PASSWORD, salt, *limits, into=memory) is memory
    made = module.kdf(40, PASSWORD, salt, *limits, into=SecureMemory)
    assert memory.get_bytes() == made.get_bytes() == wanted


def test_scrypt_of_hashlib_into_secure_memory() -> None:
    """Of any size, an empty one included."""
    for size in (0, 1, 64, 5000):
        wanted = nacl_hashlib.scrypt(PASSWORD, b"salt", 16, 1, 1, dklen=size)
        assert wanted == their_hashlib.scrypt(PASSWORD, b"salt", 16, 1, 1, dklen=size)
        made = nacl_hashlib.scrypt(PASSWORD, b"salt", 16, 1, 1, dklen=size, into=SecureMemory)
        assert made.get_bytes() == wanted


@EACH
@pytest.mark.parametrize(
    ("into", "encoder", "error"),
    [
        (SecureMemory, encoding.HexEncoder, exceptions.ValueError),
        ("size", encoding.RawEncoder, ValueError),
        (bytearray, encoding.RawEncoder, TypeError),
    ],
)
def test_wrong_into(scheme: str, into: Any, encoder: Any, error: type[Exception]) -> None:
    """Refused before the password is read."""
    target = SecureMemory(31) if into == "size" else into
    cell = CypherCell(PASSWORD, volatile=True)
    with pytest.raises(error, match="into"):
        ours(scheme).kdf(32, cell, salt_for(scheme), *cheap(scheme), encoder=encoder, into=target)
    assert cell.reveal_bytes() == PASSWORD


S16, S32 = bytes(16), bytes(32)
THEIRS = SimpleNamespace(pwhash=theirs, bindings=their_bindings, hashlib=their_hashlib)
OURS = SimpleNamespace(pwhash=pwhash, bindings=bindings, hashlib=nacl_hashlib)
WRONG: dict[str, Callable[[SimpleNamespace], object]] = {
    "argon2id, salt": lambda it: it.pwhash.argon2id.kdf(32, b"p", bytes(15)),
    "argon2i, size": lambda it: it.pwhash.argon2i.kdf(15, b"p", S16),
    "argon2id, large size": lambda it: it.pwhash.argon2id.kdf(1 << 32, b"p", S16),
    "argon2id, size type": lambda it: it.pwhash.argon2id.kdf("32", b"p", S16),
    "argon2id, password type": lambda it: it.pwhash.argon2id.kdf(32, "password", S16),
    "argon2id, opslimit type": lambda it: it.pwhash.argon2id.kdf(32, b"p", S16, 2.0, 8192),
    "argon2id, opslimit": lambda it: it.pwhash.argon2id.kdf(32, b"p", S16, 0, 8192),
    "argon2id, large opslimit": lambda it: it.pwhash.argon2id.kdf(32, b"p", S16, 1 << 32, 8192),
    "argon2i, opslimit": lambda it: it.pwhash.argon2i.kdf(32, b"p", S16, 2, 8192),
    "argon2id, memlimit": lambda it: it.pwhash.argon2id.kdf(32, b"p", S16, 1, 8191),
    "argon2i, large memlimit": lambda it: it.pwhash.argon2i.str(b"p", 3, 1 << 60),
    "argon2i, large opslimit": lambda it: it.pwhash.argon2i.str(b"p", 1 << 60, 8192),
    "str, password type": lambda it: it.pwhash.str("password"),
    "str, memlimit type": lambda it: it.pwhash.str(b"p", 1, "8192"),
    "algorithm": lambda it: it.bindings.crypto_pwhash_str_alg(b"p", 1, 8192, 3),
    "algorithm for keys": lambda it: it.bindings.crypto_pwhash_alg(16, b"p", S16, 1, 8192, 0),
    "verify, prefix": lambda it: it.pwhash.verify(b"$6$salt$hash", b"p"),
    "verify, malformed": lambda it: it.pwhash.verify(b"$argon2id$v=19$m=8,t=1,p=1$", b"p"),
    "verify, long": lambda it: it.pwhash.verify(b"$argon2id$" + bytes(118), b"p"),
    "verify, password type": lambda it: it.pwhash.verify(it.pwhash.str(b"p", 1, 8192), "p"),
    "verify, hash type": lambda it: it.pwhash.argon2id.verify("$argon2id$", b"p"),
    "scrypt, salt": lambda it: it.pwhash.scrypt.kdf(32, b"p", bytes(31)),
    "scrypt, verify malformed": lambda it: it.pwhash.scrypt.verify(b"$7$".ljust(101, b"x"), b"p"),
    "scrypt, bindings' verify": lambda it: it.bindings.crypto_pwhash_scryptsalsa208sha256_str_verify(b"$7$", b"p"),
    "scrypt, r": lambda it: it.hashlib.scrypt(b"p", b"", 16, 0, 1),
    "scrypt, p": lambda it: it.hashlib.scrypt(b"p", b"", 16, 1, 0),
    "scrypt, n no power": lambda it: it.hashlib.scrypt(b"p", b"", 15, 1, 1),
    "scrypt, n": lambda it: it.hashlib.scrypt(b"p", b"", 1, 1, 1),
    "scrypt, n zero": lambda it: it.hashlib.scrypt(b"p", b"", 0, 1, 1),
    "scrypt, p*r": lambda it: it.hashlib.scrypt(b"p", b"", 16, 1 << 15, 1 << 15),
    "scrypt, memory": lambda it: it.hashlib.scrypt(b"p", b""),
    "scrypt, types": lambda it: it.hashlib.scrypt(b"p", b"", 16.0, 1, 1),
    "scrypt, password type": lambda it: it.hashlib.scrypt("p", b"", 16, 1, 1),
    "scrypt, salt type": lambda it: it.hashlib.scrypt(b"p", "", 16, 1, 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_pynacls(name: str) -> None:
    """The same kind of error, and what PyNaCl says where it says something."""
    with pytest.raises(Exception) as wanted:  # noqa: PT011 - whichever PyNaCl raises.
        WRONG[name](THEIRS)
    with pytest.raises(type(wanted.value)) as caught:
        WRONG[name](OURS)
    if str(wanted.value) and isinstance(wanted.value, theirs.argon2id.nacl.exceptions.CryptoError):
        assert str(caught.value) == str(wanted.value)


def test_the_length_of_a_scrypt_hash_is_told() -> None:
    """PyNaCl counts the zero behind it; this is what it takes."""
    with pytest.raises(exceptions.ValueError, match="exactly 101 bytes"):
        pwhash.scrypt.verify(b"$7$", b"p")


@pytest.mark.parametrize(
    "call",
    [
        lambda: pwhash.scrypt.kdf(32, b"p", S32),
        lambda: pwhash.scrypt.str(b"p"),
        lambda: pwhash.scrypt.verify(bytes(101), b"p"),
        lambda: nacl_hashlib.scrypt(b"p"),
        lambda: bindings.crypto_pwhash_scryptsalsa208sha256_str(b"p"),
        lambda: bindings.crypto_pwhash_scryptsalsa208sha256_str_verify(bytes(101), b"p"),
    ],
)
def test_a_reduced_libsodium(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scrypt each of its functions says so."""
    monkeypatch.setattr(bindings, "has_crypto_pwhash_scryptsalsa208sha256", False)
    monkeypatch.setattr(pwhash.scrypt, "AVAILABLE", False)
    with pytest.raises(exceptions.UnavailableError, match="minimal build"):
        call()


# ---- secrets that end ----


class Late:
    """The core, which another thread gets a turn in just before one of its functions runs."""

    def __init__(self, core: Any, name: str, turn: Callable[[], None]) -> None:
        self._core, self._name, self._turn = core, name, turn

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            self._turn()
        return getattr(self._core, name)


USES = {
    "kdf": (lambda cell: pwhash.kdf_scryptsalsa208sha256(32, cell, S32, *cheap("scrypt")), "zpy_pwhash_scrypt"),
    "kdf_argon2": (lambda cell: pwhash.argon2id.kdf(32, cell, S16, *cheap("argon2id")), "zpy_pwhash_raw"),
    "str": (lambda cell: pwhash.str(cell, *cheap("argon2id")), "zpy_pwhash_str"),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("make", [CypherCell, SecureMemory.from_bytes], ids=["cell", "memory"])
def test_a_password_that_ends_meanwhile(name: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises; there is no result that is made of zeros."""
    use, function = USES[name]
    password = make(PASSWORD)
    monkeypatch.setattr(bindings, "lib", Late(bindings.lib, function, password.close))
    with pytest.raises((CellWipedError, SecureMemoryClosed)):
        use(password)
    with pytest.raises((CellWipedError, SecureMemoryClosed)):
        use(password)


def test_no_zeros_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is wiped meanwhile does not count as the one of zeros that its hash is of."""
    text, password = pwhash.str(bytes(8), *cheap("argon2id")), CypherCell(b"password")
    monkeypatch.setattr(bindings, "lib", Late(bindings.lib, "zpy_pwhash_verify", password.wipe))
    with pytest.raises(CellWipedError):
        pwhash.verify(text, password)


def test_memory_of_the_callers_is_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the password ends meanwhile, a key of zeros does not stay in what `into` names."""
    memory, password = SecureMemory.from_bytes(b"x" * 32), CypherCell(PASSWORD)
    monkeypatch.setattr(bindings, "lib", Late(bindings.lib, "zpy_pwhash_raw", password.wipe))
    with pytest.raises(CellWipedError):
        pwhash.argon2id.kdf(32, password, S16, *cheap("argon2id"), into=memory)
    assert memory.get_bytes() == bytes(32)


def test_a_target_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises, rather than to return memory that is closed."""
    memory = SecureMemory(32)
    monkeypatch.setattr(bindings, "lib", Late(bindings.lib, "zpy_pwhash_raw", memory.close))
    with pytest.raises(SecureMemoryClosed):
        pwhash.argon2id.kdf(32, PASSWORD, S16, *cheap("argon2id"), into=memory)


def test_while_another_thread_wipes() -> None:
    """The right key or an error, whenever it happens."""
    wanted = pwhash.argon2id.kdf(32, PASSWORD, S16, 1, 8192)
    for _ in range(50):
        cell, made, go = CypherCell(PASSWORD), [], threading.Barrier(2)

        def work(cell: CypherCell = cell, made: list[bytes] = made, go: threading.Barrier = go) -> None:
            go.wait()
            with suppress(CellWipedError):
                while True:
                    made.append(pwhash.argon2id.kdf(32, cell, S16, 1, 8192))

        thread = threading.Thread(target=work)
        thread.start()
        go.wait()
        cell.wipe()
        thread.join()
        assert set(made) <= {wanted}


@pytest.mark.parametrize(
    ("function", "use"),
    [
        ("zpy_pwhash_raw", lambda: pwhash.argon2id.kdf(32, PASSWORD, S16, 2, 1 << 25)),
        ("zpy_pwhash_scrypt", lambda: nacl_hashlib.scrypt(PASSWORD, b"", 1 << 14, 8, 1)),
        ("zpy_pwhash_str", lambda: pwhash.str(PASSWORD, 2, 1 << 25)),
    ],
)
def test_other_threads_run_meanwhile(function: str, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GIL is given up: Python would not take it away from a thread within an hour, and another one gets it."""
    entered, interval = threading.Event(), sys.getswitchinterval()
    monkeypatch.setattr(bindings, "lib", Late(bindings.lib, function, entered.set))
    sys.setswitchinterval(3600)
    try:
        for _ in range(100):
            entered.clear()
            ended: list[bool] = []
            thread = threading.Thread(target=lambda ended=ended: (use(), ended.append(True)))
            thread.start()
            entered.wait()
            was_running = not ended
            thread.join()
            if was_running:
                break
    finally:
        sys.setswitchinterval(interval)
    assert was_running


@pytest.mark.parametrize(
    "call",
    [
        lambda secret: pwhash.verify(pwhash.str(b"p", 1, 8192), secret()),
        lambda secret: pwhash.scrypt.kdf(32, secret(), bytes(31)),
        lambda secret: pwhash.argon2i.kdf(32, secret(), S16, 0),
        lambda secret: pwhash.argon2id.str(secret().decode()),
        lambda secret: nacl_hashlib.scrypt(password=secret()),
    ],
)
def test_frames_of_errors(call: Callable[[Callable[[], bytes]], object]) -> None:
    """No frame of the library keeps the password, and no message says it."""
    text = "hunter2SECRET-XYZ-0001"
    with pytest.raises(exceptions.CryptoError) as caught:
        call(text.encode)
    assert text not in str(caught.value)
    assert found_in(caught.value.__traceback__, "zeroizepy") == []


def test_memory_that_cannot_be_had(child: Child) -> None:
    """No key, and no word that a password is wrong when it could not be checked."""
    program = """
import resource
from zeroizepy.nacl import exceptions, hashlib, pwhash
text = pwhash.str(b"p", 1, 1 << 20)
dear = text.replace(b"m=1024,", b"m=4194304,")
assert dear != text
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for call in (
    lambda: pwhash.argon2id.kdf(32, b"p", bytes(16), 1, 2 << 30),
    lambda: pwhash.argon2i.str(b"p", 3, 2 << 30),
    lambda: hashlib.scrypt(b"p", b"", 1 << 21, 8, 1, maxmem=4 << 30),
    lambda: pwhash.scrypt.str(b"p", 1 << 30, 2 << 30),
    lambda: pwhash.verify(dear, b"p"),
):
    try:
        call()
    except exceptions.CryptoError as error:
        print(type(error).__name__, error)
assert pwhash.verify(text, b"p")
"""
    derivation, hashing = "Unexpected failure in key derivation", "Unexpected failure in password hashing"
    assert child.check(program).splitlines() == [
        f"RuntimeError {derivation}",
        f"RuntimeError {derivation}",
        f"RuntimeError {derivation}",
        f"RuntimeError {hashing}",
        "InvalidkeyError The password could not be checked: no memory for what its hash asks for",
    ]


def test_a_small_stack() -> None:
    """In a thread with the least stack that Python gives, what is cleared fits."""
    made: list[bytes] = []
    before = threading.stack_size(1 << 16)
    try:
        thread = threading.Thread(target=lambda: made.append(pwhash.argon2id.kdf(32, PASSWORD, S16, 1, 8192)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert made == [pwhash.argon2id.kdf(32, PASSWORD, S16, 1, 8192)]


def test_constants_are_pynacls() -> None:
    """Each public name of PyNaCl's modules is here, and each number and text is the same."""
    for mine, peer in [
        (pwhash, theirs),
        *((ours(scheme), getattr(theirs, scheme)) for scheme in SCHEMES),
        (bindings, their_bindings),
        (nacl_hashlib, their_hashlib),
    ]:
        for name, value in vars(peer).items():
            if not name.startswith("_") and isinstance(value, (int, bytes)):
                assert getattr(mine, name) == value, name
            elif getattr(value, "__module__", None) == peer.__name__:
                assert hasattr(mine, name), name


@EACH
def test_random_salts(scheme: str) -> None:
    """Texts of one password differ."""
    assert len({ours(scheme).str(PASSWORD, *cheap(scheme)) for _ in range(20)}) == 20
