"""The result of a step that other code has recorded, and this code cannot read: the run waits for code that can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from liteq.monitor.runs.run_replay import compared
from liteq.workflow import actx, ctx

from .runs import Worker, new_app


@dataclass
class Price:
    amount: int


def declared(app, kind: Any, undone: list[int], *, is_async: bool):
    def load():
        return 5

    async def aload():
        return 5

    function = aload if is_async else load
    function.__annotations__["return"] = kind
    step = app.step(name="load")(function)

    @app.step(name="undo")
    def undo(n: int) -> None:
        undone.append(n)

    def plain() -> str:
        with ctx.saga() as saga:
            saga.add(undo, 1)
            found = step()
            ctx.wait_event("go")
        return str(found)

    async def asynchronous() -> str:
        async with actx.saga() as saga:
            saga.add(undo, 1)
            found = await step()
            await actx.wait_event("go")
        return str(found)

    return app.workflow(name="flow")(asynchronous if is_async else plain)


@pytest.mark.parametrize("is_async", [False, True])
def test_the_run_is_stuck_and_nothing_is_undone(app, worker, tmp_path, is_async):
    undone: list[int] = []
    run = declared(app, int, undone, is_async=is_async).start()
    worker.run()
    with new_app(tmp_path, broker=app.conf.broker_url) as other:
        declared(other, Price, undone, is_async=is_async)
        assert not compared(other, other.storage.runs.find(run.id))["ok"]
        run.send("go")
        Worker(other).run()
        assert (run.status, undone) == ("stuck", [])
        assert "recorded as call 1 of run" in run.info().error
    assert run.resume()
    worker.run()
    assert (run.result(0), undone) == ("5", [])
