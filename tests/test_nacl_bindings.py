"""zeroizepy.nacl.bindings against PyNaCl's: names, numbers, results, refusals."""

from __future__ import annotations

import inspect
import secrets
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroizepy import CryptoKey, CypherCell, SecureMemory, SecureMemoryClosed
from zeroizepy._lib import ffi
from zeroizepy.nacl import bindings, exceptions

if TYPE_CHECKING:
    from collections.abc import Callable

theirs = pytest.importorskip("nacl.bindings", reason="PyNaCl is not installed")
sodium = pytest.importorskip("nacl._sodium", reason="PyNaCl is not installed")

ABSENT = {"crypto_core_ed25519_UNIFORMBYTES"}
"""In PyNaCl's __all__, and not in PyNaCl."""
IN_SUBMODULES = {
    "crypto_box_MACBYTES",
    "crypto_pwhash_argon2i_str_verify",
    "crypto_sign_curve25519_BYTES",
    "randombytes_SEEDBYTES",
}
MODULES = [
    "crypto_aead",
    "crypto_box",
    "crypto_core",
    "crypto_kx",
    "crypto_scalarmult",
    "crypto_secretbox",
    "crypto_secretstream",
    "crypto_sign",
    "randombytes",
    "sodium_core",
    "utils",
]
CIPHERS = ["chacha20poly1305_ietf", "chacha20poly1305", "xchacha20poly1305_ietf", "aegis256", "aegis128l", "aes256gcm"]


def module_names() -> list[tuple[str, str]]:
    """Each module, and each name of libsodium's in PyNaCl's."""
    found = []
    for module in MODULES:
        peer = import_module(f"nacl.bindings.{module}")
        found += [(module, name) for name in vars(peer) if name.startswith(("crypto_", "has_", "random", "sodium_"))]
    return found


# ---- names ----


def test_all_names() -> None:
    """What PyNaCl's __all__ lists and has is listed here; besides only what PyNaCl has in its submodules."""
    missing = {name for name in theirs.__all__ if not hasattr(theirs, name)}
    assert missing == ABSENT
    assert set(bindings.__all__) == (set(theirs.__all__) - ABSENT) | IN_SUBMODULES
    assert len(bindings.__all__) == len(set(bindings.__all__))
    for name in bindings.__all__:
        assert type(getattr(bindings, name)) is not type(inspect)
        ours, peer = (getattr(it, name, None) for it in (bindings, theirs))
        assert callable(ours) if callable(peer) else peer in (ours, None)


@pytest.mark.parametrize(("module", "name"), module_names())
def test_modules(module: str, name: str) -> None:
    """Each name of a module is there: numbers are equal, functions have the same parameters, and ours may have more."""
    if "aegis" in name:
        without(name)
    ours = getattr(import_module(f"zeroizepy.nacl.bindings.{module}"), name)
    peer = getattr(import_module(f"nacl.bindings.{module}"), name)
    if not callable(peer):
        assert (type(ours), ours) == (type(peer), peer)
        return
    assert (ours.__name__, ours.__module__) == (name, f"zeroizepy.nacl.bindings.{module}")
    assert ours.__doc__
    shapes = [
        [(it.name, it.kind, it.default) for it in inspect.signature(each).parameters.values()] for each in (ours, peer)
    ]
    added = shapes[0][len(shapes[1]) :]
    assert shapes[0][: len(shapes[1])] == shapes[1]
    assert all(kind == inspect.Parameter.KEYWORD_ONLY and default is not ... for _, kind, default in added)


# ---- results ----

SECRET, PUBLIC = b"\x01" * 32, theirs.crypto_scalarmult_base(b"\x02" * 32)
POINT = theirs.crypto_scalarmult_ed25519_base(b"\x03" * 32)
SIGNING = theirs.crypto_sign_seed_keypair(b"\x04" * 32)

