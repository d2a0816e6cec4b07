"""The part of history that a body has passed, where it holds a map, a branch or a call with a key and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from liteq.workflow import actx, ctx
from tests.integration.runs import Worker


class Code:
    """The code of the workflows below: "old", or "new" after a deploy."""

    age = "old"


@pytest.fixture
def code():
    return Code()


@pytest.fixture
def double(app):
    @app.step(name="double")
    def double(n: int) -> int:
        return 2 * n

    return double


def mapped(code, double):
    def body() -> str:
        found = ctx.patched("early") if code.age == "new" else None
        ctx.emit("told", "begun")
        ctx.map(double, [1, 2])
        return f"{code.age} {found}"

    return body


def branched(code, double):
    async def branch() -> None:
        double(1)
        await actx.sleep(1)

    async def body() -> str:
        found = actx.patched("early") if code.age == "new" else None
        await actx.emit("told", "begun")
        await asyncio.gather(branch(), branch())
        return f"{code.age} {found}"

    return body


def keyed(code, double):
    def body() -> str:
        found = ctx.patched("early") if code.age == "new" else None
        ctx.emit("told", "begun")
        double.options(key="one")(1)
        ctx.wait_event("go", timeout=1, default=None, key="go")
        return f"{code.age} {found}"

    return body


@pytest.mark.parametrize("make", [mapped, branched, keyed])
def test_what_comes_before_a_map_a_branch_or_a_key_has_been_passed(app, code, double, make):
    flow = app.workflow(name="passes")(make(code, double))
    old = flow.start()
    worker = Worker(app)
    worker.turn()
    assert old.status == "waiting"
    code.age = "new"
    app.clock.advance(1)
    worker.run()
    assert old.result(0) == "new False"
    assert [chunk.data for chunk in old.stream("told")] == ["begun"]
    new = flow.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert new.result(0) == "new True"


@pytest.mark.parametrize("other", [True, False])
def test_a_map_that_is_gone_parks_the_run(app, code, double, other):
    @app.workflow(name="gone")
    def gone() -> None:
        if code.age == "old":
            ctx.map(double, [1, 2])
        elif other:
            double(1)

    run = gone.start()
    worker = Worker(app)
    worker.turn()
    code.age = "new"
    worker.run()
    assert run.status == "stuck"
    found = "step 'double'" if other else "the end of the body"
    assert "map 'double'" in run.info().error
    assert found in run.info().error


def test_a_call_with_a_key_that_is_gone_leaves_nothing_behind_it_silent(app, code, double):
    @app.workflow(name="lasts")
    def lasts() -> list[bool]:
        if code.age == "old":
            double.options(key="one")(1)
        ctx.sleep(1)
        ctx.sleep(1)
        return [ctx.replaying, ctx.patched("late")]

    run = lasts.start()
    worker = Worker(app)
    worker.run()
    code.age = "new"
    for _ in range(2):
        app.clock.advance(1)
        worker.run()
    assert run.result(0) == [False, True]
