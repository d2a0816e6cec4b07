"""Signals about messages: what receivers get, and what they may change, as in Celery 5.7."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from liteq import LiteQ, chain, chord, group, signals
from liteq.exceptions import NotRegistered
from liteq.message import Batch, Message
from liteq.testing import start_worker


@pytest.fixture
def app(tmp_path):
    app = LiteQ("told", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)

    @app.task(name="keep", bind=True)
    def keep(self, *args, **kwargs):
        return [list(args), kwargs, self.request.headers]

    @app.task(name="hooked", on_success=_raises)
    def hooked():
        return 1

    yield app
    app.close()


def _raises(*_):
    raise LookupError("in a hook")


@contextmanager
def heard(signal):
    """The arguments of a receiver of `signal`, call by call."""
    calls = []

    def receiver(sender, **fields):
        calls.append({"sender": sender, **fields})

    signal.connect(receiver)
    try:
        yield calls
    finally:
        signal.disconnect(receiver)


@pytest.mark.celery("Signals", "task_unknown: a message whose task is not registered; message, exc, name, id")
def test_task_unknown(app):
    app.conf.unknown_task_patience = 0
    with heard(signals.task_unknown) as calls, start_worker(app, perform_ping_check=False):
        result = app.send_task("no.such", (1,), {"x": 2}, headers={"h": 1})
        assert result.get(timeout=60, propagate=False) is not None
    (call,) = calls
    message = call["message"]
    assert (call["name"], call["id"], type(call["exc"]).__name__) == ("no.such", result.id, "NotRegistered")
    assert message.headers.items() >= {"task": "no.such", "id": result.id, "h": 1}.items()
    assert message.payload == message.decode() == [[1], {"x": 2}]
    assert (message.content_type, message.delivery_info["routing_key"]) == ("application/json", "celery")


@pytest.mark.celery(
    "Signals",
    "A message whose task no worker knows fails with NotRegistered",
    differs="after `unknown_task_patience`, 30 s: a worker with newer code may come",
)
def test_an_unknown_task_is_given_time(app, caplog, eventually):
    with start_worker(app, perform_ping_check=False):
        left = app.send_task("no.such", (1,))
        eventually(lambda: "no.such[" in caplog.text, within_s=60)
        app.conf.unknown_task_patience = 0
        refused = app.send_task("no.such.either")
        with pytest.raises(NotRegistered):
            refused.get(timeout=60)
    assert left.state == "PENDING"
    assert f"no.such[{left.id}] is not known here: it is left to workers with other code" in caplog.text


@pytest.mark.celery("Signals", "task_rejected: a message that cannot be read; message, exc")
def test_task_rejected(app):
    with heard(signals.task_rejected) as calls, start_worker(app, perform_ping_check=False):
        app.storage.enqueue(Batch([Message("torn", "keep", b"{ not json")]))
        app.AsyncResult("torn").get(timeout=60, propagate=False)
    (call,) = calls
    assert (call["message"].body, call["message"].headers["id"]) == (b"{ not json", "torn")
    assert isinstance(call["exc"], Exception)


def test_a_message_that_cannot_be_read_holds_up_none_that_is_received_with_it(app, caplog):
    """Its arguments are none to a receiver, which is told of it, and of its end where nobody runs it."""
    torn = [Message(f"torn {n}", "keep", payload) for n, payload in enumerate((b"{ not json", b"5", b"[1]"))]
    late = Message("late", "keep", b"{ not json", expires_ms=1)
    app.storage.enqueue(Batch([*torn, late, Message("good", "keep", b"[[1],{}]")]))
    with heard(signals.task_received) as received, heard(signals.task_revoked) as revoked:
        with start_worker(app, perform_ping_check=False):
            app.AsyncResult("good").get(timeout=60)
            app.AsyncResult("late").get(timeout=60, propagate=False)
    assert sorted((call["request"].id, call["request"].args) for call in received) == [
        ("good", [1]), ("late", []), ("torn 0", []), ("torn 1", []), ("torn 2", []),
    ]  # fmt: skip
    assert [call["request"].id for call in revoked] == ["late"]
    assert "cannot be handled" not in caplog.text


@pytest.mark.celery("Signals", "task_internal_error: a hook that raises", differs="the task's outcome stands")
def test_task_internal_error(app):
    with heard(signals.task_internal_error) as calls, start_worker(app, perform_ping_check=False):
        result = app.tasks["hooked"].delay()
        assert result.get(timeout=60) == 1
    (call,) = calls
    assert (call["sender"].name, call["task_id"], call["request"].id) == ("hooked", result.id, result.id)
    assert isinstance(call["exception"], LookupError)
    assert "in a hook" in str(call["einfo"])


@pytest.mark.celery("Signals", "A receiver of before_task_publish may change the arguments and add headers")
def test_before_task_publish_may_change_the_message(app):
    def change(sender, body, headers, **_):
        args, kwargs, _embed = body
        args.append("more")
        kwargs["added"] = True
        headers["trace"] = "t-1"

    signals.before_task_publish.connect(change)
    try:
        with start_worker(app, perform_ping_check=False):
            keep = app.tasks["keep"]
            expected = [["a", "more"], {"added": True}, {"trace": "t-1"}]
            assert keep.delay("a").get(timeout=60) == expected
            assert group(keep.s("a"), keep.s("a")).delay().get(timeout=60) == [expected] * 2
    finally:
        signals.before_task_publish.disconnect(change)


@pytest.mark.celery("Signals", "before_task_publish and after_task_publish: body, exchange, routing_key, headers, ...")
def test_what_publishing_tells(app):
    with heard(signals.before_task_publish) as before, heard(signals.after_task_publish) as after:
        result = app.tasks["keep"].apply_async((1,), {"x": 2}, reply_to="me", priority=3)
    assert before[0].keys() == {
        "sender", "body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy", "signal",
    }  # fmt: skip
    assert after[0].keys() == {"sender", "body", "exchange", "routing_key", "headers", "signal"}
    assert before[0]["properties"] == {"correlation_id": result.id, "reply_to": "me", "priority": 3}
    headers = before[0]["headers"]
    assert headers.keys() == {
        "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
        "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
        "stamps",
    }  # fmt: skip
    assert (headers["argsrepr"], headers["kwargsrepr"], headers["root_id"]) == ("(1,)", "{'x': 2}", result.id)
    assert before[0]["body"][:2] == ([1], {"x": 2})


@pytest.mark.celery(
    "Signals",
    "before_task_publish and after_task_publish of a workflow: for each of its tasks",
    differs="at once, in the sender; no callbacks, chain or chord in the body",
)
def test_publishing_a_workflow(app):
    @app.task(name="one")
    def one(*_args): ...

    with heard(signals.before_task_publish) as before, heard(signals.after_task_publish) as after:
        chain(one.s(1), chord([one.s(2), one.s(3)], one.s(4))).apply_async(link=one.s(5), link_error=one.s(6))
    assert {call["body"][0][0] for call in before} == {1, 2, 3, 4, 5, 6}
    assert len(after) == len(before)
    assert [name for call in before for name, embedded in call["body"][2].items() if embedded] == []
