"""`key info`, `key wrap`, `key unwrap`; `key erase`, which gives a receipt, and `key check` of one."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from zeroizepy.audit import AuditLog
from zeroizepy.certificate import sign_receipt, verify_receipt
from zeroizepy.crypto import CryptoKey, ErasureReceipt
from zeroizepy.durable import new_private_file
from zeroizepy.erasure import KeyFileErasure, erase_key_file, key_file_info

from . import errors
from .certifying import load_signing_key, parse_public_key, read_text
from .console import Output
from .errors import Failure, printable
from .files import check_free, check_path, open_regular, write_all
from .key_openers import failing, opener, opener_options, read_key
from .overwriting import json_option, show_remarks, verdict_style

if TYPE_CHECKING:
    from zeroizepy.json_form import JsonForm
    from zeroizepy.signing import SigningKey

__all__ = ["check_command", "erase_command", "info_command", "unwrap_command", "wrap_command"]

_MAY_REMAIN = 3
_MOST_WRAPPED_BYTES = 4096
_KWP_BYTES = (24, 32, 40)
_format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["committing", "aes-kwp"]),
    default="committing",
    show_default=True,
    help="A key file of zeroizepy, which no other key opens; or RFC 5649, for HSMs and other programs.",
)


@click.command("info")
@click.argument("file", metavar="FILE")
@opener_options
@json_option
def info_command(
    file: str, key_file: str | None, key_fd: int | None, password_fd: int | None, *, ask: bool, as_json: bool
) -> int:
    """Tell what key file FILE is: algorithm, what opens it, and its name if it can be opened.

    The name (key id) is a commitment to the key and no secret. It takes a raw key file, or what opens a wrapped one;
    without that, nothing that is shown was authenticated.

    A raw file holds the bytes alone. They are taken as an AES key, and the name is that key's: whether they are a
    signing key (keygen --signing) or one for another algorithm (key unwrap) cannot be seen.
    """
    check_path(file)
    with failing(file):
        info = key_file_info(file)
    wants_open = ask or (key_file, key_fd, password_fd) != (None, None, None)
    with ExitStack() as stack:
        given = stack.enter_context(opener(key_file, key_fd, password_fd, ask=ask)) if wants_open else {}
        if wants_open or info.opened_by == "nothing":
            key, info = stack.enter_context(read_key(file, given))
            info = replace(info, key_id=key.key_id)
    output = Output()
    if as_json:
        output.document(info.to_dict())
        return 0
    if info.opened_by == "nothing":
        output.line(f"{file}: raw key", "bold")
        output.fact("taken as", f"{info.algorithm}, by its length: a raw file does not say what it is for")
    else:
        output.line(f"{file}: {info.algorithm} key", "bold")
    opened_by = {"nothing": "whoever reads the file: the key is raw", "password": "a password"}
    output.fact("opened by", opened_by.get(info.opened_by, "a wrapping key"))
    if info.opened_by == "password":
        output.fact("argon2id", f"{info.opslimit} passes over {info.memlimit >> 20} MiB")
    output.fact("written", info.modified)
    output.fact("key id", info.key_id or "not known: the file was not opened")
    return 0


@click.command("wrap")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", "target", metavar="OUT", required=True, help="Where the wrapped key goes.")
@opener_options
@_format_option
def wrap_command(
    file: str,
    target: str,
    key_file: str | None,
    key_fd: int | None,
    password_fd: int | None,
    *,
    ask: bool,
    form: str,
) -> int:
    """Encrypt the raw key in FILE under a wrapping key or a password; FILE itself stays (see key erase).

    OUT has mode 600 and must not exist yet. With aes-kwp it holds 24, 32 or 40 bytes for a wrapping key; that format
    does not say which algorithm the key is for.
    """
    check_path(file)
    check_path(target)
    check_free(target, overwrite=None)
    with opener(key_file, key_fd, password_fd, ask=ask, confirm=True) as given, failing(file):
        _check_form(form, given)
        if key_file_info(file).opened_by != "nothing":
            raise Failure(f"{file}: is wrapped already", "unwrap it first, or wrap the raw key it was made from")
        with read_key(file, {}) as (key, _):
            if form == "aes-kwp":
                blob = given["wrapping_key"].wrap(key, format="aes-kwp")
                with new_private_file(target) as fd:
                    write_all(fd, blob)
            else:
                key.save(target, **given)
            Output().line(f"{target}: key {key.key_id}, wrapped, mode 600")
    return 0


@click.command("unwrap")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", "target", metavar="OUT", required=True, help="Where the raw key goes.")
@opener_options
@_format_option
def unwrap_command(
    file: str,
    target: str,
    key_file: str | None,
    key_fd: int | None,
    password_fd: int | None,
    *,
    ask: bool,
    form: str,
) -> int:
    """Decrypt the wrapped key in FILE, and store it raw in OUT, as keygen would: whoever reads OUT has the key.

    OUT has mode 600 and must not exist yet. It does not say which algorithm the key is for: whatever reads it takes it
    as an AES key. The kernel copies the key out of locked memory; with aes-kwp OpenSSL had it on the ordinary heap
    before.
    """
    check_path(file)
    check_path(target)
    check_free(target, overwrite=None)
    with opener(key_file, key_fd, password_fd, ask=ask) as given, failing(file), ExitStack() as stack:
        _check_form(form, given)
        if form == "aes-kwp":
            key = stack.enter_context(CryptoKey.unwrap(_read_blob(file), given["wrapping_key"], format="aes-kwp"))
        else:
            key, info = stack.enter_context(read_key(file, given))
            if info.opened_by == "nothing":
                raise Failure(f"{file}: is a raw key already", "what RFC 5649 wrapped takes --format aes-kwp")
        with new_private_file(target) as fd, key.borrow() as view:
            write_all(fd, view)
        output = Output()
        output.line(f"{target}: key {key.key_id}, raw, mode 600")
        if not key.algorithm.startswith("AES-"):
            output.fact("note", f"the file does not say that it is for {key.algorithm}, and is taken as an AES key")
    return 0


def _check_form(form: str, given: dict[str, Any]) -> None:
    if form == "aes-kwp" and "wrapping_key" not in given:
        raise click.UsageError("aes-kwp takes a wrapping key: --key or --key-fd", click.get_current_context())


def _read_blob(file: str) -> bytes:
    remedy = "a key wrapped with AES-KWP has 24, 32 or 40; what 'key wrap' wrote otherwise takes no --format"
    with open_regular(file, _MOST_WRAPPED_BYTES, remedy) as (fd, _), open(fd, "rb", closefd=False) as source:
        blob = source.read()
    if len(blob) not in _KWP_BYTES:
        raise Failure(f"{file}: has {len(blob)} bytes", remedy)
    return blob


# ---- erasing ----


@click.command("erase")
@click.argument("file", metavar="FILE")
@click.option("--receipt", "target", metavar="OUT", help="Write the receipt to OUT, which must not exist yet.")
@click.option("--sign", "signing_file", metavar="KEYFILE", help="Sign the receipt (see keygen --signing).")
@click.option("--audit", "log", metavar="LOG", help="Append it to an audit log, which is made when it is missing.")
@click.option("-n", "--passes", type=click.IntRange(1, 1000), default=1, show_default=True, help="How often.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase_command(
    file: str,
    target: str | None,
    signing_file: str | None,
    log: str | None,
    passes: int,
    *,
    yes: bool,
    as_json: bool,
) -> int:
    """Shred key file FILE and give a receipt: what became of the file, and what that means for the key.

    The key is not loaded. Whatever only this file could open is lost. Other copies of the file, and of a raw key, are
    not found by this: the receipt says what is known, and no more. It is shown before it is written anywhere.

    \b
    Exit status:
      0  overwritten
      1  FILE is no key file, was refused or failed, or the answer was no; or the receipt could not be written
      2  bad usage, or nobody to ask and no --yes
      3  done, and old bytes of the file may remain: not_in_place
    """  # noqa: D301 - click takes the backspace for "do not wrap".
    check_path(file)
    if signing_file is not None and target is None and log is None:
        text = "--sign needs --receipt OUT or --audit LOG: what is shown is not signed"
        raise click.UsageError(text, click.get_current_context())
    _check_places(target, log)
    with ExitStack() as stack, failing(file):
        signer = stack.enter_context(load_signing_key(signing_file)) if signing_file is not None else None
        info = key_file_info(file)
        if not yes:
            _confirm(file, info.algorithm)
        done = erase_key_file(file, passes=passes)
        _show(done, as_json=as_json)
        _keep(done, target, log, signer)
    return 0 if done.shred.verdict in ("overwritten_verified", "overwritten") else _MAY_REMAIN


@click.command("check")
@click.argument("file", metavar="RECEIPT")
@click.option("--public-key", required=True, callback=parse_public_key, metavar="HEX", help="Of whoever signed it.")
def check_command(file: str, public_key: bytes) -> int:
    """Check the signature of RECEIPT, which 'key erase --sign' wrote, and show what it says.

    Status 1 when it was changed, or another key signed it. Take the public key from a source that you trust.
    """
    check_path(file)
    with failing(file):
        found = verify_receipt(read_text(file), public_key)
    output = Output()
    output.line(f"{file}: valid", "bold")
    output.fact("key id", found.receipt.key_id or "not known")
    output.fact("time", found.receipt.time)
    output.fact("key was", found.receipt.found.replace("_", " "))
    _show_receipt(output, found.receipt)
    output.fact("signature", found.statement)
    return 0


def _show_receipt(output: Output, receipt: ErasureReceipt) -> None:
    output.fact("uses", receipt.uses())
    for copy in receipt.copies:
        detail = f" {copy.detail}" if copy.detail else ""
        output.fact(copy.state.replace("_", " "), f"{copy.kind}{detail}: {copy.explanation}")
    for each in receipt.conditions:
        output.fact(each.verdict.replace("_", " "), f"{each.name.replace('_', ' ')}: {each.reason}")


def _confirm(file: str, algorithm: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise Failure("nobody can be asked whether to erase a key", "give --yes", errors.BAD_USAGE)
    if not click.confirm(f"Erase the {algorithm} key in {printable(file)}? There is no way back", err=True):
        raise Failure("not confirmed; nothing was touched")


def _show(done: KeyFileErasure, *, as_json: bool) -> None:
    output = Output()
    if as_json:
        output.document(done.to_dict())
        return
    verdict = done.shred.verdict or "no verdict"
    output.line(f"{done.shred.path}: {verdict}", verdict_style(verdict))
    show_remarks(output, done.shred)
    _show_receipt(output, done.receipt)


def _check_places(target: str | None, log: str | None) -> None:
    """Refuse places where no receipt could be kept while the key file is still there."""
    if target is not None:
        check_path(target)
        check_free(target, overwrite=None)
        _check_folder(target)
    if log is None:
        return
    check_path(log)
    if os.path.lexists(log):
        AuditLog(log).check_open()
    else:
        _check_folder(log)


def _check_folder(path: str) -> None:
    """Refuse a new file that its folder would refuse."""
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _keep(done: KeyFileErasure, target: str | None, log: str | None, signer: SigningKey | None) -> None:
    form: JsonForm = done if signer is None else sign_receipt(done.receipt, signer, reports=[done.shred])
    if target is not None:
        with new_private_file(target) as fd:
            write_all(fd, f"{form.to_json()}\n".encode())
    if log is not None:
        AuditLog(log).append(form)
