"""Progress and streams as documents: numbers for every viewer, words and chunks for those who may see payloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from liteq import LiteQ
from liteq.context import identity
from liteq.monitor.access.sight import Sight
from liteq.monitor.overview import overview
from liteq.monitor.tasks.tasks import task, tasks
from liteq.monitor.tasks.telling import stream
from liteq.monitor.tasks.why import explain
from liteq.serialization import encode
from liteq.testing import FakeClock

BLIND = Sight(payloads=False)
CARD = "4242424242424242"


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="report", sensitive=["card"])
    def report(card: str) -> None: ...

    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def runs(app) -> Callable[..., str]:
    """A task that runs and has told something; its id."""

    def tell(document: object = None, chunks: dict[str, list[object]] | None = None) -> str:
        number = app.storage.register_worker(identity.me("w1@here"), b"{}")
        id_ = app.tasks["report"].delay(CARD).id
        (lease,) = app.storage.claim(["celery"], worker=number, limit=1, visibility_s=60)
        if document is not None:
            app.storage.progress(id_, encode(document, what="it"), lease=(lease.seq, lease.token))
        for name, values in (chunks or {}).items():
            app.storage.streams.emit((lease.seq, lease.token), name, [encode(one, what="it") for one in values])
        return id_

    return tell


def report(app: LiteQ, done: float, total: float | None, note: str = "") -> dict:
    now_ms = app.clock.now_ms()
    meta = {"current": done, "total": total, "note": note}
    return {"state": "PROGRESS", "meta": meta, "at": now_ms, "first": (0, now_ms - 10_000)}


def test_a_report_with_the_time_that_is_left(app, runs):
    id_ = runs(report(app, 25, 100, "page 25"))
    told = task(app, id_)["progress"]
    assert (told["current"], told["total"], told["note"], told["eta_s"]) == (25, 100, "page 25", 30.0)
    assert told["at"] == app.clock.now_ms()
    assert "It has done 25 of 100, about 30 s left: page 25." in explain(app, id_)["text"]


def test_lists_tell_how_far_each_is(app, runs):
    id_ = runs(report(app, 1, 4))
    for items in (tasks(app, "state:leased")["items"], tasks(app, id_)["items"], overview(app)["running"]):
        assert [(one["id"], one["progress"]["current"], one["progress"]["total"]) for one in items] == [(id_, 1, 4)]


def test_a_state_of_the_tasks_own_is_no_report(app, runs):
    id_ = runs({"state": "COOKING", "meta": {"stove": 3}})
    told = task(app, id_)["progress"]
    assert (told["state"], told["meta"], told["current"]) == ("COOKING", {"stove": 3}, None)


def test_words_need_the_right_payloads_and_numbers_do_not(app, runs):
    id_ = runs(report(app, 25, 100, "ann@example.org"), {"words": ["for ann@example.org"]})
    found = task(app, id_, BLIND)
    assert (found["progress"]["current"], found["progress"]["note"], found["progress"]["meta"]) == (25, None, None)
    assert found["streams"] == [{"name": "words", "chunks": 1, "last": []}]
    assert "example.org" not in str([found, explain(app, id_, BLIND), overview(app, BLIND)])
    assert stream(app, id_, "words", see=BLIND) is None


def test_the_last_chunks_of_each_stream(app, runs):
    id_ = runs(chunks={"words": [f"w{n}" for n in range(30)], "numbers": [{"n": 1}]})
    found = {one["name"]: one for one in task(app, id_)["streams"]}
    assert {name: one["chunks"] for name, one in found.items()} == {"words": 30, "numbers": 1}
    assert [one["data"] for one in found["words"]["last"]] == [f"w{n}" for n in range(10, 30)]
    assert found["numbers"]["last"] == [{"offset": 1, "attempt": 1, "data": {"n": 1}}]


def test_a_chunk_that_quotes_a_sensitive_argument_is_masked_and_a_long_one_cut(app, runs):
    id_ = runs(chunks={"words": [f"card {CARD}", {"card": CARD}, "x" * 9_000]})
    shown = [one["data"] for one in task(app, id_)["streams"][0]["last"]]
    assert shown == ["card ***", '{"card":"***"}', "x" * 4_000 + "…"]


def test_a_stream_a_page_at_a_time(app, runs):
    id_ = runs(chunks={"words": ["a", "b", "c"]})
    first = stream(app, id_, "words", limit=2)
    assert ([one["data"] for one in first["items"]], first["next"], first["ended"]) == (["a", "b"], "2", False)
    second = stream(app, id_, "words", after=2)
    assert ([one["offset"] for one in second["items"]], second["next"]) == ([3], "3")
    assert stream(app, "not-there", "words") is None
    assert stream(app, id_, "words", see=Sight(("mail",))) is None
