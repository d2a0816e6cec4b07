"""LEGAL is the whole truth: each transition in it happens, and (conftest.py) no test of this suite makes another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from liteq.message import (
    Ack,
    Batch,
    Cancel,
    DeadLetter,
    Exclusion,
    Flag,
    Group,
    Limited,
    Message,
    Outcome,
    Park,
    Release,
    Replace,
    RetryAt,
    new_id,
)
from liteq.policy.rates import Bucket
from liteq.states import LEGAL, State
from liteq.storage.claiming.rates import Budget
from liteq.storage.rows.results import Ending
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Transition, row


@dataclass
class Scene:
    storage: Storage
    worker: FakeWorker
    clock: FakeClock

    def send(self, name: str = "a", **fields: Any) -> str:
        return self.storage.enqueue(Batch([Message(name, "t", PAYLOAD, **fields)]))[0]

    def chain(self, **second: Any) -> None:
        """`a`, and `b` behind it."""
        behind = Message("b", "t", PAYLOAD, flags=Flag.LINKED, awaits="a", **second)
        self.storage.enqueue(Batch([Message("a", "t", PAYLOAD, flags=Flag.LINKED), behind]))

    def end(self, outcome: Outcome) -> None:
        """Run the message that is first, with this outcome."""
        self.storage.settle([(self.worker.claim_one(), outcome)])

    def replace(self) -> None:
        """`a` replaces itself by `x`."""
        self.send()
        self.end(Replace(Batch([Message("x", "t", PAYLOAD)]), awaits="x"))

    def limited_turn(self) -> None:
        """A claim under a limit of one task in ten seconds."""
        bucket = self.bucket = getattr(self, "bucket", None) or Bucket(0.1)
        now = self.clock.monotonic()
        budget = Budget(lambda task: bucket, now)
        self.storage.turn((), ["celery"], worker=self.worker.number, limit=1, visibility_s=60, budget=budget)
        bucket.take(budget.used["t"], now)

    def hold(self, **fields: Any) -> None:
        """`b` is held: `a` has taken the token."""
        self.send("a")
        self.send("b", **fields)
        self.limited_turn()
        self.limited_turn()

    def later(self) -> int:
        return self.clock.now_ms() + 5_000


def due(scene: Scene) -> None:
    scene.send(due_ms=scene.later())
    scene.clock.advance(seconds=10)
    scene.worker.claim()


def token_comes(scene: Scene) -> None:
    scene.hold()
    scene.clock.advance(seconds=10)
    scene.limited_turn()


def place_is_free(scene: Scene) -> None:
    scene.storage.limits.set("task:t", concurrent=1)
    scene.send("a")
    scene.send("b")
    (lease,) = scene.worker.claim()
    scene.storage.settle([(lease, Ack(b"1"))])
    assert [lease.id for lease in scene.worker.claim()] == ["b"]


def postponed(scene: Scene) -> None:
    """The one that is held is called once more, and is due later."""
    scene.hold(unique_key="k")
    scene.send("c", unique_key="k", unique=Exclusion("postpone"), due_ms=scene.later(), delay_ms=5_000)


def put_off(scene: Scene) -> None:
    """The placeholder of a group that is sent in parts has come due, and the next part comes after all."""
    placeholder = Message("placeholder", "t", PAYLOAD, flags=Flag.LINKED, group_id="g", position=0)
    scene.storage.enqueue(Batch([placeholder], [Group("g", 1)]))
    member = replace(placeholder, id=new_id(), position=1)
    assert scene.storage.groups.extend("g", "placeholder", Batch([member]), 1, patience_s=60)


def requeue_upstream(scene: Scene) -> None:
    scene.chain()
    scene.end(DeadLetter(ERROR))
    scene.storage.dead.requeue(["a"])


def first(*steps: Callable[[Scene], object]) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        for step in steps:
            step(scene)

    return play


SEND, CHAIN, HOLD, REPLACE = Scene.send, Scene.chain, Scene.hold, Scene.replace


def end(outcome: Outcome) -> Callable[[Scene], None]:
    return lambda scene: scene.end(outcome)


def cancel(name: str = "a") -> Callable[[Scene], object]:
    return lambda scene: scene.storage.cancel([name])


def pause(name: str = "a") -> Callable[[Scene], object]:
    return lambda scene: scene.storage.runs.pause(name)


def claim_stuck(scene: Scene) -> None:
    runs, worker = scene.storage.runs, scene.worker.number
    assert runs.claim_stuck(["celery"], worker=worker, fingerprint="new", limit=1, visibility_s=60)


S = State
SCENES: dict[Transition, Callable[[Scene], None]] = {
    (S.SCHEDULED, S.PENDING): due,
    (S.SCHEDULED, S.BLOCKED): first(lambda scene: scene.send(flags=Flag.RUN, due_ms=scene.later()), pause()),
    (S.SCHEDULED, S.CANCELLED): first(lambda scene: scene.send(due_ms=scene.later()), cancel()),
    (S.BLOCKED, S.PENDING): first(CHAIN, end(Ack(b"1"))),
    (S.BLOCKED, S.SCHEDULED): first(lambda scene: scene.chain(delay_ms=1_000), end(Ack(b"1"))),
    (S.BLOCKED, S.SUCCEEDED): first(REPLACE, end(Ack(b"1"))),
    (S.BLOCKED, S.UPSTREAM_FAILED): first(CHAIN, end(DeadLetter(ERROR))),
    (S.BLOCKED, S.CANCELLED): first(CHAIN, cancel("b")),
    (S.BLOCKED, S.LEASED): first(lambda scene: scene.send(flags=Flag.RUN), end(Park("stuck")), claim_stuck),
    (S.PENDING, S.LEASED): first(SEND, lambda scene: scene.worker.claim()),
    (S.PENDING, S.HELD): HOLD,
    (S.PENDING, S.BLOCKED): first(lambda scene: scene.send(flags=Flag.RUN), pause()),
    (S.PENDING, S.CANCELLED): first(SEND, cancel()),
    (S.PENDING, S.SCHEDULED): put_off,
    (S.HELD, S.SCHEDULED): postponed,
    (S.HELD, S.PENDING): token_comes,
    (S.HELD, S.LEASED): place_is_free,
    (S.HELD, S.CANCELLED): first(HOLD, cancel("b")),
    (S.HELD, S.BLOCKED): first(lambda scene: scene.hold(flags=Flag.RUN), pause("b")),
    (S.LEASED, S.PENDING): first(SEND, end(Release())),
    (S.LEASED, S.SCHEDULED): first(SEND, lambda scene: scene.end(RetryAt(scene.later(), ERROR))),
    (S.LEASED, S.SUCCEEDED): first(SEND, end(Ack(b"1"))),
    (S.LEASED, S.DEAD): first(SEND, end(DeadLetter(ERROR))),
    (S.LEASED, S.CANCELLED): first(SEND, end(Cancel(None))),
    (S.LEASED, S.BLOCKED): REPLACE,
    (S.LEASED, S.HELD): first(lambda scene: scene.send(keys='[null,"k"]'), end(Limited(1_000))),
    (S.DEAD, S.PENDING): first(SEND, end(DeadLetter(ERROR)), lambda scene: scene.storage.dead.requeue(["a"])),
    (S.UPSTREAM_FAILED, S.BLOCKED): requeue_upstream,
}


def test_each_legal_transition_has_a_scene() -> None:
    assert SCENES.keys() == {(old, new) for old, following in LEGAL.items() for new in following}


@pytest.mark.parametrize("transition", SCENES, ids="-".join)
def test_a_legal_transition_happens(
    transition: Transition, storage: Storage, worker: FakeWorker, clock: FakeClock, transitions: set[Transition]
) -> None:
    SCENES[transition](Scene(storage, worker, clock))
    assert transition in transitions


def test_what_has_ended_is_not_cancelled_by_who_saw_it_wait_and_a_success_stays(
    storage: Storage, worker: FakeWorker, clock: FakeClock
) -> None:
    """Celery's worker marks a task as revoked after a look: meanwhile it may have ended, and others gone on from it."""
    scene = Scene(storage, worker, clock)
    scene.send()
    scene.end(Ack(b"7"))
    for ending in (Ending(State.CANCELLED, error=ERROR), Ending(State.DEAD, error=ERROR), Ending(State.SUCCEEDED)):
        assert not storage.store_result("a", ending)
    found = storage.reader.find("a")
    assert found is not None
    assert (found.state, found.result) == (State.SUCCEEDED, b"7")
    scene.send("dead")
    scene.end(DeadLetter(ERROR))
    assert not storage.store_result("dead", Ending(State.CANCELLED, error=ERROR))


