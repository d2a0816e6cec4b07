"""The pool `asyncio`: many coroutines at once in a child, each with limits, a context and an end of its own."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import SoftTimeLimitExceeded, StepTimeout, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from liteq.message import new_id
from liteq.states import State

from .worker_process import Site, children_of, lives, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc")


class Coroutines(Site):
    """A site of the tasks in coroutine_tasks.py, with workers of the asyncio pool."""

    def worker(self, *args: str, **env: str) -> Any:
        processes = () if {"-c", "--autoscale"} & set(args) else ("-c", "1")
        return super().worker("-P", "asyncio", *processes, *args, **env)

    def send(self, task: str, *args: Any, **options: Any) -> str:
        return str(self.app.send_task(f"coroutine_tasks.{task}", args=args, **options).id)

    def send_each(self, task: str, rows: list[tuple[Any, ...]], **options: Any) -> list[str]:
        ids = [new_id() for _ in rows]
        self.app.enqueue_many(
            [
                self.app.signature(f"coroutine_tasks.{task}", args=args, task_id=id_, **options)
                for id_, args in zip(ids, rows, strict=True)
            ]
        )
        return ids

    def wait_log(self, *texts: str) -> str:
        """The line of the first worker's log that has `texts`."""
        found: str = wait_for(
            lambda: next(
                (line for line in self.log().read_text().splitlines() if all(text in line for text in texts)), None
            ),
            what=f"{texts} in the log",
        )
        return found

    def crashes(self, id_: str) -> int:
        return self.record(id_).crashes


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Coroutines]:
    site = Coroutines(tmp_path, "coroutine_tasks")
    yield site
    site.close()


def soon(grace_s: int) -> dict[str, str]:
    """A process ends `grace_s` seconds after the time of its task, in place of five."""
    return {"WORKER_TEST_HURRY": f"liteq.worker.pool.runs:GRACE_S={grace_s}"}


def test_many_tasks_wait_at_once_in_one_process(site):
    worker = site.worker()
    site.send_each("nap", [(120,)] * 500)
    wait_for(lambda: len(site.notes("started")) > 100, what="they run beside each other")
    (child,) = children_of(worker.pid)
    assert {int(line[2]) for line in site.notes("started")} == {child}


def test_no_more_run_at_once_than_there_are_places(site):
    site.worker("--coroutines", "3")
    ids = site.send_each("nap", [(0.3,)] * 7)
    for id_ in ids:
        site.get(id_)
    assert most_at_once(site) == 3


def most_at_once(site: Coroutines) -> int:
    """The largest number of tasks that had started and not finished."""
    events = [line[0] for line in map(str.split, site.ledger.read_text().splitlines()) if line[0] != "left"]
    running = most = 0
    for event in events:
        running += {"started": 1, "finished": -1}[event]
        most = max(most, running)
    return most


def test_each_task_has_a_context_of_its_own(site):
    site.worker()
    names = [f"tenant-{i}" for i in range(100)]
    ids = site.send_each("as_tenant", [(name,) for name in names])
    for id_, name in zip(ids, names, strict=True):
        assert site.get(id_) == ["nobody", name, name, name, f"{name} {name}", name]


def test_functions_run_in_threads_and_hold_up_no_coroutine(site):
    site.worker()
    go = site.folder / "go"
    slow = site.send_each("until", [(str(go),)] * 10)
    wait_for(lambda: len(site.notes("started")) == 8, what="eight threads are busy")
    quick = site.send("nap", 0.01)
    site.get(quick)
    go.touch()
    assert len({site.get(id_) for id_ in slow}) == 8


def test_it_ends_as_in_the_other_pools(site):
    site.worker()
    assert site.get(site.send("fails_twice")) == 2
    failed = site.send("never_works")
    assert isinstance(site.error(failed), ValueError)
    assert len(site.notes("started", failed)) == 2
    assert site.record(failed).state is State.DEAD


@pytest.mark.parametrize("how", ["sys.exit", "in a child", "cancelled"])
def test_what_a_coroutine_raises_ends_it_alone(site, how):
    (child,) = children_of(site.worker().pid)
    others = site.send_each("nap", [(0.5,)] * 5)
    assert not isinstance(site.error(site.send("leave", how)), AssertionError)
    assert {site.get(id_) for id_ in others} == {child}


def test_an_interrupt_of_its_own_counts_as_the_end_of_a_process_and_ends_none(site):
    (child,) = children_of(site.worker().pid)
    others = site.send_each("nap", [(0.5,)] * 5)
    task = site.send("leave", "interrupt")
    site.error(task)
    assert site.crashes(task) >= 1
    assert {site.get(id_) for id_ in others} == {child}


def test_a_task_may_end_the_worker(site):
    worker = site.worker()
    site.send("leave", "shutdown")
    assert worker.wait(timeout=60) == 0


