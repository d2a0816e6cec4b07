"""A file that is looked after for months: results and dead letters go at their age, and free space to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.message import Ack, Message, WorkerIdentity, new_id
from liteq.storage.kept import task_logs
from liteq.storage.storage import Storage
from liteq.worker.chores import heartbeat
from liteq.worker.chores.heartbeat import Heartbeat

from .worker_process import Site, wait_for

OFTEN = {"WORKER_TEST_HURRY": "liteq.worker.chores.heartbeat:HOUSEKEEPING_S=0.2"}
OLD = 3_500  # results: three whole chunks and a part


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def is_gone(site: Site, id_: str) -> bool:
    return site.app.storage.reader.find(id_) is None


# -- ages ------------------------------------------------------------------------------------------------------------


def test_results_and_dead_letters_go_each_at_its_own_age(site):
    site.worker("-c", "1", LITEQ_RESULT_EXPIRES="1", LITEQ_DEAD_EXPIRES="3600", **OFTEN)
    done, failed = site.send("add", 1, 2), site.send("never_works")
    assert site.get(done) == 3
    site.error(failed)
    wait_for(lambda: is_gone(site, done), what="the result has gone")
    assert not is_gone(site, failed)


def test_dead_letters_go_although_results_stay(site):
    site.worker("-c", "1", LITEQ_RESULT_EXPIRES="none", LITEQ_DEAD_EXPIRES="1", **OFTEN)
    done, failed = site.send("add", 1, 2), site.send("never_works")
    assert site.get(done) == 3
    site.error(failed)
    wait_for(lambda: is_gone(site, failed), what="the dead letter has gone")
    assert not is_gone(site, done)


def old_results(storage: Storage) -> Heartbeat:
    """A worker of a file with `OLD` results that have come of age."""
    me = WorkerIdentity(new_id(), "liteq@here", "here", "", 1, "1")
    storage.migrate()
    beat = Heartbeat(
        storage, me, visibility_s=60, result_expires_s=0.001, dead_expires_s=None, info=dict, patience_s=10
    )
    storage.enqueue_many(Message(new_id(), "t", b"[[],{}]") for _ in range(OLD))
    while leases := storage.claim(["celery"], worker=beat.worker, limit=1_000, visibility_s=60):
        storage.settle([(lease, Ack(b"1")) for lease in leases])
    assert kept(storage) == OLD
    return beat


def kept(storage: Storage) -> int:
    with storage.driver.read() as tx:
        return int(tx.execute("SELECT count(*) FROM liteq_messages")[0][0])


def test_a_look_does_many_chunks_where_much_is_old(site, monkeypatch):
    """One chunk at each look, of two a second, would let a queue grow in which more than that finish."""
    monkeypatch.setattr(heartbeat, "SLICE_S", 60.0)
    storage = site.app.storage
    beat = old_results(storage)
    beat.look_after_others()
    assert kept(storage) == 0


def test_a_look_deletes_many_logs(site, monkeypatch):
    """Few in a transaction, as each is long; with one of those at each look they would grow for ever."""
    monkeypatch.setattr(heartbeat, "SLICE_S", 60.0)
    storage = site.app.storage
    beat = old_results(storage)
    many = 10 * task_logs.MOST
    storage.enqueue_many(Message(new_id(), "t", b"[[],{}]") for _ in range(many))
    leases = storage.claim(["celery"], worker=beat.worker, limit=many, visibility_s=60)
    storage.kept.log([(lease.seq, lease.token) for lease in leases], [b"1"], [None] * many, keep_ms=0)
    storage.settle([(lease, Ack(b"1")) for lease in leases])
    beat.look_after_others()
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_logs") == [(0,)]


def test_a_look_lasts_for_a_moment_however_much_is_old(site, monkeypatch):
    monkeypatch.setattr(heartbeat, "SLICE_S", 0.0)
    storage = site.app.storage
    beat = old_results(storage)
    left = []
    for _ in range(4):
        beat.look_after_others()
        left.append(kept(storage))
    assert left == [2_500, 1_500, 500, 0]


# -- free space ------------------------------------------------------------------------------------------------------


def fill_and_empty(site: Site) -> int:
    """A backlog comes and goes; the size that it leaves the file in."""
    site.app.enqueue_many([site.app.signature("worker_tasks.echo", args=("x" * 4_000,)) for _ in range(5_000)])
    site.app.storage.purge()
    site.app.storage.driver.fold_log()
    return size(site)


def size(site: Site) -> int:
    return (site.folder / "queue.db").stat().st_size


def test_an_idle_worker_gives_free_space_back_and_takes_tasks_meanwhile(site):
    before = fill_and_empty(site)
    site.worker("-c", "1", LITEQ_IDLE_VACUUM="1", WORKER_TEST_HURRY="liteq.worker.chores.idle_vacuum:BUSY_S=0.1")
    driver = site.app.storage.driver
    free = driver.free_bytes()
    while size(site) > before / 4:
        assert site.get(site.send("add", 1, 2)) == 3
        wait_for(lambda free=free: driver.free_bytes() < free or size(site) <= before / 4, what="it goes on")
        free = driver.free_bytes()
    assert driver.describe()["integrity"] == "ok"


def test_without_the_setting_the_file_keeps_its_size(site):
    before = fill_and_empty(site)
    site.worker("-c", "1")
    for n in range(20):
        site.get(site.send("add", n, 1))
    assert size(site) == before
