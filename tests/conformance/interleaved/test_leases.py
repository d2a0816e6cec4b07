"""Verbs under a lease while somebody ends it: begin, put behind, what is sent with an end, children of a result."""

from __future__ import annotations

import pytest

from liteq.message import Ack, Batch, Flag, Lease, RetryAt
from liteq.states import State
from liteq.storage.groups.ended import Ended
from liteq.storage.settling.telling import errback_id
from liteq.storage.storage import Storage

from ..conftest import ERROR, FakeWorker, Run, Send, StateOf, row
from .conftest import Meet

TOLD = b'{"celery":{"embed":{"errbacks":[{"task":"told"}]}}}'
NEXT = Batch([row("next", Flag.TAKES_INPUT, awaits="a")])


@pytest.fixture
def lease(storage: Storage, worker: FakeWorker) -> Lease:
    """Of the message a."""
    storage.enqueue(Batch([row("a", options=TOLD)]))
    return worker.claim_one()


@pytest.mark.parametrize("begins_first", [True, False])
def test_a_message_begins_or_its_lease_is_reaped(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, lease: Lease, state: StateOf,
    begins_first: bool,
) -> None:  # fmt: skip
    """Begun, it runs at most once, and its loss is told; else it goes back, and the one that would begin is told."""
    dead = [worker.number]
    if begins_first:
        begun, reaped = meet(lambda: one.leases.begin([lease]), lambda: two.reap(dead, expired=False))
    else:
        reaped, begun = meet(lambda: one.reap(dead, expired=False), lambda: two.leases.begin([lease]))
    reaped += storage.reap(dead, expired=False)  # a reaper may pass by what somebody writes
    assert (len(begun), reaped) == (int(begins_first), 1)
    assert state("a") is (State.DEAD if begins_first else State.PENDING)
    assert state(errback_id("a")) is (State.PENDING if begins_first else None)


def test_two_that_give_a_message_up_tell_of_it_once(
    meet: Meet, one: Storage, two: Storage, worker: FakeWorker, lease: Lease, storage: Storage, state: StateOf
) -> None:
    dead = [worker.number]
    assert storage.leases.begin([lease])
    ours, theirs = meet(lambda: one.reap(dead, expired=False), lambda: two.reap(dead, expired=False))
    assert ours + theirs + storage.reap(dead, expired=False) == 1
    assert (state("a"), state(errback_id("a"))) == (State.DEAD, State.PENDING)
    assert sum(count.n for count in storage.reader.counts()) == 2


@pytest.mark.parametrize("puts_first", [True, False])
def test_rows_are_put_behind_a_lease_or_it_is_over(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, lease: Lease, state: StateOf,
    puts_first: bool,
) -> None:  # fmt: skip
    if puts_first:
        known, _ = meet(lambda: one.leases.put_behind(lease, NEXT), lambda: two.reap([worker.number], expired=False))
    else:
        _, known = meet(lambda: one.reap([worker.number], expired=False), lambda: two.leases.put_behind(lease, NEXT))
    storage.reap([worker.number], expired=False)  # a reaper may pass by what somebody writes
    assert (known is not None) is puts_first
    assert state("next") is (State.BLOCKED if puts_first else None)
    again = worker.claim_one()
    assert (again.id, again.reaps, bool(again.flags & Flag.LINKED)) == ("a", 1, puts_first)


@pytest.mark.parametrize("puts_first", [True, False])
def test_what_is_put_behind_a_task_that_is_being_settled_runs_or_was_refused(
    meet: Meet, one: Storage, two: Storage, lease: Lease, run: Run, puts_first: bool
) -> None:
    end = [(lease, Ack(b"1"))]
    if puts_first:
        known, lost = meet(lambda: one.leases.put_behind(lease, NEXT), lambda: two.settle(end))
    else:
        lost, known = meet(lambda: one.settle(end), lambda: two.leases.put_behind(lease, NEXT))
    assert (lost, known is not None) == ([], puts_first)
    assert run() == (["next"] if puts_first else [])


def test_two_that_put_the_same_behind_a_lease_put_it_once(
    meet: Meet, one: Storage, two: Storage, storage: Storage, lease: Lease, run: Run
) -> None:
    ours, theirs = meet(lambda: one.leases.put_behind(lease, NEXT), lambda: two.leases.put_behind(lease, NEXT))
    assert ours is not None
    assert theirs is not None
    storage.settle([(theirs, Ack(b"1"))])
    assert run() == ["next"]


@pytest.mark.parametrize("settles_first", [True, False])
def test_what_comes_with_an_end_is_there_only_where_that_counted(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, lease: Lease, state: StateOf,
    settles_first: bool,
) -> None:  # fmt: skip
    def settle(storage: Storage) -> list[Lease]:
        children = Ack(b"1", children=b'["child"]')
        return storage.settle([(lease, children)], also=Batch([row("b")]), ended=[Ended("c", ERROR)])

    if settles_first:
        lost, _ = meet(lambda: settle(one), lambda: two.reap([worker.number], expired=False))
    else:
        _, lost = meet(lambda: one.reap([worker.number], expired=False), lambda: settle(two))
    assert lost == ([] if settles_first else [lease])
    there = (State.SUCCEEDED, State.PENDING, State.UPSTREAM_FAILED) if settles_first else (State.PENDING, None, None)
    assert (state("a"), state("b"), state("c")) == there
    assert storage.reader.children("a") == (b'["child"]' if settles_first else None)


@pytest.mark.parametrize("settles_first", [True, False])
def test_the_children_of_a_result_leave_with_it(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, state: StateOf, settles_first: bool
) -> None:
    end = [(lease, Ack(b"1", children=b'["child"]'))]
    if settles_first:
        meet(lambda: one.settle(end), lambda: two.forget(["a"]))
        assert state("a") is None
    else:
        meet(lambda: one.forget(["a"]), lambda: two.settle(end))
    assert (storage.reader.children("a") is not None) is (state("a") is not None)


@pytest.mark.parametrize("becomes_first", [True, False])
def test_a_message_becomes_another_task_or_is_reaped_as_it_was(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, lease: Lease, becomes_first: bool
) -> None:
    becomes = [(lease, RetryAt(0, task="other", payload=b"[[2],{}]", retries=0))]
    if becomes_first:
        lost, _ = meet(lambda: one.settle(becomes), lambda: two.reap([worker.number], expired=False))
    else:
        _, lost = meet(lambda: one.reap([worker.number], expired=False), lambda: two.settle(becomes))
    assert len(lost) == (0 if becomes_first else 1)
    again = worker.claim_one()
    assert (again.task, again.reaps) == (("other", 0) if becomes_first else ("a", 1))


def test_a_lease_says_how_often_those_before_it_were_reaped(
    meet: Meet, send: Send, one: Storage, two: Storage, worker: FakeWorker, second: FakeWorker
) -> None:
    """Of a claim that comes while the reaper is at it, too: it gives what it sees once that is over, or nothing."""
    send()
    worker.claim_one()
    _, early = meet(lambda: one.reap([worker.number], expired=False), second.claim)
    (lease,) = early or second.claim()
    assert lease.reaps == 1
