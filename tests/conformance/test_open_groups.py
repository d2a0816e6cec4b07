"""Groups whose members come one by one, and what is sent or ended in the transaction that settles a lease."""

from __future__ import annotations

from typing import Any

import pytest

from liteq.message import Ack, Batch, DeadLetter, Flag, Group, RetryAt
from liteq.serialization import decode_error
from liteq.states import State
from liteq.storage.driver import Bell, Promise
from liteq.storage.groups.append_members import GIVE_UP, UNPLACED
from liteq.storage.groups.ended import Ended
from liteq.storage.groups.open_groups import Seat
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Run, StateOf, close, row

LINKED, INPUT = Flag.LINKED, Flag.TAKES_INPUT
BODY = row("body", INPUT, awaits="g")


def opened(storage: Storage, *members: str, **how: object) -> bool:
    """Open the group g, with places for these members and a body."""
    places = {name: Seat("g", at) for at, name in enumerate(members)}
    return storage.groups.open(Batch([BODY], [Group("g", 0)]), places, queue="celery", **how)  # type: ignore[arg-type]


def enter(storage: Storage, name: str, **fields: object) -> list[str]:
    return storage.groups.enter(Batch([row(name, LINKED, **fields)]))


def counts(storage: Storage, group: str = "g") -> tuple[int, int, int]:
    found = storage.reader.find_group(group)
    assert found is not None
    return found.size, found.remaining, found.failed


def places(storage: Storage) -> int:
    with storage.driver.read() as tx:
        return int(tx.execute("SELECT count(*) FROM liteq_places")[0][0])


# -- a group that is opened, entered and closed ----------------------------------------------------------------------


def test_members_that_come_one_by_one_have_the_places_that_were_kept_for_them(storage: Storage, run: Run) -> None:
    assert opened(storage, "a", "b", "c")
    for name in ("c", "a"):
        assert enter(storage, name, group_id="g", position=7) == [name]
        run()
    assert run.order == ["c", "a"], "it is open"
    close(storage, 3)
    assert run() == ["c", "a"], "one is still to come"
    enter(storage, "b")
    assert run() == ["c", "a", "b", "body"]
    assert run.inputs["body"] == b'["a","b","c"]'
    assert (counts(storage), places(storage)) == ((3, 0, 0), 0)


def test_members_that_an_open_group_takes_more_stand_behind_the_places_that_were_kept(
    storage: Storage, run: Run
) -> None:
    opened(storage, "a", "b", "c")
    for name in ("y", "z"):
        storage.groups.append("g", Batch([row(name, LINKED, group_id="g", position=UNPLACED)]))
    for name in "abc":
        enter(storage, name)
    close(storage, 5)
    run()
    assert run.inputs["body"] == b'["a","b","c","y","z"]'


