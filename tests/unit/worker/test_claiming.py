"""When a worker's loop asks the storage, and for how many messages."""

from __future__ import annotations

from math import inf

import pytest

from liteq.worker.claiming import Claiming

NOW = 100.0


def emptied(due_at: float = inf) -> Claiming:
    """A loop whose last claim found less than it had room for."""
    claiming = Claiming()
    claiming.learn(8, 3, due_at)
    return claiming


def limit(
    claiming: Claiming, room: int, *, outcomes: bool = False, gathering: bool = False, wakes: bool = False
) -> int | None:
    return claiming.limit(NOW, room, outcomes=outcomes, gathering=gathering, wakes=wakes)


@pytest.mark.parametrize(
    ("look", "room", "outcomes", "gathering", "asked"),
    [
        (True, 4, False, False, 4),
        (True, 4, True, True, 4),
        (True, 0, False, False, None),
        (True, 0, True, True, None),
        (True, 0, True, False, 0),
        (False, 4, False, False, None),
        (False, 4, True, False, 0),
        (False, 4, True, True, 0),
        (False, 0, True, True, None),
        (False, 0, True, False, 0),
        (False, 0, False, False, None),
    ],
)
def test_outcomes_wait_for_others_only_while_every_executor_has_work(look, room, outcomes, gathering, asked):
    claiming = Claiming() if look else emptied()
    assert limit(claiming, room, outcomes=outcomes, gathering=gathering) == asked


@pytest.mark.parametrize(
    ("due_at", "room", "asked"), [(NOW, 2, 2), (NOW - 1, 2, 2), (NOW + 0.1, 2, None), (NOW, 0, None)]
)
def test_a_scheduled_message_is_claimed_when_it_comes_due(due_at, room, asked):
    claiming = emptied(due_at)
    assert claiming.next_at() == due_at
    assert limit(claiming, room) == asked


@pytest.mark.parametrize(("asked", "claimed", "again"), [(4, 4, 0.0), (4, 3, inf), (4, 0, inf)])
def test_it_looks_again_unless_it_has_seen_the_end_of_the_queue(asked, claimed, again):
    claiming = Claiming()
    claiming.learn(asked, claimed, inf)
    assert claiming.next_at() == again


def test_without_a_look_nothing_is_learned():
    full, empty = Claiming(), emptied(NOW + 1)
    for claiming in (full, empty):
        claiming.learn(0, 0, inf)
    assert (full.next_at(), empty.next_at()) == (0.0, NOW + 1)


def test_what_an_outcome_may_unblock_is_claimed_in_its_transaction():
    assert limit(emptied(), 4, outcomes=True, wakes=True) == 4


def test_what_an_outcome_may_have_unblocked_is_claimed_once_there_is_room():
    claiming = emptied()
    assert limit(claiming, 0, outcomes=True, wakes=True) == 0
    claiming.learn(0, 0, inf)
    assert limit(claiming, 2) == 2


@pytest.mark.parametrize("wake", [Claiming.look, Claiming.rung])
def test_a_wake_up_makes_it_look(wake):
    claiming = emptied()
    wake(claiming)
    assert limit(claiming, 2) == 2


def test_after_a_ring_that_was_for_it_the_next_one_is_claimed_without_a_look():
    claiming = emptied()
    claiming.rung()
    assert not claiming.expectant
    claiming.learn(4, 1, inf)
    assert not claiming.expectant, "nobody has rung"
    claiming.rung()
    assert claiming.expectant
    claiming.learn(4, 0, inf)  # another worker was quicker
    claiming.rung()
    assert not claiming.expectant


def test_a_ring_while_there_is_no_room_is_answered_by_the_next_claim():
    claiming = emptied()
    claiming.rung()
    claiming.learn(0, 0, inf)
    claiming.learn(4, 1, inf)
    claiming.rung()
    assert claiming.expectant
