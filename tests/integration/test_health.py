"""`liteq health`: the probe of systemd, of Docker and of Kubernetes, beside real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteq.context.identity import boot_id, me
from liteq.monitor.health import PATIENCE_S, Health, health
from liteq.storage import open_driver
from liteq.storage.driver import Options
from liteq.worker.chores.heartbeat import Heartbeat

from .worker_process import HERE, Site, wait_for

HOLDS = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2].split(";"):
    held.execute(statement)
print("held", flush=True)
sys.stdin.read()
"""

NO_SERVER = "postgresql://nobody@127.0.0.1:1/nothing"  # nothing listens there

Probe = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def probe(site: Site) -> Probe:
    """`probe("--live")`: the exit code, and the document."""

    def run(*args: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "liteq", "-b", site.broker, "health", "--json", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert not done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`hold("BEGIN IMMEDIATE")`: another program runs that on the file, and keeps it until the test ends."""
    holders = []

    def begin(statements: str) -> None:
        command = [sys.executable, "-c", HOLDS, str(tmp_path / "queue.db"), statements]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout.readline() == "held\n"

    yield begin
    for one in holders:
        one.communicate()


def states(document: dict[str, Any]) -> list[str]:
    return [one["state"] for one in document["workers"]]


def look(site: Site, *, later_s: float = 0.0, ready: bool = False) -> Health:
    """The answer of a probe that is made so many seconds later."""
    now_ms = site.app.clock.now_ms() + int(later_s * 1000)
    driver = open_driver(site.broker, busy_timeout_s=PATIENCE_S)
    return health(driver, now_ms=now_ms, late_ms=60_000, ready=ready)


# -- beside a gateway ------------------------------------------------------------------------------------------------


def test_a_gateway_stands_in_for_no_worker(site, probe):
    site.app.storage.register_worker(me("gateway-1@here"), b'{"gateway": true, "queues": ["celery"], "stage": "ready"}')
    for flag in ("--live", "--ready"):
        code, document = probe(flag)
        assert (code, document["workers"], document["reason"]) == (69, [], "no worker of this host is on the file")
    assert probe("--live", "-n", "gateway-1@here")[0] == 0


# -- with a worker ---------------------------------------------------------------------------------------------------


def test_a_worker_that_takes_tasks_is_live_and_ready(site, probe):
    worker = site.worker("-c", "1")
    wait_for(lambda: probe()[0] == 0, what="it has told that it is ready")
    for flag in ("--live", "--ready"):
        code, document = probe(flag)
        assert (code, document["ok"], document["probe"]) == (0, True, flag[2:])
        assert [(one["pid"], one["state"]) for one in document["workers"]] == [(worker.pid, "ready")]


def test_a_quiet_worker_is_live_and_not_ready(site, probe):
    site.worker("-c", "1")
    site.app.control.quiet(reply=True, timeout=60)
    wait_for(lambda: states(probe("--ready")[1]) == ["quiet"], what="it tells that it is quiet")
    code, document = probe("--ready")
    assert code == 69
    assert "liteq control wake" in document["reason"]
    assert probe("--live")[0] == 0
    site.app.control.wake(reply=True, timeout=60)
    wait_for(lambda: probe("--ready")[0] == 0, what="it is ready again")


def test_a_worker_that_ends_is_live_until_its_task_is_done(site, probe):
    worker = site.worker("-c", "1")
    site.wait_started(site.send("nap", 60))
    worker.send_signal(signal.SIGTERM)
    wait_for(lambda: states(probe()[1]) == ["ending"], what="it tells that it ends")
    assert (probe("--live")[0], probe("--ready")[0]) == (0, 69)


def test_a_worker_that_is_busy_answers_all_the_same(site, probe):
    site.worker("-P", "solo")
    site.wait_started(site.send("nap", 60))
    assert probe("--live")[0] == 0


def test_a_killed_and_a_stopped_worker_are_not_live(site, probe):
    worker = site.worker("-c", "1")
    site.freeze(worker.pid)
    code, document = probe("--live")
    assert (code, states(document)) == (69, ["stopped"])
    worker.kill()
    worker.wait()
    code, document = probe("--live")
    assert (code, states(document)) == (69, ["gone"])
    assert "without a word" in document["reason"]


def test_a_worker_that_can_start_no_process_is_live_and_not_ready(site):
    """The machine has no number left for one, say: it goes on trying, and takes nothing until then."""
    site.app.storage.migrate()
    pool = SimpleNamespace(size=1, pids=list)
    worker = Heartbeat(
        site.app.storage, me("liteq@here"), visibility_s=60, result_expires_s=None, dead_expires_s=None, info=dict
    )

    def told(size: int, *pids: int) -> Health:
        pool.size, pool.pids = size, lambda: list(pids)
        worker.tell(ending=False, quiet=False, full=False, pool=pool)
        worker.beat([])
        assert look(site).ok
        return look(site, ready=True)

    assert told(1, os.getpid()).ok
    assert not told(1).ok
    assert "it cannot start its processes" in told(1).reason
    assert told(0).ok, "an autoscaler has left none, and starts one for what comes"


def test_one_of_several_is_asked_by_its_name(site, probe):
    site.worker("-c", "1", "-n", "mail@%h")
    wait_for(lambda: probe("-n", "mail@%h")[0] == 0, what="it is ready")
    code, document = probe("-n", "video@%h")
    assert (code, document["workers"]) == (69, [])
    assert "no worker video@" in document["reason"]


# -- of a worker that hangs ------------------------------------------------------------------------------------------


def test_a_worker_without_a_sign_of_life_hangs(site):
    site.worker("-c", "1")
    assert look(site).ok
    found = look(site, later_s=61)
    assert (found.ok, [one.state for one in found.workers]) == (False, ["silent"])


def test_a_worker_that_cannot_write_is_not_started_again(site, hold):
    site.worker("-c", "1")
    hold("BEGIN IMMEDIATE")
    found = look(site, later_s=61)
    assert (found.ok, [one.state for one in found.workers]) == (True, ["locked out"])
    assert "has the write lock" in found.reason
    assert not look(site, later_s=61, ready=True).ok


def test_a_worker_of_many_files_gives_no_sign_of_life_in_one_that_rests(site):
    site.app.storage.migrate()
    for name, facts in (("resting@here", b'{"rests": true}'), ("busy@here", b'{"rests": false}')):
        site.app.storage.register_worker(me(name), facts)
    assert [one.state for one in look(site, later_s=3_600).workers] == ["ready", "silent"]


def test_the_workers_of_other_containers_do_not_count(site):
    site.app.storage.migrate()
    here = me("liteq@here")
    boot, _, rest = boot_id().partition("/")
    for other in (replace(here, uuid="1", boot=f"{boot}/pid:[1]/time:[2]"), replace(here, uuid="2", boot=f"x/{rest}")):
        site.app.storage.register_worker(other, b"{}")
    assert look(site).workers == []


# -- of the file -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_absent_is_not_made(site, probe):
    code, document = probe("--live")
    assert code == 69
    assert "there is no file" in document["reason"]
    assert not list(site.folder.glob("queue.db*"))


def test_a_locked_file_is_told_with_its_holder(site, probe, hold):
    site.app.storage.migrate()
    site.app.close()
    hold("PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE")
    code, document = probe("--live")
    assert code == 69
    assert "the file is locked" in document["reason"]


def test_what_is_no_database_is_told(site, probe):
    (site.folder / "queue.db").write_bytes(b"no database, but long enough to look like one" * 100)
    code, document = probe("--live")
    assert code == 69
    assert "is not a SQLite database" in document["reason"]


def test_an_app_is_asked_where_nothing_else_names_the_file(site):
    site.app.storage.migrate()
    command = [sys.executable, "-m", "liteq", "-A", site.module, "health"]
    environment = {
        **os.environ, "WORKER_TEST_BROKER": site.broker, "WORKER_TEST_LEDGER": "x", "PYTHONPATH": str(HERE),
    }  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=site.folder, check=False)
    assert (done.returncode, "no worker of this host is on the file" in done.stderr) == (69, True)


def test_a_probe_loads_no_app(site, tmp_path):
    """A probe runs each few seconds: what it imports is most of what it takes."""
    site.app.storage.migrate()
    code = (
        "import sys; from liteq.cli import main; main(['health', '--live'], standalone_mode=False)\n"
        "print(*sorted({'liteq.app', 'liteq.storage.storage', 'liteq.worker', 'pydantic'} & set(sys.modules)))"
    )
    environment = {**os.environ, "LITEQ_BROKER_URL": site.broker, "LITEQ_APP": "no_such_module"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == ""


def test_a_server_that_does_not_answer_is_no_reason_to_start_a_worker_again() -> None:
    pytest.importorskip("psycopg")
    from liteq_postgres import ENGINE

    live, ready = (
        health(ENGINE.open(NO_SERVER, Options()), now_ms=0, late_ms=60_000, ready=ready) for ready in (False, True)
    )
    assert live.ok
    assert "a new worker could do no more" in live.reason
    assert not ready.ok
    assert "the server does not answer" in ready.reason
