"""The JSON Schema of a flow's file: what `liteq flow schema` prints, and by which a file is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from liteq_flow.reader.words import (
    IN_HANDLERS,
    IN_STEP,
    NO_EFFECT,
    NO_EFFECT_IN_STEP,
    SYNONYMS,
    SYNONYMS_IN_STEP,
)
from liteq_flow.schemas.schema_actions import ACTIONS, PARAMS_OF_CALL

__all__ = ["DEFINITIONS", "DOCUMENT", "FORM", "NAME", "STEP_ID", "published"]

Schema = dict[str, Any]

NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
STEP_ID: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
TEXT: Final[Schema] = {"type": "string"}
FILLED: Final[Schema] = {"type": "string", "minLength": 1}
EVAL: Final[Schema] = {"refused": "nothing is evaluated; let a first step write it, with `output: NAME`"}
BLANKLESS: Final[Schema] = {"type": "string", "minLength": 1, "pattern": r"\S"}
SCALAR: Final[Schema] = {"type": ["string", "number", "boolean", "null"]}
SECONDS: Final[Schema] = {"type": ["number", "string"], "minimum": 0, "description": 'Seconds, or "5m".'}
COUNT: Final[Schema] = {"type": ["integer", "string"], "minimum": 0, "description": "A number, or a reference to one."}
INTEGER: Final[Schema] = {"type": "integer"}
EXIT_CODES: Final[Schema] = {"type": ["integer", "string", "array"], "items": INTEGER}
BACKOFF: Final[Schema] = {"type": ["boolean", "number"]}
TEXTS: Final[Schema] = {"type": ["string", "array"], "items": TEXT}
SHELL: Final[Schema] = {**TEXTS, "minLength": 1}
ANYTHING: Final[Schema] = {}
DECODE: Final[Schema] = {"enum": ["text", "json", "yaml"]}


def closed(properties: Schema, *required: str, **more: Any) -> Schema:
    """An object of these properties and no others."""
    made = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return made | ({"required": list(required)} if required else {})


def ref(name: str) -> Schema:
    """A definition by its name."""
    return {"$ref": f"#/$defs/{name}"}


ENV: Final[Schema] = {
    "description": "Variables: a mapping, or a list of mappings and NAME=value. Values may hold references.",
    "type": ["object", "array"],
    "propertyNames": {"pattern": NAME},
    "additionalProperties": SCALAR,
    "items": {
        "type": ["object", "string"],
        "minLength": 1,
        "pattern": r"^[A-Za-z_][A-Za-z0-9_]*=",
        "propertyNames": {"pattern": NAME},
        "additionalProperties": SCALAR,
    },
}
CONDITION: Final = closed(
    {
        "eval": EVAL,
        "condition": BLANKLESS,
        "expected": {"type": ["string", "number", "boolean"]},
        "negate": {"type": "boolean"},
    },
    "condition",
    description="A command that has to exit with 0; with `expected`, a value to compare (`re:` a pattern).",
)
RETRY: Final = closed(
    {
        "limit": {**COUNT, "description": "How often it is tried again."},
        "interval_sec": {"type": ["number", "string"], "minimum": 0},
        "backoff": BACKOFF,
        "max_interval_sec": {"type": "number", "minimum": 0},
        "exit_code": EXIT_CODES,
    },
)
REPEAT: Final = closed(
    {
        "repeat": {"enum": [True, False, "while", "until"]},
        "condition": FILLED,
        "expected": {"type": ["string", "number", "boolean"]},
        "exit_code": EXIT_CODES,
        "interval_sec": {"type": ["number", "string"], "minimum": 0},
        "max_interval_sec": {"type": "number", "minimum": 0},
        "backoff": BACKOFF,
        "limit": {"type": "integer", "minimum": 1, "description": "How often it runs in all."},
    },
)
CONTINUE_ON: Final[Schema] = {
    "type": ["string", "array", "object"],
    "enum_of_texts": ["failed", "skipped"],
    "items": {"enum": ["failed", "skipped"]},
    "properties": {
        "failed": {"type": "boolean"},
        "skipped": {"type": "boolean"},
        "exit_code": EXIT_CODES,
        "output": TEXTS,
        "mark_success": {"type": "boolean"},
    },
    "additionalProperties": False,
}
CAPTURED: Final[Schema] = {
    "description": "A value, or where it is read: {from: stdout, decode: json, select: .path}.",
    "if": {"type": "object", "required": ["from"]},
    "then": closed(
        {"from": {"enum": ["stdout", "stderr", "file"]}, "path": FILLED, "decode": DECODE, "select": TEXT}, "from"
    ),
}
STREAM: Final[Schema] = {
    "type": ["string", "object"],
    "properties": {
        "artifact": FILLED,
        "outputs": {
            "type": "object",
            "properties": {
                "decode": DECODE,
                "select": TEXT,
                "fields": {"type": "object", "propertyNames": {"pattern": STEP_ID}},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
PARAM_VALUE: Final[Schema] = {
    "default": {"type": ["string", "number", "boolean", "null"]},
    "type": {"enum": ["string", "integer", "number", "boolean"]},
    "required": {"type": "boolean"},
    "enum": {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "min_length": {"type": "integer", "minimum": 0},
    "max_length": {"type": "integer", "minimum": 0},
    "pattern": TEXT,
    "description": TEXT,
}
PARAMS: Final[Schema] = {
    "description": "NAME=value in a text or a list, a mapping with defaults, or a list of typed entries.",
    "type": ["string", "object", "array"],
    "additionalProperties": SCALAR,
    "items": {
        "type": ["string", "object"],
        "if": {"type": "object", "required": ["name"]},
        "then": closed({"name": TEXT, "eval": EVAL, **PARAM_VALUE}, "name"),
        "else": {"additionalProperties": SCALAR},
    },
}
FORM_FIELD: Final = closed(
    {
        "type": {"enum": ["string", "integer", "number", "boolean"]},
        "title": TEXT,
        "description": TEXT,
        "default": {"type": ["string", "number", "boolean"]},
        "enum": {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
        "oneOf": {
            "type": "array",
            "minItems": 1,
            "items": closed({"const": {"type": ["string", "number", "boolean"]}, "title": TEXT, "description": TEXT},
                            "const"),
        },
        "minimum": {"type": "number"},
        "maximum": {"type": "number"},
        "minLength": {"type": "integer", "minimum": 0},
        "maxLength": {"type": "integer", "minimum": 0},
        "pattern": TEXT,
    },
    minProperties=1,
)  # fmt: skip
FORM: Final = closed(
    {
        "type": {"const": "object"},
        "title": TEXT,
        "description": TEXT,
        "properties": {"type": "object", "propertyNames": {"pattern": STEP_ID}, "additionalProperties": FORM_FIELD},
        "required": {"type": "array", "items": TEXT},
        "additionalProperties": {"type": "boolean"},
    },
    "type",
)
AT_MOST: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 1000}
WHEN_AND_HOW: Final[Schema] = {
    "env": ENV,
    "working_dir": TEXT,
    "timeout_sec": SECONDS,
    "retry_policy": {"type": ["integer", "object"], "minimum": 0, **{k: RETRY[k] for k in RETRY if k != "type"}},
    "repeat_policy": REPEAT,
    "continue_on": CONTINUE_ON,
    "preconditions": {"type": ["string", "array"], "items": {"type": ["string", "object"], **{
        k: CONDITION[k] for k in CONDITION if k != "type"}}},
}  # fmt: skip
STEP: Final = closed(
    {
        "id": {**TEXT, "description": "A word of letters, digits and _: its outputs are ${steps.ID.outputs.NAME}."},
        "name": {"type": ["string", "number"]},
        "description": TEXT,
        "depends": {"type": ["string", "number", "array", "null"], "items": {"type": ["string", "number"]}},
        "run": {"type": ["string", "array"], "minLength": 1, "minItems": 1,
                "items": {"type": ["string", "number", "boolean"], "minLength": 1},
                "description": "Commands of a shell: a text, with several lines one script; or a list."},
        "action": FILLED,
        "with": {"type": "object"},
        "task": FILLED,
        "workflow": FILLED,
        "agent": FILLED,
        "event": FILLED,
        "foreach": closed(
            {
                "items": {"type": ["string", "array"]},
                "as": {**FILLED, "pattern": STEP_ID, "not_one_of": ["index", "key"]},
                "key": TEXT,
                "max_concurrent": AT_MOST,
                "steps": {"type": "array", "minItems": 1, "items": ref("step")},
                "collect": {"type": "object", "propertyNames": {"pattern": STEP_ID}, "additionalProperties": TEXT},
            },
            "items", "steps",
        ),
        "parallel": {
            "type": ["string", "array", "object"],
            "items": ref("item"),
            "properties": {"items": {"type": ["string", "array"], "items": ref("item")}, "max_concurrent": AT_MOST},
            "additionalProperties": False,
            "required": ["items"],
        },
        **WHEN_AND_HOW,
        "output": {"type": ["string", "object"], "minProperties": 1, "propertyNames": {"pattern": STEP_ID},
                   "additionalProperties": CAPTURED},
        "outputs": {"type": "array", "minItems": 1,
                    "items": closed({"name": {**FILLED, "pattern": STEP_ID},
                                     "type": {"enum": ["string", "json"]}}, "name")},
        "stdout": STREAM,
        "stderr": {"type": ["string", "object"], "properties": {"artifact": FILLED}, "additionalProperties": False},
        "approval": closed({"prompt": TEXT, "input": {"type": "array", "items": TEXT}, "form": FORM,
                            "required": {"type": "array", "items": TEXT}}),
        "queue": FILLED,
        "priority": INTEGER,
        "memo": {"type": ["boolean", "number", "string"]},
        "limits": TEXTS,
        "doubt": {"enum": ["repeat", "ask"]},
        "compensate": ref("step"),
        **{word: {"description": f"No effect: {why}."} for word, why in NO_EFFECT_IN_STEP.items()},
    },
    allOf=[
        {"if": {"required": ["run"]},
         "then": {"properties": {"with": {"type": "object", "properties": {"shell": SHELL, "shell_args": TEXTS}}}}},
        *({"if": {"properties": {"action": {"const": name}}, "required": ["action"]},
           "then": {"properties": {"with": arguments}, **({"required": ["with"]} if "required" in arguments else {})}}
          for name, arguments in ACTIONS.items()),
    ],
)  # fmt: skip
ITEM: Final[Schema] = {
    "type": ["string", "number", "boolean", "object"],
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
SCHEDULE: Final[Schema] = {
    "description": "Lines of crontab, each perhaps with CRON_TZ=ZONE before it.",
    "type": ["string", "array", "object", "null"],
    "items": {"type": ["string", "object"], "properties": {"cron": TEXT}, "additionalProperties": False},
    "properties": {"start": {"type": ["string", "array"], "items": TEXT}, "cron": TEXT},
    "additionalProperties": False,
}
HANDLER: Final[Schema] = ref("step")
DOCUMENT: Final = closed(
    {
        "name": FILLED,
        "description": TEXT,
        "type": {"enum": ["graph", "chain"]},
        "params": PARAMS,
        "env": ENV,
        "dotenv": TEXTS,
        "consts": {"type": ["array", "object"],
                   "propertyNames": {"pattern": STEP_ID},
                   "additionalProperties": {"type": ["string", "number", "boolean"]},
                   "items": {"type": "object", "minProperties": 1, "maxProperties": 1,
                             "propertyNames": {"pattern": STEP_ID},
                             "additionalProperties": {"type": ["string", "number", "boolean"]}}},
        "secrets": {
            "description": "NAME: env:VARIABLE or file:/path; or a list of {name, provider, key}.",
            "type": ["object", "array"],
            "propertyNames": {"pattern": NAME},
            "additionalProperties": FILLED,
            "items": closed({"name": {**FILLED, "pattern": NAME}, "provider": {"enum": ["env", "file"]},
                             "key": FILLED, "options": {"type": "object", "maxProperties": 0}},
                            "name", "provider", "key"),
        },
        "working_dir": TEXT,
        "shell": TEXTS,
        "shell_args": {"type": "array", "items": TEXT},
        "defaults": closed(WHEN_AND_HOW),
        "schedule": SCHEDULE,
        "catchup_window": {"type": ["string", "number"]},
        "overlap_policy": {"enum": ["skip", "all", "latest"]},
        "queue": FILLED,
        "max_active_steps": {"type": "integer", "minimum": 0},
        "max_active_runs": {"type": "integer"},
        "timeout_sec": SECONDS,
        "preconditions": WHEN_AND_HOW["preconditions"],
        "handler_on": closed(dict.fromkeys(("init", "success", "failure", "abort", "exit", "wait"), HANDLER)),
        "labels": {"type": ["string", "array", "object"], "additionalProperties": SCALAR,
                   "items": {"type": ["string", "object"], "additionalProperties": SCALAR}},
        "steps": {"type": "array", "minItems": 1, "items": ref("step")},
        **{word: {"description": f"No effect: {why}."} for word, why in NO_EFFECT.items()},
    },
    "steps",
)  # fmt: skip
DEFINITIONS: Final[Schema] = {"step": STEP, "item": ITEM}
# Forms of a step that are more than another word, each as `settle` takes it.
FORMER: Final[Schema] = {"call": FILLED, "params": PARAMS_OF_CALL, "shell": SHELL}
UNDERSCORE: Final = re.compile(r"_([a-z])")


def published() -> Schema:
    """The schema for editors and other tools: draft 2020-12, with all that `settle` reads; other words are deprecated.

    A file that it refuses is refused when it is read, too.
    """
    step = _with_other_words(_with_nested(STEP), SYNONYMS_IN_STEP)
    step["type"], step["minLength"] = ["object", "string"], 1  # `- echo hello`
    step["properties"] |= {
        "action": {"anyOf": [{"enum": list(ACTIONS)}, {"pattern": rf"^\s*({'|'.join(map(re.escape, ACTIONS))})\s*$"}]},
        **{word: {**one, "deprecated": True} for word, one in FORMER.items()},
    }
    step["dependentSchemas"] = {"params": {"anyOf": [{"required": [word]} for word in ("call", "run")]}}
    step["allOf"] = [{**one, "then": _with_other_words(one["then"], SYNONYMS_IN_STEP)} for one in STEP["allOf"]]
    words = DOCUMENT["properties"] | {
        "handler_on": _with_other_words(DOCUMENT["properties"]["handler_on"], IN_HANDLERS),
        "defaults": _with_other_words(_with_nested(DOCUMENT["properties"]["defaults"]), SYNONYMS_IN_STEP),
    }
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A flow of liteq",
        **_with_other_words({**DOCUMENT, "properties": words}, SYNONYMS),
        "$defs": {**DEFINITIONS, "step": step},
    }
    plain: Schema = _standard(made)
    return plain


def _with_nested(schema: Schema) -> Schema:
    """A step in which the other words may stand inside of its objects, too."""
    words = schema["properties"]
    inner = {word: _with_other_words(words[word], IN_STEP[word]) for word in IN_STEP.keys() & words.keys()}
    return {**schema, "properties": {word: inner.get(word, one) for word, one in words.items()}}


def _with_other_words(schema: Schema, synonyms: Mapping[str, str]) -> Schema:
    """An object with its words in camelCase and its synonyms beside them; what is required may be said by either."""
    words = schema["properties"]
    meant = {word: word for word in words} | {word: one for word, one in synonyms.items() if one in words}
    meant = {UNDERSCORE.sub(lambda match: match[1].upper(), word): one for word, one in meant.items()} | meant
    other = {
        word: {**words[one], "deprecated": True, "description": f"Another word for `{one}`."}
        for word, one in meant.items()
        if word not in words
    }
    made = {**schema, "properties": {**words, **other}}
    required = made.pop("required", [])
    said = {one: [word for word in meant if meant[word] == one] for one in required}
    if plain := [one for one in required if len(said[one]) == 1]:
        made["required"] = plain
    for one in required:
        if len(said[one]) > 1:
            made["anyOf"] = [{"required": [word]} for word in sorted(said[one], key=lambda word: word != one)]
    return made


def _standard(node: Any) -> Any:
    """Without the words that only the reader here knows."""
    if isinstance(node, list):
        return [_standard(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {
        key: _standard(one)
        for key, one in node.items()
        if key not in {"enum_of_texts", "not_one_of"} and not (isinstance(one, dict) and "refused" in one)
    }
    if texts := node.get("enum_of_texts"):
        made["if"], made["then"] = {"type": "string"}, {"enum": texts}
    if words := node.get("not_one_of"):
        made["not"] = {"enum": words}
    return made
