"""The hooks of programs written for Celery: bootsteps, `worker.timer`, and three signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteq import signals
from liteq.context import App
from liteq.message import Lease
from liteq.worker.compat.bootsteps import Steps
from liteq.worker.compat.task_received import announce_received
from liteq.worker.compat.task_unknown import announce_refused
from liteq.worker.compat.timer import Timer
from liteq.worker.hooks import Chore, Hooks

__all__ = ["CeleryHooks"]


class HooksOfChild(Hooks):
    """The hooks in a process that has no worker, and an `app` that it has imported itself."""

    def __init__(self, app: App) -> None:
        self._app = app

    def refused(self, lease: Lease, exc: Exception) -> None:
        announce_refused(self._app, lease, exc)


class CeleryHooks(Hooks):
    """The hooks of `worker`; its steps are made with `options`."""

    def __init__(self, worker: Any, options: Mapping[str, Any]) -> None:
        self.timer = Timer()
        self._worker = worker
        self._app = worker.app
        self._options = options
        self._steps: Steps | None = None

    def afresh(self) -> Callable[[App], Hooks]:
        return HooksOfChild

    def chores(self) -> Sequence[Chore]:
        return (self.timer,)

    def starting(self) -> None:
        self._steps = Steps(self._worker, self._options)

    def started(self) -> None:
        if self._steps is not None:
            self._steps.start()

    def stopped(self, *, cold: bool) -> None:
        if self._steps is not None:
            self._steps.stop(cold=cold)

    def received(self, leases: Sequence[Lease]) -> None:
        if signals.task_received.receivers:
            announce_received(self._worker, leases)

    def refused(self, lease: Lease, exc: Exception) -> None:
        announce_refused(self._app, lease, exc)
