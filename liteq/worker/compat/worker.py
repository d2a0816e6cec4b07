"""The worker with the attributes that programs written for Celery ask it for."""

from __future__ import annotations

from liteq.app.discovery import require_tasks
from liteq.worker import worker as engine
from liteq.worker.chores.autoscale import Autoscaler
from liteq.worker.compat.hooks import CeleryHooks
from liteq.worker.compat.timer import Timer
from liteq.worker.loop import Consumer
from liteq.worker.pool import Pool

__all__ = ["Worker"]


class Worker(engine.Worker):
    __doc__ = engine.Worker.__doc__

    def make_hooks(self) -> CeleryHooks:
        self._celery = CeleryHooks(self, self.options)
        return self._celery

    def start(self) -> int:
        """As `run`. Raises ImproperlyConfigured where the app has no task of its own."""
        self.app.import_tasks()
        require_tasks(self.app, "; worker_without_tasks=True starts it all the same")
        return self.run()

    @property
    def timer(self) -> Timer:
        """Calls functions in the worker's loop."""
        return self._celery.timer

    @property
    def pool(self) -> Pool | None:
        """The pool; None before the worker has started."""
        return self.running.pool if self.has_started else None

    @property
    def consumer(self) -> Consumer | None:
        """The loop; None before the worker has started."""
        return self.running.consumer if self.has_started else None

    @property
    def autoscaler(self) -> Autoscaler | None:
        """The chore that changes the pool's size, where there is one."""
        return self.running.autoscaler if self.has_started else None
