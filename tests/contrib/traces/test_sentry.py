"""Sentry by `LiteqIntegration`: errors with their task, one trace from sender to worker, monitors, breadcrumbs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from liteq.schedules import crontab, schedule, solar

SENTRY = """
import sentry_sdk
from liteq_sentry import LiteqIntegration
from liteq.exceptions import Ignore, Reject
from sentry_sdk.transport import Transport

FIELDS = "transaction contexts exception tags extra spans monitor_slug monitor_config status check_in_id logger breadcrumbs".split()

class ToFile(Transport):
    def __init__(self, options=None):
        super().__init__(options)
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self):
        self.held = []

    def capture_envelope(self, envelope):
        for item in envelope.items:
            payload = item.payload.json
            self.held.append((item.type, {name: payload.get(name) for name in FIELDS}))

    def flush(self, timeout, callback=None):  # as the real one's thread: what is not flushed is lost
        held, self.held = self.held, []
        for kind, fields in held:
            note(kind, **fields)

sentry_sdk.init(
    dsn="https://key@sentry.invalid/1", transport=ToFile, traces_sample_rate=1.0, send_default_pii=True,
    integrations=[LiteqIntegration(monitor_beat_tasks=True, exclude_beat_tasks=["quiet"])],
)

@app.task
def divide(x, y):
    return x / y

@app.task(sensitive=("card",))
def charge(order, card):
    number = card["number"]
    raise ValueError(f"order {order}: {number} was declined")

@app.task(bind=True, max_retries=1, default_retry_delay=0)
def again(self, error=None):
    if not self.request.retries:
        raise self.retry(exc=ValueError("not yet"))
    if error:
        raise RuntimeError(error)

@app.task
def ask(what):
    raise {"ignore": Ignore, "reject": Reject}[what]()

@app.task(throws=(KeyError,))
def expected():
    raise KeyError("as they say")

@app.task(time_limit=0.3)
def sleeps():
    import time
    time.sleep(60)
