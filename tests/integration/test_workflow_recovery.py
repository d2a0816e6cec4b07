"""A run goes on where it was: no completed step is run again, and the body gets the same values as before."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import pytest
from pydantic import BaseModel

from liteq.exceptions import NonDeterminism, NotSerializable, PayloadTooLarge
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker, killed_at

from .engines import on_both_engines


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    at: datetime


class Price(BaseModel):
    amount: Decimal
    colour: Colour


class Declined(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.hint = f"code {code}"


# -- kills -----------------------------------------------------------------------------------------------------------


def six_steps(app, kill_in=()):
    ran: Counter[int] = Counter()
    kills = list(kill_in)

    @app.step(name="one")
    def one(n: int) -> int:
        ran[n] += 1
        if n in kills:
            kills.remove(n)
            raise Killed
        return n * n

    @app.workflow(name="six")
    def six() -> list[int]:
        return [one(n) for n in range(1, 7)]

    return six, ran


@on_both_engines
def test_a_kill_between_two_steps_repeats_none(app):
    six, ran = six_steps(app)
    run = six.start()
    with killed_at(app, 3, before=False):
        worker = Worker(app)
        worker.turn()
    assert worker.run() == 1
    assert run.result(0) == [1, 4, 9, 16, 25, 36]
    assert ran == dict.fromkeys(range(1, 7), 1)


@on_both_engines
def test_a_kill_inside_a_step_repeats_that_one_alone(app):
    six, ran = six_steps(app, kill_in=[3])
    run = six.start()
    Worker(app).run()
    assert run.result(0) == [1, 4, 9, 16, 25, 36]
    assert ran == {1: 1, 2: 1, 3: 2, 4: 1, 5: 1, 6: 1}
    assert run.info().error is None, "the crash is not how it ended"


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_at_any_commit_repeats_no_completed_step(app, n, before):
    six, ran = six_steps(app)
    run = six.start()
    with killed_at(app, n, before=before):
        worker = Worker(app)
        worker.turn()
    worker.run()
    assert run.result(0) == [1, 4, 9, 16, 25, 36]
    assert ran == {k: 2 if before and k == n else 1 for k in range(1, 7)}


@pytest.mark.parametrize("value", [None, 0, "", [], False, {}])
def test_a_step_that_returned_nothing_is_recovered_and_not_run_again(app, value):
    ran = []

    @app.step(name="empty")
    def empty():
        ran.append(1)
        return value

    @app.workflow(name="empties")
    def empties() -> list:
        found = [empty() for _ in range(10)]
        ctx.sleep(1)
        return found

    run = empties.start()
    worker = Worker(app)
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert run.result(0) == [value] * 10
    assert len(ran) == 10


# -- values ----------------------------------------------------------------------------------------------------------


def test_values_are_the_same_on_the_first_run_in_replay_and_as_the_result(app):
    seen = []

    @app.step(name="point")
    def point(p: Point) -> Point:
        return Point(p.x + 1, p.at)

    @app.step(name="price")
    def price() -> Price:
        return Price(amount=Decimal("1.10"), colour=Colour.RED)

    @app.step(name="decline")
    def decline():
        raise Declined(7)

    @app.workflow(name="values")
    def values(start: Point) -> dict[str, Price]:
        try:
            decline()
        except Declined as exc:
            failure = (type(exc), exc.args, exc.hint)
        seen.append((start, point(start), price(), failure))
        ctx.sleep(1)
        return {"p": price()}

    start = Point(1, datetime(2026, 1, 2, tzinfo=UTC))
    run = values.start(start)
    worker = Worker(app)
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert run.result(0) == {"p": Price(amount=Decimal("1.10"), colour=Colour.RED)}
    first, again = seen
    assert first == again
    assert first == (
        start, Point(2, start.at), Price(amount=Decimal("1.10"), colour=Colour.RED), (Declined, (7,), "code 7")
    )  # fmt: skip


def test_a_value_that_cannot_come_back_fails_its_step_at_once_and_is_not_retried(app):
    ran = []

    @app.step(name="stranger", retries=5)
    def stranger():
        ran.append(1)
        return {"a": object()}

    @app.workflow(name="strange")
    def strange():
        return stranger()

    run = strange.start()
    Worker(app).run()
    with pytest.raises(NotSerializable, match=r"the result of step 'stranger': value\[\"a\"\]"):
        run.result(0)
    assert len(ran) == 1


def test_a_result_over_the_limit_fails_its_step(app):
    app.conf.max_step_bytes = 2048

    @app.step(name="large", retries=3)
    def large() -> str:
        return "x" * 3000

    @app.workflow(name="larger")
    def larger() -> str:
        return large()

    run = larger.start()
    Worker(app).run()
    with pytest.raises(PayloadTooLarge, match=r"3,002 bytes encoded, the limit is 2,048: .*max_step_bytes"):
        run.result(0)


def test_the_limit_of_a_step_holds_in_the_pool_too_and_a_run_s_result_has_its_own(app):
    app.conf.max_step_bytes, app.conf.max_result_bytes = 8192, 2048

    @app.step(name="large")
    def large(n: int) -> str:
        return "x" * n

    @app.workflow(name="larger")
    def larger(n: int) -> str:
        return ctx.call(large, n)

    @app.workflow(name="counts")
    def counts(n: int) -> int:
        return sum(len(text) for text in ctx.map(large, [n, n]))

    runs = [larger.start(3000), larger.start(9000), counts.start(3000)]
    Worker(app).run()
    with pytest.raises(PayloadTooLarge, match=r"workflow 'larger' is 3,002 bytes .*limit is 2,048: .*max_result_bytes"):
        runs[0].result(0)
    with pytest.raises(PayloadTooLarge, match=r"step 'large' is 9,002 bytes .*limit is 8,192: .*max_step_bytes"):
        runs[1].result(0)
    assert runs[2].result(0) == 6000


# -- what is derived -------------------------------------------------------------------------------------------------


def test_now_uuid_random_and_step_keys_are_the_same_in_each_replay(app):
    seen, keys = [], []

    @app.step(name="key")
    def key(given: str) -> None:
        keys.append((given, ctx.step_key))

    @app.workflow(name="derive")
    def derive() -> None:
        mine = []
        for _ in range(3):
            mine.append((ctx.now(), ctx.uuid(), ctx.uuid(), ctx.random.random(), ctx.random.random(), ctx.step_key))
            key(ctx.step_key)
            ctx.sleep("1h")
        seen.append(mine)

    run = derive.start()
    worker = Worker(app)
    partial = []
    for _ in range(4):
        worker.run()
        partial.append(list(seen))
        app.clock.advance(3600)
    assert run.status == "succeeded"
    (all_three,) = seen
    assert len({one[1:] for one in all_three}) == 3, "each place has its own"
    assert all(one[1] != one[2] and one[3] != one[4] for one in all_three)
    assert [(one[0] - all_three[0][0]).total_seconds() for one in all_three] == [0, 3600, 7200]
    assert [given for given, _ in keys] == [inside for _, inside in keys] == [one[5] for one in all_three]
    assert len(set(keys)) == 3


def test_random_is_not_that_of_the_process(app):
    drawn = []

    @app.workflow(name="draws")
    def draws() -> None:
        drawn.append(ctx.random.random())
        ctx.sleep(1)

    draws.start()
    worker = Worker(app)
    random.seed(1)
    worker.run()
    app.clock.advance(1)
    random.seed(2)
    worker.run()
    assert drawn[0] == drawn[1]


# -- changed code ----------------------------------------------------------------------------------------------------


def stopped_after(app, names):
    """A run that has called steps of these names and sleeps."""

    @app.workflow(name="changing")
    def changing() -> str:
        for name in names:
            app.steps_of_workflows[name]()
        ctx.sleep(1)
        return "old"

    run = changing.start()
    Worker(app).run()
    app.clock.advance(1)
    return run


def deploy(app, body):
    app.versions_of_workflows.clear()
    app.registrar.registry.pop("changing")
    return app.workflow(name="changing")(body)


@pytest.fixture
def steps(app):
    ran = []
    for name in ("alpha", "beta", "gamma"):
        app.step(name=name)(lambda name=name: ran.append(name))
    return ran


def test_another_step_in_its_place_parks_the_run_and_a_fixed_deploy_resumes_it(app, steps):
    run = stopped_after(app, ["alpha", "beta"])

    def wrong() -> str:
        app.steps_of_workflows["alpha"]()
        app.steps_of_workflows["gamma"]()
        ctx.sleep(1)
        return "wrong"

    deploy(app, wrong)
    worker = Worker(app)
    worker.run()
    assert run.status == "stuck"
    assert "NonDeterminism" in run.info().error
    assert "step 'beta'" in run.info().error
    assert "step 'gamma'" in run.info().error

    def fixed() -> str:
        app.steps_of_workflows["alpha"]()
        app.steps_of_workflows["beta"]()
        ctx.sleep(1)
        return "fixed"

    deploy(app, fixed)
    assert run.resume()
    worker.run()
    assert run.result(0) == "fixed"
    assert steps == ["alpha", "beta"], "no step ran twice, and none of the wrong code"


@on_both_engines
def test_a_stuck_run_that_is_paused_is_tried_by_no_other_code(app, steps):
    run = stopped_after(app, ["alpha", "beta"])

    def wrong() -> str:
        return "wrong"

    deploy(app, wrong)
    worker = Worker(app)
    worker.run()
    assert run.status == "stuck"
    assert run.pause()
    assert run.status == "paused"
    other = {"worker": worker.number, "fingerprint": "other code", "limit": 1, "visibility_s": 60}
    assert app.storage.runs.claim_stuck(["celery"], **other) == []
    deploy(app, lambda: [app.steps_of_workflows[name]() for name in ("alpha", "beta")] and ctx.sleep(1))
    assert run.resume()
    Worker(app).run()
    assert run.result(0) is None


def test_a_step_that_is_gone_parks_the_run(app, steps):
    run = stopped_after(app, ["alpha", "beta"])

    def shorter() -> str:
        app.steps_of_workflows["alpha"]()
        return "shorter"

    deploy(app, shorter)
    Worker(app).run()
    assert run.status == "stuck"
    assert "the end of the body" in run.info().error


def test_other_arguments_are_divergence_too(app):
    seen = [1]

    @app.step(name="takes")
    def takes(n: int) -> int:
        return n

    @app.workflow(name="arguments")
    def arguments() -> None:
        takes(seen[-1])
        ctx.sleep(1)

    run = arguments.start()
    worker = Worker(app)
    worker.run()
    seen.append(2)
    app.clock.advance(1)
    worker.run()
    assert run.status == "stuck"
    assert "step 'takes' with other arguments" in run.info().error


def test_steps_added_at_the_end_are_fine(app, steps):
    run = stopped_after(app, ["alpha"])

    def longer() -> str:
        app.steps_of_workflows["alpha"]()
        ctx.sleep(1)
        app.steps_of_workflows["gamma"]()
        return "longer"

    deploy(app, longer)
    Worker(app).run()
    assert run.result(0) == "longer"
    assert steps == ["alpha", "gamma"]


@on_both_engines
def test_patched_is_true_for_new_runs_and_for_those_that_had_not_come_that_far(app, steps):
    old = stopped_after(app, ["alpha"])

    def patched() -> list[bool]:
        early = ctx.patched("early")
        if early:
            app.steps_of_workflows["gamma"]()
        app.steps_of_workflows["alpha"]()
        ctx.sleep(1)
        late = ctx.patched("late")
        app.steps_of_workflows["beta"]()
        ctx.sleep(1)
        return [early, late, ctx.patched("early"), ctx.patched("late")]

    flow = deploy(app, patched)
    new = flow.start()
    worker = Worker(app)
    for _ in range(3):
        worker.run()
        app.clock.advance(1)
    assert old.result(0) == [False, True, False, True]
    assert new.result(0) == [True, True, True, True]


def test_a_swallowed_suspension_parks_with_an_error_that_says_so(app):
    def body() -> str:
        try:
            ctx.sleep(1)
        except BaseException:
            pass
        return "early"

    with pytest.warns(UserWarning, match="except BaseException"):
        flow = app.workflow(name="swallows")(body)
    run = flow.start()
    Worker(app).run()
    assert run.status == "stuck"
    assert "except BaseException" in run.info().error


def test_an_exception_of_the_body_fails_the_run_at_once(app):
    @app.workflow(name="fails")
    def fails() -> None:
        raise Declined(3)

    run = fails.start()
    assert Worker(app).run() == 1
    with pytest.raises(Declined) as caught:
        run.result(0)
    assert caught.value.hint == "code 3"
    assert run.status == "failed"


def test_nondeterminism_comes_back_as_itself(app, steps):
    from liteq.workflow.history.errors import document_of, raised_of

    made = raised_of(document_of(NonDeterminism("here", "a", "b"), 1000))
    assert (made.position, made.recorded, made.found) == ("here", "a", "b")


# -- retries ---------------------------------------------------------------------------------------------------------


@on_both_engines
def test_attempts_and_their_waits_survive_restarts(app):
    ran = []

    @app.step(name="flaky", retries=3, backoff=(10, 60))
    def flaky() -> None:
        ran.append(ctx.attempt)
        raise ConnectionError(len(ran))

    @app.workflow(name="flakes")
    def flakes() -> None:
        flaky()

    run = flakes.start()
    for n in range(1, 5):
        Worker(app).run()
        assert len(ran) == n, "the wait for the next attempt holds no worker"
        app.clock.advance(61)
    with pytest.raises(ConnectionError):
        run.result(0)
    assert ran == [1, 2, 3, 4]
    (step,) = run.steps()
    assert (step.attempts, step.status) == (4, "failed")


@pytest.mark.parametrize("seconds", [{"2": 1.0}, float("inf")])
def test_a_backoff_that_is_no_time_ends_the_step_and_is_its_error_in_history_too(app, seconds):
    ran, caught = [], []

    def backoff(attempt: int) -> float:
        return seconds[attempt] if isinstance(seconds, dict) else seconds

    @app.step(name="flaky", retries=3, backoff=backoff)
    def flaky() -> None:
        ran.append(ctx.attempt)
        raise ConnectionError

    @app.workflow(name="flakes")
    def flakes() -> str:
        try:
            flaky()
        except (KeyError, OverflowError) as exc:
            caught.append(type(exc))
        ctx.sleep("1h")
        return "done"

    run = flakes.start()
    worker = Worker(app)
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == "done"
    assert ran == [1]
    assert len(caught) == 2
    assert caught[0] is caught[1]
    assert run.steps()[0].status == "failed"


def test_a_kill_inside_an_attempt_is_one_more_run_of_it(app):
    ran = []

    @app.step(name="flaky", retries=1, backoff=0)
    def flaky() -> str:
        ran.append(ctx.attempt)
        if len(ran) in {1, 3}:
            raise Killed
        if len(ran) == 2:
            raise ConnectionError
        return "done"

    @app.workflow(name="flakes")
    def flakes() -> str:
        return flaky()

    run = flakes.start()
    Worker(app).run()
    assert run.result(0) == "done"
    assert ran == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({"retries": 2, "retry_on": (ValueError,)}, 1),
        ({"retries": 2, "retry_on": ConnectionError}, 3),
        ({"retries": 2, "give_up_on": (ConnectionError,)}, 1),
        ({"retries": 0}, 1),
    ],
)
def test_errors_are_retried_as_the_step_says(app, options, attempts):
    ran = []

    @app.step(name="flaky", backoff=0, **options)
    def flaky() -> None:
        ran.append(1)
        raise ConnectionError

    @app.workflow(name="flakes")
    def flakes() -> None:
        flaky()

    flakes.start()
    Worker(app).run()
    assert len(ran) == attempts
