"""The threads of the thread pool: as many as it has executors, however often their number changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from liteq.message import Ack, Lease
from liteq.testing import FakeClock
from liteq.worker.pool import threads
from liteq.worker.pool.threads import ThreadPool


class Executor:
    """Executes when it is told to."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(clock=FakeClock())
        self.in_hand = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.ran: list[str] = []

    def adopt(self) -> None: ...

    def run(self, lease: Lease) -> tuple[Ack, float]:
        self.ran.append(lease.id)
        self.in_hand.release()
        self.go_on.acquire()
        return Ack(), 0.1

    def end_worker(self) -> None: ...


class Busy:
    """A thread that does not end, as long as it is waited for."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def join(self, timeout: float) -> None:
        self._clock.advance(seconds=timeout)


def lease(n: int) -> Lease:
    return Lease(
        seq=n, token=n, id=f"id-{n}", task="t", payload=b"[[],{}]", options=None, queue="celery", priority=0, due_ms=0,
        expires_ms=None, retries=0, crashes=0, flags=0, root_id=None, parent_id=None, group_id=None, awaits=None,
    )  # fmt: skip


@pytest.fixture
def executor() -> Executor:
    return Executor()


@pytest.fixture
def pool(executor: Executor) -> Iterator[ThreadPool]:
    pool = ThreadPool(executor, 1)  # type: ignore[arg-type]
    loop: Any = SimpleNamespace(watch=lambda *_: None, unwatch=lambda *_: None)
    pool.start(loop)
    yield pool
    executor.go_on.release(100)
    pool.stop()


@pytest.fixture
def alive() -> Callable[[], int]:
    before = set(threading.enumerate())
    return lambda: len(set(threading.enumerate()) - before)


def test_no_thread_is_left_of_a_pool_that_grows_and_shrinks(alive, executor, pool, eventually):
    """As by autoscaling: one thread was left by each turn of it, for as long as the worker lived."""
    for _ in range(10):
        pool.resize(4)
        assert alive() == 4
        pool.resize(1)
        eventually(lambda: alive() == 1)
    pool.stop()
    assert alive() == 0


def test_a_pool_that_shrank_while_all_were_busy_has_no_more_afterwards(alive, executor, pool, eventually):
    pool.resize(4)
    pool.submit([lease(n) for n in range(1, 5)])
    for _ in range(4):
        executor.in_hand.acquire()
    pool.resize(2)
    pool.submit([lease(5)])
    assert pool.take_back() == [lease(5)]  # nor does what is taken back undo it
    executor.go_on.release(4)
    eventually(lambda: alive() == 2)
    assert len(pool.collect()) == 4


def test_a_lease_that_was_lost_before_it_began_does_not_run(executor, pool):
    """Another worker runs it: this one stood still for too long."""
    pool.submit([lease(1), lease(2)])
    executor.in_hand.acquire()
    pool.abandon([lease(2)])
    pool.submit([lease(3)])
    executor.go_on.release(2)
    executor.in_hand.acquire()
    assert executor.ran == ["id-1", "id-3"]


def test_threads_that_still_run_are_waited_for_together(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of them would keep a worker that was told to end for an hour."""
    clock = FakeClock()
    monkeypatch.setattr(threads, "time", clock)
    pool = ThreadPool(executor, 3)  # type: ignore[arg-type]
    pool._loop = SimpleNamespace(unwatch=lambda *_: None)  # type: ignore[assignment]
    pool._threads = {Busy(clock) for _ in range(3)}  # type: ignore[misc]
    before = clock.monotonic()
    pool.stop()
    assert clock.monotonic() - before == pytest.approx(threads.STOP_S)
