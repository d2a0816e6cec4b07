"""The same drills against Celery with Redis and against liteq: what becomes of tasks when something is killed.

    python -m tests.faults.compare            # both; prints the table of docs/explanation/delivery-guarantee.md
    python -m tests.faults.compare liteq      # one

Celery comes from the environment that `python -m benchmarks setup` makes, and `redis-server` from the system; it
listens on a loopback port of its own, with its files in a folder of its own. Both systems run `compare_app.py`, with
four children a worker. Between the drills nothing is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contestants import CONTESTANTS
from benchmarks.environments import python_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE_S = 12.0  # after the restart: what is not done by then, a person would call stuck
LATE = {"task_acks_late": True, "task_reject_on_worker_lost": True}


class Result(NamedTuple):
    """One drill with one system."""

    drill: str
    system: str
    said: str


class System:
    """One of the two, in a folder of its own."""

    name = "liteq"

    def __init__(self, folder: Path, conf: dict[str, Any]) -> None:
        self.folder = folder
        self.conf = conf
        self.python = sys.executable
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "COMPARE": self.name,
            "COMPARE_CONF": json.dumps(self.conf),
            "COMPARE_LEDGER": str(self.folder / "ledger"),
            "PYTHONPATH": os.pathsep.join([str(HERE), *([str(ROOT)] if self.name == "liteq" else [])]),
            **self.places(),
        }

    def places(self) -> dict[str, str]:
        return {"COMPARE_BROKER": f"sqlite:///{self.folder}/queue.db"}

    def send(self, code: str) -> list[str]:
        """Run a program that sends tasks; what it prints are their ids."""
        command = [self.python, "-c", f"from compare_app import *\n{code}"]
        done = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def worker(self) -> subprocess.Popen[bytes]:
        command = [self.python, "-m", self.name, "-A", "compare_app", "worker", "-c", "4", "-l", "error"]
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                command, env=self.env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.workers.append(worker)
        return worker

    def start_broker(self) -> None:
        """Nothing for liteq: the file is the broker."""

    def kill_broker(self) -> None:
        """The nearest to it: there is no process but the workers and the producers."""

    def close(self) -> None:
        for worker in self.workers:
            kill_group(worker)

    def ledger(self, kind: str) -> Counter[str]:
        path = self.folder / "ledger"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(f"{kind} "))


class CeleryWithRedis(System):
    """`durability`: how Redis keeps its data; "default" is its own configuration: a snapshot now and then."""

    name = "celery"

    def __init__(self, folder: Path, conf: dict[str, Any], durability: str = "default") -> None:
        super().__init__(folder, conf)
        self.python = python_of(CONTESTANTS["celery-redis"])
        self.durability = durability
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.broker: subprocess.Popen[bytes] | None = None

    def places(self) -> dict[str, str]:
        url = f"redis://127.0.0.1:{self.port}"
        return {"COMPARE_BROKER": f"{url}/0", "COMPARE_BACKEND": f"{url}/1"}

    def start_broker(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        if self.durability != "default":
            command += ["--appendonly", "yes", "--appendfsync", self.durability]
        with (self.folder / "redis.log").open("ab") as log:
            self.broker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, 20)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def kill_broker(self) -> None:
        assert self.broker is not None
        self.broker.kill()
        self.broker.wait()

    def close(self) -> None:
        super().close()
        if self.broker is not None:
            self.kill_broker()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(fact: Callable[[], object], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fact():
            return True
        time.sleep(0.02)
    return False


# -- the drills ------------------------------------------------------------------------------------------------------


def killed_worker(system: System) -> str:
    """Twenty tasks of half a second; when four run, the worker and its children are killed, and another one starts."""
    ids = system.send("for _ in range(20): print(nap.delay(0.5).id)")
    worker = system.worker()
    wait_until(lambda: len(system.ledger("began")) >= 4, 30)
    kill_group(worker)
    system.worker()
    wait_until(lambda: len(system.ledger("ended")) == len(ids), PATIENCE_S)
    undone = len(ids) - len(system.ledger("ended"))
    return f"{undone} of {len(ids)} not done {PATIENCE_S:.0f} s after the restart"


def killed_child(system: System) -> str:
    """One task whose process is killed once, as the kernel does when memory is short."""
    system.send("print(die.delay(1).id)")
    system.worker()
    wait_until(lambda: system.ledger("began"), 30)
    began = time.monotonic()
    if wait_until(lambda: system.ledger("ended"), PATIENCE_S):
        return f"run again and done after {time.monotonic() - began:.1f} s"
    return "not run again"


def poison(system: System) -> str:
    """A task that kills its process each time, and ten behind it."""
    system.send("print(die.delay().id)\nfor _ in range(10): print(nap.delay(0.01).id)")
    system.worker()
    wait_until(lambda: system.ledger("began"), 30)
    time.sleep(PATIENCE_S)
    pill = max(system.ledger("began").values())
    return f"run {pill} times in {PATIENCE_S:.0f} s; {len(system.ledger('ended'))} of the 10 others done"


def killed_chords(system: System) -> str:
    """Ten chords of six; the worker is killed five times meanwhile."""
    chord = "chord([part.s(i) for i in range(6)], whole.s())"
    system.send(f"from {system.name} import chord\nfor _ in range(10): print({chord}.apply_async().id)")
    for n in range(5):
        worker = system.worker()
        wait_until(lambda n=n: len(system.ledger("part")) >= 8 * (n + 1), 5)  # type: ignore[misc]
        kill_group(worker)
    system.worker()
    wait_until(lambda: len(system.ledger("ended")) >= 10, PATIENCE_S)
    done = system.ledger("ended")
    late = f"{10 - len(done)} of 10 bodies not run {PATIENCE_S:.0f} s after the last restart"
    return f"{late}; {sum(n > 1 for n in done.values())} run twice"


def killed_broker(system: System) -> str:
    """Fifty tasks are accepted, then the broker is killed and starts again; then a worker comes."""
    ids = system.send("for _ in range(50): print(nap.delay(0.01).id)")
    system.kill_broker()
    system.start_broker()
    system.worker()
    wait_until(lambda: len(system.ledger("ended")) == len(ids), PATIENCE_S)
    return f"{len(ids) - len(system.ledger('ended'))} of {len(ids)} lost"


def long_countdown(system: System) -> str:
    """Ten tasks, a countdown of eight visibility timeouts, two workers."""
    system.send("for _ in range(10): print(nap.apply_async((0.01,), countdown=40).id)")
    system.worker()
    system.worker()
    wait_until(lambda: len(system.ledger("ended")) >= 10, 60)
    time.sleep(2)
    executions = sum(system.ledger("began").values())
    return f"{executions} executions of 10 tasks"


Drill = tuple[str, Callable[[System], str], dict[str, Any], str]
SHORT = {"broker_transport_options": {"visibility_timeout": 5}}
DRILLS: list[Drill] = [
    ("a worker is killed with its children", killed_worker, {}, "default"),
    ("the same, `acks_late`", killed_worker, LATE, "default"),
    ("a child is killed once", killed_child, {}, "default"),
    ("the same, `acks_late`, `reject_on_worker_lost`", killed_child, LATE, "default"),
    ("a task kills its process each time, with these two", poison, LATE, "default"),
    ("workers are killed while chords run, with these two", killed_chords, LATE, "default"),
    ("the broker is killed, as it is configured by default", killed_broker, {}, "default"),
    ("the same, `appendfsync everysec`", killed_broker, {}, "everysec"),
    ("the same, `appendfsync always`", killed_broker, {}, "always"),
    ("a countdown longer than the visibility timeout", long_countdown, SHORT, "default"),
]


def run(system: str, drills: list[Drill]) -> list[Result]:
    results = []
    for name, drill, conf, durability in drills:
        with tempfile.TemporaryDirectory(prefix="compare-", ignore_cleanup_errors=True) as folder:
            place = Path(folder)
            made = CeleryWithRedis(place, conf, durability) if system == "celery" else System(place, conf)
            try:
                made.start_broker()
                said = drill(made)
            finally:
                made.close()
        print(f"{system:7} {name}: {said}", file=sys.stderr, flush=True)
        results.append(Result(name, system, said))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.compare", description=__doc__)
    parser.add_argument("system", nargs="?", choices=("celery", "liteq"))
    parser.add_argument("--only", default="", help="drills whose name contains this")
    options = parser.parse_args()
    drills = [drill for drill in DRILLS if options.only in drill[0]]
    systems = [options.system] if options.system else ["celery", "liteq"]
    results = {(r.drill, r.system): r.said for system in systems for r in run(system, drills)}
    print("| drill | " + " | ".join(systems) + " |\n|" + "---|" * (len(systems) + 1))
    for name, *_ in drills:
        print(f"| {name} | " + " | ".join(results[name, system] for system in systems) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
