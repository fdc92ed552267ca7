"""Overwriting schemes: each table as its source has it, and what a run makes of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from zeroizepy.file import SCHEMES, secure_delete
from zeroizepy.shred.schemes import passes_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:old bytes of:UserWarning")

# As the project's reference has them: R random, c and d random bytes, ~ a complement.
REFERENCE = {
    "random": "R",
    "zeros": "00",
    "ones": "FF",
    "nist-clear": "00",
    "dod-short": "c ~c R",
    "dod-3": "R 00 FF",
    "dod-7": "c ~c R d e ~e R",
    "nnsa": "R R 00",
    "ar380-19": "00 FF R",
    "hmg-is5-enhanced": "00 FF R",
    "vsitr": "00 FF 00 FF 00 FF AA",
    "ops-ii": "c ~c c ~c c ~c c ~c R",
    "schneier": "FF 00 R R R R R",
    "bmb21": "FF 00 R R R FF",
    "pfitzner-7": "R R R R R R R",
    "gost": "00 R",
}
VERIFIED = {"nist-clear", "dod-3", "nnsa", "hmg-is5-enhanced"}


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_passes_are_those_of_the_source(name: str) -> None:
    """Letter for letter, and verified only where the source verifies."""
    assert " ".join(SCHEMES[name].passes) == REFERENCE[name]
    assert SCHEMES[name].verify == (name in VERIFIED)


def test_every_scheme_is_checked_and_has_a_source() -> None:
    """No scheme without a reference here, and none without a source in the table."""
    assert set(SCHEMES) == {*REFERENCE, "pfitzner-33", "gutmann"}
    assert all(scheme.source and scheme.name == name for name, scheme in SCHEMES.items())
    assert SCHEMES["pfitzner-33"].passes == ("R",) * 33


def test_gutmann_has_35_passes() -> None:
    """4 random passes, the 27 patterns of the paper's table, 4 random passes."""
    passes = SCHEMES["gutmann"].passes
    assert len(passes) == 35
    assert passes[:4] == passes[-4:] == ("R",) * 4
    assert [bytes.fromhex(each) * (3 // (len(each) // 2)) for each in passes[4:-4]] == [
        *(bytes([byte]) * 3 for byte in (0x55, 0xAA)),
        *(each.to_bytes(3, "big") for each in (0x924924, 0x492492, 0x249249)),
        *(bytes([0x11 * digit]) * 3 for digit in range(16)),
        *(each.to_bytes(3, "big") for each in (0x924924, 0x492492, 0x249249, 0x6DB6DB, 0xB6DB6D, 0xDB6DB6)),
    ]


def test_letters_are_drawn_for_each_run() -> None:
    """A complement is that of its letter, within one run; between runs the letters differ."""
    runs = [passes_of(SCHEMES["dod-7"]) for _ in range(64)]
    for run in runs:
        data = [each.data for each in run]
        assert data[2] is data[6] is None
        assert [bytes([each[0] ^ 0xFF]) for each in (data[0], data[4]) if each] == [data[1], data[5]]
    assert len({run[0].data for run in runs}) > 16
    assert len({(run[0].data, run[3].data) for run in runs}) > 32


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_a_scheme_runs_and_is_reported(tmp_path: Path, name: str) -> None:
    """Each pass is carried out under its name; the last one is what stands in the blocks."""
    path, witness = tmp_path / "file", tmp_path / "witness"
    path.write_bytes(b"secret content. " * 1000)
    os.link(path, witness)
    report = secure_delete(path, scheme=name, allow_hard_links=True)
    assert report.plan is not None
    assert (report.plan.scheme, report.plan.verify) == (name, name in VERIFIED)
    assert report.full_passes == len(SCHEMES[name].passes)
    last, content = SCHEMES[name].passes[-1], witness.read_bytes()
    if last == "R":
        assert b"secret" not in content
        assert len(set(content)) == 256
    else:
        assert content == bytes.fromhex(last) * 16_000
