"""The two interfaces through which a worker calls code that is no part of its engine.

A `Chore` is called by the loop when its time has come; `Hooks` are called at fixed moments of the worker's life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from liteq.context import App
from liteq.message import Lease

__all__ = ["Chore", "Hooks", "Listening"]


class Chore(Protocol):
    """Work that the loop does beside claiming and settling; it must not take long, and raises only StorageError."""

    @property
    def due_at(self) -> float:
        """When it wants to be called next, by `time.monotonic()`."""

    def turn(self) -> None:
        """Do the work that is due, and set `due_at` anew."""


@runtime_checkable
class Listening(Protocol):
    """A chore that is also told of each ring of the queue's bell."""

    def rung(self) -> None:
        """Take note of it: `due_at` may be moved forward."""


class Hooks:
    """The hooks of a worker that has none: each does nothing.

    All but `refused` are called in the worker's main process, and hold up its loop for as long as they take.
    """

    def afresh(self) -> Callable[[App], Hooks] | None:
        """A function that can be pickled: makes the hooks of a process that shares no memory with the worker."""
        return None

    def chores(self) -> Sequence[Chore]:
        """Chores for the worker's loop."""
        return ()

    def starting(self) -> None:
        """Called once the tasks are imported, before there is a pool. An exception ends the worker."""

    def started(self) -> None:
        """Called when the pool has started. An exception ends the worker."""

    def stopped(self, *, cold: bool) -> None:
        """Called when the pool has stopped; `cold`: without waiting for the running tasks."""

    def received(self, leases: Sequence[Lease]) -> None:
        """Called with the leases that were just claimed."""

    def refused(self, lease: Lease, exc: Exception) -> None:
        """Called, in the process that executes, for a message that cannot be run because of `exc`."""
