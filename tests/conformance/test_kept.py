"""Cursors, logs and tags, which stand beside a message: kept under the lease, and as long as they are of use."""

from __future__ import annotations

import pytest

from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Outcome, Release, RetryAt, new_id
from liteq.states import State
from liteq.storage.kept import task_logs
from liteq.storage.storage import Storage
from liteq.testing import FakeClock
from liteq.utils.names import LOG_STREAM

from .conftest import ERROR, FakeWorker, Send, number_comes_again, row

HOUR_MS = 3_600_000
DAY_S = 86_400.0


def held(lease: Lease) -> tuple[int, int]:
    return lease.seq, lease.token


def log(storage: Storage, lease: Lease, *lines: bytes, keep_ms: int = HOUR_MS, attempt: int | None = None) -> int:
    (found,) = storage.kept.log([held(lease)], lines, [attempt], keep_ms=keep_ms)
    assert found is not None
    return found


def lines_of(storage: Storage, id_: str) -> list[tuple[int, bytes]]:
    chunks, _ = storage.streams.chunks(id_, LOG_STREAM)
    return [(chunk.attempt, chunk.data) for chunk in chunks]


def expire(storage: Storage) -> None:
    while storage.expire(result_expires_s=DAY_S, dead_expires_s=DAY_S):
        pass


# -- cursors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome", [Release(), RetryAt(0, ERROR), Release(crashed=True, error=ERROR)], ids=["left", "retried", "crashed"]
)
def test_a_cursor_is_there_where_the_task_goes_on(
    storage: Storage, send: Send, worker: FakeWorker, outcome: Outcome
) -> None:
    send()
    lease = worker.claim_one()
    assert storage.kept.cursor(lease.seq) is None
    assert storage.kept.save_cursor(held(lease), b"17")
    assert storage.kept.save_cursor(held(lease), b"18")
    assert storage.settle([(lease, outcome)]) == []
    again = worker.claim_one()
    assert again.flags & Flag.CURSOR
    assert storage.kept.cursor(again.seq) == b"18"


