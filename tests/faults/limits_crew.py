"""Several workers on one file, of which any may be killed or stopped at random; and the app of limits_app.py."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from liteq.states import UNFINISHED, State

from .harness import HERE, Drill, kill_group, kill_one_child, wait_for
from .mix import resume
from .nursery import Process
from .overlaps import Ledger

__all__ = ["Crew", "NewCrew", "app_of"]

LEASE_S = 5
FREEZE_S = 1.5  # well within a lease: what runs past its own is another one's by right
SETTINGS = {
    "LITEQ_VISIBILITY_TIMEOUT": str(LEASE_S),
    # What is killed by chance three times is a dead letter otherwise, and looks like a loss.
    "LITEQ_MAX_CRASHES": "1000",
    "LITEQ_MAX_REAPS": "1000",
}


def app_of(drill: Drill, name: str = "limits_app") -> Any:
    """The module of an app, over the file of this drill."""
    surroundings = {name: value for name, value in drill.env.items() if name.startswith("DRILL_")}
    sys.modules.pop(name, None)
    with mock.patch.dict(os.environ, surroundings), mock.patch.object(sys, "path", [str(HERE), *sys.path]):
        return importlib.import_module(name)


class Crew:
    """`n` workers of a few children each. `befall()` does something to one of them; all live again afterwards."""

    def __init__(self, folder: Path, n: int = 4, children: int = 2, seed: int = 1, **settings: str) -> None:
        folders = {"DRILL_FOLDER": str(folder), "DRILL_LINES": str(folder / "lines")}
        self.drill = Drill(folder, forked=True, settings={**SETTINGS, **folders, **settings})
        self.module = app_of(self.drill)
        self.app = self.module.app
        self.app.storage.migrate()
        self.ledger = Ledger(folder)
        self.rng = random.Random(seed)
        self.done: list[str] = []
        self.workers: list[Process] = []
        self._children = children
        self._stopped: list[threading.Timer] = []
        self._started = 0
        self._names: list[str] = []
        for _ in range(n):
            self.workers.append(self.start())
        wait_for(lambda: len(self.storage.reader.workers()) >= n, within_s=60)

    @property
    def storage(self) -> Any:
        return self.app.storage

    def start(self, *args: str, **env: str) -> Process:
        """One worker more; back at once."""
        self._started += 1
        name = f"worker-{self._started}"
        self._names.append(name)
        command = ["-m", "liteq", "-A", "limits_app", "worker", "-c", str(self._children), "-n", f"{name}@crew"]
        return self.drill.start(*command, *args, name=name, env=env)

    def wait_until_ready(self) -> None:
        """Wait until each worker that was started has taken up its work."""
        logs = [self.drill.folder / f"{name}.err" for name in self._names]
        wait_for(lambda: all(log.exists() and "ready." in log.read_text() for log in logs), within_s=60)

    def script(self, name: str, *args: str) -> Process:
        """A process that sends, from a script of this folder."""
        self._started += 1
        return self.drill.start(str(HERE / name), *args, name=f"sender-{self._started}")

    # -- what may befall them

    def befall(self) -> None:
        """Kill or stop something, at random from the seed."""
        fault = self.rng.choice(FAULTS)
        self.done.append(fault.__name__)
        fault(self)

    def kill_child(self) -> None:
        kill_one_child(self.rng.choice(self.workers), self.rng)

    def kill_parent(self) -> None:
        """Its children see that it is gone."""
        n = self.rng.randrange(len(self.workers))
        self.workers[n].kill()
        self.workers[n].wait()
        self.workers[n] = self.start()

    def kill_worker(self) -> None:
        n = self.rng.randrange(len(self.workers))
        kill_group(self.workers[n])
        self.workers[n] = self.start()

    def freeze(self) -> None:
        """Also inside a transaction, so that all others wait for it."""
        pid = self.rng.choice(self.workers).pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGSTOP)
        timer = threading.Timer(self.rng.random() * FREEZE_S, resume, [pid])
        timer.start()
        self._stopped.append(timer)

    def restart(self) -> None:
        """Warm or cold."""
        n = self.rng.randrange(len(self.workers))
        self.go_on()
        self.workers[n].send_signal(self.rng.choice([signal.SIGTERM, signal.SIGQUIT]))
        wait_for(lambda: self.workers[n].poll() is not None, within_s=60)
        self.workers[n] = self.start()

    def go_on(self) -> None:
        """Let all go on that are stopped."""
        for timer in self._stopped:
            timer.cancel()
            timer.function(*timer.args)
        self._stopped.clear()

    # -- facts

    def let_pass(self, lines: int) -> None:
        """Wait until executions have written so many lines more, or all that was sent has ended."""
        enough = self.ledger.count() + lines
        wait_for(lambda: (n := self.ledger.count()) >= enough or (n and not self.unfinished()), within_s=60)

    def unfinished(self) -> int:
        """How many messages wait or run."""
        return sum(count.n for count in self.storage.reader.counts() if count.state in UNFINISHED)

    def wait_for_lines(self, event: str, n: int, key: str = "", within_s: float = 60.0) -> None:
        end = time.monotonic() + within_s
        seen = self.ledger.count()  # before the lines are read: one that comes in between is not waited past
        while len(self.ledger.lines(event, key)) < n:
            wait_for(lambda: self.ledger.count() != seen, within_s=end - time.monotonic())
            seen = self.ledger.count()

    def settle(self, within_s: float = 90.0) -> None:
        """All go on, and run the file empty."""
        self.go_on()
        self.drill.wait_until_settled(within_s=within_s)

    def states(self, ids: list[str]) -> dict[str, State]:
        return {id_: record.state for id_, record in self.storage.reader.find_many(ids).items()}

    def ask(self, statement: str) -> list[Any]:
        """The rows of a statement that reads."""
        with self.storage.driver.read() as tx:
            return list(tx.execute(statement))

    def close(self) -> None:
        self.go_on()
        self.app.close()
        self.drill.close()


NewCrew = Callable[..., Crew]  # the fixture `crew_of`
FAULTS: list[Callable[[Crew], None]] = [
    *[Crew.kill_child, Crew.kill_child, Crew.kill_parent, Crew.kill_worker, Crew.freeze, Crew.restart]
]
