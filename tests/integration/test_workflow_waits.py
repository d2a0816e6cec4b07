"""Waits of a body: sleeps, events, approvals, children and races. Each holds no worker, and ends once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from liteq import chain, chord, group, signals
from liteq.exceptions import (
    AlreadyDecided,
    ApprovalTimeout,
    EventTimeout,
    NoSuchApproval,
    RunEnded,
    TimeoutError,
    WorkflowError,
)
from liteq.monitor.runs.run_replay import compared
from liteq.testing import drain
from liteq.workflow import Failure, actx, ctx
from liteq.workflow.calling import waits
from tests.integration.runs import Killed, Worker

from .engines import on_both_engines

# -- sleep -----------------------------------------------------------------------------------------------------------


@on_both_engines
def test_a_sleep_across_a_restart_waits_for_the_remainder_only(app):
    woke = []

    @app.workflow(name="sleeps")
    def sleeps() -> None:
        ctx.sleep("1d")
        woke.append(app.clock.now_ms())

    start_ms = app.clock.now_ms()
    sleeps.start()
    Worker(app).run()
    app.clock.advance(3600 * 20)
    Worker(app).run()
    assert woke == []
    app.clock.advance(3600 * 4 - 1)
    assert Worker(app).run() == 0
    app.clock.advance(1)
    Worker(app).run()
    assert woke == [start_ms + 86_400_000]


def test_sleep_until_a_time_and_its_misuse(app, worker):
    @app.workflow(name="until")
    def until(naive: bool) -> datetime:
        ctx.sleep_until(datetime(2030, 1, 1) if naive else ctx.now() + timedelta(hours=2))
        return ctx.now()

    run, wrong = until.start(False), until.start(True)
    worker.run()
    with pytest.raises(ValueError, match="a naive datetime names no moment"):
        wrong.result(0)
    app.clock.advance(7200)
    worker.run()
    assert run.result(0) == datetime(2026, 1, 1, 2, tzinfo=UTC)


# -- events ----------------------------------------------------------------------------------------------------------


@on_both_engines
def test_an_event_before_the_run_before_the_wait_and_after_it_is_delivered_once_in_order(app, worker):
    @app.workflow(name="listens")
    def listens() -> list[int]:
        ctx.sleep(1)
        return [ctx.wait_event("go") for _ in range(3)]

    assert app.Run("r1").send("go", 1)
    run = listens.options(id="r1").start()
    worker.run()
    run.send("go", 2)
    app.clock.advance(1)
    worker.run()
    assert run.info().waiting_for == ["event go"]
    run.send("go", 3)
    worker.run()
    assert run.result(0) == [1, 2, 3]
    with pytest.raises(RunEnded):
        run.send("go", 4)


def test_the_same_dedup_is_one_event(app, worker):
    @app.workflow(name="listens")
    def listens() -> list[int]:
        return [ctx.wait_event("go", timeout=1, default=None) for _ in range(2)]

    run = listens.start()
    assert run.send("go", 1, dedup="a")
    assert not run.send("go", 2, dedup="a")
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert run.result(0) == [1, None]


def test_a_wait_that_timed_out_stays_so_and_a_later_event_is_for_the_next_one(app, worker):
    @app.workflow(name="loops")
    def loops() -> list[object]:
        return [ctx.wait_event("go", timeout=10, default="late") for _ in range(3)]

    run = loops.start()
    worker.run()
    app.clock.advance(10)
    worker.run()
    run.send("go", "after")
    worker.run()
    app.clock.advance(10)
    worker.run()
    assert run.result(0) == ["late", "after", "late"]


def test_an_event_in_a_loop_with_a_kill_at_each_turn_is_neither_lost_nor_invented(app, worker):
    kills = [0]

    @app.step(name="note")
    def note(n: object) -> None:
        kills[0] += 1
        if kills[0] % 2:
            raise Killed

    @app.workflow(name="loops")
    def loops() -> list[int]:
        got = []
        for _ in range(5):
            got.append(ctx.wait_event("n", timeout="1h", default=-1))
            note(got[-1])
        return got

    run = loops.start()
    for n in range(4):
        worker.run()
        run.send("n", n)
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == [0, 1, 2, 3, -1]


def test_a_timeout_without_a_default_raises(app, worker):
    class Payload(BaseModel):
        n: int

    @app.workflow(name="typed")
    def typed() -> list[object]:
        got = ctx.wait_event("typed", type=Payload)
        assert isinstance(got, Payload)
        try:
            ctx.wait_event("never", timeout="5s")
        except EventTimeout as exc:
            return [got.n, str(exc)]
        return []

    run = typed.start()
    run.send("typed", Payload(n=4))
    worker.run()
    app.clock.advance(5)
    worker.run()
    assert run.result(0) == [4, "the event 'never' did not come in time"]


def test_a_body_sends_an_event_once(app, worker):
    @app.workflow(name="receiver")
    def receiver() -> list[object]:
        return [ctx.wait_event("x"), ctx.wait_event("x", timeout=5, default="none")]

    @app.workflow(name="sender")
    def sender() -> str:
        ctx.send("rec", "x", {"a": 1})
        ctx.sleep(1)
        try:
            ctx.send("ended", "x")
        except RunEnded:
            return "told"
        return "lost"

    @app.workflow(name="short")
    def short() -> None: ...

    short.options(id="ended").start()
    run = receiver.options(id="rec").start()
    worker.run()
    sending = sender.start()
    worker.run()
    app.clock.advance(5)
    worker.run()
    assert run.result(0) == [{"a": 1}, "none"]
    assert sending.result(0) == "told"


# -- approvals -------------------------------------------------------------------------------------------------------


class Terms(BaseModel):
    amount: int


@pytest.fixture
def asks(app):
    @app.workflow(name="asks")
    def asks(timeout: int | None = None, default: bool | None = None, remind: str | None = None) -> dict[str, object]:
        got = ctx.approval("Pay", details={"to": "bob"}, form=Terms, timeout=timeout, default=default, remind=remind)
        data = got.data and {"amount": got.data.amount}
        return {"ok": got.ok, "by": got.by, "data": data, "at": got.at, "timed_out": got.timed_out}

    return asks


@on_both_engines
def test_an_approval_is_decided_once(app, worker, asks):
    run = asks.start()
    with pytest.raises(NoSuchApproval):
        run.approve("Pay")
    worker.run()
    (request,) = run.approvals()
    assert (request.title, request.details, request.schema["required"]) == ("Pay", {"to": "bob"}, ["amount"])
    assert run.info().waiting_for == ["approval Pay"]
    with pytest.raises(
        ValueError, match=r"the data for the approval 'Pay' does not fit: amount: .*nothing was decided"
    ):
        run.approve("Pay", data={"amount": "many"})
    assert run.approve("Pay", by="alice", data={"amount": 3})
    assert run.approve("Pay", by="carol", data={"amount": 3}) is False
    with pytest.raises(AlreadyDecided) as caught:
        run.approve("Pay", ok=False)
    assert (caught.value.ok, caught.value.by) == (True, "alice")
    worker.run()
    result = run.result(0)
    assert result["by"] == "alice"
    assert result["data"] == {"amount": 3}
    with pytest.raises(AlreadyDecided):
        run.approve("Pay", ok=False)


def test_an_approval_that_nobody_decides(app, worker, asks):
    strict, lenient = asks.start(5), asks.start(5, False)
    worker.run()
    app.clock.advance(5)
    worker.run()
    with pytest.raises(ApprovalTimeout, match="nobody decided on 'Pay' in time"):
        strict.result(0)
    assert lenient.result(0) == {"ok": False, "by": None, "data": None, "at": None, "timed_out": True}


@on_both_engines
def test_a_title_is_as_long_as_an_index_takes_it(app, worker):
    @app.workflow(name="long")
    def long(n: int) -> bool:
        return ctx.approval("".join(chr(0x20000 + 37 * i) for i in range(n))).ok

    run, longer = long.start(500), long.start(501)
    worker.run()
    with pytest.raises(ValueError, match=r"an approval's title .* has 1 to 500 characters, not 501"):
        longer.result(0)
    (asked,) = run.approvals()
    run.approve(asked.title)
    worker.run()
    assert run.result(0) is True


def test_a_title_that_was_too_long_before_there_was_a_limit_is_decided_on(app, worker, monkeypatch):
    @app.workflow(name="long")
    def long() -> bool:
        return ctx.approval("x" * 501).ok

    run = long.start()
    with monkeypatch.context() as older:
        older.setattr(waits, "LONGEST_TITLE", 600)
        worker.run()
    run.approve("x" * 501)
    worker.run()
    assert run.result(0) is True


def test_a_request_is_told_of_again_by_its_reminder(app, asks):
    told = []

    def receive(**fields):
        told.append((fields["run_id"], fields["title"], fields["details"]))

    signals.approval_requested.connect(receive)
    try:
        from liteq.testing import drain

        run = asks.options(id="r").start(None, None, "1h")
        drain(app)
        assert told == [("r", "Pay", {"to": "bob"})]
        app.clock.advance(1800)
        drain(app)
        assert len(told) == 1
        app.clock.advance(1800)
        drain(app)
        assert len(told) == 2
        run.approve("Pay", data={"amount": 1})
        app.clock.advance(3600)
        drain(app)
        assert len(told) == 2
        assert run.status == "succeeded"
    finally:
        signals.approval_requested.disconnect(receive)


def test_a_reminder_is_not_sent_again_by_what_else_wakes_the_run(app):
    @app.workflow(name="both")
    async def both() -> None:
        async def polls() -> None:
            while True:
                await actx.sleep("1m")

        async with asyncio.TaskGroup() as group:
            group.create_task(polls())
            await actx.approval("Pay", remind="1h")

    told = []

    def receive(**fields):
        told.append(app.clock.now_ms())

    signals.approval_requested.connect(receive)
    try:
        run = both.start()
        drain(app)
        for _ in range(125):
            app.clock.advance(60)
            drain(app)
        assert [at - told[0] for at in told] == [0, 3_600_000, 7_200_000]
        assert compared(app, app.storage.runs.find(run.id))["ok"]
        assert len(told) == 3, "a comparison reminds nobody"
    finally:
        signals.approval_requested.disconnect(receive)


# -- children --------------------------------------------------------------------------------------------------------


@pytest.fixture
def double(app):
    @app.task(name="double")
    def double(n):
        if n == "bad":
            raise ValueError("bad")
        return n * 2

    return double


@on_both_engines
def test_a_task_a_step_a_workflow_and_a_canvas_are_called_in_the_pool(app, worker, double):
    @app.step(name="inc")
    def inc(n: int) -> int:
        return n + 1

    @app.workflow(name="inner")
    def inner(n: int) -> int:
        return inc(n) * 10

    @app.workflow(name="outer")
    def outer() -> list[object]:
        return [
            ctx.call(double, 2),
            ctx.call(inc, 2),
            ctx.call(inner, 2),
            ctx.call(chain(double.s(1), double.s())),
            ctx.call(chord([double.s(1), double.s(2)], sum_.s())),
            ctx.call(group(double.s(1), double.s(2))),
        ]

    @app.task(name="sum")
    def sum_(values):
        return sum(values)

    run = outer.start()
    worker.run()
    assert run.result(0) == [4, 3, 30, 4, 6, [2, 4]]
    assert [step.kind for step in run.steps()] == ["call"] * 6


@on_both_engines
def test_gather_collects_raises_and_cancels(app, worker, double):
    @app.workflow(name="gathers")
    def gathers(on_error: str) -> list[object]:
        handles = [ctx.spawn(double, n) for n in (1, "bad", 3)]
        got = ctx.gather(handles, on_error=on_error)
        return [repr(one.error) if isinstance(one, Failure) else one for one in got]

    runs = {on_error: gathers.start(on_error) for on_error in ("raise", "wait", "collect")}
    worker.run()
    assert runs["collect"].result(0) == [2, "ValueError('bad')", 6]
    for on_error in ("raise", "wait"):
        with pytest.raises(ValueError, match="bad"):
            runs[on_error].result(0)


def test_map_keeps_the_order_and_its_limit(app, double):
    @app.workflow(name="maps")
    def maps() -> list[int]:
        return ctx.map(double, range(7), limit=2)

    run = maps.start()
    worker = Worker(app)
    worker.turn()
    leased = app.storage.turn((), ["celery"], worker=worker.number, limit=10, visibility_s=60, expectant=True).leases
    assert len(leased) == 2, "the others wait for a slot"
    for lease in leased:
        app.storage.settle([(lease, worker.execute(lease))])
    worker.run()
    assert run.result(0) == [0, 2, 4, 6, 8, 10, 12]
    activations = [one for one in worker.outcomes if type(one).__name__ == "Suspend"]
    assert len(activations) == 1, "the run wakes once, not for each child"


def test_a_no_whose_data_does_not_fit_the_form_is_a_no(app, worker):
    @app.workflow(name="asks")
    def asks() -> list[object]:
        got = ctx.approval("Pay", form=Terms)
        return [got.ok, got.data]

    run = asks.start()
    worker.run()
    assert run.approve("Pay", ok=False, data={"why": "too much"})
    worker.run()
    assert run.result(0) == [False, {"why": "too much"}]


@on_both_engines
def test_a_race_has_one_winner_for_ever(app, worker, double):
    @app.workflow(name="races")
    def races() -> list[object]:
        handles = [ctx.timer("1h"), ctx.event("go"), ctx.spawn(double, 4)]
        first = ctx.race(handles)
        second = ctx.race([ctx.timer("1h"), ctx.event("go")])
        ctx.sleep("1d")
        third = ctx.race([ctx.timer("1h"), ctx.event("go")])
        return [first, second, third]

    run = races.start()
    worker.run()
    run.send("go", "now")
    worker.run()
    app.clock.advance(86_400)
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == [[2, 8], [1, "now"], [0, None]]


def test_the_event_that_a_race_has_lost_interest_in_goes_to_the_next_wait(app, worker, double):
    @app.workflow(name="races")
    def races() -> list[object]:
        first = ctx.race([ctx.event("go"), ctx.spawn(double, 4)])
        return [first, ctx.wait_event("go"), ctx.wait_event("go")]

    run = races.start()
    worker.turn()
    worker.turn()
    run.send("go", "late")
    run.send("go", "later")
    worker.run()
    assert run.result(0) == [[1, 8], "late", "later"]


def test_what_is_unfinished_when_the_run_ends_is_cancelled(app, worker, double):
    @app.workflow(name="leaves")
    def leaves() -> str:
        return ctx.spawn(double, 1).id

    run = leaves.start()
    worker.turn()
    child = app.AsyncResult(run.result(0))
    assert child.state == "REVOKED"
    assert worker.run() == 0


def test_done_tells_the_same_in_each_replay(app, worker, double):
    seen = []

    @app.workflow(name="polls")
    def polls() -> int:
        handle = ctx.spawn(double, 2)
        looks = []
        while not handle.done:
            looks.append(False)
            ctx.sleep(1)
        seen.append(looks)
        ctx.sleep(1)
        return handle.result()

    run = polls.start()
    worker.turn()
    for _ in range(4):
        worker.run()
        app.clock.advance(1)
    assert run.result(0) == 4
    assert all(looks == seen[0] for looks in seen)


def test_what_a_body_sends_knows_its_family(app, worker, double):
    @app.workflow(name="inner")
    def inner() -> list[str]:
        started = other.start()
        sent = [double.delay(1), ctx.spawn(double, 2), ctx.spawn(double.s(3)), double.s(4).delay(), started]
        ctx.sleep(1)
        return [ctx.run_id, *(one.id for one in sent)]

    @app.workflow(name="other")
    def other() -> None: ...

    @app.workflow(name="outer")
    def outer() -> list[str]:
        return ctx.call(inner)

    run = outer.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    parent, *sent = run.result(0)
    families = [(one.root_id, one.parent_id) for one in map(app.storage.reader.find, [parent, *sent])]
    assert families == [(run.id, run.id), *[(run.id, parent)] * 5]


def test_a_task_that_a_body_sends_is_sent_once_and_detached(app, worker):
    got = []

    @app.task(name="mail")
    def mail(to):
        got.append(to)
        return to

    @app.workflow(name="sends")
    def sends() -> list[str]:
        sent = [mail.delay("a"), mail.apply_async(("b",), countdown=1)]
        ctx.sleep(10)
        with pytest.raises(WorkflowError, match=r"ctx\.call\(\)"):
            sent[0].get()
        return [one.id for one in sent]

    run = sends.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    app.clock.advance(10)
    worker.run()
    ids = run.result(0)
    assert got == ["a", "b"]
    assert [app.AsyncResult(id_).get(0) for id_ in ids] == ["a", "b"]


def test_a_run_that_a_body_starts_is_started_once_and_detached(app, worker):
    began = []

    @app.workflow(name="child")
    def child(n: int) -> int:
        began.append(n)
        return n

    @app.workflow(name="starts")
    def starts() -> str:
        run = child.options(id="c1").start(3)
        ctx.sleep(1)
        with pytest.raises(WorkflowError, match=r"ctx\.call\(\)"):
            run.result()
        return run.id

    run = starts.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert run.result(0) == "c1"
    assert began == [3]
    assert app.Run("c1").result(0) == 3


def test_a_result_that_does_not_come_says_what_it_waits_for(app, worker):
    @app.workflow(name="waits")
    def waits() -> None:
        ctx.wait_event("go")

    run = waits.start()
    worker.run()
    with pytest.raises(TimeoutError, match="event go"):
        run.result(timeout=0)


# -- what comes between the decision to wait and its writing ---------------------------------------------------------


@pytest.mark.parametrize("rounds", [200])
def test_no_event_and_no_end_of_a_child_is_lost_between_the_decision_to_wait_and_its_writing(
    app, worker, double, rounds
):
    @app.workflow(name="both")
    def both() -> list[object]:
        handle = ctx.spawn(double, 4)
        return [ctx.wait_event("go"), ctx.gather([handle])]

    for n in range(rounds):
        run = both.start()
        lease = worker.claim()
        outcome = worker.execute(lease)  # it is to wait for the event
        run.send("go", n)
        app.storage.settle([(lease, outcome)])
        assert run.status in {"queued", "running"}, "the suspending transaction looked again"
        first, second = worker.claim(), worker.claim()
        waits, child = (first, second) if first.id == run.id else (second, first)
        outcome = worker.execute(waits)  # it is to wait for the child
        app.storage.settle([(child, worker.execute(child))])
        app.storage.settle([(waits, outcome)])
        worker.run()
        assert run.result(0) == [n, [8]]


def test_a_history_of_many_steps_is_read_in_one_query_and_replayed(app, worker):
    ran = []

    @app.step(name="one")
    def one(n: int) -> int:
        ran.append(n)
        return n

    @app.workflow(name="long")
    def long() -> int:
        total = 0
        for n in range(3000):
            total += one(n)
            if n % 1000 == 999:
                ctx.sleep(1)
        return total

    run = long.start()
    for _ in range(4):
        worker.run()
        app.clock.advance(1)
    assert run.result(0) == sum(range(3000))
    assert len(ran) == 3000


def test_a_retry_of_a_run_that_failed_because_a_wait_was_over_waits_anew(app, worker):
    """Waits that were over before and had a default stay so; the one that failed the run is asked again."""

    @app.workflow(name="patient")
    def patient() -> list:
        first = ctx.wait_event("go", timeout=10, default="nobody")
        asked = ctx.approval("Ship it", timeout=10)
        return [first, asked.by, ctx.wait_event("go", timeout=10)]

    run = patient.start()
    worker.run()
    for _ in range(2):
        app.clock.advance(10)
        worker.run()
    with pytest.raises(ApprovalTimeout):
        run.result(timeout=0)
    assert run.retry()
    worker.run()
    assert [step.status for step in run.steps()] == ["timed_out", "waiting"]
    assert run.approve("Ship it", by="ann")
    worker.run()
    app.clock.advance(10)
    worker.run()
    with pytest.raises(EventTimeout):
        run.result(timeout=0)
    assert run.retry()
    worker.run()
    assert [step.status for step in run.steps()] == ["timed_out", "done", "waiting"]
    run.send("go", "late")
    worker.run()
    assert run.result(timeout=0) == ["nobody", "ann", "late"]
