"""One sending in the making: the spans of its messages, which bear their context to those who execute them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from liteq.message import Message
from liteq_otel.attributes import ERROR_TYPE, common, names, of_message, with_older
from liteq_otel.metrics import Meters
from liteq_otel.propagation import MOST_LINKS, stamp

__all__ = ["Sending"]

MOST_SPANS = 128  # in one sending; the messages beyond share one


class Sending:
    """The sending of one call, of one canvas, or of many calls, which have one span together.

    All of its spans are in one trace. `schedule`: the entry of beat that sends.
    """

    def __init__(self, tracer: Tracer, meters: Meters, *, many: bool = False, schedule: str | None = None) -> None:
        self._tracer = tracer
        self._meters = meters
        self._schedule = schedule
        self._many = many
        self._begun = time.perf_counter()
        self._spans: dict[str, Span] = {}  # by message
        self._shared: Span | None = None
        self._n_shared = 0
        self._root: Context | None = None
        self._queues: Counter[str] = Counter()
        self._members: dict[str, list[SpanContext]] = {}  # by group

    def add(self, message: Message) -> None:
        """Give `message` its context. One that is made anew, with other headers, keeps its span."""
        span = self._spans.get(message.id)
        if span is None:
            span = self._span_of(message)
            self._queues[message.queue] += 1
        context = span.get_span_context()
        if message.group_id is not None:
            members = self._members.setdefault(message.group_id, [])
            if context not in members[-1:] and len(members) < MOST_LINKS:
                members.append(context)
        stamp(message, span, self._joined(message), self._schedule)

    def end(self, exc: BaseException | None) -> None:
        """All is written, or `exc` was raised and nothing is."""
        error = None if exc is None else type(exc).__qualname__
        if self._shared is not None:
            self._shared.set_attribute(names.MESSAGING_BATCH_MESSAGE_COUNT, self._n_shared)
            if len(self._queues) > 1:
                self._shared.update_name("send")
        for span in dict.fromkeys([*self._spans.values(), *([] if self._shared is None else [self._shared])]):
            if error is not None:
                span.set_attribute(ERROR_TYPE, error)
                span.set_status(Status(StatusCode.ERROR, error))
            span.end()
        if self._queues:
            self._meters.sent(self._queues, time.perf_counter() - self._begun, error)

    def _span_of(self, message: Message) -> Span:
        if self._many or len(self._spans) >= MOST_SPANS:
            self._n_shared += 1
            if self._shared is None:
                self._shared = self._start(message.queue, {"liteq.task.name": message.task})
            return self._shared
        span = self._spans[message.id] = self._start(message.queue, of_message(message))
        return span

    def _start(self, queue: str, more: dict[str, Any]) -> Span:
        attributes = {**common("send", "send", queue), **more}
        if self._schedule is not None:
            attributes["liteq.schedule.name"] = self._schedule
        span = self._tracer.start_span(
            f"send {queue}", context=self._root, kind=SpanKind.PRODUCER, attributes=with_older(attributes)
        )
        if self._root is None and not trace.get_current_span().get_span_context().is_valid:
            self._root = trace.set_span_in_context(span)  # no trace is open here: the others are of this one's
        return span

    def _joined(self, message: Message) -> list[SpanContext]:
        awaited = message.awaits
        if awaited is None:
            return []
        if awaited in self._members:
            return self._members[awaited]
        return [self._spans[awaited].get_span_context()] if awaited in self._spans else []
