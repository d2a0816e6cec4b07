"""Two workers under load are replaced again and again, one at a time: nothing is lost, run twice, or waits long.

A new worker takes tasks before an old one is asked to end, as `systemctl restart` of one of two, or a rolling update of
Kubernetes, has it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ

from .harness import Drill, check_nothing_lost, wait_for
from .nursery import Process
from .sizes import size

FULL = 20
RESTARTS = size("ROLLING_RESTARTS", 3, FULL)
PAUSE_MS = 200.0  # no task waits longer for its start, because of a restart
CALM = 300  # tasks before the first restart: how long they wait is what the machine does to them

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="its processes are looked at in Linux's /proc"),
]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    drill.storage().close()
    yield drill
    drill.close()


class Crew:
    """The workers of the moment, by their names, the oldest first."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._app = LiteQ("operator", broker=f"sqlite:///{drill.db}")
        self._workers: dict[str, Process] = {}
        self._started = 0

    def add(self) -> None:
        """Start one more; back when it takes tasks."""
        self._started += 1
        name = f"worker-{self._started}"
        command = ["-m", "liteq", "-A", "rolling_app", "worker", "-c", "4", "-n", f"{name}@%h"]
        self._workers[name] = self._drill.start(*command, name=name)
        wait_for(lambda: "ready." in self._drill.log(name), within_s=60)

    def replace(self, *, quiet: bool) -> None:
        """Start one more, then end the oldest in the middle of a long task; `quiet`: it first finishes what it has."""
        self.add()
        name = next(iter(self._workers))
        worker = self._workers.pop(name)
        if quiet:
            self._app.control.broadcast("quiet", destination=[self._full(name)], reply=True, timeout=60)
            wait_for(lambda: self._active(name) == [])
        else:
            wait_for(lambda: any(one["name"] == "rolling_app.long" for one in self._active(name)))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0, self._drill.log(name)

    def _full(self, name: str) -> str:
        return next(one.name for one in self._app.storage.reader.workers() if one.name.startswith(f"{name}@"))

    def _active(self, name: str) -> list[dict[str, Any]]:
        """The tasks that the worker executes."""
        (active,) = self._app.control.inspect(destination=[self._full(name)], timeout=60).active().values()
        return active

    def end(self) -> None:
        for name, worker in self._workers.items():
            assert self._drill.stop(worker) == 0, self._drill.log(name)
        self._app.close()


def starts(drill: Drill) -> list[tuple[int, int]]:
    """When each execution was sent and when it began, in order of the beginnings; in nanoseconds."""
    lines = (line.split() for line in (drill.folder / "ledger").read_text().splitlines())
    return sorted(((int(sent), int(began)) for _, _, sent, began in lines), key=lambda one: one[1])


def test_a_rolling_restart_under_load_loses_nothing_runs_nothing_twice_and_makes_no_pause(drill: Drill) -> None:
    crew = Crew(drill)
    crew.add()
    crew.add()
    sender = drill.start(str(Path(__file__).with_name("rolling_sender.py")), name="producer-0")
    wait_for(lambda: drill.executions() > CALM, within_s=60)
    for n in range(RESTARTS):
        before = drill.executions()
        crew.replace(quiet=n % 2 == 1)
        wait_for(lambda: drill.executions() > before + 100)
    (drill.folder / "stop").touch()
    assert sender.wait(timeout=60) == 0
    drill.wait_until_settled()
    crew.end()
    counted = check_nothing_lost(drill)
    assert counted["accepted"] > 100 * RESTARTS
    assert counted["recovered"] == 0, "run twice"
    began = starts(drill)
    waited_ms = max(start - sent for sent, start in began) / 1e6
    pause_ms = max(after - before for (_, before), (_, after) in pairwise(began)) / 1e6
    calm_ms = max(start - sent for sent, start in began[:CALM]) / 1e6
    machine_ms = max(calm_ms, float(drill.log("producer-0").splitlines()[-1]))
    print(f"{RESTARTS} restarts, {len(began)} tasks: longest wait {waited_ms:.0f} ms, longest pause {pause_ms:.0f} ms, "
          f"the machine's {machine_ms:.0f} ms")  # fmt: skip
    if RESTARTS >= FULL:  # by itself, on a machine that does nothing else: `tox -e faults-months`
        assert max(waited_ms, pause_ms) <= PAUSE_MS + machine_ms
