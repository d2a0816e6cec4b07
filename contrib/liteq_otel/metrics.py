"""The metrics of the messaging conventions: messages sent and consumed, and how long each operation took."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import Meter
from opentelemetry.semconv._incubating.metrics import messaging_metrics as metrics

from liteq_otel.attributes import ERROR_TYPE, common

__all__ = ["Meters"]


class Meters:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._sent = metrics.create_messaging_client_sent_messages(meter)
        self._consumed = metrics.create_messaging_client_consumed_messages(meter)
        self._operation = metrics.create_messaging_client_operation_duration(meter)
        self._process = metrics.create_messaging_process_duration(meter)

    def sent(self, queues: dict[str, int], seconds: float, error: str | None) -> None:
        """So many messages for each queue were sent in one operation."""
        for queue, n in queues.items():
            self._sent.add(n, _attributes("send", "send", queue, error))
        self._operation.record(seconds, _attributes("send", "send", _only(queues), error))

    def claimed(self, queues: dict[str, int], seconds: float) -> None:
        """So many messages of each queue were claimed in one operation."""
        for queue, n in queues.items():
            self._consumed.add(n, _attributes("claim", "receive", queue))
        self._operation.record(seconds, _attributes("claim", "receive", _only(queues)))

    def settled(self, queues: dict[str, int], seconds: float) -> None:
        """Outcomes of messages of these queues were written in one operation."""
        self._operation.record(seconds, _attributes("settle", "settle", _only(queues)))

    def processed(self, queue: str, seconds: float, error: str | None) -> None:
        """A message was executed once."""
        self._process.record(seconds, _attributes("process", "process", queue, error))


def _only(queues: dict[str, int]) -> str | None:
    return next(iter(queues)) if len(queues) == 1 else None


def _attributes(operation: str, kind: str, queue: str | None, error: str | None = None) -> dict[str, Any]:
    found = common(operation, kind, queue)
    return found if error is None else {**found, ERROR_TYPE: error}
