"""The place of the code that runs: in a workflow's body, in a step, or in neither. And how a body is left."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, Token
from typing import Any, NoReturn, Protocol

from liteq.exceptions import WorkflowError

__all__ = ["Diverged", "Frame", "Leave", "enter", "frame_in", "here", "leave", "outside"]


class Leave(BaseException):
    """Raised in a body to leave it until its next activation, or for good: it waits, or was told to stop.

    No Exception, so that an `except Exception` of the body lets it through.
    """


class Diverged(Leave):
    """Raised in a body whose code asks for something else than history holds; the run is stuck with NonDeterminism.

    Whatever catches it, each later call raises it again, and nothing that came after is kept.
    """


class Frame(Protocol):
    """A body's scope, or a step that runs."""

    def call_step(self, step: Any, args: Any, kwargs: Any) -> Any:
        """Answer a call of `step`."""

    def refuse(self, what: str) -> NoReturn:
        """Raise WorkflowError for a use of `ctx` that is not for this place; `what` names it."""


_here: ContextVar[Any] = ContextVar("liteq_workflow", default=None)
here = _here.get
# `enter(frame)` makes a frame, or None, the place of what runs from now on; `leave` takes the token that it returns.
enter: Callable[[Frame | None], Token[Any]] = _here.set
leave: Callable[[Token[Any]], None] = _here.reset


def frame_in(context: Context) -> Any:
    """The place of what runs in `context`: a frame, or None."""
    return context.get(_here)


def outside(what: str) -> WorkflowError:
    """The error for a use of `ctx` where no run executes."""
    return WorkflowError(
        f"{what} is for the body of a workflow, or for a step, while a run executes it, and in its own thread: "
        "start a run with `flow.start(...)`"
    )
