"""The classes of an app's own steps (`liteq.bootsteps` is their public name), and their life in a worker."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from liteq.exceptions import ImproperlyConfigured

__all__ = ["ConsumerStep", "StartStopStep", "Step", "Steps", "in_order"]

logger = logging.getLogger("liteq.worker")


class Step:
    """Something that is made with a worker: `__init__` and `create` are called with it, and with its options."""

    name: str | None = None
    label: str | None = None
    requires: Iterable[Any] = ()
    """Steps that are to be made before: classes. Celery's own ("celery.worker.components:Timer") always are."""
    last: bool = False
    enabled: bool = True

    def __init__(self, parent: Any, **kwargs: Any) -> None: ...

    def include_if(self, parent: Any) -> bool:
        """Whether the worker `parent` is to have this step."""
        return self.enabled

    def create(self, parent: Any) -> Any:
        """Make the object that the step stands for; a StartStopStep keeps it as `obj`."""

    def include(self, parent: Any) -> bool:
        """Called once, when the worker is made; whether it has this step."""
        included = self.include_if(parent)
        if included:
            self.create(parent)
        return included

    def __repr__(self) -> str:
        return f"<step: {self.label or self.name or type(self).__name__}>"


class StartStopStep(Step):
    """A step that is started and stopped with the worker, and with it the object that `create` returned."""

    obj: Any = None

    def include(self, parent: Any) -> bool:
        included = self.include_if(parent)
        if included:
            self.obj = self.create(parent)
        return included

    def start(self, parent: Any) -> Any:
        """The worker begins to work."""
        return self.obj.start() if self.obj is not None else None

    def stop(self, parent: Any) -> Any:
        """The worker has ended."""
        return self.obj.stop() if self.obj is not None else None

    def close(self, parent: Any) -> Any:
        """The worker is about to stop its steps."""

    def terminate(self, parent: Any) -> Any:
        """In place of `stop` after a cold shutdown."""
        if self.obj is None:
            return self.stop(parent)
        return getattr(self.obj, "terminate", self.obj.stop)()


class ConsumerStep(StartStopStep):
    """Not there: its consumers take messages that are no tasks from a broker."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        raise ImproperlyConfigured(
            f"{type(self).__name__}: there is no broker whose messages a ConsumerStep could take; send tasks to a "
            "queue of their own (liteq worker -Q NAME), or read the other broker from a StartStopStep's thread"
        )


def in_order(steps: Iterable[type[Step]]) -> list[type[Step]]:
    """`steps`, each after those that it requires, by name otherwise; those that are `last` in the end."""
    waiting = sorted(steps, key=lambda step: (step.last, step.__module__, step.__qualname__))
    ordered: list[type[Step]] = []
    while waiting:
        ready = [step for step in waiting if not _required(step, waiting)] or waiting  # a circle: as they come
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def _required(step: type[Step], among: Iterable[type[Step]]) -> bool:
    wanted = {getattr(one, "__name__", str(one).rpartition(":")[2].rpartition(".")[2]) for one in step.requires}
    return any(other is not step and other.__name__ in wanted for other in among)


class Steps:
    """`app.steps["worker"]` and `app.steps["consumer"]`, each made with `worker` and `options`."""

    def __init__(self, worker: Any, options: Mapping[str, Any]) -> None:
        self.worker = worker
        classes = {*worker.app.steps["worker"], *worker.app.steps["consumer"]}
        made = [step(worker, **options) for step in in_order(classes)]
        self.included = [step for step in made if step.include(worker)]
        self._started: list[StartStopStep] = []

    def start(self) -> None:
        """Start them in their order. An exception of one ends the worker."""
        for step in self.included:
            if isinstance(step, StartStopStep):
                self._started.append(step)
                step.start(self.worker)

    def stop(self, *, cold: bool) -> None:
        """Stop the started steps, the last one first. An exception of one is logged, and the others are stopped."""
        started, self._started = self._started[::-1], []
        for name in ("close", "terminate" if cold else "stop"):
            for step in started:
                try:
                    getattr(step, name)(self.worker)
                except Exception:
                    logger.exception("%r could not %s", step, name)
