"""The fate of tasks: sums that never go back, causes of failure, the attempts of a message, measures over time."""

from __future__ import annotations

import pytest

from liteq.exceptions import WorkerLostError
from liteq.message import Ack, Cancel, DeadLetter, Flag, Release, RetryAt
from liteq.serialization import encode_error
from liteq.serialization.causes import OTHER, cause_of
from liteq.states import State
from liteq.storage.statistics import attempts, causes, samples, stats
from liteq.storage.statistics.stats import Key, Stat, Tally
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, FakeWorker, Send

MINUTE, HOUR, DAY = 60, 3_600, 86_400
START_MS = 1_000


def error_of(text: str) -> bytes:
    return encode_error(ValueError(text))


def failed(text: str = "no") -> DeadLetter:
    return DeadLetter(error_of(text))


def sums_of(*keys: Key, run_s: float = 0.02, wait_s: float = 0.0) -> dict[Key, Tally]:
    found: dict[Key, Tally] = {}
    for key in keys:
        found.setdefault(key, Tally()).ran(run_s, wait_s)
    return found


DONE: Key = ("t", "celery", "succeeded", "")


def total(rows: list[Stat]) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for row in rows:
        key = (row.task, row.queue, row.outcome, row.cause)
        found[key] = found.get(key, 0) + row.tally.n
    return found


# -- when it began -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Ack(b"1"), failed(), Cancel(ERROR)])
def test_the_end_says_when_its_execution_began(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, outcome: Ack | DeadLetter | Cancel
) -> None:
    id_ = send()
    lease = worker.claim_one()
    ran = (clock.now_ms() - 250, 0.25)
    told = Ack(outcome.result, ran) if isinstance(outcome, Ack) else outcome
    storage.settle([(lease, told)], ran={lease.token: ran})
    record = storage.reader.find(id_)
    assert record is not None
    assert (record.started_ms, record.finished_ms) == (clock.now_ms() - 250, clock.now_ms())


