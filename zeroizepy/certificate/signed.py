"""Signed JSON: canonical text (RFC 8785) with an Ed25519 signature over everything else in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from zeroizepy.exceptions import CertificateError, SignatureError
from zeroizepy.json_form import JsonForm, from_plain, load_json
from zeroizepy.signing import PUBLIC_BYTES, SigningKey, verify_signature_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Buffer

__all__ = ["SignedForm", "check_signing_key", "read_signed", "signed"]

_Kind = TypeVar("_Kind", bound="SignedForm")


class SignedForm(JsonForm):
    """Base of the dataclasses that are signed; they have the fields `public_key` and `signature`, in hex."""

    __slots__ = ()

    domain: ClassVar[bytes]
    """Stands before what is signed, so that no other signature of the same key can be taken for this one's."""
    name: ClassVar[str]
    """What errors call it, with an article."""

    public_key: str
    signature: str

    def to_json(self) -> str:
        """The text in canonical form (RFC 8785): what is verified, and nothing else is."""
        return _canonical(self.to_dict()).decode()


def _canonical(value: Mapping[str, Any]) -> bytes:
    try:
        import rfc8785
    except ImportError as error:
        remedy = "pip install 'zeroizepy[certify]'"
        raise CertificateError(f"certificates need the package rfc8785 (canonical JSON); {remedy}") from error
    try:
        return rfc8785.dumps(dict(value))
    except rfc8785.CanonicalizationError as error:
        raise CertificateError(f"this has no canonical JSON form: {error}") from error


def _message(domain: bytes, members: Mapping[str, Any]) -> bytes:
    return domain + _canonical({name: value for name, value in members.items() if name != "signature"})


def check_signing_key(key: object) -> None:
    """Refuse what is no signing key.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(key, SigningKey):
        raise TypeError(f"key must be a SigningKey, not {type(key).__name__}")


def signed(kind: type[_Kind], values: dict[str, Any], key: SigningKey) -> _Kind:
    """A signed value.

    Args:
        kind: A dataclass.
        values: Its fields, without `public_key` and `signature`.
        key: Signs.

    Raises:
        CertificateError: It has text that is no Unicode, or rfc8785 is missing.
        SecureMemoryClosed: The key is closed.
    """
    make: Callable[..., _Kind] = kind
    values = {**values, "public_key": key.public_key.hex()}
    unsigned = make(**values, signature="")
    return make(**values, signature=key.sign(_message(kind.domain, unsigned.to_dict())).hex())


def read_signed(kind: type[_Kind], text: str, public_key: Buffer) -> _Kind:
    """Read a signed value and check its form and signature.

    Args:
        kind: A dataclass.
        text: What `to_json()` gave; one line end may follow.
        public_key: 32 bytes, from a source that is trusted. The one in the text proves nothing.

    Raises:
        CertificateError: Not one of this version, not in canonical form, another key's, or not signed by it.
        TypeError, ValueError: `public_key` is not 32 bytes.
    """
    trusted = bytes(memoryview(public_key))
    if len(trusted) != PUBLIC_BYTES:
        raise ValueError(f"public_key must be {PUBLIC_BYTES} bytes, not {len(trusted)}")
    body = text.removesuffix("\n")
    try:
        found = load_json(body)
        value = from_plain(kind, found, kind.name.split()[-1])
    except ValueError as error:
        fault, _, remedy = str(error).partition("; ")
        raise CertificateError(f"not {kind.name}: {fault}; {remedy or 'take the file as it was written'}") from None
    if found.get("schema") != kind.schema or value.to_json() != body:
        raise CertificateError("not in the canonical form that is signed (RFC 8785); take the file as it was written")
    if value.public_key != trusted.hex():
        raise CertificateError(
            f"signed with another key: {value.public_key[:64]}, not {trusted.hex()}; ask its signer which is right"
        )
    try:
        verify_signature_text(trusted, _message(kind.domain, found), value.signature)
    except SignatureError:
        raise CertificateError(
            f"the signature is not valid: the {kind.name[2:]} was changed, or not signed; do not trust it"
        ) from None
    return value
