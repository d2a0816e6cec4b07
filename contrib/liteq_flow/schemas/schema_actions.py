"""The arguments that each action takes `with:`."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ACTIONS", "PARAMS_OF_CALL"]

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
VALUE: Final[Schema] = {}
TEXTS: Final[Schema] = {"type": ["string", "array"], "items": TEXT}
SPAN: Final[Schema] = {"type": ["string", "number"]}
FLAG: Final[Schema] = {"type": "boolean"}
MAP: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
PARAMS_OF_CALL: Final[Schema] = {
    "type": ["string", "object", "array"],
    "items": {"type": ["string", "object"]},
}


def takes(properties: Schema, *required: str) -> Schema:
    """The arguments of one action."""
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": list(required)} if required else {})


HTTP: Final[Schema] = {
    "method": TEXT, "url": TEXT, "headers": MAP, "query": MAP, "body": {"type": ["string", "object", "array"]},
    "timeout": {"type": ["number", "string"]}, "json": FLAG, "silent": FLAG, "debug": FLAG,
    "skip_tls_verify": FLAG, "format": {"enum": ["text", "json"]}, "output": TEXT,
}  # fmt: skip
STATE: Final[Schema] = {"scope": {"enum": ["dag", "root_dag", "global", "custom"]}, "namespace": TEXT}
POLL: Final[Schema] = {"poll_interval": SPAN}

ACTIONS: Final[dict[str, Schema]] = {
    "dag.run": takes({"dag": TEXT, "params": PARAMS_OF_CALL}, "dag"),
    "dag.enqueue": takes({"dag": TEXT, "params": PARAMS_OF_CALL, "queue": TEXT}, "dag"),
    "human.task": takes({"prompt": {**TEXT, "pattern": r"\S"}, "form": {"type": "object"}}, "prompt"),
    "http.request": takes(HTTP, "method", "url"),
    "router.route": takes(
        {
            "value": {"type": ["string", "number", "boolean"]},
            "routes": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": ["string", "array"], "minItems": 1, "items": TEXT},
            },
        },
        "value", "routes",
    ),
    "template.render": takes({"template": TEXT, "data": {"type": "object"}, "output": TEXT}, "template"),
    "outputs.write": takes({"values": {"type": "object", "minProperties": 1}}, "values"),
    "state.get": takes({**STATE, "key": TEXT, "default": VALUE, "required": FLAG}, "key"),
    "state.set": takes(
        {**STATE, "key": TEXT, "value": VALUE, "expected_version": {"type": "integer"}, "create_only": FLAG},
        "key", "value",
    ),
    "state.delete": takes({**STATE, "key": TEXT}, "key"),
    "state.list": takes({**STATE, "prefix": {"type": "string"}, "limit": {"type": "integer", "minimum": 1},
                         "include_values": FLAG}),
    "state.diff": takes(
        {**STATE, "key": TEXT, "value": VALUE, "expected_version": {"type": "integer"}, "update": FLAG}, "key", "value"
    ),
    "file.read": takes({"path": TEXT, "format": {"enum": ["raw", "json"]},
                        "max_bytes": {"type": "integer", "minimum": 1}}, "path"),
    "file.write": takes(
        {"path": TEXT, "content": {"type": "string"}, "mode": {**TEXT, "pattern": "^(0o|0O)?[0-7]{3,4}$"},
         "overwrite": FLAG, "create_dirs": FLAG, "atomic": FLAG},
        "path", "content",
    ),
    "wait.duration": takes({"duration": SPAN}, "duration"),
    "wait.until": takes({"until": TEXT}, "until"),
    "wait.file": takes({"path": TEXT, "state": {"enum": ["exists", "missing"]}, **POLL}, "path"),
    "wait.http": takes(
        {"url": TEXT, "method": TEXT, "status": {"type": "integer", "minimum": 100, "maximum": 599}, "headers": MAP,
         "body": {"type": "string"}, "request_timeout": SPAN, **POLL},
        "url",
    ),
    "exec": takes({"command": TEXT, "args": {"type": "array", "items": {"type": ["string", "number", "boolean"]}}},
                  "command"),
    "noop": takes({}),
    "log.write": takes({"message": {"type": "string"}}, "message"),
    "mail.send": takes(
        {"from": TEXT, "to": TEXTS, "cc": TEXTS, "bcc": TEXTS, "subject": TEXT, "message": {"type": "string"},
         "attachments": {"type": "array", "items": TEXT}},
        "from", "to", "subject", "message",
    ),
}  # fmt: skip
