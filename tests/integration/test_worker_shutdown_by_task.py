"""WorkerShutdown and WorkerTerminate, raised in a task, end its worker; the task has failed and is not run again."""

from __future__ import annotations

import pytest

from liteq.exceptions import SoftTimeLimitExceeded
from liteq.states import State

from .worker_process import Site


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize(("cold", "code"), [(False, 0), (True, 1)])
def test_it_ends(site, pool, cold, code):
    worker = site.worker("-P", pool, "-c", "1")
    id_ = site.send("ends_the_worker", cold)
    assert worker.wait(60) == code
    assert site.state(id_) is State.DEAD
    assert len(site.notes("started", id_)) == 1


def test_sigusr1_is_a_soft_time_limit(site):
    site.worker("-c", "1")
    id_ = site.send("nap", 30)
    site.wait_started(id_)
    site.app.control.revoke(id_, terminate=True, signal="SIGUSR1", reply=True, timeout=60)
    assert isinstance(site.error(id_), SoftTimeLimitExceeded)
