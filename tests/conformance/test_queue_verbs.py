"""Enqueue, claim, settle, reap: one message's life."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise

import pytest

from liteq.exceptions import StorageBusy, StorageConflict, WorkerLostError
from liteq.message import Ack, Batch, Cancel, DeadLetter, Flag, Message, Release, RetryAt, new_id
from liteq.serialization import decode_error
from liteq.states import State
from liteq.storage import interrupts
from liteq.storage.claiming import claim
from liteq.storage.driver import Bell, Promise, Transaction
from liteq.storage.facades.operators import commands
from liteq.storage.operating.audit import Actor
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Send


def state_of(storage: Storage, message_id: str) -> State | None:
    record = storage.reader.find(message_id)
    return record.state if record else None


# -- enqueue ---------------------------------------------------------------------------------------------------------


def test_what_was_enqueued_is_there(storage: Storage, send: Send) -> None:
    message_id = send(queue="q", priority=3, options=b'{"a":1}')
    record = storage.reader.find(message_id)
    assert record is not None
    assert (record.task, record.queue, record.priority, record.state) == ("t", "q", 3, State.PENDING)
    assert (record.payload, record.options) == (PAYLOAD, b'{"a":1}')


def test_the_same_id_again_makes_no_second_row(storage: Storage, send: Send) -> None:
    first = send(id="mine", task="t")
    assert send(id="mine", task="other") == first
    record = storage.reader.find("mine")
    assert record is not None
    assert record.task == "t"
    assert sum(c.n for c in storage.reader.counts()) == 1


def test_a_unique_key_admits_one_unfinished_message(storage: Storage, send: Send, worker: FakeWorker) -> None:
    first = send(unique_key="k")
    assert send(unique_key="k") == first
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    assert send(unique_key="k") != first


def test_a_batch_is_written_whole_or_not_at_all(storage: Storage) -> None:
    good = Message(new_id(), "t", PAYLOAD)
    bad = Message(new_id(), None, PAYLOAD)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)not.null"):
        storage.enqueue(Batch([good, bad]))
    assert storage.reader.counts() == []


def test_many_go_in_one_commit(storage: Storage, worker: FakeWorker) -> None:
    assert storage.enqueue_many(Message(new_id(), "t", PAYLOAD) for _ in range(2_500)) == 2_500
    assert len(worker.claim(3_000)) == 2_500


# -- claim -----------------------------------------------------------------------------------------------------------


def test_the_highest_priority_comes_first_then_the_oldest(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    low = send(priority=0)
    clock.advance(seconds=1)
    high = [send(priority=9), send(priority=9)]
    assert [lease.id for lease in worker.claim()] == [*high, low]


def test_a_claim_takes_only_its_queue_and_its_limit(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send(queue="other")
    mine = [send(queue="q") for _ in range(3)]
    assert [lease.id for lease in worker.claim(2, "q")] == mine[:2]
    assert [lease.id for lease in worker.claim(5, "q")] == mine[2:]
    assert worker.claim(5, "q") == []


def test_a_queue_that_is_named_twice_is_claimed_from_once(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send()
    assert len(storage.claim(["celery", "celery"], worker=worker.number, limit=10, visibility_s=60)) == 1


def test_a_message_is_leased_to_one_worker(storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker) -> None:
    send()
    assert len(worker.claim()) == 1
    assert other.claim() == []


def test_fencing_tokens_only_go_up(storage: Storage, send: Send, worker: FakeWorker) -> None:
    tokens = []
    for _ in range(3):
        for _ in range(4):
            send()
        leases = worker.claim()
        tokens += [lease.token for lease in leases]
        storage.settle([(lease, Ack(None)) for lease in leases])  # the rows vanish; their tokens do not come again
    assert all(a < b for a, b in pairwise(tokens))


@pytest.mark.parametrize("others", [[], [3], [0, 6], [2, 3, 5]], ids=str)
def test_each_lease_has_the_token_of_its_row_also_where_others_stand_between(
    storage: Storage, send: Send, worker: FakeWorker, others: list[int]
) -> None:
    ids = [send(priority=n % 2, queue="other" if n in others else "celery") for n in range(7)]
    taken = worker.claim()
    assert [one.id for one in taken] == [ids[n] for n in (1, 3, 5, 0, 2, 4, 6) if n not in others]
    assert {state_of(storage, ids[n]) for n in others} <= {State.PENDING}
    assert storage.settle([(one, Ack(b"1")) for one in taken]) == []
    assert {state_of(storage, one.id) for one in taken} == {State.SUCCEEDED}


def test_fencing_tokens_stay_exact_whatever_the_rows_numbers_are(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    """2**53 is the last number up to which JSON's readers are exact."""
    newest, distance, rounds = 10**12, 1024, 6
    ids = [send() for _ in range(8)]
    with storage.driver.write() as tx:
        for n, message_id in enumerate(ids):
            tx.execute("UPDATE liteq_messages SET seq = ? WHERE id = ?", (newest + n * distance, message_id))
    highest = 0
    for _ in range(rounds):
        leases = worker.claim()
        tokens = [lease.token for lease in leases]
        assert len(set(tokens)) == len(ids)
        assert min(tokens) > highest
        highest = max(tokens)
        assert storage.heartbeat(worker.number, leases, visibility_s=60) == (True, []), "the file has the same tokens"
        assert storage.settle([(lease, Release()) for lease in leases]) == []
    assert highest < 2**53


