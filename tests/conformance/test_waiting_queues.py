"""`reader.waiting_queues`: the queues that a worker with a glob comes to know, whatever holds their messages."""

from __future__ import annotations

from liteq.policy.rates import Bucket
from liteq.storage.claiming.rates import Budget
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import FakeWorker, Send


def test_queues_of_what_is_due_are_told_once_each(storage: Storage, send: Send, clock: FakeClock) -> None:
    assert storage.reader.waiting_queues() == []
    for queue in ("b", "a", "b", "c"):
        send(queue=queue)
    send(queue="later", due_ms=clock.now_ms() + 1000)
    assert storage.reader.waiting_queues() == ["a", "b", "c"]


def test_one_whose_messages_a_rate_holds_is_told_too(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    send(queue="mail")
    send(queue="mail")
    bucket = Bucket(0.1)
    budget = Budget(lambda _task: bucket, clock.monotonic())
    turn = storage.turn((), ["mail"], worker=worker.number, limit=5, visibility_s=60, budget=budget, expectant=True)
    assert len(turn.leases) == 1
    assert storage.reader.waiting_queues() == ["mail"]
