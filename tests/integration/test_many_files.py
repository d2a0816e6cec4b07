"""One worker for many files: real workers, real files. A thousand of them: tests/integration/test_thousand_files.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.app.files.patterns import Patterns
from liteq.exceptions import ImproperlyConfigured
from liteq.states import State
from tests.integration.worker_process import HERE, Site, children_of, wait_for

pytestmark = pytest.mark.filterwarnings("error")

POOLS = ["prefork", "threads", "asyncio"]


class Tenants(Site):
    """A folder of files, and workers on all of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "files_app")
        (folder / "tenants").mkdir()
        self.app = LiteQ("client")

    def path(self, name: str) -> Path:
        return self.folder / "tenants" / f"{name}.db"

    def to(self, name: str, task: str, *args: Any, **options: Any) -> Any:
        """Send `files_app.<task>` to the file of a tenant; its result."""
        with self.app.using(self.path(name)):
            return self.app.send_task(f"files_app.{task}", args=args, **options)

    def start(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        return super().start("--db", "tenants/*.db", *args, **env)

    def cli(self, name: str, *args: str) -> subprocess.CompletedProcess[str]:
        """`liteq ARGS` on the file of a tenant."""
        command = [sys.executable, "-m", "liteq", "-b", f"sqlite:///{self.path(name)}", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder)

    def open_files(self, pid: int) -> list[str]:
        """The files of tenants that a process has open, each as often as it has."""
        found = []
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(fd)
            except OSError:
                continue
            if "/tenants/" in target:
                found.append(Path(target).name)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Tenants]:
    site = Tenants(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_of_each_file_run_and_say_where_they_came_from(site: Tenants, pool: str) -> None:
    results = {name: site.to(name, "where") for name in ("a", "b", "c")}
    site.worker("-c", "2", "-P", pool)
    assert {name: result.get(timeout=60) for name, result in results.items()} == {
        name: str(site.path(name)) for name in results
    }


@pytest.mark.parametrize("pool", POOLS)
def test_what_a_task_sends_goes_to_the_file_it_came_from_unless_it_says_another(site: Tenants, pool: str) -> None:
    site.worker("-c", "2", "-P", pool)
    sent = site.to("a", "sends").get(timeout=60)
    elsewhere = site.to("a", "sends", str(site.path("b"))).get(timeout=60)
    with site.app.using(site.path("a")):
        assert site.app.AsyncResult(sent).get(timeout=60) == str(site.path("a"))
        assert not site.app.AsyncResult(elsewhere).exists()
    with site.app.using(site.path("b")):
        assert site.app.AsyncResult(elsewhere).get(timeout=60) == str(site.path("b"))


@pytest.mark.parametrize("pool", POOLS)
def test_retries_states_chains_and_chords_stay_in_their_file(site: Tenants, pool: str) -> None:
    site.worker("-c", "2", "-P", pool)
    for name in ("a", "b"):
        with site.app.using(site.path(name)):
            one = site.app.signature
            chain = one("files_app.add", (1, 1)) | one("files_app.add", (1,)) | one("files_app.add", (1,))
            chord = site.app.GroupResult, [one("files_app.add", (n, n)) for n in range(4)]
            from liteq import chord as chord_of

            assert chain.apply_async().get(timeout=60) == 4
            assert chord_of(chord[1], one("files_app.total")).apply_async().get(timeout=60) == 12
            assert one("files_app.tries_again").apply_async().get(timeout=60) == [2, str(site.path(name))]
            assert one("files_app.takes_another_place").apply_async().get(timeout=60) == 5
            told = one("files_app.tells").apply_async()
            assert told.get(timeout=60) is None
            assert told.progress is not None
            assert told.progress.done == 3


@pytest.mark.parametrize("pool", POOLS)
def test_a_batch_is_of_one_file_alone(site: Tenants, pool: str) -> None:
    sent = {name: [site.to(name, "together", f"{name}{n}") for n in range(4)] for name in ("a", "b")}
    site.worker("-c", "2", "-P", pool)
    for name, results in sent.items():
        for n, result in enumerate(results):
            members, own = result.get(timeout=60)
            assert own == f"{name}{n}"
            assert {member[0] for member in members} == {name}


@pytest.mark.parametrize("pool", POOLS)
def test_runs_of_workflows_stay_in_their_file_with_their_steps_and_what_those_send(site: Tenants, pool: str) -> None:
    runs = {name: site.to(name, "doubles", n) for n, name in enumerate(("a", "b"), 1)}
    site.worker("-c", "2", "-P", pool)
    for n, (name, run) in enumerate(runs.items(), 1):
        total, called, sent = run.get(timeout=60)
        assert (total, called) == (4 * n, str(site.path(name)))
        with site.app.using(site.path(name)):
            assert site.app.AsyncResult(sent).get(timeout=60) == str(site.path(name))


def test_a_hard_limit_kills_the_process_and_fails_the_task_in_its_file(site: Tenants) -> None:
    site.worker("-c", "2")
    hanging, other = site.to("a", "hangs"), site.to("b", "sleeps", 2.0)
    assert type(site_error(hanging)).__name__ == "TimeLimitExceeded"
    assert other.get(timeout=60) == "slept"


def site_error(result: Any) -> BaseException:
    with pytest.raises(Exception) as raised:
        result.get(timeout=60)
    return raised.value


def test_a_new_file_is_found_and_one_that_goes_is_no_trouble(site: Tenants) -> None:
    site.to("a", "where").forget()
    site.worker("-c", "1")
    assert site.to("later", "where").get(timeout=60) == str(site.path("later"))
    for path in (site.folder / "tenants").glob("later.db*"):
        path.unlink()
    wait_for(lambda: "later.db has gone" in site.log().read_text())
    assert site.to("a", "where").get(timeout=60) == str(site.path("a"))


def test_a_damaged_file_is_set_aside_with_its_reason_and_the_others_go_on(site: Tenants) -> None:
    site.path("bad").write_bytes(b"this is no database" * 1000)
    result = site.to("a", "where")
    site.worker("-c", "1")
    assert result.get(timeout=60) == str(site.path("a"))
    wait_for(lambda: "bad.db is set aside" in site.log().read_text())
    assert "not a SQLite database" in site.log().read_text()
    told = wait_for(lambda: "bad.db" in (found := site.cli("a", "status").stderr) and found)
    assert "has set 1 file aside" in told
    assert "not a SQLite database" in told
    assert "not a SQLite database" in site.cli("a", "inspect", "stats").stdout
    site.path("bad").unlink()
    assert site.to("bad", "where").get(timeout=60) == str(site.path("bad")), "it is tried again"


def test_files_at_rest_hold_no_descriptor_and_wake_by_a_ring_a_due_time_and_a_write(site: Tenants) -> None:
    names = [f"t{n}" for n in range(12)]
    for name in names:
        site.to(name, "where")
    worker = site.worker("-c", "1")
    assert site.to("last", "where").get(timeout=60) == str(site.path("last"))
    wait_for(lambda: not site.open_files(worker.pid), what="all files are closed")
    assert len(list(Path(f"/proc/{worker.pid}/fd").iterdir())) < 25
    assert site.to("t3", "where").get(timeout=60) == str(site.path("t3"))
    due = site.to("t4", "where", countdown=4)
    wait_for(lambda: not site.open_files(worker.pid), what="all files are closed, that one too")
    assert due.get(timeout=60) == str(site.path("t4"))


def test_a_ring_that_is_lost_costs_a_few_seconds_only(site: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.worker("-c", "1")
    assert site.to("a", "where").get(timeout=60) == str(site.path("a"))
    wait_for(lambda: not site.open_files(worker.pid), what="the file is closed")
    with site.app.using(site.path("a")):
        monkeypatch.setattr(type(site.app.storage.driver), "ring", lambda _driver, _bell: None)
        result = site.app.send_task("files_app.where")
    assert result.get(timeout=60) == str(site.path("a"))


def test_a_message_that_comes_as_its_file_is_closed_and_rings_in_vain_is_found(site: Tenants) -> None:
    site.ledger.touch()
    site.worker("-c", "1", FILES_APP_SENDS_AT_REST="1")
    assert site.to("a", "where").get(timeout=60) == str(site.path("a"))
    wait_for(lambda: site.notes("sent"), what="it rests")
    ((_, sent),) = site.notes("sent")
    with site.app.using(site.path("a")):
        assert site.app.AsyncResult(sent).get(timeout=60) == str(site.path("a"))


def test_a_worker_at_rest_is_shown_as_living_and_answers(site: Tenants) -> None:
    worker = site.worker("-c", "1")
    assert site.to("a", "where").get(timeout=60) == str(site.path("a"))
    wait_for(lambda: not site.open_files(worker.pid))
    found = site.cli("a", "status", "-t", "60")
    assert "1 node online" in found.stdout, found


def test_its_pool_is_scaled_and_that_is_changed_by_way_of_any_file(site: Tenants) -> None:
    site.worker("--autoscale", "3,1", "-P", "threads", "-n", "w@here")
    assert site.to("a", "where").get(timeout=60) == str(site.path("a"))
    with site.app.using(site.path("a")):
        [refused] = site.app.control.pool_grow(1, reply=True, timeout=60)
        [answer] = site.app.control.autoscale(2, 2, reply=True, timeout=60)
    assert "not supported with autoscale" in refused["w@here"].get("error", "")
    assert answer == {"w@here": {"ok": "autoscale now max=2 min=2"}}


@pytest.mark.parametrize("pool", POOLS)
def test_many_tasks_of_many_files_run_once_each(site: Tenants, pool: str) -> None:
    names, each = [f"t{n}" for n in range(8)], 150
    results = []
    for name in names:
        with site.app.using(site.path(name)):
            results.append([site.app.send_task("files_app.counted", args=(name, n)) for n in range(each)])
    site.worker("-c", "3", "-P", pool)
    for name, sent in zip(names, results, strict=True):
        for result in sent:
            assert result.get(timeout=60) == name
    runs = sorted(tuple(line[1:]) for line in site.notes("ran"))
    assert runs == sorted((name, str(n)) for name in names for n in range(each))


def test_a_busy_file_does_not_hold_up_the_others(site: Tenants) -> None:
    with site.app.using(site.path("busy")):
        site.app.enqueue_many([site.app.signature("files_app.sleeps", (0.02,)) for _ in range(6_000)])
    site.to("quiet", "where")
    site.worker("-c", "2")
    wait_for(lambda: site.app.using and "received" in site.log().read_text())
    for _ in range(5):
        assert site.to("quiet", "where").get(timeout=60) == str(site.path("quiet"))
    with site.app.using(site.path("busy")):
        left = sum(count.n for count in site.app.storage.reader.counts() if count.state is State.PENDING)
    assert left > 500, "the busy one was at work all the time"


def test_a_child_that_is_killed_costs_its_own_file_one_crash(site: Tenants) -> None:
    worker = site.worker("-c", "2")
    go = site.folder / "go"
    slow, other = site.to("a", "waits", str(go)), site.to("b", "waits", str(go))
    pid = wait_for(lambda: len(found := site.notes("sleeps")) == 2 and int(found[0][2]))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(site.notes("sleeps")) == 3, what="it runs again")
    go.touch()
    assert slow.get(timeout=60) == other.get(timeout=60) == "slept"
    assert worker.poll() is None
    assert len(site.notes("sleeps")) == 3


def test_a_warm_stop_finishes_what_runs_in_each_file_and_gives_back_the_rest(site: Tenants) -> None:
    results = [site.to(name, "sleeps", 0.5) for name in ("a", "b") for _ in range(4)]
    worker = site.worker("-c", "2")
    wait_for(lambda: len(site.notes("sleeps")) >= 2)
    assert site.end(worker) == 0
    done = [result.ready() for result in results]
    assert sum(done) == len(site.notes("sleeps"))
    for name in ("a", "b"):
        with site.app.using(site.path(name)):
            counts = {count.state: count.n for count in site.app.storage.reader.counts()}
            assert State.LEASED not in counts
            assert site.app.storage.reader.workers() == []


def test_what_ends_in_the_last_second_of_a_worker_is_counted(site: Tenants) -> None:
    worker = site.worker("-c", "2", "-P", "threads")
    site.to("a", "sleeps", 0.5)
    wait_for(lambda: site.notes("sleeps"))
    assert site.end(worker) == 0
    with site.app.using(site.path("a")):
        counted = {one.outcome: one.tally.n for one in site.app.storage.stats.totals() if one.task}
    assert counted == {"sent": 1, "succeeded": 1}


def test_a_killed_worker_s_leases_come_back_in_every_file(site: Tenants) -> None:
    results = [site.to(name, "sleeps", 2.0) for name in ("a", "b")]
    worker = site.worker("-c", "2")
    wait_for(lambda: len(site.notes("sleeps")) == 2)
    children = children_of(worker.pid)
    worker.kill()
    worker.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    site.worker("-c", "2")
    assert [result.get(timeout=60) for result in results] == ["slept", "slept"]


def test_a_revoked_task_of_one_file_is_ended_there_alone(site: Tenants) -> None:
    site.worker("-c", "2")
    ended, other = site.to("a", "sleeps", 60.0), site.to("b", "sleeps", 1.0)
    wait_for(lambda: len(site.notes("sleeps")) == 2)
    ended.revoke(terminate=True)
    wait_for(lambda: ended.state == "REVOKED")
    assert other.get(timeout=60) == "slept"


@pytest.mark.parametrize("pool", ["solo"])
def test_a_pool_that_cannot_share_says_so(site: Tenants, pool: str) -> None:
    process = site.start("-P", pool)
    assert process.wait(timeout=60) == 78
    assert "runs prefork, asyncio or threads, and not solo" in site.log().read_text()


def test_a_folder_that_is_not_there_is_refused_with_the_nearest(site: Tenants) -> None:
    command = [sys.executable, "-m", "liteq", "-A", "files_app", "worker", "--db", "tenant/*.db"]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=site.folder,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    assert found.returncode == 78
    assert "there is no folder" in found.stderr
    assert f"did you mean {site.folder}/tenants?" in found.stderr
    with pytest.raises(ImproperlyConfigured, match=r"is a folder: name a file in it, or its files as '.*/\*\.db'"):
        Patterns([str(site.folder)])


def test_beat_sends_the_schedule_of_each_file_into_that_file(site: Tenants) -> None:
    for name in ("a", "b"):
        site.to(name, "where").forget()
    site.worker("-c", "1", "-B", FILES_APP_BEAT="1")
    wait_for(lambda: {line[1] for line in site.notes("ticked")} == {str(site.path("a")), str(site.path("b"))})
