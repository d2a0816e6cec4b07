"""A pool that grows while there is more to do than it has executors, and shrinks when that is over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from liteq import LiteQ
from liteq.testing import FakeClock
from liteq.worker.chores.autoscale import KEEPALIVE_S, LEAST_PAUSE_S, Autoscaler, make_autoscaler

from .worker_process import Site, wait_for


class FakePool:
    name = "prefork"

    def __init__(self, size=1, leases=0):
        self.size = size
        self.has = [object()] * leases

    def leases(self):
        return self.has

    def resize(self, size):
        self.size = size


def scaler(waiting=0, most=4, least=1, size=1, leases=0):
    pool = FakePool(size, leases)
    clock = FakeClock()
    made = Autoscaler(pool, most, least, lambda limit: min(waiting, limit), lambda: None, clock.monotonic)
    return pool, made, clock


@pytest.mark.parametrize(("waiting", "leases", "size"), [(0, 0, 1), (1, 1, 2), (2, 1, 3), (100, 1, 4), (0, 4, 4)])
def test_it_grows_to_what_there_is_to_do(waiting, leases, size):
    pool, made, _ = scaler(waiting, leases=leases)
    made.turn()
    assert pool.size == size


def test_it_does_not_grow_for_what_its_worker_does_not_claim(tmp_path):
    """A worker that is quiet, or that ends, forked its most processes for what is left to others."""
    app = LiteQ("scaled", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    for _ in range(9):
        app.send_task("add", (1, 2))
    pool, consumer = FakePool(), SimpleNamespace(queues=["celery"], claims=False)
    made = make_autoscaler((4, 1), pool, app.storage, lambda: consumer, lambda: None)
    made.turn()
    assert pool.size == 1
    consumer.claims = True
    made.turn()
    assert pool.size == 4
    app.close()


def test_it_shrinks_when_that_has_been_over_for_a_while():
    pool, made, clock = scaler(size=4, least=2)
    clock.advance(KEEPALIVE_S - 1)
    made.turn()
    assert pool.size == 4
    clock.advance(1)
    made.turn()
    assert pool.size == 2


def test_the_while_is_counted_from_the_last_need():
    pool, made, clock = scaler(size=4, leases=4)
    clock.advance(KEEPALIVE_S)
    made.turn()
    pool.has.clear()
    clock.advance(KEEPALIVE_S - 1)
    made.turn()
    assert pool.size == 4
    clock.advance(1)
    made.turn()
    assert pool.size == 1


def test_a_bell_that_rings_without_end_does_not_make_it_look_without_end():
    _, made, clock = scaler()
    made.turn()
    for _ in range(3):
        made.rung()
    assert made.due_at == clock.monotonic() + LEAST_PAUSE_S


def test_its_limits_are_changed():
    pool, made, _ = scaler(size=1)
    assert made.update(8, 3) == (8, 3)
    assert pool.size == 3
    assert made.update(2) == (2, 2)
    made.turn()
    assert pool.size == 2
    with pytest.raises(ValueError, match="cannot be kept"):
        made.update(1, 5)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def test_a_worker_of_processes(site):
    worker = site.worker("--autoscale", "3,1", "-n", "w@here", AUTOSCALE_KEEPALIVE="1")

    def stats():
        return site.app.control.inspect(timeout=60).stats()["w@here"]

    assert stats()["pool"]["max-concurrency"] == 1
    go = site.folder / "go"
    ids = [site.send("until", str(go)) for _ in range(3)]
    for id_ in ids:
        site.wait_started(id_)
    assert stats()["autoscaler"] == {"max": 3, "min": 1, "current": 3}
    [answer] = site.app.control.pool_grow(1, reply=True, timeout=60)
    assert "not supported with autoscale" in answer["w@here"]["error"]
    go.touch()
    assert len({site.get(id_) for id_ in ids}) == 3
    wait_for(lambda: len(stats()["pool"]["processes"]) == 1, what="it shrinks again")
    [answer] = site.app.control.autoscale(2, 2, reply=True, timeout=60)
    assert answer == {"w@here": {"ok": "autoscale now max=2 min=2"}}
    wait_for(lambda: len(stats()["pool"]["processes"]) == 2, what="as many as the least")
    assert site.end(worker) == 0
