"""No library frame of a traceback, and no message, holds a secret that was passed to a call that raised."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from zeroizepy.cell import CypherCell
from zeroizepy.chunked import EncryptedReader, EncryptedWriter, decrypt_file, encrypt_file
from zeroizepy.crypto import (
    CryptoKey,
    cryptographic_erase_key,
    decrypt_data,
    decrypt_into,
    decrypt_secret,
    encrypt_data,
    refuse_erased,
)
from zeroizepy.file import secure_delete
from zeroizepy.memory import SecureMemory, secret_bytes
from zeroizepy.nacl import encoding, utils
from zeroizepy.nacl.public import Box, PrivateKey
from zeroizepy.nacl.secret import Aead, SecretBox
from zeroizepy.nacl.signing import SigningKey as NaclSigningKey
from zeroizepy.session import SecureSession
from zeroizepy.signing import SigningKey
from zeroizepy.utils import secure_clear, secure_compare

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from support.children import Child

TEXT = "hunter2SECRET-XYZ-0001"
LARGE = TEXT.encode() * (1 << 20)
DEAD = CryptoKey.generate()
DEAD.destroy()
MESSAGE = encrypt_data(b"x", CryptoKey.generate())
WRAPPED = CryptoKey.generate().wrap(CryptoKey.generate())
CLOSED = SecureSession()
CLOSED.close()
OPEN = SecureSession()
ANY: Any = None


def secret() -> bytes:
    """The secret, in an object that no frame of the test itself holds."""
    return TEXT.encode()


CALLS: dict[str, Callable[[], object]] = {
    "cell, deadline": lambda: CypherCell(secret(), ttl_sec=-1),
    "cell, str": lambda: CypherCell(secret().decode(), max_reads=0),
    "cell, surrogate": lambda: CypherCell(secret().decode() + "\udc80"),
    "cell, no room": lambda: CypherCell(LARGE[:-1]),
    "cell, immutable source": lambda: CypherCell(secret(), wipe_source=True),
    "cell, wrong place": lambda: CypherCell(b"x", tier=TEXT),  # type: ignore[arg-type]
    "cell, wrong policy": lambda: CypherCell(b"x", policy=TEXT),  # type: ignore[arg-type]
    "from_env, value for name": lambda: CypherCell.from_env(TEXT),
    "verify": lambda: CypherCell(b"x").verify(secret().decode() + "\udc80"),
    "memory, str": lambda: SecureMemory.from_bytes(ANY or secret().decode()),
    "memory, no room": lambda: SecureMemory.from_bytes(LARGE[:-1]),
    "write, too long": lambda: SecureMemory(4).write(secret()),
    "write, str": lambda: SecureMemory(4).write(ANY or secret().decode()),
    "secret_bytes, str": lambda: secret_bytes(ANY or secret().decode()),
    "secret_bytes, no room": lambda: secret_bytes(LARGE[:-1]),
    "key, length": lambda: CryptoKey(secret()),
    "key, str": lambda: CryptoKey(ANY or secret().decode()),
    "key, cell": lambda: CryptoKey(CypherCell(secret())),
    "signing key, length": lambda: SigningKey.from_seed(secret()),
    "signing key, str": lambda: SigningKey.from_seed(ANY or secret().decode()),
    "sign, str": lambda: SigningKey.generate().sign(ANY or secret().decode()),
    "encrypt, dead key": lambda: encrypt_data(secret(), DEAD),
    "encrypt, no key": lambda: encrypt_data(secret(), ANY or 3),
    "encrypt, associated data": lambda: encrypt_data(secret(), CryptoKey.generate(), ANY or "text"),
    "decrypt, no key": lambda: decrypt_data(MESSAGE, ANY or secret()),
    "decrypt_secret, no key": lambda: decrypt_secret(MESSAGE, ANY or secret()),
    "decrypt_into, no key": lambda: decrypt_into(MESSAGE, ANY or secret(), bytearray(1)),
    "encrypt, raw key": lambda: encrypt_data(b"x", ANY or secret()),
    "encrypt_file, raw key": lambda: encrypt_file("/dev/null", io.BytesIO(), ANY or secret()),
    "decrypt_file, raw key": lambda: decrypt_file("/dev/null", io.BytesIO(), ANY or secret()),
    "EncryptedWriter, raw key": lambda: EncryptedWriter(io.BytesIO(), ANY or secret()),
    "EncryptedReader, raw key": lambda: EncryptedReader(io.BytesIO(bytes(72)), ANY or secret()),
    "wrap, raw key": lambda: CryptoKey.generate().wrap(ANY or secret()),
    "wrap, raw key, kwp": lambda: CryptoKey.generate().wrap(ANY or secret(), format="aes-kwp"),
    "unwrap, raw key": lambda: CryptoKey.unwrap(WRAPPED, ANY or secret()),
    "unwrap, raw key, kwp": lambda: CryptoKey.unwrap(bytes(40), ANY or secret(), format="aes-kwp"),
    "save, raw key": lambda: CryptoKey.generate().save("/nonexistent/key", wrapping_key=ANY or secret()),
    "load, raw key": lambda: CryptoKey.load("/nonexistent/key", wrapping_key=ANY or secret()),
    "erase, raw key": lambda: cryptographic_erase_key(ANY or secret()),
    "refuse_erased, raw key": lambda: refuse_erased(ANY or secret()),
    "create_secret, closed": lambda: CLOSED.create_secret(secret()),
    "create_secret, immutable": lambda: OPEN.create_secret(secret(), wipe_input=True),
    "create_secret, no room": lambda: OPEN.create_secret(LARGE[:-1]),
    "clear": lambda: secure_clear(secret()),
    "clear, str": lambda: secure_clear(ANY or secret().decode()),
    "compare": lambda: secure_compare(secret(), ANY or 3),
    "compare, turned": lambda: secure_compare(ANY or 3, secret()),
    "pattern": lambda: secure_delete("/nonexistent", pattern=TEXT),
}


# What is passed as an ordinary argument stays a variable of the frames that it went through.
IN_THE_WRONG_PLACE = {"cell, wrong place", "cell, wrong policy", "from_env, value for name", "pattern"}


def test_control() -> None:
    """The control: a frame that keeps its argument is found."""

    def keep(data: bytes) -> None:
        raise ValueError(len(data))

    with pytest.raises(ValueError, match="22") as caught:
        keep(secret())
    assert found_in(caught.value.__traceback__, __name__)


def shows(value: object) -> bool:
    """Whether this is the secret, or has it in it."""
    if isinstance(value, str):
        return TEXT in value
    return isinstance(value, (bytes, bytearray, memoryview)) and TEXT.encode() in bytes(value)


def found_in(trace: types.TracebackType | None, package: str) -> list[str]:
    """The variables of a package's frames that show the secret, themselves or in a tuple or dict."""
    found = []
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(package):
            for name, value in trace.tb_frame.f_locals.items():
                values = (
                    [value] if not isinstance(value, (tuple, dict)) else [*value, *getattr(value, "values", tuple)()]
                )
                if any(shows(each) for each in values):
                    found.append(f"{trace.tb_frame.f_code.co_name}.{name}")
        trace = trace.tb_next
    return found


