"""The setting `workflow_webhook`: the signals of runs reach a URL, sent by a task."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.sending.webhook import check_webhook
from liteq.states import State
from liteq.testing import FakeClock, drain
from liteq.workflow import ctx


@pytest.fixture
def app(tmp_path, receiver) -> Iterator[LiteQ]:
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False,
        workflow_webhook=receiver.url,
    )  # fmt: skip

    @app.workflow(name="shop.order")
    def order(what: str) -> None:
        if what == "ask":
            ctx.approval("Go?", details={"total": 3}, timeout="1d", remind="2h")
        raise ValueError(what)

    yield app
    app.close()


def fail(app: LiteQ, queue: str | None = None) -> None:
    app.tasks["shop.order"].options(id="order-7", queue=queue).start("boom")
    drain(app)


def test_a_failed_run_is_posted_as_json(app, receiver):
    fail(app)
    (body,) = receiver.posts
    assert body == {
        "signal": "workflow_failed", "run_id": "order-7", "name": "shop.order", "error": "ValueError: boom",
    }  # fmt: skip
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_an_approval_is_posted_and_again_at_each_reminder(app, receiver):
    due = app.now() + timedelta(days=1)
    app.tasks["shop.order"].options(id="order-9").start("ask")
    drain(app)
    drain(app, until_ms=app.clock.now_ms() + 5 * 3600 * 1000)
    assert receiver.posts == [
        {
            "signal": "approval_requested", "run_id": "order-9", "name": "shop.order", "title": "Go?",
            "details": {"total": 3}, "schema": None, "due": due.isoformat(),
        },
    ] * 3  # fmt: skip


def test_a_stuck_run_is_posted(app, receiver):
    app.tasks["shop.order"].options(id="order-8").start("ask")
    drain(app)
    app.Run("order-8").approve("Go?", by="bob")
    deployed = LiteQ("shop", broker=app.conf.broker_url, set_as_current=False, workflow_webhook=receiver.url)

    @deployed.workflow(name="shop.order")
    def order(what: str) -> None:
        ctx.sleep(1)

    drain(deployed)
    deployed.close()
    stuck = receiver.posts[-1]
    assert (stuck["signal"], stuck["run_id"]) == ("workflow_stuck", "order-8")
    assert "history holds approval 'Go?', and the code asks for sleep" in stuck["error"]


def test_it_is_sent_to_the_queue_of_the_run(app, receiver):
    app.tasks["shop.order"].options(queue="slow").start("boom")
    drain(app, ["slow"])
    assert len(receiver.posts) == 1


def test_a_receiver_that_is_away_is_tried_again_with_one_key(app, receiver):
    receiver.answers = [503, 429]
    fail(app)
    drain(app)
    assert len(receiver.posts) == 1
    for pause in (1, 2):
        app.clock.advance(pause)
        drain(app)
    assert [body["run_id"] for body in receiver.posts] == ["order-7"] * 3
    assert len(set(receiver.keys)) == 1
    assert [count.n for count in app.storage.reader.counts()] == [1], "the failed run: the task has succeeded"


def test_a_refusal_is_final(app, receiver):
    receiver.answers = [404]
    fail(app)
    drain(app)
    app.clock.advance(3600)
    assert drain(app) == 0
    assert {(count.state, count.n) for count in app.storage.reader.counts()} == {(State.DEAD, 2)}


def test_without_the_setting_nothing_is_sent(app, receiver):
    app.conf.workflow_webhook = None
    fail(app)
    assert receiver.posts == []


def test_a_url_of_another_scheme_is_refused_at_the_start(tmp_path):
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False, workflow_webhook="file:///etc/passwd"
    )
    with pytest.raises(ImproperlyConfigured, match="begins with http:// or https://, not 'file:///etc/passwd'"):
        check_webhook(app)
    app.close()


def test_a_file_that_cannot_be_used_holds_up_no_run(app, caplog, monkeypatch):
    from liteq.exceptions import StorageUnavailable

    def refuse(*_):
        raise StorageUnavailable("gone")

    monkeypatch.setattr(app.sender, "send_call", refuse)
    app.tasks["shop.order"].options(id="order-7").start("boom")
    with caplog.at_level(logging.ERROR):
        drain(app)
    assert "the webhook is not told" in caplog.text
    assert app.Run("order-7").status == "failed"


def test_the_task_is_no_task_of_the_programs(app):
    from liteq.monitor.workers import published

    app.finalize()
    assert "liteq.webhook" in app.tasks
    told = published(app.tasks)
    assert "shop.order" in (told or ())
    assert "liteq.webhook" not in (told or ())
