"""`Secret`: a value that is carried by its name, and read where a step needs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from liteq.exceptions import WorkflowError

__all__ = ["MARKER", "Secret", "guards"]

KINDS = ("env", "file")
MARKER = "liteq.secret"  # the tag of one in JSON
HIDDEN = "***"

guards: list[Callable[[Secret], object]] = []
"""Called before a value is read: the workflow room refuses that in a body."""


class Secret:
    """The name of a secret: `Secret("env:NAME")` or `Secret("file:/run/secrets/name")`.

    As an argument or a result its name alone is kept. `reveal()` reads the value, in the process that needs it and at
    that time. Raises ValueError for a name of another kind.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        kind, _, rest = str(name).partition(":")
        if kind not in KINDS or not rest or not name.isprintable():  # the text may be the value itself: not told
            raise ValueError('a Secret is named "env:NAME" or "file:PATH"; its value is read by reveal()')
        self.name = name

    def reveal(self) -> str:
        """The value, without a newline at its end. For steps and tasks; the body of a workflow is refused.

        Raises WorkflowError, which names the secret, where it is not there.
        """
        for guard in guards:
            guard(self)
        kind, _, rest = self.name.partition(":")
        if kind == "env":
            try:
                return os.environ[rest]
            except KeyError:
                raise WorkflowError(
                    f"the secret {self.name!r} is not in the environment of this process: set it where that is started"
                ) from None
        from pathlib import Path

        try:
            return Path(rest).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeError) as exc:
            why = getattr(exc, "strerror", None) or "it is no text in UTF-8"
            raise WorkflowError(f"the secret {self.name!r} cannot be read: {why}") from None

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash((MARKER, self.name))

    def __reduce__(self) -> Any:
        return Secret, (self.name,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """As a field of a model: its name in JSON."""
        from pydantic_core import core_schema

        by_name = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=by_name,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), by_name]),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda one: one.name),
        )
