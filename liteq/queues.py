"""What stands for kombu's `Queue`, `Exchange` and `binding`, so that `task_queues` can be written as for Celery.

A queue is a name here. Exchanges are all direct: a routing key leads to the queue that was declared with it, else to
the queue of that name. Everything else that a broker would be told is kept, and has no effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["Exchange", "Queue", "binding"]


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
        super().__init__(name, **{"durable": True, "auto_delete": False, "delivery_mode": None, **options})


class Queue(_Declared):
    """A queue: `Queue("reports")`, `Queue("reports", Exchange("reports"), routing_key="reports.#")`."""

    def __init__(
        self,
        name: str = "",
        exchange: Exchange | str | None = None,
        routing_key: str = "",
        channel: Any = None,
        bindings: Iterable[Any] | None = None,
        **options: Any,
    ) -> None:
        self.exchange = Exchange(exchange) if isinstance(exchange, str) else exchange or Exchange("")
        self.routing_key = routing_key or name
        self.bindings = set(bindings or ())
        known = {"durable": True, "exclusive": False, "auto_delete": False, "no_ack": False, "queue_arguments": None}
        super().__init__(name, **{**known, "alias": None, "max_priority": None, **options})

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """Its attributes."""
        found = dict(self.__dict__)
        return {**found, "exchange": dict(self.exchange.__dict__)} if recurse else found

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
