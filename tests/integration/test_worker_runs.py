"""Runs in workers: in each pool, sent by name, with events, as `inspect` shows them, and when the worker stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.exceptions import RunCancelled
from liteq.testing import start_worker
from liteq.workflow import actx, ctx

POOLS = pytest.mark.parametrize("pool", ["threads", "solo"])


class Gates:
    """Steps wait here until the test lets them go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.go.wait(120)


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
def app(tmp_path: Path, gates: Gates) -> Iterator[LiteQ]:
    app = LiteQ("runs", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.conf.update(visibility_timeout=5.0)

    @app.step(name="charge")
    def charge(n: int) -> int:
        return 10 * n

    @app.step(name="held")
    def held() -> None:
        gates.wait()

    @app.step(name="acharge")
    async def acharge(n: int) -> int:
        return 10 * n

    @app.task(name="double")
    def double(n: int) -> int:
        return 2 * n

    @app.workflow(name="order")
    def order(n: int) -> int:
        before = charge(n)
        ctx.sleep("0.05s")
        return before + int(ctx.call(double, n))

    @app.workflow(name="aorder")
    async def aorder(n: int) -> int:
        before = await acharge(n)
        await actx.sleep("0.05s")
        return before + int(await actx.call(double, n))

    @app.workflow(name="long")
    def long() -> int:
        first = charge(1)
        held()
        return first + charge(2)

    @app.workflow(name="fails")
    def fails() -> None:
        charge(1)
        raise LookupError("no such order")

    yield app
    app.close()


def wait_for(fact: Callable[[], Any], within_s: float = 60.0) -> Any:
    give_up = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < give_up, fact
        time.sleep(0.005)
    return value


@POOLS
@pytest.mark.parametrize("flow", ["order", "aorder"])
def test_a_run_in_each_pool(app: LiteQ, pool: str, flow: str) -> None:
    with start_worker(app, pool=pool, concurrency=2):
        runs = [app.tasks[flow].start(n) for n in range(5)]
        assert [run.result(timeout=60) for run in runs] == [12 * n for n in range(5)]


@POOLS
def test_what_was_sent_by_name_alone_becomes_a_run(app: LiteQ, pool: str) -> None:
    """By a process that does not know the workflow."""
    with start_worker(app, pool=pool), LiteQ("client", broker=app.conf.broker_url, set_as_current=False) as client:
        result = client.send_task("order", args=[3], task_id="order-3")
        assert result.get(timeout=60) == 36
    assert app.Run("order-3").status == "succeeded"
    assert [step.kind for step in app.Run("order-3").steps()] == ["step", "sleep", "call"]


def test_a_limit_on_tasks_is_none_on_runs(app: LiteQ, gates: Gates) -> None:
    app.conf.update(task_time_limit=0.2, task_soft_time_limit=0.1)
    with start_worker(app, pool="solo"):
        run = app.tasks["long"].start()
        assert gates.begun.wait(60)
        assert not gates.go.wait(0.4)
        gates.go.set()
        assert run.result(timeout=60) == 30


def test_a_warm_stop_leaves_the_rest_of_a_run_to_another_worker(app: LiteQ, gates: Gates) -> None:
    with start_worker(app, pool="threads") as worker:
        run = app.tasks["long"].start()
        assert gates.begun.wait(60)
        worker.stop()
        wait_for(lambda: not worker.running.consumer._accepting)
        gates.go.set()
        assert worker.join(60)
    assert run.status == "queued"
    assert [step.name for step in run.steps()] == ["charge", "held"]
    with start_worker(app, pool="threads"):
        assert run.result(timeout=60) == 30


def test_inspect_shows_the_step_that_a_run_executes(app: LiteQ, gates: Gates) -> None:
    with start_worker(app, pool="threads", hostname="w@here"):
        run = app.tasks["long"].start()
        assert gates.begun.wait(60)
        (shown,) = app.control.inspect(timeout=60).active()["w@here"]
        assert (shown["id"], shown["name"], shown["step"]) == (run.id, "long", "held")
        gates.go.set()
        run.result(timeout=60)


def test_steps_show_what_has_been_running_for_two_seconds(app: LiteQ, gates: Gates) -> None:
    with start_worker(app, pool="threads"):
        run = app.tasks["long"].start()
        running = wait_for(lambda: [step for step in run.steps() if step.status == "running"])
        assert [(step.name, step.kind) for step in running] == [("held", "step")]
        gates.go.set()
        run.result(timeout=60)
    assert {step.status for step in run.steps()} == {"done"}


def test_a_revoke_asks_a_run_that_has_begun_to_end(app: LiteQ, gates: Gates) -> None:
    with start_worker(app, pool="threads"):
        run = app.tasks["long"].start()
        assert gates.begun.wait(60)
        app.control.revoke(run.id)
        gates.go.set()
        with pytest.raises(RunCancelled):
            run.result(timeout=60)
    assert [step.name for step in run.steps()] == ["charge", "held"]


def test_a_revoke_keeps_a_run_from_beginning(app: LiteQ) -> None:
    run = app.tasks["order"].start(1)
    app.control.revoke(run.id)
    assert run.status == "cancelled"
    with start_worker(app):
        assert app.tasks["double"].delay(1).get(timeout=60) == 2
    assert run.steps() == []


def test_the_id_of_a_terminated_run_is_free_for_another(app: LiteQ, gates: Gates) -> None:
    flow = app.tasks["long"].options(id="order-7", on_conflict="replace")
    with start_worker(app, pool="threads", concurrency=2):
        flow.start()
        assert gates.begun.wait(60)
        app.Run("order-7").terminate("again")
        gates.go.set()
        assert flow.start().result(timeout=60) == 30


# -- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flow", "args", "end"), [("order", [2], "task-succeeded"), ("fails", [], "task-failed")])
def test_a_run_is_received_and_started_once_however_often_it_wakes(
    app: LiteQ, flow: str, args: list[Any], end: str
) -> None:
    with start_worker(app, task_events=True):
        last = app.storage.events.last()
        run = app.tasks[flow].start(*args)
        wait_for(run.ready)

        def told() -> list[str]:
            rows = app.storage.events.after(last, 1_000)
            events = [event for event in map(decoded, rows) if event.get("uuid") == run.id]
            return [event["type"] for event in events]

        wait_for(lambda: end in told())
        assert told() == ["task-received", "task-started", end]


def decoded(row: tuple[int, bytes]) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(row[1])
    return event


def test_a_pool_of_threads_says_that_it_cannot_end_a_step_in_time(app: LiteQ, caplog: pytest.LogCaptureFixture) -> None:
    @app.step(name="hasty", timeout="0.01s")
    def hasty() -> int:
        time.sleep(0.05)
        return 1

    @app.workflow(name="hurry")
    def hurry() -> int:
        return hasty() + hasty()

    with start_worker(app, pool="threads"):
        assert hurry.start().result(timeout=60) == 2
    assert caplog.text.count("need the prefork or solo pool: not enforced") == 1


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_without_processes_says_which_step_it_cannot_end(
    app: LiteQ, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("liteq.worker.pool.runs.GRACE_S", 0.05)

    @app.step(name="stays", timeout="0.01s")
    def stays() -> int:
        return int(go_on.wait(120))

    @app.workflow(name="slow")
    def slow() -> int:
        return stays()

    says = f"s past its timeout and does not yield; the pool '{pool}' cannot end it"
    with start_worker(app, pool=pool):
        run = slow.start()
        wait_for(lambda: says in caplog.text)
        go_on.set()
        assert run.result(timeout=60) == 1
    assert caplog.text.count("Step stays (attempt 1) is ") == caplog.text.count("does not yield") == 1
