"""`Producer`: the place where programs written for Celery wrap the sending of a message, Sentry's SDK among them.

They put a function of their own in place of `Producer.publish`. While nobody has, no message comes through it, and
sending costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

from liteq import signals
from liteq.context import App
from liteq.exceptions import OperationalError

__all__ = ["Producer", "is_replaced"]

Write = Callable[[Mapping[str, Any]], Any]  # with the headers as they are by then


class _Replaceable(type):
    """The class of `Producer`: while one of its methods is replaced, messages are sent through it."""

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if is_replaced():
            signals.before_task_publish.connect(_watch)
        else:
            signals.before_task_publish.disconnect(_watch)


def _watch(**_publication: Any) -> None:
    """Nothing: with a receiver, messages are sent in the way that has a look at `Producer`."""


class Producer(metaclass=_Replaceable):
    """The sender of one message, as kombu's users see it: `publish` is called with its headers and its queue."""

    def __init__(
        self, channel: Any = None, exchange: Any = None, routing_key: str = "", *, app: App | None = None,
        write: Write | None = None, **_options: Any,
    ) -> None:  # fmt: skip
        self.channel = channel
        self.exchange = exchange
        self.routing_key = routing_key
        self._app: App | None = app or getattr(channel, "app", None)
        self._write = write

    @cached_property
    def connection(self) -> Any:
        """The connection of its app."""
        return self.channel if self._app is None else self._app.connection()

    def publish(self, body: Any, routing_key: str | None = None, **properties: Any) -> Any:
        """Write the message that this producer was made for. Raises OperationalError for any other.

        `headers`, those of the message; what is added to them, the task finds in its request.
        """
        return self._publish(body, routing_key=routing_key, **properties)

    def _publish(self, body: Any, **properties: Any) -> Any:
        if self._write is None:
            raise OperationalError("there is no broker that takes a message of one's own: send a task")
        return self._write(properties.get("headers") or {})

    def close(self) -> None:
        """Nothing: it holds nothing."""

    release = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_OWN = (Producer.publish, Producer._publish)


def is_replaced() -> bool:
    """Whether somebody has replaced a method of `Producer`."""
    return (Producer.publish, Producer._publish) != _OWN
