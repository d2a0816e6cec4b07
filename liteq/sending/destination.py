"""The queue of a call: the one that is named, or to which Celery's exchanges and routing keys lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteq.context import App
from liteq.exceptions import QueueNotFound
from liteq.routing.queues import declared_queues, takes
from liteq.routing.routes import queue_name
from liteq.utils.names import checked_name

__all__ = ["existing", "queue_for", "queue_of", "routed"]


def queue_of(options: Mapping[str, Any], conf: Any) -> str | None:
    """The queue that `queue=` names, else the one in `task_queues` to which `exchange=` and `routing_key=` lead."""
    queue = queue_name(options.get("queue"))
    if queue is not None:
        return queue
    routing_key = options.get("routing_key")
    if routing_key is None:
        return None
    exchange = getattr(options.get("exchange"), "name", options.get("exchange"))
    for name, declared in declared_queues(conf.task_queues).items():
        if takes(declared, str(routing_key), exchange):
            return name
    return str(routing_key)


def existing(queue: str, conf: Any) -> str:
    """`queue`; raises QueueNotFound where `task_create_missing_queues` is off and `task_queues` does not have it.

    Raises TypeError, ValueError for a value that cannot be a queue's name.
    """
    checked_name(queue, "a queue's name")
    if conf.task_create_missing_queues:
        return queue
    known = [queue_name(one) for one in conf.task_queues or ()]
    if queue not in known and queue != conf.task_default_queue:
        raise QueueNotFound(f"there is no queue {queue!r} in task_queues, and task_create_missing_queues is off")
    return queue


def routed(router: Any, defaults: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a call over those of its route, where routes look at calls. `defaults`: those of its task."""
    if defaults.static or (defaults.inherits and router.is_static):
        return options
    return {**router.route(defaults.name, args, kwargs, options, defaults.task), **defaults.own, **options}


def queue_for(app: App, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The queue to which this call would go. Raises what its route raises, and QueueNotFound."""
    publisher, conf = app.publisher, app.conf
    defaults = publisher.defaults(name)
    found = routed(publisher.router, defaults, args, kwargs, dict(options))
    return existing(queue_of(found, conf) or defaults.queue, conf)
