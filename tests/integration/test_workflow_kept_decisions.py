"""A decision of a body, as ctx.patched(), rides in the next record, whichever that is: no kill behind it flips it."""

from __future__ import annotations

import pytest

from liteq.worker.pool.page import Page
from liteq.worker.pool.runs import timed_out
from liteq.workflow import ctx
from liteq.workflow.activating.activation import activate

from .runs import Killed, killed_at


@pytest.fixture
def double(app):
    @app.step(name="double")
    def double(n: int) -> int:
        return 2 * n

    return double


def by_an_event(double):
    ctx.wait_event("go")


def by_a_map(double):
    ctx.map(double, [1])


@pytest.mark.parametrize(("verb", "body"), [("take_event", by_an_event), ("spawn", by_a_map)])
def test_a_kill_behind_the_record_that_follows_flips_no_decision(app, worker, double, verb, body):
    found = []

    @app.workflow(name="patches")
    def patches() -> bool:
        handle = ctx.spawn(double, 1)
        ctx.sleep(1)
        decided = [ctx.patched("new"), handle.done]
        found.append(decided)
        body(double)
        return decided == [True, True]

    run = patches.start()
    run.send("go")
    worker.run()
    app.clock.advance(1)
    with killed_at(app, 1, before=False, verbs=(verb,)):
        worker.turn()
    worker.run()
    assert run.result(0)
    assert found[:2] == [[True, True]] * 2


def test_what_is_decided_before_a_step_that_is_killed_at_its_timeout_stays(app, worker):
    found = []

    @app.step(name="hangs", timeout=60, retries=1, backoff=0)
    def hangs() -> None:
        if len(found) == 1:
            raise Killed

    @app.workflow(name="patches")
    def patches() -> bool:
        decided = ctx.patched("new")
        found.append(decided)
        hangs()
        return decided

    run = patches.start()
    lease = worker.claim()
    page = Page(shared=False)
    page.token = lease.token
    seen = []
    page.end = lambda slot: seen.extend(page.steps())  # as its parent sees it
    with pytest.raises(Killed):
        activate(app, lease, page=page)
    app.storage.settle([(lease, timed_out(seen[0], app.clock.now_ms()))])
    worker.run()
    assert run.result(0)
    assert found == [True, True]