# What a function gets: the sizes of random bytes, or values.
CASES: dict[str, tuple[Any, ...]] = {
    "crypto_box_seed_keypair": (32,),
    "crypto_box_beforenm": (PUBLIC, 32),
    "crypto_box": (None, 24, PUBLIC, 32),
    "crypto_box_easy": (None, 24, PUBLIC, 32),
    "crypto_box_afternm": (None, 24, 32),
    "crypto_box_easy_afternm": (None, 24, 32),
    "crypto_secretbox": (None, 24, 32),
    "crypto_secretbox_easy": (None, 24, 32),
    "crypto_core_ed25519_is_valid_point": (32,),
    "crypto_core_ed25519_from_uniform": (32,),
    "crypto_core_ed25519_add": (POINT, POINT),
    "crypto_core_ed25519_sub": (POINT, POINT),
    "crypto_core_ed25519_scalar_invert": (32,),
    "crypto_core_ed25519_scalar_negate": (32,),
    "crypto_core_ed25519_scalar_complement": (32,),
    "crypto_core_ed25519_scalar_add": (32, 32),
    "crypto_core_ed25519_scalar_sub": (32, 32),
    "crypto_core_ed25519_scalar_mul": (32, 32),
    "crypto_core_ed25519_scalar_reduce": (64,),
    "crypto_kx_seed_keypair": (32,),
    "crypto_kx_client_session_keys": (32, 32, PUBLIC),
    "crypto_kx_server_session_keys": (32, 32, PUBLIC),
    "crypto_scalarmult": (32, PUBLIC),
    "crypto_scalarmult_base": (32,),
    "crypto_scalarmult_ed25519": (32, POINT),
    "crypto_scalarmult_ed25519_base": (32,),
    "crypto_scalarmult_ed25519_noclamp": (32, POINT),
    "crypto_scalarmult_ed25519_base_noclamp": (32,),
    "crypto_sign_seed_keypair": (32,),
    "crypto_sign": (None, SIGNING[1]),
    "crypto_sign_open": (theirs.crypto_sign(b"message", SIGNING[1]), SIGNING[0]),
    "crypto_sign_ed25519_pk_to_curve25519": (SIGNING[0],),
    "crypto_sign_ed25519_sk_to_curve25519": (64,),
    "crypto_sign_ed25519_sk_to_pk": (64,),
    "crypto_sign_ed25519_sk_to_seed": (64,),
    "randombytes_buf_deterministic": (st.integers(0, 300), 32),
    "sodium_memcmp": (None, None),
    "sodium_pad": (None, st.integers(1, 70)),
    "sodium_increment": (None,),
    "sodium_add": (24, 24),
    **{f"crypto_aead_{name}_encrypt": (None, None, "NPUBBYTES", "KEYBYTES") for name in CIPHERS},
}
UNCHECKED = {
    "crypto_scalarmult": {0: 32, 1: 32},
    "crypto_scalarmult_base": {0: 32},
    "crypto_sign": {1: 64},
    "crypto_sign_open": {1: 32},
}
"""Arguments whose size PyNaCl does not check, so that it reads what stands behind them."""
RANDOM = {"crypto_box_keypair", "crypto_kx_keypair", "crypto_sign_keypair", "randombytes"}


def without(name: str) -> None:
    """Skip what this CPU cannot do, or this libsodium."""
    if "aes256gcm" in name and not sodium.lib.crypto_aead_aes256gcm_is_available():
        pytest.skip("this CPU has no AES instructions")
    if "aegis" in name and not bindings.crypto_aead_aegis256_KEYBYTES:
        pytest.skip("this libsodium has no AEGIS")


def arguments(name: str) -> st.SearchStrategy[tuple[Any, ...]]:
    """Arguments for a function, as its case says."""

    def one(what: Any) -> st.SearchStrategy[Any]:
        if isinstance(what, bytes):
            return st.just(what)
        if isinstance(what, str):
            what = getattr(theirs, f"{name.rpartition('_')[0]}_{what}")
        if isinstance(what, int):
            return st.binary(min_size=what, max_size=what)
        return st.binary(max_size=200) if what is None else what

    return st.tuples(*(one(what) for what in CASES[name]))


def outcome(function: Callable[..., Any], *given: Any) -> tuple[Any, Any]:
    """What a function returns, or the exception that it raises."""
    try:
        return function(*given), None
    except Exception as error:  # noqa: BLE001 - Whatever it is, the other one has to raise it, too.
        return None, error


def assert_same(ours: tuple[Any, Any], peer: tuple[Any, Any]) -> None:
    """The same result, or an exception that is caught as PyNaCl's is and says the same."""
    assert ours[0] == peer[0]
    assert (ours[1] is None) == (peer[1] is None), (ours[1], peer[1])
    if peer[1] is not None:
        assert isinstance(ours[1], type(peer[1]))
        assert str(ours[1]) == str(peer[1])


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_results(name: str, data: st.DataObject) -> None:
    """The same arguments give the same bytes, or the same refusal."""
    without(name)
    given_to = data.draw(arguments(name))
    ours = outcome(getattr(bindings, name), *given_to)
    assert_same(ours, outcome(getattr(theirs, name), *given_to))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_other_sizes(name: str, data: st.DataObject) -> None:
    """One argument that is too short or too long, or no bytes at all, is refused as PyNaCl refuses it."""
    without(name)
    given_to = list(data.draw(arguments(name)))
    place = data.draw(st.sampled_from([at for at, it in enumerate(given_to) if isinstance(it, bytes)]))
    given_to[place] = data.draw(st.binary(max_size=100))
    ours = outcome(getattr(bindings, name), *given_to)
    size = len(given_to[place])
    if size != UNCHECKED.get(name, {}).get(place, size):
        assert isinstance(ours[1], (exceptions.TypeError, exceptions.ValueError))
    else:
        assert_same(ours, outcome(getattr(theirs, name), *given_to))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wrong", ["text", 5, None, 1.5, ["x"]])
