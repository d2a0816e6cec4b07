"""Runs that are imported with their children, or without them: a call waits for a child that is there, and no other."""

from __future__ import annotations

import pytest

from liteq.exceptions import WorkflowError
from liteq.monitor.runs.run_export import exported
from liteq.workflow import ctx

from .runs import Worker, new_app


def declared(app):
    @app.workflow(name="child")
    def child() -> int:
        return ctx.wait_event("go")

    @app.workflow(name="parent")
    def parent() -> int:
        return 1 + ctx.call(child)

    return parent


@pytest.fixture
def documents(app, worker):
    """The parent's, and the child's."""
    run = declared(app).start()
    worker.run()
    (child,) = [one for one in app.runs() if one.id != run.id]
    return [exported(app, run.id), exported(app, child.id)]


@pytest.fixture
def there(tmp_path):
    with new_app(tmp_path, broker=f"sqlite:///{tmp_path}/there.db") as there:
        declared(there)
        there.storage.migrate()
        yield there


@pytest.mark.parametrize("first", ["parent", "child"])
def test_the_end_of_an_imported_child_is_told_to_its_parent(documents, there, first):
    bring = there.storage.runs.bring
    if first == "parent":
        parent, child = map(bring, documents)
    else:
        child, parent = map(bring, reversed(documents))
    for id_ in (parent, child):
        assert there.Run(id_).resume()
    Worker(there).run()
    there.Run(child).send("go", 1)
    Worker(there).run()
    assert there.Run(parent).result(0) == 2


def test_the_end_of_a_child_that_is_there_already_is_told(app, worker, documents, there):
    parent, child = documents
    app.Run(child["message"]["id"]).send("go", 1)
    worker.run()
    there.storage.runs.bring(exported(app, child["message"]["id"]))
    run = there.Run(there.storage.runs.bring(parent))
    run.resume()
    Worker(there).run()
    assert run.result(0) == 2


def test_a_call_of_an_imported_run_whose_child_is_not_there_fails(documents, there):
    run = there.Run(there.storage.runs.bring(documents[0]))
    assert run.resume()
    Worker(there).run()
    with pytest.raises(WorkflowError, match="import a run with its children"):
        run.result(0)


def test_no_worker_tries_an_imported_run_before_it_is_resumed(documents, there):
    """It may run still where it comes from."""
    run = there.Run(there.storage.runs.bring(documents[1]))
    worker = Worker(there)
    there.Run(run.id).send("go", 1)
    claim = {"worker": worker.number, "limit": 10, "visibility_s": 60}
    assert there.storage.runs.claim_stuck(["celery"], fingerprint="ours", **claim) == []
    worker.run()
    assert run.status == "stuck"
    assert run.resume()
    worker.run()
    assert run.result(0) == 1
