"""The schema of a call, made of a function's signature, and the call made of what an agent sent by it."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

__all__ = ["Signature", "by_place", "doc_of", "signature_of"]

NO_TEXT: Final = frozenset({datetime, date, time, timedelta, Decimal, UUID, bytes})  # values that JSON has as text
LONGEST_DOC: Final = 1_000


class Signature:
    """The arguments of a task or a workflow: `schema`, a JSON Schema of an object; `call` makes them of one."""

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature) -> None:
        hints = _hints(function)
        self._parameters = [one.replace(annotation=hints.get(one.name, Any)) for one in signature.parameters.values()]
        self._adapters = {one.name: adapter for one in self._parameters if (adapter := _adapter(one.annotation))}
        self.schema = self._schema()

    def call(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the named arguments. Raises ValueError for a wrong value, by its field."""
        left, by_name = dict(given), {one.name: one for one in self._parameters}
        rest = [
            self._value(one, value)
            for one in self._parameters
            if one.kind is one.VAR_POSITIONAL
            for value in left.pop(one.name, [])
        ]
        values = {name: self._value(by_name[name], value) if name in by_name else value for name, value in left.items()}
        args, kwargs = _placed(self._parameters, values, all_=bool(rest))
        return [*args, *rest], kwargs

    def _value(self, parameter: inspect.Parameter, value: Any) -> Any:
        """A value of a type that JSON has as text is made of that; all others go as they came."""
        if not _has_text(parameter.annotation) or parameter.name not in self._adapters:
            return value
        try:
            return self._adapters[parameter.name].validate_json(json.dumps(value))
        except ValidationError as exc:
            first = exc.errors(include_input=False, include_url=False)[0]
            raise ValueError(f"{parameter.name}: {first['msg']}") from None

    def _schema(self) -> dict[str, Any]:
        inputs = [(name, typing.cast("Any", "validation"), one) for name, one in self._adapters.items()]
        found, whole = TypeAdapter.json_schemas(inputs)
        properties: dict[str, Any] = {}
        required: list[str] = []
        more = False
        for one in self._parameters:
            if one.kind is one.VAR_KEYWORD:
                more = True
                continue
            schema = dict(found.get((typing.cast("Any", one.name), "validation"), {}))
            if one.kind is one.VAR_POSITIONAL:
                properties[one.name] = {"type": "array", "items": schema}
                continue
            schema.pop("title", None)
            if one.default is one.empty:
                required.append(one.name)
            elif (default := _as_json(one.default)) is not None:
                schema["default"] = default
            properties[one.name] = schema
        schema = {"type": "object", "properties": properties, "additionalProperties": more}
        if required:
            schema["required"] = required
        return {**schema, **({"$defs": whole["$defs"]} if "$defs" in whole else {})}


def signature_of(known: Any) -> Signature:
    """The signature of a task or a workflow, without the parameter that its worker fills in."""
    return Signature(known.run, inspect.signature(known.run))


def by_place(known: Any, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments of a task's call, of arguments that all have names."""
    return _placed(list(inspect.signature(known.run).parameters.values()), given, all_=False)


def _placed(
    parameters: list[inspect.Parameter], given: Mapping[str, Any], *, all_: bool
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments.

    Positional are those that the function takes only so, up to the last one given; with `all_` also those that it takes
    by place or by name, since others follow them. Raises ValueError for one that is missing.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = [one for one in parameters if one.kind in kinds[: 1 + all_]]
    while first and not all_ and first[-1].name not in given:
        first.pop()
    names = {one.name for one in first}
    args = [given.get(one.name, one.default) for one in first]
    for one, value in zip(first, args, strict=True):
        if value is one.empty:
            raise ValueError(f"{one.name}: this argument is missing")
    return args, {name: value for name, value in given.items() if name not in names}


def doc_of(function: Callable[..., Any]) -> str:
    """The docstring of a function, cut to what a tool's description may be long."""
    return (inspect.getdoc(function) or "").strip()[:LONGEST_DOC]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception:  # noqa: BLE001 - a name that is there for the type checker alone; then any value fits
        return {}


def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """Pydantic's view of an annotation; None where it has none, or no schema for it."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        adapter.json_schema()
    except (PydanticUserError, NameError, TypeError):
        return None
    return adapter


def _has_text(annotation: Any) -> bool:
    return annotation in NO_TEXT or any(map(_has_text, typing.get_args(annotation)))


def _as_json(value: Any) -> Any:
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        return None