def test_a_stored_end_takes_the_place_of_one_and_of_nothing_else(
    storage: Storage, worker: FakeWorker, clock: FakeClock
) -> None:
    scene = Scene(storage, worker, clock)
    scene.send()
    assert not storage.store_result("a", Ending(State.SUCCEEDED))
    scene.end(DeadLetter(ERROR))
    assert storage.store_result("a", Ending(State.SUCCEEDED, result=b"1"))


def test_a_lease_holds_until_it_has_ended_or_another_has_it(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("a")]))
    first = worker.claim_one()
    assert storage.leases.holds(first.seq, first.token)
    assert not storage.leases.holds(first.seq, first.token + 1)
    storage.settle([(first, Release())])
    second = worker.claim_one()
    assert [storage.leases.holds(one.seq, one.token) for one in (first, second)] == [False, True]
    storage.settle([(second, Ack(b"1"))])
    assert not storage.leases.holds(second.seq, second.token)


def test_messages_that_are_there_tell_whether_they_have_ended(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("a")]))
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    storage.enqueue(Batch([row("b")]))
    storage.progress("shown", b"{}")  # a state for an id that nobody has sent
    assert storage.reader.have_ended(["a", "b", "shown", "nobody"]) == {"a": True, "b": False, "shown": False}
    assert storage.reader.have_ended(["a"]) == {"a": True}