"""  # noqa: E501
CHECKOUT = "with sentry_sdk.start_transaction(name='checkout'):\n    {sends}\nsentry_sdk.flush()\n"


def in_checkout(sends):
    return CHECKOUT.format(sends=sends)


def trace_of(event):
    return event["contexts"]["trace"]["trace_id"]


def test_an_error_is_reported_once_with_its_task_and_in_the_trace_of_its_sender(run, noted):
    run(SENTRY, in_checkout("divide.delay(1, 0)"))
    (error,) = noted("event")
    (raised,) = error["exception"]["values"]
    assert (raised["type"], raised["mechanism"]) == ("ZeroDivisionError", {"type": "liteq", "handled": False})
    job = error["extra"]["liteq-job"]
    assert (job["task_name"], job["args"], job["attempt"], job["queue"]) == ("shop.divide", [1, 0], 1, "celery")
    assert error["tags"]["liteq_task_id"] == job["task_id"] == job["root_id"]
    assert error["transaction"] == "shop.divide"
    sent, executed = noted("transaction")
    assert [sent["transaction"], executed["transaction"]] == ["checkout", "shop.divide"]
    assert trace_of(error) == trace_of(sent) == trace_of(executed)
    assert executed["contexts"]["trace"]["status"] == "internal_error"


def test_spans_tell_of_their_message(run, noted):
    run(SENTRY, in_checkout("divide.delay(4, 2)"))
    sent, executed = noted("transaction")
    ((published,), (processed,)) = (sent["spans"], executed["spans"])
    assert (published["op"], processed["op"]) == ("queue.publish", "queue.process")
    assert executed["contexts"]["trace"]["op"] == "queue.task.liteq"
    for span in (published, processed):
        assert span["origin"] == "auto.queue.liteq"
        assert span["data"]["messaging.system"] == "liteq"
        assert span["data"]["messaging.destination.name"] == "celery"
        assert span["data"]["messaging.message.retry.count"] == 0
        assert span["data"]["messaging.message.body.size"] == len(b"[[4,2],{}]")
    assert published["data"]["messaging.message.id"] == processed["data"]["messaging.message.id"]
    assert processed["data"]["messaging.message.receive.latency"] > 0
    assert executed["contexts"]["trace"]["parent_span_id"] == published["span_id"]


def test_a_sensitive_argument_is_in_no_event(run, noted, tmp_path):
    run(SENTRY, in_checkout("charge.delay(77123, {'number': '4111-1111'})"))
    (error,) = noted("event")
    assert error["exception"]["values"][0]["value"] == "order 77123: *** was declined"
    assert error["extra"]["liteq-job"]["args"] == [77123, "***"]
    frame = error["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert frame["vars"]["order"] == "77123"
    assert "***" in frame["vars"]["number"]
    assert "4111-1111" not in (tmp_path / "noted.jsonl").read_text()


def test_without_leave_to_send_personal_data_no_argument_is_sent(run, noted):
    run(SENTRY.replace("send_default_pii=True", "send_default_pii=False"), in_checkout("divide.delay(1, 0)"))
    (error,) = noted("event")
    assert error["extra"]["liteq-job"]["args"] == "[Filtered]"


def test_what_a_task_asks_for_is_no_error(run, noted):
    run(SENTRY, in_checkout("again.delay(); ask.delay('ignore'); ask.delay('reject'); expected.delay()"))
    assert noted("event") == []
    executed = [one["transaction"] for one in noted("transaction")]
    assert sorted(executed) == sorted(["checkout", *["shop.again"] * 2, *["shop.ask"] * 2, "shop.expected"])


def test_the_error_of_a_later_attempt_tells_which_it_was(run, noted):
    run(SENTRY, in_checkout("again.delay('broken')"))
    (error,) = noted("event")
    assert error["extra"]["liteq-job"]["attempt"] == 2
    counts = [one["spans"][0]["data"]["messaging.message.retry.count"] for one in noted("transaction")[1:]]
    assert counts == [0, 1]


def test_each_task_of_a_canvas_is_in_the_trace(run, noted):
    run(SENTRY, in_checkout("chord([divide.si(4, 2), divide.si(6, 2)], divide.si(1, 1)).delay()"))
    sent, *executed = noted("transaction")
    assert [span["op"] for span in sent["spans"]] == ["queue.publish"] * 3
    assert len(executed) == 3
    assert {trace_of(one) for one in executed} == {trace_of(sent)}


def test_calls_in_bulk_have_one_span(run, noted):
    run(SENTRY, in_checkout("app.enqueue_many(divide, [(n, 1) for n in range(5)])"))
    sent, *executed = noted("transaction")
    (span,) = sent["spans"]
    assert span["data"]["messaging.batch.message_count"] == 5
    assert [trace_of(one) for one in executed] == [trace_of(sent)] * 5


def test_a_task_that_was_killed_at_its_time_limit_is_reported(run, noted):
    run(SENTRY, in_checkout("sleeps.delay()"))
    errors = [one for one in noted("event") if one["exception"]]
    assert [one["exception"]["values"][0]["type"] for one in errors] == ["TimeLimitExceeded"]
    assert errors[0]["tags"]["liteq_task"] == "shop.sleeps"


def test_what_was_sent_is_among_the_breadcrumbs_of_an_error(run, noted):
    shop = SENTRY + "\n@app.task\ndef outer():\n    divide.delay(2, 1)\n    raise ValueError\n"
    run(shop, "outer.delay()\n")
    (error,) = noted("event")
    crumbs = [one["message"] for one in error["breadcrumbs"]["values"] if one["category"] == "liteq"]
    assert crumbs == ["send shop.divide to celery"]


def test_a_process_sends_what_it_holds_before_it_ends(run, noted):
    run(SENTRY + "\napp.conf.worker_max_tasks_per_child = 1\n", "divide.delay(1, 0)\ndivide.delay(2, 0)\n")
    assert len({error["pid"] for error in noted("event")}) == 2


def test_the_context_of_opentelemetry_and_of_sentry_stand_beside_each_other(run, noted):
    shop = """
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider
from liteq_otel import instrument

instrument(app, TracerProvider())

