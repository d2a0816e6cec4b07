"""The chores that look once in a while: for the end of a pause, for a minute that nobody has measured."""

from __future__ import annotations

import pytest

from liteq import LiteQ
from liteq.storage.facades.operators import limits
from liteq.testing import FakeClock
from liteq.worker.chores import recording
from liteq.worker.chores.pauses import PauseWatch
from liteq.worker.chores.recording import Recording


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def storage(tmp_path, clock):
    app = LiteQ("watch", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)
    app.storage.migrate()
    yield app.storage
    app.close()


def test_the_end_of_a_pause_makes_the_loop_look(storage, clock):
    looks = []
    watch = PauseWatch(storage, lambda: looks.append(clock.now_ms()), monotonic=clock.monotonic)
    storage.queues.pause("mail", clock.now_ms() / 1000 + 0.4)
    storage.queues.pause("slow")
    watch.turn()
    assert (looks, watch.due_at) == ([], pytest.approx(clock.monotonic() + 0.4))
    clock.advance(seconds=0.4)
    watch.turn()
    assert looks == [clock.now_ms()]
    assert watch.due_at == pytest.approx(clock.monotonic() + 1.0)
    clock.advance(seconds=1)
    watch.turn()
    assert len(looks) == 1


def test_a_pause_that_began_and_ended_between_two_looks_makes_the_loop_look(storage, clock):
    looks = []
    watch = PauseWatch(storage, lambda: looks.append(clock.now_ms()), monotonic=clock.monotonic)
    watch.turn()
    clock.advance(seconds=0.3)
    storage.queues.pause("mail", clock.now_ms() / 1000 + 0.5)
    clock.advance(seconds=0.7)
    watch.turn()
    assert looks == [clock.now_ms()]
    clock.advance(seconds=1)
    watch.turn()
    assert len(looks) == 1


def test_one_worker_has_the_work_of_a_minute(storage, clock):
    storage.audit.mark("long ago")
    clock.advance(seconds=3600)
    one, other = (Recording(storage, release, 600, monotonic=clock.monotonic) for release in ("v1", "v1"))
    one.turn()
    assert storage.stats.samples("running", 60) == [(clock.now_ms() // 60_000, 0)]
    assert [mark.label for mark in storage.audit.marks(0, 1 << 60)] == ["v1"]
    other.turn()
    assert [mark.label for mark in storage.audit.marks(0, 1 << 60)] == ["v1"]
    assert one.due_at == pytest.approx(clock.monotonic() + 60)


def test_what_is_old_goes_in_slices(storage, clock, monkeypatch):
    """Where an age was lowered, much is old at once: the worker goes on with its tasks meanwhile."""
    for n in range(25):
        storage.audit.mark(f"long ago {n}")
    clock.advance(seconds=3600)
    monkeypatch.setattr(recording, "CHUNK", 10)
    monkeypatch.setattr(recording, "SLICE_S", 0.0)
    chore = Recording(storage, "", 600, monotonic=clock.monotonic)
    left = [25]
    chore.turn()
    while chore.due_at <= clock.monotonic() + recording.PAUSE_S:
        clock.advance(seconds=recording.PAUSE_S)
        chore.turn()
        left.append(len(storage.audit.marks(0, 1 << 60)))
    assert sorted(set(left), reverse=True) == [25, 15, 5, 0]
    assert chore.due_at > clock.monotonic() + 50


@pytest.mark.parametrize("age", [None, 0])
def test_without_an_age_nothing_is_forgotten(storage, clock, age):
    storage.audit.mark("long ago")
    clock.advance(seconds=10 * 365 * 86_400)
    Recording(storage, "", age, monotonic=clock.monotonic).turn()
    assert [mark.label for mark in storage.audit.marks(0, 1 << 60)] == ["long ago"]


def test_events_that_have_expired_go_wherever_they_came_from(storage, clock, monkeypatch):
    """More than a chunk of them, though no worker here writes events: the app that sends may."""
    monkeypatch.setattr(recording, "CHUNK", 10)
    storage.events.put([b"{}"] * 25)
    clock.advance(seconds=600)
    storage.events.put([b"{}"])
    clock.advance(seconds=1)
    chore = Recording(storage, "", None, None, 600, monotonic=clock.monotonic)
    chore.turn()
    while chore.due_at <= clock.monotonic() + recording.PAUSE_S:
        clock.advance(seconds=recording.PAUSE_S)
        chore.turn()
    assert len(storage.events.after(0, 100)) == 1


def test_keys_that_hold_nothing_back_are_forgotten_in_slices(storage, clock, monkeypatch):
    steps = []
    monkeypatch.setattr(recording, "SLICE_S", 0.0)
    monkeypatch.setattr(limits, "CHUNK", 10)
    monkeypatch.setattr(limits._change, "prune", lambda _tx, **_more: steps.append(clock.monotonic()) or 10)
    storage.limits.set("user:1", concurrent=1)
    chore = Recording(storage, "", None, monotonic=clock.monotonic)
    for _ in range(20):
        chore.turn()
        clock.advance(seconds=recording.PAUSE_S)
    assert 1 < len(steps) == len(set(steps))
