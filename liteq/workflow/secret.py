"""`Secret`: a value that is carried by its name, and read where a step needs it."""

from __future__ import annotations

import os
from pathlib import Path

from liteq.exceptions import WorkflowError

__all__ = ["Secret"]

KINDS = ("env", "file")


class Secret:
    """The name of a secret: `Secret("env:NAME")` or `Secret("file:/run/secrets/name")`.

    Only its name is kept in the queue; `reveal()` reads the value, in the process and at the time at which it is used.
    Raises ValueError for a name of another kind.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        kind, _, rest = str(name).partition(":")
        if kind not in KINDS or not rest:
            raise ValueError('a Secret is named "env:NAME" or "file:PATH"; its value is read by reveal()')
        self.name = name

    def reveal(self) -> str:
        """The value, without a newline at its end. Raises WorkflowError, which names it, where it is not there."""
        kind, _, rest = self.name.partition(":")
        if kind == "env":
            try:
                return os.environ[rest]
            except KeyError:
                raise WorkflowError(f"the secret {self.name!r} is not set in the environment of this process") from None
        try:
            return Path(rest).read_text(encoding="utf-8").removesuffix("\n")
        except OSError as exc:
            raise WorkflowError(f"the secret {self.name!r} cannot be read: {exc.strerror}") from None

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)
