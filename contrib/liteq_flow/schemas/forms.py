"""Forms: what a person may fill in, the JSON Schema of an object of scalars; and whether a form is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from liteq.utils.misspelt import meant
from liteq_flow.errors import FlowRefused
from liteq_flow.model import Problem
from liteq_flow.schemas.schema import FORM
from liteq_flow.schemas.schema_check import Found, errors

__all__ = ["check_form", "fill", "wrong_pattern"]


def fill(form: Mapping[str, Any], data: Mapping[str, Any], file: str = "form") -> dict[str, Any]:
    """The data, with the defaults of what was not filled in. Raises FlowRefused, with each field that is wrong."""
    fields: Mapping[str, Any] = form.get("properties", {})
    filled = {name: one["default"] for name, one in fields.items() if "default" in one} | dict(data)
    schema = {"additionalProperties": False, **form}
    problems = [_problem(file, *found) for found in errors(schema, filled, {})]
    if problems:
        raise FlowRefused(problems)
    return filled


def check_form(form: Any) -> Iterator[Found]:
    """The errors of a form itself: of its words, its names, its defaults."""
    found = list(errors(FORM, form, {}))
    yield from found
    if found:
        return
    fields: Mapping[str, Any] = form.get("properties", {})
    for name in form.get("required", ()):
        if name not in fields:
            yield ("required",), f"{name!r} is no field of it{meant(name, fields)}"
    for name, one in fields.items():
        at = ("properties", name)
        if not {"type", "enum", "oneOf"} & one.keys():
            yield at, "a field has a `type`, an `enum` or a `oneOf`"
        if "pattern" in one and (why := wrong_pattern(one["pattern"])):
            yield (*at, "pattern"), why
        elif "default" in one:
            yield from errors({**one, "default": None}, one["default"], {}, (*at, "default"))


def wrong_pattern(text: str) -> str:
    """Why a text is no pattern; "" where it is one."""
    try:
        re.compile(text)
    except re.error as exc:
        return f"{text!r} is no pattern: {exc}"
    return ""


def _problem(file: str, path: tuple[str | int, ...], what: str) -> Problem:
    return Problem(file, 0, ".".join(str(part) for part in path), what)
