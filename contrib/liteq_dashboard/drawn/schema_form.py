"""A form for the data that a JSON schema asks for, and the data again from what was sent. Pure.

A field for each plain property; what is neither text, number, choice nor yes/no is written as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from math import isfinite
from typing import Any, NamedTuple

import orjson

from liteq.utils.json_text import from_json

__all__ = ["Field", "Wrong", "data_of", "fields"]

MOST = 100  # fields
KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "yes"}
FORMATS = {"date": "date", "date-time": "datetime-local", "time": "time", "email": "email", "uri": "url"}
ALONE = "data"  # the field of a schema that is no object's


class Wrong(ValueError):
    """Raised when what was sent is no value of its field: `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Field(NamedTuple):
    """A field: `kind` is text, long, integer, number, yes, choice, several or json; `input` the type of its <input>."""

    name: str
    label: str
    kind: str
    input: str = "text"
    required: bool = False
    help: str = ""
    value: str = ""
    choices: tuple[str, ...] = ()  # each as JSON
    least: float | None = None
    most: float | None = None
    longest: int | None = None

    def shown(self, choice: str) -> str:
        """A choice as it is read: a text without its quotes."""
        found = orjson.loads(choice)
        return found if isinstance(found, str) else choice


def fields(schema: object) -> list[Field]:
    """The fields for `schema`; [] where it asks for nothing."""
    if not isinstance(schema, Mapping):
        return []
    found, _ = _resolved(schema, schema)
    if not _has_fields(found):
        return [_field(ALONE, schema, schema, required=True)]
    required = found["required"] if isinstance(found.get("required"), list) else []
    return [_field(str(name), inner, schema, required=name in required) for name, inner in found["properties"].items()]


def _has_fields(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties")
    return schema.get("type") == "object" and isinstance(properties, Mapping) and len(properties) <= MOST


def _resolved(schema: object, root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """A schema without references and `or null`; and whether null was among its choices."""
    optional = False
    for _ in range(10):  # a schema may refer to itself
        if not isinstance(schema, Mapping):
            return {}, optional
        if isinstance(ref := schema.get("$ref"), str):
            others = {name: given for name, given in schema.items() if name != "$ref"}
            named = root.get("$defs", {})
            found = named.get(ref.rpartition("/")[2], {}) if isinstance(named, Mapping) else {}
            schema = {**found, **others} if isinstance(found, Mapping) else others
            continue
        choices = schema.get("anyOf")
        if not isinstance(choices, list):
            return schema, optional
        real = [one for one in choices if not (isinstance(one, Mapping) and one.get("type") == "null")]
        if len(real) != 1 or not isinstance(real[0], Mapping):
            return schema, optional or len(real) < len(choices)
        optional = optional or len(real) < len(choices)
        schema = {**{name: given for name, given in schema.items() if name != "anyOf"}, **real[0]}
    return {}, optional


def _field(name: str, schema: object, root: Mapping[str, Any], *, required: bool) -> Field:
    found, optional = _resolved(schema, root)
    label = found.get("title") if isinstance(found.get("title"), str) else name.replace("_", " ").capitalize()
    default = found.get("default")
    field = Field(
        name, str(label), "json", required=required and not optional, help=_text(found.get("description")),
        value="" if default is None else _written(default),
    )  # fmt: skip
    enum = found.get("enum") if isinstance(found.get("enum"), list) else [found["const"]] if "const" in found else None
    kind = str(found.get("type"))
    if enum is not None:
        return field._replace(
            kind="choice", choices=tuple(map(_json, enum)), value="" if default is None else _json(default)
        )
    if kind == "array":
        inner, _ = _resolved(found.get("items"), root)
        if isinstance(inner.get("enum"), list):
            return field._replace(kind="several", choices=tuple(map(_json, inner["enum"])))
        return field
    if kind not in KINDS:
        return field
    plain = field._replace(kind=KINDS[kind], least=_number(found, "minimum"), most=_number(found, "maximum"))
    if kind == "string":
        longest = found.get("maxLength")
        longest = longest if isinstance(longest, int) else None
        form = FORMATS.get(str(found.get("format")), "text")
        is_long = form == "text" and longest is not None and longest > 200
        return plain._replace(kind="long" if is_long else "text", input=form, longest=longest)
    return plain._replace(input="number" if kind in {"integer", "number"} else "checkbox")


def _number(schema: Mapping[str, Any], name: str) -> float | None:
    found = schema.get(name)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _written(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


# -- back again ----------------------------------------------------------------------------------------------------


def data_of(schema: object, sent: Callable[[str], list[str]], zone: tzinfo = UTC) -> Any:
    """The data that a form for `schema` sent; `sent` gives the values of a field. Raises Wrong.

    `zone`: that of a time, as a browser sends it without one, and a schema's `date-time` has one.
    """
    asked = fields(schema)
    if not asked:
        return None
    found = dict[str, Any]()
    for field in asked:
        given = sent(field.name)
        if field.kind == "yes":
            found[field.name] = bool(given and given[-1])
        elif field.kind == "several":
            found[field.name] = [_chosen(field, one) for one in given]
        elif given and given[-1].strip():
            found[field.name] = _value(field, given[-1].strip() if field.kind != "long" else given[-1], zone)
        elif field.required:
            raise Wrong(field.name, f"{field.label} is missing")
    whole, _ = _resolved(schema, schema if isinstance(schema, Mapping) else {})
    return found if _has_fields(whole) else found.get(ALONE)


def _value(field: Field, text: str, zone: tzinfo) -> Any:
    match field.kind:
        case "choice":
            return _chosen(field, text)
        case "integer":
            try:
                return int(text)
            except ValueError:
                raise Wrong(field.name, f"{field.label} is to be a whole number, not {text!r:.80}") from None
        case "number":
            try:
                found = int(text) if text.lstrip("-").isdecimal() else float(text)
                if not isfinite(found):
                    raise ValueError
                return found
            except (ValueError, OverflowError):
                raise Wrong(field.name, f"{field.label} is to be a number, not {text!r:.80}") from None
        case "json":
            try:
                return from_json(text.encode("utf-8", "replace"))
            except ValueError as exc:
                raise Wrong(field.name, f"{field.label} is to be JSON: {exc}") from None
        case _ if field.input == FORMATS["date-time"]:
            try:
                at = datetime.fromisoformat(text)
            except ValueError:
                raise Wrong(field.name, f"{field.label} is to be a day and a time, not {text!r:.80}") from None
            return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).isoformat()
        case _:
            return text


def _chosen(field: Field, text: str) -> Any:
    if text not in field.choices:
        raise Wrong(field.name, f"{field.label}: choose one of {', '.join(map(field.shown, field.choices))}")
    return orjson.loads(text)
