"""The setting `workflow_webhook`: the signals of runs reach a URL, sent by a task."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from liteq import LiteQ, signals
from liteq.exceptions import ImproperlyConfigured
from liteq.sending import webhook
from liteq.states import State
from liteq.testing import FakeClock, drain


class Receiver:
    """A server that keeps what is posted, and answers as `answers` say, at last 200."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict, dict]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.append((json.loads(body), dict(self.headers)))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/runs"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def app(tmp_path, receiver) -> Iterator[LiteQ]:
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False,
        workflow_webhook=receiver.url,
    )  # fmt: skip
    webhook.connect(app)
    yield app
    webhook.disconnect(app)
    app.close()


def stuck(**more) -> None:
    signals.workflow_stuck.send(sender=None, run_id="order-7", name="shop.order", error="boom", **more)


def test_each_signal_of_a_run_is_posted_as_json(app, receiver):
    stuck()
    signals.workflow_failed.send(sender=None, run_id="order-8", name="shop.order", error="ValueError: 7")
    due = app.now()
    signals.approval_requested.send(
        sender=None, run_id="order-9", name="shop.order", title="Go?", details={"total": 3}, schema=None, due=due
    )
    assert drain(app) == 3
    bodies = [body for body, _ in receiver.posts]
    assert bodies == [
        {"signal": "workflow_stuck", "run_id": "order-7", "name": "shop.order", "error": "boom"},
        {"signal": "workflow_failed", "run_id": "order-8", "name": "shop.order", "error": "ValueError: 7"},
        {
            "signal": "approval_requested", "run_id": "order-9", "name": "shop.order", "title": "Go?",
            "details": {"total": 3}, "schema": None, "due": due.isoformat(),
        },
    ]  # fmt: skip
    assert {headers["Content-Type"] for _, headers in receiver.posts} == {"application/json"}


def test_a_receiver_that_is_away_is_tried_again_with_one_key(app, receiver):
    receiver.answers = [503, 429]
    stuck()
    drain(app)
    assert len(receiver.posts) == 1
    for pause in (1, 2):
        app.clock.advance(pause)
        drain(app)
    assert [body["run_id"] for body, _ in receiver.posts] == ["order-7"] * 3
    assert len({headers["Idempotency-Key"] for _, headers in receiver.posts}) == 1
    assert app.storage.reader.counts() == [], "it has succeeded, and nobody asks for its result"


def test_a_refusal_is_final(app, receiver):
    receiver.answers = [404]
    stuck()
    drain(app)
    app.clock.advance(3600)
    assert drain(app) == 0
    assert [count.state for count in app.storage.reader.counts()] == [State.DEAD]


def test_a_signal_of_another_app_is_not_posted(app, receiver, tmp_path):
    other = LiteQ("other", broker=f"sqlite:///{tmp_path}/other.db", set_as_current=False)
    task = other.task(name="flow")(lambda: None)
    signals.workflow_failed.send(sender=task, run_id="x", name="flow", error="")
    assert drain(app) == 0
    other.close()


def test_without_the_setting_nothing_listens(tmp_path):
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    webhook.connect(app)
    assert signals.workflow_stuck.receivers == ()
    app.close()


def test_a_url_of_another_scheme_is_refused_at_the_start(tmp_path):
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False, workflow_webhook="file:///etc/passwd"
    )
    with pytest.raises(ImproperlyConfigured, match="begins with http:// or https://, not 'file:///etc/passwd'"):
        webhook.connect(app)
    app.close()


def test_a_file_that_cannot_be_used_holds_up_no_run(app, caplog, monkeypatch):
    from liteq.exceptions import StorageUnavailable

    def refuse(*_):
        raise StorageUnavailable("gone")

    monkeypatch.setattr(app.storage.reader, "find", refuse)
    with caplog.at_level(logging.ERROR):
        stuck()
    assert "the webhook is not told" in caplog.text


def test_the_task_is_no_task_of_the_programs(app):
    from liteq.monitor.workers import published

    app.finalize()
    assert "liteq.webhook" in app.tasks
    assert published(app.tasks) == []
