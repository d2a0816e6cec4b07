"""Params: what a run of a flow is started with, checked before anything is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from liteq.utils.misspelt import meant
from liteq_flow.errors import FlowRefused
from liteq_flow.model import Flow, Param, Problem
from liteq_flow.schemas.forms import wrong_pattern
from liteq_flow.schemas.schema_check import errors

__all__ = ["check_params", "checked", "form_of", "from_json", "from_text"]

TRUE, FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def form_of(param: Param) -> dict[str, Any]:
    """The JSON Schema of one param's values."""
    made = {
        "type": param.type,
        "enum": list(param.enum) or None,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "minLength": param.min_length,
        "maxLength": param.max_length,
        "pattern": param.pattern,
    }
    return {word: one for word, one in made.items() if one is not None}


def check_params(params: tuple[Param, ...]) -> Iterator[tuple[str, str]]:
    """The errors of the declarations, by name: a default that does not fit, a pattern that is none."""
    for param in params:
        if param.pattern is not None and (why := wrong_pattern(param.pattern)):
            yield param.name, why
        elif param.default is not None:
            value, wrong = _typed(param, param.default)
            for what in [wrong] if wrong else [what for _, what in errors(form_of(param), value, {})]:
                yield param.name, f"the default: {what}"


def checked(flow: Flow, given: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a run of `flow`: what was given, as the types say, and the defaults.

    A text becomes the number or the truth value that its param is; nothing else is converted. Raises FlowRefused
    before anything is written, with each param that is wrong: unknown, missing, of a wrong type or out of range.
    """
    known = {param.name: param for param in flow.params}
    none = "" if known else "the flow has none"
    problems = [
        Problem(flow.name, 0, name, f"there is no param {name!r}{meant(name, known, none)}")
        for name in given
        if name not in known
    ]
    bound: dict[str, Any] = {}
    for name, param in known.items():
        if name not in given and param.default is None:
            if param.required:
                problems.append(Problem(flow.name, 0, name, "it is required, and was not given"))
            continue
        value, wrong = _typed(param, given.get(name, param.default))
        wrongs = [wrong] if wrong else [what for _, what in errors(form_of(param), value, {})]
        problems += [Problem(flow.name, 0, name, what) for what in wrongs]
        bound[name] = value
    if problems:
        raise FlowRefused(problems)
    return bound


def _typed(param: Param, value: Any) -> tuple[Any, str]:
    """A text as its param's type, and what is wrong with it."""
    if param.type is None or param.type == "string" or not isinstance(value, str):
        if param.type == "string" and isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value), ""
        return value, ""
    text = value.strip()
    if param.type == "boolean":
        if text.lower() not in TRUE | FALSE:
            return value, f"true or false is meant here, not {value!r}"
        return text.lower() in TRUE, ""
    try:
        return (int(text) if param.type == "integer" else float(text)), ""
    except ValueError:
        return value, f"a {'whole ' * (param.type == 'integer')}number is meant here, not {value[:80]!r}"


def from_text(text: str, what: str = "-p") -> tuple[str, str]:
    """`name=value` as its two parts. Raises FlowRefused."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise FlowRefused([Problem(what, 0, "", f"name=value is meant here, not {text!r}")])
    return name, value


def from_json(text: str, what: str = "--params-json") -> dict[str, Any]:
    """An object out of JSON. Raises FlowRefused."""
    try:
        made = json.loads(text)
    except ValueError as exc:
        raise FlowRefused([Problem(what, 0, "", f"not JSON: {exc}")]) from None
    if not isinstance(made, dict):
        raise FlowRefused([Problem(what, 0, "", f"an object of params is meant here, not {text[:80]!r}")])
    return made
