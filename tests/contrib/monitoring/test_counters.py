"""Counters beside those of tasks, from workers that really run: ends of children, steps of runs, lost workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.message import WorkerIdentity
from liteq.metrics.reading import read
from liteq.testing import start_worker
from liteq.workflow import ctx

from ...integration.worker_process import Site, wait_for


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_a_child_that_is_killed_is_a_crash_and_one_that_has_done_its_tasks_is_not(site):
    site.worker("-c", "1", "-n", "w1@pod-7f9c", "--max-tasks-per-child", "1")
    site.get(site.send("add", 1, 2))
    site.error(site.send("die"))
    wait_for(lambda: read(site.app).child_exits.get(("w1", "crash")) == site.app.conf.max_crashes)
    assert set(read(site.app).child_exits) == {("w1", "crash"), ("w1", "replaced")}


def test_a_child_that_is_over_its_time_is_told_so(site):
    site.worker("-c", "1", "-n", "w1@pod-7f9c")
    site.error(site.send("nap", 30, time_limit=0.2))
    wait_for(lambda: read(site.app).child_exits == {("w1", "time_limit"): 1})


def test_steps_of_a_run_are_counted_when_it_has_ended(app):
    @app.step(name="shop.pack")
    def pack(n: int) -> int:
        return n

    @app.step(name="shop.fail", retries=0)
    def fail() -> None:
        raise ValueError("no")

    @app.step(name="shop.price", memo=True)
    def price(item: str) -> int:
        return 7

    @app.workflow(name="shop.order")
    def order() -> int:
        try:
            fail()
        except ValueError:
            pass
        return pack(1) + pack(2) + price("a")

    with start_worker(app):
        for _ in range(2):
            assert order.delay().get(timeout=60) == 10
        wait_for(lambda: read(app).steps.get(("shop.order", "succeeded")) == 6)
    facts = read(app)
    assert facts.steps == {("shop.order", "succeeded"): 6, ("shop.order", "failed"): 2}
    assert facts.memo == {"hit": 1}


def test_unfinished_runs_are_told_by_workflow_and_state(app):
    @app.workflow(name="shop.order")
    def order() -> None:
        ctx.wait_event("go")

    with start_worker(app):
        order.start()
        wait_for(lambda: read(app).runs == {("shop.order", "waiting"): 1})


def test_leases_of_a_worker_that_vanished_are_counted(app):
    app.send_task("shop.mail", (1,))
    gone = WorkerIdentity("u", "gone@h", "h", "another-boot", 1, "0")
    number = app.storage.register_worker(gone)
    assert app.storage.claim(["celery"], worker=number, limit=1, visibility_s=0.001)

    @app.task(name="shop.mail")
    def mail(n: int) -> None: ...

    with start_worker(app):
        wait_for(lambda: read(app).reaped == 1)
