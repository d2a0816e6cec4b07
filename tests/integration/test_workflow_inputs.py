"""The copies of a run have the result that it was called with, as a link of a chain, and its limits."""

from __future__ import annotations

import pytest

from liteq import chain
from liteq.exceptions import WorkflowError
from liteq.monitor.runs.run_export import exported
from liteq.monitor.runs.run_replay import compared
from liteq.serialization import decode
from liteq.workflow import ctx
from tests.integration.runs import Worker, new_app

from .engines import on_both_engines


def declared(app, times: int = 2):
    """The workflow of a link, in `app`, which multiplies in its step."""

    @app.task(name="five")
    def five() -> int:
        return 5

    @app.step(name=f"times {times}")
    def multiplied(n: int) -> int:
        return times * n

    @app.workflow(name="link")
    def link(n: int) -> int:
        got: int = multiplied(n) + ctx.wait_event("more")
        return got

    return chain(five.s(), link.s())


def linked(app):
    """A run that was called with a result, and waits."""
    declared(app).apply_async()
    Worker(app).run()
    (run,) = app.runs()
    assert run.status == "waiting"
    return run


@on_both_engines
def test_a_fork_is_called_with_the_same_result(app):
    run = linked(app)
    fork = run.fork(1)
    fork.send("more", 100)
    Worker(app).run()
    assert fork.result(0) == 110


def test_a_run_whose_first_argument_is_not_there_yet_is_not_forked(app):
    declared(app).apply_async()
    (run,) = app.runs()
    with pytest.raises(WorkflowError, match="has not begun, and waits for its first argument"):
        run.fork(1)


def test_other_code_is_compared_with_its_history(app, tmp_path):
    run = linked(app)
    assert compared(app, app.storage.runs.find(run.id))["ok"]
    other = new_app(tmp_path, broker=app.conf.broker_url)
    declared(other, times=3)
    found = compared(other, other.storage.runs.find(run.id))
    other.close()
    assert (found["ok"], found["recorded"], found["found"]) == (False, "step 'times 2'", "step 'times 3'")


def test_it_goes_on_where_it_was_imported(app, tmp_path):
    document = exported(app, linked(app).id)
    there = new_app(tmp_path, broker=f"sqlite:///{tmp_path}/there.db")
    declared(there)
    run = there.Run(there.storage.runs.bring(document))
    run.resume()
    run.send("more", 100)
    Worker(there).run()
    assert run.result(0) == 110
    there.close()


def test_what_is_sensitive_behind_a_result_that_is_no_json_is_not_exported(tmp_path):
    pickles = {"result_serializer": "pickle", "result_accept_content": ["json", "pickle"], "pickle_key": "k" * 16}
    with new_app(tmp_path, **pickles) as app:

        @app.workflow(name="pays", sensitive=("card",))
        def pays(n: int, card: str) -> None:
            ctx.wait_event("more")

        app.storage.migrate()
        declared(app)
        id_ = chain(app.tasks["five"].s(), pays.s("4111 1111")).apply_async().id
        Worker(app).run()
        assert app.Run(id_).status == "waiting"
        document = exported(app, id_)
    assert decode(document["message"]["payload"]) == [["***"], {}]


@on_both_engines
def test_a_fork_is_under_the_limits_of_its_run(app):
    @app.workflow(name="asks", limits=["model:{name}"])
    def asks(name: str) -> str:
        return name

    app.limits.set("model:m1", concurrent=1)
    run, other = asks.start("m1"), Worker(app)
    other.run()
    asks.start("m1")
    lease = other.claim()
    fork = run.fork(1)
    worker = Worker(app)
    assert worker.run() == 0
    assert fork.status == "queued"
    app.storage.settle([(lease, other.execute(lease))])
    worker.run()
    assert fork.result(0) == "m1"