def test_a_message_is_not_claimed_before_it_is_due(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    message_id = send(due_ms=clock.now_ms() + 5_000)
    assert state_of(storage, message_id) is State.SCHEDULED
    assert worker.claim() == []
    assert storage.reader.next_due_ms() == clock.now_ms() + 5_000
    clock.advance(seconds=5)
    assert worker.claim_one().id == message_id
    assert storage.reader.next_due_ms() is None


# -- settle ----------------------------------------------------------------------------------------------------------


def test_an_ack_stores_the_result(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    message_id = send()
    storage.settle([(worker.claim_one(), Ack(b"[1,2]"))])
    record = storage.reader.find(message_id)
    assert record is not None
    assert (record.state, record.result, record.finished_ms) == (State.SUCCEEDED, b"[1,2]", clock.now_ms())


def test_an_ack_without_a_result_leaves_no_row(storage: Storage, send: Send, worker: FakeWorker) -> None:
    message_id = send(flags=Flag.IGNORE_RESULT)
    storage.settle([(worker.claim_one(), Ack(None))])
    assert storage.reader.find(message_id) is None


def test_a_retry_comes_back_when_it_is_due(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    message_id = send()
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + 1_000, ERROR, payload=b"[[1],{}]"))])
    assert state_of(storage, message_id) is State.SCHEDULED
    assert worker.claim() == []
    clock.advance(seconds=1)
    again = worker.claim_one()
    assert (again.id, again.retries, again.payload) == (message_id, 1, b"[[1],{}]")


