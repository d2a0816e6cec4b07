"""Batches before a pool: what fills, when it is handed on, and how one lease is several messages again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from liteq import BatchItem, LiteQ
from liteq.execution.together import ALONE, Each, members_of
from liteq.message import Ack, DeadLetter, Flag, Lease, Outcome, Release
from liteq.serialization import encode
from liteq.worker.files.sharing import Share, Sharing
from liteq.worker.pool.base import RunningLease
from liteq.worker.pool.gathering import HOLD_S, Gathering


class Beneath:
    """A pool that executes when it is told to."""

    name = "beneath"

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.timings: dict[int, Any] = {}
        self.exits: Counter[str] = Counter()
        self.held: list[Lease] = []
        self.ended: list[tuple[Lease, Outcome]] = []
        self.terminated: tuple[set[int], int, Callable[[Lease], Outcome]] | None = None
        self.abandoned: list[Lease] = []

    def capacity(self) -> int:
        return max(0, self.size - len(self.held))

    def submit(self, leases: list[Lease]) -> None:
        self.held += leases

    def end(self, outcome: Callable[[Lease], Outcome], seconds: float = 0.0) -> None:
        """End all that it has by `outcome`, of each message."""
        for lease in self.held:
            members = members_of(lease)
            whole = Each([outcome(one) for one in members]) if len(members) > 1 else outcome(lease)
            if seconds:
                self.timings[lease.token] = (1_000, seconds)
            self.ended.append((lease, whole))
        self.held = []

    def collect(self) -> list[tuple[Lease, Outcome]]:
        ended, self.ended = self.ended, []
        return ended

    def leases(self) -> list[Lease]:
        return [*self.held, *(lease for lease, _ in self.ended)]

    def tend(self, now: float) -> float | None:
        return None

    def running(self) -> list[RunningLease]:
        return [RunningLease(lease, 1.0, 7) for lease in self.held]

    def take_back(self) -> list[Lease]:
        held, self.held = self.held, []
        return held

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        taken = [lease for lease in self.held if lease.token in tokens]
        self.held = [lease for lease in self.held if lease.token not in tokens]
        return taken

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        self.terminated = (tokens, signum, outcome)
        return True

    def abandon(self, leases: Sequence[Lease]) -> None:
        self.abandoned += leases

    def resize(self, size: int) -> None:
        self.size = size


class Bench:
    """A Gathering over a pool, with a clock that is moved by hand."""

    def __init__(self, app: LiteQ, size: int = 2) -> None:
        self.now = 100.0
        self.beneath = Beneath(size)
        self.pool = Gathering(self.beneath, app, monotonic=lambda: self.now)  # type: ignore[arg-type]
        self._n = 0

    def lease(self, task: str = "store", *, payload: bytes = b"[[],{}]", **fields: Any) -> Lease:
        self._n += 1
        row = {"retries": 0, "crashes": 0, "flags": 0, "options": None, **fields}
        return Lease(
            seq=self._n, token=1000 + self._n, id=f"id-{self._n}", task=task, payload=payload, queue="celery",
            priority=0, due_ms=0, expires_ms=None, root_id=None, parent_id=None, group_id=None, awaits=None, **row,
        )  # fmt: skip

    def take(self, n: int, **fields: Any) -> list[Lease]:
        """Claim `n` messages, and hand them in."""
        leases = [self.lease(**fields) for _ in range(n)]
        self.pool.submit(leases)
        return leases

    def after(self, seconds: float) -> float | None:
        self.now += seconds
        return self.pool.tend(self.now)

    def batches(self) -> list[list[str]]:
        """The ids in each lease of the pool beneath."""
        return [[one.id for one in members_of(lease)] for lease in self.beneath.held]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("gathering", broker=f"sqlite:///{tmp_path}/queue.db")

    @app.task(name="store", batch=5, batch_wait=0.5)
    def store(items: list[BatchItem]) -> None: ...

    @app.task(name="by_shop", batch=3, batch_key="{shop}")
    def by_shop(items: list[BatchItem]) -> None: ...

    @app.task(name="plain")
    def plain() -> None: ...

    yield app
    app.close()


@pytest.fixture
def bench(app: LiteQ) -> Bench:
    return Bench(app)


# -- when a batch is handed on -----------------------------------------------------------------------------------------


def test_a_full_batch_is_handed_on_at_once(bench):
    ids = [lease.id for lease in bench.take(7)]
    assert bench.batches() == [ids[:5]]
    assert [lease.id for lease in bench.pool.leases()] == [*ids[5:], *ids[:5]]


def test_the_first_waits_no_longer_than_it_may(bench):
    ids = [lease.id for lease in bench.take(2)]
    assert bench.pool.tend(bench.now) == pytest.approx(100.5)
    ids += [lease.id for lease in bench.take(1)]
    bench.after(0.49)
    assert bench.batches() == []
    bench.after(0.011)
    assert bench.batches() == [ids]
    assert bench.pool.tend(bench.now) is None


def test_what_is_no_member_goes_to_the_pool_while_a_batch_fills(bench):
    (member,) = bench.take(1)
    (other,) = bench.take(1, task="plain")
    assert bench.batches() == [[other.id]]
    assert bench.pool.capacity() == 1, "the batch that fills takes no executor"
    bench.after(0.6)
    assert bench.batches() == [[other.id], [member.id]]


@pytest.mark.parametrize(
    "fields",
    [
        {"crashes": 1},
        {"flags": Flag.ALONE},
        {"options": encode({ALONE: True}, what="options")},
    ],
    ids=["crashed", "reaped", "asked"],
)
def test_what_was_there_when_a_process_died_runs_alone(bench, fields):
    (suspect,) = bench.take(1, **fields)
    assert bench.beneath.held == [suspect]


def test_equal_keys_alone_are_in_one_batch_and_what_has_none_is_alone(bench):
    a = bench.take(2, task="by_shop", payload=b'[[],{"shop":"a"}]')
    b = bench.take(2, task="by_shop", payload=b'[[],{"shop":"b"}]')
    assert bench.batches() == []
    unread = bench.take(1, task="by_shop", payload=b"\x01application/x-python-serialize;\0...")
    assert bench.beneath.held == unread
    bench.beneath.held.clear()
    a += bench.take(1, task="by_shop", payload=b'[[],{"shop":"a"}]')
    assert bench.batches() == [[one.id for one in a]]
    bench.after(0.6)
    assert bench.batches()[1] == [one.id for one in b]


# -- how many are claimed ----------------------------------------------------------------------------------------------


def test_the_next_claim_may_bring_twice_as_many_where_the_last_brought_members_alone(bench):
    assert bench.pool.capacity() == 2
    bench.take(2)
    assert bench.pool.capacity() == 2 + 3, "as many as are of use"
    bench.take(1, task="plain")
    assert bench.pool.capacity() == 1


def test_nothing_is_claimed_while_no_executor_is_free(bench):
    bench.take(2, task="plain")
    assert bench.pool.capacity() == 0
    bench.take(1)
    assert bench.pool.capacity() == 0


def test_others_that_came_in_the_hope_of_members_go_back(bench):
    bench.take(2)
    others = bench.take(4, task="plain")
    assert bench.beneath.held == others[:2]
    assert bench.pool.collect() == [(lease, Release()) for lease in others[2:]]


def test_a_batch_that_waits_for_an_executor_is_the_next(bench):
    bench.take(2, task="plain")
    ids = [lease.id for lease in bench.take(5)]
    assert len(bench.beneath.held) == 2
    bench.beneath.end(lambda _: Ack())
    assert bench.pool.capacity() == 1, "one executor is for it"
    bench.after(0.01)
    assert bench.batches() == [ids]


def test_a_batch_that_finds_no_executor_goes_back_and_does_not_wait_again(bench):
    bench.take(2, task="plain")
    members = bench.take(5)
    bench.after(0.5 + HOLD_S + 0.01)
    assert bench.pool.collect() == [(lease, Release()) for lease in members]
    bench.beneath.end(lambda _: Ack())
    bench.pool.collect()
    assert bench.pool.capacity() == 2 + 5
    bench.pool.submit([lease._replace(token=lease.token + 100) for lease in members[:3]])
    assert len(bench.batches()) == 1, "it has waited before"


def test_a_batch_that_the_pool_gives_back_is_not_lost_and_not_split(bench):
    ids = [lease.id for lease in bench.take(5)]
    (lease,) = bench.beneath.held
    bench.beneath.held.clear()
    bench.beneath.ended = [(lease, Release())]
    assert bench.pool.collect() == []
    assert [one.id for one in bench.pool.leases()] == ids
    bench.after(0.01)
    assert bench.batches() == [ids]


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_each_member_has_its_outcome_and_its_share_of_the_time(bench):
    members = bench.take(5)
    bad = DeadLetter(b"{}")
    bench.beneath.end(lambda lease: bad if lease is members[1] or lease.id == members[1].id else Ack(), seconds=2.0)
    found = dict(bench.pool.collect())
    assert [found[one] for one in members] == [Ack(ran=(1_000, 0.4)), bad, *[Ack(ran=(1_000, 0.4))] * 3]
    assert bench.beneath.timings == {members[1].token: (1_000, 0.4)}
    assert bench.pool.leases() == []


def test_a_running_batch_is_its_members(bench):
    members = bench.take(5)
    assert [(one.lease, one.pid) for one in bench.pool.running()] == [(lease, 7) for lease in members]
    assert bench.pool.jobs() == 1


def test_a_cold_end_gives_back_each_and_ends_what_runs_once(bench):
    early = bench.lease(flags=Flag.EARLY_ACK)
    members = [bench.lease(), early, *[bench.lease() for _ in range(3)]]
    bench.pool.submit(members)
    (lease,) = bench.beneath.held
    assert lease.flags & Flag.EARLY_ACK
    bench.pool.take_back()
    bench.pool._given[lease.token] = members
    bench.beneath.ended = [(lease, Release(crashed=True))]  # as a pool ends one that runs once at most
    found = dict(bench.pool.collect())
    assert found[early] == Release(crashed=True)
    assert {found[one].crashed for one in members if one is not early} == {False}


def test_what_is_given_back_and_comes_again_waits_no_longer_than_before(bench):
    """A worker gives back what waits when a limit is met: a batch is not to begin its wait anew each time."""
    members = bench.take(2)
    bench.now += 0.4
    assert bench.pool.take_back() == members
    bench.pool.submit([lease._replace(token=lease.token + 100) for lease in members])
    assert bench.pool.tend(bench.now) == pytest.approx(100.5)
    bench.after(0.11)
    assert bench.batches() == [[one.id for one in members]]


def test_a_warm_end_gives_back_what_fills_and_what_has_not_begun(bench):
    members = bench.take(7)
    assert sorted(bench.pool.take_back()) == sorted(members)
    assert bench.pool.leases() == []


# -- one of several ----------------------------------------------------------------------------------------------------


def test_one_member_is_withdrawn_and_the_others_stay_together(bench):
    members = bench.take(3)
    gone = members[1]
    assert bench.pool.withdraw({gone.token}) == [gone]
    bench.after(0.6)
    assert bench.batches() == [[one.id for one in members if one is not gone]]


@pytest.mark.parametrize("came_back", [False, True], ids=["the pool has it", "it waits for the pool again"])
def test_what_is_left_of_a_batch_that_was_handed_on_goes_back(bench, came_back):
    """A process may still have it whole, under the token of its first member: it would execute the one that is gone."""
    members = bench.take(5)
    if came_back:
        bench.beneath.ended = [(bench.beneath.held.pop(), Release())]
        assert bench.pool.collect() == []
    gone, *others = members[1], members[0], *members[2:]
    assert bench.pool.withdraw({gone.token}) == [gone]
    assert bench.pool.collect() == [(one, Release()) for one in others]
    assert (bench.batches(), bench.pool.leases()) == ([], [])
    bench.pool.submit([one._replace(token=one.token + 100) for one in others])
    assert bench.batches() == [[one.id for one in others]], "they have waited before"


def test_a_batch_that_comes_back_after_a_member_was_withdrawn_goes_back(bench):
    """As of the asyncio pool, which asks its child for what waits for a thread: the one is to be refused at a claim."""
    members = bench.take(5)
    (lease,) = bench.beneath.held
    bench.beneath.held = []
    assert bench.pool.withdraw({members[1].token}) == []
    bench.beneath.ended = [(lease, Release())]
    assert bench.pool.collect() == [(one, Release()) for one in members]


def test_a_batch_without_a_place_is_put_off_and_not_claimed_at_once(bench):
    """As the asyncio pool puts off what is to have a process of its own while all its places are taken."""
    members = [bench.lease(options=encode({"headers": {"n": n}}, what="options")) for n in range(5)]
    bench.pool.submit(members)
    bench.beneath.ended = [(bench.beneath.held.pop(), Release(pause_ms=500, options=members[0].options))]
    assert bench.pool.collect() == [(one, Release(pause_ms=500, options=one.options)) for one in members]


def test_where_one_is_terminated_the_others_go_back(bench):
    members = bench.take(5)
    end = DeadLetter(b"{}")
    assert bench.pool.terminate({members[2].token}, 15, lambda _: end)
    assert bench.beneath.terminated is not None
    tokens, signum, outcome = bench.beneath.terminated
    (lease,) = bench.beneath.held
    assert (tokens, signum) == ({lease.token}, 15)
    whole = outcome(lease)
    assert isinstance(whole, Each)
    assert whole.outcomes == [Release(), Release(), end, Release(), Release()]


def test_a_batch_is_abandoned_when_all_its_members_are_lost(bench):
    members = bench.take(5)
    filling = bench.take(2)
    bench.pool.abandon([members[0], filling[0]])
    assert bench.beneath.abandoned == []
    assert filling[0] not in bench.pool.leases()
    bench.pool.abandon(members)
    assert bench.beneath.abandoned == bench.beneath.held
    bench.beneath.held.clear()  # a pool may forget it, without an outcome
    assert bench.pool._given == {}


def test_its_size_is_that_of_the_pool_beneath(bench):
    bench.beneath.resize(7)  # by way of another file
    assert bench.pool.size == 7
    bench.pool.resize(3)
    assert (bench.pool.size, bench.beneath.size) == (3, 3)


def test_what_is_withdrawn_altogether_leaves_nothing_behind(bench):
    members = bench.take(2)
    assert bench.pool.withdraw({one.token for one in members}) == members
    assert bench.after(1.0) is None
    assert bench.batches() == []


def test_a_batch_whose_token_another_file_s_lease_has_goes_back_to_its_queue(bench, app):
    """It would be handed on again and again, for as long as that lease runs."""
    sharing = Sharing(bench.beneath)
    other, own = (Share(sharing, f"sqlite:////{name}.db", nullcontext, lambda: None) for name in "ab")
    bench.pool = Gathering(own, app, monotonic=lambda: bench.now)
    leases = [bench.lease() for _ in range(5)]
    other.submit(leases[:1])
    bench.pool.submit(leases)
    back = bench.pool.collect()
    assert [lease for lease, _ in back] == leases
    assert {type(outcome) for _, outcome in back} == {Release}
    assert not any(outcome.crashed for _, outcome in back)
    assert (bench.pool.leases(), bench.pool.tend(bench.now)) == ([], None)
