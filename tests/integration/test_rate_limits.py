"""Rate limits of workers that run: each one's own, and the one that they share."""

from __future__ import annotations

import threading
import time

import pytest

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.states import State
from liteq.testing import start_worker


@pytest.fixture
def app(tmp_path):
    app = LiteQ("rates", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.ran = []
    app.all_ran = threading.Semaphore(0)

    def run(name):
        app.ran.append((name, time.monotonic()))
        app.all_ran.release()

    @app.task(name="slow", rate_limit="10/s")
    def slow():
        run("slow")

    @app.task(name="shared", global_rate_limit="20/s")
    def shared():
        run("shared")

    @app.task(name="free")
    def free():
        run("free")

    yield app
    app.close()


def send(app, name, n):
    app.enqueue_many([app.tasks[name].s() for _ in range(n)])


def wait(app, n, within_s=60.0):
    for _ in range(n):
        assert app.all_ran.acquire(timeout=within_s)


def times(app, name):
    return [at for ran, at in app.ran if ran == name]


def test_a_task_starts_no_oftener_than_its_rate(app):
    send(app, "slow", 11)
    began = time.monotonic()
    with start_worker(app, pool="threads", concurrency=2):
        wait(app, 11)
    assert times(app, "slow")[-1] - began >= 1.0


def test_a_task_that_waits_for_its_rate_holds_up_no_other(app):
    app.tasks["slow"].rate_limit = "1/h"
    send(app, "slow", 6)
    send(app, "free", 5)
    with start_worker(app, pool="threads", concurrency=2):
        wait(app, 6)
    assert (len(times(app, "slow")), len(times(app, "free"))) == (1, 5)


def test_two_workers_share_the_rate_in_the_file(app):
    send(app, "shared", 21)
    began = time.monotonic()
    with start_worker(app, hostname="a@here"), start_worker(app, hostname="b@here"):
        wait(app, 21)
    assert times(app, "shared")[-1] - began >= 1.0


def test_it_is_changed_at_run_time(app):
    app.tasks["slow"].rate_limit = "1/h"
    send(app, "slow", 30)
    with start_worker(app, pool="threads", hostname="w@here"):
        wait(app, 1)
        [answer] = app.control.rate_limit("slow", "500/s", reply=True, timeout=60)
        assert answer == {"w@here": {"ok": "new rate limit set successfully"}}
        wait(app, 29)
        assert app.control.inspect(timeout=60).registered("rate_limit")["w@here"][-1] == "slow [rate_limit=500/s]"
        [answer] = app.control.rate_limit("slow", 0, reply=True, timeout=60)
        assert answer == {"w@here": {"ok": "rate limit disabled successfully"}}
        [answer] = app.control.rate_limit("slow", "often", reply=True, timeout=60)
        assert "Invalid rate limit string" in answer["w@here"]["error"]
        [answer] = app.control.rate_limit("no.such", "1/s", reply=True, timeout=60)
        assert answer == {"w@here": {"error": "unknown task"}}


def test_the_shared_one_too_and_it_outlives_the_workers(app):
    app.control.global_rate_limit("free", "1/h")
    send(app, "free", 5)
    with start_worker(app):
        wait(app, 1)
    assert [(c.state, c.n) for c in app.storage.reader.counts() if c.state is not State.SUCCEEDED] == [(State.HELD, 4)]
    with start_worker(app):
        app.control.global_rate_limit("free", None)
        wait(app, 4)
    with pytest.raises(ValueError, match="is no rate"):
        app.control.global_rate_limit("free", "often")


def test_the_default_rate(app):
    app.conf.task_default_rate_limit = "10/s"
    send(app, "free", 8)
    began = time.monotonic()
    with start_worker(app):
        wait(app, 8)
    assert times(app, "free")[-1] - began >= 0.7


def test_they_can_be_switched_off(app):
    app.conf.worker_disable_rate_limits = True
    app.tasks["slow"].rate_limit = "1/h"
    send(app, "slow", 10)
    with start_worker(app):
        wait(app, 10)
    assert len(times(app, "slow")) == 10
    assert {count.state for count in app.storage.reader.counts()} == {State.SUCCEEDED}


def test_a_rate_that_is_none_is_refused_when_the_worker_starts(app):
    app.tasks["slow"].rate_limit = "often"
    worker = app.Worker(pool="threads")
    with pytest.raises(ImproperlyConfigured, match=r"task 'slow', rate_limit: 'often' is no rate"):
        worker.run()
