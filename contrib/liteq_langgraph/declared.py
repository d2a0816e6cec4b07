"""The classes that a graph's state declares: those of its schemas' fields, as far as annotations tell."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import typing
from collections.abc import Iterable
from typing import Any

__all__ = ["declared_in"]


def declared_in(schemas: Iterable[Any]) -> set[type]:
    """The dataclasses, models, named tuples and enums in these types, at any depth."""
    found: set[type] = set()
    seen: set[int] = set()
    rest = list(schemas)
    while rest:
        one = rest.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        rest += typing.get_args(one)  # of Annotated, of a union, of list[Order]
        if not inspect.isclass(one):
            continue
        if _is_data(one):
            found.add(one)
        elif not typing.is_typeddict(one):
            continue
        rest += _fields(one)
    return found


def _is_data(one: type) -> bool:
    named = dataclasses.is_dataclass(one) or hasattr(one, "model_fields") or hasattr(one, "_fields")
    return named or issubclass(one, enum.Enum)


def _fields(one: type) -> list[Any]:
    try:
        return list(typing.get_type_hints(one, include_extras=True).values())
    except Exception:  # noqa: BLE001 - an annotation that cannot be resolved here declares nothing
        return []
