"""`app.amqp`: the queues that the settings name, for code that asks Celery's app for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from liteq.queues import Exchange, Queue
from liteq.routing import queue_name

__all__ = ["AMQP"]


class AMQP:
    """What is known of queues without asking the file. There is no AMQP in it; the name is Celery's."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def default_queue(self) -> Queue:
        """The queue of tasks that name none."""
        name = self.app.conf.task_default_queue
        return self.queues.get(name) or Queue(name)

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of that name."""
        return Exchange(self.app.conf.task_default_queue)

    @cached_property
    def queues(self) -> dict[str, Queue]:
        """The queues of the setting `task_queues`, by name; without it the default one alone."""
        declared = self.app.conf.task_queues or ()
        found: dict[str, Queue] = {}
        if isinstance(declared, Mapping):
            found = {name: Queue.from_dict(name, **dict(options or {})) for name, options in declared.items()}
        else:
            for queue in declared:
                made = queue if isinstance(queue, Queue) else Queue(queue_name(queue) or str(queue))
                found[made.name] = made
        if not found:
            default = self.app.conf.task_default_queue
            found[default] = Queue(default, Exchange(default), routing_key=default)
        return found
