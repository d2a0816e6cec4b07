"""Beats of several programs over one file: entries that one of them alone can compute, or that wait."""

from __future__ import annotations

import time

import pytest

from liteq import LiteQ
from liteq.beat import Beat, BeatLazyFunc
from liteq.beat.files import FilesBeat
from liteq.exceptions import ImproperlyConfigured
from liteq.schedules import BaseSchedule, schedstate
from liteq.testing import FakeClock


class Odd(BaseSchedule):
    """Every 7 seconds, as only the program with this class knows."""

    def is_due(self, last_run_at):
        left_s = 7.0 - (self.now() - last_run_at).total_seconds()
        return schedstate(left_s <= 0, left_s if left_s > 0 else 7.0)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make(tmp_path, clock):
    apps = []

    def make_app(main, **settings) -> LiteQ:
        app = LiteQ(main, broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False, **settings)
        app.task(name="note")(lambda *args: args)
        apps.append(app)
        return app

    yield make_app
    for app in apps:
        app.close()


def test_an_entry_that_is_left_to_another_program_holds_up_no_other(make, clock):
    """The other program's beat is down: this one is to wake for its own entries, and not after its longest sleep."""
    Beat(make("theirs", beat_schedule={"odd": {"task": "note", "schedule": Odd()}})).start()
    beat = Beat(make("ours", beat_schedule={"each": {"task": "note", "schedule": 2}}))
    beat.start()
    clock.advance(7)
    assert [beat.tick(), beat.tick()] == [0.0, 2.0], "it has sent its own, and wakes for the next"


def test_a_hundred_entries_that_are_left_or_wait_hold_up_no_other(make, clock):
    """As many as are read together: what is due behind them is this beat's own."""
    theirs = {f"odd {n}": {"task": "note", "schedule": Odd()} for n in range(60)}
    Beat(make("theirs", beat_schedule=theirs)).start()
    app = make("ours")
    for n in range(60):
        app.schedules.add(f"slow {n}", 10, "note", overlap="queue")
    beat = Beat(app)
    for _ in range(2):
        clock.advance(10)
        while beat.tick() == 0.0:
            pass
    app.schedules.add("soon", 1, "note")
    clock.advance(1)
    assert beat.tick() == 0.0
    assert app.storage.schedules.find("soon").total_run_count == 1
    assert beat.tick() == 0.5, "120 of them stay due, and it looks at those that wait"


def test_an_entry_that_waits_for_its_last_run_holds_up_no_other(make, clock):
    app = make("ours")
    app.schedules.add("slow", 10, "note", overlap="queue")
    beat = Beat(app)
    clock.advance(10)
    assert beat.tick() == 0.0
    clock.advance(10)
    app.schedules.add("soon", 0.2, "note")
    assert beat.tick() == pytest.approx(0.2)


@pytest.mark.parametrize("args", [(), (BeatLazyFunc(str),)], ids=["plain", "with a lazy argument"])
@pytest.mark.parametrize("every", [Odd(), 7], ids=["odd", "seconds"])
def test_a_pause_is_ended_by_the_program_that_knows_the_times(make, clock, every, args):
    app = make("ours", beat_schedule={"one": {"task": "note", "schedule": every, "args": args}})
    Beat(app).start()
    app.schedules.pause("one")
    clock.advance(100)
    app.schedules.resume("one")
    (record,) = app.schedules.all()
    assert (record.enabled, record.next_due_ms) == (True, clock.now_ms() + 7_000)
    if isinstance(every, Odd):
        app.schedules.pause("one")
        with pytest.raises(ImproperlyConfigured, match="only be computed by the program that defined it"):
            make("theirs").schedules.resume("one")


def test_an_entry_that_is_added_just_after_a_look_at_its_file_is_not_overlooked(make, monkeypatch, tmp_path):
    """It would be found ten minutes later: a beat of many files sleeps until somebody has written to the file."""
    app, tick = make("ours"), Beat.tick
    app.storage.migrate()
    files = FilesBeat(app, [str(tmp_path / "q.db")])

    def overtaken(beat: Beat) -> float:
        pause_s = tick(beat)
        app.schedules.add("new", 2, "note")
        return pause_s

    monkeypatch.setattr(Beat, "tick", overtaken)
    files.turn()
    monkeypatch.setattr(Beat, "tick", tick)
    files._scan_at = 0.0  # as it comes each five seconds
    files.turn()
    assert files.due_at <= time.monotonic() + 2
