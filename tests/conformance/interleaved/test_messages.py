"""Claims, ends of leases, and what operators do to messages, two at a time."""

from __future__ import annotations

from contextlib import suppress

import pytest

from liteq.exceptions import CanvasConflict, LeaseLost, NotEligible
from liteq.message import Ack, Batch, DeadLetter, Exclusion, Flag, Message, RetryAt, new_id
from liteq.states import State
from liteq.storage.claiming import claim
from liteq.storage.facades.sends import Part
from liteq.storage.operating.audit import Actor
from liteq.storage.sending.sends import Moved
from liteq.storage.storage import Storage
from liteq.testing import FakeClock
from liteq.utils.names import LOG_STREAM

from ..conftest import ERROR, PAYLOAD, FakeWorker, Send, StateOf
from .conftest import Meet

ME = Actor("me", "test", "")


# -- claims ------------------------------------------------------------------------------------------------------------


def test_two_claims_share_what_is_there(meet: Meet, send: Send, first: FakeWorker, second: FakeWorker) -> None:
    sent = [send() for _ in range(3)]
    ours, theirs = meet(lambda: first.claim(2), lambda: second.claim(2))
    assert [lease.id for lease in ours] == sent[:2]
    assert [lease.id for lease in theirs] == sent[2:]
    assert len({lease.token for lease in (*ours, *theirs)}) == 3


def test_what_comes_due_is_claimed_once(
    meet: Meet, send: Send, first: FakeWorker, second: FakeWorker, clock: FakeClock
) -> None:
    sent = [send(due_ms=clock.now_ms() + 1_000) for _ in range(3)]
    clock.advance(seconds=2)
    ours, theirs = meet(lambda: first.claim(2), lambda: second.claim(2))
    assert meet.passed_by
    leases = [*ours, *theirs, *second.claim()]
    assert sorted(lease.id for lease in leases) == sorted(sent)
    assert len({lease.token for lease in leases}) == 3


def test_what_is_looked_at_by_one_claim_is_passed_by_by_the_other(
    meet: Meet, send: Send, storage: Storage, first: FakeWorker, second: FakeWorker
) -> None:
    sent = [send() for _ in range(4)]
    ours, theirs = meet(lambda: first.claim(2), lambda: second.claim(2), before=claim.TAKE_RANGE)
    assert sorted(lease.id for lease in (*ours, *theirs)) == sorted(sent)
    assert storage.settle([(lease, Ack(b"1")) for lease in (*ours, *theirs)]) == []


@pytest.mark.parametrize("claims_first", [True, False])
def test_a_purge_deletes_nothing_that_is_claimed(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, claims_first: bool
) -> None:
    for _ in range(3):
        send()
    worker = FakeWorker(one if claims_first else two, "w")
    if claims_first:
        leases, purged = meet(worker.claim, two.purge)
        assert (len(leases), purged, meet.passed_by) == (3, 0, True)
    else:
        purged, leases = meet(one.purge, worker.claim)
        assert (len(leases), purged) == (0, 3)
    assert storage.settle([(lease, Ack(b"1")) for lease in leases]) == []


@pytest.mark.parametrize("claims_first", [True, False])
def test_an_operator_acts_on_a_message_as_it_is_now(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, claims_first: bool
) -> None:
    id_ = send()

    def move(storage: Storage) -> bool:
        try:
            storage.operations.act("move", id_, by=ME, arguments={"queue": "other"})
        except NotEligible:
            return False
        return True

    worker = FakeWorker(one if claims_first else two, "w")
    if claims_first:
        leases, moved = meet(worker.claim, lambda: move(two))
    else:
        moved, leases = meet(lambda: move(one), worker.claim)
    assert moved is not bool(leases)
    record = storage.reader.find(id_)
    assert record is not None
    assert record.queue == ("other" if moved else "celery")


# -- ends of leases ----------------------------------------------------------------------------------------------------