def test_leaving_at_the_cursor_counts_no_attempt(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send()
    for _ in range(20):
        lease = worker.claim_one()
        storage.kept.save_cursor(held(lease), b"1")
        storage.settle([(lease, Release())])
    again = worker.claim_one()
    assert (again.retries, again.crashes) == (0, 0)


@pytest.mark.parametrize("flags", [0, Flag.IGNORE_RESULT], ids=["kept result", "ignored result"])
def test_a_cursor_is_gone_with_success(storage: Storage, send: Send, worker: FakeWorker, flags: int) -> None:
    """Of one that saved it in this very execution, alone and among others, and of one that was claimed with it."""
    for _ in range(4):
        send(flags=flags)
    leases = worker.claim()
    result = None if flags else b"1"
    for lease in leases:
        storage.kept.save_cursor(held(lease), b"17")
    storage.settle([(leases[0], Ack(result))])
    storage.settle([(lease, Ack(result)) for lease in leases[1:3]])
    storage.settle([(leases[3], Release())])
    storage.settle([(worker.claim_one(), Ack(result))])
    assert [storage.kept.cursor(lease.seq) for lease in leases] == [None] * 4


def test_a_dead_letter_that_is_sent_again_goes_on_at_its_cursor(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    id_ = send()
    lease = worker.claim_one()
    storage.kept.save_cursor(held(lease), b"17")
    storage.settle([(lease, DeadLetter(ERROR))])
    storage.dead.requeue([id_])
    assert storage.kept.cursor(worker.claim_one().seq) == b"17"


def test_no_cursor_is_kept_under_a_lease_that_is_over(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send()
    stale = worker.claim_one()
    storage.settle([(stale, Release())])
    assert not storage.kept.save_cursor(held(stale), b"1")
    fresh = worker.claim_one()
    storage.kept.save_cursor(held(fresh), b"2")
    assert not storage.kept.save_cursor(held(stale), b"3")
    assert storage.kept.cursor(fresh.seq) == b"2"


def test_a_number_that_comes_again_finds_no_cursor(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    lease = worker.claim_one()
    storage.kept.save_cursor(held(lease), b"17")
    storage.settle([(lease, Cancel(ERROR))])
    storage.forget([id_])
    number_comes_again(storage, lease.seq)
    send()
    again = worker.claim_one()
    assert (again.seq, storage.kept.cursor(again.seq)) == (lease.seq, None)


# -- logs ------------------------------------------------------------------------------------------------------------


def test_the_lines_of_each_attempt_are_told_apart(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    lease = worker.claim_one()
    attempt = log(storage, lease, b"1", b"2")
    log(storage, lease, b"3", attempt=attempt)
    storage.settle([(lease, RetryAt(0, ERROR))])
    log(storage, worker.claim_one(), b"4")
    assert lines_of(storage, id_) == [(1, b"1"), (1, b"2"), (1, b"3"), (2, b"4")]


def test_the_log_of_the_newest_attempts_alone_is_kept(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    for n in range(20):
        lease = worker.claim_one()
        log(storage, lease, b"%d" % n)
        storage.settle([(lease, RetryAt(0, ERROR))])
    assert [data for _, data in lines_of(storage, id_)] == [b"15", b"16", b"17", b"18", b"19"]


def test_no_line_is_kept_under_a_lease_that_is_over(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    stale = worker.claim_one()
    storage.settle([(stale, Release())])
    assert storage.kept.log([held(stale)], [b"1"], [None], keep_ms=HOUR_MS) == [None]
    assert lines_of(storage, id_) == []


@pytest.mark.parametrize("outcome", [Ack(b"1"), Ack(None), DeadLetter(ERROR), Cancel(ERROR)], ids=repr)
def test_a_log_stays_for_its_time_and_leaves_with_it(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, outcome: Outcome
) -> None:
    """Not before the end of its task, which may be long after it was written; and not with the result."""
    id_ = send(flags=Flag.IGNORE_RESULT)
    lease = worker.claim(visibility_s=30 * DAY_S)[0]
    log(storage, lease, b"1", keep_ms=int(3 * DAY_S * 1000))
    clock.advance(seconds=5 * DAY_S)
    expire(storage)
    assert lines_of(storage, id_) == [(1, b"1")]
    storage.settle([(lease, outcome)])
    clock.advance(seconds=3 * DAY_S - 1)
    expire(storage)
    assert lines_of(storage, id_) == [(1, b"1")]
    clock.advance(seconds=2)
    expire(storage)
    assert lines_of(storage, id_) == []
    assert storage.reader.find(id_) is None


def test_a_log_that_is_over_leaves_although_many_tasks_have_not_ended(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    for _ in range(task_logs.MOST):
        send()
    for lease in worker.claim(task_logs.MOST, visibility_s=DAY_S):
        log(storage, lease, b"1")
    clock.advance(seconds=1)
    id_ = send()
    lease = worker.claim_one()
    log(storage, lease, b"1")
    storage.settle([(lease, Ack(b"1"))])
    clock.advance(seconds=HOUR_MS / 1000)
    storage.expire(result_expires_s=DAY_S, dead_expires_s=DAY_S)
    assert lines_of(storage, id_) == []


def test_a_log_may_leave_before_the_result(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    id_ = send()
    lease = worker.claim_one()
    log(storage, lease, b"1", keep_ms=HOUR_MS)
    storage.streams.emit(held(lease), "own", [b"2"])
    storage.settle([(lease, Ack(b"1"))])
    clock.advance(seconds=3_601)
    expire(storage)
    assert lines_of(storage, id_) == []
    record = storage.reader.find(id_)
    assert record is not None
    assert record.state is State.SUCCEEDED
    assert storage.streams.names(id_) == [("own", 1)]


# -- tags ------------------------------------------------------------------------------------------------------------


def tagged(storage: Storage, tag: str) -> set[str]:
    return {line.id for line in storage.views.page("tag", given={"tag": tag})}


def test_a_message_is_found_by_each_of_its_tags(storage: Storage, send: Send) -> None:
    one = send(flags=Flag.TAGGED, tags=("nightly", "tenant:a"))
    two = send(flags=Flag.TAGGED, tags=("nightly",))
    send()
    assert tagged(storage, "nightly") == {one, two}
    assert tagged(storage, "tenant:a") == {one}


def test_messages_in_bulk_have_their_tags(storage: Storage) -> None:
    ids = [new_id() for _ in range(3)]
    storage.enqueue_many([row(id_, Flag.TAGGED, tags=("import",)) for id_ in ids])
    assert tagged(storage, "import") == set(ids)


def test_tags_leave_with_their_message(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send(flags=Flag.TAGGED | Flag.IGNORE_RESULT, tags=("nightly",))
    lease = worker.claim_one()
    storage.settle([(lease, Ack(None))])
    number_comes_again(storage, lease.seq)
    other = send()
    assert worker.claim_one().seq == lease.seq
    assert tagged(storage, "nightly") == set(), other
