"""Keys in trouble, for steps: what the other side refuses pauses them for all, what fails is probed, and what else."""

from __future__ import annotations

import pytest

from liteq.exceptions import RateLimited
from liteq.workflow import Budget, ctx
from tests.integration.runs import Killed, Worker


class Refused(Exception):
    """An error as the libraries of HTTP make theirs."""

    def __init__(self, status: int, after: str | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = {} if after is None else {"Retry-After": after}


@pytest.fixture
def provider():
    """Two models. `provider.says` has what each answers: an exception to raise, or None for an answer; the calls."""

    class Provider:
        def __init__(self) -> None:
            self.says = {"m1": [], "m2": [], "m3": []}
            self.down = set()
            self.calls = []

        def call(self, model: str) -> str:
            self.calls.append(model)
            said = self.says[model].pop(0) if self.says[model] else None
            if model in self.down:
                said = ConnectionError(model)
            if said is not None:
                raise said
            return model

    return Provider()


def flow_of(app, provider, **options):
    options = {"limits": ["model:{model}"], **options}

    @app.step(name="ask", **options)
    def ask(n: int, model: str = "m1") -> str:
        answer = provider.call(model)
        ctx.spend(model=model, input_tokens=100, cost="1")
        return answer

    @app.workflow(name="flow")
    def flow(n: int) -> list[str]:
        return [ask(i) for i in range(n)]

    return flow


def paused_s(app, key="model:m1"):
    until = app.limits.get(key).paused_until
    return None if until is None else until - app.clock.now_ms() / 1000


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_refusal_pauses_the_key_for_all_and_counts_no_attempt(app, worker, provider, status):
    flow = flow_of(app, provider)
    provider.says["m1"] = [Refused(status, "30")]
    one, two = flow.start(1), flow.start(1)
    worker.run()
    Worker(app, "other").run()
    assert provider.calls == ["m1"]
    assert paused_s(app) == pytest.approx(30)
    assert one.info().waiting_for == two.info().waiting_for == ["limit model:m1"]
    app.clock.advance(29)
    worker.run()
    assert provider.calls == ["m1"]
    for _ in range(4):
        app.clock.advance(1.1)
        worker.run()
    assert one.result(0) == two.result(0) == ["m1"]
    assert [run.steps()[0].attempts for run in (one, two)] == [1, 1]


def test_of_several_times_the_latest_stands(app, provider):
    flow = flow_of(app, provider)
    leases = []
    workers = [Worker(app, str(i)) for i in range(2)]
    for _ in workers:
        flow.start(1)
    leases = [worker.claim() for worker in workers]
    provider.says["m1"] = [Refused(429, "60"), Refused(429, "5")]
    app.storage.runs.refused("model:m1", 60)
    assert app.storage.runs.refused("model:m1", 5) == app.clock.now_ms() + 60_000
    assert paused_s(app) == pytest.approx(60)
    assert all(leases)


def test_a_refusal_without_a_time_waits_a_second_and_twice_that_each_time(app, worker, provider):
    flow = flow_of(app, provider)
    provider.says["m1"] = [RateLimited() for _ in range(9)]
    run = flow.start(1)
    waits = []
    for _ in range(9):
        worker.run()
        waits.append(paused_s(app))
        app.clock.advance(waits[-1] + 1)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])
    worker.run()
    assert run.result(0) == ["m1"]
    provider.says["m1"] = [RateLimited()]
    flow.start(1)
    app.clock.advance(2)
    worker.run()
    assert paused_s(app) == pytest.approx(1), "an answer has ended what stood in a row"


def test_behind_a_pause_no_more_come_in_than_were_taken_before(app, provider):
    flow = flow_of(app, provider)
    workers = [Worker(app, str(i)) for i in range(4)]
    runs = [flow.start(1) for _ in range(12)]
    provider.says["m1"] = [Refused(429, "10")]
    starts = []
    for _ in range(400):
        before = len(provider.calls)
        while sum(one.turn() for one in workers):
            pass
        starts += [app.clock.now_ms()] * (len(provider.calls) - before)
        app.clock.advance(0.1)
    assert all(run.status == "succeeded" for run in runs)
    behind = [at - starts[0] for at in starts[1:]]
    assert min(behind) >= 10_000
    assert all(len([at for at in behind if begin <= at < begin + 1_000]) <= 3 for begin in range(0, 40_000, 100))


