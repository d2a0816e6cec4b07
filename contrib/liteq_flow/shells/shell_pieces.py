"""The pieces of a command: its own text, and slots where a reference stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from liteq_flow.values import Reference

__all__ = ["BREAKS", "Delimiter", "Form", "Pieces", "ShellRefused", "Slot"]

BREAKS = " \t\n;&|()<>"  # what ends a word

Form = Literal["bare", "double", "single", "ansi"]
# A slot's text, of the variable `{}`: one word, or a part of one, that the shell does not read again.
WRITTEN: dict[Form, str] = {
    "bare": '"${{{}}}"',
    "double": "${{{}}}",
    "single": "'\"${{{}}}\"'",
    "ansi": "'\"${{{}}}\"$'",
}


class ShellRefused(ValueError):
    """Raised where a reference stands in a place in which its value would be read as code."""


@dataclass(slots=True)
class Slot:
    """A reference in its place."""

    reference: Reference
    form: Form
    number: bool = False
    """Whether a number alone may stand here: the shell evaluates what stands there."""

    def written(self, variable: str) -> str:
        """The text that stands for it, once its value is in the environment as `variable`."""
        return WRITTEN[self.form].format(variable)


@dataclass(slots=True)
class Delimiter:
    """The word behind `<<`. It is written without its quotes where the body has references."""

    raw: str
    word: str
    quoted: bool
    strips_tabs: bool
    plain: bool = False

    @property
    def written(self) -> str:
        """The text of it."""
        return self.word if self.plain else self.raw


@dataclass(slots=True)
class Pieces:
    """A command, cut; with the names whose values the shell would evaluate."""

    parts: list[str | Slot | Delimiter] = field(default_factory=list)
    evaluated: set[str] = field(default_factory=set)
    """Variables that stand in arithmetic, or are names of names."""
    assigned: dict[str, list[Slot]] = field(default_factory=dict)
    """`x=${...}`: what flows into a variable of the script's own."""
    flows: dict[str, set[str]] = field(default_factory=dict)
    """`x=$y`: the variables that flow into another one."""

    def slots(self) -> list[Slot]:
        """The references, in their order."""
        return [part for part in self.parts if isinstance(part, Slot)]

    def settle(self) -> None:
        """Hold what flows into an evaluated variable to a number."""
        found = {*self.evaluated}
        while found:
            found = {name for one in found for name in self.flows.get(one, ())} - self.evaluated
            self.evaluated |= found
        for name in self.evaluated & self.assigned.keys():
            for slot in self.assigned[name]:
                slot.number = True
