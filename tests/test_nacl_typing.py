"""Type checkers see in zeroizepy.nacl what they see in PyNaCl."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nacl", reason="needs PyNaCl, which is not installed (the extra: test)")
pytest.importorskip("mypy", reason="needs mypy, which is not installed (the extra: test)")

PROGRAM = Path(__file__).parent / "typing/pynacl_program.py"
SAID = re.compile(r"^program\.py:(\d+): (note|error): (.*?)(?:  \[([\w-]+)\])?$", re.MULTILINE)


def said_of(program: str, folder: Path) -> tuple[dict[int, str], dict[int, str | None]]:
    """What mypy --strict says: the types that it reveals and the codes of its errors, each by line."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-I", "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "program.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    types: dict[int, str] = {}
    errors: dict[int, str | None] = {}
    for line, kind, text, code in SAID.findall(done.stdout):
        if kind == "error":
            errors[int(line)] = code
        else:
            types[int(line)] = text
    return types, errors


def test_a_program_for_pynacl_has_the_same_types(tmp_path: Path) -> None:
    """One program, once with PyNaCl's modules and once with ours: the same types, and the same mistakes found."""
    program = PROGRAM.read_text(encoding="utf-8")
    lines = dict(enumerate(program.splitlines(), 1))
    types, errors = said_of(program, tmp_path)
    own_types, own_errors = said_of(re.sub(r"\bnacl\b", "zeroizepy.nacl", program), tmp_path)
    expected = {number: line.partition("# expect: ")[2] for number, line in lines.items() if "# expect: " in line}
    assert errors == own_errors == expected
    assert {number: text.replace("zeroizepy.nacl", "nacl") for number, text in own_types.items()} == types
    assert types.keys() == {number for number, line in lines.items() if "reveal_type(" in line}


def test_ours_are_what_is_revealed(tmp_path: Path) -> None:
    """The control: with ours in its place mypy reads our types, and not PyNaCl's or Any; also those PyNaCl lacks."""
    program = (
        "import zeroizepy.nacl\n"
        "from zeroizepy import SecureMemory\n"
        "nacl = zeroizepy.nacl\n"
        "reveal_type(nacl.secret.SecretBox(bytes(32)))\n"
        "reveal_type(nacl.secret.SecretBox(SecureMemory(32), ttl_sec=60).decrypt_secret(bytes(40)))\n"
        "reveal_type(nacl.pwhash.argon2id.kdf(32, b'password', bytes(16), into=SecureMemory))\n"
        "reveal_type(nacl.hashlib.scrypt(b'password', into=SecureMemory))\n"
        "reveal_type(nacl.bindings.crypto_sign_keypair(into=SecureMemory))\n"
        "nothing\n"
    )
    types, errors = said_of(program, tmp_path)
    memory = "zeroizepy.memory.SecureMemory"
    expected = ["zeroizepy.nacl.secret.SecretBox", memory, memory, memory, f"tuple[bytes, {memory}]"]
    assert types == {number: f'Revealed type is "{name}"' for number, name in enumerate(expected, 4)}
    assert errors == {9: "name-defined"}
