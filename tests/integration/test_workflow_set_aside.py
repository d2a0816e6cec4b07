"""A retry of a run whose body went on behind the failed step: what it did there is not done again, nor in the way."""

from __future__ import annotations

import asyncio

import pytest

from liteq.monitor.runs.run_replay import compared
from liteq.workflow import actx, ctx

from .declining import of, retried, retry_well
from .engines import on_both_engines
from .runs import killed_at


@on_both_engines
def test_what_has_succeeded_behind_the_failed_step_is_not_repeated(app, worker, did):
    def body(charge, notify):
        failure = None
        try:
            charge(1)
        except ConnectionError as exc:
            failure = exc
        notify("expensive")
        ctx.map(notify, ["both", "of us"])
        ctx.call(notify, "in the pool")
        if failure is not None:
            raise failure
        return ctx.call(notify, "end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]
    assert [(step.scope, step.name) for step in run.steps()][:2] == [("", "charge"), ("", "notify")]


def test_what_has_succeeded_is_found_behind_what_the_body_leaves_out_now(app, worker, did):
    def body(charge, notify):
        first = None
        for n in (1, 2, 3):
            try:
                if n == 1:
                    charge(n)
                else:
                    notify(f"charged {n}")
                ctx.map(notify, [f"{n} is well"])
            except ConnectionError as exc:
                first = exc
                notify("sorry")
                ctx.map(notify, ["sorry", "again"])
        notify("all seen")
        if first:
            raise first
        return "end"

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "1 is well"]
    assert "sorry" not in [step.output for step in run.steps()]  # that was left out


@on_both_engines
def test_a_retry_that_fails_again_repeats_no_clean_up_and_another_retry_goes_on(app, worker, did):
    def body(charge, notify):
        try:
            return charge(1)
        except ConnectionError:
            notify("sorry")
            raise

    run = of(app, body).start()
    worker.run()
    for _ in range(2):
        assert run.retry()
        worker.run()
        assert run.status == "failed"
    assert did == ["charge 1", "sorry", "charge 1", "charge 1"]
    did.well = True
    assert run.retry()
    assert [step.name for step in run.steps()] == ["notify"]
    worker.run()
    assert run.result(0) == 1


def test_the_way_that_a_retry_takes_is_that_of_each_replay(app, worker, did):
    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            ctx.spawn(notify, "sorry").result()
            notify("kept")
            raise
        ctx.spawn(notify, "beside").result()
        notify("kept")
        ctx.sleep("1d")
        ctx.set("seen", True)
        ctx.wait_event("go")
        return notify("end")

    run = of(app, body).start()
    worker.run()
    retry_well(run, worker, did)
    assert run.get_state() == {}
    app.clock.advance(86_400)
    worker.run()
    assert run.get_state() == {"seen": True}
    run.send("go")
    worker.run()
    assert run.result(0) == "end"
    assert did == ["charge 1", "beside", "end"]


def test_a_branch_that_has_failed_leaves_the_way_free_that_the_others_take_then(app, worker, did):
    notify = app.steps_of_workflows["notify"]

    @app.step(name="pay")
    async def pay(n: int) -> int:
        did.append(f"pay {n}")
        if n and not did.well:
            raise ConnectionError("declined")
        return n

    async def branch(n: int) -> None:
        await pay(n)

    @app.workflow(name="branches")
    async def branches() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                for n in (0, 1):
                    group.create_task(branch(n))
        except* ConnectionError:
            await actx.run(notify, "sorry")
            raise
        return await actx.run(notify, "end")

    run = branches.start()
    worker.run()
    assert run.status == "failed"
    retry_well(run, worker, did)
    assert run.result(0) == "end"
    assert did == ["pay 1", "end"]


def test_a_call_with_a_key_behind_the_failed_step_may_be_another_one_now(app, worker, did):
    def body(charge, notify):
        told = notify.options(key="told")
        try:
            charge(1)
        except ConnectionError:
            told("sorry")
            raise
        return told("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_kill_while_a_call_takes_what_stood_aside_loses_and_repeats_nothing(app, worker, did, nth, before):
    long = "x" * 5_000

    def body(charge, notify):
        failure = None
        try:
            charge(1)
        except ConnectionError as exc:
            failure = exc
        notify(long)
        ctx.map(notify, ["both", long])
        ctx.send("another", "done")
        if failure is not None:
            raise failure
        return notify("end")

    run = of(app, body).start()
    worker.run()
    did.clear()
    did.well = True
    assert run.retry()
    with killed_at(app, nth, before=before, verbs=("take_back",)) as written:
        worker.run()
    assert len(written) >= nth
    worker.run()
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]
    assert app.storage.runs.inbox("another", limit=5) == [("done", app.clock.now_ms())]


