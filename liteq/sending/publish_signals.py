"""The signals before_task_publish and after_task_publish: one of each for every message, those of a canvas too."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from liteq import signals
from liteq.clock import from_ms
from liteq.context import App
from liteq.context.display import in_front, redacted, shown_call
from liteq.message import Flag, Message
from liteq.routing.queues import Exchange, Queue
from liteq.sending.options import check_options, unknown_among
from liteq.sending.producer import Producer
from liteq.serialization import decode
from liteq.serialization.content import Owner
from liteq.utils.misspelt import Asked

__all__ = ["announce", "announce_sent", "publish_through_producer", "task_sent_events"]


def announce(
    app: App, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any], dict[str, Any]] | None:
    """Send before_task_publish; None when no receiver changes the message, else its arguments and its own headers.

    A receiver adds to `headers`, and changes the arguments in `body`, as in Celery; its other changes are ignored.
    Raises TypeError for an option that is none, unless a receiver asks for it in `properties`.
    """
    own = dict(options.get("headers") or {})
    publication = _publication(app, message, args, kwargs, options)
    headers = publication["headers"]
    ours = headers.keys() - own.keys()
    body = publication["body"]
    queue = Queue(message.queue, Exchange(message.queue), routing_key=message.queue)
    before = [*body[0]], {**body[1]}
    unknown = unknown_among(options)  # they are properties of the message in Celery, where a receiver finds them
    properties = Asked(
        {"correlation_id": message.id, "reply_to": options.get("reply_to") or "", "priority": message.priority},
        **{name: options[name] for name in unknown},
    )
    signals.before_task_publish.send(
        sender=message.task, declare=[queue], retry_policy={}, properties=properties, **publication
    )
    if unknown:
        check_options(app, message.task, args, kwargs, options, asked=properties.asked)
    added = {key: value for key, value in headers.items() if key not in ours}
    return None if added == own and before == body[:2] else (body[0], body[1], added)


def publish_through_producer(
    app: App, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any],
    write: Callable[[dict[str, Any]], str],
) -> str | None:  # fmt: skip
    """Have `Producer.publish` write `message`; `write` is called with the sender's headers, as they are by then.

    The id that stands in the file; None where a function in place of `publish` wrote nothing.
    """
    publication = _publication(app, message, args, kwargs, options)
    ours = publication["headers"].keys() - (options.get("headers") or {}).keys()
    stands: list[str] = []

    def write_with(headers: Mapping[str, Any]) -> list[str]:
        stands.append(write({key: value for key, value in headers.items() if key not in ours}))
        return stands

    properties: dict[str, Any] = {"correlation_id": message.id, "priority": message.priority, "serializer": "json"}
    Producer(app=app, write=write_with).publish(publication.pop("body"), **publication, **properties)
    return stands[0] if stands else None


def announce_sent(app: App, messages: Iterable[Message]) -> None:
    """Send after_task_publish for each of `messages`, which are in the file now."""
    if signals.after_task_publish.receivers:
        for message in messages:
            args, kwargs = app.content.read(message.payload, Owner(message.id, message.task))
            options = decode(message.options) if message.options else {}
            signals.after_task_publish.send(sender=message.task, **_publication(app, message, args, kwargs, options))


def task_sent_events(app: App, messages: Sequence[Message]) -> list[bytes]:
    """The events task-sent of these messages, for the transaction that writes them."""
    from liteq.events.dispatcher import event_bytes, event_fields  # all of events, for programs that have them sent

    hostname = f"{os.getpid()}@{socket.gethostname()}"
    events = []
    for message in messages:
        task = app.tasks.get(message.task)
        if task is not None and not task.send_events:
            continue
        call = shown_call(app, message)
        fields = event_fields(
            app, "task-sent", hostname, uuid=message.id, name=message.task, args=call.argsrepr, kwargs=call.kwargsrepr,
            root_id=message.root_id or message.id, parent_id=message.parent_id, retries=0, eta=_iso(message.due_ms),
            expires=_iso(message.expires_ms), queue=message.queue, exchange="", routing_key=message.queue,
        )  # fmt: skip
        events.append(event_bytes(fields))
    return events


def _publication(
    app: App, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    shown = redacted(app, message.task, args, kwargs, in_front=in_front(message.flags))
    headers = {
        **(options.get("headers") or {}), "lang": "py", "task": message.task, "id": message.id,
        "root_id": message.root_id or message.id, "parent_id": message.parent_id, "eta": _iso(message.due_ms),
        "expires": _iso(message.expires_ms), "retries": 0, "shadow": options.get("shadow"), "group": message.group_id,
        "group_index": None if message.group_id is None else message.position,
        "replaced_task_nesting": options.get("replaced_task_nesting", 0), "origin": _origin(),
        "stamped_headers": options.get("stamped_headers"), "stamps": stamps_of(options),
        "argsrepr": options.get("argsrepr") or repr(tuple(shown[0])),
        "kwargsrepr": options.get("kwargsrepr") or repr(shown[1]),
        "ignore_result": bool(message.flags & Flag.IGNORE_RESULT),
        "timelimit": options.get("timelimit") or [None, None],
    }  # fmt: skip
    body = (list(args), dict(kwargs), {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    return {"body": body, "exchange": "", "routing_key": message.queue, "headers": headers}


def _origin() -> str:
    """The name that Celery gives to a sender that is no worker."""
    return f"gen{os.getpid()}@{socket.gethostname()}"


def stamps_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The stamps among the options of a call, or in a message's document."""
    documented = options.get("stamps") or {}
    return {name: options.get(name, documented.get(name)) for name in options.get("stamped_headers") or ()}


def _iso(ms: int | None) -> str | None:
    return None if ms is None else from_ms(ms).isoformat()
