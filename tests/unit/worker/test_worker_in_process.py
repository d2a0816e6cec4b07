"""Workers inside this process, beside other threads: the threads and solo pools, started and stopped by a test."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured, StorageBusy, StorageError, WorkerLostError
from liteq.message import Ack
from liteq.signals import task_received
from liteq.states import State
from liteq.storage.driver import Bell
from liteq.worker import Worker
from liteq.worker import worker as engine


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("in_process", broker=f"sqlite:///{tmp_path}/queue.db")
    app.conf.update(visibility_timeout=1.0)
    yield app
    app.close()


@pytest.fixture
def run(app) -> Iterator[Callable[..., Worker]]:
    """Start a worker of `app` in a thread, back when it is ready; it is stopped after the test."""
    started: list[tuple[engine.Worker, threading.Thread]] = []

    def run(pool: str, make: type[engine.Worker] = Worker, **options: Any) -> engine.Worker:
        ready = threading.Event()
        worker = make(app, pool=pool, on_ready=lambda _: ready.set(), **options)
        worker.codes = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=lambda: worker.codes.append(worker.run()))  # type: ignore[attr-defined]
        thread.start()
        started.append((worker, thread))
        assert ready.wait(60)
        return worker

    yield run
    for worker, thread in started:
        worker.stop(cold=True)
        thread.join(60)
        assert not thread.is_alive()


IN_PROCESS = pytest.mark.parametrize("pool", ["threads", "solo"])


@IN_PROCESS
def test_it_works_until_another_thread_stops_it(app, run, pool):
    @app.task
    def double(x: int) -> int:
        return 2 * x

    worker = run(pool, concurrency=2)
    assert [double.delay(i).get(timeout=60) for i in range(20)] == [2 * i for i in range(20)]
    assert len(app.storage.reader.workers()) == 1
    worker.stop()
    assert worker.join(60)
    assert worker.codes == [0]
    assert app.storage.reader.workers() == []


@pytest.mark.parametrize(("make", "tells"), [(engine.Worker, False), (Worker, True)])
def test_the_engine_works_without_the_wing_for_celerys_callers(app, run, make, tells):
    heard = []

    @task_received.connect
    def hear(request: Any, **_named: Any) -> None:
        heard.append(request.id)

    @app.task
    def double(x: int) -> int:
        return 2 * x

    run("threads", make)
    result = double.delay(4)
    assert result.get(timeout=60) == 8
    assert heard == [result.id] * tells


def test_a_worker_that_has_not_started_says_so(app):
    worker = Worker(app, pool="solo")
    assert (worker.pool, worker.consumer, worker.has_started) == (None, None, False)
    with pytest.raises(RuntimeError, match="has not started"):
        _ = worker.running.pool
    worker.stop()
    worker.run()
    assert worker.consumer is worker.running.consumer


@IN_PROCESS
def test_a_long_task_keeps_its_lease(app, run, pool):
    """Two visibility timeouts and more, beside a second worker that would take what ran out."""
    runs = []

    @app.task
    def long() -> str:
        runs.append(1)
        time.sleep(2.4)
        return "done"

    run(pool, concurrency=1, hostname="one")
    run(pool, concurrency=1, hostname="two")
    result = long.delay()
    assert result.get(timeout=60) == "done"
    assert len(runs) == 1
    record = app.storage.reader.find(result.id)
    assert (record.reaps, record.crashes) == (0, 0)


@IN_PROCESS
def test_a_warm_stop_finishes_what_runs_and_returns_the_rest(app, run, eventually, pool):
    gate, begun = threading.Event(), threading.Event()

    @app.task
    def wait() -> None:
        begun.set()
        gate.wait(60)

    worker = run(pool, concurrency=1)
    first = wait.delay()
    assert begun.wait(60)
    rest = [wait.delay() for _ in range(5)]
    worker.stop()
    gate.set()
    assert worker.join(60)
    assert app.storage.reader.find(first.id).state is State.SUCCEEDED
    states = [app.storage.reader.find(result.id) for result in rest]
    assert {(r.crashes, r.reaps, r.retries) for r in states} == {(0, 0, 0)}
    # The solo pool looks at requests between two turns: it may have run some more by then.
    assert {r.state for r in states} <= {State.PENDING, State.SUCCEEDED}
    assert pool == "solo" or {r.state for r in states} == {State.PENDING}


def test_a_cold_stop_of_threads_puts_back_what_runs_and_does_not_wait_for_it(app, run):
    gate, begun = threading.Event(), threading.Event()

    @app.task
    def wait() -> None:
        begun.set()
        gate.wait(120)

    worker = run("threads", concurrency=2)
    running = wait.delay()
    assert begun.wait(60)
    worker.stop(cold=True)
    assert worker.join(60)
    gate.set()
    assert worker.codes == [1]
    assert app.storage.reader.find(running.id).state is State.PENDING


def test_a_thread_outlives_what_would_end_a_process(app, run):
    class Odd(BaseException):
        pass

    @app.task
    def odd() -> None:
        raise Odd

    @app.task
    def fine() -> str:
        return "fine"

    run("threads", concurrency=1)
    with pytest.raises(WorkerLostError):
        odd.delay().get(timeout=60)
    assert fine.delay().get(timeout=60) == "fine"


def test_threads_run_side_by_side(app, run):
    barrier = threading.Barrier(4, timeout=60)

    @app.task
    def meet() -> int:
        return barrier.wait()

    run("threads", concurrency=4)
    results = [meet.delay() for _ in range(4)]
    assert sorted(result.get(timeout=60) for result in results) == [0, 1, 2, 3]


def test_a_short_task_does_not_wait_behind_a_long_one_in_threads(app, run):
    gate = threading.Event()

    @app.task
    def either(long: bool) -> None:
        if long:
            gate.wait(60)

    run("threads", concurrency=2)
    for result in [either.delay(False) for _ in range(100)]:
        result.get(timeout=60)
    either.delay(True)
    try:
        for result in [either.delay(False) for _ in range(50)]:
            result.get(timeout=60)
    finally:
        gate.set()


def test_trouble_with_the_file_is_survived(app, run, monkeypatch, eventually):
    """The storage refuses for a while: outcomes are kept, and stored when it takes them again."""

    @app.task
    def double(x: int) -> int:
        return 2 * x

    storage = run("threads", concurrency=1).running.storage
    double.delay(1).get(timeout=60)
    turn, refused = storage.turn, []

    def refuse(settled: Any, *args: Any, **options: Any) -> Any:
        if settled and len(refused) < 2:
            refused.append(len(settled))
            raise StorageBusy(0.0, None)
        return turn(settled, *args, **options)

    monkeypatch.setattr(storage, "turn", refuse)
    result = double.delay(4)
    assert result.get(timeout=60) == 8
    assert len(refused) == 2
    assert app.storage.reader.find(result.id).crashes == 0


def test_one_outcome_that_cannot_be_stored_holds_up_no_other(app, run, monkeypatch):
    """An outcome that the storage refuses for good becomes a dead letter that says why; its neighbours are settled."""

    @app.task
    def double(x: int) -> int:
        return 2 * x

    storage = run("threads", concurrency=2).running.storage
    double.delay(1).get(timeout=60)
    for verb in ("turn", "settle"):
        original = getattr(storage, verb)

        def refuse(settled: Any, *args: Any, original: Any = original, **options: Any) -> Any:
            if any(isinstance(outcome, Ack) and outcome.result == b"26" for _, outcome in settled):
                raise StorageError("string or blob too big")
            return original(settled, *args, **options)

        monkeypatch.setattr(storage, verb, refuse)
    results = [double.delay(x) for x in range(20)]
    assert [results[x].get(timeout=60) for x in range(20) if x != 13] == [2 * x for x in range(20) if x != 13]
    with pytest.raises(StorageError, match="too big"):
        results[13].get(timeout=60)


def test_an_outcome_is_kept_where_the_storage_is_busy_while_they_are_settled_one_by_one(app, run, monkeypatch):
    @app.task
    def double(x: int) -> int:
        return 2 * x

    storage = run("threads", concurrency=1).running.storage
    double.delay(1).get(timeout=60)
    for verb, error in (("turn", StorageError("something of the batch")), ("settle", StorageBusy(0.0, None))):
        original, errors = getattr(storage, verb), [error]

        def refuse(
            settled: Any, *args: Any, original: Any = original, errors: list[StorageError] = errors, **options: Any
        ) -> Any:
            if settled and errors:
                raise errors.pop()
            return original(settled, *args, **options)

        monkeypatch.setattr(storage, verb, refuse)
    assert double.delay(4).get(timeout=60) == 8


def test_a_worker_told_to_leave_at_once_does_not_wait_for_a_storage_that_refuses(app, run, monkeypatch):
    @app.task
    def double(x: int) -> int:
        return 2 * x

    worker = run("threads", concurrency=1)
    double.delay(1).get(timeout=60)

    def refuse(settled: Any, *args: Any, **options: Any) -> Any:
        raise StorageBusy(0.0, None)

    monkeypatch.setattr(worker.running.storage, "turn", refuse)
    double.delay(2)
    worker.stop(cold=True)
    assert worker.join(60)


def test_the_last_commits_of_a_burst_reach_the_disk_soon_where_durability_is_relaxed(
    tmp_path, run, monkeypatch, eventually
):
    app = LiteQ("relaxed", broker=f"sqlite:///{tmp_path}/relaxed.db", durability="relaxed", set_as_current=False)

    @app.task
    def double(x: int) -> int:
        return 2 * x

    worker = Worker(app, pool="threads", concurrency=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        double.delay(1).get(timeout=60)
        driver, syncs = worker.running.storage.driver, list[float]()
        sync = driver.sync
        monkeypatch.setattr(driver, "sync", lambda: (syncs.append(time.monotonic()), sync()))
        double.delay(2).get(timeout=60)
        eventually(lambda: syncs and driver.unsynced_since == math.inf)
    finally:
        worker.stop()
        thread.join(60)
        app.close()


def test_what_was_claimed_goes_back_where_the_commands_beside_it_cannot_be_read(app, run, monkeypatch):
    @app.task
    def double(x: int) -> int:
        return 2 * x

    consumer = run("threads", concurrency=1).running.consumer
    admit, busy = consumer._admit, [StorageBusy(1.0)]

    def refused_once(*args: Any) -> Any:
        if busy:
            raise busy.pop()
        return admit(*args)

    monkeypatch.setattr(consumer, "_admit", refused_once)
    result = double.delay(2)
    assert result.get(timeout=60) == 4
    totals = {one.outcome: one.tally.n for one in app.storage.stats.totals()}
    assert "reaped" not in totals, "it was not left until its lease had run out"
    assert busy == []


@pytest.mark.parametrize("where", [{"db": ["tenants/*.db"]}, {"queues": ["mail", "news.*"]}], ids=["files", "a glob"])
def test_what_is_to_be_purged_is_named(app, where):
    """The messages of the app's own file were deleted in place of those of many, and nothing for a glob."""
    with pytest.raises(ImproperlyConfigured, match="purge deletes for good"):
        Worker(app, pool="threads", purge=True, **where)


