"""Elastic APM, django-structlog and asgi-correlation-id, unmodified."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(module: str, package: str) -> None:
    if not find_spec(module.partition(".")[0]) or not find_spec(module):
        pytest.skip(f"needs pip install --no-deps {package}")


def test_elastic_apm_has_a_transaction_of_each_task_in_the_trace_of_its_sender(run, noted):
    needs("elasticapm", "elastic-apm")
    shop = """
import elasticapm
from elasticapm.contrib.celery import register_exception_tracking, register_instrumentation
from elasticapm.transport.base import Transport

class ToFile(Transport):
    def start_thread(self, pid=None): pass
    def queue(self, event_type, data, flush=False):
        note(event_type, **{name: data.get(name) for name in ("name", "result", "outcome", "trace_id", "exception")})
    def close(self): pass
    def flush(self): pass

client = elasticapm.Client({
    "SERVICE_NAME": "shop", "TRANSPORT_CLASS": "shop.ToFile", "METRICS_INTERVAL": "0ms", "CENTRAL_CONFIG": False,
    "CLOUD_PROVIDER": "none",
})
register_exception_tracking(client)
register_instrumentation(client)

@app.task
def divide(x, y):
    return x / y
"""
    sends = """
client.begin_transaction("request")
divide.delay(1, 1)
divide.delay(1, 0)
client.end_transaction("checkout", "OK")
"""
    run(shop, sends)
    sent, first, second = noted("transaction")
    assert [(one["name"], one["outcome"]) for one in (first, second)] == [
        ("shop.divide", "success"), ("shop.divide", "failure"),
    ]  # fmt: skip
    assert sent["trace_id"] == first["trace_id"] == second["trace_id"]
    (error,) = noted("error")
    assert error["exception"]["type"] == "ZeroDivisionError"


def test_django_structlog_has_the_sender_s_context_in_the_lines_of_the_task(run, noted):
    needs("django_structlog", "django-structlog")
    shop = """
import django, structlog
from django.conf import settings
if not settings.configured:
    settings.configure(DJANGO_STRUCTLOG_CELERY_ENABLED=True)
from django_structlog.celery.steps import DjangoStructLogInitStep
app.steps["worker"].add(DjangoStructLogInitStep)

def to_file(logger, name, line):
    note(line.pop("event"), **line)
    raise structlog.DropEvent

structlog.configure(processors=[structlog.contextvars.merge_contextvars, to_file])

@app.task
def divide(x, y):
    return x / y
"""
    sends = """
from django_structlog.celery.receivers import CeleryReceiver
receiver = CeleryReceiver()
receiver.connect_signals()
structlog.contextvars.bind_contextvars(user_id=7, request_id="r1")
divide.delay(1, 1)
divide.delay(1, 0)
"""
    run(shop, sends)
    enqueued, (started, _), (succeeded,), (failed,) = (
        noted(kind) for kind in ("task_enqueued", "task_started", "task_succeeded", "task_failed")
    )
    assert [one["child_task_name"] for one in enqueued] == ["shop.divide"] * 2
    assert (started["user_id"], started["request_id"], started["task_id"]) == (7, "r1", enqueued[0]["child_task_id"])
    assert succeeded["duration_ms"] >= 0
    assert failed["error"] == "division by zero"


def test_asgi_correlation_id_hands_the_id_of_a_request_on(run, noted):
    needs("asgi_correlation_id.extensions.celery", "'asgi-correlation-id<5'")
    shop = """
from asgi_correlation_id.context import celery_current_id, celery_parent_id, correlation_id
from asgi_correlation_id.extensions.celery import load_celery_current_and_parent_ids, load_correlation_ids
load_correlation_ids()
load_celery_current_and_parent_ids(use_internal_celery_task_id=True)

@app.task
def outer():
    note("outer", id=correlation_id.get(), task_id=celery_current_id.get())
    inner.delay()

@app.task
def inner():
    note("inner", id=correlation_id.get(), parent=celery_parent_id.get())
"""
    run(shop, "correlation_id.set('request-1')\nouter.delay()\n")
    (outer,), (inner,) = noted("outer"), noted("inner")
    assert outer["id"] == inner["id"] == "request-1"
    assert inner["parent"] == outer["task_id"]
