"""Workers of Celery's, or their children, die: nothing that was accepted is lost, and each loss that may be is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.states import State

from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, visibility_timeout=2, max_deliveries=3)
    yield shop
    shop.close()


def test_a_killed_worker_s_late_tasks_run_elsewhere(shop: Shop) -> None:
    began, go = shop.folder / "began", shop.folder / "go"
    worker = shop.start()
    results = [shop.send("held", str(began), str(go)) for _ in range(5)]
    shop.wait(lambda: len(shop.lines("began")) == 2)
    shop.kill(worker)
    go.touch()
    shop.start()
    assert [result.get(timeout=60) for result in results] == ["done"] * 5
    assert len(shop.lines("began")) == 7  # the two that ran when it was killed run twice


def test_a_run_and_an_eta_longer_than_the_visibility_timeout_run_once(shop: Shop) -> None:
    began, go = shop.folder / "began", shop.folder / "go"
    shop.start(children=1)
    long = shop.send("held", str(began), str(go))
    behind = shop.send("late", 1, 1)  # prefetched, and held as long
    later = shop.send("late", 2, 2, countdown=3.5)
    shop.wait(lambda: shop.lines("began"))
    token = shop.record(long.id).token
    due_ms = shop.record(later.id).due_ms
    shop.wait(lambda: shop.liteq.clock.now_ms() > due_ms - 500)  # the lease is older than the timeout
    assert shop.record(long.id).token == token
    go.touch()
    assert [one.get(timeout=60) for one in (long, behind, later)] == ["done", 2, 4]
    assert (shop.lines("began"), shop.record(behind.id).reaps) == ([shop.lines("began")[0]], 0)


def test_a_child_that_dies_gives_its_task_back_and_poison_is_a_dead_letter(shop: Shop) -> None:
    shop.start()
    once, poison = shop.folder / "once", shop.folder / "poison"
    survived = shop.send("late_killed", str(once), 1)
    dead = shop.send("late_killed", str(poison), 100)
    assert survived.get(timeout=60) == "survived"
    shop.wait(lambda: shop.record(dead.id).state is State.DEAD)
    assert (len(shop.lines("once")), len(shop.lines("poison"))) == (2, 3)


def test_a_loss_after_an_early_ack_is_told(shop: Shop) -> None:
    from celery.exceptions import WorkerLostError

    shop.start()
    result = shop.send("killed", str(shop.folder / "killed"), 1, link_error=shop.sig("errback", task_id="told"))
    with pytest.raises(WorkerLostError):
        result.get(timeout=60)
    assert shop.app.AsyncResult("told").get(timeout=60) == ["told of", result.id]
    assert len(shop.lines("killed")) == 1


def test_a_worker_that_ends_gives_back_what_it_did_not_begin(shop: Shop) -> None:
    began, go = shop.folder / "began", shop.folder / "go"
    worker = shop.start(children=1)
    results = [shop.send("held", str(began), str(go)) for _ in range(3)]
    shop.wait(lambda: shop.lines("began") and shop.record(results[2].id).state is State.LEASED)
    worker.terminate()
    shop.wait(lambda: "Warm shutdown" in shop.log() or "warm shutdown" in shop.log())
    go.touch()
    assert worker.wait(timeout=60) == 0
    states = [shop.record(one.id).state for one in results]
    assert states == [State.SUCCEEDED, State.PENDING, State.PENDING]
    assert shop.record(results[1].id).crashes == 0
    assert shop.liteq.storage.reader.workers() == []


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_other_pools_run_and_end(shop: Shop, pool: str) -> None:
    worker = shop.start(pool=pool)
    where = shop.folder / "flaky"
    results = [shop.send("add", n, n) for n in range(6)] + [shop.send("late", n, n) for n in range(6)]
    flaky = shop.send("flaky", 1, str(where))
    assert [one.get(timeout=60) for one in results] == [2 * n for n in range(6)] * 2
    assert flaky.get(timeout=60) == 1
    worker.terminate()
    assert worker.wait(timeout=60) == 0


@pytest.mark.parametrize("ran_before", [False, True], ids=["begun in the claim", "claimed ahead"])
def test_a_task_that_was_acknowledged_early_runs_once_though_its_worker_is_killed(shop: Shop, ran_before: bool) -> None:
    """The first ones begin in their claim, as a process is free; those claimed ahead begin when one is."""
    from celery.exceptions import WorkerLostError

    first, then = shop.folder / "first", shop.folder / "then"
    worker = shop.start()
    running = [shop.send("early", str(shop.folder / "began"), str(go)) for go in (first, first, then, then)]
    shop.wait(lambda: len(shop.lines("began")) == 2)
    if ran_before:
        first.touch()
        shop.wait(lambda: len(shop.lines("began")) == 4)
        shop.wait(lambda: [shop.record(one.id).state for one in running[:2]] == [State.SUCCEEDED] * 2)
    shop.kill(worker)
    first.touch()
    then.touch()
    shop.start()
    ends = []
    for result in running:
        try:
            ends.append(result.get(timeout=60))
        except WorkerLostError:
            ends.append("lost")
    assert sorted(ends) == ["done", "done", "lost", "lost"]
    assert len(shop.lines("began")) == 4


def test_the_errbacks_and_the_chain_of_what_died_with_its_worker_are_told(shop: Shop) -> None:
    from celery import chain
    from celery.exceptions import WorkerLostError

    began, go = str(shop.folder / "began"), str(shop.folder / "go")
    worker = shop.start()
    errbacks = [shop.sig("told", str(shop.folder / "told")), shop.sig("errback", task_id="old")]
    first = shop.sig("early", began, go)
    rest = chain(shop.sig("add", "?"), shop.sig("add", "!"))
    last = chain(first, *rest.tasks).apply_async(link_error=errbacks)
    lost, middle = last.parent.parent, last.parent
    shop.wait(lambda: shop.lines("began"))
    shop.kill(worker)
    shop.start()
    for result in (lost, middle, last):
        with pytest.raises(WorkerLostError):
            result.get(timeout=60)
    assert shop.app.AsyncResult("old").get(timeout=60) == ["told of", lost.id]
    shop.wait(lambda: shop.lines("told"))
    assert shop.lines("told") == [f"{lost.id} WorkerLostError {began}"]


def test_an_errback_runs_once_where_the_worker_lives(shop: Shop) -> None:
    from liteq.storage.settling.telling import errback_id

    shop.start()
    told, where = shop.sig("told", str(shop.folder / "told")), str(shop.folder / "killed")
    died = shop.send("killed", where, 100, link_error=told)
    shop.wait(lambda: shop.lines("told"))
    assert shop.lines("told") == [f"{died.id} WorkerLostError {where}"]
    well = shop.send("add", 1, 2, link_error=told)
    assert well.get(timeout=60) == 3
    assert (shop.record(errback_id(well.id)), len(shop.lines("told"))) == (None, 1)


def test_an_early_task_that_would_begin_after_its_lease_does_not_run(shop: Shop) -> None:
    began, go = str(shop.folder / "began"), str(shop.folder / "go")
    worker = shop.start(children=1)
    first, second = shop.send("early", began, go), shop.send("early", str(shop.folder / "second"), go)
    shop.wait(lambda: shop.lines("began") and shop.record(second.id).state is State.LEASED)
    os.killpg(worker.pid, signal.SIGSTOP)
    shop.start(children=1)
    shop.wait(lambda: shop.lines("second"))  # its lease in the stopped worker is over, and the other one has it
    (shop.folder / "go").touch()
    assert second.get(timeout=60) == "done"
    os.killpg(worker.pid, signal.SIGCONT)
    shop.wait(lambda: "does not run: its lease is over" in shop.log())
    assert (first.state, len(shop.lines("second"))) == ("FAILURE", 1)


def test_a_death_of_which_the_worker_hears_nothing_is_told_or_survived(shop: Shop) -> None:
    from celery.exceptions import WorkerLostError

    shop.modules = ("forgetful_shop", "")
    shop.start()
    told = shop.sig("errback", task_id="told")
    early = shop.send("killed", str(shop.folder / "early"), 1, link_error=told)
    late = shop.send("late_killed", str(shop.folder / "late"), 1)
    with pytest.raises(WorkerLostError):
        early.get(timeout=60)
    assert shop.app.AsyncResult("told").get(timeout=60) == ["told of", early.id]
    assert late.get(timeout=60) == "survived"
    for one in (early, late):
        assert f"[{one.id}] has no outcome, and no process of this worker has it" in shop.log()


def test_a_process_that_was_forked_inside_a_transaction_gives_its_place_to_another(shop: Shop) -> None:
    shop.modules = ("forked_shop", "")
    held, go = shop.folder / "held", shop.folder / "go"
    shop.start(children=1, SHOP_HELD=str(held), SHOP_GO=str(go))
    shop.wait(held.exists)
    survived = shop.send("late_killed", str(shop.folder / "killed"), 1)
    shop.wait(lambda: "makes room for another" in shop.log())
    go.touch()
    assert survived.get(timeout=60) == "survived"
    assert len(shop.lines("killed")) == 2


def test_a_worker_loads_nothing_in_a_thread_for_which_a_process_that_it_forks_would_wait(shop: Shop) -> None:
    shop.modules = ("loading_shop", "")
    shop.start(children=1, SHOP_LOADED=str(shop.folder / "loaded"))
    steps = shop.sig("late", 1, 1) | shop.sig("late", 1)
    assert steps.apply_async().get(timeout=60) == 3
    shop.send("late_killed", str(shop.folder / "killed"), 1).get(timeout=60)  # counted in the worker itself
    (first,) = shop.liteq.storage.reader.workers()
    shop.wait(lambda: shop.liteq.storage.reader.workers()[0].heartbeat_ms > first.heartbeat_ms)
    assert shop.lines("loaded") == []
