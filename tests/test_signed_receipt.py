"""Signed receipts: whole and whose they are, or refused; and receipts in an audit log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from support.played import report_of

from zeroizepy.audit import AuditLog
from zeroizepy.certificate import SignedReceipt, certify, sign_receipt, verify_certificate, verify_receipt
from zeroizepy.crypto import CryptoKey, ErasureReceipt, cryptographic_erase_key
from zeroizepy.exceptions import AuditError, CertificateError, SecureMemoryClosed
from zeroizepy.json_form import from_plain
from zeroizepy.signing import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))


@pytest.fixture
def receipt() -> ErasureReceipt:
    """Of a key that was given out once."""
    key = CryptoKey.generate()
    key.get_bytes()
    return cryptographic_erase_key(key)


@pytest.mark.filterwarnings("ignore:old bytes")
def test_round_trip(receipt: ErasureReceipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was signed is read back, with the reports beside it; the text is in canonical form."""
    report = report_of("not_in_place", tmp_path, monkeypatch)
    with SigningKey.from_seed(KEY) as key:
        made = sign_receipt(receipt, key, reports=[report])
        public_key = key.public_key
    text = made.to_json()
    assert text.encode() == rfc8785.dumps(json.loads(text))
    found = verify_receipt(text + "\n", public_key)
    assert found == made
    assert (found.receipt, found.reports) == (receipt, (report,))


def test_every_changed_character(receipt: ErasureReceipt) -> None:
    """Whatever is changed, taken out or put in, it is refused."""
    with SigningKey.from_seed(KEY) as key:
        text, public_key = sign_receipt(receipt, key).to_json(), key.public_key
    verify_receipt(text, public_key)
    for at in range(0, len(text), 3):
        for other in (text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :], text[:at] + text[at + 1 :], text[:at]):
            with pytest.raises(CertificateError):
                verify_receipt(other, public_key)


def test_what_it_is_not(receipt: ErasureReceipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key's, an unsigned receipt, a certificate, and another statement under a valid signature."""
    report = report_of("overwritten_verified", tmp_path, monkeypatch)
    with SigningKey.from_seed(KEY) as key, SigningKey.generate() as other:
        made, public_key = sign_receipt(receipt, key), key.public_key
        with pytest.raises(CertificateError, match="signed with another key"):
            verify_receipt(made.to_json(), other.public_key)
        with pytest.raises(CertificateError, match="not a signed receipt"):
            verify_receipt(receipt.to_json(), public_key)
        certificate = certify([report], key, operator="Ada Lovelace")
        with pytest.raises(CertificateError, match="not a signed receipt"):
            verify_receipt(certificate.to_json(), public_key)
        with pytest.raises(CertificateError, match="not a certificate"):
            verify_certificate(made.to_json(), public_key)
        members: dict[str, Any] = {**made.to_dict(), "statement": "It is all gone."}
        members.pop("signature")
        signature = key.sign(SignedReceipt.domain + rfc8785.dumps(members)).hex()
        forged = from_plain(SignedReceipt, {**members, "signature": signature}, "")
        with pytest.raises(CertificateError, match="says something else under statement"):
            verify_receipt(forged.to_json(), public_key)
    with pytest.raises(ValueError, match="public_key must be 32 bytes, not 31"):
        verify_receipt(made.to_json(), bytes(31))


def test_refusals(receipt: ErasureReceipt) -> None:
    """What is no receipt, report or key; a closed key."""
    key: Any = SigningKey.generate()
    for arguments in (("receipt", key), (receipt, KEY)):
        with pytest.raises(TypeError):
            sign_receipt(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be of ShredReport, not of ErasureReceipt"):
        sign_receipt(receipt, key, reports=[receipt])  # type: ignore[list-item]
    key.close()
    with pytest.raises(SecureMemoryClosed):
        sign_receipt(receipt, key)


def test_in_an_audit_log(receipt: ErasureReceipt, tmp_path: Path) -> None:
    """A receipt is an entry, whole, and so is a signed one; a changed one is noticed."""
    log = AuditLog(tmp_path / "log")
    with SigningKey.generate() as key:
        entries = [log.append(receipt), log.append(sign_receipt(receipt, key))]
    assert from_plain(ErasureReceipt, entries[0].body, "receipt") == receipt
    assert log.verify().entries == 3
    text = (tmp_path / "log").read_text()
    assert '"state":"may_remain"' in text
    (tmp_path / "log").write_text(text.replace('"state":"may_remain"', '"state":"gone"', 1))
    with pytest.raises(AuditError, match="line 2"):
        log.verify()
