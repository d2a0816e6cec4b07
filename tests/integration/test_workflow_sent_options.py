"""Options of one call of a step that is sent: they go with its message, or are refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import StepTimeout, WorkflowError
from liteq.testing import WorkflowTest
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker

from .engines import on_both_engines


@on_both_engines
def test_the_options_of_a_call_hold_where_the_step_is_sent(app: LiteQ) -> None:
    """They held for a step in the body alone: one that was sent had the options of its declaration, without a word."""
    tries: dict[str, int] = {}

    @app.step
    def flaky(name: str) -> int:
        tries[name] = tries.get(name, 0) + 1
        if tries[name] < 3:
            raise ValueError(name)
        return tries[name]

    again = flaky.options(retries=2, backoff=(0.0, 0.0))

    @app.workflow
    def flow() -> list[Any]:
        return [ctx.call(again, "a"), ctx.spawn(again, "b").result(), *ctx.map(again, ["c", "d"])]

    run, worker = flow.start(), Worker(app)
    worker.run()
    assert run.result(0) == [3, 3, 3, 3]


@on_both_engines
def test_a_sent_step_that_is_to_be_asked_about_is_not_repeated(app: LiteQ) -> None:
    kill = [True]

    @app.step
    def pay() -> str:
        if kill.pop() if kill else False:
            raise Killed
        return "paid twice"

    @app.workflow
    def flow() -> str:
        return ctx.call(pay.options(doubt="ask"))  # type: ignore[no-any-return]

    run, worker = flow.start(), Worker(app)
    worker.run()
    (step,) = run.steps()
    sent = app.Run(str(step.child_id))
    (asked,) = sent.approvals()
    assert sent.approve(asked.title, data={"answer": "done", "result": "paid"})
    worker.run()
    assert run.result(0) == "paid"


def test_a_timeout_of_a_call_holds_where_the_step_is_sent(app: LiteQ) -> None:
    @app.step(timeout="1h")
    def slow() -> None:
        for _ in range(60_000):
            time.sleep(0.001)

    @app.workflow
    def flow() -> None:
        ctx.call(slow.options(timeout="10ms"))

    with WorkflowTest(app) as t, pytest.raises(StepTimeout):
        t.run(flow)


@pytest.mark.parametrize("options", [{"backoff": float}, {"doubt": lambda key: None}, {"limits": [lambda: "k"]}])
def test_a_function_does_not_go_with_a_step_that_is_sent(app: LiteQ, options: dict[str, Any]) -> None:
    @app.step
    def work() -> int:
        return 1

    own = work.options(**options)

    @app.workflow
    def here() -> int:
        return own()

    @app.workflow
    def flow() -> None:
        ctx.call(own)

    with WorkflowTest(app) as t:
        assert t.run(here) == 1
        with pytest.raises(WorkflowError, match="cannot go with it to another process"):
            t.run(flow)
