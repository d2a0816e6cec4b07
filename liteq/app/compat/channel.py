"""A stand-in for kombu's channel: tells how long queues are, as monitors and health checks ask."""

from __future__ import annotations

from typing import Any, Self

from liteq.storage.claiming.workers import WorkerRecord
from liteq.utils.records import NamedTuple

__all__ = ["Channel", "SimpleQueue", "queue_declare_ok_t"]

MOST = 1_000_000  # messages of a queue that are counted


class queue_declare_ok_t(NamedTuple):  # noqa: N801 - the name of its kind in py-amqp
    """The answer of `queue_declare`."""

    queue: str
    message_count: int
    consumer_count: int


class Channel:
    """Questions about queues: `connection.default_channel.queue_declare("celery", passive=True).message_count`."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.client = _Client(self)

    def queue_declare(self, queue: str = "", *_args: Any, **_options: Any) -> queue_declare_ok_t:
        """How many messages wait in `queue`, and how many workers take from it. A queue needs no declaration."""
        control = self.connection.app.control
        consumers = sum(queue in _queues_of(worker) for worker in control.living())
        return queue_declare_ok_t(queue, self.size(queue), consumers)

    def queue_purge(self, queue: str, **_options: Any) -> int:
        """Delete what waits in `queue`; how many messages. There is no way back."""
        return int(self._storage.purge([queue]))

    queue_delete = queue_purge

    def size(self, queue: str) -> int:
        """How many messages of `queue` could run now, counting no further than a million.

        One that is not due is not counted, as in a broker.
        """
        return int(self._storage.reader.waiting([queue], limit=MOST))

    _size = size

    @property
    def _storage(self) -> Any:
        return self.connection.app.storage

    def close(self) -> None:
        """Nothing: it holds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _queues_of(worker: WorkerRecord) -> list[str]:
    found: list[str] = worker.facts.get("queues", [])
    return found


class _Client:
    """The one thing that is asked of a Redis transport's client."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def llen(self, queue: str) -> int:
        """How many messages wait in `queue`."""
        return self._channel.size(queue)

    def ping(self, **_options: Any) -> bool:
        """Whether the file can be read; raises StorageError where it cannot."""
        self._channel.connection.ensure_connection(max_retries=0)
        return True


class SimpleQueue:
    """`connection.SimpleQueue("celery").qsize()`. Messages are sent and taken by tasks and workers alone."""

    def __init__(self, channel: Channel, name: str) -> None:
        self.channel, self.name = channel, name

    def qsize(self) -> int:
        """How many messages wait in it."""
        return self.channel.size(self.name)

    __len__ = qsize

    def clear(self) -> int:
        """Delete them; how many. There is no way back."""
        return self.channel.queue_purge(self.name)

    def close(self) -> None:
        """Nothing: it holds nothing."""
