"""A store that has gone back in time begins a new epoch: no lease of the life before counts any more."""

from __future__ import annotations

from liteq.message import Ack
from liteq.storage.operating.audit import Actor
from liteq.storage.storage import Storage

from .conftest import FakeWorker, Send

ANN = Actor("ann", "cli")


def test_a_worker_of_the_life_before_acknowledges_nothing_and_its_message_runs_again(
    storage: Storage, worker: FakeWorker, send: Send
) -> None:
    send(id="m")
    stale = worker.claim_one()
    assert storage.operations.begin_epoch(ANN) == 1
    assert not storage.reader.workers()
    assert storage.settle([(stale, Ack(b"1"))]) == [stale]
    assert storage.reap() == 1
    fresh = FakeWorker(storage, "new").claim_one()
    assert (fresh.id, storage.settle([(fresh, Ack(b"2"))])) == ("m", [])


def test_tokens_of_a_new_epoch_are_far_above_those_before(storage: Storage) -> None:
    with storage.driver.write() as tx:
        before = tx.tokens(1)
    assert [storage.operations.begin_epoch(ANN) for _ in range(2)] == [1, 2]
    storage.close()
    with storage.driver.write() as tx:
        assert tx.tokens(1) > before + 2 * 2**36


def test_an_epoch_is_noted_in_the_audit(storage: Storage) -> None:
    storage.operations.begin_epoch(ANN)
    found = storage.audit.page(limit=1)[0]
    assert (found.actor, found.action, found.target) == ("ann", "epoch", "1")
