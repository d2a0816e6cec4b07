"""Schemas of arguments and results, written short: a list of tools is read by a model with each conversation."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ID", "INTEGER", "LIST", "MAYBE", "NUMBER", "OBJECT", "REASON", "TEXT", "TEXTS", "YES", "gives", "takes"]

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
ID: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 500}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
INTEGER: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
YES: Final[Schema] = {"type": "boolean"}
LIST: Final[Schema] = {"type": "array"}
OBJECT: Final[Schema] = {"type": "object"}
MAYBE: Final[Schema] = {"type": ["string", "null"]}
REASON: Final[Schema] = {"type": "string", "maxLength": 1000, "description": "Why; kept in the audit."}


def takes(*required: str, **properties: Schema) -> Schema:
    """The schema of a tool's arguments."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def gives(*required: str, **properties: Schema) -> Schema:
    """The schema of a tool's result; it may have more fields than these."""
    return {"type": "object", "properties": properties, "required": list(required)}
