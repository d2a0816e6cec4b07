"""Flows that run: a worker with --commands on a file of its own, and a shell that can be killed inside a step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq_flow.reader.params import checked
from liteq_flow.report import ENDED, find, only_waits, report
from liteq_flow.snapshot import take
from liteq_flow.starting import start

PATIENCE_S = 120.0
# Notes each command's step; where kill/STEP is there it ends its worker's process first, once, as a crash inside it.
SHELL = """#!/bin/sh
base="$(dirname "$0")/.."
echo "$DAG_RUN_STEP_NAME" >> "$base/ledger"
if rm "$base/kill/$DAG_RUN_STEP_NAME" 2>/dev/null; then kill -9 $PPID; sleep 60; fi
exec /bin/sh "$@"
"""


class Flows:
    """Flows over one file and its workers. `folder`: of all that belongs to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/queue.db"
        self.app = LiteQ("flows", broker=self.url)
        self.workers: list[subprocess.Popen[bytes]] = []
        (folder / "bin").mkdir()
        (folder / "kill").mkdir()
        shell = folder / "bin" / "sh"
        shell.write_text(SHELL)
        shell.chmod(0o755)

    def worker_without_commands(self) -> subprocess.Popen[bytes]:
        """A worker that runs tasks, and the bodies of flows."""
        return self.worker("--without-tasks", "-Q", "*", commands=False)

    def waits_in(self, queue: str) -> int:
        """How many messages wait in a queue."""
        return self.app.storage.reader.waiting([queue], limit=10)

    def report(self, run_id: str) -> dict[str, Any]:
        """The report of a run as it is now."""
        return report(self.app, run_id)

    def worker(
        self, *options: str, concurrency: int = 2, commands: bool = True, folder: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """A worker with --commands, in a process group of its own."""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LITEQ_DURABILITY": "relaxed"}
        command = [sys.executable, "-m", "liteq", "worker", "-b", self.url, "-c", str(concurrency)]
        if commands:
            command.append("--commands")
        with (self.folder / "worker.log").open("ab") as log:
            made = subprocess.Popen(
                [*command, *options], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.workers.append(made)
        return made

    def kill_worker(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its processes, as the machine would when it goes."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(PATIENCE_S)

    def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(PATIENCE_S)

    def write(self, text: str, name: str = "flow") -> Path:
        """Write a flow into a folder of its own, whose shell keeps the ledger."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        file = folder / f"{name}.yaml"
        file.write_text(textwrap.dedent(text).replace("SHELL", str(self.folder / "bin" / "sh")))
        return file

    def start(self, file: Path, id: str | None = None, **params: Any) -> str:  # noqa: A002 - as the option is called
        """Start a run of a file; its id."""
        snapshot = take(file)
        flow = snapshot.whole.flow
        return str(start(self.app, snapshot, flow, snapshot.file, checked(flow, params), id=id).id)

    def rest(self, run_id: str) -> dict[str, Any]:
        """The report of a run, once it has ended or waits for a person."""
        self.until(lambda: self._rests(run_id), lambda: report(self.app, run_id))
        return report(self.app, run_id)

    def _rests(self, run_id: str) -> bool:
        record = find(self.app, run_id)
        return record.status in {"succeeded", "failed", "cancelled"} or only_waits(record)

    def run(self, text: str, name: str = "flow", **params: Any) -> dict[str, Any]:
        """Run a flow to its end; its report."""
        return self.rest(self.start(self.write(text, name), **params))

    def until(self, fact: Callable[[], object], told: Callable[[], object] = str) -> None:
        """Wait until `fact`; fails, with what `told` says, where it never is."""
        give_up = time.monotonic() + PATIENCE_S
        while not fact():
            assert time.monotonic() < give_up, f"{told()}\n{self.said()}"
            time.sleep(0.02)

    def said(self) -> str:
        """The last lines of the workers."""
        log = self.folder / "worker.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-30:]) if log.exists() else ""

    def ledger(self) -> Counter[str]:
        """How often a command of each step was begun."""
        file = self.folder / "ledger"
        return Counter(file.read_text().split("\n")[:-1]) if file.exists() else Counter()

    def forget(self) -> None:
        """Begin a new ledger."""
        (self.folder / "ledger").unlink(missing_ok=True)

    def kill_in(self, steps: set[str]) -> None:
        """Have the process of a command be killed inside each of these steps, once."""
        for step in steps:
            (self.folder / "kill" / step).touch()


def statuses(document: dict[str, Any]) -> dict[str, str]:
    """The status of each step."""
    return {step["id"]: step["status"] for step in document["steps"]}


__all__ = ["ENDED", "Flows", "statuses"]