# -- limits ----------------------------------------------------------------------------------------------------------


def test_the_soft_limit_is_an_exception_at_the_next_await(site):
    site.worker()
    others = site.send_each("soft", [(0.5,)] * 20)
    assert isinstance(site.error(site.send("nap", 30, soft_time_limit=0.1)), SoftTimeLimitExceeded)
    assert site.get(site.send("soft", 30, soft_time_limit=0.1)) == "caught"
    assert site.get(site.send("soft", 0.05, soft_time_limit=60)) == "undisturbed"
    assert {site.get(id_) for id_ in others} == {"undisturbed"}


def test_the_hard_limit_cancels_the_coroutine_and_its_child_lives(site):
    (child,) = children_of(site.worker().pid)
    others = site.send_each("nap", [(1.0,)] * 20)
    task = site.send("nap", 60, time_limit=0.2)
    assert isinstance(site.error(task), TimeLimitExceeded)
    assert (site.state(task), site.crashes(task)) == (State.DEAD, 0)
    assert site.notes("left", task)
    assert not site.notes("finished", task)
    assert {site.get(id_) for id_ in others} == {child}


def test_one_that_cannot_be_cancelled_ends_with_its_child_and_pays_alone(site):
    (child,) = children_of(site.worker(**soon(1)).pid)
    others = site.send_each("rest_once", [()] * 5)
    wait_for(lambda: len(site.notes("started")) == 5)
    task = site.send("stubborn", time_limit=0.2)
    assert isinstance(site.error(task), TimeLimitExceeded)
    wait_for(lambda: not lives(child), what="its process has ended")
    assert len(site.notes("started", task)) == 1
    assert [site.get(id_) for id_ in others] == ["rested elsewhere"] * 5
    assert {site.crashes(id_) for id_ in others} == {0}


def test_one_that_holds_the_loop_up_is_named_and_pays_alone(site):
    (child,) = children_of(site.worker(**soon(2)).pid)
    others = site.send_each("rest_once", [()] * 5)
    wait_for(lambda: len(site.notes("started")) == 5)
    task = site.send("block", 60, time_limit=0.5)
    line = site.wait_log("stands still", f"coroutine_tasks.block[{task}]")
    assert "coroutine_tasks.py:" in line
    assert "in block()" in line
    assert isinstance(site.error(task), TimeLimitExceeded)
    wait_for(lambda: not lives(child), what="its process has ended")
    assert [site.get(id_) for id_ in others] == ["rested elsewhere"] * 5
    assert {site.crashes(id_) for id_ in others} == {0}


def test_the_limit_of_one_that_is_held_up_is_charged_to_the_one_that_holds_up(site):
    site.worker(**soon(1))
    held_up, guilty = new_id(), new_id()
    site.app.enqueue_many(  # together: the limit must not be over before the guilty one has begun
        [
            site.app.signature("coroutine_tasks.rest_once", task_id=held_up, time_limit=4),
            site.app.signature("coroutine_tasks.block", args=(60,), task_id=guilty),
        ]
    )
    wait_for(lambda: site.crashes(guilty) == 1, what="the one in the way has counted its child's end")
    assert site.get(held_up) == "rested elsewhere"
    assert site.crashes(held_up) == 0


def test_the_hard_limit_of_a_function_ends_its_child_and_it_pays_alone(site):
    site.worker()
    others = site.send_each("nap", [(1.5,)] * 5)
    wait_for(lambda: len(site.notes("started")) == 5)
    task = site.send("plain", 30, time_limit=0.3)
    assert isinstance(site.error(task), TimeLimitExceeded)
    for id_ in others:
        site.get(id_)
        assert site.crashes(id_) == 0


# -- the end of a task, of a child, of a worker ------------------------------------------------------------------------


def test_a_terminated_one_is_cancelled_and_no_other_notices(site):
    (child,) = children_of(site.worker().pid)
    others = site.send_each("nap", [(1.0,)] * 10)
    task = site.send("nap", 30)
    site.wait_started(task)
    site.app.control.revoke(task, terminate=True)
    assert isinstance(site.error(task), TaskRevokedError)
    wait_for(lambda: site.notes("left", task), what="its clean-up ran")
    assert {site.get(id_) for id_ in others} == {child}


def test_a_function_that_waits_for_a_thread_can_be_revoked(site):
    site.worker()
    go = site.folder / "go"
    ids = site.send_each("until", [(str(go),)] * 9)
    wait_for(lambda: len(site.notes("started")) == 8)
    (waiting,) = set(ids) - {line[1] for line in site.notes("started")}
    wait_for(lambda: site.state(waiting) is State.LEASED)
    site.app.control.revoke(waiting, reply=True, timeout=60)
    assert isinstance(site.error(waiting), TaskRevokedError)
    go.touch()
    assert len([site.get(id_) for id_ in ids if id_ != waiting]) == 8
    assert site.notes("started", waiting) == []


