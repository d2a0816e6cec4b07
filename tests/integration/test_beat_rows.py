"""Beat over a real file: each time of an entry fires once, whoever fires it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from liteq import LiteQ, chain, signals
from liteq.beat import Beat, BeatLazyFunc
from liteq.exceptions import ImproperlyConfigured, StorageBusy
from liteq.schedules import BaseSchedule, crontab, schedstate, schedule
from liteq.states import State
from liteq.storage.storage import Storage
from liteq.testing import FakeClock, drain


@pytest.fixture
def clock():
    return FakeClock()  # 2026-01-01 00:00 UTC


@pytest.fixture
def make(tmp_path, clock):
    """Apps of one program over one file: each is a process's."""
    apps = []

    def make_app(main="shop", **settings) -> LiteQ:
        app = LiteQ(main, broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False, **settings)
        app.ran = ran = []

        @app.task(name="note")
        def note(*args, **kwargs):
            ran.append(args)
            return args[0] if args else None

        apps.append(app)
        return app

    yield make_app
    for app in apps:
        app.close()


def every(seconds, *args, **more):
    return {"task": "note", "schedule": seconds, "args": args, **more}


def sent(app) -> int:
    return sum(count.n for count in app.storage.reader.counts())


def test_a_file_that_is_made_anew_under_a_beat_gets_its_entries(make, clock, tmp_path, caplog):
    """It said 'going on', and sent nothing more until somebody started it anew."""
    app = make(beat_schedule={"ten": every(10, "x")})
    beat = Beat(app)
    beat.turn()
    app.storage.close()
    for file in tmp_path.glob("q.db*"):
        file.unlink()
    beat.turn()
    assert "the queue cannot be used at the moment" in caplog.text
    app.storage.migrate()
    beat.turn()
    clock.advance(10)
    beat.turn()
    assert sent(app) == 1


def test_what_was_removed_stays_away_after_trouble(make, clock, monkeypatch):
    app = make(beat_schedule={"ten": every(10, "x"), "five": every(5, "y")})
    beat = Beat(app)
    beat.turn()
    app.schedules.remove("five")
    with monkeypatch.context() as patch:
        patch.setattr(type(app.storage.schedules), "due", lambda *_, **__: (_ for _ in ()).throw(StorageBusy(1.0)))
        beat.turn()
    beat.turn()
    assert [record.name for record in app.storage.schedules.all()] == ["ten"]


def test_an_entry_is_sent_each_time_it_comes_due(make, clock):
    app = make(beat_schedule={"ten": every(10, "x")})
    beat = Beat(app)
    beat.turn()
    assert sent(app) == 0  # the first run is one interval after the start
    for n in range(1, 4):
        clock.advance(10)
        beat.tick()
        assert sent(app) == n
    assert drain(app) == 3
    assert app.ran == [("x",)] * 3


def test_a_file_that_was_locked_when_beat_began_is_brought_up_to_date_later(make, monkeypatch):
    app, tries = make(), []
    migrate = Storage.migrate

    def locked_at_first(storage, **options):
        tries.append(storage)
        if len(tries) == 1:
            raise StorageBusy(0.1, "PID 7")
        return migrate(storage, **options)

    monkeypatch.setattr(Storage, "migrate", locked_at_first)
    beat = Beat(app, patience_s=0.1)
    with pytest.raises(StorageBusy):
        beat.start()
    beat.start()
    assert beat.storage.schedules.all() == []
    assert beat.storage is tries[1]
    beat.storage.close()


class BetweenTwoMs(BaseSchedule):
    """Due half a millisecond after each full second."""

    def next_after(self, moment):
        due = moment.replace(microsecond=500)
        return due if due > moment else due + timedelta(seconds=1)


def test_a_time_between_two_milliseconds_is_due_once(make, clock):
    app = make(beat_schedule={"own": every(BetweenTwoMs(), "x")})
    beat = Beat(app)
    for advance_s, runs in ((0, 0), (0.001, 1), (0, 1), (0.999, 1), (0.001, 2)):
        clock.advance(advance_s)
        beat.turn()
        beat.turn()
        assert app.storage.schedules.find("own").total_run_count == runs


