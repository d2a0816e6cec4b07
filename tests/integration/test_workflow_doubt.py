"""Steps in doubt: one that was begun and has no end is not repeated; a person decides, or a function that looks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liteq import signals
from liteq.exceptions import NoSuchApproval, RateLimited, StepInDoubt
from liteq.message import StepRow, Suspend
from liteq.serialization import encode_error
from liteq.workflow import Done, NotDone, StepOptions, actx, ctx
from tests.integration.runs import Killed, killed_at


class Bank:
    """A destination: it keeps what was charged, by the key of the step."""

    def __init__(self) -> None:
        self.charged: list[str] = []
        self.die: list[str] = []  # what the next charges do: "before", "after", "raise" or nothing

    def charge(self, amount: int) -> str:
        key = ctx.step_key
        how = self.die.pop(0) if self.die else ""
        if how == "raise":
            raise ConnectionError("refused")
        if how == "before":
            raise Killed
        self.charged.append(key)
        if how == "after":
            raise Killed
        return f"{amount} by {len(self.charged)}"

    def look(self, key: str, amount: int) -> Any:
        return Done(f"{amount} as found") if key in self.charged else NotDone()


@pytest.fixture
def bank():
    return Bank()


def charging(app, bank, *, is_async=False, **options):
    """A workflow of one charge between two waits."""
    if is_async:

        @app.step(name="charge", **options)
        async def charge(amount: int) -> str:
            await asyncio.sleep(0)
            return bank.charge(amount)

        @app.workflow(name="pays")
        async def pays(amount: int) -> str:
            return await charge(amount)

    else:

        @app.step(name="charge", **options)
        def charge(amount: int) -> str:
            return bank.charge(amount)

        @app.workflow(name="pays")
        def pays(amount: int) -> str:
            return charge(amount)

    return pays


KINDS = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


@KINDS
def test_a_person_says_that_it_was_done(app, worker, bank, is_async):
    pays = charging(app, bank, is_async=is_async, doubt="ask")
    bank.die = ["after"]
    run = pays.start(5)
    worker.run()
    (asked,) = run.approvals()
    assert asked.details == {"step": "charge", "step_key": bank.charged[0], "attempt": 1}
    assert asked.title == f"charge {bank.charged[0]}"
    assert app.storage.runs.in_doubt() == [run.id]
    run.approve(asked.title, data={"answer": "done", "result": "5 by hand"})
    worker.run()
    assert run.result(0) == "5 by hand"
    assert len(bank.charged) == 1
    assert app.storage.runs.in_doubt() == []


@KINDS
def test_a_person_says_that_it_is_to_be_repeated(app, worker, bank, is_async):
    """Each kill is a doubt of its own, and the key for the destination is the same over all attempts."""
    pays = charging(app, bank, is_async=is_async, doubt="ask")
    bank.die = ["before", "after", "after"]
    run = pays.start(5)
    for n in (1, 2, 3):
        worker.run()
        (asked,) = run.approvals()
        assert (asked.details["attempt"], len(bank.charged)) == (n, n - 1)
        run.approve(asked.title, data={"answer": "repeat"})
    worker.run()
    assert run.result(0) == "5 by 3"
    assert len(set(bank.charged)) == 1


@KINDS
@pytest.mark.parametrize("answer", [{"ok": False, "comment": "call the bank"}, {"data": {"answer": "fail"}}])
def test_a_person_says_that_it_fails(app, worker, bank, is_async, answer):
    pays = charging(app, bank, is_async=is_async, doubt="ask", retries=3)
    bank.die = ["before"]
    run = pays.start(5)
    worker.run()
    run.approve(run.approvals()[0].title, by="ann", **answer)
    worker.run()
    with pytest.raises(StepInDoubt, match=r"'charge' \(.*ann has decided that it fails") as failed:
        run.result(0)
    assert (failed.value.step, failed.value.attempt) == ("charge", 1)
    assert bank.charged == []
    assert run.retry()  # the doubt stays, so it is asked for anew
    worker.run()
    run.approve(run.approvals()[0].title, data={"answer": "repeat"})
    worker.run()
    assert run.result(0) == "5 by 1"


def test_an_answer_that_is_none_decides_nothing(app, worker, bank):
    pays = charging(app, bank, doubt="ask")
    bank.die = ["before"]
    run = pays.start(5)
    worker.run()
    title = run.approvals()[0].title
    for wrong in (None, {}, {"answer": "perhaps"}):
        with pytest.raises(ValueError, match="nothing was decided"):
            run.approve(title, data=wrong)
    with pytest.raises(NoSuchApproval):
        run.approve("charge", data={"answer": "repeat"})
    assert [one.title for one in run.approvals()] == [title]


def test_a_result_that_does_not_fit_fails_the_step(app, worker):
    @app.step(name="counts", doubt="ask")
    def counts() -> tuple[int, int]:
        raise Killed

    @app.workflow(name="uses")
    def uses() -> int:
        return sum(counts())

    run = uses.start()
    worker.run()
    run.approve(run.approvals()[0].title, data={"answer": "done", "result": ["a", "b"]})
    worker.run()
    with pytest.raises(StepInDoubt, match="does not fit"):
        run.result(0)
    run.retry()
    worker.run()
    run.approve(run.approvals()[0].title, data={"answer": "done", "result": [2, 3]})
    worker.run()
    assert run.result(0) == 5


@KINDS
@pytest.mark.parametrize("places", [["before"], ["after"], ["before", "after"], ["before", "before"]])
def test_a_function_looks_whether_it_was_done(app, worker, bank, is_async, places):
    pays = charging(app, bank, is_async=is_async, doubt=bank.look)
    bank.die = list(places)
    run = pays.start(5)
    worker.run()
    assert run.result(0) == ("5 as found" if "after" in places else "5 by 1")
    assert len(bank.charged) == 1


def test_a_function_that_looks_may_be_async(app, worker, bank):
    async def look(key: str, amount: int) -> Any:
        await asyncio.sleep(0)
        return bank.look(key, amount)

    pays = charging(app, bank, is_async=True, doubt=look)
    bank.die = ["after"]
    run = pays.start(5)
    worker.run()
    assert (run.result(0), len(bank.charged)) == ("5 as found", 1)


@KINDS
def test_a_look_that_fails_is_repeated_as_the_step_and_then_fails_it(app, worker, bank, is_async):
    errors = [OSError("away"), OSError("away")]
    looks = []

    def look(key: str, amount: int) -> Any:
        looks.append(key)
        if errors:
            raise errors.pop()
        return bank.look(key, amount)

    pays = charging(app, bank, is_async=is_async, doubt=look, retries=2, backoff=60)
    bank.die = ["after"]
    run = pays.start(5)
    for _ in range(3):
        worker.run()
        app.clock.advance(60)
    assert (run.result(0), len(looks), len(bank.charged)) == ("5 as found", 3, 1)

    errors[:] = [OSError("away")] * 3
    bank.die = ["after"]
    run = pays.start(6)
    for _ in range(3):
        worker.run()
        app.clock.advance(60)
    with pytest.raises(StepInDoubt, match="the look at its destination failed: OSError: away"):
        run.result(0)
    assert len(bank.charged) == 2


def test_a_function_that_returns_something_else_fails_the_step(app, worker, bank):
    pays = charging(app, bank, doubt=lambda key, amount: True)
    bank.die = ["after"]
    run = pays.start(5)
    worker.run()
    with pytest.raises(StepInDoubt, match="it returns Done"):
        run.result(0)


@KINDS
def test_an_attempt_that_has_failed_is_in_no_doubt(app, worker, bank, is_async):
    """It has ended, if badly: it is retried as ever, over a wait too, and nobody is asked."""
    pays = charging(app, bank, is_async=is_async, doubt="ask", retries=2, backoff=60)
    bank.die = ["raise", "raise"]
    run = pays.start(5)
    for _ in range(3):
        worker.run()
        assert app.storage.runs.in_doubt() == []
        app.clock.advance(60)
    assert run.result(0) == "5 by 1"

    bank.die = ["raise"] * 3
    run = pays.start(5)
    for _ in range(3):
        worker.run()
        app.clock.advance(60)
    assert run.status == "failed"
    assert run.retry()
    worker.run()
    assert run.result(0) == "5 by 2"


@KINDS
@pytest.mark.parametrize("backoff", [0, 60], ids=["here", "over a wait"])
def test_a_kill_after_a_retry_is_a_new_doubt(app, worker, bank, is_async, backoff):
    """The answer to an earlier doubt is none to this one."""
    pays = charging(app, bank, is_async=is_async, doubt="ask", retries=2, backoff=backoff)
    bank.die = ["before", "raise", "after"]
    run = pays.start(5)
    worker.run()
    run.approve(run.approvals()[0].title, data={"answer": "repeat"})
    worker.run()
    app.clock.advance(backoff)
    worker.run()
    (asked,) = run.approvals()
    assert asked.details["attempt"] > 1
    assert len(bank.charged) == 1
    run.approve(asked.title, data={"answer": "done", "result": "once"})
    worker.run()
    assert (run.result(0), len(bank.charged)) == ("once", 1)


@KINDS
def test_a_step_that_is_told_to_come_later_is_in_no_doubt(app, worker, bank, is_async):
    """It was refused: that is an end, too, and it counts no attempt."""
    refused = [True, True]
    charge = bank.charge

    def limited(amount: int) -> str:
        if refused and refused.pop():
            raise RateLimited(retry_after=60)
        return charge(amount)

    bank.charge = limited
    pays = charging(app, bank, is_async=is_async, doubt="ask")
    run = pays.start(5)
    for _ in range(9):  # after the pause it is let in with some jitter
        worker.run()
        assert app.storage.runs.in_doubt() == []
        app.clock.advance(60)
    assert (run.result(0), refused) == ("5 by 1", [])


def test_a_step_that_was_killed_at_its_timeout_is_in_doubt(app, worker, bank):
    """The parent records that; what the step did by then nobody knows."""
    pays = charging(app, bank, doubt="ask", timeout="1s")
    bank.die = ["after"]
    run = pays.start(5)
    lease = worker.claim()
    with pytest.raises(Killed):
        worker.execute(lease)
    error = encode_error(TimeoutError("killed"))
    row = StepRow("", 1, "step", "charge", None, _hash(5), 1, error=error, due_ms=0, started_ms=1)
    app.storage.settle([(lease, Suspend([row], due_ms=0))])
    worker.run()
    (asked,) = run.approvals()
    run.approve(asked.title, data={"answer": "repeat"})
    worker.run()
    assert run.result(0) == "5 by 2"


def _hash(*args: Any) -> bytes | None:
    from liteq.workflow.history.codec import hash_of

    return hash_of(args, {})


def test_a_step_that_was_sent_may_be_in_doubt(app, worker, bank):
    @app.step(name="charge", doubt="ask")
    def charge(amount: int) -> str:
        return bank.charge(amount)

    @app.workflow(name="sends")
    def sends() -> str:
        return ctx.call(charge, 5)

    bank.die = ["after"]
    run = sends.start()
    worker.run()
    (child,) = app.storage.runs.in_doubt()
    step = app.Run(child)
    step.approve(step.approvals()[0].title, data={"answer": "done", "result": "by hand"})
    worker.run()
    assert (run.result(0), len(bank.charged)) == ("by hand", 1)
    assert app.storage.runs.in_doubt() == []


def test_a_doubt_holds_back_its_branch_alone(app, worker, bank):
    options = StepOptions(doubt="ask")
    others: list[str] = []

    async def pay() -> str:
        return await actx.step("charge", bank.charge, key="c1", args=(5,), options=options)

    async def other() -> str:
        async def work() -> str:
            others.append("done")
            return "other"

        return await actx.step("work", work, key="w1")

    @app.workflow(name="both")
    async def both() -> list[str]:
        return await asyncio.gather(pay(), other())

    bank.die = ["after"]
    run = both.start()
    worker.run()
    (asked,) = run.approvals()
    assert "c1" in asked.title
    assert others == ["done"]
    run.approve(asked.title, data={"answer": "done", "result": "5"})
    worker.run()
    assert run.result(0) == ["5", "other"]


@pytest.mark.parametrize("verb", ["begin_intent", "checkpoint"])
@pytest.mark.parametrize("before", [True, False])
@KINDS
def test_a_kill_at_either_write_charges_once(app, worker, bank, is_async, verb, before):
    pays = charging(app, bank, is_async=is_async, doubt=bank.look)
    run = pays.start(5)
    with killed_at(app, 1, before=before, verbs=(verb,)):
        worker.turn()
    worker.run()
    assert run.result(0) == ("5 as found" if (verb, before) == ("checkpoint", True) else "5 by 1")
    assert len(bank.charged) == 1


def test_the_signal_is_sent_once_for_each_doubt(app, worker, bank):
    from liteq.testing import drain

    told: list[dict[str, Any]] = []

    @signals.step_in_doubt.connect
    def receive(sender, **fields):
        told.append({name: fields[name] for name in ("run_id", "name", "step", "step_key", "attempt")})

    pays = charging(app, bank, doubt="ask")
    looks = app.workflow("looks")(lambda: ctx.step("other", lambda: bank.charge(1), options=other))
    other = StepOptions(doubt=lambda key: NotDone())
    bank.die = ["before", "before"]
    run = pays.start(5)
    worker.turn()
    drain(app)
    drain(app)
    assert told == [{"run_id": run.id, "name": "pays", "step": "charge", "step_key": told[0]["step_key"], "attempt": 1}]
    run.approve(run.approvals()[0].title, ok=False)
    drain(app)
    second = looks.start()
    worker.turn()
    drain(app)
    assert [one["run_id"] for one in told] == [run.id, second.id]
    assert second.result(0) == "1 by 1"


def test_a_zombie_does_not_end_a_doubt(app, worker, bank):
    """The first worker is only slow: what it writes after its lease is over changes nothing."""
    pays = charging(app, bank, doubt="ask")
    run = pays.start(5)
    first = worker.claim()
    real = app.storage.runs.checkpoint
    taken = []

    def checkpoint(*args: Any, **options: Any) -> Any:
        if not taken:
            taken.append(True)
            app.clock.advance(61)
            app.storage.reap(set())
            worker.run()
        return real(*args, **options)

    app.storage.runs.checkpoint = checkpoint
    try:
        outcome = worker.execute(first)
    finally:
        del app.storage.runs.checkpoint
    app.storage.settle([(first, outcome)])
    assert len(bank.charged) == 1
    (asked,) = run.approvals()
    run.approve(asked.title, data={"answer": "done", "result": "5"})
    worker.run()
    assert run.result(0) == "5"


def test_a_step_without_the_option_costs_what_it_cost(app, worker, bank):
    """Its writes are the same; with the option there is one more."""
    verbs = ("intent", "begin_intent", "end_intent", "checkpoint")
    for options, written in (({}, ["checkpoint"]), ({"doubt": "ask"}, ["begin_intent", "checkpoint"])):
        with killed_at(app, 99, before=True, verbs=verbs) as done:
            run = charging_once(app, bank, len(written), **options).start(5)
            worker.run()
            run.result(0)
        assert done == written


def charging_once(app, bank, n, **options):
    step = app.step(name=f"charge{n}", **options)(bank.charge)

    @app.workflow(name=f"pays{n}")
    def pays(amount: int) -> str:
        return step(amount)

    return pays
