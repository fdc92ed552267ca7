"""Receipts of erased keys, signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from zeroizepy.crypto import ErasureReceipt
from zeroizepy.exceptions import CertificateError
from zeroizepy.file import ShredReport

from .signed import SignedForm, check_signing_key, read_signed, signed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from zeroizepy.signing import SigningKey

__all__ = ["SignedReceipt", "sign_receipt", "verify_receipt"]

_STATEMENT = (
    "The signer had this receipt. It tells what one process saw of one key and of its copies, and nothing of what "
    "others did. A program that makes receipts up could sign those, too: trust in it is trust in the key's holder."
)


@dataclass(frozen=True, slots=True)
class SignedReceipt(SignedForm):
    """A receipt with the signature of whoever vouches for it.

    Attributes:
        receipt: Of the erased key.
        reports: Of key files that were shredded.
        statement: What the signature means.
        public_key: The signer's, in hex; a reader compares it with one that is known from elsewhere.
        signature: Over everything else, in hex.
    """

    schema: ClassVar[str] = "zeroizepy/signed-receipt/1"
    domain: ClassVar[bytes] = b"zeroizepy erasure receipt 1\n"
    name: ClassVar[str] = "a signed receipt"

    receipt: ErasureReceipt
    reports: tuple[ShredReport, ...]
    statement: str
    public_key: str
    signature: str


def sign_receipt(receipt: ErasureReceipt, key: SigningKey, *, reports: Iterable[ShredReport] = ()) -> SignedReceipt:
    """Sign what is known of an erased key.

    Args:
        receipt: What `cryptographic_erase_key` returned.
        key: Signs. Anyone who has it can sign anything.
        reports: Those of `copies_removed`, to stand beside it.

    Returns:
        The signed receipt; `to_json()` writes it out.

    Raises:
        TypeError: Another kind of argument.
        CertificateError: A path that is no Unicode, or rfc8785 is missing.
        SecureMemoryClosed: The key is closed.

    Source: RFC 8785; RFC 8032.
    """
    check_signing_key(key)
    held = tuple(reports)
    for each, kind in ((receipt, ErasureReceipt), *((report, ShredReport) for report in held)):
        if not isinstance(each, kind):
            raise TypeError(f"this must be of {kind.__name__}, not of {type(each).__name__}")
    return signed(SignedReceipt, {"receipt": receipt, "reports": held, "statement": _STATEMENT}, key)


def verify_receipt(text: str, public_key: Buffer) -> SignedReceipt:
    """Read a signed receipt and check that it is whole and whose it is.

    Args:
        text: What `to_json()` gave; one line end may follow.
        public_key: 32 bytes, from a source that you trust. The one in the receipt proves nothing.

    Raises:
        CertificateError: Not a signed receipt of this version, not in canonical form, another key's, or not signed by
            it. The message says which.
        TypeError, ValueError: `public_key` is not 32 bytes.
    """
    found = read_signed(SignedReceipt, text, public_key)
    if found.statement != _STATEMENT:
        raise CertificateError("says something else under statement than receipts of this version do")
    return found