def test_each_way_to_send_an_entry_is_announced_before_and_after(make, clock):
    app = make(beat_schedule={"ten": every(10, "x")})
    beat = Beat(app)
    beat.turn()
    told = []
    receivers = {
        signals.before_task_publish: lambda headers, **_: told.append(("before", headers["id"])),
        signals.after_task_publish: lambda headers, **_: told.append(("after", headers["id"])),
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    try:
        start = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        clock.advance(10)
        beat.tick()
        app.schedules.run_now("ten")
        app.schedules.backfill("ten", start + timedelta(seconds=11), start + timedelta(seconds=21))
    finally:
        for signal, receiver in receivers.items():
            signal.disconnect(receiver)
    ids = [id_ for when, id_ in told if when == "before"]
    assert len(ids) == len(set(ids)) == sent(app) == 3
    assert told == [(when, id_) for id_ in ids for when in ("before", "after")]


def test_it_sleeps_until_the_next_time(make, clock):
    beat = Beat(make(beat_schedule={"ten": every(3)}))
    beat.start()
    assert beat.tick() == 3.0
    clock.advance(1)
    assert beat.tick() == 2.0


def test_any_number_of_beats_fire_once(make, clock):
    settings = {"beat_schedule": {f"entry-{i}": every(1, i) for i in range(10)}}
    beats = [Beat(make(**settings)) for _ in range(4)]
    for beat in beats:
        beat.start()
    clock.advance(1)
    together = threading.Barrier(len(beats))

    def race(beat):
        together.wait()
        beat.tick()

    threads = [threading.Thread(target=race, args=(beat,)) for beat in beats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app = beats[0].app
    assert sent(app) == 10
    assert {record.total_run_count for record in app.schedules.all()} == {1}


def test_a_run_has_an_id_made_of_its_entry_and_its_time(make, clock):
    from liteq.app.schedules import run_id

    app = make(beat_schedule={"ten": every(10)})
    beat = Beat(app)
    beat.start()
    due_ms = app.schedules.all()[0].next_due_ms
    clock.advance(10)
    beat.tick()
    assert app.storage.reader.find(run_id("ten", due_ms)).state is State.PENDING


def test_options_of_an_entry_reach_its_message(make, clock):
    app = make(beat_schedule={"ten": every(10, options={"queue": "reports", "priority": 7, "expires": 30})})
    beat = Beat(app)
    beat.start()
    clock.advance(10)
    beat.tick()
    [message] = app.storage.reader.messages(State.PENDING)
    assert (message.queue, message.priority) == ("reports", 7)
    assert message.expires_ms == clock.now_ms() + 30_000


def test_a_canvas_may_be_periodic(make, clock):
    app = make()
    note = app.tasks["note"]
    app.add_periodic_task(10, chain(note.s("a"), note.s("b")), name="both")
    beat = Beat(app)
    beat.start()
    clock.advance(10)
    beat.tick()
    assert drain(app) == 2
    assert app.ran == [("a",), ("a", "b")]


def test_add_periodic_task_on_after_finalize(make, clock):
    app = make()

    @app.on_after_finalize.connect
    def periodic(sender, **kwargs):
        sender.add_periodic_task(10.0, sender.tasks["note"].s("hello"), name="hello")

    beat = Beat(app)
    beat.start()
    assert [record.name for record in app.schedules.all()] == ["hello"]


# -- what was missed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "runs"), [("one", 1), ("skip", 0), ("all", 30)])
def test_what_becomes_of_times_when_no_beat_ran(make, clock, policy, runs):
    app = make(beat_schedule={"daily": {"task": "note", "schedule": crontab(0, 12)}}, beat_catch_up=policy)
    beat = Beat(app)
    beat.start()
    clock.advance(30 * 86_400)
    while beat.tick() == 0.0:
        pass
    assert sent(app) == runs
    [record] = app.schedules.all()
    assert record.next_due_ms == clock.now_ms() + 12 * 3_600_000


def test_a_few_seconds_late_is_not_a_miss(make, clock):
    app = make(beat_schedule={"daily": {"task": "note", "schedule": crontab(0, 12)}}, beat_catch_up="skip")
    beat = Beat(app)
    beat.start()
    clock.advance(12 * 3600 + 20)
    beat.tick()
    assert sent(app) == 1


def test_a_long_list_of_missed_times_is_sent_in_portions(make, clock):
    app = make(beat_schedule={"often": {"task": "note", "schedule": crontab()}}, beat_catch_up="all")
    beat = Beat(app)
    beat.start()
    clock.advance(250 * 60)
    beat.tick()
    assert sent(app) == 100
    while beat.tick() == 0.0:
        pass
    assert sent(app) == 250


def test_the_deadline_of_a_crontab(make, clock):
    settings = {"beat_schedule": {"daily": {"task": "note", "schedule": crontab(0, 12)}}}
    app = make(**settings, beat_cron_starting_deadline=3600)
    beat = Beat(app)
    beat.start()
    clock.advance(86_400 + 12 * 3600 + 3601)  # the run of today is an hour and a second ago
    beat.tick()
    assert sent(app) == 0
    clock.advance(86_400 - 1)
    beat.tick()
    assert sent(app) == 1


# -- entries come, change and go -------------------------------------------------------------------------------------


def test_entries_that_the_configuration_drops_are_removed_and_others_stay(make):
    Beat(make(beat_schedule={"a": every(10), "b": every(10)})).start()
    other = make("other", beat_schedule={"c": every(10)})
    Beat(other).start()
    other.schedules.add("by-hand", 30, "note", ["x"])
    Beat(make(beat_schedule={"b": every(10)})).start()
    assert [record.name for record in other.schedules.all()] == ["b", "by-hand", "c"]


def test_a_changed_schedule_counts_from_now_and_an_unchanged_one_goes_on(make, clock):
    Beat(make(beat_schedule={"a": every(10), "b": every(100)})).start()
    clock.advance(5)
    app = make(beat_schedule={"a": every(10, "new argument"), "b": every(20)})
    Beat(app).start()
    left = {record.name: (record.next_due_ms - clock.now_ms()) / 1000 for record in app.schedules.all()}
    assert left == {"a": 5, "b": 20}
    clock.advance(5)
    beat = Beat(app)
    beat.start()
    beat.tick()
    drain(app)
    assert app.ran == [("new argument",)]


def test_pause_outlives_a_restart_and_resume_makes_up_nothing(make, clock):
    settings = {"beat_schedule": {"ten": every(10)}}
    app = make(**settings)
    Beat(app).start()
    app.schedules.pause("ten")
    clock.advance(100)
    again = Beat(make(**settings))
    again.start()
    again.tick()
    assert sent(app) == 0
    app.schedules.resume("ten")
    again.tick()
    assert sent(app) == 0
    clock.advance(10)
    again.tick()
    assert sent(app) == 1


def test_run_now(make, clock):
    app = make(beat_schedule={"ten": every(10, 42)})
    Beat(app).start()
    before = app.schedules.all()[0].next_due_ms
    result = app.schedules.run_now("ten")
    drain(app)
    assert result.get(timeout=1) == 42
    [record] = app.schedules.all()
    assert (record.next_due_ms, record.last_id, record.total_run_count) == (before, result.id, 1)


def test_a_name_that_is_not_there(make):
    app = make()
    for verb in (app.schedules.pause, app.schedules.resume, app.schedules.run_now):
        with pytest.raises(KeyError):
            verb("nothing")
    assert app.schedules.remove("nothing") is False


def test_an_entry_added_by_another_program_is_sent_by_a_beat_that_runs(make, clock):
    beat = Beat(make())
    beat.start()
    web = make("web")
    web.schedules.add("report", crontab(0, 6), web.tasks["note"].s("monday").set(queue="reports"))
    clock.advance(6 * 3600)
    beat.tick()
    [message] = web.storage.reader.messages(State.PENDING)
    assert message.queue == "reports"
    assert web.schedules.remove("report") is True


# -- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [{"task": "note"}, {"schedule": 10}, {"task": "note", "schedule": "often"}])
def test_an_entry_that_makes_no_sense_is_named(make, entry):
    with pytest.raises(ImproperlyConfigured, match="nonsense"):
        Beat(make(beat_schedule={"nonsense": entry})).start()


def test_an_entry_that_cannot_be_sent_does_not_stop_the_others(make, clock, caplog):
    app = make(beat_schedule={"good": every(10, "x"), "late": every(10, options={"countdown": "soon"})})
    beat = Beat(app)
    beat.start()
    clock.advance(10)
    beat.tick()
    assert sent(app) == 1
    assert "cannot send late" in caplog.text


def test_a_file_that_is_locked_while_a_run_is_made_costs_no_run(make, clock, monkeypatch):
    """The limit of a call's own is written before the call is."""
    keyed = {"concurrency_key": "x", "max_concurrency": 2}
    app = make(beat_schedule={"ten": every(10, options=keyed)})
    beat = Beat(app)
    beat.start()
    clock.advance(10)

    def locked(_limits):
        raise StorageBusy(0.1, "PID 7")

    with monkeypatch.context() as patched:
        patched.setattr(app.storage.limits, "declare", locked)
        beat.turn()
        assert sent(app) == 0
    beat.turn()
    assert sent(app) == 1


def test_an_entry_that_cannot_be_read_does_not_stop_the_others(make, clock, caplog):
    """Sealed under a key that is gone, or made by another program; also in the first look after a clock is set back."""
    app = make(beat_schedule={"good": every(10, "x")})
    entry, _ = app.schedules.entry("sealed", every(5))
    sealed = entry._replace(signature=b"\x01sealed;gone\0...")
    app.storage.schedules.put([sealed, entry._replace(name="torn", schedule=b"{")])
    clock.advance(-3600)
    beat = Beat(app)
    beat.start()
    beat.tick()
    clock.advance(3600)
    app.storage.schedules.put([entry._replace(name="later", signature=entry.signature, source="later")])
    clock.advance(10)
    beat.tick()
    assert app.storage.schedules.find("good").total_run_count == 1
    assert app.storage.schedules.find("later").total_run_count == 1, "though it comes behind them"
    assert "sealed cannot be read and is passed over" in caplog.text
    assert "torn cannot be read and is passed over" in caplog.text


class Odd(BaseSchedule):
    """Every 7 seconds."""

    def is_due(self, last_run_at):
        left_s = 7.0 - (self.now() - last_run_at).total_seconds()
        return schedstate(left_s <= 0, left_s if left_s > 0 else 7.0)


def test_a_schedule_of_ones_own_is_computed_by_the_program_that_has_it(make, clock):
    owner, other = Beat(make(beat_schedule={"odd": {"task": "note", "schedule": Odd()}})), Beat(make("other"))
    owner.start()
    other.start()
    clock.advance(7)
    other.tick()
    assert sent(owner.app) == 0
    owner.tick()
    assert sent(owner.app) == 1
    with pytest.raises(ImproperlyConfigured, match="beat_schedule"):
        owner.app.schedules.add("odd too", Odd(), "note")


class Workdays(crontab):
    """Not on the weekend, as Celery's users write it."""

    def is_due(self, last_run_at):
        return super().is_due(last_run_at) if self.now().weekday() < 5 else schedstate(False, 3600.0)


class Often(schedule):
    """As often as a table says, whatever it was made with."""

    table = 5.0

    def is_due(self, last_run_at):
        left_s = self.table - (self.now() - last_run_at).total_seconds()
        return (True, self.table) if left_s <= 0 else (False, left_s)


class Later(schedule):
    """An hour after its time."""

    def remaining_estimate(self, last_run_at):
        return super().remaining_estimate(last_run_at) + timedelta(hours=1)


def runs_of(beat, clock, step_s, steps) -> list[int]:
    """After how many seconds a run was sent, with a look each `step_s` seconds."""
    found, start = [], clock.now_ms()
    for _ in range(steps):
        before = sent(beat.app)
        while beat.tick() == 0.0:
            pass
        found += [(clock.now_ms() - start) // 1000] * (sent(beat.app) - before)
        clock.advance(step_s)
    return found


@pytest.mark.parametrize(
    ("given", "step_s", "hours"),
    [
        (Workdays(0, "*/6"), 3600, [6, 12, 18, 24, 30, 36, 42, 96, 102]),  # from a Thursday on
        (Often(86_400), 1, [n / 720 for n in range(1, 21)]),
        (Later(7200), 3600, [3 * n for n in range(1, 35)]),
    ],
)
def test_a_schedule_that_says_itself_whether_it_is_due_is_asked(make, clock, given, step_s, hours):
    beat = Beat(make(beat_schedule={"own": every(given)}))
    beat.start()
    assert runs_of(beat, clock, step_s, 104) == [3600 * n for n in hours]


def test_a_schedule_that_is_asked_is_resumed_at_the_time_that_it_says(make, clock):
    app = make(beat_schedule={"own": every(Often(86_400))})
    beat = Beat(app)
    beat.start()
    app.schedules.pause("own")
    clock.advance(60)
    app.schedules.resume("own")
    assert runs_of(beat, clock, 1, 12) == [5, 10]


def test_schedules_are_in_the_app_s_time_zone(make, clock):
    app = make(beat_schedule={"nine": {"task": "note", "schedule": crontab(0, 9)}}, timezone="Asia/Tokyo")
    Beat(app).start()
    assert app.schedules.all()[0].next_due_ms == clock.now_ms() + 86_400_000  # 2026-01-02 00:00 UTC
    assert str(app.timezone) == "Asia/Tokyo"


def test_a_relative_interval(make, clock):
    clock.advance(17 * 60)
    app = make(beat_schedule={"hourly": every(3600, relative=True), "plain": every(schedule(3600))})
    Beat(app).start()
    left = {record.name: (record.next_due_ms - clock.now_ms()) / 60_000 for record in app.schedules.all()}
    assert left == {"hourly": 43, "plain": 60}


def test_a_lazy_argument_is_worked_out_at_each_run_by_the_program_that_has_it(make, clock):
    calls = iter(range(1, 10))
    lazy = every(10, BeatLazyFunc(next, calls), kwargs={"n": BeatLazyFunc(lambda: "named")})
    app, other = make(beat_schedule={"ten": lazy}), make(main="other")
    beat = Beat(app)
    beat.turn()
    clock.advance(10)
    Beat(other).turn()
    assert sent(other) == 0
    for _ in range(2):
        beat.tick()
        clock.advance(10)
    drain(app)
    assert app.ran == [(1,), (2,)]
    assert app.schedules.run_now("ten").kwargs == {"n": "named"}
    with pytest.raises(ImproperlyConfigured, match="only that one"):
        other.schedules.run_now("ten")


def test_what_only_one_program_can_compute_is_resumed_and_made_up_by_that_one(make, clock):
    class Odd(schedule):
        pass

    lazy = every(10, BeatLazyFunc(int))
    app = make(beat_schedule={"lazy": lazy, "odd": every(Odd(timedelta(seconds=10)))})
    other, start = make(main="other"), app.now()
    Beat(app).start()
    for name in ("lazy", "odd"):
        app.schedules.pause(name)
        clock.advance(5)
        app.schedules.resume(name)
        assert app.storage.schedules.find(name).next_due_ms == clock.now_ms() + 10_000
        assert len(app.schedules.backfill(name, start, start + timedelta(seconds=25))) == 2
    app.schedules.pause("odd")
    with pytest.raises(ImproperlyConfigured, match="can only be computed by the program that defined it"):
        other.schedules.resume("odd")


# -- entries that make no sense --------------------------------------------------------------------------------------


def test_beat_names_the_tasks_that_the_app_does_not_know(make, caplog):
    app = make(beat_schedule={"one": {"task": "noted", "schedule": 5}, "good": every(5)})
    app.schedules.add("two", 5, chain(app.tasks["note"].s(1), app.signature("zz.qq")))
    assert "the entry 'two' sends 'zz.qq', a task that this app does not know (nearest: none)" in caplog.text
    caplog.clear()
    Beat(app).start()
    told = [record.getMessage() for record in caplog.records if record.name == "liteq.beat"]
    assert told == [
        "beat: the entry 'one' sends 'noted', a task that this app does not know (nearest: 'note')",
        "beat: the entry 'two' sends 'zz.qq', a task that this app does not know (nearest: none)",
    ]


def test_beat_says_nothing_of_entries_of_another_program(make, caplog):
    other = make("other", beat_schedule={"theirs": {"task": "other.task", "schedule": 5}})
    Beat(other).start()
    caplog.clear()
    Beat(make()).start()
    assert caplog.records == []


def test_an_interval_of_nothing_that_is_in_the_file_is_not_sent_for_ever(make, clock, caplog):
    app = make()
    app.schedules.add("never", 5, "note")
    record = app.storage.schedules.find("never")
    broken = record.schedule.replace(b'"seconds":5.0', b'"seconds":0.0')
    assert broken != record.schedule
    entry, _ = app.schedules.entry("never", every(5))
    app.storage.schedules.put([entry._replace(schedule=broken, source="broken")])
    clock.advance(60)
    beat = Beat(app)
    beat.turn()
    assert sent(app) == 0
    assert "an interval is a number of seconds above 0, not 0" in caplog.text
