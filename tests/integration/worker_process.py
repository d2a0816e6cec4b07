"""A folder with a broker file, or a queue elsewhere, a ledger, and real workers on it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq.message import new_id
from liteq.states import State
from liteq.storage.reading.inspect import Record

HERE = Path(__file__).resolve().parent


def wait_for(fact: Callable[[], object], *, within_s: float = 60.0, what: str | Callable[[], str] = "") -> Any:
    """`fact()` as soon as it is true; a failure when it never is, with `what`, or what it gives then."""
    give_up = time.monotonic() + within_s
    while not (value := fact()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within_s} s: {(what() if callable(what) else what) or fact}")
        time.sleep(0.003)
    return value


class Site:
    """Sends to, and looks into, one queue; starts and ends the workers on it."""

    def __init__(self, folder: Path, app: str = "worker_tasks", broker: str | None = None) -> None:
        self.folder = folder
        self.module = app
        self.broker = broker or f"sqlite:///{folder}/queue.db"
        self.ledger = folder / "ledger"
        self.app = LiteQ("client", broker=self.broker)
        self.workers: list[subprocess.Popen[bytes]] = []

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a worker in a process group of its own; back at once. Its log is `log-<n>`."""
        environment = {
            **os.environ,
            "WORKER_TEST_BROKER": self.broker,
            "WORKER_TEST_LEDGER": str(self.ledger),
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            **env,
        }
        with self.log(len(self.workers)).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "liteq", "-A", self.module, "worker", "-l", "INFO", *args],
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(process)
        return process

    def worker(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a worker; back when it is ready."""
        log = self.log(len(self.workers))
        process = self.start(*args, **env)
        wait_for(lambda: "ready." in log.read_text() or process.poll() is not None, what="it is ready")
        assert process.poll() is None, log.read_text()
        return process

    def freeze(self, pid: int) -> None:
        """Stop a process in a moment in which it has no lock of the file: all others would wait for it."""
        with self.app.storage.driver.write():
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: process_state(pid) == "T", what="a process is stopped")

    def freeze_past_lease(self, pid: int, *, lease_s: float) -> None:
        """Stop a worker until its leases have run out: the next one to start finds them at its first look.

        That one's leases may be long. With short ones it would lose the tasks in its turn, where the machine stops.
        """
        self.freeze(pid)
        frozen_ms = self.app.clock.now_ms()
        wait_for(lambda: self.app.clock.now_ms() > frozen_ms + lease_s * 1000, what="its leases have run out")

    def log(self, n: int = 0) -> Path:
        return self.folder / f"log-{n}"

    def end(self, worker: subprocess.Popen[bytes], signum: int = signal.SIGTERM) -> int:
        worker.send_signal(signum)
        return worker.wait(timeout=60)

    def end_first(self, worker: subprocess.Popen[bytes], go: Path, signum: int = signal.SIGTERM) -> int:
        """End a worker; let the tasks end that wait for the file `go` when it has given back what has not begun."""
        worker.send_signal(signum)
        if "solo" not in str(worker.args):  # whose loop is at the task: it hears of the signal behind that
            log = self.log(self.workers.index(worker))
            wait_for(lambda: " shutdown (" in log.read_text(), what="it has heard the signal")
            wait_for(
                lambda: self.leased() <= len(self.notes("started")) - len(self.notes("finished")), what="all is back"
            )
        go.touch()
        return worker.wait(timeout=60)

    def close(self) -> None:
        for process in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.app.close()

    # -- messages ----------------------------------------------------------------------------------------------------

    def send(self, task: str, *args: Any, **options: Any) -> str:
        """Send `worker_tasks.<task>`; its id."""
        return str(self.app.send_task(f"worker_tasks.{task}", args=args, **options).id)

    def send_many(self, task: str, rows: list[tuple[Any, ...]], **options: Any) -> list[str]:
        """Send many in one commit; their ids in order."""
        ids = [new_id() for _ in rows]
        signatures = [
            self.app.signature(f"worker_tasks.{task}", args=args, task_id=id_, **options)
            for id_, args in zip(ids, rows, strict=True)
        ]
        self.app.enqueue_many(signatures)
        return ids

    def record(self, id_: str) -> Record:
        record = self.app.storage.reader.find(id_)
        assert record is not None
        return record

    def state(self, id_: str) -> State:
        return self.record(id_).state

    def get(self, id_: str, timeout: float = 60.0) -> Any:
        return self.app.AsyncResult(id_).get(timeout=timeout)

    def error(self, id_: str, timeout: float = 60.0) -> BaseException:
        """The exception that a task ended with."""
        try:
            value = self.get(id_, timeout)
        except Exception as exc:
            if self.app.AsyncResult(id_).ready():
                return exc
            raise
        raise AssertionError(f"it returned {value!r}")

    def waiting(self) -> int:
        return sum(
            c.n for c in self.app.storage.reader.counts() if c.state in {State.PENDING, State.LEASED, State.SCHEDULED}
        )

    def leased(self) -> int:
        return sum(c.n for c in self.app.storage.reader.counts() if c.state is State.LEASED)

    # -- the ledger --------------------------------------------------------------------------------------------------

    def notes(self, event: str, id_: str | None = None) -> list[list[str]]:
        """The lines of `event`, of one task where `id_` is given."""
        if not self.ledger.exists():
            return []
        lines = [line.split() for line in self.ledger.read_text().splitlines()]
        return [line for line in lines if line[0] == event and (id_ is None or line[1] == id_)]

    def wait_started(self, id_: str, times: int = 1, within_s: float = 60.0) -> int:
        """Until the task has started `times` times; the PID of the process it last started in."""
        started = wait_for(
            lambda: len(found := self.notes("started", id_)) >= times and found, within_s=within_s, what="it started"
        )
        return int(started[-1][2])


def children_of(pid: int) -> list[int]:
    """The child processes of `pid`, by the kernel's table."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def process_state(pid: int) -> str | None:
    """The kernel's letter for the state of `pid`, as T for stopped; None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def lives(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    return process_state(pid) not in {None, "Z"}
