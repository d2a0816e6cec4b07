"""`isolate=True`: a process for each run, in the place of one of the worker's children."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import TimeLimitExceeded, WorkerLostError
from liteq.message import new_id
from liteq.states import State

from .worker_process import Site, children_of, lives, wait_for

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "pool_tasks")
    yield site
    site.close()


def send(site: Site, task: str, *args: Any, **options: Any) -> str:
    """Send `pool_tasks.<task>`; its id."""
    return str(site.app.send_task(f"pool_tasks.{task}", args=args, **options).id)


def test_each_run_has_a_process_that_has_run_nothing_and_ends_after_it(site):
    worker = site.worker("-c", "2")
    plain = {site.get(site.send("pid")) for _ in range(5)}
    runs = [tuple(site.get(send(site, "alone"))) for _ in range(10)]
    assert len({pid for pid, _ in runs}) == 10
    assert {seen for _, seen in runs} == {1}
    assert plain.isdisjoint(pid for pid, _ in runs)
    wait_for(lambda: not any(lives(pid) for pid, _ in runs), what="they have ended")
    wait_for(lambda: len(children_of(worker.pid)) == 2, what="the worker has seen that")
    assert plain <= set(children_of(worker.pid)), "the children for other tasks stay"


def test_no_more_run_at_once_than_the_worker_has_executors(site, tmp_path):
    site.worker("-c", "2")
    isolated = [send(site, "alone_until", str(tmp_path / "go")) for _ in range(2)]
    for id_ in isolated:
        site.wait_started(id_)
    others = [send(site, "until", str(tmp_path / "go")), send(site, "alone_until", str(tmp_path / "go"))]
    urgent = send(site, "alone", priority=9)
    wait_for(lambda: site.state(urgent) is State.PENDING, what="it is not held where there is no place")
    for _ in range(2):  # the worker's loop has turned since they were sent
        assert site.app.control.ping(timeout=60)
    wait_for(lambda: {site.state(id_) for id_ in others} == {State.PENDING}, what="there is no place for them")
    assert [site.notes("started", id_) for id_ in others] == [[], []]
    (tmp_path / "go").touch()
    assert all(site.get(id_) for id_ in [*isolated, *others, urgent])
    assert {site.record(id_).crashes for id_ in [*isolated, *others, urgent]} == {0}


def test_many_that_come_at_once_wait_for_a_place(site, tmp_path):
    site.worker("-c", "2")
    site.get(site.send("echo", 1))  # short: its children are given more than they can begin
    ids = [new_id() for _ in range(12)]
    path = str(tmp_path / "go")
    site.app.enqueue_many([site.app.signature("pool_tasks.alone_until", args=(path,), task_id=id_) for id_ in ids])
    wait_for(lambda: len(site.notes("started")) >= 2, what="two run")
    wait_for(lambda: [site.state(id_) for id_ in ids].count(State.LEASED) == 2, what="the others are back in the queue")
    assert len(site.notes("started")) == 2
    (tmp_path / "go").touch()
    assert len({site.get(id_) for id_ in ids}) == 12


def test_one_gets_its_place_among_many_short_ones(site):
    site.worker("-c", "2")
    before = site.send_many("echo", [(n,) for n in range(3_000)])
    isolated = [send(site, "alone") for _ in range(5)]
    after = site.send_many("echo", [(n,) for n in range(3_000)])
    assert len({site.get(id_, 60)[0] for id_ in isolated}) == 5
    assert [site.get(id_, 60) for id_ in before + after] == [*range(3_000), *range(3_000)]


def test_it_keeps_its_limit_and_its_death_is_its_own(site):
    worker = site.worker("-c", "2")
    plain = site.get(site.send("pid"))
    late, dead = send(site, "alone_for_too_long"), send(site, "alone_and_dead")
    assert isinstance(site.error(late), TimeLimitExceeded)
    error = site.error(dead)
    assert isinstance(error, WorkerLostError)
    assert "exit code 3" in str(error)
    assert site.record(late).crashes == 0
    assert plain in children_of(worker.pid), "whoever runs plain tasks has not ended"


def test_a_warm_end_finishes_it_and_a_killed_worker_takes_it_along(site, tmp_path):
    worker = site.worker("-c", "1")
    first, second = send(site, "alone_until", str(tmp_path / "go")), send(site, "alone")
    pid = site.wait_started(first)
    assert site.end_first(worker, tmp_path / "go") == 0
    assert site.get(first) == pid
    assert (site.state(second), site.record(second).crashes) == (State.PENDING, 0)
    worker = site.worker("-c", "1")
    assert site.get(second)[1] == 1
    pid = site.wait_started(send(site, "alone_until", str(tmp_path / "never")))
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(lambda: not lives(pid), what="it ends with the worker")


def test_it_is_a_property_of_the_task_and_not_of_a_call(tmp_path):
    app = LiteQ("site", broker=f"sqlite:///{tmp_path}/queue.db")

    @app.task(isolate=True)
    def alone() -> None: ...

    with pytest.raises(TypeError, match="isolate"):
        alone.apply_async(isolate=False)
    with pytest.raises(TypeError, match="isolate is True or False, not 'yes'"):
        app.task(isolate="yes")(lambda: None)
    app.close()
