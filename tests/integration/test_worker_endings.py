"""How a worker ends, and how its parts are killed: what was running, what had not started, and the exit code."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import WorkerLostError
from liteq.states import State

from .engines import on_both_engines
from .worker_process import Site, children_of, lives, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc")


@pytest.fixture
def site(tmp_path: Path, broker: str) -> Iterator[Site]:
    site = Site(tmp_path, broker=broker)
    yield site
    site.close()


def untouched(site: Site, ids: list[str]) -> bool:
    records = [site.record(id_) for id_ in ids]
    return all((r.state, r.crashes, r.reaps, r.retries) == (State.PENDING, 0, 0, 0) for r in records)


@pytest.mark.celery("Workers: shutdown", "TERM is a warm shutdown: what runs is finished")
@on_both_engines
def test_term_finishes_what_runs_and_returns_what_has_not_started(site):
    worker = site.worker("-c", "1")
    go = site.folder / "go"
    running = site.send("until", str(go))
    site.wait_started(running)
    waiting = site.send_many("nap", [(0,)] * 5)
    assert site.end_first(worker, go) == 0
    assert site.state(running) is State.SUCCEEDED
    assert untouched(site, waiting)
    assert site.app.storage.reader.workers() == []
    assert site.notes("started") == site.notes("started", running)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_int_and_hup_are_as_term_also_for_the_whole_group(site, signum):
    """Ctrl-C in a terminal reaches every process of the group: the children are not to mind."""
    worker = site.worker("-c", "2")
    go = site.folder / "go"
    running = site.send("until", str(go))
    site.wait_started(running)
    os.killpg(worker.pid, signum)
    go.touch()
    assert worker.wait(timeout=60) == 0
    assert (site.state(running), site.record(running).crashes) == (State.SUCCEEDED, 0)
    assert len(site.notes("started", running)) == 1


@pytest.mark.celery("Workers: shutdown", "QUIT, or INT twice, is a cold one")
@pytest.mark.parametrize("signals", [(signal.SIGQUIT,), (signal.SIGINT, signal.SIGINT)])
def test_quit_or_int_twice_puts_back_what_runs_at_once(site, signals):
    worker = site.worker("-c", "2")
    running = [site.send("nap", 60), site.send("nap", 60)]
    for id_ in running:
        site.wait_started(id_)
    waiting = site.send_many("nap", [(0,)] * 3)
    began = time.monotonic()
    for n, signum in enumerate(signals):
        os.killpg(worker.pid, signum)
        if n + 1 < len(signals):
            wait_for(lambda: "Warm shutdown" in site.log().read_text())
    assert worker.wait(timeout=60) == 1
    assert time.monotonic() - began < 50, "of the 60 s that the tasks take"
    assert untouched(site, running + waiting)
    assert site.app.storage.reader.workers() == []


@pytest.mark.celery(
    "Workers: shutdown", "With `worker_soft_shutdown_timeout` a cold shutdown gives what runs that time"
)
@pytest.mark.parametrize(("seconds", "ends", "code"), [(30, "in-time", 0), (1, "late", 1)])
def test_a_soft_shutdown_gives_what_runs_some_time(site, seconds, ends, code):
    worker = site.worker("-c", "1", LITEQ_WORKER_SOFT_SHUTDOWN_TIMEOUT=str(seconds))
    running = site.send("until", str(site.folder / "in-time"))
    site.wait_started(running)
    waiting = site.send_many("nap", [(0,)] * 3)
    assert site.end_first(worker, site.folder / ends, signal.SIGQUIT) == code
    assert ("Cold shutdown" in site.log().read_text()) == bool(code)
    assert untouched(site, waiting if code == 0 else [*waiting, running])
    assert site.state(running) is (State.SUCCEEDED if code == 0 else State.PENDING)


@pytest.mark.celery("Workers: shutdown", "REMAP_SIGTERM=SIGQUIT: TERM is as QUIT; QUIT twice does not wait either")
def test_term_as_quit_and_quit_twice(site):
    worker = site.worker("-c", "1", LITEQ_WORKER_SOFT_SHUTDOWN_TIMEOUT="30", REMAP_SIGTERM="SIGQUIT")
    running = site.send("nap", 30)
    site.wait_started(running)
    worker.send_signal(signal.SIGTERM)
    wait_for(lambda: "Soft shutdown" in site.log().read_text())
    assert site.end(worker, signal.SIGTERM) == 1
    assert untouched(site, [running])


@pytest.mark.celery("Workers: shutdown", "With `task_reject_on_worker_lost=False` a task whose process died has failed",
                    differs="only where it is said: Celery does so by default")  # fmt: skip
def test_a_task_that_is_not_to_run_again_fails_when_its_process_dies(site):
    site.worker("-c", "1", LITEQ_TASK_REJECT_ON_WORKER_LOST="false")
    lost = site.send("die")
    assert isinstance(site.error(lost), WorkerLostError)
    assert (site.state(lost), len(site.notes("started", lost))) == (State.DEAD, 1)


@pytest.mark.celery(
    "Workers: shutdown",
    "A task whose process was killed runs again",
    differs="by default; Celery loses it unless acks_late and reject_on_worker_lost are set",
)
def test_a_killed_child_is_replaced_and_its_task_runs_again_within_a_second(site):
    worker = site.worker("-c", "2")
    go = site.folder / "go"
    victim, other = site.send("until", str(go)), site.send("until", str(go))
    pid = site.wait_started(victim)
    other_pid = site.wait_started(other)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    again = site.wait_started(victim, times=2)
    assert time.monotonic() - killed < 50, "long before its lease of a minute runs out"
    assert again != pid
    assert other_pid in children_of(worker.pid)
    go.touch()
    assert (site.get(victim), site.get(other)) == (again, other_pid)
    assert (site.record(victim).crashes, site.record(other).crashes) == (1, 0)
    assert len(site.notes("started", other)) == 1


@pytest.mark.celery(
    "Workers: shutdown",
    "A task that kills its process each time is given up",
    differs="after `max_crashes`, as a dead letter; Celery runs it for ever",
)
@on_both_engines
def test_a_task_that_kills_its_process_ends_as_a_dead_letter_and_the_rest_is_done(site):
    site.worker("-c", "2")
    poison = [site.send("die"), site.send("leave", "os._exit")]
    good = site.send_many("add", [(i, i) for i in range(100)])
    for id_ in poison:
        assert isinstance(site.error(id_), WorkerLostError)
        assert (site.state(id_), len(site.notes("started", id_))) == (State.DEAD, 3)
    assert [site.get(id_) for id_ in good] == [2 * i for i in range(100)]


def test_a_killed_parent_takes_its_children_along_and_a_new_worker_has_its_tasks_at_once(site):
    """By the identity of the dead process, long before the visibility timeout of a minute."""
    worker = site.worker("-c", "2")
    running = [site.send("nap", 120), site.send("nap", 120)]
    pids = [site.wait_started(id_) for id_ in running]
    os.kill(worker.pid, signal.SIGKILL)  # and nobody waits for it: it stays as a zombie
    wait_for(lambda: not any(map(lives, pids)), what="the children died with their parent")
    started = time.monotonic()
    site.worker("-c", "2")
    for id_ in running:
        site.wait_started(id_, times=2)
    assert time.monotonic() - started < 50
    assert [(site.record(id_).crashes, site.record(id_).reaps) for id_ in running] == [(0, 1), (0, 1)]
    assert len(site.app.storage.reader.workers()) == 1


def test_a_worker_that_slept_past_its_lease_finds_its_task_with_another(site):
    zombie = site.worker("-c", "1", "-n", "zombie", WORKER_TEST_VISIBILITY_S="1.5")
    go = site.folder / "go"
    task = site.send("until", str(go))
    child = site.wait_started(task)
    site.freeze_past_lease(zombie.pid, lease_s=1.5)
    site.worker("-c", "1", "-n", "heir", WORKER_TEST_VISIBILITY_S="30")
    heir_child = site.wait_started(task, times=2)
    assert heir_child != child
    os.kill(zombie.pid, signal.SIGCONT)
    wait_for(lambda: not lives(child), what="the zombie stopped its child")
    go.touch()
    assert site.get(task) == heir_child
    assert [int(line[2]) for line in site.notes("finished", task)] == [heir_child]
    assert site.record(task).crashes == 0
    assert site.get(site.send("add", 1, 1)) == 2
    assert site.end(zombie) == 0


def test_a_late_acknowledgement_is_thrown_away(site):
    """Only the parent is stopped: its child goes on, and reports while the task belongs to another worker."""
    zombie = site.worker("-c", "1", "-n", "zombie", WORKER_TEST_VISIBILITY_S="1")
    go = site.folder / "go"
    task = site.send("until", str(go))
    child = site.wait_started(task)
    site.freeze_past_lease(zombie.pid, lease_s=1.0)
    go.touch()
    wait_for(lambda: site.notes("finished", task), what="the child has reported into the void")
    site.worker("-c", "1", "-n", "heir", WORKER_TEST_VISIBILITY_S="30")
    heir_child = site.wait_started(task, times=2)
    os.kill(zombie.pid, signal.SIGCONT)
    assert site.get(task) == heir_child != child
    wait_for(lambda: "lost to another worker" in site.log().read_text() or "lost" in site.log().read_text())


def test_it_is_listed_while_it_lives_and_its_processes_bear_names(site):
    worker = site.worker("-c", "2", "-n", "w1@here", "-Q", "celery,other")
    (record,) = site.app.storage.reader.workers()
    assert (record.name, record.pid, record.leased) == ("w1@here", worker.pid, 0)
    wait_for(lambda: len(children_of(worker.pid)) == 2)
    titles = ["liteq: w1@here (prefork)", "liteq: w1@here child 1", "liteq: w1@here child 2"]
    wait_for(lambda: _titles(worker.pid) == titles)  # a child bears its parent's for its first moment
    os.kill(children_of(worker.pid)[0], signal.SIGKILL)
    wait_for(lambda: any("child 3" in title for title in _titles(worker.pid)), what="a number is not used twice")
    site.send("logs", "hello")
    wait_for(lambda: "hello" in site.log().read_text())
    (line,) = [line for line in site.log().read_text().splitlines() if "hello" in line]
    assert "/ForkPoolWorker-" in line
    assert site.end(worker) == 0
    assert site.app.storage.reader.workers() == []
    assert len(site.notes("process_init")) == 3
    assert len(site.notes("process_shutdown")) == 2


def _titles(pid: int) -> list[str]:
    def title(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:  # it has ended since it was listed
            return ""

    found = [title(pid), *sorted(title(child) for child in children_of(pid))]
    return found if all(text.startswith("liteq: ") for text in found) else []


def test_an_app_that_cannot_be_imported_is_one_clear_line(site):
    (site.folder / "broken.py").write_text("import nothing_such\n")
    worker = site.start("-I", "broken")
    assert worker.wait(timeout=60) == 78
    *trace, line = site.log().read_text().splitlines()
    assert line.startswith("liteq: error: ")
    assert "nothing_such" in line
    assert any("broken.py" in above for above in trace), "and above it where that is, in the user's own files"
    assert not any("find_app.py" in above for above in trace)
