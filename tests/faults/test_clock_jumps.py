"""The wall clock is set: no lease that is kept alive ends early, and nothing waits for ever."""

from __future__ import annotations

import random

import pytest

from liteq.message import Ack
from liteq.states import State
from liteq.storage.storage import Storage
from liteq.worker.chores import heartbeat as heartbeat_module

from .clocks import VISIBILITY_S, TwoClocks, lease_one, worker_of
from .sizes import size

JUMPS = size("CLOCK_JUMPS", 1_000, 10_000)


@pytest.mark.parametrize("jump_s", [3600, -3600, 86_400 * 365, 90])
def test_a_live_lease_outlasts_a_clock_that_is_set(storage: Storage, clock: TwoClocks, jump_s: int) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    clock.advance(1)
    b.look_after_others()
    clock.wall_ms += jump_s * 1000
    b.look_after_others()
    clock.advance(20)  # a third of the lease: its owner's next beat
    assert a.beat([lease]) == []
    for _ in range(10):
        clock.advance(10)
        b.look_after_others()
        assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


@pytest.mark.parametrize("jump_s", [3600, 86_400 * 365, 90])
def test_a_worker_that_starts_after_the_clock_was_set_knows_of_it(
    storage: Storage, clock: TwoClocks, jump_s: int
) -> None:
    """It was not there then; but a worker in another container of this boot has written down how its clocks stood."""
    a = worker_of(storage, "a", boot="this boot/pid:[1]")
    lease = lease_one(storage, a)
    clock.advance(10)
    clock.wall_ms += jump_s * 1000
    b = worker_of(storage, "b", boot="this boot/pid:[2]")
    b.look_after_others()
    clock.advance(10)
    assert a.beat([lease]) == []
    for _ in range(10):
        clock.advance(10)
        b.look_after_others()
        assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


def test_a_worker_that_starts_after_nobody_set_a_clock_waits_for_nothing(storage: Storage, clock: TwoClocks) -> None:
    a = worker_of(storage, "a", boot="this boot/pid:[1]")
    lease = lease_one(storage, a)
    clock.advance(VISIBILITY_S + 1)
    b = worker_of(storage, "b", boot="this boot/pid:[2]")
    assert b.look_after_others()
    assert storage.settle([(lease, Ack(b"1"))]) == [lease]


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_dead_workers_lease_ends_in_spite_of_it(storage: Storage, clock: TwoClocks, jump_s: int) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    clock.wall_ms += jump_s * 1000
    for _ in range(int(abs(jump_s) + 4 * VISIBILITY_S) // 10):
        clock.advance(10)
        b.look_after_others()
    record = storage.find(lease.id)
    assert record is not None
    assert record.state is State.PENDING


def test_any_number_of_jumps(storage: Storage, clock: TwoClocks) -> None:
    """Each worker looks after the others once a second; the clock is set now and then; no live lease is lost."""
    rng = random.Random(4)
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    for _ in range(JUMPS):
        if rng.random() < 0.5:
            clock.wall_ms += rng.choice([-3600, -60, -2, 2, 60, 3600]) * 1000
        for _ in range(rng.randrange(1, 4)):
            clock.advance(1)
            b.look_after_others()
            if clock.elapsed_s >= a.due_at:
                assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


def test_a_worker_that_cannot_be_asked_and_is_silent_for_long_is_taken_off_the_list(
    storage: Storage, clock: TwoClocks
) -> None:
    """A container that was removed, for instance: its PID means nothing here."""
    worker_of(storage, "gone")
    here = worker_of(storage, "here")
    clock.advance(VISIBILITY_S)
    here.look_after_others()
    assert [w.name for w in storage.workers()] == ["gone", "here"]
    clock.advance(heartbeat_module.GONE_S + 1)
    here.look_after_others()
    assert [w.name for w in storage.workers()] == ["here"]
