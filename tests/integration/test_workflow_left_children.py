"""Tasks that a run has started and that execute when it ends: they run to their end, and not once more."""

from __future__ import annotations

from typing import Any

import pytest

from liteq import LiteQ
from liteq.message import Release
from liteq.serialization import encode_error
from liteq.workflow import ctx
from tests.integration.runs import Worker

from .engines import on_both_engines


@pytest.mark.parametrize("again", ["it retries", "its process dies", "it is handed back"])
@on_both_engines
def test_a_child_that_executes_when_its_run_ends_does_not_run_again(app: LiteQ, again: str) -> None:
    """One that looks again and again for something did so for ever."""
    ran: list[int] = []

    @app.task(bind=True, max_retries=None)
    def looks(self: Any) -> None:
        ran.append(self.request.retries)
        raise self.retry(countdown=1)

    @app.workflow
    def parent() -> None:
        ctx.call(looks)

    run = parent.start()
    worker = Worker(app)
    worker.turn()
    lease = worker.claim()
    assert lease is not None
    run.cancel("enough")
    worker.turn()
    assert run.status == "cancelled"
    crash = Release(crashed=True, error=encode_error(RuntimeError("killed")))
    outcome = {"it retries": worker.execute, "its process dies": lambda _: crash}.get(again, lambda _: Release())(lease)
    assert app.storage.settle([(lease, outcome)]) == []
    app.clock.advance(2)
    worker.run()
    assert app.AsyncResult(lease.id).state == "REVOKED"
    assert ran == [0] * (again == "it retries")


@on_both_engines
def test_a_child_that_executes_when_its_run_ends_does_not_replace_itself(app: LiteQ) -> None:
    ran: list[str] = []

    @app.task
    def note() -> None:
        ran.append("note")

    @app.task(bind=True)
    def becomes(self: Any) -> None:
        raise self.replace(note.si())

    @app.workflow
    def parent() -> None:
        ctx.call(becomes)

    run = parent.start()
    worker = Worker(app)
    worker.turn()
    lease = worker.claim()
    assert lease is not None
    run.terminate()
    app.storage.settle([(lease, worker.execute(lease))])
    worker.run()
    assert app.AsyncResult(lease.id).state == "REVOKED"
    assert ran == []


@on_both_engines
def test_a_dead_letter_of_such_a_child_that_is_requeued_retries_as_any(app: LiteQ) -> None:
    ran: list[int] = []

    @app.task(bind=True)
    def looks(self: Any) -> int:
        ran.append(self.request.retries)
        if len(ran) == 1:
            raise ValueError("no")
        if len(ran) == 2:
            raise self.retry(countdown=1)
        return 7

    @app.workflow
    def parent() -> None:
        ctx.call(looks)

    run = parent.start()
    worker = Worker(app)
    worker.turn()
    lease = worker.claim()
    assert lease is not None
    run.terminate()
    app.storage.settle([(lease, worker.execute(lease))])
    assert app.storage.dead.requeue([lease.id]) == [lease.id]
    worker.run()
    app.clock.advance(2)
    worker.run()
    assert app.AsyncResult(lease.id).result == 7
