"""Overwriting schemes by their exact names.

More passes than one are habit, not protection: one is enough on a magnetic disk (NIST SP 800-88 Rev. 1, section 2.4),
and none is on flash, where the device may write beside the old cells. The schemes are here because rules and contracts
ask for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from zeroizepy._lib import shown

from .options import DEFAULT_PASSES, MAX_PASSES, Pattern, count, parse_pattern

__all__ = ["SCHEMES", "Scheme", "parse_passes", "passes_of", "scheme_of"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One scheme.

    Attributes:
        name: As callers give it.
        passes: What each pass writes: `R` random bytes, hexadecimal digits that are repeated from the start of the
            file, or a letter for a random byte, `~` before it for that byte's complement.
        verify: Whether the last pass is read back.
        source: Where it comes from.
    """

    name: str
    passes: tuple[str, ...]
    verify: bool
    source: str


def _scheme(name: str, passes: str, source: str, *, verify: bool = False) -> Scheme:
    return Scheme(name, tuple(passes.split()), verify, source)


_RANDOM_4 = "R R R R"
_TRIPLES = "924924 492492 249249"
_BYTES = "00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF"
_GUTMANN = f"{_RANDOM_4} 55 AA {_TRIPLES} {_BYTES} {_TRIPLES} 6DB6DB B6DB6D DB6DB6 {_RANDOM_4}"

SCHEMES = {
    scheme.name: scheme
    for scheme in (
        _scheme("random", "R", "one random pass"),
        _scheme("zeros", "00", "one pass of zeros"),
        _scheme("ones", "FF", "one pass of ones"),
        _scheme("nist-clear", "00", "NIST SP 800-88 Rev. 1, Clear: one pass of a fixed value", verify=True),
        _scheme("dod-short", "c ~c R", "nwipe, DoD short"),
        _scheme("dod-3", "R 00 FF", "scrub, dod", verify=True),
        _scheme("dod-7", "c ~c R d e ~e R", "nwipe, DoD 5220.22-M; the manual itself never set seven passes"),
        _scheme("nnsa", "R R 00", "scrub, NNSA Policy Letter NAP-14.1-C", verify=True),
        _scheme("ar380-19", "00 FF R", "US Army Regulation 380-19"),
        _scheme("hmg-is5-enhanced", "00 FF R", "nwipe, HMG Infosec Standard 5, enhanced", verify=True),
        _scheme("vsitr", "00 FF 00 FF 00 FF AA", "German VSITR, withdrawn in 2009"),
        _scheme("ops-ii", "c ~c c ~c c ~c c ~c R", "nwipe, RCMP TSSIT OPS-II"),
        _scheme("schneier", "FF 00 R R R R R", "nwipe, Bruce Schneier"),
        _scheme("bmb21", "FF 00 R R R FF", "nwipe, BMB21-2019"),
        _scheme("pfitzner-7", " ".join("R" * 7), "scrub, Roy Pfitzner, 7 passes"),
        _scheme("pfitzner-33", " ".join("R" * 33), "scrub, Roy Pfitzner, 33 passes"),
        _scheme("gost", "00 R", "nwipe, GOST R 50739-95"),
        _scheme(
            "gutmann",
            _GUTMANN,
            "Peter Gutmann, Secure Deletion of Data from Magnetic and Solid-State Memory (USENIX 1996), in its order",
        ),
    )
}
"""Those of nwipe and scrub as their code has them, which differs from the documents that they are named after."""


def scheme_of(name: object) -> Scheme:
    """Look a scheme up.

    Raises:
        TypeError: The name is no str.
        ValueError: There is no such scheme.
    """
    if not isinstance(name, str):
        raise TypeError(f"scheme must be str or None, not {type(name).__name__}")
    if name not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(sorted(SCHEMES))}; not {shown(name)}")
    return SCHEMES[name]


def passes_of(scheme: Scheme) -> tuple[Pattern, ...]:
    """The patterns of one run. Each letter of the scheme is drawn anew for it."""
    drawn: dict[str, int] = {}
    return tuple(_pattern(text, drawn) for text in scheme.passes)


def _pattern(text: str, drawn: dict[str, int]) -> Pattern:
    if text == "R":
        return Pattern("random", None)
    letter = text.removeprefix("~")
    if len(letter) == 1:
        byte = drawn.setdefault(letter, os.urandom(1)[0]) ^ (0xFF if text != letter else 0)
        return Pattern(f"byte:{byte:02x}", bytes([byte]))
    data = bytes.fromhex(text)
    return Pattern({b"\x00": "zeros", b"\xff": "ones"}.get(data, f"hex:{text.lower()}"), data)


def parse_passes(
    passes: object, pattern: str | bytes | bytearray | memoryview, scheme: object
) -> tuple[tuple[Pattern, ...], bool]:
    """Check `passes`, `pattern` and `scheme`. Returns what each pass writes, and whether the scheme verifies.

    Raises:
        TypeError: By its type.
        ValueError: By its value, or a scheme came with passes or a pattern of the caller's own.
    """
    number, each = count(passes, "passes", 0, MAX_PASSES), parse_pattern(pattern)
    if scheme is None:
        return (each,) * number, False
    chosen = scheme_of(scheme)
    if number != DEFAULT_PASSES or each.name != "random":
        raise ValueError("scheme says what each pass writes; leave passes and pattern out")
    return passes_of(chosen), chosen.verify
