"""Budgets that several runs share, and attempts that are settled while others reserve."""

from __future__ import annotations

from contextlib import suppress

import pytest

from liteq.exceptions import LeaseLost
from liteq.message import Hold
from liteq.storage.spending import reserving
from liteq.storage.spending.kinds import Limit
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..conftest import FakeWorker
from ..test_spending import LIMIT, Spender
from .conftest import Meet

ONE_FITS: Limit = ("cost", 150, None, None, 0)
KEY = "team"


@pytest.fixture
def first_spender(one: Storage, first: FakeWorker, clock: FakeClock) -> Spender:
    return Spender(one, first, clock)


@pytest.fixture
def second_spender(two: Storage, second: FakeWorker, clock: FakeClock) -> Spender:
    return Spender(two, second, clock)


def both_claimed(first: Spender, second: Spender, *limits: Limit) -> tuple[Hold, Hold]:
    """Two runs of one shared budget, each executed by a worker of its own."""
    first.storage.spending.set(KEY, limits)
    for id_ in ("r", "s"):
        first.start(id_, tags=["team"])
    return first.claim(), second.claim()


def spent(storage: Storage) -> int:
    (account,) = storage.spending.list()
    return account.spent


def test_two_attempts_do_not_hold_more_than_there_is(
    meet: Meet, first_spender: Spender, second_spender: Spender
) -> None:
    ours, theirs = both_claimed(first_spender, second_spender, ONE_FITS)
    began, other = meet(lambda: first_spender.reserve(ours), lambda: second_spender.reserve(theirs))
    assert (began.reserved, other.reserved) == (True, False)
    assert other.waits is not None
    assert first_spender.held() == 100


def test_two_attempts_that_end_at_once_are_both_counted(
    meet: Meet, storage: Storage, first_spender: Spender, second_spender: Spender
) -> None:
    ours, theirs = both_claimed(first_spender, second_spender, LIMIT)
    assert first_spender.reserve(ours).reserved
    assert second_spender.reserve(theirs).reserved
    meet(lambda: first_spender.settle(ours, cost=90), lambda: second_spender.settle(theirs, cost=80))
    assert (spent(storage), first_spender.held()) == (170, 0)


@pytest.mark.parametrize("settles_first", [True, False])
def test_what_is_held_is_given_back_once_by_its_step_or_by_the_end_of_its_lease(
    meet: Meet, storage: Storage, first_spender: Spender, second_spender: Spender, settles_first: bool
) -> None:
    ours, theirs = both_claimed(first_spender, second_spender, LIMIT)
    assert first_spender.reserve(ours).reserved
    assert second_spender.reserve(theirs).reserved
    dead = [first_spender.worker.number]

    def settle() -> None:
        with suppress(LeaseLost):
            (one if settles_first else two).settle(ours, cost=90)

    one, two = first_spender, Spender(second_spender.storage, first_spender.worker, first_spender.clock)
    if settles_first:
        meet(settle, lambda: two.storage.reap(dead, expired=False))
    else:
        meet(lambda: one.storage.reap(dead, expired=False), settle)
    assert first_spender.held() == 100, "what the other one holds"
    assert spent(storage) == (90 if settles_first else 0)


@pytest.mark.parametrize("gone", [True, False], ids=["deleted", "lowered"])
@pytest.mark.parametrize("sets_first", [True, False])
def test_a_budget_that_is_changed_while_an_attempt_begins_holds_for_it_or_does_not(
    meet: Meet, storage: Storage, one: Storage, two: Storage, first_spender: Spender, second_spender: Spender,
    sets_first: bool, gone: bool,
) -> None:  # fmt: skip
    """Else it would begin with nothing held for it, and give back what others hold."""
    ours, theirs = both_claimed(first_spender, second_spender, LIMIT)

    def change(storage: Storage) -> None:
        if gone:
            storage.spending.delete(KEY)
        else:
            storage.spending.set(KEY, [("cost", 50, None, None, 0)])

    if sets_first:
        _, answer = meet(lambda: change(one), lambda: second_spender.reserve(theirs))
    else:
        answer, _ = meet(lambda: first_spender.reserve(ours), lambda: change(two), before=reserving.HOLD[False])
    assert answer.reserved is (gone or not sets_first)
    assert first_spender.held() == (0 if gone or sets_first else 100)