def test_one_alone_says_so_too(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    ids = [send(), send()]
    leases = worker.claim()
    for n, sums in enumerate(({}, sums_of(DONE))):
        settled = [(leases[n], Ack(b"1", (7 + n, 0.1)))]
        storage.turn(settled, (), worker=0, limit=0, visibility_s=0, sums=sums)
    assert [record.started_ms for record in storage.reader.find_many(ids).values()] == [7, 8]
    assert total(storage.stats.totals()) == {DONE: 1}


def test_what_is_to_run_again_has_not_begun(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    """STARTED is what a task asks for (`track_started`), and no consequence of an attempt."""
    id_ = send()
    lease = worker.claim_one()
    storage.settle([(lease, RetryAt(clock.now_ms(), error=ERROR))], ran={lease.token: (clock.now_ms(), 0.1)})
    record = storage.reader.find(id_)
    assert record is not None
    assert (record.state, record.started_ms) == (State.PENDING, None)
    storage.settle([(worker.claim_one(), failed())], ran={})
    assert storage.dead.requeue([id_]) == [id_]
    record = storage.reader.find(id_)
    assert record is not None
    assert record.started_ms is None


def test_a_tracked_task_keeps_the_time_of_its_claim(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    id_ = send(flags=Flag.TRACK_STARTED)
    claimed_ms = clock.now_ms()
    lease = worker.claim_one()
    clock.advance(seconds=1)
    storage.settle([(lease, Ack(b"1"))])
    record = storage.reader.find(id_)
    assert record is not None
    assert record.started_ms == claimed_ms


# -- attempts ----------------------------------------------------------------------------------------------------------


def outcomes(storage: Storage, id_: str) -> list[tuple[int, str]]:
    return [(one.n, one.outcome) for one in storage.attempts(id_)]


def test_a_first_success_has_no_attempts(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    assert storage.attempts(id_) == []


def test_each_attempt_has_its_own_error(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    id_ = send()
    for n, text in enumerate(("first", "second")):
        lease = worker.claim_one()
        clock.advance(seconds=1)
        ran = {lease.token: (clock.now_ms() - 1_000, 1.0)}
        assert storage.settle([(lease, RetryAt(clock.now_ms(), error=error_of(text)))], ran=ran) == []
        assert len(storage.attempts(id_)) == n + 1
    storage.settle([(worker.claim_one(), Release(crashed=True, error=ERROR))])
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    found = storage.attempts(id_)
    assert [(one.n, one.outcome) for one in found] == [(1, "retried"), (2, "retried"), (3, "crashed"), (4, "succeeded")]
    assert [one.error for one in found] == [error_of("first"), error_of("second"), ERROR, None]
    assert [one.ended_ms - one.started_ms for one in found[:2] if one.started_ms is not None] == [1_000, 1_000]
    assert {one.worker for one in found} == {"a"}


def test_the_only_attempt_of_a_dead_letter_is_kept(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    storage.settle([(worker.claim_one(), failed("no"))])
    (attempt,) = storage.attempts(id_)
    assert (attempt.outcome, attempt.error) == ("failed", error_of("no"))


def test_a_worker_that_vanished_is_an_attempt(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    worker.claim_one()
    storage.reap([worker.number])
    (attempt,) = storage.attempts(id_)
    assert (attempt.outcome, attempt.worker) == ("reaped", "a")


def test_attempts_go_with_their_row_also_after_a_requeue(storage: Storage, send: Send, worker: FakeWorker) -> None:
    """A row's number may come again: another message must not have these attempts."""
    id_ = send(flags=Flag.IGNORE_RESULT)
    storage.settle([(worker.claim_one(), failed())])
    storage.dead.requeue([id_])
    storage.settle([(worker.claim_one(), Ack(None))])
    assert storage.reader.find(id_) is None
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_attempts") == [(0,)]


def test_of_a_task_that_is_retried_for_ever_the_newest_attempts_stay(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MOST", 3)
    id_ = send()
    for _ in range(5):
        storage.settle([(worker.claim_one(), RetryAt(clock.now_ms(), error=ERROR))])
    assert outcomes(storage, id_) == [(3, "retried"), (4, "retried"), (5, "retried")]


def test_a_lost_lease_leaves_no_attempt_and_no_cause(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    id_ = send()
    stale = worker.claim_one()
    storage.reap([worker.number])
    other.claim_one()
    assert storage.settle([(stale, failed("late"))]) == [stale]
    assert outcomes(storage, id_) == [(1, "reaped")]
    assert storage.causes.list() == []


# -- causes ------------------------------------------------------------------------------------------------------------


def test_what_fails_alike_is_one_cause(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    storage.release = "v1.4"
    ids = [send() for _ in range(3)]
    texts = ("order 77 of 'ann' is gone", "order 1,204 of 'bob' is gone", "nothing alike")
    storage.settle([(lease, failed(text)) for lease, text in zip(worker.claim(), texts, strict=True)])
    first_ms = clock.now_ms()
    clock.advance(seconds=60)
    ids.append(send())
    storage.release = "v1.5"
    storage.settle([(worker.claim_one(), failed("order 5 of 'cyd' is gone"))])
    newest, older = storage.causes.list()
    assert (newest.n, newest.exception, newest.message) == (3, "ValueError", "order # of '*' is gone")
    assert (newest.first_ms, newest.last_ms) == (first_ms, clock.now_ms())
    assert (newest.task, newest.queue, newest.release, newest.sample) == ("t", "celery", "v1.4", ids[3])
    assert older.n == 1
    assert [id_ for _, _, id_, _ in storage.causes.tasks_of(newest.id)] == [ids[3], ids[1], ids[0]]
    assert storage.causes.count_dead(newest.id) == 3


def test_the_tasks_of_a_cause_come_by_pages(storage: Storage, send: Send, worker: FakeWorker) -> None:
    ids = [send() for _ in range(5)]
    storage.settle([(lease, failed()) for lease in worker.claim()])
    (cause,) = storage.causes.list()
    first = storage.causes.tasks_of(cause.id, limit=3)
    rest = storage.causes.tasks_of(cause.id, after=first[-1][:2], limit=3)
    assert [id_ for _, _, id_, _ in (*first, *rest)] == ids[::-1]


def test_what_was_requeued_is_no_task_of_its_cause_and_the_count_stays(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    id_ = send()
    storage.settle([(worker.claim_one(), failed())])
    (cause,) = storage.causes.list()
    storage.dead.requeue([id_])
    assert storage.causes.tasks_of(cause.id) == []
    found = storage.causes.find(cause.id)
    assert found is not None
    assert found.n == 1


def test_a_retry_without_an_exception_has_no_cause(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    from liteq.exceptions import Retry

    send()
    asked = encode_error(Retry("again"))
    assert cause_of("t", asked) is None
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms(), error=asked))])
    assert storage.causes.list() == []


def test_what_vanished_too_often_has_a_cause(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.max_reaps = 1
    id_ = send()
    worker.claim_one()
    storage.reap([worker.number])
    (cause,) = storage.causes.list()
    assert (cause.exception, cause.sample) == (WorkerLostError.__name__, id_)
    assert [row[2] for row in storage.causes.tasks_of(cause.id)] == [id_]


def test_beyond_the_last_place_causes_are_counted_as_one(
    storage: Storage, send: Send, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes, "MOST", 2)
    ids = [send() for _ in range(5)]
    texts = ("a", "b", "c", "d", "a")
    for lease, text in zip(worker.claim(), texts, strict=True):
        storage.settle([(lease, failed(text))])
    assert {cause.message: cause.n for cause in storage.causes.list()} == {"a": 2, "b": 1, "": 2}
    assert {id_ for _, _, id_, _ in storage.causes.tasks_of(OTHER)} == {ids[2], ids[3]}


def test_a_cause_goes_when_it_is_old_and_nothing_has_it(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    id_ = send()
    storage.settle([(worker.claim_one(), failed())])
    clock.advance(seconds=91 * DAY)
    storage.stats.tidy()
    assert len(storage.causes.list()) == 1
    storage.dead.drop([id_])
    storage.stats.tidy()
    assert storage.causes.list() == []


def test_history_is_kept_for_as_long_as_it_is_said(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    clock.advance_to(1_800_000_000_000 // (HOUR * 1000) * HOUR * 1000)
    id_ = send()
    storage.settle([(worker.claim_one(), failed())])
    storage.dead.drop([id_])
    storage.stats.add(sums_of(DONE))
    storage.stats.sample()
    clock.advance(seconds=3 * HOUR)
    for age in (None, 0, 4 * HOUR):
        storage.stats.tidy(age)
        assert (len(storage.causes.list()), len(storage.stats.samples("running", 5 * HOUR))) == (1, 1)
    storage.stats.tidy(2 * HOUR)
    assert (storage.causes.list(), storage.stats.samples("running", 5 * HOUR)) == ([], [])
    assert Spans(storage)() == {0: 1}
    assert total(storage.stats.totals()) == {DONE: 1}


# -- sums --------------------------------------------------------------------------------------------------------------


def test_sums_add_up_with_those_of_other_workers(storage: Storage) -> None:
    storage.stats.add(sums_of(DONE, DONE, run_s=0.02))
    storage.stats.add(sums_of(DONE, run_s=100, wait_s=2))
    (row,) = storage.stats.totals()
    assert (row.tally.n, row.tally.run_us, row.tally.wait_us) == (3, 100_040_000, 2_000_000)
    assert row.tally.run[stats.bucket_of(0.02)] == 2
    assert row.tally.run[stats.bucket_of(100)] == 1
    assert row.tally.wait[stats.bucket_of(2)] == 1


def test_minutes_become_hours_and_hours_go_and_the_sum_of_all_stays(storage: Storage, clock: FakeClock) -> None:
    clock.advance_to(1_800_000_000_000 // (HOUR * 1000) * HOUR * 1000)
    for _ in range(3):
        storage.stats.add(sums_of(DONE))
        clock.advance(seconds=MINUTE)
    spans = Spans(storage)
    assert spans() == {0: 1, 1: 3}
    clock.advance(seconds=49 * HOUR)
    storage.stats.add(sums_of(DONE))
    assert sum(total(storage.stats.series(60 * HOUR)).values()) == 4
    storage.stats.tidy()
    assert spans() == {0: 1, 1: 1, 60: 1}
    assert [row.tally.n for row in storage.stats.series(60 * HOUR)] == [3, 1]
    clock.advance(seconds=91 * DAY)
    storage.stats.tidy()
    assert spans() == {0: 1}
    assert total(storage.stats.totals()) == {DONE: 4}
    assert storage.stats.series(DAY) == []


def test_of_more_rows_than_are_read_the_newest_are_told(storage: Storage, clock: FakeClock) -> None:
    first = clock.now_ms() // 60_000
    for _ in range(3):
        storage.stats.add(sums_of(("a", "q", "succeeded", ""), ("b", "other", "succeeded", "")))
        clock.advance(seconds=MINUTE)
    with storage.driver.read() as tx:
        found = stats.series(tx, since_minute=first, until_minute=first + 3, limit=4)
        assert [(row.minute, row.task) for row in found] == [
            (first + 1, "a"), (first + 1, "b"), (first + 2, "a"), (first + 2, "b"),
        ]  # fmt: skip
        for one in ({"task": "a"}, {"queue": "q"}, {"task": "a", "queue": "q"}):
            of_one = stats.series(tx, since_minute=first, until_minute=first + 3, **one, limit=3)
            assert [(row.minute - first, row.task) for row in of_one] == [(0, "a"), (1, "a"), (2, "a")]


def test_ends_are_added_up_by_slots_of_minutes_and_by_queue(storage: Storage, clock: FakeClock) -> None:
    clock.advance_to(1_800_000_000_000 // (HOUR * 1000) * HOUR * 1000)
    for _ in range(2):
        storage.stats.add(sums_of(("a", "q", "failed", "KeyError"), ("b", "q", "crashed", ""), DONE))
        clock.advance(seconds=MINUTE)
    clock.advance(seconds=49 * HOUR)
    storage.stats.tidy()
    storage.stats.add(sums_of(("a", "q", "failed", "KeyError"), ("b", "other", "failed", "")))
    now = clock.now_ms() // 60_000
    hours, slots = now // 60 * 60 - 49 * 60, now // 60 * 60
    found = storage.stats.by_slot(60 * HOUR, 60, ["failed", "crashed"])
    assert sorted(found) == [(hours, "q", 2), (hours, "q", 2), (slots, "other", 1), (slots, "q", 1)]
    assert storage.stats.by_slot(60 * HOUR, 60, ["failed"], queue="other") == [(slots, "other", 1)]
    assert sorted(storage.stats.by_slot(60 * HOUR, 60, ["failed"], task="a")) == [(hours, "q", 2), (slots, "q", 1)]


class Spans:
    """How many rows there are of each span of time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __call__(self) -> dict[int, int]:
        with self._storage.driver.read() as tx:
            return dict(tx.execute("SELECT span, count(*) FROM liteq_stats GROUP BY span"))


def test_many_rows_are_folded_in_several_transactions(storage: Storage, clock: FakeClock) -> None:
    tasks = [f"t{n}" for n in range(300)]
    for _ in range(2):
        storage.stats.add(sums_of(*[(task, "q", "succeeded", "") for task in tasks]))
        clock.advance(seconds=MINUTE)
    clock.advance(seconds=50 * HOUR)
    before = total(storage.stats.series(60 * HOUR))
    storage.stats.tidy()
    assert total(storage.stats.series(60 * HOUR)) == before == {(task, "q", "succeeded", ""): 2 for task in tasks}
    assert Spans(storage)().get(1) is None


def test_beyond_the_last_place_names_are_counted_as_one(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MOST_NAMES", 2)
    monkeypatch.setattr(stats, "MOST_CAUSES", 1)
    for task in "abcda":
        storage.stats.add(sums_of((task, "q", "succeeded", "")))
    assert total(storage.stats.totals()) == {
        ("a", "q", "succeeded", ""): 2, ("b", "q", "succeeded", ""): 1, ("other", "q", "succeeded", ""): 2,
    }  # fmt: skip
    for cause in ("KeyError", "ValueError", "OSError"):
        storage.stats.add(sums_of(("a", "q", "failed", cause)))
    found = {row.cause: row.tally.n for row in storage.stats.totals() if row.outcome == "failed"}
    assert found == {"KeyError": 1, "other": 2}


def test_what_was_revoked_before_it_ran_is_counted(storage: Storage, send: Send) -> None:
    storage.cancel([send(), send()])
    assert total(storage.stats.totals()) == {("t", "celery", "cancelled", ""): 2}


def test_sums_of_a_turn_that_is_rolled_back_are_not_in_the_file(
    storage: Storage, send: Send, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    send()
    lease = worker.claim_one()

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr("liteq.storage.statistics.event_log.write", full)
    with pytest.raises(RuntimeError):
        storage.turn(
            [(lease, Ack(b"1"))], (), worker=0, limit=0, visibility_s=0, sums=sums_of(DONE), events=[(None, b"{}")]
        )
    assert storage.stats.totals() == []


@pytest.mark.parametrize("limit", [0, 4])
def test_events_of_a_turn_that_finds_nothing_to_do_are_in_the_file(storage: Storage, limit: int) -> None:
    last = storage.events.last()
    turn = storage.turn((), ("celery",), worker=1, limit=limit, visibility_s=60, events=[(None, b'{"type": "e"}')])
    assert turn.leases == []
    assert [event for _, event in storage.events.after(last, 10)] == [b'{"type": "e"}']


# -- measures ----------------------------------------------------------------------------------------------------------


def test_a_minute_is_measured_once(storage: Storage, send: Send, clock: FakeClock) -> None:
    send(queue="mail")
    send(queue="mail")
    send(queue="slow")
    clock.advance(seconds=5)
    assert storage.stats.sample()
    assert not storage.stats.sample()
    minute = clock.now_ms() // 60_000
    assert storage.stats.samples("waiting:mail", HOUR) == [(minute, 2)]
    assert storage.stats.samples("waiting", HOUR) == [(minute, 3)]
    assert storage.stats.samples("head_wait_ms:slow", HOUR) == [(minute, 5_000)]
    assert storage.stats.samples("running", HOUR) == [(minute, 0)]
    clock.advance(seconds=60)
    assert storage.stats.sample()
    assert [value for _, value in storage.stats.samples("waiting", HOUR)] == [3, 3]


def test_of_old_measures_one_an_hour_stays(storage: Storage, clock: FakeClock) -> None:
    clock.advance_to(1_800_000_000_000 // (HOUR * 1000) * HOUR * 1000)
    for _ in range(61):
        storage.stats.sample()
        clock.advance(seconds=MINUTE)
    clock.advance(seconds=48 * HOUR - MINUTE)
    assert clock.now_ms() % (HOUR * 1000) == 0
    storage.stats.tidy()
    assert len(storage.stats.samples("running", 100 * HOUR)) == 2
    clock.advance(seconds=90 * DAY)
    storage.stats.tidy()
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_samples") == [(0,)]


def test_old_measures_are_thinned_however_many_keys_there_are(
    storage: Storage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "KEYS", 2)
    clock.advance_to(1_800_000_000_000 // (HOUR * 1000) * HOUR * 1000)
    for _ in range(2):
        storage.stats.sample()
        clock.advance(seconds=MINUTE)
    clock.advance(seconds=49 * HOUR - 2 * MINUTE)
    storage.stats.tidy()
    for key in ("dead", "file_bytes", "head_wait_ms", "running", "scheduled", "waiting"):
        assert len(storage.stats.samples(key, 100 * HOUR)) == 1, key


def test_a_release_leaves_a_mark_when_it_is_new(storage: Storage, clock: FakeClock) -> None:
    assert storage.audit.mark_release("v1")
    storage.audit.mark("an incident")
    assert not storage.audit.mark_release("v1")
    assert storage.audit.mark_release("v2")
    assert [mark.label for mark in storage.audit.marks(0, clock.now_ms() + 1)] == ["v1", "an incident", "v2"]
