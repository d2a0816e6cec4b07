"""The errors of flows.

LiteqError
├── FlowRefused            a file, params or a form that nothing is done with; each problem with its place
└── UnknownReference       (also a LookupError) `${...}` of what is not there when a step begins
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.exceptions import LiteqError
from liteq_flow.model import Problem

__all__ = ["FlowRefused", "UnknownReference"]


class FlowRefused(LiteqError, ValueError):
    """Raised before anything is written, for a flow that is wrong; `problems` has each with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(one) for one in problems))
        self.problems = tuple(problems)


class UnknownReference(LiteqError, LookupError):
    """Raised when a reference names what is not there."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{text}: {why}")
        self.text = text
        self.why = why
