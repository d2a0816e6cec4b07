"""OpenTelemetry's `CeleryInstrumentor`, unmodified: a span where a message is sent, its child where it is executed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

NEEDS = ("opentelemetry", "opentelemetry.instrumentation", "opentelemetry.instrumentation.celery")
if not all(map(find_spec, NEEDS)):  # one after the other: to look for a module imports its parents
    pytest.skip("needs pip install --no-deps opentelemetry-instrumentation-celery", allow_module_level=True)

OTEL = """
from celery.signals import worker_process_init
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class ToFile(SpanExporter):
    def export(self, spans):
        for span in spans:
            note(
                "span", name=span.name, trace=span.context.trace_id, id=span.context.span_id,
                parent=span.parent and span.parent.span_id, attributes=dict(span.attributes),
                status=span.status.status_code.name,
                events=[event.attributes.get("exception.type") for event in span.events],
            )
        return SpanExportResult.SUCCESS

@worker_process_init.connect(weak=False)
def instrument(**_):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()

@app.task
def divide(x, y):
    return x / y

@app.task(bind=True, max_retries=1, default_retry_delay=0)
def again(self):
    if not self.request.retries:
        raise self.retry()
"""


@pytest.mark.parametrize(("y", "state", "status", "events"), [
    (1, "SUCCESS", "UNSET", []), (0, "FAILURE", "ERROR", ["ZeroDivisionError"]),
])  # fmt: skip
def test_the_span_of_the_execution_is_a_child_of_that_of_the_sending(run, noted, y, state, status, events):
    run(OTEL, f"instrument()\ndivide.delay(1, {y})\n")
    sent, executed = noted("span")
    assert (sent["name"], executed["name"]) == ("apply_async/shop.divide", "run/shop.divide")
    assert (executed["trace"], executed["parent"]) == (sent["trace"], sent["id"])
    assert executed["attributes"]["celery.state"] == state
    assert executed["attributes"]["messaging.destination"] == sent["attributes"]["messaging.destination"] == "celery"
    assert sent["attributes"]["messaging.destination_kind"] == "queue"
    assert executed["attributes"]["messaging.message.id"] == sent["attributes"]["messaging.message.id"]
    assert (executed["status"], executed["events"]) == (status, events)


def test_each_attempt_has_a_span(run, noted):
    run(OTEL, "instrument()\nagain.delay()\n")
    assert [one["attributes"].get("celery.state") for one in noted("span")] == [None, "RETRY", "SUCCESS"]


def test_a_sender_that_is_not_instrumented_leaves_a_trace_of_the_worker_s_own(run, noted):
    run(OTEL, "divide.delay(1, 1)\n")
    (executed,) = noted("span")
    assert executed["parent"] is None
