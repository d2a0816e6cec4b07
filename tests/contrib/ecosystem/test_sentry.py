"""Sentry's `CeleryIntegration`, unmodified: errors with their task, one trace from sender to worker, cron monitors."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if not find_spec("sentry_sdk"):
    pytest.skip("needs pip install sentry-sdk", allow_module_level=True)

SENTRY = """
import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

class ToFile(Transport):
    def __init__(self, options=None):
        super().__init__(options)
        self.held = []

    def capture_envelope(self, envelope):
        for item in envelope.items:
            payload = item.payload.json
            self.held.append((item.type, {name: payload.get(name) for name in FIELDS}))

    def flush(self, timeout, callback=None):  # as the real one's thread: what is not flushed is lost
        held, self.held = self.held, []
        for kind, fields in held:
            note(kind, **fields)

FIELDS = "transaction contexts exception tags extra spans monitor_slug status check_in_id logger".split()
sentry_sdk.init(
    dsn="https://key@sentry.invalid/1", transport=ToFile, traces_sample_rate=1.0, send_default_pii=True,
    integrations=[CeleryIntegration(monitor_beat_tasks=True)],
)

@app.task(max_retries=1, default_retry_delay=0)
def divide(x, y):
    return x / y

@app.task
async def divide_async(x, y):
    return x / y

@app.task(bind=True)
def headers(self, *_):
    note("headers", headers=self.request.headers)
    return 1
"""


def trace_of(event):
    return event["contexts"]["trace"]["trace_id"]


@pytest.mark.parametrize("task", ["divide", "divide_async"])
def test_an_error_is_reported_once_with_its_task_and_in_the_trace_of_its_sender(run, noted, task):
    run(SENTRY, f"with sentry_sdk.start_transaction(name='checkout'):\n    {task}.delay(1, 0)\nsentry_sdk.flush()\n")
    (error,) = noted("event")
    (raised,) = error["exception"]["values"]
    assert (raised["type"], raised["mechanism"]["type"]) == ("ZeroDivisionError", "celery")
    assert raised["mechanism"]["handled"] is False
    assert error["extra"]["celery-job"] == {"task_name": f"shop.{task}", "args": [1, 0], "kwargs": {}}
    assert error["transaction"] == f"shop.{task}"
    sent, executed = noted("transaction")
    assert [sent["transaction"], executed["transaction"]] == ["checkout", f"shop.{task}"]
    assert trace_of(error) == trace_of(sent) == trace_of(executed)
    assert executed["contexts"]["trace"]["status"] == "internal_error"


def test_the_spans_of_a_message_tell_its_id_its_queue_and_how_long_it_waited(run, noted):
    run(SENTRY, "with sentry_sdk.start_transaction(name='checkout'):\n    divide.delay(1, 1)\nsentry_sdk.flush()\n")
    sent, executed = noted("transaction")
    assert [span["op"] for span in sent["spans"]] == ["queue.submit.celery", "queue.publish"]
    assert [span["op"] for span in executed["spans"]] == ["queue.process"]
    published, processed = sent["spans"][1]["data"], executed["spans"][0]["data"]
    assert published["messaging.message.id"] == processed["messaging.message.id"] == executed["tags"]["celery_task_id"]
    for span in (published, processed):
        assert span["messaging.system"] == "sqlite"
        assert span["messaging.destination.name"] == "celery"
        assert span["messaging.message.retry.count"] == 0
    assert processed["messaging.message.receive.latency"] > 0


def test_each_task_of_a_canvas_is_in_the_trace(run, noted):
    run(
        SENTRY,
        "with sentry_sdk.start_transaction(name='checkout'):\n"
        "    chain(headers.s(), headers.s()).apply_async()\n"
        "sentry_sdk.flush()\n",
    )
    traces = [trace_of(one) for one in noted("transaction")]
    assert len(traces) == 3
    assert len(set(traces)) == 1


def test_headers_of_one_s_own_arrive_beside_sentry_s(run, noted):
    run(SENTRY, "headers.apply_async(headers={'tenant': 'acme'})\n")
    (seen,) = noted("headers")
    assert seen["headers"]["tenant"] == "acme"
    assert "sentry-monitor-start-timestamp-s" in seen["headers"]


def test_a_process_sends_what_it_holds_before_it_ends(run, noted):
    """`Worker.workloop` is wrapped so: a worker's process ends without Python's own exit."""
    run(SENTRY + "\napp.conf.worker_max_tasks_per_child = 1\n", "divide.delay(1, 0)\ndivide.delay(2, 0)\n")
    assert len({error["pid"] for error in noted("event")}) == 2


@pytest.mark.parametrize(("y", "status"), [(1, "ok"), (0, "error")])
def test_a_cron_monitor_is_told_of_begin_and_end(run, noted, y, status):
    shop = (
        f"{SENTRY}\napp.conf.beat_schedule = {{'often': {{'task': 'shop.divide', 'schedule': 60, 'args': (1, {y})}}}}\n"
    )
    run(
        shop + "from liteq.beat import Beat\n",
        "app.schedules.add('now', 60, 'shop.divide', (1, {y}))\n".replace("{y}", str(y))
        + "import time\nnow = app.clock.now_ms()\napp.clock.now_ms = lambda: now + 61_000\n"
        "beat = Beat(app)\nbeat.start()\nbeat.tick()\nsentry_sdk.flush()\n",
    )
    check_ins = [one for one in noted("check_in") if one["monitor_slug"] == "now"]
    assert [one["status"] for one in check_ins] == ["in_progress", status]
    assert len({one["check_in_id"] for one in check_ins}) == 1
