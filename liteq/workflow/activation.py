"""The entry of a worker: one lease of a run, or of a step that was sent as a message, to its outcome.

The process that executes calls `activate` in its main thread, for each lease whose row has the flag RUN or STEP, and for
each message sent by name alone whose task is a workflow (`is_workflow(task)`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from liteq.context import App
from liteq.message import Lease, Outcome

__all__ = ["Limit", "Page", "activate"]

Limit = Callable[[float], AbstractContextManager[object]]
"""Makes a block that raises StepTimeout inside itself after so many seconds; None where this thread cannot do that."""


class Page(Protocol):
    """A page of memory that the process shares with its parent: the step that it executes at the moment."""

    def begin(self, scope: str, pos: int, name: str, deadline_ms: int | None) -> None:
        """A step begins; it is to be killed a while after `deadline_ms` (of the app's clock; None: never)."""

    def clear(self) -> None:
        """No step is in progress."""


def activate(
    app: App,
    lease: Lease,
    *,
    hostname: str = "",
    page: Page | None = None,
    stop: Callable[[], bool] | None = None,
    limit: Limit | None = None,
) -> Outcome:
    """Execute `lease` as far as it goes in this process: until it ends, waits, or `stop()` is true after a step.

    Of a run: Ack (its result), DeadLetter (its exception), Cancel (it was cancelled), Suspend (it waits), Release (it is
    given back: a warm stop), Park (stuck), ContinueAsNew. Of a step's message: Ack, DeadLetter, Suspend (the next
    attempt), Cancel, Release. Where the lease was lost meanwhile the outcome is a Release, which its token makes void.

    An Exception of the user's is an outcome and is not raised; SystemExit of a step is its failure. What else is no
    Exception ends the process, and is raised. `page` is told of each step before it begins. `limit`: how StepTimeout
    is raised inside a step that does not await; without it, by a timer of this module where the thread is the main one.
    """
    raise NotImplementedError
