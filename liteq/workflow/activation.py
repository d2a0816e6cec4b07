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
    """A page of memory that the process shares with its parent: the steps that it executes at the moment.

    Several, where the body is async: each has a slot of its own, so that the end of one is not that of another.
    """

    def begin(
        self,
        scope: str,
        pos: int,
        name: str,
        attempt: int,
        timeout_s: float | None,
        key: str | None = None,
        arghash: bytes | None = None,
    ) -> int:
        """A step begins its attempt (from 1), for `timeout_s` seconds at most (None: for ever); its slot, for `end`.

        Seconds, and not a time of the wall's clock: that may be set while the step runs. Where its process has to be
        killed, the parent settles the lease as Suspend with a StepRow of these fields: an open row of kind "step", with
        `attempts`=`attempt` and the error StepTimeout. The next activation decides whether there is another attempt.
        """

    def end(self, slot: int) -> None:
        """The step in `slot` has ended, or was left; called before its checkpoint is written or after, but always."""


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