def test_a_member_that_is_appended_is_told_of_as_sent(
    storage: Storage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.enqueue(Batch([row("a", LINKED, group_id="g"), BODY], [Group("g", 1)]))
    monkeypatch.setattr(storage, "events_of", lambda messages: [message.id.encode() for message in messages])
    assert storage.groups.append("g", Batch([row("b", LINKED, group_id="g", position=UNPLACED)])) == ["b"]
    run()
    assert storage.groups.append("g", Batch([row("c", LINKED, group_id="g", position=UNPLACED)])) == []
    assert [event for _, event in storage.events.after(0, 10)] == [b"b"], "the group had ended before c"


def test_a_group_that_is_whole_ends_as_it_is_closed(storage: Storage, run: Run) -> None:
    opened(storage, "a", "b")
    enter(storage, "b")
    enter(storage, "a")
    run()
    close(storage)
    assert run() == ["b", "a", "body"]
    close(storage)  # it is not open


def test_a_member_that_has_ended_and_is_sent_again_is_counted_once(storage: Storage, run: Run) -> None:
    opened(storage, "a", "b")
    for name in ("a", "a", "b"):
        storage.groups.enter(Batch([row(name, LINKED, group_id="g")]), again=[name])
        run()
    close(storage, 2)
    assert run() == ["a", "b", "body"]
    assert counts(storage) == (2, 0, 0)


@pytest.mark.parametrize("comes", ["a", "b"], ids=["is whole", "goes on"])
def test_a_placeholder_that_a_limit_holds_lets_go(
    storage: Storage, worker: FakeWorker, clock: FakeClock, comes: str
) -> None:
    opened(storage, "a", "b", patience_s=10)
    enter(storage, "a")
    storage.limits.set("queue:celery", concurrent=1)
    (lease,) = worker.claim()
    clock.advance(seconds=3_601)
    assert worker.claim() == []
    if comes == "b":
        enter(storage, "b")
    close(storage, 2)
    if comes == "a":
        enter(storage, "b")
    storage.settle([(lease, Ack(b"1"))])
    assert [worker.claim_one().id] == ["b"]
    assert counts(storage) == (2, 1, 0)


def test_a_group_closes_in_the_transaction_that_sends_its_last_member(storage: Storage, run: Run) -> None:
    opened(storage, "a", "b")
    enter(storage, "a")
    run()
    storage.groups.enter(Batch([row("b", LINKED)], closing=[("g", 2)]))
    assert (counts(storage), run()) == ((2, 1, 0), ["a", "b", "body"])
    close(storage)  # it is not open
    inner = Batch([row("last", INPUT, awaits="h")], [Group("h", 0)], closing=[("h", None)])
    assert storage.groups.open(inner, {"c": Seat("h", 0)}, queue="celery")
    enter(storage, "c")
    assert run()[-2:] == ["c", "last"]


def test_a_group_closes_with_the_end_of_a_task_or_not_at_all(storage: Storage, worker: FakeWorker, run: Run) -> None:
    opened(storage, "a")
    storage.enqueue(Batch([row("sender"), row("late")]))
    sender, late = worker.claim()
    assert storage.settle([(late, Ack())]) == []
    closing = Batch(closing=[("g", 1)])
    assert storage.settle([(late, Ack())], also=closing) == [late], "its lease is over"
    assert places(storage) == 2, "the place and the placeholder"
    assert storage.settle([(sender, Ack())], also=closing) == []
    assert places(storage) == 1
    enter(storage, "a")
    assert run() == ["a", "body"]


def test_what_asks_for_it_fails_with_the_error_of_the_member(storage: Storage, worker: FakeWorker) -> None:
    """A row behind it hands that on; a row beside it has the ChordError."""
    behind = row("behind", awaits="asks")
    rows = [BODY, row("asks", Flag.CAUSE | LINKED, awaits="g"), behind]
    assert storage.groups.open(Batch(rows, [Group("g", 0)]), {"a": Seat("g", 0)}, queue="celery")
    storage.groups.enter(Batch([row("a", LINKED)], closing=[("g", 1)]))
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    found = storage.reader.find_many(["a", "asks", "behind", "body"])
    assert {one.state for one in found.values()} == {State.DEAD, State.UPSTREAM_FAILED}
    assert [found[name].error for name in ("a", "asks", "behind")] == [ERROR] * 3
    assert found["body"].error is not None
    assert decode_error(found["body"].error).type == "ChordError"


def test_members_of_a_generator_have_the_places_that_they_name(storage: Storage, run: Run) -> None:
    assert storage.groups.open(Batch([BODY], [Group("g", 0)]), queue="celery")
    for at, name in enumerate("ab"):
        enter(storage, name, group_id="g", position=at)
    run()
    close(storage, 3)
    assert run() == ["a", "b"], "the last is sent when the size is known"
    assert counts(storage) == (3, 1, 0)


def test_groups_in_it_are_opened_and_closed_with_it(storage: Storage, run: Run) -> None:
    groups = [Group("g", 0), Group("inner", 0, group_id="g", position=0)]
    seats = {"a": Seat("inner", 0), "b": Seat("inner", 1), "c": Seat("g", 1)}
    assert storage.groups.open(Batch([BODY], groups), seats, queue="celery")
    for name in ("b", "c"):
        enter(storage, name, group_id="g")
    run()
    close(storage, 3)
    enter(storage, "a", group_id="g")
    assert run() == ["b", "c", "a", "body"]
    assert run.inputs["body"] == b'[["a","b"],"c"]'


def test_a_member_that_is_sent_twice_is_counted_once(storage: Storage, run: Run) -> None:
    opened(storage, "a", "b")
    enter(storage, "a")
    enter(storage, "a", group_id="g")
    assert storage.groups.enter(Batch([row("a", LINKED, group_id="g")]), again=["a"]) == ["a"], "it has not run"
    assert counts(storage) == (2, 2, 0)
    run()
    close(storage, 2)
    enter(storage, "a", group_id="g")
    enter(storage, "b")
    assert run() == ["a", "b", "body"]


@pytest.mark.parametrize("awaits", [None, "x"], ids=["at once", "behind another"])
def test_a_member_that_has_become_another_task_is_counted_once(
    storage: Storage, run: Run, worker: FakeWorker, awaits: str | None
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    becomes = RetryAt(0, task="other", payload=PAYLOAD, retries=0, awaits=awaits)
    assert storage.settle([(worker.claim_one(), becomes)], also=Batch([row("x", LINKED)])) == []
    assert storage.groups.enter(Batch([row("a", LINKED)])) == ["a"]
    close(storage, 1)
    assert counts(storage) == (1, 1, 0)
    assert sorted(run()) == ["body", "other", "x"]
    assert storage.groups.enter(Batch([row("a", LINKED)])) == ["a"], "it has ended"
    assert (counts(storage), run.inputs["body"]) == ((1, 0, 0), b'["other"]')


def test_a_group_takes_more_members_than_were_known(storage: Storage, run: Run) -> None:
    opened(storage, "a")
    enter(storage, "a")
    assert storage.groups.expect("g", ["b"])
    close(storage, 2)
    assert storage.groups.expect("g", ["c"])
    run()
    enter(storage, "c")
    enter(storage, "b")
    run()
    assert run.inputs["body"] == b'["a","b","c"]'
    assert not storage.groups.expect("g", ["d"]), "it has finished"
    assert not storage.groups.expect("none", ["d"])


def test_what_names_a_group_that_is_not_open_is_sent_without(storage: Storage, run: Run) -> None:
    enter(storage, "a", group_id="none", position=3)
    opened(storage, "b")
    enter(storage, "b")
    close(storage, 1)
    enter(storage, "c", group_id="g")
    assert sorted(run()) == ["a", "b", "body", "c"]
    assert counts(storage) == (1, 0, 0)


def test_a_group_is_given_up_where_its_sender_died(
    storage: Storage, run: Run, state: StateOf, clock: FakeClock
) -> None:
    opened(storage, "a", "b", patience_s=60)
    clock.advance(seconds=40)
    storage.groups.enter(Batch([row("a")]), patience_s=60)
    clock.advance(seconds=40)
    assert run() == ["a"], "a member that comes puts it off"
    clock.advance(seconds=20)
    assert run(**{GIVE_UP: DeadLetter(ERROR)}) == ["a", GIVE_UP]
    assert state("body") is State.UPSTREAM_FAILED
    close(storage, 2)  # it is not open
    enter(storage, "b", group_id="g")
    assert run()[-1] == "b"
    assert counts(storage) == (2, 0, 1)


@pytest.mark.parametrize("came", [False, True])
def test_a_group_whose_sender_ended_before_it_was_whole_fails_with_the_rest(
    storage: Storage, worker: FakeWorker, state: StateOf, came: bool
) -> None:
    """As a chord behind a task that was killed once it had opened it: what is to come after that task is told."""
    storage.enqueue(Batch([row("killed")]))
    lease = worker.claim_one()
    opened(storage, "a", "b")
    if came:
        enter(storage, "a")
    storage.settle([(lease, DeadLetter(ERROR))], ended=[Ended("g", ERROR, task="celery.chord")])
    if came:
        assert state("body") is State.BLOCKED, "the member that has come is to end first"
        storage.settle([(worker.claim_one(), Ack(b"1"))])
    assert (state("body"), state("g"), places(storage)) == (State.UPSTREAM_FAILED, None, 0)
    assert worker.claim() == []


def test_a_group_around_one_whose_sender_ended_fails_too(storage: Storage, worker: FakeWorker, state: StateOf) -> None:
    storage.enqueue(Batch([row("killed")]))
    lease = worker.claim_one()
    opened(storage, "inner")
    close(storage)
    inner = row("inner", INPUT | LINKED, awaits="h", group_id="g")
    assert storage.groups.open(Batch([inner], [Group("h", 0)]), {"a": Seat("h", 0)}, queue="celery")
    storage.settle([(lease, DeadLetter(ERROR))], ended=[Ended("h", ERROR, task="celery.chord")])
    assert (state("inner"), state("body")) == (State.UPSTREAM_FAILED, State.UPSTREAM_FAILED)
    assert worker.claim() == []


def test_it_is_opened_once_and_anew_when_it_has_finished(storage: Storage, run: Run) -> None:
    assert opened(storage, "a")
    assert not opened(storage, "a"), "its sender runs a second time"
    enter(storage, "a")
    assert not opened(storage, "a", again=["g", "body"])
    run()
    close(storage, 1)
    run()
    assert opened(storage, "a", again=["g", "body"])
    storage.groups.enter(Batch([row("a", LINKED)]), again=["a"])
    close(storage, 1)
    assert run() == ["a", "body", "a", "body"]


def test_a_running_message_may_become_what_awaits_the_group(storage: Storage, run: Run, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("self", LINKED), row("next", INPUT, awaits="self")]))
    lease = worker.claim_one()
    body = RetryAt(0, task="celery.accumulate", payload=b'[[],{"index":0}]', retries=0, awaits="g")
    group = Batch([], [Group("g", 0)])
    assert storage.groups.open(group, {"a": Seat("g", 0)}, queue="celery")
    assert storage.settle([(lease, body)]) == []
    enter(storage, "a")
    close(storage, 1)
    assert run() == ["a", "celery.accumulate", "next"]
    assert run.inputs["celery.accumulate"] == b'["a"]'
    assert storage.settle([(lease, body)]) == [lease], "its lease is over"


