"""Places of calls, and waits at them; and the parts of an activation as those below them know them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from liteq.message import StepRow

__all__ = ["Awaiting", "Limit", "Page", "Place", "Point", "Undoing", "Wait", "describe", "show"]

Place = tuple[str, int]  # a scope, a position

Limit = Callable[[float], AbstractContextManager[object]]
"""Makes a block that raises StepTimeout inside itself after so many seconds; None where this thread cannot do that."""


@dataclass(slots=True)
class Wait:
    """One thing that a body waits for: a call that history does not answer yet.

    `row`: its open row where that is to be written (new, or a failed attempt); `due_ms`: until when at most; `need`:
    how many more children have to end; `fragile`: or one to fail.
    """

    place: Place
    row: StepRow | None = None
    due_ms: int | None = None
    need: int = 0
    fragile: bool = False


class Undoing(Protocol):
    """A saga, as the steps know it that have a compensation."""

    def add(self, fn: Any, /, *args: Any, **kwargs: Any) -> None:
        """Have `fn` called with these if the block of the saga fails or is cancelled later on."""


class Point(Protocol):
    """A scope (calling/scope.py), as the machine and the attempts of steps know it."""

    machine: Any
    name: str
    pos: int
    branches: int
    given: str | None
    reached_ms: int
    shields: int

    def wait(self, wait: Wait) -> NoReturn:
        """Leave the body until `wait` is over; in an async one this branch alone."""

    def answer(self, row: StepRow, form: Any) -> Any:
        """The result of an ended call, or its exception."""

    def reach(self, row: StepRow) -> None:
        """Note that the code has got the end of a call."""

    def compensate(self, step: Any, value: Any) -> None:
        """Add the compensation of a step to the innermost saga, if there is one."""


class Awaiting(Protocol):
    """An async body that runs (activating/pending.py), as its calls, its steps and its sessions know it."""

    loop: Any
    sessions: dict[Any, Any]

    async def wait(self, wait: Wait) -> Any:
        """Wait for something that another activation will bring: until this one is left."""

    def leave_for(self, wait: Wait) -> NoReturn:
        """Leave the body until `wait`, of a plain step, or another one is over."""

    async def attempt(self, call: Any, row: StepRow | None) -> Any:
        """Run an `async def` step until it has returned, has failed for good, or waits for its next attempt."""


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


def show(place: Place) -> str:
    """A place in words."""
    scope, pos = place
    if scope.startswith("="):
        return f"key {scope[1:]!r}"
    return f"call {pos}" + (f" of branch {scope}" if scope else "")


def describe(row: Any) -> str:
    """A recorded call in words."""
    return f"{row.kind} {row.name!r}" if row.name and row.name != row.kind else str(row.kind)
