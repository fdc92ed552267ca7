"""The JSON Schemas of the reports, made from the dataclasses: types from their hints, words from their docstrings.

After a change to a report: install the package, run `python -I tests/support/schemas.py` in the checkout, and commit
what it wrote to zeroizepy/schemas.
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zeroizepy.certificate import Certificate, SignedReceipt
from zeroizepy.crypto import ErasureReceipt
from zeroizepy.erasure import CryptoShredReport, KeyFileErasure, KeyFileInfo
from zeroizepy.file import DeviceReport, FreeSpaceReport, PassReport, ShredPlan, ShredReport, TreeReport
from zeroizepy.json_form import PERCENT_ENCODED, JsonForm
from zeroizepy.session import RecoveryReport

FORMS: tuple[type[JsonForm], ...] = (
    Certificate, CryptoShredReport, DeviceReport, ErasureReceipt, FreeSpaceReport, KeyFileErasure, KeyFileInfo,
    PassReport, RecoveryReport, ShredPlan, ShredReport, SignedReceipt, TreeReport,
)  # fmt: skip
FOLDER = Path(__file__).resolve().parents[2] / "zeroizepy" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SIMPLE = {str: {"$ref": "#/$defs/Text"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"}}
TEXT = {
    "description": "Text; where it is no Unicode, its bytes, percent-encoded as in RFC 3986.",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {PERCENT_ENCODED: {"type": "string"}},
            "required": [PERCENT_ENCODED],
            "additionalProperties": False,
        },
    ],
}


def file_name(kind: type[JsonForm]) -> str:
    """Where the schema of a form is kept."""
    return f"{kind.schema.split('/')[1]}.json"


def schema_of(kind: type[JsonForm]) -> dict[str, Any]:
    """The whole schema of one form."""
    definitions: dict[str, Any] = {"Text": TEXT}
    body = object_of(kind, definitions)
    body["properties"] = {"schema": {"const": kind.schema}, **body["properties"]}
    body["required"] = ["schema", *body["required"]]
    return {"$schema": DIALECT, "$id": kind.schema, "title": kind.__name__, **body, "$defs": definitions}


def object_of(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """What stands for a dataclass: every field is written, so every one is required; new ones may come."""
    hints, words = get_type_hints(kind), descriptions(kind)
    names = [field.name for field in fields(kind)]
    return {
        "description": one_line(inspect.getdoc(kind) or "").partition("\n")[0],
        "type": "object",
        "properties": {
            name: {**value_of(hints[name], definitions), **({"description": words[name]} if name in words else {})}
            for name in names
        },
        "required": names,
    }


def value_of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """What stands for a type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        others = [value_of(each, definitions) for each in arguments if each is not NoneType]
        return {"anyOf": [*others, *([{"type": "null"}] if NoneType in arguments else [])]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        assert arguments[1:] == (...,), f"{hint} needs a rule here and in zeroizepy/json_form.py"
        return {"type": "array", "items": value_of(arguments[0], definitions)}
    if origin is dict:
        assert arguments[0] is str, f"{hint} needs a rule here and in zeroizepy/json_form.py"
        return {"type": "object", "additionalProperties": value_of(arguments[1], definitions)}
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = object_of(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return dict(SIMPLE[hint])


def descriptions(kind: type) -> dict[str, str]:
    """The Attributes section of a docstring."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", section, re.MULTILINE)
    return {name: one_line(text) for names, text in found for name in names.split(", ")}


def one_line(text: str) -> str:
    """Without the line ends of a docstring, up to its first empty line, and without its backticks."""
    return re.sub(r"\s*\n\s*", " ", text.strip().partition("\n\n")[0]).replace("`", "")


def text_of(kind: type[JsonForm]) -> str:
    """The file's content."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for form in FORMS:
        (FOLDER / file_name(form)).write_text(text_of(form), encoding="utf-8")
