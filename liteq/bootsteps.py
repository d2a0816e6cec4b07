"""Steps of one's own in a worker's life, by Celery's names.

    class Heartbeat(bootsteps.StartStopStep):
        def start(self, worker):
            self.tref = worker.timer.call_repeatedly(1.0, touch, (path,))

        def stop(self, worker):
            path.unlink(missing_ok=True)

    app.steps["worker"].add(Heartbeat)

Steps run in the worker's main process, in its loop: what takes long belongs into a thread. A step is started when the
pool has started, and stopped, the last one first, when the last task has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liteq.exceptions import ImproperlyConfigured

__all__ = ["ConsumerStep", "StartStopStep", "Step", "in_order"]


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
        """Make what the step stands for; with a StartStopStep it becomes `obj`."""

    def include(self, parent: Any) -> bool:
        """Called once, when the worker is made; whether it has this step."""
        included = self.include_if(parent)
        if included:
            self.create(parent)
        return included

    def __repr__(self) -> str:
        return f"<step: {self.label or self.name or type(self).__name__}>"


class StartStopStep(Step):
    """A step that is started and stopped with the worker; what `create` returns is started and stopped by it."""

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
