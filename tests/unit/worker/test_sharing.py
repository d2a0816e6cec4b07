"""One pool for the leases of several files: which is whose, and who gets which room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from liteq.message import Ack, Flag, Lease, Outcome, Release, RetryAt
from liteq.worker.files.sharing import Share, Sharing
from liteq.worker.pool.filed import filed, unfiled


def lease(token: int, id_: str = "") -> Lease:
    return Lease(
        seq=token, token=token, id=id_ or f"id-{token}", task="t", payload=b"[]", options=None, queue="q", priority=0,
        due_ms=0, expires_ms=None, retries=0, crashes=0, flags=0, root_id=None, parent_id=None, group_id=None,
        awaits=None,
    )  # fmt: skip


class FakePool:
    """A pool of two executors that runs what the test says."""

    name, size = "fake", 2

    def __init__(self) -> None:
        self.timings: dict[int, Any] = {}
        self.exits: Counter[str] = Counter()
        self.got: list[Lease] = []
        self.ended: list[tuple[Lease, Outcome]] = []
        self.abandoned: list[int] = []
        self.ends: Callable[[Lease], Outcome] | None = None

    def capacity(self) -> int:
        return 8 - len(self.got)

    def submit(self, leases: list[Lease]) -> None:
        self.got += leases

    def end(self, token: int, outcome: Outcome | None = None) -> None:
        one = next(one for one in self.got if one.token == token)
        self.got.remove(one)
        self.ended.append((one, outcome or Ack(b"1")))

    def collect(self) -> list[tuple[Lease, Outcome]]:
        ended, self.ended = self.ended, []
        return ended

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        taken = [one for one in self.got if one.token in tokens]
        self.got = [one for one in self.got if one.token not in tokens]
        return taken

    def abandon(self, leases: Sequence[Lease]) -> None:
        self.abandoned += [one.token for one in leases]

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        self.ends = outcome
        return bool(tokens)


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def shares(pool: FakePool) -> tuple[Sharing, Share, Share]:
    sharing = Sharing(pool)  # type: ignore[arg-type]
    made = [Share(sharing, f"sqlite:////{name}.db", nullcontext, lambda: None) for name in "ab"]
    return sharing, made[0], made[1]


def test_a_lease_takes_its_file_along_and_comes_back_as_it_was(pool: FakePool, shares: Any) -> None:
    sharing, a, _ = shares
    a.submit([lease(1)])
    url, own = unfiled(pool.got[0])
    assert (url, own) == ("sqlite:////a.db", lease(1))
    pool.end(1)
    assert sharing.gather() == {a}
    assert a.collect() == [(lease(1), Ack(b"1"))]


def test_what_a_run_or_a_batch_has_in_its_lease_survives_the_file() -> None:
    run = lease(1)._replace(flags=Flag.RUN, run=("1", 0))
    assert unfiled(filed(run, "sqlite:////a.db")) == ("sqlite:////a.db", run)


def test_equal_tokens_of_two_files_are_told_apart(pool: FakePool, shares: Any) -> None:
    sharing, a, b = shares
    a.submit([lease(7, "of a")])
    b.submit([lease(7, "of b"), lease(8)])
    assert [one.id for one in pool.got] == ["of a", "id-8"], "the second one is not in the pool"
    assert b.collect() == [(lease(7, "of b"), Release())], "it goes back, and counts no attempt"
    pool.end(7)
    sharing.gather()
    assert a.collect() == [(lease(7, "of a"), Ack(b"1"))]
    assert b.collect() == []
    b.submit([lease(7, "of b")])
    assert [one.id for one in pool.got] == ["id-8", "of b"], "later it may come"


def test_a_share_sees_and_takes_back_its_own_alone(pool: FakePool, shares: Any) -> None:
    _, a, b = shares
    a.submit([lease(1), lease(2)])
    b.submit([lease(3)])
    assert [one.token for one in a.leases()] == [1, 2]
    assert b.withdraw({1, 3}) == [lease(3)]
    assert a.take_back() == [lease(1), lease(2)]
    assert a.leases() == b.leases() == []


def test_what_was_abandoned_is_no_outcome_of_anybody(pool: FakePool, shares: Any) -> None:
    sharing, a, _ = shares
    a.submit([lease(1)])
    a.abandon([lease(1), lease(99)])
    assert pool.abandoned == [1]
    pool.end(1)
    assert sharing.gather() == set()
    assert a.collect() == []


def test_the_time_of_a_failed_execution_is_its_share_s(pool: FakePool, shares: Any) -> None:
    sharing, a, b = shares
    a.submit([lease(1)])
    pool.timings[1] = (1000, 0.5)
    pool.end(1, RetryAt(5, None))
    sharing.gather()
    assert (a.timings, b.timings, pool.timings) == ({1: (1000, 0.5)}, {}, {})


def test_a_terminated_lease_ends_as_its_own_file_s(pool: FakePool, shares: Any) -> None:
    _, a, _ = shares
    a.submit([lease(1)])
    seen: list[Lease] = []
    assert a.terminate({1}, 15, lambda one: seen.append(one) or Release())  # type: ignore[func-returns-value]
    assert pool.ends is not None
    pool.ends(pool.got[0])
    assert seen == [lease(1)]


def test_each_that_wants_room_gets_an_equal_part_and_at_least_one(shares: Any) -> None:
    sharing, a, b = shares
    sharing.among = 2
    assert (a.capacity(), b.capacity()) == (3, 3), "less the place that is left for others"
    sharing.among = 100
    assert (a.capacity(), b.capacity()) == (1, 1)
    sharing.among = 1
    assert a.capacity() == 7


def test_what_is_ahead_of_the_executors_leaves_a_place_for_a_file_that_wakes(pool: FakePool, shares: Any) -> None:
    _, a, b = shares
    while room := a.capacity():
        a.submit([lease(len(pool.got) + n + 1) for n in range(room)])
    assert len(pool.got) == 7
    assert b.capacity() == 1
