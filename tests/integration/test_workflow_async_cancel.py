"""A cancel of an async body that has made several calls at once: each keeps its place, and the clean-up its own."""

from __future__ import annotations

import asyncio

import pytest

from liteq.workflow import actx
from tests.integration.runs import Killed


@pytest.fixture
def undone(app):
    """A list of what was undone; the first attempt at the second one kills the process."""
    undone = []

    @app.step(name="undo")
    def undo(n: int) -> None:
        undone.append(n)
        if undone == [2, 1]:
            raise Killed

    return undone


def flow_of(app, calls, **options):
    undo = app.steps_of_workflows["undo"]

    @app.workflow(name="flow", **options)
    async def flow() -> None:
        async with actx.saga() as saga:
            for n in (1, 2):
                saga.add(undo, n)
            await calls()

    return flow


@pytest.mark.parametrize("ends", ["cancel", "timeout"])
def test_waits_that_were_begun_at_once(app, worker, undone, ends):
    run = flow_of(app, lambda: asyncio.gather(actx.sleep("1d"), actx.wait_event("go")), timeout=60).start()
    worker.run()
    if ends == "cancel":
        run.cancel()
    else:
        app.clock.advance(61)
    worker.run()
    assert undone == [2, 1, 1]
    assert run.status == ("cancelled" if ends == "cancel" else "failed")


def test_steps_that_were_called_at_once_when_the_cancel_was_known(app, worker, undone):
    runs = []

    @app.step(name="work")
    async def work(n: int) -> int:
        if n == 0:
            runs[0].cancel()
        return n

    async def calls() -> None:
        await work(0)
        await asyncio.gather(work(1), work(2))

    runs.append(flow_of(app, calls).start())
    worker.run()
    assert undone == [2, 1, 1]
    assert runs[0].status == "cancelled"
