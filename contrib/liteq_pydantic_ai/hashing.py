"""Digests that tell one model request from another: the same in each replay, and in each version of the framework.

Of messages only that is taken which the model is asked by: the kind of each part, its content, a tool's name and its
arguments. No timestamps, ids of runs and responses, or usage; the id of a tool call is its ordinal. So a field that a
later version adds changes no hash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any
from weakref import ref

import orjson
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_core import to_jsonable_python

__all__ = ["Messages", "digest_of", "parameters_of", "plain"]

PART = ("content", "tool_name", "outcome", "url", "provider_name")
SAME = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def plain(value: Any) -> Any:
    """`value` as JSON has it; what pydantic knows nothing of is its class and its repr without an address."""
    return to_jsonable_python(value, fallback=_stranger)


def _stranger(value: Any) -> Any:
    if isinstance(value, type) or callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    kept = getattr(value, "__dict__", None)
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    return [name, kept] if isinstance(kept, dict) else name


def digest_of(*values: Any) -> str:
    """A digest of JSON values."""
    try:
        data = orjson.dumps(values, option=SAME)
    except TypeError:  # for a whole number of more than 64 bits
        data = json.dumps(values, sort_keys=True).encode()
    return blake2b(data, digest_size=16).hexdigest()


class Messages:
    """Digests of conversations. That of a message is kept while the message lives, so a turn walks its own alone."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Callable[[], Any], str, tuple[str, ...]]] = {}

    def digest(self, messages: Sequence[ModelMessage], settings: ModelSettings | None) -> str:
        """The digest of what a model is asked with."""
        ordinals: dict[str, int] = {}
        seen = []
        last = len(messages) - 1
        for i, message in enumerate(messages):
            digest, ids = self._of(message) if i < last else _message(message)  # the last one may still be added to
            seen.append([digest, *(ordinals.setdefault(id_, len(ordinals)) for id_ in ids)])
        return digest_of(seen, plain(_settings(settings)))

    def _of(self, message: ModelMessage) -> tuple[str, tuple[str, ...]]:
        key = id(message)
        found = self._known.get(key)
        if found is not None and found[0]() is message:
            return found[1:]
        digest, ids = _message(message)
        self._known[key] = (ref(message, lambda _: self._known.pop(key, None)), digest, ids)
        return digest, ids


def _message(message: ModelMessage) -> tuple[str, tuple[str, ...]]:
    ids: list[str] = []
    parts = []
    for part in message.parts:
        said = {name: value for name in PART if (value := getattr(part, name, None)) is not None}
        if (args := getattr(part, "args", None)) is not None:
            said["args"] = _arguments(args)
        if (id_ := getattr(part, "tool_call_id", None)) is not None:
            ids.append(id_)
        parts.append([part.part_kind, plain(said)])
    return digest_of(message.kind, getattr(message, "instructions", None), parts), tuple(ids)


def _arguments(args: Any) -> Any:
    """The arguments of a tool call: providers send them as text, whose spaces do not matter, or as values."""
    if not isinstance(args, str):
        return args
    try:
        return orjson.loads(args)
    except orjson.JSONDecodeError:
        return args


def _settings(settings: ModelSettings | None) -> dict[str, Any]:
    return {key: value for key, value in (settings or {}).items() if value is not None}


def parameters_of(parameters: ModelRequestParameters) -> Any:
    """The tools and the form of the output that a model is asked with, for the memo alone: a deploy may add a tool."""
    return plain(
        {
            "tools": [
                [tool.name, tool.description, tool.parameters_json_schema]
                for tool in (*parameters.function_tools, *parameters.output_tools)
            ],
            "output": [parameters.output_mode, parameters.allow_text_output],
        }
    )
