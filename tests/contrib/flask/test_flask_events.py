"""liteq_flask.event_stream: progress and streams for a page."""

from __future__ import annotations

import pytest
from flask import Flask

from liteq.context import swap_apps
from liteq.monitor import server_events
from liteq.testing import drain
from liteq_flask import LiteQ, event_stream


@pytest.fixture(autouse=True)
def _no_app_of_another_test():
    before = swap_apps(None, None)
    yield
    swap_apps(*before)


@pytest.fixture
def flask_app(tmp_path) -> Flask:
    made = Flask("shop", instance_path=str(tmp_path / "instance"))

    @made.get("/events/<id_>")
    def events(id_: str):
        return event_stream(made.extensions["liteq"].AsyncResult(id_))

    @made.get("/words/<id_>")
    def words(id_: str):
        return event_stream(made.extensions["liteq"].AsyncResult(id_), stream="words")

    return made


@pytest.fixture
def queue(flask_app) -> LiteQ:
    with LiteQ(flask_app) as made:

        @made.task(name="tell", bind=True)
        def tell(self) -> str:
            self.progress(1, 2, "half")
            self.emit("words", "one")
            self.emit("words", "zwölf")
            return "done"

        yield made


def test_a_stream_ends_with_the_task_and_goes_on_behind_the_last_chunk(queue, flask_app):
    result = queue.tasks["tell"].delay()
    drain(queue)
    client = flask_app.test_client()
    response = client.get(f"/words/{result.id}")
    assert response.content_type.startswith("text/event-stream")
    done = 'event: done\ndata: {"state":"SUCCESS","ready":true,"info":"done"}\n\n'
    assert response.text == 'id: 1\ndata: "one"\n\nid: 2\ndata: "zwölf"\n\n' + done
    assert client.get(f"/words/{result.id}", headers={"Last-Event-ID": "2"}).text == done
    assert client.get("/words/unknown").status_code == 404


def test_a_request_that_is_given_tells_the_last_chunk_and_a_wrong_interval_is_refused(queue, flask_app):
    result = queue.tasks["tell"].delay()
    drain(queue)
    with flask_app.test_request_context(headers={"Last-Event-ID": "1"}) as context:
        answer = event_stream(result, "words", request=context.request, interval_s=2)
        assert answer.get_data(as_text=True).startswith('id: 2\ndata: "zwölf"\n\nevent: done\n')
        with pytest.raises(ValueError, match="interval_s is a number of seconds above 0, not -1"):
            event_stream(result, interval_s=-1)


def test_a_chunk_comes_while_the_task_runs(queue, flask_app):
    """The first event of the answer is there before the second chunk is emitted."""

    @queue.task(name="two", bind=True)
    def two(self) -> None:
        self.emit("words", 1)
        first = flask_app.test_client().get(f"/words/{self.request.id}")
        seen.append(next(first.response))
        first.close()

    seen: list[bytes] = []
    two.delay()
    drain(queue)
    assert seen == [b"id: 1\ndata: 1\n\n"]


def test_progress_is_told_and_silence_is_broken(queue, flask_app, monkeypatch):
    monkeypatch.setattr(server_events, "HEARTBEAT_S", 0.01)

    @queue.task(name="watched", bind=True)
    def watched(self) -> None:
        self.progress(1, 2, "half")
        answer = flask_app.test_client().get(f"/events/{self.request.id}")
        seen.extend([next(answer.response), next(answer.response)])
        answer.close()

    seen: list[bytes] = []
    result = watched.delay()
    drain(queue)
    meta = b'{"state":"PROGRESS","ready":false,"info":{"current":1,"total":2,"note":"half"}}'
    assert seen == [b"event: progress\ndata: %b\n\n" % meta, b": alive\n\n"]
    text = flask_app.test_client().get(f"/events/{result.id}").text
    assert text == 'event: done\ndata: {"state":"SUCCESS","ready":true,"info":null}\n\n'
