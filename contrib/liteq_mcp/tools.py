"""A tool: its name, what a viewer needs for it, its schemas, and its function; the check of what it is called with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from mcp.server.context import ServerRequestContext
from mcp.types import CallToolRequestParams, Tool, ToolAnnotations

from liteq.utils.misspelt import meant
from liteq_dashboard.access import Viewer

if TYPE_CHECKING:
    from liteq import LiteQ
    from liteq_mcp.options import Options

__all__ = ["Call", "Refused", "Schema", "ToolOf", "checked"]

Schema = dict[str, Any]
SHOWN: Final = 200  # characters of an error about a value


class Refused(Exception):
    """Raised where a tool does not do what it was called for; the text is for the agent, and says what to do."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool: of which app, by whom, with what arguments."""

    app: LiteQ
    viewer: Viewer
    options: Options
    arguments: Mapping[str, Any]
    context: ServerRequestContext[Any, Any]
    params: CallToolRequestParams

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, `default` where it was not given or is null."""
        found = self.arguments.get(name)
        return default if found is None else found


Do = Callable[[Call], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class ToolOf:
    """A tool as the table of tools has it.

    `right`: the right that it needs; "": by `actions`, those of which the viewer has the right, and none at all where
    it has none of them. `destroys`: what it does may not be undone.
    """

    name: str
    description: str
    do: Do
    takes: Schema
    gives: Schema
    right: str = ""
    actions: Mapping[str, str] = field(default_factory=dict)
    looks: bool = False
    destroys: bool = False
    repeats: bool = False  # done twice with the same arguments is as done once
    starts: bool = False  # what it starts can be followed by a handle

    def allowed(self, viewer: Viewer) -> list[str]:
        """The actions that a viewer may ask for."""
        return [action for action, right in self.actions.items() if viewer.can(right)]

    def is_for(self, viewer: Viewer) -> bool:
        """Whether a viewer may know of it."""
        return bool(self.allowed(viewer)) if self.actions else viewer.can(self.right)

    def input_schema(self, viewer: Viewer) -> Schema:
        """The schema of its arguments, with the actions that the viewer may ask for."""
        if not self.actions:
            return self.takes
        properties = {**self.takes["properties"], "action": {"enum": self.allowed(viewer)}}
        return {**self.takes, "properties": properties}

    def shown(self, viewer: Viewer) -> Tool:
        """The tool as it stands in a list."""
        return Tool(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema(viewer),
            output_schema=self.gives,
            annotations=ToolAnnotations(
                read_only_hint=self.looks,
                destructive_hint=self.destroys,
                idempotent_hint=self.looks or self.repeats,
                open_world_hint=False,
            ),
        )


def checked(schema: Schema, given: Mapping[str, Any]) -> None:
    """Raise Refused, which names the field, for arguments that do not fit the schema."""
    errors: Iterable[ValidationError] = Draft202012Validator(schema).iter_errors(dict(given))
    found = sorted(errors, key=lambda one: len(one.path))
    if found:
        raise Refused(_said(found[0]))


def _said(error: ValidationError) -> str:
    where = ".".join(map(str, error.path))
    known = sorted(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
    inside: Any = error.instance
    match error.validator:
        case "additionalProperties":
            unknown = sorted(inside.keys() - set(known))
            hint = meant(unknown[0], known, f"it takes {', '.join(known) or 'nothing'}") if unknown else ""
            return f"{_at(where, unknown[0] if unknown else '')}: there is no such argument{hint}"
        case "required":
            missing = [name for name in error.schema["required"] if name not in inside]
            return f"{_at(where, missing[0])}: it is required"
        case "enum":
            allowed = ", ".join(map(str, error.validator_value))
            return f"{where}: it is one of {allowed}, not {str(inside)[:SHOWN]!r}"
        case _:
            return f"{where}: {error.message[:SHOWN]}" if where else error.message[:SHOWN]


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where and name else where or name