def test_a_step_with_another_argument_takes_it_at_once(app, worker, provider):
    flow = flow_of(app, provider, fallback={"model": ["m2", "m3"]})
    provider.says["m1"], provider.says["m2"] = [Refused(429, "30")], [Refused(429, "20")]
    run = flow.start(2)
    worker.run()
    assert run.result(0) == ["m3", "m3"]
    assert provider.calls == ["m1", "m2", "m3", "m3"]
    assert [(step.attempts, step.fallback) for step in run.steps()] == [(1, {"model": "m3"})] * 2
    assert list(run.usage().models) == ["m3"]
    app.clock.advance(31)
    again = flow.start(1)
    worker.run()
    assert again.result(0) == ["m1"]
    assert again.steps()[0].fallback is None


def test_where_all_are_paused_the_step_waits_for_its_own(app, worker, provider):
    flow = flow_of(app, provider, fallback={"model": ["m2"]})
    app.limits.pause("model:m1", 10)
    app.limits.pause("model:m2", 60)
    run = flow.start(1)
    worker.run()
    assert provider.calls == []
    assert run.info().waiting_for == ["limit model:m1"]
    app.clock.advance(11)
    worker.run()
    assert run.result(0) == ["m1"]


def test_a_step_that_is_sent_falls_back_too(app, worker, provider):
    @app.step(name="ask", limits=["model:{model}"], fallback={"model": ["m2"]})
    def ask(model: str) -> str:
        return provider.call(model)

    @app.workflow(name="flow")
    def flow() -> list[str]:
        return ctx.map(ask, ["m1", "m1"])

    provider.says["m1"] = [Refused(429, "30")]
    run = flow.start()
    worker.run()
    assert run.result(0) == ["m2", "m2"]


def test_a_choice_is_replayed_as_it_was(app, worker, provider):
    @app.step(name="ask", limits=["model:{model}"], fallback={"model": ["m2"]})
    def ask(model: str) -> str:
        return provider.call(model)

    @app.workflow(name="flow")
    def flow() -> str:
        found = ask("m1")
        ctx.sleep(60)
        return found

    app.limits.pause("model:m1", 30)
    run = flow.start()
    worker.run()
    app.clock.advance(61)
    worker.run()
    assert run.result(0) == "m2"
    assert provider.calls == ["m2"]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_another_argument_has_answered_is_no_memo_of_the_first(app, worker, provider, is_async):
    options = {"limits": ["model:{model}"], "fallback": {"model": ["m2"]}, "memo": True}

    if is_async:

        @app.step(name="ask", **options)
        async def ask(model: str) -> str:
            return provider.call(model)

        @app.workflow(name="flow")
        async def flow() -> str:
            return await ask("m1")

    else:

        @app.step(name="ask", **options)
        def ask(model: str) -> str:
            return provider.call(model)

        @app.workflow(name="flow")
        def flow() -> str:
            return ask("m1")

    app.limits.pause("model:m1", 30)
    found = []
    for _ in range(3):
        run = flow.start()
        worker.run()
        found.append((run.result(0), run.steps()[0].memo))
        app.clock.advance(31)
    assert found == [("m2", False), ("m1", False), ("m1", True)]


# -- failing ---------------------------------------------------------------------------------------------------------


def test_an_outage_is_probed_and_not_hammered(app, provider):
    flow = flow_of(app, provider, retries=100, backoff=0)
    provider.down.add("m1")
    workers = [Worker(app, str(i)) for i in range(4)]
    runs = [flow.start(1) for _ in range(10)]
    for _ in range(120):
        while sum(one.turn() for one in workers):
            pass
        app.clock.advance(1)
    # Five failures, then pauses of 1, 2, 4, 8, 16, 32, 60 seconds with a probe behind each.
    assert 5 < len(provider.calls) <= 13
    provider.down.clear()
    for _ in range(120):
        while sum(one.turn() for one in workers):
            pass
        app.clock.advance(1)
    assert all(run.status == "succeeded" for run in runs)


def test_in_an_outage_the_second_model_takes_over_and_the_first_comes_back(app, worker, provider):
    flow = flow_of(app, provider, retries=5, backoff=0, fallback={"model": ["m2"]})
    provider.down.add("m1")
    run = flow.start(20)
    worker.run()
    assert run.result(0) == ["m2"] * 20
    assert provider.calls.count("m1") == 5
    app.clock.advance(2)
    run = flow.start(2)
    worker.run()
    assert run.result(0) == ["m2", "m2"], "the probe that failed is no failure of its run"
    assert provider.calls.count("m1") == 6
    provider.down.clear()
    app.clock.advance(61)
    run = flow.start(2)
    worker.run()
    assert run.result(0)[0] == "m1"


