"""Plain calls: arguments alone, sent to where each call of their task goes. Nearly all calls are of this kind.

Between `delay()` and the file each layer decides something, and for a plain call costs more than what it decides. So
one function, made once for a task, goes the whole way. It writes the row that the general way (sender.py) would write,
and leaves the call to that where a single call may differ: inside a task, and while a signal has receivers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orjson import dumps

from liteq import signals
from liteq.context import App, current_frame
from liteq.message import Batch, Flag, Message, new_id
from liteq.result import AsyncResult
from liteq.sending.publisher import Defaults
from liteq.serialization import encode

__all__ = ["NOTHING", "Encode", "Send", "encoder", "plain_sender"]

Encode = Callable[[Sequence[Any], Mapping[str, Any]], bytes]
Send = Callable[[Sequence[Any], Mapping[str, Any]], "AsyncResult[Any] | None"]

_are_scalars = frozenset({int, str, bool, type(None)}).issuperset  # what orjson writes as it is, or refuses
NOTHING: dict[str, Any] = {}


def encoder(d: Defaults) -> Encode:
    """The function that checks and encodes the arguments of one call. It raises as `Publisher.message`."""
    check, by_count, limit = d.check, d.checks_by_count, d.limit
    fitting: set[int] = set()  # how many arguments have been found to fit

    def encoded(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        if check is not None and (kwargs or len(args) not in fitting):
            check(args, kwargs)
            if by_count and not kwargs:
                fitting.add(len(args))
        if not kwargs and _are_scalars(map(type, args)):
            try:
                data = dumps([args, NOTHING])
            except TypeError:  # an integer of more than 64 bits, half a surrogate pair
                pass
            else:
                if len(data) <= limit:
                    return data
        return encode([args, kwargs], what=d.what, limit=limit, max_depth=d.depth)

    return encoded


def plain_sender(app: App, d: Defaults) -> Send:
    """The function that sends one call; it returns None, and has sent nothing, where that takes the general way."""
    name, queue, priority, flags = kind = d.kind
    ignored = bool(flags & Flag.IGNORE_RESULT)
    encoded = encoder(d)
    before, after = signals.before_task_publish, signals.after_task_publish

    def send(args: Sequence[Any], kwargs: Mapping[str, Any]) -> AsyncResult[Any] | None:
        if before.receivers or after.receivers or current_frame() is not None:
            return None
        id_, payload, storage = new_id(), encoded(args, kwargs), app.storage
        if not storage.calls.send(id_, kind, payload):
            (id_,) = storage.enqueue(Batch([Message(id_, name, payload, queue, priority, flags=flags)]))
        result: AsyncResult[Any] = AsyncResult(id_, task_name=name, app=app)
        if ignored:
            result.ignored = True
        return result

    return send
