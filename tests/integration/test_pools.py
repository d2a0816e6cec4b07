"""Each pool with each behaviour of a worker: it does it, or says that it cannot."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import chord, group
from liteq.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from liteq.message import new_id
from liteq.states import State

from .engines import fresh
from .worker_process import Site, children_of, lives, wait_for

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]

FORKS = {method: ("-P", "prefork", "--pool-start-method", method) for method in ("fork", "forkserver", "spawn")}
PROCESSES = {**FORKS, "asyncio": ("-P", "asyncio")}
POOLS = {**PROCESSES, "threads": ("-P", "threads"), "solo": ("-P", "solo")}
EACH = pytest.mark.parametrize("pool", POOLS)
ON_A_SERVER = {f"{pool} over postgresql": pool for pool in ("fork", "forkserver", "threads")}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "pool_tasks")
    yield site
    site.close()


@pytest.fixture(scope="module", params=[*POOLS, *ON_A_SERVER])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a worker that the tests of one pool share: none of them ends it."""
    pool = ON_A_SERVER.get(request.param, request.param)
    broker = fresh(request.getfixturevalue("postgresql_server")) if request.param in ON_A_SERVER else None
    site = Site(tmp_path_factory.mktemp(pool), "pool_tasks", broker)
    site.worker("-c", "2", *POOLS[pool])
    site.pool = pool  # type: ignore[attr-defined]
    yield site
    site.close()


def kills(site: Any) -> bool:
    """Whether the pool of the site's worker has processes that it can kill."""
    return site.pool in PROCESSES


def told(site: Site, text: str) -> bool:
    return text in site.log().read_text()


def send(site: Site, task: str, *args: Any, **options: Any) -> str:
    """Send `pool_tasks.<task>`; its id."""
    return str(site.app.send_task(f"pool_tasks.{task}", args=args, **options).id)


def executors(worker: Any) -> list[int]:
    """The processes that execute tasks for a worker of processes."""
    found = []
    for child in children_of(worker.pid):
        found += children_of(child) if _is_server(child) else [child]
    return found


