"""Agents whose processes are killed: a recorded answer is not paid again, a recorded tool does not run again."""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.faults.harness import children_of, wait_for
from tests.faults.sizes import size

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
KILLS = size("AGENT_KILLS", 8, 200)
ANSWER = "I have done this: order 7; order 8; 20 of 7."
TOOLS = ["look_up-7", "look_up-8", "refund"]

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by /proc"),
]


class Drill:
    """A model server, workers, and the app as a client."""

    code: ModuleType

    def __init__(self, folder: Path, path: list[str]) -> None:
        self.folder = folder
        self.path = path
        self.workers: list[subprocess.Popen[bytes]] = []

    def worker(self, processes: int = 2) -> subprocess.Popen[bytes]:
        """A worker of the app; a kill of its parent lets its leases run out soon."""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(self.path)}
        env |= {"LITEQ_VISIBILITY_TIMEOUT": "3", "LITEQ_MAX_CRASHES": "1000"}
        command = [sys.executable, "-m", "liteq", "-A", "killed_app", "worker", "-c", str(processes), "-l", "INFO"]
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            self.workers.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))
        return self.workers[-1]

    def bill(self, question: str) -> list[int]:
        """How far the conversation was, for each request that was paid."""
        path = self.folder / "bill"
        lines = [line.split(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []
        return [int(said) for said, asked in lines if asked == question]

    def ledger(self, run_id: str) -> list[tuple[str, str]]:
        """The tools that ran for a run, in their order, each with its step_key."""
        path = self.folder / "ledger"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(what, step_key) for what, run, _, step_key in lines if run == run_id]

    def approve_all(self, runs: list[Any]) -> None:
        """Say yes to whatever these runs ask for."""
        for run in runs:
            for asked in run.approvals():
                run.approve(asked.title, True, by="ann")

    def ended(self, runs: list[Any], within_s: float = 240.0) -> None:
        """Until these runs have ended, with a yes to whatever they ask for."""

        def over() -> bool:
            self.approve_all(runs)
            return all(run.ready() for run in runs)

        try:
            wait_for(over, within_s=within_s)
        except AssertionError:
            logs = "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))
            raise AssertionError(f"not ended: {[run.status for run in runs]}; {logs[-4_000:]}") from None

    def kill(self, rng: random.Random) -> None:
        """Kill a process that executes, or now and then a worker with all of its own."""
        worker = self.workers[-1]
        if rng.random() < 0.05:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            self.worker()
            return
        children = children_of(worker.pid)
        if children:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(children), signal.SIGKILL)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """A model server that takes its time, a worker, and the app as a client of them: one for all tests here."""
    tmp_path, monkeypatch = tmp_path_factory.mktemp("drill"), pytest.MonkeyPatch()
    example = ROOT / "contrib" / "examples" / "pydantic_agent"
    monkeypatch.syspath_prepend(str(example))
    monkeypatch.syspath_prepend(str(HERE))
    for name in ("model", "killed_app"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    server = importlib.import_module("model").serve(0, tmp_path / "bill", delay_s=0.1)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("DRILL_FOLDER", str(tmp_path))
    monkeypatch.setenv("DRILL_MODEL", f"http://127.0.0.1:{server.server_port}/")
    drill = Drill(tmp_path, [str(HERE), str(example), str(ROOT), *sys.path])
    try:
        drill.code = importlib.import_module("killed_app")
        drill.worker()
        yield drill
    finally:
        for worker in drill.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        drill.code.app.close()
        server.shutdown()
        thread.join()
        server.server_close()
        monkeypatch.undo()
        for name in ("model", "killed_app"):
            sys.modules.pop(name, None)


def test_an_agent_killed_inside_each_tool_repeats_that_one(drill: Drill) -> None:
    runs = {}
    for tool in TOOLS:
        (drill.folder / f"kill {tool}").touch()
        runs[tool] = drill.code.support.start(f"killed in {tool}")
        drill.ended([runs[tool]])
        assert not (drill.folder / f"kill {tool}").exists(), "it was killed there"
    for tool, run in runs.items():
        assert run.result(0) == ANSWER
        assert drill.bill(f"killed in {tool}") == [0, 1], "no request is paid twice"
        names = [what for what, _ in drill.ledger(run.id)]
        assert names.count(tool) == 2
        for other in set(TOOLS) - {tool}:
            beside = other.startswith("look_up") and tool.startswith("look_up")  # it may have been in progress, too
            assert names.count(other) in ({1, 2} if beside else {1})


def test_a_charge_that_was_killed_is_not_repeated(drill: Drill) -> None:
    """A person decides, or a function that looks at the destination."""
    runs = {}
    for name in ("asks", "looks"):
        (drill.folder / f"kill charge-{name}").touch()
        runs[name] = getattr(drill.code, name).start()
    wait_for(runs["looks"].ready, within_s=120)
    assert runs["looks"].result(0) == "charged 5 before"
    wait_for(runs["asks"].approvals, within_s=60)
    (asked,) = runs["asks"].approvals()
    ((_, step_key),) = drill.ledger(runs["asks"].id)
    assert asked.details["step"].endswith("call_tool.charge")
    assert asked.details["step_key"] == step_key
    runs["asks"].approve(asked.title, True, data={"answer": "done", "result": "charged by hand"})
    wait_for(runs["asks"].ready, within_s=60)
    assert runs["asks"].result(0) == "charged by hand"
    assert [len(drill.ledger(run.id)) for run in runs.values()] == [1, 1]
    assert (drill.folder / "looks").read_text().split() == [drill.ledger(runs["looks"].id)[0][1]]


def test_agents_survive_kills_at_random(drill: Drill) -> None:
    """Parallel tools, an approval and a stream. A kill repeats at most what it meets, and nothing before it."""
    rng = random.Random(21)
    runs: dict[str, Any] = {}
    alive: list[Any] = []
    for number in range(KILLS):
        while len(alive) < 3:
            question = f"question-{len(runs)}"
            runs[question] = drill.code.support.start(question)
            alive.append(runs[question])
        until = time.monotonic() + rng.uniform(0.0, 0.3)  # a random point
        wait_for(lambda until=until: drill.approve_all(alive) or time.monotonic() >= until)  # type: ignore[misc]
        drill.kill(rng)
        alive = [run for run in alive if not run.ready()]
        if number % 20 == 19:
            drill.ended(alive)  # not every run is to live through all of it
            alive = []
    drill.ended(list(runs.values()))
    paid = ran = 0
    for question, run in runs.items():
        assert run.result(0) == ANSWER
        bill, tools = drill.bill(question), drill.ledger(run.id)
        assert bill == sorted(bill), "a recorded answer is not asked for again"
        assert set(bill) == {0, 1}
        names = [what for what, _ in tools]
        assert sorted(set(names)) == TOOLS
        assert names.index("refund") == len(names) - names.count("refund"), "what was recorded does not run again"
        assert len(set(tools)) == len(TOOLS), "one step_key over all attempts"
        chunks = list(run.stream("tokens"))
        last = max(chunk.attempt for chunk in chunks)
        assert "".join(chunk.data for chunk in chunks if chunk.attempt == last) == ANSWER
        paid += len(bill)
        ran += len(tools)
    assert paid <= 2 * len(runs) + KILLS
    print(f"{KILLS} kills, {len(runs)} runs: {paid} requests paid for {2 * len(runs)}, {ran} tools for {3 * len(runs)}")