def test_sigusr1_is_a_soft_limit(site):
    site.worker()
    task = site.send("soft", 120)
    site.wait_started(task)
    (active,) = site.app.control.inspect(timeout=60).active().values()
    assert [one["id"] for one in active] == [task]
    site.app.control.revoke(task, terminate=True, signal="SIGUSR1")
    assert site.get(task) == "caught"


def test_the_one_that_kills_its_child_counts_that_alone(site):
    site.worker()
    others = site.send_each("nap", [(1.0,)] * 20)
    wait_for(lambda: len(site.notes("started")) == 20)
    task = site.send("die")
    wait_for(lambda: site.crashes(task) >= 1)
    for id_ in others:
        site.get(id_)
        assert site.crashes(id_) == 0


def test_a_killed_child_gives_all_back_uncounted(site):
    worker = site.worker()
    ids = site.send_each("rest_once", [()] * 20)  # a lone one that is killed would be counted
    wait_for(lambda: len(site.notes("started")) == 20)
    os.kill(children_of(worker.pid)[0], signal.SIGKILL)
    for id_ in ids:
        site.get(id_)
        assert site.crashes(id_) == 0


def test_what_runs_once_and_waits_for_a_thread_has_not_begun_and_runs_elsewhere(site):
    @site.app.task(name="coroutine_tasks.hold_once", acks_late=False)  # a sender that knows so
    def hold_once() -> None: ...

    worker = site.worker()
    ids = site.send_each("hold_once", [()] * 20)
    wait_for(lambda: len(site.notes("started")) == 8)  # one in each thread
    begun = {line[1] for line in site.notes("started")}
    os.kill(children_of(worker.pid)[0], signal.SIGKILL)
    for id_ in begun:
        assert isinstance(site.error(id_), WorkerLostError)
    with site.ledger.open("a") as ledger:
        ledger.write("go - 0\n")
    for id_ in set(ids) - begun:
        assert site.get(id_) == "held"
        assert site.crashes(id_) == 0


def test_a_lost_lease_cancels_its_coroutine(site):
    zombie = site.worker("-n", "zombie", WORKER_TEST_VISIBILITY_S="1.5")
    ids = site.send_each("nap", [(60,)] * 5)
    for id_ in ids:
        site.wait_started(id_)
    site.freeze_past_lease(zombie.pid, lease_s=1.5)
    heir = site.worker("-n", "heir", WORKER_TEST_VISIBILITY_S="30")
    for id_ in ids:
        site.wait_started(id_, times=2)
    assert len(site.notes("left")) == 0
    os.kill(zombie.pid, signal.SIGCONT)
    wait_for(lambda: len(site.notes("left")) == 5, what="the zombie has left them")
    assert {int(line[2]) for line in site.notes("left")} == set(children_of(zombie.pid))
    assert {site.state(id_) for id_ in ids} == {State.LEASED}
    assert site.end(heir, signal.SIGQUIT) == 1


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_its_children_may_start_afresh(site, method):
    worker = site.worker("--pool-start-method", method)
    ids = site.send_each("nap", [(0.5,)] * 50)
    pids = {site.get(id_) for id_ in ids}
    assert len(pids) == 1
    assert isinstance(site.error(site.send("nap", 30, time_limit=0.2)), TimeLimitExceeded)
    assert site.end(worker) == 0
    assert not lives(pids.pop())


def test_a_warm_end_finishes_what_runs_and_returns_what_waits(site):
    worker = site.worker()
    ids = site.send_each("nap", [(0.5,)] * 30)
    go = site.folder / "go"
    slow = site.send_each("until", [(str(go),)] * 12)
    wait_for(lambda: len(site.notes("started")) == 38, what="all coroutines and eight threads are busy")
    assert site.end_first(worker, go) == 0
    assert {site.state(id_) for id_ in ids} == {State.SUCCEEDED}
    assert Counter(site.state(id_) for id_ in slow) == {State.SUCCEEDED: 8, State.PENDING: 4}
    assert {site.crashes(id_) for id_ in [*ids, *slow]} == {0}


def test_a_cold_end_returns_all_uncounted(site):
    worker = site.worker()
    ids = site.send_each("nap", [(30,)] * 30)
    wait_for(lambda: len(site.notes("started")) == 30)
    assert site.end(worker, signal.SIGQUIT) == 1
    assert {site.state(id_) for id_ in ids} == {State.PENDING}
    assert {site.crashes(id_) for id_ in ids} == {0}


def test_a_child_leaves_after_its_tasks_while_another_takes_over(site):
    site.worker("--max-tasks-per-child", "20")
    ids = site.send_each("pid", [()] * 200)
    pids = [site.get(id_) for id_ in ids]
    assert all(pids.count(pid) <= 20 for pid in pids)
    assert {site.crashes(id_) for id_ in ids} == {0}