def test_other_types(name: str, wrong: Any) -> None:
    """What is not bytes-like is a TypeError, that PyNaCl's handlers catch, and does not show what was given."""
    without(name)
    values = [secrets.token_bytes(it) if isinstance(it, int) else it for it in CASES[name]]
    values = [b"0" * 24 if it is None or isinstance(it, str) else it for it in values]
    for place, value in enumerate(values):
        changed = [*values[:place], wrong, *values[place + 1 :]]
        if not isinstance(value, bytes) or (wrong is None and place == 1 and "aead" in name):
            continue
        with pytest.raises(TypeError) as told:
            getattr(bindings, name)(*changed)
        assert "text" not in str(told.value)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random(name: str) -> None:
    """Random results have PyNaCl's sizes, and differ."""
    given_to = (40,) if name == "randombytes" else ()
    first, second = getattr(bindings, name)(*given_to), getattr(bindings, name)(*given_to)
    sizes = [
        list(map(len, it)) if isinstance(it, tuple) else len(it) for it in (first, getattr(theirs, name)(*given_to))
    ]
    assert sizes[0] == sizes[1]
    assert first != second


# ---- what is opened again ----

OPENERS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "crypto_secretbox_open": ("crypto_secretbox", (24, 32)),
    "crypto_secretbox_open_easy": ("crypto_secretbox_easy", (24, 32)),
    "crypto_box_open": ("crypto_box", (24, PUBLIC, 32)),
    "crypto_box_open_easy": ("crypto_box_easy", (24, PUBLIC, 32)),
    "crypto_box_open_afternm": ("crypto_box_afternm", (24, 32)),
    "crypto_box_open_easy_afternm": ("crypto_box_easy_afternm", (24, 32)),
    **{f"crypto_aead_{name}_decrypt": (f"crypto_aead_{name}_encrypt", (None, "N", "K")) for name in CIPHERS},
}


