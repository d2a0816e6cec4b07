"""The worker with the attributes that programs written for Celery ask it for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from liteq.app.discovery import require_tasks
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.routing.taken import taken
from liteq.utils.globs import is_glob
from liteq.utils.misspelt import unexpected
from liteq.worker import worker as engine
from liteq.worker.chores.autoscale import Autoscaler
from liteq.worker.compat.hooks import CeleryHooks
from liteq.worker.compat.timer import Timer
from liteq.worker.loop import Consumer
from liteq.worker.pool import Pool

__all__ = ["Worker"]


WITHOUT_EFFECT = frozenset(
    {
        "O", "autoscaler_cls", "consumer_cls", "disable_prefetch", "disable_rate_limits", "heartbeat_interval",
        "no_color", "optimization", "pool_putlocks", "pool_restarts", "prefetch_multiplier", "quiet",
        "ready_callback", "redirect_stdouts", "redirect_stdouts_level", "schedule_filename", "scheduler",
        "scheduler_cls", "state_db", "statedb", "timer_cls", "timer_precision", "use_eventloop", "without_gossip",
        "without_heartbeat", "without_mingle", "worker_lost_wait",
    }
)  # fmt: skip
"""Options of Celery's worker that mean nothing here: they are taken, as the command line takes them."""
SECOND_NAMES = {"pool_cls": "pool", "task_time_limit": "time_limit", "task_soft_time_limit": "soft_time_limit"}


class Worker(engine.Worker):
    __doc__ = engine.Worker.__doc__

    def __init__(self, app: App, *, purge: bool = False, **options: Any) -> None:
        """`purge`: before it works, delete for good all messages that wait in its queues.

        Celery's other options (`without_heartbeat`, `prefetch_multiplier`, `optimization`, `statedb`, ...) are taken
        and have no effect; its second names (`pool_cls`) and "10,3" for `autoscale` mean what they do there. Raises
        TypeError for an unknown one, which names the nearest; ImproperlyConfigured where `purge` does not say of which
        file, or of which queues.
        """
        wanted = _by_first_names({name: value for name, value in options.items() if name not in WITHOUT_EFFECT})
        if isinstance(autoscale := wanted.get("autoscale"), str):
            most, _, least = autoscale.partition(",")
            wanted["autoscale"] = (int(most), int(least or 0))
        known = inspect.signature(engine.Worker.__init__).parameters
        if unknown := wanted.keys() - known.keys():
            raise unexpected("Worker()", unknown, {*known, *WITHOUT_EFFECT, "purge"} - {"self"})
        if purge:
            _check_purge([taken(one).name for one in wanted.get("queues") or app.default_queues()], wanted.get("db"))
        super().__init__(app, **wanted)
        self._purge = purge

    def run(self) -> int:
        if self._purge:
            self.app.storage.purge([taken(one).name for one in self.queues])
        return super().run()

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


def _by_first_names(given: dict[str, Any]) -> dict[str, Any]:
    """`given` with its second names in place of first ones that are not there; not a class, of which there is none."""
    second = {name: given.pop(name) for name in SECOND_NAMES if name in given}
    named = {SECOND_NAMES[name]: value for name, value in second.items() if not isinstance(value, type)}
    return {**named, **{name: value for name, value in given.items() if value is not None or name not in named}}


def _check_purge(queues: Sequence[str], db: Sequence[str] | None) -> None:
    """Raises ImproperlyConfigured for what the command line refuses too."""
    how = "do it file by file, `with app.using(path): app.control.purge()`" if db else ""
    for glob in filter(is_glob, queues):
        how = how or f"name its queues one by one, in place of {glob!r}"
    if how:
        raise ImproperlyConfigured(f"purge deletes for good: {how}")
