"""The slow way through `encode`: rebuilds a value in plain JSON types, and knows where in it it is."""

from __future__ import annotations

import sys
from enum import Enum
from math import isfinite
from typing import Any, NoReturn

from liteq.exceptions import NotSerializable
from liteq.serialization import tags

__all__ = ["Walk"]

_LONGEST_PATH = 200
NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as the json module writes them as keys


class Walk:
    """One pass over a value, depth first."""

    def __init__(self, what: str, max_depth: int) -> None:
        self.what = what
        self.max_depth = max_depth

    def refuse(self, path: str, why: str) -> NoReturn:
        """Raise NotSerializable for the value at `path`."""
        where = path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "..."
        if not where.isprintable():  # keys are the caller's: no control characters into logs and terminals
            where = where.encode("unicode_escape").decode("ascii")
        raise NotSerializable(f"{self.what}: {where} is {why}")

    def simplify(self, value: Any, path: str, depth: int) -> Any:
        """`value` in types that orjson writes without change. Raises NotSerializable."""
        for kind, (marker, to_json) in tags.registered.items():
            if isinstance(value, kind):
                return {tags.TYPE: marker, tags.VALUE: self.simplify(to_json(value), path, depth)}
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, int):
            return _integer(value)
        if isinstance(value, float):
            return float(value) if isfinite(value) else {tags.TYPE: "float", tags.VALUE: float.__repr__(value)}
        if isinstance(value, (dict, list, tuple)):
            if depth >= self.max_depth:
                self.refuse(path, f"nested more than {self.max_depth} levels deep (`max_nesting`)")
            return self.container(value, path, depth + 1)
        return self.other(value, path, depth)

    def text(self, value: str, path: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            self.refuse(path, f"not valid text: a lone surrogate at index {exc.start}; pass bytes (`os.fsencode`)")
        return str.__str__(value)

    def container(self, value: Any, path: str, depth: int) -> Any:
        if not isinstance(value, dict):
            return [self.simplify(v, f"{path}[{i}]", depth) for i, v in enumerate(value)]
        out: dict[str, Any] = {}
        for key, item in value.items():
            name = self.key(key, path)
            if name in out:
                self.refuse(path, f"a dict in which two keys become {name!r} in JSON")
            out[name] = self.simplify(item, f'{path}["{name}"]', depth)
        # A dict of the caller's own that looks like a tag is wrapped, so that it comes back as the dict it is.
        return {tags.TYPE: "dict", tags.VALUE: out} if out.keys() == {tags.TYPE, tags.VALUE} else out

    def key(self, key: Any, path: str) -> str:
        """`key` as the json module writes it."""
        if isinstance(key, str):
            return self.text(key, f"a key of {path}")
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        if isinstance(key, int) and abs(key) < 2**64:  # longer ones may not even print
            return int.__repr__(key)
        if isinstance(key, float):
            return float.__repr__(key) if isfinite(key) else NON_FINITE[float.__repr__(key)]
        return self.refuse(f"a key of {path}", f"of type {_type_name(key)}, or out of range; keys must be str")

    def other(self, value: Any, path: str, depth: int) -> Any:
        try:
            return tags.tag(value)
        except TypeError:
            pass
        if (to_json := getattr(type(value), "__json__", None)) is not None:
            return self.simplify(to_json(value), path, depth)
        lazy_text = getattr(sys.modules.get("django.utils.functional"), "Promise", None)
        if lazy_text is not None and isinstance(value, lazy_text):
            return self.text(str(value), path)
        return self.refuse(path, f"of type {_type_name(value)}, which JSON has no form for; {_advice(value)}")


def _integer(value: int) -> Any:
    if -(2**63) <= value < 2**64:  # what orjson writes
        return int(value)
    return {tags.TYPE: "int", tags.VALUE: hex(value)}  # hex: decimal digits are limited to 4,300 and quadratic


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return "pass a list"
    if isinstance(value, Enum):
        return "pass its `.value`"
    if hasattr(value, "__dataclass_fields__"):
        return "pass `dataclasses.asdict()` of it"
    if isinstance(value, (bytearray, memoryview)):
        return "pass bytes"
    if hasattr(value, "model_dump"):
        return "pass its `.model_dump()`, or declare the task with `pydantic=True`"
    if hasattr(value, "dtype"):
        return "pass its `.tolist()`"
    if hasattr(value, "pk"):
        return "pass its primary key"
    return "pass str, int, float, bool, None, list, dict, or `register_type` it"
