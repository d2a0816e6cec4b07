"""`Reporting`: what Sentry is told of an app: spans of what is sent and executed, errors, monitors, breadcrumbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import sentry_sdk
from sentry_sdk.consts import OP, SPANDATA
from sentry_sdk.tracing import Span

from liteq.context import App, Observer
from liteq.context.observing import Ended, add_headers, headers_of
from liteq.exceptions import TaskPredicate, WorkerLostError
from liteq.message import Ack, Cancel, DeadLetter, Lease, Message, Outcome
from liteq_sentry import crons
from liteq_sentry.events import capture, processor
from liteq_sentry.integration import LiteqIntegration

__all__ = ["Reporting"]

SYSTEM = "liteq"
BODY_SIZE = "messaging.message.body.size"
BATCH = "messaging.batch.message_count"
MOST_SPANS = 128  # of one sending; the messages beyond share one
QUEUE_TASK = "queue.task.liteq"
ENQUEUED = "sentry-task-enqueued-time"


class _Sending:
    """One sending: its spans, and the headers of the monitor whose run it is."""

    def __init__(self, observer: Reporting, many: bool, monitor: dict[str, Any]) -> None:
        self.observer = observer
        self.many = many
        self.monitor = monitor
        self.spans: dict[str, Span] = {}
        self.shared: Span | None = None
        self.n_shared = 0
        self.last: tuple[Message, bytes | None] | None = None

    def span_of(self, message: Message) -> Span:
        """The span by which `message` is sent."""
        if self.many or len(self.spans) >= MOST_SPANS:
            self.n_shared += 1
            self.shared = self.shared or _publishing(message.task, message.queue)
            return self.shared
        span = self.spans.get(message.id)
        if span is None:
            span = self.spans[message.id] = _publishing(message.task, message.queue)
            span.set_data(SPANDATA.MESSAGING_MESSAGE_ID, message.id)
            span.set_data(SPANDATA.MESSAGING_MESSAGE_RETRY_COUNT, 0)
            span.set_data(BODY_SIZE, len(message.payload))
        return span

    def keep_monitor_to(self, message: Message) -> None:
        """Let the last message alone, whose end is that of the run, tell the end to the monitor."""
        if self.last is not None and self.last[0].id != message.id:
            self.last[0].options = self.last[1]
        self.last = (message, message.options)
        add_headers(message, self.monitor)

    def end(self, exc: BaseException | None) -> None:
        """All is written, or nothing is."""
        if self.shared is not None:
            self.shared.set_data(BATCH, self.n_shared)
        for span in [*self.spans.values(), *([] if self.shared is None else [self.shared])]:
            span.set_status("ok" if exc is None else "internal_error")
            span.finish()


def _publishing(task: str, queue: str) -> Span:
    span = sentry_sdk.start_span(op=OP.QUEUE_PUBLISH, name=task, origin=LiteqIntegration.origin)
    span.set_data(SPANDATA.MESSAGING_SYSTEM, SYSTEM)
    span.set_data(SPANDATA.MESSAGING_DESTINATION_NAME, queue)
    return span


_sending: ContextVar[_Sending | None] = ContextVar("liteq_sentry_sending", default=None)


def _integration() -> LiteqIntegration | None:
    return sentry_sdk.get_client().get_integration(LiteqIntegration)


class Reporting(Observer):
    """The observer of `app`."""

    def __init__(self, app: App) -> None:
        self._app = app

    def _now_s(self) -> float:
        return self._app.clock.now_ms() / 1000

    # -- sending -----------------------------------------------------------------------------------------------------

    @contextmanager
    def sending(self, entry: Any = None, *, many: bool = False) -> Iterator[None]:
        integration, open_ = _integration(), _sending.get()
        if integration is None or (open_ is not None and open_.observer is self):
            yield
        elif entry is None:
            with self._opened(_Sending(self, many, {})):
                yield
        else:
            with sentry_sdk.isolation_scope() as scope:  # each run of an entry is a trace of its own
                scope.set_new_propagation_context()
                monitored = integration.monitor_beat_tasks and entry.name not in integration.exclude_beat_tasks
                monitor = crons.headers_of_run(entry.name, entry.schedule, self._now_s()) if monitored else {}
                with self._opened(_Sending(self, many, monitor)):
                    yield
                if monitor and entry.sent:  # else by another beat, which tells of it, or not at all
                    crons.begun(monitor)

    @contextmanager
    def _opened(self, sending: _Sending) -> Iterator[None]:
        token = _sending.set(sending)
        try:
            yield
        except BaseException as exc:
            sending.end(exc)
            raise
        else:
            sending.end(None)
        finally:
            _sending.reset(token)

    def made(self, message: Message) -> None:
        integration, sending = _integration(), _sending.get()
        if integration is None:
            return
        if sending is None or sending.observer is not self:
            alone = _Sending(self, False, {})  # a replacement, a child of a run: written with something else
            self._stamp(message, alone, integration)
            alone.end(None)
        else:
            self._stamp(message, sending, integration)

    def _stamp(self, message: Message, sending: _Sending, integration: LiteqIntegration) -> None:
        span = sending.span_of(message)
        headers: dict[str, Any] = {ENQUEUED: self._now_s()}
        if integration.propagate_traces:
            headers |= dict(sentry_sdk.get_isolation_scope().iter_trace_propagation_headers(span=span))
        add_headers(message, headers)
        if sending.monitor:
            sending.keep_monitor_to(message)
        if sending.n_shared <= 1:
            what = f"send {message.task} to {message.queue}"
            sentry_sdk.add_breadcrumb(category="liteq", type="default", message=what, data={"task_id": message.id})

    # -- executing ---------------------------------------------------------------------------------------------------

    @contextmanager
    def executing(self, task: Any, request: Any) -> Iterator[Ended]:
        if _integration() is None:
            yield lambda _outcome, _exc: None
            return
        headers = request.headers or {}
        with sentry_sdk.isolation_scope() as scope, ExitStack() as stack:
            token = _sending.set(None)
            stack.callback(_sending.reset, token)
            scope.clear_breadcrumbs()
            scope.add_event_processor(processor(self._app, task, request))
            transaction = stack.enter_context(_transaction(task, request, headers))
            span = stack.enter_context(
                sentry_sdk.start_span(op=OP.QUEUE_PROCESS, name=task.name, origin=LiteqIntegration.origin)
            )
            self._describe(span, request, headers)

            def ended(outcome: Outcome | None, exc: BaseException | None) -> None:
                status = self._told(task, headers, outcome, exc)
                transaction.set_status(status)
                span.set_status(status)

            yield ended

    def _describe(self, span: Span, request: Any, headers: dict[str, Any]) -> None:
        span.set_data(SPANDATA.MESSAGING_SYSTEM, SYSTEM)
        span.set_data(SPANDATA.MESSAGING_MESSAGE_ID, request.id)
        span.set_data(SPANDATA.MESSAGING_MESSAGE_RETRY_COUNT, request.retries)
        lease: Lease | None = request._lease
        if lease is not None:
            span.set_data(SPANDATA.MESSAGING_DESTINATION_NAME, lease.queue)
            span.set_data(BODY_SIZE, len(lease.payload))
            waits_since_s = lease.due_ms / 1000 if request.retries else headers.get(ENQUEUED, lease.due_ms / 1000)
            latency_ms = max(0.0, (self._now_s() - float(waits_since_s)) * 1000)
            span.set_data(SPANDATA.MESSAGING_MESSAGE_RECEIVE_LATENCY, latency_ms)

    def _told(self, task: Any, headers: dict[str, Any], outcome: Outcome | None, exc: BaseException | None) -> str:
        """Report how an attempt ended; its status in Sentry's words. What a task asks for is no error."""
        asked = isinstance(exc, TaskPredicate)
        failed = isinstance(outcome, DeadLetter) and not asked
        if failed and exc is not None and not isinstance(exc, tuple(getattr(task, "throws", ()) or ())):
            capture(exc)
        if isinstance(outcome, (Ack, Cancel, DeadLetter)):  # it will not run again
            crons.ended(headers, self._now_s(), well=not failed)
        return "internal_error" if failed else "aborted" if asked else "ok"

    @contextmanager
    def stepping(self, step: Any, given: tuple[Any, Any], attempt: int, lease: Lease) -> Iterator[None]:  # noqa: ARG002 - the observer's signature
        if _integration() is None:
            yield
            return
        with sentry_sdk.start_span(op="function", name=f"step {step.name}", origin=LiteqIntegration.origin) as span:
            span.set_data("liteq.attempt", attempt)
            yield

    def lost(self, lease: Lease, exc: BaseException) -> None:
        integration = _integration()
        if integration is None:
            return
        if not isinstance(exc, WorkerLostError):  # the worker has logged that as an error
            with sentry_sdk.isolation_scope() as scope:
                scope.set_tag("liteq_task_id", lease.id)
                scope.set_tag("liteq_task", lease.task)
                capture(exc)
        crons.ended(headers_of(lease.options), self._now_s(), well=False)


def _transaction(task: Any, request: Any, headers: dict[str, Any]) -> Any:
    """The transaction of an execution, in the trace of its sender."""
    transaction = sentry_sdk.continue_trace(
        headers, op=QUEUE_TASK, name=task.name, source="task", origin=LiteqIntegration.origin
    )
    sampling = {"liteq_job": {"task": task.name, "queue": getattr(request._lease, "queue", None)}}
    return sentry_sdk.start_transaction(transaction, custom_sampling_context=sampling)
