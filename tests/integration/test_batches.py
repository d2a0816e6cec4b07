"""Batches in real workers: how they fill, how they end, and what becomes of them when something dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from liteq.message import new_id
from liteq.monitor.tasks.tasks import task
from liteq.monitor.tasks.why import explain
from liteq.states import State

from .worker_process import Site, children_of, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc")
POOLS = pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "batch_tasks")
    yield site
    site.close()


def send(site: Site, task: str, *given: Any, **options: Any) -> list[str]:
    """Send a call with each of `given`, in one commit; the ids."""
    ids = [new_id() for _ in given]
    name = f"batch_tasks.{task}"
    site.app.enqueue_many(
        [site.app.signature(name, args=(value,), task_id=id_, **options) for id_, value in zip(ids, given, strict=True)]
    )
    return ids


def sizes(site: Site) -> list[int]:
    """How many messages there were in each batch."""
    if not site.ledger.exists():
        return []
    lines = site.ledger.read_text().splitlines()
    return [int(line.split()[0].removeprefix("batch-")) for line in lines if line.startswith("batch-")]


def wait_ended(site: Site, ids: list[str]) -> list[State]:
    ended = {State.SUCCEEDED, State.DEAD, State.CANCELLED}
    wait_for(lambda: {site.state(id_) for id_ in ids} <= ended, what="all have ended")
    return [site.state(id_) for id_ in ids]


def deadlines(site: Site) -> list[int]:
    """When the leases of now are over, in ms since the epoch."""
    with site.app.storage.driver.read() as tx:
        return [ms for (ms,) in tx.execute("SELECT deadline_ms FROM liteq_messages WHERE state = 'leased'")] or [0]


def wait_gathered(site: Site, n: int, worker: str | None = None) -> None:
    """Until workers hold `n` messages of which none has begun."""
    wait_for(
        lambda: sum(c.n for c in site.app.storage.reader.counts() if c.state is State.LEASED) == n, what="they are held"
    )


@POOLS
def test_messages_come_in_batches_and_each_has_its_result(site, pool):
    site.worker("-c", "2", "-P", pool)
    ids = send(site, "double", *range(25))
    assert [site.get(id_) for id_ in ids] == [2 * n for n in range(25)]
    assert sum(sizes(site)) == 25
    assert max(sizes(site)) == 10
    assert len(sizes(site)) <= 4


@POOLS
def test_a_task_tells_with_which_others_it_ran(site, pool):
    site.worker("-c", "1", "-P", pool)
    ids = send(site, "double", *range(10))
    assert [site.get(id_) for id_ in ids] == [2 * n for n in range(10)]
    wait_for(lambda: site.app.storage.batches.of(ids[0]), what="it is written, within a second")
    for id_ in ids:
        found = task(site.app, id_)
        assert found is not None
        assert (found["batch"]["n"], set(found["batch"]["ids"])) == (10, set(ids))
    why = explain(site.app, ids[3])
    assert why is not None
    assert why["text"].endswith(" It ran in a batch of 10.")
    assert set(why["details"]["batch"]) == set(ids)
    (alone,) = send(site, "double", 7)
    site.get(alone)
    found = task(site.app, alone)
    assert found is not None
    assert found["batch"] is None


@POOLS
def test_others_are_not_held_up_while_a_batch_fills(site, pool):
    site.worker("-c", "1", "-P", pool)
    members = send(site, "patient", *range(3))
    wait_gathered(site, 3)
    (other,) = send(site, "plain", "quick")
    assert site.get(other) == "quick"
    assert [site.state(id_) for id_ in members] == [State.LEASED] * 3


def test_a_batch_that_fills_does_not_start_in_a_queue_that_was_paused(site):
    site.worker("-c", "1")
    ids = send(site, "patient_ten", *range(3))
    wait_gathered(site, 3)
    site.app.storage.queues.pause("celery")
    wait_for(lambda: {site.state(id_) for id_ in ids} == {State.PENDING}, what="they are back in their queue")
    assert sizes(site) == []
    site.app.storage.queues.resume("celery")
    ids += send(site, "patient_ten", *range(7))  # now it is full
    assert set(wait_ended(site, ids)) == {State.SUCCEEDED}


@POOLS
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGQUIT, 1)], ids=["warm", "cold"])
def test_a_worker_that_ends_gives_back_a_batch_that_fills(site, pool, signum, code):
    worker = site.worker("-c", "1", "-P", pool)
    ids = send(site, "patient", *range(3))
    wait_gathered(site, 3)
    assert site.end(worker, signum) == code
    records = [site.record(id_) for id_ in ids]
    assert {(r.state, r.crashes, r.reaps, r.retries) for r in records} == {(State.PENDING, 0, 0, 0)}
    assert sizes(site) == []


def test_a_batch_that_fills_keeps_its_leases_and_one_that_was_lost_comes_back(site):
    holder = site.worker("-c", "1", WORKER_TEST_VISIBILITY_S="5")
    ids = send(site, "patient", *range(3))
    wait_gathered(site, 3)
    tokens = {id_: site.record(id_).token for id_ in ids}
    other = site.worker("-c", "1", WORKER_TEST_VISIBILITY_S="5")
    over_ms = max(deadlines(site))
    wait_for(lambda: min(deadlines(site)) > over_ms + 1_000, what="they are held beyond the leases of before")
    assert {id_: site.record(id_).token for id_ in ids} == tokens
    os.killpg(holder.pid, signal.SIGKILL)
    assert set(wait_ended(site, ids)) == {State.SUCCEEDED}
    assert sizes(site) == [1, 1, 1], "a worker vanished with them: each runs alone"
    assert site.end(other) == 0


def test_after_a_crash_its_members_run_alone_and_only_the_guilty_one_is_buried(site):
    site.worker("-c", "2")
    ids = send(site, "deadly", *["fine"] * 4, "die", *["fine"] * 5)
    states = wait_ended(site, ids)
    assert states == [State.SUCCEEDED] * 4 + [State.DEAD] + [State.SUCCEEDED] * 5
    assert sizes(site)[0] == 10
    assert set(sizes(site)[1:]) == {1}
    assert {site.record(id_).crashes for id_ in ids if id_ != ids[4]} == {1}
    assert site.record(ids[4]).crashes == 2


def test_where_one_crash_is_the_last_the_others_are_not_buried_either(site):
    site.worker("-c", "1", LITEQ_MAX_CRASHES="1")
    ids = send(site, "deadly", *["fine"] * 4, "die")
    assert wait_ended(site, ids) == [State.SUCCEEDED] * 4 + [State.DEAD]


def test_what_runs_once_at_most_is_over_when_its_batch_dies(site):
    @site.app.task(name="batch_tasks.once", batch=10, acks_late=False)  # a sender that knows so
    def once(items: Any) -> None: ...

    site.worker("-c", "1")
    ids = send(site, "once", "die", "fine", "fine")
    assert wait_ended(site, ids) == [State.DEAD] * 3
    assert [len(site.notes("started", id_)) for id_ in ids] == [1, 1, 1]


def test_one_that_runs_once_at_most_has_begun_when_its_worker_vanishes(site):
    @site.app.task(name="batch_tasks.once", batch=10, acks_late=False)
    def once(items: Any) -> None: ...

    worker = site.worker("-c", "1", WORKER_TEST_VISIBILITY_S="1")
    ids = send(site, "once", 30, 30)
    site.wait_started(ids[0])
    os.killpg(worker.pid, signal.SIGKILL)
    site.worker("-c", "1")
    assert wait_ended(site, ids) == [State.DEAD] * 2
    assert [len(site.notes("started", id_)) for id_ in ids] == [1, 1]


def test_the_hard_limit_is_the_batch_s_and_ends_the_slow_one_alone(site):
    site.worker("-c", "1")
    ids = send(site, "limited", *["quick"] * 4, "slow")
    assert wait_ended(site, ids) == [State.SUCCEEDED] * 4 + [State.DEAD]
    assert isinstance(site.error(ids[4]), TimeLimitExceeded)
    assert sizes(site) == [5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_the_soft_limit_is_raised_in_the_function_and_is_that_of_what_is_not_settled(site, pool):
    site.worker("-c", "1", "-P", pool)
    ids = send(site, "soft", *range(4))
    assert wait_ended(site, ids) == [State.SUCCEEDED] * 2 + [State.DEAD] * 2
    assert [site.get(ids[0]), site.get(ids[1])] == ["in time", "caught"]
    assert isinstance(site.error(ids[2]), SoftTimeLimitExceeded)


@POOLS
def test_a_member_that_was_revoked_or_has_expired_is_left_out(site, pool):
    site.worker("-c", "1", "-P", pool)
    gone, *others = send(site, "patient", *range(3))
    wait_gathered(site, 3)
    site.app.control.revoke(gone)
    wait_for(lambda: site.state(gone) is State.CANCELLED, what="it is revoked")
    assert [site.state(id_) for id_ in others] == [State.LEASED] * 2
    late = send(site, "double", 1, expires=0.1)
    fine = send(site, "double", *range(3))
    assert wait_ended(site, late + fine) == [State.CANCELLED] + [State.SUCCEEDED] * 3
    assert 3 in sizes(site)


def test_where_one_that_runs_is_terminated_the_others_run_again(site):
    site.worker("-c", "1")
    go = site.folder / "go"
    gone, *others = send(site, "rest", *[str(go)] * 4)
    site.wait_started(gone)
    site.app.control.terminate(gone)
    wait_for(lambda: site.state(gone) is State.CANCELLED, what="it is terminated")
    go.touch()
    assert wait_ended(site, [gone, *others]) == [State.CANCELLED] + [State.SUCCEEDED] * 3
    assert {site.record(id_).crashes for id_ in others} == {0}
    assert sizes(site) == [4, 3]


def test_a_cold_end_puts_back_what_runs(site):
    worker = site.worker("-c", "1")
    ids = send(site, "rest", *[30] * 4)
    site.wait_started(ids[0])
    assert site.end(worker, signal.SIGQUIT) == 1
    assert {(site.state(id_), site.record(id_).crashes) for id_ in ids} == {(State.PENDING, 0)}


def test_a_warm_end_finishes_what_runs(site):
    worker = site.worker("-c", "1")
    ids = send(site, "rest", *[0.5] * 4)
    site.wait_started(ids[0])
    assert site.end(worker) == 0
    assert {site.state(id_) for id_ in ids} == {State.SUCCEEDED}


def test_urgent_ones_go_first_and_a_long_task_does_not_starve_a_batch(site):
    naps = send(site, "nap", *[0.2] * 8)
    ids = send(site, "double", *range(3))
    urgent = send(site, "double", *range(2), priority=9)
    site.worker("-c", "1")
    assert set(wait_ended(site, naps + ids + urgent)) == {State.SUCCEEDED}
    order = [line[1] for line in site.notes("started")]
    assert set(order[: len(urgent)]) == set(urgent)


def test_a_rate_counts_each_member(site):
    site.worker("-c", "1")
    assert site.app.control.rate_limit("batch_tasks.double", "2/s", reply=True, timeout=60)
    ids = send(site, "double", *range(6))
    wait_ended(site, ids)
    assert max(sizes(site)) <= 2


def test_a_limit_of_concurrency_counts_each_member(site):
    site.app.storage.limits.set("task:batch_tasks.double", concurrent=3)
    site.worker("-c", "2")
    ids = send(site, "double", *range(12))
    assert set(wait_ended(site, ids)) == {State.SUCCEEDED}
    assert max(sizes(site)) <= 3


def test_an_api_that_asks_for_patience_holds_back_the_member_it_asked(site):
    site.worker("-c", "1")
    ids = send(site, "ask", "busy", *["fine"] * 3)
    assert set(wait_ended(site, ids)) == {State.SUCCEEDED}
    assert [site.get(id_) for id_ in ids] == ["second", "first", "first", "first"]
    assert {site.record(id_).retries for id_ in ids} == {0}


def test_arguments_that_are_large_have_a_key_too(site):
    site.worker("-c", "1")
    ids = [
        site.app.send_task("batch_tasks.by_shop", kwargs={"shop": shop, "text": "x" * 5_000}).id
        for shop in ("a", "b", "a", "b", "a", "b")
    ]
    assert [site.get(id_) for id_ in ids] == ["aaa", "bbb"] * 3


def test_statistics_and_lists_know_each_member(site):
    site.worker("-c", "1", "-E")
    go = site.folder / "go"
    ids = send(site, "rest", *[str(go)] * 4)
    site.wait_started(ids[0])
    (active,) = site.app.control.inspect(timeout=60).active().values()
    assert {one["id"] for one in active} == set(ids)
    go.touch()
    wait_ended(site, ids)
    ran = site.record(ids[0])

    def counted() -> list[Any]:
        totals = site.app.storage.stats.totals()
        return [one for one in totals if (one.task, one.outcome) == ("batch_tasks.rest", "succeeded")]

    (stat,) = wait_for(counted, what="they are counted")
    assert stat.tally.n == 4
    assert ran.finished_ms is not None
    assert ran.started_ms is not None
    took_us = 1_000 * (ran.finished_ms - ran.started_ms)
    assert took_us // 2 < stat.tally.run_us < 2 * took_us, "the time of a batch is shared by its members"
    assert len(children_of(site.workers[0].pid)) == 1
