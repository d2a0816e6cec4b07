"""The drill with hosts: workers and producers on three of them, one queue on a server, and what befalls them.

    python -m tests.faults.hosts_drill --seeds 1-10 --rounds 4

A seed chooses the order of the faults and whom they befall. Two of the hosts have one name, as containers do, and two
have a clock that is 5 s wrong. See hosts_oracle.py for what must hold behind it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from liteq.cli.parts.exits import Exit
from liteq.states import UNFINISHED
from liteq.storage.storage import Storage, open_storage

from .harness import HERE, children_of, kill_group, wait_for
from .hosts import Host, Switch
from .hosts_audit import AUDIT
from .hosts_oracle import Befallen, troubles
from .hosts_servers import Servers, two_servers
from .nursery import Process

__all__ = ["FAULTS", "FEW", "HostsDrill", "drill_of"]

LEASE_S = 3.0
NAMES_AND_SKEWS_MS = (("web", 5_000), ("web", -5_000), ("batch", 0))
SETTLED_WITHIN_S = 120.0
SETTINGS = {
    "LITEQ_VISIBILITY_TIMEOUT": str(LEASE_S),
    "LITEQ_RESULT_EXPIRES": "0",
    # What is killed by chance three times is a dead letter otherwise, and looks like a loss.
    "LITEQ_MAX_CRASHES": "1000",
    "LITEQ_MAX_REAPS": "1000",
    "LITEQ_BUSY_TIMEOUT": "10",
}
TRY_AGAIN = {Exit.TRY_AGAIN, Exit.UNAVAILABLE}  # there was no server when it started


Fault = Callable[["HostsDrill"], None]


class HostsDrill:
    """One run. `run(rounds)`, then `settle()`, then `verdict()`, which is empty where all went well."""

    def __init__(self, folder: Path, servers: Servers, switch: Switch, seed: int, durability: str) -> None:
        self.folder, self.servers, self.durability = folder, servers, durability
        self.rng = random.Random(seed)
        self.storage: Storage = open_storage(servers.near)
        self.storage.migrate()
        servers.writable.ask(AUDIT)
        self.befallen: list[Befallen] = []
        self.done: list[str] = []  # the faults, in their order
        self.troubles: list[str] = []
        self._started = 0
        env = {
            **os.environ, **SETTINGS, "LITEQ_DURABILITY": durability,
            "DRILL_BROKER": servers.far, "DRILL_LEDGER": str(folder / "ledger"), "DRILL_LONG_S": str(LEASE_S * 1.5),
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }  # fmt: skip
        self.hosts: list[Host] = []
        self.logs: dict[Process, Path] = {}
        for n, (name, skew_ms) in enumerate(NAMES_AND_SKEWS_MS, 1):
            self.hosts.append(Host(switch, n, name, folder, {**env, "DRILL_SKEW_MS": str(skew_ms)}))
        self.workers: dict[Host, Process] = {host: self._worker(host) for host in self.hosts}
        self.producers: dict[Host, Process] = {host: self._producer(host) for host in self.hosts[1:]}

    # -- processes

    def _name(self, kind: str, host: Host) -> str:
        self._started += 1
        return f"{kind}-{host.label}-{self._started}"

    def _worker(self, host: Host) -> Process:
        args = ["-m", "liteq", "-A", "hosts_app", "worker", "-c", "2", "-l", "info", "-n", f"{host.label}@%h"]
        name = self._name("worker", host)
        process = host.start(args, {}, name)
        self.logs[process] = self.folder / f"{name}.err"
        return process

    def _producer(self, host: Host) -> Process:
        args = [str(HERE / "hosts_producer.py"), str(self.rng.randrange(10**9))]
        return host.start(args, {}, self._name("producer", host))

    def _look_after(
        self, started: dict[Host, Process], start: Callable[[Host], Process], ended_well: Collection[int]
    ) -> None:
        """Start again what has found no server at its start; what has ended otherwise is a trouble."""
        for host, process in started.items():
            status = process.poll()
            if status in ended_well:
                started[host] = start(host)
            elif status is not None:
                self.troubles.append(f"a process of {host.label} ended by itself, with {status}")
                started[host] = start(host)

    # -- what befalls them

    def run(self, faults: Sequence[Fault], rounds: int = 1) -> None:
        """Let each of the faults befall somebody, so many times, in an order of the seed."""
        wait_for(lambda: self._lines() > 10, within_s=90)
        for _ in range(rounds):
            deck = list(faults)
            self.rng.shuffle(deck)
            for fault in deck:
                before = self._lines()
                fault(self)
                self.done.append(fault.__name__)
                wait_for(lambda before=before: self._lines() > before + 5, within_s=90)  # type: ignore[misc]
                self._look_after(self.workers, self._worker, ended_well=TRY_AGAIN)
                self._look_after(self.producers, self._producer, ended_well=TRY_AGAIN | {Exit.FAILED})

    def _lines(self) -> int:
        path = self.folder / "ledger"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    @contextmanager
    def _befalling(self, what: str, host: Host | None = None) -> Iterator[None]:
        began = time.time()
        yield
        self.befallen.append(Befallen(what, host.label if host else "", began, time.time()))

    def _a_host(self) -> Host:
        return self.rng.choice(self.hosts)

    def kill_child(self) -> None:
        host = self._a_host()
        with self._befalling("child killed", host):
            for child in children_of(self.workers[host].pid)[:1]:
                os.kill(child, signal.SIGKILL)

    def kill_parent(self) -> None:
        """The worker's parent alone; one that starts on this host knows at once that it is gone."""
        host = self._a_host()
        with self._befalling("worker killed", host):
            self.workers[host].kill()
            self.workers[host].wait()
        self.workers[host] = self._worker(host)

    def kill_worker(self) -> None:
        host = self._a_host()
        with self._befalling("worker killed", host):
            kill_group(self.workers[host])
        self.workers[host] = self._worker(host)

    def kill_producer(self) -> None:
        host = self.rng.choice(list(self.producers))
        kill_group(self.producers[host])
        self.producers[host] = self._producer(host)

    def kill_host(self) -> None:
        host = self._a_host()
        with self._befalling("host killed", host):
            host.die()
        host.boot()
        self.workers[host] = self._worker(host)
        if host in self.producers:
            self.producers[host] = self._producer(host)

    def freeze_host(self) -> None:
        """All of its processes stand still past the lease."""
        host = self._a_host()
        with self._befalling("frozen", host):
            stopped = list(host.processes())
            for pid in stopped:
                send(pid, signal.SIGSTOP)
            self._let_pass(LEASE_S + 1 + self.rng.random())
            for pid in stopped:
                send(pid, signal.SIGCONT)

    def cut_for_a_moment(self) -> None:
        self._cut(LEASE_S * self.rng.uniform(0.1, 0.5))

    def cut_for_long(self) -> None:
        self._cut(LEASE_S + self.rng.uniform(1.0, 3.0))

    def _cut(self, seconds: float) -> None:
        host = self._a_host()
        with self._befalling("cut", host):
            host.pull()
            self._let_pass(seconds)
            host.plug()

    def crash_server(self) -> None:
        with self._befalling("server"):
            self.servers.writable.crash()
            self._let_pass(self.rng.random())
            self.servers.writable.start()

    def fail_over(self) -> None:
        """Once; then the server that has taken over crashes."""
        if self.servers.has_failed_over:
            self.crash_server()
            return
        with self._befalling("server"):
            self.servers.fail_over()

    def _let_pass(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        wait_for(lambda: time.monotonic() > end, within_s=seconds + 10)

    # -- the end

    def settle(self) -> None:
        """End the producers; let the workers run the queue empty, and end."""
        for process in self.producers.values():
            kill_group(process)
        end = time.monotonic() + SETTLED_WITHIN_S
        while left := [c for c in self.storage.reader.counts() if c.state in UNFINISHED]:
            self._look_after(self.workers, self._worker, ended_well=TRY_AGAIN)
            assert time.monotonic() < end, f"not done after {SETTLED_WITHIN_S} s: {left}"
            time.sleep(0.1)
        for host in self.workers:
            wait_for(lambda host=host: self._is_ready(host), within_s=60)  # type: ignore[misc]
        for host, process in self.workers.items():
            process.send_signal(signal.SIGTERM)
            if status := process.wait(timeout=60):
                self.troubles.append(f"the worker of {host.label} was told to end, and did with {status}")

    def _is_ready(self, host: Host) -> bool:
        """Whether its worker has begun; one that found no server at its start is started again."""
        self._look_after(self.workers, self._worker, ended_well=TRY_AGAIN)
        return "ready." in self.logs[self.workers[host]].read_text()

    def verdict(self) -> list[str]:
        """The troubles that were found."""
        return self.troubles + troubles(self.storage, self.folder, self.befallen, lease_s=LEASE_S)

    def accepted(self) -> int:
        """How many tasks and runs were accepted."""
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob("producer-*[0-9]"))

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.storage.close()
        for server in (self.servers.primary, self.servers.standby):
            shutil.copy(server.folder / "log", self.folder / f"server-{server.folder.name}")


