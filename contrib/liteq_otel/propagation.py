"""The context of a trace in a message's headers: `traceparent` and `baggage`, as Celery's instrumentation has them.

`liteq_links`: of a task that joins others, the spans by which these were sent. `liteq_trace`: "link" has the execution
begin a trace of its own, with a link to its sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags

from liteq.context.observing import add_headers
from liteq.message import Message

__all__ = ["LINK", "LINKS", "MOST_LINKS", "SCHEDULE", "TRACE", "found_in", "links_in", "stamp"]

LINKS, SCHEDULE, TRACE, LINK = "liteq_links", "liteq_schedule", "liteq_trace", "link"
MOST_LINKS = 128  # what an SDK keeps of one span's
ID = 16  # hexadecimal digits of a span's


def stamp(message: Message, span: Span, joined: Iterable[SpanContext], schedule: str | None) -> None:
    """Send the context of `span` along with `message`, and those of the messages that it joins."""
    headers: dict[str, Any] = {}
    propagate.inject(headers, context=trace.set_span_in_context(span))
    trace_id = span.get_span_context().trace_id
    links = [trace.format_span_id(one.span_id) for one in joined if one.trace_id == trace_id]
    if links:
        headers[LINKS] = "".join(links[:MOST_LINKS])
    if schedule is not None:
        headers[SCHEDULE] = schedule
    if headers:
        add_headers(message, headers)


def found_in(headers: Mapping[str, Any]) -> Context:
    """The context that came with a message: an empty one where its sender was not instrumented."""
    return propagate.extract({key: value for key, value in headers.items() if isinstance(value, str)}, Context())


def links_in(headers: Mapping[str, Any], sender: SpanContext) -> list[Link]:
    """Links to the sendings of the messages that this one joins."""
    text = headers.get(LINKS)
    if not isinstance(text, str) or not sender.is_valid:
        return []
    found: list[Link] = []
    for start in range(0, min(len(text), ID * MOST_LINKS), ID):
        try:
            span_id = int(text[start : start + ID], 16)
        except ValueError:  # somebody else's header
            return found
        context = SpanContext(sender.trace_id, span_id, is_remote=True, trace_flags=TraceFlags(sender.trace_flags))
        found.append(Link(context))
    return found
