"""Budgets and usage: reserved under the lease, settled with the record, freed with the lease."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from liteq.exceptions import LeaseLost
from liteq.message import Ack, Flag, Hold, Message, Release, RunSpec, StepRow, Suspend
from liteq.policy.money import to_units
from liteq.storage.spending.kinds import Attempt, Limit, Spend, Warned
from liteq.storage.spending.reserving import Answer, Wanted
from liteq.storage.spending.settling import Spent
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker

ONE = Wanted(cost=100, tokens=0, requests=1, spends=True)
LIMIT: Limit = ("cost", 250, None, 0.8, 0)


class Spender:
    """A run that is driven by hand: claimed, reserving, settling."""

    def __init__(self, storage: Storage, worker: FakeWorker, clock: FakeClock) -> None:
        self.storage, self.worker, self.clock = storage, worker, clock

    def start(self, id_: str = "r", *limits: Limit, tags: Sequence[str] = (), parent: str | None = None) -> None:
        spec = RunSpec(tags=tuple(tags), budget=limits)
        root = None if parent is None else "r"
        message = Message(id_, "flow", PAYLOAD, flags=Flag.RUN, run=spec, parent_id=parent, root_id=root)
        self.storage.runs.start(message)

    def claim(self, worker: FakeWorker | None = None) -> Hold:
        (lease,) = (worker or self.worker).claim(1)
        self.lease = lease
        return Hold(lease.seq, lease.token)

    def attempt(self, pos: int = 1, name: str = "ask") -> Attempt:
        return Attempt("", pos, 1, self.clock.now_ms(), name)

    def reserve(self, hold: Hold, pos: int = 1, wanted: Wanted = ONE, name: str = "ask") -> Answer:
        return self.storage.runs.begin(hold, (), self.attempt(pos, name), wanted)[1]

    def settle(self, hold: Hold, pos: int = 1, cost: int | None = 100, told: list[Warned] | None = None) -> None:
        step = StepRow("", pos, "step", "ask", attempts=1, output=b"1", started_ms=1, ended_ms=1)
        spends = [Spend("m", input_tokens=7, cost=cost)]
        warn = None if told is None else told.extend
        self.storage.runs.checkpoint(hold, step, spent=Spent(self.attempt(pos), spends), warn=warn)

    def held(self) -> int:
        with self.storage.driver.read() as tx:
            rows = tx.execute("SELECT held FROM liteq_run_budgets UNION ALL SELECT held FROM liteq_budgets")
        return sum(held for (held,) in rows)

    def sums(self, run: str = "r") -> dict[str, tuple[int, int | None]]:
        found = self.storage.spending.of_run(run)
        assert found is not None
        sums: dict[str, tuple[int, int | None]] = {}
        for one in found:
            rows, cost = sums.get(one.source, (0, 0))
            sums[one.source] = (rows + one.rows, None if cost is None or one.cost is None else cost + one.cost)
        return sums


@pytest.fixture
def spender(storage: Storage, worker: FakeWorker, clock: FakeClock) -> Spender:
    return Spender(storage, worker, clock)


def test_no_more_is_held_than_there_is(spender: Spender) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    assert spender.reserve(hold, 1).reserved
    assert spender.reserve(hold, 2).reserved
    assert not spender.reserve(hold, 3).reserved
    assert spender.held() == 200


def test_while_something_is_in_flight_the_next_one_waits_and_is_refused_then(spender: Spender) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    for pos in (1, 2):
        assert spender.reserve(hold, pos).reserved
    assert spender.reserve(hold, 3).waits == "of run r"
    spender.settle(hold, 1)
    spender.settle(hold, 2)
    refused = spender.reserve(hold, 3)
    assert refused.exceeded is not None
    assert refused.waits is None
    assert spender.held() == 0
    assert spender.sums() == {"model": (2, 200)}


def test_what_was_held_too_much_is_given_back(spender: Spender) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    for pos in (1, 2, 3, 4):
        assert spender.reserve(hold, pos).reserved
        spender.settle(hold, pos, cost=40)
    assert spender.sums() == {"model": (4, 160)}


@pytest.mark.parametrize("how", ["crashed", "reaped", "terminated", "ended", "suspended"])
def test_whatever_ends_the_lease_frees_what_is_held_and_tells_of_a_kill(
    spender: Spender, storage: Storage, clock: FakeClock, how: str
) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    assert spender.reserve(hold).reserved
    outcomes = {"crashed": Release(crashed=True, error=ERROR), "ended": Ack(b"1"), "suspended": Suspend(due_ms=1 << 50)}
    if how == "reaped":
        clock.advance(seconds=3_600)
        storage.reap()
    elif how == "terminated":
        storage.runs.terminate(["r"])
    else:
        storage.settle([(spender.lease, outcomes[how])])
    assert spender.held() == 0
    assert spender.sums() == {"unknown": (1, None)}


def test_an_attempt_that_does_not_count_holds_and_tells_nothing(spender: Spender, storage: Storage) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    assert spender.reserve(hold).reserved
    storage.runs.give_back(hold, spender.attempt())
    storage.settle([(spender.lease, Ack(b"1"))])
    assert spender.held() == 0
    assert spender.sums() == {}


def test_a_record_that_is_written_again_is_there_once(spender: Spender) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    assert spender.reserve(hold).reserved
    for _ in range(3):
        spender.settle(hold)
    assert spender.sums() == {"model": (1, 100)}
    assert spender.reserve(hold, 2).reserved, "and spent once"


def test_a_price_that_is_not_known_takes_what_was_held(spender: Spender) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    for pos in (1, 2):
        assert spender.reserve(hold, pos).reserved
        spender.settle(hold, pos, cost=None)
    assert spender.reserve(hold, 3).exceeded is not None
    assert spender.sums() == {"model": (2, None)}


def test_a_budget_holds_for_children_at_any_depth(spender: Spender, other: FakeWorker) -> None:
    spender.start("r", LIMIT)
    spender.start("child", parent="r")
    spender.start("grandchild", parent="child")
    holds = [spender.claim() for _ in range(3)]
    assert spender.reserve(holds[2], 1).reserved
    spender.settle(holds[2], 1)
    assert spender.reserve(holds[1], 1).reserved
    spender.settle(holds[1], 1)
    assert spender.reserve(holds[0], 1).exceeded is not None
    assert spender.sums("r") == {"model": (2, 200)}
    assert spender.sums("child") == {"model": (2, 200)}
    assert spender.sums("grandchild") == {"model": (1, 100)}


def test_a_run_does_not_wait_for_what_a_step_of_its_parent_holds(spender: Spender) -> None:
    spender.start("r", LIMIT)
    spender.start("child", parent="r")
    parent, child = spender.claim(), spender.claim()
    assert spender.reserve(parent, 1, ONE._replace(cost=200)).reserved
    assert spender.reserve(child, 1).exceeded is not None, "the parent may wait for it"


def test_a_shared_budget_is_of_its_period(spender: Spender, storage: Storage, clock: FakeClock) -> None:
    storage.spending.set("team:a", [("cost", 100, 86_400_000, None, 0)])
    spender.start("r", tags=["team:a", "b"])
    hold = spender.claim()
    assert spender.reserve(hold, 1).reserved
    spender.settle(hold, 1)
    assert spender.reserve(hold, 2).exceeded is not None
    clock.advance(seconds=86_400)
    assert spender.reserve(hold, 2).reserved
    (account,) = storage.spending.list()
    assert (account.key, account.spent, account.held) == ("team:a", 0, 100)


def test_a_warning_is_told_once(spender: Spender) -> None:
    spender.start("r", ("cost", 1_000, None, 0.15, 0))
    hold = spender.claim()
    told: list[Warned] = []
    for pos in range(1, 5):
        assert spender.reserve(hold, pos).reserved
        spender.settle(hold, pos, told=told)
    assert told == [Warned("of run r", "cost", 200, 1_000)]


def test_a_request_to_add_is_open_once_and_its_answer_counts_at_once(spender: Spender, storage: Storage) -> None:
    spender.start("r", ("cost", to_units_of("0.5"), None, None, 1))
    spender.start("child", parent="r")
    parent, child = spender.claim(), spender.claim()
    much = ONE._replace(cost=to_units_of("1"))
    first, second = spender.reserve(child, 1, much), spender.reserve(parent, 1, much)
    assert first.asks is not None
    assert first.asks.id == "r"
    assert (second.asks, second.waits) == (None, "of run r")
    (request,) = storage.runs.approvals("r")
    assert storage.runs.approve("r", request.title, ok=True, by=None, comment="", data=b'{"add":"0.5"}')
    assert spender.reserve(child, 1, much).reserved


def to_units_of(text: str) -> int:
    return to_units(Decimal(text))


def test_a_first_attempt_of_which_nothing_is_known_goes_alone(
    spender: Spender, storage: Storage, clock: FakeClock
) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    untold = Wanted()
    assert spender.reserve(hold, 1, untold).reserved
    assert spender.reserve(hold, 2, untold).waits == "of run r"
    assert spender.reserve(hold, 3, untold, name="other").reserved, "another step is another question"
    clock.advance(seconds=61)
    assert spender.reserve(hold, 2, untold).reserved, "for a minute at most"


def test_what_may_spend_nothing_is_not_refused_where_nothing_is_left(spender: Spender) -> None:
    spender.start("r", ("requests", 1, None, None, 0))
    hold = spender.claim()
    assert spender.reserve(hold, 1).reserved
    spender.settle(hold, 1)
    assert spender.reserve(hold, 2, Wanted(), name="note").reserved
    assert spender.reserve(hold, 3, Wanted(spends=True), name="asks").exceeded is not None
    assert spender.held() == 0


def test_usage_stays_when_its_run_leaves_and_is_its_parents_then(spender: Spender, storage: Storage) -> None:
    spender.start("r")
    spender.start("child", parent="r")
    parent, child = spender.claim(), spender.claim()
    spender.settle(child)
    with storage.driver.write() as tx:
        tx.execute("DELETE FROM liteq_messages WHERE id = 'child'")
    assert spender.sums() == {"model": (1, 100)}
    with storage.driver.write() as tx:
        tx.execute("DELETE FROM liteq_messages WHERE id = 'r'")
    assert storage.spending.of_run("r") is None
    assert [one.cost for one in storage.spending.since("model")] == [100]
    assert parent.run != child.run


def test_the_place_of_a_lost_lease_reserves_and_settles_nothing(spender: Spender, storage: Storage) -> None:
    spender.start("r", LIMIT)
    hold = spender.claim()
    assert spender.reserve(hold).reserved
    storage.settle([(spender.lease, Release(crashed=True, error=ERROR))])
    for verb in (spender.reserve, spender.settle):
        with pytest.raises(LeaseLost):
            verb(hold)
    assert spender.sums() == {"unknown": (1, None)}
