"""The sums of a worker: what is counted as what, and when it is written."""

from __future__ import annotations

from collections import Counter

import pytest

from liteq import LiteQ
from liteq.exceptions import Reject, TaskRevokedError
from liteq.message import (
    Ack,
    Batch,
    Cancel,
    ContinueAsNew,
    DeadLetter,
    Flag,
    Message,
    Park,
    Release,
    Replace,
    RetryAt,
    Suspend,
    WorkerIdentity,
    new_id,
)
from liteq.serialization import encode_error
from liteq.storage.statistics.ended_as import ended_as
from liteq.storage.statistics.stats import NO_SUMS, bucket_of, quantile
from liteq.worker.chores.counting import Counting

ERROR = encode_error(KeyError("x"))


class Pool:
    def __init__(self):
        self.timings = {}
        self.exits = Counter()


class Time:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def storage(tmp_path):
    app = LiteQ("count", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.storage.migrate()
    yield app.storage
    app.close()


@pytest.fixture
def lease(storage):
    number = storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))
    (found,) = storage.claim(["celery"], worker=number, limit=1, visibility_s=60)
    return found


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Ack(b"1"), ("succeeded", "")),
        (Replace(Batch(), "x"), ("succeeded", "")),
        (DeadLetter(ERROR), ("failed", "KeyError")),
        (DeadLetter(ERROR, ("id", "OSError", "", "")), ("failed", "OSError")),
        (DeadLetter(encode_error(Reject("no"))), ("rejected", "")),
        (RetryAt(1, ERROR), ("retried", "KeyError")),
        (Release(crashed=True, error=ERROR), ("crashed", "KeyError")),
        (Release(error=ERROR), ("rejected", "")),
        (Release(), None),
        (Release(pause_ms=5), None),
        (Cancel(encode_error(TaskRevokedError("expired"))), ("expired", "")),
        (Cancel(encode_error(TaskRevokedError("terminated"))), ("cancelled", "")),
        (Cancel(None), ("cancelled", "")),
        (Suspend(), None),
        (ContinueAsNew(b""), None),
        (Park("stuck"), None),
    ],
)
def test_each_outcome_is_counted_as_one_thing(lease, outcome, counted):
    assert ended_as(lease, outcome, max_crashes=3) == counted


def test_the_last_crash_is_a_failure(lease):
    crash = Release(crashed=True, error=ERROR)
    assert ended_as(lease._replace(crashes=2), crash, 3) == ("failed", "KeyError")
    assert ended_as(lease._replace(flags=lease.flags | Flag.EARLY_ACK), crash, 3) == ("failed", "KeyError")


def test_sums_are_due_once_a_second_and_stay_until_they_are_written(storage, lease):
    time = Time()
    counting = Counting(storage, Pool(), monotonic=time)
    counting.settled([(lease, Ack(b"1"))])
    assert counting.due(time.now) is NO_SUMS
    time.now += 1
    assert {key: tally.n for key, tally in counting.due(time.now).items()} == {("t", "celery", "succeeded", ""): 1}
    counting.settled([(lease, Ack(b"1"))])  # that turn was refused, and this one was not
    assert [tally.n for tally in counting.due(time.now).values()] == [2]
    counting.settled([], wrote=True)
    assert counting.due(time.now) is NO_SUMS


def test_an_idle_worker_writes_the_rest(storage, lease):
    time, pool = Time(), Pool()
    counting = Counting(storage, pool, monotonic=time)
    counting.settled([(lease, Ack(b"1", (lease.due_ms + 300, 0.2)))])
    assert counting.due_at == 101.0
    counting.turn()
    (row,) = [row for row in storage.stats.totals() if row.task]
    assert (row.tally.n, row.tally.run_us, row.tally.wait_us) == (1, 200_000, 300_000)
    assert row.tally.run[bucket_of(0.2)] == row.tally.wait[bucket_of(0.3)] == 1
    assert counting.due_at == float("inf")


def test_the_time_of_another_outcome_comes_from_the_pool(storage, lease):
    pool = Pool()
    counting = Counting(storage, pool)
    pool.timings[lease.token] = (lease.due_ms + 300, 0.2)
    counting.settled([(lease, DeadLetter(ERROR))])
    counting.turn()
    (row,) = [row for row in storage.stats.totals() if row.task]
    assert (row.outcome, row.tally.run_us, row.tally.wait_us) == ("failed", 200_000, 300_000)
    assert pool.timings == {}


def test_what_was_had_before_is_not_sent_again(storage, lease):
    counting = Counting(storage, Pool())
    counting.claimed([lease])
    counting.claimed([lease._replace(token=lease.token + 1)], [lease.token + 1])
    counting.turn()
    assert [(row.outcome, row.tally.n) for row in storage.stats.totals() if row.task] == [("sent", 1)]
    counting.claimed([lease])
    counting.turn()
    assert [(row.outcome, row.tally.n) for row in storage.stats.totals() if row.task] == [("sent", 2)]
    assert counting.taken_in() == {"t": 3}


def test_lost_leases_are_counted_as_lost(storage, lease):
    counting = Counting(storage, Pool())
    counting.settled([(lease, Ack(b"1"))], [lease])
    counting.turn()
    assert [(row.outcome, row.tally.n) for row in storage.stats.totals()] == [("lost", 1)]


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [([0, 0], 0.5, None), ([10], 0.5, 0.0025), ([0, 10], 1.0, 0.01), ([5, 5], 0.5, 0.005), ([0] * 18 + [3], 0.5, 3600)],
)
def test_a_percentile_lies_within_its_bucket(counts, share, seconds):
    assert quantile([*counts, *[0] * 19][:19], share) == (None if seconds is None else pytest.approx(seconds))
