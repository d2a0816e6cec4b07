"""The lines of a worker's log about runs: that it goes on, waits, was cancelled, has ended, and why."""

from __future__ import annotations

import logging

import pytest

from liteq.clock import from_ms
from liteq.monitor.runs.run_replay import compared
from liteq.workflow import actx, ctx


@pytest.fixture
def lines(caplog):
    """The lines since they were last asked for."""
    caplog.set_level(logging.INFO, "liteq")

    def lines() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return lines


def test_a_run_that_waits_goes_on_and_succeeds(app, worker, lines):
    @app.workflow(name="waits")
    def waits() -> str:
        ctx.wait_event("go", timeout="1h")
        return "done"

    run = waits.options(id="w").start()
    due = from_ms(app.clock.now_ms() + 3_600_000).isoformat(" ", "seconds")
    worker.run()
    assert lines() == [f"Workflow waits[w] waits for event go, until {due}"]
    app.clock.advance(2)
    run.send("go")
    worker.run()
    assert lines() == [
        "Workflow waits[w] goes on, with 1 call in its history",
        "Workflow waits[w] succeeded in 2.000s: 'done'",
    ]


def test_the_next_attempt_of_a_step_and_the_failure_say_why(app, worker, lines):
    @app.step(name="pay", retries=1, backoff=5)
    def pay() -> None:
        raise ConnectionError("no route")

    @app.workflow(name="pays")
    def pays() -> None:
        pay()

    pays.options(id="p").start()
    worker.run()
    assert "waits for attempt 2 of step pay (no route), until" in lines()[-1]
    app.clock.advance(6)
    worker.run()
    assert lines()[-1] == "Workflow pays[p] failed after 6.000s: ConnectionError: no route"


def test_a_run_that_is_cancelled_says_the_reason(app, worker, lines):
    @app.workflow(name="sleeps")
    def sleeps() -> None:
        ctx.sleep("1h")

    run = sleeps.options(id="s").start()
    worker.run()
    run.cancel("no longer needed")
    worker.run()
    assert lines()[-1] == "Workflow sleeps[s] was cancelled: no longer needed"


def test_of_thousands_of_waits_a_line_names_a_few(app, worker, lines):
    @app.step(name="one")
    def one(n: int) -> int:
        return n

    @app.workflow(name="many")
    def many() -> None:
        ctx.map(one, range(50))

    many.options(id="m").start()
    worker.turn()
    assert lines() == ["Workflow many[m] waits for map one, map one, map one, 47 more"]
    worker.run()
    assert lines()[0] == "Step one[{}] succeeded in 0.000s: 0".format(app.Run("m").steps()[0].child_id)


def test_a_comparison_with_history_says_nothing(app, worker, lines):
    @app.step(name="one")
    def one() -> None: ...

    @app.workflow(name="fails_late")
    def fails_late() -> None:
        one()
        raise ValueError("no")

    fails_late.options(id="f").start()
    worker.run()
    assert lines()[-1] == "Workflow fails_late[f] failed after 0.000s: ValueError: no"
    assert compared(app, app.storage.runs.find("f"))["ok"]
    assert lines() == []


def test_the_traceback_of_an_async_body_is_of_its_failure_alone(app, worker, caplog):
    @app.workflow(name="afails")
    async def afails() -> None:
        actx.now()
        raise ValueError("no")

    afails.options(id="f").start()
    worker.run()
    assert "During handling" not in caplog.text
    assert "During handling" not in app.AsyncResult("f").traceback