def test_a_child_leaves_when_it_has_grown(site):
    site.worker("--max-memory-per-child", str(150 << 10), "--coroutines", "1")
    ids = site.send_each("grow", [(60,)] * 6)
    pids = [site.get(id_) for id_ in ids]
    assert 2 <= len(set(pids)) <= 4
    assert {site.crashes(id_) for id_ in ids} == {0}


def test_it_grows_by_processes_when_all_places_are_taken(site):
    worker = site.worker("--autoscale", "3,1", "--coroutines", "10")
    site.send_each("nap", [(60,)] * 8)
    wait_for(lambda: len(site.notes("started")) == 8)
    assert len(children_of(worker.pid)) == 1
    site.send_each("nap", [(60,)] * 8)
    wait_for(lambda: len(site.notes("started")) == 16)
    assert len(children_of(worker.pid)) == 2


# -- what else a task may do -------------------------------------------------------------------------------------------


def test_progress_and_streams_are_told(site):
    site.worker()
    ids = site.send_each("reports", [(5,)] * 10)
    for id_ in ids:
        assert site.get(id_) == "told"
        assert [chunk.data for chunk in site.app.AsyncResult(id_).stream("words")] == [f"word {i}" for i in range(1, 6)]


def test_what_waits_for_the_file_holds_up_no_loop(site):
    site.worker()
    told = site.send("reports", 100)
    wait_for(lambda: site.app.AsyncResult(told).progress, what="it tells")
    go = site.folder / "go"
    ticks = site.send("ticks", str(go))
    site.wait_started(ticks)
    with site.app.storage.driver.write():
        before = len(site.notes("tick"))
        wait_for(lambda: len(site.notes("tick")) > before + 100, what="the loop goes round while nobody can write")
    go.touch()
    site.get(ticks)
    assert site.get(told) == "told"


def test_no_limit_hits_what_follows_the_body(site):
    """Its last report waits for the file, beyond the limit of the body."""
    site.worker()
    told = site.send("reports", 20, soft_time_limit=5.0, time_limit=5.5)
    wait_for(lambda: site.app.AsyncResult(told).progress, what="it tells")
    with site.app.storage.driver.write():
        time.sleep(7.0)
    assert site.get(told) == "told"


def test_a_batch_is_one_coroutine(site):
    site.worker()
    ids = site.send_each("together", [(i,) for i in (-1, *range(1, 20))])
    assert isinstance(site.error(ids[0]), ValueError)
    assert sum(1 / site.get(id_) for id_ in ids[1:]) <= 3


def test_workflows_go_their_way(site):
    site.worker()
    ids = site.send_each("counts", [(i,) for i in range(20)])
    assert [site.get(id_) for id_ in ids] == [i + 3 for i in range(20)]


def test_a_step_that_does_not_end_in_time_ends_its_process_and_only_it_has_failed(site):
    (child,) = children_of(site.worker(**soon(1)).pid)
    others = site.send_each("rest_once", [()] * 5)
    wait_for(lambda: len(site.notes("started")) == 5)
    run = site.send("gets_stuck", 7)
    wait_for(lambda: site.notes("stuck"))
    wait_for(lambda: not lives(child), what="its process has ended")
    assert isinstance(site.error(run), StepTimeout)
    for id_ in others:
        assert site.get(id_) == "rested elsewhere"
        assert site.crashes(id_) == 0


@pytest.mark.parametrize("seconds", [0.01, 30])
def test_a_plain_middleware_holds_a_thread_and_not_the_loop(site, seconds):
    (site.folder / "around.py").write_text(
        "import liteq, coroutine_tasks\n"
        "class Around(liteq.Middleware):\n"
        "    def on_execute(self, execution, run):\n"
        "        coroutine_tasks.note('around', execution.id)\n"
        "        return run(execution)\n"
        "coroutine_tasks.app.middleware.add(Around())\n"
    )
    (child,) = children_of(site.worker("-I", "around").pid)
    ids = site.send_each("nap", [(0.5,)] * 20)
    wait_for(lambda: len(site.notes("started")) == 20, what="more than there are threads for functions")
    limited = site.send("nap", seconds, time_limit=0.3)
    if seconds > 1:
        assert isinstance(site.error(limited), TimeLimitExceeded)
    assert {site.get(id_) for id_ in ids} == {child}
    wait_for(lambda: len(site.notes("around")) == 21, what="each has gone through it")


def test_coroutines_without_the_pool_are_refused(site):
    process = site.start("--coroutines", "10")
    assert process.wait(timeout=60) == 2
    assert "add -P asyncio" in site.log().read_text()
    process = site.start("-P", "asincio")
    assert process.wait(timeout=60) == 2
    assert "asyncio" in site.log(1).read_text()
