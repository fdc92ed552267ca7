"""Destroying a key for good, and the receipt of it: what this process knows, and nothing beyond."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from zeroizepy import _lib
from zeroizepy._lib import lib
from zeroizepy.shred.report import ShredReport, now_text
from zeroizepy.slots import PEEK, open_lease

from .census import MORE, census_of, forks_since, is_live, is_strong, note_erased, others_of, was_erased
from .receipt import Condition, CopyState, ErasureReceipt, KeyCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zeroizepy.values import KeyProtection

    from .base import HeldKey
    from .census import Census, Event
    from .receipt import Answer, Found

__all__ = ["erase", "receipt_of_file"]

_ALWAYS = Condition(
    "always_encrypted", "unknown", "whether the data was ever stored or sent unencrypted cannot be seen from here"
)
_SOURCES: dict[str, tuple[CopyState, str]] = {
    "bytes": ("may_remain", "made from a bytes object of the caller, which cannot be wiped"),
    "buffer": ("may_remain", "made from a buffer of the caller, which kept its content"),
    "buffer_wiped": ("unknown", "made from a buffer that was zeroed; whether others have its content cannot be seen"),
}
_FORKS: dict[str, tuple[CopyState, str]] = {
    "absent": ("no_copy", "the pages of the key were not in the forked children"),
    "wiped": ("no_copy", "the forked children found zeros in the place of the key"),
    "inherited": ("may_remain", "processes on the other side of these forks have the key in pages of their own"),
}
_INHERITED: tuple[CopyState, str] = "may_remain", "the key was gone before; those forked while it lived have their own"
_UNSEEN: tuple[CopyState, str] = "unknown", "the key was gone before; what forked children got is not known"
_OVERWRITTEN = "a key file that was overwritten, which was verified; copies of the file cannot be seen"
_OPENSSL = (
    "OpenSSL held the key on the ordinary heap for the length of each use; it zeroes what it frees, which was not "
    "looked at"
)


_UNKNOWN_STRENGTH = {
    "password": "the key is as hard to guess as its password",
    "derived": "it is derived from a key of which it is not known how that was drawn",
}


def _uses_openssl(key: HeldKey) -> bool:
    """Whether OpenSSL encrypts with it, on the ordinary heap."""
    return not key._algorithm.core


class _Witness:
    """Holds a live key's slot, so that its bytes can be looked at once they should be zeros."""

    def __init__(self, key: HeldKey) -> None:
        self._status, lease, self._address = open_lease(key._handle, PEEK)
        self.size = int(lease.length) if self._status == lib.ZPY_OK else 0

    def sees_zeros(self) -> bool:
        """Whether all bytes of the slot, the expanded key included, are zeros by now."""
        return self.size > 0 and bool(lib.zpy_cell_memequal(self._address, bytes(self.size), self.size))


def erase(key: HeldKey, reports: Iterable[ShredReport]) -> ErasureReceipt:
    """Destroy a key, whatever else fails; `cryptographic_erase_key` tells more.

    Args:
        key: Live or not.
        reports: Of key files that were shredded.
    """
    witness = protection = None
    try:
        census = census_of(key)
        state = lib.zpy_cell_state(key._handle)
        if state == lib.ZPY_OK:
            witness, protection = _Witness(key), key.protection
            _ = key.key_id  # The census keeps it.
        removed = _by_path(reports)
    finally:
        status = key._drop()
        for file_key in () if key._census is None else key._census.open_file_keys():
            file_key._drop()
    if status != lib.ZPY_OK:
        _lib.raise_status(status)
    found = _found(state, census)
    states = tuple(_copies(key, census, found, protection, removed))
    copies = tuple(copy for copy, _ in states)
    receipt = ErasureReceipt(
        key_id=census.name,
        algorithm=key.algorithm,
        time=now_text(),
        found=found,
        erased_before=census.erased,
        origin="buffer" if key._origin == "buffer_wiped" else key._origin,
        messages_encrypted=key.messages,
        messages_decrypted=key.messages_decrypted,
        messages_refused=key.messages_refused,
        files_encrypted=census.count("file_key"),
        files_opened=census.count("opened_file"),
        keys_wrapped=census.count("keys_wrapped"),
        keys_unwrapped=census.count("keys_unwrapped"),
        protection=protection,
        copies=copies,
        conditions=(
            _ALWAYS,
            _strength(key),
            _sanitized(key, found, protection, states),
            _vetted(key),
            _verified(key, found, witness),
        ),
    )
    if found == "live":
        census.erased = receipt.time
    if census.name is not None and found not in ("in_parent", "erased"):
        note_erased(census.name, is_last=receipt.condition("copies_sanitized").verdict == "met")
    return receipt