def send(pid: int, sig: int) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


FAULTS: list[Fault] = [
    HostsDrill.kill_child, HostsDrill.kill_parent, HostsDrill.kill_worker, HostsDrill.kill_producer,
    HostsDrill.kill_host, HostsDrill.freeze_host, HostsDrill.cut_for_a_moment, HostsDrill.cut_for_long,
    HostsDrill.crash_server, HostsDrill.fail_over,
]  # fmt: skip
FEW: list[Fault] = [HostsDrill.kill_host, HostsDrill.cut_for_long, HostsDrill.fail_over]


@contextmanager
def drill_of(folder: Path, seed: int, durability: str = "durable") -> Iterator[HostsDrill]:
    """A drill with its hosts and servers."""
    switch = Switch()
    try:
        with two_servers(switch) as servers:
            drill = HostsDrill(folder, servers, switch, seed, durability)
            try:
                yield drill
            finally:
                drill.close()
    finally:
        switch.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hosts_drill", description=__doc__)
    parser.add_argument("--seeds", default="1", metavar="N or N-M")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault befalls somebody")
    parser.add_argument("--durability", default="durable")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    unclean = 0
    for seed in range(int(first), int(last or first) + 1):
        folder = Path(tempfile.mkdtemp(prefix=f"hosts-{seed}-"))
        folder.chmod(0o755)
        began = time.monotonic()
        with drill_of(folder, seed, options.durability) as drill:
            drill.run(FAULTS, options.rounds)
            drill.settle()
            found = drill.verdict()
            print(f"seed {seed}: {drill.accepted()} accepted, {time.monotonic() - began:.0f} s, {folder}", flush=True)
            print("   ", *drill.done)
        for trouble in found[:20]:
            print("   ", trouble[:400], flush=True)
        unclean += bool(found)
    return unclean


if __name__ == "__main__":
    sys.exit(main())
