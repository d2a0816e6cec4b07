"""Which messages were executed together: told of the last execution of each, for a while."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Ack, Lease, RetryAt
from liteq.storage.facades.reading.stats import BATCHES_KEPT_MS
from liteq.storage.statistics.batches import Began
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import FakeWorker, Send


def began(clock: FakeClock, leases: Sequence[Lease]) -> Began:
    return Began(clock.now_ms(), tuple(one.id for one in leases), tuple(one.token for one in leases))


def test_each_member_tells_the_others(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    for name in "abcdef":
        send(id=name)
    leases = worker.claim(5)
    together = [began(clock, leases[::2]), began(clock, leases[1::2])]  # two filled at the same time
    storage.batches.note(together)
    storage.settle([(lease, Ack(b"1")) for lease in leases])
    assert [storage.batches.of(lease.id) for lease in leases] == [together[n % 2] for n in range(5)]
    assert storage.batches.of("f") is None
    assert storage.batches.of("unknown") is None


def test_of_a_message_that_runs_again_the_last_batch_counts(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    for name in "ab":
        send(id=name)
    first = worker.claim()
    storage.batches.note([began(clock, first)])
    storage.settle([(first[0], RetryAt(clock.now_ms(), b"{}")), (first[1], Ack(b"1"))])
    again = worker.claim_one()
    assert again.id == first[0].id
    assert storage.batches.of(again.id) is None, "it was executed alone"
    assert storage.batches.of(first[1].id) == began(clock, first)


def test_batches_are_forgotten(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    for name in "ab":
        send(id=name)
    leases = worker.claim()
    storage.batches.note([began(clock, leases)])
    clock.advance(seconds=BATCHES_KEPT_MS / 1000)
    storage.stats.tidy()
    assert storage.batches.of(leases[0].id) is not None
    clock.advance(seconds=1)
    storage.stats.tidy()
    assert storage.batches.of(leases[0].id) is None
