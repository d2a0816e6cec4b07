"""The long mix: three pools, producers and beat over one file, and everything that may befall them, from one seed.

    python -m tests.faults.mix --seed 7 --seconds 60
    python -m tests.faults.mix --seeds 1-20 --seconds 30

The seed chooses what befalls whom; real processes run as they like, so a seed that found something finds it again more
often than others, not each time. The folder of a run that found something is kept, and named.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from liteq import LiteQ
from liteq.cli.parts.exits import Exit
from liteq.context.identity import start_time
from liteq.exceptions import LiteqError
from liteq.serialization import decode
from liteq.states import UNFINISHED, State

from .clocks import Offset
from .harness import HERE, Drill, Process, kill_group, kill_one_child, wait_for
from .oracle import ask_afresh

__all__ = ["Mix"]

POOLS = {"prefork": "3", "threads": "3", "solo": "1"}
PRODUCERS = 3
BACKUPS = 3
DAY = 86_400
SET_TO_S = [0, -5, 5, -3_600, 3_600, -DAY, DAY, 60 - int(time.time()), 365 * DAY]  # the last but one is 1970
KEYS = ("mix", "api", "task:mix_app.narrow:*", "task:mix_app.fair", "task:mix_app.together")
SETTINGS = {
    "LITEQ_VISIBILITY_TIMEOUT": "2",
    "LITEQ_RESULT_EXPIRES": "0",  # whatever leaves was forgotten, not too old by a clock that was set
    "LITEQ_DEAD_EXPIRES": "0",
    # What is killed by chance three times is a dead letter otherwise, and looks like a loss.
    "LITEQ_MAX_CRASHES": "1000",
    "LITEQ_MAX_REAPS": "1000",
}


class Mix:
    """One run. `run(seconds)`, then `settle()`, then `verdict()`, which is empty where all went well."""

    APP = "mix_app"
    SETTINGS: ClassVar[dict[str, str]] = {}  # beside those of all
    PAUSE_S = 5.0  # at most: two leases and a half
    FAULTS: ClassVar[tuple[Callable[[Any], None], ...]]  # see the end

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        (folder / "clock").write_text("+0")
        self.drill = Drill(folder, forked=True, settings={**SETTINGS, **self.SETTINGS, "MIX_FOLDER": str(folder)})
        self.clock = Offset()
        self.app = LiteQ("mix", broker=f"sqlite:///{self.drill.db}", clock=self.clock, set_as_current=False)
        self.app.storage.migrate()
        self.done: list[str] = []  # what befell whom
        self.troubles: list[str] = []
        self.revoked: set[str] = set()
        self.forgotten: set[str] = set()
        self.backups: list[Path] = []
        self._stopped: list[threading.Timer] = []  # each lets one go on, whatever is waited for here meanwhile
        self._started = 0
        self.workers = {pool: self._worker(pool) for pool in POOLS}
        self.producers = [self._producer() for _ in range(PRODUCERS)]
        self.beat = self._beat()

    # -- processes

    def _name(self, kind: str) -> str:
        self._started += 1
        return f"{kind}-{self._started}"

    def _worker(self, pool: str) -> Process:
        args = ["-m", "liteq", "-A", self.APP, "worker", "-P", pool, "-c", POOLS[pool], "-n", f"{pool}@mix"]
        return self.drill.start(*args, name=self._name(pool))

    def _producer(self) -> Process:
        return self.drill.start(
            str(HERE / "mix_producer.py"), str(self.rng.randrange(10**9)), name=self._name("producer")
        )

    def _beat(self) -> Process:
        return self.drill.start("-m", "liteq", "-A", self.APP, "beat", name=self._name("beat"))

    def _check_that_all_live(self) -> None:
        """A process that has ended was not killed here. One that met a file held up when it started is to try again."""
        if self.beat.poll() == Exit.TRY_AGAIN:
            self.beat = self._beat()
        for pool, worker in self.workers.items():
            if worker.poll() == Exit.TRY_AGAIN:
                self.workers[pool] = self._worker(pool)
        for name, process in [*self.workers.items(), ("beat", self.beat), *(("producer", p) for p in self.producers)]:
            if (status := process.poll()) is not None:
                self.troubles.append(f"{name} {process.pid} ended by itself, with {status}")

    # -- what may befall them

    def run(self, seconds: float) -> None:
        """Let things happen for so long."""
        wait_for(lambda: self.drill.executions() > 10, within_s=60)
        began = time.monotonic()
        while time.monotonic() - began < seconds and not self.troubles:
            self._let_pass(self.rng.random() * 0.4)
            fault = self.rng.choice(self.FAULTS)
            self.done.append(f"{time.monotonic() - began:6.2f} {fault.__name__}")
            with contextlib.suppress(LiteqError):  # the file is held up by one that was stopped
                fault(self)
            self._check_that_all_live()

    def _let_pass(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        wait_for(lambda: time.monotonic() > end, within_s=seconds + 10)

    def _go_on(self) -> None:
        """Let all go on that are stopped."""
        for timer in self._stopped:
            timer.cancel()
            timer.function(*timer.args)
        self._stopped.clear()

    def _a_pool(self) -> str:
        return self.rng.choice(list(POOLS))

    def kill_child(self) -> None:
        kill_one_child(self.workers["prefork"], self.rng)

    def kill_parent(self) -> None:
        pool = self._a_pool()
        self.workers[pool].kill()
        self.workers[pool].wait()
        self.workers[pool] = self._worker(pool)

    def kill_worker(self) -> None:
        pool = self._a_pool()
        kill_group(self.workers[pool])
        self.workers[pool] = self._worker(pool)

    def restart_worker(self) -> None:
        """Warm or cold."""
        pool = self._a_pool()
        worker = self.workers[pool]
        self._go_on()
        worker.send_signal(self.rng.choice([signal.SIGTERM, signal.SIGQUIT]))
        wait_for(lambda: worker.poll() is not None, within_s=60)
        self.workers[pool] = self._worker(pool)

    def kill_producer(self) -> None:
        n = self.rng.randrange(PRODUCERS)
        kill_group(self.producers[n])
        self.producers[n] = self._producer()

    def kill_beat(self) -> None:
        kill_group(self.beat)
        self.beat = self._beat()

    def pause_one(self) -> None:
        """Also inside a transaction, so that all others wait for it."""
        self._pause(self.rng.choice([*self.workers.values(), *self.producers, self.beat]))

    def pause_workers(self) -> None:
        for worker in self.workers.values():
            self._pause(worker)

    def _pause(self, process: Process) -> None:
        os.killpg(process.pid, signal.SIGSTOP)
        timer = threading.Timer(self.rng.random() * self.PAUSE_S, resume, [process.pid])
        timer.start()
        self._stopped.append(timer)

    def set_clock(self) -> None:
        seconds = self.rng.choice(SET_TO_S)
        (self.drill.folder / "clock.new").write_text(f"{seconds:+d}")
        (self.drill.folder / "clock.new").rename(self.drill.folder / "clock")
        self.clock.seconds = seconds

    def _some(self, condition: str) -> list[str]:
        """The ids of a few messages at random: parts of canvases, bodies, what has replaced something."""
        with self.app.storage.driver.read() as tx:
            found = tx.execute(f"SELECT id FROM liteq_messages WHERE {condition} ORDER BY random() LIMIT 3")
        return [id_ for (id_,) in found]

    def revoke(self) -> None:
        ids = self._some("state IN ('pending', 'scheduled', 'blocked', 'held')")
        self.revoked.update(ids)
        self.app.control.revoke(ids)

    def revoke_what_runs(self) -> None:
        ids = self._some("state = 'leased'")
        self.revoked.update(ids)
        self.app.control.revoke(ids, terminate=True, signal=self.rng.choice(["SIGTERM", "SIGKILL"]))

    def forget(self) -> None:
        for id_ in self._some("state NOT IN ('dead')"):
            self.forgotten.add(id_)  # even if this raises, it may be gone
            if not self.app.storage.forget([id_]):
                self.forgotten.discard(id_)

    def replay(self) -> None:
        self.app.storage.dead.requeue(self.app.storage.dead.matching(limit=self.rng.choice([1, 20])))

    def back_up(self) -> None:
        if len(self.backups) < BACKUPS:
            target = self.drill.folder / f"backup-{len(self.backups)}.db"
            self.app.storage.backup(target)
            self.backups.append(target)

    def limit(self) -> None:
        rate = self.rng.choice(["10/s", "50/s", "600/m", "0"])
        self.app.control.global_rate_limit("mix_app.shared", rate)
        self.app.control.rate_limit("mix_app.limited", self.rng.choice(["10/s", "50/s", "0"]))

    def limit_keys(self) -> None:
        """Also while some of a key run, and others are held by it."""
        limits, rng = self.app.limits, self.rng
        limits.set(rng.choice(KEYS), concurrent=rng.choice([None, 1, 3]), rate=rng.choice([None, "20/s"]))
        limits.pause(rng.choice(KEYS), rng.random(), reason="the mix")

    def pause_queue(self) -> None:
        self.app.control.pause_queue("celery", reason="the mix")
        timer = threading.Timer(self.rng.random(), self._resume_queue)
        timer.start()
        self._stopped.append(timer)

    def _resume_queue(self) -> None:
        self.app.control.resume_queue("celery")

    # -- the end

    def settle(self) -> None:
        """Stop what sends, make all good, let the workers run the file empty, then end them."""
        self._go_on()
        for process in [*self.producers, self.beat]:
            kill_group(process)
        self.app.control.global_rate_limit("mix_app.shared", "0")
        self.app.control.rate_limit("mix_app.limited", "0")
        for key in KEYS:
            self.app.limits.delete(key)
        (self.drill.folder / "good").touch()
        for _ in range(2):  # a follower may be a dead letter of before, which was replayed in vain
            self._wait_until_nothing_is_left()
            self.app.storage.dead.requeue(self._dead())
        self._wait_until_nothing_is_left()
        self.before_workers_end()
        for pool, worker in self.workers.items():
            wait_for(lambda p=worker: self._has_entered(p), within_s=60)  # type: ignore[misc]
            if status := self.drill.stop(worker):
                self.troubles.append(f"{pool} ended with {status}")
        self.app.close()

    def before_workers_end(self) -> None:
        """All is done, and the workers still live."""

    def _has_entered(self, process: Process) -> bool:
        """Whether a worker is on the list, and so hears signals; a dead one of the same number may be there, too."""
        me = (process.pid, start_time(process.pid))
        return any((w.identity.pid, w.identity.started) == me for w in self.app.storage.reader.workers())

    def _dead(self) -> list[str]:
        """Those that succeed when they run once more: not what runs past its hard limit."""
        storage = self.app.storage
        overdue = set(storage.dead.matching(task="mix_app.overdue", limit=100_000))
        return [id_ for id_ in storage.dead.matching(limit=100_000) if id_ not in overdue]

    def _wait_until_nothing_is_left(self) -> None:
        counts = self.app.storage.reader.counts
        try:
            wait_for(lambda: not any(c.state in UNFINISHED for c in counts()), within_s=90)
        except AssertionError:
            self.troubles.append(f"not done after 90 s: {[c for c in counts() if c.state in UNFINISHED]}")

    def verdict(self) -> list[str]:
        """The faults that were found."""
        found = ask_afresh(self.drill.db, at_rest=True, forgotten=bool(self.forgotten))
        self.troubles += [f"{name}: {rows}" for name, rows in found.items()]
        for copy in self.backups:
            found = ask_afresh(copy, at_rest=False, forgotten=bool(self.forgotten))
            self.troubles += [f"{name} in {copy.name}: {rows}" for name, rows in found.items()]
        ledger = (self.drill.folder / "ledger").read_text().splitlines()
        self.troubles += [f"a body had another input: {line}" for line in ledger if line.startswith("wrong ")]
        if not any(line.startswith("tick ") for line in ledger):
            self.troubles.append("beat has sent nothing")
        self._check_what_was_accepted()
        return self.troubles

    def _check_what_was_accepted(self) -> None:
        """Each is there unless it was forgotten, has succeeded unless something was revoked, and with its number."""
        accepted, executed = self.drill.accepted(), self.drill.ledger()
        storage = self.drill.storage()
        rows = storage.reader.find_many([a.id for a in accepted])
        with storage.driver.read() as tx:
            root = dict(tx.execute("SELECT id, coalesce(root_id, id) FROM liteq_messages"))
            cancelled = tx.execute("SELECT id FROM liteq_messages WHERE state = 'cancelled'")
            dead = tx.execute("SELECT task, count(*) FROM liteq_messages WHERE state = 'dead' GROUP BY task")
        storage.close()
        roots = {root.get(id_, id_) for id_ in self.revoked}
        self.troubles += [f"cancelled by nobody: {id_}" for (id_,) in cancelled if root[id_] not in roots]
        self.troubles += [f"{n} dead letters of {task}" for task, n in dead if task != "mix_app.overdue"]
        for a in accepted:
            row = rows.get(a.id)
            if row is None:
                if a.id not in self.forgotten and not (a.kind == "ignored" and executed[a.id]):
                    self.troubles.append(f"lost: {a}")
            elif row.state is State.SUCCEEDED and a.kind == "value":
                value = decode(row.result or b"null")
                if int(value or 0) != a.expected:
                    self.troubles.append(f"{a} has the result {value!r:.100}")

    def counted(self) -> dict[str, int]:
        """How much has happened."""
        accepted = len(self.drill.accepted())
        return {"faults": len(self.done), "accepted": accepted, "executions": self.drill.executions()}

    def close(self) -> None:
        self._go_on()
        self.app.close()
        self.drill.close()


def resume(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # not if it has ended: its children were stopped with it
        os.killpg(group, signal.SIGCONT)


FAULTS: list[Callable[[Mix], None]] = [
    *[Mix.kill_child, Mix.kill_parent, Mix.kill_worker, Mix.kill_producer, Mix.restart_worker, Mix.kill_beat],
    *[Mix.pause_one, Mix.pause_one, Mix.pause_workers, Mix.set_clock, Mix.set_clock, Mix.back_up, Mix.limit],
    *[Mix.limit_keys, Mix.limit_keys, Mix.pause_queue],
    *[Mix.revoke, Mix.revoke, Mix.revoke_what_runs, Mix.forget, Mix.forget, Mix.replay],
]
Mix.FAULTS = tuple(FAULTS)


def run_one(folder: Path, seed: int, seconds: float) -> tuple[list[str], dict[str, Any]]:
    """The faults of one seed, and how much has happened."""
    mix = Mix(folder, seed)
    try:
        mix.run(seconds)
        mix.settle()
        return mix.verdict(), mix.counted()
    finally:
        (folder / "faults").write_text("\n".join(mix.done))
        mix.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mix", description=__doc__)
    parser.add_argument("--seeds", default="1", metavar="N or N-M")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each goes on, before it settles")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    unclean = 0
    for seed in range(int(first), int(last or first) + 1):
        folder = Path(tempfile.mkdtemp(prefix=f"mix-{seed}-"))
        began = time.monotonic()
        troubles, counted = run_one(folder, seed, options.seconds)
        print(
            f"seed {seed}: {'clean' if not troubles else folder} {counted} {time.monotonic() - began:.0f} s", flush=True
        )
        for trouble in troubles[:20]:
            print("   ", trouble[:300], flush=True)
        unclean += bool(troubles)
    return unclean


if __name__ == "__main__":
    sys.exit(main())
