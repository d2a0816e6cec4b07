"""The rows of alerts: each target is told once of the beginning, once of the end, whichever watch tells it."""

from __future__ import annotations

import pytest

from liteq import LiteQ
from liteq.storage.operating.alerts import BEGAN, OVER
from liteq.testing import FakeClock

WAITS = {"head_wait mail": ("mail waits", 0)}
HOLD = {"quiet_s": 90.0, "hold_s": 60.0}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def alerts(tmp_path, clock):
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)
    app.storage.migrate()
    yield app.storage.alerts
    app.close()


def look(alerts, found=WAITS):
    return alerts.look("t", found, **HOLD)


def told_of(alerts, found=WAITS):
    taken = look(alerts, found)
    for one in taken:
        alerts.told("t", one)
    return [(one.key, one.told) for one in taken]


def test_a_beginning_is_told_once_and_an_end_once(alerts, clock):
    assert told_of(alerts) == [("head_wait mail", BEGAN)]
    clock.advance(60)
    assert told_of(alerts) == []
    clock.advance(60)
    assert told_of(alerts, {}) == []  # one look without it is no end
    clock.advance(60)
    assert told_of(alerts, {}) == [("head_wait mail", OVER)]
    assert told_of(alerts, {}) == [] == alerts.standing("t")


def test_what_one_watch_tells_no_other_tells(alerts):
    assert look(alerts)
    assert not look(alerts)


def test_what_a_dead_watch_was_telling_is_told_by_another(alerts, clock):
    assert look(alerts)
    clock.advance(61)
    assert told_of(alerts) == [("head_wait mail", BEGAN)]


def test_each_target_is_told(alerts):
    assert told_of(alerts)
    assert alerts.look("another", WAITS, **HOLD)


def test_a_target_that_does_not_answer_is_tried_again_in_time(alerts, clock):
    (one,) = look(alerts)
    alerts.tell_later("t", one, in_s=5)
    assert not look(alerts)
    clock.advance(5)
    (again,) = look(alerts)
    assert again.tries == 1
    assert again.since_ms == one.since_ms


def test_what_ends_before_anybody_was_told_is_forgotten(alerts, clock):
    patient = {"no_worker": ("no worker", 60_000)}
    assert not look(alerts, patient)
    clock.advance(100)
    assert not look(alerts, {})
    assert not alerts.standing("t")


def test_what_stands_for_its_time_is_told(alerts, clock):
    patient = {"no_worker": ("no worker", 60_000)}
    look(alerts, patient)
    clock.advance(60)
    assert told_of(alerts, patient) == [("no_worker", BEGAN)]


def test_what_comes_back_before_its_end_was_told_goes_on(alerts, clock):
    told_of(alerts)
    clock.advance(100)
    (over,) = look(alerts, {})
    alerts.tell_later("t", over, in_s=5)
    assert look(alerts) == []
    (row,) = alerts.standing("t")
    assert row.since_ms == over.since_ms


def test_what_came_back_while_its_end_was_told_is_told_anew(alerts, clock):
    told_of(alerts)
    clock.advance(100)
    (over,) = look(alerts, {})
    clock.advance(1)
    look(alerts)
    alerts.told("t", over)
    (row,) = look(alerts)
    assert (row.told, row.since_ms) == (BEGAN, over.since_ms + 101_000), "of an id of its own"
    alerts.told("t", row)
    clock.advance(100)
    assert told_of(alerts, {}) == [("head_wait mail", OVER)]


def test_where_nothing_is_wrong_nothing_is_written(alerts, monkeypatch):
    monkeypatch.setattr(alerts._driver, "write", lambda *_: pytest.fail("a write"))
    assert look(alerts, {}) == []
