"""The data of a decision: as JSON, and whether it fits the form that was asked for."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from liteq.serialization import decode
from liteq.serialization.models import data_of

__all__ = ["checked_data"]

TEXTS = (str, bytes, dt.date, dt.time, UUID, Decimal)  # what JSON has a text for
KINDS: dict[str, tuple[type, ...]] = {
    "string": TEXTS, "integer": (int,), "number": (int, float), "boolean": (bool,), "object": (dict,),
    "array": (list,), "null": (type(None),),
}  # fmt: skip


def checked_data(title: str, data: Any) -> Callable[[bytes | None], None]:
    """A check of `data` against the request of an approval. It raises ValueError, which names the field."""
    plain = data_of(data)

    def check(details: bytes | None) -> None:
        document = decode(details) if details else {}
        schema = document.get("schema")
        if schema is None:
            return
        form = _loaded(document.get("form"))
        if form is not None:
            _by_form(title, plain, form)
        else:
            said = {} if plain is None and document.get("form") is None and schema.get("type") == "object" else plain
            _by_schema(title, said, schema, schema, "data")

    return check


def _loaded(name: str | None) -> Any:
    """The type of a form, where its module is imported here already."""
    module, _, qualname = (name or "").partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _by_form(title: str, data: Any, form: Any) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(form).validate_python(data)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "data"
        raise _unfit(title, where, first["msg"]) from None


def _by_schema(title: str, data: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> None:
    """The part of JSON Schema that says what a person fills in: types, required fields, choices, bounds."""
    if "$ref" in schema:
        schema = root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {})
    if "anyOf" in schema:
        _any_of(title, data, schema["anyOf"], root, where)
        return
    kind = schema.get("type")
    if kind in KINDS and (
        not isinstance(data, KINDS[kind]) or (isinstance(data, bool) and kind in {"integer", "number"})
    ):
        raise _unfit(title, where, f"it is to be of type {kind}, not {data!r:.80}")
    _in_choices(title, data, schema, where)
    _in_bounds(title, data, schema, where)
    if isinstance(data, dict):
        _of_object(title, data, schema, root, where)
    if isinstance(data, list) and isinstance(schema.get("items"), dict):
        for i, one in enumerate(data):
            _by_schema(title, one, schema["items"], root, f"{where}[{i}]")


def _of_object(title: str, data: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], where: str) -> None:
    _refuse_unknown(title, data, schema, where)
    for name in schema.get("required", ()):
        if name not in data:
            raise _unfit(title, name if where == "data" else f"{where}.{name}", "it is missing")
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, value in data.items():
        inner = known.get(name, others)
        if isinstance(inner, dict):
            _by_schema(title, value, inner, root, name if where == "data" else f"{where}.{name}")


def _in_choices(title: str, data: Any, schema: dict[str, Any], where: str) -> None:
    choices = schema.get("enum")
    if choices is None and all("const" in one for one in schema.get("oneOf", ())):
        choices = [one["const"] for one in schema.get("oneOf", ())] or None
    if "const" in schema:
        choices = [schema["const"]]
    is_flag = isinstance(data, bool)  # in JSON true is not 1
    if choices is not None and not any(one == data and isinstance(one, bool) is is_flag for one in choices):
        raise _unfit(title, where, f"it is one of {choices}, not {data!r:.80}")


def _refuse_unknown(title: str, data: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    known = schema.get("properties", {})
    if schema.get("additionalProperties") is not False or data.keys() <= known.keys():
        return
    name = min(data.keys() - known.keys())
    near = difflib.get_close_matches(name, known, 1)
    words = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, known)) or 'none'}"
    raise _unfit(title, name if where == "data" else f"{where}.{name}", f"there is no such field; {words}")


def _in_bounds(title: str, data: Any, schema: dict[str, Any], where: str) -> None:
    if isinstance(data, str):
        if "pattern" in schema and re.search(schema["pattern"], data) is None:
            raise _unfit(title, where, f"it is to match {schema['pattern']}, not {data!r:.80}")
        if len(data) < schema.get("minLength", 0):
            raise _unfit(title, where, f"it has at least {schema['minLength']} characters, not {len(data)}")
        if len(data) > schema.get("maxLength", len(data)):
            raise _unfit(title, where, f"it has at most {schema['maxLength']} characters, not {len(data)}")
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        if "minimum" in schema and data < schema["minimum"]:
            raise _unfit(title, where, f"it is at least {schema['minimum']}, not {data}")
        if "maximum" in schema and data > schema["maximum"]:
            raise _unfit(title, where, f"it is at most {schema['maximum']}, not {data}")
        if "exclusiveMinimum" in schema and data <= schema["exclusiveMinimum"]:
            raise _unfit(title, where, f"it is more than {schema['exclusiveMinimum']}, not {data}")
        if "exclusiveMaximum" in schema and data >= schema["exclusiveMaximum"]:
            raise _unfit(title, where, f"it is less than {schema['exclusiveMaximum']}, not {data}")


def _any_of(title: str, data: Any, choices: list[dict[str, Any]], root: dict[str, Any], where: str) -> None:
    failure: ValueError | None = None
    for one in choices:
        try:
            _by_schema(title, data, one, root, where)
        except ValueError as exc:
            failure = failure or exc
        else:
            return
    if failure is not None:
        raise failure


def _unfit(title: str, where: str, why: str) -> ValueError:
    return ValueError(f"the data for the approval {title!r} does not fit: {where}: {why}; nothing was decided")
