"""`Tracing`: the spans of what an app sends and executes, and their metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Tracer

from liteq.context import App, Observer
from liteq.context.observing import Ended, headers_of
from liteq.context.secrets import hider, hider_of
from liteq.message import DeadLetter, Flag, Lease, Message, Outcome, Release, RunFacts
from liteq_otel.attributes import STEP, common, names, of_message, with_older
from liteq_otel.ending import LOST, end_attempt, fail, fail_by
from liteq_otel.metrics import Meters
from liteq_otel.propagation import LINK, SCHEDULE, TRACE, found_in, links_in
from liteq_otel.sending import Sending

__all__ = ["Tracing"]

LATE_MS = 3_600_000  # after which a run that goes on has a trace of its own, with a link: its sender's has been closed

MOST_CLAIMED = 10_000  # whose time is known: the end of a lease that is lost is not told here

_sending: ContextVar[tuple[Tracing, Sending] | None] = ContextVar("liteq_otel_sending", default=None)


class Tracing(Observer):
    """The observer of `app`."""

    def __init__(self, app: App, tracer: Tracer, meters: Meters) -> None:
        self._app = app
        self._tracer = tracer
        self._meters = meters
        self._claimed_ns: dict[int, int] = {}  # by token
        self._lost: dict[int, BaseException] = {}

    # -- sending -----------------------------------------------------------------------------------------------------

    @contextmanager
    def sending(self, entry: Any = None, *, many: bool = False) -> Iterator[None]:
        if self._open() is not None:
            yield
            return
        made = Sending(self._tracer, self._meters, many=many, schedule=None if entry is None else entry.name)
        token = _sending.set((self, made))
        try:
            yield
        except BaseException as exc:
            made.end(exc)
            raise
        else:
            if entry is None or entry.sent:  # else another beat has sent it: what does not end is not exported
                made.end(None)
        finally:
            _sending.reset(token)

    def made(self, message: Message) -> None:
        open_ = self._open()
        if open_ is not None:
            open_.add(message)
            return
        alone = Sending(self._tracer, self._meters)  # a replacement, a child of a run: written with something else
        alone.add(message)
        alone.end(None)

    def _open(self) -> Sending | None:
        found = _sending.get()
        return found[1] if found is not None and found[0] is self else None

    # -- executing ---------------------------------------------------------------------------------------------------

    @contextmanager
    def executing(self, task: Any, request: Any) -> Iterator[Ended]:
        lease: Lease | None = request._lease
        if lease is None:
            context, attributes, queue = None, _of_eager(task, request), None
            links: list[Link] = []
        else:
            headers = request.options.get("headers") or {}
            context, links = self._parent(task, lease, headers)
            attributes, queue = self._of_lease(lease, headers, request.hostname), lease.queue
        attributes = with_older({**common("process", "process", queue), **attributes})
        name = "process" if queue is None else f"process {queue}"
        span = self._tracer.start_span(name, context, SpanKind.CONSUMER, attributes, links)
        begun, error = time.perf_counter(), LOST
        token = contexts.attach(trace.set_span_in_context(span, context))
        sending = _sending.set(None)

        def ended(outcome: Outcome | None, exc: BaseException | None) -> None:
            nonlocal error
            told = exc is not None or isinstance(outcome, DeadLetter)
            error = end_attempt(span, outcome, exc, hider_of(request) if told else None)

        try:
            yield ended
        finally:
            _sending.reset(sending)
            contexts.detach(token)
            if error == LOST:
                fail(span, LOST, "its process was torn out of it")
            span.end()
            if queue is not None:
                self._meters.processed(queue, time.perf_counter() - begun, error or None)

    @contextmanager
    def stepping(self, step: Any, given: tuple[Any, Any], attempt: int, lease: Lease) -> Iterator[None]:
        attributes = {**of_message(lease), STEP: step.name, "liteq.attempt": attempt}
        attributes.pop(names.MESSAGING_MESSAGE_BODY_SIZE)
        with self._tracer.start_as_current_span(
            f"step {step.name}", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as exc:
                hide = hider(given, step.redacted(*given)) if step.sensitive else None
                fail_by(span, exc, hide)
                raise

    # -- in a worker's main process ----------------------------------------------------------------------------------

    def turned(self, claimed: Sequence[Lease], settled: Sequence[tuple[Lease, Outcome]], seconds: float) -> None:
        if settled:
            self._meters.settled(Counter(lease.queue for lease, _ in settled), seconds)
            for lease, outcome in settled:
                begun_ns = self._claimed_ns.pop(lease.token, None)
                lost = self._lost.pop(lease.token, None)
                if lost is not None or (isinstance(outcome, Release) and outcome.crashed):
                    self._tell_lost(lease, outcome, lost, begun_ns)
        if claimed:
            self._meters.claimed(Counter(lease.queue for lease in claimed), seconds)
            now_ns = self._app.clock.now_ms() * 1_000_000
            self._claimed_ns.update((lease.token, now_ns) for lease in claimed)
            while len(self._claimed_ns) > MOST_CLAIMED:
                del self._claimed_ns[next(iter(self._claimed_ns))]

    def lost(self, lease: Lease, exc: BaseException) -> None:
        self._lost[lease.token] = exc

    def _tell_lost(self, lease: Lease, outcome: Outcome, exc: BaseException | None, begun_ns: int | None) -> None:
        """The span of an attempt whose process did not live to export it; from the claim on."""
        headers = headers_of(lease.options)
        context, links = self._parent(None, lease, headers)
        attributes = {**common("process", "process", lease.queue), **self._of_lease(lease, headers, None)}
        span = self._tracer.start_span(
            f"process {lease.queue}", context, SpanKind.CONSUMER, with_older(attributes), links, begun_ns
        )
        end_attempt(span, outcome, exc, None)
        span.end()

    # -- what a message tells ----------------------------------------------------------------------------------------

    def _parent(self, task: Any, lease: Lease, headers: dict[str, Any]) -> tuple[Context, list[Link]]:
        """The context in which a message is executed, and links; of a trace of its own where the sender is a link."""
        context = found_in(headers)
        sender = trace.get_current_span(context).get_span_context()
        links = links_in(headers, sender)
        asked = headers.get(TRACE) or getattr(task, TRACE, None)
        if sender.is_valid and (asked == LINK or self._is_late(lease)):
            return trace.set_span_in_context(trace.INVALID_SPAN, context), [Link(sender), *links]
        return context, links

    def _is_late(self, lease: Lease) -> bool:
        """Whether this is a run that goes on long after its start."""
        if lease.run is None or not lease.flags & Flag.HISTORY:
            return False
        started_ms = RunFacts._make(lease.run).started_ms
        return started_ms is not None and self._app.clock.now_ms() - started_ms > LATE_MS

    def _of_lease(self, lease: Lease, headers: dict[str, Any], worker: str | None) -> dict[str, Any]:
        found = {**of_message(lease), "liteq.attempt": lease.retries + 1, "liteq.crashes": lease.crashes}
        found["liteq.wait_ms"] = max(0, self._app.clock.now_ms() - lease.due_ms)
        if worker:
            found[names.MESSAGING_CLIENT_ID] = worker
        if isinstance(headers.get(SCHEDULE), str):
            found["liteq.schedule.name"] = headers[SCHEDULE]
        return found


def _of_eager(task: Any, request: Any) -> dict[str, Any]:
    return {
        names.MESSAGING_MESSAGE_ID: request.id or "",
        names.MESSAGING_MESSAGE_CONVERSATION_ID: request.root_id or request.id or "",
        "liteq.task.name": task.name,
        "liteq.attempt": request.retries + 1,
    }
