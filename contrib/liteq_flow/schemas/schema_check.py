"""Checks a document by a JSON Schema, as far as the schemas here use it; tells each problem with its path and remedy.

Only the words are known that `schema.py` and the forms of people use; `tests` hold it to the reference implementation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteq.utils.misspelt import nearest

__all__ = ["Found", "errors"]

Path = tuple[str | int, ...]
Found = tuple[Path, str]
Schema = Mapping[str, Any]

KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
}


def errors(schema: Schema, value: Any, definitions: Schema, path: Path = ()) -> Iterator[Found]:
    """The errors of `value`. A part of a wrong kind is told once, and not looked into."""
    if "$ref" in schema:
        yield from errors(definitions[schema["$ref"].rpartition("/")[2]], value, definitions, path)
        return
    wrong = schema.get("refused") or _kind(schema, value) or _choice(schema, value)
    if wrong:
        yield path, wrong
        return
    if isinstance(value, str):
        yield from ((path, what) for what in _text(schema, value))
    elif isinstance(value, bool):
        pass
    elif isinstance(value, (int, float)):
        yield from ((path, what) for what in _number(schema, value))
    elif isinstance(value, list):
        yield from _list(schema, value, definitions, path)
    elif isinstance(value, Mapping):
        yield from _mapping(schema, value, definitions, path)
    for one in schema.get("allOf", ()):
        yield from errors(one, value, definitions, path)
    if "if" in schema:
        fits = next(errors(schema["if"], value, definitions, path), None) is None
        if (branch := schema.get("then" if fits else "else")) is not None:
            yield from errors(branch, value, definitions, path)


def _kind(schema: Schema, value: Any) -> str:
    kinds = schema.get("type")
    if kinds is None:
        return ""
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if any(_is(kind, value) for kind in kinds):
        return ""
    wanted = " or ".join(KINDS[kind] for kind in kinds if kind != "null")
    return f"{wanted} is meant here, not {_shown(value)}"


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return not isinstance(value, bool) and isinstance(value, (int, float))
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, Mapping)
        case _:
            return value is None


def _choice(schema: Schema, value: Any) -> str:
    if "const" in schema:
        choices: Sequence[Any] | None = [schema["const"]]
    elif "oneOf" in schema:  # of forms: [{const, title}]
        choices = [one.get("const") for one in schema["oneOf"]]
    else:
        choices = schema.get("enum") or (schema.get("enum_of_texts") if isinstance(value, str) else None)
    if choices is not None and not any(_same(value, one) for one in choices):
        near = nearest(value, [one for one in choices if isinstance(one, str)]) if isinstance(value, str) else None
        said = f"did you mean {near!r}?" if near else "one of " + ", ".join(_shown(one) for one in choices)
        return f"{_shown(value)} is not known here; {said}"
    if isinstance(value, str) and value in schema.get("not_one_of", ()):
        return f"{value!r} has a meaning of its own; use another word"
    return ""


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _text(schema: Schema, value: str) -> Iterator[str]:
    length = len(value)
    if length < schema.get("minLength", 0):
        yield "the text is empty" if not value else f"at least {schema['minLength']} characters, not {length}"
    if length > schema.get("maxLength", length):
        yield f"at most {schema['maxLength']} characters, not {length}"
    if "pattern" in schema and value and not re.search(schema["pattern"], value):
        yield f"{_shown(value)} does not fit the pattern {schema['pattern']}"


def _number(schema: Schema, value: float) -> Iterator[str]:
    # What is no number, NaN, is neither more nor less than any.
    if "minimum" in schema and not value >= schema["minimum"]:
        yield f"at least {schema['minimum']:g}, not {value:g}"
    if "maximum" in schema and not value <= schema["maximum"]:
        yield f"at most {schema['maximum']:g}, not {value:g}"


def _list(schema: Schema, value: list[Any], definitions: Schema, path: Path) -> Iterator[Found]:
    if len(value) < schema.get("minItems", 0):
        yield path, "the list is empty"
    for index, one in enumerate(value):
        yield from errors(schema.get("items", {}), one, definitions, (*path, index))


def _mapping(schema: Schema, value: Mapping[str, Any], definitions: Schema, path: Path) -> Iterator[Found]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if len(value) < schema.get("minProperties", 0):
        yield path, "the mapping is empty"
    if len(value) > schema.get("maxProperties", len(value)):
        yield path, f"{len(value)} keys, where {schema['maxProperties'] or 'none'} may be; write each as an entry"
    for word in schema.get("required", ()):
        if word not in value:
            yield path, f"{word!r} is missing"
    pattern = schema.get("propertyNames", {}).get("pattern")
    for key, one in value.items():
        if key in known:
            yield from errors(known[key], one, definitions, (*path, key))
        elif others is False:
            near = nearest(key, known)
            yield (*path, key), f"unknown word {key!r}" + (f"; did you mean {near!r}?" if near else "")
        elif pattern and not re.search(pattern, key):
            yield (*path, key), f"{key!r} is no name: letters, digits and _, and a letter first"
        elif isinstance(others, Mapping):
            yield from errors(others, one, definitions, (*path, key))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Mapping):
        return "a mapping"
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