def test_what_stands_aside_is_shown_kept_in_a_fork_and_fits_the_code(app, worker, did):
    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            notify("sorry")
            raise
        ctx.wait_event("go")
        return notify("sorry")

    run = of(app, body).start()
    worker.run()
    did.clear()
    did.well = True
    assert run.retry()
    copy = run.fork(len(run.steps()) + 1, id="copy")
    worker.run()
    assert {step.name for step in run.steps()} == {"notify", "charge", "go"}
    (found,) = app.storage.runs.list([run.id], limit=1)
    assert compared(app, found)["ok"]
    for one in (run, copy):
        one.send("go")
    worker.run()
    assert [run.result(0), copy.result(0)] == ["sorry", "sorry"]
    assert did == ["charge 1", "charge 1"]


def test_a_run_is_rewound_before_a_step_that_was_answered_in_its_retry(app, worker, did):
    by = ["kept"]

    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            notify("kept")
            raise
        notify(by[0])
        return ctx.wait_event("go")

    run = of(app, body).start()
    worker.run()
    app.clock.advance(1)
    retry_well(run, worker, did)
    assert [step.name for step in run.steps()] == ["charge", "notify", "go"]  # in the order of the body
    by[0] = "another"
    copy = run.fork(1, id="copy")
    run.rewind(1)
    for one in (run, copy):
        one.send("go", 1)
        worker.run()
        assert one.result(0) == 1
    assert did == ["charge 1", *["charge 1", "another"] * 2]


def test_what_was_answered_once_stands_aside_again_when_the_retry_fails(app, worker, did):
    def body(charge, notify):
        try:
            charge.options(key="charge")(1)
        except ConnectionError:
            ctx.call(notify, "sorry")
            raise
        return ctx.call(notify, "end")

    run = of(app, body).start()
    worker.run()
    app.clock.advance(1)
    assert run.retry()
    worker.run()
    assert run.status == "failed"
    retry_well(run, worker, did)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]


def test_the_clean_up_between_two_gathers_stands_aside_for_a_spawned_failure(app, worker, did):
    def body(charge, notify):
        one = ctx.spawn(charge, 1)
        beside = ctx.spawn(notify, "beside")
        try:
            ctx.gather([one])
        except ConnectionError:
            notify("sorry")
            ctx.gather([beside])
            raise
        return notify("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]


def test_a_child_that_the_end_of_the_run_has_cut_off_is_called_again(app, worker, did):
    @app.workflow(name="long")
    def long() -> str:
        ctx.sleep("1h")
        return "long"

    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            notify("by invoice")
        beside = ctx.spawn(long)
        if not did.well:
            raise ValueError("a bug")
        return ctx.gather([beside])

    run = of(app, body).start()
    worker.run()
    app.clock.advance(1)
    did.well = True
    assert run.retry()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == ["long"]
    assert did == ["charge 1", "by invoice"]


def test_a_branch_that_has_another_number_now_finds_what_it_did(app, worker, did):
    notify = app.steps_of_workflows["notify"]

    @app.step(name="pay")
    async def pay() -> None:
        if not did.well:
            raise ConnectionError("declined")

    async def both(*names: str) -> None:
        await asyncio.gather(*(actx.call(notify, name) if name else asyncio.sleep(0) for name in names))

    @app.workflow(name="branches")
    async def branches() -> str:
        failure = None
        try:
            await pay()
            await asyncio.gather(both("paid", "told"), both("", "seen"))
        except ConnectionError as exc:
            failure = exc
        await asyncio.gather(both("one", "two"), both("three", ""))
        if failure is not None:
            raise failure
        return "end"

    run = branches.start()
    worker.run()
    assert run.status == "failed"
    assert sorted(did) == ["one", "three", "two"]
    did.clear()
    app.clock.advance(1)
    did.well = True
    assert run.retry()
    worker.run()
    assert run.result(0) == "end"
    assert sorted(did) == ["paid", "seen", "told"]


def test_a_child_that_takes_its_time_to_end_with_the_run_is_called_again(app, worker, did):
    @app.workflow(name="long")
    def long() -> str:
        ctx.wait_event("never", timeout="1h", default=None)
        return "long"

    def body(charge, notify):
        beside = ctx.spawn(long)
        ctx.sleep(1)
        charge(1)
        return ctx.gather([beside])

    run = of(app, body).start()
    worker.run()
    app.clock.advance(1)
    worker.turn()
    assert run.status == "failed"
    did.well = True
    assert run.retry()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == ["long"]