def test_one_probe_at_a_time(app, provider):
    flow = flow_of(app, provider, fallback={"model": ["m2"]})
    for _ in range(5):
        app.storage.runs.failed(["model:m1"])
    app.clock.advance(2)
    inside = []

    def probing(model):
        if not inside:
            inside.append(model)
            Worker(app, "other").run()
            inside.append("out")
        return model

    provider.call = probing
    one, two = flow.start(1), flow.start(1)
    Worker(app).run()
    assert sorted([one.result(0), two.result(0)]) == [["m1"], ["m2"]]
    assert inside == ["m1", "out"]


@pytest.mark.parametrize("error", [Refused(400), Refused(404), ValueError], ids=["400", "404", "own"])
def test_what_the_other_side_has_answered_is_no_outage(app, worker, provider, error):
    flow = flow_of(app, provider, give_up_on=(ValueError,))
    for _ in range(7):
        provider.says["m1"] = [error]
        flow.start(1)
        worker.run()
    assert len(provider.calls) == 7
    assert paused_s(app) is None


def test_a_success_between_failures_ends_the_row(app, worker, provider):
    flow = flow_of(app, provider)
    for said in ([ConnectionError()] * 4, [None], [ConnectionError()] * 4):
        for one in said:
            provider.says["m1"] = [one] if one is not None else []
            flow.start(1)
            worker.run()
    assert paused_s(app) is None
    assert len(provider.calls) == 9


def test_a_probe_that_is_killed_blocks_nobody(app, worker, provider):
    flow = flow_of(app, provider)
    for _ in range(5):
        app.storage.runs.failed(["model:m1"])
    app.clock.advance(2)
    provider.says["m1"] = [Killed()]
    run = flow.start(1)
    worker.run()
    for _ in range(3):
        app.clock.advance(1.1)
        worker.run()
    assert run.result(0) == ["m1"]


# -- tokens of models ------------------------------------------------------------------------------------------------


def test_a_limit_of_tokens_is_settled_by_what_was_spent(app, worker, provider):
    flow = flow_of(app, provider)
    app.limits.set("model:*", tokens="200/m")
    runs = [flow.start(1) for _ in range(4)]
    worker.run()
    # Each takes a hundred: two of a minute's two hundred, then one for each half of a minute.
    assert len(provider.calls) == 2
    app.clock.advance(29)
    worker.run()
    assert len(provider.calls) == 2
    app.clock.advance(2)
    worker.run()
    assert len(provider.calls) == 3
    app.clock.advance(31)
    worker.run()
    assert all(run.status == "succeeded" for run in runs)
    assert app.limits.get("model:m1").tokens == "200/m"


@pytest.mark.parametrize("options", [{}, {"tx": True}])
def test_an_estimate_of_tokens_is_corrected(app, worker, provider, options):
    flow = flow_of(app, provider, spends={"tokens": 200}, **options)
    app.limits.set("model:*", tokens="200/m")
    run = flow.start(2)
    worker.run()
    assert len(provider.calls) == 1, "two hundred are to be there, and one hundred are left"
    app.clock.advance(31)
    worker.run()
    assert run.result(0) == ["m1", "m1"]


@pytest.mark.parametrize("tokens", ["200", "k/m", "200k/y", "-5/m", "0/m"])
def test_what_is_no_amount_of_tokens_is_refused(app, tokens):
    with pytest.raises(ValueError, match="200k/m"):
        app.limits.set("model:m1", tokens=tokens)


def test_limits_and_budgets_are_taken_together_or_not_at_all(app, worker, provider):
    flow = flow_of(app, provider, spends="1").options(budget=Budget(cost="1"))
    app.limits.pause("model:m1", 30)
    run = flow.start(1)
    worker.run()
    assert run.info().waiting_for == ["limit model:m1"]
    with app.storage.driver.read() as tx:
        assert tx.execute("SELECT sum(held) FROM liteq_run_budgets") == [(0,)]
    app.clock.advance(31)
    worker.run()
    assert run.result(0) == ["m1"]