def _by_path(reports: Iterable[ShredReport]) -> _Removed:
    """Which files were overwritten, and that verified, by their paths."""
    found: _Removed = {}
    for report in reports:
        if not isinstance(report, ShredReport):
            raise TypeError(f"copies_removed must be ShredReports, not {type(report).__name__}")
        if _is_gone(report):
            found.setdefault(os.path.abspath(report.path), set()).add(report.file_id)
    return found


def _is_gone(report: ShredReport) -> bool:
    return (
        report.verdict == "overwritten_verified"
        and report.verified
        and not (report.dry_run or report.error or report.skipped_bytes or report.reasons)
    )


def _found(state: int, census: Census) -> Found:
    if state == lib.ZPY_OK:
        return "live"
    if state == lib.ZPY_FORKED:
        return "in_parent"
    if census.erased is not None:
        return "erased"
    return "expired" if state == lib.ZPY_EXPIRED else "destroyed"


# ---- copies ----


def _copies(
    key: HeldKey, census: Census, found: Found, protection: KeyProtection | None, removed: _Removed
) -> Iterator[tuple[KeyCopy, _State]]:
    """What came in and went out, each with its state as `_KINDS` has it."""

    def told(kind: Any, count: int, detail: str, state: _State, explanation: str) -> tuple[KeyCopy, _State]:
        return KeyCopy(kind, count, detail, "gone" if state == "overwritten" else state, explanation), state

    if key._origin in _SOURCES:
        yield told("source", 1, "", *_SOURCES[key._origin])
    for kind, detail, event in census.events():
        if kind not in _USES:
            yield told(kind, event.count, detail, *_KINDS[kind](key, detail, event, removed))
    if _uses_openssl(key):
        uses = key.messages + key.messages_decrypted + key.messages_refused
        yield told("openssl", uses, "", "unknown", _OPENSSL)
    if found != "in_parent" and (forks := forks_since(key._forks)):
        gone = _INHERITED if key._options & lib.ZPY_INHERIT else _UNSEEN
        yield told("fork", forks, "", *(_FORKS[protection.fork] if protection is not None else gone))
    if others := others_of(key):
        yield told("same_key", others, "", "may_remain", "other objects of this process hold the same key")


_State = Literal["overwritten"] | CopyState
"""That of a copy; or `overwritten`, for a file that is gone and may have been copied before, which no process sees."""
_Told = tuple[_State, str]
_Removed = dict[str, set[str | None]]


def _given(key: HeldKey, _detail: str, _event: Event, _removed: object) -> _Told:  # noqa: ARG001 - one shape for all.
    return "may_remain", "given out as bytes, which cannot be wiped; what became of them cannot be seen"


def _borrowed(key: HeldKey, _detail: str, _event: Event, _removed: object) -> _Told:  # noqa: ARG001
    return "unknown", "lent as a view, which reads zeros by now; whether the borrower copied it cannot be seen"


def _from_holder(key: HeldKey, _detail: str, event: Event, _removed: object) -> _Told:  # noqa: ARG001
    if is_live(event.extra and event.extra()):
        return "may_remain", "made from another secret of this process, which is still there"
    return "unknown", "made from another secret, which is gone from this process or cannot be seen"


def _from_password(key: HeldKey, _detail: str, _event: Event, _removed: object) -> _Told:  # noqa: ARG001
    return "may_remain", "made from a password: whoever knows that and the salt can make the key again"


