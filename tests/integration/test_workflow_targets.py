"""Handles that are named twice, and options of a target that a call of it has no use for."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from liteq import LiteQ
from liteq.exceptions import WorkflowError
from liteq.testing import WorkflowTest
from liteq.workflow import actx, ctx
from tests.integration.runs import Worker

from .engines import on_both_engines


@on_both_engines
def test_a_handle_that_is_named_twice_is_waited_for_once(app: LiteQ) -> None:
    """A gather of it waited for ever."""

    @app.task
    def work() -> int:
        return 1

    @app.workflow
    def flow() -> list[int]:
        handle = ctx.spawn(work)
        return ctx.gather([handle, handle])

    run, worker = flow.start(), Worker(app)
    worker.run()
    assert run.result(0) == [1, 1]


@on_both_engines
def test_an_event_that_is_named_twice_in_a_race_is_taken_once(app: LiteQ) -> None:
    """The one that had won the race was given to the next wait, too."""

    @app.workflow
    def flow() -> list[object]:
        event = ctx.event("go")
        return [ctx.race([event, event])[0], ctx.wait_event("go", timeout="1m", default="none")]

    run, worker = flow.start(), Worker(app)
    worker.run()
    run.send("go")
    worker.run()
    app.clock.advance(60)  # type: ignore[attr-defined]
    worker.run()
    assert run.result(0) == [0, "none"]


@pytest.mark.parametrize("options", [{"on_conflict": "existing"}, {"event": ("go", 1)}])
def test_options_of_a_start_alone_are_refused_where_they_had_no_effect(app: LiteQ, options: dict[str, object]) -> None:
    @app.workflow
    def child(n: int) -> int:
        return n

    asked = child.options(**options)  # type: ignore[arg-type]

    @app.workflow
    def flow() -> None:
        ctx.call(asked, 1)

    run, worker = flow.start(), Worker(app)
    worker.run()
    with pytest.raises(WorkflowError, match=r"on_conflict= and event= are for `start\(\)`"):
        run.result(0)
    with pytest.raises(WorkflowError, match=r"are for start\(\)"):
        asked.s(1)


def test_a_map_under_one_id_is_refused(app: LiteQ) -> None:
    @app.workflow
    def child(n: int) -> int:
        return n

    @app.workflow
    def flow() -> None:
        ctx.map(child.options(id="one"), [1, 2])

    run, worker = flow.start(), Worker(app)
    worker.run()
    with pytest.raises(WorkflowError, match="one id is for one: leave id='one' out"):
        run.result(0)


def test_a_part_of_a_canvas_keeps_its_expires(app: LiteQ) -> None:
    @app.workflow
    def flow() -> None: ...

    assert flow.options(expires="1m").s().options["expires"] == 60


OWN_NAMES = {"target": 1, "scope": 2, "what": 3, "function": 4, "machine": 5, "fn": 6}


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_argument_may_have_the_name_of_one_of_a_call_of_ctx(app: LiteQ, kind: str) -> None:
    """The call was refused: it took the argument for its own."""

    @app.task
    def work(target: int, scope: int, what: int, function: int, machine: int, fn: int) -> list[int]:
        return [target, scope, what, function, machine, fn]

    undone: list[dict[str, int]] = []

    def undo(**names: int) -> None:
        undone.append(names)

    def ran(fn: int) -> int:
        return fn

    @app.workflow
    def plain() -> list[object]:
        with contextlib.suppress(ZeroDivisionError), ctx.saga() as saga:
            saga.add(undo, **OWN_NAMES)
            raise ZeroDivisionError
        return [ctx.call(work, **OWN_NAMES), ctx.spawn(work, **OWN_NAMES).result(), ctx.run(ran, fn=7)]

    @app.workflow
    async def in_loop() -> list[object]:
        with contextlib.suppress(ZeroDivisionError):
            async with actx.saga() as saga:
                saga.add(undo, **OWN_NAMES)
                raise ZeroDivisionError
        handle = await actx.spawn(work, **OWN_NAMES)
        return [await actx.call(work, **OWN_NAMES), await handle.result(), await actx.run(ran, fn=7)]

    run, worker = (plain if kind == "plain" else in_loop).start(), Worker(app)
    worker.run()
    assert run.result(0) == [[1, 2, 3, 4, 5, 6]] * 2 + [7]
    assert undone == [OWN_NAMES]


def test_an_argument_of_a_workflow_in_a_test_may_be_called_flow(app: LiteQ) -> None:
    @app.workflow
    def echo(flow: int) -> int:
        return flow

    with WorkflowTest(app) as test:
        assert test.run(echo, flow=7) == 7
        assert test.start(echo, flow=8).result() == 8
    assert asyncio.run(WorkflowTest(app).arun(echo, flow=9)) == 9
