"""Groups whose members come one by one, from several senders, while they are closed, grow and end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from liteq.message import Ack, Batch, DeadLetter, Flag, Group, RetryAt
from liteq.states import State
from liteq.storage.groups.append_members import GIVE_UP
from liteq.storage.groups.ended import Ended
from liteq.storage.groups.open_groups import Seat
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..conftest import ERROR, FakeWorker, Run, StateOf, close, row
from .conftest import Meet

BODY = row("body", Flag.TAKES_INPUT, awaits="g")


def opened(storage: Storage, *members: str, again: tuple[str, ...] = (), patience_s: float = 60) -> bool:
    """Open the group g, with places for these members and a body."""
    places = {name: Seat("g", at) for at, name in enumerate(members)}
    batch = Batch([BODY], [Group("g", 0)])
    return storage.groups.open(batch, places, queue="celery", again=again, patience_s=patience_s)


def enter(storage: Storage, name: str) -> list[str]:
    return storage.groups.enter(Batch([row(name, Flag.LINKED)]))


def counts(storage: Storage) -> tuple[int, int, int]:
    found = storage.reader.find_group("g")
    assert found is not None
    return found.size, found.remaining, found.failed


def end(storage: Storage, name: str) -> None:
    """End a member that will not come."""
    storage.settle([], ended=[Ended(name, ERROR, task=name, group_id="g", position=0)])


def test_of_two_that_open_a_group_one_does(meet: Meet, storage: Storage, one: Storage, two: Storage, run: Run) -> None:
    assert sorted(meet(lambda: opened(one, "a"), lambda: opened(two, "a"))) == [False, True]
    enter(storage, "a")
    close(storage, 1)
    assert run() == ["a", "body"]


def test_of_two_that_open_a_finished_group_anew_one_does(
    meet: Meet, storage: Storage, one: Storage, two: Storage, run: Run
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    close(storage, 1)
    assert run() == ["a", "body"]
    again = ("g", "body")
    assert sorted(meet(lambda: opened(one, "b", again=again), lambda: opened(two, "b", again=again))) == [False, True]
    enter(storage, "b")
    close(storage, 1)
    assert run() == ["a", "body", "b", "body"]


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(enter, enter), (enter, end), (end, enter), (end, end)],
    ids=["sent twice", "sent, ended", "ended, sent", "ended twice"],
)  # fmt: skip
def test_a_member_that_comes_twice_at_once_is_counted_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, run: Run, state: StateOf, is_open: bool,
    ours: Callable[[Storage, str], object], theirs: Callable[[Storage, str], object],
) -> None:  # fmt: skip
    opened(storage, "a", "b")
    enter(storage, "b")
    if not is_open:
        close(storage, 2)
    meet(lambda: ours(one, "a"), lambda: theirs(two, "a"))
    close(storage, 2)
    ran = run()
    failed = state("a") is State.UPSTREAM_FAILED
    assert counts(storage) == (2, 0, int(failed))
    assert sorted(ran) == (["b"] if failed else ["a", "b", "body"])
    assert state("body") is (State.UPSTREAM_FAILED if failed else State.SUCCEEDED)


@pytest.mark.parametrize("becomes_first", [True, False])
def test_a_member_that_comes_twice_while_it_becomes_another_task_is_counted_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, run: Run, becomes_first: bool
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    settled = [(worker.claim_one(), RetryAt(0, task="other", retries=1))]
    if becomes_first:
        lost, sent = meet(lambda: one.settle(settled), lambda: enter(two, "a"))
    else:
        sent, lost = meet(lambda: enter(one, "a"), lambda: two.settle(settled))
    assert (sent, lost) == (["a"], [])
    close(storage, 1)
    assert counts(storage) == (1, 1, 0)
    assert run() == ["other", "body"]


@pytest.mark.parametrize("ends_first", [True, False])
def test_the_last_member_ends_while_its_group_is_closed(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, ends_first: bool
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    settled = [(worker.claim_one(), Ack(b"1"))]
    if ends_first:
        meet(lambda: one.settle(settled), lambda: close(two, 1))
    else:
        meet(lambda: close(one, 1), lambda: two.settle(settled))
    assert (counts(storage), state("body")) == ((1, 0, 0), State.PENDING)


def test_a_group_is_closed_once(meet: Meet, storage: Storage, one: Storage, two: Storage, run: Run) -> None:
    opened(storage, "a", "b")
    enter(storage, "a")
    meet(lambda: close(one, 2), lambda: close(two, 2))
    assert counts(storage) == (2, 2, 0)
    enter(storage, "b")
    assert run() == ["a", "b", "body"]


@pytest.mark.parametrize("grows_first", [True, False])
def test_a_group_that_is_closed_while_it_grows_waits_for_all(
    meet: Meet, storage: Storage, one: Storage, two: Storage, run: Run, grows_first: bool
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    if grows_first:
        grown, _ = meet(lambda: one.groups.expect("g", ["b"]), lambda: close(two, 1))
    else:
        _, grown = meet(lambda: close(one, 1), lambda: two.groups.expect("g", ["b"]))
    assert grown
    assert run() == ["a"], "one is still to come"
    enter(storage, "b")
    assert run() == ["a", "b", "body"]


@pytest.mark.parametrize("grows_first", [True, False])
def test_a_group_grows_or_has_ended(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, grows_first: bool
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    close(storage, 1)
    settled = [(worker.claim_one(), Ack(b"1"))]
    if grows_first:
        grown, _ = meet(lambda: one.groups.expect("g", ["b"]), lambda: two.settle(settled))
    else:
        _, grown = meet(lambda: one.settle(settled), lambda: two.groups.expect("g", ["b"]))
    assert grown is grows_first
    assert state("body") is (State.BLOCKED if grows_first else State.PENDING)


@pytest.mark.parametrize("gives_up_first", [True, False])
def test_a_group_is_given_up_or_closed(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, clock: FakeClock,
    gives_up_first: bool,
) -> None:  # fmt: skip
    opened(storage, patience_s=60)
    clock.advance(seconds=61)
    claimer = FakeWorker(one if gives_up_first else two, "w")
    if gives_up_first:
        leases, _ = meet(claimer.claim, lambda: close(two, 0))
    else:
        _, leases = meet(lambda: close(one, 0), claimer.claim)
    given_up = [lease for lease in leases if lease.task == GIVE_UP]
    storage.settle([(lease, DeadLetter(ERROR)) for lease in given_up])
    assert state("body") in ([State.UPSTREAM_FAILED] if given_up else [State.PENDING, State.LEASED])


@pytest.mark.parametrize("ends_first", [True, False])
def test_what_a_running_message_becomes_awaits_a_group_that_ends_meanwhile(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, run: Run, ends_first: bool
) -> None:
    opened(storage, "a")
    enter(storage, "a")
    close(storage, 1)
    storage.enqueue(Batch([row("self", Flag.LINKED), row("next", Flag.TAKES_INPUT, awaits="self")]))
    leases = {lease.id: lease for lease in worker.claim()}
    becomes = [(leases["self"], RetryAt(0, task="other", payload=b"[[],{}]", retries=0, awaits="g"))]
    ends = [(leases["a"], Ack(b"17"))]
    if ends_first:
        meet(lambda: one.settle(ends), lambda: two.settle(becomes))
    else:
        meet(lambda: one.settle(becomes), lambda: two.settle(ends))
    assert sorted(run()) == ["body", "next", "other"]
    assert (run.inputs["other"], run.inputs["next"]) == (b"[17]", b'"other"')


@pytest.mark.parametrize("settles_first", [True, False])
def test_what_follows_an_end_enters_its_group_as_that_is_closed(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, run: Run, settles_first: bool
) -> None:
    opened(storage, "b")
    storage.enqueue(Batch([row("a")]))
    settled, also = [(worker.claim_one(), Ack(b"1"))], Batch([row("b", Flag.LINKED)])
    if settles_first:
        meet(lambda: one.settle(settled, also=also), lambda: close(two, 1))
    else:
        meet(lambda: close(one, 1), lambda: two.settle(settled, also=also))
    assert counts(storage) == (1, 1, 0)
    assert run() == ["b", "body"]
