"""`app.control` on queues: paused, resumed and told of, by the public names and by those of before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from liteq import LiteQ, PausedQueue
from liteq.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def app(tmp_path, clock):
    with LiteQ("paused", broker=f"sqlite:///{tmp_path}/q.db", clock=clock) as made:
        yield made


def now(clock: FakeClock) -> datetime:
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)


def test_a_pause_tells_why_by_whom_since_and_until_when(app, clock):
    paused = app.control.pause_queue("mail.*", "the server is moved", "ann", timedelta(hours=2))
    assert paused == PausedQueue("mail.*", "the server is moved", "ann", now(clock), now(clock) + timedelta(hours=2))
    assert app.control.paused_queues() == [paused]
    assert app.control.resume_queue("mail.*", reason="moved", by="bob")
    assert app.control.paused_queues() == []
    noted = [(one.action, one.actor, one.reason) for one in app.storage.audit.page()]
    assert noted == [("resume", "bob", "moved"), ("pause", "ann", "the server is moved")]


@pytest.mark.parametrize(
    "until",
    ["90s", 90, timedelta(seconds=90), lambda at: at + timedelta(seconds=90),
     lambda at: (at + timedelta(seconds=90)).isoformat(), lambda at: at.replace(tzinfo=None) + timedelta(seconds=90)],
)  # fmt: skip
def test_an_end_is_a_time_or_a_span(app, clock, until):
    end = until(now(clock)) if callable(until) else until
    assert app.control.pause_queue("mail", until=end).until == now(clock) + timedelta(seconds=90)
    clock.advance(seconds=90)
    assert app.control.paused_queues() == []


def test_an_end_that_is_over_or_none_is_refused(app, clock):
    with pytest.raises(ValueError, match="is over"):
        app.control.pause_queue("mail", until=now(clock) - timedelta(seconds=1))
    with pytest.raises(ValueError, match="a number with a unit"):
        app.control.pause_queue("mail", until="soon")
    assert app.control.paused_queues() == []


@pytest.mark.parametrize(("queue", "error"), [("", ValueError), (5, TypeError), (None, TypeError)])
def test_what_is_no_queue_s_name_is_refused(app, queue, error):
    with pytest.raises(error, match="a queue's name"):
        app.control.pause_queue(queue)
    assert app.control.paused_queues() == []


def test_callers_of_before_say_for_s_and_actor(app, clock):
    for paused in (
        app.control.pause_queue("mail", 60, reason="smtp", actor="ann"),
        app.control.pause_queue("mail", for_s=60, reason="smtp", actor="ann"),
        app.control.pause_queue("mail", reason="smtp", by="ann", until=60),
    ):
        assert paused.until == now(clock) + timedelta(seconds=60)
        assert paused.by == "ann"
    assert app.control.pause_queue("mail", None, reason="smtp").until is None
    assert app.control.resume_queue("mail", actor="ann")


def test_a_misspelt_option_of_a_pause_is_refused_with_the_nearest(app):
    with pytest.raises(TypeError, match="did you mean 'until'"):
        app.control.pause_queue("mail", untill="1h")