def _from_parent(key: HeldKey, detail: str, event: Event, _removed: object) -> _Told:  # noqa: ARG001
    if is_live(event.extra[0]()):
        return "may_remain", "derived from a key that is still there and can make it again"
    if was_erased(detail):
        return "gone", "derived from a key that was erased, of which no copy was left"
    return "unknown", "derived from a key that is gone from this process; copies of that one can make it again"


def _derived(key: HeldKey, _detail: str, event: Event, _removed: object) -> _Told:  # noqa: ARG001
    place = "still in this process" if is_live(event.extra()) else "gone from this process"
    return "no_copy", f"another key, {place}, which cannot open what this one encrypted; erase it for what it encrypted"


def _wrapped(key: HeldKey, detail: str, _event: Event, _removed: object) -> _Told:  # noqa: ARG001
    if detail != MORE and was_erased(detail):
        return "gone", "encrypted under a key that was erased, of which no copy was left"
    return "may_remain", "encrypted under another key: whoever has that and the wrapped key has this one"


def _in_file(key: HeldKey, detail: str, _event: Event, removed: _Removed) -> _Told:
    census = census_of(key)
    files = census.files.get(detail, [])
    written = sum(each.count for kind, name, each in census.events() if name == detail and kind in _IN_FILES)
    if detail == MORE or len(files) < written:
        return "may_remain", "more key files than are kept apart"
    left = [each for each in files if not (each.wrapping and was_erased(each.wrapping))]
    if not left:
        return "gone", "a key file under a key that was erased, of which no copy was left"
    overwritten = removed.get(detail)
    if not overwritten:
        return "may_remain", "a key file; no report says that it was overwritten and verified"
    if os.path.lexists(detail):  # It may be a copy.
        return "may_remain", "a key file; something stands under its name now"
    if all(each.identity is not None and each.identity in overwritten for each in left):
        return "overwritten", _OVERWRITTEN
    return "may_remain", "a key file that was replaced, changed or written again; not all of these were overwritten"


def _of_file(key: HeldKey, _detail: str, _event: Event, _removed: object) -> _Told:
    if census_of(key).file_process != os.getpid():
        return "unknown", "keys of single files; of files that were open before a fork, the parent process has its own"
    if _uses_openssl(key):
        return "unknown", "keys of single files, wiped by now; OpenSSL had them on the ordinary heap"
    return "gone", "keys of single files, in locked slots, wiped by now"


def _kwp(key: HeldKey, _detail: str, _event: Event, _removed: object) -> _Told:  # noqa: ARG001
    return (
        "unknown",
        "used for AES-KWP with OpenSSL, in ordinary memory; that was zeroed, and not looked at afterwards",
    )


_USES = ("keys_wrapped", "keys_unwrapped")
"""Events that leave no copy of the key."""
_IN_FILES = ("key_file", "save")
_KINDS: dict[str, Callable[[HeldKey, str, Event, Any], _Told]] = {
    "source": _from_holder,
    "password": _from_password,
    "parent_key": _from_parent,
    "wrapped_source": _wrapped,
    "key_file": _in_file,
    "get_bytes": _given,
    "borrow": _borrowed,
    "save": _in_file,
    "wrap": _wrapped,
    "derive": _derived,
    "kwp": _kwp,
    "file_key": _of_file,
    "opened_file": _of_file,
}


# ---- conditions ----


def _strength(key: HeldKey) -> Condition:
    bits = 8 * key._size
    if not is_strong(key):
        return Condition("strength", "unknown", _UNKNOWN_STRENGTH.get(key._origin, "the key came from outside"))
    how = "drawn" if key._origin == "generated" else "derived with HKDF-SHA256 from a key that was drawn"
    return Condition("strength", "met", f"{bits} bits, {how} from the kernel's generator by libsodium")


