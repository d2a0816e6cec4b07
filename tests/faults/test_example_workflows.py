"""The examples with workflows, as people start them, and killed: an agent at every write, an import at any moment."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from .harness import HERE, children_of, wait_for
from .sizes import size

EXAMPLES = HERE.parents[1] / "contrib" / "examples"
ITEMS = size("ETL_ITEMS", 300, 10_000)
KILLS = size("ETL_KILLS", 5, 60)
LIMIT = 20

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by /proc"),
]


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """`imported("agent", "assistant")`: a module of an example; its app is closed at the end."""
    modules: list[ModuleType] = []

    def load(example: str, name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(EXAMPLES / example))
        monkeypatch.delitem(sys.modules, name, raising=False)
        modules.append(importlib.import_module(name))
        return modules[-1]

    yield load
    for module in modules:
        sys.modules.pop(module.__name__, None)
        with suppress(AttributeError):
            module.app.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[object]:
    """`worker("etl", "nightly_etl")`: a worker of that app with two processes, killed at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(app: str, example: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(EXAMPLES / example), str(HERE), *sys.path])
        with (tmp_path / f"log-{len(running)}").open("wb") as log:
            command = [sys.executable, "-m", "liteq", "-A", app, "worker", "-c", "2", "-l", "INFO"]
            running.append(
                subprocess.Popen(
                    command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log, start_new_session=True
                )
            )
        return running[-1]

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_an_agent_that_is_killed_at_every_write_never_pays_twice(tmp_path, monkeypatch, imported, worker):
    bill, died = tmp_path / "bill", tmp_path / "died"
    died.mkdir()
    server = imported("agent", "model").serve(0, bill)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("AGENT_DATA", str(tmp_path))
    monkeypatch.setenv("AGENT_MODEL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("AGENT_DIED", str(died))
    try:
        agent = imported("agent", "assistant")
        run = agent.assistant.start("How is my day?")
        worker("agent_killed", "agent")
        assert run.result(timeout=240).startswith("I have looked at: weather 1 is fine; calendar 1 is fine; weather 2")
        again = agent.assistant.start("How is my day?")
        assert again.result(timeout=240) == run.result()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    places = sorted(path.name for path in died.iterdir())
    assert len(places) >= 2 * 9, places  # three answers, two rounds of two tools that are sent and that end
    assert {place.replace("before", "after") for place in places} == {p for p in places if p.startswith("after")}
    assert len(bill.read_text().splitlines()) == 3
    assert [step.memo for step in again.steps() if step.name == "assistant.ask_model"] == [True] * 3


def test_an_import_whose_processes_are_killed_loads_each_item(tmp_path, monkeypatch, imported, worker):
    monkeypatch.setenv("ETL_DATA", str(tmp_path))
    etl = imported("nightly_etl", "etl")
    loaded = tmp_path / "loaded"
    run = etl.nightly.start(ITEMS, LIMIT)
    process = worker("etl", "nightly_etl")
    for kill in range(1, KILLS + 1):
        enough = ITEMS * kill // (KILLS + 1)
        wait_for(lambda n=enough: loaded.exists() and len(loaded.read_bytes().splitlines()) >= n, within_s=240)
        if kill % 5 == 0:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = worker("etl", "nightly_etl")
        else:
            wait_for(lambda pid=process.pid: children_of(pid), within_s=60)
            with suppress(ProcessLookupError, IndexError):
                os.kill(children_of(process.pid)[0], signal.SIGKILL)

    report = Path(run.result(timeout=size("ETL_WAIT", 120, 600)))

    total = sum(n * n for n in range(ITEMS))
    assert report.read_text().endswith(f"total {total}, failed 0\n")
    times = Counter(loaded.read_text().split())
    assert times.keys() == {str(n) for n in range(ITEMS)}
    # A killed child repeats the item in it; a killed worker those whose ends it had not stored: at most LIMIT.
    workers = KILLS // 5
    assert sum(n - 1 for n in times.values()) <= 2 * (KILLS - workers) + LIMIT * workers


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("agent", "--ask", "How is my day?"), "paid so far: 3 calls"),
        (("nightly_etl", "--items", "50"), f"total {sum(n * n for n in range(50))}, failed 0"),
    ],
)
def test_an_example_is_one_command(tmp_path, command, said):
    env = {**os.environ, "AGENT_DATA": str(tmp_path), "ETL_DATA": str(tmp_path)}
    script = str(EXAMPLES / command[0] / "run.py")
    done = subprocess.run(
        [sys.executable, script, *command[1:]], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
