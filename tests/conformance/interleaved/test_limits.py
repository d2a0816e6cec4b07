"""Limits by key: a place or a token is taken once, and one that is freed is handed on."""

from __future__ import annotations

import json

import pytest

from liteq.message import Ack, Batch, Lease, Message, new_id
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage import interrupts
from liteq.storage.claiming import claim
from liteq.storage.claiming.rates import Budget
from liteq.storage.statistics.stats import Tally
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..conftest import PAYLOAD, FakeWorker, Send, StateOf
from .conftest import Meet
from .test_runs import held, start


def keys(*limits: str, fair: str | None = None) -> str:
    return json.dumps([fair, *limits])


def test_two_claims_do_not_exceed_the_places_of_a_key(
    meet: Meet, send: Send, storage: Storage, first: FakeWorker, second: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=2)
    for _ in range(4):
        send(keys=keys("k"))
    ours, theirs = meet(lambda: first.claim(1), second.claim)
    assert len(ours) + len(theirs) == 2
    assert storage.limits.get("k").running == 2


def test_two_claims_do_not_exceed_the_rate_of_a_key(
    meet: Meet, send: Send, storage: Storage, first: FakeWorker, second: FakeWorker
) -> None:
    storage.limits.set("k", rate="1/m")
    for _ in range(3):
        send(keys=keys("k"))
    ours, theirs = meet(lambda: first.claim(2), second.claim)
    assert len(ours) + len(theirs) == 1


@pytest.mark.parametrize("claims_first", [True, False])
def test_a_place_that_is_freed_while_another_is_held_back_is_handed_on(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, claims_first: bool
) -> None:
    storage.limits.set("k", concurrent=1)
    send(keys=keys("k"))
    end = [(worker.claim_one(), Ack(b"1"))]
    waiting = send(keys=keys("k"))
    other = FakeWorker(one if claims_first else two, "w")
    if claims_first:
        leases, _ = meet(other.claim, lambda: two.settle(end))
    else:
        _, leases = meet(lambda: one.settle(end), other.claim)
    assert [lease.id for lease in (*leases, *other.claim())] == [waiting]


@pytest.mark.parametrize("own_rate", [False, True], ids=["claimed", "held again"])
def test_what_leaves_its_line_while_it_is_claimed_is_not_leased(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, second: FakeWorker,
    state: StateOf, own_rate: bool,
) -> None:  # fmt: skip
    storage.limits.set("k", concurrent=1)
    send(keys=keys("k"))
    end = [(worker.claim_one(), Ack(b"1"))]
    gone, stays = send(keys=keys("k")), send(keys=keys("k"))
    assert worker.claim() == []
    storage.settle(end)
    empty = Bucket(1.0)
    empty.take(1, 0.0)

    def claim() -> list[str]:
        budget = Budget(lambda task: empty, 0.0) if own_rate else None
        turn = two.turn([], ["celery"], worker=second.number, limit=1, visibility_s=60, budget=budget)
        return [lease.id for lease in turn.leases]

    _, leases = meet(lambda: one.cancel([gone]), claim)
    assert (state(gone), leases) == (State.CANCELLED, [] if own_rate else [stays])
    assert storage.limits.get("k").running == len(leases)


@pytest.mark.parametrize("sends_first", [True, False])
def test_a_line_that_a_claim_empties_keeps_what_comes_meanwhile(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, sends_first: bool
) -> None:
    send(keys=keys(fair="a"))
    new = Message(new_id(), "t", PAYLOAD, keys=keys(fair="a"))
    worker = FakeWorker(two if sends_first else one, "w")
    if sends_first:
        _, leases = meet(lambda: one.enqueue(Batch([new])), worker.claim)
    else:
        leases, _ = meet(worker.claim, lambda: two.enqueue(Batch([new])))
    assert len([*leases, *worker.claim()]) == 2