def _sanitized(
    key: HeldKey, found: Found, protection: KeyProtection | None, states: tuple[tuple[KeyCopy, _State], ...]
) -> Condition:
    left = [_short(copy) for copy, state in states if state == "may_remain"]
    unknown = [_short(copy) for copy, state in states if state in ("unknown", "overwritten")]
    answer: Answer = "unknown"
    if found == "in_parent":
        answer, text = "not_met", "the key is the parent process's; what that did with it cannot be seen from here"
    elif left:
        answer, text = "not_met", f"may remain: {', '.join(left)}"
    elif unknown:
        text = f"cannot be seen: {', '.join(unknown)}"
    elif key._origin not in ("generated", "derived"):
        text = "the key came from outside, where others may have it"
    elif protection is None:
        text = "the key was gone before; whether its memory was locked is no longer known"
    elif not protection.locked:
        text = "its memory was not locked and may have been swapped to disk"
    else:
        answer = "met"
        text = "it was made here and this process saw no copy leave it; what reads its memory from outside is not seen"
    return Condition("copies_sanitized", answer, text)


def _short(copy: KeyCopy) -> str:
    detail = f" {copy.detail}" if copy.detail else ""
    return f"{copy.kind}{detail}" + (f" ({copy.count} times)" if copy.count > 1 else "")


def _vetted(key: HeldKey) -> Condition:
    name = "vetted_implementation"
    if not _uses_openssl(key):
        version = _lib.ffi.string(lib.zpy_sodium_version()).decode()
        return Condition(
            name, "not_met", f"libsodium {version}, which is no cryptographic module validated by FIPS 140"
        )
    text = "OpenSSL through the package cryptography; whether that build is a module validated by FIPS 140 is not known"
    return Condition(name, "unknown", text)


def _verified(key: HeldKey, found: Found, witness: _Witness | None) -> Condition:
    name = "destruction_verified"
    if witness is not None and witness.size:
        if witness.sees_zeros():
            what = "the key" if witness.size == key._size else "key and schedule"
            return Condition(name, "met", f"the {witness.size} bytes of its slot, {what}, were read back as zeros")
        return Condition(name, "not_met", "the bytes were read back, and are not zeros")
    if found == "in_parent":
        return Condition(name, "not_met", "the key is the parent process's; this one never had it")
    if found == "live":
        return Condition(name, "unknown", "the core says that it zeroed the key; it could not be read back")
    return Condition(name, "unknown", "the key was gone before; its memory could not be read back any more")


# ---- files ----


def receipt_of_file(report: ShredReport, algorithm: str, key_id: str | None, identity: str | None) -> ErasureReceipt:
    """The receipt of a key that was not loaded, of which a key file was shredded.

    Args:
        report: Of the file.
        algorithm: As the file says.
        key_id: Of the key, if it is known.
        identity: Of the key file, when it was looked at: its `identity_of`; None where that is not known.
    """
    is_overwritten = _is_gone(report)
    is_gone = is_overwritten and identity is not None and report.file_id == identity
    if is_gone:
        explanation = _OVERWRITTEN
    elif is_overwritten:
        explanation = "a key file that another one replaced, or that was changed, before that was overwritten"
    else:
        explanation = f"a key file; shredding it gave the verdict {report.verdict}, so its bytes may remain"
    copy = KeyCopy("key_file", 1, report.path, "gone" if is_gone else "may_remain", explanation)
    from_elsewhere = "the key was not loaded; what became of it elsewhere cannot be seen"
    return ErasureReceipt(
        key_id=key_id,
        algorithm=algorithm,
        time=report.finished,
        found="not_loaded",
        erased_before=None,
        origin="unknown",
        messages_encrypted=0,
        messages_decrypted=0,
        messages_refused=0,
        files_encrypted=0,
        files_opened=0,
        keys_wrapped=0,
        keys_unwrapped=0,
        protection=None,
        copies=(copy,),
        conditions=(
            _ALWAYS,
            Condition("strength", "unknown", "a key file does not say how its key was drawn"),
            Condition(
                "copies_sanitized", "unknown" if is_gone else "not_met", from_elsewhere if is_gone else explanation
            ),
            Condition("vetted_implementation", "unknown", "what encrypted with this key is not known here"),
            Condition(
                "destruction_verified",
                "met" if is_gone else "not_met",
                "the file was overwritten and read back" if is_gone else explanation,
            ),
        ),
    )
