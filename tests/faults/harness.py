"""Processes to kill, and the oracle that says whether anything was lost."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from liteq.message import Batch, Message, new_id
from liteq.serialization import decode, encode
from liteq.states import UNFINISHED, State
from liteq.storage.sqlite.turns.holder import writer
from liteq.storage.storage import Storage, open_storage

from .nursery import Nursery, Process

HERE = Path(__file__).resolve().parent
STRANGER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchone()
print("holding", flush=True)
sys.stdin.readline()
"""

Hold = Callable[..., "subprocess.Popen[str]"]  # the fixture `hold`


@dataclass
class Accepted:
    """One line of a producer: what it sent, and what its result must be."""

    kind: str
    id: str
    expected: int


@dataclass
class Drill:
    """A broker file, a ledger, and the processes that use them."""

    folder: Path
    disk: Path | None = None  # where the database is, when elsewhere
    settings: dict[str, str] = field(default_factory=dict)  # environment of the workers
    forked: bool = False  # processes come from a nursery, and are there in no time
    processes: list[Process] = field(default_factory=list)
    _nursery: Nursery | None = None
    _counted: tuple[int, int] = (0, 0)  # bytes and lines of the ledger

    @property
    def db(self) -> Path:
        return (self.disk or self.folder) / "drill.db"

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "DRILL_BROKER": f"sqlite:///{self.db}",
            "DRILL_LEDGER": str(self.folder / "ledger"),
            **self.settings,
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }

    def storage(self) -> Storage:
        storage = open_storage(f"sqlite:///{self.db}")
        storage.migrate()
        return storage

    def start(self, *args: str, name: str, env: dict[str, str] | None = None) -> Process:
        """Start a Python process; its output goes to a file called `name`."""
        env = {**self.env, **(env or {})}
        out, err = self.folder / name, self.folder / f"{name}.err"
        if self.forked:
            self._nursery = self._nursery or Nursery(self.env)
            process: Process = self._nursery.start(list(args), env, self.folder, out, err)
        else:
            with out.open("ab") as o, err.open("ab") as e:
                process = subprocess.Popen(
                    [sys.executable, *args], env=env, cwd=self.folder, stdout=o, stderr=e, start_new_session=True
                )
        self.processes.append(process)
        return process

    def worker(self, children: int = 2, name: str = "worker", env: dict[str, str] | None = None) -> Process:
        return self.start("-m", "liteq", "-A", "drill_app", "worker", "-c", str(children), name=name, env=env)

    def send(self, storage: Storage, task: str, *args: object) -> str:
        """Enqueue one message of a task of drill_app.py; its id."""
        payload = encode([args, {}], what="arguments")
        return storage.enqueue(Batch([Message(new_id(), f"drill_app.{task}", payload)]))[0]

    def log(self, name: str = "worker") -> str:
        """The standard error of a process."""
        return (self.folder / f"{name}.err").read_text()

    def producer(self, n: int, limit: int = 1_000_000_000) -> Process:
        return self.start(str(HERE / "drill_producer.py"), str(limit), name=f"producer-{n}")

    def accepted(self) -> list[Accepted]:
        """The producers' reports, whole lines only: a killed one may have left half a line."""
        lines = []
        for path in self.folder.glob("producer-*"):
            if path.suffix != ".err":
                text = path.read_text()
                lines += text[: text.rfind("\n") + 1].splitlines()
        return [Accepted(kind, id_, int(value)) for kind, id_, value in map(str.split, lines)]

    def ledger(self) -> Counter[str]:
        """How often each message was executed, by id."""
        path = self.folder / "ledger"
        return Counter(line.split()[1] for line in path.read_text().splitlines()) if path.exists() else Counter()

    def executions(self) -> int:
        """How many executions the ledger has; reads what is new of it."""
        path = self.folder / "ledger"
        read, lines = self._counted
        if path.exists() and path.stat().st_size > read:
            with path.open("rb") as file:
                file.seek(read)
                data = file.read()
            self._counted = (read + len(data), lines + data.count(b"\n"))
        return self._counted[1]

    def wait_until_settled(self, within_s: float = 60.0) -> None:
        """Until no message is waiting or running."""
        storage = self.storage()
        wait_for(lambda: not any(c.state in UNFINISHED for c in storage.reader.counts()), within_s=within_s)
        storage.close()

    def stop(self, process: Process) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=60)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._nursery is not None:
            self._nursery.close()


def wait_for(fact: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Return as soon as `fact()` is true; fail when it never is."""
    give_up = time.monotonic() + within_s
    while not fact():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within_s} s: {fact}")
        time.sleep(0.005)


def children_of(pid: int) -> list[int]:
    """The child processes of `pid`, by the kernel's table."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def kill_one_child(worker: Process, rng: random.Random) -> None:
    """SIGKILL a random child of a worker, if it has one."""
    children = children_of(worker.pid)
    if children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(children), signal.SIGKILL)


def kill_group(process: Process) -> None:
    """SIGKILL a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_outside_transactions(drill: Drill, pids: set[int]) -> None:
    """Stop processes with their children; who has the write lock goes on until it has let go: that is the next test.

    One that waits at the gate gets it also while it is stopped, when its turn comes.
    """
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)
    while found := re.match(r"PID (\d+) ", writer(str(drill.db))):
        holder = int(found[1])
        assert holder in pids, "somebody else writes"
        os.killpg(holder, signal.SIGCONT)
        wait_for(lambda: not writer(str(drill.db)).startswith(f"PID {holder} "))
        os.killpg(holder, signal.SIGSTOP)


def told_of_its_loss(drill: Drill, name: str) -> bool:
    """Its late acknowledgement was refused; or its heartbeat was, and it killed the child that still worked on it."""
    log = drill.log(name)
    return "lost to another worker" in log or "signal SIGKILL" in log


def check_nothing_lost(drill: Drill) -> dict[str, int]:
    """The oracle. Everything accepted is done, once, with the right result; the file is whole. What it counted."""
    storage = drill.storage()
    accepted = drill.accepted()
    records = storage.reader.find_many([a.id for a in accepted])
    executed = drill.ledger()
    lost = [a for a in accepted if a.id not in records or records[a.id].state is not State.SUCCEEDED]
    assert not lost, f"{len(lost)} of {len(accepted)} accepted are not done: {lost[:3]}"
    wrong = [a for a in accepted if decode(records[a.id].result or b"null") != a.expected]
    assert not wrong, f"wrong results: {wrong[:3]}"
    never = [a for a in accepted if not executed[a.id]]
    assert not never, f"done but never executed: {never[:3]}"
    # Nothing that was accepted is in the file twice, and nothing is there that is still to be done.
    states = {c.state for c in storage.reader.counts()}
    assert states <= {State.SUCCEEDED}, states
    storage.close()
    assert integrity(drill.db) == "ok"
    return {"accepted": len(accepted), "recovered": sum(n > 1 for n in executed.values())}


def integrity(path: Path) -> str:
    """SQLite's own check, on a connection of its own: a writer's page cache can hide damage."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()
