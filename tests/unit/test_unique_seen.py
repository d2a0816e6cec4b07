"""Unique calls as documents and in `why`: what excludes others, until when, and which message stands for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from liteq import Debounce, LiteQ, Throttle, Unique
from liteq.canvas import chain
from liteq.context import identity
from liteq.message import Ack
from liteq.monitor.access.sight import Sight
from liteq.monitor.tasks.tasks import task
from liteq.monitor.tasks.why import REASONS, explain
from liteq.testing import FakeClock


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="save", unique=Debounce(30, max_wait=60, by="doc:{doc}"))
    def save(doc: str) -> None: ...

    @app.task(name="ping", unique=Throttle(60, trailing=True))
    def ping() -> None: ...

    @app.task(name="load", unique=Unique(by="file:{name}"))
    def load(name: str) -> None: ...

    @app.task(name="greet", unique=Unique(by="to:{name}", within=3600))
    def greet(name: str) -> None: ...

    @app.task(name="first")
    def first() -> None: ...

    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def start(app) -> Callable[[], list[str]]:
    """Claim all that is due; the ids."""
    number = app.storage.register_worker(identity.me("w1@here"), b"{}")
    return lambda: [one.id for one in app.storage.claim(["celery"], worker=number, limit=9, visibility_s=60)]


def why(app: LiteQ, id_: str) -> tuple[str, str]:
    found = explain(app, id_)
    assert found["reason"] in REASONS
    return found["reason"], found["text"]


def test_a_debounced_call_says_until_when_and_why(app):
    first_ms = app.clock.now_ms()
    id_ = app.tasks["save"].delay("a").id
    app.clock.advance(seconds=10)
    assert app.tasks["save"].delay("a").id == id_
    reason, text = why(app, id_)
    assert reason == "debounced"
    assert "it is due in 30 s" in text
    assert "puts it off by 30 s, to 2026-01-01T00:01:00.000+00:00 at the latest" in text
    details = explain(app, id_)["details"]
    assert (details["first"], details["due"], details["latest"]) == (first_ms, first_ms + 40_000, first_ms + 60_000)


def test_the_last_of_a_throttled_period_says_when_it_starts(app, start):
    app.tasks["ping"].delay()
    assert len(start()) == 1
    reason, text = why(app, app.tasks["ping"].delay().id)
    assert (reason, "starts every 1 min" in text) == ("throttled", True)


def test_a_unique_call_tells_its_key_and_how_long_it_excludes_others(app, start):
    id_ = app.tasks["load"].delay("a.csv").id
    assert task(app, id_)["unique"]["excludes"] == "until it ends"
    assert "file:a.csv" in task(app, id_)["unique"]["key"]
    save = app.tasks["save"].delay("x").id
    assert task(app, save)["unique"]["excludes"] == "until it starts"
    app.clock.advance(seconds=31)
    start()
    newer = app.tasks["save"].delay("x").id
    found = task(app, save)["unique"]
    assert (found["excludes"], found["holder"], found["superseded_by"]) == (None, newer, newer)
    assert task(app, app.tasks["first"].delay().id)["unique"] is None


def test_one_that_excludes_others_for_a_time_says_until_when(app, start):
    id_ = app.tasks["greet"].delay("ann").id
    sent_ms = app.clock.now_ms()
    (lease,) = app.storage.claim(["celery"], worker=1, limit=1, visibility_s=60)
    app.storage.settle([(lease, Ack(b"1"))])
    found = task(app, id_)["unique"]
    assert (found["excludes"], found["until"]) == ("until a time", sent_ms + 3_600_000)


def test_a_part_of_a_canvas_is_a_duplicate_of_what_holds_its_key(app):
    holder = app.tasks["load"].delay("a.csv").id
    sent = chain(app.tasks["load"].si("a.csv"), app.tasks["first"].si()).apply_async()
    found = task(app, sent.parent.id)
    assert found["duplicate_of"] == holder
    reason, text = why(app, sent.parent.id)
    assert (reason, f"a duplicate of {holder}, which is pending" in text) == ("duplicate", True)


def test_keys_are_cut_where_arguments_may_not_be_seen(app):
    found = task(app, app.tasks["load"].delay("ann@example.org").id, Sight(payloads=False))
    assert "example.org" not in str(found)
    assert found["unique_key"] == "load(***)"
