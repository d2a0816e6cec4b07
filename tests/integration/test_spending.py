"""Usage is told once for each recorded answer, and budgets end a run before the request that would break them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from liteq import signals
from liteq.exceptions import BudgetExceeded, RateLimited, WorkflowError
from liteq.message import Suspend
from liteq.workflow import Budget, ctx
from tests.integration.runs import Killed, Worker, killed_at

DAY_S = 86_400


@pytest.fixture
def asked():
    """The calls of the step `ask`, which a test may have fail: what is put into `asked.fails` is raised, once each."""

    class Asked(list):
        fails: list[BaseException] = []

    found = Asked()
    found.fails = []
    return found


@pytest.fixture
def ask(app, asked):
    @app.step(name="ask", spends="1", retries=2, backoff=0)
    def ask(n: int) -> int:
        asked.append(n)
        if asked.fails:
            raise asked.fails.pop(0)
        ctx.spend(model="m", input_tokens=100, output_tokens=10, cost="1", asked=n)
        return n

    return ask


@pytest.fixture
def flow(app, ask):
    @app.workflow(name="flow")
    def flow(n: int) -> int:
        return sum(ask(i) for i in range(n))

    return flow


def spent(run):
    usage = run.usage()
    return usage.requests, usage.cost, usage.unknown


# -- usage -----------------------------------------------------------------------------------------------------------


def test_each_recorded_answer_is_told_once(app, worker, flow):
    run = flow.start(3)
    worker.run()
    usage = run.usage()
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.cost) == (3, 300, 30, Decimal(3))
    assert list(usage.models) == ["m"]
    assert usage.models["m"].requests == 3
    assert app.usage() == [{"model": "m", **as_dict(usage), "models": {"m": as_dict(usage.models["m"])}}]


def as_dict(usage):
    return {name: getattr(usage, name) for name in usage.__dataclass_fields__}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_kill_at_a_record_pays_for_no_answer_twice_that_was_recorded(app, worker, flow, asked, n, before):
    run = flow.start(3)
    with killed_at(app, n, before=before):
        worker.turn()
    worker.run()
    assert run.result(0) == 3
    assert spent(run) == (3, Decimal(3), 1 if before else 0)
    assert len(asked) == 3 + (1 if before else 0), "and what was not recorded is told as unknown"


def test_a_kill_inside_is_unknown_and_not_nothing(app, worker, flow, asked):
    asked.fails = [Killed()]
    run = flow.start(1)
    worker.run()
    assert spent(run) == (1, Decimal(1), 1)


def test_what_failed_attempts_have_spent_counts(app, worker, asked):
    @app.step(name="ask", retries=2, backoff=0)
    def ask():
        asked.append(1)
        ctx.spend(model="m", cost="1")
        if len(asked) < 3:
            raise ConnectionError
        return 1

    @app.workflow(name="flow")
    def flow():
        return ask()

    run = flow.start()
    worker.run()
    assert spent(run) == (3, Decimal(3), 0)


def test_a_step_that_fails_for_good_has_spent(app, worker, asked):
    @app.step(name="ask")
    def ask():
        ctx.spend(model="m", cost="1")
        raise ValueError("no")

    @app.workflow(name="flow")
    def flow(sent: bool):
        return ctx.call(ask) if sent else ask()

    for sent in (False, True):
        run = flow.start(sent)
        worker.run()
        assert run.status == "failed"
        assert spent(run) == (1, Decimal(1), 0)


def test_children_at_any_depth_are_included(app, worker, ask):
    @app.workflow(name="inner")
    def inner(n: int) -> int:
        return ctx.call(ask, n)

    @app.workflow(name="outer")
    def outer() -> int:
        return ask(1) + ctx.call(inner, 2) + sum(ctx.map(inner, [3, 4]))

    run = outer.start()
    other = outer.start()
    worker.run()
    assert spent(run) == spent(other) == (4, Decimal(4), 0)
    by_workflow = {row["workflow"]: row["requests"] for row in app.usage(by="workflow")}
    assert by_workflow == {"outer": 2, "inner": 6}


def test_the_usage_of_a_child_outlives_it(app, worker, ask):
    @app.workflow(name="outer")
    def outer() -> int:
        return ctx.call(ask, 1) + ctx.wait_event("go")

    run = outer.start()
    worker.run()
    app.clock.advance(10 * DAY_S)
    app.storage.expire(result_expires_s=DAY_S, dead_expires_s=DAY_S)
    app.storage.runs.expire(DAY_S)
    assert spent(run) == (1, Decimal(1), 0)


def test_a_price_that_nobody_knows_is_none_and_not_nothing(app, worker):
    @app.step(name="ask")
    def ask(cost: str | None):
        ctx.spend(model="no-such-model", input_tokens=5, cost=cost)

    @app.workflow(name="flow")
    def flow(*costs: str | None):
        for cost in costs:
            ask(cost)

    run, known = flow.start("1", None), flow.start("1", "0")
    worker.run()
    assert run.usage().cost is None
    assert known.usage().cost == Decimal(1)


def test_a_price_of_a_known_model_is_looked_up(app, worker):
    pytest.importorskip("genai_prices")

    @app.step(name="ask")
    def ask():
        ctx.spend(model="openai:gpt-4o", input_tokens=1000, output_tokens=100)

    @app.workflow(name="flow")
    def flow():
        ask()

    run = flow.start()
    worker.run()
    assert run.usage().cost == Decimal("0.0035")


def test_an_answer_of_the_memo_is_saved_and_not_spent(app, worker):
    @app.step(name="ask", memo=True)
    def ask(n: int) -> int:
        ctx.spend(model="m", input_tokens=100, cost="0.25")
        return n

    @app.workflow(name="flow", budget=Budget(cost="0.25"))
    def flow() -> int:
        return ask(1) + ask(1)

    run = flow.start()
    worker.run()
    usage = run.usage()
    assert (usage.requests, usage.cost, usage.memo_hits, usage.saved) == (1, Decimal("0.25"), 1, Decimal("0.25"))
    again = flow.start()
    worker.run()
    usage = again.usage()
    assert (usage.requests, usage.cost, usage.memo_hits, usage.saved) == (0, Decimal(0), 2, Decimal("0.5"))


def test_usage_is_told_by_tag_and_day_and_since(app, worker, flow):
    flow.options(tags=["team:a", "x"]).start(2)
    worker.run()
    app.clock.advance(2 * DAY_S)
    flow.options(tags=["team:b"]).start(1)
    worker.run()
    by_tag = {row["tag"]: row["cost"] for row in app.usage(by="tag")}
    assert by_tag == {"team:a": 2, "x": 2, "team:b": 1}
    assert [row["cost"] for row in app.usage(by="day")] == [2, 1]
    assert [row["tag"] for row in app.usage(since="1d", by="tag")] == ["team:b"]
    assert [row["tag"] for row in app.usage(since=timedelta(days=1), by="tag")] == ["team:b"]
    with pytest.raises(ValueError, match="'model', 'workflow', 'tag', 'day'"):
        app.usage(by="modle")


def test_what_cannot_be_spent_is_refused(app, worker):
    found = []

    @app.step(name="ask")
    def ask():
        for wrong in ({"cost": 0.5}, {"cost": "-1"}, {"input_tokens": -1}, {"input_tokens": "7"}, {"model": 7}):
            with pytest.raises((TypeError, ValueError)):
                ctx.spend(**wrong)
            found.append(wrong)

    @app.workflow(name="flow")
    def flow():
        ask()
        with pytest.raises(WorkflowError, match="step"):
            ctx.spend(cost="1")

    run = flow.start()
    worker.run()
    assert run.status == "succeeded"
    assert len(found) == 5
    with pytest.raises(WorkflowError):
        ctx.spend(cost="1")


def test_a_step_with_a_transaction_spends_with_its_commit(app, worker):
    @app.step(name="ask", tx=True)
    def ask() -> int:
        ctx.tx.execute("SELECT 1")
        ctx.spend(model="m", cost="1")
        return 1

    @app.workflow(name="flow", budget=Budget(cost="2"))
    def flow() -> int:
        return ask() + ask() + ask()

    run = flow.start()
    worker.run()
    assert run.info().error.startswith("BudgetExceeded")
    assert spent(run) == (2, Decimal(2), 0)


# -- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "budget", [Budget(cost="2"), Budget(tokens=220), Budget(requests=2)], ids=["cost", "tokens", "requests"]
)
def test_a_budget_ends_a_run_before_the_request_that_would_break_it(app, worker, flow, asked, budget):
    if budget.tokens:  # the estimate tells nothing of tokens, and the first answer tells how many there are
        flow.start(1)
        worker.run()
        asked.clear()
    run = flow.options(budget=budget).start(5)
    worker.run()
    assert run.info().error.startswith("BudgetExceeded: the budget of run ")
    assert len(asked) == 2
    with pytest.raises(BudgetExceeded):
        run.result(0)


def test_a_body_may_go_on_without_money_and_does_so_again_in_a_replay(app, worker, ask):
    @app.workflow(name="careful", budget=Budget(cost="1"))
    def careful() -> str:
        ask(1)
        try:
            ask(2)
        except BudgetExceeded:
            ctx.sleep(60)
            return "cheaply"
        return "in full"

    run = careful.start()
    worker.run()
    app.clock.advance(61)
    worker.run()
    assert run.result(0) == "cheaply"


@pytest.mark.parametrize("told", [True, False], ids=["told", "learnt"])
def test_thirty_children_at_once_do_not_overshoot(app, asked, told):
    options = {"spends": "1"} if told else {}

    @app.step(name="ask", **options)
    def ask(n: int) -> int:
        asked.append(n)
        ctx.spend(model="m", cost="1")
        return n

    @app.workflow(name="each")
    def each(n: int) -> int:
        return ask(n)

    @app.workflow(name="crowd", budget=Budget(cost="10"))
    def crowd() -> list[str]:
        return [type(one).__name__ for one in ctx.map(each, range(30), on_error="collect")]

    run = crowd.start()
    workers = [Worker(app, str(i)) for i in range(4)]
    for _ in range(200):
        if not sum(one.turn() for one in workers):
            app.clock.advance(1.1)
    assert run.result(0).count("int") == 10
    assert len(asked) == 10
    assert spent(run) == (10, Decimal(10), 0)


def test_steps_at_once_in_one_body_do_not_overshoot(app, worker, asked):
    @app.step(name="ask", spends="0.06")
    async def ask(n: int) -> int:
        asked.append(n)
        await asyncio.sleep(0)
        ctx.spend(model="m", cost="0.03")
        return n

    @app.workflow(name="flow", budget=Budget(cost="0.10"))
    async def flow() -> int:
        async def answered(n: int) -> int:
            try:
                await ask(n)
            except BudgetExceeded:
                return 0
            return 1

        return sum(await asyncio.gather(*map(answered, range(4))))

    run = flow.start()
    for _ in range(20):
        worker.run()
        app.clock.advance(1.1)
    # Three cents each: after two of them the estimate of six does not fit any more.
    assert run.result(0) == len(asked) == 2


def test_a_budget_of_a_parent_and_of_a_child_hold_both(app, worker, ask, asked):
    @app.workflow(name="inner", budget=Budget(cost="2"))
    def inner(n: int) -> int:
        return sum(ask(i) for i in range(n))

    @app.workflow(name="outer", budget=Budget(cost="3"))
    def outer() -> list[str]:
        return [type(one).__name__ for one in (ctx.spawn(inner, 3), ctx.spawn(inner, 2)) if _fails(one)]

    def _fails(handle):
        try:
            handle.result()
        except BudgetExceeded:
            return True
        return False

    run = outer.start()
    worker.run()
    assert run.result(0) == ["Handle", "Handle"]
    assert len(asked) == 3


def test_a_kill_gives_back_what_was_held(app, worker, flow, asked):
    asked.fails = [Killed()]
    run = flow.options(budget=Budget(cost="1")).start(1)
    worker.run()
    assert run.result(0) == 0
    assert spent(run) == (1, Decimal(1), 1)


def test_runs_of_a_tag_share_a_budget_by_day(app, worker, flow, asked):
    app.budgets.set("team:a", cost="3/d")
    one, two = (flow.options(tags=["team:a"]).start(2) for _ in range(2))
    free = flow.start(2)
    worker.run()
    assert free.status == one.status == "succeeded"
    assert two.info().error == "BudgetExceeded: the budget team:a has 0 of 3 cost left, and ask may take 1"
    (state,) = app.budgets.get("team:a")
    assert (state.what, state.most, state.period_s, state.spent, state.reserved) == ("cost", 3, DAY_S, 3, 0)
    app.clock.advance(DAY_S)
    assert two.retry()
    worker.run()
    assert two.result(0) == 1
    assert app.budgets.delete("team:a")
    assert app.budgets.list() == []


def test_a_tag_of_a_parent_pays_for_its_children(app, worker, ask):
    @app.workflow(name="outer")
    def outer() -> int:
        ctx.tag("team:a")
        return ctx.call(ask, 1)

    app.budgets.set("team:a", cost="0.5")
    run = outer.start()
    worker.run()
    assert run.info().error.startswith("BudgetExceeded: the budget team:a")


def test_soft_warns_once(app, worker, flow):
    told = []

    def tell(sender, **fields):
        told.append((fields["run_id"], fields["what"], fields["spent"], fields["most"]))

    signals.budget_warning.connect(tell, weak=False)
    try:
        run = flow.options(budget=Budget(cost="10", soft=0.5)).start(8)
        worker.run()
    finally:
        signals.budget_warning.disconnect(tell)
    assert told == [(run.id, "cost", "5", "10")]


def test_a_budget_that_asks_holds_nothing_and_goes_on_where_it_stood(app, worker, flow, asked):
    requested = []

    def tell(sender, **fields):
        requested.append((fields["run_id"], fields["title"]))

    signals.approval_requested.connect(tell, weak=False)
    try:
        run = flow.options(budget=Budget(cost="1", on_exceed="ask")).start(3)
        worker.run()
    finally:
        signals.approval_requested.disconnect(tell)
    assert isinstance(worker.outcomes[-1], Suspend)
    (request,) = run.approvals()
    assert requested == [(run.id, request.title)]
    assert request.details == {"budget": f"of run {run.id}", "what": "cost", "most": "1", "spent": "1"}
    assert "approval add how much?" in run.info().waiting_for
    with pytest.raises(ValueError, match="add"):
        run.approve(request.title, data={"add": "much"})
    with pytest.raises(ValueError, match="add"):
        run.approve(request.title)
    assert run.approve(request.title, data={"add": "0.10"})
    worker.run()
    assert run.approve(run.approvals()[0].title, data={"add": "1.9"})
    worker.run()
    assert run.result(0) == 3
    assert asked == [0, 1, 2]
    assert spent(run) == (3, Decimal(3), 0)


def test_a_person_may_say_no(app, worker, flow, asked):
    run = flow.options(budget=Budget(requests=1, on_exceed="ask")).start(3)
    worker.run()
    run.approve(run.approvals()[0].title, ok=False)
    worker.run()
    assert run.info().error.startswith("BudgetExceeded")
    assert asked == [0]


def test_children_ask_in_the_run_that_has_the_budget_and_once(app, worker, ask, asked):
    @app.workflow(name="crowd", budget=Budget(cost="1", on_exceed="ask"))
    def crowd() -> int:
        return sum(ctx.map(ask, range(5)))

    run = crowd.start()
    for _ in range(3):
        worker.run()
        app.clock.advance(1.1)
    assert len(run.approvals()) == 1
    assert run.approve(run.approvals()[0].title, data={"add": "4"})
    for _ in range(3):
        worker.run()
        app.clock.advance(1.1)
    assert run.result(0) == 10
    assert len(asked) == 5


def test_an_attempt_that_is_put_off_holds_nothing(app, worker, asked):
    @app.step(name="ask", spends="1")
    def ask() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise RateLimited(30)
        ctx.spend(model="m", cost="1")
        return 1

    @app.workflow(name="flow", budget=Budget(cost="1"))
    def flow() -> int:
        return ask()

    run = flow.start()
    worker.run()
    app.clock.advance(31)
    worker.run()
    assert run.result(0) == 1
    assert run.steps()[0].attempts == 1
    assert spent(run) == (1, Decimal(1), 0)


def test_an_estimate_may_be_made_of_the_arguments(app, worker, asked):
    @app.step(name="ask", spends=lambda n: {"cost": str(n), "tokens": 5})
    def ask(n: int) -> int:
        asked.append(n)
        ctx.spend(model="m", input_tokens=5, cost=str(n))
        return n

    @app.workflow(name="flow", budget=Budget(cost="5"))
    def flow(*sizes: int) -> int:
        return sum(ask(n) for n in sizes)

    run = flow.start(2, 3), flow.start(2, 4)
    worker.run()
    assert run[0].result(0) == 5
    assert run[1].info().error.startswith("BudgetExceeded")
    assert asked == [2, 3, 2]


def test_a_step_that_spends_nothing_runs_when_nothing_is_left(app, worker, ask):
    done = []

    @app.step(name="note")
    def note():
        done.append(1)

    @app.workflow(name="flow", budget=Budget(cost="1"))
    def flow(n: int):
        ask(1)
        for _ in range(n):
            note()

    run = flow.start(3)
    worker.run()
    assert run.status == "succeeded"
    assert len(done) == 3


def test_a_fork_has_a_budget_of_its_own(app, worker, flow, asked):
    run = flow.options(budget=Budget(cost="3")).start(3)
    worker.run()
    fork = run.fork(1)
    worker.run()
    assert fork.result(0) == 3
    assert spent(fork) == (3, Decimal(3), 0)