def test_what_a_running_message_becomes_may_await_what_comes_with_that(
    storage: Storage, run: Run, worker: FakeWorker
) -> None:
    storage.enqueue(Batch([row("self", LINKED)]))
    becomes = RetryAt(0, task="other", payload=b"[[],{}]", retries=0, awaits="link")
    assert storage.settle([(worker.claim_one(), becomes)], also=Batch([row("link", LINKED)])) == []
    assert run() == ["link", "other"]
    assert run.inputs["other"] == b'"link"'


def test_what_a_running_message_becomes_need_not_take_the_result(
    storage: Storage, run: Run, worker: FakeWorker
) -> None:
    storage.enqueue(Batch([row("self", LINKED)]))
    body = RetryAt(0, task="celery.accumulate", payload=b"[[5],{}]", retries=0, awaits="g", takes_input=False)
    assert storage.groups.open(Batch([], [Group("g", 0)]), {"a": Seat("g", 0)}, queue="celery")
    assert storage.settle([(worker.claim_one(), body)]) == []
    enter(storage, "a")
    close(storage, 1)
    assert run() == ["a", "celery.accumulate"]
    assert run.inputs["celery.accumulate"] is None


def test_places_leave_with_their_group(storage: Storage, run: Run, clock: FakeClock) -> None:
    opened(storage, "a", "b", patience_s=60)
    clock.advance(seconds=61)
    run(**{GIVE_UP: DeadLetter(ERROR)})
    clock.advance(seconds=10)
    storage.expire(result_expires_s=3600, dead_expires_s=3600)
    assert places(storage) == 3
    storage.expire(result_expires_s=5, dead_expires_s=3600)
    assert places(storage) == 0


