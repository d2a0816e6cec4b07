"""Ends that meet in a graph, and rows that are added to it meanwhile."""

from __future__ import annotations

from contextlib import suppress

import pytest

from liteq.exceptions import CanvasConflict
from liteq.message import Ack, Batch, DeadLetter, Exclusion, Flag, Group, Message
from liteq.states import State
from liteq.storage.groups.open_groups import Seat
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..conftest import ERROR, PAYLOAD, FakeWorker, Send, StateOf, chain_of, chord_of, close, row
from .conftest import Meet


def group_of(storage: Storage, id_: str) -> tuple[int, int]:
    """How many members of a group have not finished, and how many have failed."""
    with storage.driver.read() as tx:
        (found,) = tx.execute("SELECT remaining, failed FROM liteq_groups WHERE id = ?", (id_,))
    return found[0], found[1]


@pytest.mark.parametrize("ends", [(Ack(b"1"), Ack(b"2")), (Ack(b"1"), DeadLetter(ERROR))], ids=["well", "badly"])
def test_the_last_two_members_of_a_group_end_it_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf,
    ends: tuple[Ack, Ack | DeadLetter],
) -> None:  # fmt: skip
    storage.enqueue(chord_of(2))
    a, b = worker.claim()
    meet(lambda: one.settle([(a, ends[0])]), lambda: two.settle([(b, ends[1])]))
    failed = type(ends[1]) is DeadLetter
    assert group_of(storage, "g") == (0, int(failed))
    assert state("body") is (State.UPSTREAM_FAILED if failed else State.PENDING)


@pytest.mark.parametrize("expired", [True, False], ids=["expired", "dead"])
@pytest.mark.parametrize("max_reaps", [1, 10], ids=["given up", "run again"])
def test_two_reapers_count_a_group_down_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, clock: FakeClock, max_reaps: int,
    expired: bool,
) -> None:  # fmt: skip
    storage.enqueue(chord_of(3))
    worker.claim(2)
    one.max_reaps = two.max_reaps = max_reaps
    clock.advance(seconds=61)
    dead = [] if expired else [worker.number]
    ours, theirs = meet(lambda: one.reap(dead, expired=expired), lambda: two.reap(dead, expired=expired))
    assert ours + theirs == 2
    assert group_of(storage, "g") == ((1, 2) if max_reaps == 1 else (3, 0))


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_member_that_comes_while_its_group_closes_is_counted_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, closes_first: bool
) -> None:
    storage.groups.open(Batch([], [Group("g", 0)]), {"a": Seat("g", 0)}, queue="celery")
    comes = Batch([row("a")])
    if closes_first:
        meet(lambda: close(one, 1), lambda: two.groups.enter(comes))
    else:
        meet(lambda: one.groups.enter(comes), lambda: close(two, 1))
    assert group_of(storage, "g") == (1, 0)


@pytest.mark.parametrize("links_first", [True, False])
@pytest.mark.parametrize("result", [b"1", None], ids=["stays", "vanishes"])
def test_what_is_sent_behind_a_task_that_ends_waits_for_nothing(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, send: Send, state: StateOf,
    links_first: bool, result: bytes | None,
) -> None:  # fmt: skip
    before = send()
    end = [(worker.claim_one(), Ack(result))]

    def follow(storage: Storage) -> bool:
        with suppress(CanvasConflict):
            return bool(storage.enqueue(Batch([row("behind", awaits=before)])))
        return False

    if links_first:
        sent, _ = meet(lambda: follow(one), lambda: two.settle(end))
    else:
        _, sent = meet(lambda: one.settle(end), lambda: follow(two))
    assert sent is (links_first or result is not None), "what has gone is told"
    assert state("behind") is (State.PENDING if sent else None)


@pytest.mark.parametrize("links_first", [True, False])
def test_what_is_sent_behind_a_group_that_ends_waits_for_nothing(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, links_first: bool
) -> None:
    storage.enqueue(Batch([row("m", Flag.LINKED, group_id="g", position=0)], [Group("g", 1)]))
    end = [(worker.claim_one(), Ack(b"1"))]
    behind = Batch([row("behind", awaits="g")])
    if links_first:
        meet(lambda: one.enqueue(behind), lambda: two.settle(end))
    else:
        meet(lambda: one.settle(end), lambda: two.enqueue(behind))
    assert state("behind") is State.PENDING


@pytest.mark.parametrize("sends_first", [True, False])
def test_what_is_sent_behind_a_finished_group_finds_it_or_is_refused(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, clock: FakeClock,
    sends_first: bool,
) -> None:  # fmt: skip
    storage.enqueue(Batch([row("m", Flag.LINKED, group_id="g", position=0)], [Group("g", 1)]))
    storage.settle([(worker.claim_one(), Ack(b"17"))])
    clock.advance(seconds=100)

    def leave(storage: Storage) -> int:
        return storage.expire(result_expires_s=10, dead_expires_s=None)

    def follow(storage: Storage) -> list[str]:
        with suppress(CanvasConflict):
            return storage.enqueue(Batch([row("behind", Flag.TAKES_INPUT, awaits="g")]))
        return []

    if sends_first:
        sent, gone = meet(lambda: follow(one), lambda: leave(two))
        assert (sent, gone, worker.input()) == (["behind"], 0, b"[17]")
    else:
        gone, sent = meet(lambda: leave(one), lambda: follow(two))
        assert (sent, gone, state("behind")) == ([], 2, None)


