"""The queue of a call: the one that is named, or to which Celery's exchanges and routing keys lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteq.context import App
from liteq.exceptions import QueueNotFound
from liteq.routing.queues import declared_queues, takes
from liteq.routing.routes import queue_name
from liteq.sending.options import OF_THE_TASK
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


def routed(publisher: Any, defaults: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a call over those of its route, where routes look at calls. `defaults`: those of its task.

    The option `route_name` names another task whose way it goes; a call of `map` goes that of the task it calls.
    """
    router = publisher.router
    name = options.get("route_name") or (_mapped(kwargs) if defaults.maps else None)
    if name is None:
        if defaults.static or (defaults.inherits and router.is_static):
            return options
        return {**router.route(defaults.name, args, kwargs, options, defaults.task), **defaults.own, **options}
    way = publisher.defaults(name)
    found = {**router.route(name, args, kwargs, options, way.task), **way.own}
    found = {key: found[key] for key in OF_THE_TASK if key in found}  # no time limit of another task's
    return {**found, **defaults.own, **options}


def _mapped(kwargs: Mapping[str, Any]) -> str | None:
    """The name of the task that a call of `map` or `starmap` with these arguments calls."""
    task = kwargs.get("task")
    found = task.get("task") if isinstance(task, Mapping) else None
    return found if isinstance(found, str) else None


def queue_for(app: App, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The queue to which this call would go. Raises what its route raises, and QueueNotFound."""
    publisher, conf = app.publisher, app.conf
    defaults = publisher.defaults(name)
    found = routed(publisher, defaults, args, kwargs, dict(options))
    return existing(queue_of(found, conf) or defaults.queue, conf)