# -- with a lease ----------------------------------------------------------------------------------------------------


def test_what_follows_is_sent_with_the_end_of_a_lease_or_not_at_all(
    storage: Storage, worker: FakeWorker, state: StateOf
) -> None:
    storage.enqueue(Batch([row("a"), row("stale")]))
    a, stale = worker.claim()
    storage.reap([worker.number])
    a, _ = worker.claim()
    assert storage.settle([(a, Ack(b"1"))], also=Batch([row("b")])) == []
    assert storage.settle([(stale, Ack(b"1"))], also=Batch([row("c")]), ended=[Ended("d", ERROR)]) == [stale]
    assert [state(name) for name in ("a", "b", "c", "d")] == [State.SUCCEEDED, State.PENDING, None, None]


def test_beside_a_lost_lease_the_end_of_another_is_heard_of(
    storage: Storage, worker: FakeWorker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.enqueue(Batch([row("stale"), row("a", LINKED), row("b", awaits="a")]))
    stale, a = worker.claim()
    storage.settle([(stale, Ack(b"1"))])
    rung: list[Bell] = []
    monkeypatch.setattr(storage.driver, "ring", rung.append)
    assert storage.settle([(stale, Ack()), (a, Ack(b"1"))], also=Batch([row("none")])) == [stale]
    assert Bell.WORK in rung
    assert run() == ["b"]


def test_what_follows_is_heard_of_before_the_disk_has_it(
    storage: Storage, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.enqueue(Batch([row("a")]))
    lease = worker.claim_one()
    asked: list[tuple[Promise, Bell | None]] = []
    write = storage.driver.write

    def noted(promise: Promise, bell: Bell | None = None) -> Any:
        asked.append((promise, bell))
        return write(promise, bell)

    monkeypatch.setattr(storage.driver, "write", noted)
    assert storage.settle([(lease, Ack(b"1"))], also=Batch([row("b")])) == []
    assert asked == [(Promise.ACCEPTED, Bell.WORK)]  # a transaction rings its bell before it waits for the disk


def test_a_task_may_await_what_is_sent_with_its_end(storage: Storage, worker: FakeWorker, run: Run) -> None:
    """A chain in the place of a task: its last link is the task's own row."""
    storage.enqueue(Batch([row("a"), row("stale")]))
    a, stale = worker.claim()
    storage.settle([(stale, Ack(b"1"))])
    again = RetryAt(0, None, payload=b"[[],{}]", awaits="first", takes_input=True)
    assert storage.settle([(stale, again)], also=Batch([row("none", LINKED)])) == [stale]
    assert storage.reader.find("none") is None
    assert storage.settle([(a, again)], also=Batch([row("first", LINKED)])) == []
    assert run() == ["first", "a"]


def test_what_follows_enters_its_group(storage: Storage, worker: FakeWorker, run: Run) -> None:
    opened(storage, "b")
    storage.enqueue(Batch([row("a")]))
    storage.settle([(worker.claim_one(), Ack(b"1"))], also=Batch([row("b", LINKED)]))
    close(storage, 1)
    assert run() == ["b", "body"]


@pytest.mark.parametrize("is_open", [True, False])
def test_the_rest_of_a_broken_chain_fails_and_is_counted(
    storage: Storage, worker: FakeWorker, run: Run, state: StateOf, is_open: bool
) -> None:
    opened(storage, "b")
    storage.enqueue(Batch([row("a")]))
    if not is_open:
        close(storage, 1)
    rest = [Ended("middle", ERROR, task="t"), Ended("b", ERROR, group_id="g", position=9)]
    assert storage.settle([(worker.claim_one(), DeadLetter(ERROR))], ended=rest) == []
    if is_open:
        assert state("body") is State.BLOCKED
        close(storage, 1)
    assert [state(name) for name in ("middle", "b", "body")] == [State.UPSTREAM_FAILED] * 3
    body = storage.reader.find("body")
    assert body is not None
    assert body.error is not None
    assert decode_error(body.error).type == "ChordError"
    storage.settle([], ended=rest)
    assert counts(storage) == (1, 0, 1)


def test_an_end_without_a_lease_leaves_what_is_in_the_file(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch([row("a")]))
    storage.progress("shown", b"1")
    storage.settle([], ended=[Ended("a", ERROR), Ended("shown", ERROR)])
    assert [state("a"), state("shown")] == [State.PENDING, State.UPSTREAM_FAILED]


def test_rows_are_put_behind_a_lease_once(storage: Storage, worker: FakeWorker, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch([row("a")]))
    behind = Batch([row("b", LINKED | INPUT, awaits="a"), row("c", INPUT, awaits="b")])
    lease = storage.leases.put_behind(worker.claim_one(), behind)
    assert lease is not None
    assert lease.flags & LINKED
    storage.reap([worker.number])
    assert storage.leases.put_behind(lease, Batch([row("d", awaits="a")])) is None
    again = worker.claim_one()
    assert storage.leases.put_behind(again, behind) == again
    storage.settle([(again, Ack(b"1"))])
    assert run() == ["b", "c"]
    assert state("d") is None


@pytest.mark.parametrize("sent", [[], ["b"], ["b", "c"]])
def test_a_group_that_another_run_has_opened_closes_when_all_of_it_is_put_behind(
    storage: Storage, worker: FakeWorker, run: Run, sent: list[str]
) -> None:
    storage.enqueue(Batch([row("a")]))
    lease = worker.claim_one()
    storage.groups.open(Batch([], [Group("g", 0)]), {"b": Seat("g", 0), "c": Seat("g", 1)}, queue="celery")
    for name in sent:
        enter(storage, name, group_id="g")
    members = [row(name, LINKED, awaits="a", group_id="g", position=at) for at, name in enumerate("bc")]
    for _ in range(2):  # and once more it changes nothing
        assert storage.leases.put_behind(lease, Batch([*members, BODY], [Group("g", 2)])) is not None
    storage.settle([(lease, Ack(b"1"))])
    assert run() == ["b", "c", "body"]
    assert (counts(storage), places(storage)) == ((2, 0, 0), 0)


def test_what_is_settled_by_a_lease_that_does_not_know_what_is_behind_it_is_whole(
    storage: Storage, worker: FakeWorker, run: Run
) -> None:
    storage.enqueue(Batch([row("a")]))
    before = worker.claim_one()
    storage.leases.put_behind(before, Batch([row("b", INPUT, awaits="a")]))
    assert storage.settle([(before, Ack(b"1"))], also=Batch([row("c")])) == []
    assert sorted(run()) == ["b", "c"]


def test_what_an_earlier_run_has_sent_by_itself_is_not_sent_again(
    storage: Storage, worker: FakeWorker, run: Run
) -> None:
    storage.enqueue(Batch([row("a")]))
    lease = worker.claim_one()
    storage.enqueue(Batch([row("b")]))
    behind = Batch([row("b", LINKED | INPUT, awaits="a"), row("c", INPUT, awaits="b")])
    assert storage.leases.put_behind(lease, behind) is not None
    storage.settle([(lease, Ack(b"1"))])
    assert run() == ["b", "c"]
