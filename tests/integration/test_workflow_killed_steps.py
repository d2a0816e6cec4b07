"""A step whose process was killed at its timeout: it is tried again as after any other failure."""

from __future__ import annotations

import pytest

from liteq.exceptions import StepTimeout
from liteq.worker.pool.page import Page
from liteq.worker.pool.runs import timed_out
from liteq.workflow import ctx
from liteq.workflow.activating.activation import activate

from .runs import Killed


class Killing:
    """Executes what is due; the parent of a process that ends writes what is its part."""

    def __init__(self, app, worker):
        self.app, self.worker = app, worker

    def run(self):
        while (lease := self.worker.claim()) is not None:
            page = Page(shared=False)
            page.token = lease.token
            seen = []
            end = page.end

            def ended(slot, page=page, seen=seen, end=end):
                seen[:] = page.steps()
                end(slot)

            page.end = ended
            try:
                outcome = activate(self.app, lease, page=page)
            except Killed:
                outcome = timed_out(seen[0], self.app.clock.now_ms())
            self.app.storage.settle([(lease, outcome)])


@pytest.fixture
def killing(app, worker):
    return Killing(app, worker)


def flow_of(app, **options):
    attempts = []

    @app.step(name="hangs", timeout=60, **options)
    def hangs() -> int:
        attempts.append(ctx.attempt)
        if len(attempts) < 3:
            raise Killed
        return ctx.attempt

    @app.workflow(name="flow")
    def flow() -> int:
        return hangs()

    return flow, attempts


@pytest.mark.parametrize("options", [{"give_up_on": (StepTimeout,)}, {"retry_on": (ConnectionError,)}])
def test_it_is_not_tried_again_where_its_timeout_is_no_reason_to(app, killing, options):
    flow, attempts = flow_of(app, retries=5, backoff=0, **options)
    run = flow.start()
    killing.run()
    with pytest.raises(StepTimeout):
        run.result(0)
    assert attempts == [1]


def test_the_next_attempt_waits_as_long_as_after_another_failure(app, killing):
    flow, attempts = flow_of(app, retries=5, backoff=lambda attempt: attempt * 10)
    run = flow.start()
    killing.run()
    assert (attempts, run.status) == ([1], "waiting")
    app.clock.advance(9)
    killing.run()
    assert attempts == [1]
    app.clock.advance(1)
    killing.run()
    assert attempts == [1, 2]
    app.clock.advance(19)
    killing.run()
    assert attempts == [1, 2]
    app.clock.advance(1)
    killing.run()
    assert (attempts, run.result(0)) == ([1, 2, 3], 3)


def test_after_the_last_attempt_it_has_failed(app, killing):
    flow, attempts = flow_of(app, retries=1, backoff=0)
    run = flow.start()
    killing.run()
    with pytest.raises(StepTimeout):
        run.result(0)
    assert attempts == [1, 2]