def test_a_pause_is_seen_by_the_claim_behind_it(
    meet: Meet, send: Send, storage: Storage, one: Storage, second: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", concurrent=5)
    waiting = send(keys=keys("k"))
    _, leases = meet(lambda: one.limits.pause("k", 60), second.claim)
    assert [lease.id for lease in leases] in ([], [waiting]), "claimed before the pause was there, or held by it"
    clock.advance(seconds=200)
    assert len([*leases, *second.claim()]) == 1


def test_no_two_turns_wait_for_each_other(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, state: StateOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    slept: list[float] = []
    monkeypatch.setattr(interrupts, "sleep", slept.append)
    storage.limits.set("k", concurrent=2)
    ids = [send(), send(keys=keys("k"))]
    plain, placed = worker.claim()

    def turn(storage: Storage, lease: Lease) -> None:
        tally = Tally()
        tally.n = 1
        storage.turn(
            [(lease, Ack(b"1"))], ["celery"], worker=worker.number, limit=1, visibility_s=60,
            events=[(lease.token, b"{}")], sums={("t", "celery", "succeeded", ""): tally},
        )  # fmt: skip

    meet(lambda: turn(one, plain), lambda: turn(two, placed), before=claim.NEXT)
    assert [state(id_) for id_ in ids] == [State.SUCCEEDED] * 2
    assert slept == [], "a transaction was ended, and its verb run again"


def test_two_workers_with_rates_of_their_own_share_what_is_there(
    meet: Meet, send: Send, one: Storage, two: Storage, first: FakeWorker, second: FakeWorker
) -> None:
    sent = [send() for _ in range(4)]

    def claim(storage: Storage, worker: FakeWorker) -> list[str]:
        budget = Budget(lambda task: None, 0.0)
        turn = storage.turn([], ["celery"], worker=worker.number, limit=2, visibility_s=60, budget=budget)
        return [lease.id for lease in turn.leases]

    ours, theirs = meet(lambda: claim(one, first), lambda: claim(two, second))
    assert meet.passed_by
    assert sorted([*ours, *theirs]) == sorted(sent)


def test_what_a_workers_own_rate_held_is_woken_by_one(
    meet: Meet, send: Send, one: Storage, two: Storage, first: FakeWorker, second: FakeWorker
) -> None:
    for _ in range(4):
        send()
    empty = Bucket(1.0)
    empty.take(1, 0.0)

    def claim(storage: Storage, worker: FakeWorker, bucket: Bucket) -> list[int]:
        budget = Budget(lambda task: bucket, 0.0)
        turn = storage.turn([], ["celery"], worker=worker.number, limit=2, visibility_s=60, budget=budget)
        return [lease.seq for lease in turn.leases]

    assert claim(one, first, empty) == []
    ours, theirs = meet(lambda: claim(one, first, Bucket(100.0)), lambda: claim(two, second, Bucket(100.0)))
    assert len(ours) == len(theirs) == 2
    assert len({*ours, *theirs}) == 4


@pytest.mark.parametrize("a_step", [True, False], ids=["step", "message"])
def test_the_last_place_is_taken_by_one_step(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker, a_step: bool
) -> None:
    storage.limits.set("k", concurrent=1)
    for id_ in ("r", "s"):
        start(storage, id_)
    ours, theirs = (held(lease) for lease in worker.claim())
    if a_step:
        took, lacks = meet(lambda: one.runs.take_places(ours, ["k"]), lambda: two.runs.take_places(theirs, ["k"]))
        assert lacks.lacks == "k"
    else:
        send(keys=keys("k"))
        took, leases = meet(lambda: one.runs.take_places(ours, ["k"]), FakeWorker(two, "two").claim)
        assert leases == []
    assert took.keys == ("k",)
    assert storage.limits.get("k").running == 1


@pytest.mark.parametrize("rate_first", [True, False])
def test_a_rate_that_is_set_beside_a_number_leaves_that(
    meet: Meet, storage: Storage, one: Storage, two: Storage, rate_first: bool
) -> None:
    storage.limits.set("k", concurrent=1)
    if rate_first:
        meet(lambda: one.limits.set_rate("k", "7/s"), lambda: two.limits.set("k", rate="7/s", concurrent=5))
    else:
        meet(lambda: one.limits.set("k", rate="3/s", concurrent=5), lambda: two.limits.set_rate("k", "7/s"))
    limit = storage.limits.get("k")
    assert (limit.rate, limit.concurrent) == ("7/s", 5)


@pytest.mark.parametrize("sets_first", [True, False])
def test_what_is_claimed_while_a_limit_is_set_counts(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, sets_first: bool
) -> None:
    storage.limits.set("other", concurrent=9)
    for _ in range(3):
        send(keys=keys("k", "other"))

    def limit(storage: Storage) -> None:
        storage.limits.set("k", concurrent=1)

    worker = FakeWorker(two if sets_first else one, "w")
    if sets_first:
        _, leases = meet(lambda: limit(one), lambda: worker.claim(1))
    else:
        leases, _ = meet(lambda: worker.claim(1), lambda: limit(two))
    assert len(leases) == 1
    assert storage.limits.get("k").running == 1
    assert worker.claim() == []
