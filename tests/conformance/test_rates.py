"""Claims within rate limits: what a rate holds back leaves the claimable set once, and comes back in its order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from liteq.exceptions import StorageConflict
from liteq.message import Ack, Batch, Message, RetryAt, new_id
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage import interrupts
from liteq.storage.claiming.rates import Budget
from liteq.storage.driver import Transaction
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import PAYLOAD, FakeWorker, Send


class Limited:
    """A worker with rate limits of its own, in tasks a second."""

    def __init__(self, storage: Storage, worker: FakeWorker, clock: FakeClock, **rates: float) -> None:
        self.storage, self.worker, self.clock = storage, worker, clock
        self.buckets = {task: Bucket(rate) for task, rate in rates.items()}
        self.wait_s: float | None = None
        self.due_ms: int | None = None

    def claim(self, limit: int = 10, queues: tuple[str, ...] = ("celery",)) -> list[str]:
        """The ids of what it gets."""
        now = self.clock.monotonic()
        budget = Budget(self.buckets.get, now)
        turn = self.storage.turn(
            (), queues, worker=self.worker.number, limit=limit, visibility_s=60, budget=budget
        )  # fmt: skip
        for task, n in budget.used.items():
            if task in self.buckets:
                self.buckets[task].take(n, now)
        self.wait_s, self.due_ms = budget.wait_s, turn.due_ms
        return [lease.id for lease in turn.leases]


def count(storage: Storage, state: State) -> int:
    return sum(c.n for c in storage.reader.counts() if c.state is state)


def test_one_token_one_message_and_the_rest_is_held(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    limited = Limited(storage, worker, clock, slow=10)
    ids = [send(task="slow") for _ in range(5)]
    assert limited.claim() == ids[:1]
    assert count(storage, State.HELD) == 4
    assert limited.claim() == []
    assert limited.wait_s == pytest.approx(0.1)
    clock.advance(seconds=0.1)
    assert limited.claim() == ids[1:2]


def test_what_is_not_limited_does_not_wait_behind_it(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    limited = Limited(storage, worker, clock, slow=1)
    backlog = [Message(new_id(), "slow", PAYLOAD) for _ in range(1_500)]
    storage.enqueue_many(backlog)
    free = [send(task="free") for _ in range(3)]
    assert limited.claim(limit=4) == [backlog[0].id, *free]


def test_a_long_backlog_is_held_in_several_transactions(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    limited = Limited(storage, worker, clock, slow=1)
    storage.enqueue_many([Message(new_id(), "slow", PAYLOAD) for _ in range(8_000)])
    free = send(task="free")
    got: list[str] = []
    turns = 0
    while free not in got:
        got += limited.claim()
        turns += 1
        assert limited.wait_s is not None
        assert limited.wait_s == 0 or free in got, "there is more to be held: look again at once"
    assert 1 < turns < 10


def test_the_highest_priority_goes_first_also_of_what_came_later(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    limited = Limited(storage, worker, clock, slow=1)
    ids = [send(task="slow") for _ in range(3)]
    limited.claim()
    urgent = send(task="slow", priority=9)
    for expected in (urgent, ids[1], ids[2]):
        clock.advance(seconds=1)
        assert limited.claim() == [expected]


def test_a_token_is_not_spent_on_what_a_full_worker_did_not_take(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    limited = Limited(storage, worker, clock, slow=1)
    slow = [send(task="slow") for _ in range(2)]
    limited.claim()
    urgent = [send(task="free", priority=5) for _ in range(3)]
    clock.advance(seconds=1)
    assert limited.claim(limit=3) == urgent
    assert count(storage, State.HELD) == 1
    assert limited.claim() == slow[1:]


def test_no_attempt_is_counted_while_it_waits(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    limited = Limited(storage, worker, clock, slow=1)
    held = [send(task="slow") for _ in range(2)][1]
    for _ in range(5):
        limited.claim()
        clock.advance(seconds=0.1)
    record = storage.reader.find(held)
    assert record is not None
    assert (record.retries, record.crashes, record.reaps, record.token) == (0, 0, 0, None)


def test_a_shared_rate_counts_over_all_workers(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set_rate("task:slow", "10/s")
    ids = [send(task="slow") for _ in range(4)]
    a, b = Limited(storage, worker, clock), Limited(storage, other, clock)
    assert a.claim() == ids[:1]
    assert b.claim() == []
    assert b.due_ms == pytest.approx(clock.now_ms() + 100, abs=2)
    clock.advance(seconds=0.1)
    assert b.claim() == ids[1:2]
    assert a.claim() == []


def test_one_workers_limit_holds_nothing_back_from_another(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    ids = [send(task="slow") for _ in range(3)]
    assert Limited(storage, worker, clock, slow=1).claim() == ids[:1]
    assert Limited(storage, other, clock).claim() == ids[1:]


def test_who_has_no_rates_gets_what_another_workers_own_rate_holds(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    """A gateway, and a worker of Celery's, which have no rates of liteq's, ask for such a budget at each claim."""
    ids = [send(task="slow") for _ in range(3)]
    assert storage.limits.unlimited() is None
    assert Limited(storage, worker, clock, slow=1).claim() == ids[:1]
    clock.advance(seconds=1)
    budget = storage.limits.unlimited()
    turn = storage.turn((), ["celery"], worker=other.number, limit=5, visibility_s=60, budget=budget)
    assert [lease.id for lease in turn.leases] == ids[1:]
    clock.advance(seconds=1)
    assert storage.limits.unlimited() is None


def test_a_limit_that_is_lifted_lets_everything_go(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set_rate("task:slow", "1/h")
    ids = [send(task="slow") for _ in range(5)]
    limited = Limited(storage, worker, clock)
    assert limited.claim() == ids[:1]
    storage.limits.set_rate("task:slow", None)
    assert limited.claim() == ids[1:]
    assert storage.limits.get("task:slow").rate is None


def test_what_was_set_stands_until_the_code_says_something_new(storage: Storage) -> None:
    storage.limits.declare({"task:slow": ("10/s", None), "task:free": (None, None)})
    storage.limits.set_rate("task:slow", "1/s")
    storage.limits.declare({"task:slow": ("10/s", None), "task:free": (None, None)})
    assert storage.limits.get("task:slow").rate == "1/s"
    storage.limits.declare({"task:slow": ("20/s", None), "task:free": (None, None)})
    assert storage.limits.get("task:slow").rate == "20/s"
    storage.limits.declare({"task:slow": (None, None)})
    assert storage.limits.list() == []


def test_what_is_held_can_be_cancelled_and_purged(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    ids = [send(task="slow") for _ in range(3)]
    Limited(storage, worker, clock, slow=1).claim()
    storage.cancel([ids[1]])
    record = storage.reader.find(ids[1])
    assert record is not None
    assert record.state is State.CANCELLED
    assert storage.purge(["celery"]) == 1


def test_what_is_held_holds_its_unique_key(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    send(task="slow")
    held = send(task="slow", unique_key="k")
    Limited(storage, worker, clock, slow=1).claim()
    assert count(storage, State.HELD) == 1
    assert send(task="slow", unique_key="k") == held


def test_a_retry_takes_a_token_of_its_own(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    limited = Limited(storage, worker, clock, slow=10)
    first = send(task="slow")
    budget = Budget(limited.buckets.get, clock.monotonic())
    turn = storage.turn((), ["celery"], worker=worker.number, limit=1, visibility_s=60, budget=budget)
    limited.buckets["slow"].take(1, clock.monotonic())
    storage.settle([(turn.leases[0], RetryAt(clock.now_ms()))])
    assert limited.claim() == []
    clock.advance(seconds=0.1)
    assert limited.claim() == [first]


def test_a_workers_death_loses_nothing(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    ids = [send(task="slow") for _ in range(3)]
    Limited(storage, worker, clock, slow=100).claim()
    storage.reap([worker.number])
    clock.advance(seconds=1)
    limited = Limited(storage, other, clock, slow=100)
    assert limited.claim() == ids


def test_a_batch_that_was_settled_late_costs_no_token(storage: Storage, worker: FakeWorker, clock: FakeClock) -> None:
    """The transaction is made again, one by one: the first attempt's claims never happened."""
    storage.enqueue(Batch([Message("gone", "x", PAYLOAD)]))
    stale = worker.claim_one()
    storage.reap([], expired=False)
    storage.settle([(stale, Ack(None))])
    storage.limits.set_rate("task:slow", "1/s")
    storage.enqueue(Batch([Message("a", "slow", PAYLOAD), Message("b", "slow", PAYLOAD)]))
    budget = Budget({}.get, clock.monotonic())
    turn = storage.turn(
        [(stale, Ack(None))], ["celery"], worker=worker.number, limit=5, visibility_s=60, budget=budget
    )  # fmt: skip
    assert [lease.id for lease in turn.leases] == ["a"]
    assert budget.used == {"slow": 1}


def test_a_turn_that_runs_again_takes_its_tokens_once(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine with several writers ends one of two that wait for each other; its verb is run again."""
    monkeypatch.setattr(interrupts, "sleep", lambda _: None)
    write, conflicts = storage.driver.write, [StorageConflict("a deadlock")]

    @contextmanager
    def meeting(*args: Any, **options: Any) -> Iterator[Transaction]:
        with write(*args, **options) as tx:
            yield tx
            if conflicts:
                raise conflicts.pop()

    ids = [send(task="slow") for _ in range(3)]
    bucket = Bucket(1)
    monkeypatch.setattr(storage.driver, "write", meeting)
    budget = Budget(lambda _: bucket, clock.monotonic())
    turn = storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, budget=budget)
    assert conflicts == []
    assert [lease.id for lease in turn.leases] == ids[:1]
    assert budget.used == {"slow": 1}
