"""`app.amqp`: the queues that the settings name and where a task goes, for code that asks Celery's app for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from liteq.context import App
from liteq.exceptions import QueueNotFound
from liteq.routing.queues import Exchange, Queue, declared_queues
from liteq.routing.routes import queue_name
from liteq.routing.taken import taken, without

__all__ = ["AMQP", "Queues", "Routes"]


class AMQP:
    """The queues that can be told without asking the file. There is no AMQP in it; the name is Celery's."""

    def __init__(self, app: App) -> None:
        self.app = app

    @property
    def default_queue(self) -> Queue:
        """The queue of tasks that name none."""
        name = self.app.conf.task_default_queue
        return self.queues.get(name) or Queue(name, self.default_exchange)

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of that name."""
        return Exchange(self.app.conf.task_default_queue)

    @cached_property
    def queues(self) -> Queues:
        """The queues of the setting `task_queues`, by name; without it the default one alone."""
        default = self.app.conf.task_default_queue
        found = declared_queues(self.app.conf.task_queues)
        return Queues(self.app, found or {default: Queue(default, Exchange(default), routing_key=default)})

    @cached_property
    def router(self) -> Routes:
        """Where tasks go."""
        return Routes(self)


class Queues(dict[str, Queue]):
    """Queues by name. Which of them a worker takes from that is started from now on can be chosen here."""

    def __init__(self, app: App, queues: Mapping[str, Queue]) -> None:
        super().__init__(queues)
        self.app = app

    def add(self, queue: Queue | str, **options: Any) -> Queue:
        """Declare one more; `options` are those of `Queue`."""
        made = Queue.from_dict(queue, **options) if isinstance(queue, str) else queue
        self[made.name] = made
        return made

    @property
    def consume_from(self) -> dict[str, Queue]:
        """Those that workers of this app take from when they are given none."""
        names = [taken(one).name for one in self.app.default_queues()]
        return {name: self.get(name) or Queue(name) for name in names}

    def select(self, include: str | Iterable[str]) -> None:
        """Have workers take from these alone, declared or not."""
        self.app.select_queues(include)
        for name, queue in self.consume_from.items():
            self.setdefault(name, queue)

    def select_add(self, queue: Queue | str, **options: Any) -> Queue:
        """Declare one more, and have workers take from it too."""
        before = self.app.default_queues()
        made = self.add(queue, **options)
        self.app.select_queues([*(one for one in before if taken(one).name != made.name), made.name])
        return made

    def deselect(self, exclude: str | Iterable[str]) -> None:
        """Have workers not take from these."""
        gone = {name.strip() for name in exclude.split(",")} if isinstance(exclude, str) else set(exclude)
        self.app.select_queues(without(self.app.default_queues(), gone))


class Routes:
    """`app.amqp.router.route({}, "shop.tasks.mail")["queue"].name`: as tests of settings ask."""

    def __init__(self, amqp: AMQP) -> None:
        self.amqp = amqp

    def route(
        self, options: Mapping[str, Any] | None, name: str, args: Any = (), kwargs: Any = None, task_type: Any = None
    ) -> dict[str, Any]:
        """The options with which a call of the task `name` is sent: `options`, over those of its route.

        `queue` is a Queue. Raises QueueNotFound where it is not declared and `task_create_missing_queues` is off.
        """
        app = self.amqp.app
        given = {key: value for key, value in (options or {}).items() if value is not None}
        found = app.publisher.router.route(name, args, kwargs, given, task=task_type)
        merged = {**found, **given}
        if not found and "queue" not in given:
            merged["queue"] = self.amqp.default_queue
        if merged.get("queue") is not None:
            merged["queue"] = self._queue(merged["queue"])
        return merged

    def _queue(self, queue: Any) -> Any:
        name = queue_name(queue)
        assert name is not None, "a queue that is None is left out before"
        if name in self.amqp.queues:
            return self.amqp.queues[name]
        conf = self.amqp.app.conf
        if not conf.task_create_missing_queues and name != conf.task_default_queue:
            raise QueueNotFound(f"there is no queue {name!r} in task_queues, and task_create_missing_queues is off")
        return queue if hasattr(queue, "name") else Queue(name, Exchange(name), routing_key=name)
