"""What a receipt of an erased key says: values, and the words for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zeroizepy.json_form import JsonForm
from zeroizepy.values import KeyProtection  # noqa: TC001 - from_plain looks the hint up.

__all__ = ["Answer", "Condition", "CopyKind", "CopyState", "ErasureReceipt", "Found", "KeyCopy", "Origin"]

Answer = Literal["met", "not_met", "unknown"]
Found = Literal["live", "destroyed", "expired", "erased", "in_parent", "not_loaded"]
Origin = Literal["generated", "bytes", "buffer", "holder", "password", "derived", "unwrapped", "loaded", "unknown"]
CopyState = Literal["gone", "may_remain", "unknown", "no_copy"]
CopyKind = Literal[
    "source", "password", "parent_key", "wrapped_source", "key_file", "get_bytes", "borrow", "save", "wrap", "derive",
    "kwp", "openssl", "file_key", "opened_file", "fork", "same_key",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyCopy:
    """One way in which this process saw key material come in or go out.

    Attributes:
        kind: How. `source`, `password`, `parent_key`, `wrapped_source` and `key_file` are what the key was made from;
            `get_bytes`, `borrow`, `save` and `wrap` what was given out; `derive` is another key made from it,
            `file_key` and `opened_file` are those made for single files; `openssl` is its use by OpenSSL on the
            ordinary heap, `kwp` that for AES-KWP; `fork` a forked child, or the parent and the
            children before this one; `same_key` another object of this
            process with the same key.
        count: How often.
        detail: Which one: a path, the `key_id` of another key; `(more)` where there were too many to keep apart.
        state: `gone`: known to be destroyed. `may_remain`: nothing shows that it is not there. `unknown`: whether
            there ever was a copy cannot be seen from here. `no_copy`: it cannot open what this key encrypted.
        explanation: Why, in words.
    """

    kind: CopyKind
    count: int
    detail: str
    state: CopyState
    explanation: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition that NIST SP 800-88 Rev. 2 sets for cryptographic erase.

    Attributes:
        name: `always_encrypted`, `strength`, `copies_sanitized`, `vetted_implementation` or `destruction_verified`.
        verdict: `met` or `not_met` where this process knows; else `unknown`.
        reason: Why, in words.
    """

    name: str
    verdict: Answer
    reason: str


@dataclass(frozen=True, slots=True)
class ErasureReceipt(JsonForm):
    """What became of one key, and what this process saw of it. It claims nothing beyond that.

    Uses are those of this object, in this process: 0 for a key that was not loaded, whatever others did with it.

    Attributes:
        key_id: The key's name, a commitment to it; None where the key was gone before anybody asked for it.
        algorithm: What it encrypted with.
        time: When it was destroyed, or when the receipt was made of a key that was gone before: UTC, by this machine's
            clock, as in 2026-01-31T23:59:59Z.
        found: What was found: a `live` key; one that was `destroyed` or `expired` before; one that was `erased` before,
            by a call that gave a receipt, too; one that is `in_parent`, which this forked child never had; or a key
            file that was `not_loaded`.
        erased_before: When that call was.
        origin: Where the key came from; `unknown` for a file that was not loaded.
        messages_encrypted: Each took a nonce, also where the key was destroyed before the message was given out.
        messages_decrypted: Those that were given out.
        messages_refused: Ciphertexts that it was tried on, and that did not open: forged, damaged, or of another key.
        files_encrypted: Encrypted files that were begun with it.
        files_opened: Encrypted files that it was tried on, to read them.
        keys_wrapped: Keys that it encrypted, for `wrap` and `save`. Keys derived from it stand in `copies`.
        keys_unwrapped: Keys that it decrypted, for `unwrap` and `load`; what did not open is not counted.
        protection: What the system calls had granted the live key; None for one that was gone.
        copies: The census, in the order in which each kind was first seen.
        conditions: Those of SP 800-88, one by one.
    """

    schema: ClassVar[str] = "zeroizepy/erasure-receipt/1"

    key_id: str | None
    algorithm: str
    time: str
    found: Found
    erased_before: str | None
    origin: Origin
    messages_encrypted: int
    messages_decrypted: int
    messages_refused: int
    files_encrypted: int
    files_opened: int
    keys_wrapped: int
    keys_unwrapped: int
    protection: KeyProtection | None
    copies: tuple[KeyCopy, ...]
    conditions: tuple[Condition, ...]

    def condition(self, name: str) -> Condition:
        """The condition of this name.

        Raises:
            KeyError: There is none.
        """
        for each in self.conditions:
            if each.name == name:
                return each
        raise KeyError(name)

    def uses(self) -> str:
        """What was done with the key, in words."""
        if self.found == "not_loaded":
            return "not known: the key was not loaded"
        return (
            f"messages: {self.messages_encrypted} encrypted, {self.messages_decrypted} decrypted, "
            f"{self.messages_refused} refused; files: {self.files_encrypted} encrypted, {self.files_opened} opened; "
            f"keys: {self.keys_wrapped} wrapped, {self.keys_unwrapped} unwrapped"
        )

    def __str__(self) -> str:
        verdicts = ", ".join(f"{each.name} {each.verdict}" for each in self.conditions)
        known = f"key {self.key_id}" if self.key_id else "a key without a known name"
        was = "erased" if self.found in ("live", "not_loaded") else f"was gone before ({self.found})"
        remaining = sum(copy.state in ("may_remain", "unknown") for copy in self.copies)
        return f"{known} ({self.algorithm}): {was}; copies that may remain: {remaining}; {verdicts}"