def test_two_reapers_end_a_lease_once(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker
) -> None:
    ids = [send() for _ in range(3)]
    worker.claim()
    dead = [worker.number]
    ours, theirs = meet(lambda: one.reap(dead, expired=False), lambda: two.reap(dead, expired=False))
    assert meet.passed_by
    assert ours + theirs == 3
    assert [storage.reader.find(id_).reaps for id_ in ids] == [1, 1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("settles_first", [True, False])
def test_a_lease_is_settled_or_reaped(
    meet: Meet, send: Send, state: StateOf, one: Storage, two: Storage, worker: FakeWorker, settles_first: bool
) -> None:
    id_ = send()
    end = [(worker.claim_one(), Ack(b"1"))]
    dead = [worker.number]
    if settles_first:
        lost, reaped = meet(lambda: one.settle(end), lambda: two.reap(dead, expired=False))
        assert (lost, reaped, state(id_)) == ([], 0, State.SUCCEEDED)
    else:
        reaped, lost = meet(lambda: one.reap(dead, expired=False), lambda: two.settle(end))
        assert (len(lost), reaped, state(id_)) == (1, 1, State.PENDING)


@pytest.mark.parametrize("extends_first", [True, False])
def test_a_lease_is_extended_or_reaped(
    meet: Meet, send: Send, state: StateOf, one: Storage, two: Storage, worker: FakeWorker, clock: FakeClock,
    extends_first: bool,
) -> None:  # fmt: skip
    id_ = send()
    lease = worker.claim_one()
    clock.advance(seconds=61)

    def extend(storage: Storage) -> int:
        return len(storage.heartbeat(worker.number, [lease], visibility_s=60)[1])

    if extends_first:
        lost, reaped = meet(lambda: extend(one), two.reap)
    else:
        reaped, lost = meet(one.reap, lambda: extend(two))
    assert (lost, reaped) == ((0, 0) if extends_first else (1, 1))
    assert state(id_) is (State.LEASED if extends_first else State.PENDING)


@pytest.mark.parametrize("saves_first", [True, False])
def test_a_cursor_is_kept_only_under_its_lease(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, saves_first: bool
) -> None:
    send()
    lease = worker.claim_one()
    held, end = (lease.seq, lease.token), [(lease, Ack(b"1"))]
    if saves_first:
        saved, _ = meet(lambda: one.kept.save_cursor(held, b"1"), lambda: two.settle(end))
    else:
        _, saved = meet(lambda: one.settle(end), lambda: two.kept.save_cursor(held, b"1"))
    assert saved is saves_first
    assert storage.kept.cursor(lease.seq) is None


@pytest.mark.parametrize("a_log", [True, False], ids=["log", "stream"])
@pytest.mark.parametrize("emits_first", [True, False])
def test_a_chunk_is_emitted_only_under_its_lease(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, emits_first: bool,
    a_log: bool,
) -> None:  # fmt: skip
    id_ = send()
    lease = worker.claim_one()
    held, end = (lease.seq, lease.token), [(lease, Ack(b"1"))]

    def write(storage: Storage) -> bool:
        if a_log:
            return storage.kept.log([held], [b"a line"], [None], keep_ms=60_000)[0] is not None
        with suppress(LeaseLost):
            storage.streams.emit(held, "out", [b"1"])
            return True
        return False

    if emits_first:
        written, _ = meet(lambda: write(one), lambda: two.settle(end))
    else:
        _, written = meet(lambda: one.settle(end), lambda: write(two))
    assert written is emits_first
    assert len(storage.streams.chunks(id_, LOG_STREAM if a_log else "out")[0]) == int(written)


# -- cancels, replays --------------------------------------------------------------------------------------------------


def test_a_cancel_misses_no_message_that_goes_back(
    meet: Meet, send: Send, state: StateOf, one: Storage, two: Storage, worker: FakeWorker
) -> None:
    id_ = send()
    again = [(worker.claim_one(), RetryAt(0, ERROR))]
    _, running = meet(lambda: one.settle(again), lambda: two.cancel([id_]))
    assert (state(id_), running) == (State.CANCELLED, [])


def test_what_leaves_while_it_is_revoked_is_kept_as_revoked(
    meet: Meet, send: Send, one: Storage, two: Storage, worker: FakeWorker
) -> None:
    id_ = send(flags=Flag.IGNORE_RESULT)
    end = [(worker.claim_one(), Ack(None))]
    _, revoked = meet(lambda: one.settle(end), lambda: two.commands.revoke([id_], keep_s=60))
    assert (revoked.running, revoked.unknown) == ([], [id_])
    assert two.commands.revoked_ids() == [id_]


def test_a_cancel_that_comes_first_names_what_runs(
    meet: Meet, send: Send, state: StateOf, one: Storage, two: Storage, worker: FakeWorker
) -> None:
    id_ = send()
    again = [(worker.claim_one(), RetryAt(0, ERROR))]
    running, lost = meet(lambda: one.cancel([id_]), lambda: two.settle(again))
    assert (running, lost, state(id_)) == ([id_], [], State.PENDING)


@pytest.mark.parametrize("claims_first", [True, False])
def test_a_message_is_cancelled_or_claimed(
    meet: Meet, send: Send, one: Storage, two: Storage, claims_first: bool
) -> None:
    id_ = send()
    worker = FakeWorker(one if claims_first else two, "w")
    if claims_first:
        leases, running = meet(worker.claim, lambda: two.cancel([id_]))
        assert ([lease.id for lease in leases], running) == ([id_], [id_])
    else:
        running, leases = meet(lambda: one.cancel([id_]), worker.claim)
        assert (leases, running) == ([], [])


def test_a_dead_letter_is_replayed_once(
    meet: Meet, send: Send, one: Storage, two: Storage, worker: FakeWorker, state: StateOf
) -> None:
    id_ = send()
    worker.storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    ours, theirs = meet(lambda: one.dead.requeue([id_]), lambda: two.dead.requeue([id_]))
    assert (ours, theirs, state(id_)) == ([id_], [], State.PENDING)


# -- sends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [None, Exclusion(), Exclusion("replace")], ids=["plain", "keep", "replace"])
def test_of_two_senders_of_a_unique_key_one_writes_and_both_have_its_id(
    meet: Meet, storage: Storage, one: Storage, two: Storage, rule: Exclusion | None
) -> None:
    def send(storage: Storage) -> str:
        flags = Flag.UNSTARTED if rule is not None and rule.on_conflict == "replace" else 0
        message = Message(new_id(), "t", PAYLOAD, unique_key="k", unique=rule, flags=flags)
        return storage.enqueue(Batch([message]))[0]

    ours, theirs = meet(lambda: send(one), lambda: send(two))
    assert ours == theirs
    assert storage.reader.find(ours) is not None
    assert sum(count.n for count in storage.reader.counts()) == 1


@pytest.mark.parametrize("settles_first", [True, False])
def test_a_unique_key_that_is_given_back_is_taken_or_stood_for(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, settles_first: bool
) -> None:
    holder = send(unique_key="k", unique=Exclusion())
    end = [(worker.claim_one(), Ack(b"1"))]
    new = Batch([Message("new", "t", PAYLOAD, unique_key="k", unique=Exclusion())])
    if settles_first:
        _, ids = meet(lambda: one.settle(end), lambda: two.enqueue(new))
    else:
        ids, _ = meet(lambda: one.enqueue(new), lambda: two.settle(end))
    assert ids == (["new"] if settles_first else [holder])
    assert storage.reader.find(ids[0]) is not None


@pytest.mark.parametrize("replays_first", [True, False])
def test_a_unique_key_has_one_holder_when_a_dead_letter_comes_back(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, replays_first: bool
) -> None:
    dead = send(unique_key="k")
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    new = Batch([Message("new", "t", PAYLOAD, unique_key="k")])
    if replays_first:
        back, ids = meet(lambda: one.dead.requeue([dead]), lambda: two.enqueue(new))
        assert (back, ids) == ([dead], [dead])
    else:
        ids, back = meet(lambda: one.enqueue(new), lambda: two.dead.requeue([dead]))
        assert (back, ids) == ([], ["new"])
    assert len(storage.reader.messages(State.PENDING)) == 1


def test_an_id_that_two_send_again_is_there_once(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf
) -> None:
    send(id="mine")
    storage.settle([(worker.claim_one(), Ack(b"1"))])

    def again(storage: Storage) -> list[str]:
        return storage.enqueue(Batch([Message("mine", "t", PAYLOAD)]), again=["mine"])

    assert meet(lambda: again(one), lambda: again(two)) == (["mine"], ["mine"])
    assert state("mine") is State.PENDING
    assert len(worker.claim()) == 1


def test_the_same_call_of_two_senders_is_one_row(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    batch = Batch([Message("mine", "t", PAYLOAD)])
    assert meet(lambda: one.enqueue(batch), lambda: two.enqueue(batch)) == (["mine"], ["mine"])
    assert sum(count.n for count in storage.reader.counts()) == 1


def test_a_part_of_a_named_sending_goes_in_once(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    def send(storage: Storage, n: int) -> bool:
        with suppress(Moved):
            storage.sends.batch(Batch([Message(new_id(), "t", PAYLOAD)]), Part("night", n, n + 1))
            return True
        return False

    for n in range(2):  # a name that is new, and one that is there
        assert meet(lambda n=n: send(one, n), lambda n=n: send(two, n)) == (True, False)
    assert (storage.sends.place("night"), sum(count.n for count in storage.reader.counts())) == (2, 2)


@pytest.mark.parametrize("sends_first", [True, False])
def test_a_name_under_which_more_is_sent_while_it_expires_is_known(
    meet: Meet, storage: Storage, one: Storage, two: Storage, clock: FakeClock, sends_first: bool
) -> None:
    def send(storage: Storage, n: int) -> bool:
        with suppress(Moved):
            storage.sends.batch(Batch([Message(new_id(), "t", PAYLOAD)]), Part("night", n, n + 1))
            return True
        return False

    def expire(storage: Storage) -> int:
        return storage.expire(result_expires_s=None, dead_expires_s=None)

    assert send(storage, 0)
    clock.advance(seconds=100 * 86_400)
    if sends_first:
        sent, _ = meet(lambda: send(one, 1), lambda: expire(two))
    else:
        _, sent = meet(lambda: expire(one), lambda: send(two, 1))
    assert sent is sends_first
    assert storage.sends.place("night") == (2 if sends_first else 0)


@pytest.mark.parametrize("linked", [0, Flag.LINKED], ids=["alone", "awaited"])
@pytest.mark.parametrize("how", ["expires", "is forgotten", "expires dead", "is dropped"])
@pytest.mark.parametrize("sends_first", [True, False])
def test_what_is_sent_behind_a_finished_message_finds_it_or_is_refused(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, clock: FakeClock,
    sends_first: bool, how: str, linked: int,
) -> None:  # fmt: skip
    before, is_dead = send(flags=linked), how in {"expires dead", "is dropped"}
    storage.settle([(worker.claim_one(), DeadLetter(ERROR) if is_dead else Ack(b"17"))])
    clock.advance(seconds=100)
    flags = Flag.TAKES_INPUT | (Flag.ON_FAILURE if is_dead else 0)
    behind = Batch([Message("behind", "t", PAYLOAD, awaits=before, flags=flags)])

    def leave(storage: Storage) -> int:
        if how.startswith("expires"):
            return storage.expire(result_expires_s=10, dead_expires_s=10)
        return storage.dead.drop([before]) if is_dead else storage.forget([before])

    def follow(storage: Storage) -> list[str]:
        with suppress(CanvasConflict):
            return storage.enqueue(behind)
        return []

    if sends_first:
        sent, gone = meet(lambda: follow(one), lambda: leave(two))
        assert (sent, gone) == (["behind"], 0)
        assert worker.input() == (ERROR if is_dead else b"17")
    else:
        gone, sent = meet(lambda: leave(one), lambda: follow(two))
        assert (sent, gone) == ([], 1)
        assert storage.reader.find("behind") is None