@pytest.mark.parametrize("cancels_first", [True, False])
def test_a_member_that_is_cancelled_while_what_it_awaits_fails_ends_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, cancels_first: bool
) -> None:
    first = row("a", Flag.LINKED)
    member = row("b", Flag.LINKED, awaits="a", group_id="g", position=0)
    other = row("c", Flag.LINKED, awaits="x", group_id="g", position=1)
    storage.enqueue(Batch([first, row("x", Flag.LINKED), member, other], [Group("g", 2)]))
    lease = next(lease for lease in worker.claim() if lease.id == "a")
    end = [(lease, DeadLetter(ERROR))]
    if cancels_first:
        meet(lambda: one.cancel(["b"]), lambda: two.settle(end))
    else:
        meet(lambda: one.settle(end), lambda: two.cancel(["b"]))
    assert state("b") is (State.CANCELLED if cancels_first else State.UPSTREAM_FAILED)
    assert group_of(storage, "g") == (1, 1)


def test_two_cancels_count_a_group_down_once(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    storage.enqueue(chord_of(3))
    meet(lambda: one.cancel(["m0", "m1"]), lambda: two.cancel(["m0", "m2"]))
    assert group_of(storage, "g") == (0, 3)


@pytest.mark.parametrize("purges_first", [True, False])
def test_a_purge_and_a_cancel_end_a_member_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, purges_first: bool
) -> None:
    storage.enqueue(chord_of(2))
    if purges_first:
        purged, _ = meet(one.purge, lambda: two.cancel(["m0"]))
    else:
        _, purged = meet(lambda: one.cancel(["m0"]), two.purge)
    assert purged == (2 if purges_first else 1)
    assert group_of(storage, "g") == (0, 2)


@pytest.mark.parametrize("appends_first", [True, False])
def test_a_group_that_ends_takes_a_member_or_refuses_it(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, appends_first: bool
) -> None:
    storage.enqueue(chord_of(1))
    end = [(worker.claim_one(), Ack(b"1"))]
    more = Batch([row("late", Flag.LINKED, group_id="g", position=-1)])
    if appends_first:
        appended, _ = meet(lambda: one.groups.append("g", more), lambda: two.settle(end))
    else:
        _, appended = meet(lambda: one.settle(end), lambda: two.groups.append("g", more))
    assert appended == (["late"] if appends_first else [])
    assert group_of(storage, "g") == ((1, 0) if appends_first else (0, 0))
    assert state("body") is (State.BLOCKED if appends_first else State.PENDING)


def test_the_same_canvas_of_two_senders_is_there_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker
) -> None:
    ours, theirs = meet(lambda: one.enqueue(chord_of(3)), lambda: two.enqueue(chord_of(3)))
    assert ours == theirs
    assert group_of(storage, "g") == (3, 0)
    assert len(worker.claim()) == 3


@pytest.mark.parametrize("settles_first", [True, False])
def test_a_part_whose_key_is_given_back_runs_or_follows(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, send: Send, state: StateOf,
    settles_first: bool,
) -> None:  # fmt: skip
    send(unique_key="k", unique=Exclusion())
    end = [(worker.claim_one(), Ack(b'"theirs"'))]
    first, last = chain_of("first", "last")
    keyed = Message("first", "first", PAYLOAD, flags=first.flags, unique_key="k", unique=Exclusion())
    canvas = Batch([keyed, last])
    if settles_first:
        meet(lambda: one.settle(end), lambda: two.enqueue(canvas))
        assert (state("first"), state("last")) == (State.PENDING, State.BLOCKED)
    else:
        meet(lambda: one.enqueue(canvas), lambda: two.settle(end))
        assert (state("first"), state("last")) == (State.SUCCEEDED, State.PENDING)
        assert worker.input() == b'"theirs"'


def test_two_parts_that_find_one_key_free_are_one(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf
) -> None:
    def canvas(name: str) -> Batch:
        first, last = chain_of(name, f"behind {name}")
        return Batch([Message(name, "t", PAYLOAD, flags=first.flags, unique_key="k", unique=Exclusion()), last])

    meet(lambda: one.enqueue(canvas("a")), lambda: two.enqueue(canvas("b")))
    assert [lease.id for lease in worker.claim()] == ["a"]
    assert state("b") is State.BLOCKED, "it follows the one that holds the key"


@pytest.mark.parametrize("settles_first", [True, False])
def test_an_errback_takes_a_key_that_is_given_back_or_follows(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf, settles_first: bool
) -> None:
    errback = row("errback", Flag.ON_FAILURE | Flag.TAKES_INPUT, awaits="a", unique_key="k")
    storage.enqueue(Batch([row("holder", unique_key="k")]))
    storage.enqueue(Batch([row("a", Flag.LINKED), errback]))
    leases = {lease.id: lease for lease in worker.claim()}
    end, failure = [(leases["holder"], Ack(b"1"))], [(leases["a"], DeadLetter(ERROR))]
    if settles_first:
        meet(lambda: one.settle(end), lambda: two.settle(failure))
        assert state("errback") is State.PENDING
    else:
        meet(lambda: one.settle(failure), lambda: two.settle(end))
        assert state("errback") is State.SUCCEEDED, "as the one that it follows"


@pytest.mark.parametrize("replays_first", [True, False])
def test_a_follower_of_a_dead_letter_waits_again_or_was_cancelled(
    meet: Meet, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, replays_first: bool
) -> None:
    storage.enqueue(chord_of(2))
    storage.settle([(lease, DeadLetter(ERROR)) for lease in worker.claim()])
    replay = ["m0"], ["m1"]
    if not replays_first:
        replay = ["m1"], ["m0"]
    meet(lambda: one.dead.requeue(replay[0]), lambda: two.dead.requeue(replay[1]))
    assert group_of(storage, "g") == (2, 0)
    storage.settle([(lease, Ack(b"1")) for lease in worker.claim()])
    assert group_of(storage, "g") == (0, 0)
    assert [lease.id for lease in worker.claim()] == ["body"]
