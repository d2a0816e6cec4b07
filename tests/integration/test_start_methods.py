"""`--pool-start-method`: children that are started afresh find their app, and end as forked ones do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.worker import Worker

from .worker_process import Site, children_of, lives, wait_for

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]
AFRESH = pytest.mark.parametrize("method", ["forkserver", "spawn"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "pool_tasks")
    yield site
    site.close()


def write(site: Site, module: str, text: str) -> None:
    (site.folder / f"{module}.py").write_text(text)


def result(site: Site, task: str) -> object:
    return site.get(str(site.app.send_task(task).id), 30)


def run_script(site: Site, text: str, *args: str) -> subprocess.Popen[bytes]:
    """Run a script that is a worker of pool_tasks.py."""
    write(site, "script", text)
    env = {**os.environ, "WORKER_TEST_BROKER": site.broker, "WORKER_TEST_LEDGER": str(site.ledger)}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with site.log().open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "script.py", *args], cwd=site.folder, env=env, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    site.workers.append(process)
    return process


@AFRESH
def test_a_child_imports_the_app_itself_and_a_forked_one_has_the_workers(site, method):
    write(site, "where", "import os\nfrom pool_tasks import app\nIMPORTED_BY = os.getpid()\n\n"
          "@app.task\ndef imported():\n    return IMPORTED_BY, os.getpid()\n")  # fmt: skip
    worker = site.worker("-c", "1", "-I", "where", "--pool-start-method", method)
    importer, runner = result(site, "where.imported")
    assert importer == runner != worker.pid
    site.end(worker)
    worker = site.worker("-c", "1", "-I", "where", "--pool-start-method", "fork")
    assert result(site, "where.imported")[0] == worker.pid


@AFRESH
def test_a_script_that_defines_its_app_can_be_the_worker(site, method):
    process = run_script(
        site,
        "import os, sys\nfrom liteq import LiteQ\n"
        f"app = LiteQ('shop', broker={site.broker!r})\n"
        "@app.task\ndef where():\n    return __name__\n"
        "if __name__ == '__main__':\n"
        "    app.worker_main(['worker', '-c', '1', '--pool-start-method', sys.argv[1]])\n",
        method,
    )
    assert result(site, "shop.where") == "__mp_main__"
    assert site.end(process) == 0


@AFRESH
def test_the_settings_of_the_workers_process_are_those_of_its_children(site, method):
    process = run_script(
        site,
        "import sys\nfrom pool_tasks import app\nfrom liteq.worker import Worker\n"
        "if __name__ == '__main__':\n"
        "    app.conf.task_default_priority = 7\n"
        "    app.conf.task_routes = [lambda *a, **k: None]\n"  # that one cannot be sent
        "    Worker(app, concurrency=1, pool_start_method=sys.argv[1]).run()\n",
        method,
    )
    assert result(site, "pool_tasks.default_priority") == 7
    assert site.end(process) == 0


def test_a_script_that_starts_its_worker_unguarded_does_not_start_them_without_end(site):
    process = run_script(
        site,
        "from pool_tasks import app\nfrom liteq.worker import Worker\napp.task(lambda: None, name='of.the.script')\n"
        "Worker(app, concurrency=1, pool_start_method='spawn').run()\n",
    )
    wait_for(lambda: "put that line under" in site.log().read_text(), what="it says what to do")
    assert len(children_of(process.pid)) <= 1
    assert site.end(process) == 0


def test_tasks_that_the_children_do_not_know_are_named(site):
    run_script(
        site,
        "from pool_tasks import app\nfrom liteq.worker import Worker\n"
        "if __name__ == '__main__':\n"
        "    app.task(lambda: None, name='late.comer')\n"
        "    Worker(app, concurrency=1, pool_start_method='spawn').run()\n",
    )
    assert site.get(site.send("add", 1, 1), 30) == 2
    assert "a process that is started afresh (spawn) does not know late.comer" in site.log().read_text()


def test_a_killed_fork_server_is_started_anew_and_nothing_is_lost(site, tmp_path):
    worker = site.worker("-c", "2", "--pool-start-method", "forkserver")
    ids = [str(site.app.send_task("pool_tasks.stuck_at_first").id) for _ in range(2)]
    pids = [site.wait_started(id_) for id_ in ids]
    [server] = children_of(worker.pid)
    assert set(pids) <= set(children_of(server))
    os.kill(server, signal.SIGKILL)
    assert all(site.get(id_) not in pids for id_ in ids)
    assert not any(map(lives, [server, *pids]))
    assert len(children_of(worker.pid)) == 1
    assert site.end(worker) == 0


@AFRESH
def test_an_app_that_its_children_cannot_import_makes_no_circle(site, method):
    write(site, "sick", "import os\nif os.path.exists('ill') and os.environ.get('SICK'):\n    os._exit(1)\n")
    worker = site.worker("-c", "1", "-I", "sick", "--pool-start-method", method, SICK="1")
    assert site.get(site.send("add", 1, 1), 30) == 2
    (site.folder / "ill").touch()
    [pid] = {site.get(site.send("pid"), 30)}
    os.kill(pid, signal.SIGKILL)
    log = site.log()
    wait_for(lambda: log.read_text().count("exit code 1") >= 3, what="it tries again")
    id_ = site.send("add", 2, 2)
    (site.folder / "ill").unlink()
    assert site.get(id_) == 4
    assert site.record(id_).crashes == 0
    assert site.end(worker) == 0


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_the_log_of_a_child_is_the_workers(site, method):
    site.worker("-c", "1", "--pool-start-method", method)
    site.get(site.send("logs", "of the shop"), 30)
    wait_for(lambda: "of the shop" in site.log().read_text(), what="its log is there")
    [line] = [line for line in site.log().read_text().splitlines() if "of the shop" in line]
    assert line.startswith("[2")
    assert ("SpawnPoolWorker-1" if method == "spawn" else "ForkServerPoolWorker-1") in line


def test_an_app_that_no_module_has_is_refused_with_what_to_do(tmp_path):
    app = LiteQ("hidden", broker=f"sqlite:///{tmp_path}/queue.db")
    app.task(lambda: None, name="hidden.task")
    with pytest.raises(ImproperlyConfigured, match=r"at the top level of a module, or use the start method fork"):
        Worker(app, concurrency=1, pool_start_method="spawn").run()
    with pytest.raises(ImproperlyConfigured, match=r"unknown start method 'sprawn'.*did you mean 'spawn'"):
        Worker(app, concurrency=1, pool_start_method="sprawn").run()
    with pytest.raises(ImproperlyConfigured, match=r"unknown pool 'thread'.*did you mean 'threads'"):
        Worker(app, concurrency=1, pool="thread").run()
    app.close()


def test_the_setting_and_the_option_say_which(site):
    write(site, "choice", "from worker_tasks import app\napp.conf.worker_pool_start_method = 'spawn'\n")
    site.module = "choice"
    site.worker("-c", "1")
    assert site.get(site.send("add", 1, 1), 30) == 2
    wait_for(lambda: "INFO/SpawnPoolWorker-1" in site.log().read_text(), what="that child tells of its task")
    done = subprocess.run(
        [sys.executable, "-m", "liteq", "worker", "--pool-start-method", "forksrver"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "nearest: 'forkserver'" in done.stderr
