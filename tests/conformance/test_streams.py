"""The chunks of tasks: under the lease, in their order, as long as the message."""

from __future__ import annotations

import pytest

from liteq.exceptions import LeaseLost
from liteq.message import Ack, Cancel, Flag, Lease, Release, RetryAt
from liteq.states import State
from liteq.storage.kept.streams import Chunk
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, FakeWorker, Send, number_comes_again


def held(lease: Lease) -> tuple[int, int]:
    return lease.seq, lease.token


def emits(storage: Storage, id_: str) -> bool:
    record = storage.reader.find(id_)
    assert record is not None
    return bool(record.flags & Flag.EMITS)


def test_chunks_are_read_in_their_order_from_any_offset(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    lease = worker.claim_one()
    assert not emits(storage, id_)
    assert storage.streams.emit(held(lease), "out", [b"1", b"2"]) == 1
    assert storage.streams.emit(held(lease), "log", [b"9"], 1) == 1
    assert storage.streams.emit(held(lease), "out", [b"3"], 1) == 1
    assert emits(storage, id_)
    assert storage.streams.chunks(id_, "out") == ([Chunk(1, 1, b"1"), Chunk(2, 1, b"2"), Chunk(3, 1, b"3")], False)
    assert storage.streams.chunks(id_, "out", after=1, limit=1) == ([Chunk(2, 1, b"2")], False)
    assert storage.streams.names(id_) == [("log", 1), ("out", 3)]
    storage.settle([(lease, Ack(b"1"))])
    assert storage.streams.chunks(id_, "out", after=3) == ([], True)


def test_an_unknown_message_has_ended(storage: Storage) -> None:
    assert storage.streams.chunks("unknown", "out") == ([], True)
    assert storage.streams.names("unknown") == []


def test_the_chunks_of_a_retry_bear_another_attempt(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    first = worker.claim_one()
    storage.streams.emit(held(first), "out", [b"1"])
    storage.settle([(first, RetryAt(storage.clock.now_ms(), ERROR))])
    assert storage.streams.emit(held(worker.claim_one()), "out", [b"2"]) == 2
    assert storage.streams.chunks(id_, "out") == ([Chunk(1, 1, b"1"), Chunk(2, 2, b"2")], False)


def test_nothing_is_emitted_under_a_lease_that_is_over(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    id_ = send()
    stale = worker.claim_one()
    storage.settle([(stale, Release())])
    with pytest.raises(LeaseLost):
        storage.streams.emit(held(stale), "out", [b"1"])
    fresh = worker.claim_one()
    with pytest.raises(LeaseLost):
        storage.streams.emit(held(stale), "out", [b"1"], 1)
    storage.settle([(fresh, Ack(b"1"))])
    with pytest.raises(LeaseLost):
        storage.streams.emit(held(fresh), "out", [b"1"])
    assert storage.streams.chunks(id_, "out") == ([], True)


def test_a_task_that_has_emitted_does_not_vanish(storage: Storage, send: Send, worker: FakeWorker) -> None:
    """Its readers may not have come to the last chunk yet; alone, and in a batch with others."""
    ids = [send(flags=Flag.IGNORE_RESULT) for _ in range(4)]
    leases = worker.claim()
    for lease in (leases[0], leases[2]):
        storage.streams.emit(held(lease), "out", [b"1"])
    for settled in (leases[:1], leases[1:]):
        assert storage.settle([(lease, Ack(None)) for lease in settled]) == []
    states = [None if (found := storage.reader.find(id_)) is None else found.state for id_ in ids]
    assert states == [State.SUCCEEDED, None, State.SUCCEEDED, None]
    assert storage.streams.chunks(ids[2], "out") == ([Chunk(1, 1, b"1")], True)


def test_chunks_leave_with_their_message(storage: Storage, send: Send, worker: FakeWorker) -> None:
    """Its number comes again: the next one has a stream of its own."""
    id_ = send()
    lease = worker.claim_one()
    storage.streams.emit(held(lease), "out", [b"1"])
    storage.settle([(lease, Cancel(ERROR))])
    storage.forget([id_])
    number_comes_again(storage, lease.seq)
    other = send()
    again = worker.claim_one()
    assert again.seq == lease.seq
    assert storage.streams.chunks(other, "out") == ([], False)
    assert storage.streams.emit(held(again), "out", [b"2"]) == 1
