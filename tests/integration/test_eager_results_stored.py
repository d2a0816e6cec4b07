"""`task_store_eager_result`: what an eager task came to is in the file, as that of a worker."""

from __future__ import annotations

import pytest

from liteq import LiteQ


@pytest.fixture
def app(tmp_path):
    with LiteQ("it", broker=f"sqlite:///{tmp_path}/q.db", task_always_eager=True, task_store_eager_result=True) as app:

        @app.task(name="add")
        def add(x, y):
            return x + y

        @app.task(name="fail")
        def fail():
            raise ValueError("broken")

        yield app


@pytest.mark.celery("Configuration", "`task_store_eager_result`: the result of an eager task is found by its id")
def test_the_result_of_an_eager_task_is_found_by_its_id(app):
    done = app.AsyncResult(app.tasks["add"].delay(2, 3).id)
    assert (done.state, done.get(timeout=60), done.name) == ("SUCCESS", 5, "add")
    failed = app.AsyncResult(app.tasks["fail"].delay().id)
    assert failed.state == "FAILURE"
    assert "ValueError: broken" in failed.traceback
    with pytest.raises(ValueError, match="broken"):
        failed.get(timeout=60)


def test_it_is_not_stored_where_nobody_asked_for_it(app):
    ignored = app.tasks["add"].apply_async((2, 3), ignore_result=True)
    assert app.AsyncResult(ignored.id).state == "PENDING"
    app.conf.task_store_eager_result = False
    assert app.AsyncResult(app.tasks["add"].delay(2, 3).id).state == "PENDING"
