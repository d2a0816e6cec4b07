"""Unique keys that say more: until the start, for a time, with what a new call does to the one that stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from liteq.message import (
    Ack,
    Batch,
    Cancel,
    DeadLetter,
    Exclusion,
    Flag,
    Group,
    Lease,
    Limited,
    Message,
    Outcome,
    Release,
    Replace,
    RetryAt,
    new_id,
)
from liteq.serialization import decode
from liteq.states import State
from liteq.storage.housekeeping import retention as clearing
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Send, StateOf, row

LARGE = b'[["' + b"x" * 5_000 + b'"],{}]'
LAST_COUNTS = Exclusion("replace")
HOUR_MS = 3_600_000


class WallClock(FakeClock):
    """A clock whose wall can be set while the monotonic one goes on."""

    off_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + int(self.off_s * 1000)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


Call = Callable[..., str]


@pytest.fixture
def call(storage: Storage) -> Call:
    """Send a call of task "t" with the key "k", which excludes others until it starts; the id that stands for it."""

    def call(argument: object = None, **fields: Any) -> str:
        payload = PAYLOAD if argument is None else orjson.dumps([[argument], {}])
        given = {"payload": payload, "unique_key": "k", "flags": Flag.UNSTARTED, **fields}
        return storage.enqueue(Batch([Message(**{"id": new_id(), "task": "t", **given})]))[0]

    return call


@pytest.fixture
def debounced(call: Call, storage: Storage) -> Call:
    """A call that is debounced for 10 seconds, 25 after the first at the latest."""

    def debounced(argument: object = None, **fields: Any) -> str:
        rule = Exclusion("postpone", max_wait_ms=25_000)
        return call(argument, unique=rule, due_ms=storage.clock.now_ms() + 10_000, delay_ms=10_000, **fields)

    return debounced


@pytest.fixture(params=[None, "queue:q", "other"], ids=["no limits", "under a limit", "beside a limit"])
def throttled(request: pytest.FixtureRequest, storage: Storage, call: Call) -> Call:
    """A call that is throttled to one in 10 seconds; `trailing`: and the last of those."""
    if request.param is not None:
        storage.limits.set(request.param, concurrent=10)

    def throttled(argument: object = None, *, trailing: bool = False, **fields: Any) -> str:
        rule = Exclusion("replace" if trailing else "keep", every_ms=10_000, trailing=trailing)
        return call(argument, unique=rule, options=orjson.dumps({"throttle": ["k", 10_000]}), **fields)

    return throttled


def argument_of(lease: Lease) -> object:
    return decode(lease.payload)[0][0]


def due_in(storage: Storage, id_: str) -> float:
    record = storage.reader.find(id_)
    assert record is not None
    return (record.due_ms - storage.clock.now_ms()) / 1000


# -- until it starts -------------------------------------------------------------------------------------------------


def test_it_excludes_others_until_it_is_claimed(call: Call, worker: FakeWorker) -> None:
    first = call()
    assert call() == first
    assert worker.claim_one().id == first
    second = call()
    assert second != first
    assert call() == second


def test_what_has_started_tells_its_key_without_a_mark(storage: Storage, call: Call, worker: FakeWorker) -> None:
    call()
    lease = worker.claim_one()
    call(2, unique=LAST_COUNTS)
    record = storage.reader.find(lease.id)
    assert record is not None
    assert record.unique_key == "k"


BACK = {
    "released": Release,
    "crashed": lambda: Release(crashed=True, error=ERROR),
    "handed back": lambda: Release(pause_ms=0),
    "retried": lambda: RetryAt(0, ERROR),
}


@pytest.mark.parametrize("how", BACK)
def test_back_in_its_queue_it_has_its_key_again(storage: Storage, call: Call, worker: FakeWorker, how: str) -> None:
    first = call()
    storage.settle([(worker.claim_one(), BACK[how]())])
    assert call() == first
    assert [lease.id for lease in worker.claim()] == [first]


@pytest.mark.parametrize("how", BACK)
def test_back_in_its_queue_it_follows_the_one_that_has_its_key(
    storage: Storage, call: Call, worker: FakeWorker, state: StateOf, how: str
) -> None:
    first = call()
    lease = worker.claim_one()
    second = call()
    storage.settle([(lease, BACK[how]())])
    (other,) = worker.claim()
    assert other.id == second
    storage.settle([(other, Ack(b"2"))])
    assert state(first) is State.SUCCEEDED
    assert storage.reader.find(first).result == b"2"  # type: ignore[union-attr]


def test_what_met_a_limit_outside_has_its_key_again(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call()
    storage.settle([(worker.claim_one(), Limited(1_000))])
    assert call() == first


def test_a_worker_that_vanished_leaves_its_key_behind(
    storage: Storage, call: Call, worker: FakeWorker, other: FakeWorker
) -> None:
    first = call()
    worker.claim_one()
    storage.reap([worker.number])
    assert call() == first
    assert [lease.id for lease in other.claim()] == [first]


@pytest.mark.parametrize("how", [*BACK, "vanished"])
def test_what_a_newer_call_has_superseded_does_not_run_again(
    storage: Storage, call: Call, worker: FakeWorker, other: FakeWorker, state: StateOf, how: str
) -> None:
    old = call("old", unique=LAST_COUNTS)
    lease = worker.claim_one()
    call("new", unique=LAST_COUNTS, flags=Flag.UNSTARTED | Flag.IGNORE_RESULT)
    newer = other.claim_one()
    assert argument_of(newer) == "new"
    storage.settle([(newer, Ack())])
    if how == "vanished":
        storage.reap([worker.number])
    else:
        storage.settle([(lease, BACK[how]())])
    assert other.claim() == []
    assert state(old) is State.SUCCEEDED


def test_a_retry_of_one_that_stands_until_its_end_keeps_its_key(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = call(flags=0)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + 5_000, ERROR, delay_ms=5_000))])
    assert call(flags=0) == first


def test_a_dead_letter_that_runs_again_has_its_key_again(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call()
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    assert storage.dead.requeue([first]) == [first]
    assert call() == first


def test_a_dead_letter_runs_again_beside_the_one_that_has_its_key(
    storage: Storage, call: Call, worker: FakeWorker
) -> None:
    first = call()
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    second = call()
    assert storage.dead.requeue([first]) == [first]
    assert call() == second
    assert {lease.id for lease in worker.claim()} == {first, second}


def test_a_dead_letter_that_stepped_aside_has_its_own_mark(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = Message("a", "t", PAYLOAD, unique_key="k", flags=Flag.UNSTARTED | Flag.LINKED)
    storage.enqueue(Batch([first, row("b", awaits="a")]))
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    storage.enqueue(Batch([replace(first, flags=Flag.UNSTARTED)]), again=["a"])
    clock.advance(seconds=1)
    (aside,) = storage.dead.matching()
    assert storage.dead.requeue([aside]) == [aside]
    assert [lease.id for lease in worker.claim()] == ["a", aside]


# -- what stands gets the new arguments ------------------------------------------------------------------------------


def test_what_is_replaced_has_the_newest_arguments_and_options(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = call("a", due_ms=clock.now_ms() + 5_000, delay_ms=5_000, flags=0, unique=LAST_COUNTS)
    more = {"queue": "q", "priority": 7, "expires_ms": clock.now_ms() + HOUR_MS, "options": b'{"shadow":"s"}'}
    assert call("b", flags=0, unique=LAST_COUNTS, **more) == first
    assert due_in(storage, first) == 5
    clock.advance(seconds=5)
    assert worker.claim() == []
    (lease,) = worker.claim(queue="q")
    assert (argument_of(lease), lease.priority, lease.options) == ("b", 7, b'{"shadow":"s"}')


@pytest.mark.parametrize(("before", "after"), [(LARGE, PAYLOAD), (PAYLOAD, LARGE), (LARGE, LARGE.replace(b"x", b"y"))])
def test_large_arguments_are_replaced_too(call: Call, worker: FakeWorker, before: bytes, after: bytes) -> None:
    call(payload=before, unique=LAST_COUNTS)
    call(payload=after, unique=LAST_COUNTS)
    assert worker.arguments() == after


def test_what_runs_keeps_its_arguments(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call("a", flags=0, unique=LAST_COUNTS)
    worker.claim_one()
    assert call("b", flags=0, unique=LAST_COUNTS) == first
    assert decode(storage.reader.find(first).payload)[0] == ["a"]  # type: ignore[union-attr]


def test_what_waits_for_its_retry_begins_anew_with_the_new_arguments(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = call("a", flags=0, unique=LAST_COUNTS)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + 5_000, ERROR, delay_ms=5_000))])
    assert call("b", flags=0, unique=LAST_COUNTS) == first
    clock.advance(seconds=5)
    lease = worker.claim_one()
    assert (argument_of(lease), lease.retries) == ("b", 0)


def test_the_new_arguments_are_not_begun_at_the_cursor_of_the_old_ones(
    storage: Storage, call: Call, worker: FakeWorker
) -> None:
    first = call("a", unique=LAST_COUNTS)
    lease = worker.claim_one()
    assert storage.kept.save_cursor((lease.seq, lease.token), b"17")
    storage.settle([(lease, Release())])
    assert call("b", unique=LAST_COUNTS) == first
    again = worker.claim_one()
    assert (argument_of(again), again.flags & Flag.CURSOR, storage.kept.cursor(again.seq)) == ("b", 0, None)


def test_a_result_that_somebody_may_wait_for_is_kept(call: Call, worker: FakeWorker) -> None:
    call("a", unique=LAST_COUNTS)
    call("b", unique=LAST_COUNTS, flags=Flag.UNSTARTED | Flag.IGNORE_RESULT)
    assert not worker.claim_one().flags & Flag.IGNORE_RESULT


def test_an_errback_that_was_called_with_other_arguments_is_called_again_after_a_replay(
    storage: Storage, call: Call, worker: FakeWorker
) -> None:
    errback = {"task": "e", "unique_key": "k", "unique": LAST_COUNTS}
    storage.enqueue(Batch([row("a", Flag.LINKED), row("err", Flag.ON_FAILURE, awaits="a", **errback)]))
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    assert call("b", flags=0, **errback) == "err"
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    storage.dead.requeue(["a"])
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    again = worker.claim_one()
    assert (again.task, argument_of(again)) == ("e", "b")
    assert call("c", flags=0, **errback) == again.id, "it has its key"


def test_the_message_of_another_task_is_not_overwritten(call: Call, worker: FakeWorker) -> None:
    first = call("a", task="other")
    assert call("b", unique=LAST_COUNTS) == first
    assert argument_of(worker.claim_one()) == "a"


def test_what_is_held_by_a_limit_is_looked_at_by_its_new_keys(
    storage: Storage, call: Call, send: Send, worker: FakeWorker, state: StateOf
) -> None:
    storage.limits.set("a", concurrent=1)
    send(keys='[null,"a"]')
    held = call(1, keys='[null,"a"]', unique=LAST_COUNTS)
    assert len(worker.claim()) == 1
    assert call(2, keys='[null,"a"]', unique=LAST_COUNTS) == held
    assert state(held) is State.HELD
    assert call(3, keys='[null,"b"]', unique=LAST_COUNTS) == held
    assert [argument_of(lease) for lease in worker.claim()] == [3]


# -- debounce --------------------------------------------------------------------------------------------------------


def test_each_call_puts_it_off(storage: Storage, debounced: Call, worker: FakeWorker, clock: WallClock) -> None:
    first = debounced(1)
    for n in (2, 3):
        clock.advance(seconds=7)
        assert debounced(n) == first
        assert due_in(storage, first) == 10
    assert worker.claim() == []
    clock.advance(seconds=10)
    assert [argument_of(lease) for lease in worker.claim()] == [3]


def test_it_is_put_off_no_further_than_max_wait(
    storage: Storage, debounced: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = debounced(0)
    for n in range(1, 4):
        clock.advance(seconds=8)
        assert debounced(n) == first
    assert due_in(storage, first) == 1
    clock.advance(seconds=1)
    assert argument_of(worker.claim_one()) == 3
    assert due_in(storage, debounced(9)) == 10


def test_a_clock_that_is_set_back_puts_it_off_no_further(storage: Storage, debounced: Call, clock: WallClock) -> None:
    first = debounced()
    clock.advance(seconds=9)
    debounced()
    clock.off_s = -HOUR_MS / 1000
    clock.advance(seconds=9)
    debounced()
    known_s = 9 if storage.driver.one_machine else 18  # of the 18; a server's clock was not set
    assert due_in(storage, first) == min(10, 25 - known_s)
    clock.advance(seconds=9)
    assert debounced() == first
    assert due_in(storage, first) == 25 - known_s - 9


def test_a_clock_that_is_set_back_while_nobody_calls_is_capped(
    storage: Storage, debounced: Call, worker: FakeWorker, clock: WallClock
) -> None:
    debounced()
    clock.off_s = -HOUR_MS / 1000
    storage.cap()
    clock.advance(seconds=10)
    assert len(worker.claim()) == 1


def test_what_waits_for_its_retry_is_put_off_as_a_new_one(
    storage: Storage, debounced: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = debounced(1)
    clock.advance(seconds=20)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + 60_000, ERROR, delay_ms=60_000))])
    clock.advance(seconds=8)
    assert debounced(2) == first
    assert due_in(storage, first) == 10


def test_what_waits_for_another_is_put_off_when_that_has_ended(
    storage: Storage, debounced: Call, worker: FakeWorker, clock: WallClock
) -> None:
    behind = Message("b", "t", PAYLOAD, awaits="a", unique_key="k", flags=Flag.UNSTARTED | Flag.TAKES_INPUT)
    storage.enqueue(Batch([row("a", Flag.LINKED), behind]))
    assert debounced(1) == "b"
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    assert worker.claim() == []
    clock.advance(seconds=10)
    lease = worker.claim_one()
    assert (lease.id, argument_of(lease), lease.flags & Flag.TAKES_INPUT) == ("b", 1, 0)


# -- within ----------------------------------------------------------------------------------------------------------

WITHIN = Exclusion(within_ms=60_000)


def test_what_has_finished_stands_until_its_time_is_over(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = call(flags=0, unique=WITHIN)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    clock.advance(seconds=59)
    assert call(flags=0, unique=WITHIN) == first
    assert worker.claim() == []
    clock.advance(seconds=1)
    assert call(flags=0, unique=WITHIN) != first


def test_what_has_left_the_file_stands_too(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call(flags=Flag.IGNORE_RESULT, unique=WITHIN)
    storage.settle([(worker.claim_one(), Ack())])
    assert storage.reader.find(first) is None
    assert call(flags=0, unique=WITHIN) == first


def forget(storage: Storage, id_: str) -> None:
    assert storage.forget([id_]) == 0


def retention(storage: Storage, id_: str) -> None:
    while storage.expire(result_expires_s=1, dead_expires_s=1):
        pass


@pytest.mark.parametrize("takes_away", [forget, retention])
@pytest.mark.parametrize("cancelled", [False, True], ids=["ran", "cancelled"])
def test_the_result_of_what_stands_stays(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock, takes_away: Any, cancelled: bool
) -> None:
    """A row that has a place, tags or a log took its exclusion along when it left."""
    storage.limits.set("task:t", concurrent=1)
    first = call(flags=0, unique=WITHIN)
    if cancelled:
        storage.cancel([first])
    else:
        storage.settle([(worker.claim_one(), Ack(b"1"))])
    clock.advance(seconds=59)
    takes_away(storage, first)
    second = call(flags=0, unique=WITHIN)
    assert (second == first) is not cancelled
    clock.advance(seconds=1)
    while storage.expire(result_expires_s=1, dead_expires_s=1):
        pass
    assert storage.reader.find(first) is None


def test_what_was_cancelled_excludes_nobody(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call(flags=0, unique=WITHIN)
    storage.cancel([first])
    second = call(flags=0, unique=WITHIN)
    assert second != first
    storage.settle([(worker.claim_one(), Cancel())])
    assert call(flags=0, unique=WITHIN) not in {first, second}


def test_what_was_purged_excludes_nobody(storage: Storage, call: Call) -> None:
    first = call(flags=0, unique=WITHIN)
    storage.purge()
    assert call(flags=0, unique=WITHIN) != first


@pytest.mark.parametrize("outcome", [Ack(b"1"), DeadLetter(ERROR)], ids=["of what has succeeded", "of dead letters"])
def test_a_look_for_what_is_old_does_not_go_through_all_that_stays(
    storage: Storage,
    call: Call,
    worker: FakeWorker,
    clock: WallClock,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Outcome,
) -> None:
    def expire(looks: int) -> list[int]:
        return [storage.expire(result_expires_s=60, dead_expires_s=60) for _ in range(looks)]

    monkeypatch.setattr(clearing, "LOOKED_AT", 2)
    for n in range(5):
        call(flags=0, unique_key=f"k{n}", unique=Exclusion(within_ms=HOUR_MS))
        storage.settle([(worker.claim_one(), outcome)])
        clock.advance(seconds=1)
    storage.enqueue(Batch([row("free")]))
    storage.settle([(worker.claim_one(), outcome)])
    clock.advance(seconds=61)
    assert expire(2) == [0, 1], "of three messages each, the last of which is free"
    assert expire(2) == [0, 0]
    clock.advance(seconds=3600)
    expire(4)
    assert storage.reader.counts() == []


@pytest.mark.parametrize("held", ["pending", "blocked"])
@pytest.mark.parametrize("rule", [None, WITHIN], ids=["until its end", "for a time"])
def test_what_has_expired_excludes_nobody(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock, rule: Exclusion | None, held: str
) -> None:
    storage.enqueue(Batch([row("a", Flag.LINKED)]))
    before = worker.claim_one()
    fields = {"awaits": "a"} if held == "blocked" else {}
    first = call(flags=Flag.LINKED, unique=rule, expires_ms=clock.now_ms() + 10_000, **fields)
    storage.enqueue(Batch([row("after", awaits=first)]))
    clock.advance(seconds=9)
    assert call(flags=0, unique=rule) == first
    clock.advance(seconds=1)
    second = call(flags=0, unique=rule)
    states = {record.id: record.state for record in storage.reader.find_many([first, second, "after"]).values()}
    assert states == {first: State.CANCELLED, second: State.PENDING, "after": State.UPSTREAM_FAILED}
    storage.settle([(before, Ack(b"1"))])
    assert [lease.id for lease in worker.claim()] == [second]


def test_what_goes_on_when_its_latest_start_is_over_stands(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = call(flags=0, expires_ms=clock.now_ms() + 10_000)
    lease = worker.claim_one()
    clock.advance(seconds=10)
    assert call(flags=0) == first, "it runs"
    storage.kept.save_cursor((lease.seq, lease.token), b"1")
    storage.settle([(lease, Release())])
    assert call(flags=0) == first, "it has saved a cursor"


def test_what_has_replaced_itself_stands_when_its_latest_start_is_over(
    storage: Storage, call: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = call(flags=0, expires_ms=clock.now_ms() + 10_000)
    storage.settle([(worker.claim_one(), Replace(Batch([row("in its place")]), "in its place"))])
    clock.advance(seconds=10)
    assert call(flags=0) == first, "it began in time"
    assert [lease.id for lease in worker.claim()] == ["in its place"]


def test_a_failed_one_stands(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call(flags=0, unique=WITHIN)
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    assert call(flags=0, unique=WITHIN) == first


@pytest.mark.parametrize("jump_s", [-86_400, 86_400])
def test_a_clock_that_is_set_changes_no_span(
    call: Call, worker: FakeWorker, clock: WallClock, storage: Storage, jump_s: int
) -> None:
    first = call(flags=0, unique=WITHIN)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    clock.off_s = jump_s
    clock.advance(seconds=59)
    storage.expire(result_expires_s=None, dead_expires_s=None)
    assert call(flags=0, unique=WITHIN) == first
    clock.advance(seconds=1)
    assert call(flags=0, unique=WITHIN) != first


def test_an_id_that_is_used_again_is_not_taken_by_what_is_excluded(
    storage: Storage, call: Call, worker: FakeWorker
) -> None:
    call(id="mine", flags=0, unique=WITHIN)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    message = Message("mine", "t", PAYLOAD, unique_key="k", unique=WITHIN)
    assert storage.enqueue(Batch([message]), again={"mine"}) == ["mine"]
    assert storage.reader.find("mine").result == b"1"  # type: ignore[union-attr]


def test_what_excluded_others_is_forgotten_in_chunks(call: Call, storage: Storage, clock: WallClock) -> None:
    for n in range(5):
        call(flags=0, unique_key=f"k{n}", unique=WITHIN)

    def left() -> int:
        with storage.driver.read() as tx:
            return int(tx.execute("SELECT count(*) FROM liteq_unique")[0][0])

    assert storage.expire(result_expires_s=None, dead_expires_s=None) == 0
    clock.advance(seconds=60)
    assert storage.expire(result_expires_s=None, dead_expires_s=None, limit=3) == 3
    assert storage.expire(result_expires_s=None, dead_expires_s=None, limit=3) == 2
    assert left() == 0


# -- throttle --------------------------------------------------------------------------------------------------------


def test_the_first_of_a_period_runs_and_the_period_counts_from_its_start(
    throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = throttled(1)
    clock.advance(seconds=30)  # nobody has time for it
    assert throttled(2) == first
    assert argument_of(worker.claim_one()) == 1
    clock.advance(seconds=9)
    assert throttled(3) == first
    clock.advance(seconds=1)
    assert throttled(4) != first
    assert argument_of(worker.claim_one()) == 4


def test_the_last_of_a_period_runs_at_its_end(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    throttled(1, trailing=True)
    assert argument_of(worker.claim_one()) == 1
    clock.advance(seconds=4)
    last = throttled(2, trailing=True)
    assert throttled(3, trailing=True) == last
    assert due_in(storage, last) == 6
    clock.advance(seconds=6)
    assert argument_of(worker.claim_one()) == 3
    clock.advance(seconds=9)
    assert due_in(storage, throttled(4, trailing=True)) == 1


def test_a_clock_that_is_set_forward_starts_nothing_within_a_period(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = throttled(1)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    clock.off_s = 86_400
    assert throttled(2) == first
    last = throttled(3, trailing=True)
    clock.off_s = 2 * 86_400
    assert worker.claim() == []
    assert due_in(storage, last) == 10
    clock.advance(seconds=10)
    assert [lease.id for lease in worker.claim()] == [last]


def test_what_a_clock_that_was_set_puts_off_is_in_nobodys_way(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    throttled(1)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    throttled(2, trailing=True)
    clock.off_s = 86_400
    storage.enqueue(Batch([row("other")]))
    assert [lease.id for lease in worker.claim(1)] == ["other"]


def test_after_a_restart_of_the_machine_with_a_wrong_clock_a_period_ends(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = throttled(1)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    with storage.driver.write() as tx:
        tx.execute("UPDATE liteq_unique SET boot = 'before'")
    clock.off_s = -86_400
    assert throttled(2) == first
    clock.advance(seconds=10)
    assert throttled(3) != first


def test_the_calls_of_a_period_find_the_result_of_its_first(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = throttled()
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    clock.advance(seconds=9)
    storage.expire(result_expires_s=1, dead_expires_s=1)
    assert throttled() == first
    assert storage.reader.find(first).result == b"1"  # type: ignore[union-attr]
    clock.advance(seconds=1)
    while storage.expire(result_expires_s=1, dead_expires_s=1):
        pass
    assert storage.reader.find(first) is None


def test_what_comes_back_within_its_own_period_runs(storage: Storage, throttled: Call, worker: FakeWorker) -> None:
    first = throttled(1)
    storage.settle([(worker.claim_one(), Release())])
    assert throttled(2) == first
    assert worker.claim_one().id == first


def test_the_next_period_does_not_wait_for_a_retry(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = throttled(1)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + HOUR_MS, ERROR, delay_ms=HOUR_MS))])
    clock.advance(seconds=9)
    assert throttled(2) == first
    assert worker.claim() == []
    clock.advance(seconds=1)
    assert throttled(3) == first
    lease = worker.claim_one()
    assert (lease.id, argument_of(lease), lease.retries) == (first, 3, 0)


def test_the_last_of_a_period_does_not_wait_for_a_retry(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    first = throttled(1, trailing=True)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + HOUR_MS, ERROR, delay_ms=HOUR_MS))])
    clock.advance(seconds=4)
    assert throttled(2, trailing=True) == first
    assert due_in(storage, first) == 6


# -- in a canvas -----------------------------------------------------------------------------------------------------


def test_a_part_follows_what_has_finished_within_its_time(
    storage: Storage, call: Call, worker: FakeWorker, state: StateOf
) -> None:
    call(flags=0, unique=WITHIN)
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    part = row("t", Flag.LINKED, group_id="g", unique_key="k", unique=WITHIN)
    body = row("body", Flag.TAKES_INPUT, awaits="g")
    storage.enqueue(Batch([part, body], [Group("g", 1)]))
    assert state("t") is State.SUCCEEDED
    assert [lease.id for lease in worker.claim()] == ["body"]


@pytest.mark.parametrize("end", [Ack(b"7"), DeadLetter(ERROR)], ids=["succeeded", "failed"])
def test_what_is_replaced_by_a_call_that_is_excluded_ends_as_the_one_that_stands(
    storage: Storage, call: Call, worker: FakeWorker, end: Outcome
) -> None:
    call(flags=0, unique=WITHIN)
    storage.settle([(worker.claim_one(), end)])
    storage.enqueue(Batch([row("a", Flag.LINKED), row("behind", awaits="a")]))
    excluded = Message("x", "t", PAYLOAD, unique_key="k", unique=WITHIN)
    storage.settle([(worker.claim_one(), Replace(Batch([excluded]), "x"))])
    record = storage.reader.find("a")
    assert record is not None
    assert record.state is (State.SUCCEEDED if type(end) is Ack else State.UPSTREAM_FAILED)
    assert [lease.id for lease in worker.claim()] == (["behind"] if type(end) is Ack else [])


def test_a_part_that_ends_with_a_late_holder_of_another_ends_those_behind_it(
    storage: Storage, state: StateOf, clock: WallClock
) -> None:
    late = Message("late", "t", PAYLOAD, unique_key="k", flags=Flag.LINKED)
    late.due_ms, late.expires_ms = clock.now_ms() + 9_000, clock.now_ms() + 1
    storage.enqueue(Batch([late, row("behind", Flag.LINKED, awaits="late", unique_key="other")]))
    clock.advance(seconds=1)
    first = Message("a", "t", PAYLOAD, unique_key="other", flags=Flag.LINKED)
    second = row("b", Flag.LINKED, awaits="a", unique_key="k")
    storage.enqueue(Batch([first, second, row("c", awaits="b")]))
    assert [state(id_) for id_ in "abc"] == [State.UPSTREAM_FAILED] * 3


def test_a_part_runs_where_what_excludes_it_has_left_the_file(storage: Storage, call: Call, worker: FakeWorker) -> None:
    call(flags=Flag.IGNORE_RESULT, unique=WITHIN)
    storage.settle([(worker.claim_one(), Ack())])
    storage.enqueue(Batch([row("t", Flag.LINKED, unique_key="k", unique=WITHIN), row("b", awaits="t")]))
    assert [lease.id for lease in worker.claim()] == ["t"]


def test_a_throttled_part_waits_for_the_end_of_the_period_where_what_it_would_follow_has_gone(
    storage: Storage, throttled: Call, worker: FakeWorker, clock: WallClock
) -> None:
    throttled(1, flags=Flag.UNSTARTED | Flag.IGNORE_RESULT)
    storage.settle([(worker.claim_one(), Ack())])
    rule = Exclusion(every_ms=10_000)
    part = row("t", Flag.LINKED | Flag.UNSTARTED, unique_key="k", unique=rule, options=b'{"throttle":["k",10000]}')
    storage.enqueue(Batch([part, row("b", awaits="t")]))
    assert worker.claim() == []
    clock.advance(seconds=10)
    assert [lease.id for lease in worker.claim()] == ["t"]


def test_a_part_that_waits_for_another_gives_no_arguments_away(
    storage: Storage, call: Call, worker: FakeWorker
) -> None:
    first = call("a", unique=LAST_COUNTS)
    behind = Message("b", "t", PAYLOAD, awaits="x", unique_key="k", unique=LAST_COUNTS, flags=Flag.UNSTARTED)
    storage.enqueue(Batch([row("x", Flag.LINKED), behind]))
    assert {lease.id: decode(lease.payload)[0] for lease in worker.claim()} == {first: ["a"], "x": []}


def test_a_run_that_has_not_begun_gets_the_new_input(storage: Storage, call: Call, worker: FakeWorker) -> None:
    first = call("a", flags=Flag.RUN, unique=LAST_COUNTS)
    assert call("b", flags=Flag.RUN, unique=LAST_COUNTS) == first
    assert storage.runs.start(Message(first, "t", b'[["b"],{}]', flags=Flag.RUN)).new is False
    assert argument_of(worker.claim_one()) == "b"