def _is_server(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"fork server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


# -- on a worker that goes on ----------------------------------------------------------------------------------------


def test_success(shared):
    ids = shared.send_many("add", [(n, 1) for n in range(20)])
    assert [shared.get(id_) for id_ in ids] == list(range(1, 21))


def test_a_chain_a_group_and_a_chord(shared):
    def add(*args: int) -> Any:
        return shared.app.signature("worker_tasks.add", args=args)

    def result(canvas: Any) -> Any:
        return canvas.apply_async().get(timeout=60)

    members = [add(n, n) | add(1) for n in range(4)]
    assert result(add(1, 2) | add(3) | add(4)) == 10
    assert result(group(members, app=shared.app)) == [1, 3, 5, 7]
    assert result(chord(members, shared.app.signature("worker_tasks.echo"), app=shared.app)) == [1, 3, 5, 7]


def test_failure(shared):
    assert isinstance(shared.error(shared.send("add", 1, "x")), TypeError)


def test_retry(shared):
    id_ = shared.send("fails_twice")
    assert shared.get(id_) == 2
    assert len(shared.notes("started", id_)) == 3


def test_a_soft_limit(shared):
    id_ = shared.send("soft", 0.6 if shared.pool in {"threads", "asyncio"} else 60, soft_time_limit=0.1)
    if shared.pool in {"threads", "asyncio"}:
        assert shared.get(id_) == "undisturbed", "no thread is interrupted"
        assert told(shared, "a soft time limit needs the prefork or solo pool: not enforced")
    if shared.pool == "asyncio":
        assert shared.get(shared.send("async_soft", 60, soft_time_limit=0.1)) == "caught"
        assert isinstance(shared.error(shared.send("async_nap", 60, soft_time_limit=0.1)), SoftTimeLimitExceeded)
    elif shared.pool != "threads":
        assert shared.get(id_) == "caught"
        assert isinstance(shared.error(shared.send("nap", 60, soft_time_limit=0.1)), SoftTimeLimitExceeded)


def test_a_hard_limit(shared):
    id_ = shared.send("nap", 60 if kills(shared) else 1.0, time_limit=0.2)
    if kills(shared):
        assert isinstance(shared.error(id_), TimeLimitExceeded)
        assert shared.record(id_).crashes == 0
    else:
        assert shared.get(id_) == "rested"
        assert told(shared, "a hard time limit needs the prefork pool: not enforced")
    assert shared.get(shared.send("add", 2, 2)) == 4


def test_a_revoked_message_does_not_start(shared):
    id_ = shared.send("nap", 0, countdown=3600)
    shared.app.control.revoke(id_)
    assert isinstance(shared.error(id_), TaskRevokedError)
    assert shared.notes("started", id_) == []


def test_a_running_task_is_terminated(shared, tmp_path):
    go = tmp_path / "go"
    id_ = send(shared, "until", str(go))
    shared.wait_started(id_)
    if shared.pool == "solo":
        answer = shared.app.control.revoke(id_, terminate=True, reply=True, timeout=0.5)
        assert not answer, "it cannot answer while it runs the task"
    else:
        [answer] = shared.app.control.revoke(id_, terminate=True, reply=True, timeout=60)
    if kills(shared):
        assert isinstance(shared.error(id_), TaskRevokedError)
        return
    if shared.pool == "threads":
        [said] = answer.values()
        assert "error" in said, "it says that it cannot"
    go.touch()
    assert shared.get(id_) > 0


def test_progress(shared, tmp_path):
    id_ = send(shared, "half_way", str(tmp_path / "go"))
    result = shared.app.AsyncResult(id_)
    progress = wait_for(lambda: result.progress, what="it says how far it is")
    assert (progress.done, progress.total, progress.note) == (1, 2, "half")
    (tmp_path / "go").touch()
    assert shared.get(id_) == "done"


def test_a_batch(shared):
    ids = [new_id() for _ in range(10)]
    name = "pool_tasks.double"
    shared.app.enqueue_many([shared.app.signature(name, args=(n,), task_id=id_) for n, id_ in enumerate(ids)])
    assert [shared.get(id_) for id_ in ids] == [2 * n for n in range(10)]


def test_what_a_pool_of_one_process_shares_is_told(shared):
    pids = {tuple(shared.get(send(shared, "alone"))) for _ in range(3)}
    if kills(shared):
        assert len(pids) == 3
        assert {seen for _, seen in pids} == {1}
    else:
        assert told(shared, f"isolate=True needs the prefork pool: the {shared.pool} pool runs pool_tasks.alone")


# -- on a worker of its own ------------------------------------------------------------------------------------------


@EACH
def test_a_killed_process_loses_nothing(site, pool):
    worker = site.worker("-c", "2", *POOLS[pool])
    id_ = send(site, "stuck_at_first")
    pid = site.wait_started(id_)
    assert (pid == worker.pid) == (pool not in PROCESSES)
    os.kill(pid, signal.SIGKILL)
    if pool not in PROCESSES:
        worker.wait(60)
        site.worker("-c", "2", *POOLS[pool])
    assert site.get(id_) != pid
    assert site.record(id_).crashes == (1 if pool in PROCESSES else 0)
    assert site.get(site.send("add", 1, 1)) == 2


@pytest.mark.parametrize("pool", PROCESSES)
def test_a_task_that_kills_its_process_is_a_dead_letter(site, pool):
    site.worker("-c", "2", *POOLS[pool])
    id_ = site.send("die")
    error = site.error(id_)
    assert isinstance(error, WorkerLostError)
    assert "signal SIGKILL" in str(error)
    assert site.state(id_) is State.DEAD


@EACH
def test_a_warm_end_finishes_what_runs_and_returns_the_rest(site, pool):
    one = (*POOLS[pool], "--coroutines", "1") if pool == "asyncio" else POOLS[pool]
    worker = site.worker("-c", "1", *one)
    site.get(site.send("add", 1, 1))
    go = site.folder / "go"
    running = site.send("until", str(go))
    site.wait_started(running)
    rest = site.send_many("nap", [(0.0,)] * 3)
    assert site.end_first(worker, go) == 0
    assert site.state(running) is State.SUCCEEDED
    assert {site.state(id_) for id_ in rest} == {State.PENDING}
    assert {(site.record(id_).retries, site.record(id_).crashes) for id_ in rest} == {(0, 0)}
    site.worker("-c", "1", *POOLS[pool])
    assert [site.get(id_) for id_ in rest] == ["rested"] * 3
    assert len(site.notes("started")) == 4


@pytest.mark.parametrize("pool", [name for name in POOLS if name != "solo"])  # its loop stands still meanwhile
def test_a_cold_end_returns_what_runs_uncounted(site, pool):
    worker = site.worker("-c", "1", *POOLS[pool])
    id_ = send(site, "stuck_at_first")
    site.wait_started(id_)
    assert site.end(worker, signal.SIGQUIT) == 1
    assert (site.state(id_), site.record(id_).crashes) == (State.PENDING, 0)
    site.worker("-c", "1", *POOLS[pool])
    assert site.get(id_) > 0


@EACH
def test_no_process_outlives_a_killed_worker(site, pool, tmp_path):
    worker = site.worker("-c", "2", *POOLS[pool])
    site.wait_started(send(site, "until", str(tmp_path / "never")))
    pids = {worker.pid, *children_of(worker.pid), *executors(worker)}
    worker.kill()
    worker.wait(60)
    wait_for(lambda: not any(map(lives, pids)), what="all have ended")


@EACH
def test_the_memory_limit(site, pool):
    site.worker("-c", "1", *POOLS[pool], "--max-memory-per-child", str(150 << 10))
    pids = [site.get(site.send("grow", 60)) for _ in range(4)]
    if pool in FORKS:
        assert 2 <= len(set(pids)) <= 3
    elif pool == "asyncio":  # it looks at the end of a task, four times a second
        wait_for(lambda: site.get(site.send("pid")) != pids[0], what="another process has taken over")
    else:
        assert len(set(pids)) == 1
        assert told(site, f"max_memory_per_child needs the prefork pool: the {pool} pool does not keep it")


@EACH
def test_the_limit_of_tasks(site, pool):
    site.worker("-c", "1", *POOLS[pool], "--max-tasks-per-child", "2")
    pids = [site.get(site.send("pid")) for _ in range(6)]
    if pool in PROCESSES:
        assert len(set(pids)) >= 3
        assert max(pids.count(pid) for pid in pids) <= 2
    else:
        assert told(site, f"max_tasks_per_child needs the prefork pool: the {pool} pool does not keep it")


@EACH
def test_autoscale(site, pool, tmp_path):
    site.worker("--autoscale", "3,1", *POOLS[pool])
    if pool == "solo":
        assert told(site, "--autoscale needs a pool of several")
        return
    ids = [send(site, "until", str(tmp_path / "go")) for _ in range(3)]
    for id_ in ids:  # at once: none of them has ended
        site.wait_started(id_)
    (tmp_path / "go").touch()
    assert [site.get(id_) > 0 for id_ in ids] == [True] * 3


@EACH
def test_reload(site, pool):
    pytest.importorskip("watchfiles")
    (site.folder / "fresh.py").write_text("from pool_tasks import app\n\n@app.task\ndef edition():\n    return 1\n")
    supervisor = site.start("-c", "1", *POOLS[pool], "-I", "fresh", "--reload")
    try:
        assert site.get(str(site.app.send_task("fresh.edition").id)) == 1
        (site.folder / "fresh.py").write_text(
            "from pool_tasks import app\n\n@app.task\ndef edition():\n    return 22\n"
        )
        # The worker of before may take tasks until it is told to stop, after the change is told.
        wait_for(lambda: told(site, "changed: starting the worker again"), what="it saw the change")
        wait_for(lambda: site.log().read_text().count(" ready") > 1, what="the next worker is ready")
        assert site.get(str(site.app.send_task("fresh.edition").id)) == 22
    finally:  # its worker is in a group of its own, and ends with it
        code = site.end(supervisor)
    assert code == 0
