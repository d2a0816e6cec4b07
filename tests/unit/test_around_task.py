"""`LiteQ.around_task`: what an integration puts around each execution of a task."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from liteq import LiteQ
from liteq.signals import task_postrun, task_prerun
from liteq.testing import drain


class Surrounding(LiteQ):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.seen: list[object] = []
        self.open = False
        self.refuses = self.fails_to_close = False

    @contextmanager
    def around_task(self, task, request):
        if self.refuses:
            raise ConnectionError("no database")
        self.open = True
        try:
            yield
        except BaseException as exc:
            self.seen.append(type(exc).__name__)
            raise
        else:
            self.seen.append("well")
        finally:
            self.open = False
            if self.fails_to_close:
                raise RuntimeError("cannot close")


@pytest.fixture
def app(tmp_path):
    with Surrounding("around", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="is_open")
        def is_open() -> bool:
            return made.open

        @made.task(name="is_open_async")
        async def is_open_async() -> bool:
            return made.open

        yield made


@pytest.mark.parametrize("name", ["is_open", "is_open_async"])
def test_the_body_runs_inside(app, name):
    result = app.tasks[name].delay()
    drain(app)
    assert result.get(timeout=0) is True
    assert (app.open, app.seen) == (False, ["well"])
    assert app.tasks[name].apply().get() is True


def test_hooks_and_signals_run_inside(app):
    inside = []

    def note(**_named):
        inside.append(app.open)

    class Hooked(app.Task):
        def on_success(self, *args):
            note()

        def after_return(self, *args):
            note()

    @app.task(name="hooked", base=Hooked)
    def hooked():
        note()

    task_prerun.connect(note)
    task_postrun.connect(note)
    hooked.delay()
    drain(app)
    assert inside == [True] * 5


def test_it_is_left_with_what_the_task_raised_and_cannot_change_that(app):
    @app.task(name="fails")
    def fails():
        raise ValueError("mine")

    @app.task(name="retries", bind=True)
    def retries(self):
        raise self.retry(countdown=60)

    failed, retried = fails.delay(), retries.delay()
    drain(app)
    assert app.seen == ["ValueError", "Retry"]
    assert (failed.state, retried.state) == ("FAILURE", "RETRY")
    assert "_surrounded" not in failed.traceback


def test_when_it_cannot_be_entered_the_task_fails_and_is_retried_as_it_says(app):
    @app.task(name="patient", autoretry_for=(ConnectionError,), default_retry_delay=0)
    def patient():
        return "done"

    app.refuses = True
    plain, later = app.tasks["is_open"].delay(), patient.apply_async()
    drain(app)
    assert plain.state == "FAILURE"
    with pytest.raises(ConnectionError, match="no database"):
        plain.get(timeout=0)
    assert later.state in {"RETRY", "FAILURE"}
    assert later.retries >= 1


def test_when_it_cannot_be_left_that_is_logged_and_the_outcome_stands(app, caplog):
    app.fails_to_close = True
    result = app.tasks["is_open"].delay()
    drain(app)
    assert result.get(timeout=0) is True
    assert "the task's outcome stands" in caplog.text
