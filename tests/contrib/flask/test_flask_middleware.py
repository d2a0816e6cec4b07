"""liteq_flask's context is a middleware: around tasks, runs and steps; no teardown function fails one."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, current_app

from liteq import Middleware
from liteq.testing import drain
from liteq_flask import LiteQ
from liteq_flask.app import AppContext


@pytest.fixture
def queue(tmp_path):
    app = Flask("shop", instance_path=str(tmp_path))
    with LiteQ(app) as made:
        yield made


def test_it_is_the_outermost_so_others_have_the_context(queue):
    seen = []

    class Naming(Middleware):
        def on_execute(self, execution, run):
            seen.append(current_app.name)
            return run(execution)

    queue.middleware.add(Naming())
    queue.task(name="idle")(lambda: None).delay()
    drain(queue)
    assert isinstance(next(iter(queue.middleware)), AppContext)
    assert seen == ["shop"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_teardown_function_raises_is_logged_and_the_outcome_stands(queue, caplog, fails):
    @queue.flask_app.teardown_appcontext
    def torn(exc):
        raise RuntimeError("cannot close")

    @queue.task(name="done")
    def done() -> str:
        if fails:
            raise LookupError("not there")
        return "done"

    result = done.delay()
    with caplog.at_level(logging.ERROR):
        drain(queue)
    assert "the task's outcome stands" in caplog.text
    if fails:
        with pytest.raises(LookupError):
            result.get(timeout=0)
    else:
        assert result.get(timeout=0) == "done"


@pytest.mark.parametrize("sent", [False, True])
def test_runs_and_steps_have_the_context(queue, sent):
    from liteq.workflow import ctx

    @queue.step(name="named")
    async def named_async() -> str:
        return current_app.name

    @queue.step(name="plain")
    def plain() -> str:
        return current_app.name

    @queue.workflow(name="whole")
    def whole() -> list[str]:
        return [current_app.name, plain(), ctx.call(named_async if sent else plain)]

    run = whole.start()
    drain(queue)
    assert run.get(timeout=0) == ["shop"] * 3
