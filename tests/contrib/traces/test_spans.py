"""Spans of what is sent and executed, over a worker: `send QUEUE` -> `process QUEUE`, one for each attempt."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import baggage, context, trace

from liteq import LiteQ, chain, chord, group
from liteq.beat import Beat
from liteq.exceptions import Ignore, RateLimited, Reject
from liteq.testing import drain, start_worker
from liteq_otel import instrument, uninstrument

WAIT_S = 60


def ids(*spans):
    return [one.context.span_id for one in spans]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_the_execution_is_a_child_of_the_sending_which_is_a_child_of_what_was_open(app, traced, pool):
    with start_worker(app, pool=pool), traced.tracers.get_tracer("test").start_as_current_span("request") as request:
        sent = app.tasks["add"].delay(1, 2)
        assert sent.get(timeout=WAIT_S) == 3
    sending, execution = traced.span("send celery"), traced.span("process celery")
    assert (sending.kind.name, execution.kind.name) == ("PRODUCER", "CONSUMER")
    assert sending.parent.span_id == request.get_span_context().span_id
    assert (execution.parent.span_id, execution.context.trace_id) == (sending.context.span_id, request.context.trace_id)
    assert dict(sending.attributes) == {
        "messaging.system": "liteq", "messaging.operation.name": "send", "messaging.operation.type": "send",
        "messaging.destination.name": "celery", "messaging.message.id": sent.id,
        "messaging.message.conversation_id": sent.id, "messaging.message.body.size": len(b"[[1,2],{}]"),
        "liteq.task.name": "add", "liteq.priority": 0,
    }  # fmt: skip
    found = dict(execution.attributes)
    assert found.pop("liteq.wait_ms") >= 0
    assert found.pop("messaging.client.id").startswith("liteq@")
    assert found == {
        **sending.attributes, "messaging.operation.name": "process", "messaging.operation.type": "process",
        "liteq.attempt": 1, "liteq.crashes": 0, "liteq.outcome": "succeeded",
    }  # fmt: skip
    assert [(one.name, dict(one.attributes)) for one in execution.events] == [
        ("settle", {"liteq.outcome": "succeeded"})
    ]


def test_what_a_task_sends_is_a_child_of_its_execution(app, traced):
    @app.task(name="outer")
    def outer():
        app.tasks["add"].delay(1, 1)

    outer.delay()
    drain(app)
    assert (
        traced.span("send", liteq__task__name="add").parent.span_id
        == ids(traced.span("process", liteq__task__name="outer"))[0]
    )


def test_what_an_eager_task_sends_is_a_child_of_its_execution(app, traced):
    @app.task(name="outer")
    def outer():
        app.tasks["add"].apply_async((1, 1))

    app.conf.task_always_eager = True
    outer.delay()
    execution = traced.span("process", liteq__task__name="outer")
    assert traced.span("send", liteq__task__name="add").parent.span_id == execution.context.span_id


def test_each_attempt_has_a_span_and_a_retry_is_no_error(app, traced):
    @app.task(name="flaky", bind=True, max_retries=2, default_retry_delay=0)
    def flaky(self):
        try:
            raise ConnectionError("no line")
        except ConnectionError as exc:
            if self.request.retries < 2:
                raise self.retry(exc=exc) from None

    flaky.delay()
    drain(app)
    attempts = traced.spans("process")
    assert [one.attributes["liteq.attempt"] for one in attempts] == [1, 2, 3]
    assert [one.attributes["liteq.outcome"] for one in attempts] == ["retried", "retried", "succeeded"]
    assert {one.status.status_code.name for one in attempts} == {"UNSET"}
    assert [one.attributes.get("exception.type") for one in attempts[0].events] == ["ConnectionError", None]
    assert {one.parent.span_id for one in attempts} == {traced.span("send").context.span_id}


def test_a_limit_that_was_met_is_no_error(app, traced):
    answers = [RateLimited(0)]

    @app.task(name="ask")
    def ask():
        if answers:
            raise answers.pop()

    ask.delay()
    drain(app)
    attempts = traced.spans("process")
    assert [one.attributes["liteq.outcome"] for one in attempts] == ["limited", "succeeded"]
    assert {one.status.status_code.name for one in attempts} == {"UNSET"}
    assert [one.attributes.get("exception.type") for one in attempts[0].events] == [
        "liteq.exceptions.RateLimited",
        None,
    ]


def test_an_error_is_told_without_the_sensitive_arguments(app, traced):
    @app.task(name="charge", sensitive=("card",))
    def charge(order, card):
        raise ValueError(f"order {order}: the card {card['number']} was declined")

    charge.delay(77123, {"number": "4111-1111"})
    drain(app)
    span = traced.span("process")
    assert (span.status.status_code.name, span.status.description) == (
        "ERROR", "order 77123: the card *** was declined",
    )  # fmt: skip
    assert span.attributes["error.type"] == "ValueError"
    (event,) = [one for one in span.events if one.name == "exception"]
    assert "4111-1111" not in str(dict(event.attributes))
    assert "declined" in event.attributes["exception.stacktrace"]


@pytest.mark.parametrize(("exc", "word"), [(Ignore(), "ignored"), (Reject("no"), "rejected")])
def test_what_a_task_asks_for_is_no_error(app, traced, exc, word):
    @app.task(name="asks")
    def asks():
        raise exc

    asks.delay()
    drain(app)
    span = traced.span("process")
    assert (span.attributes["liteq.outcome"], span.status.status_code.name) == (word, "UNSET")


# -- canvases ----------------------------------------------------------------------------------------------------------


def test_a_join_links_to_all_that_it_joins_and_all_is_one_trace(app, traced):
    add = app.tasks["add"]
    chord([add.s(1, n) for n in range(3)], add.s()).delay()
    drain(app)
    assert len({one.context.trace_id for one in traced.spans()}) == 1
    *members, join = traced.spans("send")
    assert [link.context.span_id for link in traced.spans("process")[-1].links] == ids(*members)
    assert traced.spans("process")[-1].parent.span_id == join.context.span_id
    assert {one.attributes["liteq.group.id"] for one in members} == {members[0].attributes["liteq.group.id"]}


def test_a_link_of_a_chain_links_to_the_one_before(app, traced):
    add = app.tasks["add"]
    chain(add.s(1), add.s(2), add.s(3)).delay()
    drain(app)
    sendings, executions = traced.spans("send"), traced.spans("process")
    assert [[one.context.span_id for one in each.links] for each in executions] == [
        [], *[[one] for one in ids(*sendings[:2])],
    ]  # fmt: skip


def test_the_members_of_a_long_group_share_a_span_and_its_join_has_as_many_links_as_are_kept(app, traced):
    add = app.tasks["add"]
    chord([add.s(n) for n in range(300)], add.s()).delay()
    drain(app)
    shared = traced.span("send", messaging__batch__message_count=173)  # with the join: 301 - 128
    assert len(traced.spans("send")) == 129
    assert len(traced.spans("process")) == 301
    assert sum(one.parent.span_id == shared.context.span_id for one in traced.spans("process")) == 173
    assert len(traced.spans("process")[-1].links) == 128


def test_calls_in_bulk_have_one_span(app, traced):
    app.enqueue_many("add", [(n, 1) for n in range(5)])
    app.enqueue_many([app.tasks["add"].s(7, 7), app.tasks["add"].s(8, 8).set(queue="other")])
    drain(app)
    one_queue, two = traced.spans("send")
    assert (one_queue.name, one_queue.attributes["messaging.batch.message_count"]) == ("send celery", 5)
    assert (two.name, two.attributes["messaging.batch.message_count"]) == ("send", 2)
    assert [one.parent.span_id for one in traced.spans("process")].count(one_queue.context.span_id) == 5
    assert len(traced.spans("process")) == 7


def test_a_replaced_task_and_its_replacement_are_one_trace(app, traced):
    @app.task(name="swap", bind=True)
    def swap(self):
        raise self.replace(app.tasks["add"].s(2, 2))

    swap.delay()
    drain(app)
    assert traced.span("process", liteq__task__name="swap").attributes["liteq.outcome"] == "replaced"
    assert len({one.context.trace_id for one in traced.spans()}) == 1


def test_a_beat_before_which_another_was_faster_has_sent_nothing(app, traced, monkeypatch):
    app.schedules.add("often", 60, "add", (1, 2))
    now_ms = app.clock.now_ms()
    app.clock.now_ms = lambda: now_ms + 61_000
    fired = []
    monkeypatch.setattr(type(app.storage.schedules), "fire", lambda *given, **_named: bool(fired.append(given)))
    beat = Beat(app)
    beat.start()
    beat.tick()
    assert fired
    assert traced.spans() == []
    assert traced.points("messaging.client.sent.messages") == []


def test_an_entry_of_beat_is_sent_and_executed_by_its_name(app, traced):
    app.schedules.add("often", 60, "add", (1, 2))
    now_ms = app.clock.now_ms()
    app.clock.now_ms = lambda: now_ms + 61_000
    beat = Beat(app)
    beat.start()
    beat.tick()
    drain(app)
    assert [one.attributes["liteq.schedule.name"] for one in traced.spans()] == ["often", "often"]
    assert traced.span("process").parent.span_id == traced.span("send").context.span_id


# -- the context -------------------------------------------------------------------------------------------------------


def test_the_context_is_in_the_headers_as_other_instrumentations_have_it(app, traced):
    @app.task(name="look", bind=True)
    def look(self):
        return self.request.traceparent, self.request.headers["tenant"], baggage.get_baggage("user")

    token = context.attach(baggage.set_baggage("user", "ann"))
    try:
        sent = look.apply_async(headers={"tenant": "acme"})
    finally:
        context.detach(token)
    drain(app)
    traceparent, tenant, user = sent.get(timeout=0)
    sending = traced.span("send").context
    assert traceparent.startswith(f"00-{sending.trace_id:032x}-{sending.span_id:016x}-0")
    assert (tenant, user) == ("acme", "ann")


@pytest.mark.parametrize("how", ["header", "task"])
def test_an_execution_that_is_only_linked_has_a_trace_of_its_own(app, traced, how):
    class Linked(app.Task):
        liteq_trace = "link" if how == "task" else None

    app.task(name="later", base=Linked)(lambda: None)
    app.tasks["later"].apply_async(headers={"liteq_trace": "link"} if how == "header" else {})
    drain(app)
    sending, execution = traced.span("send"), traced.span("process")
    assert execution.parent is None
    assert execution.context.trace_id != sending.context.trace_id
    assert [one.context.span_id for one in execution.links] == ids(sending)


def test_a_message_of_a_sender_without_instrumentation_has_a_trace_of_its_own(app, traced):
    uninstrument(app)
    app.tasks["add"].delay(1, 1)
    instrument(app, traced.tracers)
    drain(app)
    assert traced.span("process").parent is None
    assert traced.spans("send") == []
    uninstrument(app)
    app.tasks["add"].delay(1, 1)
    drain(app)
    assert len(traced.spans()) == 1


def test_a_sending_that_fails_is_an_error_of_its_span(app, traced, monkeypatch):
    def refuse(*_args, **_options):
        raise ConnectionError("no file")

    app.tasks["add"].delay(1, 1)  # opens the file
    traced.exporter.clear()
    monkeypatch.setattr(app.storage, "enqueue", refuse)
    with pytest.raises(ConnectionError):
        app.tasks["add"].delay(1, 2)
    span = traced.span("send")
    assert (span.attributes["error.type"], span.status.status_code.name) == ("ConnectionError", "ERROR")


def test_the_names_of_the_older_conventions_come_beside_them_where_they_are_asked_for(app, traced, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, messaging/dup")
    app.tasks["add"].delay(1, 1)
    drain(app)
    assert traced.span("send").attributes["messaging.operation"] == "publish"
    for span in traced.spans():
        assert span.attributes["messaging.destination"] == span.attributes["messaging.destination.name"] == "celery"
        assert span.attributes["messaging.message_id"] == span.attributes["messaging.message.id"]


def test_an_async_sender_and_an_async_task_are_in_the_trace(app, traced):
    import asyncio

    @app.task(name="later")
    async def later():
        await asyncio.sleep(0)
        return trace.get_current_span().get_span_context().span_id

    async def send():
        with traced.tracers.get_tracer("test").start_as_current_span("request") as request:
            return request, await later.adelay()

    request, sent = asyncio.run(send())
    drain(app)
    assert traced.span("send").parent.span_id == request.get_span_context().span_id
    assert sent.get(timeout=0) == traced.span("process").context.span_id


def test_an_observer_that_fails_changes_nothing(app, traced, monkeypatch, caplog):
    observer = app.integrations.observer()._all[0]
    for name in ("sending", "made", "executing", "turned"):
        monkeypatch.setattr(type(observer), name, lambda *_args, **_named: 1 / 0)
    with start_worker(app):
        assert app.tasks["add"].delay(1, 2).get(timeout=WAIT_S) == 3
        assert group(app.tasks["add"].s(1), app.tasks["add"].s(2)).delay().get(timeout=WAIT_S) == [1, 2]
    assert "an observer failed" in caplog.text


# -- metrics -----------------------------------------------------------------------------------------------------------


def test_metrics_count_messages_and_time_operations(app, traced):
    @app.task(name="broken")
    def broken():
        raise ValueError

    with start_worker(app):
        app.tasks["add"].delay(1, 2).get(timeout=WAIT_S)
        with pytest.raises(ValueError):
            broken.delay().get(timeout=WAIT_S)
    assert [one.value for one in traced.points("messaging.client.sent.messages")] == [2]
    consumed = traced.points("messaging.client.consumed.messages")
    assert sum(one.value for one in consumed if one.attributes["messaging.destination.name"] == "celery") == 2
    timed = {one.attributes["messaging.operation.name"] for one in traced.points("messaging.client.operation.duration")}
    assert timed == {"send", "claim", "settle"}
    processed = {one.attributes.get("error.type"): one.count for one in traced.points("messaging.process.duration")}
    assert processed == {None: 1, "ValueError": 1}


# -- nobody has installed it -------------------------------------------------------------------------------------------


def test_without_the_extra_the_error_says_what_to_install():
    code = "import sys; sys.modules['opentelemetry'] = sys.modules['opentelemetry.trace'] = None; import liteq_otel"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1].endswith(
        "needs opentelemetry-api and opentelemetry-semantic-conventions (the extra `otel`): install them"
    )


def test_a_plain_call_goes_its_short_way_again_after_uninstrument(app):
    assert app.publisher.defaults("add").is_plain
    instrument(app)
    assert not app.publisher.defaults("add").is_plain
    uninstrument(app)
    assert app.publisher.defaults("add").is_plain


def test_two_apps_of_one_process_are_instrumented_apart(app, traced, tmp_path):
    with LiteQ("other", broker=f"sqlite:///{tmp_path}/other.db", set_as_current=False) as other:
        other.task(name="quiet")(lambda: None).delay()
        drain(other)
    assert traced.spans() == []
