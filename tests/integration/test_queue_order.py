"""Queues in real workers: pauses lose and start nothing, weights and globs say what is taken, quiet ones stay."""

from __future__ import annotations

import itertools
import random
import signal
from pathlib import Path

import pytest

from liteq.monitor.tasks.why import explain
from liteq.monitor.workers import workers
from liteq.states import State

from .worker_process import Site, wait_for


@pytest.fixture
def site(tmp_path: Path):
    made = Site(tmp_path)
    yield made
    made.close()


def started(site: Site) -> set[str]:
    return {line[1] for line in site.notes("started")}


# -- pauses: guarantee 7 ---------------------------------------------------------------------------------------------


def test_a_paused_queue_starts_nothing_and_loses_nothing_whatever_happens_meanwhile(site: Site) -> None:
    """Workers are killed and started, messages come due, expire late, are retried: all wait, and each runs once."""
    workers = [site.worker("-c", "2", "-Q", "mail.*,celery") for _ in range(2)]
    site.get(site.send("add", 1, 1))
    site.app.control.pause_queue("mail.*", reason="the server is moved", by="ann")
    ids = site.send_many("nap", [(0,)] * 40, queue="mail.now")
    ids += site.send_many("nap", [(0,)] * 20, queue="mail.due", countdown=0.3)
    chance = random.Random(7)
    others = []
    for _ in range(3):
        worker = workers.pop(chance.randrange(2))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        workers.append(site.worker("-c", "2", "-Q", "mail.*,celery"))
        others.append(site.send("add", 1, 1))
        site.get(others[-1])
    wait_for(lambda: {site.state(id_) for id_ in ids} == {State.PENDING}, what="what came due waits")
    assert not started(site) & set(ids)
    (paused,) = site.app.control.paused_queues()
    assert (paused.queue, paused.reason, paused.by, paused.until) == ("mail.*", "the server is moved", "ann", None)
    assert site.app.control.resume_queue("mail.*")
    for id_ in ids:
        site.get(id_)
    assert all(len(site.notes("started", id_)) == 1 for id_ in ids)


def test_a_pause_holds_from_its_commit_on(site: Site) -> None:
    """Starts after `pause_queue` has returned are of messages claimed before: no more than the worker can hold."""
    site.worker("-c", "2")
    go = site.folder / "go"
    ids = site.send_many("nap", [(0.01,)] * 20) + site.send_many("until", [(str(go),)] * 100)
    wait_for(lambda: len(started(site)) > 20, what="it works")
    site.app.control.pause_queue("celery")
    go.touch()
    leased = {id_ for id_ in ids if site.state(id_) is not State.PENDING}
    wait_for(lambda: not any(site.state(id_) is State.LEASED for id_ in ids), what="what was claimed has ended")
    assert {id_ for id_ in ids if site.state(id_) is State.SUCCEEDED} <= leased
    assert any(site.state(id_) is State.PENDING for id_ in ids)
    site.app.control.resume_queue("cel*")
    site.get(ids[-1])


def test_one_that_expired_in_a_paused_queue_is_revoked_when_that_goes_on(site: Site) -> None:
    site.worker("-c", "1")
    site.app.control.pause_queue("celery")
    late = site.send("add", 1, 1, expires=0.5)
    later = site.send("add", 1, 2, expires=600)
    wait_for(lambda: site.app.clock.now_ms() > site.record(late).expires_ms, what="it has expired")
    site.app.control.pause_queue("celery", until=0.3)
    assert site.get(later) == 3
    assert site.state(late) is State.CANCELLED


# -- order -----------------------------------------------------------------------------------------------------------


def order_of(site: Site, *args: str) -> list[str]:
    """The queue of each task in the order in which one process starts them: 40 wait in each of two queues."""
    queues = {id_: queue for queue in ("mail", "default") for id_ in site.send_many("nap", [(0,)] * 40, queue=queue)}
    site.worker("-c", "1", "-P", "solo", *args)
    wait_for(lambda: len(site.notes("started")) == 80, what="all have run")
    return [queues[line[1]] for line in site.notes("started")]


def test_strict_is_the_order_given(site: Site) -> None:
    order = order_of(site, "-Q", "mail,default", "--strict")
    assert [queue for queue, _ in itertools.groupby(order)] == ["mail", "default"]


def test_weights_share_and_none_starves(site: Site) -> None:
    order = order_of(site, "-Q", "mail=3,default=1")
    while_both_wait = order[:40]
    assert 6 <= while_both_wait.count("default") <= 14


def test_a_glob_takes_from_queues_that_appear_and_not_from_what_is_excluded(site: Site) -> None:
    site.worker("-c", "1", "-Q", "mail.*", "-X", "mail.not")
    kept = site.send("add", 1, 1, queue="mail.not")
    assert site.get(site.send("add", 1, 1, queue="mail.new")) == 2
    assert site.get(site.send("add", 1, 2, queue="mail.later", countdown=0.2)) == 3
    assert site.state(kept) is State.PENDING
    ((_, facts),) = ((one.name, one.facts) for one in site.app.control.living())
    assert facts["globs"] == ["mail.*"]
    assert not facts["strict"]
    (answers,) = site.app.control.add_consumer("mail.not=2", reply=True, timeout=60) or []
    assert list(answers.values()) == [{"ok": "add consumer mail.not=2"}]
    assert site.get(kept) == 2
    (queues,) = (site.app.control.inspect(timeout=60).active_queues() or {}).values()
    assert {one["name"]: one["weight"] for one in queues} == {"mail.new": 1, "mail.later": 1, "mail.not": 2}
    (refused,) = site.app.control.add_consumer("mail=often", reply=True, timeout=60) or []
    assert "NAME=WEIGHT" in str(refused)


def test_the_settings_say_it_too(site: Site) -> None:
    site.worker("-c", "1", LITEQ_WORKER_QUEUES="mail,pay.*", LITEQ_WORKER_STRICT_ORDER="1")
    assert site.get(site.send("add", 1, 1, queue="mail")) == 2
    assert site.get(site.send("add", 1, 1, queue="pay.visa")) == 2


# -- quiet -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_quiet_worker_finishes_what_runs_claims_nothing_and_stays(site: Site, pool: str) -> None:
    site.worker("-c", "2", "-P", pool, "-n", "calm@host")
    running = site.send("nap", 0.6)
    site.wait_started(running)
    (answer,) = site.app.control.quiet(reply=True, timeout=60) or []
    assert answer == {"calm@host": {"ok": "claims no more"}}
    left = site.send("add", 1, 1)
    site.get(running)
    wait_for(lambda: site.app.control.living()[0].facts.get("quiet"), what="its facts say so")
    stats = site.app.control.inspect(timeout=60).stats() or {}
    assert stats["calm@host"]["quiet"] is True
    assert site.state(left) is State.PENDING
    assert (explain(site.app, left) or {})["reason"] == "quiet"
    assert [one["quiet"] for one in workers(site.app)["items"]] == [True]
    (answer,) = site.app.control.wake(reply=True, timeout=60) or []
    assert answer == {"calm@host": {"ok": "claims again"}}
    assert site.get(left) == 2
