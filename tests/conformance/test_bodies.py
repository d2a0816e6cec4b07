"""Large arguments and results stand beside their row, and nobody who reads them can tell."""

from __future__ import annotations

import pytest

from liteq.exceptions import BadMessage, LeaseLost
from liteq.message import LATER, Ack, Batch, DeadLetter, Flag, Group, Message, Replace, RetryAt, new_id
from liteq.serialization import encode_error
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import FakeWorker, Send

SMALL = b"[[1],{}]"
LARGE = b'[["' + b"x" * 5_000 + b'"],{}]'
OTHER = b'[["' + b"y" * 7_000 + b'"],{}]'
RESULT = b'"' + b"z" * 6_000 + b'"'


def beside(storage: Storage) -> list[tuple[str, str]]:
    """The documents beside the rows: (message id, which); the id is "" where there is no such message."""
    with storage.driver.read() as tx:
        rows = tx.execute(
            "SELECT coalesce(m.id, ''), b.ref FROM liteq_bodies AS b LEFT JOIN liteq_messages AS m ON m.seq = b.ref / 2"
        )
        return [(id_, "result" if ref % 2 else "payload") for id_, ref in rows]


@pytest.mark.parametrize("payload", [SMALL, LARGE])
def test_a_worker_gets_the_arguments(storage: Storage, send: Send, worker: FakeWorker, payload: bytes) -> None:
    send(payload=payload)
    assert worker.arguments() == payload


def test_a_claim_reads_nothing_that_is_large(storage: Storage, worker: FakeWorker) -> None:
    first = Message("first", "t", LARGE, flags=Flag.LINKED)
    second = Message("second", "t", LARGE, awaits="first", flags=Flag.TAKES_INPUT)
    storage.enqueue(Batch([first, second]))
    lease = worker.claim_one()
    assert lease.payload == b""
    storage.settle([(lease, Ack(RESULT))])
    lease = worker.claim_one()
    assert (lease.payload, lease.input) == (b"", LATER)


def test_the_arguments_of_a_lost_lease_are_not_read(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    send(payload=LARGE)
    stale = worker.claim_one()
    clock.advance(seconds=61)
    storage.reap()
    with pytest.raises(LeaseLost):
        worker.arguments(stale)
    assert other.arguments() == LARGE
    with pytest.raises(LeaseLost):
        worker.arguments(stale)


def test_arguments_that_are_missing_are_said_to_be(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send(payload=LARGE)
    with storage.driver.write() as tx:
        tx.execute("DELETE FROM liteq_bodies")
    with pytest.raises(BadMessage, match="missing"):
        worker.arguments()


def test_only_what_is_large_stands_beside(storage: Storage, send: Send) -> None:
    send(id="small", payload=SMALL)
    send(id="large", payload=LARGE)
    assert beside(storage) == [("large", "payload")]


def test_many_at_once_keep_their_arguments(storage: Storage, worker: FakeWorker) -> None:
    payloads = {str(i): SMALL if i % 2 else LARGE for i in range(10)}
    storage.enqueue_many(Message(id_, "t", payload) for id_, payload in payloads.items())
    assert {lease.id: worker.arguments(lease) for lease in worker.claim()} == payloads


def test_readers_see_both(storage: Storage, send: Send, worker: FakeWorker) -> None:
    message_id = send(payload=LARGE)
    storage.settle([(worker.claim_one(), Ack(RESULT))])
    record = storage.reader.find(message_id)
    assert record is not None
    assert (record.payload, record.result) == (LARGE, RESULT)


def test_the_next_link_gets_a_large_result(storage: Storage, worker: FakeWorker) -> None:
    first = Message("first", "t", SMALL, flags=Flag.LINKED)
    second = Message("second", "t", SMALL, awaits="first", flags=Flag.TAKES_INPUT)
    storage.enqueue(Batch([first, second]))
    storage.settle([(worker.claim_one(), Ack(RESULT))])
    assert worker.input() == RESULT


def test_a_chords_body_gets_large_results(storage: Storage, worker: FakeWorker) -> None:
    members = [Message(str(i), "t", SMALL, flags=Flag.LINKED, group_id="g", position=i) for i in range(2)]
    body = Message("body", "t", SMALL, awaits="g", flags=Flag.TAKES_INPUT)
    storage.enqueue(Batch([*members, body], [Group("g", 2)]))
    storage.settle([(lease, Ack(RESULT)) for lease in worker.claim()])
    assert worker.input() == b"[" + RESULT + b"," + RESULT + b"]"


def test_what_replaces_a_message_hands_its_large_result_on(storage: Storage, send: Send, worker: FakeWorker) -> None:
    message_id = send()
    batch = Batch([Message("instead", "t", SMALL)])
    storage.settle([(worker.claim_one(), Replace(batch, "instead"))])
    storage.settle([(worker.claim_one(), Ack(RESULT))])
    record = storage.reader.find(message_id)
    assert record is not None
    assert record.result == RESULT


@pytest.mark.parametrize("before", [SMALL, LARGE])
@pytest.mark.parametrize("after", [b"[[2],{}]", OTHER])
def test_a_retry_may_change_the_arguments(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, before: bytes, after: bytes
) -> None:
    send(payload=before)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms(), payload=after))])
    assert worker.arguments() == after


def test_a_replayed_dead_letter_still_has_them(storage: Storage, send: Send, worker: FakeWorker) -> None:
    message_id = send(payload=LARGE)
    storage.settle([(worker.claim_one(), DeadLetter(encode_error(ValueError("no"))))])
    storage.dead.requeue([message_id])
    assert worker.arguments() == LARGE


def test_the_same_id_again_changes_nothing(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send(id="small", payload=SMALL)
    send(id="small", payload=LARGE)
    send(id="large", payload=LARGE)
    send(id="large", payload=OTHER)
    assert beside(storage) == [("large", "payload")]
    assert {lease.id: worker.arguments(lease) for lease in worker.claim()} == {"small": SMALL, "large": LARGE}


def test_a_taken_unique_key_leaves_nothing_behind(storage: Storage, send: Send) -> None:
    send(id="first", unique_key="k", payload=LARGE)
    send(id="second", unique_key="k", payload=LARGE)
    assert beside(storage) == [("first", "payload")]


def test_they_leave_with_their_message(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    storage.purge(["celery"])
    forgotten = send(payload=LARGE)
    storage.settle([(worker.claim_one(), Ack(RESULT))])
    assert storage.forget([forgotten]) == 1

    send(payload=LARGE, flags=Flag.IGNORE_RESULT)
    assert storage.settle([(worker.claim_one(), Ack(None))]) == []  # no lease was lost

    send(payload=LARGE)
    assert storage.purge() == 1

    dropped = send(payload=LARGE)
    storage.settle([(worker.claim_one(), DeadLetter(encode_error(ValueError("no"))))])
    assert storage.dead.drop([dropped]) == 1

    send(id=new_id(), payload=LARGE)
    storage.settle([(worker.claim_one(), Ack(RESULT))])
    clock.advance(seconds=61)
    assert storage.expire(result_expires_s=60, dead_expires_s=None) == 1
    assert beside(storage) == []