@pytest.mark.parametrize("name", OPENERS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_each_opens_what_the_other_sealed(name: str, data: st.DataObject) -> None:
    """Both ways; changed and shortened ciphertexts are refused alike; the plaintext goes into secure memory."""
    without(name)
    sealer, rest = OPENERS[name]
    prefix = name.removesuffix("_decrypt")
    sizes = {"N": f"{prefix}_NPUBBYTES", "K": f"{prefix}_KEYBYTES"}
    keys: list[Any] = []
    for it in rest:
        size = getattr(theirs, sizes[it]) if isinstance(it, str) else it
        keys.append(
            size if isinstance(size, bytes) else data.draw(st.none()) if size is None else secrets.token_bytes(size)
        )
    message = data.draw(st.binary(max_size=200))
    sealed = getattr(theirs, sealer)(message, *keys)
    opener, peer = getattr(bindings, name), getattr(theirs, name)
    assert getattr(bindings, sealer)(message, *keys) == sealed
    assert opener(sealed, *keys) == message
    assert opener(bytearray(sealed), *keys, into=SecureMemory).get_bytes() == message
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
    assert_same(outcome(opener, changed, *keys), outcome(peer, changed, *keys))
    short = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    ours, other = outcome(opener, short, *keys), outcome(peer, short, *keys)
    if "aead" in name and len(short) < getattr(theirs, f"{prefix}_ABYTES"):
        assert isinstance(ours[1], exceptions.CryptoError)
        assert isinstance(ours[1], type(other[1]))
    else:
        assert_same(ours, other)


def test_sealed_boxes() -> None:
    """Both ways, and refused when changed or shortened."""
    for message in (b"", b"x", b"message" * 50):
        assert theirs.crypto_box_seal_open(bindings.crypto_box_seal(message, PUBLIC), PUBLIC, b"\x02" * 32) == message
        sealed = theirs.crypto_box_seal(message, PUBLIC)
        assert bindings.crypto_box_seal_open(sealed, PUBLIC, b"\x02" * 32) == message
        changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        for wrong in (changed, sealed[:-1], sealed[:47], b""):
            given_to = wrong, PUBLIC, b"\x02" * 32
            assert_same(
                outcome(bindings.crypto_box_seal_open, *given_to), outcome(theirs.crypto_box_seal_open, *given_to)
            )


@given(st.binary(max_size=100), st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_unpad(padded: bytes, block: int) -> None:
    """Padding is taken off, or found to be none, as PyNaCl does."""
    assert_same(outcome(bindings.sodium_unpad, padded, block), outcome(theirs.sodium_unpad, padded, block))


@pytest.mark.parametrize("block", [0, -1, "4", None, 2.0])
def test_blocks(block: Any) -> None:
    """Blocks of no size are refused as PyNaCl refuses them."""
    assert_same(outcome(bindings.sodium_pad, b"abc", block), outcome(theirs.sodium_pad, b"abc", block))
    assert_same(outcome(bindings.sodium_unpad, b"abc", block), outcome(theirs.sodium_unpad, b"abc", block))


@given(st.lists(st.binary(max_size=100), max_size=4))
@settings(max_examples=15, deadline=None)
def test_prehashed_signatures(parts: list[bytes]) -> None:
    """Ed25519ph of a message in parts: PyNaCl makes the same signature; a changed message is refused."""
    public, secret = SIGNING
    ours, peer = bindings.crypto_sign_ed25519ph_state(), theirs.crypto_sign_ed25519ph_state()
    check, other = bindings.crypto_sign_ed25519ph_state(), bindings.crypto_sign_ed25519ph_state()
    for part in parts:
        bindings.crypto_sign_ed25519ph_update(ours, part)
        bindings.crypto_sign_ed25519ph_update(check, CypherCell(part))
        bindings.crypto_sign_ed25519ph_update(other, part)
        theirs.crypto_sign_ed25519ph_update(peer, part)
    signature = bindings.crypto_sign_ed25519ph_final_create(ours, secret)
    assert signature == theirs.crypto_sign_ed25519ph_final_create(peer, secret)
    assert bindings.crypto_sign_ed25519ph_final_verify(check, signature, public) is True
    bindings.crypto_sign_ed25519ph_update(other, b"!")
    with pytest.raises(exceptions.BadSignatureError, match="Signature was forged or corrupt"):
        bindings.crypto_sign_ed25519ph_final_verify(other, signature, public)


@pytest.mark.parametrize("wrong", [b"short", bytes(1000), bytearray(1000), None, "array", "longer", "pointer", "null"])
def test_a_prehash_state_that_was_set_is_refused(wrong: Any) -> None:
    """The core writes to `state`, as long as libsodium's is: nothing else is taken in its place."""
    made = {
        "array": lambda: ffi.new("uint8_t[]", 3),
        "longer": lambda: ffi.new("uint8_t[]", 4096),
        "pointer": lambda: ffi.new("uint8_t *"),
        "null": lambda: ffi.NULL,
    }
    state = bindings.crypto_sign_ed25519ph_state()
    state.state = made[wrong]() if isinstance(wrong, str) else wrong
    for use in (
        lambda: bindings.crypto_sign_ed25519ph_update(state, b"part"),
        lambda: bindings.crypto_sign_ed25519ph_final_create(state, bytes(64)),
        lambda: bindings.crypto_sign_ed25519ph_final_verify(state, bytes(64), bytes(32)),
    ):
        with pytest.raises(exceptions.TypeError, match=r"edph\.state must"):
            use()


# ---- secrets, in and out ----

SECRETS_AT: dict[str, int] = {
    "crypto_box_seed_keypair": 0,
    "crypto_box_beforenm": 1,
    "crypto_box": 3,
    "crypto_box_easy_afternm": 2,
    "crypto_secretbox_easy": 2,
    "crypto_core_ed25519_scalar_mul": 1,
    "crypto_kx_seed_keypair": 0,
    "crypto_kx_client_session_keys": 1,
    "crypto_kx_server_session_keys": 1,
    "crypto_scalarmult": 0,
    "crypto_scalarmult_base": 0,
    "crypto_scalarmult_ed25519_base": 0,
    "crypto_sign_seed_keypair": 0,
    "crypto_aead_xchacha20poly1305_ietf_encrypt": 3,
    "crypto_aead_aes256gcm_encrypt": 3,
    "sodium_memcmp": 0,
    "sodium_add": 0,
    "randombytes_buf_deterministic": 1,
}


def drawn(name: str) -> list[Any]:
    """Arguments for a function, without hypothesis."""
    values: list[Any] = []
    for it in CASES[name]:
        size = getattr(theirs, f"{name.rpartition('_')[0]}_{it}") if isinstance(it, str) else it
        if isinstance(size, st.SearchStrategy):
            size = None
            values.append(40)
        else:
            values.append(size if isinstance(size, bytes) else secrets.token_bytes(20 if size is None else size))
    return values


@pytest.mark.parametrize("name", SECRETS_AT)
def test_secrets_where_they_are(name: str) -> None:
    """A secret in a cell, secure memory, a key or any buffer is used like bytes; ended, it is refused."""
    without(name)
    values, place = drawn(name), SECRETS_AT[name]
    expected = outcome(getattr(theirs, name), *values)
    holders: list[Any] = [CypherCell(values[place]), SecureMemory.from_bytes(values[place])]
    holders += [CryptoKey(values[place])] if len(values[place]) == 32 else []
    holders += [CypherCell(values[place], tier="sealed"), bytearray(values[place]), memoryview(values[place])]
    for holder in holders:
        changed = [*values[:place], holder, *values[place + 1 :]]
        assert_same(outcome(getattr(bindings, name), *changed), expected)
    ended = SecureMemory.from_bytes(values[place])
    ended.close()
    with pytest.raises(SecureMemoryClosed):
        getattr(bindings, name)(*values[:place], ended, *values[place + 1 :])


INTO = [name for name in bindings.__all__ if callable(getattr(bindings, name))]
INTO = [name for name in INTO if "into" in inspect.signature(getattr(bindings, name)).parameters]


def test_which_results_go_into_memory() -> None:
    """Every function whose result is a secret takes into=."""
    wanted = {"crypto_box_keypair", "crypto_box_beforenm", "crypto_scalarmult", "crypto_sign_ed25519_sk_to_seed"}
    wanted |= {"crypto_kx_client_session_keys", "crypto_secretstream_xchacha20poly1305_keygen"}
    wanted |= {"crypto_box_seed_keypair", "crypto_kx_keypair", "crypto_kx_seed_keypair", "crypto_sign_keypair"}
    wanted |= {"crypto_sign_seed_keypair", "crypto_sign_ed25519_sk_to_curve25519", "crypto_kx_server_session_keys"}
    assert wanted <= set(INTO)


@pytest.mark.parametrize("name", sorted(set(CASES) & set(INTO)))
def test_into_memory(name: str) -> None:
    """The same result in new memory, and in memory of the caller's."""
    without(name)
    values = drawn(name)
    function = getattr(bindings, name)
    result = outcome(function, *values)[0]
    if result is None:
        pytest.skip("libsodium refuses these random inputs")
    expected = result if isinstance(result, tuple) else (result,)
    is_session = name.endswith("session_keys")
    given_memory = [SecureMemory(len(it)) for it in expected]
    into = tuple(given_memory) if is_session else given_memory[-1]
    for target in (SecureMemory, into):
        got = function(*values, into=target)
        parts = got if isinstance(got, tuple) else (got,)
        assert tuple(it if isinstance(it, bytes) else it.get_bytes() for it in parts) == expected
        secret = parts if is_session else parts[-1:]
        assert all(type(it) is SecureMemory for it in secret)
    assert parts[-1] is given_memory[-1]


def test_one_memory_is_not_for_two_keys() -> None:
    """Two session keys do not go into one memory."""
    with pytest.raises(TypeError, match="two keys"):
        bindings.crypto_kx_client_session_keys(PUBLIC, SECRET, PUBLIC, into=SecureMemory(32))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", sorted(RANDOM - {"randombytes"}))
def test_random_pairs_into_memory(name: str) -> None:
    """The secret key in secure memory is the public one's."""
    public, secret = getattr(bindings, name)(into=SecureMemory)
    if name == "crypto_sign_keypair":
        assert theirs.crypto_sign_ed25519_sk_to_pk(secret.get_bytes()) == public
        assert theirs.crypto_sign_open(bindings.crypto_sign(b"message", secret), public) == b"message"
    else:
        assert theirs.crypto_scalarmult_base(secret.get_bytes()) == public


def test_aegis128l_has_its_own_limit() -> None:
    """What PyNaCl asks of the wrong construction is asked of the right one: none of the numbers is another's."""
    without("aegis128l")
    closure = inspect.getclosurevars(inspect.unwrap(bindings.crypto_aead_aegis128l_decrypt)).nonlocals
    most = bindings.crypto_aead_aegis128l_MESSAGEBYTES_MAX + bindings.crypto_aead_aegis128l_ABYTES
    assert closure["ciphertext_need"].most == most