@pytest.mark.parametrize("call", CALLS)
def test_frames_and_message(call: str) -> None:
    """The error says what is wrong and nothing of the secret."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any, with any message.
        CALLS[call]()
    assert TEXT not in str(caught.value)
    if call not in IN_THE_WRONG_PLACE:
        assert found_in(caught.value.__traceback__, "zeroizepy") == []


ENDED = SecretBox(bytes(32)), Aead(bytes(32)), NaclSigningKey(bytes(32))
for _key in ENDED:
    _key.wipe()

NACL_CALLS: dict[str, Callable[[], object]] = {
    "box, ended": lambda: ENDED[0].encrypt(secret()),
    "box, ended, text form": lambda: ENDED[0].encrypt(secret(), encoder=encoding.HexEncoder),
    "box, nonce": lambda: ENDED[0].encrypt(secret(), nonce=b"short"),
    "box, str": lambda: ENDED[0].encrypt(ANY or secret().decode()),
    "aead, ended": lambda: ENDED[1].encrypt(secret()),
    "aead, associated data": lambda: ENDED[1].encrypt(secret(), ANY or "text"),
    "signing key, ended": lambda: ENDED[2].sign(secret()),
    "signing key, text form": lambda: NaclSigningKey(bytes(32)).sign(secret(), ANY or object),
    "random bytes, text form": lambda: utils.randombytes_deterministic(8, (secret() * 2)[:32], ANY or object),
}
FORMS = ("Hex", "Base16", "Base32", "Base64", "URLSafeBase64")
MAKERS: dict[str, Callable[..., object]] = {
    "SecretBox": SecretBox,
    "PrivateKey": PrivateKey,
    "from_seed": PrivateKey.from_seed,
    "SigningKey": NaclSigningKey,
    "Box.decode": Box.decode,
}


def found_anywhere(error: BaseException | None) -> list[str]:
    """The variables that show the secret in frames of the library and of base64, also of the errors before this one."""
    found = []
    while error is not None:
        found += found_in(error.__traceback__, "zeroizepy") + found_in(error.__traceback__, "base64")
        found += [] if TEXT not in repr(error) else [type(error).__name__]
        error = error.__context__
    return found


@pytest.mark.parametrize("call", NACL_CALLS)
def test_frames_under_pynacl_s_names(call: str) -> None:
    """The same for messages and seeds of zeroizepy.nacl."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any, with any message.
        NACL_CALLS[call]()
    assert found_anywhere(caught.value) == []


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("form", FORMS)
def test_frames_of_malformed_text(maker: str, form: str) -> None:
    """A key's text that does not decode is in no frame, be it bytes, a str, or in memory; nor is one too long."""
    encoder = getattr(encoding, f"{form}Encoder")
    texts: tuple[Callable[[], object], ...] = (
        lambda: secret() + b"+",
        lambda: secret().decode() + "\xe9",
        lambda: SecureMemory.from_bytes(secret() + b"+"),
        lambda: encoder.encode(secret()),
    )
    for text in texts:
        with pytest.raises((TypeError, ValueError)) as caught:
            MAKERS[maker](text(), encoder)
        assert found_anywhere(caught.value) == []


def test_errors_of_a_script_get_out(child: Child) -> None:
    """An exception raised by a program that is no module of a package reaches it as it is."""
    body = """
    import zeroizepy
    class Own:
        def borrow(self):
            raise RuntimeError("the program's own")
    assert __package__ is None
    for take in (zeroizepy.SecureMemory.from_bytes, zeroizepy.CypherCell, zeroizepy.CryptoKey):
        try:
            take(Own())
        except RuntimeError as error:
            print(error)
    """
    assert child.check(body) == "the program's own\n" * 3