class Broken:
    """A chore that raises each time."""

    due_at = 0.0

    def turn(self) -> None:
        raise ValueError("a chore")


def test_a_worker_beats_whatever_its_chores_raise(app, run, eventually):
    run("threads", concurrency=1, chores=[Broken()])

    def beaten() -> int:
        return max((one.heartbeat_ms for one in app.storage.reader.workers()), default=0)

    before = beaten()
    eventually(lambda: beaten() > before + 500, within_s=10)


class RingsOnce:
    """A chore that rings in the turn in which the loop also looks after its bell."""

    def __init__(self, app: LiteQ) -> None:
        self.app, self.due_at, self.heard = app, 0.0, 0

    def turn(self) -> None:
        self.due_at = math.inf
        self.app.storage.driver.ring(Bell.WORK)

    def rung(self) -> None:
        self.heard += 1


def test_a_ring_that_comes_while_the_loop_looks_after_its_bell_is_heard_by_all(tmp_path, eventually):
    app = LiteQ("bells", broker=f"sqlite:///{tmp_path}/bells.db", set_as_current=False)
    chore = RingsOnce(app)
    worker = Worker(app, pool="threads", concurrency=1, chores=[chore])
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        eventually(lambda: chore.heard)
    finally:
        worker.stop()
        thread.join(60)
        app.close()
