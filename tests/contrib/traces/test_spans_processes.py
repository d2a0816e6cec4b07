"""Spans out of a prefork worker: the provider is made before the fork, and the children export what they hold."""

from __future__ import annotations

import pytest

# The shortest way that users go: everything is set up in the module that the worker loads, before it forks.
OTEL = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from liteq_otel import instrument

class ToFile(SpanExporter):
    def export(self, spans):
        for span in spans:
            note(
                "span", name=span.name, trace=span.context.trace_id, id=span.context.span_id,
                parent=span.parent and span.parent.span_id, attributes=dict(span.attributes),
                links=[one.context.span_id for one in span.links], start=span.start_time, end=span.end_time,
                status=span.status.status_code.name, events=[dict(event.attributes) for event in span.events],
            )
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ToFile(), schedule_delay_millis=3_600_000))  # at its end alone
provider.get_tracer("shop").start_span("before the fork").end()
instrument(app, provider)

@app.task
def add(*numbers):
    return sum(sum(one) if isinstance(one, list) else one for one in numbers)

@app.task
def dies():
    os.kill(os.getpid(), 9)

@app.task(max_retries=0, time_limit=0.3)
def sleeps():
    import time
    time.sleep(60)
"""


def named(noted, name):
    return sorted((one for one in noted("span") if one["name"] == name), key=lambda one: one["start"])


def test_children_export_what_they_hold_when_they_end(run, noted):
    run(OTEL, "add.delay(1, 1)\n")
    (sending,), (execution,) = named(noted, "send celery"), named(noted, "process celery")
    assert (execution["trace"], execution["parent"]) == (sending["trace"], sending["id"])
    assert execution["attributes"]["liteq.outcome"] == "succeeded"
    assert sending["pid"] != execution["pid"]


def test_a_child_that_is_replaced_loses_no_span(run, noted):
    shop = OTEL + "\napp.conf.worker_max_tasks_per_child = 1\n"
    run(shop, "for n in range(3):\n    add.delay(n, n)\n")
    executions = named(noted, "process celery")
    assert len(executions) == 3
    assert len({one["pid"] for one in executions}) == 3


def test_no_process_exports_what_another_held_when_it_was_forked(run, noted):
    run(OTEL, "add.delay(1, 1)\n")
    assert len(named(noted, "before the fork")) == 2  # of the sender and of the worker, not of its child


def test_a_chord_is_one_trace_and_its_join_links_to_its_members(run, noted):
    run(OTEL, "chord([add.s(1, 1), add.s(2, 2)], add.s()).delay()\n")
    *members, _ = named(noted, "send celery")
    *_, join = named(noted, "process celery")
    assert join["links"] == [one["id"] for one in members]
    assert len({one["trace"] for one in named(noted, "send celery") + named(noted, "process celery")}) == 1


def test_an_attempt_whose_process_died_has_a_span_from_its_worker(run, noted):
    run(OTEL + "\napp.conf.max_crashes = 2\n", "dies.delay()\n")
    (sending,) = named(noted, "send celery")
    crashes = named(noted, "process celery")
    assert [one["attributes"]["liteq.crashes"] for one in crashes] == [0, 1]
    for one in crashes:
        assert (one["parent"], one["status"]) == (sending["id"], "ERROR")
        assert one["attributes"]["liteq.outcome"] == "crashed"
        assert one["attributes"]["error.type"].endswith("WorkerLostError")
        assert one["end"] > one["start"]


def test_a_task_that_was_killed_at_its_time_limit_has_a_span(run, noted):
    run(OTEL, "sleeps.delay()\n")
    (killed,) = named(noted, "process celery")
    assert killed["status"] == "ERROR"
    assert killed["attributes"]["error.type"].endswith("TimeLimitExceeded")
    assert killed["attributes"]["liteq.outcome"] == "failed"


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_worker_without_children_exports_at_its_end(run, noted, pool):
    run(OTEL, "add.delay(1, 1)\n", "--pool", pool)
    (execution,) = named(noted, "process celery")
    assert execution["attributes"]["liteq.task.name"] == "shop.add"


def test_a_worker_that_is_not_instrumented_imports_no_opentelemetry(run, noted):
    shop = """
import sys
@app.task
def look():
    note("modules", found=sorted({one.partition(".")[0] for one in sys.modules}))
"""
    run(shop, "look.delay()\n")
    (modules,) = noted("modules")
    assert not {"opentelemetry", "sentry_sdk", "liteq_otel", "liteq_sentry"} & set(modules["found"])