def test_a_release_counts_nothing(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send()
    storage.settle([(worker.claim_one(), Release())])
    again = worker.claim_one()
    assert (again.retries, again.crashes) == (0, 0)


def test_a_message_that_kills_its_process_thrice_is_a_dead_letter(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    message_id = send()
    for crashes in range(3):
        lease = worker.claim_one()
        assert lease.crashes == crashes
        storage.settle([(lease, Release(crashed=True))])
    record = storage.reader.find(message_id)
    assert record is not None
    assert record.state is State.DEAD
    assert record.error is not None
    assert decode_error(record.error).type == WorkerLostError.__name__


def test_an_at_most_once_message_is_not_run_again_after_a_crash(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    message_id = send(flags=Flag.EARLY_ACK)
    storage.settle([(worker.claim_one(), Release(crashed=True))])
    assert state_of(storage, message_id) is State.DEAD


def test_a_lease_that_ran_out_cannot_ack(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    message_id = send()
    stale = worker.claim_one()
    clock.advance(seconds=61)
    assert storage.reap() == 1
    fresh = other.claim_one()
    assert fresh.token > stale.token
    assert storage.settle([(stale, Ack(b'"late"'))]) == [stale]
    assert storage.settle([(fresh, Ack(b'"good"'))]) == []
    record = storage.reader.find(message_id)
    assert record is not None
    assert record.result == b'"good"'


def test_a_retry_may_be_another_message_under_the_same_id(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    large = b"[[" + b"1" * 9_000 + b"],{}]"
    id_ = send(options=b'{"a":1}', queue="celery", priority=1, flags=Flag.TAKES_INPUT)
    other = RetryAt(0, task="u", payload=large, options=b'{"b":2}', queue="q", priority=3, retries=7)
    storage.settle([(worker.claim_one(), other)])
    (lease,) = worker.claim(queue="q")
    assert (lease.id, lease.task, lease.options, lease.priority) == (id_, "u", b'{"b":2}', 3)
    assert (lease.retries, lease.flags & Flag.TAKES_INPUT) == (7, 0)
    assert worker.arguments(lease) == large
    storage.settle([(lease, RetryAt(clock.now_ms() + 1_000, ERROR, task="t"))])
    clock.advance(seconds=1)
    (again,) = worker.claim(queue="q")
    assert (again.task, again.retries, worker.arguments(again)) == ("t", 8, large)


def test_the_children_that_an_ack_tells_of_are_kept_as_long_as_its_result(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    told, silent, vanishing = send(), send(), send(flags=Flag.IGNORE_RESULT)
    children = [Ack(b"1", children=b'["x"]'), Ack(b"1"), Ack(None, children=b'["y"]')]
    storage.settle(list(zip(worker.claim(), children, strict=True)))
    assert [storage.reader.children(id_) for id_ in (told, silent, vanishing, "none")] == [b'["x"]', None, None, None]
    record = storage.reader.find(told)
    assert record is not None
    assert (record.state, record.result) == (State.SUCCEEDED, b"1")
    assert storage.forget([told]) == 1
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_children") == [(0,)]


def test_an_ack_with_children_of_a_lost_lease_leaves_none(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send()
    stale = worker.claim_one()
    storage.reap([worker.number])
    storage.settle([(stale, Ack(b"1", children=b"[]"))])
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_children") == [(0,)]


@pytest.mark.parametrize(
    "outcome", [Ack(b"1"), Ack(None), RetryAt(0), DeadLetter(ERROR), Release(), Release(crashed=True), Cancel()]
)
def test_no_outcome_of_a_lost_lease_is_stored(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock, outcome: object
) -> None:
    kept = send()
    stale = worker.claim_one()
    clock.advance(seconds=61)
    storage.reap()
    fresh = other.claim_one()
    before = storage.reader.find(kept)
    assert storage.settle([(stale, outcome)]) == [stale]  # type: ignore[list-item]
    assert storage.reader.find(kept) == before
    assert storage.settle([(fresh, Ack(b"1"))]) == []


def test_what_was_reaped_before_a_reap_fails_is_heard_of(
    storage: Storage, send: Send, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: int) -> None:
        raise StorageBusy(1.0)

    message_id = send()
    worker.claim_one()
    rung: list[Bell] = []
    monkeypatch.setattr(storage, "max_reaps", 1)
    monkeypatch.setattr(storage, "unregister_worker", fails)
    monkeypatch.setattr(storage.driver, "ring", rung.append)
    with pytest.raises(StorageBusy):
        storage.reap([worker.number])
    assert state_of(storage, message_id) is State.DEAD
    assert set(rung) == {Bell.DONE, Bell.WORK}
    assert f"[{message_id}] given up" in caplog.text


def test_a_lost_lease_does_not_take_its_batch_with_it(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    send()
    stale = worker.claim_one()
    clock.advance(seconds=61)
    storage.reap()
    other.claim_one()
    good = send()
    lease = worker.claim_one()
    assert storage.settle([(stale, Ack(b"1")), (lease, Ack(b"2"))]) == [stale]
    assert state_of(storage, good) is State.SUCCEEDED


def test_a_heartbeat_keeps_a_lease_and_names_the_lost(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    send()
    lease = worker.claim_one()
    clock.advance(seconds=59)
    assert storage.heartbeat(worker.number, [lease], visibility_s=60) == (True, [])
    clock.advance(seconds=59)
    assert storage.reap() == 0
    clock.advance(seconds=2)
    assert storage.reap() == 1
    assert storage.heartbeat(worker.number, [lease], visibility_s=60) == (True, [lease])


def test_a_dead_workers_leases_are_put_back_at_once(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    ids = [send() for _ in range(3)]
    worker.claim()
    assert storage.reap([worker.number]) == 3
    assert [w.id for w in storage.reader.workers()] == [other.number]
    assert [lease.id for lease in other.claim()] == ids


def test_a_message_whose_worker_vanishes_again_and_again_is_a_dead_letter(storage: Storage, send: Send) -> None:
    message_id = send()
    for n in range(storage.max_reaps):
        vanishing = FakeWorker(storage, f"w{n}")
        assert vanishing.claim_one().id == message_id
        storage.reap([vanishing.number])
    assert state_of(storage, message_id) is State.DEAD


def test_one_turn_settles_and_claims(storage: Storage, send: Send, worker: FakeWorker) -> None:
    first, second = send(), send()
    lease = worker.claim_one()
    turn = storage.turn([(lease, Ack(b"1"))], ["celery"], worker=worker.number, limit=5, visibility_s=60)
    assert [x.id for x in turn.leases] == [second]
    assert state_of(storage, first) is State.SUCCEEDED


# -- left to others ---------------------------------------------------------------------------------------------------


LEFT = Release(pause_ms=500, options=b"{}", elsewhere=True)


def test_what_a_worker_cannot_run_others_take_first(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker, other: FakeWorker
) -> None:
    """Though that worker looks at the moment it is due, and they do so only a second later."""
    left = send()
    storage.settle([(worker.claim_one(), LEFT)])
    clock.advance(0.5)
    turn = storage.turn((), ["celery"], worker=worker.number, limit=1, visibility_s=60)
    assert (turn.leases, turn.due_ms) == ([], clock.now_ms() + claim.LEFT_MS)
    clock.advance(1)
    assert other.claim_one().id == left


def test_a_worker_takes_again_what_nobody_else_has_taken(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker
) -> None:
    left = send()
    storage.settle([(worker.claim_one(), LEFT)])
    clock.advance(0.5 + claim.LEFT_MS / 1000)
    assert worker.claim_one().id == left


def test_what_comes_due_sooner_is_told_of_although_something_is_left(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker
) -> None:
    send()
    storage.settle([(worker.claim_one(), LEFT)])
    clock.advance(0.5)
    soon_ms = clock.now_ms() + 200
    later = send(due_ms=soon_ms)
    turn = storage.turn((), ["celery"], worker=worker.number, limit=1, visibility_s=60)
    assert (turn.leases, turn.due_ms) == ([], soon_ms)
    clock.advance(0.2)
    assert worker.claim_one().id == later


def test_a_retry_after_it_was_left_is_its_workers_own(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker, other: FakeWorker
) -> None:
    left = send()
    storage.settle([(worker.claim_one(), LEFT)])
    clock.advance(0.5)
    storage.settle([(other.claim_one(), RetryAt(clock.now_ms() + 100))])
    clock.advance(0.1)
    assert other.claim_one().id == left


# -- cancel, purge, progress -----------------------------------------------------------------------------------------


def test_cancel_stops_what_has_not_started_and_names_what_runs(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    running = send()
    worker.claim_one()
    waiting, later = send(), send(due_ms=clock.now_ms() + 1_000)
    assert storage.cancel([running, waiting, later, "unknown"]) == [running]
    assert state_of(storage, waiting) is state_of(storage, later) is State.CANCELLED
    assert state_of(storage, running) is State.LEASED


class NotLookedThrough(list[str]):
    """Ids of which nobody asks, one by one, whether something is among them: of many that would take for ever."""

    def __contains__(self, _: object) -> bool:
        raise AssertionError("looked through from its beginning, for each of its ids")


def test_a_cancel_of_many_looks_through_them_once(storage: Storage, send: Send, worker: FakeWorker) -> None:
    running = [send() for _ in range(3)]
    worker.claim()
    waiting = [send() for _ in range(3)]
    assert storage.cancel(NotLookedThrough([*waiting, *running])) == sorted(running)
    assert {state_of(storage, id_) for id_ in waiting} == {State.CANCELLED}


def test_a_revoke_of_many_goes_in_chunks(
    storage: Storage, send: Send, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others get their turn in between."""
    monkeypatch.setattr(commands, "CHUNK", 2)
    running = [send() for _ in range(3)]
    worker.claim()
    waiting = [send() for _ in range(2)]
    write, began = storage.driver.write, list[Promise]()

    def counted(promise: Promise) -> AbstractContextManager[Transaction]:
        began.append(promise)
        return write(promise)

    monkeypatch.setattr(storage.driver, "write", counted)
    found = storage.commands.revoke([*running, *waiting, "unknown"], keep_s=60)
    assert (sorted(found.running), found.unknown, found.cancelled) == (sorted(running), ["unknown"], waiting)
    assert len(began) == 3
    assert sorted(storage.commands.revoked_ids()) == sorted([*running, "unknown"])


def test_a_revoke_of_many_that_meets_a_conflict_names_all_that_it_has_cancelled(
    storage: Storage, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine with several writers ends one of two that wait for each other; what was committed before stays."""
    monkeypatch.setattr(commands, "CHUNK", 2)
    monkeypatch.setattr(interrupts, "sleep", lambda _: None)
    write, conflicts = storage.driver.write, [None, StorageConflict("a deadlock")]

    @contextmanager
    def meeting(promise: Promise) -> Iterator[Transaction]:
        with write(promise) as tx:
            yield tx
            if conflicts and (conflict := conflicts.pop(0)) is not None:
                raise conflict

    ids = [send() for _ in range(3)]
    monkeypatch.setattr(storage.driver, "write", meeting)
    found = storage.commands.revoke(ids, keep_s=60, by=Actor("ann", "page"))
    assert conflicts == []
    assert (found.cancelled, found.unknown) == (ids, [])
    assert sorted(one.target for one in storage.audit.page()) == ids


def test_purge_deletes_what_waits(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    running = send()
    worker.claim_one()
    send(), send(due_ms=clock.now_ms() + 1_000)
    elsewhere = send(queue="other")
    assert storage.purge(["celery"]) == 2
    assert state_of(storage, running) is State.LEASED
    assert storage.purge() == 1
    assert storage.reader.find(elsewhere) is None


def test_progress_is_fenced(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    message_id = send()
    lease = worker.claim_one()
    assert storage.progress(message_id, b'{"state":"HALF"}', lease=(lease.seq, lease.token))
    record = storage.reader.find(message_id)
    assert record is not None
    assert record.progress == b'{"state":"HALF"}'
    storage.settle([(lease, Release())])
    assert not storage.progress(message_id, b"{}", lease=(lease.seq, lease.token))


# -- dead letters, retention -----------------------------------------------------------------------------------------


def test_a_dead_letter_can_be_listed_replayed_and_dropped(storage: Storage, send: Send, worker: FakeWorker) -> None:
    first, second = send(task="a"), send(task="b")
    storage.settle([(lease, DeadLetter(ERROR)) for lease in worker.claim()])
    assert storage.dead.matching() == [first, second]
    assert storage.dead.matching(task="b") == [second]
    assert storage.dead.requeue([first, "unknown"]) == [first]
    assert worker.claim_one().id == first
    assert storage.dead.drop([second]) == 1
    assert storage.reader.find(second) is None


def test_a_replay_does_not_break_a_unique_key(storage: Storage, send: Send, worker: FakeWorker) -> None:
    first = send(unique_key="k")
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    second = send(unique_key="k")
    assert storage.dead.requeue([first]) == []
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    assert state_of(storage, second) is State.SUCCEEDED
    assert storage.dead.requeue([first]) == [first]


def test_finished_rows_leave_when_their_time_is_over(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    done, dead = send(), send()
    storage.settle(list(zip(worker.claim(), [Ack(b"1"), DeadLetter(ERROR)], strict=True)))
    clock.advance(seconds=100)
    waiting = send()
    assert storage.expire(result_expires_s=101, dead_expires_s=101) == 0
    assert storage.expire(result_expires_s=99, dead_expires_s=None) == 1
    assert (storage.reader.find(done), state_of(storage, dead)) == (None, State.DEAD)
    assert storage.expire(result_expires_s=None, dead_expires_s=99) == 1
    assert storage.reader.find(dead) is None
    assert state_of(storage, waiting) is State.PENDING


@pytest.mark.parametrize("never", [None, 0, 0.0])
def test_an_age_of_none_or_0_keeps_all(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, never: float | None
) -> None:
    done, dead = send(), send()
    storage.settle(list(zip(worker.claim(), [Ack(b"1"), DeadLetter(ERROR)], strict=True)))
    clock.advance(seconds=366 * 86_400)
    assert storage.expire(result_expires_s=never, dead_expires_s=never) == 0
    assert (state_of(storage, done), state_of(storage, dead)) == (State.SUCCEEDED, State.DEAD)


def test_forget_deletes_only_what_has_finished(storage: Storage, send: Send, worker: FakeWorker) -> None:
    done, waiting = send(), send()
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    assert storage.forget([done, waiting]) == 1
    assert storage.reader.find(done) is None
    assert state_of(storage, waiting) is State.PENDING


# On a file the rows that a trigger writes count among those that a statement has changed.
NOTED = {
    True: "CREATE TRIGGER noted AFTER UPDATE ON liteq_messages BEGIN INSERT INTO noted VALUES (NEW.seq); END",
    False: "DO $do$ BEGIN CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO noted VALUES (NEW.seq); RETURN NULL; END'; "
    "CREATE TRIGGER noted AFTER UPDATE ON liteq_messages FOR EACH ROW EXECUTE FUNCTION note(); END $do$",
}
UNNOTED = "DO $$ BEGIN DROP TRIGGER noted ON liteq_messages; DROP FUNCTION note; DROP TABLE noted; END $$"


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_trigger_that_writes_keeps_no_outcome_from_being_stored(
    storage: Storage, send: Send, worker: FakeWorker, is_whole: bool
) -> None:
    """Neither of a whole batch, nor of one with a lease in it that was lost."""
    ids, leases = [send(), send(), send()], worker.claim()
    if not is_whole:
        storage.settle([(leases[0], Release())])
    file = storage.driver.one_machine
    with storage.driver.write() as tx:
        tx.execute("CREATE TABLE noted (seq INTEGER)")
        tx.execute(NOTED[file])
    try:
        lost = storage.settle([(lease, Ack(b"1")) for lease in leases])
    finally:
        if not file:  # the next test has the same schema
            with storage.driver.write() as tx:
                tx.execute(UNNOTED)
    assert lost == ([] if is_whole else leases[:1])
    ended = [State.SUCCEEDED] * 2
    assert [state_of(storage, one) for one in ids] == [State.SUCCEEDED if is_whole else State.PENDING, *ended]