@app.task(bind=True)
def look(self):
    note("headers", seen=self.request.headers, user=baggage.get_baggage("user"))
"""
    run(SENTRY + shop, "context.attach(baggage.set_baggage('user', 'ann'))\n" + in_checkout("look.delay()"))
    (noticed,) = noted("headers")
    assert {"traceparent", "sentry-trace", "baggage"} <= noticed["seen"].keys()
    assert "user=ann" in noticed["seen"]["baggage"]
    assert "sentry-trace_id=" in noticed["seen"]["baggage"]
    assert noticed["user"] == "ann"


# -- monitors ----------------------------------------------------------------------------------------------------------

BEAT = """
app.schedules.add("{name}", {every}, "shop.divide", {args})
now = app.clock.now_ms()
app.clock.now_ms = lambda: now + 7_200_000
beat = Beat(app)
beat.start()
beat.tick()
sentry_sdk.flush()
"""


@pytest.mark.parametrize(("y", "status"), [(1, "ok"), (0, "error")])
def test_a_monitor_is_told_of_begin_and_end(run, noted, y, status):
    sends = BEAT.format(name="hourly", every="3600", args=(1, y))
    run(SENTRY + "from liteq.beat import Beat\n", sends)
    begun, ended = noted("check_in")
    assert (begun["monitor_slug"], begun["status"], ended["status"]) == ("hourly", "in_progress", status)
    assert begun["check_in_id"] == ended["check_in_id"]
    assert begun["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "hour"}


def test_a_monitor_is_told_of_the_end_of_a_task_whose_process_died(run, noted):
    shop = "from liteq.beat import Beat\napp.conf.max_crashes = 1\n\n@app.task\ndef dies(*_):\n    os._exit(1)\n"
    run(SENTRY + shop, BEAT.format(name="hourly", every="3600", args=()).replace("shop.divide", "shop.dies"))
    begun, ended = noted("check_in")
    assert (ended["status"], ended["check_in_id"]) == ("error", begun["check_in_id"])


def test_a_beat_before_which_another_was_faster_begins_no_run_of_a_monitor(run, noted):
    late = "\ntype(app.storage.schedules).fire = lambda *_given, **_named: False\n"
    sends = late + BEAT.format(name="hourly", every="3600", args=(1, 1)) + "divide.delay(1, 1)\nsentry_sdk.flush()\n"
    run(SENTRY + "from liteq.beat import Beat\n", sends)
    assert noted("transaction")
    assert noted("check_in") == [], "nobody would tell the end of it"


@pytest.mark.parametrize(("name", "every"), [("quiet", "3600"), ("often", "7")])
def test_an_entry_that_is_no_monitor_is_sent_all_the_same(run, noted, name, every):
    run(SENTRY + "from liteq.beat import Beat\n", BEAT.format(name=name, every=every, args=(1, 1)))
    assert noted("check_in") == []
    assert noted("transaction")


def test_schedules_in_the_words_of_sentry(app):
    from liteq_sentry.crons import monitor_config

    when = crontab(minute="*/15", hour=3, day_of_week="mon-fri", app=app)
    assert monitor_config("nightly", when) == {
        "schedule": {"type": "crontab", "value": "*/15 3 * * mon-fri"}, "timezone": "UTC",
    }  # fmt: skip
    several = monitor_config("several", crontab(minute=0, hour={15, 3}, day_of_week=[1, 5], app=app))
    assert several["schedule"]["value"] == "0 3,15 * * 1,5"
    assert monitor_config("daily", schedule(86_400, app=app))["schedule"]["unit"] == "day"
    assert monitor_config("odd", schedule(90, app=app)) is None


def test_a_schedule_of_the_sun_has_no_words_of_sentry(app):
    from liteq_sentry.crons import monitor_config

    pytest.importorskip("astral")
    assert monitor_config("sun", solar("sunrise", 48, 2, app=app)) is None


def test_without_the_extra_the_error_says_what_to_install():
    code = "import sys; sys.modules['sentry_sdk'] = None; import liteq_sentry"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1].endswith("needs sentry-sdk (the extra `sentry`): install it")
