"""Everything at once: the long mix, and beside it runs, people, viewers, scrapes, a relay, Litestream and Celery.

    python -m tests.faults.everything --seed 7 --seconds 600

Litestream, Celery, the dashboard and the metrics take part where what they need is installed. The clock is not set here
(test_mix.py does that): programs without an app have the machine's, and one queue has one time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from liteq import LiteQ
from liteq.exceptions import LiteqError
from liteq.serialization import decode
from liteq.states import State

from ..servers import free_ports
from .everything_celery import CeleryBeside
from .everything_people import Approvers, Viewer
from .harness import HERE, kill_group, wait_for
from .litestream import Litestream
from .mix import FAULTS, Mix
from .nursery import Process
from .overlaps import Ledger

__all__ = ["ENOUGH", "Everything", "run_one"]

LEASE_S = 15  # and a process is stopped for a tenth of it: whatever runs past its lease is another one's by right
ENOUGH = 3  # of everything that is counted
PLACES = 2  # of everything_app.py
NOTHING_LEFT = {
    "a place": "SELECT key, seq FROM liteq_slots",
    "a reservation": "SELECT seq, name FROM liteq_reserved",
    "a step in doubt": "SELECT run, name FROM liteq_intents",
    "an open step": "SELECT run, name FROM liteq_steps WHERE ended_ms IS NULL",
    "an answer that is being computed": "SELECT key FROM liteq_memo WHERE output IS NULL",
    "an own queue of a listener": "SELECT channel, name FROM liteq_listeners",
}
ROWS = "SELECT id, state, task, result, error FROM liteq_messages ORDER BY id"


def is_here(*modules: str) -> bool:
    """Whether all of these modules are installed."""
    return all(find_spec(module) is not None for module in modules)


class Everything(Mix):
    """A long mix with all that may stand beside it. `run(seconds)`, `settle()`, `verdict()`."""

    APP = "everything_app"
    SETTINGS: ClassVar[dict[str, str]] = {"LITEQ_VISIBILITY_TIMEOUT": str(LEASE_S)}
    PAUSE_S = LEASE_S / 10

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        gateway, dashboard, metrics = free_ports(3)
        edge = f"sqlite:///{folder}/edge.db"
        self.services = {
            "gateway": ["-A", "everything_app", "gateway", "--port", str(gateway)],
            "relay": ["-b", edge, "relay", "--to", f"http://127.0.0.1:{gateway}"],
        }
        if is_here("jinja2", "starlette", "uvicorn"):
            self.services["dashboard"] = ["-A", "everything_app", "dashboard", "--port", str(dashboard)]
        if is_here("prometheus_client"):
            self.services["metrics"] = ["-A", "everything_app", "metrics", "--port", str(metrics)]
        self.edge = LiteQ("edge", broker=edge, set_as_current=False)
        self.edge.storage.migrate()
        self.carried: list[str] = []
        self.running = {name: self._service(name) for name in self.services}
        self.producers.append(self._runs())
        self.approvers = Approvers(self.app)
        self.viewers: list[Viewer] = []
        if "dashboard" in self.services:
            pages = ["/", "/queues", "/workflows", "/approvals", "/workers"]
            self.viewers.append(Viewer(lambda: self._first_line("dashboard"), pages))
        if "metrics" in self.services:
            self.viewers.append(Viewer(lambda: f"http://127.0.0.1:{metrics}/metrics", [""], b"liteq_"))
        self._over = threading.Event()
        self._carrying = threading.Thread(target=self._carry, daemon=True)
        self._carrying.start()
        self.litestream = self._litestream()
        self.celery = CeleryBeside(self.drill) if CeleryBeside.is_here() else None

    # -- what stands beside

    def _service(self, name: str) -> Process:
        self._started += 1
        self._log_of = {**getattr(self, "_log_of", {}), name: self.drill.folder / f"{name}-{self._started}"}
        return self.drill.start("-m", "liteq", *self.services[name], name=f"{name}-{self._started}")

    def _first_line(self, name: str) -> str:
        """The address that a service has written, "" while it has written none."""
        path = self._log_of[name]
        text = path.read_text() if path.exists() else ""
        return text.splitlines()[0] if "\n" in text else ""

    def _runs(self) -> Process:
        return self.drill.start(str(HERE / "everything_producer.py"), name=self._name("producer"))

    def _carry(self) -> None:
        """Send on the edge, at the pace of a program."""
        n = 0
        while not self._over.wait(0.05):
            with suppress(LiteqError):
                self.carried.append(self.edge.send_task("mix_app.work", (n,)).id)
            n += 1

    def _litestream(self) -> Litestream | None:
        try:
            made = Litestream(self.drill.db, f"file://{self.drill.folder}/remote")
        except LiteqError:
            return None
        try:
            made.start()
        except BaseException:
            made.close()
            raise
        return made

    # -- what may befall them

    def run(self, seconds: float) -> None:
        """Also until a little of everything has happened, on however slow a machine."""
        super().run(seconds)
        while len(self.done) < ENOUGH and not self.troubles:
            super().run(1)
        try:
            wait_for(lambda: self.troubles or min(self.counted().values()) >= ENOUGH, within_s=600)
        except AssertionError:
            raise AssertionError(f"hardly anything has come of one of these within 600 s: {self.counted()}") from None

    def kill_service(self) -> None:
        name = self.rng.choice([*self.services, "litestream", "celery"])
        if name in self.services:
            kill_group(self.running[name])
            self.running[name] = self._service(name)
        elif name == "celery" and self.celery is not None:
            self.celery.kill()
        elif name == "litestream" and self.litestream is not None:
            self.litestream.kill()
            self.litestream.go_on()

    def kill_producer(self) -> None:
        if self.rng.random() < 0.3:
            kill_group(self.producers[-1])
            self.producers[-1] = self._runs()
        else:
            super().kill_producer()

    def _some(self, condition: str) -> list[str]:
        """Of the mix's own tasks alone, and of no run's children: what is revoked there is the run's loss."""
        return super()._some(f"({condition}) AND task LIKE 'mix_app.%' AND coalesce(root_id, id) NOT LIKE 'order-%'")

    # -- the end

    def settle(self) -> None:
        self._over.set()
        self._carrying.join(60)
        if self.celery is not None:
            self.celery.end_sending()
        wait_for(lambda: not self._left_on_the_edge(), within_s=120)
        super().settle()

    def _left_on_the_edge(self) -> list[Any]:
        return [count for count in self.edge.storage.reader.counts() if count.state is not State.SUCCEEDED]

    def before_workers_end(self) -> None:
        """Ask all that is asked while the file is in use."""
        for viewer in self.viewers:
            seen = viewer.seen
            wait_for(lambda viewer=viewer, seen=seen: viewer.seen > seen, within_s=90)  # type: ignore[misc]
            self.troubles += viewer.end()
        self.troubles += self.approvers.end()
        if self.celery is not None:
            self.troubles += self.celery.end(self.app.storage)
        for process in self.running.values():
            self.drill.stop(process)

    def verdict(self) -> list[str]:
        self._check_runs()
        self._check_limits()
        self._check_carried()
        self._check_what_is_left()
        if self.litestream is not None:
            self._check_the_replica(self.litestream)
        return super().verdict()

    def _check_runs(self) -> None:
        """Each run that was accepted has ended as its person decided, with the answer that runs share."""
        storage = self.drill.storage()
        accepted = [a for a in self.drill.accepted() if a.kind == "run"]
        rows = storage.reader.find_many([a.id for a in accepted])
        storage.close()
        for a in accepted:
            row, decided = rows.get(a.id), self.approvers.decided.get(a.id)
            found = decode(row.result or b"null") if row is not None and row.state is State.SUCCEEDED else row
            rest = ["yes", 0, 1, 2] if decided else ["no"]
            if decided is None or found != [2 * a.expected, f"WHY-{a.expected % 20}", *rest]:
                self.troubles.append(f"{a} was decided {decided} and came to {found!r:.200}")

    def _check_limits(self) -> None:
        for key, n in Ledger(self.drill.folder).greatest().items():
            if n > PLACES:
                self.troubles.append(f"{n} of {key} ran at once, in place of {PLACES}")

    def _check_carried(self) -> None:
        """All that the edge accepted has come here; an id is there once by the schema."""
        storage = self.drill.storage()
        rows = storage.reader.find_many(self.carried)
        storage.close()
        lost = [id_ for id_ in self.carried if id_ not in rows and id_ not in self.forgotten]
        if lost:
            self.troubles.append(f"{len(lost)} of {len(self.carried)} were lost on the way: {lost[:3]}")

    def _check_what_is_left(self) -> None:
        storage = self.drill.storage()
        with storage.driver.read() as tx:
            for name, sql in NOTHING_LEFT.items():
                if rows := list(tx.execute(sql)):
                    self.troubles.append(f"{name} is left: {rows[:3]}")
        storage.close()
        groups = {process.pid for process in self.drill.processes}
        with suppress(AssertionError):
            wait_for(lambda: not alive(groups), within_s=30)
        self.troubles += [f"process {pid} has outlived its worker: {what}" for pid, what in alive(groups).items()]

    def _check_the_replica(self, litestream: Litestream) -> None:
        storage = self.drill.storage()
        control = storage.driver.replicator(str(litestream.socket))
        control.wait(60)
        control.close()
        with storage.driver.read() as tx:
            ours = [tuple(row) for row in tx.execute(ROWS)]
        storage.close()
        litestream.kill()
        with litestream.copy() as copy:
            if copy.execute(ROWS).fetchall() != ours:
                self.troubles.append("the replica is another queue")

    def counted(self) -> dict[str, int]:
        runs = len([a for a in self.drill.accepted() if a.kind == "run"])
        beside = {"runs": runs, "carried": len(self.carried), "decided": len(self.approvers.decided)}
        if self.celery is not None:
            beside["celery"] = len(self.celery.sent)
        if self.viewers:
            beside["seen"] = min(viewer.seen for viewer in self.viewers)
        return {**super().counted(), **beside}

    def close(self) -> None:
        self._over.set()
        if self.celery is not None:
            self.celery.end_sending()
        self.approvers.end()
        for viewer in self.viewers:
            viewer.end()
        if self.litestream is not None:
            self.litestream.close()
        self.edge.close()
        super().close()


Everything.FAULTS = (
    *[fault for fault in FAULTS if fault is not Mix.set_clock],
    *[Everything.kill_service, Everything.kill_service],
)


def alive(groups: set[int]) -> dict[int, str]:
    """The living processes of these groups, with their command lines."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) in groups and fields[0] not in "ZX":
                found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:100]
    return found


def run_one(folder: Path, seed: int, seconds: float, made: Callable[[Path, int], Mix] = Everything) -> Any:
    """The troubles of one seed, and how much has happened."""
    mix = made(folder, seed)
    try:
        mix.run(seconds)
        mix.settle()
        return mix.verdict(), mix.counted()
    finally:
        (folder / "faults").write_text("\n".join(mix.done))
        mix.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.everything", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="everything-")), time.monotonic()
    troubles, counted = run_one(folder, options.seed, options.seconds)
    print(f"{folder if troubles else 'clean'} {counted} {time.monotonic() - began:.0f} s", flush=True)
    print(*[f"    {trouble[:400]}" for trouble in troubles[:40]], sep="\n", flush=True)
    return int(bool(troubles))


if __name__ == "__main__":
    sys.exit(main())
