"""Stand-ins for kombu's `Queue`, `Exchange` and `binding`, so that `task_queues` can be written as for Celery.

A queue is a name here. A routing key leads to the first queue that was declared with it, by the rules of its exchange's
type ("topic" knows `*` and `#`), else to the queue of that name: a message is in one queue, and runs
once. Everything else that a broker would be told is kept, and has no effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from functools import cache
from typing import Any

__all__ = ["Exchange", "Queue", "binding", "declared_queues", "takes"]


OF_A_QUEUE: Mapping[str, Any] = {
    "alias": None, "auto_delete": False, "binding_arguments": None, "consumer_arguments": None, "durable": True,
    "exclusive": False, "expires": None, "max_length": None, "max_length_bytes": None, "max_priority": None,
    "message_ttl": None, "no_ack": False, "no_declare": None, "queue_arguments": None,
}  # fmt: skip
OF_AN_EXCHANGE: Mapping[str, Any] = {
    "arguments": None, "auto_delete": False, "delivery_mode": None, "durable": True, "no_declare": False,
    "passive": False,
}  # fmt: skip


class _Declared:
    """Something with a name and any attributes; equal when all of these are."""

    def __init__(self, name: str = "", **options: Any) -> None:
        self.name = name
        self.__dict__.update(options)

    def __call__(self, *_channel: Any) -> Any:
        """Itself: there is no channel to be bound to."""
        return self

    bind = __call__

    def declare(self, *_args: Any, **_options: Any) -> str:
        """Nothing to do: a queue is there when something is sent to it."""
        return self.name

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Exchange(_Declared):
    """A name under which routing keys mean something. `type` is kept: "direct", "topic", "fanout", ..."""

    def __init__(self, name: str = "", type: str = "direct", channel: Any = None, **options: Any) -> None:
        self.type = type
        super().__init__(name, **{**OF_AN_EXCHANGE, **options})


class Queue(_Declared):
    """A queue: `Queue("reports")`, `Queue("reports", Exchange("reports"), routing_key="reports.#")`."""

    __slots__ = ("_channel",)  # where it is bound: no part of what it is declared as

    def __init__(
        self,
        name: str = "",
        exchange: Exchange | str | Iterable[binding] | None = None,
        routing_key: str = "",
        channel: Any = None,
        bindings: Iterable[Any] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(exchange, (list, tuple, set, frozenset)):  # kombu: bindings may stand in its place
            exchange, bindings = None, exchange
        self.exchange = Exchange(exchange) if isinstance(exchange, str) else exchange or Exchange("")
        self.routing_key = routing_key or name
        self.bindings = set(bindings or ())
        super().__init__(name, **{**OF_A_QUEUE, **options})
        self._channel = channel

    def __call__(self, channel: Any = None) -> Queue:
        """The same queue, of which a connection, or a channel of one, can be asked."""
        bound = copy(self)
        bound._channel = channel
        return bound

    bind = __call__

    def purge(self, **_options: Any) -> int:
        """Delete its messages that wait; how many. Raises RuntimeError for one that is bound to no connection."""
        channel = getattr(self._channel, "default_channel", self._channel)
        if channel is None:
            raise RuntimeError(f"the queue {self.name!r} is bound to no connection: app.control.purge() needs none")
        return int(channel.queue_purge(self.name))

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """Its attributes; with `recurse` those of its exchange and its bindings too, and no functions among them."""
        found = dict(self.__dict__)
        if not recurse:
            return found
        bindings = [
            {"exchange": _plain(one.exchange or Exchange()), "routing_key": one.routing_key} for one in self.bindings
        ]
        return {**_plain(self), "exchange": _plain(self.exchange), "bindings": bindings}

    @classmethod
    def from_dict(cls, queue: str, **options: Any) -> Queue:
        """The queue called `queue`; `exchange`, `exchange_type`, `routing_key`, ... as in a dict of `task_queues`."""
        exchange = Exchange(options.pop("exchange", None) or "", options.pop("exchange_type", None) or "direct")
        key = options.pop("binding_key", None) or options.pop("routing_key", None) or ""
        options.pop("routing_key", None)
        return cls(queue, exchange, key, **options)


class binding(_Declared):  # noqa: N801 - kombu's name
    """That an exchange leads to a queue by a routing key."""

    def __init__(self, exchange: Exchange | None = None, routing_key: str = "", **options: Any) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        super().__init__(routing_key, **options)

    def __hash__(self) -> int:
        return hash((self.exchange, self.routing_key))


def _plain(declared: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(declared).items() if not callable(value)}


# -- which queue -----------------------------------------------------------------------------------------------------


def declared_queues(setting: Any) -> dict[str, Queue]:
    """The queues of the setting `task_queues`, by name: a list of queues or names, or a dict of their options."""
    if isinstance(setting, Mapping):
        return {name: Queue.from_dict(name, **dict(options or {})) for name, options in setting.items()}
    made = (one if hasattr(one, "name") else Queue(str(one)) for one in setting or ())
    return {queue.name: queue for queue in made}


def takes(queue: Any, routing_key: str, exchange: str | None = None) -> bool:
    """Whether a message with `routing_key` would come to `queue`, sent to `exchange` where one is named."""
    return any(
        (not exchange or name in {"", exchange}) and _fits(kind, pattern, routing_key)
        for name, kind, pattern in _bindings_of(queue)
    )


def _bindings_of(queue: Any) -> Iterator[tuple[str, str, str]]:
    for one in (queue, *(getattr(queue, "bindings", None) or ())):
        exchange, key = getattr(one, "exchange", None), getattr(one, "routing_key", None)
        if key:
            yield getattr(exchange, "name", ""), getattr(exchange, "type", "direct"), key


def _fits(kind: str, pattern: str, routing_key: str) -> bool:
    if kind == "topic":
        return _topic(pattern).fullmatch(f".{routing_key}") is not None
    return pattern == routing_key


@cache
def _topic(pattern: str) -> re.Pattern[str]:
    """AMQP's rule: words between dots; `*` is one of them, `#` any number, none too."""
    words = {"*": r"\.[^.]+", "#": r"(?:\.[^.]+)*"}
    return re.compile("".join(words.get(word, re.escape(f".{word}")) for word in pattern.split(".")))
