"""The things that a run waits for against its suspension: whichever is first, the run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from liteq.exceptions import LeaseLost, RunConflict
from liteq.message import Ack, Batch, DeadLetter, Flag, Hold, Lease, Message, RunFacts, RunSpec, StepRow, Suspend
from liteq.states import State
from liteq.storage.runs.executing import Slots
from liteq.storage.runs.records import Memo
from liteq.storage.steps import suspend
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..conftest import ERROR, PAYLOAD, FakeWorker, StateOf
from .conftest import Meet

CHILD = Flag.CHILD | Flag.LINKED


def start(storage: Storage, id_: str = "r", **fields: Any) -> Message:
    message = Message(id_, "flow", PAYLOAD, flags=Flag.RUN, run=RunSpec(), **fields)
    storage.runs.start(message)
    return message


def held(lease: Lease) -> Hold:
    assert lease.run is not None
    return Hold(lease.seq, lease.token, RunFacts._make(lease.run).gen)


def step(clock: FakeClock, pos: int, output: bytes | None = b"1", **fields: Any) -> StepRow:
    now_ms = clock.now_ms()
    ended_ms = None if output is None else now_ms
    return StepRow("", pos, fields.pop("kind", "step"), fields.pop("name", "s"), output=output, started_ms=now_ms,
                   ended_ms=ended_ms, **fields)  # fmt: skip


@pytest.fixture
def lease(storage: Storage, worker: FakeWorker) -> Lease:
    """A run that is executed at the moment."""
    start(storage)
    return worker.claim_one()


@pytest.mark.parametrize("before", [None, suspend.LET_GO], ids=["at the end", "halfway"])
@pytest.mark.parametrize("suspends_first", [True, False])
def test_an_event_wakes_a_run_that_is_about_to_wait_for_it(
    meet: Meet, one: Storage, two: Storage, lease: Lease, clock: FakeClock, state: StateOf, suspends_first: bool,
    before: str | None,
) -> None:  # fmt: skip
    waits = step(clock, 1, None, kind="event", name="go", waited="event go")
    end = [(lease, Suspend([waits]))]
    if suspends_first:
        meet(lambda: one.settle(end), lambda: two.runs.send("r", "go", b"1"), before=before)
    else:
        meet(lambda: one.runs.send("r", "go", b"1"), lambda: two.settle(end))
    assert state("r") is State.PENDING
    assert two.runs.inbox("r") == []


@pytest.mark.parametrize("suspends_first", [True, False])
def test_a_cancel_wakes_a_run_that_is_about_to_wait(
    meet: Meet, one: Storage, two: Storage, lease: Lease, clock: FakeClock, state: StateOf, suspends_first: bool
) -> None:
    waits = step(clock, 1, None, kind="event", name="go", waited="event go")
    end = [(lease, Suspend([waits]))]
    if suspends_first:
        meet(lambda: one.settle(end), lambda: two.cancel(["r"]))
    else:
        meet(lambda: one.cancel(["r"]), lambda: two.settle(end))
    assert state("r") is State.PENDING, "it is woken, to clean up"


@pytest.mark.parametrize("suspends_first", [True, False])
@pytest.mark.parametrize("before", [None, suspend.LET_GO], ids=["at the end", "halfway"])
def test_a_child_that_ends_wakes_a_run_that_is_about_to_wait_for_it(
    meet: Meet, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, clock: FakeClock, state: StateOf,
    suspends_first: bool, before: str | None,
) -> None:  # fmt: skip
    row = step(clock, 1, None, kind="task", name="t", child="c")
    one.runs.spawn(held(lease), [row], Batch([Message("c", "t", PAYLOAD, flags=CHILD)]))
    (child,) = worker.claim()
    wait, end = [(lease, Suspend([row], need=1))], [(child, Ack(b"17"))]
    if suspends_first:
        meet(lambda: one.settle(wait), lambda: two.settle(end), before=before)
    else:
        meet(lambda: one.settle(end), lambda: two.settle(wait))
    assert state("r") is State.PENDING
    (again,) = worker.claim()
    assert [found.output for found in one.runs.history(again.seq).steps] == [b"17"]


def test_two_children_that_end_at_once_are_both_counted(
    meet: Meet, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, clock: FakeClock, state: StateOf
) -> None:
    rows = [step(clock, pos, None, kind="task", name="t", child=f"c{pos}") for pos in (1, 2)]
    children = [Message(f"c{pos}", "t", PAYLOAD, flags=CHILD) for pos in (1, 2)]
    one.runs.spawn(held(lease), rows, Batch(children))
    a, b = worker.claim()
    one.settle([(lease, Suspend(rows, need=2))])
    meet(lambda: one.settle([(a, Ack(b"1"))]), lambda: two.settle([(b, DeadLetter(ERROR))]))
    assert state("r") is State.PENDING
    (again,) = worker.claim()
    assert sorted(row.ended or 0 for row in one.runs.history(again.seq).steps) == [1, 2]


@pytest.mark.parametrize("spawns_first", [True, False])
def test_a_slot_that_is_freed_while_children_come_is_handed_on(
    meet: Meet, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, clock: FakeClock, state: StateOf,
    spawns_first: bool,
) -> None:  # fmt: skip
    def spawn(storage: Storage, pos: int) -> object:
        row = step(clock, pos, None, kind="task", name="t", child=f"c{pos}")
        batch = Batch([Message(f"c{pos}", "t", PAYLOAD, flags=CHILD)])
        return storage.runs.spawn(held(lease), [row], batch, slots=Slots("m", 1))

    spawn(one, 1)
    end = [(worker.claim_one(), Ack(b"1"))]
    if spawns_first:
        meet(lambda: spawn(one, 2), lambda: two.settle(end))
    else:
        meet(lambda: one.settle(end), lambda: spawn(two, 2))
    assert state("c2") is State.PENDING


@pytest.mark.parametrize("waits_first", [True, False])
def test_a_memo_that_is_stored_wakes_a_run_that_is_about_to_wait_for_it(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, clock: FakeClock,
    state: StateOf, waits_first: bool,
) -> None:  # fmt: skip
    start(storage, "s")
    other = worker.claim_one()
    assert storage.runs.memo(held(lease), "k", "llm").mine
    assert not storage.runs.memo(held(other), "k", "llm").mine
    wait = [(other, Suspend([step(clock, 1, None, name="llm", waited="memo k")]))]
    done = step(clock, 1, b"42", name="llm")
    if waits_first:
        meet(lambda: one.settle(wait), lambda: two.runs.checkpoint(held(lease), done, memo=Memo("k")))
    else:
        meet(lambda: one.runs.checkpoint(held(lease), done, memo=Memo("k")), lambda: two.settle(wait))
    assert state("s") is State.PENDING


def test_of_two_runs_that_want_a_memo_one_computes_it(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, worker: FakeWorker
) -> None:
    start(storage, "s")
    other = worker.claim_one()
    ours, theirs = meet(lambda: one.runs.memo(held(lease), "k", "llm"), lambda: two.runs.memo(held(other), "k", "llm"))
    assert (ours.mine, theirs.mine) == (True, False)


def test_a_memo_is_computed_by_another_once_the_lease_of_the_first_has_ended(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, other: FakeWorker
) -> None:
    start(storage, "s")
    waiting = other.claim_one()
    assert storage.runs.memo(held(lease), "k", "llm").mine
    dead = [worker.number]
    _, taken = meet(lambda: one.reap(dead, expired=False), lambda: two.runs.memo(held(waiting), "k", "llm"))
    assert taken.mine


@pytest.mark.parametrize("settles_first", [True, False])
def test_a_run_ends_or_is_terminated(
    meet: Meet, one: Storage, two: Storage, lease: Lease, state: StateOf, settles_first: bool
) -> None:
    end = [(lease, Ack(b"1"))]
    if settles_first:
        _, ended = meet(lambda: one.settle(end), lambda: two.runs.terminate(["r"]))
        assert (ended, state("r")) == ([], State.SUCCEEDED)
    else:
        ended, lost = meet(lambda: one.runs.terminate(["r"]), lambda: two.settle(end))
        assert (ended, len(lost), state("r")) == ([("r", lease.token)], 1, State.CANCELLED)


@pytest.mark.parametrize("suspends_first", [True, False])
def test_a_run_that_is_paused_while_it_begins_to_wait_is_not_woken(
    meet: Meet, one: Storage, two: Storage, lease: Lease, clock: FakeClock, state: StateOf, suspends_first: bool
) -> None:
    end = [(lease, Suspend([step(clock, 1, None, kind="event", name="go", waited="event go")]))]
    if suspends_first:
        meet(lambda: one.settle(end), lambda: two.runs.pause("r"))
    else:
        meet(lambda: one.runs.pause("r"), lambda: two.settle(end))
    two.runs.send("r", "go", b"1")
    assert state("r") is State.BLOCKED
    assert two.runs.resume("r")
    assert state("r") is State.PENDING


@pytest.mark.parametrize("output", [b"1", b'"' + b"x" * 5_000 + b'"'], ids=["small", "large"])
@pytest.mark.parametrize("reaps_first", [True, False])
def test_a_checkpoint_is_written_only_under_its_lease(
    meet: Meet, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, clock: FakeClock, reaps_first: bool,
    output: bytes,
) -> None:  # fmt: skip
    def write(storage: Storage) -> bool:
        try:
            storage.runs.checkpoint(held(lease), step(clock, 1, output))
        except LeaseLost:
            return False
        return True

    dead = [worker.number]
    if reaps_first:
        _, written = meet(lambda: one.reap(dead, expired=False), lambda: write(two))
    else:
        written, _ = meet(lambda: write(one), lambda: two.reap(dead, expired=False))
    assert written is not reaps_first
    assert len(two.runs.history(lease.seq).steps) == int(written)


def test_of_two_starts_of_one_id_one_is_new(meet: Meet, one: Storage, two: Storage, worker: FakeWorker) -> None:
    message = Message("r", "flow", PAYLOAD, flags=Flag.RUN, run=RunSpec())
    ours, theirs = meet(lambda: one.runs.start(message), lambda: two.runs.start(message))
    assert (ours.new, theirs.new, ours.id, theirs.id) == (True, False, "r", "r")
    assert len(worker.claim()) == 1


def test_of_two_that_renew_a_run_one_does(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, worker: FakeWorker
) -> None:
    storage.settle([(lease, Ack(b"1"))])
    message = Message("r", "flow", PAYLOAD, flags=Flag.RUN, run=RunSpec())

    def renew(storage: Storage) -> bool:
        return storage.runs.start(message, on_conflict="renew").new

    assert meet(lambda: renew(one), lambda: renew(two)) == (True, False)
    assert len(worker.claim()) == 1


def test_an_approval_is_decided_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, clock: FakeClock, state: StateOf
) -> None:
    waits = step(clock, 1, None, kind="approval", name="ship", waited="approval ship")
    storage.settle([(lease, Suspend([waits]))])

    def approve(storage: Storage, by: str) -> bool:
        return storage.runs.approve("r", "ship", ok=True, by=by, comment="", data=None)

    assert meet(lambda: approve(one, "a"), lambda: approve(two, "b")) == (True, False)
    assert state("r") is State.PENDING


@pytest.mark.parametrize("started", [True, False])
def test_an_event_that_two_send_under_one_name_comes_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, started: bool
) -> None:
    if started:
        start(storage)

    def send(storage: Storage) -> bool:
        return storage.runs.send("r", "go", b"1", dedup="d")

    assert meet(lambda: send(one), lambda: send(two)) == (True, False)
    assert len(storage.runs.inbox("r")) == 1


def test_a_failed_run_is_let_go_on_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, state: StateOf
) -> None:
    storage.settle([(lease, DeadLetter(ERROR))])
    assert meet(lambda: one.runs.retry("r"), lambda: two.runs.retry("r")) == (True, False)
    assert state("r") is State.PENDING
    assert len(worker.claim()) == 1


def test_of_two_forks_under_one_id_one_is_made(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.runs.checkpoint(held(lease), step(clock, 1))
    storage.settle([(lease, DeadLetter(ERROR))])

    def fork(storage: Storage) -> bool:
        try:
            storage.runs.fork("r", 2, new="f")
        except RunConflict:
            return False
        return True

    assert meet(lambda: fork(one), lambda: fork(two)) == (True, False)
    (forked,) = worker.claim()
    assert forked.id == "f"
    assert len(storage.runs.history(forked.seq).steps) == 1


@pytest.mark.parametrize("rewinds_first", [True, False])
def test_a_run_that_is_rewound_while_an_event_comes_keeps_it(
    meet: Meet, storage: Storage, one: Storage, two: Storage, lease: Lease, clock: FakeClock, state: StateOf,
    rewinds_first: bool,
) -> None:  # fmt: skip
    storage.runs.checkpoint(held(lease), step(clock, 1))
    storage.settle([(lease, Suspend([step(clock, 2, None, kind="event", name="go", waited="event go")]))])

    def send(storage: Storage) -> object:
        return storage.runs.send("r", "go", b"1")

    if rewinds_first:
        meet(lambda: one.runs.rewind("r", 1), lambda: send(two))
        assert len(storage.runs.inbox("r")) == 1
    else:
        meet(lambda: send(one), lambda: two.runs.rewind("r", 1))
    assert state("r") is State.PENDING
