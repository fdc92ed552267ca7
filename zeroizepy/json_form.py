"""Frozen dataclasses as JSON and back: what a report says, so that programs elsewhere can read it.

Text that is not Unicode, such as a file name with bytes that are no UTF-8, has no JSON string. It becomes an object
with one member: `{"percent_encoded": "caf%E9.txt"}`, the bytes of the name as RFC 3986 writes them. A JSON string is
always the text itself, so nothing is ambiguous and no byte is lost.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["PERCENT_ENCODED", "JsonForm", "from_plain", "load_json", "to_plain"]

PERCENT_ENCODED = "percent_encoded"

_Kind = TypeVar("_Kind")


class JsonForm:
    """Base of the dataclasses that have a JSON form."""

    __slots__ = ()

    schema: ClassVar[str]
    """Name and version of the form; the number grows when a member goes or changes its meaning, not when one is new."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary that `json.dumps` takes, with `schema` among them."""
        return {"schema": self.schema, **to_plain(self)}

    def to_json(self) -> str:
        """The same as JSON text of one line: members sorted by name, no spaces, Unicode as it is.

        Encode it as UTF-8. The same values always give the same text.
        """
        import json  # Here and below: most programs that overwrite files never ask for JSON.

        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def to_plain(value: Any) -> Any:
    """Turn a value of dataclasses, tuples, lists and dictionaries into what JSON has.

    Does not reach: surrogates that stand for no byte of a file name; they come back as others.
    """
    if isinstance(value, str):
        return _text_to_plain(value)
    if isinstance(value, (tuple, list)):
        return [to_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): to_plain(each) for name, each in value.items()}
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _text_to_plain(text: str) -> str | dict[str, str]:
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    from urllib.parse import quote_from_bytes

    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    return {PERCENT_ENCODED: quote_from_bytes(data)}


def load_json(text: str) -> Any:
    """Parse JSON strictly.

    Raises:
        ValueError: Not JSON, a member that stands twice, NaN or infinity, or nested too deeply.
    """
    import json

    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"no whole JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        # Python refuses whole numbers of thousands of digits, and tells programs how to allow them.
        raise ValueError(str(error).partition(";")[0]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice in one JSON object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def from_plain(kind: type[_Kind], value: object, where: str) -> _Kind:
    """Build a dataclass from what `to_plain`, or `to_dict`, made of one.

    Args:
        kind: A dataclass whose fields are text, numbers, bools, literals, tuples, unions,
            dataclasses, and dictionaries by text.
        value: From `load_json`.
        where: What an error calls the value.

    Raises:
        ValueError: A member that is missing, unknown or of another type, or another schema; the message says where.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {_kind_of(value)}")  # noqa: TRY004 - input, not an argument.
    members = dict(value)
    if issubclass(kind, JsonForm) and "schema" in members and (found := members.pop("schema")) != kind.schema:
        raise ValueError(f"{where}.schema must be {kind.schema!r}, not {str(found)[:60]!r}")
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for fault, found in (("is missing", names - set(members)), ("is not known here", set(members) - names)):
        if found:
            raise ValueError(f"{where}.{min(found)[:60]} {fault}; it may come from another version")
    return kind(**{name: _build(hints[name], members[name], f"{where}.{name}") for name in names})


def _build(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (inner,) = (each for each in arguments if each is not NoneType)
        return None if value is None else _build(inner, value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ValueError(f"{where} must be one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, not {_kind_of(value)}")
        return tuple(_build(arguments[0], each, f"{where}[{at}]") for at, each in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object, not {_kind_of(value)}")
        return {name: _build(arguments[1], each, f"{where}.{name[:60]}") for name, each in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return from_plain(hint, value, where)
    return _build_simple(hint, value, where)


def _build_simple(hint: type, value: Any, where: str) -> Any:
    if hint is str and isinstance(value, dict):
        return _text_from_plain(value, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} must be {hint.__name__}, not {_kind_of(value)}")
    return value


def _text_from_plain(value: dict[str, object], where: str) -> str:
    from urllib.parse import unquote_to_bytes

    encoded = value.get(PERCENT_ENCODED)
    if isinstance(encoded, str):
        text = unquote_to_bytes(encoded).decode("utf-8", "surrogateescape")
        if _text_to_plain(text) == value:
            return text
    raise ValueError(f"{where} must be text, or {PERCENT_ENCODED!r} with bytes that are no UTF-8")


def _kind_of(value: object) -> str:
    return type(value).__name__
