"""Forms: what a person may fill in, the JSON Schema of an object of scalars; and whether a form is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from liteq.utils.misspelt import meant
from liteq_flow.schema import FORM
from liteq_flow.schema_check import Found, errors

__all__ = ["check_form", "wrong_pattern"]


def check_form(form: Any) -> Iterator[Found]:
    """What is wrong with a form itself: its words, its names, its defaults."""
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
