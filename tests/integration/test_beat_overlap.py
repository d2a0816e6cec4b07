"""A schedule whose last run is unfinished, and one whose times are to be made up: over a real file."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from liteq import LiteQ, group
from liteq.beat import Beat
from liteq.exceptions import ImproperlyConfigured, RunCancelled, WorkflowError
from liteq.schedules import crontab
from liteq.states import State
from liteq.storage.driver import Promise
from liteq.testing import FakeClock, drain


@pytest.fixture
def clock():
    return FakeClock()  # 2026-01-01 00:00 UTC


@pytest.fixture
def app(tmp_path, clock):
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)

    @app.task(name="note")
    def note(*args):
        return args

    yield app
    app.close()


@pytest.fixture
def beat(app):
    """Beat over an entry of each 10 s with these rules; call it to let so many seconds pass, a look each 10 s."""

    def start(**rules):
        app.schedules.add("ten", 10, "note", **rules)
        beat = Beat(app)

        def turns(seconds: int) -> None:
            for _ in range(seconds // 10):
                app.clock.advance(10)
                while beat.tick() == 0:
                    pass

        return turns

    return start


def states(app) -> dict[str, int]:
    return {count.state.value: count.n for count in app.storage.reader.counts()}


def look(app) -> None:
    beat = Beat(app)
    while beat.tick() == 0:
        pass


def test_by_default_runs_overlap(app, beat):
    turns = beat()
    turns(30)
    assert states(app) == {"pending": 3}


def test_skip_passes_over_the_times_of_an_unfinished_run(app, beat):
    turns = beat(overlap="skip")
    turns(30)
    assert states(app) == {"pending": 1}
    assert drain(app) == 1
    turns(10)
    assert states(app) == {"pending": 1, "succeeded": 1}


def test_queue_gives_each_time_its_turn(app, beat, clock):
    turns = beat(overlap="queue")
    turns(30)
    assert states(app) == {"pending": 1}
    for n in (2, 3):
        assert drain(app) == 1
        look(app)
        assert states(app) == {"pending": 1, "succeeded": n - 1}
    drain(app)
    look(app)
    assert states(app) == {"succeeded": 3}, "no time is made up twice"
    clock.advance(10)
    look(app)
    assert states(app) == {"pending": 1, "succeeded": 3}


@pytest.mark.parametrize("catch_up", [None, "skip", "all"])
def test_latest_sends_one_run_for_all_times_that_have_waited(app, beat, clock, catch_up):
    turns = beat(overlap="latest", catch_up=catch_up)
    turns(300)
    assert states(app) == {"pending": 1}
    assert drain(app) == 1
    look(app)
    assert states(app) == {"pending": 1, "succeeded": 1}
    drain(app)
    look(app)
    assert states(app) == {"succeeded": 2}, "the times between have been passed over"
    clock.advance(10)
    look(app)
    assert states(app) == {"pending": 1, "succeeded": 2}


@pytest.mark.parametrize("overlap", ["queue", "latest"])
def test_an_entry_that_waits_for_its_turn_is_looked_at_soon(app, beat, overlap):
    turns = beat(overlap=overlap)
    turns(20)
    assert Beat(app).tick() == 0.5


def test_cancel_lets_the_new_run_take_the_place_of_the_old_one(app, beat):
    turns = beat(overlap="cancel")
    turns(30)
    assert states(app) == {"pending": 1, "cancelled": 2}
    newest = app.schedules.all()[0].last_id
    assert app.storage.reader.find(newest).state is State.PENDING


def test_the_old_run_is_cancelled_in_the_transaction_that_sends_the_new_one(app, beat):
    turns = beat(overlap="cancel")
    turns(10)
    before = app.schedules.all()[0]
    with app.storage.driver.write(Promise.ACCEPTED) as tx:
        tx.execute(
            "CREATE TRIGGER crash BEFORE UPDATE OF state ON liteq_messages WHEN NEW.state = 'cancelled' "
            "BEGIN SELECT RAISE(ABORT, 'here the process ends'); END"
        )
    app.clock.advance(10)
    with pytest.raises(Exception, match="here the process ends"):
        Beat(app).tick()
    assert states(app) == {"pending": 1}
    assert app.schedules.all()[0] == before, "another beat does both"


def test_a_run_that_takes_the_place_of_another_may_have_its_unique_key(app, beat):
    app.task(name="only", unique=True)(lambda: None)
    app.schedules.add("only", 10, "only", overlap="cancel")
    for _ in range(2):
        app.clock.advance(10)
        look(app)
    assert states(app) == {"pending": 1, "cancelled": 1}


@pytest.mark.parametrize(("catch_up", "runs"), [("one", 1), ("all", 3), (None, 1)])
def test_missed_times_are_made_up_as_the_entry_says(app, clock, catch_up, runs):
    app.schedules.add("hourly", 3600, "note", catch_up=catch_up)
    clock.advance(3 * 3600 + 1800)
    look(app)
    assert states(app) == {"pending": runs}


def test_missed_times_are_skipped_where_the_entry_says_so(app, clock):
    app.schedules.add("hourly", 3600, "note", catch_up="skip")
    clock.advance(3 * 3600 + 1800)
    look(app)
    assert states(app) == {}


@pytest.mark.parametrize(("within", "runs"), [(None, 3), (2 * 3600, 2), (60, 0)])
def test_missed_times_of_a_crontab_are_made_up_within_a_span(app, clock, within, runs):
    app.schedules.add("hourly", crontab(minute=0), "note", catch_up="all", catch_up_within=within)
    clock.advance(3 * 3600 + 1800)
    look(app)
    assert states(app).get("pending", 0) == runs
    clock.advance(1800)
    look(app)
    assert states(app)["pending"] == runs + 1


def test_all_missed_times_get_their_turn_in_a_queue(app, clock):
    app.schedules.add("hourly", 3600, "note", catch_up="all", overlap="queue")
    clock.advance(3 * 3600 + 1800)
    for n in (1, 2, 3):
        look(app)
        assert states(app).get("pending") == 1, n
        drain(app)
    look(app)
    assert states(app) == {"succeeded": 3}


def test_an_entry_of_the_configuration_has_rules_too(app, clock):
    app.conf.beat_schedule = {"ten": {"task": "note", "schedule": 10, "overlap": "skip"}}
    beat = Beat(app)
    beat.start()
    for _ in range(3):
        clock.advance(10)
        beat.tick()
    assert states(app) == {"pending": 1}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"overlap": "skp"},
            "overlap is one of 'allow', 'skip', 'queue', 'latest', 'cancel', not 'skp' \\(nearest: 'skip'\\)",
        ),
        ({"catch_up": "al"}, "catch_up is one of 'one', 'skip', 'all', not 'al'"),
        ({"catch_up_within": -1}, "catch_up_within is a number of seconds, 0 or more, not -1"),
        ({"catch_up_within": "6h"}, "catch_up_within is a number of seconds, 0 or more, not '6h'"),
    ],
)
def test_a_rule_that_does_not_exist_is_refused(app, rules, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        app.schedules.add("ten", 10, "note", **rules)
    assert app.schedules.all() == []


def test_a_group_has_no_run_that_could_be_unfinished(app):
    with pytest.raises(ImproperlyConfigured, match="give it a body"):
        app.schedules.add("ten", 10, group(app.tasks["note"].s(), app.tasks["note"].s()), overlap="skip")


# -- backfill --------------------------------------------------------------------------------------------------------


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2025, 12, 31, hour, minute, tzinfo=UTC)


def test_a_backfill_sends_each_time_once(app):

    app.schedules.add("hourly", crontab(minute=0), "note", ("x",))
    first = app.schedules.backfill("hourly", at(8), at(10))
    assert len({run.id for run in first}) == 3, "both ends belong to it"
    assert drain(app) == 3
    again = app.schedules.backfill("hourly", at(9), at(11))
    assert [run.id for run in again][:2] == [run.id for run in first][1:]
    assert drain(app) == 1, "11:00 alone is new"


def test_a_backfill_and_beat_send_a_time_once(app, clock):

    app.schedules.add("hourly", crontab(minute=0), "note")
    clock.advance(3600)
    look(app)
    sent = app.schedules.all()[0].last_id
    (run,) = app.schedules.backfill("hourly", *[datetime(2026, 1, 1, 1, tzinfo=UTC)] * 2)
    assert run.id == sent
    assert states(app) == {"pending": 1}
    with pytest.raises(TypeError, match="start is a datetime with a time zone, not 1"):
        app.schedules.backfill("hourly", 1, 2)


def test_a_backfill_refuses_bad_times(app):
    app.schedules.add("ten", 10, "note")
    with pytest.raises(ValueError, match="start has no time zone"):
        app.schedules.backfill("ten", datetime(2026, 1, 1), at(9))
    with pytest.raises(ValueError, match="the end, 2025-12-31T09:00:00"):
        app.schedules.backfill("ten", at(10), at(9))
    with pytest.raises(ValueError, match="more than 10,000 times there: take a part"):
        app.schedules.backfill("ten", datetime(2020, 1, 1, tzinfo=UTC), at(9))
    with pytest.raises(KeyError, match="no schedule 'tne'; the nearest name is 'ten'"):
        app.schedules.backfill("tne", at(8), at(9))
    assert states(app) == {}


# -- workflows -------------------------------------------------------------------------------------------------------


@pytest.fixture
def flow(app):
    from liteq.workflow import ctx

    @app.workflow(name="nightly")
    def nightly(what: str = "all") -> str:
        return what + str(ctx.wait_event("go"))

    return nightly


def statuses(app) -> list[str]:
    return [run.status for run in app.runs(name="nightly")]


def run_hours(app, hours: int) -> None:
    for _ in range(hours):
        app.clock.advance(3600)
        look(app)
        drain(app)


def test_beat_starts_runs_of_a_workflow(app, flow):
    app.schedules.add("hourly", 3600, flow, ("x",))
    run_hours(app, 2)
    assert statuses(app) == ["waiting", "waiting"]
    newest = app.schedules.all()[0].last_id
    app.Run(newest).send("go", 7)
    drain(app)
    assert app.Run(newest).result(timeout=1) == "x7"


def test_a_waiting_run_is_unfinished(app, flow):
    app.schedules.add("hourly", 3600, flow, overlap="skip")
    run_hours(app, 3)
    assert statuses(app) == ["waiting"]


def test_a_run_whose_place_is_taken_is_cancelled_with_a_reason(app, flow):
    app.schedules.add("hourly", 3600, flow, overlap="cancel")
    run_hours(app, 2)
    assert statuses(app) == ["waiting", "cancelled"]
    (old,) = app.runs(status="cancelled")
    with pytest.raises(RunCancelled, match="the next run of the schedule hourly took its place"):
        old.result(timeout=1)


def test_runs_in_a_queue_begin_one_after_another(app, flow):
    app.schedules.add("hourly", 3600, flow, overlap="queue")
    run_hours(app, 3)
    assert statuses(app) == ["waiting"]
    for n in (1, 2):
        (waiting,) = app.runs(status="waiting")
        waiting.send("go")
        drain(app)
        look(app)
        drain(app)
        assert statuses(app) == ["waiting"] + ["succeeded"] * n


def test_a_backfill_of_a_workflow_returns_its_runs(app, flow):
    app.schedules.add("hourly", crontab(minute=0), flow, ("x",))
    runs = app.schedules.backfill("hourly", at(8), at(9))
    again = app.schedules.backfill("hourly", at(8), at(9))
    assert again == runs
    drain(app)
    for run in runs:
        run.send("go", 1)
    drain(app)
    assert [run.result(timeout=1) for run in runs] == ["x1", "x1"]


def test_an_entry_of_a_workflow_keeps_the_options_of_its_starts(app):
    """They had no effect, without a word."""

    @app.workflow
    def flow(n: int) -> int:
        return n

    asked = flow.options(queue="slow", tags=["tenant:a"], timeout="1h", priority=3)
    app.schedules.add("hourly", crontab(minute=0), asked, (1,))
    (run,) = app.schedules.backfill("hourly", at(8), at(8))
    record = app.storage.runs.find(run.id)
    assert (record.queue, record.priority, record.tags) == ("slow", 3, ("tenant:a",))
    assert [one.id for one in app.runs(tags=["tenant:a"])] == [run.id]
    with pytest.raises(ImproperlyConfigured, match="its runs' ids come from times; leave id='one' out"):
        app.schedules.add("hourly", crontab(minute=0), flow.options(id="one"), (1,))
    with pytest.raises(WorkflowError, match="an entry of a schedule, has none"):
        app.schedules.add("hourly", crontab(minute=0), flow.options(on_conflict="replace"), (1,))
