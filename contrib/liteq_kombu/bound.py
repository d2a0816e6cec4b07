"""The exchanges of kombu's channel on a liteq file: which queue hears which of them, by bindings in the file.

What Celery's remote control and events are sent to is told by the exchange alone, whatever the queue was declared as:
its listeners read what passes. Any other queue that is exclusive, or has auto-delete, hears its exchanges so too, and
has rows beside: tasks, and what is sent by its name. A message that nobody waits for yet is not lost in those.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from liteq_kombu.crossing import control, events
from liteq_kombu.passing import LOG, MARK, PassingQueues

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["Bound"]


class Bound:
    """The part of `Channel` that declares and binds queues, and finds those to which a message goes."""

    _file: File
    _passing: PassingQueues
    deadletter_queue: Any
    state: Any
    exchange_types: Any
    typeof: Any
    _size: Any
    _purge: Any

    def _new_queue(self, queue: str, auto_delete: bool = False, exclusive: bool = False, **kwargs: Any) -> None:
        if auto_delete or exclusive:
            self._passing.declare(queue, exclusive=exclusive)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        kind = self.typeof(exchange).type
        if kind == "fanout":
            self._passing.bind(exchange, queue)
        elif events.is_events(exchange):
            self._passing.hear(queue, self.exchange_types["topic"].key_to_pattern(routing_key or "#"))
        else:
            if control.is_answers(exchange):
                self._passing.declare(queue, only=True)
            marked = MARK + queue if queue in self._passing else queue
            self._file.storage.exchanges.bind(exchange, routing_key or "", marked, kind=kind)

    def get_table(self, exchange: str) -> list[tuple[str, str | None, str]]:
        """The bindings of `exchange`, of all processes: routing key, pattern, queue."""
        found = []
        for one in self._file.storage.exchanges.bindings(exchange):
            pattern = self.exchange_types["topic"].key_to_pattern(one.routing_key) if one.kind == "topic" else None
            found.append((one.routing_key, pattern, one.queue))
        return found

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        if routing_key and routing_key.startswith(control.ANSWER):
            return [routing_key]  # to no queue: a request of liteq's is answered
        if exchange and events.is_events(exchange):
            return [events.EVENTS]  # likewise
        if exchange and exchange not in self.state.exchanges and not self.deadletter_queue:
            return self._of_others(exchange, routing_key or "")
        found: list[str] = super()._lookup(exchange, routing_key, default)  # type: ignore[misc]
        return found

    def _of_others(self, exchange: str, routing_key: str) -> list[str]:
        """The queues of an exchange that this connection has not declared: the bindings of others tell its kind.

        A fanout exchange has none, but a log that its listeners read.
        """
        found = [
            queue
            for key, pattern, queue in self.get_table(exchange)
            if (key == routing_key if pattern is None else re.match(pattern, routing_key))
        ]
        return found or [LOG + exchange]

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *args: Any, **kwargs: Any
    ) -> None:
        """Forget a binding, in the file, too."""
        self.state.binding_delete(queue, exchange, routing_key)
        for name in (queue, MARK + queue):
            self._file.storage.exchanges.unbind(exchange or "amq.direct", routing_key or "", name)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Purge a queue, and forget its bindings."""
        if if_empty and self._size(queue):
            return
        self._passing.leave(queue)
        self._purge(queue)
        self._file.storage.exchanges.forget(queue=queue)
        self.state.queue_bindings_delete(queue)
